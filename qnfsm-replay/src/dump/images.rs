//! From a snapshot's mark, or its file alone, to lines: what became of its file, and every FSM in it.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use qnfsm::{
    Digest, FsmView, ImageView, StreamDigest, Table, TimerLabel, TimerView, WaitingView, Waits, WorkerId,
    journal::{
        Position, ReadError, RealFiles, Record, Storage, Why,
        snapshots::{self, Mark, Snapshot},
    },
};

use super::{
    DumpError, Hex, Instant, Line, Name, Number, Options, Queue, Value, What,
    line::{Contents, FileState},
    records::{About, Records, config_line},
    tables::{Own, Tables},
};
use crate::{ReplayError, live::Again};

/// Hands one snapshot of the node's directory `dir` to `take`, line by line: that of this worker and round; the newest where no round is
/// given, and that of each worker where no worker is. Whether the journal marks it is not looked at. Of the options those count that say how
/// values are shown, and whether a node may be running there.
///
/// # Errors
/// [`ReplayError::Misuse`] if there is no such snapshot; when the directory can't be opened, the snapshot is damaged, or `take` fails.
pub fn snapshot(
    dir: &Path,
    worker: Option<WorkerId>,
    round: Option<u64>,
    options: &Options,
    mut take: impl FnMut(&Line<'_>) -> io::Result<()>,
) -> Result<(), DumpError> {
    let storage: Arc<dyn Storage> = Arc::new(RealFiles);
    // It is held for as long as snapshots are read.
    let reader = Again::new(options.live).open(storage.clone(), dir).map_err(ReplayError::from)?;
    let manifest = reader.manifest();
    let there = snapshots::list(&*storage, dir).map_err(ReplayError::from)?;
    let wanted: BTreeMap<_, _> = there
        .iter()
        .copied()
        .filter(|(of, after)| worker.is_none_or(|worker| worker == *of) && round.is_none_or(|round| round == *after))
        .collect();
    if wanted.is_empty() {
        return Err(ReplayError::Misuse(none_such(dir, &there)).into());
    }
    let own = Own::new();
    let mut records = Records::new(dir, &*storage, manifest, options, &own, &mut take);
    for (worker, round) in wanted {
        let loaded = snapshots::load(&*storage, dir, manifest.identity, worker, round);
        let snapshot = loaded.map_err(|error| match error {
            ReadError::Corrupt(corrupt) if options.live && corrupt.why == Why::Missing => {
                let text = format!("the node has taken away the snapshot of {worker} after round {round}; look again");
                ReplayError::Misuse(text)
            }
            error => error.into(),
        })?;
        let about = About { at: Position::default(), worker: Some(worker), round: Some(round) };
        let line = |file, contents| What::Snapshot {
            digest: None,
            image_digest: Hex(StreamDigest::of(snapshot.image())),
            driver_digest: Hex(Digest::of(snapshot.driver())),
            file,
            contents,
        };
        records.contents(about, &snapshot, None, line)?;
    }
    records.into_wrong().map_or(Ok(()), |wrong| Err(wrong.into()))
}

fn none_such(dir: &Path, there: &[(WorkerId, u64)]) -> String {
    // More than these are nobody's to read on a line.
    let list: Vec<_> =
        there.iter().rev().take(20).map(|(worker, round)| format!("{worker} after round {round}")).collect();
    match list.is_empty() {
        true => format!("{} holds no snapshot; `dump` shows its journal", dir.display()),
        false => format!("there is no such snapshot in {}; there are those of {}", dir.display(), list.join(", ")),
    }
}

impl Records<'_> {
    /// A snapshot's mark, and the snapshot if it counts.
    pub(super) fn snapshot(&mut self, about: About, record: &Record<'_>, tables: &Tables) -> io::Result<()> {
        let Some(mark) = Mark::of(record) else { return Ok(()) };
        let line = |file, contents| What::Snapshot {
            digest: Some(Hex(mark.digest)),
            image_digest: Hex(mark.image_digest),
            driver_digest: Hex(mark.driver_digest),
            file,
            contents,
        };
        if !self.options.snapshots && !self.options.filter.is_open() {
            return Ok(());
        }
        if !self.options.snapshots {
            return self.show(about, line(FileState::NotOpened, None));
        }
        if self.shown.get(&mark.worker) == Some(&mark) {
            return self.show(about, line(FileState::ShownBefore, None));
        }
        let snapshot = match mark.load(self.storage, self.dir, self.manifest.identity) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                let file = match &error {
                    ReadError::Corrupt(corrupt) if corrupt.why == Why::Missing => FileState::Gone,
                    ReadError::Corrupt(corrupt) if corrupt.why == Why::Unmarked => FileState::Another,
                    _ => {
                        self.is_wrong(error.clone().into());
                        FileState::Damaged { note: error.to_string() }
                    }
                };
                return self.show(about, line(file, None));
            }
        };
        if self.contents(about, &snapshot, Some(tables), line)? {
            self.shown.insert(mark.worker, mark);
        }
        Ok(())
    }

    /// What is in a snapshot's file. False if it can't be taken apart.
    pub(super) fn contents(
        &mut self,
        about: About,
        snapshot: &Snapshot,
        tables: Option<&Tables>,
        line: impl Fn(FileState, Option<Contents>) -> What<'static>,
    ) -> io::Result<bool> {
        let table = Table::from_bytes(snapshot.catalogue()).map_err(|error| format!("its table of kinds: {error}"));
        let image = ImageView::read(snapshot.image()).map_err(|error| error.to_string());
        let (table, image) = match table.and_then(|table| Ok((table, image?))) {
            Ok(read) => read,
            Err(note) => {
                self.show(about, line(FileState::Damaged { note: note.clone() }, None))?;
                return self.unknown(about, note).map(|()| false);
            }
        };
        // One that is marked again may be of an older version of the program.
        let own;
        let tables = match tables.filter(|tables| tables.table == table) {
            Some(tables) => tables,
            None => {
                own = Tables::new(table);
                &own
            }
        };
        self.counts.snapshots += 1;
        let counters = image.counters();
        let contents = Contents {
            time: Instant(image.now()),
            image_bytes: snapshot.image().len(),
            driver_bytes: snapshot.driver().len(),
            fsms: image.fsms().len(),
            handled: Number(counters.handled),
            dead_letters: Number(counters.dead_letters.values().fold(0, |sum, count| sum.saturating_add(*count))),
            panics: Number(counters.panics),
            config: config_line(image.config()),
        };
        let before = self.head(about, line(FileState::Sound, Some(contents)))?;
        image.fsms().try_for_each(|fsm| self.fsm(about, fsm, tables))?;
        self.head_again(about, before);
        Ok(true)
    }

    /// Learns of which kinds the FSMs are whose snapshots are there, if that is asked for.
    pub(super) fn learn_kinds(&mut self) -> Result<(), ReplayError> {
        if self.options.filter.kind.is_none() {
            return Ok(());
        }
        for (worker, round) in snapshots::list(self.storage, self.dir)? {
            // What is wrong with one is told at its mark.
            let Ok(snapshot) = snapshots::load(self.storage, self.dir, self.manifest.identity, worker, round) else {
                continue;
            };
            let (table, image) = (Table::from_bytes(snapshot.catalogue()), ImageView::read(snapshot.image()));
            let (Ok(table), Ok(image)) = (table, image) else { continue };
            for fsm in image.fsms() {
                let kind = usize::try_from(fsm.kind()).ok().and_then(|number| table.kinds.get(number));
                kind.into_iter().for_each(|kind| self.note_kind(fsm.queue(), Name(&kind.name)));
            }
        }
        Ok(())
    }

    /// Shows an FSM with all that waits for it, if it or some of that is asked for.
    fn fsm(&mut self, about: About, fsm: FsmView<'_>, tables: &Tables) -> io::Result<()> {
        self.counts.fsms += 1;
        let options = self.options;
        self.note_kind(fsm.queue(), tables.kind_name(fsm.kind()));
        let mut is_asked_for = false;
        parts(options, fsm, tables, |what| {
            is_asked_for |= self.is_asked_for(&what, tables);
            // One is enough.
            if is_asked_for { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        })
        .unwrap_or_default();
        if !is_asked_for {
            return Ok(());
        }
        self.show_heading(about)?;
        parts(options, fsm, tables, |what| self.show(about, what))
    }
}

/// Hands an FSM, and then what waits for it, to `each`, as lines.
pub(crate) fn parts(
    options: &Options,
    fsm: FsmView<'_>,
    tables: &Tables,
    mut each: impl FnMut(What<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let chars_max = options.value_chars_max;
    let (queue, kind) = (Queue(fsm.queue()), tables.kind_name(fsm.kind()));
    let of_kind = tables.kind(fsm.kind());
    let cell = match &of_kind {
        Some(of_kind) if of_kind.is_opaque() => {
            Err("its data or its states are opaque, so only its program can take it apart".to_owned())
        }
        Some(of_kind) => fsm.cell(of_kind.data, of_kind.state).map_err(|error| error.to_string()),
        None => Err("the program's table has no such kind".to_owned()),
    };
    let (data_printer, state_printer) =
        of_kind.as_ref().map_or((None, None), |of_kind| (Some(of_kind.data), Some(of_kind.state)));
    each(match &cell {
        Ok(cell) => What::Fsm {
            queue,
            kind,
            state: cell.state.map(|state| Value::new(state_printer, state, chars_max)),
            data: Value::new(data_printer, cell.data, chars_max),
            requests_made: Some(Number(cell.requests)),
            restarts: Some(cell.restarts),
            note: None,
        },
        // Where one of the two holds a secret, no byte of either may be shown.
        Err(note) => What::Fsm {
            queue,
            kind,
            state: None,
            data: Value::whole(data_printer, state_printer, fsm.bytes(), chars_max),
            requests_made: None,
            restarts: None,
            note: Some(note.clone()),
        },
    })?;
    let message_type = of_kind.map_or(u32::MAX, |of_kind| of_kind.table.message);
    let message = |bytes| tables.message(message_type, bytes, chars_max);
    for waiting in fsm.waiting() {
        let WaitingView { how, sender, asks, answers, timer, message: bytes } = waiting;
        each(What::Waiting {
            queue,
            waits: waits_name(how),
            from: sender.map(Queue),
            asks: asks.map(Into::into),
            answers: answers.map(Into::into),
            timer: timer.map(|(name, _)| timer_name(name)),
            beats: timer.map(|(_, beats)| Number(beats)),
            message: message(bytes),
        })?;
    }
    for TimerView { name, deadline, period_ns, message: bytes } in fsm.timers() {
        let (deadline, every_ns) = (Instant(deadline), period_ns.map(Number));
        each(What::Timer { queue, name: timer_name(name), deadline, every_ns, message: message(bytes) })?;
    }
    for request in fsm.requests() {
        let (deadline, of) = (Instant(request.deadline), tables.message_name(request.answer));
        each(What::Request { queue, request: request.request.into(), deadline, of })?;
    }
    if !fsm.watched().is_empty() {
        each(What::Monitors { queue, queues: fsm.watched().iter().copied().map(Queue).collect() })?;
    }
    Ok(())
}

fn waits_name(how: Waits) -> &'static str {
    match how {
        Waits::Ahead => "ahead",
        Waits::Fired => "fired",
        Waits::Queued => "queued",
        Waits::Postponed => "postponed",
        Waits::PostponedFired => "postponed_fired",
        _ => "unknown",
    }
}

fn timer_name(name: TimerLabel<'_>) -> Name<'_> {
    match name {
        TimerLabel::State => Name("(state timeout)"),
        TimerLabel::Named(name) => Name(name),
        TimerLabel::Unnamed => Name("(no name)"),
    }
}

//! From a snapshot's mark to lines: what became of its file, and every FSM in it.

use std::io;

use qnfsm::{
    FsmView, ImageView, Table, TimerLabel, TimerView, WaitingView, Waits,
    journal::{ReadError, Record, Why, snapshots::Mark},
};

use super::{
    Hex, Instant, Name, Number, Queue, Value, What,
    line::{Contents, FileState},
    records::{About, Records, config_line},
    tables::Tables,
};

impl Records<'_> {
    /// A snapshot's mark, and the snapshot if it counts.
    pub(super) fn snapshot(&mut self, about: About, record: &Record<'_>, tables: &Tables) -> io::Result<()> {
        let Some(mark) = Mark::of(record) else { return Ok(()) };
        let line = |file, contents| What::Snapshot {
            digest: Hex(mark.digest),
            image_digest: Hex(mark.image_digest),
            driver_digest: Hex(mark.driver_digest),
            file,
            contents,
        };
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
        let table = Table::from_bytes(snapshot.catalogue()).map_err(|error| format!("its table of kinds: {error}"));
        let image = ImageView::read(snapshot.image()).map_err(|error| error.to_string());
        let (table, image) = match table.and_then(|table| Ok((table, image?))) {
            Ok(read) => read,
            Err(note) => {
                self.show(about, line(FileState::Damaged { note: note.clone() }, None))?;
                return self.unknown(about, note);
            }
        };
        // One that is marked again may be of an older version of the program.
        let older = (table != tables.table).then(|| Tables::new(table));
        let tables = older.as_ref().unwrap_or(tables);
        self.shown.insert(mark.worker, mark);
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
        self.show(about, line(FileState::Sound, Some(contents)))?;
        image.fsms().try_for_each(|fsm| self.fsm(about, fsm, tables))
    }

    fn fsm(&mut self, about: About, fsm: FsmView<'_>, tables: &Tables) -> io::Result<()> {
        self.counts.fsms += 1;
        let chars_max = self.options.value_chars_max;
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
        let what = match &cell {
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
        };
        self.show(about, what)?;
        let message_type = of_kind.map_or(u32::MAX, |of_kind| of_kind.table.message);
        let message = |bytes| tables.message(message_type, bytes, chars_max);
        for waiting in fsm.waiting() {
            let WaitingView { how, sender, asks, answers, timer, message: bytes } = waiting;
            let what = What::Waiting {
                queue,
                waits: waits_name(how),
                from: sender.map(Queue),
                asks: asks.map(Into::into),
                answers: answers.map(Into::into),
                timer: timer.map(|(name, _)| timer_name(name)),
                beats: timer.map(|(_, beats)| Number(beats)),
                message: message(bytes),
            };
            self.show(about, what)?;
        }
        for TimerView { name, deadline, period_ns, message: bytes } in fsm.timers() {
            let (deadline, every_ns) = (Instant(deadline), period_ns.map(Number));
            let what = What::Timer { queue, name: timer_name(name), deadline, every_ns, message: message(bytes) };
            self.show(about, what)?;
        }
        for request in fsm.requests() {
            let (deadline, of) = (Instant(request.deadline), tables.message_name(request.answer));
            self.show(about, What::Request { queue, request: request.request.into(), deadline, of })?;
        }
        if !fsm.watched().is_empty() {
            let queues = fsm.watched().iter().copied().map(Queue).collect();
            self.show(about, What::Monitors { queue, queues })?;
        }
        Ok(())
    }
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

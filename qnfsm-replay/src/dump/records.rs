//! From records to lines: what each record says, frame by frame and delivery by delivery.

use std::{collections::BTreeMap, io, path::Path};

use qnfsm::{
    Codec, Deliveries, Delivery, Handler, Place, RawQueueId, Recording, RequestId, Trust, WorkerConfig, WorkerId,
    frame::{BatchRef, Class, Frame},
    journal::{
        Manifest, Outcome, Position, Record, SegmentHeader, Storage, segment_path,
        snapshots::{self, Mark},
    },
};

use super::{
    Hex, Instant, Line, Name, Number, Options, Queue, Resource, Value, What,
    filter::{KindsOfQueues, Times},
    frames::frame_line,
    line::Config,
    summary::{Counts, Types},
    tables::{Own, Tables},
};
use crate::{CorruptJournal, ReplayError, asked::Lookout, recorded::table_of};

/// A journal on its way through: what its records mean, in turn.
pub(super) struct Records<'a> {
    pub(super) dir: &'a Path,
    pub(super) storage: &'a dyn Storage,
    pub(super) manifest: &'a Manifest,
    pub(super) options: &'a Options,
    /// Who is told what there is.
    lookout: Option<&'a Lookout>,
    take: &'a mut dyn FnMut(&Line<'_>) -> io::Result<()>,
    own: &'a Own,
    /// Those of the segment that is read, with its number and the bytes that they were read from.
    segment: Option<(u64, Tables)>,
    catalogue: Vec<u8>,
    types: Types,
    pub(super) counts: Counts,
    /// By worker, the round whose deliveries came last, and how many they are so far.
    delivered: BTreeMap<WorkerId, (u64, u64)>,
    /// By worker, the round of the snapshot that was shown last.
    pub(super) shown: BTreeMap<WorkerId, Mark>,
    times: Times,
    pub(super) kinds: KindsOfQueues,
    /// By worker, the record of which the next part is, if that is shown only before a part that is.
    headings: BTreeMap<WorkerId, (About, What<'static>)>,
    /// The first that is wrong though the journal can be read on.
    wrong: Option<ReplayError>,
}

/// Whom a line is about, and where its record stands; the zero position if it is in none.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    pub(super) at: Position,
    pub(super) worker: Option<WorkerId>,
    pub(super) round: Option<u64>,
}

impl About {
    pub(super) fn line(self, what: What<'_>) -> Line<'_> {
        let at = Some(self.at).filter(|at| *at != Position::default());
        Line {
            segment: at.map(|at| Number(at.segment)),
            offset: at.map(|at| Number(at.offset)),
            worker: self.worker.map(|worker| worker.0),
            round: self.round.map(Number),
            what,
        }
    }
}

impl<'a> Records<'a> {
    pub(super) fn new(
        dir: &'a Path,
        storage: &'a dyn Storage,
        manifest: &'a Manifest,
        options: &'a Options,
        own: &'a Own,
        take: &'a mut dyn FnMut(&Line<'_>) -> io::Result<()>,
    ) -> Records<'a> {
        Records {
            dir,
            storage,
            manifest,
            options,
            lookout: None,
            take,
            own,
            segment: None,
            catalogue: Vec::new(),
            types: Types::default(),
            counts: Counts::default(),
            delivered: BTreeMap::new(),
            shown: BTreeMap::new(),
            times: Times::default(),
            kinds: KindsOfQueues::default(),
            headings: BTreeMap::new(),
            wrong: None,
        }
    }

    /// Tells that one what there is.
    pub(super) fn told_to(self, lookout: &'a Lookout) -> Records<'a> {
        Records { lookout: Some(lookout), ..self }
    }

    /// The segment that was entered last.
    pub(super) fn segment(&self) -> Option<u64> {
        self.segment.as_ref().map(|(segment, _)| *segment)
    }

    /// Goes on with the records of a segment with that header. The inner error says why they can't be shown.
    pub(super) fn enter(&mut self, header: &SegmentHeader) -> io::Result<Result<(), ReplayError>> {
        let info = &header.info;
        let tables = match self.segment.take() {
            Some((_, tables)) if info.catalogue == self.catalogue && info.unsupported().is_none() => tables,
            _ => match table_of(header, self.dir) {
                Ok(table) => {
                    self.types.add(&table);
                    self.catalogue.clone_from(&info.catalogue);
                    Tables::new(table)
                }
                Err(error) => return Ok(Err(error)),
            },
        };
        let segment = What::Segment {
            program: Name(&self.manifest.program),
            node: info.node.0,
            identity: format!("{:032x}", info.identity),
            epoch: info.epoch.0,
            build: Hex(info.build),
            build_bytes: Number(info.build_bytes),
            kinds: tables.table.kinds.iter().map(|kind| Name(&kind.name)).collect(),
            message_types: tables.table.messages.iter().map(|message| Name(&message.name)).collect(),
            resources: tables
                .table
                .resources
                .iter()
                .map(|it| Resource { name: Name(&it.name), hash: Hex(it.hash) })
                .collect(),
        };
        let at = Position { segment: header.segment, offset: 0 };
        (self.take)(&About { at, worker: None, round: None }.line(segment))?;
        self.segment = Some((header.segment, tables));
        Ok(Ok(()))
    }

    /// Ends with the summary. Gives what was wrong, though the journal could be read on.
    pub(super) fn finish(self, lost: Option<String>) -> io::Result<Option<ReplayError>> {
        let what = What::Summary(self.types.summary(&self.counts, lost));
        (self.take)(&Line { segment: None, offset: None, worker: None, round: None, what })?;
        Ok(self.wrong)
    }

    /// What was wrong, though all could be shown.
    pub(super) fn into_wrong(self) -> Option<ReplayError> {
        self.wrong
    }

    /// Shows a record of the segment that was entered.
    pub(super) fn take(&mut self, at: Position, record: &Record<'_>) -> io::Result<()> {
        self.counts.records += 1;
        let about = About { at, worker: record.worker(), round: record.round() };
        if let Record::Round { worker, now, .. } = *record {
            self.times.note(worker, now);
        }
        if let Some(lookout) = self.lookout {
            tell(lookout, record);
        }
        let is_of_time = self.times.is_within(about.worker, &self.options.time);
        let is_shown = self.options.shows(about.worker, about.round) && is_of_time;
        // Its place is taken for as long as a record is shown by them.
        let (segment, tables) = self.segment.take().expect("a segment is entered before its records are taken");
        let taken = match *record {
            Record::Round { batches, .. } => {
                self.counts.rounds += 1;
                if is_shown {
                    self.round(about, record)?;
                }
                batches.into_iter().try_for_each(|batch| self.batch(about, &batch, &tables, is_shown))
            }
            Record::Deliveries { entries, .. } if is_shown => self.deliveries(about, entries, &tables),
            Record::SnapshotMark { .. } if is_shown => self.snapshot(about, record, &tables),
            _ if is_shown && self.options.filter.is_open() => {
                let what = self.plain(about, record);
                self.show(about, what)
            }
            _ => Ok(()),
        };
        self.segment = Some((segment, tables));
        taken
    }

    pub(super) fn show(&mut self, about: About, what: What<'_>) -> io::Result<()> {
        (self.take)(&about.line(what))
    }

    /// Shows a part of a record, if it is one that is asked for, behind the record that it is a part of.
    pub(super) fn show_part(&mut self, about: About, what: What<'_>, tables: &Tables) -> io::Result<()> {
        if self.is_asked_for(&what, tables) {
            self.show_heading(about)?;
            self.show(about, what)?;
        }
        Ok(())
    }

    pub(super) fn is_asked_for(&self, what: &What<'_>, tables: &Tables) -> bool {
        self.options.filter.is_open() || self.options.filter.shows(what, tables, &self.kinds)
    }

    pub(super) fn show_heading(&mut self, about: About) -> io::Result<()> {
        match about.worker.and_then(|worker| self.headings.remove(&worker)) {
            Some((about, heading)) => self.show(about, heading),
            None => Ok(()),
        }
    }

    /// Shows what parts follow of; only before a part, where not all parts are shown. Gives what there was to be shown so.
    pub(super) fn head(&mut self, about: About, what: What<'static>) -> io::Result<Option<(About, What<'static>)>> {
        match about.worker {
            Some(worker) if !self.options.filter.is_open() => Ok(self.headings.insert(worker, (about, what))),
            _ => self.show(about, what).map(|()| None),
        }
    }

    /// Has that shown before the next part of the worker's again, or nothing.
    pub(super) fn head_again(&mut self, about: About, heading: Option<(About, What<'static>)>) {
        let Some(worker) = about.worker else { return };
        match heading {
            Some(heading) => self.headings.insert(worker, heading),
            None => self.headings.remove(&worker),
        };
    }

    pub(super) fn is_wrong(&mut self, error: ReplayError) {
        self.wrong.get_or_insert(error);
    }

    /// What is sound and can't be understood.
    pub(super) fn unknown(&mut self, about: About, what: String) -> io::Result<()> {
        let file = match (about.worker, about.round) {
            (Some(worker), Some(round)) if about.at == Position::default() => snapshots::path(self.dir, worker, round),
            _ => segment_path(self.dir, about.at.segment),
        };
        let offset = about.at.offset;
        self.show(about, What::Unknown { note: what.clone() })?;
        self.is_wrong(CorruptJournal::Contradiction { file, offset, what }.into());
        Ok(())
    }

    /// A record that is one line.
    fn plain<'r>(&mut self, about: About, record: &Record<'r>) -> What<'r> {
        let asker = |asked: Option<(RawQueueId, RequestId)>| {
            (asked.map(|(queue, _)| Queue(queue)), asked.map(|(_, request)| Number(request.0)))
        };
        match *record {
            Record::WorkerStarted { epoch, config, request, .. } => match config_of(config) {
                Ok(config) => {
                    let (asked_by, request) = asker(request);
                    What::WorkerStarted { epoch: epoch.0, asked_by, request, config }
                }
                Err(note) => self.misread(about, note),
            },
            Record::Configured { config, .. } => match config_of(config) {
                Ok(config) => What::Configured { config },
                Err(note) => self.misread(about, note),
            },
            Record::WorkerStopped { digest, .. } => What::WorkerStopped { digest: Hex(digest) },
            Record::External { port, answer, .. } => {
                let hex =
                    || answer.iter().take(self.options.value_chars_max).map(|byte| format!("{byte:02x}")).collect();
                What::External { port: Name(port), bytes: answer.len(), hex: self.options.answers.then(hex) }
            }
            Record::Version { name, version, .. } => What::Version { name: Name(name), version },
            Record::DigestMark { digest, .. } => What::DigestMark { digest: Hex(digest) },
            Record::SnapshotBegun { digest, .. } => What::SnapshotBegun { digest: Hex(digest) },
            Record::SyncMark { segment, offset } => {
                What::SyncMark { synced_segment: Number(segment), synced_offset: Number(offset) }
            }
            Record::CleanStop { epoch } => What::CleanStop { epoch: epoch.0 },
            Record::Skipped { at, stops, .. } => What::Skipped { delivery: at.into(), stops },
            Record::Attempt { at, outcome, .. } => {
                let outcome = match outcome {
                    Outcome::GoesOn => "goes_on",
                    Outcome::TimedOut => "timed_out",
                    Outcome::Faulted => "faulted",
                    Outcome::Parted => "parted",
                };
                What::Attempt { outcome, delivery: at.map(Into::into) }
            }
            Record::WorkerKept { request, .. } => {
                let (asked_by, request) = asker(request);
                What::WorkerKept { asked_by, request }
            }
            _ => What::Unknown { note: "a record that this version doesn't show".to_owned() },
        }
    }

    fn misread<'r>(&mut self, about: About, what: String) -> What<'r> {
        let (file, offset) = (segment_path(self.dir, about.at.segment), about.at.offset);
        self.is_wrong(CorruptJournal::Contradiction { file, offset, what: what.clone() }.into());
        What::Unknown { note: what }
    }

    fn round(&mut self, about: About, record: &Record<'_>) -> io::Result<()> {
        let Record::Round { bound, now, digest_before, batches, .. } = *record else { return Ok(()) };
        let frames = batches.map(|batch| u64::from(batch.count)).sum();
        let (time, digest_before, frames) = (Instant(now), Hex(digest_before), Number(frames));
        self.head(about, What::Round { time, bound, digest_before, frames }).map(drop)
    }

    fn batch(&mut self, about: About, batch: &BatchRef<'_>, tables: &Tables, is_shown: bool) -> io::Result<()> {
        for (at, frame) in (0..).zip(batch.frames()) {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return self.unknown(about, format!("a batch of {}: {error}", batch.source)),
            };
            self.counts.frames += 1;
            if let (Some(lookout), Some(worker)) = (self.looking(), about.worker) {
                let to = (frame.header.slot, frame.header.generation);
                let to = RawQueueId::new(self.manifest.node, Place::worker(worker), to.0, to.1);
                lookout.saw_queues([to, frame.header.sender]);
            }
            self.counts.messages += u64::from(matches!(frame.header.class, Class::Message | Class::Reply));
            if is_shown {
                let what = self.frame(about, batch, batch.first.saturating_add(at), &frame, tables);
                self.show_part(about, what, tables)?;
            }
        }
        Ok(())
    }

    fn frame<'l>(
        &self,
        about: About,
        batch: &BatchRef<'_>,
        number: u64,
        frame: &Frame<'l>,
        tables: &'l Tables,
    ) -> What<'l>
    where
        'a: 'l,
    {
        // A frame names no place: it is for the worker whose round it enters.
        let place = Place::worker(about.worker.expect("a round is a worker's"));
        let into = (self.manifest.node, place);
        frame_line(self.own, tables, into, batch, (number, frame), self.options.value_chars_max)
    }

    /// Who has yet to see the queue that it looks for.
    fn looking(&self) -> Option<&'a Lookout> {
        self.lookout.filter(|lookout| lookout.looks_for_queue())
    }

    /// Notes of which kind a queue is.
    pub(super) fn note_kind(&mut self, queue: RawQueueId, Name(kind): Name<'_>) {
        if let Some(lookout) = self.looking() {
            lookout.saw_queues([queue]);
        }
        if let Some(asked) = &self.options.filter.kind {
            self.kinds.note(queue, kind == asked);
        }
    }

    fn deliveries(&mut self, about: About, entries: &[u8], tables: &Tables) -> io::Result<()> {
        let (Some(worker), Some(round)) = (about.worker, about.round) else { return Ok(()) };
        let mut number = match self.delivered.get(&worker) {
            Some((of, count)) if *of == round => *count,
            _ => 0,
        };
        for entry in Deliveries::new(entries) {
            match entry {
                Ok(delivery) => {
                    number += 1;
                    self.note_kind(delivery.queue, tables.kind_name(delivery.kind));
                    self.show_part(about, delivery_line(number, &delivery, tables, self.options), tables)?;
                }
                Err(error) => self.unknown(about, format!("a delivery: {error}"))?,
            }
        }
        self.delivered.insert(worker, (round, number));
        Ok(())
    }
}

/// Tells what a record is of, and which queues its deliveries are of, shown or not.
fn tell(lookout: &Lookout, record: &Record<'_>) {
    let Some(worker) = record.worker() else { return };
    lookout.saw_worker(worker);
    if let Some(round) = record.round() {
        lookout.saw_round(worker, round);
    }
    match *record {
        Record::Round { now, .. } => lookout.saw_time(worker, now),
        Record::Deliveries { entries, .. } if lookout.looks_for_queue() => {
            // What can't be read is told where it is shown.
            for delivery in Deliveries::new(entries).map_while(Result::ok) {
                lookout.saw_queues([delivery.queue, delivery.sender]);
            }
        }
        _ => {}
    }
}

pub(super) fn config_line(config: &WorkerConfig) -> Config {
    let recording = match config.recording {
        Recording::Inputs => "inputs",
        Recording::Everything => "everything",
        _ => "unknown",
    };
    let WorkerConfig { seed, turn_messages, fsms_max, .. } = *config;
    Config { seed: Number(seed), recording, turn_messages, fsms_max }
}

fn config_of(bytes: &[u8]) -> Result<Config, String> {
    let config = Codec::CURRENT.decode(bytes, Trust::Node).map_err(|error| format!("the configuration: {error}"))?;
    Ok(config_line(&config))
}

fn delivery_line<'l>(number: u64, delivery: &'l Delivery, tables: &'l Tables, options: &Options) -> What<'l> {
    let chars_max = options.value_chars_max;
    let handled = delivery.handler == Handler::Handle;
    let state = tables.kind(delivery.kind).map(|kind| kind.state);
    What::Delivery {
        number: Number(number),
        queue: Queue(delivery.queue),
        kind: tables.kind_name(delivery.kind),
        handler: match delivery.handler {
            Handler::Start => "start",
            Handler::Handle => "handle",
            Handler::Enter => "enter",
        },
        of: handled.then(|| tables.message_name(delivery.type_number)),
        from: handled.then_some(Queue(delivery.sender)),
        message: handled.then(|| tables.message(delivery.type_number, &delivery.payload, chars_max)),
        state: (!delivery.state.is_empty()).then(|| Value::new(state, &delivery.state, chars_max)),
        data_digest: Hex(delivery.data_digest),
        effects_digest: Hex(delivery.effects_digest),
        round_digest: Hex(delivery.round_digest),
        spawned: delivery.spawned.iter().copied().map(Queue).collect(),
    }
}

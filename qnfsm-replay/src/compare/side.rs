//! One of two journals that are compared: read record by record, and broken up into what is held against the other's, in order, each with
//! where it stands. Of what was said only digests are kept; what differs is read again.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
};

use qnfsm::{
    Deliveries, Digest, Place, RawQueueId, WorkerId,
    frame::{Batch, BatchRef, Class},
    journal::{Entry, Excerpt, Manifest, Position, Reader, RealFiles, Record, Storage, holdings},
};

use super::{Aspect, times::Timed};
use crate::{
    ReplayError,
    recorded::{journal_bytes_before, table_of},
};

/// What is compared one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sequence {
    /// A worker's rounds.
    Rounds(WorkerId),
    /// The frames that a worker took from one source, in whichever rounds.
    Frames(WorkerId, Place),
    /// The deliveries of an FSM, in whichever rounds, where they are recorded.
    Deliveries(WorkerId, RawQueueId),
}

/// One thing in a sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// Its number in its sequence: those of equal numbers are compared. Of frames the epoch comes first.
    pub(super) number: (u32, u64),
    /// The round that it is of: the worker's own number of it, its ordinal, and where its record stands.
    pub(super) round: u64,
    pub(super) ordinal: u64,
    pub(super) at: Position,
    /// Of a delivery, how many of its FSM stand before it in the round.
    pub(super) nth: usize,
    /// Digests of what is said of it; none of what isn't recorded.
    pub(super) of: [Option<u64>; Aspect::COUNT],
}

/// A journal that is read.
pub(super) struct Side {
    pub(super) dir: PathBuf,
    pub(super) reader: Reader,
    pub(super) manifest: Manifest,
    files: BTreeMap<u64, u64>,
    /// Whether rounds are compared as wholes; else the frames and the deliveries in them.
    by_rounds: bool,
    rounds: u64,
    /// By worker, the round whose end has yet to be read.
    open: BTreeMap<WorkerId, Item>,
    /// By worker and source, the last frame that was seen: those of before may be recorded again.
    seen: BTreeMap<(WorkerId, Place), (u32, u64)>,
    /// By FSM, how many deliveries there were, and the round of the last ones and how many are in it.
    delivered: BTreeMap<RawQueueId, (u64, u64, usize)>,
    /// What has yet to be compared.
    pub(super) items: BTreeMap<Sequence, VecDeque<Item>>,
    scratch: Batch,
    /// The types with times in them of the segment that is read, where times are ignored, and which segment that is.
    timed: Timed,
    segment: u64,
    /// Where the last record stands that was read.
    pub(super) reached: Position,
    /// There is no more.
    pub(super) is_over: bool,
}

impl Side {
    pub(super) fn open(dir: &Path) -> Result<Side, ReplayError> {
        let storage: Arc<dyn Storage> = Arc::new(RealFiles);
        let reader = Reader::open(storage.clone(), dir)?;
        let manifest = reader.manifest().clone();
        let files = holdings::segments(&*storage, dir)?.split_off(&manifest.oldest_segment);
        Ok(Side {
            dir: dir.into(),
            reader,
            manifest,
            files,
            by_rounds: true,
            rounds: 0,
            open: BTreeMap::new(),
            seen: BTreeMap::new(),
            delivered: BTreeMap::new(),
            items: BTreeMap::new(),
            scratch: Batch::new(Place::worker(WorkerId(0)), qnfsm::Epoch::FIRST, 1),
            timed: Timed::default(),
            segment: 0,
            reached: Position::default(),
            is_over: false,
        })
    }

    /// Compares what is in rounds, and not rounds.
    pub(super) fn ignore_times(&mut self) {
        self.by_rounds = false;
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.values().sum()
    }

    pub(super) fn bytes_read(&self) -> u64 {
        if self.is_over { self.bytes() } else { journal_bytes_before(&self.files, self.reached) }
    }

    /// Reads a record on.
    pub(super) fn read(&mut self) -> Result<(), ReplayError> {
        let Side { reader, dir, by_rounds, rounds, open, seen, delivered, items, scratch, timed, segment, .. } = self;
        let mut notes = Notes { by_rounds: *by_rounds, rounds, open, seen, delivered, items, scratch, timed };
        let Some(entry) = reader.next()? else {
            self.is_over = true;
            notes.finish();
            return Ok(());
        };
        self.reached = entry.position;
        if *by_rounds || entry.position.segment == *segment {
            notes.take(&entry);
            return Ok(());
        }
        // The header can only be looked at when the record is let go of.
        let mut first = Excerpt::default();
        first.push(&entry);
        let header = reader.header().expect("a record was read from a segment with a header");
        *segment = header.segment;
        *notes.timed = Timed::of(&table_of(header, dir)?);
        first.entries().for_each(|entry| notes.take(&entry));
        Ok(())
    }
}

struct Notes<'s> {
    by_rounds: bool,
    rounds: &'s mut u64,
    open: &'s mut BTreeMap<WorkerId, Item>,
    seen: &'s mut BTreeMap<(WorkerId, Place), (u32, u64)>,
    delivered: &'s mut BTreeMap<RawQueueId, (u64, u64, usize)>,
    items: &'s mut BTreeMap<Sequence, VecDeque<Item>>,
    scratch: &'s mut Batch,
    timed: &'s mut Timed,
}

impl Notes<'_> {
    fn put(&mut self, sequence: Sequence, item: Item) {
        self.items.entry(sequence).or_default().push_back(item);
    }

    /// The round of a worker has ended, with that digest if it is recorded.
    fn end(&mut self, worker: WorkerId, digest: Option<u64>) {
        if let Some(mut item) = self.open.remove(&worker)
            && self.by_rounds
        {
            item.of[Aspect::Outcome as usize] = digest;
            self.put(Sequence::Rounds(worker), item);
        }
    }

    fn finish(&mut self) {
        let open: Vec<_> = self.open.keys().copied().collect();
        open.into_iter().for_each(|worker| self.end(worker, None));
    }

    fn take(&mut self, entry: &Entry<'_>) {
        match entry.record {
            Record::Round { worker, round, bound, now, digest_before, batches } => {
                self.end(worker, Some(digest_before));
                let (ordinal, at) = (*self.rounds, entry.position);
                *self.rounds += 1;
                let mut inputs = Digest::new();
                for batch in batches {
                    inputs.mix(u64::from(batch.source.to_bits()));
                    inputs.mix(u64::from(batch.epoch.0));
                    inputs.mix(batch.first);
                    inputs.mix_bytes(batch.bytes);
                }
                let mut of = [None; Aspect::COUNT];
                of[Aspect::Inputs as usize] = Some(inputs.value());
                of[Aspect::Bound as usize] = Some(u64::from(bound));
                of[Aspect::Time as usize] = Some(now.as_nanos());
                of[Aspect::Told as usize] = Some(Digest::new().value());
                let item = Item { number: (0, round), round, ordinal, at, nth: 0, of };
                self.open.insert(worker, item);
                if !self.by_rounds {
                    batches.for_each(|batch| self.frames(worker, item, &batch));
                }
            }
            Record::External { worker, port, answer, .. } => self.told(worker, port.as_bytes(), answer),
            Record::Version { worker, name, version, .. } => {
                self.told(worker, name.as_bytes(), &version.to_le_bytes());
            }
            Record::Deliveries { worker, entries, .. } => self.deliveries(worker, entries),
            // The mark of an older snapshot says nothing of the last round.
            Record::DigestMark { worker, round, digest }
            | Record::SnapshotBegun { worker, round, digest }
            | Record::SnapshotMark { worker, round, digest, .. }
            | Record::WorkerStopped { worker, round, digest }
                if self.open.get(&worker).is_some_and(|item| item.round == round) =>
            {
                self.end(worker, Some(digest));
            }
            // Whether its digest is recorded, a later record says.
            _ => {}
        }
    }

    fn told(&mut self, worker: WorkerId, by: &[u8], what: &[u8]) {
        let Some(told) = self.open.get_mut(&worker).map(|item| &mut item.of[Aspect::Told as usize]) else { return };
        let mut digest = Digest::new();
        digest.mix(told.unwrap_or_default());
        digest.mix_bytes(by);
        digest.mix_bytes(what);
        *told = Some(digest.value());
    }

    fn frames(&mut self, worker: WorkerId, round: Item, batch: &BatchRef<'_>) {
        for (number, frame) in (batch.first..).zip(batch.frames().map_while(Result::ok)) {
            let number = (batch.epoch.0, number);
            let last = self.seen.get(&(worker, batch.source));
            if last.is_some_and(|last| *last >= number) {
                continue;
            }
            self.seen.insert((worker, batch.source), number);
            self.scratch.reset(batch.source, batch.epoch, number.1);
            let of_type = frame.header.type_number;
            let untimed = match (frame.header.class, frame.spawned()) {
                (Class::Message | Class::Reply | Class::Spawned, _) => self.timed.message(of_type, frame.payload),
                (_, Some((_, start_value))) => self.timed.start_value(of_type, start_value),
                _ => None,
            };
            self.scratch.push(&frame.header, untimed.as_deref().unwrap_or(frame.payload));
            let mut of = [None; Aspect::COUNT];
            of[Aspect::Inputs as usize] = Some(Digest::of(self.scratch.as_ref().bytes));
            self.put(Sequence::Frames(worker, batch.source), Item { number, of, ..round });
        }
    }

    fn deliveries(&mut self, worker: WorkerId, entries: &[u8]) {
        let Some(round) = self.open.get(&worker).copied() else { return };
        if self.by_rounds {
            let before = round.of[Aspect::Deliveries as usize];
            let mut digest = Digest::new();
            digest.mix(before.unwrap_or_default());
            digest.mix_bytes(entries);
            self.open.entry(worker).and_modify(|item| item.of[Aspect::Deliveries as usize] = Some(digest.value()));
            return;
        }
        for delivery in Deliveries::new(entries).map_while(Result::ok) {
            let (count, last, in_last) = self.delivered.entry(delivery.queue).or_default();
            let nth = if *last == round.round { *in_last } else { 0 };
            (*count, *last, *in_last) = (*count + 1, round.round, nth + 1);
            let number = (0, *count);
            let mut digest = Digest::new();
            let message = self.timed.message(delivery.type_number, &delivery.payload);
            let state = self.timed.state(delivery.kind, &delivery.state);
            digest.mix_bytes(message.as_ref().unwrap_or(&delivery.payload));
            digest.mix_bytes(state.as_ref().unwrap_or(&delivery.state));
            for part in [delivery.kind, delivery.handler as u32, delivery.type_number] {
                digest.mix(u64::from(part));
            }
            // Of the data and of what was asked for only digests are recorded, which times may be in.
            let mut of = [None; Aspect::COUNT];
            of[Aspect::Deliveries as usize] = Some(digest.value());
            self.put(Sequence::Deliveries(worker, delivery.queue), Item { number, nth, of, ..round });
        }
    }
}

//! What the records of a journal say, broken up into what is held against the other's, in order, each with where it stands. Of what was said
//! only digests are kept; what differs is read again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use qnfsm::{
    Codec, Deliveries, Digest, Epoch, Place, RawQueueId, Recording, RequestId, Trust, WorkerConfig, WorkerId,
    frame::{Batch, BatchRef, Class},
    journal::{Entry, Position, Record},
};

use super::{Aspect, times::Timed};

/// What is compared one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sequence {
    /// A worker's start: one thing, that there is such a worker.
    Start(WorkerId),
    /// A worker's rounds.
    Rounds(WorkerId),
    /// The frames that a worker took from one source, in whichever rounds.
    Frames(WorkerId, Place),
    /// The deliveries of an FSM, in whichever rounds, where they are recorded.
    Deliveries(WorkerId, RawQueueId),
}

impl Sequence {
    pub(super) fn worker(self) -> WorkerId {
        match self {
            Sequence::Start(worker)
            | Sequence::Rounds(worker)
            | Sequence::Frames(worker, _)
            | Sequence::Deliveries(worker, _) => worker,
        }
    }

    pub(super) fn is_of_deliveries(self) -> bool {
        matches!(self, Sequence::Deliveries(..))
    }

    /// Whether what is in it is counted: of a worker its rounds or frames are.
    pub(super) fn is_counted(self) -> bool {
        !matches!(self, Sequence::Start(_))
    }
}

/// When it can be said of something that only one journal has that the other one misses it; the rule stands in the head of
/// [`compare`](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Never by what else was taken: a timer or another worker may have yet to bring it.
    Never,
    /// Once the other's worker went on behind something that this one's took in a later round than that one.
    Behind(WorkerId, u64),
    /// Once any worker of the other went on behind something that stands later in this journal.
    InOrder,
}

/// One thing in a sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// Its number in its sequence: those of equal numbers are compared. Of frames the epoch comes first.
    pub(super) number: (u32, u64),
    /// The round that it is of: the worker's own number of it, its ordinal, and where its record stands. Of a worker's start, the round of
    /// the one who asked for it, and where the start's record stands.
    pub(super) round: u64,
    pub(super) ordinal: u64,
    pub(super) at: Position,
    /// Of a delivery, how many of its FSM stand before it in the round.
    pub(super) nth: usize,
    pub(super) due: Due,
    /// Digests of what is said of it; none of what isn't recorded.
    pub(super) of: [Option<u64>; Aspect::COUNT],
}

/// What was read of a journal and has yet to be compared, and what it takes to read on.
pub(super) struct Items {
    /// Whether rounds are compared as wholes; else the frames and the deliveries in them.
    pub(super) by_rounds: bool,
    /// What has yet to be compared; no sequence is empty.
    pub(super) waiting: BTreeMap<Sequence, VecDeque<Item>>,
    /// How many these are.
    pub(super) count: usize,
    /// What is of no interest any more.
    done_with: BTreeSet<Sequence>,
    /// What alone is of interest, unless all is.
    pub(super) only: Option<BTreeSet<Sequence>>,
    rounds: u64,
    /// By worker, the round whose end has yet to be read.
    open: BTreeMap<WorkerId, Item>,
    /// By worker, its last round so far.
    pub(super) last_rounds: BTreeMap<WorkerId, u64>,
    /// By worker and source, the last frame that was seen: those of before may be recorded again.
    seen: BTreeMap<(WorkerId, Place), (u32, u64)>,
    /// By FSM, how many deliveries there were, and the round of the last ones and how many are in it.
    delivered: BTreeMap<RawQueueId, (u64, u64, usize)>,
    /// By worker, whether each delivery since its start is recorded.
    is_whole: BTreeMap<WorkerId, bool>,
    /// The first frame of the latest epoch in which an edge put any in, and of which sequence it is.
    pub(super) latest_epoch: Option<(Sequence, Item)>,
    scratch: Batch,
    /// The types with times in them of the segment that is read, where times are ignored.
    pub(super) timed: Timed,
}

impl Items {
    pub(super) fn new(by_rounds: bool) -> Items {
        Items {
            by_rounds,
            waiting: BTreeMap::new(),
            count: 0,
            done_with: BTreeSet::new(),
            only: None,
            rounds: 0,
            open: BTreeMap::new(),
            last_rounds: BTreeMap::new(),
            seen: BTreeMap::new(),
            delivered: BTreeMap::new(),
            is_whole: BTreeMap::new(),
            latest_epoch: None,
            scratch: Batch::new(Place::worker(WorkerId(0)), Epoch::FIRST, 1),
            timed: Timed::default(),
        }
    }

    /// For another pass, from the journal's start, of these sequences alone. What was learnt of the whole stays.
    pub(super) fn again(&mut self, only: BTreeSet<Sequence>) {
        let (is_whole, latest_epoch) = (std::mem::take(&mut self.is_whole), self.latest_epoch);
        *self = Items { only: Some(only), is_whole, latest_epoch, ..Items::new(self.by_rounds) };
    }

    /// True if deliveries of that worker are missing in the record.
    pub(super) fn lacks_deliveries(&self, worker: WorkerId) -> bool {
        self.is_whole.get(&worker).is_some_and(|is_whole| !is_whole)
    }

    /// True if all deliveries of all workers are recorded.
    pub(super) fn has_deliveries(&self) -> bool {
        !self.is_whole.is_empty() && self.is_whole.values().all(|is_whole| *is_whole)
    }

    /// True if something that stands before that place has yet to be compared.
    pub(super) fn waits_before(&self, end: Position) -> bool {
        let waits = |items: &VecDeque<Item>| items.front().is_some_and(|item| item.at < end);
        self.open.values().any(|item| item.at < end) || self.waiting.values().any(waits)
    }

    /// Takes out what waits in a sequence.
    pub(super) fn take(&mut self, sequence: Sequence) -> VecDeque<Item> {
        let items = self.waiting.remove(&sequence).unwrap_or_default();
        self.count -= items.len();
        items
    }

    /// Puts back what is left of it.
    pub(super) fn put_back(&mut self, sequence: Sequence, items: VecDeque<Item>) {
        self.count += items.len();
        if !items.is_empty() {
            self.waiting.insert(sequence, items);
        }
    }

    /// Lets go of a sequence, and of what comes in it.
    pub(super) fn pass_over(&mut self, sequence: Sequence) {
        self.take(sequence);
        self.done_with.insert(sequence);
    }

    fn put(&mut self, sequence: Sequence, item: Item) {
        let is_wanted = self.only.as_ref().is_none_or(|only| only.contains(&sequence));
        if is_wanted && !self.done_with.contains(&sequence) {
            self.waiting.entry(sequence).or_default().push_back(item);
            self.count += 1;
        }
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

    /// There is no more.
    pub(super) fn finish(&mut self) {
        // What a round was told, and delivered, stands behind its record: of one whose end isn't there some may be missing.
        for item in self.open.values_mut() {
            item.of[Aspect::Told as usize] = None;
            item.of[Aspect::Deliveries as usize] = None;
        }
        let open: Vec<_> = self.open.keys().copied().collect();
        open.into_iter().for_each(|worker| self.end(worker, None));
    }

    /// Takes what a record says.
    pub(super) fn note(&mut self, entry: &Entry<'_>) {
        match entry.record {
            Record::Round { .. } => self.round(entry),
            Record::WorkerStarted { worker, config, request, .. } => {
                self.is_whole.entry(worker).or_insert(records_everything(config));
                self.start(worker, request, entry.position);
            }
            // What it was delivered before is missing, or numbered from another beginning.
            Record::WorkerKept { worker, .. } => _ = self.is_whole.entry(worker).or_insert(false),
            Record::Configured { worker, config, .. } if !records_everything(config) => {
                self.is_whole.insert(worker, false);
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

    fn start(&mut self, worker: WorkerId, request: Option<(RawQueueId, RequestId)>, at: Position) {
        let due = match request.map(|(asker, _)| asker.place().as_worker()) {
            Some(Some(asker)) => Due::Behind(asker, self.last_rounds.get(&asker).copied().unwrap_or_default()),
            Some(None) => Due::InOrder,
            // The node's first one.
            None => Due::Never,
        };
        let round = if let Due::Behind(_, round) = due { round } else { 0 };
        let of = [None; Aspect::COUNT];
        let item = Item { number: (0, 1), round, ordinal: self.rounds.saturating_sub(1), at, nth: 0, due, of };
        self.put(Sequence::Start(worker), item);
    }

    fn round(&mut self, entry: &Entry<'_>) {
        let Record::Round { worker, round, bound, now, digest_before, batches } = entry.record else { return };
        self.end(worker, Some(digest_before));
        self.last_rounds.insert(worker, round);
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
        let (ordinal, at) = (self.rounds, entry.position);
        let item = Item { number: (0, round), round, ordinal, at, nth: 0, due: Due::Never, of };
        self.rounds += 1;
        self.open.insert(worker, item);
        if !self.by_rounds {
            batches.for_each(|batch| self.frames(worker, item, &batch));
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
        let is_from_edge = batch.source.as_worker().is_none();
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
            let due = if is_from_edge && is_unasked(frame.header.class) {
                Due::Behind(worker, round.round)
            } else {
                Due::Never
            };
            let item = Item { number, of, due, ..round };
            if is_from_edge && self.latest_epoch.is_none_or(|(_, latest)| latest.number.0 < number.0) {
                self.latest_epoch = Some((Sequence::Frames(worker, batch.source), item));
            }
            self.put(Sequence::Frames(worker, batch.source), item);
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
        if self.lacks_deliveries(worker) {
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
            // Of the data and of what was asked for only digests are recorded, which times may be in. Which queues it spawned
            // depends on what else came before; how many doesn't.
            digest.mix(delivery.spawned.len() as u64);
            let mut of = [None; Aspect::COUNT];
            of[Aspect::Deliveries as usize] = Some(digest.value());
            self.put(Sequence::Deliveries(worker, delivery.queue), Item { number, nth, of, ..round });
        }
    }
}

/// True if the bytes of a worker's configuration say that each delivery is recorded.
fn records_everything(config: &[u8]) -> bool {
    let config: Result<WorkerConfig, _> = Codec::CURRENT.decode(config, Trust::Node);
    config.is_ok_and(|config| config.recording == Recording::Everything)
}

/// True of what comes from outside by itself. An answer comes when it was asked for, which a timer may have done.
fn is_unasked(class: Class) -> bool {
    matches!(class, Class::Message | Class::Spawn | Class::Stop | Class::Watch | Class::Unwatch)
}

//! The worker: a deterministic, single-threaded scheduler of FSMs, and a pure state machine itself.
//!
//! A driver feeds it a batch, lets it run a round, and takes what it put out. The worker has no thread, clock, file,
//! socket or ambient randomness; what it does follows from what it was fed. Node, replay, simulator and standby drive
//! the same code, and no rule of scheduling or delivery stands anywhere else.
//!
//! ```text
//!   feed(now, batches) ──▶ timers due, then frames ──▶ round(bound) ──▶ turns ──▶ drain_outputs
//! ```
//!
//! The files: `turn` runs handlers, `care` those of rounds that did not end before or are observed, `observe` shows them, `apply` does what they asked for, `deliver` is the way of a message, `notice` that
//! of news and dead letters, `seats` where FSMs come in and go. `cell` is one FSM and `typed_cell` the same with its
//! type, `waiting` what waits for it, `queue` the messages of that and `envelope` one of them; `ready` is the order of
//! turns, `timers` that of timers, `outputs` the frames that leave. `kinds` is what a program registers, `catalogue` the numbered
//! form of it, `table` what a journal says of it and `partial` such a form of kinds of which a journal has more; `image` is the snapshot, `waiting_image` what waits in it, `image_bytes` how
//! values lie in it, and `image_view` the same for who doesn't have the kinds; `view` is what a driver may look at between two
//! handlers; `carry_over` brings an image from one version of a program to another.

mod apply;
mod care;
mod carry_over;
#[cfg(test)]
mod carry_over_tests;
mod catalogue;
mod cell;
mod config;
mod deliver;
mod delivery;
mod envelope;
mod fault;
mod image;
mod image_bytes;
mod image_view;
mod kinds;
mod notice;
mod observe;
mod outputs;
mod partial;
mod queue;
mod ready;
mod seats;
mod snapshot;
mod table;
mod taking;
mod timers;
mod turn;
mod typed_cell;
mod view;
mod waiting;
mod waiting_image;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub use care::Skip;
pub(crate) use carry_over::CarryOver;
pub use carry_over::CarryOverError;
pub use catalogue::Catalogue;
pub use config::{Recording, WorkerConfig};
pub use delivery::{Deliveries, Delivery};
pub use fault::{Fault, FaultKind};
pub use image::ImageError;
pub use image_view::{FsmView, ImageView, RequestView, TimerLabel, TimerView, WaitingView, Waits};
pub use kinds::{Kinds, KindsError};
pub use observe::{Ask, Asked, AskedAll, At, Came, CameAs, End, Observer, Origins};
pub use snapshot::SnapshotError;
pub use table::{OtherResource, Table, TableKind, TableMessage, TableResource, TableSchema};
pub use turn::Turn;
pub use typed_cell::CellView;
pub use view::EncodedFsm;

use crate::{
    digest::Digest,
    frame::{Batch, BatchRef},
    fsm::{Effects, Externals, Pools},
    id::{Epoch, NodeId, Place, RawQueueId, WorkerId},
    message::Undelivered,
    time::Time,
    worker::{
        care::Care, delivery::Notes, notice::Notice, outputs::Outputs, queue::Envelopes, ready::Ready, seats::Seat,
        snapshot::Taking, timers::Timers,
    },
};

/// One worker: a deterministic, single-threaded scheduler of FSMs, and a pure state machine itself.
///
/// A driver feeds it a batch ([`feed`](Worker::feed)), lets it run a round ([`round`](Worker::round)), and takes what it
/// put out ([`drain_outputs`](Worker::drain_outputs)).
pub struct Worker {
    catalogue: Arc<Catalogue>,
    config: WorkerConfig,
    epoch: Epoch,
    round: u64,
    seats: Vec<Seat>,
    fsms: u32,
    /// Slots with work, in the order of their turns.
    ready: Ready,
    timers: Timers,
    effects: Effects,
    /// All messages that wait, by type number.
    pools: Pools,
    outputs: Outputs,
    /// The number that each source's next frame has.
    taken: BTreeMap<Place, (Epoch, u64)>,
    /// Watched queues with those who watch; one of the two at least is here.
    watches: BTreeMap<RawQueueId, Vec<RawQueueId>>,
    /// FSMs that want to be told of dead letters.
    mourners: Vec<RawQueueId>,
    notices: VecDeque<Notice>,
    counters: Counters,
    /// What waits in the queues of all FSMs.
    envelopes: Envelopes,
    deliveries: Vec<u8>,
    /// With [`Recording::Everything`]: of the delivery that is under way.
    notes: Notes,
    fault: Option<Box<Fault>>,
    turn: Turn,
    /// What is to be seen to in the round that runs, if it is run with care.
    care: Option<Box<Care>>,
    observer: Option<Box<dyn Observer + Send>>,
    /// The number of what happens now, as `observe` counts it.
    origin: u32,
    taking: Taking,
}

/// What a worker has counted since it started. Part of its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Messages that handlers were given.
    pub handled: u64,
    /// Messages that could not be delivered, by reason.
    pub dead_letters: BTreeMap<Undelivered, u64>,
    /// Handlers that panicked.
    pub panics: u64,
}

/// What a worker makes of a batch's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It takes the batch, without doing its first `skip` frames again, which it has seen.
    Take {
        /// How many frames it has seen.
        skip: u32,
    },
    /// It has seen all of it.
    Seen,
    /// Frames before it are missing.
    Gap {
        /// The number that should have come.
        expected: u64,
    },
    /// It is from an epoch that is over.
    Stale,
}

/// How a round ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RoundEnd {
    /// Its number; a worker's rounds count from 1.
    pub round: u64,
    /// How many messages were handled, starts of FSMs among them.
    pub handled: u32,
    /// Nothing is left to do until an input comes or a timer is due. Otherwise the bound was reached.
    pub idle: bool,
    /// What the worker put out and did, in a number.
    pub digest: u64,
    /// Why the worker can't go on.
    pub fault: Option<Fault>,
}

impl Worker {
    /// A worker without FSMs.
    #[must_use]
    pub fn new(catalogue: Arc<Catalogue>, node: NodeId, id: WorkerId, epoch: Epoch, config: WorkerConfig) -> Worker {
        let effects = Effects::new(node, id, config.seed, catalogue.new_nurseries(), catalogue.numbers().clone());
        let pools = catalogue.new_pools();
        Worker {
            catalogue,
            config,
            epoch,
            round: 0,
            seats: Vec::new(),
            fsms: 0,
            ready: Ready::new(),
            timers: Timers::default(),
            effects,
            pools,
            outputs: Outputs::new(Place::worker(id), epoch, Vec::new()),
            taken: BTreeMap::new(),
            watches: BTreeMap::new(),
            mourners: Vec::new(),
            notices: VecDeque::new(),
            counters: Counters::default(),
            envelopes: Envelopes::new(),
            deliveries: Vec::new(),
            notes: Notes::default(),
            fault: None,
            turn: Turn::default(),
            care: None,
            observer: None,
            origin: 0,
            taking: Taking::NOTHING,
        }
    }

    /// The kinds and message types that it knows.
    #[must_use]
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.effects.worker
    }

    /// The epoch in which it was started.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Why it can't go on, if it can't: it is in the middle of its last round then, and can't be snapshot.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_deref()
    }

    /// How many rounds it has run.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.round
    }

    /// The time of the last batch.
    #[must_use]
    pub fn now(&self) -> Time {
        self.effects.now
    }

    /// What shapes it.
    #[must_use]
    pub fn config(&self) -> &WorkerConfig {
        &self.config
    }

    /// What it has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many FSMs it holds.
    #[must_use]
    pub fn fsms(&self) -> u32 {
        self.fsms
    }

    /// Shows whose turn it is through `turn`.
    pub fn show_turns(&mut self, turn: Turn) {
        self.turn = turn;
    }

    /// True if there is nothing to do until an input comes or a timer is due.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_timer(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Changes what shapes it, between two rounds. The driver records the change.
    pub fn configure(&mut self, config: WorkerConfig) {
        self.effects.seed = config.seed;
        self.config = config;
    }

    /// What it would make of a batch that comes after those `ahead` of it in the same round, by its source and numbers.
    /// Several batches of one source follow one another.
    #[must_use]
    pub fn admission(&self, ahead: &[BatchRef<'_>], batch: &BatchRef<'_>) -> Admission {
        let ahead = ahead.iter().rev().find(|other| other.source == batch.source);
        let taken = ahead.map(|ahead| (ahead.epoch, ahead.next_number()));
        let expected = match taken.or_else(|| self.taken.get(&batch.source).copied()) {
            Some((epoch, _)) if batch.epoch < epoch => return Admission::Stale,
            Some((epoch, next)) if batch.epoch == epoch => next,
            // The first of a newer epoch, or of a source that was never heard of.
            _ => 1,
        };
        if batch.first > expected {
            return Admission::Gap { expected };
        }
        let seen = expected - batch.first;
        match u32::try_from(seen) {
            Ok(skip) if skip < batch.count => Admission::Take { skip },
            _ => Admission::Seen,
        }
    }

    /// The number that it expects next from a source in an epoch.
    #[must_use]
    pub fn expected(&self, source: Place, epoch: Epoch) -> u64 {
        match self.taken.get(&source) {
            Some((of, next)) if *of == epoch => *next,
            _ => 1,
        }
    }

    /// Begins a round: fires the timers that are due at `now`, then takes the frames of the batches in order. A `now`
    /// before the last round's is taken for that one's.
    ///
    /// # Panics
    /// When a batch is not one that [`Worker::admission`] takes, when the last round's outputs weren't drained, or
    /// when the worker can't go on: faults of the driver.
    pub fn feed<'a>(&mut self, now: Time, batches: impl IntoIterator<Item = BatchRef<'a>>) {
        assert!(self.fault.is_none(), "a worker with a fault runs no further round");
        assert!(self.outputs.is_empty(), "outputs are drained before the next round");
        self.round += 1;
        self.effects.now = self.effects.now.max(now);
        self.effects.digest = Digest::new();
        self.effects.digest.mix(self.round);
        self.effects.digest.mix(self.effects.now.as_nanos());
        self.deliveries.clear();
        self.origin = observe::low_half(self.happenings());
        if self.observer.is_some() {
            self.care.get_or_insert_default();
        }
        self.fire_timers();
        for batch in batches {
            let Admission::Take { skip: mut seen } = self.admission(&[], &batch) else {
                panic!("drivers admit batches before they feed them, and this is no next one of {}", batch.source);
            };
            self.taken.insert(batch.source, (batch.epoch, batch.next_number()));
            let mut frames = batch.frames();
            while let Some(frame) = frames.next() {
                match frame {
                    Ok(_) if seen > 0 => seen -= 1,
                    Ok(frame) => {
                        self.take_frame(&frame);
                        self.settle();
                        self.take_run(&frame.header, &mut frames);
                    }
                    Err(error) => {
                        let source_place = batch.source;
                        self.fail(None, FaultKind::BadBatch { source_place, error });
                        break;
                    }
                }
            }
        }
    }

    /// Runs turns until nothing is left to do or `bound` messages are handled.
    pub fn round(&mut self, bound: u32, externals: &mut dyn Externals) -> RoundEnd {
        let turn_messages = self.config.turn_messages.max(1);
        let mut left = bound;
        while left > 0 && self.fault.is_none() {
            self.note_turn();
            let Some(seat) = self.ready.pop(&mut self.seats) else { break };
            let queue = seat.queue;
            let messages = turn_messages.min(left);
            let taken = self.turn(queue, messages, externals);
            if taken == messages {
                self.wake(queue.slot());
            }
            left -= taken;
        }
        self.care = None;
        let handled = bound - left;
        self.counters.handled += u64::from(handled);
        let mut digest = self.effects.digest;
        self.outputs.digest_into(&mut digest);
        let idle = self.ready.is_empty();
        self.show_round_end();
        RoundEnd { round: self.round, handled, idle, digest: digest.value(), fault: self.fault.as_deref().cloned() }
    }

    /// True if the round put something out.
    #[must_use]
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Hands over what the round put out, destination by destination. The receiver may swap a batch for another, whose
    /// buffer is then used again.
    pub fn drain_outputs(&mut self, put: impl FnMut(Place, &mut Batch)) {
        self.outputs.drain(put);
    }

    /// The places that it has put frames out for, in this round or an earlier one.
    pub fn destinations(&self) -> impl Iterator<Item = Place> + '_ {
        self.outputs.destinations()
    }

    /// With [`Recording::Everything`]: the deliveries of the last round, as they go into the journal.
    #[must_use]
    pub fn deliveries(&self) -> &[u8] {
        &self.deliveries
    }

    /// The queues elsewhere that FSMs here watch, each with who watches.
    pub fn watches_elsewhere(&self) -> impl Iterator<Item = (RawQueueId, RawQueueId)> + '_ {
        let here = Place::worker(self.id());
        let elsewhere = self.watches.iter().filter(move |(watched, _)| watched.place() != here);
        elsewhere.flat_map(|(watched, watchers)| watchers.iter().map(|watcher| (*watched, *watcher)))
    }

    /// The queue of a slot and generation here.
    pub(super) fn queue_at(&self, slot: u32, generation: u32) -> RawQueueId {
        RawQueueId::new(self.effects.node, Place::worker(self.id()), slot, generation)
    }

    /// The number of the message type of the FSM in a queue; `None` if there is none.
    pub(super) fn message_type(&self, queue: RawQueueId) -> Option<u32> {
        self.seat(queue).map(|seat| seat.intake.message)
    }

    /// What the messages weigh that wait for its FSMs, postponed ones among them: each its size in memory, and where its
    /// type may hold more than that, such as a text, as many bytes more as it is long when encoded.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        self.envelopes.load.bytes()
    }

    /// The queues that hold the most bytes, at most three. It walks all messages that wait.
    #[must_use]
    pub fn largest_queues(&self) -> Vec<(RawQueueId, u64)> {
        let seats = (0..).zip(&self.seats);
        let mut queues: Vec<_> =
            seats.map(|(slot, seat)| (self.queue_of(slot), seat.waiting.bytes(&self.envelopes))).collect();
        queues.retain(|(_, bytes)| *bytes != 0);
        queues.sort_by_key(|&(queue, bytes)| (std::cmp::Reverse(bytes), queue));
        queues.truncate(3);
        queues
    }
}

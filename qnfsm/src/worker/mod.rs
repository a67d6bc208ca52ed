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
//! The files: `cell` is one FSM, `waiting` what waits for it, `envelope` one message of that; `timers` their order; `outputs` the frames that leave; `apply`
//! does what handlers asked for; `deliver` is the way of a message, a notice, a dead letter; `image` is the snapshot.

mod apply;
mod cell;
mod config;
mod deliver;
mod delivery;
mod envelope;
mod image;
mod kinds;
mod outputs;
mod timers;
mod waiting;

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

pub use config::{Recording, WorkerConfig};
pub use delivery::{Deliveries, Delivery};
pub use image::{ImageError, SnapshotError};
pub use kinds::{Catalogue, Kinds, KindsError, Table, TableKind, TableMessage, TableSchema};

use crate::{
    digest::Digest,
    frame::{Batch, BatchRef, FrameError},
    fsm::{Effects, ExternalFault, Externals, Fsm, Halt, Handler, OnPanic},
    id::{Epoch, NodeId, Place, QueueId, RawQueueId, RequestId, WorkerId},
    message::{DownReason, NoReply, Undelivered},
    slots::Slots,
    time::Time,
    worker::{
        cell::{AnyCell, Cell, Intake, Outcome},
        deliver::Notice,
        envelope::Load,
        outputs::Outputs,
        timers::Timers,
    },
};

/// A slot with what is in it.
#[derive(Default)]
struct Seat {
    generation: u32,
    /// The slot stands in the ready queue.
    ready: bool,
    cell: Option<Box<dyn AnyCell>>,
}

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
    ready: VecDeque<u32>,
    timers: Timers,
    effects: Effects,
    outputs: Outputs,
    /// The number that each source's next frame has.
    taken: BTreeMap<Place, (Epoch, u64)>,
    /// Watched queues with those who watch; one of the two at least is here.
    watches: BTreeMap<RawQueueId, Vec<RawQueueId>>,
    /// FSMs that want to be told of dead letters.
    mourners: Vec<RawQueueId>,
    notices: VecDeque<Notice>,
    counters: Counters,
    load: Load,
    deliveries: Vec<u8>,
    fault: Option<Fault>,
    turn: Turn,
}

/// Whose turn it is in a worker, for a watchdog on another thread to look at. It is written and never read by the worker.
#[derive(Debug, Clone, Default)]
pub struct Turn(Arc<AtomicU64>);

impl Turn {
    /// Slot and generation of the FSM that was given the last message.
    #[must_use]
    pub fn queue(&self) -> (u32, u32) {
        let bits = self.0.load(Ordering::Relaxed);
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("half of a u64 has 32 bits");
        (half(bits), half(bits >> 32))
    }

    fn show(&self, slot: u32, generation: u32) {
        self.0.store(u64::from(slot) | u64::from(generation) << 32, Ordering::Relaxed);
    }
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
    /// It takes the batch without its first `skip` frames, which it has seen.
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

/// Why a worker can't go on. A node that meets one stops; what the round put out never leaves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{worker} round {round}{}: {what}", .fsm.as_ref().map(|fsm| format!(", {fsm}")).unwrap_or_default())]
pub struct Fault {
    /// The worker.
    pub worker: WorkerId,
    /// The round.
    pub round: u64,
    /// The FSM: its kind, queue, state and the type of the message that it was handling.
    pub fsm: Option<String>,
    /// What happened.
    pub what: FaultKind,
}

/// What can keep a worker from going on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// A handler panicked, and its kind's policy is to stop the node.
    #[error("its handler panicked: {0}")]
    Panic(String),
    /// A handler asked for what no handler may ask for, and its kind's policy is to stop the node.
    #[error("its handler asked for what can't be done: {0}")]
    Misuse(String),
    /// A queue overflowed, and its policy is to stop the node.
    #[error("its queue is full, and its policy is to stop the node")]
    QueueFull,
    /// An external value could not be had.
    #[error("{}", .0.0)]
    External(ExternalFault),
    /// What one of the node's own sources put in are not frames.
    #[error("batch from {source_place}: {error}")]
    BadBatch {
        /// The source.
        source_place: Place,
        /// What is wrong.
        error: FrameError,
    },
}

impl Worker {
    /// A worker without FSMs.
    #[must_use]
    pub fn new(catalogue: Arc<Catalogue>, node: NodeId, id: WorkerId, epoch: Epoch, config: WorkerConfig) -> Worker {
        let effects = Effects {
            list: Vec::new(),
            outboxes: catalogue.outboxes(),
            nurseries: catalogue.nurseries(),
            numbers: catalogue.numbers().clone(),
            slots: Slots::new(),
            digest: Digest::new(),
            now: Time::ZERO,
            node,
            worker: id,
            next_timer: 0,
            seed: config.seed,
            misuse: None,
            scratch: Vec::new(),
            payload: Vec::new(),
            handler: Handler::Start,
            sender: RawQueueId { node, place: Place::worker(id), slot: 0, generation: 0 },
            asked: None,
            halted: None,
        };
        Worker {
            catalogue,
            config,
            epoch,
            round: 0,
            seats: Vec::new(),
            fsms: 0,
            ready: VecDeque::new(),
            timers: Timers::default(),
            effects,
            outputs: Outputs::new(Place::worker(id), epoch, Vec::new()),
            taken: BTreeMap::new(),
            watches: BTreeMap::new(),
            mourners: Vec::new(),
            notices: VecDeque::new(),
            counters: Counters::default(),
            load: Load::default(),
            deliveries: Vec::new(),
            fault: None,
            turn: Turn::default(),
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
    /// When a batch is not what [`Worker::admission`] lets in whole, when the last round's outputs weren't drained, or
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
        self.fire_timers();
        for batch in batches {
            assert_eq!(
                self.admission(&[], &batch),
                Admission::Take { skip: 0 },
                "drivers admit batches before they feed them"
            );
            self.taken.insert(batch.source, (batch.epoch, batch.next_number()));
            for frame in batch.frames() {
                match frame {
                    Ok(frame) => self.take_frame(&frame),
                    Err(error) => {
                        let source_place = batch.source;
                        self.fail(None, FaultKind::BadBatch { source_place, error });
                        break;
                    }
                }
                self.settle();
            }
        }
    }

    /// Runs turns until nothing is left to do or `bound` messages are handled.
    pub fn round(&mut self, bound: u32, externals: &mut dyn Externals) -> RoundEnd {
        let mut handled = 0;
        while handled < bound && self.fault.is_none() {
            let Some(slot) = self.ready.pop_front() else { break };
            self.seats[slot as usize].ready = false;
            let messages = self.config.turn_messages.max(1).min(bound - handled);
            handled += self.turn(slot, messages, externals);
            self.wake(slot);
        }
        self.counters.handled += u64::from(handled);
        let mut digest = self.effects.digest;
        self.outputs.digest_into(&mut digest);
        let idle = self.ready.is_empty();
        RoundEnd { round: self.round, handled, idle, digest: digest.value(), fault: self.fault.clone() }
    }

    /// Hands a ready FSM up to `messages` messages; says how many it took.
    fn turn(&mut self, slot: u32, messages: u32, externals: &mut dyn Externals) -> u32 {
        self.turn.show(slot, self.seats[slot as usize].generation);
        let span =
            tracing::trace_span!("turn", round = self.round, fsm = tracing::field::Empty, kind = tracing::field::Empty);
        if let (false, Some(cell)) = (span.is_disabled(), &self.seats[slot as usize].cell) {
            span.record("fsm", tracing::field::display(cell.queue()));
            span.record("kind", self.catalogue.kind_name(cell.kind()));
        }
        let _entered = span.enter();
        for taken in 0..messages {
            let seat = &self.seats[slot as usize];
            if self.fault.is_some() || !seat.cell.as_ref().is_some_and(|cell| cell.has_work()) {
                return taken;
            }
            self.handle(slot, externals);
        }
        messages
    }

    /// Runs one handler and does what it asked for.
    fn handle(&mut self, slot: u32, externals: &mut dyn Externals) {
        let everything = self.config.recording == Recording::Everything;
        let Worker { seats, effects, load, .. } = self;
        let cell = seats[slot as usize].cell.as_mut().expect("turns are given to FSMs that are there");
        let queue = cell.queue();
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| cell.handle_next(effects, externals, load, everything)));
        if let Ok(Outcome::Changed { state_timer: Some(key) }) = outcome {
            // The cell has ended it with its state, whatever becomes of the handler's effects.
            self.timers.cancel(key);
        }
        let outcome = match outcome {
            // A handler that catches unwinding can't go on without its external value all the same.
            Ok(_) if self.effects.halted.is_some() => return self.panicked(queue, Some(Box::new(Halt))),
            Ok(outcome) if self.effects.misuse.is_none() => outcome,
            other => return self.panicked(queue, other.err()),
        };
        if everything {
            self.record_delivery(queue, outcome);
        }
        self.apply(queue);
        match outcome {
            Outcome::Stayed => {}
            Outcome::Changed { .. } => self.enter_state(queue, externals),
            Outcome::Unhandled(sent) => self.undelivered(queue, sent, Undelivered::Unhandled),
            Outcome::PostponedTooMany(sent) => self.undelivered(queue, sent, Undelivered::PostponedTooMany),
            Outcome::Stop => self.remove(queue, DownReason::Stopped),
        }
        self.settle();
    }

    /// Runs the enter action of the FSM's new state and brings back what it had postponed.
    fn enter_state(&mut self, queue: RawQueueId, externals: &mut dyn Externals) {
        let Worker { seats, effects, .. } = self;
        // An effect of its own may have stopped the FSM.
        let Some(cell) = seats[queue.slot as usize].cell.as_mut().filter(|cell| cell.queue() == queue) else { return };
        // Its handler has returned: what becomes of the message's request is its business.
        effects.asked = None;
        let entered = panic::catch_unwind(AssertUnwindSafe(|| cell.enter(effects, externals)));
        match entered {
            Ok(()) if self.effects.misuse.is_none() => {}
            other => return self.panicked(queue, other.err()),
        }
        if self.config.recording == Recording::Everything {
            self.record_delivery(queue, Outcome::Stayed);
        }
        self.apply(queue);
        if let Some(cell) = self.cell_mut(queue) {
            cell.unpostpone();
        }
    }

    /// A handler panicked or misused its context: what it had appended is cut off, and the kind's policy applies.
    fn panicked(&mut self, queue: RawQueueId, payload: Option<Box<dyn Any + Send>>) {
        let misuse = self.effects.misuse.take();
        let asked = self.effects.asked.take();
        self.effects.cut_off();
        if payload.as_ref().is_some_and(|payload| payload.is::<Halt>()) {
            let fault = self.effects.halted.take().unwrap_or_else(|| ExternalFault("no external value".to_owned()));
            return self.fail(Some(queue), FaultKind::External(fault));
        }
        let what = match (payload, misuse) {
            (Some(payload), _) => FaultKind::Panic(panic_text(payload.as_ref())),
            (None, misuse) => FaultKind::Misuse(misuse.unwrap_or_default()),
        };
        if let Some((asker, request)) = asked {
            // What the handler had in its hands is gone with it.
            self.notices.push_back(Notice::Failed { to: asker, from: queue, request, why: NoReply::Failed });
        }
        self.counters.panics += 1;
        self.effects.digest.mix(u64::from_le_bytes(*b"panicked"));
        let policy = self.cell_mut(queue).map_or(OnPanic::StopNode, |cell| cell.on_panic());
        tracing::error!(queue = %queue, kind = self.kind_name(queue), %what, "a handler ends without effect");
        match policy {
            OnPanic::StopNode => self.fail(Some(queue), what),
            OnPanic::Restart { budget } if self.cell_mut(queue).is_some_and(|cell| cell.restarts() < budget) => {
                let restarted = self.cell_and_load(queue).map(|(cell, load)| cell.restart(load));
                let (dropped, keys) = restarted.unwrap_or_default();
                for key in keys {
                    self.timers.cancel(key);
                }
                for dropped in dropped {
                    self.dead_letter(queue, dropped);
                }
            }
            OnPanic::StopFsm | OnPanic::Restart { .. } => self.remove(queue, DownReason::Panicked),
        }
        self.settle();
    }

    /// The worker can't go on. The first fault counts.
    fn fail(&mut self, queue: Option<RawQueueId>, what: FaultKind) {
        let fsm = queue.map(|queue| {
            let state = self.cell(queue).map_or_else(|| "gone".to_owned(), |cell| cell.state_text());
            format!("kind {} ({queue}) in state {state}", self.kind_name(queue))
        });
        let fault = Fault { worker: self.id(), round: self.round, fsm, what };
        self.fault.get_or_insert(fault);
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

    /// True if the FSM of that queue waits for the answer of that request.
    #[must_use]
    pub fn awaits(&self, queue: RawQueueId, request: RequestId) -> bool {
        self.cell(queue).is_some_and(|cell| cell.awaits(request))
    }

    /// The queues elsewhere that FSMs here watch, each with who watches.
    pub fn watches_elsewhere(&self) -> impl Iterator<Item = (RawQueueId, RawQueueId)> + '_ {
        let here = Place::worker(self.id());
        let elsewhere = self.watches.iter().filter(move |(watched, _)| watched.place != here);
        elsewhere.flat_map(|(watched, watchers)| watchers.iter().map(|watcher| (*watched, *watcher)))
    }

    /// An FSM and its state, to look at; `None` if it is gone, of another kind, or has yet to start.
    #[must_use]
    pub fn fsm<F: Fsm>(&self, queue: QueueId<F::Message>) -> Option<(&F, F::State)> {
        let (fsm, state) = self.cell(queue.raw())?.as_any().downcast_ref::<Cell<F>>()?.inside();
        Some((fsm, state?))
    }

    /// The kind's name of the FSM in a queue.
    #[must_use]
    pub fn kind_name(&self, queue: RawQueueId) -> &str {
        self.cell(queue).map_or("unknown kind", |cell| self.catalogue.kind_name(cell.kind()))
    }

    /// What the messages weigh that wait for its FSMs, postponed ones among them: each its size in memory, and where its
    /// type may hold more than that, such as a text, as many bytes more as it is long when encoded.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        self.load.bytes()
    }

    /// The queues that hold the most bytes, at most three. It walks all messages that wait.
    #[must_use]
    pub fn largest_queues(&self) -> Vec<(RawQueueId, u64)> {
        let cells = self.seats.iter().filter_map(|seat| seat.cell.as_deref());
        let mut queues: Vec<_> = cells.map(|cell| (cell.queue(), cell.waiting_bytes())).collect();
        queues.retain(|(_, bytes)| *bytes != 0);
        queues.sort_by_key(|&(queue, bytes)| (std::cmp::Reverse(bytes), queue));
        queues.truncate(3);
        queues
    }

    fn cell(&self, queue: RawQueueId) -> Option<&dyn AnyCell> {
        let seat = self.seats.get(queue.slot as usize)?;
        let here = queue.place == Place::worker(self.id()) && queue.generation == seat.generation;
        seat.cell.as_deref().filter(|_| here)
    }

    fn cell_mut(&mut self, queue: RawQueueId) -> Option<&mut Box<dyn AnyCell>> {
        let here = queue.place == Place::worker(self.id());
        let seat = self.seats.get_mut(queue.slot as usize)?;
        let here = here && queue.generation == seat.generation;
        seat.cell.as_mut().filter(|_| here)
    }

    fn cell_and_intake(&mut self, queue: RawQueueId) -> Option<(&mut dyn AnyCell, Intake<'_>)> {
        let here = queue.place == Place::worker(self.id());
        let Worker { seats, catalogue, load, .. } = self;
        let seat = seats.get_mut(queue.slot as usize)?;
        let here = here && queue.generation == seat.generation;
        let cell = seat.cell.as_deref_mut().filter(|_| here)?;
        Some((cell, Intake { catalogue, load }))
    }

    fn cell_and_load(&mut self, queue: RawQueueId) -> Option<(&mut dyn AnyCell, &mut Load)> {
        self.cell_and_intake(queue).map(|(cell, intake)| (cell, intake.load))
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a text".to_owned())
}

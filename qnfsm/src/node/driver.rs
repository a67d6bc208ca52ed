//! The node's driver of one worker: a thread that gathers inputs, writes them down, runs the round, and lets out what
//! the worker put out. Nothing of a round leaves before it has ended, and nothing is run that isn't written down.

use std::{
    mem,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{
    NodeError,
    edge::{Inputs, Reactor, Wake},
    idle::Idle,
    inlet::{Numbers, hand_over},
    recovery::Snapshots,
    retained::{DriverImage, Held, Unacknowledged},
    shared::{Inbox, Parcel, Phase, RoundWatch, Shared, Way},
};
use crate::{
    digest::Digest,
    frame::{Batch, BatchRef},
    fsm::{ExternalFault, Externals},
    id::{EdgeId, Place, WorkerId},
    journal::Record,
    worker::{Admission, Recording, Worker},
};

/// The time that a round should take; its bound of messages aims at it.
const ROUND_AIM: Duration = Duration::from_micros(200);
/// The least and most messages of a round's bound.
const BOUND: std::ops::RangeInclusive<u32> = 64..=1 << 20;
/// The most batches that one round takes from the inbox.
const BATCHES_MAX: usize = 1024;
/// The most bytes that one round takes from the inbox, beyond its last batch; a round's record is bounded by that.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// How often the bytes in a busy worker's queues are counted.
const ACCOUNT_EVERY: Duration = Duration::from_millis(10);

/// A reactor in a worker's loop.
pub(super) struct InLoop {
    pub(super) edge: EdgeId,
    pub(super) reactor: Box<dyn Reactor>,
    pub(super) inputs: Inputs,
    pub(super) numbers: Numbers,
    /// What ends its wait from elsewhere.
    pub(super) wake: Wake,
}

impl InLoop {
    /// Hands the reactor what a worker put out for it.
    fn take_frames(&mut self, batch: &Batch, shared: &Shared, gathered: &mut Vec<Arc<Batch>>, here: Place) {
        for frame in batch.as_ref().frames().map_while(Result::ok) {
            self.reactor.take(&frame, &mut self.inputs);
        }
        self.take_inputs(shared, gathered, here);
    }

    /// Takes what the reactor put in: for the worker of this loop directly, for others into their inboxes.
    fn take_inputs(&mut self, shared: &Shared, gathered: &mut Vec<Arc<Batch>>, here: Place) {
        let InLoop { inputs, numbers, .. } = self;
        inputs.drain(|to, batch| {
            if to == here {
                shared.work_begins();
                shared.inbox_bytes.fetch_add(batch.bytes_len() as i64, Ordering::Relaxed);
                gathered.push(numbers.number(to, batch));
            } else {
                hand_over(shared, numbers, to, batch);
            }
        });
    }
}

/// One worker and all that its thread owns.
pub(super) struct Driver {
    pub(super) worker: Worker,
    /// The digest of its last round, and whether the journal has it.
    pub(super) digest: u64,
    pub(super) digest_marked: bool,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Inbox,
    pub(super) receiver: Receiver<Parcel>,
    pub(super) unacknowledged: Unacknowledged,
    pub(super) held: Held,
    pub(super) reactors: Vec<InLoop>,
    pub(super) snapshots: Option<Snapshots>,
    /// The journal's size at the last snapshot.
    snapshot_at: u64,
    /// Batches of the inbox that the next round takes.
    gathered: Vec<Arc<Batch>>,
    bound: u32,
    /// The worker counts as work under way.
    busy: bool,
    queued_bytes: i64,
    accounted: Instant,
    watch: Arc<RoundWatch>,
    idle: Idle,
}

/// External values from the program's ports, written down before the FSM gets them.
pub(super) struct Ports<'a> {
    pub(super) shared: &'a Shared,
    pub(super) round: u64,
}

impl Externals for Ports<'_> {
    fn read(&mut self, worker: WorkerId, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        let answer = self.shared.ask_port(port, question)?;
        if let Some(journal) = &self.shared.journal {
            let record = Record::External { worker, round: self.round, port, answer: &answer };
            journal.write(&record).map_err(|error| ExternalFault(error.to_string()))?;
        }
        Ok(answer)
    }
}

impl Driver {
    pub(super) fn new(
        mut worker: Worker,
        digest: u64,
        shared: Arc<Shared>,
        inbox: Inbox,
        receiver: Receiver<Parcel>,
        snapshots: Option<Snapshots>,
    ) -> Driver {
        let idle = Idle::new(shared.limits.idle);
        let snapshot_at = shared.journal.as_ref().map_or(0, |journal| journal.bytes_written());
        let watch = shared.watch_worker(worker.id());
        worker.show_turns(watch.turn.clone());
        // Until its first look round the worker may have work of its own.
        shared.work_begins();
        Driver {
            worker,
            digest,
            digest_marked: false,
            shared,
            inbox,
            receiver,
            unacknowledged: Unacknowledged::default(),
            held: Held::default(),
            reactors: Vec::new(),
            snapshots,
            snapshot_at,
            gathered: Vec::new(),
            bound: 4096,
            busy: true,
            queued_bytes: 0,
            accounted: Instant::now(),
            watch,
            idle,
        }
    }

    /// Drives the worker until the node stops. The driver comes back with all that is to be snapshot.
    pub(super) fn run(mut self) -> Driver {
        let span = tracing::info_span!("worker", node = self.shared.node.0, worker = self.worker.id().0);
        let _entered = span.enter();
        if let Err(error) = self.drive() {
            self.shared.fail(error);
        }
        for in_loop in &mut self.reactors {
            in_loop.reactor.close();
        }
        self
    }

    fn drive(&mut self) -> Result<(), NodeError> {
        loop {
            self.gather();
            self.poll_reactors(Some(Duration::ZERO))?;
            if self.shared.phase() == Phase::Stopping {
                return Ok(());
            }
            if self.has_round() {
                self.run_round()?;
                self.idle.reset();
            } else {
                self.rest()?;
            }
        }
    }

    fn has_round(&self) -> bool {
        let timer_is_due = || self.worker.next_timer().is_some_and(|next| next <= self.shared.clock.now());
        !self.gathered.is_empty() || !self.worker.is_idle() || timer_is_due()
    }

    /// Takes what is in the inbox, up to the bound of a round.
    fn gather(&mut self) {
        let mut bytes: usize = self.gathered.iter().map(|batch| batch.bytes_len()).sum();
        while self.gathered.len() < BATCHES_MAX && bytes < BATCH_BYTES_MAX {
            match self.receiver.try_recv() {
                Ok(Parcel::Frames(batch)) => {
                    bytes += batch.bytes_len();
                    self.gathered.push(batch);
                }
                Ok(other) => self.take_other(other),
                Err(_) => return,
            }
        }
    }

    /// What comes through the inbox and is no input.
    fn take_other(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Frames(_) => unreachable!("frames are gathered"),
            Parcel::Look => {}
            Parcel::ForEdge(edge, batch) => {
                let Driver { reactors, worker, shared, gathered, .. } = self;
                if let Some(in_loop) = reactors.iter_mut().find(|in_loop| in_loop.edge == edge) {
                    in_loop.take_frames(&batch, shared, gathered, Place::worker(worker.id()));
                }
            }
        }
    }

    /// Lets the edges in this loop look at the world; what they put in goes to its workers, to this one directly.
    fn poll_reactors(&mut self, mut timeout: Option<Duration>) -> Result<(), NodeError> {
        let here = Place::worker(self.worker.id());
        for in_loop in &mut self.reactors {
            let InLoop { edge, reactor, inputs, .. } = &mut *in_loop;
            inputs.set_admits_new_work(self.shared.admits_new_work());
            reactor
                .poll(timeout, inputs)
                .map_err(|source| NodeError::Edge { edge: *edge, source: Arc::new(source) })?;
            // Only the first may wait; several in one loop take turns to look.
            timeout = Some(Duration::ZERO);
            in_loop.take_inputs(&self.shared, &mut self.gathered, here);
        }
        Ok(())
    }

    /// Writes down and runs one round, and lets out what it put out.
    fn run_round(&mut self) -> Result<(), NodeError> {
        if !self.busy {
            self.busy = true;
            self.shared.work_begins();
        }
        let now = self.shared.clock.now();
        let round = self.worker.rounds() + 1;
        let gathered = mem::take(&mut self.gathered);
        let batches = self.admit(&gathered)?;
        if let Some(journal) = &self.shared.journal {
            journal.write(&Record::Round {
                worker: self.worker.id(),
                round,
                bound: self.bound,
                now,
                digest_before: self.digest,
                batches: &batches[..],
            })?;
        }
        self.worker.feed(now, batches.iter().copied());
        drop(batches);
        let taken = gathered.len();
        let taken_bytes: usize = gathered.iter().map(|batch| batch.bytes_len()).sum();
        // Letting go of the batches acknowledges them: they are recorded.
        self.gathered = gathered;
        self.gathered.clear();
        let begun = Instant::now();
        self.watch.begun_ns.store(now.as_nanos(), Ordering::Relaxed);
        let end = self.worker.round(self.bound, &mut Ports { shared: &self.shared, round });
        self.watch.begun_ns.store(0, Ordering::Relaxed);
        self.adapt_bound(end.handled, begun.elapsed());
        if let Some(fault) = end.fault {
            return Err(NodeError::Fault(Box::new(fault)));
        }
        self.digest = end.digest;
        self.digest_marked = false;
        self.record_deliveries(round)?;
        self.let_out();
        self.shared.stats.rounds.fetch_add(1, Ordering::Relaxed);
        self.shared.stats.messages.fetch_add(u64::from(end.handled), Ordering::Relaxed);
        self.shared.inbox_bytes.fetch_sub(taken_bytes as i64, Ordering::Relaxed);
        self.account_queues()?;
        self.shared.work_ends(taken);
        self.snapshot_if_due()
    }

    /// The batches without what the worker has seen already.
    fn admit<'a>(&self, gathered: &'a [Arc<Batch>]) -> Result<Vec<BatchRef<'a>>, NodeError> {
        let mut admitted: Vec<BatchRef<'a>> = Vec::with_capacity(gathered.len());
        for batch in gathered {
            let batch = batch.as_ref().as_ref();
            // Several batches of one source follow one another within the round.
            let ahead = admitted.iter().rev().find(|other| other.source == batch.source && other.epoch == batch.epoch);
            let admission = match ahead {
                Some(ahead) if batch.first == ahead.next_number() => Admission::Take { skip: 0 },
                Some(ahead) if batch.first > ahead.next_number() => {
                    Admission::Gap { expected: ahead.next_number() }
                }
                Some(ahead) => {
                    let skip = u32::try_from(ahead.next_number() - batch.first).unwrap_or(u32::MAX);
                    if skip < batch.count { Admission::Take { skip } } else { Admission::Seen }
                }
                None => self.worker.admission(&batch),
            };
            match admission {
                Admission::Take { skip: 0 } => admitted.push(batch),
                Admission::Take { skip } => {
                    let rest = batch.skip(skip).map_err(|error| self.inconsistent(&error.to_string()))?;
                    admitted.push(rest);
                }
                Admission::Seen | Admission::Stale => {}
                Admission::Gap { expected } => {
                    let text = format!("{} put in frame {} where {expected} is next", batch.source, batch.first);
                    return Err(self.inconsistent(&text));
                }
            }
        }
        Ok(admitted)
    }

    fn inconsistent(&self, what: &str) -> NodeError {
        NodeError::Inconsistent(format!("worker {} round {}: {what}", self.worker.id(), self.worker.rounds()))
    }

    /// Aims the next round's bound at the time that a round should take.
    fn adapt_bound(&mut self, handled: u32, took: Duration) {
        if handled < self.bound / 2 {
            return;
        }
        let took_ns = took.as_nanos().max(1);
        let aimed = u128::from(handled) * ROUND_AIM.as_nanos() / took_ns;
        let aimed = u32::try_from(aimed).unwrap_or(u32::MAX);
        self.bound = aimed.clamp(*BOUND.start(), *BOUND.end());
    }

    fn record_deliveries(&self, round: u64) -> Result<(), NodeError> {
        let (Some(journal), Recording::Everything) = (&self.shared.journal, self.worker.config().recording) else {
            return Ok(());
        };
        let entries = self.worker.deliveries();
        Ok(journal.append(&Record::Deliveries { worker: self.worker.id(), round, entries })?)
    }

    /// Lets out what the round put out, now that it has ended.
    fn let_out(&mut self) {
        let Driver { worker, shared, unacknowledged, held, reactors, gathered, .. } = self;
        let (here, worker_epoch) = (Place::worker(worker.id()), worker.epoch());
        worker.drain_outputs(|to, batch| match (to.as_worker(), to.as_edge()) {
            (Some(receiver), _) => {
                let kept = unacknowledged.keep(to, batch);
                if !shared.put(receiver, kept.clone()) {
                    shared.nobody_there(to, &kept);
                }
            }
            (_, Some(edge)) => {
                held.keep(to, &batch.as_ref());
                let in_loop = reactors.iter_mut().find(|in_loop| in_loop.edge == edge);
                match (in_loop, shared.edge(edge)) {
                    (Some(in_loop), _) => in_loop.take_frames(batch, shared, gathered, here),
                    (None, Some(Way::Outlet(outlet))) => outlet.put(batch),
                    (None, Some(Way::InLoopOf(other))) => {
                        // They are handed to the reactor there, and are no input of that worker.
                        let mut frames = Batch::new(here, worker_epoch, 1);
                        mem::swap(&mut frames, batch);
                        shared.put_for_edge(other, edge, frames);
                    }
                    (None, None) => shared.nobody_there(to, batch),
                }
            }
            (None, None) => unreachable!("a place is a worker or an edge"),
        });
        held.prune(worker);
    }

    /// Tells the node how many bytes wait in the worker's queues; past the hard limit the node stops.
    fn account_queues(&mut self) -> Result<(), NodeError> {
        // Walking the FSMs that have work costs; it is done now and then, and when there may be something to see.
        if self.queued_bytes == 0 && (self.worker.is_idle() || self.accounted.elapsed() < ACCOUNT_EVERY) {
            return Ok(());
        }
        self.accounted = Instant::now();
        let queued_bytes = self.worker.queued_bytes() as i64;
        self.shared.queued_bytes.fetch_add(queued_bytes - self.queued_bytes, Ordering::Relaxed);
        self.queued_bytes = queued_bytes;
        if self.shared.bytes_held() > self.shared.limits.hard_limit_bytes as i64 {
            let largest = self.worker.largest_queues();
            let queues = largest.iter().map(|(queue, bytes)| format!("{queue}: {bytes} bytes")).collect();
            return Err(NodeError::HardLimit { limit_bytes: self.shared.limits.hard_limit_bytes, queues });
        }
        Ok(())
    }

    /// Nothing to do: waits as the idle strategy has it, until an input comes or a timer is due.
    fn rest(&mut self) -> Result<(), NodeError> {
        if self.busy {
            self.busy = false;
            self.shared.work_ends(1);
        }
        if self.idle.spins() {
            return Ok(());
        }
        self.mark_digest()?;
        let timeout = self.worker.next_timer().map(|next| self.shared.clock.until(next));
        if self.reactors.is_empty() {
            let parcel = match timeout {
                Some(timeout) => self.receiver.recv_timeout(timeout),
                None => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match parcel {
                Ok(Parcel::Frames(batch)) => self.gathered.push(batch),
                Ok(other) => self.take_other(other),
                Err(_) => {}
            }
            return Ok(());
        }
        // Who puts something into the inbox from now on wakes the reactor; what was put in before is seen here.
        self.inbox.parked.store(true, Ordering::SeqCst);
        let timeout = if self.receiver.is_empty() { timeout } else { Some(Duration::ZERO) };
        let polled = self.poll_reactors(timeout);
        self.inbox.parked.store(false, Ordering::SeqCst);
        polled
    }

    /// Writes down the last round's digest when no next round is near that would carry it. It goes with the next write:
    /// if the process is killed before, the round only stays unproved.
    pub(super) fn mark_digest(&mut self) -> Result<(), NodeError> {
        if let (Some(journal), false) = (&self.shared.journal, self.digest_marked) {
            let (worker, round) = (self.worker.id(), self.worker.rounds());
            if round > 0 {
                journal.append(&Record::DigestMark { worker, round, digest: self.digest })?;
            }
            self.digest_marked = true;
        }
        Ok(())
    }

    fn snapshot_if_due(&mut self) -> Result<(), NodeError> {
        let Some(journal) = &self.shared.journal else { return Ok(()) };
        let written = journal.bytes_written();
        if written - self.snapshot_at < self.shared.limits.snapshot_every_bytes {
            return Ok(());
        }
        self.snapshot_at = written;
        self.snapshot()
    }

    /// Writes a snapshot of the worker and what is retained beside it, and marks it in the journal.
    pub(super) fn snapshot(&mut self) -> Result<(), NodeError> {
        let (Some(journal), Some(snapshots)) = (&self.shared.journal, &self.snapshots) else { return Ok(()) };
        if self.worker.rounds() == 0 {
            return Ok(());
        }
        let mut image = Vec::new();
        let encoded = self.worker.snapshot(&mut image);
        encoded.map_err(|error| self.inconsistent(&format!("its snapshot can't be encoded: {error}")))?;
        let driver = DriverImage::of(&mut self.unacknowledged, &mut self.held, &self.worker).to_bytes();
        let (worker, round) = (self.worker.id(), self.worker.rounds());
        snapshots.store(worker, round, &image, &driver)?;
        let image_digest = Digest::of(&image);
        journal.append(&Record::SnapshotMark { worker, round, digest: self.digest, image_digest })?;
        self.digest_marked = true;
        Ok(())
    }
}

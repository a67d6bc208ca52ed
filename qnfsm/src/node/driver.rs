//! The node's driver of one worker: a thread that gathers inputs, writes them down, runs the round, and lets out what
//! the worker put out. Nothing of a round leaves before it has ended, and nothing is run that isn't written down.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    NodeError,
    idle::Idle,
    in_loop::{InLoop, LOOK_AGAIN_AFTER},
    inbox::{InboxEnd, Parcel},
    outbox::{Loop, Outbox},
    ports::Ports,
    shared::{Phase, Shared},
    snapshotting::{Newest, UnderWay},
    watchdog::RoundWatch,
};
use crate::{
    frame::{Batch, BatchRef},
    id::Place,
    journal::{Outcome, Position, Record},
    time::Time,
    worker::{Admission, Deliveries, Recording, Worker},
};

/// The time that a round should take; its bound of messages aims at it.
const ROUND_AIM: Duration = Duration::from_micros(200);
/// The least and most messages of a round's bound.
const BOUND: std::ops::RangeInclusive<u32> = 64..=1 << 20;
/// The most batches that one round takes from the inbox.
const BATCHES_MAX: usize = 1024;

/// How long the first of several reactors in one loop waits before the others look.
const SEVERAL_LOOK_EVERY: Duration = Duration::from_millis(1);

/// How often a worker's largest queues are looked for while the node is over its budget.
const ACCOUNT_EVERY: Duration = Duration::from_millis(10);

/// Among so many FSMs, and in so many bytes that wait for them, the largest queues are found within a millisecond or so.
const LARGEST_OF_FSMS: u32 = 1 << 16;
const LARGEST_OF_BYTES: u64 = 16 << 20;

/// A round's deliveries are written in records of about this size; one entry more may be in it.
const DELIVERIES_RECORD_BYTES: usize = 16 << 20;

/// One worker and all that its thread owns.
pub(super) struct Driver {
    pub(super) worker: Worker,
    /// The digest of its last round, and whether the journal has it.
    pub(super) digest: u64,
    pub(super) digest_marked: bool,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: InboxEnd,
    pub(super) outbox: Outbox,
    /// Somebody has said to look: a sync may be done.
    was_called: bool,
    /// The end of the last round's records.
    recorded: Position,
    pub(super) reactors: Vec<InLoop>,
    pub(super) newest: Newest,
    pub(super) under_way: Option<UnderWay>,
    /// How many parcels of the inbox were put in before the node's start, and the time at which the node went down.
    resumed: usize,
    went_down: Time,
    /// Batches of the inbox that the next round takes.
    gathered: Vec<Arc<Batch>>,
    /// Room for looking at them, empty between rounds.
    admitted: Vec<BatchRef<'static>>,
    bound: u32,
    /// The worker counts as work under way.
    busy: bool,
    /// What was last told of what waits here.
    waiting_bytes: u64,
    /// When its largest queues were last looked for.
    accounted: Option<Instant>,
    pub(super) watch: Arc<RoundWatch>,
    idle: Idle,
}

impl Driver {
    pub(super) fn new(mut worker: Worker, digest: u64, shared: Arc<Shared>, inbox: InboxEnd) -> Driver {
        let idle = Idle::new(shared.limits.idle);
        let written = shared.journal.as_ref().map_or(0, |journal| journal.bytes_written());
        let watch = shared.watchdog.watch(worker.id());
        worker.show_turns(watch.turn.clone());
        watch.begins(&worker);
        // Until its first look round the worker may have work of its own.
        shared.work_begins();
        let outbox = Outbox::new(worker.id());
        Driver {
            worker,
            digest,
            digest_marked: false,
            shared,
            inbox,
            outbox,
            was_called: false,
            recorded: Position::default(),
            reactors: Vec::new(),
            newest: Newest::none(written),
            under_way: None,
            resumed: 0,
            went_down: Time::ZERO,
            gathered: Vec::new(),
            admitted: Vec::new(),
            bound: 4096,
            busy: true,
            waiting_bytes: 0,
            accounted: None,
            watch,
            idle,
        }
    }

    /// Drives the worker until the node stops. The driver comes back with all that is to be snapshot.
    pub(super) fn run(mut self) -> Driver {
        let span = tracing::info_span!("worker", node = self.shared.node.0, worker = self.worker.id().0);
        let _entered = span.enter();
        let here = Place::worker(self.worker.id());
        self.inbox.is_woken_by(self.reactors.first().map(|in_loop| in_loop.wake.clone()));
        // Users' handlers are caught elsewhere; what else panics is a fault of the library's or of an edge's. The driver
        // stays as it is, so that nobody takes what its inbox holds for recorded.
        let driven = catch_unwind(AssertUnwindSafe(|| {
            self.drive()?;
            if self.shared.has_failed() { Ok(()) } else { self.take_leave() }
        }));
        if let Err(error) = driven.unwrap_or(Err(NodeError::Panicked(here))) {
            self.shared.fail(error);
        }
        for in_loop in &mut self.reactors {
            if catch_unwind(AssertUnwindSafe(|| in_loop.reactor.close())).is_err() {
                self.shared.fail(NodeError::Panicked(Place::edge(in_loop.edge)));
            }
        }
        self.shared.driver_ends();
        self
    }

    /// The worker was there before: what is in the inbox now was under way when the node went down at that time, and what
    /// waits in its queues counts from now on.
    pub(super) fn resume(&mut self, went_down: Time) {
        self.resumed = self.inbox.len();
        self.went_down = went_down;
        self.recount();
    }

    fn drive(&mut self) -> Result<(), NodeError> {
        while self.resumed > 0 && self.shared.phase() != Phase::Stopping {
            self.resumed -= self.gather(self.resumed);
            if !self.gathered.is_empty() {
                self.run_round(self.time_of_resumed())?;
            }
        }
        loop {
            self.gather(usize::MAX);
            if std::mem::take(&mut self.was_called) {
                self.let_out_synced();
                self.snapshot_if_asked()?;
                self.look_for_largest();
            }
            self.poll_reactors(Some(Duration::ZERO))?;
            if self.shared.phase() == Phase::Stopping {
                return Ok(());
            }
            if self.has_round() {
                self.run_round(self.shared.clock.now())?;
                self.idle.ends();
            } else {
                self.rest()?;
            }
        }
    }

    /// Records and runs once more what was put in before the stop: who sent it was told that it was taken. What comes
    /// of it stands in the snapshot.
    fn take_leave(&mut self) -> Result<(), NodeError> {
        let mut left = self.inbox.len();
        loop {
            left = left.saturating_sub(self.gather(left));
            if self.gathered.is_empty() {
                break;
            }
            self.run_round(self.shared.clock.now())?;
            if left == 0 {
                break;
            }
        }
        if self.outbox.is_waiting() {
            self.shared.sync()?;
            self.let_out_synced();
        }
        Ok(())
    }

    /// What was under way comes at the time at which the node went down, and before the worker's next timer: an answer
    /// that was there must not lose against a deadline that passed while nobody could take it.
    fn time_of_resumed(&self) -> Time {
        let before_timers = self.worker.next_timer().map(|next| Time::from_nanos(next.as_nanos().saturating_sub(1)));
        let now = before_timers.map_or(self.went_down, |before| self.went_down.min(before));
        now.max(self.worker.now())
    }

    fn has_round(&self) -> bool {
        let timer_is_due = || self.worker.next_timer().is_some_and(|next| next <= self.shared.clock.now());
        !self.gathered.is_empty() || !self.worker.is_idle() || timer_is_due()
    }

    /// Takes what is in the inbox, up to `parcels_max` and the bounds of a round. Says how many parcels there were.
    fn gather(&mut self, parcels_max: usize) -> usize {
        let (mut parcels, bytes_max) = (0, self.shared.limits.round_bytes_max());
        let mut bytes: usize = self.gathered.iter().map(|batch| batch.bytes_len()).sum();
        while parcels < parcels_max && self.gathered.len() < BATCHES_MAX && bytes < bytes_max {
            let Some(parcel) = self.inbox.take() else { break };
            parcels += 1;
            bytes += self.take_parcel(parcel);
        }
        parcels
    }

    /// Takes one parcel; says how many bytes of input it holds.
    fn take_parcel(&mut self, parcel: Parcel) -> usize {
        match parcel {
            Parcel::Frames(batch) => {
                let bytes = batch.bytes_len();
                self.gathered.push(batch);
                bytes
            }
            Parcel::ForEdge(edge, batch) => {
                let here = Place::worker(self.worker.id());
                if let Some(in_loop) = self.reactors.iter_mut().find(|in_loop| in_loop.edge == edge) {
                    in_loop.take_frames(&batch, &self.shared);
                    in_loop.take_inputs(&self.shared, &mut self.gathered, here);
                }
                self.shared.give_back(batch.bytes_len());
                self.shared.work_ends(1);
                0
            }
            Parcel::Look => {
                self.was_called = true;
                0
            }
        }
    }

    /// Lets the edges in this loop look at the world; what they put in goes to its workers, to this one directly.
    fn poll_reactors(&mut self, mut timeout: Option<Duration>) -> Result<(), NodeError> {
        let here = Place::worker(self.worker.id());
        for in_loop in &mut self.reactors {
            in_loop.poll(timeout, &self.shared)?;
            // Only the first may wait; several in one loop take turns to look.
            timeout = Some(Duration::ZERO);
            in_loop.take_inputs(&self.shared, &mut self.gathered, here);
        }
        Ok(())
    }

    /// Writes down and runs one round, and lets out what it put out.
    fn run_round(&mut self, now: Time) -> Result<(), NodeError> {
        let round = self.worker.rounds() + 1;
        let mut work = self.gathered.len();
        if !self.busy {
            self.busy = true;
            // It counts as work under way, from now on itself in place of one of the batches that it takes.
            match work.checked_sub(1) {
                Some(others) => work = others,
                None => self.shared.work_begins(),
            }
        }
        let taken_bytes: usize = self.gathered.iter().map(|batch| batch.bytes_len()).sum();
        self.begin_round(round, now)?;
        // Letting go of the batches acknowledges them: they are recorded.
        self.gathered.clear();
        let begun = Instant::now();
        self.watch.round_begins(round, self.shared.clock.at(begun));
        let panics = self.worker.counters().panics;
        let mut ports = Ports::new(&self.shared, round);
        let end = self.worker.round(self.bound, &mut ports);
        let Ports { failed, recorded, .. } = ports;
        self.recorded = self.recorded.max(recorded);
        let was_reported = self.watch.round_ends(&self.worker);
        self.adapt_bound(end.handled, begun);
        if let Some(error) = failed {
            return Err(NodeError::Journal(error));
        }
        if let Some(fault) = end.fault {
            if let Some(journal) = &self.shared.journal {
                // Nothing of it has left, and nothing will: whatever becomes of this record, the fault is what is told.
                let (worker, outcome) = (self.worker.id(), Outcome::Faulted);
                let _ = journal.write(&Record::Attempt { worker, round, at: None, outcome });
            }
            return Err(NodeError::Fault(Box::new(fault)));
        }
        self.digest = end.digest;
        self.digest_marked = false;
        self.record_deliveries(round)?;
        if self.shared.recorder.is_some() && self.worker.counters().panics > panics {
            self.mark_digest()?;
            self.shared.record_panic(self.worker.id(), round);
        }
        if was_reported || (self.shared.marks_ends && self.worker.has_outputs()) {
            self.mark_end()?;
        }
        self.let_out();
        self.account()?;
        self.shared.give_back(taken_bytes);
        self.shared.work_ends(work);
        self.snapshot_if_due()
    }

    /// Writes down what has gathered, and feeds it to the worker.
    fn begin_round(&mut self, round: u64, now: Time) -> Result<(), NodeError> {
        let Driver { worker, gathered, admitted, .. } = self;
        let mut batches = emptied(std::mem::take(admitted));
        admit(worker, gathered, &mut batches)?;
        if let Some(journal) = &self.shared.journal {
            self.recorded = journal.write(&Record::Round {
                worker: worker.id(),
                round,
                bound: self.bound,
                now,
                digest_before: self.digest,
                batches: &batches[..],
            })?;
        }
        worker.feed(now, batches.iter().copied());
        *admitted = emptied(batches);
        Ok(())
    }

    /// Aims the next round's bound at the time that a round should take.
    fn adapt_bound(&mut self, handled: u32, begun: Instant) {
        if handled < self.bound / 2 {
            return;
        }
        let took_ns = begun.elapsed().as_nanos().max(1);
        let aimed = u128::from(handled) * ROUND_AIM.as_nanos() / took_ns;
        let aimed = u32::try_from(aimed).unwrap_or(u32::MAX);
        self.bound = aimed.clamp(*BOUND.start(), *BOUND.end());
    }

    fn record_deliveries(&self, round: u64) -> Result<(), NodeError> {
        let (Some(journal), Recording::Everything) = (&self.shared.journal, self.worker.config().recording) else {
            return Ok(());
        };
        let worker = self.worker.id();
        for entries in Deliveries::new(self.worker.deliveries()).pieces(DELIVERIES_RECORD_BYTES) {
            journal.append(&Record::Deliveries { worker, round, entries })?;
        }
        Ok(())
    }

    /// Lets out what the round put out, now that it has ended.
    fn let_out(&mut self) {
        let Driver { worker, shared, outbox, recorded, reactors, gathered, .. } = self;
        outbox.let_out(worker, *recorded, shared, &mut Loop { reactors, gathered });
    }

    /// Lets out what waited until it was on disk.
    fn let_out_synced(&mut self) {
        let Driver { shared, outbox, reactors, gathered, .. } = self;
        outbox.let_out_synced(shared, &mut Loop { reactors, gathered });
        self.recount();
    }

    /// Tells the node how many bytes wait here: in the worker's queues, and held for edges. Past the hard limit the node
    /// stops.
    fn account(&mut self) -> Result<(), NodeError> {
        self.recount();
        if !self.shared.budget.has_room() {
            // What takes a walk is done now and then; but a worker that comes to rest lets go of what is answered.
            let is_due = self.accounted.is_none_or(|accounted| accounted.elapsed() >= ACCOUNT_EVERY);
            if is_due || self.worker.is_idle() {
                self.outbox.held.retain(&self.worker);
                self.recount();
            }
            if is_due {
                self.accounted = Some(Instant::now());
                self.shared.budget.set_largest(Place::worker(self.worker.id()), self.worker.largest_queues());
            }
        }
        self.shared.check_hard_limit()
    }

    fn recount(&mut self) {
        let (in_queues, for_edges) = (self.worker.waiting_bytes(), self.outbox.bytes());
        self.watch.tell_bytes(in_queues, for_edges);
        let waiting_bytes = in_queues + for_edges;
        if waiting_bytes != self.waiting_bytes {
            self.shared.recount(self.waiting_bytes, waiting_bytes);
            self.waiting_bytes = waiting_bytes;
        }
    }

    /// Looks for the worker's largest queues, if somebody wants to know and it is quick. While the node is over its budget they are
    /// looked for after rounds.
    fn look_for_largest(&mut self) {
        if !self.watch.takes_asking() || !self.shared.budget.has_room() {
            return;
        }
        let is_quick = self.worker.fsms() <= LARGEST_OF_FSMS && self.worker.waiting_bytes() <= LARGEST_OF_BYTES;
        let largest = if is_quick { self.worker.largest_queues() } else { Vec::new() };
        self.shared.budget.set_largest(Place::worker(self.worker.id()), largest);
    }

    /// Nothing to do: waits as the idle strategy has it, until an input comes or a timer is due.
    fn rest(&mut self) -> Result<(), NodeError> {
        if self.busy {
            self.busy = false;
            self.shared.work_ends(1);
        }
        self.outbox.ask_for_sync(&self.shared);
        if self.go_on_with_snapshot()? {
            return Ok(());
        }
        if self.idle.spins(!self.reactors.is_empty()) {
            return Ok(());
        }
        self.snapshot_by_time()?;
        if !self.outbox.is_waiting() {
            self.mark_digest()?;
        }
        let until_timer = self.worker.next_timer().map(|next| self.shared.clock.until(next));
        let timeout = [until_timer, self.look_again_after(), self.until_snapshot()].into_iter().flatten().min();
        let timeout = if self.inbox.falls_asleep() { timeout } else { Some(Duration::ZERO) };
        let waited = self.wait(timeout);
        self.inbox.wakes_up();
        self.idle.slept();
        waited
    }

    /// Waits for the world, or where no reactor does that, for the inbox.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), NodeError> {
        if !self.reactors.is_empty() {
            return self.poll_reactors(timeout);
        }
        match timeout {
            Some(Duration::ZERO) => {}
            Some(timeout) => thread::park_timeout(timeout),
            None => thread::park(),
        }
        Ok(())
    }

    /// How long the reactors may wait though nobody wakes them.
    fn look_again_after(&self) -> Option<Duration> {
        if self.reactors.is_empty() {
            return None;
        }
        // Several in one loop can't wait at the same time.
        let several = (self.reactors.len() > 1).then_some(SEVERAL_LOOK_EVERY);
        let refused = (!self.shared.admits_new_work()).then_some(LOOK_AGAIN_AFTER);
        [several, refused].into_iter().flatten().min()
    }

    /// Writes down the last round's digest when no next round is near that would carry it. It goes with the next write:
    /// if the process is killed before, the round only stays unproved.
    pub(super) fn mark_digest(&mut self) -> Result<(), NodeError> {
        if let (Some(journal), false) = (&self.shared.journal, self.digest_marked) {
            let (worker, round) = (self.worker.id(), self.worker.rounds());
            if round > 0 {
                self.recorded = journal.append(&Record::DigestMark { worker, round, digest: self.digest })?;
            }
            self.digest_marked = true;
        }
        Ok(())
    }

    /// Writes down that the round has ended, before anything of it leaves.
    fn mark_end(&mut self) -> Result<(), NodeError> {
        self.mark_digest()?;
        Ok(self.shared.journal.as_ref().map_or(Ok(()), |journal| journal.flush())?)
    }
}

/// Room for batches that live otherwise long: the same buffer, which collecting in place keeps.
fn emptied<'a>(mut room: Vec<BatchRef<'_>>) -> Vec<BatchRef<'a>> {
    room.clear();
    room.into_iter().map(|_| unreachable!("it was just emptied")).collect()
}

/// The batches of which the worker hasn't seen all.
fn admit<'a>(worker: &Worker, gathered: &'a [Arc<Batch>], admitted: &mut Vec<BatchRef<'a>>) -> Result<(), NodeError> {
    for batch in gathered {
        let batch = batch.as_ref().as_ref();
        match worker.admission(admitted, &batch) {
            Admission::Take { skip: _ } => admitted.push(batch),
            Admission::Seen | Admission::Stale => {}
            Admission::Gap { expected } => {
                let text = format!("{} put in frame {} where {expected} is next", batch.source, batch.first);
                return Err(inconsistent(worker, &text));
            }
        }
    }
    Ok(())
}

pub(super) fn inconsistent(worker: &Worker, what: &str) -> NodeError {
    NodeError::Inconsistent(format!("{} after round {}: {what}", worker.id(), worker.rounds()))
}

//! What the threads of a node share: the way to each worker and edge, the count of work under way, the budget, and why
//! the node stops.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, RwLock,
        atomic::{AtomicI64, AtomicU8, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    NodeError,
    budget::Budget,
    clock::Clock,
    commits::Commits,
    directory::Directory,
    edge::{EdgeSetup, Outlet, Wake},
    gauges::Gauges,
    inbox::{Inbox, Parcel, call_waker},
    inlet::Inlet,
    recorder::Recorder,
    watchdog::Watchdog,
};
use crate::{
    frame::{Batch, Class, Frame, Header},
    fsm::ExternalFault,
    id::{EdgeId, Epoch, NodeId, Place, RawQueueId, WorkerId},
    journal::Journal,
    message::{DownReason, NoReply},
    worker::{Catalogue, WorkerConfig},
};

/// An edge that runs apart from the workers' loops, or the worker whose loop it runs in.
#[derive(Clone)]
pub(super) enum Way {
    Outlet(Arc<dyn Outlet>),
    InLoopOf(WorkerId),
}

/// A program's port for external values: question in, answer out, both encoded.
pub(super) type Port = Box<dyn FnMut(&[u8]) -> Result<Vec<u8>, String> + Send>;

/// What the node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// No new work; what is under way is finished.
    Draining,
    /// Workers leave their loops between two rounds.
    Stopping,
}

/// The workers that there are.
#[derive(Default)]
struct Workers {
    inboxes: BTreeMap<WorkerId, Inbox>,
    /// Numbers that frames were put out for while no worker had them. None ever gets them: what was put out was dropped,
    /// and a worker that had the number would miss it.
    missing: BTreeSet<WorkerId>,
    /// No worker has had this number or a higher one.
    next: u32,
}

pub(super) struct Shared {
    pub(super) node: NodeId,
    pub(super) epoch: Epoch,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) clock: Clock,
    /// `None` when nothing is recorded.
    pub(super) journal: Option<Journal>,
    /// Who waits until the journal is on disk; `None` where nobody does.
    pub(super) commits: Option<Commits>,
    /// `None` when nothing is recorded.
    pub(super) directory: Option<Arc<Directory>>,
    /// `None` unless the journal is in memory.
    pub(super) recorder: Option<Arc<Recorder>>,
    /// A round's end is marked before anything of it leaves.
    pub(super) marks_ends: bool,
    pub(super) worker_config: WorkerConfig,
    pub(super) limits: super::Limits,
    workers: RwLock<Workers>,
    edges: RwLock<BTreeMap<EdgeId, Way>>,
    ports: Mutex<BTreeMap<&'static str, Port>>,
    phase: AtomicU8,
    /// Batches in inboxes, and workers that have something to do.
    under_way: AtomicI64,
    pub(super) budget: Budget,
    /// How many workers' threads are in their loops.
    drivers: AtomicUsize,
    /// What ends the waits of edges that have threads of their own.
    wakes: Mutex<Vec<Wake>>,
    failure: Mutex<Option<NodeError>>,
    changed: Condvar,
    changes: Mutex<u64>,
    /// The inlet of the node's own edge.
    own: Mutex<Option<Inlet>>,
    pub(super) watchdog: Watchdog,
    pub(super) gauges: Gauges,
}

/// Some work that must end before the node counts as drained.
pub(super) struct Work<'a>(&'a Shared);

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.work_ends(1);
    }
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "called once, where all of it has just been made")]
    pub(super) fn new(
        node: NodeId,
        epoch: Epoch,
        catalogue: Arc<Catalogue>,
        clock: Clock,
        journal: Option<Journal>,
        commits: Option<Commits>,
        directory: Option<Arc<Directory>>,
        recorder: Option<Arc<Recorder>>,
        marks_ends: bool,
        worker_config: WorkerConfig,
        limits: super::Limits,
        ports: BTreeMap<&'static str, Port>,
        gauges: Gauges,
    ) -> Shared {
        Shared {
            node,
            epoch,
            catalogue,
            clock,
            journal,
            commits,
            directory,
            recorder,
            marks_ends,
            worker_config,
            limits,
            workers: RwLock::default(),
            edges: RwLock::default(),
            ports: Mutex::new(ports),
            phase: AtomicU8::new(0),
            under_way: AtomicI64::new(0),
            budget: Budget::new(limits.budget_bytes, limits.hard_limit_bytes),
            drivers: AtomicUsize::new(0),
            wakes: Mutex::default(),
            failure: Mutex::default(),
            changed: Condvar::new(),
            changes: Mutex::default(),
            own: Mutex::default(),
            watchdog: Watchdog::default(),
            gauges,
        }
    }

    pub(super) fn setup(&self, edge: EdgeId) -> EdgeSetup {
        EdgeSetup { node: self.node, edge, epoch: self.epoch, numbers: self.catalogue.numbers().clone() }
    }

    /// A worker that was there before. None that is new gets its number.
    pub(super) fn add_worker(&self, worker: WorkerId, inbox: Inbox) {
        let mut workers = self.workers.write().expect(LOCK_REASON);
        workers.next = workers.next.max(worker.0.saturating_add(1));
        workers.inboxes.insert(worker, inbox);
    }

    /// Gives a new worker its number. From now on frames go into its inbox. `None` if there are no numbers left.
    pub(super) fn allot_worker(&self, inbox: Inbox) -> Option<WorkerId> {
        let mut workers = self.workers.write().expect(LOCK_REASON);
        let Workers { inboxes, missing, next } = &mut *workers;
        let number = (*next..WORKERS_MAX).find(|number| !missing.contains(&WorkerId(*number)))?;
        *next = number + 1;
        inboxes.insert(WorkerId(number), inbox);
        Some(WorkerId(number))
    }

    /// No new worker gets that number, unless there is a worker that has it.
    pub(super) fn never_allot(&self, worker: WorkerId) {
        let mut workers = self.workers.write().expect(LOCK_REASON);
        if !workers.inboxes.contains_key(&worker) {
            workers.missing.insert(worker);
        }
    }

    pub(super) fn add_edge(&self, edge: EdgeId, way: Way) {
        self.edges.write().expect(LOCK_REASON).insert(edge, way);
    }

    pub(super) fn edge(&self, edge: EdgeId) -> Option<Way> {
        self.edges.read().expect(LOCK_REASON).get(&edge).cloned()
    }

    /// Puts frames into a worker's inbox. If there is no such worker, they are dropped, and nobody has its number ever.
    pub(super) fn put(&self, worker: WorkerId, batch: Arc<Batch>) {
        if !self.put_if_there(worker, &batch) {
            self.never_allot(worker);
            // It may have been started since the look.
            if !self.put_if_there(worker, &batch) {
                self.nobody_there(Place::worker(worker), &batch);
            }
        }
    }

    fn put_if_there(&self, worker: WorkerId, batch: &Arc<Batch>) -> bool {
        let workers = self.workers.read().expect(LOCK_REASON);
        let inbox = workers.inboxes.get(&worker);
        inbox.is_some_and(|inbox| {
            self.put_into(inbox, batch.clone());
            true
        })
    }

    /// Puts frames into an inbox.
    pub(super) fn put_into(&self, inbox: &Inbox, batch: Arc<Batch>) {
        self.work_begins();
        self.budget.take(batch.bytes_len());
        inbox.put(Parcel::Frames(batch));
    }

    /// Lets these workers look round, though nothing is there for them.
    pub(super) fn call(&self, workers: &[WorkerId]) {
        let inboxes = &self.workers.read().expect(LOCK_REASON).inboxes;
        workers.iter().filter_map(|worker| inboxes.get(worker)).for_each(|inbox| inbox.put(Parcel::Look));
    }

    /// The way to a worker, which stays the same as long as the node runs.
    pub(super) fn inbox(&self, worker: WorkerId) -> Option<Inbox> {
        self.workers.read().expect(LOCK_REASON).inboxes.get(&worker).cloned()
    }

    /// Looks at each worker's inbox.
    pub(super) fn look_at_inboxes(&self, mut look: impl FnMut(WorkerId, &Inbox)) {
        let workers = self.workers.read().expect(LOCK_REASON);
        workers.inboxes.iter().for_each(|(worker, inbox)| look(*worker, inbox));
    }

    pub(super) fn has_worker(&self, worker: WorkerId) -> bool {
        self.workers.read().expect(LOCK_REASON).inboxes.contains_key(&worker)
    }

    /// Sends what a worker put out for an edge on its way there.
    pub(super) fn put_for_edge(&self, edge: EdgeId, batch: &Batch) {
        match self.edge(edge) {
            Some(Way::Outlet(outlet)) => outlet.put(batch),
            Some(Way::InLoopOf(worker)) => {
                // They are handed to the reactor there, and are no input of that worker.
                if let Some(inbox) = self.workers.read().expect(LOCK_REASON).inboxes.get(&worker) {
                    self.work_begins();
                    self.budget.take(batch.bytes_len());
                    inbox.put(Parcel::ForEdge(edge, batch.clone()));
                }
            }
            None => self.nobody_there(Place::edge(edge), batch),
        }
    }

    /// Some work has begun that must end before the node counts as drained.
    pub(super) fn work_begins(&self) {
        self.under_way.fetch_add(1, Ordering::SeqCst);
    }

    /// As [`work_begins`](Shared::work_begins), until what comes back is dropped.
    pub(super) fn work(&self) -> Work<'_> {
        self.work_begins();
        Work(self)
    }

    pub(super) fn work_ends(&self, count: usize) {
        if count == 0 {
            return;
        }
        let count = i64::try_from(count).expect("counts of batches are small");
        let before = self.under_way.fetch_sub(count, Ordering::SeqCst);
        if before == count && self.phase() == Phase::Draining {
            self.notify();
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) == 0
    }

    /// True while the node is within its budget and takes new work.
    pub(super) fn admits_new_work(&self) -> bool {
        self.phase() == Phase::Running && self.budget.has_room()
    }

    /// Bytes that were in an inbox or on the way to an edge are no longer.
    pub(super) fn give_back(&self, bytes: usize) {
        if self.budget.give_back(bytes) {
            self.notify();
        }
    }

    /// A worker's queues hold so many bytes, and before it was so many.
    pub(super) fn recount(&self, before: u64, now: u64) {
        if self.budget.recount(before, now) {
            self.notify();
        }
    }

    /// Gives up what the journal holds beyond its budget, and calls the workers without which it could be more.
    pub(super) fn hold_budget(&self) -> Result<(), NodeError> {
        let (Some(directory), Some(journal)) = (&self.directory, &self.journal) else { return Ok(()) };
        if self.recorder.is_some() {
            // In memory it costs nothing, and only what counts as synced is given up.
            self.sync()?;
        }
        self.call(&directory.hold_budget(journal, &self.gauges.syncs)?);
        Ok(())
    }

    /// Waits until new work is admitted or the node stops; false if the deadline passed first.
    pub(super) fn wait_for_room(&self, deadline: Instant) -> bool {
        self.budget.wait_begins();
        let ended = |shared: &Shared| shared.budget.has_room() || shared.phase() != Phase::Running;
        let ended = self.wait_until(Some(deadline), ended);
        self.budget.wait_ends();
        ended
    }

    /// An error that names the largest queues and inboxes, if the node holds more than it may.
    pub(super) fn check_hard_limit(&self) -> Result<(), NodeError> {
        if !self.budget.is_past_hard_limit() {
            return Ok(());
        }
        let workers = self.workers.read().expect(LOCK_REASON);
        let inboxes = workers.inboxes.iter().map(|(worker, inbox)| (*worker, inbox.bytes()));
        let queues = self.budget.name_largest(inboxes);
        Err(NodeError::HardLimit { limit_bytes: self.limits.hard_limit_bytes, queues })
    }

    /// Somebody who waits outside the workers' loops is to hear of a new phase.
    pub(super) fn add_wake(&self, wake: Wake) {
        self.wakes.lock().expect(LOCK_REASON).push(wake);
    }

    pub(super) fn driver_begins(&self) {
        self.drivers.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn driver_ends(&self) {
        self.drivers.fetch_sub(1, Ordering::SeqCst);
        self.notify();
    }

    /// True when the node stops and no worker runs any more.
    pub(super) fn is_over(&self) -> bool {
        self.phase() == Phase::Stopping && self.drivers.load(Ordering::SeqCst) == 0
    }

    /// Lets go of the edges, which hold on to this in their turn.
    pub(super) fn close(&self) {
        let edges = std::mem::take(&mut *self.edges.write().expect(LOCK_REASON));
        drop(edges);
        let own = self.own.lock().expect(LOCK_REASON).take();
        drop(own);
        self.wakes.lock().expect(LOCK_REASON).clear();
        // One that is asked and doesn't answer holds them; it must not hold up the end as well.
        if let Ok(mut ports) = self.ports.try_lock() {
            ports.clear();
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    /// Goes on to a later phase; never back.
    pub(super) fn advance(&self, phase: Phase) {
        let number = match phase {
            Phase::Running => 0,
            Phase::Draining => 1,
            Phase::Stopping => 2,
        };
        self.phase.fetch_max(number, Ordering::SeqCst);
        for inbox in self.workers.read().expect(LOCK_REASON).inboxes.values() {
            inbox.put(Parcel::Look);
        }
        for wake in self.wakes.lock().expect(LOCK_REASON).iter() {
            // One that panics looks at the phase at its timeout.
            let _ = call_waker(wake);
        }
        self.notify();
    }

    /// The node can't go on. The first reason counts.
    pub(super) fn fail(&self, error: NodeError) {
        tracing::error!(%error, "the node stops");
        let is_first = {
            let mut failure = self.failure.lock().expect(LOCK_REASON);
            let is_first = failure.is_none();
            failure.get_or_insert_with(|| error.clone());
            is_first
        };
        self.advance(Phase::Stopping);
        if is_first {
            let error = self.record_failure(error);
            self.failure.lock().expect(LOCK_REASON).replace(error);
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.lock().expect(LOCK_REASON).is_some()
    }

    pub(super) fn take_failure(&self) -> Option<NodeError> {
        self.failure.lock().expect(LOCK_REASON).take()
    }

    fn notify(&self) {
        *self.changes.lock().expect(LOCK_REASON) += 1;
        self.changed.notify_all();
    }

    /// Waits until `done`, or until `deadline` has passed; says which.
    pub(super) fn wait_until(&self, deadline: Option<Instant>, done: impl Fn(&Shared) -> bool) -> bool {
        let mut changes: MutexGuard<'_, u64> = self.changes.lock().expect(LOCK_REASON);
        loop {
            if done(self) {
                return true;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return false;
            }
            changes = match left {
                Some(left) => self.changed.wait_timeout(changes, left).expect(LOCK_REASON).0,
                None => self.changed.wait(changes).expect(LOCK_REASON),
            };
        }
    }

    /// Asks a port of the program's.
    pub(super) fn ask_port(&self, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        let mut ports = self.ports.lock().expect(LOCK_REASON);
        let Some(ask) = ports.get_mut(port) else {
            let text = format!("no external port is named {port}; add it to the node with `external`");
            return Err(ExternalFault(text));
        };
        // A port that panics gives no value, and the handler that asked must not be taken for the one that panicked.
        let answer = catch_unwind(AssertUnwindSafe(|| ask(question)));
        let answer = answer.unwrap_or_else(|_| Err("it panicked".to_owned()));
        answer.map_err(|text| ExternalFault(format!("external port {port}: {text}")))
    }

    /// From now on those who wait for something of a worker or edge that isn't there are told so.
    pub(super) fn set_own_inlet(&self, own: Inlet) {
        *self.own.lock().expect(LOCK_REASON) = Some(own);
    }

    /// What was put out for a worker or edge that isn't there. Who asked it something hears that it is gone, and who
    /// wants to be told of its end is told.
    pub(super) fn nobody_there(&self, to: Place, batch: &Batch) {
        let batch = batch.as_ref();
        tracing::warn!(%to, frames = batch.count, from = %batch.source, "frames for a worker or edge that isn't there");
        let frames = || batch.frames().map_while(Result::ok);
        let waits = |frame: &Frame<'_>| match frame.header.class {
            Class::Watch => true,
            Class::Message | Class::Spawn => frame.header.request.is_some(),
            _ => false,
        };
        // Answers are no questions, so this never comes back here with something to answer.
        if !frames().any(|frame| waits(&frame)) {
            return;
        }
        let Some(own) = self.own.lock().expect(LOCK_REASON).clone() else { return };
        own.put(|inputs| {
            for frame in frames().filter(waits) {
                let Header { class, slot, generation, sender, .. } = frame.header;
                let target = RawQueueId::new(self.node, to, slot, generation);
                match class {
                    Class::Watch => inputs.down(sender, target, &DownReason::Unknown),
                    _ => inputs.fail_request(&frame, target, NoReply::Gone),
                }
            }
        });
    }
}

/// Worker numbers share their bits with what else can be a place.
const WORKERS_MAX: u32 = 1 << 31;

pub(super) const LOCK_REASON: &str = "nothing panics while holding this lock";

/// The moment that long from now; for a time that a clock can't tell, one that nobody lives to see.
pub(super) fn deadline_in(time: Duration) -> Instant {
    const AGES: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now + AGES)
}

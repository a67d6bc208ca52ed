//! The node: one process's workers, edges and journal. The only storey with threads, and the only one that reads a clock.
//!
//! ```text
//!   host, services, sockets ──▶ Inlet ──▶ inbox ──▶ Driver: journal, Worker, outputs ──▶ inboxes, outlets
//! ```
//!
//! The files: `builder` puts a node together and `start` starts it or brings it back; `recovery` reads what it was,
//! `poison` sees to the rounds that it ended in; `directory` is what it keeps there while it runs;
//! `driver` is one worker's thread, `snapshotting` when it snapshots, `inbox` and `idle` its sleep, `ports` what it asks for its
//! FSMs, and `in_loop` a reactor in its loop; `outbox` lets out what it puts out: `lent` and `retained` are what must not be lost of that, and `withheld` what
//! waits for the disk; `inlet` and `edge` are the ways in and out, `edge_thread` an edge with a thread of its own; `host` and
//! `service` two edges of the library's; `starter` starts workers; `budget` counts bytes; `commits` syncs for who waits, and
//! `caretaker` for all others, ends waits and watches; `recorder` is for a journal that is in memory, and writes it out.
//! `gauges` gathers what the node knows of itself, `lag` how long what waits has waited; `facade` publishes it, and `no_facade` stands
//! in for that in a build without it.
//!
//! What always holds: nothing runs that isn't written down, and nothing of a round leaves before it has ended; a batch
//! between workers is held by its sender until its receiver has written it down; no worker waits for another.
#![allow(clippy::disallowed_methods, reason = "the node is what reads clocks and starts threads, so that FSMs needn't")]

mod budget;
mod builder;
mod caretaker;
mod clock;
mod commits;
mod directory;
mod driver;
pub(crate) mod edge;
mod edge_thread;
mod error;
#[cfg(feature = "metrics")]
mod facade;
#[cfg(not(feature = "metrics"))]
#[path = "no_facade.rs"]
mod facade;
mod gauges;
mod host;
mod idle;
mod in_loop;
mod inbox;
mod inlet;
mod lag;
mod lent;
mod outbox;
mod poison;
mod ports;
mod recorder;
mod recovery;
mod retained;
mod service;
mod shared;
mod snapshot_writer;
mod snapshotting;
mod start;
mod starter;
mod watchdog;
mod withheld;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub use builder::{Durability, NodeBuilder, OnOtherBuild, RunOn, build_identity};
pub use error::{NodeError, RecordingError, StartError};
pub use host::{Answer, Host, HostError};
pub use idle::IdleStrategy;
pub use inlet::Inlet;
pub use poison::{OnPoison, RanAnew};
pub use service::Replier;

use crate::{
    id::{Epoch, Place, QueueId},
    journal::{GivenUp, Journal, NodeLock, Record},
    node::{
        caretaker::Caretaker,
        commits::Commits,
        directory::Directory,
        driver::Driver,
        gauges::Observer,
        shared::{Phase, Shared},
        starter::Starter,
    },
    node_metrics::NodeMetrics,
    worker::Catalogue,
};

/// Bounds and habits of a node; each has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Past so many bytes in inboxes and queues the node takes no new work.
    pub budget_bytes: u64,
    /// Past so many the node stops.
    pub hard_limit_bytes: u64,
    /// How long a node that was told to stop waits for what is under way. What isn't done by then is in the snapshot.
    pub drain: Duration,
    /// How often the journal is synced in the background.
    pub sync_every: Duration,
    /// After so many bytes of journal each worker is snapshot, so that recovery has less to run.
    pub snapshot_every_bytes: u64,
    /// After so long a worker that has run rounds is snapshot; never for that reason if it doesn't say.
    pub snapshot_every: Option<Duration>,
    /// How many bytes of journal and snapshots the directory may hold, or the memory with [`Durability::Memory`]; the journal's
    /// beginning is given up past that. Two snapshots of each worker that works, one of each that rests, and what was recorded since
    /// the older one stay in any case. Everything is kept if it doesn't say. Segments and what is written between two snapshots are
    /// an eighth of it at most.
    pub retain_bytes: Option<u64>,
    /// When a journal's file is full.
    pub segment_bytes: u64,
    /// How idle workers wait.
    pub idle: IdleStrategy,
    /// After how long a round that doesn't end is reported.
    pub watchdog: Duration,
    /// How long each delivery may take of a round that did not end when the node ran last, and is run again at its start; one may
    /// have twice that. See [`OnPoison`].
    pub attempt: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            budget_bytes: 256 << 20,
            hard_limit_bytes: 2 << 30,
            drain: Duration::from_secs(5),
            sync_every: Duration::from_millis(50),
            snapshot_every_bytes: 256 << 20,
            snapshot_every: None,
            retain_bytes: None,
            segment_bytes: crate::journal::SEGMENT_BYTES_DEFAULT,
            idle: IdleStrategy::Park,
            watchdog: Duration::from_secs(5),
            attempt: Duration::from_secs(60),
        }
    }
}

/// The most bytes that one round takes from the inbox, beyond its last batch; a round's record is bounded by that.
const ROUND_BYTES_MAX: usize = 8 << 20;

/// A bounded directory has room for so many tables of types at least; it holds eight segments.
const RETAINED_CATALOGUES_MIN: u64 = 16;

impl Limits {
    fn check(&self) -> Result<(), StartError> {
        let Limits { budget_bytes, hard_limit_bytes, .. } = *self;
        if budget_bytes > hard_limit_bytes {
            return Err(StartError::Misuse(format!(
                "a budget of {budget_bytes} bytes is above the hard limit of {hard_limit_bytes}; raise the limit"
            )));
        }
        if self.attempt.is_zero() {
            return Err(StartError::Misuse(
                "`attempt` is 0: no round could ever be run again; give it some seconds".to_owned(),
            ));
        }
        Ok(())
    }

    /// A bounded directory needs room for what each segment begins with, so that its segments are not made of that.
    fn check_room_for(&self, catalogue: &Catalogue) -> Result<(), StartError> {
        let Some(retain_bytes) = self.retain_bytes else { return Ok(()) };
        let catalogue_bytes = catalogue.table().to_bytes().len();
        let bytes_min = (catalogue_bytes as u64).saturating_mul(RETAINED_CATALOGUES_MIN);
        if retain_bytes >= bytes_min {
            return Ok(());
        }
        Err(StartError::Misuse(format!(
            "`retain_bytes` is {retain_bytes}, and each of the journal's files begins with {catalogue_bytes} bytes about the \
             program's types; give {bytes_min} at least"
        )))
    }

    /// How many bytes of input a round takes, beyond its last batch. What is recorded of it is given up as a whole.
    fn round_bytes_max(&self) -> usize {
        let most = self.retain_bytes.map_or(u64::MAX, |bytes| bytes / 16);
        usize::try_from(most).map_or(ROUND_BYTES_MAX, |most| most.clamp(1, ROUND_BYTES_MAX))
    }

    /// The limits with lengths that leave room for retention: it gives up whole segments, behind the last but one snapshot. Memory
    /// is not to be exceeded for moments either, so less than all of it is kept.
    fn fitted(self, durability: Durability) -> Limits {
        let is_memory = durability == Durability::Memory;
        let retain_bytes = self.retain_bytes.map(|bytes| if is_memory { bytes - bytes / 4 } else { bytes });
        let most = retain_bytes.map_or(u64::MAX, |bytes| (bytes / 8).max(1));
        Limits {
            retain_bytes,
            segment_bytes: self.segment_bytes.min(most),
            snapshot_every_bytes: self.snapshot_every_bytes.min(most),
            ..self
        }
    }
}

/// A running node. Dropping it stops it. What runs on the node's own threads (ports, direct services, edges) must not drop
/// it: that ends it without a snapshot ([`NodeError::StoppedFromWithin`]).
pub struct Node<M> {
    shared: Arc<Shared>,
    starter: Arc<Starter>,
    host: Host,
    root: QueueId<M>,
    caretaker: Option<JoinHandle<()>>,
    /// Syncs for who waits; ends with the workers.
    commits: Option<JoinHandle<()>>,
    edge_threads: Vec<JoinHandle<()>>,
    files: Option<Files>,
    given_up: Option<GivenUp>,
    ran_anew: Vec<RanAnew>,
    signals: Vec<signal_hook::SigId>,
    stopped: bool,
}

/// What a recording node holds on disk. However it goes, nothing is written to the journal once the lock is let go.
struct Files {
    directory: Arc<Directory>,
    journal: Journal,
    lock: NodeLock,
}

impl Drop for Files {
    fn drop(&mut self) {
        self.journal.close();
        self.directory.let_go();
    }
}

/// What a node did in its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// The epoch.
    pub epoch: Epoch,
    /// Rounds run in it.
    pub rounds: u64,
    /// Messages handled in it.
    pub messages: u64,
    /// All work under way was finished before the end.
    pub drained: bool,
}

impl<M> std::fmt::Debug for Node<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("node", &self.shared.node)
            .field("epoch", &self.shared.epoch)
            .finish_non_exhaustive()
    }
}

impl<M> Node<M> {
    fn new(shared: Arc<Shared>, starter: Arc<Starter>, host: Host, root: QueueId<M>, files: Option<Files>) -> Node<M> {
        Node {
            shared,
            starter,
            host,
            root,
            caretaker: None,
            commits: None,
            edge_threads: Vec::new(),
            files,
            given_up: None,
            ran_anew: Vec::new(),
            signals: Vec::new(),
            stopped: false,
        }
    }

    /// Lets the workers run, and what they put out leave.
    fn launch(&mut self, drivers: Vec<Driver>) -> Result<(), StartError> {
        if self.shared.commits.is_some() {
            let system = |source| StartError::System { what: "a thread for the journal", source };
            self.commits = Some(commits::start(&self.shared).map_err(system)?);
        }
        let mut drivers = drivers.into_iter();
        while let Some(driver) = drivers.next() {
            if let Err(kept) = self.starter.launch(driver) {
                self.shared.fail(kept.1.clone());
                // Those that run stop first: they must not take what these inboxes hold for recorded.
                let _ = self.end();
                drop(drivers);
                return Err(kept.1.into());
            }
        }
        Ok(())
    }

    /// Begins what goes on beside the workers.
    fn take_care(&mut self, stop_on_signals: bool, records_on_signal: bool) -> Result<(), StartError> {
        let [asked_to_stop, asked_to_record] = [false; 2].map(|asked| Arc::new(AtomicBool::new(asked)));
        let mut heard = Vec::new();
        if stop_on_signals {
            heard.extend(
                [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM].map(|signal| (signal, &asked_to_stop)),
            );
        }
        if records_on_signal {
            heard.extend(recorder::SIGNAL.map(|signal| (signal, &asked_to_record)));
        }
        for (signal, asked) in heard {
            let registered = signal_hook::flag::register(signal, asked.clone());
            let system = |source| StartError::System { what: "handling of signals", source };
            self.signals.push(registered.map_err(system)?);
        }
        let (shared, waiting) = (self.shared.clone(), self.host.waiting());
        let (looked, observer) = ((Instant::now(), 0), Observer::new(&shared));
        let caretaker = Caretaker { shared, waiting, asked_to_stop, asked_to_record, looked, observer };
        let thread = thread::Builder::new().name("qnfsm-caretaker".to_owned()).spawn(move || caretaker.run());
        self.caretaker =
            Some(thread.map_err(|source| StartError::System { what: "a thread for the node itself", source })?);
        Ok(())
    }

    /// The queue of the node's first FSM.
    #[must_use]
    pub fn root(&self) -> QueueId<M> {
        self.root
    }

    /// The handle for the program around the node.
    #[must_use]
    pub fn host(&self) -> Host {
        self.host.clone()
    }

    /// The epoch of this start.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// What this start gave up because it was told to [recover to](NodeBuilder::recover_to) an earlier position; none if it gave
    /// up nothing.
    #[must_use]
    pub fn given_up(&self) -> Option<&GivenUp> {
        self.given_up.as_ref()
    }

    /// The rounds that this start ran with [`OnOtherBuild::Run`] and could compare with nothing: at most one of each worker, the last
    /// that another build, or this one with other resources, recorded. A warning says so of each.
    #[must_use]
    pub fn ran_anew(&self) -> &[RanAnew] {
        &self.ran_anew
    }

    /// Rounds run and messages handled in this epoch, so far.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        self.shared.watchdog.progress()
    }

    /// Writes out what a node with [`Durability::Memory`] has recorded, while it runs; gives the directory, in which it can be
    /// replayed once this returns. Workers don't wait for it; who else writes one does.
    ///
    /// # Errors
    /// When the node keeps no recording, or it can't be written.
    pub fn write_recording(&self) -> Result<PathBuf, RecordingError> {
        self.shared.write_recording()
    }

    /// How many bytes of memory the journal of a node with [`Durability::Memory`] and its snapshots take; 0 with another one.
    #[must_use]
    pub fn recorder_bytes(&self) -> u64 {
        self.shared.recorder.as_ref().map_or(0, |recorder| recorder.bytes())
    }

    /// What the node knows of itself now.
    ///
    /// ```
    /// # use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Quiet;
    /// # impl Fsm for Quiet {
    /// #     const NAME: &'static str = "quiet";
    /// #     type State = ();
    /// #     type Message = ();
    /// #     fn start(&mut self, _: &mut Context<'_, Self>) {}
    /// #     fn handle(&mut self, (): (), (): (), _: &mut Context<'_, Self>) -> Next<Self> { Next::Stay }
    /// # }
    /// let node = NodeBuilder::new("quiet", Kinds::new().with::<Quiet>()).start(&Quiet)?;
    /// let metrics = node.metrics();
    /// assert_eq!((metrics.workers.len(), metrics.journal), (1, None));
    /// # node.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn metrics(&self) -> NodeMetrics {
        self.shared.metrics()
    }

    /// Waits until the node stops: by a signal, a fault, or [`NodeRequest::Stop`](crate::NodeRequest::Stop).
    ///
    /// # Errors
    /// Why it stopped, if not because it was told to.
    pub fn wait(mut self) -> Result<Stopped, NodeError> {
        self.shared.wait_until(None, |shared| shared.phase() != Phase::Running);
        self.end()
    }

    /// Stops the node in good order: takes no new work, finishes what is under way, snapshots, and syncs.
    ///
    /// # Errors
    /// What kept it from that.
    pub fn stop(mut self) -> Result<Stopped, NodeError> {
        self.end()
    }

    fn end(&mut self) -> Result<Stopped, NodeError> {
        self.stopped = true;
        let this = thread::current().id();
        let others = || self.edge_threads.iter().chain(&self.caretaker);
        if self.starter.runs_this_thread() || others().any(|thread| thread.thread().id() == this) {
            // It can't wait for itself, and may hold what the end needs. The others end on their own, and what any of them
            // records from now on fails: the journal is closed when this node goes.
            self.shared.fail(NodeError::StoppedFromWithin);
            self.let_go_of_signals();
            return Err(NodeError::StoppedFromWithin);
        }
        self.shared.advance(Phase::Draining);
        let deadline = shared::deadline_in(self.shared.limits.drain);
        let over = |shared: &Shared| shared.is_drained() || shared.phase() == Phase::Stopping;
        let drained = self.shared.wait_until(Some(deadline), over);
        self.shared.advance(Phase::Stopping);
        let drivers = self.starter.join_all();
        self.shared.commits.iter().for_each(Commits::close);
        for thread in self.edge_threads.drain(..).chain(self.caretaker.take()).chain(self.commits.take()) {
            // What they fail in is the node's failure, and is taken below.
            let _ = thread.join();
        }
        self.host.waiting().close();
        self.let_go_of_signals();
        self.shared.close();
        let ended = self.write_end(drivers);
        if let Some(files) = &self.files {
            // What it still had to write is counted as well.
            files.journal.close();
        }
        self.shared.publish_last();
        self.shared.recorder.iter().for_each(|recorder| recorder.end());
        ended?;
        let (rounds, messages) = self.progress();
        Ok(Stopped { epoch: self.shared.epoch, rounds, messages, drained })
    }

    /// The node hears no more of signals.
    fn let_go_of_signals(&mut self) {
        self.signals.drain(..).for_each(|signal| {
            signal_hook::low_level::unregister(signal);
        });
    }

    /// Snapshots all workers and says in journal and manifest that the end was clean, if it was.
    fn write_end(&mut self, mut drivers: Vec<Driver>) -> Result<(), NodeError> {
        let failure = self.shared.take_failure();
        let lasting = self.files.as_ref().filter(|_| self.shared.recorder.is_none());
        let Some(Files { directory, journal, .. }) = lasting else {
            return failure.map_or(Ok(()), Err);
        };
        if let Some(failure) = failure {
            // What was recorded counts, so it is brought to disk even so.
            let _ = self.shared.sync();
            return Err(failure);
        }
        for driver in &mut drivers {
            // Users' own code encodes what their FSMs are.
            let written = catch_unwind(AssertUnwindSafe(|| {
                driver.mark_digest()?;
                driver.snapshot()
            }));
            written.unwrap_or(Err(NodeError::Panicked(Place::worker(driver.worker.id()))))?;
        }
        journal.write(&Record::CleanStop { epoch: self.shared.epoch })?;
        self.shared.sync()?;
        Ok(directory.stopped_cleanly(journal.synced())?)
    }
}

impl<M> Drop for Node<M> {
    fn drop(&mut self) {
        if !self.stopped
            && let Err(error) = self.end()
        {
            tracing::error!(%error, "the node stopped with an error");
        }
    }
}

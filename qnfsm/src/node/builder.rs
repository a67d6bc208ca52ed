//! Puts a node together, and brings it back: takes the directory, reads what it was, begins an epoch, opens the edges,
//! and only then lets workers run.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::AtomicBool},
    thread,
};

use super::{
    Files, Limits, Node, StartError,
    caretaker::Caretaker,
    clock::Clock,
    driver::{Driver, InLoop, Ports},
    edge::{Inputs, Outlet, Reactor, Unanswered},
    edge_thread,
    host::Host,
    inlet::{Inlet, Numbers},
    recovery::{self, Recovered, Snapshots},
    service::{Replier, Serve, Service},
    shared::{Port, Shared, Way},
    starter::Starter,
};
use crate::{
    codec::{Codec, Trust},
    frame::{Batch, Class, Header, edge_queue, put_varint},
    fsm::{External, ExternalFault, Externals, Fsm},
    id::{EdgeId, Epoch, NodeId, Place, QueueId, RawQueueId, WorkerId},
    journal::{
        Journal, JournalOptions, Manifest, NodeLock, OpenError, RealFiles, Record, SegmentInfo, Storage, Tail,
    },
    message::{DownReason, Message, NoReply, ReplyTo},
    playback::Playback,
    random::GENERATOR,
    time::Time,
    worker::{Catalogue, Kinds, Recording, WorkerConfig},
};

/// Where a reactor runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunOn {
    /// On a thread of its own.
    Thread,
    /// Inside the loop of worker 0, in place of its park: the lowest latency.
    FirstWorker,
}

type Opened = Result<Arc<dyn Outlet>, std::io::Error>;

enum EdgeSpec {
    Reactor(RunOn, Box<dyn Reactor>),
    Service(Unanswered, Box<dyn FnOnce(&Shared, Inlet, EdgeId) -> Opened>),
}

impl EdgeSpec {
    fn unanswered(&self) -> Unanswered {
        match self {
            EdgeSpec::Reactor(_, reactor) => reactor.unanswered(),
            EdgeSpec::Service(unanswered, _) => *unanswered,
        }
    }
}

/// A node that is being put together. See [`Node`].
pub struct NodeBuilder {
    program: String,
    kinds: Kinds,
    node: NodeId,
    dir: Option<PathBuf>,
    storage: Arc<dyn Storage>,
    seed: Option<u64>,
    config: WorkerConfig,
    limits: Limits,
    edges: Vec<EdgeSpec>,
    ports: BTreeMap<&'static str, Port>,
    signals: bool,
}

/// What begins with a node's start: its epoch, and what it comes from.
struct Beginning {
    epoch: Epoch,
    files: Option<Files>,
    recovered: Option<Recovered>,
    journal: Option<Journal>,
    config: WorkerConfig,
}

impl NodeBuilder {
    /// A node of a program with these kinds. `program` names it in its directory; another program's directory is
    /// refused. Without [`dir`](NodeBuilder::dir) nothing is recorded.
    #[must_use]
    pub fn new(program: impl Into<String>, kinds: Kinds) -> NodeBuilder {
        NodeBuilder {
            program: program.into(),
            kinds,
            node: NodeId(0),
            dir: None,
            storage: Arc::new(RealFiles),
            seed: None,
            config: WorkerConfig::default(),
            limits: Limits::default(),
            edges: Vec::new(),
            ports: BTreeMap::new(),
            signals: false,
        }
    }

    /// Records in that directory, and goes on from what is recorded there. It is made if there is none.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> NodeBuilder {
        self.dir = Some(dir.into());
        self
    }

    /// The node's number, for nodes that are linked.
    #[must_use]
    pub fn node_id(mut self, node: NodeId) -> NodeBuilder {
        self.node = node;
        self
    }

    /// The seed of all random numbers; a random one if none is given. A directory keeps the seed of its first start.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> NodeBuilder {
        self.seed = Some(seed);
        self
    }

    /// How much is recorded.
    #[must_use]
    pub fn recording(mut self, recording: Recording) -> NodeBuilder {
        self.config.recording = recording;
        self
    }

    /// What shapes the workers, but for the seed.
    #[must_use]
    pub fn worker_config(mut self, config: WorkerConfig) -> NodeBuilder {
        self.config = config;
        self
    }

    /// Bounds and habits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> NodeBuilder {
        self.limits = limits;
        self
    }

    /// Where the files are, in place of the file system. For tests that make disks fail.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> NodeBuilder {
        self.storage = storage;
        self
    }

    /// Stops in good order on SIGINT and SIGTERM.
    #[must_use]
    pub fn stop_on_signals(mut self) -> NodeBuilder {
        self.signals = true;
        self
    }

    fn add_edge(&mut self, edge: EdgeSpec) -> EdgeId {
        let number = u32::try_from(self.edges.len()).expect("a program adds few edges");
        self.edges.push(edge);
        EdgeId(EdgeId::FIRST_OF_USER.0 + number)
    }

    /// Adds an edge that waits for the world, and gives its number. Edges are numbered in the order in which they are
    /// added, and FSMs keep those numbers: add them in the same order at each start.
    pub fn reactor(&mut self, run_on: RunOn, reactor: impl Reactor) -> EdgeId {
        self.add_edge(EdgeSpec::Reactor(run_on, Box::new(reactor)))
    }

    /// Adds a service whose requests are served on `threads` threads of its own, and gives its queue. `serve` may
    /// block; it answers through the [`Replier`], at once or later. `unanswered` says what becomes of requests that
    /// were under way when the node went down. The order of adding counts as in [`reactor`](NodeBuilder::reactor).
    pub fn service<R: Message>(
        &mut self,
        threads: usize,
        unanswered: Unanswered,
        serve: impl Fn(R, &Replier) + Send + Sync + 'static,
    ) -> QueueId<R> {
        let serve: Serve<R> = Arc::new(serve);
        let open = move |shared: &Shared, inlet: Inlet, edge: EdgeId| {
            let service = Service::open(shared, inlet, edge, threads.max(1), &serve)?;
            Ok(Arc::new(service) as Arc<dyn Outlet>)
        };
        let edge = self.add_edge(EdgeSpec::Service(unanswered, Box::new(open)));
        QueueId::from_raw(edge_queue(self.node, edge))
    }

    /// Adds a service whose `serve` only hands the request on, to an async runtime for example, and returns at once: it
    /// runs on the worker's thread. For the rest it is like [`service`](NodeBuilder::service).
    pub fn async_service<R: Message>(
        &mut self,
        unanswered: Unanswered,
        serve: impl Fn(R, &Replier) + Send + Sync + 'static,
    ) -> QueueId<R> {
        let serve: Serve<R> = Arc::new(serve);
        let open = move |shared: &Shared, inlet: Inlet, edge: EdgeId| {
            Ok(Arc::new(Service::open(shared, inlet, edge, 0, &serve)?) as Arc<dyn Outlet>)
        };
        let edge = self.add_edge(EdgeSpec::Service(unanswered, Box::new(open)));
        QueueId::from_raw(edge_queue(self.node, edge))
    }

    /// Adds a port for external values. The worker waits for it: it answers quickly and changes nothing.
    #[must_use]
    pub fn external<P: External>(
        mut self,
        mut answer: impl FnMut(P::Question) -> P::Answer + Send + 'static,
    ) -> NodeBuilder {
        let ask = move |question: &[u8]| {
            let question = Codec::CURRENT.decode(question, Trust::Node).map_err(|error| error.to_string())?;
            let mut bytes = Vec::new();
            Codec::CURRENT.encode(&answer(question), &mut bytes).map_err(|error| error.to_string())?;
            Ok(bytes)
        };
        self.ports.insert(P::NAME, Box::new(ask));
        self
    }

    /// Starts the node, or goes on from its directory. `root` is the node's first FSM, in worker 0; it spawns all
    /// others. A directory that has one already keeps the one that it has.
    ///
    /// # Errors
    /// When something is not in order; nothing has left the node then.
    pub fn start<F: Fsm>(mut self, root: &F) -> Result<Node<F::Message>, StartError> {
        if cfg!(panic = "abort") {
            tracing::warn!("this build aborts on a panic: panic policies don't apply, a panic ends the process");
        }
        let catalogue = std::mem::take(&mut self.kinds).seal()?;
        let kind = catalogue.numbers().kind::<F>().ok_or(StartError::UnregisteredRoot(F::NAME))?;
        let root_frame = root_frame(self.node, kind, root)?;
        let Beginning { epoch, files, recovered, journal, config } = self.begin(&catalogue)?;
        let latest = recovered.as_ref().map_or(Time::ZERO, |recovered| recovered.playback.latest());
        let shared = Arc::new(Shared::new(
            self.node,
            epoch,
            catalogue.clone(),
            Clock::start(latest),
            journal,
            config,
            self.limits,
            std::mem::take(&mut self.ports),
        ));
        let (mut kept, playback, next_worker) = match recovered {
            Some(Recovered { playback, kept, next_worker, .. }) => (kept, playback, next_worker),
            None => (recovery::Kept::default(), Playback::new(catalogue, self.node), 0),
        };
        let playback = finish(playback, &shared, &mut kept)?;
        let snapshots = files.as_ref().map(|files| Snapshots {
            storage: files.storage.clone(),
            dir: files.dir.clone(),
            identity: files.manifest.identity,
            epoch,
        });
        let own = Inlet::new(shared.clone(), EdgeId::NODE);
        let started_for = playback.started_for().clone();
        let starter = Starter::new(shared.clone(), own.clone(), snapshots, next_worker, started_for);
        let host = Host::new(shared.clone(), Inlet::new(shared.clone(), EdgeId::HOST));
        shared.add_edge(EdgeId::NODE, Way::Outlet(starter.clone()));
        shared.add_edge(EdgeId::HOST, Way::Outlet(host.waiting()));

        let policies: Vec<_> = self.edges.iter().map(EdgeSpec::unanswered).collect();
        let (in_loop, edge_threads) = open_edges(std::mem::take(&mut self.edges), &shared)?;
        let mut drivers = bring_back(playback, &shared, &starter, in_loop)?;
        for driver in &mut drivers {
            put_in_again(driver, &mut kept, &shared, &own, &policies);
        }
        shared.put(WorkerId(0), Arc::new(root_frame));

        let mut node = Node {
            root: QueueId::from_raw(root_queue(self.node)),
            shared: shared.clone(),
            starter,
            host: host.clone(),
            caretaker: None,
            edge_threads,
            files,
            stopped: false,
        };
        for driver in drivers {
            if let Err(error) = node.starter.launch(driver) {
                return Err(StartError::Misuse(error.to_string()));
            }
        }
        let asked_to_stop = Arc::new(AtomicBool::new(false));
        if self.signals {
            for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
                signal_hook::flag::register(signal, asked_to_stop.clone())
                    .map_err(|source| StartError::System { what: "handling of signals", source })?;
            }
        }
        let caretaker = Caretaker { shared, waiting: host.waiting(), asked_to_stop };
        let thread = thread::Builder::new().name("qnfsm-caretaker".to_owned()).spawn(move || caretaker.run());
        node.caretaker = Some(thread.map_err(|source| StartError::System { what: "a thread", source })?);
        Ok(node)
    }

    /// Takes the directory, reads it, and begins an epoch there.
    fn begin(&self, catalogue: &Arc<Catalogue>) -> Result<Beginning, StartError> {
        let seed = self.seed.map_or_else(random, Ok)?;
        let config = WorkerConfig { seed, ..self.config };
        let Some(dir) = &self.dir else {
            return Ok(Beginning { epoch: Epoch::FIRST, files: None, recovered: None, journal: None, config });
        };
        let lock = NodeLock::take(&*self.storage, dir)?;
        let epoch_random = random()?;
        let (manifest, recovered) = match Manifest::load(&*self.storage, dir) {
            Ok(manifest) => {
                let (manifest, recovered) = self.read_back(dir, &lock, manifest, catalogue)?;
                (Manifest { epoch: Epoch(manifest.epoch.0 + 1), epoch_random, clean: false, ..manifest }, Some(recovered))
            }
            Err(OpenError::Missing(_) | OpenError::Empty(_)) => {
                let identity = u128::from(random()?) << 64 | u128::from(random()?);
                let manifest = Manifest::new(identity, self.node, &self.program, epoch_random);
                manifest.create(&*self.storage, dir)?;
                (manifest, None)
            }
            Err(error) => return Err(error.into()),
        };
        let config = match recovered.as_ref().and_then(|recovered| recovered.seed) {
            Some(seed) => WorkerConfig { seed, ..config },
            None => config,
        };
        manifest.store(&*self.storage, dir)?;
        let tail = recovered.as_ref().and_then(|recovered| recovered.tail.as_ref());
        let journal = self.begin_journal(dir, &manifest, catalogue, &config, tail)?;
        let files = Files { storage: self.storage.clone(), dir: dir.clone(), manifest, _lock: lock };
        let epoch = files.manifest.epoch;
        Ok(Beginning { epoch, files: Some(files), recovered, journal: Some(journal), config })
    }

    fn read_back(
        &self,
        dir: &Path,
        lock: &NodeLock,
        manifest: Manifest,
        catalogue: &Arc<Catalogue>,
    ) -> Result<(Manifest, Recovered), StartError> {
        if manifest.program != self.program {
            return Err(StartError::ForeignProgram { dir: dir.into(), wrote: manifest.program });
        }
        if manifest.node != self.node {
            let (is, asked) = (manifest.node.0, self.node.0);
            let text = format!("{} is the directory of node {is}, and this is node {asked}", dir.display());
            return Err(StartError::Misuse(text));
        }
        let recovered = recovery::recover(&self.storage, dir, lock, &manifest, catalogue)?;
        Ok((manifest, recovered))
    }

    fn begin_journal(
        &self,
        dir: &Path,
        manifest: &Manifest,
        catalogue: &Catalogue,
        config: &WorkerConfig,
        tail: Option<&Tail>,
    ) -> Result<Journal, StartError> {
        let (build, build_bytes) = build_identity();
        let mut configuration = Vec::new();
        Codec::CURRENT.encode(config, &mut configuration).expect("a configuration is numbers");
        let info = SegmentInfo {
            codec: Codec::CURRENT.id(),
            generator: GENERATOR,
            identity: manifest.identity,
            node: manifest.node,
            epoch: manifest.epoch,
            epoch_random: manifest.epoch_random,
            build,
            build_bytes,
            catalogue: catalogue.table().to_bytes(),
            configuration,
        };
        let options = JournalOptions::default().segment_bytes(self.limits.segment_bytes);
        Ok(Journal::begin(self.storage.clone(), dir, info, tail, options)?)
    }
}

/// The queue of a node's first FSM: the first that worker 0 ever allots.
fn root_queue(node: NodeId) -> RawQueueId {
    RawQueueId { node, place: Place::worker(WorkerId(0)), slot: 0, generation: 1 }
}

/// The one input of [`EdgeId::BOOT`]. It is put in at every start with the same number, so a worker that has it drops it.
fn root_frame<F: Fsm>(node: NodeId, kind: u32, root: &F) -> Result<Batch, StartError> {
    let mut payload = Vec::new();
    put_varint(&mut payload, 0);
    Codec::CURRENT
        .encode(root, &mut payload)
        .map_err(|error| StartError::Misuse(format!("the node's first FSM can't be encoded: {error}")))?;
    let mut batch = Batch::new(Place::edge(EdgeId::BOOT), Epoch::FIRST, 1);
    let boot = edge_queue(node, EdgeId::BOOT);
    batch.push(&Header::to(Class::Spawn, kind, root_queue(node), boot), &payload);
    Ok(batch)
}

/// External values for the rounds that the journal ends in: asked live, each written down as part of its round.
struct LastRounds<'a> {
    shared: &'a Shared,
    rounds: BTreeMap<WorkerId, u64>,
}

impl Externals for LastRounds<'_> {
    fn read(&mut self, worker: WorkerId, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        let round = self.rounds.get(&worker).copied().unwrap_or_default();
        Ports { shared: self.shared, round }.read(worker, port, question)
    }
}

/// Finishes the rounds that the journal ends in, before anything new is admitted.
fn finish(mut playback: Playback, shared: &Shared, kept: &mut recovery::Kept) -> Result<Playback, StartError> {
    let rounds = playback.workers().map(|worker| (worker.id(), worker.rounds() + 1)).collect();
    playback
        .finish(Some(&mut LastRounds { shared, rounds }), kept)
        .map_err(|source| StartError::Playback { position: Default::default(), source })?;
    if let Some(fault) = playback.faults().next() {
        return Err(StartError::Fault(Box::new(fault.clone())));
    }
    Ok(playback)
}

/// Opens the edges; gives those that run in worker 0's loop, and the threads of those that have their own.
fn open_edges(
    edges: Vec<EdgeSpec>,
    shared: &Arc<Shared>,
) -> Result<(Vec<InLoop>, Vec<thread::JoinHandle<()>>), StartError> {
    let (mut in_loop, mut threads) = (Vec::new(), Vec::new());
    for (number, spec) in (EdgeId::FIRST_OF_USER.0..).zip(edges) {
        let edge = EdgeId(number);
        let failed = |source| StartError::Edge { edge, source };
        match spec {
            EdgeSpec::Service(_, open) => {
                let outlet = open(shared, Inlet::new(shared.clone(), edge), edge).map_err(failed)?;
                shared.add_edge(edge, Way::Outlet(outlet));
            }
            EdgeSpec::Reactor(run_on, mut reactor) => {
                let setup = shared.setup(edge);
                reactor.open(&setup).map_err(failed)?;
                let (wake, numbers) = (reactor.waker(), Numbers::new(edge, shared.epoch));
                let in_loop_edge = InLoop { edge, reactor, inputs: Inputs::new(setup), numbers, wake };
                match run_on {
                    RunOn::FirstWorker => {
                        shared.add_edge(edge, Way::InLoopOf(WorkerId(0)));
                        in_loop.push(in_loop_edge);
                    }
                    RunOn::Thread => threads.push(edge_thread::spawn(in_loop_edge, shared).map_err(failed)?),
                }
            }
        }
    }
    Ok((in_loop, threads))
}

/// Gives each worker of the playback, or the first one of a new node, its driver.
fn bring_back(
    playback: Playback,
    shared: &Arc<Shared>,
    starter: &Starter,
    mut in_loop: Vec<InLoop>,
) -> Result<Vec<Driver>, StartError> {
    let mut workers = playback.into_workers();
    if workers.is_empty() {
        workers.push((starter.new_worker(None).map_err(|error| StartError::Misuse(error.to_string()))?, 0));
    }
    let mut drivers = Vec::new();
    for (mut worker, digest) in workers {
        let config = WorkerConfig { seed: worker.config().seed, ..shared.worker_config };
        if *worker.config() != config {
            if let Some(journal) = &shared.journal {
                let mut bytes = Vec::new();
                Codec::CURRENT.encode(&config, &mut bytes).expect("a configuration is numbers");
                let (worker, round) = (worker.id(), worker.rounds());
                journal.write(&Record::Configured { worker, round, config: &bytes })?;
            }
            worker.configure(config);
        }
        let reactors = if worker.id() == WorkerId(0) { std::mem::take(&mut in_loop) } else { Vec::new() };
        drivers.push(starter.prepare(worker, digest, reactors));
    }
    Ok(drivers)
}

/// Puts in again what a worker had put out and its receiver had not recorded, and tells its FSMs what became of the
/// world: connections are gone, requests are sent again or interrupted.
fn put_in_again(
    driver: &mut Driver,
    kept: &mut recovery::Kept,
    shared: &Shared,
    own: &Inlet,
    policies: &[Unanswered],
) {
    let worker = driver.worker.id();
    for (to, mut batch) in kept.take_outputs(worker) {
        if let Some(receiver) = to.as_worker() {
            let frames = driver.unacknowledged.keep(to, &mut batch);
            shared.put(receiver, frames);
        }
    }
    for (to, batch) in kept.take_requests(worker) {
        driver.held.keep(to, &batch.as_ref());
    }
    driver.held.retain(&driver.worker);
    for (queue, request, to, batch) in driver.held.iter() {
        let Some(edge) = to.as_edge() else { continue };
        let user_edge = edge.0.checked_sub(EdgeId::FIRST_OF_USER.0).map(|at| policies.get(at as usize));
        let again = match user_edge {
            // The node's own edge knows the requests that it has served.
            None => true,
            Some(policy) => policy == Some(&Unanswered::SentAgain),
        };
        match shared.edge(edge) {
            Some(Way::Outlet(outlet)) if again => outlet.put(batch),
            Some(Way::InLoopOf(worker)) if again => shared.put_for_edge(worker, edge, batch.clone()),
            _ => {
                let to = ReplyTo::<()>::new(queue, request, Time::ZERO);
                own.put(|inputs| inputs.fail(&to, edge_queue(shared.node, edge), NoReply::Interrupted));
            }
        }
    }
    for (watched, watcher) in driver.worker.watches_elsewhere() {
        if watched.place.as_edge().is_some() {
            own.put(|inputs| inputs.down(watcher, watched, &DownReason::Restarted));
        }
    }
}

/// A random number from the operating system.
fn random() -> Result<u64, StartError> {
    getrandom::u64().map_err(|error| {
        let source = std::io::Error::other(error);
        StartError::System { what: "random numbers from the system", source }
    })
}

/// What tells one build of a program from another: two checksums of the executable's halves, and its length. Zeros where
/// the system doesn't let a program read itself.
#[must_use]
pub fn build_identity() -> (u64, u64) {
    static IDENTITY: OnceLock<(u64, u64)> = OnceLock::new();
    *IDENTITY.get_or_init(|| {
        let bytes = std::env::current_exe().and_then(std::fs::read).unwrap_or_default();
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let hash = u64::from(crc32fast::hash(first)) << 32 | u64::from(crc32fast::hash(second));
        (hash, bytes.len() as u64)
    })
}

//! Puts a node together: its kinds, its directory, its edges, its bounds.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use super::{
    Limits, OnPoison,
    edge::{Outlet, Reactor, Unanswered},
    inlet::Inlet,
    service::{Replier, Serve, Service},
    shared::{Port, Shared},
};
use crate::{
    codec::{Codec, Trust},
    frame::edge_queue,
    fsm::External,
    id::{EdgeId, NodeId, QueueId},
    journal::{Position, RealFiles, Storage},
    message::Message,
    name,
    worker::{Kinds, Recording, WorkerConfig},
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

/// When what a node puts out may leave it, towards the program around it, services and the world. Nothing that is let out is
/// ever taken back by what the durability protects from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// At once: the record is in the node's memory, and gone with the process. The node is a *flight recorder*. The journal's beginning
    /// is given up behind newer snapshots, so that it stays within [`Limits::retain_bytes`] (64 MiB, if that doesn't say). What there
    /// is of it is written out as a *recording*, a directory that can be replayed, when
    ///
    /// - the node stops for an error, such as a panic or a failed assertion under [`OnPanic::StopNode`](crate::OnPanic::StopNode):
    ///   [`NodeError::Recorded`](crate::NodeError::Recorded) says where;
    /// - a handler panics and the node goes on, for the first four of these in the node's life;
    /// - somebody asks: [`Node::write_recording`](crate::Node::write_recording), [`Host::write_recording`](crate::Host::write_recording),
    ///   or a signal with [`write_recordings_on_signal`](NodeBuilder::write_recordings_on_signal).
    ///
    /// Each goes into a directory of its own within [`dir`](NodeBuilder::dir). A start begins anew, and leaves recordings alone. A
    /// process that is killed, aborts or breaks memory leaves none: then nothing in it can be trusted to write.
    ///
    /// ```
    /// # use qnfsm::{Context, Durability, Fsm, Kinds, Next, NodeBuilder, NodeError};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Fuse;
    /// # impl Fsm for Fuse {
    /// #     const NAME: &'static str = "fuse";
    /// #     type State = ();
    /// #     type Message = u32;
    /// #     fn start(&mut self, _: &mut Context<'_, Self>) {}
    /// #     fn handle(&mut self, (): (), amperes: u32, _: &mut Context<'_, Self>) -> Next<Self> {
    /// #         assert!(amperes <= 16, "{amperes} A");
    /// #         Next::Stay
    /// #     }
    /// # }
    /// # let kinds = Kinds::new().with::<Fuse>();
    /// # let dir = std::env::temp_dir().join(format!("qnfsm-durability-{}", std::process::id()));
    /// let node = NodeBuilder::new("fuse", kinds).durability(Durability::Memory).dir(&dir).start(&Fuse)?;
    /// node.host().send(node.root(), &17)?;
    /// let Err(NodeError::Recorded { error, recording }) = node.wait() else { panic!("17 A are too many") };
    /// assert!(error.to_string().contains("17 A"));
    /// assert!(recording?.starts_with(&dir));
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Memory,
    /// Once the operating system has the record of the round that put it out: nothing is lost when the process is killed. When
    /// the machine goes down the last [`Limits::sync_every`] may be.
    #[default]
    Buffered,
    /// Once that record is on disk: nothing is lost when the machine goes down either. Rounds that end while a sync is under way
    /// share the next one. Room for two segments is taken on disk beforehand.
    Durable,
}

type Opened = Result<Arc<dyn Outlet>, std::io::Error>;

type OpenService = Box<dyn FnOnce(&Shared, Inlet, EdgeId) -> Opened>;

/// An edge that is to be opened.
pub(super) enum EdgeSpec {
    Reactor(RunOn, Box<dyn Reactor>),
    Service(Unanswered, OpenService),
}

/// What a start does about rounds behind the last snapshots that another build of the program recorded, with the same types, or the
/// program with other [resources](crate::Resource). After a clean stop there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnOtherBuild {
    /// The start fails and names that build, or those resources: a journal's tail belongs to what recorded it.
    #[default]
    Refuse,
    /// They are run by this build, and compared with what was recorded: for a build that is known to handle in the same way what is
    /// on record, such as one in which an error was mended that comes after it. The start fails at the first round that differs. The
    /// last round of each worker may have nothing on record to be compared with: [`Node::ran_anew`](crate::Node::ran_anew) and a warning
    /// name it, and whether it may have ended, and what it put out have left. One of which nothing has left, such as one that ended in
    /// a fault, may also ask the world for something else than it did then. The workers are snapshot then, so the next start needs
    /// this no more.
    Run,
}

impl EdgeSpec {
    pub(super) fn unanswered(&self) -> Unanswered {
        match self {
            EdgeSpec::Reactor(_, reactor) => reactor.unanswered(),
            EdgeSpec::Service(unanswered, _) => *unanswered,
        }
    }
}

/// A node that is being put together. See [`Node`](crate::Node).
pub struct NodeBuilder {
    pub(super) program: String,
    pub(super) kinds: Kinds,
    /// The first thing that the builder was misused for; the start says it.
    pub(super) misuse: Option<String>,
    pub(super) node: NodeId,
    pub(super) dir: Option<PathBuf>,
    pub(super) recover_to: Option<Position>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) seed: Option<u64>,
    pub(super) config: WorkerConfig,
    pub(super) durability: Durability,
    pub(super) on_poison: OnPoison,
    pub(super) on_other_build: OnOtherBuild,
    /// What this executable is said to be; what it is if nothing is said.
    pub(super) build: Option<(u64, u64)>,
    pub(super) limits: Limits,
    pub(super) edges: Vec<EdgeSpec>,
    pub(super) ports: BTreeMap<&'static str, Port>,
    pub(super) signals: bool,
    pub(super) records_on_signal: bool,
}

impl NodeBuilder {
    /// A node of a program with these kinds. `program` names it in its directory; another program's directory is
    /// refused. Without [`dir`](NodeBuilder::dir) nothing is recorded.
    #[must_use]
    pub fn new(program: impl Into<String>, kinds: Kinds) -> NodeBuilder {
        let program = program.into();
        let misuse = refusal("the program", &program);
        NodeBuilder {
            program,
            kinds,
            misuse,
            node: NodeId(0),
            dir: None,
            recover_to: None,
            storage: Arc::new(RealFiles),
            seed: None,
            config: WorkerConfig::default(),
            durability: Durability::default(),
            on_poison: OnPoison::default(),
            on_other_build: OnOtherBuild::default(),
            build: None,
            limits: Limits::default(),
            edges: Vec::new(),
            ports: BTreeMap::new(),
            signals: false,
            records_on_signal: false,
        }
    }

    /// Records in that directory, and goes on from what is recorded there. It is made if there is none. With
    /// [`Durability::Memory`] recordings are written into it, each into a directory of its own.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> NodeBuilder {
        self.dir = Some(dir.into());
        self
    }

    /// Goes on from an earlier position of the journal, and gives up for good what was recorded from there on: that is for an
    /// operator to say, once, when a journal is damaged and there is no copy. The error that a damaged journal gives names
    /// the last position to go on from. `None` changes nothing, so a program can hand on what its command line said.
    ///
    /// Within the node that is sound, because any prefix of a journal is a consistent cut of it. The world is not brought back: what
    /// left the node later is not known to it any more, and requests to services are numbered again from there on, so that
    /// a service which remembers the numbers takes new requests for old ones.
    ///
    /// What is given up is kept aside in `lost` first, with the snapshots of it; [`Node::given_up`](crate::Node::given_up) and a
    /// warning say what it was. The journal may be whole: then what is given up is known to have been recorded. A position at which
    /// the journal ends anyway changes nothing. One at which no record ends, or from which the node can't go on, is refused with
    /// another to give instead; so is one from which a later epoch went on: who passes the same position at every start gives up
    /// once, and not what was recorded since. A start that fails after that has given up all the same.
    #[must_use]
    pub fn recover_to(mut self, position: impl Into<Option<Position>>) -> NodeBuilder {
        self.recover_to = position.into();
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

    /// When what the node puts out may leave it. Without a directory nothing is recorded, and everything leaves at once;
    /// [`Durability::Memory`] needs one for its recordings.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> NodeBuilder {
        self.durability = durability;
        self
    }

    /// What a start does about a message whose handler doesn't end, whenever it is run.
    #[must_use]
    pub fn on_poison(mut self, on_poison: OnPoison) -> NodeBuilder {
        self.on_poison = on_poison;
        self
    }

    /// What a start does about rounds that another build of the program recorded, and that have to be run again.
    #[must_use]
    pub fn on_other_build(mut self, on_other_build: OnOtherBuild) -> NodeBuilder {
        self.on_other_build = on_other_build;
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

    /// Says that another executable runs, with that hash and length. For tests of several builds.
    #[doc(hidden)]
    #[must_use]
    pub fn build(mut self, hash: u64, bytes: u64) -> NodeBuilder {
        self.build = Some((hash, bytes));
        self
    }

    /// Stops in good order on SIGINT and SIGTERM.
    #[must_use]
    pub fn stop_on_signals(mut self) -> NodeBuilder {
        self.signals = true;
        self
    }

    /// Writes a recording out on SIGUSR1, where the system has that signal, with [`Durability::Memory`].
    #[must_use]
    pub fn write_recordings_on_signal(mut self) -> NodeBuilder {
        self.records_on_signal = true;
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

    /// Adds a port for external values, in place of one of that name. The worker waits for it: it answers quickly and
    /// changes nothing.
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
        self.misuse = self.misuse.or_else(|| refusal("an external port", P::NAME));
        self.ports.insert(P::NAME, Box::new(ask));
        self
    }
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

/// Why a name can't be had. `of` is what it is the name of.
fn refusal(of: &str, name: &str) -> Option<String> {
    name::refusal(name).map(|why| format!("the name {name:?} of {of} {why}"))
}

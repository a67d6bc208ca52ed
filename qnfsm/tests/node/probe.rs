//! An FSM that does what it is told and says what came of it, its service, its port, and a gate that holds it up.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use qnfsm::{
    Context, Down, External, Fsm, Kinds, Limits, Next, NodeBuilder, NodeId, NodeRequest, OnPanic, QueueId, RawQueueId,
    Reply, ReplyTo, StartError, WorkerId,
    journal::{Reader, Record, Storage},
};
use serde::{Deserialize, Serialize};

pub(crate) const DIR: &str = "/probe";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const FOREVER: Duration = Duration::from_secs(3600);

/// A port for numbers from outside.
pub(crate) struct Dice;

impl External for Dice {
    const NAME: &'static str = "dice";
    type Question = u32;
    type Answer = u64;
}

/// A request to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) value: u64,
    pub(crate) reply: ReplyTo<u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) total: u64,
    pub(crate) log: Vec<String>,
    held: Vec<ReplyTo<u64>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Tell {
    Add(u64, Vec<u8>),
    Total(ReplyTo<u64>),
    Log(ReplyTo<Vec<String>>),
    /// Keeps the address; [`Tell::Release`] answers the oldest one that is kept with that number.
    Hold(ReplyTo<u64>),
    Release(u64),
    Call {
        service: QueueId<Job>,
        value: u64,
        within: Duration,
    },
    Answered(Reply<u64>),
    /// Lets a service answer whoever asks.
    HandOn(QueueId<Job>, ReplyTo<u64>),
    Read(u32),
    Watch(QueueId<Job>),
    Down(Down),
    /// Waits until the gate is opened.
    Gate(u64),
    /// Sends itself two of these for each.
    Flood,
    Panic,
    /// Its handler takes so many milliseconds, which is what the test is about.
    Sleep(u64),
    StartWorker,
    Started(Reply<WorkerId>),
    SpawnOn(WorkerId, Duration),
    Spawned(Reply<QueueId<Tell>>),
    Spawn(Kind),
    Forward(QueueId<Tell>, Box<Tell>),
    /// All of these in one handler.
    Each(Vec<Tell>),
    Bounce {
        edge: QueueId<Ball>,
        left: u64,
    },
    Bounced(Ball),
    /// Counts how often a handler is run with it, beside the record. No two tests use the same.
    Count(u64),
    Stop,
}

/// What goes to a reactor and comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ball {
    pub(crate) left: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Kind {
    Stops,
    Restarts,
}

impl From<Reply<u64>> for Tell {
    fn from(reply: Reply<u64>) -> Tell {
        Tell::Answered(reply)
    }
}

impl From<Reply<WorkerId>> for Tell {
    fn from(reply: Reply<WorkerId>) -> Tell {
        Tell::Started(reply)
    }
}

impl From<Reply<QueueId<Tell>>> for Tell {
    fn from(reply: Reply<QueueId<Tell>>) -> Tell {
        Tell::Spawned(reply)
    }
}

impl From<Down> for Tell {
    fn from(down: Down) -> Tell {
        Tell::Down(down)
    }
}

impl From<Ball> for Tell {
    fn from(ball: Ball) -> Tell {
        Tell::Bounced(ball)
    }
}

impl Probe {
    fn take<F: Fsm<Message = Tell>>(&mut self, message: Tell, cx: &mut Context<'_, F>) -> Next<F> {
        match message {
            Tell::Add(value, _) => self.total += value,
            Tell::Total(reply) => cx.reply(reply, self.total),
            Tell::Log(reply) => cx.reply(reply, self.log.clone()),
            Tell::Hold(reply) => self.held.push(reply),
            Tell::Release(value) => {
                let reply = self.held.remove(0);
                cx.reply(reply, value);
            }
            Tell::Call { service, value, within } => {
                let request = cx.request(service, within, |reply| Job { value, reply });
                self.log.push(format!("asked {}", request.0));
            }
            Tell::HandOn(service, reply) => cx.send(service, Job { value: 0, reply }),
            Tell::Answered(Reply { request, outcome }) => self.log.push(format!("{}: {outcome:?}", request.0)),
            Tell::Read(count) => {
                for question in 0..count {
                    let answer = cx.external::<Dice>(&question);
                    self.log.push(format!("read {answer}"));
                }
            }
            Tell::Watch(service) => cx.monitor(service),
            Tell::Down(Down { reason, .. }) => self.log.push(format!("down: {reason:?}")),
            Tell::Gate(gate) => wait_at(gate),
            Tell::Flood => {
                cx.send(cx.id(), Tell::Flood);
                cx.send(cx.id(), Tell::Flood);
            }
            Tell::Panic => panic!("as it was told to"),
            Tell::Sleep(ms) => std::thread::sleep(Duration::from_millis(ms)),
            Tell::StartWorker => {
                cx.request(NodeRequest::queue(NodeId(0)), FOREVER, |reply| NodeRequest::StartWorker { reply });
            }
            Tell::Started(Reply { outcome, .. }) => self.log.push(format!("started {}", outcome.unwrap())),
            Tell::SpawnOn(worker, within) => {
                cx.spawn_on(worker, Probe::default(), within);
            }
            Tell::Spawned(Reply { outcome, .. }) => self.log.push(match outcome {
                Ok(queue) => format!("spawned {queue:?}"),
                Err(why) => format!("not spawned: {why:?}"),
            }),
            Tell::Spawn(kind) => {
                let queue = match kind {
                    Kind::Stops => cx.spawn(Stops(Probe::default())),
                    Kind::Restarts => cx.spawn(Restarts(Probe::default())),
                };
                cx.monitor(queue);
                self.log.push(format!("{}/{}", queue.raw().slot(), queue.raw().generation()));
            }
            Tell::Forward(to, message) => cx.send(to, *message),
            Tell::Each(messages) => {
                for message in messages {
                    let _ = self.take(message, cx);
                }
            }
            Tell::Bounce { edge, left } => cx.send(edge, Ball { left }),
            Tell::Bounced(Ball { left }) => {
                self.total += 1;
                if left > 0 {
                    let edge = QueueId::from_raw(cx.sender());
                    cx.send::<Ball>(edge, Ball { left: left - 1 });
                }
            }
            Tell::Count(counter) => {
                *COUNTS.lock().unwrap().entry(counter).or_default() += 1;
            }
            Tell::Stop => {
                cx.send(NodeRequest::queue(NodeId(0)), NodeRequest::Stop);
            }
        }
        Next::Stay
    }
}

impl Fsm for Probe {
    const NAME: &'static str = "probe";
    type State = ();
    type Message = Tell;

    fn start(&mut self, _: &mut Context<'_, Probe>) {}

    fn handle(&mut self, (): (), message: Tell, cx: &mut Context<'_, Probe>) -> Next<Probe> {
        self.take(message, cx)
    }
}

macro_rules! with_policy {
    ($kind:ident, $name:literal, $policy:expr) => {
        #[derive(Debug, Default, Serialize, Deserialize)]
        pub(crate) struct $kind(Probe);

        impl Fsm for $kind {
            const NAME: &'static str = $name;
            const ON_PANIC: OnPanic = $policy;
            type State = ();
            type Message = Tell;

            fn start(&mut self, _: &mut Context<'_, $kind>) {}

            fn handle(&mut self, (): (), message: Tell, cx: &mut Context<'_, $kind>) -> Next<$kind> {
                self.0.take(message, cx)
            }
        }
    };
}

with_policy!(Stops, "stops", OnPanic::StopFsm);
with_policy!(Restarts, "restarts", OnPanic::Restart { budget: 1 });

pub(crate) fn kinds() -> Kinds {
    Kinds::new()
        .with::<Probe>()
        .with::<Stops>()
        .with::<Restarts>()
        .replies::<Tell, u64>()
        .replies::<Tell, WorkerId>()
        .replies::<Tell, QueueId<Tell>>()
        .accepts::<Tell, Down>()
        .accepts::<Tell, Ball>()
        .message::<Job>()
        .message::<Vec<String>>()
}

pub(crate) type Node = qnfsm::Node<Tell>;

pub(crate) fn builder(storage: Arc<dyn Storage>) -> NodeBuilder {
    NodeBuilder::new("probe", kinds()).dir(DIR).storage(storage).seed(1)
}

/// Limits under which nothing is waited for that a test is not about.
pub(crate) fn limits() -> Limits {
    Limits { drain: Duration::from_secs(20), ..Limits::default() }
}

/// Starts a node with a probe as its root.
pub(crate) fn start(builder: NodeBuilder) -> Node {
    builder.start(&Probe::default()).unwrap()
}

/// Why a node with a probe as its root does not start.
pub(crate) fn refused(builder: NodeBuilder) -> StartError {
    builder.start(&Probe::default()).unwrap_err()
}

pub(crate) fn total(node: &Node) -> u64 {
    node.host().request(node.root(), PATIENCE, Tell::Total).unwrap()
}

pub(crate) fn log(node: &Node) -> Vec<String> {
    node.host().request(node.root(), PATIENCE, Tell::Log).unwrap()
}

/// Asks for the log until there is such a line, and gives it.
pub(crate) fn until_logged(node: &Node, what: impl Fn(&str) -> bool) -> String {
    let begun = std::time::Instant::now();
    loop {
        let log = log(node);
        if let Some(line) = log.iter().find(|line| what(line)) {
            return line.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{log:?}");
    }
}

/// An FSM's queue in worker 0.
pub(crate) fn queue(slot: u32, generation: u32) -> QueueId<Tell> {
    let place = qnfsm::Place::worker(WorkerId(0));
    QueueId::from_raw(RawQueueId::new(NodeId(0), place, slot, generation))
}

/// Replays a journal and looks at the root at its end.
pub(crate) fn replayed<T>(storage: &Arc<dyn Storage>, look: impl FnOnce(&Probe) -> T) -> T {
    let playback = crate::ring::replay(storage, Path::new(DIR), kinds());
    let worker = playback.workers().next().unwrap();
    look(worker.fsm::<Probe>(queue(0, 1)).unwrap().0)
}

/// Looks at each record of a journal.
pub(crate) fn records<T>(
    storage: Arc<dyn Storage>,
    mut look: impl FnMut(&Record<'_>, qnfsm::journal::Position) -> Option<T>,
) -> Vec<T> {
    let mut reader = Reader::open(storage, Path::new(DIR)).unwrap();
    let mut found = vec![];
    loop {
        let looked = match reader.next().unwrap() {
            Some(entry) => look(&entry.record, entry.position),
            None => return found,
        };
        found.extend(looked);
    }
}

/// How often handlers were run with [`Tell::Count`], replays included.
pub(crate) static COUNTS: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());

/// How many wait at a gate, and whether it is open. What waits there does nothing with it, so replays are the same.
#[derive(Default)]
struct Gates {
    waiting: BTreeMap<u64, u32>,
    open: BTreeMap<u64, ()>,
}

static GATES: (Mutex<Option<Gates>>, Condvar) = (Mutex::new(None), Condvar::new());

pub(crate) fn wait_at(gate: u64) {
    let mut gates = GATES.0.lock().unwrap();
    *gates.get_or_insert_default().waiting.entry(gate).or_default() += 1;
    GATES.1.notify_all();
    while !gates.get_or_insert_default().open.contains_key(&gate) {
        gates = GATES.1.wait(gates).unwrap();
    }
}

/// Opens a gate when it is dropped, so that a test that fails doesn't wait there for ever.
pub(crate) struct Gate(u64);

impl Gate {
    /// A gate that no other test uses.
    pub(crate) fn new() -> Gate {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Gate(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends who gets it to the gate.
    pub(crate) fn message(&self) -> Tell {
        Tell::Gate(self.0)
    }

    pub(crate) fn until_somebody_waits(&self) {
        let mut gates = GATES.0.lock().unwrap();
        while !gates.get_or_insert_default().waiting.contains_key(&self.0) {
            let (next, timeout) = GATES.1.wait_timeout(gates, PATIENCE).unwrap();
            gates = next;
            if timeout.timed_out() {
                // Not while it is locked: other tests have gates too.
                drop(gates);
                panic!("nobody came to gate {}", self.0);
            }
        }
    }

    pub(crate) fn open(self) {}
}

impl Drop for Gate {
    fn drop(&mut self) {
        GATES.0.lock().unwrap().get_or_insert_default().open.insert(self.0, ());
        GATES.1.notify_all();
    }
}

/// Sends somebody to a gate, and waits until it waits there.
pub(crate) fn gate(node: &Node, to: QueueId<Tell>) -> Gate {
    let gate = Gate::new();
    node.host().send(to, &gate.message()).unwrap();
    gate.until_somebody_waits();
    gate
}

/// Starts worker 1 with a probe on it; gives the probe's queue.
pub(crate) fn second_worker(node: &Node) -> QueueId<Tell> {
    node.host().send(node.root(), &Tell::StartWorker).unwrap();
    until_logged(node, |line| line == "started w1");
    node.host().send(node.root(), &Tell::SpawnOn(WorkerId(1), PATIENCE)).unwrap();
    until_logged(node, |line| line.starts_with("spawned"));
    QueueId::from_raw(RawQueueId::new(
        (queue(0, 1).raw()).node(),
        qnfsm::Place::worker(WorkerId(1)),
        (queue(0, 1).raw()).slot(),
        (queue(0, 1).raw()).generation(),
    ))
}

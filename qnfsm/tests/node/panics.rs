//! What panics outside of any FSM: the node stops and says whose thread it was, nobody waits on, and what was recorded
//! is there when the node starts again.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use qnfsm::{
    Context, Durability, EdgeId, EdgeSetup, Fsm, HostError, Inputs, Kinds, Next, NoReply, NodeBuilder, NodeError,
    NodeId, NodeRequest, Place, QueueId, Reactor, Reply, ReplyTo, RunOn, Stopped, Wake, WorkerId, frame::Frame,
};
use serde::{Deserialize, Serialize, Serializer};

use crate::{
    files::Memory,
    probe::{self, Ball, PATIENCE, Tell, start},
};

/// Where a reactor panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Take,
    Poll,
    Close,
    Wake,
}

/// A reactor that does nothing, and panics once it is armed.
struct Tripwire {
    at: At,
    is_armed: Arc<AtomicBool>,
    woken: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

impl Tripwire {
    fn new(at: At, is_armed: &Arc<AtomicBool>) -> Tripwire {
        Tripwire { at, is_armed: is_armed.clone(), woken: mpsc::channel() }
    }
}

fn trip(at: At, here: At, is_armed: &AtomicBool) {
    assert!(at != here || !is_armed.load(Ordering::SeqCst), "as it was armed to");
}

impl Reactor for Tripwire {
    fn open(&mut self, _: &EdgeSetup) -> io::Result<()> {
        Ok(())
    }

    fn take(&mut self, _: &Frame<'_>, _: &mut Inputs) {
        trip(self.at, At::Take, &self.is_armed);
    }

    fn poll(&mut self, timeout: Option<Duration>, _: &mut Inputs) -> io::Result<()> {
        trip(self.at, At::Poll, &self.is_armed);
        let _ = self.woken.1.recv_timeout(timeout.unwrap_or(PATIENCE));
        Ok(())
    }

    fn waker(&self) -> Wake {
        let (at, is_armed, woken) = (self.at, self.is_armed.clone(), self.woken.0.clone());
        Arc::new(move || {
            trip(at, At::Wake, &is_armed);
            let _ = woken.send(());
        })
    }

    fn close(&mut self) {
        trip(self.at, At::Close, &self.is_armed);
    }
}

/// Waits for a node's end, but not for ever.
fn end(node: probe::Node, end: impl FnOnce(probe::Node) -> Result<Stopped, NodeError> + Send + 'static) -> NodeError {
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(end(node)).unwrap());
    ended.recv_timeout(PATIENCE).expect("the node ends").unwrap_err()
}

#[test]
fn a_reactor_that_panics_stops_the_node_which_starts_again_with_all_that_it_had() {
    let (worker, edge) = (Place::worker(WorkerId(0)), Place::edge(EdgeId(EdgeId::FIRST_OF_USER.0)));
    let cases = [
        (RunOn::FirstWorker, At::Take, worker),
        (RunOn::FirstWorker, At::Poll, worker),
        (RunOn::FirstWorker, At::Close, edge),
        (RunOn::Thread, At::Take, edge),
        (RunOn::Thread, At::Poll, edge),
        (RunOn::Thread, At::Close, edge),
        // Who puts something out for an edge wakes it.
        (RunOn::Thread, At::Wake, worker),
    ];
    for (run_on, at, whose) in cases {
        let (disk, is_armed) = (Memory::default(), Arc::default());
        let mut builder = probe::builder(disk.storage());
        let edge = builder.reactor(run_on, Tripwire::new(at, &is_armed));
        let edge = QueueId::<Ball>::from_raw(qnfsm::frame::edge_queue(NodeId(0), edge));
        let node = start(builder);
        node.host().send(node.root(), &Tell::Add(3, vec![])).unwrap();
        assert_eq!(probe::total(&node), 3);
        let never = node.host().ask::<_, u64>(node.root(), PATIENCE, Tell::Hold).unwrap();
        is_armed.store(true, Ordering::SeqCst);
        let error = if at == At::Close {
            end(node, probe::Node::stop)
        } else {
            node.host().send(node.root(), &Tell::Bounce { edge, left: 0 }).unwrap();
            end(node, probe::Node::wait)
        };
        assert!(matches!(error, NodeError::Panicked(place) if place == whose), "{run_on:?}, {at:?}: {error:?}");
        let outcome = never.wait();
        assert!(matches!(outcome, Err(HostError::NoReply(NoReply::Gone))), "{run_on:?}, {at:?}: {outcome:?}");
        for disk in [disk.crash(), disk] {
            let mut builder = probe::builder(disk.storage());
            builder.reactor(run_on, Tripwire::new(at, &Arc::default()));
            let node = start(builder);
            assert_eq!(probe::total(&node), 3, "{run_on:?}, {at:?}");
            node.stop().unwrap();
            assert_eq!(probe::replayed(&disk.storage(), |probe| probe.total), 3);
        }
    }
}

#[test]
fn a_flight_recorder_is_written_out_when_a_thread_of_the_nodes_own_panics() {
    for run_on in [RunOn::FirstWorker, RunOn::Thread] {
        let (disk, is_armed) = (Memory::default(), Arc::default());
        let mut builder = probe::builder(disk.storage()).durability(Durability::Memory);
        let edge = builder.reactor(run_on, Tripwire::new(At::Take, &is_armed));
        let edge = QueueId::<Ball>::from_raw(qnfsm::frame::edge_queue(NodeId(0), edge));
        let node = start(builder);
        node.host().send(node.root(), &Tell::Add(3, vec![])).unwrap();
        assert_eq!(probe::total(&node), 3);
        is_armed.store(true, Ordering::SeqCst);
        node.host().send(node.root(), &Tell::Bounce { edge, left: 0 }).unwrap();
        let failure = end(node, probe::Node::wait);
        let NodeError::Recorded { error, recording: Ok(dir) } = failure else { panic!("{failure:?}") };
        assert!(matches!(*error, NodeError::Panicked(_)), "{error:?}");
        let playback = crate::ring::replay(&disk.storage(), &dir, probe::kinds());
        let root = playback.workers().next().unwrap().fsm::<probe::Probe>(probe::queue(0, 1)).unwrap().0;
        assert_eq!((root.total, playback.faults().count()), (3, 0));
    }
}

#[test]
fn a_node_that_is_dropped_by_its_own_worker_stops_and_starts_again_with_all_that_it_had() {
    let disk = Memory::default();
    let (slot, dropped) = (Arc::new(Mutex::new(None::<probe::Node>)), mpsc::channel());
    let taken = slot.clone();
    let sender = Mutex::new(dropped.0);
    let node = start(probe::builder(disk.storage()).external::<probe::Dice>(move |_| {
        drop(taken.lock().unwrap().take());
        sender.lock().unwrap().send(()).unwrap();
        6
    }));
    node.host().send(node.root(), &Tell::Add(3, vec![])).unwrap();
    assert_eq!(probe::total(&node), 3);
    let (host, root) = (node.host(), node.root());
    *slot.lock().unwrap() = Some(node);
    host.send(root, &Tell::Read(1)).unwrap();
    dropped.1.recv_timeout(PATIENCE).expect("the drop comes back");
    for _ in 0..2 {
        // The directory is free, though the round with the drop in it may still run.
        let node = start(probe::builder(disk.storage()).external::<probe::Dice>(|_| 5));
        assert_eq!(probe::total(&node), 3);
        assert_eq!(probe::log(&node), ["read 5"]);
        node.stop().unwrap();
    }
    drop(host);
    assert_eq!(probe::replayed(&disk.storage(), |probe| probe.total), 3);
}

/// Those on the second worker can't be encoded while this is set.
static IS_BRITTLE: AtomicBool = AtomicBool::new(false);

/// Counts; the first one puts another on a second worker.
#[derive(Serialize, Deserialize)]
struct Count {
    #[serde(serialize_with = "encode_unless_brittle")]
    is_second: bool,
    asked: u64,
}

fn encode_unless_brittle<S: Serializer>(is_second: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    assert!(!is_second || !IS_BRITTLE.load(Ordering::SeqCst), "as it was told to");
    serializer.serialize_bool(*is_second)
}

#[derive(Serialize, Deserialize)]
enum Counting {
    Ask(ReplyTo<u64>),
    Started(Reply<WorkerId>),
    Spawned(Reply<QueueId<Counting>>),
}

impl From<Reply<WorkerId>> for Counting {
    fn from(reply: Reply<WorkerId>) -> Counting {
        Counting::Started(reply)
    }
}

impl From<Reply<QueueId<Counting>>> for Counting {
    fn from(reply: Reply<QueueId<Counting>>) -> Counting {
        Counting::Spawned(reply)
    }
}

impl Fsm for Count {
    const NAME: &'static str = "count";
    /// Ready, once the other one is there.
    type State = bool;
    type Message = Counting;

    fn start(&mut self, cx: &mut Context<'_, Count>) -> bool {
        if !self.is_second {
            cx.request(NodeRequest::queue(NodeId(0)), PATIENCE, |reply| NodeRequest::StartWorker { reply });
        }
        self.is_second
    }

    fn handle(&mut self, is_ready: bool, message: Counting, cx: &mut Context<'_, Count>) -> Next<Count> {
        match message {
            Counting::Ask(_) if !is_ready => return Next::Postpone(message),
            Counting::Ask(reply) => {
                self.asked += 1;
                cx.reply(reply, self.asked);
            }
            Counting::Started(reply) => {
                cx.spawn_on(reply.outcome.unwrap(), Count { is_second: true, asked: 0 }, PATIENCE);
            }
            Counting::Spawned(_) => return Next::Goto(true),
        }
        Next::Stay
    }
}

#[test]
fn data_that_panics_when_the_end_is_written_costs_neither_what_was_recorded_nor_the_next_start() {
    let disk = Memory::default();
    let start = || {
        let kinds = Kinds::new().with::<Count>().message::<u64>();
        let kinds = kinds.replies::<Counting, WorkerId>().replies::<Counting, QueueId<Counting>>();
        let builder = NodeBuilder::new("count", kinds).dir("/count").storage(disk.storage());
        builder.start(&Count { is_second: false, asked: 0 }).unwrap()
    };
    let node = start();
    let kept = node.host();
    assert_eq!(kept.request::<_, u64>(node.root(), PATIENCE, Counting::Ask).unwrap(), 1);
    IS_BRITTLE.store(true, Ordering::SeqCst);
    let error = node.stop().unwrap_err();
    assert!(matches!(error, NodeError::Panicked(place) if place == Place::worker(WorkerId(1))), "{error:?}");
    IS_BRITTLE.store(false, Ordering::SeqCst);
    // Who still has a handle writes nothing behind the end that the next start reads.
    start().stop().unwrap();
    drop(kept);
    let node = start();
    assert_eq!(node.host().request::<_, u64>(node.root(), PATIENCE, Counting::Ask).unwrap(), 2);
    node.stop().unwrap();
}

//! What counts towards the budget of bytes: what messages hold, wherever they wait, and what edges hold.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use qnfsm::{
    Context, EdgeSetup, Fsm, HostError, Inputs, Kinds, Limits, Next, NodeBuilder, NodeError, NodeId, QueueId, Reactor,
    Reply, ReplyTo, RunOn, Unanswered, Wake, frame::Frame,
};
use serde::{Deserialize, Serialize};

use crate::{files::Memory, probe::PATIENCE};

/// Keeps what it is sent by postponing it, passes it on, or sends itself as much as it is told to.
#[derive(Serialize, Deserialize)]
struct Hoarder;

#[derive(Serialize, Deserialize)]
enum Hoard {
    Keep(String),
    Out(QueueId<Parcel>, String),
    Flood { texts: u32 },
    LetGo,
    Ask(QueueId<Ask>, String),
    Nothing,
}

#[derive(Serialize, Deserialize)]
struct Parcel(String);

#[derive(Serialize, Deserialize)]
struct Ask {
    text: String,
    reply: ReplyTo<bool>,
}

impl From<Reply<bool>> for Hoard {
    fn from(_: Reply<bool>) -> Hoard {
        Hoard::Nothing
    }
}

impl Fsm for Hoarder {
    const NAME: &'static str = "hoarder";
    type State = bool;
    type Message = Hoard;
    fn start(&mut self, _: &mut Context<'_, Self>) -> bool {
        false
    }
    fn handle(&mut self, lets_go: bool, message: Hoard, cx: &mut Context<'_, Self>) -> Next<Self> {
        match message {
            Hoard::Keep(_) if lets_go => Next::Stay,
            Hoard::Keep(_) => Next::Postpone(message),
            Hoard::Out(to, text) => {
                cx.send(to, Parcel(text));
                Next::Stay
            }
            Hoard::Flood { texts } => {
                let me = cx.id();
                (0..texts).for_each(|_| cx.send(me, Hoard::Keep(piece())));
                Next::Stay
            }
            Hoard::LetGo => Next::Goto(!lets_go),
            Hoard::Ask(service, text) => {
                cx.request(service, 2 * PATIENCE, |reply| Ask { text, reply });
                Next::Stay
            }
            Hoard::Nothing => Next::Stay,
        }
    }
}

const PIECE: u64 = 1 << 16;

fn piece() -> String {
    "x".repeat(1 << 16)
}

fn builder(disk: &Memory) -> NodeBuilder {
    let limits = Limits { budget_bytes: 10 * PIECE, hard_limit_bytes: 100 * PIECE, ..Limits::default() };
    let kinds = Kinds::new().with::<Hoarder>().message::<Parcel>().message::<Ask>().replies::<Hoard, bool>();
    NodeBuilder::new("hoard", kinds).dir("/hoard").storage(disk.storage()).seed(1).limits(limits)
}

/// Sends until the node is full; says how often.
fn fill(node: &qnfsm::Node<Hoard>, message: impl Fn() -> Hoard) -> u64 {
    for sent in 0..300 {
        // A moment, so that what was sent is where it stays.
        match node.host().send_wait(node.root(), &message(), Duration::from_millis(50)) {
            Ok(()) => {}
            Err(HostError::Full { .. }) => return sent,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("300 pieces went into a budget of 10");
}

#[test]
fn messages_that_an_idle_fsm_has_postponed_count_with_what_they_hold() {
    let disk = Memory::default();
    let node = builder(&disk).start(&Hoarder).unwrap();
    let sent = fill(&node, || Hoard::Keep(piece()));
    assert!((10..=12).contains(&sent), "{sent} messages of 64 KiB");
    let crashed = disk.crash();
    drop(node);
    // What a recovery brings back counts as well.
    let node = builder(&crashed).start(&Hoarder).unwrap();
    let again = node.host().send_wait(node.root(), &Hoard::Keep(String::new()), Duration::from_millis(50));
    assert!(matches!(again, Err(HostError::Full { .. })), "{again:?}");
    node.stop().unwrap();
    let node = builder(&crashed).start(&Hoarder).unwrap();
    let again = node.host().send_wait(node.root(), &Hoard::Keep(String::new()), Duration::from_millis(50));
    assert!(matches!(again, Err(HostError::Full { .. })), "from a snapshot: {again:?}");
}

#[test]
fn messages_within_a_worker_count_towards_the_hard_limit_with_what_they_hold() {
    let node = builder(&Memory::default()).start(&Hoarder).unwrap();
    node.host().send(node.root(), &Hoard::Flood { texts: 50 }).unwrap();
    // It holds 50 pieces, and goes on.
    let begun = std::time::Instant::now();
    while !matches!(node.host().send(node.root(), &Hoard::Nothing), Err(HostError::Full { .. })) {
        assert!(begun.elapsed() < PATIENCE, "50 pieces are within a budget of 10");
    }
    node.stop().unwrap();
    let node = builder(&Memory::default()).start(&Hoarder).unwrap();
    node.host().send(node.root(), &Hoard::Flood { texts: 101 }).unwrap();
    let error = node.wait().unwrap_err();
    let NodeError::HardLimit { limit_bytes, queues } = &error else { panic!("{error:?}") };
    assert_eq!(*limit_bytes, 100 * PIECE);
    assert!(queues[0].starts_with("queue w0/0.1 with 6"), "{error}");
}

/// What a test and its reactor share: the bytes that it holds until they may leave, and the bell that ends its wait.
#[derive(Default)]
struct Store {
    held: AtomicU64,
    leaves: AtomicBool,
    woken: Mutex<bool>,
    bell: Condvar,
}

impl Store {
    fn ring(&self) {
        *self.woken.lock().unwrap() = true;
        self.bell.notify_all();
    }
}

/// Holds what it is given until the test takes it.
struct Shelf(Arc<Store>);

impl Reactor for Shelf {
    fn open(&mut self, _: &EdgeSetup) -> io::Result<()> {
        Ok(())
    }
    fn take(&mut self, frame: &Frame<'_>, _: &mut Inputs) {
        self.0.held.fetch_add(frame.payload.len() as u64, Ordering::SeqCst);
    }
    fn poll(&mut self, timeout: Option<Duration>, _: &mut Inputs) -> io::Result<()> {
        let woken = self.0.woken.lock().unwrap();
        let timeout = timeout.unwrap_or(PATIENCE);
        *self.0.bell.wait_timeout_while(woken, timeout, |woken| !*woken).unwrap().0 = false;
        Ok(())
    }
    fn held_bytes(&self) -> u64 {
        if self.0.leaves.load(Ordering::SeqCst) { 0 } else { self.0.held.load(Ordering::SeqCst) }
    }
    fn waker(&self) -> Wake {
        let store = self.0.clone();
        Arc::new(move || store.ring())
    }
    fn close(&mut self) {}
}

#[test]
fn what_an_edge_holds_counts_until_it_has_left() {
    for run_on in [RunOn::FirstWorker, RunOn::Thread] {
        let store = Arc::new(Store::default());
        let mut builder = builder(&Memory::default());
        let edge = builder.reactor(run_on, Shelf(store.clone()));
        let node = builder.start(&Hoarder).unwrap();
        let shelf = QueueId::from_raw(qnfsm::frame::edge_queue(NodeId(0), edge));
        let sent = fill(&node, || Hoard::Out(shelf, piece()));
        assert!((10..=12).contains(&sent), "{sent} messages of 64 KiB, {run_on:?}");
        store.leaves.store(true, Ordering::SeqCst);
        store.ring();
        node.host().send_wait(node.root(), &Hoard::LetGo, PATIENCE).unwrap();
        node.stop().unwrap();
    }
}

#[test]
fn requests_that_a_service_has_yet_to_answer_count_until_they_are_answered() {
    let mut builder = builder(&Memory::default());
    let (sender, replies) = mpsc::channel();
    let service = builder.service(0, Unanswered::Interrupted, move |request: Ask, replier| {
        sender.send((request.reply, replier.clone())).unwrap();
    });
    let node = builder.start(&Hoarder).unwrap();
    let sent = fill(&node, || Hoard::Ask(service, piece()));
    assert!((10..=12).contains(&sent), "{sent} requests of 64 KiB");
    for (reply, replier) in replies.iter().take(usize::try_from(sent).unwrap()) {
        replier.reply(&reply, &true);
    }
    node.host().send_wait(node.root(), &Hoard::Nothing, PATIENCE).unwrap();
    node.stop().unwrap();
}

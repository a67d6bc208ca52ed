//! A node whose work can be checked after any crash: it takes numbers in order, and ends up with each of them once. What it
//! has let out is told to the disk's history, so that it is known at each crash what the node must hold afterwards.
//!
//! ```text
//! host ──Put──▶ Desk ─────────────────────────────▶ Ledger ──number──▶ host      plain
//!
//! host ──Put──▶ Desk ──▶ scale ──▶ Desk ──▶ Ledger ──▶ bell ──▶ Ledger ──number──▶ host      amid the world
//!              stamp    (service)         (worker 1)  (reactor)
//! ```

use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use qnfsm::{
    Answer, Codec, Context, Durability, EdgeSetup, External, Fsm, Inputs, Kinds, Limits, Next, Node, NodeBuilder,
    NodeId, NodeRequest, QueueId, Reactor, Reply, ReplyTo, RequestId, RunOn, StartError, Trust, Unanswered, Wake,
    WorkerId,
    frame::{Frame, edge_queue},
    journal::{
        Manifest, Position,
        simulated::{History, SimulatedDisk},
    },
};
use serde::{Deserialize, Serialize};

use crate::ring;

pub(crate) const DIR: &str = "/ledger";
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than anybody tries a kept history after it was recorded: a node that comes back finds its deadlines as they were.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How many numbers are put into the ledger, and how many at a time.
pub(crate) const NUMBERS: u64 = 40;
const UNDER_WAY: usize = 4;

/// What the port adds to numbers that are stamped when a node has come back.
const STAMPED_LATER: u64 = 1 << 32;

/// How a number is stamped: the port tells when.
struct Stamp;

impl External for Stamp {
    const NAME: &'static str = "stamp";
    type Question = u64;
    type Answer = u64;
}

/// A number for the scale, or for the bell. The answer is the number again.
#[derive(Debug, Serialize, Deserialize)]
struct Errand {
    number: u64,
    reply: ReplyTo<u64>,
}

/// Where numbers go besides.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct World {
    scale: QueueId<Errand>,
    bell: QueueId<Errand>,
}

/// Takes numbers and hands them on to the ledger, which is on another worker.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Desk {
    ledger: Option<QueueId<Entry>>,
    handed_on: u64,
    world: Option<World>,
    stamps: Vec<u64>,
    /// Those that are on the scale, and whom they are from.
    weighed: VecDeque<(RequestId, ReplyTo<u64>)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Worker(Reply<WorkerId>),
    Ledger(Reply<QueueId<Entry>>),
    Put(u64, ReplyTo<u64>),
    Weighed(Reply<u64>),
    /// Where the ledger is, and how many numbers went there or are about to.
    Where(ReplyTo<Option<(QueueId<Entry>, u64)>>),
    Stamps(ReplyTo<Vec<u64>>),
}

impl From<Reply<WorkerId>> for Ask {
    fn from(reply: Reply<WorkerId>) -> Ask {
        Ask::Worker(reply)
    }
}

impl From<Reply<QueueId<Entry>>> for Ask {
    fn from(reply: Reply<QueueId<Entry>>) -> Ask {
        Ask::Ledger(reply)
    }
}

impl From<Reply<u64>> for Ask {
    fn from(reply: Reply<u64>) -> Ask {
        Ask::Weighed(reply)
    }
}

impl Fsm for Desk {
    const NAME: &'static str = "desk";
    type State = ();
    type Message = Ask;

    fn start(&mut self, cx: &mut Context<'_, Desk>) {
        cx.request(NodeRequest::queue(NodeId(0)), FOREVER, |reply| NodeRequest::StartWorker { reply });
    }

    fn handle(&mut self, (): (), message: Ask, cx: &mut Context<'_, Desk>) -> Next<Desk> {
        match message {
            Ask::Worker(Reply { outcome, .. }) => {
                let ledger = Ledger { bell: self.world.map(|world| world.bell), ..Ledger::default() };
                cx.spawn_on(outcome.unwrap(), ledger, FOREVER);
            }
            Ask::Ledger(Reply { outcome, .. }) => self.ledger = Some(outcome.unwrap()),
            Ask::Put(number, reply) => {
                self.handed_on += 1;
                match self.world {
                    None => cx.send(self.ledger.unwrap(), Entry::Put(number, reply)),
                    Some(World { scale, .. }) => {
                        self.stamps.push(cx.external::<Stamp>(&number));
                        let request = cx.request(scale, FOREVER, |reply| Errand { number, reply });
                        self.weighed.push_back((request, reply));
                    }
                }
            }
            Ask::Weighed(Reply { request, outcome }) => {
                let (asked, reply) = self.weighed.pop_front().unwrap();
                assert_eq!(asked, request, "the scale answers in order");
                cx.send(self.ledger.unwrap(), Entry::Put(outcome.unwrap(), reply));
            }
            Ask::Where(reply) => cx.reply(reply, self.ledger.map(|ledger| (ledger, self.handed_on))),
            Ask::Stamps(reply) => cx.reply(reply, self.stamps.clone()),
        }
        Next::Stay
    }
}

/// Holds what it was given, and says so to who gave it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ledger {
    numbers: Vec<u64>,
    bell: Option<QueueId<Errand>>,
    /// For those the bell is yet to ring.
    rung: VecDeque<(RequestId, ReplyTo<u64>)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Entry {
    Put(u64, ReplyTo<u64>),
    Rung(Reply<u64>),
    All(ReplyTo<Vec<u64>>),
}

impl From<Reply<u64>> for Entry {
    fn from(reply: Reply<u64>) -> Entry {
        Entry::Rung(reply)
    }
}

impl Ledger {
    fn enter(&mut self, number: u64, reply: ReplyTo<u64>, cx: &mut Context<'_, Ledger>) {
        self.numbers.push(number);
        cx.reply(reply, number);
    }
}

impl Fsm for Ledger {
    const NAME: &'static str = "ledger";
    type State = ();
    type Message = Entry;

    fn start(&mut self, _: &mut Context<'_, Ledger>) {}

    fn handle(&mut self, (): (), message: Entry, cx: &mut Context<'_, Ledger>) -> Next<Ledger> {
        match message {
            Entry::Put(number, reply) => match self.bell {
                None => self.enter(number, reply, cx),
                Some(bell) => {
                    let request = cx.request(bell, FOREVER, |reply| Errand { number, reply });
                    self.rung.push_back((request, reply));
                }
            },
            Entry::Rung(Reply { request, outcome }) => {
                let (asked, reply) = self.rung.pop_front().unwrap();
                assert_eq!(asked, request, "the bell rings in order");
                self.enter(outcome.unwrap(), reply, cx);
            }
            Entry::All(reply) => cx.reply(reply, self.numbers.clone()),
        }
        Next::Stay
    }
}

pub(crate) fn kinds() -> Kinds {
    Kinds::new()
        .with::<Desk>()
        .with::<Ledger>()
        .replies::<Ask, WorkerId>()
        .replies::<Ask, QueueId<Entry>>()
        .replies::<Ask, u64>()
        .replies::<Entry, u64>()
        .message::<Errand>()
        .message::<u64>()
        .message::<Vec<u64>>()
        .message::<Option<(QueueId<Entry>, u64)>>()
}

/// Rings for each errand, and tells the disk's history of it.
struct Bell {
    disk: SimulatedDisk,
    setup: Option<EdgeSetup>,
    woken: Arc<(Mutex<bool>, Condvar)>,
}

impl Reactor for Bell {
    fn unanswered(&self) -> Unanswered {
        Unanswered::SentAgain
    }

    fn open(&mut self, setup: &EdgeSetup) -> io::Result<()> {
        self.setup = Some(setup.clone());
        Ok(())
    }

    fn take(&mut self, frame: &Frame<'_>, inputs: &mut Inputs) {
        let Errand { number, reply } = Codec::CURRENT.decode(frame.payload, Trust::Node).unwrap();
        self.disk.note(number);
        inputs.reply(&reply, self.setup.as_ref().unwrap().queue(0, 1), &number).unwrap();
    }

    fn poll(&mut self, timeout: Option<Duration>, _: &mut Inputs) -> io::Result<()> {
        let (woken, rings) = &*self.woken;
        let asleep = woken.lock().unwrap();
        let mut woken = match timeout {
            Some(timeout) => rings.wait_timeout_while(asleep, timeout, |woken| !*woken).unwrap().0,
            None => rings.wait_while(asleep, |woken| !*woken).unwrap(),
        };
        *woken = false;
        Ok(())
    }

    fn waker(&self) -> Wake {
        let both = self.woken.clone();
        Arc::new(move || {
            *both.0.lock().unwrap() = true;
            both.1.notify_all();
        })
    }

    fn close(&mut self) {}
}

/// How a node keeps what it is told, and whether numbers go through the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Buffered,
    Durable,
    /// Durable, and it gives up the journal's beginning.
    Bounded,
    /// As those, with a service, a reactor and an external port.
    WorldBuffered,
    WorldDurable,
    WorldBounded,
}

impl Shape {
    pub(crate) const ALL: [Shape; 6] = [
        Shape::Buffered,
        Shape::Durable,
        Shape::Bounded,
        Shape::WorldBuffered,
        Shape::WorldDurable,
        Shape::WorldBounded,
    ];

    pub(crate) fn durability(self) -> Durability {
        if matches!(self, Shape::Buffered | Shape::WorldBuffered) { Durability::Buffered } else { Durability::Durable }
    }

    fn is_bounded(self) -> bool {
        matches!(self, Shape::Bounded | Shape::WorldBounded)
    }

    /// Where the bell is, if numbers go through the world.
    fn bell(self) -> Option<RunOn> {
        match self {
            Shape::Buffered | Shape::Durable | Shape::Bounded => None,
            Shape::WorldBuffered | Shape::WorldBounded => Some(RunOn::Thread),
            Shape::WorldDurable => Some(RunOn::FirstWorker),
        }
    }
}

pub(crate) fn start(disk: &SimulatedDisk, shape: Shape) -> Node<Ask> {
    try_start(disk, shape).unwrap_or_else(|error| panic!("the node doesn't start: {error}"))
}

pub(crate) fn try_start(disk: &SimulatedDisk, shape: Shape) -> Result<Node<Ask>, Box<StartError>> {
    try_recover_to(disk, shape, None)
}

/// As [`try_start`], told to go on from a position.
pub(crate) fn try_recover_to(
    disk: &SimulatedDisk,
    shape: Shape,
    position: Option<Position>,
) -> Result<Node<Ask>, Box<StartError>> {
    let limits = Limits {
        segment_bytes: 9000,
        snapshot_every_bytes: 2000,
        sync_every: Duration::from_millis(1),
        retain_bytes: shape.is_bounded().then_some(110_000),
        ..Limits::default()
    };
    let builder = NodeBuilder::new("ledger", kinds()).dir(DIR).storage(disk.storage()).seed(1).limits(limits);
    // A kept history is tried by the build that has the fault, and by the one that is mended.
    let mut builder = builder.durability(shape.durability()).recover_to(position).build(1, 1);
    let mut desk = Desk::default();
    if let Some(run_on) = shape.bell() {
        let comes_back = Manifest::load(&*disk.storage(), Path::new(DIR)).is_ok();
        let later = if comes_back { STAMPED_LATER } else { 0 };
        builder = builder.external::<Stamp>(move |number| number + later);
        let told = disk.clone();
        let scale = builder.service(1, Unanswered::SentAgain, move |Errand { number, reply }, replier| {
            told.note(number);
            replier.reply(&reply, &number);
        });
        let bell = Bell { disk: disk.clone(), setup: None, woken: Arc::default() };
        let bell = QueueId::from_raw(edge_queue(NodeId(0), builder.reactor(run_on, bell)));
        desk.world = Some(World { scale, bell });
    }
    Ok(builder.start(&desk)?)
}

/// The ledger's queue, once it is there, and how many numbers were handed on to it.
fn ledger(node: &Node<Ask>) -> (QueueId<Entry>, u64) {
    let begun = Instant::now();
    loop {
        if let Some(found) = node.host().request(node.root(), PATIENCE, Ask::Where).unwrap() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "the ledger never comes to be");
    }
}

/// Runs a node that acknowledges all numbers, and stops; each acknowledgement stands in the disk's history.
pub(crate) fn run(shape: Shape) -> History {
    let disk = SimulatedDisk::default().keeping_history(20);
    let node = start(&disk, shape);
    ledger(&node);
    let mut under_way = VecDeque::<Answer<u64>>::new();
    let mut hear = |answer: Answer<u64>| disk.note(answer.wait().unwrap());
    for number in 1..=NUMBERS {
        let put = |reply| Ask::Put(number, reply);
        under_way.push_back(node.host().ask(node.root(), PATIENCE, put).unwrap());
        if under_way.len() == UNDER_WAY {
            under_way.pop_front().into_iter().for_each(&mut hear);
        }
        if shape.is_bounded() && number == NUMBERS / 2 {
            // Some more has been recorded since by both workers, and is to be given up at some point.
            let oldest = || Manifest::load(&*disk.storage(), Path::new(DIR)).unwrap().oldest_segment;
            let (before, begun) = (oldest(), Instant::now());
            while oldest() == before {
                ledger(&node);
                assert!(begun.elapsed() < 6 * PATIENCE, "nothing before segment {before} is given up");
            }
        }
    }
    under_way.into_iter().for_each(hear);
    node.stop().unwrap();
    disk.history()
}

/// The numbers that the ledger holds, once all are there that were handed on to it.
pub(crate) fn numbers_held(node: &Node<Ask>) -> Vec<u64> {
    let (ledger, handed_on) = ledger(node);
    let begun = Instant::now();
    loop {
        // What was handed on is under way until it is there.
        let numbers = node.host().request(ledger, PATIENCE, Entry::All).unwrap();
        if numbers.len() as u64 >= handed_on {
            return numbers;
        }
        assert!(begun.elapsed() < PATIENCE, "{handed_on} were handed on, and these came: {numbers:?}");
    }
}

/// Puts a number into the ledger, once that is there; nothing if the node stops.
pub(crate) fn put(node: &Node<Ask>, number: u64) -> Option<u64> {
    let host = node.host();
    while host.request(node.root(), PATIENCE, Ask::Where).ok()?.is_none() {}
    host.request(node.root(), PATIENCE, |reply| Ask::Put(number, reply)).ok()
}

/// What a node must hold that comes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promise {
    /// The numbers up to this one were let out.
    pub(crate) numbers: u64,
    /// Those up to this one by the node's first life, and so as they were stamped then.
    pub(crate) by_the_first: u64,
}

/// Brings a node back from what a crash of its first life has left. It must hold all numbers up to `let_out` at least, none
/// twice, none left out; and all that it ever did is proved. Gives how many it holds.
pub(crate) fn bring_back(disk: &SimulatedDisk, shape: Shape, let_out: u64) -> u64 {
    come_back(disk, shape, Promise { numbers: let_out, by_the_first: let_out })
}

/// As [`bring_back`], of a later life too.
pub(crate) fn come_back(disk: &SimulatedDisk, shape: Shape, promise: Promise) -> u64 {
    let node = start(disk, shape);
    let numbers = numbers_held(&node);
    let held = numbers.len() as u64;
    assert_eq!(numbers, (1..=held).collect::<Vec<_>>(), "what the ledger holds");
    assert!(promise.numbers <= held && held <= NUMBERS, "{held} are there, and {promise:?}");
    if shape.bell().is_some() {
        let stamps = node.host().request(node.root(), PATIENCE, Ask::Stamps).unwrap();
        let first = usize::try_from(promise.by_the_first).unwrap();
        let as_it_was = (1..=promise.by_the_first).collect::<Vec<_>>();
        assert!(stamps.len() as u64 == held && stamps[..first] == as_it_was, "{promise:?}, stamped {stamps:?}");
        let is_either = |(at, stamp): (usize, &u64)| stamp % STAMPED_LATER == at as u64 + 1;
        assert!(stamps.iter().enumerate().all(is_either), "stamped {stamps:?}");
    }
    node.stop().unwrap();
    ring::replay(&disk.storage(), Path::new(DIR), kinds());
    held
}

/// A number that the environment gives.
pub(crate) fn asked_for(name: &str) -> Option<u64> {
    variable(name).and_then(|value| value.parse().ok())
}

pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

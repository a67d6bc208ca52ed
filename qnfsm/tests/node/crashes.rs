//! Crashes of the machine and of the process at each operation on the disk: what a node had let out is there when it comes
//! back, and what comes back is a prefix of what was done.
//!
//! A node is run once, on a disk that keeps its history; crashes are made of that, so none is missed. `QNFSM_CRASH_SEEDS=200
//! cargo test -p qnfsm --test node crashes --release` tries so many at each operation, and prints at which. A failure keeps the
//! history in a file, and prints the command that tries that one crash again. Also: each operation and each read fails in turn.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use qnfsm::{
    Answer, Codec, Context, Durability, Fsm, Kinds, Limits, Next, Node, NodeBuilder, NodeId, NodeRequest, QueueId,
    Reply, ReplyTo, StartError, Trust, WorkerId,
    journal::{
        Manifest, Position,
        simulated::{History, Operation, SimulatedDisk},
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

/// Takes numbers and hands them on to the ledger, which is on another worker.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Desk {
    ledger: Option<QueueId<Entry>>,
    handed_on: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Worker(Reply<WorkerId>),
    Ledger(Reply<QueueId<Entry>>),
    Put(u64, ReplyTo<u64>),
    /// Where the ledger is, and how many numbers went there.
    Where(ReplyTo<Option<(QueueId<Entry>, u64)>>),
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
                cx.spawn_on(outcome.unwrap(), Ledger::default(), FOREVER);
            }
            Ask::Ledger(Reply { outcome, .. }) => self.ledger = Some(outcome.unwrap()),
            Ask::Put(number, reply) => {
                cx.send(self.ledger.unwrap(), Entry::Put(number, reply));
                self.handed_on += 1;
            }
            Ask::Where(reply) => cx.reply(reply, self.ledger.map(|ledger| (ledger, self.handed_on))),
        }
        Next::Stay
    }
}

/// Holds what it was given, and says so to who gave it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ledger {
    numbers: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Entry {
    Put(u64, ReplyTo<u64>),
    All(ReplyTo<Vec<u64>>),
}

impl Fsm for Ledger {
    const NAME: &'static str = "ledger";
    type State = ();
    type Message = Entry;

    fn start(&mut self, _: &mut Context<'_, Ledger>) {}

    fn handle(&mut self, (): (), message: Entry, cx: &mut Context<'_, Ledger>) -> Next<Ledger> {
        match message {
            Entry::Put(number, reply) => {
                self.numbers.push(number);
                cx.reply(reply, number);
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
        .message::<u64>()
        .message::<Vec<u64>>()
        .message::<Option<(QueueId<Entry>, u64)>>()
}

/// How a node keeps what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    Buffered,
    Durable,
    /// Durable, and it gives up the journal's beginning.
    Bounded,
}

impl Keeps {
    const ALL: [Keeps; 3] = [Keeps::Buffered, Keeps::Durable, Keeps::Bounded];

    fn durability(self) -> Durability {
        if self == Keeps::Buffered { Durability::Buffered } else { Durability::Durable }
    }
}

fn start(disk: &SimulatedDisk, keeps: Keeps) -> Node<Ask> {
    try_start(disk, keeps).unwrap_or_else(|error| panic!("the node doesn't start: {error}"))
}

pub(crate) fn try_start(disk: &SimulatedDisk, keeps: Keeps) -> Result<Node<Ask>, Box<StartError>> {
    try_recover_to(disk, keeps, None)
}

/// As [`try_start`], told to go on from a position.
pub(crate) fn try_recover_to(
    disk: &SimulatedDisk,
    keeps: Keeps,
    position: Option<Position>,
) -> Result<Node<Ask>, Box<StartError>> {
    let limits = Limits {
        segment_bytes: 7000,
        snapshot_every_bytes: 2000,
        sync_every: Duration::from_millis(1),
        retain_bytes: (keeps == Keeps::Bounded).then_some(80_000),
        ..Limits::default()
    };
    let builder = NodeBuilder::new("ledger", kinds()).dir(DIR).storage(disk.storage()).seed(1).limits(limits);
    Ok(builder.durability(keeps.durability()).recover_to(position).start(&Desk::default())?)
}

/// The ledger's queue, once it is there, and how many numbers were handed on to it.
fn ledger(node: &Node<Ask>) -> (QueueId<Entry>, u64) {
    loop {
        if let Some(found) = node.host().request(node.root(), PATIENCE, Ask::Where).unwrap() {
            return found;
        }
    }
}

/// Runs a node that acknowledges all numbers, and stops; each acknowledgement stands in the disk's history.
pub(crate) fn run(keeps: Keeps) -> History {
    let disk = SimulatedDisk::default().keeping_history(20);
    let node = start(&disk, keeps);
    ledger(&node);
    let mut under_way = VecDeque::<Answer<u64>>::new();
    let mut hear = |answer: Answer<u64>| disk.note(answer.wait().unwrap());
    for number in 1..=NUMBERS {
        let put = |reply| Ask::Put(number, reply);
        under_way.push_back(node.host().ask(node.root(), PATIENCE, put).unwrap());
        if under_way.len() == UNDER_WAY {
            under_way.pop_front().into_iter().for_each(&mut hear);
        }
        if keeps == Keeps::Bounded && number == NUMBERS / 2 {
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

/// Brings a node back from what a crash has left. It must hold all numbers up to `acknowledged` at least, none twice, none
/// left out; and all that it ever did is proved. Gives how many it holds.
pub(crate) fn bring_back(disk: &SimulatedDisk, keeps: Keeps, acknowledged: u64) -> u64 {
    let node = start(disk, keeps);
    let numbers = numbers_held(&node);
    let held = numbers.len() as u64;
    assert_eq!(numbers, (1..=held).collect::<Vec<_>>(), "what the ledger holds");
    assert!(acknowledged <= held && held <= NUMBERS, "{held} are there, and {acknowledged} were acknowledged");
    node.stop().unwrap();
    ring::replay(&disk.storage(), Path::new(DIR), kinds());
    held
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Power fails: what wasn't synced may be gone, in parts.
    Machine,
    /// The process is killed: what the system was given stays.
    Process,
}

/// One crash of a run.
#[derive(Debug, Clone, Copy)]
struct Case {
    keeps: Keeps,
    how: How,
    before: usize,
    seed: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { keeps, how, before, seed } = self;
        write!(f, "{keeps:?}/{how:?}/{before}/{seed}")
    }
}

impl Case {
    fn parse(text: &str) -> Option<Case> {
        let parts: Vec<_> = text.split('/').collect();
        let how = [How::Machine, How::Process];
        let named = |name: &dyn fmt::Debug, text: &str| format!("{name:?}") == text;
        Some(Case {
            keeps: Keeps::ALL.into_iter().find(|value| named(value, parts[0]))?,
            how: how.into_iter().find(|value| named(value, parts[1]))?,
            before: parts.get(2)?.parse().ok()?,
            seed: parts.get(3)?.parse().ok()?,
        })
    }

    fn left(&self, history: &History, before: usize) -> SimulatedDisk {
        match self.how {
            How::Machine => history.crash(before, self.seed),
            How::Process => history.kill(before),
        }
    }

    /// What the node must hold that comes back.
    fn promised(&self, history: &History) -> u64 {
        match (self.keeps.durability(), self.how) {
            (Durability::Durable, _) | (_, How::Process) => history.noted(self.before).unwrap_or(0),
            _ => 0,
        }
    }

    /// Crashes, comes back, and now and then crashes once more while it comes back.
    fn run(&self, history: &History) {
        let disk = self.left(history, self.before);
        let promised = self.promised(history);
        if !self.seed.is_multiple_of(4) {
            bring_back(&disk, self.keeps, promised);
            return;
        }
        let disk = disk.keeping_history(1);
        let held = bring_back(&disk, self.keeps, promised);
        let again = disk.history();
        let before = usize::try_from(self.seed / 4 * 7919).unwrap() % (again.operations.len() + 1);
        // What it told after it had come back was that it holds so many.
        let told = again.operations.len() == before;
        bring_back(&self.left(&again, before), self.keeps, if told { held } else { promised });
    }

    fn check(&self, history: &History) {
        let Err(failure) = catch_unwind(AssertUnwindSafe(|| self.run(history))) else { return };
        let path = kept(history);
        let test = format!("{:?}", self.keeps).to_lowercase();
        eprintln!(
            "to try it again: QNFSM_CRASH={self} QNFSM_CRASH_HISTORY={} cargo test -p qnfsm --test node crashes::{test}",
            path.display()
        );
        std::panic::resume_unwind(failure);
    }
}

/// Puts a history into a file, for another try.
fn kept(history: &History) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-{}.history", std::process::id()));
    let mut bytes = Vec::new();
    Codec::CURRENT.encode(history, &mut bytes).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A number that the environment gives.
pub(crate) fn asked_for(name: &str) -> Option<u64> {
    variable(name).and_then(|value| value.parse().ok())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Crashes at each operation of a run.
fn every_crash(keeps: Keeps) {
    if let (Some(case), Some(path)) = (variable("QNFSM_CRASH"), variable("QNFSM_CRASH_HISTORY")) {
        let bytes = std::fs::read(path).unwrap();
        let history: History = Codec::CURRENT.decode(&bytes, Trust::Node).unwrap();
        return Case::parse(&case).expect("a case as it was printed").check(&history);
    }
    let asked = asked_for("QNFSM_CRASH_SEEDS");
    let history = run(keeps);
    let operations = history.operations.len();
    let count = |of: fn(&Operation) -> bool| history.operations.iter().filter(|operation| of(operation)).count();
    let names = count(|operation| matches!(operation, Operation::Create(..) | Operation::Rename(..)));
    let syncs = count(|operation| matches!(operation, Operation::Sync(..) | Operation::SyncDir(..)));
    assert_eq!(history.noted(operations), Some(NUMBERS));
    assert!(names > 10 && syncs > 20, "{names} names and {syncs} syncs: too short to tell anything");
    let mut tried = 0_u64;
    for before in 0..=operations {
        for seed in 0..asked.unwrap_or(1) {
            // Another choice at each operation, and the same in each run.
            let seed = before as u64 + seed * 1_000_003;
            for how in [How::Machine, How::Process] {
                if how == How::Machine || seed < 1_000_003 {
                    Case { keeps, how, before, seed }.check(&history);
                    tried += 1;
                }
            }
        }
    }
    eprintln!("{keeps:?}: {tried} crashes, before each of the operations 0 to {operations}, {syncs} syncs among them");
}

#[test]
fn durable_nodes_lose_nothing_that_they_let_out_whatever_the_disk_keeps() {
    every_crash(Keeps::Durable);
}

#[test]
fn buffered_nodes_come_back_as_a_prefix_and_lose_nothing_where_only_the_process_ends() {
    every_crash(Keeps::Buffered);
}

#[test]
fn bounded_nodes_lose_nothing_though_they_give_up_the_beginning_of_their_journal() {
    every_crash(Keeps::Bounded);
}

/// A disk on which a node had put some numbers when it was killed, and how many.
fn killed(keeps: Keeps) -> (SimulatedDisk, u64) {
    const PUT: u64 = 6;
    let disk = SimulatedDisk::default();
    let node = start(&disk, keeps);
    let acknowledged = (1..=PUT).map_while(|number| put(&node, number)).max();
    let left = disk.copy();
    node.stop().unwrap();
    (left, acknowledged.unwrap())
}

/// Puts a number into the ledger, once that is there; nothing if the node stops.
pub(crate) fn put(node: &Node<Ask>, number: u64) -> Option<u64> {
    let host = node.host();
    while host.request(node.root(), PATIENCE, Ask::Where).ok()?.is_none() {}
    host.request(node.root(), PATIENCE, |reply| Ask::Put(number, reply)).ok()
}

/// Puts more numbers into a ledger whose disk fails somewhere; says up to which they were acknowledged, and how it ended.
fn put_more(disk: &SimulatedDisk, keeps: Keeps, before: u64) -> (u64, Result<(), String>) {
    const MORE: u64 = 6;
    let node = match try_start(disk, keeps) {
        Ok(node) => node,
        Err(error) => return (before, Err(error.to_string())),
    };
    let acknowledged = (before + 1..=before + MORE).map_while(|number| put(&node, number)).max();
    (acknowledged.unwrap_or(before), node.stop().map(drop).map_err(|error| error.to_string()))
}

/// Lets each operation and each read of a disk fail in turn, while a node starts anew or comes back, runs, and stops. Where it
/// is told of it, it names the file; and nothing that was acknowledged is lost.
fn every_failure(keeps: Keeps, kind: ErrorKind) {
    let mut failed = BTreeMap::<_, u64>::new();
    for comes_back in [false, true] {
        for nth in 1.. {
            let (disk, before) = if comes_back { killed(keeps) } else { (SimulatedDisk::default(), 0) };
            disk.fail(nth, kind);
            let (acknowledged, ended) = put_more(&disk, keeps, before);
            let Some(what) = disk.failed() else { break };
            *failed.entry(what).or_default() += 1;
            let case = format!("{keeps:?}, {kind:?} at operation {nth}, a {what}; comes back: {comes_back}");
            match ended {
                Err(error) => assert!(error.contains(DIR), "{case}: {error}"),
                // What is tidied up may stay, a snapshot that can't be read is passed over, a directory is looked at twice, and looked
                // at by whoever only wants to know what it holds; and the last sync mark goes when all is on disk, where that
                // would begin a segment.
                Ok(()) => {
                    assert!(
                        ["remove", "truncate", "read", "list", "file bytes", "write", "create"].contains(&what),
                        "{case}: nobody says so"
                    );
                    assert!(
                        Manifest::load(&*disk.storage(), Path::new(DIR)).unwrap().clean,
                        "{case}: it wasn't the last"
                    );
                }
            }
            let came_back = catch_unwind(AssertUnwindSafe(|| bring_back(&disk.copy(), keeps, acknowledged)));
            came_back.unwrap_or_else(|failure| {
                eprintln!("{case}; {acknowledged} were acknowledged");
                std::panic::resume_unwind(failure)
            });
        }
    }
    eprintln!("{keeps:?}, {kind:?}: {failed:?}");
    // What comes but once may come one place earlier in the next run, and be passed by.
    for what in ["make dir", "create", "write", "rename", "sync", "sync dir", "read", "list"] {
        assert!(failed.contains_key(what), "no {what} failed");
    }
}

#[test]
fn a_disk_that_fails_anywhere_stops_a_durable_node_and_costs_nothing_that_it_let_out() {
    every_failure(Keeps::Durable, ErrorKind::Other);
}

#[test]
fn a_disk_that_fails_anywhere_stops_a_buffered_node_and_costs_nothing_that_it_let_out() {
    every_failure(Keeps::Buffered, ErrorKind::StorageFull);
}

//! Crashes of the machine and of the process at each operation on the disk: what a node had let out is there when it comes
//! back, and what comes back is a prefix of what was done.
//!
//! A node is run once, on a disk that keeps its history; crashes are made of that, so none is missed. `QNFSM_CRASH_SEEDS=200
//! cargo test -p qnfsm --test node crashes --release` tries so many at each operation, and prints at which. A failure keeps
//! the history in a file, and prints the command that tries that one crash again. Also: each operation and each read fails
//! in turn.

use std::{
    collections::BTreeMap,
    fmt,
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use qnfsm::{
    Codec, Durability, Trust,
    journal::{
        Manifest,
        simulated::{History, Operation, SimulatedDisk},
    },
};

use crate::ledger::{
    DIR, NUMBERS, Promise, Shape, asked_for, bring_back, come_back, put, run, start, try_start, variable,
};

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
    shape: Shape,
    how: How,
    before: usize,
    seed: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { shape, how, before, seed } = self;
        write!(f, "{shape:?}/{how:?}/{before}/{seed}")
    }
}

impl Case {
    fn parse(text: &str) -> Option<Case> {
        let parts: Vec<_> = text.split('/').collect();
        let how = [How::Machine, How::Process];
        let named = |name: &dyn fmt::Debug, text: &str| format!("{name:?}") == text;
        Some(Case {
            shape: Shape::ALL.into_iter().find(|value| named(value, parts[0]))?,
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

    /// Up to which number a node had let out what it must hold when it comes back.
    fn promised(&self, history: &History, before: usize) -> u64 {
        match (self.shape.durability(), self.how) {
            (Durability::Durable, _) | (_, How::Process) => history.noted(before).unwrap_or(0),
            _ => 0,
        }
    }

    /// Crashes, comes back, and now and then crashes once more while it comes back.
    fn run(&self, history: &History) {
        let disk = self.left(history, self.before);
        let promised = self.promised(history, self.before);
        if !self.seed.is_multiple_of(4) {
            bring_back(&disk, self.shape, promised);
            return;
        }
        let disk = disk.keeping_history(1);
        let held = bring_back(&disk, self.shape, promised);
        let again = disk.history();
        let before = usize::try_from(self.seed / 4 * 7919).unwrap() % (again.operations.len() + 1);
        // What it told after it had come back was that it holds so many.
        let told = if again.operations.len() == before { held } else { self.promised(&again, before) };
        let promise = Promise { numbers: told.max(promised), by_the_first: promised };
        come_back(&self.left(&again, before), self.shape, promise);
    }

    fn check(&self, history: &History) {
        let Err(failure) = catch_unwind(AssertUnwindSafe(|| self.run(history))) else { return };
        let path = kept(history);
        eprintln!(
            "to try it again: QNFSM_CRASH={self} QNFSM_CRASH_HISTORY={} cargo test -p qnfsm --test node crashes::durable_nodes",
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

/// Crashes at each operation of a run.
fn every_crash(shape: Shape) {
    if let (Some(case), Some(path)) = (variable("QNFSM_CRASH"), variable("QNFSM_CRASH_HISTORY")) {
        let bytes = std::fs::read(path).unwrap();
        let history: History = Codec::CURRENT.decode(&bytes, Trust::Node).unwrap();
        return Case::parse(&case).expect("a case as it was printed").check(&history);
    }
    let asked = asked_for("QNFSM_CRASH_SEEDS");
    let history = run(shape);
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
                    Case { shape, how, before, seed }.check(&history);
                    tried += 1;
                }
            }
        }
    }
    eprintln!("{shape:?}: {tried} crashes, before each of the operations 0 to {operations}, {syncs} syncs among them");
}

#[test]
fn durable_nodes_lose_nothing_that_they_let_out_whatever_the_disk_keeps() {
    every_crash(Shape::Durable);
}

#[test]
fn buffered_nodes_come_back_as_a_prefix_and_lose_nothing_where_only_the_process_ends() {
    every_crash(Shape::Buffered);
}

#[test]
fn bounded_nodes_lose_nothing_though_they_give_up_the_beginning_of_their_journal() {
    every_crash(Shape::Bounded);
}

#[test]
fn what_services_and_reactors_were_told_holds_and_what_ports_said_when_a_durable_node_comes_back() {
    every_crash(Shape::WorldDurable);
}

#[test]
fn what_services_and_reactors_were_told_holds_where_only_the_process_of_a_buffered_node_ends() {
    every_crash(Shape::WorldBuffered);
}

#[test]
fn what_services_and_reactors_were_told_holds_though_the_beginning_of_the_journal_is_given_up() {
    every_crash(Shape::WorldBounded);
}

/// A disk on which a node had put some numbers when it was killed, and how many.
fn killed(shape: Shape) -> (SimulatedDisk, u64) {
    const PUT: u64 = 6;
    let disk = SimulatedDisk::default();
    let node = start(&disk, shape);
    let acknowledged = (1..=PUT).map_while(|number| put(&node, number)).max();
    let left = disk.copy();
    node.stop().unwrap();
    (left, acknowledged.unwrap())
}

/// Puts more numbers into a ledger whose disk fails somewhere; says up to which they were acknowledged, and how it ended.
fn put_more(disk: &SimulatedDisk, shape: Shape, before: u64) -> (u64, Result<(), String>) {
    const MORE: u64 = 6;
    let node = match try_start(disk, shape) {
        Ok(node) => node,
        Err(error) => return (before, Err(error.to_string())),
    };
    let acknowledged = (before + 1..=before + MORE).map_while(|number| put(&node, number)).max();
    (acknowledged.unwrap_or(before), node.stop().map(drop).map_err(|error| error.to_string()))
}

/// Lets each operation and each read of a disk fail in turn, while a node starts anew or comes back, runs, and stops. Where it
/// is told of it, it names the file; and nothing that was acknowledged is lost.
fn every_failure(shape: Shape, kind: ErrorKind) {
    let mut failed = BTreeMap::<_, u64>::new();
    for comes_back in [false, true] {
        for nth in 1.. {
            let (disk, before) = if comes_back { killed(shape) } else { (SimulatedDisk::default(), 0) };
            disk.fail(nth, kind);
            let (acknowledged, ended) = put_more(&disk, shape, before);
            let Some(what) = disk.failed() else { break };
            *failed.entry(what).or_default() += 1;
            let case = format!("{shape:?}, {kind:?} at operation {nth}, a {what}; comes back: {comes_back}");
            match ended {
                Err(error) => assert!(error.contains(DIR), "{case}: {error}"),
                // What is tidied up may stay, a snapshot that can't be read is passed over, a directory is looked at twice, and
                // looked at by whoever only wants to know what it holds; and the last sync mark goes when all is on disk.
                Ok(()) => {
                    let passed_over = ["remove", "truncate", "read", "list", "file bytes", "write"];
                    assert!(passed_over.contains(&what), "{case}: nobody says so");
                    assert!(
                        Manifest::load(&*disk.storage(), Path::new(DIR)).unwrap().clean,
                        "{case}: it wasn't the last"
                    );
                }
            }
            let promise = Promise { numbers: acknowledged, by_the_first: before };
            let came_back = catch_unwind(AssertUnwindSafe(|| come_back(&disk.copy(), shape, promise)));
            came_back.unwrap_or_else(|failure| {
                eprintln!("{case}; {acknowledged} were acknowledged");
                std::panic::resume_unwind(failure)
            });
        }
    }
    eprintln!("{shape:?}, {kind:?}: {failed:?}");
    // What comes but once may come one place earlier in the next run, and be passed by.
    for what in ["make dir", "create", "write", "rename", "sync", "sync dir", "read", "list"] {
        assert!(failed.contains_key(what), "no {what} failed");
    }
}

#[test]
fn a_disk_that_fails_anywhere_stops_a_durable_node_and_costs_nothing_that_it_let_out() {
    every_failure(Shape::Durable, ErrorKind::Other);
}

#[test]
fn a_disk_that_fails_anywhere_stops_a_buffered_node_and_costs_nothing_that_it_let_out() {
    every_failure(Shape::Buffered, ErrorKind::StorageFull);
}

#[test]
fn a_disk_that_fails_anywhere_stops_a_durable_node_with_services_and_costs_nothing_that_it_let_out() {
    every_failure(Shape::WorldDurable, ErrorKind::Other);
}

#[test]
fn a_disk_that_fails_anywhere_stops_a_bounded_node_and_costs_nothing_that_it_let_out() {
    every_failure(Shape::WorldBounded, ErrorKind::Other);
}

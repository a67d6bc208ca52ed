//! What becomes of a node that is to give up the end of its journal when that is cut off, fails, or is said again and again; and
//! what it no longer has then: snapshots, and what retention deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use qnfsm::{
    Durability, Epoch, Limits, Node, NodeBuilder, StartError, WorkerId,
    journal::{
        Manifest, OpenError, Position, ReadError, Reader, Record, RecoverToError, segment_path,
        simulated::{History, SimulatedDisk},
    },
};

use crate::{
    ledger::{Ask, DIR, NUMBERS, Shape, asked_for, kinds, put, try_recover_to, try_start},
    probe::{self, Tell},
    recover_to::{behind, boundaries, files, held, held_by_the_prefix, is_kept, refused, segment, stopped},
    ring,
};

/// A node whose journal is to end at a position, and what must come of it.
struct Case {
    shape: Shape,
    disk: SimulatedDisk,
    at: Position,
    /// What lies behind it.
    gone: BTreeMap<String, Vec<u8>>,
    /// How many numbers there are before it.
    held: u64,
    /// How many there are in all, unless that can't be read any more.
    held_before: Option<u64>,
}

impl Case {
    /// Of two epochs all is given up from the middle on. How far the journal had come is known to the manifest too, or not.
    fn new(shape: Shape, is_damaged: bool, is_known: bool) -> Case {
        let whole = stopped(shape);
        let node = try_start(&whole, shape).unwrap();
        assert_eq!(put(&node, NUMBERS + 1), Some(NUMBERS + 1));
        node.stop().unwrap();
        if !is_known {
            // As if it had always been killed: the journal alone says how far it had come.
            let manifest = Manifest::load(&whole, Path::new(DIR)).unwrap();
            Manifest { reached: Position::default(), ..manifest }.store(&whole, Path::new(DIR)).unwrap();
        }
        let ends = boundaries(&whole);
        let at = ends[ends.len() / 3];
        let disk = whole.copy();
        if is_damaged {
            let mut bytes = segment(&disk, at.segment);
            bytes[usize::try_from(at.offset).unwrap() + 22] ^= 1;
            disk.put(&segment_path(Path::new(DIR), at.segment), bytes);
        }
        let held_before = (!is_damaged).then_some(NUMBERS + 1);
        Case { shape, gone: behind(&disk, at), held: held_by_the_prefix(&whole, at, shape), held_before, disk, at }
    }

    /// Checks what a node holds, and that it is proved.
    fn check(&self, disk: &SimulatedDisk, node: Node<Ask>, held_at_all: u64) {
        assert!(is_kept(disk, &self.gone), "it goes on without what it gave up, which isn't kept");
        assert_eq!(held(&node), held_at_all);
        node.stop().unwrap();
        ring::replay(&disk.storage(), Path::new(DIR), kinds());
    }

    /// A node that is told nothing has all that it had, if that can be read; or doesn't start, and says what to tell it; or all is
    /// done, and kept.
    fn told_nothing(&self, left: &SimulatedDisk) {
        let before = files(left);
        match try_start(left, self.shape) {
            Ok(node) if self.held_before.is_some_and(|all| all == held(&node)) => node.stop().map(drop).unwrap(),
            Ok(node) => self.check(left, node, self.held),
            Err(error) => {
                assert!(matches!(*error, StartError::Read(ReadError::Corrupt(_))), "{error}");
                assert!(error.to_string().contains("start the node with `recover_to "), "{error}");
                assert!(files(left) == before, "{error}");
            }
        }
    }

    /// A node that is told the same again does it, or all was done.
    fn told_again(&self, left: &SimulatedDisk) {
        match try_recover_to(left, self.shape, Some(self.at)) {
            Ok(node) => self.check(left, node, self.held),
            Err(error) => {
                assert!(matches!(*error, StartError::RecoverTo(RecoverToError::WentOn { .. })), "{error}");
                self.check(left, try_start(left, self.shape).unwrap(), self.held);
            }
        }
    }

    fn judge(&self, left: &SimulatedDisk, what: &str) {
        let judged = catch_unwind(AssertUnwindSafe(|| {
            self.told_nothing(&left.copy());
            self.told_again(&left.copy());
        }));
        judged.unwrap_or_else(|failure| {
            eprintln!("{:?}, recovering to {}: {what}", self.shape, self.at);
            std::panic::resume_unwind(failure)
        });
    }

    fn history(&self) -> History {
        let disk = self.disk.copy().keeping_history(1);
        let node = try_recover_to(&disk, self.shape, Some(self.at)).unwrap();
        assert_eq!(held(&node), self.held);
        let history = disk.history();
        node.stop().unwrap();
        history
    }

    fn every_crash(&self) {
        let history = self.history();
        let seeds = asked_for("QNFSM_CRASH_SEEDS").unwrap_or(1);
        for before in 0..=history.operations.len() {
            let next = history.operations.get(before).map_or("the end", |operation| operation.name());
            self.judge(&history.kill(before), &format!("killed before operation {before}, {next}"));
            for seed in 0..seeds {
                let seed = before as u64 + seed * 1_000_003;
                let what = format!("the machine crashes before operation {before}, {next}, with seed {seed}");
                self.judge(&history.crash(before, seed), &what);
            }
        }
        let moved = history.operations.iter().filter(|operation| operation.name() == "rename").count();
        assert!(moved >= 3, "{moved} files were moved: too few to tell anything");
    }
}

#[test]
fn a_crash_while_a_damaged_end_is_given_up_leaves_what_can_be_told_again_and_never_starts_with_less_untold() {
    Case::new(Shape::Buffered, true, false).every_crash();
    Case::new(Shape::Durable, true, true).every_crash();
}

#[test]
fn a_crash_while_a_sound_end_is_given_up_leaves_what_can_be_told_again_and_never_starts_with_less_untold() {
    Case::new(Shape::Buffered, false, true).every_crash();
    Case::new(Shape::Durable, false, false).every_crash();
}

#[test]
fn a_disk_that_fails_anywhere_while_an_end_is_given_up_costs_nothing_more() {
    for is_damaged in [true, false] {
        let case = Case::new(Shape::Durable, is_damaged, !is_damaged);
        for nth in 1.. {
            let disk = case.disk.copy();
            disk.fail(nth, ErrorKind::Other);
            let ended = match try_recover_to(&disk, case.shape, Some(case.at)) {
                Ok(node) => node.stop().map(drop).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let Some(failed) = disk.failed() else { break };
            if let Err(error) = ended {
                assert!(error.contains(DIR), "{failed}: {error}");
            }
            case.judge(&disk.copy(), &format!("operation {nth} fails, a {failed}"));
        }
    }
}

#[test]
fn who_says_the_same_at_every_start_gives_up_once() {
    for shape in [Shape::Buffered, Shape::Durable] {
        let case = Case::new(shape, true, false);
        let again = |disk: &SimulatedDisk| try_recover_to(disk, shape, Some(case.at));
        let node = again(&case.disk).unwrap();
        assert!(node.given_up().is_some());
        assert_eq!(put(&node, case.held + 1), Some(case.held + 1));
        let killed = case.disk.copy();
        node.stop().unwrap();
        for disk in [killed, case.disk.copy()] {
            let instead = match refused(&disk, shape, Some(case.at)) {
                StartError::RecoverTo(RecoverToError::WentOn { at, epoch, instead }) => {
                    assert_eq!((at, epoch), (case.at, Epoch(3)));
                    instead
                }
                other => panic!("{other}"),
            };
            let node = try_start(&disk.copy(), shape).unwrap();
            assert_eq!(held(&node), case.held + 1);
            node.stop().unwrap();
            // An operator who means it gives up that too.
            let node = try_recover_to(&disk, shape, Some(instead)).unwrap();
            assert_eq!(held(&node), case.held);
            node.stop().unwrap();
            ring::replay(&disk.storage(), Path::new(DIR), kinds());
            assert!(matches!(
                refused(&disk, shape, Some(instead)),
                StartError::RecoverTo(RecoverToError::WentOn { epoch: Epoch(4), .. })
            ));
        }
    }
}

#[test]
fn a_snapshot_of_what_was_given_up_is_kept_aside_and_never_taken_for_one_of_a_new_round_of_that_number() {
    let disk = SimulatedDisk::default();
    let limits = Limits { snapshot_every_bytes: 1, ..probe::limits() };
    let start = |at: Option<Position>| probe::start(probe::builder(disk.storage()).limits(limits).recover_to(at));
    let add = |node: &probe::Node, amount, times| {
        for _ in 0..times {
            node.host().send(node.root(), &Tell::Add(amount, vec![])).unwrap();
            probe::total(node);
        }
    };
    let node = start(None);
    add(&node, 1, 40);
    node.stop().unwrap();
    let dir = Path::new(probe::DIR);
    let marks = marks(&disk, dir);
    let (at, _) = marks[marks.len() / 2];
    let old = names_under(&disk, &dir.join("snapshots"));
    let node = start(Some(at));
    let lost = names_under(&disk, &dir.join("lost"));
    let marked: BTreeSet<_> = marks.iter().filter(|(position, _)| *position < at).map(|(_, name)| name).collect();
    let (kept, gone): (Vec<_>, Vec<_>) = old.iter().partition(|(name, _)| marked.contains(name));
    assert!(kept.len() > 3 && gone.len() > 3, "{} and {}", kept.len(), gone.len());
    assert_eq!(node.given_up().unwrap().snapshots, gone.len() as u64);
    for (name, bytes) in &gone {
        assert!(lost.get(&format!("{name}.1")) == Some(bytes), "{name} is not kept aside");
    }
    let there = probe::total(&node);
    // Rounds of the same numbers, which do something else.
    add(&node, 100, 2);
    let total = probe::total(&node);
    assert_eq!(total, there + 200);
    node.stop().unwrap();
    let new = names_under(&disk, &dir.join("snapshots"));
    assert!(kept.iter().all(|(name, bytes)| new.get(*name) == Some(bytes)));
    let again: Vec<_> = gone.iter().filter(|(name, _)| new.contains_key(*name)).collect();
    // The newest is among them, from which the node would go on.
    assert!(
        again.len() + kept.len() == new.len() && again.len() >= 2,
        "only {} rounds that were snapshot have the number of an older one",
        again.len()
    );
    for (name, bytes) in again {
        assert!(new[*name] != **bytes, "{name}");
        disk.put(&dir.join("snapshots").join(name), bytes.to_vec());
    }
    let node = start(None);
    assert_eq!(probe::total(&node), total);
    node.stop().unwrap();
    assert_eq!(probe::replayed(&disk.storage(), |probe| probe.total), total);
}

fn names_under(disk: &SimulatedDisk, dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let paths = disk.paths().into_iter().filter(|path| path.starts_with(dir));
    paths.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), disk.bytes(&path).unwrap())).collect()
}

/// Where snapshots are marked, with the names of their files.
fn marks(disk: &SimulatedDisk, dir: &Path) -> Vec<(Position, String)> {
    let mut reader = Reader::open(disk.copy().storage(), dir).unwrap();
    let mut marks = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        if let Record::SnapshotMark { worker, round, .. } = entry.record {
            marks.push((entry.position, format!("{}-{round}.qsn", worker.0)));
        }
    }
    marks
}

#[test]
fn a_bounded_node_is_not_made_to_end_where_what_it_goes_on_from_is_gone() {
    let shape = Shape::Bounded;
    // A worker may have come to rest, with its last snapshot, before the journal's beginning was given up for the last time.
    let disk = (0..50).map(|_| stopped(shape)).find(|disk| {
        let kept_end = Manifest::load(disk, Path::new(DIR)).unwrap().kept_end;
        let is_later = marks(disk, Path::new(DIR)).iter().any(|(at, name)| *at > kept_end && name.starts_with("1-"));
        // Snapshots that newer ones have replaced are gone, and so may those be that either worker needs to go on from there.
        let could_end_there =
            || try_recover_to(&disk.copy(), shape, Some(kept_end)).map(|node| node.stop().unwrap()).is_ok();
        is_later && could_end_there()
    });
    let disk = disk.expect("worker 1 is snapshot when the node stops, and the snapshots before are still there");
    let manifest = Manifest::load(&disk, Path::new(DIR)).unwrap();
    assert!(manifest.oldest_segment > 1 && manifest.kept_end.segment >= manifest.oldest_segment);
    let ends = boundaries(&disk);
    let kept_end = manifest.kept_end;
    assert!(ends.contains(&kept_end) && ends[0] < kept_end);
    let earlier = [Position { segment: 1, offset: 4000 }, Position::default()];
    for at in ends.iter().take_while(|at| **at < kept_end).chain(&earlier) {
        match refused(&disk, shape, Some(*at)) {
            StartError::RecoverTo(RecoverToError::TooEarly { from, .. }) => assert_eq!(from, kept_end),
            other => panic!("{at}: {other}"),
        }
    }
    let (there, late) = (disk.copy(), ends[ends.len() - 2]);
    let started = try_recover_to(&there, shape, Some(late)).unwrap();
    assert!(started.given_up().is_some() && held(&started) == NUMBERS);
    started.stop().unwrap();
    ring::replay(&there.storage(), Path::new(DIR), kinds());
    // What is behind it doesn't help who has lost what is before.
    let before: BTreeSet<_> = marks(&disk, Path::new(DIR)).into_iter().filter(|(at, _)| *at < kept_end).collect();
    for (_, name) in before.iter().filter(|(_, name)| name.starts_with("1-")) {
        disk.lose(&PathBuf::from(DIR).join("snapshots").join(name));
    }
    match refused(&disk, shape, Some(kept_end)) {
        StartError::NoSnapshot { worker: WorkerId(1), refused, .. } => assert!(!refused.is_empty()),
        other => panic!("{other}"),
    }
    // Without being told it has all that it had.
    let node = try_start(&disk, shape).unwrap();
    assert_eq!(held(&node), NUMBERS);
    node.stop().unwrap();
}

#[test]
fn recovering_needs_a_directory_that_there_is() {
    let at = Position { segment: 1, offset: 4000 };
    let without = NodeBuilder::new("probe", probe::kinds()).recover_to(at);
    let text = probe::refused(without).to_string();
    assert!(text.contains("`recover_to` without a directory"), "{text}");
    let in_memory = NodeBuilder::new("probe", probe::kinds()).recover_to(at).durability(Durability::Memory);
    let text = probe::refused(in_memory).to_string();
    assert!(text.contains("leave out `recover_to`"), "{text}");
    let disk = SimulatedDisk::default();
    let nowhere = probe::builder(disk.storage()).recover_to(at);
    assert!(matches!(probe::refused(nowhere), StartError::Open(OpenError::Missing(_))));
    assert!(disk.paths().is_empty());
}

//! Mending: what is looked at first is what is done, a crash on the way leaves what the same repair finishes, and what a node needs to go
//! on is not given up.

use super::{
    simulated::SimulatedDisk,
    snapshots::{Mark, SnapshotHeader},
    *,
};
use crate::digest::{Digest, StreamDigest};

fn dir() -> PathBuf {
    PathBuf::from("/node")
}

/// A disk with a journal of several segments, a torn record behind it, and snapshots of which one is marked.
fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let (storage, dir) = (disk.storage(), dir());
    let manifest = Manifest { epoch: Epoch(9), ..Manifest::new(IDENTITY, NodeId(5), "program", 77) };
    manifest.create(&*storage, &dir).unwrap();
    drop(NodeLock::take(&*storage, &dir).unwrap());
    let journal = Journal::begin(storage, &dir, info(1), None, JournalOptions::default().segment_bytes(400)).unwrap();
    journal.write(&Record::WorkerStarted { worker: WORKER, epoch: Epoch(1), config: b"", request: None }).unwrap();
    for number in 1..=20 {
        journal.write(&round(number)).unwrap();
        if number == 10 {
            store(&disk, 10);
            journal.write(&Record::SnapshotBegun { worker: WORKER, round: 10, digest: 5 }).unwrap();
            journal.write(&mark(10).record()).unwrap();
        }
    }
    journal.sync().unwrap();
    journal.close();
    store(&disk, 11);
    let last = disk.paths().into_iter().rfind(|path| path.extension().is_some_and(|it| it == "qjl")).unwrap();
    let torn = [disk.bytes(&last).unwrap(), b"\xf5Qn\xa7torn".to_vec()].concat();
    disk.put(&last, torn);
    disk
}

const IMAGE: &[u8] = b"all that a worker is";

fn mark(round: u64) -> Mark {
    let (image_digest, driver_digest) = (StreamDigest::of(IMAGE), Digest::of(b""));
    Mark { worker: WORKER, round, digest: 5, image_digest, driver_digest }
}

fn store(disk: &SimulatedDisk, round: u64) {
    let header = SnapshotHeader { worker: WORKER, round, epoch: Epoch(1), identity: IDENTITY, catalogue: b"" };
    snapshots::store(disk.storage(), &dir(), &header, IMAGE, b"").unwrap();
}

/// The records of a disk as text, and how they end.
fn all(disk: &SimulatedDisk) -> (Vec<(Position, String)>, Result<Tail, ReadError>) {
    read(&mut Reader::open(disk.storage(), &dir()).unwrap())
}

fn done(disk: &SimulatedDisk, repair: Repair) -> Option<Repaired> {
    let (mut told, mut passes) = (Position::default(), 0);
    let mut on_record = |at: Position| {
        passes += u64::from(passes == 0 || at < told);
        told = at;
    };
    let looked = repair.look_telling(&disk.storage(), &dir(), &mut on_record).unwrap();
    // Where there is nothing to do, that may be known before.
    assert!(passes == repair.passes() || (passes == 1 && looked.is_none()), "{passes} passes of {repair:?}");
    let done = repair.carry_out(&disk.storage(), &dir()).unwrap();
    assert_eq!(looked, done, "it was said before");
    done
}

#[test]
fn each_repair_does_what_it_said_once_and_looking_changes_nothing() {
    let whole = all(&disk());
    let (tenth, _) = whole.0[10].clone();
    for repair in [Repair::EndAt(tenth), Repair::DropTail, Repair::SnapshotsAside] {
        let disk = disk().keeping_history(0);
        repair.look(&disk.storage(), &dir()).unwrap();
        assert!(disk.history().operations.is_empty(), "{repair:?} was only looked at");
        assert!(done(&disk, repair).is_some());
        assert_eq!(done(&disk, repair), None, "{repair:?} a second time");
        let (records, tail) = all(&disk);
        let kept = if let Repair::EndAt(_) = repair { 10 } else { whole.0.len() };
        assert_eq!(records, whole.0[..kept]);
        let lost = tail.unwrap().lost;
        assert_eq!(lost.is_some(), repair == Repair::SnapshotsAside, "only what is asked for");
        let there = snapshots::list(&*disk.storage(), &dir()).unwrap();
        let rounds: Vec<_> = there.iter().map(|(_, round)| *round).collect();
        match repair {
            Repair::EndAt(_) => assert_eq!(rounds, [0; 0], "none is marked before"),
            Repair::DropTail => assert_eq!(rounds, [10, 11]),
            Repair::SnapshotsAside => assert_eq!(rounds, [10]),
        }
    }
}

#[test]
fn a_crash_at_any_operation_leaves_what_the_same_repair_finishes() {
    let whole = all(&disk()).0;
    let (tenth, _) = whole[10].clone();
    for repair in [Repair::EndAt(tenth), Repair::DropTail, Repair::SnapshotsAside] {
        let disk = disk().keeping_history(0);
        done(&disk, repair).unwrap();
        let (mended, history) = (all(&disk), disk.history());
        assert!(history.operations.len() > 3, "{repair:?}: {}", history.operations.len());
        for before in 0..=history.operations.len() {
            let seed = before as u64;
            for crashed in [history.kill(before), history.crash(before, seed)] {
                repair
                    .carry_out(&crashed.storage(), &dir())
                    .unwrap_or_else(|error| panic!("{repair:?} {before}: {error}"));
                let (records, tail) = all(&crashed);
                assert_eq!(records, mended.0, "{repair:?} before operation {before}, seed {seed}");
                assert_eq!(tail.unwrap().lost, mended.1.as_ref().unwrap().lost, "{repair:?} before operation {before}");
                let there = |disk: &SimulatedDisk| snapshots::list(&*disk.storage(), &dir()).unwrap();
                assert_eq!(there(&crashed), there(&disk), "{repair:?} before operation {before}");
                let journal = Journal::begin(
                    crashed.storage(),
                    &dir(),
                    info(9),
                    Some(&all(&crashed).1.unwrap()),
                    JournalOptions::default(),
                );
                journal.unwrap().write(&round(99)).unwrap();
            }
        }
    }
}

#[test]
fn what_a_node_needs_to_go_on_is_not_given_up() {
    let disk = disk();
    let (storage, dir) = (disk.storage(), dir());
    // As if the journal's beginning, with the worker's start, had been given up.
    let manifest = Manifest::load(&*storage, &dir).unwrap();
    let records = all(&disk).0;
    let end = records.last().unwrap().0;
    let first_of_last = records.iter().find(|(at, _)| at.segment == end.segment).unwrap().0;
    (1..end.segment).for_each(|number| disk.lose(&segment::path(&dir, number)));
    Manifest { oldest_segment: end.segment, ..manifest }.store(&*storage, &dir).unwrap();
    let refused = Repair::EndAt(end).look(&storage, &dir);
    assert!(matches!(refused, Err(RepairError::NoSnapshot { worker: WORKER, .. })), "{refused:?}");
    let refused = Repair::EndAt(Position { offset: first_of_last.offset + 1, ..first_of_last }).look(&storage, &dir);
    assert!(matches!(refused, Err(RepairError::EndAt(RecoverToError::NoRecord { .. }))), "{refused:?}");
}

#[test]
fn a_directory_in_use_is_refused_and_none_is_made() {
    let disk = disk();
    let (storage, dir) = (disk.storage(), dir());
    let lock = NodeLock::take(&*storage, &dir).unwrap();
    for tried in [Repair::DropTail.look(&storage, &dir), Repair::DropTail.carry_out(&storage, &dir)] {
        assert!(matches!(tried, Err(RepairError::Open(OpenError::InUse(_)))), "{tried:?}");
    }
    drop(lock);
    let nowhere = PathBuf::from("/nowhere");
    assert!(matches!(Repair::DropTail.carry_out(&storage, &nowhere), Err(RepairError::Open(OpenError::Missing(_)))));
    assert!(disk.paths().iter().all(|path| !path.starts_with("/nowhere")));
}

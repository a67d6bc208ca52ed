//! Any prefix of the journal is a consistent cut of the whole node: whatever of its end a crash takes away, what comes
//! back goes on with nothing lost and nothing done twice.

use std::{collections::BTreeSet, path::Path};

use qnfsm::{
    Limits, WorkerId,
    journal::{
        Manifest, Position, Reader, Record,
        snapshots::{self, SnapshotHeader},
    },
};

use crate::{
    files::Memory,
    ring::{self, Root},
};

const DIR: &str = "/ring";

fn limits(snapshot_every_bytes: u64) -> Limits {
    Limits { snapshot_every_bytes, segment_bytes: 4096, ..Limits::default() }
}

/// Runs a ring until all its messages are handled; gives the disk as a crash leaves it then.
fn run(disk: &Memory, root: &Root, snapshot_every_bytes: u64) -> Memory {
    let node = ring::builder(Path::new(DIR), disk.storage(), limits(snapshot_every_bytes)).start(root).unwrap();
    ring::check_counters(&ring::settle(&node, root.expected()), root);
    let crashed = disk.crash();
    node.stop().unwrap();
    crashed
}

/// Brings back what a crash left, lets it run to its end, and proves all of it.
fn bring_back(disk: &Memory, at: Position, root: &Root, snapshot_every_bytes: u64) -> Memory {
    let describe = || format!("the journal was cut at {at}");
    let result = std::panic::catch_unwind(|| {
        let crashed = run(disk, root, snapshot_every_bytes);
        ring::check(&disk.crash().storage(), Path::new(DIR), root);
        crashed
    });
    result.unwrap_or_else(|_| panic!("{}", describe()))
}

/// Cuts a run at each record's end, and in the middle of each record.
fn every_cut(root: &Root, snapshot_every_bytes: u64) {
    let crashed = run(&Memory::default(), root, snapshot_every_bytes);
    let ends = crashed.record_ends(Path::new(DIR));
    assert!(ends.len() > 20, "only {} records", ends.len());
    for (number, at) in ends.iter().enumerate() {
        let disk = crashed.crash();
        disk.cut(Path::new(DIR), *at);
        let again = bring_back(&disk, *at, root, snapshot_every_bytes);
        // A crash while it comes back from a crash.
        if number % 16 == 5 {
            let ends = again.record_ends(Path::new(DIR));
            let second = ends[ends.len() - 1 - number % (ends.len() / 3)];
            again.cut(Path::new(DIR), second);
            bring_back(&again, second, root, snapshot_every_bytes);
        }
        // The next record is written by half.
        if number % 8 == 3 && at.segment == ends[(number + 1).min(ends.len() - 1)].segment {
            let half = Position { offset: at.offset + 9, ..*at };
            let disk = crashed.crash();
            disk.cut(Path::new(DIR), half);
            bring_back(&disk, half, root, snapshot_every_bytes);
        }
    }
}

#[test]
fn any_prefix_of_the_journal_is_a_consistent_cut() {
    every_cut(&Root::new(3, 2, 6), u64::MAX);
}

#[test]
fn any_prefix_is_a_consistent_cut_with_a_snapshot_after_each_round() {
    every_cut(&Root::new(3, 2, 3), 1);
}

#[test]
fn any_prefix_is_a_consistent_cut_with_snapshots_in_different_places() {
    every_cut(&Root::new(3, 2, 6), 1500);
}

#[test]
fn a_snapshot_that_is_not_the_one_of_its_mark_is_passed_over() {
    let root = Root::new(3, 2, 3);
    let crashed = run(&Memory::default(), &root, 1);
    let identity = Manifest::load(&*crashed.storage(), Path::new(DIR)).unwrap().identity;
    for at in crashed.record_ends(Path::new(DIR)).into_iter().step_by(3) {
        let disk = crashed.crash();
        disk.cut(Path::new(DIR), at);
        let storage = disk.storage();
        // As a later snapshot of the same round would be, when all that the driver kept is acknowledged.
        for (worker, round) in (0..3).flat_map(|worker| (1..100).map(move |round| (WorkerId(worker), round))) {
            let Ok(snapshot) = snapshots::load(&*storage, Path::new(DIR), identity, worker, round) else { continue };
            let (epoch, catalogue, image) = (snapshot.epoch, snapshot.catalogue(), snapshot.image());
            let about = SnapshotHeader { worker, round, epoch, identity, catalogue };
            snapshots::store(storage.clone(), Path::new(DIR), &about, image, &[0, 0]).unwrap();
        }
        bring_back(&disk, at, &root, 1);
    }
}

#[test]
fn no_round_is_snapshot_twice() {
    let disk = Memory::default();
    let root = Root::new(3, 2, 3);
    (0..3).for_each(|_| drop(run(&disk, &root, 1)));
    let mut marks = BTreeSet::new();
    let mut reader = Reader::open(disk.storage(), Path::new(DIR)).unwrap();
    while let Some(entry) = reader.next().unwrap() {
        if let Record::SnapshotMark { worker, round, .. } = entry.record {
            assert!(marks.insert((worker, round)), "{worker} was snapshot twice after round {round}");
        }
    }
    assert!(marks.len() > 10);
}

#[test]
fn a_disk_that_is_copied_under_load_comes_back() {
    let root = Root::new(3, 10, 50);
    let disk = Memory::default();
    let node = ring::builder(Path::new(DIR), disk.storage(), limits(20_000)).start(&root).unwrap();
    let mut copies = vec![];
    loop {
        copies.push(disk.crash());
        let tallies = ring::tallies(&node);
        if tallies.iter().map(ring::Counter::received).sum::<u64>() >= root.expected() {
            break;
        }
    }
    drop(node);
    let every = copies.len().div_ceil(8);
    for copy in copies.iter().step_by(every) {
        if copy.record_ends(Path::new(DIR)).is_empty() {
            continue;
        }
        bring_back(copy, Position::default(), &root, 20_000);
    }
}

//! A node that runs for long: its directory holds what it was allowed, and still all that a start, a replay and a request that is
//! asked again need.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use qnfsm::{
    Limits, QueueId, Recording, StartError, WorkerConfig, WorkerId,
    journal::{Manifest, Record, holdings::Holdings, segment_path},
};

use crate::{
    files::Memory,
    probe::{self, DIR, Node, PATIENCE, Tell, refused, start},
};

const RETAIN_BYTES: u64 = 1 << 20;

fn limits() -> Limits {
    Limits { retain_bytes: Some(RETAIN_BYTES), sync_every: Duration::from_millis(1), ..probe::limits() }
}

fn bounded(disk: &Memory) -> Node {
    start(probe::builder(disk.storage()).limits(limits()))
}

fn holdings(disk: &Memory) -> Holdings {
    Holdings::look(&*disk.storage(), Path::new(DIR)).unwrap()
}

fn oldest_segment(disk: &Memory) -> u64 {
    Manifest::load(&*disk.storage(), Path::new(DIR)).unwrap().oldest_segment
}

/// Adds one, and so many bytes to the journal.
fn add(node: &Node, to: QueueId<Tell>, bytes: usize) -> u64 {
    node.host().send(to, &Tell::Add(1, vec![7; bytes])).unwrap();
    node.host().request(to, PATIENCE, Tell::Total).unwrap()
}

/// Adds at the root until the journal's beginning was given up so often; gives how many were added.
fn until_given_up(node: &Node, disk: &Memory, times: u64) -> u64 {
    let begun = Instant::now();
    let (mut oldest, mut left) = (oldest_segment(disk), times);
    for added in 0.. {
        if left == 0 {
            return added;
        }
        assert!(begun.elapsed() < PATIENCE, "{left} of {times} times, nothing is given up: {:?}", holdings(disk));
        add(node, node.root(), 10_000);
        left -= u64::from(oldest_segment(disk) != oldest);
        oldest = oldest_segment(disk);
    }
    unreachable!("it counts for ever")
}

#[test]
fn a_directory_stays_within_its_bytes_and_the_node_comes_back_with_all_that_it_had() {
    let disk = Memory::default();
    let node = bounded(&disk);
    // One that works all the time, one that has done something once, and one that never does anything.
    let there = probe::second_worker(&node);
    assert_eq!(add(&node, there, 1), 1);
    node.host().send(node.root(), &Tell::StartWorker).unwrap();
    let mut added = 0;
    for _ in 0..10 {
        added += until_given_up(&node, &disk, 1);
        // What was recorded since it was looked at last, and while those that rest have their snapshots brought to disk.
        let slack = RETAIN_BYTES / 2;
        let held = holdings(&disk);
        assert!(held.bytes() <= RETAIN_BYTES + slack, "{held:?}");
    }
    assert!(added * 10_000 > 2 * RETAIN_BYTES, "it wasn't much that was added");
    let crashed = disk.crash();
    node.stop().unwrap();
    for disk in [disk, crashed] {
        let node = bounded(&disk);
        assert_eq!(probe::total(&node), added);
        assert_eq!(node.host().request::<_, u64>(there, PATIENCE, Tell::Total).unwrap(), 1);
        // A number that was used is never used again, though the record of its worker's start is gone.
        node.host().send(node.root(), &Tell::StartWorker).unwrap();
        probe::until_logged(&node, |line| line == "started w3");
        let all = added + until_given_up(&node, &disk, 2);
        node.stop().unwrap();
        assert_eq!(probe::replayed(&disk.storage(), |root| root.total), all);
    }
}

#[test]
fn who_asked_for_a_worker_is_still_known_when_the_record_of_its_start_is_gone() {
    let disk = Memory::default();
    let node = bounded(&disk);
    probe::second_worker(&node);
    let requests = |disk: &Memory| {
        probe::records(disk.crash().storage(), |record, _| match record {
            Record::WorkerStarted { worker: WorkerId(1), request, .. } => Some(("started", request.unwrap())),
            Record::WorkerKept { worker: WorkerId(1), request } => Some(("kept", request.unwrap())),
            _ => None,
        })
    };
    let (started, request) = requests(&disk)[0];
    assert_eq!(started, "started");
    until_given_up(&node, &disk, 3);
    let (kept, still) = requests(&disk)[0];
    assert_eq!((kept, still), ("kept", request));
    node.stop().unwrap();
}

#[test]
fn an_older_snapshot_serves_where_the_newest_is_damaged_and_without_any_the_node_says_what_is_missing() {
    let disk = Memory::default();
    let node = bounded(&disk);
    let added = until_given_up(&node, &disk, 2);
    let crashed = disk.crash();
    node.stop().unwrap();
    let newest = *holdings(&crashed).snapshots.keys().next_back().unwrap();
    let path = |(worker, round): (WorkerId, u64)| qnfsm::journal::snapshots::path(Path::new(DIR), worker, round);
    assert_eq!(crashed.spoil(&path(newest)), 1);
    let again = crashed.crash();
    let node = bounded(&again);
    assert_eq!(probe::total(&node), added);
    node.stop().unwrap();
    let snapshots = PathBuf::from(DIR).join("snapshots");
    assert!(crashed.remove_all(&snapshots) >= 2);
    match refused(probe::builder(crashed.storage()).limits(limits())) {
        StartError::NoSnapshot { worker: WorkerId(0), oldest_segment: oldest, refused } => {
            assert!(oldest == oldest_segment(&crashed) && refused.len() >= 2, "{oldest}: {refused:?}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn files_that_a_crash_brought_back_are_removed_and_never_read() {
    let disk = Memory::default();
    let node = bounded(&disk);
    let mut added = until_given_up(&node, &disk, 2);
    node.stop().unwrap();
    let first = segment_path(Path::new(DIR), 1);
    let file = disk.storage().create_new(&first).unwrap();
    file.write_all(b"it is not even a segment").unwrap();
    assert!(holdings(&disk).segments.contains_key(&1));
    let node = bounded(&disk);
    added += until_given_up(&node, &disk, 1);
    assert_eq!(probe::total(&node), added);
    assert!(!holdings(&disk).segments.contains_key(&1));
    node.stop().unwrap();
}

#[test]
fn what_a_worker_needs_that_is_stuck_stays_and_goes_when_it_has_ended_its_round() {
    let disk = Memory::default();
    let node = bounded(&disk);
    let there = probe::second_worker(&node);
    let gate = probe::gate(&node, there);
    let mut added = 0;
    while holdings(&disk).bytes() < 3 * RETAIN_BYTES {
        added = add(&node, node.root(), 10_000);
    }
    assert_eq!(oldest_segment(&disk), 1);
    let crashed = disk.crash();
    gate.open();
    added += until_given_up(&node, &disk, 1);
    // Files go one after another, on another thread.
    let begun = Instant::now();
    while holdings(&disk).bytes() > RETAIN_BYTES * 5 / 4 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", holdings(&disk));
        std::thread::yield_now();
    }
    assert_eq!(add(&node, there, 1), 1);
    assert_eq!(probe::total(&node), added);
    node.stop().unwrap();
    // It comes back from its start.
    let node = bounded(&crashed);
    assert!(probe::total(&node) > 0);
    assert_eq!(add(&node, there, 1), 1);
    node.stop().unwrap();
}

#[test]
fn a_worker_that_rests_is_snapshot_when_it_is_time() {
    let disk = Memory::default();
    let limits = Limits { snapshot_every: Some(Duration::from_millis(5)), ..probe::limits() };
    let node = start(probe::builder(disk.storage()).limits(limits));
    assert_eq!(add(&node, node.root(), 1), 1);
    let begun = Instant::now();
    while holdings(&disk).snapshots.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "nobody takes a snapshot");
        std::thread::yield_now();
    }
    node.stop().unwrap();
}

#[test]
fn a_worker_that_rests_over_a_change_of_its_configuration_comes_back_with_it() {
    let disk = Memory::default();
    let node = bounded(&disk);
    let there = probe::second_worker(&node);
    assert_eq!(add(&node, there, 1), 1);
    node.stop().unwrap();
    let config = WorkerConfig { turn_messages: 1, recording: Recording::Everything, ..WorkerConfig::default() };
    let again = |disk: &Memory| probe::builder(disk.storage()).limits(limits()).worker_config(config);
    let node = start(again(&disk));
    let snapshots = |disk: &Memory| {
        let marks = probe::records(disk.crash().storage(), |record, at| match record {
            Record::SnapshotMark { worker: WorkerId(1), .. } => Some(at),
            _ => None,
        });
        marks.last().copied()
    };
    // What said so is given up, and the snapshot marked again behind it.
    until_given_up(&node, &disk, 4);
    let last = snapshots(&disk);
    let begun = Instant::now();
    while snapshots(&disk) == last {
        assert!(begun.elapsed() < PATIENCE, "it isn't marked again");
        add(&node, node.root(), 10_000);
    }
    assert_eq!([add(&node, there, 1), add(&node, there, 1)], [2, 3]);
    let crashed = disk.crash();
    node.stop().unwrap();
    let node = start(again(&crashed));
    assert_eq!(add(&node, there, 1), 4);
    node.stop().unwrap();
    for disk in [disk, crashed] {
        probe::replayed(&disk.storage(), |_| ());
    }
}

#[test]
fn a_node_that_runs_shortly_again_and_again_stays_within_its_bytes_too() {
    let disk = Memory::default();
    let node = bounded(&disk);
    let there = probe::second_worker(&node);
    assert_eq!(add(&node, there, 1), 1);
    node.stop().unwrap();
    let mut added = 0;
    for _ in 0..60 {
        let node = bounded(&disk);
        (0..8).for_each(|_| added = add(&node, node.root(), 10_000));
        node.stop().unwrap();
    }
    // The next one sees to what was left.
    let node = bounded(&disk);
    let begun = Instant::now();
    while holdings(&disk).bytes() > RETAIN_BYTES * 5 / 4 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", holdings(&disk));
    }
    assert_eq!((probe::total(&node), added), (480, 480));
    assert_eq!(add(&node, there, 1), 2);
    node.stop().unwrap();
}

#[test]
fn a_bound_that_the_journals_own_headers_would_fill_is_refused() {
    let disk = Memory::default();
    let limits = Limits { retain_bytes: Some(40_000), ..probe::limits() };
    let text = refused(probe::builder(disk.storage()).limits(limits)).to_string();
    assert!(text.contains("`retain_bytes` is 40000"), "{text}");
}

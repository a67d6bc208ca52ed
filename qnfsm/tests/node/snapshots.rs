//! Snapshots that are taken while a worker goes on: it doesn't wait for them, they are of where they were begun, and what can't be
//! brought to disk is told.

use std::{
    io::ErrorKind,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use qnfsm::{
    Limits, NodeError,
    journal::{
        JournalError, Position, Record,
        faulty::{FaultyFiles, Operation},
    },
};

use crate::{
    files::Memory,
    probe::{self, PATIENCE, Tell},
};

/// What a journal says of one snapshot: its round, where it was begun, and where it is marked.
type Said = (u64, Option<Position>, Option<Position>);

fn said(disk: &Memory) -> Vec<Said> {
    let mut all: Vec<Said> = Vec::new();
    probe::records(disk.crash().storage(), |record, at| {
        match *record {
            Record::SnapshotBegun { round, .. } => all.push((round, Some(at), None)),
            Record::SnapshotMark { round, .. } => match all.iter_mut().rev().find(|(of, ..)| *of == round) {
                Some((_, _, mark)) => *mark = Some(at),
                None => all.push((round, None, Some(at))),
            },
            _ => {}
        }
        None::<()>
    });
    all
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what} never came");
        thread::yield_now();
    }
}

/// A node that snapshots when it is at rest, with the files in which nothing new can be made.
fn held(disk: &Memory, limits: Limits) -> (FaultyFiles, probe::Node) {
    let files = FaultyFiles::new(disk.storage());
    let node = probe::start(probe::builder(Arc::new(files.clone())).limits(limits));
    files.hold(Operation::Create);
    (files, node)
}

fn by_time() -> Limits {
    Limits { snapshot_every: Some(Duration::from_millis(1)), ..probe::limits() }
}

#[test]
fn a_worker_goes_on_while_its_snapshot_is_held_up_and_that_is_of_where_it_was_begun() {
    let disk = Memory::default();
    let (files, node) = held(&disk, by_time());
    let made = files.count(Operation::Create);
    let count = |of| node.host().send(node.root(), &Tell::Count(of)).unwrap();
    let runs = |of| probe::COUNTS.lock().unwrap().get(&of).copied().unwrap_or_default();
    count(201);
    until("a snapshot", || files.count(Operation::Create) > made);
    for _ in 0..10 {
        count(202);
        assert_eq!(probe::total(&node), 0, "it answers");
    }
    let without = disk.crash();
    assert!(said(&without).iter().all(|(.., mark)| mark.is_none()), "{:?}", said(&without));
    files.release();
    until("a mark", || said(&disk).iter().any(|(.., mark)| mark.is_some()));
    let with = disk.crash();
    let (round, begun, mark) = said(&with).into_iter().find(|(.., mark)| mark.is_some()).unwrap();
    let between = probe::records(with.crash().storage(), |record, at| {
        let is_between = begun < Some(at) && Some(at) < mark;
        (is_between && matches!(record, Record::Round { .. })).then(|| record.round())
    });
    assert!(between.len() >= 10 && between[0] == Some(round + 1), "{round}, then {between:?}");
    drop(node);

    let before = (runs(201), runs(202));
    drop(probe::start(probe::builder(without.storage())));
    assert_eq!((runs(201), runs(202)), (before.0 + 1, before.1 + 10), "it is of no use before it is marked");
    let before = (runs(201), runs(202));
    drop(probe::start(probe::builder(with.crash().storage())));
    let again = (runs(201) - before.0, runs(202) - before.1);
    assert!(again.0 == 0 && again.1 <= 10, "{again:?} handlers ran again");
    probe::replayed(&with.storage(), |_| ());
}

#[test]
fn a_replay_notices_that_a_worker_was_another_where_its_snapshot_was_begun() {
    let disk = Memory::default();
    let (files, node) = held(&disk, by_time());
    let made = files.count(Operation::Create);
    node.host().send(node.root(), &Tell::Add(1, vec![])).unwrap();
    until("a snapshot", || files.count(Operation::Create) > made);
    node.host().send(node.root(), &Tell::Add(2, vec![])).unwrap();
    assert_eq!(probe::total(&node), 3);
    files.release();
    until("a mark", || said(&disk).iter().any(|(.., mark)| mark.is_some()));
    let crash = disk.crash();
    drop(node);
    let mut reader = qnfsm::journal::Reader::open(crash.storage(), probe::DIR.as_ref()).unwrap();
    let mut playback =
        qnfsm::playback::Playback::new(probe::kinds().seal().unwrap(), qnfsm::NodeId(0)).checking_images();
    let mut noticed = None;
    while let Some(entry) = reader.next().unwrap() {
        let record = match entry.record {
            Record::SnapshotMark { worker, round, digest, image_digest, driver_digest } => {
                Record::SnapshotMark { worker, round, digest, image_digest: !image_digest, driver_digest }
            }
            record => record,
        };
        noticed = playback.apply(&record, &mut ()).err().map(|error| error.to_string());
        if noticed.is_some() {
            break;
        }
    }
    let noticed = noticed.expect("a mark of another image");
    assert!(noticed.contains("some FSM's data differ"), "{noticed}");
}

#[test]
fn a_worker_waits_for_a_disk_that_does_not_keep_up_before_the_next_snapshot_is_due() {
    const EVERY_BYTES: u64 = 20_000;
    let disk = Memory::default();
    let (files, node) = held(&disk, Limits { snapshot_every_bytes: EVERY_BYTES, ..probe::limits() });
    for _ in 0..200 {
        node.host().send(node.root(), &Tell::Add(1, vec![0; 1000])).unwrap();
    }
    until("a snapshot", || said(&disk).iter().any(|(_, begun, _)| begun.is_some()));
    // Time in which it would go on if it did.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        thread::yield_now();
    }
    files.release();
    assert_eq!(probe::total(&node), 200);
    let all = said(&disk);
    for (round, begun, mark) in all {
        let (Some(begun), Some(mark)) = (begun, mark) else { continue };
        let rounds = probe::records(disk.crash().storage(), |record, at| {
            let Record::Round { batches, .. } = *record else { return None };
            (begun < at && at < mark).then(|| batches.map(|batch| batch.bytes.len() as u64).sum::<u64>())
        });
        // The round with which it becomes too much is one of them.
        let but_the_last = rounds.split_last().map_or(0, |(_, others)| others.iter().sum());
        assert!(but_the_last < EVERY_BYTES, "{but_the_last} bytes after round {round} before its snapshot is marked");
    }
    node.stop().unwrap();
}

#[test]
fn a_snapshot_that_cannot_be_written_stops_the_node_also_where_it_is_given_up() {
    for at_stop in [false, true] {
        let disk = Memory::default();
        let (files, node) = held(&disk, by_time());
        let made = files.count(Operation::Create);
        node.host().send(node.root(), &Tell::Add(1, vec![])).unwrap();
        until("a snapshot", || files.count(Operation::Create) > made);
        assert_eq!(probe::total(&node), 1);
        // The snapshot's thread has made its file, or is about to.
        files.fail(Operation::Sync, 1, ErrorKind::StorageFull);
        let error = if at_stop {
            let stops = thread::spawn(move || node.stop());
            files.release();
            stops.join().unwrap().unwrap_err()
        } else {
            files.release();
            node.wait().unwrap_err()
        };
        assert!(matches!(error, NodeError::Journal(JournalError::Io(_))), "{error:?}");
        let node = probe::start(probe::builder(disk.storage()));
        assert_eq!(probe::total(&node), 1);
        node.stop().unwrap();
    }
}

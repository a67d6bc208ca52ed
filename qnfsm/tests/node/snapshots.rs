//! Snapshots that are taken while a worker goes on: it doesn't wait for them, they are of where they were begun, and what can't be
//! brought to disk is told.

use std::{
    io::ErrorKind,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use qnfsm::{
    Durability, Limits, NodeError, NodeId, Place, QueueId, RawQueueId, RecordingError, WorkerConfig, WorkerId,
    journal::{
        JournalError, Manifest, Position, Reader, Record,
        faulty::{FaultyFiles, Operation},
        simulated::{Operation as SimulatedOperation, SimulatedDisk},
    },
    playback::{Beginning, Playback},
};

use crate::{
    files::Memory,
    probe::{self, Dice, Gate, PATIENCE, Probe, Tell},
    ring,
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

/// A node with files in which nothing new can be made once it runs.
fn held(disk: &Memory, snapshot_every_bytes: u64) -> (FaultyFiles, probe::Node) {
    let files = FaultyFiles::new(disk.storage());
    let limits = Limits { snapshot_every_bytes, ..probe::limits() };
    let node = probe::start(probe::builder(Arc::new(files.clone())).limits(limits));
    files.hold(Operation::Create);
    (files, node)
}

/// A node that has begun a snapshot whose file can't be made yet, when it had come to that total.
fn begun(disk: &Memory, total: u64) -> (FaultyFiles, probe::Node) {
    let (files, node) = held(disk, 30_000);
    let made = files.count(Operation::Create);
    node.host().send(node.root(), &Tell::Add(total, vec![0; 40_000])).unwrap();
    until("a snapshot", || files.count(Operation::Create) > made);
    (files, node)
}

/// What a crash leaves of a node that came from a total of 1 to one of 3 between a snapshot's beginning and its mark.
fn marked_late() -> Memory {
    let disk = Memory::default();
    let (files, node) = begun(&disk, 1);
    node.host().send(node.root(), &Tell::Add(2, vec![])).unwrap();
    assert_eq!(probe::total(&node), 3);
    files.release();
    until("a mark", || said(&disk).iter().any(|(.., mark)| mark.is_some()));
    disk.crash()
}

#[test]
fn a_worker_goes_on_while_its_snapshot_is_held_up_and_that_is_of_where_it_was_begun() {
    let disk = Memory::default();
    let (files, node) = held(&disk, 30_000);
    let made = files.count(Operation::Create);
    let count = |of| node.host().send(node.root(), &Tell::Count(of)).unwrap();
    let runs = |of| probe::COUNTS.lock().unwrap().get(&of).copied().unwrap_or_default();
    count(201);
    node.host().send(node.root(), &Tell::Add(0, vec![0; 40_000])).unwrap();
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
    let crash = marked_late();
    let mut reader = Reader::open(crash.storage(), probe::DIR.as_ref()).unwrap();
    let mut playback = Playback::new(probe::kinds().seal().unwrap(), NodeId(0)).checking_images();
    let (mut noticed, mut reached) = (None, 0);
    while let Some(entry) = reader.next().unwrap() {
        let record = match entry.record {
            // One that comes when the worker has run on.
            Record::SnapshotMark { worker, round, digest, image_digest, driver_digest } if round < reached => {
                Record::SnapshotMark { worker, round, digest, image_digest: !image_digest, driver_digest }
            }
            record => record,
        };
        if let Record::Round { round, .. } = record {
            reached = round;
        }
        noticed = playback.apply(&record, &mut ()).err().map(|error| error.to_string());
        if noticed.is_some() {
            break;
        }
    }
    let noticed = noticed.expect("a mark of another image");
    assert!(noticed.contains("some FSM's data differ"), "{noticed}");
}

/// A journal, and a playback that takes it for one which has lost its beginning.
fn as_if_cut(crash: &Memory) -> (Reader, Playback) {
    let reader = Reader::open(crash.storage(), probe::DIR.as_ref()).unwrap();
    let cut = Manifest { oldest_segment: 2, ..reader.manifest().clone() };
    let beginning = Beginning::of(crash.storage(), probe::DIR, &cut);
    let kinds = probe::kinds().seal().unwrap();
    (reader, Playback::new(kinds, NodeId(0)).checking_images().beginning(Some(beginning)))
}

#[test]
fn a_replay_of_a_journal_without_its_beginning_begins_where_a_snapshot_was_begun() {
    let crash = marked_late();
    let (round, begun, mark) = said(&crash).into_iter().find(|(.., mark)| mark.is_some()).unwrap();
    let (mut reader, mut playback) = as_if_cut(&crash);
    let mut rounds = 0;
    while let Some(entry) = reader.next().unwrap() {
        // What stands before was given up, and the worker runs on before the mark.
        if Some(entry.position) >= begun && Some(entry.position) <= mark {
            playback.apply(&entry.record, &mut ()).unwrap();
            rounds += u64::from(matches!(entry.record, Record::Round { .. }));
        }
    }
    playback.finish(&mut ()).unwrap();
    let progress = playback.progress();
    assert_eq!((progress.rounds, progress.rounds_passed_over), (rounds, 0));
    let worker = playback.workers().next().unwrap();
    assert!(rounds >= 1 && worker.rounds() == round + rounds, "{rounds} rounds after {round}");
    assert_eq!(worker.fsm::<Probe>(probe::queue(0, 1)).unwrap().0.total, 3);
}

#[test]
fn a_snapshot_that_was_begun_where_the_journal_was_given_up_is_none_to_begin_with() {
    let crash = marked_late();
    let (_, _, mark) = said(&crash).into_iter().find(|(.., mark)| mark.is_some()).unwrap();
    let (mut reader, mut playback) = as_if_cut(&crash);
    let (mut worker, mut reached) = (WorkerId(0), 0);
    while let Some(entry) = reader.next().unwrap() {
        if let Record::Round { worker: of, round, .. } = entry.record {
            (worker, reached) = (of, round);
        }
        // All that the worker did between the two was given up with the one.
        if Some(entry.position) == mark {
            playback.apply(&entry.record, &mut ()).unwrap();
            break;
        }
    }
    playback.apply(&Record::DigestMark { worker, round: reached, digest: 0 }, &mut ()).unwrap();
    assert_eq!(playback.workers().count(), 0);
    let refused = playback.finish(&mut ()).unwrap_err().to_string();
    assert!(refused.contains("no snapshot of it can be used"), "{refused}");
}

#[test]
fn a_snapshot_of_a_round_that_a_crash_has_undone_is_gone_when_the_node_comes_back() {
    let disk = SimulatedDisk::default();
    let start = || probe::start(probe::builder(disk.storage()));
    start().stop().unwrap();
    let snapshots = Path::new(probe::DIR).join("snapshots");
    let marked: Vec<_> = disk.paths().into_iter().filter(|path| path.starts_with(&snapshots)).collect();
    let unmarked = snapshots.join("0-77.qsn");
    disk.put(&unmarked, disk.bytes(&marked[0]).unwrap());
    start().stop().unwrap();
    let there = disk.paths();
    assert!(!there.contains(&unmarked) && marked.iter().all(|path| there.contains(path)), "{there:?}");
}

#[test]
fn a_worker_waits_for_a_disk_that_does_not_keep_up_before_the_next_snapshot_is_due() {
    const EVERY_BYTES: u64 = 20_000;
    let disk = Memory::default();
    let (files, node) = held(&disk, EVERY_BYTES);
    let add = |times| {
        for _ in 0..times {
            node.host().send(node.root(), &Tell::Add(1, vec![0; 1000])).unwrap();
        }
    };
    // So many that the next round is begun when the snapshot is.
    add(25);
    until("a snapshot", || said(&disk).iter().any(|(_, begun, _)| begun.is_some()));
    let recorded = || {
        let bytes = probe::records(disk.crash().storage(), |record, _| match *record {
            Record::Round { batches, .. } => Some(batches.map(|batch| batch.bytes.len() as u64).sum::<u64>()),
            _ => None,
        });
        bytes.into_iter().sum::<u64>()
    };
    // Each is recorded by itself, up to the first that isn't, though there is time.
    let is_recorded = |before: u64| {
        let sent = Instant::now();
        while recorded() == before && sent.elapsed() < Duration::from_millis(500) {
            thread::yield_now();
        }
        recorded() > before
    };
    let went_on = (0..100).take_while(|_| {
        let before = recorded();
        add(1);
        is_recorded(before)
    });
    assert!(went_on.count() < 100, "it did not wait");
    // What came until the first was begun, as much again, and the rounds with which it became so much.
    assert!(recorded() < 3 * EVERY_BYTES + 25_000, "{} bytes were recorded", recorded());
    files.release();
    add(60);
    assert!(probe::total(&node) > 85, "it goes on");
    until("a second mark", || said(&disk).iter().filter(|(.., mark)| mark.is_some()).count() > 1);
    node.stop().unwrap();
}

#[test]
fn a_snapshot_that_cannot_be_written_stops_the_node_also_where_it_is_given_up() {
    for at_stop in [false, true] {
        let disk = Memory::default();
        let (files, node) = begun(&disk, 1);
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

#[test]
fn a_snapshot_that_was_begun_and_never_marked_is_none_of_the_same_round_when_that_is_configured_otherwise() {
    let disk = Memory::default();
    let files = FaultyFiles::new(disk.storage());
    let limits = Limits { snapshot_every_bytes: 30_000, ..probe::limits() };
    let node = probe::start(probe::builder(Arc::new(files.clone())).limits(limits));
    let there = probe::second_worker(&node);
    files.hold(Operation::Create);
    node.host().send(there, &Tell::Add(1, vec![0; 40_000])).unwrap();
    // Nothing has happened to that worker since.
    let ends_in_a_beginning = || {
        let of_worker = probe::records(disk.crash().storage(), |record, _| {
            (record.worker() == Some(WorkerId(1))).then_some(matches!(record, Record::SnapshotBegun { .. }))
        });
        of_worker.last() == Some(&true)
    };
    until("a beginning", ends_in_a_beginning);
    let crash = disk.crash();
    files.release();
    drop(node);
    let config = WorkerConfig { turn_messages: 7, ..WorkerConfig::default() };
    probe::start(probe::builder(crash.storage()).worker_config(config)).stop().unwrap();
    probe::replayed(&crash.storage(), |_| ());
}

#[test]
fn a_snapshot_with_a_watch_of_another_nodes_queue_is_used() {
    let disk = Memory::default();
    let node = probe::start(probe::builder(disk.storage()));
    // The same place, slot and generation as the root's.
    let elsewhere = RawQueueId::new(NodeId(1), Place::worker(WorkerId(0)), 0, 1);
    node.host().send(node.root(), &Tell::Watch(QueueId::from_raw(elsewhere))).unwrap();
    node.host().send(node.root(), &Tell::Count(203)).unwrap();
    probe::total(&node);
    node.stop().unwrap();
    drop(probe::start(probe::builder(disk.storage())));
    assert_eq!(probe::COUNTS.lock().unwrap()[&203], 1, "handlers ran again though there is a snapshot");
}

#[test]
fn what_a_crash_left_of_a_snapshot_goes_at_the_next_start_and_nothing_else_does() {
    let disk = SimulatedDisk::default();
    let start = || probe::start(probe::builder(disk.storage()));
    start().stop().unwrap();
    let snapshots = Path::new(probe::DIR).join("snapshots");
    let (left, other) = (snapshots.join("0-77.qsn.1.tmp"), snapshots.join("notes.tmp"));
    disk.put(&left, vec![0; 1000]);
    disk.put(&other, vec![0; 1000]);
    start().stop().unwrap();
    assert_eq!((disk.paths().contains(&left), disk.paths().contains(&other)), (false, true));
}

#[test]
fn a_ring_that_gave_up_where_a_snapshot_was_begun_takes_another() {
    const RETAIN_BYTES: u64 = 1 << 20;
    let disk = SimulatedDisk::default();
    let limits = Limits { retain_bytes: Some(RETAIN_BYTES), ..probe::limits() };
    let node = probe::start(probe::builder(disk.storage()).durability(Durability::Memory).limits(limits));
    let there = probe::second_worker(&node);
    let first = probe::gate(&node, there);
    // Rounds of their own: the first fills what a round takes, and makes a snapshot due.
    let second = Gate::new();
    node.host().send(there, &Tell::Add(1, vec![7; 200_000])).unwrap();
    node.host().send(there, &second.message()).unwrap();
    first.open();
    second.until_somebody_waits();
    for _ in 0..8 * RETAIN_BYTES / 10_000 {
        node.host().send(node.root(), &Tell::Add(1, vec![7; 10_000])).unwrap();
        probe::total(&node);
    }
    let error = node.write_recording().unwrap_err();
    assert!(matches!(&error, RecordingError::NotCovered { .. }), "{error}");
    second.open();
    let begun = Instant::now();
    let recording = loop {
        match node.write_recording() {
            Ok(recording) => break recording,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
    };
    ring::replay(&disk.storage(), &recording, probe::kinds());
}

#[test]
fn a_node_that_was_dropped_by_its_own_thread_puts_no_snapshot_there_any_more() {
    let disk = SimulatedDisk::default().keeping_history(1);
    let files = FaultyFiles::new(disk.storage());
    let held = Arc::new(Mutex::new(None::<probe::Node>));
    let dropped = held.clone();
    let limits = Limits { snapshot_every_bytes: 30_000, ..probe::limits() };
    let builder = probe::builder(Arc::new(files.clone())).limits(limits).external::<Dice>(move |_| {
        drop(dropped.lock().unwrap().take());
        1
    });
    let node = probe::start(builder);
    files.hold(Operation::Create);
    let made = files.count(Operation::Create);
    node.host().send(node.root(), &Tell::Add(1, vec![0; 40_000])).unwrap();
    until("a snapshot", || files.count(Operation::Create) > made);
    // By then all of it is handed over: a part after each round, and the rest while there is nothing to do.
    for _ in 0..20 {
        assert_eq!(probe::total(&node), 1);
    }
    let (host, root) = (node.host(), node.root());
    *held.lock().unwrap() = Some(node);
    host.send(root, &Tell::Read(1)).unwrap();
    until("the node's end", || held.lock().unwrap().is_none());
    files.release();
    let is_snapshot = |path: &Path| path.to_string_lossy().contains(".qsn");
    let ended = || {
        disk.history().operations.into_iter().find_map(|operation| match operation {
            SimulatedOperation::Remove(_, path) if is_snapshot(&path) => Some(false),
            SimulatedOperation::Rename(_, _, path) if is_snapshot(&path) => Some(true),
            _ => None,
        })
    };
    until("the end of its snapshot", || ended().is_some());
    assert_eq!(ended(), Some(false), "it was put in place");
}

#[test]
fn a_storage_that_panics_over_a_snapshot_stops_the_node_with_an_error() {
    let disk = Memory::default();
    let files = FaultyFiles::among(disk.storage(), ".qsn");
    let node = probe::start(probe::builder(Arc::new(files.clone())));
    node.host().send(node.root(), &Tell::Add(1, vec![])).unwrap();
    assert_eq!(probe::total(&node), 1);
    files.panic(Operation::Rename);
    let error = node.stop().unwrap_err();
    assert!(matches!(error, NodeError::Panicked(_)), "{error:?}");
    assert_eq!(probe::total(&probe::start(probe::builder(disk.storage()))), 1);
}

#[test]
fn the_journal_is_synced_while_a_snapshot_is() {
    let disk = SimulatedDisk::default().keeping_history(1);
    let files = FaultyFiles::among(disk.storage(), ".qsn");
    let limits = Limits { snapshot_every_bytes: 30_000, retain_bytes: Some(1 << 20), ..probe::limits() };
    let node = probe::start(probe::builder(Arc::new(files.clone())).limits(limits));
    files.hold(Operation::Sync);
    node.host().send(node.root(), &Tell::Add(1, vec![0; 40_000])).unwrap();
    until("a snapshot", || files.count(Operation::Sync) > 0);
    // The file is whole and about to get its name. Each of these is synced behind the one before.
    let syncs = || disk.history().operations.iter().filter(|of| matches!(of, SimulatedOperation::Sync(..))).count();
    let is_synced = |total| {
        let (before, begun) = (syncs(), Instant::now());
        node.host().send(node.root(), &Tell::Add(1, vec![])).unwrap();
        assert_eq!(probe::total(&node), total);
        while syncs() == before && begun.elapsed() < PATIENCE {
            thread::yield_now();
        }
        syncs() > before
    };
    let goes_on = (2..10).all(is_synced);
    files.release();
    node.stop().unwrap();
    assert!(goes_on, "the journal isn't synced");
}

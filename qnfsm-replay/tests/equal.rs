//! Runs that were recorded by a real node replay equal, however the node ended.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use qnfsm::{Host, Limits, NodeError, QueueId, Recording};
use qnfsm_replay::{Options, Report, replay};
use rig::{Order, PATIENCE, Price, Teller, copy, kinds, node};

fn replayed(dir: &Path) -> Report {
    replay(dir, kinds::<1>(), &Options::new().program("bank")).unwrap_or_else(|error| panic!("{error}"))
}

/// Puts orders of every sort in, and waits for what comes of them.
fn business(host: &Host, root: QueueId<Order>) -> u64 {
    for coins in 1..=100 {
        host.send(root, &Order::Add(coins)).unwrap();
    }
    let count: u64 = host.request(root, PATIENCE, Order::Count).unwrap();
    let _: u64 = host.request(root, PATIENCE, Order::Quote).unwrap();
    let _: u64 = host.request(root, PATIENCE, |reply| Order::AfterBeats(20, reply)).unwrap();
    count
}

#[test]
fn workers_timers_random_numbers_and_external_values_replay_equal() {
    for recording in [Recording::Inputs, Recording::Everything] {
        let dir = tempfile::tempdir().unwrap();
        let node = node(dir.path(), recording).start(&Teller::<1>::default()).unwrap();
        assert_eq!(business(&node.host(), node.root()), 5050);
        let stopped = node.stop().unwrap();
        let report = replayed(dir.path());
        assert_eq!((report.rounds, report.messages), (stopped.rounds, stopped.messages), "{recording:?}");
        assert_eq!((report.workers, report.epochs, report.rounds_unproved), (2, 1, 0), "{recording:?}");
        assert!(report.clean && report.lost.is_none() && report.ended_in.is_empty() && !report.build_differs);
        assert_eq!(report.digest, replayed(dir.path()).digest, "two replays are the same");
    }
}

#[test]
fn a_directory_replays_over_several_epochs_and_segments() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes: 4096, snapshot_every_bytes: 8192, ..Limits::default() };
    let mut rounds = 0;
    for epoch in 1..=3 {
        let recording = if epoch == 2 { Recording::Everything } else { Recording::Inputs };
        let node = node(dir.path(), recording).limits(limits).start(&Teller::<1>::default()).unwrap();
        assert_eq!(business(&node.host(), node.root()), epoch * 5050);
        rounds += node.stop().unwrap().rounds;
    }
    let report = replayed(dir.path());
    assert_eq!((report.epoch, report.epochs, report.rounds, report.rounds_unproved), (3, 3, rounds, 0));
    assert!(fs::read_dir(dir.path().join("journal")).unwrap().count() > 3, "segments are short here");
}

#[test]
fn a_directory_as_a_kill_leaves_it_replays_equal_and_goes_on() {
    let (dir, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let running = node(dir.path(), Recording::Inputs).start(&Teller::<1>::default()).unwrap();
    assert_eq!(business(&running.host(), running.root()), 5050);
    for coins in 0..1000 {
        running.host().send(running.root(), &Order::Add(coins % 2)).unwrap();
    }
    copy(dir.path(), killed.path());
    running.stop().unwrap();

    let report = replayed(killed.path());
    assert!(!report.clean);
    assert!(report.rounds_unproved <= 2, "at most the last round of each worker: {report:?}");

    let again = node(killed.path(), Recording::Inputs).start(&Teller::<1>::default()).unwrap();
    let count = business(&again.host(), again.root());
    assert!((10_100..=10_600).contains(&count), "{count}: what was told is there, and nothing twice");
    again.stop().unwrap();
    let report = replayed(killed.path());
    assert_eq!((report.epochs, report.rounds_unproved, report.clean), (2, 0, true));
}

/// Copies are taken while another thread loads the node, so that they end wherever they end: in the middle of rounds, of
/// snapshots, of segments, of records.
#[test]
fn a_directory_as_a_kill_leaves_it_at_any_moment_loses_nothing_that_was_told() {
    const KILLS: usize = 6;
    for recording in [Recording::Inputs, Recording::Everything] {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { segment_bytes: 20_000, snapshot_every_bytes: 30_000, ..Limits::default() };
        let running = node(dir.path(), recording).limits(limits).start(&Teller::<1>::default()).unwrap();
        let (host, root) = (running.host(), running.root());
        let over = AtomicBool::new(false);
        let mut killed = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    (0..64).for_each(|_| host.send(root, &Order::Add(1)).unwrap());
                    let _: u64 = host.request(root, PATIENCE, Order::Total).unwrap();
                }
            });
            for _ in 0..KILLS {
                let told: u64 = host.request(root, PATIENCE, Order::Count).unwrap();
                let copy_of = tempfile::tempdir().unwrap();
                copy(dir.path(), copy_of.path());
                killed.push((told, copy_of));
            }
            over.store(true, Ordering::Relaxed);
        });
        running.stop().unwrap();
        for (told, killed) in killed {
            let report = replayed(killed.path());
            assert!(report.rounds_unproved <= 2, "{report:?}");
            let again = node(killed.path(), recording).limits(limits).start(&Teller::<1>::default()).unwrap();
            let total: u64 = again.host().request(again.root(), PATIENCE, Order::Total).unwrap();
            let count: u64 = again.host().request(again.root(), PATIENCE, Order::Count).unwrap();
            assert_eq!(total, count, "what one worker sent the other has, once");
            assert!(count >= told, "{count} coins are there, and {told} had been told");
            again.stop().unwrap();
            let report = replayed(killed.path());
            assert_eq!((report.epochs, report.rounds_unproved, report.clean), (2, 0, true));
        }
    }
}

#[test]
fn a_run_that_ended_in_a_panic_replays_to_that_panic() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Recording::Everything).start(&Teller::<1>::default()).unwrap();
    business(&node.host(), node.root());
    node.host().send(node.root(), &Order::Panic).unwrap();
    let Err(NodeError::Fault(fault)) = node.wait() else { panic!("the panic stops the node") };
    let report = replayed(dir.path());
    let [ended] = &report.ended_in[..] else { panic!("{report:?}") };
    assert_eq!((ended.worker, ended.round), (fault.worker, fault.round));
    let place = ended.what.strip_prefix(&*fault.to_string()).unwrap_or_else(|| panic!("{ended:?}"));
    assert!(place.starts_with(", at ") && place.contains(".rs:"), "and where in the code: {place}");
    assert!(!ended.needs_external && !report.clean);
    assert!(report.to_string().contains("the recorded run ended in round"), "{report}");
}

#[test]
fn a_round_that_waits_for_a_value_beyond_the_record_is_unproved_and_goes_on_live() {
    let (dir, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (dir.path().to_owned(), killed.path().to_owned());
    let mut asked = 0;
    // The second question of the first quote finds the directory as a kill would at this moment.
    let port = move |_| {
        asked += 1;
        if asked == 2 {
            copy(&from, &to);
        }
        10
    };
    let first = node(dir.path(), Recording::Inputs).external::<Price>(port).start(&Teller::<1>::default()).unwrap();
    let quote: u64 = first.host().request(first.root(), PATIENCE, Order::Quote).unwrap();
    assert_eq!(quote, 20);
    first.stop().unwrap();

    let report = replayed(killed.path());
    let [ended] = &report.ended_in[..] else { panic!("{report:?}") };
    assert!(ended.needs_external && ended.what.contains("port price"), "{ended:?}");
    assert!(report.rounds_unproved >= 1);

    let second = node(killed.path(), Recording::Inputs).external::<Price>(|_| 5).start(&Teller::<1>::default());
    let second = second.unwrap();
    let _: u64 = second.host().request(second.root(), PATIENCE, Order::Total).unwrap();
    second.stop().unwrap();
    let report = replayed(killed.path());
    assert_eq!((report.ended_in.len(), report.rounds_unproved, report.clean), (0, 0, true));
}

#[test]
fn several_batches_of_one_source_in_one_round_replay() {
    let dir = tempfile::tempdir().unwrap();
    let ((asked, was_asked), (answer, answers)) = (mpsc::channel(), mpsc::channel());
    // While the worker waits for the port, further batches gather in its inbox.
    let port = move |_| {
        asked.send(()).unwrap();
        answers.recv().unwrap()
    };
    let node = node(dir.path(), Recording::Inputs).external::<Price>(port).start(&Teller::<1>::default()).unwrap();
    let (host, root) = (node.host(), node.root());
    let quote = host.ask::<_, u64>(root, PATIENCE, Order::Quote).unwrap();
    was_asked.recv_timeout(PATIENCE).unwrap();
    for coins in 0..50 {
        host.send(root, &Order::Add(coins)).unwrap();
    }
    answer.send(1).unwrap();
    answer.send(2).unwrap();
    assert_eq!(quote.wait().unwrap(), 3);
    let _: u64 = host.request(root, PATIENCE, Order::Total).unwrap();
    node.stop().unwrap();
    assert_eq!(replayed(dir.path()).rounds_unproved, 0);
}

#[test]
fn what_a_crash_left_behind_the_end_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Recording::Inputs).start(&Teller::<1>::default()).unwrap();
    business(&node.host(), node.root());
    node.stop().unwrap();
    let segment = dir.path().join("journal").join("00000001.qjl");
    let mut bytes = fs::read(&segment).unwrap();
    bytes.extend_from_slice(b"cut short");
    fs::write(&segment, bytes).unwrap();
    let lost = replayed(dir.path()).lost.expect("nine bytes are no record");
    assert!(lost.contains("9 bytes"), "{lost}");
}

#[test]
fn a_replay_changes_nothing_and_tells_how_far_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Recording::Everything).start(&Teller::<1>::default()).unwrap();
    business(&node.host(), node.root());
    node.stop().unwrap();
    let before = contents(dir.path());
    let last = Cell::new(None);
    let report = replay(dir.path(), kinds::<1>(), &Options::new().on_progress(|seen| last.set(Some(seen)))).unwrap();
    let last = last.get().expect("progress is told at the end at the latest");
    assert_eq!((last.rounds, last.messages), (report.rounds, report.messages));
    assert_eq!((last.bytes, last.bytes_total), (report.journal_bytes, report.journal_bytes));
    assert_eq!(before, contents(dir.path()));
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents.extend(self::contents(&path));
        } else {
            contents.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    contents
}

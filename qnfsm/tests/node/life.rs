//! A node's life: many workers, stopping and starting again.

use std::{path::Path, time::Duration};

use qnfsm::{Limits, Recording, WorkerConfig, WorkerId, journal::Record};

use crate::{
    files::Memory,
    probe::{self, PATIENCE, Tell},
    ring::{self, Root},
};

const RING: &str = "/ring";

fn ring_node(disk: &Memory, root: &Root, limits: Limits) -> ring::Node {
    ring::builder(Path::new(RING), disk.storage(), limits).start(root).unwrap()
}

#[test]
fn r1_messages_between_many_workers_arrive_in_the_order_sent() {
    let (disk, root) = (Memory::default(), Root::new(12, 3, 20));
    let node = ring_node(&disk, &root, Limits::default());
    ring::check_counters(&ring::settle(&node, root.expected()), &root);
    let stopped = node.stop().unwrap();
    assert!(stopped.drained);
    ring::check(&disk.storage(), Path::new(RING), &root);
}

#[test]
fn a_stop_in_the_middle_loses_nothing_and_the_next_start_goes_on() {
    let (disk, root) = (Memory::default(), Root::new(3, 10, 200));
    let limits = Limits { drain: Duration::ZERO, ..Limits::default() };
    let (mut stops, mut in_the_middle) = (0, 0);
    loop {
        let node = ring_node(&disk, &root, limits);
        let received: u64 = ring::tallies(&node).iter().map(ring::Counter::received).sum();
        if received >= root.expected() || stops == 20 {
            ring::settle(&node, root.expected());
            break;
        }
        // It is stopped while messages go to and fro on all workers.
        stops += 1;
        in_the_middle += u32::from(!node.stop().unwrap().drained);
    }
    assert!(in_the_middle >= 2, "of {stops} stops {in_the_middle} were in the middle");
    ring::check(&disk.storage(), Path::new(RING), &root);
}

#[test]
fn a_stop_of_two_that_play_for_ever_ends_at_the_drains_deadline() {
    let (disk, root) = (Memory::default(), Root::new(2, 2, u32::MAX));
    let limits = Limits { drain: Duration::from_millis(30), ..Limits::default() };
    for _ in 0..3 {
        let node = ring_node(&disk, &root, limits);
        ring::settle(&node, 1);
        let stopped = node.stop().unwrap();
        assert!(!stopped.drained);
    }
    let playback = ring::replay(&disk.storage(), Path::new(RING), ring::kinds());
    assert_eq!((playback.faults().count(), playback.progress().rounds_unproved), (0, 0));
    // They are still at it: what was in their queues and inboxes is in the snapshots.
    let node = ring_node(&disk, &root, limits);
    let before: u64 = ring::tallies(&node).iter().map(ring::Counter::received).sum();
    let after = ring::settle(&node, before + 1);
    assert!(after.iter().all(|counter| counter.broken.is_empty()), "{after:?}");
}

#[test]
fn a_node_goes_on_from_its_snapshots_without_them_and_past_spoilt_ones() {
    let (disk, root) = (Memory::default(), Root::new(3, 2, 10));
    let node = ring_node(&disk, &root, Limits::default());
    let before = ring::settle(&node, root.expected());
    node.stop().unwrap();
    let snapshots = Path::new(RING).join("snapshots");
    let removed = disk.crash();
    assert!(removed.remove_all(&snapshots) >= 3);
    let spoilt = disk.crash();
    assert!(spoilt.spoil(&snapshots) >= 3);
    for disk in [disk, removed, spoilt] {
        for _ in 0..2 {
            let node = ring_node(&disk, &root, Limits::default());
            assert_eq!(ring::tallies(&node), before);
            assert!(node.stop().unwrap().drained);
        }
        ring::check(&disk.storage(), Path::new(RING), &root);
    }
}

#[test]
fn a_snapshot_spares_the_rounds_before_it() {
    let disk = Memory::default();
    let node = probe::start(probe::builder(disk.storage()));
    for _ in 0..10 {
        node.host().send(node.root(), &Tell::Count(1)).unwrap();
    }
    probe::total(&node);
    node.stop().unwrap();
    let runs = || probe::COUNTS.lock().unwrap()[&1];
    let without = disk.crash();
    drop(probe::start(probe::builder(disk.storage())));
    assert_eq!(runs(), 10, "handlers ran again though there is a snapshot");
    without.remove_all(&Path::new(probe::DIR).join("snapshots"));
    drop(probe::start(probe::builder(without.storage())));
    assert_eq!(runs(), 20, "the journal is played back where there is none");
}

#[test]
fn epochs_count_up_and_the_first_fsm_is_made_once() {
    let disk = Memory::default();
    for start in 1..=4 {
        let node = probe::start(probe::builder(disk.storage()));
        assert_eq!(node.epoch().0, start);
        node.host().send(node.root(), &Tell::Add(1, vec![])).unwrap();
        assert_eq!(probe::total(&node), u64::from(start));
        node.stop().unwrap();
    }
    assert_eq!(probe::replayed(&disk.storage(), |probe| probe.total), 4);
}

#[test]
fn r9_a_change_of_what_shapes_workers_is_recorded_and_replays() {
    let disk = Memory::default();
    for turn_messages in [32, 1, 1, 7] {
        let config = WorkerConfig { turn_messages, ..WorkerConfig::default() };
        let node = probe::start(probe::builder(disk.storage()).worker_config(config));
        for _ in 0..50 {
            node.host().send(node.root(), &Tell::Add(1, vec![])).unwrap();
        }
        probe::total(&node);
        node.stop().unwrap();
    }
    let configured =
        probe::records(disk.storage(), |record, _| matches!(record, Record::Configured { .. }).then_some(()));
    assert_eq!(configured.len(), 2, "one for each change");
    assert_eq!(probe::replayed(&disk.storage(), |probe| probe.total), 200);
}

#[test]
fn what_the_host_was_told_is_taken_survives_a_stop_that_does_not_wait() {
    let disk = Memory::default();
    let limits = Limits { drain: Duration::ZERO, ..Limits::default() };
    let node = probe::start(probe::builder(disk.storage()).limits(limits));
    let gate = probe::gate(&node, node.root());
    for _ in 0..3000 {
        node.host().send(node.root(), &Tell::Add(1, vec![])).unwrap();
    }
    let host = node.host();
    let stop = std::thread::spawn(move || node.stop().unwrap());
    // The worker sees the stop when its round ends, with all of these in its inbox.
    while host.send(probe::queue(9, 9), &Tell::Add(0, vec![])).is_ok() {}
    gate.open();
    stop.join().unwrap();
    let node = probe::start(probe::builder(disk.storage()));
    assert_eq!(probe::total(&node), 3000);
}

#[test]
fn a_number_that_was_addressed_while_no_worker_had_it_is_never_given() {
    let disk = Memory::default();
    let node = probe::start(probe::builder(disk.storage()));
    let tell = |node: &probe::Node, message| node.host().send(node.root(), &message).unwrap();
    tell(&node, Tell::SpawnOn(WorkerId(1), Duration::from_millis(20)));
    probe::until_logged(&node, |line| line.starts_with("not spawned"));
    tell(&node, Tell::StartWorker);
    let started = probe::until_logged(&node, |line| line.starts_with("started"));
    assert_eq!(started, "started w2");
    tell(&node, Tell::SpawnOn(WorkerId(2), PATIENCE));
    probe::until_logged(&node, |line| line.starts_with("spawned"));
    tell(&node, Tell::SpawnOn(WorkerId(3), PATIENCE));
    node.stop().unwrap();
    // The number is kept over a restart, by snapshot and by playback.
    for without_snapshots in [false, true] {
        let disk = disk.crash();
        if without_snapshots {
            disk.remove_all(&Path::new(probe::DIR).join("snapshots"));
        }
        let node = probe::start(probe::builder(disk.storage()));
        tell(&node, Tell::StartWorker);
        probe::until_logged(&node, |line| line == "started w4");
        for worker in [2, 3, 4] {
            tell(&node, Tell::SpawnOn(WorkerId(worker), PATIENCE));
        }
        probe::until_logged(&node, |line| line.starts_with("spawned") && line.contains("w4"));
        node.stop().unwrap();
    }
}

#[test]
fn a_node_that_records_everything_comes_back_from_a_crash_and_replays() {
    let (disk, root) = (Memory::default(), Root::new(3, 2, 10));
    let start = |disk: &Memory| {
        let builder = ring::builder(Path::new(RING), disk.storage(), Limits::default());
        builder.recording(Recording::Everything).start(&root).unwrap()
    };
    let node = start(&disk);
    ring::settle(&node, root.expected() / 2);
    let crashed = disk.crash();
    drop(node);
    let node = start(&crashed);
    ring::settle(&node, root.expected());
    node.stop().unwrap();
    ring::check(&crashed.storage(), Path::new(RING), &root);
    let is_deliveries = |record: &Record<'_>| matches!(record, Record::Deliveries { .. });
    let mut reader = qnfsm::journal::Reader::open(crashed.storage(), Path::new(RING)).unwrap();
    let mut deliveries = 0;
    while let Some(entry) = reader.next().unwrap() {
        deliveries += u32::from(is_deliveries(&entry.record));
    }
    assert!(deliveries > 10, "{deliveries}");
}

#[test]
fn who_keeps_a_handle_of_a_node_that_stopped_writes_nothing_behind_what_the_next_one_reads() {
    let (disk, root) = (Memory::default(), Root::new(3, 2, 20));
    for _ in 0..2 {
        let node = ring_node(&disk, &root, Limits::default());
        ring::settle(&node, root.expected());
        let host = node.host();
        node.stop().unwrap();
        let next = ring_node(&disk, &root, Limits::default());
        drop(host);
        next.stop().unwrap();
    }
    ring::check(&disk.storage(), Path::new(RING), &root);
    ring_node(&disk, &root, Limits::default()).stop().unwrap();
}

#[test]
fn a_node_without_a_directory_records_nothing_and_works() {
    let root = Root::new(3, 2, 10);
    let node = qnfsm::NodeBuilder::new("ring", ring::kinds()).start(&root).unwrap();
    ring::check_counters(&ring::settle(&node, root.expected()), &root);
    assert!(node.stop().unwrap().drained);
}

#[test]
fn an_fsm_can_stop_its_node() {
    let disk = Memory::default();
    let node = probe::start(probe::builder(disk.storage()));
    node.host().send(node.root(), &Tell::Stop).unwrap();
    assert!(node.wait().unwrap().drained);
    let stops = probe::records(disk.storage(), |record, _| matches!(record, Record::CleanStop { .. }).then_some(()));
    assert_eq!(stops.len(), 1);
}

#[test]
fn a_stopped_node_holds_nothing() {
    let tracked = std::sync::Arc::new(());
    let mut builder = probe::builder(Memory::default().storage());
    for _ in 0..2 {
        let held = tracked.clone();
        builder.service(2, qnfsm::Unanswered::SentAgain, move |_: probe::Job, _| drop(held.clone()));
    }
    let held = tracked.clone();
    let node = probe::start(builder.external::<probe::Dice>(move |_| {
        let _ = &held;
        1
    }));
    probe::total(&node);
    let host = node.host();
    node.stop().unwrap();
    let begun = std::time::Instant::now();
    // The service's threads end when they see that they have no node; nothing tells when that is.
    while std::sync::Arc::strong_count(&tracked) > 1 {
        assert!(begun.elapsed() < PATIENCE, "{} are held", std::sync::Arc::strong_count(&tracked) - 1);
        std::thread::yield_now();
    }
    assert!(matches!(host.send(probe::queue(0, 1), &Tell::Add(1, vec![])), Err(qnfsm::HostError::Stopping)));
}

#[test]
fn limits_that_contradict_one_another_are_refused() {
    let limits = Limits { budget_bytes: 10, hard_limit_bytes: 9, ..Limits::default() };
    let error = probe::refused(probe::builder(Memory::default().storage()).limits(limits));
    assert!(error.to_string().contains("above the hard limit"), "{error}");
    let limits = Limits { budget_bytes: u64::MAX, hard_limit_bytes: u64::MAX, ..Limits::default() };
    let node = probe::start(probe::builder(Memory::default().storage()).limits(limits));
    assert_eq!(probe::total(&node), 0);
}

#[cfg(unix)]
mod signals {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
        sync::Arc,
    };

    use qnfsm::journal::RealFiles;

    use super::*;

    const CHILD: &str = "QNFSM_TEST_NODE_DIR";

    /// The node in the child process; does nothing by itself.
    #[test]
    fn child() {
        let Some(dir) = std::env::var_os(CHILD) else { return };
        let root = Root::new(3, 2, 5);
        let node = ring::builder(Path::new(&dir), Arc::new(RealFiles), Limits::default());
        let node = node.stop_on_signals().start(&root).unwrap();
        ring::settle(&node, root.expected());
        println!("\nit runs");
        assert!(node.wait().unwrap().drained);
        println!("\nit stopped");
    }

    #[test]
    fn sigterm_and_sigint_stop_a_node_in_good_order() {
        let root = Root::new(3, 2, 5);
        let dir = std::env::temp_dir().join(format!("qnfsm-signals-{}", std::process::id()));
        for signal in ["-TERM", "-INT"] {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "life::signals::child", "--nocapture"])
                .env(CHILD, &dir)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
            assert!(lines.any(|line| line == "it runs"));
            assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
            assert!(lines.any(|line| line == "it stopped"), "{signal}");
            assert!(child.wait().unwrap().success());
            ring::check(&(Arc::new(RealFiles) as _), &dir, &root);
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn no_type_of_these_tests_is_opaque() {
    for kinds in [ring::kinds(), probe::kinds()] {
        assert_eq!(kinds.seal().unwrap().opaque().collect::<Vec<_>>(), []);
    }
}

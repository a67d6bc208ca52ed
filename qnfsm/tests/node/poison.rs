//! Messages whose handlers don't end: they panic, never return, or end the process. Each way there is one by which the node runs
//! again, nothing else is lost by it, and what is recorded replays.

use std::{
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use qnfsm::{
    DownReason, Durability, Limits, NodeBuilder, NodeError, OnPoison, QueueId, StartError, WorkerId,
    journal::{Journal, JournalOptions, Manifest, Outcome, Reached, Reader, Record, SegmentInfo, Storage},
};

use crate::{
    files::Memory,
    gone::Refuses,
    probe::{self, COUNTS, DIR, Dice, Gate, Node, PATIENCE, Tell, refused, start},
};

const SHORT: Duration = Duration::from_millis(200);

fn builder(disk: &Memory, on_poison: OnPoison) -> NodeBuilder {
    probe::builder(disk.storage()).on_poison(on_poison)
}

/// Lets messages enter the root in one round.
fn at_once(node: &Node, messages: Vec<Tell>) {
    let gate = probe::gate(node, node.root());
    messages.iter().for_each(|message| node.host().send(node.root(), message).unwrap());
    gate.open();
}

/// What was skipped, as it stands in the journal: the deliveries' numbers, and whether the FSM was stopped.
fn skipped(disk: &Memory) -> Vec<(u32, bool)> {
    probe::records(disk.crash().storage(), |record, _| match record {
        Record::Skipped { at, stops, .. } => Some((at.delivery, *stops)),
        _ => None,
    })
}

/// How often a round was begun again.
fn attempts(disk: &Memory) -> usize {
    probe::records(disk.crash().storage(), |record, _| match record {
        Record::Attempt { at: None, outcome: Outcome::GoesOn, .. } => Some(()),
        _ => None,
    })
    .len()
}

/// A node that has ended over a panic between two messages, in one round, and its disk.
fn panicked(counter: u64) -> Memory {
    let disk = Memory::default();
    let node = start(builder(&disk, OnPoison::TryAgain));
    let poison = Tell::Each(vec![Tell::Count(counter), Tell::Panic]);
    at_once(&node, vec![Tell::Add(1, vec![]), poison, Tell::Add(2, vec![])]);
    assert!(matches!(node.wait(), Err(NodeError::Fault(_))));
    disk
}

fn count(counter: u64) -> u64 {
    COUNTS.lock().unwrap().get(&counter).copied().unwrap_or(0)
}

#[test]
fn a_message_that_panics_at_each_start_is_named_and_tried_again_until_it_may_be_skipped() {
    let disk = panicked(7001);
    for times in 2..5 {
        let error = refused(builder(&disk, OnPoison::TryAgain));
        assert!(
            matches!(&error, StartError::Fault(fault) if fault.fsm.as_ref().unwrap().contains("kind probe")),
            "{error}"
        );
        assert!(error.to_string().contains("NodeBuilder::on_poison"), "{error}");
        assert_eq!((count(7001), skipped(&disk)), (times, vec![]));
    }
    let node = start(builder(&disk, OnPoison::SkipMessage));
    assert_eq!(probe::total(&node), 3);
    assert_eq!(skipped(&disk), [(2, false)]);
    let runs = count(7001);
    let crashed = disk.crash();
    node.stop().unwrap();
    // It isn't asked again, whatever the policy, also where the node comes back by its rounds.
    for disk in [disk, crashed] {
        let node = start(builder(&disk, OnPoison::TryAgain));
        assert_eq!((probe::total(&node), count(7001)), (3, runs));
        node.stop().unwrap();
        assert_eq!(probe::replayed(&disk.storage(), |root| root.total), 3);
        assert_eq!(count(7001), runs);
    }
}

#[test]
fn a_message_that_panics_is_skipped_by_the_start_that_finds_it() {
    let disk = panicked(7002);
    let node = start(builder(&disk, OnPoison::SkipMessage));
    assert_eq!((probe::total(&node), count(7002)), (3, 2), "the start has tried it once more");
    node.stop().unwrap();
}

#[test]
fn the_fsm_is_stopped_where_that_is_the_policy_and_others_go_on() {
    let disk = Memory::default();
    let node = start(builder(&disk, OnPoison::TryAgain));
    let there = probe::second_worker(&node);
    let watched: QueueId<probe::Job> = QueueId::from_raw(there.raw());
    node.host().send(node.root(), &Tell::Watch(watched)).unwrap();
    assert_eq!(node.host().request::<_, u64>(node.root(), PATIENCE, Tell::Total).unwrap(), 0);
    node.host().send(there, &Tell::Panic).unwrap();
    assert!(matches!(node.wait(), Err(NodeError::Fault(_))));
    let node = start(builder(&disk, OnPoison::StopFsm));
    let reason = format!("down: {:?}", DownReason::Poisoned);
    probe::until_logged(&node, |line| line == reason);
    node.stop().unwrap();
    assert_eq!(skipped(&disk), [(1, true)]);
    probe::replayed(&disk.storage(), |_| ());
}

#[test]
fn an_fsm_that_can_do_nothing_but_panic_is_stopped_after_two_messages() {
    let disk = Memory::default();
    let node = start(builder(&disk, OnPoison::SkipMessage));
    let mut there = Some(probe::second_worker(&node));
    let mut node = Some(node);
    for skips in 1..=3 {
        let running = node.take().unwrap();
        running.host().send(there.unwrap(), &Tell::Panic).unwrap();
        assert!(matches!(running.wait(), Err(NodeError::Fault(_))));
        let again = start(builder(&disk, OnPoison::SkipMessage));
        assert_eq!(skipped(&disk).len(), skips);
        node = Some(again);
    }
    assert_eq!(skipped(&disk), [(1, false), (1, false), (1, true)]);
    let node = node.unwrap();
    let gone = node.host().request::<_, u64>(there.take().unwrap(), PATIENCE, Tell::Total);
    assert!(gone.is_err(), "{gone:?}");
    assert_eq!(probe::total(&node), 0);
    node.stop().unwrap();
    probe::replayed(&disk.storage(), |_| ());
}

#[test]
fn several_messages_of_one_round_are_skipped_one_after_another() {
    let disk = Memory::default();
    let node = start(builder(&disk, OnPoison::TryAgain));
    at_once(&node, vec![Tell::Panic, Tell::Add(1, vec![]), Tell::Panic, Tell::Add(2, vec![])]);
    assert!(matches!(node.wait(), Err(NodeError::Fault(_))));
    let node = start(builder(&disk, OnPoison::SkipMessage));
    assert_eq!((probe::total(&node), skipped(&disk)), (3, vec![(1, false), (3, false)]));
    node.stop().unwrap();
    assert_eq!(probe::replayed(&disk.storage(), |root| root.total), 3);
}

#[test]
fn what_a_skipped_message_was_told_from_outside_is_told_to_nobody_else() {
    let disk = Memory::default();
    let told = std::sync::atomic::AtomicU64::new(0);
    let dice = move |_| told.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let node = start(builder(&disk, OnPoison::TryAgain).external::<Dice>(dice));
    at_once(&node, vec![Tell::Read(1), Tell::Each(vec![Tell::Read(2), Tell::Panic]), Tell::Read(1)]);
    assert!(matches!(node.wait(), Err(NodeError::Fault(_))));
    let node = start(builder(&disk, OnPoison::SkipMessage).external::<Dice>(|_| 77));
    assert_eq!(probe::log(&node), ["read 0", "read 77"]);
    node.stop().unwrap();
    assert_eq!(probe::replayed(&disk.storage(), |root| root.log.clone()), ["read 0", "read 77"]);
}

/// A node that is stuck in its second message of a round, when it is killed.
fn stuck() -> (Memory, Gate, Node) {
    let disk = Memory::default();
    let node = start(builder(&disk, OnPoison::SkipMessage));
    let (before, within) = (probe::gate(&node, node.root()), Gate::new());
    for message in [Tell::Add(1, vec![]), within.message(), Tell::Add(2, vec![])] {
        node.host().send(node.root(), &message).unwrap();
    }
    before.open();
    within.until_somebody_waits();
    (disk.crash(), within, node)
}

fn short() -> Limits {
    Limits { attempt: SHORT, ..probe::limits() }
}

#[test]
fn a_handler_that_never_returns_is_named_by_a_start_and_skipped_by_the_next() {
    let (disk, gate, node) = stuck();
    for _ in 0..2 {
        let error = refused(builder(&disk, OnPoison::TryAgain).limits(short()));
        let StartError::Endless { worker, delivery, queue, ref kind, within, .. } = error else { panic!("{error}") };
        assert_eq!((worker, delivery, queue, within), (WorkerId(0), 2, Some(probe::queue(0, 1).raw()), SHORT));
        assert_eq!(kind, "probe");
    }
    let twin = disk.crash();
    let begun = attempts(&disk);
    let node_again = start(builder(&disk, OnPoison::SkipMessage).limits(short()));
    assert_eq!((probe::total(&node_again), skipped(&disk)), (3, vec![(2, false)]));
    assert_eq!(attempts(&disk), begun + 1, "what is known not to return isn't run again");
    node_again.stop().unwrap();
    assert_eq!(probe::replayed(&disk.storage(), |root| root.total), 3);
    // It may return after all, where it is run again.
    gate.open();
    let slow = start(builder(&twin, OnPoison::TryAgain));
    assert_eq!((probe::total(&slow), skipped(&twin)), (3, vec![]));
    slow.stop().unwrap();
    node.stop().unwrap();
}

#[test]
fn a_process_that_ends_twice_over_a_message_skips_it_at_the_third_time_and_not_before() {
    let (mut disk, gate, node) = stuck();
    let mut starts = Vec::new();
    for times in 1..=2 {
        assert_eq!(skipped(&disk), []);
        let waits = disk.clone();
        let start = thread::spawn(move || {
            builder(&waits, OnPoison::SkipMessage).start(&probe::Probe::default()).map(drop).map_err(Box::new)
        });
        // It has come to the message, which holds it up: there it is killed.
        let begun = Instant::now();
        let noted = |disk: &Memory| {
            probe::records(disk.crash().storage(), |record, _| match record {
                Record::Attempt { at: Some(Reached { delivery: 2, .. }), .. } => Some(()),
                _ => None,
            })
            .len()
        };
        while noted(&disk) < times {
            assert!(begun.elapsed() < PATIENCE, "it isn't run again");
        }
        disk = disk.crash();
        starts.push(start);
    }
    let node_again = start(builder(&disk, OnPoison::SkipMessage));
    assert_eq!((probe::total(&node_again), skipped(&disk)), (3, vec![(2, false)]));
    node_again.stop().unwrap();
    assert_eq!(probe::replayed(&disk.storage(), |root| root.total), 3);
    gate.open();
    starts.into_iter().for_each(|start| start.join().unwrap().unwrap());
    node.stop().unwrap();
}

#[test]
fn a_start_that_fails_for_another_reason_casts_no_suspicion() {
    let disk = Memory::default();
    let node = start(builder(&disk, OnPoison::TryAgain));
    node.host().send(node.root(), &Tell::Add(5, vec![])).unwrap();
    assert_eq!(probe::total(&node), 5);
    let disk_killed = disk.crash();
    node.stop().unwrap();
    for _ in 0..4 {
        // The rounds end, and then an edge can't be opened.
        let mut failing = builder(&disk_killed, OnPoison::SkipMessage);
        failing.reactor(qnfsm::RunOn::Thread, Refuses);
        assert!(matches!(refused(failing), StartError::Edge { .. }));
    }
    let node = start(builder(&disk_killed, OnPoison::SkipMessage));
    assert_eq!((probe::total(&node), skipped(&disk_killed)), (5, vec![]));
    node.stop().unwrap();
}

/// Notes in the journal that another build has come to a delivery twice, and hasn't ended it in time.
fn suspect_by_another_build(disk: &Memory, at: Reached, round: u64) {
    let (storage, dir) = (disk.storage(), Path::new(DIR));
    let mut reader = Reader::open(storage.clone(), dir).unwrap();
    while reader.next().unwrap().is_some() {}
    let (tail, info) = (reader.tail().unwrap().clone(), reader.header().unwrap().info.clone());
    let manifest = reader.manifest().clone();
    drop(reader);
    let epoch = qnfsm::Epoch(manifest.epoch.0 + 1);
    Manifest { epoch, epoch_random: 1, ..manifest }.store(&*storage as &dyn Storage, dir).unwrap();
    let info = SegmentInfo { epoch, epoch_random: 1, build: info.build + 1, ..info };
    let journal = Journal::begin(storage, dir, info, Some(&tail), JournalOptions::default()).unwrap();
    let [goes_on, timed_out] = [Outcome::GoesOn, Outcome::TimedOut];
    for (at, outcome) in [(None, goes_on), (Some(at), goes_on), (None, goes_on), (Some(at), timed_out)] {
        journal.write(&Record::Attempt { worker: WorkerId(0), round, at, outcome }).unwrap();
    }
    journal.sync().unwrap();
}

#[test]
fn what_another_build_could_not_end_is_run_again() {
    let disk = Memory::default();
    let node = start(builder(&disk, OnPoison::TryAgain));
    let gate = probe::gate(&node, node.root());
    let killed = disk.crash();
    let rounds = probe::records(killed.storage(), |record, _| match record {
        Record::Round { round, .. } => Some(*round),
        _ => None,
    });
    suspect_by_another_build(&killed, Reached { delivery: 1, seat: (0, 1), values: 0 }, *rounds.last().unwrap());
    gate.open();
    node.stop().unwrap();
    let node = start(builder(&killed, OnPoison::SkipMessage));
    assert_eq!((probe::total(&node), skipped(&killed)), (0, vec![]));
    node.stop().unwrap();
}

#[test]
fn a_fault_outside_of_any_delivery_is_not_skipped() {
    let (sender, asked) = mpsc::channel();
    let disk = Memory::default();
    let node = start(builder(&disk, OnPoison::TryAgain).external::<Dice>(move |_| {
        sender.send(()).unwrap();
        3
    }));
    node.host().send(node.root(), &Tell::Read(1)).unwrap();
    asked.recv_timeout(PATIENCE).unwrap();
    let begun = Instant::now();
    let last = |disk: &Memory| {
        probe::records(disk.crash().storage(), |record, at| matches!(record, Record::External { .. }).then_some(at))
    };
    while last(&disk).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the value isn't recorded");
    }
    let killed = disk.crash();
    killed.cut(Path::new(DIR), *last(&disk).first().unwrap());
    node.stop().unwrap();
    // A port that isn't there is nothing that a message is to blame for.
    let error = refused(builder(&killed, OnPoison::SkipMessage));
    assert!(matches!(error, StartError::Fault(_)), "{error}");
    assert_eq!(skipped(&killed), []);
    let node = start(builder(&killed, OnPoison::SkipMessage).external::<Dice>(|_| 4));
    assert_eq!((probe::log(&node), skipped(&killed)), (vec!["read 4".to_owned()], vec![]));
    node.stop().unwrap();
}

/// A durable or other node whose rounds may take so long when they are run again.
fn with_attempt(disk: &Memory, durability: Durability, attempt: Duration) -> NodeBuilder {
    let limits = Limits { attempt, segment_bytes: 1 << 20, ..probe::limits() };
    builder(disk, OnPoison::SkipMessage).durability(durability).limits(limits)
}

#[test]
fn what_was_acknowledged_is_not_skipped_though_it_takes_too_long_when_it_is_run_again() {
    for durability in [Durability::Buffered, Durability::Durable] {
        let disk = Memory::default();
        let node = start(with_attempt(&disk, durability, PATIENCE));
        let all = |reply| Tell::Each(vec![Tell::Sleep(150), Tell::Add(5, vec![]), Tell::Total(reply)]);
        assert_eq!(node.host().request::<_, u64>(node.root(), PATIENCE, all).unwrap(), 5);
        let killed = disk.crash();
        node.stop().unwrap();
        // Its end is on record, so it is part of what is played back and nothing that is tried.
        let node = start(with_attempt(&killed, durability, Duration::from_millis(50)));
        assert_eq!((probe::total(&node), skipped(&killed)), (5, vec![]), "{durability:?}");
        node.stop().unwrap();
    }
}

#[test]
fn a_round_whose_end_would_not_be_on_record_is_never_skipped() {
    let disk = Memory::default();
    let node = start(builder(&disk, OnPoison::TryAgain));
    let all = |reply| Tell::Each(vec![Tell::Sleep(150), Tell::Add(5, vec![]), Tell::Total(reply)]);
    assert_eq!(node.host().request::<_, u64>(node.root(), PATIENCE, all).unwrap(), 5);
    let killed = disk.crash();
    node.stop().unwrap();
    for _ in 0..3 {
        let error = refused(with_attempt(&killed, Durability::Buffered, Duration::from_millis(50)));
        assert!(matches!(error, StartError::Endless { .. }), "{error}");
    }
    let node = start(with_attempt(&killed, Durability::Buffered, PATIENCE));
    assert_eq!((probe::total(&node), skipped(&killed)), (5, vec![]));
    node.stop().unwrap();
}

#[test]
fn a_round_that_takes_long_and_ends_says_so_before_anything_of_it_leaves() {
    let disk = Memory::default();
    let limits = Limits { watchdog: Duration::from_millis(20), ..probe::limits() };
    let node = start(builder(&disk, OnPoison::TryAgain).limits(limits));
    let all = |reply| Tell::Each(vec![Tell::Sleep(300), Tell::Add(5, vec![]), Tell::Total(reply)]);
    assert_eq!(node.host().request::<_, u64>(node.root(), PATIENCE, all).unwrap(), 5);
    let killed = disk.crash();
    node.stop().unwrap();
    let stuck = probe::records(killed.crash().storage(), |record, _| match record {
        Record::Attempt { at: None, outcome: Outcome::TimedOut, .. } => Some(()),
        _ => None,
    });
    assert_eq!(stuck.len(), 1, "the watchdog has noted it");
    let node = start(with_attempt(&killed, Durability::Buffered, Duration::from_millis(50)));
    assert_eq!((probe::total(&node), skipped(&killed)), (5, vec![]));
    node.stop().unwrap();
}

#[test]
fn the_time_of_an_attempt_is_each_deliverys_own() {
    let disk = Memory::default();
    let node = start(builder(&disk, OnPoison::SkipMessage));
    let within = Gate::new();
    let slow = (0..4).map(|bit| Tell::Each(vec![Tell::Sleep(250), Tell::Add(1 << bit, vec![])]));
    at_once(&node, slow.chain([within.message()]).collect());
    within.until_somebody_waits();
    let killed = disk.crash();
    within.open();
    assert_eq!(probe::total(&node), 15);
    node.stop().unwrap();
    // Longer than each by itself takes, and shorter than all together.
    let node = start(with_attempt(&killed, Durability::Buffered, Duration::from_millis(600)));
    assert_eq!((probe::total(&node), skipped(&killed)), (15, vec![]));
    node.stop().unwrap();
}

#[test]
fn a_port_that_does_not_return_does_not_hold_up_the_start_that_gives_up() {
    let disk = Memory::default();
    let (sender, asked) = mpsc::channel();
    let answers = Gate::new();
    let node = start(builder(&disk, OnPoison::SkipMessage).external::<Dice>(move |_| {
        sender.send(()).unwrap();
        3
    }));
    let rounds = |disk: &Memory| {
        probe::records(disk.crash().storage(), |record, _| matches!(record, Record::Round { .. }).then_some(())).len()
    };
    assert_eq!(probe::total(&node), 0);
    let (before, begun) = (rounds(&disk), Instant::now());
    node.host().send(node.root(), &Tell::Each(vec![Tell::Sleep(500), Tell::Read(1)])).unwrap();
    let killed = loop {
        let killed = disk.crash();
        assert!(begun.elapsed() < PATIENCE, "the round isn't recorded");
        if rounds(&killed) > before {
            break killed;
        }
    };
    asked.recv_timeout(PATIENCE).unwrap();
    node.stop().unwrap();
    let (entered, entering) = mpsc::channel();
    let held = answers.message();
    let Tell::Gate(number) = held else { unreachable!("that is what it is") };
    let (result, ended) = mpsc::channel();
    thread::spawn(move || {
        let start = builder(&killed, OnPoison::SkipMessage).limits(Limits { attempt: 20 * SHORT, ..probe::limits() });
        let start = start.external::<Dice>(move |_| {
            let _ = entered.send(());
            probe::wait_at(number);
            3
        });
        result.send(refused(start).to_string()).unwrap();
    });
    entering.recv_timeout(PATIENCE).unwrap();
    let error = ended.recv_timeout(PATIENCE).expect("the start waits for the port");
    assert!(error.contains("didn't end within"), "{error}");
    answers.open();
}

#[test]
fn no_time_at_all_for_an_attempt_is_refused() {
    let limits = Limits { attempt: Duration::ZERO, ..probe::limits() };
    let error = refused(builder(&Memory::default(), OnPoison::SkipMessage).limits(limits));
    assert!(matches!(&error, StartError::Misuse(text) if text.contains("`attempt` is 0")), "{error}");
}

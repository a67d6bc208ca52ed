//! The budget of bytes, and the hard limit.

use std::{
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use qnfsm::{HostError, Limits, NodeError, Unanswered};

use crate::{
    files::Memory,
    probe::{self, Job, PATIENCE, Tell, start, until_logged},
};

fn limits(budget_bytes: u64, hard_limit_bytes: u64) -> Limits {
    Limits { budget_bytes, hard_limit_bytes, ..probe::limits() }
}

/// Sends until the node says that it is full; gives the number of messages that it took.
fn fill(node: &probe::Node) -> u64 {
    for sent in 0.. {
        match node.host().send(node.root(), &Tell::Add(1, vec![0; 1000])) {
            Ok(()) => {}
            Err(HostError::Full { budget_bytes }) => {
                assert_eq!(budget_bytes, 100_000);
                return sent;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 1000, "a megabyte went into a budget of 100 KB");
    }
    unreachable!()
}

#[test]
fn over_its_budget_a_node_refuses_new_work_and_takes_answers() {
    let disk = Memory::default();
    let mut builder = probe::builder(disk.storage()).limits(limits(100_000, 1 << 30));
    let (sender, jobs) = mpsc::channel();
    let sender = Mutex::new(sender);
    let service = builder.service(1, Unanswered::SentAgain, move |job: Job, replier| {
        sender.lock().unwrap().send((job, replier.clone())).unwrap();
    });
    let node = start(builder);
    node.host().send(node.root(), &Tell::Call { service, value: 1, within: PATIENCE }).unwrap();
    let (job, replier) = jobs.recv_timeout(PATIENCE).unwrap();
    let gate = probe::gate(&node, node.root());
    let sent = fill(&node);
    assert!((90..=110).contains(&sent), "{sent} messages of a kilobyte went into a budget of 100 KB");
    assert!(matches!(node.host().ask::<_, u64>(node.root(), PATIENCE, Tell::Hold), Err(HostError::Full { .. })));
    let brief = node.host().send_wait(node.root(), &Tell::Add(0, vec![]), Duration::from_millis(5));
    assert!(matches!(brief, Err(HostError::Full { .. })));
    replier.reply(&job.reply, &1);
    // Whoever waits goes on when there is room.
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| node.host().send_wait(node.root(), &Tell::Add(1, vec![]), PATIENCE)))
            .collect();
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
        gate.open();
        waiting.into_iter().for_each(|waiting| waiting.join().unwrap().unwrap());
    });
    until_logged(&node, |line| line == "1: Ok(1)");
    assert_eq!(probe::total(&node), sent + 4);
    node.stop().unwrap();
}

#[test]
fn who_waits_for_room_goes_on_each_time_when_there_is_some() {
    let node = start(probe::builder(Memory::default().storage()).limits(limits(3_000, 1 << 30)));
    let begun = Instant::now();
    // Each fills a third of the budget, so most of them wait.
    for sent in 0..2000 {
        node.host().send_wait(node.root(), &Tell::Add(1, vec![0; 1000]), PATIENCE).unwrap();
        // Who isn't told sees the room when its patience ends.
        assert!(begun.elapsed() < PATIENCE, "nobody told who waits that there is room; {sent} were sent before");
    }
    node.host().send_wait(node.root(), &Tell::Add(1, vec![]), PATIENCE).unwrap();
    assert_eq!(probe::total(&node), 2001);
}

#[test]
fn who_waits_for_room_hears_of_a_stop() {
    let node = start(probe::builder(Memory::default().storage()).limits(limits(100_000, 1 << 30)));
    let gate = probe::gate(&node, node.root());
    fill(&node);
    let (host, root) = (node.host(), node.root());
    let waiting = thread::spawn(move || host.send_wait(root, &Tell::Add(1, vec![]), PATIENCE));
    let stop = thread::spawn(move || node.stop().unwrap());
    assert!(matches!(waiting.join().unwrap(), Err(HostError::Stopping)));
    gate.open();
    stop.join().unwrap();
}

#[test]
fn what_waits_for_a_service_counts() {
    let mut builder = probe::builder(Memory::default().storage()).limits(limits(100, 1 << 30));
    let (enter, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let both = Mutex::new((enter, left));
    let service = builder.service(1, Unanswered::SentAgain, move |job: Job, replier| {
        let both = both.lock().unwrap();
        both.0.send(()).unwrap();
        // It ends when the test drops the other side.
        let _ = both.1.recv_timeout(PATIENCE);
        replier.reply(&job.reply, &1);
    });
    let node = start(builder);
    let mut calls = 0;
    let call = Tell::Call { service, value: u64::MAX, within: PATIENCE };
    while node.host().send_wait(node.root(), &call, Duration::from_millis(300)).is_ok() {
        calls += 1;
        assert!(calls < 100, "100 requests to a service fit into a budget of 100 bytes");
    }
    entered.recv_timeout(PATIENCE).unwrap();
    drop(leave);
    node.host().send_wait(node.root(), &call, PATIENCE).unwrap();
    node.stop().unwrap();
}

#[test]
fn past_its_hard_limit_a_node_stops_and_names_the_largest_queue() {
    let disk = Memory::default();
    let node = start(probe::builder(disk.storage()).limits(limits(100_000, 1_000_000)));
    // The queue of another FSM than the one that grows is small.
    node.host().send(node.root(), &Tell::Spawn(probe::Kind::Stops)).unwrap();
    until_logged(&node, |line| line == "1/1");
    node.host().send(probe::queue(1, 1), &Tell::Flood).unwrap();
    let error = node.wait().unwrap_err();
    let NodeError::HardLimit { limit_bytes: 1_000_000, queues } = &error else { panic!("{error:?}") };
    assert!(queues[0].starts_with("queue w0/1.1 with "), "{error}");
    // Started again it has all that it held, so it starts; and as the FSM goes on, it meets the limit again.
    let node = start(probe::builder(disk.storage()).limits(limits(100_000, 1_000_000)));
    let error = node.wait().unwrap_err();
    assert!(matches!(error, NodeError::HardLimit { .. }), "{error}");
}

#[test]
fn past_its_hard_limit_a_node_stops_though_the_worker_that_it_fills_is_busy() {
    let mut builder = probe::builder(Memory::default().storage()).limits(limits(100_000, 1_000_000));
    let (sender, jobs) = mpsc::channel();
    let sender = Mutex::new(sender);
    let service = builder.service(1, Unanswered::SentAgain, move |job: Job, replier| {
        sender.lock().unwrap().send((job, replier.clone())).unwrap();
    });
    let node = start(builder);
    node.host().send(node.root(), &Tell::Call { service, value: 1, within: PATIENCE }).unwrap();
    let (job, replier) = jobs.recv_timeout(PATIENCE).unwrap();
    let gate = probe::gate(&node, node.root());
    // Answers enter always, and this service answers without end.
    while !matches!(node.host().send(node.root(), &Tell::Add(0, vec![])), Err(HostError::Stopping)) {
        replier.reply(&job.reply, &1);
    }
    gate.open();
    let error = node.wait().unwrap_err();
    let NodeError::HardLimit { queues, .. } = &error else { panic!("{error:?}") };
    assert!(queues[0].starts_with("the inbox of w0 with "), "{error}");
}

//! Those who wait for something that isn't there, or that came while nobody could take it.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use qnfsm::{
    Durability, EdgeId, HostError, Limits, NoReply, NodeBuilder, NodeId, NodeRequest, Place, QueueId, RawQueueId,
    StartError, WorkerId, frame::edge_queue, journal::Record,
};

use crate::{
    files::Memory,
    probe::{self, DIR, PATIENCE, Tell, log, start, until_logged},
};

fn at(place: Place) -> QueueId<Tell> {
    QueueId::from_raw(RawQueueId::new(NodeId(0), place, 0, 1))
}

const NOBODY: WorkerId = WorkerId(77);

#[test]
fn who_asks_a_worker_or_an_edge_that_is_not_there_hears_so_at_once() {
    let disk = Memory::default();
    let node = start(probe::builder(disk.storage()));
    let missing = EdgeId(EdgeId::FIRST_OF_USER.0 + 3);
    let asked: Result<u64, _> = node.host().request(at(Place::worker(NOBODY)), PATIENCE, Tell::Total);
    assert!(matches!(asked, Err(HostError::NoReply(NoReply::Gone))), "{asked:?}");
    for edge in [missing, EdgeId::HOST] {
        let asked: Result<u64, _> = node.host().request(at(Place::edge(edge)), PATIENCE, Tell::Total);
        assert!(matches!(asked, Err(HostError::NotAnFsm { .. })), "{asked:?}");
    }
    node.host().send(node.root(), &Tell::SpawnOn(NOBODY, PATIENCE)).unwrap();
    until_logged(&node, |line| line == "not spawned: Gone");
    let service = QueueId::from_raw(edge_queue(NodeId(0), missing));
    node.host().send(node.root(), &Tell::Call { service, value: 1, within: PATIENCE }).unwrap();
    until_logged(&node, |line| line.ends_with(": Err(Gone)"));
    node.host().send(node.root(), &Tell::Watch(QueueId::from_raw(at(Place::worker(NOBODY)).raw()))).unwrap();
    until_logged(&node, |line| line == "down: Unknown");
    node.host().send(node.root(), &Tell::Watch(service)).unwrap();
    node.stop().unwrap();
    crate::ring::replay(&disk.storage(), Path::new(DIR), probe::kinds());
}

#[test]
fn who_watches_a_worker_that_is_not_there_hears_so_after_a_crash_too() {
    // With a snapshot after each round nothing is put in again that had been let go of.
    watch_and_crash(u64::MAX);
    watch_and_crash(1);
}

fn watch_and_crash(snapshot_every_bytes: u64) {
    let disk = Memory::default();
    let limits = Limits { snapshot_every_bytes, ..probe::limits() };
    let node = start(probe::builder(disk.storage()).limits(limits));
    node.host().send(node.root(), &Tell::Watch(QueueId::from_raw(at(Place::worker(NOBODY)).raw()))).unwrap();
    until_logged(&node, |line| line == "down: Unknown");
    let crashed = disk.crash();
    drop(node);
    let disk = crashed;
    for end in disk.record_ends(Path::new(DIR)) {
        let crashed = disk.crash();
        crashed.cut(Path::new(DIR), end);
        // The cut may be before the watch began: what the host sent first is the order to watch.
        let watched = probe::records(crashed.crash().storage(), |record, _| match record {
            Record::Round { batches, .. } => {
                batches.clone().any(|batch| batch.source == Place::edge(EdgeId::HOST)).then_some(())
            }
            _ => None,
        });
        let node = start(probe::builder(crashed.storage()));
        if !watched.is_empty() {
            until_logged(&node, |line| line == "down: Unknown");
        }
        let downs = log(&node).iter().filter(|line| *line == "down: Unknown").count();
        assert!(downs <= 1, "told {downs} times after a cut at {end}");
        drop(node);
    }
}

#[test]
fn an_fsm_that_was_spawned_for_one_who_gave_up_is_stopped() {
    let node = start(probe::builder(Memory::default().storage()));
    node.host().send(node.root(), &Tell::StartWorker).unwrap();
    until_logged(&node, |line| line == "started w1");
    // Its deadline has passed before the answer can be there.
    node.host().send(node.root(), &Tell::SpawnOn(WorkerId(1), Duration::ZERO)).unwrap();
    until_logged(&node, |line| line == "not spawned: Expired");
    let begun = std::time::Instant::now();
    loop {
        match node.host().request(at(Place::worker(WorkerId(1))), PATIENCE, Tell::Total) {
            Err(HostError::NoReply(NoReply::Gone)) => break,
            other => assert!(begun.elapsed() < PATIENCE, "{other:?}"),
        }
    }
    // One that is waited for stays.
    node.host().send(node.root(), &Tell::SpawnOn(WorkerId(1), PATIENCE)).unwrap();
    let line = until_logged(&node, |line| line.starts_with("spawned "));
    assert!(line.contains("slot: 0") && line.contains("generation: 2") || line.contains("0.2"), "{line}");
    let queue = QueueId::from_raw(RawQueueId::new(
        at(Place::worker(WorkerId(1))).raw().node(),
        at(Place::worker(WorkerId(1))).raw().place(),
        at(Place::worker(WorkerId(1))).raw().slot(),
        2,
    ));
    assert_eq!(node.host().request(queue, PATIENCE, Tell::Total).unwrap(), 0);
    node.stop().unwrap();
}

#[test]
fn an_answer_that_was_under_way_is_not_lost_against_a_deadline_that_passed_while_the_node_was_down() {
    const DEADLINE: Duration = Duration::from_millis(300);
    let disk = Memory::default();
    let node = start(probe::builder(disk.storage()));
    node.host().send(node.root(), &Tell::StartWorker).unwrap();
    until_logged(&node, |line| line == "started w1");
    let asked = SystemTime::now();
    node.host().send(node.root(), &Tell::SpawnOn(WorkerId(1), DEADLINE)).unwrap();
    until_logged(&node, |line| line.starts_with("spawned "));
    let crashed = disk.crash();
    drop(node);
    let disk = crashed;
    // The node goes down when the other worker has recorded the request and the first one has not recorded the answer.
    let spawned = probe::records(disk.crash().storage(), |record, at| match record {
        Record::Round { worker, batches, .. } => {
            let from_other = batches.clone().any(|batch| batch.source == Place::worker(WorkerId(1)));
            (*worker == WorkerId(0) && from_other).then_some(at)
        }
        _ => None,
    });
    disk.cut(Path::new(DIR), spawned[0]);
    // It comes back when the deadline has long passed.
    while asked.elapsed().unwrap() < DEADLINE * 2 {
        std::thread::yield_now();
    }
    let node = start(probe::builder(disk.storage()));
    let line = until_logged(&node, |line| line.contains("spawned"));
    assert!(line.starts_with("spawned "), "{line}");
    // What comes after that is of today.
    let now: Vec<_> = probe::records(disk.crash().storage(), |record, _| match record {
        Record::Round { worker: WorkerId(0), now, .. } => Some(now.as_nanos()),
        _ => None,
    });
    let deadline_ns = asked.duration_since(UNIX_EPOCH).unwrap() + DEADLINE;
    assert!(u128::from(*now.last().unwrap()) > deadline_ns.as_nanos());
    node.stop().unwrap();
}

#[test]
fn the_host_can_start_a_worker_and_stop_the_node_by_asking_it() {
    let disk = Memory::default();
    let node = start(probe::builder(disk.storage()));
    let queue = NodeRequest::queue(NodeId(0));
    let worker: WorkerId = node.host().request(queue, PATIENCE, |reply| NodeRequest::StartWorker { reply }).unwrap();
    assert_eq!(worker, WorkerId(1));
    node.host().send(node.root(), &Tell::SpawnOn(worker, PATIENCE)).unwrap();
    until_logged(&node, |line| line.starts_with("spawned "));
    node.host().send(queue, &NodeRequest::Stop).unwrap();
    node.wait().unwrap();
    let node = start(probe::builder(disk.storage()));
    assert_eq!(node.host().request(at(Place::worker(worker)), PATIENCE, Tell::Total).unwrap(), 0);
}

fn segments(disk: &Memory) -> usize {
    disk.storage().list(&Path::new(DIR).join("journal")).unwrap().len()
}

#[test]
fn a_start_that_fails_leaves_no_segment_behind() {
    for durability in [Durability::Buffered, Durability::Durable] {
        let builder = |disk: &Memory| probe::builder(disk.storage()).durability(durability);
        let fails = |disk: &Memory| {
            let mut builder = builder(disk);
            builder.reactor(qnfsm::RunOn::Thread, Refuses);
            assert!(matches!(probe::refused(builder), StartError::Edge { .. }));
        };
        let disk = Memory::default();
        start(builder(&disk)).stop().unwrap();
        assert_eq!(segments(&disk), 1);
        for _ in 0..3 {
            fails(&disk);
            assert_eq!(segments(&disk), 1);
        }
        let node = start(builder(&disk));
        assert_eq!(segments(&disk), 2);
        node.stop().unwrap();
        crate::ring::replay(&disk.storage(), Path::new(DIR), probe::kinds());
        // A first start that fails leaves a directory that the next one begins in.
        let disk = Memory::default();
        fails(&disk);
        start(builder(&disk)).stop().unwrap();
    }
}

/// An edge that can't be opened.
pub(crate) struct Refuses;

impl qnfsm::Reactor for Refuses {
    fn open(&mut self, _: &qnfsm::EdgeSetup) -> std::io::Result<()> {
        Err(std::io::ErrorKind::AddrInUse.into())
    }
    fn take(&mut self, _: &qnfsm::frame::Frame<'_>, _: &mut qnfsm::Inputs) {}
    fn poll(&mut self, _: Option<Duration>, _: &mut qnfsm::Inputs) -> std::io::Result<()> {
        Ok(())
    }
    fn waker(&self) -> qnfsm::Wake {
        std::sync::Arc::new(|| {})
    }
    fn close(&mut self) {}
}

#[test]
fn a_node_without_room_for_its_first_fsm_does_not_start() {
    let config = qnfsm::WorkerConfig { fsms_max: 0, ..qnfsm::WorkerConfig::default() };
    let builder: NodeBuilder =
        probe::builder(Memory::default().storage()).limits(Limits::default()).worker_config(config);
    let error = probe::refused(builder);
    assert!(matches!(&error, StartError::Misuse(text) if text.contains("fsms_max")), "{error}");
}

#[test]
fn what_was_under_way_comes_at_the_time_at_which_the_node_went_down() {
    let disk = Memory::default();
    let node = start(probe::builder(disk.storage()));
    node.host().send(node.root(), &Tell::StartWorker).unwrap();
    until_logged(&node, |line| line == "started w1");
    node.host().send(node.root(), &Tell::SpawnOn(WorkerId(1), PATIENCE)).unwrap();
    until_logged(&node, |line| line.starts_with("spawned "));
    let crashed = disk.crash();
    drop(node);
    let times = |disk: &Memory, of: WorkerId| {
        probe::records(disk.crash().storage(), |record, at| match record {
            Record::Round { worker, now, .. } if *worker == of => Some((at, *now)),
            _ => None,
        })
    };
    // The new worker had not run yet.
    crashed.cut(Path::new(DIR), times(&crashed, WorkerId(1))[0].0);
    let went_down = times(&crashed, WorkerId(0)).last().unwrap().1;
    let node = start(probe::builder(crashed.storage()));
    until_logged(&node, |line| line.starts_with("spawned "));
    assert_eq!(times(&crashed, WorkerId(1))[0].1, went_down);
    node.stop().unwrap();
}

#[test]
fn whoever_is_woken_by_an_answer_may_use_what_answered() {
    use std::{
        future::Future,
        sync::{Arc, Mutex, mpsc},
        task::{Context, Poll, Wake, Waker},
    };

    /// Answers another request when it is woken.
    struct Again(Mutex<Option<Box<dyn FnOnce() + Send>>>, mpsc::Sender<()>);
    impl Wake for Again {
        fn wake(self: Arc<Self>) {
            let again = self.0.lock().unwrap().take();
            if let Some(again) = again {
                again();
                self.1.send(()).unwrap();
            }
        }
    }

    let mut builder = probe::builder(Memory::default().storage());
    let (sender, jobs) = mpsc::channel();
    let service = builder.service(0, qnfsm::Unanswered::Interrupted, move |job: probe::Job, replier| {
        sender.send((job, replier.clone())).unwrap();
    });
    let node = start(builder);
    // The FSM hands the host's address on, so the service answers the host.
    let mut answer = Box::pin(node.host().ask(node.root(), PATIENCE, |reply| Tell::HandOn(service, reply)).unwrap());
    let (job, replier) = jobs.recv_timeout(PATIENCE).unwrap();
    let (woken, was_woken) = mpsc::channel();
    let (again, to) = (replier.clone(), job.reply.clone());
    let again: Box<dyn FnOnce() + Send> = Box::new(move || again.reply(&to, &2));
    let waker = Waker::from(Arc::new(Again(Mutex::new(Some(again)), woken)));
    assert!(matches!(answer.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending));
    std::thread::spawn(move || replier.reply(&job.reply, &1));
    was_woken.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(answer.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(1))));
    drop(answer);
    node.stop().unwrap();
}

//! `Durability::Durable`: what leaves the node waits until its round is on disk, rounds don't, and one sync serves all who wait.

use std::{
    io::ErrorKind,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use qnfsm::{
    Answer, Durability, Host, HostError, Limits, NoReply, NodeBuilder, NodeError, NodeId, NodeRequest, QueueId, RunOn,
    Unanswered, WorkerId,
    journal::{
        JournalError, Record,
        faulty::{FaultyFiles, Operation},
    },
};

use crate::{
    files::Memory,
    outputs::{Stage, who_recorded, witnesses},
    probe::{self, Job, PATIENCE, Tell, start},
    reactors::{Belfry, Bell, edge_queue},
};

/// A disk whose operations can be held and fail, and a durable node on it that syncs for nobody but those who wait.
fn durable(disk: &Memory) -> (FaultyFiles, NodeBuilder) {
    let files = FaultyFiles::new(disk.storage());
    let builder = durable_on(&files);
    (files, builder)
}

fn durable_on(files: &FaultyFiles) -> NodeBuilder {
    let limits = Limits { sync_every: 1000 * PATIENCE, segment_bytes: 1 << 20, ..probe::limits() };
    probe::builder(Arc::new(files.clone())).durability(Durability::Durable).limits(limits)
}

/// Holds up syncs until it is dropped, so that a test that fails doesn't wait for its node for ever.
pub(crate) struct SyncsHeld<'a>(&'a FaultyFiles);

impl SyncsHeld<'_> {
    pub(crate) fn new(files: &FaultyFiles) -> SyncsHeld<'_> {
        files.hold(Operation::Sync);
        SyncsHeld(files)
    }

    pub(crate) fn release(self) {}
}

impl Drop for SyncsHeld<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

pub(crate) fn until(what: &str, reached: impl Fn() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::yield_now();
    }
}

/// How many rounds worker 0 has recorded.
fn rounds(disk: &Memory) -> usize {
    let of_first = |record: &Record<'_>| matches!(record, Record::Round { worker: WorkerId(0), .. });
    probe::records(disk.crash().storage(), |record, _| of_first(record).then_some(())).len()
}

#[test]
fn while_a_sync_is_under_way_rounds_go_on_and_nothing_of_them_leaves_the_node() {
    let disk = Memory::default();
    let (files, builder) = durable(&disk);
    let (seen_by, seen) = witnesses();
    let mut stage = Stage::new(builder, seen_by);
    let held = SyncsHeld::new(&files);
    let syncs = files.count(Operation::Sync);
    stage.send(&stage.all_three());
    until("nobody syncs", || files.count(Operation::Sync) > syncs);
    // What it put out for the other worker has come there.
    until("the other worker waits", || who_recorded(&disk) == [WorkerId(0), WorkerId(1)]);
    let later = rounds(&disk) + 3;
    until("rounds wait for the disk", || {
        stage.send(&Tell::Add(0, vec![]));
        rounds(&disk) >= later
    });
    assert_eq!((seen.try_iter().collect::<Vec<_>>(), stage.outcome().is_none()), (vec![], true));
    held.release();
    for who in ["edge", "host"] {
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), who);
    }
    assert_eq!(stage.outcome().unwrap().unwrap(), 1);
    stage.node.stop().unwrap();
}

#[test]
fn what_follows_from_an_external_value_waits_until_the_value_is_on_disk_and_not_only_its_round() {
    let disk = Memory::default();
    let (files, builder) = durable(&disk);
    let (seen_by, seen) = witnesses();
    let other = Arc::new(OnceLock::<(Host, QueueId<Tell>)>::new());
    let (asks, disk_held) = (other.clone(), files.clone());
    let builder = builder.external::<probe::Dice>(move |_| {
        // The other worker's answer brings the round's record to disk, and the value comes after it.
        let (host, there) = asks.get().unwrap();
        host.request::<_, u64>(*there, PATIENCE, Tell::Total).unwrap();
        disk_held.hold(Operation::Sync);
        4
    });
    let mut stage = Stage::new(builder, seen_by);
    assert!(other.set((stage.node.host(), stage.there)).is_ok());
    let held = SyncsHeld(&files);
    let syncs = files.count(Operation::Sync);
    stage.send(&Tell::Each(vec![Tell::Read(1), stage.all_three()]));
    // One for the other worker's answer, and the one that is held.
    until("nobody syncs", || files.count(Operation::Sync) >= syncs + 2);
    let early = (seen.try_iter().collect::<Vec<_>>(), stage.outcome().is_none());
    held.release();
    assert_eq!(early, (vec![], true));
    for who in ["edge", "host"] {
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), who);
    }
    stage.node.stop().unwrap();
}

#[test]
fn a_request_that_is_sent_again_waits_until_what_it_follows_from_is_on_disk() {
    let disk = Memory::default();
    let (sender, asked) = mpsc::channel();
    let service = |builder: &mut NodeBuilder, sender: &mpsc::Sender<u64>| {
        let sender = std::sync::Mutex::new(sender.clone());
        builder.async_service(Unanswered::SentAgain, move |job: Job, _| sender.lock().unwrap().send(job.value).unwrap())
    };
    let (files, mut builder) = durable(&disk);
    let queue = service(&mut builder, &sender);
    let node = start(builder.external::<probe::Dice>(|_| 4));
    probe::total(&node);
    // The round is written, and the value that it reads is not.
    files.fail(Operation::Write, 2, ErrorKind::StorageFull);
    let call = Tell::Call { service: queue, value: 1, within: PATIENCE };
    node.host().send(node.root(), &Tell::Each(vec![Tell::Read(1), call])).unwrap();
    assert!(matches!(node.wait(), Err(NodeError::Journal(_))));
    // The node that comes back asks for the value, and ends the round with it.
    let files = FaultyFiles::new(disk.crash().storage());
    let held = SyncsHeld(&files);
    let syncs = Arc::new(AtomicU64::new(u64::MAX));
    let (holds, before) = (files.clone(), syncs.clone());
    let starting = thread::spawn(move || {
        let mut builder = durable_on(&holds);
        service(&mut builder, &sender);
        start(builder.external::<probe::Dice>(move |_| {
            before.store(holds.count(Operation::Sync), Ordering::SeqCst);
            holds.hold(Operation::Sync);
            5
        }))
    });
    until("nobody syncs", || starting.is_finished() || files.count(Operation::Sync) > syncs.load(Ordering::SeqCst));
    let early: Vec<_> = asked.try_iter().collect();
    held.release();
    let node = starting.join().unwrap();
    assert_eq!((early, asked.recv_timeout(PATIENCE)), (vec![], Ok(1)));
    node.stop().unwrap();
}

#[test]
fn what_a_failed_sync_was_for_never_leaves() {
    let disk = Memory::default();
    let (files, builder) = durable(&disk);
    let (seen_by, seen) = witnesses();
    let stage = Stage::new(builder, seen_by);
    files.fail(Operation::Sync, 1, ErrorKind::Other);
    stage.send(&stage.all_three());
    let error = stage.node.wait().unwrap_err();
    assert!(matches!(error, NodeError::Journal(JournalError::Io(_))), "{error:?}");
    // The host is woken by the node's end, and the edge never sees anything.
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["host"]);
    let outcome = stage.answer.wait();
    assert!(matches!(outcome, Err(HostError::NoReply(NoReply::Gone))), "{outcome:?}");
}

#[test]
fn all_who_wait_while_one_sync_is_under_way_are_served_by_the_next() {
    const ASKED: usize = 300;
    let disk = Memory::default();
    let (files, builder) = durable(&disk);
    let node = start(builder);
    probe::total(&node);
    let recorded = || {
        let frames = probe::records(disk.crash().storage(), |record, _| match record {
            Record::Round { batches, .. } => Some((*batches).map(|batch| batch.count as usize).sum::<usize>()),
            _ => None,
        });
        frames.into_iter().sum::<usize>()
    };
    let before = recorded();
    let held = SyncsHeld::new(&files);
    let syncs = files.count(Operation::Sync);
    let ask = || node.host().ask::<_, u64>(node.root(), PATIENCE, Tell::Total).unwrap();
    let first = ask();
    until("nobody syncs", || files.count(Operation::Sync) > syncs);
    let others: Vec<Answer<u64>> = (0..ASKED).map(|_| ask()).collect();
    until("rounds wait for the disk", || recorded() == before + 1 + ASKED);
    held.release();
    for answer in [first].into_iter().chain(others) {
        assert_eq!(answer.wait().unwrap(), 0);
    }
    assert_eq!(files.count(Operation::Sync) - syncs, 2, "the one that was held, and one for all others");
    node.stop().unwrap();
}

#[test]
fn what_stays_in_the_node_is_not_synced_for() {
    let disk = Memory::default();
    let (files, builder) = durable(&disk);
    let node = start(builder);
    let there = probe::second_worker(&node);
    let syncs = files.count(Operation::Sync);
    for _ in 0..100 {
        let recorded = rounds(&disk);
        node.host().send(node.root(), &Tell::Forward(there, Box::new(Tell::Add(1, vec![])))).unwrap();
        until("a round waits", || rounds(&disk) > recorded);
    }
    // One may have been asked for before.
    let more = files.count(Operation::Sync) - syncs;
    assert!(more <= 1, "{more} syncs for what nobody outside hears of");
    assert_eq!(node.host().request::<_, u64>(there, PATIENCE, Tell::Total).unwrap(), 100);
    node.stop().unwrap();
}

#[test]
fn a_stop_lets_out_what_waits_for_the_disk() {
    for drain in [PATIENCE, Duration::ZERO] {
        let disk = Memory::default();
        let files = FaultyFiles::new(disk.storage());
        let limits = Limits { drain, ..probe::limits() };
        let builder = probe::builder(Arc::new(files.clone())).durability(Durability::Durable).limits(limits);
        let node = start(builder);
        probe::total(&node);
        let held = SyncsHeld::new(&files);
        let syncs = files.count(Operation::Sync);
        let answer = node.host().ask::<_, u64>(node.root(), PATIENCE, Tell::Total).unwrap();
        until("nobody syncs", || files.count(Operation::Sync) > syncs);
        let (host, root) = (node.host(), node.root());
        let stopping = thread::spawn(move || node.stop());
        // From the moment in which it stops it takes nothing new.
        until("it doesn't stop", || host.send(root, &Tell::Add(0, vec![])).is_err());
        held.release();
        assert_eq!(answer.wait().unwrap(), 0);
        stopping.join().unwrap().unwrap();
    }
}

#[test]
fn what_an_edge_with_a_thread_of_its_own_is_to_say_reaches_it_though_the_node_stops_meanwhile() {
    let disk = Memory::default();
    let files = FaultyFiles::new(disk.storage());
    let limits = Limits { drain: Duration::ZERO, ..probe::limits() };
    let mut builder = probe::builder(Arc::new(files.clone())).durability(Durability::Durable).limits(limits);
    let bell = Bell::default();
    let edge = edge_queue(builder.reactor(RunOn::Thread, Belfry::new(&bell)));
    let node = start(builder);
    probe::total(&node);
    let held = SyncsHeld::new(&files);
    let syncs = files.count(Operation::Sync);
    node.host().send(node.root(), &Tell::Bounce { edge, left: 0 }).unwrap();
    until("nobody syncs", || files.count(Operation::Sync) > syncs);
    let (host, root) = (node.host(), node.root());
    let stopping = thread::spawn(move || node.stop());
    until("it doesn't stop", || host.send(root, &Tell::Add(0, vec![])).is_err());
    // An edge that doesn't wait for the workers has closed soon after.
    (0..10_000).for_each(|_| thread::yield_now());
    held.release();
    stopping.join().unwrap().unwrap();
    assert_eq!(bell.look(|world| (world.taken, world.closed)), (1, true));
}

#[test]
fn the_host_hears_of_a_worker_that_it_asked_for_once_that_is_on_disk() {
    let disk = Memory::default();
    let (files, builder) = durable(&disk);
    let node = start(builder);
    probe::total(&node);
    let held = SyncsHeld::new(&files);
    let syncs = files.count(Operation::Sync);
    let host = node.host();
    let asking = thread::spawn(move || {
        let queue = NodeRequest::queue(NodeId(0));
        host.request::<_, WorkerId>(queue, PATIENCE, |reply| NodeRequest::StartWorker { reply })
    });
    until("nobody syncs", || asking.is_finished() || files.count(Operation::Sync) > syncs);
    let early = asking.is_finished();
    held.release();
    assert_eq!((early, asking.join().unwrap().unwrap()), (false, WorkerId(1)));
    node.stop().unwrap();
}

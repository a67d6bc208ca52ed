//! What a node knows of itself: that it is right, wherever it is read, and that a service can watch itself.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use qnfsm::{
    Context, Fsm, Host, HostError, Kinds, Limits, Next, NoReply, Node, NodeBuilder, NodeId, NodeMetrics, NodePhase,
    NodeRequest, QueueId, Replier, Reply, ReplyTo, Unanswered, WorkerId, WorkerMetrics,
    journal::{
        Record, Storage,
        faulty::{FaultyFiles, Operation},
        holdings::Holdings,
        snapshots::Mark,
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    durable::SyncsHeld,
    files::Memory,
    probe::{
        DIR, Job, Kind, PATIENCE, Tell, builder, gate, kinds, limits, queue, records, second_worker, start, total,
        until_logged,
    },
    ring,
};

/// Reads until what was read is as it should be.
fn until(host: &Host, is_so: impl Fn(&NodeMetrics) -> bool) -> NodeMetrics {
    let begun = Instant::now();
    loop {
        let metrics = host.metrics();
        if is_so(&metrics) {
            return metrics;
        }
        assert!(begun.elapsed() < PATIENCE, "{metrics:#?}");
        std::thread::yield_now();
    }
}

fn of(metrics: &NodeMetrics, worker: u32) -> &WorkerMetrics {
    metrics.workers.iter().find(|metrics| metrics.worker == WorkerId(worker)).unwrap()
}

/// Two workers, dead letters for three reasons, and a panic.
fn eventful(node: &crate::probe::Node) {
    let (host, root) = (node.host(), node.root());
    let there = second_worker(node);
    (0..20).for_each(|value| host.send(there, &Tell::Add(value, vec![0; 100])).unwrap());
    for _ in 0..3 {
        host.send(queue(9, 1), &Tell::Add(1, vec![])).unwrap();
    }
    for _ in 0..2 {
        let nobody: ReplyTo<u64> = replier(&host, root);
        host.send(QueueId::from_raw(root.raw()), &Job { value: 1, reply: nobody }).unwrap();
    }
    host.send(root, &Tell::Spawn(Kind::Restarts)).unwrap();
    let restarts = until_logged(node, |line| line.starts_with(char::is_numeric) && line.contains('/'));
    let (slot, generation) = restarts.split_once('/').unwrap();
    host.send(queue(slot.parse().unwrap(), generation.parse().unwrap()), &Tell::Panic).unwrap();
    assert_eq!(host.request(there, PATIENCE, Tell::Total).unwrap(), 190);
    total(node);
}

/// An address that somebody asked to be answered at, and has stopped waiting.
fn replier(host: &Host, root: QueueId<Tell>) -> ReplyTo<u64> {
    let mut address = None;
    let asked = host.ask(root, PATIENCE, |reply: ReplyTo<u64>| {
        address = Some(reply.clone());
        Tell::Total(reply)
    });
    drop(asked.unwrap());
    address.unwrap()
}

#[test]
fn what_a_worker_counts_is_what_its_journal_shows_it_to_have_done() {
    let disk = Memory::default();
    let node = start(builder(disk.storage()).limits(limits()));
    eventful(&node);
    let (host, progress) = (node.host(), node.progress());
    let read = node.metrics();
    // An answer comes after the round in which it was given, and after the news of that round.
    assert_eq!((of(&read, 0).panics, read.phase), (1, NodePhase::Running));
    assert!(read.workers.iter().map(|worker| worker.rounds).sum::<u64>() >= progress.0);
    assert!(read.uptime_ns > 0 && of(&read, 1).fsms == 1);
    node.stop().unwrap();
    let metrics = host.metrics();
    let playback = ring::replay(&disk.storage(), Path::new(DIR), kinds());
    assert_eq!((metrics.workers.len(), metrics.phase), (2, NodePhase::Stopping));
    for worker in playback.workers() {
        let metrics = of(&metrics, worker.id().0);
        let counters = worker.counters();
        assert_eq!((metrics.rounds, metrics.messages), (worker.rounds(), counters.handled));
        assert_eq!((&metrics.dead_letters, metrics.panics), (&counters.dead_letters, counters.panics));
        assert_eq!((metrics.fsms, metrics.waiting_bytes), (worker.fsms(), worker.waiting_bytes()));
    }
    let dead_letters: Vec<_> = of(&metrics, 0).dead_letters.iter().map(|(why, count)| (why.name(), *count)).collect();
    assert_eq!(dead_letters, [("no_such_queue", 3), ("not_accepted", 2)]);
}

#[test]
fn what_it_counts_goes_on_over_a_restart() {
    let disk = Memory::default();
    let node = start(builder(disk.storage()).limits(limits()));
    eventful(&node);
    let host = node.host();
    node.stop().unwrap();
    let before = host.metrics();
    let node = start(builder(disk.storage()).limits(limits()));
    let after = node.metrics();
    assert_eq!((before.epoch.0, after.epoch.0), (1, 2));
    for worker in [0, 1] {
        let (before, after) = (of(&before, worker), of(&after, worker));
        assert_eq!((&before.dead_letters, before.panics, before.fsms), (&after.dead_letters, after.panics, after.fsms));
        assert!(after.rounds >= before.rounds && after.messages >= before.messages);
    }
    // What the node says of its epoch is of that alone.
    assert!(node.progress().0 <= after.workers.iter().map(|worker| worker.rounds).sum::<u64>() - of(&before, 0).rounds);
    node.stop().unwrap();
}

#[test]
fn bytes_are_the_lengths_of_files_and_each_sync_and_snapshot_is_counted() {
    let disk = Memory::default();
    let every = Limits { snapshot_every_bytes: 2000, segment_bytes: 9000, ..limits() };
    let node = start(builder(disk.storage()).limits(every));
    eventful(&node);
    let host = node.host();
    node.stop().unwrap();
    let (storage, dir) = (disk.storage(), Path::new(DIR));
    let (metrics, holdings) = (host.metrics(), Holdings::look(&*storage, dir).unwrap());
    let journal = metrics.journal.as_ref().unwrap();

    assert!(holdings.segments.len() > 1, "one segment shows little");
    let segment_bytes: u64 = holdings.segments.values().sum();
    assert_eq!((journal.segments, journal.segment_bytes), (holdings.segments.len() as u64, segment_bytes));
    assert_eq!(journal.snapshot_bytes, holdings.snapshots.values().sum::<u64>());
    assert_eq!(journal.retained_bytes(), holdings.bytes());
    // There is one epoch, so its bytes are all there are. Behind the last sync there is nothing but the mark that says so.
    let syncs = records(storage.clone(), |record, _| match record {
        Record::SyncMark { segment, offset } => Some((*segment, *offset)),
        _ => None,
    });
    let (segment, offset) = syncs.last().unwrap();
    let synced_bytes = holdings.segments.range(..segment).map(|(_, bytes)| bytes).sum::<u64>() + offset;
    assert_eq!((journal.written_bytes, journal.synced_bytes), (segment_bytes, synced_bytes));
    assert_eq!((journal.lag_bytes, journal.lag_ns), (0, 0));
    assert_eq!(journal.syncs.count, syncs.len() as u64);
    assert!(journal.syncs.max_ns >= journal.syncs.last_ns && journal.syncs.last_ns > 0);
    let marks = records(storage.clone(), |record, _| Mark::of(record));
    for worker in &metrics.workers {
        let marks: Vec<_> = marks.iter().filter(|mark| mark.worker == worker.worker).collect();
        let identity = qnfsm::journal::Manifest::load(&*storage, dir).unwrap().identity;
        let last = marks.last().unwrap().load(&*storage, dir, identity).unwrap();
        assert_eq!(worker.snapshot_bytes, (last.image().len() + last.driver().len()) as u64);
        let pauses = &worker.snapshot_pauses;
        assert_eq!((pauses.count, pauses.within.iter().sum()), (marks.len() as u64, pauses.count));
        assert!(pauses.last_ns > 0 && pauses.max_ns >= pauses.last_ns && pauses.sum_ns >= pauses.max_ns);
    }
}

#[test]
fn what_the_directory_holds_is_looked_at_while_the_node_runs() {
    let disk = Memory::default();
    let node = start(builder(disk.storage()).limits(limits()));
    eventful(&node);
    let (storage, host) = (disk.storage(), node.host());
    until(&host, |metrics| {
        let retained_bytes = metrics.journal.as_ref().unwrap().retained_bytes();
        retained_bytes > 0 && retained_bytes == Holdings::look(&*storage, Path::new(DIR)).unwrap().bytes()
    });
    node.stop().unwrap();
}

#[test]
fn a_request_that_a_service_does_not_answer_is_counted_as_held() {
    let mut builder = builder(Memory::default().storage()).limits(limits());
    let asked = Arc::new(Mutex::new(None));
    let asks = asked.clone();
    let service = builder.service(1, Unanswered::Interrupted, move |job: Job, replier: &Replier| {
        *asks.lock().unwrap() = Some((job, replier.clone()));
    });
    let node = start(builder);
    let host = node.host();
    assert_eq!(of(&host.metrics(), 0).leaving_bytes, 0);
    host.send(node.root(), &Tell::Call { service, value: 1, within: PATIENCE }).unwrap();
    let metrics = until(&host, |metrics| of(metrics, 0).leaving_bytes > 0);
    assert!(metrics.held_bytes >= of(&metrics, 0).leaving_bytes);
    until(&host, |_| asked.lock().unwrap().is_some());
    let (job, replier) = asked.lock().unwrap().take().unwrap();
    replier.reply(&job.reply, &7);
    until_logged(&node, |line| line.ends_with("Ok(7)"));
    node.stop().unwrap();
}

const LONG: Duration = Duration::from_millis(60);

fn is_long(ns: u64) -> bool {
    Duration::from_nanos(ns) >= LONG
}

#[test]
fn an_inbox_that_nobody_empties_lags_until_it_is_emptied() {
    let short = Limits { watchdog: LONG / 2, ..limits() };
    let node = start(builder(Memory::default().storage()).limits(short));
    let host = node.host();
    let gate = gate(&node, node.root());
    assert_eq!(of(&host.metrics(), 0).inbox_lag_ns, 0, "it was just taken out");
    (0..3).for_each(|value| host.send(node.root(), &Tell::Add(value, vec![])).unwrap());
    let metrics = until(&host, |metrics| is_long(of(metrics, 0).inbox_lag_ns));
    let worker = of(&metrics, 0);
    assert!(worker.inbox_bytes > 0 && worker.inbox_batches >= 3 && metrics.held_bytes >= worker.inbox_bytes);
    // That it was reported doesn't end the round.
    until(&host, |metrics| is_long(of(metrics, 0).round_ns));
    gate.open();
    until(&host, |metrics| {
        let WorkerMetrics { inbox_lag_ns, inbox_bytes, inbox_batches, round_ns, .. } = *of(metrics, 0);
        (inbox_lag_ns, inbox_bytes, inbox_batches, round_ns) == (0, 0, 0, 0)
    });
    node.stop().unwrap();
}

#[test]
fn a_journal_lags_while_the_disk_does() {
    let files = FaultyFiles::new(Memory::default().storage());
    let node = start(builder(Arc::new(files.clone())).limits(limits()));
    let (host, before) = (node.host(), files.count(Operation::Sync));
    let syncs = SyncsHeld::new(&files);
    host.send(node.root(), &Tell::Add(1, vec![0; 1000])).unwrap();
    until(&host, |_| files.count(Operation::Sync) > before);
    let lag_ns = host.metrics().journal.unwrap().lag_ns;
    // The caretaker is waiting for the disk, so it is those who ask that look.
    let metrics = until(&host, |metrics| is_long(metrics.journal.as_ref().unwrap().lag_ns.saturating_sub(lag_ns)));
    assert!(metrics.journal.unwrap().lag_bytes >= 1000);
    syncs.release();
    until(&host, |metrics| {
        let journal = metrics.journal.as_ref().unwrap();
        let is_counted = is_long(journal.syncs.max_ns) && is_long(journal.syncs.sum_ns);
        is_counted && (journal.lag_bytes, journal.lag_ns) == (0, 0)
    });
    node.stop().unwrap();
}

/// Asks its node for metrics: at its start, and then as often as it is told.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Watcher {
    heard: Vec<Result<NodeMetrics, NoReply>>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Watch {
    /// Once, or again and again.
    Ask,
    Every(Duration),
    Keep(String),
    Metrics(Reply<NodeMetrics>),
    Heard(ReplyTo<Vec<Result<NodeMetrics, NoReply>>>),
}

impl From<Reply<NodeMetrics>> for Watch {
    fn from(reply: Reply<NodeMetrics>) -> Watch {
        Watch::Metrics(reply)
    }
}

impl Watcher {
    fn ask(cx: &mut Context<'_, Watcher>) {
        cx.request(NodeRequest::queue(NodeId(0)), PATIENCE, |reply| NodeRequest::Metrics { reply });
    }
}

impl Fsm for Watcher {
    const NAME: &'static str = "watcher";
    type State = ();
    type Message = Watch;
    fn start(&mut self, cx: &mut Context<'_, Watcher>) {
        Watcher::ask(cx);
    }
    fn handle(&mut self, (): (), message: Watch, cx: &mut Context<'_, Watcher>) -> Next<Watcher> {
        match message {
            Watch::Ask => Watcher::ask(cx),
            Watch::Every(period) => {
                cx.every("watch", period, Watch::Ask);
            }
            Watch::Keep(_) => return Next::Postpone(message),
            Watch::Metrics(reply) => self.heard.push(reply.outcome),
            Watch::Heard(reply) => cx.reply(reply, self.heard.clone()),
        }
        Next::Stay
    }
}

fn watching() -> Kinds {
    Kinds::new().with::<Watcher>().replies::<Watch, NodeMetrics>().message::<Vec<Result<NodeMetrics, NoReply>>>()
}

fn watcher(storage: Arc<dyn Storage>) -> Node<Watch> {
    let builder = NodeBuilder::new("watcher", watching()).dir(DIR).storage(storage).seed(1);
    builder.limits(limits()).start(&Watcher::default()).unwrap()
}

/// What it has heard, once it is so much.
fn heard(node: &Node<Watch>, least: usize) -> Vec<Result<NodeMetrics, NoReply>> {
    let begun = Instant::now();
    loop {
        let heard = node.host().request(node.root(), PATIENCE, Watch::Heard).unwrap();
        if heard.len() >= least {
            return heard;
        }
        assert!(begun.elapsed() < PATIENCE, "{heard:?}");
    }
}

#[test]
fn a_service_that_watches_itself_sees_itself_at_work_and_replays_equal() {
    let disk = Memory::default();
    let node = watcher(disk.storage());
    node.host().send(node.root(), &Watch::Every(Duration::from_millis(1))).unwrap();
    let live = heard(&node, 10);
    node.stop().unwrap();
    let readings: Vec<_> = live.iter().map(|heard| heard.as_ref().unwrap()).collect();
    for pair in readings.windows(2) {
        let [earlier, later] = pair else { unreachable!("there are two in it") };
        let rounds = [earlier, later].map(|metrics| of(metrics, 0).rounds);
        assert!(rounds[0] < rounds[1] && earlier.at < later.at, "each reading came of a round of its own");
        let written = [earlier, later].map(|metrics| metrics.journal.as_ref().unwrap().written_bytes);
        assert!(written[0] < written[1]);
    }
    // The digest of each round is compared, and the FSM has the very numbers.
    let playback = ring::replay(&disk.storage(), Path::new(DIR), watching());
    let worker = playback.workers().next().unwrap();
    let (replayed, ()) = worker.fsm::<Watcher>(QueueId::from_raw(queue(0, 1).raw())).unwrap();
    assert_eq!(replayed.heard[..live.len()], live);
}

#[test]
fn wherever_the_node_is_killed_a_reading_is_answered_once() {
    let disk = Memory::default();
    let node = watcher(disk.storage());
    heard(&node, 1);
    let crashed = disk.crash();
    drop(node);
    let ends = crashed.record_ends(Path::new(DIR));
    assert!(ends.len() >= 4, "{ends:?}");
    for end in ends {
        let left = crashed.crash();
        left.cut(Path::new(DIR), end);
        let node = watcher(left.storage());
        let first = heard(&node, 1);
        node.host().send(node.root(), &Watch::Ask).unwrap();
        let both = heard(&node, 2);
        assert!(both.iter().all(Result::is_ok) && both.len() == 2 && both[0] == first[0], "cut at {end}: {both:?}");
        node.stop().unwrap();
    }
}

#[test]
fn the_largest_queues_are_named_and_forgotten_when_they_are_empty() {
    let node = watcher(Memory::default().storage());
    let host = node.host();
    for text in ["", "some"] {
        host.send(node.root(), &Watch::Keep(text.to_owned())).unwrap();
    }
    let metrics = until(&host, |metrics| !of(metrics, 0).largest_queues.is_empty());
    let worker = of(&metrics, 0);
    let [largest] = worker.largest_queues[..] else { panic!("{worker:?}") };
    assert_eq!((largest.queue, largest.bytes), (node.root().raw(), worker.waiting_bytes));
    // Two more: it is looked for again, though the worker rests by then.
    host.send(node.root(), &Watch::Keep("more".to_owned())).unwrap();
    let more = until(&host, |metrics| of(metrics, 0).largest_queues[0].bytes > largest.bytes);
    assert_eq!(of(&more, 0).largest_queues[0].bytes, of(&more, 0).waiting_bytes);
    node.stop().unwrap();
}

#[test]
fn the_host_may_ask_as_an_fsm_does_and_hears_where_the_type_is_not_registered() {
    let node = watcher(Memory::default().storage());
    let ask = |host: &Host| -> Result<NodeMetrics, HostError> {
        host.request(NodeRequest::queue(NodeId(0)), PATIENCE, |reply| NodeRequest::Metrics { reply })
    };
    let metrics = ask(&node.host()).unwrap();
    assert_eq!((metrics.workers.len(), metrics.journal.is_some()), (1, true));
    node.stop().unwrap();
    let node = start(builder(Memory::default().storage()));
    let refused = ask(&node.host());
    assert!(matches!(refused, Err(HostError::NoReply(NoReply::Failed))), "{refused:?}");
    assert_eq!(total(&node), 0, "the node goes on");
    node.stop().unwrap();
}

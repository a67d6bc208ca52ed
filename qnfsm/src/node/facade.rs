//! Publishes what a node knows of itself through the [`metrics`] facade, for whichever recorder the program has installed.
//!
//! Every name that is published is in this file, and in the table of the guide ("Watching a node"), which a test compares with what
//! comes out. Counters and gauges are set a few times a second by the caretaker; what takes long and is seldom is put into its
//! histogram by whoever did it. Workers' threads do no more than that, once a snapshot.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use metrics::{
    Counter, Gauge, Histogram, Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::{
    id::{NodeId, WorkerId},
    message::Undelivered,
    node_metrics::{JournalMetrics, NodeMetrics, NodePhase, WorkerMetrics},
};

/// One node's way to the recorder. Clones are the same.
#[derive(Clone)]
pub(super) struct Facade(Arc<Way>);

struct Way {
    /// What stands on all that is published of it.
    program: String,
    node: NodeId,
    /// Asked of the recorder when there is first something to publish, and kept: to publish allocates nothing then.
    handles: Mutex<Handles>,
    syncs: OnceLock<Histogram>,
}

#[derive(Default)]
struct Handles {
    node: Option<Vec<Handle>>,
    workers: BTreeMap<WorkerId, WorkerHandles>,
}

/// Something that is published, of `T`.
struct Metric<T> {
    name: &'static str,
    unit: Unit,
    what: &'static str,
    value: Value<T>,
}

/// Where its value comes from; from nowhere in a node that doesn't have it.
enum Value<T> {
    Counter(fn(&T) -> Option<u64>),
    Gauge(fn(&T) -> Option<f64>),
}

const fn total<T>(name: &'static str, unit: Unit, value: fn(&T) -> Option<u64>, what: &'static str) -> Metric<T> {
    Metric { name, unit, what, value: Value::Counter(value) }
}

const fn level<T>(name: &'static str, unit: Unit, value: fn(&T) -> Option<f64>, what: &'static str) -> Metric<T> {
    Metric { name, unit, what, value: Value::Gauge(value) }
}

#[rustfmt::skip]
const OF_NODE: [Metric<NodeMetrics>; 15] = [
    level("qnfsm_epoch", Unit::Count, |node| some(node.epoch.0), "Which start of the node it is."),
    level("qnfsm_uptime_seconds", Unit::Seconds, |node| seconds(node.uptime_ns), "How long the node has been running."),
    level("qnfsm_phase", Unit::Count, |node| some(phase(node.phase)), "0 runs, 1 finishes what is under way, 2 stops."),
    level("qnfsm_held_bytes", Unit::Bytes, |node| count(node.held_bytes), "Bytes in inboxes and queues and held for edges."),
    level("qnfsm_budget_bytes", Unit::Bytes, |node| count(node.budget_bytes), "Past so many the node takes no new work."),
    total("qnfsm_journal_written_bytes_total", Unit::Bytes, |node| Some(journal(node)?.written_bytes), "Bytes of journal that the system was given."),
    total("qnfsm_journal_synced_bytes_total", Unit::Bytes, |node| Some(journal(node)?.synced_bytes), "Bytes of journal that are on disk."),
    level("qnfsm_journal_lag_bytes", Unit::Bytes, |node| count(journal(node)?.lag_bytes), "Bytes of journal that are not known to be on disk."),
    level("qnfsm_journal_lag_seconds", Unit::Seconds, |node| seconds(journal(node)?.lag_ns), "How long the oldest of these has waited."),
    total("qnfsm_journal_syncs_total", Unit::Count, |node| Some(journal(node)?.syncs.count), "Syncs that had something to bring to disk."),
    level("qnfsm_journal_segments", Unit::Count, |node| count(journal(node)?.segments), "Segments in the directory."),
    level("qnfsm_retained_bytes", Unit::Bytes, |node| count(journal(node)?.retained_bytes()), "All bytes that the directory holds."),
    level("qnfsm_retained_segment_bytes", Unit::Bytes, |node| count(journal(node)?.segment_bytes), "The bytes of its segments."),
    level("qnfsm_retained_snapshot_bytes", Unit::Bytes, |node| count(journal(node)?.snapshot_bytes), "The bytes of its snapshots."),
    level("qnfsm_retained_prepared_bytes", Unit::Bytes, |node| count(journal(node)?.prepared_bytes), "The bytes of the segment that is made beforehand."),
];

#[rustfmt::skip]
const OF_WORKER: [Metric<WorkerMetrics>; 13] = [
    total("qnfsm_rounds_total", Unit::Count, |worker| Some(worker.rounds), "Rounds that the worker has run."),
    total("qnfsm_messages_total", Unit::Count, |worker| Some(worker.messages), "Messages that handlers were given."),
    total("qnfsm_panics_total", Unit::Count, |worker| Some(worker.panics), "Handlers that panicked."),
    level("qnfsm_fsms", Unit::Count, |worker| some(worker.fsms), "FSMs that live in the worker."),
    level("qnfsm_round_running_seconds", Unit::Seconds, |worker| seconds(worker.round_ns), "How long the round that runs has been running."),
    level("qnfsm_inbox_batches", Unit::Count, |worker| count(worker.inbox_batches), "Batches in the worker's inbox."),
    level("qnfsm_inbox_bytes", Unit::Bytes, |worker| count(worker.inbox_bytes), "Bytes in the worker's inbox."),
    level("qnfsm_inbox_lag_seconds", Unit::Seconds, |worker| seconds(worker.inbox_lag_ns), "How long the oldest batch in the inbox has waited."),
    level("qnfsm_waiting_bytes", Unit::Bytes, |worker| count(worker.waiting_bytes), "What waits in the queues of the worker's FSMs."),
    level("qnfsm_leaving_bytes", Unit::Bytes, |worker| count(worker.leaving_bytes), "What the worker holds for edges."),
    level("qnfsm_largest_queue_bytes", Unit::Bytes, |worker| count(worker.largest_queues.first().map_or(0, |queue| queue.bytes)), "What waits in the worker's largest queue."),
    total("qnfsm_snapshots_total", Unit::Count, |worker| Some(worker.snapshot_pauses.count), "Snapshots taken of the worker."),
    level("qnfsm_snapshot_bytes", Unit::Bytes, |worker| count(worker.snapshot_bytes), "The length of the worker's last snapshot."),
];

const DEAD_LETTERS: &str = "qnfsm_dead_letters_total";
const SYNC: &str = "qnfsm_journal_sync_seconds";
const SNAPSHOT_PAUSE: &str = "qnfsm_snapshot_pause_seconds";
const DIVERGENCES: &str = "qnfsm_divergences_total";

fn some(number: u32) -> Option<f64> {
    Some(f64::from(number))
}

/// What recorders take for a number: exact up to 2^53.
fn count(number: u64) -> Option<f64> {
    Some(number as f64)
}

fn seconds(ns: u64) -> Option<f64> {
    Some(Duration::from_nanos(ns).as_secs_f64())
}

fn journal(node: &NodeMetrics) -> Option<&JournalMetrics> {
    node.journal.as_ref()
}

fn phase(phase: NodePhase) -> u32 {
    match phase {
        NodePhase::Running => 0,
        NodePhase::Draining => 1,
        NodePhase::Stopping => 2,
    }
}

/// What the recorder gave for a metric; nothing for one that the node doesn't have, which it never will.
enum Handle {
    Counter(Counter),
    Gauge(Gauge),
    None,
}

/// What the recorder gave for one worker.
struct WorkerHandles {
    metrics: Vec<Handle>,
    /// In the order of the reasons.
    dead_letters: Vec<Counter>,
}

impl<T> Metric<T> {
    fn describe(&self) {
        match self.value {
            Value::Counter(_) => describe_counter!(self.name, self.unit, self.what),
            Value::Gauge(_) => describe_gauge!(self.name, self.unit, self.what),
        }
    }

    fn handle(&self, of: &T, labels: &[Label]) -> Handle {
        match self.value {
            Value::Counter(value) if value(of).is_some() => Handle::Counter(counter!(self.name, labels.iter())),
            Value::Gauge(value) if value(of).is_some() => Handle::Gauge(gauge!(self.name, labels.iter())),
            _ => Handle::None,
        }
    }

    fn publish(&self, of: &T, handle: &Handle) {
        match (&self.value, handle) {
            (Value::Counter(value), Handle::Counter(counter)) => counter.absolute(value(of).unwrap_or_default()),
            (Value::Gauge(value), Handle::Gauge(gauge)) => gauge.set(value(of).unwrap_or_default()),
            _ => {}
        }
    }
}

impl WorkerHandles {
    fn of(worker: &WorkerMetrics, mut labels: Vec<Label>) -> WorkerHandles {
        let metrics = OF_WORKER.iter().map(|metric| metric.handle(worker, &labels)).collect();
        let dead_letters = Undelivered::ALL.map(|why| {
            labels.push(Label::from_static_parts("reason", why.name()));
            let counter = counter!(DEAD_LETTERS, labels.iter());
            labels.pop();
            counter
        });
        WorkerHandles { metrics, dead_letters: dead_letters.into() }
    }

    fn publish(&self, worker: &WorkerMetrics) {
        OF_WORKER.iter().zip(&self.metrics).for_each(|(metric, handle)| metric.publish(worker, handle));
        for (why, counter) in Undelivered::ALL.iter().zip(&self.dead_letters) {
            counter.absolute(worker.dead_letters.get(why).copied().unwrap_or_default());
        }
    }
}

impl Facade {
    pub(super) fn new(program: &str, node: NodeId) -> Facade {
        Facade(Arc::new(Way { program: program.to_owned(), node, handles: Mutex::default(), syncs: OnceLock::new() }))
    }

    fn labels(&self) -> Vec<Label> {
        vec![Label::new("program", self.0.program.clone()), Label::new("node", self.0.node.0.to_string())]
    }

    fn worker_labels(&self, worker: WorkerId) -> Vec<Label> {
        let mut labels = self.labels();
        labels.push(Label::new("worker", worker.0.to_string()));
        labels
    }

    /// Says of all that is published of a running node what it is.
    pub(super) fn describe(&self) {
        OF_NODE.iter().for_each(Metric::describe);
        OF_WORKER.iter().for_each(Metric::describe);
        describe_counter!(DEAD_LETTERS, Unit::Count, "Messages that could not be delivered.");
        describe_histogram!(SYNC, Unit::Seconds, "How long a sync of the journal took.");
        describe_histogram!(SNAPSHOT_PAUSE, Unit::Seconds, "How long a worker stood still for a snapshot.");
    }

    /// Sets the counters and gauges.
    pub(super) fn publish(&self, metrics: impl FnOnce() -> NodeMetrics) {
        let metrics = metrics();
        let mut handles = self.0.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let Handles { node, workers } = &mut *handles;
        let node = node.get_or_insert_with(|| {
            let labels = self.labels();
            OF_NODE.iter().map(|metric| metric.handle(&metrics, &labels)).collect()
        });
        OF_NODE.iter().zip(node).for_each(|(metric, handle)| metric.publish(&metrics, handle));
        for worker in &metrics.workers {
            let id = worker.worker;
            let of_worker = workers.entry(id);
            of_worker.or_insert_with(|| WorkerHandles::of(worker, self.worker_labels(id))).publish(worker);
        }
    }

    /// A sync took so long.
    pub(super) fn synced(&self, took: Duration) {
        self.0.syncs.get_or_init(|| histogram!(SYNC, self.labels())).record(took);
    }

    /// A worker stood still so long for a snapshot.
    pub(super) fn was_snapshot(&self, worker: WorkerId, took: Duration) {
        histogram!(SNAPSHOT_PAUSE, self.worker_labels(worker)).record(took);
    }

    /// The node's rounds, run again at its start, did something else than was recorded.
    pub(super) fn diverged(&self) {
        describe_counter!(DIVERGENCES, Unit::Count, "Rounds that did something else when they were run again.");
        let mut labels = self.labels();
        labels.push(Label::from_static_parts("found_by", "recovery"));
        counter!(DIVERGENCES, labels).increment(1);
    }
}

//! What a node knows of itself at a moment, as plain data: what the host program reads ([`Node::metrics`](crate::Node::metrics)),
//! and what an FSM is answered that asks for it ([`NodeRequest::Metrics`](crate::NodeRequest::Metrics)).
//!
//! Times are in nanoseconds, lengths in bytes. Nothing here is measured for its own sake: the node's threads keep these numbers
//! anyway, and whoever asks gathers them.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    id::{Epoch, RawQueueId, WorkerId},
    message::Undelivered,
    time::Time,
};

/// What a node knows of itself at a moment.
///
/// As the answer to [`NodeRequest::Metrics`](crate::NodeRequest::Metrics) it is an input like any other: it is recorded, so a
/// service that watches itself is replayed with the numbers that it saw. It starts out as nothing known, for tests of such FSMs:
///
/// ```
/// use qnfsm::NodeMetrics;
///
/// let mut crowded = NodeMetrics::default();
/// crowded.held_bytes = 300 << 20;
/// crowded.budget_bytes = 256 << 20;
/// assert!(crowded.held_bytes > crowded.budget_bytes);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeMetrics {
    /// When they were gathered, by the node's clock. What its threads do meanwhile may be in one number and not in the next.
    pub at: Time,
    /// Which start of the node it is.
    pub epoch: Epoch,
    /// How long it has been running since.
    pub uptime_ns: u64,
    /// What it is doing.
    pub phase: NodePhase,
    /// Bytes in inboxes, in queues, and held by and for edges: what [`Limits::budget_bytes`](crate::Limits) is about.
    pub held_bytes: u64,
    /// That budget.
    pub budget_bytes: u64,
    /// Its workers, in the order of their numbers.
    pub workers: Vec<WorkerMetrics>,
    /// Its journal and directory; `None` where nothing is recorded.
    pub journal: Option<JournalMetrics>,
}

impl Default for NodeMetrics {
    fn default() -> NodeMetrics {
        NodeMetrics {
            at: Time::ZERO,
            epoch: Epoch::FIRST,
            uptime_ns: 0,
            phase: NodePhase::Running,
            held_bytes: 0,
            budget_bytes: 0,
            workers: Vec::new(),
            journal: None,
        }
    }
}

/// What a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodePhase {
    /// It runs.
    Running,
    /// It takes no new work and finishes what is under way.
    Draining,
    /// Its workers leave, or have left, their loops.
    Stopping,
}

/// What is known of one worker. What it counts is part of it, and goes on over restarts; snapshots are those of this start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Its number.
    pub worker: WorkerId,
    /// The rounds that it has run.
    pub rounds: u64,
    /// Messages that handlers were given, starts of FSMs among them.
    pub messages: u64,
    /// Handlers that panicked.
    pub panics: u64,
    /// Messages that could not be delivered, by reason; reasons that didn't occur are left out.
    pub dead_letters: BTreeMap<Undelivered, u64>,
    /// FSMs that live in it.
    pub fsms: u32,
    /// How long the round that runs has been running; 0 between two rounds.
    pub round_ns: u64,
    /// Batches in its inbox, and other news for its thread.
    pub inbox_batches: u64,
    /// Bytes of the batches in its inbox.
    pub inbox_bytes: u64,
    /// How long the oldest batch in its inbox has waited there, at least; it may be some tens of milliseconds more.
    pub inbox_lag_ns: u64,
    /// What the messages weigh that wait in its FSMs' queues, as [`Worker::waiting_bytes`](crate::Worker::waiting_bytes) has it.
    pub waiting_bytes: u64,
    /// Bytes that are held for edges: requests that are not answered, outputs that wait for the disk.
    pub leaving_bytes: u64,
    /// Its largest queues, the largest first, at most three. They are looked for about once a second where that is quick (up to
    /// 65,536 FSMs, and 16 MiB in their queues), and where the node is over its budget; otherwise none are named.
    pub largest_queues: Vec<QueueMetrics>,
    /// How long it stood still for each of its snapshots.
    pub snapshot_pauses: Durations,
    /// The length of its last snapshot.
    pub snapshot_bytes: u64,
}

/// What is known of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueMetrics {
    /// The queue.
    pub queue: RawQueueId,
    /// What the messages weigh that wait in it, postponed ones among them.
    pub bytes: u64,
}

/// What is known of a node's journal and directory, or of what stands for them in memory ([`Durability::Memory`](crate::Durability)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournalMetrics {
    /// Bytes that the operating system was given since this start.
    pub written_bytes: u64,
    /// How many of them are known to be on disk.
    pub synced_bytes: u64,
    /// How many others are to be brought there. What says that a sync was done isn't, unless something comes behind it.
    pub lag_bytes: u64,
    /// How long the oldest of these has waited, at least; it may be some tens of milliseconds more.
    pub lag_ns: u64,
    /// How long each sync of this start took that had something to bring to disk, with the write before it, and with the wait for
    /// one that was under way.
    pub syncs: Durations,
    /// The segments in the directory, when it was last looked at, which is about once a second; so are the lengths below.
    pub segments: u64,
    /// The bytes of these.
    pub segment_bytes: u64,
    /// The bytes of the snapshots.
    pub snapshot_bytes: u64,
    /// The bytes of the segment that is made beforehand.
    pub prepared_bytes: u64,
}

impl JournalMetrics {
    /// All bytes that the directory holds: what [`Limits::retain_bytes`](crate::Limits) is about.
    #[must_use]
    pub fn retained_bytes(&self) -> u64 {
        self.segment_bytes + self.snapshot_bytes + self.prepared_bytes
    }
}

/// How long things took that happen now and then.
///
/// ```
/// use qnfsm::Durations;
///
/// let none = Durations::default();
/// assert_eq!((none.count, none.within.len()), (0, Durations::BOUNDS_NS.len() + 1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Durations {
    /// How many there were.
    pub count: u64,
    /// How long all of them took together.
    pub sum_ns: u64,
    /// How long the last one took.
    pub last_ns: u64,
    /// How long the longest took.
    pub max_ns: u64,
    /// By [`Durations::BOUNDS_NS`], how many took up to so long and longer than the bound before; then how many took longer than
    /// any bound.
    pub within: Vec<u64>,
}

impl Durations {
    /// 100 and 300 µs; 1, 3, 10, 30, 100 and 300 ms; 1 and 3 s.
    pub const BOUNDS_NS: [u64; 10] = [
        100_000,
        300_000,
        1_000_000,
        3_000_000,
        10_000_000,
        30_000_000,
        100_000_000,
        300_000_000,
        1_000_000_000,
        3_000_000_000,
    ];

    /// One more took so long.
    pub(crate) fn count(&mut self, took: Duration) {
        let took_ns = nanos(took);
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(took_ns);
        self.last_ns = took_ns;
        self.max_ns = self.max_ns.max(took_ns);
        self.within[Durations::BOUNDS_NS.partition_point(|bound| *bound < took_ns)] += 1;
    }
}

impl Default for Durations {
    fn default() -> Durations {
        let within = vec![0; Durations::BOUNDS_NS.len() + 1];
        Durations { count: 0, sum_ns: 0, last_ns: 0, max_ns: 0, within }
    }
}

/// A time as it stands in metrics.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl WorkerMetrics {
    /// A worker of which nothing is known yet: for tests of FSMs that look at metrics.
    #[must_use]
    pub fn new(worker: WorkerId) -> WorkerMetrics {
        WorkerMetrics {
            worker,
            rounds: 0,
            messages: 0,
            panics: 0,
            dead_letters: BTreeMap::new(),
            fsms: 0,
            round_ns: 0,
            inbox_batches: 0,
            inbox_bytes: 0,
            inbox_lag_ns: 0,
            waiting_bytes: 0,
            leaving_bytes: 0,
            largest_queues: Vec::new(),
            snapshot_pauses: Durations::default(),
            snapshot_bytes: 0,
        }
    }
}

impl QueueMetrics {
    /// A queue and what waits in it.
    #[must_use]
    pub fn new(queue: RawQueueId, bytes: u64) -> QueueMetrics {
        QueueMetrics { queue, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_counted_under_the_first_bound_that_it_does_not_pass() {
        let mut durations = Durations::default();
        let [first, second, ..] = Durations::BOUNDS_NS;
        let longest = Durations::BOUNDS_NS[9] + 1;
        for took_ns in [0, first, first + 1, second, longest] {
            durations.count(Duration::from_nanos(took_ns));
        }
        assert_eq!(durations.within, [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((durations.count, durations.sum_ns), (5, 2 * first + 1 + second + longest));
        durations.count(Duration::from_nanos(7));
        assert_eq!((durations.last_ns, durations.max_ns), (7, longest));
    }
}

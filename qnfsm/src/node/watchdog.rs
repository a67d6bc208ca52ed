//! What other threads see of the workers: how far each has come, what it has counted, which round it runs since when. Says so
//! of a round that doesn't end.
//!
//! Its own thread tells that with plain stores into a line of memory that no other worker writes, once a round and never for a
//! message.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::shared::LOCK_REASON;
use crate::{
    id::{NodeId, Place, RawQueueId, WorkerId},
    message::Undelivered,
    node_metrics::{Durations, WorkerMetrics, nanos},
    time::Time,
    worker::{Turn, Worker},
};

/// What is seen of a worker. Its thread alone writes that, but for what was reported, and no other worker's beside it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct RoundWatch {
    /// The rounds that the worker has run and the messages that it has handled; and how many it had when it came to this node.
    rounds: AtomicU64,
    messages: AtomicU64,
    rounds_before: AtomicU64,
    messages_before: AtomicU64,
    panics: AtomicU64,
    fsms: AtomicU32,
    waiting_bytes: AtomicU64,
    leaving_bytes: AtomicU64,
    /// It is to look for its largest queues.
    is_asked: AtomicBool,
    /// By the number of the reason.
    dead_letters: [AtomicU64; Undelivered::ALL.len()],
    /// When the round that runs began, in nanoseconds of the node's clock; 0 between rounds, and [`REPORTED`] once it was said that
    /// it takes long.
    begun_ns: AtomicU64,
    /// When that was, once it was said.
    reported_begun_ns: AtomicU64,
    round: AtomicU64,
    /// The FSM whose turn it is.
    pub(super) turn: Turn,
    snapshots: Mutex<Snapshots>,
}

/// What the worker's snapshots cost it.
#[derive(Debug, Clone, Default)]
struct Snapshots {
    pauses: Durations,
    /// The length of the last one.
    bytes: u64,
}

const REPORTED: u64 = u64::MAX;

impl RoundWatch {
    pub(super) fn round_begins(&self, round: u64, now: Time) {
        self.round.store(round, Ordering::Relaxed);
        self.begun_ns.store(now.as_nanos(), Ordering::Release);
    }

    /// Says whether it was reported that the round takes long: then it is recorded, or about to be, that it hasn't ended.
    pub(super) fn round_ends(&self, worker: &Worker) -> bool {
        let begun_ns = self.begun_ns.swap(0, Ordering::AcqRel);
        self.tell(worker);
        begun_ns == REPORTED
    }

    /// The worker comes to this node, new or brought back.
    pub(super) fn begins(&self, worker: &Worker) {
        self.rounds_before.store(worker.rounds(), Ordering::Relaxed);
        self.messages_before.store(worker.counters().handled, Ordering::Relaxed);
        self.tell(worker);
    }

    /// Tells what the worker has counted.
    fn tell(&self, worker: &Worker) {
        let counters = worker.counters();
        self.rounds.store(worker.rounds(), Ordering::Relaxed);
        self.messages.store(counters.handled, Ordering::Relaxed);
        self.panics.store(counters.panics, Ordering::Relaxed);
        self.fsms.store(worker.fsms(), Ordering::Relaxed);
        for (why, count) in &counters.dead_letters {
            self.dead_letters[*why as usize].store(*count, Ordering::Relaxed);
        }
    }

    /// Tells how much waits in the worker's queues, and is held for edges.
    pub(super) fn tell_bytes(&self, waiting: u64, leaving: u64) {
        self.waiting_bytes.store(waiting, Ordering::Relaxed);
        self.leaving_bytes.store(leaving, Ordering::Relaxed);
    }

    /// True once after it was asked for its largest queues.
    pub(super) fn takes_asking(&self) -> bool {
        self.is_asked.swap(false, Ordering::Relaxed)
    }

    /// The worker stood still so long for a snapshot of that many bytes.
    pub(super) fn was_snapshot(&self, took: Duration, bytes: u64) {
        let mut snapshots = self.snapshots();
        snapshots.pauses.count(took);
        snapshots.bytes = bytes;
    }

    fn snapshots(&self) -> MutexGuard<'_, Snapshots> {
        self.snapshots.lock().expect(LOCK_REASON)
    }

    /// Rounds and messages since it came to this node.
    fn progress(&self) -> (u64, u64) {
        let since = |now: &AtomicU64, before: &AtomicU64| {
            now.load(Ordering::Relaxed).saturating_sub(before.load(Ordering::Relaxed))
        };
        (since(&self.rounds, &self.rounds_before), since(&self.messages, &self.messages_before))
    }

    /// How long the round that runs has been running.
    fn runs(&self, now: Time) -> Duration {
        match self.begun_ns.load(Ordering::Acquire) {
            0 => Duration::ZERO,
            REPORTED => now.since(Time::from_nanos(self.reported_begun_ns.load(Ordering::Relaxed))),
            begun_ns => now.since(Time::from_nanos(begun_ns)),
        }
    }

    /// What its thread has told.
    fn metrics(&self, worker: WorkerId, now: Time) -> WorkerMetrics {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let dead_letters = Undelivered::ALL.into_iter().zip(self.dead_letters.iter().map(count));
        let Snapshots { pauses, bytes } = self.snapshots().clone();
        WorkerMetrics {
            rounds: count(&self.rounds),
            messages: count(&self.messages),
            panics: count(&self.panics),
            dead_letters: dead_letters.filter(|(_, count)| *count != 0).collect(),
            fsms: self.fsms.load(Ordering::Relaxed),
            round_ns: nanos(self.runs(now)),
            waiting_bytes: count(&self.waiting_bytes),
            leaving_bytes: count(&self.leaving_bytes),
            snapshot_pauses: pauses,
            snapshot_bytes: bytes,
            ..WorkerMetrics::new(worker)
        }
    }
}

/// The watches of all workers.
#[derive(Debug, Default)]
pub(super) struct Watchdog(Mutex<BTreeMap<WorkerId, Arc<RoundWatch>>>);

impl Watchdog {
    pub(super) fn watch(&self, worker: WorkerId) -> Arc<RoundWatch> {
        self.0.lock().expect(LOCK_REASON).entry(worker).or_default().clone()
    }

    /// The rounds that all workers have run in this epoch, and the messages that were handled.
    pub(super) fn progress(&self) -> (u64, u64) {
        let watches = self.0.lock().expect(LOCK_REASON);
        let progress = watches.values().map(|watch| watch.progress());
        progress.fold((0, 0), |(rounds, messages), (more_rounds, more)| (rounds + more_rounds, messages + more))
    }

    /// What the threads of all workers have told.
    pub(super) fn metrics(&self, now: Time) -> Vec<WorkerMetrics> {
        let watches = self.0.lock().expect(LOCK_REASON);
        watches.iter().map(|(worker, watch)| watch.metrics(*worker, now)).collect()
    }

    /// The workers that are to look for their largest queues now: those in which something waits and that have run rounds since
    /// `asked`. They find out when they are called.
    pub(super) fn ask_for_largest(&self, asked: &mut BTreeMap<WorkerId, u64>) -> Vec<WorkerId> {
        let watches = self.0.lock().expect(LOCK_REASON);
        let asks = watches.iter().filter(|(worker, watch)| {
            let rounds = watch.rounds.load(Ordering::Relaxed);
            watch.waiting_bytes.load(Ordering::Relaxed) != 0
                && asked.insert(**worker, rounds) != Some(rounds)
                && !watch.is_asked.swap(true, Ordering::Relaxed)
        });
        asks.map(|(worker, _)| *worker).collect()
    }

    /// Reports each round that has been running for longer than `allowed`, once; gives these rounds.
    pub(super) fn look(&self, node: NodeId, now: Time, allowed: Duration) -> Vec<(WorkerId, u64)> {
        let mut reported = Vec::new();
        for (worker, watch) in self.0.lock().expect(LOCK_REASON).iter() {
            let (begun_ns, round) = (watch.begun_ns.load(Ordering::Acquire), watch.round.load(Ordering::Relaxed));
            let runs = now.since(Time::from_nanos(begun_ns));
            if begun_ns == 0 || begun_ns == REPORTED || runs <= allowed {
                continue;
            }
            watch.reported_begun_ns.store(begun_ns, Ordering::Relaxed);
            let swapped = watch.begun_ns.compare_exchange(begun_ns, REPORTED, Ordering::AcqRel, Ordering::Relaxed);
            if swapped.is_err() {
                continue;
            }
            let (slot, generation) = watch.turn.queue();
            let queue = RawQueueId::new(node, Place::worker(*worker), slot, generation);
            tracing::error!(%worker, round, %queue, ?runs, "a handler doesn't return");
            reported.push((*worker, round));
        }
        reported
    }
}

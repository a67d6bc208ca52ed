//! What other threads see of the workers: how far each has come, which round it runs since when. Says so of a round that
//! doesn't end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::shared::LOCK_REASON;
use crate::{
    id::{NodeId, Place, RawQueueId, WorkerId},
    time::Time,
    worker::Turn,
};

/// What is seen of a worker. Its thread alone writes that, but for what was reported, and no other worker's beside it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct RoundWatch {
    /// The rounds that ended, and the messages that were handled in them.
    rounds: AtomicU64,
    messages: AtomicU64,
    /// When the round that runs began, in nanoseconds of the node's clock; 0 between rounds, and [`REPORTED`] once it was said that
    /// it takes long.
    begun_ns: AtomicU64,
    round: AtomicU64,
    /// The FSM whose turn it is.
    pub(super) turn: Turn,
}

const REPORTED: u64 = u64::MAX;

impl RoundWatch {
    pub(super) fn round_begins(&self, round: u64, now: Time) {
        self.round.store(round, Ordering::Relaxed);
        self.begun_ns.store(now.as_nanos(), Ordering::Release);
    }

    /// Says whether it was reported that the round takes long: then it is recorded, or about to be, that it hasn't ended.
    pub(super) fn round_ends(&self, messages: u32) -> bool {
        let begun_ns = self.begun_ns.swap(0, Ordering::AcqRel);
        self.rounds.store(self.rounds.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.messages.store(self.messages.load(Ordering::Relaxed) + u64::from(messages), Ordering::Relaxed);
        begun_ns == REPORTED
    }
}

/// The watches of all workers.
#[derive(Debug, Default)]
pub(super) struct Watchdog(Mutex<BTreeMap<WorkerId, Arc<RoundWatch>>>);

impl Watchdog {
    pub(super) fn watch(&self, worker: WorkerId) -> Arc<RoundWatch> {
        self.0.lock().expect(LOCK_REASON).entry(worker).or_default().clone()
    }

    /// The rounds that all workers have run, and the messages that were handled.
    pub(super) fn progress(&self) -> (u64, u64) {
        let watches = self.0.lock().expect(LOCK_REASON);
        watches.values().fold((0, 0), |(rounds, messages), watch| {
            (rounds + watch.rounds.load(Ordering::Relaxed), messages + watch.messages.load(Ordering::Relaxed))
        })
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

//! What a node knows of itself: gathered when somebody asks, out of what its threads keep anyway.
//!
//! Workers' threads tell what they have counted once a round (`watchdog`), the journal counts its bytes, and whoever syncs it does so
//! through here. The rest is looked at by the caretaker ([`Observer`]): how long what waits has waited, what the directory holds,
//! and which queues are the largest. Nothing is done for a message, and no worker waits for anybody who looks.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use super::{
    facade::Facade,
    lag::Lag,
    shared::{LOCK_REASON, Phase, Shared},
};
use crate::{
    id::{Place, WorkerId},
    journal::{Journal, JournalError, Progress, holdings::Holdings},
    node_metrics::{Durations, JournalMetrics, NodeMetrics, NodePhase, QueueMetrics, WorkerMetrics, nanos},
};

/// How often the directory is looked at, and the largest queues are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often metrics are published.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);

/// What a node keeps of itself beside what its workers and its journal do.
pub(super) struct Gauges {
    begun: Instant,
    pub(super) syncs: Syncs,
    pub(super) facade: Facade,
    seen: Mutex<Seen>,
}

/// What was seen by those who looked: the caretaker, and whoever asks, because the caretaker may be waiting for the disk.
#[derive(Debug, Default)]
struct Seen {
    inboxes: BTreeMap<WorkerId, Lag>,
    journal: Lag,
    holdings: Holdings,
}

impl Seen {
    fn look_at_inbox(&mut self, now: Instant, worker: WorkerId, (went_in, came_out): (u64, u64)) -> Duration {
        self.inboxes.entry(worker).or_default().look(now, went_in, came_out)
    }

    fn look_at_journal(&mut self, now: Instant, Progress { written_bytes, lag_bytes, .. }: Progress) -> Duration {
        self.journal.look(now, written_bytes, written_bytes - lag_bytes)
    }
}

/// Brings a journal to disk, and counts how long that takes.
pub(super) struct Syncs {
    took: Mutex<Durations>,
    facade: Facade,
}

impl Syncs {
    pub(super) fn new(facade: Facade) -> Syncs {
        Syncs { took: Mutex::default(), facade }
    }

    /// As [`Journal::sync`].
    pub(super) fn sync(&self, journal: &Journal) -> Result<(), JournalError> {
        let begun = Instant::now();
        if journal.sync_if_new()? {
            let took = begun.elapsed();
            self.took.lock().expect(LOCK_REASON).count(took);
            self.facade.synced(took);
        }
        Ok(())
    }
}

impl Gauges {
    /// Those of a node that begins now.
    pub(super) fn new(facade: Facade) -> Gauges {
        Gauges { begun: Instant::now(), syncs: Syncs::new(facade.clone()), facade, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect(LOCK_REASON)
    }
}

impl Shared {
    /// Returns when all that was recorded is on disk. Every sync of a node's goes through here, or through its [`Syncs`].
    pub(super) fn sync(&self) -> Result<(), JournalError> {
        self.journal.as_ref().map_or(Ok(()), |journal| self.gauges.syncs.sync(journal))
    }

    /// What the node knows of itself now.
    pub(super) fn metrics(&self) -> NodeMetrics {
        let now = Instant::now();
        let at = self.clock.at(now);
        let mut workers = self.watchdog.metrics(at);
        let mut seen = self.gauges.seen();
        workers.iter_mut().for_each(|metrics| self.complete(metrics, &mut seen, now));
        NodeMetrics {
            at,
            epoch: self.epoch,
            uptime_ns: nanos(now.saturating_duration_since(self.gauges.begun)),
            phase: match self.phase() {
                Phase::Running => NodePhase::Running,
                Phase::Draining => NodePhase::Draining,
                Phase::Stopping => NodePhase::Stopping,
            },
            held_bytes: self.budget.held(),
            budget_bytes: self.limits.budget_bytes,
            workers,
            journal: self.journal.as_ref().map(|journal| self.journal_metrics(journal, &mut seen, now)),
        }
    }

    /// Adds what others know of a worker than its thread.
    fn complete(&self, metrics: &mut WorkerMetrics, seen: &mut Seen, now: Instant) {
        let worker = metrics.worker;
        if let Some(inbox) = self.inbox(worker) {
            let counts @ (went_in, came_out) = inbox.counts();
            metrics.inbox_batches = inbox.parcels();
            metrics.inbox_bytes = went_in - came_out;
            metrics.inbox_lag_ns = nanos(seen.look_at_inbox(now, worker, counts));
        }
        if metrics.waiting_bytes != 0 {
            let largest = self.budget.largest(Place::worker(worker)).into_iter();
            metrics.largest_queues = largest.map(|(queue, bytes)| QueueMetrics { queue, bytes }).collect();
        }
    }

    fn journal_metrics(&self, journal: &Journal, seen: &mut Seen, now: Instant) -> JournalMetrics {
        let syncs = self.gauges.syncs.took.lock().expect(LOCK_REASON).clone();
        let progress @ Progress { written_bytes, synced_bytes, lag_bytes } = journal.progress();
        let lag_ns = nanos(seen.look_at_journal(now, progress));
        let Holdings { segments, snapshots, prepared_bytes } = &seen.holdings;
        JournalMetrics {
            written_bytes,
            synced_bytes,
            lag_bytes,
            lag_ns,
            syncs,
            segments: segments.len() as u64,
            segment_bytes: segments.values().sum(),
            snapshot_bytes: snapshots.values().sum(),
            prepared_bytes: *prepared_bytes,
        }
    }

    /// Looks how long what waits has waited.
    fn look_at_lags(&self, now: Instant) {
        let mut seen = self.gauges.seen();
        self.look_at_inboxes(|worker, inbox| {
            seen.look_at_inbox(now, worker, inbox.counts());
        });
        if let Some(journal) = &self.journal {
            seen.look_at_journal(now, journal.progress());
        }
    }

    /// Looks at what the directory holds. What can't be looked at is as it was.
    fn look_at_directory(&self) {
        let Some(directory) = &self.directory else { return };
        match directory.look() {
            Ok(holdings) => self.gauges.seen().holdings = holdings,
            Err(error) => tracing::debug!(%error, "what the directory holds can't be looked at"),
        }
    }

    /// Publishes what the node knows of itself.
    fn publish(&self) {
        self.gauges.facade.publish(|| self.metrics());
    }

    /// Publishes what became of the node: nothing more is going to happen in it.
    pub(super) fn publish_last(&self) {
        self.look_at_directory();
        self.publish();
    }
}

/// The caretaker's eye on the node.
pub(super) struct Observer {
    /// How many rounds each worker had run when it was asked last for its largest queues.
    asked: BTreeMap<WorkerId, u64>,
    looked: Option<Instant>,
    published: Option<Instant>,
}

impl Observer {
    pub(super) fn new(shared: &Shared) -> Observer {
        shared.gauges.facade.describe();
        Observer { asked: BTreeMap::new(), looked: None, published: None }
    }

    /// Looks at what waits, and now and then at the rest. Called each few milliseconds.
    pub(super) fn look(&mut self, shared: &Shared, now: Instant) {
        shared.look_at_lags(now);
        let is_due =
            |last: Option<Instant>, every| last.is_none_or(|last| now.saturating_duration_since(last) >= every);
        if is_due(self.looked, LOOK_EVERY) {
            self.looked = Some(now);
            shared.look_at_directory();
            self.ask_for_largest(shared);
        }
        if is_due(self.published, PUBLISH_EVERY) {
            self.published = Some(now);
            shared.publish();
        }
    }

    /// Asks the workers for their largest queues in which something waits and that have run since they were asked.
    fn ask_for_largest(&mut self, shared: &Shared) {
        let asked = shared.watchdog.ask_for_largest(&mut self.asked);
        shared.call(&asked);
    }
}

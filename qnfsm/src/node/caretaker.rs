//! The node's own thread: syncs the journal in the background, ends the host's waits, reports rounds that don't end, and
//! stops a node that holds too much.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    NodeError,
    commits::Commits,
    gauges::Observer,
    host::Waiting,
    shared::{Phase, Shared},
};
use crate::journal::{Journal, JournalError, Outcome, Record};

/// The longest that a passed deadline of the host's goes unnoticed by a `Future`.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often the directory's budget is looked after, though no segment was begun.
const HOLD_BUDGET_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Caretaker {
    pub(super) shared: Arc<Shared>,
    pub(super) waiting: Arc<Waiting>,
    /// A signal came.
    pub(super) asked_to_stop: Arc<AtomicBool>,
    /// The other signal came.
    pub(super) asked_to_record: Arc<AtomicBool>,
    /// When the directory was last looked at, and the segment that was written then.
    pub(super) looked: (Instant, u64),
    pub(super) observer: Observer,
}

impl Caretaker {
    /// Runs until the last worker has stopped; whoever waits for an answer then hears that there will be none.
    pub(super) fn run(mut self) {
        let mut synced = Instant::now();
        let every = LOOK_EVERY.min(self.shared.limits.sync_every).max(Duration::from_millis(1));
        while !self.shared.wait_until(Some(Instant::now() + every), Shared::is_over) {
            let now = Instant::now();
            self.waiting.expire(now);
            if self.asked_to_stop.swap(false, Ordering::Relaxed) {
                self.shared.advance(Phase::Draining);
            }
            self.observer.look(&self.shared, now);
            if self.asked_to_record.load(Ordering::Relaxed)
                && self.shared.write_recording_aside("what led to a signal".to_owned())
            {
                self.asked_to_record.store(false, Ordering::Relaxed);
            }
            if let Err(error) = self.watch() {
                self.shared.fail(NodeError::Journal(error));
            }
            if self.shared.phase() == Phase::Stopping {
                continue;
            }
            if let Err(error) = self.shared.check_hard_limit() {
                self.shared.fail(error);
            }
            if let Some(Err(error)) = self.shared.journal.as_ref().map(Journal::prepare) {
                self.shared.fail(NodeError::Journal(error));
            }
            if let Err(error) = self.hold_budget(now) {
                self.shared.fail(error);
            }
            if now.duration_since(synced) >= self.shared.limits.sync_every {
                synced = now;
                if let Err(error) = self.shared.sync() {
                    self.shared.fail(NodeError::Journal(error));
                }
            }
        }
        self.shared.commits.iter().for_each(Commits::close);
        self.waiting.close();
    }
    /// Reports rounds that take long. The journal is told too: one that never ends may be skipped some day.
    fn watch(&self) -> Result<(), JournalError> {
        let Shared { watchdog, journal, .. } = &*self.shared;
        for (worker, round) in watchdog.look(self.shared.node, self.shared.clock.now(), self.shared.limits.watchdog) {
            if let Some(journal) = journal {
                journal.write(&Record::Attempt { worker, round, at: None, outcome: Outcome::TimedOut })?;
            }
        }
        Ok(())
    }

    /// Gives up what the directory holds beyond its budget, now and then.
    fn hold_budget(&mut self, now: Instant) -> Result<(), NodeError> {
        let Some(journal) = &self.shared.journal else { return Ok(()) };
        let segment = journal.position().segment;
        if segment == self.looked.1 && now.duration_since(self.looked.0) < HOLD_BUDGET_EVERY {
            return Ok(());
        }
        self.looked = (now, segment);
        self.shared.hold_budget()
    }
}

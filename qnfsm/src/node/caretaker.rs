//! The node's own thread: syncs the journal in the background, ends the host's waits, and reports rounds that don't end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    NodeError,
    host::Waiting,
    shared::{Phase, Shared},
};

/// The longest that a passed deadline of the host's goes unnoticed by a `Future`.
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(super) struct Caretaker {
    pub(super) shared: Arc<Shared>,
    pub(super) waiting: Arc<Waiting>,
    /// A signal came.
    pub(super) asked_to_stop: Arc<AtomicBool>,
}

impl Caretaker {
    /// Runs until the node stops.
    pub(super) fn run(self) {
        let mut synced = Instant::now();
        loop {
            let next = Instant::now() + LOOK_EVERY.min(self.shared.limits.sync_every);
            let stopping = |shared: &Shared| shared.phase() == Phase::Stopping;
            if self.shared.wait_until(Some(next), stopping) {
                return;
            }
            let now = Instant::now();
            self.waiting.expire(now);
            if self.asked_to_stop.load(Ordering::Relaxed) {
                self.shared.advance(Phase::Draining);
            }
            self.shared.watch_rounds();
            if now.duration_since(synced) >= self.shared.limits.sync_every {
                synced = now;
                if let Err(error) = self.shared.journal.as_ref().map_or(Ok(()), |journal| journal.sync()) {
                    self.shared.fail(NodeError::Journal(error));
                }
            }
        }
    }
}

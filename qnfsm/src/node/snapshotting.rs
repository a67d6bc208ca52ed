//! When a driver snapshots its worker, and how that is written and marked: by bytes of the journal, by time, when the directory
//! is over its budget and waits for it, and when the node stops.

use std::time::{Duration, Instant};

use super::{
    NodeError,
    driver::{Driver, inconsistent},
};
use crate::{
    codec::Codec,
    digest::Digest,
    journal::{Record, snapshots::Mark},
};

/// A worker's newest snapshot.
pub(super) struct Newest {
    /// Its mark. There is never another snapshot of the same round: its driver's bytes would be newer than what a crash may leave
    /// of the journal.
    pub(super) mark: Option<Mark>,
    /// The journal's size when it was marked, or when the driver began.
    written: u64,
    /// When that was.
    at: Instant,
}

impl Newest {
    /// None yet, with the journal at that size.
    pub(super) fn none(written: u64) -> Newest {
        Newest { mark: None, written, at: Instant::now() }
    }

    /// The round that it was taken after; 0 is the worker's start.
    fn round(&self) -> u64 {
        self.mark.map_or(0, |mark| mark.round)
    }
}

impl Driver {
    /// How long it is until a snapshot is due by time.
    pub(super) fn until_snapshot(&self) -> Option<Duration> {
        let every = self.shared.limits.snapshot_every.filter(|_| self.shared.journal.is_some())?;
        let is_new = self.worker.rounds() == self.newest.round();
        (!is_new).then(|| every.saturating_sub(self.newest.at.elapsed()))
    }

    /// Takes a snapshot if the time for one has come.
    pub(super) fn snapshot_by_time(&mut self) -> Result<(), NodeError> {
        if self.until_snapshot() == Some(Duration::ZERO) { self.snapshot() } else { Ok(()) }
    }

    /// Takes a snapshot if the journal has grown enough since the last one, or the time has come. For after a round.
    pub(super) fn snapshot_if_due(&mut self) -> Result<(), NodeError> {
        let Some(journal) = &self.shared.journal else { return Ok(()) };
        if journal.bytes_written() - self.newest.written >= self.shared.limits.snapshot_every_bytes {
            return self.snapshot();
        }
        self.snapshot_by_time()
    }

    /// Marks a snapshot if the journal's beginning can't be given up without it: the last one once more if the worker has run no
    /// round since, which lets go of what was recorded before.
    pub(super) fn snapshot_if_asked(&mut self) -> Result<(), NodeError> {
        let (Some(journal), Some(directory)) = (&self.shared.journal, &self.shared.directory) else { return Ok(()) };
        if !directory.waits_for(self.worker.id(), journal) {
            return Ok(());
        }
        match self.newest.mark {
            Some(mark) if mark.round == self.worker.rounds() => self.mark_again(mark),
            _ => self.snapshot(),
        }
    }

    /// Writes a snapshot of the worker and what is retained beside it, and marks it in the journal, unless there is one.
    pub(super) fn snapshot(&mut self) -> Result<(), NodeError> {
        let Some(directory) = &self.shared.directory else { return Ok(()) };
        let (worker, round) = (self.worker.id(), self.worker.rounds());
        let is_there = self.newest.mark.is_some_and(|mark| mark.round == round);
        // Round 0 is the worker's start, which the journal has as long as its beginning is kept.
        if is_there || (round == 0 && !directory.is_bounded()) {
            return Ok(());
        }
        let begun = Instant::now();
        let mut image = Vec::new();
        let encoded = self.worker.snapshot(&mut image);
        encoded.map_err(|error| inconsistent(&self.worker, &error.to_string()))?;
        let driver = self.outbox.image(&self.worker).to_bytes();
        directory.store_snapshot(worker, round, &image, &driver)?;
        let bytes = (image.len() + driver.len()) as u64;
        let [image_digest, driver_digest] = [image, driver].map(|bytes| Digest::of(&bytes));
        self.mark(Mark { worker, round, digest: self.digest, image_digest, driver_digest })?;
        self.hold_memory()?;
        let took = begun.elapsed();
        self.watch.was_snapshot(took, bytes);
        self.shared.gauges.facade.was_snapshot(worker, took);
        Ok(())
    }

    /// Marks a snapshot once more. The worker may have been configured since: that is said again, because its record may be given up.
    fn mark_again(&mut self, mark: Mark) -> Result<(), NodeError> {
        self.mark(mark)?;
        let Some(journal) = &self.shared.journal else { return Ok(()) };
        let mut config = Vec::new();
        Codec::CURRENT.encode(self.worker.config(), &mut config).expect("a configuration is numbers");
        journal.append(&Record::Configured { worker: mark.worker, round: mark.round, config: &config })?;
        self.hold_memory()
    }

    /// Where the journal is in memory, that is kept within its bound by whoever marks a snapshot, and not some time later.
    fn hold_memory(&self) -> Result<(), NodeError> {
        if self.shared.recorder.is_some() { self.shared.hold_budget() } else { Ok(()) }
    }

    fn mark(&mut self, mark: Mark) -> Result<(), NodeError> {
        let (Some(journal), Some(directory)) = (&self.shared.journal, &self.shared.directory) else { return Ok(()) };
        let end = journal.append(&mark.record())?;
        directory.marked(mark.worker, mark.round, end);
        self.newest = Newest { mark: Some(mark), written: journal.bytes_written(), at: Instant::now() };
        self.digest_marked = true;
        Ok(())
    }
}

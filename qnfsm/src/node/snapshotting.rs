//! When a driver snapshots its worker, and how that is written and marked: by bytes of the journal, by time, when the directory
//! is over its budget and waits for it, and when the node stops.
//!
//! A snapshot is taken bit by bit: after each round, and while there is nothing to do, a little more of it is encoded and handed to a
//! thread of its own, which writes and syncs it. The journal says where it was begun, and later marks it: so it is of its beginning,
//! whatever the worker has done since. When the node stops, what is left of it is done at once.

use std::time::{Duration, Instant};

use super::{
    NodeError,
    driver::{Driver, inconsistent},
    snapshot_writer::{Piece, SnapshotWriter},
};
use crate::{
    codec::Codec,
    digest::{Digest, StreamDigest},
    journal::{Position, Record, snapshots::Mark},
    worker::Worker,
};

/// How many bytes are encoded at once, if no FSM has more.
const STEP_BYTES: usize = 16 << 10;

/// How many steps are taken at once, at most: a worker stands still for about a millisecond.
const STEPS_MAX: u32 = 64;

/// A snapshot is whole, as far as the disk and [`STEPS_MAX`] let it, before the journal has grown by this part of what lies between two.
const PART_OF_EVERY: u64 = 4;

/// How soon it is tried again to hand something to a thread that had no room.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(1);

/// A snapshot that is being taken.
pub(super) struct UnderWay {
    /// What its mark will say; the digest of its image, when that is whole.
    mark: Mark,
    /// From where on the journal has what the worker did since, and the journal's size there.
    from: Position,
    written: u64,
    digest: StreamDigest,
    bytes: u64,
    /// What is encoded and not handed over.
    piece: Vec<u8>,
    /// What the driver keeps beside it, until that is handed over.
    driver: Option<Vec<u8>>,
    writer: SnapshotWriter,
    /// All of the image is encoded.
    is_whole: bool,
    /// When it was begun, and the longest that the worker stood still for it.
    at: Instant,
    pause: Duration,
}

impl UnderWay {
    /// Something is to be encoded or handed over.
    fn has_something_left(&self) -> bool {
        !self.is_whole || !self.piece.is_empty() || self.driver.is_some()
    }

    /// Hands over what is encoded. False if there is no room for it yet, unless it is to be waited for.
    fn hands_over(&mut self, waits: bool) -> bool {
        if !self.piece.is_empty() {
            let piece = Piece::Image(std::mem::take(&mut self.piece));
            if let Some(Piece::Image(back)) = self.writer.hand_over(piece, waits) {
                self.piece = back;
                return false;
            }
        }
        if let Some(driver) = self.driver.take_if(|_| self.is_whole)
            && let Some(Piece::Driver(back)) = self.writer.hand_over(Piece::Driver(driver), waits)
        {
            self.driver = Some(back);
            return false;
        }
        true
    }

    /// Encodes a little more of it, where all that was encoded is handed over.
    fn encode(&mut self, worker: &mut Worker) -> Result<(), NodeError> {
        let went_on = worker.go_on_with_snapshot(STEP_BYTES, &mut self.piece);
        self.is_whole = went_on.map_err(|error| inconsistent(worker, &error.to_string()))?;
        self.digest.take(&self.piece);
        self.bytes += self.piece.len() as u64;
        Ok(())
    }

    /// So much of it is encoded as is due when the journal has grown so much since it was begun.
    fn keeps_pace(&self, (slots, encoded): (u32, u32), grown: u64, every_bytes: u64) -> bool {
        let whole_by = (every_bytes / PART_OF_EVERY).max(1);
        u128::from(encoded) * u128::from(whole_by) >= u128::from(slots) * u128::from(grown)
    }
}

/// A worker's newest snapshot.
pub(super) struct Newest {
    /// Its mark. There is never another snapshot of the same round: its driver's bytes would be newer than what a crash may leave
    /// of the journal.
    pub(super) mark: Option<Mark>,
    /// The journal's size where it was begun, or when the driver began.
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
    /// How long it is until there is something to do about snapshots.
    pub(super) fn until_snapshot(&self) -> Option<Duration> {
        if let Some(under_way) = &self.under_way {
            return under_way.has_something_left().then_some(TRY_AGAIN_AFTER);
        }
        let every = self.shared.limits.snapshot_every.filter(|_| self.shared.journal.is_some())?;
        let is_new = self.worker.rounds() == self.newest.round();
        (!is_new).then(|| every.saturating_sub(self.newest.at.elapsed()))
    }

    /// Begins a snapshot if the time for one has come. For when there is nothing to do.
    pub(super) fn snapshot_by_time(&mut self) -> Result<(), NodeError> {
        if self.under_way.is_none() && self.until_snapshot() == Some(Duration::ZERO) {
            self.begin_snapshot()?;
        }
        Ok(())
    }

    /// For after a round: goes on with a snapshot, or begins one if the journal has grown enough since the last one, or the time has
    /// come.
    pub(super) fn snapshot_if_due(&mut self) -> Result<(), NodeError> {
        let Some(journal) = &self.shared.journal else { return Ok(()) };
        let (written, every) = (journal.bytes_written(), self.shared.limits.snapshot_every_bytes);
        if self.under_way.as_ref().is_some_and(|under_way| written - under_way.written >= every) {
            self.finish_snapshot()?;
        }
        if self.under_way.is_none() {
            if written - self.newest.written < every && self.until_snapshot() != Some(Duration::ZERO) {
                return Ok(());
            }
            self.begin_snapshot()?;
        }
        self.go_on_with_snapshot().map(drop)
    }

    /// Waits until the snapshot that is being taken is on disk: the journal grows faster than the disk takes it, and would grow without
    /// end.
    fn finish_snapshot(&mut self) -> Result<(), NodeError> {
        let begun = Instant::now();
        while let Some(under_way) = &mut self.under_way
            && under_way.has_something_left()
        {
            under_way.hands_over(true);
            if !under_way.is_whole {
                under_way.encode(&mut self.worker)?;
            }
        }
        self.mark_snapshot(Some(begun))
    }

    /// For when somebody has called: marks a snapshot that is on disk, and if the journal's beginning can't be given up without it,
    /// the last one once more, where the worker has run no round since, or begins one. Either lets go of what was recorded before.
    pub(super) fn snapshot_if_asked(&mut self) -> Result<(), NodeError> {
        if self.under_way.as_ref().is_some_and(|under_way| under_way.writer.has_ended()) {
            self.mark_snapshot(None)?;
        }
        let (Some(journal), Some(directory)) = (&self.shared.journal, &self.shared.directory) else { return Ok(()) };
        if self.under_way.is_some() || !directory.waits_for(self.worker.id(), journal) {
            return Ok(());
        }
        match self.newest.mark {
            Some(mark) if mark.round == self.worker.rounds() => self.mark_again(mark),
            _ => self.begin_snapshot(),
        }
    }

    /// True if there is nothing of this round that a snapshot could have and the journal hasn't.
    fn is_snapshot(&self) -> bool {
        let Some(directory) = &self.shared.directory else { return true };
        let round = self.worker.rounds();
        let is_there = self.newest.mark.is_some_and(|mark| mark.round == round);
        // Round 0 is the worker's start, which the journal has as long as its beginning is kept.
        is_there || (round == 0 && !directory.is_bounded())
    }

    /// Begins a snapshot of the worker and what is retained beside it, unless there is one.
    fn begin_snapshot(&mut self) -> Result<(), NodeError> {
        let (false, Some(journal)) = (self.is_snapshot(), &self.shared.journal) else { return Ok(()) };
        let at = Instant::now();
        let (worker, round, digest) = (self.worker.id(), self.worker.rounds(), self.digest);
        let writer = SnapshotWriter::start(&self.shared, worker, round);
        self.worker.begin_snapshot();
        let driver = self.outbox.image(&self.worker).to_bytes();
        let from = journal.append(&Record::SnapshotBegun { worker, round, digest })?;
        self.digest_marked = true;
        self.under_way = Some(UnderWay {
            mark: Mark { worker, round, digest, image_digest: 0, driver_digest: Digest::of(&driver) },
            from,
            written: journal.bytes_written(),
            digest: StreamDigest::new(),
            bytes: driver.len() as u64,
            piece: Vec::new(),
            driver: Some(driver),
            writer,
            is_whole: false,
            at,
            pause: at.elapsed(),
        });
        Ok(())
    }

    /// Encodes a little more of the snapshot that is being taken: a step, and more if the journal grows faster. True if there is more of
    /// it to be done, and room for it.
    pub(super) fn go_on_with_snapshot(&mut self) -> Result<bool, NodeError> {
        let (Some(under_way), Some(journal)) = (&mut self.under_way, &self.shared.journal) else { return Ok(false) };
        let begun = Instant::now();
        let (grown, every) = (journal.bytes_written() - under_way.written, self.shared.limits.snapshot_every_bytes);
        for steps in 0.. {
            let has_room = under_way.hands_over(false);
            under_way.pause = under_way.pause.max(begun.elapsed());
            let Some(progress) = self.worker.snapshot_progress().filter(|_| has_room) else { break };
            if steps == STEPS_MAX || (steps > 0 && under_way.keeps_pace(progress, grown, every)) {
                return Ok(true);
            }
            under_way.encode(&mut self.worker)?;
        }
        Ok(false)
    }

    /// Marks the snapshot that is being taken, when it is on disk. The worker has stood still since then, if it has.
    fn mark_snapshot(&mut self, stands_since: Option<Instant>) -> Result<(), NodeError> {
        let Some(under_way) = self.under_way.take() else { return Ok(()) };
        let UnderWay { mark, from, written, digest, bytes, writer, at, pause, .. } = under_way;
        writer.end()?;
        let pause = stands_since.map_or(pause, |since| pause.max(since.elapsed()));
        let mark = Mark { image_digest: digest.value(), ..mark };
        self.mark(mark, from, Newest { mark: Some(mark), written, at })?;
        self.hold_memory()?;
        self.was_snapshot(pause, bytes);
        Ok(())
    }

    /// Gives up the snapshot that is being taken. That the disk failed is told all the same.
    fn give_up_snapshot(&mut self) -> Result<(), NodeError> {
        self.worker.give_up_snapshot();
        self.under_way.take().map_or(Ok(()), |under_way| under_way.writer.end())
    }

    /// Brings a snapshot of the worker as it is to disk, and marks it in the journal, unless there is one. For when the worker has
    /// nothing else to do.
    pub(super) fn snapshot(&mut self) -> Result<(), NodeError> {
        match &self.under_way {
            Some(under_way) if under_way.mark.round == self.worker.rounds() => {}
            Some(_) => {
                self.give_up_snapshot()?;
                self.begin_snapshot()?;
            }
            None => self.begin_snapshot()?,
        }
        self.finish_snapshot()
    }

    fn was_snapshot(&self, pause: Duration, bytes: u64) {
        self.watch.was_snapshot(pause, bytes);
        self.shared.gauges.facade.was_snapshot(self.worker.id(), pause);
    }

    /// Marks a snapshot once more, of which the worker is still. It may have been configured since: that is said again, because its
    /// record may be given up.
    fn mark_again(&mut self, mark: Mark) -> Result<(), NodeError> {
        let Some(journal) = self.shared.journal.clone() else { return Ok(()) };
        let Mark { worker, round, digest, .. } = mark;
        let from = journal.append(&Record::SnapshotBegun { worker, round, digest })?;
        self.mark(mark, from, Newest { mark: Some(mark), written: journal.bytes_written(), at: Instant::now() })?;
        let mut config = Vec::new();
        Codec::CURRENT.encode(self.worker.config(), &mut config).expect("a configuration is numbers");
        journal.append(&Record::Configured { worker, round, config: &config })?;
        self.hold_memory()
    }

    /// Where the journal is in memory, that is kept within its bound by whoever marks a snapshot, and not some time later.
    fn hold_memory(&self) -> Result<(), NodeError> {
        if self.shared.recorder.is_some() { self.shared.hold_budget() } else { Ok(()) }
    }

    /// Marks a snapshot, which is of where it was begun.
    fn mark(&mut self, mark: Mark, begun: Position, newest: Newest) -> Result<(), NodeError> {
        let (Some(journal), Some(directory)) = (&self.shared.journal, &self.shared.directory) else { return Ok(()) };
        if directory.mark(mark.worker, mark.round, begun, || journal.append(&mark.record()))?.is_none() {
            return Ok(());
        }
        self.digest_marked |= mark.round == self.worker.rounds();
        self.newest = newest;
        Ok(())
    }
}

//! What a journal says, record by record, and the bytes of each record's body.
//!
//! Numbers in bodies are LEB128, digests eight bytes with the low one first. Reading trusts nothing and allocates
//! nothing: a body's batches stay where they lie.

use super::{
    bytes::{Taker, put_counted},
    error::Why,
};
use crate::{
    frame::{BatchRef, put_varint},
    id::{Epoch, NodeId, Place, RawQueueId, RequestId, WorkerId},
    time::Time,
};

/// The longest body of a record, in bytes.
pub const RECORD_BODY_BYTES_MAX: usize = 64 << 20;

/// One thing that a journal says. `B` holds a round's batches: [`Batches`] when read, a slice when written.
///
/// A worker's rounds are numbered from 1. A record about a worker that is no round itself names the round after which
/// (for [`Record::External`], [`Record::Version`] and [`Record::Deliveries`]: in which) it happened; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record<'a, B = Batches<'a>> {
    /// A worker was started. Its number was never used before and never is again.
    WorkerStarted {
        /// The worker.
        worker: WorkerId,
        /// The epoch in which it was started.
        epoch: Epoch,
        /// What shapes it; the worker's own bytes.
        config: &'a [u8],
        /// Who asked for it, and with which request.
        request: Option<(RawQueueId, RequestId)>,
    },
    /// A worker was stopped for good.
    WorkerStopped {
        /// The worker.
        worker: WorkerId,
        /// Its last round.
        round: u64,
        /// That round's digest.
        digest: u64,
    },
    /// What entered a worker in one round, written before the round runs.
    Round {
        /// The worker.
        worker: WorkerId,
        /// The round's number.
        round: u64,
        /// The most messages that the round handles.
        bound: u32,
        /// The round's time.
        now: Time,
        /// The digest of the round before; of nothing for the first.
        digest_before: u64,
        /// The frames.
        batches: B,
    },
    /// What a worker was given through a port, in the middle of a round.
    External {
        /// The worker.
        worker: WorkerId,
        /// The round in which it asked.
        round: u64,
        /// The port's name.
        port: &'a str,
        /// The answer.
        answer: &'a [u8],
    },
    /// Which version of a behaviour a worker uses from here on, in the middle of a round.
    Version {
        /// The worker.
        worker: WorkerId,
        /// The round in which it asked.
        round: u64,
        /// What the behaviour is called.
        name: &'a str,
        /// The version.
        version: u32,
    },
    /// The digest of a worker's last round, when no next record is near that would carry it.
    DigestMark {
        /// The worker.
        worker: WorkerId,
        /// The round.
        round: u64,
        /// Its digest.
        digest: u64,
    },
    /// Each delivery of a round, for workers that record everything; the worker's own bytes.
    Deliveries {
        /// The worker.
        worker: WorkerId,
        /// The round.
        round: u64,
        /// The deliveries.
        entries: &'a [u8],
    },
    /// A worker is written down as it is now, while it goes on.
    SnapshotBegun {
        /// The worker.
        worker: WorkerId,
        /// The round after which it is.
        round: u64,
        /// That round's digest.
        digest: u64,
    },
    /// There is a snapshot of a worker. It counts once the journal is synced past this mark. It is of where it was begun, or of
    /// this place if the worker has run no round since the one that is named.
    SnapshotMark {
        /// The worker.
        worker: WorkerId,
        /// The round after which the snapshot was taken.
        round: u64,
        /// That round's digest.
        digest: u64,
        /// The digest of the worker's image.
        image_digest: u64,
        /// The digest of what its driver keeps beside it.
        driver_digest: u64,
    },
    /// What shapes a worker was changed.
    Configured {
        /// The worker.
        worker: WorkerId,
        /// The round after which the change holds.
        round: u64,
        /// What shapes it from then on; the worker's own bytes.
        config: &'a [u8],
    },
    /// Everything before that position is known to be on disk.
    SyncMark {
        /// The segment.
        segment: u64,
        /// The position in it, in bytes.
        offset: u64,
    },
    /// The node was stopped cleanly; nothing of this epoch follows.
    CleanStop {
        /// The epoch that ended.
        epoch: Epoch,
    },
    /// A delivery of a worker's last round doesn't end, and is skipped when the round is run again.
    Skipped {
        /// The worker.
        worker: WorkerId,
        /// The round.
        round: u64,
        /// The delivery.
        at: Reached,
        /// Its FSM is stopped as well.
        stops: bool,
    },
    /// A worker's last round has not ended so far, or is run again.
    Attempt {
        /// The worker.
        worker: WorkerId,
        /// The round.
        round: u64,
        /// The delivery whose handler is about to run; none where the attempt begins, and of the first one, which is the round itself.
        at: Option<Reached>,
        /// What became of it by then.
        outcome: Outcome,
    },
    /// A worker has a snapshot that counts, and the beginning of the journal, with the record of the worker's start, may be
    /// gone. This says what of that record is still needed.
    WorkerKept {
        /// The worker.
        worker: WorkerId,
        /// Who asked for it, and with which request.
        request: Option<(RawQueueId, RequestId)>,
    },
}

/// What became of an attempt at a round by the time that its record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    GoesOn,
    /// It did not end in the time that it had.
    TimedOut,
    /// It ended in a fault.
    Faulted,
    /// It ended, and was told other things from outside than were recorded before: of those only so many count as came before the
    /// delivery.
    Parted,
}

impl Outcome {
    const ALL: [Outcome; 4] = [Outcome::GoesOn, Outcome::TimedOut, Outcome::Faulted, Outcome::Parted];
}

/// How far a round has come: the delivery that is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Its number within the round, counted from 1.
    pub delivery: u32,
    /// Slot and generation of its FSM's queue.
    pub seat: (u32, u32),
    /// How many external values were given in the round before it.
    pub values: u64,
}

/// A record to be written.
pub type RecordDraft<'a> = Record<'a, &'a [BatchRef<'a>]>;

/// The numbers of the kinds.
mod kind {
    pub(super) const WORKER_STARTED: u8 = 1;
    pub(super) const WORKER_STOPPED: u8 = 2;
    pub(super) const ROUND: u8 = 3;
    pub(super) const EXTERNAL: u8 = 4;
    pub(super) const DIGEST_MARK: u8 = 5;
    pub(super) const DELIVERIES: u8 = 6;
    pub(super) const SNAPSHOT_MARK: u8 = 7;
    pub(super) const CONFIGURED: u8 = 8;
    pub(super) const SYNC_MARK: u8 = 9;
    pub(super) const CLEAN_STOP: u8 = 10;
    pub(super) const SKIPPED: u8 = 11;
    pub(super) const ATTEMPT: u8 = 12;
    pub(super) const WORKER_KEPT: u8 = 13;
    pub(super) const VERSION: u8 = 14;
    pub(super) const SNAPSHOT_BEGUN: u8 = 15;
}

/// The kind of sync marks, which are looked for in a damaged journal.
pub(super) const SYNC_MARK_KIND: u8 = kind::SYNC_MARK;

/// True if this version knows the kind.
pub(super) fn is_known(kind: u8) -> bool {
    (kind::WORKER_STARTED..=kind::SNAPSHOT_BEGUN).contains(&kind)
}

impl<'a, B> Record<'a, B> {
    /// The number that stands in the record's header.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Record::WorkerStarted { .. } => kind::WORKER_STARTED,
            Record::WorkerStopped { .. } => kind::WORKER_STOPPED,
            Record::Round { .. } => kind::ROUND,
            Record::External { .. } => kind::EXTERNAL,
            Record::DigestMark { .. } => kind::DIGEST_MARK,
            Record::Deliveries { .. } => kind::DELIVERIES,
            Record::SnapshotMark { .. } => kind::SNAPSHOT_MARK,
            Record::Configured { .. } => kind::CONFIGURED,
            Record::SyncMark { .. } => kind::SYNC_MARK,
            Record::CleanStop { .. } => kind::CLEAN_STOP,
            Record::Skipped { .. } => kind::SKIPPED,
            Record::Attempt { .. } => kind::ATTEMPT,
            Record::WorkerKept { .. } => kind::WORKER_KEPT,
            Record::Version { .. } => kind::VERSION,
            Record::SnapshotBegun { .. } => kind::SNAPSHOT_BEGUN,
        }
    }

    /// The worker that the record is about.
    #[must_use]
    pub fn worker(&self) -> Option<WorkerId> {
        match *self {
            Record::WorkerStarted { worker, .. }
            | Record::WorkerStopped { worker, .. }
            | Record::Round { worker, .. }
            | Record::External { worker, .. }
            | Record::Version { worker, .. }
            | Record::DigestMark { worker, .. }
            | Record::Deliveries { worker, .. }
            | Record::SnapshotBegun { worker, .. }
            | Record::SnapshotMark { worker, .. }
            | Record::Configured { worker, .. }
            | Record::Skipped { worker, .. }
            | Record::Attempt { worker, .. }
            | Record::WorkerKept { worker, .. } => Some(worker),
            Record::SyncMark { .. } | Record::CleanStop { .. } => None,
        }
    }

    /// The round that the record names.
    #[must_use]
    pub fn round(&self) -> Option<u64> {
        match *self {
            Record::WorkerStopped { round, .. }
            | Record::Round { round, .. }
            | Record::External { round, .. }
            | Record::Version { round, .. }
            | Record::DigestMark { round, .. }
            | Record::Deliveries { round, .. }
            | Record::SnapshotBegun { round, .. }
            | Record::SnapshotMark { round, .. }
            | Record::Configured { round, .. }
            | Record::Skipped { round, .. }
            | Record::Attempt { round, .. } => Some(round),
            Record::WorkerStarted { .. }
            | Record::SyncMark { .. }
            | Record::CleanStop { .. }
            | Record::WorkerKept { .. } => None,
        }
    }

    /// True if a playback runs the `last` round of this record's worker, the one that was read last, when it takes this record: it shows that
    /// the round has ended. A mark of an earlier round, such as of a snapshot that took until now, shows nothing.
    #[must_use]
    pub fn ends_round(&self, last: u64) -> bool {
        match self {
            Record::Round { .. } | Record::Configured { .. } => true,
            Record::DigestMark { round, .. }
            | Record::SnapshotBegun { round, .. }
            | Record::SnapshotMark { round, .. }
            | Record::WorkerStopped { round, .. } => *round == last,
            _ => false,
        }
    }
}

impl RecordDraft<'_> {
    /// Appends the body.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        if let Some(worker) = self.worker() {
            put_varint(out, u64::from(worker.0));
        }
        if let Some(round) = self.round() {
            put_varint(out, round);
        }
        match *self {
            Record::WorkerStarted { worker: _, epoch, config, request } => {
                put_varint(out, u64::from(epoch.0));
                put_request(out, request);
                put_counted(out, config);
            }
            Record::Round { worker: _, round: _, bound, now, digest_before, batches } => {
                put_varint(out, u64::from(bound));
                put_varint(out, now.as_nanos());
                out.extend_from_slice(&digest_before.to_le_bytes());
                put_varint(out, batches.len() as u64);
                for batch in batches {
                    put_varint(out, u64::from(batch.source.to_bits()));
                    put_varint(out, u64::from(batch.epoch.0));
                    put_varint(out, batch.first);
                    put_varint(out, u64::from(batch.count));
                    put_counted(out, batch.bytes);
                }
            }
            Record::External { worker: _, round: _, port, answer } => {
                put_counted(out, port.as_bytes());
                put_counted(out, answer);
            }
            Record::Version { worker: _, round: _, name, version } => {
                put_counted(out, name.as_bytes());
                put_varint(out, u64::from(version));
            }
            Record::WorkerStopped { worker: _, round: _, digest }
            | Record::DigestMark { worker: _, round: _, digest }
            | Record::SnapshotBegun { worker: _, round: _, digest } => {
                out.extend_from_slice(&digest.to_le_bytes());
            }
            Record::Deliveries { worker: _, round: _, entries } => put_counted(out, entries),
            Record::SnapshotMark { worker: _, round: _, digest, image_digest, driver_digest } => {
                for digest in [digest, image_digest, driver_digest] {
                    out.extend_from_slice(&digest.to_le_bytes());
                }
            }
            Record::Configured { worker: _, round: _, config } => put_counted(out, config),
            Record::SyncMark { segment, offset } => {
                put_varint(out, segment);
                put_varint(out, offset);
            }
            Record::CleanStop { epoch } => put_varint(out, u64::from(epoch.0)),
            Record::Skipped { worker: _, round: _, at, stops } => {
                put_reached(out, at);
                out.push(u8::from(stops));
            }
            Record::Attempt { worker: _, round: _, at, outcome } => {
                out.push(outcome as u8);
                out.push(u8::from(at.is_some()));
                if let Some(at) = at {
                    put_reached(out, at);
                }
            }
            Record::WorkerKept { worker: _, request } => put_request(out, request),
        }
    }
}

fn put_reached(out: &mut Vec<u8>, at: Reached) {
    let Reached { delivery, seat: (slot, generation), values } = at;
    for number in [delivery, slot, generation] {
        put_varint(out, u64::from(number));
    }
    put_varint(out, values);
}

fn take_reached(taker: &mut Taker<'_>) -> Result<Reached, Why> {
    let [delivery, slot, generation] = [taker.varint_u32()?, taker.varint_u32()?, taker.varint_u32()?];
    Ok(Reached { delivery, seat: (slot, generation), values: taker.varint()? })
}

fn put_request(out: &mut Vec<u8>, request: Option<(RawQueueId, RequestId)>) {
    out.push(u8::from(request.is_some()));
    if let Some((queue, request)) = request {
        for number in [queue.node().0, queue.place().to_bits(), queue.slot(), queue.generation()] {
            put_varint(out, u64::from(number));
        }
        put_varint(out, request.0);
    }
}

fn take_worker(taker: &mut Taker<'_>) -> Result<WorkerId, Why> {
    match taker.varint_u32()? {
        number if number < 1 << 31 => Ok(WorkerId(number)),
        _ => Err(Why::Malformed("a worker's number is too large")),
    }
}

fn take_request(taker: &mut Taker<'_>) -> Result<Option<(RawQueueId, RequestId)>, Why> {
    if !taker.flag()? {
        return Ok(None);
    }
    let queue = RawQueueId::new(
        NodeId(taker.varint_u32()?),
        Place::from_bits(taker.varint_u32()?),
        taker.varint_u32()?,
        taker.varint_u32()?,
    );
    Ok(Some((queue, RequestId(taker.varint()?))))
}

fn take_batch<'a>(taker: &mut Taker<'a>) -> Result<BatchRef<'a>, Why> {
    Ok(BatchRef {
        source: Place::from_bits(taker.varint_u32()?),
        epoch: Epoch(taker.varint_u32()?),
        first: taker.varint()?,
        count: taker.varint_u32()?,
        bytes: taker.counted()?,
    })
}

impl<'a> Record<'a> {
    /// Reads the body of a record of a known kind.
    pub(super) fn decode(kind: u8, body: &'a [u8]) -> Result<Record<'a>, Why> {
        let mut body = Taker(body);
        let taker = &mut body;
        let record = match kind {
            kind::WORKER_STARTED => {
                let (worker, epoch) = (take_worker(taker)?, Epoch(taker.varint_u32()?));
                let request = take_request(taker)?;
                Record::WorkerStarted { worker, epoch, config: taker.counted()?, request }
            }
            kind::WORKER_KEPT => Record::WorkerKept { worker: take_worker(taker)?, request: take_request(taker)? },
            kind::SYNC_MARK => Record::SyncMark { segment: taker.varint()?, offset: taker.varint()? },
            kind::CLEAN_STOP => Record::CleanStop { epoch: Epoch(taker.varint_u32()?) },
            _ => {
                let (worker, round) = (take_worker(taker)?, taker.varint()?);
                match kind {
                    kind::WORKER_STOPPED => Record::WorkerStopped { worker, round, digest: taker.u64()? },
                    kind::ROUND => Record::Round {
                        worker,
                        round,
                        bound: taker.varint_u32()?,
                        now: Time::from_nanos(taker.varint()?),
                        digest_before: taker.u64()?,
                        batches: Batches::take(taker)?,
                    },
                    kind::EXTERNAL => Record::External { worker, round, port: taker.text()?, answer: taker.counted()? },
                    kind::VERSION => {
                        Record::Version { worker, round, name: taker.text()?, version: taker.varint_u32()? }
                    }
                    kind::DIGEST_MARK => Record::DigestMark { worker, round, digest: taker.u64()? },
                    kind::DELIVERIES => Record::Deliveries { worker, round, entries: taker.counted()? },
                    kind::SNAPSHOT_BEGUN => Record::SnapshotBegun { worker, round, digest: taker.u64()? },
                    kind::SNAPSHOT_MARK => {
                        let (digest, image_digest, driver_digest) = (taker.u64()?, taker.u64()?, taker.u64()?);
                        Record::SnapshotMark { worker, round, digest, image_digest, driver_digest }
                    }
                    kind::CONFIGURED => Record::Configured { worker, round, config: taker.counted()? },
                    kind::SKIPPED => Record::Skipped { worker, round, at: take_reached(taker)?, stops: taker.flag()? },
                    kind::ATTEMPT => {
                        let outcome = Outcome::ALL.get(usize::from(taker.u8()?)).copied();
                        let outcome = outcome.ok_or(Why::Malformed("an outcome that doesn't exist"))?;
                        let at = if taker.flag()? { Some(take_reached(taker)?) } else { None };
                        Record::Attempt { worker, round, at, outcome }
                    }
                    _ => return Err(Why::Malformed("a record of an unknown kind")),
                }
            }
        };
        body.end()?;
        Ok(record)
    }
}

/// The worker and round of a body that can't be read otherwise, as far as they can be told.
pub(super) fn guess_place(kind: u8, body: &[u8]) -> (Option<WorkerId>, Option<u64>) {
    let mut taker = Taker(body);
    match kind {
        kind::SYNC_MARK | kind::CLEAN_STOP => (None, None),
        kind::WORKER_STARTED | kind::WORKER_KEPT => (take_worker(&mut taker).ok(), None),
        _ => match take_worker(&mut taker) {
            Ok(worker) => (Some(worker), taker.varint().ok()),
            Err(_) => (None, None),
        },
    }
}

/// The most batches of a round. Nodes take far fewer into one.
const ROUND_BATCHES_MAX: u64 = 4096;

/// The batches of a round, where they lie in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batches<'a> {
    left: u64,
    bytes: &'a [u8],
}

impl<'a> Batches<'a> {
    /// Takes the batches up to the end of a body, and checks that each can be taken again.
    fn take(taker: &mut Taker<'a>) -> Result<Batches<'a>, Why> {
        let left = taker.varint()?;
        if left > ROUND_BATCHES_MAX {
            return Err(Why::Malformed("a round of more batches than any node takes"));
        }
        let bytes = taker.0;
        for _ in 0..left {
            take_batch(taker)?;
        }
        Ok(Batches { left, bytes })
    }

    /// True if there are none, as in a round that a timer began.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = BatchRef<'a>;

    fn next(&mut self) -> Option<BatchRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        let mut taker = Taker(self.bytes);
        let batch = take_batch(&mut taker).expect("the batches were checked when the record was read");
        self.bytes = taker.0;
        Some(batch)
    }
}

//! How a node comes back from its directory: which snapshots count, what has to be played back, and what has to be put
//! in again because its receiver had not recorded it.
//!
//! Any prefix of the journal is a consistent cut of the node, so nothing is computed here: workers are restored from
//! their snapshots, their recorded rounds run again, and each finishes the round that it was in. What they put out on the
//! way is kept as far as its receiver has not recorded it, and enters again when the node goes on; numbers keep it from
//! being done twice.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    NodeError, StartError,
    retained::{DriverImage, Held},
};
use crate::{
    codec::{Codec, Trust},
    digest::Digest,
    frame::{Batch, BatchRef},
    id::{Epoch, Place, RawQueueId, RequestId, WorkerId},
    journal::{
        Manifest, NodeLock, Position, ReadError, Reader, Record, Storage, Tail, Unsupported, segment_path, snapshots,
    },
    playback::{Audience, Playback},
    worker::{Catalogue, Table, Worker, WorkerConfig},
};

/// Where a node's snapshots go.
#[derive(Debug, Clone)]
pub(super) struct Snapshots {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) dir: PathBuf,
    pub(super) identity: u128,
    pub(super) epoch: Epoch,
}

impl Snapshots {
    pub(super) fn store(&self, worker: WorkerId, round: u64, image: &[u8], driver: &[u8]) -> Result<(), NodeError> {
        let parts =
            snapshots::SnapshotParts { worker, round, epoch: self.epoch, identity: self.identity, image, driver };
        Ok(snapshots::store(&*self.storage, &self.dir, &parts)?)
    }
}

/// What was read of a node's directory, before its workers go on.
pub(super) struct Recovered {
    pub(super) playback: Playback,
    pub(super) kept: Kept,
    pub(super) tail: Option<Tail>,
    /// The seed of the node's workers.
    pub(super) seed: Option<u64>,
    /// The lowest number that no worker has had.
    pub(super) next_worker: u32,
    /// The workers that were started on request.
    pub(super) started_for: StartedFor,
    /// By worker, the round of the snapshot that it was restored from.
    pub(super) restored: BTreeMap<WorkerId, u64>,
}

/// The snapshots to start from, and where in the journal to read on.
struct Plan {
    /// By worker, the mark that counts: its round and image's digest.
    marks: BTreeMap<WorkerId, Vec<Mark>>,
    started: BTreeMap<WorkerId, Position>,
    next_worker: u32,
    /// From the journal's start on: a request may be older than the snapshots that playback starts from.
    started_for: StartedFor,
    seed: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    position: Position,
    round: u64,
    digest: u64,
    image_digest: u64,
    driver_digest: u64,
}

/// Reads the journal once through: checks every record, and finds the snapshots that count.
fn plan(reader: &mut Reader, catalogue: &Catalogue, dir: &Path) -> Result<Plan, StartError> {
    let mut plan = Plan {
        marks: BTreeMap::new(),
        started: BTreeMap::new(),
        next_worker: 0,
        started_for: StartedFor::new(),
        seed: None,
    };
    let mut checked = None;
    while let Some(entry) = reader.next()? {
        match entry.record {
            Record::WorkerStarted { worker, request, .. } => {
                plan.started.insert(worker, entry.position);
                plan.started_for.extend(request.map(|request| (request, worker)));
                plan.next_worker = plan.next_worker.max(worker.0 + 1);
            }
            Record::SnapshotMark { worker, round, digest, image_digest, driver_digest } => {
                let mark = Mark { position: entry.position, round, digest, image_digest, driver_digest };
                plan.marks.entry(worker).or_default().push(mark);
            }
            _ => {}
        }
        let segment = entry.position.segment;
        if checked != Some(segment) {
            checked = Some(segment);
            check_program(reader, catalogue, dir)?;
            let config = reader.header().map(|header| Codec::CURRENT.decode(&header.info.configuration, Trust::Node));
            plan.seed = config.and_then(Result::ok).map(|config: WorkerConfig| config.seed);
        }
    }
    Ok(plan)
}

/// A journal belongs to the program that wrote it: the segment's kinds and message types must be this program's.
fn check_program(reader: &Reader, catalogue: &Catalogue, dir: &Path) -> Result<(), StartError> {
    let Some(header) = reader.header() else { return Ok(()) };
    if let Some(what) = header.info.unsupported() {
        let file = segment_path(dir, header.segment);
        return Err(ReadError::from(Unsupported { file, offset: 0, what }).into());
    }
    let table = Table::from_bytes(&header.info.catalogue)
        .map_err(|error| StartError::Catalogue(format!("segment {}: {error}", header.segment)))?;
    if table.is_foreign_to(catalogue.table()) {
        return Err(StartError::ForeignProgram { dir: dir.into(), wrote: reader.manifest().program.clone() });
    }
    let differences = table.differences(catalogue.table());
    if differences.is_empty() {
        return Ok(());
    }
    Err(StartError::Changed { dir: dir.into(), differences })
}

/// Plays a node's journal back up to its end, without finishing its last rounds.
pub(super) fn recover(
    storage: &Arc<dyn Storage>,
    dir: &Path,
    lock: &NodeLock,
    manifest: &Manifest,
    catalogue: &Arc<Catalogue>,
) -> Result<Recovered, StartError> {
    let mut reader = Reader::open_locked(storage.clone(), dir, lock)?;
    let Plan { marks, started, next_worker, started_for, seed } = plan(&mut reader, catalogue, dir)?;
    let tail = reader.tail().cloned();
    if let Some(lost) = tail.as_ref().and_then(|tail| tail.lost.as_ref()) {
        tracing::warn!(dir = %dir.display(), %lost, "the journal's tail was lost in the crash");
    }
    let mut playback = Playback::new(catalogue.clone(), manifest.node);
    let mut kept = Kept::default();
    let mut rounds_restored = BTreeMap::new();
    let mut from = reader_end(&tail);
    for (worker, position) in started {
        let restored = marks.get(&worker).into_iter().flatten().rev().find_map(|mark| {
            restore(&**storage, dir, manifest, catalogue, worker, mark, &mut kept).map(|worker| (worker, *mark))
        });
        match restored {
            Some((worker, mark)) => {
                from = from.min(mark.position);
                rounds_restored.insert(worker.id(), mark.round);
                playback.resume(worker, mark.digest);
            }
            None => from = from.min(position),
        }
    }
    reader.seek(if tail.as_ref().is_none_or(|tail| tail.last.is_none()) { Position::default() } else { from })?;
    while let Some(entry) = reader.next()? {
        let position = entry.position;
        playback.apply(&entry.record, &mut kept).map_err(|source| StartError::Playback { position, source })?;
    }
    Ok(Recovered { playback, kept, tail, seed, next_worker, started_for, restored: rounds_restored })
}

/// A position behind all records.
fn reader_end(tail: &Option<Tail>) -> Position {
    tail.as_ref().and_then(|tail| tail.last.as_ref()).map_or_else(Position::default, |last| last.position())
}

/// Restores a worker from a snapshot. One that can't be read is passed over: an older one, or the journal from the
/// worker's start, gives the same worker.
fn restore(
    storage: &dyn Storage,
    dir: &Path,
    manifest: &Manifest,
    catalogue: &Arc<Catalogue>,
    worker: WorkerId,
    mark: &Mark,
    kept: &mut Kept,
) -> Option<Worker> {
    let passed_over = |why: &dyn std::fmt::Display| {
        tracing::warn!(%worker, round = mark.round, %why, "a snapshot is passed over");
    };
    let snapshot = snapshots::load(storage, dir, manifest.identity, worker, mark.round);
    let snapshot = snapshot.inspect_err(|error| passed_over(error)).ok()?;
    // What the driver kept is as old as the mark: a later snapshot of the same round may lack what was acknowledged by records
    // that this journal has lost.
    if (Digest::of(snapshot.image()), Digest::of(snapshot.driver())) != (mark.image_digest, mark.driver_digest) {
        passed_over(&"it is not the one that the journal's mark is of");
        return None;
    }
    let driver = DriverImage::from_bytes(snapshot.driver()).inspect_err(|error| passed_over(error)).ok()?;
    let restored = Worker::restore(catalogue.clone(), snapshot.image());
    let restored = restored.inspect_err(|error| passed_over(error)).ok()?;
    kept.resume(worker, driver);
    Some(restored)
}

/// What workers put out while they are played back, as far as it is still needed.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// By sender and receiver: batches that the receiver has not recorded.
    streams: BTreeMap<(WorkerId, Place), VecDeque<Batch>>,
    /// Requests to edges.
    held: BTreeMap<WorkerId, Held>,
}

impl Kept {
    fn resume(&mut self, worker: WorkerId, driver: DriverImage) {
        for (to, batch) in driver.unacknowledged {
            self.streams.entry((worker, to)).or_default().push_back(batch);
        }
        let held = self.held.entry(worker).or_default();
        for (to, batch) in driver.held {
            held.keep(to, &batch.as_ref());
        }
    }

    /// What a worker put out to others that they have not recorded. Its receivers see to what they have.
    pub(super) fn take_outputs(&mut self, worker: WorkerId) -> Vec<(Place, Batch)> {
        let mut left = Vec::new();
        for ((sender, to), batches) in &mut self.streams {
            if *sender == worker {
                left.extend(batches.drain(..).map(|batch| (*to, batch)));
            }
        }
        left
    }

    /// Requests of a worker's FSMs to edges, answered ones among them.
    pub(super) fn take_requests(&mut self, worker: WorkerId) -> Held {
        self.held.remove(&worker).unwrap_or_default()
    }
}

impl Audience for Kept {
    fn output(&mut self, worker: WorkerId, to: Place, batch: &BatchRef<'_>) {
        if to.as_worker().is_some() {
            self.streams.entry((worker, to)).or_default().push_back(batch.to_batch());
        } else {
            // What else was put out for an edge went with what it was for.
            self.held.entry(worker).or_default().keep(to, batch);
        }
    }

    fn round(&mut self, worker: &Worker, taken: &[BatchRef<'_>]) {
        let here = Place::worker(worker.id());
        for batch in taken {
            let Some(sender) = batch.source.as_worker() else { continue };
            let Some(stream) = self.streams.get_mut(&(sender, here)) else { continue };
            while stream.front().is_some_and(|front| front.as_ref().next_number() <= batch.next_number()) {
                stream.pop_front();
            }
        }
        if let Some(held) = self.held.get_mut(&worker.id()) {
            held.prune(worker);
        }
    }
}

/// Which worker was started for which request.
pub(super) type StartedFor = BTreeMap<(RawQueueId, RequestId), WorkerId>;

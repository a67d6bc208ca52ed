//! A node's directory while the node runs: its manifest, its snapshots, and how much of the journal's beginning is kept.
//!
//! The journal is given up segment by segment from its beginning on, behind what every worker can go on from: its second newest
//! snapshot that counts, so that one may be damaged; or its start. First each worker whose start goes is named at the journal's
//! end, then that is brought to disk, then the manifest says which segment is the oldest, and only then files go. So over a
//! crash at any point there is all that the manifest counts.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{NodeError, shared::LOCK_REASON};
use crate::{
    id::{Epoch, RawQueueId, RequestId, WorkerId},
    journal::{
        Journal, JournalError, Manifest, Position, Record, Storage,
        holdings::{Holdings, remove_segment, remove_snapshot},
        snapshots::{self, SnapshotParts},
    },
};

/// How many snapshots of each worker there are to go on from, at least.
const SNAPSHOTS_MIN: usize = 2;

pub(super) struct Directory {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) dir: PathBuf,
    identity: u128,
    epoch: Epoch,
    /// How many bytes are to be kept; all if it doesn't say.
    retain_bytes: Option<u64>,
    state: Mutex<State>,
}

struct State {
    manifest: Manifest,
    workers: BTreeMap<WorkerId, Lasting>,
    /// It was said that the budget can't be held, and isn't any more.
    said: bool,
}

/// What a worker can be brought back from.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    /// Where the record of its start stands, or before that; none once that may be given up.
    pub(super) started: Option<Position>,
    pub(super) request: Option<(RawQueueId, RequestId)>,
    /// Where snapshots are marked, and their rounds.
    pub(super) marks: VecDeque<(Position, u64)>,
}

impl Lasting {
    /// The oldest segment that is needed to go on from it, with the journal on disk up to `synced`.
    fn oldest_needed(&self, synced: Position) -> u64 {
        let counting = self.marks.iter().take_while(|(at, _)| *at <= synced).count();
        match counting.checked_sub(SNAPSHOTS_MIN) {
            Some(at) => self.marks[at].0.segment,
            None => self.started.or(self.marks.front().map(|(at, _)| *at)).map_or(0, |at| at.segment),
        }
    }

    fn forget_before(&mut self, segment: u64) {
        self.started = self.started.filter(|at| at.segment >= segment);
        self.marks.retain(|(at, _)| at.segment >= segment);
    }

    /// Keeps no more snapshots than are needed.
    fn forget_surplus(&mut self, synced: Position) {
        while self.marks.get(SNAPSHOTS_MIN).is_some_and(|(at, _)| *at <= synced) {
            self.marks.pop_front();
        }
    }

    /// True if a snapshot is none that it is brought back from, and none that is being taken.
    fn is_past(&self, round: u64) -> bool {
        self.marks.back().is_some_and(|(_, newest)| round < *newest) && self.marks.iter().all(|(_, of)| *of != round)
    }
}

/// What is to be given up.
#[derive(Debug, PartialEq, Eq)]
struct Surplus {
    /// All segments before this one.
    before: u64,
    /// Workers without which it would be more.
    waits_for: Vec<WorkerId>,
    /// It is over the budget all the same.
    is_over: bool,
}

impl Directory {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        dir: PathBuf,
        manifest: Manifest,
        retain_bytes: Option<u64>,
        workers: BTreeMap<WorkerId, Lasting>,
    ) -> Directory {
        let (identity, epoch) = (manifest.identity, manifest.epoch);
        let state = Mutex::new(State { manifest, workers, said: false });
        Directory { storage, dir, identity, epoch, retain_bytes, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(LOCK_REASON)
    }

    /// True if the journal's beginning is given up some time.
    pub(super) fn is_bounded(&self) -> bool {
        self.retain_bytes.is_some()
    }

    /// A worker is about to be started: its record will stand behind that position.
    pub(super) fn starts(&self, worker: WorkerId, after: Position, request: Option<(RawQueueId, RequestId)>) {
        let lasting = Lasting { started: Some(after), request, marks: VecDeque::new() };
        self.state().workers.insert(worker, lasting);
    }

    pub(super) fn store_snapshot(
        &self,
        worker: WorkerId,
        round: u64,
        image: &[u8],
        driver: &[u8],
    ) -> Result<(), NodeError> {
        let Directory { identity, epoch, .. } = *self;
        let parts = SnapshotParts { worker, round, epoch, identity, image, driver };
        Ok(snapshots::store(&*self.storage, &self.dir, &parts)?)
    }

    /// A snapshot was marked, in a record that ends there.
    pub(super) fn marked(&self, worker: WorkerId, round: u64, end: Position) {
        let mut state = self.state();
        let marks = &mut state.workers.entry(worker).or_default().marks;
        marks.push_back((end, round));
        if self.retain_bytes.is_none() && marks.len() > SNAPSHOTS_MIN {
            // Nobody asks for them.
            marks.pop_front();
        }
    }

    /// Gives up so much of the journal's beginning as is over the budget and isn't needed. Says which workers would have to mark a
    /// snapshot before more can be given up.
    pub(super) fn hold_budget(&self, journal: &Journal) -> Result<Vec<WorkerId>, NodeError> {
        let Some(retain_bytes) = self.retain_bytes else { return Ok(Vec::new()) };
        let (storage, dir) = (&*self.storage, &*self.dir);
        let holdings = Holdings::look(storage, dir).map_err(JournalError::from)?;
        let (synced, mut state) = (journal.synced(), self.state());
        let Surplus { before, waits_for, is_over } = state.surplus(&holdings, retain_bytes, synced);
        state.say(&holdings, retain_bytes, &waits_for);
        let mut manifest = state.manifest.clone();
        if before > manifest.oldest_segment {
            let begun_before = |lasting: &Lasting| lasting.started.is_none_or(|at| at.segment < before);
            let kept: Vec<_> = state.workers.iter().filter(|(_, lasting)| begun_before(lasting)).collect();
            let kept: Vec<_> = kept.into_iter().map(|(worker, lasting)| (*worker, lasting.request)).collect();
            // Workers mark snapshots meanwhile.
            drop(state);
            for (worker, request) in kept {
                journal.append(&Record::WorkerKept { worker, request })?;
            }
            journal.sync()?;
            manifest.oldest_segment = before;
            manifest.reached = journal.synced();
            manifest.store(storage, dir)?;
            state = self.state();
            state.manifest = manifest;
            state.workers.values_mut().for_each(|lasting| lasting.forget_before(before));
        }
        if is_over {
            state.workers.values_mut().for_each(|lasting| lasting.forget_surplus(synced));
        }
        let State { manifest, workers, .. } = &*state;
        let segments: Vec<_> = holdings.segments.range(..manifest.oldest_segment).map(|(number, _)| *number).collect();
        let is_past = |worker: &WorkerId, round| workers.get(worker).is_some_and(|lasting| lasting.is_past(round));
        let snapshots = holdings.snapshots.keys().filter(|(worker, round)| is_past(worker, *round));
        let snapshots: Vec<_> = if segments.is_empty() && !is_over { Vec::new() } else { snapshots.copied().collect() };
        drop(state);
        let removed = segments.into_iter().map(|number| remove_segment(storage, dir, number));
        let removed = removed.chain(snapshots.into_iter().map(|(of, round)| remove_snapshot(storage, dir, of, round)));
        for error in removed.filter_map(Result::err) {
            // Nobody counts on what is gone, so nothing but room is lost; it is tried again.
            tracing::warn!(%error, "a file that is not needed any more stays");
        }
        Ok(waits_for)
    }

    /// Says that the node was stopped cleanly, with the journal on disk up to there.
    pub(super) fn stopped_cleanly(&self, reached: Position) -> Result<(), JournalError> {
        let manifest = Manifest { clean: true, reached, ..self.state().manifest.clone() };
        manifest.store(&*self.storage, &self.dir)
    }
}

impl State {
    /// What is over the budget, and isn't needed with the journal on disk up to `synced`.
    fn surplus(&self, holdings: &Holdings, retain_bytes: u64, synced: Position) -> Surplus {
        let oldest = self.manifest.oldest_segment;
        let held = |from| self.bytes_from(holdings, from);
        let wanted = (oldest..synced.segment).find(|from| held(*from) <= retain_bytes).unwrap_or(synced.segment);
        let needed = |lasting: &Lasting| lasting.oldest_needed(synced);
        let before = self.workers.values().map(needed).fold(wanted, u64::min).max(oldest);
        let waits = self.workers.iter().filter(|(_, lasting)| needed(lasting) < wanted);
        Surplus { before, waits_for: waits.map(|(worker, _)| *worker).collect(), is_over: held(before) > retain_bytes }
    }

    /// How many bytes would be held if the journal began with that segment.
    fn bytes_from(&self, holdings: &Holdings, segment: u64) -> u64 {
        let Holdings { segments, snapshots, prepared_bytes } = holdings;
        let is_kept = |worker: &WorkerId, round| {
            let marks = self.workers.get(worker).map(|lasting| &lasting.marks);
            // One that isn't marked yet is being taken.
            marks.is_none_or(|marks| {
                marks.back().is_none_or(|(_, newest)| round > *newest)
                    || marks.iter().any(|(at, of)| *of == round && at.segment >= segment)
            })
        };
        let snapshots = snapshots.iter().filter(|((worker, round), _)| is_kept(worker, *round));
        segments.range(segment..).map(|(_, bytes)| bytes).sum::<u64>()
            + snapshots.map(|(_, bytes)| bytes).sum::<u64>()
            + prepared_bytes
    }

    /// Says so when the directory holds twice its budget, once until it doesn't.
    fn say(&mut self, holdings: &Holdings, retain_bytes: u64, waits_for: &[WorkerId]) {
        let bytes = holdings.bytes();
        let is_far_over = bytes / 2 > retain_bytes;
        if is_far_over && !self.said {
            tracing::warn!(
                bytes,
                retain_bytes,
                ?waits_for,
                "the directory holds far more than it should: its snapshots are large, or these workers don't end their rounds"
            );
        }
        self.said = is_far_over;
    }
}

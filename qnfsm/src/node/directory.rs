//! A node's directory while the node runs: its manifest, its snapshots, and how much of the journal's beginning is kept.
//!
//! The journal is given up segment by segment from its beginning on, behind what every worker can go on from: its second newest
//! snapshot that counts, so that one may be damaged; or its start. First each worker whose start goes is named at the journal's
//! end, then that is brought to disk, then the manifest says which segment is the oldest, and only then files go. So over a
//! crash at any point there is all that the manifest counts.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{NodeError, gauges::Syncs, shared::LOCK_REASON};
use crate::{
    id::{Epoch, RawQueueId, RequestId, WorkerId},
    journal::{
        Journal, JournalError, Manifest, Position, Record, Storage,
        holdings::{Holdings, remove_segment, remove_snapshot},
        snapshots::{SnapshotFile, SnapshotHeader},
    },
};

/// How many snapshots of each worker there are to go on from, at least.
const SNAPSHOTS_MIN: usize = 2;

pub(super) struct Directory {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) dir: PathBuf,
    identity: u128,
    epoch: Epoch,
    /// The program's table of kinds, which stands in each snapshot.
    catalogue: Vec<u8>,
    retention: Retention,
    state: Mutex<State>,
    /// Whether the directory is this node's still. Held by whoever renames or removes files there, the journal's writer apart.
    is_ours: Mutex<bool>,
}

/// How much of the journal's beginning is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    /// How many bytes are to be kept; all if it doesn't say.
    pub(super) bytes: Option<u64>,
    /// Nobody goes on from it, so that no worker may hold up for long what is given up.
    pub(super) is_ring: bool,
}

struct State {
    manifest: Manifest,
    workers: BTreeMap<WorkerId, Lasting>,
    /// It was said that the budget can't be held, and isn't any more.
    said: bool,
    /// Workers that are asked to mark a snapshot, so that more can be given up.
    waits_for: Vec<WorkerId>,
    /// Segments before this one are given up, or are about to be.
    given_up_before: u64,
}

/// What a worker can be brought back from.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    /// Where the record of its start stands, or before that; none once that may be given up.
    pub(super) started: Option<Position>,
    pub(super) request: Option<(RawQueueId, RequestId)>,
    /// The snapshots that are marked, in order.
    pub(super) marks: VecDeque<Marked>,
}

/// A snapshot that is marked in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) round: u64,
    /// From where on the journal has what the worker did since.
    pub(super) from: Position,
    /// It counts once this is on disk.
    pub(super) end: Position,
}

impl Lasting {
    /// The oldest segment that is needed to go on from it, with the journal on disk up to `synced`.
    fn oldest_needed(&self, synced: Position) -> u64 {
        let counting = self.marks.iter().take_while(|marked| marked.end <= synced).count();
        match counting.checked_sub(SNAPSHOTS_MIN) {
            Some(at) => self.marks[at].from.segment,
            None => self.started.or(self.marks.front().map(|marked| marked.from)).map_or(0, |at| at.segment),
        }
    }

    fn forget_before(&mut self, segment: u64) {
        self.started = self.started.filter(|at| at.segment >= segment);
        self.marks.retain(|marked| marked.from.segment >= segment);
    }

    /// Keeps no more snapshots than are needed.
    fn forget_surplus(&mut self, synced: Position) {
        while self.marks.get(SNAPSHOTS_MIN).is_some_and(|marked| marked.end <= synced) {
            self.marks.pop_front();
        }
    }

    /// False if nothing is left that it could be brought back from.
    fn is_covered(&self) -> bool {
        self.started.is_some() || !self.marks.is_empty()
    }

    /// True if a snapshot is none that it is brought back from, and none that is being taken.
    fn is_past(&self, round: u64) -> bool {
        self.marks.back().is_some_and(|newest| round < newest.round) && self.marks.iter().all(|of| of.round != round)
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
        catalogue: Vec<u8>,
        retention: Retention,
        workers: BTreeMap<WorkerId, Lasting>,
    ) -> Directory {
        let (identity, epoch) = (manifest.identity, manifest.epoch);
        let state = Mutex::new(State { manifest, workers, said: false, waits_for: Vec::new(), given_up_before: 0 });
        Directory { storage, dir, identity, epoch, catalogue, retention, state, is_ours: Mutex::new(true) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(LOCK_REASON)
    }

    /// A storage of the user's may panic under it, and leaves nothing half done there.
    fn is_ours(&self) -> MutexGuard<'_, bool> {
        self.is_ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if the journal's beginning is given up some time.
    pub(super) fn is_bounded(&self) -> bool {
        self.retention.bytes.is_some()
    }

    /// A worker is about to be started. From now on the segment that its record comes to stand in isn't given up.
    pub(super) fn starts(&self, worker: WorkerId, journal: &Journal, request: Option<(RawQueueId, RequestId)>) {
        let mut state = self.state();
        let lasting = Lasting { started: Some(journal.position()), request, marks: VecDeque::new() };
        state.workers.insert(worker, lasting);
    }

    /// Makes the file of a snapshot, which then comes piece by piece.
    pub(super) fn snapshot_file(&self, worker: WorkerId, round: u64) -> Result<SnapshotFile, JournalError> {
        let Directory { identity, epoch, ref catalogue, .. } = *self;
        let about = SnapshotHeader { worker, round, epoch, identity, catalogue };
        SnapshotFile::create(self.storage.clone(), &self.dir, &about)
    }

    /// Ends a snapshot's file, and gives it its name when all of it is on disk; not if the directory was let go of meanwhile.
    pub(super) fn put_snapshot_in_place(&self, file: SnapshotFile, driver: &[u8]) -> Result<(), JournalError> {
        file.finish_in(driver, || Some(self.is_ours()).filter(|is_ours| **is_ours))
    }

    /// Marks a snapshot with a record, which `append` writes. Not if what the worker did since it was begun has been given up
    /// meanwhile, as a ring may: then it would be taken for one from which one can go on. Says where the mark ends.
    pub(super) fn mark(
        &self,
        worker: WorkerId,
        round: u64,
        begun: Position,
        append: impl FnOnce() -> Result<Position, JournalError>,
    ) -> Result<Option<Position>, JournalError> {
        // Where everything is kept, nobody asks what could go.
        if !self.is_bounded() {
            return append().map(Some);
        }
        // Nothing is given up meanwhile.
        let mut state = self.state();
        if begun.segment < state.given_up_before {
            return Ok(None);
        }
        let end = append()?;
        let marked = Marked { round, from: begun, end };
        state.workers.entry(worker).or_default().marks.push_back(marked);
        Ok(Some(end))
    }

    /// True if a worker is asked to mark a snapshot, and hasn't in the segment that is written.
    pub(super) fn waits_for(&self, worker: WorkerId, journal: &Journal) -> bool {
        if !self.is_bounded() {
            return false;
        }
        let state = self.state();
        let marked =
            state.workers.get(&worker).and_then(|lasting| lasting.marks.back()).map(|marked| marked.from.segment);
        state.waits_for.contains(&worker) && marked < Some(journal.position().segment)
    }

    /// What it holds.
    pub(super) fn look(&self) -> Result<Holdings, JournalError> {
        Ok(Holdings::look(&*self.storage, &self.dir)?)
    }

    /// Gives up so much of the journal's beginning as is over the budget and isn't needed. Says which workers would have to mark a
    /// snapshot before more can be given up.
    pub(super) fn hold_budget(&self, journal: &Journal, syncs: &Syncs) -> Result<Vec<WorkerId>, NodeError> {
        let Retention { bytes: Some(retain_bytes), is_ring } = self.retention else { return Ok(Vec::new()) };
        let is_ours = self.is_ours();
        if !*is_ours {
            return Ok(Vec::new());
        }
        let (storage, dir) = (&*self.storage, &*self.dir);
        let holdings = self.look()?;
        let (synced, mut state) = (journal.synced(), self.state());
        let Surplus { before, waits_for, is_over } = state.surplus(&holdings, retain_bytes, is_ring, synced);
        state.say(&holdings, retain_bytes, &waits_for);
        state.given_up_before = state.given_up_before.max(before);
        let mut manifest = state.manifest.clone();
        if before > manifest.oldest_segment {
            let begun_before = |lasting: &Lasting| lasting.started.is_none_or(|at| at.segment < before);
            let kept: Vec<_> = state.workers.iter().filter(|(_, lasting)| begun_before(lasting)).collect();
            let kept: Vec<_> = kept.into_iter().map(|(worker, lasting)| (*worker, lasting.request)).collect();
            // Workers mark snapshots meanwhile.
            drop(state);
            for (worker, request) in kept {
                manifest.kept_end = journal.append(&Record::WorkerKept { worker, request })?;
            }
            syncs.sync(journal)?;
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
        state.waits_for.clone_from(&waits_for);
        drop(state);
        let removed = segments.into_iter().map(|number| remove_segment(storage, dir, number));
        let removed = removed.chain(snapshots.into_iter().map(|(of, round)| remove_snapshot(storage, dir, of, round)));
        for error in removed.filter_map(Result::err) {
            // Nobody counts on what is gone, so nothing but room is lost; it is tried again.
            tracing::warn!(%error, "a file that is not needed any more stays");
        }
        Ok(waits_for)
    }

    /// Does something with the files as they are, while none is let go of; or says which workers could not be brought back from
    /// them.
    pub(super) fn while_nothing_is_given_up<T>(&self, done: impl FnOnce() -> T) -> Result<T, Vec<WorkerId>> {
        let _is_ours = self.is_ours();
        let state = self.state();
        let not_covered = state.workers.iter().filter(|(_, lasting)| !lasting.is_covered());
        let not_covered: Vec<_> = not_covered.map(|(worker, _)| *worker).collect();
        drop(state);
        if not_covered.is_empty() { Ok(done()) } else { Err(not_covered) }
    }

    /// Changes nothing there any more: the directory is about to be let go of.
    pub(super) fn let_go(&self) {
        *self.is_ours() = false;
    }

    /// Says that the node was stopped cleanly, with the journal on disk up to there.
    pub(super) fn stopped_cleanly(&self, reached: Position) -> Result<(), JournalError> {
        let manifest = Manifest { clean: true, reached, ..self.state().manifest.clone() };
        manifest.store(&*self.storage, &self.dir)
    }
}

impl State {
    /// What is over the budget, and isn't needed with the journal on disk up to `synced`.
    fn surplus(&self, holdings: &Holdings, retain_bytes: u64, is_ring: bool, synced: Position) -> Surplus {
        let oldest = self.manifest.oldest_segment;
        let held = |from| self.bytes_from(holdings, from);
        let is_enough = |bytes_max| (oldest..synced.segment).find(|from| held(*from) <= bytes_max);
        let wanted = is_enough(retain_bytes).unwrap_or(synced.segment);
        let needed = |lasting: &Lasting| lasting.oldest_needed(synced);
        let journal_bytes =
            |from: u64| holdings.segments.range(from.max(oldest)..).map(|(_, bytes)| bytes).sum::<u64>();
        // A ring gives up what a worker needs that hasn't ended its round while twice as much was recorded as is kept.
        let counts = |lasting: &&Lasting| {
            !is_ring || (lasting.is_covered() && journal_bytes(needed(lasting)) / 2 <= retain_bytes)
        };
        let before = self.workers.values().filter(counts).map(needed).fold(wanted, u64::min).max(oldest);
        // Memory is not to be exceeded while workers that rest wake up: they are asked before it is full.
        let asked_for =
            if is_ring { is_enough(retain_bytes - retain_bytes / 4).unwrap_or(synced.segment) } else { wanted };
        let waits = self.workers.iter().filter(|(_, lasting)| needed(lasting) < asked_for);
        Surplus { before, waits_for: waits.map(|(worker, _)| *worker).collect(), is_over: held(before) > retain_bytes }
    }

    /// How many bytes would be held if the journal began with that segment.
    fn bytes_from(&self, holdings: &Holdings, segment: u64) -> u64 {
        let Holdings { segments, snapshots, prepared_bytes } = holdings;
        let is_kept = |worker: &WorkerId, round| {
            let marks = self.workers.get(worker).map(|lasting| &lasting.marks);
            // One that isn't marked yet is being taken.
            marks.is_none_or(|marks| {
                marks.back().is_none_or(|newest| round > newest.round)
                    || marks.iter().any(|of| of.round == round && of.from.segment >= segment)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::NodeId,
        journal::{SegmentInfo, simulated::SimulatedDisk, snapshots},
        node::facade::Facade,
    };

    const WORKER: WorkerId = WorkerId(3);

    fn at(segment: u64) -> Position {
        Position { segment, offset: 50 }
    }

    /// A snapshot that was begun and marked in that segment.
    fn marked(segment: u64) -> Marked {
        Marked { round: segment * 10, from: at(segment), end: at(segment) }
    }

    /// A worker that was started in segment 1, or in one that is gone, with snapshots marked in these segments, of rounds that are
    /// ten times as many.
    fn worker(started: Option<u64>, marks: &[u64]) -> Lasting {
        let marks = marks.iter().map(|segment| marked(*segment)).collect();
        Lasting { started: started.map(at), request: None, marks }
    }

    fn state(workers: Vec<Lasting>) -> State {
        let manifest = Manifest::new(1, NodeId(0), "test", 1);
        State {
            manifest,
            workers: (0..).map(WorkerId).zip(workers).collect(),
            said: false,
            waits_for: vec![],
            given_up_before: 0,
        }
    }

    /// Segments 1 to 9 of 100 bytes each, and snapshots of 10.
    fn holdings(state: &State) -> Holdings {
        let rounds = |lasting: &Lasting| lasting.marks.iter().map(|marked| marked.round).collect::<Vec<_>>();
        let snapshots =
            state.workers.iter().flat_map(|(of, lasting)| rounds(lasting).into_iter().map(|round| ((*of, round), 10)));
        Holdings {
            segments: (1..=9).map(|segment| (segment, 100)).collect(),
            snapshots: snapshots.collect(),
            prepared_bytes: 0,
        }
    }

    fn surplus(workers: Vec<Lasting>, retain_bytes: u64, synced: u64) -> (u64, Vec<u32>) {
        let state = state(workers);
        let Surplus { before, waits_for, .. } = state.surplus(&holdings(&state), retain_bytes, false, at(synced));
        (before, waits_for.iter().map(|worker| worker.0).collect())
    }

    #[test]
    fn no_more_is_given_up_than_is_over_the_budget() {
        let workers = || vec![worker(None, &[1, 8, 9])];
        assert_eq!(surplus(workers(), 930, 9), (1, vec![]));
        // With the first segment the snapshot goes that is marked there.
        assert_eq!(surplus(workers(), 929, 9), (2, vec![]));
        assert_eq!(surplus(workers(), 820, 9), (2, vec![]));
        assert_eq!(surplus(workers(), 819, 9), (3, vec![]));
    }

    #[test]
    fn a_ring_gives_up_what_a_worker_needs_once_that_is_twice_what_is_kept_and_knows_that_it_is_not_covered() {
        let ring = |workers, retain_bytes| {
            let mut state = state(workers);
            let Surplus { before, waits_for, .. } = state.surplus(&holdings(&state), retain_bytes, true, at(9));
            state.workers.values_mut().for_each(|lasting| lasting.forget_before(before));
            let covered: Vec<_> = state.workers.values().map(Lasting::is_covered).collect();
            (before, waits_for.iter().map(|worker| worker.0).collect::<Vec<_>>(), covered)
        };
        let stuck = || vec![worker(None, &[8, 9]), worker(Some(1), &[])];
        // All nine segments are 900 bytes.
        assert_eq!(ring(stuck(), 450), (1, vec![1], vec![true, true]));
        assert_eq!(ring(stuck(), 449), (6, vec![1], vec![true, false]));
        // One that has nothing any more holds nothing up.
        assert_eq!(ring(vec![worker(None, &[8, 9]), worker(None, &[])], 450), (6, vec![1], vec![true, false]));
        // Those that rest are asked a quarter before.
        assert_eq!(ring(vec![worker(Some(1), &[]), worker(None, &[8, 9])], 1200), (1, vec![0], vec![true, true]));
        assert_eq!(ring(vec![worker(Some(1), &[]), worker(None, &[8, 9])], 1300), (1, vec![], vec![true, true]));
    }

    #[test]
    fn two_snapshots_that_count_are_kept_of_each_worker_and_the_start_of_those_that_have_fewer() {
        assert_eq!(surplus(vec![worker(None, &[3, 5, 7])], 0, 9), (5, vec![0]));
        assert_eq!(surplus(vec![worker(None, &[3, 5, 7]), worker(None, &[2, 4])], 0, 9), (2, vec![0, 1]));
        assert_eq!(surplus(vec![worker(Some(1), &[3, 5, 7])], 0, 9), (5, vec![0]));
        assert_eq!(surplus(vec![worker(Some(2), &[7])], 0, 9), (2, vec![0]));
        assert_eq!(surplus(vec![worker(Some(1), &[])], 0, 9), (1, vec![0]));
        // The other one was damaged.
        assert_eq!(surplus(vec![worker(None, &[7])], 0, 9), (7, vec![0]));
    }

    #[test]
    fn a_snapshot_counts_when_the_journal_is_on_disk_past_its_mark() {
        assert_eq!(surplus(vec![worker(None, &[3, 5, 7])], 0, 7), (5, vec![0]));
        assert_eq!(surplus(vec![worker(None, &[3, 5, 7])], 0, 6), (3, vec![0]));
        let just_before = Position { offset: 49, ..at(7) };
        assert_eq!(worker(None, &[3, 5, 7]).oldest_needed(just_before), 3);
    }

    #[test]
    fn a_snapshot_goes_that_no_mark_is_of_but_none_that_is_being_taken() {
        let lasting = worker(None, &[5, 7]);
        let past = [49, 50, 51, 70, 71].map(|round| lasting.is_past(round));
        assert_eq!(past, [true, false, true, false, false]);
        assert!(!worker(Some(1), &[]).is_past(5), "its first is being taken");
    }

    #[test]
    fn what_is_over_the_budget_though_all_is_needed_lets_go_of_snapshots_that_are_not() {
        let (disk, dir) = (SimulatedDisk::default(), PathBuf::from("/node"));
        let manifest = Manifest::new(1, NodeId(0), "test", 1);
        // All are marked where nothing can be given up.
        let marks = [10, 20, 30].map(|round| Marked { round, from: at(1), end: at(1) }).into_iter().collect();
        let workers = [(WORKER, Lasting { marks, ..Lasting::default() })].into_iter().collect();
        let retention = Retention { bytes: Some(1), is_ring: false };
        let directory = Directory::new(disk.storage(), dir.clone(), manifest.clone(), Vec::new(), retention, workers);
        let info = SegmentInfo {
            codec: 1,
            generator: 1,
            identity: manifest.identity,
            node: manifest.node,
            epoch: manifest.epoch,
            epoch_random: manifest.epoch_random,
            build: 1,
            build_bytes: 1,
            catalogue: Vec::new(),
            configuration: Vec::new(),
            marks_ends: false,
        };
        let journal = Journal::begin(disk.storage(), &dir, info, None, Default::default()).unwrap();
        let syncs = Syncs::new(Facade::new("test", NodeId(0)));
        syncs.sync(&journal).unwrap();
        for round in [10, 20, 30] {
            let mut file = directory.snapshot_file(WORKER, round).unwrap();
            file.image(b"image").unwrap();
            file.finish(b"driver").unwrap();
        }
        // Not while somebody looks at what there is.
        assert!(directory.while_nothing_is_given_up(|| directory.is_ours.try_lock().is_err()).unwrap());
        assert_eq!(directory.hold_budget(&journal, &syncs).unwrap(), []);
        let left: Vec<_> = snapshots::list(&*disk.storage(), &dir).unwrap();
        assert_eq!(left, [(WORKER, 20), (WORKER, 30)]);
    }
}

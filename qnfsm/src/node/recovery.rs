//! How a node comes back from its directory: which snapshots count, what has to be played back, and what has to be put
//! in again because its receiver had not recorded it.
//!
//! Any prefix of the journal is a consistent cut of the node, so nothing is computed here: workers are restored from
//! their snapshots, their recorded rounds run again, and each finishes the round that it was in. What they put out on the
//! way is kept as far as its receiver has not recorded it, and enters again when the node goes on; numbers keep it from
//! being done twice.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::Arc,
};

use super::{
    StartError,
    directory::{Lasting, Marked},
    edge::Policies,
    retained::{DriverImage, Held},
};
use crate::{
    codec::{Codec, Trust},
    frame::{Batch, BatchRef},
    id::{Place, RawQueueId, RequestId, WorkerId},
    journal::{
        AllMarks, Manifest, Marking, Marks, NodeLock, Outcome, Position, Reached, ReadError, Reader, Record,
        SegmentHeader, SegmentInfo, Storage, Tail, Unsupported, segment_path,
        snapshots::{self, Mark},
    },
    playback::{self, Audience, Playback, Restored, Unusable},
    worker::{CarryOver, CarryOverError, Catalogue, OtherResource, Table, Worker, WorkerConfig},
};

/// The executable that brings a node back.
#[derive(Debug)]
pub(super) struct OwnBuild {
    /// Its hash and its length in bytes.
    pub(super) identity: (u64, u64),
    /// It may run what another one recorded.
    pub(super) runs_others: bool,
    /// What its edges do with requests that were under way.
    pub(super) policies: Policies,
}

/// What was read of a node's directory, before its workers go on.
pub(super) struct Recovered {
    pub(super) playback: Playback,
    pub(super) kept: Kept,
    pub(super) tail: Option<Tail>,
    /// The seed of the node's workers.
    pub(super) seed: Option<u64>,
    /// By worker, what it can be brought back from.
    pub(super) workers: BTreeMap<WorkerId, Lasting>,
    /// The workers that were started on request.
    pub(super) started_for: StartedFor,
    /// By worker, the mark of the snapshot that it was restored from.
    pub(super) restored: BTreeMap<WorkerId, Mark>,
    /// Snapshots that no mark in the journal is of, by worker and round. They may be of rounds that a crash has undone.
    pub(super) unmarked: Vec<(WorkerId, u64)>,
    /// How many messages FSMs were spared, as far as the journal still says.
    pub(super) skips: BTreeMap<RawQueueId, u32>,
    /// Workers that ran rounds which another build recorded, or this one with other resources.
    pub(super) ran_others: BTreeSet<WorkerId>,
}

/// The snapshots to start from, and where in the journal to read on.
#[derive(Default)]
struct Plan {
    /// From the journal's start on: a request may be older than the snapshots that playback starts from.
    workers: BTreeMap<WorkerId, Lasting>,
    marks: AllMarks,
    seed: Option<u64>,
    skips: BTreeMap<RawQueueId, u32>,
    /// Segments that another build wrote, and which.
    foreign: BTreeMap<u64, (u64, u64)>,
    /// Segments of a program with another table, and what differs.
    changed: BTreeMap<u64, Vec<String>>,
    /// Segments that were recorded with resources which this program doesn't have, and which.
    other_resources: BTreeMap<u64, Vec<OtherResource>>,
    /// Segments whose node marked the end of each round before it let out anything of it.
    marked: BTreeSet<u64>,
}

/// Reads the journal once through: checks every record, and finds the snapshots that count.
fn plan(reader: &mut Reader, catalogue: &Catalogue, own: &OwnBuild, dir: &Path) -> Result<Plan, StartError> {
    let (node, mut plan) = (reader.manifest().node, Plan::default());
    let (mut checked, mut ends_foreign) = (None, false);
    while let Some(entry) = reader.next()? {
        match entry.record {
            Record::WorkerStarted { worker, request, .. } => {
                let lasting = Lasting { started: Some(entry.position), request, ..Lasting::default() };
                plan.workers.insert(worker, lasting);
            }
            Record::Skipped { worker, at, .. } => {
                let (slot, generation) = at.seat;
                let queue = RawQueueId::new(node, Place::worker(worker), slot, generation);
                *plan.skips.entry(queue).or_default() += 1;
            }
            Record::WorkerKept { worker, request } => plan.workers.entry(worker).or_default().request = request,
            _ => {}
        }
        plan.marks.note(&entry.record, entry.position);
        let segment = entry.position.segment;
        if checked != Some(segment) {
            checked = Some(segment);
            let Some(SegmentHeader { info, .. }) = reader.header() else { continue };
            let (table, own_table) = (check_table(info, segment, dir)?, catalogue.table());
            ends_foreign = table.is_foreign_to(own_table);
            let (differences, resources) = (table.differences(own_table), table.other_resources(own_table));
            if !differences.is_empty() {
                plan.changed.insert(segment, differences);
            }
            if !resources.is_empty() {
                plan.other_resources.insert(segment, resources);
            }
            let config: Result<WorkerConfig, _> = Codec::CURRENT.decode(&info.configuration, Trust::Node);
            plan.seed = config.ok().map(|config| config.seed);
            let build = (info.build, info.build_bytes);
            if build != own.identity {
                plan.foreign.insert(segment, build);
            }
            if info.marks_ends {
                plan.marked.insert(segment);
            }
        }
    }
    // A journal belongs to the program that wrote it last: that has a kind at least in common with this one.
    if ends_foreign {
        return Err(StartError::ForeignProgram { dir: dir.into(), wrote: reader.manifest().program.clone() });
    }
    Ok(plan)
}

/// The table of the program that wrote a segment, which this library can read.
fn check_table(info: &SegmentInfo, segment: u64, dir: &Path) -> Result<Table, StartError> {
    if let Some(what) = info.unsupported() {
        let file = segment_path(dir, segment);
        return Err(ReadError::from(Unsupported { file, offset: 0, what }).into());
    }
    Table::from_bytes(&info.catalogue).map_err(|error| StartError::Catalogue(format!("segment {segment}: {error}")))
}

/// Plays a node's journal back up to its end, or `until` a record's end before that, without finishing its last rounds.
pub(super) fn recover(
    storage: &Arc<dyn Storage>,
    dir: &Path,
    lock: &NodeLock,
    manifest: &Manifest,
    catalogue: &Arc<Catalogue>,
    own: &OwnBuild,
    until: Option<Position>,
) -> Result<Recovered, StartError> {
    let mut reader = Reader::open_locked(storage.clone(), dir, lock)?;
    if reader.manifest() != manifest {
        return Err(StartError::Unstable {
            dir: dir.into(),
            what: "the manifest was another one each time".to_owned(),
        });
    }
    until.into_iter().for_each(|until| reader.end_at(until));
    let Plan { mut workers, mut marks, seed, skips, foreign, changed, other_resources, marked } =
        plan(&mut reader, catalogue, own, dir)?;
    let tail = reader.tail().cloned();
    if let Some(until) = until.filter(|until| *until != reader_end(&tail)) {
        let what =
            format!("the journal had a record that ends at {until} first and then ended at {}", reader_end(&tail));
        return Err(StartError::Unstable { dir: dir.into(), what });
    }
    if let Some(lost) = tail.as_ref().and_then(|tail| tail.lost.as_ref()) {
        tracing::warn!(dir = %dir.display(), %lost, "the journal's tail was lost in the crash");
    }
    let mut playback = Playback::new(catalogue.clone(), manifest.node);
    let mut kept = Kept::default();
    let (mut restored, mut ran_others, mut unusable) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    let mut from = reader_end(&tail);
    let snapshots: BTreeSet<_> = snapshots::list(&**storage, dir).map_err(ReadError::from)?.into_iter().collect();
    let unmarked = snapshots.iter().filter(|(worker, round)| !marks.has(*worker, *round)).copied().collect();
    for (worker, lasting) in &mut workers {
        let Marks { found, without_beginning, .. } = marks.0.remove(worker).unwrap_or_default();
        let mut refused: Vec<_> = without_beginning.iter().map(began_before).collect();
        let mut begins = lasting.started;
        for Marking { from, at, mark } in found.iter().rev() {
            let is_foreign = foreign.contains_key(&at.segment);
            match restore(&**storage, dir, manifest, catalogue, mark, is_foreign, &mut kept)? {
                Ok(found) => {
                    playback.resume(found, mark.digest);
                    restored.insert(*worker, *mark);
                    begins = Some(*from);
                    break;
                }
                // An older one, or the journal from the worker's start, gives the same worker.
                Err(why) => {
                    tracing::warn!(%worker, round = mark.round, %why, "a snapshot is passed over");
                    // The same one may be marked several times.
                    if !refused.contains(&why) {
                        refused.push(why);
                    }
                }
            }
        }
        let Some(begins) = begins else {
            return Err(StartError::NoSnapshot { worker: *worker, oldest_segment: manifest.oldest_segment, refused });
        };
        from = from.min(begins);
        unusable.insert(*worker, refused);
        // Older ones are needed if this one is damaged some day.
        let usable = found.iter().take_while(|older| older.from <= begins);
        let there = usable.filter(|older| snapshots.contains(&(*worker, older.mark.round)));
        lasting.marks =
            there.map(|Marking { from, at, mark }| Marked { round: mark.round, from: *from, end: *at }).collect();
    }
    reader.seek(if tail.as_ref().is_none_or(|tail| tail.last.is_none()) { Position::default() } else { from })?;
    while let Some(entry) = reader.next()? {
        let position = entry.position;
        let resources = other_resources.get(&position.segment);
        let is_foreign = resources.is_some() || foreign.contains_key(&position.segment);
        // What another build could not end, this one may. But what the node said of the round itself holds.
        if let Record::Round { worker, round, .. } = entry.record
            && restored.get(&worker).is_none_or(|mark: &Mark| mark.round < round)
        {
            // A journal's tail belongs to the build that wrote it.
            if let Some(differences) = changed.get(&position.segment) {
                let (dir, differences) = (dir.into(), differences.clone());
                let refused = unusable.remove(&worker).unwrap_or_default();
                return Err(StartError::Changed { dir, worker, round, differences, refused });
            }
            if let (false, Some(resources)) = (own.runs_others, resources) {
                let (dir, resources) = (dir.into(), resources.clone());
                let refused = unusable.remove(&worker).unwrap_or_default();
                return Err(StartError::OtherResources { dir, worker, round, resources, refused });
            }
            if let (false, Some((build, build_bytes))) = (own.runs_others, foreign.get(&position.segment)) {
                let (dir, build, build_bytes) = (dir.into(), *build, *build_bytes);
                let refused = unusable.remove(&worker).unwrap_or_default();
                return Err(StartError::OtherBuild { dir, worker, round, build, build_bytes, refused });
            }
            if is_foreign {
                ran_others.insert(worker);
            }
        }
        let is_of_another = |at: Option<Reached>, outcome| {
            is_foreign && outcome != Outcome::Parted && (at.is_some() || outcome == Outcome::GoesOn)
        };
        if matches!(entry.record, Record::Attempt { at, outcome, .. } if is_of_another(at, outcome)) {
            continue;
        }
        playback.is_of_another_build(is_foreign);
        playback.ends_are_marked(marked.contains(&position.segment));
        playback.apply(&entry.record, &mut kept).map_err(|source| StartError::Playback { position, source })?;
    }
    if reader.tail() != tail.as_ref() {
        // Each reading by itself was sound; the second one ended elsewhere.
        let ends = |tail: Option<&Tail>| {
            tail.and_then(|tail| tail.last).map_or_else(Position::default, |last| last.position())
        };
        let (first, again) = (ends(tail.as_ref()), ends(reader.tail()));
        let what = format!("the journal ended at {first} first and then at {again}");
        return Err(StartError::Unstable { dir: dir.into(), what });
    }
    kept.carry_over(&playback, catalogue, &own.policies).map_err(|(worker, source)| StartError::Left {
        dir: dir.into(),
        worker,
        source: Box::new(source),
    })?;
    let requests = workers.iter().filter_map(|(worker, lasting)| Some((lasting.request?, *worker)));
    let started_for = requests.collect();
    Ok(Recovered { playback, kept, tail, seed, workers, started_for, restored, unmarked, skips, ran_others })
}

/// Why a snapshot can't be used whose mark is all that the journal has of it.
fn began_before(mark: &Mark) -> String {
    format!("that of round {} was begun before what is kept of the journal", mark.round)
}

/// A position behind all records.
fn reader_end(tail: &Option<Tail>) -> Position {
    tail.as_ref().and_then(|tail| tail.last.as_ref()).map_or_else(Position::default, |last| last.position())
}

/// Restores a worker from a snapshot, or says what is wrong with that. What can't be carried over to this version of the program is
/// in no other snapshot either.
fn restore(
    storage: &dyn Storage,
    dir: &Path,
    manifest: &Manifest,
    catalogue: &Arc<Catalogue>,
    mark: &Mark,
    is_foreign: bool,
    kept: &mut Kept,
) -> Result<Result<Worker, String>, StartError> {
    let read = || {
        let snapshot = mark.load(storage, dir, manifest.identity).map_err(|error| error.to_string())?;
        let driver = DriverImage::from_bytes(snapshot.driver()).map_err(|error| error.to_string())?;
        Ok((snapshot, driver))
    };
    let (snapshot, driver) = match read() {
        Ok(read) => read,
        Err(why) => return Ok(Err(why)),
    };
    match playback::restore(catalogue, &snapshot) {
        Ok(Restored { worker, written_by }) => {
            if written_by.is_some() {
                tracing::info!(worker = %mark.worker, round = mark.round, "carried over from another version of the program");
            }
            match written_by.or_else(|| is_foreign.then(|| catalogue.table().clone())) {
                Some(table) => kept.leave(mark.worker, table, driver),
                None => kept.resume(mark.worker, driver),
            }
            Ok(Ok(worker))
        }
        // A node has all that its program registers.
        Err(Unusable::Damaged(why) | Unusable::Lacking(why)) => Ok(Err(why)),
        Err(Unusable::Left(source)) => {
            Err(StartError::Left { dir: dir.into(), worker: mark.worker, source: Box::new(source) })
        }
    }
}

/// What workers put out while they are played back, as far as it is still needed.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// By sender and receiver: batches that the receiver has not recorded.
    streams: BTreeMap<(WorkerId, Place), VecDeque<Batch>>,
    /// Requests to edges.
    held: BTreeMap<WorkerId, Held>,
    /// What another build left, by its table, until it is known what of it is still needed.
    left: BTreeMap<WorkerId, (Table, DriverImage)>,
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

    /// As [`resume`](Kept::resume), of a snapshot that a build with that table wrote.
    fn leave(&mut self, worker: WorkerId, table: Table, driver: DriverImage) {
        self.left.insert(worker, (table, driver));
    }

    /// Carries over what another build left and somebody is yet to read, now that workers have come as far as the journal goes.
    fn carry_over(
        &mut self,
        playback: &Playback,
        catalogue: &Arc<Catalogue>,
        policies: &Policies,
    ) -> Result<(), (WorkerId, CarryOverError)> {
        let find = |id: WorkerId| playback.workers().find(|worker| worker.id() == id);
        for (worker, (table, driver)) in std::mem::take(&mut self.left) {
            let over = CarryOver::new(&table, catalogue);
            let failed = |error| (worker, error);
            // It stands before what was put out since.
            for (to, batch) in driver.unacknowledged.into_iter().rev() {
                let receiver = to.as_worker().and_then(find);
                let batch = over.outputs(&batch.as_ref(), receiver).map_err(failed)?;
                if let Some(batch) = batch {
                    self.streams.entry((worker, to)).or_default().push_front(batch);
                }
            }
            let mut under_way = Held::default();
            driver.held.iter().for_each(|(to, batch)| under_way.keep(*to, &batch.as_ref()));
            find(worker).inspect(|asker| under_way.retain(asker));
            let held = self.held.entry(worker).or_default();
            for (_, _, to, batch) in under_way.iter() {
                let is_sent_again = to.as_edge().is_some_and(|edge| policies.sends_again(edge));
                held.keep(to, &over.request(&batch.as_ref(), is_sent_again).map_err(failed)?.as_ref());
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ExternalFault, Externals, Kinds, NodeId,
        frame::{Header, edge_queue},
        id::{EdgeId, Epoch},
        time::Time,
    };

    struct NoPorts;

    impl Externals for NoPorts {
        fn read(&mut self, _: WorkerId, _: &str, _: &[u8]) -> Result<Vec<u8>, ExternalFault> {
            Err(ExternalFault("there are no ports".to_owned()))
        }
    }

    /// As many frames of worker 0 as there are types, from that number on.
    fn batch(first: u64, types: &[Option<u32>]) -> Batch {
        let nobody = edge_queue(NodeId(0), EdgeId::HOST);
        let mut batch = Batch::new(Place::worker(WorkerId(0)), Epoch::FIRST, first);
        types.iter().for_each(|of| batch.push(&Header::message(of.expect("it is registered"), nobody, nobody), &[7]));
        batch
    }

    #[test]
    fn of_what_another_build_left_only_what_nobody_has_taken_comes_over_and_before_what_followed() {
        let sealed = |kinds: Kinds| kinds.seal().expect("the types are plain");
        let (old, new) = (sealed(Kinds::new().message::<bool>().message::<u8>()), sealed(Kinds::new().message::<u8>()));
        let (gone, stays) = (old.type_number::<bool>(), old.type_number::<u8>());
        let mut receiver = Worker::new(new.clone(), NodeId(0), WorkerId(1), Epoch::FIRST, WorkerConfig::default());
        let taken = batch(1, &[new.type_number::<u8>(); 2]);
        receiver.feed(Time::ZERO, [taken.as_ref()]);
        let _ = receiver.round(10, &mut NoPorts);
        let mut playback = Playback::new(new.clone(), NodeId(0));
        playback.resume(receiver, 0);

        let mut kept = Kept::default();
        let to = Place::worker(WorkerId(1));
        let unacknowledged = vec![(to, batch(1, &[gone])), (to, batch(2, &[gone, stays])), (to, batch(4, &[stays]))];
        kept.leave(WorkerId(0), old.table().clone(), DriverImage { unacknowledged, held: Vec::new() });
        let since = batch(5, &[new.type_number::<u8>()]);
        kept.output(WorkerId(0), to, &since.as_ref());
        kept.carry_over(&playback, &new, &Policies(Vec::new())).expect("what can't come was taken");
        let firsts: Vec<_> =
            kept.take_outputs(WorkerId(0)).iter().map(|(_, left)| (left.as_ref().first, left.as_ref().count)).collect();
        assert_eq!(firsts, [(3, 1), (4, 1), (5, 1)]);
    }
}

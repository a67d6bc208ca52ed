//! The rounds of a journal in its order, and stations between them from which workers can be played on: what a first pass leaves.
//!
//! A station keeps an image of each worker that has run since the station before, with the records of the round that it was about to run.
//! Stations stand so close that what lies between two is played in a given time; where they would take more memory than they may, every
//! other one goes, and they stand twice as far from one another from then on. The start of the journal is always one, and takes none.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use qnfsm::{
    Fault, Recording, Worker, WorkerId,
    journal::{Bookmark, Entry, Excerpt, Position, ReadError, Reader, Record},
};

use super::{
    station::{Kept, Station, Taken, map_bytes},
    unplayed::Unplayed,
};
use crate::{
    ReplayError, Seen,
    left_out::LeftOut,
    player::{Player, Stopped},
    recorded::{Recorded, Segments},
};

/// How many records are taken between two looks at the clock.
const RECORDS_BETWEEN_LOOKS: u32 = 16;

/// A journal's rounds and where they can be come back to.
pub(super) struct Timeline {
    /// The worker of each round, by the round's ordinal.
    order: Vec<WorkerId>,
    /// In the order of the journal; the first is its start.
    stations: Vec<Station>,
    /// How much memory the stations take, in bytes; what several keep, once.
    stations_bytes: usize,
    /// The first round of each worker that stands in the journal.
    first_rounds: BTreeMap<WorkerId, u64>,
    /// Where the reading ended, and in which segment.
    pub(super) end: (Position, u64),
    /// Why the journal can't be played to its end, if it can't.
    pub(super) stopped: Option<ReplayError>,
    /// What was left out before that end.
    pub(super) left_out: LeftOut,
    pub(super) unplayed: Unplayed,
    /// The workers of which something else came to be recorded.
    pub(super) reconfigured: BTreeSet<WorkerId>,
    /// What is behind the end can't be read.
    pub(super) is_damaged: bool,
}

impl Timeline {
    /// Plays a journal from its start to its end with every check, and leaves stations that lie so far apart, in at most so many bytes
    /// of memory.
    pub(super) fn of(
        recorded: &Recorded,
        reader: &mut Reader,
        memory: usize,
        gap: Duration,
        on_progress: &mut dyn FnMut(Seen),
    ) -> Result<Timeline, ReplayError> {
        let mut pass = Pass {
            player: recorded.player(),
            timeline: Timeline {
                order: Vec::new(),
                stations: vec![Station::START],
                stations_bytes: Station::START.bytes_behind(None),
                first_rounds: BTreeMap::new(),
                end: (Position::default(), 0),
                stopped: None,
                left_out: LeftOut::default(),
                unplayed: Unplayed::default(),
                reconfigured: BTreeSet::new(),
                is_damaged: false,
            },
            waiting: BTreeMap::new(),
            last_rounds: BTreeMap::new(),
            recordings: BTreeMap::new(),
            shaped: BTreeSet::new(),
            memory,
            gap,
            since: Instant::now(),
        };
        let mut segments = Segments::new(recorded);
        let stopped = pass.read(recorded, reader, &mut segments, on_progress)?;
        let end = reader.position();
        let finished = stopped.map_or_else(|| pass.player.finish(end, segments.segment), Err);
        let left_out = recorded.left_out(&pass.player.playback);
        // That the program parts from the record before is said rather than where that is damaged, and this rather than what it lacks.
        let finished = finished.err().map(|stopped| segments.error(stopped));
        pass.timeline.stopped = finished.or(pass.timeline.stopped).or_else(|| left_out.error(&recorded.dir, None));
        pass.timeline.left_out = left_out;
        for left in pass.player.playback.left() {
            let Fault { worker, round, .. } = left.fault;
            let ordinal = pass.timeline.ordinal(worker, round).unwrap_or_default();
            pass.timeline.unplayed.leave(ordinal, left);
        }
        pass.timeline.end = (end, segments.segment);
        Ok(pass.timeline)
    }

    /// How many rounds there are.
    pub(super) fn rounds(&self) -> u64 {
        self.order.len() as u64
    }

    /// The worker that ran that round.
    pub(super) fn worker(&self, ordinal: u64) -> Option<WorkerId> {
        self.order.get(usize::try_from(ordinal).ok()?).copied()
    }

    /// The workers that ran any.
    pub(super) fn workers(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.first_rounds.keys().copied()
    }

    /// The ordinal of a worker's round.
    pub(super) fn ordinal(&self, worker: WorkerId, round: u64) -> Option<u64> {
        let nth = usize::try_from(round.checked_sub(*self.first_rounds.get(&worker)?)?).ok()?;
        // Stations say how many rounds of a worker stand before them, so few are to be counted.
        let before = |station: &Station| {
            let of = station.kept.get(&worker)?;
            Some(of.taken.rounds + u64::from(of.waiting.is_some()))
        };
        let station = self.stations.iter().rev().find(|station| before(station).is_some_and(|rounds| rounds < round));
        let (from, nth) = match station {
            Some(station) => (station.ordinal, usize::try_from(round - before(station)? - 1).ok()?),
            None => (0, nth),
        };
        let order = self.order.get(usize::try_from(from).ok()?..)?;
        let found = order.iter().enumerate().filter(|(_, of)| **of == worker).nth(nth)?;
        Some(from + found.0 as u64)
    }

    /// The worker's own number of the round with that ordinal.
    pub(super) fn round(&self, ordinal: u64) -> Option<(WorkerId, u64)> {
        let worker = self.worker(ordinal)?;
        let (from, rounds) = match self.station(ordinal).kept.get(&worker) {
            Some(kept) => (self.station(ordinal).ordinal, kept.taken.rounds + u64::from(kept.waiting.is_some())),
            None => (0, self.first_rounds.get(&worker)? - 1),
        };
        let between = self.order.get(usize::try_from(from).ok()?..usize::try_from(ordinal).ok()?)?;
        looked_at(between.len());
        Some((worker, rounds + 1 + between.iter().filter(|of| **of == worker).count() as u64))
    }

    /// True of the divergence at which the first pass ended.
    pub(super) fn is_its_divergence(&self, error: &ReplayError) -> bool {
        let place = |error: &ReplayError| match error {
            ReplayError::Diverged(diverged) => Some((diverged.divergence.worker, diverged.divergence.round)),
            _ => None,
        };
        place(error).is_some() && self.stopped.as_ref().and_then(place) == place(error)
    }

    /// True if the round with that ordinal can be played.
    pub(super) fn is_played(&self, ordinal: u64) -> bool {
        self.worker(ordinal).is_some_and(|worker| !self.unplayed.has(worker, ordinal))
    }

    /// The first of those rounds that can be played.
    pub(super) fn first_played(&self, mut within: Range<u64>) -> Option<u64> {
        within.find(|ordinal| self.is_played(*ordinal))
    }

    /// The last of them.
    pub(super) fn last_played(&self, mut within: Range<u64>) -> Option<u64> {
        within.rfind(|ordinal| self.is_played(*ordinal))
    }

    /// The ordinal of the last round of a worker that can be played, before the one with ordinal `end`.
    pub(super) fn last_before(&self, worker: WorkerId, end: u64) -> Option<u64> {
        let before = self.order.get(..usize::try_from(end).ok()?)?;
        let is_its = |(at, of): (usize, &WorkerId)| *of == worker && !self.unplayed.has(worker, at as u64);
        (0..before.len()).zip(before).rev().find(|(at, of)| is_its((*at, of))).map(|(at, _)| at as u64)
    }

    /// The last station before the round with that ordinal.
    pub(super) fn station(&self, ordinal: u64) -> &Station {
        &self.stations[self.station_number(ordinal)]
    }

    /// Its number.
    pub(super) fn station_number(&self, ordinal: u64) -> usize {
        self.stations.partition_point(|station| station.ordinal <= ordinal) - 1
    }

    /// All stations, the journal's start first.
    pub(super) fn stations(&self) -> &[Station] {
        &self.stations
    }

    /// How much memory all of it takes, in bytes: the stations, and a few bytes for each round.
    pub(super) fn bytes(&self) -> usize {
        let order = self.order.capacity() * size_of::<WorkerId>();
        let unplayed = self.unplayed.bytes();
        order + map_bytes::<WorkerId, u64>(self.first_rounds.len()) + unplayed + self.stations_bytes
    }

    /// Adds a station at the end. Where the stations take more than they may then, every other one goes, until they don't, or only the start is left.
    /// Gives how often that was.
    fn leave(&mut self, station: Station, memory: usize) -> u32 {
        self.stations_bytes += station.bytes_behind(self.stations.last());
        self.stations.push(station);
        let mut thinned = 0;
        while self.bytes() > memory && self.stations.len() > 1 {
            looked_at(self.stations.len());
            let mut number = 0;
            self.stations.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            let before = [None].into_iter().chain(self.stations.iter().map(Some));
            self.stations_bytes = self.stations.iter().zip(before).map(|(station, it)| station.bytes_behind(it)).sum();
            thinned += 1;
        }
        thinned
    }
}

/// Told how many rounds or stations are gone through to find something, so that a test can count them.
fn looked_at(_count: usize) {
    #[cfg(test)]
    tests::LOOKED_AT.with(|looked_at| looked_at.set(looked_at.get() + _count));
}

/// The first pass, under way.
struct Pass {
    player: Player,
    timeline: Timeline,
    /// By worker, the round that was read and has yet to run.
    waiting: BTreeMap<WorkerId, Waiting>,
    /// The ordinal of the last round that was read of each worker.
    last_rounds: BTreeMap<WorkerId, u64>,
    /// What is recorded of each worker.
    recordings: BTreeMap<WorkerId, Recording>,
    /// The workers that became other ones since the last station without a round.
    shaped: BTreeSet<WorkerId>,
    memory: usize,
    gap: Duration,
    /// When the last station was left.
    since: Instant,
}

/// A round that has yet to run.
struct Waiting {
    ordinal: u64,
    /// The worker's own number of it.
    round: u64,
    records: Excerpt,
}

impl Pass {
    /// Reads to the journal's end, or to where it can't be played on.
    fn read(
        &mut self,
        recorded: &Recorded,
        reader: &mut Reader,
        segments: &mut Segments<'_>,
        on_progress: &mut dyn FnMut(Seen),
    ) -> Result<Option<Stopped>, ReplayError> {
        let mut looked = 0;
        loop {
            let entry = match reader.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                // What stands before is sound. Its last rounds stay unproved, as where a journal ends.
                Err(error @ ReadError::Corrupt(_)) => {
                    (self.timeline.is_damaged, self.timeline.stopped) = (true, Some(error.into()));
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            let position = entry.position;
            segments.note(&entry);
            self.note(&entry);
            if let Err(stopped) = self.player.take(&entry) {
                return Ok(Some(stopped));
            }
            self.note_unplayed(&entry);
            segments.check(reader, position)?;
            looked += 1;
            if looked == RECORDS_BETWEEN_LOOKS {
                looked = 0;
                // From a place where workers have yet to begin nobody could tell with which snapshot they do.
                if self.since.elapsed() >= self.gap && !self.player.playback.is_passing_over() {
                    self.leave_station(reader.bookmark());
                    let (progress, bytes, bytes_total) =
                        (self.player.progress(), recorded.bytes_before(position), recorded.bytes());
                    let (rounds, messages) = (progress.rounds, progress.messages);
                    on_progress(Seen { rounds, messages, bytes, bytes_total });
                }
            }
        }
        Ok(None)
    }

    /// Notes which rounds there are, and which record belongs to one that has yet to run.
    fn note(&mut self, entry: &Entry<'_>) {
        let Some(worker) = entry.record.worker() else { return };
        if self.waiting.get(&worker).is_some_and(|last| entry.record.ends_round(last.round)) {
            self.waiting.remove(&worker);
        }
        if let Record::Round { round, .. } = entry.record {
            let ordinal = self.timeline.rounds();
            self.waiting.insert(worker, Waiting { ordinal, round, records: Excerpt::default() });
            self.timeline.order.push(worker);
            self.timeline.first_rounds.entry(worker).or_insert(round);
        }
        if let Some(last) = self.waiting.get_mut(&worker) {
            last.records.push(entry);
        }
    }

    /// Notes whether the round that was just read will run.
    fn note_unplayed(&mut self, entry: &Entry<'_>) {
        let Some(worker) = entry.record.worker() else { return };
        if let Record::Configured { .. } = entry.record {
            self.note_recording(worker);
            self.shaped.insert(worker);
        }
        if let Record::Round { .. } = entry.record {
            let ordinal = self.timeline.rounds() - 1;
            let before = self.last_rounds.insert(worker, ordinal);
            if before.is_none() {
                self.note_recording(worker);
            }
            if !self.player.playback.has_round_waiting(worker) {
                self.timeline.unplayed.pass_over(worker, ordinal, before);
                self.waiting.remove(&worker);
                self.shaped.insert(worker);
            }
        }
    }

    /// Notes what is recorded of a worker, and whether that became something else.
    fn note_recording(&mut self, worker: WorkerId) {
        let Some(now) = self.player.playback.worker_mut(worker).map(|worker| worker.config().recording) else { return };
        if self.recordings.insert(worker, now).is_some_and(|before| before != now) {
            self.timeline.reconfigured.insert(worker);
        }
    }

    fn leave_station(&mut self, bookmark: Option<Bookmark>) {
        let begun = Instant::now();
        let last = self.timeline.stations.last().expect("the start is a station");
        let ids: Vec<_> = self.player.playback.workers().map(Worker::id).collect();
        let mut kept = BTreeMap::new();
        for id in ids {
            let is_shaped = self.shaped.contains(&id);
            let before = last.kept.get(&id).filter(|_| !is_shaped);
            let Some(taken) = Taken::now(&mut self.player.playback, id, before, is_shaped) else { continue };
            let has_round_waiting = self.player.playback.has_round_waiting(id);
            let waiting = self.waiting.get(&id).filter(|_| has_round_waiting);
            let waiting = waiting.map(|last| (last.ordinal, Arc::new(last.records.clone())));
            kept.insert(id, Kept { taken, waiting });
        }
        self.shaped.clear();
        let (ordinal, now) = (self.timeline.rounds(), self.player.playback.latest());
        let thinned = self.timeline.leave(Station { bookmark, ordinal, now, kept }, self.memory);
        self.gap = self.gap.saturating_mul(2_u32.saturating_pow(thinned));
        // Where images take long, no more than half of the time goes into them.
        self.gap = self.gap.max(begun.elapsed());
        self.since = Instant::now();
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_types, reason = "no FSM sees what a test counts in its thread")]
mod tests {
    use std::{cell::Cell, path::Path};

    use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder};
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::live::Again;

    thread_local! {
        /// How many rounds and stations were gone through to find something.
        pub(super) static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
    }

    #[derive(Serialize, Deserialize)]
    struct Counter {
        count: u64,
        /// So that an image is longer than what is kept beside it.
        ballast: String,
    }

    #[derive(Serialize, Deserialize)]
    enum Tick {
        Tick(qnfsm::ReplyTo<u64>),
    }

    impl Fsm for Counter {
        const NAME: &'static str = "counter";
        type State = ();
        type Message = Tick;

        fn start(&mut self, _: &mut Context<'_, Self>) {}

        fn handle(&mut self, (): (), Tick::Tick(reply): Tick, cx: &mut Context<'_, Self>) -> Next<Self> {
            self.count += 1;
            cx.reply(reply, self.count);
            Next::Stay
        }
    }

    fn kinds() -> Kinds {
        Kinds::new().with::<Counter>().message::<u64>()
    }

    /// A journal in which each message has a round of its own.
    fn record(dir: &Path, rounds: u64) {
        let node =
            NodeBuilder::new("counter", kinds()).dir(dir).start(&Counter { count: 0, ballast: "b".repeat(2000) });
        let node = node.expect("it starts");
        for count in 1..=rounds {
            let told = node.host().request(node.root(), Duration::from_secs(60), Tick::Tick);
            assert_eq!(told.expect("it answers"), count);
        }
        node.stop().expect("it stops");
    }

    #[test]
    fn the_first_pass_is_linear_and_counts_all_that_it_leaves_whether_stations_fit_or_not() {
        let dir = tempfile::tempdir().expect("there is room");
        record(dir.path(), 1000);
        for memory in [0, 30_000, usize::MAX] {
            let catalogue = kinds().seal().expect("they are in order");
            let (recorded, mut reader) =
                Recorded::open_sealed(dir.path(), catalogue, None, None, &Again::new(false)).expect("it is there");
            LOOKED_AT.set(0);
            // With stations as close as they can be.
            let timeline =
                Timeline::of(&recorded, &mut reader, memory, Duration::ZERO, &mut |_| {}).expect("it is sound");
            let (rounds, stations) = (timeline.order.len(), timeline.stations.len());
            let looked_at = LOOKED_AT.get();
            assert!(rounds >= 1000 && timeline.stopped.is_none(), "{rounds} {:?}", timeline.stopped);
            assert!(looked_at <= rounds, "{looked_at} were gone through for {rounds} rounds in {memory} bytes");
            let expected = match memory {
                0 => 1..=1,
                // How many there is time for is another matter.
                _ => 2..=usize::MAX,
            };
            assert!(expected.contains(&stations), "{stations} stations in {memory} bytes");

            // Each image is counted, and once; and what is kept beside the images.
            let kept = || timeline.stations.iter().flat_map(|station| station.kept.iter());
            let images: BTreeMap<_, _> =
                kept().map(|(_, kept)| (Arc::as_ptr(&kept.taken), kept.taken.image.capacity())).collect();
            let records: usize = kept().filter_map(|(_, kept)| Some(kept.waiting.as_ref()?.1.bytes())).sum();
            let entries = kept().count() * size_of::<(WorkerId, Kept)>() + stations * size_of::<Station>();
            let least = images.values().sum::<usize>() + records + entries + rounds * size_of::<WorkerId>();
            let bytes = timeline.bytes();
            assert!(bytes >= least && bytes <= 2 * least + 10_000, "{bytes} for at least {least}");
            assert!(stations == 1 || bytes <= memory);
        }
    }
}

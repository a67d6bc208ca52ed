//! The rounds of a journal in its order, and stations between them from which workers can be played on: what a first pass leaves.
//!
//! A station keeps an image of each worker that has run since the station before, with the records of the round that it was about to run.
//! Stations stand so close that what lies between two is played in a given time; where they would take more memory than they may, every
//! other one goes, and they stand twice as far from one another from then on. The start of the journal is always one, and takes none.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use qnfsm::{
    Fault, Origins, Time, Worker, WorkerId,
    journal::{Bookmark, Entry, Excerpt, Position, ReadError, Reader, Record},
    playback::{Left, Playback},
};

use crate::{
    ReplayError, Seen,
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
    /// The first round of each worker that stands in the journal.
    first_rounds: BTreeMap<WorkerId, u64>,
    /// Where the reading ended, and in which segment.
    pub(super) end: (Position, u64),
    /// Why the journal can't be played to its end, if it can't.
    pub(super) stopped: Option<ReplayError>,
    /// The workers that need what the program lacks, and the ordinal of the first round of each that can't be played.
    left: BTreeMap<WorkerId, (u64, Left)>,
    /// What is behind the end can't be read.
    pub(super) is_damaged: bool,
}

/// A place between two records.
#[derive(Clone)]
pub(super) struct Station {
    pub(super) bookmark: Option<Bookmark>,
    /// How many rounds stand before.
    pub(super) ordinal: u64,
    /// The latest time that any worker was told before.
    pub(super) now: Time,
    /// The workers that have begun.
    pub(super) kept: BTreeMap<WorkerId, Kept>,
}

/// A worker as it was at a station.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) taken: Arc<Taken>,
    /// The records of the round that it was about to run, if there was one, and the round's ordinal.
    pub(super) waiting: Option<(u64, Arc<Excerpt>)>,
}

/// What was taken of a worker between two rounds.
pub(super) struct Taken {
    pub(super) image: Vec<u8>,
    pub(super) origins: Origins,
    pub(super) digest: u64,
    pub(super) rounds: u64,
    pub(super) happenings: u64,
}

impl Taken {
    /// What a worker is now; none, if it can't be encoded.
    fn of(worker: &mut Worker, digest: u64) -> Option<Taken> {
        let mut image = Vec::new();
        worker.snapshot(&mut image).ok()?;
        let (origins, rounds, happenings) = (worker.origins(), worker.rounds(), worker.happenings());
        Some(Taken { image, origins, digest, rounds, happenings })
    }

    fn bytes(&self) -> usize {
        self.image.len() + self.origins.bytes() + size_of::<Taken>()
    }
}

impl Station {
    const START: Station = Station { bookmark: None, ordinal: 0, now: Time::from_nanos(0), kept: BTreeMap::new() };
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
                first_rounds: BTreeMap::new(),
                end: (Position::default(), 0),
                stopped: None,
                left: BTreeMap::new(),
                is_damaged: false,
            },
            waiting: BTreeMap::new(),
            memory,
            gap,
            since: Instant::now(),
        };
        let mut segments = Segments::new(recorded);
        let stopped = pass.read(recorded, reader, &mut segments, on_progress)?;
        let end = reader.position();
        let finished = stopped.map_or_else(|| pass.player.finish(end, segments.segment), Err);
        let partly = || recorded.partly(&pass.player.playback).map(|partly| ReplayError::Partly(Box::new(partly)));
        // That the program parts from the record before is said rather than where that is damaged, and this rather than what it lacks.
        let finished = finished.err().map(|stopped| segments.error(stopped));
        pass.timeline.stopped = finished.or(pass.timeline.stopped).or_else(partly);
        for left in pass.player.playback.left() {
            let Fault { worker, round, .. } = left.fault;
            let ordinal = pass.timeline.ordinal(worker, round).unwrap_or_default();
            pass.timeline.left.insert(worker, (ordinal, left.clone()));
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
        Some((worker, rounds + 1 + between.iter().filter(|of| **of == worker).count() as u64))
    }

    /// Why the round with that ordinal can't be played, if its worker was left before it.
    pub(super) fn left_before(&self, ordinal: u64) -> Option<&Left> {
        let (from, left) = self.left.get(&self.worker(ordinal)?)?;
        (*from <= ordinal).then_some(left)
    }

    /// The first of those rounds that can be played.
    pub(super) fn first_played(&self, mut within: Range<u64>) -> Option<u64> {
        within.find(|ordinal| self.left_before(*ordinal).is_none())
    }

    /// The last of them.
    pub(super) fn last_played(&self, mut within: Range<u64>) -> Option<u64> {
        within.rfind(|ordinal| self.left_before(*ordinal).is_none())
    }

    /// The workers that were left before that place.
    pub(super) fn left_by(&self, ordinal: u64) -> impl Iterator<Item = &Left> {
        self.left.values().filter(move |(from, _)| *from < ordinal).map(|(_, left)| left)
    }

    /// The ordinal of the last round of a worker that can be played, before the one with ordinal `end`.
    pub(super) fn last_before(&self, worker: WorkerId, end: u64) -> Option<u64> {
        let end = self.left.get(&worker).map_or(end, |(from, _)| end.min(*from));
        let before = self.order.get(..usize::try_from(end).ok()?)?;
        before.iter().rposition(|of| *of == worker).map(|at| at as u64)
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

    /// How much memory the stations take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let mut seen: Vec<*const Taken> = Vec::new();
        let mut bytes = 0;
        for kept in self.stations.iter().flat_map(|station| station.kept.values()) {
            bytes += kept.waiting.as_ref().map_or(0, |(_, records)| records.bytes());
            seen.push(Arc::as_ptr(&kept.taken));
        }
        let taken = self.stations.iter().flat_map(|station| station.kept.values());
        let mut by_place: BTreeMap<*const Taken, usize> = BTreeMap::new();
        by_place.extend(taken.map(|kept| (Arc::as_ptr(&kept.taken), kept.taken.bytes())));
        bytes + by_place.values().sum::<usize>()
    }
}

/// The first pass, under way.
struct Pass {
    player: Player,
    timeline: Timeline,
    /// By worker, the round that was read and has yet to run, with its records.
    waiting: BTreeMap<WorkerId, (u64, Excerpt)>,
    memory: usize,
    gap: Duration,
    /// When the last station was left.
    since: Instant,
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
            segments.check(reader, position)?;
            looked += 1;
            if looked == RECORDS_BETWEEN_LOOKS {
                looked = 0;
                if self.since.elapsed() >= self.gap {
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
        let last = self.waiting.get(&worker).and_then(|(ordinal, _)| self.timeline.round(*ordinal));
        if last.is_some_and(|(_, last)| entry.record.ends_round(last)) {
            self.waiting.remove(&worker);
        }
        if let Record::Round { round, .. } = entry.record {
            self.waiting.insert(worker, (self.timeline.rounds(), Excerpt::default()));
            self.timeline.order.push(worker);
            self.timeline.first_rounds.entry(worker).or_insert(round);
        }
        if let Some((_, records)) = self.waiting.get_mut(&worker) {
            records.push(entry);
        }
    }

    fn leave_station(&mut self, bookmark: Option<Bookmark>) {
        let begun = Instant::now();
        let last = self.timeline.stations.last().expect("the start is a station");
        let ids: Vec<_> = self.player.playback.workers().map(Worker::id).collect();
        let mut kept = BTreeMap::new();
        for id in ids {
            let Some(taken) = taken(&mut self.player.playback, id, last.kept.get(&id)) else { continue };
            let has_round_waiting = self.player.playback.has_round_waiting(id);
            let waiting = self.waiting.get(&id).filter(|_| has_round_waiting);
            let waiting = waiting.map(|(ordinal, records)| (*ordinal, Arc::new(records.clone())));
            kept.insert(id, Kept { taken, waiting });
        }
        let (ordinal, now) = (self.timeline.rounds(), self.player.playback.latest());
        self.timeline.stations.push(Station { bookmark, ordinal, now, kept });
        while self.timeline.bytes() > self.memory && self.timeline.stations.len() > 1 {
            let mut number = 0;
            self.timeline.stations.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.gap *= 2;
        }
        // Where images take long, no more than half of the time goes into them.
        self.gap = self.gap.max(begun.elapsed());
        self.since = Instant::now();
    }
}

/// What a worker is now: the same as before, if it has run no round since.
fn taken(playback: &mut Playback, id: WorkerId, before: Option<&Kept>) -> Option<Arc<Taken>> {
    let digest = playback.last_digest(id).unwrap_or_default();
    let worker = playback.worker_mut(id)?;
    match before {
        Some(before) if before.taken.rounds == worker.rounds() => Some(before.taken.clone()),
        _ => Taken::of(worker, digest).map(Arc::new),
    }
}

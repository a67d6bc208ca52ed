//! Runs recorded rounds again, from the station before them: single ones, or all between two stations.
//!
//! Workers depend on their own records alone, so a single round takes its worker's records and no other's.

use std::{collections::BTreeMap, ops::ControlFlow};

use qnfsm::{
    Place, Time, Worker, WorkerId,
    frame::Batch,
    journal::{Bookmark, Entry, Position, ReadError, Reader, Record},
    playback::{Audience, Observers},
};

mod twin;

use super::{
    station::{Kept, Station},
    step::{RoundLog, Tape},
    timeline::Timeline,
};
use crate::{
    ReplayError,
    player::{Player, Stopped},
    recorded::{Recorded, Segments},
    scan::{Hearing, Scan},
};
pub(super) use twin::Twin;

/// Runs rounds of a journal that a first pass has been through.
pub(super) struct Runner {
    pub(super) recorded: Recorded,
    pub(super) reader: Reader,
    pub(super) timeline: Timeline,
    /// Workers where they were played to last.
    lives: BTreeMap<WorkerId, Live>,
}

/// A worker that is played, and where its next record is to be looked for.
struct Live {
    worker: WorkerId,
    player: Player,
    bookmark: Option<Bookmark>,
    /// Where the record of the round stands that waits to be run, or ran last.
    position: Position,
    /// Its last round didn't do what was recorded: it can't be played on.
    has_parted: bool,
}

impl Live {
    fn rounds(&mut self) -> u64 {
        self.player.playback.worker_mut(self.worker).map_or(0, |worker| worker.rounds())
    }

    /// True if that round runs with the next record that ends one.
    fn is_next(&mut self, round: u64) -> bool {
        self.player.playback.has_round_waiting(self.worker) && self.rounds() + 1 == round
    }
}

/// How far a worker is to be played.
#[derive(Clone, Copy)]
enum Upto {
    /// To the round's end.
    End,
    /// Likewise, and what happens in it is of no interest.
    Unobserved,
    /// To where so many deliveries of the round were made.
    Delivery(u32),
}

/// What came of that.
enum Came {
    Ran(Ran),
    Within(Box<Worker>),
}

/// A round that was run again.
pub(super) struct Ran {
    pub(super) log: RoundLog,
    /// It did what was recorded, as far as that is known.
    pub(super) is_as_recorded: bool,
    /// It is known: what ended it says what it did.
    pub(super) is_proved: bool,
}

/// A round by all its names.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoundName {
    pub(super) ordinal: u64,
    worker: WorkerId,
    pub(super) round: u64,
}

impl Runner {
    pub(super) fn new(recorded: Recorded, reader: Reader, timeline: Timeline) -> Runner {
        Runner { recorded, reader, timeline, lives: BTreeMap::new() }
    }

    /// Runs a round again, and takes down all that happens in it.
    pub(super) fn log(&mut self, ordinal: u64) -> Result<RoundLog, ReplayError> {
        let (worker, round) = self.round(ordinal)?;
        self.run(RoundName { ordinal, worker, round }).map(|ran| ran.log)
    }

    /// Likewise, and tells whether it did what was recorded.
    fn run(&mut self, name: RoundName) -> Result<Ran, ReplayError> {
        match self.play_round(name, Upto::End)? {
            Came::Ran(ran) => Ok(ran),
            Came::Within(_) => unreachable!("the round was to be played to its end"),
        }
    }

    /// The worker of a round, where so many of its deliveries were made.
    pub(super) fn worker_within(&mut self, ordinal: u64, deliveries: u32) -> Result<Box<Worker>, ReplayError> {
        match self.play(ordinal, Upto::Delivery(deliveries))? {
            Came::Within(worker) => Ok(worker),
            Came::Ran(_) => unreachable!("the round was not to be played to its end"),
        }
    }

    /// The worker of a round, as it was after it.
    pub(super) fn worker_after(&mut self, ordinal: u64) -> Result<&Worker, ReplayError> {
        self.worker_after_mut(ordinal).map(|worker| &*worker)
    }

    fn worker_after_mut(&mut self, ordinal: u64) -> Result<&mut Worker, ReplayError> {
        let (id, round) = self.round(ordinal)?;
        if self.lives.get_mut(&id).is_none_or(|live| live.rounds() != round) {
            self.log(ordinal)?;
        }
        let live = self.lives.get_mut(&id).expect("it was just played");
        Ok(live.player.playback.worker_mut(id).expect("it has run a round"))
    }

    /// The ordinal of the round of a worker, up to the one with ordinal `upto`, in which something of that number happened.
    pub(super) fn round_of_happening(
        &mut self,
        worker: WorkerId,
        happening: u64,
        upto: u64,
    ) -> Result<Option<u64>, ReplayError> {
        let stations = self.timeline.stations();
        let has_begun = |ordinal| self.timeline.last_before(worker, ordinal).is_some();
        let before = stations.partition_point(|station| {
            let kept = station.kept.get(&worker);
            // One that has begun and isn't kept, because it can't be, is played from further back.
            let is_before = kept.map_or_else(|| !has_begun(station.ordinal), |kept| kept.taken.happenings < happening);
            station.ordinal <= upto && is_before
        });
        let from = stations[before.saturating_sub(1)].ordinal;
        for ordinal in from..=upto {
            if self.timeline.worker(ordinal) != Some(worker) || !self.timeline.is_played(ordinal) {
                continue;
            }
            self.play(ordinal, Upto::Unobserved)?;
            let live = self.lives.get_mut(&worker).and_then(|live| live.player.playback.worker_mut(worker));
            if live.is_some_and(|live| live.happenings() >= happening) {
                return Ok(Some(ordinal));
            }
        }
        Ok(None)
    }

    /// The ordinal of the first round at that time or later.
    pub(super) fn first_at(&mut self, time: Time) -> Result<Option<u64>, ReplayError> {
        let before = self.timeline.stations().partition_point(|station| station.now < time).saturating_sub(1);
        self.first_behind(before, |_, now| now >= time)
    }

    /// The ordinal of the first round whose record stands there or later.
    pub(super) fn first_from(&mut self, position: Position) -> Result<Option<u64>, ReplayError> {
        let stands_before = |station: &Station| station.bookmark.is_none_or(|mark| mark.position() <= position);
        let before = self.timeline.stations().partition_point(stands_before).saturating_sub(1);
        self.first_behind(before, |at, _| at >= position)
    }

    /// The ordinal of the first round behind a station whose record's place and time are as wanted.
    fn first_behind(
        &mut self,
        station: usize,
        is_wanted: impl Fn(Position, Time) -> bool,
    ) -> Result<Option<u64>, ReplayError> {
        let Station { bookmark, mut ordinal, .. } = self.timeline.stations()[station];
        self.reader.return_to(bookmark)?;
        while let Some(entry) = sound(&mut self.reader, &self.timeline)? {
            if let Record::Round { now, .. } = entry.record {
                if is_wanted(entry.position, now) && self.timeline.is_played(ordinal) {
                    return Ok((ordinal < self.timeline.rounds()).then_some(ordinal));
                }
                ordinal += 1;
            }
        }
        Ok(None)
    }

    /// The deliveries of the round that a worker ran last, as it writes them where each is recorded.
    pub(super) fn deliveries_now(&mut self, worker: WorkerId) -> Vec<u8> {
        let live = self.lives.get_mut(&worker).and_then(|live| live.player.playback.worker_mut(worker));
        live.map_or_else(Vec::new, |worker| worker.deliveries().to_vec())
    }

    /// The deliveries of a round, as they were recorded; none, where they weren't.
    pub(super) fn recorded_deliveries(&mut self, ordinal: u64) -> Result<Option<Vec<u8>>, ReplayError> {
        let (id, of) = self.round(ordinal)?;
        self.reader.return_to(self.timeline.station(ordinal).bookmark)?;
        let mut recorded = None;
        while let Some(entry) = sound(&mut self.reader, &self.timeline)? {
            match entry.record {
                Record::Deliveries { worker, round, entries } if (worker, round) == (id, of) => {
                    recorded.get_or_insert_with(Vec::new).extend_from_slice(entries);
                }
                Record::Round { worker, round, .. } if worker == id && round > of => break,
                _ => {}
            }
        }
        Ok(recorded)
    }

    /// What other workers were recorded to take from the worker of a round, as far as it may be what that round put out.
    pub(super) fn taken_from(&mut self, log: &RoundLog) -> Result<Vec<(Place, Batch)>, ReplayError> {
        let source = Place::worker(log.worker);
        let put_out = log.outputs.iter().filter(|(to, _)| to.as_worker().is_some());
        let mut wanted: BTreeMap<Place, (u64, u64)> =
            put_out.map(|(to, batch)| (*to, (batch.as_ref().first, batch.as_ref().next_number()))).collect();
        let mut taken = Vec::new();
        self.reader.return_to(self.timeline.station(log.ordinal).bookmark)?;
        while let (false, Some(entry)) = (wanted.is_empty(), sound(&mut self.reader, &self.timeline)?) {
            let Record::Round { worker, batches, .. } = entry.record else { continue };
            let Some(&(first, end)) = wanted.get(&Place::worker(worker)) else { continue };
            for batch in batches.filter(|batch| batch.source == source && batch.next_number() > first) {
                if batch.next_number() >= end {
                    wanted.remove(&Place::worker(worker));
                }
                if batch.first < end {
                    taken.push((Place::worker(worker), batch.to_batch()));
                }
            }
        }
        Ok(taken)
    }

    /// The workers as they were at a station.
    pub(super) fn workers_at(&self, station: usize) -> Vec<Worker> {
        let kept = self.timeline.stations()[station].kept.values();
        kept.map(|kept| restored(&self.recorded, kept)).collect()
    }

    /// The workers as they were after the last round of each, before the round with ordinal `end`.
    pub(super) fn check_before(
        &mut self,
        end: u64,
        check: &mut dyn FnMut(&Worker) -> bool,
    ) -> Result<bool, ReplayError> {
        for worker in self.timeline.workers().collect::<Vec<_>>() {
            if let Some(last) = self.timeline.last_before(worker, end)
                && !check(self.worker_after(last)?)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn round(&self, ordinal: u64) -> Result<(WorkerId, u64), ReplayError> {
        self.timeline.round(ordinal).ok_or_else(|| {
            let rounds = self.timeline.rounds();
            ReplayError::Misuse(format!("there is no round {ordinal}: the journal holds {rounds}, counted from 0"))
        })
    }

    fn play(&mut self, ordinal: u64, upto: Upto) -> Result<Came, ReplayError> {
        let (worker, round) = self.round(ordinal)?;
        self.play_round(RoundName { ordinal, worker, round }, upto)
    }

    fn play_round(&mut self, name: RoundName, upto: Upto) -> Result<Came, ReplayError> {
        let RoundName { ordinal, worker: id, round } = name;
        if !self.timeline.is_played(ordinal) {
            return Err(ReplayError::Misuse(self.timeline.unplayed.why(id, round, ordinal)));
        }
        let mut live = self.live_before(id, round, ordinal)?;
        self.reader.return_to(live.bookmark)?;
        let (tape, mut hearing) = (Tape::default(), Hearing::default());
        loop {
            let next = sound(&mut self.reader, &self.timeline)?;
            if next.as_ref().is_some_and(|entry| entry.record.worker() != Some(id)) {
                continue;
            }
            let runs = next.as_ref().is_none_or(|entry| entry.record.ends_round(round)) && live.is_next(round);
            if runs && let Upto::Delivery(deliveries) = upto {
                let within = live.player.run_part(id, deliveries);
                return within.map(|worker| Came::Within(Box::new(worker))).ok_or_else(|| not_run(id, round));
            }
            if runs && let (Upto::End, Some(worker)) = (upto, live.player.playback.worker_mut(id)) {
                worker.set_observer(Some(tape.observer()));
            }
            let position = live.position;
            let ended = next.is_none();
            let proves = |entry: &Entry<'_>| !matches!(entry.record, Record::Configured { .. });
            let is_proved = next.as_ref().is_some_and(proves);
            let taken = match next {
                Some(entry) => live.take(&entry, &mut hearing),
                None => live.player.finish_before(self.timeline.end.0, self.timeline.end.1, &mut hearing),
            };
            // Where the program parts from the record, the round in which it does is what whoever looks wants to see.
            if let Err(stopped) = taken {
                if !(runs && stopped.is_divergence()) {
                    return Err(Segments::new(&self.recorded).error(stopped));
                }
                live.has_parted = true;
            }
            if runs || ended {
                live.bookmark = self.reader.bookmark();
                let is_as_recorded = !live.has_parted;
                if let Some(worker) = live.player.playback.worker_mut(id) {
                    worker.set_observer(None);
                }
                self.lives.insert(id, live);
                let heard = hearing.rounds.into_iter().find(|heard| heard.round == round);
                let heard = heard.ok_or_else(|| not_run(id, round))?;
                let log = heard.log(ordinal, position, tape.take());
                return Ok(Came::Ran(Ran { log, is_as_recorded, is_proved }));
            }
        }
    }

    /// The worker somewhere before a round of its: where it was played to last, or at a station, whichever is nearer.
    fn live_before(&mut self, worker: WorkerId, round: u64, ordinal: u64) -> Result<Live, ReplayError> {
        let station = self.timeline.station(ordinal);
        let kept = station.kept.get(&worker);
        let at_station = kept.map_or(0, |kept| kept.taken.rounds);
        if let Some(mut live) = self.lives.remove(&worker)
            && !live.has_parted
            && (at_station..round).contains(&live.rounds())
        {
            return Ok(live);
        }
        let mut live = Live {
            worker,
            player: self.recorded.player_again(),
            bookmark: kept.and(station.bookmark),
            position: Position::default(),
            has_parted: false,
        };
        if let Some(kept) = kept {
            resume(&mut live.player, &self.recorded, kept);
            for entry in kept.waiting.iter().flat_map(|(_, records)| records.entries()) {
                let taken = live.take(&entry, &mut ());
                taken.map_err(|stopped| Segments::new(&self.recorded).error(stopped))?;
            }
        }
        Ok(live)
    }

    /// Runs all rounds again between a station and the next one, and shows each to `see`. Those of one worker come in order; of several
    /// workers, a round may come before one that stands before it in the journal. Ends early where `see` has seen enough.
    pub(super) fn scan(
        &mut self,
        station: usize,
        see: &mut dyn FnMut(&RoundLog) -> ControlFlow<()>,
    ) -> Result<(), ReplayError> {
        let from = self.timeline.stations()[station].ordinal;
        self.scan_observed(station, None, &mut |log| {
            if log.ordinal < from { ControlFlow::Continue(()) } else { see(log) }
        })
    }

    /// As [`scan`](Runner::scan), with observers of whoever asks, and with the rounds that had been read before the station and had yet to
    /// run. No steps are taken down where there are such observers.
    pub(super) fn scan_observed(
        &mut self,
        station: usize,
        observers: Option<Observers>,
        see: &mut dyn FnMut(&RoundLog) -> ControlFlow<()>,
    ) -> Result<(), ReplayError> {
        let stations = self.timeline.stations();
        let upto = stations.get(station + 1).map_or(self.timeline.rounds(), |next| next.ordinal);
        let station = &stations[station];
        let error = |stopped| Segments::new(&self.recorded).error(stopped);
        let mut scan = Scan::new(self.recorded.player_again(), station.ordinal, observers);
        for kept in station.kept.values() {
            resume(&mut scan.player, &self.recorded, kept);
        }
        for (ordinal, records) in station.kept.values().filter_map(|kept| kept.waiting.as_ref()) {
            records.entries().try_for_each(|entry| scan.take_again(&entry, *ordinal)).map_err(error)?;
        }
        if station.bookmark.is_some() {
            let left = self
                .timeline
                .unplayed
                .left_by(station.ordinal)
                .filter(|left| !station.kept.contains_key(&left.fault.worker));
            left.for_each(|left| scan.player.playback.pass_over_left(left.clone()));
        }
        self.reader.return_to(station.bookmark)?;
        while scan.upto() < upto {
            let next = sound(&mut self.reader, &self.timeline)?;
            let ended = next.is_none();
            let (logs, taken) = match next {
                Some(entry) => scan.take(&entry),
                None => scan.finish(self.timeline.end.0, self.timeline.end.1),
            };
            if logs.iter().filter(|log| log.ordinal < upto).any(|log| see(log).is_break()) {
                return Ok(());
            }
            if let Err(stopped) = taken {
                let stopped = error(stopped);
                // Where the first pass came further, what follows isn't passed over in silence.
                return if self.timeline.is_its_divergence(&stopped) { Ok(()) } else { Err(stopped) };
            }
            if ended {
                break;
            }
        }
        Ok(())
    }
}

impl Live {
    /// Takes a record of the worker.
    fn take(&mut self, entry: &Entry<'_>, audience: &mut dyn Audience) -> Result<(), Stopped> {
        if let Record::Round { .. } = entry.record {
            self.position = entry.position;
        }
        self.player.take_before(entry, audience)
    }
}

/// The next record; where the first pass ended at damage, none behind that either.
fn sound<'r>(reader: &'r mut Reader, timeline: &Timeline) -> Result<Option<Entry<'r>>, ReplayError> {
    match reader.next() {
        // Damage before that wasn't there then.
        Err(ReadError::Corrupt(damage))
            if timeline.is_damaged && damage.sound_end().is_none_or(|end| end >= timeline.end.0) =>
        {
            Ok(None)
        }
        next => Ok(next?),
    }
}

/// Puts a worker into a player as it was at a station.
fn resume(player: &mut Player, recorded: &Recorded, kept: &Kept) {
    player.playback.resume(restored(recorded, kept), kept.taken.digest);
}

/// A worker as it was at a station.
fn restored(recorded: &Recorded, kept: &Kept) -> Worker {
    let restored = Worker::restore(recorded.catalogue.clone(), &kept.taken.image);
    let mut worker = restored.expect("a worker with the same kinds has given this image");
    worker.set_origins(&kept.taken.origins);
    worker
}

fn not_run(worker: WorkerId, round: u64) -> ReplayError {
    ReplayError::Misuse(format!(
        "round {round} of {worker} can't be run again: the journal holds no start or snapshot before it"
    ))
}

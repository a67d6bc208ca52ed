//! Which part of a journal is replayed: from a snapshot on, up to a round, or all of it.
//!
//! What is asked for names one worker's snapshot, or one round. Workers depend on their own records alone, so it can be said of each where
//! it begins and ends: the worker of the snapshot begins with it, and each other one with its latest snapshot that was begun before that
//! one was, or, where it has none, as it would without. All workers run the rounds that stand in the journal up to the one that is the last.
//! What comes behind that is read only to find, for each worker, the record that bears out its last round.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use qnfsm::{
    WorkerId,
    journal::{
        AllMarks, Entry, Marking, Position, Reader, Record,
        snapshots::{self, Mark},
    },
};
use serde::Serialize;

use crate::{
    Options, ReplayError, Seen,
    naming::{RoundName, SnapshotName},
    recorded::Recorded,
    replay::RECORDS_BETWEEN_REPORTS,
    report::number,
};

/// A snapshot with which a worker began, because that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BeganWith {
    /// The worker.
    #[serde(serialize_with = "number")]
    pub worker: WorkerId,
    /// The round after which the snapshot was taken.
    pub round: u64,
}

/// The round behind which nothing was replayed, because that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EndedBehind {
    /// Its number among all rounds of all workers, from 0.
    pub ordinal: u64,
    /// Its worker.
    #[serde(serialize_with = "number")]
    pub worker: WorkerId,
    /// The worker's own number of it.
    pub round: u64,
}

/// The part of a journal that is replayed.
#[derive(Debug, Default)]
pub(crate) struct Span {
    /// The snapshots that workers begin with, and where the first record stands of each that it is then given.
    from: BTreeMap<WorkerId, (Position, Mark)>,
    /// The last round, and where its record stands.
    to: Option<(EndedBehind, Position)>,
    /// By worker, the round that was read last, if nothing has shown so far that it has ended.
    unended: BTreeMap<WorkerId, u64>,
    /// The workers that went on behind the end.
    pub(crate) beyond: BTreeSet<WorkerId>,
}

/// What becomes of a record.
pub(crate) enum Belongs {
    /// It is played.
    Within,
    /// It isn't.
    Outside,
    /// It isn't, nor is any that follows.
    Over,
}

impl Span {
    /// Finds what is asked for, and leaves the reader where the first record stands that is needed.
    pub(crate) fn of(recorded: &Recorded, reader: &mut Reader, options: &Options<'_>) -> Result<Span, ReplayError> {
        if options.from.is_none() && options.to.is_none() {
            return Ok(Span::default());
        }
        let mut look = Look { to: options.to, ..Look::default() };
        look.through(recorded, reader, options)?;
        let mut span = Span { to: look.found_to(options.to)?, ..Span::default() };
        if let Some(named) = options.from {
            let place = look.choose(recorded, named, &mut span.from)?;
            if let Some((EndedBehind { worker, round, .. }, _)) = span.to.filter(|(_, at)| *at < place) {
                return Err(ReplayError::Misuse(format!(
                    "round {round} of {worker} stands before the snapshot of {named}; replay up to a later round, or from an earlier \
                     snapshot"
                )));
            }
        }
        reader.seek(look.first_needed(&span.from))?;
        Ok(span)
    }

    /// The snapshots that were chosen.
    pub(crate) fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        self.from.values().map(|(_, mark)| *mark)
    }

    pub(crate) fn began_with(&self) -> Vec<BeganWith> {
        self.marks().map(|Mark { worker, round, .. }| BeganWith { worker, round }).collect()
    }

    pub(crate) fn ended_behind(&self) -> Option<EndedBehind> {
        self.to.map(|(ended, _)| ended)
    }

    /// True if a record at that place stands behind the last round.
    pub(crate) fn is_behind(&self, at: Position) -> bool {
        self.to.is_some_and(|(_, end)| at > end)
    }

    /// What becomes of the next record.
    pub(crate) fn take(&mut self, entry: &Entry<'_>) -> Belongs {
        let (at, record) = (entry.position, &entry.record);
        let is_behind = self.is_behind(at);
        if is_behind && self.unended.is_empty() {
            return Belongs::Over;
        }
        let Some(worker) = record.worker() else { return Belongs::Within };
        if self.from.get(&worker).is_some_and(|(from, _)| at < *from)
            || (is_behind && !self.unended.contains_key(&worker))
        {
            return Belongs::Outside;
        }
        if let Record::Round { round, .. } = *record {
            if is_behind {
                self.unended.remove(&worker);
                self.beyond.insert(worker);
            } else {
                self.unended.insert(worker, round);
            }
        } else if self.unended.get(&worker).is_some_and(|last| record.ends_round(*last)) {
            self.unended.remove(&worker);
        }
        Belongs::Within
    }
}

/// What was seen of a journal while it was looked through.
#[derive(Default)]
struct Look {
    to: Option<RoundName>,
    /// The last round, once it was found.
    found: Option<(EndedBehind, Position)>,
    marks: AllMarks,
    rounds: u64,
    /// By worker, its first round and its last one.
    rounds_of: BTreeMap<WorkerId, (u64, u64)>,
    /// By worker, where its first record stands.
    first: BTreeMap<WorkerId, Position>,
}

impl Look {
    /// Reads as far as is needed: to the last round, or, where snapshots are sought, to the end.
    fn through(&mut self, recorded: &Recorded, reader: &mut Reader, options: &Options<'_>) -> Result<(), ReplayError> {
        let mut records = 0;
        while let Some(entry) = reader.next()? {
            self.note(&entry);
            if self.found.is_some() && options.from.is_none() {
                break;
            }
            records += 1;
            if let (0, Some(on_progress)) = (records % RECORDS_BETWEEN_REPORTS, &options.on_progress) {
                let (bytes, bytes_total) = (recorded.bytes_before(entry.position), recorded.bytes());
                on_progress(Seen { rounds: 0, messages: 0, bytes, bytes_total });
            }
        }
        Ok(())
    }

    fn note(&mut self, entry: &Entry<'_>) {
        let (at, record) = (entry.position, &entry.record);
        self.marks.note(record, at);
        let Some(worker) = record.worker() else { return };
        self.first.entry(worker).or_insert(at);
        if let Record::Round { round, .. } = *record {
            let ordinal = self.rounds;
            let is_it = match self.to {
                Some(RoundName::Ordinal(wanted)) => wanted == ordinal,
                Some(RoundName::Of(of, wanted)) => (of, wanted) == (worker, round),
                None => false,
            };
            if is_it {
                self.found = Some((EndedBehind { ordinal, worker, round }, at));
            }
            self.rounds += 1;
            self.rounds_of.entry(worker).or_insert((round, round)).1 = round;
        }
    }

    fn found_to(&self, to: Option<RoundName>) -> Result<Option<(EndedBehind, Position)>, ReplayError> {
        let Some(to) = to.filter(|_| self.found.is_none()) else { return Ok(self.found) };
        let rounds_of =
            |of: &WorkerId| self.rounds_of.get(of).map(|(first, last)| format!("{first} to {last} of {of}"));
        let there = match to {
            RoundName::Ordinal(_) => format!("{} rounds, counted from 0", self.rounds),
            RoundName::Of(worker, _) => match rounds_of(&worker) {
                Some(rounds) => format!("rounds {rounds}"),
                None => {
                    let all: Vec<_> = self.rounds_of.keys().filter_map(rounds_of).collect();
                    format!("rounds {}, and none of {worker}", all.join(", "))
                }
            },
        };
        Err(ReplayError::Misuse(format!("there is no {to}: the journal holds {there}")))
    }

    /// Chooses the snapshots that workers begin with. Gives where the one was begun that is asked for.
    fn choose(
        &self,
        recorded: &Recorded,
        named: SnapshotName,
        chosen: &mut BTreeMap<WorkerId, (Position, Mark)>,
    ) -> Result<Position, ReplayError> {
        let there: BTreeSet<_> = snapshots::list(&*recorded.storage, &recorded.dir)?.into_iter().collect();
        let counts = |marking: &&Marking| {
            there.contains(&(marking.mark.worker, marking.mark.round))
                && !recorded.is_of_another_version(marking.from.segment)
        };
        let of = |worker: &WorkerId| self.marks.0.get(worker).into_iter().flat_map(|marks| &marks.found).filter(counts);
        let wanted = of(&named.worker).rfind(|marking| marking.mark.round == named.round);
        let Some(wanted) = wanted else {
            let all = self.marks.0.keys().flat_map(of).map(|marking| (marking.mark.worker, marking.mark.round));
            return Err(ReplayError::Misuse(none_such(&recorded.dir, named, all.collect())));
        };
        let load = |mark: &Mark| mark.load(&*recorded.storage, &recorded.dir, recorded.manifest.identity);
        load(&wanted.mark)?;
        chosen.insert(named.worker, (wanted.from, wanted.mark));
        for worker in self.marks.0.keys().filter(|worker| **worker != named.worker) {
            let before: Vec<_> = of(worker).filter(|marking| marking.from <= wanted.from).collect();
            // One that can't be read is passed over, as where the journal's start is gone.
            if let Some(latest) = before.iter().rev().find(|marking| load(&marking.mark).is_ok()) {
                chosen.insert(*worker, (latest.from, latest.mark));
            }
        }
        Ok(wanted.from)
    }

    /// Where the first record stands that some worker is given.
    fn first_needed(&self, from: &BTreeMap<WorkerId, (Position, Mark)>) -> Position {
        let of = |(worker, first): (&WorkerId, &Position)| from.get(worker).map_or(*first, |(from, _)| *from);
        let needed = self.first.iter().map(of).min();
        // Workers whose records were not looked through come later.
        needed.filter(|_| !from.is_empty()).unwrap_or_default()
    }
}

/// How many snapshots are listed of those that there are.
const LISTED_MAX: usize = 6;

/// Says that there is no such snapshot, and which there are: of its worker those nearest to it.
fn none_such(dir: &Path, named: SnapshotName, all: BTreeSet<(WorkerId, u64)>) -> String {
    let of_worker = all.iter().any(|(worker, _)| *worker == named.worker);
    let mut near: Vec<_> = all.into_iter().filter(|(worker, _)| !of_worker || *worker == named.worker).collect();
    near.sort_by_key(|(_, round)| round.abs_diff(named.round));
    near.truncate(LISTED_MAX);
    let list: Vec<_> = near.into_iter().map(|(worker, round)| SnapshotName { worker, round }.to_string()).collect();
    let there = match list.is_empty() {
        true => "there is none at all".to_owned(),
        false => format!("the nearest are those of {}", list.join(", ")),
    };
    format!("{} has no snapshot of {named} that its journal speaks for and this program took; {there}", dir.display())
}

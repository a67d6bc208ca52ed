//! Two plays of one worker, round by round, from where they may come to differ.

use std::mem;

use qnfsm::WorkerId;

use super::{Live, Ran, RoundName, Runner};
use crate::ReplayError;

/// The other one of two plays of a worker.
#[derive(Default)]
pub(in crate::session) struct Twin(Option<Live>);

impl Runner {
    /// From which of a worker's rounds on two plays may do something else: that behind the last station which a play from the station before
    /// comes to, too. And whether there is a station that it doesn't come to. `on_progress` is told the ordinals that are reached.
    ///
    /// Each station is held against what comes of the one before it, and of nothing further back: what a worker has from outside its data is another
    /// thing each time, and all that follows from it.
    pub(in crate::session) fn parts_from(
        &mut self,
        last: u64,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<(Vec<RoundName>, bool), ReplayError> {
        let (worker, round) = self.round(last)?;
        let kept = self.timeline.stations().iter().filter_map(|station| station.kept.get(&worker));
        let kept = kept.filter(|kept| kept.taken.rounds < round).map(|kept| kept.taken.clone());
        let mut all: Vec<_> = kept.collect();
        all.dedup_by_key(|taken| taken.rounds);
        let (mut from, mut fits) = (0, true);
        for taken in all {
            // One that began with a snapshot has no round before.
            let Some(ordinal) = self.timeline.ordinal(worker, taken.rounds) else { continue };
            // What it was given without a round, it isn't after that round.
            if taken.is_shaped || !self.timeline.is_played(ordinal) {
                continue;
            }
            on_progress(ordinal);
            self.lives.remove(&worker);
            fits = match self.image_after(ordinal) {
                Err(ReplayError::Diverged(_)) => false,
                image => image?.is_some_and(|image| image == taken.image),
            };
            if !fits {
                break;
            }
            from = ordinal + 1;
        }
        self.lives.remove(&worker);
        let (mut rounds, mut next) = (Vec::new(), None);
        for ordinal in (from..=last).filter(|ordinal| self.timeline.worker(*ordinal) == Some(worker)) {
            let number = match next {
                Some(number) => number,
                None => self.round(ordinal)?.1,
            };
            next = Some(number + 1);
            if self.timeline.is_played(ordinal) {
                rounds.push(RoundName { ordinal, worker, round: number });
            }
        }
        Ok((rounds, fits))
    }

    /// Runs a round in two plays of its worker, of which the other one is kept by whoever asks.
    pub(in crate::session) fn run_twice(&mut self, name: RoundName, other: &mut Twin) -> Result<[Ran; 2], ReplayError> {
        let one = self.run(name)?;
        self.turn(name.worker, other);
        let again = self.run(name)?;
        self.turn(name.worker, other);
        Ok([one, again])
    }

    /// Goes on with the other play of a worker, and keeps this one.
    fn turn(&mut self, worker: WorkerId, other: &mut Twin) {
        let live = mem::replace(&mut other.0, self.lives.remove(&worker));
        self.lives.extend(live.map(|live| (worker, live)));
    }

    /// What the worker of a round was after it; nothing, if that can't be encoded, or the worker can't go on.
    fn image_after(&mut self, ordinal: u64) -> Result<Option<Vec<u8>>, ReplayError> {
        let mut image = Vec::new();
        let worker = self.worker_after_mut(ordinal)?;
        Ok((worker.fault().is_none() && worker.snapshot(&mut image).is_ok()).then_some(image))
    }
}

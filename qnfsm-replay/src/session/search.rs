//! Looks for steps, forwards and backwards, from station to station.

use std::ops::ControlFlow;

use super::{RoundLog, Session, Step};
use crate::ReplayError;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To what happened later.
    Forward,
    /// To what happened before.
    Back,
}

/// What came of a search that may be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The session stands at the step.
    There,
    /// There is no such step.
    Nowhere,
    /// It was given up before it was known.
    GivenUp,
}

impl Session {
    /// Goes to the next step, in that direction, for which `wanted` holds; false, if there is none, and the session stands where it
    /// stood. Steps are looked at in no particular order, and some more than once.
    ///
    /// # Errors
    /// When a round can't be run again.
    pub fn find(
        &mut self,
        direction: Direction,
        wanted: impl FnMut(&RoundLog, &Step) -> bool,
    ) -> Result<bool, ReplayError> {
        let found = self.find_unless(direction, wanted, |_| ControlFlow::Continue(()))?;
        Ok(found == Found::There)
    }

    /// Likewise, and `meanwhile` is asked at each round, whose ordinal it is given, whether to go on. Where it breaks, the search is given up.
    ///
    /// # Errors
    /// When a round can't be run again.
    pub fn find_unless(
        &mut self,
        direction: Direction,
        mut wanted: impl FnMut(&RoundLog, &Step) -> bool,
        mut meanwhile: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Found, ReplayError> {
        let Some(here) = self.here.clone() else { return Ok(Found::Nowhere) };
        let here = (here.ordinal, self.at);
        let mut found: Option<(u64, usize)> = None;
        let mut stations = match direction {
            Direction::Forward => {
                let first = self.runner.timeline.station_number(here.0);
                (first..self.runner.timeline.stations().len()).collect::<Vec<_>>()
            }
            Direction::Back => (0..=self.runner.timeline.station_number(here.0)).rev().collect(),
        };
        stations.reverse();
        while let (None, Some(station)) = (found, stations.pop()) {
            let mut is_given_up = false;
            let gone_through = self.runner.scan(station, &mut |log| {
                if meanwhile(log.ordinal).is_break() {
                    is_given_up = true;
                    return ControlFlow::Break(());
                }
                for (number, step) in log.steps.iter().enumerate() {
                    let spot = (log.ordinal, number);
                    let is_nearer = match direction {
                        Direction::Forward => spot > here && found.is_none_or(|found| spot < found),
                        Direction::Back => spot < here && found.is_none_or(|found| spot > found),
                    };
                    if is_nearer && wanted(log, step) {
                        found = Some(spot);
                    }
                }
                ControlFlow::Continue(())
            });
            // What was found before the program parted from the record is no less there; going back, what is behind it may be nearer.
            match gone_through {
                Err(ReplayError::Diverged(_)) if found.is_some() && direction == Direction::Forward => {}
                gone_through => gone_through?,
            }
            if is_given_up {
                return Ok(Found::GivenUp);
            }
        }
        let Some((ordinal, step)) = found else { return Ok(Found::Nowhere) };
        self.go_to(ordinal)?;
        self.at = step;
        Ok(Found::There)
    }
}

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

impl Session {
    /// Goes to the next step, in that direction, for which `wanted` holds; false, if there is none, and the session stands where it
    /// stood. Steps are looked at in no particular order, and some more than once.
    ///
    /// # Errors
    /// When a round can't be run again.
    pub fn find(
        &mut self,
        direction: Direction,
        mut wanted: impl FnMut(&RoundLog, &Step) -> bool,
    ) -> Result<bool, ReplayError> {
        let Some(here) = self.here.clone() else { return Ok(false) };
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
            self.runner.scan(station, &mut |log| {
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
            })?;
        }
        let Some((ordinal, step)) = found else { return Ok(false) };
        self.go_to(ordinal)?;
        self.at = step;
        Ok(true)
    }
}

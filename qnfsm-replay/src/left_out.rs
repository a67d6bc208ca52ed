//! What was left out of a playback that did what was recorded as far as it went: rounds that need what the program lacks, and rounds behind
//! snapshots that could not be begun with. One rule for all that play a journal.

use std::path::Path;

use qnfsm::{Catalogue, playback::Playback};

use crate::{DamagedSnapshots, NotBegun, Partly, ReplayError, Report, Unfit};

/// See the file's head.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftOut {
    /// The snapshots that workers could not begin with, in the order of the workers.
    pub(crate) not_begun: Vec<NotBegun>,
    /// What the program lacks, and the workers that were left, or began later, because of it.
    pub(crate) partly: Option<Partly>,
}

impl LeftOut {
    /// Of a playback in that directory that has finished, or stopped.
    pub(crate) fn of(dir: &Path, catalogue: &Catalogue, playback: &Playback) -> LeftOut {
        let mut not_begun: Vec<_> = playback.refused().map(NotBegun::of).collect();
        not_begun.sort_by_key(|not_begun| (not_begun.worker, not_begun.first.round));
        let partly = Partly::of(dir, catalogue, playback.left(), &not_begun);
        LeftOut { not_begun, partly }
    }

    /// As an error, if anything is left out that could have been played with other kinds or whole files. `report` is of the rest.
    pub(crate) fn error(&self, dir: &Path, report: Option<&Report>) -> Option<ReplayError> {
        let damaged = self.not_begun.iter().filter(|not_begun| not_begun.cause == Unfit::Damaged);
        let damaged: Vec<_> = damaged.cloned().collect();
        let report = report.cloned();
        if !damaged.is_empty() {
            let (dir, partly) = (dir.into(), self.partly.clone());
            return Some(ReplayError::Snapshots(Box::new(DamagedSnapshots { dir, damaged, report, partly })));
        }
        self.partly.clone().map(|partly| ReplayError::Partly(Box::new(Partly { report, ..partly })))
    }
}

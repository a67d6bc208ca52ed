//! What is played of a journal whose kinds aren't all registered: each worker up to the round that needs one which the program lacks, and
//! the others to the end.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use qnfsm::{Catalogue, Table, WorkerId, playback::Left};
use serde::Serialize;

use crate::{NotBegun, Report, Unfit, report::number};

/// A journal was played as far as it can be without the kinds and message types that the program lacks, and up to there the program did what
/// was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Partly {
    /// The directory.
    pub dir: PathBuf,
    /// What the program lacks, such as `kind teller`.
    pub lacks: Vec<String>,
    /// The workers that were left, in the order of their numbers.
    pub left: Vec<LeftWorker>,
    /// What came of the rest, where the whole journal was replayed.
    pub report: Option<Report>,
}

/// A worker that was left before a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftWorker {
    /// The worker.
    #[serde(serialize_with = "number")]
    pub worker: WorkerId,
    /// The round that needs what is lacking, or the first behind a snapshot that holds it.
    pub round: u64,
    /// How many recorded rounds were not run.
    pub rounds: u64,
    /// What is lacking, and for what.
    pub what: String,
}

impl LeftWorker {
    fn of(left: &Left) -> LeftWorker {
        let Left { fault, rounds } = left;
        LeftWorker { worker: fault.worker, round: fault.round, rounds: *rounds, what: fault.to_string() }
    }

    /// One that began with a later snapshot.
    fn late(not_begun: &NotBegun) -> LeftWorker {
        let (worker, round) = (not_begun.worker, not_begun.first.round + 1);
        LeftWorker {
            worker,
            round,
            rounds: not_begun.rounds,
            what: format!("{worker} round {round}: {}", not_begun.which()),
        }
    }
}

impl Partly {
    /// Of the workers that were left, and of those that began later than they could have with what is lacking. None, if there is neither.
    pub(crate) fn of<'l>(
        dir: &Path,
        catalogue: &Catalogue,
        left: impl Iterator<Item = &'l Left>,
        not_begun: &[NotBegun],
    ) -> Option<Partly> {
        let late = not_begun.iter().filter(|not_begun| not_begun.cause == Unfit::Lacking).map(LeftWorker::late);
        let mut left: Vec<_> = left.map(LeftWorker::of).chain(late).collect();
        left.sort_by_key(|left| (left.worker, left.round));
        let lacks = || catalogue.lacks().collect();
        (!left.is_empty()).then(|| Partly { dir: dir.into(), lacks: lacks(), left, report: None })
    }
}

impl fmt::Display for Partly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Partly { dir, lacks, left, .. } = self;
        write!(
            f,
            "{} was recorded with what this program doesn't register: {}; register it, or use the build that wrote it. What needs none \
             of it was played, and does what was recorded; these workers were left:",
            dir.display(),
            lacks.join(", ")
        )?;
        left.iter().try_for_each(|LeftWorker { rounds, what, .. }| {
            write!(f, "\n  {what} ({rounds} {} not run)", if *rounds == 1 { "round" } else { "rounds" })
        })
    }
}

impl std::error::Error for Partly {}

/// A program's kinds under the numbers of the last table that was recorded, if all that both have is the same, and nothing is lost by it that
/// can be played with the numbers that the program gave them.
pub(crate) fn numbered<'t>(own: &Catalogue, tables: impl Iterator<Item = &'t Table> + Clone) -> Option<Catalogue> {
    let last = tables.clone().last()?;
    if last.differences(own.table()).is_empty() || last.is_foreign_to(own.table()) {
        return None;
    }
    let numbered = own.numbered_as(last)?;
    let plays = |catalogue: &Catalogue, table: &Table| table.differences(catalogue.table()).is_empty();
    let is_lost = |table: &Table| plays(own, table) && !plays(&numbered, table);
    let loses_nothing = !tables.clone().any(is_lost);
    loses_nothing.then_some(numbered)
}

//! What is said of snapshots that workers could not begin with, where the journal's beginning is gone: rounds that are on record weren't run
//! because of them, so a replay that is equal otherwise isn't one of all that could be replayed.

use std::{fmt, path::PathBuf};

use qnfsm::{
    WorkerId,
    playback::{Cause, Refused, RefusedSnapshot},
};
use serde::Serialize;

use crate::{
    Partly, Report,
    report::{count, number},
};

/// The snapshots that one worker could not begin with for one cause. However many they are, the first and the last are named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotBegun {
    /// The worker.
    #[serde(serialize_with = "number")]
    pub worker: WorkerId,
    /// Why not.
    pub cause: Unfit,
    /// How many snapshots.
    pub snapshots: u64,
    /// The first of them.
    pub first: UnfitSnapshot,
    /// The last of them.
    pub last: UnfitSnapshot,
    /// How many recorded rounds were not run that follow the first of them.
    pub rounds: u64,
}

/// Why a worker can't begin with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unfit {
    /// Its file isn't there: it was never ended, was given up, or was moved aside.
    Missing,
    /// Its file is damaged, or can't be read.
    Damaged,
    /// It holds an FSM of a kind that the program doesn't register.
    Lacking,
    /// It is another version's of the program, and can't be carried over.
    Changed,
}

/// A snapshot that a worker could not begin with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnfitSnapshot {
    /// The round after which it was taken.
    pub round: u64,
    /// Its file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl UnfitSnapshot {
    fn of(snapshot: &RefusedSnapshot) -> UnfitSnapshot {
        let RefusedSnapshot { round, file, why } = snapshot.clone();
        UnfitSnapshot { round, file, why }
    }
}

impl NotBegun {
    pub(crate) fn of(refused: &Refused) -> NotBegun {
        let cause = match refused.cause {
            Cause::Missing => Unfit::Missing,
            Cause::Damaged => Unfit::Damaged,
            Cause::Lacking => Unfit::Lacking,
            Cause::Changed => Unfit::Changed,
        };
        let (first, last) = (UnfitSnapshot::of(&refused.first), UnfitSnapshot::of(&refused.last));
        NotBegun { worker: refused.worker, cause, snapshots: refused.snapshots, first, last, rounds: refused.rounds }
    }

    /// Which snapshots they are, and what is wrong with them.
    pub(crate) fn which(&self) -> String {
        let NotBegun { snapshots, first, last, .. } = self;
        let shown = |snapshot: &UnfitSnapshot| format!("{}: {}", snapshot.file.display(), snapshot.why);
        match snapshots {
            1 => format!("a snapshot could not be begun with: {}", shown(first)),
            _ => format!(
                "{snapshots} snapshots could not be begun with: the first, {}; the last, {}",
                shown(first),
                shown(last)
            ),
        }
    }
}

impl fmt::Display for NotBegun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = count(self.rounds, "round");
        write!(f, "{}: {rounds} not run behind round {}, because {}", self.worker, self.first.round, self.which())
    }
}

/// Snapshots that workers were to begin with are damaged. What could be begun with others was played, and does what was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct DamagedSnapshots {
    /// The directory.
    pub dir: PathBuf,
    /// Those that are damaged, in the order of the workers.
    pub damaged: Vec<NotBegun>,
    /// What came of the rest, where the whole journal was replayed.
    pub report: Option<Report>,
    /// What the program lacks besides, and the workers that were left because of it.
    pub partly: Option<Partly>,
}

impl fmt::Display for DamagedSnapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DamagedSnapshots { dir, damaged, partly, .. } = self;
        let dir = dir.display();
        write!(
            f,
            "{dir} has damaged snapshots, which workers were to begin with. What could be begun with others was played, and does what was \
             recorded; the rest was not looked at. Put the files back from a copy, or, to do without them: `qnfsm repair {dir} \
             --unusable-snapshots`:"
        )?;
        damaged.iter().try_for_each(|not_begun| write!(f, "\n  {not_begun}"))?;
        partly.iter().try_for_each(|partly| write!(f, "\n{partly}"))
    }
}

impl std::error::Error for DamagedSnapshots {}

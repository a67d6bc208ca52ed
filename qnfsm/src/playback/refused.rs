//! Snapshots that workers could not begin with, and what that cost. However many there are, the first and the last of each cause are kept.

use std::{fmt, path::PathBuf};

use super::Playback;
use crate::id::WorkerId;

/// Why a worker can't begin with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Its file isn't there: it was never ended, or it was given up.
    Missing,
    /// Its file is damaged, or can't be read.
    Damaged,
    /// It holds what the program doesn't register though the one that recorded it did.
    Lacking,
    /// What another version of the program left in it can't be carried over to this one.
    Changed,
}

/// A snapshot that a worker could not begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedSnapshot {
    /// The round after which it was taken.
    pub round: u64,
    /// Its file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for RefusedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.why)
    }
}

/// The snapshots that one worker could not begin with for one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The worker.
    pub worker: WorkerId,
    /// Why not.
    pub cause: Cause,
    /// How many they are.
    pub snapshots: u64,
    /// The first of them.
    pub first: RefusedSnapshot,
    /// The last of them.
    pub last: RefusedSnapshot,
    /// How many recorded rounds were not run that follow the first of them.
    pub rounds: u64,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refused { snapshots, first, last, .. } = self;
        match snapshots {
            1 => write!(f, "{first}"),
            2 => write!(f, "{first}; {last}"),
            _ => write!(f, "{snapshots} snapshots, from {first}; to {last}"),
        }
    }
}

impl Playback {
    /// The snapshots that workers could not begin with, so that rounds weren't run which are on record: they began with a later one, or not
    /// at all. Of workers that were [left](Playback::left) only those that are damaged.
    pub fn refused(&self) -> impl Iterator<Item = &Refused> {
        self.unbegun.refused.iter()
    }
}

/// Those that a worker could not begin with so far, by their causes.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<Refused>);

impl Refusals {
    /// One more. A snapshot that is marked again counts once.
    pub(super) fn note(&mut self, worker: WorkerId, cause: Cause, snapshot: RefusedSnapshot) {
        match self.0.iter_mut().find(|refused| refused.cause == cause) {
            Some(refused) if refused.last.round == snapshot.round => {}
            Some(refused) => {
                refused.snapshots += 1;
                refused.last = snapshot;
            }
            None => {
                let first = snapshot.clone();
                self.0.push(Refused { worker, cause, snapshots: 1, first, last: snapshot, rounds: 0 });
            }
        }
    }

    /// A round isn't run that would have been with any of them. False if there is none.
    pub(super) fn pass_round(&mut self) -> bool {
        self.0.iter_mut().for_each(|refused| refused.rounds += 1);
        !self.0.is_empty()
    }

    /// The round that was passed last would not have been run in any case.
    pub(super) fn take_back_round(&mut self) {
        self.0.iter_mut().for_each(|refused| refused.rounds = refused.rounds.saturating_sub(1));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, cause: Cause) -> bool {
        self.0.iter().any(|refused| refused.cause == cause)
    }

    /// Those that cost rounds.
    pub(super) fn costly(self) -> impl Iterator<Item = Refused> {
        self.0.into_iter().filter(|refused| refused.rounds > 0)
    }
}

/// Each cause on a line of its own, behind what they are told of.
impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|refused| write!(f, "\n  {refused}"))
    }
}

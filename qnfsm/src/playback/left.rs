//! Workers that a playback leaves, because they need a kind or a message type that the program doesn't register though the one that
//! recorded them did. All workers depend on their own records alone, so the others are played on.

use super::{Playback, PlaybackError, beginning::GivenUp};
use crate::{
    frame::{BatchRef, Class},
    id::WorkerId,
    journal::Record,
    worker::{Catalogue, Fault, FaultKind},
};

/// A worker that was left before a round. What it did up to there was played back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The round that can't be run, and what is lacking for it.
    pub fault: Fault,
    /// How many recorded rounds of the worker weren't run, that one among them.
    pub rounds: u64,
}

/// Why a record isn't taken.
#[derive(Debug)]
pub(super) enum Halt {
    /// The playback can't go on.
    Error(PlaybackError),
    /// One worker can't.
    Lacks(Box<Fault>),
}

impl Halt {
    pub(super) fn lacks(worker: WorkerId, round: u64, what: String) -> Halt {
        Halt::Lacks(Box::new(Fault { worker, round, fsm: None, what: FaultKind::Lacking(what) }))
    }
}

impl From<PlaybackError> for Halt {
    fn from(error: PlaybackError) -> Halt {
        Halt::Error(error)
    }
}

/// What the program lacks of what a round is given, if anything.
pub(super) fn lacking(catalogue: &Catalogue, batches: &[BatchRef<'_>]) -> Option<String> {
    if !catalogue.is_partial() {
        return None;
    }
    let mut headers = batches.iter().flat_map(|batch| batch.frames().map_while(Result::ok)).map(|frame| frame.header);
    headers.find_map(|header| {
        let number = header.type_number;
        match header.class {
            Class::Spawn if catalogue.lacks_kind(number) => {
                Some(format!("it is to start an FSM of kind {}, which isn't registered", catalogue.kind_name(number)))
            }
            Class::Message | Class::Reply | Class::Spawned if catalogue.lacks_message(number) => {
                let name = catalogue.message_name(number);
                Some(format!("it is given a message of type {name}, which isn't registered"))
            }
            _ => None,
        }
    })
}

impl Playback {
    /// The workers that were left before a round, because it needs a kind or a message type that the catalogue
    /// [lacks](Catalogue::lacks): none, with a catalogue that lacks nothing.
    pub fn left(&self) -> impl Iterator<Item = &Left> {
        self.left.values()
    }

    /// True if that worker was left.
    #[must_use]
    pub fn has_left(&self, worker: WorkerId) -> bool {
        self.left.contains_key(&worker)
    }

    /// Passes over what follows of a worker that another playback left.
    pub fn pass_over_left(&mut self, left: Left) {
        self.left.insert(left.fault.worker, left);
    }

    /// Leaves a worker before a round that was read.
    pub(super) fn leave(&mut self, fault: Fault) {
        self.hand_over(fault.worker);
        self.left.insert(fault.worker, Left { fault, rounds: 1 });
    }

    /// Leaves workers that could not begin, because their snapshots hold what is lacking.
    pub(super) fn leave_unbegun(&mut self) {
        for GivenUp { worker, reached, rounds, why } in self.unbegun.give_up_lacking() {
            let round = reached.saturating_sub(rounds) + 1;
            let fault = Fault { worker, round, fsm: None, what: FaultKind::Lacking(why) };
            self.left.insert(worker, Left { fault, rounds });
        }
    }

    /// Passes over a record of a worker that was left; false, if it wasn't.
    pub(super) fn pass_left(&mut self, record: &Record<'_>) -> bool {
        let Some(left) = record.worker().and_then(|worker| self.left.get_mut(&worker)) else { return false };
        let is_later = record.round().is_some_and(|round| round > left.fault.round);
        left.rounds += u64::from(is_later && matches!(record, Record::Round { .. }));
        true
    }
}

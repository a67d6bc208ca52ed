//! The rounds that a journal ends in: each is run with care, before whoever drives, because it may end as it did when it was recorded: never.

use super::{Audience, Playback, PlaybackError, left::Halt, replica::Replica};
use crate::{
    fsm::Externals,
    id::WorkerId,
    journal::{Outcome, Reached},
    worker::Fault,
};

/// Who sees to rounds that the journal ends in, which run with care: gives external values where the record stops, and hears
/// how far a round comes.
pub trait LastRound: Externals {
    /// The handler of a delivery is about to run, by an FSM of that kind.
    fn comes_to(&mut self, worker: WorkerId, at: Reached, kind: &str);

    /// From that delivery on the round parts from what is recorded of it by another build, and nothing of it has left its worker. The
    /// values that are recorded behind those of `at` are given up, which are these in words; it is given further ones live.
    fn parts(&mut self, worker: WorkerId, at: Reached, given_up: Vec<String>);
}

/// One time that a round was run again, as far as it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The last delivery that it came to, if it came to one.
    pub at: Option<Reached>,
    /// What became of it; if it goes on, the process ended without a word.
    pub outcome: Outcome,
}

/// A round that the journal ends in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unended {
    /// The worker.
    pub worker: WorkerId,
    /// The round.
    pub round: u64,
    /// How often it was run again in vain, since what is skipped of it was.
    pub attempts: Vec<Attempt>,
    /// Nothing of it has left its worker: it is known not to have ended when it was recorded.
    pub has_let_out_nothing: bool,
    /// Another build recorded it, and nothing that its end could be compared with.
    pub is_compared_with_nothing: bool,
}

impl Playback {
    /// The rounds that were read last and have yet to run.
    pub fn unended(&self) -> impl Iterator<Item = Unended> + '_ {
        let waiting = self.replicas.values().filter(|replica| replica.pending.waits);
        waiting.map(|Replica { worker, pending, .. }| Unended {
            worker: worker.id(),
            round: worker.rounds() + 1,
            attempts: pending.attempts.clone(),
            has_let_out_nothing: pending.has_let_out_nothing(),
            is_compared_with_nothing: pending.is_of_another_build && pending.deliveries.is_none(),
        })
    }

    /// The journal has ended: runs the round of a worker that was read last, with care. Gives its digest, or the fault in which it
    /// ends.
    ///
    /// # Errors
    /// When the program doesn't do what was recorded.
    ///
    /// # Panics
    /// When there is no such round.
    pub fn finish_round(
        &mut self,
        worker: WorkerId,
        live: &mut dyn LastRound,
        audience: &mut dyn Audience,
    ) -> Result<Result<u64, Fault>, PlaybackError> {
        let _tracing = self.tracing();
        let replica = self.replicas.get_mut(&worker).filter(|replica| replica.pending.waits);
        let replica = replica.expect("rounds are finished that have yet to end");
        match replica.run_last(Some(live), audience) {
            Ok(rounds) => self.rounds += rounds,
            Err(Halt::Lacks(fault)) => {
                self.leave((*fault).clone());
                return Ok(Err(*fault));
            }
            Err(Halt::Error(error)) => return Err(error),
        }
        Ok(replica.ended.clone().map_or(Ok(replica.digest.unwrap_or_default()), Err))
    }
}

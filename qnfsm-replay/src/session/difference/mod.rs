//! Where a program parts from the record, as closely as what was recorded allows: which round, which step of it, what it handled, and what
//! of the FSM's state, data and messages is another than it was.
//!
//! A record of inputs alone says that a round did something else, and not what. Three things say more:
//!
//! - with `Recording::Everything` each delivery stands in the journal, with the state after it and digests of the rest (`record`);
//! - what a worker put out for another one stands there as that one's input (`record`);
//! - an FSM that depends on something outside its data often does something else each time: the worker is played twice up to the round,
//!   and where the two plays part is where it depends on it (`plays`, `twice`).
//!
//! What the values look like hints at the usual causes (`hint`).

mod causes;
mod hint;
mod parts;
mod plays;
mod record;
mod twice;

use std::{fmt, sync::Arc};

use qnfsm::{
    RawQueueId, WorkerId,
    schema::{Content, Path},
};

use super::{RoundLog, Session, Step};
use crate::{Diverged, ReplayError};
use causes::Cause;
pub use hint::Hint;
pub(crate) use parts::parts;
use plays::{Plays, play_twice};
pub(crate) use record::differing;
pub(super) use twice::first_difference;

/// Where a program parts from the record.
#[derive(Debug, Clone)]
pub struct Difference {
    /// What the replay found: worker, round, what was expected and what came.
    pub diverged: Diverged,
    /// The ordinal of the round.
    pub ordinal: u64,
    /// The ordinal and the worker's own number of the round in which it begins, as far as is known: that one, or one before.
    pub begins: (u64, u64),
    /// The worker's last round that did what was recorded, as its digest says, and the same again each time that it was played; none, if
    /// the first that was played didn't.
    pub agreed: Option<u64>,
    /// The step in which it shows first, if that can be told. Where that is known by [`FoundBy::Repetition`], it may be of a round before.
    pub step: Option<Parted>,
    /// Where it isn't known which step led to what shows, the others that may have, some seven at most: in each, something isn't alike each time.
    pub others: Vec<Parted>,
    /// True if it may have begun before that: in data, of which a round's digest doesn't tell.
    pub may_have_begun_before: bool,
    /// What tells the step.
    pub found_by: FoundBy,
    /// The usual causes, the likeliest first.
    pub hints: Vec<Hint>,
}

/// A step in which a program parts from the record.
#[derive(Debug, Clone)]
pub struct Parted {
    /// The ordinal of the step's round.
    pub ordinal: u64,
    /// The worker's own number of it.
    pub round: u64,
    /// Which of the round's steps.
    pub number: usize,
    /// The step, as it ran now.
    pub step: Step,
    /// What of it is another.
    pub parts: Vec<Part>,
}

/// Something of a step that is another.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Of what it is a part.
    pub of: PartOf,
    /// Which part; the empty path is the whole.
    pub path: Path,
    /// As it was recorded, if that is known.
    pub recorded: Option<Content>,
    /// As it came now.
    pub found: Option<Content>,
    /// As it came when the round was run once more.
    pub again: Option<Content>,
}

/// Of what something is a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartOf {
    /// The message that was handled.
    Message,
    /// The state after it.
    State,
    /// The FSM's data after it.
    Data,
    /// What the handler asked for, by its place among all of that.
    Asked(usize),
    /// A message that left its worker for that queue.
    Output(RawQueueId),
    /// A frame that entered, or the start value in it.
    Input,
}

/// What told the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// Each delivery was recorded.
    Deliveries,
    /// Another worker took what was put out, and that was recorded.
    Outputs,
    /// The worker was played twice up to the round, and did something else each time.
    Repetition,
    /// Likewise, and all that it did was the same each time, but for data: these may have led there, or not.
    Data,
    /// The round of two journals was run in both.
    Runs,
    /// Nothing: run again, the round does what was recorded.
    Once,
    /// Nothing: only the round is known.
    Round,
    /// Nothing: only a digest of the worker's image after the round is known, and that some FSM's data differ.
    Image,
}

impl Session {
    /// Where the program parts from the record, if it does, in this order of closeness: by the deliveries that were recorded, by two plays
    /// up to that round, by what other workers were recorded to have taken from it. The session stands there then, at the
    /// step if it is known. To play twice takes about as long as the first pass took, and from where the plays aren't alike twenty to fifty times as
    /// long as that part took.
    ///
    /// # Errors
    /// When the rounds can't be run again.
    pub fn difference(&mut self) -> Result<Option<Difference>, ReplayError> {
        let Some(ReplayError::Diverged(diverged)) = self.stopped() else { return Ok(None) };
        let diverged = (**diverged).clone();
        let (worker, round) = (diverged.divergence.worker, diverged.divergence.round);
        let Some(ordinal) = self.runner.timeline.ordinal(worker, round) else { return Ok(None) };
        let by_deliveries = self.by_deliveries(ordinal)?;
        // Where each delivery was recorded from the first one on, all that came before was as it is now.
        let is_exact = !self.runner.timeline.reconfigured.contains(&worker);
        if let (Some((step, log)), true) = (&by_deliveries, is_exact) {
            let again = self.runner.log(ordinal).ok();
            let twice = again.as_ref().and_then(|again| first_difference(self.catalogue(), [log, again]));
            let is_same_twice = again.is_some_and(|again| again.steps == log.steps);
            let step = Some(step.clone().joined(twice));
            let found =
                Found { step, others: Vec::new(), log: log.clone(), found_by: FoundBy::Deliveries, is_same_twice };
            return Ok(Some(self.told(diverged, ordinal, found)));
        }
        let is_of_image = diverged.divergence.is_of_image;
        let plays = play_twice(self, ordinal, is_of_image)?;
        let unlike_from = plays.unlike_from;
        let mut found = self.found(ordinal, plays, by_deliveries)?;
        // A play isn't compared with snapshots.
        if is_of_image && matches!(found.found_by, FoundBy::Once | FoundBy::Round | FoundBy::Outputs) {
            let is_same_twice = unlike_from.is_none();
            found = Found { found_by: FoundBy::Image, step: None, others: Vec::new(), is_same_twice, ..found };
        }
        let mut told = self.told(diverged, ordinal, found);
        if !matches!(told.found_by, FoundBy::Repetition | FoundBy::Data) {
            // The first pass did something else than what comes now, from there on.
            let before = unlike_from.map(|round| round.saturating_sub(1));
            let agreed = told.agreed.map(|agreed| before.map_or(agreed, |before| before.min(agreed)));
            told.agreed = agreed.filter(|round| self.has_played(worker, *round));
            let has_any_before = told.agreed.is_some() || before.is_some();
            told.may_have_begun_before = has_any_before || told.step.as_ref().is_some_and(|step| step.number > 0);
        }
        Ok(Some(told))
    }

    /// True if a worker has that round, and it isn't one that a snapshot was begun behind.
    fn has_played(&self, worker: WorkerId, round: u64) -> bool {
        let timeline = &self.runner.timeline;
        timeline.ordinal(worker, round).is_some_and(|ordinal| timeline.is_played(ordinal))
    }

    /// By the deliveries of the round, where they were recorded: the first step that isn't the recorded one, and the round as it came now. What
    /// depends on chance may do what was recorded, so it is run some times.
    fn by_deliveries(&mut self, ordinal: u64) -> Result<Option<(Parted, Arc<RoundLog>)>, ReplayError> {
        let Some(recorded) = self.runner.recorded_deliveries(ordinal)? else { return Ok(None) };
        for _ in 0..RUNS_MAX {
            let log = match self.runner.log(ordinal) {
                // A play may part from the record before the first pass did.
                Err(ReplayError::Diverged(_)) => continue,
                log => log?,
            };
            let own = self.runner.deliveries_now(log.worker);
            if let Some(step) = record::by_deliveries(self.catalogue(), &log, &recorded, &own) {
                return Ok(Some((step, Arc::new(log))));
            }
        }
        Ok(None)
    }

    /// What two plays say, with what else is known of the round with that ordinal.
    fn found(
        &mut self,
        ordinal: u64,
        plays: Plays,
        by_deliveries: Option<(Parted, Arc<RoundLog>)>,
    ) -> Result<Found, ReplayError> {
        let Plays { logs: [log, again], are_as_recorded, cause, .. } = plays;
        let is_same_twice = log.ordinal == ordinal && log.steps == again.steps && are_as_recorded == [false, false];
        let is_before = cause.as_ref().is_some_and(|cause| cause.step.ordinal < ordinal);
        let found = |step, log, found_by| Found { step, others: Vec::new(), log, found_by, is_same_twice };
        Ok(match (cause, by_deliveries) {
            (cause, Some((step, log))) if !is_before => {
                found(Some(step.joined(cause.map(|cause| cause.step))), log, FoundBy::Deliveries)
            }
            (Some(Cause { step, log, others, is_shown }), _) => {
                let found_by = if is_shown { FoundBy::Repetition } else { FoundBy::Data };
                Found { others, ..found(Some(step), log, found_by) }
            }
            (None, _) if log.ordinal < ordinal => found(None, log, FoundBy::Repetition),
            (None, _) if are_as_recorded == [true, true] => found(None, log, FoundBy::Once),
            (None, _) => {
                let taken = self.runner.taken_from(&log)?;
                let step = record::by_outputs(self.catalogue(), &log, &taken);
                let found_by = if step.is_some() { FoundBy::Outputs } else { FoundBy::Round };
                found(step, log, found_by)
            }
        })
    }

    /// The difference as it was found; the session stands there then: in the very run that is told of, for another one may differ again.
    fn told(&mut self, diverged: Diverged, ordinal: u64, found: Found) -> Difference {
        let Found { step, others, log, found_by, is_same_twice } = found;
        let hints = hint::hints(step.as_ref(), is_same_twice, diverged.build_differs);
        let candidates = others.iter().map(|step| (step.ordinal, step.round));
        let begins = candidates.chain([(log.ordinal, log.round)]).min().unwrap_or_default();
        let agreed = begins.1.checked_sub(1).filter(|round| self.has_played(log.worker, *round));
        (self.here, self.at) = (Some(log), step.as_ref().map_or(0, |step| step.number));
        Difference { diverged, ordinal, begins, agreed, step, others, may_have_begun_before: false, found_by, hints }
    }
}

/// How often a round is run at most until it isn't what was recorded.
const RUNS_MAX: usize = 16;

/// What was found of a difference: the step, if it is known, and the round as it ran.
struct Found {
    step: Option<Parted>,
    others: Vec<Parted>,
    log: Arc<RoundLog>,
    found_by: FoundBy,
    is_same_twice: bool,
}

impl Part {
    /// True if it is a map that has the same entries in another order.
    fn is_order_of_map(&self) -> bool {
        let mut values = [&self.recorded, &self.found, &self.again].into_iter().flatten();
        match values.next() {
            Some(Content::Map(first)) => {
                values.all(|other| matches!(other, Content::Map(other) if parts::is_permutation(first, other)))
            }
            _ => false,
        }
    }
}

impl Parted {
    /// With what two runs say of the same step.
    fn joined(mut self, twice: Option<Parted>) -> Parted {
        let Some(twice) = twice.filter(|twice| twice.number == self.number) else { return self };
        for part in twice.parts {
            match self.parts.iter_mut().find(|known| (known.of, &known.path) == (part.of, &part.path)) {
                Some(known) => known.again = part.again,
                None => self.parts.push(part),
            }
        }
        self
    }
}

impl fmt::Display for FoundBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FoundBy::Deliveries => "each delivery was recorded",
            FoundBy::Outputs => "another worker took what was put out, and that was recorded",
            FoundBy::Repetition => "the worker was played twice, and did something else each time",
            FoundBy::Data => {
                "the worker was played twice, and had other data each time; whether these led there isn't known, for all else was the same each \
                 time; record with `Recording::Everything` to be told"
            }
            FoundBy::Runs => "the round was run in both journals",
            FoundBy::Once => "nothing: when it was run again, the round did what was recorded; it doesn't do the same each time",
            FoundBy::Image => {
                "only a digest of the worker's image was recorded, and some FSM's data differ; record with `Recording::Everything` to be told \
                 the FSM and the message"
            }
            FoundBy::Round => {
                "only the round's digest was recorded; record with `Recording::Everything` to be told the FSM and the message"
            }
        })
    }
}

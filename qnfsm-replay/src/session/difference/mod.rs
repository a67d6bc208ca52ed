//! Where a program parts from the record, as closely as what was recorded allows: which round, which step of it, what it handled, and what
//! of the FSM's state, data and messages is another than it was.
//!
//! A record of inputs alone says that a round did something else, and not what. Three things say more:
//!
//! - with `Recording::Everything` each delivery stands in the journal, with the state after it and digests of the rest (`record`);
//! - what a worker put out for another one stands there as that one's input (`record`);
//! - an FSM that depends on something outside its data often does something else each time: the worker is played twice up to the round,
//!   and where the two plays part is where it depends on it (`twice`). That may lie before: a round's digest is of states and of what is
//!   put out, and an FSM's data can be another for long before any of these is.
//!
//! What the values look like hints at the usual causes (`hint`).

mod hint;
mod record;
mod twice;

use std::{fmt, sync::Arc};

use qnfsm::{
    RawQueueId, TableSchema,
    schema::{Content, Path},
};

use super::{Session, Step};
use crate::{Diverged, ReplayError};
pub use hint::Hint;
pub(crate) use record::differing;
pub(super) use twice::first_difference;

/// The most parts of a value that are shown.
const PARTS_MAX: usize = 20;

/// Where a program parts from the record.
#[derive(Debug, Clone)]
pub struct Difference {
    /// What the replay found: worker, round, what was expected and what came.
    pub diverged: Diverged,
    /// The ordinal of the round.
    pub ordinal: u64,
    /// The worker's last round that did what was recorded, as its digest says, and the same again each time that it was played; none, if
    /// the first didn't.
    pub agreed: Option<u64>,
    /// The step in which it shows first, if that can be told. Where that is known by [`FoundBy::Repetition`], it may be of a round before.
    pub step: Option<Parted>,
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
    /// The round of two journals was run in both.
    Runs,
    /// Nothing: only the round is known.
    Round,
}

impl Session {
    /// Where the program parts from the record, if it does, in this order of closeness: by the deliveries that were recorded, by two plays
    /// up to that round, by what other workers were recorded to have taken from it. The session stands there then, at the
    /// step if it is known. Two plays take as long as the first pass took, at most, and what lies between two stations twice more.
    ///
    /// # Errors
    /// When the rounds can't be run again.
    pub fn difference(&mut self) -> Result<Option<Difference>, ReplayError> {
        let Some(ReplayError::Diverged(diverged)) = self.stopped() else { return Ok(None) };
        let diverged = (**diverged).clone();
        let (worker, round) = (diverged.divergence.worker, diverged.divergence.round);
        let Some(ordinal) = self.runner.timeline.ordinal(worker, round) else { return Ok(None) };
        let log = self.runner.log(ordinal)?;
        let own = self.runner.deliveries_now(worker);
        let recorded = self.runner.recorded_deliveries(ordinal)?;
        let is_of_deliveries = recorded.is_some();
        let by_deliveries =
            recorded.and_then(|recorded| record::by_deliveries(self.catalogue(), &log, &recorded, &own));
        // Where each delivery was recorded, all that came before was as it is now.
        let [log, again] = match &by_deliveries {
            Some(_) => [log, self.runner.log(ordinal)?],
            None => self.runner.first_unlike(ordinal, &mut |reached| (self.on_progress)(reached, ordinal))?,
        };
        let twice = first_difference(self.catalogue(), [&log, &again]);
        let (step, found_by) = match (by_deliveries, twice) {
            (Some(step), twice) => (Some(step.joined(twice)), FoundBy::Deliveries),
            (None, Some(step)) => (Some(step), FoundBy::Repetition),
            (None, None) => {
                let taken = self.runner.taken_from(&log)?;
                let step = record::by_outputs(self.catalogue(), &log, &taken);
                let found_by = if step.is_some() { FoundBy::Outputs } else { FoundBy::Round };
                (step, found_by)
            }
        };
        let hints = hint::hints(step.as_ref(), log.steps == again.steps, diverged.build_differs);
        let agreed = log.round.checked_sub(1).filter(|round| *round > 0);
        let is_shown_where_it_begins = is_of_deliveries || found_by == FoundBy::Repetition;
        let has_any_before = agreed.is_some() || step.as_ref().is_some_and(|step| step.number > 0);
        let may_have_begun_before = has_any_before && !is_shown_where_it_begins;
        // The very run that is told of: another one may differ again.
        (self.here, self.at) = (Some(Arc::new(log)), step.as_ref().map_or(0, |step| step.number));
        Ok(Some(Difference { diverged, ordinal, agreed, step, may_have_begun_before, found_by, hints }))
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

/// What differs between two values of a type, part by part; the whole, where its parts can't be told.
pub(crate) fn parts(schema: Option<&TableSchema>, first: &[u8], second: &[u8]) -> Vec<(Path, [Option<Content>; 2])> {
    if first == second {
        return Vec::new();
    }
    let changes = schema.and_then(|schema| schema.printer().changes(first, second, PARTS_MAX).ok());
    match changes {
        Some(changes) if !changes.parts.is_empty() => {
            changes.parts.into_iter().map(|change| (change.path, [change.before, change.after])).collect()
        }
        _ => vec![(Path::default(), [None, None])],
    }
}

impl fmt::Display for FoundBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FoundBy::Deliveries => "each delivery was recorded",
            FoundBy::Outputs => "another worker took what was put out, and that was recorded",
            FoundBy::Repetition => "the worker was played twice, and did something else each time",
            FoundBy::Runs => "the round was run in both journals",
            FoundBy::Round => {
                "only the round's digest was recorded; record with `Recording::Everything` to be told the FSM and the message"
            }
        })
    }
}

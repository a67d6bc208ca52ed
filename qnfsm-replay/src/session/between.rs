//! The step in which two journals part. What they say is held against each other by [`compare`](crate::compare); where that names only a
//! round, the round is run in both.

use super::{FoundBy, Parted, RoundLog, Session, difference::first_difference};
use crate::{
    Options, ReplayError,
    compare::{Apart, Compared, compare},
};

/// Where the journals of two sessions part, as [`compare`] says it, with the step in which it shows if they were fed with the same and
/// did something else. Each session runs its own program: two builds of it, or one. Both stand at that round then, if they part, and at the step
/// if it is known.
///
/// # Errors
/// As [`compare`], and when a round can't be run again.
pub fn difference_between(
    one: &mut Session,
    other: &mut Session,
    ignore_times: Option<bool>,
    options: &Options<'_>,
) -> Result<Compared, ReplayError> {
    let dirs = [&one.runner.recorded.dir, &other.runner.recorded.dir];
    let mut compared = compare(dirs[0], dirs[1], ignore_times, options)?;
    if let Some(parted) = &mut compared.parted {
        step_between(one, other, parted)?;
    }
    Ok(compared)
}

/// Names the step in which the journals of two sessions part, where [`compare`] has said the round. Both stand there then.
///
/// # Errors
/// When a round can't be run again.
pub fn step_between(one: &mut Session, other: &mut Session, parted: &mut Apart) -> Result<(), ReplayError> {
    for (session, spot) in [(&mut *one, &parted.at[0]), (&mut *other, &parted.at[1])] {
        // A session may end before.
        if spot.ordinal < session.rounds() {
            session.go_to(spot.ordinal)?;
        }
    }
    if parted.is_of_what_was_done() { name_step(one, other, parted) } else { Ok(()) }
}

/// Names the step: where one of the programs parts from its own record, that says more than two runs that are held against each other.
fn name_step(one: &mut Session, other: &mut Session, parted: &mut Apart) -> Result<(), ReplayError> {
    let [at_one, at_other] = [parted.at[0].ordinal, parted.at[1].ordinal];
    for (session, ordinal) in [(&mut *other, at_other), (&mut *one, at_one)] {
        let difference = session.difference()?.filter(|difference| difference.ordinal == ordinal);
        if let Some(difference) = difference
            && difference.step.is_some()
        {
            (parted.step, parted.found_by) = (difference.step, difference.found_by);
            return Ok(());
        }
    }
    if at_one >= one.rounds() || at_other >= other.rounds() {
        return Ok(());
    }
    one.go_to(at_one)?;
    other.go_to(at_other)?;
    let (log, of_other) = (one.runner.log(at_one)?, other.runner.log(at_other)?);
    let Some(step) = first_difference(one.catalogue(), [&log, &of_other]) else { return Ok(()) };
    // Two runs: the one is as the first journal has it, the other as the other.
    let at = |log: &RoundLog| step.number.min(log.steps.len().saturating_sub(1));
    (one.at, other.at) = (at(&log), at(&of_other));
    let parts = step.parts.into_iter();
    let parts =
        parts.map(|part| super::Part { recorded: part.found, found: part.again, again: None, ..part }).collect();
    parted.step = Some(Parted { parts, ..step });
    parted.found_by = FoundBy::Runs;
    Ok(())
}

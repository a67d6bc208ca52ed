//! Two plays of one worker up to the round in which the program parted from the record, and the step from which on they aren't alike.
//!
//! An FSM that depends on something outside its data often does something else each time. Where that shows first need not be where it shows in the
//! record: a round's digest is of states and of what is put out, and data may be another long before. And what is another first need not lead
//! there: a clock that an FSM keeps to itself harms nobody. So it is noted all the way where what isn't alike comes from ([`Causes`]).

use std::sync::Arc;

use super::{
    causes::{Cause, Causes, Shown},
    twice::first_difference,
};
use crate::{
    ReplayError,
    session::{
        RoundLog, Session,
        runner::{Ran, Twin},
    },
};

/// What came of two plays.
pub(super) struct Plays {
    /// What both did in the last round that they came to: that in which the program parted, unless one of them parted from the record before.
    pub(super) logs: [Arc<RoundLog>; 2],
    /// Whether they did there what was recorded.
    pub(super) are_as_recorded: [bool; 2],
    /// The step from which on they weren't alike, as far as it led to what isn't alike in that round.
    pub(super) cause: Option<Cause>,
    /// The worker's first round from which on the first pass may have done something else than a play does now; none, if that was seen nowhere
    /// before the last round.
    pub(super) unlike_from: Option<u64>,
}

/// Plays a worker twice, as far as its round with the ordinal `last`. Where the record is of the worker's image, all data count that aren't alike
/// after that round, whether anything led from them to what the round did or not.
pub(super) fn play_twice(session: &mut Session, last: u64, is_of_image: bool) -> Result<Plays, ReplayError> {
    let mut on_progress = |reached| (session.on_progress)(reached, last);
    let (rounds, fits) = session.runner.parts_from(last, &mut on_progress)?;
    let catalogue = session.catalogue().clone();
    let records_all = session.runner.recorded_deliveries(last)?.is_some();
    let (mut twin, mut causes) = (Twin::default(), Causes::default());
    let unlike_from = rounds.first().filter(|_| !fits).map(|first| first.round);
    let mut before: Option<([Arc<RoundLog>; 2], Option<Shown>)> = None;
    for name in rounds {
        (session.on_progress)(name.ordinal, last);
        let (logs, are_as_recorded) = match (session.runner.run_twice(name, &mut twin), before.take()) {
            // What the round before did is held against the record with the first record behind it.
            (Err(ReplayError::Diverged(_)), Some((logs, shows))) => {
                let cause = shows.and_then(|shown| causes.of(&shown, records_all));
                return Ok(Plays { logs, are_as_recorded: [false, false], cause, unlike_from });
            }
            (ran, _) => {
                let [one, other] = ran?;
                // What nothing on record proves is what the first pass found: it did something else there.
                let is_proved = |ran: &Ran| ran.is_proved || name.ordinal < last;
                let are_as_recorded = [&one, &other].map(|ran| ran.is_as_recorded && is_proved(ran));
                ([Arc::new(one.log), Arc::new(other.log)], are_as_recorded)
            }
        };
        let shows = causes.note(&catalogue, &logs);
        if name.ordinal == last || are_as_recorded != [true, true] {
            // That a map is in another order is what is left, where nothing else isn't alike.
            let order = || {
                let step = first_difference(&catalogue, [&logs[0], &logs[1]]).filter(|_| !causes.is_lost())?;
                Some(Cause { step, log: logs[0].clone(), others: Vec::new(), is_shown: true })
            };
            let cause = match shows {
                _ if is_of_image && name.ordinal == last => causes.of_all(),
                shows => shows.map_or_else(order, |shown| causes.of(&shown, records_all)),
            };
            return Ok(Plays { logs, are_as_recorded, cause, unlike_from });
        }
        before = Some((logs, shows));
    }
    Err(ReplayError::Misuse(format!("round {last} can't be run again")))
}

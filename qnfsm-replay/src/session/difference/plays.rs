//! Two plays of one worker up to the round in which the program parted from the record, and the step from which on they aren't alike.
//!
//! An FSM that depends on something outside its data often does something else each time. Where that shows first need not be where it shows in the
//! record: a round's digest is of states and of what is put out, and data may be another long before. And what is another first need not lead
//! there: a clock that an FSM keeps to itself harms nobody. So the way is gone back from the last round: from the FSM whose step isn't alike
//! there to the first of its steps that wasn't; and where that was given a message that wasn't alike either, on to who sent it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use qnfsm::RawQueueId;

use super::{
    Parted,
    twice::{first_difference, shown, unlike},
};
use crate::{
    ReplayError,
    session::{RoundLog, Session, runner::Twin},
};

/// A step that isn't alike, and the round as one of the plays ran it.
pub(super) type Unlike = (Parted, Arc<RoundLog>);

/// What came of two plays.
pub(super) struct Plays {
    /// What both did in the last round that they came to: that in which the program parted, unless one of them parted from the record before.
    pub(super) logs: [Arc<RoundLog>; 2],
    /// Whether they did there what was recorded.
    pub(super) are_as_recorded: [bool; 2],
    /// The step from which on they weren't alike, as far as it led to what isn't alike in that round.
    pub(super) cause: Option<Unlike>,
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
    let (mut twin, mut firsts) = (Twin::default(), BTreeMap::<RawQueueId, Unlike>::new());
    let unlike_from = rounds.first().filter(|_| !fits).map(|first| first.round);
    let mut before: Option<([Arc<RoundLog>; 2], Option<RawQueueId>)> = None;
    for name in rounds {
        (session.on_progress)(name.ordinal, last);
        let (logs, are_as_recorded) = match (session.runner.run_twice(name, &mut twin), before.take()) {
            // What the round before did is held against the record with the first record behind it.
            (Err(ReplayError::Diverged(_)), Some((logs, shows))) => {
                let cause = shows.and_then(|queue| cause_of(&mut firsts, queue));
                return Ok(Plays { logs, are_as_recorded: [false, false], cause, unlike_from });
            }
            (ran, _) => {
                let [one, other] = ran?;
                ([Arc::new(one.log), Arc::new(other.log)], [one.is_as_recorded, other.is_as_recorded])
            }
        };
        let shows = shown(&catalogue, [&logs[0], &logs[1]]);
        for parted in unlike(&catalogue, [&logs[0], &logs[1]]) {
            firsts.entry(parted.step.queue).or_insert_with(|| (parted, logs[0].clone()));
        }
        if name.ordinal == last || are_as_recorded != [true, true] {
            // That a map is in another order is what is left, where nothing else isn't alike.
            let order = || Some((first_difference(&catalogue, [&logs[0], &logs[1]])?, logs[0].clone()));
            let earliest = || firsts.values().min_by_key(|(step, _)| (step.ordinal, step.number)).cloned();
            let cause = match shows {
                _ if is_of_image && name.ordinal == last => earliest(),
                Some(queue) => cause_of(&mut firsts, queue),
                None => order(),
            };
            return Ok(Plays { logs, are_as_recorded, cause, unlike_from });
        }
        before = Some((logs, shows));
    }
    Err(ReplayError::Misuse(format!("round {last} can't be run again")))
}

/// The step from which on an FSM wasn't alike, or one that told it so.
fn cause_of(firsts: &mut BTreeMap<RawQueueId, Unlike>, queue: RawQueueId) -> Option<Unlike> {
    let (mut at, mut been) = (queue, BTreeSet::new());
    loop {
        been.insert(at);
        let sender = firsts.get(&at)?.0.sender_of_what_differs();
        match sender.filter(|sender| firsts.contains_key(sender) && !been.contains(sender)) {
            Some(sender) => at = sender,
            None => return firsts.remove(&at),
        }
    }
}

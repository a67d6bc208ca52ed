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

use qnfsm::{End, RawQueueId};

use super::{
    Parted,
    twice::{first_difference, shown, unlike},
};
use crate::{
    ReplayError,
    session::{
        RoundLog, Session,
        runner::{Ran, Twin},
    },
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
    let (mut twin, mut firsts) = (Twin::default(), Firsts::default());
    let unlike_from = rounds.first().filter(|_| !fits).map(|first| first.round);
    let mut before: Option<([Arc<RoundLog>; 2], Option<RawQueueId>)> = None;
    for name in rounds {
        (session.on_progress)(name.ordinal, last);
        let (logs, are_as_recorded) = match (session.runner.run_twice(name, &mut twin), before.take()) {
            // What the round before did is held against the record with the first record behind it.
            (Err(ReplayError::Diverged(_)), Some((logs, shows))) => {
                let cause = shows.and_then(|queue| firsts.cause_of(queue));
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
        let all = unlike(&catalogue, [&logs[0], &logs[1]]);
        let shows = shown(&all);
        firsts.note(&logs, all);
        if name.ordinal == last || are_as_recorded != [true, true] {
            // That a map is in another order is what is left, where nothing else isn't alike.
            let order = || Some((first_difference(&catalogue, [&logs[0], &logs[1]])?, logs[0].clone()));
            let cause = match shows {
                _ if is_of_image && name.ordinal == last => firsts.earliest(),
                shows => shows.and_then(|queue| firsts.cause_of(queue)).or_else(order),
            };
            return Ok(Plays { logs, are_as_recorded, cause, unlike_from });
        }
        before = Some((logs, shows));
    }
    Err(ReplayError::Misuse(format!("round {last} can't be run again")))
}

/// How much memory the rounds take at most in which FSMs came to be not alike; of more, the causes aren't told.
const ROUNDS_BYTES_MAX: usize = 64 << 20;

/// By FSM, the step from which on it isn't alike.
#[derive(Default)]
struct Firsts {
    all: BTreeMap<RawQueueId, Unlike>,
    /// How much the rounds take, each counted for each of its FSMs.
    bytes: usize,
}

impl Firsts {
    /// Takes in what wasn't alike in a round. Who is alike again, or is gone, is forgotten.
    fn note(&mut self, logs: &[Arc<RoundLog>; 2], unlike: Vec<Parted>) {
        let mut unlike = unlike.into_iter().peekable();
        for (number, (one, other)) in logs[0].steps.iter().zip(&logs[1].steps).enumerate() {
            if (one.queue, &one.before) == (other.queue, &other.before) {
                self.forget(one.queue);
            }
            if let Some(parted) = unlike.next_if(|parted| parted.number == number) {
                self.insert(parted, &logs[0]);
            }
            if [&one.end, &other.end] == [&End::Stopped; 2] && one.queue == other.queue {
                self.forget(one.queue);
            }
        }
        unlike.for_each(|parted| self.insert(parted, &logs[0]));
    }

    fn insert(&mut self, parted: Parted, log: &Arc<RoundLog>) {
        if self.bytes < ROUNDS_BYTES_MAX && !self.all.contains_key(&parted.step.queue) {
            self.bytes += log.bytes();
            self.all.insert(parted.step.queue, (parted, log.clone()));
        }
    }

    fn forget(&mut self, queue: RawQueueId) {
        self.bytes -= self.all.remove(&queue).map_or(0, |(_, log)| log.bytes());
    }

    /// The step from which on an FSM wasn't alike, or one that told it so.
    fn cause_of(&mut self, queue: RawQueueId) -> Option<Unlike> {
        let (mut at, mut been) = (queue, BTreeSet::new());
        loop {
            been.insert(at);
            let sender = self.all.get(&at)?.0.sender_of_what_differs();
            match sender.filter(|sender| self.all.contains_key(sender) && !been.contains(sender)) {
                Some(sender) => at = sender,
                None => return self.all.remove(&at),
            }
        }
    }

    /// The earliest of all.
    fn earliest(&self) -> Option<Unlike> {
        self.all.values().min_by_key(|(step, _)| (step.ordinal, step.number)).cloned()
    }
}

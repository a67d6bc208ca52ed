//! Two plays of one worker up to the round in which the program parted from the record, and the step from which on they aren't alike.
//!
//! An FSM that depends on something outside its data often does something else each time. Where that shows first need not be where it shows in the
//! record: a round's digest is of states and of what is put out, and data may be another long before. And what is another first need not lead
//! there: a clock that an FSM keeps to itself harms nobody. So the way is gone back from the last round: from the FSM whose step isn't alike
//! there to the first of its steps that wasn't; and where that was given a message that wasn't alike either, on to who sent it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    mem,
    sync::Arc,
};

use qnfsm::{End, RawQueueId};

use super::{
    Parted,
    twice::{UnlikeStep, first_difference, paired, shown, unlike},
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
    let (mut twin, mut causes) = (Twin::default(), Causes::default());
    let unlike_from = rounds.first().filter(|_| !fits).map(|first| first.round);
    let mut before: Option<([Arc<RoundLog>; 2], Option<RawQueueId>)> = None;
    for name in rounds {
        (session.on_progress)(name.ordinal, last);
        let (logs, are_as_recorded) = match (session.runner.run_twice(name, &mut twin), before.take()) {
            // What the round before did is held against the record with the first record behind it.
            (Err(ReplayError::Diverged(_)), Some((logs, shows))) => {
                let cause = shows.and_then(|queue| causes.of(queue));
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
        causes.note(&logs, all);
        if name.ordinal == last || are_as_recorded != [true, true] {
            // That a map is in another order is what is left, where nothing else isn't alike.
            let order = || Some((first_difference(&catalogue, [&logs[0], &logs[1]])?, logs[0].clone()));
            let cause = match shows {
                _ if is_of_image && name.ordinal == last => causes.earliest(),
                shows => shows.and_then(|queue| causes.of(queue)).or_else(order),
            };
            return Ok(Plays { logs, are_as_recorded, cause, unlike_from });
        }
        before = Some((logs, shows));
    }
    Err(ReplayError::Misuse(format!("round {last} can't be run again")))
}

/// How much memory the rounds take at most in which FSMs came to be not alike; of more, the causes aren't told.
const ROUNDS_BYTES_MAX: usize = 64 << 20;

/// By FSM that isn't alike, the step that led to that: its own first one, or that of whoever told it of what isn't alike.
#[derive(Default)]
struct Causes {
    by_fsm: BTreeMap<RawQueueId, Unlike>,
    /// Those that stopped in the round before: whom they told has their cause.
    gone: Vec<RawQueueId>,
    /// By the ordinals of the rounds that are kept, of how many FSMs they are causes.
    kept: BTreeMap<u64, usize>,
    /// How much these rounds take.
    bytes: usize,
}

impl Causes {
    /// Takes in what wasn't alike in a round. Who is alike again is forgotten, and who is gone, after that round.
    fn note(&mut self, logs: &[Arc<RoundLog>; 2], unlike: Vec<UnlikeStep>) {
        mem::take(&mut self.gone).into_iter().for_each(|queue| self.forget(queue));
        if self.by_fsm.is_empty() && unlike.is_empty() {
            return;
        }
        let mut unlike = unlike.into_iter().peekable();
        for pair in paired([&logs[0], &logs[1]]) {
            let numbers = pair.map(|step| step.map(|(number, _)| number));
            let unlike = unlike.next_if(|unlike| numbers[unlike.run] == Some(unlike.parted.number));
            if let [Some((_, one)), Some((_, other))] = pair {
                if one.before == other.before || unlike.is_none() {
                    self.forget(one.queue);
                }
                if [&one.end, &other.end] == [&End::Stopped; 2] {
                    self.gone.push(one.queue);
                }
            }
            if let Some(UnlikeStep { parted, run, .. }) = unlike {
                self.insert(parted, &logs[run]);
            }
        }
    }

    fn insert(&mut self, parted: Parted, log: &Arc<RoundLog>) {
        let queue = parted.step.queue;
        if self.bytes >= ROUNDS_BYTES_MAX || self.by_fsm.contains_key(&queue) {
            return;
        }
        let of_sender = parted.sender_of_what_differs().and_then(|sender| self.by_fsm.get(&sender)).cloned();
        let (cause, log) = of_sender.unwrap_or_else(|| (parted, log.clone()));
        let of = self.kept.entry(log.ordinal).or_default();
        *of += 1;
        self.bytes += if *of == 1 { log.bytes() } else { 0 };
        self.by_fsm.insert(queue, (cause, log));
    }

    fn forget(&mut self, queue: RawQueueId) {
        let Some((_, log)) = self.by_fsm.remove(&queue) else { return };
        if let Entry::Occupied(mut of) = self.kept.entry(log.ordinal) {
            *of.get_mut() -= 1;
            if *of.get() == 0 {
                of.remove();
                self.bytes = self.bytes.saturating_sub(log.bytes());
            }
        }
    }

    fn of(&self, queue: RawQueueId) -> Option<Unlike> {
        self.by_fsm.get(&queue).cloned()
    }

    /// The earliest of all.
    fn earliest(&self) -> Option<Unlike> {
        self.by_fsm.values().min_by_key(|(step, _)| (step.ordinal, step.number)).cloned()
    }
}

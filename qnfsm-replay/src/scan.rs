//! Plays all workers from one place in a journal on, and gives the log of each round as soon as it has run.
//!
//! A round runs with a later record of its worker, which shows that it has ended. So the rounds of one worker come in order, and one of
//! several workers may come before another that stands before it in the journal.

use std::{collections::BTreeMap, sync::Arc};

use qnfsm::{
    Place, Time, Worker, WorkerId,
    frame::{Batch, BatchRef},
    journal::{Entry, Position, Record},
    playback::{Audience, Observers},
};

use crate::{
    player::{Player, Stopped},
    session::{RoundLog, Step, Tape},
};

/// All workers, as they are played.
pub(crate) struct Scan {
    pub(crate) player: Player,
    tape: Tape,
    hearing: Hearing,
    /// By worker, the round that was read and has yet to run: its ordinal and its record's place.
    waiting: BTreeMap<WorkerId, (u64, Position)>,
    /// The ordinal of the round that is read next.
    next: u64,
}

impl Scan {
    /// With a player that stands where `next` is the ordinal of the round that is read next. With observers of whoever asks no steps are
    /// taken down.
    pub(crate) fn new(player: Player, next: u64, observers: Option<Observers>) -> Scan {
        let tape = Tape::default();
        let written = tape.clone();
        let player = player.observed(observers.unwrap_or_else(|| Arc::new(move |_| written.observer())));
        Scan { player, tape, hearing: Hearing::default(), waiting: BTreeMap::new(), next }
    }

    /// Takes a record of a round with that ordinal, which stands before the place.
    pub(crate) fn take_again(&mut self, entry: &Entry<'_>, ordinal: u64) -> Result<(), Stopped> {
        self.player.take(entry)?;
        self.note(entry, ordinal);
        Ok(())
    }

    /// Takes the next record; gives the rounds that ran with it, and what became of it.
    pub(crate) fn take(&mut self, entry: &Entry<'_>) -> (Vec<RoundLog>, Result<(), Stopped>) {
        let taken = self.player.take_before(entry, &mut self.hearing);
        let logs = self.logs();
        if let Record::Round { .. } = entry.record {
            self.note(entry, self.next);
            self.next += 1;
        }
        if let Some(worker) = entry.record.worker().filter(|worker| self.player.playback.has_left(*worker)) {
            self.waiting.remove(&worker);
        }
        (logs, taken)
    }

    /// The journal has ended: gives the rounds that it ends in.
    pub(crate) fn finish(&mut self, end: Position, last_segment: u64) -> (Vec<RoundLog>, Result<(), Stopped>) {
        let taken = self.player.finish_before(end, last_segment, &mut self.hearing);
        (self.logs(), taken)
    }

    /// The ordinal up to which all rounds have run, or never will.
    pub(crate) fn upto(&self) -> u64 {
        self.waiting.values().map(|(ordinal, _)| *ordinal).min().unwrap_or(self.next)
    }

    /// A round was read.
    fn note(&mut self, entry: &Entry<'_>, ordinal: u64) {
        let Record::Round { worker, .. } = entry.record else { return };
        // One that is passed over never runs.
        if self.player.playback.has_round_waiting(worker) {
            self.waiting.insert(worker, (ordinal, entry.position));
        } else {
            self.waiting.remove(&worker);
        }
    }

    /// The rounds that have just run.
    fn logs(&mut self) -> Vec<RoundLog> {
        let heard = std::mem::take(&mut self.hearing.rounds);
        let mut steps = self.tape.take();
        if self.player.playback.left().next().is_some() {
            // Steps of a round with which a worker was left are no round's.
            steps.retain(|step| heard.iter().any(|heard| Place::worker(heard.worker) == step.queue.place()));
        }
        let logs = heard.into_iter().filter_map(|heard| {
            let (ordinal, position) = self.waiting.remove(&heard.worker)?;
            let rest = steps.iter().position(|step| step.queue.place() != Place::worker(heard.worker));
            let later = steps.split_off(rest.unwrap_or(steps.len()));
            let own = std::mem::replace(&mut steps, later);
            Some(heard.log(ordinal, position, own))
        });
        logs.collect()
    }
}

/// Hears what rounds are fed with and put out.
#[derive(Default)]
pub(crate) struct Hearing {
    pub(crate) rounds: Vec<Heard>,
}

/// What was heard of a round.
pub(crate) struct Heard {
    worker: WorkerId,
    pub(crate) round: u64,
    now: Time,
    happenings: u64,
    batches: Vec<Batch>,
    outputs: Vec<(Place, Batch)>,
}

impl Heard {
    pub(crate) fn log(self, ordinal: u64, position: Position, steps: Vec<Step>) -> RoundLog {
        let Heard { worker, round, now, happenings, batches, outputs } = self;
        let deliveries = steps.last().map_or(0, |step| u64::from(step.delivery));
        RoundLog { ordinal, worker, round, position, now, fed_at: happenings - deliveries, batches, steps, outputs }
    }
}

impl Audience for Hearing {
    fn round(&mut self, worker: &Worker, taken: &[BatchRef<'_>]) {
        let batches = taken.iter().map(|batch| batch.to_batch()).collect();
        let (id, round, now, happenings) = (worker.id(), worker.rounds(), worker.now(), worker.happenings());
        self.rounds.push(Heard { worker: id, round, now, happenings, batches, outputs: Vec::new() });
    }

    fn output(&mut self, _: WorkerId, to: Place, batch: &BatchRef<'_>) {
        if let Some(heard) = self.rounds.last_mut() {
            heard.outputs.push((to, batch.to_batch()));
        }
    }
}

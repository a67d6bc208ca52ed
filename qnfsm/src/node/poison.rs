//! Rounds that the journal ends in. Each is run again, one worker's after another's, under a watchdog; the journal says so first,
//! and at which delivery it is, because a handler that loops or eats all memory leaves nothing else behind. A delivery that
//! doesn't end is poison. It can be skipped if nothing of its round has ever left its worker. A round's record alone doesn't show
//! that, since it may have ended just before the process did. So a node that may skip marks each end before it lets out anything;
//! and any node says so when a round ends in a fault, or takes long.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, mpsc},
    thread,
    time::Duration,
};

use super::{
    NodeError, StartError,
    ports::{Ports, Told},
    recovery::{Kept, Recovered},
    shared::{LOCK_REASON, Shared},
};
use crate::{
    fsm::{ExternalFault, Externals},
    id::{Place, RawQueueId, WorkerId},
    journal::{Journal, JournalError, Outcome, Reached, Record},
    playback::{Attempt, LastRound, Playback, Unended},
    worker::{Fault, FaultKind},
};

/// What a start does about a delivery that ended neither when the node ran it last nor when it is run again: its handler panics or
/// misuses its context under [`OnPanic::StopNode`](crate::OnPanic::StopNode), overflows a queue whose policy is to stop the node
/// (not one that overflows before any handler runs), takes longer than [`Limits::attempt`](crate::Limits::attempt), or ends the
/// process, at two starts running.
///
/// Nothing is skipped that may have ended when it was recorded. A node that runs under one of the policies to skip marks the end of
/// each round that puts something out before that leaves, which costs a small write each; under `TryAgain` only what ended in a
/// fault, or took longer than [`Limits::watchdog`](crate::Limits::watchdog), can be skipped by a later start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnPoison {
    /// The start fails and names the delivery; the next start tries it again.
    #[default]
    TryAgain,
    /// That message is dropped, which the journal says, and the node goes on; who waits for its answer gets
    /// [`NoReply::Failed`](crate::NoReply::Failed). An FSM that was spared two messages so is stopped at the third, and one that
    /// doesn't get through its start at once. Where a handler didn't return, it is the next start that goes on.
    SkipMessage,
    /// That message's FSM is stopped, which who watches it is told as [`DownReason::Poisoned`](crate::DownReason::Poisoned).
    StopFsm,
}

/// After so many skipped messages an FSM is stopped.
const SKIPS_MAX: u32 = 2;

/// What is left to be done when the journal was played back.
pub(super) struct LastRounds<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) on_poison: OnPoison,
    /// How many messages each FSM was spared.
    pub(super) skips: BTreeMap<RawQueueId, u32>,
    /// Reads the node back once more, with all that was recorded since.
    pub(super) again: &'a dyn Fn() -> Result<Recovered, StartError>,
}

/// The playback and what is kept of it, and the rounds that were compared with nothing.
type Finished = (Playback, Kept, Vec<RanAnew>);

/// A round that another build, or this one with other resources, recorded, and that this one ran with [`OnOtherBuild::Run`](crate::OnOtherBuild::Run) although the journal
/// doesn't hold how it ended: what it did then and does now may differ, and whatever differs is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RanAnew {
    /// The worker.
    pub worker: WorkerId,
    /// The round.
    pub round: u64,
    /// It may have ended when it was recorded, and what it put out then have left the node. Else nothing of it has.
    pub may_have_left: bool,
    /// What it was told from outside when it was recorded, and is not told now, in words.
    pub given_up: Vec<String>,
}

impl RanAnew {
    fn new(unended: &Unended, given_up: Vec<String>) -> RanAnew {
        let Unended { worker, round, has_let_out_nothing, .. } = *unended;
        RanAnew { worker, round, may_have_left: !has_let_out_nothing, given_up }
    }
}

impl fmt::Display for RanAnew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RanAnew { worker, round, may_have_left, given_up } = self;
        write!(
            f,
            "this build has run round {round} of {worker}, which another build, or this one with other resources, recorded, and its end is not on record: "
        )?;
        f.write_str(match may_have_left {
            true => "it may have ended then, and what it put out have left the node; if that was something else, it is given up",
            false => "nothing of it had left the node",
        })?;
        if !given_up.is_empty() {
            write!(f, "; given up of what it was told then: {}", given_up.join(", "))?;
        }
        Ok(())
    }
}

impl LastRounds<'_> {
    /// Finishes the rounds that the journal ends in, before anything new is admitted.
    pub(super) fn finish(mut self, mut playback: Playback, mut kept: Kept) -> Result<Finished, StartError> {
        let mut ran_anew = BTreeMap::new();
        let Some(journal) = &self.shared.journal else { return Ok((playback, kept, Vec::new())) };
        let (mut ran, mut skipped) = (false, BTreeSet::new());
        while let Some(unended) = { playback.unended().next() } {
            ran = true;
            let poisoned = match self.known_poison(&unended) {
                Some(at) => at,
                None => match attempt(self.shared, journal, &unended, playback, kept)? {
                    Attempted::Ended(rest, given_up) => {
                        (playback, kept) = *rest;
                        if unended.is_compared_with_nothing {
                            ran_anew.insert(unended.worker, RanAnew::new(&unended, given_up));
                        }
                        continue;
                    }
                    Attempted::Poison(_, fault) if self.on_poison == OnPoison::TryAgain => {
                        return Err(StartError::Fault(fault));
                    }
                    Attempted::Poison(_, fault) if !unended.has_let_out_nothing => {
                        return Err(StartError::NotSkipped(fault));
                    }
                    Attempted::Poison(at, _) => at,
                },
            };
            if !skipped.insert((unended.worker, poisoned.delivery)) {
                let (worker, round, delivery) = (unended.worker, unended.round, poisoned.delivery);
                let text = format!("{worker} round {round}: delivery {delivery} was skipped, and comes again");
                return Err(NodeError::Inconsistent(text).into());
            }
            self.skip(journal, &unended, poisoned)?;
            let recovered = (self.again)()?;
            (playback, kept) = (recovered.playback, recovered.kept);
        }
        if ran {
            // That they ended is not to be asked again.
            self.shared.sync()?;
        }
        let ran_anew: Vec<_> = ran_anew.into_values().collect();
        for round in &ran_anew {
            tracing::warn!("{round}");
        }
        Ok((playback, kept, ran_anew))
    }

    /// The delivery that earlier attempts show not to end.
    fn known_poison(&self, unended: &Unended) -> Option<Reached> {
        let at = poison_of(&unended.attempts)?;
        let (worker, round, attempts) = (unended.worker, unended.round, unended.attempts.len());
        let queue = queue(self.shared, worker, at);
        let skips = self.on_poison != OnPoison::TryAgain && unended.has_let_out_nothing;
        tracing::error!(%worker, round, delivery = at.delivery, %queue, attempts, skips, "this delivery has not ended");
        skips.then_some(at)
    }

    /// Writes down that a delivery is skipped.
    fn skip(&mut self, journal: &Journal, unended: &Unended, at: Reached) -> Result<(), StartError> {
        let Unended { worker, round, .. } = *unended;
        let queue = queue(self.shared, worker, at);
        let skips = self.skips.entry(queue).or_default();
        let stops = self.on_poison == OnPoison::StopFsm || *skips >= SKIPS_MAX;
        *skips += 1;
        tracing::error!(%worker, round, delivery = at.delivery, %queue, stops, "a message is skipped for good, because its handler doesn't end");
        journal.write(&Record::Skipped { worker, round, at, stops })?;
        Ok(self.shared.sync()?)
    }
}

/// The delivery that attempts show not to end: one that took too long, or that the process ended at twice running. Once may have
/// been for another reason.
fn poison_of(attempts: &[Attempt]) -> Option<Reached> {
    let timed_out =
        attempts.iter().rev().find(|attempt| attempt.outcome == Outcome::TimedOut && reached(attempt).is_some());
    let died = match attempts {
        [.., before, last] if before.at == last.at => Some(last),
        _ => None,
    };
    reached(timed_out.or(died)?)
}

/// The delivery that an attempt came to, if it came to one.
fn reached(attempt: &Attempt) -> Option<Reached> {
    attempt.at.filter(|at| at.delivery > 0)
}

fn queue(shared: &Shared, worker: WorkerId, at: Reached) -> RawQueueId {
    let (slot, generation) = at.seat;
    RawQueueId::new(shared.node, Place::worker(worker), slot, generation)
}

/// How an attempt came out.
enum Attempted {
    /// And what was given up of what is recorded.
    Ended(Box<(Playback, Kept)>, Vec<String>),
    Poison(Reached, Box<Fault>),
}

/// Runs a worker's last round again, on a thread that is left alone if it takes too long.
fn attempt(
    shared: &Arc<Shared>,
    journal: &Journal,
    unended: &Unended,
    mut playback: Playback,
    mut kept: Kept,
) -> Result<Attempted, StartError> {
    let Unended { worker, round, .. } = *unended;
    journal.write(&Record::Attempt { worker, round, at: None, outcome: Outcome::GoesOn })?;
    shared.sync()?;
    let progress = Progress::default();
    let mut live = Live { shared: shared.clone(), round, progress: progress.clone(), failed: None, parted: None };
    let (give, given) = mpsc::channel();
    let run = move || {
        let ended = playback.finish_round(worker, &mut live, &mut kept);
        // Who doesn't wait for it any more has told why.
        let _ = give.send((playback, kept, ended, live));
    };
    let spawned = thread::Builder::new().name(format!("qnfsm-attempt-{worker}")).spawn(run);
    let thread =
        spawned.map_err(|source| StartError::System { what: "a thread for a round that is run again", source })?;
    let within = shared.limits.attempt;
    let (playback, kept, ended, live) = match progress.await_end(&given, within) {
        Ok(ended) => ended,
        Err(mpsc::RecvTimeoutError::Timeout) => {
            let (at, kind) = progress.take().unzip();
            // Only the node that recorded the round says so of no delivery.
            let none = Reached { delivery: 0, seat: (0, 0), values: 0 };
            let noted = Some(at.unwrap_or(none));
            journal.write(&Record::Attempt { worker, round, at: noted, outcome: Outcome::TimedOut })?;
            shared.sync()?;
            return Err(StartError::Endless {
                worker,
                round,
                delivery: at.map_or(0, |at| at.delivery),
                queue: at.map(|at| queue(shared, worker, at)),
                kind: kind.unwrap_or_else(|| "none".to_owned()),
                within,
            });
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("it ends when it has told how"),
        },
    };
    if let Some(error) = live.failed {
        return Err(error.into());
    }
    let playback_failed = |source| StartError::Playback { position: journal.position(), source };
    match ended.map_err(playback_failed)? {
        Ok(digest) => {
            let given_up = live.parted.map_or(Ok(Vec::new()), |parted| parted.write(journal, worker, round))?;
            journal.write(&Record::DigestMark { worker, round, digest })?;
            Ok(Attempted::Ended(Box::new((playback, kept)), given_up))
        }
        Err(fault) => match (&fault.what, progress.take()) {
            (FaultKind::Panic(_) | FaultKind::Misuse(_) | FaultKind::QueueFull, Some((at, _))) => {
                Ok(Attempted::Poison(at, Box::new(fault)))
            }
            _ => Err(StartError::Fault(Box::new(fault))),
        },
    }
}

/// How far a round that is run again has come: the delivery, and the kind of its FSM.
#[derive(Debug, Clone, Default)]
struct Progress(Arc<Mutex<Option<(Reached, String)>>>);

impl Progress {
    fn reached(&self) -> MutexGuard<'_, Option<(Reached, String)>> {
        self.0.lock().expect(LOCK_REASON)
    }

    fn take(&self) -> Option<(Reached, String)> {
        self.reached().take()
    }

    fn delivery(&self) -> Option<u32> {
        self.reached().as_ref().map(|(at, _)| at.delivery)
    }

    /// Waits for the round's end, as long as no delivery takes longer than that: the one that is under way when it is looked may
    /// have it twice.
    fn await_end<T>(&self, end: &mpsc::Receiver<T>, within: Duration) -> Result<T, mpsc::RecvTimeoutError> {
        let mut seen = None;
        loop {
            match end.recv_timeout(within) {
                Err(mpsc::RecvTimeoutError::Timeout) if self.delivery() != seen => seen = self.delivery(),
                ended => return ended,
            }
        }
    }
}

/// Sees to one round: external values are asked live, each written down as part of it, and so is how far it comes.
struct Live {
    shared: Arc<Shared>,
    round: u64,
    progress: Progress,
    /// Why something could not be written down.
    failed: Option<JournalError>,
    /// It parted from what is recorded.
    parted: Option<Parted>,
}

/// What became of a round since it parted from what another build recorded. It is written down only when the round has ended, so that
/// the other build can still go on from its own record if it doesn't; nothing leaves before.
struct Parted {
    at: Reached,
    given_up: Vec<String>,
    told: Vec<Told>,
}

impl Parted {
    /// Gives what was given up.
    fn write(self, journal: &Journal, worker: WorkerId, round: u64) -> Result<Vec<String>, JournalError> {
        journal.write(&Record::Attempt { worker, round, at: Some(self.at), outcome: Outcome::Parted })?;
        for told in &self.told {
            journal.write(&told.record(worker, round))?;
        }
        Ok(self.given_up)
    }
}

impl Live {
    fn told<T>(&mut self, ask: impl FnOnce(&mut Ports<'_>) -> T) -> T {
        let told = self.parted.as_mut().map(|parted| &mut parted.told);
        let mut ports = Ports::new(&self.shared, self.round).keeping(told);
        let answer = ask(&mut ports);
        self.failed = self.failed.take().or(ports.failed);
        answer
    }
}

impl Externals for Live {
    fn read(&mut self, worker: WorkerId, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        self.told(|ports| ports.read(worker, port, question))
    }

    fn version(&mut self, worker: WorkerId, name: &str, known: u32, latest: u32) -> Result<u32, ExternalFault> {
        self.told(|ports| ports.version(worker, name, known, latest))
    }
}

impl LastRound for Live {
    fn comes_to(&mut self, worker: WorkerId, at: Reached, kind: &str) {
        *self.progress.reached() = Some((at, kind.to_owned()));
        let record = Record::Attempt { worker, round: self.round, at: Some(at), outcome: Outcome::GoesOn };
        if let Some(journal) = &self.shared.journal
            && let Err(error) = journal.write(&record)
        {
            self.failed.get_or_insert(error);
        }
    }

    fn parts(&mut self, _: WorkerId, at: Reached, given_up: Vec<String>) {
        self.parted = Some(Parted { at, given_up, told: Vec::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(delivery: u32, timed_out: bool) -> Attempt {
        let at = (delivery > 0).then_some(Reached { delivery, seat: (1, 1), values: 0 });
        Attempt { at, outcome: if timed_out { Outcome::TimedOut } else { Outcome::GoesOn } }
    }

    fn poison(attempts: &[Attempt]) -> Option<u32> {
        poison_of(attempts).map(|at| at.delivery)
    }

    #[test]
    fn a_process_that_ends_once_or_at_different_deliveries_shows_nothing() {
        assert_eq!(poison(&[]), None);
        assert_eq!(poison(&[attempt(3, false)]), None);
        assert_eq!(poison(&[attempt(3, false), attempt(4, false)]), None);
        assert_eq!(poison(&[attempt(3, false), attempt(3, false), attempt(4, false)]), None);
        assert_eq!(poison(&[attempt(0, false), attempt(0, false)]), None);
    }

    #[test]
    fn a_delivery_that_took_too_long_or_ended_the_process_twice_running_is_poison() {
        assert_eq!(poison(&[attempt(3, true)]), Some(3));
        assert_eq!(poison(&[attempt(3, true), attempt(1, false)]), Some(3));
        assert_eq!(poison(&[attempt(3, true), attempt(0, true)]), Some(3), "it came to none the second time");
        assert_eq!(poison(&[attempt(2, false), attempt(3, false), attempt(3, false)]), Some(3));
    }
}

//! Looks for the first step after which an invariant doesn't hold: by the workers at the stations, so that only what lies between two of
//! them is gone through; or through all of the journal.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use qnfsm::{AskedAll, At, Came, Checker, End, Handler, Invariants, Observer, Violation, Worker, playback::Hush};

use super::Session;
use crate::ReplayError;

/// An invariant that doesn't hold, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What doesn't hold, and of which FSM.
    pub violation: Violation,
    /// The ordinal of the round.
    pub ordinal: u64,
    /// After which of its steps; none, if it is the worker as a whole after the round.
    pub step: Option<usize>,
    /// It held after every step before. Otherwise it held at the station before, and may have been broken for a while earlier.
    pub is_first: bool,
}

impl Session {
    /// Goes to the step after which the invariant of that name doesn't hold, by halves: it is looked at in the workers at stations, and only
    /// what lies between one where it holds and the next, where it doesn't, is gone through. So it finds the first step, if what is
    /// broken once stays so. Where it holds in the end, or is over transitions, which no worker shows between two
    /// rounds, it goes through everything as [`check`](Session::check) does. None, if it always holds: the session stands where it stood.
    ///
    /// # Errors
    /// [`ReplayError::Misuse`], if there is no invariant of that name; when a round can't be run again.
    pub fn bisect(&mut self, invariants: Invariants, name: &str) -> Result<Option<Broken>, ReplayError> {
        // A check that panics breaks its invariant, and what it panics with is told.
        let _hush = Hush::new();
        let names: Vec<_> = invariants.names().map(str::to_owned).collect();
        let missing = || ReplayError::Misuse(format!("there is no invariant named {name:?}; there are {names:?}"));
        let invariants = Arc::new(invariants.only(name).ok_or_else(missing)?);
        let holds = |worker: &Worker| invariants.check_at_rest(worker).is_ok();
        let stations = self.runner.timeline.stations().len();
        let mut broken = None;
        let rounds = self.rounds();
        let holds_in_the_end = match self.runner.check_before(rounds, &mut |worker| holds(worker)) {
            // Its end isn't come to each time: what breaks before is found on the way.
            Err(ReplayError::Diverged(_)) => true,
            holds => holds?,
        };
        if !invariants.are_over_transitions() && !holds_in_the_end {
            // It holds where nothing has begun, and doesn't in the end.
            let (mut good, mut bad) = (0, stations);
            while bad - good > 1 {
                let middle = good.midpoint(bad);
                let all_hold = self.runner.workers_at(middle).iter().all(holds);
                *(if all_hold { &mut good } else { &mut bad }) = middle;
            }
            let behind = self.broken_behind(good, &invariants)?;
            broken = behind.map(|broken| Broken { is_first: good == 0, ..broken });
        }
        let found = if broken.is_some() { broken } else { self.first_broken(&invariants)? };
        self.stand_at(found)
    }

    /// Goes to the first step after which any of the invariants doesn't hold, through all of the journal. None, if they always hold: the
    /// session stands where it stood.
    ///
    /// # Errors
    /// When a round can't be run again.
    pub fn check(&mut self, invariants: Invariants) -> Result<Option<Broken>, ReplayError> {
        let found = self.first_broken(&Arc::new(invariants))?;
        self.stand_at(found)
    }

    fn stand_at(&mut self, found: Option<Broken>) -> Result<Option<Broken>, ReplayError> {
        if let Some(broken) = &found {
            self.go_to(broken.ordinal)?;
            self.at = broken.step.unwrap_or_else(|| self.last_step());
        }
        Ok(found)
    }

    fn first_broken(&mut self, invariants: &Arc<Invariants>) -> Result<Option<Broken>, ReplayError> {
        let rounds = self.rounds();
        for station in 0..self.runner.timeline.stations().len() {
            (self.on_progress)(self.runner.timeline.stations()[station].ordinal, rounds);
            if let Some(broken) = self.broken_behind(station, invariants)? {
                return Ok(Some(broken));
            }
        }
        Ok(None)
    }

    /// The first step between a station and the next one after which an invariant doesn't hold.
    fn broken_behind(&mut self, station: usize, invariants: &Arc<Invariants>) -> Result<Option<Broken>, ReplayError> {
        let seen = Seen::default();
        let (observers, checked) = (seen.clone(), invariants.clone());
        let observers = Arc::new(move |_| observers.observer(Checker::new(checked.clone())));
        let mut first: Option<Broken> = None;
        let gone_through = self.runner.scan_observed(station, Some(observers), &mut |log| {
            if let Some((step, violation)) = seen.take()
                && first.as_ref().is_none_or(|first| log.ordinal < first.ordinal)
            {
                first = Some(Broken { violation, ordinal: log.ordinal, step, is_first: true });
            }
            ControlFlow::Continue(())
        });
        match (gone_through, first) {
            // What was found before the program parted from the record is no less so. Of another worker, something before it may be unseen.
            (Err(ReplayError::Diverged(_)), Some(first)) => Ok(Some(Broken { is_first: false, ..first })),
            (gone_through, first) => gone_through.map(|()| first),
        }
    }
}

/// What observers of all workers have found, until it is taken: the number of the step, if it is one, and what doesn't hold.
#[derive(Default, Clone)]
struct Seen(Arc<Mutex<Option<Found>>>);

type Found = (Option<usize>, Violation);

impl Seen {
    fn observer(&self, checker: Checker) -> Box<dyn Observer + Send> {
        Box::new(Checking { checker, seen: self.clone(), round: 0, steps: 0, message: None })
    }

    fn take(&self) -> Option<Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The first of a round counts.
    fn put(&self, step: Option<usize>, violation: Violation) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((step, violation));
    }
}

/// Checks each step of a worker when its effects on its FSM are whole: behind the enter action, where the state has changed.
struct Checking {
    checker: Checker,
    seen: Seen,
    round: u64,
    /// How many steps of the round have ended.
    steps: usize,
    /// What the FSM was told whose step has yet to be checked.
    message: Option<Vec<u8>>,
}

impl Observer for Checking {
    fn before(&mut self, at: At<'_>, came: Option<Came<'_>>) {
        if at.worker.rounds() != self.round {
            (self.round, self.steps) = (at.worker.rounds(), 0);
        }
        if at.handler != Handler::Enter {
            self.checker.before(at.worker, at.queue);
            self.message = came.and_then(|came| {
                let mut message = Vec::new();
                came.encode(&mut message).ok().map(|()| message)
            });
        }
    }

    fn after(&mut self, at: At<'_>, end: &End, _: AskedAll<'_>) {
        self.steps += 1;
        let is_whole = match end {
            End::Stayed | End::Postponed | End::Unhandled => true,
            // The enter action is next.
            End::Changed => false,
            // Nobody will see it any more, or it starts over.
            End::Stopped | End::Failed(_) | End::Skipped(_) => return,
        };
        if is_whole && let Err(violation) = self.checker.after(at.worker, at.queue, self.message.take().as_deref()) {
            self.seen.put(Some(self.steps - 1), violation);
        }
    }

    fn round_ended(&mut self, worker: &Worker) {
        if let Err(violation) = self.checker.between_rounds(worker) {
            self.seen.put(None, violation);
        }
    }
}

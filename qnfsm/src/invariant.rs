//! What must always hold of FSMs, written once: named checks over a state, over a step from one to the next, and over a whole
//! worker. Property tests ask them of runs that were made up, a replay of what was recorded.
//!
//! A check only looks. It holds for its kind wherever an FSM of that kind is, so one set of them serves all tests of a program
//! and all its journals. Whoever drives a worker says when: an FSM is looked at when its handler has returned and what it asked
//! for is done, *and* the enter action has run if the state changed; a worker between two rounds, when it is at rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    codec::Codec,
    fsm::Fsm,
    id::{QueueId, RawQueueId, WorkerId},
    panic::panic_text,
    worker::{Catalogue, EncodedFsm, Worker},
};

/// One step of an FSM: a handler that ran, with the enter action where the state changed.
pub struct Transition<'a, F: Fsm> {
    /// The FSM before it, and its state; none before its start. Data that the codec doesn't carry is missing in it.
    pub before: (&'a F, Option<F::State>),
    /// What it was told; none where it started.
    pub message: Option<&'a F::Message>,
    /// The FSM after it.
    pub after: (&'a F, F::State),
}

/// Named checks of what must always hold.
///
/// A program has one function that gives them, beside the one that names its kinds.
///
/// ```
/// use qnfsm::{Context, Fsm, Invariants, Next, Transition, Worker};
/// # use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Turnstile { coins: u64, passed: u64 }
/// # #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
/// # enum Gate { Locked, Unlocked }
/// # #[derive(Serialize, Deserialize)]
/// # enum Event { Coin, Push }
/// # impl Fsm for Turnstile {
/// #     const NAME: &'static str = "turnstile";
/// #     type State = Gate;
/// #     type Message = Event;
/// #     fn start(&mut self, _: &mut Context<'_, Self>) -> Gate { Gate::Locked }
/// #     fn handle(&mut self, _: Gate, _: Event, _: &mut Context<'_, Self>) -> Next<Self> { Next::Stay }
/// # }
///
/// fn invariants() -> Invariants {
///     let must = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
///     Invariants::new()
///         .state::<Turnstile>("nobody passes without a coin", move |gate, _state| {
///             must(gate.passed <= gate.coins, "more have passed than coins were paid")
///         })
///         .transition::<Turnstile>("no coin is given back", move |step: Transition<'_, Turnstile>| {
///             must(step.before.0.coins <= step.after.0.coins, "there are fewer coins than before")
///         })
///         .worker("there is one turnstile", move |worker: &Worker| {
///             must(worker.fsms_of::<Turnstile>().count() <= 1, "there are several")
///         })
/// }
/// # assert_eq!(invariants().names().count(), 3);
/// ```
#[derive(Default)]
pub struct Invariants(Vec<Invariant>);

struct Invariant {
    name: String,
    check: Check,
}

type StateCheck = dyn Fn(&Worker, RawQueueId) -> Result<(), String> + Send + Sync;
type StepCheck = dyn Fn(&Worker, RawQueueId, &Step<'_>) -> Result<(), String> + Send + Sync;
type WorkerCheck = dyn Fn(&Worker) -> Result<(), String> + Send + Sync;

/// A check that knows its types inside.
enum Check {
    State { kind: &'static str, check: Box<StateCheck> },
    Transition { kind: &'static str, check: Box<StepCheck> },
    Worker(Box<WorkerCheck>),
}

/// What a step is known by without its types.
struct Step<'a> {
    before: &'a EncodedFsm,
    message: Option<&'a [u8]>,
}

/// What doesn't hold, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the invariant.
    pub invariant: String,
    /// The worker.
    pub worker: WorkerId,
    /// Its round: the one that runs, or the last one that ran.
    pub round: u64,
    /// The FSM's queue and the name of its kind; none where it is the whole worker.
    pub fsm: Option<(RawQueueId, String)>,
    /// What the check said.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { invariant, worker, round, fsm, what } = self;
        write!(f, "\"{invariant}\" doesn't hold after round {round} of {worker}")?;
        if let Some((queue, kind)) = fsm {
            write!(f, ", of {queue} of kind {kind}")?;
        }
        write!(f, ": {what}")
    }
}

impl std::error::Error for Violation {}

impl Invariants {
    /// None.
    #[must_use]
    pub fn new() -> Invariants {
        Invariants::default()
    }

    /// What holds of each FSM of kind `F` and its state, whenever one of its handlers has run.
    ///
    /// # Panics
    /// When there is an invariant of that name already.
    #[must_use]
    pub fn state<F: Fsm>(
        self,
        name: impl Into<String>,
        check: impl Fn(&F, F::State) -> Result<(), String> + Send + Sync + 'static,
    ) -> Invariants {
        let check = move |worker: &Worker, queue| match worker.fsm::<F>(QueueId::from_raw(queue)) {
            Some((fsm, state)) => check(fsm, state),
            None => Ok(()),
        };
        self.with(name.into(), Check::State { kind: F::NAME, check: Box::new(check) })
    }

    /// What holds of each step of an FSM of kind `F`. What was before is kept as bytes for it, at each step of such an FSM.
    ///
    /// # Panics
    /// When there is an invariant of that name already.
    #[must_use]
    pub fn transition<F: Fsm>(
        self,
        name: impl Into<String>,
        check: impl for<'a> Fn(Transition<'a, F>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Invariants {
        let check = move |worker: &Worker, queue, step: &Step<'_>| {
            let Some(after) = worker.fsm::<F>(QueueId::from_raw(queue)) else { return Ok(()) };
            let unread = |what: &str, error| format!("{what} can't be decoded again: {error}");
            let fsm: F = Codec::CURRENT.decode_image(&step.before.data).map_err(|error| unread("its data", error))?;
            let state = step.before.state.as_ref().map(|state| Codec::CURRENT.decode_image(state));
            let state = state.transpose().map_err(|error| unread("its state", error))?;
            let message = step.message.map(|message| Codec::CURRENT.decode_image(message));
            let message: Option<F::Message> = message.transpose().map_err(|error| unread("its message", error))?;
            check(Transition { before: (&fsm, state), message: message.as_ref(), after })
        };
        self.with(name.into(), Check::Transition { kind: F::NAME, check: Box::new(check) })
    }

    /// What holds of a worker and all its FSMs between two rounds, whenever it is at rest: no message waits in it, so nothing is on
    /// its way from one of its FSMs to another.
    ///
    /// # Panics
    /// When there is an invariant of that name already.
    #[must_use]
    pub fn worker(
        self,
        name: impl Into<String>,
        check: impl Fn(&Worker) -> Result<(), String> + Send + Sync + 'static,
    ) -> Invariants {
        self.with(name.into(), Check::Worker(Box::new(check)))
    }

    fn with(mut self, name: String, check: Check) -> Invariants {
        let is_new = self.0.iter().all(|other| other.name != name);
        assert!(is_new, "two invariants are named {name:?}; whoever reads of a violation must know which: rename one");
        self.0.push(Invariant { name, check });
        self
    }

    /// Their names, in the order in which they are checked.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|invariant| invariant.name.as_str())
    }

    /// The kinds that they are over and a program doesn't have: these invariants would never be checked.
    #[must_use]
    pub fn unknown_kinds(&self, catalogue: &Catalogue) -> BTreeSet<&'static str> {
        let known = |kind: &str| catalogue.table().kinds.iter().any(|known| known.name == kind);
        let kinds = self.0.iter().filter_map(|invariant| match invariant.check {
            Check::State { kind, .. } | Check::Transition { kind, .. } => Some(kind),
            Check::Worker(_) => None,
        });
        kinds.filter(|kind| !known(kind)).collect()
    }

    /// Checks what holds of the state of one FSM. One that is gone or has yet to start breaks nothing.
    ///
    /// # Errors
    /// The first that doesn't hold.
    pub fn check_fsm(&self, worker: &Worker, queue: RawQueueId) -> Result<(), Violation> {
        self.check_each(worker, Some(queue), |check| match check {
            Check::State { kind, check } if *kind == worker.kind_name(queue) => check(worker, queue),
            _ => Ok(()),
        })
    }

    /// Checks what holds of a worker as a whole, between two rounds. Of one that isn't at rest nothing is claimed.
    ///
    /// # Errors
    /// The first that doesn't hold.
    pub fn check_worker(&self, worker: &Worker) -> Result<(), Violation> {
        if !worker.is_idle() {
            return Ok(());
        }
        self.check_each(worker, None, |check| match check {
            Check::Worker(check) => check(worker),
            _ => Ok(()),
        })
    }

    fn check_step(&self, worker: &Worker, queue: RawQueueId, step: &Step<'_>) -> Result<(), Violation> {
        self.check_each(worker, Some(queue), |check| match check {
            Check::Transition { kind, check } if *kind == worker.kind_name(queue) => check(worker, queue, step),
            _ => Ok(()),
        })
    }

    /// The one of that name alone; none, if there is no such.
    #[must_use]
    pub fn only(mut self, name: &str) -> Option<Invariants> {
        self.0.retain(|invariant| invariant.name == name);
        (!self.0.is_empty()).then_some(self)
    }

    /// True if any is over steps: what a worker is between two rounds doesn't tell whether they held.
    #[must_use]
    pub fn are_over_transitions(&self) -> bool {
        self.0.iter().any(|invariant| matches!(invariant.check, Check::Transition { .. }))
    }

    /// Checks what holds of a worker and of each of its FSMs between two rounds.
    ///
    /// # Errors
    /// The first that doesn't hold.
    pub fn check_at_rest(&self, worker: &Worker) -> Result<(), Violation> {
        worker.queues().try_for_each(|queue| self.check_fsm(worker, queue))?;
        self.check_worker(worker)
    }

    fn has_transitions_of(&self, kind: &str) -> bool {
        let is_of = |check: &Check| matches!(check, Check::Transition { kind: of, .. } if *of == kind);
        self.0.iter().any(|invariant| is_of(&invariant.check))
    }

    fn check_each(
        &self,
        worker: &Worker,
        queue: Option<RawQueueId>,
        run: impl Fn(&Check) -> Result<(), String>,
    ) -> Result<(), Violation> {
        for Invariant { name, check } in &self.0 {
            // A check is the user's, and looks only; one that asserts is as good as one that returns an error.
            let ran = catch_unwind(AssertUnwindSafe(|| run(check)));
            let said = ran.unwrap_or_else(|panic| Err(format!("the check panicked: {}", panic_text(&*panic))));
            said.map_err(|what| Violation {
                invariant: name.clone(),
                worker: worker.id(),
                round: worker.rounds(),
                fsm: queue.map(|queue| (queue, worker.kind_name(queue).to_owned())),
                what,
            })?;
        }
        Ok(())
    }
}

/// Invariants, and what FSMs were before the steps that they are over.
///
/// Whoever hears of each delivery calls [`before`](Checker::before) and [`after`](Checker::after); whoever runs rounds of one
/// message each, and doesn't know whose turn it is, [`before_round`](Checker::before_round) in place of the former.
#[derive(Clone)]
pub struct Checker {
    invariants: Arc<Invariants>,
    /// By queue, those of kinds with transition invariants.
    before: BTreeMap<RawQueueId, EncodedFsm>,
}

impl Checker {
    /// A checker that has seen nothing yet.
    #[must_use]
    pub fn new(invariants: Arc<Invariants>) -> Checker {
        Checker { invariants, before: BTreeMap::new() }
    }

    /// The invariants that it checks.
    #[must_use]
    pub fn invariants(&self) -> &Invariants {
        &self.invariants
    }

    /// A handler of that FSM is about to run: keeps what the FSM is, if an invariant is over its steps.
    pub fn before(&mut self, worker: &Worker, queue: RawQueueId) {
        if self.invariants.has_transitions_of(worker.kind_name(queue)) {
            // What can't be encoded ends the worker when it is snapshot; here there is nothing to compare with.
            match worker.encoded_fsm(queue) {
                Ok(Some(fsm)) => _ = self.before.insert(queue, fsm),
                Ok(None) | Err(_) => _ = self.before.remove(&queue),
            }
        }
    }

    /// Some handler is about to run: keeps what all FSMs are that an invariant's steps are of.
    pub fn before_round(&mut self, worker: &Worker) {
        self.before.clear();
        for queue in worker.queues() {
            self.before(worker, queue);
        }
    }

    /// The FSM has handled that message, encoded, or has started if there is none; what it asked for is done, and the enter action
    /// of a new state has run. Checks its state and the step.
    ///
    /// # Errors
    /// The first invariant that doesn't hold.
    pub fn after(&mut self, worker: &Worker, queue: RawQueueId, message: Option<&[u8]>) -> Result<(), Violation> {
        let before = self.before.remove(&queue);
        self.invariants.check_fsm(worker, queue)?;
        match &before {
            Some(before) => self.invariants.check_step(worker, queue, &Step { before, message }),
            None => Ok(()),
        }
    }

    /// The worker is between two rounds. Checks what holds of it as a whole, if it is at rest.
    ///
    /// # Errors
    /// The first invariant that doesn't hold.
    pub fn between_rounds(&self, worker: &Worker) -> Result<(), Violation> {
        self.invariants.check_worker(worker)
    }
}

impl fmt::Debug for Invariants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("invariants", &self.invariants).finish_non_exhaustive()
    }
}

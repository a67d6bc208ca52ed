//! Property tests of an FSM: inputs are drawn at random, and what must always hold is checked at each delivery of each run.
//!
//! A [`Property`] says which messages there are and what must hold ([`Invariants`]); everything else is claimed of any
//! FSM ([`Claim`]): messages survive the codec, a worker that is restored at whatever point does what the other does, the same inputs
//! give the same digests, no handler panics. What breaks is shrunk, told as a list of inputs with the states between, kept for
//! the next run, and saved as a journal.
//!
//! The files: `input` is what a case is made of and `draw` where it comes from; `course` runs one and `claim` is what is claimed of it;
//! `shrink` makes it small, `explain` tells of it, `saved` writes the journal, `kept` the file of cases to try first; `coverage` counts,
//! and `check` puts all this together. proptest's strategies draw and simplify; its runner isn't used, because it knows no claims and
//! keeps seeds, which a changed strategy makes worthless.

mod check;
mod claim;
mod course;
mod coverage;
mod draw;
mod explain;
mod input;
mod kept;
mod saved;
mod shrink;

use std::{
    any::type_name,
    fmt::Debug,
    marker::PhantomData,
    panic::Location,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use proptest::strategy::{BoxedStrategy, Just, Strategy};

pub use check::{Broken, PropertyError, Report};
pub use claim::Claim;
use course::Scene;
pub use coverage::Coverage;
use coverage::Demand;
use draw::{Given, Sources};
use input::{Input, Payload};

use crate::{
    Catalogue, External, Fsm, Invariants, Kinds, Message,
    testing::{Setup, setup::Ports, stage::Stage},
};

/// Cases that are run, unless the property says otherwise.
const CASES: u32 = 100;
/// Inputs of a case at most, likewise.
const INPUTS_MAX: usize = 30;

/// What must hold of an FSM, whatever enters it.
///
/// ```
/// use proptest::prelude::*;
/// use qnfsm::{Context, Fsm, Invariants, Kinds, Next, testing::property::Property};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Turnstile { coins: u64, passed: u64 }
///
/// #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
/// enum Gate { Locked, Unlocked }
///
/// #[derive(Debug, Clone, Serialize, Deserialize)]
/// enum Event { Coin, Push }
///
/// impl Fsm for Turnstile {
///     const NAME: &'static str = "turnstile";
///     type State = Gate;
///     type Message = Event;
///
///     fn start(&mut self, _: &mut Context<'_, Self>) -> Gate { Gate::Locked }
///
///     fn handle(&mut self, gate: Gate, event: Event, _: &mut Context<'_, Self>) -> Next<Self> {
///         match (gate, event) {
///             (_, Event::Coin) => { self.coins += 1; Next::Goto(Gate::Unlocked) }
///             (Gate::Unlocked, Event::Push) => { self.passed += 1; Next::Goto(Gate::Locked) }
///             (Gate::Locked, push) => Next::Unhandled(push),
///         }
///     }
/// }
///
/// fn kinds() -> Kinds { Kinds::new().with::<Turnstile>() }
///
/// fn invariants() -> Invariants {
///     Invariants::new().state::<Turnstile>("nobody passes without a coin", |gate, _| {
///         if gate.passed <= gate.coins { Ok(()) } else { Err(format!("{} have passed", gate.passed)) }
///     })
/// }
///
/// let report = Property::new(kinds(), Turnstile { coins: 0, passed: 0 })
///     .messages(prop_oneof![Just(Event::Coin), Just(Event::Push)])
///     .invariants(invariants())
///     .demand_coverage(100)
///     .run();
/// assert!(report.coverage.count("Locked", "Push") > 0);
/// ```
#[must_use]
pub struct Property<F: Fsm> {
    name: Option<String>,
    /// Where the test stands.
    source: &'static str,
    catalogue: Arc<Catalogue>,
    scene: Scene,
    start: BoxedStrategy<Vec<u8>>,
    messages: Option<BoxedStrategy<Input>>,
    times: Option<BoxedStrategy<Input>>,
    answers: Vec<BoxedStrategy<Input>>,
    others_fail: bool,
    inputs_max: usize,
    cases: u32,
    seed: Option<u64>,
    demand: Demand,
    failures_dir: Option<PathBuf>,
    kept_file: Option<PathBuf>,
    of: PhantomData<fn(F)>,
}

impl<F: Fsm> Property<F> {
    /// A property of an FSM with that start value, on a worker of its own, as with [`Drive`](crate::testing::Drive).
    ///
    /// # Panics
    /// When the kinds are wrong or don't name `F`, or the start value can't be encoded.
    #[track_caller]
    pub fn new(kinds: Kinds, start: F) -> Property<F> {
        let catalogue = kinds.seal().unwrap_or_else(|error| panic!("Property: the kinds are wrong: {error}"));
        // The same seed, time and recording as in other tests.
        let Setup { config, now: begins, .. } = Setup::new(Kinds::new());
        let scene = Scene {
            catalogue: catalogue.clone(),
            kind: Stage::kind_of::<F>(&catalogue, "Property"),
            config,
            begins,
            invariants: Arc::new(Invariants::new()),
            ports: Vec::new(),
            flaw_of_message: input::flaw_of_bytes::<F::Message>,
            answers: Vec::new(),
        };
        Property {
            name: None,
            source: Location::caller().file(),
            catalogue,
            scene,
            start: Just(input::start_value(&start)).boxed(),
            messages: None,
            times: None,
            answers: Vec::new(),
            others_fail: false,
            inputs_max: INPUTS_MAX,
            cases: CASES,
            seed: None,
            demand: Demand::default(),
            failures_dir: None,
            kept_file: None,
            of: PhantomData,
        }
    }

    /// The messages that the FSM is told. Without them there is no property. Some go in together with the next input, so that
    /// it waits already when the FSM hears of the first.
    ///
    /// In a message, [`elsewhere`](crate::testing::elsewhere) makes up queues and [`reply_to`](crate::testing::reply_to)
    /// addresses to answer at.
    pub fn messages(mut self, messages: impl Strategy<Value = F::Message> + 'static) -> Property<F>
    where
        F::Message: Debug,
    {
        self.messages = Some(messages.prop_map(|message| Input::Tell(Payload::of(&message))).boxed());
        self
    }

    /// The start value, drawn anew for each case.
    pub fn starts(mut self, starts: impl Strategy<Value = F> + 'static) -> Property<F>
    where
        F: Debug,
    {
        self.start = starts.prop_map(|start| input::start_value(&start)).boxed();
        self
    }

    /// How long time passes between messages. Timers fire at their moments, the first 64 of those that become due; and now and then
    /// all that becomes due fires at once, as if the process had slept. Without this it is up to a minute, in milliseconds, and about
    /// every fifth input is such a pause.
    pub fn times(mut self, times: impl Strategy<Value = Duration> + 'static) -> Property<F> {
        self.times = Some(draw::pass(times));
        self
    }

    /// Answers of type `A` that requests get which FSMs make elsewhere. May be called for several types; without it no such
    /// request is answered, and its deadline passes.
    ///
    /// # Panics
    /// When the kinds don't name the type.
    pub fn answers<A: Message + Debug>(mut self, answers: impl Strategy<Value = A> + 'static) -> Property<F> {
        let of = u32::try_from(self.answers.len()).expect("there are few types of answers");
        let number = Stage::number_of::<A>(&self.catalogue, "Property");
        self.scene.answers.push((number, input::flaw_of_bytes::<A>));
        let answers = (draw::which(), answers);
        let answers =
            answers.prop_map(move |(which, answer)| Input::Answer { which, of, answer: Payload::of(&answer) });
        self.answers.push(answers.boxed());
        self
    }

    /// Others may fail as well: queues elsewhere that are monitored are down now and then, and requests that were made
    /// elsewhere have no answer.
    pub fn others_fail(mut self) -> Property<F> {
        self.others_fail = true;
        self
    }

    /// What stands in for an external port. It is asked in each of many runs, so it should answer the same question always alike.
    pub fn external<P: External>(mut self, answer: impl Fn(P::Question) -> P::Answer + 'static) -> Property<F> {
        let answer = Rc::new(answer);
        self.scene.ports.push(Box::new(move |ports: &mut Ports| {
            let answer = answer.clone();
            ports.add::<P>(move |question| answer(question));
        }));
        self
    }

    /// What must hold. The same invariants serve a check of recorded journals.
    ///
    /// # Panics
    /// When one of them is over a kind that the program doesn't have: it would never be checked.
    pub fn invariants(mut self, invariants: Invariants) -> Property<F> {
        let unknown = invariants.unknown_kinds(&self.catalogue);
        assert!(unknown.is_empty(), "Property: invariants are over kinds that the kinds don't name: {unknown:?}");
        self.scene.invariants = Arc::new(invariants);
        self
    }

    /// Fails unless so many of a hundred pairs of a state of the FSM and a variant of its messages were seen, the FSM handling that
    /// message in that state. States and messages that aren't enums count as one.
    pub fn demand_coverage(mut self, percent: u32) -> Property<F> {
        self.demand.percent = percent;
        self
    }

    /// Fails unless each of these pairs of a state and a variant was seen, by their names.
    pub fn demand_pairs<'a>(mut self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Property<F> {
        self.demand.pairs.extend(pairs.into_iter().map(|(state, variant)| (state.to_owned(), variant.to_owned())));
        self
    }

    /// How many cases are drawn and run; 100 without this. The environment's `PROPTEST_CASES` counts for more, but with 0 only
    /// what was kept is tried.
    pub fn cases(mut self, cases: u32) -> Property<F> {
        self.cases = cases;
        self
    }

    /// The most inputs that a case has; 30 without this.
    ///
    /// # Panics
    /// When it is 0: nothing would ever happen.
    pub fn inputs_max(mut self, inputs: usize) -> Property<F> {
        assert!(inputs > 0, "Property::inputs_max: a case without inputs proves nothing; give at least 1");
        self.inputs_max = inputs;
        self
    }

    /// The node's seed, from which the FSMs' random numbers come; 0 without this.
    pub fn node_seed(mut self, seed: u64) -> Property<F> {
        self.scene.config.seed = seed;
        self
    }

    /// The number from which all cases are drawn, so that each run draws the same ones. Without this each run draws others.
    pub fn seed(mut self, seed: u64) -> Property<F> {
        self.seed = Some(seed);
        self
    }

    /// What the property is called where a failure is told, kept and saved. Without this it is the test's name.
    pub fn named(mut self, name: impl Into<String>) -> Property<F> {
        self.name = Some(name.into());
        self
    }

    /// Where failing cases are saved as journals, each in a directory of its own. Without this it is what the environment's
    /// `QNFSM_FAILURES` says, or `qnfsm-failures` in cargo's target directory.
    pub fn failures_in(mut self, dir: impl AsRef<Path>) -> Property<F> {
        self.failures_dir = Some(dir.as_ref().into());
        self
    }

    /// The file in which inputs that broke the property are kept. Without this it stands beside the test's source, with the
    /// extension `kept`.
    pub fn kept_in(mut self, file: impl AsRef<Path>) -> Property<F> {
        self.kept_file = Some(file.as_ref().into());
        self
    }

    /// Runs the cases: those that were kept first.
    ///
    /// # Panics
    /// When something doesn't hold, with the text of the error; where [`Property::check`] panics.
    #[track_caller]
    #[expect(clippy::must_use_candidate, reason = "that it returns is what a test wants of it")]
    pub fn run(self) -> Report {
        match self.check() {
            Ok(report) => {
                println!("{report}");
                report
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`run`](Property::run), for who wants to know what doesn't hold.
    ///
    /// # Errors
    /// When something doesn't hold, too little was covered, or the strategies give no values.
    ///
    /// # Panics
    /// When the property has no messages, or demands pairs of states and messages that there aren't.
    pub fn check(self) -> Result<Report, PropertyError> {
        let Property { catalogue, scene, start, messages, times, answers, others_fail, inputs_max, .. } = self;
        let messages = messages.unwrap_or_else(|| panic!("Property: there are no messages; add `.messages(…)`"));
        let given = Given { start, messages, times, answers, others_fail, inputs_max };
        let coverage =
            coverage::Counting::new(&catalogue, scene.kind, type_name::<F::State>(), type_name::<F::Message>());
        let unknown = coverage.coverage(&catalogue).unknown(&self.demand).map(str::to_owned);
        assert!(
            unknown.is_none(),
            "Property::demand_pairs: {} is no state or message of {}",
            unknown.unwrap_or_default(),
            F::NAME
        );
        let places = check::Places::find(self.name, F::NAME, self.source, self.failures_dir, self.kept_file);
        let checking = check::Checking {
            scene,
            sources: Sources::new(given),
            coverage,
            demand: self.demand,
            places,
            cases: self.cases,
            seed: self.seed,
        };
        checking.run()
    }
}

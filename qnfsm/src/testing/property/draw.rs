//! Where cases come from: the strategies of a property, drawn from a seed. What is drawn can be simplified part by part.

use std::time::Duration;

use proptest::{
    bool::weighted,
    strategy::{BoxedStrategy, Just, Strategy, ValueTree},
    test_runner::{Config, Reason, RngAlgorithm, TestRng, TestRunner},
};

use super::input::{Case, Entry, Input};
use crate::{DownReason, NoReply};

/// How long time passes at once, unless the property says otherwise, in milliseconds.
const PASS_MS_MAX: u64 = 60_000;
/// How often each sort of input is drawn, beside the others that the property has.
const MESSAGE_WEIGHT: u32 = 8;
const TIME_WEIGHT: u32 = 2;
const ANSWER_WEIGHT: u32 = 2;
const FAILURE_WEIGHT: u32 = 1;
/// How many inputs come with the next one, and how often time passes at once.
const AT_ONCE: f64 = 0.2;
/// Requests, and queues that are monitored, are told apart by a number below this, which is taken modulo how many there are.
const WHICH_MAX: u32 = 8;

/// The strategies of a property.
pub(super) struct Sources {
    start: BoxedStrategy<Vec<u8>>,
    /// Each with how often it is drawn.
    inputs: Vec<(u32, BoxedStrategy<Entry>)>,
    inputs_max: usize,
}

/// What was drawn, and can be simplified.
pub(super) struct Drawn {
    pub(super) start: Tree<Vec<u8>>,
    pub(super) inputs: Vec<Tree<Entry>>,
}

pub(super) type Tree<T> = Box<dyn ValueTree<Value = T>>;

/// The strategies as the user gave them.
pub(super) struct Given {
    pub(super) start: BoxedStrategy<Vec<u8>>,
    pub(super) messages: BoxedStrategy<Input>,
    /// None: the default.
    pub(super) times: Option<BoxedStrategy<Input>>,
    pub(super) answers: Vec<BoxedStrategy<Input>>,
    pub(super) others_fail: bool,
    pub(super) inputs_max: usize,
}

impl Sources {
    pub(super) fn new(given: Given) -> Sources {
        let Given { start, messages, times, answers, others_fail, inputs_max } = given;
        let times = times.unwrap_or_else(|| pass((0..=PASS_MS_MAX).prop_map(Duration::from_millis)));
        let mut inputs = vec![(MESSAGE_WEIGHT, messages), (TIME_WEIGHT, times)];
        inputs.extend(answers.into_iter().map(|answers| (ANSWER_WEIGHT, answers)));
        if others_fail {
            inputs.push((FAILURE_WEIGHT, no_answers()));
            inputs.push((FAILURE_WEIGHT, downs()));
        }
        let entries = inputs.into_iter().map(|(weight, inputs)| {
            let entries = (inputs, weighted(AT_ONCE)).prop_map(|(input, with_next)| Entry { input, with_next });
            (weight, entries.boxed())
        });
        Sources { start, inputs: entries.collect(), inputs_max }
    }

    /// Draws the case of a seed: always the same one.
    pub(super) fn draw(&self, seed: u64) -> Result<Drawn, Reason> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        // Failures are kept by the property itself.
        let config = Config { failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, rng);
        let start = self.start.new_tree(&mut runner)?;
        let count = (1..=self.inputs_max).new_tree(&mut runner)?.current();
        let total: u32 = self.inputs.iter().map(|(weight, _)| weight).sum();
        let mut inputs = Vec::with_capacity(count);
        for _ in 0..count {
            let mut at = (0..total).new_tree(&mut runner)?.current();
            let source = self.inputs.iter().find(|(weight, _)| {
                let is_here = at < *weight;
                at = at.saturating_sub(*weight);
                is_here
            });
            let (_, source) = source.expect("the number is below the sum of the weights");
            inputs.push(source.new_tree(&mut runner)?);
        }
        Ok(Drawn { start: Box::new(start), inputs })
    }
}

impl Drawn {
    /// A case that was kept, of which inputs can be left out and no more.
    pub(super) fn of_kept(case: Case) -> Drawn {
        let fixed = |input: Entry| -> Tree<Entry> { Box::new(Just(input)) };
        Drawn { start: Box::new(Just(case.start)), inputs: case.inputs.into_iter().map(fixed).collect() }
    }

    /// The case as it is drawn.
    pub(super) fn case(&self) -> Case {
        Case { start: self.start.current(), inputs: self.inputs.iter().map(|input| input.current()).collect() }
    }
}

/// Time passes as a strategy says.
pub(super) fn pass(times: impl Strategy<Value = Duration> + 'static) -> BoxedStrategy<Input> {
    let times = (times, weighted(AT_ONCE));
    let pass = times
        .prop_map(|(time, at_once)| Input::Pass { ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), at_once });
    pass.boxed()
}

/// Which of those that there are.
pub(super) fn which() -> impl Strategy<Value = u32> {
    0..WHICH_MAX
}

fn no_answers() -> BoxedStrategy<Input> {
    let why = proptest::sample::select(vec![NoReply::Gone, NoReply::Full, NoReply::Failed, NoReply::Interrupted]);
    (which(), why).prop_map(|(which, why)| Input::NoAnswer { which, why }).boxed()
}

fn downs() -> BoxedStrategy<Input> {
    let closed = DownReason::Closed("by the test".to_owned());
    let reasons = [DownReason::Stopped, DownReason::Panicked, DownReason::Unreachable, DownReason::Restarted, closed];
    let reason = proptest::sample::select(reasons.to_vec());
    (which(), reason).prop_map(|(which, reason)| Input::Down { which, reason }).boxed()
}

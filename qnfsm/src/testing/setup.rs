//! How a drive begins: kinds, seed, time, bounds, and the ports that stand in for the world.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Codec, External, ExternalFault, Externals, Fsm, Kinds, Recording, Time, Trust, WorkerConfig, WorkerId,
    testing::Drive,
};

/// What a [`Drive`] is given before its FSM starts. [`Drive::new`] takes the defaults.
///
/// ```
/// # use qnfsm::{Context, Fsm, Kinds, Next};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Dice { thrown: Vec<u64> }
/// # #[derive(Serialize, Deserialize)] enum Hand { Throw }
/// # impl Fsm for Dice {
/// #     const NAME: &'static str = "dice";
/// #     type State = ();
/// #     type Message = Hand;
/// #     fn start(&mut self, _: &mut Context<'_, Self>) {}
/// #     fn handle(&mut self, _: (), _: Hand, cx: &mut Context<'_, Self>) -> Next<Self> {
/// #         self.thrown.push(cx.random().below(6) + 1);
/// #         Next::Stay
/// #     }
/// # }
/// # fn kinds() -> Kinds { Kinds::new().with::<Dice>() }
/// use qnfsm::testing::Setup;
///
/// let mut t = Setup::new(kinds()).seed(7).start(Dice { thrown: vec![] });
/// t.tell(Hand::Throw);
/// let mut again = Setup::new(kinds()).seed(7).start(Dice { thrown: vec![] });
/// again.tell(Hand::Throw);
/// assert_eq!(t.fsm().thrown, again.fsm().thrown);
/// ```
#[must_use]
pub struct Setup {
    pub(super) kinds: Kinds,
    pub(super) config: WorkerConfig,
    pub(super) now: Time,
    pub(super) bound: u32,
    pub(super) ports: Ports,
}

impl Setup {
    /// The defaults: seed 0, 2020-01-01T00:00:00Z, rounds of at most 64 messages, no ports.
    pub fn new(kinds: Kinds) -> Setup {
        let config = WorkerConfig { recording: Recording::Everything, ..WorkerConfig::default() };
        let now = Time::ZERO.after(Duration::from_secs(1_577_836_800));
        Setup { kinds, config, now, bound: 64, ports: Ports::default() }
    }

    /// The node's seed, from which random numbers come.
    pub fn seed(mut self, seed: u64) -> Setup {
        self.config.seed = seed;
        self
    }

    /// The time at which it begins.
    pub fn now(mut self, now: Time) -> Setup {
        self.now = now;
        self
    }

    /// The most messages that a round handles; with few there are many places where the twin takes over.
    ///
    /// # Panics
    /// When `bound` is 0: no round would ever do anything.
    pub fn bound(mut self, bound: u32) -> Setup {
        assert!(bound > 0, "Setup::bound: a round of no messages does nothing; give at least 1");
        self.bound = bound;
        self
    }

    /// The most messages that an FSM is handed in a turn.
    pub fn turn_messages(mut self, messages: u32) -> Setup {
        self.config.turn_messages = messages;
        self
    }

    /// What stands in for an external port.
    pub fn external<P: External>(mut self, answer: impl FnMut(P::Question) -> P::Answer + 'static) -> Setup {
        self.ports.add::<P>(answer);
        self
    }

    /// Starts the FSM and runs until nothing is left to do.
    ///
    /// # Panics
    /// When the kinds are wrong or don't name `F`; where [`Drive::tell`] panics.
    pub fn start<F: Fsm>(self, fsm: F) -> Drive<F> {
        Drive::start(self, fsm)
    }
}

/// What answers to encoded questions.
type Port = Box<dyn FnMut(&[u8]) -> Result<Vec<u8>, ExternalFault>>;

/// The test's stand-ins for external ports.
#[derive(Default)]
pub(super) struct Ports(BTreeMap<&'static str, Port>);

impl Ports {
    pub(super) fn add<P: External>(&mut self, mut answer: impl FnMut(P::Question) -> P::Answer + 'static) {
        let port = move |question: &[u8]| {
            let fault = |error: &dyn std::error::Error| ExternalFault(format!("external port {}: {error}", P::NAME));
            let question = Codec::CURRENT.decode(question, Trust::Node).map_err(|error| fault(&error))?;
            let mut bytes = Vec::new();
            Codec::CURRENT.encode(&answer(question), &mut bytes).map_err(|error| fault(&error))?;
            Ok(bytes)
        };
        self.0.insert(P::NAME, Box::new(port));
    }
}

impl Externals for Ports {
    fn read(&mut self, _: WorkerId, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        match self.0.get_mut(port) {
            Some(answer) => answer(question),
            None => Err(ExternalFault(format!(
                "the test has no external port {port}; add `.external::<P>(|question| answer)` to its Setup or Drive"
            ))),
        }
    }
}

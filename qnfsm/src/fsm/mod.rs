//! What a user writes: an FSM, its states, and what it does next.

mod context;
mod effects;
mod old;
mod pool;
mod resource;

use std::fmt::Debug;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use context::{Context, External, TimerId};
pub(crate) use effects::{Effect, Effects, Lacking, Own, Refusal, Sending, TypeNumbers, WhichTimer, state_digest};
pub use effects::{ExternalFault, Externals, Handler, TimerName};
pub use old::{OldFsm, OldMessage, UpgradeError};
pub(crate) use old::{Reading, upgraded};
pub(crate) use pool::{AnyPool, MessageRef, Pool, Pools};
pub(crate) use resource::Resources;
pub use resource::{ContentHash, Resource};

use crate::message::Message;

/// What a state can be: plain data that is copied. Data that grows lives in the FSM.
pub trait State: Copy + Debug + PartialEq + Serialize + DeserializeOwned + Send + 'static {}

impl<T: Copy + Debug + PartialEq + Serialize + DeserializeOwned + Send + 'static> State for T {}

/// A single-threaded finite state machine.
///
/// Its value is plain serialisable data. It is its own constructor argument: to spawn one is to hand over the value.
/// What it does may depend on nothing but its data, its state, the message, and what [`Context`] gives.
///
/// ```
/// use std::time::Duration;
/// use qnfsm::{Context, Fsm, Next};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Turnstile { coins: u64 }
///
/// #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
/// enum Gate { Locked, Unlocked }
///
/// #[derive(Debug, Serialize, Deserialize)]
/// enum Event { Coin, Push, Expired }
///
/// impl Fsm for Turnstile {
///     const NAME: &'static str = "turnstile";
///     type State = Gate;
///     type Message = Event;
///
///     fn start(&mut self, _cx: &mut Context<'_, Self>) -> Gate { Gate::Locked }
///
///     fn handle(&mut self, gate: Gate, event: Event, cx: &mut Context<'_, Self>) -> Next<Self> {
///         match (gate, event) {
///             (Gate::Locked, Event::Coin) => {
///                 self.coins += 1;
///                 cx.state_timeout(Duration::from_secs(5), Event::Expired);
///                 Next::Goto(Gate::Unlocked)
///             }
///             (Gate::Unlocked, Event::Push | Event::Expired) => Next::Goto(Gate::Locked),
///             (_, other) => Next::Unhandled(other),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an FSM",
    label = "no `impl Fsm for {Self}`",
    note = "an FSM is plain data (derive `Serialize` and `Deserialize`) with `impl Fsm`; see the guide, \"Writing an FSM\""
)]
pub trait Fsm: Serialize + DeserializeOwned + Send + Sized + 'static {
    /// The kind's name. It stands in journals: keep it when you rename or move the type.
    const NAME: &'static str;

    /// The discrete state; `()` for a machine that has only one.
    type State: State;

    /// What its queue takes.
    type Message: Message;

    /// How many messages may wait, and what happens to one too many.
    const QUEUE: QueuePolicy = QueuePolicy::DEFAULT;

    /// What happens when the handler panics.
    const ON_PANIC: OnPanic = OnPanic::StopNode;

    /// The version of the form that the data and the states have. Raise it when a field or a state changes, and let [`Fsm::upgrade`]
    /// see to what older versions wrote.
    const VERSION: u32 = 1;

    /// Makes the FSM and its state of what a program with another [`Fsm::VERSION`] wrote. It runs when a node is brought back by
    /// a new build, once for each FSM of the kind, and whenever that is done again: so it depends on nothing but what it is given.
    /// An FSM that hadn't started has no state, and starts when the node runs.
    ///
    /// It must see to each version of which a node may have a snapshot still; a node that was stopped cleanly by any build of such a
    /// version can then be started by this one.
    ///
    /// ```
    /// # use qnfsm::{Context, Fsm, Next, OldFsm, UpgradeError};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Serialize, Deserialize)]
    /// struct Account { cents: i64, limit_cents: i64 }
    ///
    /// /// As it was in version 1.
    /// #[derive(Deserialize)]
    /// struct AccountV1 { euros: i32 }
    ///
    /// impl Fsm for Account {
    ///     const NAME: &'static str = "account";
    ///     const VERSION: u32 = 2;
    ///     fn upgrade(old: OldFsm<'_>) -> Result<(Account, Option<()>), UpgradeError> {
    ///         match old.version() {
    ///             1 => {
    ///                 let (AccountV1 { euros }, state) = old.read()?;
    ///                 Ok((Account { cents: i64::from(euros) * 100, limit_cents: 0 }, state))
    ///             }
    ///             _ => Err(old.unknown()),
    ///         }
    ///     }
    ///     // …
    /// #     type State = ();
    /// #     type Message = u8;
    /// #     fn start(&mut self, _: &mut Context<'_, Self>) {}
    /// #     fn handle(&mut self, _: (), _: u8, _: &mut Context<'_, Self>) -> Next<Self> { Next::Stay }
    /// }
    /// ```
    ///
    /// # Errors
    /// When it doesn't know that version, or what it is given is no value of it. The node doesn't start then.
    fn upgrade(old: OldFsm<'_>) -> Result<(Self, Option<Self::State>), UpgradeError> {
        Err(old.unknown())
    }

    /// Runs before the first message and says the first state. The FSM has its queue already, and messages may wait.
    fn start(&mut self, cx: &mut Context<'_, Self>) -> Self::State;

    /// Takes one message in one state and says what is next.
    fn handle(&mut self, state: Self::State, message: Self::Message, cx: &mut Context<'_, Self>) -> Next<Self>;

    /// Runs when a state is entered: after [`Fsm::start`] (`from` is `None`) and after each [`Next::Goto`] to another
    /// state than the present one.
    fn enter(&mut self, from: Option<Self::State>, to: Self::State, cx: &mut Context<'_, Self>) {
        let _ = (from, to, cx);
    }

    /// Under [`Overflow::Coalesce`]: messages with the same key stand for one another, the newest counts.
    fn coalesce_key(message: &Self::Message) -> Option<u64> {
        let _ = message;
        None
    }
}

/// What an FSM does after a message.
#[must_use]
pub enum Next<F: Fsm> {
    /// Nothing else: the state stays.
    Stay,
    /// Go to a state. Another state than the present one ends the state timeout, runs the enter action and brings back
    /// the postponed messages; going to the present state is the same as [`Next::Stay`].
    Goto(F::State),
    /// Not now: keep the message, with its sender, until the state changes; it then comes ahead of the queue.
    Postpone(F::Message),
    /// Of no use in this state. It is counted and traced as a dead letter.
    Unhandled(F::Message),
    /// The FSM is done. Its queue is gone; monitors are told.
    Stop,
}

/// A queue's bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePolicy {
    /// The most messages that may wait. Answers to the FSM's own requests, timers and monitors always enter.
    pub capacity: u32,
    /// What happens to one too many.
    pub overflow: Overflow,
}

impl QueuePolicy {
    /// 65,536 messages; the newest is dropped, which its sender is told if it was a request.
    pub const DEFAULT: QueuePolicy = QueuePolicy { capacity: 65_536, overflow: Overflow::DropNewest };
}

/// What happens to a message that finds its queue full. Whatever is dropped is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Overflow {
    /// The new message is dropped.
    DropNewest,
    /// The message that waited longest is dropped.
    DropOldest,
    /// The new message takes the place of the one with the same [`Fsm::coalesce_key`]; without one it is dropped.
    Coalesce,
    /// The node stops and names the queue.
    StopNode,
}

/// What happens when a handler panics. The panic cuts off what the handler had appended: nothing of it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OnPanic {
    /// The node stops. The safe choice: an FSM that panicked may hold data that is only half changed.
    StopNode,
    /// The FSM stops; monitors are told.
    StopFsm,
    /// The FSM starts again from the value that it was spawned with. Its queue and ID stay; postponed messages, timers
    /// and requests are dropped. After `budget` restarts the next panic stops it.
    Restart {
        /// How many restarts there may be in the FSM's life.
        budget: u32,
    },
}

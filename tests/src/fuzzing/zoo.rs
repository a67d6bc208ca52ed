//! FSMs that do what their messages tell them, of kinds that differ in their policies, and a message type with
//! everything in it that is hard on a decoder: recursion, strings, maps, options, units and queue IDs.
//!
//! What an FSM is told to do is bounded, so that no message makes a worker run or grow without end.

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc, sync::OnceLock, time::Duration};

use qnfsm::{
    Catalogue, Context, DeadLetter, Down, External, Fsm, Kinds, Next, OnPanic, Overflow, QueueId, QueuePolicy, Reply,
    ReplyTo, RequestId, WorkerId,
};
use serde::{Deserialize, Serialize};

/// The most operations of one message that an FSM performs.
const OPS_MAX: usize = 12;

/// The most trees and addresses that an FSM keeps.
const KEPT_MAX: usize = 16;

/// Data of any shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Tree {
    /// Nothing.
    Leaf,
    /// Numbers of several widths.
    Number(i64, u8, f64),
    /// A character.
    Letter(char),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Elements that take no bytes.
    Units(Vec<()>),
    /// Perhaps another tree.
    Maybe(Option<Box<Tree>>),
    /// Trees in a row.
    Row(Vec<Tree>),
    /// Trees by name.
    Named(BTreeMap<String, Tree>),
    /// A queue.
    Queue(QueueId<Order>),
}

impl Tree {
    /// True if a queue ID is in it.
    #[must_use]
    pub fn names_a_queue(&self) -> bool {
        match self {
            Tree::Queue(_) => true,
            Tree::Maybe(tree) => tree.as_ref().is_some_and(|tree| tree.names_a_queue()),
            Tree::Row(trees) => trees.iter().any(Tree::names_a_queue),
            Tree::Named(trees) => trees.values().any(Tree::names_a_queue),
            _ => false,
        }
    }
}

/// What actors take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// Do these, then that.
    Do(Vec<Op>, Then),
    /// Answer at once with the tree, or keep the address.
    Ask(ReplyTo<Tree>, Option<Tree>),
    /// Nothing to do.
    Note(Tree),
    /// A monitored queue is gone.
    Down(Down),
    /// A message wasn't delivered.
    Dead(DeadLetter),
    /// What came of a request.
    Answered(Reply<Tree>),
    /// What came of a spawn elsewhere.
    Born(Reply<QueueId<Order>>),
}

impl Order {
    /// True if a queue ID is in it.
    #[must_use]
    pub fn names_a_queue(&self) -> bool {
        match self {
            Order::Do(ops, _) => ops.iter().any(Op::names_a_queue),
            Order::Note(tree) => tree.names_a_queue(),
            Order::Ask(..) | Order::Down(_) | Order::Dead(_) => true,
            Order::Answered(reply) => reply.outcome.as_ref().is_ok_and(Tree::names_a_queue),
            Order::Born(reply) => reply.outcome.is_ok(),
        }
    }
}

macro_rules! from {
    ($($of:ty => $variant:ident),*) => {$(
        impl From<$of> for Order {
            fn from(of: $of) -> Order {
                Order::$variant(of)
            }
        }
    )*};
}
from!(Down => Down, DeadLetter => Dead, Reply<Tree> => Answered, Reply<QueueId<Order>> => Born);

/// Whom an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum To {
    /// The actor itself.
    Me,
    /// Who sent the message.
    Sender,
    /// One of the actor's children.
    Child(u8),
    /// That queue.
    Queue(QueueId<Order>),
}

/// What an actor can be told to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the context's method of that name")]
pub enum Op {
    Send(To, Order),
    SendSelf(Order),
    SendGate(To, Event),
    StateTimeout(u64, Order),
    CancelStateTimeout,
    After(u64, Order),
    Timer(String, u64, Order),
    Every(String, u64, Order),
    CancelTimer(String),
    Spawn(u8, Vec<Op>),
    SpawnOn(WorkerId, u64, Vec<Op>),
    Stop(To),
    Monitor(To),
    Unmonitor(To),
    DeadLetters(bool),
    Draw,
    Read(u32),
    Request(To, u64, Option<Tree>),
    CancelRequest,
    AnswerKept(Tree),
    Keep(Tree),
    OnEnter(Vec<Op>),
    Panic,
}

impl Op {
    fn names_a_queue(&self) -> bool {
        let is_queue = |to: &To| matches!(to, To::Queue(_));
        match self {
            Op::Send(to, order) => is_queue(to) || order.names_a_queue(),
            Op::SendGate(to, _) | Op::Stop(to) | Op::Monitor(to) | Op::Unmonitor(to) => is_queue(to),
            Op::SendSelf(order)
            | Op::StateTimeout(_, order)
            | Op::After(_, order)
            | Op::Timer(_, _, order)
            | Op::Every(_, _, order) => order.names_a_queue(),
            Op::Spawn(_, ops) | Op::SpawnOn(_, _, ops) | Op::OnEnter(ops) => ops.iter().any(Op::names_a_queue),
            Op::Request(to, _, tree) => is_queue(to) || tree.as_ref().is_some_and(Tree::names_a_queue),
            Op::AnswerKept(tree) | Op::Keep(tree) => tree.names_a_queue(),
            _ => false,
        }
    }
}

/// What an actor's handler returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the variant of `Next` of that name")]
pub enum Then {
    Stay,
    Goto(u8),
    /// In state 0; in others it stays.
    Postpone,
    Unhandled,
    Stop,
}

/// What a kind of actors differs in.
pub trait Policy: Send + 'static {
    /// The kind's name.
    const NAME: &'static str;
    /// Its queue.
    const QUEUE: QueuePolicy;
    /// What a panic does.
    const ON_PANIC: OnPanic;
}

macro_rules! policies {
    ($($policy:ident $name:literal $capacity:literal $overflow:ident $on_panic:expr;)*) => {$(
        #[doc = concat!("The policy of kind ", $name, ".")]
        #[derive(Debug)]
        pub struct $policy;
        impl Policy for $policy {
            const NAME: &'static str = $name;
            const QUEUE: QueuePolicy = QueuePolicy { capacity: $capacity, overflow: Overflow::$overflow };
            const ON_PANIC: OnPanic = $on_panic;
        }
    )*};
}

policies! {
    Plain "plain" 64 DropNewest OnPanic::StopNode;
    Oldest "oldest" 3 DropOldest OnPanic::StopFsm;
    Coalescing "coalescing" 3 Coalesce OnPanic::StopFsm;
    Fatal "fatal" 3 StopNode OnPanic::StopFsm;
    Restarting "restarting" 64 DropNewest OnPanic::Restart { budget: 2 };
    Nothing "nothing" 0 DropOldest OnPanic::StopFsm;
}

/// An FSM that does what it is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Actor<P> {
    at_start: Vec<Op>,
    on_enter: Vec<Op>,
    kept: Vec<Tree>,
    children: Vec<QueueId<Order>>,
    owed: Vec<ReplyTo<Tree>>,
    asked: Option<RequestId>,
    sum: u64,
    policy: PhantomData<fn(P)>,
}

impl<P> Actor<P> {
    /// An actor that begins with these.
    #[must_use]
    pub fn new(at_start: Vec<Op>) -> Actor<P> {
        Actor {
            at_start,
            on_enter: vec![],
            kept: vec![],
            children: vec![],
            owed: vec![],
            asked: None,
            sum: 0,
            policy: PhantomData,
        }
    }
}

/// The one port that there is.
struct Port;

impl External for Port {
    const NAME: &'static str = "port";
    type Question = u32;
    type Answer = u32;
}

const NS: fn(u64) -> Duration = Duration::from_nanos;

impl<P: Policy> Actor<P> {
    fn find(&self, to: To, cx: &Context<'_, Self>) -> QueueId<Order> {
        match to {
            To::Me => cx.id(),
            To::Sender => QueueId::from_raw(cx.sender()),
            To::Child(at) => self.children.get(usize::from(at)).copied().unwrap_or(cx.id()),
            To::Queue(queue) => queue,
        }
    }

    fn perform(&mut self, ops: &[Op], cx: &mut Context<'_, Self>) {
        for op in ops.iter().take(OPS_MAX) {
            self.perform_one(op.clone(), cx);
        }
    }

    fn perform_one(&mut self, op: Op, cx: &mut Context<'_, Self>) {
        match op {
            Op::Send(to, order) => cx.send(self.find(to, cx), order),
            Op::SendSelf(order) => cx.send_self(order),
            Op::SendGate(to, event) => cx.send(QueueId::from_raw(self.find(to, cx).raw()), event),
            Op::StateTimeout(ns, order) => cx.state_timeout(NS(ns), order),
            Op::CancelStateTimeout => cx.cancel_state_timeout(),
            Op::After(ns, order) => drop(cx.after(NS(ns), order)),
            Op::Timer(name, ns, order) => drop(cx.timer(name, NS(ns), order)),
            Op::Every(name, ns, order) => drop(cx.every(name, NS(ns), order)),
            Op::CancelTimer(name) => cx.cancel_timer(name),
            Op::Spawn(kind, ops) => {
                let child = spawn(kind, ops, cx);
                self.children.truncate(KEPT_MAX);
                self.children.push(child);
            }
            Op::SpawnOn(worker, ns, ops) => {
                self.asked = Some(cx.spawn_on(worker, Actor::<Oldest>::new(ops), NS(ns)));
            }
            Op::Stop(to) => cx.stop(self.find(to, cx)),
            Op::Monitor(to) => cx.monitor(self.find(to, cx)),
            Op::Unmonitor(to) => cx.unmonitor(self.find(to, cx)),
            Op::DeadLetters(wanted) => cx.dead_letters(wanted),
            Op::Draw => self.sum = self.sum.wrapping_add(cx.random().below(1_000_003)),
            Op::Read(question) => self.sum = self.sum.wrapping_add(u64::from(cx.external::<Port>(&question))),
            Op::Request(to, ns, answer) => {
                let to = self.find(to, cx);
                self.asked = Some(cx.request(to, NS(ns), |reply| Order::Ask(reply, answer)));
            }
            Op::CancelRequest => {
                if let Some(request) = self.asked.take() {
                    cx.cancel_request(request);
                }
            }
            Op::AnswerKept(answer) => {
                for reply in self.owed.drain(..) {
                    cx.reply(reply, answer.clone());
                }
            }
            Op::Keep(tree) => {
                self.kept.truncate(KEPT_MAX);
                self.kept.push(tree);
            }
            Op::OnEnter(ops) => self.on_enter = ops,
            // Without the hook, which says that the library panicked.
            Op::Panic => std::panic::resume_unwind(Box::new("told to")),
        }
    }
}

fn spawn<P: Policy>(kind: u8, ops: Vec<Op>, cx: &mut Context<'_, Actor<P>>) -> QueueId<Order> {
    match kind % 6 {
        0 => cx.spawn(Actor::<Plain>::new(ops)),
        1 => cx.spawn(Actor::<Oldest>::new(ops)),
        2 => cx.spawn(Actor::<Coalescing>::new(ops)),
        3 => cx.spawn(Actor::<Fatal>::new(ops)),
        4 => cx.spawn(Actor::<Restarting>::new(ops)),
        _ => cx.spawn(Actor::<Nothing>::new(ops)),
    }
}

impl<P: Policy> Fsm for Actor<P> {
    const NAME: &'static str = P::NAME;
    type State = u8;
    type Message = Order;
    const QUEUE: QueuePolicy = P::QUEUE;
    const ON_PANIC: OnPanic = P::ON_PANIC;

    fn start(&mut self, cx: &mut Context<'_, Self>) -> u8 {
        let ops = self.at_start.clone();
        self.perform(&ops, cx);
        0
    }

    fn handle(&mut self, state: u8, order: Order, cx: &mut Context<'_, Self>) -> Next<Self> {
        self.sum = self.sum.wrapping_mul(31).wrapping_add(cx.beats()).wrapping_add(u64::from(state));
        match order {
            Order::Do(_, Then::Postpone) if state == 0 => Next::Postpone(order),
            Order::Do(ops, then) => {
                self.perform(&ops, cx);
                match then {
                    Then::Stay | Then::Postpone => Next::Stay,
                    Then::Goto(to) => Next::Goto(to),
                    Then::Unhandled => Next::Unhandled(Order::Do(ops, then)),
                    Then::Stop => Next::Stop,
                }
            }
            Order::Ask(reply, Some(Tree::Leaf)) => {
                cx.refuse(reply);
                Next::Stay
            }
            Order::Ask(reply, Some(answer)) => {
                cx.reply(reply, answer);
                Next::Stay
            }
            Order::Ask(reply, None) => {
                self.owed.truncate(KEPT_MAX);
                self.owed.push(reply);
                Next::Stay
            }
            Order::Note(_) | Order::Down(_) | Order::Dead(_) | Order::Answered(_) | Order::Born(_) => Next::Stay,
        }
    }

    fn enter(&mut self, _from: Option<u8>, _to: u8, cx: &mut Context<'_, Self>) {
        let ops = self.on_enter.clone();
        self.perform(&ops, cx);
    }

    fn coalesce_key(order: &Order) -> Option<u64> {
        match order {
            Order::Do(ops, _) => Some(ops.len() as u64),
            _ => None,
        }
    }
}

/// What gates take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they say themselves what they are")]
pub enum Event {
    Coin,
    Push,
    Expired,
    Sign(String),
}

/// The state of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they say themselves what they are")]
pub enum Lock {
    Locked,
    Unlocked,
}

/// An ordinary FSM.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Gate {
    coins: u64,
    sign: String,
}

impl Fsm for Gate {
    const NAME: &'static str = "gate";
    type State = Lock;
    type Message = Event;

    fn start(&mut self, _cx: &mut Context<'_, Self>) -> Lock {
        Lock::Locked
    }

    fn handle(&mut self, lock: Lock, event: Event, cx: &mut Context<'_, Self>) -> Next<Self> {
        match (lock, event) {
            (Lock::Locked, Event::Coin) => {
                self.coins = self.coins.wrapping_add(1);
                cx.state_timeout(NS(5_000), Event::Expired);
                Next::Goto(Lock::Unlocked)
            }
            (Lock::Unlocked, Event::Push | Event::Expired) => Next::Goto(Lock::Locked),
            (_, Event::Sign(sign)) => {
                self.sign = sign;
                Next::Stay
            }
            (_, other) => Next::Unhandled(other),
        }
    }
}

/// All kinds of the zoo, actors by the numbers by which they are spawned, then the gate.
///
/// # Panics
/// When the zoo contradicts itself.
#[must_use]
pub fn catalogue() -> Arc<Catalogue> {
    static CATALOGUE: OnceLock<Arc<Catalogue>> = OnceLock::new();
    let sealed = CATALOGUE.get_or_init(|| {
        Kinds::new()
            .with::<Actor<Plain>>()
            .with::<Actor<Oldest>>()
            .with::<Actor<Coalescing>>()
            .with::<Actor<Fatal>>()
            .with::<Actor<Restarting>>()
            .with::<Actor<Nothing>>()
            .with::<Gate>()
            .accepts::<Order, Down>()
            .accepts::<Order, DeadLetter>()
            .replies::<Order, Tree>()
            .replies::<Order, QueueId<Order>>()
            .seal()
            .expect("the zoo's kinds are sound")
    });
    sealed.clone()
}

//! An FSM that does what its messages say, and writes down what it was given. Its kinds differ in their policies.

use std::{marker::PhantomData, time::Duration};

use qnfsm::{
    Context, DeadLetter, Down, External, Fsm, Kinds, Next, NodeRequest, OnPanic, Overflow, QueueId, QueuePolicy, Reply,
    ReplyTo, RequestId, TimerId, WorkerId,
};
use serde::{Deserialize, Deserializer, Serialize};

pub(crate) type Q = QueueId<Order>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Order {
    Do { label: u32, ops: Vec<Op>, then: Then, counted: Counted },
    Ask { label: u32, reply: ReplyTo<u32>, act: Act, counted: Counted },
    Down(Down, Counted),
    Dead(DeadLetter, Counted),
    Answer(Reply<u32>, Counted),
    Born(Reply<Q>, Counted),
}

impl From<Down> for Order {
    fn from(down: Down) -> Order {
        Order::Down(down, Counted::new())
    }
}
impl From<DeadLetter> for Order {
    fn from(letter: DeadLetter) -> Order {
        Order::Dead(letter, Counted::new())
    }
}
impl From<Reply<u32>> for Order {
    fn from(reply: Reply<u32>) -> Order {
        Order::Answer(reply, Counted::new())
    }
}
impl From<Reply<Q>> for Order {
    fn from(reply: Reply<Q>) -> Order {
        Order::Born(reply, Counted::new())
    }
}

#[allow(clippy::disallowed_types, reason = "the count is a test's, and no FSM acts on it")]
mod counted {
    thread_local!(pub(super) static COUNTED: std::cell::Cell<i64> = const { std::cell::Cell::new(0) });
}
use counted::COUNTED;

/// Stands in each order and puppet, so that one that is never dropped can be found.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Counted {
    /// Has a byte, so that it counts as a field of the message and not as nothing.
    byte: bool,
}

impl Counted {
    pub(crate) fn new() -> Counted {
        COUNTED.set(COUNTED.get() + 1);
        Counted { byte: true }
    }

    /// How many there are on this thread.
    pub(crate) fn count() -> i64 {
        COUNTED.get()
    }
}

impl Clone for Counted {
    fn clone(&self) -> Counted {
        Counted::new()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COUNTED.set(COUNTED.get() - 1);
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Counted, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Counted")]
        struct Plain {
            byte: bool,
        }
        let Plain { byte } = Plain::deserialize(deserializer)?;
        let mut counted = Counted::new();
        counted.byte = byte;
        Ok(counted)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum To {
    Queue(Q),
    Child(u8),
    Me,
    Sender,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Op {
    Send(To, Order),
    SendSelf(Order),
    /// Sends a message of a type that no kind's queue takes.
    SendStranger(To),
    /// Uses a message type that is not registered at all.
    Misuse,
    StateTimeout(u64, Order),
    CancelStateTimeout,
    After(u64, Order),
    /// Cancels the timer that was set as the n-th, counting from 0, by its ID.
    CancelSet(u8),
    Timer(String, u64, Order),
    Every(String, u64, Order),
    CancelTimer(String),
    Spawn(Which, Vec<Op>),
    SpawnOn(WorkerId, u64),
    Stop(To),
    Monitor(To),
    Unmonitor(To),
    DeadLetters(bool),
    Draw,
    Read(u32),
    Request(To, u64, Act),
    CancelRequest,
    AnswerKept(u32),
    OnEnter(Vec<Op>),
    StopWorkerNode,
    Panic,
}

/// What the asked one does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Act {
    Answer(u32),
    Refuse,
    Keep,
    Ignore,
    Unhandled,
    Postpone,
    Panic,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Then {
    Stay,
    Goto(u8),
    /// Postpones the message in state 0 and stays in others; what it says is done each time.
    Postpone,
    Unhandled,
    Stop,
}

/// Which kind to spawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Which {
    Plain,
    Oldest,
    Newest,
    Coalescing,
    Fatal,
    Stopping,
    Restarting,
    Nothing,
}

/// What a kind differs in.
pub(crate) trait Policy: Send + 'static {
    const NAME: &'static str;
    const QUEUE: QueuePolicy = QueuePolicy::DEFAULT;
    const ON_PANIC: OnPanic = OnPanic::StopNode;
}

macro_rules! policies {
    ($($policy:ident $name:literal $capacity:literal $overflow:ident $on_panic:expr;)*) => {$(
        pub(crate) struct $policy;
        impl Policy for $policy {
            const NAME: &'static str = $name;
            const QUEUE: QueuePolicy = QueuePolicy { capacity: $capacity, overflow: Overflow::$overflow };
            const ON_PANIC: OnPanic = $on_panic;
        }
    )*};
}

policies! {
    Plain "plain" 1000 DropNewest OnPanic::StopNode;
    Oldest "oldest" 3 DropOldest OnPanic::StopFsm;
    Newest "newest" 3 DropNewest OnPanic::StopFsm;
    Coalescing "coalescing" 3 Coalesce OnPanic::StopFsm;
    Fatal "fatal" 3 StopNode OnPanic::StopFsm;
    Stopping "stopping" 1000 DropNewest OnPanic::StopFsm;
    Restarting "restarting" 1000 DropNewest OnPanic::Restart { budget: 2 };
    Nothing "nothing" 0 DropOldest OnPanic::StopFsm;
}

/// One line of what a puppet was given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Note {
    Did { label: u32, now: u64, state: u8, beats: u64 },
    Down(Down),
    Dead(DeadLetter),
    Answer(Reply<u32>),
    Born(Reply<Q>),
    Entered(Option<u8>, u8),
    Drew(u64),
    Read(u32),
    From(qnfsm::RawQueueId),
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Puppet<P> {
    pub(crate) at_start: Vec<Op>,
    pub(crate) on_enter: Vec<Op>,
    pub(crate) notes: Vec<Note>,
    pub(crate) children: Vec<Q>,
    pub(crate) kept: Vec<ReplyTo<u32>>,
    pub(crate) timers: Vec<TimerId>,
    pub(crate) requests: Vec<RequestId>,
    pub(crate) policy: PhantomData<fn(P)>,
    counted: Counted,
}

impl<P> Puppet<P> {
    pub(crate) fn new(at_start: Vec<Op>) -> Puppet<P> {
        Puppet {
            at_start,
            on_enter: vec![],
            notes: vec![],
            children: vec![],
            kept: vec![],
            timers: vec![],
            requests: vec![],
            policy: PhantomData,
            counted: Counted::new(),
        }
    }

    pub(crate) fn labels(&self) -> Vec<u32> {
        let label = |note: &Note| match note {
            Note::Did { label, .. } => Some(*label),
            _ => None,
        };
        self.notes.iter().filter_map(label).collect()
    }
}

/// Registered as a message type, taken by no kind.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stranger;

/// Not registered.
#[derive(Serialize, Deserialize)]
struct Unregistered;

pub(crate) struct Port;
impl External for Port {
    const NAME: &'static str = "port";
    type Question = u32;
    type Answer = u32;
}

const NS: fn(u64) -> Duration = Duration::from_nanos;

impl<P: Policy> Puppet<P> {
    fn find(&self, to: To, cx: &Context<'_, Self>) -> Q {
        match to {
            To::Queue(queue) => queue,
            To::Child(at) => self.children.get(usize::from(at)).copied().unwrap_or(cx.id()),
            To::Me => cx.id(),
            To::Sender => QueueId::from_raw(cx.sender()),
        }
    }

    fn perform(&mut self, ops: Vec<Op>, cx: &mut Context<'_, Self>) {
        for op in ops {
            self.perform_one(op, cx);
        }
    }

    fn perform_one(&mut self, op: Op, cx: &mut Context<'_, Self>) {
        match op {
            Op::Send(to, order) => cx.send(self.find(to, cx), order),
            Op::SendSelf(order) => cx.send_self(order),
            Op::SendStranger(to) => cx.send(QueueId::from_raw(self.find(to, cx).raw()), Stranger),
            Op::Misuse => cx.send(QueueId::from_raw(cx.id().raw()), Unregistered),
            Op::StateTimeout(ns, order) => cx.state_timeout(NS(ns), order),
            Op::CancelStateTimeout => cx.cancel_state_timeout(),
            Op::After(ns, order) => self.timers.push(cx.after(NS(ns), order)),
            Op::CancelSet(at) => {
                if let Some(timer) = self.timers.get(usize::from(at)) {
                    cx.cancel(*timer);
                }
            }
            Op::Timer(name, ns, order) => self.timers.push(cx.timer(name, NS(ns), order)),
            Op::Every(name, ns, order) => self.timers.push(cx.every(name, NS(ns), order)),
            Op::CancelTimer(name) => cx.cancel_timer(name),
            Op::Spawn(which, at_start) => self.children.push(spawn(which, at_start, cx)),
            Op::SpawnOn(worker, ns) => {
                self.requests.push(cx.spawn_on(worker, Puppet::<Plain>::new(vec![]), NS(ns)));
            }
            Op::Stop(to) => cx.stop(self.find(to, cx)),
            Op::Monitor(to) => cx.monitor(self.find(to, cx)),
            Op::Unmonitor(to) => cx.unmonitor(self.find(to, cx)),
            Op::DeadLetters(wanted) => cx.dead_letters(wanted),
            Op::Draw => {
                let drawn = cx.random().below(1_000_003);
                self.notes.push(Note::Drew(drawn));
            }
            Op::Read(question) => {
                let read = cx.external::<Port>(&question);
                self.notes.push(Note::Read(read));
            }
            Op::Request(to, ns, act) => {
                let to = self.find(to, cx);
                self.requests.push(cx.request(to, NS(ns), |reply| Order::Ask {
                    label: 0,
                    reply,
                    act,
                    counted: Counted::new(),
                }));
            }
            Op::CancelRequest => {
                if let Some(request) = self.requests.last() {
                    cx.cancel_request(*request);
                }
            }
            Op::AnswerKept(answer) => {
                for reply in self.kept.drain(..) {
                    cx.reply(reply, answer);
                }
            }
            Op::OnEnter(ops) => self.on_enter = ops,
            Op::StopWorkerNode => cx.send(NodeRequest::queue(cx.id().raw().node()), NodeRequest::Stop),
            // Without the hook, which would print it.
            Op::Panic => std::panic::resume_unwind(Box::new("told to")),
        }
    }
}

fn spawn<P: Policy>(which: Which, at_start: Vec<Op>, cx: &mut Context<'_, Puppet<P>>) -> Q {
    match which {
        Which::Plain => cx.spawn(Puppet::<Plain>::new(at_start)),
        Which::Oldest => cx.spawn(Puppet::<Oldest>::new(at_start)),
        Which::Newest => cx.spawn(Puppet::<Newest>::new(at_start)),
        Which::Coalescing => cx.spawn(Puppet::<Coalescing>::new(at_start)),
        Which::Fatal => cx.spawn(Puppet::<Fatal>::new(at_start)),
        Which::Stopping => cx.spawn(Puppet::<Stopping>::new(at_start)),
        Which::Restarting => cx.spawn(Puppet::<Restarting>::new(at_start)),
        Which::Nothing => cx.spawn(Puppet::<Nothing>::new(at_start)),
    }
}

impl<P: Policy> Fsm for Puppet<P> {
    const NAME: &'static str = P::NAME;
    type State = u8;
    type Message = Order;
    const QUEUE: QueuePolicy = P::QUEUE;
    const ON_PANIC: OnPanic = P::ON_PANIC;

    fn start(&mut self, cx: &mut Context<'_, Self>) -> u8 {
        self.perform(self.at_start.clone(), cx);
        0
    }

    fn handle(&mut self, state: u8, order: Order, cx: &mut Context<'_, Self>) -> Next<Self> {
        match order {
            Order::Do { then: Then::Postpone, ref ops, .. } if state == 0 => {
                self.perform(ops.clone(), cx);
                return Next::Postpone(order);
            }
            Order::Ask { act: Act::Postpone, .. } if state == 0 => return Next::Postpone(order),
            _ => {}
        }
        match order {
            Order::Do { label, ops, then, counted } => {
                let copy = Order::Do { label, ops: vec![], then, counted };
                self.notes.push(Note::Did { label, now: cx.now().as_nanos(), state, beats: cx.beats() });
                self.perform(ops, cx);
                match then {
                    Then::Stay | Then::Postpone => Next::Stay,
                    Then::Goto(to) => Next::Goto(to),
                    Then::Unhandled => Next::Unhandled(copy),
                    Then::Stop => Next::Stop,
                }
            }
            Order::Ask { label, reply, act, counted } => {
                self.notes.push(Note::Did { label, now: cx.now().as_nanos(), state, beats: 0 });
                match act {
                    Act::Answer(answer) => cx.reply(reply, answer),
                    Act::Refuse => cx.refuse(reply),
                    Act::Keep => self.kept.push(reply),
                    Act::Ignore => {}
                    Act::Unhandled => return Next::Unhandled(Order::Ask { label, reply, act, counted }),
                    Act::Postpone => cx.reply(reply, 0),
                    Act::Panic => std::panic::resume_unwind(Box::new("told to")),
                }
                Next::Stay
            }
            Order::Down(down, _) => {
                self.notes.push(Note::Down(down));
                Next::Stay
            }
            Order::Dead(letter, _) => {
                self.notes.push(Note::Dead(letter));
                Next::Stay
            }
            Order::Answer(reply, _) => {
                self.notes.push(Note::Answer(reply));
                Next::Stay
            }
            Order::Born(reply, _) => {
                self.notes.push(Note::Born(reply));
                Next::Stay
            }
        }
    }

    fn enter(&mut self, from: Option<u8>, to: u8, cx: &mut Context<'_, Self>) {
        self.notes.push(Note::Entered(from, to));
        self.perform(self.on_enter.clone(), cx);
    }

    fn coalesce_key(order: &Order) -> Option<u64> {
        match order {
            Order::Do { label, .. } => Some(u64::from(*label / 100)),
            _ => None,
        }
    }
}

pub(crate) fn kinds() -> Kinds {
    Kinds::new()
        .with::<Puppet<Plain>>()
        .with::<Puppet<Oldest>>()
        .with::<Puppet<Newest>>()
        .with::<Puppet<Coalescing>>()
        .with::<Puppet<Fatal>>()
        .with::<Puppet<Stopping>>()
        .with::<Puppet<Restarting>>()
        .with::<Puppet<Nothing>>()
        .message::<Stranger>()
        .accepts::<Order, Down>()
        .accepts::<Order, DeadLetter>()
        .replies::<Order, u32>()
        .replies::<Order, Q>()
}

/// An order that is only written down.
pub(crate) fn note(label: u32) -> Order {
    told(label, vec![])
}

/// An order to do something and stay.
pub(crate) fn told(label: u32, ops: Vec<Op>) -> Order {
    then(label, ops, Then::Stay)
}

/// An order to do something, and what then.
pub(crate) fn then(label: u32, ops: Vec<Op>, then: Then) -> Order {
    Order::Do { label, ops, then, counted: Counted::new() }
}

//! Drives one FSM, and those that it spawns, in virtual time; stands in for all that is outside of their worker.
//!
//! Each call that puts something in runs rounds until the worker is idle, each with a restored twin at its side. Time
//! moves only when the test says so. It is a test kit: it panics where it is misused, and says what to do.

use std::time::Duration;

use serde::Serialize;

use crate::{
    Codec, Counters, DownReason, External, Fault, Fsm, Kinds, Message, NoReply, Place, QueueId, RawQueueId, ReplyTo,
    Time,
    frame::{Batch, Class, Header},
    testing::{
        Setup,
        setup::Ports,
        stage::{NODE, Stage, first_queue, world},
        twin::{TwinRound, twin_round},
        world::Out,
    },
};

/// Rounds after which one call is taken to go on for ever.
const ROUNDS_MAX: u32 = 100_000;

/// An FSM under test, on a worker of its own.
///
/// ```
/// use std::time::Duration;
/// use qnfsm::{Context, Fsm, Kinds, Next, QueueId, testing::{Drive, elsewhere}};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Turnstile { coins: u64, till: Option<QueueId<Till>> }
///
/// #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
/// enum Gate { Locked, Unlocked }
///
/// #[derive(Debug, Serialize, Deserialize)]
/// enum Event { Coin, Push, Expired }
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum Till { Paid }
///
/// impl Fsm for Turnstile {
///     const NAME: &'static str = "turnstile";
///     type State = Gate;
///     type Message = Event;
///
///     fn start(&mut self, _: &mut Context<'_, Self>) -> Gate { Gate::Locked }
///
///     fn handle(&mut self, gate: Gate, event: Event, cx: &mut Context<'_, Self>) -> Next<Self> {
///         match (gate, event) {
///             (Gate::Locked, Event::Coin) => {
///                 self.coins += 1;
///                 if let Some(till) = self.till {
///                     cx.send(till, Till::Paid);
///                 }
///                 cx.state_timeout(Duration::from_secs(5), Event::Expired);
///                 Next::Goto(Gate::Unlocked)
///             }
///             (Gate::Unlocked, Event::Push | Event::Expired) => Next::Goto(Gate::Locked),
///             (_, other) => Next::Unhandled(other),
///         }
///     }
/// }
///
/// fn kinds() -> Kinds { Kinds::new().with::<Turnstile>().message::<Till>() }
///
/// let till: QueueId<Till> = elsewhere(1);
/// let mut t = Drive::new(kinds(), Turnstile { coins: 0, till: Some(till) });
/// t.tell(Event::Coin);
/// assert_eq!(t.state(), Gate::Unlocked);
/// assert_eq!(t.sent_to(till), [Till::Paid]);
///
/// t.advance(Duration::from_secs(4));
/// assert_eq!(t.state(), Gate::Unlocked);
/// t.advance(Duration::from_secs(1));
/// assert_eq!(t.state(), Gate::Locked);
/// assert_eq!(t.fsm().coins, 1);
///
/// t.tell(Event::Push);
/// assert_eq!(t.dead_letters(), 1, "nobody walks through a locked gate");
/// ```
///
/// The twin finds what an FSM keeps outside of its data:
///
/// ```should_panic
/// # use qnfsm::{Context, Fsm, Kinds, Next, testing::Drive};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize)]
/// struct Forgetful {
///     #[serde(skip)]
///     seen: u64,
///     even: bool,
/// }
/// # #[derive(Serialize, Deserialize)] enum Tick { Tick }
/// # impl Fsm for Forgetful {
/// #     const NAME: &'static str = "forgetful";
/// #     type State = ();
/// #     type Message = Tick;
/// #     fn start(&mut self, _: &mut Context<'_, Self>) {}
///     fn handle(&mut self, _: (), _: Tick, _: &mut Context<'_, Self>) -> Next<Self> {
///         self.seen += 1;
///         self.even = self.seen % 2 == 0;
///         Next::Stay
///     }
/// # }
///
/// let mut t = Drive::new(Kinds::new().with::<Forgetful>(), Forgetful { seen: 0, even: true });
/// t.tell(Tick::Tick);
/// t.tell(Tick::Tick); // panics: the twin has seen one tick, not two
/// ```
pub struct Drive<F: Fsm> {
    pub(super) stage: Stage,
    queue: QueueId<F::Message>,
    bound: u32,
    ports: Ports,
    /// What the worker put out and the test has not taken.
    pub(super) out: Vec<Out>,
    fault: Option<Fault>,
}

impl<F: Fsm> Drive<F> {
    /// Starts an FSM with the defaults of [`Setup`] and runs until nothing is left to do.
    ///
    /// # Panics
    /// When the kinds are wrong or don't name `F`, with the text of the error; where [`Drive::tell`] panics.
    #[must_use]
    pub fn new(kinds: Kinds, fsm: F) -> Drive<F> {
        Setup::new(kinds).start(fsm)
    }

    pub(super) fn start(setup: Setup, fsm: F) -> Drive<F> {
        let Setup { kinds, config, now, bound, ports } = setup;
        let catalogue = kinds.seal().unwrap_or_else(|error| panic!("Drive: the kinds are wrong: {error}"));
        let kind = Stage::kind_of::<F>(&catalogue, "Drive");
        let mut start_value = Vec::new();
        if let Err(error) = Codec::CURRENT.encode(&fsm, &mut start_value) {
            panic!("Drive: the FSM can't be encoded: {error}");
        }
        let mut stage = Stage::new(catalogue, config, now);
        stage.spawn(kind, &start_value);
        let queue = QueueId::from_raw(first_queue());
        let mut drive = Drive { stage, queue, bound, ports, out: Vec::new(), fault: None };
        drive.run();
        drive
    }

    /// The FSM's queue.
    #[must_use]
    pub fn queue(&self) -> QueueId<F::Message> {
        self.queue
    }

    /// Sends the FSM a message from outside and runs until nothing is left to do.
    ///
    /// # Panics
    /// When the restored twin goes another way than the live worker (the text names the round and the FSM); when the
    /// worker isn't idle after very many rounds; when an FSM's panic has stopped the worker already.
    pub fn tell(&mut self, message: F::Message) {
        self.tell_to(self.queue, message);
    }

    /// Sends the FSM several messages in one batch.
    ///
    /// # Panics
    /// Where [`Drive::tell`] does.
    pub fn tell_all(&mut self, messages: impl IntoIterator<Item = F::Message>) {
        for message in messages {
            self.put_message(self.queue, world(), &message);
        }
        self.run();
    }

    /// Sends the FSM a message that seems to come from that queue.
    ///
    /// # Panics
    /// Where [`Drive::tell`] does.
    pub fn tell_from<M>(&mut self, sender: QueueId<M>, message: F::Message) {
        self.put_message(self.queue, sender.raw(), &message);
        self.run();
    }

    /// Sends any queue of the worker a message; with [`QueueId::narrow`] also one of a type that the queue accepts.
    ///
    /// # Panics
    /// Where [`Drive::tell`] does, and when the kinds don't name the message type.
    pub fn tell_to<M: Message>(&mut self, to: QueueId<M>, message: M) {
        self.put_message(to, world(), &message);
        self.run();
    }

    /// Answers a request that an FSM sent to a queue elsewhere.
    ///
    /// # Panics
    /// Where [`Drive::tell`] does, and when the kinds don't name the answer's type.
    pub fn answer<A: Message>(&mut self, to: ReplyTo<A>, answer: A) {
        let (number, payload) = (self.number_of::<A>(), encoded(&answer));
        self.stage.answer(to.queue(), to.request(), number, &payload);
        self.run();
    }

    /// Says that a request will not be answered.
    ///
    /// # Panics
    /// Where [`Drive::tell`] does.
    pub fn fail<A>(&mut self, to: ReplyTo<A>, why: NoReply) {
        self.stage.fail(to.queue(), to.request(), why);
        self.run();
    }

    /// Tells all who monitor a queue elsewhere what became of it. Nothing happens if nobody does.
    ///
    /// # Panics
    /// Where [`Drive::tell`] does.
    pub fn down<M>(&mut self, queue: QueueId<M>, reason: DownReason) {
        self.stage.down(queue.raw(), &reason);
        self.run();
    }

    /// Stops an FSM of the worker from outside.
    ///
    /// # Panics
    /// Where [`Drive::tell`] does.
    pub fn stop<M>(&mut self, queue: QueueId<M>) {
        self.put(&Header::to(Class::Stop, 0, queue.raw(), world()), &());
        self.run();
    }

    /// Lets time pass. Each timer fires at its moment, in a round of its own.
    ///
    /// # Panics
    /// Where [`Drive::tell`] does.
    pub fn advance(&mut self, by: Duration) {
        let until = self.stage.now.after(by);
        let mut moments = 0;
        while let Some(due) = self.stage.worker.next_timer().filter(|due| *due <= until && self.fault.is_none()) {
            self.stage.now = self.stage.now.max(due);
            self.run();
            moments += 1;
            assert!(moments < ROUNDS_MAX, "Drive::advance: {moments} timers fired; advance less, or use `jump`");
        }
        self.stage.now = until;
    }

    /// Lets time pass at once, as if the process had slept: all that became due fires in one round, and a periodic timer
    /// that missed beats comes once, with their count.
    ///
    /// # Panics
    /// Where [`Drive::tell`] does.
    pub fn jump(&mut self, by: Duration) {
        self.stage.now = self.stage.now.after(by);
        self.run();
    }

    /// What stands in for an external port from now on. One that is asked for before the FSM has started goes into
    /// [`Setup::external`].
    pub fn external<P: External>(&mut self, answer: impl FnMut(P::Question) -> P::Answer + 'static) {
        self.ports.add::<P>(answer);
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.stage.now
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_timer(&self) -> Option<Time> {
        self.stage.worker.next_timer()
    }

    /// The FSM.
    ///
    /// # Panics
    /// When it is gone.
    #[must_use]
    pub fn fsm(&self) -> &F {
        self.inside().0
    }

    /// The FSM's state.
    ///
    /// # Panics
    /// When it is gone.
    #[must_use]
    pub fn state(&self) -> F::State {
        self.inside().1
    }

    fn inside(&self) -> (&F, F::State) {
        let why = || match &self.fault {
            Some(fault) => format!("the worker can't go on: {fault}"),
            None => "it stopped; ask `stopped()` first".to_owned(),
        };
        self.other::<F>(self.queue).unwrap_or_else(|| panic!("Drive: there is no FSM to look at: {}", why()))
    }

    /// An FSM that was spawned, and its state; `None` if it is gone or of another kind.
    #[must_use]
    pub fn other<G: Fsm>(&self, queue: QueueId<G::Message>) -> Option<(&G, G::State)> {
        self.stage.worker.fsm::<G>(queue)
    }

    /// True if the FSM is gone: it stopped, was stopped, or panicked and its kind's policy is to stop it.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stage.worker.kind_name(self.queue.raw()) != F::NAME
    }

    /// Why the worker can't go on: a handler panicked whose kind's policy is to stop the node, a queue overflowed with
    /// such a policy, an external port failed.
    #[must_use]
    pub fn panicked(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// How many messages were handled, starts of FSMs among them.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.stage.worker.counters().handled
    }

    /// How many messages could not be delivered, for whatever reason; [`Drive::counters`] tells them apart.
    #[must_use]
    pub fn dead_letters(&self) -> u64 {
        self.stage.worker.counters().dead_letters.values().sum()
    }

    /// What the worker has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        self.stage.worker.counters()
    }

    /// How many FSMs there are.
    #[must_use]
    pub fn fsms(&self) -> u32 {
        self.stage.worker.fsms()
    }

    pub(super) fn number_of<M: Message>(&self) -> u32 {
        Stage::number_of::<M>(self.stage.worker.catalogue(), "Drive")
    }

    fn put_message<M: Message>(&mut self, to: QueueId<M>, sender: RawQueueId, message: &M) {
        let (number, payload) = (self.number_of::<M>(), encoded(message));
        self.stage.tell(to.raw(), sender, number, &payload);
    }

    pub(super) fn put<T: Serialize>(&mut self, header: &Header, value: &T) {
        self.stage.put_bytes(header, &encoded(value));
    }

    /// Runs rounds until the worker is idle; the first takes what was put in.
    pub(super) fn run(&mut self) {
        if let Some(fault) = &self.fault {
            panic!("Drive: nothing can be put in any more, the worker can't go on: {fault}");
        }
        let mut batches = self.stage.take_batches();
        for _ in 0..ROUNDS_MAX {
            let Drive { stage, ports, .. } = self;
            let TwinRound { end, outputs } = twin_round(&mut stage.worker, stage.now, &batches, self.bound, ports)
                .unwrap_or_else(|apart| panic!("Drive: {apart}"));
            batches.clear();
            if end.fault.is_some() {
                // What a round puts out leaves only when it has ended.
                self.fault = end.fault;
                return;
            }
            for (place, batch) in outputs {
                self.take_outputs(place, &batch);
            }
            if end.idle {
                return;
            }
        }
        panic!(
            "Drive: the worker isn't idle after {ROUNDS_MAX} rounds of {} messages; an FSM sends itself messages, or two \
             send them to each other, without end",
            self.bound
        );
    }

    fn take_outputs(&mut self, place: Place, batch: &Batch) {
        for frame in batch.as_ref().frames() {
            let frame = frame.expect("a worker puts out whole frames");
            let crate::frame::Frame { header, payload } = frame;
            let to = RawQueueId::new(NODE, place, header.slot, header.generation);
            self.out.push(Out { to, header, payload: payload.to_vec() });
        }
    }
}

/// The bytes of a value that the test puts in.
fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = Codec::CURRENT.encode(value, &mut bytes) {
        panic!("Drive: a value that the test puts in can't be encoded: {error}");
    }
    bytes
}

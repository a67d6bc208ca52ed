//! The whole world of an FSM: what a handler can see and what it can ask for.

use std::{
    any::{Any, type_name},
    borrow::Cow,
    panic,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    codec::{Codec, Trust},
    fsm::{
        Fsm, OnPanic,
        effects::{Effect, Effects, Externals, Halt, Own, Sending, TimerName},
        pool::{Lent, MessageRef, Pool},
        resource::{Resource, Resources},
    },
    id::{QueueId, RawQueueId, RequestId, WorkerId},
    message::{DeadLetter, Down, Message, Reply, ReplyTo},
    random::Random,
    time::Time,
};

/// A timer that was set, to cancel it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimerId(pub(crate) u64);

/// A value that is read from outside the worker, without side effects: a configuration, a price, a file's content.
///
/// What the port answers is recorded before the FSM gets it, and a replay gives what was recorded.
pub trait External: 'static {
    /// The port's name; it stands in journals.
    const NAME: &'static str;
    /// What is asked.
    type Question: Message;
    /// What comes back.
    type Answer: Message;
}

/// What a handler sees and asks through. Nothing that it asks for fails in its face, and nothing happens before the
/// handler has returned; if it panics, nothing happens at all.
pub struct Context<'a, F: Fsm> {
    effects: &'a mut Effects,
    pools: Lent<'a, F::Message>,
    own: &'a mut Own,
    externals: &'a mut dyn Externals,
    resources: &'a Resources,
    sender: RawQueueId,
    beats: u64,
    of: std::marker::PhantomData<fn(F)>,
}

impl<'a, F: Fsm> Context<'a, F> {
    pub(crate) fn new(
        effects: &'a mut Effects,
        pools: Lent<'a, F::Message>,
        own: &'a mut Own,
        externals: &'a mut dyn Externals,
        resources: &'a Resources,
        sender: RawQueueId,
        beats: u64,
    ) -> Context<'a, F> {
        Context { effects, pools, own, externals, resources, sender, beats, of: std::marker::PhantomData }
    }

    /// The FSM's own queue.
    #[must_use]
    pub fn id(&self) -> QueueId<F::Message> {
        QueueId::from_raw(self.own.queue)
    }

    /// The worker that the FSM lives in.
    #[must_use]
    pub fn worker(&self) -> WorkerId {
        self.effects.worker
    }

    /// The time of the batch. It does not move while a round runs.
    #[must_use]
    pub fn now(&self) -> Time {
        self.effects.now
    }

    /// The queue of who sent the message; the own one for timers, self-sent messages and [`Fsm::start`].
    #[must_use]
    pub fn sender(&self) -> RawQueueId {
        self.sender
    }

    /// How many beats of a periodic timer this message stands for: 1, or more if beats were missed; 0 for a message
    /// that no periodic timer sent.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.beats
    }

    /// The FSM's own random numbers.
    pub fn random(&mut self) -> Random<'_> {
        Random::new(&mut self.own.generator, &mut self.effects.digest)
    }

    /// Puts a message into a queue. What can't be delivered becomes a dead letter.
    // In line, so that the message is made where it is to lie, also one of another type.
    #[inline(always)]
    pub fn send<M: Message>(&mut self, to: QueueId<M>, message: M) {
        if let Some((type_number, message)) = self.stage(message) {
            self.effects.sends.push(Sending { to: to.raw(), type_number, message, request: None });
        }
    }

    /// Puts a message ahead of all others in the own queue; several keep their order.
    pub fn send_self(&mut self, message: F::Message) {
        if let Some((type_number, message)) = self.stage(message) {
            self.effects.push(Effect::SendSelf { type_number, message });
        }
    }

    /// Asks a queue for an answer. `message` gets the address that the answer goes to.
    ///
    /// Exactly one [`Reply`] comes back as a message: the answer, or why there is none, at the latest when `deadline`
    /// has passed. The kinds declare that with [`Kinds::replies`](crate::Kinds::replies).
    pub fn request<M: Message, A: Message>(
        &mut self,
        to: QueueId<M>,
        deadline: Duration,
        message: impl FnOnce(ReplyTo<A>) -> M,
    ) -> RequestId
    where
        F::Message: From<Reply<A>>,
    {
        let (request, reply_to) = self.begin_request::<A>(deadline);
        if let Some((type_number, message)) = self.stage(message(reply_to)) {
            self.effects.sends.push(Sending { to: to.raw(), type_number, message, request: Some(request) });
        }
        request
    }

    /// Appends the wait for an answer of type `A`.
    fn begin_request<A: Message>(&mut self, deadline: Duration) -> (RequestId, ReplyTo<A>)
    where
        F::Message: From<Reply<A>>,
    {
        self.own.requests += 1;
        let request = RequestId(self.own.requests);
        let deadline = self.effects.now.after(deadline);
        match self.effects.numbers.message::<A>() {
            Some(answer) if self.effects.numbers.answers(self.own.message, answer) => {
                let timer = self.effects.allot_timer();
                self.effects.push(Effect::Await { request, deadline, timer, answer });
            }
            _ => {
                let (message, answer) = (type_name::<F::Message>(), type_name::<A>());
                self.effects.unregistered(
                    self.effects.numbers.are_partial(),
                    format_args!("message type {message} is not registered to take answers of type {answer}"),
                    format_args!("replies::<{message}, {answer}>()`"),
                );
            }
        }
        (request, ReplyTo::new(self.own.queue, request, deadline))
    }

    /// Answers a request. An answer that comes after the asker stopped waiting is a dead letter.
    pub fn reply<A: Message>(&mut self, to: ReplyTo<A>, answer: A) {
        if let Some((type_number, message)) = self.stage(answer) {
            self.effects.push(Effect::Reply { to: to.queue(), request: to.request(), type_number, message });
        }
    }

    /// Tells the asker that there will be no answer ([`NoReply::Failed`](crate::NoReply::Failed)).
    pub fn refuse<A>(&mut self, to: ReplyTo<A>) {
        self.effects.push(Effect::Fail { to: to.queue(), request: to.request() });
    }

    /// Stops waiting for an answer; none comes any more.
    pub fn cancel_request(&mut self, request: RequestId) {
        self.effects.push(Effect::CancelRequest { request });
    }

    /// Sends a message to itself after `delay`, unless the state changes before. There is one for each state: setting
    /// it anew replaces it. Set by a handler that goes to another state, it belongs to the new state.
    pub fn state_timeout(&mut self, delay: Duration, message: F::Message) {
        self.set_timer(TimerName::State, delay, None, message);
    }

    /// Ends the state timeout.
    pub fn cancel_state_timeout(&mut self) {
        self.cancel_named(TimerName::State);
    }

    /// Sends a message to itself after `delay`, once.
    pub fn after(&mut self, delay: Duration, message: F::Message) -> TimerId {
        self.set_timer(TimerName::Unnamed, delay, None, message)
    }

    /// Sends a message to itself after `delay`, once; replaces the timer of the same name.
    pub fn timer(&mut self, name: impl Into<Cow<'static, str>>, delay: Duration, message: F::Message) -> TimerId {
        self.set_timer(TimerName::Named(name.into()), delay, None, message)
    }

    /// Sends the message to itself every `period`; replaces the timer of the same name. Beats that were missed come as
    /// one message, and [`Context::beats`] counts them. A period below a microsecond is taken for one.
    pub fn every(&mut self, name: impl Into<Cow<'static, str>>, period: Duration, message: F::Message) -> TimerId {
        let period = period.max(Duration::from_micros(1));
        self.set_timer(TimerName::Named(name.into()), period, Some(period), message)
    }

    /// Cancels the timer of that name. It is not delivered any more, even when it has fired and waits.
    pub fn cancel_timer(&mut self, name: impl Into<Cow<'static, str>>) {
        self.cancel_named(TimerName::Named(name.into()));
    }

    /// Cancels a timer. It is not delivered any more, even when it has fired and waits.
    pub fn cancel(&mut self, timer: TimerId) {
        self.effects.push(Effect::CancelTimer { timer });
    }

    fn cancel_named(&mut self, name: TimerName) {
        let name = self.effects.add_name(name);
        self.effects.push(Effect::CancelNamed { name });
    }

    /// Puts a message into its pool; the own type's is the one that most handlers use.
    #[inline(always)]
    fn stage<M: Message>(&mut self, message: M) -> Option<(u32, MessageRef)> {
        // Which of the two it is is known when the program is compiled.
        let own: &mut dyn Any = &mut *self.pools.own;
        if let Some(own) = own.downcast_mut::<Pool<M>>() {
            return Some((self.own.message, own.put(message)));
        }
        let number = self.effects.message_number::<M>()?;
        Some((number, self.pools.other::<M>(number).put(message)))
    }

    fn set_timer(
        &mut self,
        name: TimerName,
        delay: Duration,
        period: Option<Duration>,
        message: F::Message,
    ) -> TimerId {
        let timer = self.effects.allot_timer();
        let deadline = self.effects.now.after(delay);
        let period_ns = period.map(|period| u64::try_from(period.as_nanos()).unwrap_or(u64::MAX));
        if period_ns.is_some() {
            self.effects.check_carried("the message of a periodic timer", &message);
        }
        if let Some((type_number, message)) = self.stage(message) {
            self.effects.digest.mix(deadline.as_nanos());
            let name = self.effects.add_name(name);
            self.effects.push(Effect::SetTimer { timer, name, deadline, period_ns, type_number, message });
        }
        timer
    }

    /// Creates an FSM in this worker and names its queue. It starts when the handler has returned.
    pub fn spawn<G: Fsm>(&mut self, fsm: G) -> QueueId<G::Message> {
        let Some(kind) = self.effects.numbers.kind::<G>() else {
            self.effects.unregistered_kind::<G>();
            return QueueId::from_raw(RawQueueId::new(self.own.queue.node(), self.own.queue.place(), u32::MAX, 0));
        };
        if let OnPanic::Restart { .. } = G::ON_PANIC {
            self.effects.check_carried("the start value of an FSM that is to be restarted", &fsm);
        }
        let (slot, generation) = self.effects.slots.allot();
        let queue = RawQueueId::new(self.own.queue.node(), self.own.queue.place(), slot, generation);
        let value = self.effects.nurseries.of::<G>(kind).put(fsm);
        self.effects.push(Effect::Spawn { queue, kind, value });
        QueueId::from_raw(queue)
    }

    /// Asks another worker to create an FSM. Its ID is allotted there and comes back as the answer.
    pub fn spawn_on<G: Fsm>(&mut self, worker: WorkerId, fsm: G, deadline: Duration) -> RequestId
    where
        F::Message: From<Reply<QueueId<G::Message>>>,
    {
        let (request, _) = self.begin_request::<QueueId<G::Message>>(deadline);
        match self.effects.numbers.kind::<G>() {
            Some(kind) => {
                let value = self.effects.nurseries.of::<G>(kind).put(fsm);
                self.effects.push(Effect::SpawnOn { worker, kind, value, request });
            }
            None => self.effects.unregistered_kind::<G>(),
        }
        request
    }

    /// Stops the FSM of a queue, or closes an edge's connection. What waits in the queue becomes dead letters.
    pub fn stop<M>(&mut self, queue: QueueId<M>) {
        self.effects.push(Effect::Stop { queue: queue.raw() });
    }

    /// Be told once, by a [`Down`], when a queue is gone; at once if it is gone already. Watching a queue twice is
    /// the same as once.
    pub fn monitor<M>(&mut self, queue: QueueId<M>)
    where
        F::Message: From<Down>,
    {
        if self.takes::<Down>() {
            self.effects.push(Effect::Watch { queue: queue.raw() });
        }
    }

    /// No longer be told.
    pub fn unmonitor<M>(&mut self, queue: QueueId<M>) {
        self.effects.push(Effect::Unwatch { queue: queue.raw() });
    }

    /// Be told of the worker's dead letters, or no longer. A dead letter about a [`DeadLetter`] is only counted.
    pub fn dead_letters(&mut self, wanted: bool)
    where
        F::Message: From<DeadLetter>,
    {
        if self.takes::<DeadLetter>() {
            self.effects.push(Effect::DeadLetters { wanted });
        }
    }

    /// Checks that the FSM's message type declares to take `R`; anything else is misuse.
    fn takes<R: Message>(&mut self) -> bool {
        let numbers = &self.effects.numbers;
        let takes = numbers.message::<R>().is_some_and(|number| numbers.accepts(self.own.message, number));
        if !takes {
            let (message, taken) = (type_name::<F::Message>(), type_name::<R>());
            self.effects.unregistered(
                self.effects.numbers.are_partial(),
                format_args!("message type {message} is not registered to take {taken}"),
                format_args!("accepts::<{message}, {taken}>()`"),
            );
        }
        takes
    }

    /// Reads a value from outside through a port of the node's. It is recorded before it is returned.
    ///
    /// The node's driver is asked while the handler waits, so a port must answer quickly and change nothing; for calls
    /// to services use a request to a service edge.
    pub fn external<P: External>(&mut self, question: &P::Question) -> P::Answer {
        let mut asked = Vec::new();
        let read = Codec::CURRENT
            .encode(question, &mut asked)
            .map_err(|error| ExternalFaultText::of(P::NAME, "the question", &error))
            .and_then(|()| {
                self.externals.read(self.effects.worker, P::NAME, &asked).map_err(|fault| ExternalFaultText(fault.0))
            })
            .and_then(|answer| {
                self.effects.digest.mix_bytes(&answer);
                Codec::CURRENT
                    .decode(&answer, Trust::Node)
                    .map_err(|error| ExternalFaultText::of(P::NAME, "the answer", &error))
            });
        read.unwrap_or_else(|ExternalFaultText(text)| self.halt(text))
    }

    /// The large table of that type which the program registered with [`Kinds::resource`](crate::Kinds::resource). The reference
    /// outlives the borrow of the context, so that one can read and send; [`Kinds::resource`](crate::Kinds::resource) shows it.
    ///
    /// # Panics
    /// When the program registered none, with a text that says what to add. As with any panic of a handler,
    /// [`Fsm::ON_PANIC`] decides what follows.
    #[must_use]
    pub fn resource<T: Resource>(&self) -> &'a T {
        self.resources.see().unwrap_or_else(|| unregistered_resource::<T>())
    }

    /// Which version of a behaviour applies, where this program has `latest`: so that journals of before its change replay the old way.
    ///
    /// While a node runs that is `latest`, which is recorded when the worker first uses it. In what is replayed, or played back when a
    /// node comes back, it is what was recorded by then: 0 before the behaviour had any version.
    ///
    /// ```
    /// # use qnfsm::{Context, Fsm, Next};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Till { cents: u64 }
    /// # impl Fsm for Till {
    /// #     const NAME: &'static str = "till";
    /// #     type State = ();
    /// #     type Message = u64;
    /// #     fn start(&mut self, _: &mut Context<'_, Self>) {}
    /// fn handle(&mut self, (): (), cents: u64, cx: &mut Context<'_, Self>) -> Next<Self> {
    ///     self.cents += match cx.version("discount", 1) {
    ///         0 => cents,
    ///         _ => cents - cents / 10,
    ///     };
    ///     Next::Stay
    /// }
    /// # }
    /// ```
    ///
    /// The name stands in journals; it is the same for all FSMs of a worker. A version is of the worker and not of an FSM: from its
    /// first use on, all FSMs there get it.
    pub fn version(&mut self, name: &'static str, latest: u32) -> u32 {
        let known = self.effects.versions.get(name).copied().unwrap_or(0);
        let version = match self.externals.version(self.effects.worker, name, known, latest) {
            Ok(version) => version,
            Err(fault) => self.halt(fault.0),
        };
        if version != known {
            self.effects.digest.mix_bytes(name.as_bytes());
            self.effects.digest.mix(u64::from(version));
            self.effects.versions.insert(name.to_owned(), version);
        }
        version
    }

    /// The handler can't go on without a value, and no value may be made up: the worker ends here.
    fn halt(&mut self, text: String) -> ! {
        self.effects.halt(super::effects::ExternalFault(text));
        panic::resume_unwind(Box::new(Halt));
    }
}

#[cold]
fn unregistered_resource<T: Resource>() -> ! {
    let resource = type_name::<T>();
    panic!(
        "resource {resource} is not registered; add `Kinds::resource::<{resource}>(…)` to the function that names the kinds"
    );
}

struct ExternalFaultText(String);

impl ExternalFaultText {
    fn of(port: &str, what: &str, error: &dyn std::error::Error) -> ExternalFaultText {
        ExternalFaultText(format!("external port {port}: {what} can't pass the codec: {error}"))
    }
}

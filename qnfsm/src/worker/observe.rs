//! What a driver that looks on is shown of a round: each handler just before it runs, and just after it has returned, when nothing of
//! what it asked for is done yet.
//!
//! Who looks changes nothing: an observed round does what it would have done, and has the same digest. What is shown is encoded or
//! copied only where it is asked for.
//!
//! A message says where it comes from. A worker counts what *happens* in it: the feed of each round, and each delivery. What happens
//! while a message is put into a queue, or a timer is set, is noted with the message, by its number; so that whoever looks
//! can walk back from a message to the handler that sent it. The number is no part of the worker's state and stands in no
//! image, because nothing depends on it: [`Worker::origins`] takes such numbers aside, for who restores a worker and wants to know
//! them still.

use std::any::Any;

use crate::{
    codec::EncodeError,
    fsm::{Effect, Fsm, Handler, MessageRef, Sending, TimerId, TimerName},
    id::{RawQueueId, RequestId, WorkerId},
    message::Message,
    time::Time,
    worker::{
        FaultKind, Skip, Worker,
        cell::Outcome,
        envelope::{Claim, Envelope},
        typed_cell::Cell,
    },
};

/// Who looks on while a worker runs a round.
pub trait Observer {
    /// A handler is about to run; on a message, unless it is a start handler or an enter action.
    fn before(&mut self, at: At<'_>, came: Option<Came<'_>>) {
        let _ = (at, came);
    }

    /// That handler has ended, and nothing of what it asked for is done yet. What a handler that ended badly had asked for is
    /// shown no more: none of it happens.
    fn after(&mut self, at: At<'_>, end: &End, asked: AskedAll<'_>) {
        let _ = (at, end, asked);
    }

    /// The round has ended.
    fn round_ended(&mut self, worker: &Worker) {
        let _ = worker;
    }
}

/// A handler of an FSM, at a moment of a round.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The worker, as it is now. A handler's FSM is in it.
    pub worker: &'a Worker,
    /// The FSM's queue.
    pub queue: RawQueueId,
    /// Which of its handlers.
    pub handler: Handler,
    /// The number of the delivery within the round, from 1. An enter action belongs to the delivery that changed the state.
    pub delivery: u32,
}

impl<'a> At<'a> {
    /// The number of the FSM's kind.
    #[must_use]
    pub fn kind(&self) -> u32 {
        self.worker.seat(self.queue).map_or(u32::MAX, |seat| seat.kind)
    }

    /// Appends the FSM's data, as they stand in an image.
    ///
    /// # Errors
    /// When they can't be encoded, such as when values nest too deep.
    pub fn encode_data(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.worker.encode_data(self.queue, out)
    }

    /// Appends the FSM's state; nothing before its start handler has run.
    ///
    /// # Errors
    /// As [`encode_data`](At::encode_data).
    pub fn encode_state(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.worker.encode_state(self.queue, out)
    }

    /// The FSM, if it is of that kind, and its state; none before its start handler has run.
    #[must_use]
    pub fn fsm<F: Fsm>(&self) -> Option<(&'a F, Option<F::State>)> {
        let cell: &dyn Any = self.worker.seat(self.queue)?.cell.as_deref()?;
        Some(cell.downcast_ref::<Cell<F>>()?.inside())
    }

    /// The number of what happens, among all that has happened in the worker.
    #[must_use]
    pub fn happening(&self) -> u64 {
        self.worker.happenings() + u64::from(self.delivery)
    }
}

/// A message that a handler is about to be given.
#[derive(Clone, Copy)]
pub struct Came<'a> {
    /// Who sent it; the FSM itself, if it is a timer's or the outcome of a request.
    pub sender: RawQueueId,
    /// The number of its type: that of the FSM's queue.
    pub type_number: u32,
    /// As what it came.
    pub as_what: CameAs,
    /// The number of what happened when it was put into the queue, or its timer set: the feed of a round or a delivery. None, if it
    /// was there when the worker was restored, by who had not kept its [`Origins`].
    pub happening: Option<u64>,
    worker: &'a Worker,
    message: MessageRef,
}

/// As what a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameAs {
    /// As a message, and nothing more.
    Message,
    /// As a request, to be answered.
    Request(RequestId),
    /// As what came of a request of the FSM's own.
    Outcome(RequestId),
    /// As news of a queue that it monitors.
    News,
    /// As a timer's, for so many beats if it is a periodic one.
    Timer {
        /// Beats that it stands for; 0, if the timer isn't periodic.
        beats: u64,
    },
}

impl<'a> Came<'a> {
    /// Appends the message's bytes, as they cross the perimeter.
    ///
    /// # Errors
    /// When it can't be encoded.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.worker.pools.see(self.type_number).encode(self.message, out)
    }

    /// The message, if it is of that type.
    #[must_use]
    pub fn message<M: Message>(&self) -> Option<&'a M> {
        let Worker { pools, effects, .. } = self.worker;
        let is = effects.numbers.message::<M>() == Some(self.type_number);
        is.then(|| pools.message(self.type_number, self.message))
    }
}

/// How a handler ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The state is as it was.
    Stayed,
    /// The state is another; its enter action is next, unless the FSM stopped itself.
    Changed,
    /// The message is kept until the state changes.
    Postponed,
    /// The message was of no use in this state.
    Unhandled,
    /// The FSM is done.
    Stopped,
    /// It panicked, or did what no handler may; what its kind's policy says is done next.
    Failed(FaultKind),
    /// It was not run, because it is on record that it doesn't end.
    Skipped(Skip),
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> End {
        match outcome {
            Outcome::Stayed => End::Stayed,
            Outcome::Changed => End::Changed,
            Outcome::Postponed(_) => End::Postponed,
            Outcome::Unhandled => End::Unhandled,
            Outcome::Stop => End::Stopped,
        }
    }
}

/// All that a handler asked for, in the order in which it asked.
#[derive(Clone, Copy)]
pub struct AskedAll<'a>(Option<&'a Worker>);

impl<'a> AskedAll<'a> {
    /// One after another.
    pub fn iter(&self) -> impl Iterator<Item = Asked<'a>> + use<'a> {
        let worker = self.0;
        let (mut sent, mut at) = (0, 0);
        std::iter::from_fn(move || {
            let worker = worker?;
            let effects = &worker.effects;
            match effects.others.get(at) {
                Some((sends_before, effect)) if sent == *sends_before => {
                    at += 1;
                    Some(Asked::other(worker, effect))
                }
                _ => {
                    sent += 1;
                    Some(Asked::send(worker, effects.sends.get(sent - 1)?))
                }
            }
        })
    }
}

/// One thing that a handler asked for.
#[derive(Clone)]
pub struct Asked<'a> {
    /// What.
    pub what: Ask,
    worker: &'a Worker,
    /// The message or the start value that goes with it, and the number of its type or kind.
    value: Option<(u32, MessageRef)>,
}

/// What a handler can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields' names say it")]
pub enum Ask {
    /// To send a message; as a request, if it has a number.
    Send { to: RawQueueId, request: Option<RequestId> },
    /// To put a message into its own queue, ahead of all others.
    SendSelf,
    /// To answer a request.
    Reply { to: RawQueueId, request: RequestId },
    /// To say that a request will not be answered.
    Fail { to: RawQueueId, request: RequestId },
    /// To wait for an answer until then.
    Await { request: RequestId, deadline: Time },
    /// To wait for it no longer.
    CancelRequest { request: RequestId },
    /// To be sent a message then.
    SetTimer { timer: TimerId, name: TimerName, deadline: Time, period_ns: Option<u64> },
    /// To cancel the timer with that number.
    CancelTimer { timer: TimerId },
    /// To cancel the timer of that name.
    CancelNamed { name: TimerName },
    /// To create an FSM, whose queue this is.
    Spawn { queue: RawQueueId },
    /// To create one on another worker.
    SpawnOn { worker: WorkerId, request: RequestId },
    /// To stop an FSM.
    Stop { queue: RawQueueId },
    /// To be told when that queue is gone.
    Watch { queue: RawQueueId },
    /// To be told no longer.
    Unwatch { queue: RawQueueId },
    /// To be told of dead letters, or no longer.
    DeadLetters { wanted: bool },
}

impl<'a> Asked<'a> {
    fn send(worker: &'a Worker, sending: &Sending) -> Asked<'a> {
        let Sending { to, type_number, message, request } = *sending;
        Asked { what: Ask::Send { to, request }, worker, value: Some((type_number, message)) }
    }

    fn other(worker: &'a Worker, effect: &Effect) -> Asked<'a> {
        let named = |name| worker.effects.name(name).clone();
        let what = match *effect {
            Effect::SendSelf { .. } => Ask::SendSelf,
            Effect::Reply { to, request, .. } => Ask::Reply { to, request },
            Effect::Fail { to, request } => Ask::Fail { to, request },
            Effect::Await { request, deadline, .. } => Ask::Await { request, deadline },
            Effect::CancelRequest { request } => Ask::CancelRequest { request },
            Effect::SetTimer { timer, name, deadline, period_ns, .. } => {
                Ask::SetTimer { timer, name: named(name), deadline, period_ns }
            }
            Effect::CancelTimer { timer } => Ask::CancelTimer { timer },
            Effect::CancelNamed { name } => Ask::CancelNamed { name: named(name) },
            Effect::Spawn { queue, .. } => Ask::Spawn { queue },
            Effect::SpawnOn { worker, request, .. } => Ask::SpawnOn { worker, request },
            Effect::Stop { queue } => Ask::Stop { queue },
            Effect::Watch { queue } => Ask::Watch { queue },
            Effect::Unwatch { queue } => Ask::Unwatch { queue },
            Effect::DeadLetters { wanted } => Ask::DeadLetters { wanted },
        };
        Asked { what, worker, value: effect.message().or_else(|| effect.start_value()) }
    }

    /// The number of the type of the message that goes with it, or of the kind whose start value does.
    #[must_use]
    pub fn type_number(&self) -> Option<u32> {
        self.value.map(|(number, _)| number)
    }

    /// Appends the message or the start value that goes with it, as it crosses the perimeter; nothing, where none does.
    ///
    /// # Errors
    /// When it can't be encoded.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let Worker { pools, effects, .. } = self.worker;
        let Some((number, value)) = self.value else { return Ok(()) };
        match &self.what {
            Ask::Spawn { .. } | Ask::SpawnOn { .. } => effects.nurseries.see(number).encode(value, out),
            _ => pools.see(number).encode(value, out),
        }
    }
}

/// Where all that waits in a worker comes from, in the order in which it stands in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<u32>);

impl Origins {
    /// How much memory they take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len() * size_of::<u32>()
    }
}

impl Worker {
    /// Has its rounds from the next one on observed, or no longer.
    pub fn set_observer(&mut self, observer: Option<Box<dyn Observer + Send>>) {
        self.observer = observer;
    }

    /// Where all that waits comes from, to be given to a worker that is restored from an image of this one.
    #[must_use]
    pub fn origins(&mut self) -> Origins {
        let mut origins = Origins::default();
        self.each_origin(|origin| origins.0.push(*origin));
        origins
    }

    /// Takes over where all that waits comes from. Origins of another worker, or another moment, would tell of what never was.
    pub fn set_origins(&mut self, origins: &Origins) {
        let mut all = origins.0.iter();
        self.each_origin(|origin| *origin = all.next().copied().unwrap_or_default());
    }

    fn each_origin(&mut self, mut see: impl FnMut(&mut u32)) {
        let Worker { seats, envelopes, .. } = self;
        for seat in seats.iter_mut().filter(|seat| seat.cell.is_some()) {
            seat.waiting.each_origin(envelopes, &mut see);
        }
    }

    /// How many feeds and deliveries the worker has seen, up to the feed of the round that runs.
    #[must_use]
    pub fn happenings(&self) -> u64 {
        self.counters.handled + self.round
    }

    /// Who observes is shown something of the worker, and is put back.
    fn show(&mut self, queue: RawQueueId, handler: Handler, show: impl FnOnce(&mut dyn Observer, At<'_>)) {
        let Some(mut observer) = self.observer.take() else { return };
        let delivery = self.care.as_ref().map_or(0, |care| care.delivered);
        show(&mut *observer, At { worker: self, queue, handler, delivery });
        self.observer = Some(observer);
    }

    /// A round has ended.
    pub(super) fn show_round_end(&mut self) {
        if let Some(mut observer) = self.observer.take() {
            observer.round_ended(self);
            self.observer = Some(observer);
        }
    }

    /// A handler is about to run; with a message, if it is given.
    pub(super) fn show_before(&mut self, queue: RawQueueId, handler: Handler, envelope: Option<Envelope>) {
        self.show(queue, handler, |observer, at| {
            let worker = at.worker;
            let came = envelope.zip(worker.seat(queue)).map(|(envelope, seat)| {
                let Envelope { sender, claim, message, origin, .. } = envelope;
                let age = low_half(at.happening()).wrapping_sub(origin);
                let happening = at.happening().checked_sub(u64::from(age)).filter(|_| origin != 0);
                let as_what = claim.into();
                Came { sender, type_number: seat.intake.message, as_what, happening, worker, message }
            });
            observer.before(at, came);
        });
    }

    /// A handler has returned.
    pub(super) fn show_after(&mut self, queue: RawQueueId, handler: Handler, outcome: Outcome) {
        self.show(queue, handler, |observer, at| observer.after(at, &outcome.into(), AskedAll(Some(at.worker))));
    }

    /// A handler ended badly, or is not run.
    pub(super) fn show_no_end(&mut self, queue: RawQueueId, handler: Handler, end: &End) {
        self.show(queue, handler, |observer, at| observer.after(at, end, AskedAll(None)));
    }
}

/// The lower half of a number.
pub(super) fn low_half(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).expect("it was cut to 32 bits")
}

impl From<Claim> for CameAs {
    fn from(claim: Claim) -> CameAs {
        match claim {
            Claim::Nothing => CameAs::Message,
            Claim::Request(request) => CameAs::Request(request),
            Claim::Outcome(request) => CameAs::Outcome(request),
            Claim::News => CameAs::News,
            Claim::Beat { beats } => CameAs::Timer { beats },
        }
    }
}

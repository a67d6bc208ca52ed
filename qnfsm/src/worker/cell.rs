//! A cell: one FSM with its queue and all that waits for it. The only place that knows the FSM's type.
//!
//! A cell never reaches out: it takes messages in, runs one handler, and says what came of it. Whom to wake, what to
//! drop and what to tell others is the worker's business.

use std::{any::Any, collections::VecDeque, mem};

use serde::{Deserialize, Serialize};

use crate::{
    codec::{Codec, DecodeError, EncodeError, Trust},
    fsm::{
        AnyOutbox, Context, Effects, Externals, Fsm, Handler, Next, OnPanic, Outbox, Overflow, Own, TimerId, TimerName,
        WhichTimer,
    },
    id::{RawQueueId, RequestId},
    message::{NoReply, Undelivered},
    random::Generator,
    time::Time,
    worker::{
        image::COUNT_MAX,
        kinds::{Catalogue, CellSetup},
        timers::{Due, TimerKey},
        waiting::{Beat, Claim, Dropped, Envelope, Extras, Fired, Pending, Sent, SetTimer},
    },
};

/// What came of a handler that returned.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// The state is as it was.
    Stayed,
    /// The state is another; its enter action, and then the postponed messages, are due.
    Changed { state_timer: Option<TimerKey> },
    /// The message was of no use.
    Unhandled(Sent),
    /// The handler wants the message again in another state, and there is no room for it.
    PostponedTooMany(Sent),
    /// The FSM is done.
    Stop,
}

/// One FSM and all that waits for it.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Cell<F: Fsm> {
    fsm: F,
    /// `None` until the start handler has run.
    state: Option<F::State>,
    /// The state that was left, from the handler's return to the enter action.
    #[serde(skip)]
    left: Option<F::State>,
    state_digest: u64,
    own: Own,
    queue: VecDeque<Envelope<F::Message>>,
    /// A timer's message is next, if one waits; timers and queue take turns.
    timers_next: bool,
    extras: Option<Box<Extras<F::Message>>>,
    /// For kinds that are restarted after a panic.
    start_value: Option<Box<[u8]>>,
    restarts: u32,
    kind: u32,
}

/// A message on its way into the handler.
struct Incoming<M> {
    sender: RawQueueId,
    claim: Claim,
    beats: u64,
    message: M,
}

/// A cell whose FSM type is not known here.
pub(crate) trait AnyCell: Send {
    fn queue(&self) -> RawQueueId;
    fn kind(&self) -> u32;
    /// The number of its message type.
    fn message_type(&self) -> u32;
    /// Something waits for the handler, or the FSM has yet to start.
    fn has_work(&self) -> bool;
    /// The bytes that its waiting messages take, without what they point to.
    fn queued_bytes(&self) -> u64;
    /// Runs the start handler if that is due, or else the handler on the next message.
    fn handle_next(&mut self, effects: &mut Effects, externals: &mut dyn Externals, everything: bool) -> Outcome;
    /// Runs the enter action of the state that was just entered.
    fn enter(&mut self, effects: &mut Effects, externals: &mut dyn Externals);
    /// The state has changed: the postponed messages come ahead of the queue.
    fn unpostpone(&mut self);

    /// Takes the front message of an outbox.
    fn accept(
        &mut self,
        outbox: &mut dyn AnyOutbox,
        type_number: u32,
        sent: Sent,
        catalogue: &Catalogue,
        always: bool,
    ) -> Result<(), Dropped>;
    /// Takes the message of a frame.
    fn accept_frame(
        &mut self,
        payload: &[u8],
        type_number: u32,
        sent: Sent,
        catalogue: &Catalogue,
        trust: Trust,
    ) -> Result<(), (Dropped, Option<DecodeError>)>;
    /// Takes an answer from the front of an outbox. Gives the key of the request's deadline.
    fn accept_answer(
        &mut self,
        outbox: &mut dyn AnyOutbox,
        type_number: u32,
        request: RequestId,
        catalogue: &Catalogue,
    ) -> Option<TimerKey>;
    /// Takes an answer from a frame.
    fn accept_answer_frame(
        &mut self,
        payload: &[u8],
        type_number: u32,
        request: RequestId,
        catalogue: &Catalogue,
    ) -> Result<Option<TimerKey>, DecodeError>;
    /// A request has no answer. Gives the key of its deadline if it was under way.
    fn fail_request(&mut self, request: RequestId, why: NoReply, catalogue: &Catalogue) -> Option<TimerKey>;
    /// Puts the front message of the own type's outbox ahead of all others.
    fn accept_ahead(&mut self, outbox: &mut dyn AnyOutbox);

    /// Sets a timer with the front message of the own type's outbox; gives the key of the one that it replaces.
    fn set_timer(
        &mut self,
        outbox: &mut dyn AnyOutbox,
        key: TimerKey,
        name: TimerName,
        period_ns: Option<u64>,
    ) -> Result<Option<TimerKey>, String>;
    /// Cancels a timer, fired or not; gives its key if it had yet to fire.
    fn cancel_timer(&mut self, which: &WhichTimer) -> Option<TimerKey>;
    /// A timer is due. Gives the key of its next beat.
    fn fire(&mut self, timer: TimerId, now: Time) -> Option<TimerKey>;
    /// A request is under way from now on.
    fn await_answer(&mut self, request: RequestId, key: TimerKey, answer: u32);
    /// Stops waiting for an answer, and drops it if it has come already; gives the key of the request's deadline.
    fn cancel_request(&mut self, request: RequestId) -> Option<TimerKey>;
    /// True if the request is under way.
    fn awaits(&self, request: RequestId) -> bool {
        self.awaited_answer(request).is_some()
    }
    /// The number of the type of answer that the request waits for.
    fn awaited_answer(&self, request: RequestId) -> Option<u32>;

    fn watched(&mut self) -> &mut Vec<RawQueueId>;

    /// What a panic asks for.
    fn on_panic(&self) -> OnPanic;
    /// Starts over from the start value. Gives the postponed messages and the keys of the timers that ended with it.
    fn restart(&mut self) -> (Vec<Dropped>, Vec<TimerKey>);
    fn restarts(&self) -> u32;

    /// Takes the cell apart: what waited, and the keys of its timers.
    fn dissolve(&mut self) -> (Vec<Dropped>, Vec<TimerKey>);

    /// Everything that the cell is.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
    /// The FSM's data alone.
    fn encode_fsm(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
    /// The state alone; nothing before the start.
    fn encode_state(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
    fn state_text(&self) -> String;
    fn as_any(&self) -> &dyn Any;
    /// The keys of its timers and of its requests' deadlines.
    fn keys(&self) -> Vec<(TimerKey, Due)>;
    /// What its parts contradict one another in, if it was read from bytes that no worker wrote.
    fn contradiction(&self, catalogue: &Catalogue) -> Option<&'static str>;
}

impl<F: Fsm> Cell<F> {
    pub(crate) fn boxed(fsm: F, setup: CellSetup) -> Result<Box<dyn AnyCell>, EncodeError> {
        let start_value = if let OnPanic::Restart { .. } = F::ON_PANIC {
            let mut bytes = Vec::new();
            Codec::CURRENT.encode(&fsm, &mut bytes)?;
            Some(bytes.into_boxed_slice())
        } else {
            None
        };
        Ok(Box::new(Cell {
            fsm,
            state: None,
            left: None,
            state_digest: 0,
            own: Own {
                queue: setup.queue,
                message: setup.message,
                generator: Generator::new(setup.seed, setup.queue),
                requests: 0,
            },
            queue: VecDeque::new(),
            timers_next: false,
            extras: None,
            start_value,
            restarts: 0,
            kind: setup.kind,
        }))
    }

    pub(crate) fn decode_start(bytes: &[u8], setup: CellSetup) -> Result<Box<dyn AnyCell>, DecodeError> {
        let fsm: F = Codec::CURRENT.decode(bytes, Trust::Node)?;
        Cell::boxed(fsm, setup).map_err(|error| DecodeError::Malformed(error.to_string()))
    }

    pub(crate) fn restore(bytes: &[u8], setup: CellSetup) -> Result<Box<dyn AnyCell>, DecodeError> {
        let cell: Cell<F> = Codec::CURRENT.decode_image(bytes)?;
        if (cell.own.queue, cell.kind, cell.own.message) != (setup.queue, setup.kind, setup.message) {
            return Err(DecodeError::Malformed(format!("the cell of {} stands at {}", cell.own.queue, setup.queue)));
        }
        Ok(Box::new(cell))
    }

    /// The FSM and its state, for tests.
    pub(crate) fn inside(&self) -> (&F, Option<F::State>) {
        (&self.fsm, self.state)
    }

    fn extras(&mut self) -> &mut Extras<F::Message> {
        self.extras.get_or_insert_default()
    }

    /// Self-sent messages first; then timers and queue in turn.
    fn next_incoming(&mut self) -> Option<Incoming<F::Message>> {
        let own = self.own.queue;
        if let Some(extras) = &mut self.extras {
            if let Some(message) = extras.ahead.pop_front() {
                return Some(Incoming { sender: own, claim: Claim::Nothing, beats: 0, message });
            }
            if (self.timers_next || self.queue.is_empty())
                && let Some(fired) = extras.fired.pop_front()
            {
                self.timers_next = false;
                return Some(Incoming {
                    sender: own,
                    claim: Claim::Nothing,
                    beats: fired.beats,
                    message: fired.message,
                });
            }
        }
        self.timers_next = true;
        let Envelope { sender, claim, message } = self.queue.pop_front()?;
        Some(Incoming { sender, claim, beats: 0, message })
    }

    /// Puts a message into the queue as its policy has it.
    fn enqueue(&mut self, message: F::Message, sent: Sent, type_number: u32, always: bool) -> Result<(), Dropped> {
        let Sent { sender, request } = sent;
        let claim = if always { Claim::News } else { Claim::of(request) };
        let envelope = Envelope { sender, claim, message };
        if always || self.queue.len() < F::QUEUE.capacity as usize {
            self.queue.push_back(envelope);
            return Ok(());
        }
        let fatal = F::QUEUE.overflow == Overflow::StopNode;
        let newest = Dropped { sent, type_number, why: Undelivered::Full, fatal };
        match F::QUEUE.overflow {
            Overflow::DropNewest | Overflow::StopNode => Err(newest),
            Overflow::DropOldest => {
                let oldest = self.queue.iter().position(|waiting| waiting.claim.may_be_dropped());
                // With a capacity of 0, or where only answers and news wait, nothing is older than the newest.
                let Some(Envelope { sender, claim, .. }) = oldest.and_then(|at| self.queue.remove(at)) else {
                    return Err(newest);
                };
                self.queue.push_back(envelope);
                Err(Dropped {
                    sent: Sent { sender, request: claim.request() },
                    type_number: self.own.message,
                    why: Undelivered::Full,
                    fatal: false,
                })
            }
            Overflow::Coalesce => {
                let Some(key) = F::coalesce_key(&envelope.message) else { return Err(newest) };
                let same = self
                    .queue
                    .iter_mut()
                    .find(|waiting| waiting.claim.may_be_dropped() && F::coalesce_key(&waiting.message) == Some(key));
                let Some(same) = same else { return Err(newest) };
                let Envelope { sender, claim, .. } = mem::replace(same, envelope);
                Err(Dropped {
                    sent: Sent { sender, request: claim.request() },
                    type_number: self.own.message,
                    why: Undelivered::Full,
                    fatal: false,
                })
            }
        }
    }

    fn set_state(&mut self, state: F::State, effects: &mut Effects) {
        self.state = Some(state);
        self.state_digest = effects.digest_of(&state);
    }

    fn own_message(outbox: &mut dyn AnyOutbox) -> F::Message {
        let outbox: &mut Outbox<F::Message> =
            outbox.as_any().downcast_mut().expect("the effects of an FSM's own messages name its own outbox");
        outbox.pop_front().expect("each effect with a message put it into its outbox")
    }

    fn take_pending(&mut self, request: RequestId) -> Option<Pending> {
        let pending = &mut self.extras.as_mut()?.pending;
        let at = pending.iter().position(|pending| pending.request == request)?;
        Some(pending.remove(at))
    }

    /// An answer's or a failure's message enters whatever the capacity is: there is one for each request.
    fn enqueue_outcome(&mut self, request: RequestId, message: F::Message) {
        let sender = self.own.queue;
        self.queue.push_back(Envelope { sender, claim: Claim::Outcome(request), message });
    }
}

impl<F: Fsm> AnyCell for Cell<F> {
    fn queue(&self) -> RawQueueId {
        self.own.queue
    }

    fn kind(&self) -> u32 {
        self.kind
    }

    fn message_type(&self) -> u32 {
        self.own.message
    }

    #[inline]
    fn has_work(&self) -> bool {
        !self.queue.is_empty()
            || self.state.is_none()
            || self.extras.as_ref().is_some_and(|extras| !extras.ahead.is_empty() || !extras.fired.is_empty())
    }

    fn queued_bytes(&self) -> u64 {
        let postponed = self.extras.as_ref().map_or(0, |extras| extras.postponed.len() + extras.ahead.len());
        ((self.queue.len() + postponed) * size_of::<Envelope<F::Message>>()) as u64
    }

    fn handle_next(&mut self, effects: &mut Effects, externals: &mut dyn Externals, everything: bool) -> Outcome {
        let Some(state) = self.state else {
            let queue = self.own.queue;
            (effects.handler, effects.sender) = (Handler::Start, queue);
            // What a handler that panicked was given may still lie there.
            effects.payload.clear();
            effects.digest.mix(u64::from(queue.slot));
            let mut cx = Context::new(effects, &mut self.own, externals, queue, 0);
            let state = self.fsm.start(&mut cx);
            self.set_state(state, effects);
            effects.digest.mix(self.state_digest);
            return Outcome::Changed { state_timer: None };
        };
        let Incoming { sender, claim, beats, message } =
            self.next_incoming().expect("the worker asks only cells that have work");
        effects.digest.mix(u64::from(self.own.queue.slot) | u64::from(self.own.message) << 32);
        if everything {
            (effects.handler, effects.sender) = (Handler::Handle, sender);
            effects.payload.clear();
            if let Err(error) = Codec::CURRENT.encode_image(&message, &mut effects.payload) {
                effects.misuse = Some(format!("a message can't pass the codec: {error}"));
            }
        }
        let mut cx = Context::new(effects, &mut self.own, externals, sender, beats);
        let next = self.fsm.handle(state, message, &mut cx);
        let outcome = match next {
            Next::Stay => Outcome::Stayed,
            Next::Goto(to) if to == state => Outcome::Stayed,
            Next::Goto(to) => {
                let state_timer = self.cancel_timer(&WhichTimer::Name(TimerName::State));
                self.left = Some(state);
                self.set_state(to, effects);
                Outcome::Changed { state_timer }
            }
            Next::Postpone(message) => {
                let room = F::QUEUE.capacity as usize;
                let extras = self.extras();
                if extras.postponed.len() < room {
                    extras.postponed.push_back(Envelope { sender, claim, message });
                    Outcome::Stayed
                } else {
                    Outcome::PostponedTooMany(Sent { sender, request: claim.request() })
                }
            }
            Next::Unhandled(_) => Outcome::Unhandled(Sent { sender, request: claim.request() }),
            Next::Stop => Outcome::Stop,
        };
        effects.digest.mix(self.state_digest);
        outcome
    }

    fn enter(&mut self, effects: &mut Effects, externals: &mut dyn Externals) {
        let to = self.state.expect("a state is entered after it was set");
        let from = self.left.take();
        let queue = self.own.queue;
        (effects.handler, effects.sender) = (Handler::Enter, queue);
        let mut cx = Context::new(effects, &mut self.own, externals, queue, 0);
        self.fsm.enter(from, to, &mut cx);
    }

    fn unpostpone(&mut self) {
        if let Some(extras) = &mut self.extras {
            while let Some(envelope) = extras.postponed.pop_back() {
                self.queue.push_front(envelope);
            }
        }
    }

    #[inline]
    fn accept(
        &mut self,
        outbox: &mut dyn AnyOutbox,
        type_number: u32,
        sent: Sent,
        catalogue: &Catalogue,
        always: bool,
    ) -> Result<(), Dropped> {
        let message = if type_number == self.own.message {
            Self::own_message(outbox)
        } else if let Some(accept) = catalogue.accept::<F::Message>(self.own.message, type_number) {
            (accept.take)(outbox)
        } else {
            outbox.discard_front();
            return Err(Dropped { sent, type_number, why: Undelivered::NotAccepted, fatal: false });
        };
        self.enqueue(message, sent, type_number, always)
    }

    #[inline]
    fn accept_frame(
        &mut self,
        payload: &[u8],
        type_number: u32,
        sent: Sent,
        catalogue: &Catalogue,
        trust: Trust,
    ) -> Result<(), (Dropped, Option<DecodeError>)> {
        let decoded = if type_number == self.own.message {
            Codec::CURRENT.decode::<F::Message>(payload, trust)
        } else if let Some(accept) = catalogue.accept::<F::Message>(self.own.message, type_number) {
            (accept.decode)(payload, trust)
        } else {
            return Err((Dropped { sent, type_number, why: Undelivered::NotAccepted, fatal: false }, None));
        };
        match decoded {
            Ok(message) => self.enqueue(message, sent, type_number, false).map_err(|dropped| (dropped, None)),
            Err(error) => {
                Err((Dropped { sent, type_number, why: Undelivered::NotUnderstood, fatal: false }, Some(error)))
            }
        }
    }

    fn accept_answer(
        &mut self,
        outbox: &mut dyn AnyOutbox,
        type_number: u32,
        request: RequestId,
        catalogue: &Catalogue,
    ) -> Option<TimerKey> {
        let answer = catalogue.answer::<F::Message>(self.own.message, type_number);
        let expected = self.awaits(request);
        let (Some(answer), true) = (answer, expected) else {
            outbox.discard_front();
            return None;
        };
        let message = (answer.take)(outbox, request);
        self.enqueue_outcome(request, message);
        self.take_pending(request).map(|pending| pending.key)
    }

    fn accept_answer_frame(
        &mut self,
        payload: &[u8],
        type_number: u32,
        request: RequestId,
        catalogue: &Catalogue,
    ) -> Result<Option<TimerKey>, DecodeError> {
        let Some(answer) = catalogue.answer::<F::Message>(self.own.message, type_number) else { return Ok(None) };
        if !self.awaits(request) {
            return Ok(None);
        }
        let message = (answer.decode)(payload, request)?;
        self.enqueue_outcome(request, message);
        Ok(self.take_pending(request).map(|pending| pending.key))
    }

    fn fail_request(&mut self, request: RequestId, why: NoReply, catalogue: &Catalogue) -> Option<TimerKey> {
        let Pending { key, answer, .. } = self.take_pending(request)?;
        let answer = catalogue
            .answer::<F::Message>(self.own.message, answer)
            .expect("a wait begins only for an answer that the kinds declare");
        self.enqueue_outcome(request, (answer.fail)(request, why));
        Some(key)
    }

    fn accept_ahead(&mut self, outbox: &mut dyn AnyOutbox) {
        let message = Self::own_message(outbox);
        self.extras().ahead.push_back(message);
    }

    fn set_timer(
        &mut self,
        outbox: &mut dyn AnyOutbox,
        key: TimerKey,
        name: TimerName,
        period_ns: Option<u64>,
    ) -> Result<Option<TimerKey>, String> {
        let message = Self::own_message(outbox);
        let replaced =
            if name == TimerName::Unnamed { None } else { self.cancel_timer(&WhichTimer::Name(name.clone())) };
        let what = match period_ns {
            None => Beat::Once(message),
            Some(period_ns) => {
                let mut bytes = Vec::new();
                let carried =
                    Codec::CURRENT.encode(&message, &mut bytes).map_err(|error| error.to_string()).and_then(|()| {
                        let back: Result<F::Message, _> = Codec::CURRENT.decode(&bytes, Trust::Node);
                        back.map_err(|error| error.to_string())
                    });
                carried.map_err(|error| format!("the message of a periodic timer can't pass the codec: {error}"))?;
                Beat::Every { period_ns, message: bytes }
            }
        };
        self.extras().timers.push(SetTimer { timer: key.timer, name, deadline: key.deadline, what });
        Ok(replaced)
    }

    fn cancel_timer(&mut self, which: &WhichTimer) -> Option<TimerKey> {
        let extras = self.extras.as_mut()?;
        let is = |timer: TimerId, name: &TimerName| match which {
            WhichTimer::Name(wanted) => name == wanted,
            WhichTimer::Id(wanted) => timer == *wanted,
        };
        extras.fired.retain(|fired| !is(fired.timer, &fired.name));
        let at = extras.timers.iter().position(|set| is(set.timer, &set.name))?;
        let SetTimer { timer, deadline, .. } = extras.timers.remove(at);
        Some(TimerKey { deadline, timer })
    }

    fn fire(&mut self, timer: TimerId, now: Time) -> Option<TimerKey> {
        let extras = self.extras.as_mut()?;
        let at = extras.timers.iter().position(|set| set.timer == timer)?;
        let SetTimer { deadline, name, what: Beat::Every { period_ns, message }, .. } = &mut extras.timers[at] else {
            let SetTimer { timer, name, what, .. } = extras.timers.remove(at);
            let Beat::Once(message) = what else { unreachable!("periodic timers are handled above") };
            extras.fired.push_back(Fired { timer, name, beats: 0, message });
            return None;
        };
        let late_ns = now.as_nanos().saturating_sub(deadline.as_nanos());
        let beats = 1 + late_ns / *period_ns;
        *deadline = Time::from_nanos(deadline.as_nanos().saturating_add(beats.saturating_mul(*period_ns)));
        let next = TimerKey { deadline: *deadline, timer };
        if let Some(waiting) = extras.fired.iter_mut().find(|fired| fired.timer == timer) {
            waiting.beats = waiting.beats.saturating_add(beats);
        } else {
            let message = Codec::CURRENT.decode(message, Trust::Node).expect("it was decoded when the timer was set");
            extras.fired.push_back(Fired { timer, name: name.clone(), beats, message });
        }
        Some(next)
    }

    fn await_answer(&mut self, request: RequestId, key: TimerKey, answer: u32) {
        self.extras().pending.push(Pending { request, key, answer });
    }

    fn cancel_request(&mut self, request: RequestId) -> Option<TimerKey> {
        let answers = |waiting: &Envelope<F::Message>| waiting.claim == Claim::Outcome(request);
        self.queue.retain(|waiting| !answers(waiting));
        if let Some(extras) = &mut self.extras {
            extras.postponed.retain(|waiting| !answers(waiting));
        }
        self.take_pending(request).map(|pending| pending.key)
    }

    fn awaited_answer(&self, request: RequestId) -> Option<u32> {
        let pending = &self.extras.as_ref()?.pending;
        pending.iter().find(|pending| pending.request == request).map(|pending| pending.answer)
    }

    fn watched(&mut self) -> &mut Vec<RawQueueId> {
        &mut self.extras().watched
    }

    fn on_panic(&self) -> OnPanic {
        F::ON_PANIC
    }

    fn restart(&mut self) -> (Vec<Dropped>, Vec<TimerKey>) {
        let bytes = self.start_value.as_ref().expect("kinds that restart keep their start value");
        self.fsm = Codec::CURRENT.decode(bytes, Trust::Node).expect("the start value passed the codec at the spawn");
        self.state = None;
        self.left = None;
        self.restarts += 1;
        let mut extras = self.extras.take().map(|extras| *extras).unwrap_or_default();
        self.extras().watched = mem::take(&mut extras.watched);
        let dropped = extras.postponed.drain(..).map(|envelope| envelope.stopped(self.own.message)).collect();
        (dropped, extras.keys())
    }

    fn restarts(&self) -> u32 {
        self.restarts
    }

    fn dissolve(&mut self) -> (Vec<Dropped>, Vec<TimerKey>) {
        let type_number = self.own.message;
        let mut extras = self.extras.take().map(|extras| *extras).unwrap_or_default();
        let dropped = extras.postponed.drain(..).chain(self.queue.drain(..));
        let dropped = dropped.map(|envelope| envelope.stopped(type_number)).collect();
        (dropped, extras.keys())
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Codec::CURRENT.encode_image(self, out)
    }

    fn encode_fsm(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Codec::CURRENT.encode_image(&self.fsm, out)
    }

    fn encode_state(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.state.map_or(Ok(()), |state| Codec::CURRENT.encode(&state, out))
    }

    fn state_text(&self) -> String {
        self.state.map_or_else(|| "not started".to_owned(), |state| format!("{state:?}"))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn keys(&self) -> Vec<(TimerKey, Due)> {
        let Some(extras) = &self.extras else { return Vec::new() };
        let timers = extras.timers.iter();
        let timers = timers.map(|set| (TimerKey { deadline: set.deadline, timer: set.timer }, Due::Timer));
        let requests = extras.pending.iter().map(|pending| (pending.key, Due::Request(pending.request)));
        timers.chain(requests).collect()
    }

    fn contradiction(&self, catalogue: &Catalogue) -> Option<&'static str> {
        let restarts = matches!(F::ON_PANIC, OnPanic::Restart { .. });
        let starts_again = |bytes: &[u8]| Codec::CURRENT.decode::<F>(bytes, Trust::Node).is_ok();
        if restarts && !self.start_value.as_deref().is_some_and(starts_again) {
            return Some("an FSM that is to be restarted has no start value");
        }
        if self.own.requests > COUNT_MAX {
            return Some("a count of requests that no FSM reaches");
        }
        if self.own.generator.is_stuck() {
            return Some("an FSM's generator gives only zeros");
        }
        let extras = self.extras.as_ref()?;
        let known = |pending: &Pending| {
            pending.request.0 <= self.own.requests
                && catalogue.answer::<F::Message>(self.own.message, pending.answer).is_some()
        };
        if !extras.pending.iter().all(known) {
            return Some("an FSM waits for an answer that its kind doesn't take");
        }
        let beats = |set: &SetTimer<F::Message>| match &set.what {
            Beat::Once(_) => true,
            Beat::Every { period_ns, message } => {
                *period_ns > 0 && Codec::CURRENT.decode::<F::Message>(message, Trust::Node).is_ok()
            }
        };
        if !extras.timers.iter().all(beats) {
            return Some("a periodic timer has no period or no message");
        }
        None
    }
}

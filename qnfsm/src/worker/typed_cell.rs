//! A cell with the type of its FSM: the only place that knows it. What waits, and in which order it comes, is
//! [`Waiting`]'s.

use std::any::Any;

use serde::{Deserialize, Serialize};

use crate::{
    codec::{Codec, DecodeError, EncodeError, Trust},
    fsm::{
        AnyOutbox, Context, Effects, Externals, Fsm, Handler, Next, OnPanic, Outbox, Overflow, Own, TimerId, TimerName,
        WhichTimer,
    },
    id::{RawQueueId, RequestId},
    message::{Message, NoReply, Undelivered},
    random::Generator,
    time::Time,
    worker::{
        cell::{AnyCell, Intake, Outcome},
        envelope::{Claim, Dropped, Envelope, Load, Sent},
        image::COUNT_MAX,
        kinds::{Catalogue, CellSetup},
        timers::{Due, TimerKey},
        waiting::{Beat, Incoming, Origin, Overflowed, Pending, Remains, Waiting},
    },
};

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
    waiting: Waiting<F::Message>,
    /// For kinds that are restarted after a panic.
    start_value: Option<Box<[u8]>>,
    restarts: u32,
    kind: u32,
    /// Its messages may hold more than their own size.
    #[serde(skip)]
    measures: bool,
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
            waiting: Waiting::default(),
            start_value,
            restarts: 0,
            kind: setup.kind,
            measures: setup.measures,
        }))
    }

    pub(crate) fn decode_start(bytes: &[u8], setup: CellSetup) -> Result<Box<dyn AnyCell>, DecodeError> {
        let fsm: F = Codec::CURRENT.decode(bytes, Trust::Node)?;
        Cell::boxed(fsm, setup).map_err(|error| DecodeError::Malformed(error.to_string()))
    }

    pub(crate) fn restore(bytes: &[u8], setup: CellSetup) -> Result<Box<dyn AnyCell>, DecodeError> {
        let mut cell: Cell<F> = Codec::CURRENT.decode_image(bytes)?;
        if (cell.own.queue, cell.kind, cell.own.message) != (setup.queue, setup.kind, setup.message) {
            return Err(DecodeError::Malformed(format!("the cell of {} stands at {}", cell.own.queue, setup.queue)));
        }
        cell.measures = setup.measures;
        let measures = setup.measures;
        cell.waiting.measure(|message| beyond(measures, message));
        Ok(Box::new(cell))
    }

    /// The FSM and its state, for tests.
    pub(crate) fn inside(&self) -> (&F, Option<F::State>) {
        (&self.fsm, self.state)
    }

    /// What a message that came from the FSMs here holds beyond its size.
    #[inline]
    fn beyond(&self, message: &F::Message) -> u32 {
        beyond(self.measures, message)
    }

    /// What a message of the own type that came in a frame holds beyond its size.
    #[inline]
    fn beyond_of_frame(&self, payload: &[u8]) -> u32 {
        if self.measures { u32::try_from(payload.len()).unwrap_or(u32::MAX) } else { 0 }
    }

    /// Puts a message into the queue as its policy has it.
    #[inline]
    fn enqueue(
        &mut self,
        envelope: Envelope<F::Message>,
        type_number: u32,
        always: bool,
        load: &mut Load,
    ) -> Result<(), Dropped> {
        if always {
            self.waiting.push(envelope, load);
            return Ok(());
        }
        let sent = envelope.sent();
        self.waiting.offer(envelope, F::QUEUE, F::coalesce_key, load).map_err(|overflowed| {
            let why = Undelivered::Full;
            match overflowed {
                Overflowed::Newest => {
                    let fatal = F::QUEUE.overflow == Overflow::StopNode;
                    Dropped { sent, type_number, why, fatal }
                }
                Overflowed::Older(sent) => Dropped { sent, type_number: self.own.message, why, fatal: false },
            }
        })
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

    /// An answer's or a failure's message enters whatever the capacity is: there is one for each request.
    fn enqueue_outcome(&mut self, request: RequestId, message: F::Message, beyond: u32, load: &mut Load) {
        let envelope = Envelope { sender: self.own.queue, claim: Claim::Outcome(request), beyond, message };
        self.waiting.push(envelope, load);
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
        self.waiting.is_ready() || self.state.is_none()
    }

    fn waiting_bytes(&self) -> u64 {
        self.waiting.bytes()
    }

    fn handle_next(
        &mut self,
        effects: &mut Effects,
        externals: &mut dyn Externals,
        load: &mut Load,
        everything: bool,
    ) -> Outcome {
        (effects.asked, effects.answered) = (None, None);
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
        let Incoming { origin, message, .. } =
            self.waiting.take_next(load).expect("the worker asks only cells that have work");
        let (sent, beats) = match origin {
            Origin::Queue { sender, claim } => {
                if let Claim::Outcome(request) = claim {
                    effects.answered = Some(request);
                }
                (Sent { sender, request: claim.request() }, 0)
            }
            Origin::Timer { beats, .. } => (Sent { sender: self.own.queue, request: None }, beats),
        };
        effects.asked = sent.request.map(|request| (sent.sender, request));
        effects.digest.mix(u64::from(self.own.queue.slot) | u64::from(self.own.message) << 32);
        if everything {
            (effects.handler, effects.sender) = (Handler::Handle, sent.sender);
            effects.payload.clear();
            if let Err(error) = Codec::CURRENT.encode_image(&message, &mut effects.payload) {
                effects.misuse = Some(format!("a message can't pass the codec: {error}"));
            }
        }
        let mut cx = Context::new(effects, &mut self.own, externals, sent.sender, beats);
        let next = self.fsm.handle(state, message, &mut cx);
        if let (Some(request), false) = (effects.answered.take(), matches!(next, Next::Postpone(_))) {
            // The handler has seen the answer: whom it names is the FSM's business now.
            self.waiting.take_born(request);
        }
        let outcome = match next {
            Next::Stay => Outcome::Stayed,
            Next::Goto(to) if to == state => Outcome::Stayed,
            Next::Goto(to) => {
                let state_timer = self.waiting.cancel_timer(&WhichTimer::Name(TimerName::State), load);
                self.left = Some(state);
                self.set_state(to, effects);
                Outcome::Changed { state_timer }
            }
            Next::Postpone(message) => {
                let incoming = Incoming { origin, beyond: self.beyond(&message), message };
                match self.waiting.postpone(incoming, F::QUEUE.capacity, load) {
                    true => Outcome::Stayed,
                    false => Outcome::PostponedTooMany(sent),
                }
            }
            Next::Unhandled(_) => Outcome::Unhandled(sent),
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
        self.waiting.unpostpone();
    }

    #[inline]
    fn accept(
        &mut self,
        outbox: &mut dyn AnyOutbox,
        type_number: u32,
        sent: Sent,
        intake: Intake<'_>,
        always: bool,
    ) -> Result<(), Dropped> {
        let message = if type_number == self.own.message {
            Self::own_message(outbox)
        } else if let Some(accept) = intake.catalogue.accept::<F::Message>(self.own.message, type_number) {
            (accept.take)(outbox)
        } else {
            outbox.discard_front();
            return Err(Dropped { sent, type_number, why: Undelivered::NotAccepted, fatal: false });
        };
        let claim = if always { Claim::News } else { Claim::of(sent.request) };
        let envelope = Envelope { sender: sent.sender, claim, beyond: self.beyond(&message), message };
        self.enqueue(envelope, type_number, always, intake.load)
    }

    #[inline]
    fn accept_frame(
        &mut self,
        payload: &[u8],
        type_number: u32,
        sent: Sent,
        intake: Intake<'_>,
        trust: Trust,
    ) -> Result<(), (Dropped, Option<DecodeError>)> {
        let is_own = type_number == self.own.message;
        let decoded = if is_own {
            Codec::CURRENT.decode::<F::Message>(payload, trust)
        } else if let Some(accept) = intake.catalogue.accept::<F::Message>(self.own.message, type_number) {
            (accept.decode)(payload, trust)
        } else {
            return Err((Dropped { sent, type_number, why: Undelivered::NotAccepted, fatal: false }, None));
        };
        match decoded {
            Ok(message) => {
                let claim = Claim::of(sent.request);
                let beyond = if is_own { self.beyond_of_frame(payload) } else { self.beyond(&message) };
                let envelope = Envelope { sender: sent.sender, claim, beyond, message };
                self.enqueue(envelope, type_number, false, intake.load).map_err(|dropped| (dropped, None))
            }
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
        intake: Intake<'_>,
    ) -> Option<TimerKey> {
        let answer = intake.catalogue.answer::<F::Message>(self.own.message, type_number);
        let expected = self.awaits(request);
        let (Some(answer), true) = (answer, expected) else {
            outbox.discard_front();
            return None;
        };
        let message = (answer.take)(outbox, request);
        let beyond = self.beyond(&message);
        self.enqueue_outcome(request, message, beyond, intake.load);
        self.waiting.take_pending(request).map(|pending| pending.key)
    }

    fn accept_answer_frame(
        &mut self,
        payload: &[u8],
        type_number: u32,
        request: RequestId,
        intake: Intake<'_>,
    ) -> Result<Option<TimerKey>, DecodeError> {
        let Some(answer) = intake.catalogue.answer::<F::Message>(self.own.message, type_number) else {
            return Ok(None);
        };
        if !self.awaits(request) {
            return Ok(None);
        }
        let message = (answer.decode)(payload, request)?;
        let beyond = self.beyond(&message);
        self.enqueue_outcome(request, message, beyond, intake.load);
        Ok(self.waiting.take_pending(request).map(|pending| pending.key))
    }

    fn fail_request(&mut self, request: RequestId, why: NoReply, intake: Intake<'_>) -> Option<TimerKey> {
        let Pending { key, answer, .. } = self.waiting.take_pending(request)?;
        let answer = intake
            .catalogue
            .answer::<F::Message>(self.own.message, answer)
            .expect("a wait begins only for an answer that the kinds declare");
        let message = (answer.fail)(request, why);
        let beyond = self.beyond(&message);
        self.enqueue_outcome(request, message, beyond, intake.load);
        Some(key)
    }

    fn accept_ahead(&mut self, outbox: &mut dyn AnyOutbox, load: &mut Load) {
        let message = Self::own_message(outbox);
        let (sender, beyond) = (self.own.queue, self.beyond(&message));
        self.waiting.push_ahead(Envelope { sender, claim: Claim::Nothing, beyond, message }, load);
    }

    fn set_timer(
        &mut self,
        outbox: &mut dyn AnyOutbox,
        key: TimerKey,
        name: TimerName,
        period_ns: Option<u64>,
        load: &mut Load,
    ) -> Option<TimerKey> {
        let message = Self::own_message(outbox);
        let what = match period_ns {
            None => Beat::Once(message),
            Some(period_ns) => {
                let mut bytes = Vec::new();
                let encoded = Codec::CURRENT.encode(&message, &mut bytes);
                encoded.expect("contexts set periodic timers only with messages that pass the codec");
                Beat::Every { period_ns, message: bytes }
            }
        };
        self.waiting.set_timer(key, name, what, load)
    }

    fn cancel_timer(&mut self, which: &WhichTimer, load: &mut Load) -> Option<TimerKey> {
        self.waiting.cancel_timer(which, load)
    }

    fn fire(&mut self, timer: TimerId, now: Time, load: &mut Load) -> Option<TimerKey> {
        let decode = |bytes: &[u8]| {
            Codec::CURRENT.decode(bytes, Trust::Node).expect("contexts set periodic timers only with such messages")
        };
        let measures = self.measures;
        self.waiting.fire(timer, now, decode, |message| beyond(measures, message), load)
    }

    fn await_answer(&mut self, request: RequestId, key: TimerKey, answer: u32) {
        self.waiting.await_answer(Pending { request, key, answer });
    }

    fn cancel_request(&mut self, request: RequestId, load: &mut Load) -> (Option<TimerKey>, Option<RawQueueId>) {
        self.waiting.drop_outcome(request, load);
        (self.waiting.take_pending(request).map(|pending| pending.key), self.waiting.take_born(request))
    }

    fn note_born(&mut self, request: RequestId, queue: RawQueueId) {
        self.waiting.note_born(request, queue);
    }

    fn take_born(&mut self, request: RequestId) -> Option<RawQueueId> {
        self.waiting.take_born(request)
    }

    fn awaited_answer(&self, request: RequestId) -> Option<u32> {
        self.waiting.awaited_answer(request)
    }

    fn watched(&mut self) -> &mut Vec<RawQueueId> {
        self.waiting.watched()
    }

    fn on_panic(&self) -> OnPanic {
        F::ON_PANIC
    }

    fn restart(&mut self, load: &mut Load) -> Remains {
        let bytes = self.start_value.as_ref().expect("kinds that restart keep their start value");
        self.fsm = Codec::CURRENT.decode(bytes, Trust::Node).expect("the start value passed the codec at the spawn");
        self.state = None;
        self.left = None;
        self.restarts += 1;
        self.waiting.start_over(self.own.message, load)
    }

    fn restarts(&self) -> u32 {
        self.restarts
    }

    fn dissolve(&mut self, load: &mut Load) -> Remains {
        self.waiting.dissolve(self.own.message, load)
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
        self.waiting.keys()
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
        let known = |pending: &Pending| {
            pending.request.0 <= self.own.requests
                && catalogue.answer::<F::Message>(self.own.message, pending.answer).is_some()
        };
        if !self.waiting.pending().all(known) {
            return Some("an FSM waits for an answer that its kind doesn't take");
        }
        let mut requests: Vec<_> = self.waiting.pending().map(|pending| pending.request).collect();
        requests.sort_unstable();
        if requests.windows(2).any(|pair| pair[0] == pair[1]) {
            return Some("an FSM waits for one request twice");
        }
        if !self.waiting.knows_its_born() {
            return Some("an FSM knows of another one from an answer that isn't there");
        }
        let beats = |(period_ns, message): (u64, &[u8])| {
            period_ns > 0 && Codec::CURRENT.decode::<F::Message>(message, Trust::Node).is_ok()
        };
        if !self.waiting.periodic().all(beats) {
            return Some("a periodic timer has no period or no message");
        }
        None
    }
}

/// What a message holds beyond its size: as much as it is long when encoded, where its type `measures`.
#[inline]
fn beyond<M: Message>(measures: bool, message: &M) -> u32 {
    if measures { u32::try_from(Codec::CURRENT.encoded_bytes(message)).unwrap_or(u32::MAX) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Kinds, Reply,
        id::{NodeId, Place, WorkerId},
    };

    #[derive(Serialize, Deserialize)]
    struct Asker;

    #[derive(Serialize, Deserialize)]
    struct Answered(Reply<u64>);

    impl From<Reply<u64>> for Answered {
        fn from(reply: Reply<u64>) -> Answered {
            Answered(reply)
        }
    }

    impl Fsm for Asker {
        const NAME: &'static str = "asker";
        type State = ();
        type Message = Answered;
        fn start(&mut self, _: &mut Context<'_, Self>) {}
        fn handle(&mut self, (): (), _: Answered, _: &mut Context<'_, Self>) -> Next<Self> {
            Next::Stay
        }
    }

    /// What is wrong with a cell that something was done to.
    fn contradiction(change: impl FnOnce(&mut dyn AnyCell, u32)) -> Option<&'static str> {
        let catalogue = Kinds::new().with::<Asker>().replies::<Answered, u64>().seal().expect("the kind is plain");
        let queue = RawQueueId { node: NodeId(0), place: Place::worker(WorkerId(0)), slot: 0, generation: 1 };
        let kind = catalogue.kind(0).expect("it was just registered");
        let mut cell = Cell::boxed(Asker, kind.setup(0, queue, 1)).expect("it is plain");
        change(&mut *cell, catalogue.type_number::<u64>().expect("it is what answers are"));
        cell.contradiction(&catalogue)
    }

    fn key(timer: u64) -> TimerKey {
        TimerKey { deadline: Time::ZERO, timer: TimerId(timer) }
    }

    #[test]
    fn a_cell_that_waits_for_one_request_twice_is_refused() {
        let wait = |cell: &mut dyn AnyCell, answer| cell.await_answer(RequestId(0), key(1), answer);
        assert_eq!(contradiction(wait), None);
        let twice = contradiction(|cell, answer| {
            wait(cell, answer);
            cell.await_answer(RequestId(0), key(2), answer);
        });
        assert_eq!(twice, Some("an FSM waits for one request twice"));
    }

    #[test]
    fn a_cell_that_knows_of_a_birth_that_no_answer_tells_is_refused() {
        let born = RawQueueId { node: NodeId(0), place: Place::worker(WorkerId(1)), slot: 0, generation: 1 };
        let alone = contradiction(|cell, _| cell.note_born(RequestId(0), born));
        assert_eq!(alone, Some("an FSM knows of another one from an answer that isn't there"));
    }
}

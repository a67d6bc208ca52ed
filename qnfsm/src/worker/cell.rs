//! A cell: one FSM with its queue and all that waits for it, as the worker sees it, which knows no FSM's type.
//!
//! A cell never reaches out: it takes messages in, runs one handler, and says what came of it. Whom to wake, what to
//! drop and what to tell others is the worker's business.

use std::any::Any;

use crate::{
    codec::{DecodeError, EncodeError, Trust},
    fsm::{AnyOutbox, Effects, Externals, OnPanic, TimerId, TimerName, WhichTimer},
    id::{RawQueueId, RequestId},
    message::NoReply,
    time::Time,
    worker::{
        envelope::{Dropped, Load, Sent},
        kinds::Catalogue,
        timers::{Due, TimerKey},
        waiting::Remains,
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

/// What a cell takes messages in with: how its type takes others, and where what waits is counted.
pub(crate) struct Intake<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) load: &'a mut Load,
}

/// A cell whose FSM type is not known here.
pub(crate) trait AnyCell: Send {
    fn queue(&self) -> RawQueueId;
    fn kind(&self) -> u32;
    /// The number of its message type.
    fn message_type(&self) -> u32;
    /// Something waits for the handler, or the FSM has yet to start.
    fn has_work(&self) -> bool;
    /// What the messages weigh that wait for it, postponed ones among them. It walks them all.
    fn waiting_bytes(&self) -> u64;
    /// Runs the start handler if that is due, or else the handler on the next message.
    fn handle_next(
        &mut self,
        effects: &mut Effects,
        externals: &mut dyn Externals,
        load: &mut Load,
        everything: bool,
    ) -> Outcome;
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
        intake: Intake<'_>,
        always: bool,
    ) -> Result<(), Dropped>;
    /// Takes the message of a frame.
    fn accept_frame(
        &mut self,
        payload: &[u8],
        type_number: u32,
        sent: Sent,
        intake: Intake<'_>,
        trust: Trust,
    ) -> Result<(), (Dropped, Option<DecodeError>)>;
    /// Takes an answer from the front of an outbox. Gives the key of the request's deadline.
    fn accept_answer(
        &mut self,
        outbox: &mut dyn AnyOutbox,
        type_number: u32,
        request: RequestId,
        intake: Intake<'_>,
    ) -> Option<TimerKey>;
    /// Takes an answer from a frame.
    fn accept_answer_frame(
        &mut self,
        payload: &[u8],
        type_number: u32,
        request: RequestId,
        intake: Intake<'_>,
    ) -> Result<Option<TimerKey>, DecodeError>;
    /// A request has no answer. Gives the key of its deadline if it was under way.
    fn fail_request(&mut self, request: RequestId, why: NoReply, intake: Intake<'_>) -> Option<TimerKey>;
    /// Puts the front message of the own type's outbox ahead of all others.
    fn accept_ahead(&mut self, outbox: &mut dyn AnyOutbox, load: &mut Load);

    /// Sets a timer with the front message of the own type's outbox; gives the key of the one that it replaces.
    fn set_timer(
        &mut self,
        outbox: &mut dyn AnyOutbox,
        key: TimerKey,
        name: TimerName,
        period_ns: Option<u64>,
        load: &mut Load,
    ) -> Option<TimerKey>;
    /// Cancels a timer, fired or not; gives its key if it had yet to fire.
    fn cancel_timer(&mut self, which: &WhichTimer, load: &mut Load) -> Option<TimerKey>;
    /// A timer is due. Gives the key of its next beat.
    fn fire(&mut self, timer: TimerId, now: Time, load: &mut Load) -> Option<TimerKey>;
    /// A request is under way from now on.
    fn await_answer(&mut self, request: RequestId, key: TimerKey, answer: u32);
    /// Stops waiting for an answer, and drops it if it has come already; gives the key of the request's deadline, and
    /// the FSM that the answer names if it is of a spawn.
    fn cancel_request(&mut self, request: RequestId, load: &mut Load) -> (Option<TimerKey>, Option<RawQueueId>);
    /// The answer to a spawn waits, which alone knows the FSM of that queue.
    fn note_born(&mut self, request: RequestId, queue: RawQueueId);
    /// The answer to a spawn waits no longer; gives the FSM that it names.
    fn take_born(&mut self, request: RequestId) -> Option<RawQueueId>;
    /// True if the request is under way.
    fn awaits(&self, request: RequestId) -> bool {
        self.awaited_answer(request).is_some()
    }
    /// The number of the type of answer that the request waits for.
    fn awaited_answer(&self, request: RequestId) -> Option<u32>;

    fn watched(&mut self) -> &mut Vec<RawQueueId>;

    /// What a panic asks for.
    fn on_panic(&self) -> OnPanic;
    /// Starts over from the start value; gives what ended with it.
    fn restart(&mut self, load: &mut Load) -> Remains;
    fn restarts(&self) -> u32;

    /// Takes the cell apart.
    fn dissolve(&mut self, load: &mut Load) -> Remains;

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

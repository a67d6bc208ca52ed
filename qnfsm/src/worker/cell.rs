//! A cell: one FSM with its data, its state and what is its own, as the worker sees it, which knows no FSM's type.
//!
//! A cell never reaches out: it runs its handler, on one message or on several that it is lent, and says what came of it.
//! Whom to wake, what to drop and what to tell others is the worker's business.

use std::any::Any;

use crate::{
    codec::EncodeError,
    fsm::{Effects, Externals, MessageRef, Pools, Resources},
    id::RawQueueId,
    worker::{
        envelope::{Claim, Envelope},
        queue::Envelopes,
        waiting::Waiting,
    },
};

/// Messages that wait for an FSM, to be handled one after another up to a bound.
pub(super) struct Several<'a> {
    pub(super) queue: RawQueueId,
    pub(super) waiting: &'a mut Waiting,
    pub(super) envelopes: &'a mut Envelopes,
    /// How many may still be taken.
    pub(super) left: u32,
}

impl Several<'_> {
    /// Takes the next one.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<&Envelope> {
        let left = self.left.checked_sub(1)?;
        let envelope = self.waiting.take_next(self.queue, self.envelopes)?;
        self.left = left;
        Some(envelope)
    }
}

/// What came of a handler that returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The state is as it was.
    Stayed,
    /// The state is another; its enter action, and then the postponed messages, are due.
    Changed,
    /// The handler wants the message, which lies there, again in another state.
    Postponed(MessageRef),
    /// The message was of no use.
    Unhandled,
    /// The FSM is done.
    Stop,
}

impl Outcome {
    /// Nothing is to be done about the message but to apply what its handler asked for. An answer's is to be seen to in any case.
    #[inline(always)]
    pub(super) fn leaves_effects_alone(self, claim: Claim, effects: &Effects) -> bool {
        self == Outcome::Stayed && !effects.is_refused() && !matches!(claim, Claim::Outcome(_))
    }
}

/// A cell whose FSM type is not known here.
pub(super) trait AnyCell: Any + Send {
    /// Runs the start handler.
    fn start(&mut self, effects: &mut Effects, pools: &mut Pools, externals: &mut dyn Externals, resources: &Resources);
    /// Runs the handler on a message, which it takes out of its pool; then on `more`, one after another, until there is
    /// something to be done about one. Says what came of the last one.
    fn handle(
        &mut self,
        envelope: &Envelope,
        more: Option<&mut Several<'_>>,
        effects: &mut Effects,
        pools: &mut Pools,
        externals: &mut dyn Externals,
        resources: &Resources,
    ) -> Outcome;
    /// Runs the enter action of the state that was just entered.
    fn enter(&mut self, effects: &mut Effects, pools: &mut Pools, externals: &mut dyn Externals, resources: &Resources);

    /// Starts over from the start value.
    fn restart(&mut self);
    fn restarts(&self) -> u32;
    /// The start handler has run.
    fn has_started(&self) -> bool;
    /// How many requests it has made.
    fn requests(&self) -> u64;

    /// Everything that the cell is.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
    /// The FSM's data alone.
    fn encode_fsm(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
    /// The state alone; nothing before the start.
    fn encode_state(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
    fn state_text(&self) -> String;
    /// What its parts contradict one another in, if it was read from bytes that no worker wrote.
    fn contradiction(&self) -> Option<&'static str>;
}

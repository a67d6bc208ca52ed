//! A message that waits for an FSM: who sent it, what is owed for it, what it weighs; and what becomes of one that was
//! not kept.

use serde::{Deserialize, Serialize};

use crate::{
    id::{RawQueueId, RequestId},
    message::Undelivered,
};

/// The bytes of all messages that wait in a worker.
#[derive(Debug, Default)]
pub(crate) struct Load(u64);

impl Load {
    pub(super) fn bytes(&self) -> u64 {
        self.0
    }

    pub(super) fn add(&mut self, bytes: u64) {
        self.0 += bytes;
    }

    #[inline]
    pub(super) fn more<M>(&mut self, beyond: u32) {
        self.0 += weight::<M>(beyond);
    }

    #[inline]
    pub(super) fn less<M>(&mut self, beyond: u32) {
        let left = self.0.checked_sub(weight::<M>(beyond));
        self.0 = left.expect("what leaves was counted when it came");
    }
}

/// What a message of that type weighs while it waits: its room in a queue and what it holds beyond it.
pub(super) fn weight<M>(beyond: u32) -> u64 {
    size_of::<Envelope<M>>() as u64 + u64::from(beyond)
}

/// A message that waits, with who sent it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Envelope<M> {
    pub(super) sender: RawQueueId,
    pub(super) claim: Claim,
    /// The bytes of the message, encoded, if it may hold more than its own size; else 0.
    #[serde(skip)]
    pub(super) beyond: u32,
    pub(super) message: M,
}

/// What is owed for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Claim {
    /// Nothing.
    Nothing,
    /// Its sender waits for an answer to this request.
    Request(RequestId),
    /// It is what came of a request of the FSM's own: it is never dropped for want of room.
    Outcome(RequestId),
    /// It is news of a monitored queue: it is never dropped for want of room.
    News,
}

impl Claim {
    pub(super) fn of(request: Option<RequestId>) -> Claim {
        request.map_or(Claim::Nothing, Claim::Request)
    }

    pub(super) fn request(self) -> Option<RequestId> {
        match self {
            Claim::Request(request) => Some(request),
            Claim::Nothing | Claim::Outcome(_) | Claim::News => None,
        }
    }

    pub(super) fn may_be_dropped(self) -> bool {
        matches!(self, Claim::Nothing | Claim::Request(_))
    }
}

/// Who sent a message, and the request that it makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) sender: RawQueueId,
    pub(crate) request: Option<RequestId>,
}

/// A message that was not kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dropped {
    pub(crate) sent: Sent,
    /// The type that the sender sent, as far as it is known.
    pub(crate) type_number: u32,
    pub(crate) why: Undelivered,
    /// The queue's policy is to stop the node.
    pub(crate) fatal: bool,
}

impl<M> Envelope<M> {
    pub(super) fn sent(&self) -> Sent {
        Sent { sender: self.sender, request: self.claim.request() }
    }

    /// What becomes of it when its receiver stops.
    pub(super) fn stopped(&self, type_number: u32) -> Dropped {
        Dropped { sent: self.sent(), type_number, why: Undelivered::ReceiverStopped, fatal: false }
    }
}

//! A message that waits for an FSM: who sent it, what is owed for it, what it weighs, where it lies; and what becomes of
//! one that was not kept.

use serde::{Deserialize, Serialize};

use crate::{
    fsm::MessageRef,
    id::{RawQueueId, RequestId},
    message::Undelivered,
};

/// The bytes of all messages that wait in a worker.
#[derive(Debug, Default)]
pub(super) struct Load(u64);

impl Load {
    pub(super) fn bytes(&self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) fn more(&mut self, weight: u32) {
        self.0 += u64::from(weight);
    }

    #[inline]
    pub(super) fn less(&mut self, weight: u32) {
        let left = self.0.checked_sub(u64::from(weight));
        self.0 = left.expect("what leaves was counted when it came");
    }
}

/// A message that waits, with who sent it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    pub(super) sender: RawQueueId,
    pub(super) claim: Claim,
    /// What it counts as in the worker's load, in bytes.
    pub(super) weight: u32,
    pub(super) message: MessageRef,
    /// What happened when it was put there, as [`observe`](super::observe) counts it; 0 if that isn't known.
    pub(super) origin: u32,
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
    /// It is a timer's message, and stands for so many beats if the timer is periodic. It waits apart from the others, so an
    /// envelope has this only on its way to the handler.
    #[serde(skip)]
    Beat { beats: u64 },
}

impl Claim {
    #[inline]
    pub(super) fn of(request: Option<RequestId>) -> Claim {
        request.map_or(Claim::Nothing, Claim::Request)
    }

    #[inline]
    pub(super) fn request(self) -> Option<RequestId> {
        match self {
            Claim::Request(request) => Some(request),
            Claim::Nothing | Claim::Outcome(_) | Claim::News | Claim::Beat { .. } => None,
        }
    }

    /// How many beats of a periodic timer the message stands for.
    #[inline]
    pub(super) fn beats(self) -> u64 {
        if let Claim::Beat { beats } = self { beats } else { 0 }
    }

    pub(super) fn may_be_dropped(self) -> bool {
        matches!(self, Claim::Nothing | Claim::Request(_))
    }
}

/// Who sent a message, and the request that it makes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) sender: RawQueueId,
    pub(super) request: Option<RequestId>,
}

/// A message that was not kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropped {
    pub(super) sent: Sent,
    /// The type that the sender sent, as far as it is known.
    pub(super) type_number: u32,
    pub(super) why: Undelivered,
    /// The queue's policy is to stop the node.
    pub(super) fatal: bool,
}

impl Envelope {
    pub(super) fn sent(&self) -> Sent {
        Sent { sender: self.sender, request: self.claim.request() }
    }

    /// What becomes of it when its receiver stops.
    pub(super) fn stopped(&self, type_number: u32) -> Dropped {
        Dropped { sent: self.sent(), type_number, why: Undelivered::ReceiverStopped, fatal: false }
    }
}

//! What waits for an FSM: messages in its queue, postponed and self-sent ones, timers and their beats, requests under way.
//!
//! Plain data, typed by the FSM's message, and part of the cell's image. What is done with it is the cell's.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    fsm::{TimerId, TimerName},
    id::{RawQueueId, RequestId},
    message::Undelivered,
    time::Time,
    worker::timers::TimerKey,
};

/// A message that waits, with who sent it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Envelope<M> {
    pub(super) sender: RawQueueId,
    pub(super) claim: Claim,
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

/// A timer that is set.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SetTimer<M> {
    pub(super) timer: TimerId,
    pub(super) name: TimerName,
    pub(super) deadline: Time,
    pub(super) what: Beat<M>,
}

/// What a timer sends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Beat<M> {
    Once(M),
    /// Encoded, because messages need not be `Clone`.
    Every {
        period_ns: u64,
        message: Vec<u8>,
    },
}

/// A message of a timer that fired, or of a request that failed, and waits.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fired<M> {
    pub(super) timer: TimerId,
    pub(super) name: TimerName,
    pub(super) beats: u64,
    pub(super) message: M,
}

/// A request under way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) request: RequestId,
    pub(super) key: TimerKey,
    pub(super) answer: u32,
}

/// What only some FSMs have; kept apart so that an idle FSM is small.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Extras<M> {
    /// Self-sent messages, ahead of all others.
    pub(super) ahead: VecDeque<M>,
    pub(super) postponed: VecDeque<Envelope<M>>,
    pub(super) timers: Vec<SetTimer<M>>,
    pub(super) fired: VecDeque<Fired<M>>,
    pub(super) pending: Vec<Pending>,
    /// Queues that this FSM monitors.
    pub(super) watched: Vec<RawQueueId>,
}

impl<M> Envelope<M> {
    /// What becomes of it when its receiver stops.
    pub(super) fn stopped(&self, type_number: u32) -> Dropped {
        let sent = Sent { sender: self.sender, request: self.claim.request() };
        Dropped { sent, type_number, why: Undelivered::ReceiverStopped, fatal: false }
    }
}

impl<M> Extras<M> {
    /// The keys of all timers and deadlines.
    pub(super) fn keys(&self) -> Vec<TimerKey> {
        let keys = self.timers.iter().map(|set| TimerKey { deadline: set.deadline, timer: set.timer });
        keys.chain(self.pending.iter().map(|pending| pending.key)).collect()
    }
}

impl<M> Default for Extras<M> {
    fn default() -> Extras<M> {
        Extras {
            ahead: VecDeque::new(),
            postponed: VecDeque::new(),
            timers: Vec::new(),
            fired: VecDeque::new(),
            pending: Vec::new(),
            watched: Vec::new(),
        }
    }
}

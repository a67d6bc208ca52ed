//! What FSMs and actors do in each case, apart from any system: the systems only carry messages between these.
//!
//! So the work at both ends of a message is the same code for all, and so is the check of what was received. Nothing here
//! waits, and nothing here bounds how much is under way but the roles themselves:
//!
//! - **ping-pong**: one message is under way. Each crossing counts as a message.
//! - **fan-in**: each sender sends bursts of [`BURST`] messages. The sink gives a credit back for each burst that it has
//!   received whole. All senders together have at most [`UNDER_WAY`] messages under way, so mailboxes need no bound of their own
//!   whatever the system; and that is several times what the sink takes in one go, so that both ends always have work.
//!   Credits, one for 128 messages, are not counted as messages.
//! - **ring**: each token makes the same number of hops; each hop counts.
//! - **spawn-and-drop**: the parent spawns [`BROOD`] children, sends each its first message and goes on to the next brood when
//!   all of these have answered. A child stops after it has answered.
//! - **fan-out**: the hub sends one message to each receiver, and begins the next round when each has acknowledged.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::message::{Payload, sum_of};
use crate::plan::Failure;

/// How many messages of fan-in a sender sends in one go.
pub const BURST: u32 = 128;
/// How many messages all senders of fan-in together may have under way.
pub const UNDER_WAY: u32 = 32_768;
/// How many FSMs or actors a ring has.
pub const RING: u32 = 1_000;
/// How many children are spawned between two waits.
pub const BROOD: u32 = 1_000;

/// What was received, in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Received {
    /// Messages.
    pub messages: u64,
    /// The sum of their values.
    pub sum: u64,
    /// How many came out of their sender's order.
    pub misplaced: u64,
}

impl Received {
    /// Counts one payload that should be the `expected`th of its sender.
    pub fn count<P: Payload>(&mut self, payload: &P, expected: u32) {
        self.messages += 1;
        self.sum = self.sum.wrapping_add(payload.value());
        self.misplaced += u64::from(payload.sequence() != expected);
    }

    /// Checks that it is all that was sent and nothing else: `senders` sent `each`.
    pub fn check(&self, senders: u32, each: u32) -> Result<(), Failure> {
        let sum = (0..senders).fold(0, |sum: u64, sender| sum.wrapping_add(sum_of(sender, each)));
        self.check_sum(u64::from(senders) * u64::from(each), sum)
    }

    /// Checks that each of `receivers` acknowledged each of `rounds`.
    pub fn check_rounds(&self, receivers: u32, rounds: u32) -> Result<(), Failure> {
        let sum = sum_of(0, rounds).wrapping_mul(u64::from(receivers));
        self.check_sum(u64::from(receivers) * u64::from(rounds), sum)
    }

    fn check_sum(&self, messages: u64, sum: u64) -> Result<(), Failure> {
        let expected = Received { messages, sum, misplaced: 0 };
        if *self != expected {
            return Err(format!("received {self:?}, and {expected:?} was sent").into());
        }
        Ok(())
    }
}

/// Ping-pong's first player.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Pinger {
    rounds: u32,
    round: u32,
    received: Received,
}

impl Pinger {
    /// Begins so many rounds, of two messages each.
    pub fn begin<P: Payload>(&mut self, rounds: u32) -> P {
        *self = Pinger { rounds, round: 0, received: Received::default() };
        P::new(0, 0)
    }

    /// Takes the answer, and gives the next message.
    pub fn take<P: Payload>(&mut self, answer: &P) -> ControlFlow<Received, P> {
        self.received.count(answer, self.round);
        self.round += 1;
        if self.round < self.rounds {
            ControlFlow::Continue(P::new(0, self.round))
        } else {
            ControlFlow::Break(self.received)
        }
    }
}

/// Ping-pong's second player.
pub fn pong<P: Payload>(message: &P) -> P {
    P::new(message.sender(), message.sequence())
}

/// Fan-in's sender.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sender {
    number: u32,
    bursts_under_way: u32,
    sent: u32,
    of: u32,
}

impl Sender {
    /// Sender number so and so of so many.
    pub fn new(number: u32, senders: u32) -> Sender {
        Sender { number, bursts_under_way: (UNDER_WAY / BURST / senders).max(1), sent: 0, of: 0 }
    }

    /// Begins so many bursts.
    pub fn begin<P: Payload>(&mut self, bursts: u32, mut send: impl FnMut(P)) {
        (self.sent, self.of) = (0, bursts * BURST);
        for _ in 0..self.bursts_under_way {
            self.burst(&mut send);
        }
    }

    /// Sends the next burst, if there is one. A credit allows it.
    pub fn burst<P: Payload>(&mut self, mut send: impl FnMut(P)) {
        let end = (self.sent + BURST).min(self.of);
        for sequence in self.sent..end {
            send(P::new(self.number, sequence));
        }
        self.sent = end;
    }
}

/// Fan-in's sink.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Sink {
    /// By sender, the number of its next message.
    next: Vec<u32>,
    expected: u64,
    received: Received,
}

/// What the sink has to do after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Wait,
    /// Give that sender a credit.
    Credit(u32),
    /// All is received.
    Done(Received),
}

impl Sink {
    /// Begins to expect so many bursts from each of so many senders.
    pub fn begin(&mut self, senders: u32, bursts: u32) {
        self.next.clear();
        self.next.resize(senders as usize, 0);
        self.expected = u64::from(senders) * u64::from(bursts) * u64::from(BURST);
        self.received = Received::default();
    }

    /// Takes a message.
    pub fn take<P: Payload>(&mut self, message: &P) -> Then {
        let sender = message.sender();
        let next = &mut self.next[sender as usize];
        self.received.count(message, *next);
        *next += 1;
        if self.received.messages == self.expected {
            Then::Done(self.received)
        } else if next.is_multiple_of(BURST) {
            Then::Credit(sender)
        } else {
            Then::Wait
        }
    }
}

/// The place in the ring where a token begins: tokens are spread evenly.
pub fn token_begins_at(token: u32, tokens: u32) -> usize {
    (token * (RING / tokens)) as usize
}

/// A token that has so many hops to make, and makes the first of them with this message.
pub fn token<P: Payload>(number: u32, hops: u32) -> P {
    P::new(number, hops - 1)
}

/// One hop: the message for the next in the ring, or nothing if the token has made all its hops.
pub fn hop<P: Payload>(message: &P) -> Option<P> {
    let left = message.sequence().checked_sub(1)?;
    Some(P::new(message.sender(), left))
}

/// Who waits for the tokens.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Arrivals {
    expected: u64,
    received: Received,
}

impl Arrivals {
    /// Begins to expect so many tokens.
    pub fn begin(&mut self, tokens: u32) {
        *self = Arrivals { expected: u64::from(tokens), received: Received::default() };
    }

    /// Takes a token that has made all its hops.
    pub fn take<P: Payload>(&mut self, message: &P) -> Option<Received> {
        self.received.count(message, 0);
        (self.received.messages == self.expected).then_some(self.received)
    }
}

/// Who spawns children.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Parent {
    children: u32,
    spawned: u32,
    received: Received,
}

impl Parent {
    /// Begins so many children.
    pub fn begin(&mut self, children: u32) {
        *self = Parent { children, spawned: 0, received: Received::default() };
    }

    /// The first messages of the children to spawn next.
    pub fn brood<P: Payload>(&mut self) -> impl Iterator<Item = P> + use<P> {
        let end = (self.spawned + BROOD).min(self.children);
        let brood = self.spawned..end;
        self.spawned = end;
        brood.map(|child| P::new(0, child))
    }

    /// Takes the answer of a child. True if the next brood is due.
    pub fn take<P: Payload>(&mut self, answer: &P) -> ControlFlow<Received, bool> {
        self.received.count(answer, answer.sequence());
        let answers = self.received.messages;
        if answers == u64::from(self.children) {
            return ControlFlow::Break(self.received);
        }
        ControlFlow::Continue(answers == u64::from(self.spawned))
    }
}

/// Fan-out's hub.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Hub {
    receivers: u32,
    rounds: u32,
    round: u32,
    outstanding: u32,
    received: Received,
}

impl Hub {
    /// Begins so many rounds; the first message is for each of the receivers.
    pub fn begin<P: Payload>(&mut self, receivers: u32, rounds: u32) -> P {
        *self = Hub { receivers, rounds, round: 0, outstanding: receivers, received: Received::default() };
        P::new(0, 0)
    }

    /// Takes an acknowledgement. Gives the next round's message, if the round is over.
    pub fn take<P: Payload>(&mut self, acknowledged: Acknowledged) -> ControlFlow<Received, Option<P>> {
        self.received.messages += 1;
        self.received.sum = self.received.sum.wrapping_add(acknowledged.value);
        self.outstanding -= 1;
        if self.outstanding > 0 {
            return ControlFlow::Continue(None);
        }
        self.round += 1;
        if self.round == self.rounds {
            return ControlFlow::Break(self.received);
        }
        self.outstanding = self.receivers;
        ControlFlow::Continue(Some(P::new(0, self.round)))
    }
}

/// A receiver's answer to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The value of what is acknowledged.
    pub value: u64,
}

/// What a receiver answers.
pub fn acknowledge<P: Payload>(message: &P) -> Acknowledged {
    Acknowledged { value: message.value() }
}

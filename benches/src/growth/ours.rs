//! Ours: a whole node in its default configuration whose FSMs are the relays, and the host program's thread asleep meanwhile.
//!
//! A relay adds to a count of its own and sends the token to the next one. So a message touches, beside what is warm in any
//! case, the receiver's place in its worker's table and the FSM itself, which lies on the heap.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use qnfsm::{Context, Fsm, Kinds, Next, Node, NodeBuilder, NodeRequest, QueueId, Reply, ReplyTo, WorkerId};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{
    cargo::Cargo,
    circuit::{Arrived, Circuit, Token},
};
use crate::{
    plan::{Failure, Recording},
    recorded::recorded,
};

/// How long anything may take that the host or the lead waits for.
const PATIENCE: Duration = Duration::from_secs(100);
/// How many relays are spawned, or introduced to the next one, in one go.
const CHUNK: usize = 10_000;

/// Nanoseconds for each message.
///
/// # Errors
/// When the node fails, or doesn't do what it should.
pub fn measured<C: Cargo>(circuit: Circuit, recording: Recording, quick: bool) -> Result<f64, Failure> {
    let Running { node, dir } = Running::<C>::start(circuit, recording)?;
    let (host, lead) = (node.host(), node.root());
    let ns = circuit.timed(quick, |hops| {
        let begun = Instant::now();
        let arrived = host.request(lead, PATIENCE, |reply| LeadMessage::Begin { hops, reply })?;
        Ok((arrived, begun.elapsed()))
    })?;
    node.stop()?;
    drop(dir);
    Ok(ns)
}

/// A node whose relays are there. Its directory, if it has one, goes away after it.
struct Running<C: Cargo> {
    node: Node<LeadMessage<C>>,
    dir: Option<TempDir>,
}

impl<C: Cargo> Running<C> {
    fn start(circuit: Circuit, recording: Recording) -> Result<Running<C>, Failure> {
        let kinds = Kinds::new()
            .with::<Lead<C>>()
            .with::<Relay<C>>()
            .replies::<LeadMessage<C>, WorkerId>()
            .replies::<LeadMessage<C>, QueueId<RelayMessage<C>>>()
            .message::<()>()
            .message::<Arrived>();
        let (builder, dir) = recorded(NodeBuilder::new("qnfsm-bench", kinds), recording)?;
        let node = builder.start(&Lead::new(circuit))?;
        node.host().request(node.root(), PATIENCE, LeadMessage::Ready)?;
        Ok(Running { node, dir })
    }
}

/// One place in the ring.
#[derive(Serialize, Deserialize)]
#[serde(bound = "C: Cargo")]
struct Relay<C: Cargo> {
    next: Option<QueueId<RelayMessage<C>>>,
    lead: QueueId<LeadMessage<C>>,
    passed: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "C: Cargo")]
enum RelayMessage<C> {
    Next(QueueId<RelayMessage<C>>),
    Token(Token<C>),
}

impl<C: Cargo> Fsm for Relay<C> {
    const NAME: &'static str = "relay";
    type State = ();
    type Message = RelayMessage<C>;

    fn start(&mut self, _cx: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), message: RelayMessage<C>, cx: &mut Context<'_, Self>) -> Next<Self> {
        match (message, self.next) {
            (RelayMessage::Token(Token { number, hops, cargo }), Some(next)) => {
                self.passed += 1;
                match hops.checked_sub(1) {
                    Some(hops) if hops > 0 => cx.send(next, RelayMessage::Token(Token { number, hops, cargo })),
                    _ => cx.send(self.lead, LeadMessage::Arrived { number, bytes: cargo.bytes() }),
                }
            }
            (RelayMessage::Next(next), _) => self.next = Some(next),
            (other, None) => return Next::Unhandled(other),
        }
        Next::Stay
    }
}

/// The node's first FSM: spawns the relays, makes a ring of them, lets tokens go and waits for them.
#[derive(Serialize, Deserialize)]
#[serde(bound = "C: Cargo")]
struct Lead<C: Cargo> {
    circuit: Circuit,
    /// As they come in; once all are there, in the order of the ring.
    relays: Vec<QueueId<RelayMessage<C>>>,
    arrived: Arrived,
    asked_by: Option<ReplyTo<Arrived>>,
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "C: Cargo")]
enum LeadMessage<C: Cargo> {
    /// By itself: spawn the next relays of its own worker.
    Hire,
    /// By itself: introduce the relays from this place on to the next ones.
    Introduce { from: usize },
    /// By the node: there is another worker.
    Worker(Reply<WorkerId>),
    /// By another worker: there is a relay.
    Relay(Reply<QueueId<RelayMessage<C>>>),
    /// By the host: say when all is there.
    Ready(ReplyTo<()>),
    /// By the host: let each token make so many hops.
    Begin { hops: u32, reply: ReplyTo<Arrived> },
    /// By a relay: a token has made all its hops.
    Arrived { number: u32, bytes: u32 },
}

impl<C: Cargo> From<Reply<WorkerId>> for LeadMessage<C> {
    fn from(reply: Reply<WorkerId>) -> LeadMessage<C> {
        LeadMessage::Worker(reply)
    }
}

impl<C: Cargo> From<Reply<QueueId<RelayMessage<C>>>> for LeadMessage<C> {
    fn from(reply: Reply<QueueId<RelayMessage<C>>>) -> LeadMessage<C> {
        LeadMessage::Relay(reply)
    }
}

/// Whether the ring is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    Hiring,
    Ready,
}

impl<C: Cargo> Lead<C> {
    fn new(circuit: Circuit) -> Lead<C> {
        Lead { circuit, relays: Vec::new(), arrived: Arrived::default(), asked_by: None }
    }

    /// A relay has come in.
    fn hired(&mut self, relay: QueueId<RelayMessage<C>>, cx: &mut Context<'_, Lead<C>>) {
        self.relays.push(relay);
        if self.relays.len() == self.circuit.relays() as usize {
            self.arrange();
            cx.send_self(LeadMessage::Introduce { from: 0 });
        }
    }

    /// Puts the relays into the order of the ring: from worker to worker, and in each as the circuit says.
    fn arrange(&mut self) {
        let mut by_worker = BTreeMap::<_, Vec<_>>::new();
        for relay in std::mem::take(&mut self.relays) {
            by_worker.entry(relay.raw().place()).or_default().push(relay);
        }
        for relays in by_worker.values_mut() {
            relays.sort_by_key(|relay| relay.raw().slot());
            self.circuit.order.arrange(relays);
        }
        let each = self.circuit.relays_each as usize;
        self.relays.extend((0..each).flat_map(|index| by_worker.values().map(move |relays| relays[index])));
    }

    fn introduce(&mut self, from: usize, cx: &mut Context<'_, Lead<C>>) -> Phase {
        let to = (from + CHUNK).min(self.relays.len());
        for place in from..to {
            let next = self.relays[(place + 1) % self.relays.len()];
            cx.send(self.relays[place], RelayMessage::Next(next));
        }
        if to == self.relays.len() {
            return Phase::Ready;
        }
        cx.send_self(LeadMessage::Introduce { from: to });
        Phase::Hiring
    }
}

impl<C: Cargo> Fsm for Lead<C> {
    const NAME: &'static str = "lead";
    type State = Phase;
    type Message = LeadMessage<C>;

    fn start(&mut self, cx: &mut Context<'_, Lead<C>>) -> Phase {
        cx.send_self(LeadMessage::Hire);
        for _ in 1..self.circuit.workers {
            let node = NodeRequest::queue(cx.id().raw().node());
            cx.request(node, PATIENCE, |reply| NodeRequest::StartWorker { reply });
        }
        Phase::Hiring
    }

    fn handle(&mut self, phase: Phase, message: LeadMessage<C>, cx: &mut Context<'_, Lead<C>>) -> Next<Lead<C>> {
        let lead = cx.id();
        let relay = || Relay { next: None, lead, passed: 0 };
        match (phase, message) {
            (Phase::Ready, LeadMessage::Arrived { number, bytes }) => {
                self.arrived.count(number, bytes);
                if self.arrived.tokens == self.circuit.tokens {
                    let asked_by = self.asked_by.take().expect("a lap ends once");
                    cx.reply(asked_by, self.arrived);
                }
            }
            (Phase::Ready, LeadMessage::Begin { hops, reply }) => {
                (self.asked_by, self.arrived) = (Some(reply), Arrived::default());
                for number in 0..self.circuit.tokens {
                    let cargo = C::of_bytes(self.circuit.payload_bytes);
                    let first = self.relays[self.circuit.begins_at(number)];
                    cx.send(first, RelayMessage::Token(Token { number, hops, cargo }));
                }
            }
            (Phase::Ready, LeadMessage::Ready(reply)) => cx.reply(reply, ()),
            (Phase::Hiring, message @ LeadMessage::Ready(_)) => return Next::Postpone(message),
            (Phase::Hiring, LeadMessage::Hire) => {
                let of_this_worker = self.relays.iter().filter(|relay| relay.raw().place() == lead.raw().place());
                let missing = self.circuit.relays_each as usize - of_this_worker.count();
                for _ in 0..missing.min(CHUNK) {
                    let relay = cx.spawn(relay());
                    self.hired(relay, cx);
                }
                if missing > CHUNK {
                    cx.send_self(LeadMessage::Hire);
                }
            }
            (Phase::Hiring, LeadMessage::Worker(Reply { outcome: Ok(worker), .. })) => {
                for _ in 0..self.circuit.relays_each {
                    cx.spawn_on(worker, relay(), PATIENCE);
                }
            }
            (Phase::Hiring, LeadMessage::Relay(Reply { outcome: Ok(relay), .. })) => self.hired(relay, cx),
            (Phase::Hiring, LeadMessage::Introduce { from }) => return Next::Goto(self.introduce(from, cx)),
            (_, other) => return Next::Unhandled(other),
        }
        Next::Stay
    }
}

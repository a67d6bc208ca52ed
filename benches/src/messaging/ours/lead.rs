//! The node's first FSM in all cases: spawns the members here or in a second worker, and answers the host when it is told.
//!
//! A case says by [`Leader`] what its members are and what they tell the lead. Measured is what happens between
//! [`LeadMessage::Begin`] and the answer to it.

use std::time::Duration;

use qnfsm::{Context, Fsm, Kinds, Message, Next, NodeRequest, QueueId, Reply, ReplyTo, WorkerId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::super::roles::Received;
use crate::plan::Class;

/// How long the lead waits for a worker and its members; as long as the host does.
const PATIENCE: Duration = super::PATIENCE;

/// The queues of a case's members.
pub type Members<L> = [QueueId<<<L as Leader>::Member as Fsm>::Message>];

/// What is a case's own.
pub trait Leader: Serialize + DeserializeOwned + Send + 'static {
    /// The lead's name as a kind.
    const NAME: &'static str;
    /// What the members tell the lead.
    type Message: Message;
    /// The kind of the members.
    type Member: Fsm;

    /// How many members there are; and how many of these go to the second worker, where there is one.
    fn members(&self) -> (u32, u32);

    /// The member of that number.
    fn member(&self, number: u32, lead: QueueId<LeadMessage<Self>>) -> Self::Member;

    /// Called once, when all members are there.
    fn introduce(&self, members: &Members<Self>, cx: &mut Context<'_, Lead<Self>>) {
        let _ = (members, cx);
    }

    /// Begins a lap of that size.
    fn begin(&mut self, size: u32, members: &Members<Self>, cx: &mut Context<'_, Lead<Self>>);

    /// Takes what a member says. What was received, if the lap is over.
    fn take(
        &mut self,
        message: Self::Message,
        members: &Members<Self>,
        cx: &mut Context<'_, Lead<Self>>,
    ) -> Option<Received>;
}

/// The lead.
#[derive(Serialize, Deserialize)]
#[serde(bound = "L: Leader")]
pub struct Lead<L: Leader> {
    leader: L,
    class: Class,
    members: Vec<QueueId<<L::Member as Fsm>::Message>>,
    asked_by: Option<ReplyTo<Received>>,
}

/// What the lead is told.
#[derive(Serialize, Deserialize)]
#[serde(bound = "L: Leader")]
pub enum LeadMessage<L: Leader> {
    /// By a member.
    Own(L::Message),
    /// By the host: do a lap.
    Begin {
        /// Its size.
        size: u32,
        /// Whom to tell what was received.
        reply: ReplyTo<Received>,
    },
    /// By the host: say when all is there.
    Ready(ReplyTo<()>),
    /// By the node: there is a second worker.
    Worker(Reply<WorkerId>),
    /// By the second worker: there is a member.
    Member(Reply<QueueId<<L::Member as Fsm>::Message>>),
}

impl<L: Leader> From<Reply<WorkerId>> for LeadMessage<L> {
    fn from(reply: Reply<WorkerId>) -> LeadMessage<L> {
        LeadMessage::Worker(reply)
    }
}

impl<L: Leader<Member: Fsm<Message = M>>, M> From<Reply<QueueId<M>>> for LeadMessage<L> {
    fn from(reply: Reply<QueueId<M>>) -> LeadMessage<L> {
        LeadMessage::Member(reply)
    }
}

/// Whether the members are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Hiring,
    Ready,
}

impl<L: Leader> Lead<L> {
    pub fn new(leader: L, class: Class) -> Lead<L> {
        Lead { leader, class, members: Vec::new(), asked_by: None }
    }

    pub fn kinds() -> Kinds {
        Kinds::new()
            .with::<Lead<L>>()
            .with::<L::Member>()
            .replies::<LeadMessage<L>, WorkerId>()
            .replies::<LeadMessage<L>, QueueId<<L::Member as Fsm>::Message>>()
            .message::<()>()
            .message::<Received>()
    }

    /// How many members stay in this worker.
    fn here(&self) -> u32 {
        let (members, away) = self.leader.members();
        match self.class {
            Class::OneThread => members,
            Class::TwoThreads => members - away,
        }
    }

    /// Ready, if all members are there.
    fn look(&mut self, cx: &mut Context<'_, Lead<L>>) -> Phase {
        if self.members.len() < self.leader.members().0 as usize {
            return Phase::Hiring;
        }
        self.leader.introduce(&self.members, cx);
        Phase::Ready
    }
}

impl<L: Leader> Fsm for Lead<L> {
    const NAME: &'static str = L::NAME;
    type State = Phase;
    type Message = LeadMessage<L>;

    fn start(&mut self, cx: &mut Context<'_, Lead<L>>) -> Phase {
        for number in 0..self.here() {
            let member = cx.spawn(self.leader.member(number, cx.id()));
            self.members.push(member);
        }
        if self.class == Class::TwoThreads {
            let node = NodeRequest::queue(cx.id().raw().node());
            cx.request(node, PATIENCE, |reply| NodeRequest::StartWorker { reply });
        }
        self.look(cx)
    }

    fn handle(&mut self, phase: Phase, message: LeadMessage<L>, cx: &mut Context<'_, Lead<L>>) -> Next<Lead<L>> {
        match (phase, message) {
            (Phase::Ready, LeadMessage::Own(message)) => {
                if let Some(received) = self.leader.take(message, &self.members, cx) {
                    let asked_by = self.asked_by.take().expect("a lap ends once");
                    cx.reply(asked_by, received);
                }
            }
            (Phase::Ready, LeadMessage::Begin { size, reply }) => {
                self.asked_by = Some(reply);
                self.leader.begin(size, &self.members, cx);
            }
            (Phase::Ready, LeadMessage::Ready(reply)) => cx.reply(reply, ()),
            (Phase::Hiring, message @ LeadMessage::Ready(_)) => return Next::Postpone(message),
            (Phase::Hiring, LeadMessage::Worker(Reply { outcome: Ok(worker), .. })) => {
                for number in self.here()..self.leader.members().0 {
                    let member = self.leader.member(number, cx.id());
                    cx.spawn_on(worker, member, PATIENCE);
                }
            }
            (Phase::Hiring, LeadMessage::Member(Reply { outcome: Ok(member), .. })) => {
                self.members.push(member);
                return Next::Goto(self.look(cx));
            }
            (_, other) => return Next::Unhandled(other),
        }
        Next::Stay
    }
}

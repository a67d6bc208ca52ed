//! Spawning: the lead is the parent. Its children are no members, because they come and go within a lap.

use std::{marker::PhantomData, ops::ControlFlow};

use qnfsm::{Context, Fsm, Next, QueueId};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        message::Payload,
        roles::{Parent, Received},
    },
    lead::{Lead, LeadMessage, Leader, Members},
};

#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
pub struct Spawn<P> {
    parent: Parent,
    stays: bool,
    of: PhantomData<P>,
}

impl<P: Payload> Spawn<P> {
    pub fn new(stays: bool) -> Spawn<P> {
        Spawn { parent: Parent::default(), stays, of: PhantomData }
    }

    fn brood(&mut self, cx: &mut Context<'_, Lead<Self>>) {
        for message in self.parent.brood::<P>() {
            let child = cx.spawn(Child { parent: cx.id(), stays: self.stays });
            cx.send(child, message);
        }
    }
}

impl<P: Payload> Leader for Spawn<P> {
    const NAME: &'static str = "parent";
    type Message = P;
    type Member = Child<P>;

    fn members(&self) -> (u32, u32) {
        (0, 0)
    }

    fn member(&self, _number: u32, lead: QueueId<LeadMessage<Self>>) -> Child<P> {
        Child { parent: lead, stays: self.stays }
    }

    fn begin(&mut self, children: u32, _members: &Members<Self>, cx: &mut Context<'_, Lead<Self>>) {
        self.parent.begin(children);
        self.brood(cx);
    }

    fn take(&mut self, answer: P, _members: &Members<Self>, cx: &mut Context<'_, Lead<Self>>) -> Option<Received> {
        match self.parent.take(&answer) {
            ControlFlow::Continue(true) => self.brood(cx),
            ControlFlow::Continue(false) => {}
            ControlFlow::Break(received) => return Some(received),
        }
        None
    }
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
pub struct Child<P: Payload> {
    parent: QueueId<LeadMessage<Spawn<P>>>,
    stays: bool,
}

impl<P: Payload> Fsm for Child<P> {
    const NAME: &'static str = "child";
    type State = ();
    type Message = P;

    fn start(&mut self, _cx: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), message: P, cx: &mut Context<'_, Self>) -> Next<Self> {
        cx.send(self.parent, LeadMessage::Own(message));
        if self.stays { Next::Stay } else { Next::Stop }
    }
}

//! Ping-pong: the lead and one member, and one message between them.

use std::{marker::PhantomData, ops::ControlFlow};

use qnfsm::{Context, Fsm, Next, QueueId};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        message::Payload,
        roles::{self, Pinger, Received},
    },
    lead::{Lead, LeadMessage, Leader, Members},
};

#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
pub struct PingPong<P> {
    pinger: Pinger,
    of: PhantomData<P>,
}

impl<P> PingPong<P> {
    pub fn new() -> PingPong<P> {
        PingPong { pinger: Pinger::default(), of: PhantomData }
    }
}

impl<P: Payload> Leader for PingPong<P> {
    const NAME: &'static str = "pinger";
    type Message = P;
    type Member = Ponger<P>;

    fn members(&self) -> (u32, u32) {
        (1, 1)
    }

    fn member(&self, _number: u32, lead: QueueId<LeadMessage<Self>>) -> Ponger<P> {
        Ponger { pinger: lead }
    }

    fn begin(&mut self, rounds: u32, members: &Members<Self>, cx: &mut Context<'_, Lead<Self>>) {
        cx.send(members[0], self.pinger.begin::<P>(rounds));
    }

    fn take(&mut self, answer: P, members: &Members<Self>, cx: &mut Context<'_, Lead<Self>>) -> Option<Received> {
        match self.pinger.take(&answer) {
            ControlFlow::Continue(message) => {
                cx.send(members[0], message);
                None
            }
            ControlFlow::Break(received) => Some(received),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
pub struct Ponger<P: Payload> {
    pinger: QueueId<LeadMessage<PingPong<P>>>,
}

impl<P: Payload> Fsm for Ponger<P> {
    const NAME: &'static str = "ponger";
    type State = ();
    type Message = P;

    fn start(&mut self, _cx: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), message: P, cx: &mut Context<'_, Self>) -> Next<Self> {
        cx.send(self.pinger, LeadMessage::Own(roles::pong(&message)));
        Next::Stay
    }
}

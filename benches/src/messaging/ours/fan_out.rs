//! Fan-out: the lead is the hub, its members are the receivers.

use std::{marker::PhantomData, ops::ControlFlow};

use qnfsm::{Context, Fsm, Next, QueueId};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        message::Payload,
        roles::{Acknowledged, Hub, Received, acknowledge},
    },
    lead::{Lead, LeadMessage, Leader, Members},
};

#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
pub struct FanOut<P> {
    receivers: u32,
    hub: Hub,
    of: PhantomData<P>,
}

impl<P> FanOut<P> {
    pub fn new(receivers: u32) -> FanOut<P> {
        FanOut { receivers, hub: Hub::default(), of: PhantomData }
    }
}

impl<P: Payload> FanOut<P> {
    fn send(message: P, members: &Members<Self>, cx: &mut Context<'_, Lead<Self>>) {
        for &member in members {
            cx.send(member, message);
        }
    }
}

impl<P: Payload> Leader for FanOut<P> {
    const NAME: &'static str = "hub";
    type Message = Acknowledged;
    type Member = Receiver<P>;

    fn members(&self) -> (u32, u32) {
        (self.receivers, self.receivers)
    }

    fn member(&self, _number: u32, lead: QueueId<LeadMessage<Self>>) -> Receiver<P> {
        Receiver { hub: lead }
    }

    fn begin(&mut self, rounds: u32, members: &Members<Self>, cx: &mut Context<'_, Lead<Self>>) {
        FanOut::send(self.hub.begin::<P>(self.receivers, rounds), members, cx);
    }

    fn take(
        &mut self,
        message: Acknowledged,
        members: &Members<Self>,
        cx: &mut Context<'_, Lead<Self>>,
    ) -> Option<Received> {
        match self.hub.take::<P>(message) {
            ControlFlow::Continue(Some(message)) => FanOut::send(message, members, cx),
            ControlFlow::Continue(None) => {}
            ControlFlow::Break(received) => return Some(received),
        }
        None
    }
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
pub struct Receiver<P: Payload> {
    hub: QueueId<LeadMessage<FanOut<P>>>,
}

impl<P: Payload> Fsm for Receiver<P> {
    const NAME: &'static str = "receiver";
    type State = ();
    type Message = P;

    fn start(&mut self, _cx: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), message: P, cx: &mut Context<'_, Self>) -> Next<Self> {
        cx.send(self.hub, LeadMessage::Own(acknowledge(&message)));
        Next::Stay
    }
}

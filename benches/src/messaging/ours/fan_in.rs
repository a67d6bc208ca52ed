//! Fan-in: the lead is the sink, its members are the senders.

use std::marker::PhantomData;

use qnfsm::{Context, Fsm, Next, QueueId};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        message::Payload,
        roles::{Received, Sender, Sink, Then},
    },
    lead::{Lead, LeadMessage, Leader, Members},
};

#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
pub struct FanIn<P> {
    senders: u32,
    sink: Sink,
    of: PhantomData<P>,
}

impl<P> FanIn<P> {
    pub fn new(senders: u32) -> FanIn<P> {
        FanIn { senders, sink: Sink::default(), of: PhantomData }
    }
}

impl<P: Payload> Leader for FanIn<P> {
    const NAME: &'static str = "sink";
    type Message = P;
    type Member = Source<P>;

    fn members(&self) -> (u32, u32) {
        (self.senders, self.senders)
    }

    fn member(&self, number: u32, lead: QueueId<LeadMessage<Self>>) -> Source<P> {
        Source { sender: Sender::new(number, self.senders), sink: lead }
    }

    fn begin(&mut self, bursts: u32, members: &Members<Self>, cx: &mut Context<'_, Lead<Self>>) {
        self.sink.begin(self.senders, bursts);
        for &member in members {
            cx.send(member, SourceMessage::Begin { bursts });
        }
    }

    fn take(&mut self, message: P, members: &Members<Self>, cx: &mut Context<'_, Lead<Self>>) -> Option<Received> {
        match self.sink.take(&message) {
            Then::Wait => None,
            Then::Credit(sender) => {
                cx.send(members[sender as usize], SourceMessage::Credit);
                None
            }
            Then::Done(received) => Some(received),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
pub struct Source<P: Payload> {
    sender: Sender,
    sink: QueueId<LeadMessage<FanIn<P>>>,
}

#[derive(Serialize, Deserialize)]
pub enum SourceMessage {
    Begin { bursts: u32 },
    Credit,
}

impl<P: Payload> Fsm for Source<P> {
    const NAME: &'static str = "source";
    type State = ();
    type Message = SourceMessage;

    fn start(&mut self, _cx: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), message: SourceMessage, cx: &mut Context<'_, Self>) -> Next<Self> {
        let send = |message: P| cx.send(self.sink, LeadMessage::Own(message));
        match message {
            SourceMessage::Begin { bursts } => self.sender.begin(bursts, send),
            SourceMessage::Credit => self.sender.burst(send),
        }
        Next::Stay
    }
}

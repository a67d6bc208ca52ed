//! The ring: its members pass tokens on, and the lead waits for those that have made all their hops. Over two workers one half
//! of the ring lies in each.

use std::marker::PhantomData;

use qnfsm::{Context, Fsm, Next, QueueId};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        message::Payload,
        roles::{self, Arrivals, RING, Received},
    },
    lead::{Lead, LeadMessage, Leader, Members},
};

#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
pub struct Ring<P> {
    tokens: u32,
    arrivals: Arrivals,
    of: PhantomData<P>,
}

impl<P> Ring<P> {
    pub fn new(tokens: u32) -> Ring<P> {
        Ring { tokens, arrivals: Arrivals::default(), of: PhantomData }
    }
}

impl<P: Payload> Leader for Ring<P> {
    const NAME: &'static str = "ring";
    type Message = P;
    type Member = Place<P>;

    fn members(&self) -> (u32, u32) {
        (RING, RING / 2)
    }

    fn member(&self, _number: u32, lead: QueueId<LeadMessage<Self>>) -> Place<P> {
        Place { next: None, lead }
    }

    fn introduce(&self, members: &Members<Self>, cx: &mut Context<'_, Lead<Self>>) {
        for (place, &member) in members.iter().enumerate() {
            cx.send(member, PlaceMessage::Next(members[(place + 1) % members.len()]));
        }
    }

    fn begin(&mut self, hops: u32, members: &Members<Self>, cx: &mut Context<'_, Lead<Self>>) {
        self.arrivals.begin(self.tokens);
        for number in 0..self.tokens {
            let first = members[roles::token_begins_at(number, self.tokens)];
            cx.send(first, PlaceMessage::Token(roles::token::<P>(number, hops)));
        }
    }

    fn take(&mut self, token: P, _members: &Members<Self>, _cx: &mut Context<'_, Lead<Self>>) -> Option<Received> {
        self.arrivals.take(&token)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
pub struct Place<P: Payload> {
    next: Option<QueueId<PlaceMessage<P>>>,
    lead: QueueId<LeadMessage<Ring<P>>>,
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
pub enum PlaceMessage<P> {
    Next(QueueId<PlaceMessage<P>>),
    Token(P),
}

impl<P: Payload> Fsm for Place<P> {
    const NAME: &'static str = "place";
    type State = ();
    type Message = PlaceMessage<P>;

    fn start(&mut self, _cx: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), message: PlaceMessage<P>, cx: &mut Context<'_, Self>) -> Next<Self> {
        match (message, self.next) {
            (PlaceMessage::Token(token), Some(next)) => match roles::hop(&token) {
                Some(token) => cx.send(next, PlaceMessage::Token(token)),
                None => cx.send(self.lead, LeadMessage::Own(token)),
            },
            (PlaceMessage::Next(next), _) => self.next = Some(next),
            (other, None) => return Next::Unhandled(other),
        }
        Next::Stay
    }
}

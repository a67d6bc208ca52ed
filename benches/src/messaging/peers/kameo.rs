//! kameo: a handler for each message type, `tell`. Its mailboxes are unbounded ones, so `try_send` never fails for want of room.

use std::{marker::PhantomData, ops::ControlFlow};

use ::kameo::{
    actor::{Actor, ActorRef, Spawn},
    error::Infallible,
    mailbox,
    message::{Context, Message},
};

use super::{
    super::{
        case::Case,
        lap::Course,
        message::Payload,
        roles::{self, Acknowledged, Arrivals, Hub, Parent, Pinger, RING, Sender, Sink, Then},
    },
    Begin, Done, Running, finish, tokio_runtime,
};
use crate::plan::{Class, Failure};

/// Starts the actors of a case.
///
/// # Errors
/// When the runtime can't be made.
pub fn course<P: Payload>(case: Case, class: Class) -> Result<Box<dyn Course>, Failure> {
    match case {
        Case::PingPong => running::<PingerActor<P>>(class, ()),
        Case::FanIn(senders) => running::<SinkActor<P>>(class, senders),
        Case::Ring(tokens) => running::<RingActor<P>>(class, tokens),
        Case::Spawn | Case::SpawnMemory => running::<ParentActor<P>>(class, case.stays()),
        Case::FanOut(receivers) => running::<HubActor<P>>(class, receivers),
    }
}

fn running<A: Message<Begin>>(class: Class, arguments: A::Args) -> Result<Box<dyn Course>, Failure> {
    let runtime = tokio_runtime(class)?;
    let lead = runtime.block_on(async {
        let lead = spawn::<A>(arguments);
        lead.wait_for_startup().await;
        lead
    });
    let begin = move |begin| lead.tell(begin).try_send().map_err(|error| error.to_string().into());
    Ok(Box::new(Running { runtime, begin }))
}

fn spawn<A: Actor>(arguments: A::Args) -> ActorRef<A> {
    A::spawn_with_mailbox(arguments, mailbox::unbounded())
}

/// Sends without waiting.
fn tell<A: Message<M>, M: Send + 'static>(to: &ActorRef<A>, message: M) {
    // Who is gone has failed; the lap then never ends, and the run is reported.
    let _ = to.tell(message).try_send();
}

struct Item<P>(P);

/// An actor that is what it is spawned with.
macro_rules! plain_actor {
    ($actor:ident) => {
        impl<P: Payload> Actor for $actor<P> {
            type Args = Self;
            type Error = Infallible;

            async fn on_start(actor: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
                Ok(actor)
            }
        }
    };
}

struct PingerActor<P: Payload> {
    pinger: Pinger,
    ponger: ActorRef<PongerActor<P>>,
    done: Option<Done>,
}

struct PongerActor<P: Payload> {
    pinger: ActorRef<PingerActor<P>>,
}

plain_actor!(PongerActor);

impl<P: Payload> Actor for PingerActor<P> {
    type Args = ();
    type Error = Infallible;

    async fn on_start((): (), pinger: ActorRef<Self>) -> Result<Self, Infallible> {
        let ponger = spawn(PongerActor { pinger });
        Ok(PingerActor { pinger: Pinger::default(), ponger, done: None })
    }
}

impl<P: Payload> Message<Begin> for PingerActor<P> {
    type Reply = ();

    async fn handle(&mut self, begin: Begin, _: &mut Context<Self, ()>) {
        self.done = Some(begin.done);
        tell(&self.ponger, Item(self.pinger.begin::<P>(begin.size)));
    }
}

impl<P: Payload> Message<Item<P>> for PingerActor<P> {
    type Reply = ();

    async fn handle(&mut self, Item(answer): Item<P>, _: &mut Context<Self, ()>) {
        match self.pinger.take(&answer) {
            ControlFlow::Continue(next) => tell(&self.ponger, Item(next)),
            ControlFlow::Break(received) => finish(&mut self.done, received),
        }
    }
}

impl<P: Payload> Message<Item<P>> for PongerActor<P> {
    type Reply = ();

    async fn handle(&mut self, Item(message): Item<P>, _: &mut Context<Self, ()>) {
        tell(&self.pinger, Item(roles::pong(&message)));
    }
}

struct SinkActor<P: Payload> {
    sink: Sink,
    sources: Vec<ActorRef<SourceActor<P>>>,
    done: Option<Done>,
}

struct SourceActor<P: Payload> {
    sender: Sender,
    sink: ActorRef<SinkActor<P>>,
}

plain_actor!(SourceActor);

struct BeginBursts {
    bursts: u32,
}

struct Credit;

impl<P: Payload> Actor for SinkActor<P> {
    type Args = u32;
    type Error = Infallible;

    async fn on_start(senders: u32, sink: ActorRef<Self>) -> Result<Self, Infallible> {
        let source = |number| spawn(SourceActor { sender: Sender::new(number, senders), sink: sink.clone() });
        Ok(SinkActor { sink: Sink::default(), sources: (0..senders).map(source).collect(), done: None })
    }
}

impl<P: Payload> Message<Begin> for SinkActor<P> {
    type Reply = ();

    async fn handle(&mut self, begin: Begin, _: &mut Context<Self, ()>) {
        self.done = Some(begin.done);
        self.sink.begin(u32::try_from(self.sources.len()).expect("few senders"), begin.size);
        self.sources.iter().for_each(|source| tell(source, BeginBursts { bursts: begin.size }));
    }
}

impl<P: Payload> Message<Item<P>> for SinkActor<P> {
    type Reply = ();

    async fn handle(&mut self, Item(message): Item<P>, _: &mut Context<Self, ()>) {
        match self.sink.take(&message) {
            Then::Wait => {}
            Then::Credit(sender) => tell(&self.sources[sender as usize], Credit),
            Then::Done(received) => finish(&mut self.done, received),
        }
    }
}

impl<P: Payload> Message<BeginBursts> for SourceActor<P> {
    type Reply = ();

    async fn handle(&mut self, begin: BeginBursts, _: &mut Context<Self, ()>) {
        self.sender.begin(begin.bursts, |message: P| tell(&self.sink, Item(message)));
    }
}

impl<P: Payload> Message<Credit> for SourceActor<P> {
    type Reply = ();

    async fn handle(&mut self, Credit: Credit, _: &mut Context<Self, ()>) {
        self.sender.burst(|message: P| tell(&self.sink, Item(message)));
    }
}

struct RingActor<P: Payload> {
    tokens: u32,
    arrivals: Arrivals,
    places: Vec<ActorRef<PlaceActor<P>>>,
    done: Option<Done>,
}

struct PlaceActor<P: Payload> {
    next: Option<ActorRef<PlaceActor<P>>>,
    lead: ActorRef<RingActor<P>>,
}

plain_actor!(PlaceActor);

struct Next<P: Payload>(ActorRef<PlaceActor<P>>);

impl<P: Payload> Actor for RingActor<P> {
    type Args = u32;
    type Error = Infallible;

    async fn on_start(tokens: u32, lead: ActorRef<Self>) -> Result<Self, Infallible> {
        let places: Vec<_> = (0..RING).map(|_| spawn(PlaceActor { next: None, lead: lead.clone() })).collect();
        for (number, place) in places.iter().enumerate() {
            tell(place, Next(places[(number + 1) % places.len()].clone()));
        }
        Ok(RingActor { tokens, arrivals: Arrivals::default(), places, done: None })
    }
}

impl<P: Payload> Message<Begin> for RingActor<P> {
    type Reply = ();

    async fn handle(&mut self, begin: Begin, _: &mut Context<Self, ()>) {
        self.done = Some(begin.done);
        self.arrivals.begin(self.tokens);
        for number in 0..self.tokens {
            let first = &self.places[roles::token_begins_at(number, self.tokens)];
            tell(first, Item(roles::token::<P>(number, begin.size)));
        }
    }
}

impl<P: Payload> Message<Item<P>> for RingActor<P> {
    type Reply = ();

    async fn handle(&mut self, Item(token): Item<P>, _: &mut Context<Self, ()>) {
        if let Some(received) = self.arrivals.take(&token) {
            finish(&mut self.done, received);
        }
    }
}

impl<P: Payload> Message<Next<P>> for PlaceActor<P> {
    type Reply = ();

    async fn handle(&mut self, Next(next): Next<P>, _: &mut Context<Self, ()>) {
        self.next = Some(next);
    }
}

impl<P: Payload> Message<Item<P>> for PlaceActor<P> {
    type Reply = ();

    async fn handle(&mut self, Item(token): Item<P>, _: &mut Context<Self, ()>) {
        match (roles::hop(&token), &self.next) {
            (Some(token), Some(next)) => tell(next, Item(token)),
            _ => tell(&self.lead, Item(token)),
        }
    }
}

struct ParentActor<P: Payload> {
    parent: Parent,
    stays: bool,
    /// Those that stay are reachable; kameo stops an actor that nobody can reach.
    children: Vec<ActorRef<ChildActor<P>>>,
    done: Option<Done>,
    of: PhantomData<P>,
}

struct ChildActor<P: Payload> {
    parent: ActorRef<ParentActor<P>>,
    stays: bool,
}

plain_actor!(ChildActor);

impl<P: Payload> Actor for ParentActor<P> {
    type Args = bool;
    type Error = Infallible;

    async fn on_start(stays: bool, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(ParentActor { parent: Parent::default(), stays, children: Vec::new(), done: None, of: PhantomData })
    }
}

impl<P: Payload> ParentActor<P> {
    fn brood(&mut self, parent: &ActorRef<Self>) {
        for message in self.parent.brood::<P>() {
            let child = spawn(ChildActor { parent: parent.clone(), stays: self.stays });
            tell(&child, Item(message));
            self.children.extend(self.stays.then_some(child));
        }
    }
}

impl<P: Payload> Message<Begin> for ParentActor<P> {
    type Reply = ();

    async fn handle(&mut self, begin: Begin, cx: &mut Context<Self, ()>) {
        self.done = Some(begin.done);
        self.parent.begin(begin.size);
        self.brood(cx.actor_ref());
    }
}

impl<P: Payload> Message<Item<P>> for ParentActor<P> {
    type Reply = ();

    async fn handle(&mut self, Item(answer): Item<P>, cx: &mut Context<Self, ()>) {
        match self.parent.take(&answer) {
            ControlFlow::Continue(true) => self.brood(cx.actor_ref()),
            ControlFlow::Continue(false) => {}
            ControlFlow::Break(received) => finish(&mut self.done, received),
        }
    }
}

impl<P: Payload> Message<Item<P>> for ChildActor<P> {
    type Reply = ();

    async fn handle(&mut self, message: Item<P>, cx: &mut Context<Self, ()>) {
        tell(&self.parent, message);
        if !self.stays {
            cx.stop();
        }
    }
}

struct HubActor<P: Payload> {
    hub: Hub,
    receivers: Vec<ActorRef<ReceiverActor<P>>>,
    done: Option<Done>,
}

struct ReceiverActor<P: Payload> {
    hub: ActorRef<HubActor<P>>,
}

plain_actor!(ReceiverActor);

impl<P: Payload> Actor for HubActor<P> {
    type Args = u32;
    type Error = Infallible;

    async fn on_start(receivers: u32, hub: ActorRef<Self>) -> Result<Self, Infallible> {
        let receivers = (0..receivers).map(|_| spawn(ReceiverActor { hub: hub.clone() })).collect();
        Ok(HubActor { hub: Hub::default(), receivers, done: None })
    }
}

impl<P: Payload> HubActor<P> {
    fn send(&self, message: P) {
        self.receivers.iter().for_each(|receiver| tell(receiver, Item(message)));
    }
}

impl<P: Payload> Message<Begin> for HubActor<P> {
    type Reply = ();

    async fn handle(&mut self, begin: Begin, _: &mut Context<Self, ()>) {
        self.done = Some(begin.done);
        let message = self.hub.begin(u32::try_from(self.receivers.len()).expect("few receivers"), begin.size);
        self.send(message);
    }
}

impl<P: Payload> Message<Acknowledged> for HubActor<P> {
    type Reply = ();

    async fn handle(&mut self, acknowledged: Acknowledged, _: &mut Context<Self, ()>) {
        match self.hub.take(acknowledged) {
            ControlFlow::Continue(Some(message)) => self.send(message),
            ControlFlow::Continue(None) => {}
            ControlFlow::Break(received) => finish(&mut self.done, received),
        }
    }
}

impl<P: Payload> Message<Item<P>> for ReceiverActor<P> {
    type Reply = ();

    async fn handle(&mut self, Item(message): Item<P>, _: &mut Context<Self, ()>) {
        tell(&self.hub, roles::acknowledge(&message));
    }
}

//! actix: typed handlers, `do_send`. Its mailboxes are made large enough never to be full.

use std::ops::ControlFlow;

use ::actix::{
    Actor, ActorContext, Addr, Arbiter, ArbiterHandle, AsyncContext, Context, Handler, Message, System, SystemRunner,
};
use tokio::sync::oneshot;

use super::{
    super::{
        case::Case,
        lap::Course,
        message::Payload,
        roles::{self, Acknowledged, Arrivals, Hub, Parent, Pinger, RING, Received, Sender, Sink, Then},
    },
    Begin, Done, Running, Wait, finish,
};
use crate::plan::{Class, Failure};

/// More messages than ever wait.
const MAILBOX: usize = 1 << 30;

impl Wait for SystemRunner {
    fn wait(&self, done: oneshot::Receiver<Received>) -> Result<Received, oneshot::error::RecvError> {
        self.block_on(done)
    }
}

/// Where actors live: both are the program's thread, or two others.
struct Arbiters {
    first: ArbiterHandle,
    second: ArbiterHandle,
}

/// Starts the actors of a case.
///
/// # Errors
/// Never; the other peers can fail.
pub fn course<P: Payload>(case: Case, class: Class) -> Result<Box<dyn Course>, Failure> {
    let runtime = System::new();
    let arbiters = runtime.block_on(async {
        match class {
            Class::OneThread => Arbiters { first: Arbiter::current(), second: Arbiter::current() },
            Class::TwoThreads => Arbiters { first: Arbiter::new().handle(), second: Arbiter::new().handle() },
        }
    });
    Ok(match case {
        Case::PingPong => running(runtime, PingerActor::<P>::start_in(arbiters)),
        Case::FanIn(senders) => running(runtime, SinkActor::<P>::start_in(arbiters, senders)),
        Case::Ring(tokens) => running(runtime, RingActor::<P>::start_in(arbiters, tokens)),
        Case::Spawn | Case::SpawnMemory => running(runtime, ParentActor::<P>::start_in(&arbiters, case.stays())),
        Case::FanOut(receivers) => running(runtime, HubActor::<P>::start_in(arbiters, receivers)),
    })
}

fn running<A>(runtime: SystemRunner, lead: Addr<A>) -> Box<dyn Course>
where
    A: Actor<Context = Context<A>> + Handler<Begin>,
{
    let begin = move |begin| {
        lead.do_send(begin);
        Ok(())
    };
    Box::new(Running { runtime, begin })
}

impl Message for Begin {
    type Result = ();
}

struct Item<P>(P);

impl<P: Payload> Message for Item<P> {
    type Result = ();
}

impl Message for Acknowledged {
    type Result = ();
}

/// An actor whose mailbox is never full.
macro_rules! actor {
    ($actor:ident) => {
        impl<P: Payload> Actor for $actor<P> {
            type Context = Context<Self>;

            fn started(&mut self, cx: &mut Context<Self>) {
                cx.set_mailbox_capacity(MAILBOX);
            }
        }
    };
}

struct PingerActor<P: Payload> {
    pinger: Pinger,
    ponger: Addr<PongerActor<P>>,
    done: Option<Done>,
}

struct PongerActor<P: Payload> {
    pinger: Addr<PingerActor<P>>,
}

actor!(PingerActor);
actor!(PongerActor);

impl<P: Payload> PingerActor<P> {
    fn start_in(arbiters: Arbiters) -> Addr<Self> {
        PingerActor::start_in_arbiter(&arbiters.first, move |cx| {
            let pinger = cx.address();
            let ponger = PongerActor::start_in_arbiter(&arbiters.second, |_| PongerActor { pinger });
            PingerActor { pinger: Pinger::default(), ponger, done: None }
        })
    }
}

impl<P: Payload> Handler<Begin> for PingerActor<P> {
    type Result = ();

    fn handle(&mut self, begin: Begin, _cx: &mut Context<Self>) {
        self.done = Some(begin.done);
        self.ponger.do_send(Item(self.pinger.begin(begin.size)));
    }
}

impl<P: Payload> Handler<Item<P>> for PingerActor<P> {
    type Result = ();

    fn handle(&mut self, Item(answer): Item<P>, _cx: &mut Context<Self>) {
        match self.pinger.take(&answer) {
            ControlFlow::Continue(next) => self.ponger.do_send(Item(next)),
            ControlFlow::Break(received) => finish(&mut self.done, received),
        }
    }
}

impl<P: Payload> Handler<Item<P>> for PongerActor<P> {
    type Result = ();

    fn handle(&mut self, Item(message): Item<P>, _cx: &mut Context<Self>) {
        self.pinger.do_send(Item(roles::pong(&message)));
    }
}

struct SinkActor<P: Payload> {
    sink: Sink,
    sources: Vec<Addr<SourceActor<P>>>,
    done: Option<Done>,
}

struct SourceActor<P: Payload> {
    sender: Sender,
    sink: Addr<SinkActor<P>>,
}

actor!(SinkActor);
actor!(SourceActor);

struct BeginBursts {
    bursts: u32,
}

impl Message for BeginBursts {
    type Result = ();
}

struct Credit;

impl Message for Credit {
    type Result = ();
}

impl<P: Payload> SinkActor<P> {
    fn start_in(arbiters: Arbiters, senders: u32) -> Addr<Self> {
        SinkActor::start_in_arbiter(&arbiters.first, move |cx| {
            let source = |number| {
                let sink = cx.address();
                let source = move |_: &mut _| SourceActor { sender: Sender::new(number, senders), sink };
                SourceActor::start_in_arbiter(&arbiters.second, source)
            };
            SinkActor { sink: Sink::default(), sources: (0..senders).map(source).collect(), done: None }
        })
    }
}

impl<P: Payload> Handler<Begin> for SinkActor<P> {
    type Result = ();

    fn handle(&mut self, begin: Begin, _cx: &mut Context<Self>) {
        self.done = Some(begin.done);
        let senders = u32::try_from(self.sources.len()).expect("few senders");
        self.sink.begin(senders, begin.size);
        self.sources.iter().for_each(|source| source.do_send(BeginBursts { bursts: begin.size }));
    }
}

impl<P: Payload> Handler<Item<P>> for SinkActor<P> {
    type Result = ();

    fn handle(&mut self, Item(message): Item<P>, _cx: &mut Context<Self>) {
        match self.sink.take(&message) {
            Then::Wait => {}
            Then::Credit(sender) => self.sources[sender as usize].do_send(Credit),
            Then::Done(received) => finish(&mut self.done, received),
        }
    }
}

impl<P: Payload> Handler<BeginBursts> for SourceActor<P> {
    type Result = ();

    fn handle(&mut self, begin: BeginBursts, _cx: &mut Context<Self>) {
        self.sender.begin(begin.bursts, |message| self.sink.do_send(Item(message)));
    }
}

impl<P: Payload> Handler<Credit> for SourceActor<P> {
    type Result = ();

    fn handle(&mut self, Credit: Credit, _cx: &mut Context<Self>) {
        self.sender.burst(|message| self.sink.do_send(Item(message)));
    }
}

struct RingActor<P: Payload> {
    tokens: u32,
    arrivals: Arrivals,
    places: Vec<Addr<PlaceActor<P>>>,
    done: Option<Done>,
}

struct PlaceActor<P: Payload> {
    next: Option<Addr<PlaceActor<P>>>,
    lead: Addr<RingActor<P>>,
}

actor!(RingActor);
actor!(PlaceActor);

struct Next<P: Payload>(Addr<PlaceActor<P>>);

impl<P: Payload> Message for Next<P> {
    type Result = ();
}

impl<P: Payload> RingActor<P> {
    /// Half of the ring is in each arbiter.
    fn start_in(arbiters: Arbiters, tokens: u32) -> Addr<Self> {
        RingActor::start_in_arbiter(&arbiters.first.clone(), move |cx| {
            let place = |number| {
                let lead = cx.address();
                let arbiter = if number < RING / 2 { &arbiters.first } else { &arbiters.second };
                PlaceActor::start_in_arbiter(arbiter, move |_| PlaceActor { next: None, lead })
            };
            let places: Vec<_> = (0..RING).map(place).collect();
            for (number, place) in places.iter().enumerate() {
                place.do_send(Next(places[(number + 1) % places.len()].clone()));
            }
            RingActor { tokens, arrivals: Arrivals::default(), places, done: None }
        })
    }
}

impl<P: Payload> Handler<Begin> for RingActor<P> {
    type Result = ();

    fn handle(&mut self, begin: Begin, _cx: &mut Context<Self>) {
        self.done = Some(begin.done);
        self.arrivals.begin(self.tokens);
        for number in 0..self.tokens {
            let first = &self.places[roles::token_begins_at(number, self.tokens)];
            first.do_send(Item(roles::token(number, begin.size)));
        }
    }
}

impl<P: Payload> Handler<Item<P>> for RingActor<P> {
    type Result = ();

    fn handle(&mut self, Item(token): Item<P>, _cx: &mut Context<Self>) {
        if let Some(received) = self.arrivals.take(&token) {
            finish(&mut self.done, received);
        }
    }
}

impl<P: Payload> Handler<Next<P>> for PlaceActor<P> {
    type Result = ();

    fn handle(&mut self, Next(next): Next<P>, _cx: &mut Context<Self>) {
        self.next = Some(next);
    }
}

impl<P: Payload> Handler<Item<P>> for PlaceActor<P> {
    type Result = ();

    fn handle(&mut self, Item(token): Item<P>, _cx: &mut Context<Self>) {
        match (roles::hop(&token), &self.next) {
            (Some(token), Some(next)) => next.do_send(Item(token)),
            _ => self.lead.do_send(Item(token)),
        }
    }
}

struct ParentActor<P: Payload> {
    parent: Parent,
    stays: bool,
    /// Those that stay are reachable.
    children: Vec<Addr<ChildActor<P>>>,
    done: Option<Done>,
}

struct ChildActor<P: Payload> {
    parent: Addr<ParentActor<P>>,
    stays: bool,
}

actor!(ParentActor);
actor!(ChildActor);

impl<P: Payload> ParentActor<P> {
    fn start_in(arbiters: &Arbiters, stays: bool) -> Addr<Self> {
        ParentActor::start_in_arbiter(&arbiters.first, move |_| {
            let parent = Parent::default();
            ParentActor { parent, stays, children: Vec::new(), done: None }
        })
    }

    fn brood(&mut self, cx: &mut Context<Self>) {
        for message in self.parent.brood::<P>() {
            let child = ChildActor { parent: cx.address(), stays: self.stays }.start();
            child.do_send(Item(message));
            self.children.extend(self.stays.then_some(child));
        }
    }
}

impl<P: Payload> Handler<Begin> for ParentActor<P> {
    type Result = ();

    fn handle(&mut self, begin: Begin, cx: &mut Context<Self>) {
        self.done = Some(begin.done);
        self.parent.begin(begin.size);
        self.brood(cx);
    }
}

impl<P: Payload> Handler<Item<P>> for ParentActor<P> {
    type Result = ();

    fn handle(&mut self, Item(answer): Item<P>, cx: &mut Context<Self>) {
        match self.parent.take(&answer) {
            ControlFlow::Continue(true) => self.brood(cx),
            ControlFlow::Continue(false) => {}
            ControlFlow::Break(received) => finish(&mut self.done, received),
        }
    }
}

impl<P: Payload> Handler<Item<P>> for ChildActor<P> {
    type Result = ();

    fn handle(&mut self, message: Item<P>, cx: &mut Context<Self>) {
        self.parent.do_send(message);
        if !self.stays {
            cx.stop();
        }
    }
}

struct HubActor<P: Payload> {
    hub: Hub,
    receivers: Vec<Addr<ReceiverActor<P>>>,
    done: Option<Done>,
}

struct ReceiverActor<P: Payload> {
    hub: Addr<HubActor<P>>,
}

actor!(HubActor);
actor!(ReceiverActor);

impl<P: Payload> HubActor<P> {
    fn start_in(arbiters: Arbiters, receivers: u32) -> Addr<Self> {
        HubActor::start_in_arbiter(&arbiters.first, move |cx| {
            let receiver = |_| {
                let hub = cx.address();
                ReceiverActor::start_in_arbiter(&arbiters.second, |_| ReceiverActor { hub })
            };
            HubActor { hub: Hub::default(), receivers: (0..receivers).map(receiver).collect(), done: None }
        })
    }

    fn send(&self, message: P) {
        self.receivers.iter().for_each(|receiver| receiver.do_send(Item(message)));
    }
}

impl<P: Payload> Handler<Begin> for HubActor<P> {
    type Result = ();

    fn handle(&mut self, begin: Begin, _cx: &mut Context<Self>) {
        self.done = Some(begin.done);
        let receivers = u32::try_from(self.receivers.len()).expect("few receivers");
        let message = self.hub.begin(receivers, begin.size);
        self.send(message);
    }
}

impl<P: Payload> Handler<Acknowledged> for HubActor<P> {
    type Result = ();

    fn handle(&mut self, acknowledged: Acknowledged, _cx: &mut Context<Self>) {
        match self.hub.take(acknowledged) {
            ControlFlow::Continue(Some(message)) => self.send(message),
            ControlFlow::Continue(None) => {}
            ControlFlow::Break(received) => finish(&mut self.done, received),
        }
    }
}

impl<P: Payload> Handler<Item<P>> for ReceiverActor<P> {
    type Result = ();

    fn handle(&mut self, Item(message): Item<P>, _cx: &mut Context<Self>) {
        self.hub.do_send(roles::acknowledge(&message));
    }
}

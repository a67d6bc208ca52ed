//! ractor: one message type for each actor, `cast`.

use std::{marker::PhantomData, ops::ControlFlow};

use ::ractor::{Actor, ActorProcessingErr, ActorRef};

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

type Handled = Result<(), ActorProcessingErr>;

/// Starts the actors of a case.
///
/// # Errors
/// When the runtime can't be made, or an actor doesn't start.
pub fn course<P: Payload>(case: Case, class: Class) -> Result<Box<dyn Course>, Failure> {
    match case {
        Case::PingPong => running(class, PingerActor::<P>(PhantomData), (), PingerMessage::Begin),
        Case::FanIn(senders) => running(class, SinkActor::<P>(PhantomData), senders, SinkMessage::Begin),
        Case::Ring(tokens) => running(class, RingActor::<P>(PhantomData), tokens, RingMessage::Begin),
        Case::Spawn | Case::SpawnMemory => {
            running(class, ParentActor::<P>(PhantomData), case.stays(), ParentMessage::Begin)
        }
        Case::FanOut(receivers) => running(class, HubActor::<P>(PhantomData), receivers, HubMessage::Begin),
    }
}

fn running<A: Actor>(
    class: Class,
    lead: A,
    arguments: A::Arguments,
    message: fn(Begin) -> A::Msg,
) -> Result<Box<dyn Course>, Failure> {
    let runtime = tokio_runtime(class)?;
    let (lead, _) = runtime.block_on(Actor::spawn(None, lead, arguments))?;
    let begin = move |begin| lead.cast(message(begin)).map_err(|error| error.to_string().into());
    Ok(Box::new(Running { runtime, begin }))
}

struct PingerActor<P>(PhantomData<P>);

enum PingerMessage<P> {
    Begin(Begin),
    Pong(P),
}

struct PingerState<P: Payload> {
    pinger: Pinger,
    ponger: ActorRef<P>,
    done: Option<Done>,
}

impl<P: Payload> Actor for PingerActor<P> {
    type Msg = PingerMessage<P>;
    type State = PingerState<P>;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        let (ponger, _) = Actor::spawn(None, PongerActor(PhantomData), myself).await?;
        Ok(PingerState { pinger: Pinger::default(), ponger, done: None })
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, message: Self::Msg, state: &mut Self::State) -> Handled {
        match message {
            PingerMessage::Begin(begin) => {
                state.done = Some(begin.done);
                state.ponger.cast(state.pinger.begin(begin.size))?;
            }
            PingerMessage::Pong(answer) => match state.pinger.take(&answer) {
                ControlFlow::Continue(next) => state.ponger.cast(next)?,
                ControlFlow::Break(received) => finish(&mut state.done, received),
            },
        }
        Ok(())
    }
}

struct PongerActor<P>(PhantomData<P>);

impl<P: Payload> Actor for PongerActor<P> {
    type Msg = P;
    type State = ActorRef<PingerMessage<P>>;
    type Arguments = ActorRef<PingerMessage<P>>;

    async fn pre_start(&self, _: ActorRef<P>, pinger: Self::Arguments) -> Result<Self::State, ActorProcessingErr> {
        Ok(pinger)
    }

    async fn handle(&self, _: ActorRef<P>, message: P, pinger: &mut Self::State) -> Handled {
        Ok(pinger.cast(PingerMessage::Pong(roles::pong(&message)))?)
    }
}

struct SinkActor<P>(PhantomData<P>);

enum SinkMessage<P> {
    Begin(Begin),
    Item(P),
}

struct SinkState {
    sink: Sink,
    sources: Vec<ActorRef<SourceMessage>>,
    done: Option<Done>,
}

impl<P: Payload> Actor for SinkActor<P> {
    type Msg = SinkMessage<P>;
    type State = SinkState;
    type Arguments = u32;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, senders: u32) -> Result<SinkState, ActorProcessingErr> {
        let mut sources = Vec::new();
        for number in 0..senders {
            let state = (Sender::new(number, senders), myself.clone());
            sources.push(Actor::spawn(None, SourceActor(PhantomData), state).await?.0);
        }
        Ok(SinkState { sink: Sink::default(), sources, done: None })
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, message: Self::Msg, state: &mut SinkState) -> Handled {
        match message {
            SinkMessage::Begin(begin) => {
                state.done = Some(begin.done);
                state.sink.begin(u32::try_from(state.sources.len())?, begin.size);
                for source in &state.sources {
                    source.cast(SourceMessage::Begin { bursts: begin.size })?;
                }
            }
            SinkMessage::Item(message) => match state.sink.take(&message) {
                Then::Wait => {}
                Then::Credit(sender) => state.sources[sender as usize].cast(SourceMessage::Credit)?,
                Then::Done(received) => finish(&mut state.done, received),
            },
        }
        Ok(())
    }
}

struct SourceActor<P>(PhantomData<P>);

enum SourceMessage {
    Begin { bursts: u32 },
    Credit,
}

impl<P: Payload> Actor for SourceActor<P> {
    type Msg = SourceMessage;
    type State = (Sender, ActorRef<SinkMessage<P>>);
    type Arguments = (Sender, ActorRef<SinkMessage<P>>);

    async fn pre_start(&self, _: ActorRef<Self::Msg>, state: Self::State) -> Result<Self::State, ActorProcessingErr> {
        Ok(state)
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, message: Self::Msg, state: &mut Self::State) -> Handled {
        let (sender, sink) = state;
        let mut sent = Ok(());
        let send = |message: P| {
            if let Err(error) = sink.cast(SinkMessage::Item(message)) {
                sent = Err(error);
            }
        };
        match message {
            SourceMessage::Begin { bursts } => sender.begin(bursts, send),
            SourceMessage::Credit => sender.burst(send),
        }
        Ok(sent?)
    }
}

struct RingActor<P>(PhantomData<P>);

enum RingMessage<P> {
    Begin(Begin),
    Arrived(P),
}

struct RingState<P> {
    tokens: u32,
    arrivals: Arrivals,
    places: Vec<ActorRef<PlaceMessage<P>>>,
    done: Option<Done>,
}

impl<P: Payload> Actor for RingActor<P> {
    type Msg = RingMessage<P>;
    type State = RingState<P>;
    type Arguments = u32;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, tokens: u32) -> Result<Self::State, ActorProcessingErr> {
        let mut places = Vec::new();
        for _ in 0..RING {
            places.push(Actor::spawn(None, PlaceActor(PhantomData), myself.clone()).await?.0);
        }
        for (number, place) in places.iter().enumerate() {
            place.cast(PlaceMessage::Next(places[(number + 1) % places.len()].clone()))?;
        }
        Ok(RingState { tokens, arrivals: Arrivals::default(), places, done: None })
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, message: Self::Msg, state: &mut Self::State) -> Handled {
        match message {
            RingMessage::Begin(begin) => {
                state.done = Some(begin.done);
                state.arrivals.begin(state.tokens);
                for number in 0..state.tokens {
                    let first = &state.places[roles::token_begins_at(number, state.tokens)];
                    first.cast(PlaceMessage::Token(roles::token(number, begin.size)))?;
                }
            }
            RingMessage::Arrived(token) => {
                if let Some(received) = state.arrivals.take(&token) {
                    finish(&mut state.done, received);
                }
            }
        }
        Ok(())
    }
}

struct PlaceActor<P>(PhantomData<P>);

enum PlaceMessage<P> {
    Next(ActorRef<PlaceMessage<P>>),
    Token(P),
}

struct PlaceState<P> {
    next: Option<ActorRef<PlaceMessage<P>>>,
    lead: ActorRef<RingMessage<P>>,
}

impl<P: Payload> Actor for PlaceActor<P> {
    type Msg = PlaceMessage<P>;
    type State = PlaceState<P>;
    type Arguments = ActorRef<RingMessage<P>>;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        lead: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(PlaceState { next: None, lead })
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, message: Self::Msg, state: &mut Self::State) -> Handled {
        match message {
            PlaceMessage::Next(next) => state.next = Some(next),
            PlaceMessage::Token(token) => match (roles::hop(&token), &state.next) {
                (Some(token), Some(next)) => next.cast(PlaceMessage::Token(token))?,
                _ => state.lead.cast(RingMessage::Arrived(token))?,
            },
        }
        Ok(())
    }
}

struct ParentActor<P>(PhantomData<P>);

enum ParentMessage<P> {
    Begin(Begin),
    Answer(P),
}

struct ParentState<P> {
    parent: Parent,
    stays: bool,
    /// Those that stay are reachable.
    children: Vec<ActorRef<P>>,
    done: Option<Done>,
}

impl<P: Payload> ParentState<P> {
    async fn brood(&mut self, myself: &ActorRef<ParentMessage<P>>) -> Handled {
        for message in self.parent.brood::<P>() {
            let state = (myself.clone(), self.stays);
            let (child, _) = Actor::spawn(None, ChildActor(PhantomData), state).await?;
            child.cast(message)?;
            self.children.extend(self.stays.then_some(child));
        }
        Ok(())
    }
}

impl<P: Payload> Actor for ParentActor<P> {
    type Msg = ParentMessage<P>;
    type State = ParentState<P>;
    type Arguments = bool;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, stays: bool) -> Result<Self::State, ActorProcessingErr> {
        Ok(ParentState { parent: Parent::default(), stays, children: Vec::new(), done: None })
    }

    async fn handle(&self, myself: ActorRef<Self::Msg>, message: Self::Msg, state: &mut Self::State) -> Handled {
        match message {
            ParentMessage::Begin(begin) => {
                state.done = Some(begin.done);
                state.parent.begin(begin.size);
                state.brood(&myself).await?;
            }
            ParentMessage::Answer(answer) => match state.parent.take(&answer) {
                ControlFlow::Continue(true) => state.brood(&myself).await?,
                ControlFlow::Continue(false) => {}
                ControlFlow::Break(received) => finish(&mut state.done, received),
            },
        }
        Ok(())
    }
}

struct ChildActor<P>(PhantomData<P>);

impl<P: Payload> Actor for ChildActor<P> {
    type Msg = P;
    type State = (ActorRef<ParentMessage<P>>, bool);
    type Arguments = (ActorRef<ParentMessage<P>>, bool);

    async fn pre_start(&self, _: ActorRef<P>, state: Self::State) -> Result<Self::State, ActorProcessingErr> {
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<P>, message: P, (parent, stays): &mut Self::State) -> Handled {
        parent.cast(ParentMessage::Answer(message))?;
        if !*stays {
            myself.stop(None);
        }
        Ok(())
    }
}

struct HubActor<P>(PhantomData<P>);

enum HubMessage {
    Begin(Begin),
    Acknowledged(Acknowledged),
}

struct HubState<P> {
    hub: Hub,
    receivers: Vec<ActorRef<P>>,
    done: Option<Done>,
}

impl<P: Payload> HubState<P> {
    fn send(&self, message: P) -> Handled {
        for receiver in &self.receivers {
            receiver.cast(message)?;
        }
        Ok(())
    }
}

impl<P: Payload> Actor for HubActor<P> {
    type Msg = HubMessage;
    type State = HubState<P>;
    type Arguments = u32;

    async fn pre_start(&self, myself: ActorRef<HubMessage>, count: u32) -> Result<Self::State, ActorProcessingErr> {
        let mut receivers = Vec::new();
        for _ in 0..count {
            receivers.push(Actor::spawn(None, ReceiverActor(PhantomData), myself.clone()).await?.0);
        }
        Ok(HubState { hub: Hub::default(), receivers, done: None })
    }

    async fn handle(&self, _: ActorRef<HubMessage>, message: HubMessage, state: &mut Self::State) -> Handled {
        match message {
            HubMessage::Begin(begin) => {
                state.done = Some(begin.done);
                let message = state.hub.begin(u32::try_from(state.receivers.len())?, begin.size);
                state.send(message)?;
            }
            HubMessage::Acknowledged(acknowledged) => match state.hub.take(acknowledged) {
                ControlFlow::Continue(Some(message)) => state.send(message)?,
                ControlFlow::Continue(None) => {}
                ControlFlow::Break(received) => finish(&mut state.done, received),
            },
        }
        Ok(())
    }
}

struct ReceiverActor<P>(PhantomData<P>);

impl<P: Payload> Actor for ReceiverActor<P> {
    type Msg = P;
    type State = ActorRef<HubMessage>;
    type Arguments = ActorRef<HubMessage>;

    async fn pre_start(&self, _: ActorRef<P>, hub: Self::Arguments) -> Result<Self::State, ActorProcessingErr> {
        Ok(hub)
    }

    async fn handle(&self, _: ActorRef<P>, message: P, hub: &mut Self::State) -> Handled {
        Ok(hub.cast(HubMessage::Acknowledged(roles::acknowledge(&message)))?)
    }
}

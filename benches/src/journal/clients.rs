//! Ours: clients at an edge in the worker's loop, each of which asks an FSM, waits until it is answered, and asks again.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use qnfsm::{
    Codec, Context, EdgeId, EdgeSetup, Fsm, Inputs, Kinds, Next, NodeBuilder, QueueId, Reactor, ReplyTo, RunOn, Trust,
    Wake,
    frame::{Frame, edge_queue},
};
use serde::{Deserialize, Serialize};

use super::tally::{Extent, Tally};
use crate::{
    doorbell::Doorbell,
    messaging::message::{Payload, Small},
    plan::{Failure, Figures, Recording},
    recorded::recorded,
};

/// How long the program waits for a run.
const PATIENCE: Duration = Duration::from_secs(100);

/// Lets clients ask.
///
/// # Errors
/// When the node fails.
pub fn closed_loop(clients: u32, recording: Recording, extent: Extent) -> Result<Figures, Failure> {
    let tally = Arc::new(Mutex::new(Tally::begin()));
    let mut builder =
        NodeBuilder::new("qnfsm-bench", Kinds::new().with::<Teller>().message::<ToClients>().message::<()>());
    let reactor =
        Clients { tally: tally.clone(), asked: Vec::new(), waiting: 0, until: Duration::ZERO, bell: Doorbell::new() };
    let edge = builder.reactor(RunOn::FirstWorker, reactor);
    let (builder, _dir) = recorded(builder, recording)?;
    let node = builder.start(&Teller { edge, asked_by: None })?;
    for part in extent.parts() {
        node.host().request(node.root(), PATIENCE, |reply| ToTeller::Begin { clients, part, reply })?;
    }
    node.stop()?;
    let figures = lock(&tally).figures();
    Ok(figures)
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().expect("nothing panics that holds this lock")
}

/// Answers.
#[derive(Serialize, Deserialize)]
struct Teller {
    edge: EdgeId,
    asked_by: Option<ReplyTo<()>>,
}

#[derive(Serialize, Deserialize)]
enum ToTeller {
    /// By a client.
    Ask(Small),
    /// By the host: let so many clients ask, for so long.
    Begin { clients: u32, part: Duration, reply: ReplyTo<()> },
    /// By the edge: all have been answered.
    Done,
}

#[derive(Serialize, Deserialize)]
enum ToClients {
    Begin { clients: u32, part: Duration, teller: QueueId<ToTeller> },
    Answer(Small),
}

impl Fsm for Teller {
    const NAME: &'static str = "teller";
    type State = ();
    type Message = ToTeller;

    fn start(&mut self, _cx: &mut Context<'_, Teller>) {}

    fn handle(&mut self, (): (), message: ToTeller, cx: &mut Context<'_, Teller>) -> Next<Teller> {
        match message {
            ToTeller::Ask(asked) => cx.send(QueueId::from_raw(cx.sender()), ToClients::Answer(asked)),
            ToTeller::Begin { clients, part, reply } => {
                self.asked_by = Some(reply);
                let edge = QueueId::from_raw(edge_queue(cx.id().raw().node(), self.edge));
                cx.send(edge, ToClients::Begin { clients, part, teller: cx.id() });
            }
            ToTeller::Done => {
                if let Some(reply) = self.asked_by.take() {
                    cx.reply(reply, ());
                }
            }
        }
        Next::Stay
    }
}

/// The edge. A client is one of its queues.
struct Clients {
    tally: Arc<Mutex<Tally>>,
    /// When each client asked last, its number, and whom.
    asked: Vec<(Instant, u32, QueueId<ToTeller>)>,
    waiting: u32,
    until: Duration,
    bell: Doorbell,
}

impl Clients {
    fn ask(&mut self, client: u32, now: Instant, inputs: &mut Inputs) {
        let (asked, sequence, teller) = &mut self.asked[client as usize];
        let from = inputs.setup().queue(client, 1);
        inputs.message(*teller, from, &ToTeller::Ask(Small::new(client, *sequence))).expect("its type is registered");
        *sequence += 1;
        *asked = now;
        self.waiting += 1;
    }

    fn take_answer(&mut self, client: u32, answer: &Small, inputs: &mut Inputs) {
        let (asked, sequence, teller) = self.asked[client as usize];
        assert_eq!((answer.sender(), answer.sequence() + 1), (client, sequence), "an answer to something else");
        self.waiting -= 1;
        let now = Instant::now();
        let mut tally = lock(&self.tally);
        tally.answered(asked, now, 1);
        let goes_on = tally.elapsed(now) < self.until;
        if self.waiting == 0 && !goes_on {
            tally.end();
        }
        drop(tally);
        if goes_on {
            self.ask(client, now, inputs);
        } else if self.waiting == 0 {
            let from = inputs.setup().queue(0, 1);
            inputs.message(teller, from, &ToTeller::Done).expect("its type is registered");
        }
    }
}

impl Reactor for Clients {
    fn open(&mut self, _setup: &EdgeSetup) -> io::Result<()> {
        Ok(())
    }

    fn take(&mut self, frame: &Frame<'_>, inputs: &mut Inputs) {
        match Codec::CURRENT.decode(frame.payload, Trust::Node) {
            Ok(ToClients::Begin { clients, part, teller }) => {
                self.until = part;
                let now = Instant::now();
                self.asked = vec![(now, 0, teller); clients as usize];
                *lock(&self.tally) = Tally::begin();
                (0..clients).for_each(|client| self.ask(client, now, inputs));
            }
            Ok(ToClients::Answer(answer)) => self.take_answer(frame.header.slot, &answer, inputs),
            Err(error) => unreachable!("the teller's own bytes: {error}"),
        }
    }

    fn poll(&mut self, timeout: Option<Duration>, _inputs: &mut Inputs) -> io::Result<()> {
        if timeout != Some(Duration::ZERO) {
            self.bell.wait(timeout.unwrap_or(Duration::MAX));
        }
        Ok(())
    }

    fn waker(&self) -> Wake {
        self.bell.ringer()
    }

    fn close(&mut self) {}
}

//! Ours between two workers: an FSM asks one of the other worker, and asks again when it has answered.

use std::ops::ControlFlow;

use qnfsm::{Context, Fsm, IdleStrategy, Limits, Next, QueueId};
use serde::{Deserialize, Serialize};

use super::stopwatch::{self, Extent};
use crate::{
    messaging::{
        lap::Course,
        message::Small,
        ours::{
            Running,
            lead::{Lead, LeadMessage, Leader, Members},
        },
        roles::{self, Pinger, Received},
    },
    plan::{Class, Failure, Figures, Recording},
};

/// Times round trips.
///
/// # Errors
/// When the node fails, or not everything comes back.
pub fn round_trips(idle: IdleStrategy, recording: Recording, extent: Extent) -> Result<Figures, Failure> {
    let limits = Limits { idle, ..Limits::default() };
    let asker = Asker { pinger: Pinger::default() };
    let mut running = Box::new(Running::start_within(limits, asker, Class::TwoThreads, recording)?);
    let lap = |trips| running.lap(trips)?.0.check(1, trips);
    extent.laps(lap, || stopwatch::of_process().reset())?;
    let figures = stopwatch::of_process().figures();
    running.end()?;
    Ok(figures)
}

/// Asks, and is timed.
#[derive(Serialize, Deserialize)]
struct Asker {
    pinger: Pinger,
}

impl Leader for Asker {
    const NAME: &'static str = "asker";
    type Message = Small;
    type Member = Answerer;

    fn members(&self) -> (u32, u32) {
        (1, 1)
    }

    fn member(&self, _number: u32, lead: QueueId<LeadMessage<Asker>>) -> Answerer {
        Answerer { asker: lead }
    }

    fn begin(&mut self, trips: u32, members: &Members<Asker>, cx: &mut Context<'_, Lead<Asker>>) {
        let first = self.pinger.begin::<Small>(trips);
        stopwatch::of_process().begin();
        cx.send(members[0], first);
    }

    fn take(&mut self, answer: Small, members: &Members<Asker>, cx: &mut Context<'_, Lead<Asker>>) -> Option<Received> {
        let next = self.pinger.take(&answer);
        stopwatch::of_process().lap();
        match next {
            ControlFlow::Continue(message) => {
                cx.send(members[0], message);
                None
            }
            ControlFlow::Break(received) => Some(received),
        }
    }
}

/// Answers.
#[derive(Serialize, Deserialize)]
struct Answerer {
    asker: QueueId<LeadMessage<Asker>>,
}

impl Fsm for Answerer {
    const NAME: &'static str = "answerer";
    type State = ();
    type Message = Small;

    fn start(&mut self, _cx: &mut Context<'_, Answerer>) {}

    fn handle(&mut self, (): (), message: Small, cx: &mut Context<'_, Answerer>) -> Next<Answerer> {
        cx.send(self.asker, LeadMessage::Own(roles::pong(&message)));
        Next::Stay
    }
}

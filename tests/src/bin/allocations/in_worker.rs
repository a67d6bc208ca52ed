//! The cases within one worker.

use qnfsm::{Fsm, WorkerId};

use crate::{
    Outcome,
    counting::counted,
    player::{Letter, Player, Say, Scribe, kinds},
    stage::{Stage, first_of},
};

const WORKER: WorkerId = WorkerId(3);
/// How often a case goes on while it is counted, and before.
const TIMES: u32 = 20_000;
/// How many peers those cases have that have many.
const PEERS: u32 = 100;
/// More rounds than any case needs.
const ROUNDS_MAX: u64 = 10_000_000;

/// Lets one FSM begin, twice, and counts what is done the second time, for at most that many rounds.
fn twice<F: Fsm>(fsm: &F, begin: &F::Message, rounds_max: u64) -> Outcome {
    let catalogue = kinds().seal()?;
    let mut stage = Stage::with(WORKER, &catalogue, fsm)?;
    stage.tell(first_of(WORKER), begin)?;
    stage.run_for(rounds_max);
    stage.tell(first_of(WORKER), begin)?;
    let (handled, rounds) = (stage.worker.counters().handled, stage.worker.rounds());
    counted(|| {
        stage.run_for(rounds_max);
        Ok((stage.worker.counters().handled - handled, stage.worker.rounds() - rounds))
    })
}

fn players(peers: u32, begin: &Say) -> Outcome {
    twice(&Player::spawning(peers), begin, ROUNDS_MAX)
}

/// One message between two FSMs.
pub fn ping_pong() -> Outcome {
    players(1, &Say::Serve(TIMES))
}

/// One FSM and itself.
pub fn send_self() -> Outcome {
    players(0, &Say::Alone(TIMES))
}

/// One FSM calls many, and all answer.
pub fn fan_out() -> Outcome {
    players(PEERS, &Say::Call(TIMES / PEERS))
}

/// One FSM asks another, and again when it has the answer.
pub fn requests() -> Outcome {
    // The last one's deadline is cancelled too, so this ends.
    players(1, &Say::Ask(TIMES))
}

/// Each message of a ping-pong resets a named timer and a state timeout.
pub fn reset_timer() -> Outcome {
    twice(&Player::spawning(1), &Say::ServeResetting(TIMES), u64::from(TIMES / 1000))
}

/// One FSM waits, and again.
pub fn timer() -> Outcome {
    players(0, &Say::Tick(TIMES))
}

/// Many FSMs wait, for times that differ, and again.
pub fn many_timers() -> Outcome {
    players(PEERS, &Say::AllTick(TIMES / PEERS))
}

/// A periodic timer.
pub fn beats() -> Outcome {
    twice(&Player::spawning(0), &Say::Beat, u64::from(TIMES))
}

/// The counter can see an allocation: messages of a user's that hold one each.
pub fn planted() -> Outcome {
    twice(&Scribe, &Letter { left: TIMES, text: vec![1] }, ROUNDS_MAX)
}

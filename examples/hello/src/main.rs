//! A turnstile that is recorded, and then replayed: `cargo run -p hello`. Later, on another day: `hello replay <dir>`.

use std::{error::Error, process::ExitCode, time::Duration};

use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder, ReplyTo};
use qnfsm_replay::cli::{NodeArgs, node_main};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Turnstile {
    coins: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Gate {
    Locked,
    Unlocked,
}

#[derive(Serialize, Deserialize)]
enum Event {
    Coin,
    Push,
    Expired,
    Count(ReplyTo<u64>),
}

impl Fsm for Turnstile {
    const NAME: &'static str = "turnstile";
    type State = Gate;
    type Message = Event;

    fn start(&mut self, _cx: &mut Context<'_, Self>) -> Gate {
        Gate::Locked
    }

    fn handle(&mut self, gate: Gate, event: Event, cx: &mut Context<'_, Self>) -> Next<Self> {
        match (gate, event) {
            (Gate::Locked, Event::Coin) => {
                self.coins += 1;
                cx.state_timeout(Duration::from_secs(5), Event::Expired);
                Next::Goto(Gate::Unlocked)
            }
            (Gate::Unlocked, Event::Push | Event::Expired) => Next::Goto(Gate::Locked),
            (_, Event::Count(reply)) => {
                cx.reply(reply, self.coins);
                Next::Stay
            }
            (_, other) => Next::Unhandled(other),
        }
    }
}

fn kinds() -> Kinds {
    Kinds::new().with::<Turnstile>().message::<u64>()
}

fn main() -> ExitCode {
    node_main("hello", kinds(), run)
}

fn run(args: NodeArgs) -> Result<(), Box<dyn Error>> {
    let dir = args.dir.unwrap_or(std::env::temp_dir().join("qnfsm-hello"));
    let node = NodeBuilder::new("hello", kinds()).dir(&dir).recover_to(args.recover.recover_to);
    let node = node.start(&Turnstile { coins: 0 })?;
    if let Some(given_up) = node.given_up() {
        eprintln!("hello: {given_up}");
    }
    let events = [Event::Push, Event::Coin, Event::Coin, Event::Push, Event::Coin];
    events.iter().try_for_each(|event| node.host().send(node.root(), event))?;
    let coins = node.host().request(node.root(), Duration::from_secs(5), Event::Count)?;
    println!("the turnstile took {coins} coins, recorded in {}", dir.display());
    node.stop()?;
    println!("{}", qnfsm_replay::replay(&dir, kinds(), &qnfsm_replay::Options::new())?);
    Ok(())
}

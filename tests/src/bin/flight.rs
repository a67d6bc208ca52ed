//! `flight <dir> <how>`: a node with a flight recorder, over which a reading out of range comes. `how` says what becomes of it:
//! `stops` the node, `goes-on` without the FSM, or `in-range`, where nothing does. `flight replay <dir>` replays a recording.

use std::{error::Error, path::Path, process::ExitCode, time::Duration};

use qnfsm::{Context, Durability, Fsm, HostError, Kinds, Limits, Next, NodeBuilder, OnPanic, QueueId, ReplyTo};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(30);
/// How many readings come before the last one: so many that the first are given up.
const READINGS: u64 = 20_000;

/// Adds up readings, which are below 1000. Some stop the node over one that isn't, and others themselves.
#[derive(Serialize, Deserialize)]
struct Sensor<const STOPS_NODE: bool> {
    sum: u64,
}

#[derive(Serialize, Deserialize)]
enum Reading {
    Of(u64, Vec<u8>),
    Sum(ReplyTo<u64>),
    /// Another sensor, which stops itself alone.
    Spare(ReplyTo<QueueId<Reading>>),
}

impl<const STOPS_NODE: bool> Fsm for Sensor<STOPS_NODE> {
    const NAME: &'static str = if STOPS_NODE { "sensor" } else { "spare" };
    const ON_PANIC: OnPanic = if STOPS_NODE { OnPanic::StopNode } else { OnPanic::StopFsm };
    type State = ();
    type Message = Reading;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), reading: Reading, cx: &mut Context<'_, Self>) -> Next<Self> {
        match reading {
            Reading::Of(value, _) => {
                assert!(value < 1000, "a reading of {value} after {}", self.sum);
                self.sum += value;
            }
            Reading::Sum(reply) => cx.reply(reply, self.sum),
            Reading::Spare(reply) => {
                let spare = cx.spawn(Sensor::<false> { sum: 0 });
                cx.reply(reply, spare);
            }
        }
        Next::Stay
    }
}

fn kinds() -> Kinds {
    Kinds::new().with::<Sensor<true>>().with::<Sensor<false>>().message::<u64>().message::<QueueId<Reading>>()
}

fn run(dir: &Path, how: &str) -> Result<(), Box<dyn Error>> {
    let limits = Limits { retain_bytes: Some(1 << 20), ..Limits::default() };
    let builder = NodeBuilder::new("flight", kinds()).durability(Durability::Memory).dir(dir).limits(limits).seed(1);
    let node = builder.start(&Sensor::<true> { sum: 0 })?;
    let (host, root) = (node.host(), node.root());
    let spare = host.request(root, PATIENCE, Reading::Spare)?;
    let to = if how == "goes-on" { spare } else { root };
    for value in 0..READINGS {
        host.send_wait(to, &Reading::Of(value % 1000, vec![7; 200]), PATIENCE)?;
        if value % 100 == 0 {
            let _: u64 = host.request(to, PATIENCE, Reading::Sum)?;
        }
    }
    if how == "in-range" {
        return Ok(node.stop().map(drop)?);
    }
    host.send(to, &Reading::Of(4711, vec![]))?;
    if how == "goes-on" {
        // Nobody hears the rest; the root still works.
        let asked: Result<u64, HostError> = host.request(spare, PATIENCE, Reading::Sum);
        assert!(asked.is_err());
        let _: u64 = host.request(root, PATIENCE, Reading::Sum)?;
        return Ok(node.stop().map(drop)?);
    }
    Ok(node.wait().map(drop)?)
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, dir, how @ ("stops" | "goes-on" | "in-range")] => match run(Path::new(dir), how) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("flight: {error}");
                ExitCode::FAILURE
            }
        },
        _ => qnfsm_replay::cli::main("flight", kinds()),
    }
}

//! The bots' node: a herd, and an FSM for each bot with a connection of its own.
//!
//! The bots are recorded and replayed like the server. What they check, and how, is [`crate::bot`]'s and shares no code
//! with the server's world.

mod herd;
mod player;

use std::{
    io::{BufRead, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use qnfsm::{Down, Kinds, NodeBuilder, RunOn};
use qnfsm_net::{Notice, Tcp};

pub use herd::Summary;

use crate::{
    ask::ask_while_running,
    wire::{ClientMessage, ServerMessage},
};
use herd::{Herd, HerdMessage};
use player::{Player, PlayerMessage};

/// The program's name in its directories.
pub const PROGRAM: &str = "arena-bots";
/// The name of the server's address.
const GAME: &str = "game";
/// The most bots of one node.
pub(crate) const BOTS_MAX: u32 = 4096;
/// How often the bots say how they are.
const SUMMARY_EVERY: Duration = Duration::from_millis(100);

/// All kinds of the bots' node.
#[must_use]
pub fn kinds() -> Kinds {
    qnfsm_net::messages(Kinds::new())
        .with::<Herd>()
        .with::<Player>()
        .accepts::<PlayerMessage, ServerMessage>()
        .accepts::<PlayerMessage, Notice>()
        .accepts::<PlayerMessage, Down>()
        .message::<ClientMessage>()
        .message::<Summary>()
}

/// What `arena bots` is told.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The node's directory.
    #[arg(long)]
    pub dir: PathBuf,
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:7070")]
    pub connect: String,
    /// How many bots there are.
    #[arg(long, default_value_t = 32, value_parser = count())]
    pub bots: u32,
    /// The seed of all random numbers.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Stop when standard input ends.
    #[arg(long)]
    pub until_stdin_ends: bool,
}

/// How many bots there may be: at least one, or there is nothing to see.
pub(crate) fn count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(BOTS_MAX))
}

/// Runs bots until they are told to stop; prints how they are as lines of JSON.
///
/// # Errors
/// What keeps the node from starting, or ended it.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the program around the node, with a thread and a pace of its own"
)]
pub fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let mut node = NodeBuilder::new(PROGRAM, kinds()).dir(&options.dir).stop_on_signals();
    if let Some(seed) = options.seed {
        node = node.seed(seed);
    }
    let tcp = node.reactor(RunOn::FirstWorker, Tcp::new().connect::<ServerMessage>(GAME, options.connect.as_str()));
    let node = node.start(&Herd::new(tcp, options.bots))?;
    let ended = Arc::new(AtomicBool::new(false));
    if options.until_stdin_ends {
        let ended = ended.clone();
        std::thread::spawn(move || {
            std::io::stdin().lock().lines().for_each(drop);
            ended.store(true, Ordering::Relaxed);
        });
    }
    let host = node.host();
    loop {
        let last = ended.load(Ordering::Relaxed);
        let Some(summary) = ask_while_running(&host, node.root(), HerdMessage::Summary)? else { break };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&summary)?)?;
        out.flush()?;
        if last {
            break;
        }
        std::thread::sleep(SUMMARY_EVERY);
    }
    node.stop()?;
    Ok(())
}

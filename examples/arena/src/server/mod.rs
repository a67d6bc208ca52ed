//! The game server: a node with a lobby, a world on a worker of its own, and a connection FSM for each client.
//!
//! ```text
//!   socket ──▶ Connection ──▶ World (worker 1, 20 ticks a second)
//!      ▲            │  ▲          │
//!      └────────────┘  └──────────┘
//!            Lobby (worker 0) makes the worker, the world and the connections
//! ```

mod connection;
mod lobby;
mod plant;
mod world;

use std::{path::PathBuf, sync::Arc, time::Duration};

use qnfsm::{Down, Host, HostError, Invariants, Kinds, NodeBuilder, QueueId, Recording, Reply, RunOn, WorkerId};
use qnfsm_net::{Notice, Tcp};
use qnfsm_replay::cli::RecoverArgs;

pub use plant::Plant;

use crate::{
    ask::ask_while_running,
    wire::{ClientMessage, ServerMessage},
};
use connection::{Connection, ConnectionMessage};
use lobby::{Lobby, LobbyMessage};
use world::{WorldFsm, WorldMessage};

/// The program's name in its directories.
pub const PROGRAM: &str = "arena-server";
/// The name of the address that clients connect to.
const GAME: &str = "game";

/// All kinds of the server.
#[must_use]
pub fn kinds() -> Kinds {
    qnfsm_net::messages(Kinds::new())
        .with::<Lobby>()
        .replies::<LobbyMessage, WorkerId>()
        .replies::<LobbyMessage, QueueId<WorldMessage>>()
        .accepts::<LobbyMessage, Notice>()
        .accepts::<LobbyMessage, Down>()
        .with::<WorldFsm>()
        .accepts::<WorldMessage, Down>()
        .with::<Connection>()
        .accepts::<ConnectionMessage, ClientMessage>()
        .accepts::<ConnectionMessage, Notice>()
        .accepts::<ConnectionMessage, Down>()
        .message::<ServerMessage>()
        .message::<Result<String, String>>()
}

/// What always holds of the server's FSMs, unless there is a bug.
#[must_use]
pub fn invariants() -> Invariants {
    Invariants::new().state::<WorldFsm>("the world is sound", |world, ()| world.check())
}

/// What `arena serve` is told.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The node's directory; made if there is none, gone on from if there is one.
    #[arg(long)]
    pub dir: PathBuf,
    /// What to give up first, if the directory is damaged.
    #[command(flatten)]
    pub recover: RecoverArgs,
    /// Where clients connect.
    #[arg(long, default_value = "127.0.0.1:7070")]
    pub listen: String,
    /// The seed of all random numbers of a new world.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Record each delivery, and not only what comes in.
    #[arg(long)]
    pub everything: bool,
    /// Make a mistake on purpose, for the checks to find.
    #[arg(long, value_enum)]
    pub plant: Option<Plant>,
    /// Stop when standard input ends.
    #[arg(long)]
    pub until_stdin_ends: bool,
}

/// Runs a server until it is told to stop.
///
/// # Errors
/// What keeps the node from starting, or ended it.
#[expect(clippy::disallowed_methods, reason = "this is the program around the node, with a thread of its own")]
pub fn serve(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let node = NodeBuilder::new(PROGRAM, kinds()).dir(&options.dir).recover_to(options.recover.recover_to);
    let mut node = node.stop_on_signals();
    if let Some(seed) = options.seed {
        node = node.seed(seed);
    }
    if options.everything {
        node = node.recording(Recording::Everything);
    }
    if options.plant == Some(Plant::Lose) {
        node = node.storage(Arc::new(plant::Forgetful::default()));
    }
    let tcp = Tcp::new().listen::<ClientMessage>(GAME, options.listen.as_str()).frame_bytes_max(4096);
    let tcp = node.reactor(RunOn::FirstWorker, tcp);
    let node = node.start(&Lobby::new(tcp, options.plant))?;
    if let Some(given_up) = node.given_up() {
        eprintln!("arena server: {given_up}");
    }
    if options.until_stdin_ends {
        let (host, lobby) = (node.host(), node.root());
        std::thread::spawn(move || stop_with_stdin(&host, lobby));
    }
    match ask_while_running(&node.host(), node.root(), LobbyMessage::Address) {
        Ok(Some(Ok(address))) => println!("arena server: epoch {}, listening on {address}", node.epoch()),
        Ok(Some(Err(why))) => return Err(format!("{why}; give `--listen` a free address of this machine").into()),
        Ok(None) => eprintln!("arena server: told to stop before it listened"),
        Err(error) => return Err(format!("the lobby does not say where it listens: {error}; start it again").into()),
    }
    node.wait()?;
    Ok(())
}

/// Has the node stop when standard input ends.
fn stop_with_stdin(host: &Host, lobby: QueueId<LobbyMessage>) {
    // What comes is of no interest, only that it ends.
    let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    // A node that is over its budget takes it later; one that stops already needs no telling.
    while let Err(HostError::Full { .. }) = host.send_wait(lobby, &LobbyMessage::Stop, Duration::from_secs(1)) {}
}

/// Adapts an FSM's random numbers to what the game's rules take.
fn dice<'a>(mut random: qnfsm::Random<'a>) -> impl FnMut(u32) -> u32 + 'a {
    move |bound| u32::try_from(random.below(bound.into())).expect("a number below a u32 is one")
}

/// A reply that did not come is asked for again: the node may have been down for longer than the deadline.
fn retry<A>(reply: Reply<A>) -> Option<A> {
    reply.outcome.ok()
}

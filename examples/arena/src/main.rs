//! A multiplayer arena on qnfsm: a game server and bots as nodes of their own on real sockets, every input recorded, the
//! server killed and recovered on the way, and in the end the whole run replayed and proved equal.
//!
//! `arena demo` shows all of it.
#![forbid(unsafe_code)]

mod bot;
mod bots;
mod demo;
mod game;
mod server;
mod wire;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

/// A multiplayer arena, recorded and replayable.
#[derive(Parser)]
#[command(name = "arena", version)]
enum Arena {
    /// Run the game server.
    Serve(server::Options),
    /// Run bots that play, and check what they are told.
    Bots(bots::Options),
    /// Replay a node's directory and prove that it does again what was recorded.
    Replay {
        /// The directory of a server or of bots.
        dir: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Run server and bots, kill the server on the way, and replay everything in the end.
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let done = match Arena::parse() {
        Arena::Serve(options) => server::serve(&options),
        Arena::Bots(options) => bots::run(&options),
        Arena::Replay { dir, json } => return demo::replay(&dir, json),
        Arena::Demo(options) => return demo::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("arena: {error}");
            ExitCode::FAILURE
        }
    }
}

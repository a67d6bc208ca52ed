//! The arena's one program; `arena demo` shows all of it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use arena::{bots, demo, server};
use clap::{CommandFactory, Parser};
use qnfsm_replay::cli::{self, CompletionsArgs, Drawing, Reading, Running};

/// A multiplayer arena, recorded and replayable.
#[derive(Parser)]
#[command(name = "arena", version)]
enum Arena {
    /// Run the game server.
    Serve(server::Options),
    /// Run bots that play, and check what they are told.
    Bots(bots::Options),
    /// Run server and bots, kill the server on the way, and replay everything in the end.
    Demo(demo::Options),
    #[command(flatten)]
    Running(Running),
    #[command(flatten)]
    Reading(Reading),
    #[command(flatten)]
    Drawing(Drawing),
    Completions(CompletionsArgs),
}

fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args_os(), "arena") {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    let done = match arguments {
        Arena::Serve(options) => server::serve(&options),
        Arena::Bots(options) => bots::run(&options),
        Arena::Demo(options) => return demo::run(&options),
        Arena::Running(running) => return running.execute(demo::programs()),
        Arena::Reading(reading) => return reading.execute(),
        Arena::Drawing(drawing) => return drawing.execute(Some(demo::programs())),
        Arena::Completions(completions) => return completions.execute(Arena::command(), "arena"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("arena: {error}");
            ExitCode::FAILURE
        }
    }
}

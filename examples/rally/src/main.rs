//! `rally play DIR` has a ball go round among three nodes, and leaves the directory of each; all else looks at these.
#![forbid(unsafe_code)]

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser};
use qnfsm::{NodeId, Recording};
use qnfsm_replay::cli::{self, CompletionsArgs, Drawing, Program, Reading, Running};
use rally::{
    kinds,
    play::{PROGRAM, dir_of, play},
};

/// Nodes that talk to each other.
#[derive(Parser)]
#[command(name = "rally", version)]
enum Rally {
    /// Has a ball go round among nodes, each of which records what happens to it.
    Play {
        /// Where the nodes' directories are made: node1, node2, and so on.
        dir: PathBuf,
        /// How many there are.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=100))]
        nodes: u32,
        /// How often the ball is hit on.
        #[arg(long, default_value_t = 4)]
        hits: u64,
        /// Record each delivery too, and not the inputs alone.
        #[arg(long)]
        everything: bool,
    },
    #[command(flatten)]
    Running(Running),
    #[command(flatten)]
    Reading(Reading),
    #[command(flatten)]
    Drawing(Drawing),
    Completions(CompletionsArgs),
}

fn main() -> ExitCode {
    let program = Program::new(PROGRAM, kinds());
    let arguments = match cli::parse(std::env::args_os(), PROGRAM) {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    match arguments {
        Rally::Running(running) => running.execute(program),
        Rally::Reading(reading) => reading.execute(),
        Rally::Drawing(drawing) => drawing.execute(Some(program)),
        Rally::Completions(completions) => completions.execute(Rally::command(), "rally"),
        Rally::Play { dir, nodes, hits, everything } => {
            let recording = if everything { Recording::Everything } else { Recording::Inputs };
            if let Err(error) = play(&dir, nodes, hits, recording) {
                eprintln!("rally: {error}");
                return ExitCode::FAILURE;
            }
            (1..=nodes).for_each(|node| println!("{}", dir_of(&dir, NodeId(node)).display()));
            ExitCode::SUCCESS
        }
    }
}

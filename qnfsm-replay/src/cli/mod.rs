//! The ready-made subcommand: `my-service replay <dir> [--json] [--quiet]`.
//!
//! A program that has no other subcommand ends its `main` with [`main`]:
//!
//! ```no_run
//! # fn kinds() -> qnfsm::Kinds { qnfsm::Kinds::new() }
//! fn main() -> std::process::ExitCode {
//!     qnfsm_replay::cli::main("my-service", kinds())
//! }
//! ```
//!
//! One that has others either looks for `replay` itself and calls [`run`], or, if it uses clap, puts [`ReplayArgs`]
//! among its own subcommands:
//!
//! ```no_run
//! # fn kinds() -> qnfsm::Kinds { qnfsm::Kinds::new() }
//! # fn serve() -> std::process::ExitCode { std::process::ExitCode::SUCCESS }
//! #[derive(clap::Parser)]
//! enum Command {
//!     Serve,
//!     /// Replays what a node recorded, and compares.
//!     Replay(qnfsm_replay::cli::ReplayArgs),
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     match <Command as clap::Parser>::parse() {
//!         Command::Serve => serve(),
//!         Command::Replay(args) => args.execute("my-service", kinds()),
//!     }
//! }
//! ```
//!
//! The exit statuses stand in the [crate's documentation](crate). The report goes to standard output, the live line and
//! errors to standard error; with `--json` the last line of standard output is one object, whatever happened.

mod show;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, FromArgMatches, Parser, Subcommand};
use qnfsm::Kinds;

use crate::{Options, replay};
use show::{LiveLine, show};

/// The arguments of `replay`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ReplayArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// Print one JSON object on the last line.
    #[arg(long)]
    pub json: bool,
    /// Print nothing but errors, and the JSON object if it is asked for.
    #[arg(long)]
    pub quiet: bool,
}

impl ReplayArgs {
    /// Replays, prints what came of it, and says with which status the program ends. `program` is the name that the
    /// node was built with.
    #[must_use]
    pub fn execute(&self, program: &str, kinds: Kinds) -> ExitCode {
        let line = LiveLine::new(self.quiet);
        let options = Options::new().program(program).on_progress(|seen| line.draw(seen));
        let outcome = replay(&self.dir, kinds, &options);
        drop(options);
        line.clear();
        show(self, &outcome);
        ExitCode::from(outcome.map_or_else(|error| error.exit_status(), |_| 0))
    }
}

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Replays what a node recorded, and compares every round with the record.
    Replay(ReplayArgs),
}

/// [`run`] with the program's own arguments.
#[must_use]
pub fn main(program: &str, kinds: Kinds) -> ExitCode {
    run(std::env::args_os(), program, kinds)
}

/// Does what `args` say, the program's name first, and says with which status the program ends. `program` is the name
/// that the node was built with.
#[must_use]
pub fn run(args: impl IntoIterator<Item = impl Into<OsString> + Clone>, program: &str, kinds: Kinds) -> ExitCode {
    let command = <Cli as clap::CommandFactory>::command().bin_name(program.to_owned());
    match command.try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(Cli { command: Command::Replay(args) }) => args.execute(program, kinds),
        Err(error) => {
            // Where standard error is closed, there is nobody to tell.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

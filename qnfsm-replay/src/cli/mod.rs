//! The ready-made subcommand: `my-service replay <dir> [--json] [--quiet]`; and the program `qnfsm`, whose `main` is
//! [`tool_main`].
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
//! One that also runs a node and takes at most its directory leaves its arguments and its errors to [`node_main`]. It hands on what
//! it was told of them, the position to [recover to](qnfsm::NodeBuilder::recover_to) too:
//!
//! ```no_run
//! # fn kinds() -> qnfsm::Kinds { qnfsm::Kinds::new() }
//! # fn serve(node: qnfsm::NodeBuilder) -> Result<(), Box<dyn std::error::Error>> { Ok(()) }
//! fn main() -> std::process::ExitCode {
//!     qnfsm_replay::cli::node_main("my-service", kinds(), |args| {
//!         let dir = args.dir.unwrap_or_else(|| "/var/lib/my-service".into());
//!         serve(qnfsm::NodeBuilder::new("my-service", kinds()).dir(dir).recover_to(args.recover.recover_to))
//!     })
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

mod dump;
mod node;
mod show;

use std::{error::Error, ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{
    Args, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use qnfsm::Kinds;

use crate::{Options, Seen, replay};
pub use dump::DumpArgs;
pub use node::{NodeArgs, RecoverArgs};
use show::{LiveLine, show, show_failure};

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
        let line = LiveLine::new("replaying", self.quiet);
        let options = Options::new().program(program).on_progress(|seen| {
            let Seen { rounds, messages, bytes, bytes_total } = seen;
            line.draw(bytes, bytes_total, || format!(", {rounds} rounds, {messages} messages"));
        });
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

/// Runs a node, or does something with what one recorded.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct NodeCli {
    #[command(flatten)]
    node: NodeArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The whole `main` of a program that runs one node: without arguments or with a directory, and with `--recover-to`, it does
/// `run`, which is given these and hands them on to its node; with `replay <dir>` it replays. Other arguments are answered with
/// the usage and status 2.
///
/// What keeps `run` from its end is printed with its causes on standard error, and the status is 1 then. `program` is
/// the name that the node was built with.
#[must_use]
pub fn node_main(program: &str, kinds: Kinds, run: impl FnOnce(NodeArgs) -> Result<(), Box<dyn Error>>) -> ExitCode {
    match parse::<NodeCli>(std::env::args_os(), program) {
        Ok(NodeCli { command: Some(Command::Replay(args)), .. }) => args.execute(program, kinds),
        Ok(NodeCli { node, command: None }) => match run(node) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                show_failure(program, &*error);
                ExitCode::FAILURE
            }
        },
        Err(status) => status,
    }
}

#[derive(Parser)]
#[command(version, about = "What can be done with a qnfsm journal without the program that wrote it")]
struct ToolCli {
    #[command(subcommand)]
    command: ToolCommand,
}

#[derive(Subcommand)]
enum ToolCommand {
    Dump(DumpArgs),
}

/// The whole `main` of the program `qnfsm`.
#[must_use]
pub fn tool_main() -> ExitCode {
    match parse::<ToolCli>(std::env::args_os(), "qnfsm") {
        Ok(ToolCli { command: ToolCommand::Dump(args) }) => args.execute(),
        Err(status) => status,
    }
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
    match parse(args, program) {
        Ok(Cli { command: Command::Replay(args) }) => args.execute(program, kinds),
        Err(status) => status,
    }
}

/// What the arguments say; where they say nothing that is known, the usage is printed, and a status is left to end with.
fn parse<C: Parser>(args: impl IntoIterator<Item = impl Into<OsString> + Clone>, program: &str) -> Result<C, ExitCode> {
    let mut command = C::command().bin_name(program.to_owned());
    let matches =
        command.try_get_matches_from_mut(args).map_err(|error| without_strange_subcommand(error, &mut command));
    matches.and_then(|matches| C::from_arg_matches(&matches)).map_err(|error| {
        // Where standard error is closed, there is nobody to tell.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// Clap takes one argument too many for a subcommand; it is called one only if it is one.
fn without_strange_subcommand(error: clap::Error, command: &mut clap::Command) -> clap::Error {
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(given)) if command.find_subcommand(given).is_none() => {
            command.error(ErrorKind::UnknownArgument, format!("unexpected argument '{given}' found"))
        }
        _ => error,
    }
}

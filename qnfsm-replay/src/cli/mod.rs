//! The ready-made subcommands, and the program `qnfsm`, whose `main` is [`tool_main`].
//!
//! [`Reading`] are those that read a journal by what it says of itself: `qnfsm describe <dir>` and `my-service describe <dir>` are the
//! same. [`Running`] are those that run what was recorded, for which it takes the program's kinds: `my-service replay <dir>`. Each
//! has a file here, on top of a module that knows no command line.
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
//! One that has others either looks for these itself and calls [`run`], or, if it uses clap, puts them among its own
//! subcommands:
//!
//! ```no_run
//! # fn kinds() -> qnfsm::Kinds { qnfsm::Kinds::new() }
//! # fn serve() -> std::process::ExitCode { std::process::ExitCode::SUCCESS }
//! #[derive(clap::Parser)]
//! enum Command {
//!     Serve,
//!     #[command(flatten)]
//!     Running(qnfsm_replay::cli::Running),
//!     #[command(flatten)]
//!     Reading(qnfsm_replay::cli::Reading),
//!     #[command(flatten)]
//!     Drawing(qnfsm_replay::cli::Drawing),
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let program = || qnfsm_replay::cli::Program::new("my-service", kinds());
//!     match qnfsm_replay::cli::parse(std::env::args_os(), "my-service") {
//!         Ok(Command::Serve) => serve(),
//!         Ok(Command::Running(running)) => running.execute(program()),
//!         Ok(Command::Reading(reading)) => reading.execute(),
//!         Ok(Command::Drawing(drawing)) => drawing.execute(Some(program())),
//!         Err(status) => status,
//!     }
//! }
//! ```
//!
//! The exit statuses stand in the [crate's documentation](crate). The report goes to standard output, the live line and
//! errors to standard error; with `--json` the last line of standard output is one object, whatever happened.

mod bisect;
mod commands;
mod completions;
mod cover;
mod debug;
mod describe;
mod diff;
mod difference;
mod drawing;
mod dump;
mod history;
mod node;
mod output;
mod program;
mod prompt;
mod repair;
mod replay;
mod seq;
mod show;
mod snapshot;
mod sound;
mod stat;
mod states;
mod step;
mod table;
mod trace;
mod verify;
mod words;

use std::{
    error::Error,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{
    CommandFactory, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use qnfsm::Kinds;

use crate::status::USAGE;
pub use bisect::BisectArgs;
pub use commands::{Reading, Running};
pub use completions::CompletionsArgs;
pub use cover::CoverArgs;
pub use debug::DebugArgs;
pub use describe::DescribeArgs;
pub use diff::DiffArgs;
pub use drawing::{ChosenArgs, Drawing};
pub use dump::DumpArgs;
pub use node::{NodeArgs, RecoverArgs};
pub use program::Program;
pub use repair::{RepairArgs, Repairs};
pub use replay::ReplayArgs;
pub use seq::SeqArgs;
use show::show_failure;
pub use snapshot::SnapshotArgs;
pub use stat::StatArgs;
pub use states::StatesArgs;
pub use trace::TraceArgs;
pub use verify::VerifyArgs;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// All that can be done with what a node recorded by a program that has its kinds.
#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Running(Running),
    #[command(flatten)]
    Reading(Reading),
    #[command(flatten)]
    Drawing(Drawing),
    Completions(CompletionsArgs),
}

impl Command {
    /// Does it. `C` is what the program's arguments were read by.
    fn execute<C: CommandFactory>(&self, program: Program) -> ExitCode {
        match self {
            Command::Running(running) => running.execute(program),
            Command::Reading(reading) => reading.execute(),
            Command::Drawing(drawing) => drawing.execute(Some(program)),
            Command::Completions(args) => args.execute(C::command(), &program.name),
        }
    }
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
/// `run`, which is given these and hands them on to its node; with a subcommand, such as `replay <dir>` or `describe <dir>`, it does
/// that. Other arguments are answered with the usage and status 2.
///
/// What keeps `run` from its end is printed with its causes on standard error, and the status is 1 then. `program` is
/// the name that the node was built with.
#[must_use]
pub fn node_main(program: &str, kinds: Kinds, run: impl FnOnce(NodeArgs) -> Result<(), Box<dyn Error>>) -> ExitCode {
    run_node(Program::new(program, kinds), run)
}

fn run_node(program: Program, run: impl FnOnce(NodeArgs) -> Result<(), Box<dyn Error>>) -> ExitCode {
    match parse::<NodeCli>(std::env::args_os(), &program.name) {
        Ok(NodeCli { command: Some(command), .. }) => command.execute::<NodeCli>(program),
        Ok(NodeCli { node, command: None }) => match run(node) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                show_failure(&program.name, &*error);
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
    #[command(flatten)]
    Reading(Reading),
    #[command(flatten)]
    Drawing(Drawing),
    /// Where two journals part.
    Diff(DiffArgs),
    Completions(CompletionsArgs),
}

/// The whole `main` of the program `qnfsm`.
#[must_use]
pub fn tool_main() -> ExitCode {
    match parse::<ToolCli>(std::env::args_os(), TOOL) {
        Ok(ToolCli { command: ToolCommand::Reading(reading) }) => reading.execute(),
        Ok(ToolCli { command: ToolCommand::Drawing(drawing) }) => drawing.execute(None),
        Ok(ToolCli { command: ToolCommand::Diff(args) }) => args.execute(None),
        Ok(ToolCli { command: ToolCommand::Completions(args) }) => args.execute(ToolCli::command(), TOOL),
        Err(status) => status,
    }
}

/// The program that knows no kinds, after which the examples in the help are spelt.
const TOOL: &str = "qnfsm";

/// A program that knows its kinds, after which the examples of what takes them are spelt.
const SERVICE: &str = "my-service";

/// [`run`] with the program's own arguments.
#[must_use]
pub fn main(program: &str, kinds: Kinds) -> ExitCode {
    run(std::env::args_os(), program, kinds)
}

/// Does what `args` say, the program's name first, and says with which status the program ends. `program` is the name
/// that the node was built with.
#[must_use]
pub fn run(args: impl IntoIterator<Item = impl Into<OsString> + Clone>, program: &str, kinds: Kinds) -> ExitCode {
    run_program(args, Program::new(program, kinds))
}

fn run_program(args: impl IntoIterator<Item = impl Into<OsString> + Clone>, program: Program) -> ExitCode {
    match parse::<Cli>(args, &program.name) {
        Ok(Cli { command }) => command.execute::<Cli>(program),
        Err(status) => status,
    }
}

/// What the arguments say, the program's name first; where they ask for help, or say nothing that is known, that or the usage is printed, and a
/// status is left to end with. A program with subcommands of its own reads its arguments by this, and not by clap's `parse`, which ends well where
/// its help could not be written, and knows the examples in the help of these subcommands by another program's name.
///
/// # Errors
/// The status that is left to end with: 0 where help was asked for and printed.
pub fn parse<C: Parser>(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    program: &str,
) -> Result<C, ExitCode> {
    let mut command =
        C::command().bin_name(program.to_owned()).mut_subcommands(|subcommand| named(subcommand, program));
    let matches =
        command.try_get_matches_from_mut(args).map_err(|error| without_strange_subcommand(error, &mut command));
    matches.and_then(|matches| C::from_arg_matches(&matches)).map_err(|error| {
        let printed = error.print().and_then(|()| io::stdout().flush());
        if error.use_stderr() {
            // Where standard error is closed, there is nobody to tell.
            return ExitCode::from(USAGE);
        }
        output::conclude(false, printed.map_err(Into::into))
    })
}

/// A subcommand whose examples are spelt with the program's name.
fn named(subcommand: clap::Command, program: &str) -> clap::Command {
    let Some(help) = subcommand.get_after_help() else { return subcommand };
    let named = format!("  {program} ");
    let help = help.to_string().replace(&format!("  {TOOL} "), &named).replace(&format!("  {SERVICE} "), &named);
    // Completions are looked for in a file of the program's name.
    let help = help.replace(&format!("/completions/{TOOL}"), &format!("/completions/{program}"));
    subcommand.after_help(help)
}

/// Clap takes one argument too many for a subcommand; it is called one only if it is one.
fn without_strange_subcommand(error: clap::Error, command: &mut clap::Command) -> clap::Error {
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(given)) if command.find_subcommand(given).is_none() => {
            let told = match is_of_programs(given) {
                true => format!("{OF_PROGRAMS}: `{SERVICE} {given} <dir>`. {HOW_PROGRAMS_GET_IT}"),
                false => format!("unexpected argument '{given}' found"),
            };
            command.error(ErrorKind::UnknownArgument, told)
        }
        _ => error,
    }
}

/// True of a command that runs what was recorded, which a program lacks that has no kinds or doesn't embed it.
fn is_of_programs(given: &str) -> bool {
    Running::augment_subcommands(clap::Command::new(SERVICE)).find_subcommand(given).is_some()
}

/// What is said of such a command where it isn't there.
const OF_PROGRAMS: &str = "this is a command of the program that wrote the journal, whose FSMs it runs";
const HOW_PROGRAMS_GET_IT: &str = "A program has it whose `main` is `qnfsm_replay::cli::main` or `node_main`, or whose subcommands have \
                                   `qnfsm_replay::cli::Running` among them; see docs/guide.md, \"Recording and replaying\"";

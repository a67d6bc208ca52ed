//! `qnfsm-instructions`: counts the instructions of the hot paths, and compares them with the counts in `baseline.json`.
//!
//! `check` runs this program under callgrind, each path so many times and twice as many times; what the second run takes more
//! is what the path itself takes, without what begins and ends a process. Instructions are the same on an idle machine and
//! on a busy one, so a rise is the program's and not the day's. [`paths`] is what is counted, [`callgrind`] how, [`baseline`]
//! what it was, and [`comparison`] what is made of a difference.
#![forbid(unsafe_code)]
#![allow(unreachable_pub, reason = "a program has no API: `pub` says what a module offers to the others")]

mod baseline;
mod callgrind;
mod comparison;
mod memory;
mod paths;
mod rounds;

use std::{error::Error, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    baseline::{Baseline, Setting},
    callgrind::Counts,
    comparison::{Comparison, Verdict},
    paths::Path,
};

/// Why something couldn't be done, in words for who runs this.
type Failure = Box<dyn Error>;

/// Counts the instructions of the hot paths under callgrind, and compares them with the baseline in the repository.
///
/// Build it with `--release`.
#[derive(Parser)]
#[command(name = "qnfsm-instructions", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare with the baseline; fails on a rise over 2 %.
    Check {
        /// Fail on a rise even where the baseline is of another toolchain or kind of machine, whose counts differ.
        #[arg(long)]
        strict: bool,
    },
    /// Make the counts of now the baseline.
    Accept {
        /// Why they are right, for who reads the file later.
        #[arg(long)]
        reason: String,
    },
    /// Show that a rise is seen: counts one path, and again with 3 % of it more.
    Prove,
    /// Run one path so many times, without counting: what the other commands start.
    Run {
        /// The path.
        path: Path,
        /// How many times.
        times: u32,
    },
}

fn check(strict: bool) -> Result<ExitCode, Failure> {
    let baseline = Baseline::read()?;
    let comparison = Comparison::of(&baseline, &Counts::take()?);
    print!("{comparison}");
    let here = Setting::here()?;
    let is_comparable = baseline.setting == here;
    if !is_comparable {
        println!("\nThe baseline is of another toolchain or kind of machine, whose counts differ by themselves:");
        println!("  baseline  {}\n  here      {here}", baseline.setting);
    }
    match comparison.verdict() {
        Verdict::Fine => Ok(ExitCode::SUCCESS),
        Verdict::Rise if !is_comparable && !strict => {
            println!("So the rise fails nothing. With --strict it does.");
            Ok(ExitCode::SUCCESS)
        }
        Verdict::Rise => {
            eprintln!("\nqnfsm-instructions: a path takes over 2 % more instructions than the baseline says.");
            eprintln!("Where that is right, make it the baseline, with a reason, in the commit that brings it:");
            eprintln!("  cargo run --release -p qnfsm-instructions -- accept --reason \"...\"");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn accept(reason: &str) -> Result<ExitCode, Failure> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err("say in --reason why the counts are right".into());
    }
    let before = Baseline::read_if_there()?;
    let accepted = before.accepting(&Counts::take()?, Setting::here()?, reason);
    print!("{}", Comparison::of(&before, &accepted.counts()));
    accepted.write()?;
    Ok(ExitCode::SUCCESS)
}

fn prove() -> Result<ExitCode, Failure> {
    let before = Counts::of_one(Path::Deliver, 0)?;
    let baseline = Baseline::default().accepting(&before, Setting::here()?, "As it is.");
    let again = Comparison::of(&baseline, &Counts::of_one(Path::Deliver, 0)?);
    let planted = Comparison::of(&baseline, &Counts::of_one(Path::Deliver, 3)?);
    print!("{again}{planted}");
    match (again.verdict(), planted.verdict()) {
        (Verdict::Fine, Verdict::Rise) => Ok(ExitCode::SUCCESS),
        verdicts => Err(format!("fine and a rise were expected, and {verdicts:?} is what was seen").into()),
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Check { strict } => check(strict),
        Command::Accept { reason } => accept(&reason),
        Command::Prove => prove(),
        Command::Run { path, times } => path.run(times).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("qnfsm-instructions: {error}");
        ExitCode::FAILURE
    })
}

//! `qnfsm-bench`: measures this library beside its peers and beside the bare loops that bound it.
//!
//! A suite is a module here that implements [`Suite`]: what is compared as data (`plan`), and how one run of one system is
//! measured (`measure`). Everything else is shared: [`runner`] gives each run a process of its own and takes medians, [`row`]
//! is the one format, [`table`] the one for eyes. To add a suite: a module, a variant of [`Command`], a line in [`measure`].
#![forbid(unsafe_code)]
#![allow(unreachable_pub, reason = "a program has no API: `pub` says what a module offers to the others")]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench stands outside the perimeter: it reads clocks and starts threads"
)]

mod doorbell;
mod footprint;
mod growth;
mod journal;
mod latency;
mod listed;
mod locked;
mod messaging;
mod pace;
mod plan;
mod plot;
mod progress;
mod recorded;
mod replay;
mod resident;
mod round;
mod row;
mod runner;
mod table;
mod usage;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;

use crate::{
    footprint::Footprint,
    growth::Growth,
    journal::Journal,
    latency::Latency,
    messaging::Messaging,
    plan::{Failure, Figures, Job, Suite},
    replay::Replay,
    round::Round,
};

/// Measures qnfsm beside its peers and beside the bare loops that bound it.
///
/// Build it with `--release`. Each run of each system is a process of its own, the systems take turns, and a row is the
/// median of the runs. Rows go to standard output, progress to standard error.
#[derive(Parser)]
#[command(name = "qnfsm-bench", version, arg_required_else_help = true)]
#[command(after_help = "Example: qnfsm-bench messaging --only ping-pong --json")]
enum Command {
    /// Messages between FSMs and between actors: ping-pong, fan-in, ring, spawning, fan-out, replay.
    Messaging(runner::Options),
    /// How long one message takes there and back: between two workers, and from a socket to an FSM.
    Latency(runner::Options),
    /// Where the time of a round goes: taking, writing, decoding, handling, sending.
    Round(runner::Options),
    /// What recording costs, waiting until it is on disk, snapshots and recovery, beside bare loops and embedded databases.
    Journal(runner::Options),
    /// What it takes to go through a long journal: to replay it, to go to a step and back, to look for one.
    Replay(runner::Options),
    /// How the cost of a message grows: with FSMs in a worker, workers, messages in a queue, payload.
    Growth(runner::Options),
    /// What FSMs cost that do nothing: memory, and writing and restoring a worker that is full of them.
    Footprint(runner::Options),
    /// Draws rows of `growth`, `footprint` and `journal` that were printed with `--json`.
    Plot {
        /// The rows.
        rows: PathBuf,
        /// Where the pictures go, as SVG.
        dir: PathBuf,
    },
    /// One run of one system, in this process: what the other commands start, and what a failure names.
    #[command(hide = true)]
    Measure(Job),
}

fn measure(job: &Job) -> Result<Figures, Failure> {
    match job.suite.as_str() {
        Messaging::NAME => Messaging::measure(job),
        Growth::NAME => Growth::measure(job),
        Footprint::NAME => Footprint::measure(job),
        Latency::NAME => Latency::measure(job),
        Round::NAME => Round::measure(job),
        Journal::NAME => Journal::measure(job),
        Replay::NAME => Replay::measure(job),
        other => {
            let suites = [
                Messaging::NAME,
                Growth::NAME,
                Footprint::NAME,
                Latency::NAME,
                Round::NAME,
                Journal::NAME,
                Replay::NAME,
            ];
            let suites = suites.join(", ");
            Err(format!("there is no suite {other}; the suites are {suites}").into())
        }
    }
}

/// Draws the pictures of all suites whose rows are in a file.
fn drawn(rows: &Path, dir: &Path) -> Result<(), Failure> {
    let rows = plot::read(rows)?;
    let suites = [
        (Growth::NAME, Growth::plots()),
        (Footprint::NAME, Footprint::plots()),
        (Journal::NAME, Journal::plots()),
        (Replay::NAME, Replay::plots()),
    ];
    plot::say_drawn(&plot::draw_suites(&suites, &rows, dir)?)
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Messaging(options) => runner::run::<Messaging>(&options),
        Command::Latency(options) => runner::run::<Latency>(&options),
        Command::Round(options) => runner::run::<Round>(&options),
        Command::Journal(options) => runner::run::<Journal>(&options),
        Command::Replay(options) => runner::run::<Replay>(&options),
        Command::Growth(options) => runner::run::<Growth>(&options),
        Command::Footprint(options) => runner::run::<Footprint>(&options),
        Command::Plot { rows, dir } => drawn(&rows, &dir),
        Command::Measure(job) => runner::run_one(&job, measure),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qnfsm-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

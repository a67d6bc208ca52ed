//! Which subcommands draw what happened in a journal, what of it they are told to draw, and how it reaches them: by a walk with a
//! program's kinds, or by the records alone.

use std::{cell::RefCell, path::Path, process::ExitCode};

use clap::{Args, Subcommand};
use qnfsm::{NodeId, RawQueueId, Time, WorkerId};

use super::{CoverArgs, Program, SeqArgs, StatesArgs, TraceArgs, output, program::Programs, show::LiveLine};
use crate::{
    Nodes, Options, ReplayError, Seen, Walk,
    diagram::{
        event::{Chosen, Feed, Sink},
        records,
        ways::{self, Basis},
    },
    dump::{DumpError, Instant},
};

/// The subcommands that draw what happened. With a program's kinds they run what was recorded, and know every message that was handled; the
/// program `qnfsm` knows what crossed perimeters, and of workers that record everything each delivery. A program with subcommands of its own
/// takes them in with `#[command(flatten)]`.
#[derive(Debug, Clone, Subcommand)]
#[non_exhaustive]
pub enum Drawing {
    /// Who sent what to whom: a sequence diagram.
    Seq(SeqArgs),
    /// The states that FSMs of each kind were seen in, and the ways between them: state diagrams.
    States(StatesArgs),
    /// Which messages FSMs were given in which states, and which never.
    Cover(CoverArgs),
    /// A trace for Perfetto and Chrome's viewer.
    Trace(TraceArgs),
}

impl Drawing {
    /// Does it, and says with which status the program ends. `own` is the program that recorded it; without it
    /// the records alone are read.
    #[must_use]
    pub fn execute(&self, own: Option<Program>) -> ExitCode {
        match self {
            Drawing::Seq(args) => args.execute(own),
            Drawing::States(args) => args.execute(own),
            Drawing::Cover(args) => args.execute(own),
            Drawing::Trace(args) => args.execute(own),
        }
    }

    /// The node's directory; of several, the first.
    #[must_use]
    pub fn dir(&self) -> &Path {
        match self {
            Drawing::Seq(args) => &args.dir,
            Drawing::States(args) => &args.dir,
            Drawing::Cover(args) => &args.dir,
            Drawing::Trace(args) => &args.dir,
        }
    }
}

/// What of a journal is drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[non_exhaustive]
pub struct ChosenArgs {
    /// Of this node alone, by its number.
    #[arg(long, value_name = "N")]
    pub node: Option<u32>,
    /// Of this worker alone, by its number.
    #[arg(long, value_name = "N")]
    pub worker: Option<u32>,
    /// Of FSMs of this kind alone.
    #[arg(long, value_name = "NAME")]
    pub kind: Option<String>,
    /// What goes to or comes from this queue alone, such as w0/7.1.
    #[arg(long, value_name = "QUEUE")]
    pub queue: Option<RawQueueId>,
    /// Rounds from this one on alone.
    #[arg(long, value_name = "N")]
    pub from_round: Option<u64>,
    /// Rounds up to this one alone.
    #[arg(long, value_name = "N")]
    pub to_round: Option<u64>,
    /// What happened at this time or later alone, by the times of rounds, as RFC 3339 writes them: 2026-11-22T22:33:04.5Z.
    #[arg(long, value_name = "TIME")]
    pub from_time: Option<Instant>,
    /// What happened at this time or before alone.
    #[arg(long, value_name = "TIME")]
    pub to_time: Option<Instant>,
    /// Run nothing, and draw what the records alone tell.
    #[arg(long)]
    pub as_recorded: bool,
    /// Read the directory of a running node too: what is there at this moment.
    #[arg(long)]
    pub live: bool,
}

impl ChosenArgs {
    fn chosen(&self) -> Chosen {
        Chosen {
            node: self.node.map(NodeId),
            worker: self.worker.map(WorkerId),
            queue: self.queue,
            kind: self.kind.clone(),
            rounds: self.from_round.unwrap_or(0)..=self.to_round.unwrap_or(u64::MAX),
            time: self.from_time.map_or(Time::ZERO, |time| time.0)
                ..=self.to_time.map_or(Time::from_nanos(u64::MAX), |time| time.0),
        }
    }
}

/// Shows a sink what was chosen of one node or several. What is known of the journals comes also where they can't be gone through to their ends.
pub(super) fn gather(
    dirs: &[&Path],
    args: &ChosenArgs,
    own: Option<Program>,
    line: &LiveLine,
    sink: &mut dyn Sink,
) -> (Basis, Result<(), DumpError>) {
    let chosen = args.chosen();
    let (mut basis, mut feed) = (Basis::default(), Feed::new(&chosen, sink));
    let progress = |bytes, bytes_total| line.draw(bytes, bytes_total, String::new);
    let gathered = match (own.filter(|_| !args.as_recorded), dirs) {
        (Some(own), dirs) => walk(dirs, args.live, own, &mut feed, &mut basis, line),
        (None, [dir]) => records::recorded(dir, args.live, &mut feed, &mut basis, progress),
        (None, dirs) => records::recorded_together(dirs, args.live, &mut feed, &mut basis, progress),
    };
    line.clear();
    (basis, gathered)
}

/// Goes through what was recorded with the programs' kinds.
fn walk(
    dirs: &[&Path],
    live: bool,
    own: Program,
    feed: &mut Feed<'_>,
    basis: &mut Basis,
    line: &LiveLine,
) -> Result<(), DumpError> {
    let programs = Programs::new(own).map_err(DumpError::from)?;
    let known: Vec<_> = dirs.iter().map(|dir| programs.of(dir)).collect();
    let seen = RefCell::new(vec![Seen::default(); dirs.len()]);
    let options = |(at, (name, _)): (usize, &&(String, _))| {
        let seen = &seen;
        Options::new().program(name).live(live).on_progress(move |progress| {
            seen.borrow_mut()[at] = progress;
            let seen = seen.borrow();
            let sum = |of: fn(&Seen) -> u64| seen.iter().map(of).sum::<u64>();
            let (rounds, messages) = (sum(|seen| seen.rounds), sum(|seen| seen.messages));
            let bytes = (sum(|seen| seen.bytes), sum(|seen| seen.bytes_total));
            line.draw(bytes.0, bytes.1, || format!(", {rounds} rounds, {messages} messages"));
        })
    };
    let options: Vec<_> = known.iter().enumerate().map(options).collect();
    let open = |at: usize| Walk::open_sealed(dirs[at], known[at].1.clone(), &options[at]);
    if dirs.len() == 1 {
        return ways::walked(open(0)?, feed, basis);
    }
    let nodes = (0..dirs.len()).try_fold(Nodes::new(), |nodes, at| nodes.and(open(at)?))?;
    ways::walked_together(nodes, feed, basis)
}

/// Ends a command that has gathered what it draws: prints it, unless there is nothing of it, and then what kept it from the rest. Where what was
/// asked for isn't there, there is nothing of it.
pub(super) fn conclude(
    json: bool,
    basis: &Basis,
    gathered: Result<(), DumpError>,
    print: impl FnOnce() -> Result<(), DumpError>,
) -> ExitCode {
    let has_none = gathered.as_ref().is_err_and(|error| basis.rounds == 0 || is_of_nothing(error));
    let printed = if has_none { Ok(()) } else { print() };
    output::conclude_with_live(json, printed.and(gathered))
}

/// True if what was asked for isn't there, or nothing of it happened.
pub(super) fn is_of_nothing(error: &DumpError) -> bool {
    matches!(error, DumpError::Journal(ReplayError::Misuse(_) | ReplayError::NothingToDraw(_)))
}

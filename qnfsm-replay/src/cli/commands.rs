//! Which subcommands there are: those that read a journal by what it says of itself, which the program `qnfsm` and a user's program
//! both have, and those that run what was recorded, for which it takes the program's kinds.

use std::{path::Path, process::ExitCode};

use super::{
    BisectArgs, DebugArgs, DescribeArgs, DiffArgs, DumpArgs, Program, RepairArgs, ReplayArgs, SnapshotArgs, StatArgs,
    VerifyArgs,
};
use clap::Subcommand;

/// The subcommands that know no types of the user's. A program with subcommands of its own takes them in with
/// `#[command(flatten)]`.
#[derive(Debug, Clone, Subcommand)]
#[non_exhaustive]
pub enum Reading {
    /// What a journal is, in numbers.
    Describe(DescribeArgs),
    /// Every record, every message and every FSM of a snapshot.
    Dump(DumpArgs),
    /// How a node was used: rates, sizes, who talks most, how long it took.
    Stat(StatArgs),
    /// One snapshot, wholly.
    Snapshot(SnapshotArgs),
    /// Whether a directory is sound; if not, what is damaged and what to do about it.
    Verify(VerifyArgs),
    /// Mends what is asked for, and keeps the old bytes.
    Repair(RepairArgs),
}

impl Reading {
    /// Does it, and says with which status the program ends.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        match self {
            Reading::Describe(args) => args.execute(),
            Reading::Dump(args) => args.execute(),
            Reading::Stat(args) => args.execute(),
            Reading::Snapshot(args) => args.execute(),
            Reading::Verify(args) => args.execute(),
            Reading::Repair(args) => args.execute(),
        }
    }
}

/// The subcommands that run what was recorded.
#[derive(Debug, Clone, Subcommand)]
#[non_exhaustive]
pub enum Running {
    /// Replays what a node recorded, and compares every round with the record.
    Replay(ReplayArgs),
    /// Goes through a journal step by step, in both directions.
    Debug(DebugArgs),
    /// Where the program does something else than was recorded, and why it may; or where two journals part.
    Diff(DiffArgs),
    /// The step after which an invariant doesn't hold.
    Bisect(BisectArgs),
}

impl Running {
    /// Does it, and says with which status the program ends.
    #[must_use]
    pub fn execute(&self, program: Program) -> ExitCode {
        if let Running::Debug(args) = self {
            return args.execute_among(program);
        }
        let program = program.of(self.dir());
        match self {
            Running::Replay(args) => args.execute(&program.name, program.kinds),
            Running::Debug(args) => args.execute(&program.name, program.kinds),
            Running::Diff(args) => args.execute(Some(program)),
            Running::Bisect(args) => args.execute(program),
        }
    }

    /// The directory that it is about, by which who runs several programs' nodes tells them apart.
    #[must_use]
    pub fn dir(&self) -> &Path {
        match self {
            Running::Replay(args) => &args.dir,
            Running::Debug(args) => &args.dir,
            Running::Diff(args) => &args.dir,
            Running::Bisect(args) => &args.dir,
        }
    }
}

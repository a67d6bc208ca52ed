//! Which subcommands there are: those that read a journal by what it says of itself, which the program `qnfsm` and a user's program
//! both have, and those that run what was recorded, for which it takes the program's kinds.

use std::process::ExitCode;

use clap::Subcommand;
use qnfsm::Kinds;

use super::{DescribeArgs, DumpArgs, RepairArgs, ReplayArgs, SnapshotArgs, StatArgs, VerifyArgs};

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
}

impl Running {
    /// Does it, and says with which status the program ends. `program` is the name that the node was built with.
    #[must_use]
    pub fn execute(&self, program: &str, kinds: Kinds) -> ExitCode {
        match self {
            Running::Replay(args) => args.execute(program, kinds),
        }
    }
}

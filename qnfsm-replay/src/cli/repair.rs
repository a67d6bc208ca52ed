//! The subcommand `repair`: what is asked for is said first, and done then.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use qnfsm::journal::{JournalError, OpenError, Position, RealFiles, Repair, RepairError, Repaired, Storage};
use serde::Serialize;

use super::output::{self, Paint};
use crate::{CorruptJournal, ReplayError, dump::DumpError, status::reading_help};

/// Mends what is asked for in the directory of a node that doesn't run, and nothing else. What goes is kept aside in `lost`.
#[derive(Debug, Clone, Args)]
#[command(after_help = reading_help!(
    "Example:\n  qnfsm repair /var/lib/my-service --end-at 3:4711 --dry-run\n\nTake a copy of the directory first: what goes is kept, and no \
     command puts it back.",
    "mended, or nothing to do",
    ""
))]
pub struct RepairArgs {
    /// The node's directory: the one that holds `manifest` and `journal`.
    pub dir: PathBuf,
    /// What is mended.
    #[command(flatten)]
    pub what: Repairs,
    /// Say what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What can be mended. They are done in this order.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = true)]
#[non_exhaustive]
pub struct Repairs {
    /// End the journal there, where a record ends: what lies behind is given up, with the snapshots of it. `verify` says which
    /// position to give where the journal is damaged.
    #[arg(long, value_name = "SEGMENT:OFFSET")]
    pub end_at: Option<Position>,
    /// Drop what a crash left behind the journal's end, as the next start would.
    #[arg(long)]
    pub drop_tail: bool,
    /// Move aside the snapshots that no start would use: damaged ones, and those that the journal doesn't mark.
    #[arg(long)]
    pub unusable_snapshots: bool,
}

/// What became of one repair, as JSON.
#[derive(Debug, Serialize)]
struct Done {
    repair: &'static str,
    /// Nothing, if there was nothing to do.
    what: Option<String>,
}

#[derive(Debug, Serialize)]
struct Json {
    dry_run: bool,
    repairs: Vec<Done>,
}

impl RepairArgs {
    /// Mends it, and says with which status the program ends: 2 if what is asked for can't be done, and those of a replay.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        output::conclude(self.json, self.repair())
    }

    fn repair(&self) -> Result<(), DumpError> {
        let storage: Arc<dyn Storage> = Arc::new(RealFiles);
        let (mut repairs, paint) = (Vec::new(), Paint::of_output());
        for (name, repair) in self.what.wanted() {
            // It is said before it is done, so that whoever stops it here knows how far it came.
            let would = repair.look(&storage, &self.dir).map_err(error_of)?;
            if !self.json {
                output::print(&say(name, would.as_ref(), self.dry_run, paint))?;
            }
            let what = would.as_ref().map(ToString::to_string);
            if would.is_some() && !self.dry_run {
                repair.carry_out(&storage, &self.dir).map_err(error_of)?;
                if !self.json {
                    output::print(&format!("{}\n", paint.good("done")))?;
                }
            }
            repairs.push(Done { repair: name, what });
        }
        if self.json { output::print_json(&Json { dry_run: self.dry_run, repairs }) } else { Ok(()) }
    }
}

impl Repairs {
    fn wanted(&self) -> impl Iterator<Item = (&'static str, Repair)> {
        let end_at = self.end_at.map(|at| ("end-at", Repair::EndAt(at)));
        let tail = self.drop_tail.then_some(("drop-tail", Repair::DropTail));
        let snapshots = self.unusable_snapshots.then_some(("unusable-snapshots", Repair::SnapshotsAside));
        end_at.into_iter().chain(tail).chain(snapshots)
    }
}

fn say(name: &str, repaired: Option<&Repaired>, dry_run: bool, paint: Paint) -> String {
    let how = if dry_run { " (this would be done)" } else { "" };
    match repaired {
        Some(repaired) => format!("{}{how}: {repaired}\n", paint.title(name)),
        None => format!("{}: nothing to do\n", paint.title(name)),
    }
}

fn error_of(error: RepairError) -> DumpError {
    let error: ReplayError = match error {
        RepairError::Open(error) => error.into(),
        RepairError::Read(error) => error.into(),
        RepairError::Disk(JournalError::Io(error)) => OpenError::from(error).into(),
        RepairError::Disk(JournalError::Corrupt(error)) => CorruptJournal::Bytes(error).into(),
        RepairError::Disk(JournalError::Unsupported(error)) => error.into(),
        other => ReplayError::Misuse(other.to_string()),
    };
    error.into()
}

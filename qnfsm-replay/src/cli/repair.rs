//! The subcommand `repair`: what is asked for is said first, and done then.

use std::{
    cell::Cell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use qnfsm::journal::{JournalError, OpenError, Position, RealFiles, Repair, RepairError, Repaired, Storage, holdings};
use serde::Serialize;

use super::{
    output::{self, Paint},
    show::LiveLine,
};
use crate::{
    CorruptJournal, ReplayError, dump::DumpError, recorded::journal_bytes_before, replay::RECORDS_BETWEEN_REPORTS,
    status::reading_help,
};

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
            let on_way = OnWay::new("looking", &self.dir, repair);
            let would = repair.look_telling(&storage, &self.dir, &mut |at| on_way.draw(at));
            on_way.line.clear();
            let would = would.map_err(error_of)?;
            if !self.json {
                output::print(&say(name, would.as_ref(), self.dry_run, paint))?;
            }
            let what = would.as_ref().map(ToString::to_string);
            if would.is_some() && !self.dry_run {
                let on_way = OnWay::new("mending", &self.dir, repair);
                let done = repair.carry_out_telling(&storage, &self.dir, &mut |at| on_way.draw(at));
                on_way.line.clear();
                done.map_err(error_of)?;
                if !self.json {
                    output::print(&format!("{}\n", paint.good("done")))?;
                }
            }
            repairs.push(Done { repair: name, what });
        }
        if self.json { output::print_json(&Json { dry_run: self.dry_run, repairs }) } else { Ok(()) }
    }
}

/// The live line of a repair, which goes through the journal once or several times.
struct OnWay {
    line: LiveLine,
    /// By segment, how long the journal's files are. What they don't say now, the repair says as an error.
    files: BTreeMap<u64, u64>,
    passes: u64,
    bytes: u64,
    /// Where the last record stood, how often the journal was gone through before, and how many records it were in all.
    at: Cell<(Position, u64, u64)>,
}

impl OnWay {
    fn new(what: &'static str, dir: &Path, repair: Repair) -> OnWay {
        let files = holdings::segments(&RealFiles, dir).unwrap_or_default();
        let bytes = files.values().sum();
        OnWay { line: LiveLine::later(what), files, passes: repair.passes(), bytes, at: Cell::default() }
    }

    fn draw(&self, at: Position) {
        let (last, mut pass, records) = self.at.get();
        pass += u64::from(at < last);
        self.at.set((at, pass, records + 1));
        if records % RECORDS_BETWEEN_REPORTS == 0 {
            let before = journal_bytes_before(&self.files, at);
            self.line.draw(pass * self.bytes + before, self.passes * self.bytes, String::new);
        }
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

//! The subcommand `snapshot`: one snapshot, wholly.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use qnfsm::WorkerId;

use super::output;
use crate::{
    dump::{Options, VALUE_CHARS_DEFAULT, snapshot},
    status::reading_help,
};

/// Prints a snapshot wholly: its FSMs with their data and states, what waits for each, their timers and requests. Without a worker it
/// is the newest snapshot of each.
#[derive(Debug, Clone, Args)]
#[command(after_help = reading_help!("Example:\n  qnfsm snapshot /var/lib/my-service --worker 0 --round 812", "shown", ""))]
pub struct SnapshotArgs {
    /// The node's directory: the one that holds `manifest` and `snapshots`. It is only read.
    pub dir: PathBuf,
    /// Of this worker, by its number.
    #[arg(long, value_name = "N")]
    pub worker: Option<u32>,
    /// The one that was taken after this round; the newest unless it is said. `describe` lists those that are there.
    #[arg(long, value_name = "N")]
    pub round: Option<u64>,
    /// Print one JSON object on each line.
    #[arg(long)]
    pub json: bool,
    /// Read the directory of a running node too: what is there at this moment.
    #[arg(long)]
    pub live: bool,
    /// Show so many characters of one value at most.
    #[arg(long, value_name = "N", default_value_t = VALUE_CHARS_DEFAULT)]
    pub chars: usize,
}

impl SnapshotArgs {
    /// Prints it, and says with which status the program ends: 2 if there is no such snapshot, and those of a replay.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let options = Options::new().value_chars(self.chars).live(self.live);
        let worker = self.worker.map(WorkerId);
        let shown =
            snapshot(&self.dir, worker, self.round, &options, |line| output::write_line(line, self.json, &mut out));
        let flushed = out.flush().map_err(Into::into);
        output::conclude_with_live(self.json, shown.and(flushed))
    }
}

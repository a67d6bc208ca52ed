//! The subcommand `replay`.

use std::{io::ErrorKind, path::PathBuf, process::ExitCode};

use clap::Args;
use qnfsm::Kinds;

use super::{
    output,
    show::{LiveLine, show},
};
use crate::{Options, RoundName, Seen, SnapshotName, replay, status::running_help};

/// Replays what a node recorded, and compares every round with the record.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = running_help!(
    "Examples:\n  my-service replay /var/lib/my-service --json\n  my-service replay /var/lib/my-service --from w0:812 --to w0:900",
    "equal",
    ""
))]
pub struct ReplayArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// Begin with this snapshot, by its worker and the round after which it was taken, as `describe` lists them, or its file. Other workers
    /// begin with their latest snapshots before it, or where they have none, at their start.
    #[arg(long, value_name = "WORKER:ROUND")]
    pub from: Option<SnapshotName>,
    /// End behind this round of the journal: by its ordinal among the rounds of all workers, such as 120, or its worker and that one's
    /// number of it, such as w0:900.
    #[arg(long, value_name = "ROUND")]
    pub to: Option<RoundName>,
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
        let mut options = Options::new().program(program).on_progress(|seen| {
            let Seen { rounds, messages, bytes, bytes_total } = seen;
            line.draw(bytes, bytes_total, || format!(", {rounds} rounds, {messages} messages"));
        });
        options = self.from.into_iter().fold(options, Options::from);
        options = self.to.into_iter().fold(options, Options::to);
        let outcome = replay(&self.dir, kinds, &options);
        drop(options);
        line.clear();
        match show(self, &outcome) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => output::conclude(false, Err(error.into())),
            // Where standard output is closed, there is nobody to tell; the status tells all the same.
            _ => ExitCode::from(outcome.map_or_else(|error| error.exit_status(), |_| 0)),
        }
    }
}

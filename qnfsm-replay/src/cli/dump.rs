//! The subcommand `qnfsm dump`: lines as they come, on standard output.

use std::{
    cell::RefCell,
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
    thread::sleep,
    time::Duration,
};

use clap::Args;
use qnfsm::{RawQueueId, Time, WorkerId};

use super::{output, show::LiveLine};
use crate::{
    ReplayError,
    dump::{DumpError, FieldIs, Instant, Line, Options, VALUE_CHARS_DEFAULT, check_names, dump, follow},
    status::reading_help,
};

/// Shows every record, every message and every FSM of a snapshot, by the names that stand in the journal itself.
#[derive(Debug, Clone, Args)]
#[command(after_help = reading_help!(
    "Examples:\n  qnfsm dump /var/lib/my-service --worker 0 --from-round 100\n  qnfsm dump /var/lib/my-service --json | jq -c .what",
    "shown, or whoever reads has had enough",
    ""
))]
pub struct DumpArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// Print one JSON object on each line.
    #[arg(long)]
    pub json: bool,
    /// Show what is about this worker alone, by its number.
    #[arg(long, value_name = "N")]
    pub worker: Option<u32>,
    /// Show rounds from this one on alone.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub from_round: u64,
    /// Show rounds up to this one alone.
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    pub to_round: u64,
    /// Show what happened at this time or later alone, by the times of rounds, as RFC 3339 writes them: 2026-11-22T22:33:04.5Z.
    #[arg(long, value_name = "TIME")]
    pub from_time: Option<Instant>,
    /// Show what happened at this time or before alone.
    #[arg(long, value_name = "TIME")]
    pub to_time: Option<Instant>,
    /// Show FSMs of this kind alone: what enters their queues, their deliveries, their snapshots.
    #[arg(long, value_name = "NAME")]
    pub kind: Option<String>,
    /// Show what goes to or comes from this queue alone, such as w0/7.1.
    #[arg(long, value_name = "QUEUE")]
    pub queue: Option<RawQueueId>,
    /// Show messages that are this variant of their type alone, and FSMs whose state is.
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Show messages with this value in this field alone, and FSMs whose data or state has it, such as cents=50. Of several all must
    /// be so.
    #[arg(long, value_name = "PATH=VALUE")]
    pub field: Vec<FieldIs>,
    /// Read the directory of a running node too: what is there at this moment.
    #[arg(long)]
    pub live: bool,
    /// Go on with what a running node writes, until it is interrupted. Of what it doesn't have, and is told to show, it may come to have some: it is
    /// waited for.
    #[arg(long)]
    pub follow: bool,
    /// Don't open snapshots.
    #[arg(long)]
    pub no_snapshots: bool,
    /// Show so many characters of one value at most: 500, and with `--json` 1048576, unless it is said.
    #[arg(long, value_name = "N")]
    pub chars: Option<usize>,
    /// Show in hex what ports answered. The journal doesn't say of which type that is, so it may hold a secret.
    #[arg(long)]
    pub answers: bool,
}

/// How often it is looked whether a node has written on.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);
/// How much of a value is shown where a person reads it.
const TEXT_CHARS_DEFAULT: usize = 500;

impl DumpArgs {
    /// Shows the journal, and says with which status the program ends: those of a replay. Where whoever reads has had enough, that
    /// is no failure.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        output::conclude_with_live(self.json, self.dump())
    }

    fn dump(&self) -> Result<(), DumpError> {
        // Both who shows a line and who waits for the next one writes.
        let out = RefCell::new(BufWriter::with_capacity(1 << 16, io::stdout().lock()));
        let take = |shown: &Line<'_>| output::write_line(shown, self.json, &mut *out.borrow_mut());
        if self.follow {
            if let Err(error @ ReplayError::Misuse(_)) = check_names(&self.dir, &self.options()) {
                // Where standard error is closed, there is nobody to tell.
                let _ = writeln!(io::stderr(), "note: {error}; it is waited for");
            }
            let pause = || {
                out.borrow_mut().flush()?;
                sleep(FOLLOW_PAUSE);
                Ok(true)
            };
            let followed = follow(&self.dir, &self.options(), take, pause);
            out.borrow_mut().flush()?;
            return followed;
        }
        let line = LiveLine::beside_output("reading");
        let progress = |bytes, bytes_total| line.draw(bytes, bytes_total, String::new);
        let dumped = dump(&self.dir, &self.options(), take, progress);
        line.clear();
        // What was read comes first.
        out.borrow_mut().flush()?;
        dumped
    }

    fn options(&self) -> Options {
        let chars = self.chars.unwrap_or(if self.json { VALUE_CHARS_DEFAULT } else { TEXT_CHARS_DEFAULT });
        let options = Options::new().rounds(self.from_round..=self.to_round).snapshots(!self.no_snapshots);
        let moment =
            |given: Option<Instant>, otherwise: u64| given.map_or(Time::from_nanos(otherwise), |given| given.0);
        let time = moment(self.from_time, 0)..=moment(self.to_time, u64::MAX);
        let mut options = options.value_chars(chars).answers(self.answers).time(time).live(self.live);
        if let Some(worker) = self.worker {
            options = options.worker(WorkerId(worker));
        }
        if let Some(kind) = &self.kind {
            options = options.kind(kind);
        }
        if let Some(queue) = self.queue {
            options = options.queue(queue);
        }
        if let Some(variant) = &self.variant {
            options = options.variant(variant);
        }
        self.field.iter().cloned().fold(options, Options::field)
    }
}

//! The subcommand `qnfsm dump`: lines as they come, on standard output.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use qnfsm::WorkerId;

use super::show::{LiveLine, ReadError};
use crate::{
    ReplayError,
    dump::{DumpError, Line, Options, VALUE_CHARS_DEFAULT, dump},
};

/// Shows every record, every message and every FSM of a snapshot, by the names that stand in the journal itself.
#[derive(Debug, Clone, Args)]
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

/// How much of a value is shown where a person reads it.
const TEXT_CHARS_DEFAULT: usize = 500;

impl DumpArgs {
    /// Shows the journal, and says with which status the program ends: those of a replay. Where whoever reads has had enough, that
    /// is no failure.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        let options = self.options();
        let line = LiveLine::beside_output("reading");
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let take = |shown: &Line<'_>| self.print(shown, &mut out);
        let progress = |bytes, bytes_total| line.draw(bytes, bytes_total, String::new);
        let dumped = dump(&self.dir, &options, take, progress);
        let dumped = dumped.and_then(|()| Ok(out.flush()?));
        line.clear();
        match dumped {
            Ok(()) => ExitCode::SUCCESS,
            Err(DumpError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(DumpError::Output(error)) => {
                // Where standard error is closed, there is nobody to tell; the status tells all the same.
                let _ = writeln!(io::stderr(), "error: cannot write to standard output: {error}");
                ExitCode::from(OUTPUT_FAILED)
            }
            Err(DumpError::Journal(error)) => {
                self.print_error(&error, out);
                ExitCode::from(error.exit_status())
            }
        }
    }

    fn options(&self) -> Options {
        let chars = self.chars.unwrap_or(if self.json { VALUE_CHARS_DEFAULT } else { TEXT_CHARS_DEFAULT });
        let options = Options::new().rounds(self.from_round..=self.to_round).snapshots(!self.no_snapshots);
        let options = options.value_chars(chars).answers(self.answers);
        match self.worker {
            Some(worker) => options.worker(WorkerId(worker)),
            None => options,
        }
    }

    fn print(&self, line: &Line<'_>, out: &mut impl Write) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut *out, line)?;
            out.write_all(b"\n")
        } else {
            writeln!(out, "{line}")
        }
    }

    /// What was read comes first.
    fn print_error(&self, error: &ReplayError, mut out: impl Write) {
        if self.json {
            let json = serde_json::to_string(&ReadError::new(error)).expect("an error is texts and numbers");
            let _ = writeln!(out, "{json}");
        }
        let _ = out.flush();
        let _ = writeln!(io::stderr(), "error: {error}");
    }
}

/// The operating system didn't take what was to be shown.
const OUTPUT_FAILED: u8 = 40;

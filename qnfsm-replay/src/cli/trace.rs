//! The subcommand `trace`: a trace for viewers of such.

use std::{
    io::{self, BufWriter},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{
    Program,
    drawing::{ChosenArgs, gather, is_of_nothing},
    output,
    show::LiveLine,
};
use crate::{diagram::trace::Trace, dump::DumpError, status::running_help};

/// A trace in the Trace Event Format, for <https://ui.perfetto.dev> and chrome://tracing: the node's workers, their rounds, the handlers that ran in
/// them, and each message as an arrow. Rounds have the times that they were recorded with; handlers within one have their order alone.
#[derive(Debug, Clone, Args)]
#[command(after_help = running_help!(
    "Examples:\n  qnfsm trace /var/lib/my-service > trace.json\n  qnfsm trace /var/lib/my-service --worker 1 --from-round 5000 --to-round 6000 > trace.json\n  my-service trace /var/lib/east /var/lib/west > trace.json",
    "written, or whoever reads has had enough",
    ""
))]
pub struct TraceArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// Further nodes' directories, to be drawn together, each as a process: causes before effects, whatever their clocks say.
    #[arg(value_name = "DIR")]
    pub more: Vec<PathBuf>,
    /// A trace is JSON, with this and without.
    #[arg(long, hide = true)]
    pub json: bool,
    /// What of it.
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

impl TraceArgs {
    /// Writes the trace, and says with which status the program ends: those of a replay. Of a journal that can't be read or played to its end it
    /// writes what comes before. `own` is the program that recorded it; without it the records alone are
    /// read.
    #[must_use]
    pub fn execute(&self, own: Option<Program>) -> ExitCode {
        output::conclude_with_live(false, self.write(own))
    }

    fn write(&self, own: Option<Program>) -> Result<(), DumpError> {
        let trace = Trace::new(BufWriter::with_capacity(1 << 16, io::stdout().lock()));
        let mut trace = trace.of_several(!self.more.is_empty());
        let line = LiveLine::beside_output("reading");
        let dirs: Vec<&Path> = [&self.dir].into_iter().chain(&self.more).map(PathBuf::as_path).collect();
        let (basis, gathered) = gather(&dirs, &self.chosen, own, &line, &mut trace);
        if gathered.as_ref().is_err_and(|error| basis.rounds == 0 || (is_of_nothing(error) && !trace.is_begun())) {
            return gathered;
        }
        let mut remarks = basis.remarks("trace");
        if basis.without_kinds {
            remarks.push("there are no arrows: which handler sent a message doesn't stand in a record".to_owned());
        }
        trace.finish(&remarks)?;
        gathered
    }
}

//! The subcommand `states`: observed state diagrams.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::json;

use super::{
    Program,
    drawing::{ChosenArgs, conclude, gather},
    output,
    show::LiveLine,
};
use crate::{
    ReplayError,
    diagram::{
        observed::Observed,
        states::{self, Diagram},
    },
    dump::DumpError,
    status::running_help,
};

/// The states that FSMs of each kind were seen in, what led from one to another and how often, and what was handled without leaving them:
/// as Mermaid's `stateDiagram-v2`, or a picture.
#[derive(Debug, Clone, Args)]
#[command(after_help = running_help!(
    "Examples:\n  qnfsm states /var/lib/my-service --kind turnstile --svg > turnstile.svg\n  qnfsm states /var/lib/my-service --json | jq .kinds",
    "drawn",
    ""
))]
pub struct StatesArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// Print a picture: SVG that holds all that it needs.
    #[arg(long, conflicts_with = "json")]
    pub svg: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// What of it.
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

impl StatesArgs {
    /// Draws the diagrams, and says with which status the program ends: those of a replay. Of a journal that can't be read or played to its end
    /// it draws what comes before. `own` is the program that recorded it; without it the records alone
    /// are read.
    #[must_use]
    pub fn execute(&self, own: Option<Program>) -> ExitCode {
        let mut observed = Observed::new(self.chosen.kind.clone());
        let line = LiveLine::new("reading", false);
        let (basis, gathered) = gather(&[&self.dir], &self.chosen, own, &line, &mut observed);
        let gathered = gathered.and_then(|()| sound(&observed, "states", &self.chosen));
        conclude(self.json, &basis, gathered, || {
            let remarks = basis.remarks("states");
            // Kinds of which nothing was seen have no diagram.
            let seen = observed.kinds.iter().filter(|(_, kind)| !kind.seen.is_empty());
            let diagrams: Vec<_> = seen.map(|(name, kind)| Diagram::of(name, kind)).collect();
            if self.json {
                output::print_json(&json!({"kinds": diagrams, "remarks": remarks}))
            } else if self.svg {
                output::print(&states::picture(&diagrams, &remarks))
            } else {
                output::print(&states::mermaid(&diagrams, &remarks))
            }
        })
    }
}

/// Refuses to draw nothing where something was asked for.
pub(super) fn sound(observed: &Observed, command: &str, chosen: &ChosenArgs) -> Result<(), DumpError> {
    let text = match &chosen.kind {
        Some(kind) if observed.kinds.is_empty() => {
            format!("there is no kind `{}` in this journal; `describe` lists those that there are", kind.escape_debug())
        }
        _ if observed.handlers > 0 => return Ok(()),
        _ => format!(
            "no handler that was chosen is known to have run. Where a worker records its inputs alone, what its FSMs did stands in no record: \
             `{command} <dir>` of the program that recorded it runs it again, or record with `Recording::Everything`"
        ),
    };
    Err(ReplayError::Misuse(text).into())
}

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
        ways::Basis,
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
    "35 no handler is known to have run, "
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
        let gathered = gathered.and_then(|()| sound(&observed, &basis, "states"));
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

/// Refuses to draw nothing: says why no handler is known to have run.
pub(super) fn sound(observed: &Observed, basis: &Basis, command: &str) -> Result<(), DumpError> {
    let text = match basis {
        _ if observed.handlers > 0 => return Ok(()),
        Basis { rounds: 0, .. } => "nothing has happened in this journal: no worker has run a round".to_owned(),
        Basis { without_kinds: true, inputs_only, .. } if !inputs_only.is_empty() => format!(
            "no handler that was chosen is known to have run. Where a worker records its inputs alone, what its FSMs did stands in no record: \
             `{command} <dir>` of the program that recorded it runs it again, or record with `Recording::Everything`"
        ),
        _ => "no handler that was chosen has run; `stat` and `describe` tell what happened in this journal".to_owned(),
    };
    Err(ReplayError::NothingToDraw(text).into())
}

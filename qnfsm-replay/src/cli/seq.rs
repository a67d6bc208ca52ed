//! The subcommand `seq`: a sequence diagram.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde_json::json;

use super::{
    Program,
    drawing::{ChosenArgs, conclude, gather},
    output,
    show::LiveLine,
};
use crate::{
    diagram::seq::{self, Sequence},
    status::running_help,
};

/// Who sent what to whom, message by message: as Mermaid's `sequenceDiagram`, or a picture.
#[derive(Debug, Clone, Args)]
#[command(after_help = running_help!(
    "Examples:\n  qnfsm seq /var/lib/my-service --worker 0 --from-round 100 --to-round 120 --svg > rounds.svg\n  qnfsm seq /var/lib/my-service --queue w0/7.1 --max 50\n  my-service seq /var/lib/east /var/lib/west",
    "drawn",
    ""
))]
pub struct SeqArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// Further nodes' directories, to be drawn together: causes before effects, whatever their clocks say.
    #[arg(value_name = "DIR")]
    pub more: Vec<PathBuf>,
    /// Print a picture: SVG that holds all that it needs.
    #[arg(long, conflicts_with = "json")]
    pub svg: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Draw so many messages at most, and say how many are left out.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub max: usize,
    /// Give so many FSMs and edges a lane of their own at most.
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub max_lanes: usize,
    /// What of it.
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

impl SeqArgs {
    /// Draws the diagram, and says with which status the program ends: those of a replay. Of a journal that can't be read or played to its end it
    /// draws what comes before. `own` is the program that recorded it; without it the records alone are
    /// read.
    #[must_use]
    pub fn execute(&self, own: Option<Program>) -> ExitCode {
        let mut sequence = Sequence::new(self.max, self.max_lanes);
        let line = LiveLine::new("reading", false);
        let dirs: Vec<&Path> = [&self.dir].into_iter().chain(&self.more).map(PathBuf::as_path).collect();
        let (basis, gathered) = gather(&dirs, &self.chosen, own, &line, &mut sequence);
        sequence.settle();
        conclude(self.json, &basis, gathered, || {
            let remarks: Vec<_> = sequence.remark().into_iter().chain(basis.remarks("seq")).collect();
            if self.json {
                output::print_json(&json!({
                    "lanes": sequence.lanes, "messages": sequence.arrows, "left_out": sequence.left_out, "remarks": remarks,
                }))
            } else if self.svg {
                output::print(&seq::picture(&sequence, &remarks))
            } else {
                output::print(&seq::mermaid(&sequence, &remarks))
            }
        })
    }
}

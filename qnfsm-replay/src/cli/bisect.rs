//! The subcommand `bisect`: the step after which an invariant doesn't hold.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
};

use clap::Args;
use serde::Serialize;

use super::{
    Program,
    output::{conclude, print, print_json, unless_closed},
    show::LiveLine,
    step::{StepText, go_there},
};
use crate::{
    Options, ReplayError, Seen, Session,
    dump::DumpError,
    session::Broken,
    status::{BROKEN, DONE, running_help},
};

/// Finds the first round and delivery after which an invariant of the program's doesn't hold.
///
/// It plays the journal once and leaves images of the workers on the way; where the invariant holds at one of them and not at the next,
/// only what lies between these two is gone through.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = running_help!(
    "Example:\n  my-service bisect /var/lib/my-service --invariant 'no score is negative'",
    "it always holds",
    "32 it doesn't: the step is printed, "
))]
pub struct BisectArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// The invariant's name. Without it, the first that doesn't hold of all that the program has, by going through everything.
    #[arg(long, value_name = "NAME")]
    pub invariant: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Found {
    holds: bool,
    exit_status: u8,
    #[serde(flatten)]
    broken: Option<BrokenAt>,
}

#[derive(Serialize)]
struct BrokenAt {
    invariant: String,
    what: String,
    worker: u32,
    round: u64,
    ordinal: u64,
    /// Which of the round's steps, from 0.
    step: Option<usize>,
    delivery: Option<u32>,
    queue: Option<String>,
    kind: Option<String>,
    /// It held after every step before.
    is_first: bool,
}

impl BisectArgs {
    /// Looks, prints what came of it, and says with which status the program ends.
    #[must_use]
    pub fn execute(&self, program: Program) -> ExitCode {
        match self.look(program) {
            Ok(is_broken) if is_broken => ExitCode::from(BROKEN),
            done => conclude(self.json, done.map(drop)),
        }
    }

    fn look(&self, program: Program) -> Result<bool, DumpError> {
        let Program { name, kinds, invariants, .. } = program;
        let names: Vec<_> = invariants.names().map(str::to_owned).collect();
        if names.is_empty() {
            let text = "the program has no invariants; give it some with `Program::invariants`".to_owned();
            return Err(ReplayError::Misuse(text).into());
        }
        let line = LiveLine::new("playing", self.json);
        let options = Options::new().program(name).on_progress(|seen| {
            let Seen { rounds, bytes, bytes_total, .. } = seen;
            line.draw(bytes, bytes_total, || format!(", {rounds} rounds"));
        });
        let mut session = Session::open(&self.dir, kinds, &options)?;
        line.clear();
        let line = Rc::new(LiveLine::later("checking"));
        let drawn = line.clone();
        session.on_progress(move |rounds, total| drawn.draw(rounds, total, || format!(", {rounds} rounds")));
        let found = match &self.invariant {
            Some(invariant) => session.bisect(invariants, invariant),
            None => session.check(invariants),
        };
        line.clear();
        let found = found?;
        let of = self
            .invariant
            .as_ref()
            .map_or_else(|| format!("all {} invariants hold", names.len()), |name| format!("{name:?} holds"));
        let is_broken = found.is_some();
        if self.json {
            unless_closed(print_json(&json(found, &session)))?;
        } else {
            unless_closed(print(&text(found, &self.dir, &session, &of)))?;
        }
        Ok(is_broken)
    }
}

fn json(found: Option<Broken>, session: &Session) -> Found {
    let broken = found.map(|Broken { violation, ordinal, step, is_first }| BrokenAt {
        invariant: violation.invariant,
        what: violation.what,
        worker: violation.worker.0,
        round: violation.round,
        ordinal,
        step,
        delivery: step.and_then(|_| session.step()).map(|step| step.delivery),
        queue: violation.fsm.as_ref().map(|(queue, _)| queue.to_string()),
        kind: violation.fsm.map(|(_, kind)| kind),
        is_first,
    });
    Found { holds: broken.is_none(), exit_status: if broken.is_some() { BROKEN } else { DONE }, broken }
}

fn text(found: Option<Broken>, dir: &Path, session: &Session, of: &str) -> String {
    let Some(Broken { violation, ordinal, step, is_first }) = found else {
        return format!("{of} after each of {} rounds\n", session.rounds());
    };
    let mut text = format!("{violation}\n");
    if let (Some(_), Some(step)) = (step, session.step()) {
        text.push_str(&format!("{}", StepText { step, catalogue: session.catalogue() }));
    }
    text.push_str(&format!("  round:    {ordinal} of the journal, {} of {}\n", violation.round, violation.worker));
    text.push_str(&go_there(dir, session));
    if !is_first {
        text.push_str(
            "  It held at the station before; if it may break and hold again, look without `--invariant` too.\n",
        );
    }
    text
}

//! The subcommand `cover`: which messages came in which states.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use serde_json::json;

use super::{
    Program,
    drawing::{ChosenArgs, conclude, gather},
    output::{self, Paint},
    show::LiveLine,
    states::sound,
    table::Table,
};
use crate::{
    diagram::{
        cover::{Counts, Cover, percent},
        observed::Observed,
    },
    status::{BELOW, running_help},
};

/// Which messages FSMs of each kind were given in which state, how often, and which pairs of a state and a message were never seen. States and
/// messages that the program has count, whether they were seen or not.
#[derive(Debug, Clone, Args)]
#[command(after_help = running_help!(
    "Examples:\n  qnfsm cover /var/lib/my-service --kind turnstile\n  qnfsm cover /var/lib/my-service --min 80 --json | jq .percent",
    "counted",
    "31 less was seen than --min asks for, 35 no handler is known to have run, "
))]
pub struct CoverArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// End with status 31 if less of all pairs was seen.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub min: Option<u8>,
    /// What of it.
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

/// How many pairs that were never seen are named of a kind.
const NEVER_MAX: usize = 200;

impl CoverArgs {
    /// Shows what was covered, and says with which status the program ends: those of a replay, and 31 for less than was asked for. `own` is the
    /// program that recorded it; without it the records alone are read.
    #[must_use]
    pub fn execute(&self, own: Option<Program>) -> ExitCode {
        let mut observed = Observed::new(self.chosen.kind.clone());
        let line = LiveLine::new("reading", false);
        let (basis, gathered) = gather(&[&self.dir], &self.chosen, own, &line, &mut observed);
        let gathered = gathered.and_then(|()| sound(&observed, &basis, "cover"));
        let is_whole = gathered.is_ok();
        // Of a part, kinds that none of its FSMs is of could not have been seen.
        let is_part = self.chosen.worker.is_some() || self.chosen.queue.is_some();
        let kinds = observed.kinds.iter().filter(|(_, kind)| !is_part || !kind.seen.is_empty());
        let covers: Vec<_> = kinds.map(|(name, kind)| Cover::of(name, kind)).collect();
        let percent = percent(&covers);
        let concluded = conclude(self.json, &basis, gathered, || {
            let remarks = basis.remarks("cover");
            if self.json {
                let never: Vec<_> =
                    covers.iter().map(|cover| cover.never().take(NEVER_MAX).collect::<Vec<_>>()).collect();
                output::print_json(
                    &json!({"percent": percent, "kinds": covers, "never": never, "min": self.min, "remarks": remarks}),
                )
            } else {
                output::print(&screen(&covers, percent, &remarks, Paint::of_output()))
            }
        });
        let is_below = self.min.is_some_and(|min| percent < f64::from(min));
        match self.min.filter(|_| is_whole && is_below && concluded == ExitCode::SUCCESS) {
            Some(min) => {
                // Rounded down, so that what is too little never looks like enough. Where standard error is closed, the status tells.
                let percent = (percent * 10.0).floor() / 10.0;
                let _ = writeln!(io::stderr(), "error: {percent} % are covered, {min} % were asked for");
                ExitCode::from(BELOW)
            }
            None => concluded,
        }
    }
}

fn screen(covers: &[Cover], percent: f64, remarks: &[String], paint: Paint) -> String {
    let mut out = String::new();
    for cover in covers {
        let Cover { kind, pairs, pairs_seen, .. } = cover;
        out.push_str(&format!("{}: {pairs_seen} of {pairs} pairs of a state and a message seen\n", paint.title(kind)));
        let heads: Vec<_> = cover.states.iter().map(|state| format!(">{state}")).collect();
        let mut table =
            Table::new(&["message"].into_iter().chain(heads.iter().map(String::as_str)).collect::<Vec<_>>());
        for (message, name) in cover.messages.iter().enumerate() {
            let cells = (0..cover.states.len()).map(|state| cell(cover.counts(state, message)));
            table.row([name.clone()].into_iter().chain(cells));
        }
        table.write(&mut out, paint);
        let never: Vec<_> = cover.never().map(|(state, message)| format!("{message} in {state}")).collect();
        if !never.is_empty() {
            let rest = never.len().saturating_sub(NEVER_MAX);
            let named = never[..never.len() - rest].join(", ");
            let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            out.push_str(&paint.odd(&format!("\nnever seen: {named}{rest}\n")));
        }
        if let Some(opaque) = &cover.opaque {
            out.push_str(&paint.odd(&format!("note: {opaque}\n")));
        }
        out.push('\n');
    }
    for remark in remarks {
        out.push_str(&format!("note: {remark}\n"));
    }
    out.push_str(&format!("{percent:.1} % of all pairs seen\n"));
    out
}

/// How often, and what came of it, where that isn't that it was handled.
fn cell(counts: Option<Counts>) -> String {
    let Some(Counts { handled, postponed, unhandled, failed }) = counts else { return "-".to_owned() };
    let parts = [(handled, ""), (postponed, " postponed"), (unhandled, " unhandled"), (failed, " failed")];
    let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count}{what}"));
    parts.collect::<Vec<_>>().join(", ")
}

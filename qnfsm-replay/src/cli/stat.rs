//! The subcommand `stat`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use qnfsm::schema::short_name;

use super::{
    output::{self, Paint},
    show::LiveLine,
    table::Table,
    words::{bytes, count, counted, duration, moment},
};
use crate::{
    dump::{DumpError, Name},
    stat::{Lag, Options, Percentiles, Statistics, stat},
    status::reading_help,
};

/// How a node was used: rates of its workers, sizes by message type, who talks most to whom, and how long frames and answers between
/// workers took.
#[derive(Debug, Clone, Args)]
#[command(after_help = reading_help!(
    "Examples:\n  qnfsm stat /var/lib/my-service --top 3\n  qnfsm stat /var/lib/my-service --json | jq '.types[0]'",
    "counted",
    ""
))]
pub struct StatArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// List so many pairs of queues.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Read the directory of a running node too: what is there at this moment.
    #[arg(long)]
    pub live: bool,
}

impl StatArgs {
    /// Counts the journal, and says with which status the program ends: those of a replay. Of a damaged one it counts what comes
    /// before the damage.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        output::conclude_with_live(self.json, self.stat())
    }

    fn stat(&self) -> Result<(), DumpError> {
        let options = Options::new().top(self.top).live(self.live);
        let line = LiveLine::new("counting", false);
        let counted = stat(&self.dir, &options, |bytes, bytes_total| line.draw(bytes, bytes_total, String::new));
        line.clear();
        let mut statistics = counted?;
        if self.json {
            output::print_json(&statistics)?;
        } else {
            output::print(&screen(&statistics, Paint::of_output()))?;
        }
        statistics.damage.take().map_or(Ok(()), |damage| Err(damage.into()))
    }
}

fn screen(it: &Statistics, paint: Paint) -> String {
    let (frames, rounds) = (counted(it.frames.0, "frame"), counted(it.rounds.0, "round"));
    let mut out = format!(
        "{}, {} to {}, {}\n{frames} with {} in {rounds}\n",
        paint.title(&Name(&it.program).to_string()),
        moment(it.from),
        moment(it.to),
        duration(it.span_ns.0),
        bytes(it.payload_bytes.0)
    );
    workers(it).write(&mut out, paint);
    types(it).write(&mut out, paint);
    talkers(it).write(&mut out, paint);
    lags(&["frames", "to", ">count", ">at least p50", ">p90", ">p99", ">max"], &it.lags).write(&mut out, paint);
    lags(&["asked by", "answered by", ">count", ">p50", ">p90", ">p99", ">max"], &it.answers).write(&mut out, paint);
    let mut delivered = Table::new(&["kind", "handled", ">times"]);
    for it in &it.deliveries {
        delivered.row([Name(&it.kind).to_string(), Name(&short_name(&it.of)).to_string(), count(it.count.0)]);
    }
    delivered.write(&mut out, paint);
    for (at, remark) in it.remarks.iter().enumerate() {
        out.push_str(if at == 0 { "\n" } else { "" });
        out.push_str(&format!("{}\n", paint.label(&format!("note: {remark}"))));
    }
    out
}

/// A rate, to a digit behind the point where it is small; of no time at all, none.
fn rate(per_s: Option<f64>) -> String {
    match per_s {
        None => "-".to_owned(),
        Some(per_s) if per_s < 100.0 => format!("{per_s:.1}"),
        Some(per_s) => format!("{per_s:.0}"),
    }
}

fn workers(it: &Statistics) -> Table {
    let heads = ["worker", ">rounds", ">/s", ">frames", ">/s", ">payloads", ">a round: p50", ">p90", ">p99", ">max"];
    let mut table = Table::new(&heads);
    for worker in &it.workers {
        let spread = worker.frames_of_round;
        let shown = [spread.p50, spread.p90, spread.p99, spread.max].map(count);
        let cells = [
            format!("w{}", worker.worker),
            count(worker.rounds.0),
            rate(worker.rounds_per_s),
            count(worker.frames.0),
            rate(worker.frames_per_s),
            bytes(worker.payload_bytes.0),
        ];
        table.row(cells.into_iter().chain(shown));
    }
    table
}

fn types(it: &Statistics) -> Table {
    let mut table = Table::new(&["type", ">frames", ">payloads", ">one: p50", ">p99", ">max"]);
    for of in &it.types {
        let sizes = [of.size.p50, of.size.p99, of.size.max].map(bytes);
        let cells = [Name(&short_name(&of.name)).to_string(), count(of.frames.0), bytes(of.payload_bytes.0)];
        table.row(cells.into_iter().chain(sizes));
    }
    table
}

fn talkers(it: &Statistics) -> Table {
    let mut table = Table::new(&["from", "to", ">frames", ">payloads", ">at least p50", ">p99", ">max"]);
    for pair in &it.talkers {
        let took = |of: fn(&Percentiles) -> u64| pair.lag_ns.as_ref().map_or_else(String::new, |lag| duration(of(lag)));
        let cells = [pair.from.to_string(), pair.to.to_string(), count(pair.frames.0), bytes(pair.payload_bytes.0)];
        table.row(cells.into_iter().chain([took(|lag| lag.p50), took(|lag| lag.p99), took(|lag| lag.max)]));
    }
    table
}

fn lags(heads: &[&str], lags: &[Lag]) -> Table {
    let mut table = Table::new(heads);
    for lag in lags {
        let shown = [lag.ns.p50, lag.ns.p90, lag.ns.p99, lag.ns.max].map(duration);
        table.row([lag.from.clone(), lag.to.clone(), count(lag.count.0)].into_iter().chain(shown));
    }
    table
}

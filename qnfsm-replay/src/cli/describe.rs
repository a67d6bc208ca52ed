//! The subcommand `describe`: what a journal is, on a screen or as an object.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{
    history::refuse_within,
    output::{self, Paint},
    show::LiveLine,
    table::Table,
    words::{between, bytes, count, counted, duration, moment},
};
use crate::{
    describe::{Description, Options, describe},
    dump::{DumpError, Name},
    status::reading_help,
};

/// What a journal is, in exact numbers: whose it is, its epochs, span, workers, what entered them, its snapshots, kinds and message
/// types, and how it ends.
#[derive(Debug, Clone, Args)]
#[command(after_help = reading_help!(
    "Examples:\n  qnfsm describe /var/lib/my-service\n  qnfsm describe /var/lib/my-service --json | jq .messages",
    "described",
    ""
))]
pub struct DescribeArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Keep in that file what was counted of segments that nothing is written to any more, and don't read them again as long as their
    /// lengths, headers and ends are the same. Not in the node's directory.
    #[arg(long, value_name = "FILE")]
    pub index: Option<PathBuf>,
    /// Read the directory of a running node too: what is there at this moment.
    #[arg(long)]
    pub live: bool,
}

impl DescribeArgs {
    /// Describes the journal, and says with which status the program ends: those of a replay. Of a damaged one it describes what comes
    /// before the damage.
    #[must_use]
    pub fn execute(&self) -> ExitCode {
        output::conclude_with_live(self.json, self.describe())
    }

    fn describe(&self) -> Result<(), DumpError> {
        let mut options = Options::new().live(self.live);
        if let Some(index) = &self.index {
            refuse_within(index, &self.dir)?;
            options = options.index(index);
        }
        let line = LiveLine::new("reading", false);
        let described = describe(&self.dir, &options, |bytes, bytes_total| line.draw(bytes, bytes_total, String::new));
        line.clear();
        let mut description = described?;
        if self.json {
            output::print_json(&description)?;
        } else {
            output::print(&screen(&description, Paint::of_output()))?;
        }
        description.damage.take().map_or(Ok(()), |damage| Err(damage.into()))
    }
}

fn screen(it: &Description, paint: Paint) -> String {
    let mut out = format!("{}, node {}, {}\n\n", paint.title(&Name(&it.program).to_string()), it.node, it.identity);
    let mut say = |label: &str, text: String| {
        out.push_str(&paint.label(&format!("{label:<10}")));
        out.push_str(&text);
        out.push('\n');
    };
    let (first, last) = (it.segments.first, it.segments.last);
    let numbers = if first == last { format!("segment {first}") } else { format!("segments {first} to {last}") };
    let snapshots = counted(it.snapshots.len() as u64, "snapshot");
    let files = format!("{numbers} of {}; with {snapshots} {} in all", bytes(it.segments.bytes.0), bytes(it.bytes.0));
    say("files", files);
    if let (Some(from), Some(to)) = (it.from, it.to) {
        say("span", format!("{} to {}, {}", moment(it.from), moment(it.to), duration(between(from, to))));
    }
    let (messages, rounds) = (counted(it.messages.0, "message"), counted(it.rounds.0, "round"));
    let rest = it.frames.0 - it.messages.0;
    say(
        "recorded",
        format!("{messages} and {} in {rounds}; {}", counted(rest, "other frame"), counted(it.records.0, "record")),
    );
    let mut classes: Vec<_> = it.frames_by_class.iter().filter(|(_, frames)| frames.0 != 0).collect();
    classes.sort_by_key(|(_, frames)| std::cmp::Reverse(frames.0));
    let classes: Vec<_> = classes.into_iter().map(|(class, frames)| format!("{} {class}", count(frames.0))).collect();
    say("frames", format!("{}; payloads of {}", classes.join(", "), bytes(it.payload_bytes.0)));
    say("end", end(it, paint));
    if it.segments_from_index != 0 {
        let segments = counted(it.segments_from_index as u64, "segment");
        say("index", format!("{segments} not read again"));
    }
    for remark in &it.remarks {
        say("remark", paint.odd(remark));
    }
    epochs(it).write(&mut out, paint);
    workers(it).write(&mut out, paint);
    snapshots_table(it, paint).write(&mut out, paint);
    types(it, &mut out, paint);
    out
}

fn end(it: &Description, paint: Paint) -> String {
    let how = match (&it.damage, &it.lost) {
        (Some(_), _) => paint.bad("damaged behind that"),
        (None, Some(lost)) => paint.odd(lost),
        (None, None) if it.clean_stop => paint.good("a clean stop"),
        (None, None) => paint.odd("no clean stop: the node was killed, or runs"),
    };
    format!("at {}, known to be on disk up to {}; {how}", it.end, it.synced)
}

fn epochs(it: &Description) -> Table {
    let mut table = Table::new(&[">epoch", "from", ">for", ">rounds", "segment", "build", "ended"]);
    for epoch in &it.epochs {
        let span = epoch.from.zip(epoch.to).map_or("-".to_owned(), |(from, to)| duration(between(from, to)));
        table.row([
            epoch.epoch.to_string(),
            moment(epoch.from),
            span,
            count(epoch.rounds.0),
            epoch.first_segment.to_string(),
            epoch.build.to_string(),
            if epoch.clean_stop { "cleanly" } else { "" }.to_owned(),
        ]);
    }
    table
}

fn workers(it: &Description) -> Table {
    let mut table = Table::new(&["worker", "started in", ">first round", ">last round", ">rounds", ">frames", ""]);
    for worker in &it.workers {
        let round = |round: Option<crate::dump::Number>| round.map_or("-".to_owned(), |round| count(round.0));
        let notes = [(worker.stopped, "stopped"), (worker.records_everything, "records everything")];
        let notes: Vec<_> = notes.iter().filter(|(is_so, _)| *is_so).map(|(_, note)| *note).collect();
        table.row([
            format!("w{}", worker.worker),
            worker.started_in.map_or("given up".to_owned(), |epoch| format!("epoch {epoch}")),
            round(worker.first_round),
            round(worker.last_round),
            count(worker.rounds.0),
            count(worker.frames.0),
            notes.join(", "),
        ]);
    }
    table
}

fn snapshots_table(it: &Description, paint: Paint) -> Table {
    let mut table = Table::new(&["snapshot of", ">after round", ">size", ""]);
    for snapshot in &it.snapshots {
        table.row([
            format!("w{}", snapshot.worker),
            count(snapshot.round.0),
            bytes(snapshot.bytes.0),
            if snapshot.counts { String::new() } else { paint.odd("doesn't count: the journal doesn't mark it") },
        ]);
    }
    table
}

fn types(it: &Description, out: &mut String, paint: Paint) {
    let versioned = |name: &str, version: u32| match version {
        0 | 1 => Name(name).to_string(),
        _ => format!("{} version {version}", Name(name)),
    };
    let mut kinds = Table::new(&["kind", "its messages"]);
    for kind in &it.kinds {
        kinds.row([versioned(&kind.name, kind.version), Name(&kind.message).to_string()]);
    }
    kinds.write(out, paint);
    let others = it.message_types.iter().filter(|message| it.kinds.iter().all(|kind| kind.message != message.name));
    let mut messages = Table::new(&["other message types"]);
    for message in others {
        messages.row([versioned(&message.name, message.version)]);
    }
    messages.write(out, paint);
    let mut resources = Table::new(&["resource", "hash"]);
    for resource in &it.resources {
        resources.row([Name(&resource.name).to_string(), resource.hash.to_string()]);
    }
    resources.write(out, paint);
    for opaque in &it.opaque {
        let text = format!("opaque: {}: {}", Name(&opaque.name), Name(&opaque.why));
        out.push_str(&format!("\n{}\n", paint.odd(&text)));
    }
}

//! The subcommand `diff`: where the program parts from the record.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde::Serialize;

use super::{
    Program,
    output::{conclude, print, print_json},
    show::LiveLine,
    step::{StepText, go_there},
};
use crate::{
    Options, ReplayError, Seen, Session,
    dump::DumpError,
    session::{Difference, Part, PartOf},
    status::running_help,
};

/// The most characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 200;

/// Says where the program does something else than was recorded: the round, the step, what of it differs, and why it may.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = running_help!("Example:\n  my-service diff /var/lib/my-service --json", "nothing differs", ""))]
pub struct DiffArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Found {
    equal: bool,
    exit_status: u8,
    #[serde(flatten)]
    difference: Option<DifferenceJson>,
}

#[derive(Serialize)]
struct DifferenceJson {
    worker: u32,
    round: u64,
    ordinal: u64,
    agreed_round: Option<u64>,
    file: String,
    offset: u64,
    expected: String,
    found: String,
    step: Option<usize>,
    delivery: Option<u32>,
    queue: Option<String>,
    kind: Option<String>,
    message: Option<String>,
    known_by: String,
    parts: Vec<PartJson>,
    hints: Vec<String>,
}

#[derive(Serialize)]
struct PartJson {
    of: String,
    path: String,
    recorded: Option<String>,
    found: Option<String>,
    again: Option<String>,
}

impl DiffArgs {
    /// Looks, prints what came of it, and says with which status the program ends.
    #[must_use]
    pub fn execute(&self, program: Program) -> ExitCode {
        match self.look(program) {
            Ok(Some(status)) => ExitCode::from(status),
            done => conclude(self.json, done.map(drop)),
        }
    }

    /// The status of a difference, if there is one.
    fn look(&self, program: Program) -> Result<Option<u8>, DumpError> {
        let line = LiveLine::new("playing", self.json);
        let options = Options::new().program(program.name).on_progress(|seen| {
            let Seen { rounds, bytes, bytes_total, .. } = seen;
            line.draw(bytes, bytes_total, || format!(", {rounds} rounds"));
        });
        let mut session = Session::open(&self.dir, program.kinds, &options)?;
        line.clear();
        let difference = session.difference()?;
        let status = difference
            .as_ref()
            .map(|difference| ReplayError::Diverged(Box::new(difference.diverged.clone())).exit_status());
        if let (None, Some(stopped)) = (&difference, session.take_stopped()) {
            // Something else keeps it from being played to its end.
            return Err(stopped.into());
        }
        if self.json {
            let json = difference.as_ref().map(|difference| json(difference, &session));
            print_json(&Found { equal: json.is_none(), exit_status: status.unwrap_or_default(), difference: json })?;
        } else {
            match &difference {
                Some(difference) => print(&(text(difference, &session) + &go_there(&self.dir, &session)))?,
                None => print(&format!("nothing differs in {} rounds\n", session.rounds()))?,
            }
        }
        Ok(status)
    }
}

fn json(difference: &Difference, session: &Session) -> DifferenceJson {
    let Difference { diverged, ordinal, agreed, step, found_by, hints } = difference;
    let divergence = &diverged.divergence;
    let words = step.as_ref().map(|parted| StepText { step: &parted.step, catalogue: session.catalogue() });
    DifferenceJson {
        worker: divergence.worker.0,
        round: divergence.round,
        ordinal: *ordinal,
        agreed_round: *agreed,
        file: diverged.file.display().to_string(),
        offset: diverged.offset,
        expected: divergence.expected.clone(),
        found: divergence.found.clone(),
        step: step.as_ref().map(|parted| parted.number),
        delivery: step.as_ref().map(|parted| parted.step.delivery),
        queue: step.as_ref().map(|parted| parted.step.queue.to_string()),
        kind: words.as_ref().map(StepText::kind),
        message: words.as_ref().and_then(StepText::message),
        known_by: found_by.to_string(),
        parts: step.iter().flat_map(|parted| &parted.parts).map(part_json).collect(),
        hints: hints.iter().map(ToString::to_string).collect(),
    }
}

fn part_json(part: &Part) -> PartJson {
    let value =
        |content: &Option<qnfsm::schema::Content>| content.as_ref().map(|content| content.text(VALUE_CHARS_MAX));
    PartJson {
        of: of_text(part.of),
        path: part.path.to_string(),
        recorded: value(&part.recorded),
        found: value(&part.found),
        again: value(&part.again),
    }
}

fn of_text(of: PartOf) -> String {
    match of {
        PartOf::Message => "the message".to_owned(),
        PartOf::State => "the state after it".to_owned(),
        PartOf::Data => "the data after it".to_owned(),
        PartOf::Asked(number) => format!("what it asked for, {}", number + 1),
        PartOf::Output(queue) => format!("what it sent to {queue}"),
    }
}

fn text(difference: &Difference, session: &Session) -> String {
    let Difference { diverged, ordinal, agreed, step, found_by, hints } = difference;
    let divergence = &diverged.divergence;
    let mut text = format!(
        "{} parts from the record in round {} (round {ordinal} of the journal)\n  recorded: {} at byte {}\n",
        divergence.worker,
        divergence.round,
        diverged.file.display(),
        diverged.offset
    );
    match agreed {
        Some(agreed) => text.push_str(&format!("  agreed:   up to its round {agreed}\n")),
        None => text.push_str("  agreed:   in nothing: it is the first of its rounds\n"),
    }
    text.push_str(&format!("  expected: {}\n  found:    {}\n", divergence.expected, divergence.found));
    if let Some(parted) = step {
        text.push_str(&StepText { step: &parted.step, catalogue: session.catalogue() }.to_string());
        for part in &parted.parts {
            let PartJson { of, path, recorded, found, again } = part_json(part);
            let at = if path.is_empty() { String::new() } else { format!(", {path}") };
            text.push_str(&format!("  differs:  {of}{at}\n"));
            for (label, value) in [("recorded", recorded), ("now", found), ("once more", again)] {
                if let Some(value) = value {
                    text.push_str(&format!("    {label:<10} {value}\n"));
                }
            }
        }
    }
    text.push_str(&format!("  known by: {found_by}\n"));
    for hint in hints {
        text.push_str(&format!("  hint:     {hint}\n"));
    }
    text
}

//! What the subcommand prints: the live line, the report, the error, the JSON object.

use std::{
    cell::Cell,
    error::Error,
    io::{IsTerminal, Write},
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    ReplayArgs,
    step::{go_to_last_step, own_command},
};
use crate::{CorruptJournal, LeftWorker, ReplayError, Report};

/// How often the live line is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// What is over before that needs no line beside what it prints.
const DRAW_AFTER: Duration = Duration::from_secs(2);

/// A line on standard error that is drawn over, if that is a terminal.
pub(super) struct LiveLine {
    drawn: Cell<Option<Instant>>,
    begun: Instant,
    after: Duration,
    what: &'static str,
    wanted: bool,
}

impl LiveLine {
    pub(super) fn new(what: &'static str, quiet: bool) -> LiveLine {
        let wanted = !quiet && std::io::stderr().is_terminal();
        LiveLine { drawn: Cell::new(None), begun: Instant::now(), after: Duration::ZERO, what, wanted }
    }

    /// Of who prints much meanwhile: drawn only where that goes elsewhere, and not at once.
    pub(super) fn beside_output(what: &'static str) -> LiveLine {
        LiveLine { after: DRAW_AFTER, ..LiveLine::new(what, std::io::stdout().is_terminal()) }
    }

    /// Of what mostly takes no time: not drawn at once.
    pub(super) fn later(what: &'static str) -> LiveLine {
        LiveLine { after: DRAW_AFTER, ..LiveLine::new(what, false) }
    }

    /// Draws how many bytes of how many are done, and what else `counts` says, which begins with a comma.
    pub(super) fn draw(&self, bytes: u64, bytes_total: u64, counts: impl Fn() -> String) {
        let drawn_lately = || self.drawn.get().is_some_and(|drawn| drawn.elapsed() < DRAW_EVERY);
        if !self.wanted || self.begun.elapsed() < self.after || (bytes < bytes_total && drawn_lately()) {
            return;
        }
        self.drawn.set(Some(Instant::now()));
        let percent = (bytes * 100).checked_div(bytes_total).unwrap_or(100);
        let (what, counts, seconds) = (self.what, counts(), self.begun.elapsed().as_secs_f64());
        let left = self.left(bytes, bytes_total).map_or_else(String::new, |left| format!(", about {left} s left"));
        // A line that is wider than the terminal is cut there, or it could not be drawn over. What can't be drawn is not missed.
        let _ = write!(std::io::stderr(), "\r\x1b[?7l\x1b[K{what}: {percent} %{counts}, {seconds:.1} s{left}\x1b[?7h");
    }

    /// In how many seconds it is done if it goes on like this, once that can be said.
    fn left(&self, bytes: u64, bytes_total: u64) -> Option<u64> {
        let elapsed = self.begun.elapsed();
        let is_worth_it = elapsed >= DRAW_AFTER && bytes != 0;
        seconds_left(elapsed, bytes, bytes_total).filter(|_| is_worth_it)
    }

    pub(super) fn clear(&self) {
        if self.drawn.get().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// The seconds that the rest takes if it takes as long as what is done did, rounded up.
fn seconds_left(elapsed: Duration, done: u64, total: u64) -> Option<u64> {
    let left_ms = elapsed.as_millis().saturating_mul(u128::from(total.saturating_sub(done))) / u128::from(done).max(1);
    u64::try_from(left_ms.div_ceil(1000)).ok()
}

/// The JSON object: a report, or an error with the fields that it has.
#[derive(Serialize)]
struct Json<'a> {
    equal: bool,
    exit_status: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(flatten)]
    place: Option<Place<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<&'a [LeftWorker]>,
    #[serde(flatten)]
    report: Option<&'a Report>,
}

/// Where an error is.
#[derive(Serialize)]
struct Place<'a> {
    worker: Option<u32>,
    round: Option<u64>,
    delivery: Option<&'a str>,
    expected: Option<&'a str>,
    found: Option<&'a str>,
    file: &'a Path,
    offset: u64,
}

/// What kept a journal from being read to its end, as JSON.
#[derive(Serialize)]
pub(super) struct ReadError<'a> {
    what: &'static str,
    exit_status: u8,
    error: &'a str,
    message: String,
    #[serde(flatten)]
    place: Option<Place<'a>>,
}

impl<'a> ReadError<'a> {
    pub(super) fn new(error: &'a ReplayError) -> ReadError<'a> {
        let (exit_status, message) = (error.exit_status(), error.to_string());
        ReadError { what: "error", exit_status, error: error.name(), message, place: place(error) }
    }
}

fn place(error: &ReplayError) -> Option<Place<'_>> {
    match error {
        ReplayError::Diverged(diverged) => {
            let divergence = &diverged.divergence;
            Some(Place {
                worker: Some(divergence.worker.0),
                round: Some(divergence.round),
                delivery: divergence.delivery.as_deref(),
                expected: Some(&divergence.expected),
                found: Some(&divergence.found),
                file: &diverged.file,
                offset: diverged.offset,
            })
        }
        ReplayError::Corrupt(corrupt) => {
            let (worker, round, file, offset) = match &**corrupt {
                CorruptJournal::Bytes(bytes) => (bytes.worker, bytes.round, &bytes.file, bytes.offset),
                CorruptJournal::Contradiction { file, offset, .. } => (None, None, file, *offset),
            };
            let worker = worker.map(|worker| worker.0);
            Some(Place { worker, round, delivery: None, expected: None, found: None, file, offset })
        }
        _ => None,
    }
}

/// Prints what came of a replay.
///
/// # Errors
/// When standard output doesn't take it.
pub(super) fn show(args: &ReplayArgs, outcome: &Result<Report, ReplayError>) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    match outcome {
        Ok(report) if !args.quiet => write!(out, "{}", with_ways(report, &args.dir))?,
        Ok(_) => {}
        Err(error) => {
            if let Some(report) = error.report().filter(|_| !args.quiet) {
                write!(out, "{}", with_ways(report, &args.dir))?;
            }
            let closer = match error {
                ReplayError::Diverged(_) => format!("\n  look closer: {}", own_command("diff", &args.dir)),
                _ => String::new(),
            };
            // Where standard error is closed, there is nobody to tell; the status tells all the same.
            _ = writeln!(std::io::stderr(), "error: {error}{closer}");
        }
    }
    if args.json {
        let error = outcome.as_ref().err();
        let json = Json {
            equal: error.is_none(),
            exit_status: error.map_or(0, ReplayError::exit_status),
            error: error.map(ReplayError::name),
            message: error.map(ToString::to_string),
            place: error.and_then(place),
            left: error.map(ReplayError::left).filter(|left| !left.is_empty()),
            report: outcome.as_ref().map_or_else(ReplayError::report, Some),
        };
        let json = serde_json::to_string(&json).expect("a report is strings and numbers");
        writeln!(out, "{json}")?;
    }
    Ok(())
}

/// A report, and how one looks at the rounds that the recorded run ended in.
fn with_ways(report: &Report, dir: &Path) -> String {
    let faults = report.ended_in.iter().filter(|ended| !ended.needs_external);
    let ways = faults.map(|ended| go_to_last_step(dir, ended.worker, ended.round));
    format!("{report}\n{}", ways.collect::<String>())
}

/// Prints what kept a program from its end, with the causes that its text doesn't tell already.
pub(super) fn show_failure(program: &str, error: &dyn Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    // Where standard error is closed, there is nobody to tell; the status tells all the same.
    let _ = writeln!(std::io::stderr(), "{program}: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_what_is_done_took() {
        let left = |done, total| seconds_left(Duration::from_secs(3), done, total);
        assert_eq!((left(1, 4), left(3, 4), left(4, 4), left(5, 4)), (Some(9), Some(1), Some(0), Some(0)));
        assert_eq!(seconds_left(Duration::MAX, 1, u64::MAX), None);
    }
}

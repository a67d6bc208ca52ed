//! The subcommand `diff`: where the program parts from the record, or one record from another.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
};

use clap::Args;
use serde::Serialize;

use super::{
    Program,
    difference::DifferenceView,
    output::{conclude, print, print_json, unless_closed},
    show::{LiveLine, ReadError},
    sound::{say_left_out, say_stopped, sound_part},
    step::{StepText, go_there},
    words::counted,
};
use crate::{
    NotBegun, Options, ReplayError, Seen, Session,
    compare::{Apart, Compared, Incomparable, compare},
    dump::DumpError,
    session::{By, step_between},
    status::{DAMAGED, DONE, JOURNALS_PART, NOTHING_IN_COMMON, ONE_GOES_ON, running_help},
};

/// Says where the program does something else than was recorded: the round, the step, what of it differs, and why it may. With a second
/// directory, where the one journal parts from the other.
///
/// Copies of one journal, by the node's identity, are compared round by round, in everything. Of two runs of a service the frames of each
/// source are compared, and where they are recorded the deliveries of each FSM: in order, in whichever rounds they came. What only one has is a
/// difference if the other demonstrably went on without it.
///
/// Of a journal that is damaged the part before is looked at. The status is 20 if nothing differs there.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = running_help!(
    "Examples:\n  my-service diff /var/lib/my-service --json\n  my-service diff /var/lib/my-service /mnt/standby/my-service",
    "nothing differs",
    "33 two journals part, 34 all that both have is the same, and one goes on behind the other's end, \
     36 nothing is in both, so nothing could be compared, "
))]
pub struct DiffArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// Another one, to compare the journals of both.
    pub other: Option<PathBuf>,
    /// Compare what entered and not when, as of two runs; with `=false` compare in everything, as of copies. Unless it is said, the nodes'
    /// identities tell which of these it is.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", requires = "other")]
    pub ignore_times: Option<bool>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Found<'a> {
    equal: bool,
    exit_status: u8,
    /// Of a journal and its replay, how many rounds it has, and how many were played.
    #[serde(skip_serializing_if = "Option::is_none")]
    rounds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rounds_played: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    not_begun: &'a [NotBegun],
    #[serde(flatten)]
    compared: Option<ComparedView>,
    #[serde(flatten)]
    difference: Option<DifferenceView>,
    /// What keeps a journal from being gone through to its end; all else is of what stands before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stopped: Vec<ReadError<'a>>,
}

#[derive(Serialize)]
struct ComparedView {
    times_ignored: bool,
    same: u64,
    more_in_first: u64,
    more_in_other: u64,
    not_compared_in_first: u64,
    not_compared_in_other: u64,
    /// Why nothing could be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    incomparable: Option<String>,
    other_types: Vec<String>,
    deliveries_in_first: bool,
    deliveries_in_other: bool,
    /// As how closely they were compared, and how to get closer.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl DiffArgs {
    /// Looks, prints what came of it, and says with which status the program ends. To compare two journals it takes no program; with one
    /// the step is named.
    #[must_use]
    pub fn execute(&self, program: Option<Program>) -> ExitCode {
        let done = match (&self.other, program) {
            (Some(other), program) => self.compare(other, program),
            (None, Some(program)) => self.look(program),
            (None, None) => Err(ReplayError::Misuse(
                "to compare a journal with the program takes the program that wrote it: `my-service diff DIR`; to compare two journals, \
                 give both directories"
                    .to_owned(),
            )
            .into()),
        };
        match done {
            Ok(status @ 1..) => ExitCode::from(status),
            done => conclude(self.json, done.map(drop)),
        }
    }

    fn session(
        &self,
        program: &str,
        open: impl FnOnce(&Options<'_>) -> Result<Session, ReplayError>,
    ) -> Result<Session, ReplayError> {
        let line = LiveLine::new("playing", self.json);
        let options = Options::new().program(program).on_progress(|seen| {
            let Seen { rounds, bytes, bytes_total, .. } = seen;
            line.draw(bytes, bytes_total, || format!(", {rounds} rounds"));
        });
        let session = open(&options);
        line.clear();
        session
    }

    /// The status of a difference between the program and the record; 0, if there is none.
    fn look(&self, program: Program) -> Result<u8, DumpError> {
        let Program { name, kinds, .. } = program;
        let mut session = self.session(&name, |options| Session::open(&self.dir, kinds, options))?;
        let line = Rc::new(LiveLine::new("playing twice", self.json));
        let drawn = line.clone();
        session.on_progress(move |rounds, total| drawn.draw(rounds, total, || format!(", {rounds} rounds")));
        let difference = session.difference();
        line.clear();
        let difference = difference?;
        // Something else may keep it from being played to its end.
        let stopped = session.take_stopped().filter(|_| difference.is_none());
        let exit_status = match (&difference, &stopped) {
            (Some(difference), _) => ReplayError::Diverged(Box::new(difference.diverged.clone())).exit_status(),
            (None, Some(stopped)) => stopped.exit_status(),
            (None, None) => DONE,
        };
        let difference = difference.map(|difference| DifferenceView::of(&difference, &session));
        if self.json {
            let stopped = stopped.iter().map(ReadError::new).collect();
            let equal = exit_status == DONE;
            let (rounds, rounds_played) = (Some(session.rounds()), Some(session.rounds_played()));
            let (not_begun, compared) = (session.not_begun(), None);
            let found = Found { equal, exit_status, rounds, rounds_played, not_begun, compared, difference, stopped };
            unless_closed(print_json(&found))?;
        } else {
            let same =
                || format!("nothing differs in {} rounds{}\n", session.rounds_played(), sound_part(stopped.is_some()));
            let text = difference.map_or_else(same, |difference| difference.text() + &go_there(&self.dir, &session));
            unless_closed(print(&text))?;
        }
        say_left_out(&session, stopped.as_ref());
        stopped.iter().for_each(say_stopped);
        Ok(exit_status)
    }

    /// The status of two journals.
    fn compare(&self, other: &Path, program: Option<Program>) -> Result<u8, DumpError> {
        let line = LiveLine::new("comparing", self.json);
        let options = Options::new().on_progress(|seen| line.draw(seen.bytes, seen.bytes_total, String::new));
        let compared = compare(&self.dir, other, self.ignore_times, &options);
        line.clear();
        let mut compared = compared?;
        let (mut note, mut difference) = (None, None);
        if let Some(apart) = &mut compared.parted {
            let (session, step) = match program.map(|program| self.steps(other, program, apart)) {
                Some(Ok((session, step))) => (Some(session), step),
                Some(Err(error)) => {
                    note = Some(format!("the step can't be named: {error}"));
                    (None, None)
                }
                None => (None, None),
            };
            difference = Some(DifferenceView::between(apart, session.as_ref(), step));
        }
        let stopped: Vec<ReplayError> = compared.damaged.iter().flatten().cloned().map(ReplayError::from).collect();
        let exit_status = match (&compared.parted, compared.more) {
            (Some(_), _) => JOURNALS_PART,
            (None, _) if !stopped.is_empty() => DAMAGED,
            (None, _) if compared.incomparable.is_some() => NOTHING_IN_COMMON,
            (None, [0, 0]) => DONE,
            (None, _) => ONE_GOES_ON,
        };
        if self.json {
            let equal = exit_status == DONE;
            let compared = Some(ComparedView::of(&compared, note));
            let stopped = stopped.iter().map(ReadError::new).collect();
            let (rounds, rounds_played, not_begun) = (None, None, &[][..]);
            let found = Found { equal, exit_status, rounds, rounds_played, not_begun, compared, difference, stopped };
            unless_closed(print_json(&found))?;
        } else {
            let mut text = difference.map_or_else(String::new, |difference| difference.text());
            text.push_str(&counts(&compared));
            note.iter().for_each(|note| text.push_str(&format!("  note: {note}\n")));
            unless_closed(print(&text))?;
        }
        stopped.iter().for_each(say_stopped);
        Ok(exit_status)
    }

    /// Runs what was recorded, to name the step in which the journals part. Gives a session of the first one, and the last step of the round in
    /// which they agreed last.
    fn steps(
        &self,
        other: &Path,
        program: Program,
        apart: &mut Apart,
    ) -> Result<(Session, Option<String>), ReplayError> {
        let Program { name, kinds, .. } = program;
        let mut session = self.session(&name, |options| Session::open(&self.dir, kinds, options))?;
        if apart.is_of_what_was_done() {
            let mut other = self.session(&name, |options| session.open_other(other, options))?;
            step_between(&mut session, &mut other, apart)?;
        }
        let mut step = None;
        if let Some(agreed) = apart.agreed
            && session.go_to_round(apart.worker, agreed).is_ok()
        {
            // To its last step.
            while session.spot().is_some_and(|spot| spot.step + 1 < spot.steps) && session.forward(By::Step)? {}
            step = session.step().map(|step| StepText { step, catalogue: session.catalogue() }.to_string());
        }
        Ok((session, step))
    }
}

impl ComparedView {
    fn of(compared: &Compared, note: Option<String>) -> ComparedView {
        let Compared { times_ignored, same, more: [more_in_first, more_in_other], other_types, .. } = compared;
        ComparedView {
            times_ignored: *times_ignored,
            same: *same,
            more_in_first: *more_in_first,
            more_in_other: *more_in_other,
            not_compared_in_first: compared.not_compared[0],
            not_compared_in_other: compared.not_compared[1],
            incomparable: compared.incomparable.as_ref().map(Incomparable::to_string),
            other_types: other_types.clone(),
            deliveries_in_first: compared.has_deliveries[0],
            deliveries_in_other: compared.has_deliveries[1],
            compared: compared.closeness(),
            note,
        }
    }
}

/// How much is the same, and which one goes on.
fn counts(compared: &Compared) -> String {
    let Compared { times_ignored, same, more, not_compared, incomparable, other_types, parted, damaged, .. } = compared;
    let of_part = sound_part(damaged.iter().any(Option::is_some));
    let of = if *times_ignored { "frame or delivery" } else { "round" };
    let counted = |count| match (times_ignored, count) {
        (true, 1) | (false, _) => counted(count, of),
        (true, _) => format!("{} frames and deliveries", super::words::count(count)),
    };
    let mut text = match (parted, incomparable) {
        (Some(_), _) => format!("  {} compared before are the same\n", counted(*same)),
        (None, Some(why)) => format!("nothing could be compared{of_part}: {why}\n"),
        (None, None) => format!("nothing differs in {}{of_part}\n", counted(*same)),
    };
    for (at, [name, by]) in [["first", "other"], ["other", "first"]].into_iter().enumerate() {
        let why = match incomparable {
            Some(_) => String::new(),
            None => format!(": the {by} one has given up its beginning"),
        };
        if not_compared[at] > 0 {
            text.push_str(&format!("  not compared: {} of the {name} one{why}\n", counted(not_compared[at])));
        }
    }
    compared.closeness().iter().for_each(|closeness| text.push_str(&format!("  compared: {closeness}\n")));
    if *times_ignored && incomparable.is_none() {
        text.push_str(
            "  note: these are two runs, so times, rounds and digests were not compared; `--ignore-times=false` does\n",
        );
    }
    for (name, more) in ["first", "other"].into_iter().zip(more) {
        if *more > 0 {
            text.push_str(&format!("  the {name} one goes on, with {} more\n", counted(*more)));
        }
    }
    other_types.iter().for_each(|what| text.push_str(&format!("  note: other types: {what}\n")));
    text
}

//! A debugger over recorded rounds: takes lines of input, and gives back what to print. It knows no terminal and no process, so a
//! test can do all that a person can.
//!
//! ```
//! # use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize)] struct Counter { count: u64 }
//! # #[derive(Serialize, Deserialize)] enum Tick { Tick }
//! # impl Fsm for Counter {
//! #     const NAME: &'static str = "counter";
//! #     type State = ();
//! #     type Message = Tick;
//! #     fn start(&mut self, _: &mut Context<'_, Self>) {}
//! #     fn handle(&mut self, _: (), _: Tick, _: &mut Context<'_, Self>) -> Next<Self> { self.count += 1; Next::Stay }
//! # }
//! # fn kinds() -> Kinds { Kinds::new().with::<Counter>() }
//! # let dir = tempfile::tempdir()?;
//! # let node = NodeBuilder::new("counter", kinds()).dir(dir.path()).start(&Counter { count: 0 })?;
//! # (0..3).try_for_each(|_| node.host().send(node.root(), &Tick::Tick))?;
//! # node.stop()?;
//! use qnfsm_replay::{Debugger, Options, Session};
//!
//! let session = Session::open(dir.path(), kinds(), &Options::new())?;
//! let mut debugger = Debugger::new(session);
//! debugger.line("break message is Tick and data.count > 2")?;
//! let answer = debugger.line("run")?;
//! assert!(answer.text.contains("count: 2 → 3"), "{}", answer.text);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`COMMANDS`] are those that a line can begin with, [`expression`] is what can be asked of a step. An empty line does again what the
//! last one did. With [`set_json`](Debugger::set_json) each answer is one line of JSON.
//!
//! The files: `command` reads lines, `parse` expressions; `predicate` looks their names up and tries them, `judge` holds values against
//! one another; `stops` are the expressions that stop a run; `show` answers what is asked of a step, `views` makes what `view` is, and
//! `text` puts it in words; `others` are further nodes that are looked at together; `complete` knows what a line can go on with, `nearest` which name was meant.

mod command;
mod complete;
pub mod expression;
mod judge;
mod nearest;
mod others;
mod parse;
mod predicate;
mod show;
mod stops;
mod text;
mod view;
mod views;

use std::{
    cell::RefCell,
    fmt,
    ops::ControlFlow,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

#[cfg(feature = "cli")]
use qnfsm::{Catalogue, NodeId};
use qnfsm::{RawQueueId, Time};

pub use command::{COMMANDS, Help};
pub use complete::Completion;
pub(crate) use nearest::{how_far, instead, there_are};
pub(crate) use parse::worker;
#[cfg(feature = "cli")]
pub(crate) use views::asked_text;

use crate::{
    ReplayError, Session,
    dump::{Own, Tables},
    nodes::Crossings,
    session::{By, Direction, Found},
};
use command::{Command, Destination};
use expression::Expression;
use others::Other;
use predicate::Predicate;
use stops::Stops;
use view::View;

/// How much of one value is shown unless it is said.
const CHARS_DEFAULT: usize = 500;

/// How many lines of a list are shown unless it is said; and of a step, which with its place and its message still stands on a screen of 24
/// lines then.
const LINES_DEFAULT: usize = 12;

/// How much of a value is shown unless it is said where a step lists what changed and what was asked for.
const CHARS_LISTED: usize = 60;

/// How much of one value is shown of a step in short, and how many fields that changed and things that were asked for.
#[cfg(feature = "cli")]
const CHARS_IN_SHORT: usize = 300;
#[cfg(feature = "cli")]
const LINES_IN_SHORT: usize = 12;

/// How many lines of a list are shown at most.
const LINES_MAX: usize = 1_000_000;

/// How much of one value is shown at most.
const CHARS_MAX: usize = 1 << 24;

/// A session, and what stops its runs. See the [module's head](self).
pub struct Debugger {
    session: Session,
    tables: Rc<Tables>,
    own: Own,
    stops: Stops,
    /// Further nodes, and what came from one of all of them to another.
    others: Vec<Other>,
    crossings: Crossings,
    json: bool,
    chars_max: usize,
    /// How much of a value is shown where a step lists it.
    chars_listed: usize,
    /// How many lines of a list are shown in text.
    lines_max: usize,
    /// The last line that was done.
    last: String,
    interrupted: Arc<AtomicBool>,
    on_progress: Box<dyn FnMut(Progress)>,
}

/// How far a search has come, or many steps, or the way back from a message to who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rounds that were looked at.
    pub rounds: u64,
    /// How many there are to look at, at most.
    pub rounds_total: u64,
    /// It has ended.
    pub is_over: bool,
}

/// What came of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What to print, without a newline at its end; nothing, if it is empty.
    pub text: String,
    /// The session is to be ended.
    pub ended: bool,
}

/// Why nothing came of a line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DebugError {
    /// The line says nothing that can be done.
    #[error(transparent)]
    Line(#[from] WrongLine),
    /// A round can't be run again, or what is asked for isn't there.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A search found nothing. The session stands where it stood.
    #[error("it holds for no step {0}; this is still the step of before")]
    NotFound(&'static str),
    /// The search was interrupted. The session stands where it stood.
    #[error("interrupted; this is still the step of before")]
    Interrupted,
}

/// What is wrong with a line, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongLine {
    /// Where, in bytes from the line's start.
    pub at: usize,
    /// What is wrong there, and what may stand there.
    pub what: String,
}

impl WrongLine {
    /// The same, where so much stands before it in the line.
    fn behind(self, at: usize) -> WrongLine {
        WrongLine { at: self.at + at, ..self }
    }

    /// The column, from 1, in the line.
    #[must_use]
    pub fn column(&self, line: &str) -> usize {
        line.char_indices().take_while(|(at, _)| *at < self.at).count() + 1
    }
}

impl fmt::Display for WrongLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for WrongLine {}

impl fmt::Debug for Debugger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Debugger").field("spot", &self.session.spot()).finish_non_exhaustive()
    }
}

impl Debugger {
    /// Over a session, from where it stands.
    #[must_use]
    pub fn new(session: Session) -> Debugger {
        let tables = Rc::new(Tables::new(session.catalogue().table().clone()));
        Debugger {
            session,
            tables,
            own: Own::new(),
            stops: Stops::default(),
            others: Vec::new(),
            crossings: Crossings::default(),
            json: false,
            chars_max: CHARS_DEFAULT,
            chars_listed: CHARS_LISTED,
            lines_max: LINES_DEFAULT,
            last: String::new(),
            interrupted: Arc::default(),
            on_progress: Box::new(|_| ()),
        }
    }

    /// Has each answer be one line of JSON, or text.
    pub fn set_json(&mut self, json: bool) {
        self.json = json;
    }

    /// True if answers are lines of JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// The session, to be looked at by other means.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// What interrupts a search when it is set, such as from a signal's handler. It is cleared when the next line begins.
    #[must_use]
    pub fn interruption(&self) -> Arc<AtomicBool> {
        self.interrupted.clone()
    }

    /// Calls that function at each round of a search.
    pub fn on_progress(&mut self, on_progress: impl FnMut(Progress) + 'static) {
        let told = Rc::new(RefCell::new(on_progress));
        let of_causes = told.clone();
        self.session.on_progress(move |rounds, rounds_total| {
            (of_causes.borrow_mut())(Progress { rounds, rounds_total, is_over: false });
        });
        self.on_progress = Box::new(move |progress| (told.borrow_mut())(progress));
    }

    /// Does what a line says; what the last one said, if it is empty.
    ///
    /// # Errors
    /// When it says nothing that can be done, a round can't be run again, or a search is interrupted. The session stands where it stood
    /// then.
    pub fn line(&mut self, line: &str) -> Result<Answer, DebugError> {
        self.interrupted.store(false, Ordering::Relaxed);
        let again;
        let line = if line.trim().is_empty() {
            again = self.last.clone();
            &again
        } else {
            line
        };
        if line.is_empty() {
            return Ok(Answer { text: String::new(), ended: false });
        }
        let command = Command::read(line)?;
        self.last = line.to_owned();
        if command == Command::Quit {
            return Ok(Answer { text: String::new(), ended: true });
        }
        let at = line.len() - behind_command(line).len();
        let view = self.execute(command).map_err(|error| match error {
            DebugError::Line(wrong) => wrong.behind(at).into(),
            error => error,
        })?;
        Ok(Answer { text: self.shown(view), ended: false })
    }

    /// The step at which the session stands, as `show` shows it.
    #[must_use]
    pub fn here(&self) -> String {
        self.shown(self.step())
    }

    fn shown(&self, view: View) -> String {
        if self.json {
            serde_json::to_string(&view).expect("views are texts, numbers and what printers write")
        } else {
            view.at_most(self.lines_max, self.chars_listed).to_string()
        }
    }

    /// What is wrong with what stands behind the command is told by its place there.
    fn execute(&mut self, command: Command) -> Result<View, DebugError> {
        match command {
            Command::Go(by, count) => self.go(by, count),
            Command::Goto(destination) => self.go_to(destination),
            Command::Start => {
                self.session.go_to_start()?;
                Ok(self.step())
            }
            Command::End(Some(destination)) => {
                self.go_to(destination)?;
                self.session.go_to_last_step();
                Ok(self.step())
            }
            Command::End(None) => {
                self.session.go_to_end()?;
                Ok(self.step())
            }
            Command::Stops => Ok(self.stops.view()),
            Command::Break(expression, text) => {
                let predicate = self.predicate(&expression)?;
                let number = self.stops.add(text, predicate, None);
                Ok(View::Said { text: format!("stop {number}: {expression}") })
            }
            Command::Watch(queue, field, at) => {
                let watched = self.watch(queue, field.as_deref());
                watched.map_err(|wrong| wrong.behind(at).into())
            }
            Command::Delete(number) => Ok(View::Said { text: self.stops.delete(number)? }),
            Command::Node(node) => self.go_to_node(node),
            Command::Run => self.run(Direction::Forward),
            Command::Reverse => self.run(Direction::Back),
            Command::Find(expression, is_forward) => {
                let direction = if is_forward { Direction::Forward } else { Direction::Back };
                self.find(&expression, direction)
            }
            Command::Json(json) => {
                self.json = json;
                let text = if json { "each answer is a line of JSON" } else { "answers are text" };
                Ok(View::Said { text: text.to_owned() })
            }
            Command::Chars(chars_max) => {
                self.chars_max = chars_max.clamp(1, CHARS_MAX);
                self.chars_listed = self.chars_max;
                Ok(View::Said { text: format!("at most {} characters of a value are shown", self.chars_max) })
            }
            Command::Lines(lines_max) => {
                self.lines_max = lines_max.clamp(3, LINES_MAX);
                Ok(View::Said { text: format!("at most {} lines of a list are shown", self.lines_max) })
            }
            Command::Help(about) => command::help(about.as_deref()).map(|text| View::Said { text }).map_err(Into::into),
            asked => self.answer(&asked),
        }
    }

    fn go(&mut self, by: By, count: i64) -> Result<View, DebugError> {
        let gone = self.go_on(by, count);
        self.is_over();
        gone
    }

    /// Says that what took long has ended.
    fn is_over(&mut self) {
        (self.on_progress)(Progress { rounds: 0, rounds_total: 0, is_over: true });
    }

    fn go_on(&mut self, by: By, count: i64) -> Result<View, DebugError> {
        let from = self.session.spot().map_or(0, |spot| spot.ordinal);
        let rounds_left = if count > 0 { self.session.rounds() - from } else { from + 1 };
        for done in 0..count.unsigned_abs() {
            let has_gone = if count > 0 { self.session.forward(by)? } else { self.session.back(by)? };
            if !has_gone && done == 0 {
                let end = if count > 0 { "end" } else { "start" };
                return Ok(self.arrived(&format!("this is the {end} already"), None));
            }
            if !has_gone {
                break;
            }
            if self.is_interrupted() {
                return Ok(self.arrived("interrupted on the way", None));
            }
            let rounds = self.session.spot().map_or(from, |spot| spot.ordinal).abs_diff(from);
            // As many rounds as the rest takes if it goes on like this, and no more than there are.
            let rounds_total = u128::from(rounds) * u128::from(count.unsigned_abs()) / u128::from(done + 1);
            let rounds_total = u64::try_from(rounds_total).unwrap_or(u64::MAX).min(rounds_left);
            (self.on_progress)(Progress { rounds, rounds_total, is_over: false });
        }
        Ok(self.step())
    }

    fn go_to(&mut self, destination: Destination) -> Result<View, DebugError> {
        let nothing_later = || {
            ReplayError::Misuse(
                "no round that can be gone to begins there or later; `end` goes to the last step".to_owned(),
            )
        };
        let now = self.session.spot().map_or(Time::ZERO, |spot| spot.now);
        let time = match destination {
            Destination::Ordinal(ordinal) => {
                self.session.go_to(ordinal)?;
                return Ok(self.step());
            }
            Destination::Round(worker, round) => {
                self.session.go_to_round(worker, round)?;
                return Ok(self.step());
            }
            Destination::Position(position) => {
                if !self.session.go_to_position(position)? {
                    return Err(nothing_later().into());
                }
                return Ok(self.step());
            }
            Destination::Time(time) => time,
            Destination::After(delay) => now.after(delay),
            Destination::Before(delay) => {
                let delay_ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
                Time::from_nanos(now.as_nanos().saturating_sub(delay_ns))
            }
        };
        if self.session.go_to_time(time)? { Ok(self.step()) } else { Err(nothing_later().into()) }
    }

    fn watch(&mut self, queue: RawQueueId, field: Option<&str>) -> Result<View, WrongLine> {
        let (text, expression, watched) = stops::watching(queue, field)?;
        let predicate = self.predicate(&expression)?;
        let number = self.stops.add(text, predicate, watched);
        Ok(View::Said { text: format!("stop {number}: {expression}") })
    }

    fn predicate(&self, expression: &Expression) -> Result<Predicate, WrongLine> {
        Predicate::new(expression, &self.tables, &self.session.workers().collect())
    }

    fn run(&mut self, direction: Direction) -> Result<View, DebugError> {
        let (stops, tables) = (std::mem::take(&mut self.stops), self.tables.clone());
        let before = self.session.spot();
        let found = self.search(direction, |log, step| stops.first(&tables, log, step).is_some());
        self.stops = stops;
        if found? == Found::There {
            let hit = self.session.log().zip(self.session.step());
            let hit = hit.and_then(|(log, step)| self.stops.first(&tables, log, step));
            return Ok(self.arrived("stopped", hit));
        }
        let (by, nothing) = match direction {
            Direction::Forward => ("this is the end", self.session.go_to_end()),
            Direction::Back => ("this is the start", self.session.go_to_start()),
        };
        nothing?;
        let why =
            if self.stops.is_empty() { "; nothing stops a run yet, see `help break`" } else { "; nothing stopped it" };
        let way_back =
            before.filter(|before| self.session.spot() != Some(*before)).map_or_else(String::new, |before| {
                let steps = if before.step == 0 { String::new() } else { format!(" and `step {}`", before.step) };
                format!("; `goto {}:{}`{steps} to come back", before.worker, before.round)
            });
        Ok(self.arrived(&format!("{by}{why}{way_back}"), None))
    }

    fn find(&mut self, expression: &Expression, direction: Direction) -> Result<View, DebugError> {
        let (predicate, tables) = (self.predicate(expression)?, self.tables.clone());
        match self.search(direction, |log, step| predicate.holds(&tables, log, step))? {
            Found::There => Ok(self.step()),
            _ => Err(DebugError::NotFound(match direction {
                Direction::Forward => "behind this one, to the end",
                Direction::Back => "before this one, to the start",
            })),
        }
    }

    fn search(
        &mut self,
        direction: Direction,
        wanted: impl FnMut(&crate::session::RoundLog, &crate::session::Step) -> bool,
    ) -> Result<Found, DebugError> {
        let from = self.session.spot().map_or(0, |spot| spot.ordinal);
        let rounds_total = match direction {
            Direction::Forward => self.session.rounds() - from,
            Direction::Back => from + 1,
        };
        let (interrupted, on_progress) = (&self.interrupted, &mut self.on_progress);
        let mut rounds = 0;
        let found = self.session.find_unless(direction, wanted, |_| {
            rounds += 1;
            on_progress(Progress { rounds: rounds.min(rounds_total), rounds_total, is_over: false });
            if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        on_progress(Progress { rounds: rounds.min(rounds_total), rounds_total, is_over: true });
        let found = found?;
        if found == Found::GivenUp { Err(DebugError::Interrupted) } else { Ok(found) }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

/// A step as `show` has it, but for its place and the most of what is long: who ran and was given what, its state, what changed, what it
/// asked for, how it ended. For who comes to a step by other means than a debugger's lines: what is said of it then names the fields that
/// are listed first.
#[cfg(feature = "cli")]
pub(crate) fn step_in_short(catalogue: &Catalogue, step: &crate::session::Step, named: &str) -> String {
    step_view(catalogue, step, (CHARS_IN_SHORT, views::CHANGES_MAX), named)
        .at_most(LINES_IN_SHORT, LINES_IN_SHORT)
        .to_string()
}

/// A step as `show` has it as JSON, but for its place.
#[cfg(feature = "cli")]
pub(crate) fn step_json(
    catalogue: &Catalogue,
    step: &crate::session::Step,
    named: &str,
) -> Box<serde_json::value::RawValue> {
    // As of all that is JSON, nothing is left out of a list.
    let view = step_view(catalogue, step, (CHARS_DEFAULT, usize::MAX), named);
    serde_json::value::to_raw_value(&view).expect("what is shown is texts, numbers and lists of them")
}

#[cfg(feature = "cli")]
fn step_view(
    catalogue: &Catalogue,
    step: &crate::session::Step,
    (chars_max, changes_max): (usize, usize),
    named: &str,
) -> view::StepView {
    let tables = Tables::new(catalogue.table().clone());
    // Frames are not shown here, so whose queues they would be for doesn't matter.
    let views = views::Views { node: NodeId(0), tables: &tables, chars_max, changes_max, watched: Vec::new(), named };
    views.step(None, step)
}

/// What stands behind a line's first word.
fn behind_command(line: &str) -> &str {
    let line = line.trim_start();
    line[line.split_whitespace().next().map_or(0, str::len)..].trim_start()
}

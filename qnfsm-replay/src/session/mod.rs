//! Going through a journal step by step, in both directions.
//!
//! A [`Session`] plays a journal once from its start to its end, with every check of a replay, and leaves stations on the way. From then on
//! it stands at one *step*, which is one run of one handler, and goes to any other by playing on from the station before. What it
//! shows is what happened: the same code ran on the same inputs.
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
//! use qnfsm_replay::{Options, Session, session::{By, Direction}};
//!
//! # let dir = tempfile::tempdir()?;
//! # let node = NodeBuilder::new("counter", kinds()).dir(dir.path()).start(&Counter { count: 0 })?;
//! # node.host().send(node.root(), &Tick::Tick)?;
//! # node.stop()?;
//! let mut session = Session::open(dir.path(), kinds(), &Options::new())?;
//! // To the last step in which a handler was given a message, and one back.
//! session.go_to_end()?;
//! session.find(Direction::Back, |_, step| step.message.is_some())?;
//! session.back(By::Step)?;
//! # assert_eq!(session.step().map(|step| step.handler), Some(qnfsm::Handler::Enter));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The files: `timeline` is the first pass and what it leaves, `unplayed` the rounds that can't be played, `runner` runs rounds again, `step` what is kept of one; `search` looks for
//! steps, `cause` for what led to one, `bisect` for the one after which something doesn't hold, `difference` for the one in which the program parts from
//! the record, `between` for the one in which two journals part.

mod between;
mod bisect;
mod cause;
mod difference;
mod runner;
mod search;
mod station;
mod step;
mod timeline;
mod unplayed;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use qnfsm::{
    Catalogue, RawQueueId, Time, WorkerId,
    journal::{Manifest, Position},
};

pub use between::{difference_between, step_between};
pub use bisect::Broken;
pub use cause::{Cause, Origin};
pub(crate) use cause::{PutOut, Senders, frames, sends};
pub use difference::{Difference, FoundBy, Hint, Part, PartOf, Parted};
pub(crate) use difference::{differing, parts};
pub use search::{Direction, Found};
pub use step::{Inside, Message, RoundLog, Step, Wish};
pub(crate) use step::{Tape, with_place};

use crate::{NotBegun, Options, Partly, ReplayError, Walk, live::Again, recorded::Recorded};
use runner::Runner;
use timeline::Timeline;

/// How far its stations lie apart, unless it is told.
const STATIONS_APART_DEFAULT: Duration = Duration::from_millis(20);

/// How much memory a session takes to come back to earlier rounds, unless it is told.
pub const MEMORY_DEFAULT: usize = 256 << 20;

/// A journal, and the step of it that is looked at. See the [module's head](self).
pub struct Session {
    runner: Runner,
    /// The round that is looked at; none, if the journal has none.
    here: Option<Arc<RoundLog>>,
    /// Which of its steps.
    at: usize,
    logs: Logs,
    on_progress: Box<dyn FnMut(u64, u64)>,
}

/// How far to go at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// One run of one handler.
    Step,
    /// To another FSM's turn.
    Turn,
    /// To another round, of whichever worker.
    Round,
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// The number of the round among all rounds of all workers, as the journal has them, from 0.
    pub ordinal: u64,
    /// The worker.
    pub worker: WorkerId,
    /// The worker's own number of the round.
    pub round: u64,
    /// Which of the round's steps, from 0; the same as there are steps, if the round has none.
    pub step: usize,
    /// How many steps the round has.
    pub steps: usize,
    /// Where the round's record stands.
    pub position: Position,
    /// The time that the worker was told.
    pub now: Time,
}

impl Session {
    /// Plays the journal of the node's directory `dir` once, with a program's kinds, and stands at the first step. Nothing is changed
    /// there. Where the program parts from the record, or the rest is damaged or can't be played, the session ends there, and
    /// [`stopped`](Session::stopped) says why.
    ///
    /// # Errors
    /// As [`replay`](crate::replay), unless it is about what stands in the journal behind its beginning.
    pub fn open(dir: &Path, kinds: qnfsm::Kinds, options: &Options<'_>) -> Result<Session, ReplayError> {
        Session::open_sealed(dir, kinds.seal()?, options)
    }

    /// Another journal of the same program.
    ///
    /// # Errors
    /// As [`open`](Session::open).
    pub fn open_other(&self, dir: &Path, options: &Options<'_>) -> Result<Session, ReplayError> {
        Session::open_sealed(dir, self.catalogue().clone(), options)
    }

    /// Likewise, with kinds that were sealed before.
    pub(crate) fn open_sealed(
        dir: &Path,
        catalogue: Arc<Catalogue>,
        options: &Options<'_>,
    ) -> Result<Session, ReplayError> {
        let (program, storage) = (options.program.as_deref(), options.storage.clone());
        let (recorded, mut reader) = Recorded::open_sealed(dir, catalogue, program, storage, &Again::new(false))?;
        let memory = options.memory.unwrap_or(MEMORY_DEFAULT);
        let apart = options.stations_apart.unwrap_or(STATIONS_APART_DEFAULT);
        // A quarter is for rounds that were looked at.
        let mut on_progress = |seen| options.on_progress.iter().for_each(|on_progress| on_progress(seen));
        let timeline = Timeline::of(&recorded, &mut reader, memory / 4 * 3, apart, &mut on_progress)?;
        let logs = Logs { kept: BTreeMap::new(), bytes: 0, bytes_max: memory / 4 };
        let mut session = Session {
            runner: Runner::new(recorded, reader, timeline),
            here: None,
            at: 0,
            logs,
            on_progress: Box::new(|_, _| {}),
        };
        session.go_to_start()?;
        Ok(session)
    }

    /// Calls that function with how many rounds of how many were gone through, while [`bisect`](Session::bisect),
    /// [`check`](Session::check) and [`difference`](Session::difference) go through them, and [`causes`](Session::causes) back from each.
    pub fn on_progress(&mut self, on_progress: impl FnMut(u64, u64) + 'static) {
        self.on_progress = Box::new(on_progress);
    }

    /// Why the journal can't be played to its end, if it can't.
    #[must_use]
    pub fn stopped(&self) -> Option<&ReplayError> {
        self.runner.timeline.stopped.as_ref()
    }

    /// What the program lacks, and the workers that were left because of it, whatever else keeps the journal from being played to its end.
    #[must_use]
    pub fn partly(&self) -> Option<&Partly> {
        self.runner.timeline.left_out.partly.as_ref()
    }

    /// The snapshots that workers could not begin with where the journal's beginning is gone, so that rounds that are on record aren't in the
    /// session; in the order of the workers.
    #[must_use]
    pub fn not_begun(&self) -> &[NotBegun] {
        &self.runner.timeline.left_out.not_begun
    }

    /// Takes out why the journal can't be played to its end.
    pub(crate) fn take_stopped(&mut self) -> Option<ReplayError> {
        self.runner.timeline.stopped.take()
    }

    /// Whose directory it is.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.runner.recorded.manifest
    }

    /// The kinds and message types, by whose tables bytes are shown.
    #[must_use]
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.runner.recorded.catalogue
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.runner.recorded.dir
    }

    /// One more walk through the same journal.
    pub(crate) fn walk<'o>(&self, options: &'o Options<'o>) -> Result<Walk<'o>, ReplayError> {
        let recorded = self.runner.recorded.clone();
        let reader = recorded.reader()?;
        Ok(Walk::of(recorded, reader, options))
    }

    /// How many rounds the journal has.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.runner.timeline.rounds()
    }

    /// How many of them were played.
    #[cfg(feature = "cli")]
    pub(crate) fn rounds_played(&self) -> u64 {
        let is_played = |ordinal: &u64| self.runner.timeline.is_played(*ordinal);
        (0..self.rounds()).filter(is_played).count() as u64
    }

    /// The workers that ran any.
    pub fn workers(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.runner.timeline.workers()
    }

    /// How much memory it takes now to come back to earlier rounds, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.runner.timeline.bytes() + self.logs.bytes
    }

    /// The round that is looked at; none, if the journal has none.
    #[must_use]
    pub fn log(&self) -> Option<&RoundLog> {
        self.here.as_deref()
    }

    /// The step that is looked at; none, if its round has none.
    #[must_use]
    pub fn step(&self) -> Option<&Step> {
        self.here.as_ref()?.steps.get(self.at)
    }

    /// Where the session stands; nowhere, if the journal has no round.
    #[must_use]
    pub fn spot(&self) -> Option<Spot> {
        let log = self.here.as_ref()?;
        let RoundLog { ordinal, worker, round, position, now, .. } = **log;
        Some(Spot { ordinal, worker, round, step: self.at, steps: log.steps.len(), position, now })
    }

    /// Goes to the first step; to the first round, if none has a step.
    ///
    /// # Errors
    /// When a round can't be run again; here as in all that follows, the session stands where it stood then.
    pub fn go_to_start(&mut self) -> Result<(), ReplayError> {
        let Some(first) = self.runner.timeline.first_played(0..self.rounds()) else { return Ok(()) };
        self.go_to(first)?;
        // A round that only starts what comes next has none.
        if self.step().is_none() {
            self.forward(By::Step)?;
        }
        Ok(())
    }

    /// Goes to the last step of the last round.
    ///
    /// # Errors
    /// When a round can't be run again.
    pub fn go_to_end(&mut self) -> Result<(), ReplayError> {
        let Some(last) = self.runner.timeline.last_played(0..self.rounds()) else { return Ok(()) };
        self.go_to(last)?;
        self.go_to_last_step();
        Ok(())
    }

    /// Goes to the last step of the round that is looked at.
    pub fn go_to_last_step(&mut self) {
        self.at = self.last_step();
    }

    /// Goes to the first step of the round with that ordinal.
    ///
    /// # Errors
    /// When there is no such round, or it can't be run again.
    pub fn go_to(&mut self, ordinal: u64) -> Result<(), ReplayError> {
        self.here = Some(self.logs.get_or(ordinal, |ordinal| self.runner.log(ordinal))?);
        self.at = 0;
        Ok(())
    }

    /// Goes to a round by its worker's own number of it.
    ///
    /// # Errors
    /// As [`go_to`](Session::go_to).
    pub fn go_to_round(&mut self, worker: WorkerId, round: u64) -> Result<(), ReplayError> {
        let ordinal = self.runner.timeline.ordinal(worker, round);
        let missing = || ReplayError::Misuse(format!("the journal holds no round {round} of {worker}"));
        self.go_to(ordinal.ok_or_else(missing)?)
    }

    /// Goes to the first round at that time or later; false, if there is none, and the session stands where it stood.
    ///
    /// # Errors
    /// When a round can't be run again.
    pub fn go_to_time(&mut self, time: Time) -> Result<bool, ReplayError> {
        let Some(ordinal) = self.runner.first_at(time)? else { return Ok(false) };
        self.go_to(ordinal)?;
        Ok(true)
    }

    /// Goes to the first round whose record stands at that place of the journal or later; false, if there is none, and the session stands
    /// where it stood.
    ///
    /// # Errors
    /// When a round can't be run again.
    pub fn go_to_position(&mut self, position: Position) -> Result<bool, ReplayError> {
        let Some(ordinal) = self.runner.first_from(position)? else { return Ok(false) };
        self.go_to(ordinal)?;
        Ok(true)
    }

    /// Goes forward; false, if there is nothing more, and the session stands where it stood. Rounds without a step are passed over, but
    /// by [`By::Round`].
    ///
    /// # Errors
    /// When a round can't be run again.
    pub fn forward(&mut self, by: By) -> Result<bool, ReplayError> {
        let Some(log) = self.here.clone() else { return Ok(false) };
        let rest = log.steps.get(self.at + 1..).unwrap_or_default();
        let within = match by {
            By::Step => (!rest.is_empty()).then_some(0),
            By::Turn => rest.iter().position(|step| step.queue != log.steps[self.at].queue),
            By::Round => None,
        };
        if let Some(further) = within {
            self.at += 1 + further;
            return Ok(true);
        }
        let mut rest = log.ordinal + 1..self.rounds();
        while let Some(ordinal) = self.runner.timeline.first_played(rest.clone()) {
            rest.start = ordinal + 1;
            let next = self.logs.get_or(ordinal, |ordinal| self.runner.log(ordinal))?;
            if by == By::Round || !next.steps.is_empty() {
                (self.here, self.at) = (Some(next), 0);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes back; false, if there is nothing before, and the session stands where it stood. By a turn it goes to that turn's first step; by
    /// a round to the round's.
    ///
    /// # Errors
    /// When a round can't be run again.
    pub fn back(&mut self, by: By) -> Result<bool, ReplayError> {
        let Some(log) = self.here.clone() else { return Ok(false) };
        if by != By::Round && self.at > 0 {
            self.at -= 1;
            if by == By::Turn {
                self.at = first_of_turn(&log.steps, self.at);
            }
            return Ok(true);
        }
        let mut rest = 0..log.ordinal;
        while let Some(ordinal) = self.runner.timeline.last_played(rest.clone()) {
            rest.end = ordinal;
            let before = self.logs.get_or(ordinal, |ordinal| self.runner.log(ordinal))?;
            if by == By::Round || !before.steps.is_empty() {
                self.at = match (by, before.steps.len().checked_sub(1)) {
                    (By::Step, Some(last)) => last,
                    (By::Turn, Some(last)) => first_of_turn(&before.steps, last),
                    _ => 0,
                };
                self.here = Some(before);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An FSM's state and data after the step that is looked at; none, if it isn't there then.
    ///
    /// # Errors
    /// When a round can't be run again.
    pub fn inside(&mut self, queue: RawQueueId) -> Result<Option<Inside>, ReplayError> {
        let (Some(log), Some(worker)) = (self.here.clone(), queue.place().as_worker()) else { return Ok(None) };
        if worker == log.worker {
            let (upto, later) = log.steps.split_at((self.at + 1).min(log.steps.len()));
            if let Some(step) = upto.iter().rev().find(|step| step.queue == queue) {
                return Ok((step.end != qnfsm::End::Stopped).then(|| step.after.clone()));
            }
            if let Some(step) = later.iter().find(|step| step.queue == queue) {
                let is_born = step.handler != qnfsm::Handler::Start;
                return Ok(is_born.then(|| step.before.clone()));
            }
        }
        let Some(ordinal) = self.runner.timeline.last_before(worker, log.ordinal + 1) else { return Ok(None) };
        let worker = self.runner.worker_after(ordinal)?;
        let mut inside = Inside::default();
        let encoded = worker.encode_data(queue, &mut inside.data).and(worker.encode_state(queue, &mut inside.state));
        Ok((encoded.is_ok() && worker.has_fsm(queue)).then_some(inside))
    }

    /// All that a worker is after the step that is looked at, as an image: its FSMs, queues and timers. None before it has begun. Of one that could
    /// not go on, because a handler failed, it is what the worker was before that delivery: nothing is known to be whole after it.
    ///
    /// # Errors
    /// When a round can't be run again.
    pub fn image(&mut self, worker: WorkerId) -> Result<Option<Vec<u8>>, ReplayError> {
        let Some(log) = self.here.clone() else { return Ok(None) };
        let Some(ordinal) = self.runner.timeline.last_before(worker, log.ordinal + 1) else { return Ok(None) };
        let mut image = Vec::new();
        let is_whole = self.at + 1 >= log.steps.len();
        let taken = match log.steps.get(self.at) {
            Some(step) if ordinal == log.ordinal && !is_whole => {
                self.runner.worker_within(ordinal, step.delivery)?.snapshot(&mut image)
            }
            _ if self.runner.worker_after(ordinal)?.fault().is_some() => {
                let failed = self.runner.log(ordinal)?.steps.last().map_or(1, |step| step.delivery);
                self.runner.worker_within(ordinal, failed - 1)?.snapshot(&mut image)
            }
            _ => self.runner.worker_after(ordinal)?.snapshot(&mut image),
        };
        let unreadable = |error| ReplayError::Misuse(format!("{worker} can't be looked at: {error}"));
        taken.map(|()| Some(image)).map_err(unreadable)
    }

    /// True if the step that is looked at is that in which its worker came to where it can't go on.
    ///
    /// # Errors
    /// When a round can't be run again.
    pub fn has_worker_failed(&mut self) -> Result<bool, ReplayError> {
        let Some(log) = self.here.clone().filter(|log| self.at + 1 >= log.steps.len()) else { return Ok(false) };
        Ok(self.runner.worker_after(log.ordinal)?.fault().is_some())
    }

    fn last_step(&self) -> usize {
        self.here.as_ref().map_or(0, |log| log.steps.len().saturating_sub(1))
    }
}

/// The first step of the turn that a step is of.
fn first_of_turn(steps: &[Step], at: usize) -> usize {
    let before = steps[..at].iter().rev().take_while(|step| step.queue == steps[at].queue);
    at - before.count()
}

/// Rounds that were looked at, as many as may be kept; those with the lowest ordinals go first.
struct Logs {
    kept: BTreeMap<u64, Arc<RoundLog>>,
    bytes: usize,
    bytes_max: usize,
}

impl Logs {
    fn get_or(
        &mut self,
        ordinal: u64,
        run: impl FnOnce(u64) -> Result<RoundLog, ReplayError>,
    ) -> Result<Arc<RoundLog>, ReplayError> {
        if let Some(log) = self.kept.get(&ordinal) {
            return Ok(log.clone());
        }
        let log = Arc::new(run(ordinal)?);
        self.bytes += log.bytes();
        while self.bytes > self.bytes_max
            && let Some((_, gone)) = self.kept.pop_first()
        {
            self.bytes -= gone.bytes();
        }
        self.kept.insert(ordinal, log.clone());
        Ok(log)
    }
}

//! What is asked of a step and isn't a way to another: the step itself, FSMs and what waits for them, frames, causes.

use qnfsm::{FsmView, ImageView, RawQueueId, WorkerId};

use super::{
    DebugError, Debugger, WrongLine,
    command::Command,
    nearest::instead,
    view::{SpotView, View},
    views::{CHANGES_MAX, Views},
};
use crate::{ReplayError, dump::What};

/// How far back causes are walked at most.
const CAUSES_MAX: usize = 10_000;

impl Debugger {
    pub(super) fn views(&self) -> Views<'_> {
        let (node, watched) = (self.session.manifest().node, self.stops.watched());
        let changes_max = CHANGES_MAX.max(self.lines_max);
        Views { node, tables: &self.tables, chars_max: self.chars_max, changes_max, watched, named: "" }
    }

    /// The step at which the session stands.
    pub(super) fn step(&self) -> View {
        let Some(spot) = self.session.spot() else { return View::NoRound };
        let at = SpotView::new(&spot, self.session.rounds());
        match self.session.step() {
            Some(step) => View::Step(Box::new(self.views().step(Some(at), step))),
            None => View::NoStep { at },
        }
    }

    /// The step, and how it was come to.
    pub(super) fn arrived(&self, by: &str, stop: Option<(usize, String)>) -> View {
        let (stop, expression) = stop.unzip();
        View::Arrived { by: by.to_owned(), stop, expression, step: Box::new(self.step()) }
    }

    /// Answers what is asked of the step.
    pub(super) fn answer(&mut self, asked: &Command) -> Result<View, DebugError> {
        match asked {
            Command::Where => Ok(match self.session.spot() {
                Some(spot) => View::Where(SpotView::new(&spot, self.session.rounds())),
                None => View::NoRound,
            }),
            Command::Why(steps_max) => {
                let steps_max = (*steps_max).clamp(1, CAUSES_MAX);
                let causes = self.causes(steps_max + 1);
                self.is_over();
                let mut causes = causes?;
                let more = causes.len() > steps_max;
                causes.truncate(steps_max);
                Ok(View::Causes { causes: causes.iter().map(|cause| self.cause(cause)).collect(), more })
            }
            Command::State(queue) => self.state(*queue),
            Command::Fsm(queue) => self.fsm(*queue, |_| true),
            Command::Queue(queue) => self.fsm(*queue, |what| matches!(what, What::Waiting { .. })),
            Command::Timers(queue) => self.fsm(*queue, |what| matches!(what, What::Timer { .. })),
            Command::Fsms(worker, kind) => self.fsms(*worker, kind.as_deref()),
            Command::Sent => {
                let views = self.views();
                let asked = self.session.step().map_or(&[][..], |step| &step.asked);
                Ok(View::Sent { asked: asked.iter().map(|wish| views.asked(wish)).collect(), more: 0 })
            }
            Command::Inputs => Ok(self.session.log().map_or(View::NoRound, |log| self.views().inputs(&self.own, log))),
            Command::Outputs => {
                Ok(self.session.log().map_or(View::NoRound, |log| self.views().outputs(&self.own, log)))
            }
            Command::Kinds(None) => Ok(self.views().kinds()),
            Command::Kinds(Some(name)) => self.views().kind(name).ok_or_else(|| self.no_kind(name).into()),
            _ => Ok(self.step()),
        }
    }

    /// The queue that is asked for; the step's, if none is.
    fn queue(&self, queue: Option<RawQueueId>) -> Result<RawQueueId, DebugError> {
        let of_step = || self.session.step().map(|step| step.queue);
        let missing = || WrongLine { at: 0, what: "there is no step here; name a queue, such as w0/7.1".to_owned() };
        queue.or_else(of_step).ok_or_else(|| missing().into())
    }

    fn state(&mut self, queue: Option<RawQueueId>) -> Result<View, DebugError> {
        let queue = self.queue(queue)?;
        if let Some(step) = self.session.step().filter(|step| step.queue == queue) {
            // What a step left of its FSM is shown, though it may have stopped itself.
            return Ok(self.views().state(queue, step.kind, &step.after));
        }
        let inside = self.session.inside(queue)?.ok_or_else(|| not_there(queue))?;
        let kind = self.with_fsm(queue, |_, _, fsm| fsm.kind())?;
        Ok(self.views().state(queue, kind, &inside))
    }

    fn fsm(&mut self, queue: Option<RawQueueId>, is_wanted: impl Fn(&What<'_>) -> bool) -> Result<View, DebugError> {
        let queue = self.queue(queue)?;
        self.with_fsm(queue, |views, image, fsm| views.fsm(image, fsm, is_wanted))
    }

    fn fsms(&mut self, worker: Option<WorkerId>, kind: Option<&str>) -> Result<View, DebugError> {
        let kind = match kind {
            None => None,
            Some(name) => {
                let found = self.tables.kinds().find(|(_, kind)| kind.table.name == name);
                Some(found.ok_or_else(|| self.no_kind(name))?.0)
            }
        };
        let Some(worker) = worker.or_else(|| self.session.spot().map(|spot| spot.worker)) else {
            return Ok(View::NoRound);
        };
        let image = self.image(worker)?;
        let image = read(&image, worker)?;
        // Of the step's own worker it is what this step left, which mostly isn't the round's last one.
        let has_failed = self.session.has_worker_failed()?;
        let spot = self.session.spot().filter(|spot| spot.worker == worker);
        let under_way = spot.map(|spot| (spot.step + usize::from(!has_failed), spot.steps));
        Ok(self.views().fsms(&image, kind, under_way.filter(|(step, steps)| step < steps)))
    }

    fn image(&mut self, worker: WorkerId) -> Result<Vec<u8>, DebugError> {
        let image = self.session.image(worker)?;
        let missing = || ReplayError::Misuse(format!("{worker} has run no round yet where the session stands"));
        image.ok_or_else(|| missing().into())
    }

    fn with_fsm<R>(
        &mut self,
        queue: RawQueueId,
        see: impl FnOnce(&Views<'_>, &ImageView, FsmView<'_>) -> R,
    ) -> Result<R, DebugError> {
        let worker = queue.place().as_worker().ok_or_else(|| not_there(queue))?;
        let image = self.image(worker)?;
        let image = read(&image, worker)?;
        let fsm = image.fsms().find(|fsm| fsm.queue() == queue).ok_or_else(|| not_there(queue))?;
        Ok(see(&self.views(), &image, fsm))
    }

    fn no_kind(&self, name: &str) -> WrongLine {
        let names = self.tables.kinds().map(|(_, kind)| kind.table.name.as_str());
        let what = format!("no kind is called so: {}", instead(name, names));
        WrongLine { at: 0, what }
    }
}

fn read(image: &[u8], worker: WorkerId) -> Result<ImageView, DebugError> {
    let unreadable = |error| ReplayError::Misuse(format!("{worker} can't be looked at: {error}"));
    ImageView::read(image).map_err(|error| unreadable(error).into())
}

fn not_there(queue: RawQueueId) -> ReplayError {
    ReplayError::Misuse(format!("there is no FSM {queue} at this step; `fsms` lists those of a worker"))
}

//! What led to a step: the message that was handled, the step that sent it, the message that was handled there, and so on, over workers.

use std::ops::ControlFlow;

use qnfsm::{
    Ask, CameAs, End, Handler, Place, RawQueueId, WorkerId,
    frame::{Batch, Class, Frame},
};

use super::{RoundLog, Session, Step};
use crate::ReplayError;

/// One step on the way back.
#[derive(Debug, Clone)]
pub struct Cause {
    /// The ordinal of its round.
    pub ordinal: u64,
    /// The worker that ran it.
    pub worker: WorkerId,
    /// The worker's own number of the round.
    pub round: u64,
    /// Which of the round's steps.
    pub number: usize,
    /// The step.
    pub step: Step,
    /// Where what it handled comes from.
    pub origin: Origin,
}

/// Where what a step handled comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The step that is next on the way back sent it, or set its timer, or spawned or changed the FSM.
    Step,
    /// It entered from there: an edge, or a worker of which the journal holds nothing.
    Outside {
        /// The place.
        source: Place,
        /// The frame's number, as the source counts.
        number: u64,
        /// The ordinal of the round with which it entered.
        ordinal: u64,
    },
    /// It stood in the queue before the journal begins, or the worker made it itself: news of what is gone, an answer that doesn't come.
    Unknown,
}

/// A step, by the ordinal of its round and its number there.
pub(crate) type Spot = (u64, usize);

impl Session {
    /// What led to the step that is looked at: it first, then the one that sent what it handled, and so on, up to `steps_max` of
    /// them or to where it entered from outside. The session stands where it stood.
    ///
    /// # Errors
    /// When a round can't be run again.
    pub fn causes(&mut self, steps_max: usize) -> Result<Vec<Cause>, ReplayError> {
        let here = self.here.as_ref().filter(|log| !log.steps.is_empty()).map(|log| (log.ordinal, self.at));
        self.causes_of(here, steps_max)
    }

    /// Likewise, of another step.
    pub(crate) fn causes_of(&mut self, step: Option<Spot>, steps_max: usize) -> Result<Vec<Cause>, ReplayError> {
        let (mut causes, mut next) = (Vec::new(), step);
        while let Some((ordinal, number)) = next.take().filter(|_| causes.len() < steps_max) {
            let log = self.logs.get_or(ordinal, |ordinal| self.runner.log(ordinal))?;
            let Some(step) = log.steps.get(number).cloned() else { break };
            let (origin, before) = self.origin(&log, number)?;
            let (worker, round) = (log.worker, log.round);
            causes.push(Cause { ordinal, worker, round, number, step, origin });
            next = before;
        }
        Ok(causes)
    }

    /// The step that put out a frame with a round, if it is one.
    pub(crate) fn put_out_by(&mut self, ordinal: u64, to: Place, number: u64) -> Result<Option<Spot>, ReplayError> {
        if !self.runner.timeline.is_played(ordinal) {
            return Ok(None);
        }
        let log = self.logs.get_or(ordinal, |ordinal| self.runner.log(ordinal))?;
        Ok(step_that_put_out(&log, to, number).flatten().map(|at| (ordinal, at)))
    }

    /// Where what a step handled comes from, and the step if it is one.
    fn origin(&mut self, log: &RoundLog, number: usize) -> Result<(Origin, Option<Spot>), ReplayError> {
        let step = &log.steps[number];
        let found = |spot: Option<Spot>| (if spot.is_some() { Origin::Step } else { Origin::Unknown }, spot);
        let Some(message) = &step.message else {
            return match step.handler {
                Handler::Enter => Ok(found(number.checked_sub(1).map(|before| (log.ordinal, before)))),
                _ => self.origin_of_start(log, number),
            };
        };
        let Some(happening) = message.happening else { return Ok((Origin::Unknown, None)) };
        let fed = if happening >= log.fed_at {
            Some(log.ordinal)
        } else {
            self.runner.round_of_happening(log.worker, happening, log.ordinal)?
        };
        let Some(ordinal) = fed else { return Ok((Origin::Unknown, None)) };
        let then = self.logs.get_or(ordinal, |ordinal| self.runner.log(ordinal))?;
        if happening > then.fed_at {
            let delivery = happening - then.fed_at;
            // What an enter action sends is told apart by what it asked for, not by its number.
            let of_delivery = |step: &Step| u64::from(step.delivery) == delivery;
            let asked = then.steps.iter().position(|sender| of_delivery(sender) && sends(sender, step));
            let first = || then.steps.iter().position(of_delivery);
            return Ok(found(asked.or_else(first).map(|sender| (ordinal, sender))));
        }
        let earlier = then.steps.iter().take(if ordinal == log.ordinal { number } else { usize::MAX });
        // A message that is postponed is handled again, and entered once.
        let is_alike = |other: &&Step| other.queue == step.queue && other.message == step.message;
        let is_put_off = |step: &Step| step.end == End::Postponed;
        let alike = earlier.filter(is_alike).filter(|other| is_put_off(other) == is_put_off(step)).count();
        self.entered(&then, step.queue, alike, |frame| {
            // What was put in as another type, which the queue's takes in, mostly stands behind the name of a variant.
            let is_taken_in =
                || frame.header.type_number != message.type_number && message.bytes.ends_with(frame.payload);
            frame.header.sender == message.sender && (frame.payload == message.bytes || is_taken_in())
                || matches!(message.as_what, CameAs::Outcome(request) if frame.header.request == Some(request))
                || message.as_what == CameAs::News && frame.header.class == Class::Down
        })
    }

    /// Where the FSM comes from whose start handler a step is.
    fn origin_of_start(&mut self, log: &RoundLog, number: usize) -> Result<(Origin, Option<Spot>), ReplayError> {
        let queue = log.steps[number].queue;
        let spawns = |step: &Step| step.asked.iter().any(|wish| wish.what == Ask::Spawn { queue });
        if let Some(parent) = log.steps[..number].iter().rposition(spawns) {
            return Ok((Origin::Step, Some((log.ordinal, parent))));
        }
        let nth = log.steps[..number].iter().filter(|step| step.handler == Handler::Start).count();
        let entered = self.entered_spawn(log, nth)?;
        if entered.0 != Origin::Unknown {
            return Ok(entered);
        }
        let mut parent = None;
        for station in (0..=self.runner.timeline.station_number(log.ordinal)).rev() {
            self.say_how_far_back(log, station);
            self.runner.scan(station, &mut |earlier| {
                if (earlier.worker, earlier.ordinal < log.ordinal) == (log.worker, true)
                    && let Some(at) = earlier.steps.iter().rposition(spawns)
                {
                    parent = Some((earlier.ordinal, at));
                }
                ControlFlow::Continue(())
            })?;
            if parent.is_some() {
                break;
            }
        }
        Ok((parent.map_or(Origin::Unknown, |_| Origin::Step), parent))
    }

    /// Says how many of the rounds before that one were looked through before a station is gone on from.
    fn say_how_far_back(&mut self, log: &RoundLog, station: usize) {
        let stations = self.runner.timeline.stations();
        let looked_through = stations.get(station + 1).map_or(log.ordinal, |behind| behind.ordinal.min(log.ordinal));
        (self.on_progress)(log.ordinal - looked_through, log.ordinal);
    }

    /// The first of the spawns that entered with a round.
    fn entered_spawn(&mut self, log: &RoundLog, nth: usize) -> Result<(Origin, Option<Spot>), ReplayError> {
        let spawns = frames(&log.batches).filter(|(_, _, frame)| frame.header.class == Class::Spawn).nth(nth);
        match spawns.map(|(source, number, _)| (source, number)) {
            Some((source, number)) => self.put_out(log, source, number),
            None => Ok((Origin::Unknown, None)),
        }
    }

    /// Where the frame comes from that entered with a round for a queue, after `alike` others of which it can't be told.
    fn entered(
        &mut self,
        log: &RoundLog,
        queue: RawQueueId,
        alike: usize,
        is: impl Fn(&Frame<'_>) -> bool,
    ) -> Result<(Origin, Option<Spot>), ReplayError> {
        let to_queue =
            |frame: &Frame<'_>| (frame.header.slot, frame.header.generation) == (queue.slot(), queue.generation());
        let entered = frames(&log.batches).filter(|(_, _, frame)| to_queue(frame) && is(frame));
        match entered.take(alike + 1).last().map(|(source, number, _)| (source, number)) {
            Some((source, number)) => self.put_out(log, source, number),
            None => Ok((Origin::Unknown, None)),
        }
    }

    /// The step of another worker that put out a frame, which entered with a round; or the place that it comes from.
    fn put_out(&mut self, log: &RoundLog, source: Place, number: u64) -> Result<(Origin, Option<Spot>), ReplayError> {
        let outside = (Origin::Outside { source, number, ordinal: log.ordinal }, None);
        let Some(sender) = source.as_worker() else { return Ok(outside) };
        let here = Place::worker(log.worker);
        let mut station = self.runner.timeline.station_number(log.ordinal);
        loop {
            let mut found = None;
            self.say_how_far_back(log, station);
            self.runner.scan(station, &mut |earlier| {
                if earlier.worker != sender || earlier.ordinal > log.ordinal {
                    return ControlFlow::Continue(());
                }
                let Some(put) = step_that_put_out(earlier, here, number) else { return ControlFlow::Continue(()) };
                found = Some(put.map(|at| (earlier.ordinal, at)));
                ControlFlow::Break(())
            })?;
            if let Some(spot) = found {
                return Ok((spot.map_or(Origin::Unknown, |_| Origin::Step), spot));
            }
            match station.checked_sub(1) {
                Some(before) => station = before,
                None => return Ok(outside),
            }
        }
    }
}

/// The step of a round that put out a frame for a place: none, if the round didn't; and none of its steps, if the worker tells it by itself.
fn step_that_put_out(log: &RoundLog, to: Place, number: u64) -> Option<Option<usize>> {
    let out = log.outputs.iter().filter(|(place, _)| *place == to).map(|(_, batch)| batch);
    let (_, _, frame) = frames(out).find(|(_, of, _)| *of == number)?;
    let is_sender = |step: &Step| step.queue == frame.header.sender;
    let put = log.steps.iter().position(|step| is_sender(step) && puts_out(step, &frame));
    // What a worker tells by itself, such as that an FSM is gone, follows from the last thing that this did.
    let last = || log.steps.iter().rposition(is_sender);
    Some(put.or_else(last))
}

/// The frames of batches, each with its source and its number.
pub(crate) fn frames<'b>(
    batches: impl IntoIterator<Item = &'b Batch>,
) -> impl Iterator<Item = (Place, u64, Frame<'b>)> {
    batches.into_iter().flat_map(|batch| {
        let batch = batch.as_ref();
        (batch.first..)
            .zip(batch.frames().map_while(Result::ok))
            .map(move |(number, frame)| (batch.source, number, frame))
    })
}

/// True if a step asked for what another one handled.
fn sends(sender: &Step, handled: &Step) -> bool {
    let Some(message) = &handled.message else { return false };
    sender.asked.iter().any(|wish| match (&wish.what, message.as_what) {
        (Ask::Send { to, .. }, _) => *to == handled.queue && wish.bytes == message.bytes,
        (Ask::SendSelf | Ask::SetTimer { .. }, _) => sender.queue == handled.queue && wish.bytes == message.bytes,
        (Ask::Reply { to, request } | Ask::Fail { to, request }, CameAs::Outcome(outcome)) => {
            *to == handled.queue && *request == outcome
        }
        (Ask::Stop { .. }, CameAs::News) => true,
        _ => false,
    })
}

/// True if a step asked for what a frame carries.
fn puts_out(step: &Step, frame: &Frame<'_>) -> bool {
    let to_seat = |to: &RawQueueId| (to.slot(), to.generation()) == (frame.header.slot, frame.header.generation);
    step.asked.iter().any(|wish| match &wish.what {
        Ask::Send { to, .. } => to_seat(to) && wish.bytes == frame.payload,
        Ask::Reply { to, request } | Ask::Fail { to, request } => to_seat(to) && frame.header.request == Some(*request),
        Ask::SpawnOn { request, .. } => frame.header.request == Some(*request),
        Ask::Stop { queue } => frame.header.class == Class::Stop && to_seat(queue),
        Ask::Watch { queue } => frame.header.class == Class::Watch && to_seat(queue),
        _ => false,
    })
}

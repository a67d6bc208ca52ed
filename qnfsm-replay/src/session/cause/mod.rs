//! What led to a step: the message that was handled, the step that sent it, the message that was handled there, and so on, over workers.
//!
//! A message is known again by all that is known of it: how it came, its type and its bytes. Of those that are alike the first that entered
//! is the first that is handled. `put_out` has the other end: which step put out a frame.

mod put_out;

use std::{collections::VecDeque, ops::ControlFlow};

use qnfsm::{
    Ask, CameAs, Catalogue, End, Handler, Place, RawQueueId, WorkerId,
    frame::{Batch, Class, Frame},
};

use super::{Message, RoundLog, Session, Step};
use crate::ReplayError;
use put_out::put_out_in;
pub(crate) use put_out::{PutOut, Senders};

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
    /// It entered from there: an edge, or a worker which put it out before the journal begins, or by itself.
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
        Ok(match put_out_in(&log, to, number) {
            Some(PutOut::By(at)) => Some((ordinal, at)),
            Some(PutOut::BecauseOf(source, number)) => self.put_out(&log, source, number)?.1,
            Some(PutOut::OfItself) | None => None,
        })
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
            let catalogue = self.catalogue();
            let asked = then.steps.iter().position(|sender| of_delivery(sender) && sends(catalogue, sender, step));
            let first = || then.steps.iter().position(of_delivery);
            return Ok(found(asked.or_else(first).map(|sender| (ordinal, sender))));
        }
        self.origin_of_frame(log, number, &then)
    }

    /// Where what a step handled comes from, if it entered with that round.
    fn origin_of_frame(
        &mut self,
        log: &RoundLog,
        number: usize,
        then: &RoundLog,
    ) -> Result<(Origin, Option<Spot>), ReplayError> {
        let step = &log.steps[number];
        let Some(message) = &step.message else { return Ok((Origin::Unknown, None)) };
        let alike: Vec<_> = frames(&then.batches)
            .filter(|(_, _, frame)| is_to(frame, step.queue) && is_of(self.catalogue(), message, frame))
            .map(|(source, number, _)| (source, number))
            .collect();
        // Who was here and was told to stop has its end told here too.
        let stopped = || {
            let is_stop = |frame: &Frame<'_>| frame.header.class == Class::Stop && is_to(frame, message.sender);
            let stop = frames(&then.batches).find(|(_, _, frame)| is_stop(frame));
            let is_here = message.as_what == CameAs::News && message.sender.place() == Place::worker(then.worker);
            stop.filter(|_| is_here).map(|(source, number, _)| (source, number))
        };
        let which = if alike.len() > 1 { self.which_of_alike(log, number, then.ordinal, alike.len())? } else { 0 };
        match alike.get(which).copied().or_else(stopped) {
            Some((source, number)) => self.put_out(then, source, number),
            None => Ok((Origin::Unknown, None)),
        }
    }

    /// Which of so many messages that are alike, and entered with that round, a step handled.
    fn which_of_alike(
        &mut self,
        log: &RoundLog,
        number: usize,
        entered: u64,
        alike: usize,
    ) -> Result<usize, ReplayError> {
        let step = &log.steps[number];
        let (mut waiting, mut postponed) = (VecDeque::from_iter(0..alike), VecDeque::new());
        for ordinal in entered..=log.ordinal {
            if self.runner.timeline.worker(ordinal) != Some(log.worker) {
                continue;
            }
            let round = self.logs.get_or(ordinal, |ordinal| self.runner.log(ordinal))?;
            let before = if ordinal == log.ordinal { number } else { round.steps.len() };
            for earlier in round.steps[..before].iter().filter(|earlier| earlier.queue == step.queue) {
                let handled = if earlier.message == step.message { waiting.pop_front() } else { None };
                match earlier.end {
                    End::Postponed => postponed.extend(handled),
                    // What was postponed comes before what wasn't.
                    End::Changed => postponed.drain(..).rev().for_each(|which| waiting.push_front(which)),
                    _ => {}
                }
            }
        }
        Ok(waiting.front().copied().unwrap_or(alike - 1))
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
                let Some(put) = put_out_in(earlier, here, number) else { return ControlFlow::Continue(()) };
                found = Some((earlier.ordinal, put));
                ControlFlow::Break(())
            })?;
            match found {
                Some((ordinal, PutOut::By(at))) => return Ok((Origin::Step, Some((ordinal, at)))),
                Some((ordinal, PutOut::BecauseOf(source, number))) => {
                    let earlier = self.logs.get_or(ordinal, |ordinal| self.runner.log(ordinal))?;
                    return self.put_out(&earlier, source, number);
                }
                Some((_, PutOut::OfItself)) => return Ok(outside),
                None => {}
            }
            match station.checked_sub(1) {
                Some(before) => station = before,
                None => return Ok(outside),
            }
        }
    }
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

/// True if a frame is for a queue of the worker that it enters.
fn is_to(frame: &Frame<'_>, queue: RawQueueId) -> bool {
    (frame.header.slot, frame.header.generation) == (queue.slot(), queue.generation())
}

/// True if a message is what became of a frame that entered for its queue.
fn is_of(catalogue: &Catalogue, message: &Message, frame: &Frame<'_>) -> bool {
    let header = &frame.header;
    let is_message = |request| {
        (header.class, header.sender, header.request) == (Class::Message, message.sender, request)
            && is_as(catalogue, message, header.type_number, frame.payload)
    };
    match message.as_what {
        CameAs::Message => is_message(None),
        CameAs::Request(request) => is_message(Some(request)),
        CameAs::Outcome(request) => {
            let is_answer = matches!(header.class, Class::Reply | Class::Failed | Class::Spawned);
            is_answer && header.request == Some(request)
        }
        CameAs::News => (header.class, header.sender) == (Class::Down, message.sender),
        CameAs::Timer { .. } => false,
    }
}

/// True if a message is what its queue makes of these bytes of a type.
fn is_as(catalogue: &Catalogue, message: &Message, type_number: u32, bytes: &[u8]) -> bool {
    if type_number == message.type_number {
        return bytes == message.bytes;
    }
    catalogue.taken_in(bytes, type_number, message.type_number).is_some_and(|taken_in| taken_in == message.bytes)
}

/// True if a step asked for what another one handled.
pub(crate) fn sends(catalogue: &Catalogue, sender: &Step, handled: &Step) -> bool {
    let Some(message) = &handled.message else { return false };
    let is_its_own = || sender.queue == handled.queue;
    sender.asked.iter().any(|wish| {
        let is_message = || wish.type_number.is_some_and(|of| is_as(catalogue, message, of, &wish.bytes));
        match (&wish.what, message.as_what) {
            (Ask::Send { to, request }, CameAs::Request(of)) => {
                *to == handled.queue && *request == Some(of) && is_message()
            }
            (Ask::Send { to, request: None }, CameAs::Message) => *to == handled.queue && is_message(),
            (Ask::SendSelf, CameAs::Message) | (Ask::SetTimer { .. }, CameAs::Timer { .. }) => {
                is_its_own() && is_message()
            }
            (Ask::Reply { to, request } | Ask::Fail { to, request }, CameAs::Outcome(outcome)) => {
                *to == handled.queue && *request == outcome
            }
            (Ask::Stop { queue } | Ask::Watch { queue }, CameAs::News) => *queue == message.sender,
            _ => false,
        }
    })
}

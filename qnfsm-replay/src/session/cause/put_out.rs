//! What in a round put out a frame: a step that asked for it; or a frame that the worker took, of which it told by itself; or nothing that is
//! on record.
//!
//! A worker puts frames out in the order in which its steps asked for them, so that of frames that are alike the first is the first step's.

use std::collections::{BTreeMap, VecDeque};

use qnfsm::{
    Ask, CameAs, Codec, DownReason, End, Place, RawQueueId, RequestId, Trust,
    frame::{Class, Frame},
};

use super::{frames, is_to};
use crate::session::{RoundLog, Step, Wish};

/// What put out a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutOut {
    /// One of the round's steps.
    By(usize),
    /// The worker by itself, because of a frame of that source and number that entered with the round.
    BecauseOf(Place, u64),
    /// The worker by itself.
    OfItself,
}

/// What in a round put out the frame of that number for a place; none, if the round put out none.
pub(super) fn put_out_in(log: &RoundLog, to: Place, number: u64) -> Option<PutOut> {
    let (_, batch) = log.outputs.iter().find(|(place, _)| *place == to)?;
    let numbers = batch.as_ref();
    if !(numbers.first..numbers.next_number()).contains(&number) {
        return None;
    }
    let mut senders = Senders::of(log);
    frames([batch]).map(|(_, of, frame)| (of, senders.next(to, &frame))).find(|(of, _)| *of == number).map(|(_, by)| by)
}

/// Who of a round's steps put out its frames.
pub(crate) struct Senders<'l> {
    log: &'l RoundLog,
    /// By what they asked for, the steps of whose frames none was told yet.
    asked: BTreeMap<Carried<'l>, VecDeque<usize>>,
}

impl<'l> Senders<'l> {
    pub(crate) fn of(log: &'l RoundLog) -> Senders<'l> {
        let mut asked: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
        for (at, step) in log.steps.iter().enumerate().filter(|_| !log.outputs.is_empty()) {
            let here = step.queue.place();
            for carried in step.asked.iter().filter_map(|wish| asked_for(step, wish)).filter(|it| it.place != here) {
                asked.entry(carried).or_default().push_back(at);
            }
        }
        Senders { log, asked }
    }

    /// What put out a frame for a place, of which all before it for that place were asked about.
    pub(crate) fn next(&mut self, to: Place, frame: &Frame<'l>) -> PutOut {
        if let Some(at) = self.asked.get_mut(&carried(to, frame)).and_then(VecDeque::pop_front) {
            return PutOut::By(at);
        }
        let log = self.log;
        let told = match frame.header.class {
            Class::Down => end_of(log, to, frame),
            Class::Failed => refusal_of(log, to, frame),
            _ => None,
        };
        // What a worker tells by itself mostly follows from the last thing that the FSM did.
        let last = || log.steps.iter().rposition(|step| step.queue == frame.header.sender).map(PutOut::By);
        told.or_else(last).unwrap_or(PutOut::OfItself)
    }
}

/// What a frame carries, as far as a step asked for it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Carried<'l> {
    class: Class,
    place: Place,
    seat: (u32, u32),
    sender: RawQueueId,
    request: Option<RequestId>,
    type_number: u32,
    /// Of a message or an answer.
    bytes: &'l [u8],
}

fn carried<'l>(place: Place, frame: &Frame<'l>) -> Carried<'l> {
    let header = &frame.header;
    let bytes = if matches!(header.class, Class::Message | Class::Reply) { frame.payload } else { &[] };
    Carried {
        class: header.class,
        place,
        seat: (header.slot, header.generation),
        sender: header.sender,
        request: header.request,
        type_number: header.type_number,
        bytes,
    }
}

fn asked_for<'l>(step: &Step, wish: &'l Wish) -> Option<Carried<'l>> {
    let of_type = wish.type_number.unwrap_or_default();
    let (class, to, request, type_number, bytes) = match &wish.what {
        Ask::Send { to, request } => (Class::Message, *to, *request, of_type, &wish.bytes[..]),
        Ask::Reply { to, request } => (Class::Reply, *to, Some(*request), of_type, &wish.bytes[..]),
        Ask::Fail { to, request } => (Class::Failed, *to, Some(*request), 0, &[][..]),
        Ask::SpawnOn { worker, request } => {
            let to = RawQueueId::new(step.queue.node(), Place::worker(*worker), 0, 0);
            (Class::Spawn, to, Some(*request), of_type, &[][..])
        }
        Ask::Stop { queue } => (Class::Stop, *queue, None, 0, &[][..]),
        Ask::Watch { queue } => (Class::Watch, *queue, None, 0, &[][..]),
        Ask::Unwatch { queue } => (Class::Unwatch, *queue, None, 0, &[][..]),
        _ => return None,
    };
    let (place, seat) = (to.place(), (to.slot(), to.generation()));
    Some(Carried { class, place, seat, sender: step.queue, request, type_number, bytes })
}

/// What ended the FSM, of whose end a frame for a place tells; or what asked for one that was gone.
fn end_of(log: &RoundLog, to: Place, frame: &Frame<'_>) -> Option<PutOut> {
    let gone = frame.header.sender;
    let reason = Codec::CURRENT.decode(frame.payload, Trust::Node).unwrap_or(DownReason::Stopped);
    if reason == DownReason::Unknown {
        let watches = |other: &Frame<'_>| {
            let who = other.header.sender;
            other.header.class == Class::Watch && is_to(other, gone) && who.place() == to && is_to(frame, who)
        };
        return entered(log, watches);
    }
    // What entered was taken before any step ran.
    let stops = |step: &Step| {
        let asks = || step.asked.iter().any(|wish| wish.what == Ask::Stop { queue: gone });
        step.queue == gone && step.end == End::Stopped || asks()
    };
    let failed = |step: &Step| step.queue == gone && matches!(step.end, End::Failed(_) | End::Skipped(_));
    entered(log, |other| other.header.class == Class::Stop && is_to(other, gone))
        .or_else(|| log.steps.iter().position(stops).map(PutOut::By))
        .or_else(|| log.steps.iter().rposition(failed).map(PutOut::By))
}

/// What became of the request, of which a frame for a place says that it won't be answered.
fn refusal_of(log: &RoundLog, to: Place, frame: &Frame<'_>) -> Option<PutOut> {
    let request = frame.header.request?;
    let is_asker = |who: RawQueueId| who.place() == to && is_to(frame, who);
    let took = |step: &Step| {
        let message = step.message.as_ref();
        message.is_some_and(|message| message.as_what == CameAs::Request(request) && is_asker(message.sender))
    };
    if let Some(at) = log.steps.iter().rposition(took) {
        return Some(PutOut::By(at));
    }
    let ended = log.steps.iter().any(|step| step.queue == frame.header.sender);
    let asks = |other: &Frame<'_>| other.header.request == Some(request) && is_asker(other.header.sender);
    if ended { None } else { entered(log, asks) }
}

/// The first frame that entered with a round and is as wanted.
fn entered(log: &RoundLog, is_wanted: impl Fn(&Frame<'_>) -> bool) -> Option<PutOut> {
    let (source, number, _) = frames(&log.batches).find(|(_, _, frame)| is_wanted(frame))?;
    Some(PutOut::BecauseOf(source, number))
}

//! What happened in a journal, one thing after another, for whoever draws it: rounds, handlers that ran, frames that crossed a perimeter.
//!
//! The events are the same whichever way they come: from a walk with the program's kinds, which knows every delivery, or from
//! the records alone. What a record doesn't tell is none, or unknown; nobody guesses.

use std::{io, ops::RangeInclusive};

use qnfsm::{Handler, NodeId, Place, RawQueueId, RequestId, Time, WorkerId, frame::Class};

use crate::{
    ReplayError,
    asked::{Asked, Lookout},
    dump::tables::Tables,
    nodes::{CameIn, Sending},
};

/// The round in which something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) node: NodeId,
    /// Its number among all rounds of all workers.
    pub(crate) ordinal: u64,
    pub(crate) worker: WorkerId,
    pub(crate) round: u64,
    pub(crate) now: Time,
    /// Every handler that ran in it is told of.
    pub(crate) is_whole: bool,
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A round begins, in which these frames came in from other nodes. What happens in it follows; rounds of other workers may begin
    /// meanwhile.
    Round(&'a [CameIn]),
    /// A frame crossed the perimeter.
    Crossed(Crossed<'a>),
    /// A handler ran.
    Ran(Ran<'a>),
}

/// A frame at the perimeter of a round's worker.
#[derive(Debug)]
pub(crate) struct Crossed<'a> {
    pub(crate) way: Way,
    /// Where it comes from, or goes.
    pub(crate) other: Place,
    /// By which its source counts it.
    pub(crate) number: u64,
    pub(crate) class: Class,
    pub(crate) from: RawQueueId,
    pub(crate) to: RawQueueId,
    /// The number of its message type, or kind if it is a spawn.
    pub(crate) of: u32,
    pub(crate) request: Option<RequestId>,
    /// Which of the round's handlers asked for it, as [`Ran`] numbers them, if it goes out and that is known.
    pub(crate) by: Option<usize>,
    /// Where another node put it out, if it came from one and that is known.
    pub(crate) sent: Option<Sending>,
    pub(crate) bytes: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    In,
    Out,
}

/// One run of a handler.
#[derive(Debug)]
pub(crate) struct Ran<'a> {
    pub(crate) queue: RawQueueId,
    pub(crate) kind: u32,
    pub(crate) handler: Handler,
    /// Who spawned it, if its start handler ran and that is known.
    pub(crate) parent: Option<RawQueueId>,
    pub(crate) message: Option<Handled<'a>>,
    /// The state before, if the FSM had one and it is known.
    pub(crate) before: Option<&'a [u8]>,
    /// The state after, if it still has one.
    pub(crate) after: Option<&'a [u8]>,
    pub(crate) ended: Ended,
    /// Which of the round's handlers it is, from 0.
    pub(crate) number: usize,
    /// The number of what happened, in its worker.
    pub(crate) happening: u64,
}

/// The message that a handler was given.
#[derive(Debug)]
pub(crate) struct Handled<'a> {
    pub(crate) sender: RawQueueId,
    /// The number of its type.
    pub(crate) of: u32,
    pub(crate) bytes: &'a [u8],
    pub(crate) how: How,
    /// What happened in the worker when it was put into the queue, if that is known.
    pub(crate) put_at: Option<u64>,
    /// It was put there by the enter action that followed the handler which ran then.
    pub(crate) by_enter: bool,
}

/// As what a message came, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Message,
    Answer,
    Timer,
}

/// How a handler ended, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    Stayed,
    Changed,
    Postponed,
    Unhandled,
    Stopped,
    Failed,
    Skipped,
}

/// Who is shown what happened.
pub(crate) trait Sink {
    /// The types of what comes next are these.
    fn enter(&mut self, tables: &Tables) {
        let _ = tables;
    }

    /// A handler of an FSM of that kind ran, and was not chosen.
    fn pass_over(&mut self, tables: &Tables, queue: RawQueueId, kind: u32) {
        let _ = (tables, queue, kind);
    }

    /// Takes the next event, with the names of the types of then.
    fn take(&mut self, tables: &Tables, at: &At, event: &Event<'_>) -> io::Result<()>;
}

/// What of a journal is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) node: Option<NodeId>,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) queue: Option<RawQueueId>,
    pub(crate) kind: Option<String>,
    pub(crate) rounds: RangeInclusive<u64>,
    pub(crate) time: RangeInclusive<Time>,
}

impl Default for Chosen {
    fn default() -> Chosen {
        let time = Time::ZERO..=Time::from_nanos(u64::MAX);
        Chosen { node: None, worker: None, queue: None, kind: None, rounds: 0..=u64::MAX, time }
    }
}

impl Chosen {
    /// All of it, to be held against what there is.
    fn asked(&self) -> Asked {
        let Chosen { node, worker, queue, kind, rounds, time } = self.clone();
        let all = Chosen::default();
        Asked {
            node,
            worker,
            queue,
            kind,
            rounds: Some(rounds).filter(|rounds| *rounds != all.rounds),
            time: Some(time).filter(|time| *time != all.time),
            ..Asked::default()
        }
    }

    /// True if that is drawn.
    fn wants(&self, tables: &Tables, at: &At, event: &Event<'_>) -> bool {
        let is_of_round = self.node.is_none_or(|node| node == at.node)
            && self.worker.is_none_or(|worker| worker == at.worker)
            && self.rounds.contains(&at.round)
            && self.time.contains(&at.now);
        let kind = |number| self.kind.as_ref().is_none_or(|kind| tables.kind_is(number, kind));
        let queue = |one, other| self.queue.is_none_or(|queue| queue == one || queue == other);
        is_of_round
            && match event {
                Event::Round(_) => true,
                Event::Ran(ran) => {
                    let sender = ran.message.as_ref().map_or(ran.queue, |message| message.sender);
                    kind(ran.kind) && queue(ran.queue, sender)
                }
                // Which kind a queue's FSM is, a frame doesn't say.
                Event::Crossed(it) => self.kind.is_none() && queue(it.from, it.to),
            }
    }
}

/// Hands on what was chosen, and looks whether it is there.
pub(crate) struct Feed<'s> {
    chosen: &'s Chosen,
    lookout: Lookout,
    sink: &'s mut dyn Sink,
}

impl<'s> Feed<'s> {
    pub(crate) fn new(chosen: &'s Chosen, sink: &'s mut dyn Sink) -> Feed<'s> {
        Feed { chosen, lookout: Lookout::new(chosen.asked()), sink }
    }

    /// Refuses to draw what these nodes, and the tables by which their events will be told, don't have by name.
    pub(crate) fn begin(&self, nodes: &[NodeId], tables: &[Tables]) -> Result<(), ReplayError> {
        self.lookout.asked().spans()?;
        self.lookout.asked().names(nodes, tables)
    }

    /// Refuses what was chosen, when all of the journals was seen and it wasn't there.
    pub(crate) fn end(&self) -> Result<(), ReplayError> {
        self.lookout.missing()
    }

    pub(crate) fn enter(&mut self, tables: &Tables) {
        self.sink.enter(tables);
    }

    pub(crate) fn take(&mut self, tables: &Tables, at: &At, event: &Event<'_>) -> io::Result<()> {
        self.note(at, event);
        if self.chosen.wants(tables, at, event) {
            return self.sink.take(tables, at, event);
        }
        if let Event::Ran(ran) = event {
            self.sink.pass_over(tables, ran.queue, ran.kind);
        }
        Ok(())
    }
    /// Notes what there is.
    fn note(&self, at: &At, event: &Event<'_>) {
        // Of other nodes than that one, nothing was asked for.
        if self.chosen.node.is_some_and(|node| node != at.node) {
            return;
        }
        match event {
            Event::Round(_) => {
                self.lookout.saw_worker(at.worker);
                self.lookout.saw_round(at.worker, at.round);
                self.lookout.saw_time(at.worker, at.now);
            }
            Event::Crossed(it) if self.lookout.looks_for_queue() => self.lookout.saw_queues([it.from, it.to]),
            Event::Ran(ran) if self.lookout.looks_for_queue() => {
                let sender = ran.message.as_ref().map(|message| message.sender);
                self.lookout.saw_queues([ran.queue].into_iter().chain(sender));
            }
            _ => {}
        }
    }
}

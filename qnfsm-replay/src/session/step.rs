//! One run of one handler, as a session keeps it: what the FSM was given, what it was before and after, and what it asked for; and the
//! observer that takes that down.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use qnfsm::{
    Ask, AskedAll, At, Came, CameAs, End, FaultKind, Handler, Observer, Place, RawQueueId, Time, WorkerId,
    frame::Batch, journal::Position, playback::Hush,
};

/// One run of one handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The number of the delivery within its round, from 1. An enter action has that of the delivery that changed the state.
    pub delivery: u32,
    /// The FSM's queue.
    pub queue: RawQueueId,
    /// The number of its kind.
    pub kind: u32,
    /// Which handler ran.
    pub handler: Handler,
    /// The message; none, for a start handler and an enter action.
    pub message: Option<Message>,
    /// The FSM before.
    pub before: Inside,
    /// The FSM after, while nothing of what it asked for was done yet.
    pub after: Inside,
    /// How the handler ended.
    pub end: End,
    /// What it asked for, in order; nothing, if it didn't end well.
    pub asked: Vec<Wish>,
}

/// A message that a handler was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub sender: RawQueueId,
    /// The number of its type.
    pub type_number: u32,
    /// As what it came.
    pub as_what: CameAs,
    /// The number of what happened in the worker when it was put into the queue, if that is known.
    pub happening: Option<u64>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// An FSM's state and data, encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inside {
    /// The state; empty before the start handler has run. A state without data of its own may be of no bytes too.
    pub state: Vec<u8>,
    /// The data.
    pub data: Vec<u8>,
}

/// One thing that a handler asked for, and the bytes of the message or the start value that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What.
    pub what: Ask,
    /// The number of the message's type, or of the kind that is to be started.
    pub type_number: Option<u32>,
    /// The message's bytes, or the start value's.
    pub bytes: Vec<u8>,
}

/// A round that was run again, with all that happened in it.
#[derive(Debug, Clone)]
pub struct RoundLog {
    /// The number of the round among all rounds of all workers, as the journal has them, from 0.
    pub ordinal: u64,
    /// The worker.
    pub worker: WorkerId,
    /// The worker's own number of it, from 1.
    pub round: u64,
    /// Where its record stands.
    pub position: Position,
    /// The time that the worker was told.
    pub now: Time,
    /// How many feeds and deliveries the worker had seen when this round's was done: the number of this feed.
    pub fed_at: u64,
    /// What was fed.
    pub batches: Vec<Batch>,
    /// The runs of handlers, in order.
    pub steps: Vec<Step>,
    /// What it put out, by destination.
    pub outputs: Vec<(Place, Batch)>,
}

impl RoundLog {
    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let steps: usize = self.steps.iter().map(Step::bytes).sum();
        let batches = self.batches.iter().chain(self.outputs.iter().map(|(_, batch)| batch));
        size_of::<RoundLog>() + steps + batches.map(|batch| batch.as_ref().bytes.len()).sum::<usize>()
    }
}

impl Step {
    fn bytes(&self) -> usize {
        let inside = |inside: &Inside| inside.state.len() + inside.data.len();
        let asked: usize = self.asked.iter().map(|wish| size_of::<Wish>() + wish.bytes.len()).sum();
        let message = self.message.as_ref().map_or(0, |message| message.bytes.len());
        size_of::<Step>() + inside(&self.before) + inside(&self.after) + asked + message
    }
}

/// The steps of a round, as they are taken down.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tape(Arc<Mutex<Vec<Step>>>);

impl Tape {
    /// An observer that writes on this tape.
    pub(crate) fn observer(&self) -> Box<dyn Observer + Send> {
        Box::new(Writing { tape: self.clone(), open: None })
    }

    /// Takes what was written.
    pub(crate) fn take(&self) -> Vec<Step> {
        // Whoever panicked while he wrote had written whole steps.
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes each step on a tape when it has ended.
struct Writing {
    tape: Tape,
    /// What was noted before the handler ran.
    open: Option<(Inside, Option<Message>)>,
}

impl Observer for Writing {
    fn before(&mut self, at: At<'_>, came: Option<Came<'_>>) {
        let message = came.map(|came| {
            let Came { sender, type_number, as_what, happening, .. } = came;
            let mut bytes = Vec::new();
            // A message that can't be encoded was never recorded: it is shown without its content.
            let _ = came.encode(&mut bytes);
            Message { sender, type_number, as_what, happening, bytes }
        });
        self.open = Some((inside(at), message));
    }

    fn after(&mut self, at: At<'_>, end: &End, asked: AskedAll<'_>) {
        // A delivery that is skipped has no handler that could have been seen before it ran.
        let (before, message) = self.open.take().unwrap_or_else(|| (inside(at), None));
        let asked = asked.iter().map(|asked| {
            let mut bytes = Vec::new();
            let _ = asked.encode(&mut bytes);
            Wish { type_number: asked.type_number(), what: asked.what, bytes }
        });
        let step = Step {
            delivery: at.delivery,
            queue: at.queue,
            kind: at.kind(),
            handler: at.handler,
            message,
            before,
            after: inside(at),
            end: ended(end),
            asked: asked.collect(),
        };
        self.tape.0.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }
}

/// A panic by what it says and where it came from.
fn ended(end: &End) -> End {
    match end {
        End::Failed(FaultKind::Panic(text)) => End::Failed(FaultKind::Panic(with_place(text))),
        end => end.clone(),
    }
}

/// What a handler that was played panicked with, and where that came from if it is known.
pub(crate) fn with_place(text: &str) -> String {
    Hush::place_of(text).map_or_else(|| text.to_owned(), |place| format!("{text}, at {place}"))
}

fn inside(at: At<'_>) -> Inside {
    let mut inside = Inside::default();
    // Data that can't be encoded are found when the worker is snapshot; here they are shown as nothing.
    let _ = at.encode_state(&mut inside.state);
    let _ = at.encode_data(&mut inside.data);
    inside
}

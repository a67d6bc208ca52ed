//! Edges: what stands outside the perimeter and talks to the world.
//!
//! Inputs go in through [`Inputs`]; outputs come as frames. An edge with threads of its own implements [`Outlet`]; one
//! that waits for the world in a loop implements [`Reactor`], and the same reactor runs on a thread of its own or inside
//! a worker's loop in place of its park. Queues at an edge are named like any other: slot 0 is the edge as a whole, the
//! others are for the edge to give out, each with its generation.

use std::{io, sync::Arc, time::Duration};

use crate::{
    codec::{Codec, EncodeError},
    frame::{Batch, Class, FRAME_PAYLOAD_BYTES_MAX, Frame, Header},
    fsm::TypeNumbers,
    id::{EdgeId, Epoch, NodeId, Place, QueueId, RawQueueId, RequestId},
    message::{DownReason, Message, NoReply, ReplyTo},
    time::Time,
};

/// Wakes something that waits.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What an edge gets once, when its node has started.
#[derive(Debug, Clone)]
pub struct EdgeSetup {
    pub(crate) node: NodeId,
    pub(crate) edge: EdgeId,
    pub(crate) epoch: Epoch,
    pub(crate) numbers: Arc<TypeNumbers>,
}

impl EdgeSetup {
    /// The edge's number.
    #[must_use]
    pub fn edge(&self) -> EdgeId {
        self.edge
    }

    /// The epoch of this start. An edge that makes the epoch part of its queues' generations never gives a queue of an
    /// earlier start the same name.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The number of a message type, if the node's kinds name it.
    #[must_use]
    pub fn type_number<M: Message>(&self) -> Option<u32> {
        self.numbers.message::<M>()
    }

    /// The name of one of the edge's queues. Slot 0, generation 1 is the edge as a whole.
    #[must_use]
    pub fn queue(&self, slot: u32, generation: u32) -> RawQueueId {
        RawQueueId::new(self.node, Place::edge(self.edge), slot, generation)
    }
}

/// Why a value could not be put in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The message type is not among the node's.
    #[error(
        "message type {0} is not registered; add `Kinds::accepts`, where an FSM takes it, or else `Kinds::message` for it to the function that names the kinds"
    )]
    Unregistered(&'static str),
    /// The value can't be encoded.
    #[error("{0}")]
    Encode(#[from] EncodeError),
    /// The encoded value is longer than a frame may be.
    #[error("a message of {0} bytes, and {max} is the most there may be; send it in parts", max = FRAME_PAYLOAD_BYTES_MAX)]
    TooLong(usize),
}

/// Collects the inputs of one edge for the workers that they go to.
#[derive(Debug)]
pub struct Inputs {
    setup: EdgeSetup,
    /// By worker, in the order of first use.
    batches: Vec<(Place, Batch)>,
    payload: Vec<u8>,
    admits_new_work: bool,
}

impl Inputs {
    pub(crate) fn new(setup: EdgeSetup) -> Inputs {
        Inputs { setup, batches: Vec::new(), payload: Vec::new(), admits_new_work: true }
    }

    /// What the edge was given at its start.
    #[must_use]
    pub fn setup(&self) -> &EdgeSetup {
        &self.setup
    }

    /// False while the node is over its budget: untrusted sockets aren't read then. Answers, closings and news of
    /// what was begun before always enter.
    #[must_use]
    pub fn admits_new_work(&self) -> bool {
        self.admits_new_work
    }

    pub(crate) fn set_admits_new_work(&mut self, admits: bool) {
        self.admits_new_work = admits;
    }

    /// Puts a message into a queue, from one of the edge's queues.
    ///
    /// # Errors
    /// When the type is not registered or the value can't be encoded.
    pub fn message<M: Message>(&mut self, to: QueueId<M>, from: RawQueueId, message: &M) -> Result<(), PutError> {
        let number = self.setup.type_number::<M>().ok_or_else(|| PutError::Unregistered(std::any::type_name::<M>()))?;
        self.put_value(to.raw().place(), &Header::message(number, to.raw(), from), message)
    }

    /// Puts bytes that came from an untrusted peer into a queue, as they are. They are decoded by the worker, which
    /// refuses queue IDs in them; if they make no message of that type, a [`Class::Refused`] comes back to `from`.
    ///
    /// # Panics
    /// When there are more than [`FRAME_PAYLOAD_BYTES_MAX`] bytes; an edge checks that before it reads them.
    pub fn untrusted(&mut self, to: RawQueueId, from: RawQueueId, type_number: u32, payload: &[u8]) {
        let header = Header { untrusted: true, ..Header::message(type_number, to, from) };
        self.batch(to.place()).push(&header, payload);
    }

    /// Puts a request into a queue.
    pub(crate) fn request<M: Message>(
        &mut self,
        to: QueueId<M>,
        from: RawQueueId,
        request: RequestId,
        message: &M,
    ) -> Result<(), PutError> {
        let number = self.setup.type_number::<M>().ok_or_else(|| PutError::Unregistered(std::any::type_name::<M>()))?;
        let header = Header { request: Some(request), ..Header::message(number, to.raw(), from) };
        self.put_value(to.raw().place(), &header, message)
    }

    /// Answers a request.
    ///
    /// # Errors
    /// When the type is not registered or the value can't be encoded.
    pub fn reply<A: Message>(&mut self, to: &ReplyTo<A>, from: RawQueueId, answer: &A) -> Result<(), PutError> {
        let number = self.setup.type_number::<A>().ok_or_else(|| PutError::Unregistered(std::any::type_name::<A>()))?;
        let header = Header { request: Some(to.request()), ..Header::to(Class::Reply, number, to.queue(), from) };
        self.put_value(to.queue().place(), &header, answer)
    }

    /// Says that a request will not be answered.
    pub fn fail<A>(&mut self, to: &ReplyTo<A>, from: RawQueueId, why: NoReply) {
        let header = Header { request: Some(to.request()), ..Header::to(Class::Failed, 0, to.queue(), from) };
        self.put_reason(to.queue().place(), &header, &why);
    }

    /// Tells `watcher` that one of the edge's queues is gone.
    pub fn down(&mut self, watcher: RawQueueId, gone: RawQueueId, reason: &DownReason) {
        let header = Header::to(Class::Down, 0, watcher, gone);
        self.put_reason(watcher.place(), &header, reason);
    }

    /// Asks to be told when an FSM's queue is gone: a frame of [`Class::Down`] from it comes to `from`. A connection
    /// watches the FSM that it belongs to.
    pub fn watch(&mut self, fsm: RawQueueId, from: RawQueueId) {
        self.batch(fsm.place()).push(&Header::to(Class::Watch, 0, fsm, from), &[]);
    }

    /// Tells who asked that the request of a frame will not be answered; does nothing for a frame that asks nothing.
    pub fn fail_request(&mut self, frame: &Frame<'_>, from: RawQueueId, why: NoReply) {
        if let Some(request) = frame.header.request {
            self.fail(&ReplyTo::<()>::new(frame.header.sender, request, Time::ZERO), from, why);
        }
    }

    fn put_reason<T: Message>(&mut self, place: Place, header: &Header, reason: &T) {
        self.put_value(place, header, reason).expect("a reason is a few bytes, or a short text");
    }

    fn put_value<T: Message>(&mut self, place: Place, header: &Header, value: &T) -> Result<(), PutError> {
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        let encoded = match Codec::CURRENT.encode(value, &mut payload) {
            Ok(()) if payload.len() > FRAME_PAYLOAD_BYTES_MAX => Err(PutError::TooLong(payload.len())),
            encoded => encoded.map_err(PutError::from),
        };
        if encoded.is_ok() {
            self.batch(place).push(header, &payload);
        }
        self.payload = payload;
        encoded
    }

    fn batch(&mut self, place: Place) -> &mut Batch {
        let at = self.batches.iter().position(|(of, _)| *of == place).unwrap_or_else(|| {
            let source = Place::edge(self.setup.edge);
            self.batches.push((place, Batch::new(source, self.setup.epoch, 1)));
            self.batches.len() - 1
        });
        &mut self.batches[at].1
    }

    /// Hands over what has gathered, batch by batch with the place that it goes to.
    pub(crate) fn drain(&mut self, mut put: impl FnMut(Place, &mut Batch)) {
        for (place, batch) in &mut self.batches {
            if !batch.is_empty() {
                put(*place, batch);
            }
        }
    }
}

/// Takes what workers put out for an edge that has threads of its own.
pub trait Outlet: Send + Sync {
    /// Takes the frames of a round that has ended. Called on the worker's thread: it hands on and returns.
    fn put(&self, frames: &Batch);
}

/// What an edge does after a restart with a request that was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unanswered {
    /// It gets the request again, with the same ID.
    SentAgain,
    /// The asker is told [`NoReply::Interrupted`].
    Interrupted,
}

/// What each edge of the user's does so, in the order in which they were added.
#[derive(Debug, Clone)]
pub(crate) struct Policies(pub(crate) Vec<Unanswered>);

impl Policies {
    /// True if an edge gets a request again; the node's own knows which it has served. One that there isn't any more gets none.
    pub(crate) fn sends_again(&self, edge: EdgeId) -> bool {
        match edge.0.checked_sub(EdgeId::FIRST_OF_USER.0) {
            None => true,
            Some(at) => self.0.get(at as usize) == Some(&Unanswered::SentAgain),
        }
    }
}

/// An edge that waits for the world in a loop, such as sockets under mio. One thread at a time drives it: its own or a
/// worker's.
pub trait Reactor: Send + 'static {
    /// What becomes of requests that were under way when the node went down.
    fn unanswered(&self) -> Unanswered {
        Unanswered::Interrupted
    }

    /// Called once, before anything else, while the node starts.
    ///
    /// # Errors
    /// What keeps it from working at all; the node then doesn't start.
    fn open(&mut self, setup: &EdgeSetup) -> io::Result<()>;

    /// Takes one frame that a worker put out for this edge: `header.slot` and `generation` name the edge's queue,
    /// `header.sender` who sent it. Faults go back as inputs.
    fn take(&mut self, frame: &Frame<'_>, inputs: &mut Inputs);

    /// Waits until something happens, somebody wakes it, or `timeout` has passed (`None`: without end; zero: only
    /// looks), and puts in what came. Must do a bounded amount of work, so that a worker in whose loop it runs goes on.
    ///
    /// # Errors
    /// Only what makes the edge as a whole unusable; the node then stops.
    fn poll(&mut self, timeout: Option<Duration>, inputs: &mut Inputs) -> io::Result<()>;

    /// How many bytes it holds that are yet to leave, such as those in the send buffers of its sockets. They count
    /// towards the node's budget.
    fn held_bytes(&self) -> u64 {
        0
    }

    /// What ends a `poll` from another thread; one that comes just before a `poll` ends that, as it does with mio's `Waker`
    /// and with [`unpark`](std::thread::Thread::unpark). Called after `open`. It must not panic: a worker that waits in
    /// `poll` is then only woken by the next that has something for it.
    fn waker(&self) -> Wake;

    /// The node stops: flush what can be flushed at once, close everything.
    fn close(&mut self);
}

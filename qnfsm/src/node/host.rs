//! The host program's handle: sends in and asks from any thread, blocking, with a deadline, or as a `Future`.

use std::{
    collections::BTreeMap,
    future::Future,
    marker::PhantomData,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::{
    RecordingError,
    edge::{Outlet, PutError},
    inlet::Inlet,
    shared::{LOCK_REASON, Phase, Shared, Work, deadline_in},
};
use crate::{
    codec::{Codec, Trust},
    frame::{Batch, Class},
    id::{EdgeId, QueueId, RawQueueId, RequestId},
    message::{Message, NoReply, ReplyTo},
    node_metrics::NodeMetrics,
};

/// Why the host's message or request came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The node is over its budget. Nothing was sent; try again later.
    #[error("the node is over its budget of {budget_bytes} bytes; try again later, or wait with `send_wait`")]
    Full {
        /// The budget.
        budget_bytes: u64,
    },
    /// The node is stopping. Nothing was sent.
    #[error("the node is stopping")]
    Stopping,
    /// The value can't be put in.
    #[error("{0}")]
    Put(#[from] PutError),
    /// The queue is an edge's. Nothing was sent.
    #[error("{queue} is a queue of an edge's: the host speaks to FSMs and to the node; let an FSM ask the edge")]
    NotAnFsm {
        /// The queue.
        queue: RawQueueId,
    },
    /// The request was taken and not answered.
    #[error("{0}")]
    NoReply(#[from] NoReply),
    /// The answer isn't of the type that was asked for.
    #[error("the answer can't be decoded: {0}")]
    Decode(#[from] crate::codec::DecodeError),
}

/// The handle of the program around a node. Clones are the same handle; any thread may use it.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
    inlet: Inlet,
    waiting: Arc<Waiting>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

/// Requests of the host's that are under way.
#[derive(Default)]
pub(super) struct Waiting {
    /// The generation of the host's queue.
    generation: u32,
    next: AtomicU64,
    open: Mutex<BTreeMap<RequestId, Open>>,
    /// Nobody will answer any more. Changed while `open` is locked.
    closed: AtomicBool,
    answered: Condvar,
}

struct Open {
    deadline: Instant,
    waker: Option<Waker>,
    outcome: Option<Result<Vec<u8>, NoReply>>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<RequestId, Open>> {
        self.open.lock().expect(LOCK_REASON)
    }

    fn settle(&self, request: RequestId, outcome: Result<Vec<u8>, NoReply>) {
        let waker = {
            let mut open = self.lock();
            let Some(waiting) = open.get_mut(&request) else { return };
            waiting.outcome.get_or_insert(outcome);
            self.answered.notify_all();
            waiting.waker.take()
        };
        // Not under the lock: who is woken may look at once, on this thread.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends with `why` the waits of which `ends` is true and that nothing has ended yet.
    fn end(&self, why: NoReply, ends: impl Fn(&Open) -> bool) {
        let wakers: Vec<Waker> = {
            let mut open = self.lock();
            let ended = open.values_mut().filter(|waiting| waiting.outcome.is_none() && ends(waiting));
            let ended = ended.inspect(|_| self.answered.notify_all());
            ended
                .filter_map(|waiting| {
                    waiting.outcome = Some(Err(why));
                    waiting.waker.take()
                })
                .collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends the waits whose deadline has passed.
    pub(super) fn expire(&self, now: Instant) {
        self.end(NoReply::Expired, |waiting| waiting.deadline <= now);
    }

    /// The node is gone: nobody will answer any more.
    pub(super) fn close(&self) {
        {
            let _open = self.lock();
            self.closed.store(true, Ordering::SeqCst);
        }
        self.end(NoReply::Gone, |_| true);
    }
}

impl Outlet for Waiting {
    fn put(&self, frames: &Batch) {
        for frame in frames.as_ref().frames().map_while(Result::ok) {
            // Answers to requests of an epoch that is over have its generation, and reach nobody.
            let Some(request) = frame.header.request.filter(|_| frame.header.generation == self.generation) else {
                continue;
            };
            let outcome = match frame.header.class {
                Class::Reply => Ok(frame.payload.to_vec()),
                Class::Failed => Err(Codec::CURRENT.decode(frame.payload, Trust::Node).unwrap_or(NoReply::Failed)),
                _ => continue,
            };
            self.settle(request, outcome);
        }
    }
}

impl Host {
    pub(super) fn new(shared: Arc<Shared>, inlet: Inlet) -> Host {
        let generation = shared.epoch.0;
        Host { shared, inlet, waiting: Arc::new(Waiting { generation, ..Waiting::default() }) }
    }

    pub(super) fn waiting(&self) -> Arc<Waiting> {
        self.waiting.clone()
    }

    /// The host's own queue in this epoch. Its generation is the epoch's, so that an answer to a request of an epoch
    /// that is over reaches nobody.
    fn queue(&self) -> RawQueueId {
        self.shared.setup(EdgeId::HOST).queue(0, self.waiting.generation)
    }

    /// Lets new work in. The node does not count as drained before what comes back is dropped, so a message that is put
    /// in meanwhile is taken.
    fn admit(&self, to: RawQueueId) -> Result<Work<'_>, HostError> {
        if to.place().as_edge().is_some_and(|edge| edge != EdgeId::NODE) {
            return Err(HostError::NotAnFsm { queue: to });
        }
        let work = self.shared.work();
        if self.shared.phase() != Phase::Running {
            return Err(HostError::Stopping);
        }
        if !self.shared.admits_new_work() {
            return Err(HostError::Full { budget_bytes: self.shared.limits.budget_bytes });
        }
        Ok(work)
    }

    /// What the node knows of itself now; once it has stopped, at its end.
    #[must_use]
    pub fn metrics(&self) -> NodeMetrics {
        self.shared.metrics()
    }

    /// Puts a message into a queue.
    ///
    /// # Errors
    /// When the node is over its budget or stopping, or the value can't be put in.
    pub fn send<M: Message>(&self, to: QueueId<M>, message: &M) -> Result<(), HostError> {
        let _work = self.admit(to.raw())?;
        let from = self.queue();
        Ok(self.inlet.put(|inputs| inputs.message(to, from, message))?)
    }

    /// Puts a message into a queue; where the node is over its budget, waits for up to `patience` until it isn't.
    ///
    /// # Errors
    /// As [`send`](Host::send), after that time.
    pub fn send_wait<M: Message>(&self, to: QueueId<M>, message: &M, patience: Duration) -> Result<(), HostError> {
        let deadline = deadline_in(patience);
        loop {
            let sent = self.send(to, message);
            let is_full = matches!(sent, Err(HostError::Full { .. }));
            if !is_full || !self.shared.wait_for_room(deadline) {
                return sent;
            }
        }
    }

    /// Asks a queue for an answer, for up to `deadline`. Wait for it with [`Answer::wait`], or `await` it.
    ///
    /// # Errors
    /// When the node is over its budget or stopping, or the value can't be put in.
    pub fn ask<M: Message, A: Message>(
        &self,
        to: QueueId<M>,
        deadline: Duration,
        message: impl FnOnce(ReplyTo<A>) -> M,
    ) -> Result<Answer<A>, HostError> {
        let _work = self.admit(to.raw())?;
        let request = RequestId(self.waiting.next.fetch_add(1, Ordering::Relaxed) + 1);
        let from = self.queue();
        let reply_to = ReplyTo::new(from, request, self.shared.clock.now().after(deadline));
        let open = Open { deadline: deadline_in(deadline), waker: None, outcome: None };
        {
            let mut waiting = self.waiting.lock();
            if self.waiting.closed.load(Ordering::SeqCst) {
                return Err(HostError::Stopping);
            }
            waiting.insert(request, open);
        }
        let answer = Answer { waiting: self.waiting.clone(), request, of: PhantomData };
        let message = message(reply_to);
        self.inlet.put(|inputs| inputs.request(to, from, request, &message))?;
        Ok(answer)
    }

    /// As [`Node::write_recording`](crate::Node::write_recording).
    ///
    /// # Errors
    /// When the node keeps no recording, or it can't be written.
    pub fn write_recording(&self) -> Result<PathBuf, RecordingError> {
        self.shared.write_recording()
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// As [`ask`](Host::ask) and [`Answer::wait`].
    pub fn request<M: Message, A: Message>(
        &self,
        to: QueueId<M>,
        deadline: Duration,
        message: impl FnOnce(ReplyTo<A>) -> M,
    ) -> Result<A, HostError> {
        self.ask(to, deadline, message)?.wait()
    }
}

/// An answer that is on its way. Dropping it stops waiting.
#[must_use = "the answer comes through this"]
pub struct Answer<A> {
    waiting: Arc<Waiting>,
    request: RequestId,
    of: PhantomData<fn() -> A>,
}

impl<A: Message> Answer<A> {
    /// Waits for the answer, at most until the request's deadline.
    ///
    /// # Errors
    /// Why there is none, or that it can't be decoded.
    pub fn wait(self) -> Result<A, HostError> {
        let mut open = self.waiting.lock();
        let outcome = loop {
            let Some(waiting) = open.get_mut(&self.request) else { unreachable!("it is open until this is dropped") };
            if let Some(outcome) = waiting.outcome.take() {
                break outcome;
            }
            let left = waiting.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(NoReply::Expired);
            }
            open = self.waiting.answered.wait_timeout(open, left).expect(LOCK_REASON).0;
        };
        drop(open);
        Answer::decode(outcome)
    }

    fn decode(outcome: Result<Vec<u8>, NoReply>) -> Result<A, HostError> {
        Ok(Codec::CURRENT.decode(&outcome?, Trust::Node)?)
    }
}

impl<A: Message> Future for Answer<A> {
    type Output = Result<A, HostError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Wakers are the program's code, and it doesn't run under the lock.
        let waker = cx.waker().clone();
        let mut open = self.waiting.lock();
        let waiting = open.get_mut(&self.request).expect("a wait is open until its answer is dropped");
        let (outcome, unused) = match waiting.outcome.take() {
            Some(outcome) => (Some(outcome), Some(waker)),
            None => (None, waiting.waker.replace(waker)),
        };
        drop(open);
        drop(unused);
        outcome.map_or(Poll::Pending, |outcome| Poll::Ready(Answer::decode(outcome)))
    }
}

impl<A> Drop for Answer<A> {
    fn drop(&mut self) {
        let open = self.waiting.lock().remove(&self.request);
        // With its waker, which is the program's.
        drop(open);
    }
}

//! What goes into queues: users' messages, and those of the library's own that FSMs take through `From`.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    id::{QueueId, RawQueueId, RequestId},
    time::Time,
};

/// What can be put into a queue: any value that serde can write and read back.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a message",
    label = "not a message",
    note = "derive `Serialize` and `Deserialize` for it; it must own its data (no references) and be `Send`"
)]
pub trait Message: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Message for T {}

/// The address to answer a request at. It goes inside the request's message, and [`Context::reply`] uses it up.
///
/// [`Context::reply`]: crate::Context::reply
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct ReplyTo<A> {
    queue: RawQueueId,
    request: RequestId,
    deadline: Time,
    answer: PhantomData<fn(A)>,
}

impl<A> ReplyTo<A> {
    pub(crate) fn new(queue: RawQueueId, request: RequestId, deadline: Time) -> ReplyTo<A> {
        ReplyTo { queue, request, deadline, answer: PhantomData }
    }

    /// The queue that waits for the answer.
    #[must_use]
    pub fn queue(&self) -> RawQueueId {
        self.queue
    }

    /// The request. With [`ReplyTo::queue`] it is unique in the node's life, and the same again after recovery: a
    /// service can tell by it what it has done already.
    #[must_use]
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// When the asker stops waiting.
    #[must_use]
    pub fn deadline(&self) -> Time {
        self.deadline
    }
}

impl<A> Clone for ReplyTo<A> {
    fn clone(&self) -> ReplyTo<A> {
        ReplyTo::new(self.queue, self.request, self.deadline)
    }
}

impl<A> PartialEq for ReplyTo<A> {
    fn eq(&self, other: &ReplyTo<A>) -> bool {
        (self.queue, self.request, self.deadline) == (other.queue, other.request, other.deadline)
    }
}

impl<A> Eq for ReplyTo<A> {}

impl<A> fmt::Debug for ReplyTo<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyTo({} #{})", self.queue, self.request.0)
    }
}

/// What came of a request. Every request has exactly one `Reply`, unless the asker cancelled it or is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply<A> {
    /// The request, as [`Context::request`](crate::Context::request) named it.
    pub request: RequestId,
    /// The answer, or why there is none.
    pub outcome: Result<A, NoReply>,
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum NoReply {
    /// The deadline passed first. The request may have been done all the same.
    #[error("the deadline passed before an answer came")]
    Expired,
    /// There is no such queue, or no longer.
    #[error("the queue that was asked is gone")]
    Gone,
    /// The queue's capacity was used up and its policy turned the request away.
    #[error("the queue that was asked is full")]
    Full,
    /// The node was restarted while the request was with a service, which does not ask twice. It may have been done.
    #[error("the node restarted while the request was under way; whether it was done is not known")]
    Interrupted,
    /// Who was asked could not make sense of the request.
    #[error("the request could not be understood by who was asked")]
    NotUnderstood,
    /// Who was asked said no or failed.
    #[error("the request failed")]
    Failed,
}

/// A monitored queue is gone, or can't be reached for now. See [`Context::monitor`](crate::Context::monitor).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Down {
    /// The queue.
    pub queue: RawQueueId,
    /// What became of it.
    pub reason: DownReason,
}

impl Down {
    /// True if this tells of that queue.
    #[must_use]
    pub fn is<M>(&self, queue: QueueId<M>) -> bool {
        self.queue == queue.raw()
    }
}

/// What became of a monitored queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum DownReason {
    /// Its FSM stopped, of itself or because it was told to.
    #[error("it stopped")]
    Stopped,
    /// Its FSM's handler panicked and its kind's policy is to stop.
    #[error("its handler panicked")]
    Panicked,
    /// It was gone already when the monitor was set, or never was.
    #[error("there is no such queue")]
    Unknown,
    /// A connection or listener closed; the text says why.
    #[error("closed: {0}")]
    Closed(String),
    /// It stood for something outside the node, which was restarted meanwhile.
    #[error("the node was restarted")]
    Restarted,
    /// It can't be reached for now. It may come back.
    #[error("it can't be reached for now")]
    Unreachable,
    /// One of its deliveries didn't end, whenever it was run, and it was stopped when the node came back.
    #[error("its handler didn't end, and it was stopped")]
    Poisoned,
}

/// A message that could not be delivered; FSMs that asked for them get these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Where it should have gone.
    pub to: RawQueueId,
    /// Who sent it.
    pub from: RawQueueId,
    /// The number of its message type in the node's table.
    pub type_number: u32,
    /// Why it was not delivered.
    pub why: Undelivered,
}

/// Why a message was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Undelivered {
    /// The queue is gone or never was.
    #[error("no such queue")]
    NoSuchQueue,
    /// The queue was full and its policy dropped this message.
    #[error("the queue was full")]
    Full,
    /// The receiver's message type isn't declared to accept this type.
    #[error("the receiver does not accept this type of message; declare it with `Kinds::accepts`")]
    NotAccepted,
    /// Its bytes make no value of its type.
    #[error("the bytes make no message of that type")]
    NotUnderstood,
    /// An answer to a request that is answered, expired or cancelled.
    #[error("nobody waits for this answer any more")]
    TooLate,
    /// The receiver's handler returned [`Next::Unhandled`](crate::Next::Unhandled).
    #[error("the receiver had no use for it in its state")]
    Unhandled,
    /// The receiver stopped with this message in its queue.
    #[error("the receiver stopped before it came to this message")]
    ReceiverStopped,
    /// The receiver had postponed as many messages as its queue's capacity allows.
    #[error("the receiver postponed too many messages")]
    PostponedTooMany,
    /// The message could not be encoded.
    #[error("the message can't be encoded")]
    NotEncodable,
    /// No message but an FSM that was spawned: its worker holds as many as its configuration allows.
    #[error("the worker holds as many FSMs as `fsms_max` allows")]
    TooManyFsms,
    /// Its handler didn't end, whenever it was run, and it was skipped when the node came back.
    #[error("its handler doesn't end, and it was skipped")]
    Skipped,
}

impl Undelivered {
    /// All reasons, in their order.
    pub(crate) const ALL: [Undelivered; 11] = [
        Undelivered::NoSuchQueue,
        Undelivered::Full,
        Undelivered::NotAccepted,
        Undelivered::NotUnderstood,
        Undelivered::TooLate,
        Undelivered::Unhandled,
        Undelivered::ReceiverStopped,
        Undelivered::PostponedTooMany,
        Undelivered::NotEncodable,
        Undelivered::TooManyFsms,
        Undelivered::Skipped,
    ];

    /// The reason in a word, as metrics have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Undelivered::NoSuchQueue => "no_such_queue",
            Undelivered::Full => "full",
            Undelivered::NotAccepted => "not_accepted",
            Undelivered::NotUnderstood => "not_understood",
            Undelivered::TooLate => "too_late",
            Undelivered::Unhandled => "unhandled",
            Undelivered::ReceiverStopped => "receiver_stopped",
            Undelivered::PostponedTooMany => "postponed_too_many",
            Undelivered::NotEncodable => "not_encodable",
            Undelivered::TooManyFsms => "too_many_fsms",
            Undelivered::Skipped => "skipped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_of_dead_letters_stand_at_their_numbers_and_have_names_of_their_own() {
        let numbers: Vec<_> = Undelivered::ALL.iter().map(|why| *why as usize).collect();
        assert_eq!(numbers, (0..Undelivered::ALL.len()).collect::<Vec<_>>());
        let names: std::collections::BTreeSet<_> = Undelivered::ALL.iter().map(|why| why.name()).collect();
        assert_eq!(names.len(), Undelivered::ALL.len());
    }
}

//! The bytes of a message at the perimeter. The same bytes are inbox, journal and wire.
//!
//! A frame is a header of variable-length integers and a payload; a [`Batch`] is frames one behind another, from one
//! source, numbered without gaps. A frame can have the header of the one before without spelling it again.
//! `docs/JOURNAL_FORMAT.md` has the layout. Reading trusts nothing: every length is checked against what is there before it
//! is used, and nothing here allocates while reading.

mod batch;
mod spelling;

pub use batch::{Batch, BatchRef, Frames, Run, Runs};
pub(crate) use spelling::{Spelled, Unput, put_varint, take_varint};

use crate::id::{EdgeId, NodeId, Place, RawQueueId, RequestId};

/// The longest payload of a frame, in bytes. Longer messages are a mistake of the sender's.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// What a frame asks of the worker that it enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Class {
    /// A message to a queue. `type_number` is the message type's.
    Message,
    /// The answer to a request of the target's. `type_number` is the answer's.
    Reply,
    /// A request of the target's will not be answered; the payload says why.
    Failed,
    /// Create an FSM; `type_number` is its kind's, the payload its start value. The answer to the request is its ID.
    Spawn,
    /// Stop the target.
    Stop,
    /// Tell the sender when the target is gone.
    Watch,
    /// The sender no longer wants to be told.
    Unwatch,
    /// The sender's queue is gone; the payload says why.
    Down,
    /// Bytes that an untrusted peer sent through the target, an edge's connection, make no message; the payload says
    /// why. The edge closes the connection.
    Refused,
    /// The answer to a [`Class::Spawn`]: the sender is the new FSM's queue. Where nobody waits for it any more, the FSM
    /// is stopped.
    Spawned,
}

impl Class {
    const fn to_bits(self) -> u8 {
        match self {
            Class::Message => 0,
            Class::Reply => 1,
            Class::Failed => 2,
            Class::Spawn => 3,
            Class::Stop => 4,
            Class::Watch => 5,
            Class::Unwatch => 6,
            Class::Down => 7,
            Class::Refused => 8,
            Class::Spawned => 9,
        }
    }

    const fn from_bits(bits: u8) -> Option<Class> {
        Some(match bits {
            0 => Class::Message,
            1 => Class::Reply,
            2 => Class::Failed,
            3 => Class::Spawn,
            4 => Class::Stop,
            5 => Class::Watch,
            6 => Class::Unwatch,
            7 => Class::Down,
            8 => Class::Refused,
            9 => Class::Spawned,
            _ => return None,
        })
    }
}

/// All of a frame but its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What is asked.
    pub class: Class,
    /// The payload was written by a peer that nobody vouches for: it may not contain queue IDs.
    pub untrusted: bool,
    /// The number of the payload's message type or kind, from the node's table; 0 where the class has none.
    pub type_number: u32,
    /// The target's slot in the worker or edge that the batch goes to.
    pub slot: u32,
    /// The target's generation.
    pub generation: u32,
    /// The queue of who sent it.
    pub sender: RawQueueId,
    /// The request that the frame makes or answers.
    pub request: Option<RequestId>,
}

impl Header {
    /// A message from `sender` to `target`.
    #[must_use]
    pub fn message(type_number: u32, target: RawQueueId, sender: RawQueueId) -> Header {
        Header::to(Class::Message, type_number, target, sender)
    }

    /// A trusted frame of any class, of no request.
    #[must_use]
    pub fn to(class: Class, type_number: u32, target: RawQueueId, sender: RawQueueId) -> Header {
        Header {
            class,
            untrusted: false,
            type_number,
            slot: target.slot(),
            generation: target.generation(),
            sender,
            request: None,
        }
    }
}

/// A frame where it lies, in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Who sends what to whom.
    pub header: Header,
    /// The message in the codec's bytes.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// What a frame of [`Class::Spawn`] carries: the number of the answer's message type and the start value's bytes. Nothing if it
    /// is of another class, or begins with no such number.
    #[must_use]
    pub fn spawned(&self) -> Option<(u32, &'a [u8])> {
        let mut start_value = self.payload;
        let answer = take_varint(&mut start_value).ok().filter(|_| self.header.class == Class::Spawn)?;
        Some((u32::try_from(answer).ok()?, start_value))
    }
}

/// Why bytes are not a frame, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("frame at byte {offset} of the batch: {reason}")]
pub struct FrameError {
    /// Where the frame starts, in bytes from the start of the batch's frames.
    pub offset: usize,
    /// What is wrong with it.
    pub reason: FrameFault,
}

/// What can be wrong with a frame's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameFault {
    /// It ends in the middle.
    #[error("cut short")]
    CutShort,
    /// A header number that is too large, or not written the shortest way.
    #[error("a number in the header is malformed")]
    BadNumber,
    /// A class or flag that this version doesn't know.
    #[error("unknown class or flags {0:#04x}")]
    UnknownClass(u8),
    /// More payload than any frame may have.
    #[error("payload of {0} bytes, and {max} is the most there may be", max = FRAME_PAYLOAD_BYTES_MAX)]
    TooLong(u64),
    /// It repeats the header of the frame before, and there is none that can be repeated.
    #[error("it repeats the header of the frame before, which is not there or made a request")]
    NothingToRepeat,
    /// The batch says another number of frames than it has.
    #[error("the batch has other than its {0} frames")]
    WrongCount(u32),
}

/// The queue that stands for an edge as a whole, as against one of its connections.
#[must_use]
pub fn edge_queue(node: NodeId, edge: EdgeId) -> RawQueueId {
    RawQueueId::new(node, Place::edge(edge), 0, 1)
}

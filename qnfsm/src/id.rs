//! Names: of queues, of the places that hold them, of requests and of epochs.
//!
//! A name is plain data. It never says how to reach what it names, so a queue can be local, on another thread, at an
//! edge, in a simulator or in a recording, and who sends cannot tell. Every kind of name is a type of its own.

use std::{fmt, hash, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::spelt::{TOO_LARGE, is_too_large, number};

/// The number that an operator gave a node; 0 for a node that stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct NodeId(pub u32);

/// A worker of a node. Numbers count from 0 in the order of start and are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub u32);

/// An edge of a node. The first few numbers are the library's own; see the constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EdgeId(pub u32);

impl EdgeId {
    /// The node itself: it starts workers on request and tells FSMs what became of the world.
    pub const NODE: EdgeId = EdgeId(0);
    /// The host program's handle.
    pub const HOST: EdgeId = EdgeId(1);
    /// What puts the node's first FSM in. It is asked again at every start, and numbers its one input the same.
    pub const BOOT: EdgeId = EdgeId(2);
    /// The first edge that the user adds; those that follow count up from here.
    pub const FIRST_OF_USER: EdgeId = EdgeId(8);
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

impl fmt::Display for EdgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

/// What holds queues and puts frames in: a worker or an edge, in one number (even: worker, odd: edge).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place(u32);

impl Place {
    /// The place of a worker.
    ///
    /// # Panics
    /// When the worker's number is 2^31 or more; a node gives out no such number.
    #[must_use]
    pub const fn worker(worker: WorkerId) -> Place {
        assert!(worker.0 < 1 << 31, "worker numbers stay below 2^31");
        Place(worker.0 << 1)
    }

    /// The place of an edge.
    ///
    /// # Panics
    /// When the edge's number is 2^31 or more; a node gives out no such number.
    #[must_use]
    pub const fn edge(edge: EdgeId) -> Place {
        assert!(edge.0 < 1 << 31, "edge numbers stay below 2^31");
        Place(edge.0 << 1 | 1)
    }

    /// The worker, if this place is one.
    #[must_use]
    pub const fn as_worker(self) -> Option<WorkerId> {
        if self.0 & 1 == 0 { Some(WorkerId(self.0 >> 1)) } else { None }
    }

    /// The edge, if this place is one.
    #[must_use]
    pub const fn as_edge(self) -> Option<EdgeId> {
        if self.0 & 1 == 1 { Some(EdgeId(self.0 >> 1)) } else { None }
    }

    /// The number that stands in frames and in the journal.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The place with that number. Every number is a place.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Place {
        Place(bits)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.as_worker(), self.as_edge()) {
            (Some(worker), _) => worker.fmt(f),
            (None, Some(edge)) => edge.fmt(f),
            (None, None) => unreachable!("a place is a worker or an edge"),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A queue's name without its message type.
///
/// `generation` tells the successors of one slot apart: a message to a queue that is gone never reaches the next
/// queue in the same slot. Shown as `w1/7.2`: slot 7 of worker 1, generation 2.
///
/// It is two words, so that it travels in two registers: every message carries one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawQueueId {
    /// The node in the high half, the place there in the low one.
    holder: u64,
    /// The slot in the high half, the generation in the low one.
    seat: u64,
}

impl RawQueueId {
    /// The queue of that `generation`, counting from 1, in a slot of a worker or edge of a node.
    #[must_use]
    #[inline]
    pub const fn new(node: NodeId, place: Place, slot: u32, generation: u32) -> RawQueueId {
        RawQueueId { holder: join(node.0, place.0), seat: join(slot, generation) }
    }

    /// The node that holds the queue.
    #[must_use]
    #[inline]
    pub const fn node(self) -> NodeId {
        NodeId(high(self.holder))
    }

    /// The worker or edge that holds the queue.
    #[must_use]
    #[inline]
    pub const fn place(self) -> Place {
        Place(low(self.holder))
    }

    /// The queue's slot there.
    #[must_use]
    #[inline]
    pub const fn slot(self) -> u32 {
        high(self.seat)
    }

    /// Which of the slot's queues, counting from 1.
    #[must_use]
    #[inline]
    pub const fn generation(self) -> u32 {
        low(self.seat)
    }

    /// Slot and generation in one number.
    #[inline]
    pub(crate) const fn seat_bits(self) -> u64 {
        self.seat
    }

    /// The slot and generation of such a number.
    pub(crate) const fn seat_of_bits(bits: u64) -> (u32, u32) {
        (high(bits), low(bits))
    }
}

const fn join(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the other half is wanted")]
const fn low(word: u64) -> u32 {
    word as u32
}

impl fmt::Display for RawQueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.node() != NodeId(0) {
            write!(f, "n{}:", self.node().0)?;
        }
        write!(f, "{}/{}.{}", self.place(), self.slot(), self.generation())
    }
}

/// Why a text is no queue's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {}", if *.is_too_large { TOO_LARGE } else { "is no queue; give it as it is shown, such as w0/7.1: slot 7 of worker 0, generation 1" })]
pub struct QueueNameError {
    text: String,
    is_too_large: bool,
}

/// As it is shown.
///
/// ```
/// use qnfsm::RawQueueId;
///
/// for name in ["w0/7.1", "e8/2.65537", "n3:w1/0.1"] {
///     assert_eq!(name.parse::<RawQueueId>()?.to_string(), name);
/// }
/// assert!("w0/7".parse::<RawQueueId>().is_err());
/// # Ok::<(), qnfsm::QueueNameError>(())
/// ```
impl std::str::FromStr for RawQueueId {
    type Err = QueueNameError;

    fn from_str(text: &str) -> Result<RawQueueId, QueueNameError> {
        let place = |text: &str| -> Option<Place> {
            let (is_edge, digits) = match (text.strip_prefix('w'), text.strip_prefix('e')) {
                (Some(digits), _) => (0, digits),
                (_, Some(digits)) => (1, digits),
                _ => return None,
            };
            number(digits)
                .filter(|number: &u32| *number < 1 << 31)
                .map(|number| Place::from_bits(number << 1 | is_edge))
        };
        let queue = |text: &str| {
            let (node, rest) = text.strip_prefix('n').map_or(Some(("0", text)), |text| text.split_once(':'))?;
            let (holder, seat) = rest.split_once('/')?;
            let (slot, generation) = seat.split_once('.')?;
            Some(RawQueueId::new(NodeId(number(node)?), place(holder)?, number(slot)?, number(generation)?))
        };
        queue(text).ok_or_else(|| {
            let is_too_large = is_too_large(text, |smaller| queue(smaller).is_some());
            QueueNameError { text: text.to_owned(), is_too_large }
        })
    }
}

impl fmt::Debug for RawQueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name under which serde sees every queue ID. The codec looks for it: bytes from an untrusted peer may not
/// contain one.
pub(crate) const QUEUE_ID_SERDE_NAME: &str = "QueueId";

impl Serialize for RawQueueId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(
            QUEUE_ID_SERDE_NAME,
            &(self.node().0, self.place().to_bits(), self.slot(), self.generation()),
        )
    }
}

impl<'de> Deserialize<'de> for RawQueueId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawQueueId, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = RawQueueId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a queue ID")
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawQueueId, D::Error> {
                let (node, place, slot, generation) = <(u32, u32, u32, u32)>::deserialize(deserializer)?;
                Ok(RawQueueId::new(NodeId(node), Place::from_bits(place), slot, generation))
            }
        }
        deserializer.deserialize_newtype_struct(QUEUE_ID_SERDE_NAME, Visitor)
    }
}

/// The name of a queue that takes messages of type `M`.
///
/// It is `Copy`, can be sent in messages and kept in an FSM's state.
pub struct QueueId<M> {
    raw: RawQueueId,
    takes: PhantomData<fn(M)>,
}

impl<M> QueueId<M> {
    /// Names a queue by hand. The caller vouches that it takes `M`; a message of a type that the queue doesn't take
    /// becomes a dead letter, never a wrong value.
    #[must_use]
    pub const fn from_raw(raw: RawQueueId) -> QueueId<M> {
        QueueId { raw, takes: PhantomData }
    }

    /// The name without the type.
    #[must_use]
    pub const fn raw(self) -> RawQueueId {
        self.raw
    }

    /// The same queue for a sender that knows only `R`, of which the receiver's message type is made with `From`.
    /// The receiver's kinds declare it with [`Kinds::accepts`](crate::Kinds::accepts).
    #[must_use]
    pub fn narrow<R>(self) -> QueueId<R>
    where
        M: From<R>,
    {
        QueueId::from_raw(self.raw)
    }
}

impl<M> Clone for QueueId<M> {
    fn clone(&self) -> QueueId<M> {
        *self
    }
}
impl<M> Copy for QueueId<M> {}
impl<M> PartialEq for QueueId<M> {
    fn eq(&self, other: &QueueId<M>) -> bool {
        self.raw == other.raw
    }
}
impl<M> Eq for QueueId<M> {}
impl<M> PartialOrd for QueueId<M> {
    fn partial_cmp(&self, other: &QueueId<M>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<M> Ord for QueueId<M> {
    fn cmp(&self, other: &QueueId<M>) -> std::cmp::Ordering {
        self.raw.cmp(&other.raw)
    }
}
impl<M> hash::Hash for QueueId<M> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
    }
}
impl<M> fmt::Display for QueueId<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}
impl<M> fmt::Debug for QueueId<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}
impl<M> Serialize for QueueId<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}
impl<'de, M> Deserialize<'de> for QueueId<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<QueueId<M>, D::Error> {
        RawQueueId::deserialize(deserializer).map(QueueId::from_raw)
    }
}

/// A request of one FSM, unique for that FSM, the same again after recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// Which start of a node: 1 for the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch of a node's first start.
    pub const FIRST: Epoch = Epoch(1);
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

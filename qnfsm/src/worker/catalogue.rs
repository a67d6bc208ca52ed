//! The numbered table of a program's kinds and message types: what the worker knows of users' types.
//!
//! Everything that depends on a user's type is reached from here through functions that were made when the type was
//! registered ([`Kinds`](super::Kinds)); the rest of the worker knows numbers only.

use std::{any::TypeId, collections::BTreeMap, sync::Arc};

use crate::{
    codec::{DecodeError, EncodeError, Trust},
    fsm::{AnyPool, MessageRef, OldMessage, OnPanic, Pool, Pools, QueuePolicy, Resources, TypeNumbers, UpgradeError},
    id::{RawQueueId, RequestId},
    message::{Message, NoReply},
    worker::{cell::AnyCell, kinds::SchemaOf, table::Table},
};

/// Makes a pool of messages or start values.
pub(super) type NewPool = fn() -> Box<dyn AnyPool>;
/// Makes a cell of a start value in the nursery of its kind, which has that number.
type Hatch = fn(&mut Pools, u32, MessageRef, CellSetup) -> Result<Box<dyn AnyCell>, EncodeError>;
/// Makes a cell of bytes.
type Revive = fn(&[u8], CellSetup) -> Result<Box<dyn AnyCell>, DecodeError>;

/// Makes a cell's bytes of those that a program with another table wrote, whose kind had that version; `None` if the FSM's own
/// form is the same.
type CarryOver = fn(&[u8], Option<u32>, CellSetup) -> Result<Vec<u8>, UpgradeError>;
/// Makes an encoded start value of one that a version wrote.
type UpgradeStart = fn(&[u8], u32) -> Result<Vec<u8>, UpgradeError>;
/// Makes an encoded message of one that a version wrote.
pub(super) type UpgradeMessage = Arc<dyn Fn(OldMessage<'_>) -> Result<Vec<u8>, UpgradeError> + Send + Sync>;

pub(super) fn new_pool<M: Message>() -> Box<dyn AnyPool> {
    Box::new(Pool::<M>::new())
}

/// What is known of one kind.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) type_id: TypeId,
    pub(super) rust_name: &'static str,
    pub(super) message_type: TypeId,
    /// How its queues take messages.
    pub(super) intake: Intake,
    pub(super) queue: QueuePolicy,
    pub(super) on_panic: OnPanic,
    pub(super) message_bytes: usize,
    pub(super) new_nursery: NewPool,
    pub(super) value_schema: SchemaOf,
    pub(super) state_schema: SchemaOf,
    /// Makes the cell of a start value in the kind's nursery.
    pub(super) hatch: Hatch,
    /// Makes the cell of an encoded start value.
    pub(super) decode: Revive,
    /// Makes the cell that a snapshot holds.
    pub(super) restore: Revive,
    pub(super) version: u32,
    pub(super) carry_over: CarryOver,
    pub(super) upgrade_start: UpgradeStart,
    /// Which messages stand for one another where its queue coalesces.
    pub(super) coalesce_key: fn(&Pools, u32, MessageRef) -> Option<u64>,
}

/// How the queues of a kind take messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intake {
    /// The number of its message type.
    pub(super) message: u32,
    /// That number, if no message of the type holds more than its own size. Otherwise messages are measured.
    pub(super) plain: u32,
    /// How many messages may wait.
    pub(super) capacity: u32,
    /// What each weighs at least: its room in a pool and in a queue.
    pub(super) bytes: u32,
}

/// The number of no message type.
pub(super) const NO_TYPE: u32 = u32::MAX;

impl Intake {
    /// Of no queue.
    pub(super) const NONE: Intake = Intake { message: NO_TYPE, plain: NO_TYPE, capacity: 0, bytes: 0 };

    fn measures(&self) -> bool {
        self.plain == NO_TYPE
    }

    /// What a message that came from the FSMs here weighs.
    #[inline]
    pub(super) fn weigh(&self, pools: &Pools, message: MessageRef) -> u32 {
        if self.measures() { self.with(pools.see(self.message).encoded_bytes(message)) } else { self.bytes }
    }

    /// What a message of the own type that came in a frame weighs.
    #[inline]
    pub(super) fn weigh_frame(&self, payload_len: usize) -> u32 {
        if self.measures() { self.with(payload_len as u64) } else { self.bytes }
    }

    fn with(&self, beyond: u64) -> u32 {
        self.bytes.saturating_add(u32::try_from(beyond).unwrap_or(u32::MAX))
    }
}

/// What a new cell needs beside its FSM.
#[derive(Debug, Clone, Copy)]
pub(super) struct CellSetup {
    pub(super) queue: RawQueueId,
    pub(super) message: u32,
    pub(super) seed: u64,
}

impl Kind {
    /// What a cell of this kind is set up with.
    pub(super) fn setup(&self, queue: RawQueueId, seed: u64) -> CellSetup {
        CellSetup { queue, message: self.intake.message, seed }
    }
}

/// What is known of one message type.
#[derive(Clone)]
pub(super) struct MessageType {
    pub(super) type_id: TypeId,
    pub(super) rust_name: &'static str,
    pub(super) new_pool: NewPool,
    pub(super) schema: SchemaOf,
    pub(super) version: u32,
    pub(super) upgrade: Option<UpgradeMessage>,
}

/// How a queue of one message type takes a message of another: from the one's pool into the other's, or from bytes into
/// the other's.
#[derive(Clone, Copy)]
pub(super) struct Accept {
    pub(super) take: fn(&mut Pools, Convert, MessageRef) -> MessageRef,
    pub(super) decode: fn(&mut Pools, Convert, &[u8], Trust) -> Result<MessageRef, DecodeError>,
}

/// How a queue takes an answer, or that there is none.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) take: fn(&mut Pools, Convert, MessageRef, RequestId) -> MessageRef,
    pub(super) decode: fn(&mut Pools, Convert, &[u8], RequestId) -> Result<MessageRef, DecodeError>,
    pub(super) fail: fn(&mut Pools, Convert, RequestId, NoReply) -> MessageRef,
}

/// The numbers of the type that comes and of the queue's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convert {
    pub(super) from: u32,
    pub(super) to: u32,
}

/// The checked table of a program's kinds and message types, each with its number.
pub struct Catalogue {
    /// None, where a journal's program had one and this one doesn't; here and of the message types.
    pub(super) kinds: Vec<Option<Kind>>,
    pub(super) messages: Vec<Option<MessageType>>,
    /// By the numbers of the queue's message type and the type taken.
    pub(super) accepts: BTreeMap<(u32, u32), Accept>,
    pub(super) answers: BTreeMap<(u32, u32), Answer>,
    pub(super) numbers: Arc<TypeNumbers>,
    pub(super) table: Table,
    pub(super) resources: Resources,
}

impl std::fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.kinds.iter().flatten().map(|kind| kind.name)).finish()
    }
}

impl Catalogue {
    pub(crate) fn numbers(&self) -> &Arc<TypeNumbers> {
        &self.numbers
    }

    /// The number of a message type.
    #[must_use]
    pub fn type_number<M: Message>(&self) -> Option<u32> {
        self.numbers.message::<M>()
    }

    /// Names and schemas, as the journal's header carries them.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Types that could not be traced: what they are, such as `message type bank::Order`, and why and what to do about
    /// it. They work; but their values are shown in hex, and a change of one is seen only where values of it could be
    /// made.
    pub fn opaque(&self) -> impl Iterator<Item = (String, &str)> {
        self.table.opaque()
    }

    /// The name of a message type.
    #[must_use]
    pub fn message_name(&self, type_number: u32) -> &str {
        self.table.messages.get(type_number as usize).map_or("unknown message type", |message| &message.name)
    }

    /// The name of a kind.
    #[must_use]
    pub fn kind_name(&self, kind: u32) -> &str {
        self.table.kinds.get(kind as usize).map_or("unknown kind", |kind| &kind.name)
    }

    /// The bytes of what a queue of message type `to` makes of a message of type `from` that it is sent; none, if such queues take in no
    /// such messages or `bytes` are none.
    #[must_use]
    pub fn taken_in(&self, bytes: &[u8], from: u32, to: u32) -> Option<Vec<u8>> {
        let (mut pools, convert) = (self.new_pools(), Convert { from, to });
        let accept = self.accept(convert)?;
        let message = (accept.decode)(&mut pools, convert, bytes, Trust::Node).ok()?;
        let mut taken_in = Vec::new();
        let encoded = pools.see(to).encode(message, &mut taken_in);
        pools.any(to).discard(message);
        encoded.ok().map(|()| taken_in)
    }

    pub(super) fn message_type(&self, number: u32) -> Option<&MessageType> {
        self.messages.get(number as usize)?.as_ref()
    }

    pub(super) fn kind(&self, kind: u32) -> Option<&Kind> {
        self.kinds.get(kind as usize)?.as_ref()
    }

    pub(super) fn new_pools(&self) -> Pools {
        let new_pool =
            |message: &Option<MessageType>| message.as_ref().map_or(new_pool::<()> as NewPool, |it| it.new_pool)();
        Pools::new(self.messages.iter().map(new_pool).collect())
    }

    pub(super) fn new_nurseries(&self) -> Pools {
        let new_nursery = |kind: &Option<Kind>| kind.as_ref().map_or(new_pool::<()> as NewPool, |it| it.new_nursery)();
        Pools::new(self.kinds.iter().map(new_nursery).collect())
    }

    /// How queues of one message type take another.
    pub(super) fn accept(&self, of: Convert) -> Option<&Accept> {
        self.accepts.get(&(of.to, of.from))
    }

    /// How queues of one message type take answers of another.
    pub(super) fn answer(&self, of: Convert) -> Option<&Answer> {
        self.answers.get(&(of.to, of.from))
    }
}

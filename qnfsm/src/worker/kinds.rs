//! The kinds that a program has: what it registers ([`Kinds`]) and the checked, numbered table of it ([`Catalogue`]).
//!
//! Everything that depends on a user's type is reached from here through functions that were made when the type was
//! registered; the rest of the worker knows numbers only.

use std::{
    any::{Any, TypeId, type_name},
    collections::BTreeMap,
    sync::Arc,
};

use crate::{
    codec::{Codec, DecodeError, EncodeError, Trust},
    fsm::{AnyPool, Fsm, MessageRef, OnPanic, Overflow, Pool, Pools, TypeNumbers},
    id::{RawQueueId, RequestId, WorkerId},
    message::{DeadLetter, Down, Message, NoReply, Reply},
    name,
    schema::{Schema, SchemaError},
    worker::{
        cell::AnyCell,
        queue::ENVELOPE_BYTES,
        table::{Table, TableKind, TableMessage, TableSchema},
        typed_cell::Cell,
    },
};

/// The kinds of FSM that a program has, and what their messages accept.
///
/// A program has one function that names them all. Its main, its replays and its tests call the same function.
///
/// ```
/// # use qnfsm::{Context, Down, Fsm, Kinds, Next};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Lobby;
/// # #[derive(Serialize, Deserialize)] enum LobbyMessage { Left(Down) }
/// # impl From<Down> for LobbyMessage { fn from(down: Down) -> LobbyMessage { LobbyMessage::Left(down) } }
/// # impl Fsm for Lobby {
/// #     const NAME: &'static str = "lobby";
/// #     type State = ();
/// #     type Message = LobbyMessage;
/// #     fn start(&mut self, _: &mut Context<'_, Self>) {}
/// #     fn handle(&mut self, _: (), _: LobbyMessage, _: &mut Context<'_, Self>) -> Next<Self> { Next::Stay }
/// # }
/// fn kinds() -> Kinds {
///     Kinds::new().with::<Lobby>().accepts::<LobbyMessage, Down>()
/// }
/// # kinds().seal().unwrap();
/// ```
pub struct Kinds {
    kinds: Vec<Kind>,
    messages: Vec<MessageType>,
    accepts: Vec<((TypeId, TypeId), Accept)>,
    answers: Vec<((TypeId, TypeId), Answer)>,
    samples: Samples,
    named: Vec<(TypeId, &'static str)>,
    error: Option<KindsError>,
}

/// Values that the user gave for types that can't be traced, by type; each is a `Vec` of them.
type Samples = BTreeMap<TypeId, Box<dyn Any + Send + Sync>>;

/// What is wrong with the kinds of a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KindsError {
    /// A name that nobody could read.
    #[error("{of} {why}")]
    Name {
        /// Which name, of what.
        of: String,
        /// What it is about the name, and what to do.
        why: &'static str,
    },
    /// Two kinds of one name.
    #[error("two kinds are named \"{name}\": {first} and {second}; a kind's NAME must be its own")]
    KindTwice {
        /// The name.
        name: &'static str,
        /// The Rust type registered first.
        first: &'static str,
        /// The other one.
        second: &'static str,
    },
    /// Two message types of one name.
    #[error(
        "two message types are named \"{name}\": {first} and {second}; name one of them with `Kinds::message_named`"
    )]
    MessageTwice {
        /// The name.
        name: String,
        /// The Rust type registered first.
        first: &'static str,
        /// The other one.
        second: &'static str,
    },
    /// A type that the codec can't carry.
    #[error("{place}: {source}")]
    Schema {
        /// Which kind or message type, and what of it.
        place: String,
        /// What it is about the type.
        source: SchemaError,
    },
}

/// Makes a cell of a start value in the nursery of its kind, which has that number.
type Hatch = fn(&mut Pools, u32, MessageRef, CellSetup) -> Result<Box<dyn AnyCell>, EncodeError>;
/// Makes a cell of bytes.
type Revive = fn(&[u8], CellSetup) -> Result<Box<dyn AnyCell>, DecodeError>;

/// What is known of one kind.
pub(super) struct Kind {
    pub(super) name: &'static str,
    type_id: TypeId,
    rust_name: &'static str,
    message_type: TypeId,
    /// How its queues take messages.
    pub(super) intake: Intake,
    pub(super) overflow: Overflow,
    pub(super) on_panic: OnPanic,
    message_bytes: usize,
    new_nursery: fn() -> Box<dyn AnyPool>,
    value_schema: SchemaOf,
    state_schema: SchemaOf,
    /// Makes the cell of a start value in the kind's nursery.
    pub(super) hatch: Hatch,
    /// Makes the cell of an encoded start value.
    pub(super) decode: Revive,
    /// Makes the cell that a snapshot holds.
    pub(super) restore: Revive,
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
const NO_TYPE: u32 = u32::MAX;

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

struct MessageType {
    type_id: TypeId,
    rust_name: &'static str,
    new_pool: fn() -> Box<dyn AnyPool>,
    schema: SchemaOf,
}

type SchemaOf = fn(&Samples) -> Result<Schema, SchemaError>;

fn schema_of<T: Message>(samples: &Samples) -> Result<Schema, SchemaError> {
    let samples = samples.get(&TypeId::of::<T>()).and_then(|of| of.downcast_ref::<Vec<T>>());
    Schema::of::<T>(samples.map_or(&[] as &[T], Vec::as_slice))
}

fn new_pool<M: Message>() -> Box<dyn AnyPool> {
    Box::new(Pool::<M>::new())
}

/// How a queue of one message type takes a message of another: from the one's pool into the other's, or from bytes into
/// the other's.
pub(super) struct Accept {
    pub(super) take: fn(&mut Pools, Convert, MessageRef) -> MessageRef,
    pub(super) decode: fn(&mut Pools, Convert, &[u8], Trust) -> Result<MessageRef, DecodeError>,
}

/// How a queue takes an answer, or that there is none.
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

impl Default for Kinds {
    fn default() -> Kinds {
        Kinds::new()
    }
}

impl Kinds {
    /// No kinds; the library's own message types are always there.
    #[must_use]
    pub fn new() -> Kinds {
        let mut kinds = Kinds {
            kinds: Vec::new(),
            messages: Vec::new(),
            accepts: Vec::new(),
            answers: Vec::new(),
            samples: Samples::new(),
            named: Vec::new(),
            error: None,
        };
        kinds.add_message::<Down>();
        kinds.add_message::<DeadLetter>();
        kinds.add_message::<WorkerId>();
        kinds.add_message::<crate::node_request::NodeRequest>();
        kinds
    }

    /// Registers a kind and its message type.
    #[must_use]
    pub fn with<F: Fsm>(mut self) -> Kinds {
        if let Some(why) = name::refusal(F::NAME) {
            let of = format!("the NAME {:?} of kind {}", F::NAME, type_name::<F>());
            self.error.get_or_insert(KindsError::Name { of, why });
            return self;
        }
        if let Some(first) = self.kinds.iter().find(|kind| kind.name == F::NAME) {
            let (name, first, second) = (F::NAME, first.rust_name, type_name::<F>());
            self.error.get_or_insert(KindsError::KindTwice { name, first, second });
            return self;
        }
        self.add_message::<F::Message>();
        self.kinds.push(Kind {
            name: F::NAME,
            type_id: TypeId::of::<F>(),
            rust_name: type_name::<F>(),
            message_type: TypeId::of::<F::Message>(),
            intake: Intake { capacity: F::QUEUE.capacity, ..Intake::NONE },
            overflow: F::QUEUE.overflow,
            on_panic: F::ON_PANIC,
            message_bytes: size_of::<F::Message>(),
            new_nursery: new_pool::<F>,
            value_schema: schema_of::<F>,
            state_schema: schema_of::<F::State>,
            hatch: |nurseries, kind, value, setup| Cell::<F>::boxed(nurseries.of(kind).take(value), setup),
            decode: |bytes, setup| Cell::<F>::decode_start(bytes, setup),
            restore: |bytes, setup| Cell::<F>::restore(bytes, setup),
            coalesce_key: |pools, of, message| F::coalesce_key(pools.message(of, message)),
        });
        self
    }

    /// Declares that queues of `M` take messages of type `R`, through `From`.
    #[must_use]
    pub fn accepts<M: Message + From<R>, R: Message>(mut self) -> Kinds {
        self.add_message::<M>();
        self.add_message::<R>();
        let accept = Accept {
            take: |pools, of, message| {
                let message = pools.of::<R>(of.from).take(message);
                pools.of::<M>(of.to).put(M::from(message))
            },
            decode: |pools, of, bytes, trust| {
                let message = Codec::CURRENT.decode::<R>(bytes, trust)?;
                Ok(pools.of::<M>(of.to).put(M::from(message)))
            },
        };
        self.accepts.push(((TypeId::of::<M>(), TypeId::of::<R>()), accept));
        self
    }

    /// Declares that FSMs with messages of type `M` make requests that are answered with an `A`.
    #[must_use]
    pub fn replies<M: Message + From<Reply<A>>, A: Message>(mut self) -> Kinds {
        self.add_message::<M>();
        self.add_message::<A>();
        let answer = Answer {
            take: |pools, of, answer, request| {
                let outcome = Ok(pools.of::<A>(of.from).take(answer));
                pools.of::<M>(of.to).put(M::from(Reply { request, outcome }))
            },
            decode: |pools, of, bytes, request| {
                let outcome = Ok(Codec::CURRENT.decode::<A>(bytes, Trust::Node)?);
                Ok(pools.of::<M>(of.to).put(M::from(Reply { request, outcome })))
            },
            fail: |pools, of, request, why| {
                let outcome: Result<A, _> = Err(why);
                pools.of::<M>(of.to).put(M::from(Reply { request, outcome }))
            },
        };
        self.answers.push(((TypeId::of::<M>(), TypeId::of::<A>()), answer));
        self
    }

    /// Registers a message type that only crosses the perimeter: one that edges or the host program send or get.
    /// Registering a type again changes nothing.
    #[must_use]
    pub fn message<M: Message>(mut self) -> Kinds {
        self.add_message::<M>();
        self
    }

    /// Gives a message type the name that it has in journals, in place of its Rust path: for types that may be moved.
    #[must_use]
    pub fn message_named<M: Message>(mut self, name: &'static str) -> Kinds {
        if let Some(why) = name::refusal(name) {
            let of = format!("the name {name:?} of message type {}", type_name::<M>());
            self.error.get_or_insert(KindsError::Name { of, why });
        }
        self.add_message::<M>();
        self.named.push((TypeId::of::<M>(), name));
        self
    }

    /// Gives an example of a type that can't be traced from its derives alone (`NonZeroU32`, types that check their
    /// values), so that the journal can name its fields.
    #[must_use]
    pub fn sample<T: Message + Sync>(mut self, value: T) -> Kinds {
        let samples = self.samples.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(Vec::<T>::new()));
        samples.downcast_mut::<Vec<T>>().expect("samples are kept by their type").push(value);
        self
    }

    fn add_message<M: Message>(&mut self) {
        if self.messages.iter().all(|message| message.type_id != TypeId::of::<M>()) {
            self.messages.push(MessageType {
                type_id: TypeId::of::<M>(),
                rust_name: type_name::<M>(),
                new_pool: new_pool::<M>,
                schema: schema_of::<M>,
            });
        }
    }

    /// Checks and numbers what was registered. What it warns of, [`Catalogue::opaque`] lists.
    ///
    /// # Errors
    /// When a name is empty, can't be printed or stands twice, or a type doesn't survive the codec.
    pub fn seal(mut self) -> Result<Arc<Catalogue>, KindsError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let mut table = Table { messages: Vec::new(), kinds: Vec::new() };
        let mut bytes_max = Vec::new();
        for message in &self.messages {
            let named = self.named.iter().find(|(of, _)| *of == message.type_id).map(|(_, name)| *name);
            let name = named.unwrap_or(message.rust_name).to_owned();
            if let Some(at) = table.messages.iter().position(|other| other.name == name) {
                let (first, second) = (self.messages[at].rust_name, message.rust_name);
                return Err(KindsError::MessageTwice { name, first, second });
            }
            let schema = (message.schema)(&self.samples)
                .map_err(|source| KindsError::Schema { place: format!("message type {name}"), source })?;
            bytes_max.push(schema.encoded_bytes_max());
            table.messages.push(TableMessage { name, schema: TableSchema::new(&schema) });
        }
        let messages = &self.messages;
        let number_of = |type_id| {
            let at = messages.iter().position(|message| message.type_id == type_id);
            u32::try_from(at.expect("every type that is named was added")).expect("a program has few message types")
        };
        for kind in &mut self.kinds {
            kind.intake.message = number_of(kind.message_type);
            kind.intake.bytes = u32::try_from(ENVELOPE_BYTES + kind.message_bytes).unwrap_or(u32::MAX);
            // An encoded integer may be a byte longer than in memory; what is longer by far lies elsewhere.
            let encoded_bytes_max: Option<u64> = bytes_max[kind.intake.message as usize];
            if encoded_bytes_max.is_some_and(|max| max <= 2 * kind.message_bytes as u64) {
                kind.intake.plain = kind.intake.message;
            }
            let schema = |of: SchemaOf, what: &str| {
                of(&self.samples)
                    .map_err(|source| KindsError::Schema { place: format!("{what} of kind {}", kind.name), source })
            };
            table.kinds.push(TableKind {
                name: kind.name.to_owned(),
                message: kind.intake.message,
                value: TableSchema::new(&schema(kind.value_schema, "data")?),
                state: TableSchema::new(&schema(kind.state_schema, "state")?),
            });
        }
        let by_number = |(of, takes)| (number_of(of), number_of(takes));
        let accepts: BTreeMap<_, _> = self.accepts.into_iter().map(|(types, how)| (by_number(types), how)).collect();
        let answers: BTreeMap<_, _> = self.answers.into_iter().map(|(types, how)| (by_number(types), how)).collect();
        let message_types: Vec<_> = self.messages.iter().map(|message| message.type_id).collect();
        let kind_types: Vec<_> = self.kinds.iter().map(|kind| kind.type_id).collect();
        let (accepted, answered) = (accepts.keys().copied().collect(), answers.keys().copied().collect());
        let numbers = Arc::new(TypeNumbers::new(&message_types, &kind_types, accepted, answered));
        let catalogue = Catalogue { kinds: self.kinds, messages: self.messages, accepts, answers, numbers, table };
        for (of, why) in catalogue.opaque() {
            tracing::warn!(%of, %why, "a type is opaque: its values are shown in hex, and not every change of it is seen");
        }
        Ok(Arc::new(catalogue))
    }
}

/// The checked table of a program's kinds and message types, each with its number.
pub struct Catalogue {
    kinds: Vec<Kind>,
    messages: Vec<MessageType>,
    /// By the numbers of the queue's message type and the type taken.
    accepts: BTreeMap<(u32, u32), Accept>,
    answers: BTreeMap<(u32, u32), Answer>,
    numbers: Arc<TypeNumbers>,
    table: Table,
}

impl std::fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.kinds.iter().map(|kind| kind.name)).finish()
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
        let messages = self.table.messages.iter().map(|it| (&it.schema, "message type", &it.name));
        let kinds = self.table.kinds.iter();
        let kinds =
            kinds.flat_map(|it| [(&it.value, "data of kind", &it.name), (&it.state, "state of kind", &it.name)]);
        messages
            .chain(kinds)
            .filter_map(|(schema, what, name)| Some((format!("{what} {name}"), schema.opaque.as_deref()?)))
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

    pub(super) fn kind(&self, kind: u32) -> Option<&Kind> {
        self.kinds.get(kind as usize)
    }

    pub(super) fn new_pools(&self) -> Pools {
        Pools::new(self.messages.iter().map(|message| (message.new_pool)()).collect())
    }

    pub(super) fn new_nurseries(&self) -> Pools {
        Pools::new(self.kinds.iter().map(|kind| (kind.new_nursery)()).collect())
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

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
    fsm::{AnyOutbox, Fsm, Outbox, TypeNumbers},
    id::{RawQueueId, RequestId, WorkerId},
    message::{DeadLetter, Down, Message, NoReply, Reply},
    name,
    schema::{Schema, SchemaError},
    worker::{
        cell::AnyCell,
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
    accepts: Vec<Acceptor>,
    answers: Vec<Acceptor>,
    samples: Samples,
    named: Vec<(TypeId, &'static str)>,
    error: Option<KindsError>,
}

/// The message type of a queue, the type that it takes, and the [`Accept`] or [`Answer`] that does it.
type Acceptor = (TypeId, TypeId, Box<dyn Any + Send + Sync>);

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

/// Makes a cell of the start value at the front of an outbox.
type Hatch = fn(&mut dyn AnyOutbox, CellSetup) -> Result<Box<dyn AnyCell>, EncodeError>;
/// Makes a cell of bytes.
type Revive = fn(&[u8], CellSetup) -> Result<Box<dyn AnyCell>, DecodeError>;

/// What is known of one kind.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    type_id: TypeId,
    rust_name: &'static str,
    message_type: TypeId,
    /// The number of its message type.
    pub(crate) message: u32,
    /// Its messages may hold more than their own size.
    measures: bool,
    message_bytes: usize,
    new_nursery: fn() -> Box<dyn AnyOutbox>,
    value_schema: SchemaOf,
    state_schema: SchemaOf,
    /// Makes the cell of the start value at the front of the kind's nursery.
    pub(crate) hatch: Hatch,
    /// Makes the cell of an encoded start value.
    pub(crate) decode: Revive,
    /// Makes the cell that a snapshot holds.
    pub(crate) restore: Revive,
}

/// What a new cell needs beside its FSM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CellSetup {
    pub(crate) queue: RawQueueId,
    pub(crate) kind: u32,
    pub(crate) message: u32,
    /// The kind's messages may hold more than their own size.
    pub(crate) measures: bool,
    pub(crate) seed: u64,
}

impl Kind {
    /// What a cell of this kind, which has that number, is set up with.
    pub(crate) fn setup(&self, kind: u32, queue: RawQueueId, seed: u64) -> CellSetup {
        CellSetup { queue, kind, message: self.message, measures: self.measures, seed }
    }
}

struct MessageType {
    type_id: TypeId,
    rust_name: &'static str,
    new_outbox: fn() -> Box<dyn AnyOutbox>,
    schema: SchemaOf,
}

type SchemaOf = fn(&Samples) -> Result<Schema, SchemaError>;

fn schema_of<T: Message>(samples: &Samples) -> Result<Schema, SchemaError> {
    let samples = samples.get(&TypeId::of::<T>()).and_then(|of| of.downcast_ref::<Vec<T>>());
    Schema::of::<T>(samples.map_or(&[] as &[T], Vec::as_slice))
}

fn new_outbox<M: Message>() -> Box<dyn AnyOutbox> {
    Box::new(Outbox::<M>::new())
}

/// How a queue of `M` takes a message of another type.
pub(crate) struct Accept<M> {
    pub(crate) take: fn(&mut dyn AnyOutbox) -> M,
    pub(crate) decode: fn(&[u8], Trust) -> Result<M, DecodeError>,
}

/// How a queue of `M` takes an answer, or that there is none.
pub(crate) struct Answer<M> {
    pub(crate) take: fn(&mut dyn AnyOutbox, RequestId) -> M,
    pub(crate) decode: fn(&[u8], RequestId) -> Result<M, DecodeError>,
    pub(crate) fail: fn(RequestId, NoReply) -> M,
}

fn front<R: Message>(outbox: &mut dyn AnyOutbox) -> R {
    let outbox: &mut Outbox<R> =
        outbox.as_any().downcast_mut().expect("the catalogue gives each message type the outbox of its number");
    outbox.pop_front().expect("each effect with a message put it into its outbox")
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
            message: 0,
            measures: true,
            message_bytes: size_of::<F::Message>(),
            new_nursery: new_outbox::<F>,
            value_schema: schema_of::<F>,
            state_schema: schema_of::<F::State>,
            hatch: |nursery, setup| Cell::<F>::boxed(front(nursery), setup),
            decode: |bytes, setup| Cell::<F>::decode_start(bytes, setup),
            restore: |bytes, setup| Cell::<F>::restore(bytes, setup),
        });
        self
    }

    /// Declares that queues of `M` take messages of type `R`, through `From`.
    #[must_use]
    pub fn accepts<M: Message + From<R>, R: Message>(mut self) -> Kinds {
        self.add_message::<M>();
        self.add_message::<R>();
        self.accepts.push((
            TypeId::of::<M>(),
            TypeId::of::<R>(),
            Box::new(Accept::<M> {
                take: |outbox| M::from(front::<R>(outbox)),
                decode: |bytes, trust| Codec::CURRENT.decode::<R>(bytes, trust).map(M::from),
            }),
        ));
        self
    }

    /// Declares that FSMs with messages of type `M` make requests that are answered with an `A`.
    #[must_use]
    pub fn replies<M: Message + From<Reply<A>>, A: Message>(mut self) -> Kinds {
        self.add_message::<M>();
        self.add_message::<A>();
        self.answers.push((
            TypeId::of::<M>(),
            TypeId::of::<A>(),
            Box::new(Answer::<M> {
                take: |outbox, request| M::from(Reply { request, outcome: Ok(front::<A>(outbox)) }),
                decode: |bytes, request| {
                    let answer = Codec::CURRENT.decode::<A>(bytes, Trust::Node)?;
                    Ok(M::from(Reply { request, outcome: Ok(answer) }))
                },
                fail: |request, why| M::from(Reply::<A> { request, outcome: Err(why) }),
            }),
        ));
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
                new_outbox: new_outbox::<M>,
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
            kind.message = number_of(kind.message_type);
            // An encoded integer may be a byte longer than in memory; what is longer by far lies elsewhere.
            kind.measures = bytes_max[kind.message as usize].is_none_or(|max| max > 2 * kind.message_bytes as u64);
            let schema = |of: SchemaOf, what: &str| {
                of(&self.samples)
                    .map_err(|source| KindsError::Schema { place: format!("{what} of kind {}", kind.name), source })
            };
            table.kinds.push(TableKind {
                name: kind.name.to_owned(),
                message: kind.message,
                value: TableSchema::new(&schema(kind.value_schema, "data")?),
                state: TableSchema::new(&schema(kind.state_schema, "state")?),
            });
        }
        let by_number = |acceptors: Vec<Acceptor>| {
            acceptors.into_iter().map(|(of, takes, how)| ((number_of(of), number_of(takes)), how)).collect()
        };
        let accepts: Acceptors = by_number(self.accepts);
        let answers: Acceptors = by_number(self.answers);
        let message_types: Vec<_> = self.messages.iter().map(|message| message.type_id).collect();
        let kind_types: Vec<_> = self.kinds.iter().map(|kind| kind.type_id).collect();
        let pairs = |acceptors: &Acceptors| acceptors.keys().copied().collect();
        let numbers = TypeNumbers::new(&message_types, &kind_types, pairs(&accepts), pairs(&answers));
        let numbers = Arc::new(numbers);
        let catalogue = Catalogue { kinds: self.kinds, messages: self.messages, accepts, answers, numbers, table };
        for (of, why) in catalogue.opaque() {
            tracing::warn!(%of, %why, "a type is opaque: its values are shown in hex, and not every change of it is seen");
        }
        Ok(Arc::new(catalogue))
    }
}

/// By the numbers of the queue's message type and the type taken: an [`Accept`] or [`Answer`] of the former.
type Acceptors = BTreeMap<(u32, u32), Box<dyn Any + Send + Sync>>;

/// The checked table of a program's kinds and message types, each with its number.
pub struct Catalogue {
    kinds: Vec<Kind>,
    messages: Vec<MessageType>,
    accepts: Acceptors,
    answers: Acceptors,
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

    pub(crate) fn kind(&self, kind: u32) -> Option<&Kind> {
        self.kinds.get(kind as usize)
    }

    pub(crate) fn outboxes(&self) -> Vec<Box<dyn AnyOutbox>> {
        self.messages.iter().map(|message| (message.new_outbox)()).collect()
    }

    pub(crate) fn nurseries(&self) -> Vec<Box<dyn AnyOutbox>> {
        self.kinds.iter().map(|kind| (kind.new_nursery)()).collect()
    }

    pub(crate) fn accept<M: Message>(&self, message: u32, takes: u32) -> Option<&Accept<M>> {
        self.accepts.get(&(message, takes))?.downcast_ref()
    }

    pub(crate) fn answer<M: Message>(&self, message: u32, answer: u32) -> Option<&Answer<M>> {
        self.answers.get(&(message, answer))?.downcast_ref()
    }
}

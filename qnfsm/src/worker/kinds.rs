//! The kinds that a program has: what it registers, and the checks of that.

use std::{
    any::{Any, TypeId, type_name},
    collections::BTreeMap,
    sync::Arc,
};

use crate::{
    codec::{Codec, EncodeError, Trust},
    fsm::{Fsm, OldMessage, Resource, Resources, TypeNumbers, UpgradeError, upgraded},
    id::WorkerId,
    message::{DeadLetter, Down, Message, Reply},
    name,
    schema::{Schema, SchemaError},
    worker::{
        catalogue::{Accept, Answer, Catalogue, Intake, Kind, MessageType, new_pool},
        queue::ENVELOPE_BYTES,
        table::{Table, TableKind, TableMessage, TableResource, TableSchema},
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
    resources: Resources,
    /// Their names and hashes, in the same order.
    resource_table: Vec<TableResource>,
    error: Option<KindsError>,
}

/// Values that the user gave for types that can't be traced, by type; each is a `Vec` of them.
pub(super) type Samples = BTreeMap<TypeId, Box<dyn Any + Send + Sync>>;

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
    /// Two resources of one name, or of one type.
    #[error("two resources are named \"{name}\"; each NAME, and each type, is registered with `Kinds::resource` once")]
    ResourceTwice {
        /// The name.
        name: &'static str,
    },
    /// A resource whose content has no hash.
    #[error(
        "resource {name} can't be hashed: {source}; or hash the bytes that it was made from, with `ContentHash::of_bytes`"
    )]
    Resource {
        /// Its name.
        name: &'static str,
        /// What the codec refuses of it.
        source: EncodeError,
    },
}

pub(super) type SchemaOf = fn(&Samples) -> Result<Schema, SchemaError>;

fn schema_of<T: Message>(samples: &Samples) -> Result<Schema, SchemaError> {
    let samples = samples.get(&TypeId::of::<T>()).and_then(|of| of.downcast_ref::<Vec<T>>());
    Schema::of::<T>(samples.map_or(&[] as &[T], Vec::as_slice))
}

/// A Rust type's path, with other names for some of the types in it.
fn with_names(path: &str, names: &[(&str, &str)]) -> String {
    let is_of_a_path = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | ':');
    let mut named = String::new();
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        // The longest of those that stand here: one may be within another.
        let here = names
            .iter()
            .filter(|(of, _)| rest.strip_prefix(of).is_some_and(|behind| !behind.starts_with(is_of_a_path)));
        match here.max_by_key(|(of, _)| of.len()).filter(|_| !named.ends_with(is_of_a_path)) {
            Some((of, name)) => {
                named.push_str(name);
                rest = &rest[of.len()..];
            }
            None => {
                named.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    named
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
            resources: Resources::default(),
            resource_table: Vec::new(),
            error: None,
        };
        kinds.add_message::<Down>();
        kinds.add_message::<DeadLetter>();
        kinds.add_message::<WorkerId>();
        kinds.add_message::<crate::node_request::NodeRequest>();
        kinds
    }

    /// The names of the kinds that are registered, in their order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.iter().map(|kind| kind.name)
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
            queue: F::QUEUE,
            on_panic: F::ON_PANIC,
            message_bytes: size_of::<F::Message>(),
            new_nursery: new_pool::<F>,
            value_schema: schema_of::<F>,
            state_schema: schema_of::<F::State>,
            hatch: |nurseries, kind, value, setup| Cell::<F>::boxed(nurseries.of(kind).take(value), setup),
            decode: |bytes, setup| Cell::<F>::decode_start(bytes, setup),
            restore: |bytes, setup| Cell::<F>::restore(bytes, setup),
            version: F::VERSION,
            carry_over: |bytes, from, setup| Cell::<F>::carry_over(bytes, from, setup),
            upgrade_start: |bytes, from| Cell::<F>::upgrade_start(bytes, from),
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

    /// Gives a message type the name that it has in journals, in place of its Rust path: for types that may be moved. It stands in the
    /// names of types that are made of it too, such as `QueueId<M>`, unless these have their own.
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

    /// Says which version of a message type this program has, and how to make a message of one that an older version wrote: into
    /// the queues of a node that was stopped cleanly by a build of before, for instance. Without this a type has version 1, and
    /// a message whose fields changed since keeps the node from starting.
    ///
    /// ```
    /// use qnfsm::{Kinds, OldMessage, UpgradeError};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Order { cents: u64, currency: String }
    ///
    /// /// As it was in version 1.
    /// #[derive(Deserialize)]
    /// struct OrderV1 { cents: u64 }
    ///
    /// fn upgrade(old: OldMessage<'_>) -> Result<Order, UpgradeError> {
    ///     match old.version() {
    ///         1 => old.read().map(|OrderV1 { cents }| Order { cents, currency: "EUR".to_owned() }),
    ///         _ => Err(old.unknown()),
    ///     }
    /// }
    ///
    /// let kinds = Kinds::new().message_version::<Order>(2, upgrade);
    /// # kinds.seal().unwrap();
    /// ```
    #[must_use]
    pub fn message_version<M: Message>(
        mut self,
        version: u32,
        upgrade: fn(OldMessage<'_>) -> Result<M, UpgradeError>,
    ) -> Kinds {
        self.add_message::<M>();
        let of = self.messages.iter_mut().find(|message| message.type_id == TypeId::of::<M>());
        let of = of.expect("it was just added");
        of.version = version;
        of.upgrade = Some(Arc::new(move |old| {
            let mut bytes = Vec::new();
            Codec::CURRENT.encode(&upgraded(|| upgrade(old))?, &mut bytes)?;
            Ok(bytes)
        }));
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

    /// Registers a large table that FSMs read with [`Context::resource`](crate::Context::resource). All workers share it.
    ///
    /// What is recorded names it by the hash of its content. A node that was killed goes on with the same table only, and a replay
    /// needs the one that the journal was recorded with; behind a clean stop a node starts with any.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use qnfsm::{ContentHash, Context, Fsm, Kinds, Next, QueueId, Resource, testing::Drive};
    /// use serde::{Deserialize, Serialize};
    ///
    /// /// Cents by article.
    /// struct Prices(Vec<u64>);
    ///
    /// impl Resource for Prices {
    ///     const NAME: &'static str = "prices";
    ///     fn content_hash(&self) -> ContentHash { ContentHash::of_value(&self.0) }
    /// }
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Till { display: QueueId<u64> }
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Sale { article: usize }
    ///
    /// impl Fsm for Till {
    ///     const NAME: &'static str = "till";
    ///     type State = ();
    ///     type Message = Sale;
    ///
    ///     fn start(&mut self, _: &mut Context<'_, Self>) {}
    ///
    ///     fn handle(&mut self, (): (), sale: Sale, cx: &mut Context<'_, Self>) -> Next<Self> {
    ///         let Prices(cents) = cx.resource();
    ///         // What is read of it may be held on to while the context is used.
    ///         match cents.get(sale.article) {
    ///             Some(cents) => cx.send(self.display, *cents),
    ///             None => return Next::Unhandled(sale),
    ///         }
    ///         Next::Stay
    ///     }
    /// }
    ///
    /// // Here it is made on the spot; a program mostly reads a file once and hands clones of the `Arc` to this function.
    /// fn kinds() -> Kinds {
    ///     Kinds::new().with::<Till>().message::<u64>().resource(Arc::new(Prices(vec![120, 75])))
    /// }
    ///
    /// let display = qnfsm::testing::elsewhere(1);
    /// let mut t = Drive::new(kinds(), Till { display });
    /// t.tell(Sale { article: 1 });
    /// assert_eq!(t.sent_to(display), [75]);
    /// ```
    #[must_use]
    pub fn resource<T: Resource>(mut self, resource: Arc<T>) -> Kinds {
        let name = T::NAME;
        if let Some(why) = name::refusal(name) {
            let of = format!("the NAME {name:?} of resource {}", type_name::<T>());
            self.error.get_or_insert(KindsError::Name { of, why });
            return self;
        }
        if self.resources.see::<T>().is_some() || self.resource_table.iter().any(|other| other.name == name) {
            self.error.get_or_insert(KindsError::ResourceTwice { name });
            return self;
        }
        match resource.content_hash().number() {
            Ok(hash) => {
                self.resource_table.push(TableResource { name: name.to_owned(), hash });
                self.resources.add(resource);
            }
            Err(source) => {
                self.error.get_or_insert(KindsError::Resource { name, source });
            }
        }
        self
    }

    fn add_message<M: Message>(&mut self) {
        if self.messages.iter().all(|message| message.type_id != TypeId::of::<M>()) {
            self.messages.push(MessageType {
                type_id: TypeId::of::<M>(),
                rust_name: type_name::<M>(),
                new_pool: new_pool::<M>,
                schema: schema_of::<M>,
                version: 1,
                upgrade: None,
            });
        }
    }

    /// The name that a message type has in journals. Where Rust's stands, types that have one of their own stand in it by that: a
    /// `QueueId<M>` needs none for `M` to be moved.
    fn name_of(&self, message: &MessageType) -> String {
        let mut rust_names = Vec::new();
        for (of, name) in &self.named {
            if *of == message.type_id {
                return (*name).to_owned();
            }
            let named = self.messages.iter().find(|named| named.type_id == *of).expect("what is named was added");
            rust_names.push((named.rust_name, *name));
        }
        with_names(message.rust_name, &rust_names)
    }

    /// Checks and numbers what was registered. What it warns of, [`Catalogue::opaque`] lists.
    ///
    /// # Errors
    /// When a name is empty, can't be printed or stands twice, or a type doesn't survive the codec.
    pub fn seal(mut self) -> Result<Arc<Catalogue>, KindsError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let resources = std::mem::take(&mut self.resource_table);
        let mut table = Table { messages: Vec::new(), kinds: Vec::new(), resources };
        let mut bytes_max = Vec::new();
        for message in &self.messages {
            let name = self.name_of(message);
            if let Some(at) = table.messages.iter().position(|other| other.name == name) {
                let (first, second) = (self.messages[at].rust_name, message.rust_name);
                return Err(KindsError::MessageTwice { name, first, second });
            }
            let schema = (message.schema)(&self.samples)
                .map_err(|source| KindsError::Schema { place: format!("message type {name}"), source })?;
            bytes_max.push(schema.encoded_bytes_max());
            table.messages.push(TableMessage { name, version: message.version, schema: TableSchema::new(&schema) });
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
                version: kind.version,
                message: kind.intake.message,
                queue: kind.queue,
                on_panic: kind.on_panic,
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
        let Kinds { kinds, messages, resources, .. } = self;
        let (kinds, messages) = (kinds.into_iter().map(Some).collect(), messages.into_iter().map(Some).collect());
        let catalogue = Catalogue { kinds, messages, accepts, answers, numbers, table, resources };
        for (of, why) in catalogue.opaque() {
            tracing::warn!(%of, %why, "a type is opaque: its values are shown in hex, and not every change of it is seen");
        }
        Ok(Arc::new(catalogue))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QueueId;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Order;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Order2;

    #[test]
    fn a_type_s_own_name_stands_in_the_names_of_those_that_are_made_of_it() {
        let kinds = Kinds::new().message::<QueueId<Order>>().message::<Vec<(Order, Option<Order2>)>>();
        let kinds =
            kinds.message_named::<Order>("order").message_named::<Vec<Order>>("orders").message::<Vec<Vec<Order>>>();
        let catalogue = kinds.seal().expect("the types are plain");
        let name = |number: Option<u32>| catalogue.message_name(number.expect("it is registered")).to_owned();
        assert_eq!(name(catalogue.type_number::<QueueId<Order>>()), "qnfsm::id::QueueId<order>");
        let pairs = name(catalogue.type_number::<Vec<(Order, Option<Order2>)>>());
        let order2 = type_name::<Order2>();
        assert_eq!(pairs, format!("alloc::vec::Vec<(order, core::option::Option<{order2}>)>"));
        assert_eq!(name(catalogue.type_number::<Vec<Vec<Order>>>()), "alloc::vec::Vec<orders>");
    }
}

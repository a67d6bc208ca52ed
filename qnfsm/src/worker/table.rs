//! What a program's kinds and message types look like, as a segment's header carries it: names, numbers, schemas. By it a
//! journal is known as another program's, or as one of another build.

use serde::{Deserialize, Serialize};

use crate::{
    codec::{Codec, DecodeError, Trust},
    fsm::{OnPanic, QueuePolicy},
    schema::{Printer, Schema},
};

/// A catalogue's names and schemas without its types: what a journal's header says of the program that wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Message types by number.
    pub messages: Vec<TableMessage>,
    /// Kinds by number.
    pub kinds: Vec<TableKind>,
}

/// A message type in a journal's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableMessage {
    /// Its name.
    pub name: String,
    /// The version of its form, from [`Kinds::message_version`](crate::Kinds::message_version).
    pub version: u32,
    /// Its fields.
    pub schema: TableSchema,
}

/// A kind in a journal's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableKind {
    /// Its [`Fsm::NAME`](crate::Fsm::NAME).
    pub name: String,
    /// Its [`Fsm::VERSION`](crate::Fsm::VERSION).
    pub version: u32,
    /// The number of its message type.
    pub message: u32,
    /// How many messages may wait, and what happens to one too many.
    pub queue: QueuePolicy,
    /// What happens when its handler panics.
    pub on_panic: OnPanic,
    /// The fields of its data.
    pub value: TableSchema,
    /// Its states.
    pub state: TableSchema,
}

/// A schema in a journal's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// The schema's hash; two types with the same are read alike.
    pub hash: u64,
    /// The formats of the type and of all types in it, as JSON; what was seen of it if it is opaque.
    pub json: String,
    /// Why the type could not be traced.
    pub opaque: Option<String>,
}

impl TableSchema {
    pub(super) fn new(schema: &Schema) -> TableSchema {
        TableSchema { hash: schema.hash(), json: schema.json().to_owned(), opaque: schema.opaque().map(str::to_owned) }
    }

    /// Shows values of the type by the names of its fields.
    #[must_use]
    pub fn printer(&self) -> Printer {
        Printer::new(&self.json)
    }
}

impl TableKind {
    fn differences(&self, own: &TableKind) -> Vec<String> {
        let name = &self.name;
        let mut found = Vec::new();
        if own.version != self.version {
            found.push(format!("kind {name} has version {} and had {}", own.version, self.version));
        }
        if own.value.hash != self.value.hash {
            found.push(format!("the data of kind {name} has other fields"));
        }
        if own.state.hash != self.state.hash {
            found.push(format!("kind {name} has other states"));
        }
        if own.queue != self.queue {
            found.push(format!("the queues of kind {name} have another policy"));
        }
        if own.on_panic != self.on_panic {
            found.push(format!("kind {name} has another policy for panics"));
        }
        found
    }
}

impl TableMessage {
    /// True if bytes of this type are read by the other as they are. The library only ever adds to its own types, behind what there
    /// was.
    pub(super) fn is_read_alike(&self, own: &TableMessage) -> bool {
        own.schema.hash == self.schema.hash || self.name.starts_with("qnfsm::")
    }

    fn difference(&self, own: &TableMessage) -> Option<String> {
        let name = &self.name;
        if own.version != self.version {
            return Some(format!("message type {name} has version {} and had {}", own.version, self.version));
        }
        (!self.is_read_alike(own)).then(|| format!("message type {name} has other fields"))
    }
}

impl Table {
    /// The table in the codec's bytes, for a segment's header.
    ///
    /// # Panics
    /// Never: a table is strings and numbers.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        Codec::CURRENT.encode(self, &mut bytes).expect("a table is strings and numbers");
        bytes
    }

    /// Reads a segment header's table.
    ///
    /// # Errors
    /// When the bytes are no table.
    pub fn from_bytes(bytes: &[u8]) -> Result<Table, DecodeError> {
        Codec::CURRENT.decode(bytes, Trust::Node)
    }

    /// Types that could not be traced: what they are, such as `message type bank::Order`, and why and what to do about it.
    pub fn opaque(&self) -> impl Iterator<Item = (String, &str)> {
        let messages = self.messages.iter().map(|it| (&it.schema, "message type", &it.name));
        let kinds = self.kinds.iter();
        let kinds =
            kinds.flat_map(|it| [(&it.value, "data of kind", &it.name), (&it.state, "state of kind", &it.name)]);
        messages
            .chain(kinds)
            .filter_map(|(schema, what, name)| Some((format!("{what} {name}"), schema.opaque.as_deref()?)))
    }

    /// What keeps `program` from running on what the program of this table recorded: kinds and message types that it lacks, that
    /// have other numbers, other fields or other policies. Empty if nothing does.
    #[must_use]
    pub fn differences(&self, program: &Table) -> Vec<String> {
        let mut found = Vec::new();
        for (number, kind) in self.kinds.iter().enumerate() {
            match program.kinds.get(number) {
                Some(own) if own.name == kind.name => found.extend(kind.differences(own)),
                _ => found.push(format!("kind {} was number {number} and isn't", kind.name)),
            }
        }
        for (number, message) in self.messages.iter().enumerate() {
            match program.messages.get(number) {
                Some(own) if own.name == message.name => found.extend(message.difference(own)),
                _ => found.push(format!("message type {} was number {number} and isn't", message.name)),
            }
        }
        found
    }

    /// True if the programs have no kind in common: the directory is another program's.
    #[must_use]
    pub fn is_foreign_to(&self, program: &Table) -> bool {
        !self.kinds.iter().any(|kind| program.kinds.iter().any(|own| own.name == kind.name))
    }
}

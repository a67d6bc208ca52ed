//! What a program's kinds and message types look like, as a segment's header carries it: names, numbers, schemas. By it a
//! journal is known as another program's, or as one of another build.

use std::{any::type_name, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    codec::{Codec, DecodeError, Trust},
    fsm::{OnPanic, QueuePolicy, UpgradeError},
    id::WorkerId,
    message::{DeadLetter, Down},
    node_request::NodeRequest,
    schema::{Printer, Schema},
};

/// A catalogue's names and schemas without its types: what a journal's header says of the program that wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Message types by number.
    pub messages: Vec<TableMessage>,
    /// Kinds by number.
    pub kinds: Vec<TableKind>,
    /// The tables that FSMs read.
    pub resources: Vec<TableResource>,
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

/// A resource in a journal's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableResource {
    /// Its [`Resource::NAME`](crate::Resource::NAME).
    pub name: String,
    /// The hash of its content.
    pub hash: u64,
}

/// A resource with which something was recorded, and that a program doesn't have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OtherResource {
    /// Its name.
    pub name: String,
    /// The hash of its content, as recorded.
    pub recorded: u64,
    /// That of the one which the program has by that name, if it has one.
    pub own: Option<u64>,
}

impl fmt::Display for OtherResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OtherResource { name, recorded, own } = self;
        write!(f, "resource {name} was recorded with hash {recorded:016x}, and this program has ")?;
        match own {
            Some(own) => write!(f, "one with hash {own:016x}"),
            None => f.write_str("none of that name"),
        }
    }
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

/// The version that has to be upgraded from; none if the form is as it was.
fn upgrades(wrote: u32, own: u32, is_same_form: bool) -> Result<Option<u32>, UpgradeError> {
    match wrote.cmp(&own) {
        std::cmp::Ordering::Less => Ok(Some(wrote)),
        std::cmp::Ordering::Equal if is_same_form => Ok(None),
        std::cmp::Ordering::Equal => Err(UpgradeError::SameVersion { version: own }),
        std::cmp::Ordering::Greater => Err(UpgradeError::Newer { wrote, own }),
    }
}

impl TableKind {
    /// The version from which an FSM has to be upgraded to be one of this program's kind; none if its form is the same.
    pub(super) fn upgrades(&self, own: &TableKind) -> Result<Option<u32>, UpgradeError> {
        let is_same = (self.value.hash, self.state.hash) == (own.value.hash, own.state.hash);
        upgrades(self.version, own.version, is_same)
    }

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
    /// True if bytes of this type are read by the other, of the same name, as they are. The library only ever adds to what it reads
    /// of its own types, behind what there was.
    fn is_read_alike(&self, own: &TableMessage) -> bool {
        let librarys =
            [type_name::<Down>(), type_name::<DeadLetter>(), type_name::<WorkerId>(), type_name::<NodeRequest>()];
        own.schema.hash == self.schema.hash || librarys.contains(&&*self.name)
    }

    /// The version from which a message has to be upgraded to be one of this program's type; none if its form is the same.
    pub(super) fn upgrades(&self, own: &TableMessage) -> Result<Option<u32>, UpgradeError> {
        if self.name != own.name {
            // Each counts its own versions.
            return match self.schema.hash == own.schema.hash {
                true => Ok(None),
                false => Err(UpgradeError::Renamed { was: self.name.clone(), is: own.name.clone() }),
            };
        }
        upgrades(self.version, own.version, self.is_read_alike(own))
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
                _ if !program.kinds.iter().any(|own| own.name == kind.name) => {
                    found.push(format!("kind {} was number {number} and there is none of that name", kind.name));
                }
                _ => found.push(format!("kind {} was number {number} and isn't", kind.name)),
            }
        }
        for (number, message) in self.messages.iter().enumerate() {
            match program.messages.get(number) {
                Some(own) if own.name == message.name => found.extend(message.difference(own)),
                _ if !program.messages.iter().any(|own| own.name == message.name) => {
                    found.push(format!(
                        "message type {} was number {number} and there is none of that name",
                        message.name
                    ));
                }
                _ => found.push(format!("message type {} was number {number} and isn't", message.name)),
            }
        }
        found
    }

    /// True if all kinds and message types of these names that both have are the same, whatever their numbers are.
    pub(super) fn is_alike_where_both_are(&self, other: &Table) -> bool {
        let message_of = |table: &Table, kind: &TableKind| {
            table.messages.get(kind.message as usize).map(|message| message.name.clone())
        };
        let kinds = self.kinds.iter().all(|kind| {
            let same =
                |it: &TableKind| kind.differences(it).is_empty() && message_of(self, kind) == message_of(other, it);
            other.kinds.iter().find(|it| it.name == kind.name).is_none_or(same)
        });
        let messages = self.messages.iter().all(|message| {
            let there = other.messages.iter().find(|it| it.name == message.name);
            there.is_none_or(|it| message.difference(it).is_none())
        });
        kinds && messages
    }

    /// The resources with which the program of this table recorded, and which `program` doesn't have. What it has beside them doesn't
    /// count.
    #[must_use]
    pub fn other_resources(&self, program: &Table) -> Vec<OtherResource> {
        let compare = |recorded: &TableResource| {
            let own = program.resources.iter().find(|own| own.name == recorded.name).map(|own| own.hash);
            let TableResource { name, hash } = recorded;
            (own != Some(*hash)).then(|| OtherResource { name: name.clone(), recorded: *hash, own })
        };
        self.resources.iter().filter_map(compare).collect()
    }

    /// True if images and frames of the one program are those of the other as they are. Resources are in neither.
    pub(crate) fn is_written_alike(&self, program: &Table) -> bool {
        let Table { messages, kinds, resources: _ } = self;
        (messages, kinds) == (&program.messages, &program.kinds)
    }

    /// True if the programs have no kind in common: the directory is another program's.
    #[must_use]
    pub fn is_foreign_to(&self, program: &Table) -> bool {
        !self.kinds.iter().any(|kind| program.kinds.iter().any(|own| own.name == kind.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, version: u32, hash: u64) -> TableMessage {
        let schema = TableSchema { hash, json: String::new(), opaque: None };
        TableMessage { name: name.to_owned(), version, schema }
    }

    #[test]
    fn a_message_has_to_be_upgraded_from_an_older_version_and_may_not_change_without_one() {
        let order = |version, hash| message("order", version, hash);
        assert_eq!(order(1, 7).upgrades(&order(1, 7)), Ok(None));
        assert_eq!(order(1, 7).upgrades(&order(2, 8)), Ok(Some(1)));
        assert_eq!(order(1, 7).upgrades(&order(2, 7)), Ok(Some(1)), "it says so itself");
        assert_eq!(order(1, 7).upgrades(&order(1, 8)), Err(UpgradeError::SameVersion { version: 1 }));
        assert_eq!(order(3, 7).upgrades(&order(2, 8)), Err(UpgradeError::Newer { wrote: 3, own: 2 }));
    }

    #[test]
    fn a_resource_is_another_one_when_its_hash_is_or_it_is_not_there() {
        let table = |resources: &[(&str, u64)]| {
            let resource = |&(name, hash): &(&str, u64)| TableResource { name: name.to_owned(), hash };
            Table { messages: vec![], kinds: vec![], resources: resources.iter().map(resource).collect() }
        };
        let recorded = table(&[("prices", 7), ("map", 8)]);
        let others = |own: &[(&str, u64)]| {
            let others = recorded.other_resources(&table(own));
            others.iter().map(OtherResource::to_string).collect::<Vec<_>>()
        };
        assert!(others(&[("map", 8), ("unheard of", 1), ("prices", 7)]).is_empty());
        assert_eq!(
            others(&[("prices", 0xabc)]),
            [
                "resource prices was recorded with hash 0000000000000007, and this program has one with hash 0000000000000abc",
                "resource map was recorded with hash 0000000000000008, and this program has none of that name",
            ]
        );
        assert!(recorded.is_written_alike(&table(&[])) && recorded.differences(&table(&[])).is_empty());
    }

    #[test]
    fn versions_of_types_with_different_names_are_not_compared() {
        let renamed = || UpgradeError::Renamed { was: "order".to_owned(), is: "command".to_owned() };
        assert_eq!(message("order", 1, 7).upgrades(&message("command", 2, 8)), Err(renamed()));
        assert_eq!(message("order", 3, 7).upgrades(&message("command", 1, 8)), Err(renamed()));
        assert_eq!(message("order", 3, 7).upgrades(&message("command", 1, 7)), Ok(None), "only the name is another");
    }

    #[test]
    fn only_the_librarys_own_types_may_grow_without_a_version() {
        let request = type_name::<NodeRequest>();
        assert_eq!(message(request, 1, 7).upgrades(&message(request, 1, 8)), Ok(None));
        assert_eq!(message(request, 1, 7).difference(&message(request, 1, 8)), None);
        // One that holds a user's.
        let secret = "qnfsm::secret::Secret<bank::Pay>";
        assert_eq!(
            message(secret, 1, 7).upgrades(&message(secret, 1, 8)),
            Err(UpgradeError::SameVersion { version: 1 })
        );
        assert!(message(secret, 1, 7).difference(&message(secret, 1, 8)).is_some());
        assert!(message(request, 1, 7).upgrades(&message("command", 1, 8)).is_err());
    }
}

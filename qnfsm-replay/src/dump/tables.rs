//! The kinds and message types of the program that wrote a segment, each with who shows its values.

use qnfsm::{
    DownReason, NoReply, Table, TableKind,
    schema::{Printer, Schema},
};

use super::{Name, Value};

/// Printers of a table's types, made once for it.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) table: Table,
    messages: Vec<Printer>,
    /// Of data and states.
    kinds: Vec<(Printer, Printer)>,
}

/// One kind.
pub(super) struct Kind<'a> {
    pub(super) table: &'a TableKind,
    pub(super) data: &'a Printer,
    pub(super) state: &'a Printer,
}

impl Kind<'_> {
    pub(super) fn is_opaque(&self) -> bool {
        self.table.value.opaque.is_some() || self.table.state.opaque.is_some()
    }
}

impl Tables {
    pub(super) fn new(table: Table) -> Tables {
        let messages = table.messages.iter().map(|message| message.schema.printer()).collect();
        let kinds = table.kinds.iter().map(|kind| (kind.value.printer(), kind.state.printer())).collect();
        Tables { table, messages, kinds }
    }

    /// The name of a message type.
    pub(super) fn message_name(&self, number: u32) -> Name<'_> {
        Name(self.table.messages.get(number as usize).map_or("unknown type", |message| &message.name))
    }

    /// The name of a kind.
    pub(super) fn kind_name(&self, number: u32) -> Name<'_> {
        Name(self.kind(number).map_or("unknown kind", |kind| &kind.table.name))
    }

    /// A value of a message type.
    pub(super) fn message<'a>(&'a self, number: u32, bytes: &'a [u8], chars_max: usize) -> Value<'a> {
        Value::new(self.messages.get(number as usize), bytes, chars_max)
    }

    pub(super) fn kind(&self, number: u32) -> Option<Kind<'_>> {
        let (data, state) = self.kinds.get(number as usize)?;
        Some(Kind { table: self.table.kinds.get(number as usize)?, data, state })
    }
}

/// The library's own types, which stand in no table.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) no_reply: Printer,
    pub(super) down_reason: Printer,
    pub(super) text: Printer,
}

impl Own {
    pub(super) fn new() -> Own {
        let printer = |schema: Result<Schema, _>| {
            Printer::new(schema.map_err(|error: qnfsm::schema::SchemaError| error.to_string()).expect(PLAIN).json())
        };
        Own {
            no_reply: printer(Schema::of::<NoReply>(&[])),
            down_reason: printer(Schema::of::<DownReason>(&[])),
            text: printer(Schema::of::<String>(&[])),
        }
    }
}

const PLAIN: &str = "the library's own types derive serde's traits without attributes";

//! The kinds and message types of the program that wrote a segment, each with who shows its values.

use qnfsm::{
    DownReason, NoReply, Table, TableKind,
    schema::{Path, Printer, Schema, short_name},
};

use super::{Name, Value};

/// Printers of a table's types, made once for it.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) table: Table,
    messages: Vec<Printer>,
    /// Of data and states.
    kinds: Vec<(Printer, Printer)>,
}

/// One kind.
pub(crate) struct Kind<'a> {
    pub(crate) table: &'a TableKind,
    pub(crate) data: &'a Printer,
    pub(crate) state: &'a Printer,
}

impl Kind<'_> {
    /// True if its states say nothing.
    pub(crate) fn is_stateless(&self) -> bool {
        self.state.takes_no_bytes()
    }

    pub(crate) fn is_opaque(&self) -> bool {
        self.table.value.opaque.is_some() || self.table.state.opaque.is_some()
    }
}

impl Tables {
    pub(crate) fn new(table: Table) -> Tables {
        let messages = table.messages.iter().map(|message| message.schema.printer()).collect();
        let kinds = table.kinds.iter().map(|kind| (kind.value.printer(), kind.state.printer())).collect();
        Tables { table, messages, kinds }
    }

    /// The name of a message type.
    pub(crate) fn message_name(&self, number: u32) -> Name<'_> {
        Name(self.table.messages.get(number as usize).map_or("unknown type", |message| &message.name))
    }

    /// Who shows values of a message type.
    pub(crate) fn message_printer(&self, number: u32) -> Option<&Printer> {
        self.messages.get(number as usize)
    }

    /// The name of the variant that a message is; of its type, if that is no enum.
    pub(crate) fn message_variant(&self, number: u32, bytes: &[u8]) -> String {
        let variant = self.message_printer(number).and_then(|printer| variant_of(printer, bytes));
        let name = variant.unwrap_or_else(|| short_name(self.message_name(number).0));
        Name(&name).to_string()
    }

    /// The name of a kind.
    pub(crate) fn kind_name(&self, number: u32) -> Name<'_> {
        Name(self.kind(number).map_or("unknown kind", |kind| &kind.table.name))
    }

    /// True if that is the kind's name.
    pub(crate) fn kind_is(&self, number: u32, name: &str) -> bool {
        self.kind(number).is_some_and(|kind| kind.table.name == name)
    }

    /// A value of a message type.
    pub(crate) fn message<'a>(&'a self, number: u32, bytes: &'a [u8], chars_max: usize) -> Value<'a> {
        Value::new(self.messages.get(number as usize), bytes, chars_max)
    }

    /// All message types that a program names, by number.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (u32, &Printer)> {
        (0..).zip(&self.messages)
    }

    /// All kinds, by number.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (u32, Kind<'_>)> {
        (0..).zip(&self.kinds).filter_map(|(number, _)| Some((number, self.kind(number)?)))
    }

    pub(crate) fn kind(&self, number: u32) -> Option<Kind<'_>> {
        let (data, state) = self.kinds.get(number as usize)?;
        Some(Kind { table: self.table.kinds.get(number as usize)?, data, state })
    }
}

/// The name of the variant that a value is, if its type is an enum that the schema names.
pub(crate) fn variant_of(printer: &Printer, bytes: &[u8]) -> Option<String> {
    printer.variant(bytes, &Path::default()).ok().flatten()
}

/// The library's own types, which stand in no table.
#[derive(Debug)]
pub(crate) struct Own {
    pub(super) no_reply: Printer,
    pub(super) down_reason: Printer,
    pub(super) text: Printer,
}

impl Own {
    pub(crate) fn new() -> Own {
        let printer = |schema: Result<Schema, _>| {
            Printer::new(schema.map_err(|error: qnfsm::schema::SchemaError| error.to_string()).expect(PLAIN).json())
        };
        Own {
            no_reply: printer(Schema::of::<NoReply>(&[])),
            down_reason: printer(Schema::of::<DownReason>(&[])),
            text: printer(Schema::of::<String>(&[])),
        }
    }

    pub(crate) fn printers(&self) -> impl Iterator<Item = &Printer> {
        [&self.no_reply, &self.down_reason, &self.text].into_iter()
    }
}

const PLAIN: &str = "the library's own types derive serde's traits without attributes";

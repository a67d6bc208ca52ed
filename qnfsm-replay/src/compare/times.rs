//! Values without the times in them: those of two runs are other ones, and nothing else need be. What a time is its type's name says, `Time`,
//! as the deadline of a `ReplyTo` is. What a secret holds can't be seen, and isn't compared in a value that has a time in it.

use qnfsm::{
    Table, TableSchema,
    schema::{Content, Fields, Printer},
};

/// The name of a time's type.
const TIME: &str = "Time";

/// The types of a program that have times in them.
#[derive(Debug, Default)]
pub(super) struct Timed {
    messages: Vec<Option<Printer>>,
    /// Start values and states.
    kinds: Vec<[Option<Printer>; 2]>,
}

impl Timed {
    pub(super) fn of(table: &Table) -> Timed {
        let printer = |schema: &TableSchema| schema.json.contains(&format!("\"{TIME}\"")).then(|| schema.printer());
        Timed {
            messages: table.messages.iter().map(|message| printer(&message.schema)).collect(),
            kinds: table.kinds.iter().map(|kind| [&kind.value, &kind.state].map(printer)).collect(),
        }
    }

    /// A message in bytes that are the same for equal ones, whatever the times in it.
    pub(super) fn message(&self, number: u32, bytes: &[u8]) -> Option<Vec<u8>> {
        plain(self.messages.get(number as usize)?.as_ref()?, bytes)
    }

    /// A start value, likewise.
    pub(super) fn start_value(&self, kind: u32, bytes: &[u8]) -> Option<Vec<u8>> {
        plain(self.kinds.get(kind as usize)?[0].as_ref()?, bytes)
    }

    /// A state, likewise.
    pub(super) fn state(&self, kind: u32, bytes: &[u8]) -> Option<Vec<u8>> {
        plain(self.kinds.get(kind as usize)?[1].as_ref()?, bytes)
    }
}

fn plain(printer: &Printer, bytes: &[u8]) -> Option<Vec<u8>> {
    Some(without_times(printer.content(bytes).ok()?).text(usize::MAX).into_bytes())
}

/// The same with nothing in place of each time.
pub(super) fn without_times(content: Content) -> Content {
    let all = |parts: Vec<Content>| parts.into_iter().map(without_times).collect();
    match content {
        Content::Struct(name, _) if name == TIME => Content::Struct(name, Fields::None),
        Content::Struct(name, fields) => Content::Struct(name, of_fields(fields)),
        Content::Variant(name, fields) => Content::Variant(name, of_fields(fields)),
        Content::Option(Some(content)) => Content::Option(Some(Box::new(without_times(*content)))),
        Content::Seq(parts) => Content::Seq(all(parts)),
        Content::Tuple(parts) => Content::Tuple(all(parts)),
        Content::Map(entries) => {
            Content::Map(entries.into_iter().map(|(key, value)| (without_times(key), without_times(value))).collect())
        }
        plain => plain,
    }
}

fn of_fields(fields: Fields) -> Fields {
    match fields {
        Fields::None => Fields::None,
        Fields::One(content) => Fields::One(Box::new(without_times(*content))),
        Fields::Listed(parts) => Fields::Listed(parts.into_iter().map(without_times).collect()),
        Fields::Named(parts) => {
            Fields::Named(parts.into_iter().map(|(name, content)| (name, without_times(content))).collect())
        }
    }
}

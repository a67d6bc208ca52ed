//! A value as it is handed on: bytes, and whoever can show them. It is shown only when it is written.

use qnfsm::schema::{Content, Path, Printer};
use serde::{Serialize, Serializer, ser::Error};
use serde_json::value::RawValue;

/// A value in a journal.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a> {
    printer: Option<&'a Printer>,
    bytes: &'a [u8],
    chars_max: usize,
    /// Bytes of no known type may be shown.
    in_hex: bool,
}

impl<'a> Value<'a> {
    /// A value that the printer shows in at most so many characters; of no known type, if there is none.
    pub(crate) fn new(printer: Option<&'a Printer>, bytes: &'a [u8], chars_max: usize) -> Value<'a> {
        Value { printer, bytes, chars_max, in_hex: false }
    }

    /// Bytes in which values of two types lie, and where isn't known. They are shown in hex, if there is no secret in either.
    pub(super) fn whole(
        one: Option<&'a Printer>,
        other: Option<&'a Printer>,
        bytes: &'a [u8],
        chars_max: usize,
    ) -> Value<'a> {
        let no_secret = [one, other].into_iter().all(|it| it.is_some_and(|it| !it.holds_secret()));
        Value { printer: None, bytes, chars_max, in_hex: no_secret }
    }

    /// The first bytes, where they may be shown though nobody knows of which type they are.
    fn hex(&self) -> Option<String> {
        let shown = self.bytes.iter().take(self.chars_max / 2);
        self.in_hex.then(|| shown.map(|byte| format!("{byte:02x}")).collect())
    }

    /// The name of the variant that it is, if its type is an enum.
    pub(super) fn variant(&self) -> Option<String> {
        self.printer?.variant(self.bytes, &Path::default()).ok()?
    }

    /// The part of it to which a path leads, if it has one.
    pub(super) fn part(&self, path: &Path) -> Option<Content> {
        self.printer?.part(self.bytes, path).ok()?
    }

    /// The value as `Debug` would show it.
    #[must_use]
    pub fn text(&self) -> String {
        match self.printer {
            Some(printer) => printer.text(self.bytes, self.chars_max),
            None => match self.hex() {
                Some(hex) => format!("({} bytes: {hex})", self.bytes.len()),
                None => format!("({} bytes, not shown)", self.bytes.len()),
            },
        }
    }

    /// The value as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        match self.printer {
            Some(printer) => printer.json(self.bytes, self.chars_max),
            None => match self.hex() {
                Some(hex) => format!(r#"{{"$note":"{} bytes","$hex":"{hex}"}}"#, self.bytes.len()),
                None => format!(r#"{{"$note":"{} bytes, not shown"}}"#, self.bytes.len()),
            },
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.json()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

//! Values as JSON, in the shape that `serde_json` would give them: a struct is an object, a newtype what it holds, a
//! variant its name or an object under its name.
//!
//! What was written is JSON wherever the walk ends: [`Json::finish`] closes what is open.

use std::fmt::Write as _;

use serde::de::Error;

use super::walk::{Atom, Container, Output, Parts};

/// Numbers beyond it are texts: JavaScript, and many a reader of JSON, has no others exactly.
const NUMBER_MAX: u128 = 1 << 53;

/// How many objects and lists may lie in one another. Many readers of JSON take 128, some of which are around this one.
const NESTING_MAX: usize = 100;

/// The JSON so far, and how much room is left.
pub(super) struct Json {
    json: String,
    bytes_max: usize,
    /// What closes what is open, the innermost last.
    closers: Vec<char>,
    /// How long the text was, and how many closers there were, when these made JSON of it last.
    sound: (usize, usize),
    /// A text that comes is a key of a map.
    is_key: bool,
    pub(super) is_full: bool,
}

impl Json {
    /// Takes about so many bytes; one more text of a value's at most.
    pub(super) fn new(bytes_max: usize) -> Json {
        Json { json: String::new(), bytes_max, closers: Vec::new(), sound: (0, 0), is_key: false, is_full: false }
    }

    /// What was written, as JSON: what is open is closed, and a name without its value left out.
    pub(super) fn finish(mut self) -> String {
        let (bytes, closers) = self.sound;
        self.json.truncate(bytes);
        self.json.extend(self.closers[..closers].iter().rev());
        if self.json.is_empty() { "null".to_owned() } else { self.json }
    }

    /// What was written can be closed here.
    fn settle(&mut self) {
        if !self.is_key {
            self.sound = (self.json.len(), self.closers.len());
        }
    }

    fn make_room<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.is_full |= self.json.len().saturating_add(bytes) > self.bytes_max;
        if self.is_full { Err(E::custom("no room is left")) } else { Ok(()) }
    }

    /// A value without parts, which is JSON already.
    fn put_value<E: Error>(&mut self, json: &str) -> Result<(), E> {
        self.make_room(json.len())?;
        self.json.push_str(json);
        self.settle();
        Ok(())
    }

    fn put_number<E: Error>(&mut self, magnitude: u128, text: &str) -> Result<(), E> {
        if magnitude <= NUMBER_MAX { self.put_value(text) } else { self.put_value(&format!("\"{text}\"")) }
    }

    /// A text, as far as there is room for it.
    fn put_text<E: Error>(&mut self, text: &str) -> Result<(), E> {
        self.make_room(2)?;
        self.json.push('"');
        for character in text.chars() {
            if self.json.len() >= self.bytes_max {
                self.is_full = true;
                break;
            }
            put_character(&mut self.json, character);
        }
        self.json.push('"');
        self.settle();
        if self.is_full { Err(E::custom("no room is left")) } else { Ok(()) }
    }

    fn put_hex<E: Error>(&mut self, bytes: &[u8]) -> Result<(), E> {
        let shown = &bytes[..bytes.len().min(self.bytes_max)];
        self.put_text(&hex(shown))
    }

    /// A name out of a schema, and a value is to come.
    fn put_name<E: Error>(&mut self, name: &str) -> Result<(), E> {
        self.make_room(name.len())?;
        push_text(&mut self.json, name);
        self.json.push(':');
        Ok(())
    }

    fn put_open<E: Error>(&mut self, opener: char, closer: char) -> Result<(), E> {
        self.make_room(1)?;
        if self.closers.len() == NESTING_MAX {
            return Err(E::custom("it nests deeper than is shown as JSON"));
        }
        self.json.push(opener);
        self.closers.push(closer);
        self.settle();
        Ok(())
    }

    fn put_close(&mut self) {
        self.json.extend(self.closers.pop());
        self.settle();
    }
}

/// Appends a text as JSON. What `Debug` would escape is escaped, so that no text moves a terminal's cursor.
pub(super) fn push_text(json: &mut String, text: &str) {
    json.push('"');
    text.chars().for_each(|character| put_character(json, character));
    json.push('"');
}

fn put_character(json: &mut String, character: char) {
    match character {
        '"' | '\\' => json.extend(['\\', character]),
        '\'' => json.push(character),
        '\n' => json.push_str("\\n"),
        '\t' => json.push_str("\\t"),
        _ if character.escape_debug().len() == 1 => json.push(character),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(json, "\\u{unit:04x}").expect("a String takes all");
            }
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Output for Json {
    fn atom<E: Error>(&mut self, atom: Atom<'_>) -> Result<(), E> {
        let float = |text: String, is_finite: bool| if is_finite { text } else { format!("\"{text}\"") };
        match atom {
            Atom::Unit | Atom::None => self.put_value("null"),
            Atom::Bool(value) => self.put_value(if value { "true" } else { "false" }),
            Atom::Signed(value) => self.put_number(value.unsigned_abs(), &value.to_string()),
            Atom::Unsigned(value) => self.put_number(value, &value.to_string()),
            Atom::F32(value) => self.put_value(&float(format!("{value:?}"), value.is_finite())),
            Atom::F64(value) => self.put_value(&float(format!("{value:?}"), value.is_finite())),
            Atom::Char(value) => self.put_text(value.encode_utf8(&mut [0; 4])),
            Atom::Text(value) => self.put_text(value),
            Atom::Bytes(value) => self.put_hex(value),
            Atom::Queue(value) => self.put_text(&value.to_string()),
            Atom::Secret => self.put_value("\"(secret)\""),
        }
    }

    fn open<E: Error>(&mut self, what: Container<'_>) -> Result<(), E> {
        let parts = match what {
            Container::Some => Parts::One,
            Container::Seq | Container::Tuple { .. } | Container::Map { by_text: false } => Parts::Listed,
            Container::Map { by_text: true } => Parts::Named { len: 1 },
            Container::Struct(_, Parts::None) => return self.put_value("null"),
            Container::Variant(name, Parts::None) => return self.put_text(name),
            Container::Struct(_, parts) => parts,
            Container::Variant(name, parts) => {
                self.put_open('{', '}')?;
                self.put_name(name)?;
                parts
            }
        };
        match parts {
            Parts::None | Parts::One => Ok(()),
            Parts::Listed => self.put_open('[', ']'),
            Parts::Named { .. } => self.put_open('{', '}'),
        }
    }

    fn part<E: Error>(&mut self, of: Container<'_>, at: usize, name: Option<&str>) -> Result<(), E> {
        self.make_room(1)?;
        if at > 0 {
            self.json.push(',');
        }
        match (of, name) {
            (Container::Map { by_text: true }, _) => {
                self.is_key = true;
                Ok(())
            }
            (Container::Map { by_text: false }, _) => self.put_open('[', ']'),
            (_, Some(name)) => self.put_name(name),
            (_, None) => Ok(()),
        }
    }

    fn entry_value<E: Error>(&mut self, of: Container<'_>) -> Result<(), E> {
        self.is_key = false;
        self.json.push(if matches!(of, Container::Map { by_text: true }) { ':' } else { ',' });
        Ok(())
    }

    fn entry_end<E: Error>(&mut self, of: Container<'_>) -> Result<(), E> {
        if matches!(of, Container::Map { by_text: false }) {
            self.put_close();
        }
        Ok(())
    }

    fn close<E: Error>(&mut self, what: Container<'_>) -> Result<(), E> {
        match what {
            Container::Some | Container::Struct(_, Parts::None | Parts::One) | Container::Variant(_, Parts::None) => {}
            Container::Seq | Container::Tuple { .. } | Container::Map { .. } | Container::Struct(..) => {
                self.put_close();
            }
            Container::Variant(_, Parts::One) => self.put_close(),
            Container::Variant(_, Parts::Listed | Parts::Named { .. }) => {
                self.put_close();
                self.put_close();
            }
        }
        Ok(())
    }
}

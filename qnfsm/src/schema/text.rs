//! Values as Rust's `Debug` would show them.

use std::fmt;

use serde::de::Error;

use super::walk::{Atom, Container, Output, Parts};

/// The text so far, and how much room is left.
pub(super) struct Text {
    pub(super) text: String,
    chars_left: usize,
    pub(super) is_full: bool,
}

impl Text {
    pub(super) fn new(chars_max: usize) -> Text {
        Text { text: String::new(), chars_left: chars_max, is_full: false }
    }

    /// Appends as much as there is room for; an error ends the reading.
    fn put<E: Error>(&mut self, text: &str) -> Result<(), E> {
        for character in text.chars() {
            if self.chars_left == 0 {
                self.is_full = true;
                return Err(E::custom("no room is left"));
            }
            self.chars_left -= 1;
            self.text.push(character);
        }
        Ok(())
    }

    /// A name out of a schema, which may be anybody's.
    fn put_name<E: Error>(&mut self, name: &str) -> Result<(), E> {
        name.escape_debug().try_for_each(|character| self.put(character.encode_utf8(&mut [0; 4])))
    }

    fn put_debug<E: Error>(&mut self, value: impl fmt::Debug) -> Result<(), E> {
        self.put(&format!("{value:?}"))
    }

    /// No more of a long string is copied than there is room for.
    fn put_str<E: Error>(&mut self, text: &str) -> Result<(), E> {
        let end = text.char_indices().nth(self.chars_left).map_or(text.len(), |(at, _)| at);
        self.put_debug(&text[..end])
    }

    fn put_bytes<E: Error>(&mut self, bytes: &[u8]) -> Result<(), E> {
        self.put("0x")?;
        bytes.iter().try_for_each(|byte| self.put(&format!("{byte:02x}")))
    }
}

impl Output for Text {
    fn atom<E: Error>(&mut self, atom: Atom<'_>) -> Result<(), E> {
        match atom {
            Atom::Unit => self.put("()"),
            Atom::None => self.put("None"),
            Atom::Bool(value) => self.put_debug(value),
            Atom::Signed(value) => self.put_debug(value),
            Atom::Unsigned(value) => self.put_debug(value),
            Atom::F32(value) => self.put_debug(value),
            Atom::F64(value) => self.put_debug(value),
            Atom::Char(value) => self.put_debug(value),
            Atom::Text(value) => self.put_str(value),
            Atom::Bytes(value) => self.put_bytes(value),
            Atom::Queue(value) => self.put_debug(value),
            Atom::Secret => self.put("Secret(…)"),
        }
    }

    fn open<E: Error>(&mut self, what: Container<'_>) -> Result<(), E> {
        match what {
            Container::Some => self.put("Some("),
            Container::Seq => self.put("["),
            Container::Tuple { .. } => self.put("("),
            Container::Map { .. } => self.put("{"),
            Container::Struct(name, parts) | Container::Variant(name, parts) => {
                self.put_name(name)?;
                match parts {
                    Parts::None | Parts::Named { len: 0 } => Ok(()),
                    Parts::One | Parts::Listed => self.put("("),
                    Parts::Named { .. } => self.put(" { "),
                }
            }
        }
    }

    fn part<E: Error>(&mut self, _: Container<'_>, at: usize, name: Option<&str>) -> Result<(), E> {
        if at > 0 {
            self.put(", ")?;
        }
        let Some(name) = name else { return Ok(()) };
        self.put_name(name)?;
        self.put(": ")
    }

    fn entry_value<E: Error>(&mut self, _: Container<'_>) -> Result<(), E> {
        self.put(": ")
    }

    fn entry_end<E: Error>(&mut self, _: Container<'_>) -> Result<(), E> {
        Ok(())
    }

    fn close<E: Error>(&mut self, what: Container<'_>) -> Result<(), E> {
        match what {
            Container::Tuple { len: 1 } => self.put(",)"),
            Container::Some | Container::Tuple { .. } => self.put(")"),
            Container::Seq => self.put("]"),
            Container::Map { .. } => self.put("}"),
            Container::Struct(_, parts) | Container::Variant(_, parts) => match parts {
                Parts::None | Parts::Named { len: 0 } => Ok(()),
                Parts::One | Parts::Listed => self.put(")"),
                Parts::Named { .. } => self.put(" }"),
            },
        }
    }
}

//! What an encoded value holds, as a tree: for who looks into values of types that he has by their schema alone.
//!
//! A tree is made by the one [`walk`](super::walk), and shown by the outputs of that walk, so it reads like the value itself. It
//! has at most [`NODES_MAX`] nodes. What a secret holds is not in it.

use serde::de::{Error, value};

use super::{
    json::Json,
    text::Text,
    walk::{Atom, Container, Output, Parts},
};
use crate::id::RawQueueId;

/// How many nodes a tree may have: a value with more is too large to be looked into.
pub(super) const NODES_MAX: usize = 1 << 20;

/// What a value, or a part of one, holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// `()`.
    Unit,
    /// `true` or `false`.
    Bool(bool),
    /// A signed integer, of whichever width.
    Signed(i128),
    /// An unsigned integer, of whichever width.
    Unsigned(u128),
    /// A float of 32 bits.
    F32(f32),
    /// A float of 64 bits.
    F64(f64),
    /// A character.
    Char(char),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A queue's name.
    Queue(RawQueueId),
    /// What a [`Secret`](crate::Secret) holds, unseen. Two of them are equal, whatever they hold.
    Secret,
    /// An option.
    Option(Option<Box<Content>>),
    /// A sequence, or an array.
    Seq(Vec<Content>),
    /// A tuple.
    Tuple(Vec<Content>),
    /// A map, in the order of its bytes.
    Map(Vec<(Content, Content)>),
    /// A struct, by its name.
    Struct(String, Fields),
    /// A variant of an enum, by its own name.
    Variant(String, Fields),
}

/// What a struct or a variant holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Fields {
    /// Nothing.
    None,
    /// One value, as in `Newtype(1)`.
    One(Box<Content>),
    /// Several, as in `Pair(1, 2)`.
    Listed(Vec<Content>),
    /// Several with names.
    Named(Vec<(String, Content)>),
}

impl Content {
    /// The value as `Debug` would show it, in at most about so many characters; where it is longer it ends in `…`.
    #[must_use]
    pub fn text(&self, chars_max: usize) -> String {
        let mut out = Text::new(chars_max);
        match self.tell::<value::Error>(&mut out) {
            Ok(()) => out.text,
            Err(_) => out.text + "…",
        }
    }

    /// The value as JSON of about `bytes_max` bytes at most, always well-formed, as [`Printer::json`](super::Printer::json) writes it. Where
    /// it is longer, it ends with the part for which there was room.
    #[must_use]
    pub fn json(&self, bytes_max: usize) -> String {
        let mut out = Json::new(bytes_max);
        // What there is room for is shown.
        let _ = self.tell::<value::Error>(&mut out);
        out.finish()
    }

    /// True if there is a secret in it.
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        match self {
            Content::Secret => true,
            Content::Option(content) => content.as_deref().is_some_and(Content::holds_secret),
            Content::Seq(parts) | Content::Tuple(parts) => parts.iter().any(Content::holds_secret),
            Content::Map(entries) => entries.iter().any(|(key, value)| key.holds_secret() || value.holds_secret()),
            Content::Struct(_, fields) | Content::Variant(_, fields) => match fields {
                Fields::None => false,
                Fields::One(content) => content.holds_secret(),
                Fields::Listed(parts) => parts.iter().any(Content::holds_secret),
                Fields::Named(parts) => parts.iter().any(|(_, part)| part.holds_secret()),
            },
            _ => false,
        }
    }

    /// Tells an output of it, as the walk over its bytes would.
    fn tell<E: Error>(&self, out: &mut impl Output) -> Result<(), E> {
        match self {
            Content::Unit => out.atom(Atom::Unit),
            Content::Bool(value) => out.atom(Atom::Bool(*value)),
            Content::Signed(value) => out.atom(Atom::Signed(*value)),
            Content::Unsigned(value) => out.atom(Atom::Unsigned(*value)),
            Content::F32(value) => out.atom(Atom::F32(*value)),
            Content::F64(value) => out.atom(Atom::F64(*value)),
            Content::Char(value) => out.atom(Atom::Char(*value)),
            Content::Text(value) => out.atom(Atom::Text(value)),
            Content::Bytes(value) => out.atom(Atom::Bytes(value)),
            Content::Queue(value) => out.atom(Atom::Queue(*value)),
            Content::Secret => out.atom(Atom::Secret),
            Content::Option(None) => out.atom(Atom::None),
            Content::Option(Some(content)) => tell_one(content, Container::Some, out),
            Content::Seq(parts) => tell_parts(parts, Container::Seq, out),
            Content::Tuple(parts) => tell_parts(parts, Container::Tuple { len: parts.len() }, out),
            Content::Map(entries) => {
                let map = Container::Map { by_text: entries.iter().all(|(key, _)| matches!(key, Content::Text(_))) };
                out.open(map)?;
                for (at, (key, value)) in entries.iter().enumerate() {
                    out.part(map, at, None)?;
                    key.tell(out)?;
                    out.entry_value(map)?;
                    value.tell(out)?;
                    out.entry_end(map)?;
                }
                out.close(map)
            }
            Content::Struct(name, fields) => tell_fields(fields, |parts| Container::Struct(name, parts), out),
            Content::Variant(name, fields) => tell_fields(fields, |parts| Container::Variant(name, parts), out),
        }
    }
}

fn tell_one<E: Error>(content: &Content, of: Container<'_>, out: &mut impl Output) -> Result<(), E> {
    out.open(of)?;
    content.tell(out)?;
    out.close(of)
}

fn tell_parts<E: Error>(parts: &[Content], of: Container<'_>, out: &mut impl Output) -> Result<(), E> {
    out.open(of)?;
    for (at, part) in parts.iter().enumerate() {
        out.part(of, at, None)?;
        part.tell(out)?;
    }
    out.close(of)
}

fn tell_fields<'n, E: Error>(
    fields: &Fields,
    of: impl Fn(Parts) -> Container<'n>,
    out: &mut impl Output,
) -> Result<(), E> {
    match fields {
        Fields::None => {
            out.open(of(Parts::None))?;
            out.close(of(Parts::None))
        }
        Fields::One(content) => tell_one(content, of(Parts::One), out),
        Fields::Listed(parts) => tell_parts(parts, of(Parts::Listed), out),
        Fields::Named(parts) => {
            let named = of(Parts::Named { len: parts.len() });
            out.open(named)?;
            for (at, (name, part)) in parts.iter().enumerate() {
                out.part(named, at, Some(name))?;
                part.tell(out)?;
            }
            out.close(named)
        }
    }
}

/// Makes a tree of what a walk tells.
#[derive(Debug)]
pub(super) struct Builder {
    /// What is open, the innermost last.
    open: Vec<Open>,
    made: Option<Content>,
    nodes_left: usize,
}

/// A container of which not all parts have come.
#[derive(Debug)]
struct Open {
    parts: Vec<Content>,
    names: Vec<String>,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder { open: Vec::new(), made: None, nodes_left: NODES_MAX }
    }

    /// The tree, once it is whole.
    pub(super) fn take(&mut self) -> Option<Content> {
        if self.open.is_empty() { self.made.take() } else { None }
    }

    fn put<E: Error>(&mut self, content: Content) -> Result<(), E> {
        let left = self.nodes_left.checked_sub(1);
        self.nodes_left = left.ok_or_else(|| E::custom("it has too many parts to be looked into"))?;
        match self.open.last_mut() {
            Some(open) => open.parts.push(content),
            None => self.made = Some(content),
        }
        Ok(())
    }
}

impl Output for Builder {
    fn atom<E: Error>(&mut self, atom: Atom<'_>) -> Result<(), E> {
        self.put(match atom {
            Atom::Unit => Content::Unit,
            Atom::None => Content::Option(None),
            Atom::Bool(value) => Content::Bool(value),
            Atom::Signed(value) => Content::Signed(value),
            Atom::Unsigned(value) => Content::Unsigned(value),
            Atom::F32(value) => Content::F32(value),
            Atom::F64(value) => Content::F64(value),
            Atom::Char(value) => Content::Char(value),
            Atom::Text(value) => Content::Text(value.to_owned()),
            Atom::Bytes(value) => Content::Bytes(value.to_owned()),
            Atom::Queue(value) => Content::Queue(value),
            Atom::Secret => Content::Secret,
        })
    }

    fn open<E: Error>(&mut self, _: Container<'_>) -> Result<(), E> {
        self.open.push(Open { parts: Vec::new(), names: Vec::new() });
        Ok(())
    }

    fn part<E: Error>(&mut self, _: Container<'_>, _: usize, name: Option<&str>) -> Result<(), E> {
        if let (Some(name), Some(open)) = (name, self.open.last_mut()) {
            open.names.push(name.to_owned());
        }
        Ok(())
    }

    fn entry_value<E: Error>(&mut self, _: Container<'_>) -> Result<(), E> {
        Ok(())
    }

    fn entry_end<E: Error>(&mut self, _: Container<'_>) -> Result<(), E> {
        Ok(())
    }

    fn close<E: Error>(&mut self, what: Container<'_>) -> Result<(), E> {
        let Open { parts, names } = self.open.pop().ok_or_else(|| E::custom("more is closed than was opened"))?;
        let content = match what {
            Container::Some => Content::Option(parts.into_iter().next().map(Box::new)),
            Container::Seq => Content::Seq(parts),
            Container::Tuple { .. } => Content::Tuple(parts),
            Container::Map { .. } => Content::Map(pairs(parts)),
            Container::Struct(name, shape) => Content::Struct(name.to_owned(), fields(shape, parts, names)),
            Container::Variant(name, shape) => Content::Variant(name.to_owned(), fields(shape, parts, names)),
        };
        self.put(content)
    }
}

fn fields(shape: Parts, parts: Vec<Content>, names: Vec<String>) -> Fields {
    match shape {
        Parts::None => Fields::None,
        Parts::One => parts.into_iter().next().map_or(Fields::None, |part| Fields::One(Box::new(part))),
        Parts::Listed => Fields::Listed(parts),
        Parts::Named { .. } => Fields::Named(names.into_iter().zip(parts).collect()),
    }
}

/// The entries of a map, whose keys and values came in turns.
fn pairs(parts: Vec<Content>) -> Vec<(Content, Content)> {
    let mut parts = parts.into_iter();
    std::iter::from_fn(|| parts.next().zip(parts.next())).collect()
}

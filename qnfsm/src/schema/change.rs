//! What differs between two values of one type, part by part.
//!
//! Parts are told apart by the names of their fields, their places in a list and their keys in a map. What a secret holds is never
//! shown; that two values differ in nothing but secrets is.

use std::collections::BTreeMap;

use super::{
    content::{Content, Fields},
    path::{Path, PathPart},
    print::Printer,
};
use crate::codec::DecodeError;

/// What differs between two values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// The parts that differ, in the order of the values; no more than were asked for.
    pub parts: Vec<Change>,
    /// How many more there are.
    pub more: usize,
    /// The values differ in what a secret holds, and in nothing that is shown.
    pub in_secrets_alone: bool,
}

/// A part that differs between two values.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Where it is. The empty path is the whole value.
    pub path: Path,
    /// What it is in the first value; none, if that has no such part.
    pub before: Option<Content>,
    /// What it is in the second value; none, if that has no such part.
    pub after: Option<Content>,
}

impl Printer {
    /// What differs between two values, of which each is given as its bytes: at most so many parts, each as small as can be. A
    /// variant that became another one is a change of the whole, an element that is missing in a list is one at its place.
    ///
    /// ```
    /// use qnfsm::{Codec, schema::{Content, Printer, Schema}};
    /// # use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Player { name: String, scores: Vec<u32> }
    ///
    /// let printer = Printer::new(Schema::of::<Player>(&[])?.json());
    /// let bytes = |scores| {
    ///     let mut bytes = Vec::new();
    ///     Codec::CURRENT.encode(&Player { name: "ada".into(), scores }, &mut bytes).map(|()| bytes)
    /// };
    /// let changes = printer.changes(&bytes(vec![1, 2])?, &bytes(vec![1, 3, 4])?, 10)?;
    /// let texts: Vec<_> = changes.parts.iter().map(|change| change.path.to_string()).collect();
    /// assert_eq!(texts, ["scores[1]", "scores[2]"]);
    /// assert_eq!((&changes.parts[1].before, &changes.parts[1].after), (&None, &Some(Content::Unsigned(4))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When one of the two is no such value, has over a million parts, or is of an opaque type.
    pub fn changes(&self, before: &[u8], after: &[u8], parts_max: usize) -> Result<Changes, DecodeError> {
        if before == after {
            return Ok(Changes::default());
        }
        let (before, after) = (self.content(before)?, self.content(after)?);
        let mut changes = before.changes(&after, parts_max);
        changes.in_secrets_alone = changes.parts.is_empty() && changes.more == 0;
        Ok(changes)
    }
}

impl Content {
    /// What can be seen to differ between the two, as [`Printer::changes`] says it of values.
    #[must_use]
    pub fn changes(&self, after: &Content, parts_max: usize) -> Changes {
        let mut comparing = Comparing { path: Path::default(), parts_max, changes: Changes::default() };
        comparing.content(self, after);
        comparing.changes
    }

    /// True if nothing that can be seen differs between the two. A float that is no number is the same as itself.
    #[must_use]
    pub fn is_same(&self, other: &Content) -> bool {
        self.changes(other, 0).more == 0
    }
}

struct Comparing {
    path: Path,
    parts_max: usize,
    changes: Changes,
}

impl Comparing {
    fn content(&mut self, before: &Content, after: &Content) {
        match (before, after) {
            (Content::Option(Some(before)), Content::Option(Some(after))) => self.content(before, after),
            (Content::Seq(before), Content::Seq(after)) => self.listed(before, after, |at| PathPart::Index(at as u64)),
            (Content::Tuple(before), Content::Tuple(after)) => self.listed(before, after, place),
            (Content::Map(before), Content::Map(after)) => self.map(before, after),
            (Content::Struct(_, Fields::One(before)), Content::Struct(_, Fields::One(after))) => {
                self.content(before, after);
            }
            (Content::Struct(_, before), Content::Struct(_, after)) => self.fields(before, after),
            (Content::Variant(name, before), Content::Variant(other, after)) if name == other => {
                self.fields(before, after);
            }
            // A float that is no number is unequal to itself, and unchanged all the same.
            (Content::F32(before), Content::F32(after)) if before.to_bits() == after.to_bits() => {}
            (Content::F64(before), Content::F64(after)) if before.to_bits() == after.to_bits() => {}
            _ if before == after && !is_float(before) => {}
            _ => self.differs(Some(before), Some(after)),
        }
    }

    fn differs(&mut self, before: Option<&Content>, after: Option<&Content>) {
        if self.changes.parts.len() == self.parts_max {
            self.changes.more += 1;
            return;
        }
        self.changes.parts.push(Change { path: self.path.clone(), before: before.cloned(), after: after.cloned() });
    }

    /// Goes on with the part of that name, which may be in one of the two alone.
    fn part(&mut self, part: PathPart, before: Option<&Content>, after: Option<&Content>) {
        self.path.0.push(part);
        match (before, after) {
            (Some(before), Some(after)) => self.content(before, after),
            _ => self.differs(before, after),
        }
        self.path.0.pop();
    }

    fn listed(&mut self, before: &[Content], after: &[Content], part: impl Fn(usize) -> PathPart) {
        for at in 0..before.len().max(after.len()) {
            self.part(part(at), before.get(at), after.get(at));
        }
    }

    fn fields(&mut self, before: &Fields, after: &Fields) {
        match (before, after) {
            (Fields::One(before), Fields::One(after)) => self.part(place(0), Some(before), Some(after)),
            (Fields::Listed(before), Fields::Listed(after)) => self.listed(before, after, place),
            (Fields::Named(before), Fields::Named(after)) => {
                for ((name, before), (_, after)) in before.iter().zip(after) {
                    self.part(PathPart::Field(name.clone()), Some(before), Some(after));
                }
            }
            // Two values of one type hold fields of one sort.
            _ => {}
        }
    }

    fn map(&mut self, before: &[(Content, Content)], after: &[(Content, Content)]) {
        let by_key = |entries: &[(Content, Content)]| -> BTreeMap<PathPart, usize> {
            entries.iter().enumerate().map(|(at, (key, _))| (key_part(key), at)).collect()
        };
        let (places, later) = (by_key(before), by_key(after));
        for (key, value) in before {
            let key = key_part(key);
            let other = later.get(&key).and_then(|at| Some(&after.get(*at)?.1));
            self.part(key, Some(value), other);
        }
        for (key, value) in after {
            let key = key_part(key);
            if !places.contains_key(&key) {
                self.part(key, None, Some(value));
            }
        }
    }
}

fn is_float(content: &Content) -> bool {
    matches!(content, Content::F32(_) | Content::F64(_))
}

/// A place of a tuple, or of what a newtype's variant holds.
fn place(at: usize) -> PathPart {
    PathPart::Field(at.to_string())
}

/// The part of a path that names what a map has under that key.
fn key_part(key: &Content) -> PathPart {
    match key {
        Content::Text(text) => PathPart::Key(text.clone()),
        Content::Unsigned(number) => {
            u64::try_from(*number).map_or_else(|_| PathPart::Key(number.to_string()), PathPart::Index)
        }
        other => PathPart::Key(other.text(KEY_CHARS_MAX)),
    }
}

/// How much of a key stands in a path.
const KEY_CHARS_MAX: usize = 200;

//! Looking into encoded values by their schema: at a part of one, at the name of its variant, and at what parts there can be.

use std::collections::BTreeSet;

use serde_reflection::{ContainerFormat, Format, VariantFormat};

use super::{
    Traced,
    content::{Builder, Content},
    path::{Follower, Path, PathPart, is_only_one},
    print::{Printer, read},
};
use crate::{codec::DecodeError, id::QUEUE_ID_SERDE_NAME, secret::SECRET_SERDE_NAME};

/// What there can be at the end of a path, as far as a type's schema tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outlook {
    /// The names of the fields that may follow; places of tuples are numbers.
    pub fields: BTreeSet<String>,
    /// The names of the variants that it may be.
    pub variants: BTreeSet<String>,
    /// It may be a list or a map, of which parts stand in brackets.
    pub has_places: bool,
    /// It may be a value without parts.
    pub is_plain: bool,
    /// It may be a secret, which nobody may look into.
    pub is_secret: bool,
    /// Nobody knows, because the type is opaque.
    pub is_opaque: bool,
}

impl Outlook {
    /// True if there is nothing at the end of the path in any value.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Outlook::default()
    }

    /// Adds what there can be in another type.
    pub fn merge(&mut self, other: Outlook) {
        self.fields.extend(other.fields);
        self.variants.extend(other.variants);
        self.has_places |= other.has_places;
        self.is_plain |= other.is_plain;
        self.is_secret |= other.is_secret;
        self.is_opaque |= other.is_opaque;
    }
}

impl Printer {
    /// The value as a tree.
    ///
    /// # Errors
    /// When the bytes are no such value, it has over a million parts, or its type is opaque.
    pub fn content(&self, bytes: &[u8]) -> Result<Content, DecodeError> {
        let mut builder = Builder::new();
        read(self.traced()?, bytes, &mut builder)?;
        builder.take().ok_or(DecodeError::CutShort)
    }

    /// The part of the value to which a path leads; none, if it has no such part. What lies behind the part isn't read.
    ///
    /// # Errors
    /// As [`content`](Printer::content).
    pub fn part(&self, bytes: &[u8], path: &Path) -> Result<Option<Content>, DecodeError> {
        self.follow(bytes, Follower::new(path, false))
    }

    /// The name of the variant that is there, if it is one of an enum. What the variant holds isn't read.
    ///
    /// # Errors
    /// As [`content`](Printer::content).
    pub fn variant(&self, bytes: &[u8], path: &Path) -> Result<Option<String>, DecodeError> {
        match self.follow(bytes, Follower::new(path, true))? {
            Some(Content::Variant(name, _)) => Ok(Some(name)),
            _ => Ok(None),
        }
    }

    /// What there can be at the end of a path in values of the type.
    #[must_use]
    pub fn outlook(&self, path: &Path) -> Outlook {
        let Ok(traced) = self.traced() else { return Outlook { is_opaque: true, ..Outlook::default() } };
        let mut outlook = Outlook::default();
        Looking { traced, outlook: &mut outlook, within: Vec::new() }.format(&traced.root, &path.0);
        outlook
    }

    fn follow(&self, bytes: &[u8], mut follower: Follower<'_>) -> Result<Option<Content>, DecodeError> {
        let read = read(self.traced()?, bytes, &mut follower);
        if follower.is_done { Ok(follower.found) } else { read.map(|()| None) }
    }
}

/// Follows a path through formats.
struct Looking<'t, 'o> {
    traced: &'t Traced,
    outlook: &'o mut Outlook,
    /// The named types that the way leads through without a word, each with how much of the path is left there.
    within: Vec<(&'t str, usize)>,
}

impl<'t> Looking<'t, '_> {
    fn format(&mut self, format: &'t Format, path: &[PathPart]) {
        let rest = path.split_first();
        match format {
            Format::TypeName(name) => self.named(name, path),
            Format::Option(content) => {
                self.outlook.is_plain |= path.is_empty();
                self.format(content, path);
            }
            Format::Seq(content) | Format::TupleArray { content, .. } => match rest {
                None => self.outlook.has_places = true,
                Some((PathPart::Key(_), _)) => {}
                Some((PathPart::Field(name), _)) if name.parse::<u64>().is_err() => {}
                Some((_, rest)) => self.format(content, rest),
            },
            Format::Map { value, .. } => match rest {
                None => self.outlook.has_places = true,
                Some((PathPart::Field(_), _)) => {}
                Some((_, rest)) => self.format(value, rest),
            },
            Format::Tuple(parts) => self.listed(parts, path),
            _ if path.is_empty() => self.outlook.is_plain = true,
            _ => {}
        }
    }

    fn named(&mut self, name: &'t str, path: &[PathPart]) {
        match super::walk::without_arguments(name) {
            SECRET_SERDE_NAME => return self.outlook.is_secret |= path.is_empty(),
            QUEUE_ID_SERDE_NAME => return self.outlook.is_plain |= path.is_empty(),
            _ => {}
        }
        let here = (name, path.len());
        if self.within.contains(&here) {
            return;
        }
        self.within.push(here);
        match self.traced.types.get(name) {
            None | Some(ContainerFormat::UnitStruct) => self.outlook.is_plain |= path.is_empty(),
            Some(ContainerFormat::NewTypeStruct(content)) => self.only_one(content, path),
            Some(ContainerFormat::TupleStruct(parts)) => self.listed(parts, path),
            Some(ContainerFormat::Struct(fields)) => {
                self.fields(fields.iter().map(|field| (&*field.name, &field.value)), path);
            }
            Some(ContainerFormat::Enum(variants)) => {
                for variant in variants.values() {
                    if path.is_empty() {
                        self.outlook.variants.insert(variant.name.clone());
                    }
                    match &variant.value {
                        VariantFormat::Unit | VariantFormat::Variable(_) => {}
                        VariantFormat::NewType(content) => self.variant_of_one(content, path),
                        VariantFormat::Tuple(parts) => self.listed(parts, path),
                        VariantFormat::Struct(fields) => {
                            self.fields(fields.iter().map(|field| (&*field.name, &field.value)), path);
                        }
                    }
                }
            }
        }
        self.within.pop();
    }

    /// What a newtype holds, which is the newtype to whoever looks.
    fn only_one(&mut self, content: &'t Format, path: &[PathPart]) {
        self.format(content, &path[usize::from(is_only_one(path.first()))..]);
    }

    /// What a newtype's variant holds: its fields are the variant's, but it itself isn't.
    fn variant_of_one(&mut self, content: &'t Format, path: &[PathPart]) {
        if !path.is_empty() {
            return self.only_one(content, path);
        }
        let mut inner = Outlook::default();
        Looking { traced: self.traced, outlook: &mut inner, within: self.within.clone() }.format(content, path);
        self.outlook.fields.extend(inner.fields);
        self.outlook.fields.insert("0".to_owned());
        self.outlook.is_opaque |= inner.is_opaque;
    }

    fn listed(&mut self, parts: &'t [Format], path: &[PathPart]) {
        match path.split_first() {
            None => self.outlook.fields.extend((0..parts.len()).map(|at| at.to_string())),
            Some((part, rest)) => {
                let at = match part {
                    PathPart::Index(at) => usize::try_from(*at).ok(),
                    PathPart::Field(name) => name.parse().ok(),
                    PathPart::Key(_) => None,
                };
                if let Some(format) = at.and_then(|at| parts.get(at)) {
                    self.format(format, rest);
                }
            }
        }
    }

    fn fields(&mut self, mut fields: impl Iterator<Item = (&'t str, &'t Format)>, path: &[PathPart]) {
        match path.split_first() {
            None => self.outlook.fields.extend(fields.map(|(name, _)| name.to_owned())),
            Some((PathPart::Field(wanted), rest)) => {
                if let Some((_, format)) = fields.find(|(name, _)| name == wanted) {
                    self.format(format, rest);
                }
            }
            Some(_) => {}
        }
    }
}

//! The one walk over encoded values by their schema. It tells an [`Output`] what it meets, in order; how that is shown is
//! the output's.
//!
//! Bytes and schemas may come from anybody. The codec's own rules bound nesting and elements, the walk how many parts
//! it goes through, and an output may end it. What a [`Secret`](crate::Secret) holds is read, because something may
//! follow it, and told to nobody.

use std::{cell::Cell, collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor},
};
use serde_reflection::{ContainerFormat, Format, Named, Registry, VariantFormat};

use super::Traced;
use crate::{
    id::{QUEUE_ID_SERDE_NAME, RawQueueId},
    secret::SECRET_SERDE_NAME,
};

/// How many parts there may be in a value of that many bytes. Parts may take no bytes, and a schema that nobody wrote may ask for
/// any number of such.
const fn parts_max(bytes: usize) -> usize {
    bytes.saturating_mul(8).saturating_add(1 << 16)
}

/// What has no parts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Atom<'a> {
    Unit,
    None,
    Bool(bool),
    Signed(i128),
    Unsigned(u128),
    F32(f32),
    F64(f64),
    Char(char),
    Text(&'a str),
    Bytes(&'a [u8]),
    Queue(RawQueueId),
    /// What a secret holds, unseen.
    Secret,
}

/// What has parts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Container<'a> {
    /// An option's content.
    Some,
    /// A sequence, or an array.
    Seq,
    Tuple {
        len: usize,
    },
    Map {
        /// The keys are texts.
        by_text: bool,
    },
    Struct(&'a str, Parts),
    Variant(&'a str, Parts),
}

/// The parts of what has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    None,
    One,
    Listed,
    Named { len: usize },
}

/// Who shows a value. Each method may end the walk with an error.
pub(super) trait Output {
    fn atom<E: Error>(&mut self, atom: Atom<'_>) -> Result<(), E>;
    fn open<E: Error>(&mut self, what: Container<'_>) -> Result<(), E>;
    /// The part with that number comes; of a map, the entry's key.
    fn part<E: Error>(&mut self, of: Container<'_>, at: usize, name: Option<&str>) -> Result<(), E>;
    /// The value behind a map's key comes.
    fn entry_value<E: Error>(&mut self, of: Container<'_>) -> Result<(), E>;
    /// That value is over.
    fn entry_end<E: Error>(&mut self, of: Container<'_>) -> Result<(), E>;
    fn close<E: Error>(&mut self, what: Container<'_>) -> Result<(), E>;
}

/// Shows nothing.
pub(super) struct Hidden;

impl Output for Hidden {
    fn atom<E: Error>(&mut self, _: Atom<'_>) -> Result<(), E> {
        Ok(())
    }
    fn open<E: Error>(&mut self, _: Container<'_>) -> Result<(), E> {
        Ok(())
    }
    fn part<E: Error>(&mut self, _: Container<'_>, _: usize, _: Option<&str>) -> Result<(), E> {
        Ok(())
    }
    fn entry_value<E: Error>(&mut self, _: Container<'_>) -> Result<(), E> {
        Ok(())
    }
    fn entry_end<E: Error>(&mut self, _: Container<'_>) -> Result<(), E> {
        Ok(())
    }
    fn close<E: Error>(&mut self, _: Container<'_>) -> Result<(), E> {
        Ok(())
    }
}

/// A walk over one value of a type.
pub(super) struct Walk<'p> {
    traced: &'p Traced,
    parts_left: Cell<usize>,
}

impl<'p> Walk<'p> {
    /// Over a value that is, or lies at the front of, so many bytes.
    pub(super) fn new(traced: &'p Traced, bytes: usize) -> Walk<'p> {
        Walk { traced, parts_left: Cell::new(parts_max(bytes)) }
    }

    /// What reads the value, and tells `out` of it.
    pub(super) fn value<'o, O: Output>(&'o self, out: &'o mut O) -> Value<'o, 'o, O> {
        Value { format: &self.traced.root, walk: self, out }
    }

    fn types(&self) -> &'p Registry {
        &self.traced.types
    }

    fn count_part<E: Error>(&self) -> Result<(), E> {
        let left = self.parts_left.get().checked_sub(1);
        self.parts_left.set(left.ok_or_else(|| E::custom("the value has more parts than its bytes could"))?);
        Ok(())
    }
}

/// A generic type's name without its arguments, which may stand behind it in a schema.
pub(super) fn without_arguments(name: &str) -> &str {
    name.split('<').next().filter(|base| !base.is_empty()).unwrap_or(name)
}

/// One value of that format, which is told as it is read.
pub(super) struct Value<'p, 'o, O> {
    format: &'p Format,
    walk: &'p Walk<'p>,
    out: &'o mut O,
}

impl<'de, O: Output> DeserializeSeed<'de> for Value<'_, '_, O> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        let Value { format, walk, out } = self;
        let inside = |shape, out| Inside { shape, walk, out };
        match format {
            Format::Variable(_) => Err(D::Error::custom("the schema is unfinished")),
            Format::TypeName(name) => match walk.types().get(name) {
                Some(container) => container_value(name, container, walk, out, from),
                None => Err(D::Error::custom(format_args!("the schema lacks type {name:?}"))),
            },
            Format::Unit => from.deserialize_unit(Scalar(out)),
            Format::Bool => from.deserialize_bool(Scalar(out)),
            Format::I8 => from.deserialize_i8(Scalar(out)),
            Format::I16 => from.deserialize_i16(Scalar(out)),
            Format::I32 => from.deserialize_i32(Scalar(out)),
            Format::I64 => from.deserialize_i64(Scalar(out)),
            Format::I128 => from.deserialize_i128(Scalar(out)),
            Format::U8 => from.deserialize_u8(Scalar(out)),
            Format::U16 => from.deserialize_u16(Scalar(out)),
            Format::U32 => from.deserialize_u32(Scalar(out)),
            Format::U64 => from.deserialize_u64(Scalar(out)),
            Format::U128 => from.deserialize_u128(Scalar(out)),
            Format::F32 => from.deserialize_f32(Scalar(out)),
            Format::F64 => from.deserialize_f64(Scalar(out)),
            Format::Char => from.deserialize_char(Scalar(out)),
            Format::Str => from.deserialize_str(Scalar(out)),
            Format::Bytes => from.deserialize_bytes(Scalar(out)),
            Format::Option(content) => from.deserialize_option(inside(Shape::Option(content), out)),
            Format::Seq(content) => from.deserialize_seq(inside(Shape::Seq(content), out)),
            Format::Map { key, value } => from.deserialize_map(inside(Shape::Map(key, value), out)),
            Format::Tuple(parts) => from.deserialize_tuple(parts.len(), inside(Shape::Tuple(parts), out)),
            Format::TupleArray { content, size } => {
                from.deserialize_tuple(*size, inside(Shape::Array(content, *size), out))
            }
        }
    }
}

/// What a queue's name is made of. A type of a user's that is called so may be made of something else.
fn is_four_numbers(format: &Format) -> bool {
    match format {
        Format::Tuple(parts) => parts.len() == 4 && parts.iter().all(|part| *part == Format::U32),
        Format::TupleArray { content, size: 4 } => **content == Format::U32,
        _ => false,
    }
}

/// A value of a named type.
fn container_value<'de, D: Deserializer<'de>, O: Output>(
    name: &str,
    container: &ContainerFormat,
    walk: &Walk<'_>,
    out: &mut O,
    from: D,
) -> Result<(), D::Error> {
    let name = without_arguments(name);
    match (name, container) {
        (SECRET_SERDE_NAME, ContainerFormat::NewTypeStruct(content)) => {
            let inside = Inside { shape: Shape::Newtype(name, content), walk, out: &mut Hidden };
            // What the error says could tell of the secret.
            let read = from.deserialize_newtype_struct(SECRET_SERDE_NAME, inside);
            read.map_err(|_| D::Error::custom("the bytes of a secret are none"))?;
            return out.atom(Atom::Secret);
        }
        (QUEUE_ID_SERDE_NAME, ContainerFormat::NewTypeStruct(content)) if is_four_numbers(content) => {
            return out.atom(Atom::Queue(RawQueueId::deserialize(from)?));
        }
        _ => {}
    }
    let inside = |shape, out| Inside { shape, walk, out };
    match container {
        ContainerFormat::UnitStruct => {
            from.deserialize_unit_struct("", Nothing)?;
            let unit = Container::Struct(name, Parts::None);
            out.open(unit)?;
            out.close(unit)
        }
        ContainerFormat::NewTypeStruct(content) => {
            from.deserialize_newtype_struct("", inside(Shape::Newtype(name, content), out))
        }
        ContainerFormat::TupleStruct(parts) => {
            let listed = Shape::Listed(Container::Struct(name, Parts::Listed), parts);
            from.deserialize_tuple(parts.len(), inside(listed, out))
        }
        ContainerFormat::Struct(fields) => {
            let named = Shape::Fields(Container::Struct(name, Parts::Named { len: fields.len() }), fields);
            from.deserialize_tuple(fields.len(), inside(named, out))
        }
        ContainerFormat::Enum(variants) => from.deserialize_enum("", &[], inside(Shape::Enum(name, variants), out)),
    }
}

/// Tells what has no parts.
struct Scalar<'o, O>(&'o mut O);

macro_rules! tell {
    ($($method:ident: $type:ty => |$value:ident| $atom:expr),* $(,)?) => {$(
        fn $method<E: Error>(self, $value: $type) -> Result<(), E> {
            self.0.atom($atom)
        }
    )*};
}

impl<O: Output> Visitor<'_> for Scalar<'_, O> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without parts")
    }

    tell! {
        visit_bool: bool => |value| Atom::Bool(value),
        visit_i64: i64 => |value| Atom::Signed(value.into()),
        visit_i128: i128 => |value| Atom::Signed(value),
        visit_u64: u64 => |value| Atom::Unsigned(value.into()),
        visit_u128: u128 => |value| Atom::Unsigned(value),
        visit_f32: f32 => |value| Atom::F32(value),
        visit_f64: f64 => |value| Atom::F64(value),
        visit_char: char => |value| Atom::Char(value),
        visit_str: &str => |value| Atom::Text(value),
        visit_bytes: &[u8] => |value| Atom::Bytes(value),
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.atom(Atom::Unit)
    }
}

/// Takes a unit struct, whose name is all there is to tell.
struct Nothing;

impl Visitor<'_> for Nothing {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a unit struct")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// What has parts, and the formats of these.
#[derive(Clone, Copy)]
enum Shape<'p> {
    Option(&'p Format),
    Newtype(&'p str, &'p Format),
    Seq(&'p Format),
    Map(&'p Format, &'p Format),
    Tuple(&'p [Format]),
    Array(&'p Format, usize),
    /// A tuple struct or variant.
    Listed(Container<'p>, &'p [Format]),
    /// A struct, or a variant that looks like one.
    Fields(Container<'p>, &'p [Named<Format>]),
    Enum(&'p str, &'p BTreeMap<u32, Named<VariantFormat>>),
}

/// Tells what has parts.
struct Inside<'p, 'o, O> {
    shape: Shape<'p>,
    walk: &'p Walk<'p>,
    out: &'o mut O,
}

impl<'p, O: Output> Inside<'p, '_, O> {
    fn value<'o>(&'o mut self, format: &'p Format) -> Value<'p, 'o, O> {
        Value { format, walk: self.walk, out: self.out }
    }

    /// The parts of a fixed number one after another, each behind its name if it has one.
    fn parts<'de, A: SeqAccess<'de>>(
        &mut self,
        mut access: A,
        of: Container<'_>,
        parts: impl Iterator<Item = (Option<&'p str>, &'p Format)>,
    ) -> Result<(), A::Error> {
        self.out.open(of)?;
        for (at, (name, format)) in parts.enumerate() {
            self.walk.count_part()?;
            self.out.part(of, at, name)?;
            access.next_element_seed(self.value(format))?.ok_or_else(|| A::Error::custom("a part is missing"))?;
        }
        self.out.close(of)
    }
}

impl<'de, O: Output> Visitor<'de> for Inside<'_, '_, O> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with parts")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.out.atom(Atom::None)
    }

    fn visit_some<D: Deserializer<'de>>(mut self, from: D) -> Result<(), D::Error> {
        let Shape::Option(content) = self.shape else { return Err(D::Error::custom("not an option")) };
        self.out.open(Container::Some)?;
        self.value(content).deserialize(from)?;
        self.out.close(Container::Some)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(mut self, from: D) -> Result<(), D::Error> {
        let Shape::Newtype(name, content) = self.shape else { return Err(D::Error::custom("not a newtype")) };
        let newtype = Container::Struct(name, Parts::One);
        self.out.open(newtype)?;
        self.value(content).deserialize(from)?;
        self.out.close(newtype)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, access: A) -> Result<(), A::Error> {
        match self.shape {
            Shape::Seq(content) => {
                let elements = access.size_hint().unwrap_or_default();
                self.parts(access, Container::Seq, std::iter::repeat_n((None, content), elements))
            }
            Shape::Array(content, size) => {
                self.parts(access, Container::Seq, std::iter::repeat_n((None, content), size))
            }
            Shape::Tuple(parts) => {
                let tuple = Container::Tuple { len: parts.len() };
                self.parts(access, tuple, parts.iter().map(|part| (None, part)))
            }
            Shape::Listed(of, parts) => self.parts(access, of, parts.iter().map(|part| (None, part))),
            Shape::Fields(of, fields) => {
                self.parts(access, of, fields.iter().map(|field| (Some(field.name.as_str()), &field.value)))
            }
            _ => Err(A::Error::custom("not a sequence")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        let Shape::Map(key, value) = self.shape else { return Err(A::Error::custom("not a map")) };
        let map = Container::Map { by_text: matches!(key, Format::Str) };
        self.out.open(map)?;
        let mut at = 0;
        while access.size_hint().is_some_and(|left| left > 0) {
            self.walk.count_part()?;
            self.out.part(map, at, None)?;
            at += 1;
            access.next_key_seed(self.value(key))?;
            self.out.entry_value(map)?;
            access.next_value_seed(self.value(value))?;
            self.out.entry_end(map)?;
        }
        self.out.close(map)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<(), A::Error> {
        let Inside { shape: Shape::Enum(name, variants), walk, out } = self else {
            return Err(A::Error::custom("not an enum"));
        };
        let (number, content) = access.variant_seed(PhantomData::<u32>)?;
        let Some(Named { name, value: format }) = variants.get(&number) else {
            return Err(A::Error::custom(format_args!("{name:?} has no variant {number} in the schema")));
        };
        match format {
            VariantFormat::Variable(_) => Err(A::Error::custom("the schema is unfinished")),
            VariantFormat::Unit => {
                let unit = Container::Variant(name, Parts::None);
                out.open(unit)?;
                content.unit_variant()?;
                out.close(unit)
            }
            VariantFormat::NewType(format) => {
                let newtype = Container::Variant(name, Parts::One);
                out.open(newtype)?;
                content.newtype_variant_seed(Value { format, walk, out: &mut *out })?;
                out.close(newtype)
            }
            VariantFormat::Tuple(parts) => {
                let shape = Shape::Listed(Container::Variant(name, Parts::Listed), parts);
                content.tuple_variant(parts.len(), Inside { shape, walk, out })
            }
            VariantFormat::Struct(fields) => {
                let shape = Shape::Fields(Container::Variant(name, Parts::Named { len: fields.len() }), fields);
                content.tuple_variant(fields.len(), Inside { shape, walk, out })
            }
        }
    }
}

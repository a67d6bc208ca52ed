//! Shows encoded values to people, by the names in their schema: the one printer of bytes. It reads as Rust's `Debug`
//! would show the value.
//!
//! Bytes and schemas may come from anybody. The codec's own rules bound nesting and elements, the text is bounded by
//! whoever asks for it, and what the schema doesn't fit is shown as far as it does, and then in hex. Printing never
//! fails and never panics.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_reflection::{ContainerFormat, Format, Named, Registry, VariantFormat};

use super::Traced;
use crate::codec::Codec;

/// Shows the values of one type, which is known by its schema alone.
///
/// ```
/// use qnfsm::{Codec, schema::{Printer, Schema}};
/// # use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// enum Event { Coin { cents: u32 }, Push }
///
/// let printer = Printer::new(Schema::of::<Event>(&[])?.json());
/// let mut bytes = Vec::new();
/// Codec::CURRENT.encode(&Event::Coin { cents: 50 }, &mut bytes)?;
/// assert_eq!(printer.text(&bytes, 100), "Coin { cents: 50 }");
/// assert_eq!(printer.text(&bytes, 10), "Coin { cen… (2 bytes in all)");
/// assert_eq!(printer.text(&bytes[..1], 100), "Coin { cents: … (the bytes end in the middle of the value; 1 byte: 00)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Printer(Result<Traced, &'static str>);

/// How much is shown of what is wrong with bytes.
const ERROR_CHARS_MAX: usize = 160;
/// How many bytes are shown in hex.
const HEX_BYTES_MAX: usize = 24;

impl Printer {
    /// A printer for the values of the type whose [`Schema::json`](super::Schema::json) that is. Those of an opaque
    /// type, or of what is no schema, are shown in hex.
    #[must_use]
    pub fn new(schema_json: &str) -> Printer {
        Printer(serde_json::from_str(schema_json).map_err(|_| {
            let is_opaque = serde_json::from_str::<BTreeMap<String, IgnoredAny>>(schema_json)
                .is_ok_and(|object| object.contains_key("opaque"));
            if is_opaque { "opaque" } else { "no schema can be read" }
        }))
    }

    /// The value in at most `chars_max` characters, and a note where it is longer or the bytes are no such value.
    #[must_use]
    pub fn text(&self, bytes: &[u8], chars_max: usize) -> String {
        let traced = match &self.0 {
            Ok(traced) => traced,
            Err(why) => return format!("({why}; {})", hex(bytes)),
        };
        let mut out = Out { text: String::new(), chars_left: chars_max, is_full: false };
        let read =
            Codec::CURRENT.decode_seed(Value { format: &traced.root, types: &traced.types, out: &mut out }, bytes);
        match read {
            Ok(()) => out.text,
            Err(_) if out.is_full => format!("{}… ({} in all)", out.text, count(bytes)),
            // The error may hold a name out of the schema.
            Err(error) => {
                let error: String = error.to_string().chars().take(ERROR_CHARS_MAX).collect();
                format!("{}… ({error}; {})", out.text, hex(bytes))
            }
        }
    }
}

fn count(bytes: &[u8]) -> String {
    format!("{} byte{}", bytes.len(), if bytes.len() == 1 { "" } else { "s" })
}

/// The first bytes, for a person to compare.
fn hex(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(HEX_BYTES_MAX).map(|byte| format!("{byte:02x}")).collect();
    let more = if bytes.len() > HEX_BYTES_MAX { "…" } else { "" };
    let colon = if bytes.is_empty() { "" } else { ": " };
    format!("{}{colon}{shown}{more}", count(bytes))
}

/// The text so far, and how much room is left.
struct Out {
    text: String,
    chars_left: usize,
    is_full: bool,
}

impl Out {
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

/// One value of that format, which is printed as it is read.
struct Value<'p, 'o> {
    format: &'p Format,
    types: &'p Registry,
    out: &'o mut Out,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        let Value { format, types, out } = self;
        let inside = |shape, out| Inside { shape, types, out };
        match format {
            Format::Variable(_) => Err(D::Error::custom("the schema is unfinished")),
            Format::TypeName(name) => match types.get(name) {
                Some(container) => container_value(name, container, types, out, from),
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

/// A value of a named type.
fn container_value<'de, D: Deserializer<'de>>(
    name: &str,
    container: &ContainerFormat,
    types: &Registry,
    out: &mut Out,
    from: D,
) -> Result<(), D::Error> {
    if !matches!(container, ContainerFormat::Enum(_)) {
        out.put_name(without_arguments(name))?;
    }
    let inside = |shape, out| Inside { shape, types, out };
    match container {
        ContainerFormat::UnitStruct => from.deserialize_unit_struct("", Nothing),
        ContainerFormat::NewTypeStruct(content) => {
            from.deserialize_newtype_struct("", inside(Shape::Newtype(content), out))
        }
        ContainerFormat::TupleStruct(parts) => from.deserialize_tuple(parts.len(), inside(Shape::Parts(parts), out)),
        ContainerFormat::Struct(fields) => from.deserialize_tuple(fields.len(), inside(Shape::Fields(fields), out)),
        ContainerFormat::Enum(variants) => from.deserialize_enum("", &[], inside(Shape::Enum(name, variants), out)),
    }
}

/// A generic type's name as `Debug` shows it; in a schema the arguments may stand behind it.
fn without_arguments(name: &str) -> &str {
    name.split('<').next().filter(|base| !base.is_empty()).unwrap_or(name)
}

/// Prints what has no parts.
struct Scalar<'o>(&'o mut Out);

macro_rules! print_debug {
    ($($method:ident: $type:ty),* $(,)?) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<(), E> {
            self.0.put_debug(value)
        }
    )*};
}

impl Visitor<'_> for Scalar<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without parts")
    }

    print_debug! {
        visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128, visit_f32: f32,
        visit_f64: f64, visit_char: char,
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.0.put_str(value)
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<(), E> {
        self.0.put_bytes(value)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.put("()")
    }
}

/// Takes a unit struct, whose name is all there is to print.
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

/// What has parts, behind its name if it has one.
enum Shape<'p> {
    Option(&'p Format),
    Newtype(&'p Format),
    Seq(&'p Format),
    Map(&'p Format, &'p Format),
    Tuple(&'p [Format]),
    Array(&'p Format, usize),
    /// Those of a tuple struct or variant.
    Parts(&'p [Format]),
    Fields(&'p [Named<Format>]),
    Enum(&'p str, &'p BTreeMap<u32, Named<VariantFormat>>),
}

/// Prints what has parts.
struct Inside<'p, 'o> {
    shape: Shape<'p>,
    types: &'p Registry,
    out: &'o mut Out,
}

impl<'p> Inside<'p, '_> {
    fn value<'o>(&'o mut self, format: &'p Format) -> Value<'p, 'o> {
        Value { format, types: self.types, out: self.out }
    }

    /// The parts of a fixed number one after another, each behind its name if it has one.
    fn parts<'de, A: SeqAccess<'de>>(
        &mut self,
        mut access: A,
        parts: impl Iterator<Item = (Option<&'p str>, &'p Format)>,
    ) -> Result<(), A::Error> {
        for (at, (name, format)) in parts.enumerate() {
            if at > 0 {
                self.out.put(", ")?;
            }
            if let Some(name) = name {
                self.out.put_name(name)?;
                self.out.put(": ")?;
            }
            access.next_element_seed(self.value(format))?.ok_or_else(|| A::Error::custom("a part is missing"))?;
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Inside<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with parts")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.out.put("None")
    }

    fn visit_some<D: Deserializer<'de>>(mut self, from: D) -> Result<(), D::Error> {
        let Shape::Option(content) = self.shape else { return Err(D::Error::custom("not an option")) };
        self.out.put("Some(")?;
        self.value(content).deserialize(from)?;
        self.out.put(")")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(mut self, from: D) -> Result<(), D::Error> {
        let Shape::Newtype(content) = self.shape else { return Err(D::Error::custom("not a newtype")) };
        self.out.put("(")?;
        self.value(content).deserialize(from)?;
        self.out.put(")")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, access: A) -> Result<(), A::Error> {
        match self.shape {
            Shape::Seq(content) => {
                let elements = access.size_hint().unwrap_or_default();
                self.out.put("[")?;
                self.parts(access, std::iter::repeat_n((None, content), elements))?;
                self.out.put("]")
            }
            Shape::Array(content, size) => {
                self.out.put("[")?;
                self.parts(access, std::iter::repeat_n((None, content), size))?;
                self.out.put("]")
            }
            Shape::Tuple(parts) | Shape::Parts(parts) => {
                self.out.put("(")?;
                self.parts(access, parts.iter().map(|part| (None, part)))?;
                self.out.put(if matches!((&self.shape, parts), (Shape::Tuple(_), [_])) { ",)" } else { ")" })
            }
            Shape::Fields([]) => Ok(()),
            Shape::Fields(fields) => {
                self.out.put(" { ")?;
                self.parts(access, fields.iter().map(|field| (Some(field.name.as_str()), &field.value)))?;
                self.out.put(" }")
            }
            _ => Err(A::Error::custom("not a sequence")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        let Shape::Map(key, value) = self.shape else { return Err(A::Error::custom("not a map")) };
        self.out.put("{")?;
        let mut at = 0;
        while access.size_hint().is_some_and(|left| left > 0) {
            if at > 0 {
                self.out.put(", ")?;
            }
            at += 1;
            access.next_key_seed(self.value(key))?;
            self.out.put(": ")?;
            access.next_value_seed(self.value(value))?;
        }
        self.out.put("}")
    }

    fn visit_enum<A: EnumAccess<'de>>(mut self, access: A) -> Result<(), A::Error> {
        let Shape::Enum(name, variants) = self.shape else { return Err(A::Error::custom("not an enum")) };
        let (number, content) = access.variant_seed(PhantomData::<u32>)?;
        let Some(variant) = variants.get(&number) else {
            return Err(A::Error::custom(format_args!("{name:?} has no variant {number} in the schema")));
        };
        self.out.put_name(&variant.name)?;
        let Inside { types, out, .. } = &mut self;
        match &variant.value {
            VariantFormat::Variable(_) => Err(A::Error::custom("the schema is unfinished")),
            VariantFormat::Unit => content.unit_variant(),
            VariantFormat::NewType(format) => {
                out.put("(")?;
                content.newtype_variant_seed(Value { format, types, out })?;
                out.put(")")
            }
            VariantFormat::Tuple(parts) => {
                content.tuple_variant(parts.len(), Inside { shape: Shape::Parts(parts), types, out })
            }
            VariantFormat::Struct(fields) => {
                content.tuple_variant(fields.len(), Inside { shape: Shape::Fields(fields), types, out })
            }
        }
    }
}

//! What is known of a type whose formats can't be traced together: the shape of each value that was seen, by itself.
//!
//! A shape is a text of names, variants' numbers and kinds of numbers, and nothing in it is merged with anything of the
//! same name. So it tells a changed type from the one before also where the names clash. It is only ever hashed.

use std::{collections::BTreeSet, fmt::Write as _};

use serde::{
    de::value::Error,
    ser::{
        Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant, Serializer,
    },
};

use super::search::Asked;
use crate::{Digest, secret::SECRET_SERDE_NAME};

/// The outline of a type.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// The names of the root enum's variants by their numbers.
    pub(super) variants: Vec<String>,
    /// There is a secret in it.
    pub(super) secret: bool,
    shapes: BTreeSet<String>,
}

impl Outline {
    /// The outline that the values show. One that its `Serialize` refuses shows nothing.
    pub(super) fn of<'v, T: Serialize + 'v>(values: impl Iterator<Item = &'v T>) -> Outline {
        let mut outline = Outline::default();
        for value in values {
            let Ok(Shape { text, variant }) = value.serialize(Draw) else { continue };
            // A shape quotes names, and of a value it shows nothing.
            outline.secret |= text.contains(SECRET_SERDE_NAME);
            outline.shapes.insert(text);
            let Some((number, name)) = variant else { continue };
            let Ok(number) = usize::try_from(number) else { continue };
            for missing in outline.variants.len()..=number {
                outline.variants.push(format!("#{missing}"));
            }
            name.clone_into(&mut outline.variants[number]);
        }
        outline
    }

    /// The digest of all shapes, and of the names that the type's `Deserialize` asked for: they are known also where no
    /// value could be made.
    pub(super) fn digest(&self, asked: &Asked) -> u64 {
        let mut digest = Digest::new();
        digest.mix(self.shapes.len() as u64);
        self.shapes.iter().for_each(|shape| digest.mix_bytes(shape.as_bytes()));
        for names in [&asked.fields, &asked.variants] {
            digest.mix(names.len() as u64);
            for (of, names) in names {
                digest.mix_bytes(of.as_bytes());
                digest.mix(names.len() as u64);
                names.iter().for_each(|name| digest.mix_bytes(name.as_bytes()));
            }
        }
        digest.value()
    }
}

/// The shape of one value, and which variant it is if it is one.
struct Shape {
    text: String,
    variant: Option<(u32, &'static str)>,
}

impl Shape {
    fn new(text: impl Into<String>) -> Shape {
        Shape { text: text.into(), variant: None }
    }
}

/// Names are quoted, so that no name can look like the end of one and something else.
fn quoted_variant(name: &str, index: u32, variant: &str) -> String {
    format!("{name:?}#{index}{variant:?}")
}

/// Draws the shape of a value.
struct Draw;

/// The parts of a container, one behind another.
struct Parts {
    text: String,
    variant: Option<(u32, &'static str)>,
}

impl Parts {
    fn new(text: String) -> Parts {
        Parts { text, variant: None }
    }

    fn part<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Error> {
        let part = value.serialize(Draw)?.text;
        write!(self.text, "{name:?}:{part},").map_err(serde::ser::Error::custom)
    }

    fn finish(self) -> Shape {
        Shape { text: self.text + ")", variant: self.variant }
    }
}

/// The distinct shapes of a sequence's or map's elements: how many there are and in what order is no matter of the type.
struct Elements {
    of: &'static str,
    shapes: BTreeSet<String>,
    key: String,
}

impl Elements {
    fn new(of: &'static str) -> Elements {
        Elements { of, shapes: BTreeSet::new(), key: String::new() }
    }

    fn finish(self) -> Shape {
        let shapes: Vec<_> = self.shapes.into_iter().collect();
        Shape::new(format!("{}({})", self.of, shapes.join("|")))
    }
}

macro_rules! plain {
    ($($method:ident($type:ty) => $name:literal),* $(,)?) => {$(
        fn $method(self, _: $type) -> Result<Shape, Error> {
            Ok(Shape::new($name))
        }
    )*};
}

impl Serializer for Draw {
    type Ok = Shape;
    type Error = Error;
    type SerializeSeq = Elements;
    type SerializeTuple = Parts;
    type SerializeTupleStruct = Parts;
    type SerializeTupleVariant = Parts;
    type SerializeMap = Elements;
    type SerializeStruct = Parts;
    type SerializeStructVariant = Parts;

    plain! {
        serialize_bool(bool) => "bool", serialize_i8(i8) => "i8", serialize_i16(i16) => "i16",
        serialize_i32(i32) => "i32", serialize_i64(i64) => "i64", serialize_i128(i128) => "i128",
        serialize_u8(u8) => "u8", serialize_u16(u16) => "u16", serialize_u32(u32) => "u32",
        serialize_u64(u64) => "u64", serialize_u128(u128) => "u128", serialize_f32(f32) => "f32",
        serialize_f64(f64) => "f64", serialize_char(char) => "char", serialize_str(&str) => "str",
        serialize_bytes(&[u8]) => "bytes",
    }

    fn serialize_unit(self) -> Result<Shape, Error> {
        Ok(Shape::new("unit"))
    }

    fn serialize_none(self) -> Result<Shape, Error> {
        Ok(Shape::new("option()"))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Shape, Error> {
        Ok(Shape::new(format!("option({})", value.serialize(Draw)?.text)))
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<Shape, Error> {
        Ok(Shape::new(format!("{name:?}")))
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<Shape, Error> {
        Ok(Shape { text: quoted_variant(name, index, variant), variant: Some((index, variant)) })
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<Shape, Error> {
        Ok(Shape::new(format!("{name:?}[{}]", value.serialize(Draw)?.text)))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Shape, Error> {
        let text = format!("{}[{}]", quoted_variant(name, index, variant), value.serialize(Draw)?.text);
        Ok(Shape { text, variant: Some((index, variant)) })
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements, Error> {
        Ok(Elements::new("seq"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts, Error> {
        Ok(Parts::new("(".to_owned()))
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Parts, Error> {
        Ok(Parts::new(format!("{name:?}(")))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts, Error> {
        Ok(Parts { text: quoted_variant(name, index, variant) + "(", variant: Some((index, variant)) })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Elements, Error> {
        Ok(Elements::new("map"))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Parts, Error> {
        Ok(Parts::new(format!("{name:?}(")))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Parts, Error> {
        self.serialize_tuple_variant(name, index, variant, len)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! parts {
    ($($of:ident::$method:ident),* $(,)?) => {$(
        impl $of for Parts {
            type Ok = Shape;
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.part("", value)
            }

            fn end(self) -> Result<Shape, Error> {
                Ok(self.finish())
            }
        }
    )*};
}

parts! { SerializeTuple::serialize_element, SerializeTupleStruct::serialize_field, SerializeTupleVariant::serialize_field }

macro_rules! fields {
    ($($of:ident),*) => {$(
        impl $of for Parts {
            type Ok = Shape;
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, field: &'static str, value: &T) -> Result<(), Error> {
                self.part(field, value)
            }

            fn end(self) -> Result<Shape, Error> {
                Ok(self.finish())
            }
        }
    )*};
}

fields! { SerializeStruct, SerializeStructVariant }

impl SerializeSeq for Elements {
    type Ok = Shape;
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.shapes.insert(value.serialize(Draw)?.text);
        Ok(())
    }

    fn end(self) -> Result<Shape, Error> {
        Ok(self.finish())
    }
}

impl SerializeMap for Elements {
    type Ok = Shape;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.key = key.serialize(Draw)?.text;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let value = value.serialize(Draw)?.text;
        self.shapes.insert(format!("{}={value}", std::mem::take(&mut self.key)));
        Ok(())
    }

    fn end(self) -> Result<Shape, Error> {
        Ok(self.finish())
    }
}

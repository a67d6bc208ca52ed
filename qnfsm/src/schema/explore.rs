//! Makes values of a type out of nothing but its `Deserialize`, until every variant of every enum in it was seen.
//!
//! serde-reflection's own tracing of types explores the variants of the outermost enum alone, and serde hands out no
//! type by which those within could be traced apart. So the explorer answers each request of the type itself, pass for
//! pass with other variants, and the values are what serde-reflection then traces. Kinds of containers are told apart
//! by their visitor's type, of which the name tells generic arguments apart too; it is never written anywhere.
//!
//! A pass always ends: a container within itself is left empty, and an enum within itself takes a variant that is known
//! to end, which is searched for by backtracking.

use std::{any::type_name, fmt};

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
    value::U32Deserializer,
};
use serde_reflection::{Samples, Value};

use super::{
    error::Misfit,
    search::{Asked, Fault, Halt, Impossible, Inject, Mode, Search},
};
use crate::{codec::NESTING_MAX, secret::SECRET_SERDE_NAME};

/// How many passes a type may need; more variants than that are not explored.
const PASSES_MAX: usize = 10_000;

/// What an exploration found.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) values: Vec<T>,
    /// Why some of what the type can be was not made.
    pub(super) failure: Option<String>,
}

/// Explores `T` in one mode.
pub(super) fn explore<T: de::DeserializeOwned>(
    mode: Mode,
    samples: &Samples,
    asked: &mut Asked,
) -> Result<Found<T>, Impossible> {
    let mut search = Search::new(mode, samples, asked);
    let mut found = Found { values: Vec::new(), failure: None };
    for _ in 0..PASSES_MAX {
        search.start_pass();
        match T::deserialize(Explorer { search: &mut search, within_key: false }) {
            Ok(value) => {
                found.values.push(value);
                if !search.commit() {
                    if search.is_unfinished() {
                        found.failure.get_or_insert_with(|| "not all of its variants could be made".to_string());
                    }
                    return Ok(found);
                }
            }
            Err(Halt(reason)) => match search.fault.take() {
                Some(Fault::Impossible(impossible)) => return Err(impossible),
                _ if search.blamed => {
                    if let Some(refusal) = search.refusal.take() {
                        found.failure.get_or_insert(refusal);
                    }
                }
                _ => {
                    found.failure.get_or_insert(reason);
                    return Ok(found);
                }
            },
        }
    }
    found.failure.get_or_insert_with(|| format!("it has more than {PASSES_MAX} variants within variants"));
    Ok(found)
}

/// The deserializer that a type sees.
struct Explorer<'s, 'a> {
    search: &'s mut Search<'a>,
    /// A map's key is being read.
    within_key: bool,
}

/// What a visitor says that it expects.
fn expected<'de, V: Visitor<'de>>(visitor: &V) -> String {
    struct Expected<'v, V>(&'v V);
    impl<'de, V: Visitor<'de>> fmt::Display for Expected<'_, V> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.expecting(f)
        }
    }
    Expected(visitor).to_string()
}

/// A sample of the user's, as a deserializer.
fn reader(sample: &Value) -> impl Deserializer<'_, Error = serde_reflection::Error> {
    sample.into_deserializer()
}

fn from_sample<T>(result: Result<T, serde_reflection::Error>) -> Result<T, Halt> {
    result.map_err(|error| Halt(format!("a sample doesn't come back: {error}")))
}

impl<'a> Explorer<'_, 'a> {
    /// Goes one level down for as long as `inside` runs.
    fn deeper<R>(self, inside: impl FnOnce(&mut Search<'a>) -> Result<R, Halt>) -> Result<R, Halt> {
        if self.search.depth == NESTING_MAX {
            return Err(self.search.round());
        }
        self.search.depth += 1;
        let result = inside(self.search)?;
        self.search.depth -= 1;
        Ok(result)
    }

    /// Reads `count` elements of an option, sequence or map; `count` is 0 where it must end.
    fn fill<R>(
        self,
        key: &'static str,
        inside: impl FnOnce(&mut Search<'a>, usize) -> Result<R, Halt>,
    ) -> Result<R, Halt> {
        self.deeper(|search| {
            let count = usize::from(search.fills(key));
            search.open.push(key);
            let result = inside(search, count);
            search.leave_container(key, result.is_err());
            result
        })
    }

    /// Reads a struct, of which the fields are known where they have names.
    fn part<R>(self, name: &'static str, inside: impl FnOnce(&mut Search<'a>) -> Result<R, Halt>) -> Result<R, Halt> {
        self.deeper(|search| {
            search.place.push((name, None));
            let result = inside(search)?;
            search.place.pop();
            Ok(result)
        })
    }
}

macro_rules! plain {
    ($($method:ident => $visit:ident($lean:expr, $full:expr)),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Halt> {
            visitor.$visit(if self.search.mode.truthy { $full } else { $lean })
        }
    )*};
}

impl<'de> Deserializer<'de> for Explorer<'_, 'de> {
    type Error = Halt;

    plain! {
        deserialize_bool => visit_bool(false, true),
        deserialize_i8 => visit_i8(0, 1),
        deserialize_i16 => visit_i16(0, 1),
        deserialize_i32 => visit_i32(0, 1),
        deserialize_i64 => visit_i64(0, 1),
        deserialize_i128 => visit_i128(0, 1),
        deserialize_u8 => visit_u8(0, 1),
        deserialize_u16 => visit_u16(0, 1),
        deserialize_u32 => visit_u32(0, 1),
        deserialize_u64 => visit_u64(0, 1),
        deserialize_u128 => visit_u128(0, 1),
        deserialize_f32 => visit_f32(0.0, 1.0),
        deserialize_f64 => visit_f64(0.0, 1.0),
        deserialize_char => visit_char('a', 'b'),
        deserialize_str => visit_borrowed_str("", "a"),
        deserialize_string => visit_borrowed_str("", "a"),
        deserialize_bytes => visit_borrowed_bytes(b"", b"a"),
        deserialize_byte_buf => visit_borrowed_bytes(b"", b"a"),
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Halt> {
        let tagged = expected(&visitor).starts_with("internally tagged");
        Err(self.search.impossible(if tagged { Misfit::Tagged } else { Misfit::Untagged }))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Halt> {
        Err(self.search.impossible(if self.within_key { Misfit::Flattened } else { Misfit::NotSelfDescribing }))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Halt> {
        Err(self.search.impossible(Misfit::NotSelfDescribing))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Halt> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Halt> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Halt> {
        self.fill(type_name::<V>(), |search, count| match count {
            0 => visitor.visit_none(),
            _ => visitor.visit_some(Explorer { search, within_key: false }),
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Halt> {
        self.search.asked.secret |= name == SECRET_SERDE_NAME;
        if let Some(sample) = self.search.sample(name, Inject::Newtypes) {
            return from_sample(reader(sample).deserialize_newtype_struct(name, visitor));
        }
        self.part(name, |search| visitor.visit_newtype_struct(Explorer { search, within_key: false }))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Halt> {
        self.fill(type_name::<V>(), |search, left| visitor.visit_seq(Elements { search, left, fields: &[] }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Halt> {
        self.deeper(|search| visitor.visit_seq(Elements { search, left, fields: &[] }))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Halt> {
        if let Some(sample) = self.search.sample(name, Inject::Structs) {
            return from_sample(reader(sample).deserialize_tuple_struct(name, left, visitor));
        }
        self.part(name, |search| visitor.visit_seq(Elements { search, left, fields: &[] }))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Halt> {
        self.fill(type_name::<V>(), |search, left| visitor.visit_map(Elements { search, left, fields: &[] }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Halt> {
        self.search.asked.fields.insert(name, fields);
        if let Some(sample) = self.search.sample(name, Inject::Structs) {
            return from_sample(reader(sample).deserialize_struct(name, fields, visitor));
        }
        self.part(name, |search| visitor.visit_seq(Elements { search, left: fields.len(), fields }))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Halt> {
        self.search.asked.variants.insert(name, variants);
        self.deeper(|search| {
            let choice = search.enter_enum(type_name::<V>(), name, variants.len())?;
            let result = visitor.visit_enum(OneOf { search, variant: choice.variant });
            search.leave_enum(&choice, result.as_ref().err());
            result
        })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a sequence or struct, or the entries of a map.
struct Elements<'s, 'a> {
    search: &'s mut Search<'a>,
    left: usize,
    /// The fields' names, where there are some.
    fields: &'static [&'static str],
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Halt;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Halt> {
        if self.left == 0 {
            return Ok(None);
        }
        if let (Some(field), Some(place)) = (self.fields.len().checked_sub(self.left), self.search.place.last_mut()) {
            place.1 = self.fields.get(field).copied();
        }
        self.left -= 1;
        seed.deserialize(Explorer { search: self.search, within_key: false }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = Halt;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Halt> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(Explorer { search: self.search, within_key: true }).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Halt> {
        seed.deserialize(Explorer { search: self.search, within_key: false })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// An enum that is one of its variants.
struct OneOf<'s, 'a> {
    search: &'s mut Search<'a>,
    variant: u32,
}

impl<'de> EnumAccess<'de> for OneOf<'_, 'de> {
    type Error = Halt;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Halt> {
        let number: U32Deserializer<Halt> = self.variant.into_deserializer();
        match seed.deserialize(number) {
            Ok(value) => Ok((value, self)),
            Err(halt) => {
                self.search.fault.get_or_insert(Fault::NoVariant);
                Err(halt)
            }
        }
    }
}

impl<'de> VariantAccess<'de> for OneOf<'_, 'de> {
    type Error = Halt;

    fn unit_variant(self) -> Result<(), Halt> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Halt> {
        seed.deserialize(Explorer { search: self.search, within_key: false })
    }

    fn tuple_variant<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Halt> {
        visitor.visit_seq(Elements { search: self.search, left, fields: &[] })
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Halt> {
        visitor.visit_seq(Elements { search: self.search, left: fields.len(), fields })
    }
}

//! Stands between a type's `Deserialize` and bincode, and refuses what hostile bytes could ask for.
//!
//! It caps nesting and the number of elements, lets no string or byte array be allocated before its length was checked
//! against the bytes that are there, and keeps queue IDs out of what untrusted peers wrote. A fault is noted in
//! [`Rules`], because serde's visitors carry no error type but the format's. On the good path nothing is allocated.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::{DecodeError, Trust};
use crate::id::QUEUE_ID_SERDE_NAME;

/// What holds for one decoding, how much of it is used up, and how it failed.
pub(super) struct Rules {
    trust: Trust,
    nesting_max: u32,
    elements_left: Cell<usize>,
    fault: Cell<Option<DecodeError>>,
}

impl Rules {
    #[inline]
    pub(super) fn new(trust: Trust, nesting_max: u32, elements_max: usize) -> Rules {
        Rules { trust, nesting_max, elements_left: Cell::new(elements_max), fault: Cell::new(None) }
    }

    /// The rule that was broken, if one was.
    pub(super) fn into_fault(self) -> Option<DecodeError> {
        self.fault.into_inner()
    }

    #[cold]
    fn broken<E: Error>(&self, fault: DecodeError) -> E {
        let error = E::custom(&fault);
        self.fault.set(Some(fault));
        error
    }

    /// One level deeper than `depth`.
    #[inline]
    fn enter<E: Error>(&self, depth: u32) -> Result<u32, E> {
        if depth == self.nesting_max { Err(self.broken(DecodeError::NestingTooDeep)) } else { Ok(depth + 1) }
    }

    /// Uses up the elements that a sequence or map claims to have, before the first of them is read.
    #[inline]
    fn claim<E: Error>(&self, claimed: Option<usize>) -> Result<(), E> {
        match self.elements_left.get().checked_sub(claimed.unwrap_or(usize::MAX)) {
            Some(left) => {
                self.elements_left.set(left);
                Ok(())
            }
            None => Err(self.broken(DecodeError::TooManyElements)),
        }
    }

    /// Elements that a visitor leaves would be read as whatever follows.
    #[inline]
    fn all_taken<E: Error>(&self, left: Option<usize>) -> Result<(), E> {
        match left {
            Some(0) => Ok(()),
            left => Err(self.broken(DecodeError::ElementsLeft { left: left.unwrap_or(0) })),
        }
    }
}

/// The seed for a whole value.
pub(super) struct Root<'g, S> {
    rules: &'g Rules,
    seed: S,
}

impl<'g, S> Root<'g, S> {
    #[inline]
    pub(super) fn new(rules: &'g Rules, seed: S) -> Root<'g, S> {
        Root { rules, seed }
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Root<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.seed.deserialize(Guarded { inner: deserializer, rules: self.rules, depth: 0 })
    }
}

/// Anything of serde's that reads, with the rules and the depth that it stands at.
struct Guarded<'g, I> {
    inner: I,
    rules: &'g Rules,
    depth: u32,
}

impl<'g, I> Guarded<'g, I> {
    /// Puts the same rules around something else at the same depth.
    #[inline]
    fn around<J>(&self, inner: J) -> Guarded<'g, J> {
        Guarded { inner, rules: self.rules, depth: self.depth }
    }
}

/// What a container's visitor is asked for.
#[derive(Clone, Copy)]
enum Length {
    /// The type says how many elements there are.
    Fixed,
    /// The bytes say it.
    Claimed,
}

struct GuardedVisitor<'g, V> {
    visitor: Guarded<'g, V>,
    length: Length,
}

impl<'g, D> Guarded<'g, D> {
    /// A visitor for what is inside this container.
    #[inline]
    fn inside<V, E: Error>(&self, visitor: V, length: Length) -> Result<GuardedVisitor<'g, V>, E> {
        let depth = self.rules.enter(self.depth)?;
        Ok(GuardedVisitor { visitor: Guarded { inner: visitor, rules: self.rules, depth }, length })
    }
}

macro_rules! pass_on {
    ($($method:ident => $to:ident),* $(,)?) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$to(visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guarded<'_, D> {
    type Error = D::Error;

    pass_on! {
        deserialize_any => deserialize_any,
        deserialize_bool => deserialize_bool,
        deserialize_i8 => deserialize_i8,
        deserialize_i16 => deserialize_i16,
        deserialize_i32 => deserialize_i32,
        deserialize_i64 => deserialize_i64,
        deserialize_i128 => deserialize_i128,
        deserialize_u8 => deserialize_u8,
        deserialize_u16 => deserialize_u16,
        deserialize_u32 => deserialize_u32,
        deserialize_u64 => deserialize_u64,
        deserialize_u128 => deserialize_u128,
        deserialize_f32 => deserialize_f32,
        deserialize_f64 => deserialize_f64,
        deserialize_char => deserialize_char,
        // Both as borrowed ones: bincode would allocate what an owned one claims before it looks for the bytes.
        deserialize_str => deserialize_str,
        deserialize_string => deserialize_str,
        deserialize_bytes => deserialize_bytes,
        deserialize_byte_buf => deserialize_bytes,
        deserialize_unit => deserialize_unit,
        deserialize_identifier => deserialize_identifier,
        deserialize_ignored_any => deserialize_ignored_any,
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let inside = self.inside(visitor, Length::Fixed)?;
        self.inner.deserialize_option(inside)
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        if self.rules.trust == Trust::Peer && name == QUEUE_ID_SERDE_NAME {
            return Err(self.rules.broken(DecodeError::QueueIdFromPeer));
        }
        let inside = self.inside(visitor, Length::Fixed)?;
        self.inner.deserialize_newtype_struct(name, inside)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let inside = self.inside(visitor, Length::Claimed)?;
        self.inner.deserialize_seq(inside)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        let inside = self.inside(visitor, Length::Fixed)?;
        self.inner.deserialize_tuple(len, inside)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let inside = self.inside(visitor, Length::Fixed)?;
        self.inner.deserialize_tuple_struct(name, len, inside)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let inside = self.inside(visitor, Length::Claimed)?;
        self.inner.deserialize_map(inside)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let inside = self.inside(visitor, Length::Fixed)?;
        self.inner.deserialize_struct(name, fields, inside)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let inside = self.inside(visitor, Length::Fixed)?;
        self.inner.deserialize_enum(name, variants, inside)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Only containers' visitors are wrapped, and bincode answers each request with the one visit that fits it.
impl<'de, V: Visitor<'de>> Visitor<'de> for GuardedVisitor<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.inner.expecting(f)
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.inner.visit_none()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.visitor.around(deserializer);
        self.visitor.inner.visit_some(deserializer)
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.visitor.around(deserializer);
        self.visitor.inner.visit_newtype_struct(deserializer)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<V::Value, A::Error> {
        let Guarded { rules, .. } = self.visitor;
        match self.length {
            Length::Fixed => {
                let elements = self.visitor.around(elements);
                self.visitor.inner.visit_seq(elements)
            }
            Length::Claimed => {
                rules.claim(elements.size_hint())?;
                let guarded = self.visitor.around(&mut elements);
                let value = self.visitor.inner.visit_seq(guarded)?;
                rules.all_taken(elements.size_hint())?;
                Ok(value)
            }
        }
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<V::Value, A::Error> {
        let Guarded { rules, .. } = self.visitor;
        rules.claim(entries.size_hint())?;
        let guarded = self.visitor.around(&mut entries);
        let value = self.visitor.inner.visit_map(guarded)?;
        rules.all_taken(entries.size_hint())?;
        Ok(value)
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.visitor.around(access);
        self.visitor.inner.visit_enum(access)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Guarded<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.around(deserializer);
        self.inner.deserialize(deserializer)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Guarded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        let seed = self.around(seed);
        self.inner.next_element_seed(seed)
    }

    /// Bounded, because the elements were claimed before.
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Guarded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let seed = self.around(seed);
        self.inner.next_key_seed(seed)
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.around(seed);
        self.inner.next_value_seed(seed)
    }

    /// Bounded, because the entries were claimed before.
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'g, A: EnumAccess<'de>> EnumAccess<'de> for Guarded<'g, A> {
    type Error = A::Error;
    type Variant = Guarded<'g, A::Variant>;

    /// The seed reads the variant's number, which needs no guard.
    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let Guarded { inner, rules, depth } = self;
        let (value, variant) = inner.variant_seed(seed)?;
        Ok((value, Guarded { inner: variant, rules, depth }))
    }
}

impl<'de, 'g, A: VariantAccess<'de>> VariantAccess<'de> for Guarded<'g, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.around(seed);
        self.inner.newtype_variant_seed(seed)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = GuardedVisitor { visitor: self.around(visitor), length: Length::Fixed };
        self.inner.tuple_variant(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = GuardedVisitor { visitor: self.around(visitor), length: Length::Fixed };
        self.inner.struct_variant(fields, visitor)
    }
}

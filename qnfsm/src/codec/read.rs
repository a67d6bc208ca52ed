//! Reads values: a `Deserializer` for the bytes of bincode 2's `standard()` configuration that refuses what hostile bytes
//! could ask for.
//!
//! It caps nesting and the number of elements, checks each length against the bytes that are there before anything is
//! allocated, and keeps queue IDs out of what untrusted peers wrote. On the good path nothing is allocated. bincode itself
//! reads beside it in the tests: all that either reads, the other reads as the same value.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::{Bounds, DecodeError, LONG_16, LONG_32, LONG_64, LONG_128, Trust};
use crate::id::QUEUE_ID_SERDE_NAME;

type Refused = super::Refused<DecodeError>;

impl Error for Refused {
    #[cold]
    fn custom<T: fmt::Display>(text: T) -> Refused {
        DecodeError::Malformed(text.to_string()).into()
    }
}

/// Bytes that are being read, and how much of what they may ask for is used up.
pub(super) struct Reader<'de> {
    rest: &'de [u8],
    trust: Trust,
    nesting_max: u32,
    elements_left: usize,
}

impl<'de> Reader<'de> {
    #[inline]
    pub(super) fn new(bytes: &'de [u8], trust: Trust, bounds: Bounds) -> Reader<'de> {
        let Bounds { nesting_max, .. } = bounds;
        Reader { rest: bytes, trust, nesting_max, elements_left: bounds.elements_max(bytes.len()) }
    }

    /// Reads the value that `seed` makes.
    #[inline]
    pub(super) fn value<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        seed.deserialize(At { reader: self, depth: 0 })
    }

    /// How many bytes are left.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        match self.rest.split_first_chunk() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(*bytes)
            }
            None => Err(DecodeError::CutShort.into()),
        }
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Refused> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    fn slice(&mut self, len: usize) -> Result<&'de [u8], Refused> {
        match self.rest.split_at_checked(len) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(DecodeError::CutShort.into()),
        }
    }

    /// How many bytes or elements follow.
    #[inline]
    fn len(&mut self) -> Result<usize, Refused> {
        let len = self.u64()?;
        usize::try_from(len).map_err(|_| malformed(format_args!("a length of {len}, which no memory has")))
    }

    #[inline]
    fn text(&mut self) -> Result<&'de str, Refused> {
        let len = self.len()?;
        let bytes = self.slice(len)?;
        str::from_utf8(bytes).map_err(|error| malformed(format_args!("a text is not UTF-8: {error}")))
    }

    fn char(&mut self) -> Result<char, Refused> {
        let Some(&first) = self.rest.first() else { return Err(DecodeError::CutShort.into()) };
        let len = match first {
            0..0x80 => 1,
            0xc2..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf5 => 4,
            _ => return Err(malformed(format_args!("no character begins with the byte {first:#04x}"))),
        };
        let bytes = self.slice(len)?;
        let letter = str::from_utf8(bytes).ok().and_then(|text| text.chars().next());
        letter.ok_or_else(|| malformed(format_args!("the bytes {bytes:02x?} are no character")))
    }

    /// Uses up the elements that a sequence or map claims to have, before the first of them is read.
    #[inline]
    fn claim(&mut self, claimed: usize) -> Result<(), Refused> {
        match self.elements_left.checked_sub(claimed) {
            Some(left) => {
                self.elements_left = left;
                Ok(())
            }
            None => Err(DecodeError::TooManyElements.into()),
        }
    }
}

#[cold]
fn malformed(text: fmt::Arguments<'_>) -> Refused {
    DecodeError::Malformed(text.to_string()).into()
}

/// Numbers up to 250 are a byte; a byte above says how many follow.
macro_rules! unsigned {
    ($($number:ident: $($long:ident as $of:ident)|+),* $(,)?) => {
        impl Reader<'_> {
            $(
                #[inline]
                fn $number(&mut self) -> Result<$number, Refused> {
                    match self.byte()? {
                        $($long => Ok($number::from($of::from_le_bytes(self.array()?))),)+
                        byte if byte < LONG_16 => Ok($number::from(byte)),
                        byte => Err(malformed(format_args!(
                            "the byte {byte} begins no number of type {}", stringify!($number)
                        ))),
                    }
                }
            )*
        }
    };
}

unsigned! {
    u16: LONG_16 as u16,
    u32: LONG_16 as u16 | LONG_32 as u32,
    u64: LONG_16 as u16 | LONG_32 as u32 | LONG_64 as u64,
    u128: LONG_16 as u16 | LONG_32 as u32 | LONG_64 as u64 | LONG_128 as u128,
}

/// Where something is read, and how deep it lies.
struct At<'r, 'de> {
    reader: &'r mut Reader<'de>,
    depth: u32,
}

impl<'r, 'de> At<'r, 'de> {
    /// One level deeper.
    #[inline]
    fn inside(self) -> Result<At<'r, 'de>, Refused> {
        let At { reader, depth } = self;
        if depth == reader.nesting_max {
            return Err(DecodeError::NestingTooDeep.into());
        }
        Ok(At { reader, depth: depth + 1 })
    }

    /// At the same depth, for a part.
    #[inline]
    fn part(&mut self) -> At<'_, 'de> {
        At { reader: self.reader, depth: self.depth }
    }

    /// Lets a visitor take the parts of which the type says how many there are.
    #[inline]
    fn parts<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_seq(Parts { at: self, left })
    }

    /// The parts of which the bytes say how many there are.
    #[inline]
    fn claimed(self) -> Result<Parts<'r, 'de>, Refused> {
        let At { reader, depth } = self.inside()?;
        let left = reader.len()?;
        reader.claim(left)?;
        Ok(Parts { at: At { reader, depth }, left })
    }
}

/// Zigzag: numbers near nothing are short, whatever their sign.
macro_rules! signed {
    ($($method:ident, $visit:ident: $unsigned:ident as $signed:ident),* $(,)?) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            let zigzag = self.reader.$unsigned()?;
            visitor.$visit((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
        }
    )*};
}

macro_rules! plain {
    ($($method:ident, $visit:ident: |$reader:ident| $value:expr),* $(,)?) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            let $reader = self.reader;
            visitor.$visit($value)
        }
    )*};
}

macro_rules! unknown {
    ($($method:ident),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
            Err(DecodeError::NotSelfDescribing.into())
        }
    )*};
}

impl<'de> Deserializer<'de> for At<'_, 'de> {
    type Error = Refused;

    plain! {
        deserialize_u8, visit_u8: |reader| reader.byte()?,
        deserialize_u16, visit_u16: |reader| reader.u16()?,
        deserialize_u32, visit_u32: |reader| reader.u32()?,
        deserialize_u64, visit_u64: |reader| reader.u64()?,
        deserialize_u128, visit_u128: |reader| reader.u128()?,
        deserialize_i8, visit_i8: |reader| reader.byte()?.cast_signed(),
        deserialize_f32, visit_f32: |reader| f32::from_le_bytes(reader.array()?),
        deserialize_f64, visit_f64: |reader| f64::from_le_bytes(reader.array()?),
        deserialize_char, visit_char: |reader| reader.char()?,
        // Both as borrowed ones: who wants them owned copies them, now that they are there.
        deserialize_str, visit_borrowed_str: |reader| reader.text()?,
        deserialize_string, visit_borrowed_str: |reader| reader.text()?,
        deserialize_bytes, visit_borrowed_bytes: |reader| { let len = reader.len()?; reader.slice(len)? },
        deserialize_byte_buf, visit_borrowed_bytes: |reader| { let len = reader.len()?; reader.slice(len)? },
    }

    signed! {
        deserialize_i16, visit_i16: u16 as i16,
        deserialize_i32, visit_i32: u32 as i32,
        deserialize_i64, visit_i64: u64 as i64,
        deserialize_i128, visit_i128: u128 as i128,
    }

    unknown! { deserialize_any, deserialize_identifier, deserialize_ignored_any }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.reader.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            byte => Err(malformed(format_args!("a bool is 0 or 1, not {byte}"))),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let inside = self.inside()?;
        match inside.reader.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(inside),
            byte => Err(malformed(format_args!("an option begins with 0 or 1, not {byte}"))),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Refused> {
        if self.reader.trust == Trust::Peer && name == QUEUE_ID_SERDE_NAME {
            return Err(DecodeError::QueueIdFromPeer.into());
        }
        visitor.visit_newtype_struct(self.inside()?)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let mut elements = self.claimed()?;
        let value = visitor.visit_seq(&mut elements)?;
        elements.all_taken()?;
        Ok(value)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let mut entries = self.claimed()?;
        let value = visitor.visit_map(&mut entries)?;
        entries.all_taken()?;
        Ok(value)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refused> {
        self.inside()?.parts(len, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.inside()?.parts(len, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.inside()?.parts(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_enum(self.inside()?)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'r, 'de> EnumAccess<'de> for At<'r, 'de> {
    type Error = Refused;
    type Variant = At<'r, 'de>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, At<'r, 'de>), Refused> {
        let number = self.reader.u32()?;
        let variant = seed.deserialize(IntoDeserializer::<Refused>::into_deserializer(number))?;
        Ok((variant, self))
    }
}

/// What a variant holds lies as deep as the enum itself.
impl<'de> VariantAccess<'de> for At<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn unit_variant(self) -> Result<(), Refused> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refused> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refused> {
        self.parts(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Refused> {
        self.parts(fields.len(), visitor)
    }
}

/// The elements of a sequence or struct, or the entries of a map.
struct Parts<'r, 'de> {
    at: At<'r, 'de>,
    left: usize,
}

impl<'de> Parts<'_, 'de> {
    #[inline]
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refused> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                seed.deserialize(self.at.part()).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Elements that a visitor leaves would be read as whatever follows.
    #[inline]
    fn all_taken(&self) -> Result<(), Refused> {
        if self.left == 0 { Ok(()) } else { Err(DecodeError::ElementsLeft { left: self.left }.into()) }
    }
}

impl<'de> SeqAccess<'de> for Parts<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refused> {
        self.next(seed)
    }

    /// Bounded: of claimed elements there are no more than the bytes allow.
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Parts<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refused> {
        self.next(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        seed.deserialize(self.at.part())
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

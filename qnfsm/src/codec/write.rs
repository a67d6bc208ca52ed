//! Writes values: a `Serializer` for the bytes of bincode 2's `standard()` configuration that refuses what could not be read
//! again.
//!
//! It is the counterpart of the reader: the same nesting, the same count of elements, and besides what the format can't
//! tell, such as a field that is left out. On the good path nothing is allocated but what the output takes.

use std::fmt;

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{EncodeError, LONG_16, LONG_32, LONG_64, LONG_128};

type Refused = super::Refused<EncodeError>;

impl Error for Refused {
    #[cold]
    fn custom<T: fmt::Display>(text: T) -> Refused {
        EncodeError::Refused(text.to_string()).into()
    }
}

/// Where bytes go.
pub(super) trait Output {
    fn put(&mut self, bytes: &[u8]);
}

impl Output for &mut Vec<u8> {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        match *bytes {
            [byte] => self.push(byte),
            _ => self.extend_from_slice(bytes),
        }
    }
}

/// Counts bytes and keeps none.
impl Output for &mut u64 {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        **self += bytes.len() as u64;
    }
}

/// What is being written, and what has been counted of it.
pub(super) struct Writer<O> {
    out: O,
    nesting_max: u32,
    elements: usize,
}

impl<O: Output> Writer<O> {
    #[inline]
    pub(super) fn new(out: O, nesting_max: u32) -> Writer<O> {
        Writer { out, nesting_max, elements: 0 }
    }

    /// Writes a value.
    #[inline]
    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        value.serialize(At { writer: self, depth: 0 })
    }

    /// The elements of all sequences and maps so far.
    #[inline]
    pub(super) fn elements(&self) -> usize {
        self.elements
    }

    /// How many bytes or elements follow.
    #[inline]
    fn len(&mut self, len: usize) {
        self.u64(len as u64);
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.out.put(bytes);
    }
}

/// Numbers up to 250 are a byte; longer ones follow a byte that says how many bytes they have.
macro_rules! unsigned {
    ($($number:ident: [$($of:ident after $long:ident),*] else $longest:ident;)*) => {
        impl<O: Output> Writer<O> {
            $(
                #[inline]
                fn $number(&mut self, number: $number) {
                    match u8::try_from(number) {
                        Ok(byte) if byte < LONG_16 => return self.out.put(&[byte]),
                        _ => {}
                    }
                    $(
                        if let Ok(number) = $of::try_from(number) {
                            let mut spelled = [$long; 1 + size_of::<$of>()];
                            spelled[1..].copy_from_slice(&number.to_le_bytes());
                            return self.out.put(&spelled);
                        }
                    )*
                    let mut spelled = [$longest; 1 + size_of::<$number>()];
                    spelled[1..].copy_from_slice(&number.to_le_bytes());
                    self.out.put(&spelled);
                }
            )*
        }
    };
}

unsigned! {
    u16: [] else LONG_16;
    u32: [u16 after LONG_16] else LONG_32;
    u64: [u16 after LONG_16, u32 after LONG_32] else LONG_64;
    u128: [u16 after LONG_16, u32 after LONG_32, u64 after LONG_64] else LONG_128;
}

/// Where something is written, and how deep it lies.
struct At<'w, O> {
    writer: &'w mut Writer<O>,
    depth: u32,
}

impl<'w, O: Output> At<'w, O> {
    /// One level deeper.
    #[inline]
    fn inside(self) -> Result<At<'w, O>, Refused> {
        let At { writer, depth } = self;
        if depth == writer.nesting_max {
            return Err(EncodeError::NestingTooDeep.into());
        }
        Ok(At { writer, depth: depth + 1 })
    }

    /// The inside of an enum, behind the variant's number.
    #[inline]
    fn variant(self, number: u32) -> Result<At<'w, O>, Refused> {
        let inside = self.inside()?;
        inside.writer.u32(number);
        Ok(inside)
    }

    /// Parts of which the type says how many there are.
    #[inline]
    fn parts(self, of: &'static str, said: usize) -> Parts<'w, O> {
        let At { writer, depth } = self;
        Parts { writer, depth, of, said, given: 0 }
    }

    /// Elements of which the bytes say how many there are.
    #[inline]
    fn counted(self, len: Option<usize>) -> Result<Parts<'w, O>, Refused> {
        let inside = self.inside()?;
        let Some(len) = len else { return Err(EncodeError::LengthUnknown.into()) };
        inside.writer.elements = inside.writer.elements.saturating_add(len);
        inside.writer.len(len);
        Ok(inside.parts("", len))
    }
}

macro_rules! plain {
    ($($method:ident($type:ty): |$writer:ident, $value:ident| $put:expr),* $(,)?) => {$(
        #[inline]
        fn $method(self, $value: $type) -> Result<(), Refused> {
            let $writer = self.writer;
            $put;
            Ok(())
        }
    )*};
}

/// Zigzag: numbers near nothing are short, whatever their sign.
macro_rules! signed {
    ($($method:ident($signed:ident as $unsigned:ident)),* $(,)?) => {$(
        #[inline]
        fn $method(self, value: $signed) -> Result<(), Refused> {
            self.writer.$unsigned(((value << 1) ^ (value >> ($signed::BITS - 1))).cast_unsigned());
            Ok(())
        }
    )*};
}

impl<'w, O: Output> Serializer for At<'w, O> {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Parts<'w, O>;
    type SerializeTuple = Parts<'w, O>;
    type SerializeTupleStruct = Parts<'w, O>;
    type SerializeTupleVariant = Parts<'w, O>;
    type SerializeMap = Parts<'w, O>;
    type SerializeStruct = Parts<'w, O>;
    type SerializeStructVariant = Parts<'w, O>;

    plain! {
        serialize_bool(bool): |writer, value| writer.out.put(&[u8::from(value)]),
        serialize_u8(u8): |writer, value| writer.out.put(&[value]),
        serialize_u16(u16): |writer, value| writer.u16(value),
        serialize_u32(u32): |writer, value| writer.u32(value),
        serialize_u64(u64): |writer, value| writer.u64(value),
        serialize_u128(u128): |writer, value| writer.u128(value),
        serialize_i8(i8): |writer, value| writer.out.put(&[value.cast_unsigned()]),
        serialize_f32(f32): |writer, value| writer.out.put(&value.to_le_bytes()),
        serialize_f64(f64): |writer, value| writer.out.put(&value.to_le_bytes()),
        serialize_char(char): |writer, value| writer.out.put(value.encode_utf8(&mut [0; 4]).as_bytes()),
        serialize_str(&str): |writer, value| writer.bytes(value.as_bytes()),
        serialize_bytes(&[u8]): |writer, value| writer.bytes(value),
    }

    signed! {
        serialize_i16(i16 as u16), serialize_i32(i32 as u32), serialize_i64(i64 as u64), serialize_i128(i128 as u128),
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Refused> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Refused> {
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Refused> {
        self.inside()?.writer.out.put(&[0]);
        Ok(())
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        let inside = self.inside()?;
        inside.writer.out.put(&[1]);
        value.serialize(inside)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Refused> {
        value.serialize(self.inside()?)
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, number: u32, _: &'static str) -> Result<(), Refused> {
        self.variant(number)?;
        Ok(())
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        number: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self.variant(number)?)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Parts<'w, O>, Refused> {
        self.counted(len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Parts<'w, O>, Refused> {
        self.counted(len)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Parts<'w, O>, Refused> {
        Ok(self.inside()?.parts("", len))
    }

    #[inline]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Parts<'w, O>, Refused> {
        Ok(self.inside()?.parts(name, len))
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Parts<'w, O>, Refused> {
        Ok(self.inside()?.parts(name, len))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        number: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Parts<'w, O>, Refused> {
        Ok(self.variant(number)?.parts(variant, len))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        number: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Parts<'w, O>, Refused> {
        Ok(self.variant(number)?.parts(variant, len))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The inside of a container that is being written.
struct Parts<'w, O> {
    writer: &'w mut Writer<O>,
    depth: u32,
    /// The struct or variant, if it has a name.
    of: &'static str,
    said: usize,
    given: usize,
}

impl<O: Output> Parts<'_, O> {
    #[inline]
    fn next<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.given += 1;
        self.part(value)
    }

    /// A part of an element that was counted already.
    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        value.serialize(At { writer: self.writer, depth: self.depth })
    }

    #[inline]
    fn complete(self) -> Result<(), Refused> {
        let Parts { said, given, .. } = self;
        if said == given { Ok(()) } else { Err(EncodeError::LengthWrong { said, given }.into()) }
    }
}

macro_rules! sequences {
    ($($of:ident::$method:ident),* $(,)?) => {$(
        impl<O: Output> $of for Parts<'_, O> {
            type Ok = ();
            type Error = Refused;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                self.next(value)
            }

            #[inline]
            fn end(self) -> Result<(), Refused> {
                self.complete()
            }
        }
    )*};
}

sequences! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

macro_rules! structs {
    ($($of:ident),*) => {$(
        impl<O: Output> $of for Parts<'_, O> {
            type Ok = ();
            type Error = Refused;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), Refused> {
                self.next(value)
            }

            fn skip_field(&mut self, field: &'static str) -> Result<(), Refused> {
                Err(EncodeError::FieldSkipped { of: self.of, field }.into())
            }

            #[inline]
            fn end(self) -> Result<(), Refused> {
                self.complete()
            }
        }
    )*};
}

structs! { SerializeStruct, SerializeStructVariant }

impl<O: Output> SerializeMap for Parts<'_, O> {
    type Ok = ();
    type Error = Refused;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        self.next(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.part(value)
    }

    #[inline]
    fn end(self) -> Result<(), Refused> {
        self.complete()
    }
}

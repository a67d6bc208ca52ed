//! Stands between a type's `Serialize` and bincode, and refuses what could not be decoded again.
//!
//! It is the counterpart of the decoder's guard: the same nesting, the same count of elements, and besides what bincode
//! writes without noticing that nobody can read it, such as a field that is left out. A fault is noted in [`Rules`]. On
//! the good path nothing is allocated.

use std::cell::Cell;

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::EncodeError;

/// What one encoding has counted, and how it failed.
pub(super) struct Rules {
    nesting_max: u32,
    elements: Cell<usize>,
    fault: Cell<Option<EncodeError>>,
}

impl Rules {
    #[inline]
    pub(super) fn new(nesting_max: u32) -> Rules {
        Rules { nesting_max, elements: Cell::new(0), fault: Cell::new(None) }
    }

    /// The elements of all sequences and maps so far.
    #[inline]
    pub(super) fn elements(&self) -> usize {
        self.elements.get()
    }

    /// The rule that was broken, if one was.
    pub(super) fn into_fault(self) -> Option<EncodeError> {
        self.fault.into_inner()
    }

    #[cold]
    fn broken<E: Error>(&self, fault: EncodeError) -> E {
        let error = E::custom(&fault);
        self.fault.set(Some(fault));
        error
    }

    /// One level deeper than `depth`.
    #[inline]
    fn enter<E: Error>(&self, depth: u32) -> Result<u32, E> {
        if depth == self.nesting_max { Err(self.broken(EncodeError::NestingTooDeep)) } else { Ok(depth + 1) }
    }

    /// Counts the elements of a sequence or map, which must know how many they are.
    #[inline]
    fn count<E: Error>(&self, len: Option<usize>) -> Result<usize, E> {
        let len = len.ok_or_else(|| self.broken(EncodeError::LengthUnknown))?;
        self.elements.set(self.elements.get().saturating_add(len));
        Ok(len)
    }
}

/// A value, or a serializer, with the rules and the depth that it stands at.
pub(super) struct Checked<'g, I> {
    inner: I,
    rules: &'g Rules,
    depth: u32,
}

impl<'g, T: Serialize + ?Sized> Checked<'g, &'g T> {
    #[inline]
    pub(super) fn new(value: &'g T, rules: &'g Rules) -> Checked<'g, &'g T> {
        Checked { inner: value, rules, depth: 0 }
    }
}

impl<T: Serialize + ?Sized> Serialize for Checked<'_, &T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.serialize(Checked { inner: serializer, rules: self.rules, depth: self.depth })
    }
}

/// The inside of a container that is being written.
pub(super) struct Parts<'g, C> {
    inner: C,
    rules: &'g Rules,
    depth: u32,
    /// The struct or variant, if it has a name.
    of: &'static str,
    said: usize,
    given: usize,
}

impl<'g, C> Parts<'g, C> {
    #[inline]
    fn new(inner: C, rules: &'g Rules, depth: u32, said: usize) -> Parts<'g, C> {
        Parts { inner, rules, depth, of: "", said, given: 0 }
    }

    #[inline]
    fn of(self, of: &'static str) -> Parts<'g, C> {
        Parts { of, ..self }
    }

    /// The next element, with what it must keep to.
    #[inline]
    fn next<'v, T: ?Sized>(&mut self, value: &'v T) -> Checked<'v, &'v T>
    where
        'g: 'v,
    {
        self.given += 1;
        self.part(value)
    }

    /// A part of an element that was counted already.
    #[inline]
    fn part<'v, T: ?Sized>(&self, value: &'v T) -> Checked<'v, &'v T>
    where
        'g: 'v,
    {
        Checked { inner: value, rules: self.rules, depth: self.depth }
    }

    #[inline]
    fn complete<E: Error>(&self) -> Result<(), E> {
        let Parts { said, given, .. } = *self;
        if said == given { Ok(()) } else { Err(self.rules.broken(EncodeError::LengthWrong { said, given })) }
    }
}

macro_rules! pass_on {
    ($($method:ident($type:ty)),* $(,)?) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        }
    )*};
}

impl<'g, S: Serializer> Serializer for Checked<'g, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Parts<'g, S::SerializeSeq>;
    type SerializeTuple = Parts<'g, S::SerializeTuple>;
    type SerializeTupleStruct = Parts<'g, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<'g, S::SerializeTupleVariant>;
    type SerializeMap = Parts<'g, S::SerializeMap>;
    type SerializeStruct = Parts<'g, S::SerializeStruct>;
    type SerializeStructVariant = Parts<'g, S::SerializeStructVariant>;

    pass_on! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64),
        serialize_i128(i128), serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64),
        serialize_u128(u128), serialize_f32(f32), serialize_f64(f64), serialize_char(char), serialize_str(&str),
        serialize_bytes(&[u8]), serialize_unit_struct(&'static str),
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.rules.enter::<S::Error>(self.depth)?;
        self.inner.serialize_none()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let depth = self.rules.enter(self.depth)?;
        self.inner.serialize_some(&Checked { inner: value, rules: self.rules, depth })
    }

    #[inline]
    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        self.rules.enter::<S::Error>(self.depth)?;
        self.inner.serialize_unit_variant(name, index, variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        let depth = self.rules.enter(self.depth)?;
        self.inner.serialize_newtype_struct(name, &Checked { inner: value, rules: self.rules, depth })
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let depth = self.rules.enter(self.depth)?;
        let value = Checked { inner: value, rules: self.rules, depth };
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        let depth = self.rules.enter(self.depth)?;
        let said = self.rules.count(len)?;
        Ok(Parts::new(self.inner.serialize_seq(len)?, self.rules, depth, said))
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        let depth = self.rules.enter(self.depth)?;
        Ok(Parts::new(self.inner.serialize_tuple(len)?, self.rules, depth, len))
    }

    #[inline]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        let depth = self.rules.enter(self.depth)?;
        Ok(Parts::new(self.inner.serialize_tuple_struct(name, len)?, self.rules, depth, len))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let depth = self.rules.enter(self.depth)?;
        Ok(Parts::new(self.inner.serialize_tuple_variant(name, index, variant, len)?, self.rules, depth, len))
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let depth = self.rules.enter(self.depth)?;
        let said = self.rules.count(len)?;
        Ok(Parts::new(self.inner.serialize_map(len)?, self.rules, depth, said))
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        let depth = self.rules.enter(self.depth)?;
        Ok(Parts::new(self.inner.serialize_struct(name, len)?, self.rules, depth, len).of(name))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let depth = self.rules.enter(self.depth)?;
        Ok(Parts::new(self.inner.serialize_struct_variant(name, index, variant, len)?, self.rules, depth, len)
            .of(variant))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! sequences {
    ($($of:ident::$method:ident),* $(,)?) => {$(
        impl<C: $of> $of for Parts<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                let value = self.next(value);
                self.inner.$method(&value)
            }

            #[inline]
            fn end(self) -> Result<C::Ok, C::Error> {
                self.complete::<C::Error>()?;
                self.inner.end()
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
        impl<C: $of> $of for Parts<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, field: &'static str, value: &T) -> Result<(), C::Error> {
                let value = self.next(value);
                self.inner.serialize_field(field, &value)
            }

            fn skip_field(&mut self, field: &'static str) -> Result<(), C::Error> {
                Err(self.rules.broken(EncodeError::FieldSkipped { of: self.of, field }))
            }

            #[inline]
            fn end(self) -> Result<C::Ok, C::Error> {
                self.complete::<C::Error>()?;
                self.inner.end()
            }
        }
    )*};
}

structs! { SerializeStruct, SerializeStructVariant }

impl<C: SerializeMap> SerializeMap for Parts<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        let key = self.next(key);
        self.inner.serialize_key(&key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let value = self.part(value);
        self.inner.serialize_value(&value)
    }

    #[inline]
    fn end(self) -> Result<C::Ok, C::Error> {
        self.complete::<C::Error>()?;
        self.inner.end()
    }
}

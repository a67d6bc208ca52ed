//! Tells the instances of a generic type apart where they stand in one type, such as `Reply<u64>` and `Reply<String>`.
//!
//! serde gives both the name `Reply`, and serde-reflection keeps one format for each name. What is serialized is a typed
//! value at every level, though, so Rust's name of the type says the arguments. They are added to a name only where the
//! tracing fails without them: whatever can be traced by serde's names is traced by these alone, and a `QueueId` is the
//! same whatever its queue takes.

use std::{
    any::type_name,
    cell::Cell,
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::short_name;

/// Which generic types are named with their arguments, and where a tracing by these names failed.
pub(super) struct Naming<'n> {
    with_arguments: &'n BTreeSet<&'static str>,
    clash: Cell<Option<&'static str>>,
}

impl<'n> Naming<'n> {
    pub(super) fn new(with_arguments: &'n BTreeSet<&'static str>) -> Naming<'n> {
        Naming { with_arguments, clash: Cell::new(None) }
    }

    /// The innermost struct or enum that could not be traced, by serde's name.
    pub(super) fn clash(&self) -> Option<&'static str> {
        self.clash.get()
    }

    /// The name of a struct or enum that serde calls `name` and that a value of the Rust type `of` is.
    fn name(&self, name: &'static str, of: &str) -> &'static str {
        if !self.with_arguments.contains(name) {
            return name;
        }
        arguments_of(of, name).map_or(name, |arguments| interned(format!("{name}<{}>", short_name(arguments))))
    }

    /// Notes which struct or enum failed first: those around it fail because of it.
    fn of<R, E>(&self, name: &'static str, result: Result<R, E>) -> Result<R, E> {
        if result.is_err() && self.clash.get().is_none() {
            self.clash.set(Some(name));
        }
        result
    }
}

/// The names that were made here. serde wants them for ever; a program has as many as it has generic types.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

fn interned(name: String) -> &'static str {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name.as_str()) {
        return known;
    }
    let name: &'static str = Box::leak(name.into_boxed_str());
    names.insert(name);
    name
}

/// The arguments of the generic type `name` that `of` is, also behind references and types of one argument, such as
/// `Box`, that serialize as what they hold. `None` if it is no generic type of that name. A name of serde's may have a path.
fn arguments_of<'t>(mut of: &'t str, name: &str) -> Option<&'t str> {
    let name = name.rsplit("::").next();
    loop {
        while let Some(behind) = of.strip_prefix('&').or_else(|| of.strip_prefix("mut ")) {
            of = behind;
        }
        let (base, arguments) = split_arguments(of)?;
        if base.rsplit("::").next() == name {
            return Some(arguments);
        }
        of = only_type(arguments)?;
    }
}

/// A generic type's path, and what stands between its outermost brackets.
fn split_arguments(of: &str) -> Option<(&str, &str)> {
    let inside = of.strip_suffix('>')?;
    let mut depth = 0_u32;
    for (at, letter) in inside.char_indices().rev() {
        match letter {
            '>' if inside[..at].ends_with('-') => {}
            '>' => depth += 1,
            '<' if depth == 0 => return Some((&inside[..at], &inside[at + 1..])),
            '<' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The only one of a type's arguments that is no lifetime.
fn only_type(arguments: &str) -> Option<&str> {
    let mut depth = 0_u32;
    let mut before = ' ';
    let split = |letter: char| {
        match letter {
            '<' | '(' | '[' => depth += 1,
            '>' if before == '-' => {}
            '>' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = letter;
        letter == ',' && depth == 0
    };
    let mut types = arguments.split(split).map(str::trim).filter(|argument| !argument.starts_with('\''));
    let only = types.next()?;
    if types.next().is_none() { Some(only) } else { None }
}

/// A value, or the serializer of one of which the type is known.
pub(super) struct Typed<'n, I> {
    inner: I,
    /// Rust's name of the value's type.
    of: &'static str,
    naming: &'n Naming<'n>,
}

impl<'n, T: Serialize + ?Sized> Typed<'n, &'n T> {
    pub(super) fn new(value: &'n T, naming: &'n Naming<'n>) -> Typed<'n, &'n T> {
        Typed { inner: value, of: type_name::<T>(), naming }
    }
}

impl<T: Serialize + ?Sized> Serialize for Typed<'_, &T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.serialize(Typed { inner: serializer, of: self.of, naming: self.naming })
    }
}

/// The inside of a container that is being written.
pub(super) struct Parts<'n, C> {
    inner: C,
    naming: &'n Naming<'n>,
    /// What serde calls the struct or enum, if it is one.
    name: Option<&'static str>,
}

impl<C> Parts<'_, C> {
    fn end<R, E>(naming: &Naming<'_>, name: Option<&'static str>, result: Result<R, E>) -> Result<R, E> {
        match name {
            Some(name) => naming.of(name, result),
            None => result,
        }
    }
}

macro_rules! pass_on {
    ($($method:ident($type:ty)),* $(,)?) => {$(
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        }
    )*};
}

impl<'n, S: Serializer> Serializer for Typed<'n, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Parts<'n, S::SerializeSeq>;
    type SerializeTuple = Parts<'n, S::SerializeTuple>;
    type SerializeTupleStruct = Parts<'n, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<'n, S::SerializeTupleVariant>;
    type SerializeMap = Parts<'n, S::SerializeMap>;
    type SerializeStruct = Parts<'n, S::SerializeStruct>;
    type SerializeStructVariant = Parts<'n, S::SerializeStructVariant>;

    pass_on! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64),
        serialize_i128(i128), serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64),
        serialize_u128(u128), serialize_f32(f32), serialize_f64(f64), serialize_char(char), serialize_str(&str),
        serialize_bytes(&[u8]),
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&Typed::new(value, self.naming))
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        let Typed { inner, of, naming } = self;
        naming.of(name, inner.serialize_unit_struct(naming.name(name, of)))
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        let Typed { inner, of, naming } = self;
        naming.of(name, inner.serialize_unit_variant(naming.name(name, of), index, variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        let Typed { inner, of, naming } = self;
        naming.of(name, inner.serialize_newtype_struct(naming.name(name, of), &Typed::new(value, naming)))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let Typed { inner, of, naming } = self;
        let value = Typed::new(value, naming);
        naming.of(name, inner.serialize_newtype_variant(naming.name(name, of), index, variant, &value))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        Ok(Parts { inner: self.inner.serialize_seq(len)?, naming: self.naming, name: None })
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        Ok(Parts { inner: self.inner.serialize_tuple(len)?, naming: self.naming, name: None })
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        let Typed { inner, of, naming } = self;
        let inner = inner.serialize_tuple_struct(naming.name(name, of), len)?;
        Ok(Parts { inner, naming, name: Some(name) })
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let Typed { inner, of, naming } = self;
        let inner = inner.serialize_tuple_variant(naming.name(name, of), index, variant, len)?;
        Ok(Parts { inner, naming, name: Some(name) })
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        Ok(Parts { inner: self.inner.serialize_map(len)?, naming: self.naming, name: None })
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        let Typed { inner, of, naming } = self;
        Ok(Parts { inner: inner.serialize_struct(naming.name(name, of), len)?, naming, name: Some(name) })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let Typed { inner, of, naming } = self;
        let inner = inner.serialize_struct_variant(naming.name(name, of), index, variant, len)?;
        Ok(Parts { inner, naming, name: Some(name) })
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! sequences {
    ($($of:ident::$method:ident),* $(,)?) => {$(
        impl<C: $of> $of for Parts<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                self.inner.$method(&Typed::new(value, self.naming))
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                Parts::<C>::end(self.naming, self.name, self.inner.end())
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

            fn serialize_field<T: Serialize + ?Sized>(&mut self, field: &'static str, value: &T) -> Result<(), C::Error> {
                self.inner.serialize_field(field, &Typed::new(value, self.naming))
            }

            fn skip_field(&mut self, field: &'static str) -> Result<(), C::Error> {
                self.inner.skip_field(field)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                Parts::<C>::end(self.naming, self.name, self.inner.end())
            }
        }
    )*};
}

structs! { SerializeStruct, SerializeStructVariant }

impl<C: SerializeMap> SerializeMap for Parts<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        self.inner.serialize_key(&Typed::new(key, self.naming))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.inner.serialize_value(&Typed::new(value, self.naming))
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_found_behind_references_and_boxes() {
        assert_eq!(arguments_of("a::Reply<b::C<u8>>", "Reply"), Some("b::C<u8>"));
        assert_eq!(arguments_of("&&mut a::Box<a::Rc<core::result::Result<u8, b::No>>>", "Result"), Some("u8, b::No"));
        assert_eq!(arguments_of("a::Cow<'_, Reply<(u8, [C; 3])>>", "Reply"), Some("(u8, [C; 3])"));
        assert_eq!(arguments_of("a::Box<Reply<fn(u8) -> Vec<u8>>>", "Reply"), Some("fn(u8) -> Vec<u8>"));
        assert_eq!(arguments_of("<a::B<u8> as c::D>::e::Reply<u8>", "Reply"), Some("u8"));
        assert_eq!(arguments_of("a::b::Reply<u8>", "a::Reply"), Some("u8"));
    }

    #[test]
    fn what_is_no_generic_type_of_the_name_has_no_arguments() {
        for of in ["u8", "a::Reply", "a::NoReply<u8>", "a::Two<Reply<u8>, Reply<u16>>", "(Reply<u8>,)", "", "a>", "<>"]
        {
            assert_eq!(arguments_of(of, "Reply"), None, "{of}");
        }
    }

    #[test]
    fn a_name_is_kept_once() {
        let (one, other) = (interned("Kept<u8>".to_owned()), interned("Kept<u8>".to_owned()));
        assert!(std::ptr::eq(one, other));
    }
}

//! How long a value of a type can be when it is encoded, from the formats that were traced.

use std::collections::BTreeSet;

use serde_reflection::{ContainerFormat, Format, Registry, VariantFormat};

/// The most bytes that a value of `format` takes in bincode's `standard()` configuration; `None` where there is no bound:
/// texts, sequences, maps, and types that contain themselves.
pub(super) fn encoded_bytes_max(format: &Format, types: &Registry) -> Option<u64> {
    Bound { types, within: BTreeSet::new() }.of(format)
}

struct Bound<'a> {
    types: &'a Registry,
    /// The named types that the one looked at lies in.
    within: BTreeSet<&'a str>,
}

impl<'a> Bound<'a> {
    fn of(&mut self, format: &'a Format) -> Option<u64> {
        match format {
            Format::Unit => Some(0),
            Format::Bool | Format::I8 | Format::U8 => Some(1),
            Format::I16 | Format::U16 => Some(3),
            Format::I32 | Format::U32 => Some(5),
            Format::I64 | Format::U64 => Some(9),
            Format::I128 | Format::U128 => Some(17),
            Format::F32 | Format::Char => Some(4),
            Format::F64 => Some(8),
            Format::Option(some) => self.of(some)?.checked_add(1),
            Format::Tuple(parts) => self.sum(parts),
            Format::TupleArray { content, size } => self.of(content)?.checked_mul(u64::try_from(*size).ok()?),
            Format::TypeName(name) => self.named(name),
            Format::Str | Format::Bytes | Format::Seq(_) | Format::Map { .. } | Format::Variable(_) => None,
        }
    }

    fn named(&mut self, name: &'a str) -> Option<u64> {
        let format = self.types.get(name)?;
        if !self.within.insert(name) {
            return None;
        }
        let bound = match format {
            ContainerFormat::UnitStruct => Some(0),
            ContainerFormat::NewTypeStruct(inner) => self.of(inner),
            ContainerFormat::TupleStruct(parts) => self.sum(parts),
            ContainerFormat::Struct(fields) => self.sum(fields.iter().map(|field| &field.value)),
            ContainerFormat::Enum(variants) => {
                // A variant's number is encoded as a `u32`.
                let longest = variants.values().map(|variant| self.variant(&variant.value));
                longest.reduce(|one, other| Some(one?.max(other?)))?.and_then(|longest| longest.checked_add(5))
            }
        };
        self.within.remove(name);
        bound
    }

    fn variant(&mut self, format: &'a VariantFormat) -> Option<u64> {
        match format {
            VariantFormat::Unit => Some(0),
            VariantFormat::NewType(inner) => self.of(inner),
            VariantFormat::Tuple(parts) => self.sum(parts),
            VariantFormat::Struct(fields) => self.sum(fields.iter().map(|field| &field.value)),
            VariantFormat::Variable(_) => None,
        }
    }

    fn sum(&mut self, parts: impl IntoIterator<Item = &'a Format>) -> Option<u64> {
        parts.into_iter().try_fold(0_u64, |sum, part| sum.checked_add(self.of(part)?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize, de::DeserializeOwned};

    use crate::schema::Schema;

    #[derive(Serialize, Deserialize)]
    struct Point {
        x: u64,
        y: Option<i16>,
        letters: [char; 3],
    }

    #[derive(Serialize, Deserialize)]
    enum Flat {
        Nothing,
        One(u128),
        Two { point: Point, flag: bool },
    }

    #[derive(Serialize, Deserialize)]
    enum Tree {
        Leaf,
        Node(Box<Tree>, Box<Tree>),
    }

    #[derive(Serialize, Deserialize)]
    struct Named(String);

    fn bound<T: Serialize + DeserializeOwned + 'static>() -> Option<u64> {
        Schema::of::<T>(&[]).expect("the codec carries it").encoded_bytes_max()
    }

    #[test]
    fn what_can_only_be_so_long_has_a_bound() {
        assert_eq!(bound::<()>(), Some(0));
        assert_eq!(bound::<Point>(), Some(9 + 1 + 3 + 3 * 4));
        assert_eq!(bound::<Flat>(), Some(5 + 9 + 1 + 3 + 3 * 4 + 1));
        assert_eq!(bound::<Box<[u32; 8]>>(), Some(40));
    }

    #[test]
    fn what_can_be_of_any_length_has_none() {
        assert_eq!(bound::<Named>(), None);
        assert_eq!(bound::<(u8, Vec<u8>)>(), None);
        assert_eq!(bound::<BTreeMap<u8, u8>>(), None);
        assert_eq!(bound::<Tree>(), None);
        assert_eq!(bound::<Option<Box<Tree>>>(), None);
    }

    #[test]
    fn no_value_is_longer_than_its_bound() {
        let point = || Point { x: u64::MAX, y: Some(i16::MIN), letters: [char::MAX; 3] };
        for value in [Flat::Nothing, Flat::One(u128::MAX), Flat::Two { point: point(), flag: true }] {
            assert!(crate::Codec::CURRENT.encoded_bytes(&value) <= bound::<Flat>().expect("it is flat"));
        }
        assert_eq!(crate::Codec::CURRENT.encoded_bytes(&point()), bound::<Point>().expect("it is flat"));
    }
}

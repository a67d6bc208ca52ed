//! Makes values of a type out of nothing but its `Deserialize`, until every variant of every enum in it was seen.
//!
//! serde-reflection's own tracing of types explores the variants of the outermost enum alone, and serde hands out no
//! type by which those within could be traced apart. So the explorer answers each request of the type itself, pass for
//! pass with other variants, and the values are what serde-reflection then traces. Kinds of containers are told apart
//! by their visitor's type, of which the name tells generic arguments apart too; it is never written anywhere.
//!
//! A pass always ends: a container within itself is left empty, and an enum within itself takes a variant that is known
//! to end, which is searched for by backtracking.

use std::{
    any::type_name,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor, value::U32Deserializer,
};
use serde_reflection::{Samples, Value};

use super::Misfit;
use crate::codec::NESTING_MAX;

/// How many passes a type may need; more variants than that are not explored.
const PASSES_MAX: usize = 10_000;

/// How the values of one exploration look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    /// Options, sequences and maps have something in them down to this many levels of them, and nothing below.
    pub(super) full_levels: u32,
    /// Numbers are 1, booleans true and strings not empty; else 0, false and empty.
    pub(super) truthy: bool,
    /// Which named types are taken from the samples where there is one.
    pub(super) inject: Inject,
}

/// What is taken from the user's samples instead of being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inject {
    /// Nothing.
    Nothing,
    /// Newtype structs, which are what usually validates.
    Newtypes,
    /// All structs.
    Structs,
}

/// What an exploration found.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) values: Vec<T>,
    /// Why some of what the type can be was not made.
    pub(super) failure: Option<String>,
}

/// Proof that no value of the type can be decoded, and where.
#[derive(Debug)]
pub(super) struct Impossible {
    pub(super) of: Option<&'static str>,
    pub(super) field: Option<&'static str>,
    pub(super) misfit: Misfit,
}

/// The fields and variants that types asked for, by the type's serde name.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) fields: BTreeMap<&'static str, &'static [&'static str]>,
    pub(super) variants: BTreeMap<&'static str, &'static [&'static str]>,
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
                let progress = search.commit();
                if progress || found.values.is_empty() {
                    found.values.push(value);
                }
                if !progress {
                    if search.enums.keys().any(|key| search.has_unseen(key)) {
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

/// The end of a pass, with the text that serde or the type gave.
#[derive(Debug)]
struct Halt(String);

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Halt {}

impl de::Error for Halt {
    fn custom<M: fmt::Display>(message: M) -> Halt {
        Halt(message.to_string())
    }
}

/// Why the explorer itself ended a pass.
enum Fault {
    /// An enum came round to itself and no variant that ends is known.
    Round,
    /// The variant's number is past the last.
    NoVariant,
    Impossible(Impossible),
}

/// What is known of one enum type.
#[derive(Default)]
struct Variants {
    /// How many numbers are tried; serde's list counts aliases, so there may be fewer variants.
    count: u32,
    /// Those that stand in a value or can't be made.
    seen: BTreeSet<u32>,
    /// Those that led back to the enum itself.
    blocked: BTreeSet<u32>,
    /// One that ends.
    base: Option<u32>,
    active: bool,
    /// The enums that were met within a variant.
    within: BTreeMap<u32, BTreeSet<&'static str>>,
}

struct Search<'a> {
    mode: Mode,
    samples: &'a Samples,
    asked: &'a mut Asked,
    enums: BTreeMap<&'static str, Variants>,
    /// Options, sequences and maps that the pass is within.
    open: Vec<&'static str>,
    /// Enums and their variants that the pass is within.
    enums_open: Vec<(&'static str, u32)>,
    /// Variants that this pass took.
    taken: Vec<(&'static str, u32)>,
    /// The structs that the pass is within, with the field that is being read.
    place: Vec<(&'static str, Option<&'static str>)>,
    depth: u32,
    fault: Option<Fault>,
    /// A variant was marked as the reason why this pass failed, so that the next one is another.
    blamed: bool,
    /// What a type said when it refused a value within the blamed variant.
    refusal: Option<String>,
}

impl<'a> Search<'a> {
    fn new(mode: Mode, samples: &'a Samples, asked: &'a mut Asked) -> Search<'a> {
        Search {
            mode,
            samples,
            asked,
            enums: BTreeMap::new(),
            open: Vec::new(),
            enums_open: Vec::new(),
            taken: Vec::new(),
            place: Vec::new(),
            depth: 0,
            fault: None,
            blamed: false,
            refusal: None,
        }
    }

    fn start_pass(&mut self) {
        self.open.clear();
        self.enums_open.clear();
        self.taken.clear();
        self.place.clear();
        self.depth = 0;
        self.fault = None;
        self.blamed = false;
        self.refusal = None;
        for variants in self.enums.values_mut() {
            variants.active = false;
        }
    }

    /// Marks what the pass took as seen; false if all of it was.
    fn commit(&mut self) -> bool {
        let mut progress = false;
        for (key, variant) in std::mem::take(&mut self.taken) {
            progress |= self.enums.entry(key).or_default().seen.insert(variant);
        }
        progress
    }

    fn impossible(&mut self, misfit: Misfit) -> Halt {
        let (of, field) = self.place.last().map_or((None, None), |&(of, field)| (Some(of), field));
        self.fault.get_or_insert(Fault::Impossible(Impossible { of, field, misfit }));
        Halt("the type asks the bytes what they are".to_string())
    }

    fn round(&mut self) -> Halt {
        self.fault.get_or_insert(Fault::Round);
        Halt("the type has no value that ends".to_string())
    }

    /// True if an option, sequence or map of this type is to have something in it.
    fn fills(&self, key: &'static str) -> bool {
        let levels = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        levels < self.mode.full_levels && !self.open.contains(&key)
    }

    fn has_unseen(&self, key: &str) -> bool {
        self.enums.get(key).is_some_and(|it| (0..it.count).any(|variant| !it.seen.contains(&variant)))
    }

    /// The variant to take of an enum, or nothing if each leads back to it.
    fn choose(&self, variants: &Variants) -> Option<u32> {
        if variants.active {
            return variants.base;
        }
        let open = |variant: &u32| !variants.blocked.contains(variant);
        let unseen = (0..variants.count).filter(open).find(|variant| !variants.seen.contains(variant));
        let unfinished = || {
            let mut within = variants.within.iter();
            within.find(|(_, keys)| keys.iter().any(|key| self.has_unseen(key))).map(|(&variant, _)| variant)
        };
        unseen.or_else(unfinished).or(variants.base)
    }

    fn sample(&self, name: &'static str, at_least: Inject) -> Option<&'a Value> {
        let wanted = match self.mode.inject {
            Inject::Nothing => false,
            Inject::Newtypes => at_least == Inject::Newtypes,
            Inject::Structs => true,
        };
        if wanted { self.samples.value(name) } else { None }
    }
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
            let result = inside(search, count)?;
            search.open.pop();
            Ok(result)
        })
    }

    /// Reads a struct, of which the fields are known where they have names.
    fn part<R>(
        self,
        name: &'static str,
        inside: impl FnOnce(&mut Search<'a>) -> Result<R, Halt>,
    ) -> Result<R, Halt> {
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
        let key = type_name::<V>();
        self.search.asked.variants.insert(name, variants);
        self.deeper(|search| search.one_of(key, name, variants.len(), visitor))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'de> Search<'de> {
    /// Reads one variant of an enum, and learns from how that ends.
    fn one_of<V: Visitor<'de>>(
        &mut self,
        key: &'static str,
        name: &'static str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, Halt> {
        // A variant that holds an enum which has more to show is taken again.
        for &(outer, variant) in &self.enums_open {
            self.enums.entry(outer).or_default().within.entry(variant).or_default().insert(key);
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let was_active = self.enums.entry(key).or_insert_with(|| Variants { count, ..Variants::default() }).active;
        let Some(variant) = self.choose(&self.enums[key]) else {
            return Err(self.round());
        };
        self.enums.entry(key).or_default().active = true;
        self.enums_open.push((key, variant));
        self.place.push((name, None));
        let result = visitor.visit_enum(OneOf { search: self, variant });
        if result.is_ok() {
            self.place.pop();
            self.enums_open.pop();
            self.taken.push((key, variant));
        }
        let fault = self.fault.as_ref();
        let known = self.enums.entry(key).or_default();
        known.active = was_active;
        match &result {
            Ok(_) => {
                if known.base.is_none() {
                    known.base = Some(variant);
                    // What led in a circle before may end now.
                    self.enums.values_mut().for_each(|variants| variants.blocked.clear());
                }
            }
            Err(_) if self.blamed || matches!(fault, Some(Fault::Impossible(_))) => {}
            Err(Halt(reason)) => {
                self.blamed = match fault {
                    // The outer enum of the same type is blamed for a variant that isn't its own choice.
                    Some(Fault::Round) if was_active => false,
                    Some(Fault::Round) => known.blocked.insert(variant),
                    Some(Fault::NoVariant) => {
                        known.count = variant;
                        known.blocked.clear();
                        true
                    }
                    Some(Fault::Impossible(_)) => false,
                    None => {
                        self.refusal = Some(reason.clone());
                        known.seen.insert(variant)
                    }
                };
            }
        }
        result
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

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Halt> {
        visitor.visit_seq(Elements { search: self.search, left: fields.len(), fields })
    }
}

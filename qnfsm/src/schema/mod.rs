//! What types look like on the wire: names of fields and variants, a hash that changes when they do, and values shown
//! by these names.
//!
//! All of it comes from serde's derives. A schema is made when a kind or message type is registered, and that is also
//! when a type is refused that the codec can't carry: values of it are made, encoded, decoded and encoded again. A type
//! that can't be traced but may well be carried is *opaque*: it works, and its schema is its name and a digest of all that
//! was seen of it, so that a changed one is known as such. Nothing here knows FSMs or frames.
//!
//! By its schema a value is shown ([`Printer`]), looked into by a [`Path`], taken apart as a tree of [`Content`], and held against another
//! one of its type ([`Printer::changes`]).

mod bound;
mod change;
mod content;
mod error;
mod explore;
mod generics;
#[cfg(test)]
mod generics_tests;
mod json;
mod look;
#[cfg(test)]
mod look_tests;
mod outline;
mod path;
mod print;
#[cfg(test)]
mod print_tests;
mod search;
mod shape;
#[cfg(test)]
mod tests;
mod text;
mod walk;

use std::{
    any::type_name,
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_reflection::{ContainerFormat, Format, FormatHolder, Registry, Samples, Tracer, TracerConfig};

use crate::{
    Digest,
    codec::{Codec, EncodeError, Trust},
    panic::panic_text,
    secret::SECRET_SERDE_NAME,
};
pub use change::{Change, Changes};
pub use content::{Content, Fields};
pub use error::{Misfit, SchemaError};
use explore::explore;
use generics::{Naming, Typed};
pub use look::Outlook;
use outline::Outline;
pub use path::{Path, PathError, PathPart};
pub use print::Printer;
use search::{Asked, Inject, Mode};
use shape::shape;

/// How a type looks on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    name: String,
    json: String,
    hash: u64,
    variants: Vec<String>,
    opaque: Option<String>,
    encoded_bytes_max: Option<u64>,
}

/// The modes in which a type is explored, the fullest first. What is empty or zero in the later ones is what
/// `skip_serializing_if` leaves out.
const MODES: [Mode; 6] = [
    Mode { full_levels: u32::MAX, truthy: true, inject: Inject::Nothing },
    Mode { full_levels: u32::MAX, truthy: false, inject: Inject::Nothing },
    Mode { full_levels: 0, truthy: false, inject: Inject::Nothing },
    Mode { full_levels: 1, truthy: false, inject: Inject::Nothing },
    Mode { full_levels: 2, truthy: false, inject: Inject::Nothing },
    Mode { full_levels: 3, truthy: false, inject: Inject::Nothing },
];

impl Schema {
    /// The schema of `T`. `samples` are needed only by types that refuse most values, such as a number that must be
    /// even; without them such a type is opaque.
    ///
    /// # Errors
    /// When the codec certainly can't carry the type.
    pub fn of<T: Serialize + DeserializeOwned + 'static>(samples: &[T]) -> Result<Schema, SchemaError> {
        let name = short_name(type_name::<T>());
        // `Serialize` and `Deserialize` are the user's; nothing that they leave behind is used after a panic.
        let mut seen = Seen { asked: Asked::default(), carried: Vec::new() };
        match catch_unwind(AssertUnwindSafe(|| trace(&name, samples, &mut seen))) {
            Ok(schema) => schema,
            Err(panic) => {
                let reason = format!("its `Serialize` or `Deserialize` panics ({}); mend it", panic_text(&*panic));
                let outline = catch_unwind(AssertUnwindSafe(|| Outline::of(samples.iter().chain(&seen.carried))));
                Ok(Schema::opaque_with(&name, reason, outline.unwrap_or_default(), &seen.asked))
            }
        }
    }

    /// The Rust type's name without modules.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash of the type's shape. Types with the same one have the same bytes, and the same names of fields and variants; what the
    /// types themselves are called doesn't matter. Of an opaque type that is so as far as it could be seen, and its own name does.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The formats of the type and of all named types within it; the same text for the same type, always. A generic type
    /// that stands in it at several arguments has one name for each, such as `Reply<u64>`. Of an opaque type, its name
    /// and variants and a digest of the values that were seen.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Why the type couldn't be traced and what to do about it; nothing if it was.
    #[must_use]
    pub fn opaque(&self) -> Option<&str> {
        self.opaque.as_deref()
    }

    /// The names of the enum's variants by their numbers; none if the type is no enum. A number that no traced value
    /// has is shown as `#` and the number.
    #[must_use]
    pub fn variants(&self) -> Vec<String> {
        self.variants.clone()
    }

    /// The most bytes that a value takes when it is encoded. `None` if there is no bound, or the type is opaque.
    #[must_use]
    pub fn encoded_bytes_max(&self) -> Option<u64> {
        self.encoded_bytes_max
    }

    fn opaque_with(name: &str, reason: String, outline: Outline, asked: &Asked) -> Schema {
        let seen = format!("{:016x}", outline.digest(asked));
        let holds = (asked.secret || outline.secret).then_some(SECRET_SERDE_NAME);
        let json = serde_json::to_string(&Opaque { opaque: name, variants: &outline.variants, seen, holds })
            .expect("texts under names that are texts can be written down");
        let variants = outline.variants;
        let hash = Digest::of(json.as_bytes());
        Schema { name: name.to_string(), json, hash, variants, opaque: Some(reason), encoded_bytes_max: None }
    }
}

/// What the JSON of an opaque type holds. [`Printer`] knows it by the first field.
#[derive(Serialize)]
struct Opaque<'s> {
    opaque: &'s str,
    variants: &'s [String],
    /// The digest of its outline.
    seen: String,
    /// The name of secrets, if one was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<&'static str>,
}

/// What the exploration of a type has seen so far.
struct Seen<T> {
    asked: Asked,
    /// The values that were made and survive the codec.
    carried: Vec<T>,
}

/// What one tracing of values gives: the root's format and all named types.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Traced {
    root: Format,
    types: Registry,
}

fn trace<T: Serialize + DeserializeOwned + 'static>(
    name: &str,
    samples: &[T],
    Seen { asked, carried }: &mut Seen<T>,
) -> Result<Schema, SchemaError> {
    for sample in samples {
        carry(name, sample, asked, Origin::Sample)?;
    }

    let mut recorded = Samples::new();
    let mut recorder = Tracer::new(config());
    let recordable = samples.iter().all(|sample| recorder.trace_value(&mut recorded, sample).is_ok());

    let injecting = [Inject::Newtypes, Inject::Structs].map(|inject| Mode { inject, ..MODES[0] });
    let injecting = if samples.is_empty() || !recordable { &[][..] } else { &injecting[..] };
    let mut refusal = None;
    let mut complete = false;
    for (number, &mode) in MODES.iter().chain(injecting).enumerate() {
        if complete && number >= MODES.len() {
            break;
        }
        let found = explore::<T>(mode, &recorded, asked).map_err(|impossible| SchemaError {
            type_name: impossible.of.unwrap_or(name).to_string(),
            field: impossible.field.map(str::to_string),
            misfit: impossible.misfit,
        })?;
        for value in found.values {
            if carry(name, &value, asked, Origin::Made)? {
                carried.push(value);
            }
        }
        complete |= mode.full_levels == u32::MAX && found.failure.is_none();
        refusal = refusal.or(found.failure);
    }

    let values = || samples.iter().chain(&*carried);
    let outline = Outline::of(values());
    let reason = match trace_values(values) {
        // What the samples show is all that is known, and it holds together.
        Ok(traced) if complete || !samples.is_empty() => match serde_json::to_string(&traced) {
            Ok(json) => return Ok(Schema::traced(name, &traced, json, outline.variants)),
            Err(error) => format!("its formats can't be written down: {error}"),
        },
        Err(error) if complete => untraceable(&error),
        _ => {
            let refusal = refusal.unwrap_or_else(|| "no value could be made".to_string());
            format!("no values could be made to trace it ({refusal}); give samples of it")
        }
    };
    Ok(Schema::opaque_with(name, reason, outline, asked))
}

impl Schema {
    fn traced(name: &str, traced: &Traced, json: String, variants: Vec<String>) -> Schema {
        let shape =
            serde_json::to_string(&shape(traced)).expect("what can be written down with names can be with numbers");
        let hash = Digest::of(shape.as_bytes());
        let encoded_bytes_max = bound::encoded_bytes_max(&traced.root, &traced.types);
        Schema { name: name.to_string(), json, hash, variants, opaque: None, encoded_bytes_max }
    }
}

fn config() -> TracerConfig {
    TracerConfig::default().record_samples_for_structs(true).record_samples_for_tuple_structs(true)
}

fn untraceable(error: &serde_reflection::Error) -> String {
    match error {
        serde_reflection::Error::Incompatible(one, other) => format!(
            "two types within it have the same name and other contents ({one} and {other}); rename one of them with \
             `#[serde(rename = …)]`"
        ),
        other => format!("{other}; give samples that show what is missing"),
    }
}

/// The formats of all values together. A generic type is named with its arguments if that is what it takes.
fn trace_values<'v, T: Serialize + 'v, V: Iterator<Item = &'v T>>(
    values: impl Fn() -> V,
) -> serde_reflection::Result<Traced> {
    let mut with_arguments = BTreeSet::new();
    loop {
        let naming = Naming::new(&with_arguments);
        let traced = trace_values_by(&naming, values());
        match (&traced, naming.clash()) {
            // Each time round there is one name more.
            (Err(serde_reflection::Error::Incompatible(..)), Some(name)) if !with_arguments.contains(name) => {
                with_arguments.insert(name);
            }
            _ => return traced,
        }
    }
}

/// The formats of all values together, in a tracer of their own.
fn trace_values_by<'v, T: Serialize + 'v>(
    naming: &Naming<'_>,
    values: impl Iterator<Item = &'v T>,
) -> serde_reflection::Result<Traced> {
    let mut tracer = Tracer::new(config());
    let mut root = Format::unknown();
    for value in values {
        root.unify(tracer.trace_value(&mut Samples::new(), &Typed::new(value, naming))?.0)?;
    }
    root.normalize()?;
    Ok(Traced { root, types: tracer.registry()? })
}

/// Where a value comes from that is tried on the codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The type's `Deserialize` made it out of the explorer's answers.
    Made,
    /// The user gave it.
    Sample,
}

/// Checks that a value survives the codec; false if it is one that proves nothing.
fn carry<T: Serialize + DeserializeOwned>(
    name: &str,
    value: &T,
    asked: &Asked,
    origin: Origin,
) -> Result<bool, SchemaError> {
    let misfit = |misfit| SchemaError { type_name: name.to_string(), field: None, misfit };
    let codec = Codec::CURRENT;
    let mut bytes = Vec::new();
    match codec.encode(value, &mut bytes) {
        Ok(()) => {}
        Err(EncodeError::FieldSkipped { of, field }) => {
            let (type_name, field) = (of.to_string(), Some(field.to_string()));
            return Err(SchemaError { type_name, field, misfit: Misfit::FieldSkipped });
        }
        Err(error @ (EncodeError::LengthUnknown | EncodeError::LengthWrong { .. })) => {
            return Err(misfit(Misfit::Encode(error)));
        }
        // A value that is refused says nothing about others, unless the user gave it.
        Err(_) if origin == Origin::Made => return Ok(false),
        Err(error) => return Err(misfit(Misfit::Encode(error))),
    }
    let back: T = codec
        .decode(&bytes, Trust::Node)
        .map_err(|error| blame(value, asked).unwrap_or_else(|| misfit(Misfit::Decode(error))))?;
    let mut again = Vec::new();
    codec.encode(&back, &mut again).map_err(|error| misfit(Misfit::Encode(error)))?;
    // A hash map of the user's may come back in another order, with the same bytes in other places.
    let same = again == bytes || (origin == Origin::Sample && sorted(&again) == sorted(&bytes));
    if same { Ok(true) } else { Err(blame(value, asked).unwrap_or_else(|| misfit(Misfit::Changed))) }
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.sort_unstable();
    bytes
}

/// The field or variant that is likely the reason why a value doesn't come back: one that is written but not read, or
/// read but not written.
fn blame<T: Serialize>(value: &T, asked: &Asked) -> Option<SchemaError> {
    let mut tracer = Tracer::new(config());
    tracer.trace_value(&mut Samples::new(), value).ok()?;
    let error = |type_name: &str, field: Option<&str>, misfit| {
        Some(SchemaError { type_name: type_name.to_string(), field: field.map(str::to_string), misfit })
    };
    for (name, format) in tracer.registry_unchecked() {
        match &format {
            ContainerFormat::Struct(written) => {
                let Some(&read) = asked.fields.get(name.as_str()) else { continue };
                if let Some(field) = read.iter().find(|field| written.iter().all(|it| it.name != **field)) {
                    return error(&name, Some(field), Misfit::FieldNotWritten);
                }
                if let Some(field) = written.iter().find(|it| !read.contains(&it.name.as_str())) {
                    return error(&name, Some(&field.name), Misfit::FieldNotRead);
                }
            }
            ContainerFormat::Enum(written) => {
                let Some(&read) = asked.variants.get(name.as_str()) else { continue };
                let moved = |(&number, it): (&u32, &serde_reflection::Named<_>)| {
                    let number = usize::try_from(number).unwrap_or(usize::MAX);
                    read.get(number).is_none_or(|name| *name != it.name)
                };
                if written.iter().any(moved) {
                    return error(&name, None, Misfit::VariantSkipped);
                }
            }
            _ => {}
        }
    }
    None
}

/// A type's name as Rust shows it, without the modules: `Reply<u64>` of `qnfsm::message::Reply<u64>`.
#[must_use]
pub fn short_name(full: &str) -> String {
    let mut short = String::new();
    let mut word = 0;
    for letter in full.chars() {
        short.push(letter);
        if letter == ':' {
            short.truncate(word);
        } else if !letter.is_alphanumeric() && letter != '_' {
            word = short.len();
        }
    }
    short
}

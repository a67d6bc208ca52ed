//! Shows encoded values to people, by the names in their schema: the one printer of bytes, as text that reads as Rust's
//! `Debug` would show the value, and as JSON. Both come from one [`walk`](super::walk).
//!
//! Bytes and schemas may come from anybody. What is shown is bounded by whoever asks for it, and what the schema doesn't
//! fit is shown as far as it does, and then in hex; not if the schema holds a secret. Printing never fails and never panics.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde_reflection::{ContainerFormat, Format};

use super::{
    Traced,
    json::{Json, hex, push_text},
    text::Text,
    walk::{Hidden, Output, Walk},
};
use crate::{
    codec::{Codec, DecodeError},
    secret::SECRET_SERDE_NAME,
};

/// Shows the values of one type, which is known by its schema alone.
///
/// ```
/// use qnfsm::{Codec, schema::{Printer, Schema}};
/// # use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// enum Event { Coin { cents: u32 }, Push }
///
/// let printer = Printer::new(Schema::of::<Event>(&[])?.json());
/// let mut bytes = Vec::new();
/// Codec::CURRENT.encode(&Event::Coin { cents: 50 }, &mut bytes)?;
/// assert_eq!(printer.text(&bytes, 100), "Coin { cents: 50 }");
/// assert_eq!(printer.text(&bytes, 10), "Coin { cen… (2 bytes in all)");
/// assert_eq!(printer.text(&bytes[..1], 100), "Coin { cents: … (the bytes end in the middle of the value; 1 byte: 00)");
/// assert_eq!(printer.json(&bytes, 100), r#"{"Coin":{"cents":50}}"#);
/// assert!(printer.variants().eq(["Coin", "Push"]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Printer {
    traced: Result<Traced, &'static str>,
    holds_secret: bool,
}

/// How much is shown of what is wrong with bytes.
const ERROR_CHARS_MAX: usize = 160;
/// How many bytes are shown in hex.
const HEX_BYTES_MAX: usize = 24;

impl Printer {
    /// A printer for the values of the type whose [`Schema::json`](super::Schema::json) that is. Those of an opaque
    /// type, or of what is no schema, are shown in hex.
    #[must_use]
    pub fn new(schema_json: &str) -> Printer {
        let traced = serde_json::from_str(schema_json).map_err(|_| {
            let is_opaque = serde_json::from_str::<BTreeMap<String, IgnoredAny>>(schema_json)
                .is_ok_and(|object| object.contains_key("opaque"));
            if is_opaque { "opaque" } else { "no schema can be read" }
        });
        // The name of a secret stands in any schema that holds one, also in one that can't be read otherwise.
        Printer { traced, holds_secret: schema_json.contains(SECRET_SERDE_NAME) }
    }

    /// True if there is a [`Secret`](crate::Secret) in the type. Whoever shows bytes of its values shows what it holds.
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        self.holds_secret
    }

    /// The value in at most `chars_max` characters, and a note where it is longer or the bytes are no such value.
    #[must_use]
    pub fn text(&self, bytes: &[u8], chars_max: usize) -> String {
        let traced = match &self.traced {
            Ok(traced) => traced,
            Err(why) => return format!("({why}; {})", self.rest(bytes)),
        };
        let mut out = Text::new(chars_max);
        match read(traced, bytes, &mut out) {
            Ok(()) => out.text,
            Err(_) if out.is_full => format!("{}… ({} in all)", out.text, count(bytes)),
            Err(error) => format!("{}… ({}; {})", out.text, short(&error), self.rest(bytes)),
        }
    }

    /// The value as JSON of about `bytes_max` bytes at most, always well-formed: as `serde_json` would write it, but integers beyond
    /// ±2^53 and floats that are no numbers are texts, a map is a list of pairs unless its keys are texts, a queue's name is a text
    /// such as `"w0/7.1"`, and what a secret holds is `"(secret)"`.
    ///
    /// Where that is not all, an object says so: its `$note` why, its `$value` the value as far as it goes, and its `$hex` the first
    /// of the bytes that make no value, unless there is a secret in the type.
    #[must_use]
    pub fn json(&self, bytes: &[u8], bytes_max: usize) -> String {
        let (value, note, in_hex) = match &self.traced {
            Ok(traced) => {
                let mut out = Json::new(bytes_max);
                let read = read(traced, bytes, &mut out);
                let is_full = out.is_full;
                match read {
                    Ok(()) => return out.finish(),
                    Err(_) if is_full => (Some(out.finish()), format!("{} in all", count(bytes)), false),
                    Err(error) => (Some(out.finish()), short(&error), true),
                }
            }
            Err(why) => (None, (*why).to_owned(), true),
        };
        let mut json = String::from("{\"$note\":");
        push_text(&mut json, &note);
        if let Some(value) = value {
            json.push_str(",\"$value\":");
            json.push_str(&value);
        }
        if in_hex && !self.holds_secret {
            json.push_str(",\"$hex\":");
            push_text(&mut json, &hex(&bytes[..bytes.len().min(bytes_max / 2)]));
        }
        json.push('}');
        json
    }

    /// True if every value of the type is of no bytes, as `()` is.
    #[must_use]
    pub fn takes_no_bytes(&self) -> bool {
        self.traced.as_ref().is_ok_and(|traced| read(traced, &[], &mut Hidden).is_ok())
    }

    /// The names of all variants, in the order of their numbers; none, if the type is no enum or nobody knows its schema.
    pub fn variants(&self) -> impl Iterator<Item = &str> {
        let root = self.traced.as_ref().ok().and_then(|traced| match &traced.root {
            Format::TypeName(name) => traced.types.get(name),
            _ => None,
        });
        let variants = root.and_then(|root| match root {
            ContainerFormat::Enum(variants) => Some(variants),
            _ => None,
        });
        variants.into_iter().flatten().map(|(_, variant)| variant.name.as_str())
    }

    /// How many of the bytes are the value that they begin with.
    ///
    /// # Errors
    /// When they begin with no value of the type, or the type is opaque, so that nobody knows.
    pub(crate) fn front(&self, bytes: &[u8]) -> Result<usize, DecodeError> {
        let walk = Walk::new(self.traced()?, bytes.len());
        let ((), left) = Codec::CURRENT.decode_front(walk.value(&mut Hidden), bytes)?;
        Ok(bytes.len() - left)
    }

    /// The formats of the type.
    ///
    /// # Errors
    /// When they aren't known: the type is opaque.
    pub(super) fn traced(&self) -> Result<&Traced, DecodeError> {
        self.traced.as_ref().map_err(|why| DecodeError::Malformed((*why).to_owned()))
    }

    /// What is said of bytes that aren't shown as a value.
    fn rest(&self, bytes: &[u8]) -> String {
        if self.holds_secret { format!("{}, with a secret", count(bytes)) } else { excerpt(bytes) }
    }
}

/// Reads a value that takes all of the bytes.
pub(super) fn read(traced: &Traced, bytes: &[u8], out: &mut impl Output) -> Result<(), DecodeError> {
    match Codec::CURRENT.decode_front(Walk::new(traced, bytes.len()).value(out), bytes)? {
        ((), 0) => Ok(()),
        ((), left) => Err(DecodeError::Trailing { left }),
    }
}

/// An error, which may hold a name out of the schema.
fn short(error: &DecodeError) -> String {
    error.to_string().chars().take(ERROR_CHARS_MAX).collect()
}

fn count(bytes: &[u8]) -> String {
    format!("{} byte{}", bytes.len(), if bytes.len() == 1 { "" } else { "s" })
}

/// The first bytes, for a person to compare.
fn excerpt(bytes: &[u8]) -> String {
    let shown = hex(&bytes[..bytes.len().min(HEX_BYTES_MAX)]);
    let more = if bytes.len() > HEX_BYTES_MAX { "…" } else { "" };
    let colon = if bytes.is_empty() { "" } else { ": " };
    format!("{}{colon}{shown}{more}", count(bytes))
}

//! The seam through which every value is turned into bytes and back: messages, start values, snapshots.
//!
//! One byte in the journal names the codec, so that another can take over without making old journals unreadable.
//! What [`Codec::encode`] gives out, [`Codec::decode`] takes back; what could not be read again is refused when it is
//! written, not when it is missed. Decoding trusts nothing: the bytes' own length bounds every allocation, and nesting
//! and numbers of elements are capped. Nothing here knows frames, types' names or files.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::{
    fmt,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::{
    Serialize,
    de::{DeserializeOwned, DeserializeSeed},
};

/// How deep a value may nest. Each struct, tuple, enum, option, sequence and map within another counts one; a
/// recursive type is refused past it, long before the stack ends.
pub const NESTING_MAX: u32 = 64;

/// How many elements all sequences and maps of one value may have together beyond the number of its bytes.
///
/// Only elements that take no bytes, such as `()`, can be more than the bytes; without this rule, eight bytes could
/// ask for 2^60 of them.
pub const ELEMENTS_BEYOND_BYTES_MAX: usize = 1024;

/// What a value may ask for.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    nesting_max: u32,
    /// How many elements a byte may stand for, beside [`ELEMENTS_BEYOND_BYTES_MAX`].
    elements_per_byte: usize,
}

impl Bounds {
    /// A message, a start value: whatever crosses a perimeter.
    const VALUE: Bounds = Bounds { nesting_max: NESTING_MAX, elements_per_byte: 1 };

    /// What a worker holds values in. Each value that was let in must fit, however deep within queue and FSM it lies
    /// and however many others are there: else a message could keep its worker from being written.
    const IMAGE: Bounds = Bounds { nesting_max: 2 * NESTING_MAX, elements_per_byte: 2 * ELEMENTS_BEYOND_BYTES_MAX };

    fn elements_max(self, bytes: usize) -> usize {
        bytes.saturating_mul(self.elements_per_byte).saturating_add(ELEMENTS_BEYOND_BYTES_MAX)
    }
}

/// A way of turning values into bytes. Its number stands in the head of every segment of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// bincode 2 with its `standard()` configuration: little-endian, integers of variable length.
    Bincode2Standard,
}

/// Who wrote the bytes that are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// This node or one that it trusts. The bytes may contain queue IDs.
    Node,
    /// A peer that nobody vouches for. A [`QueueId`](crate::QueueId) in its bytes is an error: it must not hand us a
    /// name to send to.
    Peer,
}

/// Why a value can't be encoded. Each of them would have made bytes that can't be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A sequence or map didn't say how long it is.
    #[error(
        "a sequence or map without a known length; serde's `flatten` and custom serializers do this; remove it or \
         collect the elements first"
    )]
    LengthUnknown,
    /// A sequence, map, tuple or struct said one length and then had another.
    #[error("{said} elements were announced and {given} given; a custom `Serialize` does this; mend it")]
    LengthWrong {
        /// The length that was announced.
        said: usize,
        /// The elements that there were.
        given: usize,
    },
    /// A field was left out.
    #[error(
        "field `{field}` of `{of}` was left out; the codec carries no names, so every field must be there; remove \
         serde's `skip_serializing_if`"
    )]
    FieldSkipped {
        /// The struct, or the enum's variant.
        of: &'static str,
        /// The field.
        field: &'static str,
    },
    /// The value nests deeper than [`NESTING_MAX`].
    #[error(
        "the value nests more than {NESTING_MAX} levels deep (twice that in a snapshot); use a flat collection with \
         indices instead"
    )]
    NestingTooDeep,
    /// Too many elements that take no bytes; see [`ELEMENTS_BEYOND_BYTES_MAX`].
    #[error(
        "{elements} elements in {bytes} bytes; elements that take no bytes may be {ELEMENTS_BEYOND_BYTES_MAX} at most; \
         send their count instead"
    )]
    TooManyElements {
        /// The elements of all sequences and maps of the value.
        elements: usize,
        /// The bytes that they took.
        bytes: usize,
    },
    /// The value's own `Serialize` failed.
    #[error("the value refuses to be encoded: {0}")]
    Refused(String),
}

/// Why bytes can't be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The value nests deeper than [`NESTING_MAX`].
    #[error("the value nests more than {NESTING_MAX} levels deep (twice that in a snapshot)")]
    NestingTooDeep,
    /// The sequences and maps claim more elements than the bytes can have; see [`ELEMENTS_BEYOND_BYTES_MAX`].
    #[error("a sequence or map claims more elements than its bytes can have")]
    TooManyElements,
    /// A sequence or map has more elements than its type takes.
    #[error("a sequence or map has {left} elements more than its type takes")]
    ElementsLeft {
        /// The elements that nobody took.
        left: usize,
    },
    /// The bytes come from an untrusted peer and contain a queue ID.
    #[error("a peer's bytes may not contain a queue ID")]
    QueueIdFromPeer,
    /// The value ended before the bytes did.
    #[error("{left} bytes are left over after the value")]
    Trailing {
        /// The bytes that are left.
        left: usize,
    },
    /// The bytes end in the middle of the value.
    #[error("the bytes end in the middle of the value")]
    CutShort,
    /// No bytes could be decoded as this type: it asks them what they are, and the codec writes values only.
    #[error(
        "the type wants bytes that describe themselves; serde's `flatten`, `untagged`, `tag` and types that hold any \
         value do this; remove it"
    )]
    NotSelfDescribing,
    /// The bytes are not a value of the type.
    #[error("the bytes are no value of this type: {0}")]
    Malformed(String),
}

impl Codec {
    /// The codec with which new journals are written.
    pub const CURRENT: Codec = Codec::Bincode2Standard;

    /// The number that stands in the journal.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Codec::Bincode2Standard => 1,
        }
    }

    /// The codec with that number; nothing if this version has none such.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Codec> {
        match id {
            1 => Some(Codec::Bincode2Standard),
            _ => None,
        }
    }

    /// Appends the value's bytes to `out`. After an error `out` is as it was before.
    ///
    /// ```
    /// use qnfsm::{Codec, Trust};
    ///
    /// let mut bytes = Vec::new();
    /// Codec::CURRENT.encode(&("ab", 300), &mut bytes)?;
    /// assert_eq!(bytes, [2, b'a', b'b', 251, 0x58, 0x02]);
    /// let back: (String, i32) = Codec::CURRENT.decode(&bytes, Trust::Node)?;
    /// assert_eq!(back, ("ab".to_string(), 300));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the value could not be decoded again; see [`EncodeError`].
    #[inline(always)]
    pub fn encode<T: Serialize + ?Sized>(self, value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encode_within(Bounds::VALUE, value, out)
    }

    /// As [`encode`](Codec::encode), for what a worker holds values in: it may nest twice as deep.
    #[inline]
    pub(crate) fn encode_image<T: Serialize + ?Sized>(self, value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encode_within(Bounds::IMAGE, value, out)
    }

    #[inline(always)]
    fn encode_within<T: Serialize + ?Sized>(
        self,
        bounds: Bounds,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let before = out.len();
        let Codec::Bincode2Standard = self;
        let mut writer = write::Writer::new(&mut *out, bounds.nesting_max);
        let result = writer.value(value);
        let elements = writer.elements();
        let bytes = out.len() - before;
        let error = match result {
            Ok(()) if elements <= bounds.elements_max(bytes) => return Ok(()),
            Ok(()) => EncodeError::TooManyElements { elements, bytes },
            Err(refused) => refused.into_inner(),
        };
        out.truncate(before);
        Err(error)
    }

    /// How many bytes [`encode`](Codec::encode) would append. Of a value that it refuses, or whose own `Serialize` panics,
    /// those up to where that happens: whoever encodes the value is told of it, and to weigh it is no reason to end.
    #[must_use]
    pub fn encoded_bytes<T: Serialize + ?Sized>(self, value: &T) -> u64 {
        let Codec::Bincode2Standard = self;
        let mut bytes = 0;
        // A count is whole after each write, so a panic leaves nothing half done.
        let _ = catch_unwind(AssertUnwindSafe(|| write::Writer::new(&mut bytes, u32::MAX).value(value)));
        bytes
    }

    /// The value that `bytes` are, all of them.
    ///
    /// # Errors
    /// When the bytes are no value of this type, go on after it, or break the rules for their writer; see
    /// [`DecodeError`].
    #[inline(always)]
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8], trust: Trust) -> Result<T, DecodeError> {
        self.decode_within(Bounds::VALUE, PhantomData, bytes, trust)
    }

    /// The value that `bytes` begin with, and how many bytes are left behind it; for who knows a type by its schema alone. It may
    /// be one that lies in an image.
    pub(crate) fn decode_front<'b, S: DeserializeSeed<'b>>(
        self,
        seed: S,
        bytes: &'b [u8],
    ) -> Result<(S::Value, usize), DecodeError> {
        let Codec::Bincode2Standard = self;
        let mut reader = read::Reader::new(bytes, Trust::Node, Bounds::IMAGE);
        let value = reader.value(seed).map_err(Refused::into_inner)?;
        Ok((value, reader.left()))
    }

    /// What [`encode_image`](Codec::encode_image) wrote.
    #[inline]
    pub(crate) fn decode_image<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, DecodeError> {
        self.decode_within(Bounds::IMAGE, PhantomData, bytes, Trust::Node)
    }

    #[inline(always)]
    fn decode_within<'b, S: DeserializeSeed<'b>>(
        self,
        bounds: Bounds,
        seed: S,
        bytes: &'b [u8],
        trust: Trust,
    ) -> Result<S::Value, DecodeError> {
        let Codec::Bincode2Standard = self;
        let mut reader = read::Reader::new(bytes, trust, bounds);
        match reader.value(seed) {
            Ok(value) if reader.left() == 0 => Ok(value),
            Ok(_) => Err(DecodeError::Trailing { left: reader.left() }),
            Err(refused) => Err(refused.into_inner()),
        }
    }
}

/// Why a value can't be read or written, while serde hands it up: boxed, so that the good path hands on no room for it.
#[derive(Debug)]
struct Refused<E>(Box<E>);

impl<E> Refused<E> {
    fn into_inner(self) -> E {
        *self.0
    }
}

impl<E> From<E> for Refused<E> {
    #[cold]
    fn from(error: E) -> Refused<E> {
        Refused(Box::new(error))
    }
}

impl<E: fmt::Display> fmt::Display for Refused<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for Refused<E> {}

/// The first byte of a number that is longer than a byte: two bytes follow, four, eight or sixteen. Below, the byte is the
/// number.
const LONG_16: u8 = 251;
const LONG_32: u8 = 252;
const LONG_64: u8 = 253;
const LONG_128: u8 = 254;

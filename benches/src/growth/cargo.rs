//! What a token carries: a number in place, or bytes on the heap, as one piece or one by one to serde.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Visitor},
};

/// Something to carry.
pub trait Cargo: Clone + fmt::Debug + Send + Sync + 'static + Serialize + DeserializeOwned {
    /// Makes one of so many bytes.
    fn of_bytes(bytes: u32) -> Self;

    /// How many bytes it has.
    fn bytes(&self) -> u32;
}

/// A number; a token with one has 16 bytes in memory, and counts as that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Number(u64);

/// The size of a token with a [`Number`].
pub const NUMBER_BYTES: u32 = 16;

impl Cargo for Number {
    /// Spread over all bits, so that a codec which writes small integers short has nothing to gain.
    fn of_bytes(_bytes: u32) -> Number {
        Number(0x9e37_79b9_7f4a_7c15)
    }

    fn bytes(&self) -> u32 {
        NUMBER_BYTES
    }
}

/// Bytes that tell serde that they are bytes: one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(Vec<u8>);

/// Bytes as serde's derive takes a `Vec<u8>`: a sequence of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence(Vec<u8>);

fn filled(bytes: u32) -> Vec<u8> {
    // All the same, because they are made within the time that is measured: filling is as quick as memory.
    vec![0xa5; bytes as usize]
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("payloads are bounded")
}

impl Cargo for Bytes {
    fn of_bytes(bytes: u32) -> Bytes {
        Bytes(filled(bytes))
    }

    fn bytes(&self) -> u32 {
        length(&self.0)
    }
}

impl Cargo for Sequence {
    fn of_bytes(bytes: u32) -> Sequence {
        Sequence(filled(bytes))
    }

    fn bytes(&self) -> u32 {
        length(&self.0)
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(bytes)
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct OfBytes;
        impl Visitor<'_> for OfBytes {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(OfBytes)
    }
}

#[cfg(test)]
mod tests {
    use qnfsm::{Codec, Trust};

    use super::*;

    #[test]
    fn both_kinds_of_bytes_have_the_same_encoding_and_are_read_back() {
        let (bytes, sequence) = (Bytes::of_bytes(300), Sequence::of_bytes(300));
        let [mut of_bytes, mut of_sequence] = [Vec::new(), Vec::new()];
        Codec::CURRENT.encode(&bytes, &mut of_bytes).expect("plain data");
        Codec::CURRENT.encode(&sequence, &mut of_sequence).expect("plain data");
        assert_eq!(of_bytes, of_sequence);
        assert_eq!(Codec::CURRENT.decode(&of_bytes, Trust::Node), Ok(bytes));
        assert_eq!(Codec::CURRENT.decode(&of_bytes, Trust::Node), Ok(sequence));
    }
}

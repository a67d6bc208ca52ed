//! Bytes within a worker's image, and within what is recorded of a delivery: an FSM's, a message's. They are counted bytes as
//! a `Vec<u8>`'s are, but go through serde in one piece; one by one they took most of the time of reading an image.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// Bytes that are written and read in one piece.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ImageBytes(pub(super) Vec<u8>);

/// Bytes that lie elsewhere, written in the same way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for ImageBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ImageBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ImageBytes, D::Error> {
        struct OfBytes;
        impl Visitor<'_> for OfBytes {
            type Value = ImageBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("counted bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<ImageBytes, E> {
                Ok(ImageBytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(OfBytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Trust};

    #[test]
    fn the_bytes_of_an_image_are_a_list_of_bytes() {
        let [mut one_piece, mut one_by_one] = [Vec::new(), Vec::new()];
        let bytes: Vec<u8> = (0..=255).chain(0..=255).collect();
        Codec::CURRENT.encode(&ImageBytes(bytes.clone()), &mut one_piece).expect("bytes");
        Codec::CURRENT.encode(&bytes, &mut one_by_one).expect("bytes");
        assert_eq!(one_piece, one_by_one);
        assert_eq!(Codec::CURRENT.decode(&one_piece, Trust::Node), Ok(ImageBytes(bytes)));
    }

    #[test]
    fn a_length_that_the_bytes_dont_have_is_refused_before_anything_is_allocated() {
        let claims = [253, 0, 0, 0, 0, 0, 0, 0, 1, 7];
        assert!(Codec::CURRENT.decode::<ImageBytes>(&claims, Trust::Node).is_err());
    }
}

//! The hash by which a replay proves itself. Its values stand in journals, so the algorithm is frozen by golden tests.
//!
//! It is not cryptographic: it finds accidents, not forgeries. One multiply for each eight bytes, in the manner of
//! Fibonacci hashing with a rotation (as FxHash and wyhash do), and a finisher that is MurmurHash3's `fmix64`.

/// A running digest. Order matters; every value that goes in changes all that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u64);

const SEED: u64 = 0x6a09_e667_f3bc_c908;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Digest {
    /// The digest of nothing.
    #[must_use]
    pub const fn new() -> Digest {
        Digest(SEED)
    }

    /// Takes in a number.
    #[inline]
    pub const fn mix(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(29) ^ value).wrapping_mul(MULTIPLIER);
    }

    /// Takes in bytes and their count, so that `"ab", "c"` and `"a", "bc"` differ.
    pub fn mix_bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.mix(u64::from_le_bytes(chunk.try_into().expect("a chunk has eight bytes")));
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.mix(u64::from_le_bytes(last));
        }
    }

    /// The value so far.
    #[must_use]
    pub const fn value(self) -> u64 {
        let mut hash = self.0;
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }

    /// The digest of these bytes alone.
    #[must_use]
    pub fn of(bytes: &[u8]) -> u64 {
        let mut digest = Digest::new();
        digest.mix_bytes(bytes);
        digest.value()
    }
}

/// The digest of bytes that come in pieces, however they are cut. It is another one than [`Digest::of`] the whole, because it learns
/// only at the end how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamDigest {
    digest: Digest,
    /// Up to seven bytes that don't make a number yet.
    rest: [u8; 8],
    bytes: u64,
}

impl StreamDigest {
    /// The digest of no bytes so far.
    #[must_use]
    pub const fn new() -> StreamDigest {
        StreamDigest { digest: Digest::new(), rest: [0; 8], bytes: 0 }
    }

    /// Takes in the next bytes.
    pub fn take(&mut self, bytes: &[u8]) {
        let held = usize::try_from(self.bytes % 8).expect("it is below eight");
        self.bytes += bytes.len() as u64;
        let (filling, bytes) = bytes.split_at(bytes.len().min((8 - held) % 8));
        self.rest[held..held + filling.len()].copy_from_slice(filling);
        if held + filling.len() == 8 {
            self.digest.mix(u64::from_le_bytes(self.rest));
            self.rest = [0; 8];
        }
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.digest.mix(u64::from_le_bytes(chunk.try_into().expect("a chunk has eight bytes")));
        }
        let rest = chunks.remainder();
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    /// The value of all bytes so far.
    #[must_use]
    pub const fn value(mut self) -> u64 {
        if !self.bytes.is_multiple_of(8) {
            self.digest.mix(u64::from_le_bytes(self.rest));
        }
        self.digest.mix(self.bytes);
        self.digest.value()
    }

    /// The digest of these bytes alone.
    #[must_use]
    pub fn of(bytes: &[u8]) -> u64 {
        let mut digest = StreamDigest::new();
        digest.take(bytes);
        digest.value()
    }
}

impl Default for StreamDigest {
    fn default() -> StreamDigest {
        StreamDigest::new()
    }
}

impl Default for Digest {
    fn default() -> Digest {
        Digest::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_algorithm_is_frozen() {
        // Computed apart from this code.
        let mut digest = Digest::new();
        assert_eq!(digest.value(), 0xbd0e_d0d0_8a42_a70c);
        digest.mix_bytes(b"qnfsm, replayed");
        assert_eq!(digest.value(), 0x230f_5ffe_7c96_c39b);
        digest.mix(7);
        assert_eq!(digest.value(), 0x53f6_6444_58f0_61a7);
    }

    #[test]
    fn bytes_in_pieces_have_the_digest_of_their_words_and_their_count() {
        let bytes: Vec<u8> = (0..40).collect();
        for len in 0..bytes.len() {
            let whole = &bytes[..len];
            let mut expected = Digest::new();
            for word in whole.chunks(8) {
                let mut padded = [0; 8];
                padded[..word.len()].copy_from_slice(word);
                expected.mix(u64::from_le_bytes(padded));
            }
            expected.mix(len as u64);
            for piece in 1..=len.max(1) {
                let mut digest = StreamDigest::new();
                digest.take(&[]);
                whole.chunks(piece).for_each(|bytes| digest.take(bytes));
                assert_eq!(digest.value(), expected.value(), "{len} bytes in pieces of {piece}");
            }
            assert_eq!(StreamDigest::of(whole), expected.value());
        }
    }

    #[test]
    fn order_and_division_count() {
        let of = |parts: &[&[u8]]| {
            let mut digest = Digest::new();
            parts.iter().for_each(|part| digest.mix_bytes(part));
            digest.value()
        };
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"a", b"b"]), of(&[b"b", b"a"]));
        assert_ne!(of(&[b"a"]), of(&[b"a\0"]));
    }
}

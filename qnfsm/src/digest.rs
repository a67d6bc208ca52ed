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

//! Random numbers: one generator for each FSM, seeded from the node's seed and the queue's ID.
//!
//! The algorithm, xoshiro256++ by Blackman and Vigna seeded through splitmix64, is part of the journal's format
//! ([`GENERATOR`]); golden tests freeze its values.

use std::convert::Infallible;

use rand_core::{Rng, SeedableRng, TryRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use crate::{digest::Digest, id::RawQueueId};

/// The generator's number in the journal.
pub const GENERATOR: u8 = 1;

/// One FSM's generator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Generator(Xoshiro256PlusPlus);

impl Generator {
    /// The generator of the FSM that owns `queue` in a node of that seed.
    pub(crate) fn new(seed: u64, queue: RawQueueId) -> Generator {
        let mut digest = Digest::new();
        for part in [
            seed,
            u64::from(queue.node().0),
            u64::from(queue.place().to_bits()),
            u64::from(queue.slot()),
            u64::from(queue.generation()),
        ] {
            digest.mix(part);
        }
        Generator(Xoshiro256PlusPlus::seed_from_u64(digest.value()))
    }

    /// True in the one state that gives only zeros, which no seed leads to; bytes that nobody wrote can.
    pub(crate) fn is_stuck(&self) -> bool {
        let mut generator = self.0.clone();
        (0..8).all(|_| generator.next_u64() == 0)
    }
}

/// Draws from an FSM's generator. Every draw goes into the round's digest.
///
/// It is a [`rand_core::Rng`], so distributions of other crates work on it; mind that a distribution which another
/// version of its crate computes otherwise is a change of the FSM's behaviour.
#[derive(Debug)]
pub struct Random<'a> {
    generator: &'a mut Generator,
    digest: &'a mut Digest,
}

impl<'a> Random<'a> {
    pub(crate) fn new(generator: &'a mut Generator, digest: &'a mut Digest) -> Random<'a> {
        Random { generator, digest }
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        let drawn = self.generator.0.next_u64();
        self.digest.mix(drawn);
        drawn
    }

    /// A number from 0 up to, not including, `bound`; all equally likely (Lemire's method with rejection).
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0 to draw");
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.any()) * u128::from(bound);
            let low = u64::try_from(product & u128::from(u64::MAX)).expect("masked to 64 bits");
            if low >= threshold {
                return u64::try_from(product >> 64).expect("the high half of a 128-bit number has 64 bits");
            }
        }
    }

    /// True once in `n` draws on average.
    ///
    /// # Panics
    /// When `n` is 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl TryRng for Random<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::try_from(self.any() >> 32).expect("a u64 shifted by 32 has 32 bits"))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.any())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.any().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{NodeId, Place, WorkerId};

    fn queue(slot: u32) -> RawQueueId {
        RawQueueId::new(NodeId(0), Place::worker(WorkerId(1)), slot, 1)
    }

    #[test]
    fn r4_the_generator_is_frozen() {
        let mut generator = Generator::new(7, queue(3));
        let mut digest = Digest::new();
        let mut random = Random::new(&mut generator, &mut digest);
        let drawn = [random.any(), random.any(), random.below(1000)];
        assert_eq!(drawn, GOLDEN, "journals of released versions replay with these values");
    }

    #[test]
    fn r4_each_queue_has_its_own_numbers_and_each_seed_others() {
        let draw = |seed, slot| Random::new(&mut Generator::new(seed, queue(slot)), &mut Digest::new()).any();
        assert_ne!(draw(7, 3), draw(7, 4));
        assert_ne!(draw(7, 3), draw(8, 3));
        assert_eq!(draw(7, 3), draw(7, 3));
    }

    /// Computed apart from this code, from the published algorithms.
    const GOLDEN: [u64; 3] = [9_255_446_843_436_013_746, 15_239_899_548_127_330_260, 423];
}

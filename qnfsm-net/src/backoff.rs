//! How long to wait between two attempts to connect: exponential backoff with full jitter.
//!
//! A wait is drawn evenly between nothing and a bound that doubles with each attempt up to a cap, so that many clients
//! of a server that comes back don't all come at once. Source: Marc Brooker, "Exponential Backoff and Jitter", AWS
//! Architecture Blog, 2015. The random numbers are the edge's own: nothing inside a worker sees them.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use crate::limits::{BACKOFF_BASE, BACKOFF_CAP};

/// A SplitMix64 generator (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    /// Seeded by the operating system, by way of the seed that std keeps for its hash maps.
    pub(crate) fn from_system() -> Jitter {
        Jitter(RandomState::new().hash_one(0))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from zero to `max`.
    fn up_to(&mut self, max: Duration) -> Duration {
        let max_ns = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(((u128::from(self.next()) * (u128::from(max_ns) + 1)) >> 64) as u64)
    }
}

/// The wait after the attempt of that number, counted from 1.
pub(crate) fn wait_after(attempt: u32, jitter: &mut Jitter) -> Duration {
    jitter.up_to(bound_after(attempt))
}

fn bound_after(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    BACKOFF_BASE.saturating_mul(1 << doublings).min(BACKOFF_CAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let bounds_ms = [1, 2, 3, 6, 7, u32::MAX].map(|attempt| bound_after(attempt).as_millis());
        assert_eq!(bounds_ms, [50, 100, 200, 1600, 2000, 2000]);
    }

    #[test]
    fn waits_fill_the_whole_range_and_never_leave_it() {
        let mut jitter = Jitter(7);
        let waits: Vec<_> = (0..1000).map(|_| wait_after(1, &mut jitter)).collect();
        assert!(waits.iter().all(|wait| *wait <= BACKOFF_BASE));
        assert!(waits.iter().any(|wait| *wait < BACKOFF_BASE / 10));
        assert!(waits.iter().any(|wait| *wait > BACKOFF_BASE * 9 / 10));
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // The first values for seed 1234567, as published with the reference implementation.
        let mut jitter = Jitter(1_234_567);
        assert_eq!([jitter.next(), jitter.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }
}

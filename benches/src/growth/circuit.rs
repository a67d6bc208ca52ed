//! What all systems of the suite do: tokens go round a ring of relays. Its sizes, its order, and what must have arrived.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    pace::{self, Lap},
    plan::Failure,
};

/// The ring, and what is under way in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circuit {
    /// How many workers, or threads, it goes through. With several, each hop goes to the next one.
    pub workers: u32,
    /// How many relays each of them has.
    pub relays_each: u32,
    /// How many tokens are under way in all.
    pub tokens: u32,
    /// In which order the relays of one worker are visited.
    pub order: Order,
    /// How many bytes a token carries.
    pub payload_bytes: u32,
}

/// In which order the relays of a worker are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// As they were spawned, which is mostly as they lie in memory.
    InOrder,
    /// In an order that has nothing to do with that, and is the same each time.
    Scattered,
}

impl Order {
    /// Puts what lies in memory in this order into the order of the visits.
    pub fn arrange<T>(self, items: &mut [T]) {
        if self == Order::InOrder {
            return;
        }
        let mut random = SplitMix(0);
        for last in (1..items.len()).rev() {
            let other = random.below(last as u64 + 1);
            items.swap(last, usize::try_from(other).expect("an index of this slice"));
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the same numbers each time.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What goes round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token<C> {
    /// Its number.
    pub number: u32,
    /// How many hops it has yet to make.
    pub hops: u32,
    /// What it carries.
    pub cargo: C,
}

/// What has come back of a lap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// How many tokens.
    pub tokens: u32,
    /// The sum of their numbers.
    pub numbers: u64,
    /// The sum of what they carry, in bytes.
    pub bytes: u64,
}

impl Circuit {
    /// How many relays there are.
    pub fn relays(&self) -> u32 {
        self.workers * self.relays_each
    }

    /// The place in the ring where a token begins: tokens are spread evenly.
    pub fn begins_at(&self, token: u32) -> usize {
        let place = u64::from(token) * u64::from(self.relays()) / u64::from(self.tokens);
        usize::try_from(place).expect("fewer than relays")
    }

    /// Does the laps of a run with `lap`, which lets each token make so many hops. Nanoseconds for each message.
    ///
    /// # Errors
    /// What a lap fails with; and when not all that was sent arrived, or something else.
    pub fn timed(
        &self,
        quick: bool,
        mut lap: impl FnMut(u32) -> Result<(Arrived, Duration), Failure>,
    ) -> Result<f64, Failure> {
        let (last, _) = pace::timed(quick, |messages| {
            let hops = u32::try_from(messages / u64::from(self.tokens)).expect("laps are bounded").max(1);
            let (arrived, took) = lap(hops)?;
            self.check(&arrived)?;
            Ok(Lap { messages: u64::from(hops) * u64::from(self.tokens), took })
        })?;
        Ok(last.ns_each())
    }

    fn check(&self, arrived: &Arrived) -> Result<(), Failure> {
        let tokens = u64::from(self.tokens);
        let expected = Arrived {
            tokens: self.tokens,
            numbers: tokens * (tokens - 1) / 2,
            bytes: tokens * u64::from(self.payload_bytes),
        };
        if *arrived != expected {
            return Err(format!("what arrived is {arrived:?}, and {expected:?} was sent").into());
        }
        Ok(())
    }
}

impl Arrived {
    /// Counts one.
    pub fn count(&mut self, number: u32, bytes: u32) {
        self.tokens += 1;
        self.numbers += u64::from(number);
        self.bytes += u64::from(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scattered_order_visits_all_once_and_seldom_a_neighbour() {
        let mut order: Vec<u32> = (0..10_000).collect();
        Order::Scattered.arrange(&mut order);
        let near = order.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 10).count();
        assert!(near < 50, "{near} of 10,000 hops stay within ten places");
        order.sort_unstable();
        assert!(order.into_iter().eq(0..10_000));
    }

    #[test]
    fn tokens_are_spread_over_the_ring() {
        let circuit = Circuit { workers: 4, relays_each: 2, tokens: 4, order: Order::InOrder, payload_bytes: 16 };
        assert_eq!([0, 1, 2, 3].map(|token| circuit.begins_at(token)), [0, 2, 4, 6]);
        let many = Circuit { tokens: 16, ..circuit };
        assert_eq!(many.begins_at(15), 7);
    }

    #[test]
    fn a_token_that_is_lost_or_comes_twice_or_has_lost_bytes_is_found() {
        let circuit = Circuit { workers: 1, relays_each: 2, tokens: 2, order: Order::InOrder, payload_bytes: 8 };
        let arrived = |tokens: &[(u32, u32)]| {
            let mut arrived = Arrived::default();
            tokens.iter().for_each(|&(number, bytes)| arrived.count(number, bytes));
            circuit.check(&arrived).is_ok()
        };
        assert!(arrived(&[(1, 8), (0, 8)]));
        assert!(!arrived(&[(1, 8)]) && !arrived(&[(1, 8), (1, 8)]) && !arrived(&[(1, 8), (0, 7)]));
    }
}

//! The server's side of the game: the world and its rules, as plain data and pure functions.
//!
//! Nothing here knows of connections, clocks or files. Whoever drives the world passes in commands, ticks and a source of
//! random numbers: a function that, given a bound above 0, returns a number below it. The same calls with the same random
//! numbers make the same world. All arithmetic is on integers.

#[cfg(feature = "planted-bug")]
mod bounty;
mod field;
mod rules;
mod scene;
mod world;

pub use rules::Plant;
pub use scene::Scene;
pub use world::{CommandOutcome, PLAYERS_MAX, Ticked, World, WorldFull};

/// Random numbers for tests: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
#[cfg(test)]
pub(crate) fn dice(seed: u64) -> impl FnMut(u32) -> u32 {
    let mut state = seed;
    move |bound| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        u32::try_from((mixed >> 32) % u64::from(bound)).expect("a remainder is below its bound")
    }
}

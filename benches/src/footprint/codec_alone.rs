//! The limit: the codec alone, over a list of records that have as many fields and about as many bytes as an idle FSM has in
//! its worker's image. No slots, no checks, no worker.

use std::time::Instant;

use qnfsm::{Codec, Trust};
use serde::{Deserialize, Serialize};

use super::idle::key;
use crate::plan::Failure;

/// What an image says of an idle FSM: where it is, what it has, its queue, its generator, and that nothing waits for it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    place: (u32, u32, u32),
    data: (u64, u64),
    state: Option<u8>,
    state_digest: u64,
    queue: (u32, u32, u32, u32),
    message: u32,
    generator: [u64; 4],
    requests: u64,
    start: Option<u8>,
    restarts: u32,
    waiting: (u8, bool, Option<u8>),
}

fn record(number: u32) -> Record {
    let spread = key(number);
    Record {
        place: (number, 1, 0),
        data: (spread, 0),
        state: Some(0),
        state_digest: 1,
        queue: (0, 0, number, 1),
        message: 0,
        generator: [1, 3, 5, 7].map(|factor| spread.wrapping_mul(factor)),
        requests: 0,
        start: None,
        restarts: 0,
        waiting: (0, false, None),
    }
}

/// Seconds that it takes to write so many records down, and to read them back, each into a box of its own.
///
/// # Errors
/// When what is read isn't what was written.
pub fn seconds(records: u32) -> Result<[f64; 2], Failure> {
    let all: Vec<_> = (0..records).map(|number| Box::new(record(number))).collect();
    let mut bytes = Vec::new();
    let begun = Instant::now();
    Codec::CURRENT.encode(&all, &mut bytes)?;
    let written = begun.elapsed();
    let begun = Instant::now();
    let back: Vec<Box<Record>> = Codec::CURRENT.decode(&bytes, Trust::Node)?;
    let read = begun.elapsed();
    if back != all {
        return Err("the codec didn't give back what it took".into());
    }
    Ok([written, read].map(|took| took.as_secs_f64()))
}

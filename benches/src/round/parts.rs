//! A round taken apart: how long each part of it takes, for each of its messages.
//!
//! Rounds with a look at the clock after each part and rounds without take turns, so that the parts can be held against the whole.
//! A look at the clock takes about as long as the shortest parts do; what it takes is measured too, and taken off.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use super::relay::Relaying;
use crate::{
    messaging::lap::counted,
    plan::{Failure, Figures},
    row::spread,
};

/// A part of a round, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The batch is taken from the inbox, and its numbers are checked.
    Take,
    /// It is written to the journal.
    Write,
    /// Its frames are decoded, and their messages put into queues.
    Decode,
    /// The handlers run; what they send is encoded into frames.
    Handle,
    /// What was put out is handed over.
    Send,
}

/// How many parts there are.
const PARTS: usize = 5;

/// The unit of the whole, and those of the parts.
pub const UNITS: (&str, &[&str; PARTS]) = (
    "ns/message",
    &["ns/message take", "ns/message write", "ns/message decode", "ns/message handle", "ns/message send"],
);

/// How often rounds are taken apart for a while, and how often they aren't.
const STRETCHES: u32 = 15;
/// How many looks at the clock give what one takes.
const LOOKS: u32 = 100_000;

/// Runs so many rounds of so many messages. Gives the sum of the parts, the parts, and as the limit what rounds took that were
/// not taken apart; each the median of several stretches.
///
/// # Errors
/// When a round fails.
pub fn measure(relaying: &mut Relaying, rounds: u32, messages: u32) -> Result<Figures, Failure> {
    let rounds = (rounds / STRETCHES / 2).max(1);
    let look = look_at_the_clock();
    let each = |took: Duration| took.as_secs_f64() * 1e9 / counted(u64::from(rounds) * u64::from(messages));
    let (mut wholes, mut sums, mut parts) = (Vec::new(), Vec::new(), [const { Vec::new() }; PARTS]);
    // The first stretch is to get warm.
    whole(relaying, rounds)?;
    for _ in 0..STRETCHES {
        wholes.push(each(whole(relaying, rounds)?));
        let took = apart(relaying, rounds)?.map(|took| each(took.saturating_sub(look * rounds)));
        sums.push(took.iter().sum());
        for (part, took) in parts.iter_mut().zip(took) {
            part.push(took);
        }
    }
    let median = |values: Vec<f64>| spread(values)[0];
    Ok(Figures { value: median(sums), also: parts.map(median).to_vec(), limit: Some(median(wholes)) })
}

/// How long so many rounds take.
fn whole(relaying: &mut Relaying, rounds: u32) -> Result<Duration, Failure> {
    let begun = Instant::now();
    for _ in 0..rounds {
        relaying.round(|_| {})?;
    }
    Ok(begun.elapsed())
}

/// How long the parts of so many rounds take, looks at the clock included: one for each part.
fn apart(relaying: &mut Relaying, rounds: u32) -> Result<[Duration; PARTS], Failure> {
    let mut took = [Duration::ZERO; PARTS];
    for _ in 0..rounds {
        let mut last = Instant::now();
        relaying.round(|part| {
            let now = Instant::now();
            took[part as usize] += now.duration_since(last);
            last = now;
        })?;
    }
    Ok(took)
}

/// How long a look at the clock takes.
fn look_at_the_clock() -> Duration {
    let begun = Instant::now();
    for _ in 0..LOOKS {
        black_box(Instant::now());
    }
    begun.elapsed() / LOOKS
}

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
    pace::counted,
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

/// How many messages a stretch has, about: much less time than a scheduler's slice, so that most stretches have the core to
/// themselves on a machine that others use too.
const STRETCH_MESSAGES: u32 = 4_096;
/// How many rounds it has at most.
const STRETCH_ROUNDS_MAX: u32 = 256;
/// How many looks at the clock, how many times, give what one takes.
const LOOKS: [u32; 2] = [1_000, 25];

/// Runs so many rounds of so many messages, or a few more. Gives the sum of the parts, the parts, and as the limit what rounds
/// took that were not taken apart; each the median of many stretches. So what happens rarely isn't in it, such as a new
/// file of the journal, nor what other programs take.
///
/// # Errors
/// When a round fails.
pub fn measure(relaying: &mut Relaying, rounds: u32, messages: u32) -> Result<Figures, Failure> {
    let stretch = (STRETCH_MESSAGES / messages).clamp(1, STRETCH_ROUNDS_MAX);
    let look = look_at_the_clock();
    let each = |took: Duration| took.as_secs_f64() * 1e9 / counted(u64::from(stretch) * u64::from(messages));
    let (mut wholes, mut sums, mut parts) = (Vec::new(), Vec::new(), [const { Vec::new() }; PARTS]);
    // The first stretch is to get warm.
    whole(relaying, stretch)?;
    for _ in 0..(rounds / stretch / 2).max(1) {
        wholes.push(each(whole(relaying, stretch)?));
        let took = apart(relaying, stretch)?.map(|took| each(took.saturating_sub(look * stretch)));
        sums.push(took.iter().sum());
        for (part, took) in parts.iter_mut().zip(took) {
            part.push(took);
        }
    }
    Ok(Figures { value: median(sums), also: parts.map(median).to_vec(), limit: Some(median(wholes)) })
}

fn median(values: Vec<f64>) -> f64 {
    spread(values)[0]
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
    let [looks, times] = LOOKS;
    let took = (0..times).map(|_| {
        let begun = Instant::now();
        for _ in 0..looks {
            black_box(Instant::now());
        }
        begun.elapsed().as_secs_f64() / f64::from(looks)
    });
    Duration::from_secs_f64(median(took.collect()))
}

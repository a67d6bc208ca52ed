//! How one run is timed: laps of growing length until the system is warm and its pace known, then one that counts.

use std::time::Duration;

use crate::plan::Failure;

/// How long the lap that counts takes, about.
const LAP: Duration = Duration::from_millis(300);
/// How long it takes for a look.
const LAP_QUICK: Duration = Duration::from_millis(20);
/// How many messages the first lap is told to have.
const MESSAGES_FIRST: u64 = 1_000;
/// The most messages of a lap; they are numbered in 32 bits.
const MESSAGES_MAX: u64 = 400_000_000;

/// How long some messages took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lap {
    /// How many.
    pub messages: u64,
    /// How long.
    pub took: Duration,
}

impl Lap {
    /// Nanoseconds for each message.
    pub fn ns_each(self) -> f64 {
        self.took.as_secs_f64() * 1e9 / counted(self.messages)
    }
}

/// A count as a number to divide by.
pub fn counted(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// Does the laps: each of about as many messages as it is told. Returns the one that counts, and all of them together.
///
/// # Errors
/// What a lap fails with.
pub fn timed(quick: bool, mut lap_of: impl FnMut(u64) -> Result<Lap, Failure>) -> Result<(Lap, Lap), Failure> {
    let target = if quick { LAP_QUICK } else { LAP };
    let mut all = Lap::default();
    let mut messages = MESSAGES_FIRST;
    let mut is_warm = false;
    loop {
        let lap = lap_of(messages)?;
        all = Lap { messages: all.messages + lap.messages, took: all.took + lap.took };
        if is_warm && (lap.took >= target / 2 || messages >= MESSAGES_MAX) {
            return Ok((lap, all));
        }
        is_warm = true;
        // The last lap before the one that counts takes an eighth of the target or more, so that its pace is that of a warm
        // system.
        let share = if lap.took >= target / 8 { target } else { target / 4 };
        let growth = share.as_secs_f64() / lap.took.as_secs_f64().max(1e-6);
        messages = scaled(lap.messages, growth.clamp(1.0, 32.0)).min(MESSAGES_MAX);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of messages is positive and small"
)]
fn scaled(messages: u64, growth: f64) -> u64 {
    (counted(messages) * growth) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lap_that_counts_is_about_as_long_as_wanted_and_never_the_first() {
        for each in [Duration::from_nanos(5), Duration::from_micros(3), Duration::from_millis(1)] {
            let mut laps = 0;
            let took = |messages: u64| each * u32::try_from(messages).expect("laps are bounded");
            let (last, all) = timed(false, |messages| {
                laps += 1;
                Ok(Lap { messages, took: took(messages) })
            })
            .expect("no lap fails");
            assert!(laps > 1 && last.took >= LAP / 2, "{last:?} after {laps} laps");
            assert!(all.took > last.took);
        }
    }
}

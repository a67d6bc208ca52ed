//! How one run is timed: laps of growing length until the system is warm and its pace known, then one that counts.

use std::time::Duration;

use super::{case::Case, roles::Received};
use crate::plan::Failure;

/// How long the lap that counts takes, about.
const LAP: Duration = Duration::from_millis(300);
/// How long it takes for a look.
const LAP_QUICK: Duration = Duration::from_millis(20);
/// The most messages of a lap; they are numbered in 32 bits.
const MESSAGES_MAX: u64 = 400_000_000;

/// A system that is set up for one case: its actors are there and wait.
pub trait Course {
    /// Does a lap of that [size](Case::size), and returns what was received, and how long it took from the first message's
    /// sending until the last was known to be received.
    ///
    /// # Errors
    /// When the system fails.
    fn lap(&mut self, size: u32) -> Result<(Received, Duration), Failure>;

    /// Takes it down.
    ///
    /// # Errors
    /// When it was not in order any more.
    fn end(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

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

/// Does one lap of about so many messages, and checks what was received.
///
/// # Errors
/// As [`Course::lap`], and when not everything was received, or something that wasn't sent.
pub fn checked(course: &mut dyn Course, case: Case, messages: u64) -> Result<Lap, Failure> {
    let size = case.size(messages);
    let (received, took) = course.lap(size)?;
    case.check(&received, size)?;
    Ok(Lap { messages: case.messages(size), took })
}

/// Does the laps. Returns the one that counts, and all of them together.
///
/// # Errors
/// As [`checked`].
pub fn timed(course: &mut dyn Course, case: Case, quick: bool) -> Result<(Lap, Lap), Failure> {
    let target = if quick { LAP_QUICK } else { LAP };
    let mut all = Lap::default();
    let mut messages = 1_000;
    let mut is_warm = false;
    loop {
        let lap = checked(course, case, messages)?;
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

//! A lap of a case: what a system does for one, and the check of what was received in it.

use std::time::Duration;

use super::{case::Case, roles::Received};
use crate::{
    pace::{self, Lap},
    plan::Failure,
};

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
    pace::timed(quick, |messages| checked(course, case, messages))
}

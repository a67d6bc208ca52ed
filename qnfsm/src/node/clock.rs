//! The node's clock: UTC at start plus monotonic time since, never smaller than what it or a journal said before.

use std::time::{Duration, Instant, SystemTime};

use crate::time::Time;

/// The only clock there is. The node's threads share it and write nothing there: an [`Instant`] is never earlier than one
/// that was taken before, on whichever thread.
#[derive(Debug)]
pub(super) struct Clock {
    begun: Instant,
    begun_utc: Time,
}

impl Clock {
    /// A clock that starts now, or at `not_before` if that is later.
    pub(super) fn start(not_before: Time) -> Clock {
        let utc = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let begun_utc = Time::ZERO.after(utc).max(not_before);
        Clock { begun: Instant::now(), begun_utc }
    }

    /// That moment, as this clock says it.
    pub(super) fn at(&self, moment: Instant) -> Time {
        self.begun_utc.after(moment.saturating_duration_since(self.begun))
    }

    pub(super) fn now(&self) -> Time {
        self.at(Instant::now())
    }

    /// How long until then; zero if it has passed.
    pub(super) fn until(&self, then: Time) -> Duration {
        then.since(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r3_the_clock_never_says_less_than_the_journal_did() {
        let far = Time::from_nanos(u64::MAX / 2);
        let clock = Clock::start(far);
        let first = clock.now();
        assert!(first >= far);
        assert!(clock.now() >= first);
    }
}

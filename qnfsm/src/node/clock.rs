//! The node's clock: UTC at start plus monotonic time since, never smaller than what it or a journal said before.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime},
};

use crate::time::Time;

/// The only clock there is. Shared by the node's threads.
#[derive(Debug)]
pub(super) struct Clock {
    begun: Instant,
    begun_utc: Time,
    /// The latest time that was given out.
    latest: AtomicU64,
}

impl Clock {
    /// A clock that starts now, or at `not_before` if that is later.
    pub(super) fn start(not_before: Time) -> Clock {
        let utc = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let begun_utc = Time::ZERO.after(utc).max(not_before);
        Clock { begun: Instant::now(), begun_utc, latest: AtomicU64::new(begun_utc.as_nanos()) }
    }

    /// That moment, as this clock would have said it if nobody had heard of a later one.
    pub(super) fn at(&self, moment: Instant) -> Time {
        self.begun_utc.after(moment.saturating_duration_since(self.begun))
    }

    pub(super) fn now(&self) -> Time {
        let now = self.at(Instant::now()).as_nanos();
        let latest = self.latest.fetch_max(now, Ordering::Relaxed);
        Time::from_nanos(now.max(latest))
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

//! How many answers there were in which time, and how long each took.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::{pace::counted, plan::Figures};

/// The unit of the group, and its further units: what [`Tally::figures`] gives.
pub const UNITS: (&str, &[&str]) = ("ns/answer", &["ns p50", "ns p99", "ns p99.9"]);

/// The longest time that is told from longer ones, and to how many digits times are exact.
const LONGEST_NS: u64 = 60_000_000_000;
const DIGITS: u8 = 3;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// So long, after a tenth of it that doesn't count.
    pub time: Duration,
}

impl Extent {
    /// The part that doesn't count, and the part that does.
    pub fn parts(self) -> [Duration; 2] {
        [self.time / 10, self.time]
    }
}

/// Answers and their times.
pub struct Tally {
    begun: Instant,
    took: Duration,
    times_ns: Histogram<u64>,
}

impl Tally {
    /// The time begins now.
    pub fn begin() -> Tally {
        let times_ns = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("these bounds make a histogram");
        Tally { begun: Instant::now(), took: Duration::ZERO, times_ns }
    }

    /// How long it has gone on by now.
    pub fn elapsed(&self, now: Instant) -> Duration {
        now.duration_since(self.begun)
    }

    /// So many were answered now, which were asked at that time.
    pub fn answered(&mut self, asked: Instant, now: Instant, count: u32) {
        let time = u64::try_from(now.duration_since(asked).as_nanos()).unwrap_or(u64::MAX);
        self.times_ns.saturating_record_n(time, u64::from(count));
    }

    /// The time ends now.
    pub fn end(&mut self) {
        self.took = self.begun.elapsed();
    }

    /// The time that so many of all answers didn't exceed.
    pub fn quantile(&self, of: f64) -> Duration {
        Duration::from_nanos(self.times_ns.value_at_quantile(of))
    }

    /// What was found.
    pub fn figures(&self) -> Figures {
        let each = self.took.as_secs_f64() * 1e9 / counted(self.times_ns.len());
        let also = [0.5, 0.99, 0.999].map(|quantile| self.quantile(quantile).as_secs_f64() * 1e9);
        Figures { value: each, also: also.to_vec(), limit: None }
    }
}

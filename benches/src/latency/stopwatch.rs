//! Times of round trips, and their percentiles.
//!
//! One round trip is under way at a time, and each is timed: from the moment in which its message is handed over until its answer
//! is there. Noting a time lies between two trips and in neither.

use std::{
    ops::ControlFlow,
    sync::{LazyLock, Mutex, MutexGuard},
    time::Instant,
};

use hdrhistogram::Histogram;

use crate::{
    messaging::{lap::counted, message::Small, roles::Pinger},
    plan::{Failure, Figures},
};

/// The unit of the group, and its further units: what [`Stopwatch::figures`] gives.
pub const UNITS: (&str, &[&str]) = ("ns p50", &["ns p99", "ns p99.9"]);
/// The longest time that is told from longer ones.
const LONGEST_NS: u64 = 60_000_000_000;
/// Times are exact to so many decimal digits.
const DIGITS: u8 = 3;

/// Times of round trips.
pub struct Stopwatch {
    begun: Instant,
    times_ns: Histogram<u64>,
}

impl Stopwatch {
    /// Nothing is timed yet, and a trip begins now.
    pub fn begun() -> Stopwatch {
        let times_ns = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("these bounds make a histogram");
        Stopwatch { begun: Instant::now(), times_ns }
    }

    /// Forgets all times; a trip begins now.
    pub fn begin(&mut self) {
        self.times_ns.reset();
        self.begun = Instant::now();
    }

    /// A trip is over, and the next one begins.
    pub fn lap(&mut self) {
        let took = self.begun.elapsed();
        self.times_ns.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.begun = Instant::now();
    }

    /// The percentiles.
    pub fn figures(&self) -> Figures {
        let [median, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| counted(self.times_ns.value_at_quantile(quantile)));
        Figures { value: median, also: vec![p99, p999], limit: None }
    }
}

/// The stopwatch of this process, which measures one run of one system.
///
/// FSMs are nothing but their data, so one that is timed can't hold a stopwatch. It tells this one when a trip is over, is
/// told nothing by it, and so does what it would do without.
pub fn of_process() -> MutexGuard<'static, Stopwatch> {
    static OF_PROCESS: LazyLock<Mutex<Stopwatch>> = LazyLock::new(|| Mutex::new(Stopwatch::begun()));
    OF_PROCESS.lock().expect("nothing panics that holds this lock")
}

/// Times so many round trips of which this thread is one end, after a tenth as many that don't count.
///
/// # Errors
/// When `exchange` fails, or gives back something else than what it was given.
pub fn timed(trips: u32, mut exchange: impl FnMut(Small) -> Result<Small, Failure>) -> Result<Stopwatch, Failure> {
    let mut watch = Stopwatch::begun();
    for trips in [trips.div_ceil(10), trips] {
        let mut pinger = Pinger::default();
        let mut message = pinger.begin(trips);
        watch.begin();
        let received = loop {
            let answer = exchange(message)?;
            let next = pinger.take(&answer);
            watch.lap();
            match next {
                ControlFlow::Continue(next) => message = next,
                ControlFlow::Break(received) => break received,
            }
        };
        received.check(1, trips)?;
    }
    Ok(watch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messaging::message::Payload;

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut watch = Stopwatch::begun();
        for time_ns in (1..=1_000_u64).rev() {
            watch.times_ns.saturating_record(time_ns);
        }
        assert_eq!(watch.figures(), Figures { value: 500.0, also: vec![990.0, 999.0], limit: None });
        watch.begin();
        assert_eq!(watch.figures().value, 0.0, "what was before is forgotten");
    }

    #[test]
    fn only_the_trips_count_that_come_after_the_warm_up() {
        let mut trips = 0;
        let watch = timed(50, |message| {
            trips += 1;
            Ok(message)
        });
        assert_eq!((trips, watch.expect("all came back").times_ns.len()), (55, 50));
    }

    #[test]
    fn an_answer_to_something_else_is_an_error() {
        assert!(timed(50, |_| Ok(Small::new(0, 7))).is_err());
    }
}

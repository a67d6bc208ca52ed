//! Times of round trips, and their percentiles.
//!
//! One round trip is under way at a time, and each is timed: from the moment in which its message is handed over until its answer
//! is there. Noting a time lies between two trips and in neither.

use std::{
    cell::RefCell,
    ops::ControlFlow,
    sync::{LazyLock, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{
    messaging::{message::Small, roles::Pinger},
    pace::counted,
    plan::{Failure, Figures},
};

/// The unit of the group, and its further units: what [`Stopwatch::figures`] gives.
pub const UNITS: (&str, &[&str]) = ("ns p50", &["ns p99", "ns p99.9"]);
/// The longest time that is told from longer ones.
const LONGEST_NS: u64 = 60_000_000_000;
/// Times are exact to so many decimal digits.
const DIGITS: u8 = 3;

/// How many round trips a lap has.
const LAP: u32 = 2_000;

/// How much is timed.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// So many round trips.
    pub trips: u32,
    /// But none that would begin after that: on a busy machine a trip may take as long as others hold the core.
    pub time_max: Duration,
}

impl Extent {
    /// Has `lap` do round trips: a tenth first, after which `is_warm` is called, then all that count.
    ///
    /// # Errors
    /// As `lap`.
    pub fn laps(self, mut lap: impl FnMut(u32) -> Result<(), Failure>, is_warm: impl FnOnce()) -> Result<(), Failure> {
        let Extent { trips, time_max } = self;
        let mut until = |time_max: Duration, mut left: u32| {
            let begun = Instant::now();
            while left > 0 && begun.elapsed() < time_max {
                let trips = left.min(LAP);
                lap(trips)?;
                left -= trips;
            }
            Ok(())
        };
        until(time_max / 10, trips.div_ceil(10))?;
        is_warm();
        until(time_max, trips)
    }
}

/// Times of round trips.
pub struct Stopwatch {
    begun: Instant,
    times_ns: Histogram<u64>,
}

impl Stopwatch {
    /// Nothing is timed yet.
    pub fn new() -> Stopwatch {
        let times_ns = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("these bounds make a histogram");
        Stopwatch { begun: Instant::now(), times_ns }
    }

    /// Forgets all times.
    pub fn reset(&mut self) {
        self.times_ns.reset();
    }

    /// A trip begins now.
    pub fn begin(&mut self) {
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
    static OF_PROCESS: LazyLock<Mutex<Stopwatch>> = LazyLock::new(|| Mutex::new(Stopwatch::new()));
    OF_PROCESS.lock().expect("nothing panics that holds this lock")
}

/// Times round trips of which this thread is one end.
///
/// # Errors
/// When `exchange` fails, or gives back something else than what it was given.
pub fn timed(extent: Extent, mut exchange: impl FnMut(Small) -> Result<Small, Failure>) -> Result<Stopwatch, Failure> {
    let watch = RefCell::new(Stopwatch::new());
    let lap = |trips| {
        let mut watch = watch.borrow_mut();
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
        received.check(1, trips)
    };
    extent.laps(lap, || watch.borrow_mut().reset())?;
    Ok(watch.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messaging::message::Payload;

    const FIFTY: Extent = Extent { trips: 50, time_max: Duration::from_secs(60) };

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut watch = Stopwatch::new();
        for time_ns in (1..=1_000_u64).rev() {
            watch.times_ns.saturating_record(time_ns);
        }
        assert_eq!(watch.figures(), Figures { value: 500.0, also: vec![990.0, 999.0], limit: None });
        watch.reset();
        assert_eq!(watch.figures().value, 0.0, "what was before is forgotten");
    }

    #[test]
    fn only_the_trips_count_that_come_after_the_warm_up() {
        let mut trips = 0;
        let watch = timed(FIFTY, |message| {
            trips += 1;
            Ok(message)
        });
        assert_eq!((trips, watch.expect("all came back").times_ns.len()), (55, 50));
    }

    #[test]
    fn laps_are_of_bounded_length_and_end_when_time_is_up() {
        let mut laps = Vec::new();
        let mut note = |trips| {
            laps.push(trips);
            Ok(())
        };
        Extent { trips: 5_000, ..FIFTY }.laps(&mut note, || {}).expect("laps");
        Extent { trips: 5_000, time_max: Duration::ZERO }.laps(&mut note, || {}).expect("no laps");
        assert_eq!(laps, [500, 2_000, 2_000, 1_000]);
    }

    #[test]
    fn an_answer_to_something_else_is_an_error() {
        assert!(timed(FIFTY, |_| Ok(Small::new(0, 7))).is_err());
    }
}

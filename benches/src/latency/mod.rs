//! The suite `latency`: how long one message takes there and back, when nothing else is under way.
//!
//! Each round trip is timed (`stopwatch`), and a run finds the median and two percentiles. `workers` is ours between two workers and
//! `bare` the loops that bound it; `echo` is ours behind a socket, `mio_server` the bare server, and `client` the client of both.

mod bare;
mod client;
mod echo;
mod mio_server;
mod stopwatch;
mod workers;

use std::time::Duration;

use qnfsm::{IdleStrategy, RunOn};

use self::{bare::Waits, stopwatch::Extent};
use crate::{
    locked,
    messaging::message::{Payload, Small},
    plan::{Class, Failure, Figures, Group, Job, LimitIs, Recording, Subject, Suite},
};

/// The suite.
pub struct Latency;

/// What a run times.
const EXTENT: Extent = Extent { trips: 100_000, time_max: Duration::from_secs(5) };
/// What it times for a look.
const EXTENT_QUICK: Extent = Extent { trips: 10_000, time_max: Duration::from_millis(500) };

const ROUND_TRIP: &str = "round-trip";
const TCP_ECHO: &str = "tcp-echo";

/// What goes there and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Between two workers.
    Workers,
    /// From a client's socket to an FSM; the client's thread isn't counted among those that do the work. On one thread the
    /// edge is in the worker's loop, on two it has its own.
    Socket(Class),
}

/// A case: its name, its way, and whether threads that wait sleep.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    way: Way,
    parks: bool,
}

const CASES: &[Case] = &[
    Case { name: "round-trip-parked", way: Way::Workers, parks: true },
    Case { name: "round-trip-spinning", way: Way::Workers, parks: false },
    Case { name: "tcp-echo-parked", way: Way::Socket(Class::OneThread), parks: true },
    Case { name: "tcp-echo-parked", way: Way::Socket(Class::TwoThreads), parks: true },
    Case { name: "tcp-echo-spinning", way: Way::Socket(Class::OneThread), parks: false },
];

/// A system: its name as an argument, its name in rows, and the package whose version counts.
type System = (&'static str, &'static str, &'static str);

const QNFSM: System = ("qnfsm", "qnfsm", "qnfsm");
const BLOCKING: System = ("crossbeam-recv", "crossbeam recv", "crossbeam-channel");
const SPINNING: System = ("crossbeam-try-recv", "crossbeam try_recv", "crossbeam-channel");
const SLEEPING: System = ("condvar", "condvar (sleeps)", "std");
const MIO: System = ("mio", "mio echo", "mio");

impl Case {
    fn class(self) -> Class {
        match self.way {
            Way::Workers => Class::TwoThreads,
            Way::Socket(class) => class,
        }
    }

    fn idle(self) -> IdleStrategy {
        if self.parks { IdleStrategy::Park } else { IdleStrategy::Spin }
    }

    /// The bare loops: the first is what ours is held against.
    fn limits(self) -> &'static [System] {
        match (self.way, self.parks) {
            (Way::Workers, true) => &[BLOCKING, SLEEPING],
            (Way::Workers, false) => &[SPINNING],
            (Way::Socket(_), _) => &[MIO],
        }
    }

    fn group(self) -> Group {
        let ours = [Recording::Off, Recording::Memory, Recording::Buffered];
        let limit = LimitIs::Subject(ours.len());
        let ours = ours.map(|recording| subject(QNFSM, recording, limit));
        let limits = self.limits().iter().map(|&bare| subject(bare, Recording::Off, LimitIs::Nothing));
        let (unit, also) = stopwatch::UNITS;
        Group {
            case: self.name.to_owned(),
            family: if self.way == Way::Workers { ROUND_TRIP } else { TCP_ECHO },
            class: self.class(),
            payload_bytes: Small::BYTES,
            unit,
            also,
            subjects: ours.into_iter().chain(limits).collect(),
            more_than_limit: None,
        }
    }

    fn measure(self, system: &str, recording: Recording, extent: Extent) -> Result<Figures, Failure> {
        match (self.way, system) {
            (Way::Workers, "qnfsm") => workers::round_trips(self.idle(), recording, extent),
            (Way::Workers, "crossbeam-recv") => Ok(bare::round_trips(Waits::Blocking, extent)?.figures()),
            (Way::Workers, "crossbeam-try-recv") => Ok(bare::round_trips(Waits::Spinning, extent)?.figures()),
            (Way::Workers, "condvar") => Ok(bare::round_trips(Waits::Sleeping, extent)?.figures()),
            (Way::Socket(class), "qnfsm") => {
                let run_on = if class == Class::OneThread { RunOn::FirstWorker } else { RunOn::Thread };
                echo::round_trips(run_on, self.idle(), recording, extent)
            }
            (Way::Socket(_), "mio") => {
                let (address, server) = mio_server::start(self.parks)?;
                let watch = client::echoed(address, extent)?;
                server.join().map_err(|_| "the server panicked")??;
                Ok(watch.figures())
            }
            _ => Err(format!("{} isn't measured of {system}", self.name).into()),
        }
    }
}

fn subject((name, system, package): System, recording: Recording, limit: LimitIs) -> Subject {
    Subject { name, system, version: locked::version(package), recording, limit }
}

impl Suite for Latency {
    const NAME: &'static str = "latency";

    fn plan(_quick: bool) -> Vec<Group> {
        CASES.iter().map(|case| case.group()).collect()
    }

    fn measure(job: &Job) -> Result<Figures, Failure> {
        if job.payload_bytes != Small::BYTES {
            return Err(format!("payloads are of {} bytes, not {}", Small::BYTES, job.payload_bytes).into());
        }
        let case = CASES.iter().find(|case| case.name == job.case && case.class() == job.class);
        let case = case.ok_or_else(|| format!("the suite has no {} case {}", job.class, job.case))?;
        case.measure(&job.system, job.recording, if job.quick { EXTENT_QUICK } else { EXTENT })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_the_plan_can_be_measured() {
        for case in CASES {
            for Subject { name, recording, .. } in case.group().subjects {
                let Figures { value, also, .. } =
                    case.measure(name, recording, Extent { trips: 10, ..EXTENT }).expect("it does what it should");
                assert!(value > 0.0 && also.len() == stopwatch::UNITS.1.len(), "{case:?} {name}: {value} {also:?}");
            }
        }
    }

    #[test]
    fn ours_are_held_against_the_first_bare_loop() {
        for case in CASES {
            let Group { subjects, .. } = case.group();
            let limit = subjects.iter().find_map(|subject| match subject.limit {
                LimitIs::Subject(limit) => Some(subjects[limit].name),
                _ => None,
            });
            assert_eq!(limit, Some(case.limits()[0].0));
        }
    }
}

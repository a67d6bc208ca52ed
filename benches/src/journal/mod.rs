//! The suite `journal`: what it costs to write down what happens, and to wait until it is on disk.
//!
//! `clients` is ours with clients in a closed loop, `bare` the loop that bounds it, `stores` what a user would take instead, and
//! `tally` what all of them are measured with.

mod bare;
mod clients;
mod stores;
mod tally;

use std::time::Duration;

use self::{
    bare::{Bare, Grows},
    stores::{Redb, Sqlite, Synchronous},
    tally::Extent,
};
use crate::{
    locked,
    messaging::message::{Payload, Small},
    plan::{Class, Failure, Figures, Group, Job, LimitIs, Recording, Subject, Suite},
};

/// The suite.
pub struct Journal;

/// How long a run goes on.
const EXTENT: Extent = Extent { time: Duration::from_secs(2) };
/// How long for a look.
const EXTENT_QUICK: Extent = Extent { time: Duration::from_millis(250) };

/// How many clients ask and wait for the answer, again and again.
const CLIENTS: &[u32] = &[1, 16, 64, 256];

const FAMILY: &str = "closed-loop";

/// A system: its name as an argument, its name in rows, the package whose version counts, and what its recording is.
type System = (&'static str, &'static str, &'static str, Recording);

const OURS: &[System] = &[
    ("qnfsm", "qnfsm", "qnfsm", Recording::Durable),
    ("qnfsm", "qnfsm", "qnfsm", Recording::Buffered),
    ("qnfsm", "qnfsm", "qnfsm", Recording::Off),
];
const OTHERS: &[System] = &[
    ("bare-zeros", "write + fdatasync, over zeros", "std", Recording::Durable),
    ("bare-grows", "write + fdatasync, file grows", "std", Recording::Durable),
    ("sqlite-full", "SQLite WAL, FULL", "rusqlite", Recording::Durable),
    ("redb", "redb", "redb", Recording::Durable),
    ("sqlite-normal", "SQLite WAL, NORMAL", "rusqlite", Recording::Buffered),
];

fn case(clients: u32) -> String {
    format!("{FAMILY}-{clients}")
}

fn group(clients: u32) -> Group {
    // Ours is held against the loop over zeros: the faster one.
    let limits = [LimitIs::Subject(OURS.len()), LimitIs::Nothing, LimitIs::Nothing];
    let limits = limits.into_iter().chain(std::iter::repeat(LimitIs::Nothing));
    let subjects = OURS.iter().chain(OTHERS).zip(limits).map(|(&(name, system, package, recording), limit)| Subject {
        name,
        system,
        version: locked::version(package),
        recording,
        limit,
    });
    let (unit, also) = tally::UNITS;
    Group {
        case: case(clients),
        family: FAMILY,
        class: Class::OneThread,
        payload_bytes: Small::BYTES,
        unit,
        also,
        subjects: subjects.collect(),
        more_than_limit: None,
    }
}

fn measure(system: &str, recording: Recording, clients: u32, extent: Extent) -> Result<Figures, Failure> {
    match system {
        "qnfsm" => clients::closed_loop(clients, recording, extent),
        "bare-zeros" => bare::closed_loop(&mut Bare::new(clients, Grows::No)?, clients, extent),
        "bare-grows" => bare::closed_loop(&mut Bare::new(clients, Grows::Yes)?, clients, extent),
        "sqlite-full" => bare::closed_loop(&mut Sqlite::new(Synchronous::Full)?, clients, extent),
        "sqlite-normal" => bare::closed_loop(&mut Sqlite::new(Synchronous::Normal)?, clients, extent),
        "redb" => bare::closed_loop(&mut Redb::new()?, clients, extent),
        _ => Err(format!("there is no system {system}").into()),
    }
}

impl Suite for Journal {
    const NAME: &'static str = "journal";

    fn plan(_quick: bool) -> Vec<Group> {
        CLIENTS.iter().map(|&clients| group(clients)).collect()
    }

    fn measure(job: &Job) -> Result<Figures, Failure> {
        if (job.class, job.payload_bytes) != (Class::OneThread, Small::BYTES) {
            return Err(format!("it is measured on one thread, with {} bytes", Small::BYTES).into());
        }
        let clients = CLIENTS.iter().find(|&&clients| case(clients) == job.case);
        let clients = clients.ok_or_else(|| format!("the suite has no case {}", job.case))?;
        measure(&job.system, job.recording, *clients, if job.quick { EXTENT_QUICK } else { EXTENT })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_the_plan_can_be_measured() {
        let extent = Extent { time: Duration::from_millis(5) };
        for &clients in CLIENTS {
            for Subject { name, recording, .. } in group(clients).subjects {
                let Figures { value, also, .. } =
                    measure(name, recording, clients, extent).expect("it does what it should");
                assert!(value > 0.0 && also.len() == tally::UNITS.1.len(), "{clients} {name}: {value} {also:?}");
            }
        }
    }
}

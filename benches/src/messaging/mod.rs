//! The suite `messaging`: what it costs to carry messages between FSMs, and between actors of other libraries.
//!
//! `case` has the cases, `roles` what FSMs and actors do in them, `message` the payloads, `lap` how a run is timed; each system
//! has a file. What is fair about it stands in `roles` and at the head of each system's file.

mod case;
mod lap;
mod message;
mod ours;
mod roles;

use self::{
    case::Case,
    lap::Course,
    message::{Large, Payload, Small},
};
use crate::plan::{Class, Failure, Figures, Group, Job, LimitIs, Recording, Subject, Suite};

/// The suite.
pub struct Messaging;

/// The systems, as arguments and as they are called in rows.
const OURS: (&str, &str) = ("qnfsm", "qnfsm");

/// The lock file of this build: what is measured is of these versions.
const LOCKED: &str = include_str!("../../../Cargo.lock");

impl Suite for Messaging {
    const NAME: &'static str = "messaging";

    fn plan(quick: bool) -> Vec<Group> {
        let cases: &[Case] = if quick {
            &[Case::PingPong, Case::FanIn(1), Case::FanIn(16), Case::Ring(1), Case::Ring(100)]
        } else {
            &[Case::PingPong, Case::FanIn(1), Case::FanIn(4), Case::FanIn(16), Case::Ring(1), Case::Ring(100)]
        };
        let payloads: &[u32] = if quick { &[Small::BYTES] } else { &[Small::BYTES, Large::BYTES] };
        let mut groups = Vec::new();
        for &case in cases {
            for class in [Class::OneThread, Class::TwoThreads] {
                groups.extend(payloads.iter().map(|&payload_bytes| group(case, class, payload_bytes)));
            }
        }
        groups
    }

    fn measure(job: &Job) -> Result<Figures, Failure> {
        match job.payload_bytes {
            Small::BYTES => measure::<Small>(job),
            Large::BYTES => measure::<Large>(job),
            other => Err(format!("payloads are of {} or {} bytes, not {other}", Small::BYTES, Large::BYTES).into()),
        }
    }
}

fn group(case: Case, class: Class, payload_bytes: u32) -> Group {
    let ours = [Recording::Off, Recording::Memory, Recording::Buffered, Recording::Everything];
    let subjects = ours.map(|recording| subject(OURS, "qnfsm", recording, LimitIs::Nothing));
    Group {
        case: case.to_string(),
        family: case.family(),
        class,
        payload_bytes,
        unit: case.unit(),
        subjects: subjects.to_vec(),
        more_than_limit: None,
    }
}

fn subject(
    (name, system): (&'static str, &'static str),
    package: &str,
    recording: Recording,
    limit: LimitIs,
) -> Subject {
    Subject { name, system, version: version_of(package), recording, limit }
}

/// A package's version in the lock file; `std` for what is none.
fn version_of(package: &str) -> String {
    let mut lines = LOCKED.lines();
    let name = format!("name = \"{package}\"");
    let version = lines.find(|line| *line == name).and_then(|_| lines.next()?.strip_prefix("version = "));
    version.map_or("std", |version| version.trim_matches('"')).to_owned()
}

fn measure<P: Payload>(job: &Job) -> Result<Figures, Failure> {
    let case: Case = job.case.parse()?;
    let mut course = course::<P>(job, case)?;
    let (lap, _) = lap::timed(&mut *course, case, job.quick)?;
    course.end()?;
    Ok(Figures { value: lap.ns_each(), limit: None })
}

fn course<P: Payload>(job: &Job, case: Case) -> Result<Box<dyn Course>, Failure> {
    match job.system.as_str() {
        "qnfsm" => ours::course::<P>(case, job.class, job.recording),
        other => Err(format!("the suite has no system {other}").into()),
    }
}

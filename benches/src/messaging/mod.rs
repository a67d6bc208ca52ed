//! The suite `messaging`: what it costs to carry messages between FSMs, and between actors of other libraries.
//!
//! `case` has the cases, `roles` what FSMs and actors do in them, `message` the payloads, `lap` how a run is timed, `system` what
//! is compared; `ours`, `peers` and `limits` are the systems. What is fair about it stands in `roles` and at the
//! head of each system.

mod case;
mod lap;
mod limits;
mod message;
mod ours;
mod peers;
mod resident;
mod roles;
mod system;

use self::{
    case::Case,
    lap::Course,
    message::{Large, Payload, Small},
    system::System,
};
use crate::plan::{Class, Failure, Figures, Group, Job, LimitIs, Subject, Suite};

/// The suite.
pub struct Messaging;

/// How many children are spawned, each through its first message.
const CHILDREN: u64 = 100_000;
/// How many for a look.
const CHILDREN_QUICK: u64 = 20_000;

const ONE: &[Class] = &[Class::OneThread];
const BOTH: &[Class] = &[Class::OneThread, Class::TwoThreads];
/// The cases, and in how many threads each is measured.
const CASES: &[(Case, &[Class])] = &[
    (Case::PingPong, BOTH),
    (Case::FanIn(1), BOTH),
    (Case::FanIn(4), BOTH),
    (Case::FanIn(16), BOTH),
    (Case::Ring(1), BOTH),
    (Case::Ring(100), BOTH),
    (Case::Spawn, ONE),
    (Case::SpawnMemory, ONE),
    (Case::FanOut(1), BOTH),
    (Case::FanOut(10), BOTH),
    (Case::FanOut(100), BOTH),
    (Case::FanOut(1_000), BOTH),
    (Case::FanOut(10_000), BOTH),
];
/// Those for a look.
const CASES_QUICK: &[(Case, &[Class])] = &[
    (Case::PingPong, BOTH),
    (Case::FanIn(1), BOTH),
    (Case::FanIn(16), BOTH),
    (Case::Ring(1), BOTH),
    (Case::Ring(100), BOTH),
    (Case::Spawn, ONE),
    (Case::SpawnMemory, ONE),
    (Case::FanOut(1), BOTH),
    (Case::FanOut(100), BOTH),
    (Case::FanOut(10_000), BOTH),
];

impl Suite for Messaging {
    const NAME: &'static str = "messaging";

    fn plan(quick: bool) -> Vec<Group> {
        let cases = if quick { CASES_QUICK } else { CASES };
        let payloads: &[u32] = if quick { &[Small::BYTES] } else { &[Small::BYTES, Large::BYTES] };
        let mut groups = Vec::new();
        for &(case, classes) in cases {
            for &class in classes {
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
    let systems = system::compared(case, class);
    let limit_of = |limited: system::Compared| {
        let limit = system::limit_of(limited, class)?;
        systems.iter().position(|of| of.system == limit)
    };
    let subjects = systems.iter().map(|&compared| Subject {
        name: compared.system.argument(),
        system: compared.system.name(),
        version: compared.system.version(),
        recording: compared.recording,
        limit: limit_of(compared).map_or(LimitIs::Nothing, LimitIs::Subject),
    });
    Group {
        case: case.to_string(),
        family: case.family(),
        class,
        payload_bytes,
        unit: case.unit(),
        subjects: subjects.collect(),
        more_than_limit: None,
    }
}

fn measure<P: Payload>(job: &Job) -> Result<Figures, Failure> {
    let case: Case = job.case.parse()?;
    let system: System = job.system.parse()?;
    let mut course = course::<P>(job, case, system)?;
    let value = match case {
        Case::Spawn | Case::SpawnMemory => {
            let children = if job.quick { CHILDREN_QUICK } else { CHILDREN };
            lap::checked(&mut *course, case, children / 10)?;
            let before = resident::bytes()?;
            let lap = lap::checked(&mut *course, case, children)?;
            match case {
                Case::SpawnMemory => (resident::bytes()? - before) / lap::counted(children),
                _ => lap.ns_each(),
            }
        }
        _ => lap::timed(&mut *course, case, job.quick)?.0.ns_each(),
    };
    course.end()?;
    Ok(Figures { value, limit: None })
}

fn course<P: Payload>(job: &Job, case: Case, system: System) -> Result<Box<dyn Course>, Failure> {
    match (system, job.class) {
        (System::Qnfsm, class) => ours::course::<P>(case, class, job.recording),
        (System::Actix, class) => peers::actix::<P>(case, class),
        (System::Ractor, class) => peers::ractor::<P>(case, class),
        (System::Kameo, class) => peers::kameo::<P>(case, class),
        (System::VecDeque, Class::OneThread) => Ok(limits::vec_deques::<P>(case)),
        (System::Unbounded, Class::TwoThreads) => limits::channel::<limits::Unbounded, P>(case),
        (System::Bounded, Class::TwoThreads) => limits::channel::<limits::Bounded, P>(case),
        (System::Rtrb, Class::TwoThreads) => limits::channel::<limits::Rtrb, P>(case),
        (System::Written, Class::TwoThreads) => limits::written::<P>(case),
        (_, class) => Err(format!("{} is no {class} system", job.system).into()),
    }
}

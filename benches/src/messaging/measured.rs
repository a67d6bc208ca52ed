//! What the suite measures: the cases and their replays. Names, groups, and where each is done.

use std::{fmt, str::FromStr};

use super::{
    case::Case,
    lap::{self, Course},
    limits,
    message::Payload,
    ours, peers,
    system::{self, Compared, System},
};
use crate::{
    pace,
    plan::{Class, Failure, Figures, Group, Job, LimitIs, Recording, Subject},
    resident,
};

/// How many children are spawned, each through its first message.
const CHILDREN: u64 = 100_000;
/// How many for a look.
const CHILDREN_QUICK: u64 = 20_000;

/// The name before that of a case whose journal is replayed.
const REPLAY: &str = "replay";

/// Something that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// A case, live, with all that is compared in it.
    Live(Case),
    /// The replay of what ours recorded in a case, held against the time that it took live.
    Replay(Case),
}

impl Measured {
    /// What is compared.
    pub fn group(self, class: Class, payload_bytes: u32) -> Group {
        let (family, unit) = match self {
            Measured::Live(case) => (case.family(), case.unit()),
            Measured::Replay(case) => (REPLAY, case.unit()),
        };
        let ours = |recording| Compared { system: System::Qnfsm, recording };
        let compared = match self {
            Measured::Live(case) => system::compared(case, class),
            Measured::Replay(_) => vec![ours(Recording::Buffered)],
        };
        let limit_of = |of: Compared| match self {
            Measured::Live(_) => {
                let limit = system::limit_of(of, class);
                let at = compared.iter().position(|other| Some(other.system) == limit);
                at.map_or(LimitIs::Nothing, LimitIs::Subject)
            }
            Measured::Replay(_) => LimitIs::OfItsOwnRun,
        };
        let subjects = compared.iter().map(|&of| Subject {
            name: of.system.argument(),
            system: of.system.name(),
            version: of.system.version(),
            recording: of.recording,
            limit: limit_of(of),
        });
        Group {
            case: self.to_string(),
            family,
            class,
            payload_bytes,
            unit,
            also: &[],
            subjects: subjects.collect(),
            more_than_limit: None,
        }
    }

    /// Measures it once.
    ///
    /// # Errors
    /// When the job's system isn't measured in it, or doesn't do what it should.
    pub fn measure<P: Payload>(self, job: &Job) -> Result<Figures, Failure> {
        let system: System = job.system.parse()?;
        match (self, system) {
            (Measured::Live(case), _) => live::<P>(job, case, system),
            (Measured::Replay(case), System::Qnfsm) => ours::replayed::<P>(case, job.class, job.recording, job.quick),
            _ => Err(format!("{self} is measured of ours alone, and not of {}", job.system).into()),
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measured::Live(case) => case.fmt(f),
            Measured::Replay(case) => write!(f, "{REPLAY}-{case}"),
        }
    }
}

impl FromStr for Measured {
    type Err = String;

    fn from_str(name: &str) -> Result<Measured, String> {
        match name.strip_prefix(REPLAY).and_then(|rest| rest.strip_prefix('-')) {
            Some(case) => case.parse().map(Measured::Replay),
            None => name.parse().map(Measured::Live),
        }
    }
}

fn live<P: Payload>(job: &Job, case: Case, system: System) -> Result<Figures, Failure> {
    let mut course = course::<P>(job, case, system)?;
    let value = match case {
        Case::Spawn | Case::SpawnMemory => {
            let children = if job.quick { CHILDREN_QUICK } else { CHILDREN };
            lap::checked(&mut *course, case, children / 10)?;
            let before = resident::bytes()?;
            let lap = lap::checked(&mut *course, case, children)?;
            match case {
                Case::SpawnMemory => (resident::bytes()? - before) / pace::counted(children),
                _ => lap.ns_each(),
            }
        }
        _ => lap::timed(&mut *course, case, job.quick)?.0.ns_each(),
    };
    course.end()?;
    Ok(Figures { value, also: Vec::new(), limit: None })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_parsed_back() {
        let replay = Measured::Replay(Case::FanIn(16));
        for measured in [Measured::Live(Case::Ring(100)), replay, Measured::Live(Case::SpawnMemory)] {
            assert_eq!(measured.to_string().parse(), Ok(measured));
        }
        assert!("replay-".parse::<Measured>().is_err());
        assert!("fan-in-0".parse::<Measured>().is_err());
    }
}

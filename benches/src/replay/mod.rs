//! The suite `replay`: what it takes to go through a long journal: to replay it, to open a session on it, to go to a step and back, to
//! look for one.
//!
//! `long` makes the journal: messages from outside for one trivial FSM, so that what is measured is the library's own work, and each run
//! makes one of its own. `walks` goes through it.

mod long;
mod walks;

use std::{fmt, str::FromStr};

use self::{long::Long, walks::Walk};
use crate::{
    locked,
    messaging::message::{Payload, Small},
    plan::{Class, Failure, Figures, Group, Job, LimitIs, Plot, Recording, Subject, Suite, X},
};

/// The suite.
pub struct Replay;

const QNFSM: &str = "qnfsm";

/// One way through a journal of so many million messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Case {
    walk: Walk,
    millions: u32,
}

/// How many million messages journals have, for what one asks a long one. With all else it is the third of them.
const MILLIONS: [u32; 4] = [1, 3, 10, 30];

fn cases(quick: bool) -> Vec<Case> {
    let lengths = |walk: Walk| match (quick, walk) {
        (true, _) => &MILLIONS[..1],
        (false, Walk::FirstPass | Walk::Seek) => &MILLIONS[..],
        (false, _) => &MILLIONS[2..3],
    };
    Walk::ALL.into_iter().flat_map(|walk| lengths(walk).iter().map(move |&millions| Case { walk, millions })).collect()
}

fn group(case: Case) -> Group {
    let walk = case.walk;
    let (unit, also) = walk.units();
    let limit = if walk.has_limit() { LimitIs::OfItsOwnRun } else { LimitIs::Nothing };
    let ours =
        Subject { name: QNFSM, system: QNFSM, version: locked::version(QNFSM), recording: Recording::Buffered, limit };
    Group {
        case: case.to_string(),
        family: walk.name(),
        class: Class::OneThread,
        payload_bytes: Small::BYTES,
        unit,
        also,
        subjects: vec![ours],
        more_than_limit: None,
    }
}

fn measured(walk: Walk, messages: u64) -> Result<Figures, Failure> {
    walk.measure(&Long::recorded(messages)?)
}

impl Suite for Replay {
    const NAME: &'static str = "replay";

    fn plan(quick: bool) -> Vec<Group> {
        cases(quick).into_iter().map(group).collect()
    }

    fn plots() -> Vec<Plot> {
        let plot = |file, family, title, y_label| Plot {
            file,
            family,
            class: None,
            title,
            x: X::EndOfCase,
            x_label: "millions of messages in the journal",
            y_label,
        };
        vec![
            plot("replay-seek", "seek", "Going to a round anywhere, one of a hundred takes longer", "ms p99"),
            plot("replay-kept", "first-pass", "What a session keeps to go anywhere", "MiB kept"),
        ]
    }

    fn measure(job: &Job) -> Result<Figures, Failure> {
        let Job { class, system, payload_bytes, recording, .. } = job;
        let wanted = (Class::OneThread, QNFSM, Small::BYTES, Recording::Buffered);
        if (*class, system.as_str(), *payload_bytes, *recording) != wanted {
            return Err(format!(
                "{class} {system} {recording} with {payload_bytes} bytes isn't measured in this suite"
            )
            .into());
        }
        let Case { walk, millions } = job.case.parse()?;
        measured(walk, u64::from(millions) * 1_000_000)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.walk, self.millions)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Case, String> {
        let case = cases(true).into_iter().chain(cases(false)).find(|case| case.to_string() == text);
        case.ok_or_else(|| format!("the suite has no case {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_the_plan_can_be_measured() {
        for walk in Walk::ALL {
            let Figures { value, also, limit } = measured(walk, 300_000).expect("the library works");
            assert!(value > 0.0 && limit.is_none_or(|limit| limit > 0.0), "{walk}");
            assert_eq!((also.len(), limit.is_some()), (walk.units().1.len(), walk.has_limit()), "{walk}");
        }
    }
}

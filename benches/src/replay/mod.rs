//! The suite `replay`: what it takes to go through a long journal: to replay it, to open a session on it, to go to a step and back, to
//! look for one.
//!
//! `long` makes the journal: messages from outside for one trivial FSM, so that what is measured is the library's own work, and each run
//! makes one of its own. `walks` goes through it.

mod long;
mod walks;

use self::{long::Long, walks::Walk};
use crate::{
    locked,
    messaging::message::{Payload, Small},
    plan::{Class, Failure, Figures, Group, Job, LimitIs, Recording, Subject, Suite},
};

/// The suite.
pub struct Replay;

const QNFSM: &str = "qnfsm";
/// How many messages the journal has.
const MESSAGES: u64 = 10_000_000;
/// For a look.
const MESSAGES_QUICK: u64 = 1_000_000;

fn group(walk: Walk) -> Group {
    let (unit, also) = walk.units();
    let limit = if walk.has_limit() { LimitIs::OfItsOwnRun } else { LimitIs::Nothing };
    let ours =
        Subject { name: QNFSM, system: QNFSM, version: locked::version(QNFSM), recording: Recording::Buffered, limit };
    Group {
        case: walk.to_string(),
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

    fn plan(_quick: bool) -> Vec<Group> {
        Walk::ALL.into_iter().map(group).collect()
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
        let walk = Walk::ALL.into_iter().find(|walk| walk.name() == job.case);
        let walk = walk.ok_or_else(|| format!("the suite has no case {}", job.case))?;
        measured(walk, if job.quick { MESSAGES_QUICK } else { MESSAGES })
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

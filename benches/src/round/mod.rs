//! The suite `round`: where the time of a round goes, for a worker that takes a stream of messages and puts out as many.
//!
//! `relay` is two workers and who drives them, `recorded` the journal, `parts` how a round is taken apart. A whole node does more
//! about each round: it reads the clock, counts, wakes the other thread. That is in the suites `messaging` and `latency`.

mod parts;
mod recorded;
mod relay;

use self::{recorded::Recorded, relay::Relaying};
use crate::{
    locked,
    messaging::message::{Payload, Small},
    plan::{Class, Failure, Figures, Group, Job, LimitIs, Recording, Subject, Suite},
};

/// The suite.
pub struct Round;

const FAMILY: &str = "round";
const QNFSM: &str = "qnfsm";
/// How many messages a round has.
const MESSAGES: &[u32] = &[1, 16, 256, 4096];
/// How many messages all rounds of a run have together, at most.
const MESSAGES_IN_ALL: u32 = 4_000_000;
/// How many rounds a run has, at most.
const ROUNDS_MAX: u32 = 400_000;
/// A look takes a part of both.
const QUICK_PART: u32 = 8;

fn case(messages: u32) -> String {
    format!("{FAMILY}-{messages}")
}

fn group(messages: u32) -> Group {
    let (unit, also) = parts::UNITS;
    let ours = [Recording::Memory, Recording::Buffered].map(|recording| Subject {
        name: QNFSM,
        system: QNFSM,
        version: locked::version(QNFSM),
        recording,
        limit: LimitIs::OfItsOwnRun,
    });
    Group {
        case: case(messages),
        family: FAMILY,
        class: Class::OneThread,
        payload_bytes: Small::BYTES,
        unit,
        also,
        subjects: ours.to_vec(),
        more_than_limit: None,
    }
}

fn measured(messages: u32, recording: Recording, messages_in_all: u32) -> Result<Figures, Failure> {
    let rounds = (messages_in_all / messages).min(ROUNDS_MAX);
    let recorded = Recorded::begin(recording)?;
    let figures = parts::measure(&mut Relaying::begin(messages, recorded.journal())?, rounds, messages)?;
    recorded.end()?;
    Ok(figures)
}

impl Suite for Round {
    const NAME: &'static str = FAMILY;

    fn plan(_quick: bool) -> Vec<Group> {
        MESSAGES.iter().map(|&messages| group(messages)).collect()
    }

    fn measure(job: &Job) -> Result<Figures, Failure> {
        let Job { class, system, payload_bytes, .. } = job;
        if (*class, system.as_str(), *payload_bytes) != (Class::OneThread, QNFSM, Small::BYTES) {
            return Err(format!("{class} {system} with {payload_bytes} bytes isn't measured in this suite").into());
        }
        let messages = MESSAGES.iter().find(|&&messages| case(messages) == job.case);
        let messages = messages.ok_or_else(|| format!("the suite has no case {}", job.case))?;
        measured(*messages, job.recording, MESSAGES_IN_ALL / if job.quick { QUICK_PART } else { 1 })
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use qnfsm::{
        journal::{JournalOptions, MemoryFiles, Reader, Record},
        playback::Playback,
    };

    use super::*;

    #[test]
    fn everything_in_the_plan_can_be_measured() {
        for &messages in MESSAGES {
            for Subject { recording, .. } in group(messages).subjects {
                let Figures { value, also, limit } = measured(messages, recording, 10_000).expect("the library works");
                assert!(value > 0.0 && limit.is_some_and(|limit| limit > 0.0));
                assert_eq!(also.len(), parts::UNITS.1.len());
            }
        }
    }

    #[test]
    fn nothing_else_is_measured() {
        assert!(measured(1, Recording::Off, 10).is_err());
        assert!(measured(1, Recording::Everything, 10).is_err());
    }

    #[test]
    fn what_is_measured_can_be_played_back() {
        let (files, dir) = (Arc::new(MemoryFiles::new(0)), Path::new("/node"));
        let journal = recorded::journal(files.clone(), dir, JournalOptions::default()).expect("an empty directory");
        let mut relaying = Relaying::begin(7, journal).expect("the library works");
        for _ in 0..10 {
            relaying.round(|_| {}).expect("all messages come");
        }
        let mut playback = Playback::new(relay::catalogue().expect("kinds"), relay::NODE);
        let mut reader = Reader::open(files, dir).expect("a journal");
        let mut frames = 0;
        while let Some(entry) = reader.next().expect("sound records") {
            if let Record::Round { batches, .. } = &entry.record {
                frames += batches.map(|batch| batch.count).sum::<u32>();
            }
            playback.apply(&entry.record, &mut ()).expect("no divergence");
        }
        assert_eq!(frames, 2 + 10 * 7, "two FSMs, and seven messages in each of ten rounds");
    }
}

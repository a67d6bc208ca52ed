//! The suite `messaging`: what it costs to carry messages between FSMs, and between actors of other libraries.
//!
//! `measured` is what there is to measure, `case` the cases, `roles` what FSMs and actors do in them, `message` the payloads, `lap`
//! what a system does in one, `system` what is compared; `ours`, `peers` and `limits` are the systems. What is fair about it stands in
//! `roles` and at the head of each system.

mod case;
pub mod lap;
mod limits;
mod measured;
pub mod message;
pub mod ours;
mod peers;
pub mod roles;
mod system;

use self::{
    case::Case,
    measured::Measured::{self, Live, Replay},
    message::{Large, Payload, Small},
};
use crate::plan::{
    Class::{self, OneThread, TwoThreads},
    Failure, Figures, Group, Job, Suite,
};

/// The suite.
pub struct Messaging;

const ONE: &[Class] = &[OneThread];
const TWO: &[Class] = &[TwoThreads];
const BOTH: &[Class] = &[OneThread, TwoThreads];

/// What is measured, and in how many threads.
const ALL: &[(Measured, &[Class])] = &[
    (Live(Case::PingPong), BOTH),
    (Live(Case::FanIn(1)), BOTH),
    (Live(Case::FanIn(4)), BOTH),
    (Live(Case::FanIn(16)), BOTH),
    (Live(Case::Ring(1)), BOTH),
    (Live(Case::Ring(100)), BOTH),
    (Live(Case::Spawn), ONE),
    (Live(Case::SpawnMemory), ONE),
    (Live(Case::FanOut(1)), BOTH),
    (Live(Case::FanOut(10)), BOTH),
    (Live(Case::FanOut(100)), BOTH),
    (Live(Case::FanOut(1_000)), BOTH),
    (Live(Case::FanOut(10_000)), BOTH),
    (Replay(Case::PingPong), BOTH),
    (Replay(Case::FanIn(16)), TWO),
    (Replay(Case::Ring(100)), TWO),
];

/// What is measured for a look.
const QUICK: &[(Measured, &[Class])] = &[
    (Live(Case::PingPong), BOTH),
    (Live(Case::FanIn(16)), BOTH),
    (Live(Case::Ring(1)), BOTH),
    (Live(Case::Ring(100)), BOTH),
    (Live(Case::Spawn), ONE),
    (Live(Case::SpawnMemory), ONE),
    (Live(Case::FanOut(100)), BOTH),
    (Live(Case::FanOut(1_000)), BOTH),
    (Replay(Case::PingPong), BOTH),
    (Replay(Case::FanIn(16)), TWO),
    (Replay(Case::Ring(100)), TWO),
];

impl Suite for Messaging {
    const NAME: &'static str = "messaging";

    fn plan(quick: bool) -> Vec<Group> {
        let all = if quick { QUICK } else { ALL };
        let payloads: &[u32] = if quick { &[Small::BYTES] } else { &[Small::BYTES, Large::BYTES] };
        let mut groups = Vec::new();
        for &(measured, classes) in all {
            for &class in classes {
                groups.extend(payloads.iter().map(|&payload_bytes| measured.group(class, payload_bytes)));
            }
        }
        groups
    }

    fn measure(job: &Job) -> Result<Figures, Failure> {
        let measured: Measured = job.case.parse()?;
        match job.payload_bytes {
            Small::BYTES => measured.measure::<Small>(job),
            Large::BYTES => measured.measure::<Large>(job),
            other => Err(format!("payloads are of {} or {} bytes, not {other}", Small::BYTES, Large::BYTES).into()),
        }
    }
}

//! The suite `journal`: what it costs to write down what happens, to wait until it is on disk, and to come back from it.
//!
//! `case` is what there is to measure, `system` what is compared, `load` what messages carry. `clients` is ours with clients in a closed
//! loop, `feed` ours under a stream; `store` is what both are held against, of which `bare` are the loops that bound them and
//! `databases` what a user would take instead. `stream`, `snapshot` and `recovery` do the measuring, and so does `tally`, which times
//! answers.

mod bare;
mod case;
mod clients;
mod databases;
pub mod feed;
pub mod load;
mod recovery;
mod snapshot;
mod store;
mod stream;
mod system;
mod tally;

use std::time::Duration;

use self::{
    case::{Case, Of},
    load::{Blob, Load},
    snapshot::Crowd,
    system::System,
    tally::Extent,
};
use crate::{
    messaging::message::{Large, Payload, Small},
    plan::{Class, Failure, Figures, Group, Job, Plot, Recording, Suite, X},
};

/// The suite.
pub struct Journal;

/// How long clients ask.
const EXTENT: Extent = Extent { time: Duration::from_secs(2) };
/// How long for a look.
const EXTENT_QUICK: Extent = Extent { time: Duration::from_millis(150) };

fn measure<L: Load>(case: Case, system: System, job: &Job) -> Result<Figures, Failure> {
    let (Case { of, size }, bytes) = (case, job.payload_bytes);
    let Job { recording, quick, .. } = *job;
    match of {
        Of::ClosedLoop => closed_loop(system, recording, size, if quick { EXTENT_QUICK } else { EXTENT }),
        Of::Saturation => stream::saturation::<L>(system, recording, size, bytes, quick),
        Of::RecordingCost => stream::recording_cost::<L>(system, recording, bytes, quick),
        Of::Bytes => stream::bytes_beside::<L>(system, recording, size, bytes, quick),
        Of::Bandwidth => stream::bandwidth::<L>(system, recording, bytes, quick),
        Of::SnapshotFsms => waits(system, Crowd { fsms: size, bytes }, quick),
        Of::SnapshotMib => waits(system, Crowd { fsms: size * ((1 << 20) / bytes), bytes }, quick),
        Of::Recovery => recovery::recovery::<L>(system, size, bytes),
    }
}

fn closed_loop(system: System, recording: Recording, clients: u32, extent: Extent) -> Result<Figures, Failure> {
    match system {
        System::Ours => clients::closed_loop(clients, recording, extent),
        other => store::closed_loop(other, clients, extent),
    }
}

fn waits(system: System, crowd: Crowd, quick: bool) -> Result<Figures, Failure> {
    match system {
        System::Ours => snapshot::waits(crowd, true, quick),
        System::OursWithoutSnapshots => snapshot::waits(crowd, false, quick),
        _ => Err("snapshots are measured of ours alone".into()),
    }
}

impl Suite for Journal {
    const NAME: &'static str = "journal";

    fn plan(quick: bool) -> Vec<Group> {
        case::groups(quick)
    }

    fn runs_max(family: &str) -> usize {
        case::runs_max(family)
    }

    fn plots() -> Vec<Plot> {
        let plot = |file, family, title, x_label, y_label| Plot {
            file,
            family,
            class: None,
            title,
            x: X::EndOfCase,
            x_label,
            y_label,
        };
        let clients = "clients that wait for their answers";
        vec![
            plot("journal-rate", "closed-loop", "An answer that is safe: its share of the time", clients, "ns/answer"),
            plot("journal-p99", "closed-loop", "An answer that is safe: how long a client waits", clients, "ns p99"),
            plot(
                "journal-saturation",
                "saturation",
                "A message of 16 bytes at saturation",
                "messages in a batch",
                "ns/message",
            ),
        ]
    }

    fn measure(job: &Job) -> Result<Figures, Failure> {
        if job.class != Class::OneThread {
            return Err("the suite is measured on one thread".into());
        }
        let (case, system): (Case, System) = (job.case.parse()?, job.system.parse()?);
        match (case.of, job.payload_bytes) {
            // Bytes that are as many when they are encoded, so that what is beside them can be told.
            (Of::Bytes, _) => measure::<Blob>(case, system, job),
            (_, Small::BYTES) => measure::<Small>(case, system, job),
            (_, Large::BYTES) => measure::<Large>(case, system, job),
            _ => measure::<Blob>(case, system, job),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Subject;

    #[test]
    fn every_answer_is_measured_of_everything_in_the_plan() {
        let extent = Extent { time: Duration::from_millis(5) };
        for group in case::groups(false).into_iter().filter(|group| group.family == "closed-loop") {
            let case: Case = group.case.parse().expect("its own name");
            for Subject { name, recording, .. } in group.subjects {
                let system = name.parse().expect("its own name");
                let Figures { value, also, .. } =
                    closed_loop(system, recording, case.size, extent).expect("it does what it should");
                assert!(value > 0.0 && also.len() == tally::UNITS.1.len(), "{case} {name}: {value} {also:?}");
            }
        }
    }
}

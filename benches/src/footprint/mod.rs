//! The suite `footprint`: what FSMs cost that do nothing. Memory, and the time and bytes of a snapshot and of restoring it.
//!
//! `idle` is a worker full of such FSMs, `codec_alone` what a snapshot is held against.

mod codec_alone;
mod idle;

use std::{fmt, str::FromStr, time::Instant};

use qnfsm::Worker;

use crate::{
    locked,
    pace::counted,
    plan::{Class, Failure, Figures, Group, Job, LimitIs, Plot, Recording, Subject, Suite, X},
    resident,
};

/// The suite.
pub struct Footprint;

const SIZES: &[u32] = &[1_000, 10_000, 100_000, 1_000_000];
const SIZES_QUICK: &[u32] = &[1_000, 1_000_000];
/// The most FSMs of a case; a worker takes four million.
const FSMS_MAX: u32 = 4_000_000;

const OURS: &str = "qnfsm";
const CODEC: &str = "codec-alone";
const NS: &str = "ns/FSM";
const BYTES: &str = "bytes/FSM";

/// What is measured of an FSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Bytes of the process's memory, without the FSM's own data.
    Memory,
    /// Nanoseconds of writing the worker's image.
    Snapshot,
    /// Bytes of memory that it takes meanwhile, beside the worker; the image itself among them.
    SnapshotMemory,
    /// Bytes of the image.
    Image,
    /// Nanoseconds of making a worker of the image.
    Restore,
}

const ALL: &[(Of, &str, &str)] = &[
    (Of::Memory, "memory", BYTES),
    (Of::Image, "image", BYTES),
    (Of::SnapshotMemory, "snapshot-memory", BYTES),
    (Of::Snapshot, "snapshot", NS),
    (Of::Restore, "restore", NS),
];

/// One case: what is measured, of so many FSMs in one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Case {
    of: Of,
    fsms: u32,
}

impl Of {
    fn facts(self) -> (&'static str, &'static str) {
        let facts = ALL.iter().find(|(of, ..)| *of == self);
        let &(_, name, unit) = facts.expect("all are in the list");
        (name, unit)
    }

    /// Whether the codec alone is a limit of it.
    fn has_limit(self) -> bool {
        matches!(self, Of::Snapshot | Of::Restore)
    }
}

impl Suite for Footprint {
    const NAME: &'static str = "footprint";

    fn plan(quick: bool) -> Vec<Group> {
        let sizes = if quick { SIZES_QUICK } else { SIZES };
        let cases = ALL.iter().flat_map(|&(of, ..)| sizes.iter().map(move |&fsms| Case { of, fsms }));
        cases.map(Case::group).collect()
    }

    fn plots() -> Vec<Plot> {
        let plot = |file, family, title, y_label| Plot {
            file,
            family,
            class: None,
            title,
            x: X::EndOfCase,
            x_label: "idle FSMs in one worker",
            y_label,
        };
        vec![
            plot("footprint-snapshot", "snapshot", "Writing a worker's image", NS),
            plot("footprint-restore", "restore", "Making a worker of its image", NS),
        ]
    }

    fn measure(job: &Job) -> Result<Figures, Failure> {
        let Case { of, fsms } = job.case.parse()?;
        let value = match (job.system.as_str(), of) {
            (OURS, _) => of_ours(of, fsms)?,
            (CODEC, Of::Snapshot) => codec_alone::seconds(fsms)?[0] * 1e9,
            (CODEC, Of::Restore) => codec_alone::seconds(fsms)?[1] * 1e9,
            (other, _) => return Err(format!("there is no system {other} for {}", job.case).into()),
        };
        Ok(Figures { value: value / counted(u64::from(fsms)), limit: None, also: Vec::new() })
    }
}

/// Nanoseconds or bytes of all FSMs together.
fn of_ours(of: Of, fsms: u32) -> Result<f64, Failure> {
    let catalogue = idle::catalogue()?;
    // What is allocated once and for all comes into use with the first ones.
    drop(idle::worker_of(&catalogue, 100)?);
    let before = resident::bytes()?;
    let worker = idle::worker_of(&catalogue, fsms)?;
    let with_worker = resident::bytes()?;
    let mut image = Vec::new();
    let (begun, watch) = (Instant::now(), resident::Peak::watch()?);
    worker.snapshot(&mut image)?;
    let (took, peak) = (begun.elapsed(), watch.bytes()?);
    let value = match of {
        Of::Memory => with_worker - before - counted(u64::from(fsms) * idle::OWN_BYTES as u64),
        Of::Image => counted(image.len() as u64),
        Of::SnapshotMemory => peak - with_worker,
        Of::Snapshot => took.as_secs_f64() * 1e9,
        Of::Restore => {
            drop(worker);
            let begun = Instant::now();
            let restored = Worker::restore(catalogue, &image)?;
            let took = begun.elapsed();
            // It is the same worker only if it is written down as the same bytes.
            let mut again = Vec::new();
            restored.snapshot(&mut again)?;
            idle::check(&restored, fsms)?;
            if again != image {
                return Err("the restored worker has another image".into());
            }
            took.as_secs_f64() * 1e9
        }
    };
    Ok(value)
}

impl Case {
    fn group(self) -> Group {
        let subject = |name, system, package, limit| Subject {
            name,
            system,
            version: locked::version(package),
            recording: Recording::Off,
            limit,
        };
        let (family, unit) = self.of.facts();
        let mut subjects = vec![subject(OURS, OURS, OURS, LimitIs::Nothing)];
        if self.of.has_limit() {
            subjects[0].limit = LimitIs::Subject(1);
            subjects.push(subject(CODEC, "codec alone", "bincode", LimitIs::Nothing));
        }
        let payload_bytes = u32::try_from(idle::OWN_BYTES).expect("an FSM is small");
        Group {
            case: self.to_string(),
            family,
            class: Class::OneThread,
            payload_bytes,
            unit,
            also: &[],
            subjects,
            more_than_limit: None,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.of.facts().0, self.fsms)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(name: &str) -> Result<Case, String> {
        let unknown = || format!("the suite has no case {name}");
        let (of, fsms) = name.rsplit_once('-').ok_or_else(unknown)?;
        let (of, ..) = ALL.iter().find(|(_, name, _)| *name == of).ok_or_else(unknown)?;
        match fsms.parse() {
            Ok(fsms @ 1..=FSMS_MAX) => Ok(Case { of: *of, fsms }),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_found_by_its_name() {
        for group in Footprint::plan(false) {
            assert_eq!(group.case.parse::<Case>().map(|case| case.to_string()), Ok(group.case));
        }
        assert_eq!("snapshot-memory-10".parse(), Ok(Case { of: Of::SnapshotMemory, fsms: 10 }));
        assert!("snapshot-0".parse::<Case>().is_err() && "snapshot".parse::<Case>().is_err());
    }

    #[test]
    fn what_is_measured_of_a_few_is_what_they_have() {
        let image = of_ours(Of::Image, 1_000).expect("a worker") / 1_000.0;
        assert!((40.0..200.0).contains(&image), "{image} bytes for each FSM");
    }
}

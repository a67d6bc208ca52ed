//! The cases: what is measured, and of how many clients, messages in a batch, FSMs, or MiB. Their names, sizes, payloads and units.

use std::{fmt, str::FromStr};

use super::{system, tally};
use crate::plan::{Class, Group};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// What clients wait for who ask, wait for the answer, and ask again.
    ClosedLoop,
    /// What a message takes when as many come as can be taken; by messages in a batch.
    Saturation,
    /// The CPU time of a million messages a second, a batch each millisecond.
    RecordingCost,
    /// The bytes on disk of a message, beside its payload; by messages in a batch.
    Bytes,
    /// What a GiB of large payloads takes.
    Bandwidth,
    /// The longest that anybody waits while snapshots are taken of so many FSMs.
    SnapshotFsms,
    /// The same of so many MiB of FSMs.
    SnapshotMib,
    /// What a start takes after a kill, with so many MiB of journal.
    Recovery,
}

struct Facts {
    of: Of,
    family: &'static str,
    units: (&'static str, &'static [&'static str]),
    /// The sizes, and those for a look; none where a case has no size.
    sizes: &'static [u32],
    quick: &'static [u32],
    /// The payloads; for a look the first.
    payloads: &'static [u32],
}

const ALL: &[Facts] = &[
    Facts {
        of: Of::ClosedLoop,
        family: "closed-loop",
        units: tally::UNITS,
        sizes: &[1, 16, 64, 256],
        quick: &[1, 64],
        payloads: &[16],
    },
    Facts {
        of: Of::Saturation,
        family: "saturation",
        units: ("ns/message", &[]),
        sizes: &[16, 256, 4_096],
        quick: &[256, 4_096],
        payloads: &[16],
    },
    Facts {
        of: Of::RecordingCost,
        family: "recording-cost",
        units: ("% of a core", &["% of a core, kernel's threads"]),
        sizes: &[],
        quick: &[],
        payloads: &[16, 64],
    },
    Facts {
        of: Of::Bytes,
        family: "bytes",
        units: ("bytes/message kept", &["bytes/message written"]),
        sizes: &[1, 16, 256, 4_096],
        quick: &[1, 256],
        payloads: &[16, 64],
    },
    Facts {
        of: Of::Bandwidth,
        family: "bandwidth",
        units: ("s/GiB", &[]),
        sizes: &[],
        quick: &[],
        payloads: &[65_536],
    },
    Facts {
        of: Of::SnapshotFsms,
        family: "snapshot-fsms",
        units: SNAPSHOT_UNITS,
        sizes: &[100_000],
        quick: &[100_000],
        payloads: &[16],
    },
    Facts {
        of: Of::SnapshotMib,
        family: "snapshot-mib",
        units: SNAPSHOT_UNITS,
        sizes: &[1_024],
        quick: &[64],
        payloads: &[65_536],
    },
    Facts {
        of: Of::Recovery,
        family: "recovery",
        units: ("s/GiB", &["ns/message"]),
        sizes: &[1_024],
        quick: &[256],
        payloads: &[16, 1_024],
    },
];

const SNAPSHOT_UNITS: (&str, &[&str]) = ("ms longest", &["ms p99.9", "ms p50", "ms pause by its own count"]);

/// A run of these takes many seconds, or finds the same each time, so a median is of fewer.
pub fn runs_max(family: &str) -> usize {
    match family {
        "snapshot-mib" | "recovery" | "bytes" => 3,
        _ => usize::MAX,
    }
}

/// What is measured, and the number at the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// What.
    pub of: Of,
    /// How many, where the name has a number.
    pub size: u32,
}

impl Of {
    fn facts(self) -> &'static Facts {
        ALL.iter().find(|facts| facts.of == self).expect("all are in the list")
    }
}

/// All that there is to measure.
pub fn groups(quick: bool) -> Vec<Group> {
    let mut groups = Vec::new();
    for facts in ALL {
        let sizes = if quick { facts.quick } else { facts.sizes };
        let payloads = if quick { &facts.payloads[..1] } else { facts.payloads };
        for &size in if sizes.is_empty() { &[0] } else { sizes } {
            let case = Case { of: facts.of, size };
            groups.extend(payloads.iter().map(|&payload_bytes| case.group(payload_bytes)));
        }
    }
    groups
}

impl Case {
    fn group(self, payload_bytes: u32) -> Group {
        let Facts { of, family, units: (unit, also), .. } = *self.of.facts();
        Group {
            case: self.to_string(),
            family,
            class: Class::OneThread,
            payload_bytes,
            unit,
            also,
            subjects: system::subjects(of),
            more_than_limit: (of == Of::RecordingCost).then_some("% of a core more than without"),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts { family, sizes, .. } = self.of.facts();
        if sizes.is_empty() { f.write_str(family) } else { write!(f, "{family}-{}", self.size) }
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(name: &str) -> Result<Case, String> {
        if let Some(facts) = ALL.iter().find(|facts| facts.family == name && facts.sizes.is_empty()) {
            return Ok(Case { of: facts.of, size: 0 });
        }
        let unknown = || format!("the suite has no case {name}");
        let (family, size) = name.rsplit_once('-').ok_or_else(unknown)?;
        let facts = ALL.iter().find(|facts| facts.family == family && !facts.sizes.is_empty()).ok_or_else(unknown)?;
        match size.parse() {
            Ok(size @ 1..) => Ok(Case { of: facts.of, size }),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_found_by_its_name() {
        for group in [true, false].into_iter().flat_map(groups) {
            assert_eq!(group.case.parse::<Case>().map(|case| case.to_string()), Ok(group.case));
        }
        for name in ["closed-loop", "closed-loop-0", "bandwidth-1", "snapshot-1", ""] {
            assert!(name.parse::<Case>().is_err(), "{name}");
        }
    }
}

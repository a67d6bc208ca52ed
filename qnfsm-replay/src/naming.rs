//! How rounds and snapshots are named by whoever means one: `120` and `w0:17` are rounds, `w0:812` and `0-812.qsn` a snapshot. All
//! commands read them here.

use std::{ffi::OsStr, fmt, path::Path, str::FromStr};

use qnfsm::{WorkerId, journal::snapshots};

use crate::debug::{number, worker};

/// A round, as it is named: `120` by its ordinal, `w0:17` by its worker and that one's own number of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundName {
    /// By its number among all rounds of all workers, as the journal has them, from 0.
    Ordinal(u64),
    /// By its worker, and the worker's own number of it, from 1.
    Of(WorkerId, u64),
}

/// A snapshot, as it is named: `w0:812` is that of worker 0 after round 812, whose file is `0-812.qsn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotName {
    /// Of which worker.
    pub worker: WorkerId,
    /// After which of its rounds.
    pub round: u64,
}

/// A text that names no round, or no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no {what}")]
pub struct NameError {
    text: String,
    what: &'static str,
}

impl FromStr for RoundName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<RoundName, NameError> {
        let ordinal = number(text).filter(|_| !text.is_empty()).map(RoundName::Ordinal);
        let of = || of_worker(text).map(|(worker, round)| RoundName::Of(worker, round));
        let what = "round; give its ordinal, such as 120, or its worker and that one's number of it, such as w0:17";
        ordinal.or_else(of).ok_or_else(|| NameError { text: text.to_owned(), what })
    }
}

impl FromStr for SnapshotName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<SnapshotName, NameError> {
        let of_file = || Path::new(text).file_name().and_then(OsStr::to_str).and_then(snapshots::named);
        let what = "snapshot; give its worker and the round after which it was taken, such as w0:812, or its file";
        let (worker, round) =
            of_worker(text).or_else(of_file).ok_or_else(|| NameError { text: text.to_owned(), what })?;
        Ok(SnapshotName { worker, round })
    }
}

/// A worker and a number of its.
fn of_worker(text: &str) -> Option<(WorkerId, u64)> {
    let (of, round) = text.split_once(':')?;
    Some((worker(of)?, number(round).filter(|_| !round.is_empty())?))
}

impl fmt::Display for RoundName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoundName::Ordinal(ordinal) => write!(f, "round {ordinal}"),
            RoundName::Of(worker, round) => write!(f, "round {round} of {worker}"),
        }
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after round {}", self.worker, self.round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_and_snapshots_are_read_as_they_are_spelt() {
        assert_eq!("12".parse(), Ok(RoundName::Ordinal(12)));
        assert_eq!("w1:12".parse(), Ok(RoundName::Of(WorkerId(1), 12)));
        let snapshot = SnapshotName { worker: WorkerId(1), round: 12 };
        for text in ["w1:12", "1-12.qsn", "/var/lib/a/snapshots/1-12.qsn"] {
            assert_eq!(text.parse(), Ok(snapshot), "{text}");
        }
        for none in ["", "x", "w1:", "w:1", "1:2", "w1:-3", "+3"] {
            let error = none.parse::<RoundName>().expect_err(none);
            assert!(error.to_string().contains("w0:17"), "{error}");
            let error = none.parse::<SnapshotName>().expect_err(none);
            assert!(error.to_string().contains("w0:812"), "{error}");
        }
        assert!("12".parse::<SnapshotName>().is_err());
    }
}

//! How rounds and snapshots are named by whoever means one: `120` and `w0:17` are rounds, `w0:812` and `0-812.qsn` a snapshot. All
//! commands read them here.

use std::{ffi::OsStr, fmt, path::Path, str::FromStr};

use qnfsm::{
    WorkerId,
    journal::snapshots,
    spelt::{TOO_LARGE, is_too_large, number},
};

use crate::debug::worker;

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
#[error("`{text}` {}", .what.map_or_else(|| TOO_LARGE.to_owned(), |what| format!("names no {what}")))]
pub struct NameError {
    text: String,
    /// Of what it is no name; none, if only a number in it is too large.
    what: Option<&'static str>,
}

impl NameError {
    fn new(text: &str, what: &'static str, is_read: impl FnOnce(&str) -> bool) -> NameError {
        NameError { text: text.to_owned(), what: (!is_too_large(text, is_read)).then_some(what) }
    }
}

impl FromStr for RoundName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<RoundName, NameError> {
        let named = |text: &str| {
            let of = || of_worker(text).map(|(worker, round)| RoundName::Of(worker, round));
            number(text).map(RoundName::Ordinal).or_else(of)
        };
        let what = "round; give its ordinal, such as 120, or its worker and that one's number of it, such as w0:17";
        named(text).ok_or_else(|| NameError::new(text, what, |smaller| named(smaller).is_some()))
    }
}

impl FromStr for SnapshotName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<SnapshotName, NameError> {
        let named = |text: &str| {
            let of_file = || Path::new(text).file_name().and_then(OsStr::to_str).and_then(snapshots::named);
            of_worker(text).or_else(of_file).map(|(worker, round)| SnapshotName { worker, round })
        };
        let what = "snapshot; give its worker and the round after which it was taken, such as w0:812, or its file";
        named(text).ok_or_else(|| NameError::new(text, what, |smaller| named(smaller).is_some()))
    }
}

/// A worker and a number of its.
fn of_worker(text: &str) -> Option<(WorkerId, u64)> {
    let (of, round) = text.split_once(':')?;
    Some((worker(of)?, number(round)?))
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
        let large = "9".repeat(30);
        for text in [large.clone(), format!("w0:{large}"), format!("w{large}:0")] {
            assert_eq!(text.parse::<RoundName>().expect_err("too large").to_string(), format!("`{text}` {TOO_LARGE}"));
        }
        for text in [format!("w0:{large}"), format!("0-{large}.qsn")] {
            assert_eq!(
                text.parse::<SnapshotName>().expect_err("too large").to_string(),
                format!("`{text}` {TOO_LARGE}")
            );
        }
    }
}

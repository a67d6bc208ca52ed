//! What the suite compares: ours in its ways of recording, the bare loops that bound it, and what a user would take instead.

use std::str::FromStr;

use super::case::Of;
use crate::{
    listed::{self, Listed},
    locked,
    plan::{LimitIs, Recording, Subject},
};

/// Something that writes down what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Ours.
    Ours,
    /// Ours, which is never to take a snapshot.
    OursWithoutSnapshots,
    /// Batches written to a file.
    Write,
    /// The same, and synced on a thread beside.
    WriteBehind,
    /// The same, and synced before anything goes on.
    WriteSync,
    /// The same, into a file that doesn't grow.
    WriteSyncZeros,
    /// SQLite that syncs for each transaction.
    SqliteFull,
    /// SQLite that syncs at checkpoints.
    SqliteNormal,
    /// redb.
    Redb,
    /// A file that is read from front to back, with a checksum over it.
    Read,
}

/// All systems.
const SYSTEMS: &[Listed<System>] = &[
    (System::Ours, "qnfsm", "qnfsm", "qnfsm"),
    (System::OursWithoutSnapshots, "qnfsm-no-snapshots", "qnfsm, no snapshots", "qnfsm"),
    (System::Write, "write", "write", "std"),
    (System::WriteBehind, "write-behind", "write, synced behind", "std"),
    (System::WriteSync, "bare-grows", "write + fdatasync, file grows", "std"),
    (System::WriteSyncZeros, "bare-zeros", "write + fdatasync, over zeros", "std"),
    (System::SqliteFull, "sqlite-full", "SQLite WAL, FULL", "rusqlite"),
    (System::SqliteNormal, "sqlite-normal", "SQLite WAL, NORMAL", "rusqlite"),
    (System::Redb, "redb", "redb", "redb"),
    (System::Read, "read", "read + CRC-32", "std"),
];

impl FromStr for System {
    type Err = String;

    fn from_str(name: &str) -> Result<System, String> {
        listed::find(SYSTEMS, name)
    }
}

/// A system, and how much it writes down.
type Compared = (System, Recording);

const OFF: Compared = (System::Ours, Recording::Off);
const MEMORY: Compared = (System::Ours, Recording::Memory);
const BUFFERED: Compared = (System::Ours, Recording::Buffered);
const DURABLE: Compared = (System::Ours, Recording::Durable);
const NO_SNAPSHOTS: Compared = (System::OursWithoutSnapshots, Recording::Buffered);
const WRITE: Compared = (System::Write, Recording::Buffered);
const WRITE_BEHIND: Compared = (System::WriteBehind, Recording::Buffered);
const WRITE_SYNC: Compared = (System::WriteSync, Recording::Durable);
const WRITE_SYNC_ZEROS: Compared = (System::WriteSyncZeros, Recording::Durable);
const SQLITE_FULL: Compared = (System::SqliteFull, Recording::Durable);
const SQLITE_NORMAL: Compared = (System::SqliteNormal, Recording::Buffered);
const REDB: Compared = (System::Redb, Recording::Durable);
const READ: Compared = (System::Read, Recording::Buffered);

/// What is compared, in the order of turns and rows.
fn compared(of: Of) -> &'static [Compared] {
    match of {
        Of::ClosedLoop => {
            &[DURABLE, BUFFERED, MEMORY, OFF, WRITE_SYNC_ZEROS, WRITE_SYNC, SQLITE_FULL, REDB, SQLITE_NORMAL]
        }
        Of::Saturation | Of::Bandwidth => {
            &[OFF, MEMORY, BUFFERED, DURABLE, WRITE, WRITE_BEHIND, WRITE_SYNC_ZEROS, SQLITE_NORMAL, SQLITE_FULL, REDB]
        }
        Of::RecordingCost => &[OFF, MEMORY, BUFFERED, DURABLE, WRITE, SQLITE_NORMAL, SQLITE_FULL, REDB],
        Of::Bytes => &[BUFFERED, DURABLE, SQLITE_NORMAL, REDB],
        Of::SnapshotFsms | Of::SnapshotMib => &[BUFFERED, NO_SNAPSHOTS],
        Of::Recovery => &[BUFFERED, READ, SQLITE_NORMAL, REDB],
    }
}

/// What one of these is held against.
fn limit_of(of: Of, compared: Compared) -> Option<Compared> {
    match (of, compared) {
        (Of::ClosedLoop | Of::Saturation | Of::Bandwidth, DURABLE) => Some(WRITE_SYNC_ZEROS),
        (Of::Saturation | Of::Bandwidth, BUFFERED) => Some(WRITE),
        (Of::RecordingCost, MEMORY | BUFFERED | DURABLE) => Some(OFF),
        (Of::SnapshotFsms | Of::SnapshotMib, BUFFERED) => Some(NO_SNAPSHOTS),
        (Of::Recovery, BUFFERED) => Some(READ),
        _ => None,
    }
}

/// The subjects of a case.
pub fn subjects(of: Of) -> Vec<Subject> {
    let all = compared(of);
    let subject = |&(system, recording): &Compared| {
        let (name, shown, package) = listed::facts(SYSTEMS, system);
        let limit = limit_of(of, (system, recording));
        let limit = all.iter().position(|other| Some(*other) == limit).map_or(LimitIs::Nothing, LimitIs::Subject);
        Subject { name, system: shown, version: locked::version(package), recording, limit }
    };
    all.iter().map(subject).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_is_found_by_its_argument() {
        for (system, argument, ..) in SYSTEMS {
            assert_eq!(argument.parse(), Ok(*system));
        }
    }

    #[test]
    fn what_syncs_is_held_against_the_file_that_does_not_grow() {
        let subjects = subjects(Of::ClosedLoop);
        let LimitIs::Subject(limit) = subjects[0].limit else { panic!("{subjects:?}") };
        assert_eq!((subjects[0].recording, subjects[limit].name), (Recording::Durable, "bare-zeros"));
    }
}

//! How much lies in a node's directory, and letting go of what isn't needed any more.

use std::{collections::BTreeMap, io, path::Path};

use super::{
    error::IoError,
    prepared, segment, snapshots,
    storage::{Storage, remove_if_there},
    tail::list_segments,
};
use crate::id::WorkerId;

/// The files of a journal and its snapshots, with their lengths in bytes as the names show them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    /// By number, the segments.
    pub segments: BTreeMap<u64, u64>,
    /// By worker and round, the snapshots.
    pub snapshots: BTreeMap<(WorkerId, u64), u64>,
    /// The segment that is made beforehand.
    pub prepared_bytes: u64,
}

impl Holdings {
    /// Looks at a node's directory. Of what comes and goes meanwhile, some may be missed. A directory without a journal holds
    /// nothing.
    ///
    /// # Errors
    /// When the system fails.
    pub fn look(storage: &dyn Storage, node_dir: &Path) -> Result<Holdings, IoError> {
        let mut holdings = Holdings {
            segments: segments(storage, node_dir)?,
            prepared_bytes: bytes(storage, &prepared::path(node_dir))?,
            ..Holdings::default()
        };
        for (worker, round) in snapshots::list(storage, node_dir)? {
            holdings.snapshots.insert((worker, round), bytes(storage, &snapshots::path(node_dir, worker, round))?);
        }
        Ok(holdings)
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.values().chain(self.snapshots.values()).sum::<u64>() + self.prepared_bytes
    }
}

/// The segments of a node's directory by number, and their lengths in bytes.
///
/// # Errors
/// When the system fails.
pub fn segments(storage: &dyn Storage, node_dir: &Path) -> Result<BTreeMap<u64, u64>, IoError> {
    // A name that is spelt like no segment's is for readers to refuse.
    let numbers = list_segments(storage, node_dir)?.unwrap_or_default();
    numbers.into_iter().map(|number| Ok((number, bytes(storage, &segment::path(node_dir, number))?))).collect()
}

/// The length of a file; nothing, if it is gone.
fn bytes(storage: &dyn Storage, path: &Path) -> Result<u64, IoError> {
    match storage.file_bytes(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        looked => looked.map_err(|error| IoError::new("look at", path, error)),
    }
}

/// Removes a segment that the manifest doesn't count any more.
///
/// # Errors
/// What the system says. A segment that isn't there is fine.
pub fn remove_segment(storage: &dyn Storage, node_dir: &Path, number: u64) -> Result<(), IoError> {
    remove_if_there(storage, &segment::path(node_dir, number))
}

/// Removes a snapshot that nobody will go on from.
///
/// # Errors
/// What the system says. A snapshot that isn't there is fine.
pub fn remove_snapshot(storage: &dyn Storage, node_dir: &Path, worker: WorkerId, round: u64) -> Result<(), IoError> {
    remove_if_there(storage, &snapshots::path(node_dir, worker, round))
}

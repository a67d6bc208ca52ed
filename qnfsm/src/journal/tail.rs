//! Where a journal ends: what is known to be on disk, what was lost behind it, and how that is kept aside before the
//! journal goes on.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    JOURNAL_DIR, LOST_DIR,
    bytes::{BlockFault, bytes_before_zeros, is_zeros},
    envelope::{Position, Seed, find_sync_marks},
    error::{IoError, JournalError, Why},
    segment::{self, Link, SegmentHeader},
    storage::{File, Storage},
    window::read_rest,
};
use crate::id::Epoch;

/// The end of a journal that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The end of the last segment that counts; none if there is none yet.
    pub last: Option<Link>,
    /// What lies behind that end and doesn't count.
    pub lost: Option<Loss>,
    /// The epoch of the last segment.
    pub epoch: Option<Epoch>,
    /// Everything before this is known to be on disk.
    pub synced: Position,
    /// The oldest segment that there must be.
    pub(super) oldest_segment: u64,
}

/// What a crash left behind the end of a journal. It was not known to be on disk, and nobody was told that it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes after {after} were lost in a crash ({why}); they are kept aside when the journal goes on")]
pub struct Loss {
    /// The last position that counts.
    pub after: Position,
    /// How many bytes were written behind it, in its segment and later ones.
    pub bytes: u64,
    /// What is wrong with the first of them.
    pub why: Why,
}

/// What lies behind a position from which on nothing is sound.
pub(super) struct Behind {
    /// The furthest position that anything there says is on disk.
    pub(super) proof: Option<Position>,
    /// How many bytes were written there.
    pub(super) bytes: u64,
}

/// Looks at what lies behind `from`. `bytes` are the rest of `from`'s segment; `later` are the numbers of the segments
/// behind it.
pub(super) fn look_behind(
    storage: &dyn Storage,
    node_dir: &Path,
    seed: Seed,
    bytes: &[u8],
    from: Position,
    later: &[u64],
) -> Result<Behind, IoError> {
    let mut furthest = find_sync_marks(bytes, seed, from);
    let mut written = bytes_before_zeros(bytes);
    let mut buffer = Vec::new();
    for &segment in later {
        let path = segment::path(node_dir, segment);
        read_rest(storage, &path, 0, &mut buffer)?;
        let start = Position { segment, offset: 0 };
        let header = match SegmentHeader::decode(&buffer) {
            Ok((header, ..)) => {
                header.link.filter(|link| link.synced && link.segment < segment).map(|link| link.position())
            }
            // A newer version has run here since, and none goes on before all that was there is on disk.
            Err(BlockFault::Version(_)) => Some(start),
            Err(BlockFault::Bad(_)) => None,
        };
        furthest = furthest.max(header).max(find_sync_marks(&buffer, seed, start));
        written += bytes_before_zeros(&buffer);
    }
    Ok(Behind { proof: furthest, bytes: written as u64 })
}

/// The numbers of the segments in a node's directory; none if there is no journal.
pub(super) fn list_segments(storage: &dyn Storage, node_dir: &Path) -> Result<Result<Vec<u64>, PathBuf>, IoError> {
    let dir = node_dir.join(JOURNAL_DIR);
    match storage.list(&dir) {
        Ok(names) => Ok(segment::numbers(&names).map_err(|name| dir.join(name))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ok(Vec::new())),
        Err(error) => Err(IoError::new("list", dir, error)),
    }
}

/// Makes the journal on disk end where the tail says, keeps aside what lies behind, and returns when all of it is on
/// disk. Over a crash at any point it can be done again.
pub(super) fn settle(storage: &dyn Storage, node_dir: &Path, tail: &Tail) -> Result<(), JournalError> {
    end_at(storage, node_dir, tail, tail.lost.is_some())
}

/// As [`settle`]. Unless something `lies_behind`, it is an error if something does.
pub(super) fn end_at(
    storage: &dyn Storage,
    node_dir: &Path,
    tail: &Tail,
    lies_behind: bool,
) -> Result<(), JournalError> {
    let changed = |what: &str| {
        Err(JournalError::Misuse(format!(
            "{} has changed since its end was read: {what}; read it again",
            node_dir.join(JOURNAL_DIR).display()
        )))
    };
    let segments = match list_segments(storage, node_dir)? {
        Ok(segments) => segments,
        Err(path) => return changed(&format!("{} appeared", path.display())),
    };
    let last = tail.last.map_or(0, |link| link.segment);
    let later = segments.iter().copied().filter(|segment| *segment > last);
    // The last goes first, so that a crash in between leaves no gap.
    for segment in later.rev() {
        let from = segment::path(node_dir, segment);
        if is_zeros(&read_from(storage, &from, 0)?) {
            storage.remove(&from).map_err(|error| IoError::new("remove", &from, error))?;
        } else if !lies_behind {
            return changed("there are more segments");
        } else {
            move_aside(storage, node_dir, &from, &stem(Position { segment, offset: 0 }))?;
        }
        sync_dir(storage, &node_dir.join(JOURNAL_DIR))?;
    }
    let Some(link) = tail.last else { return Ok(()) };
    let path = segment::path(node_dir, link.segment);
    let bytes = storage.file_bytes(&path).map_err(|error| IoError::new("look at", &path, error))?;
    if bytes < link.bytes {
        return changed(&format!("segment {} has {bytes} bytes instead of {}", link.segment, link.bytes));
    }
    if bytes > link.bytes {
        let behind = read_from(storage, &path, link.bytes)?;
        if !is_zeros(&behind) {
            if !lies_behind {
                return changed(&format!("segment {} has {bytes} bytes instead of {}", link.segment, link.bytes));
            }
            copy_aside(storage, node_dir, &behind, link.position())?;
        }
        let file = open(storage, &path, link.bytes)?;
        file.truncate(link.bytes).map_err(|error| IoError::new("truncate", &path, error))?;
    }
    sync_segments(storage, node_dir, tail.synced.segment.max(tail.oldest_segment)..=link.segment)
}

/// Returns when these segments are on disk, and their names too.
pub(super) fn sync_segments(
    storage: &dyn Storage,
    node_dir: &Path,
    segments: impl IntoIterator<Item = u64>,
) -> Result<(), JournalError> {
    for segment in segments {
        let path = segment::path(node_dir, segment);
        let bytes = storage.file_bytes(&path).map_err(|error| IoError::new("look at", &path, error))?;
        let file = open(storage, &path, bytes)?;
        file.sync_data().map_err(|error| IoError::new("sync", &path, error))?;
    }
    sync_dir(storage, &node_dir.join(JOURNAL_DIR))
}

fn open(storage: &dyn Storage, path: &Path, offset: u64) -> Result<Box<dyn File>, IoError> {
    storage.open(path, offset).map_err(|error| IoError::new("open", path, error))
}

pub(super) fn read_from(storage: &dyn Storage, path: &Path, offset: u64) -> Result<Vec<u8>, IoError> {
    let mut bytes = Vec::new();
    read_rest(storage, path, offset, &mut bytes).map(|()| bytes)
}

/// Puts what lay in a segment behind a position into a file of its own, without the zeros that nobody wrote over.
fn copy_aside(storage: &dyn Storage, node_dir: &Path, bytes: &[u8], after: Position) -> Result<(), JournalError> {
    let to = free_name(storage, node_dir, &stem(after))?;
    let file = storage.create_new(&to).map_err(|error| IoError::new("create", &to, error))?;
    file.write_all(&bytes[..bytes_before_zeros(bytes)]).map_err(|error| IoError::new("write", &to, error))?;
    file.sync_data().map_err(|error| IoError::new("sync", &to, error))?;
    sync_dir(storage, &node_dir.join(LOST_DIR))
}

/// Moves a file to where what is lost is kept, and returns when it is there.
pub(super) fn move_aside(storage: &dyn Storage, node_dir: &Path, from: &Path, stem: &str) -> Result<(), JournalError> {
    let to = free_name(storage, node_dir, stem)?;
    storage.rename(from, &to).map_err(|error| IoError::new("move aside", from, error))?;
    sync_dir(storage, &node_dir.join(LOST_DIR))
}

/// The first part of the name of what lay behind a position.
fn stem(after: Position) -> String {
    format!("{:08}-{}", after.segment, after.offset)
}

/// A path in the directory of lost bytes where nothing lies yet; makes the directory.
fn free_name(storage: &dyn Storage, node_dir: &Path, stem: &str) -> Result<PathBuf, JournalError> {
    let dir = node_dir.join(LOST_DIR);
    storage.create_dir_all(&dir).map_err(|error| IoError::new("create", &dir, error))?;
    let names = storage.list(&dir).map_err(|error| IoError::new("list", &dir, error))?;
    let name = |attempt: usize| format!("{stem}.{attempt}");
    // Of one more name than there are files, one is free.
    let free = (1..=names.len() + 1).map(name).find(|name| !names.contains(name));
    sync_dir(storage, node_dir)?;
    Ok(dir.join(free.expect("there are fewer files than names")))
}

/// Returns when the names in a directory are on disk.
pub(super) fn sync_dir(storage: &dyn Storage, dir: &Path) -> Result<(), JournalError> {
    storage.sync_dir(dir).map_err(|error| IoError::new("sync", dir, error).into())
}

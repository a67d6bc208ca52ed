//! The files of snapshots. What is in the image is the worker's; here it is bytes with a name and checksums.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    Record, RecordDraft, SNAPSHOTS_DIR,
    bytes::{Block, BlockFault, BlockKind, Taker, block, put_counted, take_block},
    error::{Corruption, IoError, JournalError, ReadError, Unsupported, Why},
    segment::FORMAT_VERSION,
    storage::{Storage, replace},
};
use crate::{
    digest::Digest,
    id::{Epoch, WorkerId},
};

const SNAPSHOT: BlockKind = BlockKind { magic: *b"QNFSM\x1asn", version: FORMAT_VERSION };

/// What a snapshot's file holds when it is written.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotParts<'a> {
    /// The worker.
    pub worker: WorkerId,
    /// The round after which it was taken.
    pub round: u64,
    /// The epoch in which it was taken.
    pub epoch: Epoch,
    /// The node's identity.
    pub identity: u128,
    /// The table of kinds and message types by which it is written.
    pub catalogue: &'a [u8],
    /// Everything that the worker is.
    pub image: &'a [u8],
    /// What its driver keeps beside it: the outputs that aren't acknowledged.
    pub driver: &'a [u8],
}

/// What a snapshot's file held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The worker.
    pub worker: WorkerId,
    /// The round after which it was taken.
    pub round: u64,
    /// The epoch in which it was taken.
    pub epoch: Epoch,
    catalogue: Vec<u8>,
    bytes: Vec<u8>,
    image_start: usize,
    image_end: usize,
}

impl Snapshot {
    /// The table of kinds and message types by which it is written.
    #[must_use]
    pub fn catalogue(&self) -> &[u8] {
        &self.catalogue
    }

    /// Everything that the worker is.
    #[must_use]
    pub fn image(&self) -> &[u8] {
        &self.bytes[self.image_start..self.image_end]
    }

    /// What its driver keeps beside it.
    #[must_use]
    pub fn driver(&self) -> &[u8] {
        &self.bytes[self.image_end..]
    }
}

/// What the journal says of a snapshot: that there is one, and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The worker.
    pub worker: WorkerId,
    /// The round after which the snapshot was taken.
    pub round: u64,
    /// That round's digest.
    pub digest: u64,
    /// The digest of the worker's image.
    pub image_digest: u64,
    /// The digest of what its driver keeps beside it.
    pub driver_digest: u64,
}

impl Mark {
    /// The mark that a record is, if it is one.
    #[must_use]
    pub fn of(record: &Record<'_>) -> Option<Mark> {
        match *record {
            Record::SnapshotMark { worker, round, digest, image_digest, driver_digest } => {
                Some(Mark { worker, round, digest, image_digest, driver_digest })
            }
            _ => None,
        }
    }

    /// The record that says it.
    #[must_use]
    pub fn record(&self) -> RecordDraft<'static> {
        let Mark { worker, round, digest, image_digest, driver_digest } = *self;
        Record::SnapshotMark { worker, round, digest, image_digest, driver_digest }
    }

    /// Reads the snapshot that the mark is of, from the directory of the node with that identity.
    ///
    /// # Errors
    /// As [`load`]; and when it is another one: a later one of the same round may lack what the journal, which a crash has cut,
    /// doesn't show as done.
    pub fn load(&self, storage: &dyn Storage, node_dir: &Path, identity: u128) -> Result<Snapshot, ReadError> {
        let snapshot = load(storage, node_dir, identity, self.worker, self.round)?;
        if (Digest::of(snapshot.image()), Digest::of(snapshot.driver())) == (self.image_digest, self.driver_digest) {
            return Ok(snapshot);
        }
        let (worker, round) = (Some(self.worker), Some(self.round));
        let file = path(node_dir, self.worker, self.round);
        Err(ReadError::Corrupt(Corruption { file, offset: 0, worker, round, sound_end: None, why: Why::Unmarked }))
    }
}

fn file_name(worker: WorkerId, round: u64) -> String {
    format!("{}-{round}.qsn", worker.0)
}

/// Where a snapshot lies in the node's directory.
#[must_use]
pub fn path(node_dir: &Path, worker: WorkerId, round: u64) -> PathBuf {
    node_dir.join(SNAPSHOTS_DIR).join(file_name(worker, round))
}

/// Writes a snapshot's file, in place of one of the same worker and round, and returns when it is on disk. It counts
/// only once the journal is synced past its [`Record::SnapshotMark`].
///
/// # Errors
/// When the disk fails. The same snapshot may be stored again.
pub fn store(storage: &dyn Storage, node_dir: &Path, parts: &SnapshotParts<'_>) -> Result<(), JournalError> {
    let dir = node_dir.join(SNAPSHOTS_DIR);
    storage.create_dir_all(&dir).map_err(|error| IoError::new("create", &dir, error))?;
    storage.sync_dir(node_dir).map_err(|error| IoError::new("sync", node_dir, error))?;
    let mut body = Vec::new();
    body.extend_from_slice(&parts.identity.to_le_bytes());
    body.extend_from_slice(&parts.epoch.0.to_le_bytes());
    body.extend_from_slice(&parts.worker.0.to_le_bytes());
    body.extend_from_slice(&parts.round.to_le_bytes());
    body.extend_from_slice(&(parts.image.len() as u64).to_le_bytes());
    body.extend_from_slice(&crc32fast::hash(parts.image).to_le_bytes());
    body.extend_from_slice(&(parts.driver.len() as u64).to_le_bytes());
    body.extend_from_slice(&crc32fast::hash(parts.driver).to_le_bytes());
    put_counted(&mut body, parts.catalogue);
    let header = block(SNAPSHOT, &body).0;
    Ok(replace(storage, &dir, &file_name(parts.worker, parts.round), &[&header, parts.image, parts.driver])?)
}

/// Reads a snapshot of the node with that identity.
///
/// # Errors
/// When it isn't there, is damaged, is another one than its name says or another node's, or the system fails.
pub fn load(
    storage: &dyn Storage,
    node_dir: &Path,
    identity: u128,
    worker: WorkerId,
    round: u64,
) -> Result<Snapshot, ReadError> {
    let file = path(node_dir, worker, round);
    let corrupt = |offset: usize, why| {
        let (worker, round) = (Some(worker), Some(round));
        ReadError::Corrupt(Corruption {
            file: file.clone(),
            offset: offset as u64,
            worker,
            round,
            sound_end: None,
            why,
        })
    };
    let mut bytes = Vec::new();
    match storage.read(&file, 0, u64::MAX, &mut bytes) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(corrupt(0, Why::Missing)),
        Err(error) => return Err(IoError::new("read", file, error).into()),
    }
    let (header, lengths) = match check(&bytes) {
        Ok(checked) => checked,
        Err((offset, BlockFault::Bad(why))) => return Err(corrupt(offset, why)),
        Err((_, BlockFault::Version(version))) => {
            return Err(Unsupported { file, offset: 0, what: format!("format version {version}") }.into());
        }
    };
    if header.identity != identity {
        return Err(corrupt(0, Why::Foreign { identity: header.identity }));
    }
    if (header.worker, header.round) != (worker, round) {
        let says = format!("round {} of {}", header.round, header.worker);
        return Err(corrupt(0, Why::Misplaced { says }));
    }
    let [image_start, image_end] = lengths;
    let Header { catalogue, epoch, .. } = header;
    Ok(Snapshot { worker, round, epoch, catalogue, bytes, image_start, image_end })
}

struct Header {
    catalogue: Vec<u8>,
    identity: u128,
    epoch: Epoch,
    worker: WorkerId,
    round: u64,
}

/// Checks a whole file. Gives its header and where the image begins and ends; or what is wrong, and where.
fn check(bytes: &[u8]) -> Result<(Header, [usize; 2]), (usize, BlockFault)> {
    let Block { body, rest, .. } = take_block(SNAPSHOT, bytes).map_err(|fault| (0, fault))?;
    let image_start = bytes.len() - rest.len();
    let mut taker = Taker(body);
    let mut fields = || -> Result<_, Why> {
        let identity = taker.u128()?;
        let (epoch, worker, round) = (Epoch(taker.u32()?), WorkerId(taker.u32()?), taker.u64()?);
        let (image, driver) = ((taker.u64()?, taker.u32()?), (taker.u64()?, taker.u32()?));
        let header = Header { catalogue: taker.counted()?.to_vec(), identity, epoch, worker, round };
        taker.end()?;
        Ok((header, image, driver))
    };
    let (header, (image_bytes, image_checksum), (driver_bytes, driver_checksum)) =
        fields().map_err(|why| (0, why.into()))?;
    let split = usize::try_from(image_bytes).ok().and_then(|image_bytes| rest.split_at_checked(image_bytes));
    let Some((image, driver)) = split else {
        return Err((bytes.len(), Why::CutShort.into()));
    };
    let image_end = image_start + image.len();
    match (driver.len() as u64).cmp(&driver_bytes) {
        std::cmp::Ordering::Less => return Err((bytes.len(), Why::CutShort.into())),
        std::cmp::Ordering::Greater => return Err((image_end, Why::Malformed("bytes are left over").into())),
        std::cmp::Ordering::Equal => {}
    }
    for (start, part, checksum) in [(image_start, image, image_checksum), (image_end, driver, driver_checksum)] {
        if crc32fast::hash(part) != checksum {
            return Err((start, Why::BodyChecksum.into()));
        }
    }
    Ok((header, [image_start, image_end]))
}

/// Reads arbitrary bytes as a snapshot's file; what a fuzzer calls.
#[doc(hidden)]
#[must_use]
pub fn read_snapshot_bytes(bytes: &[u8]) -> bool {
    check(bytes).is_ok()
}

/// The snapshots that there are, by worker and round. Their files are not looked into.
///
/// # Errors
/// When the system fails. A directory that isn't there holds none.
pub fn list(storage: &dyn Storage, node_dir: &Path) -> Result<Vec<(WorkerId, u64)>, IoError> {
    let dir = node_dir.join(SNAPSHOTS_DIR);
    let names = match storage.list(&dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(IoError::new("list", dir, error)),
    };
    let mut snapshots: Vec<_> = names.iter().filter_map(|name| parse_name(name)).collect();
    snapshots.sort_unstable();
    Ok(snapshots)
}

fn parse_name(name: &str) -> Option<(WorkerId, u64)> {
    let (worker, round) = name.strip_suffix(".qsn")?.split_once('-')?;
    let (worker, round) = (WorkerId(worker.parse().ok()?), round.parse().ok()?);
    (file_name(worker, round) == name).then_some((worker, round))
}

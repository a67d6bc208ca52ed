//! The files of snapshots. What is in the image is the worker's; here it is bytes with a name and checksums.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Record, RecordDraft, SNAPSHOTS_DIR,
    bytes::{BLOCK_PREFIX_BYTES, Block, BlockFault, BlockKind, Taker, block, block_bytes, put_counted, take_block},
    error::{Corruption, IoError, JournalError, ReadError, Unsupported, Why},
    replacement::{Replacement, UNFINISHED},
    segment::FORMAT_VERSION,
    storage::{Storage, remove_if_there},
};
use crate::{
    digest::{Digest, StreamDigest},
    id::{Epoch, WorkerId},
};

const SNAPSHOT: BlockKind = BlockKind { magic: *b"QNFSM\x1asn", version: FORMAT_VERSION };

/// What a snapshot is of, and what it takes to read it.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotHeader<'a> {
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
        &self.bytes[self.image_end..self.bytes.len() - END_BYTES]
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
    /// The [digest](StreamDigest) of the worker's image.
    pub image_digest: u64,
    /// The digest of what its driver keeps beside it.
    pub driver_digest: u64,
}

impl Mark {
    /// The mark that a record is, if it is one.
    #[must_use]
    pub fn of<B>(record: &Record<'_, B>) -> Option<Mark> {
        match *record {
            Record::SnapshotMark { worker, round, digest, image_digest, driver_digest } => {
                Some(Mark { worker, round, digest, image_digest, driver_digest })
            }
            _ => None,
        }
    }

    /// True if the snapshot can be used though the journal has lost where it was begun. With that it may have lost what the worker
    /// did until the mark; but not if `reached`, the last of its rounds that stands before the mark, is the snapshot's.
    #[must_use]
    pub(crate) fn needs_no_beginning(&self, reached: Option<u64>) -> bool {
        reached == Some(self.round)
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
        if (StreamDigest::of(snapshot.image()), Digest::of(snapshot.driver()))
            == (self.image_digest, self.driver_digest)
        {
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

/// A snapshot's file that is being written. It has its name, in place of one of the same worker and round, once it is whole and on
/// disk; until then it has another, as what a crash leaves of it.
#[derive(Debug)]
pub struct SnapshotFile {
    file: Replacement<Arc<dyn Storage>>,
    checksum: crc32fast::Hasher,
    image_bytes: u64,
}

/// So much of an image is written before it is brought to disk. More at once would hold up the journal, which is written and synced
/// meanwhile.
const SYNC_BYTES: u64 = 8 << 20;

/// What a file ends in: lengths and checksums of the image and of what stands behind it, and a checksum of these.
const END_BYTES: usize = 2 * (8 + 4) + 4;

impl SnapshotFile {
    /// Makes the file, for an image that follows in pieces.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn create(
        storage: Arc<dyn Storage>,
        node_dir: &Path,
        about: &SnapshotHeader<'_>,
    ) -> Result<SnapshotFile, JournalError> {
        let dir = node_dir.join(SNAPSHOTS_DIR);
        storage.create_dir_all(&dir).map_err(|error| IoError::new("create", &dir, error))?;
        storage.sync_dir(node_dir).map_err(|error| IoError::new("sync", node_dir, error))?;
        let mut header = Vec::new();
        header.extend_from_slice(&about.identity.to_le_bytes());
        header.extend_from_slice(&about.epoch.0.to_le_bytes());
        header.extend_from_slice(&about.worker.0.to_le_bytes());
        header.extend_from_slice(&about.round.to_le_bytes());
        put_counted(&mut header, about.catalogue);
        // Of the same worker and round another epoch may write one, if its node was let go of by a thread that it still has.
        let name = file_name(about.worker, about.round);
        let file = Replacement::create(storage, &dir, &name, &format!("{name}.{}", about.epoch.0))?;
        file.write(&block(SNAPSHOT, &header).0)?;
        Ok(SnapshotFile { file, checksum: crc32fast::Hasher::new(), image_bytes: 0 })
    }

    /// Writes the next piece of the image.
    ///
    /// # Errors
    /// When the disk fails. The file is of no use then.
    pub fn image(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        self.checksum.update(bytes);
        let synced = self.image_bytes / SYNC_BYTES;
        self.image_bytes += bytes.len() as u64;
        self.file.write(bytes)?;
        if self.image_bytes / SYNC_BYTES > synced {
            self.file.sync()?;
        }
        Ok(())
    }

    /// Writes what the worker's driver keeps beside the image, which is whole, and returns when all of it is on disk under its name.
    /// It counts only once the journal is synced past its [`Record::SnapshotMark`].
    ///
    /// # Errors
    /// When the disk fails. The same snapshot may be stored again.
    pub fn finish(self, driver: &[u8]) -> Result<(), JournalError> {
        self.finish_in(driver, || Some(()))
    }

    /// As [`finish`](SnapshotFile::finish), with what `turn` gives held while the file gets its name; it is given up if that is
    /// none.
    pub(crate) fn finish_in<T>(self, driver: &[u8], turn: impl FnOnce() -> Option<T>) -> Result<(), JournalError> {
        let mut end = Vec::with_capacity(driver.len() + END_BYTES);
        end.extend_from_slice(driver);
        let image_checksum = self.checksum.finalize();
        for (bytes, checksum) in [(self.image_bytes, image_checksum), (driver.len() as u64, crc32fast::hash(driver))] {
            end.extend_from_slice(&bytes.to_le_bytes());
            end.extend_from_slice(&checksum.to_le_bytes());
        }
        end.extend_from_slice(&crc32fast::hash(&end[driver.len()..]).to_le_bytes());
        self.file.write(&end)?;
        Ok(self.file.put_in_place_in(turn)?)
    }
}

/// Writes a snapshot's file as a whole.
///
/// # Errors
/// As [`SnapshotFile`].
pub fn store(
    storage: Arc<dyn Storage>,
    node_dir: &Path,
    about: &SnapshotHeader<'_>,
    image: &[u8],
    driver: &[u8],
) -> Result<(), JournalError> {
    let mut file = SnapshotFile::create(storage, node_dir, about)?;
    file.image(image)?;
    file.finish(driver)
}

/// Removes what crashes left of snapshots that were being written. Only whoever holds the directory may.
///
/// # Errors
/// When the disk fails. A directory that isn't there holds none.
pub(crate) fn remove_unfinished(storage: &dyn Storage, node_dir: &Path) -> Result<(), IoError> {
    let dir = node_dir.join(SNAPSHOTS_DIR);
    let names = match storage.list(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(|error| IoError::new("list", &dir, error))?,
    };
    let is_one = |name: &&String| {
        let name_and_epoch = name.strip_suffix(UNFINISHED).and_then(|name| name.rsplit_once('.'));
        name_and_epoch.is_some_and(|(name, epoch)| named(name).is_some() && epoch.parse::<u32>().is_ok())
    };
    names.iter().filter(is_one).try_for_each(|name| remove_if_there(storage, &dir.join(name)))
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
    let corrupt = |offset: u64, why| {
        let (worker, round) = (Some(worker), Some(round));
        ReadError::Corrupt(Corruption { file: file.clone(), offset, worker, round, sound_end: None, why })
    };
    let mut bytes = Vec::new();
    let read = match read_as_long_as_it_says(storage, &file, &mut bytes) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(corrupt(0, Why::Missing)),
        Err(error) => return Err(IoError::new("read", file, error).into()),
    };
    let (header, lengths) = match read.and_then(|()| check(&bytes)) {
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
fn check(bytes: &[u8]) -> Result<(Header, [usize; 2]), Fault> {
    let Block { body, rest, .. } = take_block(SNAPSHOT, bytes).map_err(|fault| (0, fault))?;
    let image_start = bytes.len() - rest.len();
    let header = take_header(body).map_err(|why| (0, why.into()))?;
    let Some((parts, end)) = rest.split_last_chunk::<END_BYTES>() else {
        return Err((bytes.len() as u64, Why::CutShort.into()));
    };
    let [(image_bytes, image_checksum), (driver_bytes, driver_checksum)] =
        take_end(end).map_err(|why| ((bytes.len() - END_BYTES) as u64, why.into()))?;
    let split = usize::try_from(image_bytes).ok().and_then(|image_bytes| parts.split_at_checked(image_bytes));
    let Some((image, driver)) = split.filter(|(_, driver)| driver.len() as u64 == driver_bytes) else {
        return Err(((bytes.len() - END_BYTES) as u64, OTHER_LENGTH.into()));
    };
    let image_end = image_start + image.len();
    for (start, part, checksum) in [(image_start, image, image_checksum), (image_end, driver, driver_checksum)] {
        if crc32fast::hash(part) != checksum {
            return Err((start as u64, Why::BodyChecksum.into()));
        }
    }
    Ok((header, [image_start, image_end]))
}

/// Where in a snapshot's file something is wrong, and what.
type Fault = (u64, BlockFault);

/// Reads a snapshot's file, if it is as long as its front and its end say; if it isn't, nothing else of it is read. The inner error says what is wrong.
fn read_as_long_as_it_says(storage: &dyn Storage, file: &Path, bytes: &mut Vec<u8>) -> io::Result<Result<(), Fault>> {
    // A file that is written anew meanwhile has another name until it is whole.
    let file_bytes = storage.file_bytes(file)?;
    storage.read(file, 0, BLOCK_PREFIX_BYTES as u64, bytes)?;
    let front_bytes = block_bytes(bytes).unwrap_or(BLOCK_PREFIX_BYTES as u64);
    storage.read(file, 0, front_bytes, bytes)?;
    if let Err(fault) = take_block(SNAPSHOT, bytes) {
        return Ok(Err((0, fault)));
    }
    let Some(end_at) = file_bytes.checked_sub(END_BYTES as u64).filter(|end_at| *end_at >= front_bytes) else {
        return Ok(Err((file_bytes, Why::CutShort.into())));
    };
    storage.read(file, end_at, END_BYTES as u64, bytes)?;
    let said = bytes.first_chunk().ok_or(Why::CutShort).and_then(take_end);
    match said.map(|[(image_bytes, _), (driver_bytes, _)]| image_bytes.checked_add(driver_bytes)) {
        Ok(said) if said == Some(end_at - front_bytes) => storage.read(file, 0, file_bytes, bytes).map(Ok),
        Ok(_) => Ok(Err((end_at, OTHER_LENGTH.into()))),
        Err(why) => Ok(Err((end_at, why.into()))),
    }
}

const OTHER_LENGTH: Why = Why::Malformed("what it ends in is of an image and outputs of another length");

fn take_header(body: &[u8]) -> Result<Header, Why> {
    let mut taker = Taker(body);
    let identity = taker.u128()?;
    let (epoch, worker, round) = (Epoch(taker.u32()?), WorkerId(taker.u32()?), taker.u64()?);
    let header = Header { catalogue: taker.counted()?.to_vec(), identity, epoch, worker, round };
    taker.end()?;
    Ok(header)
}

/// The lengths and checksums of the image and of what stands behind it.
fn take_end(end: &[u8; END_BYTES]) -> Result<[(u64, u32); 2], Why> {
    let mut taker = Taker(end);
    let parts = [(taker.u64()?, taker.u32()?), (taker.u64()?, taker.u32()?)];
    match crc32fast::hash(&end[..END_BYTES - 4]) == taker.u32()? {
        true => Ok(parts),
        // Where a file is cut short, something else stands at its end.
        false => Err(Why::BodyChecksum),
    }
}

/// Mends the checksums of a snapshot's file as far as its lengths go; what a fuzzer does.
pub(super) fn mend_end(bytes: &mut [u8], parts_at: usize) {
    let Some((parts, end)) = bytes.get_mut(parts_at..).and_then(|rest| rest.split_last_chunk_mut::<END_BYTES>()) else {
        return;
    };
    let length = |field: &[u8]| field.first_chunk().copied().map_or(0, u64::from_le_bytes);
    let image_bytes = usize::try_from(length(&end[..8])).unwrap_or(usize::MAX);
    let Some((image, driver)) = parts.split_at_checked(image_bytes) else { return };
    end[8..12].copy_from_slice(&crc32fast::hash(image).to_le_bytes());
    end[20..24].copy_from_slice(&crc32fast::hash(driver).to_le_bytes());
    let checksum = crc32fast::hash(&end[..END_BYTES - 4]);
    end[END_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
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
    let mut snapshots: Vec<_> = names.iter().filter_map(|name| named(name)).collect();
    snapshots.sort_unstable();
    Ok(snapshots)
}

/// The worker and the round of a snapshot by the name of its file, if it is one.
#[must_use]
pub fn named(name: &str) -> Option<(WorkerId, u64)> {
    let (worker, round) = name.strip_suffix(".qsn")?.split_once('-')?;
    let (worker, round) = (WorkerId(worker.parse().ok()?), round.parse().ok()?);
    (file_name(worker, round) == name).then_some((worker, round))
}

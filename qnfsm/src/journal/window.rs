//! What a reader has in memory of the segment that it reads: a part of its file, which moves on with the reader.
//!
//! A part is small enough to stay near the processor while it is looked through. One from which a record can't be taken, though the
//! file goes on, is read again from that record on; if that isn't enough, up to the file's end. So what is said to be wrong with a
//! record was seen with all that stands behind it, and a record may be as long as it likes. Of zeros at a file's end, which nobody wrote over and
//! which may be most of it, only so many are kept as could belong to a record.

use std::path::Path;

use super::{
    bytes::{BLOCK_BODY_BYTES_MAX, is_zeros},
    error::IoError,
    record::RECORD_BODY_BYTES_MAX,
    segment::SEGMENT_FILE_BYTES_MAX,
    storage::Storage,
};

/// As much as is read at once, in bytes. So little in tests that few records lie in one part.
const PART_BYTES: u64 = if cfg!(test) { 200 } else { 2 << 20 };

/// As much is read at once of a file's rest, in bytes: more than any record or header takes, so that one which ends in zeros is whole.
const REST_PART_BYTES: u64 = 65 << 20;

const _: () = assert!(
    REST_PART_BYTES > BLOCK_BODY_BYTES_MAX as u64 + 4096 && REST_PART_BYTES > RECORD_BODY_BYTES_MAX as u64 + 4096,
    "what begins with the last byte that somebody wrote ends in the same part or the next one"
);

/// Reads what a segment's file has from a place on, part by part. Of zeros at its end one part is given, and nothing, if there is nothing else: so
/// a file takes no more memory than what was written to it and two parts.
pub(super) fn read_rest(storage: &dyn Storage, path: &Path, place: u64, into: &mut Vec<u8>) -> Result<(), IoError> {
    let read = |place: u64, into: &mut Vec<u8>| {
        storage.read(path, place, REST_PART_BYTES, into).map_err(|error| IoError::new("read", path, error))
    };
    read(place, into)?;
    if (into.len() as u64) < REST_PART_BYTES {
        return Ok(());
    }
    let (mut part, mut zeros, mut is_written) = (Vec::new(), 0, !is_zeros(into));
    let mut next = place + REST_PART_BYTES;
    // The first part stays where it is; of those behind it, zeros are counted, and put there when something follows.
    if !is_written {
        zeros = into.len();
        *into = Vec::new();
    }
    while next < SEGMENT_FILE_BYTES_MAX.saturating_add(place) {
        read(next, &mut part)?;
        next += REST_PART_BYTES;
        if is_zeros(&part) {
            zeros += part.len();
        } else {
            into.resize(into.len() + zeros, 0);
            into.extend_from_slice(&part);
            (zeros, is_written) = (0, true);
        }
        if (part.len() as u64) < REST_PART_BYTES {
            break;
        }
    }
    if is_written {
        let kept = zeros.min(usize::try_from(REST_PART_BYTES).unwrap_or(usize::MAX));
        into.resize(into.len() + kept, 0);
    }
    Ok(())
}

/// A part of a segment's file.
#[derive(Debug)]
pub(super) struct Window {
    /// The place in the file where the part begins.
    begins: u64,
    bytes: Vec<u8>,
    /// Nothing of the file lay behind it when it was read.
    is_last: bool,
    /// How much is read where less than all will do.
    part_bytes: u64,
}

impl Window {
    /// Of nothing yet; to be moved over a file part by part.
    pub(super) fn new() -> Window {
        Window { begins: 0, bytes: Vec::new(), is_last: false, part_bytes: PART_BYTES }
    }

    /// Of nothing yet; to be filled with files as they are at one moment, for they may be gone at the next.
    pub(super) fn of_whole_files() -> Window {
        Window { part_bytes: SEGMENT_FILE_BYTES_MAX, ..Window::new() }
    }

    /// What is there from a place of the file on; nothing where that isn't in the part.
    pub(super) fn from(&self, place: u64) -> &[u8] {
        let at = place.checked_sub(self.begins).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.bytes.get(at..)).unwrap_or_default()
    }

    /// True if nothing lies behind the part.
    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    /// The part is one in which nothing is, and behind which nothing lies.
    pub(super) fn clear(&mut self) {
        self.put(0, Vec::new());
    }

    /// The part is what someone else read, up to the file's end.
    pub(super) fn put(&mut self, begins: u64, bytes: Vec<u8>) {
        (self.begins, self.bytes, self.is_last) = (begins, bytes, true);
    }

    /// Has what comes next read from that place on. Where it is in the part, that stays.
    pub(super) fn go_to(&mut self, place: u64) {
        let is_there = place.checked_sub(self.begins).is_some_and(|at| at <= self.bytes.len() as u64);
        if !is_there {
            self.bytes.clear();
            (self.begins, self.is_last) = (place, false);
        }
    }

    /// Reads a part from the file's front.
    pub(super) fn open(&mut self, storage: &dyn Storage, path: &Path) -> Result<(), IoError> {
        self.read(storage, path, 0, self.part_bytes)
    }

    /// Reads more than there is from that place on.
    pub(super) fn read_on(&mut self, storage: &dyn Storage, path: &Path, place: u64) -> Result<(), IoError> {
        let was_read_from_here = self.begins == place && !self.bytes.is_empty();
        let bytes_max = if was_read_from_here { SEGMENT_FILE_BYTES_MAX } else { self.part_bytes };
        self.read(storage, path, place, bytes_max)
    }

    fn read(&mut self, storage: &dyn Storage, path: &Path, place: u64, bytes_max: u64) -> Result<(), IoError> {
        self.begins = place;
        if bytes_max >= SEGMENT_FILE_BYTES_MAX {
            self.is_last = true;
            return read_rest(storage, path, place, &mut self.bytes);
        }
        storage.read(path, place, bytes_max, &mut self.bytes).map_err(|error| IoError::new("read", path, error))?;
        self.is_last = (self.bytes.len() as u64) < bytes_max;
        Ok(())
    }
}

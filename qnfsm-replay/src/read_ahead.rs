//! The machine's files, with a journal's next segment read by another thread while one is looked through: whoever reads a journal
//! from front to back then waits for the disk or for the processor, and not for one after the other.
//!
//! It gives the bytes that the files have, and changes nothing. It holds two segments beside the one that its reader has, which are
//! read at the same time, because that is what disks are fast at.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread::JoinHandle,
};

use qnfsm::journal::{File, Held, RealFiles, Storage, holdings, segment_path};

/// A segment that is being read.
#[derive(Debug)]
struct Ahead {
    path: PathBuf,
    bytes_max: u64,
    reading: JoinHandle<io::Result<Vec<u8>>>,
}

/// The files of the machine, with those of one journal read ahead.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    /// Behind which segment's file which other comes.
    next: BTreeMap<PathBuf, PathBuf>,
    /// In their order.
    ahead: Mutex<VecDeque<Ahead>>,
    /// A buffer that nobody uses.
    spare: Mutex<Vec<u8>>,
}

/// How many segments are read ahead.
const AHEAD_MAX: usize = 2;

impl ReadAhead {
    /// Of the node's directory as it is now. Where it can't be listed, nothing is read ahead; why, its reader says.
    pub(crate) fn of(node_dir: &Path) -> ReadAhead {
        let segments = holdings::segments(&RealFiles, node_dir).unwrap_or_default();
        let path = |number: &u64| segment_path(node_dir, *number);
        let next = segments.keys().map(path).zip(segments.keys().skip(1).map(path)).collect();
        ReadAhead { next, ahead: Mutex::default(), spare: Mutex::default() }
    }

    /// The bytes that were read ahead, if it is those.
    fn taken(&self, path: &Path, bytes_max: u64) -> Option<Vec<u8>> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if ahead.front().is_none_or(|first| first.path != path || first.bytes_max != bytes_max) {
            ahead.clear();
        }
        // What went wrong there will again, and is told then.
        ahead.pop_front()?.reading.join().ok()?.ok()
    }

    /// Has those read that come behind that one.
    fn go_ahead_of(&self, path: &Path, bytes_max: u64) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        while ahead.len() < AHEAD_MAX {
            let last = ahead.back().map_or(path, |last| &last.path);
            let Some(begun) = self.next.get(last).and_then(|next| self.begin(next.clone(), bytes_max)) else { return };
            ahead.push_back(begun);
        }
    }

    /// Nothing without another thread: then it goes one after the other.
    fn begin(&self, path: PathBuf, bytes_max: u64) -> Option<Ahead> {
        let mut buffer = std::mem::take(&mut *self.spare.lock().unwrap_or_else(PoisonError::into_inner));
        let from = path.clone();
        let reading = move || RealFiles.read(&from, 0, bytes_max, &mut buffer).map(|()| buffer);
        let reading = std::thread::Builder::new().name("read ahead".to_owned()).spawn(reading).ok()?;
        Some(Ahead { path, bytes_max, reading })
    }
}

impl Storage for ReadAhead {
    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()> {
        // Parts of a segment, and headers alone, are for who doesn't read it through.
        if offset != 0 || bytes_max < WHOLE_BYTES_MIN {
            return RealFiles.read(path, offset, bytes_max, into);
        }
        let taken = self.taken(path, bytes_max);
        let is_there = taken.is_some();
        if let Some(bytes) = taken {
            let before = std::mem::replace(into, bytes);
            *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = before;
        }
        self.go_ahead_of(path, bytes_max);
        if is_there { Ok(()) } else { RealFiles.read(path, offset, bytes_max, into) }
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealFiles.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFiles.list(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        RealFiles.create_new(path)
    }

    fn open(&self, path: &Path, offset: u64) -> io::Result<Box<dyn File>> {
        RealFiles.open(path, offset)
    }

    fn file_bytes(&self, path: &Path) -> io::Result<u64> {
        RealFiles.file_bytes(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealFiles.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        RealFiles.lock(path)
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        RealFiles.lock_shared(path)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        RealFiles.is_locked(path)
    }
}

/// Who asks for less reads a header.
const WHOLE_BYTES_MIN: u64 = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_is_what_the_files_have() {
        let dir = tempfile::tempdir().expect("there is room for a few bytes");
        let path = |number| segment_path(dir.path(), number);
        std::fs::create_dir_all(dir.path().join("journal")).expect("it is empty");
        let write = |number, text: &str| std::fs::write(path(number), text).expect("there is room");
        (1..=3).for_each(|number| write(number, &format!("segment {number}")));
        let storage = ReadAhead::of(dir.path());
        let read = |number, offset, bytes_max| {
            let mut bytes = b"what was there before".to_vec();
            storage.read(&path(number), offset, bytes_max, &mut bytes).map(|()| bytes)
        };
        // In order, a part of one that was read ahead, one again, and one that is gone by then.
        for (number, offset, bytes_max, there) in [
            (1, 0, u64::MAX, "segment 1"),
            (2, 0, u64::MAX, "segment 2"),
            (3, 4, u64::MAX, "ent 3"),
            (1, 0, 3, "seg"),
            (1, 0, u64::MAX, "segment 1"),
            (2, 0, 3, "seg"),
        ] {
            assert_eq!(read(number, offset, bytes_max).expect("it is there"), there.as_bytes(), "{number}");
        }
        read(1, 0, u64::MAX).expect("it is there");
        std::fs::remove_file(path(2)).expect("it is there");
        let _ = storage.taken(&path(3), u64::MAX);
        assert!(read(2, 0, u64::MAX).is_err());
    }
}

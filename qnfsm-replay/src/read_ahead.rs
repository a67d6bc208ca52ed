//! The machine's files, with a journal's segments fetched from the disk by another thread before their reader comes to them: whoever
//! looks through a journal from front to back then waits for the disk or for the processor, and not for one after the other.
//!
//! What is fetched is thrown away. It is the operating system that keeps it for the reader, who reads the files themselves; so nothing
//! that goes wrong here changes what is read, nor does it take memory. Nothing is changed in the files.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, OnceLock, PoisonError},
    thread::JoinHandle,
};

use qnfsm::journal::{File, Held, RealFiles, Storage, holdings, segment_path};

/// How far the thread goes before the reader, in bytes: enough to keep a disk busy, and little beside what a system can keep.
const AHEAD_BYTES_MAX: u64 = 32 << 20;
/// As much is fetched at once.
const PIECE_BYTES: usize = 1 << 20;
/// Who asks for less reads a header.
const PART_BYTES_MIN: u64 = 1 << 20;

/// The files of the machine, with those of one journal read ahead.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    reading: Arc<Reading>,
    /// From the first part that was asked for on. None if there can't be a thread: then it goes one after the other.
    fetching: OnceLock<Option<JoinHandle<()>>>,
}

/// A journal that is read.
#[derive(Debug)]
struct Reading {
    /// The segments' files, and where in the journal each begins and ends: as many bytes are in those before it, and up to it.
    segments: Vec<(PathBuf, Range<u64>)>,
    /// The number of each among them.
    numbers: BTreeMap<PathBuf, usize>,
    reader: Mutex<At>,
    moved: Condvar,
}

/// Where a reader is, as far as it was told.
#[derive(Debug, Default)]
struct At {
    /// How many bytes of the journal lie before it.
    place: u64,
    is_gone: bool,
}

impl ReadAhead {
    /// Of the node's directory as it is now. Where it can't be listed, nothing is read ahead; why, its reader says.
    pub(crate) fn of(node_dir: &Path) -> ReadAhead {
        let (mut segments, mut before) = (Vec::new(), 0);
        for (number, bytes) in holdings::segments(&RealFiles, node_dir).unwrap_or_default() {
            segments.push((segment_path(node_dir, number), before..before + bytes));
            before += bytes;
        }
        let numbers = segments.iter().enumerate().map(|(number, (path, _))| (path.clone(), number)).collect();
        let reading = Reading { segments, numbers, reader: Mutex::default(), moved: Condvar::new() };
        ReadAhead { reading: Arc::new(reading), fetching: OnceLock::new() }
    }

    /// The reader asks for a part that ends there, or with the file.
    fn go_ahead_of(&self, path: &Path, end: u64) {
        let Some(&number) = self.reading.numbers.get(path) else { return };
        let segment = &self.reading.segments[number].1;
        self.reading.tell(|at| at.place = segment.start.saturating_add(end).min(segment.end));
        self.fetching.get_or_init(|| {
            let reading = self.reading.clone();
            let fetch = move || reading.fetch(number, end);
            std::thread::Builder::new().name("read ahead".to_owned()).spawn(fetch).ok()
        });
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.reading.tell(|at| at.is_gone = true);
        // It had nothing to say.
        let _ = self.fetching.take().flatten().map(JoinHandle::join);
    }
}

impl Reading {
    fn tell(&self, what: impl FnOnce(&mut At)) {
        what(&mut self.reader.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_one();
    }

    /// Fetches from a place in a segment on, as far as it may, until the reader is gone. What goes wrong will again, and is told then.
    fn fetch(&self, number: usize, from: u64) {
        let mut piece = vec![0; PIECE_BYTES];
        let mut from = Some(from);
        for (path, bytes) in &self.segments[number..] {
            let mut place = from.take().unwrap_or(0);
            let Ok(mut file) = fs::File::open(path) else { return };
            if file.seek(SeekFrom::Start(place)).is_err() {
                return;
            }
            loop {
                if !self.may_fetch(bytes.start.saturating_add(place)) {
                    return;
                }
                match file.read(&mut piece) {
                    Ok(0) => break,
                    Ok(bytes) => place += bytes as u64,
                    Err(_) => return,
                }
            }
        }
    }

    /// Waits until the reader is near enough to that place. False if it is gone.
    fn may_fetch(&self, place: u64) -> bool {
        let is_far = |at: &mut At| !at.is_gone && place > at.place + AHEAD_BYTES_MAX;
        let at = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        !self.moved.wait_while(at, is_far).unwrap_or_else(PoisonError::into_inner).is_gone
    }
}

impl Storage for ReadAhead {
    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()> {
        if bytes_max >= PART_BYTES_MIN {
            self.go_ahead_of(path, offset.saturating_add(bytes_max));
        }
        RealFiles.read(path, offset, bytes_max, into)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal of segments of that many bytes.
    fn segments(bytes: &[usize]) -> (tempfile::TempDir, ReadAhead) {
        let dir = tempfile::tempdir().expect("there is room for a few bytes");
        fs::create_dir_all(dir.path().join("journal")).expect("it is empty");
        for (number, bytes) in (1_u8..).zip(bytes) {
            fs::write(segment_path(dir.path(), number.into()), vec![number; *bytes]).expect("there is room");
        }
        let storage = ReadAhead::of(dir.path());
        (dir, storage)
    }

    #[test]
    fn what_is_read_is_what_the_files_have() {
        let (dir, storage) = segments(&[10, 20, 30]);
        let read = |number: u8, offset, bytes_max| {
            let mut bytes = b"what was there before".to_vec();
            storage.read(&segment_path(dir.path(), u64::from(number)), offset, bytes_max, &mut bytes).map(|()| bytes)
        };
        // In order, a part, one again, and one that is gone by then.
        for (number, offset, bytes_max, there) in
            [(1_u8, 0, u64::MAX, 10), (2, 0, u64::MAX, 20), (3, 4, u64::MAX, 26), (1, 0, 3, 3), (1, 0, u64::MAX, 10)]
        {
            assert_eq!(read(number, offset, bytes_max).expect("it is there"), vec![number; there], "{number}");
        }
        fs::remove_file(segment_path(dir.path(), 2)).expect("it is there");
        assert!(read(2, 0, u64::MAX).is_err());
    }

    #[test]
    fn the_thread_stays_near_its_reader_and_ends_with_it() {
        let (dir, storage) = segments(&[2 << 20]);
        storage.read(&segment_path(dir.path(), 1), 0, PART_BYTES_MIN, &mut Vec::new()).expect("it is there");
        let reading = storage.reading.clone();
        assert!(reading.may_fetch(PART_BYTES_MIN + AHEAD_BYTES_MAX), "it may go so far");
        let too_far = PART_BYTES_MIN + AHEAD_BYTES_MAX + 1;
        let waiting = std::thread::spawn(move || (reading.may_fetch(too_far), reading.may_fetch(2 * too_far)));
        storage.read(&segment_path(dir.path(), 1), 1, PART_BYTES_MIN, &mut Vec::new()).expect("it is there");
        drop(storage);
        // Whether or not the reader was seen to move on, it was seen to be gone.
        assert!(!waiting.join().expect("it doesn't panic").1);
    }
}

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

/// How far the thread goes before the reader, in bytes: enough to keep a disk busy, and little beside what a system can keep. One that
/// leaps further isn't waited for.
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
    both: Mutex<Both>,
    moved: Condvar,
}

/// Where reader and thread are, by how many bytes of the journal lie before them.
#[derive(Debug, Default)]
struct Both {
    reader: u64,
    reader_is_gone: bool,
    thread: u64,
    thread_is_gone: bool,
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
        let reading = Reading { segments, numbers, both: Mutex::default(), moved: Condvar::new() };
        ReadAhead { reading: Arc::new(reading), fetching: OnceLock::new() }
    }

    /// The reader asks for a part that begins there and has so many bytes at most: has it fetched, and what comes behind.
    fn fetch_before(&self, path: &Path, offset: u64, bytes_max: u64) {
        let Some(&number) = self.reading.numbers.get(path) else { return };
        let segment = &self.reading.segments[number].1;
        let begin = segment.start.saturating_add(offset).min(segment.end);
        let end = begin.saturating_add(bytes_max).min(segment.end);
        self.reading.tell(|both| both.reader = end);
        let fetching = self.fetching.get_or_init(|| {
            self.reading.tell(|both| both.thread = begin);
            let reading = self.reading.clone();
            let fetch = move || reading.fetch(number, offset);
            std::thread::Builder::new().name("read ahead".to_owned()).spawn(fetch).ok()
        });
        if fetching.is_some() {
            self.reading.wait_for_thread(end);
        }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.reading.tell(|both| both.reader_is_gone = true);
        // It had nothing to say.
        let _ = self.fetching.take().flatten().map(JoinHandle::join);
    }
}

impl Reading {
    fn tell(&self, what: impl FnOnce(&mut Both)) {
        what(&mut self.both.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
    }

    /// Fetches from a place in a segment on, as far as it may, until the reader is gone.
    fn fetch(&self, number: usize, from: u64) {
        self.fetch_all(number, from);
        self.tell(|both| both.thread_is_gone = true);
    }

    /// What goes wrong here will go wrong for the reader too, who says it.
    fn fetch_all(&self, number: usize, from: u64) {
        let mut piece = vec![0; PIECE_BYTES];
        let mut from = Some(from);
        for (path, bytes) in &self.segments[number..] {
            let mut place = from.take().unwrap_or(0);
            // What is no file may keep whoever opens it waiting for ever.
            if !path.is_file() {
                return;
            }
            let Ok(mut file) = fs::File::open(path) else { return };
            if file.seek(SeekFrom::Start(place)).is_err() {
                return;
            }
            loop {
                // A file may have grown since.
                if !self.may_fetch(bytes.start.saturating_add(place).min(bytes.end)) {
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

    /// Says that the thread has come to that place, and waits until the reader is near enough to it. False if it is gone.
    fn may_fetch(&self, place: u64) -> bool {
        self.tell(|both| both.thread = place);
        let is_far = |both: &mut Both| !both.reader_is_gone && place > both.reader + AHEAD_BYTES_MAX;
        let both = self.both.lock().unwrap_or_else(PoisonError::into_inner);
        !self.moved.wait_while(both, is_far).unwrap_or_else(PoisonError::into_inner).reader_is_gone
    }

    /// Waits until the thread has come to that place, so that the disk is asked by one alone, from front to back.
    fn wait_for_thread(&self, place: u64) {
        let comes =
            |both: &mut Both| !both.thread_is_gone && both.thread < place && place <= both.thread + AHEAD_BYTES_MAX;
        let both = self.both.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.moved.wait_while(both, comes).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Storage for ReadAhead {
    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()> {
        if bytes_max >= PART_BYTES_MIN {
            self.fetch_before(path, offset, bytes_max);
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
    fn a_reader_waits_for_the_thread_until_it_comes_or_ends_and_not_where_it_leaps() {
        let (_dir, storage) = segments(&[0]);
        let reading = &storage.reading;
        reading.wait_for_thread(AHEAD_BYTES_MAX + 1);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| reading.wait_for_thread(20));
            reading.tell(|both| both.thread = 19);
            reading.tell(|both| both.thread = 20);
            waiting.join().expect("it doesn't panic");
            let waiting = scope.spawn(|| reading.wait_for_thread(21));
            reading.tell(|both| both.thread_is_gone = true);
            waiting.join().expect("it doesn't panic");
        });
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

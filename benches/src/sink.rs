//! Files in memory: what a journal is written to in the rows with `recording` = `memory`.
//!
//! All files share one ring of 64 MiB, so what is kept is the last 64 MiB that were written, of whatever files. Each write is
//! a real copy; nothing goes to the operating system, and syncs do nothing. Reading gives back what is still there, which is
//! what a node reads at its start. The ring's pages are touched beforehand, as they would have been in a node that runs for
//! longer than a bench.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use qnfsm::journal::{File, Held, Storage};

/// How many bytes are kept.
pub const KEPT_BYTES: usize = 64 << 20;

/// The files. Clones are the same files.
#[derive(Debug, Clone)]
pub struct MemoryFiles(Arc<Mutex<Content>>);

#[derive(Debug)]
struct Content {
    ring: Vec<u8>,
    /// How many bytes were ever written. Those before the ring's length, counted from here, are gone.
    written: u64,
    files: BTreeMap<PathBuf, Arc<Mutex<Extents>>>,
}

/// Where a file's bytes are in all that was ever written: beginnings and lengths, in order.
type Extents = Vec<(u64, u64)>;

impl MemoryFiles {
    /// No files.
    pub fn new() -> MemoryFiles {
        MemoryFiles::with_ring(KEPT_BYTES)
    }

    fn with_ring(bytes: usize) -> MemoryFiles {
        let ring = vec![0xff; bytes];
        MemoryFiles(Arc::new(Mutex::new(Content { ring, written: 0, files: BTreeMap::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().expect("nothing panics that holds this lock")
    }

    fn file(&self, extents: Arc<Mutex<Extents>>) -> Box<dyn File> {
        Box::new(MemoryFile { files: self.clone(), extents })
    }

    fn extents(&self, path: &Path) -> io::Result<Arc<Mutex<Extents>>> {
        self.lock().files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Content {
    fn append(&mut self, bytes: &[u8]) {
        let length = self.ring.len();
        // Of what is longer than the ring only the end could be kept.
        let skipped = bytes.len().saturating_sub(length);
        let mut at = index(self.written + skipped as u64, length);
        let mut rest = &bytes[skipped..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(length - at));
            self.ring[at..at + now.len()].copy_from_slice(now);
            (at, rest) = (0, later);
        }
        self.written += bytes.len() as u64;
    }

    fn copy(&self, from: u64, bytes: u64, into: &mut Vec<u8>) -> io::Result<()> {
        if self.written - from > self.ring.len() as u64 {
            return Err(io::Error::other("these bytes were written too long ago to be kept in memory"));
        }
        for position in from..from + bytes {
            into.push(self.ring[index(position, self.ring.len())]);
        }
        Ok(())
    }
}

fn index(position: u64, length: usize) -> usize {
    usize::try_from(position % length as u64).expect("less than the ring's length")
}

fn length(extents: &Extents) -> u64 {
    extents.iter().map(|(_, bytes)| bytes).sum()
}

impl Storage for MemoryFiles {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let content = self.lock();
        let names = content.files.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let extents = Arc::new(Mutex::new(Vec::new()));
        let mut content = self.lock();
        if content.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        content.files.insert(path.to_owned(), extents.clone());
        drop(content);
        Ok(self.file(extents))
    }

    fn open(&self, path: &Path, offset: u64) -> io::Result<Box<dyn File>> {
        let extents = self.extents(path)?;
        // A ring takes what is behind, and changes nothing that is there.
        let at_end = offset == length(&lock(&extents));
        if at_end { Ok(self.file(extents)) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    fn file_bytes(&self, path: &Path) -> io::Result<u64> {
        let extents = self.extents(path)?;
        Ok(length(&lock(&extents)))
    }

    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let extents = self.extents(path)?;
        let content = self.lock();
        into.clear();
        let (mut skip, mut left) = (offset, bytes_max);
        for &(from, bytes) in &*lock(&extents) {
            let skipped = skip.min(bytes);
            let taken = left.min(bytes - skipped);
            content.copy(from + skipped, taken, into)?;
            (skip, left) = (skip - skipped, left - taken);
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut content = self.lock();
        let extents = content.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        content.files.insert(to.to_owned(), extents);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lock().files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Nobody else sees these files.
    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        Ok(Some(Box::new(NobodyElse)))
    }

    fn is_locked(&self, _path: &Path) -> io::Result<bool> {
        Ok(false)
    }
}

#[derive(Debug)]
struct NobodyElse;

impl Held for NobodyElse {}

#[derive(Debug)]
struct MemoryFile {
    files: MemoryFiles,
    extents: Arc<Mutex<Extents>>,
}

fn lock(extents: &Mutex<Extents>) -> MutexGuard<'_, Extents> {
    extents.lock().expect("nothing panics that holds this lock")
}

impl File for MemoryFile {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.files.lock();
        let from = content.written;
        content.append(bytes);
        let mut extents = lock(&self.extents);
        match extents.last_mut() {
            Some((begin, length)) if *begin + *length == from => *length += bytes.len() as u64,
            _ => extents.push((from, bytes.len() as u64)),
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let mut left = bytes;
        for (_, length) in lock(&self.extents).iter_mut() {
            *length = left.min(*length);
            left -= *length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_last_can_be_read_over_the_rings_end_and_what_was_before_is_an_error() {
        let files = MemoryFiles::with_ring(8);
        let (a, b) = (Path::new("/d/a"), Path::new("/d/b"));
        files.create_new(a).expect("new").write_all(b"12345").expect("memory");
        files.create_new(b).expect("new").write_all(b"67").expect("memory");
        files.open(a, 5).expect("there").write_all(b"89").expect("memory");
        let mut read = Vec::new();
        files.read(b, 0, 99, &mut read).expect("kept");
        assert_eq!(read, b"67");
        files.read(a, 5, 99, &mut read).expect("kept");
        assert_eq!(read, b"89");
        assert!(files.read(a, 0, 99, &mut read).is_err(), "its first byte is gone");
        assert_eq!(files.file_bytes(a).expect("there"), 7);
        assert_eq!(files.list(Path::new("/d")).expect("there"), ["a", "b"]);
    }

    #[test]
    fn what_is_longer_than_the_ring_leaves_its_end() {
        let files = MemoryFiles::with_ring(4);
        files.create_new(Path::new("/a")).expect("new").write_all(b"1234567").expect("memory");
        let mut read = Vec::new();
        files.read(Path::new("/a"), 3, 99, &mut read).expect("kept");
        assert_eq!(read, b"4567");
    }
}

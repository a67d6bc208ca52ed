//! Files in memory: what the counted journal is written to and read from, so that no disk is in the counts.
//!
//! A file's buffer has its whole length from the start. So a write is one copy, whatever was written before.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use qnfsm::journal::{File, Held, Storage};

/// The most bytes that a file may have. Memory that isn't written to isn't there.
const FILE_BYTES_MAX: usize = 64 << 20;

type Bytes = Arc<Mutex<Vec<u8>>>;

/// The files.
#[derive(Debug, Default)]
pub struct MemoryFiles(Mutex<BTreeMap<PathBuf, Bytes>>);

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().expect("nothing panics that holds this lock")
}

impl MemoryFiles {
    fn bytes(&self, path: &Path) -> io::Result<Bytes> {
        lock(&self.0).get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Storage for MemoryFiles {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let files = lock(&self.0);
        let names = files.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let bytes = Bytes::new(Mutex::new(Vec::with_capacity(FILE_BYTES_MAX)));
        if lock(&self.0).insert(path.to_owned(), bytes.clone()).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Box::new(MemoryFile(bytes)))
    }

    fn open(&self, path: &Path, offset: u64) -> io::Result<Box<dyn File>> {
        // Nobody writes over what is there.
        let at_end = offset == self.file_bytes(path)?;
        if at_end { Ok(Box::new(MemoryFile(self.bytes(path)?))) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    fn file_bytes(&self, path: &Path) -> io::Result<u64> {
        Ok(lock(&*self.bytes(path)?).len() as u64)
    }

    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let bytes = self.bytes(path)?;
        let bytes = lock(&bytes);
        let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).min(bytes.len());
        into.clear();
        into.extend_from_slice(&bytes[index(offset)..index(offset.saturating_add(bytes_max))]);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = lock(&self.0);
        let bytes = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.0).remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
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
struct MemoryFile(Bytes);

impl File for MemoryFile {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = lock(&self.0);
        assert!(file.len() + bytes.len() <= FILE_BYTES_MAX, "a counted journal is far shorter");
        file.extend_from_slice(bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        lock(&self.0).truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
        Ok(())
    }
}

//! Files that are in memory alone.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use qnfsm::journal::{File, Held, Storage};

type Bytes = Arc<Mutex<Vec<u8>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding a file")
}

/// Files by path. Directories are there when a file is in them.
#[derive(Debug, Default)]
pub struct MemoryFiles(Mutex<BTreeMap<PathBuf, Bytes>>);

impl MemoryFiles {
    /// Puts a file there.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        lock(&self.0).insert(path.to_owned(), Arc::new(Mutex::new(bytes)));
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// When it isn't there.
    pub fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(lock(&*self.file(path)?).clone())
    }

    fn file(&self, path: &Path) -> io::Result<Bytes> {
        lock(&self.0).get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Storage for MemoryFiles {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names: Vec<_> = lock(&self.0)
            .keys()
            .filter_map(|path| path.strip_prefix(dir).ok()?.iter().next()?.to_str().map(str::to_owned))
            .collect();
        names.dedup();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        if self.file(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.put(path, Vec::new());
        self.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(MemoryFile(self.file(path)?)))
    }

    fn file_bytes(&self, path: &Path) -> io::Result<u64> {
        Ok(self.bytes(path)?.len() as u64)
    }

    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let file = self.file(path)?;
        let bytes = lock(&file);
        into.clear();
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        into.extend_from_slice(&rest[..rest.len().min(usize::try_from(bytes_max).unwrap_or(usize::MAX))]);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = lock(&self.0).remove(from).ok_or(io::ErrorKind::NotFound)?;
        lock(&self.0).insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.0).remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Held>>> {
        Ok(Some(Box::new(MemoryLock)))
    }

    fn is_locked(&self, _: &Path) -> io::Result<bool> {
        Ok(false)
    }
}

#[derive(Debug)]
struct MemoryFile(Bytes);

impl File for MemoryFile {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        lock(&self.0).extend_from_slice(bytes);
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

/// A lock of files that nobody else sees.
#[derive(Debug)]
struct MemoryLock;

impl Held for MemoryLock {}

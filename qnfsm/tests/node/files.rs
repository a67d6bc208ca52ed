//! Files in memory, so that what a crash leaves can be made: copied at any moment, and cut anywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use qnfsm::journal::{File, Held, Position, Reader, Storage, segment_path};

#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<PathBuf, Vec<u8>>,
    dirs: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Disk>>);

impl Memory {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    /// What a crash at this moment leaves: all files as they are, nobody's locks.
    pub(crate) fn crash(&self) -> Memory {
        let disk = self.disk();
        let (files, dirs) = (disk.files.clone(), disk.dirs.clone());
        Memory(Arc::new(Mutex::new(Disk { files, dirs, locked: BTreeSet::new() })))
    }

    /// Ends the journal at a position: what was written later is gone.
    pub(crate) fn cut(&self, dir: &Path, at: Position) {
        let mut disk = self.disk();
        let journal = segment_path(dir, 1).parent().unwrap().to_owned();
        let last = segment_path(dir, at.segment);
        disk.files.retain(|path, _| path.parent() != Some(&journal) || *path <= last);
        disk.files.get_mut(&last).unwrap().truncate(usize::try_from(at.offset).unwrap());
    }

    pub(crate) fn remove_all(&self, under: &Path) -> usize {
        let mut disk = self.disk();
        let before = disk.files.len();
        disk.files.retain(|path, _| !path.starts_with(under));
        before - disk.files.len()
    }

    /// Changes a byte in the middle of each file there.
    pub(crate) fn spoil(&self, under: &Path) -> usize {
        let mut disk = self.disk();
        let spoilt = disk.files.iter_mut().filter(|(path, _)| path.starts_with(under));
        spoilt
            .map(|(_, bytes)| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            })
            .count()
    }

    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// The ends of all records of the journal, and the start of the first.
    pub(crate) fn record_ends(&self, dir: &Path) -> Vec<Position> {
        let mut reader = Reader::open(self.crash().storage(), dir).unwrap();
        let mut ends = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            let start = entry.position;
            if !ends.contains(&start) {
                ends.push(start);
            }
            ends.push(reader.position());
        }
        ends
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Storage for Memory {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk().dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        if !disk.dirs.contains(dir) {
            return Err(missing());
        }
        let there = disk.files.keys().chain(&disk.dirs);
        let names = there.filter_map(|path| path.strip_prefix(dir).ok()?.components().next());
        let names: BTreeSet<_> = names.map(|name| name.as_os_str().to_str().unwrap().to_owned()).collect();
        Ok(names.into_iter().collect())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        if self.disk().files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.disk().files.insert(path.into(), Vec::new());
        self.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        if !self.disk().files.contains_key(path) {
            return Err(missing());
        }
        Ok(Box::new(MemoryFile { disk: self.clone(), path: path.into() }))
    }

    fn file_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk().files.get(path).map(|bytes| bytes.len() as u64).ok_or_else(missing)
    }

    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let disk = self.disk();
        let bytes = disk.files.get(path).ok_or_else(missing)?;
        let start = usize::try_from(offset).unwrap().min(bytes.len());
        let end = start + usize::try_from(bytes_max).unwrap().min(bytes.len() - start);
        into.clear();
        into.extend_from_slice(&bytes[start..end]);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let bytes = disk.files.remove(from).ok_or_else(missing)?;
        disk.files.insert(to.into(), bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk().files.remove(path).map(|_| ()).ok_or_else(missing)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        let mut disk = self.disk();
        disk.files.entry(path.into()).or_default();
        if !disk.locked.insert(path.into()) {
            return Ok(None);
        }
        Ok(Some(Box::new(MemoryLock { disk: self.clone(), path: path.into() })))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        Ok(self.disk().locked.contains(path))
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: Memory,
    path: PathBuf,
}

impl File for MemoryFile {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.disk.disk().files.get_mut(&self.path).ok_or_else(missing)?.extend_from_slice(bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk.disk();
        disk.files.get_mut(&self.path).ok_or_else(missing)?.truncate(usize::try_from(bytes).unwrap());
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryLock {
    disk: Memory,
    path: PathBuf,
}

impl Held for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.disk().locked.remove(&self.path);
    }
}

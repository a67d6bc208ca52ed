//! Files that fail or wait when told to, for tests of full, broken and slow disks.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use super::storage::{File, Held, Storage};

/// What shall fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Writing to a file. The first half of the bytes is written nevertheless, as a disk that fills up does.
    Write,
    /// Syncing a file or a directory.
    Sync,
    /// Making a file.
    Create,
    /// Giving a file another name.
    Rename,
}

#[derive(Debug, Default)]
struct Plan {
    done: [u64; 4],
    /// Which fail, and with what; those that have nothing to fail with panic.
    fails: Vec<(Operation, u64, Option<io::ErrorKind>)>,
    held: Option<Operation>,
}

impl Plan {
    fn count(&mut self, operation: Operation) -> &mut u64 {
        match operation {
            Operation::Write => &mut self.done[0],
            Operation::Sync => &mut self.done[1],
            Operation::Create => &mut self.done[2],
            Operation::Rename => &mut self.done[3],
        }
    }

    /// What it is to fail with, if it is its turn to.
    fn step(&mut self, operation: Operation) -> Option<Option<io::ErrorKind>> {
        *self.count(operation) += 1;
        let number = *self.count(operation);
        self.fails.iter().find(|(fails, at, _)| *fails == operation && *at == number).map(|(.., with)| *with)
    }
}

/// Files of another storage which fail at chosen operations. Clones share the plan.
#[derive(Debug, Clone)]
pub struct FaultyFiles {
    inner: Arc<dyn Storage>,
    /// Those with this in their paths, and no others.
    among: &'static str,
    plan: Arc<(Mutex<Plan>, Condvar)>,
}

impl FaultyFiles {
    /// Files that don't fail yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> FaultyFiles {
        FaultyFiles::among(inner, "")
    }

    /// As [`new`](FaultyFiles::new), where only those count that have this in their paths.
    #[must_use]
    pub fn among(inner: Arc<dyn Storage>, among: &'static str) -> FaultyFiles {
        FaultyFiles { inner, among, plan: Arc::default() }
    }

    fn file(&self, inner: Box<dyn File>, path: &Path) -> Box<dyn File> {
        Box::new(FaultyFile { inner, path: path.to_owned(), files: self.clone() })
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.0.lock().expect("nobody panics while holding the plan")
    }

    /// Counts an operation, waits while such are held, and fails if it is its turn to.
    fn step(&self, operation: Operation, path: &Path) -> io::Result<()> {
        if !path.to_string_lossy().contains(self.among) {
            return Ok(());
        }
        let mut plan = self.plan();
        let fails = plan.step(operation);
        while plan.held == Some(operation) {
            plan = self.plan.1.wait(plan).expect("nobody panics while holding the plan");
        }
        drop(plan);
        match fails {
            None => Ok(()),
            Some(with) => Err(with.unwrap_or_else(|| panic!("{} is to panic", path.display())).into()),
        }
    }

    /// Makes operations of that kind wait, and those of all others go on.
    pub fn hold(&self, operation: Operation) {
        self.plan().held = Some(operation);
        self.plan.1.notify_all();
    }

    /// Lets all operations go on.
    pub fn release(&self) {
        self.plan().held = None;
        self.plan.1.notify_all();
    }

    /// Makes the `nth` operation of that kind from now on fail (1 is the next), that one alone.
    pub fn fail(&self, operation: Operation, nth: u64, kind: io::ErrorKind) {
        let mut plan = self.plan();
        let at = *plan.count(operation) + nth;
        plan.fails.push((operation, at, Some(kind)));
    }

    /// Makes the next operation of that kind panic, as a storage that is faulty itself may.
    pub fn panic(&self, operation: Operation) {
        let mut plan = self.plan();
        let at = *plan.count(operation) + 1;
        plan.fails.push((operation, at, None));
    }

    /// How many operations of that kind were asked for so far, those that wait included.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        *self.plan().count(operation)
    }
}

impl Storage for FaultyFiles {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.step(Operation::Create, path)?;
        Ok(self.file(self.inner.create_new(path)?, path))
    }

    fn open(&self, path: &Path, offset: u64) -> io::Result<Box<dyn File>> {
        Ok(self.file(self.inner.open(path, offset)?, path))
    }

    fn file_bytes(&self, path: &Path) -> io::Result<u64> {
        self.inner.file_bytes(path)
    }

    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()> {
        self.inner.read(path, offset, bytes_max, into)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Operation::Rename, to)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(Operation::Sync, dir)?;
        self.inner.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        self.inner.lock(path)
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        self.inner.lock_shared(path)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.inner.is_locked(path)
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn File>,
    path: PathBuf,
    files: FaultyFiles,
}

impl File for FaultyFile {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let step = self.files.step(Operation::Write, &self.path);
        if step.is_err() {
            self.inner.write_all(&bytes[..bytes.len() / 2])?;
        }
        step?;
        self.inner.write_all(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.files.step(Operation::Sync, &self.path)?;
        self.inner.sync_data()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.inner.truncate(bytes)
    }
}

//! A disk in memory, and what crashes leave of it, for tests.
//!
//! A disk that keeps its [`History`] remembers each operation in order. A crash at any point of it is made afterwards: what
//! had been synced by then is there; of all else any part may be, in any order, down to single bytes of a write and single
//! names of a directory. That is more than disks and file systems do to one, and no less.

mod history;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use serde::{Deserialize, Serialize};

pub use history::History;

use super::storage::{File, Held, Storage};

/// A file, whatever its name is by now.
type FileNumber = u64;

/// What was asked of a disk, in the order in which it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// A directory was made.
    MakeDir(PathBuf),
    /// A file was made.
    Create(FileNumber, PathBuf),
    /// Bytes were written from an offset on.
    Write(FileNumber, u64, Vec<u8>),
    /// A file was cut to a length.
    Truncate(FileNumber, u64),
    /// A file got another name.
    Rename(FileNumber, PathBuf, PathBuf),
    /// A file was removed.
    Remove(FileNumber, PathBuf),
    /// What was written to a file by the operation with that index, exclusively, is on disk.
    Sync(FileNumber, usize),
    /// The names in a directory that were made or taken away by the operation with that index, exclusively, are on disk.
    SyncDir(PathBuf, usize),
    /// The test has seen something, such as an answer.
    Note(u64),
}

impl Operation {
    /// What it is, in a word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Operation::MakeDir(_) => "make dir",
            Operation::Create(..) => "create",
            Operation::Write(..) => "write",
            Operation::Truncate(..) => "truncate",
            Operation::Rename(..) => "rename",
            Operation::Remove(..) => "remove",
            Operation::Sync(..) => "sync",
            Operation::SyncDir(..) => "sync dir",
            Operation::Note(_) => "note",
        }
    }
}

/// Files and their names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Content {
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, FileNumber>,
    files: BTreeMap<FileNumber, Vec<u8>>,
    /// No file has had this number or a higher one.
    next: FileNumber,
}

#[derive(Debug, Default)]
struct State {
    content: Content,
    history: Option<History>,
    locked: BTreeSet<PathBuf>,
    /// For how many turns of other threads a sync lasts.
    sync_turns: u32,
    /// How many operations and reads were asked for, which of them fails and how, and what it was.
    asked: u64,
    fails: Option<(u64, io::ErrorKind)>,
    failed: Option<&'static str>,
    /// Which of the reads from now on goes wrong, and how.
    misreads: Option<(u64, Misread)>,
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("files in memory are short")
}

fn put(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    let end = at + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(written);
}

/// What a read gives in place of what is there.
#[derive(Debug, Clone)]
pub enum Misread {
    /// What was there when the disk was this one.
    Older(SimulatedDisk),
    /// The bytes of so many behind.
    Shifted(usize),
    /// The first half, as if the file ended there.
    Shorter,
    /// All but the last bytes, so many.
    Without(usize),
    /// Another file of the same directory.
    OtherFile,
}

impl Content {
    /// Does an operation, as far as there is something that it can be done to.
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::MakeDir(dir) => {
                self.dirs.insert(dir.clone());
            }
            Operation::Create(file, path) => {
                self.names.insert(path.clone(), *file);
                self.files.entry(*file).or_default();
            }
            Operation::Write(file, at, bytes) => put(self.files.entry(*file).or_default(), index(*at), bytes),
            Operation::Truncate(file, bytes) => self.files.entry(*file).or_default().truncate(index(*bytes)),
            Operation::Rename(file, from, to) => {
                self.unname(*file, from);
                self.names.insert(to.clone(), *file);
            }
            Operation::Remove(file, path) => self.unname(*file, path),
            Operation::Sync(..) | Operation::SyncDir(..) | Operation::Note(_) => {}
        }
        if let Operation::Create(file, _) = operation {
            self.next = self.next.max(file + 1);
        }
    }

    fn unname(&mut self, file: FileNumber, path: &Path) {
        if self.names.get(path) == Some(&file) {
            self.names.remove(path);
        }
    }

    fn number(&self, path: &Path) -> io::Result<FileNumber> {
        self.names.get(path).copied().ok_or_else(missing)
    }

    fn bytes(&self, path: &Path) -> io::Result<&Vec<u8>> {
        self.files.get(&self.number(path)?).ok_or_else(missing)
    }
}

impl State {
    /// The bytes that a file seems to have where it is the turn of a read that goes wrong.
    fn misread(&mut self, path: &Path) -> Option<Vec<u8>> {
        let (left, _) = self.misreads.as_mut()?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        let (_, how) = self.misreads.take()?;
        let bytes = self.content.bytes(path).cloned().unwrap_or_default();
        Some(match how {
            Misread::Older(disk) => disk.bytes(path).unwrap_or(bytes),
            Misread::Shifted(by) => bytes.get(by..).unwrap_or_default().to_vec(),
            Misread::Shorter => bytes[..bytes.len() / 2].to_vec(),
            Misread::Without(by) => bytes[..bytes.len().saturating_sub(by)].to_vec(),
            Misread::OtherFile => {
                let mut others =
                    self.content.names.iter().filter(|(name, _)| *name != path && name.parent() == path.parent());
                let other = others.next_back().and_then(|(_, file)| self.content.files.get(file));
                other.cloned().unwrap_or_default()
            }
        })
    }

    fn index(&self) -> usize {
        self.history.as_ref().map_or(0, |history| history.operations.len())
    }

    /// Counts something that is asked for, and fails if it is its turn to.
    fn ask(&mut self, what: &'static str) -> io::Result<()> {
        self.asked += 1;
        match self.fails {
            Some((at, kind)) if at == self.asked => {
                self.failed = Some(what);
                Err(kind.into())
            }
            _ => Ok(()),
        }
    }

    /// Does an operation, unless it is its turn to fail. A write that fails has written the first half.
    fn done(&mut self, operation: Operation) -> io::Result<()> {
        let asked = self.ask(operation.name());
        match (&asked, operation) {
            (Ok(()), operation) => self.keep(operation),
            (Err(_), Operation::Write(file, at, mut bytes)) => {
                bytes.truncate(bytes.len() / 2);
                self.keep(Operation::Write(file, at, bytes));
            }
            (Err(_), _) => {}
        }
        asked
    }

    fn keep(&mut self, operation: Operation) {
        self.content.apply(&operation);
        if let Some(history) = &mut self.history {
            history.operations.push(operation);
        }
    }
}

impl SimulatedDisk {
    fn of(content: Content) -> SimulatedDisk {
        SimulatedDisk(Arc::new(Mutex::new(State { content, ..State::default() })))
    }

    /// From now on the disk keeps its history, and a sync lasts for about so many turns of other threads. What is there by
    /// now is on disk.
    #[must_use]
    pub fn keeping_history(self, sync_turns: u32) -> SimulatedDisk {
        let mut state = self.state();
        state.history = Some(History { before: state.content.clone(), operations: Vec::new() });
        state.sync_turns = sync_turns;
        drop(state);
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics while holding a disk")
    }

    /// The disk as a storage.
    #[must_use]
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// Another disk with all that is on this one now, whether it was synced or not, and nobody's locks: what a process leaves
    /// that is killed.
    #[must_use]
    pub fn copy(&self) -> SimulatedDisk {
        SimulatedDisk::of(self.state().content.clone())
    }

    /// Makes one operation fail, or one read: the `nth` that is asked for from now on (1 is the next).
    pub fn fail(&self, nth: u64, kind: io::ErrorKind) {
        let mut state = self.state();
        state.fails = Some((state.asked + nth, kind));
    }

    /// What has failed, if its turn has come.
    #[must_use]
    pub fn failed(&self) -> Option<&'static str> {
        self.state().failed
    }

    /// Makes one read give other bytes than it should: the `nth` from now on (1 is the next).
    pub fn misread(&self, nth: u64, how: Misread) {
        self.state().misreads = Some((nth, how));
    }

    /// True if its turn has come.
    #[must_use]
    pub fn has_misread(&self) -> bool {
        self.state().misreads.is_none()
    }

    /// Makes a file be gone.
    pub fn lose(&self, path: &Path) {
        self.state().content.names.remove(path);
    }

    /// Writes into the history that the test has seen something.
    pub fn note(&self, seen: u64) {
        self.state().keep(Operation::Note(seen));
    }

    /// What was done so far.
    #[must_use]
    pub fn history(&self) -> History {
        self.state().history.clone().unwrap_or_default()
    }

    /// The paths of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().content.names.keys().cloned().collect()
    }

    /// Puts a file there, or in place of the one that is there.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state();
        let file = state.content.next;
        state.content.dirs.extend(path.ancestors().skip(1).map(Path::to_owned));
        state.keep(Operation::Create(file, path.to_owned()));
        state.keep(Operation::Write(file, 0, bytes));
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// When it isn't there.
    pub fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.state().content.bytes(path).cloned()
    }
}

impl Storage for SimulatedDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let new: Vec<_> =
            dir.ancestors().filter(|dir| !state.content.dirs.contains(*dir)).map(Path::to_owned).collect();
        new.into_iter().rev().try_for_each(|dir| state.done(Operation::MakeDir(dir)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.ask("list")?;
        let content = &state.content;
        if !content.dirs.contains(dir) {
            return Err(missing());
        }
        let there = content.names.keys().chain(&content.dirs);
        let names = there.filter_map(|path| path.strip_prefix(dir).ok()?.components().next());
        let names: BTreeSet<_> = names.filter_map(|name| Some(name.as_os_str().to_str()?.to_owned())).collect();
        Ok(names.into_iter().collect())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        if state.content.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if path.parent().is_some_and(|dir| !state.content.dirs.contains(dir)) {
            return Err(missing());
        }
        let file = state.content.next;
        state.done(Operation::Create(file, path.to_owned()))?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), file, at: Mutex::new(0) }))
    }

    fn open(&self, path: &Path, offset: u64) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        state.ask("open")?;
        let file = state.content.number(path)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), file, at: Mutex::new(offset) }))
    }

    fn file_bytes(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.state();
        state.ask("file bytes")?;
        Ok(state.content.bytes(path)?.len() as u64)
    }

    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let mut state = self.state();
        state.ask("read")?;
        let misread = state.misread(path);
        let bytes = misread.as_ref().map_or_else(|| state.content.bytes(path), Ok)?;
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        into.clear();
        into.extend_from_slice(&rest[..rest.len().min(usize::try_from(bytes_max).unwrap_or(usize::MAX))]);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let file = state.content.number(from)?;
        state.done(Operation::Rename(file, from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let file = state.content.number(path)?;
        state.done(Operation::Remove(file, path.to_owned()))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let upto = state.index();
        state.done(Operation::SyncDir(dir.to_owned(), upto))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        let mut state = self.state();
        if state.content.number(path).is_err() {
            let file = state.content.next;
            state.done(Operation::Create(file, path.to_owned()))?;
        }
        if !state.locked.insert(path.into()) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimulatedLock { disk: self.clone(), path: path.into() })))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        Ok(self.state().locked.contains(path))
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    file: FileNumber,
    /// Where the next bytes go.
    at: Mutex<u64>,
}

impl SimulatedFile {
    fn at(&self) -> MutexGuard<'_, u64> {
        self.at.lock().expect("nobody panics while holding a file")
    }
}

impl File for SimulatedFile {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut at = self.at();
        self.disk.state().done(Operation::Write(self.file, *at, bytes.to_vec()))?;
        *at += bytes.len() as u64;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let (upto, turns) = {
            let state = self.disk.state();
            (state.index(), state.sync_turns)
        };
        // What is written meanwhile needn't be on disk.
        (0..turns).for_each(|_| thread::yield_now());
        self.disk.state().done(Operation::Sync(self.file, upto))
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let mut at = self.at();
        self.disk.state().done(Operation::Truncate(self.file, bytes))?;
        *at = bytes;
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedLock {
    disk: SimulatedDisk,
    path: PathBuf,
}

impl Held for SimulatedLock {}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.path);
    }
}

//! Files in memory, for a node whose journal is a flight recorder: a write is a copy, a sync is nothing, and what a node lets go
//! of is used again.
//!
//! Files lie in blocks of [`BLOCK_BYTES`] each, which go from files that are removed to files that grow. So a journal whose
//! beginning is given up as its end is written allocates nothing. A [`Cut`] is all files as they are at one moment; it shares
//! their blocks, and copies nothing. What always holds: a cut is what a kill of the process at that moment would leave on a disk.
//! Files grow at their ends alone.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    LOCK_FILE, MANIFEST_FILE,
    error::IoError,
    storage::{File, Held, Storage, remove_if_there},
};

/// How long a block is. A file takes whole ones.
const BLOCK_BYTES: usize = 4 << 10;

const LOCK_REASON: &str = "nothing panics while holding files in memory";

/// A part of a file; of each file only the last may be shorter than [`BLOCK_BYTES`].
type Block = Arc<Vec<u8>>;

/// Files in memory. Clones are the same files; nobody else sees them.
#[derive(Debug, Clone)]
pub struct MemoryFiles {
    files: Arc<Mutex<BTreeMap<PathBuf, Arc<Content>>>>,
    blocks: Arc<Blocks>,
}

impl MemoryFiles {
    /// No files. Blocks are kept to be used again as long as all together have no more than so many bytes.
    #[must_use]
    pub fn new(kept_bytes: u64) -> MemoryFiles {
        let kept = usize::try_from(kept_bytes).unwrap_or(usize::MAX) / BLOCK_BYTES;
        let blocks = Blocks { kept, state: Mutex::default() };
        MemoryFiles { files: Arc::default(), blocks: Arc::new(blocks) }
    }

    /// How many bytes of memory all blocks take, those among them that wait to be used again. Blocks that only a [`Cut`] has are
    /// not counted.
    #[must_use]
    pub fn allocated_bytes(&self) -> u64 {
        let Lent { lent, spare } = &*self.blocks.state();
        (lent + spare.len()) as u64 * BLOCK_BYTES as u64
    }

    /// All files as they are now.
    #[must_use]
    pub fn cut(&self) -> Cut {
        // While no file is made, renamed or removed, whatever a file says of another is true of the cut too.
        let files = self.files();
        Cut { files: files.iter().map(|(path, content)| (path.clone(), content.blocks().clone())).collect() }
    }

    /// Removes all files, and gives their memory back.
    pub fn clear(&self) {
        self.files().clear();
        self.blocks.state().spare = Vec::new();
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<Content>>> {
        self.files.lock().expect(LOCK_REASON)
    }

    fn content(&self, path: &Path) -> io::Result<Arc<Content>> {
        self.files().get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Storage for MemoryFiles {
    /// Directories are there when a file is.
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let files = self.files();
        let names = files.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let content = Arc::new(Content { held: Mutex::default(), blocks: self.blocks.clone() });
        let mut files = self.files();
        if files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        files.insert(path.to_owned(), content.clone());
        Ok(Box::new(content))
    }

    /// Only at a file's end.
    fn open(&self, path: &Path, offset: u64) -> io::Result<Box<dyn File>> {
        let content = self.content(path)?;
        if content.bytes() == offset { Ok(Box::new(content)) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    fn file_bytes(&self, path: &Path) -> io::Result<u64> {
        Ok(self.content(path)?.bytes())
    }

    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let content = self.content(path)?;
        into.clear();
        let mut at = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut left = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let blocks = content.blocks();
        while let (Some(block), true) = (blocks.get(at / BLOCK_BYTES), left > 0) {
            let there = block.get(at % BLOCK_BYTES..).unwrap_or_default();
            let read = &there[..there.len().min(left)];
            if read.is_empty() {
                break;
            }
            into.extend_from_slice(read);
            (at, left) = (at + read.len(), left - read.len());
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files();
        let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.files().remove(path);
        removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        Ok(Some(Box::new(NobodyElse)))
    }

    fn is_locked(&self, _path: &Path) -> io::Result<bool> {
        Ok(false)
    }
}

/// The lock of files that nobody else sees.
#[derive(Debug)]
struct NobodyElse;

impl Held for NobodyElse {}

/// What a file holds. Its blocks go back when nobody has it open any more and it has no name.
#[derive(Debug)]
struct Content {
    held: Mutex<Vec<Block>>,
    blocks: Arc<Blocks>,
}

impl Content {
    fn blocks(&self) -> MutexGuard<'_, Vec<Block>> {
        self.held.lock().expect(LOCK_REASON)
    }

    fn bytes(&self) -> u64 {
        let blocks = self.blocks();
        let last = blocks.last().map_or(0, |last| last.len());
        (blocks.len().saturating_sub(1) * BLOCK_BYTES + last) as u64
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.blocks.take_back(self.held.get_mut().expect(LOCK_REASON).drain(..));
    }
}

impl File for Arc<Content> {
    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut held = Content::blocks(self);
        while !bytes.is_empty() {
            if held.last().is_none_or(|last| last.len() >= BLOCK_BYTES) {
                held.push(self.blocks.lend());
            }
            // One that a cut has as well is copied first.
            let last = Arc::make_mut(held.last_mut().expect("it was just pushed"));
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - last.len()));
            last.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut held = Content::blocks(self);
        let kept = bytes.div_ceil(BLOCK_BYTES).min(held.len());
        self.blocks.take_back(held.drain(kept..));
        let before = kept.saturating_sub(1) * BLOCK_BYTES;
        if let Some(last) = held.last_mut() {
            Arc::make_mut(last).truncate(bytes - before);
        }
        Ok(())
    }
}

/// Where blocks come from, and go back to.
#[derive(Debug)]
struct Blocks {
    /// How many there may be for those that come back to be kept.
    kept: usize,
    state: Mutex<Lent>,
}

#[derive(Debug, Default)]
struct Lent {
    /// How many files have.
    lent: usize,
    spare: Vec<Block>,
}

impl Blocks {
    fn state(&self) -> MutexGuard<'_, Lent> {
        self.state.lock().expect(LOCK_REASON)
    }

    /// An empty one.
    fn lend(&self) -> Block {
        let mut state = self.state();
        state.lent += 1;
        state.spare.pop().unwrap_or_else(|| Arc::new(Vec::with_capacity(BLOCK_BYTES)))
    }

    fn take_back(&self, blocks: impl Iterator<Item = Block>) {
        let mut state = self.state();
        for mut block in blocks {
            state.lent -= 1;
            // One that a cut still has is not to be written to.
            if state.lent + state.spare.len() < self.kept
                && let Some(bytes) = Arc::get_mut(&mut block)
            {
                bytes.clear();
                state.spare.push(block);
            }
        }
    }
}

/// All files as they were at one moment.
#[derive(Debug)]
pub struct Cut {
    files: Vec<(PathBuf, Vec<Block>)>,
}

impl Cut {
    /// Writes a node's directory out into another one, which is there and has none of its files; memory is let go of on the way.
    /// Returns when it is on disk. The manifest comes last, so that what is written halfway is nobody's directory; where the disk
    /// fails, what was written so far is removed again.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write_out(self, node_dir: &Path, storage: &dyn Storage, to: &Path) -> Result<(), IoError> {
        let mut files: Vec<_> = self
            .files
            .into_iter()
            .filter_map(|(path, blocks)| {
                let name = path.strip_prefix(node_dir).ok()?.to_owned();
                let is_left_out = name == Path::new(LOCK_FILE) || name.extension().is_some_and(|of| of == "tmp");
                (!is_left_out).then_some((name, blocks))
            })
            .collect();
        files.sort_by_key(|(name, _)| name == Path::new(MANIFEST_FILE));
        let sync = |dir: &Path| storage.sync_dir(dir).map_err(|error| IoError::new("sync", dir, error));
        let mut written = Vec::new();
        let outcome = files.into_iter().try_for_each(|(name, blocks)| {
            if name == Path::new(MANIFEST_FILE) {
                // Directories that were made have their names there.
                sync(to)?;
            }
            let path = to.join(name);
            let dir = path.parent().unwrap_or(to).to_owned();
            storage.create_dir_all(&dir).map_err(|error| IoError::new("create", &dir, error))?;
            let file = storage.create_new(&path).map_err(|error| IoError::new("create", &path, error))?;
            written.push(path.clone());
            for block in blocks {
                file.write_all(&block).map_err(|error| IoError::new("write", &path, error))?;
            }
            file.sync_data().map_err(|error| IoError::new("sync", &path, error))?;
            sync(&dir)
        });
        if outcome.is_err() {
            // It would only take room. What can't be removed either is without a manifest, or is told of as it is.
            for path in written.iter().rev() {
                let _ = remove_if_there(storage, path);
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::simulated::SimulatedDisk;

    fn write(files: &MemoryFiles, name: &str, bytes: &[u8]) -> Box<dyn File> {
        let file = files.create_new(Path::new(name)).expect("it is new");
        file.write_all(bytes).expect("memory doesn't fail");
        file
    }

    fn read(files: &MemoryFiles, name: &str, offset: u64, bytes_max: u64) -> Vec<u8> {
        let mut bytes = vec![1];
        files.read(Path::new(name), offset, bytes_max, &mut bytes).expect("it is there");
        bytes
    }

    fn pattern(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| u8::try_from(at % 251).expect("it is small")).collect()
    }

    #[test]
    fn what_was_written_in_pieces_is_read_back_from_anywhere() {
        let (files, whole) = (MemoryFiles::new(1 << 20), pattern(3 * BLOCK_BYTES + 17));
        let file = write(&files, "/a/x", &[]);
        for piece in whole.chunks(1000) {
            file.write_all(piece).expect("memory doesn't fail");
        }
        assert_eq!(files.file_bytes(Path::new("/a/x")).expect("it is there"), whole.len() as u64);
        for offset in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 5, whole.len(), whole.len() + 99_999] {
            for bytes_max in [0, 1, BLOCK_BYTES, usize::MAX] {
                let end = offset.saturating_add(bytes_max).min(whole.len());
                let expected = whole.get(offset..end).unwrap_or_default();
                assert_eq!(read(&files, "/a/x", offset as u64, bytes_max as u64), expected, "{offset} {bytes_max}");
            }
        }
        for bytes in [2 * BLOCK_BYTES + 3, BLOCK_BYTES, 5, 0] {
            file.truncate(bytes as u64).expect("memory doesn't fail");
            assert_eq!(read(&files, "/a/x", 0, u64::MAX), whole[..bytes]);
        }
        file.write_all(b"again").expect("memory doesn't fail");
        assert_eq!(read(&files, "/a/x", 0, u64::MAX), b"again");
    }

    #[test]
    fn names_are_as_on_a_disk() {
        let files = MemoryFiles::new(1 << 20);
        write(&files, "/a/x", b"x");
        write(&files, "/a/y", b"y");
        write(&files, "/a/b/z", b"z");
        let kind = |path: &str| files.create_new(Path::new(path)).map(drop).map_err(|error| error.kind());
        assert_eq!(kind("/a/x"), Err(io::ErrorKind::AlreadyExists));
        files.rename(Path::new("/a/x"), Path::new("/a/y")).expect("it is there");
        assert_eq!(
            (files.list(Path::new("/a")).expect("memory"), read(&files, "/a/y", 0, 9)),
            (vec!["y".to_owned()], b"x".to_vec())
        );
        files.remove(Path::new("/a/y")).expect("it is there");
        let gone = files.remove(Path::new("/a/y")).map_err(|error| error.kind());
        assert_eq!(gone, Err(io::ErrorKind::NotFound));
        assert_eq!(files.file_bytes(Path::new("/a/y")).map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
    }

    #[test]
    fn memory_of_files_that_are_removed_is_used_again_and_not_kept_past_its_bound() {
        let files = MemoryFiles::new(4 * BLOCK_BYTES as u64);
        for number in 0..50 {
            let name = format!("/a/{number}");
            let file = write(&files, &name, &pattern(2 * BLOCK_BYTES));
            assert!(files.allocated_bytes() <= 4 * BLOCK_BYTES as u64);
            // It is written to while it has a name no more, as on a disk.
            files.remove(Path::new(&name)).expect("it is there");
            file.write_all(&[1]).expect("memory doesn't fail");
        }
        assert!(files.allocated_bytes() >= 3 * BLOCK_BYTES as u64, "nothing of it is kept");
        let many = write(&files, "/a/many", &pattern(9 * BLOCK_BYTES));
        drop(many);
        files.remove(Path::new("/a/many")).expect("it is there");
        assert!(files.allocated_bytes() <= 4 * BLOCK_BYTES as u64);
        write(&files, "/a/last", b"last");
        files.clear();
        assert_eq!(files.allocated_bytes(), 0);
    }

    #[test]
    fn a_cut_stays_as_it_was_whatever_is_written_then() {
        let (files, before) = (MemoryFiles::new(1 << 20), pattern(BLOCK_BYTES + 7));
        let file = write(&files, "/node/journal/1", &before);
        write(&files, "/node/manifest", b"m");
        write(&files, "/node/manifest.tmp", b"halfway");
        write(&files, "/node/snapshots/1", b"s");
        let cut = files.cut();
        file.write_all(&pattern(5 * BLOCK_BYTES)).expect("memory doesn't fail");
        files.remove(Path::new("/node/snapshots/1")).expect("it is there");
        for number in 0..20 {
            write(&files, &format!("/other/{number}"), &[255; BLOCK_BYTES]);
        }
        let disk = SimulatedDisk::default().keeping_history(0);
        cut.write_out(Path::new("/node"), &*disk.storage(), Path::new("/out/r")).expect("the disk is whole");
        let bytes = |name: &str| disk.bytes(Path::new(name)).ok();
        assert_eq!(bytes("/out/r/journal/1"), Some(before));
        assert_eq!((bytes("/out/r/manifest"), bytes("/out/r/snapshots/1")), (Some(b"m".to_vec()), Some(b"s".to_vec())));
        assert_eq!(disk.paths().len(), 3, "{:?}", disk.paths());
        // Where a crash leaves the manifest, it leaves all.
        let history = disk.history();
        for (at, seed) in (0..=history.operations.len()).flat_map(|at| (0..20).map(move |seed| (at, seed))) {
            let left = history.crash(at, seed);
            if left.bytes(Path::new("/out/r/manifest")).is_ok() {
                let paths = disk.paths();
                assert_eq!(left.paths(), paths, "{at} {seed}");
                let of_others = paths.iter().filter(|path| !path.ends_with("manifest"));
                of_others.for_each(|path| assert_eq!(left.bytes(path).ok(), disk.bytes(path).ok(), "{at} {seed}"));
            }
        }
    }

    #[test]
    fn a_cut_is_of_one_moment() {
        const FILES: u64 = 3000;
        let files = MemoryFiles::new(1 << 20);
        let log = write(&files, "/log", &[]);
        let cuts = std::thread::scope(|scope| {
            // Each byte of the log is written when there is a file for each before.
            let writing = scope.spawn(|| {
                for number in 1..=FILES {
                    log.write_all(&[0]).expect("memory doesn't fail");
                    write(&files, &format!("/a/{number}"), &[]);
                }
            });
            let mut cuts = Vec::new();
            while !writing.is_finished() {
                cuts.push(files.cut().files);
            }
            cuts
        });
        for cut in cuts {
            let logged = cut.iter().find(|(path, _)| path.ends_with("log")).and_then(|(_, blocks)| blocks.last());
            let (logged, others) = (logged.map_or(0, |last| last.len()), cut.len() - 1);
            assert!((others..=others + 1).contains(&logged), "{logged} bytes and {others} files");
        }
    }

    #[test]
    fn a_disk_that_fails_anywhere_is_left_without_a_manifest_and_what_was_written() {
        let failed = (1..).map_while(|nth| {
            let files = MemoryFiles::new(1 << 20);
            write(&files, "/node/journal/1", &pattern(BLOCK_BYTES + 7));
            write(&files, "/node/manifest", b"m");
            let disk = SimulatedDisk::default();
            disk.fail(nth, io::ErrorKind::StorageFull);
            let written = files.cut().write_out(Path::new("/node"), &*disk.storage(), Path::new("/out"));
            assert_eq!(written.is_err(), disk.failed().is_some());
            let failed = disk.failed()?;
            assert_eq!(disk.paths(), [] as [PathBuf; 0], "{failed}");
            Some(failed)
        });
        let failed: Vec<_> = failed.collect();
        assert!(["make dir", "create", "write", "sync", "sync dir"].iter().all(|of| failed.contains(of)), "{failed:?}");
    }
}

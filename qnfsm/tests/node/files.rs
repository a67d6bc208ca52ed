//! Files in memory, so that what a crash leaves can be made: copied at any moment, and cut anywhere.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use qnfsm::journal::{Position, Reader, Storage, segment_path, simulated::SimulatedDisk};

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(SimulatedDisk);

impl Memory {
    /// What a crash of the process at this moment leaves: all files as they are, nobody's locks.
    pub(crate) fn crash(&self) -> Memory {
        Memory(self.0.copy())
    }

    /// Ends the journal at a position: what was written later is gone.
    pub(crate) fn cut(&self, dir: &Path, at: Position) {
        let last = segment_path(dir, at.segment);
        for path in self.paths(last.parent().unwrap()).into_iter().filter(|path| *path > last) {
            self.0.remove(&path).unwrap();
        }
        self.0.open(&last, 0).unwrap().truncate(at.offset).unwrap();
    }

    fn paths(&self, under: &Path) -> Vec<PathBuf> {
        self.0.paths().into_iter().filter(|path| path.starts_with(under)).collect()
    }

    pub(crate) fn remove_all(&self, under: &Path) -> usize {
        let paths = self.paths(under);
        paths.iter().for_each(|path| self.0.remove(path).unwrap());
        paths.len()
    }

    /// Changes a byte in the middle of each file there.
    pub(crate) fn spoil(&self, under: &Path) -> usize {
        let paths = self.paths(under);
        for path in &paths {
            let mut bytes = self.0.bytes(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            self.0.put(path, bytes);
        }
        paths.len()
    }

    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        self.0.storage()
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

//! What was asked of a disk, and what a crash or a kill at any point of it leaves.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use super::{Content, FileNumber, Operation, SimulatedDisk, index};

/// All operations of a disk, from what was on it before.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    pub(super) before: Content,
    /// The operations. They are numbered by their index.
    pub operations: Vec<Operation>,
}

/// How much of a write is there that nobody had synced.
const SECTOR_BYTES: usize = 512;

impl History {
    /// What is left when the process is killed just before the operation with that index: all that was done, synced or not.
    #[must_use]
    pub fn kill(&self, before: usize) -> SimulatedDisk {
        let mut content = self.before.clone();
        self.operations[..before].iter().for_each(|operation| content.apply(operation));
        SimulatedDisk::of(content)
    }

    /// What a crash of the machine leaves that comes just before the operation with that index: all that was synced, and of the rest what
    /// `seed` chooses.
    #[must_use]
    pub fn crash(&self, before: usize, seed: u64) -> SimulatedDisk {
        let operations = &self.operations[..before];
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        // How much of the rest is there differs from crash to crash: often all or nothing of it.
        let survives_of_8 = [0, 1, 4, 7, 8][index(random.next_u64() % 5)];
        let synced = Synced::of(operations);
        let mut content = self.before.clone();
        for (number, operation) in operations.iter().enumerate() {
            if synced.covers(number, operation) || random.next_u64() % 8 < survives_of_8 {
                content.apply(operation);
            } else if let Operation::Write(file, at, bytes) = operation {
                tear(&mut content, &mut random, *file, *at, bytes);
            }
        }
        // What has no name is gone, and nothing new is taken for it.
        let Content { names, files, next, .. } = &mut content;
        *next = files.keys().next_back().map_or(0, |last| last + 1).max(*next);
        files.retain(|file, _| names.values().any(|named| named == file));
        SimulatedDisk::of(content)
    }

    /// The highest note before the operation with that index.
    #[must_use]
    pub fn noted(&self, before: usize) -> Option<u64> {
        let notes = self.operations[..before].iter();
        notes.filter_map(|operation| if let Operation::Note(seen) = operation { Some(*seen) } else { None }).max()
    }
}

/// Writes nothing, a front, or some sectors of what was to be written.
fn tear(content: &mut Content, random: &mut Xoshiro256PlusPlus, file: FileNumber, at: u64, bytes: &[u8]) {
    match random.next_u64() % 4 {
        0 => {
            let front = index(random.next_u64() % (bytes.len() as u64 + 1));
            content.apply(&Operation::Write(file, at, bytes[..front].to_vec()));
        }
        1 => {
            // Sectors of the file, not of what was written.
            let first = SECTOR_BYTES - index(at) % SECTOR_BYTES;
            let (head, rest) = bytes.split_at(first.min(bytes.len()));
            let mut offset = at;
            for sector in std::iter::once(head).chain(rest.chunks(SECTOR_BYTES)) {
                if random.next_u64().is_multiple_of(2) {
                    content.apply(&Operation::Write(file, offset, sector.to_vec()));
                }
                offset += sector.len() as u64;
            }
        }
        _ => {}
    }
}

/// Up to where files and directories were synced.
struct Synced {
    files: BTreeMap<FileNumber, usize>,
    dirs: BTreeMap<PathBuf, usize>,
}

impl Synced {
    fn of(operations: &[Operation]) -> Synced {
        let mut synced = Synced { files: BTreeMap::new(), dirs: BTreeMap::new() };
        for operation in operations {
            match operation {
                Operation::Sync(file, upto) => {
                    let known = synced.files.entry(*file).or_default();
                    *known = (*known).max(*upto);
                }
                Operation::SyncDir(dir, upto) => {
                    synced.dirs.insert(dir.clone(), *upto);
                }
                _ => {}
            }
        }
        synced
    }

    /// True if an operation is on disk for certain.
    fn covers(&self, number: usize, operation: &Operation) -> bool {
        let file = |file: &FileNumber| self.files.get(file).is_some_and(|upto| number < *upto);
        let name = |path: &Path| path.parent().is_none_or(|dir| self.dirs.get(dir).is_some_and(|upto| number < *upto));
        match operation {
            Operation::Write(number, ..) | Operation::Truncate(number, _) => file(number),
            Operation::Create(_, path) | Operation::Remove(_, path) | Operation::MakeDir(path) => name(path),
            Operation::Rename(_, from, to) => name(from) && name(to),
            Operation::Sync(..) | Operation::SyncDir(..) | Operation::Note(_) => true,
        }
    }
}

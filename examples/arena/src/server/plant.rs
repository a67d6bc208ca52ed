//! Mistakes made on purpose. Each makes the demo fail, which shows that its checks can.

use std::{
    hash::{BuildHasher, Hasher},
    io,
    path::Path,
    sync::Mutex,
};

use qnfsm::journal::{File, Held, RealFiles, Storage};
use serde::{Deserialize, Serialize};

use crate::game::World;

/// Which mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Plant {
    /// The journal's writes are held back, and are gone when the server is killed.
    Lose,
    /// The world applies a command again that comes again.
    Double,
    /// The world does what depends on more than its inputs.
    Diverge,
}

/// Lets the world depend on what isn't recorded: a random number of the process's own, now and then a tick too many.
#[expect(clippy::disallowed_types, reason = "this is the mistake")]
pub(super) fn nondeterminism(world: &mut World) {
    let ambient = std::collections::hash_map::RandomState::new().build_hasher().finish();
    if ambient.is_multiple_of(8) {
        // Nobody is told of this tick; what it did shows in the next one.
        let _ = world.tick(&mut |bound| bound - 1);
    }
}

/// Files whose writes reach the disk late: what a kill takes with it, `Buffered` would have kept.
#[derive(Debug, Default)]
pub(super) struct Forgetful {
    files: RealFiles,
}

/// How many bytes are held back at least.
const HELD_BACK_BYTES: usize = 16 << 10;

#[derive(Debug)]
struct Late {
    file: Box<dyn File>,
    held_back: Mutex<Vec<u8>>,
}

impl File for Late {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut held_back = self.held_back.lock().expect("nothing panics while holding this lock");
        held_back.extend_from_slice(bytes);
        if held_back.len() > 2 * HELD_BACK_BYTES {
            let late = held_back.len() - HELD_BACK_BYTES;
            self.file.write_all(&held_back[..late])?;
            held_back.drain(..late);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.truncate(bytes)
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        let held_back = self.held_back.get_mut().expect("nothing panics while holding this lock");
        // Nobody is left to hear of a failure.
        let _ = self.file.write_all(held_back);
    }
}

impl Storage for Forgetful {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.files.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.files.list(dir)
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = self.files.create_new(path)?;
        let is_segment = path.extension().is_some_and(|extension| extension == "qjl");
        Ok(if is_segment { Box::new(Late { file, held_back: Mutex::default() }) } else { file })
    }
    fn open(&self, path: &Path, offset: u64) -> io::Result<Box<dyn File>> {
        self.files.open(path, offset)
    }
    fn file_bytes(&self, path: &Path) -> io::Result<u64> {
        self.files.file_bytes(path)
    }
    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()> {
        self.files.read(path, offset, bytes_max, into)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        self.files.lock(path)
    }
    fn lock_shared(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        self.files.lock_shared(path)
    }
    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.files.is_locked(path)
    }
}

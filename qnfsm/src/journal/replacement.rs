//! How a file comes to be as a whole: whoever looks sees all of the old one or all of the new one, over any crash.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
};

use super::{
    error::IoError,
    storage::{File, Storage, remove_if_there},
};

/// What a file's name has behind it until the file is whole.
pub(super) const UNFINISHED: &str = ".tmp";

/// A file that is being written under another name, and then takes the place of the one that has its name. When it is dropped
/// before, it is gone.
#[derive(Debug)]
pub(super) struct Replacement<S: Deref<Target = dyn Storage>> {
    storage: S,
    dir: PathBuf,
    path: PathBuf,
    temporary: PathBuf,
    /// It is open, and neither in its place nor gone.
    file: Option<Box<dyn File>>,
}

impl<S: Deref<Target = dyn Storage>> Replacement<S> {
    /// Makes the file, for a name in a directory that is there. It is called `unfinished` first, and then [`UNFINISHED`]. What a
    /// crash left of one that is called so goes.
    pub(super) fn create(storage: S, dir: &Path, name: &str, unfinished: &str) -> Result<Replacement<S>, IoError> {
        let (path, temporary) = (dir.join(name), dir.join(format!("{unfinished}{UNFINISHED}")));
        remove_if_there(&*storage, &temporary)?;
        let file = storage.create_new(&temporary).map_err(|error| IoError::new("create", &temporary, error))?;
        Ok(Replacement { storage, dir: dir.to_owned(), path, temporary, file: Some(file) })
    }

    fn file(&self) -> &dyn File {
        self.file.as_deref().expect("it is open until it is put in place, which takes it")
    }

    /// Writes more of it.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), IoError> {
        self.file().write_all(bytes).map_err(|error| IoError::new("write", &self.temporary, error))
    }

    /// Brings to disk what was written of it so far.
    pub(super) fn sync(&self) -> Result<(), IoError> {
        self.file().sync_data().map_err(|error| IoError::new("sync", &self.temporary, error))
    }

    /// Gives it its name, and returns when all of it is on disk under that.
    pub(super) fn put_in_place(self) -> Result<(), IoError> {
        self.put_in_place_in(|| Some(()))
    }

    /// As [`put_in_place`](Replacement::put_in_place), with what `turn` gives held while it gets its name, and for no longer;
    /// it is given up if that is none.
    pub(super) fn put_in_place_in<T>(mut self, turn: impl FnOnce() -> Option<T>) -> Result<(), IoError> {
        self.sync()?;
        let Some(held) = turn() else { return Ok(()) };
        let Replacement { storage, dir, path, temporary, .. } = &self;
        storage.rename(temporary, path).map_err(|error| IoError::new("put in place", path, error))?;
        drop(held);
        storage.sync_dir(dir).map_err(|error| IoError::new("sync", dir, error))?;
        self.file = None;
        Ok(())
    }
}

impl<S: Deref<Target = dyn Storage>> Drop for Replacement<S> {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // If it can't be removed, the next of its name removes it.
            let _ = self.storage.remove(&self.temporary);
        }
    }
}

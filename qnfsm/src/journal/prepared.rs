//! Segments that are made beforehand: files of zeros which are on disk, so that a sync of what is written over them is of those
//! bytes alone. A file that grows takes another write for its length.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    JOURNAL_DIR,
    error::IoError,
    storage::{File, Storage, remove_if_there},
};

/// The next segment's file until it gets its name. There is no other file of that name, and readers pass it over.
const NAME: &str = "next.tmp";

/// How much is made at once beside a journal that is written.
const STEP_BYTES: u64 = 1 << 20;

/// Where a journal's segments come from.
#[derive(Debug)]
pub(super) struct Preparation {
    storage: Arc<dyn Storage>,
    /// The next segment's file, before it is one.
    path: PathBuf,
    /// How long segments are that are made beforehand; none if they aren't.
    bytes: Option<u64>,
    next: Mutex<Next>,
}

/// The next segment's file.
#[derive(Debug, Default)]
enum Next {
    #[default]
    NotBegun,
    /// So many bytes of zeros are there.
    Made(Box<dyn File>, u64),
    /// There was no room for it: it is begun as it would be without.
    NoRoom,
    /// The journal is closed; nothing is made any more.
    Closed,
}

impl Preparation {
    /// Removes what an earlier run has left. With `bytes` segments of that length are made beforehand, the first one at once.
    pub(super) fn begin(
        storage: Arc<dyn Storage>,
        node_dir: &Path,
        bytes: Option<u64>,
    ) -> Result<Preparation, IoError> {
        let preparation = Preparation { storage, path: path(node_dir), bytes, next: Mutex::default() };
        preparation.remove()?;
        preparation.go_on(u64::MAX)?;
        Ok(preparation)
    }

    /// Makes some of the next segment, and returns when that is on disk.
    pub(super) fn step(&self, written_bytes: u64) -> Result<(), IoError> {
        // Not before it is needed: it takes room.
        if self.bytes.is_some_and(|bytes| written_bytes >= bytes / 2) { self.go_on(STEP_BYTES) } else { Ok(()) }
    }

    /// Makes up to so many bytes of the next segment. Where there is no room, what was made is given back: records need it.
    fn go_on(&self, step_bytes: u64) -> Result<(), IoError> {
        let Some(bytes_max) = self.bytes else { return Ok(()) };
        let mut next = self.next();
        let (file, bytes) = match &mut *next {
            Next::NoRoom | Next::Closed => return Ok(()),
            Next::Made(_, bytes) if *bytes >= bytes_max => return Ok(()),
            Next::Made(file, bytes) => (file, bytes),
            empty @ Next::NotBegun => {
                let file = self.storage.create_new(&self.path);
                *empty = Next::Made(file.map_err(|error| IoError::new("create", &self.path, error))?, 0);
                let Next::Made(file, bytes) = empty else { unreachable!("it was just made") };
                (file, bytes)
            }
        };
        let end = bytes.saturating_add(step_bytes).min(bytes_max);
        let Err(error) = write_zeros(&**file, bytes, end) else { return Ok(()) };
        *next = Next::NoRoom;
        self.remove()?;
        if error.kind() != io::ErrorKind::StorageFull {
            return Err(IoError::new("write", &self.path, error));
        }
        tracing::warn!(path = %self.path.display(), "there is no room for another segment of the journal");
        Ok(())
    }

    // A thread that panicked while it held this has left a file that is at least as long as it says.
    fn next(&self) -> MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a segment's file, to be written from its start on: of the one that is ready, without waiting for one that isn't.
    /// Its name isn't on disk before the directory is.
    pub(super) fn make_segment(&self, segment: &Path) -> Result<Arc<dyn File>, IoError> {
        let mut next = self.next.try_lock().ok();
        let file = match next.as_deref_mut() {
            // It is held until the file has its new name: another of the old one mustn't be made before.
            Some(ready @ Next::Made(..)) if self.is_made(ready) => {
                *ready = Next::NotBegun;
                self.put_in_place(segment)?
            }
            other => {
                if let Some(no_room @ Next::NoRoom) = other {
                    // There may be some for the one behind this.
                    *no_room = Next::NotBegun;
                }
                self.storage.create_new(segment).map_err(|error| IoError::new("create", segment, error))?
            }
        };
        Ok(Arc::from(file))
    }

    fn is_made(&self, next: &Next) -> bool {
        matches!(next, Next::Made(_, bytes) if self.bytes <= Some(*bytes))
    }

    /// Gives the next segment's file its name, unless another has it: that isn't to be taken over, by whoever writes here past a
    /// lock that doesn't hold.
    fn put_in_place(&self, segment: &Path) -> Result<Box<dyn File>, IoError> {
        match self.storage.file_bytes(segment) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(IoError::new("look at", segment, error)),
            Ok(_) => return Err(IoError::new("create", segment, io::ErrorKind::AlreadyExists.into())),
        }
        self.storage.rename(&self.path, segment).map_err(|error| IoError::new("put in place", segment, error))?;
        self.storage.open(segment, 0).map_err(|error| IoError::new("open", segment, error))
    }

    /// Gives back the room behind the end of the last segment, and that of the next one. Over a crash the next start does it.
    pub(super) fn give_back_room(&self, last: &dyn File, written_bytes: u64) {
        let mut next = self.next();
        if self.bytes.is_none() || matches!(*next, Next::Closed) {
            return;
        }
        // Before the file is removed, so that nobody holds it open.
        *next = Next::Closed;
        let cut = last.truncate(written_bytes).map_err(|error| IoError::new("truncate", &self.path, error));
        if let Err(error) = cut.and(self.remove()) {
            // Readers pass over both.
            tracing::debug!(%error, "room on disk that was taken beforehand stays taken");
        }
    }

    fn remove(&self) -> Result<(), IoError> {
        remove_if_there(&*self.storage, &self.path)
    }
}

/// Gives back the room that a node took for its next segment before it was killed: a disk that is full has some again.
///
/// # Errors
/// What the operating system says.
pub fn give_back_room(storage: &dyn Storage, node_dir: &Path) -> Result<(), IoError> {
    remove_if_there(storage, &path(node_dir))
}

/// Where the next segment's file lies until it is one.
pub(super) fn path(node_dir: &Path) -> PathBuf {
    node_dir.join(JOURNAL_DIR).join(NAME)
}

/// Writes zeros from `bytes` on up to `end`, and returns when they are on disk.
fn write_zeros(file: &dyn File, bytes: &mut u64, end: u64) -> io::Result<()> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    while *bytes < end {
        let zeros = usize::try_from(end - *bytes).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        file.write_all(&ZEROS[..zeros])?;
        *bytes += zeros as u64;
    }
    file.sync_data()
}

//! Segments that are made beforehand: files of zeros which are on disk, so that a sync of what is written over them is of those
//! bytes alone. A file that grows takes another write for its length.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    JOURNAL_DIR,
    error::IoError,
    storage::{File, Storage},
};

/// The next segment's file until it gets its name. There is no other file of that name, and readers pass it over.
const NAME: &str = "next.tmp";

/// How much is made at once beside a journal that is written.
const STEP_BYTES: u64 = 4 << 20;

/// Where a journal's segments come from.
#[derive(Debug)]
pub(super) struct Preparation {
    storage: Arc<dyn Storage>,
    /// The next segment's file, before it is one.
    path: PathBuf,
    /// How long segments are that are made beforehand; none if they aren't.
    bytes: Option<u64>,
    next: Mutex<Option<Prepared>>,
}

/// A file of zeros that is being made.
#[derive(Debug)]
struct Prepared {
    file: Box<dyn File>,
    bytes: u64,
}

impl Preparation {
    /// Removes what an earlier run has left. With `bytes` segments of that length are made beforehand, the first one at once.
    pub(super) fn begin(
        storage: Arc<dyn Storage>,
        node_dir: &Path,
        bytes: Option<u64>,
    ) -> Result<Preparation, IoError> {
        let path = node_dir.join(JOURNAL_DIR).join(NAME);
        let preparation = Preparation { storage, path, bytes, next: Mutex::default() };
        preparation.remove()?;
        preparation.go_on(u64::MAX)?;
        Ok(preparation)
    }

    /// Makes some of the next segment, and returns when that is on disk.
    pub(super) fn step(&self, written_bytes: u64) -> Result<(), IoError> {
        // Not before it is needed: it takes room.
        if self.bytes.is_some_and(|bytes| written_bytes >= bytes / 2) { self.go_on(STEP_BYTES) } else { Ok(()) }
    }

    fn go_on(&self, step_bytes: u64) -> Result<(), IoError> {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        let Some(bytes_max) = self.bytes else { return Ok(()) };
        // A thread that panicked while it held this has left a file that is still as long as it says.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match &mut *next {
            Some(next) if next.bytes >= bytes_max => return Ok(()),
            Some(next) => next,
            None => {
                let file = self.storage.create_new(&self.path);
                let file = file.map_err(|error| IoError::new("create", &self.path, error))?;
                next.insert(Prepared { file, bytes: 0 })
            }
        };
        let end = next.bytes.saturating_add(step_bytes).min(bytes_max);
        while next.bytes < end {
            let zeros = usize::try_from(end - next.bytes).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            next.file.write_all(&ZEROS[..zeros]).map_err(|error| IoError::new("write", &self.path, error))?;
            next.bytes += zeros as u64;
        }
        next.file.sync_data().map_err(|error| IoError::new("sync", &self.path, error))
    }

    /// Makes a segment's file, to be written from its start on: of the one that is ready, without waiting for one that isn't.
    /// Its name isn't on disk before the directory is.
    pub(super) fn make_segment(&self, segment: &Path) -> Result<Arc<dyn File>, IoError> {
        let is_ready = |next: &mut Prepared| self.bytes.is_some_and(|bytes| next.bytes >= bytes);
        let ready = self.next.try_lock().ok().and_then(|mut next| next.take_if(is_ready));
        let file = match ready {
            Some(_) => {
                let renamed = self.storage.rename(&self.path, segment);
                renamed.map_err(|error| IoError::new("put in place", segment, error))?;
                self.storage.open(segment, 0).map_err(|error| IoError::new("open", segment, error))?
            }
            None => self.storage.create_new(segment).map_err(|error| IoError::new("create", segment, error))?,
        };
        Ok(Arc::from(file))
    }

    /// Gives back the room behind the end of the last segment, and that of the next one. Over a crash the next start does it.
    pub(super) fn give_back_room(&self, last: &dyn File, written_bytes: u64) {
        if self.bytes.is_none() {
            return;
        }
        let cut = last.truncate(written_bytes).map_err(|error| IoError::new("truncate", &self.path, error));
        if let Err(error) = cut.and(self.remove()) {
            // Readers pass over both.
            tracing::debug!(%error, "room on disk that was taken beforehand stays taken");
        }
    }

    fn remove(&self) -> Result<(), IoError> {
        match self.storage.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(IoError::new("remove", &self.path, error)),
            _ => Ok(()),
        }
    }
}

//! Reading beside a running node, which writes on meanwhile: what seems to be damaged may only be half written, and is looked at again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use qnfsm::journal::{OpenError, ReadError, Reader, Storage};

/// How often the same place is looked at before it is believed to be damaged, and how long one waits before each look.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// How a journal is opened, and how often what can't be read is looked at.
#[derive(Debug)]
pub(crate) struct Again {
    live: bool,
    /// The place that could not be read last, and how often it was looked at.
    at: Option<(PathBuf, u64)>,
    looks: u32,
}

impl Again {
    /// Of a journal in whose directory a node may be running, if it is `live`.
    pub(crate) fn new(live: bool) -> Again {
        Again { live, at: None, looks: 0 }
    }

    pub(crate) fn open(&self, storage: Arc<dyn Storage>, dir: &Path) -> Result<Reader, OpenError> {
        if self.live { Reader::open_beside(storage, dir) } else { Reader::open(storage, dir) }
    }

    /// True if what could not be read may be there by now. Waits a little.
    pub(crate) fn may(&mut self, error: &ReadError) -> bool {
        let ReadError::Corrupt(corrupt) = error else { return false };
        let at = Some((corrupt.file.clone(), corrupt.offset));
        if self.at != at {
            (self.at, self.looks) = (at, 0);
        }
        self.looks += 1;
        let may = self.live && self.looks <= LOOKS;
        if may {
            sleep(PAUSE);
        }
        may
    }
}

//! The journal that rounds are written to: in files which a thread syncs in the background as a node's does, or in memory.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use qnfsm::{
    Codec, Epoch, GENERATOR, Limits,
    journal::{Journal, JournalError, JournalOptions, Manifest, RealFiles, SegmentInfo, Storage},
};
use tempfile::TempDir;

use super::relay::NODE;
use crate::{
    plan::{Failure, Recording},
    recorded::directory,
    sink::MemoryFiles,
};

/// The node's identity.
const IDENTITY: u128 = 1;
/// The directory of a journal in memory.
const IN_MEMORY: &str = "/in-memory";

/// A journal that is written, and what goes away with it.
pub struct Recorded {
    journal: Journal,
    caretaker: Caretaker,
    /// Goes away after the caretaker has come to its end.
    dir: Option<TempDir>,
}

impl Recorded {
    /// Begins a journal.
    ///
    /// # Errors
    /// When the disk fails, or nothing is to be recorded.
    pub fn begin(recording: Recording) -> Result<Recorded, Failure> {
        let dir = match recording {
            Recording::Memory => None,
            Recording::Buffered => Some(directory()?),
            other => return Err(format!("what a round costs isn't measured with recording {other}").into()),
        };
        let journal = match &dir {
            Some(dir) => journal(Arc::new(RealFiles), dir.path())?,
            None => journal(Arc::new(MemoryFiles::new()), &PathBuf::from(IN_MEMORY))?,
        };
        Ok(Recorded { caretaker: Caretaker::start(journal.clone()), journal, dir })
    }

    /// The journal.
    pub fn journal(&self) -> Journal {
        self.journal.clone()
    }

    /// Ends it, and takes its files away.
    ///
    /// # Errors
    /// When a sync failed.
    pub fn end(self) -> Result<(), Failure> {
        let Recorded { caretaker, dir, .. } = self;
        caretaker.end()?;
        drop(dir);
        Ok(())
    }
}

/// Begins the journal of a node that was never there before.
///
/// # Errors
/// When the storage fails.
pub fn journal(files: Arc<dyn Storage>, dir: &Path) -> Result<Journal, Failure> {
    Manifest::new(IDENTITY, NODE, "qnfsm-bench", 0).create(&*files, dir)?;
    let info = SegmentInfo {
        codec: Codec::CURRENT.id(),
        generator: GENERATOR,
        identity: IDENTITY,
        node: NODE,
        epoch: Epoch::FIRST,
        epoch_random: 0,
        build: 0,
        build_bytes: 0,
        catalogue: Vec::new(),
        configuration: Vec::new(),
        marks_ends: false,
    };
    Ok(Journal::begin(files, dir, info, None, JournalOptions::default())?)
}

/// Syncs a journal as often as a node does by default.
struct Caretaker {
    thread: JoinHandle<Result<(), JournalError>>,
    /// Dropping it ends the thread.
    keeps_on: Sender<()>,
}

impl Caretaker {
    fn start(journal: Journal) -> Caretaker {
        let (keeps_on, is_over): (_, Receiver<()>) = bounded(0);
        let every = Limits::default().sync_every;
        let thread = thread::spawn(move || {
            while is_over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                journal.sync()?;
            }
            Ok(())
        });
        Caretaker { thread, keeps_on }
    }

    fn end(self) -> Result<(), Failure> {
        drop(self.keeps_on);
        Ok(self.thread.join().map_err(|_| "the thread that syncs panicked")??)
    }
}

//! The journal that rounds are written to: in files which a thread syncs in the background as a node's does, or in the library's
//! files in memory, of which that thread gives up what is old, as a flight recorder does.

use std::{
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use qnfsm::{
    Codec, Epoch, GENERATOR, Limits,
    journal::{Journal, JournalOptions, Manifest, MemoryFiles, RealFiles, SegmentInfo, Storage, segment_path},
};
use tempfile::TempDir;

use super::relay::NODE;
use crate::{
    plan::{Failure, Recording},
    recorded::directory,
};

/// The node's identity.
const IDENTITY: u128 = 1;
/// The directory of a journal in memory, and how much of it is kept: what a node keeps by default.
const IN_MEMORY: &str = "/in-memory";
const KEPT_BYTES: u64 = 64 << 20;
const KEPT_SEGMENTS: u64 = 8;
/// How often it is looked whether there is more.
const GIVE_UP_EVERY: Duration = Duration::from_millis(5);

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
        let (journal, memory) = match &dir {
            Some(dir) => (journal(Arc::new(RealFiles), dir.path(), JournalOptions::default())?, None),
            None => {
                let memory = warm_memory()?;
                let options = JournalOptions::default().segment_bytes(KEPT_BYTES / KEPT_SEGMENTS);
                (journal(Arc::new(memory.clone()), Path::new(IN_MEMORY), options)?, Some(memory))
            }
        };
        Ok(Recorded { caretaker: Caretaker::start(journal.clone(), memory), journal, dir })
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

/// Files in memory that have been written full and let go of, as in a node that has run for some time.
fn warm_memory() -> Result<MemoryFiles, Failure> {
    let (memory, path) = (MemoryFiles::new(KEPT_BYTES), Path::new(IN_MEMORY).join("before"));
    let file = memory.create_new(&path)?;
    let chunk = vec![0xff; 1 << 20];
    for _ in 0..KEPT_BYTES >> 20 {
        file.write_all(&chunk)?;
    }
    memory.remove(&path)?;
    Ok(memory)
}

/// Begins the journal of a node that was never there before.
///
/// # Errors
/// When the storage fails.
pub fn journal(files: Arc<dyn Storage>, dir: &Path, options: JournalOptions) -> Result<Journal, Failure> {
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
    Ok(Journal::begin(files, dir, info, None, options)?)
}

/// Syncs a journal as often as a node does by default, and gives up what is old of one in memory.
struct Caretaker {
    thread: JoinHandle<Result<(), Failure>>,
    /// Dropping it ends the thread.
    keeps_on: Sender<()>,
}

impl Caretaker {
    fn start(journal: Journal, memory: Option<MemoryFiles>) -> Caretaker {
        let (keeps_on, is_over): (_, Receiver<()>) = bounded(0);
        let every = if memory.is_some() { GIVE_UP_EVERY } else { Limits::default().sync_every };
        let mut oldest = 1;
        let thread = thread::spawn(move || {
            while is_over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let Some(memory) = &memory else {
                    journal.sync()?;
                    continue;
                };
                while oldest + KEPT_SEGMENTS <= journal.position().segment {
                    memory.remove(&segment_path(Path::new(IN_MEMORY), oldest))?;
                    oldest += 1;
                }
            }
            Ok(())
        });
        Caretaker { thread, keeps_on }
    }

    fn end(self) -> Result<(), Failure> {
        drop(self.keeps_on);
        self.thread.join().map_err(|_| "the thread that syncs panicked")?
    }
}

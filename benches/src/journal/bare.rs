//! The loops that bound what is written down: one file, to which batches are written, and which is synced more or less often.
//!
//! The bytes are those of ours for such a batch, made beforehand: nothing is encoded, numbered or checked.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    sync::Arc,
    thread::{self, JoinHandle},
};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use qnfsm::{
    EdgeId, Epoch, Limits, NodeId, Place, RawQueueId, WorkerId,
    frame::{Batch, Header},
};
use tempfile::TempDir;

use super::{
    load::{Load, Rows},
    store::{Shape, Store},
};
use crate::{plan::Failure, recorded};

/// Whether a file grows with what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grows {
    /// It does, and its length is synced as well.
    Yes,
    /// It was written full of zeros before.
    No,
}

/// When a file is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    /// Never.
    Never,
    /// On a thread beside, as often as a node of ours does.
    Behind,
    /// After so many batches, which wait for it.
    After(u32),
}

/// One file: a write for each batch.
pub struct Bare {
    file: Arc<File>,
    /// As many bytes as ours for a batch.
    batch: Vec<u8>,
    /// Where a file that doesn't grow ends, and how much of it is written over.
    room: Option<(u64, u64)>,
    syncs: Syncs,
    /// How many batches wait for a sync.
    waiting: u32,
    behind: Option<Behind>,
    dir: TempDir,
}

/// As long as a segment of ours.
const FILE_BYTES: u64 = 64 << 20;

/// The bytes of a round's record in our journal beside its batches, about.
const RECORD_BYTES: usize = 50;

impl Bare {
    /// A file for such batches.
    ///
    /// # Errors
    /// When there can't be one.
    pub fn new<L: Load>(shape: Shape, grows: Grows, syncs: Syncs) -> Result<Bare, Failure> {
        let dir = recorded::directory()?;
        let mut file = File::create_new(dir.path().join("batches"))?;
        let room = match grows {
            Grows::Yes => None,
            Grows::No => {
                let zeros = vec![0; 1 << 20];
                for _ in 0..FILE_BYTES >> 20 {
                    file.write_all(&zeros)?;
                }
                file.sync_all()?;
                file.seek(SeekFrom::Start(0))?;
                Some((FILE_BYTES, 0))
            }
        };
        let mut batch = vec![7; RECORD_BYTES];
        batch.extend_from_slice(frames::<L>(shape)?.as_ref().bytes);
        let file = Arc::new(file);
        let behind = (syncs == Syncs::Behind).then(|| Behind::start(file.clone()));
        Ok(Bare { file, batch, room, syncs, waiting: 0, behind, dir })
    }
}

/// What ours would write of a batch.
fn frames<L: Load>(Shape { messages, bytes, of_clients, .. }: Shape) -> Result<Batch, Failure> {
    let mut frames = Batch::new(Place::edge(EdgeId::FIRST_OF_USER), Epoch::FIRST, 1);
    let to = RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), 0, 1);
    for number in 0..messages {
        let sender = if of_clients { number } else { 0 };
        let from = RawQueueId::new(NodeId(0), Place::edge(EdgeId::FIRST_OF_USER), sender, 1);
        let mut payload = Vec::new();
        qnfsm::Codec::CURRENT.encode(&L::of(u32::MAX / 2 + number, bytes), &mut payload)?;
        frames.push(&Header::message(1, to, from), &payload);
    }
    Ok(frames)
}

impl Store for Bare {
    fn commit(&mut self, _batch: &Rows) -> Result<(), Failure> {
        let mut file = &*self.file;
        if let Some((end, at)) = &mut self.room {
            *at += self.batch.len() as u64;
            if *at > *end {
                *at = self.batch.len() as u64;
                file.seek(SeekFrom::Start(0))?;
            }
        }
        file.write_all(&self.batch)?;
        self.waiting += 1;
        match self.syncs {
            Syncs::After(batches) if self.waiting >= batches => self.settle(),
            _ => Ok(()),
        }
    }

    fn settle(&mut self) -> Result<(), Failure> {
        if matches!(self.syncs, Syncs::After(_)) && self.waiting > 0 {
            self.waiting = 0;
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<TempDir, Failure> {
        let Bare { behind, dir, .. } = *self;
        behind.map_or(Ok(()), Behind::end)?;
        Ok(dir)
    }
}

/// The thread that syncs beside.
struct Behind {
    thread: JoinHandle<std::io::Result<()>>,
    /// Dropping it ends the thread.
    keeps_on: Sender<()>,
}

impl Behind {
    fn start(file: Arc<File>) -> Behind {
        let (keeps_on, is_over) = bounded(0);
        let every = Limits::default().sync_every;
        let thread = thread::spawn(move || {
            while is_over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                file.sync_data()?;
            }
            Ok(())
        });
        Behind { thread, keeps_on }
    }

    fn end(self) -> Result<(), Failure> {
        drop(self.keeps_on);
        Ok(self.thread.join().map_err(|_| "the thread that syncs panicked")??)
    }
}

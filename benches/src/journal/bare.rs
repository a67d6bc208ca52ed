//! The loop that bounds what waits for a disk: all clients ask, their batch is written and synced, all are answered.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    time::Instant,
};

use qnfsm::{
    EdgeId, Epoch, NodeId, Place, RawQueueId, WorkerId,
    frame::{Batch, Header},
};
use tempfile::TempDir;

use super::tally::{Extent, Tally};
use crate::{
    messaging::message::{Payload, Small},
    plan::{Failure, Figures},
    recorded,
};

/// What keeps batches.
pub trait Store {
    /// Returns when all of it is on disk, or as safe as this store makes it.
    ///
    /// # Errors
    /// What the store says.
    fn commit(&mut self, batch: &[Small]) -> Result<(), Failure>;
}

/// Clients that ask again when they are answered: all at a time.
///
/// # Errors
/// What the store says.
pub fn closed_loop(store: &mut impl Store, clients: u32, extent: Extent) -> Result<Figures, Failure> {
    let mut tally = Tally::begin();
    for part in extent.parts() {
        tally = Tally::begin();
        let mut sequence = 0;
        let mut asked = Instant::now();
        while tally.elapsed(asked) < part {
            let batch: Vec<_> = (0..clients).map(|client| Small::new(client, sequence)).collect();
            store.commit(&batch)?;
            let now = Instant::now();
            tally.answered(asked, now, clients);
            asked = now;
            sequence += 1;
        }
        tally.end();
    }
    Ok(tally.figures())
}

/// Whether a file grows with what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grows {
    /// It does, and its length is synced as well.
    Yes,
    /// It was written full of zeros before.
    No,
}

/// One file: a write and an fdatasync for each batch.
pub struct Bare {
    file: File,
    /// As many bytes as ours for a batch.
    batch: Vec<u8>,
    /// Where a file that doesn't grow ends, and how much of it is written over.
    room: Option<(u64, u64)>,
    _dir: TempDir,
}

/// As long as a segment of ours.
const FILE_BYTES: u64 = 64 << 20;

/// The bytes of a round's record in our journal beside its batches, about.
const RECORD_BYTES: usize = 50;

impl Bare {
    /// A file for batches of so many messages.
    ///
    /// # Errors
    /// When there can't be one.
    pub fn new(clients: u32, grows: Grows) -> Result<Bare, Failure> {
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
        batch.extend_from_slice(frames(clients)?.as_ref().bytes);
        Ok(Bare { file, batch, room, _dir: dir })
    }
}

/// What ours would write of a batch.
fn frames(clients: u32) -> Result<Batch, Failure> {
    let mut frames = Batch::new(Place::edge(EdgeId::FIRST_OF_USER), Epoch::FIRST, 1);
    let to = RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), 0, 1);
    for client in 0..clients {
        let from = RawQueueId::new(NodeId(0), Place::edge(EdgeId::FIRST_OF_USER), client, 1);
        let mut payload = Vec::new();
        qnfsm::Codec::CURRENT.encode(&Small::new(client, u32::MAX / 2), &mut payload)?;
        frames.push(&Header::message(1, to, from), &payload);
    }
    Ok(frames)
}

impl Store for Bare {
    fn commit(&mut self, _batch: &[Small]) -> Result<(), Failure> {
        if let Some((end, at)) = &mut self.room {
            *at += self.batch.len() as u64;
            if *at > *end {
                *at = self.batch.len() as u64;
                self.file.seek(SeekFrom::Start(0))?;
            }
        }
        self.file.write_all(&self.batch)?;
        Ok(self.file.sync_data()?)
    }
}

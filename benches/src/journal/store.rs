//! What keeps messages without being a journal of ours: a file that is written and synced (`bare`), and embedded databases
//! (`databases`). Each is given the same batches, as rows.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    bare::{Bare, Grows, Syncs},
    databases::{Redb, Sqlite, Synchronous},
    feed::{Pace, Stream},
    load::{Load, Rows, batches},
    system::System,
    tally::{Extent, Tally},
};
use crate::{
    messaging::message::{Payload, Small},
    plan::{Failure, Figures},
};

/// What keeps batches.
pub trait Store {
    /// Returns when all of it is on disk, or as safe as this store makes it.
    ///
    /// # Errors
    /// What the store says.
    fn commit(&mut self, batch: &Rows) -> Result<(), Failure>;

    /// Makes safe what [`commit`](Store::commit) left for later, where it does.
    ///
    /// # Errors
    /// What the store says.
    fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Ends it in good order; gives its directory.
    ///
    /// # Errors
    /// What the store says.
    fn close(self: Box<Self>) -> Result<TempDir, Failure>;
}

/// What the batches are like that a store gets.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How many messages each has.
    pub messages: u32,
    /// How many bytes each message carries.
    pub bytes: u32,
    /// Whether each message of a batch is of another sender.
    pub of_clients: bool,
    /// How many batches may wait for one sync.
    pub shares: u32,
}

/// An empty store.
///
/// # Errors
/// When there can't be one, or the system is no store.
pub fn empty<L: Load>(system: System, shape: Shape) -> Result<Box<dyn Store>, Failure> {
    let bare = |grows, syncs| Bare::new::<L>(shape, grows, syncs);
    Ok(match system {
        System::Write | System::Read => Box::new(bare(Grows::Yes, Syncs::Never)?),
        System::WriteBehind => Box::new(bare(Grows::Yes, Syncs::Behind)?),
        System::WriteSync => Box::new(bare(Grows::Yes, Syncs::After(shape.shares))?),
        System::WriteSyncZeros => Box::new(bare(Grows::No, Syncs::After(shape.shares))?),
        System::SqliteFull => Box::new(Sqlite::new(Synchronous::Full)?),
        System::SqliteNormal => Box::new(Sqlite::new(Synchronous::Normal)?),
        System::Redb => Box::new(Redb::new()?),
        System::Ours | System::OursWithoutSnapshots => return Err("ours is no store".into()),
    })
}

/// Clients that ask again when they are answered: all at a time.
///
/// # Errors
/// What the store says.
pub fn closed_loop(system: System, clients: u32, extent: Extent) -> Result<Figures, Failure> {
    let shape = Shape { messages: clients, bytes: Small::BYTES, of_clients: true, shares: 1 };
    let mut store = empty::<Small>(system, shape)?;
    let (mut tally, mut batch) = (Tally::begin(), Rows::default());
    for part in extent.parts() {
        tally = Tally::begin();
        let mut sequence = 0;
        let mut asked = Instant::now();
        while tally.elapsed(asked) < part {
            batch.fill((0..clients).map(|client| Small::new(client, sequence)));
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

/// Puts a stream in; says how long it took until all was as safe as the store makes it.
///
/// # Errors
/// What the store says.
pub fn put_in<L: Load>(store: &mut dyn Store, stream: Stream) -> Result<Duration, Failure> {
    let (begun, mut batch) = (Instant::now(), Rows::default());
    let Stream { messages, in_a_batch, bytes, pace } = stream;
    for (number, (first, count)) in (1..).zip(batches(messages, in_a_batch)) {
        if pace == Pace::EachMillisecond {
            thread::sleep(Duration::from_millis(number).saturating_sub(begun.elapsed()));
        }
        batch.fill((first..first + count).map(|number| L::of(number, bytes)));
        store.commit(&batch)?;
    }
    store.settle()?;
    Ok(begun.elapsed())
}

/// What a stream's batches are like.
impl From<Stream> for Shape {
    fn from(Stream { in_a_batch, bytes, pace, .. }: Stream) -> Shape {
        let shares = match pace {
            Pace::UnderWay(batches) => batches,
            Pace::EachMillisecond => 1,
        };
        Shape { messages: in_a_batch, bytes, of_clients: false, shares }
    }
}

/// The length of all files in a directory and those within it.
///
/// # Errors
/// What the file system says.
pub fn files_bytes(dir: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { files_bytes(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

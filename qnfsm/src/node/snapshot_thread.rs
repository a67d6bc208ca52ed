//! The thread that brings one snapshot to disk while its worker goes on: it writes what the worker's thread hands over, and syncs.
//! It lives as long as its snapshot, and belongs to who takes that.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::{NodeError, directory::Directory, shared::Shared};
use crate::id::{EdgeId, Place, WorkerId};

/// How many pieces may be on their way.
const PIECES_MAX: usize = 64;

pub(super) enum Piece {
    /// The next bytes of the image.
    Image(Vec<u8>),
    /// It is whole. This is what the worker's driver keeps beside it.
    Driver(Vec<u8>),
}

/// A snapshot's thread. When this is dropped, the thread has ended, and what was not finished is gone.
pub(super) struct SnapshotThread {
    pieces: Option<Sender<Piece>>,
    ended: Arc<OnceLock<Result<(), NodeError>>>,
    thread: Option<JoinHandle<()>>,
}

impl SnapshotThread {
    /// Starts the thread for the snapshot of a worker after a round.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub(super) fn start(shared: &Arc<Shared>, worker: WorkerId, round: u64) -> io::Result<SnapshotThread> {
        let (pieces, taken) = bounded(PIECES_MAX);
        let ended = Arc::new(OnceLock::new());
        let (shared, told) = (shared.clone(), ended.clone());
        let name = format!("qnfsm-snapshot-{}", worker.0);
        let thread = thread::Builder::new().name(name).spawn(move || {
            let Some(directory) = &shared.directory else { return };
            // A storage of the user's may panic.
            let stored = catch_unwind(AssertUnwindSafe(|| store(directory, worker, round, &taken)));
            let stored = stored.unwrap_or(Err(NodeError::Panicked(Place::edge(EdgeId::NODE))));
            let _ = told.set(stored);
            shared.call(&[worker]);
        })?;
        Ok(SnapshotThread { pieces: Some(pieces), ended, thread: Some(thread) })
    }

    /// Hands over something. Gives it back if the thread has no room for it yet, unless it is to be waited for; a thread that has
    /// ended takes all.
    pub(super) fn hand_over(&self, piece: Piece, waits: bool) -> Option<Piece> {
        let pieces = self.pieces.as_ref()?;
        if waits {
            // Why nobody takes it will be said.
            let _ = pieces.send(piece);
            return None;
        }
        match pieces.try_send(piece) {
            Err(TrySendError::Full(piece)) => Some(piece),
            _ => None,
        }
    }

    /// Whether it has ended. The worker is called when it has.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Waits until it has ended, and says how. A snapshot that isn't whole by now is given up.
    pub(super) fn end(mut self) -> Result<(), NodeError> {
        self.join();
        // Nobody but this has a part in it once the thread has ended.
        Arc::get_mut(&mut self.ended).and_then(OnceLock::take).unwrap_or(Ok(()))
    }

    fn join(&mut self) {
        self.pieces = None;
        if let Some(thread) = self.thread.take() {
            // What panics in it is caught there.
            let _ = thread.join();
        }
    }
}

impl Drop for SnapshotThread {
    fn drop(&mut self) {
        self.join();
    }
}

/// Writes what comes. Whoever hangs up before it is whole has given it up.
fn store(directory: &Directory, worker: WorkerId, round: u64, pieces: &Receiver<Piece>) -> Result<(), NodeError> {
    let mut file = directory.snapshot_file(worker, round)?;
    for piece in pieces {
        match piece {
            Piece::Image(bytes) => file.image(&bytes)?,
            Piece::Driver(bytes) => return Ok(file.finish(&bytes)?),
        }
    }
    Ok(())
}

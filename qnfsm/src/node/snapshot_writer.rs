//! What brings one snapshot to disk while its worker goes on: a thread that writes what the worker's own hands over, and
//! syncs. It lives as long as its snapshot, and belongs to who takes that. Where the system has no thread for it, the
//! worker's does the same.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::{NodeError, shared::Shared};
use crate::{
    id::{EdgeId, Place, WorkerId},
    journal::snapshots::SnapshotFile,
};

/// How many pieces may be on their way.
const PIECES_MAX: usize = 64;

pub(super) enum Piece {
    /// The next bytes of the image.
    Image(Vec<u8>),
    /// It is whole. This is what the worker's driver keeps beside it.
    Driver(Vec<u8>),
}

/// Whoever writes a snapshot. When this is dropped, its thread has ended, and what was not finished is gone.
pub(super) enum SnapshotWriter {
    Apart(Apart),
    /// There was no thread for it.
    Here(Box<Here>),
}

impl SnapshotWriter {
    /// Begins to write the snapshot of a worker after a round. The worker is called when that has ended.
    pub(super) fn start(shared: &Arc<Shared>, worker: WorkerId, round: u64) -> SnapshotWriter {
        let storing = || Storing { shared: shared.clone(), worker, round, file: None };
        match Apart::start(storing()) {
            Ok(apart) => SnapshotWriter::Apart(apart),
            Err(error) => {
                tracing::warn!(%worker, %error, "no thread for a snapshot: the worker stands still while it is written");
                SnapshotWriter::Here(Box::new(Here { storing: storing(), ended: None }))
            }
        }
    }

    /// Hands over something. Gives it back if there is no room for it yet, unless that is to be waited for; who has ended
    /// takes all.
    pub(super) fn hand_over(&mut self, piece: Piece, waits: bool) -> Option<Piece> {
        match self {
            SnapshotWriter::Apart(apart) => apart.hand_over(piece, waits),
            SnapshotWriter::Here(here) => {
                here.take(piece);
                None
            }
        }
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            SnapshotWriter::Apart(apart) => apart.ended.get().is_some(),
            SnapshotWriter::Here(here) => here.ended.is_some(),
        }
    }

    /// Waits until it has ended, and says how. A snapshot that isn't whole by now is given up.
    pub(super) fn end(self) -> Result<(), NodeError> {
        match self {
            SnapshotWriter::Apart(apart) => apart.end(),
            SnapshotWriter::Here(here) => here.ended.unwrap_or(Ok(())),
        }
    }
}

/// The worker's own thread, which writes what it hands over.
pub(super) struct Here {
    storing: Storing,
    /// How it ended, if it has.
    ended: Option<Result<(), NodeError>>,
}

impl Here {
    fn take(&mut self, piece: Piece) {
        let Here { storing, ended } = self;
        if ended.is_none() {
            *ended = storing.take(piece).map(|is_whole| is_whole.then_some(())).transpose();
            if ended.is_some() {
                storing.call();
            }
        }
    }
}

/// A thread that writes.
pub(super) struct Apart {
    pieces: Option<Sender<Piece>>,
    ended: Arc<OnceLock<Result<(), NodeError>>>,
    thread: Option<JoinHandle<()>>,
}

impl Apart {
    fn start(mut storing: Storing) -> io::Result<Apart> {
        let (pieces, taken) = bounded(PIECES_MAX);
        let ended = Arc::new(OnceLock::new());
        let told = ended.clone();
        let name = format!("qnfsm-snapshot-{}", storing.worker.0);
        let thread = thread::Builder::new().name(name).spawn(move || {
            // A storage of the user's may panic.
            let stored = catch_unwind(AssertUnwindSafe(|| storing.take_all(&taken)));
            let _ = told.set(stored.unwrap_or(Err(NodeError::Panicked(Place::edge(EdgeId::NODE)))));
            storing.call();
        })?;
        Ok(Apart { pieces: Some(pieces), ended, thread: Some(thread) })
    }

    fn hand_over(&self, piece: Piece, waits: bool) -> Option<Piece> {
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

    fn end(mut self) -> Result<(), NodeError> {
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

impl Drop for Apart {
    fn drop(&mut self) {
        self.join();
    }
}

/// A snapshot as far as it is written.
pub(super) struct Storing {
    shared: Arc<Shared>,
    worker: WorkerId,
    round: u64,
    file: Option<SnapshotFile>,
}

impl Storing {
    /// Calls the worker.
    fn call(&self) {
        self.shared.call(&[self.worker]);
    }

    /// Writes what comes. Whoever hangs up before it is whole has given it up.
    fn take_all(&mut self, pieces: &Receiver<Piece>) -> Result<(), NodeError> {
        for piece in pieces {
            if self.take(piece)? {
                break;
            }
        }
        Ok(())
    }

    /// Writes a piece. True when the snapshot is whole and on disk.
    fn take(&mut self, piece: Piece) -> Result<bool, NodeError> {
        let Storing { shared, worker, round, file } = self;
        // Nobody begins one without.
        let Some(directory) = &shared.directory else { return Ok(true) };
        let mut at_hand = file.take().map_or_else(|| directory.snapshot_file(*worker, *round), Ok)?;
        match piece {
            Piece::Image(bytes) => at_hand.image(&bytes)?,
            Piece::Driver(bytes) => return Ok(directory.put_snapshot_in_place(at_hand, &bytes).map(|()| true)?),
        }
        *file = Some(at_hand);
        Ok(false)
    }
}

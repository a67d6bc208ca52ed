//! What can go wrong with a node: at its start, and while it runs.

use std::{io, path::PathBuf, sync::Arc};

use crate::{
    id::{EdgeId, Place},
    journal::{JournalError, OpenError, Position, ReadError},
    playback::PlaybackError,
    worker::{Fault, KindsError},
};

/// Why a node doesn't start. Nothing has left it, and nothing of what its journal holds is changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kinds are not in order.
    #[error("the program's kinds: {0}")]
    Kinds(#[from] KindsError),
    /// The first FSM's kind is not among them.
    #[error(
        "kind {0} of the node's first FSM is not registered; add it with `Kinds::with` to the function that names the kinds"
    )]
    UnregisteredRoot(&'static str),
    /// The builder was used wrongly.
    #[error("{0}")]
    Misuse(String),
    /// The directory can't be opened.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// The journal can't be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The journal can't be begun.
    #[error("{0}")]
    Journal(#[from] JournalError),
    /// The directory belongs to another program.
    #[error("{} belongs to another program, `{wrote}`: none of the kinds in it is known here", .dir.display())]
    ForeignProgram {
        /// The directory.
        dir: PathBuf,
        /// The program that wrote it.
        wrote: String,
    },
    /// The program's types are other ones than those of the program that wrote the journal.
    #[error(
        "{} was written by another build of the program, and a journal's tail belongs to the build that wrote it: {}",
        .dir.display(), .differences.join("; ")
    )]
    Changed {
        /// The directory.
        dir: PathBuf,
        /// What differs.
        differences: Vec<String>,
    },
    /// A segment's table of kinds can't be read.
    #[error("the table of kinds in the journal: {0}")]
    Catalogue(String),
    /// The recorded rounds can't be run again.
    #[error("at {position} of the journal: {source}")]
    Playback {
        /// Where in the journal.
        position: Position,
        /// What happened.
        source: PlaybackError,
    },
    /// The last recorded round ends in a fault, as it did when it was recorded.
    #[error("the round that ended the node's last run ends it again: {0}")]
    Fault(Box<Fault>),
    /// An edge can't be opened.
    #[error("edge {edge}: {source}")]
    Edge {
        /// The edge.
        edge: EdgeId,
        /// What the system says.
        source: io::Error,
    },
    /// The node can't begin to run.
    #[error("{0}")]
    Node(#[from] NodeError),
    /// The system refuses something else that a node needs.
    #[error("{what}: {source}")]
    System {
        /// What is needed.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// Why a running node stopped. What was recorded is there, and the node goes on from it when it is started again.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// An FSM brought its worker to a stop.
    #[error("{0}")]
    Fault(Box<Fault>),
    /// The journal can't be written.
    #[error("{0}")]
    Journal(#[from] JournalError),
    /// An edge became unusable.
    #[error("edge {edge} failed: {source}")]
    Edge {
        /// The edge.
        edge: EdgeId,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// Inboxes and queues hold more than the node may.
    #[error("inboxes and queues hold more than the hard limit of {limit_bytes} bytes; the largest are {}", .queues.join(", "))]
    HardLimit {
        /// The limit.
        limit_bytes: u64,
        /// The largest queues and inboxes, each with its bytes.
        queues: Vec<String>,
    },
    /// The system gives no further thread.
    #[error("no thread for another worker: {0}")]
    Thread(Arc<io::Error>),
    /// A source's numbers don't fit: a fault of the library's or of an edge's.
    #[error("{0}")]
    Inconsistent(String),
    /// A thread of the node's panicked outside of any FSM.
    #[error("the thread of {0} panicked")]
    Panicked(Place),
}

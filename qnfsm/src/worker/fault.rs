//! Why a worker can't go on.

use crate::{
    frame::FrameError,
    fsm::ExternalFault,
    id::{Place, WorkerId},
};

/// Why a worker can't go on. A node that meets one stops; what the round put out never leaves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{worker} round {round}{}: {what}", .fsm.as_ref().map(|fsm| format!(", {fsm}")).unwrap_or_default())]
pub struct Fault {
    /// The worker.
    pub worker: WorkerId,
    /// The round.
    pub round: u64,
    /// The FSM: its kind, queue, state and the type of the message that it was handling.
    pub fsm: Option<String>,
    /// What happened.
    pub what: FaultKind,
}

/// What can keep a worker from going on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// A handler panicked, and its kind's policy is to stop the node.
    #[error("its handler panicked: {0}")]
    Panic(String),
    /// A handler asked for what no handler may ask for, and its kind's policy is to stop the node.
    #[error("its handler asked for what can't be done: {0}")]
    Misuse(String),
    /// A queue overflowed, and its policy is to stop the node.
    #[error("its queue is full, and its policy is to stop the node")]
    QueueFull,
    /// An external value could not be had.
    #[error("{}", .0.0)]
    External(ExternalFault),
    /// What one of the node's own sources put in are not frames.
    #[error("batch from {source_place}: {error}")]
    BadBatch {
        /// The source.
        source_place: Place,
        /// What is wrong.
        error: FrameError,
    },
    /// In a replay with some of the kinds only: a handler needs one that isn't registered.
    #[error("{0}")]
    Lacking(String),
}

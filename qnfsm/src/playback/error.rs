//! Why a playback can't go on, and what can be done about it.

use super::Divergence;
use crate::id::WorkerId;

/// Why a playback can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaybackError {
    /// The program doesn't do what was recorded.
    #[error("{0}")]
    Diverged(Box<Divergence>),
    /// The records contradict one another, though each is whole.
    #[error("the journal contradicts itself at {worker} round {round}: {what}")]
    Contradiction {
        /// The worker.
        worker: WorkerId,
        /// The round.
        round: u64,
        /// What doesn't fit.
        what: String,
    },
    /// Another version of the program recorded a worker, and this one can't go on from there.
    #[error("{worker} can't be played back: {what}")]
    OtherVersion {
        /// The worker.
        worker: WorkerId,
        /// The last round that the other version recorded.
        round: u64,
        /// Why not.
        what: String,
    },
}

impl PlaybackError {
    /// What whoever starts the node can do about it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            PlaybackError::Diverged(_) => {
                "Start the build that wrote it and stop that cleanly, then this one; if it is the one that wrote it, replay \
                 the directory to find the FSM that depends on something outside its data"
            }
            PlaybackError::Contradiction { .. } => "Nothing was skipped or changed; put the journal back from a copy",
            PlaybackError::OtherVersion { .. } => "Use the build that wrote it",
        }
    }
}

//! What shapes a worker. It stands in its snapshots and in the journal; a change to it is a recorded input.

use serde::{Deserialize, Serialize};

/// How much of a worker's doing is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Recording {
    /// What crosses the perimeter inward, and a digest of each round. All else follows from that.
    #[default]
    Inputs,
    /// Each delivery as well, with a digest of its effects: a replay then names the very message where two runs part.
    Everything,
}

/// What shapes a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerConfig {
    /// The node's seed; with its queue ID it seeds each FSM's random numbers.
    pub seed: u64,
    /// How much is recorded.
    pub recording: Recording,
    /// The most messages that one FSM is handed in a turn; at least 1.
    pub turn_messages: u32,
    /// The most FSMs that there may be; a spawn past it is a dead letter, and its queue is one that is gone.
    pub fsms_max: u32,
}

impl Default for WorkerConfig {
    fn default() -> WorkerConfig {
        WorkerConfig { seed: 0, recording: Recording::Inputs, turn_messages: 32, fsms_max: 4_000_000 }
    }
}

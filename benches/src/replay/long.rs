//! A journal with many messages.

use std::{path::Path, time::Duration};

use qnfsm::{Kinds, Limits};
use tempfile::TempDir;

use crate::{
    journal::feed::{Pace, Running, Stream, UNDER_WAY, kinds},
    messaging::message::{Payload, Small},
    plan::{Failure, Recording},
};

/// How many messages are put in before the node is asked anew.
const IN_A_STREAM: u64 = 1 << 17;
/// How many are in a batch.
const IN_A_BATCH: u32 = 256;

/// A directory that a node left.
pub struct Long {
    dir: TempDir,
    /// Messages from outside.
    pub messages: u64,
    /// How long it took to put them in, live.
    pub live: Duration,
}

impl Long {
    /// Records at least so many messages.
    ///
    /// # Errors
    /// When the node fails.
    pub fn recorded(messages_min: u64) -> Result<Long, Failure> {
        let node = Running::<Small>::start(Recording::Buffered, Limits::default())?;
        let (mut messages, mut live) = (0, Duration::ZERO);
        while messages < messages_min {
            let stream = Stream {
                messages: u32::try_from(IN_A_STREAM)?,
                in_a_batch: IN_A_BATCH,
                bytes: Small::BYTES,
                pace: Pace::UnderWay(UNDER_WAY),
            };
            live += node.put_in(stream)?;
            messages += IN_A_STREAM;
        }
        let dir = node.stop()?.ok_or("what is buffered has a directory")?;
        Ok(Long { dir, messages, live })
    }

    /// The node's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The kinds of the program that recorded it.
    pub fn kinds() -> Kinds {
        kinds::<Small>()
    }
}

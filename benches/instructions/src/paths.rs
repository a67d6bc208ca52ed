//! The paths that are counted. Each does what it is for as often as it is told, and all else as often whatever it is told.

use std::{fmt, path::Path as Dir, sync::Arc};

use clap::ValueEnum;
use qnfsm::{
    NodeId,
    journal::{Reader, Record},
    playback::Playback,
};

use crate::{
    Failure,
    memory::MemoryFiles,
    rounds::{self, FRAMES_A_ROUND, Live, Say},
};

/// The directory of the journals in memory.
const DIR: &str = "/node";

/// A hot path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Path {
    /// A message from one FSM to another in a worker: sent, delivered, handled.
    Deliver,
    /// A frame that enters a worker: decoded, delivered, handled. Rounds have 32.
    Admit,
    /// A round of 32 frames that is written to the journal, in memory.
    Append,
    /// A frame that is read from a journal in memory and played back, in rounds of 32.
    Replay,
}

impl Path {
    /// All of them.
    pub const ALL: &[Path] = &[Path::Deliver, Path::Admit, Path::Append, Path::Replay];

    /// How often it is run to be counted; and twice as often.
    #[must_use]
    pub fn times(self) -> u32 {
        match self {
            Path::Deliver | Path::Admit | Path::Replay => ROUNDS_RECORDED / 2 * FRAMES_A_ROUND,
            Path::Append => ROUNDS_RECORDED / 2,
        }
    }

    /// Runs it so many times.
    ///
    /// # Errors
    /// What the path fails with.
    pub fn run(self, times: u32) -> Result<(), Failure> {
        match self {
            Path::Deliver => deliver(times),
            Path::Admit => admit(times),
            Path::Append => append(times),
            Path::Replay => replay(times),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Path::Deliver => "deliver",
            Path::Admit => "admit",
            Path::Append => "append",
            Path::Replay => "replay",
        })
    }
}

/// How many rounds the journal has that is replayed, whatever part of it is.
const ROUNDS_RECORDED: u32 = 2_000;

fn deliver(times: u32) -> Result<(), Failure> {
    let mut live = Live::new()?;
    live.tell(&Say::Serve(times))?;
    while live.has_work() {
        live.round()?;
    }
    Ok(())
}

fn admit(times: u32) -> Result<(), Failure> {
    let mut live = Live::new()?;
    live.tell_all(&Say::Note(u64::MAX / 3), FRAMES_A_ROUND)?;
    for _ in 0..times / FRAMES_A_ROUND {
        live.round()?;
        live.again();
    }
    Ok(())
}

fn append(times: u32) -> Result<(), Failure> {
    let mut live = Live::new()?;
    let journal = rounds::journal(&Arc::new(MemoryFiles::default()), Dir::new(DIR))?;
    live.tell_all(&Say::Note(u64::MAX / 3), FRAMES_A_ROUND)?;
    for _ in 0..times {
        journal.write(&live.record(&[live.batch()]))?;
        live.again();
    }
    Ok(())
}

fn replay(times: u32) -> Result<(), Failure> {
    let files = Arc::new(MemoryFiles::default());
    let catalogue = rounds::record(&files, Dir::new(DIR), ROUNDS_RECORDED)?;
    let mut playback = Playback::new(catalogue, NodeId(0));
    let mut reader = Reader::open(files, Dir::new(DIR))?;
    let mut frames = 0;
    while frames < times {
        let Some(entry) = reader.next()? else { return Err("the journal ended too early".into()) };
        if let Record::Round { batches, .. } = entry.record {
            frames += batches.map(|batch| batch.count).sum::<u32>();
        }
        playback.apply(&entry.record, &mut ())?;
    }
    Ok(())
}

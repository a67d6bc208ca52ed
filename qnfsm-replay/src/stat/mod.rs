//! How a journal's node was used: rates, sizes, who talks most to whom, and how long frames and answers took.
//!
//! It counts what entered workers, which is what a journal holds: frames from other workers and from edges. What FSMs of one worker
//! say to one another follows from that and stands in no journal, unless the worker recorded everything; that is said with the
//! figures. Memory is bounded: of pairs of queues and of open requests a million each, and how long frames took of the first 16,384 pairs,
//! 64 MiB at most. It changes nothing.

mod counting;

use std::{path::Path, sync::Arc};

use qnfsm::journal::{RealFiles, holdings};
use serde::Serialize;

use crate::{
    ReplayError,
    dump::{Instant, Number, Queue},
    live::Again,
    read_ahead::ReadAhead,
    recorded::journal_bytes_before,
    replay::RECORDS_BETWEEN_REPORTS,
};
use counting::Counting;

/// How a journal is counted.
#[derive(Debug, Clone)]
pub struct Options {
    top: usize,
    live: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { top: 10, live: false }
    }
}

impl Options {
    /// With the ten busiest pairs of queues, where no node runs.
    #[must_use]
    pub fn new() -> Options {
        Options::default()
    }

    /// How many pairs of queues are listed.
    #[must_use]
    pub fn top(mut self, top: usize) -> Options {
        self.top = top;
        self
    }

    /// Whether a directory is read in which a node may be running: what is there at that moment.
    #[must_use]
    pub fn live(mut self, live: bool) -> Options {
        self.live = live;
        self
    }
}

/// What was counted. As JSON, its fields are those of `qnfsm stat --json`.
#[derive(Debug, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it, and the guide lists them")]
pub struct Statistics {
    pub program: String,
    /// The times of the earliest round and the latest one.
    pub from: Option<Instant>,
    pub to: Option<Instant>,
    pub span_ns: Number,
    pub rounds: Number,
    pub frames: Number,
    pub payload_bytes: Number,
    pub workers: Vec<Worker>,
    /// By message type, the busiest first.
    pub types: Vec<Type>,
    pub talkers: Vec<Talker>,
    /// How long frames took from one worker to another, at least.
    pub lags: Vec<Lag>,
    /// How long askers waited for answers from other workers.
    pub answers: Vec<Lag>,
    /// What FSMs handled, of workers that recorded everything.
    pub deliveries: Vec<Delivered>,
    /// What the figures can't tell.
    pub remarks: Vec<String>,
    /// What kept the journal from being read to its end. All that is said is of what comes before.
    #[serde(skip)]
    pub damage: Option<ReplayError>,
}

/// What entered a worker.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Worker {
    pub worker: u32,
    pub rounds: Number,
    /// None, where no time passed; so with the other rates.
    pub rounds_per_s: Option<f64>,
    pub frames: Number,
    pub frames_per_s: Option<f64>,
    pub payload_bytes: Number,
    pub bytes_per_s: Option<f64>,
    /// How many frames its rounds had.
    pub frames_of_round: Percentiles,
}

/// Frames with messages of a type.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Type {
    pub name: String,
    pub frames: Number,
    pub payload_bytes: Number,
    /// How many bytes one has.
    pub size: Percentiles,
}

/// Who sent to whom.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Talker {
    pub from: Queue,
    pub to: Queue,
    pub frames: Number,
    pub payload_bytes: Number,
    /// How long its frames took, at least, in nanoseconds, to one digit; of two workers, unless there are too many pairs.
    pub lag_ns: Option<Percentiles>,
}

/// How long something took between two workers, in nanoseconds.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Lag {
    pub from: String,
    pub to: String,
    pub count: Number,
    pub ns: Percentiles,
}

/// Messages that FSMs of a kind handled.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Delivered {
    pub kind: String,
    #[serde(rename = "type")]
    pub of: String,
    pub count: Number,
}

/// How a figure is spread: the least and the most as they were, the others to two digits unless it is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub min: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
}

/// Counts the journal of the node's directory `dir`. `on_progress` is called now and then with how many bytes of how many have been
/// read.
///
/// ```no_run
/// use qnfsm_replay::stat::{Options, stat};
///
/// let statistics = stat("/var/lib/my-service".as_ref(), &Options::new(), |_, _| {})?;
/// println!("{} frames", statistics.frames);
/// # Ok::<(), qnfsm_replay::ReplayError>(())
/// ```
///
/// # Errors
/// When the directory can't be opened, or the system fails. Where the journal is damaged, that is said in [`Statistics::damage`].
pub fn stat(dir: &Path, options: &Options, mut on_progress: impl FnMut(u64, u64)) -> Result<Statistics, ReplayError> {
    let mut again = Again::new(options.live);
    let mut reader = again.open(Arc::new(ReadAhead::of(dir)), dir)?;
    let manifest = reader.manifest().clone();
    let files = holdings::segments(&RealFiles, dir)?.split_off(&manifest.oldest_segment);
    let bytes_total = files.values().sum();
    let mut counting = Counting::new(dir, &manifest);
    let mut records = 0;
    let damage = loop {
        match reader.next() {
            Ok(Some(entry)) => {
                let at = entry.position;
                records += 1;
                if records % RECORDS_BETWEEN_REPORTS == 0 {
                    on_progress(journal_bytes_before(&files, at), bytes_total);
                }
                if counting.segment() == Some(at.segment) {
                    counting.take(&entry.record);
                    continue;
                }
                // The header can only be looked at when the record is let go of.
                let mut first = qnfsm::journal::Excerpt::default();
                first.push(&entry);
                let header = reader.header().expect("a record was read from a segment with a header");
                if let Err(error) = counting.enter(header) {
                    break Some(error);
                }
                first.entries().for_each(|entry| counting.take(&entry.record));
            }
            Ok(None) => break None,
            Err(error) if again.may(&error) => reader.look_again()?,
            Err(error) => break Some(error.into()),
        }
    };
    Ok(counting.statistics(options.top, damage))
}

//! Reads a journal that knows its own types: every record, every message and every FSM of a snapshot, one after another,
//! without the program that wrote it.
//!
//! It holds one segment in memory, one snapshot, and one value that is shown. Bytes and names may come from anybody:
//! whatever they are, what is shown of them is escaped and bounded, and nothing in them ends in a panic. It changes nothing.

mod images;
mod line;
mod records;
mod summary;
mod tables;
mod text;
mod value;

use std::{fmt, io, ops::RangeInclusive, path::Path, sync::Arc};

use qnfsm::{
    WorkerId,
    journal::{Excerpt, Reader, RealFiles, Storage, holdings},
};

pub use line::{
    Config, Contents, Delivered, FileState, Hex, Instant, Line, Name, Number, Queue, Resource, What, Where,
};
use records::Records;
pub use summary::{Opaque, Summary};
use tables::Own;
pub use value::Value;

use crate::{ReplayError, recorded::journal_bytes_before};

/// What of a journal is shown, and how much of a value.
#[derive(Debug, Clone)]
pub struct Options {
    worker: Option<WorkerId>,
    rounds: RangeInclusive<u64>,
    snapshots: bool,
    value_chars_max: usize,
    answers: bool,
}

/// How much of a value is shown unless it is said, in characters.
pub const VALUE_CHARS_DEFAULT: usize = 1 << 20;

impl Default for Options {
    fn default() -> Options {
        Options {
            worker: None,
            rounds: 0..=u64::MAX,
            snapshots: true,
            value_chars_max: VALUE_CHARS_DEFAULT,
            answers: false,
        }
    }
}

impl Options {
    /// All of it.
    #[must_use]
    pub fn new() -> Options {
        Options::default()
    }

    /// What is about that worker alone.
    #[must_use]
    pub fn worker(mut self, worker: WorkerId) -> Options {
        self.worker = Some(worker);
        self
    }

    /// What is about those rounds alone.
    #[must_use]
    pub fn rounds(mut self, rounds: RangeInclusive<u64>) -> Options {
        self.rounds = rounds;
        self
    }

    /// Whether snapshots are opened, or only their marks shown.
    #[must_use]
    pub fn snapshots(mut self, snapshots: bool) -> Options {
        self.snapshots = snapshots;
        self
    }

    /// The most characters that are shown of one value; [`VALUE_CHARS_DEFAULT`] unless it is said.
    #[must_use]
    pub fn value_chars(mut self, value_chars_max: usize) -> Options {
        self.value_chars_max = value_chars_max;
        self
    }

    /// Whether what ports answered is shown, in hex: a journal doesn't say of which type it is, so it may hold a secret.
    #[must_use]
    pub fn answers(mut self, answers: bool) -> Options {
        self.answers = answers;
        self
    }

    /// Whether something of that worker and round is shown.
    fn shows(&self, worker: Option<WorkerId>, round: Option<u64>) -> bool {
        let of_worker = self.worker.is_none() || self.worker == worker;
        let of_round = match round {
            Some(round) => self.rounds.contains(&round),
            None => self.rounds == Options::default().rounds,
        };
        of_worker && of_round
    }
}

/// Why not all of a journal was shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// It can't be read, or is damaged. Everything up to there was shown, and a summary of it.
    #[error(transparent)]
    Journal(#[from] ReplayError),
    /// Whoever takes the lines failed to.
    #[error("what was read can't be handed on: {0}")]
    Output(io::Error),
}

impl From<io::Error> for DumpError {
    fn from(error: io::Error) -> DumpError {
        DumpError::Output(error)
    }
}

/// Hands all that the journal of the node's directory `dir` says to `take`, line by line, in its order; last a summary. `on_progress` is
/// called for each record with how many bytes of how many have been read.
///
/// ```no_run
/// use qnfsm_replay::dump::{Options, dump};
///
/// let dumped = dump("/var/lib/my-service".as_ref(), &Options::new(), |line| { println!("{line}"); Ok(()) }, |_, _| {});
/// # dumped?;
/// # Ok::<(), qnfsm_replay::dump::DumpError>(())
/// ```
///
/// # Errors
/// When the directory can't be read or is damaged, as a replay would say it; when `take` fails. A snapshot that is damaged, or a record
/// that is sound and can't be understood, is told in its place and again as an error in the end.
pub fn dump(
    dir: &Path,
    options: &Options,
    mut take: impl FnMut(&Line<'_>) -> io::Result<()>,
    mut on_progress: impl FnMut(u64, u64),
) -> Result<(), DumpError> {
    let storage: Arc<dyn Storage> = Arc::new(RealFiles);
    let mut reader = Reader::open(storage.clone(), dir).map_err(ReplayError::from)?;
    let manifest = reader.manifest().clone();
    let files = holdings::segments(&*storage, dir).map_err(ReplayError::from)?.split_off(&manifest.oldest_segment);
    let bytes_total = files.values().sum();
    let own = Own::new();
    let mut records = Records::new(dir, &*storage, &manifest, options, &own, &mut take);
    let read = loop {
        let entry = match reader.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => break Ok(()),
            Err(error) => break Err(ReplayError::from(error)),
        };
        on_progress(journal_bytes_before(&files, entry.position), bytes_total);
        if records.segment() == Some(entry.position.segment) {
            records.take(entry.position, &entry.record)?;
            continue;
        }
        // The header can only be looked at when the record is let go of.
        let mut first = Excerpt::default();
        first.push(&entry);
        let header = reader.header().expect("a record was read from a segment with a header");
        if let Err(error) = records.enter(header)? {
            break Err(error);
        }
        for entry in first.entries() {
            records.take(entry.position, &entry.record)?;
        }
    };
    let lost = reader.tail().and_then(|tail| tail.lost.as_ref()).map(ToString::to_string);
    let wrong = records.finish(lost)?;
    read.and(wrong.map_or(Ok(()), Err)).map_err(DumpError::from)
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, f)
    }
}

//! Reads a journal that knows its own types: every record, every message and every FSM of a snapshot, one after another,
//! without the program that wrote it.
//!
//! It holds a part of a segment in memory (all of it where a node runs), one snapshot, and one value that is shown. Bytes and names may come from anybody:
//! whatever they are, what is shown of them is escaped and bounded, and nothing in them ends in a panic. It changes nothing.

mod filter;
mod frames;
mod images;
mod instant;
mod line;
mod records;
mod summary;
pub(crate) mod tables;
mod text;
mod value;

use std::{fmt, io, ops::RangeInclusive, path::Path, sync::Arc};

use qnfsm::{
    RawQueueId, Time, WorkerId,
    journal::{Excerpt, Manifest, RealFiles, Storage, holdings},
};

use filter::{ALL_TIME, Filter};
pub use filter::{FieldIs, FieldIsError};
pub(crate) use frames::frame_line;
pub(crate) use images::parts;
pub use images::snapshot;
pub use instant::{Instant, InstantError};
pub use line::{Config, Contents, Delivered, FileState, Hex, Line, Name, Number, Queue, Resource, What, Where};
use records::Records;
pub use summary::{Opaque, Summary};
pub(crate) use tables::{Own, Tables};
pub use value::Value;

use crate::{
    ReplayError,
    asked::{Asked, Lookout, tables_of},
    live::Again,
    recorded::journal_bytes_before,
};

/// What of a journal is shown, and how much of a value.
#[derive(Debug, Clone)]
pub struct Options {
    worker: Option<WorkerId>,
    rounds: RangeInclusive<u64>,
    time: RangeInclusive<Time>,
    filter: Filter,
    snapshots: bool,
    value_chars_max: usize,
    answers: bool,
    live: bool,
}

/// How much of a value is shown unless it is said, in characters.
pub const VALUE_CHARS_DEFAULT: usize = 1 << 20;

impl Default for Options {
    fn default() -> Options {
        Options {
            worker: None,
            rounds: 0..=u64::MAX,
            time: ALL_TIME,
            filter: Filter::default(),
            snapshots: true,
            value_chars_max: VALUE_CHARS_DEFAULT,
            answers: false,
            live: false,
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

    /// What is about rounds of that time alone, by the time that the round has; what is said of a worker behind a round is of its
    /// time.
    #[must_use]
    pub fn time(mut self, time: RangeInclusive<Time>) -> Options {
        self.time = time;
        self
    }

    /// FSMs of that kind alone: what they were delivered, their snapshots, and the frames to them. Of which kind a queue is, deliveries
    /// and snapshots say; where none does, a frame is shown if its message is of the kind's own type.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Options {
        self.filter.kind = Some(kind.into());
        self
    }

    /// What goes to or comes from that queue alone, and its FSM in snapshots.
    #[must_use]
    pub fn queue(mut self, queue: RawQueueId) -> Options {
        self.filter.queue = Some(queue);
        self
    }

    /// Messages alone that are that variant of their type, by its name, and FSMs whose state is.
    #[must_use]
    pub fn variant(mut self, variant: impl Into<String>) -> Options {
        self.filter.variant = Some(variant.into());
        self
    }

    /// Messages alone that have that value in that field, and FSMs whose data or state has. Of several fields all must be so.
    #[must_use]
    pub fn field(mut self, field: FieldIs) -> Options {
        self.filter.fields.push(field);
        self
    }

    /// Whether a directory is read in which a node may be running: what is there at that moment.
    #[must_use]
    pub fn live(mut self, live: bool) -> Options {
        self.live = live;
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

    /// All of that by which parts are chosen, to be held against what there is.
    fn asked(&self) -> Asked {
        let Filter { kind, queue, variant, fields } = self.filter.clone();
        Asked {
            worker: self.worker,
            rounds: Some(self.rounds.clone()).filter(|rounds| *rounds != Options::default().rounds),
            time: Some(self.time.clone()).filter(|time| *time != ALL_TIME),
            fields: fields.into_iter().map(|field| field.path).collect(),
            kind,
            queue,
            variant,
            ..Asked::default()
        }
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
/// [`ReplayError::Misuse`] for a kind, variant or field that isn't there, and last for a worker, round, time or queue that isn't. When the
/// directory can't be read or is damaged, as a replay would say it; when `take` fails. A snapshot that is damaged, or a record
/// that is sound and can't be understood, is told in its place and again as an error in the end.
pub fn dump(
    dir: &Path,
    options: &Options,
    take: impl FnMut(&Line<'_>) -> io::Result<()>,
    on_progress: impl FnMut(u64, u64),
) -> Result<(), DumpError> {
    dump_with(dir, options, take, on_progress, None)
}

/// As [`dump`], beside a running node, and goes on with what it writes from then on. Wherever all that is there was handed on, `pause`
/// waits as long as it likes, and says whether to look again; if not, the summary follows. Names that aren't there are no errors: they may come.
///
/// # Errors
/// As [`dump`] otherwise, or what `pause` says; and when the journal was made to end before what was read, or given up faster than it was read.
pub fn follow(
    dir: &Path,
    options: &Options,
    take: impl FnMut(&Line<'_>) -> io::Result<()>,
    mut pause: impl FnMut() -> io::Result<bool>,
) -> Result<(), DumpError> {
    dump_with(dir, &options.clone().live(true), take, |_, _| {}, Some(&mut pause))
}

/// Refuses options that name a kind, a variant or a field that isn't there, as [`dump`] does: for who [follows](follow) a node, which may come to
/// have it.
///
/// # Errors
/// [`ReplayError::Misuse`] for that; when the directory can't be opened.
pub fn check_names(dir: &Path, options: &Options) -> Result<(), ReplayError> {
    let manifest = Manifest::load(&RealFiles, dir)?;
    refuse_names(&RealFiles, dir, &manifest, &options.asked())
}

/// Where a table can't be read, which may have them, names are as they may be.
fn refuse_names(storage: &dyn Storage, dir: &Path, manifest: &Manifest, asked: &Asked) -> Result<(), ReplayError> {
    let tables = tables_of(storage, dir, manifest.oldest_segment)?;
    tables.map_or(Ok(()), |tables| asked.names(&[manifest.node], &tables))
}

fn dump_with(
    dir: &Path,
    options: &Options,
    mut take: impl FnMut(&Line<'_>) -> io::Result<()>,
    mut on_progress: impl FnMut(u64, u64),
    mut pause: Option<&mut dyn FnMut() -> io::Result<bool>>,
) -> Result<(), DumpError> {
    let storage: Arc<dyn Storage> = Arc::new(RealFiles);
    let mut again = Again::new(options.live);
    let mut reader = again.open(storage.clone(), dir).map_err(ReplayError::from)?;
    let manifest = reader.manifest().clone();
    let lookout = Lookout::new(options.asked());
    lookout.asked().spans()?;
    if pause.is_none() {
        refuse_names(&*storage, dir, &manifest, lookout.asked())?;
    }
    let files = holdings::segments(&*storage, dir).map_err(ReplayError::from)?.split_off(&manifest.oldest_segment);
    let bytes_total = files.values().sum();
    let own = Own::new();
    let mut records = Records::new(dir, &*storage, &manifest, options, &own, &mut take).told_to(&lookout);
    records.learn_kinds()?;
    let read = loop {
        let entry = match reader.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => {
                let Some(pause) = &mut pause else { break lookout.missing() };
                if !pause()? {
                    break Ok(());
                }
                reader.look_again().map_err(ReplayError::from)?;
                continue;
            }
            Err(error) if again.may(&error) => {
                reader.look_again().map_err(ReplayError::from)?;
                continue;
            }
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

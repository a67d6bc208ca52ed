//! What a journal is, in numbers: whose it is, its epochs, segments and span, its workers, what entered them, its snapshots, kinds and
//! message types, and how it ends.
//!
//! All numbers are exact. Every record is read with every check, and of frames the headers alone; a thread reads ahead, so that it
//! takes about as long as to read the files. It changes nothing in the directory.

mod gathered;
mod index;
mod part;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use qnfsm::journal::{RealFiles, holdings};
use serde::Serialize;

use crate::{
    ReplayError,
    dump::{Hex, Instant, Number, Opaque},
    live::Again,
    read_ahead::ReadAhead,
    recorded::journal_bytes_before,
};
use gathered::Gathered;

/// How a journal is described.
#[derive(Debug, Clone, Default)]
pub struct Options {
    index: Option<PathBuf>,
    live: bool,
}

impl Options {
    /// By reading all of it, where no node runs.
    #[must_use]
    pub fn new() -> Options {
        Options::default()
    }

    /// Keeps what was counted of sealed segments in that file, and uses what is there of segments that are still the same: those
    /// whose length, header and end are. What is inside of them is not read again then. The file is best kept outside of the
    /// node's directory, in which readers change nothing.
    #[must_use]
    pub fn index(mut self, file: impl Into<PathBuf>) -> Options {
        self.index = Some(file.into());
        self
    }

    /// Whether a directory is read in which a node may be running: what is there at that moment.
    #[must_use]
    pub fn live(mut self, live: bool) -> Options {
        self.live = live;
        self
    }
}

/// What a journal is. As JSON, its fields are those of `qnfsm describe --json`.
#[derive(Debug, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it, and the guide lists them")]
pub struct Description {
    pub program: String,
    pub node: u32,
    pub identity: String,
    pub epochs: Vec<Epoch>,
    pub segments: Segments,
    /// Of segments and snapshots, as long as the files are.
    pub bytes: Number,
    /// The times of the first round and the last one.
    pub from: Option<Instant>,
    pub to: Option<Instant>,
    pub records: Number,
    pub rounds: Number,
    pub batches: Number,
    pub frames: Number,
    /// Messages and answers among the frames.
    pub messages: Number,
    pub frames_by_class: BTreeMap<&'static str, Number>,
    pub payload_bytes: Number,
    pub workers: Vec<Worker>,
    pub snapshots: Vec<Snapshot>,
    pub kinds: Vec<Kind>,
    pub message_types: Vec<MessageType>,
    pub resources: Vec<Resource>,
    pub opaque: Vec<Opaque>,
    /// Where the journal ends; as far as it could be read, if it is damaged.
    pub end: String,
    /// Everything before that is known to be on disk.
    pub synced: String,
    /// What a crash left behind the end.
    pub lost: Option<String>,
    /// The node was stopped cleanly, and nothing was recorded since.
    pub clean_stop: bool,
    /// How many segments were not read, because the index had them.
    pub segments_from_index: usize,
    /// What could not be done, and doesn't matter to the numbers.
    pub remarks: Vec<String>,
    /// What kept the journal from being read to its end. All that is said is of what comes before.
    #[serde(skip)]
    pub damage: Option<ReplayError>,
}

/// One start of the node.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Epoch {
    pub epoch: u32,
    /// The executable's hash and length.
    pub build: Hex,
    pub build_bytes: Number,
    pub first_segment: Number,
    /// The times of its first round and its last one.
    pub from: Option<Instant>,
    pub to: Option<Instant>,
    pub rounds: Number,
    pub clean_stop: bool,
}

/// The journal's files.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Segments {
    pub count: usize,
    pub first: Number,
    pub last: Number,
    pub bytes: Number,
}

/// A worker.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Worker {
    pub worker: u32,
    /// None if that was given up with the journal's beginning.
    pub started_in: Option<u32>,
    pub stopped: bool,
    pub rounds: Number,
    pub first_round: Option<Number>,
    pub last_round: Option<Number>,
    pub frames: Number,
    /// Whether each delivery was recorded, at some time.
    pub records_everything: bool,
}

/// A snapshot's file.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Snapshot {
    pub worker: u32,
    pub round: Number,
    pub bytes: Number,
    /// The journal speaks for it. Whether the file is sound is not looked at.
    pub counts: bool,
}

/// A kind of FSM.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Kind {
    pub name: String,
    pub version: u32,
    pub message: String,
    pub opaque: bool,
}

/// A message type.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MessageType {
    pub name: String,
    pub version: u32,
    pub opaque: bool,
}

/// A table that FSMs read.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Resource {
    pub name: String,
    pub hash: Hex,
}

/// Describes the journal of the node's directory `dir`. `on_progress` is called now and then with how many bytes of how many have
/// been read.
///
/// ```no_run
/// use qnfsm_replay::describe::{Options, describe};
///
/// let description = describe("/var/lib/my-service".as_ref(), &Options::new(), |_, _| {})?;
/// println!("{} messages in {} rounds", description.messages, description.rounds);
/// # Ok::<(), qnfsm_replay::ReplayError>(())
/// ```
///
/// # Errors
/// When the directory can't be opened, or the system fails. Where the journal is damaged, that is said in
/// [`Description::damage`].
pub fn describe(
    dir: &Path,
    options: &Options,
    mut on_progress: impl FnMut(u64, u64),
) -> Result<Description, ReplayError> {
    let mut again = Again::new(options.live);
    let mut reader = again.open(Arc::new(ReadAhead::of(dir)), dir)?;
    let manifest = reader.manifest().clone();
    let files = holdings::segments(&RealFiles, dir)?.split_off(&manifest.oldest_segment);
    let bytes_total = files.values().sum();
    let mut gathered = Gathered::new(dir, &files);
    let index = options.index.as_deref().and_then(|path| gathered.load_index(path));
    if let Some(from) = index.as_ref().map(|index| gathered.take_sealed(index)).transpose()?.flatten() {
        reader.seek_segment(from)?;
    }
    let from_index = gathered.sealed_count();
    let damage = loop {
        match reader.next() {
            Ok(Some(entry)) => {
                let at = entry.position;
                if gathered.note(at, &entry.record) {
                    on_progress(journal_bytes_before(&files, at), bytes_total);
                    let header = reader.header().expect("a record was read from a segment with a header");
                    if let Err(error) = gathered.enter(header) {
                        break Some(error);
                    }
                }
            }
            Ok(None) => break None,
            Err(error) if again.may(&error) => reader.look_again()?,
            Err(error) => break Some(error.into()),
        }
    };
    if let Some(header) = reader.header().filter(|_| damage.is_none()) {
        // One without records was not entered yet.
        gathered.enter(header)?;
    }
    if let Some(index) = index.filter(|_| from_index < gathered.sealed_count()) {
        gathered.store_index(&index);
    }
    gathered.describe(&manifest, &reader, from_index, damage)
}

//! The replay itself: reads a journal from its start to its end and lets [`Playback`] run it. It holds no rule of
//! scheduling, delivery or comparison; those are the worker's and the playback's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    sync::Arc,
    time::Instant,
};

use qnfsm::{
    Catalogue, Epoch, FaultKind, Kinds, Table, WorkerId, build_identity,
    journal::{IoError, Position, Reader, RealFiles, Record, SegmentHeader, Storage, Unsupported, segment_path},
    playback::{Playback, PlaybackError},
};

use crate::{CorruptJournal, EndedIn, ReplayError, Report, WrongProgram};

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Rounds that were run.
    pub rounds: u64,
    /// Messages that handlers were given.
    pub messages: u64,
    /// Bytes of the journal that were read.
    pub bytes: u64,
    /// Bytes that there are.
    pub bytes_total: u64,
}

/// How a replay is done.
#[derive(Default)]
pub struct Options<'a> {
    program: Option<String>,
    storage: Option<Arc<dyn Storage>>,
    on_progress: Option<Box<dyn Fn(Seen) + 'a>>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("program", &self.program).finish_non_exhaustive()
    }
}

/// How many records are read between two reports of progress.
const RECORDS_BETWEEN_REPORTS: u64 = 2048;

impl<'a> Options<'a> {
    /// A directory of any program that has kinds in common, from the file system, in silence.
    #[must_use]
    pub fn new() -> Options<'a> {
        Options::default()
    }

    /// Refuses directories that another program than that one wrote: the name given to `NodeBuilder::new`.
    #[must_use]
    pub fn program(mut self, program: impl Into<String>) -> Options<'a> {
        self.program = Some(program.into());
        self
    }

    /// Where the files are, in place of the file system.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Options<'a> {
        self.storage = Some(storage);
        self
    }

    /// Calls that function now and then with how far the replay has come.
    #[must_use]
    pub fn on_progress(mut self, on_progress: impl Fn(Seen) + 'a) -> Options<'a> {
        self.on_progress = Some(Box::new(on_progress));
        self
    }
}

/// Replays the node's directory `dir` from the journal's start to its end, with a program's kinds. Nothing is changed
/// there, and no permission to write is needed.
///
/// # Errors
/// When there is nothing to replay, the bytes are damaged, or the program does not do what was recorded: then the first
/// difference is named. See [`ReplayError`].
///
/// # Panics
/// When an FSM's handler breaks a rule of the library's that is asserted. A handler's own panic is caught, and is a
/// divergence unless it was recorded.
pub fn replay(dir: &Path, kinds: Kinds, options: &Options<'_>) -> Result<Report, ReplayError> {
    let begun = Instant::now();
    let catalogue = kinds.seal()?;
    let storage = options.storage.clone().unwrap_or_else(|| Arc::new(RealFiles));
    let mut reader = Reader::open(storage.clone(), dir)?;
    let manifest = reader.manifest().clone();
    if options.program.as_ref().is_some_and(|program| *program != manifest.program) {
        return Err(WrongProgram::Another { dir: dir.into(), wrote: manifest.program }.into());
    }
    let files = Files::look(&*storage, dir)?;
    let mut run = Run {
        dir,
        catalogue: &catalogue,
        playback: Playback::new(catalogue.clone(), manifest.node).checking_images(),
        places: BTreeMap::new(),
        segment: 0,
        epochs: BTreeSet::new(),
        build_differs: false,
        stopped: None,
    };
    let mut records = 0;
    while let Some(entry) = reader.next()? {
        let position = entry.position;
        run.take(position, &entry.record)?;
        // A round that was just read runs with a later record, so its segment is checked in time.
        if position.segment != run.segment {
            run.enter_segment(reader.header().expect("a record was read from a segment with a header"))?;
        }
        records += 1;
        if let (0, Some(on_progress)) = (records % RECORDS_BETWEEN_REPORTS, &options.on_progress) {
            on_progress(run.seen(&files, position));
        }
    }
    let end = reader.position();
    run.finish(end)?;
    if let Some(on_progress) = &options.on_progress {
        on_progress(Seen { bytes: files.total, ..run.seen(&files, end) });
    }
    let progress = run.playback.progress();
    Ok(Report {
        node: manifest.program,
        identity: manifest.identity,
        epoch: manifest.epoch.0,
        epochs: u32::try_from(run.epochs.len()).expect("epochs are counted in 32 bits"),
        workers: progress.workers,
        rounds: progress.rounds,
        rounds_unproved: progress.rounds_unproved,
        messages: progress.messages,
        journal_bytes: files.total,
        digest: run.playback.digest(),
        clean: run.stopped == Some(manifest.epoch),
        lost: reader.tail().and_then(|tail| tail.lost.as_ref()).map(ToString::to_string),
        ended_in: run.ended_in(),
        build_differs: run.build_differs,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// A replay under way.
struct Run<'a> {
    dir: &'a Path,
    catalogue: &'a Catalogue,
    playback: Playback,
    /// By worker, where the records of its last two rounds begin: what differs is found with the round after.
    places: BTreeMap<WorkerId, [(u64, Position); 2]>,
    /// The segment that is being read, and whether this executable wrote it.
    segment: u64,
    build_differs: bool,
    epochs: BTreeSet<Epoch>,
    /// The epoch whose clean stop is the last that was read.
    stopped: Option<Epoch>,
}

impl Run<'_> {
    fn take(&mut self, position: Position, record: &Record<'_>) -> Result<(), ReplayError> {
        match *record {
            Record::Round { worker, round, .. } => {
                let places = self.places.entry(worker).or_default();
                *places = [places[1], (round, position)];
            }
            Record::CleanStop { epoch } => self.stopped = Some(epoch),
            _ => {}
        }
        self.playback.apply(record, &mut ()).map_err(|error| self.locate(error, position))
    }

    /// Runs the rounds that the journal ends in.
    fn finish(&mut self, end: Position) -> Result<(), ReplayError> {
        self.playback.finish(None, &mut ()).map_err(|error| self.locate(error, end))
    }

    /// Says where the round is recorded that an error is about; `near` is where it was noticed.
    fn locate(&self, error: PlaybackError, near: Position) -> ReplayError {
        let about = match &error {
            PlaybackError::Diverged(divergence) => Some((divergence.worker, divergence.round)),
            PlaybackError::Contradiction { worker, round, .. } => Some((*worker, *round)),
            _ => None,
        };
        let at = about.and_then(|(worker, round)| {
            let places = self.places.get(&worker).into_iter().flatten();
            places.rev().find(|(of, _)| *of == round).map(|(_, at)| *at)
        });
        let position = at.unwrap_or(near);
        ReplayError::of_playback(error, segment_path(self.dir, position.segment), position, self.build_differs)
    }

    /// Checks that this program can replay what a segment holds.
    fn enter_segment(&mut self, header: &SegmentHeader) -> Result<(), ReplayError> {
        let (info, dir) = (&header.info, self.dir);
        self.segment = header.segment;
        self.epochs.insert(info.epoch);
        let file = segment_path(dir, header.segment);
        if let Some(what) = info.unsupported() {
            return Err(Unsupported { file, offset: 0, what }.into());
        }
        let table = Table::from_bytes(&info.catalogue).map_err(|error| {
            let what = format!("the table of kinds in its header: {error}");
            CorruptJournal::Contradiction { file, offset: 0, what }
        })?;
        let own = self.catalogue.table();
        if table.is_foreign_to(own) {
            let kinds: Vec<_> = table.kinds.iter().map(|kind| kind.name.as_str()).collect();
            let wrote = format!("one with the kinds {}", kinds.join(", "));
            return Err(WrongProgram::Another { dir: dir.into(), wrote }.into());
        }
        let differences = table.differences(own);
        if !differences.is_empty() {
            return Err(WrongProgram::Changed { dir: dir.into(), differences }.into());
        }
        self.build_differs = (info.build, info.build_bytes) != build_identity();
        Ok(())
    }

    fn seen(&self, files: &Files, at: Position) -> Seen {
        let progress = self.playback.progress();
        Seen {
            rounds: progress.rounds,
            messages: progress.messages,
            bytes: files.before(at.segment) + at.offset,
            bytes_total: files.total,
        }
    }

    /// The rounds that the journal ends in and that have no end themselves.
    fn ended_in(&self) -> Vec<EndedIn> {
        let ended = self.playback.faults().map(|fault| EndedIn {
            worker: fault.worker,
            round: fault.round,
            needs_external: matches!(fault.what, FaultKind::External(_)),
            what: fault.to_string(),
        });
        ended.collect()
    }
}

/// The lengths of a journal's files, for the live line and the report.
struct Files {
    bytes: BTreeMap<u64, u64>,
    total: u64,
}

impl Files {
    fn look(storage: &dyn Storage, dir: &Path) -> Result<Files, ReplayError> {
        let mut files = Files { bytes: BTreeMap::new(), total: 0 };
        let first = segment_path(dir, 1);
        let journal = first.parent().expect("a segment lies in a directory");
        let names = match storage.list(journal) {
            Ok(names) => names,
            // A node that was stopped before it wrote anything.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
            Err(source) => return Err(IoError { what: "list", path: journal.into(), source: Arc::new(source) }.into()),
        };
        for name in names {
            let path = journal.join(&name);
            let Some(number) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()) else { continue };
            let bytes = storage.file_bytes(&path);
            let bytes = bytes.map_err(|source| IoError { what: "look at", path, source: Arc::new(source) })?;
            files.bytes.insert(number, bytes);
            files.total += bytes;
        }
        Ok(files)
    }

    /// The bytes of all segments before that one.
    fn before(&self, segment: u64) -> u64 {
        self.bytes.range(..segment).map(|(_, bytes)| bytes).sum()
    }
}

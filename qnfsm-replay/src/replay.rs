//! The replay itself: reads a journal from its start to its end, with every check, and lets [`Players`] play it. It holds
//! no rule of scheduling, delivery or comparison; those are the worker's and the playback's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroUsize,
    panic::resume_unwind,
    path::Path,
    sync::Arc,
    thread,
    time::Instant,
};

use qnfsm::{
    Catalogue, Epoch, FaultKind, Kinds, OtherResource, Table, build_identity,
    journal::{self, Position, Reader, RealFiles, Record, SegmentHeader, Storage, Unsupported, holdings, segment_path},
    playback::{Beginning, Playback, Progress},
};

use crate::{
    CorruptJournal, EndedIn, LeftOff, ReplayError, Report, WrongProgram,
    player::{Player, Stopped, Why},
    players::Players,
};

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
    threads: Option<NonZeroUsize>,
    on_progress: Option<Box<dyn Fn(Seen) + 'a>>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("program", &self.program)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
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

    /// Runs the workers on at most so many threads, beside the one that reads; with 1, all on the caller's. Without this
    /// there are as many as the system runs at once. What is reported is the same with any number. Where the program doesn't do
    /// what was recorded, a handler of another worker that runs meanwhile is waited for: one that never returns holds the
    /// report back, and 1 thread doesn't.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Options<'a> {
        self.threads = Some(threads);
        self
    }

    /// Calls that function now and then with how far the replay has come.
    #[must_use]
    pub fn on_progress(mut self, on_progress: impl Fn(Seen) + 'a) -> Options<'a> {
        self.on_progress = Some(Box::new(on_progress));
        self
    }
}

/// Replays the node's directory `dir` from the journal's start to its end, with a program's kinds. Where that start was given up
/// (`Limits::retain_bytes`), each worker goes on from the first snapshot that is left of it. What another version of the program recorded
/// is passed over: this one's parts are played, each from the snapshots with which the part before it ended. Nothing is changed there, and no
/// permission to write is needed. Workers run on several threads, as they did live.
///
/// # Errors
/// When there is nothing to replay, the bytes are damaged, or the program does not do what was recorded: then the first
/// difference is named. See [`ReplayError`].
///
/// # Panics
/// When an FSM's handler breaks a rule of the library's that is asserted. A handler's own panic is caught, and is a
/// divergence unless it was recorded. Of what several workers do, the first counts, in the order of the journal.
pub fn replay(dir: &Path, kinds: Kinds, options: &Options<'_>) -> Result<Report, ReplayError> {
    let begun = Instant::now();
    let catalogue = kinds.seal()?;
    let storage = options.storage.clone().unwrap_or_else(|| Arc::new(RealFiles));
    let mut reader = Reader::open(storage.clone(), dir)?;
    let manifest = reader.manifest().clone();
    if options.program.as_ref().is_some_and(|program| *program != manifest.program) {
        return Err(WrongProgram::Another { dir: dir.into(), wrote: manifest.program }.into());
    }
    let files = holdings::segments(&*storage, dir)?.split_off(&manifest.oldest_segment);
    let others = Arc::new(others(&*storage, dir, &files, catalogue.table())?);
    let mut run = Run {
        dir,
        #[cfg(feature = "metrics")]
        manifest: &manifest,
        catalogue: &catalogue,
        files: &files,
        others: &others,
        options,
        segment: 0,
        builds: Vec::new(),
        epochs: BTreeSet::new(),
        passed_over: BTreeSet::new(),
        left_off: None,
        stopped: None,
    };
    let threads = options.threads.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let beginning = Beginning::of(storage.clone(), dir, &manifest);
    let player = || Player::new(catalogue.clone(), manifest.node, Some(beginning.clone()), others.clone());
    let (played, read) = thread::scope(|scope| {
        let mut players = Players::new(scope, threads, &player);
        let read = run.read(&mut reader, &mut players);
        (players.join(), read)
    });
    // Where a player stopped, it was over a record before whatever ended the reading.
    let mut player = played.map_err(|stopped| run.error(stopped))?;
    read?;
    let end = reader.position();
    player.finish(end, run.segment).map_err(|stopped| run.error(stopped))?;
    let progress = player.progress();
    let journal_bytes = files.values().sum();
    if let Some(on_progress) = &options.on_progress {
        on_progress(Seen { bytes: journal_bytes, ..run.seen(progress, end) });
    }
    Ok(Report {
        node: manifest.program.clone(),
        identity: manifest.identity,
        epoch: manifest.epoch.0,
        epochs: u32::try_from(run.epochs.len()).expect("epochs are counted in 32 bits"),
        workers: progress.workers,
        rounds: progress.rounds,
        rounds_unproved: progress.rounds_unproved,
        messages: progress.messages,
        journal_bytes,
        oldest_segment: manifest.oldest_segment,
        rounds_passed_over: progress.rounds_passed_over,
        other_resources: run.passed_over.iter().map(OtherResource::to_string).collect(),
        digest: player.playback.digest(),
        clean: run.stopped == Some(manifest.epoch),
        lost: reader.tail().and_then(|tail| tail.lost.as_ref()).map(ToString::to_string),
        ended_in: ended_in(&player.playback),
        left_off: run.left_off.clone(),
        build_differs: run.build_differs_before(end),
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// The segments that another version of the program recorded, or this one with other resources; none if this one recorded nothing. Where
/// the journal ends with segments of which only the resources are others, they are none of these: whoever replays may have them.
fn others(
    storage: &dyn Storage,
    dir: &Path,
    files: &BTreeMap<u64, u64>,
    own: &Table,
) -> Result<BTreeSet<u64>, ReplayError> {
    let (mut others, mut resources, mut has_own) = (BTreeSet::new(), BTreeSet::new(), false);
    for segment in files.keys() {
        // What is no header, or none of a table, is an error where it is read.
        let Some(header) = journal::read_header(storage, dir, *segment)? else { break };
        let Ok(table) = Table::from_bytes(&header.info.catalogue) else { break };
        match (table.differences(own).is_empty(), table.other_resources(own).is_empty()) {
            (true, true) => {
                has_own = true;
                others.append(&mut resources);
            }
            (true, false) => _ = resources.insert(*segment),
            (false, _) => _ = others.insert(*segment),
        }
    }
    Ok(if has_own { others } else { BTreeSet::new() })
}

/// A replay under way, as whoever reads sees it.
struct Run<'a> {
    dir: &'a Path,
    #[cfg(feature = "metrics")]
    manifest: &'a journal::Manifest,
    catalogue: &'a Catalogue,
    /// By segment, from the oldest that counts on, how long it is.
    files: &'a BTreeMap<u64, u64>,
    /// The segments that another version of the program recorded, or this one with other resources.
    others: &'a BTreeSet<u64>,
    options: &'a Options<'a>,
    /// The segment that is being read.
    segment: u64,
    /// By segment, where its first record begins, and whether another executable than this one wrote it.
    builds: Vec<(Position, bool)>,
    epochs: BTreeSet<Epoch>,
    /// Resources of before, which this program doesn't have.
    passed_over: BTreeSet<OtherResource>,
    /// Where another version of the program went on, as far as was read.
    left_off: Option<LeftOff>,
    /// The epoch whose clean stop is the last that was read.
    stopped: Option<Epoch>,
}

impl Run<'_> {
    /// Reads to the journal's end, or up to where it is known that a player has stopped.
    fn read(&mut self, reader: &mut Reader, players: &mut Players<'_, '_>) -> Result<(), ReplayError> {
        let mut records = 0;
        while let Some(entry) = reader.next()? {
            let position = entry.position;
            if let Record::CleanStop { epoch } = entry.record {
                self.stopped = Some(epoch);
            }
            if players.take(&entry).is_break() {
                break;
            }
            // A round that was just read runs with a later record, so its segment is checked in time.
            if position.segment != self.segment {
                let header = reader.header().expect("a record was read from a segment with a header");
                self.enter_segment(header, position)?;
            }
            records += 1;
            if let (0, Some(on_progress)) = (records % RECORDS_BETWEEN_REPORTS, &self.options.on_progress) {
                on_progress(self.seen(players.progress(), position));
            }
        }
        Ok(())
    }

    /// What a player's end means for the replay; a panic goes on.
    fn error(&self, stopped: Stopped) -> ReplayError {
        let Stopped { noticed_at, why } = stopped;
        match why {
            Why::Error(error, place) => {
                let build_differs = self.build_differs_before(noticed_at);
                #[cfg(feature = "metrics")]
                if matches!(error, qnfsm::playback::PlaybackError::Diverged(_)) {
                    crate::divergences::count(self.manifest);
                }
                ReplayError::of_playback(error, segment_path(self.dir, place.segment), place, build_differs)
            }
            Why::Panic(panic) => resume_unwind(panic),
        }
    }

    /// True if another executable wrote the last segment of which a record stands before that place.
    fn build_differs_before(&self, position: Position) -> bool {
        self.builds.iter().rev().find(|(first, _)| *first < position).is_some_and(|(_, differs)| *differs)
    }

    /// Checks that this program can replay what a segment holds.
    fn enter_segment(&mut self, header: &SegmentHeader, first: Position) -> Result<(), ReplayError> {
        let (info, dir) = (&header.info, self.dir);
        self.segment = header.segment;
        self.epochs.insert(info.epoch);
        let table = table_of(header, dir)?;
        let own = self.catalogue.table();
        if self.others.contains(&header.segment) {
            // Said the other way round: this program is the one of before, if anyone reads it.
            let left_off = || LeftOff { segment: header.segment, differences: own.differences(&table) };
            self.left_off.get_or_insert_with(left_off);
            // Where the types are others too, the resources alone would not do.
            if table.differences(own).is_empty() {
                self.passed_over.extend(table.other_resources(own));
            }
            return Ok(());
        }
        self.left_off = None;
        if table.is_foreign_to(own) {
            let kinds: Vec<_> = table.kinds.iter().map(|kind| kind.name.as_str()).collect();
            let wrote = format!("one with the kinds {}", kinds.join(", "));
            return Err(WrongProgram::Another { dir: dir.into(), wrote }.into());
        }
        let differences = table.differences(own);
        if !differences.is_empty() {
            return Err(WrongProgram::Changed { dir: dir.into(), differences }.into());
        }
        let resources = table.other_resources(own);
        if !resources.is_empty() {
            let file = segment_path(dir, header.segment);
            return Err(WrongProgram::OtherResources { file, resources }.into());
        }
        self.builds.push((first, (info.build, info.build_bytes) != build_identity()));
        Ok(())
    }

    fn seen(&self, progress: Progress, at: Position) -> Seen {
        Seen {
            rounds: progress.rounds,
            messages: progress.messages,
            bytes: journal_bytes_before(self.files, at),
            bytes_total: self.files.values().sum(),
        }
    }
}

/// How much of a journal with those segments stands before that place.
pub(crate) fn journal_bytes_before(files: &BTreeMap<u64, u64>, at: Position) -> u64 {
    files.range(..at.segment).map(|(_, bytes)| bytes).sum::<u64>() + at.offset
}

/// The kinds and message types of the program that wrote a segment, which this library can read.
pub(crate) fn table_of(header: &SegmentHeader, dir: &Path) -> Result<Table, ReplayError> {
    let file = segment_path(dir, header.segment);
    if let Some(what) = header.info.unsupported() {
        return Err(Unsupported { file, offset: 0, what }.into());
    }
    Table::from_bytes(&header.info.catalogue).map_err(|error| {
        let what = format!("the table of kinds in its header: {error}");
        CorruptJournal::Contradiction { file, offset: 0, what }.into()
    })
}

/// The rounds that the journal ends in and that have no end themselves.
fn ended_in(playback: &Playback) -> Vec<EndedIn> {
    let ended = playback.faults().map(|fault| EndedIn {
        worker: fault.worker,
        round: fault.round,
        needs_external: matches!(fault.what, FaultKind::External(_)),
        what: fault.to_string(),
    });
    ended.collect()
}

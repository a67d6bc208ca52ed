//! The replay itself: reads a journal from its start to its end, with every check, and lets [`Players`] play it. It holds
//! no rule of scheduling, delivery or comparison; those are the worker's and the playback's.

use std::{
    fmt,
    num::NonZeroUsize,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use qnfsm::{
    FaultKind, Kinds, OtherResource,
    journal::{Position, ReadError, Reader, Storage},
    playback::{Playback, Progress},
};

use crate::{
    EndedIn, ReplayError, Report,
    naming::{RoundName, SnapshotName},
    players::{BETWEEN_REPORTS, Players},
    recorded::{Recorded, Segments},
    session::with_place,
    span::{Belongs, Span},
};

/// How far a replay has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    pub(crate) program: Option<String>,
    pub(crate) storage: Option<Arc<dyn Storage>>,
    threads: Option<NonZeroUsize>,
    pub(crate) memory: Option<usize>,
    pub(crate) stations_apart: Option<Duration>,
    pub(crate) live: bool,
    pub(crate) on_progress: Option<Box<dyn Fn(Seen) + 'a>>,
    pub(crate) from: Option<SnapshotName>,
    pub(crate) to: Option<RoundName>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("program", &self.program)
            .field("threads", &self.threads)
            .field("from", &self.from)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

/// How many records a replay takes between two looks at the clock.
const RECORDS_BETWEEN_LOOKS: u32 = 16;

/// How many records are read between two reports of progress, by who does nothing else with them.
pub(crate) const RECORDS_BETWEEN_REPORTS: u64 = 2048;

impl<'a> Options<'a> {
    /// A directory of any program that has kinds in common, from the file system, in silence.
    #[must_use]
    pub fn new() -> Options<'a> {
        Options::default()
    }

    /// Refuses directories that another program than that one wrote: the name given to `NodeBuilder::new`. Those that tests saved belong to
    /// none, and are taken.
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

    /// Of [`replay`]: begins with a snapshot. Its worker begins there; each other one with the latest of its snapshots that was begun before
    /// that one was, or, if it has none, where it begins without this. What the workers did before is neither run nor compared.
    #[must_use]
    pub fn from(mut self, snapshot: SnapshotName) -> Options<'a> {
        self.from = Some(snapshot);
        self
    }

    /// Of [`replay`]: ends behind that round. All workers run the rounds that stand in the journal up to it; these are compared with what is
    /// recorded of them, and what follows isn't run.
    #[must_use]
    pub fn to(mut self, round: RoundName) -> Options<'a> {
        self.to = Some(round);
        self
    }

    /// Of a [`Session`](crate::Session): what it keeps to come back to earlier rounds takes at most so many bytes of memory, 256 MiB
    /// unless it is said. The workers themselves, and the round that is looked at, come on top; and however few they are, 4 to 8 bytes for each round of
    /// the journal are taken.
    /// Of [`compare`](crate::compare::compare): what one journal has and the other not yet takes at most so many,
    /// [64 MiB](crate::compare::MEMORY_DEFAULT) unless it is said.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Options<'a> {
        self.memory = Some(bytes);
        self
    }

    /// Of a [`Session`](crate::Session): how far its stations lie apart, by the time that it takes to play what is between two of them; 20 ms
    /// unless it is said. To go to a step takes about as long at most, and with less there are more of them to be kept.
    #[must_use]
    pub fn stations_apart(mut self, time: Duration) -> Options<'a> {
        self.stations_apart = Some(time);
        self
    }

    /// Of a [`Walk`](crate::Walk): whether a directory is read in which a node may be running: what is there at that moment.
    #[must_use]
    pub fn live(mut self, live: bool) -> Options<'a> {
        self.live = live;
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
/// (`Limits::retain_bytes`), each worker goes on from the first snapshot that is left of it and fit for it. What another version of the program recorded
/// is passed over: this one's parts are played, each from the snapshots with which the part before it ended. [`Options::from`] and
/// [`Options::to`] replay a part. Nothing is changed there, and no permission to write is needed. Workers run on several threads, as they did live.
///
/// # Errors
/// When there is nothing to replay, the bytes are damaged, or the program does not do what was recorded: then the first
/// difference is named. Where it lacks kinds or message types that were recorded, each worker is played up to the round that needs one, and
/// the error says how far all came ([`ReplayError::Partly`]); likewise where a worker was to begin with a snapshot that is damaged, and began with a
/// later one ([`ReplayError::Snapshots`]). See [`ReplayError`].
///
/// # Panics
/// When an FSM's handler breaks a rule of the library's that is asserted. A handler's own panic is caught, and is a
/// divergence unless it was recorded. Of what several workers do, the first counts, in the order of the journal.
pub fn replay(dir: &Path, kinds: Kinds, options: &Options<'_>) -> Result<Report, ReplayError> {
    let begun = Instant::now();
    let (recorded, mut reader) = Recorded::open(dir, kinds, options.program.as_deref(), options.storage.clone())?;
    let span = Span::of(&recorded, &mut reader, options)?;
    let marks: Vec<_> = span.marks().collect();
    let mut run = Run { recorded: &recorded, options, segments: Segments::new(&recorded), span, bytes_told: 0 };
    let threads = options.threads.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let player = || recorded.player_with(marks.iter().copied());
    let (played, read) = thread::scope(|scope| {
        let mut players = Players::new(scope, threads, &player);
        let read = run.read(&mut reader, &mut players);
        let end = reader.position();
        let mut on_progress = |progress, waiting| run.report(progress, end, waiting);
        (players.join(&mut on_progress), read)
    });
    // Where a player stopped, it was over a record before whatever ended the reading.
    let mut player = played.map_err(|stopped| run.segments.error(stopped))?;
    read?;
    let end = reader.position();
    let (segments, span) = (&run.segments, &run.span);
    if span.ended_behind().is_some() {
        player.playback.end_early(&span.beyond);
    }
    player.finish(end, segments.segment).map_err(|stopped| segments.error(stopped))?;
    let progress = player.progress();
    if let Some(on_progress) = &options.on_progress {
        on_progress(Seen { bytes: recorded.bytes(), ..run.seen(progress, end) });
    }
    let left_out = recorded.left_out(&player.playback);
    let manifest = &recorded.manifest;
    let report = Report {
        node: manifest.program.clone(),
        identity: manifest.identity,
        epoch: manifest.epoch.0,
        epochs: u32::try_from(segments.epochs.len()).expect("epochs are counted in 32 bits"),
        workers: progress.workers,
        rounds: progress.rounds,
        rounds_unproved: progress.rounds_unproved,
        messages: progress.messages,
        journal_bytes: recorded.bytes(),
        oldest_segment: manifest.oldest_segment,
        rounds_passed_over: progress.rounds_passed_over,
        rounds_not_begun: progress.rounds_not_begun,
        not_begun: left_out.not_begun.clone(),
        other_resources: segments.passed_over.iter().map(OtherResource::to_string).collect(),
        digest: player.playback.digest(),
        clean: segments.stopped == Some(manifest.epoch),
        lost: reader.tail().and_then(|tail| tail.lost.as_ref()).map(ToString::to_string),
        ended_in: ended_in(&player.playback),
        left_off: segments.left_off.clone(),
        build_differs: segments.build_differs_before(end),
        began_with: span.began_with(),
        ended_behind: span.ended_behind(),
        seconds: begun.elapsed().as_secs_f64(),
    };
    left_out.error(dir, Some(&report)).map_or(Ok(report), Err)
}

/// A replay under way, as whoever reads sees it.
struct Run<'a> {
    recorded: &'a Recorded,
    options: &'a Options<'a>,
    segments: Segments<'a>,
    span: Span,
    /// How many bytes were told to be played.
    bytes_told: u64,
}

impl Run<'_> {
    /// Reads to the end of what is to be played, or up to where it is known that a player has stopped.
    fn read(&mut self, reader: &mut Reader, players: &mut Players<'_, '_>) -> Result<(), ReplayError> {
        let (mut records, mut reported) = (0_u32, Instant::now());
        loop {
            let at = reader.position();
            let entry = match reader.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                // Rounds whose end stands behind what can't be read stay unproved, as where the journal ends.
                Err(ReadError::Corrupt(_)) if self.span.is_behind(at) => break,
                Err(error) => return Err(error.into()),
            };
            let position = entry.position;
            match self.span.take(&entry) {
                Belongs::Over => break,
                Belongs::Outside => {}
                Belongs::Within => {
                    self.segments.note(&entry);
                    if players.take(&entry).is_break() {
                        break;
                    }
                }
            }
            // A round that was just read runs with a later record, so its segment is checked in time.
            self.segments.check(reader, position)?;
            records += 1;
            if records % RECORDS_BETWEEN_LOOKS == 0 && reported.elapsed() >= BETWEEN_REPORTS {
                let progress = players.progress();
                self.report(progress, position, players.bytes_waiting());
                reported = Instant::now();
            }
        }
        Ok(())
    }

    /// Reports how far the players have come, where all was read up to a position and so many bytes of it have yet to be played.
    fn report(&mut self, progress: Progress, at: Position, bytes_waiting: u64) {
        if let Some(on_progress) = &self.options.on_progress {
            let seen = self.seen(progress, at);
            // What waits takes more room than in the file.
            self.bytes_told = self.bytes_told.max(seen.bytes.saturating_sub(bytes_waiting));
            on_progress(Seen { bytes: self.bytes_told, ..seen });
        }
    }

    fn seen(&self, progress: Progress, at: Position) -> Seen {
        Seen {
            rounds: progress.rounds,
            messages: progress.messages,
            bytes: self.recorded.bytes_before(at),
            bytes_total: self.recorded.bytes(),
        }
    }
}

/// The rounds that the journal ends in and that have no end themselves.
fn ended_in(playback: &Playback) -> Vec<EndedIn> {
    let ended = playback.faults().map(|fault| {
        let mut fault = fault.clone();
        if let FaultKind::Panic(text) = &mut fault.what {
            *text = with_place(text);
        }
        EndedIn {
            worker: fault.worker,
            round: fault.round,
            needs_external: matches!(fault.what, FaultKind::External(_)),
            what: fault.to_string(),
        }
    });
    ended.collect()
}

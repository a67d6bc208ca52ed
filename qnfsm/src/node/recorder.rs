//! The flight recorder: a node that keeps its journal in memory, and writes it out when something goes wrong or somebody asks.
//!
//! The journal, its snapshots and how its beginning is given up are those of any node; only the files are in memory. A recording
//! is all of these files as they are at one moment, which is what a kill of the process would leave of another node: any prefix of
//! the journal is a consistent cut. What always holds: one recording is written at a time, each into a directory that nobody else
//! has; writing one holds up nobody but who asked for it; a recording that fails takes nobody else's error away.

use std::{
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

use super::{
    Durability, NodeBuilder, NodeError, OnPoison, RecordingError, StartError,
    shared::{LOCK_REASON, Shared},
};
use crate::{
    id::WorkerId,
    journal::{Cut, IoError, Manifest, MemoryFiles, NodeLock, OpenError, Storage},
    spelt::shell_word,
    time::Time,
};

/// How many bytes of journal and snapshots are held unless [`Limits::retain_bytes`](crate::Limits::retain_bytes) says.
const RETAIN_BYTES_DEFAULT: u64 = 64 << 20;

/// How many recordings a node writes in its life because handlers panicked and it went on. More would fill the disk with the same.
const OF_PANICS_MAX: u32 = 4;

/// The signal on which recordings are written, where the system has it.
#[cfg(unix)]
pub(super) const SIGNAL: Option<i32> = Some(signal_hook::consts::SIGUSR1);
#[cfg(not(unix))]
pub(super) const SIGNAL: Option<i32> = None;

/// Where the node's files are in memory.
const IN_MEMORY: &str = "memory";

pub(super) struct Recorder {
    files: MemoryFiles,
    /// Where recordings go.
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    state: Mutex<State>,
    /// A recording was written, or failed.
    written: Condvar,
}

#[derive(Default)]
struct State {
    is_writing: bool,
    of_panics: u32,
    /// The node has stopped: there is nothing to write any more.
    is_over: bool,
}

/// A recording that is being written. Until this is dropped no other is begun.
struct Recording {
    turn: Turn,
    cut: Cut,
    at: Time,
}

struct Turn(Arc<Recorder>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.state().is_writing = false;
        self.0.written.notify_all();
    }
}

impl NodeBuilder {
    /// Puts memory in place of the directory where the node is to have a flight recorder.
    pub(super) fn record_in_memory(&mut self) -> Result<Option<Arc<Recorder>>, StartError> {
        let misuse = |text: &str| Err(StartError::Misuse(text.to_owned()));
        if self.durability != Durability::Memory {
            return match self.records_on_signal {
                true => misuse(
                    "only a node that records in memory writes recordings on a signal; give `Durability::Memory`, or leave \
                     out `write_recordings_on_signal`",
                ),
                false => Ok(None),
            };
        }
        if self.on_poison != OnPoison::TryAgain {
            return misuse(
                "a node that records in memory begins anew at each start, so there is never a message to skip; leave out \
                 `on_poison`, or choose another durability",
            );
        }
        if self.recover_to.is_some() {
            return misuse(
                "a node that records in memory begins anew at each start, so there is nothing to recover to; leave out `recover_to`, or \
                 choose another durability",
            );
        }
        let Some(dir) = &self.dir else {
            return misuse(
                "a node that records in memory needs a directory to write recordings into; name one with `dir`",
            );
        };
        let dir = std::path::absolute(dir).map_err(|error| OpenError::from(IoError::new("find", dir, error)))?;
        match Manifest::load(&*self.storage, &dir) {
            Ok(Manifest { program, .. }) => {
                return misuse(&format!(
                    "{} is the directory of a node of `{program}`, and a node that records in memory doesn't go on from one; give it \
                     another directory for its recordings, or choose another durability",
                    dir.display()
                ));
            }
            Err(OpenError::Missing(_) | OpenError::Empty(_) | OpenError::NotANode(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.storage.create_dir_all(&dir).map_err(|error| OpenError::from(IoError::new("create", &dir, error)))?;
        let retain_bytes = *self.limits.retain_bytes.get_or_insert(RETAIN_BYTES_DEFAULT);
        let files = MemoryFiles::new(retain_bytes);
        let storage = mem::replace(&mut self.storage, Arc::new(files.clone()));
        self.dir = Some(IN_MEMORY.into());
        Ok(Some(Arc::new(Recorder { files, storage, dir, state: Mutex::default(), written: Condvar::new() })))
    }
}

impl Recorder {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(LOCK_REASON)
    }

    /// How much memory it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.files.allocated_bytes()
    }

    /// Waits until no recording is written. None is begun any more, and what is in memory is let go of.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.is_over = true;
        while state.is_writing {
            state = self.written.wait(state).expect(LOCK_REASON);
        }
        drop(state);
        self.files.clear();
    }

    /// The turn to write a recording, unless another has it. With `patience` waits for that one's end.
    fn turn(self: &Arc<Self>, patience: bool) -> Result<Option<Turn>, RecordingError> {
        let mut state = self.state();
        while state.is_writing && patience {
            state = self.written.wait(state).expect(LOCK_REASON);
        }
        match (state.is_over, state.is_writing) {
            (true, _) => Err(RecordingError::Stopped),
            (false, true) => Ok(None),
            (false, false) => {
                state.is_writing = true;
                Ok(Some(Turn(self.clone())))
            }
        }
    }

    /// Makes a directory that nobody else has, or had, and holds its lock: what is there is not whole before that is let go of.
    fn claim(&self, at: Time) -> Result<(NodeLock, PathBuf), OpenError> {
        let (storage, process) = (&*self.storage, std::process::id());
        for number in 1_u64.. {
            let dir = self.dir.join(format!("recording-{}-{process}-{number}", utc(at)));
            match NodeLock::take(storage, &dir) {
                Ok(lock) => {
                    let names = storage.list(&dir).map_err(|error| IoError::new("list", &dir, error))?;
                    // Whoever had it before has left more than the lock's file.
                    if names.len() <= 1 {
                        return Ok((lock, dir));
                    }
                }
                Err(OpenError::InUse(_)) => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("there are more numbers than directories")
    }
}

impl Recording {
    /// Begins one, of all that was recorded by now.
    fn begin(turn: Turn, shared: &Shared) -> Result<Recording, RecordingError> {
        let (Some(directory), Some(journal)) = (&shared.directory, &shared.journal) else {
            return Err(RecordingError::NoRecorder);
        };
        let cut = directory.while_nothing_is_given_up(|| {
            // Of a journal that has failed there is what it has.
            let _ = journal.flush();
            turn.0.files.cut()
        });
        let cut = cut.map_err(|workers| RecordingError::NotCovered { workers })?;
        Ok(Recording { turn, cut, at: shared.clock.now() })
    }

    /// Writes it out; gives its directory, once it is on disk.
    fn write(self) -> Result<PathBuf, RecordingError> {
        let Recording { turn, cut, at } = self;
        let Recorder { storage, dir: all, .. } = &*turn.0;
        let (_lock, dir) = turn.0.claim(at)?;
        let written = cut.write_out(Path::new(IN_MEMORY), &**storage, &dir);
        written.map_err(OpenError::from)?;
        storage.sync_dir(all).map_err(|error| OpenError::from(IoError::new("sync", all, error)))?;
        Ok(dir)
    }
}

impl Shared {
    /// Writes out what the flight recorder has; gives the directory.
    pub(super) fn write_recording(&self) -> Result<PathBuf, RecordingError> {
        let recorder = self.recorder.as_ref().ok_or(RecordingError::NoRecorder)?;
        let turn = recorder.turn(true)?.expect("it was waited for");
        Recording::begin(turn, self)?.write()
    }

    /// Writes out what led to an error for which the node stops, if there is a flight recorder; gives the error that tells where.
    pub(super) fn record_failure(&self, error: NodeError) -> NodeError {
        // Who drops a node from within may hold what the others need.
        if self.recorder.is_none() || matches!(error, NodeError::StoppedFromWithin) {
            return error;
        }
        let recording = self.write_recording();
        say(&recording, "why the node stops");
        NodeError::Recorded { error: Box::new(error), recording }
    }

    /// A handler panicked in a round that has ended, and the node goes on.
    pub(super) fn record_panic(self: &Arc<Self>, worker: WorkerId, round: u64) {
        let Some(recorder) = &self.recorder else { return };
        if recorder.state().of_panics < OF_PANICS_MAX
            && self.write_recording_aside(format!("a panic in round {round} of {worker}"))
        {
            recorder.state().of_panics += 1;
        }
    }

    /// Writes out what was recorded by now, on a thread of its own, unless a recording is being written; says whether.
    pub(super) fn write_recording_aside(self: &Arc<Self>, why: String) -> bool {
        let Some(turn) = self.recorder.as_ref().and_then(|recorder| recorder.turn(false).transpose()) else {
            return false;
        };
        match turn.and_then(|turn| Recording::begin(turn, self)) {
            Ok(recording) => {
                let write = move || say(&recording.write(), &why);
                if let Err(error) = thread::Builder::new().name("qnfsm-recording".to_owned()).spawn(write) {
                    tracing::error!(%error, "no thread to write a recording");
                }
            }
            Err(error) => say(&Err(error), &why),
        }
        true
    }
}

/// Tells of a recording that nobody waits for.
fn say(recording: &Result<PathBuf, RecordingError>, of: &str) {
    match recording {
        Ok(dir) => {
            let (dir, replay) = (dir.display(), replay_command(dir));
            tracing::error!(%dir, %replay, "a recording was written of {of}");
        }
        Err(error) => tracing::error!(%error, "no recording could be written of {of}"),
    }
}

/// The command that replays a recording, for a shell: a program's subcommand is called so by convention.
pub(super) fn replay_command(dir: &Path) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "<program>".into());
    format!("{} replay {}", shell_word(&program), shell_word(dir))
}

/// A time as in ISO 8601's basic format. The days are counted as in Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>).
fn utc(time: Time) -> String {
    let seconds = time.as_nanos() / 1_000_000_000;
    // Years that begin in March, in eras of 400, since the first of March of year 0.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year + month / 10, (month + 2) % 12 + 1);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_the_calendar_has_them() {
        let at = |seconds: u64| utc(Time::from_nanos(seconds * 1_000_000_000));
        // As `date -u -d @<seconds> +%Y%m%dT%H%M%SZ` says them.
        assert_eq!(at(0), "19700101T000000Z");
        assert_eq!(at(951_782_399), "20000228T235959Z");
        assert_eq!(at(951_782_400), "20000229T000000Z");
        assert_eq!(at(951_868_800), "20000301T000000Z");
        assert_eq!(at(1_735_689_599), "20241231T235959Z");
        assert_eq!(at(4_107_542_400), "21000301T000000Z");
    }
}

//! Writing the journal: many threads, one file, one write for all that has gathered.
//!
//! A record is encoded under the lock into a shared buffer. The first thread that finds nobody writing becomes the
//! leader, takes the buffer and hands it to the operating system without holding the lock; whoever comes meanwhile
//! fills the other buffer and waits. Where a segment is full, the buffer is cut and the next segment's header encoded
//! at the cut, so that the order of the bytes is decided once, under the lock. A sync goes on beside all this, on the
//! thread that asked for it. After a failed write or sync every call fails: what the disk holds isn't known any more.

use std::{
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{
    JOURNAL_DIR,
    envelope::{Position, Seed, put_record},
    error::{IoError, JournalError},
    prepared::Preparation,
    record::{RECORD_BODY_BYTES_MAX, Record, RecordDraft},
    segment::{self, Link, SegmentHeader, SegmentInfo},
    storage::{File, Storage},
    tail::{Tail, list_segments, settle, sync_dir},
};

/// The length past which a segment is ended, in bytes, unless the options say another.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;

/// The longest length past which a segment may be ended, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 512 << 20;

/// How many bytes of appended records wait for a write before they are written at once.
const APPENDED_BYTES_MAX: usize = 1 << 20;

/// A buffer that has grown longer than this is given back.
const BUFFER_BYTES_KEPT: usize = 8 << 20;

// A segment's file stays within what readers read: the segment, a header, one record and what was appended.
const _: () = assert!(
    SEGMENT_BYTES_MAX + (super::bytes::BLOCK_BODY_BYTES_MAX + RECORD_BODY_BYTES_MAX + 4096) as u64
        <= segment::SEGMENT_FILE_BYTES_MAX
);

/// How a journal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalOptions {
    /// A segment that has reached this length in bytes is ended, once it holds a record; at most [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// Segments are made of zeros beforehand, which makes syncs cheaper: for journals that somebody waits for. Room for two
    /// segments is taken on disk then, and [`Journal::prepare`] is to be called now and then.
    pub prepared: bool,
}

impl JournalOptions {
    /// The options with segments of another length.
    #[must_use]
    pub const fn segment_bytes(self, segment_bytes: u64) -> JournalOptions {
        JournalOptions { segment_bytes, ..self }
    }

    /// The options with segments that are made beforehand, or not.
    #[must_use]
    pub const fn prepared(self, prepared: bool) -> JournalOptions {
        JournalOptions { prepared, ..self }
    }
}

impl Default for JournalOptions {
    fn default() -> JournalOptions {
        JournalOptions { segment_bytes: SEGMENT_BYTES_DEFAULT, prepared: false }
    }
}

/// The journal of a running node. Clones write to the same one, from any thread.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    storage: Arc<dyn Storage>,
    node_dir: PathBuf,
    info: SegmentInfo,
    seed: Seed,
    segment_bytes: u64,
    state: Mutex<State>,
    /// Somebody's write is done.
    written: Condvar,
    /// Held by whoever syncs, so that marks come in order.
    syncing: Mutex<()>,
    preparation: Preparation,
}

/// How far a journal has come since it was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes that were handed to the operating system.
    pub(crate) written_bytes: u64,
    /// How many of them are known to be on disk.
    pub(crate) synced_bytes: u64,
    /// How many are to be synced: none where the rest only says what was.
    pub(crate) lag_bytes: u64,
}

/// Where the buffer goes on in another segment.
#[derive(Debug)]
struct Cut {
    at: usize,
    segment: u64,
}

#[derive(Debug)]
struct State {
    /// What is encoded and that nobody writes yet.
    pending: Vec<u8>,
    /// The other buffer, while nobody writes it.
    spare: Vec<u8>,
    cuts: Vec<Cut>,
    /// Where the next record will stand, and the chain value that it will carry.
    at: Position,
    chain: u32,
    /// Where that segment's first record stands.
    first_at: Position,
    /// The end of the last record that is no sync mark: what there is to sync.
    records_end: Position,
    /// Bytes encoded since the journal was begun, and how many of them the operating system has.
    encoded_bytes: u64,
    written_bytes: u64,
    /// Up to where the operating system has the bytes.
    written_at: Position,
    /// Up to where they are on disk, and how many of them that is.
    synced_at: Position,
    synced_bytes: u64,
    /// The segments that aren't known to be on disk, in order; the last is the one that is written.
    files: Vec<(u64, Arc<dyn File>)>,
    /// A segment was made since the directory was synced.
    names_changed: bool,
    writing: bool,
    waiting: u32,
    failed: Option<JournalError>,
}

const LOCK_REASON: &str = "nothing panics while holding the journal's lock";

impl Journal {
    /// Begins an epoch's first segment, behind the end of the journal that was read. What was lost behind that end is
    /// put aside first, and what counts is on disk before the new segment is made. Without `after` the journal must
    /// not have any segments.
    ///
    /// # Errors
    /// [`JournalError::Misuse`] if the journal isn't as `after` says, the epoch isn't a later one, or the options are
    /// out of bounds; otherwise when the disk fails.
    pub fn begin(
        storage: Arc<dyn Storage>,
        node_dir: &Path,
        info: SegmentInfo,
        after: Option<&Tail>,
        options: JournalOptions,
    ) -> Result<Journal, JournalError> {
        if options.segment_bytes > SEGMENT_BYTES_MAX {
            let segment_bytes = options.segment_bytes;
            return misuse(format!(
                "segments of {segment_bytes} bytes, and {SEGMENT_BYTES_MAX} is the most; give fewer"
            ));
        }
        if let Some(over) = info.bytes_over() {
            return misuse(format!(
                "catalogue and configuration are {over} bytes too long for a segment's header; register fewer types"
            ));
        }
        let journal_dir = node_dir.join(JOURNAL_DIR);
        storage.create_dir_all(&journal_dir).map_err(|error| IoError::new("create", &journal_dir, error))?;
        sync_dir(&*storage, node_dir)?;
        let link = match after {
            Some(tail) => {
                if tail.epoch.is_some_and(|epoch| epoch >= info.epoch) {
                    return misuse(format!(
                        "epoch {} begins, and it or a later one was there before; begin the one after the manifest's",
                        info.epoch
                    ));
                }
                settle(&*storage, node_dir, tail)?;
                tail.last.map(|last| Link { synced: true, ..last })
            }
            None => match list_segments(&*storage, node_dir)? {
                Ok(segments) if segments.is_empty() => None,
                _ => return misuse(format!("{} holds segments already; read them first", journal_dir.display())),
            },
        };
        let oldest = after.map_or(1, |tail| tail.oldest_segment);
        let segment = link.map_or(oldest, |link| link.segment + 1);
        let (header, chain) = SegmentHeader::encode(segment, link, &info);
        let path = segment::path(node_dir, segment);
        let bytes = options.prepared.then_some(options.segment_bytes);
        let preparation = Preparation::begin(storage.clone(), node_dir, bytes)?;
        let file = preparation.make_segment(&path)?;
        file.write_all(&header).map_err(|error| IoError::new("write", &path, error))?;
        let at = Position { segment, offset: header.len() as u64 };
        let state = State {
            pending: Vec::new(),
            spare: Vec::new(),
            cuts: Vec::new(),
            at,
            chain,
            first_at: at,
            records_end: at,
            encoded_bytes: at.offset,
            written_bytes: at.offset,
            written_at: at,
            synced_at: Position { segment, offset: 0 },
            synced_bytes: 0,
            files: vec![(segment, file)],
            names_changed: true,
            writing: false,
            waiting: 0,
            failed: None,
        };
        let shared = Shared {
            storage,
            node_dir: node_dir.into(),
            seed: Seed::new(info.identity),
            info,
            segment_bytes: options.segment_bytes,
            state: Mutex::new(state),
            written: Condvar::new(),
            syncing: Mutex::new(()),
            preparation,
        };
        Ok(Journal { shared: Arc::new(shared) })
    }

    /// Writes a record, and returns when the operating system has it: it is there though the process is killed. Gives the
    /// position at which it ends: it is on disk when [`synced`](Journal::synced) has come there.
    ///
    /// # Errors
    /// [`JournalError::Misuse`] if the record is too long, and nothing was written then; otherwise the disk failed.
    pub fn write(&self, draft: &RecordDraft<'_>) -> Result<Position, JournalError> {
        let mut state = self.shared.usable()?;
        self.shared.encode(&mut state, draft)?;
        let end = state.at;
        self.shared.write_out(state).map(|()| end)
    }

    /// Lets a record go with the next write. Gives the position at which it ends.
    ///
    /// # Errors
    /// As [`write`](Journal::write); an error of the disk may be of a record that went before.
    pub fn append(&self, draft: &RecordDraft<'_>) -> Result<Position, JournalError> {
        let mut state = self.shared.usable()?;
        self.shared.encode(&mut state, draft)?;
        let end = state.at;
        if state.pending.len() < APPENDED_BYTES_MAX { Ok(end) } else { self.shared.write_out(state).map(|()| end) }
    }

    /// Returns when the operating system has all records that were appended before the call.
    ///
    /// # Errors
    /// When the disk failed.
    pub fn flush(&self) -> Result<(), JournalError> {
        self.shared.write_out(self.shared.usable()?)
    }

    /// Returns when all records that were written or appended before the call are on disk. Others may write meanwhile.
    /// A sync mark says so to readers; it goes with the next write. Does nothing if there is nothing new.
    ///
    /// # Errors
    /// When the disk failed.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.sync_if_new().map(|_| ())
    }

    /// As [`sync`](Journal::sync). Says whether there was anything new.
    pub(crate) fn sync_if_new(&self) -> Result<bool, JournalError> {
        self.flush()?;
        let shared = &*self.shared;
        // It guards the order alone, which nobody can leave half done.
        let _turn = shared.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = shared.usable()?;
        if state.synced_at >= state.records_end {
            return Ok(false);
        }
        let (upto, upto_bytes) = (state.written_at, state.written_bytes);
        let files = state.files.clone();
        let names_changed = mem::take(&mut state.names_changed);
        drop(state);

        let result = shared.sync_files(&files, names_changed);
        let mut state = shared.lock();
        if let Err(error) = result {
            state.failed.get_or_insert_with(|| error.clone());
            return Err(error);
        }
        state.synced_at = upto;
        state.synced_bytes = upto_bytes;
        state.files.retain(|(segment, _)| *segment >= upto.segment);
        let records_end = state.records_end;
        shared.encode(&mut state, &Record::SyncMark { segment: upto.segment, offset: upto.offset })?;
        // Marks alone are nothing to sync: an idle node doesn't sync its own marks for ever.
        state.records_end = records_end;
        Ok(true)
    }

    /// Makes some of the next segment beforehand, if segments are made so and the one that is written is half full. Called
    /// every ten milliseconds it is ready in time for 50 MB a second; one that isn't ready is begun as it would be without.
    ///
    /// # Errors
    /// When the disk fails, as with any other write: the journal has failed then.
    pub fn prepare(&self) -> Result<(), JournalError> {
        let shared = &*self.shared;
        let written_bytes = shared.usable()?.at.offset;
        shared.preparation.step(written_bytes).map_err(|error| {
            let error = JournalError::from(error);
            shared.lock().failed.get_or_insert_with(|| error.clone());
            error
        })
    }

    /// Hands over what was appended last; nothing is written any more after that. Whoever holds a node's directory closes
    /// its journal before letting go: handles that live longer must not write behind an end that the next start has read.
    pub fn close(&self) {
        let shared = &*self.shared;
        if let Ok(state) = shared.usable() {
            // What fails is in the state. What was appended was never promised.
            let _ = shared.write_out(state);
        }
        let closed = || JournalError::Misuse("the journal is closed, as its node has stopped".to_owned());
        let mut state = shared.lock();
        state.failed.get_or_insert_with(closed);
        while state.writing {
            state = shared.wait_for_write(state);
        }
        if matches!(state.failed, Some(JournalError::Misuse(_))) {
            let (_, last) = state.files.last().expect("the segment that is written is always there");
            shared.preparation.give_back_room(&**last, state.written_at.offset);
        }
    }

    /// Closes the journal, and takes the epoch's segment away again if no record was written to it: a start that came to
    /// nothing leaves none behind.
    pub(crate) fn close_or_abandon(&self) {
        self.close();
        let shared = &*self.shared;
        let state = shared.lock();
        // A sync mark is no record.
        let is_unused = state.records_end == state.first_at && state.written_at.segment == state.first_at.segment;
        if !matches!(state.failed, Some(JournalError::Misuse(_))) || !is_unused {
            return;
        }
        let path = segment::path(&shared.node_dir, state.at.segment);
        let removed =
            shared.storage.remove(&path).and_then(|()| shared.storage.sync_dir(&shared.node_dir.join(JOURNAL_DIR)));
        if let Err(error) = removed {
            // An empty segment that stays is read over.
            tracing::debug!(path = %path.display(), %error, "the segment of a start that failed stays");
        }
    }

    /// Where the next record will stand.
    #[must_use]
    pub fn position(&self) -> Position {
        self.shared.lock().at
    }

    /// Up to where the journal is known to be on disk.
    #[must_use]
    pub fn synced(&self) -> Position {
        self.shared.lock().synced_at
    }

    /// How many bytes were handed to the operating system since the journal was begun.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.shared.lock().written_bytes
    }

    /// How far it has come.
    pub(crate) fn progress(&self) -> Progress {
        let state = self.shared.lock();
        let State { written_bytes, synced_bytes, .. } = *state;
        let is_synced = state.synced_at >= state.records_end;
        let lag_bytes = if is_synced { 0 } else { written_bytes - synced_bytes };
        Progress { written_bytes, synced_bytes, lag_bytes }
    }
}

fn misuse<T>(what: String) -> Result<T, JournalError> {
    Err(JournalError::Misuse(what))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(LOCK_REASON)
    }

    /// The state, unless the journal has failed.
    fn usable(&self) -> Result<MutexGuard<'_, State>, JournalError> {
        let state = self.lock();
        match &state.failed {
            Some(error) => Err(error.clone()),
            None => Ok(state),
        }
    }

    /// Encodes a record behind the others; begins a segment where the last one is full.
    fn encode(&self, state: &mut State, draft: &RecordDraft<'_>) -> Result<(), JournalError> {
        let is_full = state.at.offset >= self.segment_bytes && state.at != state.first_at;
        // A mark alone is no reason for another segment, which would be made when the journal is closed.
        if is_full && !matches!(draft, Record::SyncMark { .. }) {
            self.cut(state);
        }
        let start = state.pending.len();
        state.chain = match put_record(&mut state.pending, draft, self.seed, state.at, state.chain) {
            Ok(chain) => chain,
            Err(bytes) => {
                return misuse(format!(
                    "a record of {bytes} bytes, and {RECORD_BODY_BYTES_MAX} is the most; put less into a round"
                ));
            }
        };
        let bytes = (state.pending.len() - start) as u64;
        state.at.offset += bytes;
        state.encoded_bytes += bytes;
        state.records_end = state.at;
        Ok(())
    }

    /// Ends the segment that is encoded, and encodes the next one's header.
    fn cut(&self, state: &mut State) {
        let segment = state.at.segment + 1;
        let synced = state.synced_at >= state.at;
        let link = Link { segment: state.at.segment, bytes: state.at.offset, chain: state.chain, synced };
        let (header, chain) = SegmentHeader::encode(segment, Some(link), &self.info);
        state.cuts.push(Cut { at: state.pending.len(), segment });
        state.pending.extend_from_slice(&header);
        state.encoded_bytes += header.len() as u64;
        state.at = Position { segment, offset: header.len() as u64 };
        state.first_at = state.at;
        state.chain = chain;
    }

    /// Returns when all that is encoded now was written, by this thread or another.
    fn write_out<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<(), JournalError> {
        let goal = state.encoded_bytes;
        loop {
            if state.written_bytes >= goal {
                return Ok(());
            }
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if state.writing {
                state = self.wait_for_write(state);
            } else {
                state = self.lead(state);
            }
        }
    }

    /// Waits until the write that is under way has ended.
    fn wait_for_write<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        state = self.written.wait(state).expect(LOCK_REASON);
        state.waiting -= 1;
        state
    }

    /// Writes all that has gathered, without holding the lock meanwhile.
    fn lead<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let spare = mem::take(&mut state.spare);
        let mut bytes = mem::replace(&mut state.pending, spare);
        let cuts = mem::take(&mut state.cuts);
        let (goal_bytes, goal_at) = (state.encoded_bytes, state.at);
        let (segment, file) = state.files.last().cloned().expect("the segment that is written is always there");
        state.writing = true;
        drop(state);

        let mut opened = Vec::new();
        let result = self.hand_over(&bytes, &cuts, segment, file, &mut opened);
        bytes.clear();
        bytes.shrink_to(BUFFER_BYTES_KEPT);

        let mut state = self.lock();
        state.writing = false;
        state.spare = bytes;
        state.names_changed |= !opened.is_empty();
        state.files.append(&mut opened);
        match result {
            Ok(()) => {
                state.written_bytes = goal_bytes;
                state.written_at = goal_at;
            }
            Err(error) => {
                state.failed.get_or_insert(error.into());
            }
        }
        if state.waiting != 0 {
            self.written.notify_all();
        }
        state
    }

    /// Hands bytes to the operating system, segment by segment.
    fn hand_over(
        &self,
        bytes: &[u8],
        cuts: &[Cut],
        mut segment: u64,
        mut file: Arc<dyn File>,
        opened: &mut Vec<(u64, Arc<dyn File>)>,
    ) -> Result<(), IoError> {
        let mut start = 0;
        let ends = cuts.iter().map(|cut| (cut.at, Some(cut.segment))).chain([(bytes.len(), None)]);
        for (end, next) in ends {
            if start != end {
                file.write_all(&bytes[start..end])
                    .map_err(|error| IoError::new("write", segment::path(&self.node_dir, segment), error))?;
            }
            start = end;
            if let Some(next) = next {
                segment = next;
                file = self.preparation.make_segment(&segment::path(&self.node_dir, segment))?;
                opened.push((segment, Arc::clone(&file)));
            }
        }
        Ok(())
    }

    /// Returns when these segments are on disk, the older ones first, and their names too.
    fn sync_files(&self, files: &[(u64, Arc<dyn File>)], names_changed: bool) -> Result<(), JournalError> {
        for (segment, file) in files {
            file.sync_data().map_err(|error| IoError::new("sync", segment::path(&self.node_dir, *segment), error))?;
        }
        if names_changed { sync_dir(&*self.storage, &self.node_dir.join(JOURNAL_DIR)) } else { Ok(()) }
    }
}

impl Drop for Shared {
    /// Hands over what was appended last. An error has nobody left to tell; those records were never promised.
    fn drop(&mut self) {
        if self.state.lock().is_ok_and(|state| state.failed.is_none()) {
            let _ = self.write_out(self.lock());
        }
    }
}

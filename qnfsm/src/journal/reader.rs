//! Reading a journal from front to back, with every check, and finding its end.
//!
//! Reading changes nothing. A record is given out only when it, and all before it in the pass, is what was written.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    bytes::{BlockFault, is_zeros},
    envelope::{Position, RecordFault, Seed, take_chained},
    error::{Corruption, IoError, OpenError, ReadError, Unsupported, Why},
    lock::{NodeLock, ReadLock},
    manifest::Manifest,
    record::{Record, guess_place, is_known},
    segment::{self, Link, SEGMENT_FILE_BYTES_MAX, SegmentHeader},
    storage::Storage,
    tail::{Behind, Loss, Tail, list_segments, look_behind},
    window::Window,
};
use crate::id::WorkerId;

/// A record and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where the record begins; [`Reader::seek`] comes back to it.
    pub position: Position,
    /// What it says.
    pub record: Record<'a>,
    /// Its bytes, from which it was read.
    pub(super) body: &'a [u8],
}

/// Where a reader stood between two records. It comes back there without reading again what stands before in the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bookmark {
    at: Position,
    chain: u32,
}

impl Bookmark {
    /// Where the next record begins; where a segment ends, that is its end.
    #[must_use]
    pub fn position(&self) -> Position {
        self.at
    }
}

/// Where the reading stands within the segment that is loaded.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) header: SegmentHeader,
    /// Where the next record begins.
    pub(super) at: Position,
    /// The chain value that it must carry.
    pub(super) chain: u32,
}

impl Loaded {
    fn end(&self) -> Link {
        Link { segment: self.at.segment, bytes: self.at.offset, chain: self.chain, synced: false }
    }
}

/// A record that was checked, and where its body lies: so far behind its front.
struct Step {
    position: Position,
    kind: u8,
    body: Range<usize>,
}

/// Reads a node's journal. It holds a part of one segment in memory at a time: some megabytes, or more for
/// a longer record and where a segment ends in zeros.
#[derive(Debug)]
pub struct Reader {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) node_dir: PathBuf,
    pub(super) manifest: Manifest,
    seed: Seed,
    /// The numbers of the segments that there are, in order.
    pub(super) segments: Vec<u64>,
    /// Bytes of the segment that is loaded.
    pub(super) window: Window,
    pub(super) loaded: Option<Loaded>,
    /// Of which segment the window has a part; none, where it has none.
    window_of: Option<u64>,
    /// The worker and round of the record that was read last.
    pub(super) near: (Option<WorkerId>, Option<u64>),
    pub(super) synced: Position,
    /// Where the journal is taken to end, if it doesn't before.
    until: Position,
    pub(super) tail: Option<Tail>,
    /// What the last step said, if it failed; it is said again.
    pub(super) failed: Option<ReadError>,
    /// Keeps nodes from starting in the directory, where this process doesn't hold all of it.
    _lock: Option<ReadLock>,
}

impl Reader {
    /// Opens the journal of a node that isn't running. None starts there as long as the reader lives.
    ///
    /// # Errors
    /// When that is no node's directory, a node is running there, or what must be there can't be read.
    pub fn open(storage: Arc<dyn Storage>, node_dir: &Path) -> Result<Reader, OpenError> {
        // Before the manifest, so that it is of what is read then.
        let lock = ReadLock::take(&*storage, node_dir)?;
        let manifest = Manifest::load(&*storage, node_dir)?;
        Ok(Reader { _lock: lock, ..Reader::with_manifest(storage, node_dir, manifest)? })
    }

    /// Opens the journal of a node's directory that this process holds.
    ///
    /// # Errors
    /// As [`open`](Reader::open).
    pub fn open_locked(storage: Arc<dyn Storage>, node_dir: &Path, _lock: &NodeLock) -> Result<Reader, OpenError> {
        let manifest = Manifest::load(&*storage, node_dir)?;
        Reader::with_manifest(storage, node_dir, manifest)
    }

    /// Opens the journal of a node that isn't running, to read from a record on.
    ///
    /// # Errors
    /// As [`open`](Reader::open) and [`seek`](Reader::seek).
    pub fn open_at(storage: Arc<dyn Storage>, node_dir: &Path, position: Position) -> Result<Reader, OpenError> {
        let mut reader = Reader::open(storage, node_dir)?;
        match reader.seek(position) {
            Ok(()) => Ok(reader),
            Err(ReadError::Misuse(what)) => Err(OpenError::Misuse(what)),
            Err(ReadError::Io(error)) => Err(error.into()),
            Err(ReadError::Corrupt(error)) => Err(error.into()),
            Err(ReadError::Unsupported(error)) => Err(error.into()),
        }
    }

    pub(super) fn with_manifest(
        storage: Arc<dyn Storage>,
        node_dir: &Path,
        manifest: Manifest,
    ) -> Result<Reader, OpenError> {
        let segments = list_segments(&*storage, node_dir)?.map_err(|file| {
            let says = "nothing that is spelt so".to_owned();
            Corruption { file, offset: 0, worker: None, round: None, sound_end: None, why: Why::Misplaced { says } }
        })?;
        let oldest = manifest.oldest_segment;
        let segments = segments.into_iter().filter(|segment| *segment >= oldest).collect();
        // Older ones were given up only because this one was on disk.
        let begun = Position { segment: oldest, offset: 1 };
        let reached = if oldest > 1 { manifest.reached.max(begun) } else { manifest.reached };
        Ok(Reader {
            storage,
            node_dir: node_dir.into(),
            synced: reached,
            seed: Seed::new(manifest.identity),
            manifest,
            segments,
            window: Window::new(),
            loaded: None,
            window_of: None,
            near: (None, None),
            until: Position::MAX,
            tail: None,
            failed: None,
            _lock: None,
        })
    }

    /// Takes the journal to end where a record ends, whatever lies behind: that isn't looked at, nor does it count that more was
    /// known to be on disk.
    pub(crate) fn end_at(&mut self, position: Position) {
        self.until = position;
    }

    /// The manifest of the node whose journal it is.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The header of the segment that is being read; none before the first record, and in a journal without segments.
    #[must_use]
    pub fn header(&self) -> Option<&SegmentHeader> {
        self.loaded.as_ref().map(|loaded| &loaded.header)
    }

    /// Where the next record begins, as far as is known: at the end of a segment, that end. The zero position before
    /// anything was read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.loaded.as_ref().map_or_else(Position::default, |loaded| loaded.at)
    }

    /// Where the journal ends; none before [`next`](Reader::next) has said that there is no more.
    #[must_use]
    pub fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// Reads one record on; `None` at the journal's end.
    ///
    /// # Errors
    /// When what is there is damaged before a position that is known to be on disk, when it was written by a newer
    /// version, or when the system fails. Nothing is skipped: asked again, it says the same.
    #[expect(clippy::should_implement_trait, reason = "what it gives borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, ReadError> {
        let Some(Step { position, kind, body }) = self.step()? else { return Ok(None) };
        let body = &self.window.from(position.offset)[body];
        match Record::decode(kind, body) {
            Ok(record) => {
                if let Some(worker) = record.worker() {
                    self.near = (Some(worker), record.round());
                }
                if let Record::SyncMark { segment, offset } = record {
                    self.synced = self.synced.max(Position { segment, offset });
                }
                Ok(Some(Entry { position, record, body }))
            }
            Err(why) => Err(self.corrupt(position, guess_place(kind, body), why)),
        }
    }

    /// Goes to the record that begins at `position`, or to the end of a segment; the zero position is the start.
    ///
    /// # Errors
    /// [`ReadError::Misuse`] if no record begins there; otherwise as [`next`](Reader::next).
    pub fn seek(&mut self, position: Position) -> Result<(), ReadError> {
        self.loaded = None;
        self.tail = None;
        self.failed = None;
        self.near = (None, None);
        if position == Position::default() {
            return Ok(());
        }
        if !self.segments.contains(&position.segment) {
            return Err(ReadError::Misuse(format!(
                "there is no segment {}; give a position that was read from this journal",
                position.segment
            )));
        }
        self.load(position.segment)?;
        while self.position() < position && self.step_before(position)?.is_some() {}
        if self.position() == position {
            self.tail = None;
            Ok(())
        } else {
            Err(ReadError::Misuse(format!(
                "no record begins at {position}; give a position that was read from this journal"
            )))
        }
    }

    /// Where the reader stands, to be come back to; none before the first record was read.
    #[must_use]
    pub fn bookmark(&self) -> Option<Bookmark> {
        self.loaded.as_ref().map(|loaded| Bookmark { at: loaded.at, chain: loaded.chain })
    }

    /// Comes back to where a reader of the same journal stood; to its start, if there is no bookmark. What follows is checked again.
    ///
    /// # Errors
    /// As [`next`](Reader::next), where another segment has to be loaded.
    pub fn return_to(&mut self, bookmark: Option<Bookmark>) -> Result<(), ReadError> {
        let Some(Bookmark { at, chain }) = bookmark else { return self.seek(Position::default()) };
        (self.tail, self.failed, self.near) = (None, None, (None, None));
        // Where the next segment could not be entered, the window is over that one, and what is loaded still the one before.
        let is_there = self.loaded.as_ref().is_some_and(|loaded| loaded.at.segment == at.segment);
        if !is_there || self.window_of != Some(at.segment) {
            self.loaded = None;
            self.load(at.segment)?;
        }
        if let Some(loaded) = &mut self.loaded {
            (loaded.at, loaded.chain) = (at, chain);
            self.window.go_to(at.offset);
        }
        Ok(())
    }

    /// Goes to the first record of a segment, and gives its header. What comes before it isn't read.
    ///
    /// # Errors
    /// [`ReadError::Misuse`] if there is no such segment; otherwise as [`next`](Reader::next).
    pub fn seek_segment(&mut self, segment: u64) -> Result<Option<&SegmentHeader>, ReadError> {
        self.seek(Position::default())?;
        if !self.segments.contains(&segment) {
            return Err(ReadError::Misuse(format!("there is no segment {segment}; give one that is there")));
        }
        self.load(segment)?;
        Ok(self.header())
    }

    /// Checks the next record and steps over it.
    fn step(&mut self) -> Result<Option<Step>, ReadError> {
        self.step_before(Position::MAX)
    }

    /// As [`step`](Reader::step), but not to a record at `end` or behind it, nor over what is passed over before it.
    fn step_before(&mut self, end: Position) -> Result<Option<Step>, ReadError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let step = self.step_unfailed(end);
        self.failed = step.as_ref().err().cloned();
        step
    }

    /// Checks the next record and steps over it; reads on in its segment, and loads the next one where that ends.
    fn step_unfailed(&mut self, end: Position) -> Result<Option<Step>, ReadError> {
        loop {
            if self.tail.is_some() {
                return Ok(None);
            }
            let Some(loaded) = &mut self.loaded else {
                self.load_first()?;
                continue;
            };
            let at = loaded.at;
            if at >= self.until {
                self.end_where_told(at)?;
                continue;
            }
            if at >= end {
                return Ok(None);
            }
            let bytes = self.window.from(at.offset);
            // A segment that was made of zeros beforehand ends where nobody has written.
            if is_zeros(bytes) {
                if self.window.is_last() {
                    self.load_next()?;
                } else {
                    self.read_on(at)?;
                }
                continue;
            }
            match take_chained(bytes, self.seed, at, loaded.chain) {
                Ok(envelope) => {
                    if let Some(what) = envelope.unknown() {
                        let file = segment::path(&self.node_dir, at.segment);
                        return Err(Unsupported { file, offset: at.offset, what }.into());
                    }
                    let end = envelope.bytes_len();
                    let (kind, body) = (envelope.kind, end - envelope.body.len()..end);
                    // A damaged body of a record that is otherwise sound is never stepped over.
                    let sound = !is_known(kind) || Record::decode(kind, envelope.body).is_ok();
                    if sound {
                        loaded.at.offset += envelope.bytes_len() as u64;
                        loaded.chain = envelope.next_chain;
                    }
                    if is_known(kind) {
                        return Ok(Some(Step { position: at, kind, body }));
                    }
                }
                Err(_) if !self.window.is_last() => self.read_on(at)?,
                Err(RecordFault { why, told }) => {
                    let near = told.map_or(self.near, |(kind, body)| guess_place(kind, body));
                    self.end_or_corrupt(at, near, why)?;
                }
            }
        }
    }

    /// Reads on in the segment that is loaded.
    fn read_on(&mut self, at: Position) -> Result<(), IoError> {
        // What a read that failed leaves in the window is no part of the segment.
        let of = self.window_of.take();
        self.window.read_on(&*self.storage, &segment::path(&self.node_dir, at.segment), at.offset)?;
        self.window_of = of;
        Ok(())
    }

    /// Decides what a bad record or header at `at` means: the end of the journal, if nothing says that it was on disk.
    /// The window has all that there is of its segment from there on.
    fn end_or_corrupt(
        &mut self,
        at: Position,
        near: (Option<WorkerId>, Option<u64>),
        why: Why,
    ) -> Result<(), ReadError> {
        let later = &self.segments[self.segments.partition_point(|segment| *segment <= at.segment)..];
        let bytes = self.window.from(at.offset);
        let Behind { proof, bytes } = look_behind(&*self.storage, &self.node_dir, self.seed, bytes, at, later)?;
        // Where a segment is missing or has no header, what is sound ends before it: in the segment before, maybe too early.
        let end = self.loaded.as_ref().map_or(at, |loaded| loaded.at);
        if proof.max(Some(self.synced)) > Some(end) {
            return Err(self.corrupt(at, near, why));
        }
        let after = self.position();
        // A segment that was made, and that nothing was written to, loses nothing.
        self.end((bytes != 0).then_some(Loss { after, bytes, why }));
        Ok(())
    }

    /// The journal is taken to end here, if a record ends where it is to.
    fn end_where_told(&mut self, at: Position) -> Result<(), ReadError> {
        if at != self.until {
            return Err(ReadError::Misuse(format!("no record ends at {}, where the journal is to end", self.until)));
        }
        self.end(None);
        Ok(())
    }

    fn end(&mut self, lost: Option<Loss>) {
        self.tail = Some(Tail {
            last: self.loaded.as_ref().map(Loaded::end),
            lost,
            epoch: self.loaded.as_ref().map(|loaded| loaded.header.info.epoch),
            synced: self.synced.min(self.until),
            oldest_segment: self.manifest.oldest_segment,
        });
    }

    fn corrupt(&self, at: Position, near: (Option<WorkerId>, Option<u64>), why: Why) -> ReadError {
        let file = segment::path(&self.node_dir, at.segment);
        let (worker, round) = near;
        let sound_end = self.loaded.as_ref().map(|loaded| Box::new(loaded.at));
        Corruption { file, offset: at.offset, worker, round, sound_end, why }.into()
    }

    /// The journal ends here without a loss, unless it had reached further.
    fn end_of_segments(&mut self) -> Result<(), ReadError> {
        let at = self.position();
        if self.synced > at {
            let (missing, why) = (self.synced, Why::EndsEarly { reached: self.synced.to_string() });
            // With the whole segment gone, it is that file which has to be put back.
            let (at, why) = if missing.segment > at.segment {
                (Position { segment: at.segment.max(self.manifest.oldest_segment - 1) + 1, offset: 0 }, Why::Missing)
            } else {
                (at, why)
            };
            return Err(self.corrupt(at, self.near, why));
        }
        self.end(None);
        Ok(())
    }

    fn load_first(&mut self) -> Result<(), ReadError> {
        let oldest = self.manifest.oldest_segment;
        match self.segments.first() {
            None => self.end_of_segments(),
            Some(&first) if first == oldest => self.load(first),
            Some(_) => self.missing(oldest),
        }
    }

    fn load_next(&mut self) -> Result<(), ReadError> {
        let here = self.position();
        match self.segments.get(self.segments.partition_point(|segment| *segment <= here.segment)) {
            None => self.end_of_segments(),
            Some(&next) if next - 1 == here.segment => self.load(next),
            Some(_) => self.missing(here.segment + 1),
        }
    }

    /// A segment isn't there, and later ones are: names that were made together may come to be on disk in any order.
    fn missing(&mut self, segment: u64) -> Result<(), ReadError> {
        self.window.clear();
        self.window_of = None;
        self.end_or_corrupt(Position { segment, offset: 0 }, self.near, Why::Missing)
    }

    /// Loads a segment and ties its header to the end of the one before, if that was read.
    fn load(&mut self, segment: u64) -> Result<(), ReadError> {
        let path = segment::path(&self.node_dir, segment);
        let start = Position { segment, offset: 0 };
        let bytes = self.storage.file_bytes(&path).map_err(|error| IoError::new("look at", &path, error))?;
        if bytes > SEGMENT_FILE_BYTES_MAX {
            return Err(self.corrupt(start, self.near, Why::TooLong { bytes, bytes_max: SEGMENT_FILE_BYTES_MAX }));
        }
        self.window_of = None;
        self.window.open(&*self.storage, &path)?;
        self.window_of = Some(segment);
        let (header, header_bytes, chain) = loop {
            match SegmentHeader::decode(self.window.from(0)) {
                Ok(decoded) => break decoded,
                Err(BlockFault::Bad(_)) if !self.window.is_last() => self.read_on(start)?,
                Err(BlockFault::Bad(why)) => return self.end_or_corrupt(start, self.near, why),
                Err(BlockFault::Version(version)) => {
                    return Err(Unsupported { file: path, offset: 0, what: format!("format version {version}") }.into());
                }
            }
        };
        if let Some(why) = self.header_fault(segment, &header) {
            return Err(self.corrupt(start, self.near, why));
        }
        if let (Some(loaded), Some(link)) = (&self.loaded, header.link) {
            let end = loaded.end();
            if end.bytes < link.bytes {
                return self.cut_at_a_record(end.position(), link);
            }
            if (end.bytes, end.chain) != (link.bytes, link.chain) {
                let why = Why::Link { expected: end.to_string(), found: link.to_string() };
                return Err(self.corrupt(start, self.near, why));
            }
        }
        if let Some(link) = header.link.filter(|link| link.synced) {
            self.synced = self.synced.max(link.position());
        }
        let at = Position { segment, offset: header_bytes as u64 };
        self.loaded = Some(Loaded { header, at, chain });
        Ok(())
    }

    /// The segment that was read ends at a record, but the next one says that it was longer.
    fn cut_at_a_record(&mut self, at: Position, link: Link) -> Result<(), ReadError> {
        let why = Why::EndsEarly { reached: link.position().to_string() };
        if link.synced {
            return Err(self.corrupt(at, self.near, why));
        }
        self.window.clear();
        self.window_of = None;
        self.end_or_corrupt(at, self.near, why)
    }

    /// What is wrong with a header that is sound in itself.
    fn header_fault(&self, segment: u64, header: &SegmentHeader) -> Option<Why> {
        let (info, manifest) = (&header.info, &self.manifest);
        if header.segment != segment {
            return Some(Why::Misplaced { says: format!("segment {}", header.segment) });
        }
        if info.identity != manifest.identity {
            return Some(Why::Foreign { identity: info.identity });
        }
        if info.epoch > manifest.epoch {
            return Some(Why::Malformed("it is of a later epoch than the manifest, which was put back from a copy"));
        }
        let linked = header.link.map_or(0, |link| link.segment);
        if linked != segment - 1 {
            let expected = format!("segment {}", segment - 1);
            return Some(Why::Link { expected, found: format!("segment {linked}") });
        }
        let before = &self.loaded.as_ref()?.header.info;
        let follows =
            info.epoch > before.epoch || (info.epoch == before.epoch && info.epoch_random == before.epoch_random);
        (!follows).then_some(Why::Stale { epoch: info.epoch })
    }
}

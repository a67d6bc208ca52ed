//! A node's directory that was opened to be played back with a program's kinds: what is known before the first record, and what each
//! segment has to say while the journal is read. Whoever plays goes through here, so that all refuse the same, in the same words.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::Arc,
};

use qnfsm::{
    Catalogue, Epoch, Kinds, OtherResource, Table, build_identity,
    journal::{
        self, Entry, Manifest, Position, Reader, RealFiles, Record, SegmentHeader, Storage, Unsupported, holdings,
        segment_path, snapshots::Mark,
    },
    playback::{Beginning, Playback},
};

use crate::{
    CorruptJournal, LeftOff, ReplayError, WrongProgram,
    left_out::LeftOut,
    live::Again,
    partly,
    player::{Player, Stopped, Why},
};

/// A directory that can be played back, as far as its manifest and its segments' headers say.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) dir: PathBuf,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) manifest: Manifest,
    pub(crate) catalogue: Arc<Catalogue>,
    /// By segment, from the oldest that counts on, how long it is.
    pub(crate) files: BTreeMap<u64, u64>,
    /// The segments that another version of the program recorded, or this one with other resources.
    others: Arc<BTreeSet<u64>>,
}

impl Recorded {
    /// Opens a directory in which no node runs, of that program if it is given; and a reader at its journal's start.
    pub(crate) fn open(
        dir: &Path,
        kinds: Kinds,
        program: Option<&str>,
        storage: Option<Arc<dyn Storage>>,
    ) -> Result<(Recorded, Reader), ReplayError> {
        Recorded::open_sealed(dir, kinds.seal()?, program, storage, &Again::new(false))
    }

    /// Likewise, with kinds that were sealed before, and also where a node runs, if that is so.
    pub(crate) fn open_sealed(
        dir: &Path,
        catalogue: Arc<Catalogue>,
        program: Option<&str>,
        storage: Option<Arc<dyn Storage>>,
        again: &Again,
    ) -> Result<(Recorded, Reader), ReplayError> {
        let storage = storage.unwrap_or_else(|| Arc::new(RealFiles));
        let reader = again.open(storage.clone(), dir)?;
        let manifest = reader.manifest().clone();
        if program.is_some_and(|program| program != manifest.program) && !manifest.is_of_test() {
            return Err(WrongProgram::Another { dir: dir.into(), wrote: manifest.program }.into());
        }
        let files = holdings::segments(&*storage, dir)?.split_off(&manifest.oldest_segment);
        let tables = tables(&*storage, dir, &files)?;
        let catalogue = partly::numbered(&catalogue, tables.values().map(|table| &**table)).map_or(catalogue, Arc::new);
        let others = Arc::new(others(&tables, catalogue.table()));
        Ok((Recorded { dir: dir.into(), storage, manifest, catalogue, files, others }, reader))
    }

    /// One more reader at the journal's start.
    pub(crate) fn reader(&self) -> Result<Reader, ReplayError> {
        Ok(Reader::open(self.storage.clone(), &self.dir)?)
    }

    /// A player of the node's workers, from the journal's start.
    pub(crate) fn player(&self) -> Player {
        self.player_with([])
    }

    /// A player whose workers begin with those snapshots, and is given no record from before.
    pub(crate) fn player_with(&self, marks: impl IntoIterator<Item = Mark>) -> Player {
        let beginning = Beginning::of(self.storage.clone(), self.dir.clone(), &self.manifest).with(marks);
        Player::new(self.catalogue.clone(), self.manifest.node, Some(beginning), self.others.clone())
    }

    /// One for who plays again what was compared with its snapshots before.
    pub(crate) fn player_again(&self) -> Player {
        let beginning = Beginning::of(self.storage.clone(), self.dir.clone(), &self.manifest);
        Player::unchecked(self.catalogue.clone(), self.manifest.node, Some(beginning), self.others.clone())
    }

    /// True if that segment isn't this program's to play.
    pub(crate) fn is_of_another_version(&self, segment: u64) -> bool {
        self.others.contains(&segment)
    }

    /// What a playback left out.
    pub(crate) fn left_out(&self, playback: &Playback) -> LeftOut {
        LeftOut::of(&self.dir, &self.catalogue, playback)
    }

    /// How long the journal is.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().sum()
    }

    /// How much of it stands before that place.
    pub(crate) fn bytes_before(&self, at: Position) -> u64 {
        journal_bytes_before(&self.files, at)
    }
}

/// How much of a journal with those segments stands before that place.
pub(crate) fn journal_bytes_before(files: &BTreeMap<u64, u64>, at: Position) -> u64 {
    files.range(..at.segment).map(|(_, bytes)| bytes).sum::<u64>() + at.offset
}

/// What the segments of a journal say, as far as it was read.
pub(crate) struct Segments<'a> {
    recorded: &'a Recorded,
    /// The segment that is being read.
    pub(crate) segment: u64,
    /// By segment, where its first record begins, and whether another executable than this one wrote it.
    builds: Vec<(Position, bool)>,
    pub(crate) epochs: BTreeSet<Epoch>,
    /// Resources of before, which this program doesn't have.
    pub(crate) passed_over: BTreeSet<OtherResource>,
    /// Where another version of the program went on, as far as was read.
    pub(crate) left_off: Option<LeftOff>,
    /// The epoch whose clean stop is the last that was read.
    pub(crate) stopped: Option<Epoch>,
}

impl<'a> Segments<'a> {
    pub(crate) fn new(recorded: &'a Recorded) -> Segments<'a> {
        Segments {
            recorded,
            segment: 0,
            builds: Vec::new(),
            epochs: BTreeSet::new(),
            passed_over: BTreeSet::new(),
            left_off: None,
            stopped: None,
        }
    }

    /// Notes what a record says of more than its worker.
    pub(crate) fn note(&mut self, entry: &Entry<'_>) {
        if let Record::CleanStop { epoch } = entry.record {
            self.stopped = Some(epoch);
        }
    }

    /// Checks that this program can play what the segment holds in which that record stands, unless it was checked before.
    pub(crate) fn check(&mut self, reader: &Reader, first: Position) -> Result<(), ReplayError> {
        if first.segment == self.segment {
            return Ok(());
        }
        let header = reader.header().expect("a record was read from a segment with a header");
        self.enter(header, first)
    }

    fn enter(&mut self, header: &SegmentHeader, first: Position) -> Result<(), ReplayError> {
        let (info, dir) = (&header.info, self.recorded.dir.as_path());
        self.segment = header.segment;
        self.epochs.insert(info.epoch);
        let table = table_of(header, dir)?;
        let own = self.recorded.catalogue.table();
        if self.recorded.others.contains(&header.segment) {
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
            let kinds = table.kinds.iter().map(|kind| format!("kind {}", kind.name)).collect();
            return Err(WrongProgram::Foreign { dir: dir.into(), kinds }.into());
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

    /// True if another executable wrote the last segment of which a record stands before that place.
    pub(crate) fn build_differs_before(&self, position: Position) -> bool {
        self.builds.iter().rev().find(|(first, _)| *first < position).is_some_and(|(_, differs)| *differs)
    }

    /// What a player's end means for who plays; a panic goes on.
    pub(crate) fn error(&self, stopped: Stopped) -> ReplayError {
        let Stopped { noticed_at, why } = stopped;
        match why {
            Why::Error(error, place) => {
                let build_differs = self.build_differs_before(noticed_at);
                #[cfg(feature = "metrics")]
                if matches!(error, qnfsm::playback::PlaybackError::Diverged(_)) {
                    crate::divergences::count(&self.recorded.manifest);
                }
                let file = segment_path(&self.recorded.dir, place.segment);
                ReplayError::of_playback(error, file, place, build_differs)
            }
            Why::Panic(panic) => resume_unwind(panic),
        }
    }
}

/// By segment, the kinds and message types of the program that wrote it. Where segments that follow one another have the same, it stands
/// there once.
fn tables(
    storage: &dyn Storage,
    dir: &Path,
    files: &BTreeMap<u64, u64>,
) -> Result<BTreeMap<u64, Arc<Table>>, ReplayError> {
    let mut tables: BTreeMap<u64, Arc<Table>> = BTreeMap::new();
    for segment in files.keys() {
        // What is no header, or none of a table, is an error where it is read.
        let Some(header) = journal::read_header(storage, dir, *segment)? else { break };
        let Ok(table) = Table::from_bytes(&header.info.catalogue) else { break };
        let before = tables.last_key_value().map(|(_, before)| before).filter(|before| ***before == table);
        tables.insert(*segment, before.cloned().unwrap_or_else(|| Arc::new(table)));
    }
    Ok(tables)
}

/// The segments that another version of the program recorded, or this one with other resources; none if this one recorded nothing. Where
/// the journal ends with segments of which only the resources are others, they are none of these: whoever replays may have them.
fn others(tables: &BTreeMap<u64, Arc<Table>>, own: &Table) -> BTreeSet<u64> {
    let (mut others, mut resources, mut has_own) = (BTreeSet::new(), BTreeSet::new(), false);
    for (segment, table) in tables {
        match (table.differences(own).is_empty(), table.other_resources(own).is_empty()) {
            (true, true) => {
                has_own = true;
                others.append(&mut resources);
            }
            (true, false) => _ = resources.insert(*segment),
            (false, _) => _ = others.insert(*segment),
        }
    }
    if has_own { others } else { BTreeSet::new() }
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

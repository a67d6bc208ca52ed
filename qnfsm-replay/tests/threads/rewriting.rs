//! Journals that are written anew from a recorded one, with the workers' records in another order among each other, or
//! changed; and what a single playback makes of a journal, which knows of no threads.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use qnfsm::{
    Epoch, Kinds, NodeId, WorkerId,
    frame::BatchRef,
    journal::{
        Excerpt, Journal, JournalOptions, Manifest, Position, Reader, RealFiles, Record, RecordDraft, SegmentInfo,
    },
    playback::{Playback, PlaybackError, Progress},
};
use qnfsm_replay::ReplayError;

/// A xorshift generator; the tests print their seeds.
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn new(seed: u64) -> Draws {
        Draws(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % bound as u64).unwrap()
    }
}

/// A recorded run, whose records can be written anew.
pub(crate) struct Recorded {
    manifest: Manifest,
    info: SegmentInfo,
    excerpt: Excerpt,
}

impl Recorded {
    pub(crate) fn read(dir: &Path) -> Recorded {
        let mut reader = Reader::open(Arc::new(RealFiles), dir).unwrap();
        let mut excerpt = Excerpt::default();
        while let Some(entry) = reader.next().unwrap() {
            // Marks speak of places, which will be others.
            if !matches!(entry.record, Record::SyncMark { .. }) {
                excerpt.push(&entry);
            }
        }
        let info = reader.header().unwrap().info.clone();
        let manifest = Manifest { reached: Position::default(), ..reader.manifest().clone() };
        Recorded { manifest, info, excerpt }
    }

    pub(crate) fn records(&self) -> Vec<Record<'_>> {
        self.excerpt.entries().map(|entry| entry.record).collect()
    }

    /// Writes records into a new directory, the last `later` of them in a second epoch whose table of kinds is `table`. Gives
    /// where each begins.
    pub(crate) fn write_epochs(
        &self,
        dir: &Path,
        records: &[Record<'_>],
        segment_bytes: u64,
        later: usize,
        table: &[u8],
    ) -> Vec<Position> {
        let (files, options) = (Arc::new(RealFiles), JournalOptions::default().segment_bytes(segment_bytes));
        let epoch = if later > 0 { Epoch(2) } else { Epoch(1) };
        Manifest { epoch, ..self.manifest.clone() }.create(&RealFiles, dir).unwrap();
        let (first, second) = records.split_at(records.len() - later);
        let journal = Journal::begin(files.clone(), dir, self.info.clone(), None, options).unwrap();
        put(&journal, first, None);
        drop(journal);
        if later > 0 {
            let mut reader = Reader::open(files.clone(), dir).unwrap();
            while reader.next().unwrap().is_some() {}
            let tail = reader.tail().cloned();
            drop(reader);
            let info = SegmentInfo { epoch, catalogue: table.to_vec(), ..self.info.clone() };
            let journal = Journal::begin(files, dir, info, tail.as_ref(), options).unwrap();
            put(&journal, second, None);
        }
        places(dir)
    }

    /// Writes records into a new directory. Gives where each begins.
    pub(crate) fn write(&self, dir: &Path, records: &[Record<'_>], segment_bytes: u64) -> Vec<Position> {
        self.write_epochs(dir, records, segment_bytes, 0, &[])
    }

    /// Writes records into a new directory, where the last byte is missing of what came in in the round of that index. Gives
    /// where each begins.
    pub(crate) fn write_cut(&self, dir: &Path, records: &[Record<'_>], cut: usize) -> Vec<Position> {
        self.manifest.create(&RealFiles, dir).unwrap();
        let options = JournalOptions::default();
        let journal = Journal::begin(Arc::new(RealFiles), dir, self.info.clone(), None, options).unwrap();
        put(&journal, records, Some(cut));
        drop(journal);
        places(dir)
    }
}

fn put(journal: &Journal, records: &[Record<'_>], cut: Option<usize>) {
    for (number, record) in records.iter().enumerate() {
        let mut batches: Vec<_> = match *record {
            Record::Round { batches, .. } => batches.collect(),
            _ => vec![],
        };
        if cut == Some(number) {
            let last = batches.last_mut().unwrap();
            last.bytes = &last.bytes[..last.bytes.len() - 1];
        }
        journal.append(&draft(record, &batches)).unwrap();
    }
    journal.sync().unwrap();
    journal.flush().unwrap();
}

fn draft<'a>(record: &Record<'a>, batches: &'a [BatchRef<'a>]) -> RecordDraft<'a> {
    match *record {
        Record::WorkerStarted { worker, epoch, config, request } => {
            Record::WorkerStarted { worker, epoch, config, request }
        }
        Record::WorkerStopped { worker, round, digest } => Record::WorkerStopped { worker, round, digest },
        Record::Round { worker, round, bound, now, digest_before, .. } => {
            Record::Round { worker, round, bound, now, digest_before, batches }
        }
        Record::External { worker, round, port, answer } => Record::External { worker, round, port, answer },
        Record::Version { worker, round, name, version } => Record::Version { worker, round, name, version },
        Record::DigestMark { worker, round, digest } => Record::DigestMark { worker, round, digest },
        Record::Deliveries { worker, round, entries } => Record::Deliveries { worker, round, entries },
        Record::SnapshotBegun { worker, round, digest } => Record::SnapshotBegun { worker, round, digest },
        Record::SnapshotMark { worker, round, digest, image_digest, driver_digest } => {
            Record::SnapshotMark { worker, round, digest, image_digest, driver_digest }
        }
        Record::Configured { worker, round, config } => Record::Configured { worker, round, config },
        Record::CleanStop { epoch } => Record::CleanStop { epoch },
        _ => panic!("not a record that is written anew"),
    }
}

/// The same records with those of different workers in another order: some of one worker, then some of another, each
/// worker's in theirs. What is of no worker comes last.
pub(crate) fn interleaved<'a>(records: &[Record<'a>], draws: &mut Draws) -> Vec<Record<'a>> {
    let mut of_workers: BTreeMap<WorkerId, Vec<Record<'a>>> = BTreeMap::new();
    for record in records.iter().rev() {
        if let Some(worker) = record.worker() {
            of_workers.entry(worker).or_default().push(*record);
        }
    }
    let mut of_workers: Vec<_> = of_workers.into_values().collect();
    let mut all = Vec::new();
    while !of_workers.is_empty() {
        let at = draws.below(of_workers.len());
        for _ in 0..=draws.below(6) {
            all.extend(of_workers[at].pop());
        }
        of_workers.retain(|left| !left.is_empty());
    }
    all.extend(records.iter().filter(|record| record.worker().is_none()));
    all
}

/// What one playback makes of a directory, record for record, or how it says that it can't go on.
pub(crate) fn played(dir: &Path, kinds: Kinds) -> Result<(Progress, u64, Vec<String>), String> {
    let mut reader = Reader::open(Arc::new(RealFiles), dir).unwrap();
    let mut playback = Playback::new(kinds.seal().unwrap(), NodeId(0)).checking_images();
    let told = |error: PlaybackError| error.to_string();
    while let Some(entry) = reader.next().map_err(|error| ReplayError::from(error).to_string())? {
        playback.apply(&entry.record, &mut ()).map_err(told)?;
    }
    playback.finish(&mut ()).map_err(told)?;
    let faults = playback.faults().map(ToString::to_string).collect();
    Ok((playback.progress(), playback.digest(), faults))
}

/// Where the records of a directory begin, but for sync marks.
fn places(dir: &Path) -> Vec<Position> {
    let mut reader = Reader::open(Arc::new(RealFiles), dir).unwrap();
    let mut places = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        if !matches!(entry.record, Record::SyncMark { .. }) {
            places.push(entry.position);
        }
    }
    places
}

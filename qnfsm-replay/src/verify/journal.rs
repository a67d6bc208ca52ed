//! What a journal's records say, held against what they said before. The reader has checked that they are what was written.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use qnfsm::{
    Codec, Deliveries, Epoch, Place, Trust, WorkerConfig, WorkerId,
    frame::BatchRef,
    journal::{AllMarks, Manifest, Position, Record, segment_path},
};

use super::Finding;

/// More findings of one kind are nobody's to read.
const FOUND_MAX: usize = 100;

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) rounds: u64,
    pub(super) frames: u64,
    pub(super) deliveries: u64,
}

/// What the records of one worker have said so far.
#[derive(Debug, Default)]
struct Said {
    /// Its last round.
    round: Option<u64>,
    /// The last round of which a mark gives the digest.
    digest: Option<(u64, u64)>,
    /// By source and its epoch, the number of the frame that is next.
    next_frames: BTreeMap<(Place, Epoch), u64>,
    is_stopped: bool,
}

/// A journal on its way through the checks.
#[derive(Debug)]
pub(super) struct Checks<'a> {
    dir: &'a Path,
    /// The journal has its beginning.
    is_whole: bool,
    segment: Option<u64>,
    said: BTreeMap<WorkerId, Said>,
    /// The workers whose start is in the journal.
    pub(super) started: BTreeSet<WorkerId>,
    pub(super) marks: AllMarks,
    pub(super) counts: Counts,
    pub(super) found: Vec<Finding>,
}

impl<'a> Checks<'a> {
    pub(super) fn new(dir: &'a Path, manifest: &Manifest) -> Checks<'a> {
        Checks {
            dir,
            is_whole: manifest.oldest_segment == 1,
            segment: None,
            said: BTreeMap::new(),
            started: BTreeSet::new(),
            marks: AllMarks::default(),
            counts: Counts::default(),
            found: Vec::new(),
        }
    }

    /// Checks the next record. True if it is the first of its segment.
    pub(super) fn record(&mut self, at: Position, record: &Record<'_>) -> bool {
        self.counts.records += 1;
        self.marks.note(record, at);
        match *record {
            Record::WorkerStarted { worker, config, .. } => {
                if !self.started.insert(worker) {
                    self.find(at, record, "the worker is started a second time");
                }
                self.config(at, record, config);
            }
            Record::Configured { config, .. } => self.config(at, record, config),
            Record::SyncMark { segment, offset } if Position { segment, offset } > at => {
                self.find(at, record, "the mark says of what is behind it that it is on disk");
            }
            Record::Round { .. } => self.round(at, record),
            Record::Deliveries { entries, .. } => {
                for entry in Deliveries::new(entries) {
                    match entry {
                        Ok(_) => self.counts.deliveries += 1,
                        Err(error) => self.find(at, record, &format!("a delivery can't be read: {error}")),
                    }
                }
            }
            _ => {}
        }
        self.place(at, record);
        self.segment.replace(at.segment) != Some(at.segment)
    }

    /// Checks that what a record says of a worker and a round fits to what was said of it before.
    fn place(&mut self, at: Position, record: &Record<'_>) {
        let Some(worker) = record.worker() else { return };
        let is_known = self.is_whole && !self.started.contains(&worker);
        let said = self.said.entry(worker).or_default();
        let mut wrong = None;
        if is_known {
            wrong = Some("nothing says that the worker was started".to_owned());
        } else if said.is_stopped {
            wrong = Some("the worker was stopped before".to_owned());
        }
        match (record.round(), said.round) {
            (Some(round), Some(last))
                if !matches!(record, Record::Round { .. } | Record::SnapshotMark { .. } | Record::Attempt { .. })
                    && round != last =>
            {
                wrong = Some(format!("the worker's last round is {last}"));
            }
            _ => {}
        }
        match *record {
            Record::Round { round, .. } => said.round = Some(round),
            Record::DigestMark { round, digest, .. } => said.digest = Some((round, digest)),
            Record::WorkerStopped { .. } => said.is_stopped = true,
            _ => {}
        }
        if let Some(wrong) = wrong {
            self.find(at, record, &wrong);
        }
    }

    fn round(&mut self, at: Position, record: &Record<'_>) {
        let Record::Round { worker, round, digest_before, batches, .. } = *record else { return };
        self.counts.rounds += 1;
        let said = self.said.entry(worker).or_default();
        let mut wrong = Vec::new();
        let expected = said.round.or(self.started.contains(&worker).then_some(0)).map(|last| last + 1);
        if let Some(expected) = expected.filter(|expected| *expected != round) {
            wrong.push(format!("the worker's next round is {expected}"));
        }
        if said.digest.is_some_and(|(of, digest)| of + 1 == round && digest != digest_before) {
            wrong.push("its digest of the round before is another one than that round's mark has".to_owned());
        }
        for batch in batches {
            wrong.extend(said.batch(&batch, &mut self.counts.frames));
        }
        for wrong in wrong {
            self.find(at, record, &wrong);
        }
    }

    fn config(&mut self, at: Position, record: &Record<'_>, config: &[u8]) {
        if let Err(error) = Codec::CURRENT.decode::<WorkerConfig>(config, Trust::Node) {
            self.find(at, record, &format!("the worker's configuration can't be read: {error}"));
        }
    }

    fn find(&mut self, at: Position, record: &Record<'_>, what: &str) {
        if self.found.len() == FOUND_MAX {
            return;
        }
        let finding = Finding::damage(segment_path(self.dir, at.segment), what).at(at.offset);
        let finding = Finding {
            worker: record.worker().map(|worker| worker.0),
            round: record.round().map(crate::dump::Number),
            ..finding
        };
        let next = format!(
            "every checksum is right, so it was written so: look at it with: qnfsm dump {}",
            self.dir.display()
        );
        self.found.push(finding.next(next));
    }
}

impl Said {
    /// Checks a batch that enters with a round. Gives what is wrong with it.
    fn batch(&mut self, batch: &BatchRef<'_>, frames: &mut u64) -> Vec<String> {
        let mut wrong = Vec::new();
        let (source, epoch) = (batch.source, batch.epoch);
        let next = self.next_frames.entry((source, epoch)).or_insert(batch.first);
        if batch.first > *next {
            wrong.push(format!("a batch of {source} begins with frame {} where {next} is next", batch.first));
        }
        *next = batch.next_number().max(*next);
        for run in batch.runs() {
            match run {
                Ok(run) => *frames += u64::from(run.frames),
                Err(error) => wrong.push(format!("a batch of {source}: {error}")),
            }
        }
        wrong
    }
}

//! What one segment of a journal says, in numbers: counted record by record, and small enough to be kept.
//!
//! Of frames only headers are looked at. What is said of snapshots is kept as the records that say it, so that which of
//! them count is decided by [`AllMarks`] alone, wherever the parts come from.

use std::collections::BTreeMap;

use qnfsm::{
    WorkerId,
    frame::Class,
    journal::{AllMarks, Batches, Position, Record, RecordDraft, snapshots::Mark},
};
use serde::{Deserialize, Serialize};

/// The classes of frames, in the order of their numbers, as the format's page calls them.
pub(super) const CLASSES: [(Class, &str); 10] = [
    (Class::Message, "message"),
    (Class::Reply, "reply"),
    (Class::Failed, "failed"),
    (Class::Spawn, "spawn"),
    (Class::Stop, "stop"),
    (Class::Watch, "watch"),
    (Class::Unwatch, "unwatch"),
    (Class::Down, "down"),
    (Class::Refused, "refused"),
    (Class::Spawned, "spawned"),
];

/// One segment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) segment: u64,
    pub(super) records: u64,
    pub(super) rounds: u64,
    pub(super) batches: u64,
    /// By class, in the order of [`CLASSES`].
    pub(super) frames: [u64; CLASSES.len()],
    pub(super) payload_bytes: u64,
    /// Batches in which no frame can be read on somewhere.
    pub(super) malformed: u64,
    /// The times of the earliest and the latest round, in nanoseconds since 1970.
    pub(super) span: Option<(u64, u64)>,
    pub(super) workers: BTreeMap<u32, WorkerPart>,
    /// The furthest position that a sync mark names.
    pub(super) synced: Option<(u64, u64)>,
    /// What the segment ends in; none if it says nothing but how far it is on disk.
    pub(super) ends: Option<Ending>,
}

/// What a segment ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    CleanStop { epoch: u32 },
    Otherwise,
}

/// One worker in one segment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WorkerPart {
    pub(super) started_in: Option<u32>,
    pub(super) is_stopped: bool,
    pub(super) rounds: u64,
    /// The first round and the last one.
    pub(super) first: Option<u64>,
    pub(super) last: Option<u64>,
    pub(super) frames: u64,
    pub(super) deliveries_bytes: u64,
    said: Vec<Said>,
}

/// What a record says of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Said {
    Begun { at: u64, round: u64, digest: u64 },
    Marked { at: u64, round: u64, digests: [u64; 3], reached: Option<u64> },
}

impl Part {
    pub(super) fn new(segment: u64) -> Part {
        Part { segment, ..Part::default() }
    }

    /// Counts a record.
    pub(super) fn note(&mut self, at: Position, record: &Record<'_>) {
        self.records += 1;
        match *record {
            Record::SyncMark { segment, offset } => {
                self.synced = self.synced.max(Some((segment, offset)));
                return;
            }
            Record::CleanStop { epoch } => self.ends = Some(Ending::CleanStop { epoch: epoch.0 }),
            _ => self.ends = Some(Ending::Otherwise),
        }
        if let Record::Round { now, batches, .. } = *record {
            self.rounds += 1;
            let now = now.as_nanos();
            self.span = Some(self.span.map_or((now, now), |(first, last)| (first.min(now), last.max(now))));
            let frames = self.batches(batches);
            if let Some(worker) = self.worker(record) {
                worker.rounds += 1;
                worker.frames += frames;
            }
        }
        let Some(worker) = self.worker(record) else { return };
        match *record {
            Record::Round { round, .. } => {
                worker.first.get_or_insert(round);
                worker.last = Some(round);
            }
            Record::WorkerStarted { epoch, .. } => worker.started_in = Some(epoch.0),
            Record::WorkerStopped { .. } => worker.is_stopped = true,
            Record::Deliveries { entries, .. } => worker.deliveries_bytes += entries.len() as u64,
            Record::SnapshotBegun { round, digest, .. } => {
                worker.said.push(Said::Begun { at: at.offset, round, digest });
            }
            Record::SnapshotMark { round, digest, image_digest, driver_digest, .. } => {
                let (digests, reached) = ([digest, image_digest, driver_digest], worker.last);
                worker.said.push(Said::Marked { at: at.offset, round, digests, reached });
            }
            _ => {}
        }
    }

    fn worker(&mut self, record: &Record<'_>) -> Option<&mut WorkerPart> {
        record.worker().map(|worker| self.workers.entry(worker.0).or_default())
    }

    /// Counts what a round is fed with. Gives the number of frames.
    fn batches(&mut self, batches: Batches<'_>) -> u64 {
        let mut frames = 0;
        for batch in batches {
            self.batches += 1;
            for run in batch.runs() {
                let Ok(run) = run else {
                    self.malformed += 1;
                    break;
                };
                // A class of a later version is counted by nobody.
                if let Some(at) = CLASSES.iter().position(|(class, _)| *class == run.header.class) {
                    self.frames[at] += u64::from(run.frames);
                }
                frames += u64::from(run.frames);
                self.payload_bytes += run.payload_bytes;
            }
        }
        frames
    }

    /// Tells `marks` what the segment says of snapshots, as its records would.
    pub(super) fn tell(&self, marks: &mut AllMarks) {
        let position = |offset| Position { segment: self.segment, offset };
        for (worker, part) in &self.workers {
            let worker = WorkerId(*worker);
            let reach = |marks: &mut AllMarks, round: Option<u64>| {
                let round = round.map(|round| -> RecordDraft<'static> {
                    Record::Round { worker, round, bound: 0, now: qnfsm::Time::ZERO, digest_before: 0, batches: &[] }
                });
                round.iter().for_each(|round| marks.note(round, position(0)));
            };
            for said in &part.said {
                match *said {
                    Said::Begun { at, round, digest } => {
                        let record: RecordDraft<'static> = Record::SnapshotBegun { worker, round, digest };
                        marks.note(&record, position(at));
                    }
                    Said::Marked { at, round, digests: [digest, image_digest, driver_digest], reached } => {
                        reach(marks, reached);
                        let mark = Mark { worker, round, digest, image_digest, driver_digest };
                        marks.note(&mark.record(), position(at));
                    }
                }
            }
            reach(marks, part.last);
        }
    }
}

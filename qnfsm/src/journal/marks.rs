//! Which snapshots a journal speaks for: where each was begun, and where it is marked.

use std::collections::BTreeMap;

use super::{Position, Record, snapshots::Mark};
use crate::id::WorkerId;

/// A snapshot that is marked in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marking {
    /// Where the worker was as the snapshot has it: the journal has all that it did since from there on.
    pub from: Position,
    /// Where its mark stands.
    pub at: Position,
    /// What the mark says.
    pub mark: Mark,
}

/// What is known of one worker's.
#[derive(Debug, Default)]
pub struct Marks {
    /// In the order of their marks.
    pub found: Vec<Marking>,
    /// Marks whose beginning was given up.
    pub without_beginning: Vec<Mark>,
    /// The last one that was begun.
    begun: Option<(u64, Position)>,
    /// The last round that stands in the journal.
    reached: Option<u64>,
}

impl Marks {
    /// Notes a record of the worker.
    fn note<B>(&mut self, record: &Record<'_, B>, at: Position) {
        match *record {
            Record::Round { round, .. } => self.reached = Some(round),
            Record::SnapshotBegun { round, .. } => self.begun = Some((round, at)),
            _ => {}
        }
        let Some(mark) = Mark::of(record) else { return };
        let begun = self.begun.take().filter(|(round, _)| *round == mark.round).map(|(_, from)| from);
        match begun.or(mark.needs_no_beginning(self.reached).then_some(at)) {
            Some(from) => self.found.push(Marking { from, at, mark }),
            None => self.without_beginning.push(mark),
        }
    }
}

/// All workers'.
#[derive(Debug, Default)]
pub struct AllMarks(pub BTreeMap<WorkerId, Marks>);

impl AllMarks {
    /// Notes the next record of the journal.
    pub fn note<B>(&mut self, record: &Record<'_, B>, at: Position) {
        if let Some(worker) = record.worker() {
            self.0.entry(worker).or_default().note(record, at);
        }
    }

    /// True if a snapshot of that round is marked.
    #[must_use]
    pub fn has(&self, worker: WorkerId, round: u64) -> bool {
        self.0.get(&worker).is_some_and(|marks| marks.found.iter().any(|marking| marking.mark.round == round))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{journal::RecordDraft, time::Time};

    const WORKER: WorkerId = WorkerId(1);

    fn round(round: u64) -> RecordDraft<'static> {
        Record::Round { worker: WORKER, round, bound: 1, now: Time::ZERO, digest_before: 0, batches: &[] }
    }

    fn begun(round: u64) -> RecordDraft<'static> {
        Record::SnapshotBegun { worker: WORKER, round, digest: 0 }
    }

    fn mark(round: u64) -> RecordDraft<'static> {
        Record::SnapshotMark { worker: WORKER, round, digest: 0, image_digest: 0, driver_digest: 0 }
    }

    /// By round, where the snapshots are of that can be gone on from; records stand at 1, 2 and so on.
    fn found(records: &[RecordDraft<'_>]) -> Vec<(u64, u64)> {
        let mut all = AllMarks::default();
        for (offset, record) in (1..).zip(records) {
            all.note(record, Position { segment: 2, offset });
        }
        let marks = all.0.remove(&WORKER).unwrap_or_default();
        marks.found.iter().map(|marking| (marking.mark.round, marking.from.offset)).collect()
    }

    #[test]
    fn a_snapshot_is_of_where_it_was_begun() {
        assert_eq!(found(&[round(5), begun(5), round(6), mark(5)]), [(5, 2)]);
        assert_eq!(found(&[begun(5), mark(5), begun(5), mark(5)]), [(5, 1), (5, 3)]);
        assert_eq!(found(&[begun(5), begun(7), mark(7)]), [(7, 2)]);
    }

    #[test]
    fn one_whose_beginning_was_given_up_is_none_unless_the_worker_is_known_to_have_done_nothing_since() {
        assert_eq!(found(&[mark(5)]), []);
        assert_eq!(found(&[round(6), mark(5)]), []);
        assert_eq!(found(&[begun(4), mark(5)]), []);
        assert_eq!(found(&[round(5), mark(5)]), [(5, 2)]);
    }
}

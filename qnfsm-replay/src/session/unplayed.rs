//! The rounds of a journal that can't be played: those before a worker's first snapshot where its start was given up, those that another
//! version of the program recorded, and those of workers that were left, because they need what the program lacks.

use std::collections::BTreeMap;

use qnfsm::{Fault, WorkerId, playback::Left};

/// Which rounds can't be played, by their ordinals.
#[derive(Debug, Default)]
pub(super) struct Unplayed {
    /// By worker, the first and the last ordinal of rounds that stand one behind another and none of which can be played, in order.
    spans: BTreeMap<WorkerId, Vec<(u64, u64)>>,
    /// The workers that were left, and the ordinal of the first round of each that can't be played.
    left: BTreeMap<WorkerId, (u64, Left)>,
}

impl Unplayed {
    /// A worker's round with that ordinal was passed over. `before` is the ordinal of its round before, if there is one.
    pub(super) fn pass_over(&mut self, worker: WorkerId, ordinal: u64, before: Option<u64>) {
        let spans = self.spans.entry(worker).or_default();
        match spans.last_mut() {
            Some((_, last)) if Some(*last) == before => *last = ordinal,
            _ => spans.push((ordinal, ordinal)),
        }
    }

    /// A worker was left before its round with that ordinal.
    pub(super) fn leave(&mut self, ordinal: u64, left: &Left) {
        self.left.insert(left.fault.worker, (ordinal, left.clone()));
    }

    /// True if that round of that worker can't be played.
    pub(super) fn has(&self, worker: WorkerId, ordinal: u64) -> bool {
        let is_left = self.left.get(&worker).is_some_and(|(from, _)| *from <= ordinal);
        is_left || self.span(worker, ordinal).is_some()
    }

    fn span(&self, worker: WorkerId, ordinal: u64) -> Option<(u64, u64)> {
        let spans = self.spans.get(&worker)?;
        let behind = spans.partition_point(|(first, _)| *first <= ordinal);
        spans[..behind].last().copied().filter(|(_, last)| ordinal <= *last)
    }

    /// Why a round can't be played that can't.
    pub(super) fn why(&self, worker: WorkerId, round: u64, ordinal: u64) -> String {
        match self.left.get(&worker) {
            Some((from, Left { fault, .. })) if *from <= ordinal => {
                format!("round {round} of {worker} can't be run: {fault}")
            }
            _ => format!(
                "round {round} of {worker} can't be run again: the journal holds no start or snapshot before it from which this program \
                 can go on"
            ),
        }
    }

    /// The workers that were left before that place.
    pub(super) fn left_by(&self, ordinal: u64) -> impl Iterator<Item = &Left> {
        self.left.values().filter(move |(from, _)| *from < ordinal).map(|(_, left)| left)
    }

    /// How much memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let spans = self.spans.values().map(|spans| spans.capacity() * size_of::<(u64, u64)>() + size_of::<Fault>());
        spans.sum::<usize>() + self.left.len() * size_of::<(u64, Left)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_that_follow_one_another_are_a_span_whatever_stands_between_them() {
        let (one, other) = (WorkerId(1), WorkerId(2));
        let mut unplayed = Unplayed::default();
        unplayed.pass_over(one, 3, Some(1));
        unplayed.pass_over(other, 4, None);
        unplayed.pass_over(one, 6, Some(3));
        // Between 6 and 9 it has run one.
        unplayed.pass_over(one, 9, Some(8));
        let of_one: Vec<_> = (0..12).filter(|ordinal| unplayed.has(one, *ordinal)).collect();
        assert_eq!(of_one, [3, 4, 5, 6, 9]);
        assert_eq!((unplayed.spans[&one].len(), unplayed.spans[&other].len()), (2, 1));
        assert!(unplayed.has(other, 4) && !unplayed.has(other, 6));
    }
}

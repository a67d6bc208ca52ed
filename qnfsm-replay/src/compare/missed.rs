//! What only one of two journals has: whether the other one misses it, or has yet to come to it. The rule stands in the head of
//! [`compare`](super).

use std::collections::{BTreeMap, VecDeque};

use qnfsm::WorkerId;

use super::{
    Aspect,
    comparison::{Comparison, First},
    items::{Due, Item, Sequence},
};

/// What a journal has of a sequence behind the other's end of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub(super) item: Item,
    pub(super) count: u64,
}

impl Left {
    pub(super) fn add(left: &mut BTreeMap<Sequence, Left>, sequence: Sequence, items: &VecDeque<Item>) {
        let Some(item) = items.front() else { return };
        left.entry(sequence).or_insert(Left { item: *item, count: 0 }).count += items.len() as u64;
    }
}

/// Something that both have, as a proof that the other one came so far.
#[derive(Debug, Clone, Copy)]
struct Shared {
    sequence: Sequence,
    own: Item,
    others: Item,
}

/// How far the other journal has come, by the measure of this one: by worker, what this one took latest of all that both have. There are two, of
/// different rounds of the other, so that one is left where its last round doesn't count.
#[derive(Debug, Default)]
pub(super) struct Reach(BTreeMap<WorkerId, [Option<Shared>; 2]>);

impl Reach {
    pub(super) fn note(&mut self, sequence: Sequence, own: Item, others: Item) {
        let shared = Shared { sequence, own, others };
        let [latest, second] = self.0.entry(sequence.worker()).or_default();
        let is_later = |than: &Option<Shared>| than.is_none_or(|than| than.own.round < own.round);
        let is_of_same = |it: &Option<Shared>| it.is_some_and(|it| it.others.round == others.round);
        if is_later(latest) {
            if !is_of_same(latest) {
                *second = *latest;
            }
            *latest = Some(shared);
        } else if !is_of_same(latest) && is_later(second) {
            *second = Some(shared);
        }
    }

    /// The latest of a worker that the other one took before its last round, as far as that one was read.
    fn passed(&self, worker: WorkerId, last_rounds: &BTreeMap<WorkerId, u64>) -> Option<Shared> {
        let last = last_rounds.get(&worker).copied().unwrap_or_default();
        self.0.get(&worker)?.iter().flatten().find(|shared| shared.others.round < last).copied()
    }

    /// The latest of any.
    fn passed_of_all(&self, last_rounds: &BTreeMap<WorkerId, u64>) -> Option<Shared> {
        self.0.keys().filter_map(|worker| self.passed(*worker, last_rounds)).max_by_key(|shared| shared.own.at)
    }
}

impl Comparison {
    /// Where they part first: in what both have, or in what one of them misses.
    pub(super) fn first_of_all(&self) -> Option<First> {
        let mut first = self.first;
        for side in 0..2 {
            let missed = self.missed(side);
            // Each is ranked in the journal that has it; of two that are in one alone, what the first has is told.
            let is_earlier = |missed: &First| match first {
                Some(first) => first.only_in.is_none() && missed.rank(side) < first.rank(side),
                None => true,
            };
            first = missed.filter(is_earlier).or(first);
        }
        first
    }

    /// What stands first in that journal of all that the other one misses.
    fn missed(&self, side: usize) -> Option<First> {
        let left = self.left_of(side).filter_map(|(sequence, item)| {
            let (proof, by) = self.proof(side, sequence, item)?;
            let items = if side == 0 { [*item, by] } else { [by, *item] };
            Some(First { sequence, items, aspect: Aspect::Missing, only_in: Some((side, proof)) })
        });
        left.min_by_key(|first| first.rank(side))
    }

    /// What that journal alone has, unless it stands in what was given up of the other.
    fn left_of(&self, side: usize) -> impl Iterator<Item = (Sequence, &Item)> {
        let left = self.left[side].iter().map(|(sequence, left)| (*sequence, &left.item));
        left.filter(move |(sequence, item)| !self.is_lost(side, *sequence, item))
    }

    /// True if what that journal alone has of a sequence may stand in what was given up of the other.
    fn is_lost(&self, side: usize, sequence: Sequence, item: &Item) -> bool {
        let other = &self.sides[1 - side];
        match self.are_copies {
            true => item.at.segment < other.manifest.oldest_segment,
            false => other.has_lost_its_beginning() && !self.agreed.contains_key(&sequence),
        }
    }

    /// How many that journal alone has: in what was given up of the other, and elsewhere.
    pub(super) fn alone(&self, side: usize) -> [u64; 2] {
        let of_both = self.lost[side].iter().filter(|(sequence, _)| sequence.is_counted()).map(|(_, count)| count);
        let mut alone = [of_both.sum(), 0];
        for (sequence, left) in self.left[side].iter().filter(|(sequence, _)| sequence.is_counted()) {
            alone[usize::from(!self.is_lost(side, *sequence, &left.item))] += left.count;
        }
        alone
    }

    /// What in the other journal shows that it misses something: which sequence it is of, and the thing.
    fn proof(&self, side: usize, sequence: Sequence, item: &Item) -> Option<(Sequence, Item)> {
        let last_rounds = &self.last_rounds[1 - side];
        let reach = &self.reach[side];
        // A copy is the same in the order of the journal, up to where it ends.
        if self.are_copies
            && let Some((sequence, item)) = self.left_of(1 - side).min_by_key(|(_, item)| item.at)
        {
            return Some((sequence, *item));
        }
        let due = if self.are_copies { Due::InOrder } else { item.due };
        let shared = match due {
            Due::Never => None,
            Due::Behind(worker, round) => reach.passed(worker, last_rounds).filter(|shared| shared.own.round > round),
            Due::InOrder => reach.passed_of_all(last_rounds).filter(|shared| shared.own.at > item.at),
        };
        let shared = shared.map(|shared| (shared.sequence, shared.others));
        shared.or_else(|| self.of_later_epoch(1 - side, sequence, item))
    }

    /// What an edge put in is of an epoch, and none of before comes once a later one has begun.
    fn of_later_epoch(&self, side: usize, sequence: Sequence, item: &Item) -> Option<(Sequence, Item)> {
        let Sequence::Frames(_, source) = sequence else { return None };
        let is_from_edge = source.as_worker().is_none();
        let (later, of) = self.sides[side].items.latest_epoch?;
        (is_from_edge && of.number.0 > item.number.0).then_some((later, of))
    }
}

//! Reads two journals side by side and holds what is in them against each other, in bounded memory: where one has too much that the other has
//! yet to come to, the sequence with the most of it is put off, and looked at in another pass through both. A sequence alone never has
//! too much, because then only the journal is read that is behind; so each pass is done with one at least, and what comes out is the same.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
};

use qnfsm::{WorkerId, journal::Position};

use super::{
    Aspect,
    items::{Item, Sequence},
    missed::{Left, Reach},
    side::Side,
};
use crate::{Options, ReplayError, Seen};

/// How many records are read of the one at most before it is asked which one is behind.
const RECORDS_AT_A_TIME: usize = 256;

/// Where two journals part.
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    pub(super) sequence: Sequence,
    /// In both: what isn't the same; of something that one of them misses, that and what shows that the other went on without.
    pub(super) items: [Item; 2],
    pub(super) aspect: Aspect,
    /// Of something that is missed: the one that has it, and the sequence of what shows that it is missed.
    pub(super) only_in: Option<(usize, Sequence)>,
}

impl First {
    /// What entered comes before what was made of it; else that which stands before in that journal.
    pub(super) fn rank(&self, side: usize) -> (bool, Position, Sequence) {
        (self.sequence.is_of_deliveries(), self.items[side].at, self.sequence)
    }
}

/// How far two sequences are the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreed {
    count: u64,
    /// The round of the last item, in the first journal.
    pub(super) round: u64,
}

/// A comparison under way.
pub(super) struct Comparison {
    pub(super) sides: [Side; 2],
    /// Rounds are compared, of copies of one journal: what both have stands at the same place.
    pub(super) are_copies: bool,
    /// How many items of a side may wait for the other.
    waiting_max: usize,
    /// How many are the same.
    pub(super) same: u64,
    pub(super) agreed: BTreeMap<Sequence, Agreed>,
    pub(super) first: Option<First>,
    /// By sequence, how many of the one stood in what was given up of the other.
    pub(super) lost: [BTreeMap<Sequence, u64>; 2],
    /// What only the one has, by sequence, where the other is over.
    pub(super) left: [BTreeMap<Sequence, Left>; 2],
    /// How far the other one has come, by the measure of each.
    pub(super) reach: [Reach; 2],
    /// By worker of each, its last round that was read.
    pub(super) last_rounds: [BTreeMap<WorkerId, u64>; 2],
    put_off: BTreeSet<Sequence>,
    pub(super) passes: u32,
    /// The most items of both that waited at once.
    pub(super) waiting_most: usize,
}

impl Comparison {
    pub(super) fn new(sides: [Side; 2], are_copies: bool, waiting_max: usize) -> Comparison {
        Comparison {
            sides,
            are_copies,
            waiting_max,
            same: 0,
            agreed: BTreeMap::new(),
            first: None,
            lost: Default::default(),
            left: Default::default(),
            reach: Default::default(),
            last_rounds: Default::default(),
            put_off: BTreeSet::new(),
            passes: 0,
            waiting_most: 0,
        }
    }

    /// Goes through both as often as it takes.
    pub(super) fn run(&mut self, options: &Options<'_>) -> Result<(), ReplayError> {
        loop {
            self.pass(options)?;
            self.passes += 1;
            for (last_rounds, side) in self.last_rounds.iter_mut().zip(&self.sides) {
                for (worker, round) in &side.items.last_rounds {
                    let last = last_rounds.entry(*worker).or_default();
                    *last = (*last).max(*round);
                }
            }
            if self.put_off.is_empty() {
                return Ok(());
            }
            let again = mem::take(&mut self.put_off);
            self.sides.iter_mut().try_for_each(|side| side.again(again.clone()))?;
        }
    }

    fn pass(&mut self, options: &Options<'_>) -> Result<(), ReplayError> {
        let bytes_total = self.sides.iter().map(Side::bytes).sum();
        while let Some(side) = self.behind() {
            // Where there is little room, few are read at a time.
            for _ in 0..=RECORDS_AT_A_TIME.min(self.waiting_max / 8) {
                self.sides[side].read()?;
                let Side { is_over, items, .. } = &self.sides[side];
                // A record may hold many frames.
                if *is_over || items.count > self.waiting_max {
                    break;
                }
            }
            let waiting = self.sides.iter().map(|side| side.items.count).sum();
            self.waiting_most = self.waiting_most.max(waiting);
            self.hold_together();
            self.let_go();
            let bytes = self.sides.iter().map(Side::bytes_read).sum();
            let seen = Seen { rounds: self.same, messages: 0, bytes, bytes_total };
            options.on_progress.iter().for_each(|told| told(seen));
        }
        Ok(())
    }

    /// The one to be read on: of those that have anything to say which matters, the one that has less waiting.
    fn behind(&self) -> Option<usize> {
        let mut wanted: Vec<usize> = (0..2).filter(|side| self.needs_more(*side)).collect();
        wanted.sort_by_key(|side| (self.sides[*side].items.count, self.sides[*side].bytes_read()));
        wanted.first().copied()
    }

    /// True if what that side says next may still matter: what stands before where they part, and else what the other one waits for that
    /// does.
    fn needs_more(&self, side: usize) -> bool {
        let (own, other) = (&self.sides[side], &self.sides[1 - side]);
        let Some(first) = self.first.filter(|first| !first.sequence.is_of_deliveries()) else {
            return !own.is_over;
        };
        // What a round did stands behind it.
        !own.is_over && (own.reached <= first.items[side].at || other.items.waits_before(first.items[1 - side].at))
    }

    /// Compares what both sides have.
    fn hold_together(&mut self) {
        let [one, other] = &self.sides;
        let both = one.items.waiting.keys().filter(|sequence| other.items.waiting.contains_key(sequence));
        for sequence in both.copied().collect::<Vec<_>>() {
            let [mut items, mut others] = self.sides.each_mut().map(|side| side.items.take(sequence));
            while let (Some(item), Some(of_other)) = (items.front(), others.front()) {
                // What only the one still has the beginning of can't be compared.
                let is_lost = |by: &Side| by.has_lost_its_beginning() && !self.agreed.contains_key(&sequence);
                let aspect = match item.number.cmp(&of_other.number) {
                    Ordering::Less if is_lost(&self.sides[1]) => {
                        items.pop_front();
                        *self.lost[0].entry(sequence).or_default() += 1;
                        continue;
                    }
                    Ordering::Greater if is_lost(&self.sides[0]) => {
                        others.pop_front();
                        *self.lost[1].entry(sequence).or_default() += 1;
                        continue;
                    }
                    Ordering::Equal => differs(item, of_other),
                    _ => Some(Aspect::Inputs),
                };
                let pair = [*item, *of_other];
                if let Some(aspect) = aspect {
                    self.part(First { sequence, items: pair, aspect, only_in: None });
                    items.clear();
                    others.clear();
                    break;
                }
                self.agree(sequence, pair);
                items.pop_front();
                others.pop_front();
            }
            for (side, items) in self.sides.iter_mut().zip([items, others]) {
                side.items.put_back(sequence, items);
            }
        }
    }

    fn part(&mut self, found: First) {
        self.sides.iter_mut().for_each(|side| side.items.pass_over(found.sequence));
        if self.first.is_none_or(|first| found.rank(0) < first.rank(0)) {
            self.first = Some(found);
        }
    }

    fn agree(&mut self, sequence: Sequence, pair: [Item; 2]) {
        let agreed = self.agreed.entry(sequence).or_insert(Agreed { count: 0, round: 0 });
        (agreed.count, agreed.round) = (agreed.count + 1, pair[0].round);
        if sequence.is_counted() {
            self.same += 1;
            self.reach[0].note(sequence, pair[0], pair[1]);
            self.reach[1].note(sequence, pair[1], pair[0]);
        }
    }

    /// Keeps of what no longer waits for anything only what is to be said of it, and no more of the rest than there is room for.
    fn let_go(&mut self) {
        for side in 0..2 {
            self.let_go_of(side);
        }
        for side in 0..2 {
            let has_others = |it: &Comparison| it.sides.iter().map(|side| side.items.waiting.len()).sum::<usize>() > 1;
            while self.sides[side].items.count > self.waiting_max && has_others(self) {
                let most = self.sides[side].items.waiting.iter().max_by_key(|(_, items)| items.len());
                let sequence = *most.expect("there is more than there is room for").0;
                self.put_off(sequence);
            }
        }
    }

    fn let_go_of(&mut self, side: usize) {
        let end = self.first.filter(|first| !first.sequence.is_of_deliveries()).map(|first| first.items[side].at);
        let mut waiting = mem::take(&mut self.sides[side].items.waiting);
        let other = &self.sides[1 - side];
        let is_recorded =
            |sequence: &Sequence| !(sequence.is_of_deliveries() && other.items.lacks_deliveries(sequence.worker()));
        waiting.retain(|sequence, items| {
            while items.back().is_some_and(|item| end.is_some_and(|end| item.at >= end)) {
                items.pop_back();
            }
            !items.is_empty() && is_recorded(sequence)
        });
        if other.is_over {
            let left = &mut self.left[side];
            mem::take(&mut waiting).iter().for_each(|(sequence, items)| Left::add(left, *sequence, items));
        }
        let items = &mut self.sides[side].items;
        items.count = waiting.values().map(VecDeque::len).sum();
        items.waiting = waiting;
    }

    /// Looks at a sequence in another pass, from its beginning.
    fn put_off(&mut self, sequence: Sequence) {
        self.sides.iter_mut().for_each(|side| side.items.pass_over(sequence));
        let agreed = self.agreed.remove(&sequence).filter(|_| sequence.is_counted());
        self.same -= agreed.map_or(0, |agreed| agreed.count);
        self.lost.iter_mut().for_each(|lost| _ = lost.remove(&sequence));
        self.put_off.insert(sequence);
    }
}

/// In what two items differ first. What only one of them says is none.
fn differs(one: &Item, other: &Item) -> Option<Aspect> {
    Aspect::COMPARED.into_iter().find(|aspect| {
        let [one, other] = [one, other].map(|item| item.of[*aspect as usize]);
        one.zip(other).is_some_and(|(one, other)| one != other)
    })
}

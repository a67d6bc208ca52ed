//! The allotment of a worker's slots: which are free, and each one's generation.
//!
//! The slot freed last is given out first, and that order is part of the worker's state: a restored worker gives out the
//! same IDs. A generation that has run through all its numbers retires its slot, so that no ID is ever given out twice.

use serde::{Deserialize, Serialize};

/// Slots from 0 up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slots {
    /// By slot: the generation of the queue that is there, or of the last one that was.
    generations: Vec<u32>,
    /// Free slots; the last is given out next.
    free: Vec<u32>,
}

impl Slots {
    pub(crate) const fn new() -> Slots {
        Slots { generations: Vec::new(), free: Vec::new() }
    }

    /// Gives out a slot and its generation, counting from 1.
    pub(crate) fn allot(&mut self) -> (u32, u32) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            u32::try_from(self.generations.len() - 1).expect("memory ends long before 2^32 slots")
        });
        let generation = &mut self.generations[slot as usize];
        *generation += 1;
        (slot, *generation)
    }

    /// Undoes the latest allotment, which was of this slot and never came into use.
    pub(crate) fn take_back(&mut self, slot: u32) {
        let generation = &mut self.generations[slot as usize];
        *generation -= 1;
        if *generation == 0 && slot as usize == self.generations.len() - 1 {
            self.generations.pop();
        } else {
            self.free.push(slot);
        }
    }

    /// The queue in this slot is gone.
    pub(crate) fn free(&mut self, slot: u32) {
        if self.generations[slot as usize] < u32::MAX {
            self.free.push(slot);
        }
    }

    /// By slot, the generation of the queue that is there, or of the last one that was.
    pub(crate) fn generations(&self) -> impl Iterator<Item = u32> + '_ {
        self.generations.iter().copied()
    }

    /// True if the slot has that generation. Whether it is free is not known by slot; see [`Slots::free_slots`].
    pub(crate) fn has(&self, slot: u32, generation: u32) -> bool {
        generation > 0 && self.generations.get(slot as usize) == Some(&generation)
    }

    /// The slots that are free.
    pub(crate) fn free_slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.free.iter().copied()
    }

    /// True if all free slots are slots that have a generation left, and none stands there twice.
    pub(crate) fn is_consistent(&self) -> bool {
        let mut seen: Vec<_> = self.generations.iter().map(|generation| *generation == u32::MAX).collect();
        self.free.iter().all(|slot| seen.get_mut(*slot as usize).is_some_and(|seen| !std::mem::replace(seen, true)))
    }

    /// How many slots there are, free ones among them.
    pub(crate) fn len(&self) -> usize {
        self.generations.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r6_a_slot_comes_back_with_another_generation() {
        let mut slots = Slots::new();
        let (slot, generation) = slots.allot();
        slots.free(slot);
        assert_eq!(slots.allot(), (slot, generation + 1));
    }

    #[test]
    fn taking_back_undoes_allotments_exactly() {
        let mut slots = Slots::new();
        let taken: Vec<_> = (0..4).map(|_| slots.allot().0).collect();
        slots.free(taken[2]);
        slots.free(taken[0]);
        let before = slots.clone();
        let allotted: Vec<_> = (0..5).map(|_| slots.allot().0).collect();
        for slot in allotted.into_iter().rev() {
            slots.take_back(slot);
        }
        assert_eq!(slots, before);
    }

    #[test]
    fn r6_a_worn_out_slot_is_retired() {
        let mut slots = Slots { generations: vec![u32::MAX - 1], free: vec![0] };
        assert_eq!(slots.allot(), (0, u32::MAX));
        slots.free(0);
        assert_eq!(slots.allot(), (1, 1));
    }
}

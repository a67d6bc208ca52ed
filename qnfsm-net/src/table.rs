//! The names of what the edge holds: slots with generations, which are queue IDs inside and tokens towards mio.
//!
//! A slab gives the slots out and uses them again, so every entry has a generation of its own. The upper half of a
//! generation is the epoch and the lower half counts: a name from before a restart never meets an entry made after it.
//! A slot whose count is used up is left alone for good; it costs a few bytes for 65,535 connections.

use std::{collections::BTreeSet, time::Instant};

use mio::Token;
use qnfsm::Epoch;
use slab::Slab;

/// Names an entry. Slot 0 is the edge as a whole and never an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

const HALF: u32 = usize::BITS / 2;
const HALF_MASK: usize = (1 << HALF) - 1;

impl Name {
    /// What mio's events carry. Where `usize` has 32 bits it has room for the lower half of both; the table never has
    /// more slots than that, and an event that meets a later generation is only a hint that wasn't needed.
    pub(crate) fn token(self) -> Token {
        Token((self.generation as usize & HALF_MASK) << HALF | (self.slot as usize & HALF_MASK))
    }
}

/// The token of the waker. Slot 0 is never an entry.
pub(crate) const WAKER: Token = Token(0);

struct Place<T> {
    generation: u32,
    /// Set while the entry stands in the list of those that have something to do.
    listed: bool,
    deadline: Option<Instant>,
    /// `None` in a slot that is left alone.
    entry: Option<T>,
}

/// Entries by name, each with at most one deadline, and a list of those that have something to do.
pub(crate) struct Table<T> {
    epoch: u16,
    places: Slab<Place<T>>,
    /// The lower half of the last generation of each slot.
    counts: Vec<u16>,
    deadlines: BTreeSet<(Instant, Name)>,
    ready: std::collections::VecDeque<Name>,
}

impl<T> Table<T> {
    pub(crate) fn new(epoch: Epoch) -> Table<T> {
        Table {
            // After 65,536 restarts the names of the first epoch come again.
            epoch: (epoch.0 & 0xffff) as u16,
            places: Slab::new(),
            counts: Vec::new(),
            deadlines: BTreeSet::new(),
            ready: std::collections::VecDeque::new(),
        }
    }

    pub(crate) fn insert(&mut self, entry: T) -> Name {
        let vacant = self.places.vacant_entry();
        let key = vacant.key();
        if key == self.counts.len() {
            self.counts.push(0);
        }
        self.counts[key] += 1;
        let generation = u32::from(self.epoch) << 16 | u32::from(self.counts[key]);
        vacant.insert(Place { generation, listed: false, deadline: None, entry: Some(entry) });
        let slot = u32::try_from(key + 1).expect("the edge's bounds keep slots below 2^32");
        Name { slot, generation }
    }

    fn place(&mut self, name: Name) -> Option<&mut Place<T>> {
        let key = (name.slot as usize).checked_sub(1)?;
        self.places.get_mut(key).filter(|place| place.generation == name.generation)
    }

    pub(crate) fn entry(&mut self, name: Name) -> Option<&mut T> {
        self.place(name)?.entry.as_mut()
    }

    /// The name that an event's token stands for, if its entry is still there.
    pub(crate) fn named(&self, token: Token) -> Option<Name> {
        let key = (token.0 & HALF_MASK).checked_sub(1)?;
        let name = Name { slot: u32::try_from(key + 1).ok()?, generation: self.places.get(key)?.generation };
        (name.token() == token).then_some(name)
    }

    pub(crate) fn remove(&mut self, name: Name) -> Option<T> {
        self.set_deadline(name, None);
        let entry = self.place(name)?.entry.take()?;
        let key = name.slot as usize - 1;
        if self.counts[key] < u16::MAX {
            self.places.remove(key);
        }
        Some(entry)
    }

    /// Replaces the entry's deadline.
    pub(crate) fn set_deadline(&mut self, name: Name, deadline: Option<Instant>) {
        let Some(place) = self.place(name) else { return };
        if let Some(before) = std::mem::replace(&mut place.deadline, deadline) {
            self.deadlines.remove(&(before, name));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, name));
        }
    }

    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes away a deadline that has passed and names its entry.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<Name> {
        let (deadline, name) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.set_deadline(name, None);
        Some(name)
    }

    /// The entry has something to do. Naming it twice is the same as once.
    pub(crate) fn list(&mut self, name: Name) {
        if let Some(place) = self.place(name)
            && !std::mem::replace(&mut place.listed, true)
        {
            self.ready.push_back(name);
        }
    }

    /// The next of those that have something to do; it is no longer listed.
    pub(crate) fn next_listed(&mut self) -> Option<Name> {
        while let Some(name) = self.ready.pop_front() {
            if let Some(place) = self.place(name) {
                place.listed = false;
                return Some(name);
            }
        }
        None
    }

    /// How many are listed; some of them may be gone.
    pub(crate) fn listed(&self) -> usize {
        self.ready.len()
    }

    /// All names, by slot.
    pub(crate) fn names(&self) -> Vec<Name> {
        let named = |(key, place): (usize, &Place<T>)| {
            let slot = u32::try_from(key + 1).expect("the edge's bounds keep slots below 2^32");
            place.entry.is_some().then_some(Name { slot, generation: place.generation })
        };
        self.places.iter().filter_map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_slot_is_used_again_under_another_name() {
        let mut table = Table::new(Epoch(3));
        let first = table.insert("first");
        assert_eq!(first, Name { slot: 1, generation: 3 << 16 | 1 });
        table.remove(first);
        let second = table.insert("second");
        assert_eq!(second, Name { slot: 1, generation: 3 << 16 | 2 });
        assert_eq!(table.entry(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.named(first.token()), None);
        assert_eq!(table.named(second.token()), Some(second));
        assert_eq!(table.entry(second), Some(&mut "second"));
    }

    #[test]
    fn names_of_two_epochs_differ() {
        assert_ne!(Table::new(Epoch(1)).insert(()), Table::new(Epoch(2)).insert(()));
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_left_alone() {
        let mut table = Table::new(Epoch(1));
        for _ in 0..u16::MAX {
            let name = table.insert(());
            assert_eq!(name.slot, 1);
            table.remove(name);
        }
        let name = table.insert(());
        assert_eq!(name, Name { slot: 2, generation: 1 << 16 | 1 });
        assert_eq!(table.names(), [name]);
    }

    #[test]
    fn the_list_and_the_deadlines_forget_what_is_removed() {
        let mut table = Table::new(Epoch(1));
        let now = Instant::now();
        let (gone, there) = (table.insert(0), table.insert(1));
        for name in [gone, there] {
            table.set_deadline(name, Some(now + Duration::from_secs(9)));
            table.set_deadline(name, Some(now));
            table.list(name);
            table.list(name);
        }
        table.remove(gone);
        assert_eq!((table.pop_expired(now), table.pop_expired(now + Duration::from_secs(99))), (Some(there), None));
        assert_eq!((table.next_listed(), table.next_listed()), (Some(there), None));
    }
}

//! What a snapshot that is taken bit by bit remembers of the lists that are the worker's own: whose turn it was, and who watched
//! whom. Each is written in small parts too, and what changes before it is written is noted first.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use super::{ready::Ready, seats::Seat};
use crate::{codec::Codec, id::RawQueueId};

/// How many entries are looked at in one step.
const STEP_ENTRIES: usize = 512;

/// Who watches each queue.
pub(super) type Watchers = BTreeMap<RawQueueId, Vec<RawQueueId>>;

/// The slots that were ready, in the order of their turns.
#[derive(Debug)]
pub(super) struct Turns {
    slots: Vec<u32>,
    /// The first that isn't among them yet, and the last that is to be.
    next: Option<u32>,
    last: u32,
    /// How many of them are written, once all are there.
    written: Option<usize>,
}

impl Turns {
    pub(super) fn of(ready: &Ready) -> Turns {
        Turns { slots: Vec::new(), next: ready.first(), last: ready.last(), written: None }
    }

    /// A slot is about to be taken out, which is the first.
    pub(super) fn note(&mut self, slot: u32, seats: &[Seat]) {
        // What was ready stands before what became so since, and is taken out in that order.
        if self.next == Some(slot) {
            self.take(seats);
        }
    }

    fn take(&mut self, seats: &[Seat]) {
        let Some(slot) = self.next else { return };
        self.slots.push(slot);
        self.next = seats[slot as usize].behind.slot().filter(|_| slot != self.last);
    }

    /// Writes a part; true if that was the last.
    pub(super) fn put(&mut self, seats: &[Seat], out: &mut Vec<u8>) -> bool {
        let Some(written) = self.written else {
            for _ in 0..STEP_ENTRIES {
                self.take(seats);
            }
            if self.next.is_none() {
                put(&(self.slots.len() as u64), out);
                self.written = Some(0);
            }
            return false;
        };
        let end = self.slots.len().min(written + STEP_ENTRIES);
        self.slots[written..end].iter().for_each(|slot| put(slot, out));
        self.written = Some(end);
        end == self.slots.len()
    }
}

/// Who watched whom.
#[derive(Debug)]
pub(super) struct Watches {
    /// How many queues were watched, until that is written.
    count: Option<u64>,
    /// All up to this one are written.
    upto: Option<RawQueueId>,
    /// Of those that changed before they were written: who watched them, if anybody did.
    aside: BTreeMap<RawQueueId, Option<Vec<RawQueueId>>>,
}

impl Watches {
    pub(super) fn of(watches: &Watchers) -> Watches {
        Watches { count: Some(watches.len() as u64), upto: None, aside: BTreeMap::new() }
    }

    /// Who watches a queue is about to change.
    pub(super) fn note(&mut self, target: RawQueueId, watches: &Watchers) {
        if self.upto.is_none_or(|upto| target > upto) {
            self.aside.entry(target).or_insert_with(|| watches.get(&target).cloned());
        }
    }

    /// Writes a part; true if that was the last.
    pub(super) fn put(&mut self, watches: &Watchers, out: &mut Vec<u8>) -> bool {
        if let Some(count) = self.count.take() {
            put(&count, out);
        }
        let left = (self.upto.map_or(Unbounded, Excluded), Unbounded);
        let mut unchanged = watches.range(left).peekable();
        for _ in 0..STEP_ENTRIES {
            let changed = self.aside.first_key_value().map(|(target, _)| *target);
            let next = unchanged.peek().map(|(target, _)| **target);
            let Some(target) = changed.into_iter().chain(next).min() else { return true };
            self.upto = Some(target);
            let as_it_is = unchanged.next_if(|(of, _)| **of == target).map(|(_, watchers)| watchers);
            match self.aside.remove(&target) {
                Some(Some(watchers)) => put(&(target, watchers), out),
                // It is watched since.
                Some(None) => {}
                None => put(&(target, as_it_is.expect("it is next in one of the two")), out),
            }
        }
        false
    }
}

fn put<T: serde::Serialize>(value: &T, out: &mut Vec<u8>) {
    Codec::CURRENT.encode(value, out).expect("numbers and the IDs of queues can be encoded");
}

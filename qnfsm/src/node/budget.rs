//! The budget of bytes: what waits in inboxes, in queues and on the way to edges, and who waits until it is less.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};

use super::shared::LOCK_REASON;
use crate::id::{Place, RawQueueId, WorkerId};

/// How many queues and inboxes an error names.
const NAMED_MAX: usize = 5;

/// Counts bytes. All of it may be looked at by any thread at any time.
#[derive(Debug)]
pub(super) struct Budget {
    budget_bytes: u64,
    hard_limit_bytes: u64,
    /// Bytes in inboxes and on the way to edges.
    inbox_bytes: AtomicI64,
    /// Bytes in workers' queues, and held by and for edges, as they were last told.
    waiting_bytes: AtomicI64,
    /// Threads that wait until there is room.
    waiting: AtomicUsize,
    /// What recovery brought back past the hard limit. It may be there, and as much again as the limit, until the node
    /// was within its limit once.
    brought_back_bytes: AtomicU64,
    /// By worker and edge, its largest queues when they were last looked at.
    largest: Mutex<BTreeMap<Place, Vec<(RawQueueId, u64)>>>,
}

/// A length as it is counted.
fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("nothing in memory is longer than that")
}

impl Budget {
    pub(super) fn new(budget_bytes: u64, hard_limit_bytes: u64) -> Budget {
        Budget {
            budget_bytes,
            hard_limit_bytes,
            inbox_bytes: AtomicI64::new(0),
            waiting_bytes: AtomicI64::new(0),
            waiting: AtomicUsize::new(0),
            brought_back_bytes: AtomicU64::new(0),
            largest: Mutex::default(),
        }
    }

    pub(super) fn take(&self, bytes: usize) {
        self.inbox_bytes.fetch_add(signed(bytes), Ordering::SeqCst);
    }

    /// Says whether somebody is to be told that there is room.
    #[must_use]
    pub(super) fn give_back(&self, bytes: usize) -> bool {
        self.inbox_bytes.fetch_sub(signed(bytes), Ordering::SeqCst);
        self.is_awaited()
    }

    /// Counts anew what waits at a worker or an edge: `before` was told last. Says whether somebody is to be told that
    /// there is room.
    #[must_use]
    pub(super) fn recount(&self, before: u64, now: u64) -> bool {
        let [before, now] = [before, now].map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        self.waiting_bytes.fetch_add(now - before, Ordering::SeqCst);
        now < before && self.is_awaited()
    }

    fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) != 0 && self.has_room()
    }

    pub(super) fn wait_begins(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn wait_ends(&self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Bytes in inboxes, queues and on the way to edges.
    pub(super) fn held(&self) -> u64 {
        let held = self.inbox_bytes.load(Ordering::SeqCst) + self.waiting_bytes.load(Ordering::SeqCst);
        u64::try_from(held).unwrap_or(0)
    }

    pub(super) fn has_room(&self) -> bool {
        self.held() < self.budget_bytes
    }

    pub(super) fn is_past_hard_limit(&self) -> bool {
        let held = self.held();
        if held <= self.hard_limit_bytes {
            // All workers look here after each round; what doesn't change is only read.
            if self.brought_back_bytes.load(Ordering::Relaxed) != 0 {
                self.brought_back_bytes.store(0, Ordering::Relaxed);
            }
            return false;
        }
        held > self.hard_limit_bytes.saturating_add(self.brought_back_bytes.load(Ordering::Relaxed))
    }

    /// What is held now is what recovery brought back.
    pub(super) fn set_brought_back(&self) {
        let held = self.held();
        let past = if held > self.hard_limit_bytes { held } else { 0 };
        self.brought_back_bytes.store(past, Ordering::Relaxed);
    }

    /// Remembers the largest queues of a worker or an edge, to be named if it comes to that.
    pub(super) fn set_largest(&self, place: Place, queues: Vec<(RawQueueId, u64)>) {
        self.largest.lock().expect(LOCK_REASON).insert(place, queues);
    }

    /// The largest queues of a worker or an edge, when they were last looked at.
    pub(super) fn largest(&self, place: Place) -> Vec<(RawQueueId, u64)> {
        self.largest.lock().expect(LOCK_REASON).get(&place).cloned().unwrap_or_default()
    }

    /// Names the largest queues of all workers and the largest of these inboxes, in order.
    pub(super) fn name_largest(&self, inboxes: impl Iterator<Item = (WorkerId, u64)>) -> Vec<String> {
        let largest = self.largest.lock().expect(LOCK_REASON);
        let queues = largest.values().flatten().map(|(queue, bytes)| match queue.place().as_edge() {
            Some(_) => (*bytes, format!("what is to leave at {}", queue.place())),
            None => (*bytes, format!("queue {queue}")),
        });
        let inboxes = inboxes.map(|(worker, bytes)| (bytes, format!("the inbox of {worker}")));
        let mut named: Vec<_> = queues.chain(inboxes).filter(|(bytes, _)| *bytes != 0).collect();
        named.sort_by(|a, b| b.cmp(a));
        named.truncate(NAMED_MAX);
        named.into_iter().map(|(bytes, name)| format!("{name} with {bytes} bytes")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(held: usize) -> Budget {
        let budget = Budget::new(100, 1000);
        budget.take(held);
        budget
    }

    #[test]
    fn the_hard_limit_holds_from_the_start_where_nothing_was_brought_back() {
        let budget = budget(1000);
        budget.set_brought_back();
        assert!(!budget.is_past_hard_limit());
        budget.take(1);
        assert!(budget.is_past_hard_limit());
    }

    #[test]
    fn what_was_brought_back_may_be_past_the_limit_until_it_has_drained_and_may_not_grow_for_ever() {
        let budget = budget(5000);
        budget.set_brought_back();
        assert!(!budget.is_past_hard_limit());
        budget.take(1000);
        assert!(!budget.is_past_hard_limit());
        budget.take(1);
        assert!(budget.is_past_hard_limit(), "it held 5000 and may hold 1000 more");
        let _ = budget.give_back(5001);
        assert!(!budget.is_past_hard_limit());
        budget.take(1);
        assert!(budget.is_past_hard_limit(), "it was within its limit once");
    }
}

//! The ready queue: slots whose FSMs have work, in the order of their turns. It is a list through the seats themselves, so
//! that it owns no buffer; a slot stands in it once or not at all.

use super::seats::Seat;

/// In a seat: the slot whose turn comes behind its own, if it stands in the ready queue. Memory ends long before slots have
/// the two highest numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Behind(u32);

impl Behind {
    /// The slot doesn't stand in the ready queue.
    pub(super) const NOT_READY: Behind = Behind(u32::MAX);
    /// The slot is the last one.
    const NOBODY: Behind = Behind(u32::MAX - 1);

    /// The slot, if there is one.
    pub(super) fn slot(self) -> Option<u32> {
        (self != Behind::NOT_READY && self != Behind::NOBODY).then_some(self.0)
    }
}

impl Seat {
    /// Marks the slot as one that stands in the ready queue; false if it stands there already.
    #[inline]
    pub(super) fn becomes_ready(&mut self) -> bool {
        let becomes = self.behind == Behind::NOT_READY;
        if becomes {
            self.behind = Behind::NOBODY;
        }
        becomes
    }
}

/// The first and the last slot of the ready queue.
#[derive(Debug)]
pub(super) struct Ready {
    first: Behind,
    /// Means something only where there is a first one.
    last: u32,
}

impl Ready {
    pub(super) const fn new() -> Ready {
        Ready { first: Behind::NOBODY, last: 0 }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first == Behind::NOBODY
    }

    /// The slot whose turn is next.
    pub(super) fn first(&self) -> Option<u32> {
        self.first.slot()
    }

    /// The slot whose turn is last, if there is a first one.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// Puts a slot behind all others, if it doesn't stand there already.
    #[inline]
    pub(super) fn push(&mut self, seats: &mut [Seat], slot: u32) {
        if seats[slot as usize].becomes_ready() {
            self.append(seats, slot);
        }
    }

    /// Puts a slot behind all others, whose seat [became ready](Seat::becomes_ready).
    #[inline]
    pub(super) fn append(&mut self, seats: &mut [Seat], slot: u32) {
        if self.is_empty() {
            self.first = Behind(slot);
        } else {
            seats[self.last as usize].behind = Behind(slot);
        }
        self.last = slot;
    }

    /// Takes out the first slot, and gives its seat.
    #[inline]
    pub(super) fn pop<'a>(&mut self, seats: &'a mut [Seat]) -> Option<&'a mut Seat> {
        if self.is_empty() {
            return None;
        }
        let seat = &mut seats[self.first.0 as usize];
        self.first = std::mem::replace(&mut seat.behind, Behind::NOT_READY);
        Some(seat)
    }

    /// The slots in order.
    pub(super) fn iter<'a>(&self, seats: &'a [Seat]) -> impl Iterator<Item = u32> + use<'a> {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let Behind(slot) = next;
            next = seats.get(slot as usize)?.behind;
            Some(slot)
        })
    }
}

//! The queues of a worker's FSMs: lists of envelopes through one store that all of them share, so that an FSM for which
//! nothing waits owns no memory for it, and a steady stream of messages allocates nothing.
//!
//! Where an envelope lies in the store says nothing; the order of each queue is all that counts.

use super::envelope::{Envelope, Load};

/// One FSM's queue: the first and last of its envelopes, where there are any.
#[derive(Debug, Default)]
pub(super) struct Queue {
    head: u32,
    tail: u32,
    len: u32,
}

impl Queue {
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[derive(Debug)]
struct Link {
    envelope: Envelope,
    /// The one behind it in its queue, or among the free ones.
    next: u32,
}

/// No link.
const NONE: u32 = u32::MAX;

/// The envelopes of all queues, and what all that waits weighs.
#[derive(Debug)]
pub(super) struct Envelopes {
    links: Vec<Link>,
    /// The link freed last, which is used next.
    free: u32,
    pub(super) load: Load,
}

/// What an envelope takes in memory while it waits.
pub(super) const ENVELOPE_BYTES: usize = size_of::<Link>();

impl Envelopes {
    pub(super) fn new() -> Envelopes {
        Envelopes { links: Vec::new(), free: NONE, load: Load::default() }
    }

    #[inline]
    fn link(&mut self, envelope: Envelope, next: u32) -> u32 {
        self.load.more(envelope.weight);
        let at = self.free;
        match self.links.get_mut(at as usize) {
            Some(link) => {
                self.free = link.next;
                *link = Link { envelope, next };
                at
            }
            None => self.link_last(Link { envelope, next }),
        }
    }

    #[cold]
    fn link_last(&mut self, link: Link) -> u32 {
        self.links.push(link);
        u32::try_from(self.links.len() - 1)
            .ok()
            .filter(|at| *at != NONE)
            .expect("memory ends long before 2^32 messages")
    }

    /// Frees a link that is out of its queue; says which was behind it there.
    #[inline]
    fn unlink(&mut self, at: u32) -> (&Envelope, u32) {
        let link = &mut self.links[at as usize];
        let behind = std::mem::replace(&mut link.next, self.free);
        self.free = at;
        self.load.less(link.envelope.weight);
        (&link.envelope, behind)
    }

    #[inline]
    pub(super) fn push_back(&mut self, queue: &mut Queue, envelope: Envelope) {
        let at = self.link(envelope, NONE);
        if queue.len == 0 {
            queue.head = at;
        } else {
            self.links[queue.tail as usize].next = at;
        }
        queue.tail = at;
        queue.len += 1;
    }

    pub(super) fn push_front(&mut self, queue: &mut Queue, envelope: Envelope) {
        let at = self.link(envelope, if queue.len == 0 { NONE } else { queue.head });
        queue.head = at;
        if queue.len == 0 {
            queue.tail = at;
        }
        queue.len += 1;
    }

    /// Takes out the first envelope, which lies there until something else is put in.
    #[inline]
    pub(super) fn pop_front(&mut self, queue: &mut Queue) -> Option<&Envelope> {
        if queue.len == 0 {
            return None;
        }
        let (envelope, behind) = self.unlink(queue.head);
        queue.head = behind;
        queue.len -= 1;
        Some(envelope)
    }

    /// The envelope that was taken out last, as long as nothing else is put in.
    pub(super) fn latest(&self) -> &Envelope {
        &self.links[self.free as usize].envelope
    }

    /// Takes out the first envelope that is `wanted`.
    pub(super) fn remove_first(
        &mut self,
        queue: &mut Queue,
        mut wanted: impl FnMut(&Envelope) -> bool,
    ) -> Option<Envelope> {
        let (mut before, mut at) = (NONE, queue.head);
        for _ in 0..queue.len {
            let Link { envelope, next } = &self.links[at as usize];
            let next = *next;
            if wanted(envelope) {
                match before {
                    NONE => queue.head = next,
                    before => self.links[before as usize].next = next,
                }
                if queue.tail == at {
                    queue.tail = before;
                }
                queue.len -= 1;
                let (envelope, _) = self.unlink(at);
                return Some(*envelope);
            }
            (before, at) = (at, next);
        }
        None
    }

    /// Puts an envelope in the place of the first one that is `wanted`, which it gives.
    pub(super) fn replace_first(
        &mut self,
        queue: &Queue,
        new: Envelope,
        mut wanted: impl FnMut(&Envelope) -> bool,
    ) -> Option<Envelope> {
        let mut at = queue.head;
        for _ in 0..queue.len {
            let Link { envelope, next } = &mut self.links[at as usize];
            if wanted(envelope) {
                let old = std::mem::replace(envelope, new);
                self.load.more(new.weight);
                self.load.less(old.weight);
                return Some(old);
            }
            at = *next;
        }
        None
    }

    /// Shows the envelopes of a queue in order, to be changed in what they don't weigh.
    pub(super) fn each(&mut self, queue: &Queue, mut see: impl FnMut(&mut Envelope)) {
        let mut at = queue.head;
        for _ in 0..queue.len {
            let link = &mut self.links[at as usize];
            see(&mut link.envelope);
            at = link.next;
        }
    }

    /// The envelopes of a queue in order.
    pub(super) fn iter<'a>(&'a self, queue: &Queue) -> impl Iterator<Item = &'a Envelope> + use<'a> {
        let (mut at, mut left) = (queue.head, queue.len);
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let link = &self.links[at as usize];
            at = link.next;
            Some(&link.envelope)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        fsm::Pool,
        id::{NodeId, Place, RawQueueId, WorkerId},
        worker::envelope::Claim,
    };

    fn envelope(number: u32) -> Envelope {
        let sender = RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), number, 1);
        Envelope { sender, claim: Claim::Nothing, weight: number, message: Pool::new().put(()), origin: 0 }
    }

    proptest! {
        /// Two queues in one store do what two deques of their own would do.
        #[test]
        fn queues_are_deques(steps in prop::collection::vec((0..6_u8, any::<bool>(), 0..20_u32), 0..200)) {
            let mut store = Envelopes::new();
            let mut queues = [Queue::default(), Queue::default()];
            let mut models: [VecDeque<u32>; 2] = Default::default();
            let mut next = 100;
            for (step, which, at) in steps {
                let (queue, model) = (&mut queues[usize::from(which)], &mut models[usize::from(which)]);
                next += 1;
                let nth = model.get(at as usize).copied();
                let is_nth = |envelope: &Envelope| Some(envelope.weight) == nth;
                match step {
                    0 | 1 => {
                        store.push_back(queue, envelope(next));
                        model.push_back(next);
                    }
                    2 => {
                        store.push_front(queue, envelope(next));
                        model.push_front(next);
                    }
                    3 => prop_assert_eq!(store.pop_front(queue).map(|envelope| envelope.weight), model.pop_front()),
                    4 => {
                        let removed = store.remove_first(queue, is_nth).map(|envelope| envelope.weight);
                        prop_assert_eq!(removed, model.remove(at as usize));
                    }
                    _ => {
                        let replaced = store.replace_first(queue, envelope(next), is_nth);
                        prop_assert_eq!(replaced.map(|envelope| envelope.weight), nth);
                        if let Some(place) = model.get_mut(at as usize) {
                            *place = next;
                        }
                    }
                }
                for (queue, model) in queues.iter().zip(&models) {
                    let order: VecDeque<_> = store.iter(queue).map(|envelope| envelope.weight).collect();
                    prop_assert_eq!(&order, model);
                    prop_assert_eq!(queue.len() as usize, model.len());
                }
                let weights = models.iter().flatten().map(|weight| u64::from(*weight)).sum::<u64>();
                prop_assert_eq!(store.load.bytes(), weights);
            }
        }
    }

    #[test]
    fn what_was_freed_is_used_again() {
        let (mut store, mut queue) = (Envelopes::new(), Queue::default());
        for number in 0..1000 {
            store.push_back(&mut queue, envelope(number));
            store.push_back(&mut queue, envelope(number));
            store.pop_front(&mut queue);
            store.pop_front(&mut queue);
        }
        assert_eq!(store.links.len(), 2);
    }
}

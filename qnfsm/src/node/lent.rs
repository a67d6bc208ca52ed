//! Buffers that are lent to receivers and come back. A receiver has recorded what it let go of, so a batch that nobody
//! else holds is acknowledged, and its buffer is used again: a steady stream of batches allocates nothing.

use std::{collections::VecDeque, sync::Arc};

use crate::frame::Batch;

/// How many buffers that came back are kept for each destination. What a burst has left beyond them is given back.
const SPARE_BUFFERS_MAX: usize = 64;
/// A buffer that has grown longer than this is not kept.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// Batches for one destination, in the order in which they were lent, acknowledged ones at the front.
#[derive(Debug, Default)]
pub(super) struct Lent {
    batches: VecDeque<Arc<Batch>>,
}

impl Lent {
    /// Takes the frames out of `batch`, which gets another buffer in return, and lends them. What then stands in
    /// `batch` is old; who uses it resets it.
    pub(super) fn lend(&mut self, batch: &mut Batch) -> Arc<Batch> {
        let back = self.take_back();
        if self.batches.len() >= SPARE_BUFFERS_MAX {
            drop(self.take_back());
        }
        let mut lent = back.filter(|back| back.bytes_len() <= SPARE_BYTES_MAX).unwrap_or_else(|| {
            let frames = batch.as_ref();
            Arc::new(Batch::new(frames.source, frames.epoch, frames.first))
        });
        let frames = Arc::get_mut(&mut lent).expect("nobody else holds a batch that came back or is new");
        std::mem::swap(frames, batch);
        self.batches.push_back(lent.clone());
        lent
    }

    /// The oldest batch, if it came back. Receivers let go in order, so the others need no look.
    fn take_back(&mut self) -> Option<Arc<Batch>> {
        Arc::get_mut(self.batches.front_mut()?)?;
        self.batches.pop_front()
    }

    /// The batches that did not come back yet, in order.
    pub(super) fn out(&mut self) -> impl Iterator<Item = &Batch> {
        self.batches.iter_mut().filter_map(|lent| match Arc::get_mut(lent) {
            Some(_) => None,
            None => Some(&**lent),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{Class, Header, edge_queue},
        id::{EdgeId, Epoch, NodeId, Place},
    };

    fn fill(batch: &mut Batch, bytes: usize) {
        let queue = edge_queue(NodeId(0), EdgeId::HOST);
        batch.reset(Place::edge(EdgeId::HOST), Epoch::FIRST, 1);
        batch.push(&Header::to(Class::Message, 1, queue, queue), &vec![7; bytes]);
    }

    fn lend(lent: &mut Lent, batch: &mut Batch, bytes: usize) -> Arc<Batch> {
        fill(batch, bytes);
        lent.lend(batch)
    }

    fn new() -> (Lent, Batch) {
        (Lent::default(), Batch::new(Place::edge(EdgeId::HOST), Epoch::FIRST, 1))
    }

    /// Where a batch's buffer lies.
    fn buffer(batch: &Batch) -> *const u8 {
        batch.as_ref().bytes.as_ptr()
    }

    #[test]
    fn a_batch_that_came_back_gives_its_buffer_to_the_next_ones() {
        let (mut lent, mut batch) = new();
        let mut buffers = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            // Let go of at once, as by a receiver that keeps up.
            let lent = lend(&mut lent, &mut batch, 100);
            buffers.insert(buffer(&lent));
        }
        assert!(buffers.len() <= 3, "1000 batches took {} buffers", buffers.len());
    }

    #[test]
    fn a_batch_that_is_held_is_not_touched_and_counts_as_out() {
        let (mut lent, mut batch) = new();
        let held = lend(&mut lent, &mut batch, 10);
        let bytes = held.as_ref().as_ref().bytes.to_vec();
        for _ in 0..5 {
            drop(lend(&mut lent, &mut batch, 20));
        }
        assert_eq!(held.as_ref().as_ref().bytes, bytes);
        assert_eq!(lent.out().count(), 1);
        drop(held);
        assert_eq!(lent.out().count(), 0);
    }

    #[test]
    fn what_a_burst_took_is_given_back() {
        let (mut lent, mut batch) = new();
        let burst: Vec<_> = (0..10_000).map(|_| lend(&mut lent, &mut batch, 10)).collect();
        assert_eq!(lent.out().count(), 10_000);
        drop(burst);
        for _ in 0..20_000 {
            drop(lend(&mut lent, &mut batch, 10));
        }
        assert!(lent.batches.len() <= SPARE_BUFFERS_MAX + 1, "{} are kept", lent.batches.len());
    }

    #[test]
    fn a_huge_buffer_is_not_kept() {
        let (mut lent, mut batch) = new();
        drop(lend(&mut lent, &mut batch, SPARE_BYTES_MAX + 1));
        drop(lend(&mut lent, &mut batch, 10));
        assert!(lent.batches.iter().all(|lent| lent.bytes_len() <= SPARE_BYTES_MAX));
        assert!(batch.bytes_len() <= SPARE_BYTES_MAX);
    }
}

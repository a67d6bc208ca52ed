//! What a worker put out for edges and may not leave the node yet, because the round that put it out is not on disk.

use std::{collections::VecDeque, mem};

use crate::{frame::Batch, id::EdgeId, journal::Position};

/// How many buffers are kept to be used again, and how long they may have grown.
const SPARE_BUFFERS_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 1 << 20;

/// Outputs to edges in the order in which they were put out, each with the end of its round's record.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    outputs: VecDeque<(Position, EdgeId, Batch)>,
    bytes: u64,
    spare: Vec<Batch>,
}

impl Withheld {
    /// Takes the frames out of `batch`, whose buffer is another one then, until the journal is on disk up to `recorded`.
    pub(super) fn keep(&mut self, recorded: Position, edge: EdgeId, batch: &mut Batch) {
        let frames = batch.as_ref();
        let room = || Batch::new(frames.source, frames.epoch, frames.first);
        let mut kept = self.spare.pop().unwrap_or_else(room);
        mem::swap(&mut kept, batch);
        self.bytes += kept.bytes_len() as u64;
        self.outputs.push_back((recorded, edge, kept));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Up to where the journal must be on disk for all of it to leave.
    pub(super) fn recorded(&self) -> Option<Position> {
        self.outputs.back().map(|(recorded, ..)| *recorded)
    }

    /// The next output that may leave, if the journal is on disk up to `synced`.
    pub(super) fn take(&mut self, synced: Position) -> Option<(EdgeId, Batch)> {
        if self.outputs.front()?.0 > synced {
            return None;
        }
        let (_, edge, batch) = self.outputs.pop_front()?;
        self.bytes -= batch.bytes_len() as u64;
        Some((edge, batch))
    }

    /// Uses a buffer again.
    pub(super) fn give_back(&mut self, batch: Batch) {
        if self.spare.len() < SPARE_BUFFERS_MAX && batch.bytes_len() <= SPARE_BYTES_MAX {
            self.spare.push(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{Class, Header, edge_queue},
        id::{Epoch, NodeId, Place, WorkerId},
    };

    const EDGE: EdgeId = EdgeId::HOST;

    fn batch(payload: &[u8]) -> Batch {
        let mut batch = Batch::new(Place::worker(WorkerId(0)), Epoch::FIRST, 1);
        let queue = edge_queue(NodeId(0), EDGE);
        batch.push(&Header::to(Class::Message, 1, queue, queue), payload);
        batch
    }

    fn at(offset: u64) -> Position {
        Position { segment: 1, offset }
    }

    fn payload(batch: &Batch) -> Vec<u8> {
        batch.as_ref().frames().flat_map(|frame| frame.expect("it was just encoded").payload.to_vec()).collect()
    }

    #[test]
    fn outputs_leave_in_order_and_not_before_their_round_is_on_disk() {
        let mut withheld = Withheld::default();
        for (offset, bytes) in [(10, b"a"), (10, b"b"), (20, b"c")] {
            withheld.keep(at(offset), EDGE, &mut batch(bytes));
        }
        assert_eq!(withheld.recorded(), Some(at(20)));
        assert!(withheld.take(at(9)).is_none());
        let take = |withheld: &mut Withheld, offset| withheld.take(at(offset)).map(|(_, batch)| payload(&batch));
        assert_eq!(take(&mut withheld, 10), Some(b"a".to_vec()));
        assert_eq!(take(&mut withheld, 19), Some(b"b".to_vec()));
        assert_eq!(take(&mut withheld, 19), None);
        assert!(withheld.bytes() > 0 && !withheld.is_empty());
        assert_eq!(take(&mut withheld, 20), Some(b"c".to_vec()));
        assert_eq!((withheld.bytes(), withheld.recorded()), (0, None));
    }

    #[test]
    fn buffers_are_used_again_but_for_huge_ones() {
        let mut withheld = Withheld::default();
        let mut batch = batch(&[7; 100]);
        let buffer = batch.as_ref().bytes.as_ptr();
        withheld.keep(at(1), EDGE, &mut batch);
        let (_, taken) = withheld.take(at(1)).expect("it may leave");
        withheld.give_back(taken);
        withheld.keep(at(2), EDGE, &mut batch);
        assert_eq!(batch.as_ref().bytes.as_ptr(), buffer);
        batch = self::batch(&vec![7; SPARE_BYTES_MAX + 1]);
        withheld.keep(at(3), EDGE, &mut batch);
        while let Some((_, taken)) = withheld.take(at(3)) {
            withheld.give_back(taken);
        }
        assert!(withheld.spare.iter().all(|spare| spare.bytes_len() <= SPARE_BYTES_MAX));
    }
}

//! The way in for what stands outside the workers: numbers what it puts in, for each worker.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{edge::Inputs, lent::Lent, shared::Shared};
use crate::{
    frame::Batch,
    id::{EdgeId, Epoch, Place},
};

/// The inlet of one edge. Clones are the same inlet; any thread may use it.
#[derive(Clone)]
pub struct Inlet {
    shared: Arc<Shared>,
    numbered: Arc<Mutex<Numbered>>,
}

impl std::fmt::Debug for Inlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inlet").finish_non_exhaustive()
    }
}

struct Numbered {
    inputs: Inputs,
    numbers: Numbers,
}

/// The numbers of what one edge puts into each worker, and the buffers that come back.
#[derive(Debug)]
pub(super) struct Numbers {
    source: Place,
    epoch: Epoch,
    streams: BTreeMap<Place, (u64, Lent)>,
}

impl Numbers {
    pub(super) fn new(edge: EdgeId, epoch: Epoch) -> Numbers {
        Numbers { source: Place::edge(edge), epoch, streams: BTreeMap::new() }
    }

    /// Takes the frames out of `batch`, which keeps an empty buffer, and numbers them.
    pub(super) fn number(&mut self, to: Place, batch: &mut Batch) -> Arc<Batch> {
        let (next, lent) = self.streams.entry(to).or_insert_with(|| (1, Lent::default()));
        batch.set_first(*next);
        *next = batch.as_ref().next_number();
        let numbered = lent.lend(batch);
        self.clear(batch);
        numbered
    }

    /// Leaves an empty buffer.
    fn clear(&self, batch: &mut Batch) {
        batch.reset(self.source, self.epoch, 1);
    }
}

impl Inlet {
    pub(super) fn new(shared: Arc<Shared>, edge: EdgeId) -> Inlet {
        let inputs = Inputs::new(shared.setup(edge));
        let numbers = Numbers::new(edge, shared.epoch);
        Inlet { shared, numbered: Arc::new(Mutex::new(Numbered { inputs, numbers })) }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Puts inputs in: what `put` collects goes to its workers at once, in the order in which this inlet is used.
    pub fn put<T>(&self, put: impl FnOnce(&mut Inputs) -> T) -> T {
        // Values' own code may panic while they are encoded; what was collected before is whole.
        let mut numbered = self.numbered.lock().unwrap_or_else(PoisonError::into_inner);
        let Numbered { inputs, numbers } = &mut *numbered;
        inputs.set_admits_new_work(self.shared.admits_new_work());
        let result = put(inputs);
        let mut for_edges = Vec::new();
        inputs.drain(|to, batch| match to.as_worker() {
            Some(_) => hand_over(&self.shared, numbers, to, batch),
            None => {
                for_edges.push((to, batch.clone()));
                numbers.clear(batch);
            }
        });
        drop(numbered);
        // An answer to the host wakes code of the program's, which may come back to this inlet.
        for (to, batch) in for_edges {
            put_to_edge(&self.shared, to, &batch);
        }
        result
    }
}

/// Numbers frames and puts them into their worker's inbox, or hands them to an edge.
pub(super) fn hand_over(shared: &Shared, numbers: &mut Numbers, to: Place, batch: &mut Batch) {
    if let Some(worker) = to.as_worker() {
        return shared.put(worker, numbers.number(to, batch));
    }
    put_to_edge(shared, to, batch);
    numbers.clear(batch);
}

/// Edges speak to FSMs, and beside them only to the host, which waits for answers, and to the node itself.
fn put_to_edge(shared: &Shared, to: Place, batch: &Batch) {
    match to.as_edge() {
        Some(edge @ (EdgeId::HOST | EdgeId::NODE)) => shared.put_for_edge(edge, batch),
        _ => shared.nobody_there(to, batch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{BatchRef, Class, Header, edge_queue},
        id::{NodeId, WorkerId},
    };

    #[test]
    fn frames_are_numbered_for_each_worker_without_a_gap_and_buffers_come_back() {
        let mut numbers = Numbers::new(EdgeId::HOST, Epoch(3));
        let queue = edge_queue(NodeId(0), EdgeId::HOST);
        let mut batch = Batch::new(Place::edge(EdgeId::HOST), Epoch(3), 1);
        let mut next = [1, 1];
        let mut buffers = std::collections::BTreeSet::new();
        for turn in 0..1000_u32 {
            let to = turn % 2;
            for _ in 0..=turn % 3 {
                batch.push(&Header::to(Class::Stop, 0, queue, queue), &[0; 40]);
            }
            let count = u64::from(batch.as_ref().count);
            let numbered = numbers.number(Place::worker(WorkerId(to)), &mut batch);
            let BatchRef { source, epoch, first, .. } = numbered.as_ref().as_ref();
            assert_eq!((source, epoch, first), (Place::edge(EdgeId::HOST), Epoch(3), next[to as usize]));
            next[to as usize] += count;
            assert!(batch.is_empty());
            buffers.insert(numbered.as_ref().as_ref().bytes.as_ptr());
        }
        assert!(buffers.len() <= 12, "1000 batches took {} buffers", buffers.len());
    }
}

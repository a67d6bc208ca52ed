//! The way in for what stands outside the workers: numbers what it puts in, for each worker.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use super::{
    edge::Inputs,
    shared::{LOCK_REASON, Shared},
};
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
    streams: BTreeMap<Place, (u64, Vec<Arc<Batch>>)>,
}

/// Buffers that are kept for use again, for each destination.
const SPARE_BUFFERS_MAX: usize = 64;

impl Numbers {
    pub(super) fn new(edge: EdgeId, epoch: Epoch) -> Numbers {
        Numbers { source: Place::edge(edge), epoch, streams: BTreeMap::new() }
    }

    /// Takes the frames out of `batch`, which keeps an empty buffer, and numbers them.
    pub(super) fn number(&mut self, to: Place, batch: &mut Batch) -> Arc<Batch> {
        let (next, lent) = self.streams.entry(to).or_insert((1, Vec::new()));
        // A buffer whose receiver has let go of it is used again.
        let free = lent.iter_mut().position(|lent| Arc::get_mut(lent).is_some());
        let mut out = match free {
            Some(at) => lent.swap_remove(at),
            None => Arc::new(Batch::new(self.source, self.epoch, 1)),
        };
        let frames = Arc::get_mut(&mut out).expect("nobody else holds a buffer that is free or new");
        frames.reset(self.source, self.epoch, 1);
        std::mem::swap(frames, batch);
        frames.set_first(*next);
        *next = frames.as_ref().next_number();
        if lent.len() < SPARE_BUFFERS_MAX {
            lent.push(out.clone());
        }
        out
    }
}

impl Inlet {
    pub(super) fn new(shared: Arc<Shared>, edge: EdgeId) -> Inlet {
        let inputs = Inputs::new(shared.setup(edge));
        let numbers = Numbers::new(edge, shared.epoch);
        Inlet { shared, numbered: Arc::new(Mutex::new(Numbered { inputs, numbers })) }
    }

    /// Puts inputs in: what `put` collects goes to its workers at once, in the order in which this inlet is used.
    pub fn put<T>(&self, put: impl FnOnce(&mut Inputs) -> T) -> T {
        let mut numbered = self.numbered.lock().expect(LOCK_REASON);
        let Numbered { inputs, numbers } = &mut *numbered;
        inputs.set_admits_new_work(self.shared.admits_new_work());
        let result = put(inputs);
        inputs.drain(|to, batch| hand_over(&self.shared, numbers, to, batch));
        result
    }
}

/// Numbers frames and puts them into their worker's inbox.
pub(super) fn hand_over(shared: &Shared, numbers: &mut Numbers, to: Place, batch: &mut Batch) {
    let Some(worker) = to.as_worker() else {
        shared.nobody_there(to, batch);
        batch.reset(to, Epoch::FIRST, 1);
        return;
    };
    let frames = numbers.number(to, batch);
    if !shared.put(worker, frames.clone()) {
        shared.nobody_there(to, &frames);
    }
}

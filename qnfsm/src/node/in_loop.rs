//! A reactor in a worker's loop, in place of its park: one thread from the world to the FSM and back.

use std::{sync::Arc, time::Duration};

use super::{
    NodeError,
    edge::{Inputs, Reactor, Wake},
    inlet::{Numbers, hand_over},
    shared::Shared,
};
use crate::{
    frame::{Batch, edge_queue},
    id::{EdgeId, Place},
};

/// The longest that a reactor waits while the node takes no new work: what its sockets hold is then looked at again.
pub(super) const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

pub(super) struct InLoop {
    pub(super) edge: EdgeId,
    pub(super) reactor: Box<dyn Reactor>,
    pub(super) inputs: Inputs,
    pub(super) numbers: Numbers,
    /// What ends its wait from elsewhere.
    pub(super) wake: Wake,
    /// What was last told of what the reactor holds.
    held_bytes: u64,
}

impl InLoop {
    pub(super) fn new(reactor: Box<dyn Reactor>, inputs: Inputs, numbers: Numbers) -> InLoop {
        let (edge, wake) = (inputs.setup().edge(), reactor.waker());
        InLoop { edge, reactor, inputs, numbers, wake, held_bytes: 0 }
    }

    /// Hands the reactor what a worker put out for it.
    pub(super) fn take_frames(&mut self, batch: &Batch, shared: &Shared) {
        for frame in batch.as_ref().frames().map_while(Result::ok) {
            self.reactor.take(&frame, &mut self.inputs);
        }
        self.recount(shared);
    }

    /// Tells the node how many bytes the reactor holds.
    fn recount(&mut self, shared: &Shared) {
        let held_bytes = self.reactor.held_bytes();
        if held_bytes != self.held_bytes {
            shared.recount(self.held_bytes, held_bytes);
            self.held_bytes = held_bytes;
            if !shared.budget.has_room() {
                let queue = edge_queue(shared.node, self.edge);
                shared.budget.set_largest(queue.place(), vec![(queue, held_bytes)]);
            }
        }
    }

    /// Lets the reactor look at the world, for up to `timeout`.
    pub(super) fn poll(&mut self, timeout: Option<Duration>, shared: &Shared) -> Result<(), NodeError> {
        self.inputs.set_admits_new_work(shared.admits_new_work());
        let polled = self.reactor.poll(timeout, &mut self.inputs);
        self.recount(shared);
        polled.map_err(|source| NodeError::Edge { edge: self.edge, source: Arc::new(source) })
    }

    /// Takes what the reactor put in: for the worker of this loop directly, for others into their inboxes.
    pub(super) fn take_inputs(&mut self, shared: &Shared, gathered: &mut Vec<Arc<Batch>>, here: Place) {
        let InLoop { inputs, numbers, .. } = self;
        inputs.drain(|to, batch| {
            if to == here {
                shared.work_begins();
                shared.budget.take(batch.bytes_len());
                gathered.push(numbers.number(to, batch));
            } else {
                hand_over(shared, numbers, to, batch);
            }
        });
    }
}

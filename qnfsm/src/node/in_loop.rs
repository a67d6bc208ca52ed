//! A reactor in a worker's loop, in place of its park: one thread from the world to the FSM and back.

use std::{sync::Arc, time::Duration};

use super::{
    NodeError,
    edge::{Inputs, Reactor, Wake},
    inlet::{Numbers, hand_over},
    shared::Shared,
};
use crate::{
    frame::Batch,
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
}

impl InLoop {
    /// Hands the reactor what a worker put out for it.
    pub(super) fn take_frames(&mut self, batch: &Batch) {
        for frame in batch.as_ref().frames().map_while(Result::ok) {
            self.reactor.take(&frame, &mut self.inputs);
        }
    }

    /// Lets the reactor look at the world, for up to `timeout`.
    pub(super) fn poll(&mut self, timeout: Option<Duration>, shared: &Shared) -> Result<(), NodeError> {
        self.inputs.set_admits_new_work(shared.admits_new_work());
        self.reactor
            .poll(timeout, &mut self.inputs)
            .map_err(|source| NodeError::Edge { edge: self.edge, source: Arc::new(source) })
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

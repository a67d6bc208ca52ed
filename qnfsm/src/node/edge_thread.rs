//! A thread that drives a reactor which has one of its own.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender};

use super::{
    NodeError,
    edge::{Outlet, Wake},
    in_loop::{InLoop, LOOK_AGAIN_AFTER},
    inlet::hand_over,
    shared::{Phase, Shared, Way},
};
use crate::{frame::Batch, id::Place};

/// The longest that a reactor waits before it sees that the node stops.
const WAIT_MAX: Duration = Duration::from_millis(100);

struct Door {
    shared: Arc<Shared>,
    sender: Sender<Batch>,
    wake: Wake,
}

impl Outlet for Door {
    fn put(&self, frames: &Batch) {
        self.shared.work_begins();
        self.shared.budget.take(frames.bytes_len());
        // The receiver lives as long as the node runs.
        let _ = self.sender.send(frames.clone());
        (self.wake)();
    }
}

/// A reactor that is to have a thread of its own. What workers put out for it waits until the thread runs.
pub(super) struct EdgeThread {
    edge: InLoop,
    receiver: Receiver<Batch>,
}

impl EdgeThread {
    pub(super) fn new(edge: InLoop, shared: &Arc<Shared>) -> EdgeThread {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let door = Door { shared: shared.clone(), sender, wake: edge.wake.clone() };
        shared.add_edge(edge.edge, Way::Outlet(Arc::new(door)));
        shared.add_wake(edge.wake.clone());
        EdgeThread { edge, receiver }
    }

    /// Lets the reactor run until the node stops. The workers' inboxes must be there.
    pub(super) fn spawn(mut self, shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
        let shared = shared.clone();
        thread::Builder::new().name(format!("qnfsm-{}", self.edge.edge)).spawn(move || {
            let run = catch_unwind(AssertUnwindSafe(|| self.run(&shared)));
            let run = run.unwrap_or_else(|_| Err(NodeError::Panicked(Place::edge(self.edge.edge))));
            if let Err(error) = run {
                shared.fail(error);
            }
        })
    }

    fn run(&mut self, shared: &Shared) -> Result<(), NodeError> {
        while shared.phase() != Phase::Stopping {
            self.take_frames(shared);
            let timeout = if shared.admits_new_work() { WAIT_MAX } else { LOOK_AGAIN_AFTER };
            self.edge.poll(Some(timeout), shared)?;
            put_in(&mut self.edge, shared);
        }
        // What workers put out before their end is still taken: the last words to a peer may be among it.
        shared.wait_until(None, Shared::is_over);
        self.take_frames(shared);
        self.edge.reactor.close();
        Ok(())
    }

    fn take_frames(&mut self, shared: &Shared) {
        for batch in self.receiver.try_iter() {
            self.edge.take_frames(&batch, shared);
            shared.give_back(batch.bytes_len());
            put_in(&mut self.edge, shared);
            shared.work_ends(1);
        }
    }
}

fn put_in(edge: &mut InLoop, shared: &Shared) {
    let InLoop { inputs, numbers, .. } = edge;
    inputs.drain(|to, batch| hand_over(shared, numbers, to, batch));
}

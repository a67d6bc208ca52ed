//! A thread that drives a reactor which has one of its own.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::Sender;

use super::{
    NodeError,
    driver::InLoop,
    edge::{Outlet, Wake},
    inlet::hand_over,
    shared::{Phase, Shared, Way},
};
use crate::frame::Batch;

/// The longest that a reactor waits before it sees that the node stops.
const WAIT_MAX: Duration = Duration::from_millis(100);

struct Door {
    sender: Sender<Batch>,
    wake: Wake,
}

impl Outlet for Door {
    fn put(&self, frames: &Batch) {
        // The receiver lives as long as the node runs.
        let _ = self.sender.send(frames.clone());
        (self.wake)();
    }
}

/// Lets a reactor run on a thread of its own, until the node stops.
pub(super) fn spawn(mut edge: InLoop, shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let (sender, receiver) = crossbeam_channel::unbounded::<Batch>();
    shared.add_edge(edge.edge, Way::Outlet(Arc::new(Door { sender, wake: edge.wake.clone() })));
    let shared = shared.clone();
    thread::Builder::new().name(format!("qnfsm-{}", edge.edge)).spawn(move || {
        while shared.phase() != Phase::Stopping {
            for batch in receiver.try_iter() {
                for frame in batch.as_ref().frames().map_while(Result::ok) {
                    edge.reactor.take(&frame, &mut edge.inputs);
                }
            }
            edge.inputs.drain(|to, batch| hand_over(&shared, &mut edge.numbers, to, batch));
            edge.inputs.set_admits_new_work(shared.admits_new_work());
            if let Err(source) = edge.reactor.poll(Some(WAIT_MAX), &mut edge.inputs) {
                shared.fail(NodeError::Edge { edge: edge.edge, source: Arc::new(source) });
            }
            edge.inputs.drain(|to, batch| hand_over(&shared, &mut edge.numbers, to, batch));
        }
        edge.reactor.close();
    })
}

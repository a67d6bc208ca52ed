//! Starts workers, when the node starts and when an FSM asks for one, and joins their threads at the end. It is the
//! outlet of the node's own edge, [`EdgeId::NODE`].

use std::{
    sync::{
        Arc, Mutex,
        atomic::AtomicBool,
    },
    thread::{self, JoinHandle},
};

use super::{
    NodeError,
    driver::{Driver, InLoop},
    edge::Outlet,
    inlet::Inlet,
    recovery::{Snapshots, StartedFor},
    shared::{Inbox, LOCK_REASON, Phase, Shared},
};
use crate::{
    codec::{Codec, Trust},
    frame::{Batch, Class, Frame, edge_queue},
    id::{EdgeId, Place, RawQueueId, RequestId, WorkerId},
    journal::Record,
    message::NoReply,
    node_request::NodeRequest,
    worker::Worker,
};

pub(super) struct Starter {
    shared: Arc<Shared>,
    inlet: Inlet,
    snapshots: Option<Snapshots>,
    state: Mutex<State>,
}

struct State {
    next_worker: u32,
    started_for: StartedFor,
    threads: Vec<(WorkerId, JoinHandle<Driver>)>,
}

impl Starter {
    pub(super) fn new(
        shared: Arc<Shared>,
        inlet: Inlet,
        snapshots: Option<Snapshots>,
        next_worker: u32,
        started_for: StartedFor,
    ) -> Arc<Starter> {
        let state = Mutex::new(State { next_worker, started_for, threads: Vec::new() });
        Arc::new(Starter { shared, inlet, snapshots, state })
    }

    /// A driver for a worker, whose inbox takes frames from now on. Its thread does not run yet.
    pub(super) fn prepare(&self, worker: Worker, digest: u64, reactors: Vec<InLoop>) -> Driver {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let wake = reactors.first().map(|in_loop| in_loop.wake.clone());
        let inbox = Inbox { sender, wake, parked: Arc::new(AtomicBool::new(false)) };
        self.shared.add_worker(worker.id(), inbox.clone());
        let shared = self.shared.clone();
        let mut driver = Driver::new(worker, digest, shared, inbox, receiver, self.snapshots.clone());
        driver.reactors = reactors;
        driver
    }

    /// Lets a driver run on a thread of its own.
    pub(super) fn launch(&self, driver: Driver) -> Result<(), NodeError> {
        let id = driver.worker.id();
        let name = format!("qnfsm-{id}");
        let thread = thread::Builder::new().name(name).spawn(move || driver.run());
        let thread = thread.map_err(|error| NodeError::Thread(Arc::new(error)))?;
        self.state.lock().expect(LOCK_REASON).threads.push((id, thread));
        Ok(())
    }

    /// A new worker, whose start is recorded.
    pub(super) fn new_worker(&self, request: Option<(RawQueueId, RequestId)>) -> Result<Worker, NodeError> {
        let id = {
            let mut state = self.state.lock().expect(LOCK_REASON);
            let id = WorkerId(state.next_worker);
            state.next_worker += 1;
            if let Some(request) = request {
                state.started_for.insert(request, id);
            }
            id
        };
        let Shared { catalogue, node, epoch, worker_config, journal, .. } = &*self.shared;
        if let Some(journal) = journal {
            let mut config = Vec::new();
            Codec::CURRENT.encode(worker_config, &mut config).expect("a configuration is numbers");
            journal.write(&Record::WorkerStarted { worker: id, epoch: *epoch, config: &config, request })?;
        }
        Ok(Worker::new(catalogue.clone(), *node, id, *epoch, *worker_config))
    }

    /// Starts a worker on request; a request that was served before gets the same worker.
    fn start_worker(&self, request: (RawQueueId, RequestId)) -> Result<WorkerId, NodeError> {
        let served = self.state.lock().expect(LOCK_REASON).started_for.get(&request).copied();
        if let Some(id) = served {
            return Ok(id);
        }
        let worker = self.new_worker(Some(request))?;
        let id = worker.id();
        self.launch(self.prepare(worker, 0, Vec::new()))?;
        Ok(id)
    }

    /// Waits for all workers' threads, those started meanwhile among them. They have been told to stop.
    pub(super) fn join_all(&self) -> Result<Vec<Driver>, NodeError> {
        let mut drivers = Vec::new();
        let mut panicked = None;
        loop {
            let threads = std::mem::take(&mut self.state.lock().expect(LOCK_REASON).threads);
            if threads.is_empty() {
                break;
            }
            // A worker that was started after the others were told hears it now.
            self.shared.advance(Phase::Stopping);
            for (id, thread) in threads {
                match thread.join() {
                    Ok(driver) => drivers.push(driver),
                    Err(_) => panicked = Some(NodeError::Panicked(Place::worker(id))),
                }
            }
        }
        panicked.map_or(Ok(drivers), Err)
    }

    fn take(&self, frame: &Frame<'_>) {
        if frame.header.class != Class::Message {
            return;
        }
        let me = edge_queue(self.shared.node, EdgeId::NODE);
        match Codec::CURRENT.decode::<NodeRequest>(frame.payload, Trust::Node) {
            Ok(NodeRequest::StartWorker { reply }) => {
                let started = self.start_worker((reply.queue(), reply.request()));
                let answered = started.and_then(|worker| {
                    let put = self.inlet.put(|inputs| inputs.reply(&reply, me, &worker));
                    put.map_err(|error| NodeError::Inconsistent(error.to_string()))
                });
                if let Err(error) = answered {
                    self.shared.fail(error);
                }
            }
            Ok(NodeRequest::Stop) => self.shared.advance(Phase::Draining),
            Err(error) => {
                tracing::warn!(%error, from = %frame.header.sender, "a request to the node can't be understood");
                self.inlet.put(|inputs| inputs.fail_request(frame, me, NoReply::NotUnderstood));
            }
        }
    }
}

impl Outlet for Starter {
    fn put(&self, frames: &Batch) {
        for frame in frames.as_ref().frames().map_while(Result::ok) {
            self.take(&frame);
        }
    }
}

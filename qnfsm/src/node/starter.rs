//! Starts workers, when the node starts and when an FSM asks for one, and joins their threads at the end. It is the
//! outlet of the node's own edge, [`EdgeId::NODE`].

use std::{
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use super::{
    NodeError,
    driver::Driver,
    edge::Outlet,
    in_loop::InLoop,
    inbox::{Inbox, InboxEnd},
    inlet::Inlet,
    recovery::StartedFor,
    shared::{LOCK_REASON, Phase, Shared},
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
    state: Mutex<State>,
}

struct State {
    started_for: StartedFor,
    threads: Vec<(WorkerId, JoinHandle<Option<Driver>>)>,
}

impl Starter {
    pub(super) fn new(shared: Arc<Shared>, inlet: Inlet, started_for: StartedFor) -> Arc<Starter> {
        let state = Mutex::new(State { started_for, threads: Vec::new() });
        Arc::new(Starter { shared, inlet, state })
    }

    /// A driver for a worker that was there before. Frames go into its inbox from now on; its thread does not run yet.
    pub(super) fn bring_back(&self, worker: Worker, digest: u64, reactors: Vec<InLoop>) -> Driver {
        let (inbox, end) = Inbox::new();
        self.shared.add_worker(worker.id(), inbox);
        self.driver(worker, digest, end, reactors)
    }

    /// A driver for a new worker, whose start is recorded.
    pub(super) fn start_new(
        &self,
        request: Option<(RawQueueId, RequestId)>,
        reactors: Vec<InLoop>,
    ) -> Result<Driver, NodeError> {
        let (inbox, end) = Inbox::new();
        let Some(id) = self.shared.allot_worker(inbox) else {
            return Err(NodeError::Inconsistent("there are no numbers left for another worker".to_owned()));
        };
        if let Some(request) = request {
            self.state.lock().expect(LOCK_REASON).started_for.insert(request, id);
        }
        let Shared { catalogue, node, epoch, worker_config, journal, directory, .. } = &*self.shared;
        if let (Some(journal), Some(directory)) = (journal, directory) {
            directory.starts(id, journal, request);
            let mut config = Vec::new();
            Codec::CURRENT.encode(worker_config, &mut config).expect("a configuration is numbers");
            journal.write(&Record::WorkerStarted { worker: id, epoch: *epoch, config: &config, request })?;
        }
        let worker = Worker::new(catalogue.clone(), *node, id, *epoch, *worker_config);
        Ok(self.driver(worker, 0, end, reactors))
    }

    fn driver(&self, worker: Worker, digest: u64, inbox: InboxEnd, reactors: Vec<InLoop>) -> Driver {
        let mut driver = Driver::new(worker, digest, self.shared.clone(), inbox);
        driver.reactors = reactors;
        driver
    }

    /// Lets a driver run on a thread of its own. Where there is no thread for it the driver comes back: what its inbox
    /// holds must not be taken for recorded.
    pub(super) fn launch(&self, driver: Driver) -> Result<(), Box<(Driver, NodeError)>> {
        let id = driver.worker.id();
        let (give, given) = crossbeam_channel::bounded::<Driver>(1);
        let run = move || given.recv().ok().map(Driver::run);
        let thread = match thread::Builder::new().name(format!("qnfsm-{id}")).spawn(run) {
            Ok(thread) => thread,
            Err(error) => return Err(Box::new((driver, NodeError::Thread(Arc::new(error))))),
        };
        self.shared.driver_begins();
        self.state.lock().expect(LOCK_REASON).threads.push((id, thread));
        give.send(driver).expect("the thread waits for it");
        Ok(())
    }

    /// Starts a worker on request; a request that was served before gets the same worker.
    fn start_worker(&self, request: (RawQueueId, RequestId)) -> Result<WorkerId, NodeError> {
        let served = self.state.lock().expect(LOCK_REASON).started_for.get(&request).copied();
        if let Some(id) = served {
            return Ok(id);
        }
        let driver = self.start_new(Some(request), Vec::new())?;
        let id = driver.worker.id();
        // Nobody knows its number yet, so its inbox is empty.
        self.launch(driver).map_err(|kept| kept.1)?;
        Ok(id)
    }

    /// Brings to disk what was written, if it leaves a durable node by an answer to that queue. It is seldom, so it waits.
    fn sync_for(&self, asker: RawQueueId) -> Result<(), NodeError> {
        match (&self.shared.commits, asker.place().as_edge()) {
            (Some(_), Some(_)) => Ok(self.shared.sync()?),
            _ => Ok(()),
        }
    }

    /// True on the thread of one of the workers.
    pub(super) fn runs_this_thread(&self) -> bool {
        let state = self.state.lock().expect(LOCK_REASON);
        state.threads.iter().any(|(_, thread)| thread.thread().id() == thread::current().id())
    }

    /// Waits for all workers' threads, those started meanwhile among them. They have been told to stop.
    pub(super) fn join_all(&self) -> Vec<Driver> {
        let mut drivers = Vec::new();
        loop {
            let threads = std::mem::take(&mut self.state.lock().expect(LOCK_REASON).threads);
            if threads.is_empty() {
                break;
            }
            // A worker that was started after the others were told hears it now.
            self.shared.advance(Phase::Stopping);
            for (id, thread) in threads {
                match thread.join() {
                    Ok(driver) => drivers.extend(driver),
                    Err(_) => self.shared.fail(NodeError::Panicked(Place::worker(id))),
                }
            }
        }
        drivers
    }

    fn take(&self, frame: &Frame<'_>) {
        if frame.header.class != Class::Message {
            return;
        }
        let me = edge_queue(self.shared.node, EdgeId::NODE);
        match Codec::CURRENT.decode::<NodeRequest>(frame.payload, Trust::Node) {
            Ok(NodeRequest::StartWorker { reply }) => {
                let started = self.start_worker((reply.queue(), reply.request()));
                let started = started.and_then(|worker| self.sync_for(reply.queue()).map(|()| worker));
                let answered = started.and_then(|worker| {
                    let put = self.inlet.put(|inputs| inputs.reply(&reply, me, &worker));
                    put.map_err(|error| NodeError::Inconsistent(error.to_string()))
                });
                if let Err(error) = answered {
                    self.shared.fail(error);
                }
            }
            Ok(NodeRequest::Metrics { reply }) => {
                let metrics = self.shared.metrics();
                if let Err(error) = self.inlet.put(|inputs| inputs.reply(&reply, me, &metrics)) {
                    tracing::error!(%error, from = %frame.header.sender, "metrics can't be told");
                    self.inlet.put(|inputs| inputs.fail_request(frame, me, NoReply::Failed));
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

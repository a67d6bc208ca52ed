//! A driver: one worker, fed by one edge, in virtual time. It uses its buffers again, so that what is counted is the worker's.

use std::{error::Error, sync::Arc};

use qnfsm::{
    Catalogue, Codec, EdgeId, Epoch, ExternalFault, Externals, Fsm, Message, NodeId, Place, QueueId, RawQueueId, Time,
    Worker, WorkerConfig, WorkerId,
    frame::{Batch, BatchRef, Class, Header, edge_queue},
};

/// The most messages of a round.
const BOUND: u32 = 4096;
const EDGE: EdgeId = EdgeId(8);

/// A worker and who feeds it.
pub struct Stage {
    /// The worker.
    pub worker: Worker,
    catalogue: Arc<Catalogue>,
    batch: Batch,
    payload: Vec<u8>,
    now_ns: u64,
}

/// The queue of a worker's first FSM.
pub fn first_of<M>(worker: WorkerId) -> QueueId<M> {
    QueueId::from_raw(RawQueueId::new(NodeId(0), Place::worker(worker), 0, 1))
}

impl Stage {
    /// A worker with one FSM, which has started.
    pub fn with<F: Fsm>(id: WorkerId, catalogue: &Arc<Catalogue>, fsm: &F) -> Result<Stage, Box<dyn Error>> {
        let worker = Worker::new(catalogue.clone(), NodeId(0), id, Epoch::FIRST, WorkerConfig::default());
        let batch = Batch::new(Place::edge(EDGE), Epoch::FIRST, 1);
        let mut stage = Stage { worker, catalogue: catalogue.clone(), batch, payload: Vec::new(), now_ns: 1 };
        let kinds = &catalogue.table().kinds;
        let kind = kinds.iter().position(|kind| kind.name == F::NAME).ok_or("the kind isn't registered")?;
        // The answer to a spawn would be of the type with this number; nobody waits for it here.
        let mut payload = vec![0];
        Codec::CURRENT.encode(fsm, &mut payload)?;
        let to = RawQueueId::new(NodeId(0), Place::worker(id), 0, 0);
        stage.batch.push(&Header::to(Class::Spawn, u32::try_from(kind)?, to, edge_queue(NodeId(0), EDGE)), &payload);
        stage.run();
        Ok(stage)
    }

    /// Puts a message into the next batch.
    pub fn tell<M: Message>(&mut self, to: QueueId<M>, message: &M) -> Result<(), Box<dyn Error>> {
        self.payload.clear();
        Codec::CURRENT.encode(message, &mut self.payload)?;
        let number = self.catalogue.type_number::<M>().ok_or("the message type isn't registered")?;
        self.batch.push(&Header::message(number, to.raw(), edge_queue(NodeId(0), EDGE)), &self.payload);
        Ok(())
    }

    /// Runs until there is nothing left to do and no timer is set, or for `rounds_max` rounds. Puts nothing out.
    pub fn run_for(&mut self, rounds_max: u64) {
        for _ in 0..rounds_max {
            let next = self.batch.as_ref().next_number();
            let batch = Some(self.batch.as_ref()).filter(|batch| batch.count > 0);
            round(&mut self.worker, self.now_ns, batch);
            self.batch.reset(Place::edge(EDGE), Epoch::FIRST, next);
            if self.worker.is_idle() {
                let Some(timer) = self.worker.next_timer() else { return };
                self.now_ns = self.now_ns.max(timer.as_nanos());
            }
        }
    }

    /// Runs until there is nothing left to do but wait for timers.
    pub fn run(&mut self) {
        self.run_for(1);
        while !self.worker.is_idle() {
            self.run_for(1);
        }
    }
}

/// One round of a worker.
pub fn round(worker: &mut Worker, now_ns: u64, batch: Option<BatchRef<'_>>) {
    worker.feed(Time::from_nanos(now_ns), batch);
    let end = worker.round(BOUND, &mut NoPorts);
    assert!(end.fault.is_none(), "{end:?}");
}

/// No FSM here asks for a value from outside.
struct NoPorts;

impl Externals for NoPorts {
    fn read(&mut self, _: WorkerId, port: &str, _: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        Err(ExternalFault(format!("there is no port {port}")))
    }
}

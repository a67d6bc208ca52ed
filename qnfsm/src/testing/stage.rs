//! A worker under test, and what is about to enter it: one edge stands for all that is outside. What goes in waits until whoever
//! drives takes it for a round; nothing here runs one.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    Catalogue, Codec, DownReason, EdgeId, EncodeError, Epoch, Fsm, Message, NoReply, NodeId, Place, RawQueueId,
    RequestId, Time, Worker, WorkerConfig, WorkerId,
    frame::{Batch, Class, Header, edge_queue, put_varint},
};

/// The edge that stands in for the world.
pub(super) const WORLD: EdgeId = EdgeId::FIRST_OF_USER;
pub(super) const NODE: NodeId = NodeId(0);
pub(super) const WORKER: WorkerId = WorkerId(0);

/// The queue that what comes from outside seems to come from.
pub(super) fn world() -> RawQueueId {
    edge_queue(NODE, WORLD)
}

/// The queue of the first FSM.
pub(super) fn first_queue() -> RawQueueId {
    RawQueueId::new(NODE, Place::worker(WORKER), 0, 1)
}

pub(super) struct Stage {
    pub(super) worker: Worker,
    pub(super) now: Time,
    /// What goes in with the next round.
    batch: Batch,
}

impl Stage {
    pub(super) fn new(catalogue: Arc<Catalogue>, config: WorkerConfig, now: Time) -> Stage {
        let worker = Worker::new(catalogue, NODE, WORKER, Epoch::FIRST, config);
        Stage { worker, now, batch: Batch::new(Place::edge(WORLD), Epoch::FIRST, 1) }
    }

    /// The number of a kind; `who` is told of in the panic where the kinds don't name it.
    pub(super) fn kind_of<F: Fsm>(catalogue: &Catalogue, who: &str) -> u32 {
        let kind = catalogue.numbers().kind::<F>();
        kind.unwrap_or_else(|| panic!("{who}: the kinds don't name {}; add `.with::<…>()` for it", F::NAME))
    }

    /// The number of a message type, likewise.
    pub(super) fn number_of<M: Message>(catalogue: &Catalogue, who: &str) -> u32 {
        catalogue.type_number::<M>().unwrap_or_else(|| {
            let name = std::any::type_name::<M>();
            panic!("{who}: the kinds don't name the message type {name}; add `.message::<…>()` for it")
        })
    }

    /// Puts in a frame.
    pub(super) fn put<T: Serialize>(&mut self, header: &Header, value: &T) -> Result<(), EncodeError> {
        let mut payload = Vec::new();
        Codec::CURRENT.encode(value, &mut payload)?;
        self.put_bytes(header, &payload);
        Ok(())
    }

    /// Puts in a frame with that payload.
    pub(super) fn put_bytes(&mut self, header: &Header, payload: &[u8]) {
        self.batch.push(header, payload);
    }

    /// Puts in a first FSM of that kind, by the bytes of its start value.
    pub(super) fn spawn(&mut self, kind: u32, start_value: &[u8]) {
        let mut payload = Vec::new();
        // Nobody waits for the answer, so its type doesn't matter.
        put_varint(&mut payload, 0);
        payload.extend_from_slice(start_value);
        let nowhere = RawQueueId::new(NODE, Place::worker(WORKER), 0, 0);
        self.put_bytes(&Header::to(Class::Spawn, kind, nowhere, world()), &payload);
    }

    /// Puts in a message to a queue of the worker, by its bytes.
    pub(super) fn tell(&mut self, to: RawQueueId, sender: RawQueueId, type_number: u32, payload: &[u8]) {
        self.put_bytes(&Header::message(type_number, to, sender), payload);
    }

    /// Puts in the answer of a request that an FSM made elsewhere, by its bytes.
    pub(super) fn answer(&mut self, to: RawQueueId, request: RequestId, type_number: u32, payload: &[u8]) {
        let header = Header::to(Class::Reply, type_number, to, world());
        self.put_bytes(&Header { request: Some(request), ..header }, payload);
    }

    /// Puts in that such a request has no answer.
    pub(super) fn fail(&mut self, to: RawQueueId, request: RequestId, why: NoReply) {
        let header = Header::to(Class::Failed, 0, to, world());
        let put = self.put(&Header { request: Some(request), ..header }, &why);
        put.expect("a reason is a number");
    }

    /// Puts in, for each FSM that monitors a queue elsewhere, what became of it.
    pub(super) fn down(&mut self, queue: RawQueueId, reason: &DownReason) {
        let watchers: Vec<_> = self.worker.watches_elsewhere().filter(|(watched, _)| *watched == queue).collect();
        for (_, watcher) in watchers {
            let put = self.put(&Header::to(Class::Down, 0, watcher, queue), reason);
            put.expect("a reason is a number and a text");
        }
    }

    /// Takes what is to go in with the next round.
    pub(super) fn take_batches(&mut self) -> Vec<Batch> {
        let next = self.batch.as_ref().next_number();
        let batch = std::mem::replace(&mut self.batch, Batch::new(Place::edge(WORLD), Epoch::FIRST, next));
        Some(batch).into_iter().filter(|batch| !batch.is_empty()).collect()
    }
}

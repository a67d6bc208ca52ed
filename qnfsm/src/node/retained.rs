//! What a worker's driver keeps so that nothing is lost: outputs that their receiver has not recorded yet, and requests
//! to edges whose answer is not recorded yet. It stands in the snapshot beside the worker.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::lent::Lent;
use crate::{
    codec::{Codec, DecodeError, Trust},
    frame::{Batch, BatchRef, Class},
    id::{Place, RawQueueId, RequestId},
    worker::Worker,
};

/// A batch to another worker has at most so many bytes, or one frame.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Outputs to other workers, in order. A receiver lets go of a batch when it has recorded it, and that is the
/// acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Unacknowledged {
    streams: BTreeMap<Place, Lent>,
}

impl Unacknowledged {
    /// Takes the frames out of `batch`, keeps them until they are acknowledged, and hands them to `put`: in several
    /// batches where they are many, because a receiver takes a batch into one round's record.
    pub(super) fn keep(&mut self, to: Place, batch: &mut Batch, mut put: impl FnMut(Arc<Batch>)) {
        let stream = self.streams.entry(to).or_default();
        while let Some(mut front) = batch.take_front(BATCH_BYTES_MAX) {
            put(stream.lend(&mut front));
        }
        put(stream.lend(batch));
    }

    /// The batches that are not acknowledged, in order.
    fn batches(&mut self) -> Vec<(Place, Batch)> {
        let streams = self.streams.iter_mut();
        streams.flat_map(|(to, stream)| stream.out().map(|batch| (*to, batch.clone()))).collect()
    }
}

/// Requests to edges, by asker and request.
#[derive(Debug, Default)]
pub(super) struct Held {
    requests: BTreeMap<(RawQueueId, RequestId), (Place, Batch)>,
    bytes: u64,
    prune_at: usize,
    prune_at_bytes: u64,
}

/// How many held requests there may be before those that are answered are looked for, and how many bytes of them.
const PRUNE_AT_LEAST: usize = 64;
const PRUNE_AT_LEAST_BYTES: u64 = 1 << 20;

impl Held {
    /// Keeps the requests among frames that go to an edge.
    pub(super) fn keep(&mut self, to: Place, frames: &BatchRef<'_>) {
        for frame in frames.frames().map_while(Result::ok) {
            if let (Class::Message, Some(request)) = (frame.header.class, frame.header.request) {
                let mut held = Batch::new(frames.source, frames.epoch, 1);
                held.push(&frame.header, frame.payload);
                self.bytes += held.bytes_len() as u64;
                let replaced = self.requests.insert((frame.header.sender, request), (to, held));
                self.bytes -= replaced.map_or(0, |(_, replaced)| replaced.bytes_len() as u64);
            }
        }
    }

    /// Lets go of requests that nobody waits for any more, now and then.
    pub(super) fn prune(&mut self, worker: &Worker) {
        let is_due = self.requests.len() > self.prune_at.max(PRUNE_AT_LEAST)
            || self.bytes > self.prune_at_bytes.max(PRUNE_AT_LEAST_BYTES);
        if is_due {
            self.retain(worker);
            self.prune_at = self.requests.len() * 2;
            self.prune_at_bytes = self.bytes * 2;
        }
    }

    /// The bytes of all requests that are held, some answered ones among them.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lets go of requests that nobody waits for any more.
    pub(super) fn retain(&mut self, worker: &Worker) {
        let Held { requests, bytes, .. } = self;
        requests.retain(|(queue, request), (_, batch)| {
            let awaited = worker.awaits(*queue, *request);
            if !awaited {
                *bytes -= batch.bytes_len() as u64;
            }
            awaited
        });
    }

    /// The requests that are under way, in the order of their askers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RawQueueId, RequestId, Place, &Batch)> {
        self.requests.iter().map(|((queue, request), (to, batch))| (*queue, *request, *to, batch))
    }
}

/// What stands in a snapshot beside the worker.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct DriverImage {
    /// Outputs to workers, in order.
    pub(super) unacknowledged: Vec<(Place, Batch)>,
    /// Requests to edges.
    pub(super) held: Vec<(Place, Batch)>,
}

impl DriverImage {
    pub(super) fn of(unacknowledged: &mut Unacknowledged, held: &mut Held, worker: &Worker) -> DriverImage {
        held.retain(worker);
        let held = held.iter().map(|(_, _, to, batch)| (to, batch.clone())).collect();
        DriverImage { unacknowledged: unacknowledged.batches(), held }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        Codec::CURRENT.encode(self, &mut bytes).expect("batches are bytes and numbers");
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<DriverImage, DecodeError> {
        Codec::CURRENT.decode(bytes, Trust::Node)
    }
}

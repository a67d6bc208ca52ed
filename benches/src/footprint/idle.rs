//! A worker full of FSMs that wait for a message which doesn't come. It is driven as a node would drive it, without a node.

use std::sync::Arc;

use qnfsm::{
    Catalogue, Codec, Context, EdgeId, Epoch, ExternalFault, Externals, Fsm, Kinds, Next, NodeId, Place, RawQueueId,
    Time, Worker, WorkerConfig, WorkerId,
    frame::{Batch, Class, Header, edge_queue},
};
use serde::{Deserialize, Serialize};

use crate::plan::Failure;

const NODE: NodeId = NodeId(0);
const WORKER: WorkerId = WorkerId(0);
/// Who asks for the FSMs.
const EDGE: EdgeId = EdgeId(8);
/// How many are asked for in one round.
const CHUNK: u32 = 10_000;

/// What waits: two numbers, and no state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Idle {
    key: u64,
    seen: u64,
}

/// The bytes of an FSM that are its own, and not the library's.
pub const OWN_BYTES: usize = size_of::<Idle>();

impl Fsm for Idle {
    const NAME: &'static str = "idle";
    type State = ();
    type Message = u64;

    fn start(&mut self, _cx: &mut Context<'_, Idle>) {}

    fn handle(&mut self, (): (), seen: u64, _cx: &mut Context<'_, Idle>) -> Next<Idle> {
        self.seen = seen;
        Next::Stay
    }
}

/// The kinds of such a worker.
///
/// # Errors
/// Never: the kind is plain.
pub fn catalogue() -> Result<Arc<Catalogue>, Failure> {
    Ok(Kinds::new().with::<Idle>().seal()?)
}

/// A key that is spread over all bits, so that a codec which writes small integers short has nothing to gain.
pub fn key(number: u32) -> u64 {
    u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A worker with so many FSMs, each of which has started and waits.
///
/// # Errors
/// When the worker doesn't take them all.
pub fn worker_of(catalogue: &Arc<Catalogue>, fsms: u32) -> Result<Worker, Failure> {
    let mut worker = Worker::new(catalogue.clone(), NODE, WORKER, Epoch::FIRST, WorkerConfig::default());
    let mut batch = Batch::new(Place::edge(EDGE), Epoch::FIRST, 1);
    let to = RawQueueId::new(NODE, Place::worker(WORKER), 0, 0);
    let (mut asked, mut now) = (0, Time::ZERO);
    while asked < fsms {
        let first = batch.as_ref().next_number();
        batch.reset(Place::edge(EDGE), Epoch::FIRST, first);
        let end = (asked + CHUNK).min(fsms);
        for number in asked..end {
            // The answer to a spawn would be of the type with this number; nobody waits for it here.
            let mut payload = vec![0];
            Codec::CURRENT.encode(&Idle { key: key(number), seen: 0 }, &mut payload)?;
            batch.push(&Header::to(Class::Spawn, 0, to, edge_queue(NODE, EDGE)), &payload);
        }
        asked = end;
        now = Time::from_nanos(now.as_nanos() + 1);
        worker.feed(now, [batch.as_ref()]);
        let end = worker.round(2 * CHUNK, &mut NoPorts);
        worker.drain_outputs(|_, _| ());
        if !end.idle || end.fault.is_some() {
            return Err(format!("the worker didn't come to rest: {end:?}").into());
        }
    }
    check(&worker, fsms)?;
    Ok(worker)
}

/// Checks that all are there.
///
/// # Errors
/// When they aren't.
pub fn check(worker: &Worker, fsms: u32) -> Result<(), Failure> {
    if worker.fsms() != fsms {
        return Err(format!("the worker has {} FSMs, and should have {fsms}", worker.fsms()).into());
    }
    Ok(())
}

/// No FSM here asks for a value from outside.
struct NoPorts;

impl Externals for NoPorts {
    fn read(&mut self, _: WorkerId, port: &str, _: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        Err(ExternalFault(format!("there is no port {port}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_of_idle_fsms_is_restored_byte_for_byte() {
        let catalogue = catalogue().expect("the kind is plain");
        let worker = worker_of(&catalogue, CHUNK + 1).expect("there is room");
        let [mut image, mut again] = [Vec::new(), Vec::new()];
        worker.snapshot(&mut image).expect("plain data");
        let restored = Worker::restore(catalogue, &image).expect("a worker's image");
        restored.snapshot(&mut again).expect("plain data");
        assert!(check(&restored, CHUNK + 1).is_ok() && image == again);
        assert!(check(&restored, CHUNK).is_err());
    }
}

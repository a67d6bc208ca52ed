//! Two workers that relay messages to each other, driven by hand on one thread.
//!
//! What is measured is a round of either: it takes so many messages from the other worker, each of which its one FSM passes on,
//! so that as many go back. The steps are those of the node's driver, made with the library's public parts: no rule of
//! scheduling or delivery stands here. The bytes are what workers put out, and the record can be played back.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use qnfsm::{
    Admission, Catalogue, Codec, Context, EdgeId, Epoch, ExternalFault, Externals, Fsm, Kinds, Next, NodeId, Place,
    QueueId, RawQueueId, Time, Worker, WorkerConfig, WorkerId,
    frame::{Batch, Class, Header, edge_queue},
    journal::{Journal, Record},
};
use serde::{Deserialize, Serialize};

use super::parts::Part;
use crate::{
    messaging::{
        message::{Payload, Small},
        roles,
    },
    plan::Failure,
};

/// The node whose workers these are.
pub const NODE: NodeId = NodeId(0);
/// Who puts the first messages in.
const EDGE: EdgeId = EdgeId::HOST;
/// More than any round here handles.
const BOUND: u32 = 1 << 16;

/// Passes on what it gets.
#[derive(Serialize, Deserialize)]
struct Relay {
    to: QueueId<Small>,
}

impl Fsm for Relay {
    const NAME: &'static str = "relay";
    type State = ();
    type Message = Small;

    fn start(&mut self, _cx: &mut Context<'_, Relay>) {}

    fn handle(&mut self, (): (), message: Small, cx: &mut Context<'_, Relay>) -> Next<Relay> {
        cx.send(self.to, roles::pong(&message));
        Next::Stay
    }
}

/// The kinds of this program.
///
/// # Errors
/// When the library finds fault with them.
pub fn catalogue() -> Result<Arc<Catalogue>, Failure> {
    Ok(Kinds::new().with::<Relay>().seal()?)
}

/// The two workers, and the journal of both.
pub struct Relaying {
    sides: [Side; 2],
    journal: Journal,
    /// How many messages go to and fro.
    messages: u32,
    turn: usize,
}

impl Relaying {
    /// Begins: after this, the next round takes `messages` messages, and so does every other.
    ///
    /// # Errors
    /// When the library fails.
    pub fn begin(messages: u32, journal: Journal) -> Result<Relaying, Failure> {
        let catalogue = catalogue()?;
        let ((to_first, first), (to_second, second)) = (unbounded(), unbounded());
        let sides = [Side::new(0, &catalogue, first, to_second), Side::new(1, &catalogue, second, to_first)];
        let mut relaying = Relaying { sides, journal, messages, turn: 0 };
        for number in [0, 1] {
            relaying.record_start(number)?;
            relaying.put_in(number, relay_for(number)?)?;
            relaying.round_of(number, &mut |_| {})?;
        }
        relaying.put_in(0, messages_for_first(&catalogue, messages)?)?;
        Ok(relaying)
    }

    /// Puts into a worker's inbox what doesn't come from the other.
    fn put_in(&self, number: usize, batch: Batch) -> Result<(), Failure> {
        Ok(self.sides[1 - number].outbox.send(Arc::new(batch))?)
    }

    fn record_start(&self, number: usize) -> Result<(), Failure> {
        let worker = &self.sides[number].worker;
        let mut config = Vec::new();
        Codec::CURRENT.encode(worker.config(), &mut config)?;
        let (worker, epoch) = (worker.id(), worker.epoch());
        self.journal.write(&Record::WorkerStarted { worker, epoch, config: &config, request: None })?;
        Ok(())
    }

    /// Runs a round of the worker whose turn it is. `done` is told when a part of it is.
    ///
    /// # Errors
    /// When the library fails, or the round isn't of all messages.
    pub fn round(&mut self, mut done: impl FnMut(Part)) -> Result<(), Failure> {
        let handled = self.round_of(self.turn, &mut done)?;
        self.turn = 1 - self.turn;
        if handled != self.messages {
            return Err(format!("a round handled {handled} messages, and {} were under way", self.messages).into());
        }
        Ok(())
    }

    fn round_of(&mut self, number: usize, done: &mut impl FnMut(Part)) -> Result<u32, Failure> {
        let Relaying { sides, journal, .. } = self;
        let side = &mut sides[number];
        let worker = &mut side.worker;
        let round = worker.rounds() + 1;

        let taken = side.inbox.try_recv()?;
        let batch = taken.as_ref().as_ref();
        let admission = worker.admission(&[], &batch);
        if admission != (Admission::Take { skip: 0 }) {
            return Err(format!("what was put out is not what is expected: {admission:?}").into());
        }
        done(Part::Take);

        // No clock is read for this time, which only has to grow.
        let now = Time::from_nanos(round);
        journal.write(&Record::Round {
            worker: worker.id(),
            round,
            bound: BOUND,
            now,
            digest_before: side.digest,
            batches: &[batch],
        })?;
        done(Part::Write);

        worker.feed(now, [batch]);
        drop(taken);
        done(Part::Decode);

        let end = worker.round(BOUND, &mut NoPorts);
        done(Part::Handle);

        let (outbox, lent) = (&side.outbox, &mut side.lent);
        let mut sent = Ok(());
        worker.drain_outputs(|to, frames| {
            // The edge that asked for an FSM doesn't wait for the answer.
            if to.as_worker().is_some() {
                sent = outbox.send(lend(lent, frames));
            }
        });
        done(Part::Send);

        sent?;
        side.digest = end.digest;
        end.fault.map_or(Ok(end.handled), |fault| Err(fault.to_string().into()))
    }
}

/// A worker, what comes to it, and the way to the other.
struct Side {
    worker: Worker,
    digest: u64,
    inbox: Receiver<Arc<Batch>>,
    outbox: Sender<Arc<Batch>>,
    /// What was handed over last. When the other has let go of it, its buffer is used again.
    lent: Arc<Batch>,
}

impl Side {
    fn new(number: u32, catalogue: &Arc<Catalogue>, inbox: Receiver<Arc<Batch>>, outbox: Sender<Arc<Batch>>) -> Side {
        let id = WorkerId(number);
        let worker = Worker::new(catalogue.clone(), NODE, id, Epoch::FIRST, WorkerConfig::default());
        let lent = Arc::new(Batch::new(Place::worker(id), Epoch::FIRST, 1));
        Side { worker, digest: 0, inbox, outbox, lent }
    }
}

/// A place in a worker's slots. Each worker's only FSM is in slot 0, in its first generation.
fn place_in(worker: usize, generation: u32) -> Result<RawQueueId, Failure> {
    Ok(RawQueueId::new(NODE, Place::worker(WorkerId(u32::try_from(worker)?)), 0, generation))
}

/// What has a worker's FSM made, which relays to the other worker's.
fn relay_for(worker: usize) -> Result<Batch, Failure> {
    let mut batch = Batch::new(Place::edge(EDGE), Epoch::FIRST, 1);
    // First the number of the type that the answer would be of; nobody waits for it.
    let mut payload = vec![0];
    Codec::CURRENT.encode(&Relay { to: QueueId::from_raw(place_in(1 - worker, 1)?) }, &mut payload)?;
    batch.push(&Header::to(Class::Spawn, 0, place_in(worker, 0)?, edge_queue(NODE, EDGE)), &payload);
    Ok(batch)
}

/// The messages that go to and fro, for the first worker.
fn messages_for_first(catalogue: &Catalogue, messages: u32) -> Result<Batch, Failure> {
    let number = catalogue.type_number::<Small>().ok_or("the message type isn't registered")?;
    let header = Header::message(number, place_in(0, 1)?, edge_queue(NODE, EDGE));
    let mut batch = Batch::new(Place::edge(EDGE), Epoch::FIRST, 2);
    let mut payload = Vec::new();
    for message in 0..messages {
        payload.clear();
        Codec::CURRENT.encode(&Small::new(0, message), &mut payload)?;
        batch.push(&header, &payload);
    }
    Ok(batch)
}

/// Takes the frames out of `frames`, which gets the buffer that was lent before, and lends them.
fn lend(lent: &mut Arc<Batch>, frames: &mut Batch) -> Arc<Batch> {
    if Arc::get_mut(lent).is_none() {
        *lent = Arc::new(frames.clone());
    }
    let buffer = Arc::get_mut(lent).expect("it came back, or is new");
    std::mem::swap(buffer, frames);
    lent.clone()
}

/// No FSM here asks for a value from outside.
struct NoPorts;

impl Externals for NoPorts {
    fn read(&mut self, _: WorkerId, port: &str, _: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        Err(ExternalFault(format!("there is no port {port}")))
    }
}

//! A worker with two FSMs and who drives it, and the journal that its rounds are written to. All of it is the same each time.

use std::{path::Path as Dir, sync::Arc};

use qnfsm::{
    Catalogue, Codec, Context, EdgeId, Epoch, ExternalFault, Externals, Fsm, GENERATOR, Kinds, Next, NodeId, Place,
    QueueId, RawQueueId, Time, Worker, WorkerConfig, WorkerId,
    frame::{Batch, BatchRef, Class, Header, edge_queue},
    journal::{Journal, JournalOptions, Manifest, Record, RecordDraft, SegmentInfo},
};
use serde::{Deserialize, Serialize};

use crate::{Failure, memory::MemoryFiles};

/// How many frames a round has, where it has any.
pub const FRAMES_A_ROUND: u32 = 32;
/// The most messages of a round.
const BOUND: u32 = 4096;
const NODE: NodeId = NodeId(0);
const WORKER: WorkerId = WorkerId(0);
const EDGE: EdgeId = EdgeId(8);
/// The node's identity.
const IDENTITY: u128 = 1;

/// Plays with the one that it spawns, and takes notes.
#[derive(Serialize, Deserialize)]
struct Player {
    spawns: bool,
    peer: Option<QueueId<Say>>,
    noted: u64,
}

/// What players are told.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Say {
    /// Begin a rally of so many strokes.
    Serve(u32),
    /// A stroke, and how many more follow.
    Ball(u32),
    /// Note it.
    Note(u64),
}

impl Fsm for Player {
    const NAME: &'static str = "player";
    type State = ();
    type Message = Say;

    fn start(&mut self, cx: &mut Context<'_, Player>) {
        self.peer = self.spawns.then(|| cx.spawn(Player { spawns: false, peer: None, noted: 0 }));
    }

    fn handle(&mut self, (): (), said: Say, cx: &mut Context<'_, Player>) -> Next<Player> {
        match (said, self.peer) {
            (Say::Serve(strokes), Some(peer)) => cx.send(peer, Say::Ball(strokes.saturating_sub(1))),
            (Say::Ball(more), _) if more > 0 => cx.send(QueueId::from_raw(cx.sender()), Say::Ball(more - 1)),
            (Say::Note(note), _) => self.noted = self.noted.wrapping_add(note),
            (Say::Serve(_) | Say::Ball(_), _) => {}
        }
        Next::Stay
    }
}

/// The worker, driven.
pub struct Live {
    worker: Worker,
    catalogue: Arc<Catalogue>,
    batch: Batch,
    /// The worker has yet to take the batch.
    waits: bool,
    next_number: u64,
    digest: u64,
}

impl Live {
    /// A worker whose first round will begin its FSMs.
    fn unborn() -> Result<Live, Failure> {
        let catalogue = Kinds::new().with::<Player>().seal()?;
        let worker = Worker::new(catalogue.clone(), NODE, WORKER, Epoch::FIRST, config());
        let mut batch = Batch::new(Place::edge(EDGE), Epoch::FIRST, 1);
        // The answer to a spawn would be of the type with this number; nobody waits for it here.
        let mut payload = vec![0];
        Codec::CURRENT.encode(&Player { spawns: true, peer: None, noted: 0 }, &mut payload)?;
        let to = RawQueueId::new(NODE, Place::worker(WORKER), 0, 0);
        batch.push(&Header::to(Class::Spawn, 0, to, edge_queue(NODE, EDGE)), &payload);
        Ok(Live { worker, catalogue, batch, waits: true, next_number: 2, digest: 0 })
    }

    /// A worker whose FSMs are there.
    ///
    /// # Errors
    /// When the library fails, as in all that follows.
    pub fn new() -> Result<Live, Failure> {
        let mut live = Live::unborn()?;
        while live.has_work() {
            live.round()?;
        }
        Ok(live)
    }

    /// Puts a message for the first FSM into the next round.
    pub fn tell(&mut self, message: &Say) -> Result<(), Failure> {
        self.tell_all(message, 1)
    }

    /// Puts the same message in so many times.
    pub fn tell_all(&mut self, message: &Say, count: u32) -> Result<(), Failure> {
        let mut payload = Vec::new();
        Codec::CURRENT.encode(message, &mut payload)?;
        let number = self.catalogue.type_number::<Say>().ok_or("the message type isn't registered")?;
        let first = RawQueueId::new(NODE, Place::worker(WORKER), 0, 1);
        self.batch.reset(Place::edge(EDGE), Epoch::FIRST, self.next_number);
        for _ in 0..count {
            self.batch.push(&Header::message(number, first, edge_queue(NODE, EDGE)), &payload);
        }
        self.next_number = self.batch.as_ref().next_number();
        self.waits = true;
        Ok(())
    }

    /// Puts the last round's frames in again.
    pub fn again(&mut self) {
        self.batch.set_first(self.next_number);
        self.next_number = self.batch.as_ref().next_number();
        self.waits = true;
    }

    /// True while there is something to do.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.waits || !self.worker.is_idle()
    }

    /// What the next round takes.
    #[must_use]
    pub fn batch(&self) -> BatchRef<'_> {
        self.batch.as_ref()
    }

    /// The next round, as it is written down.
    #[must_use]
    pub fn record<'a>(&self, batches: &'a [BatchRef<'a>]) -> RecordDraft<'a> {
        let round = self.worker.rounds() + 1;
        Record::Round { worker: WORKER, round, bound: BOUND, now: self.now(), digest_before: self.digest, batches }
    }

    fn now(&self) -> Time {
        Time::from_nanos(1 + self.worker.rounds())
    }

    /// Runs a round.
    pub fn round(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.waits).then(|| self.batch.as_ref());
        let now = self.now();
        self.worker.feed(now, batch);
        let end = self.worker.round(BOUND, &mut NoPorts);
        self.digest = end.digest;
        end.fault.map_or(Ok(()), |fault| Err(fault.to_string().into()))
    }
}

fn config() -> WorkerConfig {
    WorkerConfig { seed: 7, ..WorkerConfig::default() }
}

/// Begins a journal for a worker's rounds.
///
/// # Errors
/// When the library fails.
pub fn journal(files: &Arc<MemoryFiles>, dir: &Dir) -> Result<Journal, Failure> {
    let manifest = Manifest::new(IDENTITY, NODE, "qnfsm-instructions", 0);
    manifest.create(&**files, dir)?;
    let info = SegmentInfo {
        codec: Codec::CURRENT.id(),
        generator: GENERATOR,
        identity: IDENTITY,
        node: NODE,
        epoch: Epoch::FIRST,
        epoch_random: 0,
        build: 0,
        build_bytes: 0,
        catalogue: Vec::new(),
        configuration: Vec::new(),
        marks_ends: false,
    };
    Ok(Journal::begin(files.clone(), dir, info, None, JournalOptions::default())?)
}

/// Records so many rounds of notes. Gives what to play them back with.
///
/// # Errors
/// When the library fails.
pub fn record(files: &Arc<MemoryFiles>, dir: &Dir, rounds: u32) -> Result<Arc<Catalogue>, Failure> {
    let journal = journal(files, dir)?;
    let mut live = Live::unborn()?;
    let mut bytes = Vec::new();
    Codec::CURRENT.encode(&config(), &mut bytes)?;
    journal.write(&Record::WorkerStarted { worker: WORKER, epoch: Epoch::FIRST, config: &bytes, request: None })?;
    while live.has_work() {
        let batch = live.waits.then(|| live.batch());
        journal.write(&live.record(batch.as_slice()))?;
        live.round()?;
    }
    live.tell_all(&Say::Note(u64::MAX / 3), FRAMES_A_ROUND)?;
    for _ in 0..rounds {
        journal.append(&live.record(&[live.batch()]))?;
        live.round()?;
        live.again();
    }
    journal.flush()?;
    Ok(live.catalogue)
}

/// No FSM here asks for a value from outside.
struct NoPorts;

impl Externals for NoPorts {
    fn read(&mut self, _: WorkerId, port: &str, _: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        Err(ExternalFault(format!("there is no port {port}")))
    }
}

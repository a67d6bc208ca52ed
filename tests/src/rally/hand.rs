//! Nodes that a test runs by hand: a worker each, with a clock that says what the test says and an edge that carries what the test carries,
//! recorded into a real directory as a node records it.

use std::{path::Path, sync::Arc};

use qnfsm::{
    Codec, EdgeId, Epoch, ExternalFault, Externals, Fsm, GENERATOR, NodeId, Place, RawQueueId, Time, Worker,
    WorkerConfig, WorkerId, build_identity,
    frame::{Batch, BatchRef, Class, Header, edge_queue},
    journal::{Journal, JournalOptions, Manifest, RealFiles, Record, SegmentInfo},
};

use rally::first;

use super::{Ball, Player, kinds, player, program};

const WORKER: WorkerId = WorkerId(0);
/// More than any round here handles.
const BOUND: u32 = 1000;

/// A frame that left a node for its edge, as the edge carries it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Who sent it.
    pub sender: RawQueueId,
    /// The node that it is for.
    pub to: NodeId,
    /// The message.
    pub payload: Vec<u8>,
}

impl Carried {
    /// One that nobody put out, for whichever node it is brought to.
    #[must_use]
    pub fn made_up(sender: RawQueueId, ball: &Ball) -> Carried {
        let mut payload = Vec::new();
        Codec::CURRENT.encode(ball, &mut payload).expect("balls are plain");
        Carried { sender, to: NodeId(0), payload }
    }
}

/// Players read nothing from outside.
struct NoPorts;

impl Externals for NoPorts {
    fn read(&mut self, _: WorkerId, _: &str, _: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        Err(ExternalFault("there are no ports".to_owned()))
    }
}

/// A node.
pub struct Hand {
    node: NodeId,
    worker: Worker,
    journal: Journal,
    /// What its host and its edge have yet to put in, and their next numbers.
    ball: u32,
    next: [u64; 2],
    digest: u64,
}

impl Hand {
    /// A new node in an empty directory, whose player hits on to that of the node `next`, and has started at `now_s`.
    #[must_use]
    pub fn new(dir: &Path, node: NodeId, next: NodeId, now_s: u64) -> Hand {
        let catalogue = kinds(node).seal().expect("the kinds are in order");
        let config = WorkerConfig::default();
        let worker = Worker::new(catalogue.clone(), node, WORKER, Epoch::FIRST, config);
        let mut configuration = Vec::new();
        Codec::CURRENT.encode(&config, &mut configuration).expect("a configuration is numbers");
        let storage = Arc::new(RealFiles);
        let identity = u128::from(node.0) + 7;
        Manifest::new(identity, node, program(node), 1).create(&*storage, dir).expect("there is room");
        let (build, build_bytes) = build_identity();
        let info = SegmentInfo {
            codec: Codec::CURRENT.id(),
            generator: GENERATOR,
            identity,
            node,
            epoch: Epoch::FIRST,
            epoch_random: 1,
            build,
            build_bytes,
            catalogue: catalogue.table().to_bytes(),
            configuration: configuration.clone(),
            marks_ends: false,
        };
        let journal = Journal::begin(storage, dir, info, None, JournalOptions::default()).expect("there is room");
        let started =
            Record::WorkerStarted { worker: WORKER, epoch: Epoch::FIRST, config: &configuration, request: None };
        journal.append(&started).expect("there is room");
        let ball = catalogue.type_number::<Ball>().expect("balls are a player's messages");
        let mut hand = Hand { node, worker, journal, ball, next: [1, 1], digest: 0 };
        let mut boot = Batch::new(Place::edge(EdgeId::BOOT), Epoch::FIRST, 1);
        let mut payload = vec![0];
        Codec::CURRENT.encode(&first(node, next), &mut payload).expect("players are plain");
        let kind = catalogue.table().kinds.iter().position(|kind| kind.name == Player::NAME).expect("it is a kind");
        let kind = u32::try_from(kind).expect("there are few");
        let header = Header::to(Class::Spawn, kind, player(node).raw(), edge_queue(node, EdgeId::BOOT));
        boot.push(&header, &payload);
        assert!(hand.round(now_s, &[boot.as_ref()]).is_empty(), "a start plays no ball");
        hand
    }

    /// The host puts a ball in at that time. Gives what leaves for other nodes.
    pub fn tell(&mut self, now_s: u64, ball: &Ball) -> Vec<Carried> {
        let sender = edge_queue(self.node, EdgeId::HOST);
        self.put(now_s, EdgeId::HOST, 0, &[Carried::made_up(sender, ball)])
    }

    /// The edge brings frames at that time, in one round. Gives what leaves for other nodes.
    pub fn bring(&mut self, now_s: u64, carried: &[Carried]) -> Vec<Carried> {
        self.put(now_s, EdgeId::FIRST_OF_USER, 1, carried)
    }

    fn put(&mut self, now_s: u64, edge: EdgeId, source: usize, carried: &[Carried]) -> Vec<Carried> {
        let mut batch = Batch::new(Place::edge(edge), Epoch::FIRST, self.next[source]);
        self.next[source] += carried.len() as u64;
        for Carried { sender, payload, .. } in carried {
            batch.push(&Header::message(self.ball, player(self.node).raw(), *sender), payload);
        }
        self.round(now_s, &[batch.as_ref()])
    }

    fn round(&mut self, now_s: u64, batches: &[BatchRef<'_>]) -> Vec<Carried> {
        let (round, now) = (self.worker.rounds() + 1, Time::from_nanos(now_s * 1_000_000_000));
        let record = Record::Round { worker: WORKER, round, bound: BOUND, now, digest_before: self.digest, batches };
        self.journal.append(&record).expect("there is room");
        self.worker.feed(now, batches.iter().copied());
        let end = self.worker.round(BOUND, &mut NoPorts);
        assert!(end.idle && end.fault.is_none(), "{end:?}");
        self.digest = end.digest;
        let mut out = Vec::new();
        self.worker.drain_outputs(|to, batch| {
            if to == Place::edge(EdgeId::FIRST_OF_USER) {
                let frames = batch.as_ref().frames().map(|frame| frame.expect("a worker put it out"));
                out.extend(frames.map(|frame| {
                    let (sender, to) = (frame.header.sender, NodeId(frame.header.slot));
                    Carried { sender, to, payload: frame.payload.to_vec() }
                }));
            }
        });
        out
    }

    /// The end of its journal.
    pub fn stop(self) {
        let mark = Record::DigestMark { worker: WORKER, round: self.worker.rounds(), digest: self.digest };
        self.journal.append(&mark).expect("there is room");
        self.journal.sync().expect("there is room");
        self.journal.close();
    }
}

//! Journals that no node recorded: workers and rounds as a test says them, so that it is known to the frame what both of two have.

use std::{fs, path::Path, sync::Arc};

use qnfsm::{
    Catalogue, Codec, EdgeId, Epoch, Message, NodeId, Place, RawQueueId, Recording, RequestId, Time, WorkerConfig,
    WorkerId,
    frame::{Batch, Class, Header},
    journal::{Journal, JournalOptions, Manifest, RealFiles, Record, SegmentInfo, segment_path},
};

/// Something that a journal says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Said {
    /// That worker is started, as that one asked.
    Starts(u32, Asks),
    /// That worker takes a frame in a round of its own.
    Takes(u32, Took),
    /// That worker has a round without anything, as where a timer fires.
    Rests(u32),
}

/// Who asks for a worker.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asks {
    Nobody,
    Host,
    Worker(u32),
}

/// A frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) source: Place,
    pub(crate) epoch: u32,
    pub(crate) number: u64,
    pub(crate) class: Class,
    pub(crate) value: u8,
}

/// A message of an edge, numbered so.
pub(crate) fn from_edge(edge: u32, number: u64) -> Took {
    Took { source: Place::edge(EdgeId(edge)), epoch: 1, number, class: Class::Message, value: 1 }
}

/// A message of a worker.
pub(crate) fn from_worker(worker: u32, number: u64) -> Took {
    Took { source: Place::worker(WorkerId(worker)), ..from_edge(0, number) }
}

/// Writes a journal of the node with that identity, of messages of type `M`.
pub(crate) fn write<M: Message>(dir: &Path, catalogue: &Catalogue, identity: u128, recording: Recording, all: &[Said]) {
    let manifest = Manifest::new(identity, NodeId(0), "written", 7);
    write_as::<M>(dir, catalogue, manifest, JournalOptions::default(), recording, all);
}

/// Likewise of that program, and of all that is said the first `given_up` are given up: each is in a segment of its own.
pub(crate) fn write_cut<M: Message>(
    dir: &Path,
    catalogue: &Catalogue,
    (program, identity): (&str, u128),
    all: &[Said],
    given_up: u64,
) {
    let manifest = Manifest::new(identity, NodeId(0), program, 7);
    let options = JournalOptions::default().segment_bytes(1);
    write_as::<M>(dir, catalogue, manifest.clone(), options, Recording::Inputs, all);
    (1..=given_up).for_each(|segment| fs::remove_file(segment_path(dir, segment)).unwrap());
    Manifest { oldest_segment: given_up + 1, ..manifest }.store(&RealFiles, dir).unwrap();
}

fn write_as<M: Message>(
    dir: &Path,
    catalogue: &Catalogue,
    manifest: Manifest,
    options: JournalOptions,
    recording: Recording,
    all: &[Said],
) {
    let identity = manifest.identity;
    manifest.create(&RealFiles, dir).unwrap();
    let mut config = Vec::new();
    Codec::CURRENT.encode(&WorkerConfig { recording, ..WorkerConfig::default() }, &mut config).unwrap();
    let info = SegmentInfo {
        codec: Codec::CURRENT.id(),
        generator: 1,
        identity,
        node: NodeId(0),
        epoch: Epoch(1),
        epoch_random: 7,
        build: 0,
        build_bytes: 0,
        catalogue: catalogue.table().to_bytes(),
        configuration: config.clone(),
        marks_ends: false,
    };
    let journal = Journal::begin(Arc::new(RealFiles), dir, info, None, options).unwrap();
    let mut rounds = [0; 8];
    for (number, said) in (1..).zip(all) {
        let (worker, batch) = match *said {
            Said::Starts(worker, asks) => {
                let place = match asks {
                    Asks::Nobody => None,
                    Asks::Host => Some(Place::edge(EdgeId(1))),
                    Asks::Worker(worker) => Some(Place::worker(WorkerId(worker))),
                };
                let request = place.map(|place| (RawQueueId::new(NodeId(0), place, 0, 1), RequestId(1)));
                let worker = WorkerId(worker);
                journal.append(&Record::WorkerStarted { worker, epoch: Epoch(1), config: &config, request }).unwrap();
                continue;
            }
            Said::Takes(worker, took) => (worker, Some(batch(worker, took, catalogue.type_number::<M>().unwrap()))),
            Said::Rests(worker) => (worker, None),
        };
        let round = &mut rounds[worker as usize];
        *round += 1;
        let batches: Vec<_> = batch.iter().map(Batch::as_ref).collect();
        // Two runs of a service have other times.
        let now = Time::from_nanos(u64::try_from(identity).unwrap() * 1_000_000 + number);
        let (worker, round) = (WorkerId(worker), *round);
        let record = Record::Round { worker, round, bound: 100, now, digest_before: round, batches: &batches[..] };
        journal.append(&record).unwrap();
    }
    journal.sync().unwrap();
}

fn batch(worker: u32, took: Took, type_number: u32) -> Batch {
    let target = RawQueueId::new(NodeId(0), Place::worker(WorkerId(worker)), 0, 1);
    let sender = RawQueueId::new(NodeId(0), took.source, 0, 1);
    let mut batch = Batch::new(took.source, Epoch(took.epoch), took.number);
    let header = Header { class: took.class, ..Header::message(type_number, target, sender) };
    batch.push(&header, &[0, took.value]);
    batch
}

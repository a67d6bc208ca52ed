//! Inputs for the fuzzers to begin with: real batches, values, journals and snapshots, small ones.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use qnfsm::{
    Codec, EdgeId, Epoch, ExternalFault, Externals, GENERATOR, NodeId, Place, QueueId, RawQueueId, RequestId, Time,
    WorkerId,
    frame::{Batch, Class, Header, edge_queue},
    journal::{
        Journal, JournalOptions, Manifest, Record, RecordDraft, SegmentInfo, Storage, segment_path,
        simulated::SimulatedDisk, snapshots,
    },
};
use serde::Serialize;

use super::{
    journals::DIR,
    script::put_part,
    stage::{self, Ports, WORKER},
    zoo::{self, Actor, Event, Op, Order, Plain, Then, To, Tree},
};

/// Where a seed stands in the corpus.
#[must_use]
pub fn corpus_file(target: &str, name: &str) -> PathBuf {
    Path::new(target).join(format!("seed-{name}"))
}

/// All seeds: target, name and bytes.
#[must_use]
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut put = |target, name: String, bytes| seeds.push((target, name, bytes));
    put("frames", "batch".to_owned(), [&[0, 255][..], batch_of_all_classes().as_ref().bytes].concat());
    put("frames", "batch-with-count".to_owned(), [&[0, 9][..], batch_of_all_classes().as_ref().bytes].concat());
    for (at, bytes) in values().into_iter().enumerate() {
        put("frames", format!("value-{at}"), [&[1][..], &bytes].concat());
    }
    for (name, session) in sessions() {
        for how in [0, 3] {
            put("frames", format!("session-{name}-{how}"), [&[2, how][..], &script_of(&session)].concat());
        }
        let recorded = Recorded::of(&session);
        recorded.put_seeds(&name, &mut put);
    }
    let hello = qnfsm_net::wire::hello();
    let frames = [&[3, 0, 0, 0][..], b"abc", &[0; 4], &[200, 0, 0, 0], &[7; 200]].concat();
    for piece in [1, 7, 255] {
        put("wire", format!("frames-{piece}"), [&[piece][..], &hello, &frames].concat());
    }
    put("wire", "too-long".to_owned(), [&[5][..], &hello, &[0xff; 9]].concat());
    put("wire", "no-hello".to_owned(), b"\x03GET / HTTP/1.1\r\n\r\n".to_vec());
    seeds
}

fn encoded<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    Codec::CURRENT.encode(value, &mut bytes).expect("a seed can be encoded");
    bytes
}

fn queue(slot: u32) -> QueueId<Order> {
    let raw = RawQueueId::new(NodeId(0), Place::worker(WORKER), slot, 1);
    QueueId::from_raw(raw)
}

fn outside() -> RawQueueId {
    edge_queue(NodeId(0), EdgeId::HOST)
}

fn number_of<M: qnfsm::Message>() -> u32 {
    zoo::catalogue().type_number::<M>().expect("the zoo knows its messages")
}

fn kind_of(name: &str) -> u32 {
    let catalogue = zoo::catalogue();
    let at = catalogue.table().kinds.iter().position(|kind| kind.name == name).expect("the zoo has that kind");
    u32::try_from(at).expect("the zoo has few kinds")
}

fn order(batch: &mut Batch, slot: u32, order: &Order) {
    batch.push(&Header::message(number_of::<Order>(), queue(slot).raw(), outside()), &encoded(order));
}

fn spawn(batch: &mut Batch, kind: &str, at_start: Vec<Op>) {
    let start_value = encoded(&Actor::<Plain>::new(at_start));
    let header = Header::to(Class::Spawn, kind_of(kind), queue(0).raw(), outside());
    batch.push(&header, &[&[0][..], &start_value].concat());
}

fn told(ops: Vec<Op>, then: Then) -> Order {
    Order::Do(ops, then)
}

fn tree() -> Tree {
    let leaves = vec![
        Tree::Leaf,
        Tree::Number(-300, 7, 1.5),
        Tree::Letter('ß'),
        Tree::Text("text".to_owned()),
        Tree::Bytes(vec![1, 2, 3]),
        Tree::Units(vec![(); 5]),
        Tree::Queue(queue(1)),
    ];
    let named = BTreeMap::from([("row".to_owned(), Tree::Row(leaves)), ("none".to_owned(), Tree::Maybe(None))]);
    Tree::Maybe(Some(Box::new(Tree::Named(named))))
}

fn deep(levels: usize) -> Tree {
    (0..levels).fold(Tree::Leaf, |inner, _| Tree::Row(vec![inner]))
}

fn batch_of_all_classes() -> Batch {
    let classes = [
        (Class::Message, encoded(&Order::Note(tree()))),
        (Class::Reply, encoded(&Tree::Leaf)),
        (Class::Failed, encoded(&qnfsm::NoReply::Gone)),
        (Class::Spawn, [&[0][..], &encoded(&Actor::<Plain>::new(vec![]))].concat()),
        (Class::Stop, vec![]),
        (Class::Watch, vec![]),
        (Class::Unwatch, vec![]),
        (Class::Down, encoded(&qnfsm::DownReason::Stopped)),
        (Class::Refused, encoded("why")),
        (Class::Spawned, encoded(&queue(1).raw())),
    ];
    let mut batch = Batch::new(Place::edge(EdgeId::HOST), Epoch::FIRST, 1);
    for (at, (class, payload)) in classes.into_iter().enumerate() {
        let header = Header {
            untrusted: at % 2 == 0,
            request: (at % 3 == 0).then_some(RequestId(1 << (at * 6))),
            ..Header::to(class, number_of::<Order>(), queue(0).raw(), outside())
        };
        batch.push(&header, &payload);
    }
    batch
}

/// Values as [`codec::value`](super::codec::value) takes them.
fn values() -> Vec<Vec<u8>> {
    let of = |which: u8, bytes: Vec<u8>| [&[which][..], &bytes].concat();
    let keyed = BTreeMap::from([("key".to_owned(), vec![(Some("some".to_owned()), vec![1u8, 2].into_boxed_slice())])]);
    let queues = vec![(QueueId::<Event>::from_raw(outside()), "host".to_owned())];
    let result: Result<Box<str>, BTreeMap<i32, Tree>> = Err(BTreeMap::from([(-5, tree())]));
    let flat =
        (true, 1u8, -2i16, 70_000u32, i64::MIN, u128::MAX, 0.5f32, f64::NAN, '界', (), [1u16, 2, 3], Some(Some(4u64)));
    vec![
        of(0, encoded(&tree())),
        of(0, encoded(&deep(18))),
        of(1, encoded(&told(vec![Op::Send(To::Me, Order::Note(tree())), Op::Draw], Then::Goto(2)))),
        of(2, encoded(&Event::Sign("sign".to_owned()))),
        of(3, encoded(&flat)),
        of(4, encoded(&keyed)),
        of(5, encoded(&vec![vec![((), [(); 4]); 3]; 2])),
        of(6, encoded(&queues)),
        of(7, encoded(&result)),
        of(7, encoded(&Ok::<Box<str>, BTreeMap<i32, Tree>>("fine".into()))),
    ]
}

/// One round of a session: its first byte, bound and step, and its frames.
type RoundSeed = (u8, u8, u8, Batch);

const TWIN: u8 = 0x10;

fn round(how: u8, bound: u8, step: u8, fill: impl FnOnce(&mut Batch)) -> RoundSeed {
    let mut batch = Batch::new(stage::source(how), Epoch::FIRST, 1);
    fill(&mut batch);
    (how, bound, step, batch)
}

/// Sessions that come through most of what a worker does.
fn sessions() -> Vec<(String, Vec<RoundSeed>)> {
    let wait = |how, bound, step| round(how, bound, step, |_| {});
    let note = || Order::Note(tree());
    let small = || told(vec![Op::Draw], Then::Stay);
    let timers = vec![
        round(0, 50, 1, |batch| {
            spawn(batch, "plain", vec![Op::Every("e".to_owned(), 100, small()), Op::After(300, note())]);
            let ops = vec![
                Op::StateTimeout(700, small()),
                Op::Timer("t".to_owned(), 90, told(vec![Op::CancelTimer("e".to_owned())], Then::Goto(3))),
                Op::OnEnter(vec![Op::SendSelf(small())]),
            ];
            order(batch, 0, &told(ops, Then::Goto(1)));
        }),
        wait(TWIN, 50, 9),
        wait(TWIN, 50, 190),
        wait(0, 50, 255),
    ];
    let requests = vec![
        round(0, 50, 1, |batch| {
            spawn(batch, "plain", vec![Op::Spawn(1, vec![]), Op::Spawn(4, vec![Op::Draw]), Op::Monitor(To::Child(0))]);
            order(batch, 0, &told(vec![Op::Request(To::Child(0), 400, None), Op::Read(4)], Then::Stay));
            order(batch, 0, &told(vec![Op::Request(To::Child(1), 500, Some(tree()))], Then::Postpone));
        }),
        round(TWIN, 50, 2, |batch| {
            order(batch, 1, &told(vec![Op::AnswerKept(Tree::Leaf), Op::Keep(tree())], Then::Goto(4)));
            order(batch, 2, &told(vec![Op::Panic], Then::Stay));
            order(batch, 0, &told(vec![Op::DeadLetters(true), Op::SpawnOn(WORKER, 60, vec![])], Then::Goto(1)));
        }),
        round(TWIN | 1, 3, 2, |batch| {
            order(batch, 1, &told(vec![], Then::Stop));
            order(batch, 0, &told(vec![Op::SpawnOn(WorkerId(9), 60, vec![]), Op::CancelRequest], Then::Unhandled));
            order(batch, 7, &note());
        }),
        wait(TWIN, 2, 200),
    ];
    let queues = vec![
        round(0, 4, 1, |batch| {
            for kind in ["oldest", "coalescing", "nothing", "restarting", "fatal"] {
                spawn(batch, kind, vec![]);
            }
            let gate = Header::to(Class::Spawn, kind_of("gate"), queue(0).raw(), outside());
            batch.push(&gate, &[&[0][..], &encoded(&zoo::Gate::default())].concat());
            for slot in 0..5 {
                order(batch, slot, &small());
            }
            let events = [Event::Coin, Event::Push, Event::Sign("open".to_owned())];
            for event in events {
                batch.push(&Header::message(number_of::<Event>(), queue(5).raw(), outside()), &encoded(&event));
            }
        }),
        round(TWIN, 3, 1, |batch| {
            for _ in 0..3 {
                order(batch, 0, &note());
                order(batch, 1, &small());
            }
            for class in [Class::Watch, Class::Stop, Class::Unwatch] {
                batch.push(&Header::to(class, 0, queue(1).raw(), outside()), &[]);
            }
            let header = Header { untrusted: true, ..Header::message(number_of::<Order>(), queue(3).raw(), outside()) };
            batch.push(&header, &encoded(&note()));
            batch.push(&header, &encoded(&Order::Note(Tree::Units(vec![(); 3]))));
        }),
        wait(TWIN, 40, 1),
        round(2, 40, 1, |batch| {
            for _ in 0..5 {
                order(batch, 4, &small());
            }
        }),
    ];
    let deep_ones = vec![
        round(0, 9, 1, |batch| {
            spawn(batch, "plain", vec![]);
            order(batch, 0, &told(vec![Op::Keep(deep(29))], Then::Stay));
        }),
        // These wait over snapshots: as deep as may be, and many elements that take no bytes.
        round(TWIN, 0, 1, |batch| order(batch, 0, &Order::Note(deep(31)))),
        round(TWIN, 0, 1, |batch| {
            for _ in 0..3 {
                order(batch, 0, &Order::Note(Tree::Units(vec![(); 1000])));
            }
        }),
        wait(TWIN, 9, 1),
    ];
    vec![
        ("deep".to_owned(), deep_ones),
        ("timers".to_owned(), timers),
        ("requests".to_owned(), requests),
        ("queues".to_owned(), queues),
    ]
}

/// A session as [`stage::run`] takes it.
fn script_of(session: &[RoundSeed]) -> Vec<u8> {
    let mut out = Vec::new();
    for (how, bound, step, batch) in session {
        out.extend_from_slice(&[*how, *bound, *step]);
        put_part(&mut out, batch.as_ref().bytes);
    }
    out
}

/// Notes what the port answered.
#[derive(Default)]
struct NotedPorts(Vec<Vec<u8>>);

impl Externals for NotedPorts {
    fn read(&mut self, worker: WorkerId, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        let answer = Ports::default().read(worker, port, question)?;
        self.0.push(answer.clone());
        Ok(answer)
    }
}

/// A session with the journal and the snapshots that a node would have made of it.
struct Recorded {
    files: Arc<SimulatedDisk>,
    images: Vec<(Vec<u8>, Vec<u8>)>,
}

const IDENTITY: u128 = 0x0102_0304_0506_0708;

impl Recorded {
    fn of(session: &[RoundSeed]) -> Recorded {
        let (files, dir) = (Arc::new(SimulatedDisk::default()), Path::new(DIR));
        let manifest = Manifest::new(IDENTITY, NodeId(0), "zoo", 5);
        manifest.create(&*files, dir).expect("memory has room");
        let info = SegmentInfo {
            codec: Codec::CURRENT.id(),
            generator: GENERATOR,
            identity: IDENTITY,
            node: NodeId(0),
            epoch: Epoch::FIRST,
            epoch_random: 5,
            build: 6,
            build_bytes: 7,
            catalogue: b"kinds".to_vec(),
            configuration: b"limits".to_vec(),
            marks_ends: false,
        };
        let options = JournalOptions::default().segment_bytes(1200);
        let storage: Arc<dyn Storage> = files.clone();
        let journal = Journal::begin(storage, dir, info, None, options).expect("memory has room");
        let write = |record: RecordDraft<'_>| journal.write(&record).expect("memory has room");
        let mut worker = stage::empty_worker(0);
        let config = encoded(worker.config());
        write(Record::WorkerStarted { worker: WORKER, epoch: Epoch::FIRST, config: &config, request: None });
        let (mut images, mut digest) = (Vec::new(), 0);
        for (at, (how, bound, step, batch)) in session.iter().enumerate() {
            let (bound, number) = (u32::from(*bound), worker.rounds() + 1);
            let now = Time::from_nanos(worker.now().as_nanos() + u64::from(*step) * 50);
            let mut batch = batch.clone();
            batch.set_first(worker.expected(stage::source(*how), Epoch::FIRST));
            let batches = if batch.is_empty() { vec![] } else { vec![batch.as_ref()] };
            let (worker_id, batches) = (WORKER, &batches[..]);
            write(Record::Round { worker: worker_id, round: number, bound, now, digest_before: digest, batches });
            worker.feed(now, batches.iter().copied());
            let mut ports = NotedPorts::default();
            let end = worker.round(bound, &mut ports);
            for answer in &ports.0 {
                write(Record::External { worker: worker_id, round: number, port: "port", answer });
            }
            let mut put_out = Vec::new();
            worker.drain_outputs(|to, batch| put_out.push((to, batch.clone())));
            if end.fault.is_some() {
                break;
            }
            digest = end.digest;
            let mut image = Vec::new();
            worker.snapshot(&mut image).expect("a seed's worker can be written");
            if at == 1 {
                let image_digest = qnfsm::StreamDigest::of(&image);
                write(Record::DigestMark { worker: worker_id, round: number, digest });
                let driver_digest = qnfsm::Digest::of(&[]);
                write(Record::SnapshotMark { worker: worker_id, round: number, digest, image_digest, driver_digest });
                journal.sync().expect("memory has room");
            }
            images.push((image, encoded(&(put_out, Vec::<(Place, Batch)>::new()))));
        }
        write(Record::DigestMark { worker: WORKER, round: worker.rounds(), digest });
        write(Record::CleanStop { epoch: Epoch::FIRST });
        journal.flush().expect("memory has room");
        Recorded { files, images }
    }

    fn put_seeds(&self, name: &str, put: &mut impl FnMut(&'static str, String, Vec<u8>)) {
        let dir = Path::new(DIR);
        let mut directory = vec![2, 0];
        put_part(&mut directory, &self.files.bytes(&dir.join("manifest")).expect("it was stored"));
        let mut records = vec![3, 0];
        for number in 1..=3 {
            let Ok(segment) = self.files.bytes(&segment_path(dir, number)) else { break };
            put("journal", format!("segment-{name}-{number}"), [&[0][..], &segment].concat());
            put("journal", format!("mended-{name}-{number}"), [&[1][..], &segment].concat());
            put_part(&mut directory, &segment);
            put_records(&mut records, &segment);
        }
        for (how, named) in [(0, "as-it-is"), (0x0f, "mended"), (0x6f, "mended-live")] {
            directory[1] = how;
            put("journal", format!("directory-{name}-{named}"), directory.clone());
        }
        for how in [0, 0x20, 0x40] {
            records[1] = how;
            put("journal", format!("records-{name}-{how}"), records.clone());
        }
        for (at, (image, driver)) in self.images.iter().enumerate() {
            let round = at as u64 + 1;
            let (epoch, catalogue) = (Epoch::FIRST, b"kinds");
            let about = snapshots::SnapshotHeader { worker: WORKER, round, epoch, identity: 1, catalogue };
            snapshots::store(self.files.clone(), dir, &about, image, driver).expect("memory has room");
            let file = self.files.bytes(&snapshots::path(dir, WORKER, round)).expect("it was stored");
            let mut named = String::new();
            write!(named, "{name}-{round}").expect("a string has room");
            put("snapshot", format!("file-{named}"), [&[0][..], &file].concat());
            put("snapshot", format!("mended-{named}"), [&[1][..], &file].concat());
            put("snapshot", format!("driver-{named}"), [&[3][..], driver].concat());
            let mut run = vec![2];
            put_part(&mut run, image);
            run.extend_from_slice(&script_of(&sessions_after()));
            put("snapshot", format!("image-{named}"), run);
        }
    }
}

/// What restored workers are told.
fn sessions_after() -> Vec<RoundSeed> {
    vec![
        round(1, 20, 4, |batch| {
            order(batch, 0, &told(vec![Op::Spawn(1, vec![]), Op::Request(To::Me, 50, None)], Then::Goto(9)));
            order(batch, 1, &told(vec![Op::Panic], Then::Stay));
        }),
        round(TWIN, 40, 250, |batch| order(batch, 2, &told(vec![], Then::Stop))),
    ]
}

/// Appends the records of a segment as [`journals::records`](super::journals::records) takes them.
fn put_records(out: &mut Vec<u8>, segment: &[u8]) {
    let length_at = |bytes: &[u8], at: usize| {
        let length = bytes[at..].first_chunk().copied().map_or(0, u32::from_le_bytes);
        usize::try_from(length).expect("seeds are short")
    };
    let (_, mut rest) = segment.split_at(24 + length_at(segment, 12));
    while !rest.is_empty() {
        let (header, behind) = rest.split_at(24);
        let (body, next) = behind.split_at(length_at(header, 8));
        out.push(header[4]);
        put_part(out, body);
        rest = next;
    }
}

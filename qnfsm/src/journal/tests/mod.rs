//! The journal's tests: a node's directory that goes away by itself, a record of each kind, and how to read it all.

mod beside;
mod damage;
mod format;
mod opening;
mod prepared;
mod repair;
mod snapshot;
mod writing;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use super::*;
use crate::{
    frame::{Batch, Header},
    id::{EdgeId, Epoch, NodeId, Place, RawQueueId, RequestId, WorkerId},
    time::Time,
};

const IDENTITY: u128 = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;
const WORKER: WorkerId = WorkerId(3);

/// A node's directory, removed when the test ends.
struct Node {
    dir: PathBuf,
}

impl Node {
    /// An empty directory.
    fn bare() -> Node {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("qnfsm-journal-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        Node { dir }
    }

    /// A directory with a manifest that allows nine epochs.
    fn new() -> Node {
        let node = Node::bare();
        let manifest = Manifest { epoch: Epoch(9), ..Manifest::new(IDENTITY, NodeId(5), "program", 77) };
        manifest.create(&RealFiles, &node.dir).unwrap();
        node
    }

    fn begin(&self, epoch: u32, after: Option<&Tail>, segment_bytes: u64) -> Journal {
        let options = JournalOptions::default().segment_bytes(segment_bytes);
        Journal::begin(Arc::new(RealFiles), &self.dir, info(epoch), after, options).unwrap()
    }

    fn reader(&self) -> Reader {
        Reader::open(Arc::new(RealFiles), &self.dir).unwrap()
    }

    fn segment(&self, number: u64) -> PathBuf {
        segment::path(&self.dir, number)
    }

    fn names(&self, dir: &str) -> Vec<String> {
        RealFiles.list(&self.dir.join(dir)).unwrap_or_default()
    }

    fn copy(&self) -> Node {
        let copy = Node::bare();
        copy_dir(&self.dir, &copy.dir);
        copy
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn info(epoch: u32) -> SegmentInfo {
    SegmentInfo {
        codec: 1,
        generator: 1,
        identity: IDENTITY,
        node: NodeId(5),
        epoch: Epoch(epoch),
        epoch_random: 0x1000 + u64::from(epoch),
        build: 0xb111_d000,
        build_bytes: 4096,
        catalogue: b"kinds".to_vec(),
        configuration: b"limits".to_vec(),
        marks_ends: false,
    }
}

fn round(round: u64) -> RecordDraft<'static> {
    let now = Time::from_nanos(round * 10);
    Record::Round { worker: WORKER, round, bound: 64, now, digest_before: round ^ 0xabcd, batches: &[] }
}

/// Hands a record of every kind to `each`.
fn every_record(mut each: impl FnMut(&RecordDraft<'_>)) {
    let queue = RawQueueId::new(NodeId(0), Place::edge(EdgeId::HOST), 300, 2);
    let mut batch = Batch::new(Place::worker(WorkerId(1)), Epoch(2), 500);
    batch.push(&Header::message(7, queue, queue), b"payload");
    batch.push(&Header::message(7, queue, queue), b"");
    let empty = Batch::new(Place::edge(EdgeId::BOOT), Epoch(1), 1);
    let batches = [batch.as_ref(), empty.as_ref()];
    let (worker, digest, now) = (WORKER, 0x1122_3344_5566_7788, Time::from_nanos(1 << 60));
    each(&Record::WorkerStarted { worker, epoch: Epoch(1), config: b"shape", request: None });
    let request = Some((queue, RequestId(u64::MAX)));
    each(&Record::WorkerStarted { worker: WorkerId(4), epoch: Epoch(1), config: b"", request });
    each(&Record::Round { worker, round: 1, bound: 9, now, digest_before: digest, batches: &batches });
    each(&Record::Deliveries { worker, round: 1, entries: b"entries" });
    each(&Record::Round { worker, round: 2, bound: u32::MAX, now, digest_before: 0, batches: &[] });
    each(&Record::External { worker, round: 2, port: "weather", answer: b"\x00\xff" });
    each(&Record::Version { worker, round: 2, name: "discount", version: 3 });
    each(&Record::DigestMark { worker, round: 2, digest });
    each(&Record::SnapshotBegun { worker, round: 2, digest });
    each(&Record::SnapshotMark { worker, round: 2, digest, image_digest: !digest, driver_digest: 7 });
    each(&Record::Configured { worker, round: 2, config: b"another shape" });
    each(&Record::SyncMark { segment: 0, offset: 77 });
    each(&Record::WorkerStopped { worker, round: 2, digest });
    each(&Record::CleanStop { epoch: Epoch(1) });
}

/// All records as text, with where they stand; and how the reading ended.
fn read(reader: &mut Reader) -> (Vec<(Position, String)>, Result<Tail, ReadError>) {
    let mut entries = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(Entry { position, record, .. })) => entries.push((position, text(&record))),
            Ok(None) => return (entries, Ok(reader.tail().expect("the end was read").clone())),
            Err(error) => return (entries, Err(error)),
        }
    }
}

fn text(record: &Record<'_>) -> String {
    match *record {
        Record::Round { worker, round, bound, now, digest_before, batches } => {
            let batches: Vec<_> = batches.collect();
            shown(&Record::Round { worker, round, bound, now, digest_before, batches: &batches })
        }
        Record::SyncMark { segment, offset } => format!("SyncMark {segment} {offset}"),
        other => format!("{other:?}"),
    }
}

fn shown(draft: &RecordDraft<'_>) -> String {
    match draft {
        Record::SyncMark { segment, offset } => format!("SyncMark {segment} {offset}"),
        _ => format!("{draft:?}"),
    }
}

/// The corruption that the reading of a damaged journal must end with.
fn corruption(node: &Node) -> Corruption {
    match read(&mut node.reader()).1 {
        Err(ReadError::Corrupt(corruption)) => corruption,
        other => panic!("expected a corruption, not {other:?}"),
    }
}

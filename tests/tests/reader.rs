//! A reader in another language, `tests/journal.py`, which was written from docs/JOURNAL_FORMAT.md, and what the library reads: they
//! find the same in the arena's journals, and in one with every kind of record.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{fmt::Write, path::Path, process::Command, sync::Arc, time::Duration};

use qnfsm::{
    Codec, Epoch, Limits, NodeBuilder, OnPoison, RawQueueId, Recording, RequestId, WorkerId,
    journal::{
        Journal, JournalOptions, Outcome, Reached, Reader, RealFiles, Record, Storage, holdings::Holdings, snapshots,
    },
};
use qnfsm_tests::cogs::{COGS, Shaft, TurnCog, kinds};

/// What the script prints.
fn by_the_page(dir: &Path) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/journal.py");
    let ran = Command::new("python3").arg(script).arg(dir).output().expect("python3 is there");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

fn show(bytes: &[u8]) -> String {
    format!("{}:{:08x}", bytes.len(), crc32fast::hash(bytes))
}

fn request(request: Option<(RawQueueId, RequestId)>) -> String {
    let numbers = |(queue, request): (RawQueueId, RequestId)| {
        let place = queue.place().to_bits();
        format!("{}/{place}/{}/{}/{}", queue.node().0, queue.slot(), queue.generation(), request.0)
    };
    request.map_or_else(|| "-".to_owned(), numbers)
}

fn reached(at: Reached) -> String {
    format!("{}/{}/{}/{}", at.delivery, at.seat.0, at.seat.1, at.values)
}

fn print(record: &Record<'_>, out: &mut String) {
    let w = |worker: WorkerId| format!("w{}", worker.0);
    match *record {
        Record::WorkerStarted { worker, epoch, config, request: asked } => {
            writeln!(out, "worker_started {} epoch={} request={} {}", w(worker), epoch.0, request(asked), show(config))
        }
        Record::WorkerStopped { worker, round, digest } => {
            writeln!(out, "worker_stopped {} {round} {digest:016x}", w(worker))
        }
        Record::Round { worker, round, bound, now, digest_before, batches } => {
            writeln!(out, "round {} {round} bound={bound} now={} {digest_before:016x}", w(worker), now.as_nanos())
                .unwrap();
            for batch in batches {
                let (source, epoch) = (batch.source.to_bits(), batch.epoch.0);
                writeln!(out, "  batch source={source} epoch={epoch} first={} count={}", batch.first, batch.count)
                    .unwrap();
                for frame in batch.frames().map(Result::unwrap) {
                    let header = frame.header;
                    let class = format!("{:?}", header.class).to_lowercase();
                    let untrusted = if header.untrusted { "!" } else { "" };
                    let sender = header.sender;
                    let from = (sender.node().0, sender.place().to_bits(), sender.slot(), sender.generation());
                    let asked = header.request.map_or_else(|| "-".to_owned(), |request| request.0.to_string());
                    write!(out, "    {class}{untrusted} type={} ", header.type_number).unwrap();
                    write!(
                        out,
                        "to={}/{} from={}/{}/{}/{}",
                        header.slot, header.generation, from.0, from.1, from.2, from.3
                    )
                    .unwrap();
                    writeln!(out, " request={asked} {}", show(frame.payload)).unwrap();
                }
            }
            Ok(())
        }
        Record::External { worker, round, port, answer } => {
            writeln!(out, "external {} {round} {port} {}", w(worker), show(answer))
        }
        Record::Version { worker, round, name, version } => {
            writeln!(out, "version {} {round} {name} {version}", w(worker))
        }
        Record::DigestMark { worker, round, digest } => {
            writeln!(out, "digest_mark {} {round} {digest:016x}", w(worker))
        }
        Record::SnapshotBegun { worker, round, digest } => {
            writeln!(out, "snapshot_begun {} {round} {digest:016x}", w(worker))
        }
        Record::Deliveries { worker, round, entries } => {
            writeln!(out, "deliveries {} {round} {}", w(worker), show(entries))
        }
        Record::SnapshotMark { worker, round, digest, image_digest, driver_digest } => {
            writeln!(out, "snapshot_mark {} {round} {digest:016x} {image_digest:016x} {driver_digest:016x}", w(worker))
        }
        Record::Configured { worker, round, config } => {
            writeln!(out, "configured {} {round} {}", w(worker), show(config))
        }
        Record::SyncMark { segment, offset } => writeln!(out, "sync_mark {segment}:{offset}"),
        Record::CleanStop { epoch } => writeln!(out, "clean_stop epoch={}", epoch.0),
        Record::Skipped { worker, round, at, stops } => {
            writeln!(out, "skipped {} {round} {} stops={}", w(worker), reached(at), u8::from(stops))
        }
        Record::Attempt { worker, round, at, outcome } => {
            let at = at.map_or_else(|| "-".to_owned(), reached);
            writeln!(out, "attempt {} {round} outcome={} {at}", w(worker), outcome as u8)
        }
        Record::WorkerKept { worker, request: asked } => {
            writeln!(out, "worker_kept {} request={}", w(worker), request(asked))
        }
        ref other => panic!("a record that this test doesn't know: {other:?}"),
    }
    .unwrap();
}

/// What the library reads, in the same words.
fn by_the_library(dir: &Path) -> String {
    let mut reader = Reader::open(Arc::new(RealFiles), dir).unwrap();
    let (mut out, mut text, mut segment) = (String::new(), String::new(), 0);
    while let Some(entry) = reader.next().unwrap() {
        let position = entry.position;
        text.clear();
        print(&entry.record, &mut text);
        let header = reader.header().unwrap();
        if header.segment != segment {
            segment = header.segment;
            let info = &header.info;
            let link = header.link.map_or_else(
                || "0/0/0/0".to_owned(),
                |link| format!("{}/{}/{}/{}", 1 + u8::from(link.synced), link.segment, link.bytes, link.chain),
            );
            write!(out, "segment {segment} codec={} generator={} {:032x} ", info.codec, info.generator, info.identity)
                .unwrap();
            writeln!(out, "node={} epoch={} {:016x}", info.node.0, info.epoch.0, info.epoch_random).unwrap();
            write!(out, "  build={:016x}/{} link={link} ", info.build, info.build_bytes).unwrap();
            writeln!(out, "{} {}", show(&info.catalogue), show(&info.configuration)).unwrap();
        }
        write!(out, "{}:{} {text}", position.segment, position.offset).unwrap();
    }
    let end = reader.position();
    writeln!(out, "end {}:{}", end.segment, end.offset).unwrap();
    let identity = reader.manifest().identity;
    for (worker, round) in Holdings::look(&RealFiles, dir).unwrap().snapshots.into_keys() {
        let snapshot = snapshots::load(&RealFiles, dir, identity, worker, round).unwrap();
        let [catalogue, image, driver] = [snapshot.catalogue(), snapshot.image(), snapshot.driver()].map(show);
        writeln!(out, "snapshot w{} {round} {catalogue} {image} {driver}", worker.0).unwrap();
    }
    out
}

fn compare(dir: &Path) -> String {
    let (page, library) = (by_the_page(dir), by_the_library(dir));
    for (number, (page, library)) in page.lines().zip(library.lines()).enumerate() {
        assert_eq!(page, library, "line {}", number + 1);
    }
    assert_eq!(page.lines().count(), library.lines().count());
    page
}

/// `QNFSM_READ=<dir> cargo test -p qnfsm-tests --test reader` compares what both find in that directory.
#[test]
fn both_find_the_same_in_a_directory_that_is_given() {
    if let Some(dir) = std::env::var_os("QNFSM_READ") {
        let text = compare(dir.as_ref());
        assert!(text.lines().count() > 1000, "too little to tell anything");
    }
}

#[test]
fn both_find_the_same_in_a_recorded_run() {
    for recording in [Recording::Inputs, Recording::Everything] {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits {
            segment_bytes: 20_000,
            snapshot_every_bytes: 20_000,
            retain_bytes: Some(200_000),
            ..Limits::default()
        };
        for _ in 0..2 {
            let builder = NodeBuilder::new("cogs", kinds()).dir(dir.path()).recording(recording).limits(limits);
            let node = builder.on_poison(OnPoison::SkipMessage).start(&Shaft::new(None)).unwrap();
            for turn in 0..200 {
                let cog = turn % COGS;
                let turned = node.host().request(node.root(), Duration::from_secs(30), |reply| TurnCog { cog, reply });
                let _: u64 = turned.unwrap();
            }
            node.stop().unwrap();
        }
        let text = compare(dir.path());
        assert!(text.lines().filter(|line| line.contains(" round w")).count() > 100, "{text}");
        for what in ["    message", "snapshot_mark", "sync_mark", "clean_stop", "snapshot w0"] {
            assert!(text.contains(what), "no {what}");
        }
    }
}

#[test]
fn both_find_the_same_in_a_journal_with_every_kind_of_record() {
    let dir = tempfile::tempdir().unwrap();
    NodeBuilder::new("cogs", kinds()).dir(dir.path()).start(&Shaft::new(None)).unwrap().stop().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(RealFiles);
    let mut reader = Reader::open(storage.clone(), dir.path()).unwrap();
    while reader.next().unwrap().is_some() {}
    let (tail, info) = (reader.tail().unwrap().clone(), reader.header().unwrap().info.clone());
    let manifest = reader.manifest().clone();
    drop(reader);
    let (epoch, epoch_random) = (Epoch(manifest.epoch.0 + 1), 77);
    qnfsm::journal::Manifest { epoch, epoch_random, ..manifest }.store(&*storage, dir.path()).unwrap();
    let info = qnfsm::journal::SegmentInfo { epoch, epoch_random, ..info };
    let options = JournalOptions::default().segment_bytes(1).prepared(true);
    let journal = Journal::begin(storage, dir.path(), info, Some(&tail), options).unwrap();
    let (worker, round) = (WorkerId(300), 1 << 40);
    let queue = RawQueueId::new(qnfsm::NodeId(7), qnfsm::Place::worker(WorkerId(2)), 130, 9);
    let asked = Some((queue, RequestId(1 << 60)));
    let at = Reached { delivery: 1000, seat: (3, 200), values: 1 << 33 };
    let mut config = Vec::new();
    Codec::CURRENT.encode(&qnfsm::WorkerConfig::default(), &mut config).unwrap();
    for record in [
        Record::WorkerStarted { worker, epoch, config: &config, request: asked },
        Record::WorkerStopped { worker, round, digest: 5 },
        Record::External { worker, round, port: "würfel", answer: b"four" },
        Record::Version { worker, round, name: "rabatt für alle", version: 300 },
        Record::Deliveries { worker, round, entries: b"none" },
        Record::Configured { worker, round, config: &config },
        Record::Skipped { worker, round, at, stops: true },
        Record::Attempt { worker, round, at: Some(at), outcome: Outcome::TimedOut },
        Record::Attempt { worker, round, at: None, outcome: Outcome::GoesOn },
        Record::WorkerKept { worker, request: asked },
        Record::WorkerKept { worker, request: None },
    ] {
        journal.write(&record).unwrap();
        journal.sync().unwrap();
    }
    journal.close();
    let text = compare(dir.path());
    for what in
        ["worker_stopped", "external", "skipped", "attempt", "worker_kept", "worker_started w300", "link=1/", "link=2/"]
    {
        assert!(text.contains(what), "no {what} in {text}");
    }
}

//! `verify` holds what a journal's records say against one another: each contradiction that passes every checksum is found.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{path::Path, sync::Arc};

use qnfsm::{
    Codec, EdgeId, Epoch, Kinds, NodeId, Place, RawQueueId, Time, WorkerConfig, WorkerId,
    frame::{Batch, BatchRef, Header},
    journal::{Journal, JournalOptions, Manifest, RealFiles, Record, RecordDraft, SegmentInfo, Storage},
};
use qnfsm_replay::{
    ReplayError,
    describe::{self, describe},
    verify::{Options, Verified, verify},
};

const WORKER: WorkerId = WorkerId(0);

fn config() -> Vec<u8> {
    let mut bytes = Vec::new();
    Codec::CURRENT.encode(&WorkerConfig::default(), &mut bytes).unwrap();
    bytes
}

fn info(codec: u8, catalogue: Vec<u8>) -> SegmentInfo {
    SegmentInfo {
        codec,
        generator: 1,
        identity: 7,
        node: NodeId(0),
        epoch: Epoch(1),
        epoch_random: 9,
        build: 1,
        build_bytes: 2,
        catalogue,
        configuration: Vec::new(),
        marks_ends: false,
    }
}

/// A node's directory with a journal of these records.
fn journal(dir: &Path, records: &[RecordDraft<'_>]) {
    let storage: Arc<dyn Storage> = Arc::new(RealFiles);
    let manifest = Manifest::new(7, NodeId(0), "contradicting", 9);
    manifest.create(&*storage, dir).unwrap();
    let info = info(1, Kinds::new().message::<u64>().seal().unwrap().table().to_bytes());
    let journal = Journal::begin(storage, dir, info, None, JournalOptions::default()).unwrap();
    records.iter().for_each(|record| _ = journal.write(record).unwrap());
    journal.sync().unwrap();
    journal.close();
}

fn verified(records: &[RecordDraft<'_>]) -> Verified {
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), records);
    verify(dir.path(), &Options::new(), |_, _| {}).unwrap()
}

fn round<'b>(round: u64, digest_before: u64, batches: &'b [BatchRef<'b>]) -> RecordDraft<'b> {
    Record::Round { worker: WORKER, round, bound: 1, now: Time::from_nanos(round), digest_before, batches }
}

/// A batch of the host's with so many frames from that number on.
fn batch(first: u64, frames: usize) -> Batch {
    let edge = Place::edge(EdgeId::HOST);
    let mut batch = Batch::new(edge, Epoch(1), first);
    let queue = RawQueueId::new(NodeId(0), Place::worker(WORKER), 3, 1);
    (0..frames).for_each(|_| batch.push(&Header::message(0, queue, RawQueueId::new(NodeId(0), edge, 0, 1)), b"\x07"));
    batch
}

#[test]
fn each_contradiction_is_found_where_it_stands_and_a_journal_without_one_is_sound() {
    let config = config();
    let (first, next, late) = (batch(1, 3), batch(3, 2), batch(7, 1));
    let (first, next, late) = ([first.as_ref()], [next.as_ref()], [late.as_ref()]);
    let cut = [BatchRef { bytes: &first[0].bytes[..9], ..first[0] }];
    let started = Record::WorkerStarted { worker: WORKER, epoch: Epoch(1), config: &config, request: None };
    let mark = |round, digest| Record::DigestMark { worker: WORKER, round, digest };
    let sound = [started, round(1, 5, &first), mark(1, 6), round(2, 6, &next), mark(2, 8)];
    let found = verified(&sound);
    assert!(found.sound && found.findings.is_empty(), "{:?}", found.findings);
    assert_eq!((found.rounds.0, found.frames.0), (2, 5), "a frame that comes again is no gap");

    let other = WorkerId(1);
    let stopped = Record::WorkerStopped { worker: WORKER, round: 2, digest: 8 };
    let cases: [(RecordDraft<'_>, &str); 10] = [
        (round(4, 8, &[]), "the worker's next round is 3"),
        (round(2, 8, &[]), "the worker's next round is 3"),
        (round(3, 9, &[]), "another one than that round's mark has"),
        (round(3, 8, &late), "begins with frame 7 where 5 is next"),
        (round(3, 8, &cut), "a batch of e1: frame at byte"),
        (mark(1, 6), "the worker's last round is 2"),
        (Record::DigestMark { worker: other, round: 1, digest: 0 }, "nothing says that the worker was started"),
        (started, "started a second time"),
        (Record::Configured { worker: WORKER, round: 2, config: b"\xff" }, "configuration can't be read"),
        (Record::Deliveries { worker: WORKER, round: 2, entries: b"\x01" }, "a delivery can't be read"),
    ];
    for (record, what) in cases {
        let found = verified(&[&sound[..], &[record]].concat());
        assert!(!found.sound, "{what}");
        let finding = &found.findings[0];
        assert!(finding.damage && finding.what.contains(what), "{what}: {:?}", found.findings);
        assert!(finding.offset.is_some() && finding.worker.is_some(), "{finding}");
        assert!(finding.next.as_ref().is_some_and(|next| next.contains("qnfsm dump")), "{finding:?}");
        assert_eq!(found.findings.len(), 1, "{what}: {:?}", found.findings);
    }
    let found = verified(&[&sound[..], &[stopped, mark(2, 8)]].concat());
    assert!(found.findings[0].what.contains("was stopped before"), "{:?}", found.findings);
    let ahead = Record::SyncMark { segment: 1, offset: 1 << 40 };
    let found = verified(&[&sound[..], &[ahead]].concat());
    assert!(!found.sound && found.findings.iter().any(|it| it.what.contains("it is on disk")), "{:?}", found.findings);
}

#[test]
fn bytes_that_are_no_frames_are_remarked_on_and_not_counted() {
    let (config, whole) = (config(), batch(1, 3));
    let started = Record::WorkerStarted { worker: WORKER, epoch: Epoch(1), config: &config, request: None };
    let cut = [BatchRef { bytes: &whole.as_ref().bytes[..9], ..whole.as_ref() }];
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), &[started, round(1, 0, &cut)]);
    let described = describe(dir.path(), &describe::Options::new(), |_, _| {}).unwrap();
    assert!(
        described.damage.is_none() && described.remarks[0].contains("`verify` says where"),
        "{:?}",
        described.remarks
    );
}

#[test]
fn a_newer_version_is_told_apart_from_damage() {
    let dir = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(RealFiles);
    Manifest::new(7, NodeId(0), "newer", 9).create(&*storage, dir.path()).unwrap();
    let journal = Journal::begin(storage, dir.path(), info(77, Vec::new()), None, JournalOptions::default()).unwrap();
    journal.write(&Record::CleanStop { epoch: Epoch(1) }).unwrap();
    journal.close();
    assert!(matches!(verify(dir.path(), &Options::new(), |_, _| {}), Err(ReplayError::Unsupported(_))));
}

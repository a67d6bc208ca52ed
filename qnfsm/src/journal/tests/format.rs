//! Bytes: each record comes back as it was written, one segment's bytes are frozen, and no bytes make a reader panic.

use proptest::prelude::*;

use super::*;

#[test]
fn every_record_comes_back_as_it_was_written() {
    let node = Node::new();
    let journal = node.begin(1, None, SEGMENT_BYTES_DEFAULT);
    let mut written = Vec::new();
    every_record(|draft| {
        written.push((journal.position(), shown(draft)));
        journal.write(draft).unwrap();
    });
    let end = journal.position();
    drop(journal);

    let mut reader = node.reader();
    let (entries, tail) = read(&mut reader);
    assert_eq!(entries, written);
    assert_eq!(reader.header().unwrap().info, info(1));
    let tail = tail.unwrap();
    assert_eq!((tail.last.unwrap().position(), tail.lost), (end, None));
}

#[test]
fn an_excerpt_holds_the_records_that_were_put_in_as_they_were_read() {
    let node = Node::new();
    let journal = node.begin(1, None, 300);
    every_record(|draft| {
        journal.write(draft).unwrap();
    });
    drop(journal);
    let mut excerpt = Excerpt::default();
    for parity in [0, 1] {
        excerpt.clear();
        assert!(excerpt.is_empty());
        let (mut reader, mut copied) = (node.reader(), Vec::new());
        for number in 0.. {
            let Some(entry) = reader.next().unwrap() else { break };
            if number % 2 == parity {
                excerpt.push(&entry);
                copied.push((entry.position, text(&entry.record)));
            }
        }
        let entries: Vec<_> = excerpt.entries().map(|entry| (entry.position, text(&entry.record))).collect();
        assert_eq!(entries, copied);
        assert!(entries.len() >= 6 && excerpt.bytes() > 0);
    }
}

#[test]
fn reading_goes_on_from_any_record() {
    let node = Node::new();
    let journal = node.begin(1, None, 300);
    every_record(|draft| {
        journal.write(draft).unwrap();
    });
    drop(journal);
    let (entries, _) = read(&mut node.reader());
    assert!(entries.last().unwrap().0.segment > 2, "the test needs several segments");
    for (index, (position, _)) in entries.iter().enumerate() {
        let mut reader = Reader::open_at(Arc::new(RealFiles), &node.dir, *position).unwrap();
        assert_eq!(read(&mut reader).0, entries[index..]);
        let beside = Position { offset: position.offset + 1, ..*position };
        assert!(matches!(node.reader().seek(beside), Err(ReadError::Misuse(_))));
    }
}

#[test]
fn a_segment_has_the_bytes_that_the_documentation_says() {
    let node = Node::new();
    let journal = node.begin(1, None, SEGMENT_BYTES_DEFAULT);
    let queue = RawQueueId::new(NodeId(0), Place::edge(EdgeId::HOST), 1, 1);
    let mut batch = Batch::new(Place::edge(EdgeId::HOST), Epoch(1), 1);
    batch.push(&Header::message(2, queue, queue), b"hi");
    let (worker, now) = (WorkerId(0), Time::from_nanos(1000));
    journal.write(&Record::WorkerStarted { worker, epoch: Epoch(1), config: b"c", request: None }).unwrap();
    let batches = [batch.as_ref()];
    journal.write(&Record::Round { worker, round: 1, bound: 200, now, digest_before: 1, batches: &batches }).unwrap();
    journal.write(&Record::CleanStop { epoch: Epoch(1) }).unwrap();
    let bytes = fs::read(node.segment(1)).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN.replace(char::is_whitespace, ""));
    assert_eq!(fuzzing::read_segment_bytes(&bytes), (3, None));
}

/// A segment of format version 1. Journals that were written so must open for ever.
const GOLDEN: &str = "
    514e46534d1a6a6c0100000060000000b7b666ccac0032ae010100000000000102030405060708090a0b0c0d0e0f0500
    000001000000011000000000000000d011b1000000000010000000000000010000000000000000000000000000000000
    0000000000000000000000056b696e6473066c696d697473f5516ea70100000005000000ac0032aedb913eb3e9fd88a0
    0001000163f5516ea7030000001f0000007bde3a10ec20b15f1b1bb3420001c801e80701000000000000000103010101
    0b0002020101000301016869f5516ea70a0000000100000068b3f2791bdf05a50750ff0901
";

#[test]
fn a_record_of_a_later_version_is_refused_unless_it_may_be_skipped() {
    // The second of three records becomes one of kind 99, with and without the flag; the checksums are made anew.
    for (flags, skipped) in [(0x00, false), (0x01, true), (0x02, false)] {
        let node = Node::new();
        let journal = node.begin(1, None, SEGMENT_BYTES_DEFAULT);
        journal.write(&round(1)).unwrap();
        let at = journal.position();
        journal.write(&round(2)).unwrap();
        drop(journal);
        let path = node.segment(1);
        let mut bytes = fs::read(&path).unwrap();
        let start = usize::try_from(at.offset).unwrap();
        bytes[start + 4] = 99;
        bytes[start + 5] = flags;
        let mut sealed = IDENTITY.to_le_bytes().to_vec();
        sealed.extend_from_slice(&at.segment.to_le_bytes());
        sealed.extend_from_slice(&at.offset.to_le_bytes());
        sealed.extend_from_slice(&bytes[start..start + 20]);
        bytes[start + 20..start + 24].copy_from_slice(&crc32fast::hash(&sealed).to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        let (entries, end) = read(&mut node.reader());
        assert_eq!(entries.len(), 1);
        match end {
            Ok(tail) => assert!(skipped && tail.lost.is_none()),
            Err(ReadError::Unsupported(error)) => assert!(!skipped && error.offset == at.offset),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_record_that_is_too_long_is_the_callers_mistake_and_changes_nothing() {
    let node = Node::new();
    let journal = node.begin(1, None, SEGMENT_BYTES_DEFAULT);
    let entries = vec![0; RECORD_BODY_BYTES_MAX];
    let before = journal.position();
    let result = journal.write(&Record::Deliveries { worker: WORKER, round: 1, entries: &entries });
    assert!(matches!(result, Err(JournalError::Misuse(_))));
    assert_eq!(journal.position(), before);
    journal.write(&round(1)).unwrap();
    assert_eq!(read(&mut node.reader()).0.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0_u8..20) {
        let _ = fuzzing::read_segment_bytes(&bytes);
        let _ = snapshots::read_snapshot_bytes(&bytes);
        if let Ok(Record::Round { batches, .. }) = Record::decode(kind, &bytes) {
            batches.for_each(|batch| { let _ = batch.frames().count(); });
        }
    }

    #[test]
    fn no_changed_segment_makes_a_reader_panic(at in any::<prop::sample::Index>(), new in any::<[u8; 5]>()) {
        let golden = GOLDEN.replace(char::is_whitespace, "");
        let mut bytes: Vec<u8> = (0..golden.len() / 2)
            .map(|index| u8::from_str_radix(&golden[2 * index..2 * index + 2], 16).unwrap())
            .collect();
        let start = at.index(bytes.len() - new.len());
        let changed = bytes[start..start + new.len()] != new;
        bytes[start..start + new.len()].copy_from_slice(&new);
        prop_assert_eq!(fuzzing::read_segment_bytes(&bytes).1.is_some(), changed);
    }
}

#[test]
fn a_number_that_is_too_large_is_told_from_another_form() {
    use crate::spelt::TOO_LARGE;
    let large = "9".repeat(30);
    for text in
        [format!("w0/{large}.1"), format!("w{large}/0.1"), format!("n{large}:e1/0.1"), "w2147483648/0.1".to_owned()]
    {
        let error = text.parse::<RawQueueId>().expect_err("it is too large").to_string();
        assert_eq!(error, format!("`{text}` {TOO_LARGE}"));
    }
    for text in [format!("1:{large}"), format!("{large}:0")] {
        let error = text.parse::<Position>().expect_err("it is too large").to_string();
        assert_eq!(error, format!("`{text}` {TOO_LARGE}"));
    }
    for text in [format!("w0/{large}"), format!("x{large}/0.1"), "w0/-1.1".to_owned(), String::new()] {
        let error = text.parse::<RawQueueId>().expect_err("it is none").to_string();
        assert!(error.contains("is no queue") && error.contains("w0/7.1"), "{error}");
        let error = text.parse::<Position>().expect_err("it is none").to_string();
        assert!(error.contains("is no position") && error.contains("3:4711"), "{error}");
    }
}

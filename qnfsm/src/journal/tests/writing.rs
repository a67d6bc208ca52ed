//! Writing: threads together, segments one after another, syncs beside writes, and disks that fail.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::{
    faulty::{FaultyFiles, Operation},
    *,
};

fn faulty(node: &Node, segment_bytes: u64) -> (FaultyFiles, Journal) {
    let files = FaultyFiles::new(Arc::new(RealFiles));
    let options = JournalOptions::default().segment_bytes(segment_bytes);
    let journal = Journal::begin(Arc::new(files.clone()), &node.dir, info(1), None, options).unwrap();
    (files, journal)
}

/// Waits for another thread to have come somewhere.
fn wait_until(reached: impl Fn() -> bool) {
    for _ in 0..100_000_000_u64 {
        if reached() {
            return;
        }
        thread::yield_now();
    }
    panic!("it never happened");
}

fn round_of(worker: u32, round: u64) -> RecordDraft<'static> {
    let (worker, now) = (WorkerId(worker), Time::ZERO);
    Record::Round { worker, round, bound: 1, now, digest_before: round, batches: &[] }
}

#[test]
fn what_many_threads_write_is_all_there_each_in_its_order() {
    let node = Node::new();
    let journal = node.begin(1, None, 2000);
    thread::scope(|scope| {
        for worker in 0..4 {
            let journal = journal.clone();
            scope.spawn(move || {
                for round in 1..=300 {
                    journal.write(&round_of(worker, round)).unwrap();
                    if round % 50 == u64::from(worker) {
                        journal.sync().unwrap();
                    }
                }
            });
        }
    });
    drop(journal);
    let mut reader = node.reader();
    let mut rounds = [0; 4];
    while let Some(entry) = reader.next().unwrap() {
        if let Record::Round { worker, round, .. } = entry.record {
            let last = &mut rounds[usize::try_from(worker.0).unwrap()];
            assert_eq!(round, *last + 1);
            *last = round;
        }
    }
    assert_eq!(rounds, [300; 4]);
    assert_eq!(reader.tail().unwrap().lost, None);
}

#[test]
fn what_gathers_during_a_write_goes_in_one_write() {
    let node = Node::new();
    let (files, journal) = faulty(&node, SEGMENT_BYTES_DEFAULT);
    let writes = || files.count(Operation::Write);
    assert_eq!(writes(), 1, "the header");
    files.hold(Operation::Write);
    thread::scope(|scope| {
        let write = |worker| {
            let before = journal.position();
            let clone = journal.clone();
            scope.spawn(move || clone.write(&round_of(worker, 1)).unwrap());
            wait_until(|| journal.position() > before);
        };
        write(0);
        wait_until(|| writes() == 2);
        (1..6).for_each(write);
        files.release();
    });
    assert_eq!(writes(), 3, "one for the first, one for the five that came meanwhile");
    assert_eq!(read(&mut node.reader()).0.len(), 6);
}

#[test]
fn a_sync_does_not_hold_up_writers_and_says_only_what_it_synced() {
    let node = Node::new();
    let (files, journal) = faulty(&node, SEGMENT_BYTES_DEFAULT);
    journal.write(&round(1)).unwrap();
    let synced = journal.position();
    let syncs = files.count(Operation::Sync);
    files.hold(Operation::Sync);
    thread::scope(|scope| {
        let sync = scope.spawn(|| journal.sync().unwrap());
        wait_until(|| files.count(Operation::Sync) > syncs);
        journal.write(&round(2)).unwrap();
        assert!(!sync.is_finished());
        files.release();
    });
    assert_eq!(journal.synced(), synced);
    journal.write(&round(3)).unwrap();
    let (entries, _) = read(&mut node.reader());
    assert_eq!(entries[2].1, format!("SyncMark {} {}", synced.segment, synced.offset));
}

#[test]
fn a_closed_journal_has_all_that_was_appended_and_takes_and_writes_nothing_more() {
    let node = Node::new();
    let journal = node.begin(1, None, SEGMENT_BYTES_DEFAULT);
    let kept = journal.clone();
    journal.write(&round(1)).unwrap();
    journal.sync().unwrap();
    journal.append(&round(2)).unwrap();
    journal.close();
    let closed = read(&mut node.reader());
    assert_eq!(closed.0.len(), 3, "two rounds, and the mark of the sync between them");
    for refused in [kept.write(&round(3)).map(drop), kept.append(&round(3)).map(drop), kept.flush(), kept.sync()] {
        assert!(matches!(refused, Err(JournalError::Misuse(_))), "{refused:?}");
    }
    journal.close();
    drop((journal, kept));
    assert_eq!(read(&mut node.reader()).0, closed.0);
}

#[test]
fn who_closes_a_journal_waits_for_the_write_that_is_under_way() {
    let node = Node::new();
    let (files, journal) = faulty(&node, SEGMENT_BYTES_DEFAULT);
    let writes = files.count(Operation::Write);
    files.hold(Operation::Write);
    let begun = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| journal.write(&round(1)).unwrap());
        wait_until(|| files.count(Operation::Write) > writes);
        let written = journal.bytes_written();
        let close = scope.spawn(|| {
            begun.store(true, Ordering::Relaxed);
            journal.close();
            journal.bytes_written()
        });
        wait_until(|| begun.load(Ordering::Relaxed));
        // A close that doesn't wait has ended soon after.
        (0..10_000).for_each(|_| thread::yield_now());
        files.release();
        assert!(close.join().unwrap() > written);
    });
    assert_eq!(read(&mut node.reader()).0.len(), 1);
}

#[test]
fn an_idle_journal_is_not_synced_for_its_own_marks() {
    let node = Node::new();
    let (files, journal) = faulty(&node, SEGMENT_BYTES_DEFAULT);
    journal.write(&round(1)).unwrap();
    journal.sync().unwrap();
    let (bytes, syncs) = (journal.bytes_written(), files.count(Operation::Sync));
    (0..5).for_each(|_| journal.sync().unwrap());
    assert_eq!(files.count(Operation::Sync), syncs);
    journal.flush().unwrap();
    journal.sync().unwrap();
    assert_eq!(files.count(Operation::Sync), syncs);
    assert!(journal.bytes_written() > bytes, "the mark went with the flush");
}

#[test]
fn appended_records_go_with_the_next_write_or_with_the_last_clone() {
    let node = Node::new();
    let (files, journal) = faulty(&node, SEGMENT_BYTES_DEFAULT);
    journal.append(&round(1)).unwrap();
    journal.append(&round(2)).unwrap();
    assert_eq!(files.count(Operation::Write), 1);
    journal.write(&round(3)).unwrap();
    assert_eq!(files.count(Operation::Write), 2);
    journal.append(&round(4)).unwrap();
    drop(journal);
    assert_eq!(read(&mut node.reader()).0.len(), 4);
}

#[test]
fn segments_follow_one_another_at_the_length_that_was_asked_for() {
    let node = Node::new();
    let journal = node.begin(1, None, 500);
    for number in 1..=100 {
        journal.append(&round(number)).unwrap();
    }
    journal.sync().unwrap();
    drop(journal);
    let segments = node.names("journal");
    assert!(segments.len() > 5);
    for (index, name) in segments.iter().enumerate() {
        assert_eq!(*name, format!("{:08}.qjl", index + 1));
        let bytes = fs::metadata(node.dir.join("journal").join(name)).unwrap().len();
        assert!(bytes < 600 && (bytes >= 500 || index + 1 == segments.len()), "{name} has {bytes} bytes");
    }
    let (entries, tail) = read(&mut node.reader());
    assert_eq!((entries.len(), tail.unwrap().lost), (101, None));
}

#[test]
fn after_a_failed_write_every_call_fails_and_what_was_written_before_is_there() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        let node = Node::new();
        let (files, journal) = faulty(&node, SEGMENT_BYTES_DEFAULT);
        journal.write(&round(1)).unwrap();
        files.fail(Operation::Write, 1, kind);
        let first = journal.write(&round(2)).unwrap_err();
        assert!(matches!(&first, JournalError::Io(error) if error.source.kind() == kind));
        let writes = files.count(Operation::Write);
        let write = journal.write(&round(3)).map(drop);
        for again in [write, journal.append(&round(3)).map(drop), journal.flush(), journal.clone().sync()] {
            assert_eq!(again.unwrap_err().to_string(), first.to_string());
        }
        drop(journal);
        assert_eq!(files.count(Operation::Write), writes, "nothing is tried again");
        let (entries, tail) = read(&mut node.reader());
        let tail = tail.unwrap();
        assert_eq!(entries.len(), 1);
        assert!(tail.lost.is_some(), "half of the second record was written");
        node.begin(2, Some(&tail), 1).write(&round(2)).unwrap();
        assert_eq!(read(&mut node.reader()).0.len(), 2);
    }
}

#[test]
fn after_a_failed_sync_every_call_fails_and_no_mark_says_otherwise() {
    let node = Node::new();
    let (files, journal) = faulty(&node, SEGMENT_BYTES_DEFAULT);
    journal.write(&round(1)).unwrap();
    files.fail(Operation::Sync, 1, io::ErrorKind::Other);
    journal.sync().unwrap_err();
    journal.sync().unwrap_err();
    journal.write(&round(2)).unwrap_err();
    drop(journal);
    let (entries, tail) = read(&mut node.reader());
    assert_eq!((entries.len(), tail.unwrap().lost), (1, None));
}

#[test]
fn a_segment_that_cannot_be_made_stops_the_journal() {
    let node = Node::new();
    let (files, journal) = faulty(&node, 1);
    files.fail(Operation::Create, 2, io::ErrorKind::StorageFull);
    journal.write(&round(1)).unwrap();
    journal.write(&round(2)).unwrap();
    journal.write(&round(3)).unwrap_err();
    journal.write(&round(4)).unwrap_err();
    drop(journal);
    let (entries, tail) = read(&mut node.reader());
    assert_eq!((entries.len(), tail.unwrap().lost), (2, None));
}

#[test]
fn everybody_who_waits_hears_of_a_failed_write() {
    let node = Node::new();
    let (files, journal) = faulty(&node, SEGMENT_BYTES_DEFAULT);
    files.fail(Operation::Write, 1, io::ErrorKind::StorageFull);
    files.hold(Operation::Write);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|worker| {
                let before = journal.position();
                let clone = journal.clone();
                let thread = scope.spawn(move || clone.write(&round_of(worker, 1)));
                wait_until(|| journal.position() > before);
                thread
            })
            .collect();
        files.release();
        for thread in threads {
            thread.join().unwrap().unwrap_err();
        }
    });
}

#[test]
fn an_epoch_begins_behind_what_was_read_or_not_at_all() {
    let node = Node::new();
    let begin = |epoch, after: Option<&Tail>| {
        Journal::begin(Arc::new(RealFiles), &node.dir, info(epoch), after, JournalOptions::default())
    };
    let journal = begin(1, None).unwrap();
    journal.write(&round(1)).unwrap();
    assert!(matches!(begin(2, None), Err(JournalError::Misuse(_))), "there are segments");
    let tail = read(&mut node.reader()).1.unwrap();
    assert!(matches!(begin(1, Some(&tail)), Err(JournalError::Misuse(_))), "the epoch was there");
    journal.write(&round(2)).unwrap();
    assert!(matches!(begin(2, Some(&tail)), Err(JournalError::Misuse(_))), "the journal went on");
    let tail = read(&mut node.reader()).1.unwrap();
    begin(2, Some(&tail)).unwrap();
    assert!(matches!(begin(3, Some(&tail)), Err(JournalError::Misuse(_))), "another began");
    let mut reader = node.reader();
    read(&mut reader).1.unwrap();
    let link = reader.header().unwrap().link.unwrap();
    assert_eq!((link.position(), link.synced), (tail.last.unwrap().position(), true));
}

#[test]
fn a_sync_mark_begins_no_segment_and_the_next_record_does() {
    let node = Node::new();
    let journal = node.begin(1, None, 1);
    journal.write(&round(1)).unwrap();
    journal.sync().unwrap();
    journal.flush().unwrap();
    assert_eq!(node.names("journal"), ["00000001.qjl"], "for the mark of a full segment");
    journal.write(&round(2)).unwrap();
    assert_eq!(node.names("journal"), ["00000001.qjl", "00000002.qjl"]);
    journal.close();
    assert_eq!(node.reader().next().unwrap().unwrap().record.round(), Some(1));
}

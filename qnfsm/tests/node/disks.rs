//! Disks that fail: the node stops and says why, does nothing that it could not write down, and goes on when the disk is
//! in order again.

use std::{io::ErrorKind, path::Path, sync::Arc};

use qnfsm::{
    HostError, Limits, NoReply, NodeError, Unanswered,
    journal::{
        JournalError, Record,
        faulty::{FaultyFiles, Operation},
    },
};

use crate::{
    files::Memory,
    probe::{self, Job, PATIENCE, Probe, Tell, start},
    ring::{self, Root, RootMessage},
};

fn io_text(error: &NodeError) -> String {
    let NodeError::Journal(JournalError::Io(_)) = error else { panic!("{error:?}") };
    error.to_string()
}

#[test]
fn a_disk_that_is_full_stops_the_node_at_any_write_and_nothing_is_lost() {
    for nth in (1..=24).step_by(2) {
        let (disk, root) = (Memory::default(), Root::new(3, 2, 6));
        let files = FaultyFiles::new(disk.storage());
        let builder = ring::builder(Path::new("/ring"), Arc::new(files.clone()), Limits::default());
        // The first few are the manifest, the first segment's header and the first worker's start.
        files.fail(Operation::Write, 4 + nth, ErrorKind::StorageFull);
        let node = builder.start(&root).unwrap();
        while node.host().send(node.root(), &RootMessage::Nothing).is_ok() {}
        let error = node.wait().unwrap_err();
        let text = io_text(&error);
        assert!(text.contains("/ring/journal/00000001.qjl"), "{text}");
        let node = ring::builder(Path::new("/ring"), disk.storage(), Limits::default()).start(&root).unwrap();
        ring::check_counters(&ring::settle(&node, root.expected()), &root);
        node.stop().unwrap();
        ring::check(&disk.storage(), Path::new("/ring"), &root);
    }
}

#[test]
fn a_disk_that_is_full_while_the_node_starts_is_told() {
    for nth in 1..=4 {
        let disk = Memory::default();
        let files = FaultyFiles::new(disk.storage());
        files.fail(Operation::Write, nth, ErrorKind::StorageFull);
        let error = probe::builder(Arc::new(files)).start(&Probe::default()).map(|node| node.wait());
        let text = match error {
            Err(error) => error.to_string(),
            Ok(stopped) => stopped.unwrap_err().to_string(),
        };
        assert!(text.contains("/probe"), "write {nth}: {text}");
        let node = start(probe::builder(disk.storage()));
        assert_eq!(probe::total(&node), 0);
        node.stop().unwrap();
        probe::replayed(&disk.storage(), |_| ());
    }
}

#[test]
fn what_could_not_be_written_is_not_acted_upon() {
    let disk = Memory::default();
    let files = FaultyFiles::new(disk.storage());
    let mut builder = probe::builder(Arc::new(files.clone()));
    let (sender, jobs) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    // On the worker's thread, so that it has been asked when the round is over.
    let service = builder.async_service(Unanswered::SentAgain, move |job: Job, replier| {
        sender.lock().unwrap().send(job.value).unwrap();
        replier.reply(&job.reply, &job.value);
    });
    let node = start(builder);
    let call = |value| Tell::Call { service, value, within: PATIENCE };
    node.host().send(node.root(), &call(1)).unwrap();
    probe::until_logged(&node, |line| line == "1: Ok(1)");
    files.fail(Operation::Write, 1, ErrorKind::StorageFull);
    node.host().send(node.root(), &call(2)).unwrap();
    io_text(&node.wait().unwrap_err());
    assert_eq!(jobs.try_iter().collect::<Vec<_>>(), [1]);
    let log = probe::replayed(&disk.crash().storage(), |probe| probe.log.clone());
    assert_eq!(log, ["asked 1", "1: Ok(1)"]);
}

#[test]
fn a_failed_sync_stops_the_node_though_nobody_writes_and_is_not_tried_again() {
    let disk = Memory::default();
    let files = FaultyFiles::new(disk.storage());
    let node = start(probe::builder(Arc::new(files.clone())));
    probe::total(&node);
    files.hold(Operation::Sync);
    files.fail(Operation::Sync, 1, ErrorKind::Other);
    // One round is all that there is to sync, and nobody writes after it.
    let never = node.host().ask(node.root(), PATIENCE, Tell::Hold).unwrap();
    files.release();
    let outcome = never.wait();
    assert!(matches!(outcome, Err(HostError::NoReply(NoReply::Gone))), "{outcome:?}");
    let operations = || [Operation::Write, Operation::Sync, Operation::Create].map(|operation| files.count(operation));
    let until_then = operations();
    io_text(&node.wait().unwrap_err());
    assert_eq!(operations(), until_then, "a failed journal is written to or synced");
    let node = start(probe::builder(disk.storage()));
    probe::total(&node);
    node.stop().unwrap();
}

#[test]
fn an_external_value_that_can_not_be_written_is_a_failure_of_the_journal() {
    let disk = Memory::default();
    let files = FaultyFiles::new(disk.storage());
    let limits = Limits { sync_every: PATIENCE, ..Limits::default() };
    let builder = probe::builder(Arc::new(files.clone())).limits(limits).external::<probe::Dice>(|_| 4);
    let node = start(builder);
    probe::total(&node);
    // The round is written, the value is not.
    files.fail(Operation::Write, 2, ErrorKind::StorageFull);
    node.host().send(node.root(), &Tell::Read(1)).unwrap();
    io_text(&node.wait().unwrap_err());
    let node = start(probe::builder(disk.storage()).external::<probe::Dice>(|_| 5));
    assert_eq!(probe::log(&node), ["read 5"]);
}

#[test]
fn a_snapshot_that_can_not_be_written_stops_the_node_and_costs_nothing() {
    for nth in 1..=3 {
        let disk = Memory::default();
        let files = FaultyFiles::new(disk.storage());
        let limits = Limits { snapshot_every_bytes: 2000, sync_every: PATIENCE, ..Limits::default() };
        let node = start(probe::builder(Arc::new(files.clone())).limits(limits));
        files.fail(Operation::Create, nth, ErrorKind::StorageFull);
        let mut sent = 0;
        while node.host().send(node.root(), &Tell::Add(1, vec![0; 100])).is_ok() {
            sent += 1;
        }
        io_text(&node.wait().unwrap_err());
        let node = start(probe::builder(disk.storage()));
        let total = probe::total(&node);
        assert!(total <= sent, "{total} of {sent}");
        node.stop().unwrap();
        assert_eq!(probe::replayed(&disk.storage(), |probe| probe.total), total);
        let marks =
            probe::records(disk.storage(), |record, _| matches!(record, Record::SnapshotMark { .. }).then_some(()));
        assert!(marks.len() >= usize::try_from(nth).unwrap());
    }
}

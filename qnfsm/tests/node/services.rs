//! Requests to services, external values, and what becomes of them over a crash.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use qnfsm::{NodeBuilder, NodeError, QueueId, StartError, Unanswered, journal::Record};

use crate::{
    files::Memory,
    probe::{self, Dice, Job, Kind, PATIENCE, Tell, start, until_logged},
};

fn call(node: &probe::Node, service: QueueId<Job>, value: u64, within: Duration) {
    node.host().send(node.root(), &Tell::Call { service, value, within }).unwrap();
}

#[test]
fn a_service_answers_or_its_deadline_passes_or_it_fails() {
    let mut builder = probe::builder(Memory::default().storage());
    let serve = |job: Job, replier: &qnfsm::Replier| match job.value {
        0 => panic!("over this one"),
        1 => {}
        2 => replier.fail(&job.reply, qnfsm::NoReply::Failed),
        value => replier.reply(&job.reply, &(value * 2)),
    };
    let services =
        [builder.service(1, Unanswered::Interrupted, serve), builder.async_service(Unanswered::Interrupted, serve)];
    let node = start(builder);
    let mut request = 0;
    for service in services {
        for (value, outcome) in [(0, "Err(Failed)"), (1, "Err(Expired)"), (2, "Err(Failed)"), (21, "Ok(42)")] {
            let within = if value == 1 { Duration::from_millis(5) } else { PATIENCE };
            call(&node, service, value, within);
            request += 1;
            let prefix = format!("{request}: ");
            assert_eq!(until_logged(&node, |line| line.starts_with(&prefix)), format!("{request}: {outcome}"));
        }
    }
}

/// A service that hands what it gets to the test and answers nothing.
fn silent(builder: &mut NodeBuilder, unanswered: Unanswered) -> (QueueId<Job>, mpsc::Receiver<Job>) {
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let service = builder.service(1, unanswered, move |job: Job, _| sender.lock().unwrap().send(job).unwrap());
    (service, receiver)
}

#[test]
fn over_a_crash_a_request_is_sent_again_with_its_id_or_interrupted() {
    for again in [true, false] {
        let unanswered = if again { Unanswered::SentAgain } else { Unanswered::Interrupted };
        let disk = Memory::default();
        let mut builder = probe::builder(disk.storage());
        let (service, jobs) = silent(&mut builder, unanswered);
        let node = start(builder);
        node.host().send(node.root(), &Tell::Watch(service)).unwrap();
        call(&node, service, 5, Duration::from_secs(3600));
        let first = jobs.recv_timeout(PATIENCE).unwrap();
        // A crash, and then a stop in good order: both leave the request open.
        let crashed = disk.crash();
        node.stop().unwrap();
        for disk in [crashed, disk] {
            let mut builder = probe::builder(disk.storage());
            let (_, jobs) = silent(&mut builder, unanswered);
            let node = start(builder);
            until_logged(&node, |line| line == "down: Restarted");
            if again {
                assert_eq!(jobs.recv_timeout(PATIENCE).unwrap(), first);
                node.stop().unwrap();
                // It is answered in the third life, once.
                let mut builder = probe::builder(disk.storage());
                let answer = |job: Job, replier: &qnfsm::Replier| {
                    replier.reply(&job.reply, &job.value);
                    replier.reply(&job.reply, &0);
                };
                builder.service(1, unanswered, answer);
                let node = start(builder);
                until_logged(&node, |line| line == "1: Ok(5)");
                node.stop().unwrap();
            } else {
                until_logged(&node, |line| line == "1: Err(Interrupted)");
                assert!(jobs.try_recv().is_err(), "it was sent again");
                node.stop().unwrap();
            }
            // In the next life nothing is open.
            let mut builder = probe::builder(disk.storage());
            let (_, jobs) = silent(&mut builder, unanswered);
            let node = start(builder);
            let log = probe::log(&node);
            assert_eq!(log.iter().filter(|line| line.starts_with("1:")).count(), 1, "{log:?}");
            assert_eq!(log.iter().filter(|line| line.starts_with("down")).count(), 1, "{log:?}");
            drop(node);
            assert!(jobs.try_recv().is_err());
            probe::replayed(&disk.storage(), |_| ());
        }
    }
}

#[test]
fn a_stop_waits_for_the_calls_that_are_under_way() {
    let disk = Memory::default();
    let mut builder = probe::builder(disk.storage());
    let (enter, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let both = Mutex::new((enter, left));
    let service = builder.service(1, Unanswered::Interrupted, move |job: Job, replier| {
        let both = both.lock().unwrap();
        both.0.send(()).unwrap();
        both.1.recv_timeout(PATIENCE).unwrap();
        replier.reply(&job.reply, &job.value);
    });
    let node = start(builder.limits(probe::limits()));
    call(&node, service, 8, PATIENCE);
    entered.recv_timeout(PATIENCE).unwrap();
    let host = node.host();
    let stop = std::thread::spawn(move || node.stop().unwrap());
    while host.send(probe::queue(9, 9), &Tell::Add(0, vec![])).is_ok() {}
    leave.send(()).unwrap();
    assert!(stop.join().unwrap().drained);
    let log = probe::replayed(&disk.storage(), |probe| probe.log.clone());
    assert_eq!(log, ["asked 1", "1: Ok(8)"]);
}

/// A port that counts how often it is asked, and answers with that.
fn counting(builder: NodeBuilder, asked: &Arc<AtomicU64>) -> NodeBuilder {
    let asked = asked.clone();
    builder.external::<Dice>(move |_| asked.fetch_add(1, Ordering::SeqCst))
}

#[test]
fn r8_an_external_value_is_recorded_before_its_use_and_recovery_goes_on_in_mid_handler() {
    let disk = Memory::default();
    let asked = Arc::new(AtomicU64::new(100));
    let node = start(counting(probe::builder(disk.storage()), &asked));
    node.host().send(node.root(), &Tell::Read(2)).unwrap();
    assert_eq!(probe::log(&node), ["read 100", "read 101"]);
    let crashed = disk.crash();
    drop(node);
    let externals =
        probe::records(crashed.crash().storage(), |record, at| matches!(record, Record::External { .. }).then_some(at));
    assert_eq!(externals.len(), 2);
    // Cut before the first, between them, and all of it: what is not recorded is asked for, and nothing else.
    for (kept, expected) in [(0, ["read 7", "read 8"]), (1, ["read 100", "read 7"])] {
        let disk = crashed.crash();
        disk.cut(Path::new(probe::DIR), externals[kept]);
        let asked = Arc::new(AtomicU64::new(7));
        let node = start(counting(probe::builder(disk.storage()), &asked));
        assert_eq!(probe::log(&node), expected);
        assert_eq!(asked.load(Ordering::SeqCst), 9 - kept as u64);
        node.stop().unwrap();
        assert_eq!(probe::replayed(&disk.storage(), |probe| probe.log.clone()), expected);
    }
}

#[test]
fn a_port_that_panics_or_is_not_there_stops_the_node_and_no_fsm_is_blamed() {
    for port in [true, false] {
        let disk = Memory::default();
        let builder = probe::builder(disk.storage());
        let builder = if port { builder.external::<Dice>(|_| panic!("no dice")) } else { builder };
        let node = start(builder);
        // Its kind's policy is to stop the FSM alone.
        node.host().send(node.root(), &Tell::Spawn(Kind::Stops)).unwrap();
        until_logged(&node, |line| line == "1/1");
        node.host().send(probe::queue(1, 1), &Tell::Read(1)).unwrap();
        let error = node.wait().unwrap_err();
        assert!(matches!(&error, NodeError::Fault(_)), "{error:?}");
        let said = if port { "external port dice: it panicked" } else { "no external port is named dice" };
        assert!(error.to_string().contains(said), "{error}");
        // With the port in order the node goes on where it was.
        let asked = Arc::new(AtomicU64::new(3));
        let node = start(counting(probe::builder(disk.storage()), &asked));
        let log: Vec<String> = node.host().request(probe::queue(1, 1), PATIENCE, Tell::Log).unwrap();
        assert_eq!(log, ["read 3"]);
    }
}

#[test]
fn a_panic_with_the_policy_to_stop_the_node_is_told_and_told_again() {
    let disk = Memory::default();
    let node = start(probe::builder(disk.storage()));
    node.host().send(node.root(), &Tell::Add(3, vec![])).unwrap();
    node.host().send(node.root(), &Tell::Panic).unwrap();
    let error = node.wait().unwrap_err();
    assert!(matches!(&error, NodeError::Fault(_)), "{error:?}");
    for text in ["kind probe", "w0/0.1", "state ()", "as it was told to"] {
        assert!(error.to_string().contains(text), "{error}");
    }
    let again = probe::refused(probe::builder(disk.storage()));
    assert!(matches!(&again, StartError::Fault(_)), "{again:?}");
    assert!(again.to_string().contains("as it was told to"), "{again}");
}

#[test]
fn a_panic_with_another_policy_stops_or_restarts_the_fsm_alone() {
    let disk = Memory::default();
    let node = start(probe::builder(disk.storage()));
    let tell = |to, message: Tell| node.host().send(to, &message).unwrap();
    tell(node.root(), Tell::Spawn(Kind::Stops));
    tell(node.root(), Tell::Spawn(Kind::Restarts));
    until_logged(&node, |line| line == "2/1");
    let (stops, restarts) = (probe::queue(1, 1), probe::queue(2, 1));
    tell(stops, Tell::Panic);
    until_logged(&node, |line| line == "down: Panicked");
    tell(restarts, Tell::Add(5, vec![]));
    tell(restarts, Tell::Panic);
    tell(restarts, Tell::Add(2, vec![]));
    assert_eq!(node.host().request::<_, u64>(restarts, PATIENCE, Tell::Total).unwrap(), 2);
    node.stop().unwrap();
    let node = start(probe::builder(disk.storage()));
    assert_eq!(node.host().request::<_, u64>(restarts, PATIENCE, Tell::Total).unwrap(), 2);
    node.host().send(restarts, &Tell::Panic).unwrap();
    let downs = || probe::log(&node).iter().filter(|line| *line == "down: Panicked").count();
    until_logged(&node, |_| downs() == 2);
    node.stop().unwrap();
    probe::replayed(&disk.storage(), |_| ());
}

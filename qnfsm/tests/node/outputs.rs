//! What a round puts out leaves its worker when the round is recorded and has ended, and not before: looked for at
//! another worker, at an edge and at the host.

use std::{
    io::ErrorKind,
    path::Path,
    pin::pin,
    sync::{Arc, mpsc},
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use qnfsm::{
    Answer, HostError, Limits, NoReply, NodeBuilder, NodeError, QueueId, Unanswered, WorkerId,
    journal::{
        JournalError, Record,
        faulty::{FaultyFiles, Operation},
    },
};

use crate::{
    files::Memory,
    probe::{self, Gate, Job, PATIENCE, Probe, Tell, start},
    ring,
};

/// What is looked for in the journal. It goes from the host to worker 0, and on to worker 1.
const MARK: &[u8] = b"it is looked for";

/// The workers that recorded a message with the mark, in the journal's order.
pub(crate) fn who_recorded(disk: &Memory) -> Vec<WorkerId> {
    probe::records(disk.crash().storage(), |record, _| {
        let Record::Round { worker, batches, .. } = record else { return None };
        let has_mark = |payload: &[u8]| payload.windows(MARK.len()).any(|bytes| bytes == MARK);
        let mut frames = (*batches).flat_map(|batch| batch.frames()).map(Result::unwrap);
        frames.any(|frame| has_mark(frame.payload)).then_some(*worker)
    })
}

/// Says when the host is woken, on the thread that wakes it.
struct Woken(Box<dyn Fn() + Send + Sync>);

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        (self.0)();
    }
}

/// Two workers, and what sees what worker 0 puts out: each calls `seen` with its name, on worker 0's thread.
pub(crate) struct Stage {
    pub(crate) node: probe::Node,
    pub(crate) there: QueueId<Tell>,
    service: QueueId<Job>,
    /// What the host waits for, and a waker that sees it.
    pub(crate) answer: Answer<u64>,
    waker: Waker,
}

impl Stage {
    pub(crate) fn new(mut builder: NodeBuilder, seen: impl Fn(&'static str) + Send + Sync + 'static) -> Stage {
        let seen = Arc::new(seen);
        let by_edge = seen.clone();
        let service = builder.async_service(Unanswered::Interrupted, move |_: Job, _| by_edge("edge"));
        let limits = Limits { sync_every: PATIENCE, ..probe::limits() };
        let node = start(builder.limits(limits));
        let there = probe::second_worker(&node);
        let answer = node.host().ask(node.root(), PATIENCE, Tell::Hold).unwrap();
        let waker = Waker::from(Arc::new(Woken(Box::new(move || seen("host")))));
        let mut stage = Stage { node, there, service, answer, waker };
        assert!(stage.outcome().is_none());
        // Both are idle then, and all that was recorded for this is written.
        assert_eq!((stage.total(there), probe::total(&stage.node)), (0, 0));
        stage
    }

    pub(crate) fn total(&self, of: QueueId<Tell>) -> u64 {
        self.node.host().request(of, PATIENCE, Tell::Total).unwrap()
    }

    pub(crate) fn send(&self, message: &Tell) {
        self.node.host().send(self.node.root(), message).unwrap();
    }

    /// Puts something out for the other worker, the edge and the host, in that order.
    pub(crate) fn all_three(&self) -> Tell {
        Tell::Each(vec![
            Tell::Forward(self.there, Box::new(Tell::Add(1, MARK.to_vec()))),
            Tell::Call { service: self.service, value: 1, within: PATIENCE },
            Tell::Release(1),
            Tell::Add(1, vec![]),
        ])
    }

    pub(crate) fn outcome(&mut self) -> Option<Result<u64, HostError>> {
        match pin!(&mut self.answer).poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }
}

/// Names of what saw something, as they come.
pub(crate) fn witnesses() -> (impl Fn(&'static str) + Send + Sync + 'static, mpsc::Receiver<&'static str>) {
    let (sender, seen) = mpsc::channel();
    (move |who| sender.send(who).unwrap(), seen)
}

#[test]
fn wherever_an_output_arrives_the_round_that_put_it_out_is_recorded() {
    let disk = Memory::default();
    let (sender, seen) = mpsc::channel();
    let looks = disk.clone();
    let stage = Stage::new(probe::builder(disk.storage()), move |who| {
        let begun = Instant::now();
        // Until the other worker, which got its message first, has recorded it.
        let recorded = loop {
            let recorded = who_recorded(&looks);
            if recorded.contains(&WorkerId(1)) || begun.elapsed() > PATIENCE {
                break recorded;
            }
            std::thread::yield_now();
        };
        sender.send((who, recorded)).unwrap();
    });
    stage.send(&stage.all_three());
    for who in ["edge", "host"] {
        let (saw, recorded) = seen.recv_timeout(2 * PATIENCE).unwrap();
        assert_eq!((saw, recorded), (who, vec![WorkerId(0), WorkerId(1)]));
    }
    stage.node.stop().unwrap();
}

#[test]
fn while_a_round_is_not_written_nothing_of_it_happens_and_if_it_never_is_nothing_ever_does() {
    for (counter, fails) in [(2, false), (3, true)] {
        let disk = Memory::default();
        let files = FaultyFiles::new(disk.storage());
        let (seen_by, seen) = witnesses();
        let mut stage = Stage::new(probe::builder(Arc::new(files.clone())), seen_by);
        let handled = || probe::COUNTS.lock().unwrap().get(&counter).copied();
        files.hold(Operation::Write);
        let writes = files.count(Operation::Write);
        if fails {
            files.fail(Operation::Write, 1, ErrorKind::StorageFull);
        }
        stage.send(&Tell::Each(vec![Tell::Count(counter), stage.all_three()]));
        let begun = Instant::now();
        while files.count(Operation::Write) == writes && begun.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        let asked = files.count(Operation::Write) - writes;
        let (early, handled_early) = (seen.try_iter().collect::<Vec<_>>(), handled());
        files.release();
        assert_eq!((asked, early, handled_early), (1, vec![], None), "before the write was done");
        let Stage { there, .. } = stage;
        if fails {
            let error = stage.node.wait().unwrap_err();
            assert!(matches!(error, NodeError::Journal(JournalError::Io(_))), "{error:?}");
            assert_eq!((seen.try_iter().collect::<Vec<_>>(), handled()), (vec!["host"], None));
            let outcome = stage.answer.wait();
            assert!(matches!(outcome, Err(HostError::NoReply(NoReply::Gone))), "{outcome:?}");
            let mut builder = probe::builder(disk.crash().storage());
            builder.async_service(Unanswered::Interrupted, |_: Job, _| ());
            stage.node = start(builder);
        } else {
            for who in ["edge", "host"] {
                assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), who);
            }
            assert_eq!((stage.outcome().unwrap().unwrap(), handled()), (1, Some(1)));
        }
        let happened = u64::from(!fails);
        let host = stage.node.host();
        for queue in [stage.node.root(), there] {
            assert_eq!(host.request::<_, u64>(queue, PATIENCE, Tell::Total).unwrap(), happened);
        }
        stage.node.stop().unwrap();
    }
}

#[test]
fn r2_what_a_round_puts_out_waits_for_its_end() {
    let (seen_by, seen) = witnesses();
    let mut stage = Stage::new(probe::builder(Memory::default().storage()), seen_by);
    let (before, within) = (probe::gate(&stage.node, stage.node.root()), Gate::new());
    // Both wait in the inbox when the round before ends, so the next takes both.
    stage.send(&stage.all_three());
    stage.send(&within.message());
    before.open();
    within.until_somebody_waits();
    let early: Vec<_> = seen.try_iter().collect();
    // What had left would be ahead of this in the other worker's inbox.
    let early_there = stage.total(stage.there);
    within.open();
    assert_eq!((early, early_there), (vec![], 0), "in the middle of the round");
    for who in ["edge", "host"] {
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), who);
    }
    assert_eq!(stage.outcome().unwrap().unwrap(), 1);
    assert_eq!(stage.total(stage.there), 1);
    stage.node.stop().unwrap();
}

#[test]
fn r2_what_a_round_puts_out_that_does_not_end_stays_in() {
    for panics in [true, false] {
        let disk = Memory::default();
        let files = FaultyFiles::new(disk.storage());
        let (seen_by, seen) = witnesses();
        let builder = probe::builder(Arc::new(files.clone())).external::<probe::Dice>(|_| 4);
        let stage = Stage::new(builder, seen_by);
        let before = probe::gate(&stage.node, stage.node.root());
        stage.send(&stage.all_three());
        if panics {
            stage.send(&Tell::Panic);
        } else {
            // The round is written, and the value that it reads is not.
            files.fail(Operation::Write, 2, ErrorKind::StorageFull);
            stage.send(&Tell::Read(1));
        }
        before.open();
        let error = stage.node.wait().unwrap_err();
        let is_told =
            if panics { matches!(error, NodeError::Fault(_)) } else { matches!(error, NodeError::Journal(_)) };
        assert!(is_told, "{error:?}");
        // The host is woken by the node's end, and the edge never sees anything.
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["host"]);
        let outcome = stage.answer.wait();
        assert!(matches!(outcome, Err(HostError::NoReply(NoReply::Gone))), "{outcome:?}");
        assert_eq!(who_recorded(&disk), [WorkerId(0)]);
        let playback = ring::replay(&disk.storage(), Path::new(probe::DIR), probe::kinds());
        let second = playback.workers().nth(1).unwrap();
        assert_eq!(second.fsm::<Probe>(stage.there).unwrap().0.total, 0);
    }
}

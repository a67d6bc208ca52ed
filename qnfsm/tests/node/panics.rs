//! What panics outside of any FSM: the node stops and says whose thread it was, nobody waits on, and what was recorded
//! is there when the node starts again.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use qnfsm::{
    EdgeId, EdgeSetup, HostError, Inputs, NoReply, NodeError, Place, QueueId, Reactor, RunOn, Stopped, Wake, WorkerId,
    frame::Frame,
};

use crate::{
    files::Memory,
    probe::{self, Ball, PATIENCE, Tell, start},
};

/// Where a reactor panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Take,
    Poll,
    Close,
    Wake,
}

/// A reactor that does nothing, and panics once it is armed.
struct Tripwire {
    at: At,
    is_armed: Arc<AtomicBool>,
    woken: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

impl Tripwire {
    fn new(at: At, is_armed: &Arc<AtomicBool>) -> Tripwire {
        Tripwire { at, is_armed: is_armed.clone(), woken: mpsc::channel() }
    }
}

fn trip(at: At, here: At, is_armed: &AtomicBool) {
    assert!(at != here || !is_armed.load(Ordering::SeqCst), "as it was armed to");
}

impl Reactor for Tripwire {
    fn open(&mut self, _: &EdgeSetup) -> io::Result<()> {
        Ok(())
    }

    fn take(&mut self, _: &Frame<'_>, _: &mut Inputs) {
        trip(self.at, At::Take, &self.is_armed);
    }

    fn poll(&mut self, timeout: Option<Duration>, _: &mut Inputs) -> io::Result<()> {
        trip(self.at, At::Poll, &self.is_armed);
        let _ = self.woken.1.recv_timeout(timeout.unwrap_or(PATIENCE));
        Ok(())
    }

    fn waker(&self) -> Wake {
        let (at, is_armed, woken) = (self.at, self.is_armed.clone(), self.woken.0.clone());
        Arc::new(move || {
            trip(at, At::Wake, &is_armed);
            let _ = woken.send(());
        })
    }

    fn close(&mut self) {
        trip(self.at, At::Close, &self.is_armed);
    }
}

/// Waits for a node's end, but not for ever.
fn end(node: probe::Node, end: impl FnOnce(probe::Node) -> Result<Stopped, NodeError> + Send + 'static) -> NodeError {
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(end(node)).unwrap());
    ended.recv_timeout(PATIENCE).expect("the node ends").unwrap_err()
}

#[test]
fn a_reactor_that_panics_stops_the_node_which_starts_again_with_all_that_it_had() {
    let (worker, edge) = (Place::worker(WorkerId(0)), Place::edge(EdgeId(EdgeId::FIRST_OF_USER.0)));
    let cases = [
        (RunOn::FirstWorker, At::Take, worker),
        (RunOn::FirstWorker, At::Poll, worker),
        (RunOn::FirstWorker, At::Close, edge),
        (RunOn::Thread, At::Take, edge),
        (RunOn::Thread, At::Poll, edge),
        (RunOn::Thread, At::Close, edge),
        // Who puts something out for an edge wakes it.
        (RunOn::Thread, At::Wake, worker),
    ];
    for (run_on, at, whose) in cases {
        let (disk, is_armed) = (Memory::default(), Arc::default());
        let mut builder = probe::builder(disk.storage());
        let edge = builder.reactor(run_on, Tripwire::new(at, &is_armed));
        let edge = QueueId::<Ball>::from_raw(qnfsm::frame::edge_queue(qnfsm::NodeId(0), edge));
        let node = start(builder);
        node.host().send(node.root(), &Tell::Add(3, vec![])).unwrap();
        assert_eq!(probe::total(&node), 3);
        let never = node.host().ask::<_, u64>(node.root(), PATIENCE, Tell::Hold).unwrap();
        is_armed.store(true, Ordering::SeqCst);
        let error = if at == At::Close {
            end(node, probe::Node::stop)
        } else {
            node.host().send(node.root(), &Tell::Bounce { edge, left: 0 }).unwrap();
            end(node, probe::Node::wait)
        };
        assert!(matches!(error, NodeError::Panicked(place) if place == whose), "{run_on:?}, {at:?}: {error:?}");
        let outcome = never.wait();
        assert!(matches!(outcome, Err(HostError::NoReply(NoReply::Gone))), "{run_on:?}, {at:?}: {outcome:?}");
        for disk in [disk.crash(), disk] {
            let mut builder = probe::builder(disk.storage());
            builder.reactor(run_on, Tripwire::new(at, &Arc::default()));
            let node = start(builder);
            assert_eq!(probe::total(&node), 3, "{run_on:?}, {at:?}");
            node.stop().unwrap();
            assert_eq!(probe::replayed(&disk.storage(), |probe| probe.total), 3);
        }
    }
}

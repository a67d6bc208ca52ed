//! An edge that carries frames from one node to another in the same process, and keeps who sent them.

use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use qnfsm::{
    Codec, EdgeSetup, Inputs, Node, NodeBuilder, NodeId, RawQueueId, Reactor, Recording, RunOn, Trust, Wake,
    frame::{Class, Frame},
};

use super::{Ball, EAST, OVER, WEST, kinds, player, program, root};

/// What lies on one bank, to be taken in there.
#[derive(Default)]
struct Bank {
    frames: VecDeque<(RawQueueId, Vec<u8>)>,
    is_woken: bool,
}

type Shore = Arc<(Mutex<Bank>, Condvar)>;

/// One end of the way between two nodes.
pub struct Ferry {
    own: Shore,
    other: Shore,
    node: NodeId,
}

/// Both ends of a way between the nodes [`EAST`] and [`WEST`].
#[must_use]
pub fn ferries() -> [Ferry; 2] {
    let shores = [Shore::default(), Shore::default()];
    let end = |node, own: usize| Ferry { own: shores[own].clone(), other: shores[1 - own].clone(), node };
    [end(EAST, 0), end(WEST, 1)]
}

fn with<R>(shore: &Shore, change: impl FnOnce(&mut Bank) -> R) -> R {
    let done = change(&mut shore.0.lock().unwrap_or_else(PoisonError::into_inner));
    shore.1.notify_all();
    done
}

impl Reactor for Ferry {
    fn open(&mut self, _: &EdgeSetup) -> io::Result<()> {
        Ok(())
    }

    fn take(&mut self, frame: &Frame<'_>, _: &mut Inputs) {
        if (frame.header.class, frame.header.slot) == (Class::Message, OVER) {
            with(&self.other, |bank| {
                bank.frames.push_back((frame.header.sender, frame.payload.to_vec()));
                bank.is_woken = true;
            });
        }
    }

    fn poll(&mut self, timeout: Option<Duration>, inputs: &mut Inputs) -> io::Result<()> {
        let mut bank = self.own.0.lock().unwrap_or_else(PoisonError::into_inner);
        if timeout != Some(Duration::ZERO) {
            let timeout = timeout.unwrap_or(Duration::from_secs(60));
            let waited = self.own.1.wait_timeout_while(bank, timeout, |bank| !bank.is_woken);
            bank = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        bank.is_woken = false;
        for (sender, payload) in bank.frames.drain(..) {
            let ball: Ball = Codec::CURRENT.decode(&payload, Trust::Node).map_err(io::Error::other)?;
            inputs.message(player(self.node), sender, &ball).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn waker(&self) -> Wake {
        let own = self.own.clone();
        Arc::new(move || with(&own, |bank| bank.is_woken = true))
    }

    fn close(&mut self) {}
}

/// Starts a node in a directory, at its end of the way.
///
/// # Panics
/// When it can't be started.
#[must_use]
pub fn start(dir: &Path, ferry: Ferry, recording: Recording) -> Node<Ball> {
    let node = ferry.node;
    let mut builder = NodeBuilder::new(program(node), kinds(node)).dir(dir).node_id(node).recording(recording);
    builder.reactor(RunOn::Thread, ferry);
    builder.start(&root(node)).expect("the directory is new")
}

/// Has two nodes play a ball to and fro, so often, and stops them.
///
/// # Panics
/// When a node fails.
pub fn play(dirs: [&Path; 2], hits: u64, recording: Recording) {
    const PATIENCE: Duration = Duration::from_secs(30);
    let [east, west] = ferries();
    let [east, west] = [start(dirs[0], east, recording), start(dirs[1], west, recording)];
    east.host().send(east.root(), &Ball::Serve(hits)).expect("it runs");
    let count = |node: &Node<Ball>| node.host().request(node.root(), PATIENCE, Ball::Count).expect("it answers");
    while count(&east) + count(&west) < hits + 1 {
        std::thread::yield_now();
    }
    east.stop().expect("it stops");
    west.stop().expect("it stops");
}

//! An edge between nodes of one process: it takes what is for a queue that stands for another node's player, carries it there, and says
//! there who sent it. One over a network would do the same with bytes.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use qnfsm::{
    Codec, EdgeSetup, Inputs, NodeId, RawQueueId, Reactor, Trust, Wake,
    frame::{Class, Frame},
};

use super::{Ball, player};

/// A node's end of the links between all of them.
pub struct Link {
    node: NodeId,
    ends: Arc<BTreeMap<NodeId, End>>,
}

/// What has come to a node and is to be put in there.
#[derive(Default)]
struct End {
    came: Mutex<Came>,
    awake: Condvar,
}

#[derive(Default)]
struct Came {
    balls: VecDeque<(RawQueueId, Vec<u8>)>,
    is_woken: bool,
}

impl End {
    fn came(&self) -> MutexGuard<'_, Came> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, ball: Option<(RawQueueId, Vec<u8>)>) {
        let mut came = self.came();
        came.balls.extend(ball);
        came.is_woken = true;
        self.awake.notify_all();
    }
}

/// Links between all of these nodes.
#[must_use]
pub fn links(nodes: &[NodeId]) -> Vec<Link> {
    let ends: Arc<BTreeMap<_, _>> = Arc::new(nodes.iter().map(|node| (*node, End::default())).collect());
    nodes.iter().map(|node| Link { node: *node, ends: ends.clone() }).collect()
}

impl Link {
    fn own(&self) -> &End {
        &self.ends[&self.node]
    }
}

impl Reactor for Link {
    fn open(&mut self, _: &EdgeSetup) -> io::Result<()> {
        Ok(())
    }

    fn take(&mut self, frame: &Frame<'_>, _: &mut Inputs) {
        let other = self.ends.get(&NodeId(frame.header.slot));
        if let (Class::Message, Some(other)) = (frame.header.class, other) {
            other.wake(Some((frame.header.sender, frame.payload.to_vec())));
        }
    }

    fn poll(&mut self, timeout: Option<Duration>, inputs: &mut Inputs) -> io::Result<()> {
        let end = self.own();
        let mut came = end.came();
        if timeout != Some(Duration::ZERO) {
            let timeout = timeout.unwrap_or(Duration::from_secs(60));
            let waited = end.awake.wait_timeout_while(came, timeout, |came| !came.is_woken);
            came = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        came.is_woken = false;
        for (sender, payload) in came.balls.drain(..) {
            let ball: Ball = Codec::CURRENT.decode(&payload, Trust::Node).map_err(io::Error::other)?;
            // The sender is the other node's FSM: that is how its journal and this one are read together.
            inputs.message(player(self.node), sender, &ball).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn waker(&self) -> Wake {
        let (node, ends) = (self.node, self.ends.clone());
        Arc::new(move || ends[&node].wake(None))
    }

    fn close(&mut self) {}
}

//! Ours: a whole node in its default configuration, and the host program's thread asleep until the answer comes.
//!
//! `lead` has what all cases have in common; each of the others is the FSMs of one case.

mod fan_in;
mod fan_out;
pub mod lead;
mod ping_pong;
mod replay;
mod ring;
mod spawn;

use std::time::{Duration, Instant};

use qnfsm::{Limits, Node, NodeBuilder};
use tempfile::TempDir;

pub use self::replay::replayed;
use self::{
    fan_in::FanIn,
    fan_out::FanOut,
    lead::{Lead, LeadMessage, Leader},
    ping_pong::PingPong,
    ring::Ring,
    spawn::Spawn,
};
use super::{case::Case, lap::Course, message::Payload, roles::Received};
use crate::{
    plan::{Class, Failure, Recording},
    recorded::recorded,
};

/// How long anything may take that the host waits for.
pub const PATIENCE: Duration = Duration::from_secs(100);

/// Sets a node up for a case.
///
/// # Errors
/// When the node doesn't start.
pub fn course<P: Payload>(case: Case, class: Class, recording: Recording) -> Result<Box<dyn Course>, Failure> {
    struct Start {
        class: Class,
        recording: Recording,
    }
    impl WithLeader for Start {
        type Output = Result<Box<dyn Course>, Failure>;

        fn call<L: Leader>(self, leader: L) -> Result<Box<dyn Course>, Failure> {
            Ok(Box::new(Running::start(leader, self.class, self.recording)?))
        }
    }
    with_leader::<P, _>(case, Start { class, recording })
}

/// Something to do with the leader of a case, whichever type that is.
trait WithLeader {
    type Output;

    fn call<L: Leader>(self, leader: L) -> Self::Output;
}

fn with_leader<P: Payload, W: WithLeader>(case: Case, with: W) -> W::Output {
    match case {
        Case::PingPong => with.call(PingPong::<P>::new()),
        Case::FanIn(senders) => with.call(FanIn::<P>::new(senders)),
        Case::Ring(tokens) => with.call(Ring::<P>::new(tokens)),
        Case::Spawn | Case::SpawnMemory => with.call(Spawn::<P>::new(case.stays())),
        Case::FanOut(receivers) => with.call(FanOut::<P>::new(receivers)),
    }
}

/// A node with a case's FSMs, which are there and wait. Its directory, if it has one, goes away after it.
pub struct Running<L: Leader> {
    node: Node<LeadMessage<L>>,
    dir: Option<TempDir>,
}

impl<L: Leader> Running<L> {
    fn start(leader: L, class: Class, recording: Recording) -> Result<Running<L>, Failure> {
        Running::start_within(Limits::default(), leader, class, recording)
    }

    /// Starts a node with these bounds and habits.
    ///
    /// # Errors
    /// When it doesn't start.
    pub fn start_within(limits: Limits, leader: L, class: Class, recording: Recording) -> Result<Running<L>, Failure> {
        let builder = NodeBuilder::new("qnfsm-bench", Lead::<L>::kinds()).limits(limits);
        let (builder, dir) = recorded(builder, recording)?;
        let node = builder.start(&Lead::new(leader, class))?;
        node.host().request(node.root(), PATIENCE, LeadMessage::Ready)?;
        Ok(Running { node, dir })
    }
}

impl<L: Leader> Course for Running<L> {
    fn lap(&mut self, size: u32) -> Result<(Received, Duration), Failure> {
        let begun = Instant::now();
        let received =
            self.node.host().request(self.node.root(), PATIENCE, |reply| LeadMessage::Begin { size, reply })?;
        Ok((received, begun.elapsed()))
    }

    fn end(self: Box<Self>) -> Result<(), Failure> {
        let Running { node, dir } = *self;
        node.stop()?;
        drop(dir);
        Ok(())
    }
}

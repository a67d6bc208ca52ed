//! Through the journals of several nodes at once, in an order in which every cause comes before its effect.
//!
//! Each node's rounds come in the order of its own journal; and a round that took in a frame from a queue of another of these nodes comes after
//! the round of that node which put it out. So the order is that of causes, and not of the nodes' clocks: these only choose between
//! rounds of which neither led to the other.
//!
//! A frame names its sender, and its sender's journal shows, once it is played, what that sender put out. `outgoing` finds the one among the
//! other, `merge` puts the rounds in order, `crossings` goes back from a step of one node to that of another.

mod crossings;
mod merge;
mod outgoing;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use qnfsm::{Catalogue, Kinds, NodeId, Place, RawQueueId, WorkerId, journal::Manifest};

use crate::{NotBegun, Options, ReplayError, Walk, report::count, session::RoundLog};

pub(crate) use crossings::Crossings;
pub use crossings::{NodeCause, Sessions};

/// How many bytes of outputs are remembered unless it is said.
const WINDOW_BYTES_DEFAULT: usize = 64 << 20;
/// Of how many pairs of a sender and a queue it is told how many frames were not shown to be sent.
const PAIRS_MAX: usize = 64;

/// The journals of several nodes, to be gone through together. See the [module's head](self).
///
/// ```no_run
/// # fn kinds() -> qnfsm::Kinds { qnfsm::Kinds::new() }
/// use std::ops::ControlFlow;
///
/// use qnfsm_replay::{Options, nodes::Nodes};
///
/// let options = Options::new();
/// let nodes = Nodes::new().with("/var/lib/east".as_ref(), kinds(), &options)?;
/// let nodes = nodes.with("/var/lib/west".as_ref(), kinds(), &options)?;
/// let walked = nodes.rounds(|round| {
///     println!("node {} ran round {} of {}", round.node.0, round.log.round, round.log.worker);
///     ControlFlow::Continue(())
/// })?;
/// println!("{} frames came from one of these nodes to another", walked.sent);
/// # Ok::<(), qnfsm_replay::ReplayError>(())
/// ```
#[derive(Debug)]
pub struct Nodes<'o> {
    walks: Vec<Walk<'o>>,
    window_bytes_max: usize,
}

/// A round of one of several nodes.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct NodeRound<'r> {
    /// Whose it is.
    pub node: NodeId,
    /// All that happened in it.
    pub log: &'r RoundLog,
    /// Of the frames that it took in, those that came from queues of the other nodes, in order.
    pub came: &'r [CameIn],
}

/// A frame that came into a node from a queue of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CameIn {
    /// The edge that put it in.
    pub source: Place,
    /// Its number, as that edge counts.
    pub number: u64,
    /// Who sent it.
    pub sender: RawQueueId,
    /// Whom it is for.
    pub target: RawQueueId,
    /// Where its sender's node put it out.
    pub whence: Whence,
}

/// Where a frame from another node was put out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Whence {
    /// There.
    Sent(Sending),
    /// There, and it came in before: it was doubled on the way.
    Doubled(Sending),
    /// The sender put out several that are alike, and which of them it is can't be told.
    Alike,
    /// The sender's journal doesn't show that it sent this: the part that does was given up, the directory is of another run, or something on
    /// the way made it up.
    NotShown,
}

impl Whence {
    /// Where it was put out, if that is known.
    #[must_use]
    pub fn sending(&self) -> Option<Sending> {
        match self {
            Whence::Sent(sending) | Whence::Doubled(sending) => Some(*sending),
            Whence::Alike | Whence::NotShown => None,
        }
    }
}

/// A frame that a node put out for an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Sending {
    /// The node.
    pub node: NodeId,
    /// The ordinal of its round, among all rounds of that node.
    pub ordinal: u64,
    /// The worker.
    pub worker: WorkerId,
    /// The worker's own number of the round.
    pub round: u64,
    /// The edge.
    pub to: Place,
    /// The frame's number, as the worker counts what it puts out for that edge.
    pub number: u64,
}

/// What was gone through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodesWalked {
    /// The rounds that were shown.
    pub rounds: u64,
    /// Of these, rounds that were shown after a later one of their node, because too much would have had to wait for them.
    pub late: u64,
    /// Frames from one node to another whose sending is known.
    pub sent: u64,
    /// Frames that came twice.
    pub doubled: u64,
    /// Frames of which it can't be told which of several that are alike they are.
    pub alike: u64,
    /// Frames that were put out and never came in, though a later one from the same sender to the same queue did.
    pub lost: u64,
    /// By sender and target, frames that their sender's journal doesn't show; of the first 64 such pairs.
    pub not_shown: BTreeMap<(RawQueueId, RawQueueId), u64>,
    /// How often rounds of different nodes would each have had to wait for the other. Sound journals of one run have no such circle.
    pub circles: u64,
    /// Outputs that were forgotten before they came in anywhere, because more was remembered than there was room for.
    pub forgotten: u64,
    /// How many rounds of a node weren't played because they stand before the first snapshots to go on from, where there are any.
    pub passed_over: BTreeMap<NodeId, u64>,
    /// The snapshots that a node's workers could not begin with, and what wasn't played because of that.
    pub not_begun: Vec<(NodeId, NotBegun)>,
}

impl Default for Nodes<'_> {
    fn default() -> Self {
        Nodes::new()
    }
}

impl<'o> Nodes<'o> {
    /// No node yet.
    #[must_use]
    pub fn new() -> Nodes<'o> {
        Nodes { walks: Vec::new(), window_bytes_max: WINDOW_BYTES_DEFAULT }
    }

    /// Opens the directory of one more node, to be played with its program's kinds. Nothing is changed there.
    ///
    /// # Errors
    /// As [`Walk::open`]; and when a node of the same number is there already.
    pub fn with(self, dir: &Path, kinds: Kinds, options: &'o Options<'o>) -> Result<Nodes<'o>, ReplayError> {
        self.and(Walk::open(dir, kinds, options)?)
    }

    /// One more node, whose journal is about to be walked.
    pub(crate) fn and(mut self, walk: Walk<'o>) -> Result<Nodes<'o>, ReplayError> {
        different(self.walks.iter().chain([&walk]).map(|walk| (walk.manifest().node, walk.dir())))?;
        self.walks.push(walk);
        Ok(self)
    }

    /// Remembers at most so many bytes of what nodes put out for edges, in which frames that come in are looked for; 64 MiB unless it is said.
    #[must_use]
    pub fn window_bytes(self, window_bytes_max: usize) -> Nodes<'o> {
        Nodes { window_bytes_max, ..self }
    }

    /// The nodes, with the kinds and message types by whose tables their bytes are shown.
    pub fn nodes(&self) -> impl Iterator<Item = (&Manifest, &Arc<Catalogue>)> {
        self.walks.iter().map(|walk| (walk.manifest(), walk.catalogue()))
    }

    /// Plays all journals with every check of a replay, and shows each round to `see`, causes before effects, until it has seen enough.
    ///
    /// # Errors
    /// As [`replay`](crate::replay), of the first node of which that can be said. Every round that ran is shown before, of the other nodes to their ends.
    ///
    /// # Panics
    /// As [`replay`](crate::replay).
    pub fn rounds(self, see: impl FnMut(&NodeRound<'_>) -> ControlFlow<()>) -> Result<NodesWalked, ReplayError> {
        let mut walked = NodesWalked::default();
        self.rounds_into(&mut walked, see).map(|()| walked)
    }

    /// Likewise; what was gone through is known also where it ends with an error.
    pub(crate) fn rounds_into(
        mut self,
        walked: &mut NodesWalked,
        mut see: impl FnMut(&NodeRound<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReplayError> {
        let mut merge = merge::Merge::new(&mut self.walks, self.window_bytes_max);
        let mut is_enough = false;
        while !is_enough && let Some((node, log, came)) = merge.next() {
            walked.count(&came);
            is_enough = see(&NodeRound { node, log: &log, came: &came }).is_break();
        }
        merge.tell(walked);
        merge.failed.filter(|_| !is_enough).map_or(Ok(()), Err)
    }
}

impl NodesWalked {
    fn count(&mut self, came: &[CameIn]) {
        for CameIn { sender, target, whence, .. } in came {
            match whence {
                Whence::Sent(_) => self.sent += 1,
                Whence::Doubled(_) => self.doubled += 1,
                Whence::Alike => self.alike += 1,
                Whence::NotShown => {
                    if self.not_shown.len() < PAIRS_MAX || self.not_shown.contains_key(&(*sender, *target)) {
                        *self.not_shown.entry((*sender, *target)).or_default() += 1;
                    }
                }
            }
        }
    }

    /// What could not be told, or should not be, in words.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for (NodeId(node), rounds) in &self.passed_over {
            let rounds = count(*rounds, "round");
            remarks.push(format!(
                "{rounds} of node {node} not played, which stand before the first snapshots to go on from"
            ));
        }
        remarks.extend(self.not_begun.iter().map(|(NodeId(node), not_begun)| format!("node {node}, {not_begun}")));
        for ((sender, target), count) in &self.not_shown {
            let node = sender.node().0;
            remarks.push(format!(
                "frames to {target} that came from {sender} of node {node}, whose journal doesn't show that it sent them: {count}"
            ));
        }
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                remarks.push(format!("{what}: {count}"));
            }
        };
        say(
            self.lost,
            "frames from one node to another that never came in, though later ones from the same sender did",
        );
        say(self.doubled, "frames from one node to another that came twice");
        say(self.alike, "frames from another node that sent several alike, so that it can't be told which they are");
        say(
            self.circles,
            "times that rounds of several nodes each wait for another: these are not the directories of one run, or one is damaged; \
             where causes contradict each other, the order is that of the clocks",
        );
        say(
            self.forgotten,
            "outputs that were forgotten before they came in anywhere, and whose frames are not shown to be sent if they do",
        );
        remarks
    }
}

/// Says so, if two of several directories are of nodes with the same number.
pub(crate) fn different<'d>(nodes: impl Iterator<Item = (NodeId, &'d Path)>) -> Result<(), ReplayError> {
    let mut seen: BTreeMap<NodeId, PathBuf> = BTreeMap::new();
    for (node, dir) in nodes {
        if let Some(other) = seen.insert(node, dir.into()) {
            return Err(ReplayError::Misuse(format!(
                "{} and {} are both of node {}, so frames can't say which of them sent them; give each directory once, and each node a number of \
                 its own with `NodeBuilder::node_id` when it is first started",
                other.display(),
                dir.display(),
                node.0
            )));
        }
    }
    Ok(())
}

/// A node's number, as queues have it.
pub(crate) struct Named(pub(crate) NodeId);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0.0)
    }
}

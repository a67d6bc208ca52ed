//! What led to a step, over several nodes: back through one node to where a message entered it, and on from the step of the other that put it
//! out.
//!
//! Which step that was is known once all journals were gone through together; that is done when it is first asked for, and what was
//! found is kept, up to [`KEPT_MAX`] frames.

use std::{collections::BTreeMap, ops::ControlFlow};

use qnfsm::{NodeId, Place};

use super::{CameIn, Nodes, NodesWalked, different};
use crate::{
    Options, ReplayError, Session,
    session::{Cause, Origin},
};

/// Of how many frames it is kept where they were put out. Of more, those of the earliest rounds of the lowest node go.
const KEPT_MAX: usize = 1 << 20;

/// Sessions of several nodes, to be looked at together.
///
/// ```no_run
/// # fn kinds() -> qnfsm::Kinds { qnfsm::Kinds::new() }
/// use qnfsm_replay::{Options, Session, Sessions};
///
/// let open = |dir: &str| Session::open(dir.as_ref(), kinds(), &Options::new());
/// let mut sessions = Sessions::new(vec![open("/var/lib/east")?, open("/var/lib/west")?])?;
/// let west = qnfsm::NodeId(2);
/// sessions.session(west).expect("it was opened").go_to_end()?;
/// for cause in sessions.causes(west, 100)? {
///     println!("node {}: {} was handled by {}", cause.node.0, cause.cause.round, cause.cause.step.queue);
/// }
/// # Ok::<(), qnfsm_replay::ReplayError>(())
/// ```
pub struct Sessions {
    sessions: Vec<Session>,
    crossings: Crossings,
}

/// One step on the way back, over several nodes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeCause {
    /// Whose step it is.
    pub node: NodeId,
    /// The step, and where what it handled comes from.
    pub cause: Cause,
    /// Where that was put out, if it entered from a queue of another of these nodes. The step that did is the next.
    pub came: Option<CameIn>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.sessions.iter().map(|session| session.manifest().node)).finish()
    }
}

impl Sessions {
    /// Of sessions of different nodes.
    ///
    /// # Errors
    /// When two are of nodes with the same number.
    pub fn new(sessions: Vec<Session>) -> Result<Sessions, ReplayError> {
        different(sessions.iter().map(|session| (session.manifest().node, session.dir())))?;
        Ok(Sessions { sessions, crossings: Crossings::default() })
    }

    /// The session of a node, if it is one of these.
    pub fn session(&mut self, node: NodeId) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.manifest().node == node)
    }

    /// What led to the step that a node's session looks at: it first, then the one that sent what it handled, on whichever node, up
    /// to `steps_max` of them. No session is moved.
    ///
    /// # Errors
    /// When a round can't be run again, or the node is none of these.
    pub fn causes(&mut self, node: NodeId, steps_max: usize) -> Result<Vec<NodeCause>, ReplayError> {
        let at = self.sessions.iter().position(|session| session.manifest().node == node);
        let at = at.ok_or_else(|| ReplayError::Misuse(format!("no directory of a node {} is opened here", node.0)))?;
        let mut sessions: Vec<_> = self.sessions.iter_mut().collect();
        sessions.swap(0, at);
        self.crossings.causes(&mut sessions, steps_max)
    }

    /// What was found when the journals were gone through together, which is done for that unless it was before.
    ///
    /// # Errors
    /// When a directory can't be read any more.
    pub fn walked(&mut self) -> Result<&NodesWalked, ReplayError> {
        let sessions: Vec<_> = self.sessions.iter_mut().collect();
        Ok(&self.crossings.known(&sessions)?.walked)
    }
}

/// Where frames that came from one node into another were put out, once it is known.
#[derive(Debug, Default)]
pub(crate) struct Crossings(Option<Known>);

#[derive(Debug, Default)]
pub(crate) struct Known {
    walked: NodesWalked,
    /// By node, ordinal of the round, source and number.
    came: BTreeMap<(NodeId, u64, Place, u64), CameIn>,
}

impl Crossings {
    /// What led to the step that the first of several sessions looks at.
    pub(crate) fn causes(
        &mut self,
        sessions: &mut [&mut Session],
        steps_max: usize,
    ) -> Result<Vec<NodeCause>, ReplayError> {
        let (mut causes, mut at) = (Vec::new(), 0);
        let mut own = sessions[at].causes(steps_max)?;
        loop {
            let node = sessions[at].manifest().node;
            causes.extend(own.into_iter().map(|cause| NodeCause { node, cause, came: None }));
            let Some(last) = causes.last_mut().filter(|_| sessions.len() > 1) else { break };
            let Origin::Outside { source, number, ordinal } = last.cause.origin else { break };
            if source.as_edge().is_none() {
                break;
            }
            last.came = self.known(sessions)?.came.get(&(node, ordinal, source, number)).copied();
            let Some(sending) = last.came.and_then(|came| came.whence.sending()) else { break };
            let left = steps_max - causes.len();
            let other = sessions.iter().position(|session| session.manifest().node == sending.node);
            let Some(other) = other.filter(|_| left > 0) else { break };
            // A session that ends before the round that its record parts from knows less than the walk did.
            if sending.ordinal >= sessions[other].rounds() {
                break;
            }
            let put_out = sessions[other].put_out_by(sending.ordinal, sending.to, sending.number)?;
            own = sessions[other].causes_of(put_out, left)?;
            at = other;
        }
        Ok(causes)
    }

    fn known(&mut self, sessions: &[&mut Session]) -> Result<&Known, ReplayError> {
        if self.0.is_none() {
            self.0 = Some(Known::of(sessions)?);
        }
        Ok(self.0.as_ref().expect("it was just found"))
    }
}

impl Known {
    fn of(sessions: &[&mut Session]) -> Result<Known, ReplayError> {
        let options = Options::new();
        let mut nodes = Nodes::new();
        for session in sessions {
            nodes = nodes.and(session.walk(&options)?)?;
        }
        let mut known = Known::default();
        let Known { walked, came } = &mut known;
        let gone = nodes.rounds_into(walked, |round| {
            for frame in round.came {
                came.insert((round.node, round.log.ordinal, frame.source, frame.number), *frame);
                if came.len() > KEPT_MAX {
                    came.pop_first();
                }
            }
            ControlFlow::Continue(())
        });
        // Why a journal can't be played to its end each session has said when it was opened; what comes before is known.
        let is_told = sessions.iter().any(|session| session.stopped().is_some());
        gone.or_else(|error| if is_told { Ok(()) } else { Err(error) })?;
        Ok(known)
    }
}

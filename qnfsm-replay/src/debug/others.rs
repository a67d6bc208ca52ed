//! Further nodes beside the one that is looked at: causes are walked over into them, and one can go there. Each stands where it was left, and has stops of
//! its own.

use std::{mem::swap, rc::Rc};

use qnfsm::NodeId;

use super::{
    DebugError, Debugger, WrongLine,
    stops::Stops,
    view::{CauseView, View},
};
use crate::{
    ReplayError, Session,
    dump::Tables,
    nodes::{NodeCause, different},
};

/// A node that isn't the one which is looked at.
pub(super) struct Other {
    session: Session,
    tables: Rc<Tables>,
    stops: Stops,
}

impl Debugger {
    /// Looks at further nodes too, by sessions of theirs: `why` walks over into them, and `node` goes there.
    ///
    /// # Errors
    /// When two are of nodes with the same number.
    pub fn with(mut self, sessions: Vec<Session>) -> Result<Debugger, ReplayError> {
        let all = self.others.iter().map(|other| &other.session).chain([&self.session]).chain(&sessions);
        different(all.map(|session| (session.manifest().node, session.dir())))?;
        self.others.extend(sessions.into_iter().map(|session| {
            let tables = Rc::new(Tables::new(session.catalogue().table().clone()));
            Other { session, tables, stops: Stops::default() }
        }));
        Ok(self)
    }

    /// The node that is looked at, if there are others.
    #[must_use]
    pub fn one_of_several(&self) -> Option<NodeId> {
        (!self.others.is_empty()).then(|| self.session.manifest().node)
    }

    /// What led to the step that is looked at, over all nodes.
    pub(super) fn causes(&mut self, steps_max: usize) -> Result<Vec<NodeCause>, ReplayError> {
        let others = self.others.iter_mut().map(|other| &mut other.session);
        let mut sessions: Vec<_> = [&mut self.session].into_iter().chain(others).collect();
        self.crossings.causes(&mut sessions, steps_max)
    }

    /// A cause, by the names of its node's types.
    pub(super) fn cause(&self, cause: &NodeCause) -> CauseView {
        let other = self.others.iter().find(|other| other.session.manifest().node == cause.node);
        let mut views = self.views();
        if let Some(other) = other {
            (views.node, views.tables) = (cause.node, &other.tables);
        }
        let view = views.cause(&cause.cause);
        if self.others.is_empty() { view } else { view.of_node(cause) }
    }

    /// Goes to another node, or lists all.
    pub(super) fn go_to_node(&mut self, node: Option<NodeId>) -> Result<View, DebugError> {
        let here = self.session.manifest().node;
        let Some(node) = node else {
            let mut nodes: Vec<_> = self.others.iter().map(|other| other.session.manifest().node).collect();
            nodes.push(here);
            nodes.sort_unstable();
            let mark = |node: &NodeId| if *node == here { "; this one is looked at" } else { "" };
            let lines: Vec<_> = nodes.iter().map(|node| format!("node {}{}", node.0, mark(node))).collect();
            return Ok(View::Said { text: lines.join("\n") });
        };
        if node != here {
            let other = self.others.iter_mut().find(|other| other.session.manifest().node == node);
            let missing = || {
                let what = format!("no directory of node {} is open; `debug DIR --with DIR` opens several", node.0);
                WrongLine { at: 0, what }
            };
            let other = other.ok_or_else(missing)?;
            swap(&mut self.session, &mut other.session);
            swap(&mut self.tables, &mut other.tables);
            swap(&mut self.stops, &mut other.stops);
        }
        Ok(self.arrived(&format!("node {}", node.0), None))
    }
}

//! Peers that read nothing while the node has no room.
//!
//! What waits in send buffers counts towards the node's budget, so peers that don't read could use it up, and nobody
//! else would be read. While the node admits no new work, connections whose sockets have taken nothing for
//! [`STALLED_TIME_MAX`] are closed, the fullest first, one in each poll, until the node admits new work. A peer that
//! takes anything is never closed by this, and none is while the node admits new work.

use std::time::Instant;

use qnfsm::Inputs;

use super::{Entry, Running};
use crate::{
    connection::Closed,
    limits::{STALLED_LOOK_EVERY, STALLED_TIME_MAX},
    table::Name,
};

/// Connections that had stalled when they were last looked through.
#[derive(Default)]
pub(super) struct Stalled {
    /// The fullest is the last. They stay here while the node admits new work again, for when it doesn't; each is
    /// looked at again before it is closed.
    names: Vec<Name>,
    /// When the connections may be looked through next; at once if there is no time.
    look_at: Option<Instant>,
}

impl Running {
    /// When there may be somebody to close, if nothing changes before.
    pub(super) fn looks_for_stalled_at(&self) -> Option<Instant> {
        if self.admits || self.held_bytes() == 0 {
            return None;
        }
        let at_once = Instant::now();
        Some(if self.stalled.names.is_empty() { self.stalled.look_at.unwrap_or(at_once) } else { at_once })
    }

    /// Closes the fullest of the connections that have stalled, if the node has no room.
    pub(super) fn make_room(&mut self, now: Instant, inputs: &mut Inputs) {
        if self.admits || self.held_bytes() == 0 {
            return;
        }
        if self.stalled.names.is_empty() && self.stalled.look_at.is_none_or(|at| at <= now) {
            self.look_for_stalled(now);
        }
        let Some(name) = self.stalled.names.pop() else { return };
        let Some(Entry::Connection(connection)) = self.table.entry(name) else { return };
        if !connection.has_waited(STALLED_TIME_MAX, now) {
            return;
        }
        match connection.offer() {
            Ok(()) if connection.has_waited(STALLED_TIME_MAX, now) => {
                let why = Closed::Stalled { waiting: connection.waiting_bytes() };
                self.drop_connection(name, &why, inputs);
            }
            // It took some; its FSM may have to hear of it.
            Ok(()) => self.table.list(name),
            Err(why) => self.drop_connection(name, &why, inputs),
        }
    }

    fn look_for_stalled(&mut self, now: Instant) {
        let mut stalled = Vec::new();
        for name in self.table.names() {
            if let Some(Entry::Connection(connection)) = self.table.entry(name)
                && connection.has_waited(STALLED_TIME_MAX, now)
            {
                stalled.push((connection.waiting_bytes(), name));
            }
        }
        stalled.sort_unstable();
        if let Some((waiting_bytes, _)) = stalled.last() {
            tracing::warn!(
                connections = stalled.len(),
                waiting_bytes,
                "the node admits no new work, and peers read nothing; they are closed, the fullest first"
            );
        }
        self.stalled.names = stalled.into_iter().map(|(_, name)| name).collect();
        self.stalled.look_at = Some(now + STALLED_LOOK_EVERY);
    }
}

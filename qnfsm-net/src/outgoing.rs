//! The FSM's side of flow control: how much of what it sent to a peer is still under way.

use serde::{Deserialize, Serialize};

use crate::{limits::FLOW_FRAMES, protocol::Notice};

/// Counts what an FSM sent to one connection, for it to decide what to leave out when the peer reads slowly.
///
/// The edge never drops a message: it writes what it is told to, and closes the connection when too much waits. How
/// much the socket takes comes in as [`Notice::Flow`], which is recorded, so the FSM decides the same in a replay.
/// It is plain data and lives in the FSM. A new connection begins with a new one.
///
/// The window should be small enough for that many messages to fit into
/// [`Tcp::outgoing_bytes_max`](crate::Tcp::outgoing_bytes_max).
///
/// ```
/// use qnfsm_net::Outgoing;
///
/// let mut outgoing = Outgoing::new(16);
/// let mut left_out = 0;
/// for _tick in 0..20 {
///     if outgoing.may_send() {
///         // cx.send(qnfsm_net::peer(connection), snapshot);
///         outgoing.on_sent();
///     } else {
///         left_out += 1;
///     }
/// }
/// assert_eq!((outgoing.under_way(), left_out), (16, 4));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    sent: u64,
    taken: u64,
    window_frames: u32,
    free_bytes: Option<u32>,
}

impl Outgoing {
    /// For a new connection, of which at most `window_frames` messages are to be under way. A window below
    /// [`FLOW_FRAMES`] would wait for news that don't come, and is taken for that.
    #[must_use]
    pub fn new(window_frames: u32) -> Outgoing {
        Outgoing { sent: 0, taken: 0, window_frames: window_frames.max(FLOW_FRAMES), free_bytes: None }
    }

    /// True if fewer messages than the window are under way.
    #[must_use]
    pub fn may_send(&self) -> bool {
        self.under_way() < u64::from(self.window_frames)
    }

    /// Counts a message that was sent to the connection. Every message counts, also those sent past the window.
    pub fn on_sent(&mut self) {
        self.sent += 1;
    }

    /// Takes the news of a [`Notice::Flow`]; other notices change nothing.
    pub fn on_notice(&mut self, notice: &Notice) {
        if let Notice::Flow { frames_taken, free_bytes, .. } = *notice {
            self.taken = self.taken.max(frames_taken);
            self.free_bytes = Some(free_bytes);
        }
    }

    /// How many messages were sent of which the edge hasn't said yet that the socket took them.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.sent.saturating_sub(self.taken)
    }

    /// How many bytes more might have waited when the last [`Notice::Flow`] was sent; `None` before the first.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u32> {
        self.free_bytes
    }
}

#[cfg(test)]
mod tests {
    use qnfsm::{EdgeId, NodeId, QueueId, frame::edge_queue};

    use super::*;

    fn flow(frames_taken: u64) -> Notice {
        let connection = QueueId::from_raw(edge_queue(NodeId(0), EdgeId::FIRST_OF_USER));
        Notice::Flow { connection, frames_taken, free_bytes: 100 }
    }

    #[test]
    fn the_window_closes_and_news_open_it() {
        let mut outgoing = Outgoing::new(20);
        for _ in 0..20 {
            assert!(outgoing.may_send());
            outgoing.on_sent();
        }
        assert!(!outgoing.may_send());
        outgoing.on_notice(&flow(5));
        assert_eq!((outgoing.may_send(), outgoing.under_way(), outgoing.free_bytes()), (true, 15, Some(100)));
    }

    #[test]
    fn a_window_that_no_news_would_open_is_widened() {
        let mut outgoing = Outgoing::new(1);
        (0..FLOW_FRAMES).for_each(|_| outgoing.on_sent());
        assert!(!outgoing.may_send());
        outgoing.on_notice(&flow(u64::from(FLOW_FRAMES)));
        assert!(outgoing.may_send());
    }

    #[test]
    fn messages_past_the_window_count() {
        let mut outgoing = Outgoing::new(16);
        (0..40).for_each(|_| outgoing.on_sent());
        outgoing.on_notice(&flow(16));
        assert_eq!((outgoing.may_send(), outgoing.under_way()), (false, 24));
    }
}

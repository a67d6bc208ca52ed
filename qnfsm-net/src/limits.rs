//! The bounds of the edge, in one place, where they check one another when the crate is built.

use std::time::Duration;

use qnfsm::frame::FRAME_PAYLOAD_BYTES_MAX;

/// The longest frame from or to a peer, in bytes, unless [`Tcp::frame_bytes_max`](crate::Tcp::frame_bytes_max) says
/// otherwise.
pub const FRAME_BYTES_MAX_DEFAULT: u32 = 64 << 10;

/// How many bytes may wait for one peer to read, unless
/// [`Tcp::outgoing_bytes_max`](crate::Tcp::outgoing_bytes_max) says otherwise. Full buffers of as many connections as
/// there may be by default hold less than the node's default `hard_limit_bytes`: peers that don't read can't stop it.
pub const OUTGOING_BYTES_MAX_DEFAULT: u32 = 128 << 10;

/// How many connections there may be, unless [`Tcp::connections_max`](crate::Tcp::connections_max) says otherwise.
pub const CONNECTIONS_MAX_DEFAULT: u32 = 10_000;

/// A [`Flow`](crate::Notice::Flow) comes at the latest when this many frames more have been taken by the socket.
pub const FLOW_FRAMES: u32 = 16;

/// How long a peer may take to send its hello, and one attempt to connect may take in all.
pub const GREETING_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a connection waits for the FSM that it will belong to.
pub const ATTACH_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a connection that is closed on request may take to hand over what it still has for the peer.
pub const CLOSING_TIME_MAX: Duration = Duration::from_secs(5);

/// While the node admits no new work, a connection whose socket has taken nothing for so long, though something waits
/// for the peer, may be closed. A path that loses packets is silent for a second before it is tried anew; a peer that
/// reads takes something well within this; and the node's other peers can bear to wait so long.
pub const STALLED_TIME_MAX: Duration = Duration::from_secs(2);

/// How often connections are looked through for such ones. Each look goes over all of them.
pub(crate) const STALLED_LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long nothing is accepted after the operating system refused a socket.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections one listener accepts before others have their turn.
pub(crate) const ACCEPTS_PER_TURN: u32 = 64;

/// How much is read from one connection before others have their turn.
pub(crate) const READ_BYTES_PER_TURN: usize = 64 << 10;

/// How much is read from all connections in one poll.
pub(crate) const READ_BYTES_PER_POLL: usize = 1 << 20;

/// How many events are taken from the operating system at once.
pub(crate) const EVENTS_PER_POLL: usize = 1024;

/// The first wait between two attempts to connect is at most this long; it doubles with each.
pub(crate) const BACKOFF_BASE: Duration = Duration::from_millis(50);

/// No wait between two attempts to connect is longer.
pub(crate) const BACKOFF_CAP: Duration = Duration::from_secs(2);

/// Slots of tokens have half of a `usize`; one fewer, because slot 0 is the edge as a whole.
pub(crate) const SLOTS_MAX: u32 = if usize::BITS == 64 { u32::MAX - 1 } else { (1 << 16) - 2 };

const _: () = {
    assert!(FRAME_BYTES_MAX_DEFAULT as usize <= FRAME_PAYLOAD_BYTES_MAX, "a peer's frame must fit into an input");
    assert!(FRAME_BYTES_MAX_DEFAULT + 4 <= OUTGOING_BYTES_MAX_DEFAULT, "the longest frame must fit into the buffer");
    assert!(CONNECTIONS_MAX_DEFAULT < SLOTS_MAX, "each connection needs a slot");
    assert!(STALLED_LOOK_EVERY.as_millis() < STALLED_TIME_MAX.as_millis(), "who stalls must be found soon");
    assert!(READ_BYTES_PER_TURN <= READ_BYTES_PER_POLL, "one turn must fit into a poll");
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_buffers_of_all_connections_are_below_the_nodes_hard_limit() {
        let full = u64::from(CONNECTIONS_MAX_DEFAULT) * u64::from(OUTGOING_BYTES_MAX_DEFAULT);
        assert!(full < qnfsm::Limits::default().hard_limit_bytes, "{full} bytes");
    }
}

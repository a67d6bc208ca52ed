//! What FSMs and the edge say to each other: messages like any others, recorded like any others.

use std::time::Duration;

use qnfsm::{EdgeId, Inputs, Kinds, NodeId, QueueId, RawQueueId, frame::edge_queue};
use serde::{Deserialize, Serialize};

/// What the edge as a whole is asked; see [`control`].
///
/// An edge forgets what it was asked when its node goes down. An FSM that waits for a notice therefore monitors the
/// [`control`] queue meanwhile: a [`Down`](qnfsm::Down) with `Restarted` says that it is to ask again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Control {
    /// Accept connections at an address of the edge. The sender becomes its acceptor and gets [`Notice::Listening`] or
    /// [`Notice::ListenFailed`]; no other FSM can listen there until it stops.
    Listen {
        /// The name that [`Tcp::listen`](crate::Tcp::listen) gave the address.
        name: String,
    },
    /// Stop accepting. Connections that are there stay. Only the acceptor is heard.
    Unlisten {
        /// The name of the address.
        name: String,
    },
    /// Connect to an address of the edge, trying again until the deadline. The sender gets [`Notice::Connected`] or
    /// [`Notice::ConnectFailed`].
    Connect {
        /// The name that [`Tcp::connect`](crate::Tcp::connect) gave the address.
        name: String,
        /// How long to try, all attempts and the waits between them together.
        deadline: Duration,
    },
}

/// What a connection is asked, beside being sent messages for the peer, and being watched or stopped like any queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Command {
    /// The connection is to belong to the sender: what the peer sends goes to it and to nobody else. The socket isn't
    /// read before. The first FSM that asks gets it; another one gets [`Notice::AttachRefused`]. To be told when the
    /// connection is gone, and why, monitor it too ([`Context::monitor`](qnfsm::Context::monitor)).
    Attach,
    /// Close when what waits for the peer has been sent. Sent to a listener by its acceptor: stop accepting.
    Close,
}

/// What the edge tells FSMs. An FSM's message type takes it through `From`, and the kinds declare that with
/// [`Kinds::accepts`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Notice {
    /// Connections are accepted from now on.
    Listening {
        /// The name of the address.
        name: String,
        /// The listener: it can be watched, and stopped.
        listener: QueueId<Command>,
        /// The address with the port that was taken.
        address: String,
    },
    /// The address can't be listened at.
    ListenFailed {
        /// The name of the address.
        name: String,
        /// Why, in words.
        why: String,
    },
    /// A peer has connected and said hello. It is read when an FSM attaches itself; if none does within
    /// [`ATTACH_TIME_MAX`](crate::limits::ATTACH_TIME_MAX), it is closed.
    Accepted {
        /// The name of the address.
        name: String,
        /// The connection.
        connection: QueueId<Command>,
        /// The peer's address.
        peer: String,
    },
    /// A connection has been made and the peer has said hello. It is read when an FSM attaches itself.
    Connected {
        /// The name of the address.
        name: String,
        /// The connection.
        connection: QueueId<Command>,
        /// The peer's address.
        peer: String,
    },
    /// The deadline has passed without a connection.
    ConnectFailed {
        /// The name of the address.
        name: String,
        /// What became of the last attempt, in words.
        why: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The connection belongs to another FSM.
    AttachRefused {
        /// The connection.
        connection: QueueId<Command>,
    },
    /// How much the connection's socket has taken; see [`Outgoing`](crate::Outgoing). It comes when
    /// [`FLOW_FRAMES`](crate::limits::FLOW_FRAMES) frames or a quarter of the buffer have gone out since the last one,
    /// and when all has gone out after the socket had been full.
    Flow {
        /// The connection.
        connection: QueueId<Command>,
        /// How many of the messages that were sent to the connection are written to the socket, in all.
        frames_taken: u64,
        /// How many bytes may wait beside those that wait now. One more, and the connection is closed.
        free_bytes: u32,
    },
}

/// The queue of the edge as a whole, which takes [`Control`].
#[must_use]
pub fn control(node: NodeId, edge: EdgeId) -> QueueId<Control> {
    QueueId::from_raw(edge_queue(node, edge))
}

/// The same connection as a queue of messages for the peer, of whatever type the peer reads.
///
/// Only the FSM that the connection belongs to is heard there.
#[must_use]
pub fn peer<M>(connection: QueueId<Command>) -> QueueId<M> {
    QueueId::from_raw(connection.raw())
}

/// Registers the message types of this edge. Types that go to peers are registered with [`Kinds::message`], and those
/// that come from peers with [`Kinds::accepts`].
#[must_use]
pub fn messages(kinds: Kinds) -> Kinds {
    kinds.message::<Control>().message::<Command>().message::<Notice>()
}

/// Tells an FSM. What can't be told is traced: the edge looked its types up when it opened, so that leaves only names
/// of a length that nobody gives.
pub(crate) fn tell(inputs: &mut Inputs, fsm: RawQueueId, from: RawQueueId, notice: &Notice) {
    if let Err(error) = inputs.message(QueueId::from_raw(fsm), from, notice) {
        tracing::error!(%fsm, %from, %error, "a notice could not be put in");
    }
}

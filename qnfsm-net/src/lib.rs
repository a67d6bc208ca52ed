//! TCP for FSMs: an edge that listens, connects, frames, and binds each connection to the FSM made for it.
//!
//! [`Tcp`] is a [`Reactor`](qnfsm::Reactor) on mio: it runs on a thread of its own or inside a worker's loop. FSMs reach
//! it by messages. They send [`Control`] to the edge as a whole and [`Command`] to a connection; what else they send to
//! a connection is written to the peer. They are told by [`Notice`]s, and what a peer sends comes as a message of the
//! type that the program named for that address. All of it crosses the perimeter, so all of it is recorded, and a
//! replay needs no socket.
//!
//! - A connection has one owner, the FSM that sent [`Command::Attach`] first. Nothing is read before, nobody else gets
//!   what the peer sends, and nobody else is heard by the connection.
//! - What a peer sends is untrusted: lengths are checked before memory is reserved, the worker refuses queue IDs in it,
//!   and bytes that make no message close the connection with a reason.
//! - The edge drops nothing. Past [`Tcp::outgoing_bytes_max`] the connection is closed; [`Notice::Flow`] and
//!   [`Outgoing`] let the FSM decide what to leave out long before.
//! - What waits for peers counts towards the node's budget. While the node admits no new work, connections whose peers
//!   have taken nothing for [`limits::STALLED_TIME_MAX`] are closed, the fullest first, until there is room.
//! - A peer that closes its sending half has closed the connection.
//!
//! The wire format is in [`wire`]; the bounds are in [`limits`].
//!
//! ```
//! use qnfsm::Kinds;
//! use qnfsm_net::{Control, Notice, Tcp};
//! use serde::{Deserialize, Serialize};
//!
//! /// What a player sends.
//! #[derive(Serialize, Deserialize)]
//! enum Input { Step, Shoot }
//!
//! /// What a player's FSM takes.
//! #[derive(Serialize, Deserialize)]
//! enum PlayerMessage { Input(Input), Net(Notice) }
//!
//! impl From<Input> for PlayerMessage {
//!     fn from(input: Input) -> PlayerMessage { PlayerMessage::Input(input) }
//! }
//! impl From<Notice> for PlayerMessage {
//!     fn from(notice: Notice) -> PlayerMessage { PlayerMessage::Net(notice) }
//! }
//!
//! fn kinds() -> Kinds {
//!     qnfsm_net::messages(Kinds::new()).accepts::<PlayerMessage, Input>().accepts::<PlayerMessage, Notice>()
//! }
//! # let _ = kinds();
//!
//! // The edge, given to the node with the kinds. The FSM that sends `Listen { name: "game" }` to
//! // `qnfsm_net::control(node, edge)` gets an `Accepted` for each player.
//! let edge = Tcp::new().listen::<Input>("game", "127.0.0.1:0").frame_bytes_max(4096);
//! # let _ = edge;
//! ```
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an edge stands outside the perimeter: it reads clocks and is seeded by the operating system"
)]

mod backoff;
mod config;
mod connection;
mod connector;
pub mod limits;
mod listener;
mod outgoing;
mod protocol;
mod reactor;
mod send_buffer;
mod table;
mod tcp;
pub mod wire;

pub use outgoing::Outgoing;
pub use protocol::{Command, Control, Notice, control, messages, peer};
pub use tcp::Tcp;

//! What client and server say to each other, and the numbers that both sides build on.
//!
//! Everything here is plain data. A client numbers its commands 1, 2, 3, …; the server applies each of them exactly once
//! and in that order, and tells the last number that it applied. Nothing else is needed to resume: a client that comes
//! back sends again what lies above that number.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How wide the field is, in cells.
pub const FIELD_WIDTH: u8 = 64;
/// How high the field is, in cells.
pub const FIELD_HEIGHT: u8 = 64;
/// How far a shot flies, in cells.
pub const SHOT_RANGE: u8 = 16;
/// The health of a player who was not hit since he rose.
pub const HEALTH_MAX: u8 = 4;
/// How many ticks of the world there are in a second.
pub const TICKS_PER_SECOND: u32 = 20;
/// How many commands of one player the server keeps for later ticks. A client that leaves no more than these
/// unacknowledged never has one refused.
pub const COMMANDS_QUEUED_MAX: usize = 16;
/// The most other players, and the most shots, that one view shows.
pub const VIEW_ENTRIES_MAX: usize = 24;

/// Who plays. A player keeps his ID, and with it his standing, over any number of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlayerId(pub u32);

impl fmt::Display for PlayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "player {}", self.0)
    }
}

/// A place on the field; `x` counts from the west, `y` from the north.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// Cells from the western edge.
    pub x: u8,
    /// Cells from the northern edge.
    pub y: u8,
}

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Towards smaller `y`.
    North,
    /// Towards greater `x`.
    East,
    /// Towards greater `y`.
    South,
    /// Towards smaller `x`.
    West,
}

impl Direction {
    /// All four, in the order of their codes in [`Standing::check`].
    pub const ALL: [Direction; 4] = [Direction::North, Direction::East, Direction::South, Direction::West];
}

/// What a player wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Go one cell. A wall in the way stops the player, and the command counts all the same.
    Move(Direction),
    /// Send a shot that way.
    Shoot(Direction),
}

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientMessage {
    /// The first message of a connection: who is there.
    Hello {
        /// The player that this connection plays from now on.
        player: PlayerId,
    },
    /// An action, with the client's number for it.
    Command {
        /// Counts from 1 for each player, without gaps, over all his connections.
        number: u64,
        /// What to do.
        action: Action,
    },
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerMessage {
    /// The answer to a hello. All commands above `you.last_applied` are to be sent again.
    Welcome {
        /// The tick that the world has reached.
        tick: u64,
        /// The player's standing.
        you: Standing,
    },
    /// The connection will be closed.
    Refused {
        /// The reason.
        why: Refusal,
    },
    /// The player's standing. A later one makes up for all before it that were left out.
    Told {
        /// The tick that the world has reached.
        tick: u64,
        /// The player's standing.
        standing: Standing,
    },
    /// What the player sees. Any of these can be left out.
    View {
        /// The tick that this is the end of.
        tick: u64,
        /// The player himself.
        you: PlayerView,
        /// Others near by, the nearest first; at most [`VIEW_ENTRIES_MAX`].
        players: Vec<PlayerView>,
        /// Shots near by, the nearest first; at most [`VIEW_ENTRIES_MAX`].
        shots: Vec<ShotView>,
    },
}

/// What a player is told about himself. None of it may ever be lost: no number here gets smaller, whatever happens to
/// the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Standing {
    /// The number of the last command that was applied; 0 before the first.
    pub last_applied: u64,
    /// How many commands were applied.
    pub applied: u64,
    /// How many of them were moves.
    pub odometer: u64,
    /// How many of them were shots.
    pub shots_fired: u64,
    /// The checksum of all commands applied, 0 before the first. With each it becomes
    /// `(rotate_left(check, 7) ^ (8 * number + code)) * 0x9e37_79b9_7f4a_7c15` in 64 bits that wrap, where `code` is
    /// the direction's place in [`Direction::ALL`], and 4 more for a shot. Server and client each have code of their
    /// own for it.
    pub check: u64,
    /// How often this player's shots hit somebody.
    pub score: u64,
    /// How often this player fell.
    pub deaths: u64,
    /// How many things befell this player: hits that he made and took, falls, and rises.
    pub events: u64,
}

/// A player as seen by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerView {
    /// Who.
    pub player: PlayerId,
    /// Where.
    pub at: Cell,
    /// From [`HEALTH_MAX`] down to 0, at which he lies on the ground and waits to rise.
    pub health: u8,
}

/// A shot as seen by players.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShotView {
    /// Where.
    pub at: Cell,
    /// Where it flies.
    pub heading: Direction,
}

/// Why a server does not talk with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// There are as many players as there may be.
    WorldFull,
    /// A command came before the hello.
    HelloMissing,
    /// A second hello came on the same connection.
    HelloTwice,
    /// The same player came on a newer connection.
    PlaysElsewhere,
    /// The bytes make no message.
    Malformed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::WorldFull => "the world has as many players as it takes; come back to another one",
            Refusal::HelloMissing => "the first message must be a hello",
            Refusal::HelloTwice => "there was a hello on this connection already; open another one for another player",
            Refusal::PlaysElsewhere => "the player has a newer connection",
            Refusal::Malformed => "the bytes are no message of this protocol",
        })
    }
}

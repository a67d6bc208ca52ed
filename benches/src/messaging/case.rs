//! The cases: their names, what a lap of each is, and what must have been received after it.

use std::{fmt, str::FromStr};

use super::roles::{BURST, RING, Received};
use crate::plan::Failure;

/// The most senders of fan-in: what they may have under way fits into a queue of ours, which takes 65,536 messages.
const SENDERS_MAX: u32 = 256;
/// The most receivers of fan-out: their acknowledgements fit into such a queue.
const RECEIVERS_MAX: u32 = 65_000;

/// What is measured, with its number of senders, tokens or receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Two FSMs, one message under way.
    PingPong,
    /// So many senders to one sink.
    FanIn(u32),
    /// A thousand FSMs, so many tokens.
    Ring(u32),
    /// Children that stop after their first message.
    Spawn,
    /// Children that stay after it: how much memory they take.
    SpawnMemory,
    /// One hub, so many receivers, rounds that all of them acknowledge.
    FanOut(u32),
}

impl Case {
    /// The name that it shares with its like.
    pub fn family(self) -> &'static str {
        match self {
            Case::PingPong => "ping-pong",
            Case::FanIn(_) => "fan-in",
            Case::Ring(_) => "ring",
            Case::Spawn | Case::SpawnMemory => "spawn-and-drop",
            Case::FanOut(_) => "fan-out",
        }
    }

    /// What a value is in. In fan-out a pair is a message and its acknowledgement.
    pub fn unit(self) -> &'static str {
        match self {
            Case::PingPong | Case::FanIn(_) | Case::Ring(_) => "ns/message",
            Case::Spawn => "ns/child",
            Case::SpawnMemory => "bytes/child",
            Case::FanOut(_) => "ns/pair",
        }
    }

    /// Whether a child is measured that stays.
    pub fn stays(self) -> bool {
        self == Case::SpawnMemory
    }

    /// The size of a lap of about so many messages, at least 1: rounds, bursts of each sender, hops of each
    /// token, or children.
    pub fn size(self, messages: u64) -> u32 {
        let size = u32::try_from(messages / self.messages(1)).expect("laps are bounded");
        size.max(1)
    }

    /// How many messages a lap of that size is.
    pub fn messages(self, size: u32) -> u64 {
        let each = match self {
            Case::PingPong => 2,
            Case::FanIn(senders) => senders * BURST,
            Case::Ring(tokens) => tokens,
            Case::Spawn | Case::SpawnMemory => 1,
            Case::FanOut(receivers) => receivers,
        };
        u64::from(each) * u64::from(size)
    }

    /// Checks what was received in a lap of that size.
    ///
    /// # Errors
    /// When it is anything else than what was sent.
    pub fn check(self, received: &Received, size: u32) -> Result<(), Failure> {
        match self {
            Case::PingPong => received.check(1, size),
            Case::FanIn(senders) => received.check(senders, size * BURST),
            Case::Ring(tokens) => received.check(tokens, 1),
            Case::Spawn | Case::SpawnMemory => received.check(1, size),
            Case::FanOut(receivers) => received.check_rounds(receivers, size),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family();
        match self {
            Case::PingPong | Case::Spawn => f.write_str(family),
            Case::SpawnMemory => write!(f, "{family}-memory"),
            Case::FanIn(number) | Case::Ring(number) | Case::FanOut(number) => write!(f, "{family}-{number}"),
        }
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(name: &str) -> Result<Case, String> {
        let numbered = name.rsplit_once('-').and_then(|(family, number)| Some((family, number.parse::<u32>().ok()?)));
        match (name, numbered) {
            ("ping-pong", _) => Ok(Case::PingPong),
            ("spawn-and-drop", _) => Ok(Case::Spawn),
            ("spawn-and-drop-memory", _) => Ok(Case::SpawnMemory),
            (_, Some(("fan-in", senders @ 1..=SENDERS_MAX))) => Ok(Case::FanIn(senders)),
            (_, Some(("ring", tokens @ 1..=RING))) => Ok(Case::Ring(tokens)),
            (_, Some(("fan-out", receivers @ 1..=RECEIVERS_MAX))) => Ok(Case::FanOut(receivers)),
            _ => Err(format!("the suite has no case {name}")),
        }
    }
}

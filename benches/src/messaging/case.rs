//! The cases: their names, what a lap of each is, and what must have been received after it.

use std::{fmt, str::FromStr};

use super::roles::{BURST, RING, Received};
use crate::plan::Failure;

/// What is measured, with its number of senders, tokens or receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Two FSMs, one message under way.
    PingPong,
    /// So many senders to one sink.
    FanIn(u32),
    /// A thousand FSMs, so many tokens.
    Ring(u32),
}

impl Case {
    /// The name that it shares with its like.
    pub fn family(self) -> &'static str {
        match self {
            Case::PingPong => "ping-pong",
            Case::FanIn(_) => "fan-in",
            Case::Ring(_) => "ring",
        }
    }

    /// What a value is of.
    pub fn unit(self) -> &'static str {
        "ns/message"
    }

    /// The size of a lap of about so many messages, at least 1: rounds, bursts of each sender, or hops of each token.
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
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family();
        match self {
            Case::PingPong => f.write_str(family),
            Case::FanIn(number) | Case::Ring(number) => write!(f, "{family}-{number}"),
        }
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(name: &str) -> Result<Case, String> {
        let numbered = name.rsplit_once('-').and_then(|(family, number)| Some((family, number.parse::<u32>().ok()?)));
        match (name, numbered) {
            ("ping-pong", _) => Ok(Case::PingPong),
            (_, Some(("fan-in", senders @ 1..=1_000))) => Ok(Case::FanIn(senders)),
            (_, Some(("ring", tokens @ 1..=RING))) => Ok(Case::Ring(tokens)),
            _ => Err(format!("the suite has no case {name}")),
        }
    }
}

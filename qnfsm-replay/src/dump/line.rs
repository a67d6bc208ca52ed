//! One line of what a journal says, with its parts by name: what a text is written from, and a JSON object.
//!
//! The names of fields are part of what the program `qnfsm` promises; the guide lists them.

use std::fmt;

use qnfsm::{Place, RawQueueId, RequestId, journal::Reached};
use serde::{Serialize, Serializer};

use super::{Instant, Summary, Value};

/// One thing that a journal says, or a part of it.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// The segment in which its record stands. All lines but the summary have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<Number>,
    /// Where in the segment's file the record begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Number>,
    /// The worker that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<u32>,
    /// The round that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<Number>,
    /// What it says.
    #[serde(flatten)]
    pub what: What<'a>,
}

impl Line<'_> {
    /// True if the line is a part of what the one before it says, such as a frame of a round.
    #[must_use]
    pub fn is_part(&self) -> bool {
        matches!(
            self.what,
            What::Frame { .. }
                | What::Delivery { .. }
                | What::Fsm { .. }
                | What::Waiting { .. }
                | What::Timer { .. }
                | What::Request { .. }
                | What::Monitors { .. }
        )
    }
}

/// A table that FSMs read.
#[derive(Debug, Serialize)]
pub struct Resource<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// The hash of its content.
    pub hash: Hex,
}

/// What a line says.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are those of the records and of the format's page, by the same names")]
pub enum What<'a> {
    /// A segment's header.
    Segment {
        program: Name<'a>,
        node: u32,
        identity: String,
        epoch: u32,
        build: Hex,
        build_bytes: Number,
        kinds: Vec<Name<'a>>,
        message_types: Vec<Name<'a>>,
        resources: Vec<Resource<'a>>,
    },
    /// A worker was started.
    WorkerStarted {
        epoch: u32,
        asked_by: Option<Queue>,
        request: Option<Number>,
        config: Config,
    },
    /// A worker was stopped for good.
    WorkerStopped {
        digest: Hex,
    },
    /// A round began; its frames are the lines that follow.
    Round {
        time: Instant,
        bound: u32,
        digest_before: Hex,
        frames: Number,
    },
    /// A frame that entered with the round.
    Frame {
        source: Where,
        source_epoch: u32,
        number: Number,
        class: &'static str,
        untrusted: bool,
        to: Queue,
        from: Queue,
        request: Option<Number>,
        /// The message type; of a spawn, the kind.
        #[serde(rename = "type")]
        of: Option<Name<'a>>,
        value: Option<Value<'a>>,
    },
    /// What a handler was given through a port.
    External {
        port: Name<'a>,
        bytes: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        hex: Option<String>,
    },
    /// Which version of a behaviour a worker uses from here on.
    Version {
        name: Name<'a>,
        version: u32,
    },
    /// The digest of the worker's last round.
    DigestMark {
        digest: Hex,
    },
    SnapshotBegun {
        digest: Hex,
    },
    /// One delivery of a round.
    Delivery {
        number: Number,
        queue: Queue,
        kind: Name<'a>,
        handler: &'static str,
        #[serde(rename = "type")]
        of: Option<Name<'a>>,
        from: Option<Queue>,
        message: Option<Value<'a>>,
        /// The state after it; none if the FSM stopped, or has no states.
        state: Option<Value<'a>>,
        data_digest: Hex,
        effects_digest: Hex,
        round_digest: Hex,
        spawned: Vec<Queue>,
    },
    /// A snapshot's mark, and what became of its file. Its FSMs are the lines that follow.
    Snapshot {
        /// Of the round, as the mark says; none where a snapshot is shown without one.
        digest: Option<Hex>,
        image_digest: Hex,
        driver_digest: Hex,
        file: FileState,
        contents: Option<Contents>,
    },
    /// An FSM in a snapshot. What waits for it are the lines that follow.
    Fsm {
        queue: Queue,
        kind: Name<'a>,
        state: Option<Value<'a>>,
        /// The FSM's data; all that it is, where data or state is opaque.
        data: Value<'a>,
        requests_made: Option<Number>,
        restarts: Option<u32>,
        /// Why its bytes could not be taken apart.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// A message that waits for an FSM of a snapshot.
    Waiting {
        queue: Queue,
        waits: &'static str,
        from: Option<Queue>,
        asks: Option<Number>,
        answers: Option<Number>,
        timer: Option<Name<'a>>,
        beats: Option<Number>,
        message: Value<'a>,
    },
    /// A timer of an FSM of a snapshot.
    Timer {
        queue: Queue,
        name: Name<'a>,
        deadline: Instant,
        every_ns: Option<Number>,
        message: Value<'a>,
    },
    /// A request of an FSM of a snapshot that has no answer yet.
    Request {
        queue: Queue,
        request: Number,
        deadline: Instant,
        #[serde(rename = "type")]
        of: Name<'a>,
    },
    /// The queues that an FSM of a snapshot monitors.
    Monitors {
        queue: Queue,
        queues: Vec<Queue>,
    },
    /// What shapes a worker was changed.
    Configured {
        config: Config,
    },
    /// Everything before that position is on disk.
    SyncMark {
        synced_segment: Number,
        synced_offset: Number,
    },
    /// The node was stopped cleanly.
    CleanStop {
        epoch: u32,
    },
    /// A delivery was skipped.
    Skipped {
        delivery: Delivered,
        stops: bool,
    },
    /// How far an attempt at the worker's last round came.
    Attempt {
        outcome: &'static str,
        delivery: Option<Delivered>,
    },
    /// The worker's start may be gone from the journal.
    WorkerKept {
        asked_by: Option<Queue>,
        request: Option<Number>,
    },
    /// A record of a later version, or a part of one that can't be understood though every checksum is right.
    Unknown {
        note: String,
    },
    /// What was read in all: the last line.
    Summary(Summary),
}

/// What shapes a worker.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "they are the fields of `WorkerConfig`")]
pub struct Config {
    /// Shown as the seed of what can be guessed from it: random numbers, not secrets.
    pub seed: Number,
    pub recording: &'static str,
    pub turn_messages: u32,
    pub fsms_max: u32,
}

/// Which delivery of a round.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "they are the fields of `Reached`")]
pub struct Delivered {
    pub number: u32,
    pub slot: u32,
    pub generation: u32,
    pub values: Number,
}

impl From<Reached> for Delivered {
    fn from(at: Reached) -> Delivered {
        let Reached { delivery, seat: (slot, generation), values } = at;
        Delivered { number: delivery, slot, generation, values: Number(values) }
    }
}

/// What became of a snapshot's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileState {
    /// It is the one that the mark is of.
    Sound,
    /// It was the one of a mark before this one.
    ShownBefore,
    /// Nobody asked for it.
    NotOpened,
    /// There is none: later ones took its place.
    Gone,
    /// There is another one of the same round, which this mark isn't of.
    Another,
    /// It is damaged.
    Damaged {
        /// Where, and how.
        note: String,
    },
}

/// What is in a snapshot, in numbers.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Contents {
    pub time: Instant,
    pub image_bytes: usize,
    pub driver_bytes: usize,
    pub fsms: usize,
    pub handled: Number,
    pub dead_letters: Number,
    pub panics: Number,
    pub config: Config,
}

/// A number. In JSON a text if it is beyond 2^53, because many readers have no such numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Number(pub u64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 <= 1 << 53 { serializer.serialize_u64(self.0) } else { serializer.collect_str(&self.0) }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<RequestId> for Number {
    fn from(request: RequestId) -> Number {
        Number(request.0)
    }
}

/// A digest, in sixteen digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex(pub u64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A queue's name, such as `w0/7.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue(pub RawQueueId);

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A worker or an edge, such as `w0` or `e1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Where(pub Place);

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A name out of a journal: of a kind, a type, a port, a timer. What would move a terminal's cursor is escaped, and a long one
/// cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a>(pub &'a str);

/// How much is shown of a name.
const NAME_CHARS_MAX: usize = 200;

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut letters = self.0.chars();
        for letter in letters.by_ref().take(NAME_CHARS_MAX) {
            let is_plain = letter.escape_debug().len() == 1 || matches!(letter, '"' | '\'');
            if is_plain { write!(f, "{letter}")? } else { write!(f, "{}", letter.escape_debug())? }
        }
        if letters.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

macro_rules! as_texts {
    ($($type:ty),* $(,)?) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

as_texts! { Hex, Queue, Where, Name<'_>, Instant }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_cut() {
        assert_eq!(Name("it's \"a\"::B<é>").to_string(), "it's \"a\"::B<é>");
        assert_eq!(Name("\u{1b}[2J\n\u{202e}").to_string(), r"\u{1b}[2J\n\u{202e}");
        assert_eq!(Name(&"x".repeat(1 << 20)).to_string(), "x".repeat(200) + "…");
    }

    #[test]
    fn numbers_that_json_readers_lack_are_texts() {
        let json = |number| serde_json::to_string(&Number(number)).map_err(|error| error.to_string());
        assert_eq!(json(1 << 53), Ok("9007199254740992".to_owned()));
        assert_eq!(json(u64::MAX), Ok("\"18446744073709551615\"".to_owned()));
    }
}

//! What a case is made of: a start value and inputs, as bytes. Whatever a case does follows from them, so they are what is drawn,
//! shrunk, kept and tried again. What doesn't survive the way into bytes is noted on it.

use std::fmt::Debug;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Codec, DownReason, Fsm, Message, NoReply, Trust};

/// One thing that enters the worker from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Input {
    /// A message to the FSM under test.
    Tell(Payload),
    /// Time passes: timer by timer, or at once, as if the process had slept.
    Pass { ns: u64, at_once: bool },
    /// The answer of a request that an FSM made elsewhere: of the one with that number, among those that wait for an answer of that
    /// type. `of` counts the types of answers that the property draws.
    Answer { which: u32, of: u32, answer: Payload },
    /// Such a request has no answer.
    NoAnswer { which: u32, why: NoReply },
    /// A queue elsewhere is gone, or can't be reached: the one with that number, among those that are monitored.
    Down { which: u32, reason: DownReason },
}

/// A message in its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Payload {
    pub(super) bytes: Vec<u8>,
    /// In what the value differs that comes back from these bytes. What was kept is bytes alone.
    #[serde(skip)]
    pub(super) flaw: Option<String>,
}

/// An input, and when the next one comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) input: Input,
    /// The next one goes in before anything was done about this one, unless it is time that passes.
    pub(super) with_next: bool,
}

/// All that a run depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Case {
    /// The FSM's start value.
    pub(super) start: Vec<u8>,
    pub(super) inputs: Vec<Entry>,
}

impl Payload {
    /// The bytes of a message, which is tried on the codec.
    pub(super) fn of<M: Message + Debug>(message: &M) -> Payload {
        let mut bytes = Vec::new();
        let flaw = match Codec::CURRENT.encode(message, &mut bytes) {
            Ok(()) => flaw(message, &bytes),
            Err(error) => Some(format!("{message:?} can't be encoded: {error}")),
        };
        Payload { bytes, flaw }
    }
}

/// In what a message differs from the one that its bytes come back as.
fn flaw<M: Message + Debug>(message: &M, bytes: &[u8]) -> Option<String> {
    let back: M = match Codec::CURRENT.decode(bytes, Trust::Node) {
        Ok(back) => back,
        Err(error) => return Some(format!("{message:?} can't be decoded again: {error}")),
    };
    let (was, is) = (format!("{message:?}"), format!("{back:?}"));
    if was == is { flaw_of_bytes::<M>(bytes) } else { Some(format!("{was} comes back from the codec as {is}")) }
}

/// What becomes of bytes that are a message, or should be: in what they don't come back as they were.
pub(super) fn flaw_of_bytes<M: Message>(bytes: &[u8]) -> Option<String> {
    let back: M = match Codec::CURRENT.decode(bytes, Trust::Node) {
        Ok(back) => back,
        Err(error) => return Some(format!("its bytes can't be decoded: {error}")),
    };
    let mut again = Vec::new();
    match Codec::CURRENT.encode(&back, &mut again) {
        Ok(()) if again == bytes => None,
        Ok(()) => Some(format!("its bytes are {} and, when it comes back, {}", hex(bytes), hex(&again))),
        Err(error) => Some(format!("what comes back from its bytes can't be encoded: {error}")),
    }
}

/// The bytes of a start value.
pub(super) fn start_value<F: Fsm>(fsm: &F) -> Vec<u8> {
    encoded(fsm).unwrap_or_else(|error| panic!("Property: the start value can't be encoded: {error}"))
}

fn encoded<T: Serialize>(value: &T) -> Result<Vec<u8>, crate::EncodeError> {
    let mut bytes = Vec::new();
    Codec::CURRENT.encode(value, &mut bytes).map(|()| bytes)
}

impl Case {
    /// The case as text that can be kept in a file.
    pub(super) fn to_text(&self) -> String {
        hex(&encoded(self).expect("a case is bytes, numbers and texts"))
    }

    /// The case that such a text is; nothing if it is none.
    pub(super) fn from_text(text: &str) -> Option<Case> {
        decoded(&unhex(text)?)
    }
}

fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    Codec::CURRENT.decode(bytes, Trust::Node).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

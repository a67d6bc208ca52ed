//! What an older version of a program wrote, for the functions that make today's values of it: [`Fsm::upgrade`](super::Fsm::upgrade)
//! and [`Kinds::message_version`](crate::Kinds::message_version).

use std::{
    cell::Cell,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::de::DeserializeOwned;

use crate::{
    codec::{Codec, DecodeError, EncodeError, Trust},
    panic::panic_text,
};

/// Why a value of another version can't be carried over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// Nobody says how.
    #[error("this program can't read version {version}; see to it in `upgrade`, or start the build that wrote it")]
    UnknownVersion {
        /// The version that wrote it.
        version: u32,
    },
    /// Its form changed though its version did not.
    #[error(
        "its fields changed, and its version is {version} still; raise that, and see to the change in `Fsm::upgrade`, or of a message with `Kinds::message_version`"
    )]
    SameVersion {
        /// The version of both.
        version: u32,
    },
    /// A later build wrote it.
    #[error("version {wrote} wrote it, and this program has version {own}; start the build that wrote it")]
    Newer {
        /// The version that wrote it.
        wrote: u32,
        /// This program's.
        own: u32,
    },
    /// The kind takes messages of another type now, whose versions are counted apart.
    #[error(
        "its kind took messages of type {was}, and takes {is} now; give both the same name with `Kinds::message_named`"
    )]
    Renamed {
        /// What the type was called.
        was: String,
        /// What it is called.
        is: String,
    },
    /// The type is none of this program's any more.
    #[error("this program has no such {what} any more; register it, or start the build that wrote it")]
    Gone {
        /// Which kind or message type.
        what: String,
    },
    /// It waits for an answer that its kind doesn't take.
    #[error(
        "it waits for the answer to a request, of type {answer}, and this program doesn't say how its messages take that; declare it with `Kinds::replies`, or start the build that wrote it"
    )]
    NoAnswer {
        /// The answer's type.
        answer: String,
    },
    /// A message is on its way to it that its kind doesn't take.
    #[error(
        "a message of type {message} is on its way to it, and this program doesn't say how its messages take that; declare it with `Kinds::accepts`, or start the build that wrote it"
    )]
    NotAccepted {
        /// The message's type.
        message: String,
    },
    /// The bytes are no value of the type that was given for the old version.
    #[error("the old value can't be read: {0}; give the types as they were in that version")]
    Read(#[from] DecodeError),
    /// The new value can't be written.
    #[error(
        "the value that `upgrade` gave can't be written: {0}; mend `upgrade`, or start the build that wrote the old one"
    )]
    Write(#[from] EncodeError),
    /// `upgrade` panicked.
    #[error("`upgrade` panicked: {0}; mend it, or start the build that wrote the old value")]
    Panicked(String),
    /// `upgrade` didn't keep to its rules, or says why it can't.
    #[error("{0}")]
    Refused(String),
}

/// Runs a function of the user's that upgrades something. Of what it leaves behind when it panics nothing is used.
pub(crate) fn upgraded<T>(upgrade: impl FnOnce() -> Result<T, UpgradeError>) -> Result<T, UpgradeError> {
    catch_unwind(AssertUnwindSafe(upgrade))
        .unwrap_or_else(|panic| Err(UpgradeError::Panicked(panic_text(&*panic).to_owned())))
}

/// An FSM as a program of another version wrote it.
#[derive(Debug)]
pub struct OldFsm<'a> {
    version: u32,
    bytes: &'a [u8],
    /// A state follows the data.
    has_state: bool,
    reading: &'a Reading,
}

/// What was read of an old FSM.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// How many bytes are left behind it.
    pub(crate) left: Cell<Option<usize>>,
    /// Whether it had started.
    pub(crate) has_started: Cell<bool>,
}

impl<'a> OldFsm<'a> {
    pub(crate) fn new(version: u32, bytes: &'a [u8], has_state: bool, reading: &'a Reading) -> OldFsm<'a> {
        OldFsm { version, bytes, has_state, reading }
    }

    /// The [`Fsm::VERSION`](super::Fsm::VERSION) of the program that wrote it.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Reads its data and its state, by types that are as they were then. There is no state before it has started.
    ///
    /// # Errors
    /// When the bytes are no values of these types.
    pub fn read<D: DeserializeOwned, S: DeserializeOwned>(self) -> Result<(D, Option<S>), UpgradeError> {
        let (data, mut left) = Codec::CURRENT.decode_front(PhantomData, self.bytes)?;
        let mut state: Option<S> = None;
        if self.has_state {
            let behind = &self.bytes[self.bytes.len() - left..];
            (state, left) = Codec::CURRENT.decode_front(PhantomData, behind)?;
        }
        self.reading.left.set(Some(left));
        self.reading.has_started.set(state.is_some());
        Ok((data, state))
    }

    /// That nobody knows this version.
    #[must_use]
    pub fn unknown(&self) -> UpgradeError {
        UpgradeError::UnknownVersion { version: self.version }
    }
}

/// A message as a program of another version wrote it.
#[derive(Debug)]
pub struct OldMessage<'a> {
    version: u32,
    bytes: &'a [u8],
}

impl<'a> OldMessage<'a> {
    pub(crate) fn new(version: u32, bytes: &'a [u8]) -> OldMessage<'a> {
        OldMessage { version, bytes }
    }

    /// The version of the message type in the program that wrote it; 1 where that gave none.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Reads it by a type that is as it was then.
    ///
    /// # Errors
    /// When the bytes are no value of this type.
    pub fn read<M: DeserializeOwned>(self) -> Result<M, UpgradeError> {
        Ok(Codec::CURRENT.decode(self.bytes, Trust::Node)?)
    }

    /// That nobody knows this version.
    #[must_use]
    pub fn unknown(&self) -> UpgradeError {
        UpgradeError::UnknownVersion { version: self.version }
    }
}

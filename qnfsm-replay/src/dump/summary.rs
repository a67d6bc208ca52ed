//! What was read in all, and what of it could not be shown by names.

use std::collections::BTreeMap;

use qnfsm::Table;
use serde::Serialize;

use super::Number;

/// What was read in all: of the whole journal, also where less of it was shown.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Records.
    pub records: Number,
    /// Rounds.
    pub rounds: Number,
    /// Frames that entered with them.
    pub frames: Number,
    /// Messages and answers among these.
    pub messages: Number,
    /// Snapshots that were opened, and FSMs in them.
    pub snapshots: Number,
    /// FSMs in these.
    pub fsms: Number,
    /// Kinds of the program, or the programs, that wrote it.
    pub kinds: usize,
    /// Kinds of which data or states are opaque.
    pub kinds_opaque: usize,
    /// Message types.
    pub message_types: usize,
    /// Message types that are opaque.
    pub message_types_opaque: usize,
    /// All that is opaque, by name.
    pub opaque: Vec<Opaque>,
    /// What a crash left behind the journal's end.
    pub lost: Option<String>,
}

/// A type whose values are shown in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opaque {
    /// What it is, such as `message type bank::Order`.
    pub name: String,
    /// Why, and what to do about it.
    pub why: String,
}

/// The types of all programs that wrote segments of a journal, by name; true if any is opaque.
#[derive(Debug, Default)]
pub(super) struct Types {
    kinds: BTreeMap<String, bool>,
    messages: BTreeMap<String, bool>,
    opaque: BTreeMap<String, String>,
}

/// What is counted while a journal is read.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) rounds: u64,
    pub(super) frames: u64,
    pub(super) messages: u64,
    pub(super) snapshots: u64,
    pub(super) fsms: u64,
}

impl Types {
    pub(super) fn add(&mut self, table: &Table) {
        for kind in &table.kinds {
            let is_opaque = kind.value.opaque.is_some() || kind.state.opaque.is_some();
            *self.kinds.entry(kind.name.clone()).or_default() |= is_opaque;
        }
        for message in &table.messages {
            *self.messages.entry(message.name.clone()).or_default() |= message.schema.opaque.is_some();
        }
        self.opaque.extend(table.opaque().map(|(name, why)| (name, why.to_owned())));
    }

    pub(super) fn summary(&self, counts: &Counts, lost: Option<String>) -> Summary {
        let opaque = |of: &BTreeMap<String, bool>| of.values().filter(|is_opaque| **is_opaque).count();
        let cut = |text: &str| super::Name(text).to_string();
        Summary {
            records: Number(counts.records),
            rounds: Number(counts.rounds),
            frames: Number(counts.frames),
            messages: Number(counts.messages),
            snapshots: Number(counts.snapshots),
            fsms: Number(counts.fsms),
            kinds: self.kinds.len(),
            kinds_opaque: opaque(&self.kinds),
            message_types: self.messages.len(),
            message_types_opaque: opaque(&self.messages),
            opaque: self.opaque.iter().map(|(name, why)| Opaque { name: cut(name), why: cut(why) }).collect(),
            lost,
        }
    }
}

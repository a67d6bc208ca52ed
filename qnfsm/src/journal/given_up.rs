//! What an operator gave up with the end of a journal, as far as it can still be read.
//!
//! The bytes needn't hang together: each record that is sound in its place is counted, whatever stands before it. Nothing
//! is decided by that, it is only said.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive};

use super::{
    bytes::bytes_before_zeros,
    envelope::{Position, SYNC_WORD, Seed, take_record},
    record::{Record, is_known},
    segment::SegmentHeader,
};
use crate::id::{Epoch, WorkerId};

/// What was given up with the end of a journal. It is kept in `lost`; here it says what it was, as far as that can still be
/// read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GivenUp {
    /// Where the journal ends now.
    pub at: Position,
    /// How many bytes lay behind that.
    pub bytes: u64,
    /// How many of them are no part of a sound record.
    pub bytes_unread: u64,
    /// By worker, the first and the last of its rounds that were recorded there.
    pub rounds: BTreeMap<WorkerId, RangeInclusive<u64>>,
    /// The epochs that began there.
    pub epochs: Vec<Epoch>,
    /// The epochs that ended there in a clean stop.
    pub clean_stops: Vec<Epoch>,
    /// How many snapshots were moved aside, because they are of what was given up.
    pub snapshots: u64,
}

impl GivenUp {
    pub(super) fn new(at: Position) -> GivenUp {
        GivenUp {
            at,
            bytes: 0,
            bytes_unread: 0,
            rounds: BTreeMap::new(),
            epochs: Vec::new(),
            clean_stops: Vec::new(),
            snapshots: 0,
        }
    }
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GivenUp { at, bytes, bytes_unread, rounds, epochs, clean_stops, snapshots } = self;
        write!(f, "the journal was made to end at {at}, and {bytes} bytes behind that are given up")?;
        if *bytes_unread != 0 {
            write!(f, ", {bytes_unread} of which can't be read")?;
        }
        let mut begun = false;
        let mut parts = rounds.iter().map(|(worker, rounds)| match (rounds.start(), rounds.end()) {
            (first, last) if first == last => format!("round {first} of {worker}"),
            (first, last) => format!("rounds {first} to {last} of {worker}"),
        });
        let epochs = epochs.iter().map(|epoch| format!("epoch {epoch} from its beginning"));
        let stops = clean_stops.iter().map(|epoch| format!("the clean stop of epoch {epoch}"));
        for part in parts.by_ref().chain(epochs).chain(stops) {
            write!(f, "{}{part}", if begun { ", " } else { ": " })?;
            begun = true;
        }
        let with_snapshots = if *snapshots == 0 { "" } else { " with the snapshots of it" };
        write!(
            f,
            ". It is kept aside in `lost`{with_snapshots}; what the world was told from there on, this node doesn't know"
        )
    }
}

/// Looks through what lies behind a position, file by file in order.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) given_up: GivenUp,
    /// The end of the last header or record that is sound.
    pub(super) sound_end: Position,
    /// The latest epoch that anything there is of.
    pub(super) epoch: Epoch,
    seed: Seed,
    identity: u128,
}

impl Survey {
    /// A survey of what lies behind a position in a segment of that epoch.
    pub(super) fn new(at: Position, epoch: Epoch, identity: u128) -> Survey {
        let (seed, given_up) = (Seed::new(identity), GivenUp::new(at));
        Survey { given_up, sound_end: at, epoch, seed, identity }
    }

    /// Looks through a whole segment.
    pub(super) fn segment(&mut self, number: u64, bytes: &[u8]) {
        let mut header_bytes = 0;
        if let Ok((header, length, _)) = SegmentHeader::decode(bytes)
            && (header.segment, header.info.identity) == (number, self.identity)
        {
            header_bytes = length;
            self.sound_end = Position { segment: number, offset: length as u64 };
            self.given_up.bytes += length as u64;
            if header.info.epoch > self.epoch {
                self.epoch = header.info.epoch;
                self.given_up.epochs.push(header.info.epoch);
            }
        }
        self.records(Position { segment: number, offset: header_bytes as u64 }, &bytes[header_bytes..]);
    }

    /// Looks through the bytes of a segment from a position on.
    pub(super) fn records(&mut self, from: Position, bytes: &[u8]) {
        let bytes = &bytes[..bytes_before_zeros(bytes)];
        let (mut start, mut read) = (0, 0);
        while let Some(found) = bytes[start..].iter().position(|byte| *byte == SYNC_WORD[0]) {
            start += found;
            let at = Position { offset: from.offset + start as u64, ..from };
            let Ok(envelope) = take_record(&bytes[start..], self.seed, at) else {
                start += 1;
                continue;
            };
            if is_known(envelope.kind)
                && let Ok(record) = Record::decode(envelope.kind, envelope.body)
            {
                self.count(&record);
            }
            start += envelope.bytes_len();
            read += envelope.bytes_len();
            self.sound_end = Position { offset: from.offset + start as u64, ..from };
        }
        self.given_up.bytes += bytes.len() as u64;
        self.given_up.bytes_unread += (bytes.len() - read) as u64;
    }

    fn count(&mut self, record: &Record<'_>) {
        match *record {
            Record::Round { worker, round, .. } => {
                let rounds = self.given_up.rounds.entry(worker).or_insert(round..=round);
                *rounds = *rounds.start().min(&round)..=*rounds.end().max(&round);
            }
            Record::CleanStop { epoch } => self.given_up.clean_stops.push(epoch),
            _ => {}
        }
    }
}

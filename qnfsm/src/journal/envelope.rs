//! The fixed header before every record: what ties a record to its place, to its body and to the record before it.
//!
//! The header's checksum begins with the node's identity, the segment and the offset, so that bytes which were put
//! somewhere else aren't taken for a record, and a stranger who doesn't know the identity can't put into a payload what
//! would pass for one. The chain is the checksum of the record header before (of the segment header for the first).

use super::{
    bytes::Taker,
    error::Why,
    record::{RECORD_BODY_BYTES_MAX, Record, RecordDraft, SYNC_MARK_KIND, is_known},
};
use crate::spelt::{TOO_LARGE, is_too_large, number};

/// The length of a record's header.
pub(super) const HEADER_BYTES: usize = 24;

/// How much of a header is chained and checked: all but the checksum itself.
const CHECKED_BYTES: usize = HEADER_BYTES - 4;

/// The bytes with which every record begins, so that records are found in a damaged file.
pub(super) const SYNC_WORD: [u8; 4] = [0xf5, b'Q', b'n', 0xa7];

/// The flag of records which a reader that doesn't know their kind may pass over.
pub(super) const MAY_BE_SKIPPED: u8 = 0x01;

/// A place in the journal: a segment, and the bytes from its start. Positions are ordered as the journal is written, and
/// spelt with a colon.
///
/// ```
/// use qnfsm::journal::Position;
///
/// let position: Position = "3:4711".parse()?;
/// assert_eq!(position, Position { segment: 3, offset: 4711 });
/// assert_eq!(position.to_string(), "3:4711");
/// # Ok::<(), qnfsm::journal::PositionError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The segment's number, counting from 1. 0 stands before every segment.
    pub segment: u64,
    /// Bytes from the segment's start.
    pub offset: u64,
}

impl Position {
    /// Behind all others.
    pub(super) const MAX: Position = Position { segment: u64::MAX, offset: u64::MAX };
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

/// Why a text is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {}", if *.is_too_large { TOO_LARGE } else { "is no position in a journal; give a segment's number and an offset in bytes, such as 3:4711" })]
pub struct PositionError {
    text: String,
    is_too_large: bool,
}

impl std::str::FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Position, PositionError> {
        let position = |text: &str| {
            let (segment, offset) = text.split_once(':')?;
            Some(Position { segment: number(segment)?, offset: number(offset)? })
        };
        position(text).ok_or_else(|| {
            let is_too_large = is_too_large(text, |smaller| position(smaller).is_some());
            PositionError { text: text.to_owned(), is_too_large }
        })
    }
}

/// A record's header and body that were checked against their checksums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) lane: u16,
    /// The chain value that the record carries.
    pub(super) chain: u32,
    /// The chain value that the next record must carry.
    pub(super) next_chain: u32,
    pub(super) body: &'a [u8],
}

impl Envelope<'_> {
    /// The length of header and body.
    pub(super) fn bytes_len(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// What of this record this version can't understand, if anything.
    pub(super) fn unknown(&self) -> Option<String> {
        if self.flags & !MAY_BE_SKIPPED != 0 {
            Some(format!("a record with flags {:#04x}", self.flags))
        } else if self.lane != 0 {
            Some(format!("a record of lane {}", self.lane))
        } else if !is_known(self.kind) && self.flags & MAY_BE_SKIPPED == 0 {
            Some(format!("a record of kind {}", self.kind))
        } else {
            None
        }
    }
}

/// What is wrong with a record, and what of it can be told nevertheless.
#[derive(Debug, Clone)]
pub(super) struct RecordFault<'a> {
    pub(super) why: Why,
    /// The kind and the body, if the header is good.
    pub(super) told: Option<(u8, &'a [u8])>,
}

impl From<Why> for RecordFault<'_> {
    fn from(why: Why) -> Self {
        RecordFault { why, told: None }
    }
}

/// The checksum of the node's identity, from which every header's checksum goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed(u32);

impl Seed {
    pub(super) fn new(identity: u128) -> Seed {
        Seed(crc32fast::hash(&identity.to_le_bytes()))
    }
}

pub(super) fn header_checksum(seed: Seed, at: Position, checked: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed.0);
    let mut place = [0; 16];
    place[..8].copy_from_slice(&at.segment.to_le_bytes());
    place[8..].copy_from_slice(&at.offset.to_le_bytes());
    hasher.update(&place);
    hasher.update(checked);
    hasher.finalize()
}

/// Appends a record that will stand at `at` to `out`, and gives the next one's chain value. `Err` with the body's
/// length, and nothing appended, when that is more than a body may have.
pub(super) fn put_record(
    out: &mut Vec<u8>,
    draft: &RecordDraft<'_>,
    seed: Seed,
    at: Position,
    chain: u32,
) -> Result<u32, usize> {
    let start = out.len();
    let body_start = start + HEADER_BYTES;
    out.resize(body_start, 0);
    draft.encode(out);
    let body_bytes = out.len() - body_start;
    let body_length = match u32::try_from(body_bytes) {
        Ok(length) if body_bytes <= RECORD_BODY_BYTES_MAX => length,
        _ => {
            out.truncate(start);
            return Err(body_bytes);
        }
    };
    let body_checksum = crc32fast::hash(&out[body_start..]);
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&SYNC_WORD);
    header[4] = draft.kind();
    header[8..12].copy_from_slice(&body_length.to_le_bytes());
    header[12..16].copy_from_slice(&chain.to_le_bytes());
    header[16..20].copy_from_slice(&body_checksum.to_le_bytes());
    let checksum = header_checksum(seed, at, &header[..CHECKED_BYTES]);
    header[CHECKED_BYTES..].copy_from_slice(&checksum.to_le_bytes());
    out[start..body_start].copy_from_slice(&header);
    Ok(crc32fast::hash(&header[..CHECKED_BYTES]))
}

/// Checks the record at the front of `bytes`, which stands at `at` and must carry the chain value `chain`.
pub(super) fn take_chained(
    bytes: &[u8],
    seed: Seed,
    at: Position,
    chain: u32,
) -> Result<Envelope<'_>, RecordFault<'_>> {
    let envelope = take_record(bytes, seed, at)?;
    if envelope.chain != chain {
        return Err(RecordFault { why: Why::Chain, told: Some((envelope.kind, envelope.body)) });
    }
    Ok(envelope)
}

/// Checks the record at the front of `bytes`, which stands at `at`, whatever stands before it.
pub(super) fn take_record(bytes: &[u8], seed: Seed, at: Position) -> Result<Envelope<'_>, RecordFault<'_>> {
    let mut taker = Taker(bytes);
    let header: [u8; HEADER_BYTES] = taker.array().map_err(|_| Why::CutShort)?;
    if header[..4] != SYNC_WORD {
        return Err(Why::NoRecord.into());
    }
    let (checked, mut checksum) = (&header[..CHECKED_BYTES], Taker(&header[CHECKED_BYTES..]));
    if checksum.u32()? != header_checksum(seed, at, checked) {
        return Err(Why::HeaderChecksum.into());
    }
    let mut fields = Taker(&checked[4..]);
    let (kind, flags, lane) = (fields.u8()?, fields.u8()?, fields.u16()?);
    let (body_length, chain, body_checksum) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let body = match usize::try_from(body_length) {
        Ok(length) if length <= RECORD_BODY_BYTES_MAX => {
            taker.bytes(length).map_err(|_| RecordFault { why: Why::CutShort, told: Some((kind, taker.0)) })?
        }
        _ => {
            let bytes_max = RECORD_BODY_BYTES_MAX as u64;
            return Err(Why::TooLong { bytes: u64::from(body_length), bytes_max }.into());
        }
    };
    if crc32fast::hash(body) != body_checksum {
        return Err(RecordFault { why: Why::BodyChecksum, told: Some((kind, body)) });
    }
    Ok(Envelope { kind, flags, lane, chain, next_chain: crc32fast::hash(checked), body })
}

/// The furthest position that a sync mark in `bytes`, which begin at `from`, says is on disk. Looks at every place
/// where a record could begin, because the bytes between are not to be trusted.
pub(super) fn find_sync_marks(bytes: &[u8], seed: Seed, from: Position) -> Option<Position> {
    let mut furthest = None;
    let mut start = 0;
    while let Some(found) = bytes[start..].iter().position(|&byte| byte == SYNC_WORD[0]) {
        start += found;
        if bytes[start..].starts_with(&SYNC_WORD) && bytes.get(start + 4) == Some(&SYNC_MARK_KIND) {
            let at = Position { offset: from.offset + start as u64, ..from };
            furthest = furthest.max(sync_mark_at(&bytes[start..], seed, at));
        }
        start += 1;
    }
    furthest
}

/// What the sync mark at the front of `bytes` says, if there is a sound one. It can't speak of what follows it.
fn sync_mark_at(bytes: &[u8], seed: Seed, at: Position) -> Option<Position> {
    // A mark's body is two short numbers. A longer one is none, and isn't worth a checksum over it.
    const MARK_BYTES_MAX: usize = HEADER_BYTES + 20;
    let envelope = take_record(&bytes[..bytes.len().min(MARK_BYTES_MAX)], seed, at).ok()?;
    match Record::decode(envelope.kind, envelope.body) {
        Ok(Record::SyncMark { segment, offset }) => Some(Position { segment, offset }).filter(|mark| *mark <= at),
        _ => None,
    }
}

//! Ways for a fuzzer past the checksums, which would stop it at the door. Not part of the library's interface.
//!
//! The `mend_` functions write the checksums that fit to the rest of the bytes and change nothing else: lengths, numbers
//! and all other fields stay as wrong as they are.

use super::{
    bytes::{BLOCK_PREFIX_BYTES, BlockFault, is_zeros},
    envelope::{HEADER_BYTES, Position, Seed, header_checksum, take_chained},
    error::Why,
    record::{Record, is_known},
    segment::SegmentHeader,
    snapshots::mend_end,
};

/// Reads arbitrary bytes as a segment's file, with every check; gives the number of sound records
/// and what ended them.
#[must_use]
pub fn read_segment_bytes(bytes: &[u8]) -> (u64, Option<Why>) {
    let (header, header_bytes, mut chain) = match SegmentHeader::decode(bytes) {
        Ok(decoded) => decoded,
        Err(BlockFault::Bad(why)) => return (0, Some(why)),
        Err(BlockFault::Version(_)) => return (0, None),
    };
    let seed = Seed::new(header.info.identity);
    let (mut records, mut start) = (0, header_bytes);
    while !is_zeros(&bytes[start..]) {
        let at = Position { segment: header.segment, offset: start as u64 };
        let envelope = match take_chained(&bytes[start..], seed, at, chain) {
            Ok(envelope) => envelope,
            Err(fault) => return (records, Some(fault.why)),
        };
        if envelope.unknown().is_some() {
            return (records, None);
        }
        if is_known(envelope.kind) {
            match Record::decode(envelope.kind, envelope.body) {
                Ok(Record::Round { batches, .. }) => {
                    for batch in batches {
                        let _ = batch.frames().take_while(Result::is_ok).count();
                    }
                }
                Ok(_) => {}
                Err(why) => return (records, Some(why)),
            }
        }
        records += 1;
        start += envelope.bytes_len();
        chain = envelope.next_chain;
    }
    (records, None)
}

/// Reads the body of a record of that kind.
///
/// # Errors
/// When the bytes are no such record.
pub fn decode_record(kind: u8, body: &[u8]) -> Result<Record<'_>, Why> {
    Record::decode(kind, body)
}

/// Mends the checksums of a manifest's file.
pub fn mend_manifest(bytes: &mut [u8]) {
    mend_block(bytes);
}

/// Mends the checksums of a snapshot's file: of its header, of the image and of what stands beside it.
pub fn mend_snapshot(bytes: &mut [u8]) {
    let Some(body_end) = block_end(bytes) else { return };
    mend_end(bytes, body_end);
    mend_block(bytes);
}

/// Mends the checksums of a segment's file, and chains its records as far as their lengths lead.
pub fn mend_segment(bytes: &mut [u8]) {
    mend_block(bytes);
    let Ok((header, mut at, mut chain)) = SegmentHeader::decode(bytes) else { return };
    let seed = Seed::new(header.info.identity);
    while let Some((head, body)) = bytes[at..].split_at_mut_checked(HEADER_BYTES) {
        let body_bytes = usize::try_from(number(head, 8)).unwrap_or(usize::MAX);
        head[12..16].copy_from_slice(&chain.to_le_bytes());
        if let Some(body) = body.get(..body_bytes) {
            head[16..20].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        }
        let place = Position { segment: header.segment, offset: at as u64 };
        let (checked, checksum) = head.split_at_mut(20);
        checksum.copy_from_slice(&header_checksum(seed, place, checked).to_le_bytes());
        chain = crc32fast::hash(checked);
        at = at.saturating_add(HEADER_BYTES).saturating_add(body_bytes);
        if at > bytes.len() {
            break;
        }
    }
}

/// Where the body of the block at the front ends.
fn block_end(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.get(..BLOCK_PREFIX_BYTES)?;
    let end = usize::try_from(number(prefix, 12)).ok()?.checked_add(BLOCK_PREFIX_BYTES)?;
    (end <= bytes.len()).then_some(end)
}

fn mend_block(bytes: &mut [u8]) {
    if let Some(end) = block_end(bytes) {
        let checksum = crc32fast::hash(&bytes[BLOCK_PREFIX_BYTES..end]);
        bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
    }
    if let Some(prefix) = bytes.get_mut(..BLOCK_PREFIX_BYTES) {
        let (checked, checksum) = prefix.split_at_mut(20);
        checksum.copy_from_slice(&crc32fast::hash(checked).to_le_bytes());
    }
}

/// The number of 32 bits at `at`.
fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().copied().map_or(0, u32::from_le_bytes)
}

//! How bytes are taken from and put into the journal's files: a reader that trusts nothing, and the checksummed block
//! with which every file begins. `docs/JOURNAL_FORMAT.md` has the layout.

use super::error::Why;
use crate::frame::{put_varint, take_varint};

/// The length of a block before its body.
pub(super) const BLOCK_PREFIX_BYTES: usize = 24;

/// Where a block's prefix ends and its checksum begins.
const CHECKED_BYTES: usize = BLOCK_PREFIX_BYTES - 4;

/// The longest body of a block, in bytes.
pub(super) const BLOCK_BODY_BYTES_MAX: usize = 64 << 20;

/// Bytes to take values from, front to back. What isn't there is malformed, and never a panic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taker<'a>(pub(super) &'a [u8]);

impl<'a> Taker<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Why> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Why::Malformed("a value is cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Why> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Why::Malformed("a value is cut short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Why> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Why> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Why> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Why> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn u128(&mut self) -> Result<u128, Why> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    pub(super) fn varint(&mut self) -> Result<u64, Why> {
        take_varint(&mut self.0).map_err(|_| Why::Malformed("a number is cut short or not written the shortest way"))
    }

    pub(super) fn varint_u32(&mut self) -> Result<u32, Why> {
        u32::try_from(self.varint()?).map_err(|_| Why::Malformed("a number is too large"))
    }

    pub(super) fn flag(&mut self) -> Result<bool, Why> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Why::Malformed("a flag is neither 0 nor 1")),
        }
    }

    /// Bytes behind their count.
    pub(super) fn counted(&mut self) -> Result<&'a [u8], Why> {
        let count = usize::try_from(self.varint()?).map_err(|_| Why::Malformed("a count is too large"))?;
        self.bytes(count)
    }

    /// UTF-8 behind the count of its bytes.
    pub(super) fn text(&mut self) -> Result<&'a str, Why> {
        str::from_utf8(self.counted()?).map_err(|_| Why::Malformed("a text is not UTF-8"))
    }

    /// Says that nothing may be left.
    pub(super) fn end(self) -> Result<(), Why> {
        if self.0.is_empty() { Ok(()) } else { Err(Why::Malformed("bytes are left over")) }
    }
}

/// How many bytes there are without the zeros at the end: what somebody wrote there.
pub(super) fn bytes_before_zeros(bytes: &[u8]) -> usize {
    // By lines, because that is what a processor looks through quickly.
    const LINE_BYTES: usize = 4096;
    let is_zero = |line: &[u8]| line.iter().fold(0, |all, byte| all | byte) == 0;
    let zero_lines = bytes.rchunks(LINE_BYTES).take_while(|line| is_zero(line)).count();
    let rest = &bytes[..bytes.len().saturating_sub(zero_lines * LINE_BYTES)];
    rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// True if nobody wrote anything there.
pub(super) fn is_zeros(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|first| *first == 0) && bytes_before_zeros(bytes) == 0
}

/// Appends bytes behind their count.
pub(super) fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Which block it is: its first bytes and the only version of its body that is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockKind {
    pub(super) magic: [u8; 8],
    pub(super) version: u32,
}

/// A block that was checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) body: &'a [u8],
    /// The checksum from which the chain of the records behind it begins.
    pub(super) chain: u32,
    /// What lies behind the block.
    pub(super) rest: &'a [u8],
}

/// Why bytes are no block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BlockFault {
    Bad(Why),
    Version(u32),
}

impl From<Why> for BlockFault {
    fn from(why: Why) -> BlockFault {
        BlockFault::Bad(why)
    }
}

/// Makes a block. Gives its bytes and the checksum from which the chain of the records behind it begins.
///
/// # Panics
/// When the body is longer than [`BLOCK_BODY_BYTES_MAX`]; callers check it.
pub(super) fn block(kind: BlockKind, body: &[u8]) -> (Vec<u8>, u32) {
    assert!(body.len() <= BLOCK_BODY_BYTES_MAX, "callers check the length of a block's body");
    let body_bytes = u32::try_from(body.len()).expect("the longest body's length fits 32 bits");
    let mut out = Vec::with_capacity(BLOCK_PREFIX_BYTES + body.len());
    out.extend_from_slice(&kind.magic);
    out.extend_from_slice(&kind.version.to_le_bytes());
    out.extend_from_slice(&body_bytes.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(body);
    (out, checksum)
}

/// How many bytes the block with that prefix says it has, if there are so many in any block.
pub(super) fn block_bytes(prefix: &[u8]) -> Option<u64> {
    let mut fields = Taker(prefix.get(8 + 4..)?);
    let body_bytes = usize::try_from(fields.u32().ok()?).ok().filter(|bytes| *bytes <= BLOCK_BODY_BYTES_MAX)?;
    Some((BLOCK_PREFIX_BYTES + body_bytes) as u64)
}

/// Checks the block at the front of `bytes`. Its version is looked at last: only a good header may claim one.
pub(super) fn take_block(kind: BlockKind, bytes: &[u8]) -> Result<Block<'_>, BlockFault> {
    let common = bytes.len().min(kind.magic.len());
    if bytes[..common] != kind.magic[..common] {
        return Err(Why::Magic.into());
    }
    let mut taker = Taker(bytes);
    let prefix = taker.bytes(BLOCK_PREFIX_BYTES).map_err(|_| Why::CutShort)?;
    let (checked, mut checksum) = (&prefix[..CHECKED_BYTES], Taker(&prefix[CHECKED_BYTES..]));
    let chain = checksum.u32()?;
    if crc32fast::hash(checked) != chain {
        return Err(Why::HeaderChecksum.into());
    }
    let mut fields = Taker(&checked[kind.magic.len()..]);
    let (version, body_bytes, body_checksum) = (fields.u32()?, fields.u32()?, fields.u32()?);
    if version != kind.version {
        return Err(BlockFault::Version(version));
    }
    let bytes_max = BLOCK_BODY_BYTES_MAX as u64;
    match usize::try_from(body_bytes) {
        Ok(body_bytes) if body_bytes <= BLOCK_BODY_BYTES_MAX => {
            let body = taker.bytes(body_bytes).map_err(|_| Why::CutShort)?;
            if crc32fast::hash(body) != body_checksum {
                return Err(Why::BodyChecksum.into());
            }
            Ok(Block { body, chain, rest: taker.0 })
        }
        _ => Err(Why::TooLong { bytes: u64::from(body_bytes), bytes_max }.into()),
    }
}

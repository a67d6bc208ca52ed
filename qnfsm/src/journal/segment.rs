//! The header with which every segment begins, and the names of segments' files.

use std::path::{Path, PathBuf};

use super::{
    bytes::{
        BLOCK_BODY_BYTES_MAX, BLOCK_PREFIX_BYTES, Block, BlockFault, BlockKind, Taker, block, block_bytes, put_counted,
        take_block,
    },
    envelope::Position,
    error::{IoError, Why},
    storage::Storage,
};
use crate::{
    codec::Codec,
    id::{Epoch, NodeId},
    random::GENERATOR,
};

/// The version of the journal's format that this library writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// The longest segment file that is read, in bytes. The writer stays far below it.
pub(super) const SEGMENT_FILE_BYTES_MAX: u64 = 1 << 30;

const SEGMENT: BlockKind = BlockKind { magic: *b"QNFSM\x1ajl", version: FORMAT_VERSION };

/// The bytes of a header beside catalogue and configuration, at most.
const FIXED_BYTES_MAX: usize = 256;

/// What every segment says about the node and the program that write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The codec of the frames' payloads.
    pub codec: u8,
    /// The algorithm of the random generators.
    pub generator: u8,
    /// The node's identity, drawn when its directory was made.
    pub identity: u128,
    /// The node's number.
    pub node: NodeId,
    /// The epoch in which the segment was begun.
    pub epoch: Epoch,
    /// The random part of that epoch.
    pub epoch_random: u64,
    /// A hash of the program's executable.
    pub build: u64,
    /// The length of the program's executable in bytes.
    pub build_bytes: u64,
    /// The registered kinds and message types with the hashes of their schemas; the runtime's own bytes.
    pub catalogue: Vec<u8>,
    /// What shapes the node; the runtime's own bytes.
    pub configuration: Vec<u8>,
    /// Whatever a round put out left its worker behind a digest mark of that round: one without a mark has let out nothing.
    pub marks_ends: bool,
}

impl SegmentInfo {
    /// What in it this library can't run: a codec or a generator that it doesn't have.
    #[must_use]
    pub fn unsupported(&self) -> Option<String> {
        let known = (self.codec, self.generator) == (Codec::CURRENT.id(), GENERATOR);
        (!known).then(|| format!("codec {} and random generator {}", self.codec, self.generator))
    }

    /// The bytes by which catalogue and configuration are too long for a header, if they are.
    pub(super) fn bytes_over(&self) -> Option<usize> {
        let bytes_max = BLOCK_BODY_BYTES_MAX - FIXED_BYTES_MAX;
        self.catalogue.len().saturating_add(self.configuration.len()).checked_sub(bytes_max).filter(|over| *over != 0)
    }
}

/// The end of a segment, as the next one's header names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The segment.
    pub segment: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// The chain value that a further record in it would have carried.
    pub chain: u32,
    /// That segment and all before it were on disk when the next one was begun.
    pub synced: bool,
}

impl Link {
    /// The position that the link names.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { segment: self.segment, offset: self.bytes }
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with chain {:#010x}", self.position(), self.chain)
    }
}

/// A segment's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment's number, counting from 1.
    pub segment: u64,
    /// The end of the segment before; none for a node's first.
    pub link: Option<Link>,
    /// Who writes it.
    pub info: SegmentInfo,
}

impl SegmentHeader {
    /// The header's bytes, and the chain value of the first record behind it.
    pub(super) fn encode(segment: u64, link: Option<Link>, info: &SegmentInfo) -> (Vec<u8>, u32) {
        let mut body = Vec::with_capacity(info.catalogue.len() + info.configuration.len() + FIXED_BYTES_MAX);
        body.extend_from_slice(&[info.codec, info.generator]);
        body.extend_from_slice(&u32::from(info.marks_ends).to_le_bytes());
        body.extend_from_slice(&info.identity.to_le_bytes());
        body.extend_from_slice(&info.node.0.to_le_bytes());
        body.extend_from_slice(&info.epoch.0.to_le_bytes());
        body.extend_from_slice(&info.epoch_random.to_le_bytes());
        body.extend_from_slice(&info.build.to_le_bytes());
        body.extend_from_slice(&info.build_bytes.to_le_bytes());
        body.extend_from_slice(&segment.to_le_bytes());
        let (how, link) = match link {
            None => (0, Link { segment: 0, bytes: 0, chain: 0, synced: false }),
            Some(link) => (1 + u8::from(link.synced), link),
        };
        body.push(how);
        body.extend_from_slice(&link.segment.to_le_bytes());
        body.extend_from_slice(&link.bytes.to_le_bytes());
        body.extend_from_slice(&link.chain.to_le_bytes());
        put_counted(&mut body, &info.catalogue);
        put_counted(&mut body, &info.configuration);
        block(SEGMENT, &body)
    }

    /// Reads the header at the front of a segment's bytes. Gives its length, and the chain value of the first record.
    pub(super) fn decode(bytes: &[u8]) -> Result<(SegmentHeader, usize, u32), BlockFault> {
        let Block { body, chain, rest } = take_block(SEGMENT, bytes)?;
        let mut taker = Taker(body);
        let (codec, generator) = (taker.u8()?, taker.u8()?);
        let marks_ends = match taker.u32()? {
            flags @ 0..=1 => flags == 1,
            _ => return Err(Why::Malformed("flags or a lane that this version doesn't know").into()),
        };
        let identity = taker.u128()?;
        let (node, epoch) = (NodeId(taker.u32()?), Epoch(taker.u32()?));
        let (epoch_random, build, build_bytes) = (taker.u64()?, taker.u64()?, taker.u64()?);
        let segment = taker.u64()?;
        let how = taker.u8()?;
        let link = Link { segment: taker.u64()?, bytes: taker.u64()?, chain: taker.u32()?, synced: how == 2 };
        let link = match how {
            0 => None,
            1 | 2 => Some(link),
            _ => return Err(Why::Malformed("a link of an unknown kind").into()),
        };
        let (catalogue, configuration) = (taker.counted()?.to_vec(), taker.counted()?.to_vec());
        taker.end()?;
        let info = SegmentInfo {
            codec,
            generator,
            identity,
            node,
            epoch,
            epoch_random,
            build,
            build_bytes,
            catalogue,
            configuration,
            marks_ends,
        };
        Ok((SegmentHeader { segment, link, info }, bytes.len() - rest.len(), chain))
    }
}

/// A segment's file name.
fn file_name(segment: u64) -> String {
    format!("{segment:08}.qjl")
}

/// Reads the header of a segment alone; none if it has no sound one of this version, or is no file.
///
/// # Errors
/// When the system fails.
pub fn read_header(storage: &dyn Storage, node_dir: &Path, segment: u64) -> Result<Option<SegmentHeader>, IoError> {
    let path = path(node_dir, segment);
    let mut bytes = Vec::new();
    let read = |bytes: &mut Vec<u8>, len| {
        storage.read(&path, 0, len, bytes).map_err(|error| IoError::new("read", path.clone(), error))
    };
    match read(&mut bytes, BLOCK_PREFIX_BYTES as u64) {
        Err(error) if error.no_file().is_some() => return Ok(None),
        read => read?,
    }
    let Some(len) = block_bytes(&bytes) else { return Ok(None) };
    read(&mut bytes, len)?;
    Ok(SegmentHeader::decode(&bytes).ok().map(|(header, ..)| header))
}

/// Where a segment lies in the node's directory.
#[must_use]
pub fn path(node_dir: &Path, segment: u64) -> PathBuf {
    node_dir.join(super::JOURNAL_DIR).join(file_name(segment))
}

/// The numbers of the segments among the names in a directory, in order. `Err` with a name that ends like a segment's
/// and isn't spelt like one.
pub(super) fn numbers(names: &[String]) -> Result<Vec<u64>, &str> {
    let mut numbers = Vec::new();
    for name in names {
        let Some(stem) = name.strip_suffix(".qjl") else { continue };
        match stem.parse() {
            Ok(number) if number != 0 && file_name(number) == *name => numbers.push(number),
            _ => return Err(name),
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

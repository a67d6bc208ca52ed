//! The manifest: whose directory this is, and which epoch was the last to begin. It is small and replaced as a whole.

use std::{io, path::Path};

use super::{
    MANIFEST_FILE,
    bytes::{BlockFault, BlockKind, Taker, block, put_counted, take_block},
    envelope::Position,
    error::{Corruption, IoError, JournalError, OpenError, Unsupported, Why},
    replacement::{Replacement, UNFINISHED},
    segment::FORMAT_VERSION,
    storage::Storage,
};
use crate::id::{Epoch, NodeId};

const MANIFEST: BlockKind = BlockKind { magic: *b"QNFSM\x1amf", version: FORMAT_VERSION };

/// The longest name of a program, in bytes.
pub const PROGRAM_NAME_BYTES_MAX: usize = 4096;

/// What stands before the name of a test, in the place of a program's name.
const OF_A_TEST: &str = "test:";

/// The longest manifest file, in bytes.
const MANIFEST_BYTES_MAX: u64 = 8192;

/// Whose directory this is, and what is known of its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The node's identity, drawn when its directory was made.
    pub identity: u128,
    /// The node's number.
    pub node: NodeId,
    /// The program's name; a node's directory belongs to one program. Of a journal that a test saved, `test:` and the test's name.
    pub program: String,
    /// The epoch that began last.
    pub epoch: Epoch,
    /// The random part of that epoch.
    pub epoch_random: u64,
    /// The node was stopped cleanly and has not been started since.
    pub clean: bool,
    /// The oldest segment that must still be there.
    pub oldest_segment: u64,
    /// The journal had reached this position, on disk, when the manifest was written. The zero position where nothing
    /// is known. A journal that ends earlier has lost what was safe.
    pub reached: Position,
    /// Where the records end that name the workers whose start was given up with the journal's beginning. The zero position
    /// where nothing was given up.
    pub kept_end: Position,
}

impl Manifest {
    /// The manifest of a node that begins its first epoch.
    #[must_use]
    pub fn new(identity: u128, node: NodeId, program: impl Into<String>, epoch_random: u64) -> Manifest {
        Manifest {
            identity,
            node,
            program: program.into(),
            epoch: Epoch::FIRST,
            epoch_random,
            clean: false,
            oldest_segment: 1,
            reached: Position::default(),
            kept_end: Position::default(),
        }
    }

    /// The manifest of a journal that the test of that name saves. A name that is too long is cut.
    #[must_use]
    pub fn of_test(identity: u128, node: NodeId, test: &str, epoch_random: u64) -> Manifest {
        let mut program = format!("{OF_A_TEST}{test}");
        while program.len() > PROGRAM_NAME_BYTES_MAX {
            program.pop();
        }
        Manifest::new(identity, node, program, epoch_random)
    }

    /// True if a test saved it. It belongs to no program then, and each that has its kinds plays it.
    #[must_use]
    pub fn is_of_test(&self) -> bool {
        self.program.starts_with(OF_A_TEST)
    }

    /// Reads the manifest of a node's directory, and says what stands there instead if there is none.
    ///
    /// # Errors
    /// When there is no such directory, nothing in it, no manifest in it, or none that can be read.
    pub fn load(storage: &dyn Storage, node_dir: &Path) -> Result<Manifest, OpenError> {
        let path = node_dir.join(MANIFEST_FILE);
        let mut bytes = Vec::new();
        match storage.read(&path, 0, MANIFEST_BYTES_MAX, &mut bytes) {
            Ok(()) => {}
            Err(error) => return Err(why_unreadable(storage, node_dir, error)),
        }
        decode(&bytes).map_err(|fault| match fault {
            BlockFault::Bad(why) => {
                Corruption { file: path, offset: 0, worker: None, round: None, sound_end: None, why }.into()
            }
            BlockFault::Version(version) => {
                Unsupported { file: path, offset: 0, what: format!("format version {version}") }.into()
            }
        })
    }

    /// Puts the manifest in place of the one that is there, and returns when it is on disk. Makes the directory where
    /// there is none.
    ///
    /// # Errors
    /// When the program's name is too long, or the disk fails.
    pub fn store(&self, storage: &dyn Storage, node_dir: &Path) -> Result<(), JournalError> {
        if self.program.len() > PROGRAM_NAME_BYTES_MAX {
            return Err(JournalError::Misuse(format!(
                "the program's name has {} bytes, and {PROGRAM_NAME_BYTES_MAX} is the most there may be; give a shorter one",
                self.program.len()
            )));
        }
        storage.create_dir_all(node_dir).map_err(|error| IoError::new("create", node_dir, error))?;
        let file = Replacement::create(storage, node_dir, MANIFEST_FILE, MANIFEST_FILE)?;
        file.write(&self.encode())?;
        Ok(file.put_in_place()?)
    }

    /// Makes a node's directory with this manifest.
    ///
    /// # Errors
    /// [`JournalError::Misuse`] if a manifest is there already, or a journal without one: the directory is another
    /// node's. Otherwise as [`store`](Manifest::store).
    pub fn create(&self, storage: &dyn Storage, node_dir: &Path) -> Result<(), JournalError> {
        match storage.list(node_dir) {
            Ok(names) => {
                let ours = [MANIFEST_FILE, super::JOURNAL_DIR, super::SNAPSHOTS_DIR];
                if let Some(name) = names.iter().find(|name| ours.contains(&name.as_str())) {
                    return Err(JournalError::Misuse(format!(
                        "{} holds `{name}` of a node already; start that node, or give another directory",
                        node_dir.display()
                    )));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(IoError::new("list", node_dir, error).into()),
        }
        self.store(storage, node_dir)
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.identity.to_le_bytes());
        body.extend_from_slice(&self.node.0.to_le_bytes());
        body.extend_from_slice(&self.epoch.0.to_le_bytes());
        body.extend_from_slice(&self.epoch_random.to_le_bytes());
        body.push(u8::from(self.clean));
        body.extend_from_slice(&self.oldest_segment.to_le_bytes());
        for position in [self.reached, self.kept_end] {
            body.extend_from_slice(&position.segment.to_le_bytes());
            body.extend_from_slice(&position.offset.to_le_bytes());
        }
        put_counted(&mut body, self.program.as_bytes());
        block(MANIFEST, &body).0
    }
}

fn decode(bytes: &[u8]) -> Result<Manifest, BlockFault> {
    let block = take_block(MANIFEST, bytes)?;
    let mut taker = Taker(block.body);
    let manifest = Manifest {
        identity: taker.u128()?,
        node: NodeId(taker.u32()?),
        epoch: Epoch(taker.u32()?),
        epoch_random: taker.u64()?,
        clean: taker.flag()?,
        oldest_segment: taker.u64()?,
        reached: Position { segment: taker.u64()?, offset: taker.u64()? },
        kept_end: Position { segment: taker.u64()?, offset: taker.u64()? },
        program: taker.text()?.to_owned(),
    };
    taker.end()?;
    Taker(block.rest).end()?;
    if manifest.program.len() > PROGRAM_NAME_BYTES_MAX || manifest.oldest_segment == 0 {
        return Err(Why::Malformed("a value is out of its bounds").into());
    }
    Ok(manifest)
}

/// Tells what stands where a manifest should.
fn why_unreadable(storage: &dyn Storage, node_dir: &Path, error: io::Error) -> OpenError {
    let path = node_dir.join(MANIFEST_FILE);
    let temporary = format!("{MANIFEST_FILE}{UNFINISHED}");
    match error.kind() {
        io::ErrorKind::NotFound => match storage.list(node_dir) {
            // A start that was cut off before the manifest was there leaves these two.
            Ok(names) if names.iter().all(|name| *name == super::LOCK_FILE || *name == temporary) => {
                OpenError::Empty(node_dir.into())
            }
            Ok(names) if names.iter().any(|name| name == super::JOURNAL_DIR) => {
                Corruption { file: path, offset: 0, worker: None, round: None, sound_end: None, why: Why::Missing }
                    .into()
            }
            Ok(_) => OpenError::NotANode(node_dir.into()),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => OpenError::Missing(node_dir.into()),
                io::ErrorKind::NotADirectory => OpenError::NotANode(node_dir.into()),
                _ => IoError::new("list", node_dir, error).into(),
            },
        },
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => OpenError::NotANode(node_dir.into()),
        _ => IoError::new("read", path, error).into(),
    }
}

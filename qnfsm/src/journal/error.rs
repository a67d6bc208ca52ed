//! What can go wrong with the journal, split by who must act: the caller, the operator of the disk, or whoever keeps
//! the copies. Every message says what, where and what to do about it.

use std::{fmt, io, path::PathBuf, sync::Arc};

use super::{envelope::Position, storage::NoFile};
use crate::id::{Epoch, WorkerId};

/// What is wrong with bytes on disk. See [`Corruption`] for where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// The file ends in the middle of something.
    #[error("it is cut short")]
    CutShort,
    /// Its first bytes are not those of such a file.
    #[error("it is no file of this kind")]
    Magic,
    /// The checksum of a header is wrong.
    #[error("the header's checksum is wrong")]
    HeaderChecksum,
    /// A length is larger than the format allows.
    #[error("{bytes} bytes, and {bytes_max} is the most there may be")]
    TooLong {
        /// The length that it says.
        bytes: u64,
        /// The longest that the format allows.
        bytes_max: u64,
    },
    /// No record begins where one should.
    #[error("no record begins here")]
    NoRecord,
    /// The checksum of a body is wrong.
    #[error("the body's checksum is wrong")]
    BodyChecksum,
    /// The record is whole, but not the one that was written behind its predecessor.
    #[error("the record does not follow the one before it")]
    Chain,
    /// The checksums are right, but the bytes mean nothing.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// There is something that isn't even a file.
    #[error("it is {is}, and no file")]
    NoFile {
        /// What it is, with its article.
        is: &'static str,
    },
    /// A segment or snapshot that must be there is not.
    #[error("the file is missing")]
    Missing,
    /// The file is another one than its name says.
    #[error("the file's name and its header differ: the header says {says}")]
    Misplaced {
        /// What the header says.
        says: String,
    },
    /// It belongs to another node.
    #[error("it belongs to another node, whose identity is {identity:032x}")]
    Foreign {
        /// The other node's identity.
        identity: u128,
    },
    /// A segment of an epoch that was over when the one before it was written.
    #[error("it is of epoch {epoch}, which was over before")]
    Stale {
        /// The segment's epoch.
        epoch: Epoch,
    },
    /// A segment's link is not to the end of the segment before.
    #[error("it links to another end of the segment before: expected {expected}, found {found}")]
    Link {
        /// Where the segment before ends.
        expected: String,
        /// Where the link says that it ends.
        found: String,
    },
    /// A snapshot is sound, and not the one that the journal's mark is of.
    #[error("it is not the snapshot that the journal's mark is of")]
    Unmarked,
    /// The journal ends before a position that was known to be on disk.
    #[error("the journal ends here, and it had reached {reached}")]
    EndsEarly {
        /// The position that it had reached.
        reached: String,
    },
}

/// Bytes on disk that are not what was written: in which file, where in it, near which round, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// The file.
    pub file: PathBuf,
    /// Where in the file, in bytes from its start.
    pub offset: u64,
    /// The worker whose record it is; where that can't be read, the one whose record was read last.
    pub worker: Option<WorkerId>,
    /// The round of that record.
    pub round: Option<u64>,
    /// What is wrong.
    pub why: Why,
    /// In a box, so that errors stay small.
    pub(super) sound_end: Option<Box<Position>>,
}

impl Corruption {
    /// Where the last sound record before it ends, if it is in a journal that has one: a node can be told to
    /// [go on from there](crate::NodeBuilder::recover_to).
    #[must_use]
    pub fn sound_end(&self) -> Option<Position> {
        self.sound_end.as_deref().copied()
    }

    /// What is damaged and where, and that a copy mends it: without the way that a node has to go on from there.
    #[must_use]
    pub fn in_short(&self) -> String {
        let near = match (self.worker, self.round) {
            (Some(worker), Some(round)) => format!(", near round {round} of {worker}"),
            (Some(worker), None) => format!(", near a record of {worker}"),
            _ => String::new(),
        };
        let Corruption { file, offset, why, .. } = self;
        format!(
            "{} is damaged at byte {offset}{near}: {why}. Nothing was skipped or changed; put the file back from a copy",
            file.display()
        )
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_short())?;
        match self.sound_end() {
            Some(end) => {
                write!(f, ", or give up all behind the last sound record: start the node with `recover_to {end}`")
            }
            None => Ok(()),
        }
    }
}

impl std::error::Error for Corruption {}

/// Why bytes are refused that an older version of this library can't know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} has {what} at byte {offset}, which this version doesn't know; read it with the version that wrote it or a newer one", file = file.display())]
pub struct Unsupported {
    /// The file.
    pub file: PathBuf,
    /// Where in the file, in bytes from its start.
    pub offset: u64,
    /// What is unknown.
    pub what: String,
}

/// What the operating system said about a file.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {what} {path}: {source}", path = path.display())]
pub struct IoError {
    /// What was tried, as a verb.
    pub what: &'static str,
    /// With which file or directory.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: Arc<io::Error>,
}

impl IoError {
    pub(crate) fn new(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> IoError {
        IoError { what, path: path.into(), source: Arc::new(source) }
    }

    /// That something else stands where a file should is the directory's fault, and not the system's.
    pub(super) fn no_file(&self) -> Option<Corruption> {
        let NoFile(is) = *self.source.get_ref()?.downcast_ref()?;
        let (file, why) = (self.path.clone(), Why::NoFile { is });
        Some(Corruption { file, offset: 0, worker: None, round: None, sound_end: None, why })
    }

    /// What whoever keeps the directory can do about it.
    fn remedy(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
            io::ErrorKind::ReadOnlyFilesystem => "give a directory that can be written",
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                "give a path where a directory is or can be made"
            }
            io::ErrorKind::Unsupported => "give a directory on a file system that can lock files, such as a local one",
            _ => "mend the disk, or give another directory",
        }
    }
}

/// Why something could not be written. After a failed write or sync every later call to the same journal fails with
/// the same error: what the disk holds isn't known any more, and the node must stop.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The caller asked for what can't be.
    #[error("the journal was used wrongly: {0}")]
    Misuse(String),
    /// The disk failed or is full.
    #[error("{0}. The node must stop; make room or mend the disk, and start it again: it goes on from its journal")]
    Io(IoError),
    /// What is on disk is damaged.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// What is on disk was written by a newer version.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

impl From<IoError> for JournalError {
    fn from(error: IoError) -> JournalError {
        error.no_file().map_or(JournalError::Io(error), JournalError::Corrupt)
    }
}

/// Why a node's directory could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is nothing at that path.
    #[error("{} does not exist; give the directory of a node", .0.display())]
    Missing(PathBuf),
    /// There is a directory, and nothing is in it.
    #[error("{} is empty: no node has run here yet; give the directory of one that has", .0.display())]
    Empty(PathBuf),
    /// There is something, but it isn't the directory of a node.
    #[error("{} is not the directory of a node: it has no file `manifest`; give the directory that holds `manifest` and `journal`", .0.display())]
    NotANode(PathBuf),
    /// The operating system doesn't let us.
    #[error("{0}; run it as the user who owns the files, which only their owner may read")]
    Denied(IoError),
    /// A node is running there, or the journal is being read.
    #[error("{} is in use by a running node, or by a replay that reads it; stop that first, or take a copy of the directory to read", .0.display())]
    InUse(PathBuf),
    /// The caller asked for what can't be.
    #[error("the journal was opened wrongly: {0}")]
    Misuse(String),
    /// Anything else that the operating system said.
    #[error("{error}; {remedy}", error = .0, remedy = .0.remedy())]
    Io(IoError),
    /// What is on disk is damaged.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// What is on disk was written by a newer version.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

impl From<IoError> for OpenError {
    fn from(error: IoError) -> OpenError {
        if let Some(corrupt) = error.no_file() {
            OpenError::Corrupt(corrupt)
        } else if error.source.kind() == io::ErrorKind::PermissionDenied {
            OpenError::Denied(error)
        } else {
            OpenError::Io(error)
        }
    }
}

/// Why the journal could not be read on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The caller asked for what can't be.
    #[error("the journal was read wrongly: {0}")]
    Misuse(String),
    /// The operating system failed to give the bytes.
    #[error("{0}; mend the disk, or read a copy of the directory")]
    Io(IoError),
    /// The bytes are damaged.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The bytes were written by a newer version.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

impl From<IoError> for ReadError {
    fn from(error: IoError) -> ReadError {
        error.no_file().map_or(ReadError::Io(error), ReadError::Corrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_of_a_directory_is_told_with_what_to_do() {
        let tried = [
            (
                "lock",
                io::ErrorKind::Unsupported,
                "give a directory on a file system that can lock files, such as a local one",
            ),
            ("create", io::ErrorKind::ReadOnlyFilesystem, "give a directory that can be written"),
            ("create", io::ErrorKind::AlreadyExists, "give a path where a directory is or can be made"),
            ("create", io::ErrorKind::NotADirectory, "give a path where a directory is or can be made"),
            ("write", io::ErrorKind::StorageFull, "make room there"),
            ("read", io::ErrorKind::InvalidData, "mend the disk, or give another directory"),
            (
                "lock",
                io::ErrorKind::PermissionDenied,
                "run it as the user who owns the files, which only their owner may read",
            ),
        ];
        for (what, kind, remedy) in tried {
            let error = OpenError::from(IoError::new(what, "/srv/node", kind.into()));
            assert_eq!(error.to_string(), format!("cannot {what} /srv/node: {}; {remedy}", io::Error::from(kind)));
        }
    }

    #[test]
    fn every_error_says_what_to_do() {
        let dir = || PathBuf::from("/srv/node");
        let io = || IoError::new("read", dir(), io::ErrorKind::InvalidData.into());
        let corruption = Corruption {
            file: dir(),
            offset: 7,
            worker: None,
            round: None,
            sound_end: Some(Box::new(Position { segment: 3, offset: 4711 })),
            why: Why::CutShort,
        };
        let unsupported = Unsupported { file: dir(), offset: 7, what: "format version 9".to_owned() };
        let texts = [
            (OpenError::Missing(dir()).to_string(), "give the directory of a node"),
            (OpenError::Empty(dir()).to_string(), "give the directory of one that has"),
            (OpenError::NotANode(dir()).to_string(), "give the directory that holds"),
            (OpenError::InUse(dir()).to_string(), "stop that first, or take a copy"),
            (OpenError::from(corruption.clone()).to_string(), "put the file back from a copy"),
            (ReadError::from(corruption).to_string(), "start the node with `recover_to 3:4711`"),
            (OpenError::from(unsupported).to_string(), "read it with the version that wrote it"),
            (ReadError::from(io()).to_string(), "mend the disk, or read a copy of the directory"),
            (JournalError::from(io()).to_string(), "make room or mend the disk, and start it again"),
        ];
        for (text, remedy) in texts {
            assert!(text.contains("/srv/node") && text.contains(remedy), "{text}");
        }
    }
}

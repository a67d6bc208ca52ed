//! Why a replay comes to nothing, split by who must act. Each class has an exit status; the table stands in the crate's
//! documentation.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use qnfsm::{
    KindsError, OtherResource,
    journal::{Corruption, IoError, OpenError, Position, ReadError, Unsupported},
    playback::{Divergence, PlaybackError},
};

use crate::{DamagedSnapshots, LeftWorker, Partly, Report, status};

/// Why a replay comes to nothing. [`exit_status`](ReplayError::exit_status) tells a script which it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The program's kinds are not in order.
    #[error("the program's kinds: {0}")]
    Kinds(#[from] KindsError),
    /// The library was used wrongly.
    #[error("{0}")]
    Misuse(String),
    /// There is nothing to replay at that path, or not now, or not for this user.
    #[error(transparent)]
    Directory(Box<UnusableDirectory>),
    /// The directory was written by another program, or another build of this one.
    #[error(transparent)]
    Program(#[from] WrongProgram),
    /// The program lacks some of the kinds or message types, and what can be played without them was played.
    #[error(transparent)]
    Partly(Box<Partly>),
    /// Snapshots are damaged that workers were to begin with, and what could be played without them was played.
    #[error(transparent)]
    Snapshots(Box<DamagedSnapshots>),
    /// The bytes are not what was written.
    #[error(transparent)]
    Corrupt(Box<CorruptJournal>),
    /// The bytes were written by a newer version of the library.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The program does not do what was recorded.
    #[error(transparent)]
    Diverged(Box<Diverged>),
    /// Nothing of what was asked for is known to have happened.
    #[error("{0}")]
    NothingToDraw(String),
    /// The operating system failed to give the bytes.
    #[error("{0}; mend the disk, or replay a copy of the directory")]
    Io(IoError),
}

/// Why a directory can't be replayed, though nothing is wrong with its bytes.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
#[non_exhaustive]
pub enum UnusableDirectory {
    /// There is something, and it isn't the directory of a node.
    NotANode(OpenError),
    /// There is a directory, and nothing is in it.
    Empty(OpenError),
    /// There is nothing at that path.
    Missing(OpenError),
    /// A node is running there.
    InUse(OpenError),
    /// The operating system doesn't let this user read it.
    Denied(OpenError),
}

/// Why a program can't replay a directory that is sound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrongProgram {
    /// It belongs to another program.
    #[error("{} was recorded by another program, `{wrote}`; replay it with that one", .dir.display())]
    Another {
        /// The directory.
        dir: PathBuf,
        /// The program that wrote it.
        wrote: String,
    },
    /// It was recorded with other kinds, and none of this program's are among them.
    #[error("{} was recorded by another program, with {}, and this program registers nothing of that; replay it with the program that wrote it", .dir.display(), .kinds.join(", "))]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// The kinds that it was recorded with, each such as `kind teller`.
        kinds: Vec<String>,
    },
    /// The program's types have changed since.
    #[error(
        "{} was recorded by a build whose types were other ones: {}; replay it with the build that wrote it",
        .dir.display(), .differences.join("; ")
    )]
    Changed {
        /// The directory.
        dir: PathBuf,
        /// What differs.
        differences: Vec<String>,
    },
    /// It was recorded with resources that the program doesn't have.
    #[error(
        "{} was recorded with other resources: {}; register those with `Kinds::resource`, and replay it again",
        .file.display(), .resources.iter().map(OtherResource::to_string).collect::<Vec<_>>().join("; ")
    )]
    OtherResources {
        /// The segment's file that was recorded so, as all that follow may be.
        file: PathBuf,
        /// What differs.
        resources: Vec<OtherResource>,
    },
    /// Another version of the program recorded a part, and this one can't go on from there.
    #[error("{}: {what}; replay it with the build that wrote it", .file.display())]
    OtherVersion {
        /// The segment's file that ends that part, or holds what comes next.
        file: PathBuf,
        /// Which worker, and why not.
        what: String,
    },
}

/// What is wrong with a journal's bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptJournal {
    /// They are not what was written.
    #[error("{}", of_bytes(.0))]
    Bytes(#[from] Corruption),
    /// They pass every checksum, and contradict one another.
    #[error("{} at byte {offset}: {what}. Nothing was skipped or changed; put the file back from a copy", .file.display())]
    Contradiction {
        /// The segment's file.
        file: PathBuf,
        /// Where in it, in bytes from its start.
        offset: u64,
        /// What doesn't fit.
        what: String,
    },
}

/// What is damaged, and what whoever looks at a directory can do about it: the node isn't theirs to start.
fn of_bytes(corruption: &Corruption) -> String {
    let told = corruption.in_short();
    let dir = corruption.file.parent().and_then(Path::parent).unwrap_or(&corruption.file);
    match corruption.sound_end() {
        Some(end) => format!(
            "{told}, or give up all behind the last sound record: `qnfsm repair {} --end-at {end}`, with `--dry-run` first",
            dir.display()
        ),
        None => told,
    }
}

/// The first difference between what was recorded and what this program does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diverged {
    /// Which worker, round and, where everything was recorded, FSM and message; what was expected, and what came.
    pub divergence: Divergence,
    /// The segment's file that holds the round's record.
    pub file: PathBuf,
    /// Where in it the record begins, in bytes from its start.
    pub offset: u64,
    /// This executable isn't the one that recorded the round.
    pub build_differs: bool,
}

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "diverged: {}", self.divergence)?;
        writeln!(f, "  recorded: {} at byte {}", self.file.display(), self.offset)?;
        f.write_str(if self.build_differs {
            "This executable is not the one that recorded it: if an FSM's code was changed, replay with the build that \
             recorded it. Otherwise an"
        } else {
            "This executable is the one that recorded it, so an"
        })?;
        f.write_str(
            " FSM depends on something outside its data: a clock, an ambient random number, the order of a hash map, an \
             address, a static.",
        )?;
        if self.divergence.delivery.is_none() {
            f.write_str(" Record with `Recording::Everything` to be told the FSM and the message.")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diverged {}

impl ReplayError {
    /// The status with which a program ends; the table stands in the crate's documentation.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        self.class().1
    }

    /// A short word for the class, as it stands in the JSON output.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.class().0
    }

    /// What was replayed all the same, and did what was recorded.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match self {
            ReplayError::Partly(partly) => partly.report.as_ref(),
            ReplayError::Snapshots(damaged) => damaged.report.as_ref(),
            _ => None,
        }
    }

    /// The workers of which not all was played, because the program lacks what they need.
    #[must_use]
    pub fn left(&self) -> &[LeftWorker] {
        match self {
            ReplayError::Partly(partly) => &partly.left,
            ReplayError::Snapshots(damaged) => damaged.partly.as_ref().map_or(&[], |partly| &partly.left),
            _ => &[],
        }
    }

    fn class(&self) -> (&'static str, u8) {
        match self {
            ReplayError::Kinds(_) | ReplayError::Misuse(_) => ("usage", status::USAGE),
            ReplayError::Directory(unusable) => match **unusable {
                UnusableDirectory::NotANode(_) => ("not_a_node", status::NOT_A_NODE),
                UnusableDirectory::Empty(_) => ("empty", status::EMPTY),
                UnusableDirectory::Missing(_) => ("missing", status::MISSING),
                UnusableDirectory::InUse(_) => ("in_use", status::IN_USE),
                UnusableDirectory::Denied(_) => ("permission_denied", status::DENIED),
            },
            ReplayError::Program(WrongProgram::Another { .. } | WrongProgram::Foreign { .. }) => {
                ("another_program", status::ANOTHER_PROGRAM)
            }
            ReplayError::Program(WrongProgram::Changed { .. } | WrongProgram::OtherVersion { .. }) => {
                ("changed_types", status::CHANGED_TYPES)
            }
            ReplayError::Partly(_) => ("partly", status::CHANGED_TYPES),
            ReplayError::Program(WrongProgram::OtherResources { .. }) => ("other_resources", status::OTHER_RESOURCES),
            ReplayError::Snapshots(_) => ("damaged_snapshots", status::DAMAGED),
            ReplayError::Corrupt(_) => ("corrupt", status::DAMAGED),
            ReplayError::Unsupported(_) => ("unsupported", status::UNSUPPORTED),
            ReplayError::Diverged(_) => ("diverged", status::DIVERGED),
            ReplayError::NothingToDraw(_) => ("nothing_to_draw", status::NOTHING_TO_DRAW),
            ReplayError::Io(_) => ("io", status::SYSTEM_FAILED),
        }
    }

    /// What a playback says, with the file and the position of what it is about.
    pub(crate) fn of_playback(
        error: PlaybackError,
        file: PathBuf,
        position: Position,
        build_differs: bool,
    ) -> ReplayError {
        let offset = position.offset;
        match error {
            PlaybackError::Diverged(divergence) => {
                ReplayError::Diverged(Box::new(Diverged { divergence: *divergence, file, offset, build_differs }))
            }
            PlaybackError::OtherVersion { .. } => WrongProgram::OtherVersion { file, what: error.to_string() }.into(),
            other => CorruptJournal::Contradiction { file, offset, what: other.to_string() }.into(),
        }
    }
}

impl From<UnusableDirectory> for ReplayError {
    fn from(error: UnusableDirectory) -> ReplayError {
        ReplayError::Directory(Box::new(error))
    }
}

impl From<CorruptJournal> for ReplayError {
    fn from(error: CorruptJournal) -> ReplayError {
        ReplayError::Corrupt(Box::new(error))
    }
}

impl From<OpenError> for ReplayError {
    fn from(error: OpenError) -> ReplayError {
        match error {
            OpenError::NotANode(_) => UnusableDirectory::NotANode(error).into(),
            OpenError::Empty(_) => UnusableDirectory::Empty(error).into(),
            OpenError::Missing(_) => UnusableDirectory::Missing(error).into(),
            OpenError::InUse(_) => UnusableDirectory::InUse(error).into(),
            OpenError::Denied(_) => UnusableDirectory::Denied(error).into(),
            OpenError::Io(error) => ReplayError::Io(error),
            OpenError::Corrupt(error) => CorruptJournal::Bytes(error).into(),
            OpenError::Unsupported(error) => error.into(),
            other => ReplayError::Misuse(other.to_string()),
        }
    }
}

impl From<IoError> for ReplayError {
    fn from(error: IoError) -> ReplayError {
        OpenError::from(error).into()
    }
}

impl From<ReadError> for ReplayError {
    fn from(error: ReadError) -> ReplayError {
        match error {
            ReadError::Io(error) => error.into(),
            ReadError::Corrupt(error) => CorruptJournal::Bytes(error).into(),
            ReadError::Unsupported(error) => error.into(),
            other => ReplayError::Misuse(other.to_string()),
        }
    }
}

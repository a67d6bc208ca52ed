//! The journal: what entered a node's workers, in files. The only storey with files.
//!
//! ```text
//! <node>/lock                       held by the running node
//! <node>/manifest                   whose directory it is, and its last epoch
//! <node>/journal/00000001.qjl …     segments: a header, then records
//! <node>/snapshots/<worker>-<round>.qsn
//! <node>/lost/                      bytes that a crash left unfinished, or that were given up, kept aside
//! ```
//!
//! [`Journal`] writes, [`Reader`] reads, and neither knows what the bytes of configurations, images and payloads mean.
//! What always holds: a record that [`Journal::write`] returned for is with the operating system; the bytes on disk
//! are a prefix of what was written up to the first damage (and those in [`MemoryFiles`], of a flight recorder, are gone with
//! the process); damage before what was known to be on disk is an error
//! and never passed over, unless an operator ends the journal before it; reading changes nothing. `docs/JOURNAL_FORMAT.md` specifies
//! every byte.

mod beside;
mod bytes;
mod envelope;
mod error;
mod excerpt;
#[doc(hidden)]
pub mod faulty;
#[doc(hidden)]
pub mod fuzzing;
mod given_up;
mod giving_up;
pub mod holdings;
mod lock;
mod manifest;
mod marks;
mod memory;
mod prepared;
mod reader;
mod record;
mod repair;
mod replacement;
mod segment;
#[doc(hidden)]
pub mod simulated;
pub mod snapshots;
mod storage;
mod tail;
#[cfg(test)]
mod tests;
mod window;
mod writer;

pub use envelope::{Position, PositionError};
pub use error::{Corruption, IoError, JournalError, OpenError, ReadError, Unsupported, Why};
pub use excerpt::Excerpt;
pub use given_up::GivenUp;
pub use giving_up::RecoverToError;
pub(crate) use giving_up::{GivingUp, LookError};
pub use lock::NodeLock;
pub use manifest::{Manifest, PROGRAM_NAME_BYTES_MAX};
pub use marks::{AllMarks, Marking, Marks};
pub use memory::{Cut, MemoryFiles};
pub use prepared::give_back_room;
pub use reader::{Bookmark, Entry, Reader};
pub use record::{Batches, Outcome, RECORD_BODY_BYTES_MAX, Reached, Record, RecordDraft};
pub use repair::{Repair, RepairError, Repaired, UnusableSnapshot};
pub use segment::{FORMAT_VERSION, Link, SegmentHeader, SegmentInfo, path as segment_path, read_header};
pub use storage::{File, Held, RealFiles, Storage};
pub use tail::{Loss, Tail};
pub(crate) use writer::Progress;
pub use writer::{Journal, JournalOptions, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX};

/// The file whose lock the running node holds.
const LOCK_FILE: &str = "lock";
/// The manifest's file.
const MANIFEST_FILE: &str = "manifest";
/// The directory of the segments.
const JOURNAL_DIR: &str = "journal";
/// The directory of the snapshots.
const SNAPSHOTS_DIR: &str = "snapshots";
/// The directory of what is kept aside.
const LOST_DIR: &str = "lost";

//! Giving up the end of a journal: an operator says where it is to end, though more was recorded, and maybe known to be on
//! disk. Any prefix of a journal is a consistent cut of its node, so where a record ends the journal may end.
//!
//! First all is looked at and nothing changed. Then the manifest says how far the journal had reached, so that from here
//! on no node starts that isn't told the same again; then what lies behind is kept aside and cut off, the last file first;
//! and last the manifest says that the journal reaches to the new end, which lets nodes start. So over a crash at any
//! point it can be done again, and nobody takes what is half cut for whole.
//!
//! Whoever says the same at every start gives up once: a position from which a later epoch went on is refused.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use super::{
    SNAPSHOTS_DIR,
    envelope::{Position, Seed},
    error::{JournalError, OpenError, ReadError},
    given_up::{GivenUp, Survey},
    lock::NodeLock,
    manifest::Manifest,
    reader::Reader,
    segment,
    snapshots::{self, Mark},
    storage::Storage,
    tail::{Tail, end_at, list_segments, look_behind, move_aside, read_from, sync_dir, sync_segments},
};
use crate::id::{Epoch, WorkerId};

/// Why a journal can't be made to end at a position. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverToError {
    /// No record ends there.
    #[error("no record ends at {at}, so the journal can't be made to end there; give {}{after}", .before.map(|before| format!("{before} or ")).unwrap_or_default())]
    NoRecord {
        /// The position that was given.
        at: Position,
        /// The last one before it at which the journal may end.
        before: Option<Position>,
        /// The first one behind it.
        after: Position,
    },
    /// The journal isn't that long.
    #[error(
        "the journal ends at {end}, before {at}, so there is nothing to give up; ask for nothing to go on from there, or give an earlier position"
    )]
    BehindEnd {
        /// The position that was given.
        at: Position,
        /// Where it ends.
        end: Position,
    },
    /// What is needed to go on from there was given up with the journal's beginning.
    #[error(
        "the journal's beginning was given up to keep within `retain_bytes`, and the node can't go on from {at}, which is too \
         close to it; give {from} or a later position"
    )]
    TooEarly {
        /// The position that was given.
        at: Position,
        /// The first one that may be given.
        from: Position,
    },
    /// It was given up there before, or the node was started there for another reason.
    #[error(
        "the node went on from {at} in epoch {epoch}, and what it has recorded since isn't given up by saying the same again; leave \
         `recover_to` out to go on, or give {instead} to give up that too"
    )]
    WentOn {
        /// The position that was given.
        at: Position,
        /// The epoch that went on from there.
        epoch: Epoch,
        /// The position to give for the same end, without what that epoch has recorded.
        instead: Position,
    },
}

/// Why looking came to nothing.
#[derive(Debug)]
pub(crate) enum LookError {
    Refused(RecoverToError),
    Open(OpenError),
    Read(ReadError),
}

impl From<RecoverToError> for LookError {
    fn from(error: RecoverToError) -> LookError {
        LookError::Refused(error)
    }
}

impl From<OpenError> for LookError {
    fn from(error: OpenError) -> LookError {
        LookError::Open(error)
    }
}

impl From<ReadError> for LookError {
    fn from(error: ReadError) -> LookError {
        LookError::Read(error)
    }
}

/// The end of a journal that is to be given up, looked at.
#[derive(Debug)]
pub(crate) struct GivingUp {
    given_up: GivenUp,
    /// How far the journal had reached.
    reached: Position,
    /// The latest epoch that there was.
    epoch: Epoch,
    /// Snapshots that aren't marked before the new end.
    snapshots: Vec<(WorkerId, u64)>,
}

impl GivingUp {
    /// Looks whether the journal can be made to end there, and at what is given up with that. None if it ends there anyway.
    pub(crate) fn look(
        storage: &Arc<dyn Storage>,
        node_dir: &Path,
        lock: &NodeLock,
        at: Position,
    ) -> Result<Option<GivingUp>, LookError> {
        let mut reader = Reader::open_locked(storage.clone(), node_dir, lock)?;
        GivingUp::look_through(&mut reader, &**storage, node_dir, at, &mut |_| {})
    }

    /// As [`look`](GivingUp::look), through a reader that was just opened; `on_record` is told where each record stands.
    pub(super) fn look_through(
        reader: &mut Reader,
        storage: &dyn Storage,
        node_dir: &Path,
        at: Position,
        on_record: &mut dyn FnMut(Position),
    ) -> Result<Option<GivingUp>, LookError> {
        let manifest = reader.manifest().clone();
        if at < manifest.kept_end {
            return Err(RecoverToError::TooEarly { at, from: manifest.kept_end }.into());
        }
        let Some(Way { epoch, marked }) = Way::read(reader, at, on_record)? else { return Ok(None) };
        let look = || -> Result<GivingUp, super::error::IoError> {
            let segments = list_segments(storage, node_dir)?.unwrap_or_default();
            let later: Vec<_> = segments.into_iter().filter(|number| *number > at.segment).collect();
            let rest = read_from(storage, &segment::path(node_dir, at.segment), at.offset)?;
            let behind = look_behind(storage, node_dir, Seed::new(manifest.identity), &rest, at, &later)?;
            let mut survey = Survey::new(at, epoch, manifest.identity);
            survey.records(at, &rest);
            for number in later {
                survey.segment(number, &read_from(storage, &segment::path(node_dir, number), 0)?);
            }
            let mut snapshots = snapshots::list(storage, node_dir)?;
            snapshots.retain(|snapshot| !marked.contains(snapshot));
            let Survey { mut given_up, sound_end, epoch, .. } = survey;
            given_up.snapshots = snapshots.len() as u64;
            let reached = manifest.reached.max(sound_end).max(behind.proof.unwrap_or_default());
            Ok(GivingUp { given_up, reached, epoch: manifest.epoch.max(epoch), snapshots })
        };
        Ok(Some(look().map_err(ReadError::from)?))
    }

    /// What is given up.
    pub(super) fn given_up(&self) -> &GivenUp {
        &self.given_up
    }

    pub(crate) fn at(&self) -> Position {
        self.given_up.at
    }

    /// Makes the journal end where `tail` does, which was read up to there. Gives the manifest to go on with, which isn't
    /// stored: until one is that says the same of the journal, no node starts there that isn't told to.
    pub(crate) fn carry_out(
        self,
        storage: &dyn Storage,
        node_dir: &Path,
        manifest: Manifest,
        tail: &Tail,
    ) -> Result<(Manifest, GivenUp), JournalError> {
        let GivingUp { given_up, reached, epoch, snapshots } = self;
        tracing::warn!(dir = %node_dir.display(), %given_up, "the end of the journal is given up, as the node was told");
        let segments = list_segments(storage, node_dir)?.unwrap_or_default();
        sync_segments(storage, node_dir, segments.into_iter().filter(|number| *number >= tail.synced.segment))?;
        Manifest { reached, ..manifest.clone() }.store(storage, node_dir)?;
        end_at(storage, node_dir, tail, true)?;
        for (worker, round) in &snapshots {
            let path = snapshots::path(node_dir, *worker, *round);
            move_aside(storage, node_dir, &path, &format!("{}-{round}.qsn", worker.0))?;
        }
        if !snapshots.is_empty() {
            sync_dir(storage, &node_dir.join(SNAPSHOTS_DIR))?;
        }
        Ok((Manifest { reached: given_up.at, epoch, ..manifest }, given_up))
    }
}

/// What a reader met on its way to where the journal is to end.
struct Way {
    /// The epoch in which it is to end.
    epoch: Epoch,
    /// The snapshots that are marked before.
    marked: BTreeSet<(WorkerId, u64)>,
}

impl Way {
    /// Reads up to a position, and looks what comes next. None if the journal ends there anyway.
    fn read(reader: &mut Reader, at: Position, on_record: &mut dyn FnMut(Position)) -> Result<Option<Way>, LookError> {
        let mut marked = BTreeSet::new();
        let mut before = None;
        reader.end_at(at);
        loop {
            let start = match reader.next() {
                Ok(Some(entry)) => {
                    on_record(entry.position);
                    marked.extend(Mark::of(&entry.record).map(|mark| (mark.worker, mark.round)));
                    entry.position
                }
                Ok(None) => break,
                // Where it stands is behind it by now.
                Err(ReadError::Misuse(_)) => {
                    return Err(RecoverToError::NoRecord { at, before, after: reader.position() }.into());
                }
                Err(error) => return Err(error.into()),
            };
            let end = reader.position();
            before = Some(if end < at { end } else { start });
        }
        let end = reader.position();
        if end != at {
            return Err(RecoverToError::BehindEnd { at, end }.into());
        }
        let epoch = reader.header().map(|header| header.info.epoch);
        reader.end_at(Position::MAX);
        reader.seek(at)?;
        let next = match reader.next() {
            Ok(None) => return Ok(None),
            Ok(Some(entry)) => Ok(entry.position),
            Err(error @ (ReadError::Io(_) | ReadError::Misuse(_))) => return Err(error.into()),
            Err(unreadable) => Err(unreadable),
        };
        let later = reader.header().map(|header| header.info.epoch).filter(|later| epoch < Some(*later));
        match (epoch, later, next) {
            (_, Some(epoch), next) => {
                let instead = next.unwrap_or_else(|_| reader.position());
                Err(RecoverToError::WentOn { at, epoch, instead }.into())
            }
            (Some(epoch), None, _) => Ok(Some(Way { epoch, marked })),
            // Not even the first segment can be read: there is nothing to go on from.
            (None, None, Err(unreadable)) => Err(unreadable.into()),
            (None, None, Ok(_)) => Ok(None),
        }
    }
}

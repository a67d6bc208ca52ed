//! What an operator has mended in the directory of a node that doesn't run: first looked at, with nothing changed, then done.
//!
//! Whatever goes is kept aside in `lost`, and only what is asked for goes. A crash on the way leaves what a start or the same
//! repair finishes. How a journal is made to end is [`giving_up`](super::giving_up)'s and [`tail`](super::tail)'s.

use std::{collections::BTreeSet, fmt, path::Path, sync::Arc};

use super::{
    SNAPSHOTS_DIR,
    envelope::Position,
    error::{JournalError, OpenError, ReadError},
    given_up::GivenUp,
    giving_up::{GivingUp, LookError, RecoverToError},
    lock::NodeLock,
    manifest::Manifest,
    marks::AllMarks,
    reader::Reader,
    record::Record,
    snapshots,
    storage::Storage,
    tail::{Loss, Tail, move_aside, settle, sync_dir},
};
use crate::id::WorkerId;

/// Something that can be mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repair {
    /// The journal ends earlier: what lies behind that position, where a record ends, is given up.
    EndAt(Position),
    /// What a crash left behind the journal's end goes, as it would when the node starts.
    DropTail,
    /// The snapshots go that no start would use: damaged ones, and those that nothing in the journal marks.
    SnapshotsAside,
}

/// What a repair did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repaired {
    /// The journal ends earlier.
    Ended(GivenUp),
    /// What a crash left is gone.
    TailDropped(Loss),
    /// These snapshots are gone.
    SnapshotsAside(Vec<UnusableSnapshot>),
}

/// A snapshot that no start would use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableSnapshot {
    /// Its worker, as its file's name says.
    pub worker: WorkerId,
    /// Its round, likewise.
    pub round: u64,
    /// Why it can't be used.
    pub why: String,
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Repaired::Ended(given_up) => given_up.fmt(f),
            Repaired::TailDropped(Loss { after, bytes, why }) => {
                write!(f, "the {bytes} bytes after {after} that a crash left ({why}) are kept aside in `lost`")
            }
            Repaired::SnapshotsAside(snapshots) => {
                f.write_str("snapshots are kept aside in `lost`: ")?;
                for (at, UnusableSnapshot { worker, round, why }) in snapshots.iter().enumerate() {
                    write!(f, "{}round {round} of {worker} ({why})", if at == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

/// Why something can't be mended. Where it is not [`Disk`](RepairError::Disk), nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The journal can't be made to end there.
    #[error(transparent)]
    EndAt(#[from] RecoverToError),
    /// The node could not go on from there: a worker's start was given up, and no snapshot of it can be used.
    #[error(
        "the journal can't be made to end at {at}: {worker} was started before its beginning, and no snapshot of {worker} that is \
             marked before {at} can be used; give a later position"
    )]
    NoSnapshot {
        /// The position that was given.
        at: Position,
        /// The worker.
        worker: WorkerId,
    },
    /// The directory can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The journal can't be read up to where it would have to be.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk failed on the way. The same repair finishes what is half done.
    #[error(transparent)]
    Disk(#[from] JournalError),
}

impl From<LookError> for RepairError {
    fn from(error: LookError) -> RepairError {
        match error {
            LookError::Refused(error) => error.into(),
            LookError::Open(error) => error.into(),
            LookError::Read(error) => error.into(),
        }
    }
}

impl From<super::error::IoError> for RepairError {
    fn from(error: super::error::IoError) -> RepairError {
        ReadError::from(error).into()
    }
}

/// What is to be done, with what it takes to do it.
enum Plan {
    End(GivingUp, Tail),
    Drop(Loss, Tail),
    Aside(Vec<UnusableSnapshot>),
}

impl Repair {
    /// Looks at what would be done, and changes nothing. None if there is nothing to do.
    ///
    /// # Errors
    /// When a node runs there, or it can't be done.
    pub fn look(self, storage: &Arc<dyn Storage>, node_dir: &Path) -> Result<Option<Repaired>, RepairError> {
        self.look_telling(storage, node_dir, &mut |_| {})
    }

    /// As [`look`](Repair::look), and tells `on_record` where each record stands that is read: those of the whole journal, as often as
    /// [`passes`](Repair::passes) says.
    ///
    /// # Errors
    /// As [`look`](Repair::look).
    pub fn look_telling(
        self,
        storage: &Arc<dyn Storage>,
        node_dir: &Path,
        on_record: &mut dyn FnMut(Position),
    ) -> Result<Option<Repaired>, RepairError> {
        let mut reader = Reader::open(storage.clone(), node_dir)?;
        Ok(self.plan(&mut reader, &**storage, node_dir, on_record)?.map(|plan| plan.says()))
    }

    /// How often the journal is read for it.
    #[must_use]
    pub fn passes(self) -> u64 {
        match self {
            Repair::EndAt(_) => 2,
            Repair::DropTail | Repair::SnapshotsAside => 1,
        }
    }

    /// Does it. None if there was nothing to do.
    ///
    /// # Errors
    /// When a node runs there, or it can't be done; when the disk fails.
    pub fn carry_out(self, storage: &Arc<dyn Storage>, node_dir: &Path) -> Result<Option<Repaired>, RepairError> {
        self.carry_out_telling(storage, node_dir, &mut |_| {})
    }

    /// As [`carry_out`](Repair::carry_out), and tells `on_record` as [`look_telling`](Repair::look_telling) does.
    ///
    /// # Errors
    /// As [`carry_out`](Repair::carry_out).
    pub fn carry_out_telling(
        self,
        storage: &Arc<dyn Storage>,
        node_dir: &Path,
        on_record: &mut dyn FnMut(Position),
    ) -> Result<Option<Repaired>, RepairError> {
        // To take the lock makes a directory where there is none.
        Manifest::load(&**storage, node_dir)?;
        let lock = NodeLock::take(&**storage, node_dir)?;
        let mut reader = Reader::open_locked(storage.clone(), node_dir, &lock)?;
        let manifest = reader.manifest().clone();
        let Some(plan) = self.plan(&mut reader, &**storage, node_dir, on_record)? else { return Ok(None) };
        let says = plan.says();
        plan.carry_out(&**storage, node_dir, manifest)?;
        Ok(Some(says))
    }

    fn plan(
        self,
        reader: &mut Reader,
        storage: &dyn Storage,
        node_dir: &Path,
        on_record: &mut dyn FnMut(Position),
    ) -> Result<Option<Plan>, RepairError> {
        match self {
            Repair::EndAt(at) => {
                let giving_up = GivingUp::look_through(reader, storage, node_dir, at, on_record)?;
                let Some(giving_up) = giving_up else { return Ok(None) };
                reader.end_at(at);
                reader.seek(Position::default())?;
                let Seen { marks, bereft, tail } = Seen::read(reader, on_record)?;
                let identity = reader.manifest().identity;
                let is_usable = |worker: &WorkerId| {
                    let found = marks.0.get(worker).map_or(&[][..], |marks| &marks.found);
                    found.iter().any(|marking| marking.mark.load(storage, node_dir, identity).is_ok())
                };
                match bereft.into_iter().find(|worker| !is_usable(worker)) {
                    Some(worker) => Err(RepairError::NoSnapshot { at, worker }),
                    None => Ok(Some(Plan::End(giving_up, tail))),
                }
            }
            Repair::DropTail => {
                let Seen { tail, .. } = Seen::read(reader, on_record)?;
                Ok(tail.lost.clone().map(|lost| Plan::Drop(lost, tail)))
            }
            Repair::SnapshotsAside => {
                let Seen { marks, .. } = Seen::read(reader, on_record)?;
                let unusable = unusable_snapshots(&marks, storage, node_dir, reader.manifest().identity)?;
                Ok((!unusable.is_empty()).then_some(Plan::Aside(unusable)))
            }
        }
    }
}

impl Plan {
    fn says(&self) -> Repaired {
        match self {
            Plan::End(giving_up, _) => Repaired::Ended(giving_up.given_up().clone()),
            Plan::Drop(lost, _) => Repaired::TailDropped(lost.clone()),
            Plan::Aside(snapshots) => Repaired::SnapshotsAside(snapshots.clone()),
        }
    }

    fn carry_out(self, storage: &dyn Storage, node_dir: &Path, manifest: Manifest) -> Result<(), JournalError> {
        match self {
            Plan::End(giving_up, tail) => {
                let (manifest, _) = giving_up.carry_out(storage, node_dir, manifest, &tail)?;
                // From here on a node starts without being told.
                manifest.store(storage, node_dir)
            }
            Plan::Drop(_, tail) => settle(storage, node_dir, &tail),
            Plan::Aside(unusable) => {
                for UnusableSnapshot { worker, round, .. } in unusable {
                    let path = snapshots::path(node_dir, worker, round);
                    move_aside(storage, node_dir, &path, &format!("{}-{round}.qsn", worker.0))?;
                }
                sync_dir(storage, &node_dir.join(SNAPSHOTS_DIR))
            }
        }
    }
}

/// What a journal that was read to its end says.
struct Seen {
    marks: AllMarks,
    /// The workers whose start was given up with the journal's beginning.
    bereft: BTreeSet<WorkerId>,
    tail: Tail,
}

impl Seen {
    fn read(reader: &mut Reader, on_record: &mut dyn FnMut(Position)) -> Result<Seen, ReadError> {
        let (mut marks, mut workers, mut started) = (AllMarks::default(), BTreeSet::new(), BTreeSet::new());
        while let Some(entry) = reader.next()? {
            on_record(entry.position);
            marks.note(&entry.record, entry.position);
            workers.extend(entry.record.worker());
            if let Record::WorkerStarted { worker, .. } = entry.record {
                started.insert(worker);
            }
        }
        let bereft = workers.difference(&started).copied().collect();
        let tail = reader.tail().cloned().expect("a reader that has no more records knows where they end");
        Ok(Seen { marks, bereft, tail })
    }
}

/// The snapshots of a node that no start would use, with the reason of each.
///
/// # Errors
/// When the system fails, or a newer version of the library wrote one.
pub(super) fn unusable_snapshots(
    marks: &AllMarks,
    storage: &dyn Storage,
    node_dir: &Path,
    identity: u128,
) -> Result<Vec<UnusableSnapshot>, ReadError> {
    let mut unusable = Vec::new();
    for (worker, round) in snapshots::list(storage, node_dir)? {
        let found = marks.0.get(&worker).map_or(&[][..], |marks| &marks.found);
        let mut why = Some("nothing in the journal marks it".to_owned());
        // The last mark is the likeliest.
        for marking in found.iter().rev().filter(|marking| marking.mark.round == round) {
            match marking.mark.load(storage, node_dir, identity) {
                Ok(_) => why = None,
                Err(ReadError::Corrupt(corrupt)) => why = Some(corrupt.why.to_string()),
                Err(other) => return Err(other),
            }
            if why.is_none() {
                break;
            }
        }
        unusable.extend(why.map(|why| UnusableSnapshot { worker, round, why }));
    }
    Ok(unusable)
}

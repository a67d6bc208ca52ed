//! Where the playback of a worker begins of whose records only the later ones are played back: at a snapshot. Its start was given
//! up to keep the journal within its bounds, or another version of the program recorded what comes before, or whoever plays wants no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use super::{
    refused::{Cause, Refusals, Refused, RefusedSnapshot},
    restored::{Restored, Unusable, restore},
};
use crate::{
    codec::{Codec, Trust},
    digest::{Digest, StreamDigest},
    id::WorkerId,
    journal::{
        Corruption, Manifest, ReadError, Record, Storage, Why,
        snapshots::{self, Mark, Snapshot},
    },
    worker::{Catalogue, Worker, WorkerConfig},
};

/// The snapshots of a node, for playbacks that can't begin with its workers' starts.
#[derive(Debug, Clone)]
pub struct Beginning {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    identity: u128,
    /// The journal has lost its beginning.
    is_cut: bool,
    /// The snapshots that workers begin with whose earlier records are left out by whoever plays.
    chosen: BTreeMap<WorkerId, Mark>,
}

impl Beginning {
    /// What is needed beside the journal of the node with that manifest and directory.
    #[must_use]
    pub fn of(storage: Arc<dyn Storage>, dir: impl Into<PathBuf>, manifest: &Manifest) -> Beginning {
        let (identity, is_cut) = (manifest.identity, manifest.oldest_segment > 1);
        Beginning { storage, dir: dir.into(), identity, is_cut, chosen: BTreeMap::new() }
    }

    /// Workers of whom the playback is given no record from before the snapshot of a mark, though the journal may have them, begin with that
    /// snapshot.
    #[must_use]
    pub fn with(self, chosen: impl IntoIterator<Item = Mark>) -> Beginning {
        let chosen = chosen.into_iter().map(|mark| (mark.worker, mark)).collect();
        Beginning { chosen, ..self }
    }

    fn restore(&self, mark: &Mark, catalogue: &Arc<Catalogue>) -> Result<Worker, Refusal> {
        let loaded = mark.load(&*self.storage, &self.dir, self.identity);
        self.restored(mark.worker, mark.round, loaded, catalogue).map(|(worker, _)| worker)
    }

    /// A worker as it was where a snapshot was begun. Whether that came to count, its mark will say.
    fn restore_begun(
        &self,
        worker: WorkerId,
        round: u64,
        digest: u64,
        catalogue: &Arc<Catalogue>,
    ) -> Result<(Worker, Mark), Refusal> {
        let loaded = snapshots::load(&*self.storage, &self.dir, self.identity, worker, round);
        let (restored, snapshot) = self.restored(worker, round, loaded, catalogue)?;
        let (image_digest, driver_digest) = (StreamDigest::of(snapshot.image()), Digest::of(snapshot.driver()));
        let mark = Mark { worker, round, digest, image_digest, driver_digest };
        Ok((restored, mark))
    }

    fn restored(
        &self,
        worker: WorkerId,
        round: u64,
        loaded: Result<Snapshot, ReadError>,
        catalogue: &Arc<Catalogue>,
    ) -> Result<(Worker, Snapshot), Refusal> {
        let restored = loaded.map_err(unreadable).and_then(|snapshot| match restore(catalogue, &snapshot) {
            Ok(Restored { worker, .. }) => Ok((worker, snapshot)),
            Err(Unusable::Damaged(why)) => Err((Cause::Damaged, why)),
            Err(Unusable::Lacking(why)) => Err((Cause::Lacking, why)),
            Err(Unusable::Left(why)) => Err((Cause::Changed, why.to_string())),
        });
        let file = || snapshots::path(&self.dir, worker, round);
        restored.map_err(|(cause, why)| Refusal { cause, snapshot: RefusedSnapshot { round, file: file(), why } })
    }
}

/// A snapshot that can't be begun with, and why not.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) cause: Cause,
    pub(super) snapshot: RefusedSnapshot,
}

/// Why a snapshot's file can't be read.
fn unreadable(error: ReadError) -> (Cause, String) {
    match error {
        ReadError::Corrupt(Corruption { why: why @ Why::Missing, .. }) => (Cause::Missing, why.to_string()),
        ReadError::Corrupt(Corruption { why, .. }) => (Cause::Damaged, why.to_string()),
        other => (Cause::Damaged, other.to_string()),
    }
}

/// Workers of which there were records, and no start or snapshot so far.
#[derive(Debug, Default)]
pub(super) struct Unbegun {
    pub(super) beginning: Option<Beginning>,
    workers: BTreeMap<WorkerId, PassedOver>,
    /// Rounds that stand before the first snapshots with which workers could have begun, were these fit for it.
    pub(super) passed_over: u64,
    /// Rounds that stand between these and those with which they began.
    pub(super) not_begun: u64,
    /// The snapshots because of which these were not run.
    pub(super) refused: Vec<Refused>,
}

/// A worker that will not begin.
pub(super) struct GivenUp {
    pub(super) worker: WorkerId,
    /// The last round that was read of it.
    pub(super) reached: u64,
    /// How many were read.
    pub(super) rounds: u64,
    pub(super) why: String,
}

/// What was passed over of a worker.
#[derive(Debug, Default)]
struct PassedOver {
    rounds: u64,
    /// Of these, those that would have been run with the first snapshot that was marked.
    not_begun: u64,
    /// The last of them.
    reached: u64,
    /// Another version recorded them; the last snapshot of it that was marked.
    by_another: Option<Option<Mark>>,
    /// What shapes the worker, if that was changed since.
    config: Option<WorkerConfig>,
    /// What was wrong with the snapshots that were begun or marked.
    refused: Refusals,
}

/// What a record of a worker that has not begun means.
pub(super) enum Begins {
    /// It is passed over.
    NotYet,
    /// The worker begins with the snapshot of that mark, before the record.
    Here(Box<Worker>, Mark),
    /// There is nothing to begin from but its start.
    Never,
    /// The snapshot that was chosen for it can't be used.
    Unusable(Refusal),
}

impl Unbegun {
    /// Passes over a record that another version of the program wrote.
    pub(super) fn note(&mut self, worker: WorkerId, record: &Record<'_>) {
        let passed = self.workers.entry(worker).or_default();
        let last = passed.by_another.get_or_insert_default();
        if let Some(mark) = Mark::of(record) {
            // The same one, marked again, doesn't know.
            if last.is_none_or(|before| before.round < mark.round) {
                passed.config = None;
            }
            *last = Some(mark);
        }
        if let Record::Configured { config, .. } = record {
            passed.config = Codec::CURRENT.decode(config, Trust::Node).ok();
        }
        if let Record::Round { round, .. } = record {
            passed.rounds += 1;
            passed.reached = *round;
        }
    }

    /// What a record means of a worker that has not begun.
    pub(super) fn take(&mut self, worker: WorkerId, record: &Record<'_>, catalogue: &Arc<Catalogue>) -> Begins {
        let is_behind_another = self.workers.get(&worker).is_some_and(|passed| passed.by_another.is_some());
        if is_behind_another {
            let begins = self.behind_another(worker, catalogue);
            // What the other version left may be gone; this one has snapshots of its own.
            if !matches!(begins, Begins::NotYet) {
                return begins;
            }
        }
        let Some(beginning) = &self.beginning else { return Begins::Never };
        if let Some(mark) = beginning.chosen.get(&worker).copied().filter(|_| !is_behind_another) {
            return match beginning.restore(&mark, catalogue) {
                Ok(restored) => self.begin(worker, restored, mark),
                Err(refusal) => Begins::Unusable(refusal),
            };
        }
        if !beginning.is_cut && !is_behind_another {
            return Begins::Never;
        }
        let passed = self.workers.entry(worker).or_default();
        let restored = match *record {
            Record::SnapshotBegun { round, digest, .. } => beginning.restore_begun(worker, round, digest, catalogue),
            Record::SnapshotMark { .. } => {
                let mark = Mark::of(record).expect("it is one");
                if !mark.needs_no_beginning((passed.rounds > 0).then_some(passed.reached)) {
                    return Begins::NotYet;
                }
                beginning.restore(&mark, catalogue).map(|restored| (restored, mark))
            }
            Record::Round { round, .. } => {
                passed.rounds += 1;
                passed.not_begun += u64::from(passed.refused.pass_round());
                passed.reached = round;
                return Begins::NotYet;
            }
            _ => return Begins::NotYet,
        };
        match restored {
            Ok((restored, mark)) => {
                // It is newer than all that the other version has said.
                passed.config = None;
                self.begin(worker, restored, mark)
            }
            Err(Refusal { cause, snapshot }) => {
                passed.refused.note(worker, cause, snapshot);
                Begins::NotYet
            }
        }
    }

    /// Lets a worker begin with the snapshot at which another version of the program left it.
    pub(super) fn behind_another(&mut self, worker: WorkerId, catalogue: &Arc<Catalogue>) -> Begins {
        let Some(passed) = self.workers.get_mut(&worker) else { return Begins::Never };
        let Some(Some(mark)) = passed.by_another.filter(|mark| mark.is_some_and(|mark| mark.round >= passed.reached))
        else {
            return Begins::NotYet;
        };
        match self.beginning.as_ref().map(|beginning| beginning.restore(&mark, catalogue)) {
            Some(Ok(restored)) => self.begin(worker, restored, mark),
            Some(Err(Refusal { cause, snapshot })) => {
                passed.refused.note(worker, cause, snapshot);
                passed.by_another = Some(None);
                Begins::NotYet
            }
            None => Begins::Never,
        }
    }

    fn begin(&mut self, worker: WorkerId, mut restored: Worker, mark: Mark) -> Begins {
        let passed = self.workers.remove(&worker).unwrap_or_default();
        if let Some(config) = passed.config {
            restored.configure(config);
        }
        self.pass_over(passed);
        Begins::Here(Box::new(restored), mark)
    }

    /// Counts what was passed over of a worker that nobody waits for any more.
    fn pass_over(&mut self, passed: PassedOver) {
        self.passed_over += passed.rounds - passed.not_begun;
        self.not_begun += passed.not_begun;
        self.refused.extend(passed.refused.costly());
    }

    /// Passes over what another version recorded of workers that haven't begun: the journal ends with it.
    pub(super) fn pass_over_others(&mut self) {
        for worker in self.of_another() {
            let passed = self.workers.remove(&worker).expect("it hasn't begun");
            self.pass_over(passed);
        }
    }

    /// Passes over all that was read of workers that haven't begun, but for the last round of those: the playback ends before the journal
    /// does.
    pub(super) fn pass_over_all(&mut self, but_last: &BTreeSet<WorkerId>) {
        for (worker, mut passed) in std::mem::take(&mut self.workers) {
            if but_last.contains(&worker) && passed.rounds > 0 {
                passed.rounds -= 1;
                passed.not_begun = passed.not_begun.saturating_sub(1);
                passed.refused.take_back_round();
            }
            self.pass_over(passed);
        }
    }

    /// The workers that another version recorded, and that haven't begun.
    pub(super) fn of_another(&self) -> Vec<WorkerId> {
        let of_another = self.workers.iter().filter(|(_, passed)| passed.by_another.is_some());
        of_another.map(|(worker, _)| *worker).collect()
    }

    /// True if there are no workers that have yet to begin though there are records of them.
    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// The workers that haven't begun though there are records of them, each with the last round that was read of it, and why not.
    pub(super) fn all(&self) -> impl Iterator<Item = (WorkerId, u64, String)> + '_ {
        self.workers.iter().map(|(worker, passed)| (*worker, passed.reached, passed.why_not_begun()))
    }

    /// Nobody waits any more for the workers of which a snapshot holds what the program lacks. That others of theirs are damaged is kept:
    /// it isn't known what these would have been good for.
    pub(super) fn give_up_lacking(&mut self) -> Vec<GivenUp> {
        let lacking = self.workers.iter().filter(|(_, passed)| passed.refused.has(Cause::Lacking));
        let lacking: Vec<_> = lacking.map(|(worker, _)| *worker).collect();
        let given_up = lacking.into_iter().map(|worker| {
            let passed = self.workers.remove(&worker).expect("it hasn't begun");
            let (reached, rounds, why) = (passed.reached, passed.rounds, passed.why_not_begun());
            self.refused.extend(passed.refused.costly().filter(|refused| refused.cause == Cause::Damaged));
            GivenUp { worker, reached, rounds, why }
        });
        given_up.collect()
    }

    pub(super) fn absorb(&mut self, other: Unbegun) {
        self.workers.extend(other.workers);
        self.passed_over += other.passed_over;
        self.not_begun += other.not_begun;
        self.refused.extend(other.refused);
    }
}

impl PassedOver {
    fn why_not_begun(&self) -> String {
        let PassedOver { reached, by_another, refused, .. } = self;
        match by_another {
            None => {
                format!("its start was given up to keep the journal short, and no snapshot of it can be used{refused}")
            }
            Some(_) if refused.is_empty() => {
                format!(
                    "it was recorded up to round {reached} by another version of the program, or with other resources, and not \
                     stopped cleanly then"
                )
            }
            Some(_) => {
                format!("it was recorded by another version of the program, and no snapshot of it can be used{refused}")
            }
        }
    }
}

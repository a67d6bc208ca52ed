//! Where the playback of a worker begins whose start was given up to keep a journal within its bounds: at the first snapshot that
//! is left of it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::{
    id::WorkerId,
    journal::{Manifest, Record, Storage, snapshots::Mark},
    worker::{Catalogue, Worker},
};

/// The snapshots of a node whose journal has lost its beginning.
#[derive(Debug, Clone)]
pub struct Beginning {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    identity: u128,
}

impl Beginning {
    /// What is needed beside the journal of the node with that manifest and directory; nothing if the journal is whole.
    #[must_use]
    pub fn of(storage: Arc<dyn Storage>, dir: impl Into<PathBuf>, manifest: &Manifest) -> Option<Beginning> {
        (manifest.oldest_segment > 1).then(|| Beginning { storage, dir: dir.into(), identity: manifest.identity })
    }

    fn restore(&self, mark: &Mark, catalogue: &Arc<Catalogue>) -> Result<Worker, String> {
        let snapshot = mark.load(&*self.storage, &self.dir, self.identity).map_err(|error| error.to_string())?;
        Worker::restore(catalogue.clone(), snapshot.image()).map_err(|error| error.to_string())
    }
}

/// Workers of which there were records, and no start or snapshot so far.
#[derive(Debug, Default)]
pub(super) struct Unbegun {
    pub(super) beginning: Option<Beginning>,
    workers: BTreeMap<WorkerId, Refused>,
    /// Rounds that stand before the first snapshot of their worker.
    pub(super) passed_over: u64,
}

/// What was wrong with the snapshots of a worker that were marked, and the rounds before.
#[derive(Debug, Default)]
struct Refused {
    rounds: u64,
    why: Vec<String>,
}

/// What a record of a worker that has not begun means.
pub(super) enum Begins {
    /// It is passed over.
    NotYet,
    /// The worker begins here, with the snapshot of that mark.
    Here(Box<Worker>, Mark),
}

impl Unbegun {
    /// What a record means of a worker that has not begun; `None` if there is nothing to begin from but its start.
    pub(super) fn take(&mut self, record: &Record<'_>, catalogue: &Arc<Catalogue>) -> Option<Begins> {
        let (beginning, worker) = (self.beginning.as_ref()?, record.worker()?);
        let Some(mark) = Mark::of(record) else {
            let rounds = u64::from(matches!(record, Record::Round { .. }));
            self.workers.entry(worker).or_default().rounds += rounds;
            return Some(Begins::NotYet);
        };
        match beginning.restore(&mark, catalogue) {
            Ok(restored) => {
                self.passed_over += self.workers.remove(&worker).map_or(0, |refused| refused.rounds);
                Some(Begins::Here(Box::new(restored), mark))
            }
            Err(why) => {
                self.workers.entry(worker).or_default().why.push(why);
                Some(Begins::NotYet)
            }
        }
    }

    /// A worker that hasn't begun though there are records of it, and why not.
    pub(super) fn first(&self) -> Option<(WorkerId, String)> {
        let (worker, refused) = self.workers.first_key_value()?;
        let why: String = refused.why.iter().map(|why| format!("\n  {why}")).collect();
        Some((
            *worker,
            format!("its start was given up to keep the journal short, and no snapshot of it can be used{why}"),
        ))
    }

    pub(super) fn absorb(&mut self, other: Unbegun) {
        self.workers.extend(other.workers);
        self.passed_over += other.passed_over;
    }
}

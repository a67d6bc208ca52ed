//! Workers brought back from snapshots' files, by this version of the program or by another that wrote them.

use std::sync::Arc;

use crate::{
    fsm::UpgradeError,
    journal::snapshots::Snapshot,
    worker::{CarryOver, CarryOverError, Catalogue, ImageError, Table, Worker},
};

/// A worker that was brought back.
pub(crate) struct Restored {
    pub(crate) worker: Worker,
    /// The table by which the snapshot was written, if this program has another.
    pub(crate) written_by: Option<Table>,
}

/// Why a snapshot can't be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It is damaged. Another one may do.
    Damaged(String),
    /// It holds what the program doesn't register though the one that recorded did: only a replay has such a catalogue.
    Lacking(String),
    /// What it holds can't be carried over to this version of the program.
    Left(CarryOverError),
}

impl Unusable {
    /// With a catalogue that lacks something, what is gone is lacking.
    fn of(self, catalogue: &Catalogue) -> Unusable {
        match self {
            Unusable::Left(CarryOverError { of, why })
                if catalogue.is_partial()
                    && matches!(why, UpgradeError::Gone { .. } | UpgradeError::NoAnswer { .. }) =>
            {
                Unusable::Lacking(format!("{of}: {why}"))
            }
            other => other,
        }
    }
}

/// Brings back the worker of a snapshot.
pub(crate) fn restore(catalogue: &Arc<Catalogue>, snapshot: &Snapshot) -> Result<Restored, Unusable> {
    let table = Table::from_bytes(snapshot.catalogue());
    let table = table.map_err(|error| Unusable::Damaged(format!("its table of kinds: {error}")))?;
    if table.is_written_alike(catalogue.table()) {
        let worker = Worker::restore(catalogue.clone(), snapshot.image()).map_err(|error| match error {
            // A build whose types are the same need not take the same answers.
            ImageError::NoAnswer { queue, kind, answer } => {
                let of = format!("{queue} of kind {kind}");
                Unusable::Left(CarryOverError { of, why: UpgradeError::NoAnswer { answer } })
            }
            error @ ImageError::NoKind { .. } => Unusable::Lacking(error.to_string()),
            error => Unusable::Damaged(error.to_string()),
        });
        let worker = worker.map_err(|unusable| unusable.of(catalogue))?;
        return Ok(Restored { worker, written_by: None });
    }
    let worker = CarryOver::new(&table, catalogue).worker(snapshot.image());
    let worker = worker.map_err(|error| Unusable::Left(error).of(catalogue))?;
    Ok(Restored { worker, written_by: Some(table) })
}

//! A failing case as the journal of a node, so that whatever opens journals opens it: replays, `qnfsm dump`, a debugger. Its manifest says
//! that a test saved it, so the commands of each program that has the kinds take it.
//!
//! It holds what a node with `Recording::Everything` would have written of these rounds, up to the one that failed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::course::{Course, Round, Scene};
use crate::{
    Codec, Digest, Epoch, GENERATOR,
    frame::BatchRef,
    journal::{Journal, JournalError, JournalOptions, Manifest, Outcome, RealFiles, Record, SegmentInfo},
    node::build_identity,
    testing::twin::Told,
};

/// Why a case could not be saved.
#[derive(Debug, thiserror::Error)]
pub(super) enum SaveError {
    #[error("{path}: {error}", path = path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Journal(#[from] JournalError),
}

/// Writes the course into that directory, in place of the journal of a case that may stand there.
pub(super) fn save(dir: &Path, property: &str, seed: u64, scene: &Scene, course: &Course) -> Result<(), SaveError> {
    let at = |error| SaveError::Io { path: dir.into(), error };
    let (node, worker) = Course::PLACE;
    if dir.join("manifest").exists() {
        // The same seed of the same property: it was saved by a run before.
        fs::remove_dir_all(dir).map_err(at)?;
    }
    fs::create_dir_all(dir).map_err(at)?;
    let storage = Arc::new(RealFiles);
    let identity = u128::from(Digest::of(property.as_bytes())) << 64 | u128::from(seed);
    let manifest = Manifest::of_test(identity, node, property, seed);
    manifest.create(&*storage, dir)?;
    let mut config = Vec::new();
    Codec::CURRENT.encode(&scene.config, &mut config).expect("a configuration is numbers");
    let (build, build_bytes) = build_identity();
    let info = SegmentInfo {
        codec: Codec::CURRENT.id(),
        generator: GENERATOR,
        identity,
        node,
        epoch: Epoch::FIRST,
        epoch_random: seed,
        build,
        build_bytes,
        catalogue: scene.catalogue.table().to_bytes(),
        configuration: config.clone(),
        marks_ends: false,
    };
    let journal = Journal::begin(storage, dir, info, None, JournalOptions::default())?;
    journal.append(&Record::WorkerStarted { worker, epoch: Epoch::FIRST, config: &config, request: None })?;
    let mut digest_before = 0;
    for (round, number) in course.rounds.iter().zip(1..) {
        put_round(&journal, round, number, digest_before)?;
        digest_before = round.digest.unwrap_or_default();
    }
    if let (Some(last), number) = (course.rounds.last(), course.rounds.len() as u64) {
        match last.digest {
            Some(digest) => _ = journal.append(&Record::DigestMark { worker, round: number, digest })?,
            None if course.fault.is_some() => {
                let (round, outcome) = (number, Outcome::Faulted);
                journal.append(&Record::Attempt { worker, round, at: None, outcome })?;
            }
            None => {}
        }
    }
    journal.sync()?;
    journal.close();
    Ok(())
}

/// A round with all that belongs to it.
fn put_round(journal: &Journal, round: &Round, number: u64, digest_before: u64) -> Result<(), JournalError> {
    let (_, worker) = Course::PLACE;
    let batches: Vec<BatchRef<'_>> = round.batches.iter().map(|batch| batch.as_ref()).collect();
    let Round { bound, now, .. } = *round;
    journal.append(&Record::Round { worker, round: number, bound, now, digest_before, batches: &batches })?;
    for told in &round.told {
        match told {
            Told::Value { port, answer: Ok(answer), .. } => {
                journal.append(&Record::External { worker, round: number, port, answer })?;
            }
            // The round ends there, and in a replay too, because no answer is recorded.
            Told::Value { answer: Err(_), .. } => {}
            Told::Version { name, version } => {
                journal.append(&Record::Version { worker, round: number, name, version: *version })?;
            }
        }
    }
    if !round.deliveries.is_empty() {
        journal.append(&Record::Deliveries { worker, round: number, entries: &round.deliveries })?;
    }
    Ok(())
}

//! What a node of ours writes down in a run, and where: nothing, into memory, or into a directory that goes away after it.
//!
//! In memory is as a user has it: a flight recorder of 64 MiB, which gives up what is old behind snapshots that it takes.

use qnfsm::{Durability, NodeBuilder};
use tempfile::TempDir;

use crate::plan::{Failure, Recording};

/// Makes a node record, and returns the directory that it records in, or would write a flight recorder's recordings into.
///
/// # Errors
/// When there can't be such a directory.
pub fn recorded(builder: NodeBuilder, recording: Recording) -> Result<(NodeBuilder, Option<TempDir>), Failure> {
    let builder = match recording {
        Recording::Off => return Ok((builder, None)),
        Recording::Memory => builder.durability(Durability::Memory),
        Recording::Buffered => builder,
        Recording::Durable => builder.durability(Durability::Durable),
        Recording::Everything => builder.recording(qnfsm::Recording::Everything),
    };
    let dir = directory()?;
    Ok((builder.dir(dir.path()), Some(dir)))
}

/// A directory for one run, which goes away with the value.
///
/// # Errors
/// When there can't be one.
pub fn directory() -> Result<TempDir, Failure> {
    Ok(tempfile::Builder::new().prefix("qnfsm-bench-").tempdir()?)
}

//! What a node of ours writes down in a run, and where: nothing, into memory, or into a directory that goes away after it.

use std::{path::PathBuf, sync::Arc};

use qnfsm::{Durability, NodeBuilder};
use tempfile::TempDir;

use crate::{
    plan::{Failure, Recording},
    sink::MemoryFiles,
};

/// Makes a node record, and returns the directory that it records in, where that is one of the file system's.
///
/// # Errors
/// When there can't be such a directory.
pub fn recorded(builder: NodeBuilder, recording: Recording) -> Result<(NodeBuilder, Option<TempDir>), Failure> {
    let builder = match recording {
        Recording::Off => return Ok((builder, None)),
        Recording::Memory => {
            let files = Arc::new(MemoryFiles::new());
            return Ok((builder.storage(files).dir(PathBuf::from("/in-memory")), None));
        }
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

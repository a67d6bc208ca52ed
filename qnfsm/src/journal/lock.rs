//! The lock of a node's directory: who writes there holds it alone, and those who only read share it.

use std::path::Path;

use super::{
    LOCK_FILE,
    error::{IoError, OpenError},
    storage::{Held, Storage},
};

/// The exclusive hold of a node's directory. The operating system lets go of it when the process ends, however.
#[derive(Debug)]
pub struct NodeLock {
    _held: Box<dyn Held>,
}

impl NodeLock {
    /// Takes the directory for this process, and makes it where there is none.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another holds it; otherwise what the operating system says.
    pub fn take(storage: &dyn Storage, node_dir: &Path) -> Result<NodeLock, OpenError> {
        storage.create_dir_all(node_dir).map_err(|error| IoError::new("create", node_dir, error))?;
        let path = node_dir.join(LOCK_FILE);
        match storage.lock(&path).map_err(|error| IoError::new("lock", path, error))? {
            Some(held) => Ok(NodeLock { _held: held }),
            None => Err(OpenError::InUse(node_dir.into())),
        }
    }
}

/// A reader's share of a node's directory: while it is held, no node starts there, which would cut off and move what is
/// being read. Others may read as well. A copy of a directory without its lock's file is nobody's to hold.
#[derive(Debug)]
pub(super) struct ReadLock {
    _held: Box<dyn Held>,
}

impl ReadLock {
    /// Takes a share of the directory. Changes nothing there. Nothing if what stands there is no directory: what it is
    /// instead is the manifest's to say.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if a running node holds it; otherwise what the operating system says.
    pub(super) fn take(storage: &dyn Storage, node_dir: &Path) -> Result<Option<ReadLock>, OpenError> {
        let path = node_dir.join(LOCK_FILE);
        match storage.lock_shared(&path) {
            Ok(Some(held)) => Ok(Some(ReadLock { _held: held })),
            Ok(None) => Err(OpenError::InUse(node_dir.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(None),
            Err(error) => Err(IoError::new("look at the lock", path, error).into()),
        }
    }
}

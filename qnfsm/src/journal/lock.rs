//! The lock of a node's directory: who writes there holds it, and who only reads looks whether anybody does.

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

    /// Says whether a running node holds the directory. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if one does; otherwise what the operating system says.
    pub fn check(storage: &dyn Storage, node_dir: &Path) -> Result<(), OpenError> {
        let path = node_dir.join(LOCK_FILE);
        match storage.is_locked(&path) {
            Ok(false) => Ok(()),
            Ok(true) => Err(OpenError::InUse(node_dir.into())),
            // A path through a file is no lock; what it is instead is the manifest's to say.
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(()),
            Err(error) => Err(IoError::new("look at the lock", path, error).into()),
        }
    }
}

//! The seam between the journal and the disk: few operations, all blocking, so that tests can make each of them fail.
//!
//! [`RealFiles`] is the one implementation over std. Files are readable by their owner only where the system knows
//! such a thing. Nothing here retries: a failed write or sync is the caller's to act on.

use std::{
    fmt, fs,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use super::error::IoError;

/// What the journal asks of a disk.
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Makes a directory and those above it, for the owner only; fine if it is there.
    ///
    /// # Errors
    /// What the operating system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The names in a directory, sorted. Names that are not Unicode are left out: none of ours is among them.
    ///
    /// # Errors
    /// What the operating system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a file that isn't there yet, for the owner only, and opens it to write.
    ///
    /// # Errors
    /// What the operating system says; `AlreadyExists` if it is there.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Opens a file that is there, to write from `offset` on, over what is there and on behind its end. It is not
    /// longer than the file.
    ///
    /// # Errors
    /// What the operating system says.
    fn open(&self, path: &Path, offset: u64) -> io::Result<Box<dyn File>>;

    /// The length of a file in bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn file_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Reads at most `bytes_max` bytes from `offset` on into `into`, whose content is replaced and whose buffer is
    /// used again. Fewer come only if the file ends.
    ///
    /// # Errors
    /// What the operating system says.
    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()>;

    /// Gives a file another name, in place of any file that has it.
    ///
    /// # Errors
    /// What the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns when the names in a directory are on disk. On Windows there is no such call, and nothing is done.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of a file, which is made if it isn't there; `None` if another holds a lock of it.
    ///
    /// # Errors
    /// What the operating system says.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>>;

    /// Takes a shared lock of a file, which keeps others from the exclusive one; `None` if another holds that. Changes
    /// nothing: of a file that isn't there nothing is held. A storage that nobody else sees may only look, as this does.
    ///
    /// # Errors
    /// What the operating system says.
    fn lock_shared(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        Ok(if self.is_locked(path)? { None } else { Some(Box::new(NothingHeld)) })
    }

    /// True if another holds the exclusive lock of a file. Changes nothing; a file that isn't there isn't locked.
    ///
    /// # Errors
    /// What the operating system says.
    fn is_locked(&self, path: &Path) -> io::Result<bool>;
}

/// A file that is open to write.
pub trait File: fmt::Debug + Send + Sync {
    /// Hands all the bytes to the operating system, behind those that were written before through this handle.
    ///
    /// # Errors
    /// What the operating system says; some of the bytes may have been written then.
    fn write_all(&self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when all that was written before the call is on disk.
    ///
    /// # Errors
    /// What the operating system says; what the disk holds isn't known then.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file to that length.
    ///
    /// # Errors
    /// What the operating system says.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
}

/// A lock that is held until this is dropped.
pub trait Held: fmt::Debug + Send + Sync {}

/// The lock of a file that isn't there.
#[derive(Debug)]
struct NothingHeld;

impl Held for NothingHeld {}

/// The files of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

/// What stands where a file should. Some of these would keep whoever opens them waiting for ever, or do something when they are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is {0}, and no file")]
pub(crate) struct NoFile(pub(crate) &'static str);

impl RealFiles {
    /// Refuses to open what is no file.
    fn look(path: &Path) -> io::Result<()> {
        let kind = fs::metadata(path)?.file_type();
        if kind.is_file() {
            return Ok(());
        }
        #[cfg(unix)]
        let special = {
            use std::os::unix::fs::FileTypeExt;
            match () {
                () if kind.is_fifo() => "a pipe",
                () if kind.is_socket() => "a socket",
                () => "a device",
            }
        };
        #[cfg(not(unix))]
        let special = "a device";
        Err(match kind.is_dir() {
            true => io::Error::new(io::ErrorKind::IsADirectory, NoFile("a directory")),
            false => io::Error::other(NoFile(special)),
        })
    }

    fn options() -> fs::OpenOptions {
        let mut options = fs::OpenOptions::new();
        options.write(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        options
    }
}

impl Storage for RealFiles {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt;
            builder.mode(0o700);
        }
        builder.create(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(RealFiles::options().create_new(true).open(path)?))
    }

    fn open(&self, path: &Path, offset: u64) -> io::Result<Box<dyn File>> {
        RealFiles::look(path)?;
        // Not opened in append mode, because Windows then refuses to truncate.
        let mut file = RealFiles::options().open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }

    fn file_bytes(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn read(&self, path: &Path, offset: u64, bytes_max: u64, into: &mut Vec<u8>) -> io::Result<()> {
        into.clear();
        RealFiles::look(path)?;
        let mut file = fs::File::open(path)?;
        let there = file.metadata()?.len().saturating_sub(offset).min(bytes_max);
        into.try_reserve_exact(usize::try_from(there).map_err(|_| io::ErrorKind::OutOfMemory)?)?;
        if offset != 0 {
            file.seek(SeekFrom::Start(offset))?;
        }
        file.take(bytes_max).read_to_end(into)?;
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if cfg!(windows) { Ok(()) } else { fs::File::open(dir)?.sync_all() }
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        match RealFiles::look(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = RealFiles::options().create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(HeldFile(file)))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        let file = match RealFiles::look(path).and_then(|()| fs::File::open(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Box::new(NothingHeld))),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Box::new(HeldFile(file)))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        Ok(self.lock_shared(path)?.is_none())
    }
}

impl File for fs::File {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        Write::write_all(&mut file, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        fs::File::sync_data(self)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)?;
        let mut file = self;
        file.seek(SeekFrom::Start(bytes)).map(|_| ())
    }
}

/// A locked file; the system lets go of the lock when it is closed.
#[derive(Debug)]
struct HeldFile(#[expect(dead_code, reason = "it is kept open, which is what holds the lock")] fs::File);

impl Held for HeldFile {}

/// Removes a file, which may be gone already.
pub(crate) fn remove_if_there(storage: &dyn Storage, path: &Path) -> Result<(), IoError> {
    match storage.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(IoError::new("remove", path, error)),
        _ => Ok(()),
    }
}

//! Reading a journal beside the node that writes it: nothing is held, and what seemed to be the end is looked at again.

use std::{io, path::Path, sync::Arc};

use super::{
    error::{Corruption, IoError, OpenError, Why},
    manifest::Manifest,
    reader::{Loaded, Reader},
    segment,
    storage::Storage,
    window::{Window, read_rest},
};

/// So much is read to see whether something was written.
const PEEKED_BYTES: u64 = 64;

impl Reader {
    /// Opens the journal of a node that may be running, and holds nothing there, so that no node has to wait for this reader. What
    /// is there is then a matter of the moment: a node writes on, begins segments, gives up old ones; one that starts may end the
    /// journal before what was read. [`look_again`](Reader::look_again) goes on where more was written.
    ///
    /// # Errors
    /// When that is no node's directory, or what must be there can't be read.
    pub fn open_beside(storage: Arc<dyn Storage>, node_dir: &Path) -> Result<Reader, OpenError> {
        let manifest = Manifest::load(&*storage, node_dir)?;
        let mut reader = Reader::with_manifest(storage, node_dir, manifest)?;
        // A segment may be given up while it is read.
        reader.window = Window::of_whole_files();
        Ok(reader)
    }

    /// Looks again at what lies behind the last record that was read, where the journal seemed to end or to be damaged, because its
    /// node may have written on meanwhile.
    ///
    /// # Errors
    /// When the directory is another node's by now, the journal was made to end before what was read, or the system fails.
    pub fn look_again(&mut self) -> Result<(), OpenError> {
        // In this order: what a manifest says is on disk by then, and a segment that another follows is whole.
        let looked = Reader::open_beside(self.storage.clone(), &self.node_dir)?;
        if looked.manifest.identity != self.manifest.identity {
            let why = Why::Foreign { identity: looked.manifest.identity };
            let file = self.node_dir.clone();
            return Err(Corruption { file, offset: 0, worker: None, round: None, sound_end: None, why }.into());
        }
        self.synced = self.synced.max(looked.synced);
        (self.manifest, self.segments) = (looked.manifest, looked.segments);
        (self.tail, self.failed) = (None, None);
        let Some(Loaded { at, .. }) = self.loaded else { return Ok(()) };
        let path = segment::path(&self.node_dir, at.segment);
        let is_last = self.segments.last().is_none_or(|last| *last <= at.segment);
        let mut rest = Vec::new();
        let failed = |error| IoError::new("read", &path, error);
        let there = self.storage.file_bytes(&path).map_err(failed).and_then(|bytes| {
            // Where nothing was written since, there may be much that was made of zeros beforehand.
            self.storage.read(&path, at.offset, PEEKED_BYTES, &mut rest).map_err(failed)?;
            if !is_last || rest.first().is_some_and(|first| *first != 0) {
                read_rest(&*self.storage, &path, at.offset, &mut rest)?;
            }
            Ok(bytes)
        });
        match there {
            Ok(bytes) if bytes < at.offset => {
                let why = Why::EndsEarly { reached: at.to_string() };
                let (worker, round) = self.near;
                return Err(Corruption { file: path, offset: bytes, worker, round, sound_end: None, why }.into());
            }
            // It was given up behind this reader; the next one's link says whether there was more in it.
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
            there => _ = there?,
        }
        self.window.put(at.offset, rest);
        Ok(())
    }
}

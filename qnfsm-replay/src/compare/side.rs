//! One of two journals that are compared, read record by record up to its end, or to where it is damaged. What its records say is broken up
//! in [`items`](super::items).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use qnfsm::journal::{Excerpt, Manifest, Position, ReadError, Reader, RealFiles, Storage, holdings};

use super::{
    items::{Items, Sequence},
    times::Timed,
};
use crate::{
    CorruptJournal, ReplayError,
    recorded::{journal_bytes_before, table_of},
};

/// A journal that is read.
pub(super) struct Side {
    pub(super) dir: PathBuf,
    pub(super) reader: Reader,
    pub(super) manifest: Manifest,
    files: BTreeMap<u64, u64>,
    /// What was read and has yet to be compared.
    pub(super) items: Items,
    /// The segment that is read, where times are ignored.
    segment: u64,
    /// Where the last record stands that was read.
    pub(super) reached: Position,
    /// There is no more.
    pub(super) is_over: bool,
    /// What keeps it from being read to its end.
    pub(super) damaged: Option<CorruptJournal>,
}

impl Side {
    /// A journal at its start; by its rounds, or by what is in them.
    pub(super) fn open(dir: &Path, by_rounds: bool) -> Result<Side, ReplayError> {
        let storage: Arc<dyn Storage> = Arc::new(RealFiles);
        let reader = Reader::open(storage.clone(), dir)?;
        let manifest = reader.manifest().clone();
        let files = holdings::segments(&*storage, dir)?.split_off(&manifest.oldest_segment);
        Ok(Side {
            dir: dir.into(),
            reader,
            manifest,
            files,
            items: Items::new(by_rounds),
            segment: 0,
            reached: Position::default(),
            is_over: false,
            damaged: None,
        })
    }

    /// Goes back to the start, to look at these sequences alone.
    pub(super) fn again(&mut self, only: BTreeSet<Sequence>) -> Result<(), ReplayError> {
        self.reader.seek(Position::default())?;
        self.items.again(only);
        (self.segment, self.reached, self.is_over) = (0, Position::default(), false);
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.values().sum()
    }

    pub(super) fn bytes_read(&self) -> u64 {
        if self.is_over { self.bytes() } else { journal_bytes_before(&self.files, self.reached) }
    }

    /// True if its beginning was given up.
    pub(super) fn has_lost_its_beginning(&self) -> bool {
        self.manifest.oldest_segment > 1
    }

    /// Reads a record on.
    pub(super) fn read(&mut self) -> Result<(), ReplayError> {
        let Side { reader, dir, items, segment, .. } = self;
        let entry = match reader.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => {
                self.end(None);
                return Ok(());
            }
            Err(ReadError::Corrupt(error)) => {
                self.end(Some(error.into()));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.reached = entry.position;
        if items.by_rounds || entry.position.segment == *segment {
            items.note(&entry);
            return Ok(());
        }
        // The header can only be looked at when the record is let go of.
        let mut first = Excerpt::default();
        first.push(&entry);
        let header = reader.header().expect("a record was read from a segment with a header");
        *segment = header.segment;
        items.timed = Timed::of(&table_of(header, dir)?);
        first.entries().for_each(|entry| items.note(&entry));
        Ok(())
    }

    fn end(&mut self, damaged: Option<CorruptJournal>) {
        (self.is_over, self.damaged) = (true, damaged);
        self.items.finish();
    }
}

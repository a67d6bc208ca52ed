//! Records copied out of a reader's buffer, with where they stand, for whoever plays them while the reader reads on.
//!
//! An excerpt holds only what a reader gave out, so it was checked, and is read again without a further check. It knows
//! nothing of who is handed which records.

use super::{envelope::Position, reader::Entry, record::Record};

/// An excerpt that has grown longer than this gives its buffer back when it is cleared.
const BUFFER_BYTES_KEPT: usize = 2 << 20;

/// A record's place, and where its body ends among the bodies.
#[derive(Debug, Clone, Copy)]
struct Copied {
    position: Position,
    kind: u8,
    body_end: usize,
}

/// Records copied out of a journal, in the order in which they were put in. Cleared and filled again, it allocates nothing
/// once its buffers have grown.
#[derive(Debug, Default, Clone)]
pub struct Excerpt {
    bodies: Vec<u8>,
    records: Vec<Copied>,
}

impl Excerpt {
    /// Copies a record in, behind the others.
    pub fn push(&mut self, entry: &Entry<'_>) {
        self.bodies.extend_from_slice(entry.body);
        let (position, kind, body_end) = (entry.position, entry.record.kind(), self.bodies.len());
        self.records.push(Copied { position, kind, body_end });
    }

    /// The records, as the reader gave them out.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut body_start = 0;
        self.records.iter().map(move |copied| {
            let body = &self.bodies[body_start..copied.body_end];
            body_start = copied.body_end;
            let record = Record::decode(copied.kind, body).expect("the reader has read the same bytes");
            Entry { position: copied.position, record, body }
        })
    }

    /// How much memory the records take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bodies.len() + self.records.len() * size_of::<Copied>()
    }

    /// True if no record is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Takes all records out.
    pub fn clear(&mut self) {
        self.bodies.clear();
        self.bodies.shrink_to(BUFFER_BYTES_KEPT);
        self.records.clear();
    }
}

//! What was counted of a journal's sealed segments, kept in a file of the reader's choice, so that they needn't be read again.
//!
//! An index is never believed. A segment's numbers are used only if its file has the length that it had, its header is the
//! same, and the next segment's header links to the same end: the chain value there follows from every record's checksum.
//! So what is not read again is whether the disk still has the bytes; `verify` looks at that. The last segment is always read.

use std::{
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use qnfsm::{
    Digest,
    journal::{Link, SegmentHeader},
};
use serde::{Deserialize, Serialize};

use super::part::Part;

/// What an index holds changes with this number.
const VERSION: u32 = 1;

/// A sealed segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sealed {
    /// The length of its file.
    pub(super) file_bytes: u64,
    /// The digest of its header.
    pub(super) header: u64,
    /// Where it ends, and with which chain value, as the next one says.
    pub(super) end: (u64, u32),
    pub(super) part: Part,
}

impl Sealed {
    pub(super) fn new(file_bytes: u64, header: u64, next: &Link, part: Part) -> Sealed {
        Sealed { file_bytes, header, end: (next.bytes, next.chain), part }
    }

    /// True if the segment with that header and file, before one with that link, is the one that was counted.
    fn is_of(&self, header: &SegmentHeader, file_bytes: u64, next: &Link) -> bool {
        self.file_bytes == file_bytes
            && self.header == header_digest(header)
            && (self.part.segment, self.end) == (next.segment, (next.bytes, next.chain))
    }
}

/// A digest of all that a segment's header says.
pub(super) fn header_digest(header: &SegmentHeader) -> u64 {
    let (info, mut digest) = (&header.info, Digest::new());
    let link = header.link.map_or([0; 3], |link| [link.segment, link.bytes, u64::from(link.chain)]);
    let numbers = [header.segment, u64::from(info.epoch.0), info.epoch_random, info.build, info.build_bytes];
    numbers.into_iter().chain(link).for_each(|number| digest.mix(number));
    digest.mix_bytes(&info.identity.to_le_bytes());
    digest.mix_bytes(&info.catalogue);
    digest.mix_bytes(&info.configuration);
    digest.value()
}

/// By so many bytes an index is told from something else: the digest's line, and where the JSON begins.
const FRONT_BYTES: u64 = 18;

/// The file.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    sealed: Vec<Sealed>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    sealed: Vec<Sealed>,
}

impl Index {
    /// What the file holds. One that isn't there, or is damaged, holds nothing; what is of another node is of no segment of this one.
    ///
    /// # Errors
    /// When it can't be read, or is something else, which isn't to be replaced.
    pub(super) fn load(path: &Path) -> io::Result<Index> {
        let mut bytes = Vec::new();
        let mut file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Index { path: path.into(), sealed: Vec::new() });
            }
            opened => opened?,
        };
        // Of something else, however long it is, no more is read than its front.
        Read::by_ref(&mut file).take(FRONT_BYTES).read_to_end(&mut bytes)?;
        if !bytes.is_empty() && !begins_as_one(&String::from_utf8_lossy(&bytes)) {
            return Err(io::Error::other("it is something else than an index"));
        }
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let sealed = content(&text).unwrap_or_default();
        Ok(Index { path: path.into(), sealed })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was counted of that segment, if it is still the same.
    pub(super) fn find(&self, header: &SegmentHeader, file_bytes: u64, next: &Link) -> Option<&Sealed> {
        let of_segment = self.sealed.iter().find(|sealed| sealed.part.segment == header.segment)?;
        of_segment.is_of(header, file_bytes, next).then_some(of_segment)
    }

    /// Puts what is known now in place of what the file has.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn store(&self, sealed: Vec<Sealed>) -> io::Result<()> {
        let content = Content { version: VERSION, sealed };
        let json = serde_json::to_string(&content).map_err(io::Error::other)?;
        let mut unfinished = self.path.clone().into_os_string();
        unfinished.push(format!(".{}.tmp", std::process::id()));
        let written = fs::File::create(&unfinished).and_then(|mut file| {
            writeln!(file, "{:016x}", Digest::of(json.as_bytes()))?;
            file.write_all(json.as_bytes())
        });
        let stored = written.and_then(|()| fs::rename(&unfinished, &self.path));
        if stored.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        stored
    }
}

/// True of what [`Index::store`] wrote, in whichever version, and whatever became of the rest.
fn begins_as_one(text: &str) -> bool {
    let is_digest = |line: &str| line.len() == 16 && u64::from_str_radix(line, 16).is_ok();
    text.split_once('\n').is_some_and(|(digest, json)| is_digest(digest) && (json.is_empty() || json.starts_with('{')))
}

/// What an index's text holds, if it is whole.
fn content(text: &str) -> Option<Vec<Sealed>> {
    let (digest, json) = text.split_once('\n')?;
    if u64::from_str_radix(digest, 16) != Ok(Digest::of(json.as_bytes())) {
        return None;
    }
    let content: Content = serde_json::from_str(json).ok()?;
    (content.version == VERSION).then_some(content.sealed)
}

//! Every check of a node's directory that can be made without its kinds: what a disk, a copy or a hand may have done to it.
//!
//! The journal is read with all of its checks, what its records say is held against what they said before, each snapshot against the
//! journal's mark of it, and each name against those that a node gives. It changes nothing. That a program does what was recorded is
//! for a [replay](crate::replay) to prove.

mod files;
mod journal;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use qnfsm::{
    WorkerId,
    journal::{Corruption, RealFiles, holdings},
};
use serde::Serialize;

use crate::{
    CorruptJournal, ReplayError,
    dump::Number,
    live::Again,
    read_ahead::ReadAhead,
    recorded::{journal_bytes_before, table_of},
    replay::RECORDS_BETWEEN_REPORTS,
};
use journal::Checks;

/// What was looked at, and what was found. As JSON, its fields are those of `qnfsm verify --json`.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it, and the guide lists them")]
pub struct Verified {
    pub sound: bool,
    pub segments: usize,
    pub records: Number,
    pub rounds: Number,
    pub frames: Number,
    pub deliveries: Number,
    pub snapshots: usize,
    /// Where the journal ends, or how far it could be read.
    pub end: String,
    /// What is damaged first, then what is only remarkable.
    pub findings: Vec<Finding>,
}

/// Something that is not as it should be, or that somebody may want to know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Finding {
    /// A node would not start, or go on from something else than it should.
    pub damage: bool,
    pub file: PathBuf,
    pub offset: Option<Number>,
    pub worker: Option<u32>,
    pub round: Option<Number>,
    pub what: String,
    /// What to do about it.
    pub next: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        match (self.worker, self.round) {
            (Some(worker), Some(round)) => write!(f, ", round {round} of w{worker}")?,
            (Some(worker), None) => write!(f, ", w{worker}")?,
            _ => {}
        }
        write!(f, ": {}", self.what)
    }
}

impl Finding {
    fn damage(file: impl Into<PathBuf>, what: impl Into<String>) -> Finding {
        let (file, what) = (file.into(), what.into());
        Finding { damage: true, file, offset: None, worker: None, round: None, what, next: None }
    }

    fn remark(file: impl Into<PathBuf>, what: impl Into<String>) -> Finding {
        Finding { damage: false, ..Finding::damage(file, what) }
    }

    fn of(self, worker: WorkerId, round: u64) -> Finding {
        Finding { worker: Some(worker.0), round: Some(Number(round)), ..self }
    }

    fn at(self, offset: u64) -> Finding {
        Finding { offset: Some(Number(offset)), ..self }
    }

    fn next(self, next: impl Into<String>) -> Finding {
        Finding { next: Some(next.into()), ..self }
    }

    fn of_corruption(corrupt: &Corruption, dir: &Path) -> Finding {
        let Corruption { file, offset, worker, round, why, .. } = corrupt;
        let finding = Finding {
            worker: worker.map(|worker| worker.0),
            round: round.map(Number),
            ..Finding::damage(file, why.to_string()).at(*offset)
        };
        let dir = dir.display();
        finding.next(match corrupt.sound_end() {
            Some(end) => format!(
                "put the file back from a copy; or see what would be given up with all behind the last sound record: qnfsm repair \
                 {dir} --end-at {end} --dry-run"
            ),
            None => "put the file back from a copy".to_owned(),
        })
    }
}

/// How a directory is checked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    live: bool,
}

impl Options {
    /// Where no node runs.
    #[must_use]
    pub fn new() -> Options {
        Options::default()
    }

    /// Whether a directory is read in which a node may be running: what is there at that moment. What it is writing then is no finding.
    #[must_use]
    pub fn live(mut self, live: bool) -> Options {
        self.live = live;
        self
    }
}

/// Checks the node's directory `dir`. `on_progress` is called now and then with how many bytes of the journal and of snapshots of how many
/// have been read.
///
/// ```no_run
/// use qnfsm_replay::verify::{Options, verify};
///
/// let verified = verify("/var/lib/my-service".as_ref(), &Options::new(), |_, _| {})?;
/// assert!(verified.sound, "{:?}", verified.findings);
/// # Ok::<(), qnfsm_replay::ReplayError>(())
/// ```
///
/// # Errors
/// When the directory can't be opened, a newer version of the library wrote it, or the system fails. Damage is no error here, but a
/// [`Finding`].
pub fn verify(dir: &Path, options: &Options, mut on_progress: impl FnMut(u64, u64)) -> Result<Verified, ReplayError> {
    let mut findings = Vec::new();
    let mut again = Again::new(options.live);
    let mut reader = match again.open(Arc::new(ReadAhead::of(dir)), dir).map_err(ReplayError::from) {
        Ok(reader) => reader,
        Err(error) => return Ok(Verified { findings: vec![damage_of(error, dir)?], ..Verified::default() }),
    };
    let manifest = reader.manifest().clone();
    let segments = holdings::segments(&RealFiles, dir)?.split_off(&manifest.oldest_segment);
    let journal_bytes: u64 = segments.values().sum();
    let bytes_total = journal_bytes + files::snapshots_bytes(dir)?;
    let mut checks = Checks::new(dir, &manifest);
    let mut records = 0;
    loop {
        match reader.next() {
            Ok(Some(entry)) => {
                let position = entry.position;
                records += 1;
                if records % RECORDS_BETWEEN_REPORTS == 0 {
                    on_progress(journal_bytes_before(&segments, position), bytes_total);
                }
                if checks.record(position, &entry.record)
                    && let Some(Err(error)) = reader.header().map(|header| table_of(header, dir))
                {
                    findings.push(damage_of(error, dir)?);
                }
            }
            Ok(None) => break,
            Err(error) if again.may(&error) => reader.look_again()?,
            Err(error) => {
                findings.push(damage_of(error.into(), dir)?);
                break;
            }
        }
    }
    let end = reader.tail().and_then(|tail| tail.last).map_or(reader.position(), |last| last.position());
    // What a running node is writing is no loss.
    if let Some(lost) = reader.tail().and_then(|tail| tail.lost.as_ref()).filter(|_| !options.live) {
        let file = qnfsm::journal::segment_path(dir, lost.after.segment);
        let finding = Finding::remark(file, lost.to_string()).at(lost.after.offset);
        findings.push(finding.next(format!("the next start does it; or: qnfsm repair {} --drop-tail", dir.display())));
    }
    // A running node marks snapshots behind where it was read, and takes others away.
    let is_read = reader.tail().is_some() && !options.live;
    let mut on_checked = |bytes| on_progress(journal_bytes + bytes, bytes_total);
    let looking = files::Looking { is_read, live: options.live };
    let snapshots = files::snapshots(dir, &manifest, &checks, looking, &mut findings, &mut on_checked)?;
    let Checks { found, counts, .. } = checks;
    findings.extend(found);
    files::names(dir, &manifest, options.live, &mut findings)?;
    findings.sort_by_key(|finding| !finding.damage);
    Ok(Verified {
        sound: findings.iter().all(|finding| !finding.damage),
        segments: segments.len(),
        records: Number(counts.records),
        rounds: Number(counts.rounds),
        frames: Number(counts.frames),
        deliveries: Number(counts.deliveries),
        snapshots,
        end: end.to_string(),
        findings,
    })
}

/// What is damaged, if it is that what keeps a directory from being read.
fn damage_of(error: ReplayError, dir: &Path) -> Result<Finding, ReplayError> {
    let ReplayError::Corrupt(corrupt) = error else { return Err(error) };
    Ok(match &*corrupt {
        CorruptJournal::Bytes(corrupt) => Finding::of_corruption(corrupt, dir),
        CorruptJournal::Contradiction { file, offset, what } => {
            Finding::damage(file, what).at(*offset).next("put the file back from a copy")
        }
    })
}

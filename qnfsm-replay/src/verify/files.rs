//! The files beside the segments: each snapshot against what the journal says of it, and each name against those that a node gives.

use std::{collections::BTreeSet, io, path::Path, sync::Arc};

use qnfsm::{
    ImageView, Table, WorkerId,
    journal::{
        IoError, Manifest, Marking, ReadError, RealFiles, Storage, Why, segment_path,
        snapshots::{self, Snapshot},
    },
};

use super::{Finding, journal::Checks};
use crate::ReplayError;

/// How long the files of all snapshots are. One that goes meanwhile has no length.
pub(super) fn snapshots_bytes(dir: &Path) -> Result<u64, ReplayError> {
    let there = snapshots::list(&RealFiles, dir)?;
    Ok(there.iter().map(|(worker, round)| bytes_of(&snapshots::path(dir, *worker, *round))).sum())
}

fn bytes_of(file: &Path) -> u64 {
    RealFiles.file_bytes(file).unwrap_or(0)
}

/// What is known of a directory when its snapshots are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looking {
    /// The journal was read to its end.
    pub(super) is_read: bool,
    /// A node may be running there.
    pub(super) live: bool,
}

/// Checks all snapshots. Gives how many there are. Unless the journal was read to its end, one that nothing marked so far may be marked
/// behind, and is checked by itself. If it is `live`, a node takes some away meanwhile.
pub(super) fn snapshots(
    dir: &Path,
    manifest: &Manifest,
    checks: &Checks<'_>,
    Looking { is_read, live }: Looking,
    findings: &mut Vec<Finding>,
    on_checked: &mut dyn FnMut(u64),
) -> Result<usize, ReplayError> {
    let (marks, started) = (&checks.marks, &checks.started);
    let there = snapshots::list(&RealFiles, dir)?;
    let (mut usable, mut bytes) = (BTreeSet::new(), 0);
    let aside = || format!("no start uses it; to move it aside: qnfsm repair {} --unusable-snapshots", dir.display());
    for (worker, round) in &there {
        let file = snapshots::path(dir, *worker, *round);
        bytes += bytes_of(&file);
        on_checked(bytes);
        let found = marks.0.get(worker).map_or(&[][..], |marks| &marks.found);
        let of_round: Vec<_> = found.iter().filter(|marking| marking.mark.round == *round).collect();
        match check(dir, manifest, &of_round) {
            Err(Wrong::Damage { .. }) if live && !file.exists() => {}
            Ok(true) => _ = usable.insert(*worker),
            Ok(false) if !is_read => {
                let wrong = unmarked(dir, manifest, *worker, *round)?;
                findings.extend(wrong.filter(|_| !live || file.exists()));
            }
            Ok(false) => {
                let what = "nothing in the journal marks it, so it doesn't count";
                findings.push(Finding::remark(file, what).of(*worker, *round).next("the next start removes it"));
            }
            Err(Wrong::Damage { offset, what }) => {
                findings.push(Finding::damage(file, what).at(offset).of(*worker, *round).next(aside()));
            }
            Err(Wrong::Unreadable(error)) => return Err(error),
        }
    }
    for (worker, marks) in marks.0.iter().filter(|_| is_read) {
        let Some(Marking { mark, .. }) = marks.found.last() else { continue };
        let file = snapshots::path(dir, *worker, mark.round);
        if !started.contains(worker) && !usable.contains(worker) {
            let what =
                "the worker's start was given up with the journal's beginning, and no snapshot of it can be used";
            findings.push(Finding::damage(file, what).of(*worker, mark.round).next("put the file back from a copy"));
        } else if !there.contains(&(*worker, mark.round)) {
            let what =
                "the newest snapshot that the journal marks is missing; an older one serves, or the worker's start";
            findings.push(Finding::remark(file, what).of(*worker, mark.round));
        }
    }
    Ok(there.len())
}

/// What is wrong with a snapshot of which no mark is known.
fn unmarked(dir: &Path, manifest: &Manifest, worker: WorkerId, round: u64) -> Result<Option<Finding>, ReplayError> {
    match snapshots::load(&RealFiles, dir, manifest.identity, worker, round) {
        Ok(_) => Ok(None),
        Err(ReadError::Corrupt(corrupt)) => Ok(Some(Finding::of_corruption(&corrupt, dir))),
        Err(other) => Err(other.into()),
    }
}

/// What is wrong with a snapshot.
enum Wrong {
    Damage { offset: u64, what: String },
    Unreadable(ReplayError),
}

/// Checks a snapshot against the marks of its worker and round. False if there are none.
fn check(dir: &Path, manifest: &Manifest, markings: &[&Marking]) -> Result<bool, Wrong> {
    let mut wrong = None;
    for marking in markings.iter().rev() {
        match marking.mark.load(&RealFiles, dir, manifest.identity) {
            Ok(snapshot) => {
                let contents = contents(&snapshot).map(|()| true);
                return contents.map_err(|what| Wrong::Damage { offset: 0, what });
            }
            Err(ReadError::Corrupt(corrupt)) => {
                // That it isn't the one of this mark says less than what else is wrong.
                if wrong.is_none() || corrupt.why != Why::Unmarked {
                    wrong = Some(Wrong::Damage { offset: corrupt.offset, what: corrupt.why.to_string() });
                }
            }
            Err(other) => return Err(Wrong::Unreadable(other.into())),
        }
    }
    wrong.map_or(Ok(false), Err)
}

/// Takes a snapshot apart as far as that goes without its kinds.
fn contents(snapshot: &Snapshot) -> Result<(), String> {
    let table = Table::from_bytes(snapshot.catalogue()).map_err(|error| format!("its table of kinds: {error}"))?;
    let image = ImageView::read(snapshot.image()).map_err(|error| error.to_string())?;
    let printers: Vec<_> = table.kinds.iter().map(|kind| (kind.value.printer(), kind.state.printer())).collect();
    for fsm in image.fsms() {
        let at = usize::try_from(fsm.kind()).unwrap_or(usize::MAX);
        let (Some(kind), Some((data, state))) = (table.kinds.get(at), printers.get(at)) else {
            return Err(format!("{} is of a kind that its table doesn't have", fsm.queue()));
        };
        // Of what is opaque only its program knows where it ends.
        if kind.value.opaque.is_none() && kind.state.opaque.is_none() {
            fsm.cell(data, state).map_err(|error| format!("{} of kind {}: {error}", fsm.queue(), kind.name))?;
        }
    }
    Ok(())
}

/// Looks at all names in a node's directory.
pub(super) fn names(
    dir: &Path,
    manifest: &Manifest,
    live: bool,
    findings: &mut Vec<Finding>,
) -> Result<(), ReplayError> {
    let list = |of: &Path| match RealFiles.list(of) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed
            .map_err(|error| ReplayError::from(IoError { what: "list", path: of.into(), source: Arc::new(error) })),
    };
    let stray = "no name that a node gives; nothing reads it";
    let unfinished = "what a crash left of a file that was being written; nothing reads it";
    for name in list(dir)? {
        match name.as_str() {
            "lock" | "manifest" | "journal" | "snapshots" | "lost" => {}
            "manifest.tmp" if live => {}
            "manifest.tmp" => findings.push(Finding::remark(dir.join(name), unfinished)),
            _ => findings.push(Finding::remark(dir.join(name), stray)),
        }
    }
    let journal = dir.join("journal");
    for name in list(&journal)? {
        let number = name.strip_suffix(".qjl").and_then(|stem| stem.parse().ok());
        match number.filter(|number| segment_path(dir, *number) == journal.join(&name)) {
            Some(number) if number < manifest.oldest_segment && live => {}
            Some(number) if number < manifest.oldest_segment => {
                let what = "it was given up with the journal's beginning; nothing reads it";
                findings.push(Finding::remark(journal.join(name), what).next("the next start removes it"));
            }
            Some(_) => {}
            None if name == "next.tmp" => {}
            None => findings.push(Finding::remark(journal.join(name), stray)),
        }
    }
    let of = dir.join("snapshots");
    // In this order: what a running node takes away meanwhile is gone, and no stray.
    let (names, known) = (list(&of)?, snapshots::list(&RealFiles, dir)?);
    for name in names {
        let path = of.join(&name);
        let is_under_way = live && (name.ends_with(".tmp") || !path.exists());
        if is_under_way || known.iter().any(|(worker, round)| snapshots::path(dir, *worker, *round) == path) {
            continue;
        }
        findings.push(Finding::remark(path, if name.ends_with(".tmp") { unfinished } else { stray }));
    }
    let lost = list(&dir.join("lost"))?;
    if !lost.is_empty() {
        let what = format!(
            "{} files are kept aside there, of what crashes left or an operator gave up; nothing reads them",
            lost.len()
        );
        findings.push(Finding::remark(dir.join("lost"), what));
    }
    Ok(())
}

//! Disks that give back something else than was written: flipped bits, lost and misplaced sectors, older versions of files, and
//! files that are gone, doubled or exchanged; at rest, and in a single read. A node either doesn't start, and names a file, or has
//! all that it had; where a crash had left the end unsynced, it may have less, and says so.
//!
//! `QNFSM_DAMAGES=10000 cargo test -p qnfsm --test node damages --release` tries so many; a failure prints its seed.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use qnfsm::journal::simulated::{History, Misread, SimulatedDisk};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{
    ledger::{DIR, NUMBERS, Shape, asked_for, bring_back, kinds, numbers_held, run, try_start},
    ring,
};

/// The length of what a disk writes at once.
const SECTOR_BYTES: usize = 512;

/// What was on a disk at different times of a node's life.
struct Life {
    disk: SimulatedDisk,
    history: History,
    /// All of it was known to be on disk.
    is_synced: bool,
}

impl Life {
    /// A node that ran, was killed, came back, and was stopped; or was killed once more.
    fn new(shape: Shape, is_stopped: bool) -> Life {
        let first = run(shape);
        let disk = first.kill(first.operations.len() - 3).keeping_history(1);
        if is_stopped {
            bring_back(&disk, shape, 0);
            return Life { history: disk.history(), disk: disk.copy(), is_synced: true };
        }
        // Before it has brought to disk what it did since it came back.
        let node = try_start(&disk, shape).unwrap();
        let _ = numbers_held(&node);
        let killed = disk.copy();
        node.stop().unwrap();
        Life { history: first, disk: killed, is_synced: false }
    }

    fn files(&self, of: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let mut paths = self.disk.paths();
        paths.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&of));
        paths
    }
}

fn draw(random: &mut Xoshiro256PlusPlus, below: usize) -> usize {
    usize::try_from(random.next_u64() % below.max(1) as u64).unwrap()
}

/// Does something to a copy of the disk; says what.
fn damage(life: &Life, seed: u64) -> (SimulatedDisk, String) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let disk = life.disk.copy();
    let files = life.files(|name| name.ends_with(".qjl") || name.ends_with(".qsn") || name == "manifest");
    let segments = life.files(|name| name.ends_with(".qjl"));
    let any = &files[draw(&mut random, files.len())];
    let (one, other) = (&segments[draw(&mut random, segments.len())], &segments[draw(&mut random, segments.len())]);
    let mut bytes = disk.bytes(any).unwrap();
    let at = draw(&mut random, bytes.len());
    let sector = at / SECTOR_BYTES * SECTOR_BYTES;
    let end = (sector + SECTOR_BYTES).min(bytes.len());
    let file = any.display();
    let what = match random.next_u64() % 11 {
        0..3 => {
            bytes[at] ^= 1 << (random.next_u64() % 8);
            format!("a bit of byte {at} of {file}")
        }
        3 => {
            bytes[sector..end].fill(0);
            format!("zeros in {sector}..{end} of {file}")
        }
        4 => {
            bytes[sector..end].iter_mut().for_each(|byte| *byte = random.next_u64().to_le_bytes()[0]);
            format!("garbage in {sector}..{end} of {file}")
        }
        5 => {
            // A write that went elsewhere: what should be here is the old bytes, and there is something of another place.
            let from = disk.bytes(other).unwrap();
            let start = draw(&mut random, from.len()) / SECTOR_BYTES * SECTOR_BYTES;
            let length = (end - sector).min(from.len() - start);
            bytes[sector..sector + length].copy_from_slice(&from[start..start + length]);
            format!("bytes {start} of {} in {sector} of {file}", other.display())
        }
        6 => {
            bytes.truncate(at);
            format!("{file} cut to {at}")
        }
        7 => {
            // An older version of the whole file, or of one sector of it.
            let old = life.history.kill(draw(&mut random, life.history.operations.len()));
            match old.bytes(any) {
                Ok(old) if random.next_u64().is_multiple_of(2) => bytes = old,
                Ok(old) if old.len() > sector => {
                    let end = end.min(old.len());
                    bytes[sector..end].copy_from_slice(&old[sector..end]);
                }
                _ => {}
            }
            format!("an older version of {file}")
        }
        8 => {
            disk.lose(any);
            return (disk, format!("{file} gone"));
        }
        9 => {
            let (first, second) = (disk.bytes(one).unwrap(), disk.bytes(other).unwrap());
            disk.put(one, second);
            disk.put(other, first);
            return (disk, format!("{} and {} exchanged", one.display(), other.display()));
        }
        _ => {
            disk.put(one, disk.bytes(other).unwrap());
            return (disk, format!("{} doubled as {}", other.display(), one.display()));
        }
    };
    disk.put(any, bytes);
    (disk, what)
}

/// Starts a node from a damaged disk: it names a file, or has what it had; or, where not all was known to be on disk, keeps aside what
/// it takes for lost. Says also whether a read went wrong on the way.
fn judge(disk: &SimulatedDisk, shape: Shape, is_synced: bool) -> (&'static str, bool) {
    let node = match try_start(disk, shape) {
        Ok(node) => node,
        Err(error) => {
            assert!(error.to_string().contains(DIR), "which file? {error}");
            return ("refused", disk.has_misread());
        }
    };
    let numbers = numbers_held(&node);
    let came = disk.has_misread();
    node.stop().unwrap();
    let held = numbers.len() as u64;
    assert_eq!(numbers, (1..=held).collect::<Vec<_>>());
    if held == NUMBERS {
        return ("whole", came);
    }
    let is_kept_aside = disk.paths().iter().any(|path| path.starts_with("/ledger/lost"));
    assert!(!is_synced && is_kept_aside, "only {held} of {NUMBERS} numbers are there, and nobody says so");
    ("a loss that is said", came)
}

fn every_damage(shape: Shape, is_stopped: bool) {
    let life = Life::new(shape, is_stopped);
    let mut outcomes = std::collections::BTreeMap::<_, u64>::new();
    let count = asked_for("QNFSM_DAMAGES").unwrap_or(250);
    let seeds = match asked_for("QNFSM_DAMAGE") {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    };
    for seed in seeds {
        let (disk, what) = damage(&life, seed);
        let judged = catch_unwind(AssertUnwindSafe(|| judge(&disk, shape, life.is_synced)));
        let (outcome, _) = judged.unwrap_or_else(|failure| {
            eprintln!("{what}; to try it again: QNFSM_DAMAGE={seed} cargo test -p qnfsm --test node damages");
            std::panic::resume_unwind(failure)
        });
        *outcomes.entry(outcome).or_default() += 1;
    }
    eprintln!("{shape:?}, stopped: {is_stopped}: {outcomes:?}");
    if asked_for("QNFSM_DAMAGE").is_none() {
        assert!(outcomes.get("refused") > Some(&20) && outcomes.get("whole") > Some(&20), "{outcomes:?}");
    }
}

#[test]
fn damage_to_a_stopped_node_is_refused_or_makes_no_difference() {
    every_damage(Shape::Durable, true);
}

#[test]
fn damage_to_a_killed_node_is_refused_or_makes_no_difference_or_is_a_loss_that_is_said() {
    every_damage(Shape::Buffered, false);
}

#[test]
fn damage_to_a_bounded_node_is_refused_or_makes_no_difference() {
    every_damage(Shape::Bounded, true);
}

#[test]
fn a_single_read_of_old_or_other_bytes_is_refused_or_makes_no_difference() {
    every_misread(Shape::Durable, true);
}

#[test]
fn a_single_read_of_old_or_other_bytes_of_a_killed_node_is_refused_or_makes_no_difference() {
    every_misread(Shape::Buffered, false);
}

fn every_misread(shape: Shape, is_stopped: bool) {
    let life = Life::new(shape, is_stopped);
    let operations = life.history.operations.len();
    let mut refused = 0;
    let ways = [
        Misread::Older(life.history.kill(operations * 3 / 4)),
        Misread::Older(life.history.kill(operations - 8)),
        Misread::Shifted(512),
        Misread::Shifted(1),
        Misread::OtherFile,
        Misread::Shorter,
        Misread::Without(1),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        for nth in 1.. {
            let disk = life.disk.copy();
            disk.misread(nth, way.clone());
            let judged = catch_unwind(AssertUnwindSafe(|| judge(&disk, shape, is_stopped)));
            let (outcome, came) = judged.unwrap_or_else(|failure| {
                eprintln!("read {nth}, way {number}");
                std::panic::resume_unwind(failure)
            });
            if outcome == "refused" {
                refused += 1;
            } else if came {
                // What it went on from is what the journal says.
                ring::replay(&disk.storage(), Path::new(DIR), kinds());
            }
            if !came {
                break;
            }
            // Nothing is changed by what is refused: asked again, the disk gives the right bytes.
            assert_eq!(judge(&disk.copy(), shape, true).0, "whole", "after read {nth}, way {number}");
        }
    }
    assert!(refused > 20, "only {refused} were refused");
}

//! A handler that eats all memory ends the process, which leaves no panic and no message behind: the starts after it find out
//! which delivery it was, and skip it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use qnfsm::journal::{Reader, RealFiles, Record};
use qnfsm_replay::{Options, replay};
use qnfsm_tests::glutton::kinds;

const SIGABRT: i32 = 6;

/// Runs the program with 2 GB of addresses.
fn glutton(dir: &Path, what: &str) -> Output {
    let mut sh = Command::new("sh");
    sh.args(["-c", "ulimit -v 2000000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_glutton")]);
    sh.arg(dir).arg(what).output().unwrap()
}

#[test]
fn a_handler_that_eats_all_memory_is_skipped_after_two_starts() {
    let dir = tempfile::tempdir().unwrap();
    for what in ["feed", "start", "start"] {
        let died = glutton(dir.path(), what);
        assert_eq!(died.status.signal(), Some(SIGABRT), "{what}: {died:?}");
    }
    let runs = glutton(dir.path(), "start");
    assert!(runs.status.success(), "{runs:?}");
    let meals: u64 = String::from_utf8(runs.stdout).unwrap().trim().parse().unwrap();
    // The last meal may have come too late to be recorded.
    assert!((1..=2).contains(&meals), "{meals}");
    let mut reader = Reader::open(Arc::new(RealFiles), dir.path()).unwrap();
    let mut skipped = 0;
    while let Some(entry) = reader.next().unwrap() {
        skipped += u32::from(matches!(entry.record, Record::Skipped { .. }));
    }
    assert_eq!(skipped, 1);
    drop(reader);
    replay(dir.path(), kinds(), &Options::new()).unwrap();
}

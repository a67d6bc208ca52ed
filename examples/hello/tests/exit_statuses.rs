//! `hello replay <dir>` ends with a status and a message of its own for each thing that can be the matter, and `hello`
//! says in words why it doesn't start.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use qnfsm::{
    Context, Fsm, Kinds, Next, NodeBuilder,
    journal::{NodeLock, RealFiles},
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

const HELLO: &str = env!("CARGO_BIN_EXE_hello");

fn hello(args: &[&str], dir: &Path) -> Output {
    Command::new(HELLO).args(args).arg(dir).output().unwrap()
}

/// A directory in which hello has run.
fn recorded() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let run = hello(&[], dir.path());
    assert!(run.status.success(), "{run:?}");
    dir
}

#[track_caller]
fn check(dir: &Path, status: i32, says: &str) {
    let replay = hello(&["replay", "--json"], dir);
    let (out, err) = (String::from_utf8(replay.stdout).unwrap(), String::from_utf8(replay.stderr).unwrap());
    assert_eq!(replay.status.code(), Some(status), "{out}{err}");
    assert!(err.contains(says), "{err:?} does not say {says:?}");
    let json = out.lines().last().unwrap_or_default();
    assert!(json.starts_with('{') && json.contains(&format!("\"exit_status\":{status},")), "{json}");
}

fn segment(dir: &Path) -> std::path::PathBuf {
    dir.join("journal").join("00000001.qjl")
}

#[test]
fn a_recorded_run_replays_equal() {
    let dir = recorded();
    let replay = hello(&["replay"], dir.path());
    let out = String::from_utf8(replay.stdout).unwrap();
    assert!(replay.status.success() && out.contains("equal: ") && out.contains(" 0 unproved"), "{out}");
    check(dir.path(), 0, "");
    let quiet = hello(&["replay", "--quiet"], dir.path());
    assert!(quiet.status.success() && quiet.stdout.is_empty() && quiet.stderr.is_empty(), "{quiet:?}");
}

/// Checks that hello doesn't run there, and that it says so in words: no quotes round them, no names of Rust's.
#[track_caller]
fn check_refused(dir: &Path, says: &str) {
    let run = hello(&[], dir);
    let err = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{err}");
    assert!(err.starts_with("hello: ") && err.contains(says), "{err:?} does not say {says:?}");
    assert!(!err.contains(['{', '(']), "{err:?} is for programmers");
}

#[test]
fn a_start_that_fails_is_told_in_words() {
    let dir = recorded();
    let held = NodeLock::take(&RealFiles, dir.path()).unwrap();
    check_refused(dir.path(), "in use");
    drop(held);
    check_refused(record_other("elevator", &Lift).path(), "belongs to another program, `elevator`");
    check_refused(record_other("hello", &Lift).path(), "belongs to another program");
    let mut bytes = fs::read(segment(dir.path())).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(segment(dir.path()), bytes).unwrap();
    check_refused(dir.path(), "is damaged at byte");
    let strangers = tempfile::tempdir().unwrap();
    fs::write(strangers.path().join("letter"), "dear").unwrap();
    check_refused(strangers.path(), "or a new or empty one");
}

#[test]
fn a_damaged_directory_goes_on_from_where_the_error_says_and_only_when_it_is_told_to() {
    let dir = recorded();
    let mut bytes = fs::read(segment(dir.path())).unwrap();
    let at = bytes.len() - 100;
    bytes[at] ^= 1;
    fs::write(segment(dir.path()), &bytes).unwrap();
    let refused = String::from_utf8(hello(&[], dir.path()).stderr).unwrap();
    let position = refused.split_once("`recover_to ").and_then(|(_, rest)| rest.split_once('`')).unwrap().0;
    let offset: usize = position.strip_prefix("1:").unwrap().parse().unwrap();
    for (wrong, says) in
        [("1:1", "no record ends at 1:1"), ("3", "`3` is no position in a journal"), ("9:0", "is damaged")]
    {
        let run = hello(&["--recover-to", wrong], dir.path());
        let err = String::from_utf8(run.stderr).unwrap();
        assert!(!run.status.success() && err.contains(says), "{err}");
    }
    assert_eq!(fs::read(segment(dir.path())).unwrap(), bytes);
    let run = hello(&["--recover-to", position], dir.path());
    let err = String::from_utf8(run.stderr).unwrap();
    assert!(
        run.status.success() && err.starts_with(&format!("hello: the journal was made to end at {position}")),
        "{err}"
    );
    let lost = fs::read(dir.path().join("lost").join(format!("00000001-{offset}.1"))).unwrap();
    assert_eq!((fs::read(segment(dir.path())).unwrap(), lost), (bytes[..offset].to_vec(), bytes[offset..].to_vec()));
    let again = hello(&["--recover-to", position], dir.path());
    let err = String::from_utf8(again.stderr).unwrap();
    assert!(!again.status.success() && err.contains("leave `recover_to` out to go on"), "{err}");
    assert!(hello(&[], dir.path()).status.success());
    check(dir.path(), 0, "");
}

#[test]
fn an_unknown_argument_is_answered_with_the_usage() {
    let elsewhere = tempfile::tempdir().unwrap();
    for (arguments, unexpected) in
        [(&["--loud"][..], "--loud"), (&["one", "two"], "two"), (&["--loud", "replay"], "--loud")]
    {
        let run = Command::new(HELLO).args(arguments).current_dir(elsewhere.path()).output().unwrap();
        let err = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(2), "{err}");
        assert!(err.contains(&format!("unexpected argument '{unexpected}' found")), "{err}");
        assert!(err.contains("Usage: hello [OPTIONS] [DIR]") && err.contains("hello <COMMAND>"), "{err}");
    }
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing ran");
}

#[test]
fn wrong_arguments() {
    let usage = Command::new(HELLO).args(["replay", "--loud"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
    assert!(String::from_utf8(usage.stderr).unwrap().contains("hello replay"));
}

#[test]
fn not_a_nodes_directory() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear reader").unwrap();
    check(dir.path(), 10, "is not the directory of a node");
    check(&dir.path().join("letter.txt"), 10, "is not the directory of a node");
}

#[test]
fn an_empty_directory() {
    check(tempfile::tempdir().unwrap().path(), 11, "is empty");
}

#[test]
fn no_directory() {
    check(&tempfile::tempdir().unwrap().path().join("nowhere"), 12, "does not exist");
}

#[test]
fn a_directory_in_use() {
    let dir = recorded();
    let held = NodeLock::take(&RealFiles, dir.path()).unwrap();
    check(dir.path(), 13, "in use by a running node");
    drop(held);
    check(dir.path(), 0, "");
}

/// Only the owner may read a node's files. Where the test runs as a user whom nothing is denied, another one replays.
#[cfg(unix)]
#[test]
fn a_directory_without_permission() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    let (dir, program) = (recorded(), tempfile::tempdir().unwrap());
    let program_file = program.path().join("hello");
    fs::copy(HELLO, &program_file).unwrap();
    fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o000)).unwrap();
    let mut replay = Command::new(program_file);
    if fs::read_dir(dir.path()).is_ok() {
        const NOBODY: u32 = 65534;
        replay.uid(NOBODY).gid(NOBODY);
    }
    let replay = replay.arg("replay").arg(dir.path()).current_dir("/").output().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let err = String::from_utf8(replay.stderr).unwrap();
    assert_eq!(replay.status.code(), Some(14), "{err}");
    assert!(err.contains("run it as the user who owns the files"), "{err}");
}

/// A kind with another kind's name and other fields.
#[derive(Serialize, Deserialize)]
struct Turnstile {
    coins: u32,
    colour: String,
}

impl Fsm for Turnstile {
    const NAME: &'static str = "turnstile";
    type State = ();
    type Message = ();

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), (): (), _: &mut Context<'_, Self>) -> Next<Self> {
        Next::Stay
    }
}

/// A kind that hello doesn't have.
#[derive(Serialize, Deserialize)]
struct Lift;

impl Fsm for Lift {
    const NAME: &'static str = "lift";
    type State = ();
    type Message = ();

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), (): (), _: &mut Context<'_, Self>) -> Next<Self> {
        Next::Stay
    }
}

fn record_other<F: Fsm>(program: &str, root: &F) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeBuilder::new(program, Kinds::new().with::<F>()).dir(dir.path()).start(root).unwrap();
    node.stop().unwrap();
    dir
}

#[test]
fn another_programs_directory() {
    check(record_other("elevator", &Lift).path(), 15, "recorded by another program, `elevator`");
    check(record_other("hello", &Lift).path(), 15, "recorded by another program");
}

#[test]
fn a_program_whose_types_were_changed() {
    let dir = record_other("hello", &Turnstile { coins: 0, colour: "red".to_owned() });
    check(dir.path(), 16, "the data of kind turnstile has other fields");
}

#[test]
fn a_changed_byte_before_the_last_sync_mark() {
    let dir = recorded();
    let mut bytes = fs::read(segment(dir.path())).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(segment(dir.path()), bytes).unwrap();
    check(dir.path(), 20, "is damaged at byte");
    assert!(hello(&[], dir.path()).status.code() != Some(0), "the node doesn't start on it either");
}

#[test]
fn a_journal_of_a_newer_version() {
    let dir = recorded();
    let manifest = dir.path().join("manifest");
    let mut bytes = fs::read(&manifest).unwrap();
    // The version stands behind the eight bytes that tell the kind of file; lengths follow, and the checksum of it all.
    bytes[8] = 99;
    let checksum = crc32fast::hash(&bytes[..20]);
    bytes[20..24].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&manifest, bytes).unwrap();
    check(dir.path(), 21, "format version 99");
}

#[test]
fn a_directory_in_place_of_a_segment() {
    let dir = recorded();
    fs::remove_file(segment(dir.path())).unwrap();
    fs::create_dir(segment(dir.path())).unwrap();
    check(dir.path(), 20, "it is a directory, and no file");
}

/// A file of the system's that is there, and of which the first bytes can't be had.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_gives_no_bytes() {
    let dir = recorded();
    fs::remove_file(segment(dir.path())).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", segment(dir.path())).unwrap();
    check(dir.path(), 40, "cannot read");
}

/// The statuses' table is in the library's documentation; here is only that the library says the same as the program.
#[test]
fn the_library_says_the_same() {
    let storage = Arc::new(RealFiles);
    let dir = tempfile::tempdir().unwrap();
    let options = qnfsm_replay::Options::new().storage(storage);
    let error = qnfsm_replay::replay(dir.path(), Kinds::new(), &options).unwrap_err();
    assert_eq!((error.name(), error.exit_status()), ("empty", 11));
}

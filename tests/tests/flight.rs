//! What a flight recorder writes when a program fails: the program says where and how it is replayed, and any other process with
//! the same executable does that from a copy.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn flight(dir: &Path, how: &str) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_flight")).arg(dir).arg(how).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

fn recordings(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Moves a directory, as to another machine, where nothing has the same path.
fn moved(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            moved(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
    fs::remove_dir_all(from).unwrap();
}

/// Runs a command that was printed for a shell.
fn run(command: &str) -> Output {
    Command::new("sh").arg("-c").arg(command).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_failed_assertion_that_stops_the_node_is_replayed_by_the_command_that_is_printed_from_a_copy_too() {
    let dir = tempfile::Builder::new().prefix("two words ").tempdir().unwrap();
    let (is_ok, said) = flight(dir.path(), "stops");
    assert!(!is_ok && said.contains("its handler panicked: a reading of 4711 after"), "{said}");
    let failed = said.lines().rfind(|line| line.starts_with("flight: ")).unwrap();
    let fault = failed.strip_prefix("flight: ").unwrap().split(". The node has stopped").next().unwrap().to_owned();
    let command = said.lines().last().unwrap().trim();
    let [recording] = &recordings(dir.path())[..] else { panic!("{:?}", recordings(dir.path())) };
    assert!(command.contains(recording.to_str().unwrap()), "{said}");
    let elsewhere = dir.path().join("elsewhere");
    let check = |output: Output| {
        let report = text(&output.stdout);
        assert!(output.status.success(), "{report} {}", text(&output.stderr));
        assert!(report.contains("the recorded run ended in round"), "{report}");
        assert!(report.contains(&format!("so did the replay: {fault}")), "{report}");
        assert!(report.contains("the journal before segment"), "its beginning was given up: {report}");
        // And how one looks at the step itself.
        let (_, debug) = report.split_once("  go there: ").unwrap_or_else(|| panic!("{report}"));
        let debugged = run(debug);
        assert!(text(&debugged.stdout).contains("panicked: a reading of 4711 after"), "{debug} {debugged:?}");
    };
    check(run(command));
    moved(recording, &elsewhere);
    check(run(&command.replace(recording.to_str().unwrap(), elsewhere.to_str().unwrap())));
}

#[test]
fn a_failed_assertion_that_the_node_outlives_is_replayed_and_fails_again() {
    let dir = tempfile::tempdir().unwrap();
    let (is_ok, said) = flight(dir.path(), "goes-on");
    assert!(is_ok, "{said}");
    let failed = |said: &str| said.lines().filter(|line| line.starts_with("a reading of 4711 after")).count();
    assert_eq!(failed(&said), 1, "{said}");
    let [recording] = &recordings(dir.path())[..] else { panic!("{:?}", recordings(dir.path())) };
    let flight = |command: &str, more: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_flight")).arg(command).arg(recording).args(more).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let replayed = flight("replay", &["--quiet", "--json"]);
    assert!(replayed.contains("\"rounds_unproved\":0"), "{replayed}");
    // It is no end of the run, so it is the step that tells it.
    let step = flight("debug", &["--command", "find ended panicked"]);
    assert!(step.contains("its handler panicked: a reading of 4711 after"), "{step}");
}

#[test]
fn a_program_in_which_nothing_fails_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (is_ok, said) = flight(dir.path(), "in-range");
    assert!(is_ok, "{said}");
    assert_eq!(recordings(dir.path()), [] as [PathBuf; 0]);
}

#[cfg(unix)]
#[test]
fn a_recording_is_for_its_owner_only_and_where_there_can_be_no_directory_the_program_does_not_start() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    flight(dir.path(), "stops");
    let mut looked = 0;
    let mut open = recordings(dir.path());
    while let Some(path) = open.pop() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{}", path.display());
        open.extend(if path.is_dir() { recordings(&path) } else { Vec::new() });
        looked += 1;
    }
    assert!(looked > 8);
    // A file stands where the directory is to be.
    let blocked = dir.path().join("file");
    fs::write(&blocked, b"").unwrap();
    let (is_ok, said) = flight(&blocked, "stops");
    assert!(!is_ok && said.contains("give a path where a directory is or can be made"), "{said}");
}

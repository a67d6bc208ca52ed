//! What every command makes of a directory in which something else stands where a file should, or a file of a length that no node writes: it says
//! what it is, waits for nothing, and takes no memory for it.
#![cfg(target_os = "linux")]

mod commands;
mod journals;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use commands::{Listed, Program, Told, What, all, told};
use journals::{Dir, alone, copy, segment};

/// How much memory a command may map, in KiB; what is read is longer.
const MEMORY_KIB: u64 = 400 << 10;

/// Runs a command, for a minute and in that much memory at most.
fn bounded(program: Program, command: Listed, dir: &Path, more: &[&str]) -> Told {
    let process = command.process(program, dir, more);
    let script = format!("ulimit -v {MEMORY_KIB} && exec timeout 60 \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh"]).arg(process.get_program()).args(process.get_args());
    told(&shell.output().expect("there is a shell"))
}

fn lengthen(path: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("it is there");
    file.set_len(bytes).expect("zeros take no room");
}

/// A snapshot's file.
fn snapshot(dir: &Path) -> PathBuf {
    let mut files = fs::read_dir(dir.join("snapshots")).expect("it is there");
    files.next().expect("there is one").expect("it is there").path()
}

/// Puts in place of a file what is none.
fn replace(path: &Path, by: &str) {
    fs::remove_file(path).expect("it is there");
    match by {
        "a directory" => fs::create_dir(path).expect("there is room"),
        "a device" => std::os::unix::fs::symlink("/dev/zero", path).expect("there is room"),
        _ => assert!(Command::new("mkfifo").arg(path).status().is_ok_and(|status| status.success())),
    }
}

/// Whether the records alone are of no use to it, in that program.
fn needs_kinds((program, command): (Program, Listed)) -> bool {
    program == Program::Qnfsm && command.needs_kinds()
}

#[test]
fn what_is_no_file_is_said_to_be_what_it_is_by_every_command_that_reads_it() {
    let _alone = alone();
    for by in ["a pipe", "a directory", "a device"] {
        let dir = copy("server", "no-file");
        replace(&segment(dir.path(), 2), by);
        for (program, command) in all() {
            let told = bounded(program, command, dir.path(), &[]);
            if command.name == "snapshot" {
                // It looks at no record.
                assert_eq!(told.status, 0, "{program:?} {command:?}: {told:?}");
                continue;
            }
            assert_eq!(told.status, 20, "{program:?} {command:?} of {by}: {told:?}");
            let text = if command.name == "verify" { &told.out } else { &told.err };
            let says = text.contains("00000002.qjl") && text.contains(&format!("it is {by}, and no file"));
            assert!(says && text.contains("from a copy"), "{program:?} {command:?}: {told:?}");
            // What comes before it is shown.
            let shows = matches!(command.what, What::Reads | What::Draws) && !needs_kinds((program, command));
            assert!(!shows || told.out.len() > 200, "{program:?} {command:?} of {by}: {told:?}");
        }
    }
}

#[test]
fn what_is_no_file_where_a_snapshot_should_be_is_said_and_can_be_moved_aside() {
    let _alone = alone();
    let find = |name| all().find(|(program, it)| *program == Program::Qnfsm && it.name == name).expect("it is listed");
    for by in ["a pipe", "a directory", "a device"] {
        let dir = copy("server", "no-snapshot");
        replace(&snapshot(dir.path()), by);
        let no_file = format!("it is {by}, and no file");
        for (name, text_is_out) in [("verify", true), ("snapshot", false), ("dump", false)] {
            let (program, command) = find(name);
            let told = bounded(program, command, dir.path(), &[]);
            assert_eq!(told.status, 20, "{name} of {by}: {told:?}");
            let text = if text_is_out { &told.out } else { &told.err };
            assert!(text.contains(".qsn") && text.contains(&no_file), "{name} of {by}: {told:?}");
        }
        let (program, command) = find("repair");
        let aside = Listed { arguments: &["--unusable-snapshots"], ..command };
        let told = bounded(program, aside, dir.path(), &[]);
        assert!(told.status == 0 && told.out.contains(&no_file), "{told:?}");
        let (program, command) = find("verify");
        assert_eq!(bounded(program, command, dir.path(), &[]).status, 0, "and then all is sound");
    }
}

fn long_snapshot() -> Dir {
    let dir = copy("server", "long-snapshot");
    lengthen(&snapshot(dir.path()), 5 << 30);
    dir
}

#[test]
fn a_snapshot_s_file_of_gibibytes_is_refused_in_little_memory() {
    let _alone = alone();
    let dir = long_snapshot();
    for (program, command) in all() {
        let told = bounded(program, command, dir.path(), &[]);
        let opens = matches!(command.name, "verify" | "snapshot" | "dump");
        let expected = if opens {
            20
        } else if needs_kinds((program, command)) {
            35
        } else {
            0
        };
        let is_out = command.name == "verify";
        let is_said = !opens || (if is_out { &told.out } else { &told.err }).contains(".qsn");
        // A replay compares workers with their snapshots; one that can't be read is damage to it too.
        let plays = program == Program::Arena && matches!(command.what, What::Runs | What::Draws);
        assert!(told.status == expected || (plays && told.status == 20), "{program:?} {command:?}: {told:?}");
        assert!(is_said, "{program:?} {command:?}: {told:?}");
    }
}

#[test]
fn a_segment_that_ends_in_zeros_is_read_in_little_memory() {
    let _alone = alone();
    let dir = copy("server", "long-tail");
    let (status, _, _) = journals::run("verify", dir.path(), &[]);
    assert_eq!(status, 0);
    lengthen(&segment(dir.path(), 3), 700 << 20);
    let wanted = ["verify", "dump", "describe", "replay", "repair"];
    for (program, command) in all().filter(|(_, it)| wanted.contains(&it.name)) {
        let told = bounded(program, command, dir.path(), &[]);
        assert_eq!(told.status, 0, "{program:?} {command:?}: {told:?}");
    }
}

//! What docs/guide.md shows of the arena's journal can be typed as it stands there: each command ends well on the directory of a server
//! that was killed, and so does what is typed at the debugger's prompt. (`walk.rs` is about the crash.)
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]
#![allow(clippy::disallowed_methods, reason = "a test stands outside all nodes")]

mod journals;

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use journals::{alone, copy};

/// The directory that the guide has its readers record.
const RECORDED: &str = "/tmp/arena/server";

/// A command of the guide, and what is typed at its prompt.
struct Shown {
    line: String,
    typed: Vec<String>,
}

/// The commands of the guide that are about that directory.
fn shown() -> Vec<Shown> {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide.md")).unwrap();
    let mut all: Vec<Shown> = Vec::new();
    let mut is_within = false;
    let mut lines = guide.lines().peekable();
    while let Some(line) = lines.next() {
        let line_alone = line.strip_prefix("$ ").unwrap_or(line);
        let is_command = ["arena ", "qnfsm "].iter().any(|name| line_alone.starts_with(name));
        if is_command && line_alone.contains(RECORDED) {
            all.push(Shown { line: line_alone.to_owned(), typed: Vec::new() });
            is_within = true;
        } else if line.starts_with("```") {
            is_within = false;
        } else if let Some((place, typed)) = line.split_once("> ")
            && is_within
            && place.starts_with('w')
            // What is shown to be wrong is wrong.
            && !lines.peek().is_some_and(|next| next.starts_with("error:"))
        {
            all.last_mut().unwrap().typed.push(typed.to_owned());
        }
    }
    all
}

#[test]
fn each_command_that_the_guide_shows_of_the_arena_can_be_typed_as_it_stands() {
    let _alone = alone();
    let (server, dir) = (copy("server", "guide"), tempfile::tempdir().unwrap());
    let programs = [("arena", env!("CARGO_BIN_EXE_arena")), ("qnfsm", env!("CARGO_BIN_EXE_reader"))];
    let commands = shown();
    assert!(commands.len() >= 7 && commands.iter().any(|shown| shown.typed.len() > 5), "{}", commands.len());
    for Shown { line, typed } in commands {
        // What comes behind a pipe is another program's.
        let line = line.split(" | ").next().unwrap();
        let line = line.replace(RECORDED, &server.path().to_string_lossy());
        let (name, program) = programs.iter().find(|(name, _)| line.starts_with(name)).unwrap();
        let line = line.replacen(name, &format!("'{program}'"), 1);
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).current_dir(dir.path()).stdin(Stdio::piped());
        let mut shell = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = shell.stdin.take().unwrap();
        let typed = typed.join("\n");
        // One that asks for nothing may have ended already.
        let _ = input.write_all(typed.as_bytes());
        drop(input);
        let output = shell.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        let finds_nothing = output.status.code() == Some(1) && line.contains("--command 'find ended panicked'");
        assert!(output.status.success() || finds_nothing, "{line}\n{typed}\n{}: {err}", output.status);
    }
}

//! The commands that are about a node's directory, for tests that are tables over all of them. `every_command.rs` holds this list against
//! what `--help` lists.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    fmt,
    path::Path,
    process::{Command, Output, Stdio},
};

/// The two programs that have commands: the one that recorded, and `qnfsm`, which knows nobody's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Arena,
    Qnfsm,
}

pub(crate) const PROGRAMS: [Program; 2] = [Program::Arena, Program::Qnfsm];

/// A command that is about a node's directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) name: &'static str,
    /// What it is told beside the directory, and does.
    pub(crate) arguments: &'static [&'static str],
    pub(crate) what: What,
}

/// What a command does with a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// It reads, without running anything.
    Reads,
    /// It changes the directory.
    Mends,
    /// It runs what was recorded where the program has the kinds, and reads elsewhere.
    Draws,
    /// It runs what was recorded.
    Runs,
}

const fn listed(name: &'static str, what: What, arguments: &'static [&'static str]) -> Listed {
    Listed { name, arguments, what }
}

pub(crate) const LISTED: [Listed; 14] = [
    listed("describe", What::Reads, &[]),
    listed("dump", What::Reads, &[]),
    listed("stat", What::Reads, &[]),
    listed("snapshot", What::Reads, &[]),
    listed("verify", What::Reads, &[]),
    listed("repair", What::Mends, &["--drop-tail", "--dry-run"]),
    listed("seq", What::Draws, &[]),
    listed("states", What::Draws, &[]),
    listed("cover", What::Draws, &[]),
    listed("trace", What::Draws, &[]),
    listed("replay", What::Runs, &[]),
    listed("diff", What::Runs, &[]),
    listed("bisect", What::Runs, &[]),
    listed("debug", What::Runs, &["--command", "find kind == world and message is Join", "--command", "why"]),
];

impl Listed {
    /// Whether that program has it.
    pub(crate) fn is_of(self, program: Program) -> bool {
        program == Program::Arena || self.what != What::Runs
    }

    /// Whether it reads beside a running node, if it is told to.
    pub(crate) fn can_live(self) -> bool {
        matches!(self.what, What::Reads | What::Draws)
    }

    /// Whether nothing can be drawn of the arena's records alone: they hold inputs, and states follow from running them.
    pub(crate) fn needs_kinds(self) -> bool {
        matches!(self.name, "states" | "cover")
    }

    /// Runs it on a directory, and gives its status and both outputs.
    pub(crate) fn run(self, program: Program, dir: &Path, more: &[&str]) -> Told {
        let dir = dir.to_string_lossy();
        told(&call(program, &[&[self.name, &*dir], self.arguments, more].concat()))
    }

    /// The same, as a process that isn't started yet, with nothing on its standard input.
    pub(crate) fn process(self, program: Program, dir: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(program.path());
        command.arg(self.name).arg(dir).args(self.arguments).args(more).stdin(Stdio::null());
        command
    }
}

/// All commands that a program has, with the program.
pub(crate) fn all() -> impl Iterator<Item = (Program, Listed)> {
    let of = |program: Program| LISTED.into_iter().filter(move |it| it.is_of(program)).map(move |it| (program, it));
    PROGRAMS.into_iter().flat_map(of)
}

/// What a command came to.
pub(crate) struct Told {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // All of a dump is nobody's to read in a test's complaint.
        let begins = |text: &str| text.chars().take(1000).collect::<String>();
        write!(f, "status {}, out {:?}, err {:?}", self.status, begins(&self.out), begins(&self.err))
    }
}

impl Program {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Program::Arena => env!("CARGO_BIN_EXE_arena"),
            Program::Qnfsm => env!("CARGO_BIN_EXE_reader"),
        }
    }
}

/// What a program says to these arguments.
pub(crate) fn call(program: Program, arguments: &[&str]) -> Output {
    Command::new(program.path()).args(arguments).stdin(Stdio::null()).output().expect("the program can be started")
}

pub(crate) fn told(output: &Output) -> Told {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Told { status: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

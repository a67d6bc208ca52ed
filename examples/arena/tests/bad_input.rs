//! What every command of both programs makes of input that isn't what it takes, and of a reader that has had enough: as tables over all
//! commands, so that none is left out.

mod commands;
mod journals;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use commands::{LISTED, Listed, PROGRAMS, Program, What, all, call, told};
use journals::{Dir, alone, copy, files, middle, segment, serve};
use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An error as an object, on the last line; a trace has none.
#[track_caller]
fn assert_told_as_json(program: Program, command: Listed, dir: &Path, status: i32) {
    if command.name == "trace" {
        return;
    }
    let told = command.run(program, dir, &["--json"]);
    let last = told.out.lines().last().unwrap_or_default();
    let error: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{command:?}: {error}: {told:?}"));
    assert_eq!((told.status, &error["exit_status"]), (status, &status.into()), "{program:?} {command:?}: {error}");
}

#[test]
fn what_is_no_node_s_directory_is_told_apart_and_nothing_is_made_there() {
    let dir = Dir::new("bad");
    let path = |name: &str| dir.path().join(name);
    fs::create_dir_all(path("empty")).expect("there is room");
    fs::create_dir_all(path("other/data")).expect("there is room");
    fs::write(path("file"), "text").expect("there is room");
    fs::create_dir_all(path("nonsense/journal")).expect("there is room");
    fs::write(path("nonsense/manifest"), "not what a node writes").expect("there is room");
    let before = files(dir.path());
    for (program, command) in all() {
        for (name, status) in [("empty", 11), ("other", 10), ("file", 10), ("missing", 12), ("nonsense", 20)] {
            // It may be that `verify` finds damage, which is no error of its own.
            let is_finding = command.name == "verify" && name == "nonsense";
            let told = command.run(program, &path(name), &[]);
            assert_eq!(told.status, status, "{program:?} {command:?} of {name}: {told:?}");
            let text = if is_finding { &told.out } else { &told.err };
            assert!(text.contains(&*path(name).to_string_lossy()), "which it is: {program:?} {command:?}: {told:?}");
            assert!(is_finding || told.out.is_empty(), "{program:?} {command:?} of {name}: {told:?}");
            assert!(text.contains("give the") || text.contains("from a copy"), "what to do: {command:?}: {told:?}");
            if !is_finding {
                assert_told_as_json(program, command, &path(name), status);
            }
        }
        let none = told(&call(program, &[&[command.name], command.arguments].concat()));
        assert!(
            none.status == 2 && none.err.contains("Usage"),
            "{program:?} {command:?} without a directory: {none:?}"
        );
    }
    assert_eq!(files(dir.path()), before);
    assert!(!path("missing").exists() && fs::read_dir(path("empty")).expect("it is there").next().is_none());
}

/// A program that has nothing to do with the arena.
#[derive(Serialize, Deserialize)]
struct Stranger;

#[derive(Serialize, Deserialize)]
enum Word {
    Said,
}

impl Fsm for Stranger {
    const NAME: &'static str = "stranger";
    type State = ();
    type Message = Word;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), Word::Said: Word, _: &mut Context<'_, Self>) -> Next<Self> {
        Next::Stay
    }
}

#[test]
fn another_program_s_directory_is_read_and_never_run() {
    let dir = Dir::new("stranger");
    let builder = NodeBuilder::new("stranger", Kinds::new().with::<Stranger>()).dir(dir.path().join("node"));
    let node = builder.start(&Stranger).expect("it starts");
    node.host().send(node.root(), &Word::Said).expect("it takes it");
    node.stop().expect("it stops");
    let (dir, before) = (dir.path().join("node"), files(dir.path()));
    for (program, command) in all() {
        let told = command.run(program, &dir, &[]);
        let runs = program == Program::Arena && matches!(command.what, What::Runs | What::Draws);
        match (runs, command.needs_kinds()) {
            (true, _) => {
                assert_eq!(told.status, 15, "{program:?} {command:?}: {told:?}");
                let says_which = told.err.contains("`stranger`") && told.err.contains("with that one");
                assert!(says_which && told.out.is_empty(), "{program:?} {command:?}: {told:?}");
                assert_told_as_json(program, command, &dir, 15);
            }
            (false, true) => assert_eq!(told.status, 35, "{program:?} {command:?}: {told:?}"),
            (false, false) => assert_eq!((told.status, told.err.as_str()), (0, ""), "{program:?} {command:?}"),
        }
    }
    assert_eq!(files(dir.parent().expect("it has one")), before, "nothing was changed");
}

/// A process that doesn't outlive its test.
struct Bots(Child);

impl Drop for Bots {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bots {
    /// Bots that play at that address. They are waited for until they say that they all do.
    fn play(address: &str, dir: &Dir) -> Bots {
        let mut child = Command::new(env!("CARGO_BIN_EXE_arena"));
        child.args(["bots", "--connect", address, "--bots", "8", "--dir"]).arg(dir.path());
        let piped = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut bots = Bots(piped.spawn().expect("they can be started"));
        let out = BufReader::new(bots.0.stdout.take().expect("it is piped"));
        let playing = out.lines().map_while(Result::ok).any(|line| line.contains("\"playing\":8"));
        assert!(playing, "they come to play");
        bots
    }
}

/// Beside a node too, each line that is for machines is a value.
fn assert_json_live(program: Program, command: Listed, dir: &Path, status: i32) {
    let told = command.run(program, dir, &["--live", "--json"]);
    assert_eq!(told.status, status, "{program:?} {command:?}: {told:?}");
    // A trace goes over lines, and the end of a dump is a summary.
    let values: Result<Vec<Value>, _> = match command.name {
        "trace" => serde_json::from_str(&told.out).map(|trace| vec![trace]),
        _ => told.out.lines().map(serde_json::from_str).collect(),
    };
    let values = values.unwrap_or_else(|error| panic!("{program:?} {command:?}: {error}: {told:?}"));
    let last = values.last().unwrap_or_else(|| panic!("{program:?} {command:?}: {told:?}"));
    let holds = match command.name {
        "describe" | "stat" | "verify" => last["rounds"].as_u64() > Some(100),
        "dump" => last["what"] == "summary",
        "snapshot" => last["what"].is_string(),
        "seq" => last["messages"].as_array().is_some_and(|it| !it.is_empty()),
        "trace" => last["traceEvents"].is_array(),
        _ if status == 0 => last["kinds"].as_array().is_some_and(|it| !it.is_empty()),
        _ => last["exit_status"] == status && values.len() == 1,
    };
    assert!(holds, "{program:?} {command:?}: {told:?}");
}

#[test]
fn a_journal_that_still_grows_is_read_where_that_is_asked_for_and_else_it_is_said_what_to_do() {
    let _alone = alone();
    let (dir, theirs) = (copy("server", "growing"), Dir::new("growing-bots"));
    let mut server = serve(&dir);
    let line = server.line();
    let bots = Bots::play(line.trim().rsplit(' ').next().expect("an address"), &theirs);
    for (program, command) in all() {
        let refused = command.run(program, dir.path(), &[]);
        assert_eq!(refused.status, 13, "{program:?} {command:?}: {refused:?}");
        assert!(refused.err.contains("take a copy") && refused.out.is_empty(), "{program:?} {command:?}: {refused:?}");
        // What is advised this very command can do.
        assert_eq!(refused.err.contains("--live"), command.can_live(), "{program:?} {command:?}: {refused:?}");
        assert_told_as_json(program, command, dir.path(), 13);
        if !command.can_live() {
            let unknown = command.run(program, dir.path(), &["--live"]);
            assert_eq!(unknown.status, 2, "{program:?} {command:?}: {unknown:?}");
            continue;
        }
        let expected = if program == Program::Qnfsm && command.needs_kinds() { 35 } else { 0 };
        // Again and again, because each time another record is half written.
        for _ in 0..3 {
            let told = command.run(program, dir.path(), &["--live"]);
            assert_eq!(told.status, expected, "{program:?} {command:?}: {told:?}");
            assert!(expected == 35 || told.err.is_empty() && told.out.len() > 20, "{program:?} {command:?}: {told:?}");
            assert_json_live(program, command, dir.path(), expected);
        }
    }
    // What is drawn is of what is there at that moment: there is more of it each time.
    let rounds = |program| {
        let trace = Listed { name: "trace", arguments: &[], what: What::Draws }.run(program, dir.path(), &["--live"]);
        let trace: Value = serde_json::from_str(&trace.out).expect("a trace that ends anywhere is whole");
        trace["traceEvents"].as_array().map_or(0, |events| events.iter().filter(|it| it["cat"] == "round").count())
    };
    for program in PROGRAMS {
        let first = rounds(program);
        let grows = (0..100).any(|_| rounds(program) > first);
        assert!(first > 100 && grows, "{program:?}: {first} rounds, and no more came");
    }
    drop(bots);
    server.stop();
}

#[test]
fn of_a_journal_that_is_cut_what_is_left_is_told_and_then_where_it_is_cut() {
    let _alone = alone();
    // As a crash leaves it: half of a record behind what is known to be on disk.
    let torn = copy("server", "torn");
    let last = segment(torn.path(), 3);
    let whole = fs::read(&last).expect("it is there");
    fs::write(&last, [&whole[..], &whole[whole.len() - 60..whole.len() - 50]].concat()).expect("it can be written");
    // As no crash leaves it: the end of a segment that another one follows.
    let cut = copy("server", "cut");
    let second = segment(cut.path(), 2);
    let half = &fs::read(&second).expect("it is there")[..middle(&second)];
    fs::write(&second, half).expect("it can be written");
    let before = (files(torn.path()), files(cut.path()));
    for (program, command) in all() {
        let needs_kinds = program == Program::Qnfsm && command.needs_kinds();
        let told = command.run(program, torn.path(), &[]);
        assert_eq!(told.status, if needs_kinds { 35 } else { 0 }, "{program:?} {command:?}: {told:?}");
        let told = command.run(program, cut.path(), &[]);
        if command.name == "snapshot" {
            // It looks at no record.
            assert_eq!(told.status, 0, "{told:?}");
            continue;
        }
        assert_eq!(told.status, 20, "{program:?} {command:?}: {told:?}");
        let text = if command.name == "verify" { &told.out } else { &told.err };
        assert!(text.contains("00000002.qjl"), "{program:?} {command:?}: {told:?}");
        if command.name != "verify" {
            assert_told_as_json(program, command, cut.path(), 20);
        }
    }
    assert_eq!((files(torn.path()), files(cut.path())), before, "nothing was changed");
}

#[test]
fn where_standard_output_is_closed_every_command_ends_in_silence() {
    let _alone = alone();
    let dir = copy("server", "closed");
    for (program, command) in all().filter(|(program, it)| *program == Program::Arena || !it.needs_kinds()) {
        for more in [&[][..], &["--json"], &["--help"]] {
            let mut process = command.process(program, dir.path(), more);
            let mut child = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
            // Before it has written anything.
            drop(child.stdout.take());
            let told = told(&child.wait_with_output().expect("it ends"));
            assert_eq!((told.status, told.err.as_str()), (0, ""), "{program:?} {command:?} {more:?}");
        }
    }
    // What was found stays so.
    let other = copy("bots", "closed-too");
    let diff = LISTED.into_iter().find(|it| it.name == "diff").expect("it is listed");
    for (program, more) in PROGRAMS.into_iter().flat_map(|program| [(program, None), (program, Some("--json"))]) {
        let other = other.path().to_string_lossy().into_owned();
        let more: Vec<_> = [Some(other.as_str()), more].into_iter().flatten().collect();
        let mut process = diff.process(program, dir.path(), &more);
        let mut child = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let told = told(&child.wait_with_output().expect("it ends"));
        assert_eq!((told.status, told.err.as_str()), (33, ""), "{program:?} {more:?}");
    }
    // And what a script comes to behind its first answer, which nobody reads.
    let debug = LISTED.into_iter().find(|it| it.name == "debug").expect("it is listed");
    for (nothing, status) in [("find kind == world and data.world.tick == 1000000000", 1), ("nonsense", 2)] {
        let mut process = debug.process(Program::Arena, dir.path(), &["--command", nothing]);
        let mut child = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let told = told(&child.wait_with_output().expect("it ends"));
        assert_eq!(told.status, status, "{nothing}: {told:?}");
    }
}

#[cfg(target_os = "linux")]
fn assert_full(mut process: Command, what: &str) {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let told = told(&process.stdout(full).output().expect("it starts"));
    assert_eq!(told.status, 40, "{what}: {told:?}");
    assert!(told.err.contains("cannot write to standard output"), "{what}: {told:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn where_standard_output_takes_nothing_every_command_says_so() {
    let _alone = alone();
    let dir = copy("server", "full");
    for (program, command) in all().filter(|(program, it)| *program == Program::Arena || !it.needs_kinds()) {
        for more in [&[][..], &["--help"]] {
            assert_full(command.process(program, dir.path(), more), &format!("{program:?} {command:?} {more:?}"));
        }
    }
    for (program, arguments) in PROGRAMS.into_iter().flat_map(|it| [(it, "--help"), (it, "--version"), (it, "help")]) {
        let mut process = Command::new(program.path());
        process.arg(arguments);
        assert_full(process, &format!("{program:?} {arguments}"));
    }
}

//! The debugger on a journal that wasn't made for it: the server's under load, killed twice and recovered. As a user runs it: with
//! commands, and with a script on standard input.

mod journals;

use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
};

use journals::{copy, made};
use serde_json::Value;

fn arena() -> Command {
    Command::new(env!("CARGO_BIN_EXE_arena"))
}

/// What the debugger says to commands.
fn debug(node: &str, options: &[&str], commands: &[&str]) -> Output {
    let mut command = arena();
    command.arg("debug").arg(made().join(node)).args(options);
    commands.iter().for_each(|line| _ = command.args(["--command", line]));
    command.output().expect("the debugger can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Its answers, of which each is an object; all commands must be right.
#[track_caller]
fn answers(node: &str, commands: &[&str]) -> Vec<Value> {
    let output = debug(node, &["--json"], commands);
    assert!(output.status.success(), "{commands:?}: {}", text(&output.stderr));
    let out = text(&output.stdout);
    out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// What a script on standard input comes to.
fn script(lines: &str) -> Output {
    let mut command = arena();
    command.arg("debug").arg(made().join("server"));
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the debugger can be started");
    // One that has ended reads no further.
    let _ = child.stdin.take().expect("it is piped").write_all(lines.as_bytes());
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_player_is_followed_from_the_world_back_to_his_socket_over_both_workers() {
    let found = answers(
        "server",
        &["find kind == world and message is Join", "why", "fsm", "find sent Joined", "end", "where"],
    );
    assert_eq!((&found[0]["kind"], &found[0]["at"]["worker"]), (&"world".into(), &1.into()));
    assert!(
        found[0]["changed"].as_array().is_some_and(|changed| changed
            .iter()
            .any(|it| it["path"].as_str().is_some_and(|path| path.starts_with("world.players[")))),
        "{}",
        found[0]
    );
    let causes = found[1]["causes"].as_array().expect("a list");
    let kinds: Vec<_> = causes.iter().map(|cause| &cause["kind"]).collect();
    assert_eq!(kinds, ["world", "connection"]);
    assert_eq!((&causes[1]["origin"], &causes[1]["source"]), (&"outside".into(), &"e8".into()), "{}", found[1]);
    assert!(found[2]["lines"].as_array().is_some_and(|lines| lines[0]["what"] == "fsm"));
    let (end, total) = (&found[5]["ordinal"], &found[5]["rounds"]);
    assert_eq!(end.as_u64().map(|end| end + 1), total.as_u64());
}

#[test]
fn a_watched_score_stops_both_ways_and_what_is_sought_in_vain_ends_with_a_status_of_its_own() {
    let watch = "watch w1/0.1 data.world.players[\"PlayerId(1)\"].standing.score";
    let found = answers("server", &[watch, "run", "run", "reverse"]);
    let values = |answer: &Value| {
        let changed = answer["step"]["changed"].as_array().cloned().unwrap_or_default();
        let of = changed.iter().find(|it| it["path"].as_str().is_some_and(|path| path.contains("PlayerId(1)")));
        of.cloned()
    };
    assert!(values(&found[1]).is_some() && values(&found[1]) == values(&found[3]), "{found:?}");
    assert_eq!((&found[1]["stop"], &found[1]["step"]["at"]), (&1.into(), &found[3]["step"]["at"]));
    let output = debug("bots", &[], &["find ended panicked"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("line 1: it holds for no step"));
}

#[test]
fn a_script_runs_to_its_end_or_to_the_line_that_is_wrong() {
    let output = script("# from the start\n\nstep 2\nwhere\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().filter(|line| line.contains("; ordinal ")).count(), 2);
    let output = script("where\nbreak kind == wrold\nquit\n");
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(error.contains("line 2, column 15: no kind is called `wrold`: did you mean `world`?"), "{error}");
    let output = script("goto w9:1\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(script("quit\nnonsense\n").status.success());
}

#[test]
fn a_directory_that_can_t_be_gone_through_is_refused_as_a_replay_refuses_it() {
    let dir = std::env::temp_dir().join(format!("arena-debugging-{}", std::process::id()));
    let run = |options: &[&str]| arena().arg("debug").arg(&dir).args(options).output().expect("it can be started");
    assert_eq!(run(&[]).status.code(), Some(12));
    fs::create_dir_all(&dir).expect("there is room");
    let output = run(&["--json"]);
    assert_eq!(output.status.code(), Some(11));
    let json: Value = serde_json::from_str(text(&output.stdout).trim()).expect("one object");
    assert_eq!((&json["error"], &json["exit_status"]), (&"empty".into(), &11.into()));
    fs::write(dir.join("something"), "else").expect("there is room");
    assert_eq!(run(&[]).status.code(), Some(10));
    fs::remove_dir_all(&dir).expect("it is there");
}

#[test]
fn a_journal_whose_tail_is_cut_is_gone_through_up_to_there() {
    let dir = copy("bots", "debugging-cut");
    let last =
        fs::read_dir(dir.path().join("journal")).expect("it is there").map(|entry| entry.expect("it is there").path());
    let last = last.max().expect("there is a segment");
    let file = fs::OpenOptions::new().write(true).open(&last).expect("it can be written");
    file.set_len(file.metadata().expect("it is there").len() - 9).expect("it can be cut");
    drop(file);
    let output = arena().arg("debug").arg(dir.path()).args(["--command", "end", "--command", "why"]).output();
    let output = output.expect("it can be started");
    // The clean stop was known to be on disk, or it wasn't: either way that is said, and nothing panics.
    assert!(matches!(output.status.code(), Some(0 | 20)), "{}", text(&output.stderr));
}

#[test]
fn whoever_reads_may_have_had_enough() {
    let mut command = arena();
    command.arg("debug").arg(made().join("server"));
    (0..200).for_each(|_| _ = command.args(["--command", "kinds", "--command", "step"]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn help_has_examples_and_the_exit_statuses() {
    let output = arena().args(["debug", "--help"]).output().expect("it can be started");
    let help = text(&output.stdout);
    assert!(help.contains("--command 'find ended panicked'") && help.contains("130 interrupted"), "{help}");
}

/// What it says to the last of these commands, in text.
#[track_caller]
fn last_answer(commands: &[&str], last: &str) -> String {
    // What is asked is told from what comes before by a line that says nothing else.
    let all = [commands, &["json off", last]].concat();
    let output = debug("server", &[], &all);
    assert!(output.status.success(), "{all:?}: {}", text(&output.stderr));
    let out = text(&output.stdout);
    out.rsplit_once("answers are text\n").expect("it is told").1.to_owned()
}

#[test]
fn a_tick_of_the_world_stands_on_a_screen_of_24_lines_and_says_how_all_of_it_is_seen() {
    let tick = ["end", "rfind kind == world and message is Tick and sent View"];
    let shown = last_answer(&tick, "show");
    // As a terminal of 80 columns breaks them, with the prompt below.
    let rows: usize = shown.lines().map(|line| line.chars().count().div_ceil(80).max(1)).sum();
    assert!(rows < 24, "{rows} rows:\n{shown}");
    for part in ["more fields; `lines 1000` shows more", "more; `sent` lists them", "ended    "] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    let all = last_answer(&[&tick[..], &["lines 1000"]].concat(), "show");
    assert!(all.lines().count() > shown.lines().count() + 10 && !all.contains("… and "), "{all}");
}

#[test]
fn a_long_list_is_cut_and_says_how_all_of_it_is_seen() {
    let (tick, command) = ("rfind kind == world and sent View", "rfind kind == world and message is Command");
    for (place, list) in [(command, "inputs"), (tick, "fsms w0"), (tick, "sent")] {
        let tick = ["end", place, "lines 3"];
        let few = last_answer(&tick, list);
        let Some((_, hint)) = few.trim_end().split_once("\n… and ") else { panic!("{list} is short: {few}") };
        let (_, how) = hint.split_once("`").expect("it says how");
        let lines = how.split('`').next().expect("a command");
        let all = last_answer(&[&tick[..], &[lines]].concat(), list);
        assert!(!all.contains("… and ") && all.lines().count() > few.lines().count(), "{list}: {all}");
    }
}

#[test]
fn fsms_are_told_to_be_those_of_a_step_in_the_middle_of_a_round() {
    let answers = answers("server", &["find kind == connection and message is Client", "where", "fsms", "lines 7"]);
    let (at, fsms) = (&answers[1], &answers[2]);
    let (step, steps) = (at["step"].as_u64().expect("a number"), at["steps"].as_u64().expect("a number"));
    let text = last_answer(&["find kind == connection and message is Client"], "fsms");
    if step < steps {
        assert_eq!(fsms["after_step"], serde_json::json!([step, steps]));
        assert!(text.starts_with(&format!("w0 after step {step} of {steps} of round {}: ", at["round"])), "{text}");
    } else {
        assert!(text.starts_with(&format!("w0 after round {}: ", at["round"])), "{text}");
    }
}

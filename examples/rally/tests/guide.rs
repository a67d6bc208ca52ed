//! Three nodes play, and are looked at together: what docs/guide.md says of several nodes is what a reader gets who types it.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]
#![allow(clippy::disallowed_methods, reason = "a test stands outside all nodes")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// A line of a shell, done in a directory, with that on its standard input. Gives what it printed.
#[track_caller]
fn shell(dir: &Path, line: &str, input: &str) -> String {
    let programs = Path::new(env!("CARGO_BIN_EXE_rally")).parent().unwrap();
    let path = [programs.into(), PathBuf::from("/usr/bin"), "/bin".into()];
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(dir).env("PATH", std::env::join_paths(path).unwrap());
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that reads nothing has closed it, and that is no failure.
    let _ = shell.stdin.take().unwrap().write_all(input.as_bytes());
    let output = shell.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && err.is_empty(), "{line}: {} {err}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).unwrap()
}

/// A line without what differs from run to run: times, places in the journal, numbers of rounds.
fn masked(line: &str) -> String {
    let mut masked = String::new();
    const ENDS: [char; 4] = [' ', ',', ')', ';'];
    let mut is_number_next = false;
    for word in line.split_inclusive(ENDS) {
        let bare = word.trim_end_matches(ENDS);
        let is_place = bare.contains(':') && bare.starts_with(|c: char| c.is_ascii_digit());
        let is_number = is_number_next && bare.parse::<u64>().is_ok();
        masked.push_str(if is_place || is_number { "*" } else { bare });
        masked.push_str(&word[bare.len()..]);
        is_number_next = matches!(bare.trim_start_matches('('), "round" | "ordinal" | "of" | "step" | "number");
    }
    masked.trim_end().to_owned()
}

/// What stands behind the prompt of a debugger.
fn at_prompt(line: &str) -> Option<&str> {
    let (place, command) = line.split_once("> ")?;
    let mut words = place.split(' ');
    let is_node = words.next()?.strip_prefix('n')?.parse::<u32>().is_ok();
    (is_node && words.next()?.starts_with('w') && words.next().is_none()).then_some(command)
}

/// Each line of a sample stands in what was printed, in this order; where it says `…`, there may be more.
#[track_caller]
fn assert_shown(line: &str, expected: &[&str], printed: &str) {
    let mut printed_lines = printed.lines().map(masked);
    for wanted in expected.iter().filter(|wanted| !wanted.trim_start().starts_with('…')) {
        let wanted = masked(wanted);
        assert!(printed_lines.any(|printed| printed == wanted), "`{line}` doesn't show {wanted:?}:\n{printed}");
    }
}

#[test]
fn the_guide_s_section_of_several_nodes_is_what_a_reader_gets() {
    let (guide, dir) = (document("guide.md"), tempfile::tempdir().unwrap());
    let section = guide.split("\n## Several nodes\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let samples = section.split("```text\n").skip(1).map(|block| block.split("```").next().unwrap());
    let lines: Vec<_> = samples.flat_map(str::lines).collect();
    let commands: Vec<_> = lines.iter().enumerate().filter(|(_, line)| line.starts_with("$ ")).collect();
    assert!(commands.len() >= 4, "{commands:?}");
    let ends = commands[1..].iter().map(|(at, _)| *at).chain([lines.len()]);
    for ((at, line), end) in commands.iter().zip(ends) {
        let shown = &lines[at + 1..end];
        let typed: Vec<_> = shown.iter().filter_map(|line| at_prompt(line)).collect();
        let printed = shell(dir.path(), &line[2..], &typed.join("\n"));
        let expected: Vec<_> = shown.iter().copied().filter(|line| at_prompt(line).is_none()).collect();
        assert_shown(line, &expected, &printed);
    }
    // And the picture is that of such a run; which of the first and the last node is ahead with its start differs.
    let texts = |svg: &str| {
        let texts = svg.split("<text").skip(1).map(|text| text.split_once('>').unwrap().1.split('<').next().unwrap());
        let mut texts: Vec<_> = texts.map(|text| text.split('#').next().unwrap().to_owned()).collect();
        texts.sort();
        texts
    };
    let drawn = fs::read_to_string(dir.path().join("seq.svg")).unwrap();
    assert_eq!(texts(&drawn), texts(&document("plots/drawn-nodes.svg")));
}

#[test]
fn a_ball_goes_round_among_three_nodes_and_each_hit_is_drawn_once_between_them() {
    let hits = 60_usize;
    for recording in ["", "--everything"] {
        let dir = tempfile::tempdir().unwrap();
        let all = shell(dir.path(), &format!("rally play court --hits {hits} {recording}"), "");
        let nodes: Vec<_> = all.lines().collect();
        assert_eq!(nodes, ["court/node1", "court/node2", "court/node3"]);
        let drawn = shell(dir.path(), &format!("rally seq --json --max 100000 {}", nodes.join(" ")), "");
        let sequence: Value = serde_json::from_str(&drawn).unwrap();
        let lane = |end: &Value| sequence["lanes"][usize::try_from(end.as_u64().unwrap()).unwrap()]["name"].clone();
        let messages = sequence["messages"].as_array().unwrap().iter();
        let ends = messages.filter(|it| it["what"] == "Hit").map(|it| (lane(&it["from"]), lane(&it["to"])));
        let ends: Vec<_> = ends.filter(|(_, to)| !to.as_str().unwrap().starts_with("judge")).collect();
        let player = |turn: usize| Value::from(format!("player n{}:w0/0.1", turn % 3 + 1));
        let expected: Vec<_> = (0..=hits).map(|turn| (player(turn), player(turn + 1))).collect();
        assert_eq!(ends, expected);
        assert_eq!(sequence["remarks"], Value::Array(Vec::new()));
        for node in nodes {
            shell(dir.path(), &format!("rally replay --quiet {node}"), "");
        }
    }
}

#[test]
fn a_rally_is_never_played_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    shell(dir.path(), "rally play court", "");
    let again = shell(dir.path(), "rally play court 2>&1 || true", "");
    assert!(again.contains("court/node1 is there already"), "{again}");
}

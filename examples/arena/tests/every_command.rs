//! Every command of both programs on a journal that wasn't made for it: that of a game server under the load of its bots, killed with
//! SIGKILL in the middle, recovered, played on and stopped. A command that is in a program's `--help` and not here turns it red.

mod commands;
mod journals;

use std::collections::BTreeSet;

use commands::{LISTED, Listed, PROGRAMS, Program, all, call, told};
use journals::{Dir, alone, copy, files, json};
use serde_json::Value;

/// What the arena has beside commands about a directory.
const OF_THE_ARENA: [&str; 4] = ["serve", "bots", "demo", "completions"];

/// The names below `Commands:`.
fn helped(program: Program) -> BTreeSet<String> {
    let help = told(&call(program, &["--help"])).out;
    let (_, list) = help.split_once("Commands:\n").unwrap_or_else(|| panic!("no commands: {help}"));
    let lines = list.lines().take_while(|line| !line.trim().is_empty());
    // What a command does may go on in the next line, further to the right.
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn every_command_that_a_program_lists_is_tested_here() {
    for program in PROGRAMS {
        // Without kinds `diff` takes two directories, and has a claim of its own.
        let others: &[&str] = if program == Program::Arena { &OF_THE_ARENA } else { &["completions", "diff"] };
        let tested = LISTED.iter().filter(|it| it.is_of(program)).map(|it| it.name);
        let tested: BTreeSet<_> = tested.chain(others.iter().copied()).chain(["help"]).map(str::to_owned).collect();
        assert_eq!(
            helped(program),
            tested,
            "{program:?}: add the command to `commands::LISTED` and to the claims here"
        );
    }
}

#[test]
fn every_command_s_help_has_an_example_and_exit_statuses_that_the_guide_knows() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = std::fs::read_to_string(root.join("docs/guide.md")).expect("it is there");
    let in_guide: BTreeSet<u8> = guide.lines().filter_map(statuses_of_row).flatten().collect();
    assert!(in_guide.contains(&0) && in_guide.contains(&40), "{in_guide:?}");
    let mut named = BTreeSet::new();
    for (program, name) in all().map(|(program, it)| (program, it.name)).chain([(Program::Qnfsm, "completions")]) {
        let help = told(&call(program, &[name, "--help"])).out;
        assert!(help.contains("Example"), "{name} has no example: {help}");
        let (_, statuses) =
            help.split_once("Exit statuses: ").unwrap_or_else(|| panic!("{name} has no statuses: {help}"));
        // Each is a number, with what it means behind it.
        let words = statuses.split_whitespace().map(|word| word.trim_end_matches([',', '.']));
        let statuses: Vec<u8> = words.filter_map(|word| word.parse().ok()).collect();
        assert!(statuses.first() == Some(&0) && statuses.len() > 2, "{name}: {statuses:?}");
        named.extend(statuses);
    }
    assert!(named.is_subset(&in_guide), "the guide lacks {:?}", named.difference(&in_guide));
    // 1 is also that of a program whose node can't run, which is no command's.
    assert_eq!(in_guide.difference(&named).collect::<Vec<_>>(), Vec::<&u8>::new(), "no help names them");
}

#[test]
fn of_two_journals_both_programs_say_where_they_part_and_that_a_copy_is_the_same() {
    let _alone = alone();
    let (dir, backup, other) = (copy("server", "first"), copy("server", "backup"), copy("bots", "other"));
    let first = dir.path().to_string_lossy().into_owned();
    for (program, (other, status)) in
        PROGRAMS.into_iter().flat_map(|program| [(&backup, 0), (&other, 33)].map(|second| (program, second)))
    {
        let other = other.path().to_string_lossy().into_owned();
        let text = told(&call(program, &["diff", &first, &other]));
        assert_eq!(text.status, status, "{program:?}: {text:?}");
        assert!(text.out.contains(if status == 0 { "nothing differs" } else { " parts in " }), "{program:?}: {text:?}");
        let json = told(&call(program, &["diff", &first, &other, "--json"]));
        let json: Value = serde_json::from_str(&json.out).expect("it is JSON");
        assert_eq!((&json["equal"], &json["exit_status"]), (&(status == 0).into(), &status.into()), "{program:?}");
    }
}

/// The statuses in a row of a table that begins with some: `| 10, 11 | …`.
fn statuses_of_row(line: &str) -> Option<Vec<u8>> {
    let cell = line.strip_prefix("| ")?.split(" |").next()?;
    cell.split(", ").map(|status| status.parse().ok()).collect()
}

/// What is known of the journal without the command that is tested: by a replay, and by counting all lines of a dump.
struct Known {
    rounds: u64,
    messages: u64,
    frames: u64,
}

impl Known {
    fn of(dir: &Dir) -> Known {
        let replayed = json("replay", dir.path(), &["--quiet"]).remove(0);
        assert_eq!((&replayed["equal"], &replayed["epoch"]), (&true.into(), &3.into()), "killed twice: {replayed}");
        let frames = json("dump", dir.path(), &["--no-snapshots"]);
        let frames = frames.iter().filter(|line| line["what"] == "frame").count() as u64;
        let number = |key: &str| replayed[key].as_u64().expect("a number");
        let known = Known { rounds: number("rounds"), messages: number("messages"), frames };
        assert!(known.rounds > 100 && known.messages > known.rounds && known.frames > 1000, "a load");
        known
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn sum<'v>(values: impl IntoIterator<Item = &'v Value>) -> u64 {
    values.into_iter().filter_map(Value::as_u64).sum()
}

fn of<'v>(lines: &'v [Value], what: &'v str) -> impl Iterator<Item = &'v Value> {
    lines.iter().filter(move |line| line["what"] == what)
}

/// A number with its thousands apart, as people are told it.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let head = digits.len() % 3;
    let mut groups = vec![digits[..head].to_owned()];
    groups.extend(digits.as_bytes()[head..].chunks(3).map(|group| String::from_utf8_lossy(group).into_owned()));
    groups.retain(|group| !group.is_empty());
    groups.join(",")
}

/// What each command must say as JSON, line by line.
fn check_json(program: Program, command: Listed, known: &Known, lines: &[Value]) {
    let (name, first) = (command.name, &lines[0]);
    let with_kinds = program == Program::Arena;
    match name {
        "describe" => {
            let stopped: Vec<_> = list(&first["epochs"]).iter().map(|it| it["clean_stop"].as_bool()).collect();
            assert_eq!(stopped, [Some(false), Some(false), Some(true)], "two kills and a stop");
            assert_eq!((&first["rounds"], &first["frames"]), (&known.rounds.into(), &known.frames.into()));
        }
        "dump" => {
            assert_eq!(of(lines, "round").count() as u64, known.rounds);
            assert!(of(lines, "fsm").any(|line| line["kind"] == "world"), "the world's snapshot");
            assert_eq!(lines.last().map(|line| &line["frames"]), Some(&known.frames.into()));
        }
        "stat" => {
            assert_eq!(sum(list(&first["workers"]).iter().map(|it| &it["rounds"])), known.rounds);
            assert_eq!(sum(list(&first["types"]).iter().map(|it| &it["frames"])), known.frames);
        }
        "snapshot" => {
            let kinds: Vec<_> = of(lines, "fsm").filter_map(|line| line["kind"].as_str()).collect();
            assert_eq!(kinds, ["lobby", "world"], "one snapshot of each worker");
            assert_eq!(of(lines, "timer").filter(|line| line["name"] == "tick").count(), 1, "the world ticks");
        }
        "verify" => assert_eq!((&first["sound"], &first["rounds"]), (&true.into(), &known.rounds.into())),
        "repair" => {
            assert_eq!((&first["dry_run"], &first["repairs"][0]["what"]), (&true.into(), &Value::Null), "{first}");
        }
        "seq" => {
            let shown = list(&first["messages"]).len() as u64 + first["left_out"].as_u64().expect("a number");
            // With the kinds each message that was handled, and what went out to edges; else each frame that came in.
            assert!(if with_kinds { shown > known.messages } else { shown == known.frames }, "{shown}");
        }
        "states" => {
            let kind = list(&first["kinds"]).iter().find(|it| it["kind"] == "connection").expect("it is drawn");
            let states: Vec<_> = list(&kind["states"]).iter().map(|it| &it["name"]).collect();
            assert_eq!(states, ["Greeting", "Joining", "Playing", "Closing"], "{kind}");
            let joins = |it: &&Value| (&it["from"]["state"], &it["to"]["state"]) == (&0.into(), &1.into());
            let on: Vec<_> = list(&kind["moves"]).iter().filter(joins).map(|it| &it["on"][0][0]).collect();
            assert_eq!(on, ["Client"], "{kind}");
        }
        "cover" => {
            assert!(first["percent"].as_f64().is_some_and(|percent| percent > 10.0 && percent < 90.0), "{first}");
            let handled = |kind: &Value| sum(list(&kind["seen"]).iter().map(|it| &it["handled"]));
            let handled: u64 = list(&first["kinds"]).iter().map(handled).sum();
            assert!(handled > known.messages / 2 && handled <= known.messages, "{handled} of {}", known.messages);
        }
        "trace" => {
            let rounds = list(&first["traceEvents"]).iter().filter(|it| it["cat"] == "round");
            assert_eq!(rounds.count() as u64, known.rounds);
        }
        "replay" => assert_eq!((&first["equal"], &first["rounds"]), (&true.into(), &known.rounds.into())),
        "diff" => assert_eq!((&first["equal"], &first["exit_status"]), (&true.into(), &0.into())),
        "bisect" => {
            assert_eq!((&first["holds"], &first["exit_status"]), (&true.into(), &0.into()));
            assert_eq!((&first["rounds"], &first["rounds_played"]), (&known.rounds.into(), &known.rounds.into()));
        }
        "debug" => {
            assert_eq!((lines.len(), &first["kind"], &first["at"]["worker"]), (2, &"world".into(), &1.into()));
            let kinds: Vec<_> = list(&lines[1]["causes"]).iter().map(|cause| &cause["kind"]).collect();
            assert_eq!(kinds, ["world", "connection"], "over both workers, to the socket");
        }
        other => panic!("nothing is claimed of what `{other} --json` says"),
    }
}

/// What must stand in each command's text.
fn in_text(program: Program, command: Listed, known: &Known) -> Vec<String> {
    let (rounds, frames, messages) = (known.rounds, known.frames, known.messages);
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    match command.name {
        "describe" => {
            vec!["arena-server, node 0".to_owned(), format!("in {} rounds", grouped(rounds)), "a clean stop".to_owned()]
        }
        "dump" => vec![format!("{rounds} rounds, {frames} frames"), "WorldMessage: Join { player: ".to_owned()],
        "stat" => vec![format!("{} frames", grouped(frames)), "ClientMessage".to_owned()],
        "snapshot" => texts(&["w0/0.1 lobby: Lobby {", "w1/0.1 world: WorldFsm {", "timer `tick`"]),
        "verify" => vec!["sound  ".to_owned(), format!("{} rounds", grouped(rounds))],
        "repair" => texts(&["drop-tail: nothing to do"]),
        "seq" => texts(&["sequenceDiagram\n", "->>"]),
        "states" => texts(&["stateDiagram-v2\n", "Greeting"]),
        "cover" => texts(&["lobby: ", "never seen: ", "% of all pairs seen"]),
        "trace" => texts(&["\"traceEvents\":[", "within_rounds"]),
        "replay" => vec![format!("{rounds} rounds, {messages} messages")],
        "diff" => vec![format!("nothing differs in {rounds} rounds")],
        "bisect" => vec![format!("all 1 invariants hold after each of {rounds} rounds")],
        "debug" => texts(&[
            "world: handle WorldMessage Join { player: ",
            "asked    monitor w0/",
            "which came from e8, its number",
        ]),
        other => panic!("nothing is claimed of what `{other}` of {program:?} says"),
    }
}

#[test]
fn every_command_says_of_a_killed_server_s_journal_what_happened() {
    let _alone = alone();
    let dir = copy("server", "every");
    let (known, before) = (Known::of(&dir), files(dir.path()));
    for (program, command) in all() {
        let name = command.name;
        let (text, object) = (command.run(program, dir.path(), &[]), command.run(program, dir.path(), &["--json"]));
        if program == Program::Qnfsm && command.needs_kinds() {
            let refused = "of the program that recorded it runs it again";
            assert!(text.status == 35 && text.err.contains(refused), "{program:?} {name}: {text:?}");
            let error: Value = serde_json::from_str(object.out.lines().last().unwrap_or_default()).expect("an object");
            assert_eq!((object.status, &error["exit_status"]), (35, &35.into()), "{program:?} {name}");
            continue;
        }
        assert_eq!((text.status, text.err.as_str()), (0, ""), "{program:?} {name}");
        for part in in_text(program, command, &known) {
            let begins: String = text.out.chars().take(1000).collect();
            assert!(text.out.contains(&part), "{program:?} {name}: {part:?} is not in what begins with {begins}");
        }
        assert!(!text.out.contains('\x1b'), "{program:?} {name}: no colours beside a terminal");
        assert_eq!((object.status, object.err.as_str()), (0, ""), "{program:?} {name} --json");
        let mut lines = object.out.lines().map(serde_json::from_str);
        // A report for people may stand before the object, and a trace goes over lines.
        let lines: Vec<Value> = match name {
            "trace" => vec![serde_json::from_str(&object.out).expect("a trace is JSON")],
            "replay" => lines.next_back().into_iter().map(|line| line.expect("it is JSON")).collect(),
            _ => lines.map(|line| line.unwrap_or_else(|error| panic!("{name}: {error}"))).collect(),
        };
        check_json(program, command, &known, &lines);
    }
    assert_eq!(files(dir.path()), before, "nothing was changed, also by a repair that is a rehearsal");
}

/// And of the bots' side, which is another program with other kinds.
#[test]
fn every_command_reads_what_the_bots_recorded_too() {
    let _alone = alone();
    let dir = copy("bots", "every-bots");
    for (program, command) in all() {
        // The bots' program has no invariants, has no world, and of its records alone no states can be drawn.
        let expected = match (program, command.name) {
            (Program::Arena, "bisect") => 2,
            (Program::Arena, "debug") => continue,
            (Program::Qnfsm, "states" | "cover") => 35,
            _ => 0,
        };
        let told = command.run(program, dir.path(), &[]);
        assert_eq!(told.status, expected, "{program:?} {}: {told:?}", command.name);
        assert!(expected != 0 || told.out.len() > 10, "{program:?} {}: {told:?}", command.name);
    }
}

#[test]
fn completions_name_every_command() {
    for program in PROGRAMS {
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let script = told(&call(program, &["completions", shell]));
            assert_eq!(script.status, 0, "{program:?} {shell}: {}", script.err);
            for command in helped(program) {
                assert!(script.out.contains(&command), "{program:?} {shell} lacks {command}");
            }
        }
    }
}

#[test]
fn of_a_command_that_takes_kinds_the_program_without_them_says_whose_it_is() {
    let dir = tempfile::tempdir().expect("there is room");
    for command in ["debug", "replay", "bisect"] {
        let told = told(&call(Program::Qnfsm, &[command, &dir.path().to_string_lossy()]));
        assert_eq!(told.status, 2, "{told:?}");
        for part in
            ["command of the program that wrote the journal", &format!("my-service {command} <dir>"), "cli::main"]
        {
            assert!(told.err.contains(part), "{part}: {told:?}");
        }
    }
    let told = told(&call(Program::Qnfsm, &["debugg", "x"]));
    assert!(told.status == 2 && !told.err.contains("my-service"), "{told:?}");
}

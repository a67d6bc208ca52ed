//! Whatever a command is told to show and its journal doesn't have, by name or by number, is an error that says what there is. A table over
//! all options that take a value: one that is in a command's `--help` and not here turns it red.

mod commands;
mod journals;

use std::collections::BTreeSet;

use commands::{Listed, Program, What, all, call, told};
use journals::{alone, copy, files};
use serde_json::Value;

/// What can be asked for that the arena's journal doesn't have, and what the error says then.
const ASKED: [(&str, &str, &str); 16] = [
    ("--node", "7", "there is no node 7: there is 0"),
    ("--worker", "77", "there are "),
    ("--kind", "wrold", "did you mean `world`? There are connection, lobby, world"),
    ("--queue", "w0/4000.1", "did you mean `w0/"),
    ("--variant", "Jion", "did you mean `Join`? There are "),
    ("--field", "palyer=1", "did you mean `player`? There are "),
    ("--from-round", "99999", "rounds 1 to "),
    ("--to-round", "0", "rounds 1 to "),
    ("--from-time", "2200-01-01T00:00:00Z", "the journal's are of 20"),
    ("--to-time", "2001-01-01T00:00:00Z", "the journal's are of 20"),
    ("--round", "99999", "there are those of w"),
    ("--from", "w0:99999", "the nearest are those of w"),
    ("--to", "w0:99999", "the journal holds rounds 1 to "),
    ("--invariant", "the wrold is sound", "the world is sound"),
    ("--end-at", "9:1", "give an earlier position"),
    ("--command", "find kind == wrold", "did you mean `world`?"),
];

/// What names nothing that is in a journal: how much is shown, and where else something lies.
const OTHERS: [&str; 11] = [
    "--index",
    "--chars",
    "--top",
    "--max",
    "--max-lanes",
    "--min",
    "--script",
    "--memory",
    "--history",
    "--with",
    "--help",
];

/// The options in a command's help that take a value.
fn options(program: Program, command: Listed) -> BTreeSet<String> {
    let help = told(&call(program, &[command.name, "--help"])).out;
    let options = help.lines().filter_map(|line| {
        let (_, option) = line.trim_start().split_once("--").filter(|(short, _)| short.len() <= 4)?;
        let (name, value) = option.split_once(' ')?;
        value.trim_start().starts_with('<').then(|| format!("--{name}"))
    });
    options.collect()
}

#[test]
fn what_a_journal_does_not_have_is_an_error_that_says_what_there_is() {
    let _alone = alone();
    let dir = copy("server", "asked");
    let before = files(dir.path());
    let mut tried = BTreeSet::new();
    for (program, command) in all() {
        for option in options(program, command) {
            let Some((_, value, says)) = ASKED.into_iter().find(|(asked, ..)| *asked == option) else {
                assert!(OTHERS.contains(&&*option), "{}: add {option} to `ASKED` or to `OTHERS`", command.name);
                continue;
            };
            tried.insert(option.clone());
            let of_itself = match command.what {
                What::Runs | What::Mends => Listed { arguments: &[], ..command },
                _ => command,
            };
            let found = of_itself.run(program, dir.path(), &[&option, value]);
            let what = format!("{program:?} {} {option} {value}: {found:?}", command.name);
            assert!(found.status == 2 && found.err.contains(says), "{what}");
            assert!(found.err.lines().count() == 1 && found.err.len() < 600, "{what}");
            // A dump has shown by then what it counted, and a trace rounds, to its end.
            let is_counted = |line: &str| [" records, ", " kinds, "].iter().any(|part| line.contains(part));
            let is_shown = |line: &&str| !line.starts_with("segment ") && !is_counted(line);
            let is_trace = command.name == "trace" && serde_json::from_str::<Value>(&found.out).is_ok();
            assert!(is_trace || found.out.lines().find(is_shown).is_none(), "{what}");
            if !matches!(command.name, "trace" | "debug") {
                let json = of_itself.run(program, dir.path(), &[&option, value, "--json"]);
                let last: Value = serde_json::from_str(json.out.lines().last().unwrap_or_default()).expect("an object");
                assert_eq!((json.status, &last["exit_status"]), (2, &2.into()), "{what}");
            }
        }
    }
    assert_eq!(tried, ASKED.iter().map(|(option, ..)| (*option).to_owned()).collect(), "no command has the others");
    assert_eq!(files(dir.path()), before, "nothing was changed");
}

#[test]
fn spans_that_end_before_they_begin_are_refused_and_those_that_reach_beyond_the_journal_are_not() {
    let _alone = alone();
    let dir = copy("server", "spans");
    let times = ["2200-01-01T00:00:00Z", "2001-01-01T00:00:00Z"];
    let has_spans = |(program, command): &(Program, Listed)| options(*program, *command).contains("--from-round");
    for (program, command) in all().filter(has_spans) {
        for span in [["--from-round", "10", "--to-round", "9"], ["--from-time", times[0], "--to-time", times[1]]] {
            let told = command.run(program, dir.path(), &span);
            assert!(told.status == 2 && told.out.is_empty(), "{program:?} {} {span:?}: {told:?}", command.name);
            assert!(told.err.contains("is behind the last one"), "{program:?} {} {span:?}: {told:?}", command.name);
        }
        if program == Program::Arena || !command.needs_kinds() {
            let wide = ["--from-round", "0", "--to-round", "99999", "--from-time", times[1], "--to-time", times[0]];
            let told = command.run(program, dir.path(), &wide);
            assert_eq!((told.status, told.err.as_str()), (0, ""), "{program:?} {}", command.name);
        }
    }
}

#[test]
fn of_what_is_there_and_did_not_happen_nothing_is_drawn_and_it_is_no_misuse() {
    let _alone = alone();
    let dir = copy("server", "nothing");
    // The world is on the other worker.
    let chosen = ["--kind", "world", "--worker", "0"];
    for (program, command) in all().filter(|(_, command)| command.needs_kinds()) {
        for arguments in [&chosen[..], &["--kind", "world", "--worker", "0", "--json"]] {
            let told = command.run(program, dir.path(), arguments);
            let what = format!("{program:?} {}: {told:?}", command.name);
            assert!(told.status == 35 && told.err.contains("no handler that was chosen "), "{what}");
            let Some(last) = told.out.lines().last() else { continue };
            let error: Value = serde_json::from_str(last).expect(&what);
            assert_eq!((&error["error"], told.out.lines().count()), (&"nothing_to_draw".into(), 1), "{what}");
        }
    }
}

/// Numbers of the right form that are larger than any that there can be, and times likewise.
const TOO_LARGE: [(&str, &str); 20] = [
    ("--node", "99999999999999999999"),
    ("--worker", "99999999999999999999"),
    ("--queue", "w0/99999999999999999999.1"),
    ("--from-round", "99999999999999999999"),
    ("--to-round", "99999999999999999999"),
    ("--from-time", "9999-01-01T00:00:00Z"),
    ("--to-time", "1900-01-01T00:00:00Z"),
    ("--round", "99999999999999999999"),
    ("--from", "w0:99999999999999999999"),
    ("--to", "99999999999999999999"),
    ("--end-at", "1:99999999999999999999"),
    ("--chars", "99999999999999999999"),
    ("--top", "99999999999999999999"),
    ("--max", "99999999999999999999"),
    ("--max-lanes", "99999999999999999999"),
    ("--min", "99999999999999999999"),
    ("--memory", "99999999999999999999"),
    ("--command", "goto w0:99999999999999999999"),
    ("--command", "break round == 99999999999999999999"),
    ("--command", "step 99999999999999999999"),
];

#[test]
fn of_a_number_that_is_too_large_it_is_said_that_it_is() {
    let _alone = alone();
    let dir = copy("server", "large");
    let mut tried = BTreeSet::new();
    for (program, command) in all() {
        let options = options(program, command);
        for (option, value) in TOO_LARGE.into_iter().filter(|(option, _)| options.contains(*option)) {
            tried.insert(option);
            let of_itself = Listed { arguments: &[], ..command };
            let told = of_itself.run(program, dir.path(), &[option, value]);
            let says = ["too large", "larger than any", "not in 0..=100", "no journal can be of"];
            let what = format!("{program:?} {} {option} {value}: {told:?}", command.name);
            assert!(told.status == 2 && told.out.is_empty() && says.iter().any(|it| told.err.contains(it)), "{what}");
            assert!(!["is no ", "names no ", "is expected"].iter().any(|it| told.err.contains(it)), "{what}");
        }
    }
    assert_eq!(tried, TOO_LARGE.iter().map(|(option, _)| *option).collect(), "no command has the others");
}

//! From a crash to its cause, by the commands alone, as docs/guide.md walks it: the arena with a rare bug crashes, the record is
//! replayed to the failure, and what broke the world long before is found.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]
#![allow(clippy::disallowed_methods, reason = "a test stands outside all nodes")]

use std::{
    path::Path,
    process::{Command, Output},
};

const INVARIANT: &str = "the world is sound";

fn arena(args: &[&str]) -> Output {
    // Whatever the environment asks of panics, those of a replay are told by the commands, and printed by nobody.
    let output = Command::new(env!("CARGO_BIN_EXE_arena")).args(args).env("RUST_BACKTRACE", "1").output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(args[0] == "demo" || !err.contains("panicked at"), "{args:?}: {err}");
    output
}

/// The status, and the object on the last line.
fn json(args: &[&str]) -> (Option<i32>, serde_json::Value) {
    let output = arena(args);
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap_or_else(|| panic!("{args:?} prints nothing: {:?}", output.stderr));
    (output.status.code(), serde_json::from_str(last).unwrap())
}

/// The directory of a server that has crashed. It takes a player on the ground whose connection is replaced, so servers are killed
/// until one has.
fn crashed(dir: &Path) -> String {
    for seed in 1..=10 {
        let dir = dir.join(seed.to_string());
        let seed = seed.to_string();
        let args = ["demo", "--seconds", "10", "--bots", "24", "--kills", "8", "--seed", &seed, "--dir"];
        let demo = arena(&[&args[..], &[dir.to_str().unwrap()]].concat());
        let server = dir.join("server").to_str().unwrap().to_owned();
        let (status, replayed) = json(&["replay", &server, "--json", "--quiet"]);
        assert_eq!(status, Some(0), "{replayed}");
        if replayed["ended_in"].as_array().is_some_and(|ended| !ended.is_empty()) {
            assert!(!demo.status.success(), "a demo whose server crashes fails");
            return server;
        }
    }
    panic!("80 kills, and no server has crashed");
}

/// What is typed to come to the step that `bisect` finds, as it prints it.
fn go_there(server: &str) -> Vec<String> {
    let text = String::from_utf8(arena(&["bisect", server, "--invariant", INVARIANT]).stdout).unwrap();
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("go there: ")).unwrap();
    let commands: Vec<_> = line.split(" --command '").skip(1).map(|it| it.trim_end_matches('\'').to_owned()).collect();
    assert!(!commands.is_empty(), "{text}");
    commands
}

#[test]
fn from_a_crash_to_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    let server = crashed(dir.path());

    // The failure: an assertion, in the world's tick.
    let (_, replayed) = json(&["replay", &server, "--json", "--quiet"]);
    let ended = &replayed["ended_in"][0];
    let what = ended["what"].as_str().unwrap();
    assert!(what.contains("kind world") && what.contains("score is -"), "{what}");
    assert!(what.contains(", at ") && what.contains("bounty.rs:"), "the place in the code is told: {what}");
    let (worker, failed_round) = (ended["worker"].as_u64().unwrap(), ended["round"].as_u64().unwrap());

    // The record is that of this program, so what it shows is what happened.
    let (status, diff) = json(&["diff", &server, "--json"]);
    assert_eq!((status, diff["equal"].as_bool()), (Some(0), Some(true)), "{diff}");

    // The cause: the step after which the score is negative, by halves and by going through everything.
    let (status, found) = json(&["bisect", &server, "--invariant", INVARIANT, "--json"]);
    assert_eq!(status, Some(32), "{found}");
    assert!(found["what"].as_str().unwrap().contains("a score of -"), "{found}");
    assert_eq!((found["worker"].as_u64(), found["kind"].as_str()), (Some(worker), Some("world")), "{found}");
    assert!(found["round"].as_u64().unwrap() <= failed_round, "{found}");
    let changed = found["what_changed"]["changed"].as_array().unwrap();
    // What the invariant speaks of is named first.
    let score = &changed[0];
    assert!(score["path"].as_str().unwrap().ends_with(".score"), "{found}");
    assert!(score["before"].as_i64().unwrap() >= 0 && score["after"].as_i64().unwrap() < 0, "{found}");
    let (status, first) = json(&["bisect", &server, "--json"]);
    assert_eq!((status, &first["ordinal"], &first["step"]), (Some(32), &found["ordinal"], &found["step"]));

    // What happened to that player before: his connection was replaced while he lay on the ground, and he paid, and still owed.
    let player: u32 = found["what"].as_str().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let go_there = go_there(&server);
    assert_eq!(go_there[0], format!("goto w{worker}:{}", found["round"]));
    let field = |field| format!("watch w1/0.1 data.world.players[\"PlayerId({player})\"].bounty.{field}");
    let debug = |commands: &[&str]| {
        let commands = commands.iter().flat_map(|command| ["--command", *command]);
        let output = arena(&["debug", &server].into_iter().chain(commands).collect::<Vec<_>>());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let failed = debug(&["find ended panicked"]);
    assert!(failed.contains("ended    panicked") && failed.contains("score is -"), "{failed}");
    assert!(failed.contains("bounty.rs:"), "{failed}");
    // A tick changes hundreds of fields: what is watched comes first.
    let from_there = |first: &[&str], then: &[&str]| {
        let there: Vec<_> = go_there.iter().map(String::as_str).collect();
        debug(&[first, &there, then].concat())
    };
    let watched = from_there(&[&field("score")], &[]);
    let shown = watched.rsplit("handle WorldMessage").next().unwrap();
    let of_score = shown.lines().find(|line| line.starts_with("  changed  ")).unwrap();
    assert!(of_score.contains("bounty.score:") && of_score.contains("→ -"), "{watched}");
    let paid = from_there(&[], &[&field("score"), "reverse"]);
    let paid = paid.rsplit("stopped at").next().unwrap();
    assert!(paid.contains("WorldMessage Join") && paid.contains("bounty.score:"), "{paid}");
    assert!(!paid.contains("bounty.due:"), "he paid, and that is not taken off what is due: {paid}");
    let fell = from_there(&[], &[&field("due"), "reverse"]);
    let fell = fell.rsplit("stopped at").next().unwrap();
    assert!(fell.contains("WorldMessage Tick") && fell.contains("bounty.due: 0 →"), "{fell}");

    // As text, for people.
    let text = arena(&["bisect", &server, "--invariant", INVARIANT]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("a score of -") && text.contains("kind world"), "{text}");
    let first = text.lines().find(|line| line.trim_start().starts_with("changed ")).unwrap();
    let player = format!("players[\"PlayerId({player})\"].bounty.score:");
    assert!(first.contains(&player) && first.contains("→ -"), "what the invariant names comes first: {text}");

    // An invariant that nobody wrote, and one that holds of the bots.
    let (status, error) = json(&["bisect", &server, "--invariant", "the world is sond", "--json"]);
    assert_eq!(status, Some(2), "{error}");
    assert!(error.to_string().contains(INVARIANT), "{error}");
}

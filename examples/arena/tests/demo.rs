//! The main job, run as a user runs it: real processes on real sockets, killed from outside.

use std::process::{Command, Output};

use serde_json::Value;

fn demo(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
    command.arg("demo").args(arguments).arg("--json");
    command.output().expect("the demo can be started")
}

/// The object in the demo's last line.
fn outcome(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("no JSON in the last line: {error}: {text}"))
}

/// The seed of the kills' moments: one of its own for each run, unless `ARENA_SEED` says which.
#[expect(clippy::disallowed_methods, reason = "a test is no FSM")]
fn seed() -> String {
    std::env::var("ARENA_SEED").unwrap_or_else(|_| std::process::id().to_string())
}

#[test]
fn ten_kills_at_random_moments_lose_nothing_and_each_directory_replays_equal() {
    let seed = seed();
    println!("again with: ARENA_SEED={seed} cargo test -p arena --test demo ten_kills");
    let output = demo(&["--kills", "10", "--seconds", "10", "--bots", "12", "--replay-each", "--seed", &seed]);
    let found = outcome(&output);
    assert!(output.status.success(), "seed {seed}: {found}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((&found["kills"], &found["reconnected"]), (&10.into(), &12.into()), "seed {seed}");
    assert_eq!((&found["lost"], &found["doubled"], &found["invented"]), (&0.into(), &0.into(), &0.into()));
    assert_eq!(found["nodes"][0]["epoch"], 11, "one epoch for each start");
    assert!(found["nodes"].as_array().is_some_and(|nodes| nodes.len() == 2), "{found}");
}

#[test]
fn server_and_bots_killed_together_find_one_another_again() {
    let seed = seed();
    println!("again with: ARENA_SEED={seed} cargo test -p arena --test demo server_and_bots");
    let output = demo(&["--kills", "3", "--kill-bots", "--seconds", "4", "--bots", "8", "--seed", &seed]);
    let found = outcome(&output);
    assert!(output.status.success(), "seed {seed}: {found}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(found["nodes"][1]["epoch"], 4, "the bots were started again each time: {found}");
}

fn planted(plant: &str) -> Value {
    let output = demo(&["--seconds", "4", "--bots", "8", "--seed", "3", "--plant", plant]);
    let found = outcome(&output);
    assert!(!output.status.success(), "the demo passed with the planted fault: {found}");
    assert_eq!(found["verified"], false);
    found
}

#[test]
fn writes_that_a_kill_takes_with_it_turn_the_demo_red() {
    let found = planted("lose");
    assert!(found["lost"].as_u64() > Some(0), "{found}");
}

#[test]
fn a_command_that_is_applied_twice_turns_the_demo_red() {
    let found = planted("double");
    assert!(found["doubled"].as_u64() > Some(0), "{found}");
}

#[test]
fn a_world_that_depends_on_more_than_its_inputs_turns_the_demo_red() {
    let found = planted("diverge");
    let names =
        found["nodes"].as_array().map(|nodes| nodes.iter().map(|node| node["name"].clone()).collect::<Vec<_>>());
    assert_eq!(names, Some(vec!["bots".into()]), "the server's replay must differ, and the bots' be equal: {found}");
}

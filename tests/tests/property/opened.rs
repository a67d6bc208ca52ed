//! What a property test saves is opened by the commands of the program whose FSM it is about, and what the failure prints can be typed.

use std::{
    path::Path,
    process::{Command, Output},
};

use proptest::prelude::*;
use qnfsm::{
    Kinds,
    testing::property::{Broken, Property},
};
use qnfsm_tests::shop::{self, NO_DEBT, Sale, Till};

use crate::broken;

fn till(kinds: Kinds) -> Property<Till> {
    let sales = prop_oneof![any::<u8>().prop_map(Sale::Paid), any::<u8>().prop_map(Sale::Returned)];
    Property::new(kinds, Till::default()).messages(sales).invariants(shop::invariants())
}

fn shop(command: &str, journal: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shop")).arg(command).arg(journal).args(more).output().unwrap()
}

#[track_caller]
fn check_opened(broken: &Broken) {
    let journal = broken.journal.as_ref().unwrap();
    let said = |output: &Output| String::from_utf8_lossy(&[&*output.stdout, &output.stderr].concat()).into_owned();

    let replayed = shop("replay", journal, &["--quiet"]);
    assert_eq!(replayed.status.code(), Some(0), "{}", said(&replayed));
    let bisected = shop("bisect", journal, &["--invariant", NO_DEBT]);
    assert_eq!(bisected.status.code(), Some(32), "{}", said(&bisected));
    assert!(said(&bisected).contains("it owes 1"), "{}", said(&bisected));
    let debugged = shop("debug", journal, &["--command", "find message is Returned", "--command", "show"]);
    assert_eq!(debugged.status.code(), Some(0), "{}", said(&debugged));
    assert!(said(&debugged).contains("cents: 0 → -1"), "{}", said(&debugged));
    for command in ["states", "cover", "seq", "diff"] {
        let drawn = shop(command, journal, &[]);
        assert_eq!(drawn.status.code(), Some(0), "{command}: {}", said(&drawn));
    }
}

#[test]
fn the_program_s_own_commands_open_what_its_test_saved() {
    let dir = tempfile::tempdir().unwrap();
    check_opened(&broken(till(shop::kinds()), dir.path()));
}

#[test]
fn they_do_where_the_test_has_another_name_and_only_some_of_the_program_s_kinds() {
    let dir = tempfile::tempdir().unwrap();
    check_opened(&broken(till(Kinds::new().with::<Till>()).named("tills"), dir.path()));
}

#[test]
fn the_failure_prints_the_commands_that_open_it_and_the_one_that_runs_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let found = broken(till(shop::kinds()).named("a till"), dir.path());
    let (text, journal) = (found.to_string(), found.journal.as_ref().unwrap().display().to_string());
    for command in ["cargo run -p qnfsm-tests -- debug", "qnfsm dump"] {
        assert!(text.contains(&format!("{command} {journal}\n")), "{text}");
    }
    // By the test's name and not by the property's, of which cargo knows nothing.
    let test = "opened::the_failure_prints_the_commands_that_open_it_and_the_one_that_runs_it_again";
    assert!(found.command.ends_with(&format!("cargo test -p qnfsm-tests {test}")), "{}", found.command);
}

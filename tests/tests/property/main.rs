//! The property kit finds faults that were planted, shrinks each to its minimum, tells of it, keeps it and tries it first the next
//! time, and saves it as a journal that replays and is read like any other.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod claims;
mod opened;
mod planted;

use std::path::Path;

use planted::{
    Turnstile, door, forgetful, forgetful_kinds, scattered, scattered_kinds, till, till_kinds, turnstile,
    turnstile_invariants, turnstile_kinds,
};
use qnfsm::{
    Fsm, Kinds,
    testing::property::{Broken, Claim, Property, PropertyError},
};
use qnfsm_replay::{Options, ReplayError, Report, Session, dump, replay};

/// What a property finds, with all its files in that directory.
#[track_caller]
fn broken<F: Fsm>(property: Property<F>, dir: &Path) -> Broken {
    match property.failures_in(dir).kept_in(dir.join("tests.kept")).check() {
        Err(PropertyError::Broken(broken)) => *broken,
        other => panic!("the planted fault was not found: {other:?}"),
    }
}

/// The same once more: what was kept is tried before anything new is drawn.
#[track_caller]
fn broken_again<F: Fsm>(property: Property<F>, dir: &Path) -> Broken {
    let again = broken(property, dir);
    assert!(again.was_kept);
    again
}

#[track_caller]
fn replayed(broken: &Broken, kinds: Kinds) -> Result<Report, ReplayError> {
    replay(broken.journal.as_ref().unwrap(), kinds, &Options::new())
}

/// What `qnfsm dump` says of the journal.
fn dumped(broken: &Broken) -> String {
    let mut lines = String::new();
    let take = |line: &dump::Line<'_>| {
        lines += &format!("{line}\n");
        Ok(())
    };
    dump::dump(broken.journal.as_ref().unwrap(), &dump::Options::new(), take, |_, _| {}).unwrap();
    lines
}

#[test]
fn a_transition_that_breaks_an_invariant_is_shrunk_to_the_two_inputs_that_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let found = broken(turnstile(), dir.path());
    assert_eq!(found.claim, Claim::Invariant("no coin is given back".to_owned()));
    assert_eq!(found.inputs, ["Coin", "5s pass"]);
    assert!(found.what.ends_with("of w0/0.1 of kind turnstile: 1 coins became 0"), "{}", found.what);
    let told = found.course.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let expected = [
        "start → Locked",
        "1. Coin Locked → Unlocked; coins: 0 → 1",
        "2. 5s pass",
        "turnstile w0/0.1: Expired Unlocked → Locked; coins: 1 → 0",
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);

    // The journal replays equal, up to its end, because the fault is the same each time.
    let report = replayed(&found, turnstile_kinds()).unwrap();
    assert_eq!((report.rounds_unproved, report.messages), (0, 3));
    let dumped = dumped(&found);
    assert!(dumped.contains("Expired") && dumped.contains("turnstile"), "{dumped}");

    let again = broken_again(turnstile(), dir.path());
    assert_eq!((again.inputs, again.seed), (found.inputs, found.seed));
}

#[test]
fn the_same_invariant_finds_the_same_in_the_saved_journal() {
    let dir = tempfile::tempdir().unwrap();
    let found = broken(turnstile(), dir.path());
    let journal = found.journal.as_ref().unwrap();
    let mut session = Session::open(journal, turnstile_kinds(), &Options::new()).unwrap();
    let looked =
        [session.check(turnstile_invariants()), session.bisect(turnstile_invariants(), "no coin is given back")];
    for broken in looked {
        let violation = broken.unwrap().unwrap().violation;
        assert_eq!(violation.to_string(), found.what);
        assert_eq!(violation.fsm.unwrap().1, Turnstile::NAME);
    }
}

#[test]
fn data_that_a_restore_loses_takes_two_messages_and_the_twin_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let found = broken(forgetful(), dir.path());
    assert_eq!(found.claim, Claim::IsDeterministic);
    assert_eq!(found.inputs, ["Tick", "Tick"]);
    assert!(
        found.what.contains("handled by w0/0.1 of kind forgetful: the FSM's data after it differs"),
        "{}",
        found.what
    );

    // Whoever runs it from the beginning restores nothing, so the replay is equal: it is the twin that tells.
    assert_eq!(replayed(&found, forgetful_kinds()).unwrap().messages, 3);
    assert!(dumped(&found).contains("Tick"));

    assert_eq!(broken_again(forgetful(), dir.path()).inputs, found.inputs);
}

#[test]
fn what_outlives_a_run_is_found_by_a_worker_that_is_given_the_same_from_the_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let found = broken(door(), dir.path());
    assert_eq!((found.claim, found.inputs.len()), (Claim::IsDeterministic, 2));
    assert!(found.inputs.contains(&"Open".to_owned()) && found.inputs.contains(&"Close".to_owned()));
    assert!(found.what.contains("was given the same inputs from the beginning did something else"), "{}", found.what);
    assert!(found.what.ends_with("handled by w0/0.1 of kind door: the FSM's data after it differs"), "{}", found.what);
}

#[test]
fn a_hash_map_s_order_takes_two_entries_and_replays_diverge() {
    let dir = tempfile::tempdir().unwrap();
    let found = broken(scattered(), dir.path());
    assert_eq!(found.claim, Claim::IsDeterministic);
    let mut inputs = found.inputs.clone();
    inputs.sort();
    assert_eq!(inputs, ["At(0)", "At(1)"]);

    // Two entries lie in the recorded order every other time.
    let diverged = (0..64).find_map(|_| replayed(&found, scattered_kinds()).err()).unwrap();
    assert!(matches!(diverged, ReplayError::Diverged(_)), "{diverged}");
    assert!(dumped(&found).contains("At(1)"));

    assert_eq!(broken_again(scattered(), dir.path()).claim, found.claim);
}

#[test]
fn a_message_that_does_not_survive_the_codec_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let found = broken(till(), dir.path());
    assert_eq!(found.claim, Claim::SurvivesTheCodec);
    assert_eq!(found.what, "Cents(256) comes back from the codec as Cents(0)");
    assert_eq!(found.inputs.len(), 1);

    // What has come in is what was left of it, and that replays.
    assert_eq!(replayed(&found, till_kinds()).unwrap().messages, 2);
    assert!(dumped(&found).contains("Cents(0)"));

    // The bytes that were kept don't tell what was lost before them; the seed that is kept with them does.
    let again = broken_again(till(), dir.path());
    assert_eq!((again.what, again.seed), (found.what, found.seed));
}

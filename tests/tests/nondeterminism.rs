//! An FSM that depends on something outside its data is found by a replay in a second process, however it got there:
//! with everything recorded the FSM and the delivery are named, with inputs alone the round.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use qnfsm::{
    Codec, Deliveries, Trust,
    frame::Class,
    journal::{Reader, RealFiles, Record},
};
use qnfsm_replay::{
    Options, Session,
    session::{FoundBy, Hint, PartOf},
};
use qnfsm_tests::cogs::{FAULTS, Fault, PLANTED, Reaches, TurnCog, kinds};

fn cogs(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cogs")).args(args).output().unwrap()
}

/// Records in one process, replays in another; gives the replay's status and JSON object.
fn record_and_replay(dir: &Path, plant: &str, recording: &str) -> (Option<i32>, serde_json::Value) {
    let dir = dir.to_str().unwrap();
    let record = cogs(&["record", dir, plant, recording]);
    assert!(record.status.success(), "{record:?}");
    let replay = cogs(&["replay", dir, "--json", "--quiet"]);
    let json = String::from_utf8(replay.stdout).unwrap();
    (replay.status.code(), serde_json::from_str(json.lines().last().unwrap()).unwrap())
}

/// The round, and with everything recorded the text of the delivery, in which the planted cog turns for the time at
/// which the fault shows.
fn planted_place(dir: &Path) -> (u64, Option<String>) {
    let catalogue = kinds().seal().unwrap();
    let cog = catalogue.table().kinds.iter().position(|kind| kind.name == "cog").unwrap();
    let type_number = catalogue.type_number::<TurnCog>().unwrap();
    // The shaft is in slot 0, the dial in slot 1, and the cogs follow.
    let slot = u32::try_from(PLANTED.0 + 2).unwrap();
    let neighbours = [PLANTED.0 - 1, PLANTED.0, PLANTED.0 + 1];
    let mut turns = 0;
    let mut in_round = None;
    let mut reader = Reader::open(Arc::new(RealFiles), dir).unwrap();
    while let Some(entry) = reader.next().unwrap() {
        match entry.record {
            Record::Round { round, batches, .. } if in_round.is_none() => {
                for frame in batches.flat_map(|batch| batch.frames().map(Result::unwrap)) {
                    if (frame.header.class, frame.header.type_number) == (Class::Message, type_number) {
                        let turn: TurnCog = Codec::CURRENT.decode(frame.payload, Trust::Node).unwrap();
                        turns += u64::from(neighbours.contains(&turn.cog));
                    }
                }
                in_round = (turns >= PLANTED.1).then_some(round);
            }
            Record::Deliveries { round, entries, .. } if in_round == Some(round) => {
                let mut deliveries = Deliveries::new(entries).map(Result::unwrap).enumerate();
                let found = deliveries.find(|(_, delivery)| delivery.queue.slot() == slot).unwrap();
                let (at, delivery) = (found.0 + 1, found.1);
                assert_eq!(usize::try_from(delivery.kind).unwrap(), cog);
                return (round, Some(format!("delivery {at} of the round: kind cog ({})", delivery.queue)));
            }
            _ => {}
        }
    }
    (in_round.expect("the planted cog turns often enough"), None)
}

#[test]
fn without_a_fault_the_replay_in_another_process_is_equal() {
    for recording in ["inputs", "everything"] {
        let dir = tempfile::tempdir().unwrap();
        let (status, json) = record_and_replay(dir.path(), "none", recording);
        assert_eq!((status, json["equal"].as_bool()), (Some(0), Some(true)), "{json}");
        assert_eq!(json["rounds_unproved"].as_u64(), Some(0), "{json}");
    }
}

fn each_fault_is_caught(recording: &str) {
    for fault in FAULTS {
        for reaches in [Reaches::Message, Reaches::State] {
            let dir = tempfile::tempdir().unwrap();
            let plant = format!("{:?}", (fault, reaches));
            let (status, json) = record_and_replay(dir.path(), &plant, recording);
            assert_eq!(status, Some(30), "{plant}: {json}");
            let (round, delivery) = planted_place(dir.path());
            assert_eq!(json["round"].as_u64(), Some(round), "{plant}: {json}");
            assert_eq!(delivery.is_some(), recording == "everything");
            let named = json["delivery"].as_str();
            assert_eq!(named.is_some(), delivery.is_some(), "{plant}: {json}");
            if let (Some(named), Some(delivery)) = (named, delivery) {
                assert!(named.starts_with(&delivery), "{plant}: {named} is not {delivery}");
            }
        }
    }
}

#[test]
fn with_everything_recorded_each_fault_is_named_by_fsm_and_delivery() {
    each_fault_is_caught("everything");
}

#[test]
fn with_inputs_recorded_each_fault_is_named_by_round() {
    each_fault_is_caught("inputs");
}

/// What each fault looks like from outside.
fn looks_like(fault: Fault) -> Hint {
    match fault {
        Fault::Clock => Hint::Clock,
        Fault::Counter => Hint::Counter,
        Fault::Address => Hint::Address,
        // What comes of a map's order is a number like any other.
        Fault::MapOrder | Fault::Random => Hint::Random,
    }
}

fn each_fault_is_explained(recording: &str) {
    for fault in FAULTS {
        for reaches in [Reaches::Message, Reaches::State] {
            let dir = tempfile::tempdir().unwrap();
            let plant = format!("{:?}", (fault, reaches));
            let record = cogs(&["record", dir.path().to_str().unwrap(), &plant, recording]);
            assert!(record.status.success(), "{record:?}");
            let mut session = Session::open(dir.path(), kinds(), &Options::new()).unwrap();
            let difference = session.difference().unwrap().unwrap_or_else(|| panic!("{plant}: nothing differs"));
            let parted = difference.step.as_ref().unwrap_or_else(|| panic!("{plant}: {difference:?}"));
            let table = session.catalogue().table();

            // The FSM, and what it handled: the third turn of the planted cog.
            let kind = &table.kinds[parted.step.kind as usize];
            assert_eq!(
                (kind.name.as_str(), parted.step.queue.slot()),
                ("cog", u32::try_from(PLANTED.0).unwrap() + 2),
                "{plant}"
            );
            let before = kind.value.printer().text(&parted.step.before.data, 1000);
            assert!(before.contains(&format!("turns: {}", PLANTED.1 - 1)), "{plant}: {before}");
            let message = parted.step.message.as_ref().unwrap();
            assert!(table.messages[message.type_number as usize].name.ends_with("Turn"), "{plant}");
            assert_eq!(session.step(), Some(&parted.step), "the session stands there");

            // What of it differs: the state, or the mark that it sent.
            let of = |of: &PartOf| match reaches {
                Reaches::State => *of == PartOf::State,
                Reaches::Message => matches!(of, PartOf::Asked(0)),
                Reaches::Data => *of == PartOf::Data,
            };
            let part = parted.parts.iter().find(|part| of(&part.of));
            let expected = match (recording, reaches) {
                ("everything", _) => FoundBy::Deliveries,
                _ => FoundBy::Repetition,
            };
            assert_eq!(difference.found_by, expected, "{plant}");
            // An address may come again.
            if let Some(part) = part {
                assert!(part.found.is_some(), "{plant}: {part:?}");
                assert!(difference.hints.contains(&looks_like(fault)), "{plant}: {:?} of {part:?}", difference.hints);
            } else {
                assert_eq!(fault, Fault::Address, "{plant}: {:?}", parted.parts);
            }
        }
    }
}

#[test]
fn with_everything_recorded_each_fault_is_explained_by_message_fields_and_cause() {
    each_fault_is_explained("everything");
}

#[test]
fn with_inputs_recorded_each_fault_is_explained_by_two_runs() {
    each_fault_is_explained("inputs");
}

/// Data that depend on something outside, and of which nobody is told for six turns: the step in which they came to be so is named, and
/// not the one in which it shows.
fn each_fault_is_found_where_it_begins(recording: &str, stations_apart: Duration) {
    for fault in FAULTS {
        let dir = tempfile::tempdir().unwrap();
        let plant = format!("{:?}", (fault, Reaches::Data));
        let record = cogs(&["record", dir.path().to_str().unwrap(), &plant, recording]);
        assert!(record.status.success(), "{record:?}");
        let options = Options::new().stations_apart(stations_apart);
        let mut session = Session::open(dir.path(), kinds(), &options).unwrap();
        let difference = session.difference().unwrap().unwrap_or_else(|| panic!("{plant}: nothing differs"));
        if fault == Fault::Address && difference.found_by != FoundBy::Repetition && recording == "inputs" {
            // An address may come again. What differs then is told as far as it is known, and that it may not be all.
            assert!(difference.may_have_begun_before, "{difference:?}");
            continue;
        }
        let (begins, _) = planted_place(dir.path());
        let parted = difference.step.as_ref().unwrap_or_else(|| panic!("{plant}: {difference:?}"));
        let kind = &session.catalogue().table().kinds[parted.step.kind as usize];
        let before = kind.value.printer().text(&parted.step.before.data, 1000);
        let is_planted = kind.name == "cog" && before.contains(&format!("turns: {}", PLANTED.1 - 1));
        assert!(is_planted && parted.round == begins, "{plant}: round {} of {begins}, {before}", parted.round);
        assert_eq!((difference.agreed, difference.may_have_begun_before), (Some(begins - 1), false), "{plant}");
        let shows_at = difference.diverged.divergence.round;
        let (found_by, shows_later) = match recording {
            "everything" => (FoundBy::Deliveries, false),
            _ => (FoundBy::Repetition, true),
        };
        assert_eq!((difference.found_by, shows_at > begins), (found_by, shows_later), "{plant}: {shows_at}");
        let spot = session.spot().unwrap();
        assert_eq!((spot.round, spot.step), (begins, parted.number), "{plant}: the session stands there");
        let part = parted.parts.iter().find(|part| part.of == PartOf::Data && part.path.to_string() == "kept");
        match (part, fault) {
            (Some(_), _) => assert!(difference.hints.contains(&looks_like(fault)), "{plant}: {:?}", difference.hints),
            (None, Fault::Address) => {}
            (None, _) => panic!("{plant}: {:?}", parted.parts),
        }
    }
}

#[test]
fn with_inputs_recorded_data_that_differ_are_found_before_they_show() {
    // With one station, at the start, and with many.
    for stations_apart in [Duration::from_secs(3600), Duration::ZERO] {
        each_fault_is_found_where_it_begins("inputs", stations_apart);
    }
}

#[test]
fn with_everything_recorded_data_that_differ_are_found_at_once() {
    each_fault_is_found_where_it_begins("everything", Duration::ZERO);
}

#[test]
fn the_command_says_what_the_library_says() {
    for (recording, known_by) in [("inputs", "played twice"), ("everything", "each delivery was recorded")] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let record = cogs(&["record", path, &format!("{:?}", (Fault::Clock, Reaches::State)), recording]);
        assert!(record.status.success(), "{record:?}");
        let diff = cogs(&["diff", path, "--json"]);
        let json: serde_json::Value = serde_json::from_slice(&diff.stdout).unwrap();
        assert_eq!((diff.status.code(), json["exit_status"].as_i64()), (Some(30), Some(30)), "{json}");
        let (round, _) = planted_place(dir.path());
        assert_eq!((json["round"].as_u64(), json["agreed_round"].as_u64()), (Some(round), Some(round - 1)), "{json}");
        assert_eq!(
            (json["kind"].as_str(), json["parts"][0]["of"].as_str()),
            (Some("cog"), Some("the state after it")),
            "{json}"
        );
        assert!(json["known_by"].as_str().unwrap().contains(known_by), "{json}");
        assert!(json["hints"][0].as_str().unwrap().contains("a clock was read"), "{json}");
        let replay = String::from_utf8(cogs(&["replay", path, "--quiet"]).stderr).unwrap();
        assert!(replay.contains(&format!("look closer: {} diff {path}", env!("CARGO_BIN_EXE_cogs"))), "{replay}");
        let text = String::from_utf8(cogs(&["diff", path]).stdout).unwrap();
        assert!(text.contains("a clock was read") && text.contains("once more"), "{text}");
        assert!(text.contains("            ended    changed\n"), "the step as the debugger shows it: {text}");
        // The command that goes to that step shows the same one.
        let (_, step) = text.split_once("  step:     ").unwrap_or_else(|| panic!("{text}"));
        let (step, _) = step.split_once(" from ").unwrap();
        assert!(step.contains(" cog: handle Turn "), "{text}");
        let (_, command) = text.split_once("  go there: ").unwrap_or_else(|| panic!("{text}"));
        let shown = Command::new("sh").args(["-c", command]).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        let last = shown.rsplit("; ordinal ").next().unwrap();
        // What depends on a clock is another value each time, of the same message.
        let of_whom = step.split('(').next().unwrap();
        assert!(last.contains(of_whom), "{of_whom:?} is not in {shown}");
    }
    // What shows late is told where it begins, and where it shows.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    assert!(cogs(&["record", path, &format!("{:?}", (Fault::Clock, Reaches::Data)), "inputs"]).status.success());
    let (begins, _) = planted_place(dir.path());
    let json: serde_json::Value = serde_json::from_slice(&cogs(&["diff", path, "--json"]).stdout).unwrap();
    assert_eq!(
        (json["step_round"].as_u64(), json["agreed_round"].as_u64()),
        (Some(begins), Some(begins - 1)),
        "{json}"
    );
    assert!(json["round"].as_u64() > Some(begins) && json["may_have_begun_before"] == false, "{json}");
    let text = String::from_utf8(cogs(&["diff", path]).stdout).unwrap();
    assert!(text.contains(&format!("\n  began:    in its round {begins} (round ")), "{text}");
    assert!(text.contains(&format!(" --command 'goto w0:{begins}'")), "{text}");

    // Of what a handler asked for it says what that was.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let plant = format!("{:?}", (Fault::Clock, Reaches::Message));
    assert!(cogs(&["record", path, &plant, "inputs"]).status.success());
    let text = String::from_utf8(cogs(&["diff", path]).stdout).unwrap();
    assert!(text.contains("differs:  what it asked for, 1: send Mark Mark("), "{text}");
    let json: serde_json::Value = serde_json::from_slice(&cogs(&["diff", path, "--json"]).stdout).unwrap();
    assert_eq!(json["parts"][0]["of"].as_str(), Some("what it asked for, 1"), "{json}");
    assert!(json["parts"][0]["asked"].as_str().unwrap().contains(" to w0/1."), "{json}");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    assert!(cogs(&["record", path, "none", "inputs"]).status.success());
    let diff = cogs(&["diff", path, "--json"]);
    assert_eq!(diff.status.code(), Some(0), "{diff:?}");
    // The program names no invariants, so there is none that could be broken.
    let bisect = cogs(&["bisect", path, "--json"]);
    assert_eq!(bisect.status.code(), Some(2), "{bisect:?}");
}

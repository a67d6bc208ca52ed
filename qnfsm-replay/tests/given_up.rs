//! Journals whose beginning was given up, held against others: what can't be compared is counted, and where nothing can, that is said and
//! nothing goes on.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{ops::RangeInclusive, path::Path, process::Command};

use qnfsm::{Catalogue, Context, Fsm, Kinds, Next};
use qnfsm_replay::{
    Options,
    compare::{Compared, Incomparable, compare},
};
use rig::written::{
    Asks,
    Said::{self, Starts, Takes},
    from_edge, from_worker, write_cut,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Serialize, Deserialize)]
struct Sum;

#[derive(Serialize, Deserialize)]
enum Number {
    Plus(u64),
}

impl Fsm for Sum {
    const NAME: &'static str = "sum";
    type State = ();
    type Message = Number;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), _: Number, _: &mut Context<'_, Self>) -> Next<Self> {
        Next::Stay
    }
}

fn catalogue() -> std::sync::Arc<Catalogue> {
    Kinds::new().with::<Sum>().seal().unwrap()
}

const FIRST: Said = Starts(0, Asks::Nobody);

/// That worker takes these frames of the host.
fn takes(worker: u32, numbers: RangeInclusive<u64>) -> Vec<Said> {
    numbers.map(|number| Takes(worker, from_edge(0, number))).collect()
}

/// A journal in segments of a record each, of which the first ones are given up.
fn cut(node: (&str, u128), all: &[Said], given_up: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write_cut::<Number>(dir.path(), &catalogue(), node, all, given_up);
    dir
}

/// The first worker's start, and so many rounds of it.
fn begun(rounds: u64) -> Vec<Said> {
    [vec![FIRST], takes(0, 1..=rounds)].concat()
}

const NODE: (&str, u128) = ("written", 1);
const ANOTHER: (&str, u128) = ("written", 2);

/// So many bytes that only some rounds are kept.
const LITTLE: usize = 6000;

fn compared(one: &TempDir, other: &TempDir) -> Compared {
    let with = |memory: usize| compare(one.path(), other.path(), None, &Options::new().memory(memory)).unwrap();
    let compared = with(1 << 20);
    // In little memory the verdict is the same.
    let text = |it: &Compared| format!("{:?} {:?} {:?} {}", it.more, it.not_compared, it.incomparable, it.same);
    assert_eq!(text(&with(LITTLE)), text(&compared));
    assert!(compared.parted.is_none(), "{compared:?}");
    compared
}

/// What the program `qnfsm` says of two directories: its status, its text and its JSON object.
fn diff(one: &TempDir, other: &TempDir) -> (Option<i32>, String, serde_json::Value) {
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qnfsm"));
        let dirs: [&Path; 2] = [one.path(), other.path()];
        let output = command.arg("diff").args(dirs).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let ((status, text), (again, json)) = (run(&[]), run(&["--json"]));
    assert_eq!(status, again, "{text}\n{json}");
    (status, text, serde_json::from_str(json.trim()).unwrap())
}

#[test]
fn a_copy_of_which_the_node_has_given_up_all_is_not_said_to_be_the_same() {
    let (now, old) = (cut(NODE, &begun(60), 50), cut(NODE, &begun(20), 0));
    let found = compared(&now, &old);
    assert_eq!((found.same, found.more, found.not_compared), (0, [0, 0], [11, 20]), "{found:?}");
    let behind = Incomparable::Behind { later: 0, begins_with: 51, other_ends_in: 21 };
    assert_eq!(found.incomparable, Some(behind));
    let turned = compared(&old, &now);
    assert_eq!((turned.more, turned.not_compared), ([0, 0], [20, 11]), "{turned:?}");
    assert!(matches!(turned.incomparable, Some(Incomparable::Behind { later: 1, .. })), "{turned:?}");

    let (status, text, json) = diff(&now, &old);
    assert_eq!((status, &json["exit_status"], &json["equal"]), (Some(36), &36.into(), &false.into()), "{json}");
    assert_eq!((&json["not_compared_in_first"], &json["not_compared_in_other"]), (&11.into(), &20.into()), "{json}");
    assert_eq!((&json["more_in_first"], &json["more_in_other"], &json["same"]), (&0.into(), &0.into(), &0.into()));
    let why = "they are of one node, and the first one has given up all that the other one has: it begins with segment 51, and the other one \
               ends in segment 21";
    assert_eq!(json["incomparable"], why);
    let rest = "  not compared: 11 rounds of the first one\n  not compared: 20 rounds of the other one\n";
    assert_eq!(text, format!("nothing could be compared: {why}\n{rest}"));
}

#[test]
fn of_two_runs_of_which_one_is_cut_nothing_is_said_to_be_the_same() {
    let (whole, late) = (cut(NODE, &begun(20), 0), cut(ANOTHER, &begun(60), 50));
    for (dirs, given_up, not_compared) in
        [([&whole, &late], [false, true], [20, 11]), ([&late, &whole], [true, false], [11, 20])]
    {
        let found = compared(dirs[0], dirs[1]);
        assert!(found.times_ignored && found.closeness().is_none(), "{found:?}");
        assert_eq!((found.more, found.not_compared), ([0, 0], not_compared), "{found:?}");
        assert_eq!(found.incomparable, Some(Incomparable::Nothing { is_same_node: false, given_up }));
    }
    let (status, text, _) = diff(&whole, &late);
    assert_eq!(status, Some(36), "{text}");
    assert!(
        text.starts_with("nothing could be compared: they are of two nodes, and the beginning of the other"),
        "{text}"
    );
    assert!(!text.contains("goes on") && !text.contains("compared: what entered"), "{text}");
}

#[test]
fn of_two_programs_that_is_said() {
    let (one, other) = (cut(NODE, &begun(20), 0), cut(("ledger", 2), &begun(60), 50));
    let found = compared(&one, &other).incomparable;
    assert_eq!(found, Some(Incomparable::Programs(["written".to_owned(), "ledger".to_owned()])));
    let (status, text, _) = diff(&one, &other);
    assert!(status == Some(36) && text.contains("they are of two programs, `written` and `ledger`"), "{text}");
}

#[test]
fn whole_journals_that_share_no_source_have_nothing_in_common_either() {
    let of = |node, from| cut(node, &[vec![FIRST], vec![Takes(0, from_worker(from, 1))]].concat(), 0);
    let found = compared(&of(NODE, 3), &of(ANOTHER, 4));
    let nothing = Incomparable::Nothing { is_same_node: false, given_up: [false, false] };
    assert_eq!((found.incomparable, found.not_compared), (Some(nothing), [1, 1]));
}

#[test]
fn a_journal_that_holds_nothing_yet_is_the_beginning_of_any_that_is_whole() {
    let (empty, begun, late) = (cut(NODE, &begun(0), 0), cut(NODE, &begun(5), 0), cut(NODE, &begun(60), 50));
    let found = compared(&empty, &begun);
    assert_eq!((&found.incomparable, found.more, found.not_compared), (&None, [0, 5], [0, 0]), "{found:?}");
    assert_eq!(diff(&empty, &begun).0, Some(34));
    assert_eq!(diff(&empty, &empty).0, Some(0));
    assert_eq!(diff(&empty, &late).0, Some(36), "what it would begin is gone");
}

#[test]
fn what_the_other_has_given_up_is_counted_where_the_rest_is_compared() {
    let (old, now) = (cut(NODE, &begun(20), 0), cut(NODE, &begun(60), 10));
    let found = compared(&old, &now);
    assert_eq!((found.same, found.more, found.not_compared), (11, [0, 40], [9, 0]), "{found:?}");
    assert_eq!(found.incomparable, None);
    let (status, text, json) = diff(&old, &now);
    assert_eq!((status, &json["not_compared_in_first"]), (Some(34), &9.into()), "{json}");
    assert!(json.get("incomparable").is_none(), "{json}");
    assert!(text.contains("nothing differs in 11 rounds\n"), "{text}");
    assert!(
        text.contains("  not compared: 9 rounds of the first one: the other one has given up its beginning\n"),
        "{text}"
    );
    assert!(text.contains("  the other one goes on, with 40 rounds more\n"), "{text}");
    // Of two runs likewise.
    let found = compared(&cut(ANOTHER, &begun(20), 0), &now);
    assert_eq!((found.same, found.more, found.not_compared), (11, [0, 40], [9, 0]), "{found:?}");
}

#[test]
fn of_copies_a_worker_counts_as_given_up_by_where_it_stands() {
    let early = [begun(1), vec![Starts(1, Asks::Host)], takes(1, 1..=5), takes(0, 2..=20)].concat();
    let late = [&early[..], &[Starts(2, Asks::Host)], &takes(2, 1..=7)].concat();
    // The node has given up the second worker, and has one more that the copy, cut too, has yet to come to.
    let found = compared(&cut(NODE, &early, 1), &cut(NODE, &late, 10));
    assert_eq!((found.same, found.more, found.not_compared), (17, [0, 7], [8, 0]), "{found:?}");
}

#[test]
fn what_is_looked_at_in_another_pass_is_counted_once() {
    // Each comes late to what the other has early, so one of the workers is put off: whichever it is, what was given up is counted once.
    let begin = vec![FIRST, Starts(1, Asks::Nobody)];
    let early = [begin.clone(), takes(0, 1..=100), takes(1, 1..=100)].concat();
    let late = [begin, takes(0, 1..=30), takes(1, 1..=100), takes(0, 31..=100)].concat();
    for [one, other] in [[&early, &late], [&late, &early]] {
        let (one, other) = (cut(NODE, one, 0), cut(ANOTHER, other, 20));
        let found = compared(&one, &other);
        assert_eq!((found.same, found.more, found.not_compared), (182, [0, 0], [18, 0]), "{found:?}");
        let found = compared(&other, &one);
        assert_eq!((found.same, found.more, found.not_compared), (182, [0, 0], [0, 18]), "{found:?}");
        let bounded = compare(one.path(), other.path(), None, &Options::new().memory(LITTLE)).unwrap();
        assert!(bounded.effort.passes > 1, "{bounded:?}");
        assert_eq!(diff(&one, &other).0, Some(0));
    }
}

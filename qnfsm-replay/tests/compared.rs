//! Two journals are held against each other, and the first thing in which they part is named.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{ffi::OsString, path::Path, process::Command, sync::Arc};

use qnfsm::{
    Context, Fsm, Host, Kinds, Next, NodeBuilder, QueueId, Recording, ReplyTo,
    journal::{Position, Reader, RealFiles, Record},
};
use qnfsm_replay::{
    Options, Session,
    compare::{Apart, Aspect, Compared, compare},
    session::{FoundBy, PartOf, difference_between},
};
use rig::{Order, PATIENCE, Teller, copy, kinds, node};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

fn compared(one: &TempDir, other: &TempDir) -> Compared {
    compare(one.path(), other.path(), None, &Options::new()).unwrap_or_else(|error| panic!("{error}"))
}

fn parted(one: &TempDir, other: &TempDir) -> Apart {
    let compared = compared(one, other);
    compared.parted.clone().unwrap_or_else(|| panic!("nothing parts: {compared:?}"))
}

fn business(host: &Host, root: QueueId<Order>, coins: u64) {
    for more in 0..5 {
        host.send(root, &Order::Add(coins + more)).unwrap();
        let _: u64 = host.request(root, PATIENCE, Order::Count).unwrap();
    }
}

/// A run of the bank.
fn bank(dir: &Path, coins: u64) {
    let node = node(dir, Recording::Inputs).start(&Teller::<1>::default()).unwrap();
    business(&node.host(), node.root(), coins);
    node.stop().unwrap();
}

/// Two copies of a journal, as after a switch to a standby.
fn copies() -> [TempDir; 2] {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    bank(dirs[0].path(), 10);
    copy(dirs[0].path(), dirs[1].path());
    dirs
}

#[test]
fn a_copy_is_the_same_in_everything() {
    let [one, other] = copies();
    let compared = compared(&one, &other);
    assert!(compared.parted.is_none() && compared.more == [0, 0] && !compared.times_ignored, "{compared:?}");
    let rounds = Session::open(one.path(), kinds::<1>(), &Options::new()).unwrap().rounds();
    assert_eq!(compared.same, rounds);
}

#[test]
fn of_a_copy_that_ends_before_it_is_told_how_much_more_there_is() {
    let [one, other] = copies();
    let before = compared(&one, &other).same;
    bank(one.path(), 10);
    let longer = compared(&one, &other);
    assert!(
        longer.parted.is_none() && longer.same == before && longer.more[0] > 0 && longer.more[1] == 0,
        "{longer:?}"
    );
    assert_eq!(compared(&other, &one).more, [0, longer.more[0]]);
}

#[test]
fn copies_that_both_went_on_part_behind_what_they_have_in_common() {
    let [one, other] = copies();
    let before = compared(&one, &other).same;
    bank(one.path(), 10);
    bank(other.path(), 77);
    let compared = compared(&one, &other);
    let parted = compared.parted.as_ref().expect("two nodes went on from there");
    assert_eq!(compared.same, before, "{parted:?}");
    // They were started at different times, which the first round of either says.
    assert_eq!(parted.at[0].ordinal, before, "{parted:?}");
    assert!(parted.agreed.is_some());
}

#[test]
fn of_two_runs_with_the_same_inputs_only_the_times_differ() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    dirs.iter().for_each(|dir| bank(dir.path(), 10));
    let same = compared(&dirs[0], &dirs[1]);
    assert!(same.times_ignored && same.parted.is_none() && same.same > 10, "{same:?}");
    let all = compare(dirs[0].path(), dirs[1].path(), Some(false), &Options::new()).unwrap();
    assert!(all.parted.is_some() && !all.times_ignored);
}

#[test]
fn of_two_runs_the_first_input_that_differs_is_named_by_frame_message_and_field() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (dir, odd) in dirs.iter().zip([7, 8]) {
        let node = node(dir.path(), Recording::Inputs).start(&Teller::<1>::default()).unwrap();
        business(&node.host(), node.root(), 10);
        node.host().send(node.root(), &Order::Add(odd)).unwrap();
        business(&node.host(), node.root(), 10);
        node.stop().unwrap();
    }
    let parted = parted(&dirs[0], &dirs[1]);
    assert_eq!((parted.worker.0, parted.aspect), (0, Aspect::Inputs));
    assert!(parted.expected.contains("Add(7)") && parted.found.contains("Add(8)"), "{parted:?}");
    let [part] = &parted.parts[..] else { panic!("one number is another: {parted:?}") };
    let text = |value: &Option<qnfsm::schema::Content>| value.as_ref().unwrap().text(100);
    assert_eq!((part.of, text(&part.recorded), text(&part.found)), (PartOf::Input, "7".to_owned(), "8".to_owned()));
    assert!(parted.agreed.unwrap() <= parted.at[0].round);
}

/// Adds up. `FAULT` is its code: with 1 it adds one too many at the third number.
#[derive(Default, Serialize, Deserialize)]
struct Sum<const FAULT: u64> {
    sum: u64,
    numbers: u64,
}

#[derive(Serialize, Deserialize)]
enum Number {
    Plus(u64),
    Read(ReplyTo<u64>),
}

impl<const FAULT: u64> Fsm for Sum<FAULT> {
    const NAME: &'static str = "sum";
    type State = u64;
    type Message = Number;

    fn start(&mut self, _: &mut Context<'_, Self>) -> u64 {
        0
    }

    fn handle(&mut self, at: u64, number: Number, cx: &mut Context<'_, Self>) -> Next<Self> {
        match number {
            Number::Plus(number) => {
                self.numbers += 1;
                self.sum += number;
                let fault = if self.numbers == 3 { FAULT } else { 0 };
                Next::Goto(at + number + fault)
            }
            Number::Read(reply) => {
                cx.reply(reply, at);
                Next::Stay
            }
        }
    }
}

fn sums<const FAULT: u64>() -> Kinds {
    Kinds::new().with::<Sum<FAULT>>().message::<u64>()
}

fn sum<const FAULT: u64>(dir: &Path, recording: Recording) {
    let node = NodeBuilder::new("sum", sums::<FAULT>()).seed(3).dir(dir).recording(recording);
    let node = node.start(&Sum::<FAULT>::default()).unwrap();
    for number in 1..=5 {
        node.host().send(node.root(), &Number::Plus(number)).unwrap();
        let _: u64 = node.host().request(node.root(), PATIENCE, Number::Read).unwrap();
    }
    node.stop().unwrap();
}

/// Journals of two builds that were given the same; the second one has a fault.
fn builds(recording: Recording) -> [TempDir; 2] {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    sum::<0>(dirs[0].path(), recording);
    sum::<1>(dirs[1].path(), recording);
    dirs
}

#[test]
fn of_two_builds_with_everything_recorded_the_delivery_is_named_without_any_kinds() {
    let [one, other] = builds(Recording::Everything);
    let parted = parted(&one, &other);
    assert_eq!((parted.aspect, parted.found_by), (Aspect::Deliveries, FoundBy::Deliveries));
    assert!(parted.what.as_ref().unwrap().contains("kind sum (w0/0.1)"), "{parted:?}");
    assert!(parted.expected.contains("Plus(3)") && parted.expected.contains("in 6,"), "{parted:?}");
    assert!(parted.found.contains("in 7,"), "{parted:?}");
    assert!(parted.parts.iter().any(|part| part.of == PartOf::State), "{parted:?}");
}

#[test]
fn of_two_builds_with_inputs_recorded_nothing_tells_two_runs_apart_but_the_next_build_does() {
    let [one, other] = builds(Recording::Inputs);
    let compared = compared(&one, &other);
    assert!(compared.parted.is_none(), "what came in is the same: {compared:?}");
    // Either build does in one of them what was recorded, and not in the other.
    let open = |dir: &TempDir| Session::open(dir.path(), sums::<0>(), &Options::new()).unwrap();
    assert!(open(&one).stopped().is_none() && open(&other).stopped().is_some());
}

/// Copies of one journal that end in the round of the third number, gone on with by a build each: the second one has a fault.
fn gone_on_with(recording: Recording) -> [TempDir; 2] {
    let recorded = tempfile::tempdir().unwrap();
    sum::<0>(recorded.path(), recording);
    let (round, end) = third_round(recorded.path());
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (number, dir) in dirs.iter().enumerate() {
        copy(recorded.path(), dir.path());
        let node = |kinds| NodeBuilder::new("sum", kinds).dir(dir.path()).recording(recording).recover_to(Some(end));
        let stopped = match number {
            0 => node(sums::<0>()).start(&Sum::<0>::default()).unwrap().stop(),
            _ => node(sums::<1>()).start(&Sum::<1>::default()).unwrap().stop(),
        };
        stopped.unwrap();
    }
    assert!(round > 1);
    dirs
}

/// The round that took the third number, and where its record ends.
fn third_round(dir: &Path) -> (u64, Position) {
    let mut reader = Reader::open(Arc::new(RealFiles), dir).unwrap();
    let (mut numbers, mut found) = (0, None);
    while let Some(entry) = reader.next().unwrap() {
        if let Some(found) = found {
            return (found, entry.position);
        }
        if let Record::Round { round, batches, .. } = entry.record {
            let frames = batches.flat_map(|batch| batch.frames().map(Result::unwrap));
            numbers += frames.filter(|frame| frame.payload.first() == Some(&0) && frame.payload.len() == 2).count();
            found = (numbers >= 3).then_some(round);
        }
    }
    panic!("there are five numbers");
}

#[test]
fn of_copies_that_two_builds_went_on_with_the_round_is_named_and_by_both_builds_the_step() {
    let [one, other] = gone_on_with(Recording::Inputs);
    let (round, _) = third_round(one.path());
    let parted = parted(&one, &other);
    assert_eq!((parted.aspect, parted.at[0].round, parted.at[1].round), (Aspect::Outcome, round, round), "{parted:?}");
    assert_eq!(parted.agreed, Some(round - 1));

    let mut first = Session::open(one.path(), sums::<0>(), &Options::new()).unwrap();
    let mut second = Session::open(other.path(), sums::<1>(), &Options::new()).unwrap();
    assert!(first.stopped().is_none() && second.stopped().is_none());
    let compared = difference_between(&mut first, &mut second, None, &Options::new()).unwrap();
    let parted = compared.parted.unwrap();
    assert_eq!(parted.found_by, FoundBy::Runs);
    let step = parted.step.expect("both were run");
    assert_eq!(step.step.message.as_ref().unwrap().bytes, [0, 3], "Plus(3)");
    let state = step.parts.iter().find(|part| part.of == PartOf::State).unwrap();
    let text = |value: &Option<qnfsm::schema::Content>| value.as_ref().unwrap().text(100);
    assert_eq!((text(&state.recorded), text(&state.found)), ("6".to_owned(), "7".to_owned()));
    assert_eq!(
        (first.step().unwrap().delivery, second.step().unwrap().delivery),
        (step.step.delivery, step.step.delivery)
    );
}

/// What the program `qnfsm` says of two directories: its status, and its JSON object.
fn diff(arguments: &[&Path]) -> (Option<i32>, serde_json::Value) {
    let diff = Command::new(env!("CARGO_BIN_EXE_qnfsm")).arg("diff").args(arguments).arg("--json").output().unwrap();
    let text = String::from_utf8(diff.stdout).unwrap();
    (diff.status.code(), serde_json::from_str(text.lines().last().unwrap_or("{}")).unwrap())
}

#[test]
fn the_command_says_it_with_a_status_of_each_outcome() {
    let [one, other] = copies();
    let (status, json) = diff(&[one.path(), other.path()]);
    assert_eq!((status, &json["equal"], &json["times_ignored"]), (Some(0), &true.into(), &false.into()), "{json}");
    bank(other.path(), 10);
    let (status, json) = diff(&[one.path(), other.path()]);
    assert_eq!((status, &json["exit_status"], &json["more_in_first"]), (Some(34), &34.into(), &0.into()), "{json}");
    assert!(json["more_in_other"].as_u64().unwrap() > 0, "{json}");
    bank(one.path(), 10);
    let (status, json) = diff(&[one.path(), other.path()]);
    assert_eq!((status, &json["equal"]), (Some(33), &false.into()), "{json}");
    assert!(json["round"].is_u64() && json["other_round"].is_u64() && json["agreed_round"].is_u64(), "{json}");
    // Without a program there is nothing that one journal alone could part from.
    let (status, json) = diff(&[one.path()]);
    assert_eq!((status, &json["error"]), (Some(2), &"usage".into()), "{json}");
    let (status, _) = diff(&[one.path(), &one.path().join("nothing")]);
    assert_eq!(status, Some(12));
}

#[test]
fn with_the_program_the_command_ends_with_the_same_statuses() {
    let [one, other] = gone_on_with(Recording::Inputs);
    let program = || qnfsm_replay::cli::Program::new("sum", sums::<0>());
    let run = |dirs: [&Path; 2]| {
        let arguments: [OsString; 4] = ["sum".into(), "diff".into(), dirs[0].into(), dirs[1].into()];
        program().run(arguments)
    };
    assert_eq!(format!("{:?}", run([one.path(), other.path()])), format!("{:?}", std::process::ExitCode::from(33)));
    assert_eq!(format!("{:?}", run([one.path(), one.path()])), format!("{:?}", std::process::ExitCode::SUCCESS));
}

/// A till whose every order is answered, so that each comes in a round of its own.
#[derive(Default, Serialize, Deserialize)]
struct Till {
    coins: u64,
}

#[derive(Serialize, Deserialize)]
enum Sale {
    Add { coins: u64, reply: ReplyTo<u64> },
}

impl Fsm for Till {
    const NAME: &'static str = "till";
    type State = ();
    type Message = Sale;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), sale: Sale, cx: &mut Context<'_, Self>) -> Next<Self> {
        let Sale::Add { coins, reply } = sale;
        self.coins += coins;
        cx.reply(reply, self.coins);
        Next::Stay
    }
}

/// A text without what each run has of its own: in which round and where a record stands, and when a request is due.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    for part in text.split_inclusive([' ', '(']) {
        let is_own = ["round ", "at byte ", "Time("].iter().any(|before| masked.ends_with(before));
        masked.push_str(if is_own { part.trim_start_matches(|digit: char| digit.is_ascii_digit()) } else { part });
    }
    masked
}

#[test]
fn the_guide_shows_what_the_command_prints() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (dir, odd) in dirs.iter().zip([7, 8]) {
        let kinds = Kinds::new().with::<Till>().message::<u64>();
        let node = NodeBuilder::new("my-service", kinds).dir(dir.path()).start(&Till::default()).unwrap();
        for coins in [1, 2, odd, 3] {
            let add = |reply| Sale::Add { coins, reply };
            let _: u64 = node.host().request(node.root(), PATIENCE, add).unwrap();
        }
        node.stop().unwrap();
    }
    let paths = dirs.each_ref().map(|dir| dir.path().to_str().unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_qnfsm")).arg("diff").args(paths).output().unwrap();
    assert_eq!(output.status.code(), Some(33));
    let named = ["/var/lib/my-service", "/mnt/standby/my-service"];
    let said = String::from_utf8(output.stdout).unwrap().replace(paths[0], named[0]).replace(paths[1], named[1]);
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, shown) = guide.split_once(&format!("$ qnfsm diff {} {}\n", named[0], named[1])).unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    assert_eq!(masked(shown), masked(&said), "the guide is to show what is said:\n{said}");
}

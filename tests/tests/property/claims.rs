//! What the kit claims, demands and tells, beside the planted faults.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
    time::Duration,
};

use proptest::prelude::*;
use qnfsm::{
    Context, Down, External, Fsm, Invariants, Kinds, Next, QueueId, Reply, ReplyTo,
    testing::{
        elsewhere,
        property::{Claim, Property, PropertyError, Report},
        reply_to,
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    broken,
    planted::{Event, Paid, Till, Turnstile, forgetful, till, turnstile, turnstile_invariants, turnstile_kinds},
    replayed,
};

/// Asks a bank elsewhere, and minds what becomes of it.
#[derive(Debug, Serialize, Deserialize)]
struct Client {
    bank: QueueId<Ask>,
    /// What must not happen.
    fears: Fear,
    credit: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Fear {
    Nothing,
    Answers(u64),
    NoAnswer,
    Down,
    Unrest,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Ask {
    Credit(ReplyTo<u64>),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum ClientMessage {
    Ask,
    Answer(Reply<u64>),
    Down(Down),
}

impl From<Reply<u64>> for ClientMessage {
    fn from(reply: Reply<u64>) -> ClientMessage {
        ClientMessage::Answer(reply)
    }
}

impl From<Down> for ClientMessage {
    fn from(down: Down) -> ClientMessage {
        ClientMessage::Down(down)
    }
}

impl Fsm for Client {
    const NAME: &'static str = "client";
    type State = ();
    type Message = ClientMessage;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        cx.monitor(self.bank);
    }

    fn handle(&mut self, (): (), message: ClientMessage, cx: &mut Context<'_, Self>) -> Next<Self> {
        match message {
            ClientMessage::Ask if self.fears == Fear::Unrest => cx.send_self(ClientMessage::Ask),
            ClientMessage::Ask => {
                cx.request(self.bank, Duration::from_secs(1), Ask::Credit);
            }
            ClientMessage::Answer(Reply { outcome: Ok(credit), .. }) => {
                assert!(!matches!(self.fears, Fear::Answers(most) if credit > most), "too much credit");
                self.credit = credit;
            }
            ClientMessage::Answer(Reply { outcome: Err(why), .. }) => {
                assert!(self.fears != Fear::NoAnswer, "no answer: {why}");
            }
            ClientMessage::Down(_) => assert!(self.fears != Fear::Down, "the bank is gone"),
        }
        Next::Stay
    }
}

fn client_kinds() -> Kinds {
    Kinds::new().with::<Client>().message::<Ask>().replies::<ClientMessage, u64>().accepts::<ClientMessage, Down>()
}

fn client(fears: Fear) -> Property<Client> {
    Property::new(client_kinds(), Client { bank: elsewhere(1), fears, credit: 0 })
        .messages(Just(ClientMessage::Ask))
        .answers(0u64..1000)
        .others_fail()
}

#[test]
fn what_stops_the_worker_is_found_with_what_comes_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = |fears| {
        let found = broken(client(fears).named(format!("{fears:?}")), dir.path());
        assert_eq!(found.claim, Claim::GoesOn);
        let ended_in = replayed(&found, client_kinds()).unwrap().ended_in;
        // A replay tells where in the code, too.
        let what = ended_in[0].what.split(", at ").next().unwrap();
        assert!(found.what.contains(what), "{} {ended_in:?}", found.what);
        let last = found.course.last().unwrap();
        assert!(last.contains(what), "what it was given that didn't come back from it is explained too: {last}");
        found.inputs
    };
    assert_eq!(inputs(Fear::Answers(499)), ["Ask", "the answer 500 for w0/0.1"]);
    // Nobody answers within a second, or somebody says that nobody will.
    let no_answer = inputs(Fear::NoAnswer);
    let why = no_answer[1].as_str();
    assert!(no_answer.len() == 2 && (why == "1s pass" || why.ends_with("for w0/0.1")), "{no_answer:?}");
    let down = inputs(Fear::Down);
    assert!(down.len() == 1 && down[0].starts_with("e8/1.1 is down ("), "{down:?}");
}

#[test]
fn a_worker_that_never_comes_to_rest_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let found = broken(client(Fear::Unrest), dir.path());
    assert_eq!((found.claim, found.inputs), (Claim::ComesToRest, vec!["Ask".to_owned()]));
    let is_cut = found.course.iter().any(|line| line.contains("more …"));
    assert!(is_cut && found.course.len() < 50, "what goes on for ever is cut: {} lines", found.course.len());
}

#[test]
fn a_start_value_is_drawn_and_shrunk_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let starts = (0u64..1000).prop_map(|credit| Client { bank: elsewhere(1), fears: Fear::Nothing, credit });
    let invariants = Invariants::new().state::<Client>("credit is below 700", |client, ()| {
        if client.credit < 700 { Ok(()) } else { Err(format!("it is {}", client.credit)) }
    });
    let none = Client { bank: elsewhere(1), fears: Fear::Nothing, credit: 0 };
    let property = Property::new(client_kinds(), none).starts(starts).messages(Just(ClientMessage::Ask));
    let found = broken(property.invariants(invariants), dir.path());
    assert_eq!(found.claim, Claim::Invariant("credit is below 700".to_owned()));
    assert!(found.inputs.is_empty() && found.what.ends_with(": it is 700"), "{found}");
}

#[test]
fn an_fsm_without_a_fault_holds_whatever_comes_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let report = client(Fear::Nothing).kept_in(dir.path().join("kept")).cases(40).run();
    assert!(report.cases > 0 && report.coverage.count("()", "Down") > 0, "{report}");
}

/// Reads prices, the newer way since this version.
#[derive(Serialize, Deserialize)]
struct Buyer {
    spent: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Buy {
    One,
}

struct Price;

impl External for Price {
    const NAME: &'static str = "price";
    type Question = u64;
    type Answer = u64;
}

impl Fsm for Buyer {
    const NAME: &'static str = "buyer";
    type State = ();
    type Message = Buy;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), Buy::One: Buy, cx: &mut Context<'_, Self>) -> Next<Self> {
        let dearer = cx.version("prices", 2) >= 2;
        self.spent += cx.external::<Price>(&self.spent) + u64::from(dearer) * 50;
        Next::Stay
    }
}

#[test]
fn what_an_fsm_is_told_through_ports_is_told_again_and_stands_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let asked = Rc::new(RefCell::new(0));
    let invariants = Invariants::new().state::<Buyer>("spends little", |buyer, ()| {
        if buyer.spent < 200 { Ok(()) } else { Err(format!("spent {}", buyer.spent)) }
    });
    let kinds = || Kinds::new().with::<Buyer>();
    let counts = asked.clone();
    let property = Property::new(kinds(), Buyer { spent: 0 }).messages(Just(Buy::One)).invariants(invariants);
    // Each answer is another one, and only the first of several runs asks for it.
    let found =
        broken(property.external::<Price>(move |_| counts.replace_with(|asked| *asked + 1) % 10 + 60), dir.path());
    assert_eq!(found.inputs, ["One", "One"]);
    assert!(*asked.borrow() > 0);
    assert_eq!(replayed(&found, kinds()).unwrap().messages, 3);
}

/// Hands coins to another FSM of its worker.
#[derive(Serialize, Deserialize)]
struct Giver {
    coins: u64,
    taker: Option<QueueId<Coin>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Coin {
    Coin,
}

#[derive(Serialize, Deserialize)]
struct Taker {
    coins: u64,
}

impl Fsm for Giver {
    const NAME: &'static str = "giver";
    type State = ();
    type Message = Coin;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        self.taker = Some(cx.spawn(Taker { coins: 0 }));
    }

    fn handle(&mut self, (): (), Coin::Coin: Coin, cx: &mut Context<'_, Self>) -> Next<Self> {
        self.coins -= 1;
        cx.send(self.taker.expect("it has started"), Coin::Coin);
        Next::Stay
    }
}

impl Fsm for Taker {
    const NAME: &'static str = "taker";
    type State = ();
    type Message = Coin;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), Coin::Coin: Coin, _: &mut Context<'_, Self>) -> Next<Self> {
        // The planted fault: there is room for three.
        self.coins = 3.min(self.coins + 1);
        Next::Stay
    }
}

#[test]
fn an_invariant_of_a_worker_is_asked_when_nothing_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let invariants = Invariants::new().worker("no coin is lost", |worker| {
        let given: u64 = worker.fsms_of::<Giver>().map(|(_, giver, _)| giver.coins).sum();
        let taken: u64 = worker.fsms_of::<Taker>().map(|(_, taker, _)| taker.coins).sum();
        if given + taken == 100 { Ok(()) } else { Err(format!("there are {}", given + taken)) }
    });
    let kinds = Kinds::new().with::<Giver>().with::<Taker>();
    let property = Property::new(kinds, Giver { coins: 100, taker: None }).messages(Just(Coin::Coin));
    let found = broken(property.invariants(invariants), dir.path());
    assert_eq!(found.inputs, ["Coin"; 4]);
    assert!(found.what.ends_with("of w0: there are 99"), "{}", found.what);
}

/// Has a child count for it, one message at a time, and minds a timer that missed a beat.
#[derive(Serialize, Deserialize)]
struct Counter {
    child: Option<QueueId<Count>>,
    is_busy: bool,
    beats_most: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Counts {
    One(ReplyTo<u64>),
    Counted,
    Beat,
}

#[derive(Serialize, Deserialize)]
enum Count {
    For(QueueId<Counts>),
}

#[derive(Serialize, Deserialize)]
struct Child;

impl Fsm for Child {
    const NAME: &'static str = "child";
    type State = ();
    type Message = Count;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), Count::For(parent): Count, cx: &mut Context<'_, Self>) -> Next<Self> {
        cx.send(parent, Counts::Counted);
        Next::Stay
    }
}

impl Fsm for Counter {
    const NAME: &'static str = "counter";
    type State = ();
    type Message = Counts;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        self.child = Some(cx.spawn(Child));
        cx.every("beat", Duration::from_secs(1), Counts::Beat);
    }

    fn handle(&mut self, (): (), counts: Counts, cx: &mut Context<'_, Self>) -> Next<Self> {
        match counts {
            Counts::One(reply) => {
                assert!(!self.is_busy, "it is busy");
                self.is_busy = true;
                cx.reply(reply, 1);
                cx.send(self.child.expect("it has started"), Count::For(cx.id()));
            }
            Counts::Counted => self.is_busy = false,
            Counts::Beat => self.beats_most = self.beats_most.max(cx.beats()),
        }
        Next::Stay
    }
}

fn counter() -> Property<Counter> {
    let kinds = Kinds::new().with::<Counter>().with::<Child>().message::<u64>();
    Property::new(kinds, Counter { child: None, is_busy: false, beats_most: 0 })
        .messages((0u64..9).prop_map(|request| Counts::One(reply_to(request))))
}

#[test]
fn a_message_that_comes_while_another_is_seen_to_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let found = broken(counter(), dir.path());
    assert!(found.claim == Claim::GoesOn && found.what.ends_with("it is busy"), "{found}");
    // One that comes when all is done about the first does no harm, so these come at once.
    assert!(found.inputs.len() == 2 && found.inputs[0].ends_with(", and at once"), "{:?}", found.inputs);
}

#[test]
fn a_process_that_slept_is_one_of_the_inputs() {
    let dir = tempfile::tempdir().unwrap();
    let invariants = Invariants::new().state::<Counter>("no beat is missed", |counter, ()| {
        if counter.beats_most < 2 { Ok(()) } else { Err(format!("{} at once", counter.beats_most)) }
    });
    let found = broken(counter().messages(Just(Counts::Counted)).invariants(invariants), dir.path());
    assert_eq!(found.inputs, ["2s pass at once"]);
}

#[test]
fn a_case_is_shrunk_to_one_that_breaks_the_same_claim_and_not_another() {
    let dir = tempfile::tempdir().unwrap();
    let invariants = Invariants::new()
        .state::<Till>("below 50", |till, ()| if till.cents < 50 { Ok(()) } else { Err(till.cents.to_string()) })
        .state::<Till>("not in the thirties", |till, ()| match till.cents {
            30..40 => Err(till.cents.to_string()),
            _ => Ok(()),
        });
    // What is drawn in the second range is simplified to what could be drawn in the first, which is not drawn.
    let cents = prop_oneof![1 => 30u64..40, 1_000_000_000 => 50u64..100];
    let found = broken(till().messages(cents.prop_map(Paid::Cents)).invariants(invariants), dir.path());
    assert_eq!((found.claim, found.inputs), (Claim::Invariant("below 50".to_owned()), vec!["Cents(50)".to_owned()]));
}

/// A turnstile's property that looks at no invariant, so that it holds.
fn sound() -> Property<Turnstile> {
    turnstile().invariants(Invariants::new()).seed(1).cases(20)
}

#[test]
fn coverage_is_reported_and_can_be_demanded() {
    let Report { coverage, .. } = sound().run();
    let never: Vec<_> = coverage.never().collect();
    // The strategy draws no `Expired`, and a timer brings it in one state alone.
    assert_eq!((coverage.seen(), coverage.pairs(), coverage.percent(), never), (5, 6, 83, vec![("Locked", "Expired")]));
    let table = coverage.to_string();
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["Coin", "Expired", "Push"]);
    assert_eq!((rows[2][0], rows[2][2], rows[3][0]), ("Locked", "never", "Unlocked"));
    assert_eq!(rows[3][2], coverage.count("Unlocked", "Expired").to_string());

    let lacks = |property: Property<Turnstile>| match property.check() {
        Err(PropertyError::NotCovered { lacks, .. }) => lacks,
        other => panic!("{other:?}"),
    };
    let expected = "83 % of the pairs were seen and 100 % are demanded; never seen: Expired in Locked";
    assert_eq!(lacks(sound().demand_coverage(100)), expected);
    sound().demand_coverage(83).run();
    let expected = "these were demanded and never seen: Expired in Locked";
    assert_eq!(lacks(sound().demand_pairs([("Locked", "Expired"), ("Unlocked", "Push")])), expected);
}

#[test]
#[should_panic(expected = "demand_pairs: Open is no state or message of turnstile")]
fn a_demand_of_a_state_that_there_is_not_is_a_mistake() {
    sound().demand_pairs([("Open", "Push")]).run();
}

#[test]
#[should_panic(expected = "two invariants are named \"it holds\"")]
fn two_invariants_of_one_name_are_a_mistake() {
    let check = |_: &Turnstile, _| Ok(());
    let _ = Invariants::new().state::<Turnstile>("it holds", check).state::<Turnstile>("it holds", check);
}

#[test]
#[should_panic(expected = "kinds that the kinds don't name: {\"turnstile\"}")]
fn an_invariant_over_a_kind_that_there_is_not_is_a_mistake() {
    let _ = forgetful().invariants(turnstile_invariants());
}

#[test]
fn a_check_that_asserts_is_as_good_as_one_that_returns_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let invariants = Invariants::new().state::<Turnstile>("few coins", |gate, _| {
        assert!(gate.coins < 3, "{} coins", gate.coins);
        Ok(())
    });
    let strategy = prop_oneof![Just(Event::Coin), Just(Event::Push)];
    let property = Property::new(turnstile_kinds(), Turnstile { coins: 0 }).messages(strategy).invariants(invariants);
    let found = broken(property, dir.path());
    assert_eq!(found.inputs, ["Coin", "Push", "Coin", "Push", "Coin"]);
    assert!(found.what.ends_with("the check panicked: 3 coins"), "{}", found.what);
}

#[test]
fn what_was_kept_for_other_types_is_passed_over_and_what_is_no_line_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let found = broken(turnstile().named("of turnstiles"), dir.path());
    let file = found.kept.unwrap();
    let kept = fs::read_to_string(&file).unwrap();
    let line: serde_json::Value = serde_json::from_str(kept.lines().last().unwrap()).unwrap();
    assert_eq!((&line["property"], &line["inputs"][1]), (&"of turnstiles".into(), &"5s pass".into()));
    assert_eq!(line["broke"], "invariant \"no coin is given back\"");

    let only_kept = |name: &str| turnstile().named(name).kept_in(&file).cases(0).check();
    assert_eq!(only_kept("of others").unwrap().cases, 0);
    fs::write(&file, kept.replace(line["types"].as_str().unwrap(), "0123456789abcdef")).unwrap();
    assert_eq!(only_kept("of turnstiles").unwrap().cases, 0);
    fs::write(&file, format!("{kept}who knows\n")).unwrap();
    let error = only_kept("of turnstiles").unwrap_err().to_string();
    assert!(error.contains("tests.kept, line 4, is no case that was kept"), "{error}");
}

/// Where the process keeps what it finds that one of the tests below runs with a fault planted.
const PLANTED: &str = "QNFSM_TEST_PLANTED_DIR";

/// That directory, or a new one where nothing is planted.
fn planted_dir(new: &tempfile::TempDir) -> (bool, PathBuf) {
    let planted = std::env::var_os(PLANTED).map(PathBuf::from);
    (planted.is_some(), planted.unwrap_or_else(|| new.path().to_path_buf()))
}

#[test]
fn a_client_that_may_panic() {
    let new = tempfile::tempdir().unwrap();
    let (is_planted, dir) = planted_dir(&new);
    let fear = if is_planted { Fear::Down } else { Fear::Nothing };
    client(fear).kept_in(dir.join("kept")).failures_in(dir.join("failures")).run();
}

#[test]
fn a_turnstile_that_may_fail() {
    let new = tempfile::tempdir().unwrap();
    let (_, dir) = planted_dir(&new);
    // Which case fails, the environment says.
    turnstile().kept_in(dir.join("kept")).cases(0).run();
}

/// Runs one of them with its fault, in a process of its own. What it finds it keeps in that directory.
fn run(name: &str, dir: &Path, environment: &[(&str, String)]) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(PLANTED, dir).env("TMPDIR", dir);
    let output = command.envs(environment.iter().map(|(name, value)| (name, value))).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_panic_that_is_shrunk_is_printed_once() {
    let dir = tempfile::tempdir().unwrap();
    let (holds, said) = run("claims::a_client_that_may_panic", dir.path(), &[]);
    assert!(!holds && said.contains("the bank is gone"), "{said}");
    assert_eq!(said.matches("panicked at").count(), 1, "{said}");
}

#[test]
fn the_command_that_is_told_runs_the_case_again_and_saves_it_where_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let name = "claims::a_turnstile_that_may_fail";
    // As the harness runs it: on a thread of that name.
    let of_test = std::thread::Builder::new().name(name.to_owned());
    let found = std::thread::scope(|scope| {
        of_test.spawn_scoped(scope, || broken(turnstile().named("coins"), dir.path())).unwrap().join().unwrap()
    });
    assert_eq!(found.command, format!("QNFSM_PROPERTY_SEED={:016x} cargo test -p qnfsm-tests {name}", found.seed));

    let (holds, said) = run(name, dir.path(), &[]);
    assert!(holds, "no case is drawn, and none is kept: {said}");
    let (seed, failures) = (format!("{:016x}", found.seed), dir.path().join("here"));
    let environment =
        [("QNFSM_PROPERTY_SEED", seed.clone()), ("QNFSM_FAILURES", failures.to_string_lossy().into_owned())];
    let (holds, said) = run(name, dir.path(), &environment);
    assert!(!holds && said.contains("coins: 1 → 0"), "{said}");
    assert!(failures.join("claims-a_turnstile_that_may_fail").join(seed).join("manifest").exists(), "{said}");
}

//! A debugger that is fed lines stops where an expression holds and nowhere else, in both directions; shows what happened; and answers
//! any line, whatever it is, without a panic.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{cell::RefCell, path::Path, rc::Rc, sync::atomic::Ordering, time::Duration};

use proptest::prelude::*;
use qnfsm::{
    CameAs, Codec, End, Handler, Limits, Place, QueueId, RawQueueId, Recording, Reply, ReplyTo, Trust, WorkerId,
    schema::{Path as FieldPath, PathPart},
};
use qnfsm_replay::{
    Debugger, Options, Session,
    debug::{
        COMMANDS, DebugError,
        expression::{CameIs, Check, EndIs, Expression, Field, HandlerIs, Literal, Order, Root, Test},
    },
    session::{By, RoundLog, Spot, Step},
};
use rig::{Coin, Order as Said, PATIENCE, Teller, kinds, node};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// A directory in which a bank did business of every sort, in two epochs; the last round of its first one panicked, if that is wanted.
fn bank(dir: &Path, adds: u64) {
    let limits = Limits { segment_bytes: 1 << 14, ..Limits::default() };
    for _ in 0..2 {
        let node = node(dir, Recording::Inputs).limits(limits).start(&Teller::<1>::default()).unwrap();
        let (host, root): (_, QueueId<Said>) = (node.host(), node.root());
        for coins in 1..=adds {
            host.send(root, &Said::Add(coins)).unwrap();
        }
        let _: u64 = host.request(root, PATIENCE, Said::Count).unwrap();
        let _: u64 = host.request(root, PATIENCE, Said::Quote).unwrap();
        let _: u64 = host.request(root, PATIENCE, |reply| Said::AfterBeats(5, reply)).unwrap();
        node.stop().unwrap();
    }
}

fn session(dir: &Path) -> Session {
    let options = Options::new().memory(64 << 20).stations_apart(Duration::ZERO);
    Session::open(dir, kinds::<1>(), &options).unwrap_or_else(|error| panic!("{error}"))
}

/// What a debugger says to a line that is right.
#[track_caller]
fn said(debugger: &mut Debugger, line: &str) -> String {
    debugger.line(line).unwrap_or_else(|error| panic!("{line}: {error}")).text
}

/// Likewise, as JSON.
#[track_caller]
fn json(debugger: &mut Debugger, line: &str) -> Value {
    debugger.set_json(true);
    let text = said(debugger, line);
    debugger.set_json(false);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What is wrong with a line: the column, and why.
#[track_caller]
fn wrong(debugger: &mut Debugger, line: &str) -> (usize, String) {
    match debugger.line(line) {
        Err(DebugError::Line(wrong)) => (wrong.column(line), wrong.to_string()),
        other => panic!("{line}: {other:?}"),
    }
}

/// What the teller's data are, as anybody can read them.
#[derive(Deserialize)]
#[expect(dead_code, reason = "all fields are there to be read past")]
struct Books {
    total: u64,
    beats: u64,
    luck: u64,
    till: Option<RawQueueId>,
    asked: Vec<ReplyTo<u64>>,
    waiting: Vec<(u64, ReplyTo<u64>)>,
}

fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> T {
    Codec::CURRENT.decode(bytes, Trust::Node).unwrap()
}

const TELLER: RawQueueId = RawQueueId::new(qnfsm::NodeId(0), Place::worker(WorkerId(0)), 0, 1);

fn is_teller(step: &Step) -> bool {
    step.queue == TELLER
}

/// The name of the variant of a message, and the number that it holds, if it holds one.
fn read(step: &Step) -> Option<(&'static str, Option<u64>)> {
    let bytes = &step.message.as_ref()?.bytes;
    Some(if is_teller(step) {
        match decoded::<Said>(bytes) {
            Said::Beat => ("Beat", None),
            Said::Add(coins) => ("Add", Some(coins)),
            Said::Total(_) => ("Total", None),
            Said::Count(_) => ("Count", None),
            Said::Quote(_) => ("Quote", None),
            Said::AfterBeats(beats, _) => ("AfterBeats", Some(beats)),
            Said::Panic => ("Panic", None),
            Said::Started(Reply { .. }) => ("Started", None),
            Said::Opened(Reply { .. }) => ("Opened", None),
            Said::Counted(Reply { .. }) => ("Counted", None),
        }
    } else {
        match decoded::<Coin>(bytes) {
            Coin::Put(coins) => ("Put", Some(coins)),
            Coin::Count(_) => ("Count", None),
        }
    })
}

/// The plain model of expressions: it knows the types.
fn holds(expression: &Expression, log: &RoundLog, step: &Step) -> bool {
    match expression {
        Expression::And(parts) => parts.iter().all(|part| holds(part, log, step)),
        Expression::Or(parts) => parts.iter().any(|part| holds(part, log, step)),
        Expression::Not(inner) => !holds(inner, log, step),
        Expression::Test(test) => test_holds(&test.check, log, step),
    }
}

fn test_holds(check: &Check, log: &RoundLog, step: &Step) -> bool {
    let books = |root: Root| {
        let inside = if root == Root::Old { &step.before } else { &step.after };
        is_teller(step).then(|| decoded::<Books>(&inside.data))
    };
    let state =
        |bytes: &[u8]| is_teller(step).then(|| bytes.first().map(|state| ["Opening", "Open"][usize::from(*state)]));
    match check {
        Check::Kind { is, name } => (["till", "teller"][usize::from(is_teller(step))] == name) == *is,
        Check::Queue { is, queue } => (step.queue == *queue) == *is,
        Check::Sender { is, queue } => step.message.as_ref().is_some_and(|message| (message.sender == *queue) == *is),
        Check::Worker { is, worker } => (log.worker == *worker) == *is,
        Check::Round { order, round } => compare(*order, log.round, *round),
        Check::Handler(handler) => {
            *handler
                == match step.handler {
                    Handler::Start => HandlerIs::Start,
                    Handler::Handle => HandlerIs::Handle,
                    Handler::Enter => HandlerIs::Enter,
                }
        }
        Check::Came(came) => step.message.as_ref().is_some_and(|message| {
            *came
                == match message.as_what {
                    CameAs::Message => CameIs::Message,
                    CameAs::Request(_) => CameIs::Request,
                    CameAs::Outcome(_) => CameIs::Outcome,
                    CameAs::News => CameIs::News,
                    CameAs::Timer { .. } => CameIs::Timer,
                }
        }),
        Check::Ended(end) => match &step.end {
            End::Stayed => *end == EndIs::Stayed,
            End::Changed => *end == EndIs::Changed,
            End::Postponed => *end == EndIs::Postponed,
            _ => false,
        },
        Check::Is { field: Field { root: Root::Message, .. }, name } => read(step).is_some_and(|(of, _)| of == name),
        Check::Is { field: Field { root: Root::State, .. }, name } => {
            state(&step.after.state).flatten() == Some(name.as_str())
        }
        Check::Is { name, .. } => state(&step.before.state).flatten() == Some(name.as_str()),
        Check::Compare { field: Field { root: Root::Message, .. }, order, literal } => {
            read(step).and_then(|(_, coins)| coins).is_some_and(|coins| compare_literal(*order, coins, literal))
        }
        Check::Compare { field, order, literal } => books(field.root).is_some_and(|books| {
            let found = if field.path.to_string() == "total" { books.total } else { books.beats };
            compare_literal(*order, found, literal)
        }),
        Check::Changed(field) => match books(Root::Old).zip(books(Root::Data)) {
            Some((before, after)) if field.path.to_string() == "total" => before.total != after.total,
            Some((before, after)) => before.beats != after.beats,
            None => false,
        },
        Check::Sent(_) => unreachable!("none is made"),
    }
}

fn compare_literal(order: Order, found: u64, literal: &Literal) -> bool {
    match literal {
        Literal::Integer { is_negative, magnitude } => {
            let wanted = i128::try_from(*magnitude).unwrap() * if *is_negative { -1 } else { 1 };
            compare(order, i128::from(found), wanted)
        }
        // The numbers are small, so floats hold them.
        #[expect(clippy::cast_precision_loss, reason = "they are small")]
        Literal::Float(wanted) => compare(order, found as f64, *wanted),
        _ => false,
    }
}

fn compare<T: PartialOrd>(order: Order, found: T, wanted: T) -> bool {
    match order {
        Order::Is => found == wanted,
        Order::IsNot => found != wanted,
        Order::Less => found < wanted,
        Order::AtMost => found <= wanted,
        Order::More => found > wanted,
        Order::AtLeast => found >= wanted,
    }
}

fn field(root: Root, path: &str) -> Field {
    Field { root, path: path.parse().unwrap() }
}

fn one_of<T: Copy + std::fmt::Debug>(all: &'static [T]) -> impl Strategy<Value = T> + Clone {
    (0..all.len()).prop_map(|at| all[at])
}

fn literals() -> impl Strategy<Value = Literal> {
    prop_oneof![
        (any::<bool>(), 0_u128..80).prop_map(|(is_negative, magnitude)| Literal::Integer {
            is_negative: is_negative && magnitude > 0,
            magnitude
        }),
        (-80.0..80.0_f64).prop_map(Literal::Float),
    ]
}

/// Tests that the plain model knows.
fn checks() -> impl Strategy<Value = Check> {
    let names = one_of(&["Beat", "Add", "Count", "Put", "Opened"]);
    let states = one_of(&["Opening", "Open"]);
    let till = RawQueueId::new(qnfsm::NodeId(0), Place::worker(WorkerId(1)), 0, 1);
    let counted =
        (one_of(&[Root::Data, Root::Old]), one_of(&["total", "beats"])).prop_map(|(root, name)| field(root, name));
    let counted = prop_oneof![counted, Just(field(Root::Message, "0"))];
    prop_oneof![
        (any::<bool>(), one_of(&["till", "teller"])).prop_map(|(is, name)| Check::Kind { is, name: name.into() }),
        (any::<bool>(), one_of(&[true, false]))
            .prop_map(move |(is, of)| Check::Queue { is, queue: if of { TELLER } else { till } }),
        any::<bool>().prop_map(|is| Check::Sender { is, queue: TELLER }),
        (any::<bool>(), 0_u32..2).prop_map(|(is, worker)| Check::Worker { is, worker: WorkerId(worker) }),
        (one_of(Order::ALL), 0_u64..60).prop_map(|(order, round)| Check::Round { order, round }),
        one_of(HandlerIs::ALL).prop_map(Check::Handler),
        one_of(CameIs::ALL).prop_map(Check::Came),
        one_of(EndIs::ALL).prop_map(Check::Ended),
        names.prop_map(|name| Check::Is { field: field(Root::Message, ""), name: name.into() }),
        (one_of(&[Root::State, Root::StateBefore]), states)
            .prop_map(|(root, name)| Check::Is { field: field(root, ""), name: name.into() }),
        (counted, one_of(Order::ALL), literals()).prop_map(|(field, order, literal)| Check::Compare {
            field,
            order,
            literal
        }),
        one_of(&["total", "beats"]).prop_map(|name| Check::Changed(field(Root::Data, name))),
    ]
}

/// Expressions of such tests.
fn expressions(checks: impl Strategy<Value = Check> + 'static) -> impl Strategy<Value = Expression> {
    let test = checks.prop_map(|check| Expression::Test(Test { check, at: 0 }));
    test.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expression::all),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expression::any),
            inner.prop_map(|inner| Expression::Not(Box::new(inner))),
        ]
    })
}

/// Tests of every sort, most of which no program knows.
fn any_checks() -> impl Strategy<Value = Check> {
    let parts = prop_oneof![
        "[a-z][a-z0-9_]{0,4}".prop_map(PathPart::Field),
        any::<u64>().prop_map(PathPart::Index),
        any::<String>().prop_map(PathPart::Key),
    ];
    let fields = (one_of(&[Root::Message, Root::Data, Root::Old, Root::State]), prop::collection::vec(parts, 0..4))
        .prop_map(|(root, parts)| Field { root, path: FieldPath(parts) });
    let queues = (0_u32..3, any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(node, place, slot, generation)| {
        RawQueueId::new(qnfsm::NodeId(node), Place::from_bits(place), slot, generation)
    });
    let literals = prop_oneof![
        (any::<bool>(), any::<u128>()).prop_map(|(is_negative, magnitude)| Literal::Integer { is_negative, magnitude }),
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(Literal::Float),
        any::<String>().prop_map(Literal::Text),
        any::<bool>().prop_map(Literal::Bool),
        Just(Literal::None),
        queues.clone().prop_map(Literal::Queue),
        "[A-Z][a-z]{0,4}".prop_map(Literal::Name),
    ];
    prop_oneof![
        (any::<bool>(), any::<String>()).prop_map(|(is, name)| Check::Kind { is, name }),
        (any::<bool>(), queues.clone()).prop_map(|(is, queue)| Check::Queue { is, queue }),
        (any::<bool>(), queues).prop_map(|(is, queue)| Check::Sender { is, queue }),
        "[A-Z][a-z]{0,4}".prop_map(Check::Sent),
        (fields.clone(), "[A-Z][a-z]{0,4}").prop_map(|(field, name)| Check::Is { field, name }),
        (fields.clone(), one_of(Order::ALL), literals).prop_map(|(field, order, literal)| Check::Compare {
            field,
            order,
            literal
        }),
        fields.prop_map(Check::Changed),
        checks(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn expressions_read_back_as_they_are_shown(expression in expressions(any_checks())) {
        let text = expression.to_string();
        let read: Expression = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        prop_assert_eq!(read, expression, "{}", text);
    }

    #[test]
    fn no_text_makes_the_reading_of_an_expression_panic(text in any::<String>(), cut in "[a-z.\\[\\]()\"=<>!w0/ ]{0,30}") {
        let _ = (text.parse::<Expression>(), cut.parse::<Expression>());
    }
}

#[test]
fn a_search_stops_where_the_plain_model_says_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 25);
    let mut session = session(dir.path());
    let mut steps: Vec<(Spot, RoundLog, Step)> = Vec::new();
    loop {
        if let Some(step) = session.step() {
            steps.push((session.spot().unwrap(), session.log().unwrap().clone(), step.clone()));
        }
        if !session.forward(By::Step).unwrap() {
            break;
        }
    }
    let debugger = RefCell::new(Debugger::new(session));
    let config = ProptestConfig { cases: 60, ..ProptestConfig::default() };
    proptest!(config, |(expression in expressions(checks()))| {
        let mut debugger = debugger.borrow_mut();
        let expected: Vec<_> =
            steps.iter().filter(|(_, log, step)| holds(&expression, log, step)).map(|(spot, ..)| *spot).collect();
        // To each in turn from the start; a few backwards.
        said(&mut debugger, "start");
        let here = debugger.session().spot().unwrap();
        for spot in expected.iter().filter(|spot| **spot != here).take(40) {
            said(&mut debugger, &format!("find {expression}"));
            prop_assert_eq!(debugger.session().spot(), Some(*spot), "find {}", expression);
        }
        said(&mut debugger, "end");
        let here = debugger.session().spot().unwrap();
        for spot in expected.iter().rev().filter(|spot| **spot != here).take(10) {
            said(&mut debugger, &format!("rfind {expression}"));
            prop_assert_eq!(debugger.session().spot(), Some(*spot), "rfind {}", expression);
        }
        if expected.is_empty() {
            let line = format!("rfind {expression}");
            prop_assert!(matches!(debugger.line(&line), Err(DebugError::NotFound(_))));
        }
    });
}

#[test]
fn a_step_is_shown_with_what_changed_and_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 25);
    let mut debugger = Debugger::new(session(dir.path()));
    said(&mut debugger, "find message is Add and message.0 == 7 and state is Open");
    let step = json(&mut debugger, "show");
    assert_eq!(
        (&step["kind"], &step["handler"], &step["ended"]),
        (&"teller".into(), &"handle".into(), &"stayed".into())
    );
    assert_eq!(step["message"]["value"]["Add"], 7);
    let changed = &step["changed"][0];
    assert_eq!(changed["path"], "total");
    assert_eq!(changed["after"].as_u64().unwrap() - changed["before"].as_u64().unwrap(), 7);
    assert_eq!((&step["asked"][0]["ask"], &step["asked"][0]["value"]["Put"]), (&"send".into(), &7.into()));
    let text = said(&mut debugger, "show");
    assert!(
        text.contains("handle Order Add(7) from e1/") && text.contains("  asked    send Coin Put(7) to w1/0.1"),
        "{text}"
    );
    assert!(text.contains(&format!("total: {} → {}", changed["before"], changed["after"])), "{text}");
    // What was asked for, alone; and the place.
    assert_eq!(said(&mut debugger, "sent"), "send Coin Put(7) to w1/0.1");
    assert!(json(&mut debugger, "inputs")["frames"].as_array().is_some_and(|frames| !frames.is_empty()));
    assert_eq!(json(&mut debugger, "where")["ordinal"], step["at"]["ordinal"]);
}

#[test]
fn fsms_queues_and_timers_are_shown_as_they_are_at_the_step() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 25);
    let mut debugger = Debugger::new(session(dir.path()));
    said(&mut debugger, "find kind == teller and handler is handle");
    let timers = said(&mut debugger, "timers w0/0.1");
    assert!(timers.contains("timer `beat`") && timers.contains("every 1ms"), "{timers}");
    // Many messages wait, and what else does stands behind them.
    said(&mut debugger, "lines 1000");
    assert!(said(&mut debugger, "fsm").starts_with("w0/0.1 teller: Teller { total: 0"));
    said(&mut debugger, "find message is Count");
    assert!(said(&mut debugger, "fsm").contains("request"), "it waits for the till's answer");
    said(&mut debugger, "end");
    let fsms = json(&mut debugger, "fsms w1");
    assert_eq!((&fsms["fsms"][0]["kind"], fsms["fsms"].as_array().unwrap().len()), (&"till".into(), 1));
    assert_eq!(
        said(&mut debugger, "fsms till").lines().count(),
        said(&mut debugger, "fsms").matches("till").count() + 1
    );
    assert!(said(&mut debugger, "state w1/0.1").contains("Till { coins: 650 }"));
    for line in ["fsm w1/9.1", "state w9/0.1", "fsm e1/0.1", "fsms w9"] {
        let error = debugger.line(line).unwrap_err().to_string();
        assert!(error.contains("fsms") || error.contains("no round"), "{line}: {error}");
    }
}

#[test]
fn what_is_postponed_waits_and_a_panic_is_told() {
    let dir = tempfile::tempdir().unwrap();
    rig::door::recorded(dir.path());
    let mut debugger = Debugger::new(Session::open(dir.path(), rig::door::kinds(), &Options::new()).unwrap());
    said(&mut debugger, "find message.0 == 8");
    let waiting = said(&mut debugger, "queue");
    let lines: Vec<_> = waiting.lines().filter(|line| line.starts_with("postponed")).collect();
    let ends = ["Enter(7)", "Enter(7)", "Enter(8)"];
    assert!(lines.len() == 3 && lines.iter().zip(ends).all(|(line, end)| line.ends_with(end)), "{waiting}");
    said(&mut debugger, "find message is Open");
    let opened = said(&mut debugger, "show");
    assert!(opened.contains("state    Shut → Ajar") && opened.ends_with("ended    changed"), "{opened}");
    said(&mut debugger, "find message.0 == 8 and not ended postponed");
    let entered = said(&mut debugger, "show");
    assert!(entered.contains("inside[2]: (none) → 8"), "{entered}");
    said(&mut debugger, "find ended panicked");
    let panicked = said(&mut debugger, "show");
    assert!(panicked.contains("ended    panicked: its handler panicked: the hinges gave way, at "), "{panicked}");
    assert!(debugger.line("find ended panicked").is_err() && debugger.line("find ended failed").is_err());
    assert!(said(&mut debugger, "rfind data.inside[3] == 9").contains("Enter(9)"));
    assert!(debugger.line("find data.inside[4] != 9").is_err(), "what isn't there is never so");
}

/// Counts, and can't count to some number.
#[derive(serde::Serialize, Deserialize)]
struct Fragile {
    breaks_at: u64,
    count: u64,
}

impl qnfsm::Fsm for Fragile {
    const NAME: &'static str = "fragile";
    type State = u64;
    type Message = u64;

    fn start(&mut self, _: &mut qnfsm::Context<'_, Self>) -> u64 {
        0
    }

    fn handle(&mut self, _: u64, number: u64, cx: &mut qnfsm::Context<'_, Self>) -> qnfsm::Next<Self> {
        assert!(number < self.breaks_at, "it broke");
        self.count += 1;
        cx.send_self(number + 1);
        qnfsm::Next::Goto(number)
    }
}

/// Where a handler panics and its node ends, the worker is in the middle of a round: it is shown as it was before that step.
#[test]
fn a_worker_is_shown_where_it_came_to_its_end() {
    let kinds = || qnfsm::Kinds::new().with::<Fragile>();
    for breaks_at in [0, 5] {
        let dir = tempfile::tempdir().unwrap();
        let node = qnfsm::NodeBuilder::new("fragile", kinds()).dir(dir.path());
        let node = node.start(&Fragile { breaks_at, count: 0 }).unwrap();
        node.host().send(node.root(), &0).unwrap();
        node.wait().unwrap_err();
        let mut debugger = Debugger::new(Session::open(dir.path(), kinds(), &Options::new()).unwrap());
        said(&mut debugger, "end");
        let shown = said(&mut debugger, "show");
        assert!(shown.contains("panicked") && shown.contains("it broke"), "{shown}");
        let fsms = said(&mut debugger, "fsms");
        let steps = debugger.session().spot().unwrap().steps;
        assert!(fsms.contains(&format!("w0 after step {} of {steps} of round 1: ", steps - 1)), "{fsms}");
        let fsm = said(&mut debugger, "fsm");
        assert!(fsm.contains(&format!("count: {breaks_at}")), "{fsm}");
        let queue = said(&mut debugger, "queue");
        assert!(queue.contains(&breaks_at.to_string()), "what it failed with still waits: {queue}");
        said(&mut debugger, "timers");
    }
}

#[test]
fn a_run_stops_at_the_stops_in_both_directions_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 25);
    let mut debugger = Debugger::new(session(dir.path()));
    assert!(said(&mut debugger, "break message is Put and message.0 == 5").starts_with("stop 1: "));
    assert!(said(&mut debugger, "watch w0/0.1 data.till").starts_with("stop 2: "));
    assert!(said(&mut debugger, "break").contains("2  watch w0/0.1 data.till"));
    let mut seen = Vec::new();
    loop {
        let arrived = json(&mut debugger, "run");
        let Some(stop) = arrived["stop"].as_u64() else { break };
        seen.push((stop, debugger.session().spot().unwrap()));
    }
    assert_eq!(seen.iter().map(|(stop, _)| *stop).collect::<Vec<_>>(), [2, 1, 1]);
    assert!(!debugger.session().forward(By::Step).unwrap(), "a run that nothing stops goes to the end");
    let mut back = Vec::new();
    while let Some(stop) = json(&mut debugger, "reverse")["stop"].as_u64() {
        back.push((stop, debugger.session().spot().unwrap()));
    }
    back.reverse();
    assert_eq!(back, seen);
    assert_eq!(debugger.session().spot().unwrap().ordinal, 0);
    // A watched field is shown with both of its values.
    let stopped = said(&mut debugger, "run");
    assert!(stopped.starts_with("stopped at stop 2: watch w0/0.1 data.till"), "{stopped}");
    assert!(stopped.contains("till: None → Some(w1/0.1)"), "{stopped}");
    assert!(said(&mut debugger, "delete 2").contains("is gone"));
    assert!(wrong(&mut debugger, "delete 2").1.contains("no stop 2"));
    said(&mut debugger, "delete");
    assert!(said(&mut debugger, "run").contains("nothing stops a run yet"));
}

#[test]
fn ways_to_go_lead_where_the_session_s_own_do() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 25);
    let (mut debugger, mut other) = (Debugger::new(session(dir.path())), session(dir.path()));
    let same = |debugger: &mut Debugger, line: &str, other: &Session| {
        said(debugger, line);
        assert_eq!(debugger.session().spot(), other.spot(), "{line}");
    };
    (0..3).for_each(|_| assert!(other.forward(By::Step).unwrap()));
    same(&mut debugger, "step 3", &other);
    assert!(other.forward(By::Step).unwrap());
    same(&mut debugger, "s", &other);
    assert!(other.forward(By::Step).unwrap());
    same(&mut debugger, "", &other);
    assert!(other.back(By::Turn).unwrap());
    same(&mut debugger, "turn -1", &other);
    assert!(other.forward(By::Round).unwrap() && other.forward(By::Round).unwrap());
    same(&mut debugger, "round 2", &other);
    other.go_to(9).unwrap();
    same(&mut debugger, "goto 9", &other);
    other.go_to_round(WorkerId(1), 2).unwrap();
    same(&mut debugger, "goto w1:2", &other);
    let spot = other.spot().unwrap();
    said(&mut debugger, "start");
    same(&mut debugger, &format!("goto {}", spot.position), &other);
    // Behind the round's record stands the next one's.
    let behind = qnfsm::journal::Position { offset: spot.position.offset + 1, ..spot.position };
    said(&mut debugger, &format!("goto {behind}"));
    assert_eq!(debugger.session().spot().unwrap().ordinal, spot.ordinal + 1);
    other.go_to_time(spot.now).unwrap();
    let time = json(&mut debugger, "goto w1:2")["at"]["time"].as_str().unwrap().to_owned();
    same(&mut debugger, &format!("goto {time}"), &other);
    other.go_to_time(spot.now.after(Duration::from_millis(2))).unwrap();
    let from = debugger.session().spot().unwrap().now;
    assert_eq!(from, spot.now);
    same(&mut debugger, "goto +2ms", &other);
    other.go_to_start().unwrap();
    same(&mut debugger, "goto -1h", &other);
    assert!(said(&mut debugger, "back").starts_with("this is the start already"));
    for line in ["goto 99999999", "goto w1:99999999", "goto w7:1", "goto 99:1", "goto +10h"] {
        let error = debugger.line(line).unwrap_err();
        assert!(matches!(error, DebugError::Replay(_)), "{line}: {error}");
        assert_eq!(debugger.session().spot(), other.spot(), "it stands where it stood");
    }
}

#[test]
fn a_worker_that_is_not_there_is_refused_and_so_is_a_queue_of_it() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 25);
    let mut debugger = Debugger::new(session(dir.path()));
    for line in ["find worker == w9", "rfind kind == till and worker == w2", "break queue == w7/0.1", "watch w2/0.1"] {
        let error = debugger.line(line).unwrap_err();
        assert!(error.to_string().contains(": there are w0, w1"), "{line}: {error}");
    }
}

#[test]
fn a_run_that_nothing_stops_says_how_one_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 25);
    let mut debugger = Debugger::new(session(dir.path()));
    said(&mut debugger, "find kind == till and message.0 == 9");
    said(&mut debugger, "step");
    let before = debugger.session().spot().unwrap();
    assert!(before.step > 0, "the test shows something");
    for line in ["reverse", "run"] {
        let text = said(&mut debugger, line);
        assert_ne!(debugger.session().spot(), Some(before), "{line}");
        let head = text.lines().next().unwrap();
        let commands: Vec<_> = head.split('`').skip(1).step_by(2).filter(|it| !it.starts_with("help")).collect();
        assert_eq!(commands.len(), 2, "{head}");
        commands.iter().for_each(|command| _ = said(&mut debugger, command));
        assert_eq!(debugger.session().spot(), Some(before), "{head}");
    }
    // What it is called elsewhere isn't a command here, and it is said which is.
    let error = debugger.line("continue").unwrap_err().to_string();
    assert!(error.contains("here that is `run`"), "{error}");
    // Where it has gone nowhere there is no way back.
    said(&mut debugger, "reverse");
    let text = said(&mut debugger, "reverse");
    assert!(!text.lines().next().unwrap().contains("come back"), "{text}");
}

#[test]
fn what_led_to_a_message_is_told_over_workers_up_to_where_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 25);
    let mut debugger = Debugger::new(session(dir.path()));
    said(&mut debugger, "find kind == till and message.0 == 9");
    let causes = json(&mut debugger, "why");
    let chain: Vec<_> =
        causes["causes"].as_array().unwrap().iter().map(|it| (it["kind"].clone(), it["origin"].clone())).collect();
    assert_eq!(chain, [("till".into(), "step".into()), ("teller".into(), "outside".into())]);
    let text = said(&mut debugger, "why");
    assert!(text.contains("Add(9)") && text.contains("because of") && text.contains("which came from e1"), "{text}");
    assert!(said(&mut debugger, "why 1").ends_with("`why 100` goes further back"));
}

#[test]
fn what_is_wrong_with_a_line_is_told_with_its_column_and_the_name_that_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 2);
    let mut debugger = Debugger::new(session(dir.path()));
    for (line, column, what) in [
        ("brake x", 1, "did you mean `break`?"),
        ("break kind == tilll", 15, "did you mean `till`?"),
        ("break message is Addd", 7, "did you mean `Add`?"),
        ("break   not (message.coins > 1)", 14, "message has no field `coins`: there are 0, 1"),
        ("break data.totl > 1", 7, "data has no field `totl`: did you mean `total`?"),
        ("break data.waiting.x > 1", 7, "a place stands in brackets"),
        ("break data.total.x > 1", 7, "data.total has no parts"),
        ("break state is Opn", 7, "did you mean `Open`?"),
        ("break message is Add and", 25, "a test is expected here"),
        ("break message is Add or (kind == till", 38, "`)`"),
        ("break data.total >", 19, "a number"),
        ("break data.total ~ 1", 18, "`==`"),
        ("break data.total > 1x", 20, "no number"),
        ("break ended badly", 13, "stayed"),
        ("break changed message", 15, "`state` or `data`"),
        ("break data was Open", 15, "`old`"),
        ("break queue == w0", 16, "w0/7.1"),
        ("break kind == \"till", 15, "quote"),
        ("find", 5, "help expressions"),
        ("watch teller", 7, "w0/7.1"),
        ("watch w0/0.1 data.totl", 14, "did you mean `total`?"),
        ("goto nowhere", 6, "w0:17"),
        ("step many", 6, "a count"),
        ("step -1", 6, "`back` goes the other way"),
        ("show me", 6, "nothing is expected"),
        ("json maybe", 6, "`on` or `off`"),
        ("help brake", 6, "did you mean `break`?"),
        ("kinds tilll", 7, "did you mean `till`?"),
        ("fsm teller", 5, "w0/7.1"),
    ] {
        let (at, why) = wrong(&mut debugger, line);
        assert!(why.contains(what), "{line}: {why}");
        assert_eq!(at, column, "{line}: {why}");
    }
    assert!(said(&mut debugger, "break").contains("nothing stops"), "none of them was taken for a stop");
}

#[test]
fn what_a_line_can_go_on_with_is_offered() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 2);
    let debugger = Debugger::new(session(dir.path()));
    for (line, at, words) in [
        ("re", 0, &["reverse"][..]),
        ("break ki", 6, &["kind"]),
        ("break kind == t", 14, &["teller", "till"]),
        ("break message is A", 17, &["Add", "AfterBeats"]),
        ("break not (state was Op", 21, &["Open", "Opening"]),
        ("find data.t", 5, &["data.till", "data.total"]),
        ("find data.total > 3 and old.b", 24, &["old.beats"]),
        ("watch w0", 6, &["w0/0.1"]),
        ("watch w0/0.1 data.lu", 13, &["data.luck"]),
        ("break ended po", 12, &["postponed"]),
        ("fsms t", 5, &["teller", "till"]),
        ("fsms w", 5, &["w0", "w1"]),
        ("help exp", 5, &["expressions"]),
        ("break message is Add or c", 24, &["came", "changed"]),
    ] {
        let completion = debugger.complete(line);
        let offered: Vec<_> = completion.words.iter().map(String::as_str).collect();
        assert_eq!((completion.at, &offered[..]), (at, words), "{line}");
    }
    assert_eq!(debugger.complete("").words.len(), COMMANDS.len());
}

#[test]
fn a_search_that_is_interrupted_ends_and_the_session_stands_where_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 25);
    let mut debugger = Debugger::new(session(dir.path()));
    let here = debugger.session().spot();
    let interruption = debugger.interruption();
    // At the third round somebody has had enough.
    debugger.on_progress(move |progress| {
        if progress.rounds == 3 {
            interruption.store(true, Ordering::Relaxed);
        }
    });
    assert!(matches!(debugger.line("find message.0 == 999999"), Err(DebugError::Interrupted)));
    assert_eq!(debugger.session().spot(), here);
    debugger.on_progress(|_| ());
    assert!(matches!(debugger.line("find message.0 == 999999"), Err(DebugError::NotFound(_))), "the next one isn't");
}

#[test]
fn many_steps_and_the_way_to_a_cause_say_how_far_they_have_come() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 25);
    let mut debugger = Debugger::new(session(dir.path()));
    let told = Rc::new(RefCell::new(Vec::new()));
    let tells = told.clone();
    debugger.on_progress(move |progress| tells.borrow_mut().push(progress));
    let rounds = debugger.session().rounds();
    for line in ["step 40", "back 20", "step 999999", "why 50"] {
        if line == "why 50" {
            // What another worker sent is looked for among its rounds.
            debugger.line("rfind kind == till and came message").unwrap();
            told.take();
        }
        debugger.line(line).unwrap();
        let told = told.take();
        let (last, before) = told.split_last().expect("it is told that it is over");
        assert!(last.is_over && !before.is_empty(), "{line}: {told:?}");
        assert!(
            before.iter().all(|it| !it.is_over && it.rounds <= it.rounds_total && it.rounds_total <= rounds),
            "{told:?}"
        );
        if line != "why 50" {
            assert!(
                before.is_sorted_by_key(|it| it.rounds) && before.last().is_some_and(|it| it.rounds > 0),
                "{told:?}"
            );
        }
    }
}

#[test]
fn any_line_is_answered_without_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 2);
    let debugger = RefCell::new(Debugger::new(session(dir.path())));
    let names: Vec<String> = COMMANDS.iter().flat_map(|help| [help.name, help.short]).map(str::to_owned).collect();
    let tail = prop_oneof![
        any::<String>(),
        "[0-9a-z+:./wsTZ-]{0,12}",
        expressions(any_checks()).prop_map(|expression| expression.to_string()),
        Just(u64::MAX.to_string()),
        Just("-9223372036854775808".to_owned()),
    ];
    let lines = prop_oneof![
        any::<String>(),
        (0..names.len(), tail, any::<prop::sample::Index>()).prop_map(move |(at, tail, cut)| {
            let line = format!("{} {tail}", names[at]);
            let cut = cut.index(line.len() * 4).min(line.len());
            line.chars().take(cut).collect()
        }),
    ];
    proptest!(ProptestConfig { cases: 1500, ..ProptestConfig::default() }, |(line in lines)| {
        let mut debugger = debugger.borrow_mut();
        let _ = debugger.complete(&line);
        match debugger.line(&line) {
            Ok(answer) => if debugger.is_json() && !answer.text.is_empty() {
                let json = serde_json::from_str::<Value>(&answer.text);
                prop_assert!(json.is_ok(), "{:?}: {}", json, answer.text);
            },
            Err(DebugError::Line(wrong)) => prop_assert!(wrong.column(&line) <= line.chars().count() + 1 || line.trim().is_empty()),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    });
}

#[test]
fn help_tells_of_each_command_and_of_expressions() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), 2);
    let mut debugger = Debugger::new(session(dir.path()));
    let all = said(&mut debugger, "help");
    for help in COMMANDS {
        assert!(all.contains(help.name));
        assert!(said(&mut debugger, &format!("help {}", help.name)).contains(help.example));
    }
    assert!(said(&mut debugger, "help expressions").contains("changed data.score"));
    assert!(said(&mut debugger, "kinds teller").contains("Add"));
    assert!(debugger.line("quit").unwrap().ended);
}

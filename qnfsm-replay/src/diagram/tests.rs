//! Both ways of a journal into the same diagrams; and names that nobody would choose, in all of them. Where `QNFSM_DRAWN` names a directory, what
//! is drawn of these is left there for `.ci/interop` to render.

use std::{fs, path::Path, time::Duration};

use qnfsm::{
    Context, Fsm, Handler, Kinds, Next, NodeBuilder, NodeId, Place, RawQueueId, Recording, ReplyTo, Time, WorkerId,
    frame::Class,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    cover::{Cover, percent},
    event::{self, At, Chosen, Crossed, Ended, Feed, Ran, Sink, Way},
    observed::{Observed, Then, Trigger},
    records,
    seq::{self, Sequence},
    states::{self, Diagram},
    trace::Trace,
    ways::{self, Basis},
};
use crate::{Options, Walk, dump::tables::Tables};

/// A gate that holds what comes too early, in names that mean something to whoever draws them.
#[derive(Serialize, Deserialize)]
struct Gate {
    coins: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Bar {
    #[serde(rename = "end")]
    Down,
    #[serde(rename = "] --> [*] : \"x\"; <b>&'#35; %%{init: {}}%%\u{1b}[2J\n")]
    Up,
    #[serde(rename = "語語 style:x#y;")]
    Broken,
}

#[derive(Serialize, Deserialize)]
enum Event {
    #[serde(rename = "note left of p0: <script>alert(1)</script>")]
    Coin,
    #[serde(rename = "class Def;\r\nend")]
    Early,
    Expired,
    Useless,
    Child,
    Count(ReplyTo<u64>),
    Never,
}

impl Fsm for Gate {
    const NAME: &'static str = "gate<\"of\" & 'all'>";
    type State = Bar;
    type Message = Event;

    fn start(&mut self, _: &mut Context<'_, Self>) -> Bar {
        Bar::Down
    }

    fn handle(&mut self, bar: Bar, event: Event, cx: &mut Context<'_, Self>) -> Next<Self> {
        match (bar, event) {
            (Bar::Down, Event::Coin) => {
                self.coins += 1;
                cx.state_timeout(Duration::from_millis(1), Event::Expired);
                Next::Goto(Bar::Up)
            }
            (Bar::Down, early @ Event::Early) => Next::Postpone(early),
            (Bar::Up, Event::Expired) => Next::Goto(Bar::Down),
            (_, Event::Early) => Next::Stay,
            (_, Event::Child) => {
                let child = cx.spawn(Gate { coins: 0 });
                cx.send(child, Event::Coin);
                Next::Stay
            }
            (_, Event::Count(reply)) => {
                cx.reply(reply, self.coins);
                Next::Stay
            }
            (_, other) => Next::Unhandled(other),
        }
    }
}

fn kinds() -> Kinds {
    Kinds::new().with::<Gate>().message::<u64>()
}

/// A directory in which a gate was used.
fn used(dir: &Path) {
    let node = NodeBuilder::new("gates", kinds()).dir(dir).recording(Recording::Everything);
    let node = node.start(&Gate { coins: 0 }).expect("the directory is there");
    let host = node.host();
    for event in [Event::Useless, Event::Early, Event::Coin, Event::Child, Event::Early] {
        host.send(node.root(), &event).expect("it runs");
    }
    // Its timeout has come when it takes a coin again.
    while host.request(node.root(), Duration::from_secs(30), Event::Count).expect("it answers") < 2 {
        host.send(node.root(), &Event::Coin).expect("it runs");
    }
    node.stop().expect("it stops");
}

fn walked(dir: &Path, sink: &mut dyn Sink) -> Basis {
    let (chosen, options, mut basis) = (Chosen::default(), Options::new(), Basis::default());
    let walk = Walk::open(dir, kinds(), &options).expect("it was recorded by these kinds");
    ways::walked(walk, &mut Feed::new(&chosen, sink), &mut basis).expect("it is sound");
    basis
}

fn recorded(dir: &Path, sink: &mut dyn Sink) -> Basis {
    let (chosen, mut basis) = (Chosen::default(), Basis::default());
    records::recorded(dir, false, &mut Feed::new(&chosen, sink), &mut basis, |_, _| {}).expect("it is sound");
    basis
}

#[test]
fn where_everything_is_recorded_the_records_alone_tell_nearly_as_much_as_a_walk() {
    let dir = tempfile::tempdir().expect("there is room");
    used(dir.path());
    let (mut own, mut alone) = (Observed::new(None), Observed::new(None));
    let (own_basis, alone_basis) = (walked(dir.path(), &mut own), recorded(dir.path(), &mut alone));
    assert_eq!((own_basis.rounds, own.handlers), (alone_basis.rounds, alone.handlers));
    assert!(own.handlers > 10 && own_basis.remarks("states").is_empty());
    assert!(alone_basis.inputs_only.is_empty());
    assert!(
        alone_basis.remarks("states").iter().any(|remark| remark.contains("postponed")),
        "it says what it can't tell"
    );
    // What was covered is the same; only what came of it isn't always known.
    let cover = |observed: &Observed| {
        let (name, kind) = observed.kinds.iter().next().expect("there is one kind");
        let cover = Cover::of(name, kind);
        (
            cover.never().map(|(state, message)| (state.to_owned(), message.to_owned())).collect::<Vec<_>>(),
            percent(&[cover]),
        )
    };
    assert_eq!(cover(&own), cover(&alone));
    assert!((20.0..80.0).contains(&cover(&own).1), "{:?}", cover(&own));
    let counts = |observed: &Observed, then: fn(&Then) -> bool| -> u64 {
        let kinds = observed.kinds.values();
        kinds.flat_map(|kind| &kind.seen).filter(|(case, _)| then(&case.then)).map(|(_, count)| count).sum()
    };
    assert_eq!(counts(&own, |then| *then == Then::Postpones), 1);
    assert!(counts(&own, |then| *then == Then::Unhandled) > 0, "the useless one, and coins that came too late");
    assert_eq!(counts(&alone, |then| matches!(then, Then::Postpones | Then::Unhandled)), 0);
    let goes = |then: &Then| matches!(then, Then::Goes(_));
    assert_eq!(counts(&own, goes), counts(&alone, goes));
    let timers = |observed: &Observed| {
        let mut cases = observed.kinds.values().flat_map(|kind| kind.seen.keys());
        cases.any(|case| matches!(case.on, Trigger::Timer(_)))
    };
    assert_eq!((timers(&own), timers(&alone)), (true, false));
}

#[test]
fn messages_are_drawn_from_who_sent_them() {
    let dir = tempfile::tempdir().expect("there is room");
    used(dir.path());
    let mut sequence = Sequence::new(1000, 100);
    walked(dir.path(), &mut sequence);
    let ends: Vec<_> = sequence
        .arrows
        .iter()
        .map(|arrow| {
            (sequence.lanes[arrow.from].name.as_str(), sequence.lanes[arrow.to].name.as_str(), arrow.what.as_str())
        })
        .collect();
    let (root, child) = ("gate<\"of\" & 'all'> w0/0.1", "gate<\"of\" & 'all'> w0/1.1");
    let coin = "note left of p0: <script>alert(1)</script>";
    for wanted in [
        ("edge e1", root, "Child"),
        (root, child, "start"),
        (root, child, coin),
        (root, root, "Expired (timer)"),
        (root, "edge e1", "u64 (answer)"),
    ] {
        assert!(ends.contains(&wanted), "{wanted:?} in {ends:?}");
    }
}

#[test]
fn names_that_nobody_would_choose_break_nothing_that_is_drawn() {
    let dir = tempfile::tempdir().expect("there is room");
    used(dir.path());
    let (mut observed, mut sequence) = (Observed::new(None), Sequence::new(1000, 100));
    walked(dir.path(), &mut observed);
    walked(dir.path(), &mut sequence);
    let mut bytes = Vec::new();
    let mut trace = Trace::new(&mut bytes);
    walked(dir.path(), &mut trace);
    trace.finish(&["a \"remark\"\n".to_owned()]).expect("there is memory");
    let trace: Value = serde_json::from_slice(&bytes).expect("it is JSON");
    let diagrams: Vec<_> = observed.kinds.iter().map(|(name, kind)| Diagram::of(name, kind)).collect();
    let remarks = ["<a remark> --> \u{1b}[2J".to_owned()];
    let drawn = [
        ("hostile-states.mmd", states::mermaid(&diagrams, &remarks)),
        ("hostile-states.svg", states::picture(&diagrams, &remarks)),
        ("hostile-seq.mmd", seq::mermaid(&sequence, &remarks)),
        ("hostile-seq.svg", seq::picture(&sequence, &remarks)),
        ("hostile-trace.json", trace.to_string()),
    ];
    for (name, text) in &drawn {
        assert!(!text.contains('\u{1b}') && !text.contains("\\u001b["), "{name}: {text}");
        assert!(!text.contains("<script") || name.ends_with("json"), "{name}: {text}");
    }
    // A remark is drawn, and no comment, which nobody sees who looks at the drawing.
    for (drawn, note) in [(&drawn[0].1, "note right of k0s0 : "), (&drawn[2].1, "Note over p1: ")] {
        assert!(drawn.contains(&format!("{note}#60;a remark#62; --#62; ")) && !drawn.contains("%%"), "{drawn}");
    }
    // Each line is one that was meant: no name begins another.
    for line in drawn[0].1.lines().chain(drawn[2].1.lines()) {
        let line = line.trim_start();
        let meant = [
            "stateDiagram-v2",
            "sequenceDiagram",
            "Note over p",
            "note right of k",
            "state \"",
            "[*] --> ",
            "k0",
            "participant p",
            "p",
            "box transparent ",
            "end",
        ];
        assert!(meant.iter().any(|begin| line.starts_with(begin)), "{line}");
        assert!(line != "end" || drawn[2].1.contains("box"), "{line}");
    }
    if let Some(out) = std::env::var_os("QNFSM_DRAWN") {
        drawn.iter().for_each(|(name, text)| fs::write(Path::new(&out).join(name), text).expect("there is room"));
    }
}

/// A worker is told of a time at which another one's handlers have yet to be drawn, of which the last sent it something.
#[test]
fn an_arrow_to_a_round_of_an_earlier_time_doesn_t_go_back_in_it() {
    let tables = Tables::new(kinds().seal().expect("they are sound").table().clone());
    let at = |worker, now: u64| At {
        node: NodeId(0),
        ordinal: u64::from(worker),
        worker: WorkerId(worker),
        round: 1,
        now: Time::from_nanos(5_000_000_000 + now),
        is_whole: true,
    };
    let queue = |worker| RawQueueId::new(NodeId(0), Place::worker(WorkerId(worker)), 0, 1);
    let ran = |number: usize| Ran {
        queue: queue(0),
        kind: 0,
        handler: Handler::Start,
        parent: None,
        message: None,
        before: None,
        after: None,
        ended: Ended::Stayed,
        number,
        happening: 2,
    };
    let crossed = |way, other, by| Crossed {
        way,
        other: Place::worker(WorkerId(other)),
        number: 1,
        class: Class::Stop,
        from: queue(0),
        to: queue(1),
        of: 0,
        request: None,
        by,
        sent: None,
        bytes: &[],
    };
    let mut bytes = Vec::new();
    let mut trace = Trace::new(&mut bytes);
    let mut take = |at: &At, event| trace.take(&tables, at, &event).expect("there is memory");
    let (sends, takes) = (at(0, 0), at(1, 500));
    take(&sends, event::Event::Round(&[]));
    (0..40).for_each(|number| take(&sends, event::Event::Ran(ran(number))));
    take(&sends, event::Event::Crossed(crossed(Way::Out, 1, Some(30))));
    take(&takes, event::Event::Round(&[]));
    take(&takes, event::Event::Crossed(crossed(Way::In, 0, None)));
    trace.finish(&[]).expect("there is memory");
    let trace: Value = serde_json::from_slice(&bytes).expect("it is JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let when = |ph: &str| events.iter().find(|it| it["ph"] == ph).and_then(|it| it["ts"].as_f64()).expect("an arrow");
    let (begin, end) = (when("s"), when("f"));
    assert!((begin - 1_000_030.0).abs() < 0.1, "in the handler that sent it: {begin}");
    assert!(begin < end && end - begin < 0.1, "{begin} {end}");
}

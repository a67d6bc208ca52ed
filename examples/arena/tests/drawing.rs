//! The commands that draw a journal, on one of the arena under load, killed and recovered.

mod journals;

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
};

use journals::{Dir, alone, arena, copy, damage, files, json, middle, run, segment};
use serde_json::Value;

const COMMANDS: [&str; 4] = ["seq", "states", "cover", "trace"];

/// What all of a command's JSON is; of a trace, what it is without being asked.
fn object(command: &str, dir: &Dir, arguments: &[&str]) -> Value {
    json(command, dir.path(), arguments).remove(0)
}

fn trace(dir: &Dir, arguments: &[&str]) -> Value {
    let (status, out, err) = run("trace", dir.path(), arguments);
    assert_eq!(status, 0, "{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}"))
}

/// The part of an array whose texts under `key` are that.
fn with<'v>(array: &'v Value, key: &str, is: &str) -> Vec<&'v Value> {
    array.as_array().expect("a list").iter().filter(|it| it[key] == is).collect()
}

fn sum<'v>(of: impl IntoIterator<Item = &'v Value>) -> u64 {
    of.into_iter().map(|it| it.as_u64().expect("a number")).sum()
}

/// How many messages and starts a replay counts.
fn handled(dir: &Dir) -> u64 {
    let (status, out, err) = run("replay", dir.path(), &["--json", "--quiet"]);
    assert_eq!(status, 0, "{err}");
    let report: Value = serde_json::from_str(out.lines().last().unwrap_or_default()).expect("it is JSON");
    report["messages"].as_u64().expect("a number")
}

#[test]
fn each_command_says_what_it_does_and_gives_an_example() {
    for command in COMMANDS {
        let output = arena(&[command, "--help"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("Examples"), "{command}: {text}");
    }
}

#[test]
fn state_diagrams_count_each_handler_that_a_replay_runs() {
    let _alone = alone();
    for node in ["server", "bots"] {
        let dir = copy(node, "states");
        let before = files(dir.path());
        let states = object("states", &dir, &[]);
        let mut counted = 0;
        for kind in states["kinds"].as_array().expect("a list") {
            let moves = kind["moves"].as_array().expect("a list");
            counted += moves
                .iter()
                .flat_map(|it| it["on"].as_array().expect("a list"))
                .map(|on| on[1].as_u64())
                .map(Option::unwrap_or_default)
                .sum::<u64>();
            let within = kind["states"]
                .as_array()
                .expect("a list")
                .iter()
                .flat_map(|state| state["within"].as_array().expect("a list"));
            counted += within.map(|it| it["count"].as_u64().unwrap_or_default()).sum::<u64>();
        }
        assert_eq!(counted, handled(&dir), "{node}: {states}");
        assert_eq!(files(dir.path()), before, "reading changes nothing");
    }
}

#[test]
fn a_state_diagram_has_the_ways_that_connections_go() {
    let _alone = alone();
    let dir = copy("server", "ways");
    let states = object("states", &dir, &["--kind", "connection"]);
    let kind = &states["kinds"][0];
    assert_eq!((kind["kind"].as_str(), states["kinds"].as_array().map(Vec::len)), (Some("connection"), Some(1)));
    let number = |name: &str| kind["states"].as_array().and_then(|all| all.iter().position(|it| it["name"] == name));
    let (greeting, joining, playing) = (number("Greeting"), number("Joining"), number("Playing"));
    let end = |number: Option<usize>| serde_json::json!({"state": number});
    let way = |from: Value, to: Value| -> Option<&Value> {
        kind["moves"].as_array().and_then(|all| all.iter().find(|it| it["from"] == from && it["to"] == to))
    };
    let started = way("start".into(), end(greeting)).expect("they begin there")["on"][0][1].clone();
    assert!(started.as_u64() >= Some(10), "each bot connected: {kind}");
    assert_eq!(way(end(greeting), end(joining)).expect("a way")["on"][0], serde_json::json!(["Client", started]));
    assert_eq!(way(end(joining), end(playing)).expect("a way")["on"][0][0], "Joined");
    assert!(way(end(playing), end(greeting)).is_none());
    let (status, mermaid, _) = run("states", dir.path(), &["--kind", "connection"]);
    assert_eq!(status, 0);
    assert!(mermaid.starts_with("stateDiagram-v2\n") && mermaid.contains(&format!(": start ×{started}")), "{mermaid}");
    let (status, svg, _) = run("states", dir.path(), &["--kind", "connection", "--svg"]);
    assert!(status == 0 && svg.starts_with("<svg xmlns=") && svg.contains(&format!("Client ×{started}")), "{svg}");
    assert!(!svg.contains("href") && !svg.contains("<script"), "it holds all that it needs");

    let (status, _, err) = run("states", dir.path(), &["--kind", "nobody"]);
    assert!(status == 2 && err.contains("no kind is called `nobody`"), "{err}");
}

#[test]
fn coverage_counts_pairs_that_were_never_seen_and_its_status_says_when_it_is_too_little() {
    let _alone = alone();
    let dir = copy("server", "cover");
    let cover = object("cover", &dir, &[]);
    let states = object("states", &dir, &[]);
    for kind in cover["kinds"].as_array().expect("a list") {
        let size = |key: &str| kind[key].as_array().map_or(0, Vec::len) as u64;
        let never =
            cover["kinds"].as_array().and_then(|all| all.iter().position(|it| it == kind)).expect("it is there");
        assert_eq!(kind["pairs"], size("states") * size("messages"));
        assert_eq!(kind["pairs_seen"], size("seen"));
        assert_eq!(
            cover["never"][never].as_array().map_or(0, Vec::len) as u64,
            kind["pairs"].as_u64().unwrap_or(0) - size("seen")
        );
        // What is handled in a state is what its diagram says.
        let name = kind["kind"].as_str().expect("a name");
        let diagram = with(&states["kinds"], "kind", name);
        let starts = diagram[0]["moves"].as_array().expect("a list").iter().filter(|it| it["from"] == "start");
        let starts: u64 =
            starts.flat_map(|it| it["on"].as_array().expect("a list")).map(|on| on[1].as_u64().unwrap_or(0)).sum();
        let handled = sum(kind["seen"].as_array().expect("a list").iter().map(|it| &it["handled"]));
        assert!(starts > 0 && handled > 0, "{name}");
    }
    let percent = cover["percent"].as_f64().expect("a number");
    assert!(percent > 10.0 && percent < 90.0, "{percent}");
    let below = format!("{}", percent.floor());
    let above = format!("{}", percent.floor() + 1.0);
    assert_eq!(run("cover", dir.path(), &["--min", &below]).0, 0);
    let (status, text, err) = run("cover", dir.path(), &["--min", &above]);
    assert_eq!(status, 31, "{text}");
    assert!(err.contains("% are covered, ") && err.contains(&format!(", {above} % were asked for")), "{err}");
    assert!(text.contains("never seen: ") && text.contains("Closing") && !text.contains('\x1b'), "{text}");
    assert_eq!(run("cover", dir.path(), &["--min", "101"]).0, 2);
    // One kind alone, all of whose messages came.
    assert_eq!(object("cover", &dir, &["--kind", "world", "--min", "100"])["percent"], 100.0);
    // Of one worker, the kinds that live there are counted, and no others.
    let of_world = object("cover", &dir, &["--worker", "1"]);
    let kinds: Vec<_> = of_world["kinds"].as_array().expect("a list").iter().map(|it| &it["kind"]).collect();
    assert_eq!((kinds, &of_world["percent"]), (vec![&"world".into()], &100.0.into()));
}

#[test]
fn a_sequence_draws_every_message_in_order_or_says_how_many_it_left_out() {
    let _alone = alone();
    let dir = copy("server", "seq");
    let all = object("seq", &dir, &["--max", "1000000"]);
    assert_eq!(all["left_out"], 0);
    let messages = all["messages"].as_array().expect("a list");
    let few = object("seq", &dir, &["--max", "25"]);
    assert_eq!(few["messages"].as_array().expect("a list"), &messages[..25]);
    assert_eq!(few["left_out"].as_u64(), Some(messages.len() as u64 - 25));
    assert!(
        few["remarks"][0].as_str().is_some_and(|remark| remark.contains("more are left out")),
        "{}",
        few["remarks"]
    );
    let place =
        |end: &Value| all["lanes"][usize::try_from(end.as_u64().expect("a number")).expect("small")]["place"].clone();
    // What was handled, without enter actions, is what a replay counts; the rest went out to edges.
    let out = messages.iter().filter(|it| place(&it["to"]).as_str().is_some_and(|place| place.starts_with('e')));
    assert_eq!((messages.len() - out.count()) as u64, handled(&dir));
    for worker in [0, 1] {
        let rounds: Vec<_> =
            messages.iter().filter(|it| it["worker"] == worker).map(|it| it["round"].as_u64()).collect();
        assert!(rounds.len() > 100 && rounds.is_sorted(), "w{worker}");
    }
    // An answer comes from who gave it: the lobby asked for a world on the other worker.
    let world = messages.iter().find(|it| it["what"] == "World (answer)").expect("there is a world");
    assert_eq!((place(&world["from"]), place(&world["to"])), ("w1".into(), "w0".into()));
    // The connection that asked the world to join is answered by it.
    let joined =
        messages.iter().find(|it| it["what"] == "Joined (answer)" || it["what"] == "Joined").expect("somebody joined");
    assert_eq!((place(&joined["from"]), place(&joined["to"])), ("w1".into(), "w0".into()));
    assert_eq!(joined["goes_to"], "Playing");
}

#[test]
fn filters_of_a_sequence_choose_what_they_say() {
    let _alone = alone();
    let dir = copy("server", "chosen");
    let all = object("seq", &dir, &["--max", "1000000", "--max-lanes", "1000"]);
    let lane =
        |of: &Value, end: &Value| of["lanes"][usize::try_from(end.as_u64().expect("a number")).expect("small")].clone();
    let told = |of: &Value, matches: &dyn Fn(&Value) -> bool| -> Vec<(Value, Value, Value, Value)> {
        let messages = of["messages"].as_array().expect("a list").iter().filter(|it| matches(it));
        messages
            .map(|it| {
                (lane(of, &it["from"])["name"].clone(), it["what"].clone(), it["round"].clone(), it["worker"].clone())
            })
            .collect()
    };
    type Matches<'m> = &'m dyn Fn(&Value) -> bool;
    let of_worker = |it: &Value| it["worker"] == 1;
    let of_rounds = |it: &Value| (40..=60).contains(&it["round"].as_u64().expect("a number"));
    let of_kind = |it: &Value| lane(&all, &it["to"])["kind"] == "world";
    let of_queue = |it: &Value| ["from", "to"].iter().any(|end| lane(&all, &it[*end])["name"] == "world w1/0.1");
    let cases: [(&[&str], Matches<'_>); 4] = [
        (&["--worker", "1"], &of_worker),
        (&["--from-round", "40", "--to-round", "60"], &of_rounds),
        (&["--kind", "world"], &of_kind),
        (&["--queue", "w1/0.1"], &of_queue),
    ];
    for (arguments, matches) in cases {
        let shown = object("seq", &dir, &[&["--max", "1000000", "--max-lanes", "1000"], arguments].concat());
        let expected: Vec<_> = told(&all, matches).into_iter().map(|it| (it.1, it.2, it.3)).collect();
        let shown: Vec<_> = told(&shown, &|_| true).into_iter().map(|it| (it.1, it.2, it.3)).collect();
        assert!(
            !expected.is_empty() && expected.len() < all["messages"].as_array().map_or(0, Vec::len),
            "{arguments:?} decides something"
        );
        assert_eq!(shown, expected, "{arguments:?}");
    }
    let crowded = object("seq", &dir, &["--max", "1000000", "--max-lanes", "3"]);
    assert!(crowded["lanes"].as_array().is_some_and(|lanes| lanes.len() <= 3 + 5), "{}", crowded["lanes"]);
    assert_eq!(crowded["messages"].as_array().map(Vec::len), all["messages"].as_array().map(Vec::len));
}

#[test]
fn a_trace_holds_each_round_and_handler_once_and_every_arrow_has_both_ends_in_a_slice() {
    let _alone = alone();
    let dir = copy("server", "trace");
    let trace = trace(&dir, &[]);
    let events = &trace["traceEvents"];
    let (status, replayed, _) = run("replay", dir.path(), &["--json", "--quiet"]);
    assert_eq!(status, 0);
    let report: Value = serde_json::from_str(replayed.lines().last().unwrap_or_default()).expect("it is JSON");
    let (rounds, slices) = (with(events, "cat", "round"), with(events, "cat", "handler"));
    assert_eq!(rounds.len() as u64, report["rounds"].as_u64().expect("a number"));
    let is_enter = |slice: &&&Value| slice["name"].as_str().is_some_and(|name| name.ends_with(": enter"));
    let handlers = slices.iter().filter(|slice| !is_enter(slice));
    assert_eq!(handlers.count() as u64, report["messages"].as_u64().expect("a number"));
    // On one thread rounds don't overlap, nor handlers, and each handler lies in a round.
    let number = |it: &Value, key: &str| it[key].as_f64().expect("a number");
    let spans = |of: &[&Value], thread: u64| -> Vec<(f64, f64)> {
        let own = of.iter().filter(|it| it["tid"] == thread);
        own.map(|it| (number(it, "ts"), number(it, "ts") + number(it, "dur"))).collect()
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are told in thousandths")]
    let ns = |it: &Value| (number(it, "ts") * 1000.0).round() as u64;
    let nearly = 0.000_5;
    let within = |spans: &[(f64, f64)], at: f64| {
        let next = spans.partition_point(|span| span.0 <= at + nearly);
        next > 0 && at <= spans[next - 1].1 + nearly
    };
    let mut by_thread = BTreeMap::new();
    for thread in [1, 2] {
        let (rounds, handlers) = (spans(&rounds, thread), spans(&slices, thread));
        for spans in [&rounds, &handlers] {
            assert!(
                spans.len() > 100 && spans.windows(2).all(|pair| pair[0].1 <= pair[1].0 + nearly),
                "thread {thread}"
            );
        }
        assert!(handlers.iter().all(|span| within(&rounds, span.0) && within(&rounds, span.1)), "thread {thread}");
        by_thread.insert(thread, rounds);
    }
    // Each arrow leaves a slice and arrives in one, and no earlier; the slice that it leaves is its sender's.
    let by_start: BTreeMap<(u64, u64), &Value> =
        slices.iter().map(|it| ((it["tid"].as_u64().expect("a number"), ns(it)), *it)).collect();
    let handler = |end: &Value| {
        let tid = end["tid"].as_u64().expect("a number");
        by_start.range(..=(tid, ns(end))).next_back().map(|(_, slice)| *slice).expect("it has a handler before it")
    };
    let ends_of = |ph: &str| -> BTreeMap<u64, &Value> {
        with(events, "ph", ph).into_iter().map(|it| (it["id"].as_u64().expect("a number"), it)).collect()
    };
    let (from, to) = (ends_of("s"), ends_of("f"));
    assert!(from.len() > 1000 && from.keys().eq(to.keys()), "{}", from.len());
    let (mut between, mut joins) = (0, 0);
    for (id, from) in &from {
        let to = to[id];
        for end in [from, &to] {
            let thread = end["tid"].as_u64().expect("a number");
            assert!(within(&by_thread[&thread], number(end, "ts")), "{end}");
        }
        between += usize::from(from["tid"] != to["tid"]);
        assert!(number(from, "ts") < number(to, "ts"), "{from} {to}");
        let (sender, name) = (handler(from), from["name"].as_str().unwrap_or_default());
        if from["tid"] == to["tid"] {
            assert_eq!(sender["args"]["queue"], handler(to)["args"]["from"], "{from} {to}");
        }
        // What only one of the handlers asks for.
        for (what, by) in [("Join", "connection: Client"), ("Joined", "world: Join"), ("watch", "world: Join")] {
            assert!(name != what || sender["name"] == by, "{from} {sender}");
        }
        joins += usize::from(name == "Join" && from["tid"] != to["tid"]);
    }
    assert!(between > 100 && joins > 0, "messages between the workers: {between}, {joins} of them to join");
}

#[test]
fn what_the_records_alone_tell_is_drawn_and_it_is_said_what_they_dont() {
    let _alone = alone();
    let dir = copy("server", "alone");
    let known = object("seq", &dir, &["--max", "1000000"]);
    let dumped = json("dump", dir.path(), &["--no-snapshots"]);
    let frames = dumped.iter().filter(|line| line["what"] == "frame").count();
    let seq = object("seq", &dir, &["--as-recorded", "--max", "1000000"]);
    assert_eq!(seq["messages"].as_array().map(Vec::len), Some(frames), "each frame that entered, and nothing else");
    assert!(known["messages"].as_array().map(Vec::len) > Some(frames), "the program's kinds tell more");
    // The world is started by another worker's FSM: that asks the worker, and not a queue that nobody has.
    let lanes: Vec<_> = seq["lanes"].as_array().expect("a list").iter().filter_map(|it| it["name"].as_str()).collect();
    assert!(lanes.contains(&"worker w1") && !lanes.iter().any(|lane| lane.ends_with(".0")), "{lanes:?}");
    let remark = seq["remarks"][0].as_str().unwrap_or_default();
    assert!(
        remark.contains("w0, w1") && remark.contains("`seq <dir>` of the program") && remark.contains("Everything"),
        "{remark}"
    );
    let trace = trace(&dir, &["--as-recorded"]);
    let rounds = dumped.iter().filter(|line| line["what"] == "round").count();
    assert_eq!(with(&trace["traceEvents"], "cat", "round").len(), rounds);
    for command in ["states", "cover"] {
        let (status, _, err) = run(command, dir.path(), &["--as-recorded"]);
        assert!(status == 35 && err.contains("of the program that recorded it"), "{command}: {err}");
    }
}

#[test]
fn of_a_damaged_journal_what_comes_before_is_drawn_and_then_the_damage_is_said() {
    let _alone = alone();
    let dir = copy("server", "damaged");
    let second = segment(dir.path(), 2);
    damage(&second, middle(&second));
    for command in COMMANDS {
        let (status, out, err) = run(command, dir.path(), &[]);
        assert!(status == 20 && err.contains("00000002.qjl"), "{command}: {status} {err}");
        assert!(out.len() > 200, "{command} draws what comes before: {out}");
    }
    let trace: Value =
        serde_json::from_str(&run("trace", dir.path(), &[]).1).expect("a trace that ends early is whole");
    assert!(with(&trace["traceEvents"], "cat", "round").len() > 10);
}

#[test]
fn what_is_no_node_s_directory_is_told_apart() {
    let dir = Dir::new("drawn-nothing");
    std::fs::create_dir_all(dir.path().join("empty")).expect("there is room");
    for command in COMMANDS {
        for (name, expected) in [("empty", 11), ("missing", 12)] {
            let (status, out, err) = run(command, &dir.path().join(name), &[]);
            assert_eq!((status, out.as_str()), (expected, ""), "{command} {name}: {err}");
        }
    }
}

#[test]
fn a_pipe_that_closes_ends_a_command_in_silence() {
    let _alone = alone();
    let dir = copy("server", "drawn-pipe");
    let dir = dir.path().to_string_lossy();
    for command in COMMANDS {
        let mut child = Command::new(env!("CARGO_BIN_EXE_arena"));
        let mut child =
            child.args([command, &*dir]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        // Before it has written anything.
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), err.as_ref()), (Some(0), ""), "{command}");
    }
}

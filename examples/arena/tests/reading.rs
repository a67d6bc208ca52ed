//! The commands that read a journal, on one of the arena under load, killed and recovered.

mod journals;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use journals::{Dir, alone, arena, copy, damage, files, json, middle, run, segment, serve};
use serde_json::Value;

fn count(lines: &[Value], what: &str) -> usize {
    lines.iter().filter(|line| line["what"] == what).count()
}

#[test]
fn each_command_says_what_it_does_and_gives_an_example() {
    for command in ["describe", "dump", "stat", "snapshot", "verify", "repair", "replay"] {
        let output = arena(&[command, "--help"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("Example"), "{command}: {text}");
    }
}

#[test]
fn describe_counts_what_dump_shows() {
    let _alone = alone();
    let dir = copy("server", "describe");
    let before = files(dir.path());
    let described = json("describe", dir.path(), &[]).remove(0);
    let lines = json("dump", dir.path(), &[]);
    let summary = lines.last().expect("a summary is the last line");
    for number in ["records", "rounds", "frames", "messages"] {
        assert_eq!(described[number], summary[number], "{number}");
        assert!(described[number].as_u64() > Some(100), "{number} of a load: {described}");
    }
    for (class, frames) in described["frames_by_class"].as_object().expect("an object") {
        let shown = lines.iter().filter(|line| line["what"] == "frame" && line["class"] == **class).count();
        assert_eq!(*frames, shown, "{class}");
    }
    let workers = described["workers"].as_array().expect("a list");
    assert_eq!(workers.len(), 2);
    for worker in workers {
        let rounds: Vec<_> =
            lines.iter().filter(|line| line["what"] == "round" && line["worker"] == worker["worker"]).collect();
        let of = |line: Option<&&Value>| line.map(|line| line["round"].clone()).unwrap_or_default();
        assert_eq!((&worker["rounds"], &worker["started_in"]), (&rounds.len().into(), &1.into()));
        assert_eq!((&worker["first_round"], &worker["last_round"]), (&of(rounds.first()), &of(rounds.last())));
    }
    let times: Vec<_> =
        lines.iter().filter(|line| line["what"] == "round").filter_map(|line| line["time"].as_str()).collect();
    assert_eq!(
        (described["from"].as_str(), described["to"].as_str()),
        (times.iter().min().copied(), times.iter().max().copied())
    );
    let epochs: Vec<_> =
        described["epochs"].as_array().expect("a list").iter().map(|it| (&it["epoch"], &it["clean_stop"])).collect();
    let (no, yes) = (false.into(), true.into());
    assert_eq!(epochs, [(&1.into(), &no), (&2.into(), &no), (&3.into(), &yes)], "killed twice, and stopped");
    let counting =
        described["snapshots"].as_array().expect("a list").iter().filter(|snapshot| snapshot["counts"] == true);
    assert_eq!(counting.count(), count(&lines, "snapshot"), "each mark's file is there");
    assert_eq!(described["kinds"].as_array().map(Vec::len), Some(3));
    assert_eq!((&described["clean_stop"], &described["lost"]), (&true.into(), &Value::Null));

    let (status, text, err) = run("describe", dir.path(), &[]);
    assert_eq!((status, err.as_str()), (0, ""));
    for part in ["arena-server, node 0", "a clean stop", "epoch 1", "lobby", "arena::wire::ClientMessage"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\x1b'), "no colours beside a terminal: {text}");
    assert_eq!(files(dir.path()), before, "reading changes nothing");
}

/// What an index says is used where it is of the same segments, and nowhere else.
#[test]
fn an_index_spares_reading_and_is_not_believed() {
    let _alone = alone();
    let (dir, beside) = (copy("server", "indexed"), Dir::new("index"));
    let index = beside.path().join("index").to_string_lossy().into_owned();
    let describe = |dir: &Dir| {
        let mut described = json("describe", dir.path(), &["--index", &index]).remove(0);
        let from_index = described["segments_from_index"].take();
        (described, from_index.as_u64().expect("a number"))
    };
    let (read, none) = describe(&dir);
    assert_eq!(none, 0, "there was no index");
    assert_eq!(describe(&dir), (read.clone(), 2), "all but the last segment are known");

    // Of another node.
    let bots = copy("bots", "indexed-bots");
    let of_bots = json("describe", bots.path(), &[]).remove(0);
    assert_eq!((describe(&bots).0["messages"].clone(), describe(&bots).1), (of_bots["messages"].clone(), 0));
    // Damaged.
    damage(index.as_ref(), middle(index.as_ref()));
    assert_eq!(describe(&dir), (read.clone(), 0));
    // Of a segment that has another length, or another end by the link of the next.
    assert_eq!(describe(&dir).1, 2);
    let mut longer = fs::read(segment(dir.path(), 1)).expect("it is there");
    longer.extend([0; 7]);
    fs::write(segment(dir.path(), 1), longer).expect("it can be written");
    let (described, from_index) = describe(&dir);
    assert_eq!((described["rounds"].clone(), from_index), (read["rounds"].clone(), 0), "zeros are no records");
    let text = fs::read_to_string(&index).expect("it is there");
    let (_, object) = text.split_once('\n').expect("it has two lines");
    let object: Value = serde_json::from_str(object).expect("it is JSON");
    // Each of the two by itself, and neither of them.
    for (harmed, from_index) in [(None, 2), (Some("end"), 0), (Some("header"), 0)] {
        let mut object = object.clone();
        match harmed {
            Some("end") => object["sealed"][0]["end"][1] = 12345.into(),
            Some(field) => object["sealed"][0][field] = 12345.into(),
            None => {}
        }
        let object = object.to_string();
        fs::write(&index, format!("{:016x}\n{object}", qnfsm::Digest::of(object.as_bytes())))
            .expect("it can be written");
        assert_eq!(describe(&dir).1, from_index, "{harmed:?}");
    }

    // In the node's directory, in another node's, and in place of something else, which stays.
    for inside in [dir.path().join("index"), bots.path().join("manifest")] {
        let (status, _, err) = run("describe", dir.path(), &["--index", &inside.to_string_lossy()]);
        assert_eq!(status, 2);
        assert!(err.contains("give another file"), "{err}");
    }
    let notes = beside.path().join("notes");
    fs::write(&notes, "what I know of it").expect("it can be written");
    let described = json("describe", dir.path(), &["--index", &notes.to_string_lossy()]).remove(0);
    assert!(described["remarks"][0].as_str().expect("it is said").contains("something else than an index"));
    assert_eq!(fs::read_to_string(&notes).expect("it is there"), "what I know of it");
}

#[test]
fn a_snapshot_is_printed_wholly_by_its_worker_and_round() {
    let _alone = alone();
    let dir = copy("server", "snapshot");
    let all = json("snapshot", dir.path(), &[]);
    let dumped = json("dump", dir.path(), &[]);
    let parts = ["fsm", "waiting", "timer", "request", "monitors"];
    let of = |lines: &[Value], worker: u64| -> Vec<Value> {
        let is_part = |line: &&Value| line["worker"] == worker && parts.iter().any(|part| line["what"] == *part);
        let strip = |line: &Value| {
            let mut line = line.clone();
            line.as_object_mut().map(|line| (line.remove("segment"), line.remove("offset")));
            line
        };
        lines.iter().filter(is_part).map(strip).collect()
    };
    for worker in 0..2 {
        let one = json("snapshot", dir.path(), &["--worker", &worker.to_string()]);
        assert_eq!(of(&one, worker), of(&dumped, worker), "the only snapshot of w{worker} is what dump shows");
        assert_eq!(of(&one, worker), of(&all, worker));
        assert_eq!(of(&one, 1 - worker), Vec::<Value>::new());
        let round = one[0]["round"].to_string();
        assert_eq!(json("snapshot", dir.path(), &["--worker", &worker.to_string(), "--round", &round]), one);
    }
    let (status, _, err) = run("snapshot", dir.path(), &["--worker", "7"]);
    assert!(status == 2 && err.contains("there are those of w1 after round"), "{status} {err}");
}

/// What `stat` says is what counting all lines of a dump gives.
#[test]
fn stat_counts_who_sent_what_to_whom_and_how_long_it_took() {
    let _alone = alone();
    let dir = copy("server", "stat");
    let counted = json("stat", dir.path(), &["--top", "5"]).remove(0);
    let lines = json("dump", dir.path(), &["--no-snapshots"]);
    let frames: Vec<_> = lines.iter().filter(|line| line["what"] == "frame").collect();
    assert_eq!(counted["frames"], frames.len());
    for of in counted["types"].as_array().expect("a list") {
        let name = of["name"].as_str().expect("a text");
        let is_it = |frame: &&&Value| match (frame["class"].as_str(), frame["type"].as_str()) {
            (Some("spawn"), Some(kind)) => name == format!("spawn of {kind}"),
            (_, Some(of)) => name == of,
            (class, None) => Some(name) == class,
        };
        assert_eq!(of["frames"], frames.iter().filter(is_it).count(), "{name}");
        let size = |which: &str| of["size"][which].as_u64();
        assert!(size("min") <= size("p50") && size("p50") <= size("p99") && size("p99") <= size("max"), "{of}");
    }
    let mut pairs: BTreeMap<(String, String), u64> = BTreeMap::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    frames.iter().for_each(|frame| *pairs.entry((text(&frame["from"]), text(&frame["to"]))).or_default() += 1);
    let mut most: Vec<u64> = pairs.values().copied().collect();
    most.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
    let talkers = counted["talkers"].as_array().expect("a list");
    assert_eq!(talkers.iter().filter_map(|pair| pair["frames"].as_u64()).collect::<Vec<_>>(), most[..5]);
    for pair in talkers {
        assert_eq!(pairs.get(&(text(&pair["from"]), text(&pair["to"]))).copied(), pair["frames"].as_u64());
    }
    // Between the workers: the time of the round that a frame enters, less that of the sender's last round before it.
    let (mut latest, mut longest, mut lags) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut longest_of_queues: BTreeMap<(String, String), u64> = BTreeMap::new();
    for line in &lines {
        let worker = format!("w{}", line["worker"]);
        if line["what"] == "round" {
            let now = nanos(line["time"].as_str().expect("a text"));
            latest.insert(worker, now);
        } else if line["what"] == "frame"
            && let Some(source) = line["source"].as_str().filter(|source| source.starts_with('w'))
        {
            let lag = latest[&worker].saturating_sub(latest[source]);
            let of_queues = longest_of_queues.entry((text(&line["from"]), text(&line["to"]))).or_default();
            *of_queues = lag.max(*of_queues);
            let pair = (source.to_owned(), worker);
            *lags.entry(pair.clone()).or_insert(0_u64) += 1;
            longest.entry(pair).and_modify(|longest: &mut u64| *longest = lag.max(*longest)).or_insert(lag);
        }
    }
    let said = counted["lags"].as_array().expect("a list");
    assert_eq!(said.len(), 2);
    for lag in said {
        let pair = (text(&lag["from"]), text(&lag["to"]));
        assert_eq!(lag["count"].as_u64(), lags.get(&pair).copied());
        let (said, longest) = (lag["ns"]["max"].as_u64().expect("a number"), longest[&pair]);
        assert!(said >= longest && said <= longest + longest / 50, "to two digits: {said} {longest}");
    }
    // And between the queues themselves, of those that are in different workers; which pairs talk most is chance.
    let all = json("stat", dir.path(), &["--top", "10000"]).remove(0);
    let talkers = all["talkers"].as_array().expect("a list");
    assert_eq!(talkers.len(), pairs.len());
    let mut timed = 0;
    for pair in talkers {
        let longest = longest_of_queues.get(&(text(&pair["from"]), text(&pair["to"]))).copied();
        assert_eq!(pair["lag_ns"].is_object(), longest.is_some(), "{pair}");
        if let (Some(longest), Some(said)) = (longest, pair["lag_ns"]["max"].as_u64()) {
            assert!(said >= longest && said <= longest + longest / 10, "to one digit: {said} {longest}");
            timed += 1;
        }
    }
    assert!(timed > 0, "the test shows something: {all}");
    assert!(counted["remarks"].to_string().contains("isn't recorded"), "what it can't tell: {counted}");
    let (status, text, err) = run("stat", dir.path(), &[]);
    assert!(status == 0 && text.contains("ClientMessage") && text.contains("note: "), "{text} {err}");
}

/// The nanoseconds of a moment.
fn nanos(moment: &str) -> u64 {
    moment.parse::<qnfsm_replay::dump::Instant>().expect("a moment").0.as_nanos()
}

/// Filters of `dump`, each by itself and together: what is shown is what a look through all lines finds.
#[test]
fn each_filter_of_dump_shows_what_it_says_and_they_compose() {
    let _alone = alone();
    let dir = copy("server", "filters");
    let all = json("dump", dir.path(), &["--no-snapshots"]);
    let frames: Vec<_> = all.iter().filter(|line| line["what"] == "frame").collect();
    let shown = |arguments: &[&str]| -> Vec<Value> {
        let lines = json("dump", dir.path(), &[&["--no-snapshots"], arguments].concat());
        // What parts are shown of is shown too, and nothing else.
        let others = ["segment", "round", "frame", "summary"];
        assert!(lines.iter().all(|line| others.iter().any(|other| line["what"] == *other)), "{arguments:?}");
        let rounds = |of: &str| -> Vec<_> {
            let mut rounds: Vec<_> = lines
                .iter()
                .filter(|line| line["what"] == of)
                .map(|line| (line["worker"].as_u64(), line["round"].as_u64()))
                .collect();
            // A round's frames are many, but it is shown once.
            if of == "frame" {
                rounds.dedup();
            }
            rounds
        };
        assert_eq!(rounds("round"), rounds("frame"), "each round before its first frame, once: {arguments:?}");
        lines.into_iter().filter(|line| line["what"] == "frame").collect()
    };
    type Matches<'m> = &'m dyn Fn(&Value) -> bool;
    let of_queue = |line: &Value| line["to"] == "w1/0.1" || line["from"] == "w1/0.1";
    let of_world = |line: &Value| line["to"] == "w1/0.1" || (line["class"] == "spawn" && line["type"] == "world");
    let is_variant = |line: &Value| line["value"]["Command"].is_object() || line["value"] == "Command";
    let of_player = |line: &Value| {
        let player = |value: &Value| value["player"] == 3;
        player(&line["value"]) || line["value"].as_object().is_some_and(|it| it.len() == 1 && it.values().all(player))
    };
    let number_one =
        |line: &Value| line["value"].as_object().is_some_and(|it| it.values().any(|value| value["number"] == 1));
    let cases: [(&[&str], Matches<'_>); 5] = [
        (&["--queue", "w1/0.1"], &of_queue),
        (&["--kind", "world"], &of_world),
        (&["--variant", "Command"], &is_variant),
        (&["--field", "player=3"], &of_player),
        (&["--field", "number=1"], &number_one),
    ];
    for (arguments, matches) in cases {
        let expected: Vec<Value> = frames.iter().filter(|line| matches(line)).map(|line| (*line).clone()).collect();
        assert!(
            !expected.is_empty() && expected.len() < frames.len(),
            "{arguments:?} decides something: {}",
            expected.len()
        );
        assert!(shown(arguments) == expected, "{arguments:?} shows others than the {} that there are", expected.len());
    }
    let together =
        ["--queue", "w1/0.1", "--kind", "world", "--variant", "Command", "--field", "player=3", "--worker", "1"];
    let expected: Vec<Value> = frames
        .iter()
        .filter(|line| of_queue(line) && of_world(line) && is_variant(line) && of_player(line))
        .map(|it| (*it).clone())
        .collect();
    assert!(!expected.is_empty());
    assert!(shown(&together) == expected, "{together:?}");
    assert_eq!(shown(&["--variant", "Command", "--worker", "0", "--queue", "w1/0.1"]), Vec::<Value>::new());
}

#[test]
fn snapshots_are_filtered_by_kind_and_state_too() {
    let _alone = alone();
    let dir = copy("server", "filtered");
    let fsms = |arguments: &[&str]| -> Vec<Value> {
        let lines = json("dump", dir.path(), arguments);
        lines.into_iter().filter(|line| line["what"] == "fsm").map(|line| line["kind"].clone()).collect()
    };
    assert_eq!(fsms(&["--kind", "world"]), ["world"]);
    assert_eq!(fsms(&["--queue", "w0/0.1", "--variant", "Open"]), ["lobby"]);
    assert_eq!(fsms(&["--kind", "world", "--variant", "Open"]), Vec::<Value>::new());
    let lines = json("dump", dir.path(), &["--kind", "world", "--worker", "1"]);
    assert_eq!(
        (count(&lines, "snapshot"), count(&lines, "timer")),
        (1, 1),
        "the snapshot that it is of, and what waits for it"
    );
}

#[test]
fn a_span_of_time_shows_the_rounds_of_it() {
    let _alone = alone();
    let dir = copy("server", "span");
    let all = json("dump", dir.path(), &["--no-snapshots"]);
    let times: Vec<_> =
        all.iter().filter(|line| line["what"] == "round").filter_map(|line| line["time"].as_str()).collect();
    let mut sorted = times.clone();
    sorted.sort_unstable();
    let (from, to) = (sorted[sorted.len() / 3], sorted[sorted.len() / 2]);
    let within: Vec<_> = times.iter().filter(|time| (from..=to).contains(time)).collect();
    let shown = json("dump", dir.path(), &["--no-snapshots", "--from-time", from, "--to-time", to]);
    let rounds: Vec<_> =
        shown.iter().filter(|line| line["what"] == "round").filter_map(|line| line["time"].as_str()).collect();
    assert_eq!(rounds.iter().collect::<Vec<_>>(), within);
    assert!(shown.iter().all(|line| line["what"] != "sync_mark"), "what is of no time isn't shown");
    assert!(count(&shown, "digest_mark") > 0, "what is said of a worker is of its last round's time");
    let (status, _, err) = run("dump", dir.path(), &["--from-time", "yesterday"]);
    assert!(status == 2 && err.contains("RFC 3339"), "{err}");
    let (status, _, err) = run("dump", dir.path(), &["--queue", "world"]);
    assert!(status == 2 && err.contains("such as w0/7.1"), "{err}");
}

/// What a running node records is shown as it comes, over a kill and another start.
#[test]
fn a_growing_journal_is_followed_over_a_kill_and_a_start() {
    let _alone = alone();
    let dir = copy("server", "followed");
    let last_known = json("dump", dir.path(), &[]).len() - 1;
    let mut reader = Command::new(env!("CARGO_BIN_EXE_arena"))
        .args(["dump", "--follow", "--json"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let mut lines = BufReader::new(reader.stdout.take().expect("it is piped")).lines();
    let mut line = || -> Value {
        let line = lines.next().expect("it goes on").expect("it can be read");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    for _ in 0..last_known {
        assert_ne!(line()["what"], "error");
    }
    for epoch in [4, 5] {
        // That another one reads keeps no node from starting.
        let mut server = serve(&dir);
        assert!(server.line().contains(&format!("epoch {epoch}")));
        loop {
            let shown = line();
            assert_ne!(shown["what"], "error", "{shown}");
            if shown["what"] == "segment" && shown["epoch"] == epoch {
                break;
            }
        }
        // Its world goes on ticking, and is seen to.
        while line()["what"] != "round" {}
        drop(server);
    }
    reader.kill().expect("it runs");
    let _ = reader.wait();
}

//! What is drawn of several nodes: one sequence with each message once, one trace with a process for each. Where `QNFSM_DRAWN` names a
//! directory, what is drawn is left there to be looked at.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use qnfsm_tests::rally::{
    Ball, EAST,
    hand::{Carried, Hand},
    player,
};
use serde_json::Value;
use tempfile::TempDir;

use super::{BEHIND_S, dirs, hands, played};

fn compass(command: &str, dirs: &[&Path], arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_compass")).arg(command).args(dirs).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn both(dirs: &[TempDir; 2]) -> [&Path; 2] {
    [dirs[0].path(), dirs[1].path()]
}

fn seq(dirs: &[&Path], arguments: &[&str]) -> Value {
    let (status, out, err) = compass("seq", dirs, &[&["--json"], arguments].concat());
    assert_eq!(status, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

fn keep(name: &str, text: &str) {
    if let Some(out) = std::env::var_os("QNFSM_DRAWN") {
        fs::write(Path::new(&out).join(name), text).unwrap();
    }
}

/// The messages of a sequence, as lines of who sent what to whom in which round.
fn lines(sequence: &Value) -> Vec<String> {
    let lane = |end: &Value| {
        sequence["lanes"][usize::try_from(end.as_u64().unwrap()).unwrap()]["name"].as_str().unwrap().to_owned()
    };
    let line = |it: &Value| {
        let round = format!("n{} {}", it["node"], it["round"]);
        format!("{} > {}: {} ({round})", lane(&it["from"]), lane(&it["to"]), it["what"].as_str().unwrap())
    };
    sequence["messages"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn a_sequence_of_several_nodes_draws_each_message_once_from_node_to_node() {
    let dirs = played(2);
    let sequence = seq(&both(&dirs), &[]);
    let (east, west) = ("player n1:w0/0.1", "player n2:w0/0.1");
    let judge = |node: u32| format!("judge n{node}:w0/1.1");
    let expected = [
        format!("{west} > {west}: start (n2 1)"),
        format!("{west} > {}: start (n2 1)", judge(2)),
        format!("{east} > {east}: start (n1 1)"),
        format!("{east} > {}: start (n1 1)", judge(1)),
        format!("edge n1:e1 > {east}: Serve (n1 2)"),
        format!("{east} > {west}: Hit (n2 2)"),
        format!("{west} > {}: Hit (n2 2)", judge(2)),
        format!("{west} > {east}: Hit (n1 3)"),
        format!("{east} > {}: Hit (n1 3)", judge(1)),
        format!("{east} > {west}: Hit (n2 3)"),
        format!("{west} > {}: Hit (n2 3)", judge(2)),
    ];
    assert_eq!(lines(&sequence), expected);
    assert_eq!(sequence["remarks"], Value::Array(Vec::new()));
    // One node alone shows what it put out for its edge.
    let alone = lines(&seq(&[dirs[0].path()], &[]));
    assert!(alone.contains(&format!("{east} > edge n1:e8: Hit (n1 2)")), "{alone:?}");
    let of_west = lines(&seq(&both(&dirs), &["--node", "2"]));
    assert!(!of_west.is_empty() && of_west.iter().all(|line| line.contains("(n2 ")), "{of_west:?}");
}

#[test]
fn what_never_came_in_is_drawn_to_the_edge_and_what_was_never_sent_is_remarked() {
    let dirs = dirs();
    let [mut east, mut west] = hands(&dirs);
    east.tell(10_001, &Ball::Serve(0));
    let second = east.tell(10_002, &Ball::Serve(1));
    let carried = [second, vec![Carried::made_up(player(EAST).raw(), &Ball::Hit(9))]].concat();
    west.tell(6_499, &Ball::Hit(0));
    west.bring(6_500, &carried);
    [east, west].into_iter().for_each(Hand::stop);
    let sequence = seq(&both(&dirs), &[]);
    let lost: Vec<_> = lines(&sequence).into_iter().filter(|line| line.contains("> edge n1:e8")).collect();
    assert_eq!(lost, ["player n1:w0/0.1 > edge n1:e8: Hit (n1 2)"]);
    // Node by node: the edge of the second stands behind the workers of the first.
    let (_, mermaid, _) = compass("seq", &both(&dirs), &[]);
    let lanes = mermaid.lines().filter(|line| line.trim_start().starts_with("participant "));
    let nodes: Vec<_> = lanes.map(|lane| lane.contains("n2#58;")).collect();
    assert!(nodes.len() == 8 && nodes.is_sorted(), "{mermaid}");
    let remarks = sequence["remarks"].to_string();
    assert!(
        remarks.contains("frames to n2:w0/0.1 that came from n1:w0/0.1") && remarks.contains("doesn't show"),
        "{remarks}"
    );
}

#[test]
fn both_forms_name_each_node_and_its_workers() {
    let dirs = played(3);
    let (status, mermaid, _) = compass("seq", &both(&dirs), &[]);
    assert_eq!(status, 0);
    for part in ["box transparent n1 w0", "box transparent n2 w0", "as player n2#58;w0/0.1", "Hit → Playing (n2 w0 2)"]
    {
        assert!(mermaid.contains(part), "{part}: {mermaid}");
    }
    let (status, svg, _) = compass("seq", &both(&dirs), &["--svg"]);
    assert_eq!(status, 0);
    for part in [">n1 w0<", ">n2 w0<", ">n2 w0 #2<", ">player n1:w0/0.1<"] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
    keep("nodes-seq.mmd", &mermaid);
    keep("nodes-seq.svg", &svg);
}

#[test]
fn a_trace_has_a_process_for_each_node_and_no_arrow_goes_back_in_time() {
    let dirs = played(10);
    let (status, out, err) = compass("trace", &both(&dirs), &[]);
    assert_eq!(status, 0, "{err}");
    keep("nodes-trace.json", &out);
    let trace: Value = serde_json::from_str(&out).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let names: BTreeMap<_, _> = events
        .iter()
        .filter(|event| event["name"] == "process_name")
        .map(|event| (event["pid"].as_u64().unwrap(), event["args"]["name"].as_str().unwrap()))
        .collect();
    assert_eq!(names, [(2, "node 1"), (3, "node 2")].into_iter().collect());
    let ends = |ph: &str| -> BTreeMap<u64, &Value> {
        events.iter().filter(|event| event["ph"] == ph).map(|event| (event["id"].as_u64().unwrap(), event)).collect()
    };
    let (from, to) = (ends("s"), ends("f"));
    let across = from.iter().filter(|(id, from)| from["pid"] != to[*id]["pid"]);
    assert_eq!(across.count(), 11, "each hit");
    for (id, from) in &from {
        assert!(from["ts"].as_f64() < to[id]["ts"].as_f64(), "{from} {}", to[id]);
    }
    // Each end lies in a round of its node, whose recorded time stands beside it.
    let rounds: Vec<_> = events.iter().filter(|event| event["cat"] == "round").collect();
    assert_eq!(rounds.len(), 2 + 1 + 11);
    for end in from.values().chain(to.values()) {
        let at = end["ts"].as_f64().unwrap();
        let around = |round: &&&Value| {
            let begin = round["ts"].as_f64().unwrap();
            round["pid"] == end["pid"] && begin <= at && at <= begin + round["dur"].as_f64().unwrap()
        };
        assert!(rounds.iter().any(|round| around(&round)), "{end}");
    }
    let told = |pid: u64, round: &str| {
        let of = rounds.iter().find(|event| event["pid"] == pid && event["name"] == round).unwrap();
        of["args"]["now_ns"].as_str().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(told(2, "round 2") - told(3, "round 2"), (BEHIND_S - 1) * 1_000_000_000, "what was recorded is kept");
    let remarks = trace["otherData"]["remarks"].to_string();
    assert!(remarks.contains("the clock of node 2 is drawn 3599"), "{remarks}");
}

#[test]
fn without_kinds_nodes_stand_by_their_clocks_and_that_is_said() {
    let dirs = played(4);
    let sequence = seq(&both(&dirs), &["--as-recorded"]);
    let remarks = sequence["remarks"].to_string();
    assert!(remarks.contains("in the order of their clocks") && remarks.contains("n1:w0, n2:w0"), "{remarks}");
    let times: Vec<_> =
        sequence["messages"].as_array().unwrap().iter().map(|it| it["time"].as_str().unwrap()).collect();
    assert!(times.len() > 5 && times.is_sorted(), "{times:?}");
    let frames: Vec<_> = lines(&sequence).into_iter().filter(|line| line.contains("Hit")).collect();
    assert_eq!(frames.len(), 5, "{frames:?}");
    let (status, trace, _) = compass("trace", &both(&dirs), &["--as-recorded"]);
    assert_eq!(status, 0);
    assert!(serde_json::from_str::<Value>(&trace).unwrap()["otherData"]["remarks"].to_string().contains("clocks"));
}

#[test]
fn wrong_directories_end_the_commands_as_they_end_a_replay() {
    let dirs = played(1);
    let nothing = tempfile::tempdir().unwrap();
    let missing = nothing.path().join("missing");
    for command in ["seq", "trace"] {
        for kinds in [&[][..], &["--as-recorded"]] {
            let with = |other: &Path| {
                let (status, out, err) = compass(command, &[dirs[0].path(), other], kinds);
                assert_eq!(out, "", "{command}: {err}");
                (status, err)
            };
            assert_eq!(with(&missing).0, 12, "{command}");
            assert_eq!(with(nothing.path()).0, 11, "{command}");
            let (status, err) = with(dirs[0].path());
            assert!(status == 2 && err.contains("both of node 1"), "{command}: {status} {err}");
        }
    }
}

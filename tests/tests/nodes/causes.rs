//! What led to a step, walked back from one node into another: by sessions, and by the debugger.

use std::process::Command;

use qnfsm::{Handler, NodeId};
use qnfsm_replay::{
    Debugger, Options, ReplayError, Session, Sessions,
    nodes::{NodeCause, Whence},
    session::{Direction, Origin},
};
use qnfsm_tests::rally::{
    Ball, EAST, WEST,
    hand::{Carried, Hand},
    kinds, player,
};
use serde_json::Value;
use tempfile::TempDir;

use super::{dirs, hands, played, queue};

fn session(dir: &TempDir, node: NodeId) -> Session {
    Session::open(dir.path(), kinds(node), &Options::new()).unwrap()
}

fn sessions(dirs: &[TempDir; 2]) -> Sessions {
    Sessions::new(vec![session(&dirs[0], EAST), session(&dirs[1], WEST)]).unwrap()
}

/// Goes to the last message that a node's player was given, and gives what led to it.
fn causes_of_last(sessions: &mut Sessions, node: NodeId, steps_max: usize) -> Vec<NodeCause> {
    let session = sessions.session(node).unwrap();
    session.go_to_end().unwrap();
    let is_wanted =
        |step: &qnfsm_replay::session::Step| step.queue == player(node).raw() && step.handler == Handler::Handle;
    if !session.step().is_some_and(is_wanted) {
        session.find(Direction::Back, |_, step| is_wanted(step)).unwrap();
    }
    sessions.causes(node, steps_max).unwrap()
}

#[test]
fn causes_are_walked_back_from_node_to_node_to_where_it_all_entered() {
    let dirs = played(5);
    let mut sessions = sessions(&dirs);
    // The last of six hits is the east's; west hit first.
    let causes = causes_of_last(&mut sessions, EAST, 100);
    let ways: Vec<_> = causes.iter().map(|cause| (cause.node, cause.cause.round)).collect();
    assert_eq!(ways, [(EAST, 5), (WEST, 4), (EAST, 4), (WEST, 3), (EAST, 3), (WEST, 2), (EAST, 2)]);
    let (serve, hits) = causes.split_last().unwrap();
    for (hit, next) in hits.iter().zip(&causes[1..]) {
        assert!(matches!(hit.cause.origin, Origin::Outside { .. }));
        let Some(Whence::Sent(sending)) = hit.came.map(|came| came.whence) else { panic!("{hit:?}") };
        assert_eq!((sending.node, sending.ordinal, sending.round), (next.node, next.cause.ordinal, next.cause.round));
        assert_eq!(next.cause.step.queue, hit.came.unwrap().sender);
    }
    assert!(
        serve.came.is_none()
            && matches!(serve.cause.origin, Origin::Outside { source, .. } if source.to_string() == "e1")
    );
    assert_eq!(causes_of_last(&mut sessions, EAST, 3).len(), 3, "no more than was asked for");
    assert_eq!(sessions.walked().unwrap().sent, 6);
}

#[test]
fn a_message_within_a_node_leads_out_of_it_too() {
    let dirs = played(2);
    let mut sessions = sessions(&dirs);
    // The judge of the west was told of a hit by its player, who had it from the east.
    let west = sessions.session(WEST).unwrap();
    west.go_to_end().unwrap();
    let judge = queue("n2:w0/1.1");
    west.find(Direction::Back, |_, step| step.queue == judge && step.handler == Handler::Handle).unwrap();
    let causes = sessions.causes(WEST, 3).unwrap();
    let ways: Vec<_> = causes.iter().map(|cause| (cause.node, cause.cause.step.queue.to_string())).collect();
    let expected = [(WEST, "n2:w0/1.1"), (WEST, "n2:w0/0.1"), (EAST, "n1:w0/0.1")];
    assert_eq!(ways, expected.map(|(node, queue)| (node, queue.to_owned())));
}

#[test]
fn a_frame_that_nobody_put_out_ends_the_way_back_and_says_so() {
    let dirs = dirs();
    let [mut east, mut west] = hands(&dirs);
    west.bring(6_401, &[Carried::made_up(player(EAST).raw(), &Ball::Hit(0))]);
    east.tell(10_001, &Ball::Serve(9));
    [east, west].into_iter().for_each(Hand::stop);
    let causes = causes_of_last(&mut sessions(&dirs), WEST, 10);
    assert_eq!(causes.len(), 1);
    assert_eq!(causes[0].came.map(|came| came.whence), Some(Whence::NotShown));
    let mut debugger = Debugger::new(session(&dirs[1], WEST)).with(vec![session(&dirs[0], EAST)]).unwrap();
    debugger.line("end").unwrap();
    debugger.line("rfind message is Hit and queue == n2:w0/0.1").unwrap();
    let text = debugger.line("why").unwrap().text;
    assert!(text.contains("which came from n1:w0/0.1 of node 1, whose journal doesn't show that it sent it"), "{text}");
}

#[test]
fn sessions_of_one_number_and_of_no_node_are_refused() {
    let dirs = played(1);
    let error = Sessions::new(vec![session(&dirs[0], EAST), session(&dirs[0], EAST)]).unwrap_err();
    assert!(matches!(&error, ReplayError::Misuse(text) if text.contains("both of node 1")), "{error}");
    assert!(sessions(&dirs).causes(NodeId(9), 1).unwrap_err().to_string().contains("node 9"));
    let again = Debugger::new(session(&dirs[0], EAST)).with(vec![session(&dirs[0], EAST)]);
    assert!(again.unwrap_err().to_string().contains("both of node 1"));
}

#[test]
fn the_debugger_walks_over_goes_there_and_comes_back_to_where_it_stood() {
    let dirs = played(3);
    let mut debugger = Debugger::new(session(&dirs[0], EAST)).with(vec![session(&dirs[1], WEST)]).unwrap();
    let mut said = |line: &str| debugger.line(line).unwrap_or_else(|error| panic!("{line}: {error}")).text;
    said("goto w0:3");
    let why = said("why");
    let lines: Vec<_> = why.lines().map(str::trim).collect();
    assert!(lines[0].starts_with("n1 w0 round 3, step 1 ") && lines[0].contains("Hit"), "{why}");
    assert!(lines.contains(&"which n2:w0/0.1 of node 2 put out in w0 round 2, because of"), "{why}");
    // By the names of its own node's types, which numbers them otherwise.
    assert!(lines.iter().any(|line| line.starts_with("n2 w0 round 2, step 1 ") && line.contains("Hit(3)")), "{why}");
    assert!(lines.last().unwrap().starts_with("which came from e1, its number 1"), "{why}");
    assert_eq!(said("node"), "node 1; this one is looked at\nnode 2");
    said("break message is Hit");
    assert!(said("node 2").contains("node 2"));
    // Types are shown by the table of the node, which numbers them otherwise; stops are another node's.
    said("goto w0:2");
    assert!(said("show").contains("Hit") && said("break").contains("nothing stops"), "{}", said("break"));
    assert!(said("why").contains("n1:w0/0.1 of node 1 put out in w0 round 2"));
    said("node n1");
    assert!(said("where").contains("w0 round 3") && said("break").contains("Hit"), "{}", said("where"));
    said("json on");
    let why: Value = serde_json::from_str(&said("why")).unwrap();
    assert_eq!((&why["causes"][0]["node"], &why["causes"][0]["came"]["whence"]), (&1.into(), &"sent".into()));
    assert_eq!(why["causes"][1]["node"], 2);
    let error = debugger.line("node 7").unwrap_err().to_string();
    assert!(error.contains("node 7") && error.contains("--with"), "{error}");
}

#[test]
fn the_command_opens_several_with_each_its_own_program_s_kinds() {
    let dirs = played(3);
    let debug = |with: &[&TempDir]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
        command.arg("debug").arg(dirs[1].path()).args(["--command", "goto w0:3", "--command", "why"]);
        with.iter().for_each(|dir| _ = command.arg("--with").arg(dir.path()));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, out, err) = debug(&[&dirs[0]]);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(out.matches("put out in w0 round").count(), 3, "{out}");
    let (status, out, _) = debug(&[]);
    assert!(status == Some(0) && !out.contains("n1 w0") && out.contains("which came from e8"), "{out}");
    let (status, _, err) = debug(&[&dirs[1]]);
    assert!(status == Some(2) && err.contains("both of node 2"), "{err}");
}

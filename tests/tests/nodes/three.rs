//! Three nodes: each ball goes round among them, and their clocks are hours apart. And nodes whose journals' beginnings were given up.

use std::{ops::ControlFlow, path::Path, time::Duration};

use qnfsm::{
    Handler, Limits, Node, NodeBuilder, NodeId, RunOn,
    journal::{Manifest, RealFiles},
};
use qnfsm_replay::{
    Nodes, Options, Session, Sessions,
    nodes::NodesWalked,
    session::{Direction, Step},
};
use qnfsm_tests::rally::{Ball, EAST, NORTH, WEST, hand::Hand, kinds, player};
use rally::{first, link::links};
use tempfile::TempDir;

use super::{BEHIND_S, Order, assert_causes_first, senders};

const ALL: [NodeId; 3] = [EAST, WEST, NORTH];

/// The next node of a ring of three.
fn next(node: NodeId) -> NodeId {
    NodeId(node.0 % 3 + 1)
}

fn walk(dirs: &[TempDir; 3], kinds_of: impl Fn(NodeId) -> qnfsm::Kinds) -> (Order, NodesWalked) {
    let (options, mut order, mut nodes) = (Options::new(), Order::new(), Nodes::new());
    for (dir, node) in dirs.iter().zip(ALL) {
        nodes = nodes.with(dir.path(), kinds_of(node), &options).unwrap();
    }
    let walked = nodes.rounds(|round| {
        order.push((round.node, round.log.round, round.came.iter().map(|came| came.whence).collect()));
        ControlFlow::Continue(())
    });
    (order, walked.unwrap())
}

/// Three directories in which a ball was hit on so often. Each node's clock is an hour behind that of the node before it.
fn played(hits: u64) -> [TempDir; 3] {
    let dirs = ALL.map(|_| tempfile::tempdir().unwrap());
    let begun_s = |node: NodeId| 20_000 - u64::from(node.0) * BEHIND_S;
    let mut hands: Vec<_> =
        dirs.iter().zip(ALL).map(|(dir, node)| Hand::new(dir.path(), node, next(node), begun_s(node))).collect();
    let mut carried = hands[0].tell(begun_s(EAST) + 1, &Ball::Serve(hits));
    let mut after_s = 1;
    while let [ball] = &carried[..] {
        let node = ball.to;
        after_s += 1;
        carried = hands[node.0 as usize - 1].bring(begun_s(node) + after_s, &carried);
    }
    hands.into_iter().for_each(Hand::stop);
    dirs
}

#[test]
fn a_ball_that_goes_round_is_followed_from_node_to_node_though_each_clock_is_behind_the_one_before() {
    let dirs = played(20);
    let (order, walked) = walk(&dirs, kinds);
    assert_causes_first(&order);
    assert_eq!((walked.rounds, walked.sent, order.len()), (3 + 1 + 21, 21, 25));
    let turns: Vec<_> = order.iter().filter(|(_, round, _)| *round > 1).map(|(node, ..)| *node).collect();
    let in_turn: Vec<_> = (0..22).map(|turn| ALL[turn % 3]).collect();
    assert_eq!(turns, in_turn);
    assert!(walked.remarks().is_empty(), "{walked:?}");
}

#[test]
fn causes_lead_round_through_all_three_and_end_where_a_node_is_not_open() {
    let dirs = played(7);
    let session = |at: usize| Session::open(dirs[at].path(), kinds(ALL[at]), &Options::new()).unwrap();
    let causes = |at: &[usize]| {
        let mut sessions = Sessions::new(at.iter().map(|at| session(*at)).collect()).unwrap();
        // The last hit is the third node's.
        let north = sessions.session(NORTH).unwrap();
        north.go_to_end().unwrap();
        let is_hit = |step: &Step| step.queue == player(NORTH).raw() && step.handler == Handler::Handle;
        north.find(Direction::Back, |_, step| is_hit(step)).unwrap();
        let causes = sessions.causes(NORTH, 100).unwrap();
        causes.iter().map(|cause| cause.node).collect::<Vec<_>>()
    };
    let round = [NORTH, WEST, EAST];
    let expected: Vec<_> = (0..9).map(|back| round[back % 3]).collect();
    assert_eq!(causes(&[0, 1, 2]), expected);
    assert_eq!(causes(&[2, 1]), [NORTH, WEST], "what the east did isn't known");
    assert_eq!(causes(&[0, 2]), [NORTH], "nor how it came there");
}

/// Starts a node that keeps at most so many bytes.
fn bounded(dir: &Path, node: NodeId, link: rally::link::Link, retain_bytes: Option<u64>) -> Node<Ball> {
    let limits = Limits { retain_bytes, sync_every: Duration::from_millis(5), ..Limits::default() };
    let mut builder = NodeBuilder::new("rally", rally::kinds()).dir(dir).node_id(node).limits(limits);
    builder.reactor(RunOn::Thread, link);
    builder.start(&first(node, next(node))).unwrap()
}

#[test]
fn of_a_node_whose_journal_s_beginning_was_given_up_what_is_left_is_found() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let dirs = ALL.map(|_| tempfile::tempdir().unwrap());
    let oldest = |at: usize| Manifest::load(&RealFiles, dirs[at].path()).unwrap().oldest_segment;
    let nodes: Vec<_> = links(&ALL)
        .into_iter()
        .zip(ALL)
        .map(|(link, node)| {
            let retain = (node == EAST).then_some(256 << 10);
            bounded(dirs[node.0 as usize - 1].path(), node, link, retain)
        })
        .collect();
    // One rally, because no two of its hits are alike; the last of them is the east's.
    nodes[0].host().send(nodes[0].root(), &Ball::Serve(20_000)).unwrap();
    let _ = nodes[0].host().request(nodes[0].root(), PATIENCE, Ball::WhenDown).unwrap();
    nodes.into_iter().for_each(|node| _ = node.stop().unwrap());
    assert!(
        oldest(0) > 1 && oldest(1) == 1 && oldest(2) == 1,
        "the east has given something up, and the others have all"
    );

    let (order, walked) = walk(&dirs, |_| rally::kinds());
    assert_causes_first(&order);
    let to_west = senders(&order, WEST);
    let shown = to_west.iter().filter(|sender| sender.is_some()).count();
    let first_shown = to_west.iter().position(Option::is_some).unwrap();
    assert!(first_shown > 0, "what the east sent first is gone");
    assert_eq!(to_west.len() - first_shown, shown, "and all is found from where its journal begins");
    let pair = (player(EAST).raw(), player(WEST).raw());
    assert_eq!(walked.not_shown.iter().collect::<Vec<_>>(), [(&pair, &(first_shown as u64))]);
    assert!(senders(&order, NORTH).iter().all(Option::is_some), "the west has all that it sent");
    assert_eq!((walked.circles, walked.doubled, walked.forgotten), (0, 0, 0), "{walked:?}");
    assert!(walked.remarks().iter().any(|remark| remark.contains("doesn't show that it sent them")), "{walked:?}");
}

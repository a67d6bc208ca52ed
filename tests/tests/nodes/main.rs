//! The journals of several nodes together: causes before effects whatever the clocks say, and what is said where frames were lost, doubled, or never
//! sent.
//!
//! The nodes are run by hand, so that each says the time that a test wants, and carries what it wants; `drawn` has real ones.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod causes;
mod drawn;
mod three;

use std::{fs, ops::ControlFlow, path::Path};

use qnfsm::{NodeId, RawQueueId};
use qnfsm_replay::{
    Nodes, Options, ReplayError,
    nodes::{NodesWalked, Whence},
};
use qnfsm_tests::rally::{
    Ball, EAST, WEST,
    hand::{Carried, Hand},
    kinds, player,
};
use tempfile::TempDir;

/// How far the clock of one node is behind that of the other, in seconds: the answer to a ball is recorded an hour before the ball.
pub(crate) const BEHIND_S: u64 = 3600;

/// The rounds of a walk, by node and their own number, with where what came from the other node was put out.
type Order = Vec<(NodeId, u64, Vec<Whence>)>;

fn dirs() -> [TempDir; 2] {
    [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]
}

/// Nodes whose starts were recorded: the east's clock is an hour ahead.
fn hands(dirs: &[TempDir; 2]) -> [Hand; 2] {
    [Hand::new(dirs[0].path(), EAST, WEST, 10_000), Hand::new(dirs[1].path(), WEST, EAST, 10_000 - BEHIND_S)]
}

/// Plays one ball, to be hit so often, a second each.
fn play(east: &mut Hand, west: &mut Hand, now_s: u64, hits: u64) {
    let mut carried = east.tell(now_s, &Ball::Serve(hits));
    let mut now_s = now_s;
    while !carried.is_empty() {
        now_s += 1;
        carried = west.bring(now_s - BEHIND_S, &carried);
        now_s += 1;
        carried = if carried.is_empty() { carried } else { east.bring(now_s, &carried) };
    }
}

/// Two directories in which a ball was played.
pub(crate) fn played(hits: u64) -> [TempDir; 2] {
    let dirs = dirs();
    let [mut east, mut west] = hands(&dirs);
    play(&mut east, &mut west, 10_001, hits);
    [east, west].into_iter().for_each(Hand::stop);
    dirs
}

fn walk_in(dirs: &[(&Path, NodeId)], window_bytes: usize) -> Result<(Order, NodesWalked), ReplayError> {
    let (options, mut order) = (Options::new(), Order::new());
    let mut nodes = Nodes::new().window_bytes(window_bytes);
    for (dir, node) in dirs {
        nodes = nodes.with(dir, kinds(*node), &options)?;
    }
    let walked = nodes.rounds(|round| {
        order.push((round.node, round.log.round, round.came.iter().map(|came| came.whence).collect()));
        ControlFlow::Continue(())
    });
    Ok((order, walked?))
}

fn walk(dirs: &[TempDir; 2]) -> (Order, NodesWalked) {
    walk_in(&[(dirs[0].path(), EAST), (dirs[1].path(), WEST)], 64 << 20).unwrap()
}

/// The rounds of the senders of what came into a node, in order; none for a frame whose sender's round isn't known.
fn senders(order: &Order, node: NodeId) -> Vec<Option<u64>> {
    let came = order.iter().filter(|(of, ..)| *of == node).flat_map(|(.., came)| came);
    came.map(|whence| whence.sending().map(|sending| sending.round)).collect()
}

/// Every cause that is told comes before its effect, and each node's rounds come in their order.
fn assert_causes_first(order: &Order) {
    let at = |wanted: (NodeId, u64)| order.iter().position(|(node, round, _)| (*node, *round) == wanted);
    for (effect, (node, round, came)) in order.iter().enumerate() {
        for sending in came.iter().filter_map(Whence::sending) {
            assert!(at((sending.node, sending.round)) < Some(effect), "{sending:?} led to round {round} of {node:?}");
        }
        assert!(*round == 1 || at((*node, round - 1)) < Some(effect), "round {round} of {node:?}");
    }
}

#[test]
fn causes_come_before_effects_though_the_clocks_say_the_opposite() {
    let dirs = played(20);
    let (order, walked) = walk(&dirs);
    assert_causes_first(&order);
    // The start of each, the serve, and each hit; one after another, as it was played.
    assert_eq!((walked.rounds, order.len(), walked.sent), (2 + 1 + 21, 24, 21));
    let turns: Vec<_> = order.iter().filter(|(_, round, _)| *round > 1).map(|(node, ..)| *node).collect();
    let played: Vec<_> = (0..22).map(|turn| if turn % 2 == 0 { EAST } else { WEST }).collect();
    assert_eq!(turns, played);
    assert_eq!((walked.doubled, walked.alike, walked.lost, walked.circles, walked.not_shown.len()), (0, 0, 0, 0, 0));
    assert!(walked.remarks().is_empty());
    assert_eq!(walk(&dirs), (order, walked), "it is the same each time");
}

#[test]
fn directories_may_be_given_in_any_order() {
    let dirs = played(5);
    let turned = walk_in(&[(dirs[1].path(), WEST), (dirs[0].path(), EAST)], 64 << 20).unwrap();
    assert_eq!(walk(&dirs), turned);
}

#[test]
fn frames_that_were_lost_are_passed_over_and_counted() {
    let dirs = dirs();
    let [mut east, mut west] = hands(&dirs);
    let out: Vec<_> = (0..5).flat_map(|serve| east.tell(10_001 + serve, &Ball::Serve(0))).collect();
    let more: Vec<_> = (5..8).flat_map(|serve| east.tell(10_001 + serve, &Ball::Serve(serve))).collect();
    // Of the last three the middle one is lost.
    west.bring(6_500, &out);
    west.bring(6_501, &[more[0].clone(), more[2].clone()]);
    [east, west].into_iter().for_each(Hand::stop);
    let (order, walked) = walk(&dirs);
    assert_causes_first(&order);
    assert_eq!((walked.sent, walked.lost), (7, 1));
    assert_eq!(senders(&order, WEST), [2, 3, 4, 5, 6, 7, 9].map(Some));
    assert!(walked.remarks()[0].contains("never came in"), "{:?}", walked.remarks());
}

#[test]
fn a_frame_that_came_twice_is_told_from_one_that_was_sent_twice() {
    let dirs = dirs();
    let [mut east, mut west] = hands(&dirs);
    let first = east.tell(10_001, &Ball::Serve(0));
    let second = east.tell(10_002, &Ball::Serve(0));
    let third = east.tell(10_003, &Ball::Serve(1));
    // Two that are alike, each once; and one that is doubled.
    west.bring(6_500, &[first, second].concat());
    let back = west.bring(6_501, &[third.clone(), third].concat());
    east.bring(10_005, &back);
    [east, west].into_iter().for_each(Hand::stop);
    let (order, walked) = walk(&dirs);
    assert_causes_first(&order);
    assert_eq!((walked.sent, walked.doubled, walked.circles), (3 + 2, 1, 0));
    assert_eq!(senders(&order, WEST), [2, 3, 4, 4].map(Some));
    assert!(matches!(
        order.iter().rfind(|(node, ..)| *node == WEST).unwrap().2[..],
        [Whence::Sent(_), Whence::Doubled(_)]
    ));
}

#[test]
fn one_that_came_twice_is_let_go_before_one_that_is_waited_for_whichever_clock_is_ahead() {
    let dirs = dirs();
    let [mut east, mut west] = hands(&dirs);
    let serve = west.tell(6_401, &Ball::Serve(2));
    let back = east.bring(10_001, &[serve.clone(), serve].concat());
    assert_eq!(back.len(), 2);
    // The west hits what the first of them led to, and by its clock an hour before.
    west.bring(6_403, &back);
    [east, west].into_iter().for_each(Hand::stop);
    let (order, walked) = walk(&dirs);
    assert_causes_first(&order);
    assert_eq!((walked.sent, walked.doubled, walked.circles, walked.not_shown.len()), (3, 1, 0, 0), "{order:?}");
}

#[test]
fn a_frame_that_its_sender_does_not_show_is_said_to_be_so_and_holds_nothing_up() {
    let dirs = dirs();
    let [mut east, mut west] = hands(&dirs);
    let made_up = Carried::made_up(player(EAST).raw(), &Ball::Hit(77));
    west.bring(6_401, &[made_up]);
    play(&mut east, &mut west, 10_001, 4);
    [east, west].into_iter().for_each(Hand::stop);
    let (order, walked) = walk(&dirs);
    assert_causes_first(&order);
    assert_eq!(walked.sent, 5, "all others are found: {walked:?}");
    assert_eq!(walked.not_shown.iter().collect::<Vec<_>>(), [(&(player(EAST).raw(), player(WEST).raw()), &1)]);
    assert_eq!(senders(&order, WEST)[0], None);
    let remark = &walked.remarks()[0];
    assert!(remark.contains("n1:w0/0.1") && remark.contains("doesn't show that it sent"), "{remark}");
}

#[test]
fn of_several_that_are_alike_none_is_named() {
    let dirs = dirs();
    let [mut east, mut west] = hands(&dirs);
    let lob = east.tell(10_001, &Ball::Serve(0));
    let _lost = east.tell(10_002, &Ball::Serve(3));
    let again = east.tell(10_003, &Ball::Serve(0));
    west.bring(6_500, &[lob, again].concat());
    [east, west].into_iter().for_each(Hand::stop);
    // The first lob twice, or the second after a loss: nobody can know.
    let (order, walked) = walk(&dirs);
    assert_eq!((walked.sent, walked.alike), (1, 1), "{order:?}");
    assert!(matches!(
        order.iter().find(|(.., came)| !came.is_empty()).unwrap().2[..],
        [Whence::Sent(_), Whence::Alike]
    ));
}

#[test]
fn a_frame_from_a_node_that_is_not_opened_is_no_claim_about_it() {
    let dirs = played(3);
    let (order, walked) = walk_in(&[(dirs[1].path(), WEST)], 64 << 20).unwrap();
    assert!(order.iter().all(|(.., came)| came.is_empty()) && walked.remarks().is_empty());
}

#[test]
fn directories_of_different_runs_are_said_to_contradict_each_other() {
    let dirs = dirs();
    let [mut east, mut west] = hands(&dirs);
    // Each takes in what the other puts out only because of it.
    let hit = |by, left| [Carried::made_up(player(by).raw(), &Ball::Hit(left))];
    east.bring(10_001, &hit(WEST, 5));
    west.bring(6_401, &hit(EAST, 4));
    west.tell(6_402, &Ball::Serve(5));
    [east, west].into_iter().for_each(Hand::stop);
    let (order, walked) = walk(&dirs);
    assert_eq!((order.len(), walked.circles), (2 + 3, 1));
    assert!(walked.remarks().iter().any(|remark| remark.contains("not the directories of one run")));
}

#[test]
fn the_window_bounds_what_is_remembered_and_what_was_forgotten_is_said() {
    let dirs = dirs();
    let [mut east, mut west] = hands(&dirs);
    let out: Vec<_> = (0..200).flat_map(|serve| east.tell(10_001 + serve, &Ball::Serve(serve))).collect();
    // By its clock the west takes them in when all have been put out.
    west.tell(20_000, &Ball::Hit(0));
    west.bring(20_001, &out);
    [east, west].into_iter().for_each(Hand::stop);
    let in_window = |bytes| walk_in(&[(dirs[0].path(), EAST), (dirs[1].path(), WEST)], bytes).unwrap().1;
    let (all, few) = (in_window(1 << 20), in_window(2_000));
    assert_eq!((all.sent, all.forgotten), (200, 0));
    let not_shown: u64 = few.not_shown.values().sum();
    assert!((1..100).contains(&few.sent) && few.sent + not_shown == 200 && few.rounds == all.rounds, "{few:?}");
    assert!(few.forgotten >= not_shown, "{few:?}");
    assert!(few.remarks().iter().any(|remark| remark.contains("forgotten")));
}

#[test]
fn a_wait_in_vain_costs_no_more_than_the_window_holds() {
    let dirs = dirs();
    let [mut east, mut west] = hands(&dirs);
    let made_up = |left| Carried::made_up(player(EAST).raw(), &Ball::Hit(left));
    let out: Vec<_> = (0..200).flat_map(|serve| east.tell(10_001 + serve, &Ball::Serve(serve))).collect();
    // Nothing of the first rounds was ever sent, and all of the others. To wait as long for each would take more than is remembered.
    (1..4).for_each(|round| _ = west.bring(6_400 + round, &[made_up(1000 + round)]));
    (0..200).for_each(|at| _ = west.bring(6_500 + at as u64, &out[at..=at]));
    [east, west].into_iter().for_each(Hand::stop);
    let walked = walk_in(&[(dirs[0].path(), EAST), (dirs[1].path(), WEST)], 8_000).unwrap().1;
    assert_eq!((walked.sent, walked.not_shown.values().sum()), (200, 3), "{walked:?}");
}

#[test]
fn two_directories_of_one_number_are_refused_by_name() {
    let dirs = played(1);
    let error = walk_in(&[(dirs[0].path(), EAST), (dirs[0].path(), EAST)], 1 << 20).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.exit_status(), 2);
    assert!(text.contains("both of node 1") && text.contains("NodeBuilder::node_id"), "{text}");
    assert!(text.contains(&*dirs[0].path().to_string_lossy()), "{text}");
}

#[test]
fn a_directory_that_is_missing_or_no_node_s_is_told_as_a_replay_tells_it() {
    let dirs = played(1);
    let nothing = tempfile::tempdir().unwrap();
    fs::write(nothing.path().join("notes"), "no journal").unwrap();
    let with = |dir: &Path| walk_in(&[(dirs[0].path(), EAST), (dir, WEST)], 1 << 20).unwrap_err().exit_status();
    assert_eq!((with(nothing.path()), with(&nothing.path().join("gone"))), (10, 12));
}

#[test]
fn where_one_journal_is_damaged_the_others_are_shown_to_their_ends_and_then_it_is_said() {
    let dirs = played(200);
    let segment = dirs[1].path().join("journal/00000001.qjl");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.len() * 3 / 4;
    bytes[at] ^= 0x55;
    fs::write(&segment, bytes).unwrap();
    let (options, mut rounds) = (Options::new(), [0_u64, 0]);
    let nodes = Nodes::new().with(dirs[0].path(), kinds(EAST), &options).unwrap();
    let ended = nodes.with(dirs[1].path(), kinds(WEST), &options).unwrap().rounds(|round| {
        rounds[usize::from(round.node == WEST)] += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(ended.unwrap_err().exit_status(), 20);
    assert_eq!(rounds[0], 1 + 1 + 100, "all of the one that is sound");
    assert!((3..101).contains(&rounds[1]), "{rounds:?}");
}

/// A queue as it is written.
pub(crate) fn queue(name: &str) -> RawQueueId {
    name.parse().unwrap()
}

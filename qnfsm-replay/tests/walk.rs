//! A walk shows every round of a journal once, in its order, with the steps that a session shows.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{
    cell::{Cell, RefCell},
    ops::ControlFlow,
    path::Path,
};

use qnfsm::{Handler, Limits, QueueId, Recording, WorkerId};
use qnfsm_replay::{Options, ReplayError, Session, Walk, Walked, replay, session::RoundLog};
use rig::{Order, PATIENCE, Teller, kinds, node};

/// A directory in which a bank did business, in two epochs.
fn bank(dir: &Path) {
    let limits = Limits { segment_bytes: 1 << 14, snapshot_every_bytes: 1 << 15, ..Limits::default() };
    for _ in 0..2 {
        let node = node(dir, Recording::Inputs).limits(limits).start(&Teller::<1>::default()).unwrap();
        let (host, root): (_, QueueId<Order>) = (node.host(), node.root());
        (1..=300).for_each(|coins| host.send(root, &Order::Add(coins)).unwrap());
        let _: u64 = host.request(root, PATIENCE, Order::Count).unwrap();
        node.stop().unwrap();
    }
}

/// The rounds that a walk shows, and how it ends.
fn walked(dir: &Path, waiting_bytes: usize) -> (Vec<RoundLog>, Walked) {
    let mut logs = Vec::new();
    let options = Options::new();
    let walk = Walk::open(dir, kinds::<1>(), &options).unwrap().waiting_bytes(waiting_bytes);
    let walked = walk.rounds(|log| {
        logs.push(log.clone());
        ControlFlow::Continue(())
    });
    (logs, walked.unwrap())
}

#[test]
fn every_round_is_shown_once_in_order_as_a_session_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path());
    let report = replay(dir.path(), kinds::<1>(), &Options::new()).unwrap();
    let (logs, walked) = walked(dir.path(), 64 << 20);
    assert_eq!((walked.rounds, walked.late, logs.len() as u64), (report.rounds, 0, report.rounds));
    let handled = logs.iter().flat_map(|log| &log.steps).filter(|step| step.handler != Handler::Enter);
    assert_eq!(handled.count() as u64, report.messages);
    let mut session = Session::open(dir.path(), kinds::<1>(), &Options::new()).unwrap();
    for (ordinal, log) in (0..).zip(&logs) {
        session.go_to(ordinal).unwrap();
        let shown = session.log().unwrap();
        assert_eq!((log.ordinal, log.worker, log.round), (ordinal, shown.worker, shown.round));
        assert_eq!(
            (log.position, log.now, log.fed_at, &log.steps),
            (shown.position, shown.now, shown.fed_at, &shown.steps)
        );
        assert_eq!(log.outputs.len(), shown.outputs.len());
    }
}

#[test]
fn with_no_room_to_wait_rounds_come_as_they_run_and_none_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path());
    let (logs, walked) = walked(dir.path(), 0);
    let mut ordinals: Vec<_> = logs.iter().map(|log| log.ordinal).collect();
    let is_late = |at: usize| ordinals[..at].iter().any(|before| *before > ordinals[at]);
    assert_eq!(walked.late, (0..ordinals.len()).filter(|at| is_late(*at)).count() as u64);
    for worker in [WorkerId(0), WorkerId(1)] {
        assert!(logs.iter().filter(|log| log.worker == worker).is_sorted_by_key(|log| log.round));
    }
    ordinals.sort_unstable();
    assert!(ordinals.iter().copied().eq(0..logs.len() as u64));
}

#[test]
fn what_ran_before_the_program_parts_from_the_record_is_shown_and_then_the_error() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Recording::Inputs).start(&Teller::<1>::default()).unwrap();
    (1..=50).for_each(|coins| node.host().send(node.root(), &Order::Add(coins)).unwrap());
    let _: u64 = node.host().request(node.root(), PATIENCE, Order::Total).unwrap();
    node.stop().unwrap();
    let mut last = None;
    let options = Options::new();
    let walk = Walk::open(dir.path(), kinds::<2>(), &options).unwrap();
    let ended = walk.rounds(|log| {
        last = last.max(Some((log.worker, log.round)));
        ControlFlow::Continue(())
    });
    let Err(ReplayError::Diverged(diverged)) = ended else { panic!("{ended:?}") };
    assert!(last >= Some((diverged.divergence.worker, diverged.divergence.round)), "{last:?} {diverged}");
}

#[test]
fn a_walk_ends_where_enough_was_seen_and_says_how_far_it_has_come() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path());
    let seen = Cell::new(0);
    let options = Options::new().on_progress(|progress| {
        assert!(seen.get() <= progress.bytes && progress.bytes <= progress.bytes_total);
        seen.set(progress.bytes);
    });
    let mut left = 5;
    let enough = Walk::open(dir.path(), kinds::<1>(), &options).unwrap().rounds(|_| {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(enough.unwrap().rounds, 5);
    // The next walk begins anew.
    seen.set(0);
    Walk::open(dir.path(), kinds::<1>(), &options).unwrap().rounds(|_| ControlFlow::Continue(())).unwrap();
    assert!(seen.get() > 0);
}

#[test]
fn progress_is_told_by_what_was_done_however_much_a_round_holds() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Recording::Inputs).start(&Teller::<1>::default()).unwrap();
    (1..=5_000).for_each(|coins| node.host().send(node.root(), &Order::Add(coins)).unwrap());
    let _: u64 = node.host().request(node.root(), PATIENCE, Order::Count).unwrap();
    node.stop().unwrap();
    let told = RefCell::new(vec![0]);
    let options = Options::new().on_progress(|seen| told.borrow_mut().push(seen.messages));
    let mut largest = 0;
    let walk = Walk::open(dir.path(), kinds::<1>(), &options).unwrap();
    walk.rounds(|log| {
        largest = largest.max(log.steps.len() as u64);
        ControlFlow::Continue(())
    })
    .unwrap();
    let told = told.borrow();
    let apart = told.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(apart <= 256 + 2 * largest, "{apart} messages without a word; the largest round has {largest}: {told:?}");
}

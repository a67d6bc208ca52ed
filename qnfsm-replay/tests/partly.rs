//! A journal whose kinds aren't all registered is played as far as it can be: each worker up to the round that needs what is lacking, and
//! what is played is played exactly.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{fs, ops::ControlFlow, path::Path, time::Duration};

use qnfsm::{
    Ask, Context, Fsm, Handler, Invariants, Kinds, Limits, Next, NodeBuilder, QueueId, Recording, WorkerId,
    journal::{RealFiles, snapshots},
};
use qnfsm_replay::{
    LeftWorker, Options, Partly, ReplayError, Report, RoundName, Session, SnapshotName, Walk, replay,
    session::{By, Direction, RoundLog},
};
use rig::{Coin, Order, PATIENCE, Teller, Till, kinds, node};

/// The bank's second program, whose till counts wrongly.
mod wrong {
    use qnfsm::{Context, Fsm, Next};
    use serde::{Deserialize, Serialize};

    use super::Coin;

    #[derive(Serialize, Deserialize)]
    pub(crate) struct Till {
        coins: u64,
    }

    impl Fsm for Till {
        const NAME: &'static str = "till";
        type State = ();
        type Message = Coin;

        fn start(&mut self, _: &mut Context<'_, Self>) {}

        fn handle(&mut self, (): (), coin: Coin, cx: &mut Context<'_, Self>) -> Next<Self> {
            match coin {
                Coin::Put(coins) => self.coins += coins / 2,
                Coin::Count(reply) => cx.reply(reply, self.coins),
            }
            Next::Stay
        }
    }
}

/// Business on two workers: the teller's, which is the first, and the till's.
fn recorded(dir: &Path, epochs: usize, limits: Limits) {
    for _ in 0..epochs {
        let node = node(dir, Recording::Inputs).limits(limits).start(&Teller::<1>::default()).unwrap();
        let (host, root) = (node.host(), node.root());
        for coins in 0..40 {
            host.send(root, &Order::Add(coins)).unwrap();
            let _: u64 = host.request(root, PATIENCE, Order::Count).unwrap();
        }
        node.stop().unwrap();
    }
}

fn answers(kinds: Kinds) -> Kinds {
    kinds.replies::<Order, WorkerId>().replies::<Order, QueueId<Coin>>().replies::<Order, u64>()
}

fn without_till() -> Kinds {
    answers(Kinds::new().with::<Teller<1>>().message::<u64>())
}

fn without_teller() -> Kinds {
    Kinds::new().with::<Till>().message::<u64>()
}

fn partly(dir: &Path, kinds: Kinds, options: &Options<'_>) -> Partly {
    let error = replay(dir, kinds, options).expect_err("something is lacking");
    assert_eq!((error.exit_status(), error.name()), (16, "partly"), "{error}");
    let ReplayError::Partly(partly) = error else { panic!("{error}") };
    *partly
}

/// The logs of all rounds that are played, and whether that was all.
fn logs(dir: &Path, kinds: Kinds) -> (Vec<RoundLog>, Result<(), ReplayError>) {
    let mut logs = Vec::new();
    let options = Options::new();
    let walked = Walk::open(dir, kinds, &options).unwrap().rounds(|log| {
        logs.push(log.clone());
        ControlFlow::Continue(())
    });
    (logs, walked.map(drop))
}

/// The teller's round in which it asks for a till.
fn round_that_spawns(logs: &[RoundLog]) -> u64 {
    let spawns = |log: &&RoundLog| {
        let mut asked = log.steps.iter().flat_map(|step| &step.asked);
        asked.any(|wish| matches!(wish.what, Ask::SpawnOn { .. }))
    };
    logs.iter().find(spawns).unwrap().round
}

#[test]
fn a_worker_is_played_up_to_the_round_that_needs_what_is_lacking() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), 1, Limits::default());
    let (all, whole) = logs(dir.path(), kinds::<1>());
    whole.unwrap();
    let spawned = round_that_spawns(&all);
    assert!(spawned > 1, "the test shows something");
    let Partly { lacks, left, report, .. } = partly(dir.path(), without_till(), &Options::new());
    assert_eq!(lacks[0], "kind till");
    assert!(lacks.len() == 2 && lacks[1].starts_with("message type ") && lacks[1].ends_with("Coin"), "{lacks:?}");
    let of = |worker| all.iter().filter(|log| log.worker == worker).count() as u64;
    let [LeftWorker { worker, round, rounds, what }, till] = &left[..] else { panic!("{left:?}") };
    assert_eq!((*worker, *round, *rounds), (WorkerId(0), spawned, of(WorkerId(0)) - spawned + 1), "{what}");
    assert!(what.contains("kind teller (w0/0.1)") && what.contains("`Kinds::with::<partly::rig::Till>()`"), "{what}");
    assert_eq!((till.worker, till.round, till.rounds), (WorkerId(1), 1, of(WorkerId(1))));
    assert_eq!(till.what, "w1 round 1: it is to start an FSM of kind till, which isn't registered");
    let Report { rounds, rounds_unproved, workers, messages, .. } = report.unwrap();
    let before = all.iter().filter(|log| log.worker == *worker && log.round < spawned).flat_map(|log| &log.steps);
    assert_eq!(messages, before.filter(|step| step.handler != Handler::Enter).count() as u64);
    assert_eq!((rounds, rounds_unproved, workers), (spawned - 1, 0, 1));
}

#[test]
fn a_worker_that_needs_nothing_of_it_is_played_to_its_end_and_exactly() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), 2, Limits::default());
    let (all, _) = logs(dir.path(), kinds::<1>());
    let of_till: Vec<_> = all.into_iter().filter(|log| log.worker == WorkerId(1)).collect();
    let Partly { lacks, left, report, .. } = partly(dir.path(), without_teller(), &Options::new());
    assert_eq!(lacks[0], "kind teller");
    assert_eq!(left[0].what, "w0 round 1: it is to start an FSM of kind teller, which isn't registered");
    let report = report.unwrap();
    assert_eq!((left.len(), report.rounds, report.rounds_unproved), (1, of_till.len() as u64, 0));
    let (played, ended) = logs(dir.path(), without_teller());
    let steps = |logs: &[RoundLog]| logs.iter().map(|log| (log.ordinal, log.steps.clone())).collect::<Vec<_>>();
    assert_eq!(steps(&played), steps(&of_till));
    assert_eq!(ended.unwrap_err().name(), "partly");
}

#[test]
fn what_is_played_is_compared_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), 1, Limits::default());
    let wrong = || Kinds::new().with::<wrong::Till>().message::<u64>();
    let error = replay(dir.path(), wrong(), &Options::new()).unwrap_err();
    let ReplayError::Diverged(diverged) = error else { panic!("{error}") };
    assert_eq!(diverged.divergence.worker, WorkerId(1));
    let (_, ended) = logs(dir.path(), wrong());
    assert_eq!(ended.unwrap_err().name(), "diverged");
}

/// Does what the till does, and starts what the till didn't.
mod spawning {
    use qnfsm::{Context, Fsm, Next};
    use serde::{Deserialize, Serialize};

    use super::Coin;

    #[derive(Serialize, Deserialize)]
    pub(crate) struct Till {
        coins: u64,
    }

    #[derive(Serialize, Deserialize)]
    struct Helper;

    impl Fsm for Helper {
        const NAME: &'static str = "helper";
        type State = ();
        type Message = u64;

        fn start(&mut self, _: &mut Context<'_, Self>) {}

        fn handle(&mut self, (): (), _: u64, _: &mut Context<'_, Self>) -> Next<Self> {
            Next::Stay
        }
    }

    impl Fsm for Till {
        const NAME: &'static str = "till";
        type State = ();
        type Message = Coin;

        fn start(&mut self, _: &mut Context<'_, Self>) {}

        fn handle(&mut self, (): (), coin: Coin, cx: &mut Context<'_, Self>) -> Next<Self> {
            match coin {
                Coin::Put(coins) => self.coins += coins,
                Coin::Count(reply) => {
                    cx.reply(reply, self.coins);
                    let _ = cx.spawn(Helper);
                }
            }
            Next::Stay
        }
    }
}

#[test]
fn what_nobody_recorded_is_not_lacking_but_something_else_than_was_recorded() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), 1, Limits::default());
    let error = replay(dir.path(), Kinds::new().with::<spawning::Till>().message::<u64>(), &Options::new());
    assert_eq!(error.unwrap_err().name(), "diverged");
}

/// Never spawned.
#[derive(serde::Serialize, serde::Deserialize)]
struct Spare;

impl Fsm for Spare {
    const NAME: &'static str = "spare";
    type State = ();
    type Message = Vec<u8>;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), _: Vec<u8>, _: &mut Context<'_, Self>) -> Next<Self> {
        Next::Stay
    }
}

#[test]
fn a_kind_that_a_later_version_has_beside_and_never_used_keeps_nothing_from_being_played() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), 1, Limits::default());
    let first = replay(dir.path(), kinds::<1>(), &Options::new()).unwrap();
    let later = NodeBuilder::new("bank", kinds::<1>().with::<Spare>()).dir(dir.path()).seed(7);
    let node = later.start(&Teller::<1>::default()).unwrap();
    let _: u64 = node.host().request(node.root(), PATIENCE, Order::Count).unwrap();
    node.stop().unwrap();
    let both = replay(dir.path(), kinds::<1>(), &Options::new()).unwrap();
    assert!(both.rounds > first.rounds && both.left_off.is_none(), "{both}");
    assert_eq!((both.rounds_passed_over, both.clean), (0, true));
}

#[test]
fn rounds_behind_the_end_that_was_asked_for_are_not_among_those_that_were_not_run() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), 1, Limits::default());
    let (all, _) = logs(dir.path(), kinds::<1>());
    for to in 0..all.len() as u64 {
        let of_teller = all.iter().filter(|log| log.worker == WorkerId(0) && log.ordinal <= to).count() as u64;
        let partly = partly(dir.path(), without_teller(), &Options::new().to(RoundName::Ordinal(to)));
        assert_eq!(partly.left.iter().map(|left| left.rounds).collect::<Vec<_>>(), [of_teller], "to {to}");
    }
}

#[test]
fn a_damaged_journal_tells_what_is_lacking_too() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), 2, Limits::default());
    let segment = dir.path().join("journal/00000002.qjl");
    let mut bytes = fs::read(&segment).unwrap();
    let last = bytes.len() - 200;
    bytes[last] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let session = Session::open(dir.path(), without_teller(), &Options::new()).unwrap();
    assert_eq!(session.stopped().map(ReplayError::name), Some("corrupt"));
    assert_eq!(session.partly().map(|partly| partly.left[0].worker), Some(WorkerId(0)));
}

#[test]
fn kinds_in_another_order_and_with_further_ones_are_played_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), 2, Limits { snapshot_every_bytes: 1 << 10, ..Limits::default() });
    let moved = answers(Kinds::new().message::<Vec<u8>>().with::<Till>().message::<u64>().with::<Teller<1>>());
    let report = replay(dir.path(), moved, &Options::new()).unwrap();
    let own = replay(dir.path(), kinds::<1>(), &Options::new()).unwrap();
    assert_eq!((report.digest, report.rounds, report.messages), (own.digest, own.rounds, own.messages));
}

/// The first snapshot of the till's worker that is left.
fn first_snapshot(dir: &Path) -> SnapshotName {
    let snapshots = snapshots::list(&RealFiles, dir).unwrap();
    let (worker, round) = snapshots.into_iter().find(|(worker, _)| *worker == WorkerId(1)).unwrap();
    SnapshotName { worker, round }
}

/// Round of the journal and number in it.
fn spots(session: &mut Session, forward: bool) -> Vec<(u64, usize)> {
    let spot = |session: &Session| session.spot().map(|spot| (spot.ordinal, spot.step)).unwrap();
    let mut spots = vec![spot(session)];
    while if forward { session.forward(By::Step) } else { session.back(By::Step) }.unwrap() {
        spots.push(spot(session));
    }
    spots
}

#[test]
fn a_session_goes_through_what_can_be_played_and_says_what_it_left() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), 2, Limits::default());
    for (kinds, left) in [(without_till as fn() -> Kinds, WorkerId(1)), (without_teller, WorkerId(0))] {
        let (played, _) = logs(dir.path(), kinds());
        let expected: Vec<_> =
            played.iter().flat_map(|log| (0..log.steps.len()).map(|step| (log.ordinal, step))).collect();
        // Stations as close as they can be: most lie behind where a worker was left.
        let options = Options::new().stations_apart(Duration::ZERO);
        let mut session = Session::open(dir.path(), kinds(), &options).unwrap();
        let Some(ReplayError::Partly(partly)) = session.stopped() else { panic!("{:?}", session.stopped()) };
        assert!(partly.left.iter().any(|worker| (worker.worker, worker.round) == (left, 1)), "{partly}");
        assert_eq!(spots(&mut session, true), expected);
        session.go_to_end().unwrap();
        assert_eq!(spots(&mut session, false), expected.iter().rev().copied().collect::<Vec<_>>());

        session.find(Direction::Forward, |_, _| false).unwrap();
        assert!(!session.find(Direction::Back, |log, _| log.worker == left).unwrap());
        let error = session.go_to_round(left, 1).unwrap_err().to_string();
        assert!(error.starts_with(&format!("round 1 of {left} can't be run")), "{error}");
        assert!(session.bisect(never_so_many_coins(), "coins").unwrap().is_some() == (left == WorkerId(0)));
    }
}

/// Broken once the till has got its coins.
fn never_so_many_coins() -> Invariants {
    Invariants::new().state::<Till>(
        "coins",
        |till, ()| {
            if till.coins < 100 { Ok(()) } else { Err("there are many".to_owned()) }
        },
    )
}

#[test]
fn snapshots_are_begun_with_where_nothing_in_them_is_lacking() {
    let dir = tempfile::tempdir().unwrap();
    // The journal's beginning is given up.
    let limits = Limits {
        segment_bytes: 1 << 14,
        snapshot_every_bytes: 1 << 12,
        retain_bytes: Some(1 << 17),
        ..Limits::default()
    };
    recorded(dir.path(), 20, limits);
    let own = replay(dir.path(), kinds::<1>(), &Options::new()).unwrap();
    assert!(own.oldest_segment > 1, "the test shows something");
    let Partly { left, report, .. } = partly(dir.path(), without_teller(), &Options::new());
    assert_eq!(left.iter().map(|left| left.worker).collect::<Vec<_>>(), [WorkerId(0)]);
    assert!(left[0].what.contains("of kind teller, which isn't registered") && left[0].rounds > 0, "{left:?}");
    assert!(left[0].what.lines().count() < 4, "{}", left[0].what);
    assert!(report.unwrap().rounds > 0);
    // The other worker needs nothing that is lacking, so that nobody is to register anything for it.
    for (worker, round) in snapshots::list(&RealFiles, dir.path()).unwrap() {
        if worker == WorkerId(1) {
            fs::write(snapshots::path(dir.path(), worker, round), "nothing").unwrap();
        }
    }
    let error = replay(dir.path(), without_teller(), &Options::new()).unwrap_err();
    assert_eq!((error.exit_status(), error.name()), (20, "corrupt"), "{error}");
    assert!(error.to_string().contains("w1") && !error.to_string().contains("teller"), "{error}");

    let other = tempfile::tempdir().unwrap();
    recorded(other.path(), 3, Limits::default());
    let began = replay(other.path(), kinds::<1>(), &Options::new().from(first_snapshot(other.path()))).unwrap();
    let from = Options::new().from(first_snapshot(other.path()));
    let Partly { left, report, .. } = partly(other.path(), without_teller(), &from);
    assert_eq!(left.iter().map(|left| left.worker).collect::<Vec<_>>(), [WorkerId(0)]);
    assert!((1..began.rounds).contains(&report.unwrap().rounds));
}

//! A journal that several versions of a program recorded, one after another: each replays its own parts, and says where another one
//! went on. The versions differ in the kinds that they have, so each can go on from what the other left.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "rig/walked.rs"]
mod walked;

use std::{path::Path, time::Duration};

use qnfsm::{
    Context, Fsm, Kinds, Next, Node, NodeBuilder, NodeId, NodeRequest, OldFsm, QueueId, Reply, ReplyTo, UpgradeError,
    WorkerConfig, WorkerId,
};
use qnfsm_replay::{LeftOff, Options, ReplayError, Report, replay};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(30);

/// `WORTH` is its code: what a coin is worth to it.
#[derive(Default, Serialize, Deserialize)]
struct Till<const WORTH: u64, const VERSION: u32 = 1> {
    cents: u64,
    asked: Option<ReplyTo<QueueId<Coin>>>,
}

#[derive(Serialize, Deserialize)]
enum Coin {
    Put(u64),
    Count(ReplyTo<u64>),
    /// Answered with a till on another worker.
    Second(ReplyTo<QueueId<Coin>>),
    Started(Reply<WorkerId>),
    Opened(Reply<QueueId<Coin>>),
}

impl From<Reply<WorkerId>> for Coin {
    fn from(reply: Reply<WorkerId>) -> Coin {
        Coin::Started(reply)
    }
}

impl From<Reply<QueueId<Coin>>> for Coin {
    fn from(reply: Reply<QueueId<Coin>>) -> Coin {
        Coin::Opened(reply)
    }
}

impl<const WORTH: u64, const VERSION: u32> Fsm for Till<WORTH, VERSION> {
    const NAME: &'static str = "till";
    const VERSION: u32 = VERSION;
    type State = ();
    type Message = Coin;

    fn upgrade(old: OldFsm<'_>) -> Result<(Self, Option<()>), UpgradeError> {
        old.read()
    }

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), coin: Coin, cx: &mut Context<'_, Self>) -> Next<Self> {
        match coin {
            Coin::Put(coins) => self.cents += coins * WORTH,
            Coin::Count(reply) => cx.reply(reply, self.cents),
            Coin::Second(reply) => {
                self.asked = Some(reply);
                cx.request(NodeRequest::queue(NodeId(0)), PATIENCE, |reply| NodeRequest::StartWorker { reply });
            }
            Coin::Started(reply) => {
                cx.spawn_on(reply.outcome.unwrap(), Till::<WORTH, VERSION>::default(), PATIENCE);
            }
            Coin::Opened(reply) => cx.reply(self.asked.take().unwrap(), reply.outcome.unwrap()),
        }
        Next::Stay
    }
}

/// Nobody ever spawns one.
#[derive(Serialize, Deserialize)]
struct Idler;

impl Fsm for Idler {
    const NAME: &'static str = "idler";
    type State = ();
    type Message = u64;
    fn start(&mut self, _: &mut Context<'_, Self>) {}
    fn handle(&mut self, (): (), _: u64, _: &mut Context<'_, Self>) -> Next<Self> {
        Next::Stay
    }
}

fn tills<const WORTH: u64, const VERSION: u32>(kinds: Kinds) -> Kinds {
    kinds.with::<Till<WORTH, VERSION>>().replies::<Coin, WorkerId>().replies::<Coin, QueueId<Coin>>().message::<u64>()
}

fn without_idlers<const WORTH: u64>() -> Kinds {
    tills::<WORTH, 1>(Kinds::new())
}

fn with_idlers<const WORTH: u64>() -> Kinds {
    tills::<WORTH, 1>(Kinds::new().with::<Idler>())
}

fn config(turn_messages: u32) -> WorkerConfig {
    WorkerConfig { turn_messages, ..WorkerConfig::default() }
}

fn start<const VERSION: u32>(dir: &Path, kinds: Kinds, config: WorkerConfig) -> Node<Coin> {
    let node = NodeBuilder::new("tills", kinds).dir(dir).seed(1).worker_config(config);
    node.start(&Till::<10, VERSION>::default()).unwrap()
}

/// Runs a node to a clean stop; gives what the till holds then, if it was asked.
fn run(dir: &Path, kinds: Kinds, config: WorkerConfig, coins: &[u64]) -> Option<u64> {
    let node = start::<1>(dir, kinds, config);
    coins.iter().for_each(|coin| node.host().send(node.root(), &Coin::Put(*coin)).unwrap());
    let count = || node.host().request(node.root(), PATIENCE, Coin::Count).unwrap();
    let cents = (!coins.is_empty()).then(count);
    node.stop().unwrap();
    cents
}

fn replayed(dir: &Path, kinds: Kinds) -> Report {
    replay(dir, kinds, &Options::new()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn each_version_replays_its_own_parts_and_says_where_another_went_on() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert_eq!(run(dir, without_idlers::<10>(), config(32), &[1, 2, 3]), Some(60));
    let first = replayed(dir, without_idlers::<10>());
    assert_eq!((first.left_off.clone(), first.rounds_passed_over), (None, 0));
    // Its numbers are other ones, and nothing else is.
    assert_eq!(replayed(dir, with_idlers::<10>()).digest, first.digest);

    assert_eq!(run(dir, with_idlers::<10>(), config(32), &[4, 5]), Some(150));
    let older = replayed(dir, without_idlers::<10>());
    let (played, left_off) = ((older.rounds, older.messages, older.digest, older.workers), older.left_off.clone());
    assert_eq!(played, (first.rounds, first.messages, first.digest, first.workers));
    let Some(LeftOff { segment: 2, differences }) = left_off else { panic!("{left_off:?}") };
    assert!(differences.contains(&"kind till was number 0 and isn't".to_owned()), "{differences:?}");
    let text = older.to_string();
    assert!(
        text.contains("note: played up to segment 2, from which on another version of the program recorded"),
        "{text}"
    );
    let newer = replayed(dir, with_idlers::<10>());
    assert_eq!((newer.left_off, newer.rounds_passed_over), (None, first.rounds));
    assert!(newer.rounds > 0 && older.rounds_passed_over == newer.rounds && older.rounds_unproved == 0);

    assert_eq!(run(dir, without_idlers::<10>(), config(32), &[6]), Some(210));
    let both = replayed(dir, without_idlers::<10>());
    assert_eq!((both.left_off.clone(), both.rounds_passed_over, both.workers), (None, newer.rounds, 1));
    assert!(both.rounds > first.rounds && both.messages > first.messages && both.digest != first.digest);
    let middle = replayed(dir, with_idlers::<10>());
    assert_eq!((middle.rounds, middle.digest, middle.rounds_passed_over), (newer.rounds, newer.digest, both.rounds));
    assert_eq!(middle.left_off.as_ref().map(|left_off| left_off.segment), Some(3));
    // What is played of it can be gone through, in both directions.
    for (kinds, report) in [(without_idlers::<10> as fn() -> Kinds, &both), (with_idlers::<10>, &middle)] {
        let (played, rounds) = walked::session_goes_as_a_walk_does(dir, kinds);
        assert_eq!((played.len() as u64, rounds), (report.rounds, report.rounds + report.rounds_passed_over));
    }
    // Each part is compared.
    for kinds in [without_idlers::<11>(), with_idlers::<11>()] {
        let differs = replay(dir, kinds, &Options::new());
        assert!(matches!(differs, Err(ReplayError::Diverged(_))), "{differs:?}");
    }
}

#[test]
fn a_session_goes_through_many_parts_of_two_versions_wherever_its_stations_stand() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for part in 0..60_u64 {
        let kinds = if part % 4 < 2 { without_idlers::<10> } else { with_idlers::<10> };
        let coins: Vec<_> = (0..part % 7).collect();
        run(dir, kinds(), config(if part % 2 == 0 { 32 } else { 1 }), &coins);
    }
    for kinds in [without_idlers::<10> as fn() -> Kinds, with_idlers::<10>] {
        let report = replayed(dir, kinds());
        let (played, rounds) = walked::session_goes_as_a_walk_does(dir, kinds);
        assert_eq!((played.len() as u64, rounds), (report.rounds, report.rounds + report.rounds_passed_over));
    }
}

#[test]
fn what_another_version_changed_of_a_resting_worker_holds_in_the_parts_that_follow() {
    // By the version whose part it begins with, or by one of which nothing can be played.
    for kinds in [without_idlers::<10>, with_idlers::<10>] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let node = start::<1>(dir, kinds(), config(32));
        let second = node.host().request(node.root(), PATIENCE, Coin::Second).unwrap();
        node.stop().unwrap();
        run(dir, with_idlers::<10>(), config(1), &[]);
        // That is news to nobody now, so nobody writes it down.
        let node = start::<1>(dir, without_idlers::<10>(), config(1));
        node.host().send(second, &Coin::Put(2)).unwrap();
        assert_eq!(node.host().request(second, PATIENCE, Coin::Count).unwrap(), 20);
        node.stop().unwrap();
        assert_eq!(replayed(dir, without_idlers::<10>()).workers, 2);
    }
}

#[test]
fn a_part_that_can_t_be_read_any_more_ends_the_replay_and_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    run(dir, without_idlers::<10>(), config(32), &[1]);
    let before = replayed(dir, without_idlers::<10>());
    start::<2>(dir, tills::<10, 2>(Kinds::new()), config(32)).stop().unwrap();
    let node = start::<2>(dir, tills::<10, 2>(Kinds::new()), config(32));
    node.host().send(node.root(), &Coin::Put(5)).unwrap();
    assert_eq!(node.host().request(node.root(), PATIENCE, Coin::Count).unwrap(), 60);
    node.stop().unwrap();
    let older = replayed(dir, without_idlers::<10>());
    assert_eq!((older.rounds, older.digest), (before.rounds, before.digest));
    let differences = older.left_off.map(|left_off| left_off.differences);
    assert_eq!(differences, Some(vec!["kind till has version 2 and had 1".to_owned()]));
    assert!(older.rounds_passed_over > 0);
    assert_eq!(replayed(dir, tills::<10, 2>(Kinds::new())).rounds, older.rounds_passed_over);
}

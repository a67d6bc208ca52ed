//! A journal that several versions of a program recorded, one after another: each replays its own parts, and says where another one
//! went on. The versions differ in the kinds that they have, so each can go on from what the other left.

use std::{path::Path, time::Duration};

use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder, ReplyTo, WorkerConfig};
use qnfsm_replay::{LeftOff, Options, ReplayError, Report, WrongProgram, replay};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(30);

/// `WORTH` is its code: what a coin is worth to it.
#[derive(Serialize, Deserialize)]
struct Till<const WORTH: u64> {
    cents: u64,
}

#[derive(Serialize, Deserialize)]
enum Coin {
    Put(u64),
    Count(ReplyTo<u64>),
}

impl<const WORTH: u64> Fsm for Till<WORTH> {
    const NAME: &'static str = "till";
    type State = ();
    type Message = Coin;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), coin: Coin, cx: &mut Context<'_, Self>) -> Next<Self> {
        match coin {
            Coin::Put(coins) => self.cents += coins * WORTH,
            Coin::Count(reply) => cx.reply(reply, self.cents),
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

fn without_idlers<const WORTH: u64>() -> Kinds {
    Kinds::new().with::<Till<WORTH>>().message::<u64>()
}

fn with_idlers<const WORTH: u64>() -> Kinds {
    Kinds::new().with::<Idler>().with::<Till<WORTH>>()
}

fn config(turn_messages: u32) -> WorkerConfig {
    WorkerConfig { turn_messages, ..WorkerConfig::default() }
}

/// Runs a node to a clean stop; gives what the till holds then, if it was asked.
fn run(dir: &Path, kinds: Kinds, config: WorkerConfig, coins: &[u64]) -> Option<u64> {
    let node = NodeBuilder::new("tills", kinds).dir(dir).seed(1).worker_config(config);
    let node = node.start(&Till::<10> { cents: 0 }).unwrap();
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
    assert!(matches!(
        replay(dir, with_idlers::<10>(), &Options::new()),
        Err(ReplayError::Program(WrongProgram::Changed { .. }))
    ));

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
    assert_eq!((both.left_off, both.rounds_passed_over, both.workers), (None, newer.rounds, 1));
    assert!(both.rounds > first.rounds && both.messages > first.messages && both.digest != first.digest);
    let middle = replayed(dir, with_idlers::<10>());
    assert_eq!((middle.rounds, middle.digest, middle.rounds_passed_over), (newer.rounds, newer.digest, both.rounds));
    assert_eq!(middle.left_off.map(|left_off| left_off.segment), Some(3));
    // Each part is compared.
    for kinds in [without_idlers::<11>(), with_idlers::<11>()] {
        let differs = replay(dir, kinds, &Options::new());
        assert!(matches!(differs, Err(ReplayError::Diverged(_))), "{differs:?}");
    }
}

#[test]
fn what_another_version_changed_of_a_resting_worker_holds_in_the_parts_that_follow() {
    // By the version whose part it begins with, or by one of which nothing can be played.
    for kinds in [without_idlers::<10>, with_idlers::<10>] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        run(dir, kinds(), config(32), &[1]);
        run(dir, with_idlers::<10>(), config(1), &[]);
        run(dir, without_idlers::<10>(), config(1), &[2]);
        assert!(replayed(dir, without_idlers::<10>()).rounds > 0);
    }
}

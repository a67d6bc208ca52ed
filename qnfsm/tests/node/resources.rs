//! Tables that FSMs read: a journal's tail is run with those that it was recorded with; behind a clean stop a node starts with any.

use std::sync::Arc;

use qnfsm::{
    ContentHash, Context, Fsm, Kinds, Next, Node, NodeBuilder, NodeError, OnOtherBuild, OtherResource, ReplyTo,
    Resource, StartError, playback::PlaybackError,
};
use serde::{Deserialize, Serialize};

use crate::{
    files::Memory,
    probe::{DIR, PATIENCE},
};

/// Cents by article.
struct Prices(Vec<u64>);

impl Resource for Prices {
    const NAME: &'static str = "prices";

    fn content_hash(&self) -> ContentHash {
        ContentHash::of_value(&self.0)
    }
}

/// A table that nobody here reads.
struct Map;

impl Resource for Map {
    const NAME: &'static str = "map";

    fn content_hash(&self) -> ContentHash {
        ContentHash::of_bytes(b"here be dragons")
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Till {
    cents: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sale {
    article: usize,
    reply: ReplyTo<u64>,
}

impl Fsm for Till {
    const NAME: &'static str = "till";
    type State = ();
    type Message = Sale;

    fn start(&mut self, _: &mut Context<'_, Till>) {}

    fn handle(&mut self, (): (), Sale { article, reply }: Sale, cx: &mut Context<'_, Till>) -> Next<Till> {
        let Prices(cents) = cx.resource();
        self.cents += cents[article];
        cx.reply(reply, self.cents);
        Next::Stay
    }
}

fn without_prices() -> Kinds {
    Kinds::new().with::<Till>().message::<u64>()
}

fn kinds(prices: &[u64]) -> Kinds {
    without_prices().resource(Arc::new(Prices(prices.to_vec())))
}

/// The second article, which the tests begin with, costs the same in all.
const OLD: &[u64] = &[100, 20];
const NEW: &[u64] = &[300, 20];
const DEARER: &[u64] = &[100, 21];

fn builder(disk: &Memory, kinds: Kinds) -> NodeBuilder {
    NodeBuilder::new("shop", kinds).dir(DIR).storage(disk.storage()).seed(1)
}

fn start(disk: &Memory, kinds: Kinds) -> Node<Sale> {
    builder(disk, kinds).start(&Till { cents: 0 }).unwrap()
}

fn refused(disk: &Memory, kinds: Kinds) -> StartError {
    builder(disk, kinds).start(&Till { cents: 0 }).unwrap_err()
}

fn sell(node: &Node<Sale>, article: usize) -> u64 {
    node.host().request(node.root(), PATIENCE, |reply| Sale { article, reply }).unwrap()
}

/// What a kill leaves of a node with the old prices that has sold twice.
fn killed() -> Memory {
    let disk = Memory::default();
    let node = start(&disk, kinds(OLD));
    assert_eq!((sell(&node, 1), sell(&node, 1)), (20, 40));
    let killed = disk.crash();
    node.stop().unwrap();
    killed
}

#[test]
fn a_tail_is_not_run_with_another_table_or_without_it() {
    let hash = |prices: &[u64]| kinds(prices).seal().unwrap().table().resources[0].hash;
    let disk = killed();
    for (own, own_hash) in [(kinds(NEW), Some(hash(NEW))), (without_prices(), None)] {
        let error = refused(&disk, own);
        let text = error.to_string();
        let StartError::OtherResources { worker, round, resources, .. } = error else { panic!("{text}") };
        assert_eq!((worker.0, round), (0, 1));
        assert_eq!(resources, [OtherResource { name: "prices".to_owned(), recorded: hash(OLD), own: own_hash }]);
        assert!(text.contains(&format!("resource prices was recorded with hash {:016x}", hash(OLD))), "{text}");
    }
    // Nothing has changed by that, and a table more is no other one.
    let node = start(&disk, kinds(OLD).resource(Arc::new(Map)));
    assert_eq!(sell(&node, 0), 140);
    node.stop().unwrap();
}

#[test]
fn a_tail_is_run_with_another_table_when_that_is_allowed_and_compared() {
    let runs = |disk: &Memory, kinds| builder(disk, kinds).on_other_build(OnOtherBuild::Run);
    let disk = killed();
    match runs(&disk.crash(), kinds(DEARER)).start(&Till { cents: 0 }).unwrap_err() {
        StartError::Playback { source: PlaybackError::Diverged(divergence), .. } => {
            assert_eq!(divergence.worker.0, 0);
        }
        other => panic!("{other}"),
    }
    let node = runs(&disk, kinds(NEW)).start(&Till { cents: 0 }).unwrap();
    assert_eq!(sell(&node, 0), 340);
    // What it has run once is not to be run again, whatever happens.
    let killed_again = disk.crash();
    node.stop().unwrap();
    let node = start(&killed_again, kinds(NEW));
    assert_eq!(sell(&node, 0), 640);
    node.stop().unwrap();
}

#[test]
fn behind_a_clean_stop_a_node_goes_on_with_any_table() {
    let disk = Memory::default();
    let node = start(&disk, kinds(OLD));
    assert_eq!(sell(&node, 0), 100);
    node.stop().unwrap();
    // The worker rests, so its snapshot stays the one that was written by the first.
    start(&disk, without_prices()).stop().unwrap();
    let node = start(&disk, kinds(NEW));
    assert_eq!(sell(&node, 0), 400);
    let killed = disk.crash();
    node.stop().unwrap();
    // From here on the tail belongs to the new one, and begins with that snapshot.
    assert!(matches!(refused(&killed, kinds(OLD)), StartError::OtherResources { round, .. } if round > 1));
    let node = start(&killed, kinds(NEW));
    assert_eq!(sell(&node, 0), 700);
    node.stop().unwrap();
}

#[test]
fn a_handler_that_reads_a_table_which_is_not_registered_panics_with_what_to_add() {
    let node = builder(&Memory::default(), without_prices()).start(&Till { cents: 0 }).unwrap();
    let never = node.host().ask(node.root(), PATIENCE, |reply| Sale { article: 0, reply }).unwrap();
    let error = node.wait().unwrap_err();
    drop(never);
    let NodeError::Fault(fault) = error else { panic!("{error}") };
    let resource = std::any::type_name::<Prices>();
    let text = format!("resource {resource} is not registered; add `Kinds::resource::<{resource}>(…)` to the function");
    assert!(fault.to_string().contains(&text), "{fault}");
}

//! `glutton <dir> feed` starts a node and feeds its FSM a meal, then everything, in one round or two. `glutton <dir> start` starts
//! it with messages skipped that don't end, and prints how many meals its FSM has had.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_macros,
    reason = "a test's program, which may fail and speaks on stdout"
)]

use std::time::Duration;

use qnfsm::{NodeBuilder, OnPoison};
use qnfsm_tests::glutton::{Feed, Glutton, kinds};

fn main() {
    let args: Vec<_> = std::env::args().collect();
    let [_, dir, what] = &args[..] else { panic!("glutton <dir> feed|start") };
    let builder = NodeBuilder::new("glutton", kinds()).dir(dir).on_poison(OnPoison::SkipMessage);
    let node = builder.start(&Glutton::default()).unwrap();
    let host = node.host();
    if what == "feed" {
        host.send(node.root(), &Feed::Meal).unwrap();
        host.send(node.root(), &Feed::Everything).unwrap();
        host.send(node.root(), &Feed::Meal).unwrap();
    }
    let meals: u64 = host.request(node.root(), Duration::from_secs(60), Feed::Meals).unwrap();
    node.stop().unwrap();
    println!("{meals}");
}

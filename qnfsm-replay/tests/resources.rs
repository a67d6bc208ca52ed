//! A replay needs the tables that a journal was recorded with, asks for them by name and hash, and finds no trace of reading them.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{path::Path, sync::Arc, time::Duration};

use qnfsm::{ContentHash, Context, Fsm, Kinds, Next, NodeBuilder, ReplyTo, Resource};
use qnfsm_replay::{
    Options, ReplayError, WrongProgram,
    dump::{self, dump},
    replay,
};
use serde::{Deserialize, Serialize};

/// Cents by article.
struct Prices(Vec<u64>);

impl Resource for Prices {
    const NAME: &'static str = "prices";

    fn content_hash(&self) -> ContentHash {
        ContentHash::of_value(&self.0)
    }
}

/// Says what articles cost.
#[derive(Serialize, Deserialize)]
struct Label<const READS: bool>;

#[derive(Debug, Serialize, Deserialize)]
enum Ask {
    /// What the article costs.
    Price(usize, ReplyTo<u64>),
    /// Reads the table, or doesn't, and says nothing of it.
    Browse(ReplyTo<u64>),
}

impl<const READS: bool> Fsm for Label<READS> {
    const NAME: &'static str = "label";
    type State = ();
    type Message = Ask;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), ask: Ask, cx: &mut Context<'_, Self>) -> Next<Self> {
        match ask {
            Ask::Price(article, reply) => cx.reply(reply, cx.resource::<Prices>().0[article]),
            Ask::Browse(reply) => {
                if READS {
                    std::hint::black_box(cx.resource::<Prices>());
                }
                cx.reply(reply, 0);
            }
        }
        Next::Stay
    }
}

fn without_prices<const READS: bool>() -> Kinds {
    Kinds::new().with::<Label<READS>>().message::<u64>()
}

fn kinds<const READS: bool>(prices: &[u64]) -> Kinds {
    without_prices::<READS>().resource(Arc::new(Prices(prices.to_vec())))
}

const OLD: &[u64] = &[100, 20];
const NEW: &[u64] = &[300, 20];

fn hash(prices: &[u64]) -> String {
    format!("{:016x}", kinds::<true>(prices).seal().unwrap().table().resources[0].hash)
}

/// One start of the node, which asks and is stopped.
fn record(dir: &Path, kinds: Kinds, ask: impl FnOnce(ReplyTo<u64>) -> Ask) -> u64 {
    let node = NodeBuilder::new("shop", kinds).dir(dir).start(&Label::<true>).unwrap();
    let answer = node.host().request(node.root(), Duration::from_secs(30), ask).unwrap();
    node.stop().unwrap();
    answer
}

fn refused(dir: &Path, kinds: Kinds) -> String {
    let error = replay(dir, kinds, &Options::new()).unwrap_err();
    assert!(matches!(error, ReplayError::Program(WrongProgram::OtherResources { .. })), "{error}");
    assert_eq!((error.name(), error.exit_status()), ("other_resources", 17));
    error.to_string()
}

#[test]
fn a_replay_needs_the_table_that_was_recorded_with_and_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(record(dir.path(), kinds::<true>(OLD), |reply| Ask::Price(0, reply)), 100);
    let report = replay(dir.path(), kinds::<true>(OLD), &Options::new()).unwrap();
    assert_eq!((report.rounds_unproved, report.other_resources), (0, vec![]));
    let file = dir.path().join("journal").join("00000001.qjl");
    let recorded = format!(
        "{} was recorded with other resources: resource prices was recorded with hash {}, and this program has ",
        file.display(),
        hash(OLD)
    );
    let remedy = "; register those with `Kinds::resource`, and replay it again";
    let text = refused(dir.path(), kinds::<true>(NEW));
    assert_eq!(text, format!("{recorded}one with hash {}{remedy}", hash(NEW)));
    assert_eq!(refused(dir.path(), without_prices::<true>()), format!("{recorded}none of that name{remedy}"));
}

#[test]
fn a_replay_passes_over_what_was_recorded_with_an_earlier_table_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(record(dir.path(), kinds::<true>(OLD), |reply| Ask::Price(0, reply)), 100);
    assert_eq!(record(dir.path(), kinds::<true>(NEW), |reply| Ask::Price(0, reply)), 300);
    let report = replay(dir.path(), kinds::<true>(NEW), &Options::new()).unwrap();
    assert!(report.rounds > 0 && report.rounds_passed_over > 0, "{report}");
    let [other] = &report.other_resources[..] else { panic!("{report}") };
    assert!(other.contains(&format!("prices was recorded with hash {}", hash(OLD))), "{other}");
    assert!(report.to_string().contains("register that with `Kinds::resource`"), "{report}");
    // With the earlier one the later part is refused, and named by its file.
    let text = refused(dir.path(), kinds::<true>(OLD));
    assert!(text.contains("00000002.qjl") && text.contains(&hash(NEW)), "{text}");
}

#[test]
fn a_table_that_was_not_there_and_reading_one_leave_no_trace_in_what_is_compared() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeBuilder::new("shop", without_prices::<false>()).dir(dir.path()).start(&Label::<false>).unwrap();
    let _: u64 = node.host().request(node.root(), Duration::from_secs(30), Ask::Browse).unwrap();
    node.stop().unwrap();
    let recorded = replay(dir.path(), without_prices::<false>(), &Options::new()).unwrap();
    for kinds in [kinds::<false>(NEW), kinds::<true>(NEW), kinds::<true>(OLD)] {
        let report = replay(dir.path(), kinds, &Options::new()).unwrap();
        assert_eq!((report.digest, report.rounds_unproved), (recorded.digest, 0));
    }
}

#[test]
fn a_dump_says_which_tables_were_recorded_with() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), kinds::<true>(OLD), Ask::Browse);
    let (mut texts, mut segments) = (vec![], vec![]);
    let take = |line: &dump::Line<'_>| {
        texts.push(line.to_string());
        segments.push(serde_json::to_value(line).unwrap());
        Ok(())
    };
    dump(dir.path(), &dump::Options::new(), take, |_, _| {}).unwrap();
    assert!(texts[0].ends_with(&format!(", resource prices with hash {}", hash(OLD))), "{}", texts[0]);
    assert_eq!(segments[0]["resources"], serde_json::json!([{ "name": "prices", "hash": hash(OLD) }]));
}

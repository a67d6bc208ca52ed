//! What only one of two journals has: whether the other one misses it, or has yet to come to it. Each claim is one case of the rule in the
//! head of `compare`, on journals that say what the claim says and nothing else.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{path::Path, sync::Arc};

use qnfsm::{
    Catalogue, Codec, Context, Fsm, Kinds, Next, NodeBuilder, QueueId, Recording, ReplyTo, Trust, frame::Class,
};
use qnfsm_replay::{
    Options,
    compare::{Apart, Aspect, Compared, compare},
};
use rig::{
    PATIENCE, copy,
    written::{Asks, Said, Took, from_edge, from_worker, write},
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use Said::{Rests, Starts, Takes};

#[derive(Serialize, Deserialize)]
struct Sum;

#[derive(Serialize, Deserialize)]
enum Number {
    Plus(u64),
}

impl Fsm for Sum {
    const NAME: &'static str = "sum";
    type State = ();
    type Message = Number;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), _: Number, _: &mut Context<'_, Self>) -> Next<Self> {
        Next::Stay
    }
}

fn catalogue() -> Arc<Catalogue> {
    Kinds::new().with::<Sum>().seal().unwrap()
}

fn written(identity: u128, recording: Recording, all: &[Said]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write::<Number>(dir.path(), &catalogue(), identity, recording, all);
    dir
}

fn compared(one: &Path, other: &Path) -> Compared {
    compare(one, other, None, &Options::new()).unwrap()
}

/// Two runs, which have identities of their own.
fn runs(one: &[Said], other: &[Said]) -> Compared {
    let [one, other] = [(1, one), (2, other)].map(|(identity, all)| written(identity, Recording::Inputs, all));
    let compared = compared(one.path(), other.path());
    assert!(compared.times_ignored);
    compared
}

/// What one of two runs misses, which is the same whichever is named first, but for who is who.
#[track_caller]
fn missed(one: &[Said], other: &[Said]) -> Apart {
    let apart = runs(one, other).parted.expect("the other one misses something");
    let turned = runs(other, one).parted.expect("so does the first, turned round");
    assert_eq!((apart.aspect, apart.only_in, turned.only_in), (Aspect::Missing, Some(0), Some(1)), "{apart:?}");
    assert_eq!((&apart.what, &apart.expected, &apart.found), (&turned.what, &turned.found, &turned.expected));
    apart
}

/// How many more one has, where the other has yet to come to it.
#[track_caller]
fn goes_on(one: &[Said], other: &[Said]) -> [u64; 2] {
    let compared = runs(one, other);
    assert!(compared.parted.is_none(), "{compared:?}");
    let turned = runs(other, one);
    assert!(turned.parted.is_none() && [turned.more[1], turned.more[0]] == compared.more, "{turned:?}");
    compared.more
}

const FIRST: Said = Starts(0, Asks::Nobody);

fn host(number: u64) -> Said {
    Takes(0, from_edge(0, number))
}

fn other_edge(number: u64) -> Said {
    Takes(0, from_edge(1, number))
}

#[test]
fn a_source_that_only_one_has_is_missed_if_the_other_went_on_behind_it() {
    let apart = missed(&[FIRST, host(1), other_edge(1), host(2), host(3)], &[FIRST, host(1), host(2), host(3)]);
    assert_eq!((apart.worker.0, apart.at[0].round, apart.what.as_deref()), (0, 2, Some("frame 1 of e1")));
    assert!(apart.expected.contains("Plus(1)"), "{apart:?}");
    assert!(apart.found.contains("round 2 of w0 went on, with frame 2 of e0"), "{apart:?}");
    assert_eq!(apart.at[1].round, 2);
}

#[test]
fn so_is_what_a_source_put_in_that_both_have() {
    let apart = missed(
        &[FIRST, other_edge(1), host(1), other_edge(2), host(2), host(3)],
        &[FIRST, other_edge(1), host(1), host(2), host(3)],
    );
    assert_eq!((apart.what.as_deref(), apart.agreed), (Some("frame 2 of e1"), Some(1)));
}

#[test]
fn what_the_other_took_last_proves_nothing() {
    // What is missing may have been on its way to it.
    assert_eq!(goes_on(&[FIRST, host(1), other_edge(1), host(2)], &[FIRST, host(1), host(2)]), [1, 0]);
    // Nor does what another worker of it took.
    let start = [FIRST, Starts(1, Asks::Nobody), host(1)];
    let elsewhere = [1, 2, 3, 4, 5].map(|number| Takes(1, from_edge(0, number)));
    let [one, other] = [[&start[..], &[other_edge(1)], &elsewhere].concat(), [&start[..], &elsewhere].concat()];
    assert_eq!(goes_on(&one, &other), [1, 0]);
}

#[test]
fn a_journal_that_ends_before_what_the_other_has_misses_nothing() {
    let whole = [FIRST, host(1), other_edge(1), host(2), other_edge(2), Starts(1, Asks::Worker(0)), host(3), host(4)];
    for end in 0..whole.len() {
        goes_on(&whole, &whole[..end]);
    }
    // In another order neither.
    assert_eq!(goes_on(&whole, &[FIRST, host(1), host(2), other_edge(1), host(3)][..4]), [3, 0]);
}

#[test]
fn answers_and_what_other_workers_sent_may_come_of_timers_and_go_on() {
    let (begin, end) = ([FIRST, host(1)], [host(2), host(3)]);
    let answer = Takes(0, Took { class: Class::Reply, ..from_edge(1, 1) });
    for extra in [answer, Takes(0, from_worker(3, 1))] {
        assert_eq!(goes_on(&[&begin[..], &[extra], &end].concat(), &[begin, end].concat()), [1, 0]);
    }
}

#[test]
fn whatever_an_edge_put_in_is_missed_once_a_later_epoch_has_begun() {
    let answer = Takes(0, Took { class: Class::Reply, ..from_edge(1, 1) });
    let later = Takes(0, Took { epoch: 2, ..from_edge(0, 1) });
    let apart = missed(&[FIRST, host(1), answer, later], &[FIRST, host(1), later]);
    assert_eq!(apart.what.as_deref(), Some("frame 1 of e1"));
    // A worker's frames are put in again.
    let sent = Takes(0, from_worker(3, 1));
    assert_eq!(goes_on(&[FIRST, host(1), sent, later], &[FIRST, host(1), later]), [1, 0]);
}

#[test]
fn a_worker_that_only_one_started_is_missed_if_the_other_went_on_behind_the_start() {
    let second = [Takes(1, from_edge(0, 1)), Takes(1, from_edge(0, 2))];
    let one = [&[FIRST, host(1), Starts(1, Asks::Worker(0))], &second[..], &[host(2), host(3)]].concat();
    let apart = missed(&one, &[FIRST, host(1), host(2), host(3)]);
    assert_eq!((apart.worker.0, apart.what.as_deref(), apart.at[0].round), (1, Some("the start of w1"), 1));
    // It asked for it in its last round, or the other one took nothing behind that.
    assert_eq!(goes_on(&one, &[FIRST, host(1), host(2)]), [3, 0]);
    assert_eq!(goes_on(&one[..5], &[FIRST, host(1), Rests(0), Rests(0)]), [2, 0]);
}

#[test]
fn a_worker_that_was_asked_for_from_outside_is_missed_if_anything_of_later_is_there() {
    let one = [FIRST, Starts(1, Asks::Host), Takes(1, from_edge(0, 1)), host(1), host(2)];
    assert_eq!(missed(&one, &[FIRST, host(1), host(2)]).what.as_deref(), Some("the start of w1"));
    assert_eq!(goes_on(&one, &[FIRST, host(1)]), [2, 0]);
}

#[test]
fn copies_that_have_each_something_of_their_own_have_gone_different_ways() {
    let begin = [FIRST, Starts(1, Asks::Nobody), host(1), Takes(1, from_edge(0, 1))];
    let one = written(1, Recording::Inputs, &[&begin[..], &[host(2), host(3)]].concat());
    let other = written(1, Recording::Inputs, &[&begin[..], &[Takes(1, from_edge(0, 2))]].concat());
    let parted = compared(one.path(), other.path()).parted.expect("they went on on different workers");
    assert_eq!((parted.aspect, parted.only_in, parted.at[0].round), (Aspect::Missing, Some(0), 2), "{parted:?}");
    let shorter = written(1, Recording::Inputs, &begin);
    let longer = compared(one.path(), shorter.path());
    assert!(longer.parted.is_none() && longer.more == [2, 0] && longer.same == 2, "{longer:?}");
}

#[test]
fn what_comes_first_is_told_and_not_what_came_of_it() {
    // The other edge's frame is missed, and then something else is sent to another worker.
    let sent = |value| Takes(1, Took { value, ..from_worker(0, 1) });
    let begin = [FIRST, Starts(1, Asks::Nobody), host(1)];
    let one = [&begin[..], &[other_edge(1), host(2), host(3), sent(1)]].concat();
    let other = [&begin[..], &[host(2), host(3), sent(2)]].concat();
    assert_eq!(missed(&one, &other).what.as_deref(), Some("frame 1 of e1"));
    // And where that comes before, it is told.
    let one = [&begin[..], &[sent(1), other_edge(1), host(2), host(3)]].concat();
    let other = [&begin[..], &[sent(2), host(2), host(3)]].concat();
    for [one, other] in [[&one, &other], [&other, &one]] {
        let parted = runs(one, other).parted.unwrap();
        assert_eq!((parted.aspect, parted.only_in), (Aspect::Inputs, None), "{parted:?}");
    }
}

/// What it has spawned stays by itself. `SPAWNS` is its code: with 0 it spawns none.
#[derive(Serialize, Deserialize)]
struct Parent<const SPAWNS: u64>;

#[derive(Serialize, Deserialize)]
enum Wish {
    Child,
    Done(ReplyTo<u64>),
}

impl<const SPAWNS: u64> Fsm for Parent<SPAWNS> {
    const NAME: &'static str = "parent";
    type State = ();
    type Message = Wish;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), wish: Wish, cx: &mut Context<'_, Self>) -> Next<Self> {
        match wish {
            Wish::Child => {
                for _ in 0..SPAWNS {
                    let _: QueueId<Number> = cx.spawn(Sum);
                }
            }
            Wish::Done(reply) => cx.reply(reply, 1),
        }
        Next::Stay
    }
}

fn family<const SPAWNS: u64>(recording: Recording) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let kinds = Kinds::new().with::<Parent<SPAWNS>>().with::<Sum>().message::<u64>();
    let node = NodeBuilder::new("family", kinds).seed(1).dir(dir.path()).recording(recording);
    let node = node.start(&Parent::<SPAWNS>).unwrap();
    node.host().send(node.root(), &Wish::Child).unwrap();
    let _: u64 = node.host().request(node.root(), PATIENCE, Wish::Done).unwrap();
    node.stop().unwrap();
    dir
}

#[test]
fn an_fsm_that_only_one_spawned_is_told_by_the_delivery_that_spawned_it() {
    let [one, other] = [family::<1>(Recording::Everything), family::<0>(Recording::Everything)];
    let parted = compared(one.path(), other.path()).parted.expect("one spawned, and the other did not");
    assert_eq!(parted.aspect, Aspect::Deliveries);
    assert!(parted.expected.contains("Child") && parted.expected.contains("spawned 1"), "{parted:?}");
    assert!(parted.found.contains("Child") && !parted.found.contains("spawned"), "{parted:?}");
}

#[test]
fn deliveries_that_only_one_recorded_are_left_out_and_it_is_said_how_to_get_closer() {
    let [everything, inputs] = [family::<1>(Recording::Everything), family::<1>(Recording::Inputs)];
    for (dirs, whose) in [([&everything, &inputs], "only the first"), ([&inputs, &everything], "only the other")] {
        let compared = compared(dirs[0].path(), dirs[1].path());
        assert!(compared.parted.is_none() && compared.more == [0, 0], "{compared:?}");
        let closeness = compared.closeness().expect("it could be closer");
        assert!(closeness.contains(whose) && closeness.contains("Recording::Everything"), "{closeness}");
    }
    let both = compared(everything.path(), family::<1>(Recording::Everything).path());
    assert!(both.parted.is_none() && both.more == [0, 0] && both.closeness().is_none(), "{both:?}");
    let neither = compared(inputs.path(), family::<1>(Recording::Inputs).path()).closeness().expect("neither has them");
    assert!(neither.contains("neither has"), "{neither}");
    assert_eq!(compared(inputs.path(), inputs.path()).closeness(), None, "digests leave nothing out");
}

#[test]
fn a_node_that_recorded_everything_only_later_is_compared_by_what_entered() {
    let late = family::<1>(Recording::Inputs);
    let first = tempfile::tempdir().unwrap();
    copy(late.path(), first.path());
    let kinds = Kinds::new().with::<Parent<1>>().with::<Sum>().message::<u64>();
    let node = NodeBuilder::new("family", kinds).dir(late.path()).recording(Recording::Everything);
    let node = node.start(&Parent::<1>).unwrap();
    let root: QueueId<Wish> = node.root();
    node.host().send(root, &Wish::Child).unwrap();
    node.stop().unwrap();
    let whole = family::<1>(Recording::Everything);
    let compared = compared(whole.path(), late.path());
    assert!(compared.parted.is_none() && compared.has_deliveries == [true, false], "{compared:?}");
}

/// Journals in which each has much that the other comes to late or never, and the last frame of one source differs if that is asked for.
fn lopsided(value: u8) -> [Vec<Said>; 2] {
    const MANY: u64 = 400;
    let (mut one, mut other) = (vec![FIRST, Starts(1, Asks::Nobody)], vec![FIRST, Starts(1, Asks::Nobody)]);
    let of = |worker, edge| move |number| Takes(worker, from_edge(edge, number));
    let last = |value| Takes(1, Took { value, ..from_edge(2, MANY + 1) });
    [&mut one, &mut other].into_iter().for_each(|all| all.extend((1..=10).map(of(1, 2))));
    one.extend((11..=MANY).map(of(1, 2)));
    one.push(last(1));
    one.extend((1..=MANY).map(of(0, 3)));
    one.extend((1..=MANY).map(|number| Takes(0, from_worker(5, number))));
    one.extend((1..=MANY).map(host));
    other.extend((1..=MANY).map(host));
    other.extend((1..=MANY).map(of(0, 3)));
    other.extend((11..=MANY).map(of(1, 2)));
    other.push(last(value));
    [one, other]
}

#[test]
fn in_little_memory_the_verdict_is_the_same() {
    for value in [1, 2] {
        let [one, other] = lopsided(value);
        let dirs = [written(1, Recording::Inputs, &one), written(2, Recording::Inputs, &other)];
        let with = |memory: Option<usize>| {
            let options = memory.into_iter().fold(Options::new(), Options::memory);
            compare(dirs[0].path(), dirs[1].path(), None, &options).unwrap()
        };
        let unbounded = with(None);
        assert_eq!((unbounded.effort.passes, unbounded.parted.is_some()), (1, value == 2));
        let each = unbounded.effort.bytes_each;
        for kept in [40, 100, 300] {
            // A list may have twice the room that it takes.
            let memory = kept * each * 2;
            let bounded = with(Some(memory));
            let text = |it: &Compared| {
                let parted =
                    it.parted.as_ref().map(|it| (it.what.clone(), it.expected.clone(), it.found.clone(), it.agreed));
                (if value == 1 { it.same } else { 0 }, it.more, parted)
            };
            assert_eq!(text(&bounded), text(&unbounded), "with room for {kept}");
            assert!(bounded.effort.passes > 1 || kept > 40, "{:?}", bounded.effort);
            // What is read at a time comes on top.
            assert!(bounded.effort.kept_most <= kept + kept / 8 + 4, "{:?} with room for {kept}", bounded.effort);
            assert!(unbounded.effort.kept_most > 300, "{:?}", unbounded.effort);
        }
    }
    // What is found only in a later pass may stand before what was missed in the first.
    let of = |worker, edge, value| move |number| Takes(worker, Took { value, ..from_edge(edge, number) });
    let begin = [FIRST, Starts(1, Asks::Nobody)];
    let (early, late): (Vec<_>, Vec<_>) = ((1..=100).map(of(0, 3, 1)).collect(), (1..=3).map(host).collect());
    let sent = |value| (1..=100).map(of(1, 2, value)).collect::<Vec<_>>();
    let one = [&begin[..], &sent(1), &[other_edge(1)], &late, &early].concat();
    let other = [&begin[..], &early, &late, &sent(2)].concat();
    let dirs = [written(1, Recording::Inputs, &one), written(2, Recording::Inputs, &other)];
    let options = Options::new().memory(80 * compared(dirs[0].path(), dirs[1].path()).effort.bytes_each);
    let parted = compare(dirs[0].path(), dirs[1].path(), None, &options).unwrap().parted.unwrap();
    assert_eq!((parted.only_in, parted.what.as_deref()), (None, Some("frame 1 of e2")), "{parted:?}");
    let plus: Number = Codec::CURRENT.decode(&[0, 1], Trust::Node).unwrap();
    assert!(matches!(plus, Number::Plus(1)));
}

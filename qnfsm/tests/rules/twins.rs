//! R7 and R8: a restored worker does nothing otherwise, and what an FSM does depends on nothing but its world. Also the
//! test kit's own detectors: each finds the fault that is planted for it.
#![expect(clippy::disallowed_types, reason = "the faults that a twin finds are made here")]

use std::{cell::Cell, collections::HashMap, time::Duration};

use qnfsm::{
    Context, Fsm, Kinds, Next, Time,
    testing::{Drive, Setup, twin_round},
};
use serde::{Deserialize, Serialize};

use crate::{
    puppet::{Act, Note, Op, Plain, Then, To, Which, note, then, told},
    stage::{Stage, outside, queue},
};

/// A worker in which all that can wait waits: half-served queues, postponed and self-sent messages, timers set and
/// fired, requests, watches, freed slots, an FSM that has yet to start.
pub(crate) fn busy() -> Stage {
    let mut stage = Stage::with(&[Which::Plain, Which::Oldest, Which::Restarting, Which::Plain, Which::Plain]);
    stage.tell(queue(3, 1), then(0, vec![], Then::Stop)).tell(queue(4, 1), then(0, vec![], Then::Stop));
    let other = To::Queue(queue(1, 1));
    let ops = vec![
        Op::Timer("t".into(), 500, note(20)),
        Op::Every("e".into(), 2_000, note(21)),
        Op::StateTimeout(700, note(22)),
        Op::Request(other, 50_000, Act::Keep),
        Op::Request(To::Queue(outside()), 60_000, Act::Keep),
        Op::Monitor(other),
        Op::Monitor(To::Queue(outside())),
        Op::DeadLetters(true),
        Op::Draw,
        Op::Read(4),
    ];
    stage.tell(queue(0, 1), told(1, ops));
    stage.put(queue(0, 1), then(2, vec![], Then::Postpone)).run();
    stage.now += 3_000;
    stage.bound = 3;
    for label in 10..16 {
        let ops = vec![Op::Send(other, note(label)), Op::SendSelf(note(label + 100)), Op::Draw];
        stage.put(queue(0, 1), told(label, ops));
    }
    stage.put(queue(2, 1), told(30, vec![Op::Spawn(Which::Plain, vec![Op::Draw])]));
    let end = stage.round();
    assert!(!end.idle);
    stage
}

/// What comes after, the same for both.
fn go_on(stage: &mut Stage) -> Vec<(u64, Vec<u8>)> {
    let mut seen = vec![];
    for round in 0..20 {
        stage.now += 400;
        if round == 3 {
            stage.put(queue(0, 1), then(40, vec![Op::Spawn(Which::Plain, vec![])], Then::Goto(1)));
            stage.put(queue(2, 1), told(41, vec![Op::Panic]));
        }
        let end = stage.round();
        seen.push((end.digest, stage.image()));
    }
    seen
}

#[test]
fn r7_a_restored_worker_does_nothing_otherwise() {
    let mut live = busy();
    let mut twin = live.restored();
    assert_eq!(live.image(), twin.image());
    let before = live.out.len();
    assert_eq!(go_on(&mut live), go_on(&mut twin));
    assert_eq!(live.out[before..], twin.out);
    assert_eq!(live.notes(0), twin.notes(0));
    assert!(live.notes(0).len() > 15, "something happened");
}

#[test]
fn r7_a_twin_can_be_made_between_any_two_rounds() {
    let mut stage = busy();
    stage.bound = 1;
    for _ in 0..60 {
        stage.now += 100;
        let (now, bound) = (Time::from_nanos(stage.now), stage.bound);
        let _ = twin_round(&mut stage.worker, now, &[], bound, &mut stage.ports).unwrap();
    }
}

#[test]
fn r8_external_values_are_asked_for_in_order_and_a_failure_ends_the_worker() {
    let mut stage = Stage::with(&[Which::Plain]);
    stage.tell(queue(0, 1), told(0, vec![Op::Read(3), Op::Read(1)])).tell(queue(0, 1), told(1, vec![Op::Read(2)]));
    assert_eq!(stage.ports.asked, [3, 1, 2]);
    let reads = stage.notes(0).into_iter().filter(|note| matches!(note, Note::Read(_)));
    assert_eq!(reads.collect::<Vec<_>>(), [Note::Read(30), Note::Read(10), Note::Read(20)]);
    stage.ports.fails = true;
    stage.tell(queue(0, 1), told(2, vec![Op::Send(To::Queue(outside()), note(1)), Op::Read(5)]));
    let fault = stage.ends.last().unwrap().fault.clone().unwrap();
    assert!(fault.to_string().contains("nobody answers"), "{fault}");
    assert_eq!(stage.worker.counters().panics, 0, "it is no panic of the FSM's");
    assert!(stage.sent_out().is_empty());
}

#[test]
fn r8_an_external_value_goes_into_the_digest() {
    let digest = |factor: u32| {
        let mut stage = Stage::with(&[Which::Plain]);
        stage.ports.factor = factor;
        stage.put(queue(0, 1), told(0, vec![Op::Read(3)])).round().digest
    };
    assert_ne!(digest(1), digest(2));
}

/// FSMs that break R8, each in its way.
mod faulty {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Skips {
        #[serde(skip)]
        pub(super) seen: u64,
        pub(super) even: bool,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct Static {
        pub(super) got: u64,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct Asks {
        pub(super) got: u32,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct MapOrder {
        pub(super) map: HashMap<u64, u64>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Tick;

    thread_local!(pub(super) static COUNT: Cell<u64> = const { Cell::new(0) });

    macro_rules! fsm {
        ($fsm:ident $name:literal |$self:ident, $cx:ident| $body:expr) => {
            impl Fsm for $fsm {
                const NAME: &'static str = $name;
                type State = ();
                type Message = Tick;
                fn start(&mut self, _: &mut Context<'_, Self>) {}
                fn handle(&mut self, _: (), _: Tick, $cx: &mut Context<'_, Self>) -> Next<Self> {
                    let $self = self;
                    $body;
                    Next::Stay
                }
            }
        };
    }

    fsm!(Skips "skips" |this, _cx| {
        this.seen += 1;
        this.even = this.seen.is_multiple_of(2);
    });
    fsm!(Static "static" |this, _cx| this.got = COUNT.replace(COUNT.get() + 1));
    fsm!(Asks "asks" |this, cx| {
        let question = u32::try_from(COUNT.replace(COUNT.get() + 1)).unwrap();
        this.got = cx.external::<crate::puppet::Port>(&question);
    });
    fsm!(MapOrder "map order" |this, cx| {
        let count = this.map.len() as u64;
        this.map.extend((count..count + 20).map(|key| (key, key)));
        cx.after(Duration::from_secs(1), Tick);
    });
}
use faulty::{Asks, MapOrder, Skips, Static, Tick};

/// What the kit says of an FSM that is told twice.
fn complaint<F: Fsm<Message = Tick>>(fsm: F) -> String {
    let drive = std::panic::AssertUnwindSafe(|| {
        let mut t = Drive::new(Kinds::new().with::<F>(), fsm);
        t.tell(Tick);
        t.tell(Tick);
    });
    let panic = std::panic::catch_unwind(drive).expect_err("the twin finds it");
    *panic.downcast::<String>().expect("the kit panics with a text")
}

#[test]
fn r7_the_kit_finds_a_skipped_field() {
    let text = complaint(Skips { seen: 0, even: true });
    assert!(text.contains("kind skips") && text.contains("serde(skip)") && text.contains("round 3"), "{text}");
}

#[test]
fn r8_the_kit_finds_a_static() {
    let text = complaint(Static { got: 0 });
    assert!(text.contains("kind static") && text.contains("data after it differs"), "{text}");
}

#[test]
fn r8_the_kit_finds_the_order_of_a_hash_map() {
    let text = complaint(MapOrder { map: HashMap::new() });
    assert!(text.contains("hash map"), "{text}");
}

#[test]
fn r8_the_kit_finds_other_external_questions() {
    let drive = || {
        let mut t = Setup::new(Kinds::new().with::<Asks>())
            .external::<crate::puppet::Port>(|question| question)
            .start(Asks { got: 0 });
        t.tell(Tick);
    };
    let panic = std::panic::catch_unwind(drive).expect_err("the twin finds it");
    let text = *panic.downcast::<String>().expect("the kit panics with a text");
    assert!(text.contains("asked port port"), "{text}");
}

#[test]
fn the_kit_drives_puppets_through_everything() {
    let mut t = Setup::new(crate::puppet::kinds())
        .seed(3)
        .bound(2)
        .turn_messages(1)
        .external::<crate::puppet::Port>(|question| question + 1)
        .start(crate::puppet::Puppet::<Plain>::new(vec![]));
    let world = qnfsm::testing::elsewhere(4);
    t.tell_all([
        told(1, vec![Op::Read(1), Op::Draw, Op::Send(To::Queue(world), note(9)), Op::Monitor(To::Queue(world))]),
        told(2, vec![Op::Spawn(Which::Restarting, vec![]), Op::Send(To::Child(0), told(3, vec![Op::Panic]))]),
        told(4, vec![Op::Request(To::Queue(world), 5_000_000_000, Act::Keep), Op::SpawnOn(qnfsm::WorkerId(9), 1)]),
        told(5, vec![Op::Every("beat".into(), 1_000_000_000, note(6))]),
    ]);
    assert!(t.monitors(world));
    let sent = t.sent_to(world);
    assert_eq!(sent[0], note(9));
    let crate::puppet::Order::Ask { reply, .. } = sent[1].clone() else { panic!("{sent:?}") };
    t.answer(reply.clone(), 77u32);
    t.fail(reply, qnfsm::NoReply::Failed);
    t.down(world, qnfsm::DownReason::Unreachable);
    let spawned = t.spawned_elsewhere::<crate::puppet::Puppet<Plain>>().remove(0);
    assert_eq!(spawned.worker, qnfsm::WorkerId(9));
    t.answer(spawned.reply, world);
    assert!(t.fsm().notes.iter().any(|note| matches!(note, Note::Born(reply) if reply.outcome == Ok(world))));
    t.advance(Duration::from_secs(2));
    t.jump(Duration::from_secs(3));
    let beats: Vec<_> = t
        .fsm()
        .notes
        .iter()
        .filter_map(|note| match note {
            Note::Did { label: 6, beats, .. } => Some(*beats),
            _ => None,
        })
        .collect();
    assert_eq!(beats, [1, 1, 3]);
    assert!(t.fsm().notes.contains(&Note::Read(2)));
    let child = t.fsm().children[0];
    assert!(t.other::<crate::puppet::Puppet<crate::puppet::Restarting>>(child).is_some());
    t.watch(child);
    t.stop(child);
    assert_eq!(t.downs().len(), 1);
    assert_eq!((t.fsms(), t.dead_letters(), t.stopped()), (1, 0, false));
    t.tell(told(0, vec![Op::Panic]));
    assert!(t.panicked().is_some());
}

//! R1: the order of delivery.

use proptest::prelude::*;
use qnfsm::{NodeId, Place, QueueId, RawQueueId, WorkerConfig, WorkerId, frame::Batch};

use crate::{
    puppet::{Act, Note, Op, Order, Plain, Then, To, Which, note, then, told},
    random_runs::cases,
    stage::{Stage, outside, queue},
};

fn send(slot: u32, label: u32) -> Op {
    Op::Send(To::Queue(queue(slot, 1)), note(label))
}

#[test]
fn r1_messages_from_one_sender_arrive_in_the_order_sent() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    for label in 0..100 {
        stage.put(queue(0, 1), told(label, vec![send(1, label * 2), send(1, label * 2 + 1)]));
    }
    stage.run();
    assert_eq!(stage.labels(0), (0..100).collect::<Vec<_>>());
    assert_eq!(stage.labels(1), (0..200).collect::<Vec<_>>());
}

#[test]
fn r1_fsms_have_their_turns_in_the_order_in_which_they_became_ready() {
    let mut stage = Stage::with(&[Which::Plain; 4]);
    let out = |label| told(label, vec![Op::Send(To::Queue(outside()), note(label))]);
    for (slot, label) in [(2, 1), (0, 2), (3, 3), (1, 4)] {
        stage.put(queue(slot, 1), out(label));
    }
    stage.run();
    assert_eq!(stage.sent_out(), [1, 2, 3, 4]);
}

#[test]
fn r1_who_sends_to_its_own_full_queue_is_ready_before_those_it_sends_to_later() {
    let config = WorkerConfig { turn_messages: 1, ..WorkerConfig::default() };
    let mut stage = Stage::configured(config, &[Which::Plain, Which::Plain]);
    let out = |label| told(label, vec![Op::Send(To::Queue(outside()), note(label))]);
    let start = vec![Op::Send(To::Me, out(4)), Op::Send(To::Queue(queue(1, 1)), out(5))];
    let fill = (1..4).map(|label| Op::Send(To::Child(0), out(label)));
    let ops = std::iter::once(Op::Spawn(Which::Oldest, start)).chain(fill);
    stage.tell(queue(0, 1), told(0, ops.collect()));
    assert_eq!(stage.sent_out(), [2, 5, 3, 4], "1 gave way to 4");
}

#[test]
fn r1_a_turn_is_bounded_and_who_has_more_goes_to_the_end() {
    let config = WorkerConfig { turn_messages: 2, ..WorkerConfig::default() };
    let mut stage = Stage::configured(config, &[Which::Plain; 2]);
    let out = |label| told(label, vec![Op::Send(To::Queue(outside()), note(label))]);
    for label in 1..=5 {
        stage.put(queue(0, 1), out(label));
    }
    for label in 11..=13 {
        stage.put(queue(1, 1), out(label));
    }
    stage.run();
    assert_eq!(stage.sent_out(), [1, 2, 11, 12, 3, 4, 13, 5]);
}

#[test]
fn r1_self_sent_messages_come_ahead_of_the_queue_in_their_order() {
    let mut stage = Stage::with(&[Which::Plain]);
    let ops = vec![Op::SendSelf(note(2)), Op::Send(To::Me, note(5)), Op::SendSelf(note(3))];
    stage.put(queue(0, 1), told(1, ops)).put(queue(0, 1), note(4)).run();
    assert_eq!(stage.labels(0), [1, 2, 3, 4, 5]);
}

#[test]
fn postponed_messages_come_back_ahead_of_the_queue_when_the_state_changes() {
    let mut stage = Stage::with(&[Which::Plain]);
    let later = |label| then(label, vec![], Then::Postpone);
    stage.tell(queue(0, 1), told(0, vec![Op::OnEnter(vec![Op::SendSelf(note(10))])]));
    stage.put(queue(0, 1), later(3)).put(queue(0, 1), later(4)).put(queue(0, 1), note(1));
    stage.put(queue(0, 1), then(2, vec![], Then::Goto(1))).put(queue(0, 1), note(5)).run();
    assert_eq!(stage.labels(0), [0, 1, 2, 10, 3, 4, 5]);
}

#[test]
fn a_postponed_message_keeps_its_sender() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    let ask_back = then(3, vec![Op::Send(To::Sender, note(7))], Then::Postpone);
    stage.tell(queue(1, 1), told(1, vec![Op::Send(To::Queue(queue(0, 1)), ask_back)]));
    stage.tell(queue(0, 1), then(2, vec![], Then::Goto(1)));
    assert_eq!(stage.labels(1), [1, 7, 7], "when it is postponed and when it comes again");
}

#[test]
fn r1_what_goes_elsewhere_in_a_row_keeps_its_order_and_each_its_header() {
    let mut stage = Stage::with(&[Which::Plain]);
    let away = To::Queue(QueueId::from_raw(RawQueueId::new(NodeId(0), Place::worker(WorkerId(9)), 200, 1)));
    let aside = To::Queue(QueueId::from_raw(RawQueueId::new(NodeId(0), Place::worker(WorkerId(9)), 200, 2)));
    let there = To::Queue(outside());
    let send = |to, label| Op::Send(to, note(label));
    let ask = || Op::Request(there, 1_000_000, Act::Keep);
    let ops = vec![
        send(there, 1),
        send(there, 2),
        Op::SendStranger(there),
        send(there, 3),
        ask(),
        ask(),
        send(there, 4),
        send(away, 5),
        send(away, 6),
        send(aside, 7),
        send(there, 8),
    ];
    stage.tell(queue(0, 1), told(0, ops));
    let stranger = stage.worker.catalogue().type_number::<crate::puppet::Stranger>().unwrap();
    let headers = |batch: &Batch| -> Vec<(u32, u32, bool, bool)> {
        let headers = batch.as_ref().frames().map(|frame| frame.unwrap().header);
        headers.map(|it| (it.slot, it.generation, it.type_number == stranger, it.request.is_some())).collect()
    };
    let there = [(false, false), (false, false), (true, false), (false, false), (false, true), (false, true)];
    let there = there.into_iter().chain([(false, false); 2]).map(|(other, request)| (0, 1, other, request));
    let elsewhere = [1, 1, 2].map(|generation| (200, generation, false, false));
    let out: Vec<_> = stage.out.iter().map(|(_, batch)| headers(batch)).collect();
    assert_eq!(out, [there.collect(), elsewhere.to_vec()]);
    assert_eq!(stage.sent_out().into_iter().filter(|label| *label != 0).collect::<Vec<_>>(), [1, 2, 3, 4, 8, 5, 6, 7]);
}

#[test]
fn the_enter_action_runs_with_each_new_state_after_what_the_handler_asked_for() {
    let mut stage = Stage::with(&[Which::Plain]);
    let out = |label| Op::Send(To::Queue(outside()), note(label));
    stage.tell(queue(0, 1), told(1, vec![Op::OnEnter(vec![out(2)])]));
    stage.tell(queue(0, 1), then(2, vec![out(1)], Then::Goto(1)));
    stage.tell(queue(0, 1), then(3, vec![out(3)], Then::Goto(1)));
    assert_eq!(stage.sent_out(), [1, 2, 3], "going to the present state enters nothing");
    let notes = &stage.puppet::<Plain>(queue(0, 1)).notes;
    let entered = notes.iter().filter(|note| matches!(note, Note::Entered(..)));
    assert_eq!(entered.collect::<Vec<_>>(), [&Note::Entered(None, 0), &Note::Entered(Some(0), 1)]);
}

#[test]
fn what_became_of_a_handlers_messages_is_told_before_the_enter_action_runs() {
    let said = |beside: Vec<Op>| {
        let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
        stage.tell(queue(1, 1), told(0, vec![Op::DeadLetters(true)]));
        stage.tell(queue(0, 1), told(0, vec![Op::OnEnter(vec![send(1, 2)])]));
        let ops = [beside, vec![Op::Send(To::Queue(queue(9, 1)), note(1))]].concat();
        stage.tell(queue(0, 1), then(1, ops, Then::Goto(1)));
        stage.notes(1).into_iter().skip(1).map(|note| matches!(note, Note::Dead(_))).collect::<Vec<_>>()
    };
    assert_eq!(said(vec![Op::CancelStateTimeout]), [true, false]);
    assert_eq!(said(vec![]), [true, false], "whether anything but messages was asked for changes no order");
}

proptest! {
    #![proptest_config(cases(64))]

    /// Whatever the bounds and turns are, who gets two messages from one sender gets them in the order sent, and all.
    #[test]
    fn r1_r2_no_bound_of_rounds_or_turns_reorders_one_senders_messages(
        bursts in prop::collection::vec((0u32..3, prop::collection::vec(3u32..6, 0..12)), 1..20),
        bounds in prop::collection::vec(1u32..9, 1..5),
        turn_messages in 1u32..6,
    ) {
        let config = WorkerConfig { turn_messages, ..WorkerConfig::default() };
        let mut stage = Stage::configured(config, &[Which::Plain; 6]);
        let mut bounds = bounds.iter().cycle();
        let mut sent = std::collections::BTreeMap::<(u32, u32), Vec<u32>>::new();
        for (label, (sender, receivers)) in (1..).zip(&bursts) {
            let ops = (0..).zip(receivers).map(|(count, receiver)| {
                let label = sender * 100_000 + label * 100 + count;
                sent.entry((*sender, *receiver)).or_default().push(label);
                send(*receiver, label)
            });
            let order: Order = told(label, ops.collect());
            stage.put(queue(*sender, 1), order);
            stage.bound = *bounds.next().expect("cycles do not end");
            let _ = stage.round();
        }
        while !stage.worker.is_idle() {
            stage.bound = *bounds.next().expect("cycles do not end");
            let _ = stage.round();
        }
        for sender in 0..3 {
            for receiver in 3..6 {
                let mut got = stage.labels(receiver);
                got.retain(|label| label / 100_000 == sender);
                prop_assert_eq!(&got, sent.entry((sender, receiver)).or_default());
            }
        }
    }
}

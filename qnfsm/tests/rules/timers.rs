//! R3: one `now` for each batch; when timers fire, in what order, and when they never do.

use qnfsm::{DownReason, NoReply, Reply, Time, Undelivered};

use crate::{
    puppet::{Act, Note, Op, Plain, Then, To, Which, note, then, told},
    stage::{Stage, queue},
};

fn one() -> Stage {
    Stage::with(&[Which::Plain])
}

fn after(delay: u64, label: u32) -> Op {
    Op::After(delay, note(label))
}

#[test]
fn r3_now_is_the_batchs_and_never_smaller_than_the_last() {
    let mut stage = one();
    stage.now = 5000;
    stage.put(queue(0, 1), note(1)).put(queue(0, 1), note(2)).run();
    stage.now = 4000;
    stage.tell(queue(0, 1), note(3));
    let nows = stage.notes(0).into_iter().map(|note| match note {
        Note::Did { now, .. } => now,
        other => panic!("{other:?}"),
    });
    assert_eq!(nows.collect::<Vec<_>>(), [5000, 5000, 5000]);
    assert_eq!(stage.worker.now(), Time::from_nanos(5000));
}

#[test]
fn r3_timers_due_fire_before_the_batchs_frames() {
    let mut stage = one();
    stage.tell(queue(0, 1), told(1, vec![after(100, 2)]));
    stage.now += 100;
    stage.tell(queue(0, 1), note(3));
    assert_eq!(stage.labels(0), [1, 2, 3]);
}

#[test]
fn r3_a_timers_fsm_has_its_turn_before_one_that_a_frame_woke() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    let out = |label| Op::Send(To::Queue(crate::stage::outside()), note(label));
    stage.tell(queue(1, 1), told(1, vec![Op::After(100, told(2, vec![out(1)]))]));
    stage.now += 100;
    stage.tell(queue(0, 1), told(3, vec![out(2)]));
    assert_eq!(stage.sent_out(), [1, 2]);
}

#[test]
fn r3_timers_fire_by_deadline_then_by_when_they_were_set() {
    let mut stage = one();
    stage.tell(queue(0, 1), told(0, vec![after(300, 5), after(100, 1), after(200, 3), after(100, 2), after(200, 4)]));
    stage.at(10_000);
    assert_eq!(stage.labels(0), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn r3_order_by_when_set_holds_between_fsms() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    let out = |label| told(label, vec![Op::Send(To::Queue(crate::stage::outside()), note(label))]);
    stage.tell(queue(1, 1), told(0, vec![Op::After(100, out(1))]));
    stage.tell(queue(0, 1), told(0, vec![Op::After(100, out(2))]));
    stage.at(10_000);
    assert_eq!(stage.sent_out(), [1, 2]);
}

#[test]
fn r3_a_timer_set_in_a_round_fires_in_a_later_one() {
    let mut stage = one();
    stage.put(queue(0, 1), told(1, vec![after(0, 2)]));
    let end = stage.round();
    assert!(end.idle);
    assert_eq!(stage.labels(0), [1], "due at once, and yet not in the same round");
    assert_eq!(stage.worker.next_timer(), Some(Time::from_nanos(stage.now)));
    let _ = stage.round();
    assert_eq!(stage.labels(0), [1, 2], "an empty batch at the same time brings it");
}

#[test]
fn r3_a_timer_does_not_fire_early() {
    let mut stage = one();
    let start = stage.now;
    stage.tell(queue(0, 1), told(1, vec![after(100, 2)]));
    stage.at(start + 99);
    assert_eq!(stage.labels(0), [1]);
    stage.at(start + 100);
    assert_eq!(stage.labels(0), [1, 2]);
}

#[test]
fn r3_full_queues_do_not_starve_timers_nor_timers_queues() {
    let mut stage = one();
    let timers = (0..50).map(|label| after(100, 1000 + label)).collect();
    stage.tell(queue(0, 1), told(0, timers));
    stage.now += 100;
    for label in 1..=50 {
        stage.put(queue(0, 1), note(label));
    }
    stage.run();
    let labels = stage.labels(0);
    assert_eq!(labels.len(), 101);
    for pair in labels[1..].windows(2) {
        assert_ne!(pair[0] >= 1000, pair[1] >= 1000, "they take turns: {labels:?}");
    }
}

#[test]
fn r3_a_cancelled_timer_is_not_delivered() {
    let mut stage = one();
    let ops =
        vec![after(100, 2), Op::Timer("a".into(), 100, note(3)), Op::Every("b".into(), 2000, note(4)), after(100, 5)];
    stage.tell(queue(0, 1), told(1, ops));
    stage.tell(queue(0, 1), told(6, vec![Op::CancelSet(0), Op::CancelTimer("a".into()), Op::CancelTimer("b".into())]));
    stage.at(100_000);
    assert_eq!(stage.labels(0), [1, 6, 5]);
    assert_eq!(stage.worker.next_timer(), None);
}

/// Lets all timers fire, and has a message cancel them that is handled after they fired and before they are delivered.
fn cancelled_when_fired(cancel: Vec<Op>, set: Vec<Op>) -> Vec<u32> {
    let mut stage = one();
    let mut ops = vec![Op::After(50, note(2))];
    ops.extend(set);
    stage.tell(queue(0, 1), told(1, ops));
    stage.now += 1_000_000;
    // The first timer to fire goes first, then the queue has its turn, and the others wait meanwhile.
    stage.put(queue(0, 1), told(3, cancel));
    stage.run();
    stage.labels(0)
}

#[test]
fn r3_a_timer_cancelled_after_it_fired_is_never_delivered() {
    let named = || Op::Timer("a".into(), 100, note(9));
    assert_eq!(cancelled_when_fired(vec![], vec![named()]), [1, 2, 3, 9], "it had fired and waited");
    assert_eq!(cancelled_when_fired(vec![Op::CancelTimer("a".into())], vec![named()]), [1, 2, 3]);
    assert_eq!(cancelled_when_fired(vec![Op::CancelSet(1)], vec![after(100, 9)]), [1, 2, 3]);
    let every = Op::Every("a".into(), 600_000, note(9));
    assert_eq!(cancelled_when_fired(vec![Op::CancelTimer("a".into())], vec![every]), [1, 2, 3]);
    let replaced = Op::Timer("a".into(), 1 << 40, note(8));
    assert_eq!(cancelled_when_fired(vec![replaced], vec![named()]), [1, 2, 3], "setting it anew replaces it");
}

#[test]
fn r3_a_fired_state_timeout_of_a_state_that_has_ended_is_never_delivered() {
    let mut stage = one();
    stage.tell(queue(0, 1), told(1, vec![after(50, 2), Op::StateTimeout(100, note(9))]));
    stage.now += 100;
    stage.put(queue(0, 1), then(3, vec![], Then::Goto(1))).run();
    assert_eq!(stage.labels(0), [1, 2, 3]);
    assert_eq!(stage.worker.next_timer(), None);
}

#[test]
fn r3_a_state_timeout_ends_with_its_state() {
    let mut stage = one();
    stage.tell(queue(0, 1), told(1, vec![Op::StateTimeout(100, note(9))]));
    stage.tell(queue(0, 1), then(2, vec![], Then::Goto(1)));
    assert_eq!(stage.worker.next_timer(), None);
    stage.at(10_000);
    assert_eq!(stage.labels(0), [1, 2]);
}

#[test]
fn a_state_timeout_set_by_who_leaves_belongs_to_the_new_state() {
    let mut stage = one();
    stage.tell(queue(0, 1), then(1, vec![Op::StateTimeout(100, note(9))], Then::Goto(1)));
    stage.at(10_000);
    assert_eq!(stage.labels(0), [1, 9]);
}

#[test]
fn staying_or_going_to_the_present_state_keeps_the_state_timeout() {
    let mut stage = one();
    stage.tell(queue(0, 1), told(1, vec![Op::StateTimeout(100, note(9))]));
    stage.tell(queue(0, 1), then(2, vec![], Then::Goto(0)));
    stage.at(10_000);
    assert_eq!(stage.labels(0), [1, 2, 9]);
}

#[test]
fn there_is_one_state_timeout() {
    let mut stage = one();
    stage.tell(queue(0, 1), told(1, vec![Op::StateTimeout(100, note(8)), Op::StateTimeout(200, note(9))]));
    stage.at(10_000);
    assert_eq!(stage.labels(0), [1, 9]);
    stage.tell(queue(0, 1), told(2, vec![Op::StateTimeout(100, note(8)), Op::CancelStateTimeout]));
    stage.at(20_000);
    assert_eq!(stage.labels(0), [1, 9, 2]);
}

#[test]
fn r3_a_periodic_timer_that_missed_beats_arrives_once_with_their_count() {
    let mut stage = one();
    let start = stage.now;
    stage.tell(queue(0, 1), told(1, vec![Op::Every("beat".into(), 1000, note(2))]));
    stage.at(start + 1000);
    stage.at(start + 5500);
    stage.at(start + 6000);
    let beats = stage.notes(0).into_iter().filter_map(|note| match note {
        Note::Did { label: 2, beats, now, .. } => Some((now - start, beats)),
        _ => None,
    });
    assert_eq!(beats.collect::<Vec<_>>(), [(1000, 1), (5500, 4), (6000, 1)]);
}

#[test]
fn r3_beats_that_fire_while_one_waits_are_added_to_it() {
    let mut stage = one();
    let start = stage.now;
    stage.tell(queue(0, 1), told(1, vec![Op::Every("beat".into(), 1000, note(2))]));
    stage.bound = 0;
    stage.now = start + 1000;
    let _ = stage.round();
    stage.now = start + 3000;
    let _ = stage.round();
    stage.bound = 1000;
    stage.run();
    assert_eq!(stage.notes(0)[1..], [Note::Did { label: 2, now: start + 3000, state: 0, beats: 3 }]);
}

#[test]
fn a_timer_that_no_clock_reaches_stays() {
    let mut stage = one();
    stage.tell(queue(0, 1), told(1, vec![Op::Every("beat".into(), u64::MAX, note(2)), after(u64::MAX, 3)]));
    stage.at(u64::MAX);
    assert_eq!(stage.labels(0), [1]);
}

#[test]
fn r3_a_requests_deadline_is_a_timer() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    let start = stage.now;
    stage.tell(queue(0, 1), told(1, vec![Op::Request(To::Queue(queue(1, 1)), 100, Act::Keep)]));
    stage.at(start + 99);
    assert_eq!(stage.notes(0).len(), 1);
    stage.at(start + 100);
    let request = stage.puppet::<Plain>(queue(0, 1)).requests[0];
    assert_eq!(stage.notes(0)[1..], [Note::Answer(Reply { request, outcome: Err(NoReply::Expired) })]);
    stage.tell(queue(1, 1), told(2, vec![Op::AnswerKept(5)]));
    assert_eq!(stage.notes(0).len(), 2, "exactly one outcome");
    assert_eq!(stage.dead(Undelivered::TooLate), 1);
}

#[test]
fn an_fsms_timers_end_with_it() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.tell(queue(1, 1), told(0, vec![Op::Monitor(To::Queue(queue(0, 1)))]));
    let ops = vec![after(100, 2), Op::StateTimeout(100, note(3)), Op::Request(To::Queue(queue(1, 1)), 100, Act::Keep)];
    stage.tell(queue(0, 1), then(1, ops, Then::Stop));
    assert_eq!(stage.worker.next_timer(), None);
    stage.at(10_000);
    let down = qnfsm::Down { queue: queue(0, 1).raw(), reason: DownReason::Stopped };
    assert!(stage.notes(1).contains(&Note::Down(down)));
}

#[test]
fn misuse_in_a_handler_that_left_a_state_leaves_no_timer_behind() {
    let mut stage = Stage::with(&[Which::Stopping, Which::Restarting]);
    for slot in [0, 1] {
        stage.tell(queue(slot, 1), told(1, vec![Op::StateTimeout(100, note(9))]));
        stage.tell(queue(slot, 1), then(2, vec![Op::Misuse], Then::Goto(1)));
    }
    assert_eq!(stage.worker.next_timer(), None);
    stage.restored().at(10_000);
    stage.at(10_000);
}

#[test]
fn r3_a_postponed_timers_message_keeps_its_beats() {
    let mut stage = one();
    let start = stage.now;
    stage.tell(queue(0, 1), told(0, vec![Op::Every("t".to_owned(), 1000, then(1, vec![], Then::Postpone))]));
    stage.at(start + 3500);
    assert_eq!(stage.labels(0), [0], "it is postponed in state 0");
    stage.tell(queue(0, 1), then(2, vec![Op::CancelTimer("other".to_owned())], Then::Goto(1)));
    let beats: Vec<_> = stage
        .notes(0)
        .iter()
        .filter_map(|note| match note {
            Note::Did { label: 1, beats, .. } => Some(*beats),
            _ => None,
        })
        .collect();
    assert_eq!(beats, [3]);
}

#[test]
fn r3_a_timer_that_is_cancelled_while_its_message_is_postponed_is_not_delivered() {
    let postponed = |op: Op| {
        let mut stage = one();
        let start = stage.now;
        let late = || then(1, vec![], Then::Postpone);
        stage.tell(
            queue(0, 1),
            told(0, vec![Op::Timer("a".to_owned(), 1000, late()), Op::Every("b".to_owned(), 1000, late())]),
        );
        stage.at(start + 1500);
        assert_eq!(stage.labels(0), [0]);
        stage.tell(queue(0, 1), told(2, vec![op]));
        let mut stage = stage.restored();
        stage.tell(queue(0, 1), then(3, vec![], Then::Goto(1)));
        stage.labels(0)
    };
    assert_eq!(postponed(Op::Draw), [0, 2, 3, 1, 1]);
    assert_eq!(postponed(Op::CancelTimer("a".to_owned())), [0, 2, 3, 1]);
    assert_eq!(postponed(Op::CancelTimer("b".to_owned())), [0, 2, 3, 1]);
    assert_eq!(postponed(Op::CancelSet(0)), [0, 2, 3, 1]);
}

#[test]
fn r3_a_postponed_state_timeout_ends_with_its_state() {
    let mut stage = one();
    let start = stage.now;
    stage.tell(queue(0, 1), told(0, vec![Op::StateTimeout(100, then(1, vec![], Then::Postpone))]));
    stage.at(start + 100);
    stage.tell(queue(0, 1), then(2, vec![], Then::Goto(1)));
    assert_eq!(stage.labels(0), [0, 2]);
}

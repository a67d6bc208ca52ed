//! R5: effects never fail in the handler's face; what they do, they do in order when it has returned.

use qnfsm::{
    Codec, Down, DownReason, FaultKind, NoReply, Place, RawQueueId, Reply, Skip, Undelivered, WorkerId,
    frame::{Class, Header},
};

use crate::{
    puppet::{
        Act, Coalescing, Newest, Note, Nothing, Oldest, Op, Order, Plain, Q, Restarting, Then, To, Which, note, then,
        told,
    },
    stage::{Stage, outside, queue},
};

fn to(slot: u32) -> To {
    To::Queue(queue(slot, 1))
}

fn out(label: u32) -> Op {
    Op::Send(To::Queue(outside()), note(label))
}

/// An FSM of that kind in slot 0 and a plain one in slot 1.
fn beside(which: Which) -> Stage {
    Stage::with(&[which, Which::Plain])
}

pub(crate) fn last_down(stage: &Stage, slot: u32) -> Option<Down> {
    stage.notes(slot).into_iter().rev().find_map(|note| match note {
        Note::Down(down) => Some(down),
        _ => None,
    })
}

pub(crate) fn outcomes(stage: &Stage, slot: u32) -> Vec<Result<u32, NoReply>> {
    let outcome = |note| match note {
        Note::Answer(Reply { outcome, .. }) => Some(outcome),
        _ => None,
    };
    stage.notes(slot).into_iter().filter_map(outcome).collect()
}

#[test]
fn r5_effects_happen_in_order_when_the_handler_returns() {
    let mut stage = Stage::with(&[Which::Plain; 3]);
    // The FSM of slot 1 is stopped between two messages to it.
    stage.tell(queue(1, 1), told(0, vec![Op::Monitor(to(0))]));
    stage.tell(queue(0, 1), told(1, vec![Op::Send(to(1), note(2)), Op::Stop(to(1)), Op::Send(to(1), note(3)), out(4)]));
    assert_eq!(stage.dead(Undelivered::ReceiverStopped), 1, "2 was in the queue");
    assert_eq!(stage.dead(Undelivered::NoSuchQueue), 1, "3 came after the stop");
    assert_eq!(stage.sent_out(), [4]);
}

#[test]
fn r5_a_child_gets_what_its_parent_sends_it_at_once_after_its_start() {
    let mut stage = Stage::with(&[Which::Plain]);
    let child = vec![Op::Send(To::Me, note(5)), out(1)];
    stage.tell(
        queue(0, 1),
        told(0, vec![Op::Spawn(Which::Plain, child), Op::Send(To::Child(0), told(6, vec![out(2)]))]),
    );
    assert_eq!(stage.sent_out(), [1, 2], "the start comes first");
    assert_eq!(stage.labels(1), [6, 5], "the parent's message was in the queue before the child started");
}

#[test]
fn r5_a_panic_cuts_off_what_the_handler_had_appended() {
    let mut stage = beside(Which::Restarting);
    let ops = vec![
        Op::Send(to(1), note(1)),
        out(2),
        Op::SendSelf(note(3)),
        Op::After(10, note(4)),
        Op::StateTimeout(10, note(5)),
        Op::Spawn(Which::Plain, vec![out(6)]),
        Op::Request(to(1), 1000, Act::Answer(1)),
        Op::Monitor(to(1)),
        Op::Stop(to(1)),
        Op::Panic,
    ];
    stage.tell(queue(0, 1), told(0, ops)).at(100_000);
    assert_eq!(stage.worker.counters().panics, 1);
    assert_eq!((stage.worker.fsms(), stage.worker.next_timer()), (2, None));
    assert!(stage.sent_out().is_empty());
    assert!(stage.labels(1).is_empty());
    assert_eq!(stage.puppet::<Restarting>(queue(0, 1)).notes, [Note::Entered(None, 0)], "it started anew");
    stage.tell(queue(0, 1), told(7, vec![Op::Spawn(Which::Plain, vec![])]));
    assert_eq!(stage.puppet::<Restarting>(queue(0, 1)).children, [queue(2, 1)], "the slot was never used");
}

#[test]
fn r5_misuse_cuts_off_too() {
    let mut stage = beside(Which::Stopping);
    stage.tell(queue(0, 1), told(0, vec![out(1), Op::Misuse, Op::Spawn(Which::Plain, vec![])]));
    assert!(stage.sent_out().is_empty());
    assert_eq!((stage.worker.fsms(), stage.worker.counters().panics), (1, 1));
}

#[test]
fn r5_a_panic_in_the_enter_action_cuts_off_only_what_that_appended() {
    let mut stage = beside(Which::Stopping);
    stage.tell(queue(0, 1), told(0, vec![Op::OnEnter(vec![out(2), Op::Panic])]));
    stage.tell(queue(0, 1), then(1, vec![out(1)], Then::Goto(1)));
    assert_eq!(stage.sent_out(), [1]);
    assert_eq!(stage.worker.fsms(), 1);
}

#[test]
fn r5_drawn_numbers_and_external_values_stay_drawn_over_a_panic() {
    let mut calm = beside(Which::Restarting);
    calm.tell(queue(0, 1), told(0, vec![Op::Draw, Op::Read(1)]))
        .tell(queue(0, 1), told(1, vec![Op::Draw, Op::Read(2)]));
    let drawn = |stage: &Stage| -> Vec<Note> {
        let notes = &stage.puppet::<Restarting>(queue(0, 1)).notes;
        notes.iter().filter(|note| matches!(note, Note::Drew(_) | Note::Read(_))).cloned().collect()
    };
    let mut panicking = beside(Which::Restarting);
    panicking.tell(queue(0, 1), told(0, vec![Op::Draw, Op::Read(1), Op::Panic]));
    panicking.tell(queue(0, 1), told(1, vec![Op::Draw, Op::Read(2)]));
    assert_eq!(panicking.ports.asked, [1, 2], "none is asked for twice");
    assert_eq!(drawn(&panicking), drawn(&calm)[2..], "the first draw is used up");
}

#[test]
fn a_panic_stops_the_node_by_default_and_names_the_fsm() {
    let mut stage = Stage::with(&[Which::Plain]);
    stage.tell(queue(0, 1), told(0, vec![out(1), Op::Panic]));
    let fault = stage.ends.last().unwrap().fault.clone().unwrap();
    assert_eq!(fault.what, FaultKind::Panic("told to".to_owned()));
    assert!(fault.to_string().contains("plain"), "{fault}");
}

#[test]
fn a_restarting_kind_starts_again_until_its_budget_is_used_up() {
    let mut stage = beside(Which::Restarting);
    stage.tell(queue(1, 1), told(0, vec![Op::Monitor(to(0))]));
    for count in 1..=3 {
        assert_eq!(last_down(&stage, 1), None);
        stage.put(queue(0, 1), then(9, vec![], Then::Postpone));
        stage.put(queue(0, 1), told(0, vec![Op::Panic])).put(queue(0, 1), note(count)).run();
        if count < 3 {
            assert_eq!(stage.puppet::<Restarting>(queue(0, 1)).labels(), [count], "what waited is handled anew");
            assert_eq!(stage.dead(Undelivered::ReceiverStopped), u64::from(count), "what was postponed is not");
        }
    }
    assert_eq!(last_down(&stage, 1), Some(Down { queue: queue(0, 1).raw(), reason: DownReason::Panicked }));
}

#[test]
fn r5_drop_newest_keeps_the_oldest() {
    let mut stage = beside(Which::Newest);
    stage.put(queue(1, 1), told(0, (1..=5).map(|label| Op::Send(to(0), note(label))).collect())).run();
    assert_eq!(stage.puppet::<Newest>(queue(0, 1)).labels(), [1, 2, 3]);
    assert_eq!(stage.dead(Undelivered::Full), 2);
}

#[test]
fn r5_drop_oldest_keeps_the_newest() {
    let mut stage = beside(Which::Oldest);
    stage.put(queue(1, 1), told(0, (1..=5).map(|label| Op::Send(to(0), note(label))).collect())).run();
    assert_eq!(stage.puppet::<Oldest>(queue(0, 1)).labels(), [3, 4, 5]);
    assert_eq!(stage.dead(Undelivered::Full), 2);
}

#[test]
fn r5_coalesce_replaces_the_message_with_the_same_key_where_it_stands() {
    let mut stage = beside(Which::Coalescing);
    // The key is the hundreds. 301 finds no match.
    let labels = [101, 201, 202, 102, 301, 103];
    stage.put(queue(1, 1), told(0, labels.map(|label| Op::Send(to(0), note(label))).into())).run();
    assert_eq!(stage.puppet::<Coalescing>(queue(0, 1)).labels(), [103, 201, 202]);
    assert_eq!(stage.dead(Undelivered::Full), 3);
}

#[test]
fn r5_stop_node_stops_the_node_and_names_the_queue() {
    let mut stage = beside(Which::Fatal);
    stage.put(queue(1, 1), told(0, (1..=4).map(|label| Op::Send(to(0), note(label))).collect())).run();
    let fault = stage.ends.last().unwrap().fault.clone().unwrap();
    assert_eq!(fault.what, FaultKind::QueueFull);
    assert!(fault.to_string().contains("fatal"), "{fault}");
}

#[test]
fn r5_overflow_is_the_same_for_frames_from_outside() {
    let mut stage = beside(Which::Oldest);
    for label in 1..=5 {
        stage.put(queue(0, 1), note(label));
    }
    stage.run();
    assert_eq!(stage.puppet::<Oldest>(queue(0, 1)).labels(), [3, 4, 5]);
}

#[test]
fn a_queue_without_room_takes_answers_timers_and_news_only() {
    let mut stage = beside(Which::Nothing);
    let spawn =
        vec![Op::Request(to(1), 1000, Act::Answer(7)), Op::Monitor(To::Queue(queue(9, 9))), Op::After(10, note(2))];
    stage.tell(queue(1, 1), told(0, vec![Op::Spawn(Which::Nothing, spawn), Op::Send(To::Child(0), note(1))]));
    stage.at(100_000);
    let notes = &stage.puppet::<Nothing>(queue(2, 1)).notes;
    assert_eq!(notes.len(), 4, "{notes:?}");
    assert_eq!(stage.dead(Undelivered::Full), 1);
}

#[test]
fn r5_an_answer_that_waits_is_never_dropped_for_room() {
    for which in [Which::Oldest, Which::Coalescing] {
        let mut stage = Stage::with(&[which, Which::Plain, Which::Plain]);
        stage.tell(queue(0, 1), told(0, vec![Op::Request(to(1), 1_000_000, Act::Keep), Op::Monitor(to(2))]));
        // All of this waits together: an answer, news, and more than there is room for.
        stage.put(queue(1, 1), told(0, vec![Op::AnswerKept(7)])).put(queue(2, 1), then(0, vec![], Then::Stop));
        let flood = (0..6).map(|label| Op::Send(to(0), note(101 + label))).collect();
        stage.put(queue(1, 1), told(0, flood)).run();
        let notes = match which {
            Which::Oldest => &stage.puppet::<Oldest>(queue(0, 1)).notes,
            _ => &stage.puppet::<Coalescing>(queue(0, 1)).notes,
        };
        assert!(notes.iter().any(|note| matches!(note, Note::Answer(Reply { outcome: Ok(7), .. }))), "{notes:?}");
        assert!(notes.iter().any(|note| matches!(note, Note::Down(_))), "{notes:?}");
    }
}

#[test]
fn r5_dead_letters_are_counted_by_reason() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.tell(queue(0, 1), told(0, vec![Op::Send(To::Queue(queue(9, 1)), note(1)), Op::SendStranger(to(1))]));
    stage.tell(queue(0, 1), then(0, vec![], Then::Unhandled));
    let number = stage.worker.catalogue().type_number::<Order>().unwrap();
    stage.put_frame(&Header::message(number, queue(0, 1).raw(), outside().raw()), &[99, 99]).run();
    for why in [Undelivered::NoSuchQueue, Undelivered::NotAccepted, Undelivered::Unhandled, Undelivered::NotUnderstood]
    {
        assert_eq!(stage.dead(why), 1, "{why}");
    }
}

#[test]
fn r5_dead_letters_are_messages_where_asked_for() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.tell(queue(1, 1), told(0, vec![Op::DeadLetters(true)]));
    stage.tell(queue(0, 1), told(0, vec![Op::Send(To::Queue(queue(9, 1)), note(1))]));
    let number = stage.worker.catalogue().type_number::<Order>().unwrap();
    let letter = qnfsm::DeadLetter {
        to: queue(9, 1).raw(),
        from: queue(0, 1).raw(),
        type_number: number,
        why: Undelivered::NoSuchQueue,
    };
    assert_eq!(stage.notes(1)[1..], [Note::Dead(letter)]);
    stage.tell(queue(1, 1), told(0, vec![Op::DeadLetters(false)]));
    stage.tell(queue(0, 1), told(0, vec![Op::Send(To::Queue(queue(9, 1)), note(1))]));
    assert_eq!(stage.notes(1).len(), 3, "no longer");
}

#[test]
fn r5_dead_letters_of_who_is_told_of_them_are_only_counted() {
    for which in [Which::Oldest, Which::Newest, Which::Coalescing, Which::Nothing] {
        let mut stage = beside(which);
        let start = vec![Op::DeadLetters(true)];
        stage.tell(queue(1, 1), told(0, vec![Op::Spawn(which, start)]));
        // More letters in one batch than the queue of the told one has room for.
        let lost = (0..6).map(|label| Op::Send(To::Queue(queue(9, 1)), note(label))).collect();
        stage.tell(queue(1, 1), told(0, lost));
        assert_eq!(stage.dead(Undelivered::NoSuchQueue), 6);
        assert_eq!(stage.dead(Undelivered::Full), if which == Which::Nothing { 6 } else { 3 });
    }
}

#[test]
fn r5_requests_are_answered() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain, Which::Newest]);
    let ask = |to, act| Op::Request(to, 1_000_000, act);
    stage.tell(
        queue(0, 1),
        told(0, vec![ask(to(1), Act::Answer(7)), ask(to(1), Act::Refuse), ask(to(1), Act::Unhandled)]),
    );
    assert_eq!(outcomes(&stage, 0), [Ok(7), Err(NoReply::Failed), Err(NoReply::Failed)]);
    assert_eq!(stage.worker.next_timer(), None, "their deadlines went with them");
}

#[test]
fn r5_requests_to_nobody_say_so() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    let ask = |to, act| Op::Request(to, 1_000_000, act);
    stage.tell(queue(0, 1), told(0, vec![ask(To::Queue(queue(9, 1)), Act::Keep)]));
    stage.put(queue(0, 1), told(0, vec![ask(to(1), Act::Keep), Op::Stop(to(1))])).run();
    assert_eq!(outcomes(&stage, 0), [Err(NoReply::Gone), Err(NoReply::Gone)]);
}

#[test]
fn r5_requests_to_a_full_queue_say_so() {
    for which in [Which::Newest, Which::Oldest] {
        let mut stage = beside(which);
        let ask = |answer| Op::Request(to(0), 1_000_000, Act::Answer(answer));
        stage.tell(queue(1, 1), told(0, vec![ask(1), ask(2), ask(3), ask(4)]));
        let full = Err(NoReply::Full);
        assert_eq!(
            outcomes(&stage, 1),
            if which == Which::Newest { [full, Ok(1), Ok(2), Ok(3)] } else { [full, Ok(2), Ok(3), Ok(4)] }
        );
    }
}

#[test]
fn r5_requests_that_are_postponed_too_often_say_so() {
    let mut stage = beside(Which::Newest);
    for _ in 0..4 {
        stage.tell(queue(1, 1), told(0, vec![Op::Request(to(0), 1_000_000, Act::Postpone)]));
    }
    assert_eq!(outcomes(&stage, 1), [Err(NoReply::Full)]);
    assert_eq!(stage.dead(Undelivered::PostponedTooMany), 1);
    stage.tell(queue(0, 1), then(0, vec![], Then::Goto(1)));
    assert_eq!(outcomes(&stage, 1), [Err(NoReply::Full), Ok(0), Ok(0), Ok(0)]);
}

#[test]
fn r5_a_postponed_request_of_a_receiver_that_starts_again_is_gone() {
    let mut stage = beside(Which::Restarting);
    stage.tell(queue(1, 1), told(0, vec![Op::Request(to(0), 1_000_000, Act::Postpone)]));
    stage.tell(queue(0, 1), told(0, vec![Op::Panic]));
    assert_eq!(outcomes(&stage, 1), [Err(NoReply::Gone)]);
}

#[test]
fn r5_a_request_has_one_outcome_whatever_comes_later() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.tell(queue(0, 1), told(0, vec![Op::Request(to(1), 100, Act::Keep)]));
    stage.at(10_000).tell(queue(1, 1), told(0, vec![Op::AnswerKept(7)]));
    assert_eq!(outcomes(&stage, 0), [Err(NoReply::Expired)]);
    assert_eq!(stage.dead(Undelivered::TooLate), 1);
}

#[test]
fn r5_a_cancelled_request_has_none() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.tell(queue(0, 1), told(0, vec![Op::Request(to(1), 100, Act::Keep), Op::CancelRequest]));
    assert_eq!(stage.worker.next_timer(), None);
    stage.tell(queue(1, 1), told(0, vec![Op::AnswerKept(7)])).at(10_000);
    assert_eq!(outcomes(&stage, 0), []);
}

#[test]
fn r5_an_answer_that_waits_goes_with_its_cancelled_request() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.tell(queue(0, 1), told(0, vec![Op::Request(to(1), 100, Act::Keep)]));
    // The answerer has its turn first; the answer stands behind the order to cancel.
    stage.put(queue(1, 1), told(0, vec![Op::Send(to(0), told(1, vec![Op::CancelRequest])), Op::AnswerKept(8)])).run();
    assert_eq!(stage.labels(0), [0, 1]);
    assert_eq!(outcomes(&stage, 0), []);
}

#[test]
fn requests_to_an_edge_are_answered_from_there() {
    let mut stage = Stage::with(&[Which::Plain]);
    let ask = || Op::Request(To::Queue(outside()), 1_000_000, Act::Keep);
    stage.tell(queue(0, 1), told(0, vec![ask(), ask(), ask()]));
    let number = stage.worker.catalogue().type_number::<u32>().unwrap();
    let requests = stage.puppet::<Plain>(queue(0, 1)).requests.clone();
    let header = |class, number, request| Header {
        request: Some(request),
        ..Header::to(class, number, queue(0, 1).raw(), outside().raw())
    };
    stage.put_frame(&header(Class::Reply, number, requests[2]), &[7]);
    stage.put_frame(&header(Class::Failed, 0, requests[0]), &[5]);
    stage.put_frame(&header(Class::Reply, number, requests[1]), &[]);
    stage.put_frame(&header(Class::Reply, number, requests[2]), &[8]).run();
    assert_eq!(outcomes(&stage, 0), [Ok(7), Err(NoReply::Failed), Err(NoReply::NotUnderstood)]);
    assert_eq!(stage.dead(Undelivered::TooLate), 1);
}

#[test]
fn monitors_are_told_once_and_why() {
    let mut stage = Stage::with(&[Which::Stopping, Which::Plain, Which::Plain]);
    let watch = |slot| Op::Monitor(to(slot));
    stage.tell(queue(1, 1), told(0, vec![watch(0), watch(0), watch(2), Op::Monitor(To::Queue(queue(9, 1)))]));
    stage.tell(queue(0, 1), told(0, vec![Op::Panic]));
    stage.tell(queue(2, 1), then(0, vec![], Then::Stop));
    let down = |queue: Q, reason| Note::Down(Down { queue: queue.raw(), reason });
    assert_eq!(
        stage.notes(1)[1..],
        [
            down(queue(9, 1), DownReason::Unknown),
            down(queue(0, 1), DownReason::Panicked),
            down(queue(2, 1), DownReason::Stopped),
        ]
    );
}

#[test]
fn who_no_longer_monitors_is_not_told() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.tell(queue(1, 1), told(0, vec![Op::Monitor(to(0)), Op::Unmonitor(to(0))]));
    stage.tell(queue(0, 1), then(0, vec![], Then::Stop));
    assert_eq!(last_down(&stage, 1), None);
}

#[test]
fn r5_who_stops_itself_leaves_nothing_behind_for_others() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    let ops = vec![
        Op::Stop(To::Me),
        Op::SendSelf(note(1)),
        Op::After(10, note(2)),
        Op::Monitor(to(1)),
        Op::DeadLetters(true),
        Op::Send(to(1), note(3)),
    ];
    stage.tell(queue(0, 1), told(0, ops));
    assert_eq!(stage.labels(1), [3], "not what the stopped one had sent to itself");
    stage.tell(queue(1, 1), told(4, vec![Op::Send(To::Queue(queue(9, 1)), note(5))]));
    stage.tell(queue(1, 1), note(6)).at(100_000);
    assert_eq!(stage.labels(1), [3, 4, 6]);
    assert_eq!(stage.dead(Undelivered::NoSuchQueue), 1, "nobody mourns");
}

#[test]
fn who_spawns_on_its_own_worker_is_answered_like_any_other() {
    let mut stage = Stage::with(&[Which::Plain]);
    stage.tell(queue(0, 1), told(0, vec![Op::SpawnOn(crate::stage::WORKER, 1000)]));
    let request = stage.puppet::<Plain>(queue(0, 1)).requests[0];
    assert_eq!(stage.notes(0)[1..], [Note::Born(Reply { request, outcome: Ok(queue(1, 1)) })]);
    assert!(stage.out.iter().all(|(place, _)| place.as_worker().is_none()), "it crosses no perimeter");
}

#[test]
fn who_spawns_elsewhere_gets_the_id_back_in_a_message() {
    let mut here = Stage::with(&[Which::Plain]);
    here.tell(queue(0, 1), told(0, vec![Op::SpawnOn(WorkerId(4), 1000)]));
    let (place, batch) = here.out.pop().unwrap();
    assert_eq!(place.as_worker(), Some(WorkerId(4)));
    let there = qnfsm::Worker::new(
        crate::stage::catalogue(),
        qnfsm::NodeId(0),
        WorkerId(4),
        qnfsm::Epoch::FIRST,
        qnfsm::WorkerConfig::default(),
    );
    let mut there = Stage::of(there, 1);
    there.worker.feed(qnfsm::Time::ZERO, [batch.as_ref()]);
    let _ = there.worker.round(10, &mut there.ports);
    let mut answers = vec![];
    there.worker.drain_outputs(|_, batch| answers.push(batch.clone()));
    here.worker.feed(qnfsm::Time::ZERO, [answers[0].as_ref()]);
    let _ = here.worker.round(10, &mut here.ports);
    let Note::Born(Reply { outcome: Ok(born), .. }) = here.notes(0)[1] else { panic!("{:?}", here.notes(0)) };
    assert!(there.worker.fsm::<crate::puppet::Puppet<Plain>>(born).is_some());
}

#[test]
fn a_request_that_is_in_the_hands_of_a_handler_which_panics_fails_at_once() {
    for which in [Which::Stopping, Which::Restarting] {
        let mut stage = beside(which);
        stage.tell(queue(1, 1), told(0, vec![Op::Request(to(0), 1_000_000, Act::Panic)]));
        let answered =
            stage.notes(1).iter().any(|note| matches!(note, Note::Answer(Reply { outcome: Err(NoReply::Failed), .. })));
        assert!(answered, "{which:?}: {:?}", stage.notes(1));
    }
}

#[test]
fn every_down_is_told_once_whatever_was_watched_how_often() {
    let watch = |to: To| [Op::Monitor(to), Op::Unmonitor(to), Op::Monitor(to), Op::Monitor(to)].to_vec();
    let gone = To::Queue(queue(7, 7));
    let downs = |stage: &Stage, slot| {
        stage
            .notes(slot)
            .iter()
            .filter(|note| matches!(note, Note::Down(down) if down.reason == DownReason::Unknown))
            .count()
    };
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.put(queue(1, 1), told(0, vec![Op::Monitor(gone)])).put(queue(0, 1), told(0, watch(gone))).run();
    assert_eq!((downs(&stage, 0), downs(&stage, 1)), (1, 1));
    stage.tell(queue(0, 1), told(1, vec![Op::Monitor(gone), Op::Unmonitor(gone)]));
    assert_eq!(downs(&stage, 0), 1, "who no longer watches is not told");

    // Elsewhere: each watch is answered there, and told here once.
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.put(queue(1, 1), told(0, vec![Op::Monitor(To::Queue(outside()))]));
    stage.put(queue(0, 1), told(0, watch(To::Queue(outside())))).run();
    let mut why = Vec::new();
    Codec::CURRENT.encode(&DownReason::Unknown, &mut why).unwrap();
    for watcher in [queue(0, 1), queue(0, 1), queue(1, 1)] {
        stage.put_frame(&Header::to(Class::Down, 0, watcher.raw(), outside().raw()), &why);
    }
    stage.run();
    assert_eq!((downs(&stage, 0), downs(&stage, 1)), (1, 1));
}

/// Asks for a spawn elsewhere, and lets the answer come with that order behind it, and perhaps the answer be skipped; gives the
/// queues that were stopped.
fn stopped_after(which: Which, order: Order, skip: Option<Skip>) -> Vec<RawQueueId> {
    let mut stage = beside(which);
    let elsewhere = Place::worker(WorkerId(9));
    stage.tell(queue(0, 1), told(0, vec![Op::SpawnOn(WorkerId(9), 1_000_000)]));
    let mut asked = stage.out.iter().flat_map(|(_, batch)| {
        batch.as_ref().frames().map(Result::unwrap).map(|frame| frame.header).collect::<Vec<_>>()
    });
    let asked = asked.rfind(|header| header.class == Class::Spawn).unwrap();
    let child = RawQueueId::new(outside().raw().node(), elsewhere, 4, 2);
    let answer = stage.worker.catalogue().type_number::<Q>().unwrap();
    let mut payload = Vec::new();
    Codec::CURRENT.encode(&child, &mut payload).unwrap();
    // The order comes first, so that the answer waits when its handler runs.
    stage.put(queue(0, 1), order);
    let reply = Header { request: asked.request, ..Header::to(Class::Spawned, answer, queue(0, 1).raw(), child) };
    stage.put_frame(&reply, &payload);
    stage.bound = 1;
    let _ = stage.round();
    let mut stage = {
        let out = std::mem::take(&mut stage.out);
        let mut restored = stage.restored();
        restored.out = out;
        restored
    };
    stage.bound = 100;
    stage.worker.take_care(skip.map(|skip| (1, skip)));
    stage.run();
    stage
        .out
        .iter()
        .filter(|(place, _)| *place == elsewhere)
        .flat_map(|(place, batch)| {
            let frames: Vec<_> = batch.as_ref().frames().map(Result::unwrap).map(|frame| frame.header).collect();
            let stops = frames.into_iter().filter(|header| header.class == Class::Stop);
            stops
                .map(|header| RawQueueId::new(child.node(), *place, header.slot, header.generation))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn an_fsm_whose_birth_its_spawner_never_hears_of_is_stopped() {
    let child = vec![RawQueueId::new(outside().raw().node(), Place::worker(WorkerId(9)), 4, 2)];
    let stopped = |which, order| stopped_after(which, order, None);
    assert_eq!(stopped(Which::Stopping, note(1)), [], "it hears of it");
    assert_eq!(stopped(Which::Stopping, told(1, vec![Op::CancelRequest])), child);
    assert_eq!(stopped(Which::Stopping, then(1, vec![], Then::Stop)), child);
    assert_eq!(stopped(Which::Stopping, told(1, vec![Op::Panic])), child);
    assert_eq!(stopped(Which::Restarting, told(1, vec![Op::Panic])), [], "its queue stays, and the answer in it");
    assert_eq!(stopped_after(Which::Plain, note(1), Some(Skip::Message)), child, "the answer was skipped");
}

//! R2: what a round is, when it ends, what leaves and when; and the numbers of what enters.

use qnfsm::{
    Admission, Codec, Down, DownReason, Epoch, FaultKind, NoReply, Place, RequestId, Time, Trust, Undelivered,
    WorkerConfig,
    frame::{Batch, Class, Header},
};

use crate::{
    puppet::{Note, Op, Plain, Puppet, Then, To, Which, note, then, told},
    stage::{EDGE, Stage, catalogue, outside, push_order, queue},
};

#[test]
fn r2_a_round_ends_when_the_bound_is_reached_and_an_empty_batch_goes_on() {
    let mut stage = Stage::with(&[Which::Plain]);
    for label in 1..=7 {
        stage.put(queue(0, 1), note(label));
    }
    stage.bound = 3;
    let ends: Vec<_> = (0..4).map(|_| stage.round()).map(|end| (end.handled, end.idle)).collect();
    assert_eq!(ends, [(3, false), (3, false), (1, true), (0, true)]);
    assert_eq!(stage.labels(0), (1..=7).collect::<Vec<_>>());
}

#[test]
fn r2_the_bound_counts_messages_of_all_fsms_and_starts() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.put(queue(0, 1), told(1, vec![Op::Spawn(Which::Plain, vec![])])).put(queue(1, 1), note(2));
    stage.bound = 2;
    let end = stage.round();
    assert_eq!((end.handled, end.idle), (2, false), "the child's start is left over");
    let end = stage.round();
    assert_eq!((end.handled, end.idle), (1, true));
    assert_eq!(stage.worker.counters().handled, 5);
}

#[test]
fn r2_rounds_are_numbered_from_one() {
    let mut stage = Stage::with(&[]);
    let _ = stage.round();
    assert_eq!(stage.ends.iter().map(|end| end.round).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn r2_what_a_round_puts_out_leaves_when_it_has_ended() {
    let mut stage = Stage::with(&[Which::Plain]);
    let mut batch = Batch::new(Place::edge(EDGE), Epoch::FIRST, 2);
    push_order(&mut batch, &catalogue(), queue(0, 1), &told(1, vec![Op::Send(To::Queue(outside()), note(5))]));
    stage.worker.feed(Time::from_nanos(5000), [batch.as_ref()]);
    stage.worker.drain_outputs(|_, _| panic!("nothing was handled yet"));
    let _ = stage.worker.round(10, &mut crate::stage::Ports::default());
    let mut count = 0;
    stage.worker.drain_outputs(|place, batch| {
        assert_eq!((place, batch.as_ref().count), (Place::edge(EDGE), 1));
        count += 1;
    });
    assert_eq!(count, 1);
}

#[test]
#[should_panic(expected = "outputs are drained")]
fn r2_a_round_can_not_begin_over_outputs_that_were_not_taken() {
    let mut stage = Stage::with(&[Which::Plain]);
    let mut batch = Batch::new(Place::edge(EDGE), Epoch::FIRST, 2);
    push_order(&mut batch, &catalogue(), queue(0, 1), &told(1, vec![Op::Send(To::Queue(outside()), note(5))]));
    stage.worker.feed(Time::from_nanos(5000), [batch.as_ref()]);
    let _ = stage.worker.round(10, &mut crate::stage::Ports::default());
    stage.worker.feed(Time::from_nanos(5000), []);
}

#[test]
fn r2_outputs_are_numbered_for_each_destination_without_gaps() {
    let mut stage = Stage::with(&[Which::Plain]);
    let other = qnfsm::QueueId::from_raw(qnfsm::RawQueueId::new(
        outside().raw().node(),
        Place::edge(qnfsm::EdgeId(9)),
        outside().raw().slot(),
        outside().raw().generation(),
    ));
    let out = |to, label| Op::Send(To::Queue(to), note(label));
    for label in 0..3 {
        stage.tell(queue(0, 1), told(0, vec![out(outside(), label), out(other, label), out(outside(), label)]));
        if label == 1 {
            let restored = stage.restored();
            stage.worker = restored.worker;
        }
    }
    let mut next = std::collections::BTreeMap::from([(Place::edge(EDGE), 1), (Place::edge(qnfsm::EdgeId(9)), 1)]);
    for (place, batch) in &stage.out {
        let next = next.get_mut(place).unwrap();
        assert_eq!(batch.as_ref().first, *next);
        *next = batch.as_ref().next_number();
    }
    assert_eq!(next.into_values().collect::<Vec<_>>(), [7, 4]);
}

#[test]
fn inputs_are_taken_once_and_without_gaps() {
    let mut stage = Stage::with(&[Which::Plain]);
    let batch = |epoch, first, count| {
        let mut batch = Batch::new(Place::edge(EDGE), epoch, first);
        for _ in 0..count {
            push_order(&mut batch, &catalogue(), queue(0, 1), &note(1));
        }
        batch
    };
    let first = Epoch::FIRST;
    let next = Epoch(2);
    let expected = stage.worker.expected(Place::edge(EDGE), first);
    assert_eq!(expected, 2, "the spawn was the first");
    let admission = |stage: &Stage, batch: Batch| stage.worker.admission(&[], &batch.as_ref());
    assert_eq!(admission(&stage, batch(first, 2, 3)), Admission::Take { skip: 0 });
    assert_eq!(admission(&stage, batch(first, 1, 3)), Admission::Take { skip: 1 });
    assert_eq!(admission(&stage, batch(first, 1, 1)), Admission::Seen);
    assert_eq!(admission(&stage, batch(first, 3, 1)), Admission::Gap { expected: 2 });
    assert_eq!(admission(&stage, batch(next, 1, 1)), Admission::Take { skip: 0 });
    assert_eq!(admission(&stage, batch(next, 2, 1)), Admission::Gap { expected: 1 });
    stage.worker.feed(Time::ZERO, [batch(next, 1, 1).as_ref()]);
    assert_eq!(admission(&stage, batch(first, 2, 1)), Admission::Stale);
    assert_eq!(admission(&stage, batch(next, 2, 1)), Admission::Take { skip: 0 });

    let ahead = [batch(next, 2, 3), batch(Epoch(3), 1, 2)];
    let behind = |count: usize, batch: Batch| {
        let ahead: Vec<_> = ahead[..count].iter().map(Batch::as_ref).collect();
        stage.worker.admission(&ahead, &batch.as_ref())
    };
    assert_eq!(behind(1, batch(next, 5, 1)), Admission::Take { skip: 0 }, "it follows the one ahead");
    assert_eq!(behind(1, batch(next, 4, 2)), Admission::Take { skip: 1 });
    assert_eq!(behind(1, batch(next, 2, 3)), Admission::Seen);
    assert_eq!(behind(1, batch(next, 6, 1)), Admission::Gap { expected: 5 });
    assert_eq!(behind(2, batch(next, 5, 1)), Admission::Stale);
    assert_eq!(behind(2, batch(Epoch(3), 3, 1)), Admission::Take { skip: 0 });
    assert_eq!(behind(2, batch(Epoch(4), 1, 1)), Admission::Take { skip: 0 });
}

#[test]
fn of_a_batch_that_begins_with_what_was_seen_only_the_rest_is_done() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    let first = stage.worker.expected(Place::edge(EDGE), Epoch::FIRST);
    let mut batch = Batch::new(Place::edge(EDGE), Epoch::FIRST, first);
    // The batch grows, and comes again each time. Some of its frames repeat the header of the one before.
    for labels in [0..2, 2..5, 5..6, 6..9] {
        for label in labels {
            push_order(&mut batch, &catalogue(), queue(u32::from(label == 3), 1), &note(label));
        }
        stage.worker.feed(Time::ZERO, [batch.as_ref()]);
        let end = stage.worker.round(10, &mut crate::stage::Ports::default());
        assert_eq!(end.fault, None);
    }
    assert_eq!(stage.worker.expected(Place::edge(EDGE), Epoch::FIRST), first + 9);
    let labels = |slot| {
        let told = stage.notes(slot).into_iter();
        told.filter_map(|note| if let Note::Did { label, .. } = note { Some(label) } else { None }).collect::<Vec<_>>()
    };
    assert_eq!((labels(0), labels(1)), (vec![0, 1, 2, 4, 5, 6, 7, 8], vec![3]));
}

#[test]
fn frames_that_are_none_end_the_worker_and_not_the_process() {
    let mut stage = Stage::with(&[Which::Plain]);
    let mut batch = Batch::new(Place::edge(EDGE), Epoch::FIRST, 2);
    push_order(&mut batch, &catalogue(), queue(0, 1), &note(1));
    let bytes = batch.as_ref().bytes;
    let cut = qnfsm::frame::BatchRef { bytes: &bytes[..bytes.len() - 1], ..batch.as_ref() };
    stage.worker.feed(Time::ZERO, [cut]);
    let end = stage.worker.round(10, &mut crate::stage::Ports::default());
    assert!(matches!(end.fault.unwrap().what, FaultKind::BadBatch { .. }));
}

#[test]
fn the_digest_tells_rounds_apart_that_differ() {
    let digest = |change: &dyn Fn(&mut Stage)| {
        let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
        change(&mut stage);
        stage.round().digest
    };
    let out = |label| Op::Send(To::Queue(outside()), note(label));
    let put = |slot, ops: Vec<Op>| {
        move |stage: &mut Stage| {
            stage.put(queue(slot, 1), told(1, ops.clone()));
        }
    };
    let base = put(0, vec![Op::Draw, Op::After(5, note(2)), out(1)]);
    let plain = digest(&base);
    assert_eq!(plain, digest(&base));
    let others: [&dyn Fn(&mut Stage); 6] = [
        &put(0, vec![Op::After(5, note(2)), out(1)]),
        &put(0, vec![Op::Draw, Op::After(6, note(2)), out(1)]),
        &put(0, vec![Op::Draw, Op::After(5, note(2)), out(2)]),
        &put(0, vec![Op::Draw, Op::After(5, note(2))]),
        &put(1, vec![Op::Draw, Op::After(5, note(2)), out(1)]),
        &|stage| {
            stage.now += 1;
            base(stage);
        },
    ];
    for other in others {
        assert_ne!(plain, digest(other));
    }
}

#[test]
fn a_watchdog_sees_whose_turn_it_is() {
    let mut stage = Stage::with(&[Which::Plain; 3]);
    let turn = qnfsm::Turn::default();
    stage.worker.show_turns(turn.clone());
    stage.tell(queue(2, 1), note(1));
    assert_eq!(turn.queue(), (2, 1), "slot and generation");
}

#[test]
fn the_digest_tells_whose_handler_panicked() {
    let digest = |slot| {
        let mut stage = Stage::with(&[Which::Stopping, Which::Stopping]);
        stage.put(queue(slot, 1), told(1, vec![Op::Panic])).round().digest
    };
    assert_ne!(digest(0), digest(1));
}

#[test]
fn r5_a_spawn_past_the_limit_is_a_dead_letter_and_makes_room_for_nobody() {
    let config = WorkerConfig { fsms_max: 3, ..WorkerConfig::default() };
    let mut stage = Stage::configured(config, &[Which::Plain, Which::Plain]);
    let spawn =
        |label| told(label, vec![Op::DeadLetters(true), Op::Spawn(Which::Plain, vec![]), Op::Monitor(To::Child(0))]);
    stage.tell(queue(0, 1), spawn(1));
    assert_eq!((stage.worker.fsms(), stage.dead(Undelivered::TooManyFsms)), (3, 0));
    stage.tell(queue(1, 1), spawn(2));
    assert_eq!((stage.worker.fsms(), stage.dead(Undelivered::TooManyFsms)), (3, 1));
    let child = stage.puppet::<Plain>(queue(1, 1)).children[0].raw();
    let heard = stage.notes(1);
    assert!(heard.contains(&Note::Down(Down { queue: child, reason: DownReason::Unknown })), "{heard:?}");
    let is_told = |note: &Note| matches!(note, Note::Dead(letter) if (letter.to, letter.why) == (child, Undelivered::TooManyFsms));
    assert!(heard.iter().any(is_told), "{heard:?}");
    // Where one stops there is room for another, and nobody gets an ID that was given out before.
    stage.tell(queue(2, 1), then(3, vec![], Then::Stop));
    stage.tell(queue(0, 1), told(4, vec![Op::Spawn(Which::Plain, vec![])]));
    assert_eq!(stage.worker.fsms(), 3);
    let children = &stage.puppet::<Plain>(queue(0, 1)).children;
    assert!(children[1] != children[0] && children[1].raw() != child, "{children:?}");
}

#[test]
fn a_spawn_from_elsewhere_past_the_limit_is_answered_full() {
    let config = WorkerConfig { fsms_max: 1, ..WorkerConfig::default() };
    let mut stage = Stage::configured(config, &[Which::Plain]);
    let header =
        Header { request: Some(RequestId(5)), ..Header::to(Class::Spawn, 0, queue(0, 0).raw(), outside().raw()) };
    let mut payload = vec![0];
    Codec::CURRENT.encode(&Puppet::<()>::new(vec![]), &mut payload).unwrap();
    stage.put_frame(&header, &payload).run();
    let (_, batch) = stage.out.last().unwrap();
    let frame = batch.as_ref().frames().next().unwrap().unwrap();
    assert_eq!((frame.header.class, frame.header.request), (Class::Failed, Some(RequestId(5))));
    assert_eq!(Codec::CURRENT.decode::<NoReply>(frame.payload, Trust::Node), Ok(NoReply::Full));
    assert_eq!(stage.worker.fsms(), 1);
}

#[test]
fn a_frame_to_stop_stops_and_one_to_nobody_does_nothing() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    for target in [queue(0, 1), queue(9, 1), queue(1, 2)] {
        stage.put_frame(&Header::to(Class::Stop, 0, target.raw(), outside().raw()), &[]);
    }
    stage.run();
    assert_eq!(stage.worker.fsms(), 1);
}

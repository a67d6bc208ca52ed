//! R4, R6 and R9: random numbers, the generations of IDs, and what shapes a worker.

use qnfsm::{Recording, Time, Undelivered, Worker, WorkerConfig};

use crate::{
    puppet::{Note, Op, Plain, Then, To, Which, note, then, told},
    stage::{Stage, catalogue, outside, queue},
};

fn drawn(stage: &Stage, slot: u32) -> Vec<u64> {
    let drew = |note| match note {
        Note::Drew(drawn) => Some(drawn),
        _ => None,
    };
    stage.notes(slot).into_iter().filter_map(drew).collect()
}

fn draw(seed: u64) -> Stage {
    let mut stage = Stage::configured(WorkerConfig { seed, ..WorkerConfig::default() }, &[Which::Plain, Which::Plain]);
    for slot in [0, 1] {
        stage.tell(queue(slot, 1), told(0, vec![Op::Draw, Op::Draw]));
    }
    stage
}

#[test]
fn r4_random_numbers_come_from_the_nodes_seed_and_the_queues_id() {
    let stage = draw(7);
    assert_eq!(drawn(&stage, 0), drawn(&draw(7), 0), "the same again");
    assert_ne!(drawn(&stage, 0), drawn(&stage, 1), "others for another queue");
    assert_ne!(drawn(&stage, 0), drawn(&draw(8), 0), "others for another seed");
}

#[test]
fn r4_an_fsms_draws_do_not_change_anothers() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.tell(queue(1, 1), told(0, vec![Op::Draw, Op::Draw]));
    assert_eq!(drawn(&stage, 1), drawn(&draw(7), 1), "though slot 0 drew none here");
}

#[test]
fn r4_a_successor_in_the_same_slot_has_numbers_of_its_own() {
    let mut stage = draw(7);
    stage.tell(queue(1, 1), then(0, vec![], Then::Stop));
    stage.tell(queue(0, 1), told(0, vec![Op::Spawn(Which::Plain, vec![Op::Draw, Op::Draw])]));
    let successor = &stage.puppet::<Plain>(queue(1, 2)).notes[..2];
    assert_ne!(successor, drawn(&draw(7), 1).into_iter().map(Note::Drew).collect::<Vec<_>>());
}

#[test]
fn r4_a_restored_fsm_draws_on() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.tell(queue(0, 1), told(0, vec![Op::Draw]));
    let mut restored = stage.restored();
    restored.tell(queue(0, 1), told(0, vec![Op::Draw]));
    assert_eq!(drawn(&restored, 0), drawn(&draw(7), 0));
}

#[test]
fn r6_a_message_to_a_queue_that_is_gone_never_reaches_its_successor() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.tell(queue(1, 1), then(0, vec![], Then::Stop));
    stage.tell(queue(0, 1), told(0, vec![Op::Spawn(Which::Plain, vec![])]));
    assert_eq!(stage.puppet::<Plain>(queue(0, 1)).children, [queue(1, 2)]);
    stage.tell(queue(0, 1), told(0, vec![Op::Send(To::Queue(queue(1, 1)), note(1)), Op::Stop(To::Queue(queue(1, 1)))]));
    stage.tell(queue(1, 1), note(2));
    assert!(stage.puppet::<Plain>(queue(1, 2)).labels().is_empty());
    assert_eq!(stage.dead(Undelivered::NoSuchQueue), 2);
    assert!(stage.worker.fsm::<crate::puppet::Puppet<Plain>>(queue(1, 1)).is_none());
}

#[test]
fn r6_an_answer_to_a_predecessor_never_reaches_its_successor() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    let request = Op::Request(To::Queue(queue(0, 1)), 1_000_000, crate::puppet::Act::Keep);
    stage.tell(queue(1, 1), then(0, vec![request.clone()], Then::Stop));
    stage.tell(queue(0, 1), told(0, vec![Op::Spawn(Which::Plain, vec![request])]));
    let keepers = stage.puppet::<Plain>(queue(0, 1)).kept.clone();
    assert_eq!(keepers.len(), 2);
    assert_eq!(keepers[0].request(), keepers[1].request(), "only the generation tells them apart");
    stage.tell(queue(0, 1), told(0, vec![Op::AnswerKept(5)]));
    let answers =
        stage.puppet::<Plain>(queue(1, 2)).notes.iter().filter(|note| matches!(note, Note::Answer(_))).count();
    assert_eq!(answers, 1);
}

#[test]
fn r6_the_slot_freed_last_is_given_out_first_also_after_a_restore() {
    let mut stage = Stage::with(&[Which::Plain; 5]);
    for slot in [2, 4, 1] {
        stage.tell(queue(slot, 1), then(0, vec![], Then::Stop));
    }
    let spawn = || {
        told(
            0,
            vec![
                Op::Spawn(Which::Plain, vec![]),
                Op::Spawn(Which::Plain, vec![]),
                Op::Spawn(Which::Plain, vec![]),
                Op::Spawn(Which::Plain, vec![]),
            ],
        )
    };
    let mut restored = stage.restored();
    for stage in [&mut stage, &mut restored] {
        stage.tell(queue(0, 1), spawn());
        let children = &stage.puppet::<Plain>(queue(0, 1)).children;
        assert_eq!(*children, [queue(1, 2), queue(4, 2), queue(2, 2), queue(5, 1)]);
    }
}

#[test]
fn r9_what_shapes_a_worker_stands_in_its_snapshot() {
    let config = WorkerConfig { seed: 99, recording: Recording::Everything, turn_messages: 5, fsms_max: 77 };
    let stage = Stage::configured(config, &[Which::Plain]);
    let restored = Worker::restore(catalogue(), &stage.image()).unwrap();
    assert_eq!(*restored.config(), config);
    assert_eq!(restored.id(), stage.worker.id());
    assert_eq!(restored.epoch(), stage.worker.epoch());
    assert_eq!(restored.now(), stage.worker.now());
    assert_eq!(restored.rounds(), stage.worker.rounds());
    assert_eq!(restored.counters(), stage.worker.counters());
}

#[test]
fn r9_a_change_of_what_shapes_a_worker_counts_from_the_next_round() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.worker.configure(WorkerConfig { turn_messages: 1, ..*stage.worker.config() });
    let out = |label| told(label, vec![Op::Send(To::Queue(outside()), note(label))]);
    for label in [1, 2] {
        stage.put(queue(0, 1), out(label)).put(queue(1, 1), out(label + 10));
    }
    stage.run();
    assert_eq!(stage.sent_out(), [1, 11, 2, 12]);
    let restored = Worker::restore(catalogue(), &stage.image()).unwrap();
    assert_eq!(restored.config().turn_messages, 1);
    assert_eq!(restored.now(), Time::from_nanos(stage.now));
}

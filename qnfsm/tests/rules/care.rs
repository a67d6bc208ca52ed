//! Rounds that are run with care: each delivery is announced, and those that don't end are passed over as if their message had
//! never come, and nobody waits for it in vain.

use qnfsm::{DownReason, NoReply, Skip, Undelivered};

use crate::{
    effects::{last_down, outcomes},
    puppet::{Act, Note, Op, To, Which, note, told},
    stage::{Stage, queue},
};

fn to(slot: u32) -> To {
    To::Queue(queue(slot, 1))
}

#[test]
fn each_delivery_is_announced_with_its_number_and_its_fsm() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.worker.take_care([]);
    stage.tell(queue(0, 1), told(0, vec![Op::Send(to(1), note(1)), Op::Send(to(1), note(2))]));
    let expected = [(1, 0), (2, 1), (3, 1)].map(|(number, slot)| (number, queue(slot, 1).raw(), "plain".to_owned()));
    assert_eq!(stage.ports.announced, expected);
    stage.tell(queue(0, 1), note(3));
    assert_eq!(stage.ports.announced, expected, "care is for one round");
}

#[test]
fn a_message_that_is_skipped_is_a_dead_letter_and_its_fsm_goes_on_as_if_it_had_not_come() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain, Which::Plain]);
    stage.tell(queue(2, 1), told(0, vec![Op::DeadLetters(true)]));
    stage.tell(queue(1, 1), told(0, vec![Op::Monitor(to(0))]));
    let before = stage.notes(2).len();
    stage.worker.take_care([(2, Skip::Message)]);
    stage.put(queue(0, 1), note(1)).put(queue(0, 1), told(2, vec![Op::Panic])).put(queue(0, 1), note(3)).run();
    assert_eq!(stage.labels(0), [1, 3]);
    assert_eq!(stage.dead(Undelivered::Skipped), 1);
    assert!(matches!(&stage.notes(2)[before..], [Note::Dead(letter)] if letter.why == Undelivered::Skipped));
    assert_eq!((last_down(&stage, 1), stage.worker.counters().panics), (None, 0));
    assert_eq!(stage.ports.announced.iter().map(|(number, ..)| *number).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn who_waits_for_the_answer_of_a_message_that_is_skipped_hears_that_there_is_none() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.worker.take_care([(2, Skip::Message)]);
    stage.tell(queue(0, 1), told(0, vec![Op::Request(to(1), 1_000_000, Act::Answer(7))]));
    assert_eq!(outcomes(&stage, 0), [Err(NoReply::Failed)]);
    assert_eq!(stage.worker.next_timer(), None, "its deadline went with it");
}

#[test]
fn an_fsm_that_is_stopped_so_is_gone_for_all_and_who_watches_it_hears_why() {
    let mut stage = Stage::with(&[Which::Plain, Which::Plain]);
    stage.tell(queue(1, 1), told(0, vec![Op::Monitor(to(0))]));
    stage.worker.take_care([(1, Skip::StopFsm)]);
    stage.put(queue(0, 1), told(1, vec![Op::Panic])).put(queue(0, 1), note(2)).run();
    assert_eq!(last_down(&stage, 1).map(|down| down.reason), Some(DownReason::Poisoned));
    assert_eq!((stage.dead(Undelivered::Skipped), stage.dead(Undelivered::ReceiverStopped)), (1, 1));
    assert!(stage.worker.fsm::<crate::puppet::Puppet<crate::puppet::Plain>>(queue(0, 1)).is_none());
}

#[test]
fn an_fsm_whose_start_is_skipped_is_stopped() {
    let mut stage = Stage::with(&[Which::Plain]);
    let fsms = stage.worker.fsms();
    stage.worker.take_care([(2, Skip::Message)]);
    stage.tell(queue(0, 1), told(0, vec![Op::Spawn(Which::Plain, vec![Op::Panic]), Op::Monitor(To::Child(0))]));
    assert_eq!(last_down(&stage, 0).map(|down| down.reason), Some(DownReason::Poisoned));
    assert_eq!(stage.worker.fsms(), fsms);
}

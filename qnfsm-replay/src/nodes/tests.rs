//! What is found among the outputs of nodes, and how much of them is remembered: with senders, targets and bytes made up.

use qnfsm::{EdgeId, NodeId, Place, RawQueueId, WorkerId, frame::Class};

use super::{
    Sending, Whence,
    outgoing::{Content, Incoming, Outgoing},
};

const EAST: NodeId = NodeId(1);
const EDGE: Place = Place::edge(EdgeId::FIRST_OF_USER);
const WORKER: WorkerId = WorkerId(0);
/// No output is waited for in these: all that is ever put out was.
const WAITS: bool = false;

/// An FSM of the east, by its slot.
fn sender(slot: u32) -> RawQueueId {
    RawQueueId::new(EAST, Place::worker(WORKER), slot, 1)
}

/// The queue of the east's edge with that slot.
fn by(slot: u32) -> RawQueueId {
    RawQueueId::new(EAST, EDGE, slot, 1)
}

/// An FSM of another node: of generation 2, so that no queue of the edge has its seat.
fn target(node: u32, slot: u32) -> RawQueueId {
    RawQueueId::new(NodeId(node), Place::worker(WORKER), slot, 2)
}

fn content(bytes: &[u8]) -> Content {
    Content::new(Class::Message, 0, bytes)
}

fn put(outgoing: &mut Outgoing, sender: RawQueueId, by: RawQueueId, bytes: &[u8], ordinal: u64) {
    let sending = Sending { node: EAST, ordinal, worker: WORKER, round: ordinal + 1, to: EDGE, number: ordinal + 1 };
    outgoing.put(sender, by, content(bytes), sending);
}

fn whence(outgoing: &mut Outgoing, sender: RawQueueId, target: RawQueueId, bytes: &[u8]) -> Whence {
    let frame = Incoming { source: EDGE, number: 1, sender, target, content: content(bytes) };
    outgoing.whence(&frame, WAITS).expect("nothing is waited for")
}

#[track_caller]
fn assert_sent(whence: Whence, ordinal: u64) {
    assert!(matches!(whence, Whence::Sent(sending) if sending.ordinal == ordinal), "{whence:?} and not {ordinal}");
}

#[test]
fn however_many_pairs_talk_what_is_known_of_them_stays_within_the_window() {
    let bytes_max = 1 << 16;
    let mut outgoing = Outgoing::new(bytes_max);
    let mut most = (0, 0);
    for slot in 0..10_000 {
        put(&mut outgoing, sender(slot), by(slot), b"hello", u64::from(slot));
        assert_sent(whence(&mut outgoing, sender(slot), target(2, slot), b"hello"), u64::from(slot));
        let (streams, pairs) = outgoing.known();
        most = (most.0.max(streams), most.1.max(pairs));
    }
    // Those with an output in the window, which takes a hundred bytes and more each, and a quarter as much of others.
    let bound = bytes_max / 100 + bytes_max / 4 / 256;
    assert!(most.0 <= bound && most.1 <= bound, "{most:?} of at most {bound}");
    assert!(most.1 > bound / 2, "and what there is room for is kept: {most:?}");
}

#[test]
fn a_pair_that_was_silent_for_too_long_is_told_anew_and_its_frames_are_none_that_came_twice() {
    let mut outgoing = Outgoing::new(4096);
    for ordinal in 0..40 {
        put(&mut outgoing, sender(0), by(0), b"again", ordinal);
        assert_sent(whence(&mut outgoing, sender(0), target(2, 0), b"again"), ordinal);
    }
    for slot in 1..1000 {
        put(&mut outgoing, sender(slot), by(slot), b"hello", 100);
        assert_sent(whence(&mut outgoing, sender(slot), target(2, slot), b"hello"), 100);
    }
    for ordinal in 200..203 {
        put(&mut outgoing, sender(0), by(0), b"again", ordinal);
    }
    assert_sent(whence(&mut outgoing, sender(0), target(2, 0), b"again"), 200);
    assert_sent(whence(&mut outgoing, sender(0), target(2, 0), b"again"), 201);
    // What was put out before the window is shown no more.
    assert_eq!(whence(&mut outgoing, sender(1), target(2, 1), b"hello"), Whence::NotShown);
}

#[test]
fn streams_that_were_long_once_give_their_room_back() {
    let mut outgoing = Outgoing::new(1 << 16);
    // One stream after another is half of what the window holds, and has one output in it from then on.
    for slot in 0..60 {
        (0..200).for_each(|ordinal| put(&mut outgoing, sender(slot), by(slot), b"", ordinal));
        (0..slot).for_each(|before| put(&mut outgoing, sender(before), by(before), b"", 1000));
    }
    let room = outgoing.outputs_room();
    assert!(
        room <= 8 * (1 << 16) / 100,
        "there is room for {room} outputs, of which the window holds {}",
        (1 << 16) / 100
    );
}

#[test]
fn the_same_bytes_to_several_targets_by_one_handler_are_of_that_handler_and_are_told_apart_by_what_differs() {
    let mut outgoing = Outgoing::new(1 << 20);
    let targets = [target(2, 4), target(3, 4), target(3, 9)];
    // One round tells all three the same; then each something of its own, in rounds of their own, in another order.
    (0..3).for_each(|slot| put(&mut outgoing, sender(0), by(slot), b"all", 5));
    for frame in targets {
        assert_sent(whence(&mut outgoing, sender(0), frame, b"all"), 5);
    }
    for (ordinal, slot) in [(6, 2), (7, 0), (8, 1)] {
        put(&mut outgoing, sender(0), by(slot), &[b'0' + u8::try_from(slot).expect("there are three")], ordinal);
    }
    for (frame, bytes, ordinal) in [(targets[0], b"0", 7), (targets[1], b"1", 8), (targets[2], b"2", 6)] {
        assert_sent(whence(&mut outgoing, sender(0), frame, bytes), ordinal);
    }
    assert_eq!(outgoing.lost, 0);
}

#[test]
fn the_same_bytes_to_several_targets_in_rounds_of_their_own_are_not_guessed() {
    let mut outgoing = Outgoing::new(1 << 20);
    (0..2).for_each(|slot| put(&mut outgoing, sender(0), by(slot), b"all", 5 + u64::from(slot)));
    assert_eq!(whence(&mut outgoing, sender(0), target(2, 4), b"all"), Whence::Alike);
    // An edge's queue with the seat of its target is it.
    put(&mut outgoing, sender(1), by(4), b"all", 8);
    put(&mut outgoing, sender(1), by(7), b"all", 9);
    let of_seat = RawQueueId::new(NodeId(2), Place::worker(WORKER), 7, 1);
    assert_sent(whence(&mut outgoing, sender(1), of_seat, b"all"), 9);
}

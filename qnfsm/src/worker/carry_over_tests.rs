//! What a worker left comes over with other numbers and in another form, and so does what it had put out.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CarryOver, CarryOverError, Catalogue, Worker, WorkerConfig, catalogue::NO_TYPE};
use crate::{
    Codec, Context, ExternalFault, Externals, Fsm, Kinds, Next, OldFsm, OldMessage, OnPanic, UpgradeError,
    frame::{Batch, Class, Header, edge_queue, put_varint},
    id::{EdgeId, Epoch, NodeId, Place, QueueId, RawQueueId, RequestId, WorkerId},
    time::Time,
};

mod before {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Counter(pub(super) u8);

    #[derive(Serialize, Deserialize)]
    pub(super) struct Add(pub(super) u8);

    impl Fsm for Counter {
        const NAME: &'static str = "counter";
        const ON_PANIC: OnPanic = OnPanic::Restart { budget: 5 };
        type State = ();
        type Message = Add;
        fn start(&mut self, _: &mut Context<'_, Self>) {}
        fn handle(&mut self, (): (), Add(by): Add, _: &mut Context<'_, Self>) -> Next<Self> {
            self.0 += by;
            Next::Stay
        }
    }

    pub(super) fn kinds() -> Kinds {
        Kinds::new().with::<Counter>().message_named::<Add>("add").message::<u8>().message::<u16>()
    }
}

/// In thousandths, and behind another kind and another message type.
mod now {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Idler;

    impl Fsm for Idler {
        const NAME: &'static str = "idler";
        type State = ();
        type Message = u8;
        fn start(&mut self, _: &mut Context<'_, Self>) {}
        fn handle(&mut self, (): (), _: u8, _: &mut Context<'_, Self>) -> Next<Self> {
            Next::Stay
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Counter(pub(super) u64);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Add(pub(super) u64);

    impl Fsm for Counter {
        const NAME: &'static str = "counter";
        const VERSION: u32 = 2;
        const ON_PANIC: OnPanic = OnPanic::Restart { budget: 5 };
        type State = ();
        type Message = Add;
        fn upgrade(old: OldFsm<'_>) -> Result<(Counter, Option<()>), UpgradeError> {
            let (before::Counter(count), state) = old.read()?;
            Ok((Counter(u64::from(count) * 1000), state))
        }
        fn start(&mut self, _: &mut Context<'_, Self>) {}
        fn handle(&mut self, (): (), Add(by): Add, _: &mut Context<'_, Self>) -> Next<Self> {
            assert!(by > 0, "nothing to add");
            self.0 += by;
            Next::Stay
        }
    }

    pub(super) fn add(old: OldMessage<'_>) -> Result<Add, UpgradeError> {
        old.read().map(|before::Add(by)| Add(u64::from(by) * 1000))
    }

    pub(super) fn kinds() -> Kinds {
        let kinds = Kinds::new().with::<Idler>().message_named::<Add>("add").with::<Counter>();
        kinds.message_version::<Add>(2, add)
    }
}

struct NoPorts;

impl Externals for NoPorts {
    fn read(&mut self, _: WorkerId, _: &str, _: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        Err(ExternalFault("there are no ports".to_owned()))
    }
}

fn queue() -> RawQueueId {
    RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), 0, 1)
}

fn edge() -> RawQueueId {
    edge_queue(NodeId(0), EdgeId::HOST)
}

fn bytes_of(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    Codec::CURRENT.encode(value, &mut bytes).expect("it is plain");
    bytes
}

/// The bytes of a spawn's frame.
fn spawn(answer: u32, value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_varint(&mut bytes, u64::from(answer));
    bytes.extend(bytes_of(value));
    bytes
}

fn number<M: crate::Message>(catalogue: &Catalogue) -> u32 {
    catalogue.type_number::<M>().expect("it is registered")
}

/// Lets a worker take a frame, and handle so many messages.
fn feed(worker: &mut Worker, number: u64, header: &Header, payload: &[u8], bound: u32) {
    let mut batch = Batch::new(edge().place(), Epoch::FIRST, number);
    batch.push(header, payload);
    worker.feed(Time::ZERO, [batch.as_ref()]);
    let _ = worker.round(bound, &mut NoPorts);
}

fn old_and_new() -> (Arc<Catalogue>, Arc<Catalogue>) {
    let sealed = |kinds: Kinds| kinds.seal().expect("the kinds are plain");
    (sealed(before::kinds()), sealed(now::kinds()))
}

#[test]
fn an_fsm_comes_over_with_what_waits_for_it_and_what_it_starts_over_from() {
    let (old, new) = old_and_new();
    let mut worker = Worker::new(old.clone(), NodeId(0), WorkerId(0), Epoch::FIRST, WorkerConfig::default());
    let add = Header::message(number::<before::Add>(&old), queue(), edge());
    feed(&mut worker, 1, &Header::to(Class::Spawn, 0, queue(), edge()), &spawn(0, &before::Counter(7)), 1);
    feed(&mut worker, 2, &add, &bytes_of(&before::Add(33)), 1);
    feed(&mut worker, 3, &add, &bytes_of(&before::Add(3)), 0);
    let mut image = Vec::new();
    worker.snapshot(&mut image).expect("it can be encoded");

    let mut worker = CarryOver::new(old.table(), &new).worker(&image).expect("all of it can come");
    let counter = |worker: &Worker| {
        let counter = worker.fsm::<now::Counter>(QueueId::from_raw(queue())).expect("it is there");
        counter.0.0
    };
    assert_eq!(counter(&worker), 40_000);
    worker.feed(Time::ZERO, None);
    assert!(worker.round(10, &mut NoPorts).idle);
    assert_eq!(counter(&worker), 43_000, "a message waited");
    let add = Header::message(number::<now::Add>(&new), queue(), edge());
    feed(&mut worker, 4, &add, &bytes_of(&now::Add(0)), 10);
    assert_eq!((counter(&worker), worker.counters().panics), (7_000, 1), "it starts over");
    // It is an image of this program now.
    let mut again = Vec::new();
    worker.snapshot(&mut again).expect("it can be encoded");
    assert!(Worker::restore(new, &again).is_ok());
}

#[test]
fn frames_under_way_come_over_with_their_numbers() {
    let (old, new) = old_and_new();
    let over = CarryOver::new(old.table(), &new);
    let [add, answer] = [number::<before::Add>(&old), number::<u8>(&old)];
    let request = Some(RequestId(5));
    let frames = [
        (Header::message(add, queue(), edge()), bytes_of(&before::Add(3))),
        (Header { request, ..Header::to(Class::Reply, answer, queue(), edge()) }, bytes_of(&200_u8)),
        (Header::to(Class::Spawn, 0, queue(), edge()), spawn(0, &before::Counter(7))),
        (Header { request, ..Header::to(Class::Spawn, 0, queue(), edge()) }, spawn(answer, &before::Counter(8))),
        (Header::to(Class::Stop, 0, queue(), edge()), Vec::new()),
    ];
    let mut batch = Batch::new(Place::worker(WorkerId(3)), Epoch(4), 17);
    frames.iter().for_each(|(header, payload)| batch.push(header, payload));

    let carried = over.outputs(&batch.as_ref(), None).expect("all of it can come").expect("nobody has taken it");
    let carried = carried.as_ref();
    assert_eq!((carried.source, carried.epoch, carried.first, carried.count), (batch.as_ref().source, Epoch(4), 17, 5));
    let [add, answer] = [number::<now::Add>(&new), number::<u8>(&new)];
    let counter = new.numbers().kind::<now::Counter>().expect("it is registered");
    assert!(counter > 0 && answer != number::<u8>(&old), "the numbers are other ones");
    let expected = [
        (add, bytes_of(&now::Add(3000))),
        (answer, bytes_of(&200_u8)),
        (counter, spawn(0, &now::Counter(7000))),
        (counter, spawn(answer, &now::Counter(8000))),
        (0, Vec::new()),
    ];
    for ((frame, (type_number, payload)), (header, _)) in carried.frames().zip(expected).zip(frames) {
        let frame = frame.expect("it was just written");
        assert_eq!((frame.header, frame.payload), (Header { type_number, ..header }, &payload[..]));
    }
}

/// A worker of the new program with a counter, which has taken so many frames of worker 3.
fn receiver(new: &Arc<Catalogue>, kinds: u32, taken: u64) -> Worker {
    let mut worker = Worker::new(new.clone(), NodeId(0), WorkerId(0), Epoch::FIRST, WorkerConfig::default());
    feed(&mut worker, 1, &Header::to(Class::Spawn, kinds, queue(), edge()), &spawn(0, &now::Counter(7)), 1);
    let mut batch = Batch::new(Place::worker(WorkerId(3)), Epoch(4), 1);
    (0..taken).for_each(|_| batch.push(&Header::to(Class::Unwatch, 0, queue(), edge()), &[]));
    if taken > 0 {
        worker.feed(Time::ZERO, [batch.as_ref()]);
        let _ = worker.round(10, &mut NoPorts);
    }
    worker
}

#[test]
fn what_a_receiver_has_taken_is_not_carried_over_any_more() {
    let (old, new) = old_and_new();
    let over = CarryOver::new(old.table(), &new);
    let counter = new.numbers().kind::<now::Counter>().expect("it is registered");
    let mut batch = Batch::new(Place::worker(WorkerId(3)), Epoch(4), 5);
    // Nobody knows this type any more.
    batch.push(&Header::message(number::<u16>(&old), queue(), edge()), &bytes_of(&1000_u16));
    batch.push(&Header::message(number::<before::Add>(&old), queue(), edge()), &bytes_of(&before::Add(3)));
    let carried = |taken| over.outputs(&batch.as_ref(), Some(&receiver(&new, counter, taken)));
    let left = carried(5).expect("what can't come was taken").expect("something is left");
    assert_eq!((left.as_ref().first, left.as_ref().count), (6, 1));
    assert!(carried(6).expect("it was taken").is_none());
    assert!(carried(4).is_err());
    let older = Batch::new(Place::worker(WorkerId(3)), Epoch(3), 5);
    assert!(over.outputs(&older.as_ref(), Some(&receiver(&new, counter, 1))).expect("it is stale").is_none());
}

#[test]
fn a_message_that_its_receiver_does_not_take_any_more_is_named_with_it() {
    let (old, new) = old_and_new();
    let over = CarryOver::new(old.table(), &new);
    let counter = new.numbers().kind::<now::Counter>().expect("it is registered");
    for type_number in [number::<u8>(&old), number::<u16>(&old)] {
        let mut batch = Batch::new(Place::worker(WorkerId(3)), Epoch(4), 1);
        batch.push(&Header::message(type_number, queue(), edge()), &[7]);
        let message = old.message_name(type_number).to_owned();
        let refused = over.outputs(&batch.as_ref(), Some(&receiver(&new, counter, 0)));
        let error = refused.map(|_| ()).expect_err("counters take nothing but their own");
        let of = "w0/0.1 of kind counter".to_owned();
        assert_eq!(error, CarryOverError { of, why: UpgradeError::NotAccepted { message } });
    }
    // What goes to nobody is a dead letter in any program.
    let mut batch = Batch::new(Place::worker(WorkerId(3)), Epoch(4), 1);
    let nobody = RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), 0, 2);
    batch.push(&Header::message(number::<u8>(&old), nobody, edge()), &[7]);
    assert!(over.outputs(&batch.as_ref(), Some(&receiver(&new, counter, 0))).is_ok());
}

#[test]
fn a_request_that_no_edge_gets_again_keeps_only_what_it_is_known_by() {
    let (old, new) = old_and_new();
    let over = CarryOver::new(old.table(), &new);
    let request = Some(RequestId(5));
    let held = |type_number| {
        let mut held = Batch::new(Place::worker(WorkerId(0)), Epoch(4), 1);
        held.push(&Header { request, ..Header::message(type_number, edge(), queue()) }, &bytes_of(&1000_u16));
        held
    };
    for (theirs, own) in [(number::<u16>(&old), NO_TYPE), (number::<u8>(&old), number::<u8>(&new))] {
        let carried = over.request(&held(theirs).as_ref(), false).expect("nothing of it is read");
        let frame = carried.as_ref().frames().next().expect("there is one").expect("it was just written");
        let header = frame.header;
        assert_eq!((header.type_number, header.sender, header.request), (own, queue(), request));
        assert!(frame.payload.is_empty());
    }
    assert!(over.request(&held(number::<u16>(&old)).as_ref(), true).is_err(), "somebody would read it");
}

#[test]
fn an_upgrade_that_breaks_its_rules_is_refused() {
    macro_rules! counter {
        ($of:ident: $upgrade:expr) => {{
            #[derive(Serialize, Deserialize)]
            struct $of(u64);
            impl Fsm for $of {
                const NAME: &'static str = "counter";
                const VERSION: u32 = 2;
                type State = ();
                type Message = now::Add;
                fn upgrade(old: OldFsm<'_>) -> Result<($of, Option<()>), UpgradeError> {
                    let upgrade: fn(OldFsm<'_>) -> Result<(u64, Option<()>), UpgradeError> = $upgrade;
                    upgrade(old).map(|(count, state)| ($of(count), state))
                }
                fn start(&mut self, _: &mut Context<'_, Self>) {}
                fn handle(&mut self, (): (), _: now::Add, _: &mut Context<'_, Self>) -> Next<Self> {
                    Next::Stay
                }
            }
            refused(Kinds::new().with::<$of>())
        }};
    }
    fn refused(kinds: Kinds) -> String {
        let (old, _) = old_and_new();
        let new = kinds.seal().expect("the kinds are plain");
        let mut worker = Worker::new(old.clone(), NodeId(0), WorkerId(0), Epoch::FIRST, WorkerConfig::default());
        feed(&mut worker, 1, &Header::to(Class::Spawn, 0, queue(), edge()), &spawn(0, &before::Counter(7)), 1);
        let mut image = Vec::new();
        worker.snapshot(&mut image).expect("it can be encoded");
        let refused: Result<Worker, CarryOverError> = CarryOver::new(old.table(), &new).worker(&image);
        let Err(error) = refused else { panic!("it comes over") };
        assert_eq!(error.of, "w0/0.1 of kind counter");
        error.why.to_string()
    }
    let texts = [
        counter!(Unread: |_| Ok((1, Some(())))),
        counter!(Stateless: |old| old.read::<before::Counter, ()>().map(|_| (1, None))),
        counter!(Long: |old| old.read::<[u64; 9], ()>().map(|_| (1, Some(())))),
        counter!(Unknown: |old| Err(old.unknown())),
        counter!(Panics: |_| panic!("no idea")),
    ];
    let expected = [
        "`upgrade` returned without reading what it was given",
        "`upgrade` must give a state to an FSM that had one",
        "the old value can't be read",
        "this program can't read version 1",
        "`upgrade` panicked: no idea",
    ];
    for (text, expected) in texts.iter().zip(expected) {
        assert!(text.contains(expected), "{text}");
    }
}

//! What a worker left comes over with other numbers and in another form, and so does what it had put out.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CarryOver, CarryOverError, Catalogue, Worker, WorkerConfig};
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
        Kinds::new().with::<Counter>().message_named::<Add>("add").message::<u8>()
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

    let carried = over.batch(&batch.as_ref()).expect("all of it can come");
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
    ];
    let expected = [
        "`upgrade` returned without reading what it was given",
        "`upgrade` must give a state to an FSM that had one",
        "the old value can't be read",
        "this program can't read version 1",
    ];
    for (text, expected) in texts.iter().zip(expected) {
        assert!(text.contains(expected), "{text}");
    }
}

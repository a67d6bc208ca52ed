//! The ways of a message. The short way and the long one: FSMs whose messages all weigh the same and FSMs whose messages are
//! measured do the same. The puppets' messages are measured, so that without these the short way would be taken by few.
//! And messages that are handled in one call come to what they come to one by one.

use std::{marker::PhantomData, sync::Arc};

use proptest::prelude::*;
use qnfsm::{
    Catalogue, Codec, Context, Epoch, Fsm, Kinds, Message, Next, NodeId, OnPanic, Overflow, Place, QueueId,
    QueuePolicy, RawQueueId, Recording, Time, Undelivered, Worker, WorkerConfig,
    frame::{Batch, Class, Header},
};
use serde::{Deserialize, Serialize};

use crate::{
    random_runs::cases,
    stage::{EDGE, Ports, WORKER, outside},
};

/// A message that is a number.
trait Word: Message {
    const NAME: &'static str;
    const CAPACITY: u32 = 3;
    fn of(number: u32) -> Self;
    fn number(&self) -> u32;
}

/// Goes the short way.
impl Word for u32 {
    const NAME: &'static str = "plain";
    fn of(number: u32) -> u32 {
        number
    }
    fn number(&self) -> u32 {
        *self
    }
}

/// The same, into longer queues.
impl Word for u64 {
    const NAME: &'static str = "roomy";
    const CAPACITY: u32 = 67;
    fn of(number: u32) -> u64 {
        u64::from(number)
    }
    fn number(&self) -> u32 {
        u32::try_from(*self).expect("it was made of 32 bits")
    }
}

/// Goes the long way: a text may hold more than its size.
impl Word for String {
    const NAME: &'static str = "measured";
    fn of(number: u32) -> String {
        number.to_string()
    }
    fn number(&self) -> u32 {
        self.parse().expect("it was made of a number")
    }
}

/// What a clerk was given by whom, in which state.
type Given = (RawQueueId, u32, u8);

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
struct Clerk<W> {
    given: Vec<Given>,
    words: PhantomData<fn(W)>,
}

impl<W> Clerk<W> {
    fn new() -> Clerk<W> {
        Clerk { given: vec![], words: PhantomData }
    }
}

const SLOTS: u32 = 4;

impl<W: Word> Fsm for Clerk<W> {
    const NAME: &'static str = W::NAME;
    type State = u8;
    type Message = W;
    const QUEUE: QueuePolicy = QueuePolicy { capacity: W::CAPACITY, overflow: Overflow::DropOldest };
    const ON_PANIC: OnPanic = OnPanic::StopFsm;

    fn start(&mut self, _: &mut Context<'_, Self>) -> u8 {
        0
    }

    fn handle(&mut self, state: u8, word: W, cx: &mut Context<'_, Self>) -> Next<Self> {
        let number = word.number();
        self.given.push((cx.sender(), number, state));
        let (what, rest) = (number % 14, number / 14);
        let peer = |at: u32| QueueId::from_raw(seat(at % SLOTS, 1 + at / SLOTS % 2));
        match what {
            // Each word is of smaller ones, and nothing is of 0.
            0..3 if number > 0 => {
                for count in 0..=what {
                    cx.send(peer(rest + count), W::of(rest / 2));
                }
                Next::Stay
            }
            3 => Next::Goto(state ^ 1),
            // Another word in its place, which may weigh less.
            4 if state == 0 => Next::Postpone(W::of(rest)),
            5 => {
                cx.spawn(Clerk::<W>::new());
                cx.send(peer(rest), W::of(rest / 2));
                Next::Stay
            }
            6 if rest % 3 == 0 => {
                cx.send(peer(rest), W::of(rest));
                Next::Stop
            }
            // Without the hook, which would print it.
            7 if rest % 5 == 0 => std::panic::resume_unwind(Box::new("told to")),
            7..14 => Next::Stay,
            _ => Next::Unhandled(word),
        }
    }
}

fn seat(slot: u32, generation: u32) -> RawQueueId {
    RawQueueId::new(NodeId(0), Place::worker(WORKER), slot, generation)
}

/// A worker with clerks and what feeds it.
struct Office<W> {
    worker: Worker,
    next: u64,
    words: PhantomData<fn(W)>,
}

impl<W: Word> Office<W> {
    fn catalogue() -> Arc<Catalogue> {
        Kinds::new().with::<Clerk<W>>().seal().unwrap()
    }

    fn new(catalogue: &Arc<Catalogue>) -> Office<W> {
        Office::with(catalogue, WorkerConfig { turn_messages: 2, ..WorkerConfig::default() })
    }

    fn with(catalogue: &Arc<Catalogue>, config: WorkerConfig) -> Office<W> {
        let config = WorkerConfig { fsms_max: 8, ..config };
        let worker = Worker::new(catalogue.clone(), NodeId(0), WORKER, Epoch::FIRST, config);
        let mut office = Office { worker, next: 1, words: PhantomData };
        let mut start = vec![0];
        Codec::CURRENT.encode(&Clerk::<W>::new(), &mut start).unwrap();
        let spawn = Header::to(Class::Spawn, 0, seat(0, 0), outside().raw());
        office.round(100, |batch| (0..SLOTS).for_each(|_| batch.push(&spawn, &start)));
        office
    }

    /// How many messages a round handles, and whether the worker is idle then.
    fn round(&mut self, bound: u32, put: impl FnOnce(&mut Batch)) -> (u32, bool) {
        let mut batch = Batch::new(Place::edge(EDGE), Epoch::FIRST, self.next);
        put(&mut batch);
        self.next = batch.as_ref().next_number();
        self.worker.feed(Time::ZERO, Some(batch.as_ref()).filter(|batch| batch.count > 0));
        let end = self.worker.round(bound, &mut Ports::default());
        self.worker.drain_outputs(|_, _| {});
        (end.handled, end.idle)
    }

    fn tell(&mut self, bound: u32, words: &[(u32, u32)]) -> (u32, bool) {
        let number = self.worker.catalogue().type_number::<W>().unwrap();
        self.round(bound, |batch| {
            for &(slot, word) in words {
                let mut payload = vec![];
                Codec::CURRENT.encode(&W::of(word), &mut payload).unwrap();
                batch.push(&Header::message(number, seat(slot, 1), outside().raw()), &payload);
            }
        })
    }

    fn given(&self, slot: u32, generation: u32) -> Option<Vec<Given>> {
        Some(self.worker.fsm::<Clerk<W>>(QueueId::from_raw(seat(slot, generation)))?.0.given.clone())
    }

    fn dead(&self, why: Undelivered) -> u64 {
        self.worker.counters().dead_letters.get(&why).copied().unwrap_or_default()
    }

    /// All that can be seen of it and depends on no message's size.
    fn seen(&self) -> (Vec<Option<Vec<Given>>>, qnfsm::Counters, u32) {
        let seats = (0..12).flat_map(|slot| (1..6).map(move |generation| (slot, generation)));
        let given = seats.map(|(slot, generation)| self.given(slot, generation)).collect();
        (given, self.worker.counters().clone(), self.worker.fsms())
    }

    /// The same, after a snapshot and a restore.
    fn restored(&self) -> Worker {
        let mut image = vec![];
        self.worker.snapshot(&mut image).unwrap();
        Worker::restore(self.worker.catalogue().clone(), &image).unwrap()
    }
}

fn a_message_to_who_is_gone_is_a_dead_letter<W: Word>() {
    let mut office = Office::<W>::new(&Office::<W>::catalogue());
    office.tell(100, &[(1, 6), (2, 14)]);
    assert_eq!(office.worker.fsms(), 3, "1 has stopped");
    assert_eq!(office.dead(Undelivered::NoSuchQueue), 1, "2 has sent to 1");
    assert!(office.worker.is_idle());
    assert_eq!(office.worker.waiting_bytes(), 0);
}

#[test]
fn a_message_to_who_is_gone_is_a_dead_letter_on_both_ways() {
    a_message_to_who_is_gone_is_a_dead_letter::<u32>();
    a_message_to_who_is_gone_is_a_dead_letter::<String>();
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn r1_r5_r6_messages_that_go_the_short_way_come_like_those_that_go_the_long_one(
        rounds in prop::collection::vec((1u32..12, prop::collection::vec((0..SLOTS, 0u32..40_000), 0..8)), 1..12),
    ) {
        let catalogues = (Office::<u32>::catalogue(), Office::<String>::catalogue());
        let (mut short, mut long) = (Office::<u32>::new(&catalogues.0), Office::<String>::new(&catalogues.1));
        let idle = (0..200).map(|_| (50, vec![]));
        for (bound, words) in rounds.into_iter().chain(idle) {
            let ended = short.tell(bound, &words);
            prop_assert_eq!(ended, long.tell(bound, &words));
            prop_assert_eq!(short.seen(), long.seen());
            prop_assert_eq!(short.worker.waiting_bytes(), short.restored().waiting_bytes());
            prop_assert_eq!(long.worker.waiting_bytes(), long.restored().waiting_bytes());
            prop_assert_eq!(short.worker.waiting_bytes() == 0, long.worker.waiting_bytes() == 0);
            if words.is_empty() && ended.1 {
                break;
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(400))]

    /// Where every delivery is recorded, each message is handled by itself.
    #[test]
    fn r1_r5_messages_that_are_handled_in_one_call_come_to_what_they_come_to_one_by_one(
        turn_messages in 1u32..12,
        rounds in prop::collection::vec((1u32..30, prop::collection::vec((0..SLOTS, 0u32..40_000), 0..30)), 1..12),
    ) {
        let catalogue = Office::<u64>::catalogue();
        let config = WorkerConfig { turn_messages, ..WorkerConfig::default() };
        let mut together = Office::<u64>::with(&catalogue, config);
        let mut by_itself =
            Office::<u64>::with(&catalogue, WorkerConfig { recording: Recording::Everything, ..config });
        for (bound, words) in rounds {
            prop_assert_eq!(together.tell(bound, &words), by_itself.tell(bound, &words));
            prop_assert_eq!(together.seen(), by_itself.seen());
            prop_assert_eq!(together.worker.waiting_bytes(), by_itself.worker.waiting_bytes());
        }
    }
}

/// One frame that comes in, so many times in a row.
#[derive(Debug, Clone)]
struct Incoming {
    class: Class,
    untrusted: bool,
    slot: u32,
    generation: u32,
    payload: Vec<u8>,
    times: usize,
}

fn incoming() -> impl Strategy<Value = Incoming> {
    let payload = prop_oneof![
        4 => (0u32..40_000).prop_map(|word| {
            let mut payload = vec![];
            Codec::CURRENT.encode(&word, &mut payload).unwrap();
            payload
        }),
        1 => prop::collection::vec(any::<u8>(), 0..3),
        1 => (0u8..4).prop_map(|len| vec![len; usize::from(len) + 1]),
    ];
    let class = prop_oneof![12 => Just(Class::Message), 1 => Just(Class::Stop), 1 => Just(Class::Watch)];
    (class, any::<bool>(), 0..SLOTS + 1, 1u32..3, payload, 1usize..7).prop_map(
        |(class, untrusted, slot, generation, payload, times)| {
            // Most are for those who are there.
            let generation = if slot == 1 { generation } else { 1 };
            Incoming { class, untrusted, slot, generation, payload, times }
        },
    )
}

/// Feeds a round with these frames, in one batch or each in a batch of its own; what came of it.
fn fed<W: Word>(office: &mut Office<W>, frames: &[Incoming], together: bool) -> (qnfsm::RoundEnd, Vec<Batch>, Vec<u8>) {
    let number = office.worker.catalogue().type_number::<W>().unwrap();
    let mut batches: Vec<Batch> = vec![];
    for Incoming { class, untrusted, slot, generation, payload, times } in frames {
        for _ in 0..*times {
            if !together || batches.is_empty() {
                batches.push(Batch::new(Place::edge(EDGE), Epoch::FIRST, office.next));
            }
            let header = Header::to(*class, number, seat(*slot, *generation), outside().raw());
            batches.last_mut().unwrap().push(&Header { untrusted: *untrusted, ..header }, payload);
            office.next += 1;
        }
    }
    office.worker.feed(Time::ZERO, batches.iter().map(Batch::as_ref));
    let end = office.worker.round(5, &mut Ports::default());
    let (mut out, mut image) = (vec![], vec![]);
    office.worker.drain_outputs(|_, batch| out.push(batch.clone()));
    office.worker.snapshot(&mut image).unwrap();
    (end, out, image)
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn r1_frames_that_come_in_a_run_are_taken_like_each_by_itself(
        rounds in prop::collection::vec(prop::collection::vec(incoming(), 0..6), 1..8),
    ) {
        let (plain, measured) = (Office::<u32>::catalogue(), Office::<String>::catalogue());
        let (mut together, mut apart) = (Office::<u32>::new(&plain), Office::<u32>::new(&plain));
        let (mut texts_together, mut texts_apart) = (Office::<String>::new(&measured), Office::<String>::new(&measured));
        for frames in rounds {
            prop_assert_eq!(fed(&mut together, &frames, true), fed(&mut apart, &frames, false));
            prop_assert_eq!(fed(&mut texts_together, &frames, true), fed(&mut texts_apart, &frames, false));
            prop_assert_eq!(together.worker.waiting_bytes(), apart.worker.waiting_bytes());
            prop_assert_eq!(texts_together.worker.waiting_bytes(), texts_apart.worker.waiting_bytes());
        }
    }
}

/// A run may be longer than what is decoded in one call, end in its middle, and fill the queue there.
#[test]
fn r1_long_runs_are_taken_like_each_frame_by_itself() {
    let roomy = Office::<u64>::catalogue();
    let of = |payload: &[u8], times| {
        let payload = payload.to_vec();
        Incoming { class: Class::Message, untrusted: true, slot: 0, generation: 1, payload, times }
    };
    for (before, bad, behind) in [1, 31, 32, 33, 34, 63, 64, 65, 66, 67, 68, 100]
        .into_iter()
        .flat_map(|before| [(before, 0, 0), (before, 1, 3), (before, 2, 40)])
    {
        let frames = [of(&[7], before), of(&[], bad), of(&[8], behind)];
        let (mut together, mut apart) = (Office::<u64>::new(&roomy), Office::<u64>::new(&roomy));
        for _ in 0..3 {
            assert_eq!(fed(&mut together, &frames, true), fed(&mut apart, &frames, false), "{before} {bad} {behind}");
            assert_eq!(together.worker.waiting_bytes(), apart.worker.waiting_bytes());
        }
    }
}

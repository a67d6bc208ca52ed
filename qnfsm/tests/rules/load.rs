//! What waits in a worker, in bytes; and values that can't be carried where they would have to be.

use std::{sync::Arc, time::Duration};

use qnfsm::{
    Catalogue, Codec, Context, EdgeId, Epoch, ExternalFault, Externals, FaultKind, Fsm, Kinds, Next, NodeId, OnPanic,
    Place, QueueId, RawQueueId, Time, Worker, WorkerConfig, WorkerId,
    frame::{Batch, Class, Header, edge_queue},
};
use serde::{Deserialize, Serialize};

use crate::puppet::{Act, Note, Op, To, Which, told};

/// Postpones and sends as it is told.
#[derive(Serialize, Deserialize)]
struct Keeper;

#[derive(Serialize, Deserialize)]
enum Keep {
    /// Postponed until the next `Open`.
    Text(String),
    Open,
    /// Sends a text of that length to itself, and goes on when it comes to it.
    Echo(u32),
    /// Sets a timer that brings such a text.
    Later(u32),
}

impl Fsm for Keeper {
    const NAME: &'static str = "keeper";
    type State = bool;
    type Message = Keep;
    fn start(&mut self, _: &mut Context<'_, Self>) -> bool {
        false
    }
    fn handle(&mut self, open: bool, message: Keep, cx: &mut Context<'_, Self>) -> Next<Self> {
        let text = |length: u32| Keep::Text("x".repeat(length as usize));
        match message {
            Keep::Text(_) if open => Next::Stay,
            Keep::Text(_) => Next::Postpone(message),
            Keep::Open => Next::Goto(!open),
            Keep::Echo(length) => {
                let me = cx.id();
                cx.send(me, text(length));
                cx.send_self(text(length));
                Next::Stay
            }
            Keep::Later(length) => {
                cx.after(Duration::from_nanos(10), text(length));
                Next::Stay
            }
        }
    }
}

/// Its messages hold nothing beyond their size.
#[derive(Serialize, Deserialize)]
struct Counter;

impl Fsm for Counter {
    const NAME: &'static str = "counter";
    type State = ();
    type Message = [u64; 4];
    fn start(&mut self, _: &mut Context<'_, Self>) {}
    fn handle(&mut self, (): (), _: [u64; 4], _: &mut Context<'_, Self>) -> Next<Self> {
        Next::Stay
    }
}

/// Sets a periodic timer whose message nests deeper than the codec carries.
#[derive(Serialize, Deserialize)]
struct Nester;

#[derive(Serialize, Deserialize)]
struct Nest(Option<Box<Nest>>);

impl Fsm for Nester {
    const NAME: &'static str = "nester";
    const ON_PANIC: OnPanic = OnPanic::StopFsm;
    type State = ();
    type Message = Nest;
    fn start(&mut self, _: &mut Context<'_, Self>) {}
    fn handle(&mut self, (): (), _: Nest, cx: &mut Context<'_, Self>) -> Next<Self> {
        let deep = (0..200).fold(Nest(None), |inner, _| Nest(Some(Box::new(inner))));
        cx.every("deep", Duration::from_millis(1), deep);
        Next::Stay
    }
}

/// The same, and the node is to stop.
#[derive(Serialize, Deserialize)]
struct FatalNester(Nester);

impl Fsm for FatalNester {
    const NAME: &'static str = "fatal nester";
    type State = ();
    type Message = Nest;
    fn start(&mut self, _: &mut Context<'_, Self>) {}
    fn handle(&mut self, (): (), _: Nest, cx: &mut Context<'_, Self>) -> Next<Self> {
        let deep = (0..200).fold(Nest(None), |inner, _| Nest(Some(Box::new(inner))));
        cx.every("deep", Duration::from_millis(1), deep);
        Next::Stay
    }
}

struct NoPorts;
impl Externals for NoPorts {
    fn read(&mut self, _: WorkerId, _: &str, _: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        Err(ExternalFault("there are no ports".to_owned()))
    }
}

fn queue(slot: u32) -> RawQueueId {
    RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), slot, 1)
}

struct Bench {
    worker: Worker,
    batch: Batch,
    now: u64,
}

impl Bench {
    /// A worker with one FSM of each kind: keeper, counter, nester, fatal nester.
    fn new() -> Bench {
        let catalogue: Arc<Catalogue> =
            Kinds::new().with::<Keeper>().with::<Counter>().with::<Nester>().with::<FatalNester>().seal().unwrap();
        let worker = Worker::new(catalogue, NodeId(0), WorkerId(0), Epoch::FIRST, WorkerConfig::default());
        let batch = Batch::new(Place::edge(EdgeId(8)), Epoch::FIRST, 1);
        let mut bench = Bench { worker, batch, now: 0 };
        let edge = edge_queue(NodeId(0), EdgeId(8));
        for kind in 0..4 {
            bench.batch.push(&Header::to(Class::Spawn, kind, queue(0), edge), &[0]);
        }
        assert!(bench.round(1000).idle);
        bench
    }

    fn put<M: qnfsm::Message>(&mut self, slot: u32, message: &M) {
        let mut payload = Vec::new();
        Codec::CURRENT.encode(message, &mut payload).unwrap();
        let number = self.worker.catalogue().type_number::<M>().unwrap();
        let to: QueueId<M> = QueueId::from_raw(queue(slot));
        self.batch.push(&Header::message(number, to.raw(), edge_queue(NodeId(0), EdgeId(8))), &payload);
    }

    fn round(&mut self, bound: u32) -> qnfsm::RoundEnd {
        let next = self.batch.as_ref().next_number();
        let batch = std::mem::replace(&mut self.batch, Batch::new(Place::edge(EdgeId(8)), Epoch::FIRST, next));
        self.worker.feed(Time::from_nanos(self.now), (!batch.is_empty()).then_some(batch.as_ref()));
        let end = self.worker.round(bound, &mut NoPorts);
        self.worker.drain_outputs(|_, _| {});
        end
    }

    /// What waits, live and after a restore.
    fn waiting(&self) -> u64 {
        let mut image = Vec::new();
        self.worker.snapshot(&mut image).unwrap();
        let restored = Worker::restore(self.worker.catalogue().clone(), &image).unwrap();
        assert_eq!(restored.waiting_bytes(), self.worker.waiting_bytes());
        self.worker.waiting_bytes()
    }
}

const MIB: u32 = 1 << 20;

#[test]
fn what_a_message_points_to_is_counted_wherever_it_waits() {
    let mut bench = Bench::new();
    assert_eq!(bench.waiting(), 0);
    let holds = |bench: &Bench, texts: u64| {
        let waiting = bench.waiting();
        assert!((texts * u64::from(MIB)..texts * u64::from(MIB) + 4096).contains(&waiting), "{waiting} for {texts}");
    };
    // In the queue, because the round handles nothing.
    bench.put(0, &Keep::Text("x".repeat(MIB as usize)));
    let _ = bench.round(0);
    holds(&bench, 1);
    // Postponed, by an FSM that has nothing to do.
    let _ = bench.round(100);
    assert!(bench.worker.is_idle());
    holds(&bench, 1);
    // Self-sent and sent within the worker.
    bench.put(0, &Keep::Echo(MIB));
    let _ = bench.round(1);
    holds(&bench, 3);
    let _ = bench.round(100);
    holds(&bench, 3);
    // Of a timer: once it has fired.
    bench.put(0, &Keep::Later(MIB));
    let _ = bench.round(100);
    holds(&bench, 3);
    bench.now = 1000;
    let _ = bench.round(0);
    holds(&bench, 4);
    assert_eq!(bench.worker.largest_queues()[0].0, queue(0));
    assert_eq!(bench.worker.largest_queues()[0].1, bench.waiting());
    // Handled after all.
    bench.put(0, &Keep::Open);
    let end = bench.round(100);
    assert!(end.idle);
    assert_eq!(bench.waiting(), 0);
}

#[test]
fn what_is_taken_back_waits_no_more() {
    // An answer that waits when its request is cancelled, and a timer's message when its timer is.
    let mut stage = crate::stage::Stage::with(&[Which::Plain, Which::Plain]);
    let (asks, asked) = (crate::stage::queue(0, 1), crate::stage::queue(1, 1));
    stage.tell(asks, told(0, vec![Op::Request(To::Queue(asked), 1000, Act::Keep)]));
    let idle = stage.restored().worker.waiting_bytes();
    stage.put(asked, told(1, vec![Op::AnswerKept(7)])).put(asks, told(2, vec![Op::CancelRequest]));
    stage.bound = 1;
    for _ in 0..4 {
        let _ = stage.round();
        let _ = stage.restored();
    }
    stage.bound = 100;
    stage.run();
    assert_eq!((stage.worker.waiting_bytes(), stage.restored().worker.waiting_bytes()), (idle, idle));
    assert!(stage.notes(0).iter().all(|note| !matches!(note, Note::Answer(_))), "{:?}", stage.notes(0));
}

#[test]
fn what_waits_for_an_fsm_that_stops_waits_no_more() {
    let mut bench = Bench::new();
    bench.put(0, &Keep::Echo(MIB));
    let _ = bench.round(100);
    assert!(bench.waiting() > 2 * u64::from(MIB));
    let edge = edge_queue(NodeId(0), EdgeId(8));
    bench.batch.push(&Header::to(Class::Stop, 0, queue(0), edge), &[]);
    let _ = bench.round(100);
    assert_eq!(bench.waiting(), 0);
}

#[test]
fn a_message_of_one_size_weighs_the_same_whatever_it_says() {
    let mut bench = Bench::new();
    let weight = |bench: &mut Bench, message: [u64; 4]| {
        let before = bench.waiting();
        bench.put(1, &message);
        let _ = bench.round(0);
        bench.waiting() - before
    };
    let (small, large) = (weight(&mut bench, [0; 4]), weight(&mut bench, [u64::MAX; 4]));
    assert_eq!(small, large);
    assert!((32..=128).contains(&small), "{small}");
}

#[test]
fn a_periodic_timer_whose_message_cannot_be_carried_is_misuse_under_the_kinds_policy() {
    let mut bench = Bench::new();
    bench.put(2, &Nest(None));
    let end = bench.round(100);
    assert_eq!(end.fault, None, "its policy is to stop the FSM");
    assert_eq!((bench.worker.fsms(), bench.worker.counters().panics), (3, 1));
    bench.put(3, &Nest(None));
    let fault = bench.round(100).fault.expect("its policy is to stop the node");
    assert!(matches!(&fault.what, FaultKind::Misuse(text) if text.contains("periodic")), "{fault}");
    assert!(fault.to_string().contains("fatal nester"), "{fault}");
}

#[test]
fn a_message_that_cannot_be_weighed_is_delivered_all_the_same() {
    /// Panics when it is encoded, if it is told to.
    #[derive(Deserialize)]
    struct Touchy(bool, String);
    impl Serialize for Touchy {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if self.0 {
                // Without the hook, which would print it.
                std::panic::resume_unwind(Box::new("touched"));
            }
            (self.0, &self.1).serialize(serializer)
        }
    }
    #[derive(Serialize, Deserialize)]
    struct Teller(u64);
    impl Fsm for Teller {
        const NAME: &'static str = "teller";
        type State = ();
        type Message = Touchy;
        fn start(&mut self, cx: &mut Context<'_, Self>) {
            let me = cx.id();
            cx.send(me, Touchy(true, "x".to_owned()));
            cx.send(me, Touchy(false, "y".to_owned()));
        }
        fn handle(&mut self, (): (), _: Touchy, _: &mut Context<'_, Self>) -> Next<Self> {
            self.0 += 1;
            Next::Stay
        }
    }
    let catalogue = Kinds::new().with::<Teller>().sample(Touchy(false, String::new())).seal().unwrap();
    let mut worker = Worker::new(catalogue, NodeId(0), WorkerId(0), Epoch::FIRST, WorkerConfig::default());
    let edge = edge_queue(NodeId(0), EdgeId(8));
    let mut batch = Batch::new(edge.place(), Epoch::FIRST, 1);
    batch.push(&Header::to(Class::Spawn, 0, queue(0), edge), &[0, 0]);
    worker.feed(Time::ZERO, [batch.as_ref()]);
    let end = worker.round(100, &mut NoPorts);
    assert_eq!((end.fault, worker.waiting_bytes()), (None, 0));
    assert_eq!(worker.fsm::<Teller>(QueueId::from_raw(queue(0))).unwrap().0.0, 2);
}

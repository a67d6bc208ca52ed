//! R2, R3 and R7 over random inputs to a zoo of FSMs that do everything.
//!
//! A failure prints the smallest inputs that proptest finds, and writes their seed into `proptest-regressions`, where the
//! next run begins. `PROPTEST_CASES=10000 cargo test -p qnfsm --test rules random_runs` looks longer;
//! `PROPTEST_RNG_SEED=<n>` makes a run that can be run again.

use std::collections::BTreeMap;

use proptest::prelude::*;
use qnfsm::{
    Epoch, NodeId, Place, Recording, Skip, Time, Worker, WorkerConfig, WorkerId, frame::Batch, testing::twin_round,
};

use crate::{
    puppet::{Act, Counted, Note, Op, Order, Plain, Then, To, Which, note, then, told},
    stage::{EDGE, Ports, Slow, Stage, WORKER, catalogue, outside, push_order, push_spawn, queue},
};

/// So many random cases, or as many as `PROPTEST_CASES` says.
pub(crate) fn cases(count: u32) -> ProptestConfig {
    #[expect(clippy::disallowed_methods, reason = "a test is no FSM")]
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(count), ..ProptestConfig::default() }
}

const ZOO: [Which; 6] =
    [Which::Stopping, Which::Oldest, Which::Restarting, Which::Coalescing, Which::Newest, Which::Stopping];

fn target() -> impl Strategy<Value = To> {
    prop_oneof![
        8 => (0u32..9, 1u32..3).prop_map(|(slot, generation)| To::Queue(queue(slot, generation))),
        3 => (0u8..3).prop_map(To::Child),
        2 => Just(To::Me),
        2 => Just(To::Sender),
        1 => Just(To::Queue(outside())),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0u32..9).prop_map(Act::Answer),
        Just(Act::Refuse),
        Just(Act::Keep),
        Just(Act::Ignore),
        Just(Act::Unhandled),
        Just(Act::Postpone),
    ]
}

fn what_then() -> impl Strategy<Value = Then> {
    prop_oneof![
        10 => Just(Then::Stay),
        4 => (0u8..3).prop_map(Then::Goto),
        2 => Just(Then::Postpone),
        1 => Just(Then::Unhandled),
        1 => Just(Then::Stop),
    ]
}

fn which() -> impl Strategy<Value = Which> {
    prop::sample::select(vec![Which::Stopping, Which::Oldest, Which::Restarting, Which::Coalescing, Which::Nothing])
}

fn order(depth: u32) -> BoxedStrategy<Order> {
    (0u32..400, prop::collection::vec(op(depth), 0..4), what_then())
        .prop_map(|(label, ops, then)| crate::puppet::then(label, ops, then))
        .boxed()
}

fn op(depth: u32) -> BoxedStrategy<Op> {
    let name = || prop::sample::select(vec!["a".to_owned(), "b".to_owned()]);
    let delay = || prop_oneof![Just(0u64), 1u64..3000];
    let plain = prop_oneof![
        (target(), delay(), act()).prop_map(|(to, ns, act)| Op::Request(to, ns, act)),
        target().prop_map(Op::Monitor),
        target().prop_map(Op::Unmonitor),
        target().prop_map(Op::SendStranger),
        any::<bool>().prop_map(Op::DeadLetters),
        (0u8..4).prop_map(Op::CancelSet),
        name().prop_map(Op::CancelTimer),
        (0u32..9).prop_map(Op::AnswerKept),
        (0u32..9).prop_map(Op::Read),
        Just(Op::Draw),
        Just(Op::CancelRequest),
        Just(Op::CancelStateTimeout),
        Just(Op::StopWorkerNode),
        delay().prop_map(|ns| Op::SpawnOn(WORKER, ns)),
        delay().prop_map(|ns| Op::SpawnOn(WorkerId(u32::MAX), ns)),
    ];
    let rough = prop_oneof![Just(Op::Panic), Just(Op::Misuse), target().prop_map(Op::Stop)];
    if depth == 0 {
        return prop_oneof![8 => plain, 1 => rough].boxed();
    }
    let inner = || order(depth - 1);
    let ops = move || prop::collection::vec(op(depth - 1), 0..3);
    prop_oneof![
        8 => plain,
        1 => rough,
        6 => (target(), inner()).prop_map(|(to, order)| Op::Send(to, order)),
        1 => inner().prop_map(Op::SendSelf),
        2 => (delay(), inner()).prop_map(|(ns, order)| Op::StateTimeout(ns, order)),
        2 => (delay(), inner()).prop_map(|(ns, order)| Op::After(ns, order)),
        2 => (name(), delay(), inner()).prop_map(|(name, ns, order)| Op::Timer(name, ns, order)),
        1 => (name(), delay(), inner()).prop_map(|(name, ns, order)| Op::Every(name, ns, order)),
        2 => (which(), ops()).prop_map(|(which, ops)| Op::Spawn(which, ops)),
        1 => ops().prop_map(Op::OnEnter),
    ]
    .boxed()
}

/// What a driver does in one round.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    later_ns: u64,
    bound: u32,
    orders: Vec<(u32, Order)>,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let orders = prop::collection::vec((0u32..7, order(2)), 0..4);
    let step = (prop_oneof![Just(0u64), 1u64..1500], 0u32..12, orders);
    prop::collection::vec(step.prop_map(|(later_ns, bound, orders)| Step { later_ns, bound, orders }), 1..25)
}

pub(crate) fn config() -> impl Strategy<Value = WorkerConfig> {
    let fsms_max = prop_oneof![4 => Just(40), 1 => Just(8)];
    (any::<u64>(), 1u32..5, any::<bool>(), fsms_max).prop_map(|(seed, turn_messages, everything, fsms_max)| {
        let recording = if everything { Recording::Everything } else { Recording::Inputs };
        WorkerConfig { seed, turn_messages, recording, fsms_max }
    })
}

/// What is recorded of a round, and what it gave.
pub(crate) struct Record {
    now: Time,
    pub(crate) batches: Vec<Batch>,
    bound: u32,
    pub(crate) digest: u64,
    pub(crate) image: Vec<u8>,
}

pub(crate) fn zoo(config: WorkerConfig) -> Worker {
    Worker::new(catalogue(), NodeId(0), WORKER, Epoch::FIRST, config)
}

/// Runs the steps, each with a restored twin beside it, and then until idle or for some rounds more.
pub(crate) fn live(config: WorkerConfig, steps: &[Step]) -> Result<Vec<Record>, TestCaseError> {
    let catalogue = catalogue();
    let counted = Counted::count();
    let mut worker = zoo(config);
    let mut now = 1_000;
    let mut next = 1;
    let mut records = vec![];
    let tail = (0..10).map(|count| Step { later_ns: count * 500, bound: 5, orders: vec![] });
    for (count, Step { later_ns, bound, orders }) in steps.iter().cloned().chain(tail).enumerate() {
        now += later_ns;
        let mut batch = Batch::new(Place::edge(EDGE), Epoch::FIRST, next);
        if count == 0 {
            ZOO.iter().for_each(|which| push_spawn(&mut batch, &catalogue, *which, vec![]));
        }
        for (slot, order) in &orders {
            push_order(&mut batch, &catalogue, queue(*slot, 1), order);
        }
        drop(orders);
        next = batch.as_ref().next_number();
        let batches: Vec<_> = Some(batch).into_iter().filter(|batch| !batch.is_empty()).collect();
        let time = Time::from_nanos(now);
        let round = twin_round(&mut worker, time, &batches, bound, &mut Ports::default());
        let round = round.map_err(|apart| TestCaseError::fail(apart.to_string()))?;
        prop_assert!(round.end.handled <= bound);
        let mut image = vec![];
        if round.end.fault.is_none() {
            worker.snapshot(&mut image).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let held = Counted::count() - counted;
            // The sum that is kept is the one that is there when all is counted anew.
            let restored = Worker::restore(catalogue.clone(), &image);
            let restored = restored.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(worker.waiting_bytes(), restored.waiting_bytes(), "what waits after round {}", count + 1);
            // Whatever a worker holds that its image does not is a message or a start value that is never dropped.
            let held_anew = Counted::count() - counted - held;
            prop_assert_eq!(held, held_anew, "messages and FSMs held after round {}", count + 1);
        }
        let ended = round.end.fault.is_some();
        records.push(Record { now: time, batches, bound, digest: round.end.digest, image });
        if ended {
            break;
        }
    }
    Ok(records)
}

/// Runs recorded rounds and gives the digest and image of each.
fn replay(worker: &mut Worker, records: &[Record]) -> Vec<(u64, Vec<u8>)> {
    replay_with(worker, records, &mut Ports::default(), |_| {})
}

/// As [`replay`], with something done before each round. It ends with a fault.
pub(crate) fn replay_with(
    worker: &mut Worker,
    records: &[Record],
    ports: &mut Ports,
    mut before: impl FnMut(&mut Worker),
) -> Vec<(u64, Vec<u8>)> {
    let mut seen = vec![];
    for Record { now, batches, bound, .. } in records {
        before(worker);
        worker.feed(*now, batches.iter().map(Batch::as_ref));
        ports.announced.clear();
        let end = worker.round(*bound, ports);
        worker.drain_outputs(|_, _| {});
        let mut image = vec![];
        if end.fault.is_none() {
            worker.snapshot(&mut image).expect("puppets can be encoded");
        }
        seen.push((end.digest, image));
        if end.fault.is_some() {
            break;
        }
    }
    seen
}

/// What a driver does to the timers of one FSM, each in a round that runs until idle.
#[derive(Debug, Clone)]
enum TimerStep {
    After(u64),
    Named(bool, u64),
    Every(u64),
    State(u64),
    Cancel(u8),
    CancelNamed(bool),
    CancelState,
    Goto(u8),
    Wait(u64),
}

fn timer_step() -> impl Strategy<Value = TimerStep> {
    prop_oneof![
        (0u64..40).prop_map(TimerStep::After),
        (any::<bool>(), 0u64..40).prop_map(|(name, ns)| TimerStep::Named(name, ns)),
        (1000u64..4000).prop_map(TimerStep::Every),
        (0u64..40).prop_map(TimerStep::State),
        (0u8..8).prop_map(TimerStep::Cancel),
        any::<bool>().prop_map(TimerStep::CancelNamed),
        Just(TimerStep::CancelState),
        (0u8..3).prop_map(TimerStep::Goto),
        prop_oneof![3 => 0u64..30, 1 => 500u64..9000].prop_map(TimerStep::Wait),
    ]
}

/// A timer of the model's; they are ordered as they fire.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Set {
    deadline: u64,
    number: u32,
    label: u32,
    name: Option<&'static str>,
    period: Option<u64>,
}

/// What timers are, told again in the plainest way.
#[derive(Default)]
struct Model {
    now: u64,
    state: u8,
    set: Vec<Set>,
    numbers: u32,
    /// The numbers of timers that have an ID which the FSM keeps.
    ids: Vec<u32>,
    delivered: Vec<(u32, u64)>,
}

impl Model {
    fn set(&mut self, delay: u64, label: u32, name: Option<&'static str>, period: Option<u64>) {
        self.set.retain(|timer| name.is_none() || timer.name != name);
        self.numbers += 1;
        self.set.push(Set { deadline: self.now + delay, number: self.numbers, label, name, period });
    }

    fn fire(&mut self) {
        self.set.sort_unstable();
        let now = self.now;
        for Set { deadline, label, period, .. } in self.set.iter_mut().filter(|timer| timer.deadline <= now) {
            let beats = period.map_or(0, |period| 1 + (now - *deadline) / period);
            self.delivered.push((*label, beats));
            *deadline += beats * period.unwrap_or_default();
        }
        self.set.retain(|timer| timer.deadline > now || timer.period.is_some());
    }
}

proptest! {
    #![proptest_config(cases(80))]

    #[test]
    fn r2_r7_runs_replay_and_twins_agree_at_every_round(config in config(), steps in steps(), from in any::<prop::sample::Index>()) {
        let records = live(config, &steps)?;
        let expected: Vec<_> = records.iter().map(|record| (record.digest, record.image.clone())).collect();
        // R2: the records alone make the same run again.
        prop_assert_eq!(&replay(&mut zoo(config), &records), &expected);
        // R7: a worker restored after any round does the rest of it.
        let after = from.index(records.len());
        if !records[after].image.is_empty() {
            let mut restored = Worker::restore(catalogue(), &records[after].image).unwrap();
            prop_assert_eq!(&replay(&mut restored, &records[after + 1..])[..], &expected[after + 1..]);
        }
    }

    /// What happens while a snapshot is taken isn't in it, and takes no notice of it.
    #[test]
    fn r7_a_snapshot_taken_bit_by_bit_is_of_when_it_was_begun(config in config(), steps in steps(), bytes_min in 0usize..600) {
        let records = live(config, &steps)?;
        let expected: Vec<_> = records.iter().map(|record| (record.digest, record.image.clone())).collect();
        let mut worker = zoo(config);
        let mut taken = Slow::begun(&mut worker);
        let mut whole = 0;
        let seen = replay_with(&mut worker, &records, &mut Ports::default(), |worker| {
            if taken.goes_on(worker, bytes_min) {
                whole += 1;
                taken = Slow::begun(worker);
            }
        });
        prop_assert_eq!(&seen, &expected);
        if records.last().is_some_and(|record| !record.image.is_empty()) {
            while !taken.goes_on(&mut worker, bytes_min) {}
            whole += 1;
        }
        prop_assert!(whole > 0 || records.last().is_some_and(|record| record.image.is_empty()));
    }

    /// What is run with care does the same; each delivery was announced.
    #[test]
    fn r2_a_run_with_care_is_the_same(config in config(), steps in steps()) {
        let records = live(config, &steps)?;
        let expected: Vec<_> = records.iter().map(|record| (record.digest, record.image.clone())).collect();
        let (mut worker, mut ports) = (zoo(config), Ports::default());
        let seen = replay_with(&mut worker, &records, &mut ports, |worker| worker.take_care([]));
        prop_assert_eq!(&seen, &expected);
        let numbers: Vec<_> = ports.announced.iter().map(|(delivery, ..)| *delivery).collect();
        prop_assert_eq!(numbers, (1..=u32::try_from(ports.announced.len()).unwrap()).collect::<Vec<_>>());
    }

    /// Whatever is skipped, a worker stays one that can be restored and run again, and holds nothing that it shouldn't.
    #[test]
    fn r2_r7_runs_with_skips_replay(config in config(), steps in steps(), skips in prop::collection::btree_map(1u32..20, any::<bool>(), 0..5)) {
        let skips: Vec<_> = skips.into_iter().map(|(at, stops)| (at, if stops { Skip::StopFsm } else { Skip::Message })).collect();
        let records = live(config, &steps)?;
        let run = |worker: &mut Worker, records: &[Record]| {
            replay_with(worker, records, &mut Ports::default(), |worker| worker.take_care(skips.iter().copied()))
        };
        let counted = Counted::count();
        let mut worker = zoo(config);
        let seen = run(&mut worker, &records);
        prop_assert_eq!(&run(&mut zoo(config), &records), &seen);
        let held = Counted::count() - counted;
        let half = seen.len() / 2;
        if !seen[half].1.is_empty() {
            let mut restored = Worker::restore(catalogue(), &seen[half].1).unwrap();
            prop_assert_eq!(&run(&mut restored, &records[half + 1..])[..], &seen[half + 1..]);
        }
        if let Some((_, image)) = seen.last().filter(|(_, image)| !image.is_empty()) {
            let restored = Worker::restore(catalogue(), image).unwrap();
            prop_assert_eq!(worker.waiting_bytes(), restored.waiting_bytes());
            prop_assert_eq!(held, Counted::count() - counted - held);
        }
    }

    /// Idle between inputs, FSMs that do not race see the same whatever the bounds are.
    #[test]
    fn r2_bounds_change_no_queues_order_where_nothing_races(
        orders in prop::collection::vec((0u32..3, 0u32..3), 1..40),
        bounds in prop::collection::vec(1u32..6, 1..6),
    ) {
        let run = |bounds: &[u32]| {
            let mut stage = Stage::with(&[Which::Plain; 6]);
            let mut bounds = bounds.iter().cycle();
            for (label, (slot, hops)) in (1..).zip(&orders) {
                // Each sender has a receiver of its own.
                let to = To::Queue(queue(slot + 3, 1));
                let ops = (0..*hops).map(|hop| Op::Send(to, note(label * 10 + hop))).collect();
                stage.put(queue(*slot, 1), told(label, ops));
                stage.bound = *bounds.next().expect("cycles do not end");
                let _ = stage.round();
            }
            stage.bound = 1000;
            stage.run();
            (0..6).map(|slot| stage.labels(slot)).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(&bounds), run(&[1000]));
    }

    #[test]
    fn r3_timers_do_what_the_plainest_model_does(steps in prop::collection::vec(timer_step(), 1..60)) {
        let mut stage = Stage::with(&[Which::Plain]);
        let mut model = Model { now: stage.now, ..Model::default() };
        let fsm = queue(0, 1);
        for (count, step) in (1..).zip(&steps) {
            let label = 1000 + count;
            let name = |first: bool| if first { "a" } else { "b" };
            let mut tell = |op| { stage.tell(fsm, told(0, vec![op])); };
            match *step {
                TimerStep::After(ns) => {
                    tell(Op::After(ns, note(label)));
                    model.set(ns, label, None, None);
                    model.ids.push(model.numbers);
                }
                TimerStep::Named(first, ns) => {
                    tell(Op::Timer(name(first).to_owned(), ns, note(label)));
                    model.set(ns, label, Some(name(first)), None);
                    model.ids.push(model.numbers);
                }
                TimerStep::Every(ns) => {
                    tell(Op::Every("a".to_owned(), ns, note(label)));
                    model.set(ns, label, Some("a"), Some(ns));
                    model.ids.push(model.numbers);
                }
                TimerStep::State(ns) => {
                    tell(Op::StateTimeout(ns, note(label)));
                    model.set(ns, label, Some("state"), None);
                }
                TimerStep::Cancel(at) => {
                    tell(Op::CancelSet(at));
                    let number = model.ids.get(usize::from(at)).copied();
                    model.set.retain(|timer| Some(timer.number) != number);
                }
                TimerStep::CancelNamed(first) => {
                    tell(Op::CancelTimer(name(first).to_owned()));
                    model.set.retain(|timer| timer.name != Some(name(first)));
                }
                TimerStep::CancelState => {
                    tell(Op::CancelStateTimeout);
                    model.set.retain(|timer| timer.name != Some("state"));
                }
                TimerStep::Goto(state) => {
                    stage.tell(fsm, then(0, vec![], Then::Goto(state)));
                    if std::mem::replace(&mut model.state, state) != state {
                        model.set.retain(|timer| timer.name != Some("state"));
                    }
                }
                TimerStep::Wait(ns) => {
                    stage.now += ns;
                    model.now += ns;
                }
            }
            // Fires what is due before the next step's message comes in.
            stage.run();
            model.fire();
        }
        let delivered = stage.puppet::<Plain>(fsm).notes.iter().filter_map(|note| match note {
            Note::Did { label, beats, .. } if *label >= 1000 => Some((*label, *beats)),
            _ => None,
        });
        prop_assert_eq!(delivered.collect::<Vec<_>>(), model.delivered);
        let next = model.set.iter().map(|timer| timer.deadline).min().map(Time::from_nanos);
        prop_assert_eq!(stage.worker.next_timer(), next);
    }
}

/// The zoo is worth its food only if the runs meet what they are there for.
#[test]
fn the_random_runs_meet_everything() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeMap::<String, u64>::new();
    for _ in 0..80 {
        let (config, steps) = (config(), steps()).new_tree(&mut runner).unwrap().current();
        let records = live(config, &steps).unwrap();
        let last = records.iter().rev().find(|record| !record.image.is_empty()).unwrap();
        let worker = Worker::restore(catalogue(), &last.image).unwrap();
        *met.entry("panics".to_owned()).or_default() += worker.counters().panics;
        *met.entry("handled".to_owned()).or_default() += worker.counters().handled;
        *met.entry("timers left".to_owned()).or_default() += u64::from(worker.next_timer().is_some());
        *met.entry("not idle".to_owned()).or_default() += u64::from(!worker.is_idle());
        for (why, count) in &worker.counters().dead_letters {
            *met.entry(format!("{why:?}")).or_default() += count;
        }
    }
    for what in [
        "panics",
        "timers left",
        "not idle",
        "NoSuchQueue",
        "Full",
        "NotAccepted",
        "TooLate",
        "Unhandled",
        "ReceiverStopped",
        "TooManyFsms",
    ] {
        assert!(met.get(what).is_some_and(|count| *count > 0), "{what} was never met: {met:?}");
    }
    assert!(met["handled"] > 1500, "{met:?}");
}

//! Who observes a round changes nothing of it, and is shown each handler's run and where each message comes from.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use qnfsm::{
    Ask, AskedAll, At, Came, CameAs, Codec, End, Fault, FaultKind, Handler, Observer, Place, RawQueueId, Skip, Trust,
    Worker,
};

use crate::{
    puppet::{Op, Order, Then, To, Which, note, then, told},
    random_runs::{cases, config, live, replay_with, steps, zoo},
    stage::{EDGE, Ports, Stage, catalogue, queue},
};

/// A handler's run, as it was shown.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    happening: u64,
    queue: RawQueueId,
    handler: Handler,
    came: Option<(RawQueueId, CameAs, Option<u64>, Vec<u8>)>,
    end: End,
    /// What it sent and set, with the bytes; and its answers.
    asked: Vec<(Ask, Vec<u8>)>,
    data_before: Vec<u8>,
    data_after: Vec<u8>,
}

#[derive(Default, Clone)]
struct Witness {
    runs: Arc<Mutex<Vec<Run>>>,
    open: Option<Run>,
}

fn data(at: At<'_>) -> Vec<u8> {
    let mut data = vec![];
    at.encode_data(&mut data).unwrap();
    data
}

impl Observer for Witness {
    fn before(&mut self, at: At<'_>, came: Option<Came<'_>>) {
        let came = came.map(|came| {
            let mut bytes = vec![];
            came.encode(&mut bytes).unwrap();
            (came.sender, came.as_what, came.happening, bytes)
        });
        let At { queue, handler, .. } = at;
        let (asked, data_after, end) = (vec![], vec![], End::Stayed);
        let run =
            Run { happening: at.happening(), queue, handler, came, end, asked, data_before: data(at), data_after };
        assert!(self.open.replace(run).is_none(), "a handler runs within another one");
    }

    fn after(&mut self, at: At<'_>, end: &End, asked: AskedAll<'_>) {
        let run = self.open.take();
        if matches!(end, End::Skipped(_)) {
            assert_eq!(run, None, "what is skipped doesn't run");
            return;
        }
        let mut run = run.expect("each handler is shown before it runs");
        assert_eq!((run.queue, run.handler, run.happening), (at.queue, at.handler, at.happening()));
        run.end = end.clone();
        run.data_after = data(at);
        run.asked = asked
            .iter()
            .map(|asked| {
                let mut bytes = vec![];
                // Puppets send what nobody can encode too.
                let _ = asked.encode(&mut bytes);
                (asked.what, bytes)
            })
            .collect();
        self.runs.lock().unwrap().push(run);
    }
}

impl Witness {
    fn of(worker: &mut Worker) -> Witness {
        let witness = Witness::default();
        worker.set_observer(Some(Box::new(witness.clone())));
        witness
    }

    fn runs(&self) -> Vec<Run> {
        std::mem::take(&mut self.runs.lock().unwrap())
    }
}

/// True if the run asked for what another one handled.
fn sent(run: &Run, handled: &Run) -> bool {
    let Some((_, as_what, _, bytes)) = &handled.came else { return false };
    run.asked.iter().any(|(what, sent)| match (what, as_what) {
        (Ask::Send { to, request: None }, CameAs::Message) => *to == handled.queue && sent == bytes,
        (Ask::Send { to, request: Some(asked) }, CameAs::Request(request)) => {
            *to == handled.queue && asked == request && sent == bytes
        }
        (Ask::SendSelf, CameAs::Message) => run.queue == handled.queue && sent == bytes,
        (Ask::SetTimer { .. }, CameAs::Timer { .. }) => run.queue == handled.queue && sent == bytes,
        _ => false,
    })
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn an_observed_run_is_the_same_and_knows_where_each_message_comes_from(config in config(), steps in steps()) {
        let records = live(config, &steps)?;
        let expected: Vec<_> = records.iter().map(|record| (record.digest, record.image.clone())).collect();
        let mut worker = zoo(config);
        let witness = Witness::of(&mut worker);
        prop_assert_eq!(&replay_with(&mut worker, &records, &mut Ports::default(), |_| {}), &expected);
        let runs = witness.runs();
        let happenings: BTreeSet<_> = runs.iter().map(|run| run.happening).collect();
        for run in &runs {
            let Some((sender, as_what, happening, bytes)) = &run.came else { continue };
            let happening = happening.expect("the worker was never restored");
            prop_assert!(happening < run.happening, "{run:?} comes from what was not yet");
            // What the worker tells by itself, such as an answer or a dead letter, nobody has sent as it is.
            let order = Codec::CURRENT.decode::<Order>(bytes, Trust::Node).expect("puppets take orders");
            if !matches!(order, Order::Do { .. } | Order::Ask { .. }) {
                continue;
            }
            if happenings.contains(&happening) {
                let mut senders = runs.iter().filter(|other| other.happening == happening);
                prop_assert!(senders.any(|other| sent(other, run)), "{run:?} was not sent then");
            } else {
                prop_assert_eq!((sender.place(), as_what), (Place::edge(EDGE), &CameAs::Message), "only who is outside sends then");
            }
        }
    }

    /// Who restores a worker and kept where its messages come from is shown the same as who never did.
    #[test]
    fn origins_come_through_a_restore(config in config(), steps in steps(), from in any::<prop::sample::Index>()) {
        let records = live(config, &steps)?;
        let after = from.index(records.len());
        let mut worker = zoo(config);
        let witness = Witness::of(&mut worker);
        replay_with(&mut worker, &records[..=after], &mut Ports::default(), |_| {});
        witness.runs();
        let image = &records[after].image;
        if !image.is_empty() {
            let mut restored = Worker::restore(catalogue(), image).unwrap();
            restored.set_origins(&worker.origins());
            prop_assert_eq!(restored.happenings(), worker.happenings());
            let again = Witness::of(&mut restored);
            replay_with(&mut worker, &records[after + 1..], &mut Ports::default(), |_| {});
            replay_with(&mut restored, &records[after + 1..], &mut Ports::default(), |_| {});
            prop_assert_eq!(witness.runs(), again.runs());
        }
    }

    /// Where messages come from is noted while nobody looks, too.
    #[test]
    fn who_begins_to_observe_is_shown_what_who_always_did_is_shown(config in config(), steps in steps(), from in any::<prop::sample::Index>()) {
        let records = live(config, &steps)?;
        let (before, behind) = records.split_at(from.index(records.len()));
        let (mut always, mut later) = (zoo(config), zoo(config));
        let all = Witness::of(&mut always);
        replay_with(&mut always, before, &mut Ports::default(), |_| {});
        all.runs();
        replay_with(&mut later, before, &mut Ports::default(), |_| {});
        let rest = Witness::of(&mut later);
        replay_with(&mut always, behind, &mut Ports::default(), |_| {});
        replay_with(&mut later, behind, &mut Ports::default(), |_| {});
        prop_assert_eq!(all.runs(), rest.runs());
    }
}

/// What is shown of a round of one plain puppet that is told these orders, without its start.
fn shown(orders: Vec<Order>) -> (Vec<Run>, Stage) {
    let mut stage = Stage::with(&[Which::Plain, Which::Stopping]);
    let witness = Witness::of(&mut stage.worker);
    for order in orders {
        stage.put(queue(0, 1), order);
    }
    stage.run();
    (witness.runs(), stage)
}

#[test]
fn each_end_of_a_handler_is_shown_with_what_it_asked_for() {
    let sends = || vec![Op::Send(To::Queue(queue(1, 1)), note(9)), Op::Draw];
    let (runs, _) = shown(vec![
        told(1, sends()),
        then(2, vec![], Then::Postpone),
        then(3, vec![Op::StateTimeout(5, note(8))], Then::Goto(1)),
        then(4, vec![], Then::Unhandled),
        then(5, vec![], Then::Stop),
    ]);
    let of_first = runs.iter().filter(|run| run.queue == queue(0, 1).raw());
    let ends: Vec<_> = of_first.map(|run| (run.handler, run.end.clone(), run.asked.len())).collect();
    let expected = [
        (Handler::Handle, End::Stayed, 1),
        (Handler::Handle, End::Postponed, 0),
        (Handler::Handle, End::Changed, 1),
        (Handler::Enter, End::Stayed, 0),
        // The one that was postponed comes first, and stays now.
        (Handler::Handle, End::Stayed, 0),
        (Handler::Handle, End::Unhandled, 0),
        (Handler::Handle, End::Stopped, 0),
    ];
    assert_eq!(ends, expected);
    let first = &runs[0];
    assert!(first.data_before != first.data_after, "it noted its order");
    assert!(matches!(first.asked[0].0, Ask::Send { to, request: None } if to == queue(1, 1).raw()));
}

#[test]
fn what_fails_or_is_skipped_is_shown_and_nothing_of_what_it_asked_for() {
    let sends = Op::Send(To::Queue(queue(1, 1)), note(9));
    let (runs, stage) = shown(vec![told(1, vec![sends.clone(), Op::Panic])]);
    assert!(matches!(&runs[..], [Run { end: End::Failed(FaultKind::Panic(_)), asked, .. }] if asked.is_empty()));
    assert!(matches!(stage.ends.last().unwrap().fault, Some(Fault { what: FaultKind::Panic(_), .. })));

    let mut stage = Stage::with(&[Which::Plain]);
    let (seen, skipped) = (Arc::new(Mutex::new(vec![])), Arc::new(Mutex::new(vec![])));
    struct Skips(Arc<Mutex<Vec<u32>>>, Arc<Mutex<Vec<(u32, End)>>>);
    impl Observer for Skips {
        fn before(&mut self, at: At<'_>, _: Option<Came<'_>>) {
            self.0.lock().unwrap().push(at.delivery);
        }
        fn after(&mut self, at: At<'_>, end: &End, _: AskedAll<'_>) {
            self.1.lock().unwrap().push((at.delivery, end.clone()));
        }
    }
    stage.worker.set_observer(Some(Box::new(Skips(seen.clone(), skipped.clone()))));
    stage.worker.take_care([(2, Skip::Message)]);
    stage.put(queue(0, 1), note(1)).put(queue(0, 1), note(2)).put(queue(0, 1), note(3)).run();
    assert_eq!(*seen.lock().unwrap(), [1, 3]);
    let expected = [(1, End::Stayed), (2, End::Skipped(Skip::Message)), (3, End::Stayed)];
    assert_eq!(*skipped.lock().unwrap(), expected);
}

#[test]
fn an_fsm_is_seen_as_what_it_is_and_its_message_too() {
    use crate::puppet::{Plain, Puppet};

    type Seen = Vec<(usize, Option<u32>)>;
    struct Typed(Arc<Mutex<Seen>>);
    impl Observer for Typed {
        fn before(&mut self, at: At<'_>, came: Option<Came<'_>>) {
            let (puppet, state) = at.fsm::<Puppet<Plain>>().expect("it is a plain puppet");
            assert!(at.fsm::<Puppet<crate::puppet::Oldest>>().is_none() && state.is_some());
            let order = came.and_then(|came| came.message::<Order>());
            assert!(came.is_some_and(|came| came.message::<u32>().is_none()));
            let label = order.and_then(|order| if let Order::Do { label, .. } = order { Some(*label) } else { None });
            self.0.lock().unwrap().push((puppet.notes.len(), label));
        }
    }
    let mut stage = Stage::with(&[Which::Plain]);
    let seen = Arc::new(Mutex::new(Seen::new()));
    stage.worker.set_observer(Some(Box::new(Typed(seen.clone()))));
    stage.put(queue(0, 1), note(4)).put(queue(0, 1), note(5)).run();
    // Its first note is that of its enter action.
    assert_eq!(*seen.lock().unwrap(), [(1, Some(4)), (2, Some(5))]);
    stage.worker.set_observer(None);
    stage.tell(queue(0, 1), note(6));
    assert_eq!(seen.lock().unwrap().len(), 2, "nobody observes any more");
}

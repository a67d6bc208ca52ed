//! A session shows the steps that happened, in whichever direction and by whichever way one comes to them.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use qnfsm::{
    CameAs, Codec, End, Handler, ImageView, Invariants, Limits, Place, QueueId, Recording, Transition, Trust, WorkerId,
    journal::{Position, Reader, RealFiles, Record},
};
use qnfsm_replay::{
    Options, ReplayError, Session, replay,
    session::{Broken, By, Cause, Difference, Direction, FoundBy, Hint, Origin, Part, PartOf, Spot, Step},
};
use rig::{Order, PATIENCE, Teller, Till, kinds, node};

/// A directory in which a bank did business of every sort, in two epochs.
fn bank(dir: &Path) {
    let limits = Limits { segment_bytes: 1 << 14, snapshot_every_bytes: 1 << 15, ..Limits::default() };
    for _ in 0..2 {
        let node = node(dir, Recording::Inputs).limits(limits).start(&Teller::<1>::default()).unwrap();
        let (host, root): (_, QueueId<Order>) = (node.host(), node.root());
        for coins in 1..=300 {
            host.send(root, &Order::Add(coins)).unwrap();
        }
        let _: u64 = host.request(root, PATIENCE, Order::Count).unwrap();
        let _: u64 = host.request(root, PATIENCE, Order::Quote).unwrap();
        let _: u64 = host.request(root, PATIENCE, |reply| Order::AfterBeats(5, reply)).unwrap();
        node.stop().unwrap();
    }
}

/// With stations as close as they can be.
fn open(dir: &Path, memory: usize) -> Session {
    let options = Options::new().memory(memory).stations_apart(Duration::ZERO);
    Session::open(dir, kinds::<1>(), &options).unwrap_or_else(|error| panic!("{error}"))
}

/// All steps, one after another.
fn walked(session: &mut Session) -> Vec<(Spot, Option<Step>)> {
    session.go_to_start().unwrap();
    let mut steps = vec![(session.spot().unwrap(), session.step().cloned())];
    while session.forward(By::Step).unwrap() {
        steps.push((session.spot().unwrap(), session.step().cloned()));
    }
    steps
}

#[test]
fn where_the_beginning_was_given_up_a_session_stands_at_the_first_round_that_can_be_played() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        segment_bytes: 1 << 14,
        snapshot_every_bytes: 1 << 12,
        retain_bytes: Some(1 << 17),
        ..Limits::default()
    };
    for _ in 0..12 {
        let node = node(dir.path(), Recording::Inputs).limits(limits).start(&Teller::<1>::default()).unwrap();
        for coins in 1..=60 {
            node.host().send(node.root(), &Order::Add(coins)).unwrap();
            let _: u64 = node.host().request(node.root(), PATIENCE, Order::Count).unwrap();
        }
        node.stop().unwrap();
    }
    let report = replay(dir.path(), kinds::<1>(), &Options::new()).unwrap();
    assert!(report.oldest_segment > 1 && report.rounds_passed_over > 0, "the test shows something: {report}");
    let (played, rounds) = rig::walked::session_goes_as_a_walk_does(dir.path(), kinds::<1>);
    // Of a snapshot that was given up, too, the rounds behind it are on record and can't be played.
    let unplayed = report.rounds_passed_over + report.rounds_not_begun;
    assert_eq!((played.len() as u64, rounds), (report.rounds, report.rounds + unplayed));

    let mut session = open(dir.path(), 64 << 20);
    let many = |till: &Till, (): ()| if till.coins < 20_000 { Ok(()) } else { Err("there are many".to_owned()) };
    let invariants = || Invariants::new().state::<Till>("few coins", many);
    let broken = session.bisect(invariants(), "few coins").unwrap().expect("there are more in the end");
    let checked = session.check(invariants()).unwrap().expect("it is broken");
    assert_eq!((broken.ordinal, broken.step), (checked.ordinal, checked.step));
}

#[test]
fn what_is_seen_is_what_a_replay_counts_and_each_way_shows_the_same() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path());
    let report = replay(dir.path(), kinds::<1>(), &Options::new()).unwrap();
    let mut session = open(dir.path(), 64 << 20);
    assert!(session.stopped().is_none());
    assert_eq!(session.rounds(), report.rounds);
    let steps = walked(&mut session);
    let handled = steps.iter().filter(|(_, step)| step.as_ref().is_some_and(|step| step.handler != Handler::Enter));
    assert_eq!(handled.count() as u64, report.messages);
    assert!(steps.is_sorted_by_key(|(spot, _)| (spot.ordinal, spot.step)));

    // Back again, step by step.
    for (spot, step) in steps.iter().rev().skip(1) {
        assert!(session.back(By::Step).unwrap());
        assert_eq!((session.spot().unwrap(), session.step()), (*spot, step.as_ref()));
    }
    assert!(!session.back(By::Step).unwrap(), "there is nothing before the first");

    // To each round, from wherever, by either of its numbers, with next to no memory and with much.
    for memory in [0, 64 << 20] {
        let mut other = open(dir.path(), memory);
        for at in (0..session.rounds()).map(|at| at * 7919 % session.rounds()) {
            other.go_to(at).unwrap();
            let spot = other.spot().unwrap();
            let (expected, step) =
                steps.iter().find(|(spot, _)| spot.ordinal == at).map_or((spot, None), |(s, step)| (*s, step.clone()));
            assert_eq!((spot, other.step().cloned()), (expected, step));
            other.go_to_round(spot.worker, spot.round).unwrap();
            assert_eq!(other.spot().unwrap(), spot);
        }
        // Beside the round that is looked at, no more is kept than may be.
        let looked_at = other.log().unwrap().bytes();
        let rounds = 8 * usize::try_from(other.rounds()).unwrap() + 2000;
        assert!(other.memory() <= memory.max(looked_at + rounds), "{} of {memory}, and {looked_at}", other.memory());
    }
}

/// How many snapshots are marked when their workers have gone on.
fn late_marks(dir: &Path) -> usize {
    let mut reader = Reader::open(Arc::new(RealFiles), dir).unwrap();
    let (mut last, mut late) = (BTreeMap::new(), 0);
    while let Some(entry) = reader.next().unwrap() {
        match entry.record {
            Record::Round { worker, round, .. } => _ = last.insert(worker, round),
            Record::SnapshotMark { worker, round, .. } => late += usize::from(last[&worker] > round),
            _ => {}
        }
    }
    late
}

#[test]
fn a_snapshot_that_is_marked_late_ends_no_round() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes: 4096, snapshot_every_bytes: 4096, ..Limits::default() };
    for attempt in 0.. {
        let node = node(dir.path(), Recording::Inputs).limits(limits).start(&Teller::<1>::default()).unwrap();
        let (host, root): (_, QueueId<Order>) = (node.host(), node.root());
        for coins in 0..60 {
            host.send(root, &Order::Add(coins)).unwrap();
            let _: u64 = host.request(root, PATIENCE, Order::Quote).unwrap();
        }
        node.stop().unwrap();
        if late_marks(dir.path()) != 0 {
            break;
        }
        assert!(attempt < 40, "no snapshot was marked late");
    }
    let mut session = open(dir.path(), 64 << 20);
    let steps = walked(&mut session);
    let report = replay(dir.path(), kinds::<1>(), &Options::new()).unwrap();
    let handled = steps.iter().filter(|(_, step)| step.as_ref().is_some_and(|step| step.handler != Handler::Enter));
    assert_eq!((session.rounds(), handled.count() as u64), (report.rounds, report.messages));
    let mut other = open(dir.path(), 0);
    for (spot, step) in steps.iter().rev().filter(|(spot, _)| spot.step == 0).step_by(7) {
        other.go_to(spot.ordinal).unwrap();
        assert_eq!((other.spot().unwrap(), other.step()), (*spot, step.as_ref()));
    }
}

#[test]
fn a_search_finds_what_a_walk_finds_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path());
    let mut session = open(dir.path(), 64 << 20);
    let steps = walked(&mut session);
    let orders = session.catalogue().type_number::<Order>().unwrap();
    let adds = |step: &Step| {
        let message = step.message.as_ref().filter(|message| message.type_number == orders);
        let order = message.map(|message| Codec::CURRENT.decode::<Order>(&message.bytes, Trust::Node).unwrap());
        matches!(order, Some(Order::Add(coins)) if coins % 50 == 0) && step.end == End::Stayed
    };
    let expected: Vec<_> =
        steps.iter().filter(|(_, step)| step.as_ref().is_some_and(adds)).map(|(spot, _)| *spot).collect();
    assert_eq!(expected.len(), 12);
    session.go_to_start().unwrap();
    let mut forwards = vec![];
    while session.find(Direction::Forward, |_, step| adds(step)).unwrap() {
        forwards.push(session.spot().unwrap());
    }
    assert_eq!(forwards, expected);
    session.go_to_end().unwrap();
    let mut backwards = vec![];
    while session.find(Direction::Back, |_, step| adds(step)).unwrap() {
        backwards.push(session.spot().unwrap());
    }
    assert_eq!(backwards, expected.iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(session.spot().unwrap(), expected[0], "where nothing more is found it stays");
}

/// Where a round of one worker has yet to run at a station, behind which a later one of another worker has run: what is nearest is
/// found all the same. Where stations stand is a matter of time, so many journals are gone through.
#[test]
fn a_search_finds_the_nearest_wherever_stations_stand() {
    for _ in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        let node = node(dir.path(), Recording::Inputs).start(&Teller::<1>::default()).unwrap();
        for coins in 1..=20 {
            node.host().send(node.root(), &Order::Add(coins)).unwrap();
            if coins % 5 == 0 {
                let _: u64 = node.host().request(node.root(), PATIENCE, Order::Count).unwrap();
            }
        }
        node.stop().unwrap();
        let mut session = open(dir.path(), 64 << 20);
        let mut expected: Vec<_> =
            walked(&mut session).into_iter().filter_map(|(spot, step)| (step?.delivery == 1).then_some(spot)).collect();
        session.go_to_end().unwrap();
        let here = session.spot().unwrap();
        while expected.pop_if(|last| *last == here).is_some() {}
        while session.find(Direction::Back, |_, step| step.delivery == 1).unwrap() {
            assert_eq!(session.spot(), expected.pop());
        }
        assert_eq!(expected, []);
    }
}

#[test]
fn turns_rounds_and_times_are_gone_to() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path());
    let mut session = open(dir.path(), 64 << 20);
    let steps = walked(&mut session);
    let queue_of =
        |spot: Spot| steps.iter().find(|(s, _)| *s == spot).and_then(|(_, step)| step.as_ref()).map(|step| step.queue);

    session.go_to_start().unwrap();
    let mut turns = vec![session.spot().unwrap()];
    while session.forward(By::Turn).unwrap() {
        let (before, now) = (*turns.last().unwrap(), session.spot().unwrap());
        assert!(now.ordinal > before.ordinal || queue_of(now) != queue_of(before));
        turns.push(now);
    }
    session.go_to_end().unwrap();
    let mut back = vec![];
    while session.back(By::Turn).unwrap() {
        back.push(session.spot().unwrap());
    }
    let first_of_last = *turns.last().unwrap();
    let expected: Vec<_> = turns
        .iter()
        .rev()
        .filter(|turn| **turn != first_of_last || first_of_last.step + 1 != first_of_last.steps)
        .copied()
        .collect();
    assert_eq!(back, expected);

    session.go_to_start().unwrap();
    let mut rounds = 1;
    while session.forward(By::Round).unwrap() {
        rounds += 1;
    }
    assert_eq!(rounds, session.rounds());
    let middle = steps[steps.len() / 2].0;
    assert!(session.go_to_time(middle.now).unwrap());
    let first = steps.iter().find(|(spot, _)| spot.now >= middle.now).unwrap().0;
    assert!(session.spot().unwrap().ordinal <= first.ordinal && session.spot().unwrap().now >= middle.now);
    assert!(!session.go_to_time(qnfsm::Time::from_nanos(u64::MAX)).unwrap());
}

#[test]
fn an_fsm_is_as_its_steps_left_it_and_so_is_its_worker() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path());
    let mut session = open(dir.path(), 64 << 20);
    let steps = walked(&mut session);
    // What each FSM was last, as the steps say it.
    let mut inside = BTreeMap::new();
    for (count, (spot, step)) in steps.iter().enumerate() {
        let Some(step) = step else { continue };
        inside.insert(step.queue, step.after.clone());
        if count % 97 != 0 {
            continue;
        }
        session.go_to(spot.ordinal).unwrap();
        (0..spot.step).for_each(|_| assert!(session.forward(By::Step).unwrap()));
        for (queue, inside) in &inside {
            assert_eq!(session.inside(*queue).unwrap().as_ref(), Some(inside), "{queue} at {spot:?}");
        }
        let image = session.image(spot.worker).unwrap().unwrap();
        let view = ImageView::read(&image).unwrap();
        assert_eq!((view.worker(), view.round()), (spot.worker, spot.round));
        let table = session.catalogue().table();
        for fsm in view.fsms() {
            let kind = &table.kinds[fsm.kind() as usize];
            let cell = fsm.cell(&kind.value.printer(), &kind.state.printer()).unwrap();
            let expected = inside.get(&fsm.queue());
            assert_eq!(expected.map(|inside| inside.data.as_slice()), Some(cell.data), "{} at {spot:?}", fsm.queue());
        }
    }
}

#[test]
fn what_led_to_a_message_is_walked_back_through_workers_to_where_it_entered() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path());
    let mut session = open(dir.path(), 64 << 20);
    let till = WorkerId(1);
    session.go_to_end().unwrap();
    // The till's last coin: the teller sent it, on the other worker, because the host told it to.
    let is_coin = |step: &Step| matches!(&step.message, Some(message) if message.as_what == CameAs::Message);
    assert!(session.find(Direction::Back, |log, step| log.worker == till && is_coin(step)).unwrap());
    let here = session.spot().unwrap();
    let causes = session.causes(10).unwrap();
    assert_eq!(session.spot(), Some(here));
    let ways: Vec<_> = causes.iter().map(|cause| (cause.worker, cause.origin)).collect();
    assert!(
        matches!(&ways[..], [(w1, Origin::Step), (WorkerId(0), Origin::Outside { source, .. })] if *w1 == till && source.as_edge().is_some()),
        "{ways:?}"
    );
    let coins = |step: &Step| {
        let bytes = &step.message.as_ref().unwrap().bytes;
        *bytes.last().unwrap()
    };
    assert_eq!(coins(&causes[0].step), coins(&causes[1].step), "the very order that made the teller send it");

    // A beat: its timer was set in the teller's start, which the node asked for.
    session.go_to_end().unwrap();
    assert!(
        session
            .find(
                Direction::Back,
                |_, step| matches!(&step.message, Some(message) if matches!(message.as_what, CameAs::Timer { .. }))
            )
            .unwrap()
    );
    let causes = session.causes(10).unwrap();
    let ways: Vec<_> = causes.iter().map(|cause| (cause.step.handler, cause.origin)).collect();
    assert!(
        matches!(
            &ways[..],
            [(Handler::Handle, Origin::Step), (Handler::Start, Origin::Outside { source: Place { .. }, .. })]
        ),
        "{ways:?}"
    );

    // An answer: the till gave it, because the teller asked, because the host asked.
    session.go_to_end().unwrap();
    assert!(
        session
            .find(Direction::Back, |log, step| log.worker == WorkerId(0)
                && matches!(&step.message, Some(message) if matches!(message.as_what, CameAs::Outcome(_))))
            .unwrap()
    );
    let causes = session.causes(10).unwrap();
    let workers: Vec<_> = causes.iter().map(|cause| cause.worker).collect();
    assert_eq!(workers, [WorkerId(0), till, WorkerId(0)]);
    assert!(matches!(causes[2].origin, Origin::Outside { .. }));
}

#[test]
fn a_program_that_parts_from_the_record_is_shown_up_to_there() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Recording::Inputs).start(&Teller::<1>::default()).unwrap();
    for coins in 1..=50 {
        node.host().send(node.root(), &Order::Add(coins)).unwrap();
    }
    let _: u64 = node.host().request(node.root(), PATIENCE, Order::Total).unwrap();
    node.stop().unwrap();
    let mut session = Session::open(dir.path(), kinds::<2>(), &Options::new()).unwrap();
    let Some(ReplayError::Diverged(diverged)) = session.stopped() else { panic!("{:?}", session.stopped()) };
    let (worker, round) = (diverged.divergence.worker, diverged.divergence.round);
    session.go_to_round(worker, round).unwrap();
    assert!(session.step().is_some(), "the round in which it parts can be looked at");
}

#[test]
fn what_is_not_there_is_said_and_the_session_stands_where_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path());
    let mut session = open(dir.path(), 64 << 20);
    session.go_to(5).unwrap();
    let here = session.spot();
    for error in [
        session.go_to(session.rounds()),
        session.go_to_round(WorkerId(7), 1),
        session.go_to_round(WorkerId(0), 1 << 40),
    ] {
        let error = error.unwrap_err();
        assert!(matches!(&error, ReplayError::Misuse(text) if text.contains("round")), "{error}");
    }
    assert_eq!(session.spot(), here);
    assert!(here.is_some_and(|spot| spot.position > Position::default()));
}

fn must(holds: bool, why: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

/// What does not hold in the bank: for good, for a while, of one step, and of a worker.
fn invariants() -> Invariants {
    Invariants::new()
        .state::<Teller<1>>("the total is small", |teller, _| must(teller.total <= 50_000, "it is large"))
        .state::<Teller<1>>("the total is never 3", |teller, _| must(teller.total != 3, "three"))
        .state::<Till>("a till is there", |_, ()| Ok(()))
        .transition::<Teller<1>>("nobody adds 299", |step: Transition<'_, Teller<1>>| {
            must(step.before.0.total + 299 != step.after.0.total, "somebody did")
        })
        .transition::<Teller<1>>("nobody is told to add 298", |step: Transition<'_, Teller<1>>| {
            must(!matches!(step.message, Some(Order::Add(298))), "somebody was")
        })
        .worker("all tellers together have little", |worker| {
            let total: u64 = worker.fsms_of::<Teller<1>>().map(|(_, teller, _)| teller.total).sum();
            must(total <= 60_000, "they have much")
        })
}

#[test]
fn where_an_invariant_is_broken_is_found_by_halves_and_is_where_a_walk_finds_it() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path());
    for apart in [Duration::ZERO, Duration::from_secs(100)] {
        let options = Options::new().stations_apart(apart);
        let mut session = Session::open(dir.path(), kinds::<1>(), &options).unwrap();
        for name in invariants().names() {
            session.go_to_start().unwrap();
            let expected = session.check(invariants().only(name).unwrap()).unwrap();
            assert_eq!(expected.is_some(), name != "a till is there", "{name}");
            let there = session.spot();
            session.go_to_start().unwrap();
            let found = session.bisect(invariants(), name).unwrap();
            assert_eq!(session.spot(), there);
            let place = |broken: &Broken| (broken.ordinal, broken.step, broken.violation.clone());
            assert_eq!(found.as_ref().map(place), expected.as_ref().map(place), "{name}");
            assert!(expected.is_none_or(|expected| expected.is_first));
        }
        // By the steps themselves: the first after which the total is large.
        let large = session.bisect(invariants(), "the total is small").unwrap().unwrap();
        let adds = session.step().cloned().unwrap();
        let total = |data: &[u8]| Codec::CURRENT.decode::<Teller<1>>(data, Trust::Node).unwrap().total;
        assert!(total(&adds.before.data) <= 50_000 && total(&adds.after.data) > 50_000);
        assert_eq!(large.violation.fsm.as_ref().map(|(queue, _)| *queue), Some(adds.queue));
        assert_eq!(large.is_first, apart != Duration::ZERO, "what lies before the station before was not looked at");
    }
    let mut session = open(dir.path(), 0);
    let error = session.bisect(invariants(), "the total is smal").unwrap_err();
    assert!(matches!(&error, ReplayError::Misuse(text) if text.contains("the total is small")), "{error}");
    assert!(session.check(invariants().only("a till is there").unwrap()).unwrap().is_none());
    assert!(session.check(invariants()).unwrap().is_some());
}

/// What differs between the code that recorded and that with another step.
fn difference<const STEP: u64>(recording: Recording) -> (Difference, Order) {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), recording).start(&Teller::<1>::default()).unwrap();
    let _: u64 = node.host().request(node.root(), PATIENCE, |reply| Order::AfterBeats(3, reply)).unwrap();
    node.host().send(node.root(), &Order::Add(5)).unwrap();
    let _: u64 = node.host().request(node.root(), PATIENCE, Order::Count).unwrap();
    let _: u64 = node.host().request(node.root(), PATIENCE, Order::Total).unwrap();
    node.stop().unwrap();
    let mut session = Session::open(dir.path(), kinds::<STEP>(), &Options::new()).unwrap();
    let difference = session.difference().unwrap().unwrap();
    assert_eq!(session.spot().unwrap().ordinal, difference.ordinal);
    let message = session.step().and_then(|step| step.message.as_ref()).unwrap();
    (difference, Codec::CURRENT.decode(&message.bytes, Trust::Node).unwrap())
}

#[test]
fn changed_code_is_told_as_closely_as_what_was_recorded_allows() {
    // What another worker took stands in the journal: the message is named, with what it should have been.
    let (by_output, order) = difference::<3>(Recording::Inputs);
    assert_eq!((by_output.found_by, &by_output.hints[..]), (FoundBy::Outputs, &[Hint::Elsewhere][..]));
    assert!(matches!(order, Order::Add(5)), "{order:?}");
    let parts = by_output.step.unwrap().parts;
    let [Part { of: PartOf::Output(till), path, recorded, found, again: None }] = &parts[..] else {
        panic!("{parts:?}")
    };
    assert_eq!((till.place(), path.to_string().as_str()), (Place::worker(WorkerId(1)), "0"));
    let unsigned = |number| Some(qnfsm::schema::Content::Unsigned(number));
    assert_eq!((recorded, found), (&unsigned(5), &unsigned(6)));
    // What the data were before nobody has recorded.
    assert!(by_output.may_have_begun_before);

    // A sum that only the host was told: the round, and that it is the same each time. It was another from an earlier round on.
    let (by_round, _) = difference::<2>(Recording::Inputs);
    assert_eq!((by_round.found_by, &by_round.hints[..]), (FoundBy::Round, &[Hint::Elsewhere][..]));
    assert!(
        by_round.step.is_none()
            && by_round.may_have_begun_before
            && by_round.agreed.is_some_and(|agreed| agreed + 1 == by_round.diverged.divergence.round)
    );

    // With everything recorded, the very message from which on the sums differ.
    let (by_delivery, order) = difference::<2>(Recording::Everything);
    assert_eq!((by_delivery.found_by, by_delivery.may_have_begun_before), (FoundBy::Deliveries, false));
    assert!(matches!(order, Order::Add(5)), "{order:?}");
    assert!(by_delivery.step.unwrap().parts.iter().any(|part| part.of == PartOf::Data));
}

#[test]
fn of_a_journal_that_replays_equal_nothing_differs() {
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path());
    assert!(open(dir.path(), 0).difference().unwrap().is_none());
}

#[test]
fn a_message_that_was_postponed_comes_from_where_it_entered() {
    let dir = tempfile::tempdir().unwrap();
    rig::door::recorded(dir.path());
    let mut session = Session::open(dir.path(), rig::door::kinds(), &Options::new()).unwrap();
    let mut numbers = vec![];
    // Three that were put off, of which two look alike, are handled at last; then one that wasn't.
    while session.find(Direction::Forward, |_, step| step.message.is_some() && step.end == End::Stayed).unwrap() {
        let causes = session.causes(5).unwrap();
        let [Cause { origin: Origin::Outside { number, .. }, .. }] = causes[..] else { panic!("{causes:?}") };
        numbers.push(number);
    }
    let first = numbers[0];
    assert_eq!(numbers, [first, first + 1, first + 2, first + 4]);
    session.go_to_start().unwrap();
    let mut put_off = vec![];
    while session.find(Direction::Forward, |_, step| step.end == End::Postponed).unwrap() {
        put_off.push(session.causes(5).unwrap()[0].origin);
    }
    assert!(
        matches!(put_off[..], [Origin::Outside { .. }, Origin::Outside { .. }, Origin::Outside { .. }]),
        "{put_off:?}"
    );
}

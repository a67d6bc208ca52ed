//! Edges that wait for the world: in a worker's loop and on threads of their own, under each idle strategy.

use std::{
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

use qnfsm::{
    EdgeId, EdgeSetup, Host, IdleStrategy, Inputs, Limits, NodeError, QueueId, RawQueueId, Reactor, RunOn, StartError,
    Wake,
    frame::{Class, Frame},
};

use crate::{
    files::Memory,
    probe::{self, Ball, PATIENCE, Tell, start},
    ring::{self, Root},
};

/// What a test and its reactor share.
#[derive(Default)]
pub(crate) struct World {
    woken: bool,
    /// For the next poll to put in, if it admits new work.
    news: Vec<(QueueId<Tell>, Tell)>,
    polls: u64,
    /// Looks without a wait since the last one with.
    looks: u64,
    /// It waits, and nothing has come.
    waits: bool,
    /// To be sent while the reactor looks for that time, as another thread might.
    sends_at: Option<(u64, Host, QueueId<Tell>, Tell)>,
    pub(crate) taken: u64,
    pub(crate) closed: bool,
    fails: bool,
}

/// A reactor that waits at a condition, as one of sockets waits in the operating system. Each wait ends by a wake or at
/// its timeout, and by nothing else.
#[derive(Clone, Default)]
pub(crate) struct Bell(Arc<(Mutex<World>, Condvar)>);

impl Bell {
    fn ring(&self, change: impl FnOnce(&mut World)) {
        let mut world = self.0.0.lock().unwrap();
        change(&mut world);
        world.woken = true;
        self.0.1.notify_all();
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.0.0.lock().unwrap())
    }

    /// Waits until that is so; the world stays so for as long as the guard is held.
    fn until(&self, what: impl Fn(&World) -> bool, or_else: &str) -> MutexGuard<'_, World> {
        let world = self.0.0.lock().unwrap();
        let (world, timeout) = self.0.1.wait_timeout_while(world, PATIENCE, |world| !what(world)).unwrap();
        if timeout.timed_out() {
            // Not while it is locked: the node that is dropped then needs it.
            drop(world);
            panic!("{or_else}");
        }
        world
    }
}

pub(crate) struct Belfry {
    bell: Bell,
    setup: Option<EdgeSetup>,
}

impl Belfry {
    pub(crate) fn new(bell: &Bell) -> Belfry {
        Belfry { bell: bell.clone(), setup: None }
    }

    fn queue(&self) -> RawQueueId {
        self.setup.as_ref().unwrap().queue(0, 1)
    }
}

impl Reactor for Belfry {
    fn open(&mut self, setup: &EdgeSetup) -> io::Result<()> {
        self.setup = Some(setup.clone());
        if self.bell.look(|world| world.fails) { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(()) }
    }

    fn take(&mut self, frame: &Frame<'_>, inputs: &mut Inputs) {
        assert_eq!(frame.header.class, Class::Message);
        let ball: Ball = qnfsm::Codec::CURRENT.decode(frame.payload, qnfsm::Trust::Node).unwrap();
        self.bell.0.0.lock().unwrap().taken += 1;
        self.bell.0.1.notify_all();
        inputs.message(QueueId::<Ball>::from_raw(frame.header.sender), self.queue(), &ball).unwrap();
    }

    fn poll(&mut self, timeout: Option<Duration>, inputs: &mut Inputs) -> io::Result<()> {
        let from = self.queue();
        let mut world = self.bell.0.0.lock().unwrap();
        world.looks = if timeout == Some(Duration::ZERO) { world.looks + 1 } else { 0 };
        if world.sends_at.as_ref().is_some_and(|sends| sends.0 == world.looks) {
            let (_, host, to, message) = world.sends_at.take().unwrap();
            drop(world);
            host.send(to, &message).unwrap();
            world = self.bell.0.0.lock().unwrap();
        }
        if !world.woken {
            world.waits = timeout != Some(Duration::ZERO);
            self.bell.0.1.notify_all();
            world = match timeout {
                Some(Duration::ZERO) => world,
                Some(timeout) => self.bell.0.1.wait_timeout(world, timeout).unwrap().0,
                None => self.bell.0.1.wait(world).unwrap(),
            };
        }
        world.woken = false;
        world.waits = false;
        world.polls += 1;
        if inputs.admits_new_work() {
            for (to, message) in world.news.drain(..) {
                inputs.message(to, from, &message).unwrap();
            }
        }
        if world.fails { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn waker(&self) -> Wake {
        let bell = self.bell.clone();
        Arc::new(move || bell.ring(|_| {}))
    }

    fn close(&mut self) {
        self.bell.0.0.lock().unwrap().closed = true;
    }
}

const PLACES: [RunOn; 2] = [RunOn::FirstWorker, RunOn::Thread];
const STRATEGIES: [IdleStrategy; 3] = [IdleStrategy::Park, IdleStrategy::Yield, IdleStrategy::Spin];

pub(crate) fn edge_queue(edge: EdgeId) -> QueueId<Ball> {
    QueueId::from_raw(qnfsm::frame::edge_queue(qnfsm::NodeId(0), edge))
}

#[test]
fn a_worker_that_waits_in_a_reactor_is_woken_by_another_each_time() {
    for idle in STRATEGIES {
        for in_loop in [true, false] {
            // One message goes to and fro between two workers, and each time the other is about to wait.
            let (root, bell) = (Root::new(2, 1, 200), Bell::default());
            let limits = Limits { idle, ..Limits::default() };
            let mut builder = ring::builder(Path::new("/ring"), Memory::default().storage(), limits);
            if in_loop {
                builder.reactor(RunOn::FirstWorker, Belfry::new(&bell));
            }
            let node = builder.start(&root).unwrap();
            ring::check_counters(&ring::settle(&node, root.expected()), &root);
            node.stop().unwrap();
            assert_eq!(bell.look(|world| world.closed), in_loop);
        }
    }
}

#[test]
fn what_comes_just_before_a_worker_waits_is_seen() {
    // At one of these looks the worker waits next: what is put in meanwhile wakes nobody, since nobody waits yet.
    for look in 1..=16 {
        let bell = Bell::default();
        let mut builder = probe::builder(Memory::default().storage());
        let edge = edge_queue(builder.reactor(RunOn::FirstWorker, Belfry::new(&bell)));
        let node = start(builder);
        probe::total(&node);
        let mut world = bell.until(|world| world.waits, "the worker never waits");
        world.sends_at = Some((look, node.host(), node.root(), Tell::Bounce { edge, left: 0 }));
        (world.woken, world.waits) = (true, false);
        bell.0.1.notify_all();
        drop(world);
        // Either it was sent and has come back, or the worker waits again before it has looked so often.
        let lost = format!("what came at look {look} is not seen");
        let mut world = bell.until(|world| world.taken == 1 || world.waits && world.sends_at.is_some(), &lost);
        // A stop makes it look again, and nothing is to be sent then.
        let was_sent = world.sends_at.take().is_none();
        drop(world);
        node.stop().unwrap();
        if !was_sent {
            assert!(look > 1, "the worker waits without a look");
            return;
        }
    }
    panic!("the worker never waits")
}

#[test]
fn a_worker_that_parks_looks_at_its_reactor_few_times_a_round() {
    let bell = Bell::default();
    let mut builder = probe::builder(Memory::default().storage());
    builder.reactor(RunOn::FirstWorker, Belfry::new(&bell));
    let node = start(builder);
    probe::total(&node);
    let before = bell.look(|world| world.polls);
    for _ in 0..100 {
        probe::total(&node);
    }
    let polls = bell.look(|world| world.polls) - before;
    node.stop().unwrap();
    // Before and after the round, and the wait; each a call of the system's.
    assert!(polls <= 4 * 100, "{polls} looks for 100 rounds");
}

#[test]
fn what_goes_to_a_reactor_and_back_arrives_wherever_it_runs() {
    for idle in STRATEGIES {
        for place in PLACES {
            let (disk, bell) = (Memory::default(), Bell::default());
            let mut builder = probe::builder(disk.storage()).limits(Limits { idle, ..probe::limits() });
            let edge = edge_queue(builder.reactor(place, Belfry::new(&bell)));
            let node = start(builder);
            node.host().send(node.root(), &Tell::Bounce { edge, left: 299 }).unwrap();
            let begun = std::time::Instant::now();
            while probe::total(&node) < 300 {
                assert!(begun.elapsed() < PATIENCE, "{place:?}, {idle:?}: {}", probe::total(&node));
            }
            assert!(node.stop().unwrap().drained);
            assert_eq!(bell.look(|world| (world.taken, world.closed)), (300, true));
            assert_eq!(probe::replayed(&disk.storage(), |probe| probe.total), 300);
        }
    }
}

#[test]
fn a_reactor_that_speaks_at_once_is_heard() {
    for place in PLACES {
        let disk = Memory::default();
        for start_number in 1..=5 {
            let bell = Bell::default();
            bell.ring(|world| world.news.push((probe::queue(0, 1), Tell::Add(1, vec![]))));
            let mut builder = probe::builder(disk.storage());
            builder.reactor(place, Belfry::new(&bell));
            let node = start(builder);
            let begun = std::time::Instant::now();
            while probe::total(&node) < start_number {
                assert!(begun.elapsed() < PATIENCE, "{place:?}: what it said first was lost");
            }
            node.stop().unwrap();
        }
    }
}

#[test]
fn over_the_budget_a_reactor_reads_nothing_and_then_makes_up_for_it() {
    for place in PLACES {
        let bell = Bell::default();
        let limits = Limits { budget_bytes: 10_000, ..probe::limits() };
        let mut builder = probe::builder(Memory::default().storage()).limits(limits);
        builder.reactor(place, Belfry::new(&bell));
        let node = start(builder);
        // An FSM on another worker holds up what fills the budget, so that worker 0 is idle.
        let there = probe::second_worker(&node);
        let gate = probe::gate(&node, there);
        while node.host().send(there, &Tell::Add(1, vec![0; 1000])).is_ok() {}
        let polls = |more| {
            let polls = bell.look(|world| world.polls);
            while bell.look(|world| world.polls) < polls + more {
                std::thread::yield_now();
            }
        };
        // The poll that was under way may still take what comes; the next ones know.
        bell.ring(|_| {});
        polls(2);
        bell.ring(|world| world.news.push((probe::queue(0, 1), Tell::Add(7, vec![]))));
        polls(3);
        assert_eq!(bell.look(|world| world.news.len()), 1, "{place:?}: it read over the budget");
        gate.open();
        // Nobody rings: the node looks again by itself.
        let begun = std::time::Instant::now();
        while bell.look(|world| world.news.len()) == 1 {
            assert!(begun.elapsed() < PATIENCE, "{place:?}: it never looked again");
            std::thread::yield_now();
        }
        while probe::total(&node) < 7 {
            assert!(begun.elapsed() < PATIENCE);
        }
        node.stop().unwrap();
    }
}

#[test]
fn several_reactors_in_one_loop_all_get_their_turn() {
    let bells = [Bell::default(), Bell::default(), Bell::default()];
    let mut builder = probe::builder(Memory::default().storage());
    for bell in &bells {
        builder.reactor(RunOn::FirstWorker, Belfry::new(bell));
    }
    let _node = start(builder);
    for (at, bell) in bells.iter().enumerate().rev() {
        // Nobody wakes the others while the first one waits.
        drop(bells[0].until(|world| world.waits, "the first one never waits"));
        bell.ring(|world| world.news.push((probe::queue(0, 1), Tell::Add(1, vec![]))));
        let begun = std::time::Instant::now();
        while bell.look(|world| world.news.len()) == 1 {
            assert!(begun.elapsed() < PATIENCE, "reactor {at} is never looked at");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_reactor_that_fails_stops_the_node_and_one_that_can_not_open_keeps_it_from_starting() {
    for place in PLACES {
        let (disk, bell, other) = (Memory::default(), Bell::default(), Bell::default());
        let mut builder = probe::builder(disk.storage());
        builder.reactor(place, Belfry::new(&bell));
        let node = start(builder);
        bell.ring(|world| world.fails = true);
        let error = node.wait().unwrap_err();
        assert!(matches!(error, NodeError::Edge { .. }), "{error:?}");
        // The one that is open already is let go of again.
        let mut builder = probe::builder(disk.storage());
        builder.reactor(place, Belfry::new(&other));
        builder.reactor(place, Belfry::new(&bell));
        let error = probe::refused(builder);
        assert!(matches!(error, StartError::Edge { .. }), "{error:?}");
        assert_eq!(Arc::strong_count(&other.0), 1, "{place:?}: a node that did not start holds on to its edges");
        bell.ring(|world| world.fails = false);
        let node = start(probe::builder(disk.storage()));
        node.stop().unwrap();
    }
}

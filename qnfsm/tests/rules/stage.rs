//! A driver for tests: one worker with puppets, fed by two edges, in virtual time.

use std::sync::{Arc, OnceLock};

use qnfsm::{
    Catalogue, Codec, EdgeId, Epoch, ExternalFault, Externals, NodeId, Place, QueueId, RawQueueId, RoundEnd, Time,
    Worker, WorkerConfig, WorkerId,
    frame::{Batch, Class, Header, edge_queue},
};

use crate::puppet::{Note, Order, Policy, Puppet, Q, Which, kinds};

pub(crate) const WORKER: WorkerId = WorkerId(3);
pub(crate) const EDGE: EdgeId = EdgeId(8);

/// The queue in a slot of the worker.
pub(crate) fn queue(slot: u32, generation: u32) -> Q {
    QueueId::from_raw(RawQueueId::new(NodeId(0), Place::worker(WORKER), slot, generation))
}

/// A queue at the edge.
pub(crate) fn outside() -> Q {
    QueueId::from_raw(edge_queue(NodeId(0), EDGE))
}

pub(crate) fn catalogue() -> Arc<Catalogue> {
    static CATALOGUE: OnceLock<Arc<Catalogue>> = OnceLock::new();
    CATALOGUE.get_or_init(|| kinds().seal().unwrap()).clone()
}

/// Answers each question with a multiple of it, and writes it down.
pub(crate) struct Ports {
    pub(crate) asked: Vec<u32>,
    pub(crate) factor: u32,
    pub(crate) fails: bool,
    /// The deliveries of which was heard before they came.
    pub(crate) announced: Vec<(u32, RawQueueId, String)>,
}

impl Default for Ports {
    fn default() -> Ports {
        Ports { asked: vec![], factor: 10, fails: false, announced: vec![] }
    }
}

impl Externals for Ports {
    fn read(&mut self, _: WorkerId, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        assert_eq!(port, "port");
        let question: u32 = Codec::CURRENT.decode(question, qnfsm::Trust::Node).unwrap();
        self.asked.push(question);
        if self.fails {
            return Err(ExternalFault("nobody answers".to_owned()));
        }
        let mut answer = Vec::new();
        Codec::CURRENT.encode(&question.wrapping_mul(self.factor), &mut answer).unwrap();
        Ok(answer)
    }

    fn delivers(&mut self, worker: WorkerId, delivery: u32, queue: RawQueueId, kind: &str) {
        assert_eq!(worker, WORKER);
        self.announced.push((delivery, queue, kind.to_owned()));
    }
}

/// A worker, its driver and what it put out.
pub(crate) struct Stage {
    pub(crate) worker: Worker,
    pub(crate) now: u64,
    pub(crate) bound: u32,
    pub(crate) ports: Ports,
    pub(crate) ends: Vec<RoundEnd>,
    pub(crate) out: Vec<(Place, Batch)>,
    batch: Batch,
}

/// A snapshot that is taken bit by bit, and what it has to be.
pub(crate) struct Slow {
    expected: Vec<u8>,
    bytes: Vec<u8>,
}

impl Slow {
    pub(crate) fn begun(worker: &mut Worker) -> Slow {
        let mut expected = Vec::new();
        worker.snapshot(&mut expected).unwrap();
        worker.begin_snapshot();
        Slow { expected, bytes: Vec::new() }
    }

    /// Takes more of it. True when it is whole, and what it has to be.
    pub(crate) fn goes_on(&mut self, worker: &mut Worker, bytes_min: usize) -> bool {
        let is_whole = worker.go_on_with_snapshot(bytes_min, &mut self.bytes).unwrap();
        assert_eq!(is_whole, worker.snapshot_progress().is_none());
        assert!(!is_whole || self.bytes == self.expected, "it is of another moment");
        is_whole
    }
}

/// The number of a kind.
pub(crate) fn kind_number(catalogue: &Catalogue, which: Which) -> u32 {
    let name = format!("{which:?}").to_lowercase();
    let at = catalogue.table().kinds.iter().position(|kind| kind.name == name).unwrap();
    u32::try_from(at).unwrap()
}

/// The frame of a spawn from outside.
pub(crate) fn push_spawn(batch: &mut Batch, catalogue: &Catalogue, which: Which, at_start: Vec<crate::puppet::Op>) {
    let mut payload = vec![0];
    Codec::CURRENT.encode(&Puppet::<()>::new(at_start), &mut payload).unwrap();
    let header = Header::to(Class::Spawn, kind_number(catalogue, which), queue(0, 0).raw(), outside().raw());
    batch.push(&header, &payload);
}

/// The frame of an order from outside.
pub(crate) fn push_order(batch: &mut Batch, catalogue: &Catalogue, to: Q, order: &Order) {
    let mut payload = Vec::new();
    Codec::CURRENT.encode(order, &mut payload).unwrap();
    let number = catalogue.type_number::<Order>().unwrap();
    batch.push(&Header::message(number, to.raw(), outside().raw()), &payload);
}

impl Stage {
    /// A worker with these FSMs in slots 0, 1, …, all started.
    pub(crate) fn with(fsms: &[Which]) -> Stage {
        Stage::configured(WorkerConfig { seed: 7, ..WorkerConfig::default() }, fsms)
    }

    pub(crate) fn configured(config: WorkerConfig, fsms: &[Which]) -> Stage {
        Stage::of(Worker::new(catalogue(), NodeId(0), WORKER, Epoch::FIRST, config), 1).starting(fsms)
    }

    /// A driver of a worker that has taken the edge's frames before `first`.
    pub(crate) fn of(worker: Worker, first: u64) -> Stage {
        let now = worker.now().as_nanos().max(1000);
        let batch = Batch::new(Place::edge(EDGE), Epoch::FIRST, first);
        Stage { worker, now, bound: 1000, ports: Ports::default(), ends: vec![], out: vec![], batch }
    }

    fn starting(mut self, fsms: &[Which]) -> Stage {
        for which in fsms {
            let catalogue = self.worker.catalogue().clone();
            push_spawn(&mut self.batch, &catalogue, *which, vec![]);
        }
        self.run();
        self
    }

    /// Adds an order to the next batch.
    pub(crate) fn put(&mut self, to: Q, order: Order) -> &mut Stage {
        let catalogue = self.worker.catalogue().clone();
        push_order(&mut self.batch, &catalogue, to, &order);
        self
    }

    /// Adds any frame to the next batch.
    pub(crate) fn put_frame(&mut self, header: &Header, payload: &[u8]) -> &mut Stage {
        self.batch.push(header, payload);
        self
    }

    /// Adds the orders and runs until nothing is left to do.
    pub(crate) fn tell(&mut self, to: Q, order: Order) -> &mut Stage {
        self.put(to, order).run()
    }

    /// Runs one round with what was put in.
    pub(crate) fn round(&mut self) -> RoundEnd {
        let next = self.batch.as_ref().next_number();
        let batch = std::mem::replace(&mut self.batch, Batch::new(Place::edge(EDGE), Epoch::FIRST, next));
        let batch = Some(batch.as_ref()).filter(|batch| batch.count > 0);
        // Whatever the round does, a snapshot that is taken meanwhile is of what was so before.
        let mut slow = Slow::begun(&mut self.worker);
        self.worker.feed(Time::from_nanos(self.now), batch);
        let end = self.worker.round(self.bound, &mut self.ports);
        self.worker.drain_outputs(|place, batch| self.out.push((place, batch.clone())));
        while end.fault.is_none() && !slow.goes_on(&mut self.worker, 1000) {}
        self.ends.push(end.clone());
        end
    }

    /// Runs rounds until nothing is left to do or the worker can't go on.
    pub(crate) fn run(&mut self) -> &mut Stage {
        for _ in 0..10_000 {
            let end = self.round();
            if end.idle || end.fault.is_some() {
                return self;
            }
        }
        panic!("the worker is never idle");
    }

    /// Moves the clock and runs.
    pub(crate) fn at(&mut self, now: u64) -> &mut Stage {
        self.now = now;
        self.run()
    }

    pub(crate) fn image(&self) -> Vec<u8> {
        let mut image = Vec::new();
        self.worker.snapshot(&mut image).unwrap();
        image
    }

    /// Goes on with the worker that the snapshot makes.
    pub(crate) fn restored(&self) -> Stage {
        let worker = Worker::restore(self.worker.catalogue().clone(), &self.image()).unwrap();
        assert_eq!(worker.waiting_bytes(), self.worker.waiting_bytes(), "what waits weighs as much as before");
        let mut stage = Stage::of(worker, self.batch.as_ref().first);
        stage.bound = self.bound;
        stage.now = self.now;
        stage
    }

    pub(crate) fn puppet<P: Policy>(&self, queue: Q) -> &Puppet<P> {
        self.worker.fsm::<Puppet<P>>(queue).expect("the test says which FSM it looks at").0
    }

    /// The labels that the plain FSM in a slot was given.
    pub(crate) fn labels(&self, slot: u32) -> Vec<u32> {
        self.puppet::<crate::puppet::Plain>(queue(slot, 1)).labels()
    }

    /// What the plain FSM in a slot was given, but the entering of its first state.
    pub(crate) fn notes(&self, slot: u32) -> Vec<Note> {
        let notes = &self.puppet::<crate::puppet::Plain>(queue(slot, 1)).notes;
        notes.iter().filter(|note| **note != Note::Entered(None, 0)).cloned().collect()
    }

    pub(crate) fn dead(&self, why: qnfsm::Undelivered) -> u64 {
        self.worker.counters().dead_letters.get(&why).copied().unwrap_or_default()
    }

    /// The orders that were put out to the edge, by label.
    pub(crate) fn sent_out(&self) -> Vec<u32> {
        let mut labels = vec![];
        let orders = self.worker.catalogue().type_number::<Order>().unwrap();
        for (_, batch) in &self.out {
            for frame in batch.as_ref().frames() {
                let frame = frame.unwrap();
                if frame.header.class == Class::Message && frame.header.type_number == orders {
                    match Codec::CURRENT.decode(frame.payload, qnfsm::Trust::Node).unwrap() {
                        Order::Do { label, .. } | Order::Ask { label, .. } => labels.push(label),
                        _ => {}
                    }
                }
            }
        }
        labels
    }
}

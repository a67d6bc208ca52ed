//! One run of a case, and all that is claimed of it. Each delivery is a round of its own, so that the worker can be looked at between
//! any two of them; beside each round runs a restored twin, and behind the last one a worker that is given the same from
//! the beginning.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    claim::Claim,
    input::{Case, Entry, Input, Payload},
};
use crate::{
    Catalogue, Checker, Deliveries, Delivery, EncodedFsm, Fault, Handler, Invariants, Place, RawQueueId, RequestId,
    Time, Worker, WorkerConfig,
    frame::{Batch, Class},
    playback::Hush,
    testing::{
        setup::Ports,
        stage::{NODE, Stage, WORKER, first_queue, world},
        twin::{self, Player, Recorder, Told, TwinRound, twin_round},
    },
};

/// Rounds after which one input is taken to go on for ever.
const ROUNDS_MAX: u32 = 2000;
/// So many timers fire one after another while time passes; what is due then fires at once.
const MOMENTS_MAX: u32 = 64;

/// What all cases of a property have in common.
pub(super) struct Scene {
    pub(super) catalogue: Arc<Catalogue>,
    /// The number of the kind under test.
    pub(super) kind: u32,
    pub(super) config: WorkerConfig,
    pub(super) begins: Time,
    pub(super) invariants: Arc<Invariants>,
    pub(super) ports: Vec<AddPort>,
    pub(super) flaw_of_message: FlawOf,
    /// The numbers of the types of answers that are drawn.
    pub(super) answers: Vec<(u32, FlawOf)>,
}

/// Adds a stand-in for an external port.
pub(super) type AddPort = Box<dyn Fn(&mut Ports)>;

/// Tries the bytes of a type's values on the codec.
pub(super) type FlawOf = fn(&[u8]) -> Option<String>;

/// What a run did, for who tells of it.
#[derive(Default)]
pub(super) struct Course {
    /// The start, and then one for each input that was put in.
    pub(super) steps: Vec<Step>,
    pub(super) rounds: Vec<Round>,
    pub(super) fault: Option<Fault>,
    pub(super) failure: Option<Failure>,
}

/// An input and what came of it.
pub(super) struct Step {
    /// None for the start.
    pub(super) entry: Option<Entry>,
    /// The queue that it was about, if it was about one of several.
    pub(super) aimed: Option<RawQueueId>,
    pub(super) moves: Vec<Move>,
}

/// One delivery: a message that was handled, or a start.
pub(super) struct Move {
    pub(super) delivery: Delivery,
    pub(super) before: Option<EncodedFsm>,
    /// None if it is gone.
    pub(super) after: Option<EncodedFsm>,
}

/// A round as a journal has it.
pub(super) struct Round {
    pub(super) bound: u32,
    pub(super) now: Time,
    pub(super) batches: Vec<Batch>,
    pub(super) told: Vec<Told>,
    pub(super) deliveries: Vec<u8>,
    /// None if it did not end as it should.
    pub(super) digest: Option<u64>,
}

/// What doesn't hold, and in which words.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) claim: Claim,
    pub(super) what: String,
}

impl Failure {
    fn new(claim: Claim, what: impl Into<String>) -> Failure {
        Failure { claim, what: what.into() }
    }
}

/// A run under way.
struct Run<'a> {
    scene: &'a Scene,
    stage: Stage,
    ports: Ports,
    checker: Checker,
    /// Requests that FSMs made elsewhere.
    asked: Vec<(RawQueueId, RequestId)>,
    course: Course,
}

/// Runs a case to its end, or up to where something doesn't hold.
pub(super) fn run(scene: &Scene, case: &Case) -> Course {
    let stage = Stage::new(scene.catalogue.clone(), scene.config, scene.begins);
    let mut ports = Ports::default();
    scene.ports.iter().for_each(|add| add(&mut ports));
    let checker = Checker::new(scene.invariants.clone());
    let mut run = Run { scene, stage, ports, checker, asked: Vec::new(), course: Course::default() };
    let _hush = Hush::new();
    let ended = run.drive(case).and_then(|()| run.again());
    run.course.failure = ended.err();
    run.course
}

impl Run<'_> {
    fn drive(&mut self, case: &Case) -> Result<(), Failure> {
        self.stage.spawn(self.scene.kind, &case.start);
        self.course.steps.push(Step { entry: None, aimed: None, moves: Vec::new() });
        // In a round of no messages the FSM comes in and doesn't start yet, so that it can be looked at before it does.
        let batches = self.stage.take_batches();
        self.round(0, batches)?;
        if self.stage.worker.kind_name(first_queue()) == "unknown kind" {
            let what = "the start value can't be decoded again, or what comes back can't be encoded";
            return Err(Failure::new(Claim::SurvivesTheCodec, what));
        }
        self.settle()?;
        for entry in &case.inputs {
            self.step(entry)?;
        }
        self.settle()?;
        // Also the worker at the end can be restored.
        self.round(1, Vec::new()).map(|_| ())
    }

    /// Puts an input in, and runs until the worker is at rest, unless the next one is to come at once.
    fn step(&mut self, entry: &Entry) -> Result<(), Failure> {
        if let Input::Pass { .. } = entry.input {
            // What came before has its time.
            self.settle()?;
        }
        self.course.steps.push(Step { entry: Some(entry.clone()), aimed: None, moves: Vec::new() });
        let (aimed, flaw) = self.put(&entry.input);
        self.course.steps.last_mut().expect("it was just pushed").aimed = aimed;
        let settled = match entry.input {
            Input::Pass { ns, at_once } => self.pass(Duration::from_nanos(ns), at_once),
            _ if entry.with_next && flaw.is_none() => Ok(()),
            _ => self.settle(),
        };
        // A message that isn't what it was is the reason of whatever else comes of it.
        flaw.map_or(settled, |flaw| Err(Failure::new(Claim::SurvivesTheCodec, flaw)))
    }

    /// Puts an input in. Says which queue it is about, and in what a message doesn't survive the codec.
    fn put(&mut self, input: &Input) -> (Option<RawQueueId>, Option<String>) {
        let flaw = |payload: &Payload, try_bytes: FlawOf| payload.flaw.clone().or_else(|| try_bytes(&payload.bytes));
        match input {
            Input::Tell(payload) => {
                let worker = &self.stage.worker;
                let message = worker.catalogue().table().kinds[self.scene.kind as usize].message;
                self.stage.tell(first_queue(), world(), message, &payload.bytes);
                (None, flaw(payload, self.scene.flaw_of_message))
            }
            Input::Pass { .. } => (None, None),
            Input::Answer { which, of, answer } => {
                let Some((number, try_bytes)) = self.scene.answers.get(*of as usize) else { return (None, None) };
                let asked = self.take_asked(*which, Some(*number));
                if let Some((queue, request)) = asked {
                    self.stage.answer(queue, request, *number, &answer.bytes);
                }
                (asked.map(|(queue, _)| queue), flaw(answer, *try_bytes))
            }
            Input::NoAnswer { which, why } => {
                let asked = self.take_asked(*which, None);
                if let Some((queue, request)) = asked {
                    self.stage.fail(queue, request, *why);
                }
                (asked.map(|(queue, _)| queue), None)
            }
            Input::Down { which, reason } => {
                let watched: BTreeSet<_> = self.stage.worker.watches_elsewhere().map(|(watched, _)| watched).collect();
                let queue = watched.iter().nth(*which as usize % watched.len().max(1)).copied();
                if let Some(queue) = queue {
                    self.stage.down(queue, reason);
                }
                (queue, None)
            }
        }
    }

    /// Takes one of the requests that wait, for an answer of that type if one is given.
    fn take_asked(&mut self, which: u32, answer: Option<u32>) -> Option<(RawQueueId, RequestId)> {
        let worker = &self.stage.worker;
        self.asked.retain(|(queue, request)| worker.awaits(*queue, *request));
        let fits = |(queue, request)| answer.is_none_or(|number| worker.awaited(queue, request) == Some(number));
        let fitting: Vec<_> = self.asked.iter().copied().filter(|asked| fits(*asked)).collect();
        let taken = *fitting.get(which as usize % fitting.len().max(1))?;
        self.asked.retain(|asked| *asked != taken);
        Some(taken)
    }

    /// Lets time pass, timer by timer or at once.
    fn pass(&mut self, by: Duration, at_once: bool) -> Result<(), Failure> {
        let until = self.stage.now.after(by);
        for _ in 0..if at_once { 0 } else { MOMENTS_MAX } {
            let Some(due) = self.stage.worker.next_timer().filter(|due| *due <= until) else { break };
            self.stage.now = self.stage.now.max(due);
            self.settle()?;
        }
        self.stage.now = until;
        self.settle()
    }

    /// Runs rounds of one message until the worker is at rest; the first takes what was put in.
    fn settle(&mut self) -> Result<(), Failure> {
        let mut batches = self.stage.take_batches();
        for _ in 0..ROUNDS_MAX {
            if self.round(1, std::mem::take(&mut batches))? {
                return Ok(());
            }
        }
        let what = format!("after {ROUNDS_MAX} messages it still isn't: FSMs send messages without end");
        Err(Failure::new(Claim::ComesToRest, what))
    }

    /// Runs a round beside its twin, and checks what holds after it; true if the worker is at rest.
    fn round(&mut self, bound: u32, batches: Vec<Batch>) -> Result<bool, Failure> {
        let now = self.stage.now;
        let worker = &mut self.stage.worker;
        let before = all_fsms(worker);
        self.checker.before_round(worker);
        let rounds = worker.rounds();
        let mut recorder = Recorder { inner: &mut self.ports, told: Vec::new() };
        let ran = twin_round(worker, now, &batches, bound, &mut recorder);
        let told = recorder.told;
        let worker = &self.stage.worker;
        let has_run = worker.rounds() > rounds;
        if has_run {
            let digest = ran.as_ref().ok().filter(|ran| ran.end.fault.is_none()).map(|ran| ran.end.digest);
            // A round that ends in a fault has no deliveries on record, as with a node.
            let has_ended = ran.as_ref().map_or(true, |ran| ran.end.fault.is_none());
            let deliveries = if has_ended { worker.deliveries().to_vec() } else { Vec::new() };
            self.course.rounds.push(Round { bound, now, batches, told, deliveries, digest });
        }
        let moved = if has_run { self.note_moves(before) } else { None };
        let TwinRound { end, outputs } =
            ran.map_err(|apart| Failure::new(Claim::IsDeterministic, apart.to_string()))?;
        if let Some(fault) = end.fault {
            let failure = Failure::new(Claim::GoesOn, fault.to_string());
            self.course.fault = Some(fault);
            return Err(failure);
        }
        self.note_requests(&outputs);
        let worker = &self.stage.worker;
        let checked = match moved {
            Some((queue, message)) => self.checker.after(worker, queue, message.as_deref()),
            None => Ok(()),
        };
        let checked = checked.and_then(|()| self.checker.between_rounds(worker));
        checked.map_err(|found| Failure::new(Claim::Invariant(found.invariant.clone()), found.to_string()))?;
        Ok(end.idle)
    }

    /// Notes what the round delivered. Says whose turn it was, and what it was told if it didn't start.
    fn note_moves(&mut self, mut before: BTreeMap<RawQueueId, EncodedFsm>) -> Option<(RawQueueId, Option<Vec<u8>>)> {
        let worker = &self.stage.worker;
        // Of a round of one message that is a handler, and the enter action that may follow.
        let delivery = Deliveries::new(worker.deliveries()).next()?.expect("a worker can read its own deliveries");
        let (queue, handled) = (delivery.queue, delivery.handler == Handler::Handle);
        let told = handled.then(|| delivery.payload.clone());
        let after = worker.encoded_fsm(queue).ok().flatten();
        let step = self.course.steps.last_mut().expect("a round belongs to a step");
        step.moves.push(Move { delivery, before: before.remove(&queue), after });
        Some((queue, told))
    }

    /// Notes the requests that were made elsewhere.
    fn note_requests(&mut self, outputs: &[(Place, Batch)]) {
        for frame in outputs.iter().flat_map(|(_, batch)| batch.as_ref().frames()) {
            let header = frame.expect("a worker puts out whole frames").header;
            // Answers that leave name a request as well, and it isn't one of an FSM here.
            if let (Class::Message | Class::Spawn, Some(request)) = (header.class, header.request) {
                self.asked.push((header.sender, request));
            }
        }
    }

    /// Gives the same to a worker from the beginning, which must do the same.
    fn again(&self) -> Result<(), Failure> {
        let Scene { catalogue, config, .. } = self.scene;
        let mut worker = Stage::new(catalogue.clone(), *config, self.scene.begins).worker;
        for round in &self.course.rounds {
            let mut player = Player { who: "it", told: round.told.iter(), differs: None };
            let (end, _) = twin::run(&mut worker, round.now, &round.batches, round.bound, &mut player);
            if round.digest == Some(end.digest) && end.fault.is_none() {
                continue;
            }
            let parts = twin::first_difference(catalogue, &round.deliveries, worker.deliveries());
            let parts = player.differs.or(parts).unwrap_or_else(|| "what it put out differs".to_owned());
            let what = format!(
                "round {}: a worker that was given the same inputs from the beginning did something else: {parts}",
                end.round
            );
            return Err(Failure::new(Claim::IsDeterministic, what));
        }
        Ok(())
    }
}

/// All FSMs as they are. What can't be encoded is missing; it ends the run when the worker is snapshot.
fn all_fsms(worker: &Worker) -> BTreeMap<RawQueueId, EncodedFsm> {
    let fsms = worker.queues().filter_map(|queue| Some((queue, worker.encoded_fsm(queue).ok().flatten()?)));
    fsms.collect()
}

impl Course {
    /// Which worker a journal says this was, and of which node.
    pub(super) const PLACE: (crate::NodeId, crate::WorkerId) = (NODE, WORKER);
}

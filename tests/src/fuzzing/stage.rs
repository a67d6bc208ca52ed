//! A worker with the zoo's kinds, driven by a fuzzer's bytes, with a restored twin at its side now and then.

use qnfsm::{
    Admission, Codec, EdgeId, Epoch, ExternalFault, Externals, FaultKind, NodeId, Place, Recording, RoundEnd, Time,
    Trust, Worker, WorkerConfig, WorkerId,
    frame::{Batch, BatchRef, Frames},
    journal::Reached,
    playback::LastRound,
};

use super::{script::Script, zoo};

/// The worker's number.
pub const WORKER: WorkerId = WorkerId(3);

/// The most rounds of one input.
const ROUNDS_MAX: usize = 32;

/// The most messages of a round.
const BOUND_MAX: u32 = 100;

/// The most FSMs in a worker.
const FSMS_MAX: u32 = 200;

/// Bits of the first byte of a round.
const SOURCE: u8 = 0x03;
const CLAIMS_A_COUNT: u8 = 0x04;
const NEW_EPOCH: u8 = 0x08;
const TWIN: u8 = 0x10;
const TWO_BATCHES: u8 = 0x20;
const PORT_FAILS: u8 = 0x40;

/// A port whose answers follow from the questions.
#[derive(Debug, Default)]
pub struct Ports {
    /// The port can't answer.
    pub fails: bool,
}

impl Externals for Ports {
    fn read(&mut self, _: WorkerId, _: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        match Codec::CURRENT.decode::<u32>(question, Trust::Node) {
            Ok(number) if !self.fails => {
                let mut answer = Vec::new();
                Codec::CURRENT.encode(&number.wrapping_mul(10), &mut answer).expect("a number can be encoded");
                Ok(answer)
            }
            _ => Err(ExternalFault("nobody answers".to_owned())),
        }
    }
}

impl LastRound for Ports {
    fn comes_to(&mut self, _: WorkerId, _: Reached, _: &str) {}
    fn parts(&mut self, _: WorkerId, _: Reached, _: Vec<String>) {}
}

/// A worker without FSMs. Bits of `how` choose what shapes it.
#[must_use]
pub fn empty_worker(how: u8) -> Worker {
    let recording = if how & 1 == 0 { Recording::Inputs } else { Recording::Everything };
    let turn_messages = if how & 2 == 0 { 32 } else { 1 };
    let config = WorkerConfig { seed: u64::from(how), recording, turn_messages, fsms_max: FSMS_MAX };
    Worker::new(zoo::catalogue(), NodeId(0), WORKER, Epoch::FIRST, config)
}

/// The source that a byte names: an edge, another edge, another worker, or the worker itself.
#[must_use]
pub fn source(byte: u8) -> Place {
    match byte & SOURCE {
        0 => Place::edge(EdgeId::HOST),
        1 => Place::edge(EdgeId::FIRST_OF_USER),
        2 => Place::worker(WorkerId(0)),
        _ => Place::worker(WORKER),
    }
}

/// How many frames the bytes begin with.
#[must_use]
pub fn frames_in(bytes: &[u8]) -> u32 {
    let all = BatchRef { source: source(0), epoch: Epoch::FIRST, first: 1, count: u32::MAX, bytes };
    u32::try_from(all.frames().take_while(Result::is_ok).count()).expect("an input has fewer frames than 2^32")
}

/// True if the batch is the frames that it says it is.
#[must_use]
pub fn is_sound(batch: BatchRef<'_>) -> bool {
    let mut frames: Frames<'_> = batch.frames();
    frames.all(|frame| frame.is_ok())
}

/// A batch of a round, if there is one, as the worker would take it from a source that numbers right.
fn batch<'a>(worker: &Worker, how: u8, script: &mut Script<'a>) -> Option<BatchRef<'a>> {
    let source = source(how);
    let claimed = if how & CLAIMS_A_COUNT == 0 { None } else { Some(u32::from(script.byte()).max(1)) };
    let epoch = Epoch(if how & NEW_EPOCH == 0 { 1 } else { 2 + u32::from(script.byte()) });
    let bytes = script.part();
    if bytes.is_empty() && claimed.is_none() {
        return None;
    }
    let count = claimed.unwrap_or_else(|| frames_in(bytes).max(1));
    let batch = BatchRef { source, epoch, first: worker.expected(source, epoch), count, bytes };
    (worker.admission(&[], &batch) == Admission::Take { skip: 0 }).then_some(batch)
}

fn later(worker: &Worker, step: u8) -> Time {
    let step_ns = match step {
        0..128 => u64::from(step) * 50,
        128..192 => u64::from(step) << 20,
        _ => 1 << (step % 64),
    };
    Time::from_nanos(worker.now().as_nanos().saturating_add(step_ns))
}

/// Runs rounds as the script says, until it ends or the worker can't go on. What must hold after each is checked.
///
/// # Panics
/// When something doesn't hold.
pub fn run(worker: &mut Worker, script: &mut Script<'_>) {
    let mut slow = Slow::begun(worker);
    for _ in 0..ROUNDS_MAX {
        if script.is_empty() {
            break;
        }
        let how = script.byte();
        let (bound, step) = (u32::from(script.byte()).min(BOUND_MAX), script.byte());
        let mut twin = (how & TWIN != 0).then(|| restored(worker));
        let mut batches = Vec::from_iter(batch(worker, how, script));
        if how & TWO_BATCHES != 0 {
            // Of another source than the first.
            batches.extend(batch(worker, how ^ 1, script));
        }
        let now = later(worker, step);
        let mut ports = Ports { fails: how & PORT_FAILS != 0 };
        let end = round(worker, now, &batches, bound, &mut ports);
        if let Some(twin) = &mut twin {
            assert_eq!(round(twin, now, &batches, bound, &mut ports), end, "a restored worker did something else");
            assert!(end.fault.is_some() || image(twin) == image(worker), "a restored worker became another one");
        }
        let sound = batches.iter().all(|batch| is_sound(*batch));
        assert!(sound || end.fault.is_some(), "bytes that are no frames went in unnoticed");
        match end.fault {
            None if slow.goes_on(worker) => slow = Slow::begun(worker),
            None => {}
            Some(fault) => {
                assert!(!sound || !matches!(fault.what, FaultKind::BadBatch { .. }), "sound frames were refused");
                return;
            }
        }
    }
    while !slow.goes_on(worker) {}
    let again = restored(worker);
    assert_eq!(image(&again), image(worker), "a restored worker is another one");
}

/// A snapshot that is taken one FSM at a time, a round between two of them.
struct Slow {
    expected: Vec<u8>,
    image: Vec<u8>,
}

impl Slow {
    fn begun(worker: &mut Worker) -> Slow {
        worker.begin_snapshot();
        Slow { expected: image(worker), image: Vec::new() }
    }

    /// Takes one FSM more. True when it is whole.
    fn goes_on(&mut self, worker: &mut Worker) -> bool {
        let is_whole = worker.go_on_with_snapshot(0, &mut self.image).expect("a worker that ran can be written");
        assert!(!is_whole || self.image == self.expected, "a snapshot that was taken bit by bit is of another moment");
        is_whole
    }
}

/// One round, with its outputs drained and looked through.
fn round(
    worker: &mut Worker,
    now: Time,
    batches: &[BatchRef<'_>],
    bound: u32,
    externals: &mut dyn Externals,
) -> RoundEnd {
    worker.feed(now, batches.iter().copied());
    let end = worker.round(bound, externals);
    assert!(end.handled <= bound, "more messages were handled than the bound allows");
    worker.drain_outputs(|_, batch: &mut Batch| {
        assert!(is_sound(batch.as_ref()), "what a worker puts out is no batch");
    });
    for delivery in qnfsm::Deliveries::new(worker.deliveries()) {
        delivery.expect("what a worker records of its deliveries can be read");
    }
    end
}

fn image(worker: &Worker) -> Vec<u8> {
    let mut image = Vec::new();
    worker.snapshot(&mut image).expect("a worker that ran can be written");
    image
}

fn restored(worker: &Worker) -> Worker {
    Worker::restore(worker.catalogue().clone(), &image(worker)).expect("what was written is a worker")
}

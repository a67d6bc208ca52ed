//! Feeds recorded rounds to workers and compares what they do with what was recorded. Recovery, replay and a standby
//! all go through here; none of them has another way.
//!
//! A round runs only when the next record of its worker, or the journal's end, shows that all the external values which
//! it was given have been read. Where the journal ends in the middle of a round, who drives decides where further
//! values come from: [`Playback::finish`].

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use crate::{
    codec::{Codec, Trust},
    digest::Digest,
    frame::{Batch, BatchRef},
    fsm::{ExternalFault, Externals, Handler},
    id::{Epoch, NodeId, Place, RawQueueId, RequestId, WorkerId},
    journal::{Batches, Record},
    time::Time,
    worker::{Admission, Catalogue, Deliveries, Delivery, Fault, RoundEnd, Worker, WorkerConfig},
};

/// A replay that does not do what was recorded: where, what was expected, and what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The worker.
    pub worker: WorkerId,
    /// The round.
    pub round: u64,
    /// The FSM and the message, where everything was recorded.
    pub delivery: Option<String>,
    /// What was recorded.
    pub expected: String,
    /// What this run did.
    pub found: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} does not do in round {} what was recorded", self.worker, self.round)?;
        if let Some(delivery) = &self.delivery {
            write!(f, "\n  at:       {delivery}")?;
        }
        write!(f, "\n  expected: {}\n  found:    {}", self.expected, self.found)
    }
}

impl std::error::Error for Divergence {}

/// Why a playback can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaybackError {
    /// The program doesn't do what was recorded.
    #[error("{0}")]
    Diverged(Box<Divergence>),
    /// The records contradict one another, though each is whole.
    #[error("the journal contradicts itself at {worker} round {round}: {what}")]
    Contradiction {
        /// The worker.
        worker: WorkerId,
        /// The round.
        round: u64,
        /// What doesn't fit.
        what: String,
    },
}

/// Who hears what workers put out while they are played back.
pub trait Audience {
    /// A worker put out these frames.
    fn output(&mut self, worker: WorkerId, to: Place, batch: &BatchRef<'_>);

    /// A worker has run a round that took these batches.
    fn round(&mut self, worker: &Worker, taken: &[BatchRef<'_>]);
}

/// Nobody listens.
impl Audience for () {
    fn output(&mut self, _: WorkerId, _: Place, _: &BatchRef<'_>) {}
    fn round(&mut self, _: &Worker, _: &[BatchRef<'_>]) {}
}

/// A round that was read and has yet to run. Kept from round to round for its buffers.
#[derive(Debug, Default)]
struct Pending {
    waits: bool,
    bound: u32,
    now: Time,
    batches: Vec<Batch>,
    batches_used: usize,
    externals: VecDeque<(String, Vec<u8>)>,
    deliveries: Option<Vec<u8>>,
}

impl Pending {
    fn set(&mut self, bound: u32, now: Time, batches: Batches<'_>) {
        self.waits = true;
        self.bound = bound;
        self.now = now;
        self.batches_used = 0;
        self.externals.clear();
        self.deliveries = None;
        for batch in batches {
            match self.batches.get_mut(self.batches_used) {
                Some(used) => used.copy_from(batch),
                None => self.batches.push(batch.to_batch()),
            }
            self.batches_used += 1;
        }
    }

    fn batches(&self) -> Vec<BatchRef<'_>> {
        self.batches[..self.batches_used].iter().map(Batch::as_ref).collect()
    }
}

/// One worker that is played back.
struct Replica {
    worker: Worker,
    pending: Pending,
    /// The digest of the last round that ran, and whether a record has borne it out.
    digest: Option<u64>,
    proved: bool,
    all_digests: Digest,
    ended: Option<Fault>,
    stopped: bool,
}

/// External values as they were recorded; then from whoever drives, if anyone.
struct Recorded<'a, 'b> {
    recorded: &'a mut VecDeque<(String, Vec<u8>)>,
    live: Option<&'b mut dyn Externals>,
    differed: Option<(String, String)>,
}

impl Externals for Recorded<'_, '_> {
    fn read(&mut self, worker: WorkerId, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        match (self.recorded.pop_front(), &mut self.live) {
            (Some((recorded, answer)), _) if recorded == port => Ok(answer),
            (Some((recorded, _)), _) => {
                let texts = (format!("a value read through port {recorded}"), format!("one read through port {port}"));
                self.differed = Some(texts);
                Err(ExternalFault(format!("port {port} was asked where port {recorded} had been")))
            }
            (None, Some(live)) => live.read(worker, port, question),
            (None, None) => Err(ExternalFault(format!("the record ends before the answer of port {port}"))),
        }
    }
}

/// How far a playback has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rounds that ran.
    pub rounds: u64,
    /// Of these, rounds whose digest no record bears out: at most the last one of each worker.
    pub rounds_unproved: u64,
    /// Messages that handlers were given.
    pub messages: u64,
    /// Workers that were played back.
    pub workers: u32,
}

/// Plays recorded rounds back. See the [module's head](self).
pub struct Playback {
    catalogue: Arc<Catalogue>,
    node: NodeId,
    replicas: BTreeMap<WorkerId, Replica>,
    /// Which request each worker was started for.
    started_for: BTreeMap<(RawQueueId, RequestId), WorkerId>,
    rounds: u64,
    check_images: bool,
    traced: bool,
}

impl Playback {
    /// A playback of the node of that number from its journal's start.
    #[must_use]
    pub fn new(catalogue: Arc<Catalogue>, node: NodeId) -> Playback {
        Playback {
            catalogue,
            node,
            replicas: BTreeMap::new(),
            started_for: BTreeMap::new(),
            rounds: 0,
            check_images: false,
            traced: false,
        }
    }

    /// Also snapshots workers where the record says that they were, and compares the images: that finds a difference in
    /// data that has yet to show in what a worker does.
    #[must_use]
    pub fn checking_images(mut self) -> Playback {
        self.check_images = true;
        self
    }

    /// Lets through what workers and FSMs trace, in a span that says `replaying`. Without this a playback is silent: it
    /// was all said when it happened.
    #[must_use]
    pub fn traced(mut self) -> Playback {
        self.traced = true;
        self
    }

    /// What holds for traces until it is dropped.
    fn tracing(&self) -> (Option<tracing::subscriber::DefaultGuard>, Option<tracing::span::EnteredSpan>) {
        if self.traced {
            (None, Some(tracing::info_span!("playback", node = self.node.0, replaying = true).entered()))
        } else {
            (Some(tracing::dispatcher::set_default(&tracing::Dispatch::none())), None)
        }
    }

    /// Goes on from a worker's snapshot: its rounds up to there are passed over. `digest` is that of its last round.
    pub fn resume(&mut self, worker: Worker, digest: u64) {
        let id = worker.id();
        let replica = Replica { digest: Some(digest), ..Replica::new(worker) };
        self.replicas.insert(id, replica);
    }

    /// The workers, in the order of their numbers, that haven't stopped for good.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.replicas.values().filter(|replica| !replica.stopped).map(|replica| &replica.worker)
    }

    /// The latest time that any worker was told, or will be in the round that was read last.
    #[must_use]
    pub fn latest(&self) -> Time {
        let told = |replica: &Replica| {
            if replica.pending.waits { replica.pending.now } else { replica.worker.now() }
        };
        self.replicas.values().map(told).max().unwrap_or_default()
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut progress = Progress { rounds: self.rounds, ..Progress::default() };
        for replica in self.replicas.values() {
            progress.workers += 1;
            progress.messages += replica.worker.counters().handled;
            progress.rounds_unproved += u64::from(replica.digest.is_some() && !replica.proved);
        }
        progress
    }

    /// All rounds' digests of all workers, in one number.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut digest = Digest::new();
        for (worker, replica) in &self.replicas {
            digest.mix(u64::from(worker.0));
            digest.mix(replica.all_digests.value());
        }
        digest.value()
    }

    /// The faults in which workers' last rounds ended, as they may well have when they were recorded.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.replicas.values().filter_map(|replica| replica.ended.as_ref())
    }

    /// The requests for which workers were started.
    #[must_use]
    pub fn started_for(&self) -> &BTreeMap<(RawQueueId, RequestId), WorkerId> {
        &self.started_for
    }

    /// Takes one record.
    ///
    /// # Errors
    /// When the program doesn't do what was recorded, or records contradict one another.
    pub fn apply(&mut self, record: &Record<'_>, audience: &mut dyn Audience) -> Result<(), PlaybackError> {
        let _tracing = self.tracing();
        if let Record::WorkerStarted { worker, epoch, config, request } = *record {
            return self.start(worker, epoch, config, request);
        }
        let (Some(id), Some(round)) = (record.worker(), record.round()) else { return Ok(()) };
        let contradiction = |what: String| PlaybackError::Contradiction { worker: id, round, what };
        let Some(replica) = self.replicas.get_mut(&id) else {
            return Err(contradiction("the worker was never started".to_owned()));
        };
        let reached = replica.worker.rounds() + u64::from(replica.pending.waits);
        match *record {
            Record::Round { .. } if round <= replica.worker.rounds() => {}
            Record::Round { bound, now, digest_before, batches, .. } => {
                if round != reached + 1 {
                    return Err(contradiction(format!("it follows round {reached}")));
                }
                self.rounds += replica.run(None, audience)?;
                replica.prove(round - 1, digest_before)?;
                for batch in batches {
                    if batch.frames().any(|frame| frame.is_err()) {
                        return Err(contradiction(format!("what {} put in are not frames", batch.source)));
                    }
                }
                replica.pending.set(bound, now, batches);
            }
            // What a snapshot covers is passed over.
            _ if round < reached => {}
            _ if round > reached => return Err(contradiction(format!("its worker had come to round {reached}"))),
            Record::External { port, answer, .. } => {
                if replica.pending.waits {
                    replica.pending.externals.push_back((port.to_owned(), answer.to_vec()));
                }
            }
            Record::Deliveries { entries, .. } => {
                if replica.pending.waits {
                    // A long round's deliveries stand in several records.
                    replica.pending.deliveries.get_or_insert_default().extend_from_slice(entries);
                }
            }
            Record::DigestMark { digest, .. } => {
                self.rounds += replica.run(None, audience)?;
                replica.prove(round, digest)?;
            }
            Record::SnapshotMark { digest, image_digest, .. } => {
                self.rounds += replica.run(None, audience)?;
                replica.prove(round, digest)?;
                if self.check_images {
                    replica.check_image(image_digest)?;
                }
            }
            Record::Configured { config, .. } => {
                self.rounds += replica.run(None, audience)?;
                let config = decode_config(config).map_err(contradiction)?;
                replica.worker.configure(config);
            }
            Record::WorkerStopped { digest, .. } => {
                self.rounds += replica.run(None, audience)?;
                replica.prove(round, digest)?;
                replica.stopped = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn start(
        &mut self,
        worker: WorkerId,
        epoch: Epoch,
        config: &[u8],
        request: Option<(RawQueueId, RequestId)>,
    ) -> Result<(), PlaybackError> {
        if let Some(request) = request {
            self.started_for.insert(request, worker);
        }
        let config = decode_config(config).map_err(|what| PlaybackError::Contradiction { worker, round: 0, what })?;
        let (catalogue, node) = (&self.catalogue, self.node);
        self.replicas
            .entry(worker)
            .or_insert_with(|| Replica::new(Worker::new(catalogue.clone(), node, worker, epoch, config)));
        Ok(())
    }

    /// The journal has ended: runs the rounds that were read last. External values that aren't recorded come from
    /// `live`; without it, a round that needs one ends there and stays unproved.
    ///
    /// # Errors
    /// When the program doesn't do what was recorded.
    pub fn finish(
        &mut self,
        mut live: Option<&mut dyn Externals>,
        audience: &mut dyn Audience,
    ) -> Result<(), PlaybackError> {
        let _tracing = self.tracing();
        for replica in self.replicas.values_mut() {
            let live = live.as_mut().map(|live| &mut **live as &mut dyn Externals);
            self.rounds += replica.run_last(live, audience)?;
        }
        Ok(())
    }

    /// The workers, to be driven on, each with the digest of its last round.
    #[must_use]
    pub fn into_workers(self) -> Vec<(Worker, u64)> {
        let live = self.replicas.into_values().filter(|replica| !replica.stopped);
        live.map(|replica| (replica.worker, replica.digest.unwrap_or_default())).collect()
    }
}

fn decode_config(bytes: &[u8]) -> Result<WorkerConfig, String> {
    Codec::CURRENT.decode(bytes, Trust::Node).map_err(|error| format!("the worker's configuration: {error}"))
}

impl Replica {
    fn new(worker: Worker) -> Replica {
        Replica {
            worker,
            pending: Pending::default(),
            digest: None,
            proved: true,
            all_digests: Digest::new(),
            ended: None,
            stopped: false,
        }
    }

    fn diverged(&self, round: u64, expected: String, found: String) -> PlaybackError {
        let worker = self.worker.id();
        PlaybackError::Diverged(Box::new(Divergence { worker, round, delivery: None, expected, found }))
    }

    /// Runs the round that waits, which further records show to have ended. Gives the number of rounds run.
    fn run(&mut self, live: Option<&mut dyn Externals>, audience: &mut dyn Audience) -> Result<u64, PlaybackError> {
        let ran = self.run_last(live, audience)?;
        match &self.ended {
            None => Ok(ran),
            Some(fault) => {
                let expected = "a round that ended, because more was recorded after it".to_owned();
                Err(self.diverged(fault.round, expected, fault.to_string()))
            }
        }
    }

    /// Runs the round that waits; it may end in a fault.
    fn run_last(
        &mut self,
        live: Option<&mut dyn Externals>,
        audience: &mut dyn Audience,
    ) -> Result<u64, PlaybackError> {
        if !self.pending.waits {
            return Ok(0);
        }
        self.pending.waits = false;
        let mut recorded = std::mem::take(&mut self.pending.externals);
        let batches = self.pending.batches();
        if let Some(batch) = first_out_of_turn(&self.worker, &batches) {
            return Err(PlaybackError::Contradiction {
                worker: self.worker.id(),
                round: self.worker.rounds() + 1,
                what: format!("frame {} of {} was not the next one", batch.first, batch.source),
            });
        }
        self.worker.feed(self.pending.now, batches.iter().copied());
        let mut externals = Recorded { recorded: &mut recorded, live, differed: None };
        let end = self.worker.round(self.pending.bound, &mut externals);
        let differed = externals.differed;
        audience.round(&self.worker, &batches);
        let id = self.worker.id();
        self.worker.drain_outputs(|to, batch| audience.output(id, to, &batch.as_ref()));
        let parted = self.part(&end);
        if let Some((expected, found)) = differed {
            // Where the deliveries part is where the wrong port was asked.
            let delivery = parted.and_then(|parted| parted.delivery);
            let divergence = Divergence { worker: id, round: end.round, delivery, expected, found };
            return Err(PlaybackError::Diverged(Box::new(divergence)));
        }
        if let Some(parted) = parted {
            return Err(PlaybackError::Diverged(Box::new(parted)));
        }
        if let Some((port, _)) = recorded.front().filter(|_| end.fault.is_none()) {
            let expected = format!("a value read through port {port}");
            return Err(self.diverged(end.round, expected, "none was read".to_owned()));
        }
        self.digest = Some(end.digest);
        self.proved = false;
        self.all_digests.mix(end.digest);
        self.ended = end.fault;
        Ok(1)
    }

    /// Compares the last round's digest with what a record says of it.
    fn prove(&mut self, round: u64, expected: u64) -> Result<(), PlaybackError> {
        // Right after a snapshot nothing has run that could be compared.
        let Some(found) = self.digest else { return Ok(()) };
        if found != expected {
            let (expected, found) = (format!("digest {expected:016x}"), format!("digest {found:016x}"));
            return Err(self.diverged(round, expected, found));
        }
        self.proved = true;
        Ok(())
    }

    fn check_image(&self, expected: u64) -> Result<(), PlaybackError> {
        let mut image = Vec::new();
        let found = self.worker.snapshot(&mut image).map(|()| Digest::of(&image));
        let found = match found {
            Ok(found) if found == expected => return Ok(()),
            Ok(found) => format!("a worker whose image has digest {found:016x}"),
            Err(error) => format!("a worker that can't be encoded: {error}"),
        };
        let expected = format!("a worker whose image has digest {expected:016x}: some FSM's data differ");
        Err(self.diverged(self.worker.rounds(), expected, found))
    }

    /// The first of the round's deliveries that is not the recorded one, where everything was recorded.
    fn part(&self, end: &RoundEnd) -> Option<Divergence> {
        let recorded = self.pending.deliveries.as_ref()?;
        let mut expected = Deliveries::new(recorded).map(Result::ok);
        let mut found = Deliveries::new(self.worker.deliveries()).map(Result::ok);
        for at in 1.. {
            let (expected, found) = match (expected.next(), found.next()) {
                (None, None) => break,
                (expected, found) if expected == found => continue,
                (expected, found) => (expected.flatten(), found.flatten()),
            };
            let (delivery, (expected, mut found)) = describe(&self.worker, at, expected.as_ref(), found.as_ref());
            if let Some(fault) = &end.fault {
                found = format!("{found}, because the round ended in a fault: {fault}");
            }
            return Some(Divergence {
                worker: self.worker.id(),
                round: end.round,
                delivery: Some(delivery),
                expected,
                found,
            });
        }
        None
    }
}

/// The first of a round's batches that the worker can't take whole at its place.
fn first_out_of_turn<'a>(worker: &Worker, batches: &[BatchRef<'a>]) -> Option<BatchRef<'a>> {
    let in_turn = |at: usize, batch: &BatchRef<'_>| {
        // Several batches of one source follow one another within the round.
        let ahead = batches[..at].iter().rev().find(|other| other.source == batch.source);
        match ahead {
            Some(ahead) if ahead.epoch == batch.epoch => batch.first == ahead.next_number(),
            Some(ahead) => ahead.epoch < batch.epoch && batch.first == 1,
            None => worker.admission(batch) == Admission::Take { skip: 0 },
        }
    };
    batches.iter().enumerate().find(|(at, batch)| !in_turn(*at, batch)).map(|(_, batch)| *batch)
}

/// Says which delivery two runs part at, and in what.
fn describe(
    worker: &Worker,
    at: u64,
    expected: Option<&Delivery>,
    found: Option<&Delivery>,
) -> (String, (String, String)) {
    let catalogue = worker.catalogue();
    let name = |delivery: &Delivery| {
        let kind = catalogue.kind_name(delivery.kind);
        let message = match delivery.handler {
            Handler::Start => "its start".to_owned(),
            Handler::Enter => "its enter action".to_owned(),
            Handler::Handle => format!("a message of type {}", catalogue.message_name(delivery.type_number)),
        };
        format!("delivery {at} of the round: kind {kind} ({}), {message} from {}", delivery.queue, delivery.sender)
    };
    match (expected, found) {
        (Some(expected), None) => (name(expected), ("this delivery".to_owned(), "none".to_owned())),
        (None, Some(found)) => (name(found), ("no further delivery".to_owned(), "this one".to_owned())),
        (None, None) => (format!("delivery {at}"), ("a delivery".to_owned(), "bytes that are none".to_owned())),
        (Some(expected), Some(found)) => {
            let same = (expected.queue, expected.type_number, expected.sender)
                == (found.queue, found.type_number, found.sender);
            let what = if !same {
                return (name(expected), ("this delivery".to_owned(), name(found)));
            } else if expected.payload != found.payload {
                "the message"
            } else if expected.state != found.state {
                "the state after it"
            } else if expected.data_digest != found.data_digest {
                "the FSM's data after it"
            } else if expected.effects_digest != found.effects_digest {
                "what the handler sent or asked for"
            } else {
                "the random numbers that it drew or the timers that it set"
            };
            let text = |delivery: &Delivery| {
                format!(
                    "{what}: message {}, state {}, data {:016x}, effects {:016x}",
                    hex(&delivery.payload),
                    hex(&delivery.state),
                    delivery.data_digest,
                    delivery.effects_digest
                )
            };
            (name(expected), (text(expected), text(found)))
        }
    }
}

/// The first bytes, for a person to compare.
fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 24;
    let shown: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > SHOWN { format!("{shown}… ({} bytes)", bytes.len()) } else { format!("[{shown}]") }
}

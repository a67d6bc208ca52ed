//! Feeds recorded rounds to workers and compares what they do with what was recorded. Recovery, replay and a standby
//! all go through here; none of them has another way.
//!
//! A round runs only when the next record of its worker, or the journal's end, shows that all the external values which
//! it was given have been read. Where the journal ends in the middle of a round, who drives decides where further
//! values come from: [`Playback::finish_round`].

mod beginning;
mod divergence;
mod error;
mod hush;
mod last_round;
mod left;
mod refused;
mod replica;
mod restored;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use beginning::Beginning;
use beginning::{Begins, Refusal, Unbegun};
pub use divergence::Divergence;
pub use error::PlaybackError;
pub use hush::Hush;
pub use last_round::{Attempt, LastRound, Unended};
use left::Halt;
pub use left::Left;
pub use refused::{Cause, Refused, RefusedSnapshot};
use replica::{Replica, Told};
pub(crate) use restored::{Restored, Unusable, restore};

use crate::{
    codec::{Codec, Trust},
    digest::Digest,
    frame::BatchRef,
    id::{Epoch, NodeId, Place, RawQueueId, RequestId, WorkerId},
    journal::{Record, snapshots::Mark},
    time::Time,
    worker::{Catalogue, Fault, Observer, Worker, WorkerConfig},
};

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
    /// Rounds that were passed over, because they stand before the first snapshot of a worker whose start was given up, or another
    /// version of the program recorded them.
    pub rounds_passed_over: u64,
    /// Rounds that were passed over beside these, because no snapshot before them could be begun with: see [`Playback::refused`].
    pub rounds_not_begun: u64,
}

/// What was played back of a worker before another version of the program went on with it.
#[derive(Debug, Clone, Copy)]
struct Played {
    all_digests: Digest,
    messages: u64,
    rounds_unproved: u64,
}

/// Plays recorded rounds back. See the [module's head](self).
pub struct Playback {
    catalogue: Arc<Catalogue>,
    node: NodeId,
    replicas: BTreeMap<WorkerId, Replica>,
    /// Which request each worker was started for.
    started_for: BTreeMap<(RawQueueId, RequestId), WorkerId>,
    rounds: u64,
    unbegun: Unbegun,
    /// What was played back of workers up to where another version of the program went on with them.
    played: BTreeMap<WorkerId, Played>,
    /// Workers that need what the program lacks.
    left: BTreeMap<WorkerId, Left>,
    ends_are_marked: bool,
    is_of_another_build: bool,
    is_of_another_version: bool,
    check_images: bool,
    traced: bool,
    observers: Option<Observers>,
}

/// Gives each worker that is played back who observes it.
pub type Observers = Arc<dyn Fn(WorkerId) -> Box<dyn Observer + Send> + Send + Sync>;

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
            unbegun: Unbegun::default(),
            played: BTreeMap::new(),
            left: BTreeMap::new(),
            ends_are_marked: false,
            is_of_another_build: false,
            is_of_another_version: false,
            check_images: false,
            traced: false,
            observers: None,
        }
    }

    /// Also snapshots workers where the record says that they were, and compares the images: that finds a difference in
    /// data that has yet to show in what a worker does.
    #[must_use]
    pub fn checking_images(mut self) -> Playback {
        self.check_images = true;
        self
    }

    /// Begins with snapshots where workers' starts are gone, or another version of the program recorded what comes before.
    #[must_use]
    pub fn beginning(mut self, beginning: Option<Beginning>) -> Playback {
        self.unbegun.beginning = beginning;
        self
    }

    /// Lets through what workers and FSMs trace, in a span that says `replaying`. Without this a playback is silent: it
    /// was all said when it happened.
    #[must_use]
    pub fn traced(mut self) -> Playback {
        self.traced = true;
        self
    }

    /// Has all workers observed, each from its first round here on.
    #[must_use]
    pub fn observed(mut self, observers: Observers) -> Playback {
        self.observers = Some(observers);
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
    pub fn resume(&mut self, mut worker: Worker, digest: u64) {
        let id = worker.id();
        worker.set_observer(self.observers.as_ref().map(|observer| observer(id)));
        let handled_before = worker.counters().handled;
        let replica = Replica { digest: Some(digest), handled_before, ..Replica::new(worker) };
        self.replicas.insert(id, replica);
    }

    /// Whether the rounds that follow were recorded by a node that marks their end before it lets out anything of them.
    pub fn ends_are_marked(&mut self, are_marked: bool) {
        self.ends_are_marked = are_marked;
    }

    /// Whether another build, or this one with other resources, wrote the records that follow. A round that the journal ends in may
    /// have ended when it was recorded, so it is run with the versions of behaviours that are on record, and not with newer ones. One
    /// that is known not to have ended may part from what it was told.
    pub fn is_of_another_build(&mut self, is: bool) {
        self.is_of_another_build = is;
    }

    /// Whether another version of the program, or one with other resources, wrote the records that follow: they are passed over, and
    /// workers go on from the snapshots with which it ended. Where the journal ends with them, so does the playback before them.
    pub fn is_of_another_version(&mut self, is: bool) {
        self.is_of_another_version = is;
    }

    /// The workers, in the order of their numbers, that haven't stopped for good.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.replicas.values().filter(|replica| !replica.stopped).map(|replica| &replica.worker)
    }

    /// A worker between two rounds, to be observed or looked at: what changes it otherwise makes the playback part from the record. None,
    /// if it has yet to begin.
    pub fn worker_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.replicas.get_mut(&id).map(|replica| &mut replica.worker)
    }

    /// The digest of a worker's last round; none, if it has run none here.
    #[must_use]
    pub fn last_digest(&self, id: WorkerId) -> Option<u64> {
        self.replicas.get(&id)?.digest
    }

    /// True if records of workers were passed over that have yet to begin with a snapshot.
    #[must_use]
    pub fn is_passing_over(&self) -> bool {
        !self.unbegun.is_empty()
    }

    /// True if a round of that worker was read and has yet to run.
    #[must_use]
    pub fn has_round_waiting(&self, id: WorkerId) -> bool {
        self.replicas.get(&id).is_some_and(|replica| replica.pending.waits)
    }

    /// Runs the first deliveries alone of a worker's round that was read and has yet to run, to look at the worker in the middle of it.
    /// Nothing is compared, and the worker can't be played on: the rest of the round would come in another order.
    pub fn run_part(&mut self, id: WorkerId, deliveries: u32) -> Option<Worker> {
        let _tracing = self.tracing();
        let replica = self.replicas.remove(&id).filter(|replica| replica.pending.waits)?;
        Some(replica.run_part(deliveries))
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
        let (rounds_passed_over, rounds_not_begun) = (self.unbegun.passed_over, self.unbegun.not_begun);
        let mut progress =
            Progress { rounds: self.rounds, rounds_passed_over, rounds_not_begun, ..Progress::default() };
        let played = self.replicas.values().map(Replica::played);
        for Played { messages, rounds_unproved, .. } in played.chain(self.played.values().copied()) {
            progress.messages += messages;
            progress.rounds_unproved += rounds_unproved;
        }
        progress.workers = u32::try_from(self.all_digests().len()).expect("workers are numbered in 32 bits");
        progress
    }

    /// All rounds' digests of all workers, in one number.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut digest = Digest::new();
        for (worker, all) in self.all_digests() {
            digest.mix(u64::from(worker.0));
            digest.mix(all.value());
        }
        digest.value()
    }

    /// By worker, the digests of all its rounds.
    fn all_digests(&self) -> BTreeMap<WorkerId, Digest> {
        let played = self.played.iter().map(|(worker, played)| (*worker, played.all_digests));
        // Who goes on with a worker goes on with its digest.
        played.chain(self.replicas.iter().map(|(worker, replica)| (*worker, replica.all_digests))).collect()
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
        match self.take(record, audience) {
            Err(Halt::Lacks(fault)) => {
                self.leave(*fault);
                self.pass_left(record);
                Ok(())
            }
            Err(Halt::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        }
    }

    fn take(&mut self, record: &Record<'_>, audience: &mut dyn Audience) -> Result<(), Halt> {
        if self.pass_left(record) {
            return Ok(());
        }
        if let Record::WorkerStarted { worker, epoch, config, request } = *record {
            return Ok(self.start(worker, epoch, config, request)?);
        }
        let (Some(id), Some(round)) = (record.worker(), record.round()) else { return Ok(()) };
        let contradiction = |what: String| PlaybackError::Contradiction { worker: id, round, what };
        if self.is_of_another_version {
            return self.pass_over(id, record, audience);
        }
        if !self.replicas.contains_key(&id) {
            match self.unbegun.take(id, record, &self.catalogue) {
                Begins::Here(worker, mark) => self.begin(*worker, &mark),
                Begins::NotYet => return Ok(()),
                Begins::Never => return Err(contradiction("the worker was never started".to_owned()).into()),
                Begins::Unusable(Refusal { cause, snapshot }) => {
                    let what = format!("the snapshot that it is to begin with can't be used: {snapshot}");
                    let lacks = cause == Cause::Lacking;
                    return Err(if lacks { Halt::lacks(id, round, what) } else { contradiction(what).into() });
                }
            }
        }
        let replica = self.replicas.get_mut(&id).expect("it has begun");
        let reached = replica.worker.rounds() + u64::from(replica.pending.waits);
        match *record {
            Record::Round { .. } if round <= replica.worker.rounds() => {}
            Record::SnapshotMark { image_digest, .. } if round < reached && self.check_images => {
                replica.compare_image(round, image_digest)?;
            }
            Record::Round { bound, now, digest_before, batches, .. } => {
                if round != reached + 1 {
                    return Err(contradiction(format!("it follows round {reached}")).into());
                }
                self.rounds += replica.run(None, audience)?;
                replica.prove(round - 1, digest_before)?;
                replica.pending.set(bound, now, batches, self.ends_are_marked);
                replica.pending.is_of_another_build = self.is_of_another_build;
            }
            // What a snapshot covers is passed over.
            _ if round < reached => {}
            _ if round > reached => {
                return Err(contradiction(format!("its worker had come to round {reached}")).into());
            }
            Record::Attempt { at, outcome, .. } if replica.pending.waits => replica.pending.attempted(at, outcome),
            Record::Skipped { at, stops, .. } if replica.pending.waits => replica.pending.skip(at, stops),
            Record::External { port, answer, .. } if replica.pending.waits => {
                replica.pending.told.push_back(Told::Value { port: port.to_owned(), answer: answer.to_vec() });
            }
            Record::Version { name, version, .. } if replica.pending.waits => {
                replica.pending.told.push_back(Told::Version { name: name.to_owned(), version });
            }
            Record::Deliveries { entries, .. } if replica.pending.waits => {
                // A long round's deliveries stand in several records.
                replica.pending.deliveries.get_or_insert_default().extend_from_slice(entries);
            }
            Record::DigestMark { digest, .. } => {
                self.rounds += replica.run(None, audience)?;
                replica.prove(round, digest)?;
            }
            Record::SnapshotBegun { digest, .. } => {
                self.rounds += replica.run(None, audience)?;
                replica.prove(round, digest)?;
                if self.check_images {
                    replica.take_image_once()?;
                }
            }
            Record::SnapshotMark { digest, image_digest, .. } => {
                self.rounds += replica.run(None, audience)?;
                replica.prove(round, digest)?;
                if self.check_images {
                    replica.take_image_once()?;
                    replica.compare_image(round, image_digest)?;
                }
            }
            Record::Configured { config, .. } => {
                self.rounds += replica.run(None, audience)?;
                let config = decode_config(config).map_err(contradiction)?;
                replica.worker.configure(config);
                replica.forget_image();
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

    /// Takes a record that another version of the program wrote.
    fn pass_over(&mut self, id: WorkerId, record: &Record<'_>, audience: &mut dyn Audience) -> Result<(), Halt> {
        if let Some(replica) = self.replicas.get_mut(&id) {
            // It has ended, or nobody could have gone on from there.
            self.rounds += replica.run(None, audience)?;
            match *record {
                Record::Round { round, digest_before, .. } => {
                    if round == replica.worker.rounds() + 1 {
                        replica.prove(round - 1, digest_before)?;
                    }
                    self.hand_over(id);
                }
                Record::Configured { round, config, .. } => {
                    let contradiction = |what| PlaybackError::Contradiction { worker: id, round, what };
                    replica.worker.configure(decode_config(config).map_err(contradiction)?);
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
        self.unbegun.note(id, record);
        Ok(())
    }

    /// Another version of the program goes on with a worker, or nobody does.
    fn hand_over(&mut self, id: WorkerId) {
        // One that has yet to run anything is as good as never seen.
        let Some(replica) = self.replicas.remove(&id).filter(|replica| replica.digest.is_some()) else { return };
        let mut played = replica.played();
        if let Some(before) = self.played.get(&id) {
            played.messages += before.messages;
            played.rounds_unproved += before.rounds_unproved;
        }
        self.played.insert(id, played);
    }

    fn begin(&mut self, worker: Worker, mark: &Mark) {
        let id = worker.id();
        self.resume(worker, mark.digest);
        let replica = self.replicas.get_mut(&id).expect("it was just put there");
        replica.begins_with(mark);
        if let Some(played) = self.played.get(&id) {
            replica.all_digests = played.all_digests;
        }
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
        let Playback { catalogue, node, observers, .. } = self;
        self.replicas.entry(worker).or_insert_with(|| {
            let mut fresh = Worker::new(catalogue.clone(), *node, worker, epoch, config);
            fresh.set_observer(observers.as_ref().map(|observer| observer(worker)));
            Replica::new(fresh)
        });
        Ok(())
    }

    /// The playback is to end before the journal does: of those workers the round that was read last isn't run any more, and workers that
    /// haven't begun are passed over.
    pub fn end_early(&mut self, not_run: &BTreeSet<WorkerId>) {
        for id in not_run {
            if let Some(left) = self.left.get_mut(id) {
                left.rounds = left.rounds.saturating_sub(1);
            }
            if let Some(replica) = self.replicas.get_mut(id) {
                replica.pending.waits = false;
            }
        }
        self.unbegun.pass_over_all(not_run);
    }

    /// The journal has ended: runs the rounds that were read last. One that needs an external value which isn't recorded ends
    /// there and stays unproved.
    ///
    /// # Errors
    /// When the program doesn't do what was recorded.
    pub fn finish(&mut self, audience: &mut dyn Audience) -> Result<(), PlaybackError> {
        let _tracing = self.tracing();
        if self.is_of_another_version {
            self.unbegun.pass_over_others();
        }
        for worker in self.unbegun.of_another() {
            if let Begins::Here(worker, mark) = self.unbegun.behind_another(worker, &self.catalogue) {
                self.begin(*worker, &mark);
            }
        }
        self.leave_unbegun();
        if let Some((worker, round, what)) = self.unbegun.all().next() {
            let is_of_another = self.unbegun.of_another().contains(&worker);
            return Err(match is_of_another {
                true => PlaybackError::OtherVersion { worker, round, what },
                false => PlaybackError::Contradiction { worker, round, what },
            });
        }
        let mut lacking = Vec::new();
        for replica in self.replicas.values_mut() {
            match replica.run_last(None, audience) {
                Ok(rounds) => self.rounds += rounds,
                Err(Halt::Lacks(fault)) => lacking.push(*fault),
                Err(Halt::Error(error)) => return Err(error),
            }
        }
        lacking.into_iter().for_each(|fault| self.leave(fault));
        Ok(())
    }

    /// Takes over what another playback of the same node has played back of other workers, as if all had been played
    /// back here. Each worker depends on its own records alone.
    ///
    /// # Panics
    /// When both have played back the same worker, or they are of different nodes.
    pub fn absorb(&mut self, other: Playback) {
        assert_eq!(self.node, other.node, "playbacks that are joined are of one node");
        let workers = self.replicas.len() + other.replicas.len();
        self.replicas.extend(other.replicas);
        assert_eq!(self.replicas.len(), workers, "each worker is played back in one place");
        self.started_for.extend(other.started_for);
        self.played.extend(other.played);
        self.left.extend(other.left);
        self.rounds += other.rounds;
        self.unbegun.absorb(other.unbegun);
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

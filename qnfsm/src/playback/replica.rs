//! One worker that is played back: the round that was read and has yet to run, and the comparison of what it does with
//! what was recorded.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use super::{
    Attempt, Audience, Divergence, LastRound, PlaybackError, Played,
    divergence::describe,
    left::{Halt, lacking},
};
use crate::{
    digest::{Digest, StreamDigest},
    frame::{Batch, BatchRef},
    fsm::{ExternalFault, Externals},
    id::{RawQueueId, WorkerId},
    journal::{Batches, Outcome, Reached, snapshots::Mark},
    time::Time,
    worker::{Admission, Deliveries, Fault, FaultKind, RoundEnd, Skip, Worker},
};

/// What a round was told while it ran, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// A value, through a port.
    Value { port: String, answer: Vec<u8> },
    /// Which version of a behaviour it is to use.
    Version { name: String, version: u32 },
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::Value { port, .. } => write!(f, "a value read through port {port}"),
            Told::Version { name, version } => write!(f, "version {version} of `{name}`"),
        }
    }
}

/// A round that was read and has yet to run. Kept from round to round for its buffers.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) waits: bool,
    pub(super) bound: u32,
    pub(super) now: Time,
    pub(super) batches: Vec<Batch>,
    pub(super) batches_used: usize,
    pub(super) told: VecDeque<Told>,
    pub(super) deliveries: Option<Vec<u8>>,
    /// How often it was run again and did not end, and what is skipped of it.
    pub(super) attempts: Vec<Attempt>,
    pub(super) skips: BTreeMap<u32, Skip>,
    /// Another build recorded it.
    pub(super) is_of_another_build: bool,
    /// It is known that it didn't end when it was recorded: its end would be marked, or its node says so.
    ends_are_marked: bool,
    was_stuck: bool,
}

impl Pending {
    pub(super) fn set(&mut self, bound: u32, now: Time, batches: Batches<'_>, ends_are_marked: bool) {
        self.ends_are_marked = ends_are_marked;
        self.was_stuck = false;
        self.waits = true;
        self.bound = bound;
        self.now = now;
        self.batches_used = 0;
        self.told.clear();
        self.deliveries = None;
        self.attempts.clear();
        self.skips.clear();
        for batch in batches {
            match self.batches.get_mut(self.batches_used) {
                Some(used) => used.copy_from(batch),
                None => self.batches.push(batch.to_batch()),
            }
            self.batches_used += 1;
        }
    }

    /// True if nothing of it can have left its worker. What has all its deliveries on record has ended.
    pub(super) fn has_let_out_nothing(&self) -> bool {
        (self.ends_are_marked || self.was_stuck) && self.deliveries.is_none()
    }

    /// It was run, again or for the first time, and didn't end.
    pub(super) fn attempted(&mut self, at: Option<Reached>, outcome: Outcome) {
        match (at, self.attempts.last_mut()) {
            (Some(at), _) if outcome == Outcome::Parted => self.forget_told(at),
            // The node that recorded it says so, before any other attempt.
            (None, None) if outcome != Outcome::GoesOn => self.was_stuck = true,
            // What a thread that nobody waits for any more still says counts for nothing.
            (Some(_), Some(last)) if last.outcome == Outcome::GoesOn => *last = Attempt { at, outcome },
            (Some(_), Some(_)) => {}
            _ => self.attempts.push(Attempt { at, outcome }),
        }
    }

    /// A delivery is skipped: what it was told is forgotten, and attempts from now on are at what follows.
    pub(super) fn skip(&mut self, at: Reached, stops: bool) {
        self.skips.insert(at.delivery, if stops { Skip::StopFsm } else { Skip::Message });
        self.forget_told(at);
        self.attempts.clear();
    }

    /// What it was told counts up to there.
    fn forget_told(&mut self, at: Reached) {
        self.told.truncate(usize::try_from(at.values).unwrap_or(usize::MAX));
    }

    pub(super) fn batches(&self) -> Vec<BatchRef<'_>> {
        self.batches[..self.batches_used].iter().map(Batch::as_ref).collect()
    }
}

/// What an image was that the record may have one of too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    round: u64,
    digest: u64,
    /// The record had it too: where it is marked once more, it is of the worker as it was when it was marked first.
    is_marked: bool,
}

/// One worker that is played back.
pub(super) struct Replica {
    pub(super) worker: Worker,
    pub(super) pending: Pending,
    /// How many messages it had handled when it was restored.
    pub(super) handled_before: u64,
    /// The digest of the last round that ran, and whether a record has borne it out.
    pub(super) digest: Option<u64>,
    pub(super) proved: bool,
    pub(super) all_digests: Digest,
    pub(super) ended: Option<Fault>,
    /// The last image that was taken of it, or that it was restored from.
    pub(super) image: Option<Taken>,
    pub(super) stopped: bool,
}

/// External values as they were recorded; then from whoever drives, if anyone.
pub(super) struct Recorded<'a, 'b> {
    pub(super) recorded: &'a mut VecDeque<Told>,
    pub(super) live: Option<&'b mut dyn LastRound>,
    /// Versions of behaviours are those on record, whatever the program has.
    pub(super) keeps_versions: bool,
    /// Where it asks for something else than is recorded it gets that, and the rest of the record is given up.
    pub(super) may_part: bool,
    /// The delivery under way, and how many values were given so far.
    pub(super) at: Reached,
    pub(super) differed: Option<(String, String)>,
}

impl Recorded<'_, '_> {
    /// Gives up what is recorded and was not asked for, if the round may part from it; false if it may not, or there is nothing.
    fn part(&mut self, worker: WorkerId) -> bool {
        let Some(live) = self.live.as_mut().filter(|_| self.may_part && !self.recorded.is_empty()) else {
            return false;
        };
        live.parts(worker, self.at, self.recorded.drain(..).map(|told| told.to_string()).collect());
        true
    }
}

impl Externals for Recorded<'_, '_> {
    fn read(&mut self, worker: WorkerId, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        let is_next = matches!(self.recorded.front(), Some(Told::Value { port: recorded, .. }) if recorded == port);
        if !is_next {
            self.part(worker);
        }
        self.at.values += 1;
        match (self.recorded.pop_front(), &mut self.live) {
            (Some(Told::Value { answer, .. }), _) if is_next => Ok(answer),
            (Some(told), _) => {
                self.differed = Some((told.to_string(), format!("a value read through port {port}")));
                Err(ExternalFault(format!("port {port} was asked where it had been told {told}")))
            }
            (None, Some(live)) => live.read(worker, port, question),
            (None, None) => Err(ExternalFault(format!("the record ends before the answer of port {port}"))),
        }
    }

    fn version(&mut self, worker: WorkerId, name: &str, known: u32, latest: u32) -> Result<u32, ExternalFault> {
        match (self.recorded.front(), &mut self.live) {
            (Some(Told::Version { name: recorded, version }), _) if recorded == name => {
                let version = *version;
                self.recorded.pop_front();
                self.at.values += 1;
                Ok(version)
            }
            // What is recorded was done before there was a newer one.
            (Some(_), _) | (None, None) => Ok(known),
            (None, Some(_)) if self.keeps_versions => Ok(known),
            (None, Some(live)) => {
                self.at.values += u64::from(latest != known);
                live.version(worker, name, known, latest)
            }
        }
    }

    fn delivers(&mut self, worker: WorkerId, delivery: u32, queue: RawQueueId, kind: &str) {
        self.at = Reached { delivery, seat: (queue.slot(), queue.generation()), ..self.at };
        if let Some(live) = &mut self.live {
            live.comes_to(worker, self.at, kind);
        }
    }
}

impl Replica {
    pub(super) fn new(worker: Worker) -> Replica {
        Replica {
            worker,
            pending: Pending::default(),
            handled_before: 0,
            digest: None,
            proved: true,
            all_digests: Digest::new(),
            ended: None,
            image: None,
            stopped: false,
        }
    }

    /// What was played back of it.
    pub(super) fn played(&self) -> Played {
        Played {
            all_digests: self.all_digests,
            messages: self.worker.counters().handled - self.handled_before,
            rounds_unproved: u64::from(self.digest.is_some() && !self.proved),
        }
    }

    pub(super) fn diverged(&self, round: u64, expected: String, found: String) -> PlaybackError {
        let worker = self.worker.id();
        let is_of_image = false;
        PlaybackError::Diverged(Box::new(Divergence { worker, round, delivery: None, expected, found, is_of_image }))
    }

    fn diverged_in_image(&self, round: u64, expected: String, found: String) -> PlaybackError {
        let worker = self.worker.id();
        let is_of_image = true;
        PlaybackError::Diverged(Box::new(Divergence { worker, round, delivery: None, expected, found, is_of_image }))
    }

    /// Runs the round that waits, which further records show to have ended. Gives the number of rounds run.
    pub(super) fn run(&mut self, live: Option<&mut dyn LastRound>, audience: &mut dyn Audience) -> Result<u64, Halt> {
        let ran = self.run_last(live, audience)?;
        match &self.ended {
            None => Ok(ran),
            Some(fault) => {
                let expected = "a round that ended, because more was recorded after it".to_owned();
                Err(self.diverged(fault.round, expected, fault.to_string()).into())
            }
        }
    }

    /// Runs the round that waits; it may end in a fault.
    pub(super) fn run_last(
        &mut self,
        live: Option<&mut dyn LastRound>,
        audience: &mut dyn Audience,
    ) -> Result<u64, Halt> {
        if !self.pending.waits {
            return Ok(0);
        }
        self.pending.waits = false;
        let mut recorded = std::mem::take(&mut self.pending.told);
        let keeps_versions = self.pending.is_of_another_build;
        let may_part = keeps_versions && self.pending.has_let_out_nothing();
        let batches = self.pending.batches();
        if let Some(batch) = first_out_of_turn(&self.worker, &batches) {
            let what = format!("frame {} of {} was not the next one", batch.first, batch.source);
            let (worker, round) = (self.worker.id(), self.worker.rounds() + 1);
            return Err(PlaybackError::Contradiction { worker, round, what }.into());
        }
        if let Some(what) = lacking(self.worker.catalogue(), &batches) {
            return Err(Halt::lacks(self.worker.id(), self.worker.rounds() + 1, what));
        }
        let handled = self.worker.counters().handled;
        if live.is_some() || !self.pending.skips.is_empty() {
            self.worker.take_care(self.pending.skips.iter().map(|(delivery, skip)| (*delivery, *skip)));
        }
        self.worker.feed(self.pending.now, batches.iter().copied());
        let at = Reached { delivery: 0, seat: (0, 0), values: 0 };
        let mut externals = Recorded { recorded: &mut recorded, live, keeps_versions, may_part, at, differed: None };
        let end = self.worker.round(self.pending.bound, &mut externals);
        if end.fault.is_none() {
            externals.part(self.worker.id());
        }
        let differed = externals.differed;
        if let Some(Fault { round, what: FaultKind::BadBatch { source_place, .. }, .. }) = end.fault {
            let what = format!("what {source_place} put in are not frames");
            return Err(PlaybackError::Contradiction { worker: self.worker.id(), round, what }.into());
        }
        if let Some(fault) = end.fault.as_ref().filter(|fault| matches!(fault.what, FaultKind::Lacking(_))) {
            // What it did before that can be compared all the same.
            if let Some(parted) = self.part_before_end(&end) {
                return Err(PlaybackError::Diverged(Box::new(parted)).into());
            }
            // What was handled of it doesn't count.
            self.handled_before += self.worker.counters().handled - handled;
            return Err(Halt::Lacks(Box::new(fault.clone())));
        }
        audience.round(&self.worker, &batches);
        let id = self.worker.id();
        self.worker.drain_outputs(|to, batch| audience.output(id, to, &batch.as_ref()));
        let parted = self.part(&end);
        if let Some((expected, found)) = differed {
            // Where the deliveries part is where the wrong port was asked.
            let delivery = parted.and_then(|parted| parted.delivery);
            let divergence = Divergence { worker: id, round: end.round, delivery, expected, found, is_of_image: false };
            return Err(PlaybackError::Diverged(Box::new(divergence)).into());
        }
        if let Some(parted) = parted {
            return Err(PlaybackError::Diverged(Box::new(parted)).into());
        }
        if let Some(told) = recorded.front().filter(|_| end.fault.is_none()) {
            return Err(self.diverged(end.round, told.to_string(), "it was not asked for".to_owned()).into());
        }
        self.digest = Some(end.digest);
        self.proved = false;
        self.all_digests.mix(end.digest);
        self.ended = end.fault;
        Ok(1)
    }

    /// Runs the first deliveries of the round that waits.
    pub(super) fn run_part(mut self, deliveries: u32) -> Worker {
        let mut recorded = std::mem::take(&mut self.pending.told);
        self.worker.take_care(self.pending.skips.iter().map(|(delivery, skip)| (*delivery, *skip)));
        let batches = self.pending.batches();
        if first_out_of_turn(&self.worker, &batches).is_none() {
            self.worker.feed(self.pending.now, batches.iter().copied());
            let at = Reached { delivery: 0, seat: (0, 0), values: 0 };
            let (keeps_versions, may_part) = (self.pending.is_of_another_build, false);
            let mut externals =
                Recorded { recorded: &mut recorded, live: None, keeps_versions, may_part, at, differed: None };
            let _ = self.worker.round(deliveries.min(self.pending.bound), &mut externals);
            self.worker.drain_outputs(|_, _| {});
        }
        self.worker
    }

    /// Compares the last round's digest with what a record says of it.
    pub(super) fn prove(&mut self, round: u64, expected: u64) -> Result<(), PlaybackError> {
        // Right after a snapshot nothing has run that could be compared.
        let Some(found) = self.digest else { return Ok(()) };
        if found != expected {
            let (expected, found) = (format!("digest {expected:016x}"), format!("digest {found:016x}"));
            return Err(self.diverged(round, expected, found));
        }
        self.proved = true;
        Ok(())
    }

    /// It was restored from the snapshot of that mark.
    pub(super) fn begins_with(&mut self, mark: &Mark) {
        self.image = Some(Taken { round: mark.round, digest: mark.image_digest, is_marked: true });
    }

    /// What shapes the worker was changed: an image that no mark was of is of another one.
    pub(super) fn forget_image(&mut self) {
        self.image = self.image.filter(|taken| taken.is_marked);
    }

    /// Encodes the worker as it is now, to compare it with a snapshot that is marked here or later, unless it was since its last
    /// round: one that is marked once more is of the worker as it was when it was marked first.
    pub(super) fn take_image_once(&mut self) -> Result<(), PlaybackError> {
        let is_taken = self.image.is_some_and(|taken| taken.round == self.worker.rounds());
        if is_taken { Ok(()) } else { self.take_image() }
    }

    fn take_image(&mut self) -> Result<(), PlaybackError> {
        let round = self.worker.rounds();
        let mut image = Vec::new();
        if let Err(error) = self.worker.snapshot(&mut image) {
            let expected = "a worker that can be encoded".to_owned();
            return Err(self.diverged_in_image(round, expected, error.to_string()));
        }
        self.image = Some(Taken { round, digest: StreamDigest::of(&image), is_marked: false });
        Ok(())
    }

    /// Compares what the worker was after a round with a snapshot of that round, if it is known what it was.
    pub(super) fn compare_image(&mut self, round: u64, expected: u64) -> Result<(), PlaybackError> {
        match &mut self.image {
            Some(taken) if taken.round == round && taken.digest == expected => {
                taken.is_marked = true;
                Ok(())
            }
            Some(taken) if taken.round == round => {
                let found = taken.digest;
                let found = format!("a worker whose image has digest {found:016x}");
                let expected = format!("a worker whose image has digest {expected:016x}: some FSM's data differ");
                Err(self.diverged_in_image(round, expected, found))
            }
            _ => Ok(()),
        }
    }

    /// Likewise, of a round that could not be run to its end: only deliveries that both have are compared.
    fn part_before_end(&self, end: &RoundEnd) -> Option<Divergence> {
        let recorded = self.pending.deliveries.as_ref()?;
        let expected = Deliveries::new(recorded).map(Result::ok);
        let mut both = expected.zip(Deliveries::new(self.worker.deliveries()).map(Result::ok));
        both.any(|(expected, found)| expected != found).then(|| self.part(end)).flatten()
    }

    /// The first of the round's deliveries that is not the recorded one, where everything was recorded.
    pub(super) fn part(&self, end: &RoundEnd) -> Option<Divergence> {
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
                is_of_image: false,
            });
        }
        None
    }
}

/// The first of a round's batches of which the worker can take nothing at its place.
fn first_out_of_turn<'a>(worker: &Worker, batches: &[BatchRef<'a>]) -> Option<BatchRef<'a>> {
    let in_turn = |at: usize| matches!(worker.admission(&batches[..at], &batches[at]), Admission::Take { .. });
    (0..batches.len()).find(|at| !in_turn(*at)).map(|at| batches[at])
}

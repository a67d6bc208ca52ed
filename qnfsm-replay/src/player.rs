//! Plays workers back through a [`Playback`] of its own, and says where what it finds is recorded. It knows neither which
//! other workers there are nor on which thread it is. What a handler panics with while it is played is never printed: it did so when it was
//! recorded, and whoever plays tells it.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use qnfsm::{
    Catalogue, NodeId, Worker, WorkerId,
    journal::{Entry, Excerpt, Position, Record},
    playback::{Audience, Beginning, Hush, Observers, Playback, PlaybackError, Progress},
};

/// Plays some of a node's workers back.
pub(crate) struct Player {
    pub(crate) playback: Playback,
    /// The segments that another version of the program recorded.
    others: Arc<BTreeSet<u64>>,
    /// By worker, where the records of its last two rounds begin: what differs is found with the round after.
    places: BTreeMap<WorkerId, [(u64, Position); 2]>,
}

/// Why a player went no further.
pub(crate) struct Stopped {
    /// The record with which it was noticed. Of several players that stopped, the one with the first is right: up to there
    /// all others did what was recorded.
    pub(crate) noticed_at: Position,
    pub(crate) why: Why,
}

impl Stopped {
    /// True if the program did something else than what was recorded.
    pub(crate) fn is_divergence(&self) -> bool {
        matches!(self.why, Why::Error(PlaybackError::Diverged(_), _))
    }
}

/// Why a player can stop.
pub(crate) enum Why {
    /// The playback can't go on; and where the round begins that it can't go on at.
    Error(PlaybackError, Position),
    /// A panic, with what it carries.
    Panic(Box<dyn Any + Send>),
}

impl Player {
    /// A player of workers of that node, from the journal's start, or where that can't be played back, from `beginning`: it was
    /// given up, or another version of the program recorded the segments `others`.
    pub(crate) fn new(
        catalogue: Arc<Catalogue>,
        node: NodeId,
        beginning: Option<Beginning>,
        others: Arc<BTreeSet<u64>>,
    ) -> Player {
        let unchecked = Player::unchecked(catalogue, node, beginning, others);
        Player { playback: unchecked.playback.checking_images(), ..unchecked }
    }

    /// Likewise, without a comparison of workers with their snapshots.
    pub(crate) fn unchecked(
        catalogue: Arc<Catalogue>,
        node: NodeId,
        beginning: Option<Beginning>,
        others: Arc<BTreeSet<u64>>,
    ) -> Player {
        let playback = Playback::new(catalogue, node).beginning(beginning);
        Player { playback, others, places: BTreeMap::new() }
    }

    /// Has all workers observed.
    pub(crate) fn observed(self, observers: Observers) -> Player {
        Player { playback: self.playback.observed(observers), ..self }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.playback.progress()
    }

    /// Takes one record.
    pub(crate) fn take(&mut self, entry: &Entry<'_>) -> Result<(), Stopped> {
        self.take_before(entry, &mut ())
    }

    /// Takes one record, and lets an audience hear what comes of it.
    pub(crate) fn take_before(&mut self, entry: &Entry<'_>, audience: &mut dyn Audience) -> Result<(), Stopped> {
        let Entry { position, record, .. } = entry;
        if let Record::Round { worker, round, .. } = *record {
            let places = self.places.entry(worker).or_default();
            *places = [places[1], (round, *position)];
        }
        self.playback.is_of_another_version(self.others.contains(&position.segment));
        let _hush = Hush::new();
        self.playback.apply(record, audience).map_err(|error| self.stopped(error, *position))
    }

    /// Takes records in order, while they are `wanted`. A panic ends that like an error, so that it can be told which came
    /// first.
    pub(crate) fn take_all(&mut self, excerpt: &Excerpt, wanted: impl Fn(Position) -> bool) -> Result<(), Stopped> {
        let mut noticed_at = Position::default();
        let taken = catch_unwind(AssertUnwindSafe(|| {
            excerpt.entries().take_while(|entry| wanted(entry.position)).try_for_each(|entry| {
                noticed_at = entry.position;
                self.take(&entry)
            })
        }));
        taken.unwrap_or_else(|panic| Err(Stopped { noticed_at, why: Why::Panic(panic) }))
    }

    /// Runs the rounds that the journal ends in, unless another version recorded its last segment.
    pub(crate) fn finish(&mut self, end: Position, last_segment: u64) -> Result<(), Stopped> {
        self.finish_before(end, last_segment, &mut ())
    }

    /// Likewise, before an audience.
    pub(crate) fn finish_before(
        &mut self,
        end: Position,
        last_segment: u64,
        audience: &mut dyn Audience,
    ) -> Result<(), Stopped> {
        self.playback.is_of_another_version(self.others.contains(&last_segment));
        let _hush = Hush::new();
        self.playback.finish(audience).map_err(|error| self.stopped(error, end))
    }

    /// Runs so many deliveries of the round that a worker is to run next, and gives the worker as it is then.
    pub(crate) fn run_part(&mut self, worker: WorkerId, deliveries: u32) -> Option<Worker> {
        let _hush = Hush::new();
        self.playback.run_part(worker, deliveries)
    }

    /// Takes over the workers of another player.
    pub(crate) fn absorb(&mut self, other: Player) {
        self.playback.absorb(other.playback);
        self.places.extend(other.places);
    }

    /// Finds the round that an error is about.
    fn stopped(&self, error: PlaybackError, noticed_at: Position) -> Stopped {
        let about = match &error {
            PlaybackError::Diverged(divergence) => Some((divergence.worker, divergence.round)),
            PlaybackError::Contradiction { worker, round, .. } | PlaybackError::OtherVersion { worker, round, .. } => {
                Some((*worker, *round))
            }
            _ => None,
        };
        let place = about.and_then(|(worker, round)| {
            let places = self.places.get(&worker).into_iter().flatten();
            places.rev().find(|(of, _)| *of == round).map(|(_, at)| *at)
        });
        Stopped { noticed_at, why: Why::Error(error, place.unwrap_or(noticed_at)) }
    }
}

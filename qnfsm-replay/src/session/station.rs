//! A place in a journal from which its workers can be played on, with what each of them was there.

use std::{collections::BTreeMap, sync::Arc};

use qnfsm::{
    Origins, Time, Worker, WorkerId,
    journal::{Bookmark, Excerpt},
    playback::Playback,
};

/// A place between two records.
#[derive(Clone)]
pub(super) struct Station {
    pub(super) bookmark: Option<Bookmark>,
    /// How many rounds stand before.
    pub(super) ordinal: u64,
    /// The latest time that any worker was told before.
    pub(super) now: Time,
    /// The workers that have begun.
    pub(super) kept: BTreeMap<WorkerId, Kept>,
}

/// A worker as it was at a station.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) taken: Arc<Taken>,
    /// The records of the round that it was about to run, if there was one, and the round's ordinal.
    pub(super) waiting: Option<(u64, Arc<Excerpt>)>,
}

/// What was taken of a worker between two rounds.
pub(super) struct Taken {
    pub(super) image: Vec<u8>,
    pub(super) origins: Origins,
    pub(super) digest: u64,
    pub(super) rounds: u64,
    pub(super) happenings: u64,
    /// It may have become another one without a round, since its last one.
    pub(super) is_shaped: bool,
}

impl Taken {
    /// What a worker is now: the same as before, if it has run no round since.
    pub(super) fn now(
        playback: &mut Playback,
        id: WorkerId,
        before: Option<&Kept>,
        is_shaped: bool,
    ) -> Option<Arc<Taken>> {
        let digest = playback.last_digest(id).unwrap_or_default();
        let worker = playback.worker_mut(id)?;
        match before {
            Some(before) if before.taken.rounds == worker.rounds() => Some(before.taken.clone()),
            _ => Taken::of(worker, digest, is_shaped).map(Arc::new),
        }
    }

    /// What a worker is now; none, if it can't be encoded, or can't go on.
    fn of(worker: &mut Worker, digest: u64, is_shaped: bool) -> Option<Taken> {
        let mut image = Vec::new();
        if worker.fault().is_some() {
            return None;
        }
        worker.snapshot(&mut image).ok()?;
        image.shrink_to_fit();
        let (origins, rounds, happenings) = (worker.origins(), worker.rounds(), worker.happenings());
        Some(Taken { image, origins, digest, rounds, happenings, is_shaped })
    }

    fn bytes(&self) -> usize {
        self.image.len() + self.origins.bytes() + size_of::<Taken>()
    }
}

impl Station {
    pub(super) const START: Station =
        Station { bookmark: None, ordinal: 0, now: Time::from_nanos(0), kept: BTreeMap::new() };

    /// How much memory it takes beside the station before it, in bytes: an image is kept by one station after another, or not at all.
    pub(super) fn bytes_behind(&self, before: Option<&Station>) -> usize {
        let kept = self.kept.iter().map(|(worker, kept)| {
            let is_known = before.and_then(|before| before.kept.get(worker));
            let is_known = is_known.is_some_and(|known| Arc::ptr_eq(&known.taken, &kept.taken));
            let taken = if is_known { 0 } else { kept.taken.bytes() };
            taken + kept.waiting.as_ref().map_or(0, |(_, records)| size_of::<Excerpt>() + records.bytes())
        });
        size_of::<Station>() + map_bytes::<WorkerId, Kept>(self.kept.len()) + kept.sum::<usize>()
    }
}

/// How much memory a tree with so many entries takes: nodes of eleven, of which five are taken at least.
pub(super) fn map_bytes<K, V>(entries: usize) -> usize {
    entries.div_ceil(5) * 11 * (size_of::<K>() + size_of::<V>())
}

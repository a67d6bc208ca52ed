//! A round of a worker and, beside it, of a twin that was restored from the worker's snapshot just before.
//!
//! Both get the same; neither may do what the other doesn't. What is compared: the snapshot of what was restored, external
//! questions, deliveries, digest, outputs, and the snapshots after the round. Nothing here knows FSM types.

use crate::{
    Catalogue, Deliveries, Delivery, ExternalFault, Externals, ImageError, Place, RoundEnd, SnapshotError, Time,
    Worker, WorkerId, frame::Batch,
};

/// What a round gave, the same with the worker and its twin.
#[derive(Debug)]
#[must_use]
pub struct TwinRound {
    /// How it ended.
    pub end: RoundEnd,
    /// What was put out, by destination in the order of first use.
    pub outputs: Vec<(Place, Batch)>,
}

/// Why a worker's restored twin is not its twin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Apart {
    /// There is no snapshot to make a twin from.
    #[error("before round {round}: the worker can't be snapshot: {error}")]
    NoSnapshot {
        /// The round that was about to run.
        round: u64,
        /// What is wrong.
        error: SnapshotError,
    },
    /// The snapshot is no worker.
    #[error("before round {round}: the worker's snapshot can't be restored: {error}")]
    NotRestored {
        /// The round that was about to run.
        round: u64,
        /// What is wrong.
        error: ImageError,
    },
    /// They did not do the same.
    #[error(
        "round {round}: a twin that was restored from a snapshot just before it went another way: {what}. An FSM depends \
         on something that is not in its data, or that the codec doesn't carry: a field with `#[serde(skip)]`, a static, a \
         clock, ambient randomness, the order of a hash map"
    )]
    Differs {
        /// The round.
        round: u64,
        /// What differs, and at which FSM if that is known.
        what: String,
    },
}

/// Runs a round of `live` and of a twin that is restored from its snapshot, and compares them. `batches` must be what
/// [`Worker::admission`] lets in whole. External values are read once, for `live`; the twin gets the same.
///
/// With [`Recording::Everything`](crate::Recording::Everything) a difference names the FSM and its message.
///
/// # Errors
/// When the twin can't be made or goes another way; `live` has run the round in the latter case.
///
/// # Panics
/// Where [`Worker::feed`] and [`Worker::snapshot`] panic: faults of the caller's.
pub fn twin_round(
    live: &mut Worker,
    now: Time,
    batches: &[Batch],
    bound: u32,
    externals: &mut dyn Externals,
) -> Result<TwinRound, Apart> {
    let round = live.rounds() + 1;
    let differs = |what: String| Apart::Differs { round, what };
    let catalogue = live.catalogue().clone();
    let image = image_of(live, round)?;
    let mut twin = Worker::restore(catalogue.clone(), &image).map_err(|error| Apart::NotRestored { round, error })?;
    if image_of(&twin, round)? != image {
        return Err(differs("what was restored gives another snapshot".to_owned()));
    }

    let mut recorder = Recorder { inner: externals, told: Vec::new() };
    let (end, outputs) = run(live, now, batches, bound, &mut recorder);
    let told = recorder.told;
    let mut player = Player { who: "the twin", told: told.iter(), differs: None };
    let (twin_end, twin_outputs) = run(&mut twin, now, batches, bound, &mut player);

    if let Some(what) = player.differs {
        return Err(differs(what));
    }
    if let Some(what) = first_difference(&catalogue, live.deliveries(), twin.deliveries()) {
        return Err(differs(what));
    }
    if player.told.next().is_some() {
        return Err(differs("the twin asked for fewer external values".to_owned()));
    }
    if end != twin_end {
        return Err(differs(format!("the live worker's round ended as {end:?}, the twin's as {twin_end:?}")));
    }
    if outputs != twin_outputs {
        return Err(differs("they put out different frames".to_owned()));
    }
    if end.fault.is_none() && image_of(live, round)? != image_of(&twin, round)? {
        return Err(differs("their snapshots after it differ".to_owned()));
    }
    Ok(TwinRound { end, outputs })
}

fn image_of(worker: &Worker, round: u64) -> Result<Vec<u8>, Apart> {
    let mut image = Vec::new();
    worker.snapshot(&mut image).map_err(|error| Apart::NoSnapshot { round, error })?;
    Ok(image)
}

/// Feeds a worker, runs its round, and takes what it put out.
pub(super) fn run(
    worker: &mut Worker,
    now: Time,
    batches: &[Batch],
    bound: u32,
    externals: &mut dyn Externals,
) -> (RoundEnd, Vec<(Place, Batch)>) {
    worker.feed(now, batches.iter().map(Batch::as_ref));
    let end = worker.round(bound, externals);
    let mut outputs = Vec::new();
    worker.drain_outputs(|place, batch| outputs.push((place, batch.clone())));
    (end, outputs)
}

/// Where two rounds' deliveries part, in words.
pub(super) fn first_difference(catalogue: &Catalogue, live: &[u8], twin: &[u8]) -> Option<String> {
    let read = |bytes| Deliveries::new(bytes).collect::<Result<Vec<_>, _>>();
    let (Ok(live), Ok(twin)) = (read(live), read(twin)) else {
        return Some("the record of deliveries can't be read".to_owned());
    };
    for (count, (live, twin)) in (1..).zip(live.iter().zip(&twin)) {
        if live != twin {
            let Delivery { queue, kind, .. } = live;
            let what = if (live.queue, &live.payload, live.sender) != (twin.queue, &twin.payload, twin.sender) {
                "another message was delivered"
            } else if live.state != twin.state {
                "the state after it differs"
            } else if live.data_digest != twin.data_digest {
                "the FSM's data after it differs"
            } else if live.effects_digest != twin.effects_digest {
                "what the handler asked for differs"
            } else {
                "random draws, timers or external values differ"
            };
            let kind = catalogue.kind_name(*kind);
            return Some(format!("message {count} of the round, handled by {queue} of kind {kind}: {what}"));
        }
    }
    let (live, twin) = (live.len(), twin.len());
    (live != twin).then(|| format!("the live worker handled {live} messages and the twin {twin}"))
}

/// What a worker was told from outside in the middle of a round.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Value { port: String, question: Vec<u8>, answer: Result<Vec<u8>, ExternalFault> },
    Version { name: String, version: u32 },
}

/// Asks who stands in for the world, and keeps what it said.
pub(super) struct Recorder<'a> {
    pub(super) inner: &'a mut dyn Externals,
    pub(super) told: Vec<Told>,
}

impl Externals for Recorder<'_> {
    fn read(&mut self, worker: WorkerId, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        let answer = self.inner.read(worker, port, question);
        self.told.push(Told::Value { port: port.to_owned(), question: question.to_vec(), answer: answer.clone() });
        answer
    }

    fn version(&mut self, worker: WorkerId, name: &str, known: u32, latest: u32) -> Result<u32, ExternalFault> {
        let version = self.inner.version(worker, name, known, latest)?;
        if version != known {
            self.told.push(Told::Version { name: name.to_owned(), version });
        }
        Ok(version)
    }
}

/// Says what was said before, to who asks the same.
pub(super) struct Player<'a> {
    /// Who asks, in words.
    pub(super) who: &'static str,
    pub(super) told: std::slice::Iter<'a, Told>,
    pub(super) differs: Option<String>,
}

impl Externals for Player<'_> {
    fn read(&mut self, _: WorkerId, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault> {
        match self.told.next() {
            Some(Told::Value { port: of, question: asked, answer }) if of == port && asked == question => {
                answer.clone()
            }
            _ => {
                let what = format!("{} asked port {port} for a value that the other did not ask for", self.who);
                self.differs.get_or_insert(what.clone());
                Err(ExternalFault(what))
            }
        }
    }

    fn version(&mut self, _: WorkerId, name: &str, known: u32, _: u32) -> Result<u32, ExternalFault> {
        match self.told.as_slice().first() {
            Some(Told::Version { name: of, version }) if of == name => {
                self.told.next();
                Ok(*version)
            }
            _ => Ok(known),
        }
    }
}

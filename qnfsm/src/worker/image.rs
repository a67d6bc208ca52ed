//! A worker's snapshot: everything that it is between two rounds, so that a restored one does nothing otherwise.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{
    Deserialize, Serialize, Serializer,
    ser::{Error, SerializeSeq},
};

use crate::{
    codec::{Codec, DecodeError, EncodeError, Trust},
    id::{Epoch, NodeId, Place, RawQueueId, WorkerId},
    slots::Slots,
    time::Time,
    worker::{
        Catalogue, Counters, Worker, WorkerConfig,
        image_bytes::ImageBytes,
        outputs::{Outputs, StreamImage},
        ready::Behind,
        seats::Seat,
        timers::Timers,
        waiting::Waiting,
        waiting_image::WaitingImage,
    },
};

/// Why bytes are not the image of a worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// They can't be decoded.
    #[error("the worker's image: {0}")]
    Malformed(DecodeError),
    /// One FSM can't be decoded; its fields have changed, or the bytes.
    #[error("the worker's image: {queue} of kind {kind}: {error}")]
    Cell {
        /// Its queue.
        queue: RawQueueId,
        /// Its kind.
        kind: String,
        /// What is wrong.
        error: DecodeError,
    },
    /// Its parts contradict one another.
    #[error("the worker's image contradicts itself: {0}")]
    Inconsistent(&'static str),
}

/// Why a worker can't be written down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a snapshot can't be made, because {queue} of kind {kind} can't be encoded: {error}")]
pub struct SnapshotError {
    /// The queue of the FSM.
    pub queue: RawQueueId,
    /// Its kind.
    pub kind: String,
    /// What is wrong.
    pub error: EncodeError,
}

/// No worker counts so far in centuries; below it counting can't overflow.
pub(super) const COUNT_MAX: u64 = 1 << 62;

/// The image. What is written has its FSMs as [`CellsOf`] a worker, what is read as a list; their bytes are the same.
#[derive(Serialize, Deserialize)]
pub(super) struct Image<Cells = Vec<CellImage>> {
    pub(super) node: NodeId,
    pub(super) worker: WorkerId,
    pub(super) epoch: Epoch,
    pub(super) config: WorkerConfig,
    pub(super) round: u64,
    pub(super) now: Time,
    pub(super) next_timer: u64,
    pub(super) slots: Slots,
    pub(super) cells: Cells,
    pub(super) ready: Vec<u32>,
    pub(super) timers: Timers,
    pub(super) streams: Vec<StreamImage>,
    pub(super) taken: BTreeMap<Place, (Epoch, u64)>,
    pub(super) watches: BTreeMap<RawQueueId, Vec<RawQueueId>>,
    pub(super) mourners: Vec<RawQueueId>,
    pub(super) counters: Counters,
    /// Which version of each behaviour is used.
    pub(super) versions: BTreeMap<String, u32>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct CellImage {
    pub(super) slot: u32,
    pub(super) generation: u32,
    pub(super) kind: u32,
    pub(super) bytes: ImageBytes,
    pub(super) waiting: WaitingImage,
}

impl Image {
    /// Reads what [`Worker::snapshot`] wrote. Whether it holds together is not looked at.
    pub(super) fn read(bytes: &[u8]) -> Result<Image, ImageError> {
        let image: Image = Codec::CURRENT.decode(bytes, Trust::Node).map_err(ImageError::Malformed)?;
        if image.worker.0 >= 1 << 31 {
            return Err(ImageError::Inconsistent("no worker has that number"));
        }
        Ok(image)
    }
}

/// All FSMs of a worker as a list of [`CellImage`]. They are written one after another, so that beside the image no more than
/// one of them is in memory twice.
struct CellsOf<'a> {
    worker: &'a Worker,
    /// Why one of them couldn't be written; serde carries no more of it than a text.
    refused: RefCell<Option<SnapshotError>>,
}

impl Serialize for CellsOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Worker { seats, pools, envelopes, catalogue, .. } = self.worker;
        let mut cells = serializer.serialize_seq(Some(self.worker.fsms as usize))?;
        let mut buffer = Vec::new();
        for (slot, seat) in (0..).zip(seats) {
            let Some(cell) = &seat.cell else { continue };
            let (generation, kind) = (seat.queue.generation(), seat.kind);
            buffer.clear();
            let pool = pools.see(seat.intake.message);
            let waiting = cell.encode(&mut buffer).and_then(|()| seat.waiting.to_image(pool, envelopes));
            let waiting = waiting.map_err(|error| {
                let text = error.to_string();
                let kind = catalogue.kind_name(kind).to_owned();
                self.refused.replace(Some(SnapshotError { queue: self.worker.queue_of(slot), kind, error }));
                S::Error::custom(text)
            })?;
            let image = CellImage { slot, generation, kind, bytes: ImageBytes(buffer), waiting };
            cells.serialize_element(&image)?;
            buffer = image.bytes.0;
        }
        cells.end()
    }
}

impl Worker {
    /// Appends everything that the worker is.
    ///
    /// # Errors
    /// When an FSM's data can't be encoded.
    ///
    /// # Panics
    /// When the last round's outputs weren't drained, or the worker can't go on: faults of the driver.
    pub fn snapshot(&self, out: &mut Vec<u8>) -> Result<(), SnapshotError> {
        assert!(self.outputs.is_empty(), "outputs are drained before a snapshot");
        assert!(self.fault.is_none(), "a worker with a fault is in the middle of a round");
        let image = Image {
            node: self.effects.node,
            worker: self.id(),
            epoch: self.epoch,
            config: self.config,
            round: self.round,
            now: self.effects.now,
            next_timer: self.effects.next_timer,
            slots: self.effects.slots.clone(),
            cells: CellsOf { worker: self, refused: RefCell::default() },
            ready: self.ready.iter(&self.seats).collect(),
            timers: self.timers.clone(),
            streams: self.outputs.image(),
            taken: self.taken.clone(),
            watches: self.watches.clone(),
            mourners: self.mourners.clone(),
            counters: self.counters.clone(),
            versions: self.effects.versions.clone(),
        };
        Codec::CURRENT.encode(&image, out).map_err(|_| {
            let refused = image.cells.refused.take();
            refused.expect("beside FSMs, which are bytes here, an image is numbers and short texts")
        })
    }

    /// The worker of an image.
    ///
    /// # Errors
    /// When the bytes are no image, or one of other kinds than the catalogue's.
    pub fn restore(catalogue: Arc<Catalogue>, bytes: &[u8]) -> Result<Worker, ImageError> {
        Worker::of_image(catalogue, Image::read(bytes)?)
    }

    /// # Errors
    /// When its parts contradict one another, or it is of other kinds than the catalogue's.
    pub(super) fn of_image(catalogue: Arc<Catalogue>, image: Image) -> Result<Worker, ImageError> {
        let counters = &image.counters;
        let counts = [image.round, image.next_timer, counters.handled, counters.panics];
        if counts.iter().chain(counters.dead_letters.values()).any(|count| *count > COUNT_MAX) {
            return Err(ImageError::Inconsistent("a count that no worker reaches"));
        }
        if !image.slots.is_consistent() {
            return Err(ImageError::Inconsistent("its free slots are not slots, or stand there twice"));
        }
        let mut worker = Worker::new(catalogue, image.node, image.worker, image.epoch, image.config);
        let place = Place::worker(image.worker);
        worker.outputs = Outputs::new(place, image.epoch, image.streams);
        worker.round = image.round;
        worker.effects.now = image.now;
        worker.effects.next_timer = image.next_timer;
        worker.seats.extend(
            (0..)
                .zip(image.slots.generations())
                .map(|(slot, generation)| Seat::empty(RawQueueId::new(image.node, place, slot, generation))),
        );
        for CellImage { slot, generation, kind, bytes, waiting } in image.cells {
            let queue = RawQueueId::new(image.node, place, slot, generation);
            if !image.slots.has(slot, generation) {
                return Err(ImageError::Inconsistent("an FSM is in a slot of another generation"));
            }
            let Worker { catalogue, pools, envelopes, seats, .. } = &mut worker;
            let known = catalogue.kind(kind).ok_or(ImageError::Inconsistent("a kind that is not registered"))?;
            let in_cell = |error| ImageError::Cell { queue, kind: known.name.to_owned(), error };
            let cell = (known.restore)(&bytes.0, known.setup(queue, image.config.seed)).map_err(in_cell)?;
            let mut waiting = Waiting::of_image(waiting, known.intake, pools, envelopes).map_err(in_cell)?;
            let seat = &mut seats[slot as usize];
            if seat.cell.is_some() {
                return Err(ImageError::Inconsistent("two FSMs are in one slot"));
            }
            waiting.start_is_due = !cell.has_started();
            *seat = Seat { kind, intake: known.intake, waiting, cell: Some(cell), ..Seat::empty(queue) };
            worker.fsms += 1;
        }
        if image.slots.free_slots().any(|slot| worker.seats[slot as usize].cell.is_some()) {
            return Err(ImageError::Inconsistent("an FSM is in a slot that is free"));
        }
        for slot in &image.ready {
            match worker.seats.get(*slot as usize) {
                Some(seat) if seat.behind == Behind::NOT_READY => worker.ready.push(&mut worker.seats, *slot),
                _ => return Err(ImageError::Inconsistent("its ready queue names a slot twice or one that isn't")),
            }
        }
        worker.effects.slots = image.slots;
        worker.timers = image.timers;
        worker.taken = image.taken;
        worker.watches = image.watches;
        worker.mourners = image.mourners;
        worker.counters = image.counters;
        worker.effects.versions = image.versions;
        worker.check_links()?;
        Ok(worker)
    }

    /// What FSMs know of timers and watches is what the worker knows.
    fn check_links(&mut self) -> Result<(), ImageError> {
        if self.seats.iter().any(|seat| seat.waiting.is_ready() && seat.behind == Behind::NOT_READY) {
            return Err(ImageError::Inconsistent("an FSM has work and no turn"));
        }
        let mut timers = BTreeSet::new();
        for (slot, seat) in (0..).zip(&self.seats) {
            let Some(cell) = &seat.cell else { continue };
            for (key, due) in seat.waiting.keys() {
                if self.timers.find(key) != Some((self.queue_of(slot), due)) || key.timer.0 > self.effects.next_timer {
                    return Err(ImageError::Inconsistent("an FSM's timer is not among the worker's"));
                }
                if !timers.insert(key.timer) {
                    return Err(ImageError::Inconsistent("two timers have one number"));
                }
            }
            let requests = cell.requests();
            let contradiction = cell.contradiction().or_else(|| {
                seat.waiting.contradiction(requests, seat.intake.message, &self.catalogue, &self.envelopes)
            });
            if let Some(what) = contradiction {
                return Err(ImageError::Inconsistent(what));
            }
        }
        if timers.len() != self.timers.len() {
            return Err(ImageError::Inconsistent("a timer of no FSM"));
        }
        self.check_watches()
    }

    /// Who hears of dead letters is here, and once; and FSMs and the worker say the same of who watches whom.
    fn check_watches(&self) -> Result<(), ImageError> {
        let is_here = |queue: RawQueueId| self.seat(queue).is_some_and(|seat| seat.queue == queue);
        let mourners: BTreeSet<_> = self.mourners.iter().copied().collect();
        if mourners.len() != self.mourners.len() || !mourners.into_iter().all(is_here) {
            return Err(ImageError::Inconsistent("who is told of dead letters is no FSM of it, or stands there twice"));
        }
        let mut links = BTreeSet::new();
        for seat in &self.seats {
            for target in seat.waiting.watched() {
                if !links.insert((seat.queue, *target)) {
                    return Err(ImageError::Inconsistent("an FSM watches a queue twice"));
                }
            }
        }
        let here = self.here();
        for (target, watchers) in &self.watches {
            if watchers.is_empty() || (target.place() == here && !is_here(*target)) {
                return Err(ImageError::Inconsistent("a queue is watched by nobody, or is no FSM"));
            }
            if watchers.iter().any(|watcher| watcher.place() == here && !links.remove(&(*watcher, *target))) {
                return Err(ImageError::Inconsistent("a watcher doesn't know that it watches"));
            }
        }
        if !links.is_empty() {
            return Err(ImageError::Inconsistent("an FSM watches what the worker doesn't have as watched"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Context, Fsm, Kinds, Next,
        frame::{Batch, Class, Header, edge_queue},
        fsm::TimerId,
        id::EdgeId,
        worker::timers::{Due, TimerKey},
    };

    #[derive(Serialize, Deserialize)]
    struct Sleeper;

    impl Fsm for Sleeper {
        const NAME: &'static str = "sleeper";
        type State = ();
        type Message = u8;
        fn start(&mut self, cx: &mut Context<'_, Self>) {
            cx.after(std::time::Duration::from_secs(1), 1);
        }
        fn handle(&mut self, (): (), _: u8, _: &mut Context<'_, Self>) -> Next<Self> {
            Next::Stay
        }
    }

    struct NoPorts;
    impl crate::Externals for NoPorts {
        fn read(&mut self, _: WorkerId, _: &str, _: &[u8]) -> Result<Vec<u8>, crate::ExternalFault> {
            Err(crate::ExternalFault("there are no ports".to_owned()))
        }
    }

    /// What comes of a worker with two sleepers and a freed slot when its image was changed.
    fn restored_after(change: impl FnOnce(&mut Image)) -> Result<Worker, ImageError> {
        let catalogue = Kinds::new().with::<Sleeper>().seal().expect("the kind is plain");
        let mut worker = Worker::new(catalogue.clone(), NodeId(0), WorkerId(0), Epoch::FIRST, WorkerConfig::default());
        let edge = edge_queue(NodeId(0), EdgeId::HOST);
        let mut batch = Batch::new(edge.place(), Epoch::FIRST, 1);
        let target = |slot, generation| RawQueueId::new(edge.node(), Place::worker(WorkerId(0)), slot, generation);
        for _ in 0..3 {
            batch.push(&Header::to(Class::Spawn, 0, target(0, 0), edge), &[0]);
        }
        batch.push(&Header::to(Class::Stop, 0, target(2, 1), edge), &[]);
        worker.feed(Time::ZERO, [batch.as_ref()]);
        assert!(worker.round(10, &mut NoPorts).idle);
        let mut bytes = Vec::new();
        worker.snapshot(&mut bytes).expect("sleepers can be encoded");
        let mut image: Image = Codec::CURRENT.decode(&bytes, Trust::Node).expect("it was just encoded");
        change(&mut image);
        bytes.clear();
        Codec::CURRENT.encode(&image, &mut bytes).expect("an image can be encoded");
        Worker::restore(catalogue, &bytes)
    }

    fn refusal(change: impl FnOnce(&mut Image)) -> &'static str {
        match restored_after(change) {
            Err(ImageError::Inconsistent(what)) => what,
            Err(other) => panic!("{other}"),
            Ok(_) => "nothing",
        }
    }

    #[test]
    fn r7_an_unchanged_image_is_restored() {
        assert_eq!(restored_after(|_| {}).map(|worker| worker.fsms()), Ok(2));
    }

    #[test]
    fn a_timer_of_no_fsm_is_refused() {
        let stray = |image: &mut Image| {
            let queue = RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), 2, 1);
            image.timers.set(TimerKey { deadline: Time::ZERO, timer: TimerId(1) }, queue, Due::Timer);
        };
        assert_eq!(refusal(stray), "a timer of no FSM");
        assert_eq!(refusal(|image| image.timers = Timers::default()), "an FSM's timer is not among the worker's");
        assert_eq!(refusal(|image| image.next_timer = 0), "an FSM's timer is not among the worker's");
    }

    #[test]
    fn who_hears_of_what_is_an_fsm_that_knows_of_it() {
        let queue = |worker, slot| RawQueueId::new(NodeId(0), Place::worker(WorkerId(worker)), slot, 1);
        let watched = |image: &mut Image, slot: usize| {
            let extras = image.cells[slot].waiting.extras.as_mut().expect("a sleeper has a timer");
            extras.watched.push(queue(0, 1));
        };
        let mourners = "who is told of dead letters is no FSM of it, or stands there twice";
        assert_eq!(refusal(|image| image.mourners = vec![queue(0, 0), queue(0, 1)]), "nothing");
        for mourners_of in [vec![queue(1, 0)], vec![queue(0, 2)], vec![queue(0, 9)], vec![queue(0, 0); 2]] {
            assert_eq!(refusal(|image| image.mourners = mourners_of.clone()), mourners, "{mourners_of:?}");
        }
        let other_node = RawQueueId::new(NodeId(1), Place::worker(WorkerId(0)), 0, 1);
        assert_eq!(refusal(|image| image.mourners = vec![other_node]), mourners);

        let watches = |image: &mut Image, target, watcher| image.watches.entry(target).or_default().push(watcher);
        let both = |image: &mut Image| {
            watched(image, 0);
            watches(image, queue(0, 1), queue(0, 0));
        };
        assert_eq!(refusal(both), "nothing");
        assert_eq!(refusal(|image| watches(image, queue(0, 1), queue(1, 0))), "nothing");
        assert_eq!(refusal(|image| watched(image, 0)), "an FSM watches what the worker doesn't have as watched");
        let twice = |image: &mut Image| (0..2).for_each(|_| watched(image, 0));
        assert_eq!(refusal(twice), "an FSM watches a queue twice");
        let unknowing = "a watcher doesn't know that it watches";
        assert_eq!(refusal(|image| watches(image, queue(0, 1), queue(0, 0))), unknowing);
        assert_eq!(refusal(|image| watches(image, queue(1, 1), queue(0, 9))), unknowing);
        let gone = "a queue is watched by nobody, or is no FSM";
        assert_eq!(refusal(|image| watches(image, queue(0, 2), queue(1, 0))), gone);
        assert_eq!(refusal(|image| drop(image.watches.insert(queue(0, 1), vec![]))), gone);
    }

    #[test]
    fn counts_that_would_overflow_are_refused() {
        assert_eq!(refusal(|image| image.round = u64::MAX), "a count that no worker reaches");
        assert_eq!(refusal(|image| image.next_timer = u64::MAX), "a count that no worker reaches");
        assert_eq!(refusal(|image| image.counters.handled = u64::MAX), "a count that no worker reaches");
        assert_eq!(refusal(|image| image.counters.panics = u64::MAX), "a count that no worker reaches");
    }

    #[test]
    fn slots_that_contradict_their_fsms_are_refused() {
        assert_eq!(refusal(|image| image.slots.free(0)), "an FSM is in a slot that is free");
        assert_eq!(refusal(|image| image.slots.free(2)), "its free slots are not slots, or stand there twice");
        let twice = |image: &mut Image| {
            let copy = image.cells[0].clone();
            image.cells.push(copy);
        };
        assert_eq!(refusal(twice), "two FSMs are in one slot");
        assert_eq!(refusal(|image| image.cells[0].generation = 2), "an FSM is in a slot of another generation");
        assert_eq!(refusal(|image| image.cells[0].kind = 1), "a kind that is not registered");
        assert_eq!(refusal(|image| image.ready = vec![0, 0]), "its ready queue names a slot twice or one that isn't");
        assert_eq!(refusal(|image| image.ready = vec![9]), "its ready queue names a slot twice or one that isn't");
        assert_eq!(refusal(|image| image.worker = WorkerId(1 << 31)), "no worker has that number");
    }

    /// Can't be written down once it has had a message.
    #[derive(Serialize, Deserialize)]
    struct Sulker {
        #[serde(serialize_with = "unless_it_sulks")]
        sulks: bool,
    }

    fn unless_it_sulks<S: Serializer>(sulks: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        if *sulks { Err(S::Error::custom("it sulks")) } else { serializer.serialize_bool(false) }
    }

    impl Fsm for Sulker {
        const NAME: &'static str = "sulker";
        type State = ();
        type Message = u8;
        fn start(&mut self, _: &mut Context<'_, Self>) {}
        fn handle(&mut self, (): (), _: u8, _: &mut Context<'_, Self>) -> Next<Self> {
            self.sulks = true;
            Next::Stay
        }
    }

    #[test]
    fn an_fsm_that_cant_be_encoded_is_named_and_nothing_of_the_image_is_left() {
        let catalogue = Kinds::new().with::<Sulker>().seal().expect("the kind is plain");
        let number = catalogue.type_number::<u8>().expect("the kind takes it");
        let mut worker = Worker::new(catalogue, NodeId(0), WorkerId(0), Epoch::FIRST, WorkerConfig::default());
        let edge = edge_queue(NodeId(0), EdgeId::HOST);
        let queue = |slot, generation| RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), slot, generation);
        let mut batch = Batch::new(edge.place(), Epoch::FIRST, 1);
        batch.push(&Header::to(Class::Spawn, 0, queue(0, 0), edge), &[0, 0]);
        batch.push(&Header::to(Class::Spawn, 0, queue(0, 0), edge), &[0, 0]);
        batch.push(&Header::message(number, queue(1, 1), edge), &[7]);
        worker.feed(Time::ZERO, [batch.as_ref()]);
        assert!(worker.round(10, &mut NoPorts).idle);
        let mut out = vec![1, 2, 3];
        let refused = worker.snapshot(&mut out).map_err(|refused| (refused.queue, refused.kind, refused.error));
        let why = EncodeError::Refused("it sulks".to_owned());
        assert_eq!(refused, Err((queue(1, 1), "sulker".to_owned(), why)));
        assert_eq!(out, [1, 2, 3]);
    }
}

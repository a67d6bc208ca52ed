//! A worker's image: everything that it is between two rounds, so that a restored one does nothing otherwise. How it is read, and
//! what must hold of it; [`snapshot`](super::snapshot) writes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    codec::{Codec, DecodeError, Trust},
    id::{Epoch, NodeId, Place, RawQueueId, WorkerId},
    slots::Slots,
    time::Time,
    worker::{
        Catalogue, Counters, Worker, WorkerConfig,
        image_bytes::ImageBytes,
        outputs::{Outputs, StreamImage},
        ready::Behind,
        seats::Seat,
        taking::Watchers,
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
    /// One FSM is of a kind that the program doesn't register though the one that recorded it did.
    #[error("the worker's image: {queue} is of kind {kind}, which isn't registered")]
    NoKind {
        /// Its queue.
        queue: RawQueueId,
        /// Its kind.
        kind: String,
    },
    /// An FSM waits for an answer that this program doesn't say how to take.
    #[error(
        "the worker's image: {queue} of kind {kind} waits for an answer of type {answer}, which its messages don't take"
    )]
    NoAnswer {
        /// Its queue.
        queue: RawQueueId,
        /// Its kind.
        kind: String,
        /// The answer's type.
        answer: String,
    },
    /// Its parts contradict one another.
    #[error("the worker's image contradicts itself: {0}")]
    Inconsistent(&'static str),
}

/// No worker counts so far in centuries; below it counting can't overflow.
pub(super) const COUNT_MAX: u64 = 1 << 62;

/// The image. It is written part by part, one behind the other: see [`Worker::snapshot`].
#[derive(Serialize, Deserialize)]
pub(super) struct Image {
    pub(super) head: Head,
    pub(super) cells: Vec<CellImage>,
    pub(super) ready: Vec<u32>,
    pub(super) watches: Watchers,
    pub(super) rest: Rest,
}

/// What stands before the FSMs.
#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) node: NodeId,
    pub(super) worker: WorkerId,
    pub(super) epoch: Epoch,
    pub(super) config: WorkerConfig,
    pub(super) round: u64,
    pub(super) now: Time,
    pub(super) next_timer: u64,
    pub(super) slots: Slots,
}

/// What stands at the end. Timers are those that the FSMs know of.
#[derive(Serialize, Deserialize)]
pub(super) struct Rest {
    pub(super) streams: Vec<StreamImage>,
    pub(super) taken: BTreeMap<Place, (Epoch, u64)>,
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
        if image.head.worker.0 >= 1 << 31 {
            return Err(ImageError::Inconsistent("no worker has that number"));
        }
        Ok(image)
    }
}

impl Worker {
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
        let Image { head, cells, ready, watches, rest } = image;
        let counters = &rest.counters;
        let counts = [head.round, head.next_timer, counters.handled, counters.panics];
        if counts.iter().chain(counters.dead_letters.values()).any(|count| *count > COUNT_MAX) {
            return Err(ImageError::Inconsistent("a count that no worker reaches"));
        }
        if !head.slots.is_consistent() {
            return Err(ImageError::Inconsistent("its free slots are not slots, or stand there twice"));
        }
        let mut worker = Worker::new(catalogue, head.node, head.worker, head.epoch, head.config);
        let place = Place::worker(head.worker);
        worker.outputs = Outputs::new(place, head.epoch, rest.streams);
        worker.round = head.round;
        worker.effects.now = head.now;
        worker.effects.next_timer = head.next_timer;
        worker.seats.extend(
            (0..)
                .zip(head.slots.generations())
                .map(|(slot, generation)| Seat::empty(RawQueueId::new(head.node, place, slot, generation))),
        );
        for CellImage { slot, generation, kind, bytes, waiting } in cells {
            let queue = RawQueueId::new(head.node, place, slot, generation);
            if !head.slots.has(slot, generation) {
                return Err(ImageError::Inconsistent("an FSM is in a slot of another generation"));
            }
            let Worker { catalogue, pools, envelopes, seats, .. } = &mut worker;
            let known = catalogue.kind(kind).ok_or_else(|| match catalogue.lacks_kind(kind) {
                true => ImageError::NoKind { queue, kind: catalogue.kind_name(kind).to_owned() },
                false => ImageError::Inconsistent("a kind that is not registered"),
            })?;
            let in_cell = |error| ImageError::Cell { queue, kind: known.name.to_owned(), error };
            let cell = (known.restore)(&bytes.0, known.setup(queue, head.config.seed)).map_err(in_cell)?;
            let mut waiting = Waiting::of_image(waiting, known.intake, pools, envelopes).map_err(in_cell)?;
            let seat = &mut seats[slot as usize];
            if seat.cell.is_some() {
                return Err(ImageError::Inconsistent("two FSMs are in one slot"));
            }
            waiting.start_is_due = !cell.has_started();
            *seat = Seat { kind, intake: known.intake, waiting, cell: Some(cell), ..Seat::empty(queue) };
            worker.fsms += 1;
        }
        if head.slots.free_slots().any(|slot| worker.seats[slot as usize].cell.is_some()) {
            return Err(ImageError::Inconsistent("an FSM is in a slot that is free"));
        }
        for slot in &ready {
            match worker.seats.get(*slot as usize) {
                Some(seat) if seat.behind == Behind::NOT_READY => worker.ready.push(&mut worker.seats, *slot),
                _ => return Err(ImageError::Inconsistent("its ready queue names a slot twice or one that isn't")),
            }
        }
        worker.effects.slots = head.slots;
        worker.taken = rest.taken;
        worker.watches = watches;
        worker.mourners = rest.mourners;
        worker.counters = rest.counters;
        worker.effects.versions = rest.versions;
        worker.set_timers()?;
        worker.check_links()?;
        Ok(worker)
    }

    /// Sets the timers that the FSMs know of.
    fn set_timers(&mut self) -> Result<(), ImageError> {
        let mut numbers = BTreeSet::new();
        for seat in &self.seats {
            for (key, due) in seat.waiting.keys() {
                if key.timer.0 > self.effects.next_timer {
                    return Err(ImageError::Inconsistent("a timer has a number that was never given out"));
                }
                if !numbers.insert(key.timer) {
                    return Err(ImageError::Inconsistent("two timers have one number"));
                }
                self.timers.set(key, seat.queue, due);
            }
        }
        Ok(())
    }

    /// What FSMs are and what waits for them go together, and what they know of watches is what the worker knows.
    fn check_links(&mut self) -> Result<(), ImageError> {
        if self.seats.iter().any(|seat| seat.waiting.is_ready() && seat.behind == Behind::NOT_READY) {
            return Err(ImageError::Inconsistent("an FSM has work and no turn"));
        }
        for seat in &self.seats {
            let Some(cell) = &seat.cell else { continue };
            let requests = cell.requests();
            let contradiction =
                cell.contradiction().or_else(|| seat.waiting.contradiction(requests, &self.catalogue, &self.envelopes));
            if let Some(what) = contradiction {
                return Err(ImageError::Inconsistent(what));
            }
            if let Some(answer) = seat.waiting.untaken_answer(seat.intake.message, &self.catalogue) {
                let kind = self.catalogue.kind_name(seat.kind).to_owned();
                let answer = self.catalogue.message_name(answer).to_owned();
                return Err(ImageError::NoAnswer { queue: seat.queue, kind, answer });
            }
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
        // Who has the ID of another node's queue may watch that.
        let is_own = |queue: RawQueueId| queue.place() == here && queue.node() == self.effects.node;
        for (target, watchers) in &self.watches {
            if watchers.is_empty() || (is_own(*target) && !is_here(*target)) {
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
        id::EdgeId,
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
    fn timers_with_numbers_that_were_not_given_out_once_are_refused() {
        let never = "a timer has a number that was never given out";
        assert_eq!(refusal(|image| image.head.next_timer = 0), never);
        let twice = |image: &mut Image| {
            let extras = image.cells[0].waiting.extras.clone();
            image.cells[1].waiting.extras = extras;
        };
        assert_eq!(refusal(twice), "two timers have one number");
    }

    #[test]
    fn who_hears_of_what_is_an_fsm_that_knows_of_it() {
        let queue = |worker, slot| RawQueueId::new(NodeId(0), Place::worker(WorkerId(worker)), slot, 1);
        let watched = |image: &mut Image, slot: usize| {
            let extras = image.cells[slot].waiting.extras.as_mut().expect("a sleeper has a timer");
            extras.watched.push(queue(0, 1));
        };
        let mourners = "who is told of dead letters is no FSM of it, or stands there twice";
        assert_eq!(refusal(|image| image.rest.mourners = vec![queue(0, 0), queue(0, 1)]), "nothing");
        for mourners_of in [vec![queue(1, 0)], vec![queue(0, 2)], vec![queue(0, 9)], vec![queue(0, 0); 2]] {
            assert_eq!(refusal(|image| image.rest.mourners = mourners_of.clone()), mourners, "{mourners_of:?}");
        }
        let other_node = RawQueueId::new(NodeId(1), Place::worker(WorkerId(0)), 0, 1);
        assert_eq!(refusal(|image| image.rest.mourners = vec![other_node]), mourners);

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
        assert_eq!(refusal(|image| image.head.round = u64::MAX), "a count that no worker reaches");
        assert_eq!(refusal(|image| image.head.next_timer = u64::MAX), "a count that no worker reaches");
        assert_eq!(refusal(|image| image.rest.counters.handled = u64::MAX), "a count that no worker reaches");
        assert_eq!(refusal(|image| image.rest.counters.panics = u64::MAX), "a count that no worker reaches");
    }

    #[test]
    fn slots_that_contradict_their_fsms_are_refused() {
        assert_eq!(refusal(|image| image.head.slots.free(0)), "an FSM is in a slot that is free");
        assert_eq!(refusal(|image| image.head.slots.free(2)), "its free slots are not slots, or stand there twice");
        let twice = |image: &mut Image| {
            let copy = image.cells[0].clone();
            image.cells.push(copy);
        };
        assert_eq!(refusal(twice), "two FSMs are in one slot");
        assert_eq!(refusal(|image| image.cells[0].generation = 2), "an FSM is in a slot of another generation");
        assert_eq!(refusal(|image| image.cells[0].kind = 1), "a kind that is not registered");
        assert_eq!(refusal(|image| image.ready = vec![0, 0]), "its ready queue names a slot twice or one that isn't");
        assert_eq!(refusal(|image| image.ready = vec![9]), "its ready queue names a slot twice or one that isn't");
        assert_eq!(refusal(|image| image.head.worker = WorkerId(1 << 31)), "no worker has that number");
    }
}

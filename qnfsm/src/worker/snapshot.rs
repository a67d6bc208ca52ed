//! How a worker is written down: all at once, or bit by bit while it goes on.
//!
//! An image is of one moment between two rounds. What is written bit by bit is of the moment at which it was begun: FSM by FSM in
//! the order of their slots, and an FSM that something is about to happen to before it was its turn is encoded at that moment
//! and kept aside. So whatever touches an FSM calls [`Worker::touch`] first, and no turn waits for more than what it touches itself.
//! The bytes are the same as those of an image that is written at once.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    codec::{Codec, EncodeError},
    id::RawQueueId,
    worker::{
        Worker,
        image::{CellImage, Head, Rest},
        image_bytes::ImageBytes,
        seats::Seat,
        taking::{Turns, Watches},
    },
};

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

/// The snapshot that is being taken, if one is.
#[derive(Debug)]
pub(super) struct Taking {
    /// Slots from this one on may have FSMs that are not written yet.
    pub(super) upto: u32,
    begun: Option<Box<Begun>>,
}

/// What was so when the snapshot was begun, as far as it isn't written.
#[derive(Debug)]
struct Begun {
    /// What stands before the FSMs, until it is written.
    head: Vec<u8>,
    /// What stands at the end.
    rest: Vec<u8>,
    turns: Turns,
    watches: Watches,
    /// How many slots there were.
    slots: u32,
    /// A bit for each slot to which something has happened since.
    touched: Vec<u64>,
    /// By slot, the FSMs that were there before that.
    aside: BTreeMap<u32, Vec<u8>>,
    /// One of them that can't be encoded.
    refused: Option<SnapshotError>,
}

impl Begun {
    /// True if nothing has happened to what is in a slot. What came to be since is of no concern.
    fn is_untouched(&self, slot: u32) -> bool {
        slot < self.slots && self.touched[slot as usize / 64] & 1 << (slot % 64) == 0
    }
}

impl Taking {
    /// No slot has that number.
    const ALL: u32 = u32::MAX;

    pub(super) const NOTHING: Taking = Taking { upto: Taking::ALL, begun: None };
}

impl Worker {
    /// Appends everything that the worker is.
    ///
    /// # Errors
    /// When an FSM's data can't be encoded. Nothing is appended then.
    ///
    /// # Panics
    /// When the last round's outputs weren't drained, or the worker can't go on: faults of the driver.
    pub fn snapshot(&self, out: &mut Vec<u8>) -> Result<(), SnapshotError> {
        let before = out.len();
        self.put_head(out);
        let mut buffer = Vec::new();
        for seat in &self.seats {
            if let Err(error) = self.put_cell(seat, &mut buffer, out) {
                out.truncate(before);
                return Err(error);
            }
        }
        put(&self.ready.iter(&self.seats).collect::<Vec<_>>(), out);
        put(&self.watches, out);
        self.put_rest(out);
        Ok(())
    }

    /// Begins a snapshot of what the worker is now, which [`Worker::go_on_with_snapshot`] gives bit by bit, between rounds. One that
    /// was begun before is given up.
    ///
    /// What is copied at once is small: 8 bytes for each slot at most, and what is known of streams. All else is left for later.
    ///
    /// # Panics
    /// When the last round's outputs weren't drained, or the worker can't go on: faults of the driver.
    pub fn begin_snapshot(&mut self) {
        let (mut head, mut rest) = (Vec::new(), Vec::new());
        self.put_head(&mut head);
        self.put_rest(&mut rest);
        let slots = u32::try_from(self.seats.len()).expect("slots are numbered in 32 bits");
        let touched = vec![0; self.seats.len().div_ceil(64)];
        let (turns, watches) = (Turns::of(&self.ready), Watches::of(&self.watches));
        let begun = Begun { head, rest, turns, watches, slots, touched, aside: BTreeMap::new(), refused: None };
        self.taking = Taking { upto: 0, begun: Some(Box::new(begun)) };
    }

    /// Appends the next part of the image: an FSM at least, and more until it is `bytes_min` bytes, or some entries of a list. True
    /// when the image is whole; all that was appended since the snapshot was begun is what [`Worker::snapshot`] would have given
    /// then.
    ///
    /// # Errors
    /// When an FSM's data can't be encoded. The snapshot is given up then.
    ///
    /// # Panics
    /// When no snapshot is under way: a fault of the driver.
    pub fn go_on_with_snapshot(&mut self, bytes_min: usize, out: &mut Vec<u8>) -> Result<bool, SnapshotError> {
        let Taking { upto, begun } = std::mem::replace(&mut self.taking, Taking::NOTHING);
        let mut begun = begun.expect("drivers go on only with what they have begun");
        if let Some(refused) = begun.refused {
            return Err(refused);
        }
        let end = out.len() + bytes_min;
        out.append(&mut begun.head);
        let (mut slot, mut buffer) = (upto, Vec::new());
        while slot < begun.slots {
            if begun.is_untouched(slot) {
                self.put_cell(&self.seats[slot as usize], &mut buffer, out)?;
            } else if let Some(mut cell) = begun.aside.remove(&slot) {
                out.append(&mut cell);
            }
            slot += 1;
            if out.len() >= end {
                break;
            }
        }
        let is_whole = slot == begun.slots
            && (slot == upto || out.len() < end)
            && begun.turns.put(&self.seats, out)
            && begun.watches.put(&self.watches, out);
        if is_whole {
            out.append(&mut begun.rest);
        } else {
            self.taking = Taking { upto: slot, begun: Some(begun) };
        }
        Ok(is_whole)
    }

    /// Gives up the snapshot that is being taken, if one is.
    pub fn give_up_snapshot(&mut self) {
        self.taking = Taking::NOTHING;
    }

    /// Of the snapshot that is being taken, how many slots there were when it was begun, and how many are written.
    #[must_use]
    pub fn snapshot_progress(&self) -> Option<(u32, u32)> {
        let begun = self.taking.begun.as_ref()?;
        Some((begun.slots, self.taking.upto))
    }

    /// Something is about to happen to what is in a slot.
    #[inline(always)]
    pub(super) fn touch(&mut self, slot: u32) {
        if slot >= self.taking.upto {
            self.put_aside(slot);
        }
    }

    /// The turn of the first slot that is ready is about to come.
    #[inline(always)]
    pub(super) fn note_turn(&mut self) {
        if self.taking.upto != Taking::ALL {
            self.put_turn_aside();
        }
    }

    #[cold]
    fn put_turn_aside(&mut self) {
        let Some(slot) = self.ready.first() else { return };
        self.put_aside(slot);
        if let Some(begun) = &mut self.taking.begun {
            begun.turns.note(slot, &self.seats);
        }
    }

    /// Who watches a queue is about to change.
    pub(super) fn note_watch(&mut self, target: RawQueueId) {
        if let Some(begun) = &mut self.taking.begun {
            begun.watches.note(target, &self.watches);
        }
    }

    /// Keeps what is in a slot as it is now, if the snapshot that is being taken doesn't have it yet.
    #[cold]
    fn put_aside(&mut self, slot: u32) {
        let is_due = |begun: &mut Box<Begun>| slot >= self.taking.upto && begun.is_untouched(slot);
        let Some(mut begun) = self.taking.begun.take_if(is_due) else { return };
        begun.touched[slot as usize / 64] |= 1 << (slot % 64);
        let mut cell = Vec::new();
        match self.put_cell(&self.seats[slot as usize], &mut Vec::new(), &mut cell) {
            Ok(()) if cell.is_empty() => {}
            Ok(()) => drop(begun.aside.insert(slot, cell)),
            Err(refused) => drop(begun.refused.get_or_insert(refused)),
        }
        self.taking.begun = Some(begun);
    }

    /// What stands before the FSMs, and how many these are.
    fn put_head(&self, out: &mut Vec<u8>) {
        assert!(self.outputs.is_empty(), "outputs are drained before a snapshot");
        assert!(self.fault.is_none(), "a worker with a fault is in the middle of a round");
        let head = Head {
            node: self.effects.node,
            worker: self.id(),
            epoch: self.epoch,
            config: self.config,
            round: self.round,
            now: self.effects.now,
            next_timer: self.effects.next_timer,
            slots: self.effects.slots.clone(),
        };
        put(&(head, u64::from(self.fsms)), out);
    }

    /// The FSM of a seat, if there is one.
    fn put_cell(&self, seat: &Seat, buffer: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), SnapshotError> {
        let Some(cell) = &seat.cell else { return Ok(()) };
        let (slot, generation, kind) = (seat.queue.slot(), seat.queue.generation(), seat.kind);
        buffer.clear();
        let encoded = cell.encode(buffer).and_then(|()| {
            let waiting = seat.waiting.to_image(self.pools.see(seat.intake.message), &self.envelopes)?;
            let bytes = ImageBytes(std::mem::take(buffer));
            let image = CellImage { slot, generation, kind, bytes, waiting };
            let encoded = Codec::CURRENT.encode(&image, out);
            *buffer = image.bytes.0;
            encoded
        });
        encoded.map_err(|error| {
            let kind = self.catalogue.kind_name(kind).to_owned();
            SnapshotError { queue: seat.queue, kind, error }
        })
    }

    fn put_rest(&self, out: &mut Vec<u8>) {
        let rest = Rest {
            streams: self.outputs.image(),
            taken: self.taken.clone(),
            mourners: self.mourners.clone(),
            counters: self.counters.clone(),
            versions: self.effects.versions.clone(),
        };
        put(&rest, out);
    }
}

fn put<T: Serialize>(part: &T, out: &mut Vec<u8>) {
    Codec::CURRENT.encode(part, out).expect("beside FSMs, an image is numbers and short texts");
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serializer, ser::Error};

    use super::*;
    use crate::{
        Context, Fsm, Kinds, Next,
        frame::{Batch, Class, Header, edge_queue},
        id::{EdgeId, Epoch, NodeId, Place, WorkerId},
        time::Time,
        worker::WorkerConfig,
    };

    struct NoPorts;
    impl crate::Externals for NoPorts {
        fn read(&mut self, _: WorkerId, _: &str, _: &[u8]) -> Result<Vec<u8>, crate::ExternalFault> {
            Err(crate::ExternalFault("there are no ports".to_owned()))
        }
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

    /// Sends each message on, if it knows to whom.
    #[derive(Serialize, Deserialize)]
    struct Relay {
        to: Option<RawQueueId>,
    }

    impl Fsm for Relay {
        const NAME: &'static str = "relay";
        type State = ();
        type Message = u8;
        fn start(&mut self, _: &mut Context<'_, Self>) {}
        fn handle(&mut self, (): (), message: u8, cx: &mut Context<'_, Self>) -> Next<Self> {
            if let Some(to) = self.to {
                cx.send(crate::QueueId::from_raw(to), message);
            }
            Next::Stay
        }
    }

    #[test]
    fn r7_what_is_sent_to_an_fsm_that_is_not_written_yet_is_not_in_the_snapshot() {
        let catalogue = Kinds::new().with::<Relay>().seal().expect("the kind is plain");
        let number = catalogue.type_number::<u8>().expect("the kind takes it");
        let mut worker = Worker::new(catalogue, NodeId(0), WorkerId(0), Epoch::FIRST, WorkerConfig::default());
        let edge = edge_queue(NodeId(0), EdgeId::HOST);
        let queue = |slot, generation| RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), slot, generation);
        let mut batch = Batch::new(edge.place(), Epoch::FIRST, 1);
        for to in [Some(queue(2, 1)), None, None] {
            let mut value = vec![0];
            Codec::CURRENT.encode(&Relay { to }, &mut value).expect("it is numbers");
            batch.push(&Header::to(Class::Spawn, 0, queue(0, 0), edge), &value);
        }
        worker.feed(Time::ZERO, [batch.as_ref()]);
        assert!(worker.round(10, &mut NoPorts).idle);
        let mut before = Vec::new();
        worker.snapshot(&mut before).expect("relays can be encoded");
        worker.begin_snapshot();
        let mut taken = Vec::new();
        assert_eq!(worker.go_on_with_snapshot(0, &mut taken), Ok(false), "the first is written, and no more");
        let mut batch = Batch::new(edge.place(), Epoch::FIRST, 4);
        batch.push(&Header::message(number, queue(0, 1), edge), &[7]);
        worker.feed(Time::ZERO, [batch.as_ref()]);
        // The message waits for the last one, which has no turn in this round.
        assert!(!worker.round(1, &mut NoPorts).idle);
        while worker.go_on_with_snapshot(0, &mut taken) == Ok(false) {}
        assert!(taken == before, "the message is in it");
        let mut after = Vec::new();
        worker.snapshot(&mut after).expect("relays can be encoded");
        assert!(after != before);
    }
}

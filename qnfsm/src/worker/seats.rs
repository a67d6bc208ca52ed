//! The slots of a worker and the FSMs in them: where FSMs come in, how they are found, and where they go.

use crate::{
    codec::Codec,
    frame::{Class, Frame, Header},
    id::{Place, RawQueueId},
    message::{DownReason, NoReply, Undelivered},
    worker::{
        Worker,
        catalogue::Intake,
        cell::AnyCell,
        envelope::{Dropped, Sent},
        notice::Notice,
        ready::Behind,
        waiting::{Remains, Waiting},
    },
};

/// A slot with what is in it.
pub(super) struct Seat {
    /// The queue that is in the slot, or the last one that was.
    pub(super) queue: RawQueueId,
    /// The number of the kind of its FSM.
    pub(super) kind: u32,
    pub(super) intake: Intake,
    pub(super) behind: Behind,
    pub(super) waiting: Waiting,
    pub(super) cell: Option<Box<dyn AnyCell>>,
}

impl Seat {
    /// A slot that nobody has had yet, if the generation of its queue is 0, or that is free now.
    pub(super) fn empty(queue: RawQueueId) -> Seat {
        let (intake, waiting) = (Intake::NONE, Waiting::default());
        Seat { queue, kind: 0, intake, behind: Behind::NOT_READY, waiting, cell: None }
    }
}

/// The seat of a queue of this worker, if its FSM is there.
#[inline]
pub(super) fn occupied(seats: &mut [Seat], queue: RawQueueId) -> Option<&mut Seat> {
    seats
        .get_mut(queue.slot() as usize)
        .filter(|seat| seat.queue.generation() == queue.generation() && seat.cell.is_some())
}

impl Worker {
    /// The place that the worker is.
    #[inline]
    pub(super) fn here(&self) -> Place {
        Place::worker(self.effects.worker)
    }

    /// The queue that is in a slot, or the last one that was.
    pub(super) fn queue_of(&self, slot: u32) -> RawQueueId {
        self.seats[slot as usize].queue
    }

    pub(super) fn seat(&self, queue: RawQueueId) -> Option<&Seat> {
        let seat = self.seats.get(queue.slot() as usize)?;
        let is_here = queue.place() == self.here() && queue.generation() == seat.queue.generation();
        (is_here && seat.cell.is_some()).then_some(seat)
    }

    pub(super) fn seat_mut(&mut self, queue: RawQueueId) -> Option<&mut Seat> {
        let here = queue.place() == self.here();
        occupied(&mut self.seats, queue).filter(|_| here)
    }

    /// Puts a slot into the ready queue if its FSM has work and it doesn't stand there already.
    #[inline]
    pub(super) fn wake(&mut self, slot: u32) {
        if self.seats[slot as usize].waiting.is_ready() {
            self.ready.push(&mut self.seats, slot);
        }
    }

    /// Creates the FSM that a frame asks for and answers with its queue.
    pub(super) fn take_spawn(&mut self, frame: &Frame<'_>) {
        let Header { type_number: kind, sender, request, .. } = frame.header;
        if !self.has_room() {
            let nowhere = RawQueueId::new(self.effects.node, self.here(), 0, 0);
            return self.too_many_fsms(nowhere, kind, Sent { sender, request });
        }
        let (slot, generation) = self.effects.slots.allot();
        let queue = RawQueueId::new(self.effects.node, self.here(), slot, generation);
        let made = frame.spawned().and_then(|(answer, start_value)| {
            let known = self.catalogue.kind(kind)?;
            let cell = (known.decode)(start_value, known.setup(queue, self.config.seed)).ok()?;
            Some((cell, answer))
        });
        let Some((cell, answer)) = made else {
            self.effects.slots.take_back(slot);
            if let Some(request) = request {
                let why = NoReply::NotUnderstood;
                self.notices.push_back(Notice::Failed { to: sender, from: queue, request, why });
            }
            return;
        };
        self.take_seat(queue, kind, cell);
        if let Some(request) = request {
            let reply = Header { request: Some(request), ..Header::to(Class::Spawned, answer, sender, queue) };
            if sender.place() == queue.place() {
                // Nothing that a worker tells itself crosses the perimeter.
                let mut answer = Vec::new();
                Codec::CURRENT.encode(&queue, &mut answer).expect("a queue's ID is four numbers");
                self.take_reply(sender, &reply, &answer);
            } else {
                self.outputs.put(sender.place(), &reply, |out| Codec::CURRENT.encode(&queue, out));
            }
        }
    }

    /// Gives a new FSM its place; it starts in its first turn.
    pub(super) fn take_seat(&mut self, queue: RawQueueId, kind: u32, cell: Box<dyn AnyCell>) {
        let slot = queue.slot();
        for slot in self.seats.len()..self.effects.slots.len() {
            let slot = u32::try_from(slot).expect("slots are numbered in 32 bits");
            self.seats.push(Seat::empty(RawQueueId::new(queue.node(), queue.place(), slot, 0)));
        }
        self.touch(slot);
        let seat = &mut self.seats[slot as usize];
        seat.queue = queue;
        seat.kind = kind;
        seat.intake = self.catalogue.kind(kind).expect("cells are of kinds of the catalogue").intake;
        seat.waiting.start_is_due = !cell.has_started();
        seat.cell = Some(cell);
        self.fsms += 1;
        self.wake(slot);
    }

    /// True if another FSM may be seated. Where there is no room, the FSM does not come to be: its queue is one that is
    /// gone, and the spawn is a dead letter.
    pub(super) fn has_room(&self) -> bool {
        self.fsms < self.config.fsms_max
    }

    /// Says of a spawn that there was no room for it.
    pub(super) fn too_many_fsms(&mut self, queue: RawQueueId, kind: u32, sent: Sent) {
        tracing::warn!(%queue, kind = self.catalogue.kind_name(kind), max = self.config.fsms_max, "too many FSMs");
        let type_number = self.catalogue.kind(kind).map_or(u32::MAX, |known| known.intake.message);
        self.dead_letter(queue, Dropped { sent, type_number, why: Undelivered::TooManyFsms, fatal: false });
    }

    /// Takes an FSM out, tells those whom it concerns, and frees its slot.
    pub(super) fn remove(&mut self, queue: RawQueueId, reason: DownReason) {
        // Its slot may have another FSM by now, if it stopped itself before its handler returned.
        if self.seat(queue).is_none() {
            return;
        }
        self.touch(queue.slot());
        let Worker { seats, envelopes, .. } = self;
        let seat = &mut seats[queue.slot() as usize];
        let Some(cell) = seat.cell.take() else { return };
        let type_number = seat.intake.message;
        let watched = seat.waiting.take_watched();
        let remains = seat.waiting.dissolve(type_number, envelopes);
        seat.intake = Intake::NONE;
        drop(cell);
        self.fsms -= 1;
        self.dispose(queue, type_number, remains);
        for target in watched {
            self.unwatch(queue, target);
        }
        self.mourners.retain(|mourner| *mourner != queue);
        for watcher in self.watches.get(&queue).into_iter().flatten() {
            let (watcher, reason) = (*watcher, reason.clone());
            self.notices.push_back(Notice::Down { watcher, gone: queue, reason });
        }
        self.effects.slots.free(queue.slot());
    }

    /// Sees to what an FSM left behind, whose message type has that number.
    pub(super) fn dispose(&mut self, queue: RawQueueId, type_number: u32, remains: Remains) {
        let Remains { dropped, messages, keys, born } = remains;
        for key in keys {
            self.timers.cancel(key);
        }
        for message in messages {
            self.pools.any(type_number).discard(message);
        }
        for dropped in dropped {
            self.dead_letter(queue, dropped);
        }
        for born in born {
            self.stop(born, queue);
        }
    }
}

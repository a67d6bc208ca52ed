//! The way of a message: from a frame or an outbox into a cell, and of what could not be delivered to those whom it
//! concerns. Also where FSMs come in and go.

use crate::{
    codec::{Codec, Trust},
    frame::{Class, Frame, Header, take_varint},
    id::{Place, RawQueueId, RequestId},
    message::{DeadLetter, Down, DownReason, Message, NoReply, Undelivered},
    worker::{
        FaultKind, Seat, Worker,
        cell::{AnyCell, Intake},
        envelope::{Dropped, Sent},
        timers::Due,
        waiting::Remains,
    },
};

/// News that the worker itself has for a queue, here or elsewhere. Notices wait until the effects that made them are
/// all applied.
#[derive(Debug)]
pub(crate) enum Notice {
    Failed { to: RawQueueId, from: RawQueueId, request: RequestId, why: NoReply },
    Down { watcher: RawQueueId, gone: RawQueueId, reason: DownReason },
    DeadLetter(DeadLetter),
}

impl Worker {
    /// Puts a slot into the ready queue if its FSM has work and it doesn't stand there already.
    #[inline]
    pub(super) fn wake(&mut self, slot: u32) {
        let seat = &mut self.seats[slot as usize];
        if !seat.ready && seat.cell.as_ref().is_some_and(|cell| cell.has_work()) {
            seat.ready = true;
            self.ready.push_back(slot);
        }
    }

    /// Fires what is due.
    pub(super) fn fire_timers(&mut self) {
        let now = self.effects.now;
        while let Some((key, queue, due)) = self.timers.pop_due(now) {
            let (cell, intake) = self.cell_and_intake(queue).expect("the timers of an FSM end with it");
            match due {
                Due::Timer => {
                    if let Some(next) = cell.fire(key.timer, now, intake.load) {
                        self.timers.set(next, queue, Due::Timer);
                    }
                }
                Due::Request(request) => {
                    cell.fail_request(request, NoReply::Expired, intake);
                }
            }
            self.wake(queue.slot);
        }
    }

    /// Takes one frame of a batch.
    pub(super) fn take_frame(&mut self, frame: &Frame<'_>) {
        let Frame { header, payload } = frame;
        let Header { slot, generation, sender, type_number, request, .. } = *header;
        let to = RawQueueId { node: self.effects.node, place: Place::worker(self.id()), slot, generation };
        match header.class {
            Class::Message => self.take_message(to, header, payload),
            Class::Reply | Class::Spawned => self.take_reply(to, header, payload),
            Class::Failed => {
                let why = Codec::CURRENT.decode(payload, Trust::Node).unwrap_or(NoReply::Failed);
                if let Some(request) = request {
                    self.notices.push_back(Notice::Failed { to, from: sender, request, why });
                }
            }
            Class::Spawn => self.take_spawn(header, payload),
            Class::Stop => self.remove(to, DownReason::Stopped),
            Class::Watch => self.watch(sender, to),
            Class::Unwatch => self.unwatch(sender, to),
            Class::Down => {
                // Who is gone watches nobody any more.
                self.unwatch(sender, to);
                let reason = Codec::CURRENT.decode(payload, Trust::Node).unwrap_or(DownReason::Stopped);
                self.notices.push_back(Notice::Down { watcher: to, gone: sender, reason });
            }
            Class::Refused => {
                let sent = Sent { sender, request: None };
                let why = Undelivered::NotAccepted;
                self.dead_letter(to, Dropped { sent, type_number, why, fatal: false });
            }
        }
    }

    fn take_message(&mut self, to: RawQueueId, header: &Header, payload: &[u8]) {
        let Header { type_number, sender, request, untrusted, .. } = *header;
        let sent = Sent { sender, request };
        let Worker { seats, catalogue, load, .. } = self;
        let seat = seats.get_mut(to.slot as usize).filter(|seat| seat.generation == to.generation);
        let Some(cell) = seat.and_then(|seat| seat.cell.as_mut()) else {
            let why = Undelivered::NoSuchQueue;
            return self.dead_letter(to, Dropped { sent, type_number, why, fatal: false });
        };
        let trust = if untrusted { Trust::Peer } else { Trust::Node };
        match cell.accept_frame(payload, type_number, sent, Intake { catalogue, load }, trust) {
            Ok(()) => self.wake(to.slot),
            Err((dropped, error)) => {
                self.wake(to.slot);
                if let (Some(error), true) = (error, untrusted) {
                    let text = error.to_string();
                    let refused = Header::to(Class::Refused, type_number, sender, to);
                    self.outputs.put(sender.place, &refused, |out| Codec::CURRENT.encode(&text, out));
                }
                self.dead_letter(to, dropped);
            }
        }
    }

    fn take_reply(&mut self, to: RawQueueId, header: &Header, payload: &[u8]) {
        let Header { type_number, sender, request, .. } = *header;
        let late =
            Dropped { sent: Sent { sender, request: None }, type_number, why: Undelivered::TooLate, fatal: false };
        let cell = request.and_then(|request| Some((request, self.cell_and_intake(to)?)));
        let taken = cell.map(|(request, (cell, intake))| {
            let taken = cell.accept_answer_frame(payload, type_number, request, intake);
            taken.map_err(|_| Notice::Failed { to, from: sender, request, why: NoReply::NotUnderstood })
        });
        match taken {
            Some(Ok(Some(key))) => {
                self.timers.cancel(key);
                self.wake(to.slot);
                if let (Class::Spawned, Some(request), Some(cell)) = (header.class, request, self.cell_mut(to)) {
                    cell.note_born(request, sender);
                }
            }
            Some(Err(notice)) => self.notices.push_back(notice),
            Some(Ok(None)) | None => {
                if header.class == Class::Spawned {
                    // Whoever asked has given up, so nobody knows the FSM or will stop it.
                    self.stop(sender, to);
                }
                self.dead_letter(to, late);
            }
        }
    }

    /// Stops the FSM of a queue, here or elsewhere.
    pub(super) fn stop(&mut self, queue: RawQueueId, me: RawQueueId) {
        if queue.place == Place::worker(self.id()) {
            self.remove(queue, DownReason::Stopped);
        } else {
            self.outputs.put(queue.place, &Header::to(Class::Stop, 0, queue, me), |_| Ok(()));
        }
    }

    /// Creates the FSM that a frame asks for and answers with its queue. The payload is the number of the answer's type
    /// and the start value.
    pub(super) fn take_spawn(&mut self, header: &Header, payload: &[u8]) {
        let Header { type_number: kind, sender, request, .. } = *header;
        let mut start_value = payload;
        let answer = take_varint(&mut start_value).ok().and_then(|answer| u32::try_from(answer).ok());
        if !self.has_room() {
            let nowhere =
                RawQueueId { node: self.effects.node, place: Place::worker(self.id()), slot: 0, generation: 0 };
            return self.too_many_fsms(nowhere, kind, Sent { sender, request });
        }
        let (slot, generation) = self.effects.slots.allot();
        let queue = RawQueueId { node: self.effects.node, place: Place::worker(self.id()), slot, generation };
        let cell = self
            .catalogue
            .kind(kind)
            .and_then(|known| (known.decode)(start_value, known.setup(kind, queue, self.config.seed)).ok());
        let (Some(cell), Some(answer)) = (cell, answer) else {
            self.effects.slots.take_back(slot);
            if let Some(request) = request {
                let why = NoReply::NotUnderstood;
                self.notices.push_back(Notice::Failed { to: sender, from: queue, request, why });
            }
            return;
        };
        self.seat(cell);
        if let Some(request) = request {
            let reply = Header { request: Some(request), ..Header::to(Class::Spawned, answer, sender, queue) };
            if sender.place == queue.place {
                // Nothing that a worker tells itself crosses the perimeter.
                let mut answer = Vec::new();
                Codec::CURRENT.encode(&queue, &mut answer).expect("a queue's ID is four numbers");
                self.take_reply(sender, &reply, &answer);
            } else {
                self.outputs.put(sender.place, &reply, |out| Codec::CURRENT.encode(&queue, out));
            }
        }
    }

    /// Gives a new FSM its place; it starts in its first turn.
    pub(super) fn seat(&mut self, cell: Box<dyn AnyCell>) {
        let RawQueueId { slot, generation, .. } = cell.queue();
        if self.seats.len() <= slot as usize {
            self.seats.resize_with(self.effects.slots.len(), Seat::default);
        }
        let seat = &mut self.seats[slot as usize];
        seat.generation = generation;
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
        let type_number = self.catalogue.kind(kind).map_or(u32::MAX, |known| known.message);
        self.dead_letter(queue, Dropped { sent, type_number, why: Undelivered::TooManyFsms, fatal: false });
    }

    /// Takes an FSM out, tells those whom it concerns, and frees its slot.
    pub(super) fn remove(&mut self, queue: RawQueueId, reason: DownReason) {
        // Its slot may have another FSM by now, if it stopped itself before its handler returned.
        if self.cell(queue).is_none() {
            return;
        }
        let Some(mut cell) = self.seats[queue.slot as usize].cell.take() else { return };
        self.fsms -= 1;
        let watched = std::mem::take(cell.watched());
        let remains = cell.dissolve(&mut self.load);
        self.dispose(queue, remains);
        for target in watched {
            self.unwatch(queue, target);
        }
        self.mourners.retain(|mourner| *mourner != queue);
        for watcher in self.watches.get(&queue).into_iter().flatten() {
            let (watcher, reason) = (*watcher, reason.clone());
            self.notices.push_back(Notice::Down { watcher, gone: queue, reason });
        }
        self.effects.slots.free(queue.slot);
    }

    /// Sees to what an FSM left behind.
    pub(super) fn dispose(&mut self, queue: RawQueueId, remains: Remains) {
        let Remains { dropped, keys, born } = remains;
        for key in keys {
            self.timers.cancel(key);
        }
        for dropped in dropped {
            self.dead_letter(queue, dropped);
        }
        for born in born {
            self.stop(born, queue);
        }
    }

    /// Begins a watch, which ends with the first news; a target here that is gone is told of at once.
    pub(super) fn watch(&mut self, watcher: RawQueueId, target: RawQueueId) {
        let here = Place::worker(self.id());
        let watchers = self.watches.entry(target).or_default();
        if watchers.contains(&watcher) {
            return;
        }
        watchers.push(watcher);
        if let Some(cell) = self.cell_mut(watcher) {
            cell.watched().push(target);
        }
        if target.place != here {
            let header = Header::to(Class::Watch, 0, target, watcher);
            self.outputs.put(target.place, &header, |_| Ok(()));
        } else if self.cell(target).is_none() {
            self.notices.push_back(Notice::Down { watcher, gone: target, reason: DownReason::Unknown });
        }
    }

    /// Ends a watch, and tells the target's place if it is elsewhere.
    pub(super) fn unwatch(&mut self, watcher: RawQueueId, target: RawQueueId) {
        if self.forget_watch(watcher, target) && target.place != Place::worker(self.id()) {
            let header = Header::to(Class::Unwatch, 0, target, watcher);
            self.outputs.put(target.place, &header, |_| Ok(()));
        }
    }

    /// Ends a watch here; says whether there was one.
    fn forget_watch(&mut self, watcher: RawQueueId, target: RawQueueId) -> bool {
        if let Some(cell) = self.cell_mut(watcher) {
            cell.watched().retain(|watched| *watched != target);
        }
        let Some(watchers) = self.watches.get_mut(&target) else { return false };
        let before = watchers.len();
        watchers.retain(|other| *other != watcher);
        let watched = watchers.len() != before;
        if watchers.is_empty() {
            self.watches.remove(&target);
        }
        watched
    }

    /// Counts and traces what was not delivered, and tells whom it concerns.
    pub(super) fn dead_letter(&mut self, to: RawQueueId, dropped: Dropped) {
        let Dropped { sent: Sent { sender, request }, type_number, why, fatal } = dropped;
        if fatal {
            return self.fail(Some(to), FaultKind::QueueFull);
        }
        *self.counters.dead_letters.entry(why).or_default() += 1;
        let message_type = self.catalogue.message_name(type_number);
        tracing::debug!(%to, from = %sender, message_type, %why, "dead letter");
        if let Some(request) = request {
            let why = match why {
                Undelivered::Full | Undelivered::PostponedTooMany | Undelivered::TooManyFsms => NoReply::Full,
                Undelivered::NotUnderstood | Undelivered::NotAccepted | Undelivered::NotEncodable => {
                    NoReply::NotUnderstood
                }
                Undelivered::Unhandled => NoReply::Failed,
                Undelivered::NoSuchQueue | Undelivered::ReceiverStopped | Undelivered::TooLate => NoReply::Gone,
            };
            self.notices.push_back(Notice::Failed { to: sender, from: to, request, why });
        }
        let about_itself = Some(type_number) == self.catalogue.type_number::<DeadLetter>();
        // What who is told has no room or no use for would be told of without end.
        if !self.mourners.is_empty() && !about_itself && !self.mourners.contains(&to) {
            self.notices.push_back(Notice::DeadLetter(DeadLetter { to, from: sender, type_number, why }));
        }
    }

    /// A message that the receiver had taken and did not keep.
    pub(super) fn undelivered(&mut self, to: RawQueueId, sent: Sent, why: Undelivered) {
        let type_number = self.cell(to).map_or(0, |cell| cell.message_type());
        self.dead_letter(to, Dropped { sent, type_number, why, fatal: false });
    }

    /// Delivers the notices that have gathered.
    #[inline]
    pub(super) fn settle(&mut self) {
        while let Some(notice) = self.notices.pop_front() {
            self.deliver_notice(notice);
        }
    }

    fn deliver_notice(&mut self, notice: Notice) {
        let here = Place::worker(self.id());
        match notice {
            Notice::Failed { to, request, why, .. } if to.place == here => {
                let cell = self.cell_and_intake(to);
                if let Some(key) = cell.and_then(|(cell, intake)| cell.fail_request(request, why, intake)) {
                    self.timers.cancel(key);
                    self.wake(to.slot);
                }
            }
            Notice::Failed { to, from, request, why } => {
                let header = Header { request: Some(request), ..Header::to(Class::Failed, 0, to, from) };
                self.outputs.put(to.place, &header, |out| Codec::CURRENT.encode(&why, out));
            }
            // Whoever unwatched since, or was told by an earlier notice, hears nothing more.
            Notice::Down { watcher, gone, .. } if !self.forget_watch(watcher, gone) => {}
            Notice::Down { watcher, gone, reason } if watcher.place == here => {
                if self.cell(watcher).is_some() {
                    self.deliver_own(watcher, gone, Down { queue: gone, reason }, true);
                }
            }
            Notice::Down { watcher, gone, reason } => {
                let header = Header::to(Class::Down, 0, watcher, gone);
                self.outputs.put(watcher.place, &header, |out| Codec::CURRENT.encode(&reason, out));
            }
            Notice::DeadLetter(letter) => {
                for mourner in self.mourners.clone() {
                    self.deliver_own(mourner, letter.to, letter.clone(), false);
                }
            }
        }
    }

    /// Delivers a message of the library's own to an FSM here.
    fn deliver_own<M: Message>(&mut self, to: RawQueueId, sender: RawQueueId, message: M, always: bool) {
        let number = self.effects.stage(message).expect("the library's own message types are always registered");
        self.deliver(to, number, Sent { sender, request: None }, always);
    }

    /// Delivers the front message of an outbox to a queue here.
    #[inline]
    pub(super) fn deliver(&mut self, to: RawQueueId, type_number: u32, sent: Sent, always: bool) {
        let Worker { seats, effects, catalogue, load, .. } = self;
        let outbox = effects.outboxes[type_number as usize].as_mut();
        let seat = seats.get_mut(to.slot as usize).filter(|seat| seat.generation == to.generation);
        let Some(cell) = seat.and_then(|seat| seat.cell.as_mut()) else {
            outbox.discard_front();
            let why = Undelivered::NoSuchQueue;
            return self.dead_letter(to, Dropped { sent, type_number, why, fatal: false });
        };
        let accepted = cell.accept(outbox, type_number, sent, Intake { catalogue, load }, always);
        self.wake(to.slot);
        if let Err(dropped) = accepted {
            self.dead_letter(to, dropped);
        }
    }
}

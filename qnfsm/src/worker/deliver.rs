//! The way of a message: from a frame or a pool into an FSM's queue.

use crate::{
    codec::{Codec, Trust},
    frame::{Class, Frame, Frames, Header},
    fsm::MessageRef,
    id::{RawQueueId, RequestId},
    message::{DownReason, NoReply, Undelivered},
    worker::{
        Worker,
        catalogue::Convert,
        envelope::{Claim, Dropped, Envelope, Sent},
        notice::Notice,
        seats::{Seat, occupied},
        timers::{Due, TimerKey},
        waiting::{Beat, Overflowed},
    },
};

/// How many messages of a run are decoded in one call.
const DECODED_MAX: usize = 32;

impl Worker {
    /// Fires what is due.
    pub(super) fn fire_timers(&mut self) {
        let now = self.effects.now;
        while let Some((key, queue, due)) = self.timers.pop_due(now) {
            self.touch(queue.slot());
            match due {
                Due::Timer => {
                    let Worker { seats, pools, envelopes, .. } = self;
                    let seat = occupied(seats, queue).expect("the timers of an FSM end with it");
                    let intake = seat.intake;
                    let fired = seat.waiting.fire(key.timer, now, &mut envelopes.load, |what| {
                        let message = match what {
                            Beat::Once(message) => *message,
                            Beat::Every { message, .. } => {
                                let decoded = pools.any(intake.message).decode(message, Trust::Node);
                                decoded.expect("contexts set periodic timers only with such messages")
                            }
                        };
                        (message, intake.weigh(pools, message))
                    });
                    if let Some(next) = fired {
                        self.timers.set(next, queue, Due::Timer);
                    }
                }
                Due::Request(request) => {
                    self.fail_request(queue, request, NoReply::Expired);
                }
            }
            self.wake(queue.slot());
        }
    }

    /// Takes one frame of a batch.
    pub(super) fn take_frame(&mut self, frame: &Frame<'_>) {
        let Frame { header, payload } = frame;
        let Header { slot, generation, sender, type_number, request, .. } = *header;
        let to = RawQueueId::new(self.effects.node, self.here(), slot, generation);
        match header.class {
            Class::Message => self.take_message(to, header, payload),
            Class::Reply | Class::Spawned => self.take_reply(to, header, payload),
            Class::Failed => {
                let why = Codec::CURRENT.decode(payload, Trust::Node).unwrap_or(NoReply::Failed);
                if let Some(request) = request {
                    self.notices.push_back(Notice::Failed { to, from: sender, request, why });
                }
            }
            Class::Spawn => self.take_spawn(frame),
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
        let dropped = |why| Dropped { sent: Sent { sender, request }, type_number, why, fatal: false };
        let Worker { seats, pools, catalogue, .. } = self;
        let Some(seat) = occupied(seats, to) else {
            return self.dead_letter(to, dropped(Undelivered::NoSuchQueue));
        };
        let intake = seat.intake;
        let trust = if untrusted { Trust::Peer } else { Trust::Node };
        let decoded = if type_number == intake.message {
            let decoded = pools.any(type_number).decode(payload, trust);
            decoded.map(|message| (message, intake.weigh_frame(payload.len())))
        } else {
            let convert = Convert { from: type_number, to: intake.message };
            let Some(accept) = catalogue.accept(convert) else {
                return self.dead_letter(to, dropped(Undelivered::NotAccepted));
            };
            let decoded = (accept.decode)(pools, convert, payload, trust);
            decoded.map(|message| (message, intake.weigh(pools, message)))
        };
        match decoded {
            Ok((message, weight)) => {
                let envelope = Envelope { sender, claim: Claim::of(request), weight, message, origin: self.origin };
                self.enqueue(to.slot(), envelope, type_number);
            }
            Err(error) => {
                if untrusted {
                    let text = error.to_string();
                    let refused = Header::to(Class::Refused, type_number, sender, to);
                    self.outputs.put(sender.place(), &refused, |out| Codec::CURRENT.encode(&text, out));
                }
                self.dead_letter(to, dropped(Undelivered::NotUnderstood));
            }
        }
    }

    /// Takes the messages that follow one with the same header, as if each were taken by itself: the way to their queue is
    /// looked for once. Ends where a frame is another, the queue is full, or something is to be said of a message.
    pub(super) fn take_run(&mut self, header: &Header, frames: &mut Frames<'_>) {
        let Header { slot, generation, sender, type_number, untrusted, .. } = *header;
        let to = RawQueueId::new(self.effects.node, self.here(), slot, generation);
        let trust = if untrusted { Trust::Peer } else { Trust::Node };
        self.touch(slot);
        let Worker { seats, pools, envelopes, origin, .. } = self;
        let own_type = |seat: &&mut Seat| header.class == Class::Message && seat.intake.message == type_number;
        let Some(seat) = occupied(seats, to).filter(own_type) else { return };
        let (intake, pool) = (seat.intake, pools.any(type_number));
        let mut decoded = [None; DECODED_MAX];
        loop {
            let room = intake.capacity.saturating_sub(seat.waiting.queue.len());
            let room = DECODED_MAX.min(room as usize);
            let (count, refused) = pool.decode_run(frames, trust, &mut decoded[..room]);
            for (message, payload_len) in decoded[..count].iter().flatten() {
                let weight = intake.weigh_frame(*payload_len);
                let envelope = Envelope { sender, claim: Claim::Nothing, weight, message: *message, origin: *origin };
                envelopes.push_back(&mut seat.waiting.queue, envelope);
            }
            if let Some(payload) = refused {
                self.wake(slot);
                self.take_frame(&Frame { header: *header, payload });
                return self.settle();
            }
            if count < DECODED_MAX {
                return self.wake(slot);
            }
        }
    }

    /// Takes an answer that came in a frame.
    pub(super) fn take_reply(&mut self, to: RawQueueId, header: &Header, payload: &[u8]) {
        let Header { type_number, sender, .. } = *header;
        let Worker { seats, pools, catalogue, .. } = self;
        let awaited = header.request.and_then(|request| {
            let seat = occupied(seats, to)?;
            let convert = Convert { from: type_number, to: seat.intake.message };
            let answer = catalogue.answer(convert)?;
            seat.waiting.awaited_answer(request)?;
            Some((request, (answer.decode)(pools, convert, payload, request)))
        });
        match awaited {
            Some((request, Ok(message))) => {
                self.settle_request(to, request, message);
                if let (Class::Spawned, Some(seat)) = (header.class, self.seat_mut(to)) {
                    seat.waiting.note_born(request, sender);
                }
            }
            Some((request, Err(_))) => {
                self.notices.push_back(Notice::Failed { to, from: sender, request, why: NoReply::NotUnderstood });
            }
            None => {
                if header.class == Class::Spawned {
                    // Whoever asked has given up, so nobody knows the FSM or will stop it.
                    self.stop(sender, to);
                }
                let sent = Sent { sender, request: None };
                self.dead_letter(to, Dropped { sent, type_number, why: Undelivered::TooLate, fatal: false });
            }
        }
    }

    /// Puts an answer into the queue of the FSM here that waits for it: its deadline is over.
    pub(super) fn settle_request(&mut self, to: RawQueueId, request: RequestId, message: MessageRef) {
        self.enqueue_outcome(to, request, message);
        if let Some(pending) = self.seat_mut(to).and_then(|seat| seat.waiting.take_pending(request)) {
            self.timers.cancel(pending.key);
        }
    }

    /// Tells an FSM here that a request of its has no answer. Gives the key of its deadline if it was under way.
    pub(super) fn fail_request(&mut self, to: RawQueueId, request: RequestId, why: NoReply) -> Option<TimerKey> {
        self.touch(to.slot());
        let Worker { seats, pools, catalogue, .. } = self;
        let seat = occupied(seats, to)?;
        let pending = seat.waiting.take_pending(request)?;
        let convert = Convert { from: pending.answer, to: seat.intake.message };
        let answer = catalogue.answer(convert).expect("a wait begins only for an answer that the kinds declare");
        let message = (answer.fail)(pools, convert, request, why);
        self.enqueue_outcome(to, request, message);
        Some(pending.key)
    }

    /// An answer's or a failure's message enters whatever the capacity is: there is one for each request.
    fn enqueue_outcome(&mut self, to: RawQueueId, request: RequestId, message: MessageRef) {
        let intake = self.seats[to.slot() as usize].intake;
        let weight = intake.weigh(&self.pools, message);
        let (sender, claim, origin) = (self.queue_of(to.slot()), Claim::Outcome(request), self.origin);
        let envelope = Envelope { sender, claim, weight, message, origin };
        self.enqueue(to.slot(), envelope, intake.message);
    }

    /// Delivers a message that lies in its pool to a queue here. Here is the short way, which most messages go.
    #[inline(always)]
    pub(super) fn deliver(
        &mut self,
        to: RawQueueId,
        (type_number, message): (u32, MessageRef),
        sender: RawQueueId,
        claim: Claim,
    ) {
        let Worker { seats, envelopes, ready, taking, origin, .. } = self;
        match seats.get_mut(to.slot() as usize) {
            Some(seat)
                if to.slot() < taking.upto
                    && seat.queue.generation() == to.generation()
                    && seat.intake.plain == type_number
                    && seat.waiting.queue.len() < seat.intake.capacity =>
            {
                let envelope = Envelope { sender, claim, weight: seat.intake.bytes, message, origin: *origin };
                envelopes.push_back(&mut seat.waiting.queue, envelope);
                if seat.becomes_ready() {
                    ready.append(seats, to.slot());
                }
            }
            _ => self.deliver_otherwise(to, (type_number, message), sender, claim),
        }
    }

    /// The long way: to nobody, into a full queue, as another type, of a type whose messages are measured, or to an FSM
    /// that a snapshot is to have as it is.
    #[inline(never)]
    fn deliver_otherwise(
        &mut self,
        to: RawQueueId,
        (type_number, message): (u32, MessageRef),
        sender: RawQueueId,
        claim: Claim,
    ) {
        let Worker { seats, pools, catalogue, .. } = self;
        let refused = match occupied(seats, to) {
            Some(seat) => {
                let intake = seat.intake;
                let convert = Convert { from: type_number, to: intake.message };
                let message = if type_number == intake.message {
                    Some(message)
                } else {
                    catalogue.accept(convert).map(|accept| (accept.take)(pools, convert, message))
                };
                if let Some(message) = message {
                    let weight = intake.weigh(pools, message);
                    let envelope = Envelope { sender, claim, weight, message, origin: self.origin };
                    return self.enqueue(to.slot(), envelope, type_number);
                }
                Undelivered::NotAccepted
            }
            None => Undelivered::NoSuchQueue,
        };
        pools.any(type_number).discard(message);
        let sent = Sent { sender, request: claim.request() };
        self.dead_letter(to, Dropped { sent, type_number, why: refused, fatal: false });
    }

    /// Puts a message of its own type into the queue of an FSM, as its policy has it. `type_number` is the type that was
    /// sent.
    #[inline(always)]
    fn enqueue(&mut self, slot: u32, envelope: Envelope, type_number: u32) {
        self.touch(slot);
        let Worker { seats, envelopes, ready, .. } = self;
        let seat = &mut seats[slot as usize];
        if seat.waiting.queue.len() >= seat.intake.capacity && envelope.claim.may_be_dropped() {
            // Its parts, so that they stay in registers on the other way.
            let Envelope { sender, claim, weight, message, .. } = envelope;
            return self.overflow(slot, sender, claim, weight, message, type_number);
        }
        envelopes.push_back(&mut seat.waiting.queue, envelope);
        if seat.becomes_ready() {
            ready.append(seats, slot);
        }
    }

    #[cold]
    fn overflow(
        &mut self,
        slot: u32,
        sender: RawQueueId,
        claim: Claim,
        weight: u32,
        message: MessageRef,
        type_number: u32,
    ) {
        let envelope = Envelope { sender, claim, weight, message, origin: self.origin };
        let Worker { seats, pools, envelopes, catalogue, .. } = self;
        let seat = &mut seats[slot as usize];
        let own_type = seat.intake.message;
        let kind = catalogue.kind(seat.kind).expect("FSMs are of kinds of the catalogue");
        let key = |message| (kind.coalesce_key)(pools, own_type, message);
        let fatal = kind.queue.overflow == crate::Overflow::StopNode;
        let why = Undelivered::Full;
        let (lost, dropped) = match seat.waiting.overflow(envelope, kind.queue.overflow, key, envelopes) {
            Overflowed::Newest => (envelope.message, Dropped { sent: envelope.sent(), type_number, why, fatal }),
            Overflowed::Older(older) => {
                (older.message, Dropped { sent: older.sent(), type_number: own_type, why, fatal: false })
            }
        };
        pools.any(own_type).discard(lost);
        self.wake(slot);
        self.dead_letter(self.queue_of(slot), dropped);
    }
}

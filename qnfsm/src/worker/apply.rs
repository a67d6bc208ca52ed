//! Does what a handler asked for, in the order in which it asked, when it has returned.

use crate::{
    frame::{Class, Frame, Header, put_varint},
    fsm::{Effect, Effects, MessageRef, Sending, TimerName, WhichTimer},
    id::{Place, RawQueueId, RequestId, WorkerId},
    message::{NoReply, Undelivered},
    worker::{
        FaultKind, Worker,
        catalogue::Convert,
        envelope::{Claim, Dropped, Envelope, Sent},
        notice::Notice,
        seats::occupied,
        timers::{Due, TimerKey},
        waiting::{Beat, Pending},
    },
};

impl Worker {
    /// Applies the effects of the handler of `me`, and delivers the news of what became of them.
    #[inline(always)]
    pub(super) fn apply(&mut self, me: RawQueueId) {
        if !self.effects.others.is_empty() {
            return self.apply_all(me);
        }
        let mut at = 0;
        while let Some(&sending) = self.effects.sends.get(at) {
            at = self.send(me, sending, at, self.effects.sends.len());
        }
        self.effects.sends.clear();
        self.settle();
    }

    /// Applies effects of all kinds, in order.
    #[inline(never)]
    fn apply_all(&mut self, me: RawQueueId) {
        let (mut sent, mut at) = (0, 0);
        while let Some(&(sends_before, effect)) = self.effects.others.get(at) {
            self.send_all(me, sent, sends_before);
            self.apply_other(me, effect);
            (sent, at) = (sends_before, at + 1);
        }
        self.send_all(me, sent, self.effects.sends.len());
        self.effects.clear();
        self.settle();
    }

    /// Sends what was asked for from the message of one index to that before another.
    fn send_all(&mut self, me: RawQueueId, mut at: usize, end: usize) {
        while at < end {
            at = self.send(me, self.effects.sends[at], at, end);
        }
    }

    /// Sends a message, and of those behind it, up to the index `end`, what goes with it. Says which is next.
    #[inline(always)]
    fn send(&mut self, me: RawQueueId, sending: Sending, at: usize, end: usize) -> usize {
        let Sending { to, type_number, message, request } = sending;
        if to.place() != me.place() {
            return self.send_elsewhere(me, at, end);
        }
        self.deliver(to, (type_number, message), me, Claim::of(request));
        at + 1
    }

    /// Puts out a message, and those behind it that go the same way: the header of all of them is spelled once. Says which
    /// is the first behind these.
    #[inline(never)]
    fn send_elsewhere(&mut self, me: RawQueueId, at: usize, end: usize) -> usize {
        let Worker { effects: Effects { sends, .. }, pools, outputs, .. } = self;
        let first = sends[at];
        let Sending { to, type_number, request, .. } = first;
        let header = Header { request, ..Header::message(type_number, to, me) };
        let pool = pools.any(type_number);
        let behind = sends[at + 1..end].iter().take_while(|behind| behind.goes_with(&first));
        let put = outputs.put_run(to.place(), &header, &first, behind, |next, out| pool.put_out(next.message, out));
        match put {
            Ok(put) => at + put,
            Err(put) => {
                self.not_encodable(to, type_number, Sent { sender: me, request });
                at + put + 1
            }
        }
    }

    fn apply_other(&mut self, me: RawQueueId, effect: Effect) {
        match effect {
            Effect::SendSelf { type_number, message } => self.apply_send_self(me, type_number, message),
            Effect::Reply { to, request, type_number, message } => {
                self.apply_reply(me, to, request, (type_number, message));
            }
            Effect::Fail { to, request } => {
                self.notices.push_back(Notice::Failed { to, from: me, request, why: NoReply::Failed });
            }
            Effect::Await { request, deadline, timer, answer } => {
                let key = TimerKey { deadline, timer };
                if let Some(seat) = self.seat_mut(me) {
                    seat.waiting.await_answer(Pending { request, key, answer });
                    self.timers.set(key, me, Due::Request(request));
                }
            }
            Effect::CancelRequest { request } => self.apply_cancel_request(me, request),
            Effect::SetTimer { timer, name, deadline, period_ns, type_number, message } => {
                let name = self.effects.name(name).clone();
                self.apply_set_timer(me, TimerKey { deadline, timer }, name, period_ns, (type_number, message));
            }
            Effect::CancelTimer { timer } => self.cancel_timer(me, &WhichTimer::Id(timer)),
            Effect::CancelNamed { name } => {
                let name = self.effects.name(name).clone();
                self.cancel_timer(me, &WhichTimer::Name(name));
            }
            Effect::Spawn { queue, kind, value } => self.apply_spawn(me, queue, kind, value),
            Effect::SpawnOn { worker, kind, value, request } => self.apply_spawn_on(me, worker, (kind, value), request),
            Effect::Stop { queue } => self.stop(queue, me),
            // An FSM that an earlier effect stopped is told nothing more.
            Effect::Watch { .. } | Effect::DeadLetters { .. } if self.seat(me).is_none() => {}
            Effect::Watch { queue } => self.watch(me, queue),
            Effect::Unwatch { queue } => self.unwatch(me, queue),
            Effect::DeadLetters { wanted } => {
                self.mourners.retain(|mourner| *mourner != me);
                if wanted {
                    self.mourners.push(me);
                }
            }
        }
    }

    fn apply_send_self(&mut self, me: RawQueueId, type_number: u32, message: MessageRef) {
        let Worker { seats, pools, envelopes, .. } = self;
        let Some(seat) = occupied(seats, me) else {
            // An FSM that an earlier effect stopped has no more use for it.
            return pools.any(type_number).discard(message);
        };
        let weight = seat.intake.weigh(pools, message);
        let envelope = Envelope { sender: me, claim: Claim::Nothing, weight, message, origin: self.origin };
        seat.waiting.push_ahead(envelope, &mut envelopes.load);
    }

    fn apply_cancel_request(&mut self, me: RawQueueId, request: RequestId) {
        let Worker { seats, pools, envelopes, .. } = self;
        let Some(seat) = occupied(seats, me) else { return };
        if let Some(outcome) = seat.waiting.take_outcome(request, envelopes) {
            pools.any(seat.intake.message).discard(outcome);
        }
        let born = seat.waiting.take_born(request);
        if let Some(pending) = seat.waiting.take_pending(request) {
            self.timers.cancel(pending.key);
        }
        if let Some(born) = born {
            self.stop(born, me);
        }
    }

    fn apply_set_timer(
        &mut self,
        me: RawQueueId,
        key: TimerKey,
        name: TimerName,
        period_ns: Option<u64>,
        (type_number, message): (u32, MessageRef),
    ) {
        if name != TimerName::Unnamed {
            self.cancel_timer(me, &WhichTimer::Name(name.clone()));
        }
        let Worker { seats, pools, timers, .. } = self;
        let pool = pools.any(type_number);
        let Some(seat) = occupied(seats, me) else { return pool.discard(message) };
        let origin = self.origin;
        let what = match period_ns {
            None => Beat::Once(message),
            Some(period_ns) => {
                let mut bytes = Vec::new();
                let encoded = pool.encode(message, &mut bytes);
                encoded.expect("contexts set periodic timers only with messages that pass the codec");
                pool.discard(message);
                Beat::Every { period_ns, message: bytes }
            }
        };
        seat.waiting.set_timer(key, name, what, origin);
        timers.set(key, me, Due::Timer);
    }

    /// Cancels a timer of an FSM here, fired or not.
    pub(super) fn cancel_timer(&mut self, me: RawQueueId, which: &WhichTimer) {
        let Worker { seats, pools, envelopes, timers, .. } = self;
        let Some(seat) = occupied(seats, me) else { return };
        let own = seat.intake.message;
        let discard = |message| pools.any(own).discard(message);
        if let Some(key) = seat.waiting.cancel_timer(which, &mut envelopes.load, discard) {
            timers.cancel(key);
        }
    }

    /// Puts out a message that lies in its pool.
    fn put_out(&mut self, to: RawQueueId, header: &Header, message: MessageRef, sent: Sent) {
        let type_number = header.type_number;
        let Worker { pools, outputs, .. } = self;
        let pool = pools.any(type_number);
        if !outputs.put(to.place(), header, |out| pool.put_out(message, out)) {
            self.not_encodable(to, type_number, sent);
        }
    }

    #[cold]
    fn not_encodable(&mut self, to: RawQueueId, type_number: u32, sent: Sent) {
        self.dead_letter(to, Dropped { sent, type_number, why: Undelivered::NotEncodable, fatal: false });
    }

    fn apply_reply(
        &mut self,
        me: RawQueueId,
        to: RawQueueId,
        request: RequestId,
        (type_number, answer): (u32, MessageRef),
    ) {
        let sent = Sent { sender: me, request: None };
        if to.place() != self.here() {
            let header = Header { request: Some(request), ..Header::to(Class::Reply, type_number, to, me) };
            return self.put_out(to, &header, answer, sent);
        }
        let Worker { seats, pools, catalogue, .. } = self;
        let why = match occupied(seats, to) {
            Some(seat) => {
                let convert = Convert { from: type_number, to: seat.intake.message };
                if let (Some(how), Some(_)) = (catalogue.answer(convert), seat.waiting.awaited_answer(request)) {
                    let message = (how.take)(pools, convert, answer, request);
                    return self.settle_request(to, request, message);
                }
                Undelivered::TooLate
            }
            None => Undelivered::NoSuchQueue,
        };
        pools.any(type_number).discard(answer);
        self.dead_letter(to, Dropped { sent, type_number, why, fatal: false });
    }

    fn apply_spawn(&mut self, me: RawQueueId, queue: RawQueueId, kind: u32, value: MessageRef) {
        if !self.has_room() {
            self.effects.nurseries.any(kind).discard(value);
            self.effects.slots.free(queue.slot());
            return self.too_many_fsms(queue, kind, Sent { sender: me, request: None });
        }
        let known = self.catalogue.kind(kind).expect("contexts spawn only kinds of the catalogue");
        let setup = known.setup(queue, self.config.seed);
        match (known.hatch)(&mut self.effects.nurseries, kind, value, setup) {
            Ok(cell) => self.take_seat(queue, kind, cell),
            Err(error) => {
                let text = format!("the start value of kind {} can't pass the codec: {error}", known.name);
                self.fail(Some(me), FaultKind::Misuse(text));
            }
        }
    }

    fn apply_spawn_on(
        &mut self,
        me: RawQueueId,
        worker: WorkerId,
        (kind, value): (u32, MessageRef),
        request: RequestId,
    ) {
        if worker.0 >= 1 << 31 {
            // No worker has that number; it came from the FSM's data.
            self.notices.push_back(Notice::Failed { to: me, from: me, request, why: NoReply::Gone });
            self.effects.nurseries.any(kind).discard(value);
            return;
        }
        let answer = self.seat(me).and_then(|seat| seat.waiting.awaited_answer(request)).unwrap_or(u32::MAX);
        let to = RawQueueId::new(me.node(), Place::worker(worker), 0, 0);
        let header = Header { request: Some(request), ..Header::to(Class::Spawn, kind, to, me) };
        let Worker { effects, outputs, .. } = self;
        let nursery = effects.nurseries.any(kind);
        let mut encode = |out: &mut Vec<u8>| {
            put_varint(out, u64::from(answer));
            nursery.put_out(value, out)
        };
        let mut payload = Vec::new();
        let is_here = worker == effects.worker;
        let put = if is_here { encode(&mut payload).is_ok() } else { outputs.put(to.place(), &header, encode) };
        if !put {
            let why = NoReply::NotUnderstood;
            self.notices.push_back(Notice::Failed { to: me, from: to, request, why });
        } else if is_here {
            // The same way as from elsewhere: the FSM is created as if the frame had just come in.
            self.take_spawn(&Frame { header, payload: &payload });
        }
    }
}

//! Does what a handler asked for, in the order in which it asked, when it has returned.

use crate::{
    frame::{Class, Header, put_varint},
    fsm::{AnyOutbox, Effect},
    id::{Place, RawQueueId, RequestId, WorkerId},
    message::{NoReply, Undelivered},
    worker::{
        FaultKind, Worker,
        cell::{AnyCell, Intake},
        deliver::Notice,
        envelope::{Dropped, Load, Sent},
        timers::{Due, TimerKey},
    },
};

impl Worker {
    /// Applies the effects of the handler of `me`.
    pub(super) fn apply(&mut self, me: RawQueueId) {
        let mut list = std::mem::take(&mut self.effects.list);
        for effect in list.drain(..) {
            self.apply_one(me, effect);
        }
        self.effects.list = list;
        self.settle();
    }

    #[inline]
    fn apply_one(&mut self, me: RawQueueId, effect: Effect) {
        match effect {
            Effect::Send { to, type_number, request } => {
                let sent = Sent { sender: me, request };
                if to.place == Place::worker(self.id()) {
                    self.deliver(to, type_number, sent, false);
                } else {
                    let header = Header { request, ..Header::message(type_number, to, me) };
                    self.put_staged(to, &header, sent);
                }
            }
            Effect::SendSelf { type_number } => {
                self.with_own_message(me, type_number, |cell, outbox, load| cell.accept_ahead(outbox, load));
            }
            Effect::Reply { to, request, type_number } => self.apply_reply(me, to, request, type_number),
            Effect::Fail { to, request } => {
                self.notices.push_back(Notice::Failed { to, from: me, request, why: NoReply::Failed });
            }
            Effect::Await { request, deadline, timer, answer } => {
                let key = TimerKey { deadline, timer };
                if let Some(cell) = self.cell_mut(me) {
                    cell.await_answer(request, key, answer);
                    self.timers.set(key, me, Due::Request(request));
                }
            }
            Effect::CancelRequest { request } => {
                let cancelled = self.cell_and_load(me).map(|(cell, load)| cell.cancel_request(request, load));
                let (key, born) = cancelled.unwrap_or_default();
                if let Some(key) = key {
                    self.timers.cancel(key);
                }
                if let Some(born) = born {
                    self.stop(born, me);
                }
            }
            Effect::SetTimer { timer, name, deadline, period_ns, type_number } => {
                let key = TimerKey { deadline, timer };
                let mut replaced = None;
                self.with_own_message(me, type_number, |cell, outbox, load| {
                    replaced = Some(cell.set_timer(outbox, key, name, period_ns, load));
                });
                if let Some(replaced) = replaced {
                    if let Some(replaced) = replaced {
                        self.timers.cancel(replaced);
                    }
                    self.timers.set(key, me, Due::Timer);
                }
            }
            Effect::CancelTimer { which } => {
                if let Some(key) = self.cell_and_load(me).and_then(|(cell, load)| cell.cancel_timer(&which, load)) {
                    self.timers.cancel(key);
                }
            }
            Effect::Spawn { queue, kind } => self.apply_spawn(me, queue, kind),
            Effect::SpawnOn { worker, kind, request } => self.apply_spawn_on(me, worker, kind, request),
            Effect::Stop { queue } => self.stop(queue, me),
            // An FSM that an earlier effect stopped is told nothing more.
            Effect::Watch { .. } | Effect::DeadLetters { .. } if self.cell(me).is_none() => {}
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

    /// Gives a cell the front message of its own type's outbox. An FSM that an earlier effect stopped has no more use
    /// for it.
    fn with_own_message(
        &mut self,
        me: RawQueueId,
        type_number: u32,
        give: impl FnOnce(&mut dyn AnyCell, &mut dyn AnyOutbox, &mut Load),
    ) {
        let Worker { seats, effects, load, .. } = self;
        let outbox = effects.outboxes[type_number as usize].as_mut();
        match seats[me.slot as usize].cell.as_mut().filter(|cell| cell.queue() == me) {
            Some(cell) => give(cell.as_mut(), outbox, load),
            None => outbox.discard_front(),
        }
    }

    /// Puts out the front message of an outbox.
    fn put_staged(&mut self, to: RawQueueId, header: &Header, sent: Sent) {
        let type_number = header.type_number;
        let Worker { effects, outputs, .. } = self;
        let outbox = effects.outboxes[type_number as usize].as_mut();
        if !outputs.put(to.place, header, |out| outbox.encode_front(out)) {
            self.dead_letter(to, Dropped { sent, type_number, why: Undelivered::NotEncodable, fatal: false });
        }
    }

    fn apply_reply(&mut self, me: RawQueueId, to: RawQueueId, request: RequestId, type_number: u32) {
        let sent = Sent { sender: me, request: None };
        if to.place != Place::worker(self.id()) {
            let header = Header { request: Some(request), ..Header::to(Class::Reply, type_number, to, me) };
            return self.put_staged(to, &header, sent);
        }
        let Worker { seats, effects, catalogue, load, .. } = self;
        let outbox = effects.outboxes[type_number as usize].as_mut();
        let seat = seats.get_mut(to.slot as usize).filter(|seat| seat.generation == to.generation);
        let Some(cell) = seat.and_then(|seat| seat.cell.as_mut()) else {
            outbox.discard_front();
            let why = Undelivered::NoSuchQueue;
            return self.dead_letter(to, Dropped { sent, type_number, why, fatal: false });
        };
        match cell.accept_answer(outbox, type_number, request, Intake { catalogue, load }) {
            Some(key) => {
                self.timers.cancel(key);
                self.wake(to.slot);
            }
            None => {
                let why = Undelivered::TooLate;
                self.dead_letter(to, Dropped { sent, type_number, why, fatal: false });
            }
        }
    }

    fn apply_spawn(&mut self, me: RawQueueId, queue: RawQueueId, kind: u32) {
        if !self.has_room() {
            self.effects.nurseries[kind as usize].discard_front();
            self.effects.slots.free(queue.slot);
            return self.too_many_fsms(queue, kind, Sent { sender: me, request: None });
        }
        let known = self.catalogue.kind(kind).expect("contexts spawn only kinds of the catalogue");
        let setup = known.setup(kind, queue, self.config.seed);
        match (known.hatch)(self.effects.nurseries[kind as usize].as_mut(), setup) {
            Ok(cell) => self.seat(cell),
            Err(error) => {
                let text = format!("the start value of kind {} can't pass the codec: {error}", known.name);
                self.fail(Some(me), FaultKind::Misuse(text));
            }
        }
    }

    fn apply_spawn_on(&mut self, me: RawQueueId, worker: WorkerId, kind: u32, request: RequestId) {
        if worker.0 >= 1 << 31 {
            // No worker has that number; it came from the FSM's data.
            self.notices.push_back(Notice::Failed { to: me, from: me, request, why: NoReply::Gone });
            self.effects.nurseries[kind as usize].discard_front();
            return;
        }
        let answer = self.cell(me).and_then(|cell| cell.awaited_answer(request)).unwrap_or(u32::MAX);
        let to = RawQueueId { place: Place::worker(worker), slot: 0, generation: 0, ..me };
        let header = Header { request: Some(request), ..Header::to(Class::Spawn, kind, to, me) };
        let Worker { effects, outputs, .. } = self;
        let nursery = effects.nurseries[kind as usize].as_mut();
        let mut encode = |out: &mut Vec<u8>| {
            put_varint(out, u64::from(answer));
            nursery.encode_front(out)
        };
        if worker == effects.worker {
            // The same way as from elsewhere: the FSM is created as if the frame had just come in.
            let mut payload = Vec::new();
            if encode(&mut payload).is_ok() {
                self.take_spawn(&header, &payload);
                return;
            }
        } else if outputs.put(to.place, &header, encode) {
            return;
        }
        let why = NoReply::NotUnderstood;
        self.notices.push_back(Notice::Failed { to: me, from: to, request, why });
    }
}

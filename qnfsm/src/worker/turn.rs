//! A turn: a ready FSM is handed some messages, one handler after another, and what each asked for is done. Here a handler
//! that panics is caught, and its kind's policy applied.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::level_filters::LevelFilter;

use crate::{
    fsm::{Externals, Handler, MessageRef, OnPanic, Refusal, TimerName, WhichTimer},
    id::{RawQueueId, RequestId},
    message::{DownReason, NoReply, Undelivered},
    panic::panic_text,
    worker::{
        Fault, FaultKind, Recording, Worker,
        cell::{Outcome, Several},
        envelope::{Claim, Envelope, Sent},
        notice::Notice,
        observe::End,
        seats::occupied,
    },
};

/// Whose turn it is in a worker, for a watchdog on another thread to look at. It is written and never read by the worker.
#[derive(Debug, Clone, Default)]
pub struct Turn(Arc<AtomicU64>);

impl Turn {
    /// Slot and generation of the FSM that was given the last message.
    #[must_use]
    pub fn queue(&self) -> (u32, u32) {
        RawQueueId::seat_of_bits(self.0.load(Ordering::Relaxed))
    }

    #[inline]
    fn show(&self, queue: RawQueueId) {
        self.0.store(queue.seat_bits(), Ordering::Relaxed);
    }
}

impl Worker {
    /// Hands a ready FSM up to `messages` messages, of which there is one at least; says how many it took. If fewer, it has no
    /// work left, or the worker can't go on.
    #[inline(always)]
    pub(super) fn turn(&mut self, queue: RawQueueId, messages: u32, externals: &mut dyn Externals) -> u32 {
        self.turn.show(queue);
        if self.care.is_some() {
            return self.careful_turn(queue, messages, externals);
        }
        if LevelFilter::current() == LevelFilter::TRACE {
            return self.traced_turn(queue, messages, externals);
        }
        self.hand_over(queue.slot(), messages, externals)
    }

    #[cold]
    fn traced_turn(&mut self, queue: RawQueueId, messages: u32, externals: &mut dyn Externals) -> u32 {
        let span = tracing::trace_span!("turn", round = self.round, fsm = %queue, kind = self.kind_name(queue));
        span.in_scope(|| self.hand_over(queue.slot(), messages, externals))
    }

    /// Hands over one message, and then all others together. Most turns are of one message.
    #[inline(always)]
    fn hand_over(&mut self, slot: u32, messages: u32, externals: &mut dyn Externals) -> u32 {
        if !self.handle(slot, externals) {
            return 0;
        }
        if !self.seats[slot as usize].waiting.is_ready() {
            return 1;
        }
        1 + self.hand_over_several(slot, messages - 1, externals)
    }

    /// Does what handing over one message after another does. But all that have nothing to be done between them are handed
    /// over in one call, which looks up, borrows and catches once for all of them.
    #[inline(never)]
    fn hand_over_several(&mut self, slot: u32, messages: u32, externals: &mut dyn Externals) -> u32 {
        let mut left = messages;
        while left > 0 && self.fault.is_none() {
            let Worker { seats, effects, pools, envelopes, config, catalogue, origin, .. } = self;
            let seat = &mut seats[slot as usize];
            let (queue, waiting) = (seat.queue, &mut seat.waiting);
            if waiting.start_is_due || config.recording == Recording::Everything {
                // There is something to be done about it, whatever it asks for.
                if !self.handle(slot, externals) {
                    break;
                }
                left -= 1;
                continue;
            }
            let mut several = Several { queue, waiting, envelopes, left };
            let Some(first) = several.next().copied() else { break };
            let cell = seat.cell.as_deref_mut().expect("turns are given to FSMs that are there");
            let more = Some(&mut several);
            let ended = panic::catch_unwind(AssertUnwindSafe(|| {
                cell.handle(&first, more, effects, pools, externals, &catalogue.resources)
            }));
            *origin = origin.wrapping_add(left - several.left);
            left = several.left;
            let latest = *envelopes.latest();
            match ended {
                Ok(outcome) if outcome.leaves_effects_alone(latest.claim, effects) => self.apply(queue),
                ended => self.conclude(queue, latest, ended, externals),
            }
        }
        messages - left
    }

    /// Runs the handler on the next message, or the start handler if that is due, and does what it asked for; false if the
    /// FSM has no work left.
    #[inline(always)]
    pub(super) fn handle(&mut self, slot: u32, externals: &mut dyn Externals) -> bool {
        let Worker { seats, effects, pools, envelopes, catalogue, origin, .. } = self;
        let seat = &mut seats[slot as usize];
        let me = seat.queue;
        if seat.waiting.start_is_due {
            self.origin = self.origin.wrapping_add(1);
            self.start(me, externals);
            return true;
        }
        let Some(envelope) = seat.waiting.take_next(me, envelopes) else { return false };
        *origin = origin.wrapping_add(1);
        if self.config.recording == Recording::Everything || self.care.is_some() {
            let envelope = *envelope;
            self.handle_attended(me, envelope, externals);
            return true;
        }
        let cell = seat.cell.as_deref_mut().expect("turns are given to FSMs that are there");
        let ended = panic::catch_unwind(AssertUnwindSafe(|| {
            cell.handle(envelope, None, effects, pools, externals, &catalogue.resources)
        }));
        match ended {
            // By far the most common end has a short way.
            Ok(outcome) if outcome.leaves_effects_alone(envelope.claim, effects) => self.apply(me),
            ended => {
                let envelope = *envelope;
                self.conclude(me, envelope, ended, externals);
            }
        }
        true
    }

    /// Runs the handler on a message that was just taken out of the queue, where there is something to be noted of it.
    #[cold]
    fn handle_attended(&mut self, me: RawQueueId, envelope: Envelope, externals: &mut dyn Externals) {
        self.show_before(me, Handler::Handle, Some(envelope));
        let Worker { seats, effects, pools, catalogue, config, notes, .. } = self;
        let seat = &mut seats[me.slot() as usize];
        if config.recording == Recording::Everything {
            notes.payload.clear();
            let encoded = pools.see(seat.intake.message).encode_image(envelope.message, &mut notes.payload);
            if let Err(error) = encoded {
                effects.misuse(|| format!("a message can't pass the codec: {error}"));
            }
        }
        let cell = seat.cell.as_deref_mut().expect("turns are given to FSMs that are there");
        let ended = panic::catch_unwind(AssertUnwindSafe(|| {
            cell.handle(&envelope, None, effects, pools, externals, &catalogue.resources)
        }));
        self.conclude(me, envelope, ended, externals);
    }

    /// Sees to how a handler ended.
    #[inline(never)]
    fn conclude(
        &mut self,
        me: RawQueueId,
        envelope: Envelope,
        ended: Result<Outcome, Box<dyn Any + Send>>,
        externals: &mut dyn Externals,
    ) {
        if let Ok(Outcome::Changed) = ended {
            // The timeout ends with its state, whatever becomes of the handler's effects.
            self.cancel_timer(me, &WhichTimer::Name(TimerName::State));
        }
        let outcome = match ended {
            Ok(outcome) if !self.effects.is_refused() => outcome,
            Ok(outcome) => {
                if let Outcome::Postponed(message) = outcome {
                    self.discard(me, message);
                }
                return self.panicked((me, Handler::Handle), None, envelope.sent(), envelope.claim);
            }
            Err(payload) => {
                return self.panicked((me, Handler::Handle), Some(payload), envelope.sent(), envelope.claim);
            }
        };
        let unkept = match outcome {
            Outcome::Postponed(message) if self.postpone(me, &envelope, message) => None,
            Outcome::Postponed(_) => Some(Undelivered::PostponedTooMany),
            Outcome::Unhandled => Some(Undelivered::Unhandled),
            Outcome::Stayed | Outcome::Changed | Outcome::Stop => None,
        };
        if let (Claim::Outcome(request), false) = (envelope.claim, matches!(outcome, Outcome::Postponed(_))) {
            // The handler has seen the answer: whom it names is the FSM's business now.
            self.take_born(me, request);
        }
        if self.config.recording == Recording::Everything {
            self.record_delivery(me, Handler::Handle, envelope.sender, outcome);
        }
        self.show_after(me, Handler::Handle, outcome);
        self.apply(me);
        match outcome {
            Outcome::Changed => self.enter_state(me, externals),
            Outcome::Stop => self.remove(me, DownReason::Stopped),
            Outcome::Stayed | Outcome::Postponed(_) | Outcome::Unhandled => {}
        }
        if let Some(why) = unkept {
            self.undelivered(me, envelope.sent(), why);
        }
        self.settle();
    }

    /// Runs the start handler.
    #[cold]
    fn start(&mut self, queue: RawQueueId, externals: &mut dyn Externals) {
        self.show_before(queue, Handler::Start, None);
        let Worker { seats, effects, pools, catalogue, .. } = self;
        let seat = &mut seats[queue.slot() as usize];
        let cell = seat.cell.as_deref_mut().expect("turns are given to FSMs that are there");
        let ended =
            panic::catch_unwind(AssertUnwindSafe(|| cell.start(effects, pools, externals, &catalogue.resources)));
        seat.waiting.start_is_due = !cell.has_started();
        if ended.is_err() || self.effects.is_refused() {
            let sent = Sent { sender: queue, request: None };
            return self.panicked((queue, Handler::Start), ended.err(), sent, Claim::Nothing);
        }
        if self.config.recording == Recording::Everything {
            // What a handler that panicked was given may still lie there.
            self.notes.payload.clear();
            self.record_delivery(queue, Handler::Start, queue, Outcome::Changed);
        }
        self.show_after(queue, Handler::Start, Outcome::Changed);
        self.apply(queue);
        self.enter_state(queue, externals);
        self.settle();
    }

    /// Runs the enter action of the FSM's new state and brings back what it had postponed.
    fn enter_state(&mut self, queue: RawQueueId, externals: &mut dyn Externals) {
        if self.seat(queue).is_some() {
            self.show_before(queue, Handler::Enter, None);
        }
        let Worker { seats, effects, pools, catalogue, .. } = self;
        // An effect of its own may have stopped the FSM.
        let Some(cell) = occupied(seats, queue).and_then(|seat| seat.cell.as_deref_mut()) else { return };
        let ended =
            panic::catch_unwind(AssertUnwindSafe(|| cell.enter(effects, pools, externals, &catalogue.resources)));
        if ended.is_err() || self.effects.is_refused() {
            // Its handler has returned: what becomes of the message's request is its business.
            let sent = Sent { sender: queue, request: None };
            return self.panicked((queue, Handler::Enter), ended.err(), sent, Claim::Nothing);
        }
        if self.config.recording == Recording::Everything {
            self.record_delivery(queue, Handler::Enter, queue, Outcome::Stayed);
        }
        self.show_after(queue, Handler::Enter, Outcome::Stayed);
        self.apply(queue);
        let Worker { seats, envelopes, .. } = self;
        if let Some(seat) = occupied(seats, queue) {
            seat.waiting.unpostpone(envelopes);
        }
    }

    /// Keeps what the handler handed back of what came in until the state changes; false if there is no room, and it is
    /// dropped.
    fn postpone(&mut self, queue: RawQueueId, came: &Envelope, message: MessageRef) -> bool {
        let Worker { seats, pools, envelopes, .. } = self;
        let seat = &mut seats[queue.slot() as usize];
        let envelope = Envelope { weight: seat.intake.weigh(pools, message), message, ..*came };
        let kept = seat.waiting.postpone(envelope, seat.intake.capacity, &mut envelopes.load);
        if !kept {
            self.discard(queue, message);
        }
        kept
    }

    /// Drops a message of the type of an FSM's queue.
    pub(super) fn discard(&mut self, queue: RawQueueId, message: MessageRef) {
        let type_number = self.seats[queue.slot() as usize].intake.message;
        self.pools.any(type_number).discard(message);
    }

    pub(super) fn take_born(&mut self, queue: RawQueueId, request: RequestId) -> Option<RawQueueId> {
        self.seat_mut(queue)?.waiting.take_born(request)
    }

    /// A handler panicked or misused its context: what it had appended is cut off, and the kind's policy applies.
    fn panicked(
        &mut self,
        (queue, handler): (RawQueueId, Handler),
        payload: Option<Box<dyn Any + Send>>,
        sent: Sent,
        claim: Claim,
    ) {
        let refusal = self.effects.refusal.take().map(|refusal| *refusal);
        self.effects.cut_off(&mut self.pools);
        let what = match (payload, refusal) {
            // A handler that catches unwinding can't go on without its external value all the same.
            (_, Some(Refusal::Halted(fault))) => {
                let what = FaultKind::External(fault);
                self.show_no_end(queue, handler, &End::Failed(what.clone()));
                return self.fail(Some(queue), what);
            }
            (_, Some(Refusal::Lacking(text))) => {
                let what = FaultKind::Lacking(text);
                self.show_no_end(queue, handler, &End::Failed(what.clone()));
                return self.fail(Some(queue), what);
            }
            (Some(payload), _) => FaultKind::Panic(panic_text(payload.as_ref()).to_owned()),
            (None, Some(Refusal::Misuse(text))) => FaultKind::Misuse(text),
            (None, None) => unreachable!("a handler that neither panicked nor was refused has ended well"),
        };
        self.show_no_end(queue, handler, &End::Failed(what.clone()));
        if let Some(request) = sent.request {
            // What the handler had in its hands is gone with it.
            self.notices.push_back(Notice::Failed { to: sent.sender, from: queue, request, why: NoReply::Failed });
        }
        if let Claim::Outcome(request) = claim
            && let Some(born) = self.take_born(queue, request)
        {
            self.stop(born, queue);
        }
        self.counters.panics += 1;
        self.effects.digest.mix(u64::from_le_bytes(*b"panicked"));
        self.effects.digest.mix(u64::from(queue.slot()));
        tracing::error!(queue = %queue, kind = self.kind_name(queue), %what, "a handler ends without effect");
        let seat = &self.seats[queue.slot() as usize];
        let on_panic = self.catalogue.kind(seat.kind).map_or(OnPanic::StopNode, |kind| kind.on_panic);
        let restarts = seat.cell.as_ref().map_or(0, |cell| cell.restarts());
        match on_panic {
            OnPanic::StopNode => self.fail(Some(queue), what),
            OnPanic::Restart { budget } if restarts < budget => self.restart(queue),
            OnPanic::StopFsm | OnPanic::Restart { .. } => self.remove(queue, DownReason::Panicked),
        }
        self.settle();
    }

    /// Starts an FSM over from its start value.
    fn restart(&mut self, queue: RawQueueId) {
        let Worker { seats, envelopes, .. } = self;
        let Some(seat) = occupied(seats, queue) else { return };
        if let Some(cell) = &mut seat.cell {
            cell.restart();
        }
        seat.waiting.start_is_due = true;
        let type_number = seat.intake.message;
        let remains = seat.waiting.start_over(type_number, envelopes);
        self.dispose(queue, type_number, remains);
    }

    /// The worker can't go on. The first fault counts.
    pub(super) fn fail(&mut self, queue: Option<RawQueueId>, what: FaultKind) {
        let fsm = queue.map(|queue| {
            let cell = self.seat(queue).and_then(|seat| seat.cell.as_ref());
            let state = cell.map_or_else(|| "gone".to_owned(), |cell| cell.state_text());
            format!("kind {} ({queue}) in state {state}", self.kind_name(queue))
        });
        let fault = Fault { worker: self.id(), round: self.round, fsm, what };
        self.fault.get_or_insert_with(|| Box::new(fault));
    }
}

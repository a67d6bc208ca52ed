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

use crate::{
    fsm::{ExternalFault, Externals, Halt, OnPanic},
    id::RawQueueId,
    message::{DownReason, NoReply, Undelivered},
    worker::{Fault, FaultKind, Recording, Worker, cell::Outcome, deliver::Notice},
};

/// Whose turn it is in a worker, for a watchdog on another thread to look at. It is written and never read by the worker.
#[derive(Debug, Clone, Default)]
pub struct Turn(Arc<AtomicU64>);

impl Turn {
    /// Slot and generation of the FSM that was given the last message.
    #[must_use]
    pub fn queue(&self) -> (u32, u32) {
        let bits = self.0.load(Ordering::Relaxed);
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("half of a u64 has 32 bits");
        (half(bits), half(bits >> 32))
    }

    pub(super) fn show(&self, slot: u32, generation: u32) {
        self.0.store(u64::from(slot) | u64::from(generation) << 32, Ordering::Relaxed);
    }
}

impl Worker {
    /// Hands a ready FSM up to `messages` messages; says how many it took.
    pub(super) fn turn(&mut self, slot: u32, messages: u32, externals: &mut dyn Externals) -> u32 {
        self.turn.show(slot, self.seats[slot as usize].generation);
        let span =
            tracing::trace_span!("turn", round = self.round, fsm = tracing::field::Empty, kind = tracing::field::Empty);
        if let (false, Some(cell)) = (span.is_disabled(), &self.seats[slot as usize].cell) {
            span.record("fsm", tracing::field::display(cell.queue()));
            span.record("kind", self.catalogue.kind_name(cell.kind()));
        }
        let _entered = span.enter();
        for taken in 0..messages {
            let seat = &self.seats[slot as usize];
            if self.fault.is_some() || !seat.cell.as_ref().is_some_and(|cell| cell.has_work()) {
                return taken;
            }
            self.handle(slot, externals);
        }
        messages
    }

    /// Runs one handler and does what it asked for.
    fn handle(&mut self, slot: u32, externals: &mut dyn Externals) {
        let everything = self.config.recording == Recording::Everything;
        let Worker { seats, effects, load, .. } = self;
        let cell = seats[slot as usize].cell.as_mut().expect("turns are given to FSMs that are there");
        let queue = cell.queue();
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| cell.handle_next(effects, externals, load, everything)));
        if let Ok(Outcome::Changed { state_timer: Some(key) }) = outcome {
            // The cell has ended it with its state, whatever becomes of the handler's effects.
            self.timers.cancel(key);
        }
        let outcome = match outcome {
            // A handler that catches unwinding can't go on without its external value all the same.
            Ok(_) if self.effects.halted.is_some() => return self.panicked(queue, Some(Box::new(Halt))),
            Ok(outcome) if self.effects.misuse.is_none() => outcome,
            other => return self.panicked(queue, other.err()),
        };
        if everything {
            self.record_delivery(queue, outcome);
        }
        self.apply(queue);
        match outcome {
            Outcome::Stayed => {}
            Outcome::Changed { .. } => self.enter_state(queue, externals),
            Outcome::Unhandled(sent) => self.undelivered(queue, sent, Undelivered::Unhandled),
            Outcome::PostponedTooMany(sent) => self.undelivered(queue, sent, Undelivered::PostponedTooMany),
            Outcome::Stop => self.remove(queue, DownReason::Stopped),
        }
        self.settle();
    }

    /// Runs the enter action of the FSM's new state and brings back what it had postponed.
    fn enter_state(&mut self, queue: RawQueueId, externals: &mut dyn Externals) {
        let Worker { seats, effects, .. } = self;
        // An effect of its own may have stopped the FSM.
        let Some(cell) = seats[queue.slot as usize].cell.as_mut().filter(|cell| cell.queue() == queue) else { return };
        // Its handler has returned: what becomes of the message's request is its business.
        effects.asked = None;
        let entered = panic::catch_unwind(AssertUnwindSafe(|| cell.enter(effects, externals)));
        match entered {
            Ok(()) if self.effects.misuse.is_none() => {}
            other => return self.panicked(queue, other.err()),
        }
        if self.config.recording == Recording::Everything {
            self.record_delivery(queue, Outcome::Stayed);
        }
        self.apply(queue);
        if let Some(cell) = self.cell_mut(queue) {
            cell.unpostpone();
        }
    }

    /// A handler panicked or misused its context: what it had appended is cut off, and the kind's policy applies.
    fn panicked(&mut self, queue: RawQueueId, payload: Option<Box<dyn Any + Send>>) {
        let misuse = self.effects.misuse.take();
        let asked = self.effects.asked.take();
        let answered = self.effects.answered.take();
        self.effects.cut_off();
        if payload.as_ref().is_some_and(|payload| payload.is::<Halt>()) {
            let fault = self.effects.halted.take().unwrap_or_else(|| ExternalFault("no external value".to_owned()));
            return self.fail(Some(queue), FaultKind::External(fault));
        }
        let what = match (payload, misuse) {
            (Some(payload), _) => FaultKind::Panic(panic_text(payload.as_ref())),
            (None, misuse) => FaultKind::Misuse(misuse.unwrap_or_default()),
        };
        if let Some((asker, request)) = asked {
            // What the handler had in its hands is gone with it.
            self.notices.push_back(Notice::Failed { to: asker, from: queue, request, why: NoReply::Failed });
        }
        if let Some(born) = answered.and_then(|request| self.cell_mut(queue)?.take_born(request)) {
            self.stop(born, queue);
        }
        self.counters.panics += 1;
        self.effects.digest.mix(u64::from_le_bytes(*b"panicked"));
        let policy = self.cell_mut(queue).map_or(OnPanic::StopNode, |cell| cell.on_panic());
        tracing::error!(queue = %queue, kind = self.kind_name(queue), %what, "a handler ends without effect");
        match policy {
            OnPanic::StopNode => self.fail(Some(queue), what),
            OnPanic::Restart { budget } if self.cell_mut(queue).is_some_and(|cell| cell.restarts() < budget) => {
                let restarted = self.cell_and_load(queue).map(|(cell, load)| cell.restart(load));
                self.dispose(queue, restarted.unwrap_or_default());
            }
            OnPanic::StopFsm | OnPanic::Restart { .. } => self.remove(queue, DownReason::Panicked),
        }
        self.settle();
    }

    /// The worker can't go on. The first fault counts.
    pub(super) fn fail(&mut self, queue: Option<RawQueueId>, what: FaultKind) {
        let fsm = queue.map(|queue| {
            let state = self.cell(queue).map_or_else(|| "gone".to_owned(), |cell| cell.state_text());
            format!("kind {} ({queue}) in state {state}", self.kind_name(queue))
        });
        let fault = Fault { worker: self.id(), round: self.round, fsm, what };
        self.fault.get_or_insert(fault);
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a text".to_owned())
}

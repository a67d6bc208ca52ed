//! A round that is run with care, because it has not ended before, or somebody observes it: messages are handed over one by one, each
//! handler is announced before it runs, and deliveries that are known never to end are skipped. What it does otherwise is what any
//! round does.

use std::collections::BTreeMap;

use crate::{
    fsm::{Externals, Handler},
    id::RawQueueId,
    message::{DownReason, Undelivered},
    worker::{Worker, envelope::Claim, observe::End},
};

/// How a delivery is passed over that doesn't end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// The message is dropped: it becomes a dead letter, who waits for its answer gets [`NoReply::Failed`](crate::NoReply::Failed),
    /// and its FSM goes on as if it had never come. An FSM that doesn't get through its start is stopped.
    Message,
    /// Its FSM is stopped as well.
    StopFsm,
}

/// What is to be seen to in the round that runs.
#[derive(Debug, Default)]
pub(super) struct Care {
    pub(super) delivered: u32,
    skips: BTreeMap<u32, Skip>,
}

impl Worker {
    /// Runs the next round with care: [`Externals::delivers`] hears of each delivery before its handler runs, and those that are
    /// given by their number within the round are skipped. It is to be called before the round's batches are fed.
    pub fn take_care(&mut self, skips: impl IntoIterator<Item = (u32, Skip)>) {
        self.care = Some(Box::new(Care { delivered: 0, skips: skips.into_iter().collect() }));
    }

    /// As [`turn`](Worker::turn), one message after another.
    #[cold]
    pub(super) fn careful_turn(&mut self, queue: RawQueueId, messages: u32, externals: &mut dyn Externals) -> u32 {
        let mut taken = 0;
        while taken < messages && self.fault.is_none() && self.seats[queue.slot() as usize].waiting.is_ready() {
            let care = self.care.get_or_insert_default();
            care.delivered += 1;
            let (delivery, skip) = (care.delivered, care.skips.get(&care.delivered).copied());
            // The FSM may have gone in this turn, and another may be there.
            let queue = self.seats[queue.slot() as usize].queue;
            externals.delivers(self.id(), delivery, queue, self.kind_name(queue));
            match skip {
                Some(skip) => self.skip(queue, skip),
                None if !self.handle(queue.slot(), externals) => break,
                None => {}
            }
            taken += 1;
        }
        taken
    }

    /// Passes over the next message of an FSM, or over its start.
    fn skip(&mut self, queue: RawQueueId, skip: Skip) {
        self.origin = self.origin.wrapping_add(1);
        tracing::error!(%queue, kind = self.kind_name(queue), ?skip, "a delivery is skipped, because it doesn't end");
        self.effects.digest.mix(u64::from_le_bytes(*b"skipped!"));
        self.effects.digest.mix(u64::from(queue.slot()));
        let Worker { seats, envelopes, .. } = self;
        let waiting = &mut seats[queue.slot() as usize].waiting;
        let starts = waiting.start_is_due;
        if !starts && let Some(envelope) = waiting.take_next(queue, envelopes).copied() {
            self.discard(queue, envelope.message);
            if let Claim::Outcome(request) = envelope.claim
                && let Some(born) = self.take_born(queue, request)
            {
                self.stop(born, queue);
            }
            self.undelivered(queue, envelope.sent(), Undelivered::Skipped);
        }
        if starts || skip == Skip::StopFsm {
            self.remove(queue, DownReason::Poisoned);
        }
        self.settle();
        let handler = if starts { Handler::Start } else { Handler::Handle };
        self.show_no_end(queue, handler, &End::Skipped(skip));
    }
}

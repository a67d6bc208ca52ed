//! News that the worker itself has: of queues that are gone, of requests that fail, of messages that could not be
//! delivered; and who is to hear of them.

use crate::{
    codec::Codec,
    frame::{Class, Header},
    id::{RawQueueId, RequestId},
    message::{DeadLetter, Down, DownReason, Message, NoReply, Undelivered},
    worker::{
        FaultKind, Worker,
        envelope::{Claim, Dropped, Sent},
    },
};

/// News that the worker itself has for a queue, here or elsewhere. Notices wait until the effects that made them are
/// all applied.
#[derive(Debug)]
pub(super) enum Notice {
    Failed { to: RawQueueId, from: RawQueueId, request: RequestId, why: NoReply },
    Down { watcher: RawQueueId, gone: RawQueueId, reason: DownReason },
    DeadLetter(DeadLetter),
}

impl Worker {
    /// Stops the FSM of a queue, here or elsewhere.
    pub(super) fn stop(&mut self, queue: RawQueueId, me: RawQueueId) {
        if queue.place() == self.here() {
            self.remove(queue, DownReason::Stopped);
        } else {
            self.outputs.put(queue.place(), &Header::to(Class::Stop, 0, queue, me), |_| Ok(()));
        }
    }

    /// Begins a watch, which ends with the first news; a target here that is gone is told of at once.
    pub(super) fn watch(&mut self, watcher: RawQueueId, target: RawQueueId) {
        let here = self.here();
        self.note_watch(target);
        let watchers = self.watches.entry(target).or_default();
        if watchers.contains(&watcher) {
            return;
        }
        watchers.push(watcher);
        if let Some(seat) = self.seat_mut(watcher) {
            seat.waiting.watch(target);
        }
        if target.place() != here {
            let header = Header::to(Class::Watch, 0, target, watcher);
            self.outputs.put(target.place(), &header, |_| Ok(()));
        } else if self.seat(target).is_none() {
            self.notices.push_back(Notice::Down { watcher, gone: target, reason: DownReason::Unknown });
        }
    }

    /// Ends a watch, and tells the target's place if it is elsewhere.
    pub(super) fn unwatch(&mut self, watcher: RawQueueId, target: RawQueueId) {
        if self.forget_watch(watcher, target) && target.place() != self.here() {
            let header = Header::to(Class::Unwatch, 0, target, watcher);
            self.outputs.put(target.place(), &header, |_| Ok(()));
        }
    }

    /// Ends a watch here; says whether there was one.
    fn forget_watch(&mut self, watcher: RawQueueId, target: RawQueueId) -> bool {
        if watcher.place() == self.here() {
            self.touch(watcher.slot());
        }
        if let Some(seat) = self.seat_mut(watcher) {
            seat.waiting.unwatch(target);
        }
        self.note_watch(target);
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
                Undelivered::Unhandled | Undelivered::Skipped => NoReply::Failed,
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
        let type_number = self.seat(to).map_or(0, |seat| seat.intake.message);
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
        let here = self.here();
        match notice {
            Notice::Failed { to, request, why, .. } if to.place() == here => {
                if let Some(key) = self.fail_request(to, request, why) {
                    self.timers.cancel(key);
                }
            }
            Notice::Failed { to, from, request, why } => {
                let header = Header { request: Some(request), ..Header::to(Class::Failed, 0, to, from) };
                self.outputs.put(to.place(), &header, |out| Codec::CURRENT.encode(&why, out));
            }
            // Whoever unwatched since, or was told by an earlier notice, hears nothing more.
            Notice::Down { watcher, gone, .. } if !self.forget_watch(watcher, gone) => {}
            Notice::Down { watcher, gone, reason } if watcher.place() == here => {
                if self.seat(watcher).is_some() {
                    self.deliver_own(watcher, gone, Down { queue: gone, reason }, Claim::News);
                }
            }
            Notice::Down { watcher, gone, reason } => {
                let header = Header::to(Class::Down, 0, watcher, gone);
                self.outputs.put(watcher.place(), &header, |out| Codec::CURRENT.encode(&reason, out));
            }
            Notice::DeadLetter(letter) => {
                for mourner in self.mourners.clone() {
                    self.deliver_own(mourner, letter.to, letter.clone(), Claim::Nothing);
                }
            }
        }
    }

    /// Delivers a message of the library's own to an FSM here.
    fn deliver_own<M: Message>(&mut self, to: RawQueueId, sender: RawQueueId, message: M, claim: Claim) {
        let number = self.effects.numbers.message::<M>();
        let number = number.expect("the library's own message types are always registered");
        let message = self.pools.of::<M>(number).put(message);
        self.deliver(to, (number, message), sender, claim);
    }
}

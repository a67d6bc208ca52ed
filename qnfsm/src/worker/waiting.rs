//! What waits for one FSM: messages in its queue, postponed and self-sent ones, timers and their beats, requests under
//! way; and the order in which they come.
//!
//! Plain data, typed by the FSM's message, and part of the cell's image. It knows no handler and no other FSM: it takes
//! in, gives the next message, and says what it dropped. The bytes that wait are counted into the worker's [`Load`]; they
//! stand in no image, because they follow from what waits.

use std::{collections::VecDeque, mem};

use serde::{Deserialize, Serialize};

use crate::{
    fsm::{Overflow, QueuePolicy, TimerId, TimerName, WhichTimer},
    id::{RawQueueId, RequestId},
    time::Time,
    worker::{
        envelope::{Claim, Dropped, Envelope, Load, Sent, weight},
        timers::{Due, TimerKey},
    },
};

/// Which message a full queue did not keep.
pub(super) enum Overflowed {
    /// The one that came.
    Newest,
    /// One that had waited.
    Older(Sent),
}

/// A timer that is set.
#[derive(Debug, Serialize, Deserialize)]
struct SetTimer<M> {
    timer: TimerId,
    name: TimerName,
    deadline: Time,
    what: Beat<M>,
}

/// What a timer sends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Beat<M> {
    Once(M),
    /// Encoded, because messages need not be `Clone`.
    Every {
        period_ns: u64,
        message: Vec<u8>,
    },
}

/// A timer that fired, and its message.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fired<M> {
    timer: TimerId,
    name: TimerName,
    beats: u64,
    #[serde(skip)]
    beyond: u32,
    message: M,
}

/// A request under way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) request: RequestId,
    pub(super) key: TimerKey,
    pub(super) answer: u32,
}

/// What a message that is being handled came with, to postpone it by.
pub(super) enum Origin {
    Queue { sender: RawQueueId, claim: Claim },
    Timer { timer: TimerId, name: TimerName, beats: u64 },
}

/// A message on its way into the handler.
pub(super) struct Incoming<M> {
    pub(super) origin: Origin,
    pub(super) beyond: u32,
    pub(super) message: M,
}

/// What only some FSMs have; kept apart so that an idle FSM is small.
#[derive(Debug, Serialize, Deserialize)]
struct Extras<M> {
    /// Self-sent messages, ahead of all others.
    ahead: VecDeque<Envelope<M>>,
    postponed: VecDeque<Envelope<M>>,
    timers: Vec<SetTimer<M>>,
    fired: VecDeque<Fired<M>>,
    /// Messages of timers that were postponed; cancelling reaches them too.
    postponed_fired: VecDeque<Fired<M>>,
    pending: Vec<Pending>,
    /// FSMs that were spawned elsewhere for a request whose answer waits: nobody knows them but that answer.
    born: Vec<(RequestId, RawQueueId)>,
    /// Queues that this FSM monitors.
    watched: Vec<RawQueueId>,
}

/// What an FSM leaves behind.
#[derive(Default)]
pub(crate) struct Remains {
    /// Messages that waited.
    pub(crate) dropped: Vec<Dropped>,
    /// The keys of its timers and deadlines.
    pub(crate) keys: Vec<TimerKey>,
    /// FSMs elsewhere that it had asked for and never came to know.
    pub(crate) born: Vec<RawQueueId>,
}

impl<M> Default for Extras<M> {
    fn default() -> Extras<M> {
        Extras {
            ahead: VecDeque::new(),
            postponed: VecDeque::new(),
            timers: Vec::new(),
            fired: VecDeque::new(),
            postponed_fired: VecDeque::new(),
            pending: Vec::new(),
            born: Vec::new(),
            watched: Vec::new(),
        }
    }
}

/// All that waits for one FSM.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Waiting<M> {
    queue: VecDeque<Envelope<M>>,
    /// A timer's message is next, if one waits; timers and queue take turns.
    timers_next: bool,
    extras: Option<Box<Extras<M>>>,
}

impl<M> Default for Waiting<M> {
    fn default() -> Waiting<M> {
        Waiting { queue: VecDeque::new(), timers_next: false, extras: None }
    }
}

impl<M> Waiting<M> {
    fn extras(&mut self) -> &mut Extras<M> {
        self.extras.get_or_insert_default()
    }

    /// Something is there for the handler.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        !self.queue.is_empty()
            || self.extras.as_ref().is_some_and(|extras| !extras.ahead.is_empty() || !extras.fired.is_empty())
    }

    /// Takes the next message: self-sent ones first; then timers and queue in turn.
    pub(super) fn take_next(&mut self, load: &mut Load) -> Option<Incoming<M>> {
        if let Some(extras) = &mut self.extras {
            if let Some(envelope) = extras.ahead.pop_front() {
                return Some(opened(envelope, load));
            }
            if (self.timers_next || self.queue.is_empty())
                && let Some(Fired { timer, name, beats, beyond, message }) = extras.fired.pop_front()
            {
                self.timers_next = false;
                load.less::<M>(beyond);
                return Some(Incoming { origin: Origin::Timer { timer, name, beats }, beyond, message });
            }
        }
        self.timers_next = true;
        Some(opened(self.queue.pop_front()?, load))
    }

    /// Puts a message at the queue's end whatever its capacity is.
    #[inline]
    pub(super) fn push(&mut self, envelope: Envelope<M>, load: &mut Load) {
        load.more::<M>(envelope.beyond);
        self.queue.push_back(envelope);
    }

    /// Puts a message into the queue as its policy has it. Messages with the same `key` stand for one another where it
    /// coalesces.
    #[inline]
    pub(super) fn offer(
        &mut self,
        envelope: Envelope<M>,
        policy: QueuePolicy,
        key: impl Fn(&M) -> Option<u64>,
        load: &mut Load,
    ) -> Result<(), Overflowed> {
        if self.queue.len() < policy.capacity as usize {
            self.push(envelope, load);
            return Ok(());
        }
        self.overflow(envelope, policy.overflow, key, load)
    }

    fn overflow(
        &mut self,
        envelope: Envelope<M>,
        overflow: Overflow,
        key: impl Fn(&M) -> Option<u64>,
        load: &mut Load,
    ) -> Result<(), Overflowed> {
        let replaced = match overflow {
            Overflow::DropNewest | Overflow::StopNode => return Err(Overflowed::Newest),
            Overflow::DropOldest => {
                let oldest = self.queue.iter().position(|waiting| waiting.claim.may_be_dropped());
                // With a capacity of 0, or where only answers and news wait, nothing is older than the newest.
                let oldest = oldest.and_then(|at| self.queue.remove(at)).ok_or(Overflowed::Newest)?;
                self.push(envelope, load);
                oldest
            }
            Overflow::Coalesce => {
                let newest = key(&envelope.message).ok_or(Overflowed::Newest)?;
                let same = |waiting: &&mut Envelope<M>| {
                    waiting.claim.may_be_dropped() && key(&waiting.message) == Some(newest)
                };
                let same = self.queue.iter_mut().find(same).ok_or(Overflowed::Newest)?;
                load.more::<M>(envelope.beyond);
                mem::replace(same, envelope)
            }
        };
        load.less::<M>(replaced.beyond);
        Err(Overflowed::Older(replaced.sent()))
    }

    /// Puts a self-sent message ahead of all but its like.
    pub(super) fn push_ahead(&mut self, envelope: Envelope<M>, load: &mut Load) {
        load.more::<M>(envelope.beyond);
        self.extras().ahead.push_back(envelope);
    }

    /// Keeps a message until the state changes; false if `capacity` are kept already, and it is dropped.
    pub(super) fn postpone(&mut self, incoming: Incoming<M>, capacity: u32, load: &mut Load) -> bool {
        let Incoming { origin, beyond, message } = incoming;
        let extras = self.extras();
        if extras.postponed.len() + extras.postponed_fired.len() >= capacity as usize {
            return false;
        }
        load.more::<M>(beyond);
        match origin {
            Origin::Queue { sender, claim } => {
                extras.postponed.push_back(Envelope { sender, claim, beyond, message });
            }
            Origin::Timer { timer, name, beats } => {
                extras.postponed_fired.push_back(Fired { timer, name, beats, beyond, message });
            }
        }
        true
    }

    /// The state has changed: what was postponed comes ahead of its like.
    pub(super) fn unpostpone(&mut self) {
        let Some(extras) = &mut self.extras else { return };
        while let Some(envelope) = extras.postponed.pop_back() {
            self.queue.push_front(envelope);
        }
        while let Some(fired) = extras.postponed_fired.pop_back() {
            extras.fired.push_front(fired);
        }
    }

    /// Sets a timer; gives the key of the one of that name that it replaces.
    pub(super) fn set_timer(
        &mut self,
        key: TimerKey,
        name: TimerName,
        what: Beat<M>,
        load: &mut Load,
    ) -> Option<TimerKey> {
        let replaced = match &name {
            TimerName::Unnamed => None,
            name => self.cancel_timer(&WhichTimer::Name(name.clone()), load),
        };
        self.extras().timers.push(SetTimer { timer: key.timer, name, deadline: key.deadline, what });
        replaced
    }

    /// Cancels a timer, and takes back its message if it waits; gives the timer's key if it is set.
    pub(super) fn cancel_timer(&mut self, which: &WhichTimer, load: &mut Load) -> Option<TimerKey> {
        let extras = self.extras.as_mut()?;
        let is = |timer: TimerId, name: &TimerName| match which {
            WhichTimer::Name(wanted) => name == wanted,
            WhichTimer::Id(wanted) => timer == *wanted,
        };
        for waiting in [&mut extras.fired, &mut extras.postponed_fired] {
            waiting.retain(|fired| {
                let cancelled = is(fired.timer, &fired.name);
                if cancelled {
                    load.less::<M>(fired.beyond);
                }
                !cancelled
            });
        }
        let at = extras.timers.iter().position(|set| is(set.timer, &set.name))?;
        let SetTimer { timer, deadline, .. } = extras.timers.remove(at);
        Some(TimerKey { deadline, timer })
    }

    /// A timer is due: its message waits from now on. `decode` makes the message of a periodic one, `measure` says what a
    /// message holds beyond its size. Gives the key of the next beat.
    pub(super) fn fire(
        &mut self,
        timer: TimerId,
        now: Time,
        decode: impl Fn(&[u8]) -> M,
        measure: impl Fn(&M) -> u32,
        load: &mut Load,
    ) -> Option<TimerKey> {
        let extras = self.extras.as_mut()?;
        let at = extras.timers.iter().position(|set| set.timer == timer)?;
        let SetTimer { deadline, name, what: Beat::Every { period_ns, message }, .. } = &mut extras.timers[at] else {
            let SetTimer { timer, name, what, .. } = extras.timers.remove(at);
            let Beat::Once(message) = what else { unreachable!("periodic timers are handled above") };
            let beyond = measure(&message);
            load.more::<M>(beyond);
            extras.fired.push_back(Fired { timer, name, beats: 0, beyond, message });
            return None;
        };
        let late_ns = now.as_nanos().saturating_sub(deadline.as_nanos());
        let beats = 1 + late_ns / *period_ns;
        *deadline = Time::from_nanos(deadline.as_nanos().saturating_add(beats.saturating_mul(*period_ns)));
        let next = TimerKey { deadline: *deadline, timer };
        if let Some(waiting) = extras.fired.iter_mut().find(|fired| fired.timer == timer) {
            waiting.beats = waiting.beats.saturating_add(beats);
        } else {
            let message = decode(message);
            let beyond = measure(&message);
            load.more::<M>(beyond);
            extras.fired.push_back(Fired { timer, name: name.clone(), beats, beyond, message });
        }
        Some(next)
    }

    /// A request is under way from now on.
    pub(super) fn await_answer(&mut self, pending: Pending) {
        self.extras().pending.push(pending);
    }

    /// A request is no longer under way.
    pub(super) fn take_pending(&mut self, request: RequestId) -> Option<Pending> {
        let pending = &mut self.extras.as_mut()?.pending;
        let at = pending.iter().position(|pending| pending.request == request)?;
        Some(pending.remove(at))
    }

    /// The number of the type of answer that a request waits for.
    pub(super) fn awaited_answer(&self, request: RequestId) -> Option<u32> {
        let pending = &self.extras.as_ref()?.pending;
        pending.iter().find(|pending| pending.request == request).map(|pending| pending.answer)
    }

    /// Drops what came of a request, if it waits.
    pub(super) fn drop_outcome(&mut self, request: RequestId, load: &mut Load) {
        let mut stays = |waiting: &Envelope<M>| {
            let dropped = waiting.claim == Claim::Outcome(request);
            if dropped {
                load.less::<M>(waiting.beyond);
            }
            !dropped
        };
        self.queue.retain(&mut stays);
        if let Some(extras) = &mut self.extras {
            extras.postponed.retain(&mut stays);
        }
    }

    /// The answer that waits for a request names an FSM that nobody else knows.
    pub(super) fn note_born(&mut self, request: RequestId, queue: RawQueueId) {
        self.extras().born.push((request, queue));
    }

    /// The answer of a request that was a spawn no longer waits. Gives the FSM that it names.
    pub(super) fn take_born(&mut self, request: RequestId) -> Option<RawQueueId> {
        let born = &mut self.extras.as_mut()?.born;
        let at = born.iter().position(|(of, _)| *of == request)?;
        Some(born.remove(at).1)
    }

    /// The queues that the FSM monitors.
    pub(super) fn watched(&mut self) -> &mut Vec<RawQueueId> {
        &mut self.extras().watched
    }

    /// Forgets all but the queue and what is monitored: the FSM starts over.
    pub(super) fn start_over(&mut self, type_number: u32, load: &mut Load) -> Remains {
        let Some(mut extras) = self.extras.take() else { return Remains::default() };
        extras.unload(load);
        let keys = extras.keys();
        let Extras { postponed, watched, born, .. } = *extras;
        let outcome = |request| self.queue.iter().any(|waiting| waiting.claim == Claim::Outcome(request));
        let (kept, lost): (Vec<_>, Vec<_>) = born.into_iter().partition(|(request, _)| outcome(*request));
        if !watched.is_empty() || !kept.is_empty() {
            (self.extras().watched, self.extras().born) = (watched, kept);
        }
        let dropped = postponed.iter().map(|envelope| envelope.stopped(type_number)).collect();
        Remains { dropped, keys, born: lost.into_iter().map(|(_, queue)| queue).collect() }
    }

    /// Takes all apart.
    pub(super) fn dissolve(&mut self, type_number: u32, load: &mut Load) -> Remains {
        let mut remains = self.start_over(type_number, load);
        for envelope in self.queue.drain(..) {
            load.less::<M>(envelope.beyond);
            remains.dropped.push(envelope.stopped(type_number));
        }
        let born = self.extras.take().map(|extras| extras.born).unwrap_or_default();
        remains.born.extend(born.into_iter().map(|(_, queue)| queue));
        remains
    }

    /// What all that waits weighs.
    pub(super) fn bytes(&self) -> u64 {
        let envelopes = self.envelopes().map(|envelope| weight::<M>(envelope.beyond));
        let fired = self.fired().map(|fired| weight::<M>(fired.beyond));
        envelopes.chain(fired).sum()
    }

    /// Measures what waits anew, after it was read from an image.
    pub(super) fn measure(&mut self, measure: impl Fn(&M) -> u32) {
        let Waiting { queue, extras, .. } = self;
        queue.iter_mut().for_each(|envelope| envelope.beyond = measure(&envelope.message));
        let Some(extras) = extras else { return };
        let Extras { ahead, postponed, fired, postponed_fired, .. } = &mut **extras;
        ahead.iter_mut().chain(postponed).for_each(|envelope| envelope.beyond = measure(&envelope.message));
        fired.iter_mut().chain(postponed_fired).for_each(|fired| fired.beyond = measure(&fired.message));
    }

    fn envelopes(&self) -> impl Iterator<Item = &Envelope<M>> {
        let extras = self.extras.iter().flat_map(|extras| extras.ahead.iter().chain(&extras.postponed));
        self.queue.iter().chain(extras)
    }

    fn fired(&self) -> impl Iterator<Item = &Fired<M>> {
        self.extras.iter().flat_map(|extras| extras.fired.iter().chain(&extras.postponed_fired))
    }

    /// The keys of the timers and of the requests' deadlines, with what is due.
    pub(super) fn keys(&self) -> Vec<(TimerKey, Due)> {
        let Some(extras) = &self.extras else { return Vec::new() };
        let timers = extras.timers.iter().map(|set| (set.key(), Due::Timer));
        let requests = extras.pending.iter().map(|pending| (pending.key, Due::Request(pending.request)));
        timers.chain(requests).collect()
    }

    /// True if each answer that names a new FSM is one that waits.
    pub(super) fn knows_its_born(&self) -> bool {
        let outcome = |request| self.envelopes().any(|waiting| waiting.claim == Claim::Outcome(request));
        self.extras.iter().flat_map(|extras| &extras.born).all(|(request, _)| outcome(*request))
    }

    /// The requests under way.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.extras.iter().flat_map(|extras| &extras.pending)
    }

    /// The periods of periodic timers, each with its encoded message.
    pub(super) fn periodic(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let timers = self.extras.iter().flat_map(|extras| &extras.timers);
        timers.filter_map(|set| match &set.what {
            Beat::Once(_) => None,
            Beat::Every { period_ns, message } => Some((*period_ns, message.as_slice())),
        })
    }
}

impl<M> SetTimer<M> {
    fn key(&self) -> TimerKey {
        TimerKey { deadline: self.deadline, timer: self.timer }
    }
}

impl<M> Extras<M> {
    /// The keys of all timers and deadlines.
    fn keys(&self) -> Vec<TimerKey> {
        let timers = self.timers.iter().map(SetTimer::key);
        timers.chain(self.pending.iter().map(|pending| pending.key)).collect()
    }

    /// Takes what waits here off the load.
    fn unload(&mut self, load: &mut Load) {
        for envelope in self.ahead.iter().chain(&self.postponed) {
            load.less::<M>(envelope.beyond);
        }
        for fired in self.fired.iter().chain(&self.postponed_fired) {
            load.less::<M>(fired.beyond);
        }
    }
}

/// Takes a message out of its envelope, and off the load.
fn opened<M>(envelope: Envelope<M>, load: &mut Load) -> Incoming<M> {
    let Envelope { sender, claim, beyond, message } = envelope;
    load.less::<M>(beyond);
    Incoming { origin: Origin::Queue { sender, claim }, beyond, message }
}

//! What waits for one FSM: messages in its queue, postponed and self-sent ones, timers and their beats, requests under
//! way; and the order in which they come.
//!
//! Plain data that knows no types, no handler and no other FSM: it takes in, gives the next message, and says what it
//! dropped. Messages lie in the pools; who gets a reference from here takes its message out, or discards it. The bytes that
//! wait are counted into the worker's load; they stand in no image, because they follow from what waits.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    fsm::{MessageRef, Overflow, TimerId, TimerName, WhichTimer},
    id::{RawQueueId, RequestId},
    time::Time,
    worker::{
        Catalogue,
        catalogue::Convert,
        envelope::{Claim, Dropped, Envelope, Load},
        queue::{Envelopes, Queue},
        timers::{Due, TimerKey},
    },
};

/// Which message a full queue did not keep.
pub(super) enum Overflowed {
    /// The one that came.
    Newest,
    /// One that had waited.
    Older(Envelope),
}

/// A timer that is set.
#[derive(Debug)]
pub(super) struct SetTimer {
    pub(super) timer: TimerId,
    pub(super) name: TimerName,
    pub(super) deadline: Time,
    pub(super) what: Beat,
    /// As in an [`Envelope`].
    pub(super) origin: u32,
}

/// What a timer sends.
#[derive(Debug)]
pub(super) enum Beat {
    Once(MessageRef),
    /// Encoded, because messages need not be `Clone`.
    Every {
        period_ns: u64,
        message: Vec<u8>,
    },
}

/// A timer that fired, and its message.
#[derive(Debug)]
pub(super) struct Fired {
    pub(super) timer: TimerId,
    pub(super) name: TimerName,
    pub(super) beats: u64,
    pub(super) weight: u32,
    pub(super) message: MessageRef,
    /// That of the timer.
    pub(super) origin: u32,
}

/// A request under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) request: RequestId,
    pub(super) key: TimerKey,
    pub(super) answer: u32,
}

/// What only some FSMs have; kept apart so that an idle FSM is small.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// Self-sent messages, ahead of all others.
    pub(super) ahead: VecDeque<Envelope>,
    pub(super) postponed: VecDeque<Envelope>,
    pub(super) timers: Vec<SetTimer>,
    pub(super) fired: VecDeque<Fired>,
    /// Messages of timers that were postponed; cancelling reaches them too.
    pub(super) postponed_fired: VecDeque<Fired>,
    /// The timer whose message was taken last, to postpone it by.
    pub(super) beat: Option<Fired>,
    pub(super) pending: Vec<Pending>,
    /// FSMs that were spawned elsewhere for a request whose answer waits: nobody knows them but that answer.
    pub(super) born: Vec<(RequestId, RawQueueId)>,
    /// Queues that this FSM monitors.
    pub(super) watched: Vec<RawQueueId>,
}

/// What an FSM leaves behind.
#[derive(Default)]
pub(super) struct Remains {
    /// Messages that waited for it, each a dead letter.
    pub(super) dropped: Vec<Dropped>,
    /// Those and the messages of its timers, which are to be discarded.
    pub(super) messages: Vec<MessageRef>,
    /// The keys of its timers and deadlines.
    pub(super) keys: Vec<TimerKey>,
    /// FSMs elsewhere that it had asked for and never came to know.
    pub(super) born: Vec<RawQueueId>,
}

/// All that waits for one FSM.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) queue: Queue,
    /// The start handler comes before all that waits.
    pub(super) start_is_due: bool,
    /// A timer's message is next, if one waits; timers and queue take turns.
    pub(super) timers_next: bool,
    pub(super) extras: Option<Box<Extras>>,
}

impl Waiting {
    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// Something is there for the handler.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        !self.queue.is_empty() || self.start_is_due || self.extras.as_ref().is_some_and(|extras| extras.is_ready())
    }

    /// Takes the next message: self-sent ones first; then timers and queue in turn.
    #[inline(always)]
    pub(super) fn take_next<'a>(&mut self, me: RawQueueId, envelopes: &'a mut Envelopes) -> Option<&'a Envelope> {
        let timers_next = match &mut self.extras {
            Some(extras) if extras.is_ready() => extras.bring_forward(me, &mut self.queue, self.timers_next, envelopes),
            _ => true,
        };
        let envelope = envelopes.pop_front(&mut self.queue)?;
        self.timers_next = timers_next;
        Some(envelope)
    }

    /// Puts a message into a queue that is full, as its policy has it. Messages with the same `key` stand for one another
    /// where it coalesces.
    pub(super) fn overflow(
        &mut self,
        envelope: Envelope,
        overflow: Overflow,
        key: impl Fn(MessageRef) -> Option<u64>,
        envelopes: &mut Envelopes,
    ) -> Overflowed {
        let replaced = match overflow {
            Overflow::DropNewest | Overflow::StopNode => None,
            Overflow::DropOldest => {
                // With a capacity of 0, or where only answers and news wait, nothing is older than the newest.
                let oldest = envelopes.remove_first(&mut self.queue, |waiting| waiting.claim.may_be_dropped());
                oldest.inspect(|_| envelopes.push_back(&mut self.queue, envelope))
            }
            Overflow::Coalesce => key(envelope.message).and_then(|newest| {
                let same = |waiting: &Envelope| waiting.claim.may_be_dropped() && key(waiting.message) == Some(newest);
                envelopes.replace_first(&self.queue, envelope, same)
            }),
        };
        replaced.map_or(Overflowed::Newest, Overflowed::Older)
    }

    /// Puts a self-sent message ahead of all but its like.
    pub(super) fn push_ahead(&mut self, envelope: Envelope, load: &mut Load) {
        load.more(envelope.weight);
        self.extras().ahead.push_back(envelope);
    }

    /// Keeps the message that was taken last, or what the handler has put in its place, until the state changes; false if
    /// `capacity` are kept already, and it is to be dropped.
    pub(super) fn postpone(&mut self, envelope: Envelope, capacity: u32, load: &mut Load) -> bool {
        let extras = self.extras();
        if extras.postponed.len() + extras.postponed_fired.len() >= capacity as usize {
            return false;
        }
        let Envelope { claim, weight, message, .. } = envelope;
        load.more(weight);
        match extras.beat.take() {
            Some(fired) if matches!(claim, Claim::Beat { .. }) => {
                extras.postponed_fired.push_back(Fired { weight, message, ..fired });
            }
            _ => extras.postponed.push_back(envelope),
        }
        true
    }

    /// The state has changed: what was postponed comes ahead of its like.
    pub(super) fn unpostpone(&mut self, envelopes: &mut Envelopes) {
        let Some(extras) = &mut self.extras else { return };
        while let Some(envelope) = extras.postponed.pop_back() {
            envelopes.load.less(envelope.weight);
            envelopes.push_front(&mut self.queue, envelope);
        }
        while let Some(fired) = extras.postponed_fired.pop_back() {
            extras.fired.push_front(fired);
        }
    }

    /// Sets a timer. One of that name is to be cancelled before.
    pub(super) fn set_timer(&mut self, key: TimerKey, name: TimerName, what: Beat, origin: u32) {
        let TimerKey { timer, deadline } = key;
        self.extras().timers.push(SetTimer { timer, name, deadline, what, origin });
    }

    /// Cancels a timer, and takes back its message if it waits; gives the timer's key if it is set. The messages go to
    /// `discard`.
    pub(super) fn cancel_timer(
        &mut self,
        which: &WhichTimer,
        load: &mut Load,
        mut discard: impl FnMut(MessageRef),
    ) -> Option<TimerKey> {
        let extras = self.extras.as_mut()?;
        let is = |timer: TimerId, name: &TimerName| match which {
            WhichTimer::Name(wanted) => name == wanted,
            WhichTimer::Id(wanted) => timer == *wanted,
        };
        for waiting in [&mut extras.fired, &mut extras.postponed_fired] {
            waiting.retain(|fired| {
                let cancelled = is(fired.timer, &fired.name);
                if cancelled {
                    load.less(fired.weight);
                    discard(fired.message);
                }
                !cancelled
            });
        }
        let at = extras.timers.iter().position(|set| is(set.timer, &set.name))?;
        let SetTimer { timer, deadline, what, .. } = extras.timers.remove(at);
        if let Beat::Once(message) = what {
            discard(message);
        }
        Some(TimerKey { deadline, timer })
    }

    /// A timer is due: its message, which `make` gives with its weight, waits from now on. Gives the key of the next beat.
    pub(super) fn fire(
        &mut self,
        timer: TimerId,
        now: Time,
        load: &mut Load,
        make: impl FnOnce(&Beat) -> (MessageRef, u32),
    ) -> Option<TimerKey> {
        let extras = self.extras.as_mut()?;
        let at = extras.timers.iter().position(|set| set.timer == timer)?;
        let SetTimer { deadline, name, what, origin, .. } = &mut extras.timers[at];
        let Beat::Every { period_ns, .. } = *what else {
            let (message, weight) = make(what);
            let SetTimer { timer, name, origin, .. } = extras.timers.remove(at);
            load.more(weight);
            extras.fired.push_back(Fired { timer, name, beats: 0, weight, message, origin });
            return None;
        };
        let late_ns = now.as_nanos().saturating_sub(deadline.as_nanos());
        let beats = 1 + late_ns / period_ns;
        *deadline = Time::from_nanos(deadline.as_nanos().saturating_add(beats.saturating_mul(period_ns)));
        let next = TimerKey { deadline: *deadline, timer };
        if let Some(waiting) = extras.fired.iter_mut().find(|fired| fired.timer == timer) {
            waiting.beats = waiting.beats.saturating_add(beats);
        } else {
            let (message, weight) = make(what);
            load.more(weight);
            extras.fired.push_back(Fired { timer, name: name.clone(), beats, weight, message, origin: *origin });
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

    /// Takes out what came of a request, if it waits; there is one for each request.
    pub(super) fn take_outcome(&mut self, request: RequestId, envelopes: &mut Envelopes) -> Option<MessageRef> {
        let is = |waiting: &Envelope| waiting.claim == Claim::Outcome(request);
        if let Some(envelope) = envelopes.remove_first(&mut self.queue, is) {
            return Some(envelope.message);
        }
        let postponed = &mut self.extras.as_mut()?.postponed;
        let envelope = postponed.remove(postponed.iter().position(is)?)?;
        envelopes.load.less(envelope.weight);
        Some(envelope.message)
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

    /// The FSM monitors a queue from now on.
    pub(super) fn watch(&mut self, queue: RawQueueId) {
        self.extras().watched.push(queue);
    }

    /// The FSM monitors a queue no longer.
    pub(super) fn unwatch(&mut self, queue: RawQueueId) {
        if let Some(extras) = &mut self.extras {
            extras.watched.retain(|watched| *watched != queue);
        }
    }

    /// The queues that the FSM monitors.
    pub(super) fn watched(&self) -> &[RawQueueId] {
        self.extras.as_ref().map_or(&[], |extras| &extras.watched)
    }

    /// The queues that the FSM monitors, which it does no longer.
    pub(super) fn take_watched(&mut self) -> Vec<RawQueueId> {
        self.extras.as_mut().map(|extras| std::mem::take(&mut extras.watched)).unwrap_or_default()
    }

    /// Forgets all but the queue and what is monitored: the FSM starts over.
    pub(super) fn start_over(&mut self, type_number: u32, envelopes: &mut Envelopes) -> Remains {
        let Some(mut extras) = self.extras.take() else { return Remains::default() };
        let mut remains = Remains { keys: extras.keys().collect(), ..Remains::default() };
        for envelope in extras.ahead.iter().chain(&extras.postponed) {
            envelopes.load.less(envelope.weight);
            remains.messages.push(envelope.message);
        }
        for fired in extras.fired.iter().chain(&extras.postponed_fired) {
            envelopes.load.less(fired.weight);
            remains.messages.push(fired.message);
        }
        remains.messages.extend(extras.timers.iter().filter_map(|set| match set.what {
            Beat::Once(message) => Some(message),
            Beat::Every { .. } => None,
        }));
        remains.dropped.extend(extras.postponed.iter().map(|envelope| envelope.stopped(type_number)));
        let outcome = |request| envelopes.iter(&self.queue).any(|waiting| waiting.claim == Claim::Outcome(request));
        let (kept, lost): (Vec<_>, Vec<_>) = extras.born.drain(..).partition(|(request, _)| outcome(*request));
        remains.born.extend(lost.into_iter().map(|(_, queue)| queue));
        if !extras.watched.is_empty() || !kept.is_empty() {
            (self.extras().watched, self.extras().born) = (extras.watched, kept);
        }
        remains
    }

    /// Takes all apart.
    pub(super) fn dissolve(&mut self, type_number: u32, envelopes: &mut Envelopes) -> Remains {
        let mut remains = self.start_over(type_number, envelopes);
        while let Some(envelope) = envelopes.pop_front(&mut self.queue) {
            remains.messages.push(envelope.message);
            remains.dropped.push(envelope.stopped(type_number));
        }
        let born = self.extras.take().map(|extras| extras.born).unwrap_or_default();
        remains.born.extend(born.into_iter().map(|(_, queue)| queue));
        (self.start_is_due, self.timers_next) = (false, false);
        remains
    }

    /// What all that waits weighs. It walks it.
    pub(super) fn bytes(&self, envelopes: &Envelopes) -> u64 {
        let queue = envelopes.iter(&self.queue).map(|envelope| envelope.weight);
        let extras = self.extras.iter().flat_map(|extras| {
            let messages = extras.ahead.iter().chain(&extras.postponed).map(|envelope| envelope.weight);
            messages.chain(extras.fired.iter().chain(&extras.postponed_fired).map(|fired| fired.weight))
        });
        queue.chain(extras).map(u64::from).sum()
    }

    /// Shows where each message and timer that waits comes from, to be noted or changed.
    pub(super) fn each_origin(&mut self, envelopes: &mut Envelopes, see: &mut impl FnMut(&mut u32)) {
        envelopes.each(&self.queue, |envelope| see(&mut envelope.origin));
        let Some(extras) = &mut self.extras else { return };
        let Extras { ahead, postponed, timers, fired, postponed_fired, .. } = &mut **extras;
        ahead.iter_mut().chain(postponed).for_each(|envelope| see(&mut envelope.origin));
        timers.iter_mut().for_each(|set| see(&mut set.origin));
        fired.iter_mut().chain(postponed_fired).for_each(|fired| see(&mut fired.origin));
    }

    /// The keys of the timers and of the requests' deadlines, with what is due.
    pub(super) fn keys(&self) -> impl Iterator<Item = (TimerKey, Due)> + '_ {
        self.extras.iter().flat_map(|extras| {
            let timers = extras.timers.iter().map(|set| (set.key(), Due::Timer));
            timers.chain(extras.pending.iter().map(|pending| (pending.key, Due::Request(pending.request))))
        })
    }

    /// The type of an answer that an FSM with messages of that type waits for, and doesn't take.
    pub(super) fn untaken_answer(&self, message_type: u32, catalogue: &Catalogue) -> Option<u32> {
        let mut answers = self.extras.as_ref()?.pending.iter().map(|pending| pending.answer);
        answers.find(|from| catalogue.answer(Convert { from: *from, to: message_type }).is_none())
    }

    /// What contradicts itself in what waits for an FSM that has made `requests` requests, if it was read from bytes that
    /// no worker wrote.
    pub(super) fn contradiction(
        &self,
        requests: u64,
        catalogue: &Catalogue,
        envelopes: &Envelopes,
    ) -> Option<&'static str> {
        let extras = self.extras.as_ref()?;
        let known =
            |pending: &Pending| pending.request.0 <= requests && catalogue.message_type(pending.answer).is_some();
        if !extras.pending.iter().all(known) {
            return Some("an FSM waits for what it never asked, or for an answer of no type");
        }
        let mut waits: Vec<_> = extras.pending.iter().map(|pending| pending.request).collect();
        waits.sort_unstable();
        if waits.windows(2).any(|pair| pair[0] == pair[1]) {
            return Some("an FSM waits for one request twice");
        }
        let told = |request: RequestId| {
            let is = |waiting: &Envelope| waiting.claim == Claim::Outcome(request);
            envelopes.iter(&self.queue).any(is) || extras.ahead.iter().chain(&extras.postponed).any(is)
        };
        if !extras.born.iter().all(|(request, _)| told(*request)) {
            return Some("an FSM knows of another one from an answer that isn't there");
        }
        if extras.timers.iter().any(|set| matches!(set.what, Beat::Every { period_ns: 0, .. })) {
            return Some("a periodic timer has no period");
        }
        None
    }
}

impl SetTimer {
    fn key(&self) -> TimerKey {
        TimerKey { deadline: self.deadline, timer: self.timer }
    }
}

impl Extras {
    #[inline]
    fn is_ready(&self) -> bool {
        !self.ahead.is_empty() || !self.fired.is_empty()
    }

    /// Puts the self-sent message or the timer's that comes before the queue at the queue's head, if one does. Says whether
    /// the next timer's comes before the queue.
    #[inline(never)]
    fn bring_forward(
        &mut self,
        me: RawQueueId,
        queue: &mut Queue,
        timers_next: bool,
        envelopes: &mut Envelopes,
    ) -> bool {
        let (envelope, timers_next) = if let Some(envelope) = self.ahead.pop_front() {
            (envelope, timers_next)
        } else if (timers_next || queue.is_empty())
            && let Some(fired) = self.fired.pop_front()
        {
            let Fired { weight, message, beats, origin, .. } = fired;
            self.beat = Some(fired);
            (Envelope { sender: me, claim: Claim::Beat { beats }, weight, message, origin }, false)
        } else {
            return true;
        };
        envelopes.load.less(envelope.weight);
        envelopes.push_front(queue, envelope);
        timers_next
    }

    /// The keys of all timers and deadlines.
    fn keys(&self) -> impl Iterator<Item = TimerKey> + '_ {
        self.timers.iter().map(SetTimer::key).chain(self.pending.iter().map(|pending| pending.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Context, Fsm, Kinds, Next, Reply,
        id::{NodeId, Place, WorkerId},
    };

    #[derive(Serialize, Deserialize)]
    struct Asker;

    #[derive(Serialize, Deserialize)]
    struct Answered(Reply<u64>);

    impl From<Reply<u64>> for Answered {
        fn from(reply: Reply<u64>) -> Answered {
            Answered(reply)
        }
    }

    impl Fsm for Asker {
        const NAME: &'static str = "asker";
        type State = ();
        type Message = Answered;
        fn start(&mut self, _: &mut Context<'_, Self>) {}
        fn handle(&mut self, (): (), _: Answered, _: &mut Context<'_, Self>) -> Next<Self> {
            Next::Stay
        }
    }

    /// What is wrong with what waits for an asker that has made one request, when something was done to it.
    fn contradiction(change: impl FnOnce(&mut Waiting, u32)) -> Option<&'static str> {
        let catalogue = Kinds::new().with::<Asker>().replies::<Answered, u64>().seal().expect("the kind is plain");
        let number = |number: Option<u32>| number.expect("it was just registered");
        let mut waiting = Waiting::default();
        change(&mut waiting, number(catalogue.type_number::<u64>()));
        waiting.contradiction(1, &catalogue, &Envelopes::new())
    }

    fn wait(request: u64, timer: u64, answer: u32) -> Pending {
        let key = TimerKey { deadline: Time::ZERO, timer: TimerId(timer) };
        Pending { request: RequestId(request), key, answer }
    }

    #[test]
    fn two_waits_for_one_request_are_refused() {
        assert_eq!(contradiction(|waiting, answer| waiting.await_answer(wait(1, 1, answer))), None);
        let twice = contradiction(|waiting, answer| {
            waiting.await_answer(wait(1, 1, answer));
            waiting.await_answer(wait(1, 2, answer));
        });
        assert_eq!(twice, Some("an FSM waits for one request twice"));
    }

    #[test]
    fn waits_for_what_was_never_asked_or_has_no_type_are_refused() {
        let refusal = Some("an FSM waits for what it never asked, or for an answer of no type");
        assert_eq!(contradiction(|waiting, answer| waiting.await_answer(wait(2, 1, answer))), refusal);
        assert_eq!(contradiction(|waiting, answer| waiting.await_answer(wait(1, 1, answer + 1))), refusal);
    }

    #[test]
    fn an_answer_that_is_not_declared_is_known_as_untaken() {
        let catalogue = Kinds::new().with::<Asker>().replies::<Answered, u64>().message::<u8>().seal();
        let catalogue = catalogue.expect("the kind is plain");
        let number = |number: Option<u32>| number.expect("it was just registered");
        let untaken = |answer| {
            let mut waiting = Waiting::default();
            waiting.await_answer(wait(1, 1, answer));
            waiting.untaken_answer(number(catalogue.type_number::<Answered>()), &catalogue)
        };
        let [taken, not] = [number(catalogue.type_number::<u64>()), number(catalogue.type_number::<u8>())];
        assert_eq!([untaken(taken), untaken(not)], [None, Some(not)]);
    }

    #[test]
    fn a_birth_that_no_answer_tells_of_is_refused() {
        let born = RawQueueId::new(NodeId(0), Place::worker(WorkerId(1)), 0, 1);
        let alone = contradiction(|waiting, _| waiting.note_born(RequestId(1), born));
        assert_eq!(alone, Some("an FSM knows of another one from an answer that isn't there"));
    }
}

//! The worker's timers: what is due when, in one total order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    fsm::TimerId,
    id::{RawQueueId, RequestId},
    time::Time,
};

/// Where a timer stands in the order: by deadline, then by when it was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct TimerKey {
    pub(crate) deadline: Time,
    pub(crate) timer: TimerId,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// A timer of the FSM's.
    Timer,
    /// The deadline of one of its requests.
    Request(RequestId),
}

/// All timers of a worker.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeMap<TimerKey, (RawQueueId, Due)>);

impl Timers {
    pub(crate) fn set(&mut self, key: TimerKey, queue: RawQueueId, due: Due) {
        let before = self.0.insert(key, (queue, due));
        assert!(before.is_none(), "timer numbers are given out once");
    }

    pub(crate) fn cancel(&mut self, key: TimerKey) {
        let cancelled = self.0.remove(&key);
        assert!(cancelled.is_some(), "cells know only timers that are set");
    }

    /// Takes the first timer that is due at `now`. The last moment there is stands for never: a deadline that would lie
    /// past it is that one, and a periodic timer would not get past it.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(TimerKey, RawQueueId, Due)> {
        let first = self.0.first_entry()?;
        let deadline = first.key().deadline;
        if deadline > now || deadline == Time::from_nanos(u64::MAX) {
            return None;
        }
        let (key, (queue, due)) = first.remove_entry();
        Some((key, queue, due))
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.0.first_key_value().map(|(key, _)| key.deadline)
    }
}

//! What a worker's thread does while there is nothing to do.

use std::{ops::RangeInclusive, time::Duration};

/// How a worker's thread waits for input. The further down, the lower the latency and the higher the use of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdleStrategy {
    /// Sleeps until an input comes or a timer is due, after a few looks. The default.
    Park,
    /// Gives way to other threads between looks.
    Yield,
    /// Looks without a pause. Worth it only with a core for each worker.
    Spin,
}

/// The least and most looks of an idle thread before it parks. The most take some microseconds, about as long as it takes to
/// fall asleep and be woken.
const LOOKS: RangeInclusive<u32> = 8..=256;
/// A sleep that was shorter than this, most of which is falling asleep and being woken, could have been spared by looking.
const SHORT_SLEEP: Duration = Duration::from_micros(10);

/// How a thread passes its time between two inputs.
///
/// Looks before a park are worth their time only where the next input is near, so their number follows what they were worth
/// lately: it doubles with each input that comes while the thread looks, or so soon that it should have looked on, and
/// halves with each longer sleep. A worker that answers another one at once keeps awake for it; one that waits long, or for
/// somebody who waits for the core, goes to sleep.
#[derive(Debug)]
pub(super) struct Idle {
    strategy: IdleStrategy,
    /// How many times it has looked since there was something to do, and how many times it looks before it parks.
    looks: u32,
    looks_max: u32,
}

impl Idle {
    pub(super) fn new(strategy: IdleStrategy) -> Idle {
        Idle { strategy, looks: 0, looks_max: *LOOKS.start() }
    }

    /// There is something to do.
    pub(super) fn ends(&mut self) {
        if self.looks > 0 {
            self.looks = 0;
            self.look_longer();
        }
    }

    /// The thread has slept so long.
    pub(super) fn slept(&mut self, time: Duration) {
        self.looks = 0;
        if time < SHORT_SLEEP {
            self.look_longer();
        } else {
            self.looks_max = (self.looks_max / 2).max(*LOOKS.start());
        }
    }

    fn look_longer(&mut self) {
        self.looks_max = (self.looks_max * 2).min(*LOOKS.end());
    }

    /// Spends a moment, as the strategy has it. False if the thread is to sleep instead. Where each look asks the system
    /// for sockets, a thread that is to sleep does so at once: it costs no more than a look.
    pub(super) fn spins(&mut self, looks_at_sockets: bool) -> bool {
        match self.strategy {
            IdleStrategy::Spin => std::hint::spin_loop(),
            IdleStrategy::Yield => std::thread::yield_now(),
            IdleStrategy::Park if !looks_at_sockets && self.looks < self.looks_max => {
                self.looks += 1;
                std::hint::spin_loop();
            }
            IdleStrategy::Park => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(idle: &mut Idle) -> u32 {
        (0..).take_while(|_| idle.spins(false)).count().try_into().expect("there are few")
    }

    #[test]
    fn it_looks_longer_where_that_spares_a_sleep_and_less_where_it_doesnt() {
        let (least, most) = LOOKS.into_inner();
        let mut idle = Idle::new(IdleStrategy::Park);
        assert_eq!(looks(&mut idle), least);
        idle.slept(Duration::from_micros(6));
        assert_eq!(looks(&mut idle), 2 * least);
        for _ in 0..10 {
            idle.slept(Duration::ZERO);
            assert!(idle.spins(false));
            idle.ends();
        }
        assert_eq!(looks(&mut idle), most);
        idle.slept(Duration::from_millis(1));
        assert_eq!(looks(&mut idle), most / 2);
        for _ in 0..10 {
            idle.slept(Duration::from_millis(1));
        }
        assert_eq!(looks(&mut idle), least);
    }

    #[test]
    fn it_sleeps_at_once_where_it_waits_for_sockets_and_never_where_it_is_not_to() {
        assert!(!Idle::new(IdleStrategy::Park).spins(true));
        for strategy in [IdleStrategy::Spin, IdleStrategy::Yield] {
            let mut idle = Idle::new(strategy);
            assert!((0..1000).all(|look| idle.spins(look % 2 == 0)));
        }
    }
}

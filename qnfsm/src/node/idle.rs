//! What a worker's thread does while there is nothing to do.

use std::ops::RangeInclusive;

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
/// Every so many parks the looks before it are as many as can be, to learn whether they are worth it by now.
const PARKS_BETWEEN_TRIALS: u32 = 64;

/// How a thread passes its time between two inputs.
///
/// Looks before a park are worth their time only where the next input comes meanwhile, so their number follows what they were
/// worth lately: it is the most after an input that came while the thread looked, and half as many after each park, but for a
/// trial now and then. A worker that is answered at once by one on another core keeps awake for it; one that waits long, or
/// whose answer must wait for this very core, goes to sleep.
#[derive(Debug)]
pub(super) struct Idle {
    strategy: IdleStrategy,
    /// How many times it has looked since there was something to do, and how many times it looks before it parks.
    looks: u32,
    looks_max: u32,
    parks: u32,
}

impl Idle {
    pub(super) fn new(strategy: IdleStrategy) -> Idle {
        Idle { strategy, looks: 0, looks_max: *LOOKS.end(), parks: 0 }
    }

    /// There is something to do.
    pub(super) fn ends(&mut self) {
        if self.looks > 0 {
            self.looks = 0;
            self.looks_max = *LOOKS.end();
        }
    }

    /// The thread has slept.
    pub(super) fn slept(&mut self) {
        self.looks = 0;
        self.parks = self.parks.wrapping_add(1);
        let halved = (self.looks_max / 2).max(*LOOKS.start());
        self.looks_max = if self.parks.is_multiple_of(PARKS_BETWEEN_TRIALS) { *LOOKS.end() } else { halved };
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
    fn it_looks_long_where_that_spares_a_sleep_and_little_where_it_doesnt() {
        let (least, most) = LOOKS.into_inner();
        let mut idle = Idle::new(IdleStrategy::Park);
        for looks_max in [most, most / 2, most / 4] {
            assert_eq!(looks(&mut idle), looks_max);
            idle.slept();
        }
        assert!(idle.spins(false));
        idle.ends();
        assert_eq!(looks(&mut idle), most);
        let looks: Vec<_> = (0..10 * PARKS_BETWEEN_TRIALS)
            .map(|_| {
                idle.slept();
                looks(&mut idle)
            })
            .collect();
        let count = |wanted| looks.iter().filter(|looks| **looks == wanted).count();
        assert_eq!((count(most), looks.iter().min()), (10, Some(&least)));
        assert!(count(least) > looks.len() * 9 / 10, "{looks:?}");
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

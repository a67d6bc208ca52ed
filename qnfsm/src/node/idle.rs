//! What a worker's thread does while there is nothing to do.

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

/// How many times an idle thread looks before it parks; a few microseconds' worth.
const LOOKS_BEFORE_PARK: u32 = 8;

#[derive(Debug)]
pub(super) struct Idle {
    strategy: IdleStrategy,
    looks: u32,
}

impl Idle {
    pub(super) fn new(strategy: IdleStrategy) -> Idle {
        Idle { strategy, looks: 0 }
    }

    /// There was something to do.
    pub(super) fn reset(&mut self) {
        self.looks = 0;
    }

    /// Spends a moment, as the strategy has it. False if the thread is to sleep instead. Where each look asks the system
    /// for sockets, a thread that is to sleep does so at once: it costs no more than a look.
    pub(super) fn spins(&mut self, looks_at_sockets: bool) -> bool {
        match self.strategy {
            IdleStrategy::Spin => std::hint::spin_loop(),
            IdleStrategy::Yield => std::thread::yield_now(),
            IdleStrategy::Park if !looks_at_sockets && self.looks < LOOKS_BEFORE_PARK => {
                self.looks += 1;
                std::hint::spin_loop();
            }
            IdleStrategy::Park => return false,
        }
        true
    }
}

//! How a reactor of the benches waits that has no socket: until somebody rings, or for a time.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};
use qnfsm::Wake;

/// A bell that ends a wait.
pub struct Doorbell(Sender<()>, Receiver<()>);

impl Doorbell {
    /// Nobody has rung.
    pub fn new() -> Doorbell {
        let (sender, receiver) = bounded(1);
        Doorbell(sender, receiver)
    }

    /// Waits. Rung or not, who waits looks again.
    pub fn wait(&self, timeout: Duration) {
        let _ = self.1.recv_timeout(timeout);
    }

    /// What rings it.
    pub fn ringer(&self) -> Wake {
        let ring = self.0.clone();
        Arc::new(move || {
            // One ring that waits is as good as two.
            let _ = ring.try_send(());
        })
    }
}

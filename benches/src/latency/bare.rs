//! The limits between two threads: a message there, and one back, by hand.
//!
//! crossbeam-channel as one would use it, blocking or looking again and again; and what sleeping and waking cost by themselves, a
//! mutex and a condition variable of the standard library. crossbeam's blocking `recv` looks, and lets other threads have the core,
//! for some microseconds before it sleeps; the condition variable sleeps at once.

use std::{
    hint,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

use super::stopwatch::{Extent, Stopwatch, timed};
use crate::{
    messaging::{message::Small, roles},
    plan::Failure,
};

/// How one waits for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// In crossbeam-channel's `recv`.
    Blocking,
    /// By `try_recv`, again and again.
    Spinning,
    /// At a condition variable.
    Sleeping,
}

/// Times round trips between this thread and another.
///
/// # Errors
/// When the other thread is gone.
pub fn round_trips(waits: Waits, extent: Extent) -> Result<Stopwatch, Failure> {
    match waits {
        Waits::Blocking => between(unbounded(), unbounded(), |from| from.recv().ok(), extent),
        Waits::Spinning => between(unbounded(), unbounded(), spin, extent),
        Waits::Sleeping => between(slot(), slot(), Slot::take, extent),
    }
}

/// Puts a message in. False if nobody is there to take it.
trait Put: Send + 'static {
    fn put(&self, message: Small) -> bool;
}

impl Put for Sender<Small> {
    fn put(&self, message: Small) -> bool {
        self.send(message).is_ok()
    }
}

fn between<P: Put, T: Send + 'static>(
    (there, pings): (P, T),
    (back, pongs): (P, T),
    take: fn(&T) -> Option<Small>,
    extent: Extent,
) -> Result<Stopwatch, Failure> {
    thread::spawn(move || while take(&pings).is_some_and(|ping| back.put(roles::pong(&ping))) {});
    timed(extent, |message| {
        there.put(message);
        take(&pongs).ok_or_else(|| "the other thread is gone".into())
    })
}

fn spin(from: &Receiver<Small>) -> Option<Small> {
    loop {
        match from.try_recv() {
            Ok(message) => return Some(message),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => hint::spin_loop(),
        }
    }
}

/// Room for one message, and somebody who sleeps until it comes.
#[derive(Default)]
struct Slot {
    content: Mutex<Content>,
    filled: Condvar,
}

#[derive(Default)]
struct Content {
    message: Option<Small>,
    /// Nobody is left to put one in.
    is_over: bool,
}

/// The end of a slot that messages are put in at.
struct Filler(Arc<Slot>);

fn slot() -> (Filler, Arc<Slot>) {
    let slot = Arc::<Slot>::default();
    (Filler(slot.clone()), slot)
}

impl Slot {
    fn change(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.content.lock().unwrap_or_else(PoisonError::into_inner));
        self.filled.notify_one();
    }

    fn take(self: &Arc<Slot>) -> Option<Small> {
        let content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let is_empty = |content: &mut Content| content.message.is_none() && !content.is_over;
        let mut content = self.filled.wait_while(content, is_empty).unwrap_or_else(PoisonError::into_inner);
        content.message.take()
    }
}

impl Put for Filler {
    fn put(&self, message: Small) -> bool {
        self.0.change(|content| content.message = Some(message));
        true
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.0.change(|content| content.is_over = true);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TWENTY: Extent = Extent { trips: 20, time_max: Duration::from_secs(60) };

    #[test]
    fn every_way_of_waiting_brings_back_what_was_sent() {
        for waits in [Waits::Blocking, Waits::Spinning, Waits::Sleeping] {
            let watch = round_trips(waits, TWENTY).expect("both threads are there");
            assert!(watch.figures().value > 0.0, "{waits:?}");
        }
    }
}

//! A worker's inbox: the way in for everybody, and the worker's own end, where its thread sleeps when nothing comes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering, fence},
    },
    thread,
};

use crossbeam_channel::{Receiver, Sender};

use super::edge::Wake;
use crate::{frame::Batch, id::EdgeId};

/// What goes into a worker's inbox.
pub(super) enum Parcel {
    /// Frames. Dropping it tells the sender that they are recorded.
    Frames(Arc<Batch>),
    /// Frames that another worker put out for an edge in this one's loop.
    ForEdge(EdgeId, Batch),
    /// Look at the phase.
    Look,
}

/// The way to a worker. Clones lead to the same.
#[derive(Clone)]
pub(super) struct Inbox {
    sender: Sender<Parcel>,
    common: Arc<Common>,
}

/// The worker's end.
pub(super) struct InboxEnd {
    receiver: Receiver<Parcel>,
    common: Arc<Common>,
}

/// What both ends see, apart by who writes it: neither side waits for the other's cache line.
#[derive(Default)]
struct Common {
    senders: Senders,
    worker: Worker,
}

#[derive(Default)]
#[repr(align(128))]
struct Senders {
    /// The bytes of the frames that were put in.
    bytes_in: AtomicU64,
}

#[derive(Default)]
#[repr(align(128))]
struct Worker {
    /// Its thread sleeps, or is about to.
    sleeps: AtomicBool,
    /// Ends its sleep. It doesn't sleep before this is set.
    wake: OnceLock<Wake>,
    /// The bytes of the frames that were taken out. Only the worker's thread writes it.
    bytes_out: AtomicU64,
}

impl Inbox {
    pub(super) fn new() -> (Inbox, InboxEnd) {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let common = Arc::new(Common::default());
        (Inbox { sender, common: common.clone() }, InboxEnd { receiver, common })
    }

    pub(super) fn put(&self, parcel: Parcel) {
        let Common { senders, worker } = &*self.common;
        if let Parcel::Frames(batch) = &parcel {
            senders.bytes_in.fetch_add(batch.bytes_len() as u64, Ordering::Relaxed);
        }
        // A worker's end outlives all senders' work: it is dropped after the threads have been joined.
        let _ = self.sender.send(parcel);
        // Here first what is put in, then the look who sleeps; there first the word that it sleeps, then the look at what is
        // in. So one of the two sees the other.
        fence(Ordering::SeqCst);
        if worker.sleeps.load(Ordering::Relaxed)
            && worker.sleeps.swap(false, Ordering::Relaxed)
            && let Some(wake) = worker.wake.get()
            && !call_waker(wake)
        {
            // It still sleeps, so that the next one tries again.
            worker.sleeps.store(true, Ordering::Relaxed);
        }
    }

    /// The bytes of the frames in it.
    pub(super) fn bytes(&self) -> u64 {
        let (went_in, came_out) = self.counts();
        went_in.saturating_sub(came_out)
    }

    /// The bytes of the frames that were put in, and of those that were taken out; never more of these.
    pub(super) fn counts(&self) -> (u64, u64) {
        let bytes_out = self.common.worker.bytes_out.load(Ordering::Relaxed);
        (self.common.senders.bytes_in.load(Ordering::Relaxed).max(bytes_out), bytes_out)
    }

    /// How many parcels are in it.
    pub(super) fn parcels(&self) -> u64 {
        self.sender.len() as u64
    }
}

impl InboxEnd {
    /// How many parcels are in it.
    pub(super) fn len(&self) -> usize {
        self.receiver.len()
    }

    /// Takes the next parcel out.
    pub(super) fn take(&self) -> Option<Parcel> {
        let parcel = self.receiver.try_recv().ok()?;
        if let Parcel::Frames(batch) = &parcel {
            let bytes_out = &self.common.worker.bytes_out;
            bytes_out.store(bytes_out.load(Ordering::Relaxed) + batch.bytes_len() as u64, Ordering::Relaxed);
        }
        Some(parcel)
    }

    /// Says how to end the worker's sleep: by that, or as threads are woken that [`park`](thread::park). Called once, by the
    /// thread that is going to sleep.
    pub(super) fn is_woken_by(&self, wake: Option<Wake>) {
        let sleeper = thread::current();
        self.common.worker.wake.get_or_init(|| wake.unwrap_or_else(|| Arc::new(move || sleeper.unpark())));
    }

    /// From now on whoever puts something in ends the sleep. False if something was put in before: then there must be none.
    #[must_use]
    pub(super) fn falls_asleep(&self) -> bool {
        self.common.worker.sleeps.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.receiver.is_empty()
    }

    /// The sleep has ended, or there was none.
    pub(super) fn wakes_up(&self) {
        self.common.worker.sleeps.store(false, Ordering::Relaxed);
    }
}

/// Ends a wait through an edge's own code. False if that panicked: then the wait ends at its timeout, and all others hear
/// what they are to hear.
pub(super) fn call_waker(wake: &Wake) -> bool {
    let called = catch_unwind(AssertUnwindSafe(|| wake())).is_ok();
    if !called {
        tracing::error!("an edge's waker panicked");
    }
    called
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::{
        frame::{Class, Header, edge_queue},
        id::{Epoch, NodeId, Place, WorkerId},
    };

    /// Longer than any thread is kept from a core.
    const LONG: Duration = Duration::from_secs(60);

    fn frames(bytes: usize) -> Parcel {
        let mut batch = Batch::new(Place::worker(WorkerId(1)), Epoch::FIRST, 1);
        let queue = edge_queue(NodeId(0), EdgeId::HOST);
        batch.push(&Header::to(Class::Stop, 0, queue, queue), &vec![0; bytes]);
        Parcel::Frames(Arc::new(batch))
    }

    /// Sleeps until something is in, as a driver does.
    fn sleep(end: &InboxEnd) {
        let begun = Instant::now();
        while end.len() == 0 {
            if end.falls_asleep() {
                thread::park_timeout(LONG);
            }
            end.wakes_up();
            assert!(begun.elapsed() < LONG, "nobody woke the worker, though something was put in");
        }
    }

    #[test]
    fn whoever_puts_something_in_ends_the_sleep_whenever_it_began() {
        let (inbox, end) = Inbox::new();
        let (answers, answered) = crossbeam_channel::unbounded();
        let worker = thread::spawn(move || {
            end.is_woken_by(None);
            for _ in 0..100_000 {
                sleep(&end);
                let _ = end.take();
                answers.send(()).expect("somebody waits");
            }
        });
        for turn in 0..100_000_u32 {
            inbox.put(Parcel::Look);
            answered.recv_timeout(2 * LONG).expect("the worker was woken");
            // The next comes while the worker looks, falls asleep, or sleeps.
            for _ in 0..turn % 256 {
                std::hint::spin_loop();
            }
        }
        worker.join().expect("it took all of them");
    }

    #[test]
    fn a_worker_that_waits_for_sockets_is_woken_by_its_reactor_and_only_while_it_sleeps() {
        let (inbox, end) = Inbox::new();
        let calls = Arc::new(AtomicU64::new(0));
        let counted = calls.clone();
        end.is_woken_by(Some(Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })));
        let woken = || calls.load(Ordering::Relaxed);
        inbox.put(Parcel::Look);
        assert_eq!(woken(), 0);
        assert!(!end.falls_asleep());
        inbox.put(Parcel::Look);
        inbox.put(Parcel::Look);
        assert_eq!(woken(), 1);
        let _ = end.falls_asleep();
        end.wakes_up();
        inbox.put(Parcel::Look);
        assert_eq!((woken(), end.len()), (1, 4));
    }

    #[test]
    fn a_waker_that_panics_is_called_again_by_the_next() {
        let (inbox, end) = Inbox::new();
        let calls = Arc::new(AtomicU64::new(0));
        let counted = calls.clone();
        end.is_woken_by(Some(Arc::new(move || {
            assert!(counted.fetch_add(1, Ordering::Relaxed) > 0, "the first call fails");
        })));
        assert!(end.falls_asleep());
        (0..3).for_each(|_| inbox.put(Parcel::Look));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn its_bytes_are_those_of_the_frames_that_are_in_it() {
        let (inbox, end) = Inbox::new();
        inbox.put(frames(10));
        let ten = inbox.bytes();
        inbox.put(Parcel::Look);
        inbox.put(frames(300));
        let all = inbox.bytes();
        assert!(ten >= 10 && all - ten >= 300, "{ten} and {all}");
        let _ = end.take();
        assert_eq!(inbox.bytes(), all - ten);
        while end.take().is_some() {}
        assert_eq!(inbox.bytes(), 0);
    }
}

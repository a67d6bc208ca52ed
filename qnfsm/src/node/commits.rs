//! Group commit: one thread brings the journal to disk for all who wait for it. While it syncs, the workers go on; whoever asks
//! meanwhile is served by the next sync, all of them by one.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    NodeError,
    inbox::{Inbox, Parcel},
    shared::{LOCK_REASON, Shared},
};
use crate::id::{EdgeId, Place, WorkerId};

/// How long the thread looks for who asks next before it sleeps: about as long as those take who were just served. It does so
/// where that has spared it a sleep lately, and now and then to learn whether it would.
const LOOKS_FOR: Duration = Duration::from_micros(30);
const SLEEPS_BETWEEN_TRIALS: u32 = 64;

/// Who waits for the journal.
#[derive(Default)]
pub(super) struct Commits {
    state: Mutex<State>,
    asked: Condvar,
    /// Somebody has asked, or it is over: to be looked at without the lock.
    has_news: AtomicBool,
}

#[derive(Default)]
struct State {
    askers: BTreeMap<WorkerId, Inbox>,
    is_over: bool,
}

impl Commits {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(LOCK_REASON)
    }

    /// What was written before the call will be on disk, and the worker then looks.
    pub(super) fn ask(&self, worker: WorkerId, inbox: &Inbox) {
        self.state().askers.entry(worker).or_insert_with(|| inbox.clone());
        self.has_news.store(true, Ordering::Release);
        self.asked.notify_one();
    }

    /// Nobody asks any more.
    pub(super) fn close(&self) {
        self.state().is_over = true;
        self.has_news.store(true, Ordering::Release);
        self.asked.notify_one();
    }

    /// Looks for a moment whether somebody asks; says whether somebody did.
    fn looks(&self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < LOOKS_FOR {
            if self.has_news.load(Ordering::Acquire) {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }

    /// Those who have asked, as soon as there are any; none when it is over.
    fn wait(&self) -> Option<BTreeMap<WorkerId, Inbox>> {
        let nobody = |state: &mut State| state.askers.is_empty() && !state.is_over;
        let mut state = self.asked.wait_while(self.state(), nobody).expect(LOCK_REASON);
        let askers = std::mem::take(&mut state.askers);
        self.has_news.store(state.is_over, Ordering::Relaxed);
        (!askers.is_empty()).then_some(askers)
    }
}

/// Starts the thread that syncs for those who ask, until [`Commits::close`].
pub(super) fn start(shared: &Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    let shared = shared.clone();
    thread::Builder::new().name("qnfsm-commits".to_owned()).spawn(move || {
        let Some(commits) = &shared.commits else { return };
        let (mut pays, mut sleeps) = (true, 0_u32);
        while let Some(askers) = commits.wait() {
            // A storage of the user's may panic; then nobody is told that anything is on disk.
            let synced = catch_unwind(AssertUnwindSafe(|| shared.sync()));
            match synced {
                Ok(Ok(())) => {}
                Ok(Err(error)) => shared.fail(NodeError::Journal(error)),
                Err(_) => shared.fail(NodeError::Panicked(Place::edge(EdgeId::NODE))),
            }
            askers.values().for_each(|asker| asker.put(Parcel::Look));
            pays = (pays || sleeps.is_multiple_of(SLEEPS_BETWEEN_TRIALS)) && commits.looks();
            sleeps = sleeps.wrapping_add(u32::from(!pays));
        }
    })
}

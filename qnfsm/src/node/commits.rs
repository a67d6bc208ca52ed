//! Group commit: one thread brings the journal to disk for all who wait for it. While it syncs, the workers go on; whoever asks
//! meanwhile is served by the next sync, all of them by one.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

use super::{
    NodeError,
    inbox::{Inbox, Parcel},
    shared::{LOCK_REASON, Shared},
};
use crate::id::WorkerId;

/// Who waits for the journal.
#[derive(Default)]
pub(super) struct Commits {
    state: Mutex<State>,
    asked: Condvar,
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
        self.asked.notify_one();
    }

    /// Nobody asks any more.
    pub(super) fn close(&self) {
        self.state().is_over = true;
        self.asked.notify_one();
    }

    /// Those who have asked, as soon as there are any; none when it is over.
    fn wait(&self) -> Option<BTreeMap<WorkerId, Inbox>> {
        let nobody = |state: &mut State| state.askers.is_empty() && !state.is_over;
        let mut state = self.asked.wait_while(self.state(), nobody).expect(LOCK_REASON);
        let askers = std::mem::take(&mut state.askers);
        (!askers.is_empty()).then_some(askers)
    }
}

/// Starts the thread that syncs for those who ask, until [`Commits::close`].
pub(super) fn start(shared: &std::sync::Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    let shared = shared.clone();
    thread::Builder::new().name("qnfsm-commits".to_owned()).spawn(move || {
        let (Some(commits), Some(journal)) = (&shared.commits, &shared.journal) else { return };
        while let Some(askers) = commits.wait() {
            if let Err(error) = journal.sync() {
                shared.fail(NodeError::Journal(error));
            }
            askers.values().for_each(|asker| asker.put(Parcel::Look));
        }
    })
}

//! The peers: actor libraries on tokio, each used as its own documentation does.
//!
//! - One thread is tokio's current-thread runtime (for actix its system's own arbiter), driven by the program's thread. Two
//!   threads are a runtime with two workers, which move actors as they like; for actix two arbiters, where each actor stays and
//!   the roles are parted as ours are between workers. The program's thread is asleep meanwhile.
//! - Mailboxes are unbounded: what bounds the messages under way is the roles, as with ours. Messages are sent without
//!   waiting, since nothing is to be waited for.
//! - Their tracing is not compiled in where that can be left out (kameo, ractor's spans), and has no subscriber where it can't.
//! - They record nothing, so their rows are to be compared with ours that is `off`, and with what the others cost on top.

mod actix;
mod kameo;
mod ractor;

use std::time::{Duration, Instant};

use tokio::{runtime, sync::oneshot};

pub use self::{actix::course as actix, kameo::course as kameo, ractor::course as ractor};
use super::{lap::Course, roles::Received};
use crate::plan::{Class, Failure};

/// Whom to tell at the end of a lap.
type Done = oneshot::Sender<Received>;

/// The first message of a lap, for the actor that leads it.
struct Begin {
    /// The lap's size.
    size: u32,
    done: Done,
}

/// What can wait for the end of a lap, and lets the actors run meanwhile if they have no threads of their own.
trait Wait {
    fn wait(&self, done: oneshot::Receiver<Received>) -> Result<Received, oneshot::error::RecvError>;
}

impl Wait for runtime::Runtime {
    fn wait(&self, done: oneshot::Receiver<Received>) -> Result<Received, oneshot::error::RecvError> {
        self.block_on(done)
    }
}

/// Actors that are there, and the way to the one that leads.
struct Running<W, B> {
    runtime: W,
    begin: B,
}

impl<W: Wait, B: FnMut(Begin) -> Result<(), Failure>> Course for Running<W, B> {
    fn lap(&mut self, size: u32) -> Result<(Received, Duration), Failure> {
        let (done, received) = oneshot::channel();
        let begun = Instant::now();
        (self.begin)(Begin { size, done })?;
        let received = self.runtime.wait(received)?;
        Ok((received, begun.elapsed()))
    }
}

/// Tells the end of a lap.
fn finish(done: &mut Option<Done>, received: Received) {
    if let Some(done) = done.take() {
        // Who doesn't wait any more has failed, and says so.
        let _ = done.send(received);
    }
}

fn tokio_runtime(class: Class) -> Result<runtime::Runtime, Failure> {
    let runtime = match class {
        Class::OneThread => runtime::Builder::new_current_thread().enable_time().build(),
        Class::TwoThreads => runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build(),
    };
    Ok(runtime?)
}

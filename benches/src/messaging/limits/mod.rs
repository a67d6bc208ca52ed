//! The limits: bare loops that do no more than a case asks for. No scheduler, no addresses, no isolation, no record.
//!
//! On one thread that is two `VecDeque`s of the same message type. Between two threads it is the same loop at both ends of a
//! channel: crossbeam-channel, unbounded or bounded to 4,096 messages, whose receivers block; or an `rtrb` ring, which can't
//! block, so that its ends spin. In fan-in the senders stream: they need no credit, because the channel's receiver is all that
//! they would wait for. What records is held against a loop of bytes in batches that are written to a file before they are
//! acted on.

mod one_thread;
mod two_threads;
mod written;

use std::time::{Duration, Instant};

pub use self::{
    one_thread::course as vec_deques,
    two_threads::{Bounded, Rtrb, Unbounded, course as channel},
    written::course as written,
};
use super::{case::Case, lap::Course, roles::Received};
use crate::plan::Failure;

/// A loop that does a lap of a size.
struct Bare<F>(F);

impl<F: FnMut(u32) -> Result<Received, Failure>> Course for Bare<F> {
    fn lap(&mut self, size: u32) -> Result<(Received, Duration), Failure> {
        let begun = Instant::now();
        let received = (self.0)(size)?;
        Ok((received, begun.elapsed()))
    }
}

fn bare(lap: impl FnMut(u32) -> Result<Received, Failure> + 'static) -> Box<dyn Course> {
    Box::new(Bare(lap))
}

/// The other thread is gone, or one thing that should have come didn't.
fn broken() -> Failure {
    "the other end of the channel is gone".into()
}

fn not_measured<T>(case: Case) -> Result<T, Failure> {
    Err(format!("there is no such limit for {case}").into())
}

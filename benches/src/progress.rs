//! Where a suite is, on standard error: one live line on a terminal, else a line now and then.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// How far apart lines are where they stay.
const BETWEEN_LINES: Duration = Duration::from_secs(15);

/// Runs that are done, of all that there are.
pub struct Progress {
    total: usize,
    done: usize,
    begun: Instant,
    /// When the last line was printed that stays.
    said: Instant,
    live: bool,
}

impl Progress {
    /// Nothing is done yet.
    pub fn new(total: usize) -> Progress {
        let now = Instant::now();
        Progress { total, done: 0, begun: now, said: now, live: io::stderr().is_terminal() }
    }

    /// Says what runs now.
    pub fn at(&self, what: &str) {
        if self.live {
            eprint!("\r\x1b[2K{} of {}{}: {what}", self.done, self.total, self.left());
            // A line that can't be shown isn't worth ending a measurement for.
            let _ = io::stderr().flush();
        }
    }

    /// A run is done.
    pub fn one_done(&mut self) {
        self.done += 1;
    }

    /// Takes the live line away, so that something else can be printed.
    pub fn clear(&self) {
        if self.live {
            eprint!("\r\x1b[2K");
        }
    }

    /// Says what was done last, in a line that stays, if it is time for one and lines stay here.
    pub fn now_and_then(&mut self, what: &str) {
        if !self.live && (self.said.elapsed() >= BETWEEN_LINES || self.done == self.total) {
            eprintln!("{} of {} runs done{}: {what}", self.done, self.total, self.left());
            self.said = Instant::now();
        }
    }

    fn left(&self) -> String {
        let (Ok(done), Ok(left)) = (u32::try_from(self.done), u32::try_from(self.total - self.done)) else {
            return String::new();
        };
        let Some(each) = self.begun.elapsed().checked_div(done) else { return String::new() };
        let seconds = (each * left).as_secs();
        format!(", {}:{:02} left", seconds / 60, seconds % 60)
    }
}

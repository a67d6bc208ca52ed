//! What a person sees of the demo: a line that lives while it runs, and a table in the end. All of it goes to standard
//! error, so that standard output has only what was asked for.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use super::Outcome;
use crate::bots::Summary;

pub(super) struct Screen {
    terminal: bool,
    quiet: bool,
    last_second: Option<u64>,
}

impl Screen {
    pub(super) fn new(quiet: bool) -> Screen {
        Screen { terminal: std::io::stderr().is_terminal(), quiet, last_second: None }
    }

    pub(super) fn say(&mut self, text: &str) {
        self.live_line_ends();
        eprintln!("{text}");
    }

    /// Shows how things stand; on a terminal in place, elsewhere a line each second.
    pub(super) fn live(&mut self, at: Duration, epoch: u32, kills: u32, bots: &Summary) {
        let line = format!(
            "{:6.1} s  server epoch {epoch}  kills {kills}  bots playing {}/{}  commands applied {}  messages {}",
            at.as_secs_f64(),
            bots.playing,
            bots.bots,
            bots.applied,
            bots.messages
        );
        let second = Some(at.as_secs());
        if self.terminal {
            eprint!("\r\x1b[K{line}");
            // A screen that can't be written to is no reason to stop.
            let _ = std::io::stderr().flush();
            self.last_second = second;
        } else if !self.quiet && self.last_second != second {
            eprintln!("{line}");
            self.last_second = second;
        }
    }

    pub(super) fn live_line_ends(&mut self) {
        if self.terminal && self.last_second.take().is_some() {
            eprintln!();
        }
    }

    pub(super) fn summary(&mut self, outcome: &Outcome, complaints: &[String]) {
        let Outcome { seconds, bots, messages, kills, recovered_ms_max, reconnected, lost, doubled, .. } = outcome;
        self.say(&format!("\nplayed {seconds:.1} s: {bots} bots got {messages} messages"));
        self.say(&format!("server killed {kills} times, back after at most {recovered_ms_max} ms"));
        self.say(&format!("bots back {reconnected}/{bots}, lost {lost}, doubled {doubled}"));
        self.say("\nnode     epoch  workers     rounds  unproved    messages  journal bytes  replayed  digest");
        for node in &outcome.nodes {
            self.say(&format!(
                "{:<8} {:>5}  {:>7}  {:>9}  {:>8}  {:>10}  {:>13}  {:<8}  {}",
                node.name,
                node.epoch,
                node.workers,
                node.rounds,
                node.unproved_rounds,
                node.messages,
                node.journal_bytes,
                if node.replayed { "equal" } else { "NO" },
                node.digest
            ));
        }
        for complaint in complaints {
            self.say(&format!("\nFAILED: {complaint}"));
        }
        if outcome.verified {
            self.say("\nverified: nothing lost, nothing doubled, and both nodes replay equal");
        }
    }
}

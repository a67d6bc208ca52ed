//! A bug on purpose, behind the cargo feature `planted-bug`: what the guide's walk from a crash to its cause is after.
//!
//! Each hit earns a point, and a fall costs half of the points, rounded up; it is paid on rising. Whoever enters again pays at once
//! what he owes, so that nobody gets away by leaving: and that is where the mistake is. It takes somebody who lies on the ground with an
//! odd number of points while his connection is replaced, and it shows when he hits somebody, any time later.

use serde::{Deserialize, Serialize};

/// What a player has earned.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Bounty {
    score: i64,
    /// To be paid on rising.
    due: i64,
}

impl Bounty {
    /// He hit somebody.
    pub(super) fn earn(&mut self) {
        assert!(self.score >= 0, "a player's score is {}", self.score);
        self.score += 1;
    }

    /// He fell.
    pub(super) fn fall(&mut self) {
        self.due = (self.score + 1) / 2;
    }

    /// He rises.
    pub(super) fn rise(&mut self) {
        self.score -= self.due;
        self.due = 0;
    }

    /// He enters again.
    pub(super) fn enter(&mut self) {
        // Here it is: what was paid is still due.
        self.score -= self.due;
    }

    /// What he has.
    pub(super) fn score(&self) -> i64 {
        self.score
    }
}

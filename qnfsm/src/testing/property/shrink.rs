//! From a case that breaks a claim to one that breaks the same claim with as little as can be: inputs are left out, in large pieces
//! first, and each that is left is simplified as its strategy can; and all over again until nothing helps.
//!
//! A candidate counts only if the same claim breaks, so that one fault is not mistaken for another on the way. The one that
//! is tried last isn't always the smallest that failed, so that one is kept.

use std::fmt::Debug;

use proptest::strategy::ValueTree;

use super::{
    course::{Course, Failure},
    draw::Drawn,
    input::Case,
};

/// Runs that are made at most.
const TRIES_MAX: u32 = 4000;

/// A case that breaks a claim, and what came of it.
pub(super) struct Broken {
    pub(super) case: Case,
    pub(super) course: Course,
    pub(super) failure: Failure,
    /// How many runs it took to find it.
    pub(super) tries: u32,
}

struct Shrinking<'a> {
    run: &'a dyn Fn(&Case) -> Course,
    drawn: Drawn,
    /// The smallest so far; its parts stand at the same places as in `drawn`.
    best: Broken,
}

/// The smallest case that breaks the same claim as this one, as far as can be found.
pub(super) fn shrink(drawn: Drawn, first: Broken, run: &dyn Fn(&Case) -> Course) -> Broken {
    let mut shrinking = Shrinking { run, drawn, best: first };
    while shrinking.leave_out() | shrinking.simplify() {}
    shrinking.best
}

impl Shrinking<'_> {
    /// Tries a candidate; true if the same claim breaks, and it is the smallest now.
    fn fails(&mut self, case: Case) -> bool {
        if self.best.tries >= TRIES_MAX || case == self.best.case {
            return false;
        }
        // What differs from run to run may not differ this time.
        for _ in 0..self.best.failure.claim.runs() {
            self.best.tries += 1;
            let mut course = (self.run)(&case);
            if let Some(failure) = course.failure.take_if(|failure| failure.claim == self.best.failure.claim) {
                self.best = Broken { case, course, failure, tries: self.best.tries };
                return true;
            }
        }
        false
    }

    /// Leaves inputs out, in pieces of half of them, of a quarter, and so on down to single ones.
    fn leave_out(&mut self) -> bool {
        let mut has_helped = false;
        let mut piece = self.best.case.inputs.len().div_ceil(2);
        while piece > 0 {
            // From the end: what comes behind the failure goes at once.
            let mut end = self.best.case.inputs.len();
            while end > 0 {
                let begin = end.saturating_sub(piece);
                let mut case = self.best.case.clone();
                let last = case.inputs.drain(begin..end).next_back();
                // What stands before them was done before what comes behind, if they were.
                if let (Some(before), Some(last)) = (case.inputs[..begin].last_mut(), last) {
                    before.with_next &= last.with_next;
                }
                if self.fails(case) {
                    self.drawn.inputs.drain(begin..end);
                    has_helped = true;
                }
                end = begin;
            }
            piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
        }
        has_helped
    }

    /// Simplifies each part by itself.
    fn simplify(&mut self) -> bool {
        let mut has_helped = self.simplify_part(|drawn| &mut *drawn.start, |case, start| case.start = start);
        for at in 0..self.best.case.inputs.len() {
            has_helped |= self.simplify_part(|drawn| &mut *drawn.inputs[at], |case, entry| case.inputs[at] = entry);
        }
        has_helped
    }

    fn simplify_part<T: Debug>(
        &mut self,
        part: impl Fn(&mut Drawn) -> &mut dyn ValueTree<Value = T>,
        put: impl Fn(&mut Case, T),
    ) -> bool {
        let mut has_helped = false;
        let mut goes_on = part(&mut self.drawn).simplify();
        while goes_on && self.best.tries < TRIES_MAX {
            let mut case = self.best.case.clone();
            put(&mut case, part(&mut self.drawn).current());
            let is_as_before = case == self.best.case;
            let fails = self.fails(case);
            has_helped |= fails;
            goes_on = match fails || is_as_before {
                true => part(&mut self.drawn).simplify(),
                false => part(&mut self.drawn).complicate(),
            };
        }
        has_helped
    }
}

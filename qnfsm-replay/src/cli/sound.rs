//! How a command that runs or compares what was recorded speaks of a journal that can't be gone through to its end: what it found is of the
//! part before, and where that ends goes to standard error.

use std::io::{self, Write};

use crate::{ReplayError, Session, Unfit};

/// What stands behind a verdict that is of a part alone.
pub(super) fn sound_part(is_part: bool) -> &'static str {
    if is_part { ", as far as it can be gone through" } else { "" }
}

/// Says which workers were left before that end, and which began later than they could have, unless this is what keeps the journal from
/// being gone through.
pub(super) fn say_left_out(session: &Session, stopped: Option<&ReplayError>) {
    let says_damaged = matches!(stopped, Some(ReplayError::Snapshots(_)));
    let says_lacking = says_damaged || matches!(stopped, Some(ReplayError::Partly(_)));
    let mut stderr = io::stderr();
    if let (Some(partly), false) = (session.partly(), says_lacking) {
        let _ = writeln!(stderr, "error: {partly}");
    }
    for not_begun in session.not_begun() {
        let is_said = match not_begun.cause {
            Unfit::Damaged => says_damaged,
            Unfit::Lacking => true,
            Unfit::Missing | Unfit::Changed => false,
        };
        if !is_said {
            let _ = writeln!(stderr, "note: {not_begun}");
        }
    }
}

/// Says what keeps a journal from being gone through to its end.
pub(super) fn say_stopped(stopped: &ReplayError) {
    let until = match stopped {
        // It says itself what is left out.
        ReplayError::Partly(_) | ReplayError::Snapshots(_) => "",
        _ => "the journal can be gone through up to where this was found: ",
    };
    // Where standard error is closed, there is nobody to tell; the status tells all the same.
    let _ = writeln!(io::stderr(), "error: {until}{stopped}");
}

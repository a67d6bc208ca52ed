//! Keeps panics that the kit catches from being printed: a fault that is shrunk panics hundreds of times, and is told once.

#![expect(clippy::disallowed_types, reason = "which panics are printed is each thread's own, and is no FSM's business")]

use std::{cell::Cell, panic, sync::Once, thread::LocalKey};

thread_local! {
    static IS_HUSHED: Cell<bool> = const { Cell::new(false) };
}

/// While it is there, panics of its thread aren't printed; those of others are, as they were before.
pub(super) struct Hush {
    was: bool,
}

/// The hook of before is kept behind one of ours, which is set once and for all.
static HOOK: Once = Once::new();

impl Hush {
    pub(super) fn new() -> Hush {
        HOOK.call_once(|| {
            let printing = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                if !hushed().get() {
                    printing(panic);
                }
            }));
        });
        Hush { was: hushed().replace(true) }
    }
}

impl Drop for Hush {
    fn drop(&mut self) {
        hushed().set(self.was);
    }
}

fn hushed() -> &'static LocalKey<Cell<bool>> {
    &IS_HUSHED
}

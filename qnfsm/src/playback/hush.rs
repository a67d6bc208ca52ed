//! Keeps panics that are caught, and told by who caught them, from being printed: what a handler panicked with when it was recorded it
//! panics with at each replay.
//!
//! Nothing is lost by it. A panic that nobody catches while it is hushed is printed after all, and where one came from, which what it
//! carries doesn't say, can be asked for.

#![expect(clippy::disallowed_types, reason = "which panics are printed is each thread's own, and is no FSM's business")]

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    cell::{Cell, RefCell},
    collections::VecDeque,
    panic::{self, PanicHookInfo},
    sync::Once,
    thread::{self, LocalKey},
};

use crate::panic::panic_text;

/// Of how many panics it is remembered where they came from, on each thread: the last ones.
const REMEMBERED_MAX: usize = 64;

thread_local! {
    static IS_HUSHED: Cell<bool> = const { Cell::new(false) };
    static REMEMBERED: RefCell<VecDeque<Unprinted>> = const { RefCell::new(VecDeque::new()) };
}

/// While it is there, panics of its thread aren't printed; those of others are, as they were before.
///
/// It asks the program's panic hook nothing while it is there, and changes nothing for it otherwise: the first one puts a hook before it,
/// which hands on whatever isn't hushed. A hook that the program sets later is in its place, and is told of all panics.
#[derive(Debug)]
#[must_use = "panics are printed again when it is dropped"]
pub struct Hush {
    was: bool,
    /// What unwinds when it is dropped was under way before it, and was told.
    was_panicking: bool,
}

/// A panic that was not printed.
struct Unprinted {
    text: String,
    place: String,
    /// Taken where the environment asks for it, as for one that is printed.
    backtrace: Backtrace,
}

/// The hook of before is kept behind one of ours, which is set once and for all.
static HOOK: Once = Once::new();

impl Hush {
    /// From now on, on this thread.
    pub fn new() -> Hush {
        let was_panicking = thread::panicking();
        // A thread that panics may set no hook.
        if !was_panicking {
            HOOK.call_once(|| {
                let printing = panic::take_hook();
                panic::set_hook(Box::new(move |panic| if hushed().get() { remember(panic) } else { printing(panic) }));
            });
        }
        Hush { was: hushed().replace(true), was_panicking }
    }

    /// Where the last panic with that text came from that was hushed on this thread: file, line and column.
    #[must_use]
    pub fn place_of(text: &str) -> Option<String> {
        let of = |unprinted: &&Unprinted| unprinted.text == text;
        remembered().with_borrow(|panics| panics.iter().rev().find(of).map(|unprinted| unprinted.place.clone()))
    }
}

impl Default for Hush {
    fn default() -> Hush {
        Hush::new()
    }
}

impl Drop for Hush {
    fn drop(&mut self) {
        hushed().set(self.was);
        if self.was || self.was_panicking || !thread::panicking() {
            return;
        }
        // Nobody has caught it who would tell it.
        remembered().with_borrow(|panics| {
            let Some(Unprinted { text, place, backtrace }) = panics.back() else { return };
            let thread = thread::current();
            eprintln!("\nthread '{}' panicked at {place}:\n{text}", thread.name().unwrap_or("<unnamed>"));
            if backtrace.status() == BacktraceStatus::Captured {
                eprintln!("stack backtrace:\n{backtrace}");
            }
        });
    }
}

fn remember(panic: &PanicHookInfo<'_>) {
    let text = panic_text(panic.payload()).to_owned();
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let unprinted = Unprinted { text, place, backtrace: Backtrace::capture() };
    remembered().with_borrow_mut(|panics| {
        if panics.len() == REMEMBERED_MAX {
            panics.pop_front();
        }
        panics.push_back(unprinted);
    });
}

fn hushed() -> &'static LocalKey<Cell<bool>> {
    &IS_HUSHED
}

fn remembered() -> &'static LocalKey<RefCell<VecDeque<Unprinted>>> {
    &REMEMBERED
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;

    #[test]
    fn where_a_panic_came_from_is_known_by_its_text_and_the_last_ones_are_remembered() {
        let hush = Hush::new();
        let line = line!() + 1;
        assert!(catch_unwind(|| panic!("one of {}", 3)).is_err());
        assert_eq!(Hush::place_of("one of 3").unwrap().split(':').nth(1), Some(&*line.to_string()));
        assert_eq!(Hush::place_of("one of 4"), None);
        for number in 0..REMEMBERED_MAX {
            assert!(catch_unwind(|| panic!("another, {number}")).is_err());
        }
        assert_eq!(Hush::place_of("one of 3"), None);
        drop(hush);
        assert!(Hush::place_of("another, 0").is_some(), "it is told after it was hushed");
    }

    #[test]
    fn one_within_another_ends_with_the_outer_one() {
        let outer = Hush::new();
        drop(Hush::new());
        assert!(hushed().get());
        drop(outer);
        assert!(!hushed().get());
    }

    /// What is printed is seen from outside, so the test that panics runs again in a process of its own.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test stands outside all nodes")]
    fn what_is_caught_within_is_printed_by_nobody_and_what_is_not_is_printed_when_it_comes_out() {
        const CHILD: &str = "QNFSM_HUSHED_CHILD";
        if std::env::var_os(CHILD).is_some() {
            assert!(catch_unwind(|| panic!("before it")).is_err());
            let hush = Hush::new();
            assert!(catch_unwind(|| panic!("it is caught")).is_err());
            thread::spawn(|| panic!("another thread")).join().unwrap_err();
            drop(hush);
            assert!(catch_unwind(|| panic!("behind it")).is_err());
            let _hush = Hush::new();
            panic!("nobody catches it");
        }
        let this = "playback::hush::tests::what_is_caught_within_is_printed_by_nobody_and_what_is_not_is_printed_when_it_comes_out";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", this, "--nocapture"]).env(CHILD, "1").env("RUST_BACKTRACE", "1");
        let printed = child.output().unwrap();
        let printed = String::from_utf8_lossy(&printed.stderr);
        for text in ["before it", "another thread", "behind it", "nobody catches it"] {
            assert_eq!(printed.matches(&format!("\n{text}\n")).count(), 1, "{text}: {printed}");
        }
        assert!(!printed.contains("it is caught"), "{printed}");
        let out = printed.rsplit("nobody catches it").next().unwrap();
        assert!(out.contains("stack backtrace:"), "{printed}");
    }

    #[test]
    fn what_nobody_catches_within_is_hushed_no_more_when_it_comes_out() {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _hush = Hush::new();
            panic!("nobody catches this within");
        }));
        assert!(!hushed().get());
        let again = catch_unwind(AssertUnwindSafe(|| {
            let _hush = Hush::new();
            resume_unwind(unwound.expect_err("it panics"));
        }));
        assert!(again.is_err() && !hushed().get());
    }
}

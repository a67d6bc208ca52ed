//! What is compared: ours in its ways of recording, the peers, and the limits.

use std::str::FromStr;

use super::case::Case;
use crate::{
    listed::{self, Listed},
    locked,
    plan::{Class, Recording},
};

/// Something that carries messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Ours.
    Qnfsm,
    /// The actor framework of actix-web's makers.
    Actix,
    /// Actors after Erlang's.
    Ractor,
    /// Actors with typed messages.
    Kameo,
    /// Two `VecDeque`s in a loop.
    VecDeque,
    /// crossbeam-channel, unbounded.
    Unbounded,
    /// crossbeam-channel, bounded.
    Bounded,
    /// An `rtrb` ring.
    Rtrb,
    /// Batches over crossbeam-channel, written to a file.
    Written,
}

/// All systems.
const SYSTEMS: &[Listed<System>] = &[
    (System::Qnfsm, "qnfsm", "qnfsm", "qnfsm"),
    (System::Actix, "actix", "actix", "actix"),
    (System::Ractor, "ractor", "ractor", "ractor"),
    (System::Kameo, "kameo", "kameo", "kameo"),
    (System::VecDeque, "vec-deque", "two VecDeques", "std"),
    (System::Unbounded, "crossbeam-unbounded", "crossbeam unbounded", "crossbeam-channel"),
    (System::Bounded, "crossbeam-bounded", "crossbeam bounded 4096", "crossbeam-channel"),
    (System::Rtrb, "rtrb", "rtrb (spins)", "rtrb"),
    (System::Written, "crossbeam-file", "crossbeam + file", "crossbeam-channel"),
];

impl System {
    fn facts(self) -> (&'static str, &'static str, &'static str) {
        listed::facts(SYSTEMS, self)
    }

    /// Its name as an argument.
    pub fn argument(self) -> &'static str {
        self.facts().0
    }

    /// Its name in rows.
    pub fn name(self) -> &'static str {
        self.facts().1
    }

    /// Its version, as the lock file has it; `std` for what is built of the standard library alone.
    pub fn version(self) -> String {
        locked::version(self.facts().2)
    }
}

impl FromStr for System {
    type Err = String;

    fn from_str(name: &str) -> Result<System, String> {
        listed::find(SYSTEMS, name)
    }
}

/// A system, and how much it writes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    pub system: System,
    pub recording: Recording,
}

/// What is compared in a case, in the order of turns and rows.
pub fn compared(case: Case, class: Class) -> Vec<Compared> {
    let off = |system| Compared { system, recording: Recording::Off };
    let ours = [Recording::Off, Recording::Memory, Recording::Buffered, Recording::Everything];
    let mut all = ours.map(|recording| Compared { system: System::Qnfsm, recording }).to_vec();
    all.extend([System::Actix, System::Ractor, System::Kameo].map(off));
    match class {
        Class::OneThread => all.push(off(System::VecDeque)),
        Class::TwoThreads => {
            all.push(off(System::Unbounded));
            // Those with a bound have no room for all that fan-out has under way.
            if !matches!(case, Case::FanOut(_)) {
                all.extend([off(System::Bounded), off(System::Rtrb)]);
            }
            all.push(Compared { system: System::Written, recording: Recording::Buffered });
        }
    }
    all
}

/// What a system is held against: on one thread, where nothing crosses the perimeter, the two `VecDeque`s; on two threads the
/// unbounded channel, and for what writes to files the loop that does.
pub fn limit_of(of: Compared, class: Class) -> Option<System> {
    let limit = match (class, of.recording) {
        (Class::OneThread, _) => System::VecDeque,
        (Class::TwoThreads, Recording::Off | Recording::Memory) => System::Unbounded,
        (Class::TwoThreads, _) => System::Written,
    };
    let is_limit =
        matches!(of.system, System::VecDeque | System::Unbounded | System::Bounded | System::Rtrb | System::Written);
    (!is_limit).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_lock_file() {
        assert_eq!(System::Qnfsm.version(), env!("CARGO_PKG_VERSION"));
        assert_eq!(System::VecDeque.version(), "std");
        assert!(System::Rtrb.version().starts_with("0."));
    }

    #[test]
    fn every_system_is_found_by_its_argument() {
        for (system, argument, ..) in SYSTEMS {
            assert_eq!((argument.parse(), system.argument()), (Ok(*system), *argument));
        }
        assert!("vec".parse::<System>().is_err_and(|error| error.contains("vec-deque")));
    }
}

//! The curves: what grows, over which sizes, what is compared on the way, and what goes round.

use std::{fmt, str::FromStr};

use super::{
    cargo::NUMBER_BYTES,
    circuit::{Circuit, Order},
};
use crate::{
    listed::{self, Listed},
    locked,
    plan::{
        Class::{self, OneThread, TwoThreads},
        Failure, Group, LimitIs, Plot, Recording, Subject, X,
    },
};

/// The suite's unit.
const UNIT: &str = "ns/message";
/// How many tokens are under way for each worker, where workers grow.
const TOKENS_A_WORKER: u32 = 256;
/// How many tokens are under way in all, where the payload grows.
const TOKENS_WITH_PAYLOAD: u32 = 64;
/// The most of anything that grows.
const SIZE_MAX: u32 = 1_000_000;
/// The most workers.
const WORKERS_MAX: u32 = 256;

/// One point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// So many FSMs in one worker; one token goes round.
    Fsms(u32),
    /// So many workers; each message goes from one to the next.
    Workers(u32),
    /// So many messages in the queue of each of two FSMs, which hand them to each other.
    Queue(u32),
    /// What a message carries.
    Payload,
}

const FSMS: &[u32] = &[1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
const FSMS_QUICK: &[u32] = &[1, 1_000, 1_000_000];
const WORKERS: &[u32] = &[1, 2, 4, 8, 16, 32, 64];
const WORKERS_QUICK: &[u32] = &[1, 2, 16];
const QUEUE: &[u32] = &[1, 4, 16, 64, 256, 1_024, 4_096];
const QUEUE_QUICK: &[u32] = &[1, 64, 4_096];
const PAYLOAD_BYTES: &[u32] = &[8, 32, 128, 512, 2_048, 8_192, 32_768, 65_536];
const PAYLOAD_BYTES_QUICK: &[u32] = &[8, 1_024, 65_536];

/// A system that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Ours.
    Ours,
    /// Ours, whose FSMs are visited in another order than they lie in.
    OursScattered,
    /// Ours, with a payload that serde takes for a sequence of numbers.
    OursSequence,
    /// One `VecDeque` and a box for each FSM, in a loop.
    Bare,
    /// The same in a scattered order.
    BareScattered,
    /// A channel of crossbeam's between two threads each.
    Channels,
    /// A copy of the bytes.
    Memcpy,
}

/// All systems.
const SYSTEMS: &[Listed<System>] = &[
    (System::Ours, "qnfsm", "qnfsm", "qnfsm"),
    (System::OursScattered, "qnfsm-scattered", "qnfsm, scattered", "qnfsm"),
    (System::OursSequence, "qnfsm-sequence", "qnfsm, u8 by u8", "qnfsm"),
    (System::Bare, "bare-loop", "bare loop", "std"),
    (System::BareScattered, "bare-loop-scattered", "bare loop, scattered", "std"),
    (System::Channels, "crossbeam", "crossbeam unbounded", "crossbeam-channel"),
    (System::Memcpy, "memcpy", "memcpy", "std"),
];

impl FromStr for System {
    type Err = String;

    fn from_str(name: &str) -> Result<System, String> {
        listed::find(SYSTEMS, name)
    }
}

impl Point {
    /// What all points of its curve are called.
    pub fn family(self) -> &'static str {
        match self {
            Point::Fsms(_) => "fsms",
            Point::Workers(_) => "workers",
            Point::Queue(_) => "queue",
            Point::Payload => "payload",
        }
    }

    /// What goes round here.
    ///
    /// # Errors
    /// When that many threads don't make such a point.
    pub fn circuit(self, class: Class, payload_bytes: u32, order: Order) -> Result<Circuit, Failure> {
        let (workers, relays_each, tokens) = match (self, class) {
            (Point::Fsms(fsms), OneThread) => (1, fsms, 1),
            (Point::Workers(1), OneThread) => (1, 2, TOKENS_A_WORKER),
            (Point::Workers(workers @ 2..), TwoThreads) => (workers, 1, workers * TOKENS_A_WORKER),
            (Point::Queue(depth), OneThread) => (1, 2, 2 * depth),
            (Point::Payload, OneThread) => (1, 2, TOKENS_WITH_PAYLOAD),
            (Point::Payload, TwoThreads) => (2, 1, TOKENS_WITH_PAYLOAD),
            _ => return Err(format!("{self} isn't measured in {class}").into()),
        };
        Ok(Circuit { workers, relays_each, tokens, order, payload_bytes })
    }

    /// What is compared, with the index of what it is held against.
    fn compared(self, class: Class) -> Vec<(System, Recording, Option<usize>)> {
        use Recording::{Buffered, Off};
        match (self, class) {
            (Point::Fsms(_), _) => vec![
                (System::Ours, Off, Some(2)),
                (System::OursScattered, Off, Some(3)),
                (System::Bare, Off, None),
                (System::BareScattered, Off, None),
            ],
            (Point::Workers(_), _) => {
                vec![(System::Ours, Off, Some(2)), (System::Ours, Buffered, Some(2)), (System::Channels, Off, None)]
            }
            (Point::Queue(_), _) => vec![(System::Ours, Off, Some(1)), (System::Bare, Off, None)],
            (Point::Payload, OneThread) => vec![
                (System::Ours, Off, Some(2)),
                (System::OursSequence, Off, Some(2)),
                (System::Bare, Off, None),
                (System::Memcpy, Off, None),
            ],
            (Point::Payload, TwoThreads) => vec![
                (System::Ours, Off, Some(3)),
                (System::Ours, Buffered, Some(3)),
                (System::OursSequence, Off, Some(3)),
                (System::Channels, Off, None),
                (System::Memcpy, Off, None),
            ],
        }
    }

    fn group(self, class: Class, payload_bytes: u32) -> Group {
        let subjects = self.compared(class).into_iter().map(|(of, recording, limit)| {
            let (name, system, package) = listed::facts(SYSTEMS, of);
            let limit = limit.map_or(LimitIs::Nothing, LimitIs::Subject);
            Subject { name, system, version: locked::version(package), recording, limit }
        });
        Group {
            case: self.to_string(),
            family: self.family(),
            class,
            payload_bytes,
            unit: UNIT,
            also: &[],
            subjects: subjects.collect(),
            more_than_limit: None,
        }
    }
}

/// All points of all curves.
pub fn groups(quick: bool) -> Vec<Group> {
    let sizes = |quick_ones: &'static [u32], all: &'static [u32]| if quick { quick_ones } else { all };
    let mut groups = Vec::new();
    let fsms = sizes(FSMS_QUICK, FSMS).iter().map(|&fsms| (Point::Fsms(fsms), OneThread));
    let workers = sizes(WORKERS_QUICK, WORKERS).iter().map(|&workers| {
        let class = if workers == 1 { OneThread } else { TwoThreads };
        (Point::Workers(workers), class)
    });
    let queue = sizes(QUEUE_QUICK, QUEUE).iter().map(|&depth| (Point::Queue(depth), OneThread));
    groups.extend(fsms.chain(workers).chain(queue).map(|(point, class)| point.group(class, NUMBER_BYTES)));
    for class in [OneThread, TwoThreads] {
        let bytes = sizes(PAYLOAD_BYTES_QUICK, PAYLOAD_BYTES);
        groups.extend(bytes.iter().map(|&bytes| Point::Payload.group(class, bytes)));
    }
    groups
}

/// A picture of each curve.
pub fn plots() -> Vec<Plot> {
    let plot = |file, family, class, title, x, x_label| Plot { file, family, class, title, x, x_label, y_label: UNIT };
    vec![
        plot("growth-fsms", "fsms", None, "FSMs in one worker", X::EndOfCase, "FSMs"),
        plot(
            "growth-workers",
            "workers",
            None,
            "Workers on two cores, all messages together",
            X::EndOfCase,
            "workers; 256 messages under way for each",
        ),
        plot(
            "growth-queue",
            "queue",
            None,
            "Messages in a queue",
            X::EndOfCase,
            "messages in the queue of each of two FSMs",
        ),
        plot(
            "growth-payload-within",
            "payload",
            Some(OneThread),
            "Payload within one worker",
            X::PayloadBytes,
            "bytes of payload",
        ),
        plot(
            "growth-payload-between",
            "payload",
            Some(TwoThreads),
            "Payload between two workers",
            X::PayloadBytes,
            "bytes of payload",
        ),
    ]
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family();
        match self {
            Point::Payload => f.write_str(family),
            Point::Fsms(size) | Point::Workers(size) | Point::Queue(size) => write!(f, "{family}-{size}"),
        }
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(name: &str) -> Result<Point, String> {
        let numbered = name.rsplit_once('-').and_then(|(family, number)| Some((family, number.parse::<u32>().ok()?)));
        match (name, numbered) {
            ("payload", _) => Ok(Point::Payload),
            (_, Some(("fsms", fsms @ 1..=SIZE_MAX))) => Ok(Point::Fsms(fsms)),
            (_, Some(("workers", workers @ 1..=WORKERS_MAX))) => Ok(Point::Workers(workers)),
            // A queue takes 65,536 messages, and all of both may be in one for a while.
            (_, Some(("queue", depth @ 1..=32_768))) => Ok(Point::Queue(depth)),
            _ => Err(format!("the suite has no case {name}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_can_be_asked_for_by_its_names() {
        for group in groups(false).into_iter().chain(groups(true)) {
            let point: Point = group.case.parse().expect("a case of the suite");
            assert_eq!(point.to_string(), group.case);
            assert!(point.circuit(group.class, group.payload_bytes, Order::InOrder).is_ok());
            for subject in group.subjects {
                assert!(subject.name.parse::<System>().is_ok());
                assert!(
                    !matches!(subject.limit, LimitIs::Subject(limit) if limit >= point.compared(group.class).len())
                );
            }
        }
        assert!("fsms-0".parse::<Point>().is_err());
        assert!(Point::Workers(2).circuit(OneThread, NUMBER_BYTES, Order::InOrder).is_err());
    }

    #[test]
    fn every_plot_has_points() {
        let groups = groups(true);
        for plot in plots() {
            let is_on =
                |group: &&Group| group.family == plot.family && plot.class.is_none_or(|class| class == group.class);
            assert!(groups.iter().filter(is_on).count() > 1, "{}", plot.file);
        }
    }
}

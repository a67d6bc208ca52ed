//! What a difference looks like it comes from.

use std::{fmt, time::SystemTime};

use qnfsm::schema::Content;

use super::{Part, Parted, parts::is_permutation};

/// A usual cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// A clock.
    Clock,
    /// An address.
    Address,
    /// A number that only grows from run to run: a static, or what another thread counts.
    Counter,
    /// The order of a hash map.
    MapOrder,
    /// A number of which nothing can be told: an ambient random one, or what comes of a hash map's order.
    Random,
    /// Other code than what recorded it.
    ChangedCode,
    /// It does the same each time, and not what was recorded: something of where it runs, or what the codec doesn't carry.
    Elsewhere,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hint::Clock => "it is near to the time now: a clock was read; take `cx.now()`",
            Hint::Address => "it looks like an address: the place of something in memory",
            Hint::Counter => "it grows from run to run: a static, or a count that another thread moves",
            Hint::MapOrder => "the same elements in another order: a hash map was walked; take a `BTreeMap`",
            Hint::Random => {
                "it is another number each time: an ambient random number, or what comes of a hash map's order; take `cx.random()`, \
                 and a `BTreeMap`"
            }
            Hint::ChangedCode => "this executable isn't the one that recorded it: the FSM's code was changed",
            Hint::Elsewhere => {
                "it does the same each time it is run here: a field that the codec doesn't carry (`#[serde(skip)]`), an environment \
                 variable, a file, a floating-point function of the system's"
            }
        })
    }
}

/// The usual causes of what differs, the likeliest first.
pub(super) fn hints(parted: Option<&Parted>, is_same_twice: bool, build_differs: bool) -> Vec<Hint> {
    let parts = parted.map_or(&[][..], |parted| &parted.parts);
    let mut hints: Vec<Hint> = Vec::new();
    for hint in parts.iter().flat_map(of_part) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    if build_differs {
        let at = if is_same_twice { 0 } else { hints.len() };
        hints.insert(at, Hint::ChangedCode);
    } else if is_same_twice && hints.iter().all(|hint| *hint == Hint::Random) {
        // What does the same twice is not drawn.
        hints = vec![Hint::Elsewhere];
    } else if hints.is_empty() {
        hints.push(Hint::Random);
    }
    hints
}

/// What a part looks like, by the values that it had, the likeliest first.
fn of_part(part: &Part) -> Vec<Hint> {
    let values: Vec<_> = [&part.recorded, &part.found, &part.again].into_iter().flatten().collect();
    if let [first, others @ ..] = &values[..]
        && let Content::Seq(_) | Content::Map(_) = first
    {
        let is_reordered = |other: &&Content| match (first, other) {
            (Content::Seq(first), Content::Seq(other)) => is_permutation(first, other),
            (Content::Map(first), Content::Map(other)) => is_permutation(first, other),
            _ => false,
        };
        let is_order = !others.is_empty() && others.iter().all(is_reordered);
        return if is_order { vec![Hint::MapOrder] } else { Vec::new() };
    }
    let number = |content: &&Content| match content {
        Content::Unsigned(number) => Some(*number),
        Content::Signed(number) => u128::try_from(*number).ok(),
        _ => None,
    };
    let found: Vec<u128> =
        [&part.found, &part.again].into_iter().flatten().filter_map(|content| number(&content)).collect();
    let all: Vec<u128> = values.iter().filter_map(number).collect();
    if all.len() < 2 {
        return Vec::new();
    }
    if found.iter().all(|number| is_now(*number)) {
        vec![Hint::Clock]
    } else if all.iter().all(|number| is_address(*number)) {
        vec![Hint::Address]
    } else if found.len() == 2 && found[0] < found[1] && found[1] < COUNTED_MAX {
        // Of two small random numbers the later one is the larger one half of the time.
        vec![Hint::Counter, Hint::Random]
    } else {
        vec![Hint::Random]
    }
}

/// Nobody counts further than that.
const COUNTED_MAX: u128 = 1 << 44;

/// How far from now a time may be that was just read, in seconds.
const NEAR_SECONDS: u128 = 3600;

/// True if it is about the time now, since 1970, in any usual unit.
#[expect(clippy::disallowed_methods, reason = "this is no FSM: it compares with the clock that an FSM may have read")]
fn is_now(number: u128) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let is = |now: u128, a_second: u128| number.abs_diff(now) < NEAR_SECONDS * a_second;
    is(now.as_nanos(), 1_000_000_000)
        || is(now.as_micros(), 1_000_000)
        || is(now.as_millis(), 1000)
        || is(now.as_secs().into(), 1)
}

/// True if something could lie there in the memory of a process: beyond its first pages, within 47 bits, and aligned.
fn is_address(number: u128) -> bool {
    (1 << 24..1 << 47).contains(&number) && number.is_multiple_of(8)
}

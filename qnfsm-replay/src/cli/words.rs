//! How numbers are said to people: grouped, with units, and no more digits than anybody reads.

use qnfsm::Time;

use crate::dump::Instant;

/// A count with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at != 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun.
pub(super) fn counted(number: u64, of: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {of}{plural}", count(number))
}

/// So many bytes, in the unit that leaves few digits.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (bytes.saturating_mul(10) / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    format!("{}.{} {}", count(tenths / 10), tenths % 10, UNITS[unit])
}

/// How long something took, in the unit that leaves few digits.
pub(super) fn duration(nanos: u64) -> String {
    let tenths = |nanos: u64, unit: u64, name: &str| {
        let tenths = nanos / (unit / 10);
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    };
    let seconds = nanos / 1_000_000_000;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => tenths(nanos, 1_000, "µs"),
        1_000_000..1_000_000_000 => tenths(nanos, 1_000_000, "ms"),
        1_000_000_000..60_000_000_000 => tenths(nanos, 1_000_000_000, "s"),
        60_000_000_000..3_600_000_000_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600_000_000_000..86_400_000_000_000 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// The time between two moments.
pub(super) fn between(from: Instant, to: Instant) -> u64 {
    to.0.as_nanos().saturating_sub(from.0.as_nanos())
}

/// A moment, to the millisecond; a dash where there is none.
pub(super) fn moment(at: Option<Instant>) -> String {
    let Some(Instant(at)) = at else { return "-".to_owned() };
    let text = Instant(Time::from_nanos(at.as_nanos())).to_string();
    // Date, time and three of the nine digits behind the point.
    format!("{} {}Z", &text[..10], &text[11..23])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_with_few_digits() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 1023, 1024, 1536, 1 << 20, 5 << 40].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "5.0 TiB"]
        );
        let nanos = [999, 1_000, 43_950_000, 59_900_000_000, 61_000_000_000, 3_720_000_000_000, 90_000_000_000_000];
        assert_eq!(nanos.map(duration), ["999 ns", "1.0 µs", "43.9 ms", "59.9 s", "1 min 1 s", "1 h 2 min", "1 d 1 h"]);
        assert_eq!(moment(Some(Instant(Time::from_nanos(951_782_399_999_999_999)))), "2000-02-28 23:59:59.999Z");
        assert_eq!(moment(None), "-");
    }
}

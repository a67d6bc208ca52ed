//! The one row format, of all suites: an object a line.

use serde::Serialize;

use crate::plan::{Class, Recording};

/// What was found of one system in one case.
///
/// Values are costs: less is better. `ratio` is `value` ÷ `limit`, so 1 is as good as the bare loop, and 5 five times its cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The suite.
    pub suite: &'static str,
    /// The case.
    pub case: String,
    /// How many threads did the work.
    pub class: Class,
    /// The system.
    pub system: &'static str,
    /// Its version; `std` for what is built of the standard library alone.
    pub version: String,
    /// How much was written down meanwhile.
    pub recording: Recording,
    /// The size of each message's payload in memory.
    pub payload_bytes: u32,
    /// The median of the runs, in `unit`.
    pub value: f64,
    /// The least of the runs.
    pub min: f64,
    /// The most of the runs.
    pub max: f64,
    /// What `value`, `min`, `max` and `limit` are in.
    pub unit: &'static str,
    /// How many runs, each in a process of its own.
    pub runs: usize,
    /// The value of what bounds the system: the bare loop that does no more than it must.
    pub limit: Option<f64>,
    /// `value` ÷ `limit`.
    pub ratio: Option<f64>,
}

/// Median, least and most of some values.
///
/// # Panics
/// When there are none.
pub fn spread(values: impl IntoIterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let (middle, last) = (values.len() / 2, values.len().checked_sub(1).expect("a subject runs at least once"));
    let median =
        if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] };
    [median, values[0], values[last]]
}

/// Rounds to four significant digits: more is noise.
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    format!("{value:.3e}").parse().expect("a number that was printed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_odd_and_even_numbers_of_runs() {
        assert_eq!(spread([3.0, 1.0, 2.0]), [2.0, 1.0, 3.0]);
        assert_eq!(spread([4.0, 1.0, 2.0, 3.0]), [2.5, 1.0, 4.0]);
        assert_eq!(spread([7.0]), [7.0, 7.0, 7.0]);
    }

    #[test]
    fn four_digits_are_kept() {
        assert_eq!([rounded(123.456), rounded(0.012_345_6), rounded(98_765_432.0)], [123.5, 0.012_35, 98_770_000.0]);
        assert_eq!(rounded(0.0), 0.0);
    }

    #[test]
    fn a_row_has_the_fields_of_the_format_in_order() {
        let row = Row {
            suite: "messaging",
            case: "ring-1".to_owned(),
            class: Class::TwoThreads,
            system: "qnfsm",
            version: "0.1.0".to_owned(),
            recording: Recording::Off,
            payload_bytes: 16,
            value: 2.0,
            min: 1.0,
            max: 3.0,
            unit: "ns/message",
            runs: 7,
            limit: Some(1.0),
            ratio: None,
        };
        let expected = concat!(
            r#"{"suite":"messaging","case":"ring-1","class":"two-threads","system":"qnfsm","version":"0.1.0","#,
            r#""recording":"off","payload_bytes":16,"value":2.0,"min":1.0,"max":3.0,"unit":"ns/message","runs":7,"#,
            r#""limit":1.0,"ratio":null}"#
        );
        assert_eq!(serde_json::to_string(&row).expect("plain data"), expected);
    }
}

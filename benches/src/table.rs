//! Rows for eyes. A table for each case; within it a block for each setting, whose rows are compared with one another.

use std::fmt::Write;

use crate::{plan::Recording, row::Row};

/// The system that is compared with the others.
const OURS: &str = "qnfsm";

/// The head of a case's table.
pub fn head(case: &str) -> String {
    format!(
        "\n{case}\n{:<11} {:>5} {:<29} {:<8} {:<10} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {}\n",
        "class", "B", "system", "version", "recording", "median", "min", "max", "limit", "× limit", "× ours", "unit"
    )
}

/// The rows of one group. `× limit` is the value in terms of the limit's, `× ours` in terms of the value of ours that records
/// nothing: 3 in the row of a peer means that ours takes a third.
pub fn body(rows: &[Row]) -> String {
    let ours_in =
        |unit| rows.iter().find(|row| row.system == OURS && row.recording == Recording::Off && row.unit == unit);
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let Row { system, version, recording, unit, .. } = row;
        let (class, payload) =
            if index == 0 { (row.class.to_string(), row.payload_bytes.to_string()) } else { Default::default() };
        let times_ours = ours_in(*unit).filter(|ours| ours.value > 0.0).map(|ours| row.value / ours.value);
        let [value, min, max] = [row.value, row.min, row.max].map(figure);
        let [limit, times_limit, times_ours] =
            [row.limit, row.ratio, times_ours].map(|known| known.map_or_else(String::new, figure));
        writeln!(
            text,
            "{class:<11} {payload:>5} {system:<29} {version:<8} {recording:<10} {value:>9} {min:>9} {max:>9} {limit:>9} \
             {times_limit:>7} {times_ours:>7} {unit}"
        )
        .expect("a text takes all that is written to it");
    }
    text
}

/// Three digits at least, and no more behind the point than make sense.
fn figure(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Class;

    #[test]
    fn a_peer_that_takes_three_times_as_long_says_so() {
        let ours = Row {
            suite: "messaging",
            case: "ring-1".to_owned(),
            class: Class::OneThread,
            system: OURS,
            version: "0.1.0".to_owned(),
            recording: Recording::Off,
            payload_bytes: 16,
            value: 50.0,
            min: 49.0,
            max: 51.0,
            unit: "ns/message",
            runs: 7,
            limit: Some(10.0),
            ratio: Some(5.0),
        };
        let peer = Row { system: "peer", value: 150.0, ratio: Some(15.0), ..ours.clone() };
        let text = body(&[ours, peer]);
        let ends: Vec<_> = text.lines().map(|line| line.split_whitespace().rev().take(4).collect::<Vec<_>>()).collect();
        assert_eq!(ends, [["ns/message", "1.00", "5.00", "10.0"], ["ns/message", "3.00", "15.0", "10.0"]]);
    }
}

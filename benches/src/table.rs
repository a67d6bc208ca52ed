//! Rows for eyes. A table for each case; within it a block for each setting, whose rows are compared with one another.

use std::fmt::Write;

use crate::{
    plan::{Class, Recording},
    row::Row,
};

/// The system that is compared with the others.
const OURS: &str = "qnfsm";

/// The head of a case's table.
pub fn head(case: &str) -> String {
    format!(
        "\n{case}\n{:<11} {:>4} {:<24} {:<12} {:<10} {:>9} {:>9} {:>9} {:<12} {:>9} {:>7} {:>7}\n",
        "class", "B", "system", "version", "recording", "median", "min", "max", "unit", "limit", "× limit", "× ours"
    )
}

/// The rows of one group. `× limit` is the value in terms of the limit's, `× ours` in terms of the value of ours that records
/// nothing: 3 in the row of a peer means that ours takes a third.
pub fn body(rows: &[Row]) -> String {
    let ours = rows.iter().find(|row| row.system == OURS && row.recording == Recording::Off);
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let Row { system, version, unit, .. } = row;
        let (class, payload) =
            if index == 0 { (class(row.class), row.payload_bytes.to_string()) } else { Default::default() };
        let times_ours = ours.filter(|ours| ours.unit == *unit && ours.value > 0.0).map(|ours| row.value / ours.value);
        let (value, min, max) = (figure(row.value), figure(row.min), figure(row.max));
        let (limit, times_limit) = (row.limit.map_or_else(String::new, figure), times(row.ratio));
        let recording = row.recording;
        writeln!(
            text,
            "{class:<11} {payload:>4} {system:<24} {version:<12} {recording:<10} {value:>9} {min:>9} {max:>9} {unit:<12} \
             {limit:>9} {times_limit:>7} {:>7}",
            times(times_ours)
        )
        .expect("a text takes all that is written to it");
    }
    text
}

fn class(class: Class) -> String {
    class.to_string()
}

/// Three digits at least, and no more behind the point than make sense.
fn figure(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(String::new, figure)
}

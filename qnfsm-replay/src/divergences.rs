//! Counts divergences through the `metrics` facade, by the name under which a node counts those that its recovery finds. A replay
//! publishes nothing else.

use metrics::{Unit, counter, describe_counter};
use qnfsm::journal::Manifest;

const DIVERGENCES: &str = "qnfsm_divergences_total";

/// A replay of that node's journal found one.
pub(crate) fn count(of: &Manifest) {
    describe_counter!(DIVERGENCES, Unit::Count, "Rounds that did something else when they were run again.");
    let (program, node) = (of.program.clone(), of.node.0.to_string());
    counter!(DIVERGENCES, "program" => program, "node" => node, "found_by" => "replay").increment(1);
}

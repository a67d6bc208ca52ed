//! In steady state no message costs an allocation of the library's: not within a worker, and between the workers of a node
//! only blocks of batches and syncs do. What is true of many timers, and of recording each delivery, is said where it is
//! asserted.
//!
//! Each case runs in a process of its own, whose allocator counts (`src/bin/allocations`). A failure shows where the
//! allocations were made.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::process::Command;

use serde_json::Value;

/// What a case counted, after it was warm.
struct Counted {
    messages: u64,
    rounds: u64,
    allocations: u64,
    whole: Value,
}

/// Runs a case, which handles a few 10,000 messages at least.
fn count(case: &str) -> Counted {
    let output = Command::new(env!("CARGO_BIN_EXE_allocations")).arg(case).output().unwrap();
    assert!(output.status.success(), "{case}: {output:?}");
    let whole: Value = serde_json::from_str(String::from_utf8(output.stdout).unwrap().lines().last().unwrap()).unwrap();
    let number = |name: &str| whole[name].as_u64().unwrap();
    let (messages, rounds, allocations) = (number("messages"), number("rounds"), number("allocations"));
    assert!(messages >= 20_000, "{case} handled only {messages} messages");
    Counted { messages, rounds, allocations, whole }
}

#[track_caller]
fn allocates_at_most(case: &str, allocations_max: impl FnOnce(&Counted) -> u64) {
    let counted = count(case);
    let max = allocations_max(&counted);
    assert!(counted.allocations <= max, "{case} made more than {max} allocations: {:#}", counted.whole);
}

#[track_caller]
fn allocates_nothing(case: &str) {
    allocates_at_most(case, |_| 0);
}

#[test]
fn messages_within_a_worker_allocate_nothing() {
    for case in ["ping-pong", "send-self", "fan-out"] {
        allocates_nothing(case);
    }
}

#[test]
fn requests_and_their_answers_within_a_worker_allocate_nothing() {
    allocates_nothing("requests");
}

#[test]
fn a_timer_that_is_reset_or_set_again_when_it_fired_allocates_nothing() {
    for case in ["reset-timer", "timer"] {
        allocates_nothing(case);
    }
}

#[test]
fn a_beat_allocates_nothing() {
    // The one is for the message to come, when the timer is set.
    allocates_at_most("beats", |_| 1);
}

#[test]
fn many_timers_allocate_less_than_once_for_four_that_are_set() {
    // Not nothing: their order is a B-tree, which makes a node for several timers and gives it back.
    allocates_at_most("many-timers", |counted| counted.messages / 4);
}

#[test]
fn batches_between_workers_allocate_nothing() {
    for case in ["batches-of-one", "batches-of-many"] {
        allocates_nothing(case);
    }
}

/// A node's rounds allocate nothing. An inbox takes a block for 31 batches; the rest is for the host's request, and one for each
/// sync, of which there are twenty a second.
fn a_few_for_batches_and_syncs(counted: &Counted) -> u64 {
    let a_few = counted.rounds / 20 + 1_000;
    assert!(a_few <= counted.messages / 200, "too few messages to tell their allocations from those of batches");
    a_few
}

#[test]
fn a_stream_between_a_nodes_workers_allocates_for_blocks_of_batches_alone() {
    allocates_at_most("node", a_few_for_batches_and_syncs);
}

#[test]
fn a_recorded_stream_between_a_nodes_workers_allocates_for_blocks_of_batches_and_syncs_alone() {
    allocates_at_most("node-recorded", a_few_for_batches_and_syncs);
}

#[test]
fn a_stream_that_is_recorded_in_memory_allocates_less_than_once_for_twenty_messages() {
    // Not less: for each snapshot, and ten times a second, the names of all files are looked at.
    allocates_at_most("node-in-memory", |counted| counted.messages / 20);
}

#[test]
fn recording_each_delivery_allocates_for_blocks_of_batches_and_syncs_alone() {
    allocates_at_most("node-recorded-whole", a_few_for_batches_and_syncs);
}

#[test]
fn a_message_that_allocates_is_seen_and_where_it_does() {
    let Counted { messages, allocations, whole, .. } = count("planted");
    assert!(allocations >= messages, "{whole:#}");
    // A turn's first message is handled by itself, so there are two ways to the handler.
    let sites = whole["sites"].as_array().unwrap().iter();
    let by_scribe = sites
        .filter(|site| site["calls"].as_array().unwrap().iter().any(|call| call.as_str().unwrap().contains("Scribe")));
    let allocations: u64 = by_scribe.map(|site| site["allocations"].as_u64().unwrap()).sum();
    assert!(allocations >= messages - 1, "{whole:#}");
}

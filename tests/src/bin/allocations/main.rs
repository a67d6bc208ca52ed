//! `allocations <case>`: runs a case until it is warm, then counts what further messages allocate, and where.
//!
//! Each case is a process of its own, because the counter counts for all threads. The last line of standard output is a JSON
//! object: `messages`, `rounds`, `allocations`, and `sites`, those with the most first, each with the calls that led there.
#![allow(unreachable_pub, reason = "a program has no API: `pub` says what a module offers to the others")]

mod between_workers;
mod counting;
mod in_node;
mod in_worker;
mod player;
mod stage;

use std::{error::Error, process::ExitCode};

use crate::counting::Counted;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// What a case gives.
type Outcome = Result<Counted, Box<dyn Error>>;

/// A case.
type Case = fn() -> Outcome;

/// All cases, by name.
const CASES: [(&str, Case); 15] = [
    ("ping-pong", in_worker::ping_pong),
    ("send-self", in_worker::send_self),
    ("fan-out", in_worker::fan_out),
    ("requests", in_worker::requests),
    ("reset-timer", in_worker::reset_timer),
    ("timer", in_worker::timer),
    ("many-timers", in_worker::many_timers),
    ("beats", in_worker::beats),
    ("planted", in_worker::planted),
    ("batches-of-one", between_workers::batches_of_one),
    ("batches-of-many", between_workers::batches_of_many),
    ("node", in_node::unrecorded),
    ("node-recorded", in_node::recorded),
    ("node-recorded-whole", in_node::recorded_whole),
    ("node-in-memory", in_node::recorded_in_memory),
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some((_, case)) = CASES.iter().find(|(of, _)| *of == name) else {
        let names: Vec<_> = CASES.iter().map(|(name, _)| *name).collect();
        eprintln!("allocations: name one case of {}", names.join(", "));
        return Ok(ExitCode::FAILURE);
    };
    println!("{}", case()?.to_json());
    Ok(ExitCode::SUCCESS)
}

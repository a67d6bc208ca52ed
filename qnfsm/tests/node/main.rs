//! The node: its threads, its recovery, its ways in and out, and what becomes of it when the world misbehaves.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and use clocks and threads to do so"
)]

mod budget;
mod crashes;
mod cuts;
mod damages;
mod disks;
mod durable;
mod files;
mod giving_up;
mod gone;
mod host;
mod ledger;
mod life;
mod metrics;
mod outputs;
mod panics;
mod poison;
mod pressure;
mod probe;
mod reactors;
mod recorder;
mod recover_to;
mod resources;
mod retention;
mod ring;
mod services;
mod snapshots;
#[cfg(target_os = "linux")]
mod threads;
mod upgrade;

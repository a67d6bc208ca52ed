//! The rules of a worker, R1 to R9 of the design, each sentence a test named after its rule. All of them drive a
//! `Worker` through its public face alone; `stage` is the driver, `puppet` the FSM that does what it is told.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod care;
mod effects;
mod hostile;
mod identity;
mod load;
mod observed;
mod order;
mod puppet;
mod random_runs;
mod rounds;
mod stage;
mod timers;
mod twins;
mod ways;

//! The kit for testing FSMs: one FSM or many, in virtual time, on the worker that production runs.
//!
//! [`Drive`] is a driver like the node, the replayer and the simulator: it feeds a worker, runs its rounds and takes what
//! it put out. It holds no rule of scheduling or delivery. Beside the live worker it keeps a twin, restored from a snapshot
//! before each round ([`twin_round`]), and the two may not differ by one byte. So a test that says nothing of it still
//! finds the FSM that depends on something outside its data. [`edge_inputs`] is for tests of edges.
//!
//! With the cargo feature `proptest` inputs are drawn at random, and what must hold is checked at each delivery: `property`.

mod drive;
mod edges;
#[cfg(feature = "proptest")]
pub mod property;
mod setup;
mod stage;
mod twin;
mod world;

pub use drive::Drive;
pub use edges::{admit_new_work, edge_inputs, taken_inputs};
pub use setup::Setup;
pub use twin::{Apart, TwinRound, twin_round};
pub use world::{Spawned, elsewhere, reply_to};

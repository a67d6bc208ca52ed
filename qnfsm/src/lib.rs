//! qnfsm: deterministic finite state machines that talk through queues.
#![forbid(unsafe_code)]

pub mod codec;
mod digest;
pub mod frame;
mod id;
pub mod journal;
mod time;

pub use digest::Digest;
pub use id::{EdgeId, Epoch, NodeId, Place, QueueId, RawQueueId, RequestId, WorkerId};
pub use time::Time;

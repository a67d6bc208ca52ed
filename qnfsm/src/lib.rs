//! qnfsm: deterministic finite state machines that talk through queues.
#![forbid(unsafe_code)]

pub mod codec;
mod digest;
pub mod frame;
mod fsm;
mod id;
pub mod journal;
mod message;
mod node_request;
mod random;
pub mod schema;
mod slots;
mod time;
mod worker;

pub use codec::{Codec, DecodeError, EncodeError, Trust};
pub use digest::Digest;
pub use fsm::{
    Context, External, ExternalFault, Externals, Fsm, Next, OnPanic, Overflow, QueuePolicy, State, TimerId,
};
pub use id::{EdgeId, Epoch, NodeId, Place, QueueId, RawQueueId, RequestId, WorkerId};
pub use message::{DeadLetter, Down, DownReason, Message, NoReply, Reply, ReplyTo, Undelivered};
pub use node_request::NodeRequest;
pub use random::{GENERATOR, Random};
pub use time::Time;
pub use worker::{
    Admission, Catalogue, Counters, Deliveries, Delivery, Fault, FaultKind, ImageError, Kinds, KindsError, Recording,
    RoundEnd, Table, TableKind, TableMessage, TableSchema, Worker, WorkerConfig,
};

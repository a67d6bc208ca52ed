//! qnfsm: deterministic finite state machines that talk through queues.
#![forbid(unsafe_code)]

pub mod codec;
mod digest;
pub mod frame;
mod fsm;
mod id;
pub mod journal;
mod message;
mod node;
mod node_request;
pub mod playback;
mod random;
pub mod schema;
mod slots;
pub mod testing;
mod time;
mod worker;

pub use codec::{Codec, DecodeError, EncodeError, Trust};
pub use digest::Digest;
pub use fsm::{
    Context, External, ExternalFault, Externals, Fsm, Next, OnPanic, Overflow, QueuePolicy, State, TimerId,
};
pub use id::{EdgeId, Epoch, NodeId, Place, QueueId, RawQueueId, RequestId, WorkerId};
pub use message::{DeadLetter, Down, DownReason, Message, NoReply, Reply, ReplyTo, Undelivered};
pub use node::{
    Answer, Host, HostError, IdleStrategy, Inlet, Limits, Node, NodeBuilder, NodeError, Replier, RunOn, StartError, Stopped, build_identity,
    edge::{EdgeSetup, Inputs, Outlet, PutError, Reactor, Unanswered, Wake},
};
pub use node_request::NodeRequest;
pub use random::{GENERATOR, Random};
pub use time::Time;
pub use worker::{
    Admission, Catalogue, Counters, Deliveries, Delivery, Fault, FaultKind, ImageError, Kinds, KindsError, Recording,
    RoundEnd, Table, TableKind, TableMessage, TableSchema, Turn, Worker, WorkerConfig,
};

//! Deterministic finite state machines that talk through queues: every input recorded, every run replayable.
//!
//! A service is built from single-threaded FSMs. An FSM is plain data with a discrete state and a handler; it sees nothing
//! but its messages and what its [`Context`] hands it. All that enters is written to a journal before it is acted on. So a
//! node that was killed carries on from its own journal, and what ran once can be run again on another machine,
//! compared round by round (with the crate `qnfsm-replay`).
//!
//! ```
//! use std::time::Duration;
//! use qnfsm::{Context, Fsm, Kinds, Next, testing::Drive};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Turnstile { coins: u64 }
//!
//! #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
//! enum Gate { Locked, Unlocked }
//!
//! #[derive(Serialize, Deserialize)]
//! enum Event { Coin, Push, Expired }
//!
//! impl Fsm for Turnstile {
//!     const NAME: &'static str = "turnstile";
//!     type State = Gate;
//!     type Message = Event;
//!
//!     fn start(&mut self, _cx: &mut Context<'_, Self>) -> Gate { Gate::Locked }
//!
//!     fn handle(&mut self, gate: Gate, event: Event, cx: &mut Context<'_, Self>) -> Next<Self> {
//!         match (gate, event) {
//!             (Gate::Locked, Event::Coin) => {
//!                 self.coins += 1;
//!                 cx.state_timeout(Duration::from_secs(5), Event::Expired); // cancelled when the state changes
//!                 Next::Goto(Gate::Unlocked)
//!             }
//!             (Gate::Unlocked, Event::Push | Event::Expired) => Next::Goto(Gate::Locked),
//!             (_, other) => Next::Unhandled(other),
//!         }
//!     }
//! }
//!
//! // One function names all kinds; main, replay and tests call the same one.
//! fn kinds() -> Kinds { Kinds::new().with::<Turnstile>() }
//!
//! // In a test: virtual time, and a twin beside the FSM that is restored from a snapshot before each round.
//! let mut t = Drive::new(kinds(), Turnstile { coins: 0 });
//! t.tell(Event::Coin);
//! assert_eq!(t.state(), Gate::Unlocked);
//! t.advance(Duration::from_secs(5));
//! assert_eq!((t.state(), t.fsm().coins), (Gate::Locked, 1));
//! ```
//!
//! In production the same FSM runs in a node, which records in a directory and goes on from what is recorded there:
//!
//! ```
//! # use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder, ReplyTo};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize)] struct Turnstile { coins: u64 }
//! # #[derive(Serialize, Deserialize)] enum Event { Coin, Count(ReplyTo<u64>) }
//! # impl Fsm for Turnstile {
//! #     const NAME: &'static str = "turnstile";
//! #     type State = ();
//! #     type Message = Event;
//! #     fn start(&mut self, _: &mut Context<'_, Self>) {}
//! #     fn handle(&mut self, (): (), event: Event, cx: &mut Context<'_, Self>) -> Next<Self> {
//! #         match event {
//! #             Event::Coin => self.coins += 1,
//! #             Event::Count(reply) => cx.reply(reply, self.coins),
//! #         }
//! #         Next::Stay
//! #     }
//! # }
//! # fn kinds() -> Kinds { Kinds::new().with::<Turnstile>().message::<u64>() }
//! # let dir = std::env::temp_dir().join(format!("qnfsm-front-page-{}", std::process::id()));
//! # let patience = std::time::Duration::from_secs(5);
//! let node = NodeBuilder::new("gate", kinds()).dir(&dir).start(&Turnstile { coins: 0 })?;
//! node.host().send(node.root(), &Event::Coin)?;
//! assert_eq!(node.host().request(node.root(), patience, Event::Count)?, 1);
//! node.stop()?;
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where things are
//!
//! | | |
//! | --- | --- |
//! | [`Fsm`], [`Context`], [`Next`], [`QueuePolicy`], [`OnPanic`] | what you write an FSM against |
//! | [`QueueId`], [`ReplyTo`], [`Reply`], [`Down`], [`DeadLetter`] | names of queues, requests and answers, news |
//! | [`Kinds`] | the kinds of a program, checked when they are registered |
//! | [`OldFsm`], [`OldMessage`], [`UpgradeError`] | what an older version of the program left |
//! | [`NodeBuilder`], [`Node`], [`Host`], [`Limits`] | a process with workers, edges and a journal |
//! | [`NodeRequest`], [`NodeMetrics`] | what an FSM may ask its node; what a node knows of itself |
//! | [`Resource`], [`ContentHash`] | a large table that all FSMs read |
//! | [`Secret`] | a value that is recorded and never shown |
//! | [`Replier`], [`Unanswered`], [`External`] | services for blocking and async work; values read from outside |
//! | [`Reactor`], [`Outlet`], [`Inputs`] | what a network edge is written against |
//! | [`testing`] | one FSM in virtual time; with the feature `proptest`, property tests |
//! | [`Invariants`], [`Checker`] | what must always hold, for property tests and for recorded journals |
//! | [`Worker`], [`Recording`], [`WorkerConfig`] | the scheduler itself, which does no I/O, and what shapes it |
//! | [`playback`], [`journal`], [`frame`], [`codec`], [`schema`] | for drivers and tools: recorded rounds, files, bytes |
//!
//! # Words
//!
//! | | |
//! | --- | --- |
//! | FSM, kind | a value of a type that implements [`Fsm`]; its type is its kind |
//! | queue | every FSM owns one; a [`QueueId`] names it, wherever it is |
//! | worker | a single-threaded scheduler of many FSMs |
//! | node | one process: some workers, edges, one journal, a directory |
//! | epoch | one start of a node |
//! | perimeter | the line round a worker; what crosses it is an input or an output, and a frame of bytes |
//! | batch | frames that enter a worker together |
//! | turn, round | a ready FSM is handed some messages; one batch, then turns until the worker is idle or a bound is reached |
//! | edge | what stands outside and talks to the world: sockets, services, the host program |
//! | source | whatever puts inputs in, and numbers them: a worker or an edge |
//! | snapshot | everything that a worker is, between two rounds |
//! | digest | a hash of what a worker did in a round; recorded, so that a replay proves itself |
//! | divergence | a replay that does not do what was recorded |
//!
//! What an FSM does may depend on nothing but its data, its state, the message and its [`Context`]. The guide in the
//! repository (`docs/guide.md`) has the rules, and `clippy.toml` the bans that a compiler can see.
#![forbid(unsafe_code)]

pub mod codec;
mod digest;
pub mod frame;
mod fsm;
mod id;
mod invariant;
pub mod journal;
mod message;
mod name;
mod node;
mod node_metrics;
mod node_request;
mod panic;
pub mod playback;
mod random;
pub mod schema;
mod secret;
mod slots;
#[doc(hidden)]
pub mod spelt;
pub mod testing;
mod time;
mod worker;

pub use codec::{Codec, DecodeError, EncodeError, Trust};
pub use digest::{Digest, StreamDigest};
pub use fsm::{
    ContentHash, Context, External, ExternalFault, Externals, Fsm, Handler, Next, OldFsm, OldMessage, OnPanic,
    Overflow, QueuePolicy, Resource, State, TimerId, TimerName, UpgradeError,
};
pub use id::{EdgeId, Epoch, NodeId, Place, QueueId, QueueNameError, RawQueueId, RequestId, WorkerId};
pub use invariant::{Checker, Invariants, Transition, Violation};
pub use message::{DeadLetter, Down, DownReason, Message, NoReply, Reply, ReplyTo, Undelivered};
pub use node::{
    Answer, Durability, Host, HostError, IdleStrategy, Inlet, Limits, Node, NodeBuilder, NodeError, OnOtherBuild,
    OnPoison, RanAnew, RecordingError, Replier, RunOn, StartError, Stopped, build_identity,
    edge::{EdgeSetup, Inputs, Outlet, PutError, Reactor, Unanswered, Wake},
};
pub use node_metrics::{Durations, JournalMetrics, NodeMetrics, NodePhase, QueueMetrics, WorkerMetrics};
pub use node_request::NodeRequest;
pub use random::{GENERATOR, Random};
pub use secret::Secret;
pub use time::Time;
pub use worker::{
    Admission, Ask, Asked, AskedAll, At, Came, CameAs, CarryOverError, Catalogue, CellView, Counters, Deliveries,
    Delivery, EncodedFsm, End, Fault, FaultKind, FsmView, ImageError, ImageView, Kinds, KindsError, Observer, Origins,
    OtherResource, Recording, RequestView, RoundEnd, Skip, SnapshotError, Table, TableKind, TableMessage,
    TableResource, TableSchema, TimerLabel, TimerView, Turn, WaitingView, Waits, Worker, WorkerConfig,
};

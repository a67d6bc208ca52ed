//! Replays what a [qnfsm] node recorded, as fast as it goes, and proves that it does the same again.
//!
//! [`replay`] opens a node's directory, plays everything from the journal's start to its end through the workers' own
//! code, several workers at the same time, and compares each round's digest with the recorded one. It changes nothing,
//! needs no permission to write, and uses no snapshot as a starting point, though it compares the workers with those that were
//! taken; unless the journal's beginning was given up: then each worker that was started there goes on from the first that is left and fit for it, or
//! unless it is told to begin with one ([`Options::from`]).
//!
//! ```no_run
//! # fn kinds() -> qnfsm::Kinds { qnfsm::Kinds::new() }
//! use qnfsm_replay::{Options, replay};
//!
//! let report = replay("/var/lib/my-service".as_ref(), kinds(), &Options::new())?;
//! println!("{report}");
//! # Ok::<(), qnfsm_replay::ReplayError>(())
//! ```
//!
//! # Without kinds
//!
//! A journal says itself what its types look like. So these need none:
//!
//! | | |
//! | --- | --- |
//! | [`dump::dump`], [`dump::follow`] | every record, every message, every FSM of a snapshot; some of it; as it grows |
//! | [`dump::snapshot`] | one snapshot |
//! | [`describe::describe`] | what a journal is, in exact numbers |
//! | [`stat::stat`] | rates, sizes, who talks to whom, how long it took |
//! | [`verify::verify`] | whether a directory is sound, and what to do if not |
//! | [`compare::compare`] | where two journals part |
//!
//! # Going through it
//!
//! [`Session`] goes through a journal step by step, in both directions, by calls; [`Debugger`] by lines of what it is told. [`Walk`] goes
//! through it once, round by round. [`Nodes`] goes through those of several nodes at once, causes before effects, and [`Sessions`] walks back
//! from a step of one to what led to it on another.
//!
//! # On the command line
//!
//! A program gets all of it as subcommands with one line, [`cli::main`]; one that has subcommands of its own takes
//! [`cli::Running`] and [`cli::Reading`] among its own arguments, or hands them on to [`cli::run`]. The program `qnfsm` has those that
//! need no kinds.
//!
//! # Exit statuses
//!
//! Each class of [`ReplayError`] has its own, by who must act, and all commands have them:
//!
//! | status | what | who acts |
//! | --- | --- | --- |
//! | 0 | every round did what was recorded; of other commands: done, and of `verify`: sound | nobody |
//! | 1 | a program that runs a node with [`cli::node_main`] could not, or not to its end | the operator |
//! | 1 | `debug`: a `find` found nothing | nobody: it says so |
//! | 2 | used wrongly: arguments, kinds that are not in order, a kind, a worker, a snapshot or anything else that isn't there | the caller |
//! | 10 | not the directory of a node | the caller: another path |
//! | 11 | the directory is empty | the caller: no node has run there |
//! | 12 | the directory does not exist | the caller: another path |
//! | 13 | a node is running there | the operator: stop it, or read a copy; commands that run nothing, and those that draw, have `--live` |
//! | 14 | permission denied | the operator: another user |
//! | 15 | another program's directory | the caller: that program |
//! | 16 | the program's types are other ones than the recorded, or it lacks some: then what can be played without was played | the developer: the build that wrote it |
//! | 17 | the program's resources are other ones than the recorded | the caller: the resources that it was recorded with |
//! | 20 | the journal is damaged; of a replay: or a snapshot that a worker was to begin with, and what could be played without it was played; of `diff` and `bisect`: nothing was found in the part before; of `verify`: anything in the directory is | the operator: a copy; `verify` says what else |
//! | 21 | written by a newer version of the library | the developer: that version |
//! | 30 | diverged: the program does not do what was recorded | the developer: the FSM that is named |
//! | 31 | `cover --min`: fewer pairs of a state and a message were seen than was asked for | the developer: the pairs that are named |
//! | 32 | `bisect`: an invariant doesn't hold | the developer: the step that is printed |
//! | 33 | `diff` of two directories: the journals part | whoever keeps them: the round that is named |
//! | 34 | likewise: all that both have is the same, and one goes on behind the other's end | nobody, or whoever waits for the copy |
//! | 35 | `states`, `cover`: no handler that was chosen is known to have run, so nothing is drawn | the caller: the program that recorded it, or another choice |
//! | 36 | `diff` of two directories: nothing could be compared, because nothing is in both; why is said | the caller: journals that belong together, or a copy that holds more |
//! | 40 | the operating system failed to give the bytes, or to take what is printed | the operator: the disk |
//! | 130 | `debug`: a script was interrupted | nobody |
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a replay stands outside the perimeter: it tells how long it took")]

mod asked;
#[cfg(feature = "cli")]
pub mod cli;
pub mod compare;
pub mod debug;
pub mod describe;
#[cfg(feature = "cli")]
mod diagram;
#[cfg(feature = "metrics")]
mod divergences;
pub mod dump;
mod error;
mod left_out;
mod live;
mod naming;
pub mod nodes;
mod not_begun;
mod partly;
mod player;
mod players;
mod read_ahead;
mod recorded;
mod replay;
mod report;
mod scan;
pub mod session;
mod span;
pub mod stat;
mod status;
pub mod verify;
mod walk;

pub use debug::Debugger;
pub use error::{CorruptJournal, Diverged, ReplayError, UnusableDirectory, WrongProgram};
pub use naming::{NameError, RoundName, SnapshotName};
pub use nodes::{Nodes, Sessions};
pub use not_begun::{DamagedSnapshots, NotBegun, Unfit, UnfitSnapshot};
pub use partly::{LeftWorker, Partly};
pub use replay::{Options, Seen, replay};
pub use report::{EndedIn, LeftOff, Report};
pub use session::Session;
pub use span::{BeganWith, EndedBehind};
pub use walk::{Walk, Walked};

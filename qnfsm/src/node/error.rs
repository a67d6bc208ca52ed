//! What can go wrong with a node: at its start, and while it runs.

use std::{io, path::PathBuf, sync::Arc};

use super::recorder::replay_command;
use crate::{
    id::{EdgeId, Place, RawQueueId, WorkerId},
    journal::{JournalError, LookError, OpenError, Position, ReadError, RecoverToError},
    playback::PlaybackError,
    worker::{CarryOverError, Fault, KindsError, OtherResource},
};

/// Why a node doesn't start. Nothing of what its journal holds is changed, unless the node was told to
/// [recover to](crate::NodeBuilder::recover_to) an earlier position and failed after that. Nothing has left the node, unless it was a
/// thread that the system refused: workers that had theirs may have run by then, as before any other stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kinds are not in order.
    #[error("the program's kinds: {0}")]
    Kinds(#[from] KindsError),
    /// The first FSM's kind is not among them.
    #[error(
        "kind {0} of the node's first FSM is not registered; add it with `Kinds::with` to the function that names the kinds"
    )]
    UnregisteredRoot(&'static str),
    /// The builder was used wrongly.
    #[error("{0}")]
    Misuse(String),
    /// The directory can't be opened.
    #[error("{error}{more}", error = .0, more = if matches!(.0, OpenError::NotANode(_)) { ", or a new or empty one" } else { "" })]
    Open(#[from] OpenError),
    /// The journal can't be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The journal can't be made to end where it was told to.
    #[error("{0}")]
    RecoverTo(#[from] RecoverToError),
    /// The journal can't be begun.
    #[error("{0}")]
    Journal(#[from] JournalError),
    /// The directory belongs to another program.
    #[error("{} belongs to another program, `{wrote}`; start that one there, or give this one another directory", .dir.display())]
    ForeignProgram {
        /// The directory.
        dir: PathBuf,
        /// The program that wrote it.
        wrote: String,
    },
    /// Rounds have to be run again that a program with other types recorded.
    #[error(
        "{} was written by another version of the program, {}{worker} has to be played back from round \
         {round} on, and only the build that recorded it can do that. What differs: {}. Start that build and stop it, then this one; \
         or give another directory",
        .dir.display(), why_played_back(.refused), .differences.join("; ")
    )]
    Changed {
        /// The directory.
        dir: PathBuf,
        /// The worker.
        worker: WorkerId,
        /// Its first round that no snapshot covers.
        round: u64,
        /// What differs.
        differences: Vec<String>,
        /// What is wrong with each of its snapshots that would cover more, the newest first. If none, the version wasn't stopped
        /// cleanly.
        refused: Vec<String>,
    },
    /// Something that another build of the program left can't be carried over to this one.
    #[error("{} was written by another build of the program, and of {worker} this can't be carried over: {source}", .dir.display())]
    Left {
        /// The directory.
        dir: PathBuf,
        /// The worker.
        worker: WorkerId,
        /// What can't be, and why.
        source: Box<CarryOverError>,
    },
    /// Rounds have to be run again that were recorded with resources which this program doesn't have.
    #[error(
        "{} was written with other resources, {}{worker} has to be played back from round {round} on, and a \
         journal's tail belongs to the resources that it was recorded with. What differs: {}. Register those with `Kinds::resource`, \
         start the node and stop it, then start it with these; or, if what was recorded comes out the same with these, allow it with \
         `on_other_build(OnOtherBuild::Run)`, which compares every round and stops at the first that differs",
        .dir.display(), why_played_back(.refused), list(.resources)
    )]
    OtherResources {
        /// The directory.
        dir: PathBuf,
        /// The worker.
        worker: WorkerId,
        /// Its first round that no snapshot covers.
        round: u64,
        /// What differs.
        resources: Vec<OtherResource>,
        /// What is wrong with each of its snapshots that would cover more, the newest first. If none, the node wasn't stopped cleanly.
        refused: Vec<String>,
    },
    /// Rounds have to be run again that another build recorded.
    #[error(
        "{} was written by another build of the program (an executable of {build_bytes} bytes with hash {build:016x}), \
         {}{worker} has to be played back from round {round} on, and a journal's tail belongs to the build that \
         recorded it. Start that build and stop it, then this one; or, if this one handles what was recorded in the same way, allow it \
         with `on_other_build(OnOtherBuild::Run)`, which compares every round whose end is on record, stops at the first that differs, and names those that it could compare with nothing",
        .dir.display(), why_played_back(.refused)
    )]
    OtherBuild {
        /// The directory.
        dir: PathBuf,
        /// The worker.
        worker: WorkerId,
        /// Its first round that no snapshot covers.
        round: u64,
        /// The hash of the executable that recorded it.
        build: u64,
        /// That executable's length in bytes.
        build_bytes: u64,
        /// What is wrong with each of its snapshots that would cover more, the newest first. If none, the build wasn't stopped cleanly.
        refused: Vec<String>,
    },
    /// A segment's table of kinds can't be read.
    #[error(
        "the table of kinds in the journal: {0}; start the build that wrote it, or put the journal back from a copy"
    )]
    Catalogue(String),
    /// A worker's snapshots can't be read, and the journal from its start was given up.
    #[error(
        "{worker} can't be brought back: the journal before segment {oldest_segment}, in which it was started, was given up to keep \
         within `retain_bytes`, and no snapshot of it can be used{}; put the snapshots back from a copy",
        .refused.iter().map(|why| format!("\n  {why}")).collect::<String>()
    )]
    NoSnapshot {
        /// The worker.
        worker: WorkerId,
        /// The oldest segment that there is.
        oldest_segment: u64,
        /// What is wrong with each of its snapshots, the newest first.
        refused: Vec<String>,
    },
    /// The disk gives back something else when a file is read once more.
    #[error(
        "{} was read twice, and {what}: the disk doesn't give back what is on it, and nothing was changed; read it on another \
         machine, or start from a copy",
        .dir.display()
    )]
    Unstable {
        /// The directory.
        dir: PathBuf,
        /// What differed.
        what: String,
    },
    /// The recorded rounds can't be run again.
    #[error("at {position} of the journal: {source}\n{}", .source.remedy())]
    Playback {
        /// Where in the journal.
        position: Position,
        /// What happened.
        source: PlaybackError,
    },
    /// The last recorded round ends in a fault, as it did when it was recorded.
    #[error(
        "the round that ended the node's last run ends it again: {0}; mend that and start the new build with `on_other_build(OnOtherBuild::Run)`: it runs the round anew; or let that message go with `NodeBuilder::on_poison`"
    )]
    Fault(Box<Fault>),
    /// The last recorded round ends in a fault, and isn't skipped: it may have ended well when it was recorded.
    #[error(
        "the round that the journal ends in ends in a fault: {0}. It isn't skipped, because it may have ended when it was recorded, and \
         what it put out have left the node; start the build that wrote it, or a mended one with `on_other_build(OnOtherBuild::Run)`"
    )]
    NotSkipped(Box<Fault>),
    /// The last recorded round takes too long.
    #[error(
        "round {round} of {worker} was run again and didn't end within {within:?}: delivery {delivery} of it, to kind {kind}{}, doesn't \
         return; mend that and start the new build with `on_other_build(OnOtherBuild::Run)`: it runs the round anew; or give it longer with \
         `Limits::attempt`; or let that message go with `NodeBuilder::on_poison`, which the next start does if nothing of its round can have left",
        .queue.map(|queue| format!(" ({queue})")).unwrap_or_default()
    )]
    Endless {
        /// The worker.
        worker: WorkerId,
        /// The round.
        round: u64,
        /// The delivery within the round, counted from 1; 0 if it came to none.
        delivery: u32,
        /// The queue of the FSM that doesn't return.
        queue: Option<RawQueueId>,
        /// Its kind.
        kind: String,
        /// The time that it had.
        within: std::time::Duration,
    },
    /// An edge can't be opened.
    #[error("edge {edge} can't be opened: {source}; give it what it needs, and start the node again")]
    Edge {
        /// The edge.
        edge: EdgeId,
        /// What the system says.
        source: io::Error,
    },
    /// The node can't begin to run.
    #[error("{0}")]
    Node(#[from] NodeError),
    /// The system refuses something else that a node needs.
    #[error("the system refuses {what}: {source}; raise its limits, and start the node again")]
    System {
        /// What is needed.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

fn list(resources: &[OtherResource]) -> String {
    resources.iter().map(OtherResource::to_string).collect::<Vec<_>>().join("; ")
}

/// Why there is something to be played back of a worker of which these snapshots can't be used.
fn why_played_back(refused: &[String]) -> String {
    match refused {
        [] => "and not stopped cleanly: ".to_owned(),
        _ => format!(
            "and snapshots that it left can't be used ({}). Unless they are put back from a copy, ",
            refused.join("; ")
        ),
    }
}

impl From<LookError> for StartError {
    fn from(error: LookError) -> StartError {
        match error {
            LookError::Refused(error) => error.into(),
            LookError::Open(error) => error.into(),
            LookError::Read(error) => error.into(),
        }
    }
}

/// Why a running node stopped. What was recorded is there, and the node goes on from it when it is started again, unless it was
/// recorded in memory.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// An FSM brought its worker to a stop.
    #[error("{0}. The node has stopped; mend the FSM, and start it again")]
    Fault(Box<Fault>),
    /// The journal can't be written.
    #[error("{0}")]
    Journal(#[from] JournalError),
    /// An edge became unusable.
    #[error("edge {edge} failed: {source}. The node has stopped; give the edge what it needs, and start it again")]
    Edge {
        /// The edge.
        edge: EdgeId,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// Inboxes and queues hold more than the node may.
    #[error("inboxes and queues hold more than the hard limit of {limit_bytes} bytes; the largest are {}; find out why these are not emptied, or raise `hard_limit_bytes`", .queues.join(", "))]
    HardLimit {
        /// The limit.
        limit_bytes: u64,
        /// The largest queues and inboxes, each with its bytes.
        queues: Vec<String>,
    },
    /// The system gives no further thread.
    #[error("no thread for another worker: {0}; raise the system's limit, or start fewer workers")]
    Thread(Arc<io::Error>),
    /// One of the node's own threads stopped or dropped it, in a port, a service or an edge.
    #[error(
        "the node was stopped or dropped by one of its own threads, which can't wait for itself; what was recorded counts. Stop it from the program's thread, or send `NodeRequest::Stop`"
    )]
    StoppedFromWithin,
    /// A source's numbers don't fit: a fault of the library's or of an edge's.
    #[error("{0}: a fault of an edge or of the library; report it with a copy of the directory")]
    Inconsistent(String),
    /// A node with [`Durability::Memory`](crate::Durability::Memory) stopped for that error. What led to it was written out, if it
    /// could be.
    #[error("{error}\n{}", told(.recording))]
    Recorded {
        /// Why the node stopped.
        error: Box<NodeError>,
        /// The directory of the recording, which a replay takes; or why there is none.
        recording: Result<PathBuf, RecordingError>,
    },
    /// A thread of the node's panicked outside of any FSM.
    #[error(
        "the thread of {0} panicked outside of any FSM: a fault of an edge or of the library; report it with what it said"
    )]
    Panicked(Place),
}

/// Says where the recording of an error is, and how it is replayed.
fn told(recording: &Result<PathBuf, RecordingError>) -> String {
    match recording {
        Ok(dir) => format!(
            "What led to it is recorded in {}. This replays it up to there, here or on another machine with the same executable:\n  {}",
            dir.display(),
            replay_command(dir)
        ),
        Err(why) => format!("What led to it could not be written out: {why}"),
    }
}

/// Why there is no recording.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The node keeps none.
    #[error("the node keeps no recording in memory to write out; start it with `Durability::Memory`")]
    NoRecorder,
    /// The node has stopped, and what it had in memory is gone.
    #[error("the node has stopped, and what it had in memory is gone with it; write a recording while it runs")]
    Stopped,
    /// A worker has not ended its round for so long that what it went on from is not kept any more.
    #[error(
        "more was recorded than is kept since {} had a snapshot; try again when its round has ended, or raise `retain_bytes`",
        .workers.iter().map(WorkerId::to_string).collect::<Vec<_>>().join(", ")
    )]
    NotCovered {
        /// The workers that couldn't be replayed.
        workers: Vec<WorkerId>,
    },
    /// It can't be written where it is to be.
    #[error(transparent)]
    Disk(Box<OpenError>),
}

impl From<OpenError> for RecordingError {
    fn from(error: OpenError) -> RecordingError {
        RecordingError::Disk(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fsm::UpgradeError, playback::Divergence, worker::FaultKind};

    fn fault() -> Box<Fault> {
        Box::new(Fault { worker: WorkerId(1), round: 2, fsm: None, what: FaultKind::QueueFull })
    }

    #[test]
    fn every_start_error_says_what_to_do() {
        let dir = || PathBuf::from("/srv/node");
        let (worker, round) = (WorkerId(1), 2);
        let text = || "it is so".to_owned();
        let refused = || io::Error::from(io::ErrorKind::OutOfMemory);
        let playback = |source| StartError::Playback { position: Position::default(), source };
        let left = CarryOverError { of: text(), why: UpgradeError::UnknownVersion { version: 1 } };
        let resource = OtherResource { name: text(), recorded: 1, own: None };
        let divergence =
            Divergence { worker, round, delivery: None, expected: text(), found: text(), is_of_image: false };
        let texts = [
            (StartError::UnregisteredRoot("lobby"), "add it with `Kinds::with`"),
            (StartError::ForeignProgram { dir: dir(), wrote: text() }, "or give this one another directory"),
            (
                StartError::Changed { dir: dir(), worker, round, differences: vec![text()], refused: vec![] },
                "Start that build and stop it",
            ),
            (
                StartError::OtherResources { dir: dir(), worker, round, resources: vec![resource], refused: vec![] },
                "Register those with `Kinds::resource`",
            ),
            (
                StartError::OtherBuild { dir: dir(), worker, round, build: 1, build_bytes: 2, refused: vec![] },
                "Start that build and stop it",
            ),
            (StartError::Left { dir: dir(), worker, source: Box::new(left) }, "see to it in `upgrade`"),
            (StartError::NoSnapshot { worker, oldest_segment: 3, refused: vec![text()] }, "from a copy"),
            (StartError::Unstable { dir: dir(), what: text() }, "read it on another machine"),
            (StartError::Catalogue(text()), "start the build that wrote it"),
            (playback(PlaybackError::Diverged(Box::new(divergence))), "Start the build that wrote it and stop that"),
            (
                playback(PlaybackError::Contradiction { worker, round, what: text() }),
                "put the journal back from a copy",
            ),
            (StartError::NotSkipped(fault()), "start the build that wrote it"),
            (StartError::Fault(fault()), "mend that and start the new build with"),
            (StartError::Edge { edge: EdgeId(9), source: refused() }, "give it what it needs"),
            (StartError::System { what: "a thread for an edge", source: refused() }, "raise its limits"),
        ];
        for (error, remedy) in texts {
            assert!(error.to_string().contains(remedy), "{error}");
        }
    }

    fn recorded(recording: Result<PathBuf, RecordingError>) -> NodeError {
        NodeError::Recorded { error: Box::new(NodeError::Fault(fault())), recording }
    }

    #[test]
    fn every_end_of_a_node_says_what_to_do() {
        let refused = || Arc::new(io::Error::from(io::ErrorKind::OutOfMemory));
        let texts = [
            (NodeError::Fault(fault()), "mend the FSM, and start it again"),
            (NodeError::Edge { edge: EdgeId(9), source: refused() }, "and start it again"),
            (NodeError::HardLimit { limit_bytes: 1, queues: vec!["a queue".to_owned()] }, "raise `hard_limit_bytes`"),
            (NodeError::Thread(refused()), "raise the system's limit"),
            (NodeError::StoppedFromWithin, "send `NodeRequest::Stop`"),
            (NodeError::Inconsistent("it is so".to_owned()), "report it"),
            (NodeError::Panicked(Place::worker(WorkerId(1))), "report it"),
            (recorded(Ok("/srv/rec".into())), " replay /srv/rec"),
            (recorded(Ok("/srv/rec".into())), "mend the FSM"),
            (
                recorded(Err(RecordingError::NotCovered { workers: vec![WorkerId(1)] })),
                "since w1 had a snapshot; try again",
            ),
            (recorded(Err(RecordingError::Stopped)), "mend the FSM"),
            (recorded(Err(RecordingError::NoRecorder)), "start it with `Durability::Memory`"),
        ];
        for (error, remedy) in texts {
            assert!(error.to_string().contains(remedy), "{error}");
        }
    }
}

//! What a replay that did what was recorded has to say.

use std::fmt;

use qnfsm::WorkerId;
use serde::{Serialize, Serializer};

use crate::{BeganWith, EndedBehind, NotBegun};

/// A replay that did what was recorded, round for round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The name of the program that recorded.
    pub node: String,
    /// The node's identity.
    #[serde(serialize_with = "hex_32")]
    pub identity: u128,
    /// The node's last epoch.
    pub epoch: u32,
    /// The epochs that left anything in the journal.
    pub epochs: u32,
    /// Workers.
    pub workers: u32,
    /// Rounds that were run again.
    pub rounds: u64,
    /// Of these, rounds whose digest the journal does not hold: at most the last one of each worker, where the node did
    /// not stop cleanly.
    pub rounds_unproved: u64,
    /// Messages that handlers were given again.
    pub messages: u64,
    /// The journal's length in bytes.
    pub journal_bytes: u64,
    /// The segment that the journal begins with; if that isn't 1, those before it were given up.
    pub oldest_segment: u64,
    /// Rounds in the journal that can't be run, because they stand before the first snapshot of a worker whose start was given up, or
    /// another version of the program, or one with other resources, recorded them.
    pub rounds_passed_over: u64,
    /// Rounds beside these that were not run, because no snapshot before them could be begun with. Those of workers that were
    /// [left](crate::Partly::left) are not among them.
    pub rounds_not_begun: u64,
    /// The snapshots because of which that is so.
    pub not_begun: Vec<NotBegun>,
    /// The resources with which such a version recorded rounds that were passed over, and which this program doesn't have: each with
    /// both hashes.
    pub other_resources: Vec<String>,
    /// All rounds' digests in one number: the same for equal runs.
    #[serde(serialize_with = "hex_16")]
    pub digest: u64,
    /// The node's last stop was a clean one.
    pub clean: bool,
    /// What a crash left behind the journal's end, if anything.
    pub lost: Option<String>,
    /// The rounds in which the recorded run ended, where it ended in a fault or in the middle of a handler.
    pub ended_in: Vec<EndedIn>,
    /// Another version of the program recorded the journal's end, and that was not played.
    pub left_off: Option<LeftOff>,
    /// This executable isn't the one that wrote the last segment that was played. It does the same, as far as was recorded.
    pub build_differs: bool,
    /// The snapshots with which workers began because that was asked for ([`Options::from`](crate::Options::from)). What they did before was
    /// not looked at.
    pub began_with: Vec<BeganWith>,
    /// The round behind which nothing was looked at, because that was asked for ([`Options::to`](crate::Options::to)).
    pub ended_behind: Option<EndedBehind>,
    /// How long the replay took.
    pub seconds: f64,
}

/// Where another version of the program went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOff {
    /// The first segment of its part.
    pub segment: u64,
    /// What has changed from this program to that one.
    pub differences: Vec<String>,
}

/// A worker's last recorded round that has no end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndedIn {
    /// The worker.
    #[serde(serialize_with = "number")]
    pub worker: WorkerId,
    /// The round.
    pub round: u64,
    /// The record ends before the answer of a port that a handler reads: what the round did then isn't known. Otherwise
    /// the round ends in a fault, in which nothing is missing.
    pub needs_external: bool,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { node, identity, epoch, workers, rounds, messages, journal_bytes, seconds, .. } = self;
        writeln!(f, "node `{node}` ({identity:032x}), up to epoch {epoch}")?;
        writeln!(f, "  {}, {}", count(u64::from(self.epochs), "epoch"), count(u64::from(*workers), "worker"))?;
        writeln!(
            f,
            "  {}, {} handled, {journal_bytes} bytes of journal",
            count(*rounds, "round"),
            count(*messages, "message")
        )?;
        if !self.began_with.is_empty() {
            let with: Vec<_> =
                self.began_with.iter().map(|it| format!("{} after round {}", it.worker, it.round)).collect();
            writeln!(
                f,
                "  from: the snapshots of {}; what these workers did before was not looked at",
                with.join(", ")
            )?;
        }
        match self.ended_behind {
            Some(EndedBehind { ordinal, worker, round }) => {
                writeln!(
                    f,
                    "  to: round {ordinal} of the journal, {round} of {worker}; what follows was not looked at"
                )?;
            }
            None if self.clean => writeln!(f, "  stopped cleanly")?,
            None => writeln!(f, "  did not stop cleanly")?,
        }
        if self.oldest_segment > 1 {
            writeln!(f, "  note: the journal before segment {} was given up", self.oldest_segment)?;
        }
        if self.rounds_passed_over > 0 {
            let rounds = count(self.rounds_passed_over, "round");
            writeln!(f, "  note: {rounds} not run, which stand before the first snapshots to go on from")?;
        }
        for not_begun in &self.not_begun {
            writeln!(f, "  note: {not_begun}")?;
        }
        for resource in &self.other_resources {
            writeln!(
                f,
                "  note: {resource}; register that with `Kinds::resource` to run the rounds that were recorded with it"
            )?;
        }
        if let Some(lost) = &self.lost {
            writeln!(f, "  note: {lost}")?;
        }
        for EndedIn { worker, round, needs_external, what } in &self.ended_in {
            if *needs_external {
                writeln!(f, "  note: the record ends in the middle of round {round} of {worker}: {what}")?;
            } else {
                writeln!(f, "  note: the recorded run ended in round {round} of {worker}; so did the replay: {what}")?;
            }
        }
        if let Some(LeftOff { segment, differences }) = &self.left_off {
            writeln!(
                f,
                "  note: played up to segment {segment}, from which on another version of the program recorded ({}); replay that part with the \
                 build that wrote it",
                differences.join("; ")
            )?;
        }
        if self.build_differs {
            writeln!(f, "  note: this executable is not the one that wrote what was played last")?;
        }
        let proved = rounds - self.rounds_unproved;
        write!(f, "equal: {} proved, {} unproved", count(proved, "round"), self.rounds_unproved)?;
        write!(f, ", digest {:016x}, in {seconds:.3} s", self.digest)
    }
}

/// A number with its noun.
pub(crate) fn count(number: u64, of: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {of}{plural}")
}

fn hex_32<S: Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:032x}"))
}

fn hex_16<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:016x}"))
}

pub(crate) fn number<S: Serializer>(worker: &WorkerId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(worker.0)
}

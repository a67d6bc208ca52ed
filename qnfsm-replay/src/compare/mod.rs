//! Holds two journals against each other, by what they say and without the program that wrote them: a standby's copy or a backup and what
//! it is of, the same inputs given to two builds, the same service run twice.
//!
//! Copies are compared round by round, in everything. Two runs of a service differ in every round's time and so in its digest, and take
//! the same frames in other rounds; so of these the frames of each source are compared, in order, in whichever rounds they came, and where each
//! delivery was recorded, what each FSM was delivered and its states; all without the times in them (`times`). Which of the two it is, the nodes' identities say unless the caller does.
//! What only one of the two records is left out: deliveries count where both have all of a worker's, from its start.
//!
//! # What only one journal has
//!
//! Journals end at different points, and what the one has behind the other's end is no difference: it *goes on*. It is one, and the other
//! *misses* it, as soon as that other one demonstrably went on without it:
//!
//! - Of copies: if the other has anything of its own, or anything common that stands later. A copy is the same in the order of the journal, up to
//!   where it ends; so two that both have something of their own have gone different ways.
//! - A worker: if the other took, on the worker of the one who asked for it, something that this journal has in a later round of that worker than
//!   the one behind which the worker was started. If it was asked for from outside: something that stands later, on whichever worker.
//! - What comes from outside unasked (messages, starts and stops of FSMs, watches), of a source that only one has or that has more there: if the
//!   other took, on the same worker, something that this journal has in a later round of that worker. Whatever comes from outside, answers too:
//!   if the other one has begun a later epoch, because no edge puts in anything of an earlier one then.
//! - An FSM, where deliveries are recorded: by the delivery that spawned it, which both have and in which only one spawned it.
//!
//! What was still on its way when the other one ended doesn't count: what it took in the last round of a worker proves nothing. Nor does
//! anything follow for frames from another worker and for answers from outside: a timer may have brought them, and times are not compared;
//! these go on.
//!
//! # What was given up
//!
//! Of a journal whose beginning was given up that isn't there to be compared, and what the other has of it is no difference either; how much
//! that is is counted. Copies have everything at the same place, so it is what stands before the segment that the one begins with. Of
//! two runs it is what stands before the first thing of a worker and source that both have. Where nothing is in both, nothing goes on: they
//! are [`Incomparable`].
//!
//! # In bounded memory
//!
//! Both are read side by side, that one first which is behind. What is kept is what one has read and the other not yet, a few numbers for each
//! round, frame or delivery, in at most [`MEMORY_DEFAULT`] bytes unless [`Options::memory`] says otherwise; beyond that a few numbers for each worker, source and recorded FSM, and what one record holds.
//! Where that doesn't do, because one has much that the other comes to late or never, both are read once more for it; the verdict is the
//! same.
//!
//! The files: `side` reads one journal, `items` breaks up what it says, `times` leaves times out of values, `comparison` holds both against each other,
//! `missed` judges what only one has, `incomparable` says why two have nothing in common, `detail` looks again at what differs.

mod comparison;
mod detail;
mod incomparable;
mod items;
mod missed;
mod side;
mod times;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use qnfsm::WorkerId;

use crate::{
    CorruptJournal, Options, ReplayError,
    session::{FoundBy, Part, Parted},
};
use comparison::Comparison;
pub use incomparable::Incomparable;
use items::Item;
use side::Side;

/// How much memory it takes to keep what one journal has and the other not yet, unless it is told, in bytes.
pub const MEMORY_DEFAULT: usize = 64 << 20;

/// In what rounds, frames or deliveries can differ; the first that does is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// What entered.
    Inputs,
    /// How many messages a round may handle.
    Bound,
    /// The time that a round was told.
    Time,
    /// What was told in the middle of a round: through ports, and which versions of behaviours it used.
    Told,
    /// What was delivered to FSMs, and what they were after it.
    Deliveries,
    /// What a round did and put out, as its digest says.
    Outcome,
    /// That it is there at all: the other one went on without.
    Missing,
}

impl Aspect {
    /// Those in which things can be compared that both have.
    const COMPARED: [Aspect; 6] =
        [Aspect::Inputs, Aspect::Bound, Aspect::Time, Aspect::Told, Aspect::Deliveries, Aspect::Outcome];
    const COUNT: usize = Aspect::COMPARED.len();
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Aspect::Inputs => "what entered",
            Aspect::Bound => "how many messages the round may handle",
            Aspect::Time => "the time that the round was told",
            Aspect::Told => "what the round was told from outside",
            Aspect::Deliveries => "what was delivered, or what became of it",
            Aspect::Outcome => "what the round did",
            Aspect::Missing => "what only one of them has",
        })
    }
}

/// Two journals, held against each other.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Times and digests were left out, and frames compared in whichever rounds they came.
    pub times_ignored: bool,
    /// How many rounds, or without times frames and deliveries, are the same in both; where they part, as many as were compared until that was
    /// found.
    pub same: u64,
    /// How many only the first has, and how many only the other, behind those that are the same; counted where nothing parts.
    pub more: [u64; 2],
    /// How many of the first, and how many of the other, could not be compared: what the other has given up with its beginning, and all
    /// where nothing is in both. Where they part, as many as were found until then.
    pub not_compared: [u64; 2],
    /// Why nothing at all could be compared; none, if something was.
    pub incomparable: Option<Incomparable>,
    /// What the kinds and message types of the two programs differ in.
    pub other_types: Vec<String>,
    /// Where they part first, in the order of the first; none, if what both have is the same.
    pub parted: Option<Apart>,
    /// Which of them records each delivery of all its workers, as far as it was read.
    pub has_deliveries: [bool; 2],
    /// What keeps each from being read to its end. All that is said is of what stands before.
    pub damaged: [Option<CorruptJournal>; 2],
    /// How often they were read, and the most rounds, frames and deliveries that were kept meanwhile.
    pub effort: Effort,
}

/// What a comparison took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// How often both journals were read.
    pub passes: u32,
    /// How many rounds, frames and deliveries were kept at most.
    pub kept_most: usize,
    /// How many bytes one takes.
    pub bytes_each: usize,
}

impl Compared {
    /// As how closely they were compared, and how to get closer; none, if nothing was or if there is no closer way. Digests of rounds leave nothing out, and only
    /// don't tell what differs.
    #[must_use]
    pub fn closeness(&self) -> Option<String> {
        if self.incomparable.is_some() {
            return None;
        }
        let (whose, with) = match self.has_deliveries {
            [true, true] => return None,
            [true, false] => ("only the first has all its deliveries", "the other too"),
            [false, true] => ("only the other has all its deliveries", "the first too"),
            [false, false] => ("neither has all its deliveries", "both"),
        };
        let is_of_digests =
            self.parted.as_ref().is_some_and(|apart| apart.aspect == Aspect::Outcome && apart.step.is_none());
        let what = match (self.times_ignored, is_of_digests) {
            (true, _) => "what entered",
            (false, true) => "what entered, and digests of what was done",
            (false, false) => return None,
        };
        Some(format!(
            "{what}, as closely as both were recorded: {whose}; to get closer, record {with} with `Recording::Everything`"
        ))
    }
}

/// Where two journals part.
#[derive(Debug, Clone)]
pub struct Apart {
    /// The worker.
    pub worker: WorkerId,
    /// In each of both, the round in which it shows.
    pub at: [Spot; 2],
    /// The worker's last round before it in the first journal in which it did the same, as far as was compared; none, if there is none.
    pub agreed: Option<u64>,
    /// In what they part.
    pub aspect: Aspect,
    /// The one that has it, 0 or 1, if the other misses it: there `at` is what shows that it went on without.
    pub only_in: Option<usize>,
    /// Which frame or delivery it is, if that can be told.
    pub what: Option<String>,
    /// What the first one says.
    pub expected: String,
    /// What the other one says.
    pub found: String,
    /// What of it is another, part by part: `recorded` as the first has it, `found` as the other.
    pub parts: Vec<Part>,
    /// The step in which it shows, if the program was run on both; see [`difference_between`](crate::session::difference_between).
    pub step: Option<Parted>,
    /// What told the step.
    pub found_by: FoundBy,
}

impl Apart {
    /// True if they part in what was done with the same inputs, and not in these.
    #[must_use]
    pub fn is_of_what_was_done(&self) -> bool {
        matches!(self.aspect, Aspect::Outcome | Aspect::Deliveries)
    }
}

/// A round in one of two journals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The segment's file that holds the round's record.
    pub file: PathBuf,
    /// Where in it the record begins, in bytes from its start.
    pub offset: u64,
    /// The number of the round among all rounds of all workers, from 0.
    pub ordinal: u64,
    /// The worker's own number of it.
    pub round: u64,
}

/// Holds the journals of two nodes' directories against each other. Times and digests count, unless the nodes have different identities, which
/// two runs of a service have, or `ignore_times` says otherwise. Nothing is changed there. Of the options
/// [`on_progress`](Options::on_progress) matters, which is told of both journals together, and [`memory`](Options::memory). A journal that is
/// damaged is compared up to there.
///
/// ```
/// # use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Counter { count: u64 }
/// # #[derive(Serialize, Deserialize)] enum Tick { By(u64) }
/// # impl Fsm for Counter {
/// #     const NAME: &'static str = "counter";
/// #     type State = ();
/// #     type Message = Tick;
/// #     fn start(&mut self, _: &mut Context<'_, Self>) {}
/// #     fn handle(&mut self, _: (), Tick::By(n): Tick, _: &mut Context<'_, Self>) -> Next<Self> { self.count += n; Next::Stay }
/// # }
/// # fn kinds() -> Kinds { Kinds::new().with::<Counter>() }
/// use qnfsm_replay::{Options, compare::compare};
///
/// # let dirs = [tempfile::tempdir()?, tempfile::tempdir()?];
/// # for (by, dir) in (1..).zip(&dirs) {
/// #     let node = NodeBuilder::new("counter", kinds()).dir(dir.path()).start(&Counter { count: 0 })?;
/// #     node.host().send(node.root(), &Tick::By(by))?;
/// #     node.stop()?;
/// # }
/// # let [one, other] = [dirs[0].path(), dirs[1].path()];
/// let compared = compare(one, other, None, &Options::new())?;
/// let parted = compared.parted.expect("they were told other numbers");
/// assert!(parted.expected.contains("By(1)") && parted.found.contains("By(2)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When one of them can't be read.
pub fn compare(
    one: &Path,
    other: &Path,
    ignore_times: Option<bool>,
    options: &Options<'_>,
) -> Result<Compared, ReplayError> {
    let mut sides = [Side::open(one, true)?, Side::open(other, true)?];
    let is_same_node = sides[0].manifest.identity == sides[1].manifest.identity;
    let times_ignored = ignore_times.unwrap_or(!is_same_node);
    sides.iter_mut().for_each(|side| side.items.by_rounds = !times_ignored);
    let bytes_each = size_of::<Item>();
    // A list may have as much room again as it takes.
    let waiting_max = options.memory.unwrap_or(MEMORY_DEFAULT) / sides.len() / bytes_each / 2;
    let mut comparison = Comparison::new(sides, is_same_node && !times_ignored, waiting_max);
    comparison.run(options)?;
    let first = comparison.first_of_all();
    let alone = [comparison.alone(0), comparison.alone(1)];
    let incomparable = match first {
        Some(_) => None,
        None => Incomparable::of(&comparison, alone.map(|[lost, more]| lost + more)),
    };
    let more = alone.map(|[_, more]| if first.is_some() || incomparable.is_some() { 0 } else { more });
    let not_compared = alone.map(|[lost, more]| lost + if incomparable.is_some() { more } else { 0 });
    let Comparison { mut sides, same, agreed, passes, waiting_most, .. } = comparison;
    let has_deliveries = sides.each_ref().map(|side| side.items.has_deliveries());
    let damaged = sides.each_ref().map(|side| side.damaged.clone());
    let other_types = detail::other_types(&mut sides)?;
    let parted = match first {
        Some(first) => {
            let before = agreed.get(&first.sequence).map(|agreed| agreed.round);
            Some(detail::apart(&mut sides, &first, before, times_ignored)?)
        }
        None => None,
    };
    let effort = Effort { passes, kept_most: waiting_most, bytes_each };
    Ok(Compared {
        times_ignored,
        same,
        more,
        not_compared,
        incomparable,
        other_types,
        parted,
        has_deliveries,
        damaged,
        effort,
    })
}

//! Holds two journals against each other, by what they say and without the program that wrote them: a standby's copy or a backup and what
//! it is of, the same inputs given to two builds, the same service run twice.
//!
//! Copies are compared round by round, in everything. Two runs of a service differ in every round's time and so in its digest, and take
//! the same frames in other rounds; so of these the frames of each source are compared, in order, in whichever rounds they came, and where each
//! delivery was recorded, what each FSM was delivered and its states; all without the times in them (`times`). Which of the two it is, the nodes' identities say unless the caller does.
//!
//! Both are read once, side by side. What is kept in memory is what one has read and the other not yet: a few numbers for each round or frame.
//! The files: `side` reads one journal, `times` leaves times out of values, `detail` looks again at what differs.

mod detail;
mod side;
mod times;

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use qnfsm::{
    WorkerId,
    journal::{Manifest, Position},
};

use crate::{
    Options, ReplayError, Seen,
    session::{FoundBy, Part, Parted},
};
use side::{Item, Sequence, Side};

/// How many records are read of the one before the other goes on.
const RECORDS_AT_A_TIME: usize = 256;

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
}

impl Aspect {
    const ALL: [Aspect; 6] =
        [Aspect::Inputs, Aspect::Bound, Aspect::Time, Aspect::Told, Aspect::Deliveries, Aspect::Outcome];
    const COUNT: usize = Aspect::ALL.len();
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
        })
    }
}

/// Two journals, held against each other.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Times and digests were left out, and frames compared in whichever rounds they came.
    pub times_ignored: bool,
    /// How many rounds, or without times frames and deliveries, are the same in both.
    pub same: u64,
    /// How many only the first has, and how many only the other, behind those that are the same; counted where nothing parts.
    pub more: [u64; 2],
    /// What the kinds and message types of the two programs differ in.
    pub other_types: Vec<String>,
    /// Where they part first, in the order of the first; none, if what both have is the same.
    pub parted: Option<Apart>,
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
/// two runs of a service have, or `ignore_times` says otherwise. Nothing is changed there. Of the options only
/// [`on_progress`](Options::on_progress) matters, which is told of both journals together.
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
/// When one of them can't be read, or is damaged before they part.
pub fn compare(
    one: &Path,
    other: &Path,
    ignore_times: Option<bool>,
    options: &Options<'_>,
) -> Result<Compared, ReplayError> {
    let mut sides = [Side::open(one)?, Side::open(other)?];
    let [identity, of_other] = [&sides[0], &sides[1]].map(|side| side.manifest.identity);
    let times_ignored = ignore_times.unwrap_or(identity != of_other);
    if times_ignored {
        sides.iter_mut().for_each(Side::ignore_times);
    }
    let mut comparison = Comparison { sides, same: 0, agreed: BTreeMap::new(), first: None };
    comparison.run(options)?;
    let Comparison { mut sides, same, agreed, first } = comparison;
    let other_types = detail::other_types(&mut sides)?;
    let more = if first.is_some() { [0; 2] } else { [0, 1].map(|side| left(&sides[side])) };
    let parted = match first {
        Some(first) => {
            let before = agreed.get(&first.sequence).copied();
            Some(detail::apart(&mut sides, &first, before, times_ignored)?)
        }
        None => None,
    };
    Ok(Compared { times_ignored, same, more, other_types, parted })
}

/// How many a journal has that the other has not.
fn left(side: &Side) -> u64 {
    side.items.values().map(|items| items.len() as u64).sum()
}

/// Where two sequences part.
#[derive(Debug, Clone, Copy)]
struct First {
    sequence: Sequence,
    items: [Item; 2],
    aspect: Aspect,
}

/// A comparison under way.
struct Comparison {
    sides: [Side; 2],
    same: u64,
    /// By sequence, the round of its last item that is the same in both.
    agreed: BTreeMap<Sequence, u64>,
    first: Option<First>,
}

impl Comparison {
    fn run(&mut self, options: &Options<'_>) -> Result<(), ReplayError> {
        let bytes_total = self.sides.iter().map(Side::bytes).sum();
        loop {
            for number in 0..self.sides.len() {
                for _ in 0..RECORDS_AT_A_TIME {
                    if self.needs_more(number) {
                        self.sides[number].read()?;
                    }
                }
            }
            self.hold_together();
            let bytes = self.sides.iter().map(Side::bytes_read).sum();
            options
                .on_progress
                .iter()
                .for_each(|told| told(Seen { rounds: self.same, messages: 0, bytes, bytes_total }));
            if (0..self.sides.len()).all(|number| !self.needs_more(number)) {
                return Ok(());
            }
        }
    }

    /// True if what that side says next may still matter: of the first one what stands before where they part, of the other one while
    /// something waits for it that does.
    fn needs_more(&self, number: usize) -> bool {
        let [one, other] = &self.sides;
        let Some(first) = self.first.filter(|first| !first.is_of_deliveries()) else {
            return !self.sides[number].is_over;
        };
        let end = first.items[0].at;
        match number {
            // What a round did stands behind it.
            0 => !one.is_over && one.reached <= end,
            _ => !other.is_over && one.items.values().flatten().any(|item| item.at < end),
        }
    }

    /// Compares what both sides have.
    fn hold_together(&mut self) {
        let Comparison { sides: [one, other], same, agreed, first } = self;
        for (sequence, items) in &mut one.items {
            let Some(others) = other.items.get_mut(sequence) else { continue };
            while let (Some(item), Some(of_other)) = (items.front(), others.front()) {
                // What only the one still has the beginning of isn't compared.
                let is_lost = |by: &Manifest| by.oldest_segment > 1 && !agreed.contains_key(sequence);
                let aspect = match item.number.cmp(&of_other.number) {
                    Ordering::Less if is_lost(&other.manifest) => {
                        items.pop_front();
                        continue;
                    }
                    Ordering::Greater if is_lost(&one.manifest) => {
                        others.pop_front();
                        continue;
                    }
                    Ordering::Equal => differs(item, of_other),
                    _ => Some(Aspect::Inputs),
                };
                if let Some(aspect) = aspect {
                    let found = First { sequence: *sequence, items: [*item, *of_other], aspect };
                    if first.as_ref().is_none_or(|first| found.rank() < first.rank()) {
                        *first = Some(found);
                    }
                    items.clear();
                    others.clear();
                    break;
                }
                *same += 1;
                agreed.insert(*sequence, item.round);
                items.pop_front();
                others.pop_front();
            }
        }
    }
}

impl First {
    fn is_of_deliveries(&self) -> bool {
        matches!(self.sequence, Sequence::Deliveries(..))
    }

    /// What entered comes before what was made of it; else that which stands before in the first journal.
    fn rank(&self) -> (bool, Position, Sequence) {
        (self.is_of_deliveries(), self.items[0].at, self.sequence)
    }
}

/// In what two items differ first. What only one of them says is none.
fn differs(one: &Item, other: &Item) -> Option<Aspect> {
    Aspect::ALL.into_iter().find(|aspect| {
        let [one, other] = [one, other].map(|item| item.of[*aspect as usize]);
        one.zip(other).is_some_and(|(one, other)| one != other)
    })
}

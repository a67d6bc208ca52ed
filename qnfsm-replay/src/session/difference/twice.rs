//! Where two runs of the same round part: of one program twice, or of two programs.

use std::collections::{BTreeMap, VecDeque};

use qnfsm::{
    Ask, Catalogue, End, Handler, RawQueueId,
    schema::{Content, Path},
};

use super::{
    Part, PartOf, Parted,
    parts::{Memo, Of},
};
use crate::session::{Inside, Message, RoundLog, Step, step::Wish};

/// A step by its number in its run.
pub(super) type Numbered<'a> = (usize, &'a Step);
/// A step of the one run and that of the other, as far as each has it.
pub(super) type Pair<'a> = [Option<Numbered<'a>>; 2];

/// A step that two runs did not do alike.
pub(super) struct UnlikeStep {
    pub(super) parted: Parted,
    /// Which of them did it: the first one, unless only the other had it.
    pub(super) run: usize,
    pub(super) shows: Shows,
}

/// How much a step that isn't alike shows of that, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shows {
    /// Nothing: only the FSM's data aren't alike.
    Nothing,
    /// What FSMs of its worker are given isn't alike, of which a round's digest doesn't tell.
    Within,
    /// What the digest is of.
    Digest,
}

/// The steps of two runs, each beside that of the other run which it is to be held against: the FSM's step that was given the same, if there is one
/// near, or else its next one. So a handler that runs once more makes those FSMs unlike that it matters to, and not all that come behind it.
pub(super) fn paired<'a>(runs: [&'a RoundLog; 2]) -> Vec<Pair<'a>> {
    let mut by_queue: BTreeMap<RawQueueId, [VecDeque<Numbered<'_>>; 2]> = BTreeMap::new();
    for (run, log) in runs.into_iter().enumerate() {
        for (number, step) in log.steps.iter().enumerate() {
            by_queue.entry(step.queue).or_default()[run].push_back((number, step));
        }
    }
    let mut all: Vec<_> = by_queue.into_values().flat_map(aligned).collect();
    all.sort_by_key(|[one, other]| (one.or(*other).map(|(number, _)| number), one.is_some()));
    all
}

/// Those of one FSM.
fn aligned<'a>([mut ones, mut others]: [VecDeque<Numbered<'a>>; 2]) -> Vec<Pair<'a>> {
    let is_near = |(_, step): &Numbered<'_>, among: &VecDeque<Numbered<'_>>| {
        among.iter().skip(1).take(NEAR_STEPS).any(|(_, other)| is_given_the_same(step, other))
    };
    let mut all = Vec::new();
    while let (Some(one), Some(other)) = (ones.front(), others.front()) {
        let is_same = is_given_the_same(one.1, other.1);
        if !is_same && is_near(one, &others) {
            all.push([None, others.pop_front()]);
        } else if !is_same && is_near(other, &ones) {
            all.push([ones.pop_front(), None]);
        } else {
            all.push([ones.pop_front(), others.pop_front()]);
        }
    }
    all.extend(ones.into_iter().map(|one| [Some(one), None]));
    all.extend(others.into_iter().map(|other| [None, Some(other)]));
    all
}

/// How far on the step is looked for that was given the same: it bounds what a round takes in which an FSM is given much that isn't alike.
const NEAR_STEPS: usize = 16;

fn is_given_the_same(one: &Step, other: &Step) -> bool {
    let message = |step: &Step| step.message.clone().map(|message| Message { happening: None, ..message });
    one.handler == other.handler && message(one) == message(other)
}

/// The first step that two runs of a round did not do alike.
pub(in crate::session) fn first_difference(catalogue: &Catalogue, logs: [&RoundLog; 2]) -> Option<Parted> {
    differences(catalogue, &mut Memo::default(), logs).next().map(|unlike| unlike.parted)
}

/// The steps that two runs of a round did not do alike. That a map in an FSM's data has the same entries in another order is no difference
/// as long as nobody was told.
pub(super) fn unlike(catalogue: &Catalogue, memo: &mut Memo, logs: [&RoundLog; 2]) -> Vec<UnlikeStep> {
    if logs[0].steps == logs[1].steps {
        return Vec::new();
    }
    let is_order = |part: &Part| part.of == PartOf::Data && part.is_order_of_map();
    let matters = |UnlikeStep { parted, shows, .. }: &UnlikeStep| {
        *shows > Shows::Nothing || parted.parts.is_empty() || !parted.parts.iter().all(is_order)
    };
    differences(catalogue, memo, logs).filter(matters).collect()
}

/// What isn't alike of what an FSM started with.
pub(super) fn started_with(
    catalogue: &Catalogue,
    memo: &mut Memo,
    one: &Step,
    other: &Step,
) -> Vec<[Option<Content>; 2]> {
    let parts = memo.parts(catalogue.table(), Of::Data(one.kind), &one.before.data, &other.before.data);
    parts.into_iter().map(|(_, values)| values).collect()
}

fn differences<'a>(
    catalogue: &'a Catalogue,
    memo: &'a mut Memo,
    logs: [&'a RoundLog; 2],
) -> impl Iterator<Item = UnlikeStep> + 'a {
    let unlike = move |run: usize, (number, step): Numbered<'_>, parts, shows| {
        let RoundLog { ordinal, round, .. } = *logs[run];
        UnlikeStep { parted: Parted { ordinal, round, number, step: step.clone(), parts }, run, shows }
    };
    paired(logs).into_iter().filter_map(move |pair| match pair {
        [Some((_, one)), Some((_, other))] if is_alike(one, other) => None,
        [Some(one), Some((_, other))] => {
            let shows = match () {
                () if digested(one.1) != digested(other) => Shows::Digest,
                () if without_data(one.1) != without_data(other) => Shows::Within,
                () => Shows::Nothing,
            };
            Some(unlike(0, one, parted(catalogue, memo, one.1, other), shows))
        }
        [Some(only), None] => Some(unlike(0, only, Vec::new(), Shows::Digest)),
        [None, only] => only.map(|only| unlike(1, only, Vec::new(), Shows::Digest)),
    })
}

/// True if two steps of an FSM came to the same, whenever in the round that was. That its data were others before is no difference of the step that
/// made them alike again.
fn is_alike(one: &Step, other: &Step) -> bool {
    one == other || (one.after.data == other.after.data && without_data(one) == without_data(other))
}

/// What of a step a round's digest is of, as far as it is told here.
fn digested(step: &Step) -> (&Handler, &[u8], &End, Vec<&Wish>) {
    let asked = step.asked.iter().filter(|wish| is_digested(step.queue, wish));
    (&step.handler, &step.after.state, &step.end, asked.collect())
}

/// True if a round's digest is of what is asked for: it leaves the worker, or is of timers.
pub(super) fn is_digested(asker: RawQueueId, wish: &Wish) -> bool {
    match wish.what {
        Ask::Send { to, .. } | Ask::Reply { to, .. } | Ask::Fail { to, .. } => to.place() != asker.place(),
        Ask::SendSelf | Ask::Spawn { .. } => false,
        _ => true,
    }
}

/// A step without the FSM's data, and without the place that it has among all others.
fn without_data(step: &Step) -> Step {
    let message = step.message.clone().map(|message| Message { happening: None, ..message });
    let inside = |inside: &Inside| Inside { state: inside.state.clone(), data: Vec::new() };
    let (before, after) = (inside(&step.before), inside(&step.after));
    Step { delivery: 0, message, before, after, end: step.end.clone(), asked: step.asked.clone(), ..*step }
}

fn parted(catalogue: &Catalogue, memo: &mut Memo, step: &Step, again: &Step) -> Vec<Part> {
    if (step.queue, step.handler) != (again.queue, again.handler) {
        return Vec::new();
    }
    let (table, kind) = (catalogue.table(), step.kind);
    let mut all = Vec::new();
    let mut compare = |of, values, found: &[u8], again: &[u8]| {
        let differing = memo.parts(table, values, found, again).into_iter();
        all.extend(differing.map(|(path, [found, again])| Part { of, path, recorded: None, found, again }));
    };
    if let (Some(found), Some(again)) = (&step.message, &again.message) {
        compare(PartOf::Message, Of::Message(found.type_number), &found.bytes, &again.bytes);
    }
    compare(PartOf::State, Of::State(kind), &step.after.state, &again.after.state);
    compare(PartOf::Data, Of::Data(kind), &step.after.data, &again.after.data);
    let asked = step.asked.iter().zip(&again.asked);
    let same =
        asked.take_while(|(found, again)| found.what == again.what).enumerate().map(|(number, (found, again))| {
            let number_of = found.type_number.unwrap_or_default();
            let is_start = matches!(found.what, Ask::Spawn { .. } | Ask::SpawnOn { .. });
            let values = if is_start { Of::Data(number_of) } else { Of::Message(number_of) };
            compare(PartOf::Asked(number), values, &found.bytes, &again.bytes);
        });
    let same = same.count();
    if same < step.asked.len().max(again.asked.len()) {
        let of = PartOf::Asked(same);
        all.push(Part { of, path: Path::default(), recorded: None, found: None, again: None });
    }
    all
}

#[cfg(test)]
mod tests {
    use qnfsm::{CameAs, NodeId, Place, Time, WorkerId, journal::Position};

    use super::*;

    fn queue(slot: u32) -> RawQueueId {
        RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), slot, 1)
    }

    /// A round of messages of those bytes to those queues, in that order.
    fn round(given: &[(u32, u8)]) -> RoundLog {
        let step = |(number, (slot, byte)): (usize, &(u32, u8))| Step {
            delivery: u32::try_from(number).unwrap() + 1,
            queue: queue(*slot),
            kind: 0,
            handler: Handler::Handle,
            message: Some(Message {
                sender: queue(0),
                type_number: 0,
                as_what: CameAs::Message,
                happening: Some(number as u64 + 100),
                bytes: vec![*byte],
            }),
            before: Inside::default(),
            after: Inside::default(),
            end: End::Stayed,
            asked: Vec::new(),
        };
        RoundLog {
            ordinal: 0,
            worker: WorkerId(0),
            round: 1,
            position: Position::default(),
            now: Time::default(),
            fed_at: 0,
            batches: Vec::new(),
            steps: given.iter().enumerate().map(step).collect(),
            outputs: Vec::new(),
        }
    }

    /// The numbers of those that aren't alike, in each run.
    fn unlike_of(one: &[(u32, u8)], other: &[(u32, u8)]) -> Vec<[Option<usize>; 2]> {
        let (one, other) = (round(one), round(other));
        let is_unlike = |pair: &Pair<'_>| !matches!(pair, [Some((_, one)), Some((_, other))] if is_alike(one, other));
        let unlike = paired([&one, &other]).into_iter().filter(is_unlike);
        unlike.map(|pair| pair.map(|step| step.map(|(number, _)| number))).collect()
    }

    #[test]
    fn a_step_that_only_one_run_has_makes_no_other_one_unlike() {
        let all = [(1, 7), (2, 8), (1, 9), (3, 7)];
        for at in 0..=all.len() {
            for extra in [(1, 99), (2, 99), (4, 99)] {
                let mut more = all.to_vec();
                more.insert(at, extra);
                assert_eq!(unlike_of(&all, &more), [[None, Some(at)]], "{more:?}");
                assert_eq!(unlike_of(&more, &all), [[Some(at), None]], "{more:?}");
            }
        }
        assert_eq!(unlike_of(&all, &all), [[None; 2]; 0]);
    }

    #[test]
    fn what_only_the_other_run_has_stands_before_what_came_behind_it() {
        assert_eq!(unlike_of(&[(1, 7)], &[(2, 7), (1, 8)]), [[None, Some(0)], [Some(0), Some(1)]]);
    }

    #[test]
    fn another_message_in_the_same_place_is_held_against_that() {
        assert_eq!(unlike_of(&[(1, 7), (1, 8)], &[(1, 7), (1, 9)]), [[Some(1), Some(1)]]);
    }
}

//! Which steps led to what isn't alike in two plays of one worker.
//!
//! Each part of an FSM that isn't alike, and each thing on its way from one FSM to another, is kept with the steps that it comes from. What a
//! step makes that was given nothing unlike begins there. What one makes that was, comes from there if it is the very value; otherwise it may come
//! from anything of that, or of the step itself: then all of them are named, for nothing on record tells more.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use qnfsm::{
    Ask, CameAs, Catalogue, End, RawQueueId, RequestId,
    schema::{Content, Path},
};

use super::{
    Part, PartOf, Parted,
    parts::Memo,
    twice::{Pair, Shows, UnlikeStep, is_digested, paired, started_with, unlike},
};
use crate::session::{Message, RoundLog, Step, step::Wish};

/// A step, and the round as one of the plays ran it.
type Ran = (Parted, Arc<RoundLog>);

/// The steps that led somewhere, the likeliest first.
pub(super) struct Cause {
    pub(super) step: Parted,
    /// The round of that one.
    pub(super) log: Arc<RoundLog>,
    /// It may have been one of these as well.
    pub(super) others: Vec<Parted>,
    /// What it led to is what a round's digest, or an image's, is of.
    pub(super) is_shown: bool,
}

/// By what it shows in a round that the plays aren't alike.
pub(super) struct Shown {
    shows: Shows,
    /// Where that comes from.
    from: Sources,
    /// The first steps of the round that weren't alike.
    unlike: Vec<Ran>,
}

/// A step by the ordinal of its round, the play that ran it so, and its number there.
type StepName = (u64, usize, usize);

/// The steps that something comes from, the likeliest first.
type Sources = Vec<StepName>;
/// No step: it isn't known where it comes from.
const UNKNOWN: StepName = (u64::MAX, 0, 0);

/// A value as the two plays have it.
type Values = [Option<Content>; 2];

/// A part of an FSM that isn't alike.
struct Trace {
    of: PartOf,
    path: Path,
    values: Values,
    from: Sources,
}

/// What something is known by on its way to an FSM.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// A message, or a timer's.
    Given { to: RawQueueId, type_number: u32, bytes: Vec<u8> },
    /// What comes of a request.
    Outcome { to: RawQueueId, request: RequestId },
    /// What an FSM starts with.
    Start(RawQueueId),
}

impl Way {
    /// Of what an FSM asks for; none, if nobody in its worker is given anything.
    fn of_wish(asker: RawQueueId, wish: &Wish) -> Option<Way> {
        let given =
            |to| Way::Given { to, type_number: wish.type_number.unwrap_or_default(), bytes: wish.bytes.clone() };
        Some(match wish.what {
            Ask::Send { to, .. } => given(to),
            Ask::SendSelf | Ask::SetTimer { .. } => given(asker),
            Ask::Reply { to, request } | Ask::Fail { to, request } => Way::Outcome { to, request },
            Ask::Spawn { queue } => Way::Start(queue),
            _ => return None,
        })
    }

    /// Of what a step was given.
    fn of_step(step: &Step) -> Way {
        let to = step.queue;
        match &step.message {
            None => Way::Start(to),
            Some(Message { as_what, type_number, bytes, .. }) => match *as_what {
                CameAs::Outcome(request) => Way::Outcome { to, request },
                _ => Way::Given { to, type_number: *type_number, bytes: bytes.clone() },
            },
        }
    }

    fn bytes(&self) -> usize {
        let Way::Given { bytes, .. } = self else { return size_of::<Way>() };
        size_of::<Way>() + bytes.len()
    }
}

/// How much memory may be taken, in bytes. Where that isn't enough, causes aren't told.
const BYTES_MAX: usize = 64 << 20;

/// About what a part of an FSM takes that isn't alike, and how many steps are named that it may come from.
const TRACE_BYTES: usize = 256;
const FROM_MAX: usize = 8;

/// All that isn't alike in two plays, with where it comes from.
#[derive(Default)]
pub(super) struct Causes {
    by_fsm: BTreeMap<RawQueueId, Vec<Trace>>,
    under_way: BTreeMap<Way, Sources>,
    steps: BTreeMap<StepName, Ran>,
    traces: usize,
    /// How much memory the steps' rounds take, and what is under way.
    bytes: usize,
    is_lost: bool,
    memo: Memo,
}

impl Causes {
    /// Takes in what wasn't alike in a round, and gives where that comes from by which it shows most.
    pub(super) fn note(&mut self, catalogue: &Catalogue, logs: &[Arc<RoundLog>; 2]) -> Option<Shown> {
        let both = [&*logs[0], &*logs[1]];
        if self.is_lost {
            return None;
        }
        let unlike = unlike(catalogue, &mut self.memo, both);
        if unlike.is_empty() && self.by_fsm.is_empty() {
            return None;
        }
        let (mut unlike, mut shown) = (unlike.into_iter().peekable(), None::<Shown>);
        for pair in paired(both) {
            let numbers = pair.map(|step| step.map(|(number, _)| number));
            let Some(unlike) = unlike.next_if(|unlike| numbers[unlike.run] == Some(unlike.parted.number)) else {
                self.forget(pair[0].or(pair[1]).map(|(_, step)| step.queue));
                continue;
            };
            let (queue, shows) = (unlike.parted.step.queue, unlike.shows);
            let ran = (unlike.parted.clone(), logs[unlike.run].clone());
            let from = self.step(catalogue, logs, pair, unlike);
            let shown = shown.get_or_insert_with(|| Shown { shows, from: from.clone(), unlike: Vec::new() });
            shown.unlike.extend(Some(ran).filter(|_| shown.unlike.len() < FROM_MAX));
            if shows > shown.shows {
                (shown.shows, shown.from) = (shows, from);
            }
            if let [Some((_, one)), Some((_, other))] = pair
                && [&one.end, &other.end] == [&End::Stopped; 2]
            {
                self.forget(Some(queue));
            }
        }
        self.keep_within_memory();
        shown
    }

    /// What led there; none, if that isn't known. Where nothing of what a digest is of isn't alike, it may as well be what any of the steps did.
    /// Where each delivery is recorded, a digest is of all.
    pub(super) fn of(&self, shown: &Shown, records_all: bool) -> Option<Cause> {
        let is_shown = records_all || shown.shows == Shows::Digest;
        let mut cause = self.told(&shown.from, is_shown)?;
        if !is_shown {
            let named = |parted: &Parted| (parted.ordinal, parted.number);
            let is_new = |(step, _): &&Ran| named(step) != named(&cause.step);
            let others: Vec<_> = shown.unlike.iter().filter(is_new).map(|(step, _)| step.clone()).collect();
            cause.others.retain(|known| others.iter().all(|other| named(other) != named(known)));
            cause.others.extend(others);
        }
        Some(cause)
    }

    /// What led to all that isn't alike now, the earliest first; none, if that isn't known.
    pub(super) fn of_all(&self) -> Option<Cause> {
        let of_fsms = self.by_fsm.values().flatten().flat_map(|trace| &trace.from);
        let mut all: BTreeSet<StepName> = of_fsms.copied().collect();
        if all.is_empty() {
            all = self.under_way.values().flatten().copied().collect();
        }
        self.told(&all.into_iter().take(FROM_MAX).collect::<Sources>(), true)
    }

    fn told(&self, from: &[StepName], is_shown: bool) -> Option<Cause> {
        if self.is_lost {
            return None;
        }
        let mut all = from.iter().map(|name| self.steps.get(name).cloned()).collect::<Option<Vec<_>>>()?.into_iter();
        let (step, log) = all.next()?;
        Some(Cause { step, log, others: all.map(|(step, _)| step).collect(), is_shown })
    }

    /// True if there was more than memory for it.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    fn forget(&mut self, queue: Option<RawQueueId>) -> Vec<Trace> {
        let traces = queue.and_then(|queue| self.by_fsm.remove(&queue)).unwrap_or_default();
        self.traces -= traces.len();
        traces
    }

    /// Takes in a step that isn't alike, and gives where that comes from.
    fn step(
        &mut self,
        catalogue: &Catalogue,
        logs: &[Arc<RoundLog>; 2],
        pair: Pair<'_>,
        unlike: UnlikeStep,
    ) -> Sources {
        let UnlikeStep { parted, run, shows, .. } = unlike;
        let name = (parted.ordinal, run, parted.number);
        let (queue, log) = (parted.step.queue, &logs[run]);
        let given = self.given(catalogue, pair, &parted.parts);
        let before = self.forget(Some(queue));
        let own = Inputs { name, given: given.as_ref(), before: &before, is_named: Cell::new(false) };
        let is_only = pair.iter().any(Option::is_none);
        let after = parted.parts.iter().filter(|part| matches!(part.of, PartOf::State | PartOf::Data));
        let mut traces: Vec<_> = after.filter(|part| !part.is_order_of_map()).map(|part| own.trace(part)).collect();
        let steps = pair.map(|step| step.map(|(_, step)| step));
        let is_end = |step: Option<&Step>| step.is_some_and(|step| matches!(step.end, End::Stopped | End::Failed(_)));
        if let [Some(_), Some(_)] = steps
            && is_end(steps[0]) != is_end(steps[1])
        {
            traces.push(Trace { of: PartOf::State, path: Path::default(), values: [None, None], from: own.all() });
        }
        let asked = steps.map(|step| step.map_or(&[][..], |step| &step.asked[..]));
        for number in 0..asked[0].len().max(asked[1].len()) {
            let wishes = asked.map(|all| all.get(number));
            if wishes[0] != wishes[1] {
                let from = own.of_parts(parted.parts.iter().filter(|part| part.of == PartOf::Asked(number)));
                let ways = wishes.into_iter().flatten().filter_map(|wish| Way::of_wish(queue, wish));
                ways.collect::<Vec<_>>().into_iter().for_each(|way| self.send(way, &from));
            }
        }
        let is_shown = |part: &&Part| match (shows, part.of) {
            (Shows::Digest, PartOf::Asked(number)) => {
                asked.iter().any(|all| all.get(number).is_some_and(|wish| is_digested(queue, wish)))
            }
            (Shows::Digest, of) => of == PartOf::State,
            (Shows::Within, of) => matches!(of, PartOf::Asked(_)),
            (Shows::Nothing, of) => of == PartOf::Data,
        };
        let from = own.of_parts(parted.parts.iter().filter(is_shown));
        let is_named = own.is_named.get();
        if is_only {
            traces = before;
        }
        self.traces += traces.len();
        if !traces.is_empty() {
            self.by_fsm.insert(queue, traces);
        }
        if is_named {
            self.keep(name, parted, log);
        }
        from
    }

    /// What a step was given that isn't alike, as values, and where that comes from.
    fn given(&mut self, catalogue: &Catalogue, pair: Pair<'_>, parts: &[Part]) -> Option<(Vec<Values>, Sources)> {
        let of_message = parts.iter().filter(|part| part.of == PartOf::Message);
        let mut values: Vec<Values> = of_message.map(|part| [part.found.clone(), part.again.clone()]).collect();
        if let [Some((_, one)), Some((_, other))] = pair {
            if one.message.is_none() {
                values = started_with(catalogue, &mut self.memo, one, other);
            }
            if values.is_empty() {
                return None;
            }
        }
        let ways: Vec<_> = pair.into_iter().flatten().map(|(_, step)| Way::of_step(step)).collect();
        let is_timer = pair.iter().flatten().any(|(_, step)| {
            step.message.as_ref().is_some_and(|message| matches!(message.as_what, CameAs::Timer { .. }))
        });
        let is_only = pair.iter().any(Option::is_none);
        let unknown =
            (!is_only && pair.iter().flatten().all(|(_, step)| step.message.is_some())).then(|| vec![UNKNOWN]);
        let from = ways.iter().find_map(|way| self.under_way.get(way).cloned()).or(unknown);
        // A periodic timer fires again.
        for way in ways.iter().filter(|_| !is_timer) {
            self.bytes -= self.under_way.remove(way).map_or(0, |_| way.bytes());
        }
        from.map(|from| (values, from))
    }

    fn send(&mut self, way: Way, from: &Sources) {
        let bytes = way.bytes();
        self.bytes += if self.under_way.insert(way, from.clone()).is_none() { bytes } else { 0 };
    }

    fn keep(&mut self, name: StepName, parted: Parted, log: &Arc<RoundLog>) {
        let is_kept = self.steps.range((name.0, name.1, 0)..=(name.0, name.1, usize::MAX)).next().is_some();
        self.bytes += if is_kept { 0 } else { log.bytes() };
        self.steps.insert(name, (parted, log.clone()));
    }

    /// Lets go of the steps that nothing comes from any more.
    fn keep_within_memory(&mut self) {
        if self.bytes + self.traces * TRACE_BYTES <= BYTES_MAX {
            return;
        }
        let of_fsms = self.by_fsm.values().flatten().flat_map(|trace| &trace.from);
        let wanted: BTreeSet<StepName> = of_fsms.chain(self.under_way.values().flatten()).copied().collect();
        self.steps.retain(|name, _| wanted.contains(name));
        let rounds: BTreeMap<_, _> =
            self.steps.iter().map(|(name, (_, log))| ((name.0, name.1), log.bytes())).collect();
        self.bytes = rounds.values().sum::<usize>() + self.under_way.keys().map(Way::bytes).sum::<usize>();
        if self.bytes + self.traces * TRACE_BYTES > BYTES_MAX / 4 * 3 {
            *self = Causes { is_lost: true, ..Causes::default() };
        }
    }
}

/// What a step had that wasn't alike.
struct Inputs<'a> {
    name: StepName,
    given: Option<&'a (Vec<Values>, Sources)>,
    before: &'a [Trace],
    /// The step itself was named.
    is_named: Cell<bool>,
}

impl Inputs<'_> {
    /// Where something comes from that the step made: what has the very value, or else anything.
    fn of(&self, values: &Values) -> Sources {
        let is_value = values[0].is_some() && values[1].is_some() && values[0] != values[1];
        let given = self.given.iter().filter(|(all, _)| is_value && all.contains(values)).map(|(_, from)| from);
        let before = self.before.iter().filter(|trace| is_value && trace.values == *values).map(|trace| &trace.from);
        let same = joined(given.chain(before));
        if same.is_empty() { self.all() } else { same }
    }

    /// Any of what it had, or itself.
    fn all(&self) -> Sources {
        self.is_named.set(true);
        let itself = vec![self.name];
        let given = self.given.iter().map(|(_, from)| from);
        joined(given.chain(self.before.iter().map(|trace| &trace.from)).chain([&itself]))
    }

    fn of_parts<'p>(&self, parts: impl Iterator<Item = &'p Part>) -> Sources {
        let from: Vec<Sources> = parts.map(|part| self.of(&[part.found.clone(), part.again.clone()])).collect();
        if from.is_empty() { self.all() } else { joined(from.iter()) }
    }

    /// Of a part of the FSM: as before, if it is what it was.
    fn trace(&self, part: &Part) -> Trace {
        let (of, path, values) = (part.of, part.path.clone(), [part.found.clone(), part.again.clone()]);
        let was = self.before.iter().find(|trace| (trace.of, &trace.path, &trace.values) == (of, &path, &values));
        let from = was.map_or_else(|| self.of(&values), |was| was.from.clone());
        Trace { of, path, values, from }
    }
}

fn joined<'a>(all: impl Iterator<Item = &'a Sources>) -> Sources {
    let mut joined = Sources::new();
    for name in all.flatten() {
        if joined.len() < FROM_MAX && !joined.contains(name) {
            joined.push(*name);
        }
    }
    joined
}

//! What of a journal was asked for by name or number, held against what it has. Who shows a part of a journal goes through here, so that
//! what isn't there is refused by all in the same words, which say what there is, and never shown as nothing.
//!
//! Names stand in the tables of the journal, and are refused [before it is read](Asked::names). Workers, rounds, times and queues stand in its
//! records alone: they are refused [when all of it was seen](Lookout::missing), and only then, because what could not be read may have them.

use std::{cell::RefCell, collections::BTreeSet, ops::RangeInclusive, path::Path};

use qnfsm::{
    NodeId, RawQueueId, Table, Time, WorkerId,
    journal::{self, Storage, holdings},
    schema::{self, Outlook, Printer},
};

use crate::{
    ReplayError,
    debug::{how_far, instead, there_are},
    dump::{Instant, Own, Tables},
};

/// How many queues are remembered, to name some of those that there are.
const QUEUES_MAX: usize = 256;

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) node: Option<NodeId>,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) queue: Option<RawQueueId>,
    pub(crate) kind: Option<String>,
    pub(crate) variant: Option<String>,
    pub(crate) fields: Vec<schema::Path>,
    pub(crate) rounds: Option<RangeInclusive<u64>>,
    pub(crate) time: Option<RangeInclusive<Time>>,
}

/// Who is told what a journal has, and looks for what was asked for.
#[derive(Debug)]
pub(crate) struct Lookout {
    asked: Asked,
    met: RefCell<Met>,
}

/// What the journal has of it, as far as it was seen.
#[derive(Debug, Default)]
struct Met {
    workers: BTreeSet<WorkerId>,
    /// The first round and the last one of the worker that was asked for; of all, if none was.
    rounds: Option<(u64, u64)>,
    has_round: bool,
    time: Option<(Time, Time)>,
    has_time: bool,
    has_queue: bool,
    queues: BTreeSet<RawQueueId>,
}

impl Asked {
    /// Refuses names that stand in none of the tables, and a node that is none of these.
    pub(crate) fn names(&self, nodes: &[NodeId], tables: &[Tables]) -> Result<(), ReplayError> {
        if let Some(node) = self.node.filter(|node| !nodes.contains(node)) {
            let nodes: Vec<_> = nodes.iter().map(|NodeId(number)| number.to_string()).collect();
            return Err(ReplayError::Misuse(format!("there is no node {}: {}", node.0, there_are(&nodes))));
        }
        let kinds = || tables.iter().flat_map(|tables| tables.kinds().map(|(_, kind)| kind.table.name.as_str()));
        if let Some(kind) = self.kind.as_deref().filter(|asked| !kinds().any(|kind| kind == *asked)) {
            let text = format!("no kind is called `{}`: {}", kind.escape_debug(), instead(kind, kinds()));
            return Err(ReplayError::Misuse(text));
        }
        self.variants_and_fields(tables)
    }

    /// Refuses spans that end before they begin.
    pub(crate) fn spans(&self) -> Result<(), ReplayError> {
        let is_none = |span: Option<bool>| span.is_some_and(|is_empty| is_empty);
        if is_none(self.rounds.as_ref().map(RangeInclusive::is_empty)) {
            return Err(ReplayError::Misuse("the first round that was asked for is behind the last one".to_owned()));
        }
        if is_none(self.time.as_ref().map(RangeInclusive::is_empty)) {
            return Err(ReplayError::Misuse("the first moment that was asked for is behind the last one".to_owned()));
        }
        Ok(())
    }

    fn variants_and_fields(&self, tables: &[Tables]) -> Result<(), ReplayError> {
        let own = Own::new();
        let outlook = |path: &schema::Path| {
            let mut all = Outlook::default();
            tables.iter().flat_map(printers).chain(own.printers()).for_each(|it| all.merge(it.outlook(path)));
            all
        };
        if let Some(variant) = &self.variant {
            let there = outlook(&schema::Path::default()).variants;
            if !there.contains(variant) {
                let names = there.iter().map(String::as_str);
                let text = format!(
                    "no message or state has a variant `{}`: {}",
                    variant.escape_debug(),
                    instead(variant, names)
                );
                return Err(ReplayError::Misuse(text));
            }
        }
        for path in &self.fields {
            let found = outlook(path);
            let is_shown = !found.fields.is_empty() || !found.variants.is_empty() || found.has_places || found.is_plain;
            if is_shown {
                continue;
            }
            let text = match found.is_secret {
                true => format!("`{path}` is a secret; nobody is shown what it holds"),
                false => {
                    let name = |path: &schema::Path| match path.0.is_empty() {
                        true => "what is recorded".to_owned(),
                        false => format!("`{path}`"),
                    };
                    how_far(path, outlook, name)
                }
            };
            return Err(ReplayError::Misuse(text));
        }
        Ok(())
    }
}

impl Lookout {
    pub(crate) fn new(asked: Asked) -> Lookout {
        Lookout { asked, met: RefCell::default() }
    }

    /// What it looks for.
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Notes a worker of which something is said.
    pub(crate) fn saw_worker(&self, worker: WorkerId) {
        if self.asked.worker.is_some() {
            self.met.borrow_mut().workers.insert(worker);
        }
    }

    /// Notes a worker's round of which something is said.
    pub(crate) fn saw_round(&self, worker: WorkerId, round: u64) {
        if let (Some(rounds), true) = (&self.asked.rounds, self.is_of(worker)) {
            let met = &mut *self.met.borrow_mut();
            met.has_round |= rounds.contains(&round);
            let (first, last) = met.rounds.unwrap_or((round, round));
            met.rounds = Some((first.min(round), last.max(round)));
        }
    }

    /// Notes the time of a worker's round.
    pub(crate) fn saw_time(&self, worker: WorkerId, now: Time) {
        if let (Some(time), true) = (&self.asked.time, self.is_of(worker)) {
            let met = &mut *self.met.borrow_mut();
            met.has_time |= time.contains(&now);
            let (first, last) = met.time.unwrap_or((now, now));
            met.time = Some((first.min(now), last.max(now)));
        }
    }

    /// True unless another worker was asked for.
    fn is_of(&self, worker: WorkerId) -> bool {
        self.asked.worker.is_none_or(|asked| asked == worker)
    }

    /// True if a queue was asked for, and none of those that were noted is that.
    pub(crate) fn looks_for_queue(&self) -> bool {
        self.asked.queue.is_some() && !self.met.borrow().has_queue
    }

    /// Notes queues.
    pub(crate) fn saw_queues(&self, queues: impl IntoIterator<Item = RawQueueId>) {
        let Some(asked) = self.asked.queue else { return };
        let met = &mut *self.met.borrow_mut();
        for queue in queues {
            met.has_queue |= queue == asked;
            if met.queues.len() < QUEUES_MAX {
                met.queues.insert(queue);
            }
        }
    }

    /// Refuses what the journal doesn't have, when all of it was seen.
    pub(crate) fn missing(&self) -> Result<(), ReplayError> {
        let met = &*self.met.borrow();
        let refuse = |text: String| Err(ReplayError::Misuse(text));
        if let Some(worker) = self.asked.worker.filter(|worker| !met.workers.contains(worker)) {
            let workers: Vec<_> = met.workers.iter().map(ToString::to_string).collect();
            return refuse(format!("there is no worker {worker} in this journal: {}", there_are(&workers)));
        }
        let whose = self.asked.worker.map_or_else(String::new, |worker| format!(" of {worker}"));
        match met.rounds {
            Some((first, last)) if !met.has_round => {
                return refuse(format!("there is no such round{whose}: the journal holds rounds {first} to {last}"));
            }
            _ => {}
        }
        match met.time {
            Some((first, last)) if !met.has_time => {
                let (first, last) = (Instant(first), Instant(last));
                return refuse(format!(
                    "there is no round{whose} of that time: the journal's are of {first} to {last}"
                ));
            }
            _ => {}
        }
        match self.asked.queue {
            Some(queue) if !met.has_queue => {
                let (queue, names) =
                    (queue.to_string(), met.queues.iter().map(ToString::to_string).collect::<Vec<_>>());
                let names = instead(&queue, names.iter().map(String::as_str));
                refuse(format!("the journal says nothing of a queue {queue}: {names}"))
            }
            _ => Ok(()),
        }
    }
}

/// Who looks into all that values of a program can be.
fn printers(tables: &Tables) -> impl Iterator<Item = &Printer> {
    let kinds = tables.kinds().flat_map(|(_, kind)| [kind.data, kind.state]);
    tables.messages().map(|(_, printer)| printer).chain(kinds)
}

/// The tables that stand in the headers of a journal's segments, each once; none, if one can't be read, which may have any name.
///
/// # Errors
/// When the system fails.
pub(crate) fn tables_of(storage: &dyn Storage, dir: &Path, oldest: u64) -> Result<Option<Vec<Tables>>, ReplayError> {
    let (mut tables, mut last) = (Vec::new(), Vec::new());
    for segment in holdings::segments(storage, dir)?.split_off(&oldest).into_keys() {
        let Some(header) = journal::read_header(storage, dir, segment)? else { return Ok(None) };
        if header.info.catalogue == last {
            continue;
        }
        let Ok(table) = Table::from_bytes(&header.info.catalogue) else { return Ok(None) };
        tables.push(Tables::new(table));
        last = header.info.catalogue;
    }
    Ok((!tables.is_empty()).then_some(tables))
}

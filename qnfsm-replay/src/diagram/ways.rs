//! The way in which events come from walks with the programs' kinds: [`walked`] of one node, [`walked_together`] of several. The other one is
//! from the records alone, in `records`. Whoever draws doesn't know which it was; [`Basis`] says what the way could not tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::ControlFlow,
    sync::Arc,
};

use qnfsm::{
    Ask, CameAs, Catalogue, End, Handler, NodeId, Place, RawQueueId, RequestId, WorkerId,
    frame::{Batch, BatchRef, Class, Frame, Header},
};

use super::event::{At, Crossed, Ended, Event, Feed, Handled, How, Ran, Way};
use crate::{
    Nodes, Walk,
    dump::{DumpError, tables::Tables},
    nodes::{CameIn, NodesWalked},
    session::{Inside, Message, PutOut, RoundLog, Senders, Step, sends},
};

/// What is known of a journal by the way in which it was gone through.
#[derive(Debug, Clone, Default)]
pub(crate) struct Basis {
    /// The records alone were read.
    pub(crate) without_kinds: bool,
    /// The workers of which only the inputs stand in the journal.
    pub(crate) inputs_only: BTreeSet<(NodeId, WorkerId)>,
    pub(crate) rounds: u64,
    /// Several nodes stand in the order of their clocks.
    pub(crate) by_clocks: bool,
    /// What several nodes had to do with one another.
    pub(crate) between: NodesWalked,
}

impl Basis {
    /// What could not be told, and how it can be.
    pub(crate) fn remarks(&self, command: &str) -> Vec<String> {
        let mut remarks = self.between.remarks();
        if !self.without_kinds {
            return remarks;
        }
        if self.by_clocks {
            remarks.push(format!(
                "the nodes stand in the order of their clocks: which round of one led to one of another can't be told without what they put out, \
                 which isn't recorded; `{command} <dir> <dir>` of the program that recorded them tells it"
            ));
        }
        if !self.inputs_only.is_empty() {
            let workers = self.inputs_only.iter().map(|(node, worker)| match node {
                NodeId(0) => worker.to_string(),
                NodeId(node) => format!("n{node}:{worker}"),
            });
            let workers: Vec<_> = workers.collect();
            remarks.push(format!(
                "only what entered them is recorded of {}: what happened within is not shown; `{command} <dir>` of the program that \
                 recorded it runs it again and shows that, or record with `Recording::Everything`",
                workers.join(", ")
            ));
        }
        let rest = "timers, and messages that were postponed or not handled, can't be told from others in a record";
        remarks.push(format!("{rest}; `{command} <dir>` of the program that recorded it tells them"));
        remarks
    }
}

/// Goes through a journal with the program's kinds. What it is based on is told in `basis`, also where it ends early.
pub(crate) fn walked(walk: Walk<'_>, feed: &mut Feed<'_>, basis: &mut Basis) -> Result<(), DumpError> {
    let mut logs = Logs::new(walk.manifest().node, walk.catalogue());
    feed.begin(&[logs.node], std::slice::from_ref(&logs.tables))?;
    feed.enter(&logs.tables);
    let mut failed = None;
    let walked = walk.rounds(|log| {
        basis.rounds += 1;
        logs.show(log, &[], feed).map_or_else(
            |error| {
                failed = Some(error);
                ControlFlow::Break(())
            },
            ControlFlow::Continue,
        )
    });
    failed.map_or(Ok(()), |error| Err(error.into())).and(walked.map(|_| ()).map_err(DumpError::from))?;
    Ok(feed.end()?)
}

/// Goes through the journals of several nodes with their programs' kinds, causes before effects.
pub(crate) fn walked_together(nodes: Nodes<'_>, feed: &mut Feed<'_>, basis: &mut Basis) -> Result<(), DumpError> {
    let mut logs: BTreeMap<NodeId, Logs> =
        nodes.nodes().map(|(manifest, catalogue)| (manifest.node, Logs::new(manifest.node, catalogue))).collect();
    let numbers: Vec<_> = logs.keys().copied().collect();
    let tables: Vec<_> = nodes.nodes().map(|(_, catalogue)| Tables::new(catalogue.table().clone())).collect();
    feed.begin(&numbers, &tables)?;
    logs.values().for_each(|logs| feed.enter(&logs.tables));
    let mut failed = None;
    let Basis { rounds, between, .. } = basis;
    let walked = nodes.rounds_into(between, |round| {
        *rounds += 1;
        let logs = logs.get_mut(&round.node).expect("the rounds are of these nodes");
        logs.show(round.log, round.came, feed).map_or_else(
            |error| {
                failed = Some(error);
                ControlFlow::Break(())
            },
            ControlFlow::Continue,
        )
    });
    failed.map_or(Ok(()), |error| Err(error.into())).and(walked.map_err(DumpError::from))?;
    Ok(feed.end()?)
}

/// What a walk shows, on its way.
struct Logs {
    node: NodeId,
    catalogue: Arc<Catalogue>,
    tables: Tables,
    /// By who asked, and with which request, who has answered.
    answers: BTreeMap<(RawQueueId, RequestId), RawQueueId>,
    /// By who has yet to start, who spawned it.
    parents: BTreeMap<RawQueueId, RawQueueId>,
    /// By happening and worker, what a handler and the enter action behind it asked for, where the latter asked for something.
    entered: BTreeMap<(u64, WorkerId), [Step; 2]>,
}

/// How many answers may be under way, and FSMs have yet to start; of more, the senders of some aren't told.
const UNDER_WAY_MAX: usize = 1 << 16;
/// How many enter actions are remembered by what they asked for. What older ones sent is told as their handler's.
const ENTERED_MAX: usize = 1 << 14;

impl Logs {
    fn new(node: NodeId, catalogue: &Arc<Catalogue>) -> Logs {
        let tables = Tables::new(catalogue.table().clone());
        let (answers, parents, entered) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Logs { node, catalogue: catalogue.clone(), tables, answers, parents, entered }
    }

    /// Shows a round, in which those frames came in from other nodes.
    fn show<'l>(&mut self, log: &'l RoundLog, came: &[CameIn], feed: &mut Feed<'_>) -> io::Result<()> {
        let Logs { node, catalogue, tables, answers, parents, entered } = self;
        let RoundLog { ordinal, worker, round, now, .. } = *log;
        let at = At { node: *node, ordinal, worker, round, now, is_whole: true };
        feed.take(tables, &at, &Event::Round(came))?;
        let here = Place::worker(worker);
        let mut came = came.iter().peekable();
        for batch in log.batches.iter().map(Batch::as_ref) {
            let mut take = |_: &Frame<'_>, mut it: Crossed<'_>| {
                // They stand in the order in which they came in.
                let own = came.next_if(|came| (came.source, came.number) == (it.other, it.number));
                it.sent = own.and_then(|came| came.whence.sending());
                if let (Class::Reply | Class::Failed | Class::Spawned, Some(request)) = (it.class, it.request) {
                    answers.insert((it.to, request), it.from);
                }
                feed.take(tables, &at, &Event::Crossed(it))
            };
            // The frames were taken by a worker, so they are sound.
            frames(&batch, batch.source, here, Way::In, *node, &mut take)?.unwrap_or_default();
        }
        for (number, step) in log.steps.iter().enumerate() {
            let mut ran = ran(step, number, log.fed_at);
            if let Some(message) = &mut ran.message {
                let by = message.put_at.and_then(|put_at| entered.get(&(put_at, worker)));
                message.by_enter = by
                    .is_some_and(|[handler, enter]| !sends(catalogue, handler, step) && sends(catalogue, enter, step));
            }
            if step.handler == Handler::Enter && !step.asked.is_empty() && number > 0 {
                let asked = [number - 1, number].map(|at| asked_only(&log.steps[at]));
                entered.insert((ran.happening, worker), asked);
            }
            if let Some((message, request)) = ran.message.as_mut().zip(step.message.as_ref().and_then(outcome)) {
                message.sender = answers.remove(&(step.queue, request)).unwrap_or(message.sender);
            }
            if step.handler == Handler::Start {
                ran.parent = parents.remove(&step.queue);
            }
            feed.take(tables, &at, &Event::Ran(ran))?;
            for wish in &step.asked {
                match wish.what {
                    Ask::Reply { to, request } | Ask::Fail { to, request } => {
                        answers.insert((to, request), step.queue);
                    }
                    Ask::Spawn { queue } => _ = parents.insert(queue, step.queue),
                    _ => {}
                }
            }
        }
        let mut senders = Senders::of(log);
        for (to, batch) in &log.outputs {
            let mut take = |frame: &Frame<'l>, mut it: Crossed<'_>| {
                if let PutOut::By(step) = senders.next(*to, frame) {
                    it.by = Some(step);
                }
                feed.take(tables, &at, &Event::Crossed(it))
            };
            frames(&batch.as_ref(), *to, *to, Way::Out, *node, &mut take)?.unwrap_or_default();
        }
        while answers.len() > UNDER_WAY_MAX {
            answers.pop_first();
        }
        while parents.len() > UNDER_WAY_MAX {
            parents.pop_first();
        }
        while entered.len() > ENTERED_MAX {
            entered.pop_first();
        }
        Ok(())
    }
}

/// The request whose outcome a message is.
fn outcome(message: &Message) -> Option<RequestId> {
    if let CameAs::Outcome(request) = message.as_what { Some(request) } else { None }
}

/// A step by what it asked for alone.
fn asked_only(step: &Step) -> Step {
    let Step { delivery, queue, kind, handler, ref asked, .. } = *step;
    let (before, after, asked) = (Inside::default(), Inside::default(), asked.clone());
    Step { delivery, queue, kind, handler, message: None, before, after, end: End::Stayed, asked }
}

fn ran(step: &Step, number: usize, fed_at: u64) -> Ran<'_> {
    let message = step.message.as_ref().map(|message| Handled {
        sender: message.sender,
        of: message.type_number,
        bytes: &message.bytes,
        how: match message.as_what {
            CameAs::Timer { .. } => How::Timer,
            CameAs::Outcome(_) => How::Answer,
            _ => How::Message,
        },
        put_at: message.happening,
        by_enter: false,
    });
    let ended = match step.end {
        End::Stayed => Ended::Stayed,
        End::Changed => Ended::Changed,
        End::Postponed => Ended::Postponed,
        End::Unhandled => Ended::Unhandled,
        End::Stopped => Ended::Stopped,
        End::Failed(_) => Ended::Failed,
        End::Skipped(_) => Ended::Skipped,
    };
    Ran {
        queue: step.queue,
        kind: step.kind,
        handler: step.handler,
        parent: None,
        message,
        before: (step.handler != Handler::Start).then_some(&step.before.state[..]),
        after: (!matches!(ended, Ended::Stopped | Ended::Failed)).then_some(&step.after.state[..]),
        ended,
        number,
        happening: fed_at + u64::from(step.delivery),
    }
}

/// Shows the frames of a batch to whom `to` says. The inner error says what is wrong with them.
pub(super) fn frames<'b>(
    batch: &BatchRef<'b>,
    other: Place,
    to: Place,
    way: Way,
    node: NodeId,
    take: &mut dyn FnMut(&Frame<'b>, Crossed<'_>) -> io::Result<()>,
) -> io::Result<Result<(), String>> {
    for (number, frame) in (batch.first..).zip(batch.frames()) {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Ok(Err(format!("a batch of {}: {error}", batch.source))),
        };
        let Header { class, type_number: of, slot, generation, sender: from, request, .. } = frame.header;
        let to = RawQueueId::new(node, to, slot, generation);
        let (by, sent) = (None, None);
        take(&frame, Crossed { way, other, number, class, from, to, of, request, by, sent, bytes: frame.payload })?;
    }
    Ok(Ok(()))
}

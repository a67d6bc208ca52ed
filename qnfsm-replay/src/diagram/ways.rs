//! The two ways in which events come: [`walked`], from a walk with the program's kinds, and [`recorded`], from the records alone. Whoever
//! draws doesn't know which it was; [`Basis`] says what the way could not tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::ControlFlow,
    path::Path,
    sync::Arc,
};

use qnfsm::{
    Ask, CameAs, Codec, Deliveries, Delivery, End, Handler, NodeId, Place, RawQueueId, Recording, RequestId, Trust,
    WorkerConfig, WorkerId,
    frame::{Batch, BatchRef, Class, Header},
    journal::{Entry, Excerpt, Position, Reader, RealFiles, Record, Storage, holdings, segment_path},
};

use super::event::{At, Crossed, Ended, Event, Feed, Handled, How, Ran, Way};
use crate::{
    CorruptJournal, ReplayError, Walk,
    dump::{DumpError, tables::Tables},
    recorded::{journal_bytes_before, table_of},
    session::{Message, RoundLog, Step},
};

/// What is known of a journal by the way in which it was gone through.
#[derive(Debug, Clone, Default)]
pub(crate) struct Basis {
    /// The records alone were read.
    pub(crate) without_kinds: bool,
    /// The workers of which only the inputs stand in the journal.
    pub(crate) inputs_only: BTreeSet<WorkerId>,
    pub(crate) rounds: u64,
}

impl Basis {
    /// What could not be told, and how it can be.
    pub(crate) fn remarks(&self, command: &str) -> Vec<String> {
        if !self.without_kinds {
            return Vec::new();
        }
        let mut remarks = Vec::new();
        if !self.inputs_only.is_empty() {
            let workers: Vec<_> = self.inputs_only.iter().map(ToString::to_string).collect();
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
    let tables = Tables::new(walk.catalogue().table().clone());
    feed.enter(&tables);
    let mut logs = Logs { node: walk.manifest().node, tables, answers: BTreeMap::new(), parents: BTreeMap::new() };
    let mut failed = None;
    let walked = walk.rounds(|log| {
        basis.rounds += 1;
        match logs.show(log, feed) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    failed.map_or(Ok(()), |error| Err(error.into())).and(walked.map(|_| ()).map_err(DumpError::from))
}

/// What a walk shows, on its way.
struct Logs {
    node: NodeId,
    tables: Tables,
    /// By who asked, and with which request, who has answered.
    answers: BTreeMap<(RawQueueId, RequestId), RawQueueId>,
    /// By who has yet to start, who spawned it.
    parents: BTreeMap<RawQueueId, RawQueueId>,
}

/// How many answers may be under way, and FSMs have yet to start; of more, the senders of some aren't told.
const UNDER_WAY_MAX: usize = 1 << 16;

impl Logs {
    fn show(&mut self, log: &RoundLog, feed: &mut Feed<'_>) -> io::Result<()> {
        let Logs { node, tables, answers, parents } = self;
        let RoundLog { ordinal, worker, round, now, .. } = *log;
        let at = At { ordinal, worker, round, now, is_whole: true };
        feed.take(tables, &at, &Event::Round)?;
        let here = Place::worker(worker);
        for batch in log.batches.iter().map(Batch::as_ref) {
            let mut take = |it: Crossed<'_>| {
                if let (Class::Reply | Class::Failed | Class::Spawned, Some(request)) = (it.class, it.request) {
                    answers.insert((it.to, request), it.from);
                }
                feed.take(tables, &at, &Event::Crossed(it))
            };
            // The frames were taken by a worker, so they are sound.
            frames(&batch, batch.source, here, Way::In, *node, &mut take)?.unwrap_or_default();
        }
        for step in &log.steps {
            let mut ran = ran(step, log.fed_at);
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
        for (to, batch) in &log.outputs {
            let mut take = |it: Crossed<'_>| feed.take(tables, &at, &Event::Crossed(it));
            frames(&batch.as_ref(), *to, *to, Way::Out, *node, &mut take)?.unwrap_or_default();
        }
        while answers.len() > UNDER_WAY_MAX {
            answers.pop_first();
        }
        while parents.len() > UNDER_WAY_MAX {
            parents.pop_first();
        }
        Ok(())
    }
}

/// The request whose outcome a message is.
fn outcome(message: &Message) -> Option<RequestId> {
    if let CameAs::Outcome(request) = message.as_what { Some(request) } else { None }
}

fn ran(step: &Step, fed_at: u64) -> Ran<'_> {
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
        happening: fed_at + u64::from(step.delivery),
    }
}

/// Shows the frames of a batch to whom `to` says. The inner error says what is wrong with them.
fn frames(
    batch: &BatchRef<'_>,
    other: Place,
    to: Place,
    way: Way,
    node: NodeId,
    take: &mut dyn FnMut(Crossed<'_>) -> io::Result<()>,
) -> io::Result<Result<(), String>> {
    for (number, frame) in (batch.first..).zip(batch.frames()) {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Ok(Err(format!("a batch of {}: {error}", batch.source))),
        };
        let Header { class, type_number: of, slot, generation, sender: from, request, .. } = frame.header;
        let to = RawQueueId::new(node, to, slot, generation);
        take(Crossed { way, other, number, class, from, to, of, request, bytes: frame.payload })?;
    }
    Ok(Ok(()))
}

/// Goes through the records of the node's directory `dir` alone. `on_progress` is called with how many bytes of how many have been read.
pub(crate) fn recorded(
    dir: &Path,
    feed: &mut Feed<'_>,
    basis: &mut Basis,
    mut on_progress: impl FnMut(u64, u64),
) -> Result<(), DumpError> {
    basis.without_kinds = true;
    let storage: Arc<dyn Storage> = Arc::new(RealFiles);
    let mut reader = Reader::open(storage.clone(), dir).map_err(ReplayError::from)?;
    let manifest = reader.manifest().clone();
    let files = holdings::segments(&*storage, dir).map_err(ReplayError::from)?.split_off(&manifest.oldest_segment);
    let bytes_total = files.values().sum();
    let mut records = Records::new(dir, manifest.node, basis);
    let mut tables: Option<(u64, Tables)> = None;
    while let Some(entry) = reader.next().map_err(ReplayError::from)? {
        on_progress(journal_bytes_before(&files, entry.position), bytes_total);
        if let Some((_, tables)) = tables.as_ref().filter(|(segment, _)| *segment == entry.position.segment) {
            records.take(tables, &entry, feed)?;
            continue;
        }
        // The header can only be looked at when the record is let go of.
        let mut first = Excerpt::default();
        first.push(&entry);
        let header = reader.header().expect("a record was read from a segment with a header");
        let (_, tables) = tables.insert((header.segment, Tables::new(table_of(header, dir)?)));
        feed.enter(tables);
        first.entries().try_for_each(|entry| records.take(tables, &entry, feed))?;
    }
    Ok(())
}

/// What the records so far say that later ones hang on.
struct Records<'d> {
    dir: &'d Path,
    node: NodeId,
    basis: &'d mut Basis,
    /// By worker, its last round, and how many of its deliveries came.
    rounds: BTreeMap<WorkerId, (At, u64)>,
    /// The workers whose deliveries are recorded.
    everything: BTreeSet<WorkerId>,
    /// The last state of each FSM of these.
    states: BTreeMap<RawQueueId, Vec<u8>>,
}

impl<'d> Records<'d> {
    fn new(dir: &'d Path, node: NodeId, basis: &'d mut Basis) -> Records<'d> {
        let (rounds, everything, states) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Records { dir, node, basis, rounds, everything, states }
    }

    fn take(&mut self, tables: &Tables, entry: &Entry<'_>, feed: &mut Feed<'_>) -> Result<(), DumpError> {
        match entry.record {
            Record::WorkerStarted { worker, config, .. } | Record::Configured { worker, config, .. } => {
                let config: Result<WorkerConfig, _> = Codec::CURRENT.decode(config, Trust::Node);
                // What can't be understood is an error where the journal is verified; here it tells nothing.
                match config.map(|config| config.recording) {
                    Ok(Recording::Everything) => _ = self.everything.insert(worker),
                    _ => _ = self.everything.remove(&worker),
                }
                Ok(())
            }
            Record::Round { worker, round, now, batches, .. } => {
                let is_whole = self.everything.contains(&worker);
                if !is_whole {
                    self.basis.inputs_only.insert(worker);
                }
                let at = At { ordinal: self.basis.rounds, worker, round, now, is_whole };
                self.basis.rounds += 1;
                self.rounds.insert(worker, (at, 0));
                feed.take(tables, &at, &Event::Round)?;
                for batch in batches {
                    let mut take = |it: Crossed<'_>| feed.take(tables, &at, &Event::Crossed(it));
                    frames(&batch, batch.source, Place::worker(worker), Way::In, self.node, &mut take)?
                        .map_err(|what| self.contradiction(entry.position, what))?;
                }
                Ok(())
            }
            Record::Deliveries { worker, entries, .. } => {
                // A worker whose beginning was given up says by this that it records everything.
                self.everything.insert(worker);
                for delivery in Deliveries::new(entries) {
                    let delivery =
                        delivery.map_err(|what| self.contradiction(entry.position, format!("a delivery: {what}")))?;
                    self.delivered(tables, worker, &delivery, feed)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn delivered(
        &mut self,
        tables: &Tables,
        worker: WorkerId,
        delivery: &Delivery,
        feed: &mut Feed<'_>,
    ) -> io::Result<()> {
        let Some((at, count)) = self.rounds.get_mut(&worker) else { return Ok(()) };
        *count += 1;
        let Delivery { queue, kind, handler, type_number, sender, .. } = *delivery;
        let message = Handled { sender, of: type_number, bytes: &delivery.payload, how: How::Message, put_at: None };
        let before = if handler == Handler::Start { None } else { self.states.get(&queue).map(Vec::as_slice) };
        let stateless = tables.kind(kind).is_some_and(|kind| kind.is_stateless());
        let is_gone = delivery.state.is_empty() && !stateless;
        let ended = match before {
            _ if is_gone => Ended::Stopped,
            Some(before) if before != delivery.state => Ended::Changed,
            _ => Ended::Stayed,
        };
        let ran = Ran {
            queue,
            kind,
            handler,
            parent: None,
            message: (handler == Handler::Handle).then_some(message),
            before,
            after: (!is_gone).then_some(&delivery.state[..]),
            ended,
            happening: *count,
        };
        let taken = feed.take(tables, &At { is_whole: true, ..*at }, &Event::Ran(ran));
        if is_gone {
            self.states.remove(&queue);
        } else {
            self.states.insert(queue, delivery.state.clone());
        }
        taken
    }

    /// What is sound and contradicts itself.
    fn contradiction(&self, at: Position, what: String) -> DumpError {
        let (file, offset) = (segment_path(self.dir, at.segment), at.offset);
        ReplayError::from(CorruptJournal::Contradiction { file, offset, what }).into()
    }
}

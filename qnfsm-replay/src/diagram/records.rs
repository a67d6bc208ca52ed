//! The way in which events come from the records alone: [`recorded`] of one node, [`recorded_together`] of several, by their clocks. What a
//! worker put out isn't recorded, so what of one node led to what of another can't be told here.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use qnfsm::{
    Codec, Deliveries, Delivery, Handler, NodeId, Place, RawQueueId, Recording, Time, Trust, WorkerConfig, WorkerId,
    frame::Frame,
    journal::{Entry, Excerpt, Position, Reader, RealFiles, Record, Storage, holdings, segment_path},
};

use super::{
    event::{At, Crossed, Ended, Event, Feed, Handled, How, Ran, Way},
    ways::{Basis, frames},
};
use crate::{
    CorruptJournal, ReplayError,
    asked::tables_of,
    dump::{DumpError, tables::Tables},
    live::Again,
    nodes,
    recorded::{journal_bytes_before, table_of},
};

/// Goes through the records of the node's directory `dir` alone, also where a node runs if it is `live`. `on_progress` is called with how many bytes of how many have been read.
pub(crate) fn recorded(
    dir: &Path,
    live: bool,
    feed: &mut Feed<'_>,
    basis: &mut Basis,
    mut on_progress: impl FnMut(u64, u64),
) -> Result<(), DumpError> {
    basis.without_kinds = true;
    let mut records = Records::open(dir, live)?;
    begin(std::slice::from_ref(&records), feed)?;
    loop {
        records.show_round(feed, basis)?;
        if records.next_at.is_none() {
            return Ok(feed.end()?);
        }
        on_progress(records.bytes, records.bytes_total);
    }
}

/// Goes through the records of several nodes alone, in the order of their clocks. Where one can't be read on, the others are read to their ends
/// before it is said.
pub(crate) fn recorded_together(
    dirs: &[&Path],
    live: bool,
    feed: &mut Feed<'_>,
    basis: &mut Basis,
    mut on_progress: impl FnMut(u64, u64),
) -> Result<(), DumpError> {
    (basis.without_kinds, basis.by_clocks) = (true, true);
    let mut all = dirs.iter().map(|dir| Records::open(dir, live)).collect::<Result<Vec<_>, _>>()?;
    nodes::different(all.iter().map(|records| (records.known.node, records.known.dir.as_path())))?;
    begin(&all, feed)?;
    let mut failed = Ok(());
    let mut show = |records: &mut Records, basis: &mut Basis| match records.show_round(feed, basis) {
        Err(DumpError::Journal(error)) => {
            records.next_at = None;
            failed = std::mem::replace(&mut failed, Ok(())).and(Err(DumpError::Journal(error)));
            Ok(())
        }
        shown => shown,
    };
    // Before its first round nothing of a node is shown.
    all.iter_mut().try_for_each(|records| show(records, basis))?;
    let next = |all: &[Records]| {
        let begun = all.iter().enumerate().filter_map(|(at, records)| Some((records.next_at?, records.known.node, at)));
        begun.min().map(|(.., at)| at)
    };
    while let Some(at) = next(&all) {
        show(&mut all[at], basis)?;
        on_progress(all.iter().map(|records| records.bytes).sum(), all.iter().map(|records| records.bytes_total).sum());
    }
    failed?;
    Ok(feed.end()?)
}

/// Refuses what these journals don't have by name. Where a table can't be read, which may have any, nothing is refused.
fn begin(all: &[Records], feed: &Feed<'_>) -> Result<(), ReplayError> {
    let mut tables = Vec::new();
    for Records { files, known, .. } in all {
        let oldest = files.keys().next().copied().unwrap_or(1);
        let Some(of_one) = tables_of(&RealFiles, &known.dir, oldest)? else { return Ok(()) };
        tables.extend(of_one);
    }
    let nodes: Vec<_> = all.iter().map(|records| records.known.node).collect();
    feed.begin(&nodes, &tables)
}

/// The records of one node, one round after another.
struct Records {
    reader: Reader,
    again: Again,
    /// How long the journal is, by segment, in all, and how far it was read.
    files: BTreeMap<u64, u64>,
    bytes_total: u64,
    bytes: u64,
    /// Of the segment that was read last.
    tables: Option<(u64, Tables)>,
    /// The record of the next round, and its time; none, before the first and behind the last.
    ahead: Excerpt,
    next_at: Option<Time>,
    known: Known,
}

impl Records {
    fn open(dir: &Path, live: bool) -> Result<Records, ReplayError> {
        let storage: Arc<dyn Storage> = Arc::new(RealFiles);
        let again = Again::new(live);
        let reader = again.open(storage.clone(), dir)?;
        let manifest = reader.manifest().clone();
        let files = holdings::segments(&*storage, dir)?.split_off(&manifest.oldest_segment);
        let (bytes_total, known) = (files.values().sum(), Known::new(dir, manifest.node));
        Ok(Records {
            reader,
            again,
            files,
            bytes_total,
            bytes: 0,
            tables: None,
            ahead: Excerpt::default(),
            next_at: None,
            known,
        })
    }

    /// Shows the next round with all that belongs to it, and reads on to the one behind it.
    fn show_round(&mut self, feed: &mut Feed<'_>, basis: &mut Basis) -> Result<(), DumpError> {
        let Records { reader, again, files, bytes, tables, ahead, next_at, known, .. } = self;
        if let Some((_, tables)) = tables {
            ahead.entries().try_for_each(|entry| known.take(tables, &entry, feed, basis))?;
        }
        ahead.clear();
        *next_at = None;
        loop {
            let entry = match reader.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => return Ok(()),
                Err(error) if again.may(&error) => {
                    reader.look_again().map_err(ReplayError::from)?;
                    continue;
                }
                Err(error) => return Err(ReplayError::from(error).into()),
            };
            *bytes = journal_bytes_before(files, entry.position);
            if let Record::Round { now, .. } = entry.record {
                *next_at = Some(now);
            }
            let segment = entry.position.segment;
            let is_known = tables.as_ref().is_some_and(|(known, _)| *known == segment);
            if let (true, None, Some((_, tables))) = (is_known, *next_at, tables.as_ref()) {
                known.take(tables, &entry, feed, basis)?;
                continue;
            }
            // The header can only be looked at when the record is let go of.
            ahead.push(&entry);
            if !is_known {
                let header = reader.header().expect("a record was read from a segment with a header");
                let (_, tables) = tables.insert((segment, Tables::new(table_of(header, &known.dir)?)));
                feed.enter(tables);
            }
            if next_at.is_some() {
                return Ok(());
            }
            let (_, tables) = tables.as_ref().expect("they were just made");
            ahead.entries().try_for_each(|entry| known.take(tables, &entry, feed, basis))?;
            ahead.clear();
        }
    }
}

/// What the records so far say that later ones hang on.
struct Known {
    dir: PathBuf,
    node: NodeId,
    /// How many rounds there were.
    rounds_before: u64,
    /// By worker, its last round, and how many of its deliveries came.
    rounds: BTreeMap<WorkerId, (At, u64)>,
    /// The workers whose deliveries are recorded.
    everything: BTreeSet<WorkerId>,
    /// The last state of each FSM of these.
    states: BTreeMap<RawQueueId, Vec<u8>>,
}

impl Known {
    fn new(dir: &Path, node: NodeId) -> Known {
        let (rounds, everything, states) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Known { dir: dir.into(), node, rounds_before: 0, rounds, everything, states }
    }

    fn take(
        &mut self,
        tables: &Tables,
        entry: &Entry<'_>,
        feed: &mut Feed<'_>,
        basis: &mut Basis,
    ) -> Result<(), DumpError> {
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
                    basis.inputs_only.insert((self.node, worker));
                }
                let at = At { node: self.node, ordinal: self.rounds_before, worker, round, now, is_whole };
                self.rounds_before += 1;
                basis.rounds += 1;
                self.rounds.insert(worker, (at, 0));
                feed.take(tables, &at, &Event::Round(&[]))?;
                for batch in batches {
                    let mut take = |_: &Frame<'_>, it: Crossed<'_>| feed.take(tables, &at, &Event::Crossed(it));
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
        let message = Handled {
            sender,
            of: type_number,
            bytes: &delivery.payload,
            how: How::Message,
            put_at: None,
            by_enter: false,
        };
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
            number: usize::try_from(*count - 1).unwrap_or(usize::MAX),
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
        let (file, offset) = (segment_path(&self.dir, at.segment), at.offset);
        ReplayError::from(CorruptJournal::Contradiction { file, offset, what }).into()
    }
}

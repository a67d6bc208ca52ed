//! From the parts of a journal's segments, read or known, to what it is as a whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use qnfsm::{
    Table, Time, WorkerId,
    journal::{
        AllMarks, Link, Manifest, Position, Reader, RealFiles, Record, SegmentHeader, holdings::Holdings, read_header,
    },
};

use super::{
    Description, Epoch, Kind, MessageType, Resource, Segments, Snapshot, Worker,
    index::{Index, Sealed, header_digest},
    part::{CLASSES, Ending, Part},
};
use crate::{
    ReplayError,
    dump::{Hex, Instant, Number, Opaque},
    recorded::table_of,
};

/// What is known of a segment by its header.
#[derive(Debug)]
struct Seen {
    segment: u64,
    epoch: u32,
    build: (u64, u64),
    header: u64,
}

/// What was gathered so far, segment by segment.
#[derive(Debug)]
pub(super) struct Gathered<'a> {
    dir: &'a Path,
    /// The lengths of the segments' files.
    files: &'a BTreeMap<u64, u64>,
    seen: Vec<Seen>,
    parts: Vec<Part>,
    /// Those that nothing is written to any more.
    sealed: Vec<Sealed>,
    catalogue: Vec<u8>,
    kinds: BTreeMap<String, Kind>,
    message_types: BTreeMap<String, MessageType>,
    resources: Vec<Resource>,
    opaque: BTreeMap<String, String>,
    remarks: Vec<String>,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(dir: &'a Path, files: &'a BTreeMap<u64, u64>) -> Gathered<'a> {
        Gathered {
            dir,
            files,
            seen: Vec::new(),
            parts: Vec::new(),
            sealed: Vec::new(),
            catalogue: Vec::new(),
            kinds: BTreeMap::new(),
            message_types: BTreeMap::new(),
            resources: Vec::new(),
            opaque: BTreeMap::new(),
            remarks: Vec::new(),
        }
    }

    pub(super) fn sealed_count(&self) -> usize {
        self.sealed.len()
    }

    /// Counts a record. True if it is the first of its segment, which is to be entered then.
    pub(super) fn note(&mut self, at: Position, record: &Record<'_>) -> bool {
        let is_new = self.parts.last().is_none_or(|part| part.segment != at.segment);
        if is_new {
            self.parts.push(Part::new(at.segment));
        }
        self.parts.last_mut().expect("one was just put in").note(at, record);
        is_new
    }

    /// Takes in what a segment's header says, and that the one before it is sealed. Nothing if it was entered.
    pub(super) fn enter(&mut self, header: &SegmentHeader) -> Result<(), ReplayError> {
        if self.seen.last().is_some_and(|seen| seen.segment == header.segment) {
            return Ok(());
        }
        let info = &header.info;
        if self.seen.is_empty() || self.catalogue != info.catalogue {
            let table = table_of(header, self.dir)?;
            self.take_table(&table);
            self.catalogue.clone_from(&info.catalogue);
        }
        if let Some(link) = &header.link {
            self.seal(link);
        }
        let build = (info.build, info.build_bytes);
        self.seen.push(Seen { segment: header.segment, epoch: info.epoch.0, build, header: header_digest(header) });
        Ok(())
    }

    fn seal(&mut self, link: &Link) {
        let segment = link.segment;
        let is_known = self.sealed.last().is_some_and(|sealed| sealed.part.segment >= segment);
        let seen = self.seen.last().filter(|seen| seen.segment == segment && !is_known);
        if let (Some(seen), Some(bytes)) = (seen, self.files.get(&segment)) {
            let part = self.parts.iter().rev().find(|part| part.segment == segment);
            let part = part.cloned().unwrap_or_else(|| Part::new(segment));
            self.sealed.push(Sealed::new(*bytes, seen.header, link, part));
        }
    }

    fn take_table(&mut self, table: &Table) {
        for kind in &table.kinds {
            let message = table.messages.get(kind.message as usize).map_or("?", |message| &message.name);
            let opaque = kind.value.opaque.is_some() || kind.state.opaque.is_some();
            let (name, message) = (kind.name.clone(), message.to_owned());
            self.kinds.insert(name.clone(), Kind { name, version: kind.version, message, opaque });
        }
        for message in &table.messages {
            let (name, opaque) = (message.name.clone(), message.schema.opaque.is_some());
            self.message_types.insert(name.clone(), MessageType { name, version: message.version, opaque });
        }
        self.opaque.extend(table.opaque().map(|(name, why)| (name, why.to_owned())));
        let resource = |it: &qnfsm::TableResource| Resource { name: it.name.clone(), hash: Hex(it.hash) };
        self.resources = table.resources.iter().map(resource).collect();
    }

    pub(super) fn load_index(&mut self, path: &Path) -> Option<Index> {
        let index = Index::load(path);
        index.map_err(|error| self.remark_index("read", path, &error)).ok()
    }

    pub(super) fn store_index(&mut self, index: &Index) {
        if let Err(error) = index.store(self.sealed.clone()) {
            self.remark_index("written", index.path(), &error);
        }
    }

    fn remark_index(&mut self, what: &str, path: &Path, error: &io::Error) {
        self.remarks.push(format!("the index {} can't be {what}: {error}; give another file", path.display()));
    }

    /// Takes in the segments at the journal's front that are still as the index has them. Gives the one from which on is to be read.
    pub(super) fn take_sealed(&mut self, index: &Index) -> Result<Option<u64>, ReplayError> {
        let header = |number: u64| read_header(&RealFiles, self.dir, number);
        let mut from = None;
        let mut numbers = self.files.keys().copied();
        let Some(mut here) = numbers.next().map(header).transpose()?.flatten() else { return Ok(None) };
        for number in numbers {
            let Some(next) = read_header(&RealFiles, self.dir, number)? else { break };
            let (Some(link), Some(file_bytes)) = (next.link, self.files.get(&here.segment)) else { break };
            let Some(sealed) = index.find(&here, *file_bytes, &link) else { break };
            self.enter(&here)?;
            self.parts.push(sealed.part.clone());
            self.sealed.push(sealed.clone());
            from = Some(number);
            here = next;
        }
        Ok(from)
    }

    pub(super) fn describe(
        self,
        manifest: &Manifest,
        reader: &Reader,
        segments_from_index: usize,
        damage: Option<ReplayError>,
    ) -> Result<Description, ReplayError> {
        let sum = |of: fn(&Part) -> u64| Number(self.parts.iter().map(of).sum());
        let holdings = Holdings::look(&RealFiles, self.dir)?;
        let tail = reader.tail();
        let by_class: Vec<u64> =
            (0..CLASSES.len()).map(|class| self.parts.iter().map(|part| part.frames[class]).sum()).collect();
        let (from, to) = span(&self.parts);
        // Where the end can't be read, nobody has looked what was on disk; what the sound part says of it stands all the same.
        let marked = self.parts.iter().filter_map(|part| part.synced).max();
        let marked = marked.map(|(segment, offset)| Position { segment, offset });
        let synced = tail.map_or(manifest.reached.max(marked.unwrap_or_default()), |tail| tail.synced);
        let lost = tail.and_then(|tail| tail.lost.as_ref()).map(ToString::to_string);
        let mut remarks = self.remarks.clone();
        let malformed: u64 = self.parts.iter().map(|part| part.malformed).sum();
        if malformed != 0 {
            remarks.push(format!("{malformed} batches hold bytes that are no frames; `verify` says where"));
        }
        Ok(Description {
            program: manifest.program.clone(),
            node: manifest.node.0,
            identity: format!("{:032x}", manifest.identity),
            epochs: self.epochs(),
            segments: self.segments(),
            bytes: Number(holdings.bytes()),
            from,
            to,
            records: sum(|part| part.records),
            rounds: sum(|part| part.rounds),
            batches: sum(|part| part.batches),
            frames: Number(by_class.iter().sum()),
            // Messages and replies come first.
            messages: Number(by_class[0] + by_class[1]),
            frames_by_class: CLASSES.iter().zip(by_class).map(|((_, name), count)| (*name, Number(count))).collect(),
            payload_bytes: sum(|part| part.payload_bytes),
            workers: self.workers(),
            snapshots: self.snapshots(&holdings),
            clean_stop: lost.is_none() && damage.is_none() && self.ends_cleanly(),
            kinds: self.kinds.into_values().collect(),
            message_types: self.message_types.into_values().collect(),
            resources: self.resources,
            opaque: self.opaque.into_iter().map(|(name, why)| Opaque { name, why }).collect(),
            end: tail.and_then(|tail| tail.last).map_or(reader.position(), |last| last.position()).to_string(),
            synced: synced.to_string(),
            lost,
            segments_from_index,
            remarks,
            damage,
        })
    }

    fn segments(&self) -> Segments {
        let ends = |end: Option<(&u64, &u64)>| Number(end.map_or(0, |(number, _)| *number));
        let (first, last) = (ends(self.files.first_key_value()), ends(self.files.last_key_value()));
        Segments { count: self.files.len(), first, last, bytes: Number(self.files.values().sum()) }
    }

    fn epochs(&self) -> Vec<Epoch> {
        let of_epoch = |epoch: u32| -> BTreeSet<u64> {
            self.seen.iter().filter(|seen| seen.epoch == epoch).map(|seen| seen.segment).collect()
        };
        let mut epochs: Vec<Epoch> = Vec::new();
        for seen in &self.seen {
            if epochs.last().is_some_and(|epoch| epoch.epoch == seen.epoch) {
                continue;
            }
            let segments = of_epoch(seen.epoch);
            let parts = || self.parts.iter().filter(|part| segments.contains(&part.segment));
            let (from, to) = span(parts());
            epochs.push(Epoch {
                epoch: seen.epoch,
                build: Hex(seen.build.0),
                build_bytes: Number(seen.build.1),
                first_segment: Number(seen.segment),
                from,
                to,
                rounds: Number(parts().map(|part| part.rounds).sum()),
                clean_stop: parts().filter_map(|part| part.ends).next_back()
                    == Some(Ending::CleanStop { epoch: seen.epoch }),
            });
        }
        epochs
    }

    fn ends_cleanly(&self) -> bool {
        matches!(self.parts.iter().filter_map(|part| part.ends).next_back(), Some(Ending::CleanStop { .. }))
    }

    fn workers(&self) -> Vec<Worker> {
        let mut workers: BTreeMap<u32, Worker> = BTreeMap::new();
        for (number, part) in self.parts.iter().flat_map(|part| &part.workers) {
            let worker = workers.entry(*number).or_insert_with(|| Worker {
                worker: *number,
                started_in: None,
                stopped: false,
                rounds: Number(0),
                first_round: None,
                last_round: None,
                frames: Number(0),
                records_everything: false,
            });
            worker.started_in = worker.started_in.or(part.started_in);
            worker.stopped |= part.is_stopped;
            worker.rounds.0 += part.rounds;
            worker.first_round = worker.first_round.or(part.first.map(Number));
            worker.last_round = part.last.map(Number).or(worker.last_round);
            worker.frames.0 += part.frames;
            worker.records_everything |= part.deliveries_bytes != 0;
        }
        workers.into_values().collect()
    }

    fn snapshots(&self, holdings: &Holdings) -> Vec<Snapshot> {
        let mut marks = AllMarks::default();
        self.parts.iter().for_each(|part| part.tell(&mut marks));
        let snapshots = holdings.snapshots.iter().map(|((worker, round), bytes)| {
            let (WorkerId(number), counts) = (*worker, marks.has(*worker, *round));
            Snapshot { worker: number, round: Number(*round), bytes: Number(*bytes), counts }
        });
        snapshots.collect()
    }
}

/// The times of the earliest round and the latest one.
fn span<'p>(parts: impl IntoIterator<Item = &'p Part>) -> (Option<Instant>, Option<Instant>) {
    let spans: Vec<_> = parts.into_iter().filter_map(|part| part.span).collect();
    let instant = |nanos| Instant(Time::from_nanos(nanos));
    (spans.iter().map(|(from, _)| *from).min().map(instant), spans.iter().map(|(_, to)| *to).max().map(instant))
}

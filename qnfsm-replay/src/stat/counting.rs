//! What is counted on the way through a journal, record by record.

use std::{collections::BTreeMap, path::Path};

use hdrhistogram::Histogram;
use qnfsm::{
    Deliveries, Handler, Place, RawQueueId, RequestId, Table, Time, WorkerId,
    frame::{BatchRef, Class, Header},
    journal::{Manifest, Record, SegmentHeader},
};

use super::{Delivered, Lag, Percentiles, Statistics, Talker, Type, Worker};
use crate::{
    ReplayError,
    dump::{Instant, Number, Queue},
    recorded::table_of,
};

/// The most pairs of queues, and the most open requests, that are kept.
const KEPT_MAX: usize = 1 << 20;

/// The most pairs of queues of which is kept how long their frames took: each takes up to 4 KiB.
const TIMED_MAX: usize = 1 << 14;

/// A figure's spread. Two digits take little memory, whatever comes; the least and the most are as they were.
#[derive(Debug)]
struct Spread {
    histogram: Histogram<u64>,
    min: u64,
    max: u64,
}

impl Spread {
    fn new() -> Spread {
        Spread::of(2)
    }

    /// To one digit, where there are many.
    fn coarse() -> Spread {
        Spread::of(1)
    }

    fn of(digits: u8) -> Spread {
        let histogram = Histogram::new(digits).expect("one digit and two are precisions that there are");
        Spread { histogram, min: u64::MAX, max: 0 }
    }

    fn note(&mut self, value: u64, times: u64) {
        self.histogram.record_n(value, times).expect("one that grows as it needs to takes any value");
        (self.min, self.max) = (self.min.min(value), self.max.max(value));
    }

    fn percentiles(&self) -> Percentiles {
        if self.histogram.is_empty() {
            return Percentiles::default();
        }
        let at = |quantile| self.histogram.value_at_quantile(quantile).clamp(self.min, self.max);
        Percentiles { min: self.min, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: self.max }
    }
}

#[derive(Debug)]
struct OfWorker {
    rounds: u64,
    frames: u64,
    payload_bytes: u64,
    frames_of_round: Spread,
    /// When its last round was.
    latest: Time,
}

#[derive(Debug)]
struct OfType {
    frames: u64,
    payload_bytes: u64,
    size: Spread,
}

/// A pair of queues, of which the one sent to the other.
#[derive(Debug, Default)]
struct Pair {
    frames: u64,
    payload_bytes: u64,
    /// How long its frames took at least, if that is known.
    lag: Option<Box<Spread>>,
}

/// A journal on its way through.
#[derive(Debug)]
pub(super) struct Counting<'a> {
    dir: &'a Path,
    manifest: &'a Manifest,
    segment: Option<(u64, Table)>,
    span: Option<(Time, Time)>,
    workers: BTreeMap<WorkerId, OfWorker>,
    types: BTreeMap<String, usize>,
    of_types: Vec<OfType>,
    /// By number, where the message types and the kinds of the segment's table are counted.
    messages: Vec<usize>,
    kinds: Vec<usize>,
    /// Where frames of a class without a type are counted.
    classes: BTreeMap<Class, usize>,
    talkers: BTreeMap<(RawQueueId, RawQueueId), Pair>,
    others: u64,
    /// Of how many of them is kept how long their frames took; and of how many frames that isn't.
    timed: usize,
    untimed: u64,
    lags: BTreeMap<(WorkerId, WorkerId), Spread>,
    /// When a request entered the worker of whom it is asked.
    asked: BTreeMap<(RawQueueId, RequestId), (WorkerId, Time)>,
    asked_left_out: u64,
    answers: BTreeMap<(WorkerId, WorkerId), Spread>,
    deliveries: BTreeMap<(String, String), u64>,
    malformed: u64,
}

impl<'a> Counting<'a> {
    pub(super) fn new(dir: &'a Path, manifest: &'a Manifest) -> Counting<'a> {
        Counting {
            dir,
            manifest,
            segment: None,
            span: None,
            workers: BTreeMap::new(),
            types: BTreeMap::new(),
            of_types: Vec::new(),
            messages: Vec::new(),
            kinds: Vec::new(),
            classes: BTreeMap::new(),
            talkers: BTreeMap::new(),
            others: 0,
            timed: 0,
            untimed: 0,
            lags: BTreeMap::new(),
            asked: BTreeMap::new(),
            asked_left_out: 0,
            answers: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            malformed: 0,
        }
    }

    /// The segment that was entered last.
    pub(super) fn segment(&self) -> Option<u64> {
        self.segment.as_ref().map(|(number, _)| *number)
    }

    /// Goes on with the records of a segment with that header.
    pub(super) fn enter(&mut self, header: &SegmentHeader) -> Result<(), ReplayError> {
        let table = table_of(header, self.dir)?;
        self.messages = table.messages.iter().map(|message| self.type_named(message.name.clone())).collect();
        self.kinds = table.kinds.iter().map(|kind| self.type_named(format!("spawn of {}", kind.name))).collect();
        self.segment = Some((header.segment, table));
        Ok(())
    }

    fn type_named(&mut self, name: String) -> usize {
        let next = self.of_types.len();
        let at = *self.types.entry(name).or_insert(next);
        if at == next {
            self.of_types.push(OfType { frames: 0, payload_bytes: 0, size: Spread::new() });
        }
        at
    }

    /// Counts a record of the segment that was entered.
    pub(super) fn take(&mut self, record: &Record<'_>) {
        match *record {
            Record::Round { worker, now, batches, .. } => {
                self.span = Some(self.span.map_or((now, now), |(from, to)| (from.min(now), to.max(now))));
                let (mut frames, mut bytes) = (0, 0);
                for batch in batches {
                    let (of_batch, payload_bytes) = self.batch(worker, now, &batch);
                    frames += of_batch;
                    bytes += payload_bytes;
                }
                let new = || OfWorker {
                    rounds: 0,
                    frames: 0,
                    payload_bytes: 0,
                    frames_of_round: Spread::new(),
                    latest: Time::ZERO,
                };
                let of_worker = self.workers.entry(worker).or_insert_with(new);
                of_worker.rounds += 1;
                of_worker.frames += frames;
                of_worker.payload_bytes += bytes;
                of_worker.frames_of_round.note(frames, 1);
                of_worker.latest = now;
            }
            Record::Deliveries { entries, .. } => self.deliveries(entries),
            _ => {}
        }
    }

    /// Counts a batch that enters a worker. Gives how many frames and bytes of payloads it has.
    fn batch(&mut self, worker: WorkerId, now: Time, batch: &BatchRef<'_>) -> (u64, u64) {
        let (mut frames, mut bytes) = (0, 0);
        let sender = batch.source.as_worker().filter(|sender| *sender != worker);
        let of_sender = sender.and_then(|sender| Some((sender, self.workers.get(&sender)?.latest)));
        let lag = of_sender.map(|(_, latest)| u64::try_from(now.since(latest).as_nanos()).unwrap_or(u64::MAX));
        for frame in batch.frames() {
            let Ok(frame) = frame else {
                self.malformed += 1;
                break;
            };
            let (header, payload_bytes) = (frame.header, frame.payload.len() as u64);
            frames += 1;
            bytes += payload_bytes;
            let at = self.type_of(&header);
            let of_type = &mut self.of_types[at];
            of_type.frames += 1;
            of_type.payload_bytes += payload_bytes;
            of_type.size.note(payload_bytes, 1);
            self.talk(worker, now, &header, payload_bytes, lag);
        }
        if let (Some((sender, _)), Some(lag)) = (of_sender, lag) {
            self.lags.entry((sender, worker)).or_insert_with(Spread::new).note(lag, frames);
        }
        (frames, bytes)
    }

    /// Where frames with that header are counted.
    fn type_of(&mut self, header: &Header) -> usize {
        let number = usize::try_from(header.type_number).unwrap_or(usize::MAX);
        let known = match header.class {
            Class::Message | Class::Reply | Class::Spawned => self.messages.get(number),
            Class::Spawn => self.kinds.get(number),
            class => self.classes.get(&class),
        };
        match known {
            Some(at) => *at,
            None => {
                let at = self.type_named(format!("{:?}", header.class).to_lowercase());
                self.classes.insert(header.class, at);
                at
            }
        }
    }

    /// Counts who talks to whom, how long that took at least, and how long an answer took.
    fn talk(&mut self, worker: WorkerId, now: Time, header: &Header, payload_bytes: u64, lag: Option<u64>) {
        let to = RawQueueId::new(self.manifest.node, Place::worker(worker), header.slot, header.generation);
        let pair = (header.sender, to);
        if self.talkers.len() < KEPT_MAX || self.talkers.contains_key(&pair) {
            let pair = self.talkers.entry(pair).or_default();
            pair.frames += 1;
            pair.payload_bytes += payload_bytes;
            if let Some(lag) = lag {
                if pair.lag.is_none() && self.timed < TIMED_MAX {
                    self.timed += 1;
                    pair.lag = Some(Box::new(Spread::coarse()));
                }
                match &mut pair.lag {
                    Some(spread) => spread.note(lag, 1),
                    None => self.untimed += 1,
                }
            }
        } else {
            self.others += 1;
        }
        let Some(request) = header.request else { return };
        match header.class {
            Class::Message if header.sender.place().as_worker().is_some() => {
                if self.asked.len() < KEPT_MAX {
                    self.asked.entry((header.sender, request)).or_insert((worker, now));
                } else {
                    self.asked_left_out += 1;
                }
            }
            Class::Reply | Class::Failed => {
                if let Some((answerer, asked_at)) = self.asked.remove(&(to, request)) {
                    let took = now.since(asked_at).as_nanos().try_into().unwrap_or(u64::MAX);
                    self.answers.entry((worker, answerer)).or_insert_with(Spread::new).note(took, 1);
                }
            }
            _ => {}
        }
    }

    fn deliveries(&mut self, entries: &[u8]) {
        let Some((_, table)) = &self.segment else { return };
        for delivery in Deliveries::new(entries).map_while(Result::ok) {
            if delivery.handler != Handler::Handle {
                continue;
            }
            let kind = table.kinds.get(delivery.kind as usize).map_or("unknown kind", |kind| &kind.name);
            let of = table.messages.get(delivery.type_number as usize).map_or("unknown type", |of| &of.name);
            *self.deliveries.entry((kind.to_owned(), of.to_owned())).or_default() += 1;
        }
    }

    pub(super) fn statistics(self, top: usize, damage: Option<ReplayError>) -> Statistics {
        let (from, to) = self.span.unzip();
        let span = self.span.map_or(0, |(from, to)| to.as_nanos() - from.as_nanos());
        let remarks = self.remarks();
        let workers: Vec<Worker> = self.workers.iter().map(|(worker, it)| it.said(*worker, span)).collect();
        let sum = |of: fn(&Worker) -> u64| Number(workers.iter().map(of).sum());
        let (rounds, frames) = (sum(|it| it.rounds.0), sum(|it| it.frames.0));
        let payload_bytes = sum(|it| it.payload_bytes.0);
        let of_type = |(name, at): (&String, &usize)| {
            let OfType { frames, payload_bytes, size } = &self.of_types[*at];
            let (frames, payload_bytes, size) = (Number(*frames), Number(*payload_bytes), size.percentiles());
            Type { name: name.clone(), frames, payload_bytes, size }
        };
        let mut types: Vec<_> = self.types.iter().map(of_type).filter(|it| it.frames.0 != 0).collect();
        types.sort_by_key(|it| std::cmp::Reverse(it.frames.0));
        let mut deliveries: Vec<_> = self.deliveries.into_iter().collect();
        deliveries.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let delivered = |((kind, of), count)| Delivered { kind, of, count: Number(count) };
        Statistics {
            program: self.manifest.program.clone(),
            from: from.map(Instant),
            to: to.map(Instant),
            span_ns: Number(span),
            rounds,
            frames,
            payload_bytes,
            workers,
            types,
            talkers: busiest(self.talkers, top),
            lags: said(&self.lags),
            answers: said(&self.answers),
            deliveries: deliveries.into_iter().map(delivered).collect(),
            remarks,
            damage,
        }
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        remarks.push("p50, p90 and p99 are to two digits, of queues' frames to one".to_owned());
        if self.deliveries.is_empty() {
            let text = "what FSMs of one worker send one another isn't recorded: only a worker with `Recording::Everything` has that";
            remarks.push(text.to_owned());
        }
        if !self.lags.is_empty() {
            let text = "a frame doesn't say when it was put out: between workers it took at least from the sender's last round before it";
            remarks.push(text.to_owned());
        }
        if self.others != 0 {
            remarks.push(format!("{} frames are of more pairs of queues than are counted one by one", self.others));
        }
        if self.untimed != 0 {
            let text = format!("{} frames are of more pairs of queues than are timed one by one", self.untimed);
            remarks.push(text);
        }
        if self.asked_left_out != 0 {
            remarks.push(format!("{} requests were open beside more than are kept", self.asked_left_out));
        }
        if self.malformed != 0 {
            remarks.push(format!("{} batches hold bytes that are no frames; `verify` says where", self.malformed));
        }
        remarks
    }
}

impl OfWorker {
    fn said(&self, worker: WorkerId, span_ns: u64) -> Worker {
        #[expect(clippy::cast_precision_loss, reason = "nobody reads more digits of a rate")]
        let rate = |count: u64| (span_ns != 0).then(|| count as f64 * 1e9 / span_ns as f64);
        Worker {
            worker: worker.0,
            rounds: Number(self.rounds),
            rounds_per_s: rate(self.rounds),
            frames: Number(self.frames),
            frames_per_s: rate(self.frames),
            payload_bytes: Number(self.payload_bytes),
            bytes_per_s: rate(self.payload_bytes),
            frames_of_round: self.frames_of_round.percentiles(),
        }
    }
}

/// The pairs with the most frames.
fn busiest(talkers: BTreeMap<(RawQueueId, RawQueueId), Pair>, top: usize) -> Vec<Talker> {
    let mut pairs: Vec<_> = talkers.into_iter().collect();
    pairs.sort_by_key(|(_, pair)| std::cmp::Reverse(pair.frames));
    pairs.truncate(top);
    let talker = |((from, to), Pair { frames, payload_bytes, lag }): (_, Pair)| Talker {
        from: Queue(from),
        to: Queue(to),
        frames: Number(frames),
        payload_bytes: Number(payload_bytes),
        lag_ns: lag.map(|lag| lag.percentiles()),
    };
    pairs.into_iter().map(talker).collect()
}

fn said(lags: &BTreeMap<(WorkerId, WorkerId), Spread>) -> Vec<Lag> {
    let lag = |((from, to), spread): (&(WorkerId, WorkerId), &Spread)| Lag {
        from: from.to_string(),
        to: to.to_string(),
        count: Number(spread.histogram.len()),
        ns: spread.percentiles(),
    };
    lags.iter().map(lag).collect()
}

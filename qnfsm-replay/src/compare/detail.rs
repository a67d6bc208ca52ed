//! What two journals part in, read again and put in words: the frame, the delivery, the value from outside, and which of its fields.

use qnfsm::{
    Deliveries, Delivery, Handler, Table, TableSchema, Time, WorkerId,
    frame::{BatchRef, Class, Frame},
    journal::{Entry, Excerpt, ReadError, Record, segment_path},
};

use super::{
    Apart, Aspect, Spot,
    comparison::First,
    items::{Item, Sequence},
    side::Side,
    times::without_times,
};
use crate::{
    ReplayError,
    dump::{Instant, Line, Number, Own, Tables, What, frame_line},
    recorded::table_of,
    session::{FoundBy, Part, PartOf, differing, parts},
};

/// How much of a value is shown.
const VALUE_CHARS_MAX: usize = 200;
/// The most parts of a value that are shown.
const PARTS_MAX: usize = 20;

/// What the types of the two differ in, by the first segments that are left.
pub(super) fn other_types(sides: &mut [Side; 2]) -> Result<Vec<String>, ReplayError> {
    let [one, other] = sides;
    let (Some(one), Some(other)) = (first_table(one)?, first_table(other)?) else { return Ok(Vec::new()) };
    Ok(one.differences(&other))
}

fn first_table(side: &mut Side) -> Result<Option<Table>, ReplayError> {
    side.reader.seek(Default::default())?;
    sound(side.reader.next())?;
    side.reader.header().map(|header| table_of(header, &side.dir)).transpose()
}

/// The next record, if it is sound.
fn sound(next: Result<Option<Entry<'_>>, ReadError>) -> Result<Option<Entry<'_>>, ReplayError> {
    match next {
        Err(ReadError::Corrupt(_)) => Ok(None),
        next => Ok(next?),
    }
}

/// A round as its journal has it, with the tables of the program that wrote it.
struct Recorded {
    worker: WorkerId,
    item: Item,
    tables: Tables,
    records: Excerpt,
}

/// What is told of both.
struct Told {
    what: Option<String>,
    says: [String; 2],
    parts: Vec<Part>,
}

/// Looks again at where two journals part.
pub(super) fn apart(
    sides: &mut [Side; 2],
    first: &First,
    agreed: Option<u64>,
    times_ignored: bool,
) -> Result<Apart, ReplayError> {
    let worker = first.sequence.worker();
    let spot = |side: &Side, item: &Item| Spot {
        file: segment_path(&side.dir, item.at.segment),
        offset: item.at.offset,
        ordinal: item.ordinal,
        round: item.round,
    };
    let at = [spot(&sides[0], &first.items[0]), spot(&sides[1], &first.items[1])];
    let [one, other] = sides;
    let Told { what, says: [expected, found], parts } = match first.only_in {
        Some((side, proof)) => missed(if side == 0 { one } else { other }, side, first, proof)?,
        None => {
            let both = [Recorded::read(one, worker, first.items[0])?, Recorded::read(other, worker, first.items[1])?];
            told(first, &both, times_ignored)
        }
    };
    let only_in = first.only_in.map(|(side, _)| side);
    let found_by = match first.aspect {
        Aspect::Deliveries => FoundBy::Deliveries,
        _ => FoundBy::Round,
    };
    Ok(Apart { worker, at, agreed, aspect: first.aspect, only_in, what, expected, found, parts, step: None, found_by })
}

/// What is told of something that only one of them has.
fn missed(side: &mut Side, number: usize, first: &First, proof: Sequence) -> Result<Told, ReplayError> {
    let (item, by) = (first.items[number], first.items[1 - number]);
    let (what, has) = match first.sequence {
        Sequence::Start(worker) => (format!("the start of {worker}"), format!("{worker} was started")),
        Sequence::Rounds(worker) => {
            let what = format!("round {} of {worker}", item.round);
            (what.clone(), format!("{what}, which the other doesn't have"))
        }
        Sequence::Frames(worker, source) => {
            let recorded = Recorded::read(side, worker, item)?;
            let taken = recorded.frames();
            let is_it = |it: &&Taken<'_>| it.batch.source == source && (it.batch.epoch.0, it.number) == item.number;
            let line = taken.iter().find(is_it).map(|taken| recorded.line(&Own::new(), taken));
            (format!("frame {} of {source}", item.number.1), line.unwrap_or_default())
        }
        Sequence::Deliveries(worker, queue) => {
            let recorded = Recorded::read(side, worker, item)?;
            let delivery = recorded.deliveries().into_iter().filter(|delivery| delivery.queue == queue).nth(item.nth);
            let line = delivery.map(|delivery| recorded.delivery_line(&delivery));
            (format!("a delivery of {queue}"), line.unwrap_or_default())
        }
    };
    let behind = match proof {
        Sequence::Frames(_, source) => format!("frame {} of {source}", by.number.1),
        Sequence::Deliveries(_, queue) => format!("a delivery of {queue}"),
        Sequence::Start(worker) => format!("the start of {worker}"),
        Sequence::Rounds(_) => "that round".to_owned(),
    };
    let lacks = format!("nothing of it: round {} of {} went on, with {behind}", by.round, proof.worker());
    let says = if number == 0 { [has, lacks] } else { [lacks, has] };
    Ok(Told { what: Some(what), says, parts: Vec::new() })
}

fn told(first: &First, both: &[Recorded; 2], times_ignored: bool) -> Told {
    let plain = |says: [String; 2]| Told { what: None, says, parts: Vec::new() };
    let number = |item: &Item| item.of[first.aspect as usize].unwrap_or_default();
    match first.aspect {
        Aspect::Inputs => frames(first, both, times_ignored),
        Aspect::Deliveries => deliveries(first, both, times_ignored),
        Aspect::Bound => plain(first.items.map(|item| format!("at most {} messages", number(&item)))),
        Aspect::Time => plain(first.items.map(|item| Instant(Time::from_nanos(number(&item))).to_string())),
        Aspect::Told => from_outside(both),
        Aspect::Missing => unreachable!("what one of them misses is told by itself"),
        Aspect::Outcome => plain(first.items.map(|item| format!("digest {:016x}", number(&item)))),
    }
}

/// The first frame that isn't the same, or the very one that is compared.
fn frames(first: &First, both: &[Recorded; 2], times_ignored: bool) -> Told {
    let taken = [both[0].frames(), both[1].frames()];
    let at = match first.sequence {
        Sequence::Frames(_, source) => [0, 1].map(|side: usize| {
            let is_it =
                |it: &Taken<'_>| it.batch.source == source && (it.batch.epoch.0, it.number) == first.items[side].number;
            taken[side].iter().position(is_it)
        }),
        _ => {
            let is_same =
                |at: usize| taken[0].get(at).zip(taken[1].get(at)).is_some_and(|(one, other)| one.is_same(other));
            let at = (0..).find(|at| !is_same(*at)).unwrap_or_default();
            [Some(at), Some(at)]
        }
    };
    let own = Own::new();
    let frame = |side: usize| at[side].and_then(|at| taken[side].get(at));
    let line = |side: usize| match frame(side) {
        Some(taken) => both[side].line(&own, taken),
        None => "no further frame".to_owned(),
    };
    let pair = frame(0).zip(frame(1));
    let is_of_same_type =
        |(one, other): &(&Taken<'_>, &Taken<'_>)| one.frame.header.type_number == other.frame.header.type_number;
    let parts = pair.filter(is_of_same_type).map_or_else(Vec::new, |(one, other)| {
        let schema = |side: usize| both[side].schema([&one.frame, &other.frame][side]);
        let values = [value(&one.frame), value(&other.frame)];
        differing_parts(PartOf::Input, [schema(0), schema(1)], values, times_ignored)
    });
    let what = pair.map(|(one, _)| format!("frame {} of {}", one.number, one.batch.source));
    Told { what, says: [line(0), line(1)], parts }
}

/// What differs between two values, by a schema that both programs have.
fn differing_parts(
    of: PartOf,
    schemas: [Option<&TableSchema>; 2],
    [one, other]: [&[u8]; 2],
    times_ignored: bool,
) -> Vec<Part> {
    let schema = schemas[0].filter(|schema| schemas[1].is_some_and(|other| other.hash == schema.hash));
    let part = |path, recorded, found| Part { of, path, recorded, found, again: None };
    if let Some(printer) = schema.filter(|_| times_ignored).map(TableSchema::printer)
        && let (Ok(one), Ok(other)) = (printer.content(one), printer.content(other))
    {
        let changes = without_times(one).changes(&without_times(other), PARTS_MAX).parts.into_iter();
        return changes.map(|change| part(change.path, change.before, change.after)).collect();
    }
    parts(schema, one, other).into_iter().map(|(path, [recorded, found])| part(path, recorded, found)).collect()
}

/// The message in a frame, or the start value.
fn value<'f>(frame: &Frame<'f>) -> &'f [u8] {
    frame.spawned().map_or(frame.payload, |(_, start_value)| start_value)
}

/// The first delivery that isn't the same, or the very one that is compared.
fn deliveries(first: &First, both: &[Recorded; 2], times_ignored: bool) -> Told {
    let all = [both[0].deliveries(), both[1].deliveries()];
    let at = match first.sequence {
        Sequence::Deliveries(_, queue) => [0, 1].map(|side: usize| {
            let mut of_fsm = all[side].iter().enumerate().filter(|(_, delivery)| delivery.queue == queue);
            of_fsm.nth(first.items[side].nth).map(|(at, _)| at)
        }),
        _ => {
            let at = (0..all[0].len().max(all[1].len())).find(|at| all[0].get(*at) != all[1].get(*at));
            [at, at]
        }
    };
    let pair = [0, 1].map(|side: usize| at[side].and_then(|at| all[side].get(at)));
    delivery_told(both, at[0].or(at[1]), pair, times_ignored)
}

fn delivery_told(both: &[Recorded; 2], at: Option<usize>, pair: [Option<&Delivery>; 2], times_ignored: bool) -> Told {
    let line = |side: usize| match pair[side] {
        Some(delivery) => both[side].delivery_line(delivery),
        None => "no further delivery".to_owned(),
    };
    let parts = match pair {
        [Some(one), Some(other)] if (one.kind, one.type_number) == (other.kind, other.type_number) => {
            match times_ignored {
                false => differing(&both[0].tables.table, one, other),
                true => differing_untimed(both, one, other),
            }
        }
        _ => Vec::new(),
    };
    let what = pair[0].or(pair[1]).zip(at).map(|(delivery, at)| {
        format!(
            "delivery {} of the round: kind {} ({})",
            at + 1,
            both[0].tables.kind_name(delivery.kind),
            delivery.queue
        )
    });
    Told { what, says: [line(0), line(1)], parts }
}

/// What of a delivery's message and state is another but the times in them.
fn differing_untimed(both: &[Recorded; 2], one: &Delivery, other: &Delivery) -> Vec<Part> {
    let schemas =
        |of: fn(&Table, &Delivery) -> Option<TableSchema>| both.each_ref().map(|it| of(&it.tables.table, one));
    let message = schemas(|table, it| table.messages.get(it.type_number as usize).map(|of| of.schema.clone()));
    let state = schemas(|table, it| table.kinds.get(it.kind as usize).map(|of| of.state.clone()));
    let parts = |of, schemas: &[Option<TableSchema>; 2], values| {
        differing_parts(of, schemas.each_ref().map(Option::as_ref), values, true)
    };
    let mut all = parts(PartOf::Message, &message, [&one.payload, &other.payload]);
    all.extend(parts(PartOf::State, &state, [&one.state, &other.state]));
    all
}

fn from_outside(both: &[Recorded; 2]) -> Told {
    let all = [both[0].told(), both[1].told()];
    let at = (0..all[0].len().max(all[1].len())).find(|at| all[0].get(*at) != all[1].get(*at)).unwrap_or_default();
    let line = |side: usize| all[side].get(at).map_or("nothing more".to_owned(), |(line, _)| line.clone());
    Told { what: None, says: [line(0), line(1)], parts: Vec::new() }
}

/// A frame, with its number and the batch that it came in.
struct Taken<'r> {
    batch: BatchRef<'r>,
    number: u64,
    frame: Frame<'r>,
}

/// The frames of a batch.
fn taken(batch: BatchRef<'_>) -> Vec<Taken<'_>> {
    let frames = (batch.first..).zip(batch.frames().map_while(Result::ok));
    frames.map(|(number, frame)| Taken { batch, number, frame }).collect()
}

impl Taken<'_> {
    fn is_same(&self, other: &Taken<'_>) -> bool {
        let name = |it: &Taken<'_>| (it.batch.source, it.batch.epoch, it.number, it.frame.header);
        name(self) == name(other) && self.frame.payload == other.frame.payload
    }
}

impl Recorded {
    fn read(side: &mut Side, worker: WorkerId, item: Item) -> Result<Recorded, ReplayError> {
        side.reader.seek(item.at)?;
        let mut records = Excerpt::default();
        // What is damaged behind it ends it, as the journal's end does.
        while let Some(entry) = sound(side.reader.next())? {
            let is_own = entry.record.worker() == Some(worker);
            let ends = match entry.record {
                Record::Round { round, .. } => round != item.round,
                record => record.ends_round(item.round),
            };
            if is_own && ends {
                break;
            }
            if is_own {
                records.push(&entry);
            }
        }
        // Where the round's end is in another segment, the tables are those of that, which are the same within an epoch.
        let table = side.reader.header().map(|header| table_of(header, &side.dir)).transpose()?;
        let table = table.unwrap_or(Table { messages: Vec::new(), kinds: Vec::new(), resources: Vec::new() });
        Ok(Recorded { worker, item, tables: Tables::new(table), records })
    }

    fn frames(&self) -> Vec<Taken<'_>> {
        let batches = self.records.entries().take(1).flat_map(|entry: Entry<'_>| match entry.record {
            Record::Round { batches, .. } => batches.collect(),
            _ => Vec::new(),
        });
        batches.flat_map(taken).collect()
    }

    fn deliveries(&self) -> Vec<Delivery> {
        let records = self.records.entries().filter_map(|entry| match entry.record {
            Record::Deliveries { entries, .. } => Some(Deliveries::new(entries).map_while(Result::ok)),
            _ => None,
        });
        records.flatten().collect()
    }

    /// What the round was told, as lines, and what tells them apart. What a port answered may hold a secret, and isn't shown.
    fn told(&self) -> Vec<(String, Vec<u8>)> {
        let records = self.records.entries().filter_map(|entry| match entry.record {
            Record::External { port, answer, .. } => {
                Some((format!("port `{port}` answered {} bytes", answer.len()), answer.to_vec()))
            }
            Record::Version { name, version, .. } => Some((format!("version {version} of `{name}`"), Vec::new())),
            _ => None,
        });
        records.collect()
    }

    fn schema(&self, frame: &Frame<'_>) -> Option<&TableSchema> {
        let number = frame.header.type_number as usize;
        match frame.header.class {
            Class::Spawn => self.tables.table.kinds.get(number).map(|kind| &kind.value),
            Class::Message | Class::Reply | Class::Spawned => {
                self.tables.table.messages.get(number).map(|message| &message.schema)
            }
            _ => None,
        }
    }

    fn line(&self, own: &Own, taken: &Taken<'_>) -> String {
        let Taken { batch, number, frame } = taken;
        let place = (frame.header.sender.node(), qnfsm::Place::worker(self.worker));
        self.text(frame_line(own, &self.tables, place, batch, (*number, frame), VALUE_CHARS_MAX))
    }

    fn text(&self, what: What<'_>) -> String {
        let (worker, round) = (Some(self.worker.0), Some(Number(self.item.round)));
        Line { segment: None, offset: None, worker, round, what }.to_string().trim().to_owned()
    }

    fn delivery_line(&self, delivery: &Delivery) -> String {
        let message = match delivery.handler {
            Handler::Start => "its start".to_owned(),
            Handler::Enter => "its enter action".to_owned(),
            Handler::Handle => {
                let value = self.tables.message(delivery.type_number, &delivery.payload, VALUE_CHARS_MAX);
                let of = qnfsm::schema::short_name(self.tables.message_name(delivery.type_number).0);
                format!("{of} {} from {}", value.text(), delivery.sender)
            }
        };
        let state = self.tables.kind(delivery.kind).map(|kind| kind.state.text(&delivery.state, VALUE_CHARS_MAX));
        let (state, data) = (state.unwrap_or_default(), delivery.data_digest);
        let spawned = match delivery.spawned.len() {
            0 => String::new(),
            count => format!(", spawned {count}"),
        };
        format!("{message}, then in {state}{spawned}, data {data:016x}, effects {:016x}", delivery.effects_digest)
    }
}

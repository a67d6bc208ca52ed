//! Lines as text: one line each, parts of a record indented behind it. Types are named without their modules.

use std::fmt::{self, Display, Formatter};

use qnfsm::schema::short_name;

use super::{
    Line, Name, Number, Queue, Resource, Summary, Value, What,
    line::{Config, Contents, Delivered, FileState},
};

/// How wide position and round are, so that what a line says begins at the same column.
const POSITION_CHARS: usize = 11;
const ROUND_CHARS: usize = 9;

pub(super) fn write(line: &Line<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    match &line.what {
        What::Segment { .. } | What::Summary(_) => {}
        // What waits for an FSM belongs to the FSM, which is a part itself.
        What::Waiting { .. } | What::Timer { .. } | What::Request { .. } | What::Monitors { .. } => {
            write!(f, "{:1$}", "", POSITION_CHARS + ROUND_CHARS + 6)?;
        }
        _ if line.is_part() => write!(f, "{:1$}", "", POSITION_CHARS + ROUND_CHARS + 4)?,
        _ => {
            let round = match (line.worker, line.round) {
                (Some(worker), Some(round)) => format!("w{worker} #{round}"),
                (Some(worker), None) => format!("w{worker}"),
                _ => String::new(),
            };
            let position = match (line.segment, line.offset) {
                (Some(segment), Some(offset)) => format!("{segment}:{offset}"),
                _ => String::new(),
            };
            write!(f, "{position:<POSITION_CHARS$} {round:<ROUND_CHARS$} ")?;
        }
    }
    match &line.what {
        What::Segment { .. } => segment(line, f),
        What::Round { .. } | What::Frame { .. } | What::External { .. } | What::Version { .. } => input(&line.what, f),
        What::Delivery { .. } => delivery(&line.what, f),
        What::Snapshot { .. } | What::Fsm { .. } => snapshot(&line.what, f),
        What::Waiting { .. } | What::Timer { .. } | What::Request { .. } | What::Monitors { .. } => {
            waiting(&line.what, f)
        }
        What::Summary(it) => summary(it, f),
        _ => mark(&line.what, f),
    }
}

fn segment(line: &Line<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    let What::Segment { program, epoch, build, kinds, message_types, resources, .. } = &line.what else {
        return Ok(());
    };
    let (kinds, types) = (count(kinds.len(), "kind"), count(message_types.len(), "message type"));
    let Some(segment) = line.segment else { return Ok(()) };
    write!(f, "segment {segment} of `{program}`, epoch {epoch}, build {build}, {kinds}, {types}")?;
    resources.iter().try_for_each(|Resource { name, hash }| write!(f, ", resource {name} with hash {hash}"))
}

/// What enters a worker.
fn input(what: &What<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    match what {
        What::Round { time, frames, .. } => match frames {
            Number(0) => write!(f, "{time}  round without input"),
            Number(1) => write!(f, "{time}  round with 1 frame"),
            frames => write!(f, "{time}  round with {frames} frames"),
        },
        What::Frame { source, number, class, untrusted, to, from, request, of, value, .. } => {
            write!(f, "{source} {number}  {class} {from} → {to}{}", request_text("request", *request))?;
            if *untrusted {
                f.write_str(" untrusted")?;
            }
            typed(*of, value.as_ref(), f)
        }
        What::External { port, bytes, hex, .. } => {
            write!(f, "port `{port}` answered {}", count(*bytes, "byte"))?;
            hex.as_ref().map_or(Ok(()), |hex| write!(f, ": {hex}"))
        }
        What::Version { name, version } => write!(f, "version {version} of `{name}` from here on"),
        _ => Ok(()),
    }
}

fn delivery(what: &What<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    let What::Delivery { number, queue, kind, handler, of, from, message, state, data_digest, spawned, .. } = what
    else {
        return Ok(());
    };
    write!(f, "{number}  {queue} {kind}: {handler}")?;
    if let Some(from) = from {
        write!(f, " from {from}")?;
    }
    typed(*of, message.as_ref(), f)?;
    if let Some(state) = state {
        write!(f, " → {}", state.text())?;
    }
    if !spawned.is_empty() {
        write!(f, ", spawned {}", queues(spawned))?;
    }
    write!(f, ", data {data_digest}")
}

fn snapshot(what: &What<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    match what {
        What::Snapshot { contents: Some(contents), .. } => {
            let Contents { time, image_bytes, fsms, handled, dead_letters, .. } = contents;
            let (fsms, bytes) = (count(*fsms, "FSM"), count(*image_bytes, "byte"));
            write!(f, "{time}  snapshot of {fsms} in {bytes}; {handled} messages handled, {dead_letters} dead letters")
        }
        What::Snapshot { file, .. } => match file {
            FileState::ShownBefore => f.write_str("snapshot, marked again"),
            FileState::Gone => f.write_str("snapshot, which is gone: later ones took its place"),
            FileState::Another => f.write_str("snapshot, which is gone: another one of this round took its place"),
            FileState::Damaged { note } => write!(f, "snapshot, which can't be shown: {note}"),
            FileState::Sound | FileState::NotOpened => f.write_str("snapshot"),
        },
        What::Fsm { queue, kind, state, data, note, restarts, .. } => {
            write!(f, "{queue} {kind}: {}", data.text())?;
            if let Some(state) = state {
                write!(f, " in {}", state.text())?;
            }
            match restarts {
                Some(restarts) if *restarts > 0 => write!(f, ", restarted {restarts} times")?,
                _ => {}
            }
            note.as_ref().map_or(Ok(()), |note| write!(f, " ({})", Name(note)))
        }
        _ => Ok(()),
    }
}

/// What waits for an FSM of a snapshot.
fn waiting(what: &What<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    match what {
        What::Waiting { waits, from, asks, answers, timer, beats, message, .. } => {
            f.write_str(waits)?;
            if let Some(from) = from {
                write!(f, " from {from}")?;
            }
            if let (Some(timer), Some(beats)) = (timer, beats) {
                write!(f, " of timer `{timer}`, {beats} beats")?;
            }
            write!(f, "{}{}: ", request_text("request", *asks), request_text("outcome of request", *answers))?;
            f.write_str(&message.text())
        }
        What::Timer { name, deadline, every_ns, message, .. } => {
            write!(f, "timer `{name}` at {deadline}")?;
            if let Some(Number(every_ns)) = every_ns {
                write!(f, ", every {:?}", std::time::Duration::from_nanos(*every_ns))?;
            }
            write!(f, ": {}", message.text())
        }
        What::Request { request, deadline, of, .. } => {
            write!(f, "waits for the answer of request {request}, {}, until {deadline}", Name(&short_name(of.0)))
        }
        What::Monitors { queues: of, .. } => write!(f, "monitors {}", queues(of)),
        _ => Ok(()),
    }
}

/// What is said of a worker, or of the journal, beside what enters it.
fn mark(what: &What<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    let asked = |f: &mut Formatter<'_>, asked_by: &Option<Queue>, request: &Option<Number>| match asked_by {
        Some(asker) => write!(f, ", asked for by {asker}{}", request_text("request", *request)),
        None => Ok(()),
    };
    match what {
        What::WorkerStarted { epoch, asked_by, request, config } => {
            write!(f, "worker started in epoch {epoch}")?;
            asked(f, asked_by, request)?;
            configured(config, f)
        }
        What::WorkerStopped { digest } => write!(f, "worker stopped, digest {digest}"),
        What::DigestMark { digest } => write!(f, "digest {digest}"),
        What::SnapshotBegun { digest } => write!(f, "snapshot begun, digest {digest}"),
        What::Configured { config } => {
            f.write_str("configured")?;
            configured(config, f)
        }
        What::SyncMark { synced_segment, synced_offset } => write!(f, "on disk up to {synced_segment}:{synced_offset}"),
        What::CleanStop { epoch } => write!(f, "clean stop of epoch {epoch}"),
        What::Skipped { delivery, stops } => {
            let fsm = if *stops { ", and its FSM stopped" } else { "" };
            write!(f, "skipped {}{fsm}", Reached(delivery))
        }
        What::Attempt { outcome, delivery } => {
            let outcome = match *outcome {
                "goes_on" => "runs the round again",
                "timed_out" => "the round has not ended in its time",
                _ => "the round ended in a fault",
            };
            f.write_str(outcome)?;
            delivery.as_ref().map_or(Ok(()), |delivery| write!(f, ", at {}", Reached(delivery)))
        }
        What::WorkerKept { asked_by, request } => {
            f.write_str("worker kept, whose start may be gone")?;
            asked(f, asked_by, request)
        }
        What::Unknown { note } => write!(f, "not understood: {}", Name(note)),
        _ => Ok(()),
    }
}

fn summary(it: &Summary, f: &mut Formatter<'_>) -> fmt::Result {
    let [records, rounds, frames, messages, snapshots, fsms] = [
        (it.records, "record"),
        (it.rounds, "round"),
        (it.frames, "frame"),
        (it.messages, "message"),
        (it.snapshots, "snapshot"),
        (it.fsms, "FSM"),
    ]
    .map(|(number, of)| count(number.0, of));
    writeln!(f, "{records}, {rounds}, {frames} with {messages} in them; {snapshots} with {fsms}")?;
    if let Some(lost) = &it.lost {
        writeln!(f, "note: {lost}")?;
    }
    for opaque in &it.opaque {
        writeln!(f, "opaque: {}: {}", opaque.name, opaque.why)?;
    }
    let (kinds, types) = (count(it.kinds, "kind"), count(it.message_types, "message type"));
    write!(f, "{kinds}, {} opaque; {types}, {} opaque", it.kinds_opaque, it.message_types_opaque)
}

fn configured(config: &Config, f: &mut Formatter<'_>) -> fmt::Result {
    let Config { seed, recording, turn_messages, fsms_max } = config;
    write!(f, ": seed {seed}, records {recording}, {turn_messages} messages a turn, {fsms_max} FSMs at most")
}

/// A value behind its type's name.
fn typed(of: Option<Name<'_>>, value: Option<&Value<'_>>, f: &mut Formatter<'_>) -> fmt::Result {
    if let Some(Name(of)) = of {
        write!(f, "  {}", Name(&short_name(of)))?;
    }
    value.map_or(Ok(()), |value| write!(f, ": {}", value.text()))
}

struct Reached<'a>(&'a Delivered);

impl Display for Reached<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Delivered { number, slot, generation, values } = self.0;
        write!(f, "delivery {number}, to slot {slot}.{generation}, after {values} values from outside")
    }
}

fn request_text(what: &str, request: Option<Number>) -> String {
    request.map_or_else(String::new, |request| format!(", {what} {request}"))
}

fn queues(queues: &[Queue]) -> String {
    queues.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A number with its noun.
fn count(number: impl TryInto<u64>, of: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {of}{plural}")
}

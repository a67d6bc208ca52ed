//! A trace as Chrome's and Perfetto's viewers read it: the JSON object form of the Trace Event Format, written as it comes.
//!
//! The process is the node, its threads are the workers, and the edges beside them. A round is a slice that begins at the time which its worker was
//! told, or where the round before it ends. Handlers are slices in it. The journal has no times of these: they have the order in
//! which they ran, and are all of one width, [`WIDE_NS`]; [`NARROW_NS`], where the worker has no room for more before it is told of a later
//! time. A message is an arrow (a flow) from the handler that sent it to the one that took it, or to the round in which it
//! entered another worker. What comes from an edge, or goes there, is a mark on the edge's thread.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{self, Write},
};

use qnfsm::{Handler, Place, RawQueueId, WorkerId, frame::Class};
use serde_json::{Value, json};

use super::{
    event::{At, Crossed, Ended, Event, Ran, Sink, Way},
    observed::plain,
};
use crate::dump::tables::{Tables, variant_of};

/// How wide a handler is drawn, in nanoseconds.
const WIDE_NS: u64 = 1000;
/// How wide where there is no room; less than any handler takes.
const NARROW_NS: u64 = 20;
/// The process.
const NODE: u32 = 1;
/// Added to the numbers of edges, so that they are no worker's.
const EDGES: u64 = 1 << 32;
/// How many handlers of a worker, and frames under way, are remembered for arrows that have yet to be drawn.
const REMEMBERED_MAX: usize = 1 << 16;

/// A trace under way.
pub(crate) struct Trace<W> {
    out: W,
    is_begun: bool,
    /// The moment of which times are told, in nanoseconds since 1970.
    base_ns: u64,
    threads: BTreeSet<u64>,
    lanes: BTreeMap<WorkerId, Lane>,
    /// Frames between workers, by source, destination and number, and when their senders ran.
    under_way: BTreeMap<(Place, WorkerId, u64), u64>,
    flows: u64,
}

/// What is drawn of a worker.
#[derive(Default)]
struct Lane {
    /// Its round, if one was begun and has yet to be closed.
    open: Option<Open>,
    /// How far it is drawn.
    upto_ns: u64,
    width_ns: u64,
    /// When handlers ran, by the number of what happened.
    ran: VecDeque<(u64, u64)>,
    /// When each FSM's last handler of the round ran.
    last: BTreeMap<RawQueueId, u64>,
}

/// A round that has yet to be closed.
struct Open {
    begin_ns: u64,
    at: At,
    messages: u64,
    /// The events in it, written: a slice stands before those that lie in it.
    held: Vec<u8>,
}

impl<W: Write> Trace<W> {
    pub(crate) fn new(out: W) -> Trace<W> {
        let (threads, lanes, under_way) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Trace { out, is_begun: false, base_ns: 0, threads, lanes, under_way, flows: 0 }
    }

    /// Closes what is open, and writes the end.
    pub(crate) fn finish(&mut self, remarks: &[String]) -> io::Result<()> {
        let workers: Vec<_> = self.lanes.keys().copied().collect();
        workers.into_iter().try_for_each(|worker| self.close(worker))?;
        self.begin()?;
        let about = json!({
            "base_time_ns": self.base_ns.to_string(),
            "remarks": remarks,
            "within_rounds": format!("handlers have an order and no times of their own: each is drawn {WIDE_NS} ns wide, or {NARROW_NS} ns"),
        });
        writeln!(self.out, "\n],\"otherData\":{about}}}")?;
        self.out.flush()
    }

    /// Writes what stands before the first event, once.
    fn begin(&mut self) -> io::Result<()> {
        if self.is_begun {
            return Ok(());
        }
        self.is_begun = true;
        let about = json!({"ph": "M", "pid": NODE, "name": "process_name", "args": {"name": "node"}});
        write!(self.out, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n{about}")
    }

    /// Writes an event that belongs to no round.
    fn event(&mut self, event: &Value) -> io::Result<()> {
        write!(self.out, ",\n{event}")
    }

    /// Writes an event of a worker's round, in its turn.
    fn hold(&mut self, worker: WorkerId, event: &Value) -> io::Result<()> {
        match self.lanes.get_mut(&worker).and_then(|lane| lane.open.as_mut()) {
            Some(open) => write!(open.held, ",\n{event}"),
            None => self.event(event),
        }
    }

    /// A moment in microseconds, of which times are told.
    fn ts(ns: u64) -> Value {
        // Times are told from the trace's beginning on, so that a double holds them to the nanosecond for a hundred days.
        #[expect(clippy::cast_precision_loss, reason = "what is lost is less than can be seen")]
        let us = ns as f64 / 1000.0;
        json!(us)
    }

    fn thread(&mut self, number: u64, name: &str) -> io::Result<()> {
        if !self.threads.insert(number) {
            return Ok(());
        }
        self.event(&json!({"ph": "M", "pid": NODE, "tid": number, "name": "thread_name", "args": {"name": name}}))?;
        let about = json!({"sort_index": number});
        self.event(&json!({"ph": "M", "pid": NODE, "tid": number, "name": "thread_sort_index", "args": about}))
    }

    fn round(&mut self, at: &At) -> io::Result<()> {
        if !self.is_begun {
            // Another worker's rounds may have been told an earlier time.
            self.base_ns = at.now.as_nanos().saturating_sub(1_000_000_000);
            self.begin()?;
        }
        self.close(at.worker)?;
        let tid = tid(at.worker);
        self.thread(tid, &format!("worker {}", at.worker))?;
        let now = at.now.as_nanos().saturating_sub(self.base_ns);
        let lane = self.lanes.entry(at.worker).or_default();
        lane.width_ns = if lane.upto_ns > now { NARROW_NS } else { WIDE_NS };
        lane.upto_ns = lane.upto_ns.max(now);
        lane.open = Some(Open { begin_ns: lane.upto_ns, at: *at, messages: 0, held: Vec::new() });
        lane.last.clear();
        Ok(())
    }

    fn close(&mut self, worker: WorkerId) -> io::Result<()> {
        let Some(lane) = self.lanes.get_mut(&worker) else { return Ok(()) };
        let Some(Open { begin_ns, at, messages, held }) = lane.open.take() else { return Ok(()) };
        // A round in which nothing ran is seen too.
        lane.upto_ns = lane.upto_ns.max(begin_ns + lane.width_ns);
        let (ts, dur) = (Self::ts(begin_ns), Self::ts(lane.upto_ns - begin_ns));
        self.event(&json!({
            "ph": "X", "pid": NODE, "tid": tid(worker), "ts": ts, "dur": dur, "cat": "round", "name": format!("round {}", at.round),
            "args": {"now_ns": at.now.as_nanos().to_string(), "ordinal": at.ordinal, "messages": messages},
        }))?;
        self.out.write_all(&held)?;
        let name = format!("{worker} messages a round");
        self.event(&json!({"ph": "C", "pid": NODE, "ts": ts, "name": name, "args": {"messages": messages}}))
    }

    fn ran(&mut self, tables: &Tables, at: &At, ran: &Ran<'_>) -> io::Result<()> {
        let (kind, tid) = (plain(tables.kind_name(ran.kind).0), tid(at.worker));
        let what = match (&ran.message, ran.handler) {
            (Some(message), _) => tables.message_variant(message.of, message.bytes),
            (None, Handler::Start) => "start".to_owned(),
            (None, _) => "enter".to_owned(),
        };
        let Some(lane) = self.lanes.get_mut(&at.worker) else { return Ok(()) };
        let Some(open) = &mut lane.open else { return Ok(()) };
        open.messages += u64::from(ran.message.is_some());
        let (begin, width) = (lane.upto_ns, lane.width_ns);
        lane.upto_ns += width;
        lane.last.insert(ran.queue, begin);
        let sender = ran.message.as_ref().and_then(|message| lane.when(message.put_at?));
        if lane.ran.back().is_none_or(|(last, _)| *last < ran.happening) {
            lane.ran.push_back((ran.happening, begin));
        }
        if lane.ran.len() > REMEMBERED_MAX {
            lane.ran.pop_front();
        }
        let state = |bytes: Option<&[u8]>| variant_of(tables.kind(ran.kind)?.state, bytes?).map(|name| plain(&name));
        let about = json!({
            "queue": ran.queue.to_string(),
            "from": ran.message.as_ref().map(|message| message.sender.to_string()),
            "state_before": state(ran.before),
            "state_after": state(ran.after),
            "ended": ended(ran.ended),
        });
        let slice = json!({
            "ph": "X", "pid": NODE, "tid": tid, "ts": Self::ts(begin), "dur": Self::ts(width), "cat": "handler",
            "name": format!("{kind}: {what}"), "args": about,
        });
        self.hold(at.worker, &slice)?;
        match sender {
            Some(sent) => self.flow(&what, (at.worker, sent), (at.worker, begin)),
            None => Ok(()),
        }
    }

    fn crossed(&mut self, tables: &Tables, at: &At, it: &Crossed<'_>) -> io::Result<()> {
        let what = match it.class {
            Class::Message | Class::Reply => tables.message_variant(it.of, it.bytes),
            class => format!("{class:?}").to_lowercase(),
        };
        let Some((begun, upto, sent)) = self.lanes.get(&at.worker).and_then(|lane| {
            let begun = lane.open.as_ref()?.begin_ns;
            Some((begun, lane.upto_ns, lane.last.get(&it.from).copied().unwrap_or(begun)))
        }) else {
            return Ok(());
        };
        match (it.way, it.other.as_worker(), it.other.as_edge()) {
            (Way::Out, Some(to), _) => {
                self.under_way.insert((Place::worker(at.worker), to, it.number), sent);
                if self.under_way.len() > REMEMBERED_MAX {
                    self.under_way.pop_first();
                }
                Ok(())
            }
            (Way::In, Some(from), _) => match self.under_way.remove(&(it.other, at.worker, it.number)) {
                Some(sent) => self.flow(&what, (from, sent), (at.worker, begun)),
                None => Ok(()),
            },
            (way, _, Some(edge)) => {
                let tid = EDGES + u64::from(edge.0);
                self.thread(tid, &format!("edge {}", it.other))?;
                let (when, what) = if way == Way::In { (begun, what) } else { (upto, format!("{what} (out)")) };
                let about = json!({"from": it.from.to_string(), "to": it.to.to_string()});
                self.event(&json!({
                    "ph": "i", "s": "t", "pid": NODE, "tid": tid, "ts": Self::ts(when), "cat": "edge", "name": what, "args": about,
                }))
            }
            _ => Ok(()),
        }
    }

    /// An arrow from a slice of a worker to one of another, by when they begin. It touches both within, where nothing else begins.
    fn flow(&mut self, what: &str, from: (WorkerId, u64), to: (WorkerId, u64)) -> io::Result<()> {
        self.flows += 1;
        let id = self.flows;
        let end = |ph: &str, (worker, ns): (WorkerId, u64)| {
            let (tid, ts) = (tid(worker), Self::ts(ns + NARROW_NS / 4));
            json!({"ph": ph, "bp": "e", "id": id, "pid": NODE, "tid": tid, "ts": ts, "cat": "message", "name": what})
        };
        self.hold(to.0, &end("s", from))?;
        self.hold(to.0, &end("f", to))
    }
}

impl Lane {
    /// When the handler ran that is that happening.
    fn when(&self, happening: u64) -> Option<u64> {
        let at = self.ran.binary_search_by_key(&happening, |(number, _)| *number).ok()?;
        Some(self.ran[at].1)
    }
}

fn tid(worker: WorkerId) -> u64 {
    u64::from(worker.0) + 1
}

fn ended(ended: Ended) -> &'static str {
    match ended {
        Ended::Stayed => "stayed",
        Ended::Changed => "changed",
        Ended::Postponed => "postponed",
        Ended::Unhandled => "unhandled",
        Ended::Stopped => "stopped",
        Ended::Failed => "failed",
        Ended::Skipped => "skipped",
    }
}

impl<W: Write> Sink for Trace<W> {
    fn take(&mut self, tables: &Tables, at: &At, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::Round => self.round(at),
            Event::Ran(ran) => self.ran(tables, at, ran),
            Event::Crossed(it) => self.crossed(tables, at, it),
        }
    }
}

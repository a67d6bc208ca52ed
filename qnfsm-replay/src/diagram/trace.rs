//! A trace as Chrome's and Perfetto's viewers read it: the JSON object form of the Trace Event Format, written as it comes.
//!
//! A process is a node, its threads are the workers, and the edges beside them. A round is a slice that begins at the time which its worker was
//! told, or where the round before it ends. Handlers are slices in it. The journal has no times of these: they have the order in
//! which they ran, and are all of one width, [`WIDE_NS`]; [`NARROW_NS`], where the worker has no room for more before it is told of a later
//! time. A message is an arrow (a flow) from the handler that sent it to the one that took it, or to the round in which it
//! entered another worker. It begins at the round's own beginning where the worker told it by itself, or the handler isn't drawn. What comes
//! from an edge, or goes there, is a mark on the edge's thread.
//!
//! No arrow goes back in time: a round is drawn no earlier than behind the handlers that sent what entered with it, though its worker was told
//! of an earlier time than they are drawn at.
//!
//! Of several nodes each has a clock of its own, and none is right. So that nothing stands before what led to it, a node's clock is drawn later, from the round on
//! that shows that it is slow; what was recorded stands beside the round.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{self, Write},
    mem,
    time::Duration,
};

use qnfsm::{Handler, NodeId, Place, WorkerId, frame::Class};
use serde_json::{Value, json};

use super::{
    event::{At, Crossed, Ended, Event, Ran, Sink, Way},
    observed::plain,
};
use crate::{
    dump::tables::{Tables, variant_of},
    nodes::{CameIn, Sending},
};

/// How wide a handler is drawn, in nanoseconds.
const WIDE_NS: u64 = 1000;
/// How wide where there is no room; less than any handler takes.
const NARROW_NS: u64 = 20;
/// Added to the numbers of edges, so that they are no worker's.
const EDGES: u64 = 1 << 32;
/// How many handlers of a worker, and frames under way, are remembered for arrows that have yet to be drawn.
const REMEMBERED_MAX: usize = 1 << 16;

/// A trace under way.
pub(crate) struct Trace<W> {
    out: W,
    is_begun: bool,
    has_events: bool,
    /// The moment of which times are told, in nanoseconds since 1970.
    base_ns: u64,
    is_of_several: bool,
    /// How much later than it said the clock of each node is drawn, in nanoseconds.
    late_ns: BTreeMap<NodeId, u64>,
    threads: BTreeSet<(NodeId, u64)>,
    lanes: BTreeMap<Thread, Lane>,
    /// When the senders ran of frames on their way between workers or nodes; and these in the order in which they left.
    under_way: BTreeMap<Leaving, u64>,
    left: VecDeque<Leaving>,
    flows: u64,
}

/// A worker of a node.
type Thread = (NodeId, WorkerId);

/// A frame that left a worker: which worker, for which place, and its number there.
type Leaving = (Thread, Place, u64);

/// What is drawn of a worker.
#[derive(Default)]
struct Lane {
    /// Its round, if one was begun and has yet to be closed.
    open: Option<Open>,
    /// How far it is drawn.
    upto_ns: u64,
    width_ns: u64,
    /// When handlers ran, by the number of what happened, and whether it was an enter action.
    ran: VecDeque<((u64, bool), u64)>,
    /// When each of the round's handlers ran.
    of_round: BTreeMap<usize, u64>,
}

/// A round that has yet to be closed.
struct Open {
    begin_ns: u64,
    at: At,
    messages: u64,
    /// What entered with it and has yet to be drawn, since all of it says when the round begins.
    arrived: Vec<Arrived>,
    /// The events in it, written: a slice stands before those that lie in it.
    held: Vec<u8>,
}

/// What entered with a round.
struct Arrived {
    what: String,
    /// From where and when an arrow leads to it.
    sent: Option<(Thread, u64)>,
    /// The edge on whose thread it is a mark, and what is said of it there.
    edge: Option<(u64, Value)>,
}

impl<W: Write> Trace<W> {
    pub(crate) fn new(out: W) -> Trace<W> {
        Trace {
            out,
            is_begun: false,
            has_events: false,
            base_ns: 0,
            is_of_several: false,
            late_ns: BTreeMap::new(),
            threads: BTreeSet::new(),
            lanes: BTreeMap::new(),
            under_way: BTreeMap::new(),
            left: VecDeque::new(),
            flows: 0,
        }
    }

    /// Of several nodes, among which frames are followed.
    pub(crate) fn of_several(self, is_of_several: bool) -> Trace<W> {
        Trace { is_of_several, ..self }
    }

    /// Closes what is open, and writes the end.
    pub(crate) fn finish(&mut self, remarks: &[String]) -> io::Result<()> {
        let workers: Vec<_> = self.lanes.keys().copied().collect();
        workers.into_iter().try_for_each(|worker| self.close(worker))?;
        self.begin()?;
        let late = self.late_ns.iter().filter(|(_, late_ns)| **late_ns > 0).map(|(node, late_ns)| {
            let late = Duration::from_nanos(*late_ns);
            format!(
                "the clock of node {} is drawn {late:?} later at the end, so that nothing stands before what led to it",
                node.0
            )
        });
        let remarks: Vec<_> = remarks.iter().cloned().chain(late).collect();
        let about = json!({
            "base_time_ns": self.base_ns.to_string(),
            "remarks": remarks,
            "within_rounds": format!("handlers have an order and no times of their own: each is drawn {WIDE_NS} ns wide, or {NARROW_NS} ns"),
        });
        writeln!(self.out, "\n],\"otherData\":{about}}}")?;
        self.out.flush()
    }

    /// True if something was written.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Writes what stands before the first event, once.
    fn begin(&mut self) -> io::Result<()> {
        if self.is_begun {
            return Ok(());
        }
        self.is_begun = true;
        write!(self.out, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")
    }

    /// Writes an event that belongs to no round.
    fn event(&mut self, event: &Value) -> io::Result<()> {
        let comma = if mem::replace(&mut self.has_events, true) { "," } else { "" };
        write!(self.out, "{comma}\n{event}")
    }

    /// Writes an event of a worker's round, in its turn.
    fn hold(&mut self, worker: Thread, event: &Value) -> io::Result<()> {
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

    fn thread(&mut self, node: NodeId, number: u64, name: &str) -> io::Result<()> {
        if !self.threads.insert((node, number)) {
            return Ok(());
        }
        let pid = pid(node);
        self.event(&json!({"ph": "M", "pid": pid, "tid": number, "name": "thread_name", "args": {"name": name}}))?;
        let about = json!({"sort_index": number});
        self.event(&json!({"ph": "M", "pid": pid, "tid": number, "name": "thread_sort_index", "args": about}))
    }

    fn process(&mut self, node: NodeId) -> io::Result<()> {
        let name = format!("node {}", node.0);
        self.event(&json!({"ph": "M", "pid": pid(node), "name": "process_name", "args": {"name": name}}))
    }

    fn round(&mut self, at: &At, came: &[CameIn]) -> io::Result<()> {
        if !self.is_begun {
            // Another worker's rounds may have been told an earlier time.
            self.base_ns = at.now.as_nanos().saturating_sub(1_000_000_000);
            self.begin()?;
        }
        let worker = (at.node, at.worker);
        self.close(worker)?;
        let now = at.now.as_nanos();
        if !self.late_ns.contains_key(&at.node) {
            self.process(at.node)?;
            let before = if self.is_of_several { self.base_ns.saturating_sub(now) } else { 0 };
            self.late_ns.insert(at.node, before);
        }
        self.thread(at.node, tid(at.worker), &format!("worker {}", at.worker))?;
        let led = came.iter().filter_map(|came| self.under_way.get(&leaving(came.whence.sending()?)));
        let earliest = led.max().map_or(0, |sent| sent + WIDE_NS);
        let late_ns = self.late_ns.entry(at.node).or_default();
        let drawn = (now + *late_ns).saturating_sub(self.base_ns);
        *late_ns += earliest.saturating_sub(drawn);
        let now = drawn.max(earliest);
        let lane = self.lanes.entry(worker).or_default();
        lane.width_ns = if lane.upto_ns > now { NARROW_NS } else { WIDE_NS };
        lane.upto_ns = lane.upto_ns.max(now);
        lane.open = Some(Open { begin_ns: lane.upto_ns, at: *at, messages: 0, arrived: Vec::new(), held: Vec::new() });
        lane.of_round.clear();
        Ok(())
    }

    /// Draws what entered with a worker's round, once all of it is known: the round is begun behind what sent it.
    fn arrive(&mut self, worker: Thread) -> io::Result<()> {
        let Some(lane) = self.lanes.get_mut(&worker) else { return Ok(()) };
        let Some(open) = &mut lane.open else { return Ok(()) };
        let arrived = mem::take(&mut open.arrived);
        let sent = arrived.iter().filter_map(|arrived| Some(arrived.sent?.1 + NARROW_NS)).max();
        if let Some(sent) = sent.filter(|sent| *sent > open.begin_ns) {
            // It is drawn later than it was, and so are those behind it until they have caught up.
            (open.begin_ns, lane.upto_ns, lane.width_ns) = (sent, sent, NARROW_NS);
        }
        let begin = open.begin_ns;
        for Arrived { what, sent, edge } in arrived {
            if let Some((edge, about)) = edge {
                self.mark((worker.0, edge), begin, &what, &about)?;
            }
            if let Some(from) = sent {
                self.flow(&what, from, (worker, begin))?;
            }
        }
        Ok(())
    }

    /// A mark on an edge's thread.
    fn mark(&mut self, (node, edge): (NodeId, u64), when: u64, name: &str, about: &Value) -> io::Result<()> {
        self.event(&json!({
            "ph": "i", "s": "t", "pid": pid(node), "tid": edge, "ts": Self::ts(when), "cat": "edge", "name": name, "args": about,
        }))
    }

    fn close(&mut self, worker: Thread) -> io::Result<()> {
        self.arrive(worker)?;
        let Some(lane) = self.lanes.get_mut(&worker) else { return Ok(()) };
        let Some(Open { begin_ns, at, messages, held, .. }) = lane.open.take() else { return Ok(()) };
        // A round in which nothing ran is seen too.
        lane.upto_ns = lane.upto_ns.max(begin_ns + lane.width_ns);
        let (ts, dur) = (Self::ts(begin_ns), Self::ts(lane.upto_ns - begin_ns));
        let (pid, tid) = (pid(worker.0), tid(worker.1));
        self.event(&json!({
            "ph": "X", "pid": pid, "tid": tid, "ts": ts, "dur": dur, "cat": "round", "name": format!("round {}", at.round),
            "args": {"now_ns": at.now.as_nanos().to_string(), "ordinal": at.ordinal, "messages": messages},
        }))?;
        self.out.write_all(&held)?;
        let name = format!("{} messages a round", worker.1);
        self.event(&json!({"ph": "C", "pid": pid, "ts": ts, "name": name, "args": {"messages": messages}}))
    }

    fn ran(&mut self, tables: &Tables, at: &At, ran: &Ran<'_>) -> io::Result<()> {
        let (kind, worker) = (plain(tables.kind_name(ran.kind).0), (at.node, at.worker));
        let what = match (&ran.message, ran.handler) {
            (Some(message), _) => tables.message_variant(message.of, message.bytes),
            (None, Handler::Start) => "start".to_owned(),
            (None, _) => "enter".to_owned(),
        };
        self.arrive(worker)?;
        let Some(lane) = self.lanes.get_mut(&worker) else { return Ok(()) };
        let Some(open) = &mut lane.open else { return Ok(()) };
        open.messages += u64::from(ran.message.is_some());
        let (begin, width) = (lane.upto_ns, lane.width_ns);
        lane.upto_ns += width;
        lane.of_round.insert(ran.number, begin);
        let sender = ran.message.as_ref().and_then(|message| lane.when(message.put_at?, message.by_enter));
        let happening = (ran.happening, ran.handler == Handler::Enter);
        if lane.ran.back().is_none_or(|(last, _)| *last < happening) {
            lane.ran.push_back((happening, begin));
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
            "ph": "X", "pid": pid(at.node), "tid": tid(at.worker), "ts": Self::ts(begin), "dur": Self::ts(width), "cat": "handler",
            "name": format!("{kind}: {what}"), "args": about,
        });
        self.hold(worker, &slice)?;
        match sender {
            Some(sent) => self.flow(&what, (worker, sent), (worker, begin)),
            None => Ok(()),
        }
    }

    fn crossed(&mut self, tables: &Tables, at: &At, it: &Crossed<'_>) -> io::Result<()> {
        let what = match it.class {
            Class::Message | Class::Reply => tables.message_variant(it.of, it.bytes),
            class => format!("{class:?}").to_lowercase(),
        };
        let worker = (at.node, at.worker);
        let edge = it.other.as_edge().map(|edge| EDGES + u64::from(edge.0));
        if let Some(edge) = edge {
            self.thread(at.node, edge, &format!("edge {}", it.other))?;
        }
        let about = json!({"from": it.from.to_string(), "to": it.to.to_string()});
        if it.way == Way::In {
            let sender = it.other.as_worker().map(|from| (at.node, from));
            let sent = match (sender, it.sent) {
                (Some(from), _) => {
                    let sent = self.under_way.remove(&(from, Place::worker(at.worker), it.number));
                    sent.map(|sent| (from, sent))
                }
                (None, sending) => sending.and_then(|sending| {
                    Some(((sending.node, sending.worker), *self.under_way.get(&leaving(sending))?))
                }),
            };
            if let Some(open) = self.lanes.get_mut(&worker).and_then(|lane| lane.open.as_mut()) {
                open.arrived.push(Arrived { what, sent, edge: edge.map(|edge| (edge, about)) });
            }
            return Ok(());
        }
        self.arrive(worker)?;
        let Some(lane) = self.lanes.get(&worker) else { return Ok(()) };
        let Some(Open { begin_ns, .. }) = lane.open else { return Ok(()) };
        let (upto, sent) = (lane.upto_ns, it.by.and_then(|by| lane.of_round.get(&by).copied()).unwrap_or(begin_ns));
        if self.is_of_several || edge.is_none() {
            self.leave((worker, it.other, it.number), sent);
        }
        let Some(edge) = edge else { return Ok(()) };
        self.mark((at.node, edge), upto, &format!("{what} (out)"), &about)
    }

    /// Remembers when the sender of a frame ran, until too many others have left.
    fn leave(&mut self, frame: Leaving, sent: u64) {
        self.under_way.insert(frame, sent);
        self.left.push_back(frame);
        if self.left.len() > REMEMBERED_MAX
            && let Some(first) = self.left.pop_front()
        {
            self.under_way.remove(&first);
        }
    }

    /// An arrow from a slice of a worker to one of another, by when they begin. It touches both within, where nothing else begins.
    fn flow(&mut self, what: &str, from: (Thread, u64), to: (Thread, u64)) -> io::Result<()> {
        self.flows += 1;
        let id = self.flows;
        let end = |ph: &str, (worker, ns): (Thread, u64)| {
            let (pid, tid, ts) = (pid(worker.0), tid(worker.1), Self::ts(ns + NARROW_NS / 4));
            json!({"ph": ph, "bp": "e", "id": id, "pid": pid, "tid": tid, "ts": ts, "cat": "message", "name": what})
        };
        self.hold(to.0, &end("s", from))?;
        self.hold(to.0, &end("f", to))
    }
}

impl Lane {
    /// When the handler ran that is that happening, or the enter action behind it.
    fn when(&self, happening: u64, is_enter: bool) -> Option<u64> {
        let at = self.ran.binary_search_by_key(&(happening, is_enter), |(number, _)| *number).ok()?;
        Some(self.ran[at].1)
    }
}

/// Viewers take process 0 for their own.
fn pid(node: NodeId) -> u64 {
    u64::from(node.0) + 1
}

fn leaving(sending: Sending) -> Leaving {
    ((sending.node, sending.worker), sending.to, sending.number)
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
            Event::Round(came) => self.round(at, came),
            Event::Ran(ran) => self.ran(tables, at, ran),
            Event::Crossed(it) => self.crossed(tables, at, it),
        }
    }
}

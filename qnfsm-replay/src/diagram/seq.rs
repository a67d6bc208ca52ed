//! Who sent what to whom: lanes for FSMs, edges and workers, and an arrow for each message in the order in which it was handled.
//!
//! Of a round whose handlers are known, an arrow is a message that was handled, and one for each frame that left to an edge. Of one whose
//! inputs alone are known, it is a frame that entered. So no message is drawn twice. One that left for another node is drawn where it came in there, once
//! it does: then its arrow to the edge is taken back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    io,
};

use qnfsm::{Handler, NodeId, Place, RawQueueId, frame::Class};
use serde::Serialize;

use super::{
    event::{At, Crossed, Event, How, Ran, Sink, Way},
    layout::Size,
    mermaid::{note, text},
    observed::plain,
    svg::{self, Canvas, Style},
};
use crate::{
    dump::{
        Instant,
        tables::{Tables, variant_of},
    },
    nodes::{Named, Sending},
};

/// A sequence diagram under way.
#[derive(Debug)]
pub(crate) struct Sequence {
    arrows_max: usize,
    lanes_max: usize,
    pub(crate) lanes: Vec<Lane>,
    numbers: BTreeMap<Key, usize>,
    pub(crate) arrows: Vec<Arrow>,
    /// Which of these are frames that went to an edge, and may yet come in at another node.
    leaving: BTreeMap<(NodeId, u64, Place, u64), usize>,
    /// Which came in there.
    taken_back: BTreeSet<usize>,
    /// Arrows that were chosen and not drawn, because there are too many.
    pub(crate) left_out: u64,
}

/// Whose a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Edge(NodeId, Place),
    /// A worker itself, which is asked to start an FSM.
    Worker(NodeId, Place),
    Fsm(RawQueueId),
    /// The FSMs of a place that have no lane of their own.
    Rest(NodeId, Place),
}

/// A lane.
#[derive(Debug, Serialize)]
pub(crate) struct Lane {
    pub(crate) name: String,
    pub(crate) node: u32,
    /// The worker or edge.
    pub(crate) place: String,
    /// The kind of its FSM, if it is known and one's own.
    pub(crate) kind: Option<String>,
    #[serde(skip)]
    order: Key,
}

/// A message.
#[derive(Debug, Serialize)]
pub(crate) struct Arrow {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// The variant, and as what it came if that is more than a message.
    pub(crate) what: String,
    pub(crate) node: u32,
    pub(crate) worker: u32,
    pub(crate) round: u64,
    pub(crate) time: Instant,
    /// The state that its handler went to, if it is another.
    pub(crate) goes_to: Option<String>,
}

impl Sequence {
    pub(crate) fn new(arrows_max: usize, lanes_max: usize) -> Sequence {
        let (lanes, numbers, arrows) = (Vec::new(), BTreeMap::new(), Vec::new());
        let (leaving, taken_back) = (BTreeMap::new(), BTreeSet::new());
        Sequence { arrows_max, lanes_max, lanes, numbers, arrows, leaving, taken_back, left_out: 0 }
    }

    /// The number of the lane of a queue, which it is given if it has none.
    fn lane(&mut self, queue: RawQueueId) -> usize {
        let (node, place) = (queue.node(), queue.place());
        let key = match place.as_edge() {
            Some(_) => Key::Edge(node, place),
            // Of an FSM that is to be started nobody knows the queue. Those that there are have generations from 1.
            None if queue.generation() == 0 => Key::Worker(node, place),
            None => Key::Fsm(queue),
        };
        let is_known = self.numbers.contains_key(&key);
        let key = if is_known || self.lanes.len() < self.lanes_max { key } else { Key::Rest(node, place) };
        let lanes = &mut self.lanes;
        *self.numbers.entry(key).or_insert_with(|| {
            let name = match key {
                Key::Edge(..) => format!("edge {}", of_node(node, place)),
                Key::Worker(..) => format!("worker {}", of_node(node, place)),
                Key::Fsm(queue) => queue.to_string(),
                Key::Rest(..) => format!("others of {}", of_node(node, place)),
            };
            lanes.push(Lane { name, node: node.0, place: place.to_string(), kind: None, order: key });
            lanes.len() - 1
        })
    }

    /// Names the lane of an FSM by its kind, if it has one.
    fn name(&mut self, tables: &Tables, queue: RawQueueId, kind: u32) {
        let Some(lane) = self.numbers.get(&Key::Fsm(queue)).map(|lane| &mut self.lanes[*lane]) else { return };
        if lane.kind.is_none() {
            let kind = plain(tables.kind_name(kind).0);
            lane.name = format!("{kind} {queue}");
            lane.kind = Some(kind);
        }
    }

    fn ran(&mut self, tables: &Tables, at: &At, ran: &Ran<'_>) {
        let state = |bytes: Option<&[u8]>| variant_of(tables.kind(ran.kind)?.state, bytes?).map(|name| plain(&name));
        let goes_to = state(ran.after).filter(|after| state(ran.before).as_ref() != Some(after));
        let (sender, what) = match (&ran.message, ran.handler) {
            (Some(message), _) => {
                let what = tables.message_variant(message.of, message.bytes);
                let how = match message.how {
                    How::Timer => " (timer)",
                    How::Answer => " (answer)",
                    How::Message => "",
                };
                (message.sender, format!("{what}{how}"))
            }
            (None, Handler::Start) => (ran.parent.unwrap_or(ran.queue), "start".to_owned()),
            // An enter action belongs to the message that changed the state, which is drawn.
            (None, _) => return,
        };
        if self.is_full() {
            return;
        }
        let (from, to) = (self.lane(sender), self.lane(ran.queue));
        self.name(tables, ran.queue, ran.kind);
        self.draw(at, from, to, what, goes_to);
    }

    fn crossed(&mut self, tables: &Tables, at: &At, it: &Crossed<'_>) {
        if let Some(Sending { node, ordinal, to, number, .. }) = it.sent
            && let Some(arrow) = self.leaving.remove(&(node, ordinal, to, number))
        {
            self.taken_back.insert(arrow);
        }
        let is_drawn = match it.way {
            Way::In => !at.is_whole,
            Way::Out => it.other.as_edge().is_some(),
        };
        if !is_drawn || self.is_full() {
            return;
        }
        let what = match it.class {
            Class::Message => tables.message_variant(it.of, it.bytes),
            Class::Reply => format!("{} (answer)", tables.message_variant(it.of, it.bytes)),
            Class::Spawn => format!("spawn {}", plain(tables.kind_name(it.of).0)),
            class => format!("{class:?}").to_lowercase(),
        };
        let (from, to) = (self.lane(it.from), self.lane(it.to));
        if it.way == Way::Out {
            self.leaving.insert((at.node, at.ordinal, it.other, it.number), self.arrows.len());
        }
        self.draw(at, from, to, what, None);
    }

    /// True if nothing more is drawn; what would have been is counted.
    fn is_full(&mut self) -> bool {
        let is_full = self.arrows.len() - self.taken_back.len() >= self.arrows_max;
        self.left_out += u64::from(is_full);
        is_full
    }

    fn draw(&mut self, at: &At, from: usize, to: usize, what: String, goes_to: Option<String>) {
        let (node, worker, round, time) = (at.node.0, at.worker.0, at.round, Instant(at.now));
        self.arrows.push(Arrow { from, to, what, node, worker, round, time, goes_to });
    }

    /// Takes out what was taken back, and the lanes that only that had.
    pub(crate) fn settle(&mut self) {
        let taken_back = std::mem::take(&mut self.taken_back);
        let arrows = std::mem::take(&mut self.arrows).into_iter().enumerate();
        self.arrows = arrows.filter(|(number, _)| !taken_back.contains(number)).map(|(_, arrow)| arrow).collect();
        self.leaving.clear();
        let used: BTreeSet<_> = self.arrows.iter().flat_map(|arrow| [arrow.from, arrow.to]).collect();
        let numbers: BTreeMap<_, _> = used.iter().copied().zip(0..).collect();
        for arrow in &mut self.arrows {
            (arrow.from, arrow.to) = (numbers[&arrow.from], numbers[&arrow.to]);
        }
        let lanes = std::mem::take(&mut self.lanes).into_iter().enumerate();
        self.lanes = lanes.filter(|(number, _)| used.contains(number)).map(|(_, lane)| lane).collect();
        self.numbers = self.lanes.iter().zip(0..).map(|(lane, number)| (lane.order, number)).collect();
    }

    /// True if lanes are of several nodes.
    fn has_several(&self) -> bool {
        self.lanes.iter().any(|lane| lane.node != self.lanes[0].node)
    }

    /// A round, as it is told beside an arrow: with its node, if there are several.
    fn round(&self, arrow: &Arrow, sign: &str) -> String {
        let Arrow { node, worker, round, .. } = arrow;
        if self.has_several() { format!("n{node} w{worker} {sign}{round}") } else { format!("w{worker} {sign}{round}") }
    }

    /// What stands round the lanes of a place.
    fn title(&self, lane: &Lane) -> String {
        if self.has_several() { format!("n{} {}", lane.node, lane.place) } else { lane.place.clone() }
    }

    /// What was left out, in words.
    pub(crate) fn remark(&self) -> Option<String> {
        (self.left_out > 0).then(|| {
            let (shown, left) = (self.arrows.len(), self.left_out);
            format!("the first {shown} messages; {left} more are left out: choose fewer with --worker, --queue, --kind, --from-round or --to-round, or \
                     more with --max")
        })
    }

    /// The numbers of the lanes from left to right: node by node, and of each the edges first, then worker by worker.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.lanes.len()).collect();
        let key = |lane: usize| {
            let (node, place) = match self.lanes[lane].order {
                Key::Edge(node, place) | Key::Worker(node, place) | Key::Rest(node, place) => (node, place),
                Key::Fsm(queue) => (queue.node(), queue.place()),
            };
            (node, place.as_worker().is_some(), place, self.lanes[lane].order)
        };
        order.sort_by_key(|lane| key(*lane));
        order
    }
}

impl Sink for Sequence {
    fn pass_over(&mut self, tables: &Tables, queue: RawQueueId, kind: u32) {
        self.name(tables, queue, kind);
    }

    fn take(&mut self, tables: &Tables, at: &At, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::Round(_) => {}
            Event::Ran(ran) => self.ran(tables, at, ran),
            Event::Crossed(it) => self.crossed(tables, at, it),
        }
        Ok(())
    }
}

/// A place, with its node if that has a number, as queues are named.
fn of_node(node: NodeId, place: Place) -> String {
    if node == NodeId(0) { place.to_string() } else { format!("{}:{place}", Named(node)) }
}

/// Runs of lanes of the same place.
fn groups<'s>(sequence: &'s Sequence, order: &'s [usize]) -> impl Iterator<Item = (&'s Lane, &'s [usize])> {
    let place = |lane: usize| (sequence.lanes[lane].node, &sequence.lanes[lane].place);
    order.chunk_by(move |one, other| place(*one) == place(*other)).map(|lanes| (&sequence.lanes[lanes[0]], lanes))
}

/// As Mermaid's `sequenceDiagram`.
pub(crate) fn mermaid(sequence: &Sequence, remarks: &[String]) -> String {
    let mut out = String::from("sequenceDiagram\n");
    let order = sequence.order();
    for (first, lanes) in groups(sequence, &order) {
        let is_worker = first.place.starts_with('w');
        if is_worker {
            let _ = writeln!(out, "    box transparent {}", text(&sequence.title(first)));
        }
        for lane in lanes {
            let _ = writeln!(out, "    participant p{lane} as {}", text(&sequence.lanes[*lane].name));
        }
        if is_worker {
            out.push_str("    end\n");
        }
    }
    for remark in remarks {
        // Where nothing is drawn, there is nothing that a note could stand over.
        let _ = match order.first() {
            Some(lane) => writeln!(out, "    Note over p{lane}: {}", note(remark)),
            None => writeln!(out, "    %% {}", plain(remark)),
        };
    }
    for arrow in &sequence.arrows {
        let Arrow { from, to, what, goes_to, .. } = arrow;
        let goes = goes_to.as_ref().map_or_else(String::new, |state| format!(" → {state}"));
        let _ =
            writeln!(out, "    p{from}->>p{to}: {}", text(&format!("{what}{goes} ({})", sequence.round(arrow, ""))));
    }
    out
}

const LANE_GAP: f64 = 24.0;
const ARROW_STEP: f64 = 22.0;
const HEAD_HEIGHT: f64 = 26.0;

/// As a picture.
pub(crate) fn picture(sequence: &Sequence, remarks: &[String]) -> String {
    let mut canvas = Canvas::default();
    let order = sequence.order();
    // Rounds stand on the left, in a column of their own.
    let round = |arrow: &Arrow| sequence.round(arrow, "#");
    let rounds = sequence.arrows.iter().map(|arrow| svg::width(&round(arrow), Style::Faint)).fold(0.0, f64::max);
    let widths: Vec<_> = sequence.lanes.iter().map(|lane| svg::width(&lane.name, Style::Line) + 16.0).collect();
    let mut middles = vec![0.0; sequence.lanes.len()];
    let mut left = svg::MARGIN + rounds + LANE_GAP;
    let mut middle_before: Option<(usize, f64)> = None;
    for lane in &order {
        let half = widths[*lane] / 2.0;
        let mut middle = left + half;
        if let Some((before, at)) = middle_before {
            // Neighbours stand so far apart that the texts between them have room.
            middle = middle.max(at + between(sequence, before, *lane));
        }
        middles[*lane] = middle;
        left = middle + half.max(own_width(sequence, *lane)) + LANE_GAP;
        middle_before = Some((*lane, middle));
    }
    let heads = svg::MARGIN + 24.0;
    let top = heads + HEAD_HEIGHT + 14.0;
    #[expect(clippy::cast_precision_loss, reason = "arrows are bounded")]
    let bottom = top + sequence.arrows.len() as f64 * ARROW_STEP + 10.0;
    for (lane, lanes) in groups(sequence, &order) {
        let (first, last) = (lanes[0], lanes[lanes.len() - 1]);
        let left = middles[first] - widths[first] / 2.0 - 8.0;
        let right = (middles[last] + widths[last] / 2.0).max(middles[last] + own_width(sequence, last));
        let size = Size { width: right + 8.0 - left, height: bottom - svg::MARGIN };
        canvas.rect(left, svg::MARGIN, size, r##"rx="6" fill="#f5f7fb" stroke="#d5dceb""##);
        canvas.text(left + 8.0, svg::MARGIN + 16.0, &sequence.title(lane), Style::Faint);
    }
    for lane in &order {
        let (x, width) = (middles[*lane], widths[*lane]);
        canvas.line((x, heads + HEAD_HEIGHT), (x, bottom), r##"stroke="#9aa7bf" stroke-dasharray="3 3""##);
        let size = Size { width, height: HEAD_HEIGHT };
        canvas.rect(x - width / 2.0, heads, size, r##"rx="4" fill="#eef4ff" stroke="#3b5b92""##);
        canvas.text_amid(x, heads + 17.0, &sequence.lanes[*lane].name, Style::Line);
    }
    let mut y = top + ARROW_STEP / 2.0;
    for arrow in &sequence.arrows {
        canvas.text(svg::MARGIN, y + 4.0, &round(arrow), Style::Faint);
        draw_arrow(&mut canvas, (middles[arrow.from], middles[arrow.to]), y, &label(arrow));
        y += ARROW_STEP;
    }
    canvas.footer(bottom + svg::MARGIN, remarks);
    canvas.finish()
}

fn label(arrow: &Arrow) -> String {
    arrow.goes_to.as_ref().map_or_else(|| arrow.what.clone(), |state| format!("{} → {state}", arrow.what))
}

/// How far two neighbouring lanes stand apart at least: as their own texts need it.
fn between(sequence: &Sequence, left: usize, right: usize) -> f64 {
    let needs = sequence.arrows.iter().filter_map(|arrow| {
        let ends = (arrow.from, arrow.to);
        let is_between = ends == (left, right) || ends == (right, left);
        is_between.then(|| svg::width(&label(arrow), Style::Line) + 24.0)
    });
    needs.fold(0.0, f64::max)
}

/// The room to the right of a lane for what it sends to itself.
fn own_width(sequence: &Sequence, lane: usize) -> f64 {
    let own = sequence.arrows.iter().filter(|arrow| (arrow.from, arrow.to) == (lane, lane));
    own.map(|arrow| svg::width(&label(arrow), Style::Line) + 26.0).fold(0.0, f64::max)
}

fn draw_arrow(canvas: &mut Canvas, (from, to): (f64, f64), y: f64, label: &str) {
    let stroke = r##"stroke="#4a5568" stroke-width="1.2""##;
    let ground = r##"fill="#f8fafd" fill-opacity="0.85""##;
    let width = svg::width(label, Style::Line);
    let size = Size { width: width + 4.0, height: 13.0 };
    if (from - to).abs() < 1.0 {
        canvas.line((from, y - 5.0), (from + 18.0, y - 5.0), stroke);
        canvas.line((from + 18.0, y - 5.0), (from + 18.0, y + 4.0), stroke);
        canvas.line((from + 18.0, y + 4.0), (from + 2.0, y + 4.0), stroke);
        canvas.head((from, y + 4.0), (-1.0, 0.0));
        canvas.rect(from + 22.0, y - 7.0, size, ground);
        canvas.text(from + 24.0, y + 3.0, label, Style::Line);
        return;
    }
    let way = if to > from { 1.0 } else { -1.0 };
    canvas.line((from, y + 5.0), (to - way * 2.0, y + 5.0), stroke);
    canvas.head((to, y + 5.0), (way, 0.0));
    let middle = (from + to) / 2.0;
    canvas.rect(middle - width / 2.0 - 2.0, y - 10.0, size, ground);
    canvas.text_amid(middle, y, label, Style::Line);
}

//! The state diagram of a kind, as it was observed: its states, the ways between them with what led there and how often, and what was
//! handled in each without leaving it.

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;

use super::{
    layout::{Graph, Link, Size},
    mermaid::{text, whole},
    observed::{Case, Kind, Node, Then, plain},
    svg::{self, Canvas},
};

/// The observed state diagram of one kind.
#[derive(Debug, Serialize)]
pub(crate) struct Diagram {
    pub(crate) kind: String,
    pub(crate) states: Vec<State>,
    pub(crate) moves: Vec<Move>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) opaque: Option<String>,
}

/// A state, and what is handled in it without leaving it.
#[derive(Debug, Serialize)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) seen: bool,
    pub(crate) within: Vec<Within>,
}

/// What is handled without leaving a state.
#[derive(Debug, Serialize)]
pub(crate) struct Within {
    /// `stays`, `postpones`, `unhandled`, `skips`.
    pub(crate) then: &'static str,
    pub(crate) on: String,
    pub(crate) count: u64,
}

/// A way from one state to another, or from the start, to an end.
#[derive(Debug, Serialize)]
pub(crate) struct Move {
    /// A state; `start` where an FSM begins, `unknown` where its state before isn't told.
    pub(crate) from: End,
    /// A state; `stop` where it ends, `panic` where its handler did not end well.
    pub(crate) to: End,
    /// What led there, and how often each.
    pub(crate) on: Vec<(String, u64)>,
}

/// An end of a way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    Start,
    Unknown,
    State(usize),
    Stop,
    Panic,
}

impl Diagram {
    pub(crate) fn of(name: &str, kind: &Kind) -> Diagram {
        let mut states: Vec<State> = (0..kind.states.len())
            .map(|number| State {
                name: kind.states.name(number).to_owned(),
                seen: kind.times_in(number) > 0,
                within: Vec::new(),
            })
            .collect();
        let mut moves: BTreeMap<(End, End), Vec<(String, u64)>> = BTreeMap::new();
        for (Case { from, on, then }, count) in &kind.seen {
            let on = kind.trigger(*on);
            let end = |node: &Node| match node {
                Node::Unborn => End::Start,
                Node::Unknown => End::Unknown,
                Node::State(number) => End::State(*number),
            };
            let within = match then {
                Then::Goes(to) => Err(end(to)),
                Then::Stops => Err(End::Stop),
                Then::Fails => Err(End::Panic),
                Then::Stays => Ok("stays"),
                Then::Postpones => Ok("postpones"),
                Then::Unhandled => Ok("unhandled"),
                Then::Skips => Ok("skips"),
            };
            match (within, from) {
                (Err(to), from) => moves.entry((end(from), to)).or_default().push((on, *count)),
                // An enter action that changes nothing is no news.
                (Ok("stays"), _) if on == "enter" => {}
                (Ok(then), Node::State(number)) => states[*number].within.push(Within { then, on, count: *count }),
                (Ok(_), from) => moves.entry((end(from), End::Unknown)).or_default().push((on, *count)),
            }
        }
        let moves = moves.into_iter().map(|((from, to), on)| Move { from, to, on }).collect();
        Diagram { kind: name.to_owned(), states, moves, opaque: kind.opaque.clone() }
    }
}

/// All diagrams as one of Mermaid's `stateDiagram-v2`.
pub(crate) fn mermaid(diagrams: &[Diagram], remarks: &[String]) -> String {
    let mut out = String::from("stateDiagram-v2\n");
    let several = diagrams.len() > 1;
    for (number, diagram) in diagrams.iter().enumerate() {
        if several {
            let _ = writeln!(out, "    state \"{}\" as k{number} {{", text(&diagram.kind));
        }
        mermaid_one(diagram, number, &mut out);
        if several {
            out.push_str("    }\n");
        }
    }
    for remark in remarks {
        // Kinds of which something was seen have a state; where there is none, there is nothing that a note could stand beside.
        let _ = match diagrams.iter().position(|diagram| !diagram.states.is_empty()) {
            Some(number) => writeln!(out, "    note right of k{number}s0 : {}", whole(remark)),
            None => writeln!(out, "    %% {}", plain(remark)),
        };
    }
    out
}

fn mermaid_one(diagram: &Diagram, number: usize, out: &mut String) {
    let id = |end: &End| match end {
        End::State(state) => format!("k{number}s{state}"),
        End::Unknown => format!("k{number}unknown"),
        End::Panic => format!("k{number}panic"),
        End::Start | End::Stop => "[*]".to_owned(),
    };
    let is_used = |end: End| diagram.moves.iter().any(|it| it.from == end || it.to == end);
    for (state, it) in diagram.states.iter().enumerate() {
        let note = if it.seen { "" } else { " (never seen)" };
        let _ = writeln!(out, "        state \"{}{note}\" as k{number}s{state}", text(&it.name));
    }
    for (end, name) in [(End::Unknown, UNKNOWN), (End::Panic, PANICKED)] {
        if is_used(end.clone()) {
            let _ = writeln!(out, "        state \"{name}\" as {}", id(&end));
        }
    }
    for Move { from, to, on } in &diagram.moves {
        let _ = writeln!(
            out,
            "        {} --> {} : {}",
            id(from),
            id(to),
            labels(on).map(|it| text(&it)).collect::<Vec<_>>().join("<br/>")
        );
    }
    for (state, it) in diagram.states.iter().enumerate() {
        for line in lines_of(it) {
            let _ = writeln!(out, "        k{number}s{state} : {}", text(&line));
        }
    }
}

/// What is written at ends that are no states.
const UNKNOWN: &str = "not known";
const PANICKED: &str = "panicked";

/// How many ways' worth of labels stand on one line of the picture.
const LABELS_MAX: usize = 12;

/// What led there, the most frequent first.
fn labels(on: &[(String, u64)]) -> impl Iterator<Item = String> {
    let mut on: Vec<_> = on.iter().collect();
    on.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let rest = on.len().saturating_sub(LABELS_MAX);
    let shown = on.into_iter().take(LABELS_MAX).map(|(on, count)| format!("{on} ×{count}")).collect::<Vec<_>>();
    shown.into_iter().chain((rest > 0).then(|| format!("and {rest} more")))
}

/// How many states and ways of one kind are drawn.
const STATES_MAX: usize = 120;
const MOVES_MAX: usize = 300;

/// All diagrams as one picture, one below the other.
pub(crate) fn picture(diagrams: &[Diagram], remarks: &[String]) -> String {
    let mut canvas = Canvas::default();
    let mut top = svg::MARGIN;
    for diagram in diagrams {
        canvas.text(svg::MARGIN, top + svg::TITLE_PX, &diagram.kind, svg::Style::Title);
        top += svg::TITLE_PX + svg::MARGIN;
        top += draw(diagram, top, &mut canvas) + svg::MARGIN * 2.0;
    }
    canvas.footer(top, remarks);
    canvas.finish()
}

/// The lines in a state's box.
fn lines_of(state: &State) -> Vec<String> {
    let mut within: Vec<_> = state.within.iter().collect();
    within.sort_by_key(|it| (it.then != "stays", it.then, std::cmp::Reverse(it.count)));
    let rest = within.len().saturating_sub(LABELS_MAX);
    let line = |it: &Within| match it.then {
        "stays" => format!("{} ×{}", it.on, it.count),
        then => format!("{then} {} ×{}", it.on, it.count),
    };
    let lines = within.into_iter().take(LABELS_MAX).map(line).collect::<Vec<_>>();
    lines.into_iter().chain((rest > 0).then(|| format!("and {rest} more"))).collect()
}

/// Draws one diagram from `top` on, and gives its height.
fn draw(diagram: &Diagram, top: f64, canvas: &mut Canvas) -> f64 {
    // The ends that are no states come first and last, so that they lie at the top and the bottom.
    let mut ends: Vec<End> = Vec::new();
    let is_used = |end: &End| diagram.moves.iter().any(|it| it.from == *end || it.to == *end);
    ends.extend([End::Start, End::Unknown].into_iter().filter(is_used));
    let mut states: Vec<usize> = (0..diagram.states.len()).collect();
    states.sort_by_key(|state| !diagram.states[*state].seen);
    ends.extend(states.into_iter().take(STATES_MAX).map(End::State));
    ends.extend([End::Stop, End::Panic].into_iter().filter(is_used));
    let place = |end: &End| ends.iter().position(|it| it == end);
    let mut links = Vec::new();
    let mut texts = Vec::new();
    let mut loops: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for Move { from, to, on } in diagram.moves.iter().take(MOVES_MAX) {
        let lines: Vec<_> = labels(on).collect();
        match (place(from), place(to)) {
            // It changed to a state of the same name, with other data.
            (Some(from), Some(to)) if from == to => loops.entry(from).or_default().extend(lines),
            (Some(from), Some(to)) => {
                links.push(Link { from, to, label: svg::label_size(&lines) });
                texts.push(lines);
            }
            _ => {}
        }
    }
    let again = |end: usize| loops.get(&end).into_iter().flatten().map(|line| format!("again {line}"));
    let boxes: Vec<Vec<String>> = ends
        .iter()
        .enumerate()
        .map(|(number, end)| match end {
            End::State(state) => lines_of(&diagram.states[*state]).into_iter().chain(again(number)).collect(),
            _ => Vec::new(),
        })
        .collect();
    let sizes = ends.iter().zip(&boxes).map(|(end, lines)| match end {
        End::State(state) => svg::box_size(&diagram.states[*state].name, lines),
        End::Start | End::Stop => Size { width: 20.0, height: 20.0 },
        End::Unknown => svg::box_size(UNKNOWN, &[]),
        End::Panic => svg::box_size(PANICKED, &[]),
    });
    let placed = Graph { nodes: sizes.collect(), links }.layered();
    let by = (svg::MARGIN, top);
    for (route, lines) in placed.routes.iter().zip(&texts) {
        canvas.route(route, by);
        canvas.label(route.label, by, lines);
    }
    for ((end, node), lines) in ends.iter().zip(&placed.nodes).zip(&boxes) {
        match end {
            End::State(state) => {
                let state = &diagram.states[*state];
                canvas.state(*node, by, &state.name, lines, state.seen);
            }
            End::Start => canvas.start(*node, by),
            End::Stop => canvas.stop(*node, by),
            End::Unknown => canvas.state(*node, by, UNKNOWN, &[], false),
            End::Panic => canvas.state(*node, by, PANICKED, &[], true),
        }
    }
    placed.size.height
}

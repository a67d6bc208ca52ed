//! What a failing case did, in words: its inputs one after another, and between them the states and the fields that changed. Values
//! are shown by the names in their schemas, so no FSM needs a `Debug`, and what a `Secret` holds stays unseen.

use std::time::Duration;

use super::{
    course::{Course, Move, Scene, Step},
    input::{Entry, Input},
};
use crate::{
    EncodedFsm, Handler, Table,
    schema::{Change, Changes, Content, Printer},
    testing::stage::first_queue,
};

/// How much of a message, a state or a field is shown.
const VALUE_CHARS_MAX: usize = 60;
/// How many parts of an FSM's data are shown that changed.
const PARTS_MAX: usize = 8;

/// How many lines are shown of what came of one input.
const MOVES_MAX: usize = 40;

/// How wide the inputs' column is. What else came of an input stands two characters further in.
const STEP_CHARS: usize = 40;

/// Shows values of a program's types.
struct Words<'a> {
    scene: &'a Scene,
    table: &'a Table,
}

/// A course, line by line: the start, each input with what came of it.
pub(super) fn lines(scene: &Scene, course: &Course) -> Vec<String> {
    let words = Words { scene, table: scene.catalogue.table() };
    let mut lines = Vec::new();
    for (at, step) in course.steps.iter().enumerate() {
        let number = if at == 0 { "   ".to_owned() } else { format!("{at:>2}.") };
        let (what, rest) = words.step(step);
        lines.push(format!("{number} {what}").trim_end().to_owned());
        lines.extend(cut(rest).into_iter().map(|line| format!("      {line}").trim_end().to_owned()));
    }
    // What an FSM was given that didn't come back from it is no delivery that was made.
    lines.extend(course.fault.iter().map(|fault| format!("      {fault}")));
    lines
}

/// The first and the last of many lines.
fn cut(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > MOVES_MAX {
        let left_out = lines.len() + 1 - MOVES_MAX;
        let at = MOVES_MAX / 2;
        lines.splice(at..at + left_out, [format!("… and {left_out} more …")]);
    }
    lines
}

/// The inputs alone.
pub(super) fn inputs(scene: &Scene, course: &Course) -> Vec<String> {
    let words = Words { scene, table: scene.catalogue.table() };
    course.steps.iter().filter_map(|step| Some(words.entry(step.entry.as_ref()?, step))).collect()
}

impl Words<'_> {
    /// A step's own line, and those of what else came of it.
    fn step(&self, step: &Step) -> (String, Vec<String>) {
        let Some(entry) = &step.entry else {
            let own = step.moves.first().map(|first| self.change(first)).unwrap_or_default();
            return (
                columns("start", STEP_CHARS, &own),
                step.moves.iter().skip(1).map(|other| self.of_another(other)).collect(),
            );
        };
        let what = self.entry(entry, step);
        let is_own = |first: &&Move| match &entry.input {
            Input::Tell(payload) => first.delivery.queue == first_queue() && first.delivery.payload == payload.bytes,
            _ => false,
        };
        match step.moves.first().filter(is_own) {
            Some(first) => {
                let others = step.moves.iter().skip(1).map(|other| self.of_another(other));
                (columns(&what, STEP_CHARS, &self.change(first)), others.collect())
            }
            None => (what, step.moves.iter().map(|other| self.of_another(other)).collect()),
        }
    }

    fn entry(&self, entry: &Entry, step: &Step) -> String {
        let input = self.input(&entry.input, step);
        // Time passes when all that came before is done.
        let is_time = matches!(entry.input, Input::Pass { .. });
        if entry.with_next && !is_time { format!("{input}, and at once") } else { input }
    }

    fn input(&self, input: &Input, step: &Step) -> String {
        let aimed = |none: &str| step.aimed.map_or_else(|| none.to_owned(), |queue| queue.to_string());
        match input {
            Input::Tell(payload) => {
                let message = self.table.kinds[self.scene.kind as usize].message;
                self.message(message, &payload.bytes)
            }
            Input::Pass { ns, at_once } => {
                format!("{:?} pass{}", Duration::from_nanos(*ns), if *at_once { " at once" } else { "" })
            }
            Input::Answer { of, answer, .. } => {
                let number = self.scene.answers.get(*of as usize).map_or(u32::MAX, |(number, _)| *number);
                let answer = self.message(number, &answer.bytes);
                format!("the answer {answer} for {}", aimed("nobody, as none is awaited"))
            }
            Input::NoAnswer { why, .. } => {
                format!("no answer ({why}) for {}", aimed("nobody, as none is awaited"))
            }
            Input::Down { reason, .. } => {
                format!("{} is down ({reason})", aimed("nothing that is monitored"))
            }
        }
    }

    /// A delivery that isn't the step's input itself.
    fn of_another(&self, other: &Move) -> String {
        let delivery = &other.delivery;
        let kind = self.scene.catalogue.kind_name(delivery.kind);
        let what = match delivery.handler {
            Handler::Handle => self.message(delivery.type_number, &delivery.payload),
            Handler::Start | Handler::Enter => "start".to_owned(),
        };
        columns(&format!("{kind} {}: {what}", delivery.queue), STEP_CHARS - 2, &self.change(other))
    }

    fn message(&self, type_number: u32, payload: &[u8]) -> String {
        let message = self.table.messages.get(type_number as usize);
        message.map_or_else(|| "(unknown)".to_owned(), |of| of.schema.printer().text(payload, VALUE_CHARS_MAX))
    }

    /// The state before and after, and the fields that changed.
    fn change(&self, step: &Move) -> String {
        let Some(kind) = self.table.kinds.get(step.delivery.kind as usize) else { return String::new() };
        let Some(after) = &step.after else { return "stops".to_owned() };
        let printer = kind.state.printer();
        let state = |fsm: &EncodedFsm| fsm.state.as_ref().map(|state| printer.text(state, VALUE_CHARS_MAX));
        let (was, is) = (step.before.as_ref().and_then(state), state(after));
        let mut parts = Vec::new();
        match (was, is) {
            (Some(was), Some(is)) if was != is => parts.push(format!("{was} → {is}")),
            (None, Some(is)) if is != "()" => parts.push(format!("→ {is}")),
            (_, Some(is)) if is != "()" => parts.push(is),
            _ => {}
        }
        if let Some(before) = &step.before {
            parts.extend(changed_parts(&kind.value.printer(), &before.data, &after.data));
        }
        parts.join("; ")
    }
}

fn columns(left: &str, width: usize, right: &str) -> String {
    if right.is_empty() { left.to_owned() } else { format!("{left:<width$}  {right}") }
}

/// The parts that differ, each with both its values.
fn changed_parts(printer: &Printer, before: &[u8], after: &[u8]) -> Vec<String> {
    let Ok(Changes { parts, more, in_secrets_alone }) = printer.changes(before, after, PARTS_MAX) else {
        return if before == after { Vec::new() } else { vec!["other data".to_owned()] };
    };
    let value = |content: &Option<Content>| match content {
        Some(content) => content.text(VALUE_CHARS_MAX),
        None => "nothing".to_owned(),
    };
    let mut changed: Vec<_> = parts
        .iter()
        .map(|Change { path, before, after }| {
            let (path, values) = (path.to_string(), format!("{} → {}", value(before), value(after)));
            if path.is_empty() { values } else { format!("{path}: {values}") }
        })
        .collect();
    if more > 0 {
        changed.push(format!("{more} more"));
    }
    if in_secrets_alone && before != after {
        changed.push("another secret".to_owned());
    }
    changed
}

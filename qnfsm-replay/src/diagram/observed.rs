//! What was observed of each kind: which states its FSMs were in, what they were given there, and what came of it, counted. State diagrams and
//! coverage are two looks at it.
//!
//! States and messages go by the names of their variants, as the schema has them, so there are as many as the program's types say and not
//! as the journal does. Where one type isn't an enum, all its values are one.

use std::{collections::BTreeMap, io};

use qnfsm::{Handler, schema::Printer};

use super::event::{At, Ended, Event, How, Ran, Sink};
use crate::dump::{
    Name,
    tables::{Tables, variant_of},
};

/// What was observed, by kind.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// Of that kind alone, if there is one.
    only: Option<String>,
    pub(crate) kinds: BTreeMap<String, Kind>,
    /// Handlers that ran.
    pub(crate) handlers: u64,
}

/// What was observed of one kind.
#[derive(Debug, Default)]
pub(crate) struct Kind {
    /// The names of its states: first those of the schema, in its order.
    pub(crate) states: Names,
    /// The names of its messages, likewise.
    pub(crate) messages: Names,
    pub(crate) seen: BTreeMap<Case, u64>,
    /// Why the names are not those of its types, where they aren't.
    pub(crate) opaque: Option<String>,
}

/// Names in a given order.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<String>);

/// What can happen to an FSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Case {
    pub(crate) from: Node,
    pub(crate) on: Trigger,
    pub(crate) then: Then,
}

/// What an FSM is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    /// It has yet to start.
    Unborn,
    /// The journal's beginning was given up, and its state has yet to be told.
    Unknown,
    /// The state with that number.
    State(usize),
}

/// What makes a handler run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trigger {
    Start,
    Enter,
    /// The message with that number.
    Message(usize),
    /// Likewise, and a timer's.
    Timer(usize),
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Then {
    Goes(Node),
    Stays,
    Postpones,
    Unhandled,
    Stops,
    Fails,
    Skips,
}

/// What all values of a type that is no enum are called; and the one state of an FSM that has no states.
const ANY: &str = "(any)";
const NONE: &str = "()";

impl Names {
    fn of(printer: Option<&Printer>) -> Names {
        let mut names: Vec<_> = printer.into_iter().flat_map(Printer::variants).map(plain).collect();
        if printer.is_some_and(Printer::takes_no_bytes) {
            names.push(NONE.to_owned());
        } else if names.is_empty() {
            names.push(ANY.to_owned());
        }
        Names(names)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn name(&self, number: usize) -> &str {
        &self.0[number]
    }

    /// The number of a name, which it is given if it has none.
    fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.0.iter().position(|known| known == name) {
            return number;
        }
        self.0.push(plain(name));
        self.0.len() - 1
    }

    fn number_of(&mut self, printer: Option<&Printer>, bytes: &[u8]) -> usize {
        let Some(name) = printer.and_then(|printer| variant_of(printer, bytes)) else {
            let is_one = self.0.len() == 1 && (self.0[0] == ANY || self.0[0] == NONE);
            return if is_one { 0 } else { self.number(ANY) };
        };
        self.number(&plain(&name))
    }
}

/// A name without what would move a cursor.
pub(crate) fn plain(name: &str) -> String {
    Name(name).to_string()
}

impl Kind {
    fn of(tables: &Tables, number: u32) -> Kind {
        let Some(kind) = tables.kind(number) else { return Kind::default() };
        let (states, messages) = (Names::of(Some(kind.state)), tables.message_printer(kind.table.message));
        let opaque =
            |what, why: &Option<String>| why.as_ref().map(|why| format!("its {what} are opaque: {}", plain(why)));
        let message = tables.table.messages.get(kind.table.message as usize);
        let why = opaque("states", &kind.table.state.opaque)
            .or_else(|| message.and_then(|message| opaque("messages", &message.schema.opaque)));
        Kind { states, messages: Names::of(messages), seen: BTreeMap::new(), opaque: why }
    }

    fn take(&mut self, tables: &Tables, ran: &Ran<'_>) {
        let state = tables.kind(ran.kind).map(|kind| kind.state);
        let mut node = |bytes: Option<&[u8]>, otherwise| {
            bytes.map_or(otherwise, |bytes| Node::State(self.states.number_of(state, bytes)))
        };
        let from = if ran.handler == Handler::Start { Node::Unborn } else { node(ran.before, Node::Unknown) };
        let to = node(ran.after, Node::Unknown);
        let on = match (&ran.message, ran.handler) {
            (Some(message), _) => {
                let number = self.messages.number_of(tables.message_printer(message.of), message.bytes);
                if message.how == How::Timer { Trigger::Timer(number) } else { Trigger::Message(number) }
            }
            (None, Handler::Start) => Trigger::Start,
            (None, _) => Trigger::Enter,
        };
        let then = match ran.ended {
            Ended::Stopped => Then::Stops,
            Ended::Failed => Then::Fails,
            Ended::Skipped => Then::Skips,
            Ended::Postponed => Then::Postpones,
            Ended::Unhandled => Then::Unhandled,
            Ended::Stayed if from == Node::Unborn || from == Node::Unknown => Then::Goes(to),
            Ended::Stayed => Then::Stays,
            Ended::Changed => Then::Goes(to),
        };
        *self.seen.entry(Case { from, on, then }).or_default() += 1;
    }

    /// A trigger in words.
    pub(crate) fn trigger(&self, on: Trigger) -> String {
        match on {
            Trigger::Start => "start".to_owned(),
            Trigger::Enter => "enter".to_owned(),
            Trigger::Message(number) => self.messages.name(number).to_owned(),
            Trigger::Timer(number) => format!("{} (timer)", self.messages.name(number)),
        }
    }

    /// How often a handler ran in a state, or made an FSM be in it.
    pub(crate) fn times_in(&self, state: usize) -> u64 {
        let node = Node::State(state);
        let is_in = |case: &Case| case.from == node || case.then == Then::Goes(node);
        self.seen.iter().filter(|(case, _)| is_in(case)).map(|(_, count)| count).sum()
    }
}

impl Observed {
    /// Of all kinds, or one alone.
    pub(crate) fn new(only: Option<String>) -> Observed {
        Observed { only, ..Observed::default() }
    }
}

impl Sink for Observed {
    fn enter(&mut self, tables: &Tables) {
        for (number, kind) in (0..).zip(&tables.table.kinds) {
            if self.only.as_ref().is_none_or(|only| *only == kind.name) {
                self.kinds.entry(plain(&kind.name)).or_insert_with(|| Kind::of(tables, number));
            }
        }
    }

    fn take(&mut self, tables: &Tables, _: &At, event: &Event<'_>) -> io::Result<()> {
        let Event::Ran(ran) = event else { return Ok(()) };
        self.handlers += 1;
        let name = plain(tables.kind_name(ran.kind).0);
        self.kinds.entry(name).or_insert_with(|| Kind::of(tables, ran.kind)).take(tables, ran);
        Ok(())
    }
}

//! The expressions that stop a run, by number.

use qnfsm::RawQueueId;

use super::{
    WrongLine,
    expression::{Check, Expression, Field, Root, Test},
    parse,
    predicate::Predicate,
    view::{StopView, View},
};
use crate::{
    dump::Tables,
    session::{RoundLog, Step},
};

/// How many there may be.
const STOPS_MAX: usize = 1000;

/// What stops a run. A number is given once.
#[derive(Debug, Default)]
pub(super) struct Stops {
    stops: Vec<Stop>,
    /// How many there ever were.
    made: usize,
}

#[derive(Debug)]
struct Stop {
    number: usize,
    /// As it was given.
    text: String,
    predicate: Predicate,
    /// The field of the data that is watched, if one is.
    watched: Option<String>,
}

impl Stops {
    /// Adds one, and says its number. Where there are too many, the oldest goes.
    pub(super) fn add(&mut self, text: String, predicate: Predicate, watched: Option<String>) -> usize {
        self.made += 1;
        if self.stops.len() == STOPS_MAX {
            self.stops.remove(0);
        }
        self.stops.push(Stop { number: self.made, text, predicate, watched });
        self.made
    }

    /// Takes one out, or all, and says so.
    pub(super) fn delete(&mut self, number: Option<usize>) -> Result<String, WrongLine> {
        let Some(number) = number else {
            self.stops.clear();
            return Ok("nothing stops a run any more".to_owned());
        };
        let Some(at) = self.stops.iter().position(|stop| stop.number == number) else {
            let what = format!("there is no stop {number}; `break` lists them");
            return Err(WrongLine { at: 0, what });
        };
        let Stop { text, .. } = self.stops.remove(at);
        Ok(format!("stop {number} is gone: {text}"))
    }

    /// The fields that are watched.
    pub(super) fn watched(&self) -> Vec<String> {
        self.stops.iter().filter_map(|stop| stop.watched.clone()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stops.is_empty()
    }

    /// The first of them that holds for a step, and its text.
    pub(super) fn first(&self, tables: &Tables, log: &RoundLog, step: &Step) -> Option<(usize, String)> {
        let stop = self.stops.iter().find(|stop| stop.predicate.holds(tables, log, step))?;
        Some((stop.number, stop.text.clone()))
    }

    pub(super) fn view(&self) -> View {
        let stops = self.stops.iter().map(|stop| StopView { number: stop.number, expression: stop.text.clone() });
        View::Stops { stops: stops.collect() }
    }
}

/// What holds for the steps that change an FSM's field, or its data if none is given; how it is asked for, and the field of the data.
pub(super) fn watching(
    queue: RawQueueId,
    field: Option<&str>,
) -> Result<(String, Expression, Option<String>), WrongLine> {
    let field = match field {
        Some(text) => parse::field(text)?,
        None => Field { root: Root::Data, path: qnfsm::schema::Path::default() },
    };
    let test = |check| Expression::Test(Test { check, at: 0 });
    let text = format!("watch {queue} {field}");
    let watched =
        (field.root == Root::Data && field.path != qnfsm::schema::Path::default()).then(|| field.path.to_string());
    let changed = test(Check::Changed(field));
    Ok((text, Expression::all(vec![test(Check::Queue { is: true, queue }), changed]), watched))
}

//! Which messages the FSM under test was given in which states: pairs of a state and a variant of its message type, by the names in
//! their schemas.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::course::{Course, Move};
use crate::{
    Catalogue, Handler,
    schema::{Path, Printer, short_name},
};

/// How often a kind of FSM handled each variant of its messages in each of its states.
///
/// It prints as a table, a state in each row, a variant in each column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    kind: String,
    states: Vec<String>,
    variants: Vec<String>,
    /// By state and variant, those that were seen.
    seen: BTreeMap<(usize, usize), u64>,
}

/// What a property demands to be covered.
#[derive(Debug, Clone, Default)]
pub(super) struct Demand {
    pub(super) percent: u32,
    pub(super) pairs: BTreeSet<(String, String)>,
}

/// The rows or the columns: what values are called.
pub(super) struct Axis {
    printer: Printer,
    names: Vec<String>,
}

impl Axis {
    fn new(printer: Printer, type_name: &str) -> Axis {
        let mut names: Vec<_> = printer.outlook(&Path::default()).variants.into_iter().collect();
        if names.is_empty() {
            // Values of what is no enum, or is opaque, are all of one sort.
            names.push(short_name(type_name));
        }
        Axis { printer, names }
    }

    /// The place of a value.
    fn at(&self, bytes: &[u8]) -> Option<usize> {
        if self.names.len() == 1 {
            return Some(0);
        }
        let name = self.printer.variant(bytes, &Path::default()).ok()??;
        self.names.iter().position(|other| *other == name)
    }
}

/// Counts what courses cover.
pub(super) struct Counting {
    kind: u32,
    states: Axis,
    variants: Axis,
    seen: BTreeMap<(usize, usize), u64>,
}

impl Counting {
    pub(super) fn new(catalogue: &Catalogue, kind: u32, state_type: &str, message_type: &str) -> Counting {
        let table = catalogue.table();
        let of = &table.kinds[kind as usize];
        let states = Axis::new(of.state.printer(), state_type);
        let variants = Axis::new(table.messages[of.message as usize].schema.printer(), message_type);
        Counting { kind, states, variants, seen: BTreeMap::new() }
    }

    /// Counts what the FSMs of the kind handled in a run.
    pub(super) fn count(&mut self, course: &Course) {
        for Move { delivery, before, .. } in course.steps.iter().flat_map(|step| &step.moves) {
            if (delivery.kind, delivery.handler) != (self.kind, Handler::Handle) {
                continue;
            }
            let Some(state) = before.as_ref().and_then(|before| before.state.as_ref()) else { continue };
            if let (Some(state), Some(variant)) = (self.states.at(state), self.variants.at(&delivery.payload)) {
                *self.seen.entry((state, variant)).or_default() += 1;
            }
        }
    }

    pub(super) fn coverage(&self, catalogue: &Catalogue) -> Coverage {
        Coverage {
            kind: catalogue.kind_name(self.kind).to_owned(),
            states: self.states.names.clone(),
            variants: self.variants.names.clone(),
            seen: self.seen.clone(),
        }
    }
}

impl Coverage {
    /// How many pairs there are: states times variants.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.states.len() * self.variants.len()
    }

    /// How many of them were seen.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.seen.len()
    }

    /// How many of a hundred were seen, rounded down.
    #[must_use]
    pub fn percent(&self) -> u32 {
        let percent = self.seen.len() * 100 / self.pairs().max(1);
        u32::try_from(percent).expect("no more pairs were seen than there are")
    }

    /// How often that message was handled in that state.
    #[must_use]
    pub fn count(&self, state: &str, variant: &str) -> u64 {
        let at = |names: &[String], name| names.iter().position(|other| other == name);
        let pair = at(&self.states, state).zip(at(&self.variants, variant));
        pair.and_then(|pair| self.seen.get(&pair)).copied().unwrap_or_default()
    }

    /// The pairs of state and variant that were never seen.
    pub fn never(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.states.iter().enumerate().flat_map(|(row, state)| {
            self.variants.iter().enumerate().map(move |(column, variant)| ((row, column), state, variant))
        });
        all.filter(|(pair, ..)| !self.seen.contains_key(pair))
            .map(|(_, state, variant)| (state.as_str(), variant.as_str()))
    }

    /// What of that isn't met, in words.
    pub(super) fn lacks(&self, demand: &Demand) -> Option<String> {
        let list = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(state, variant)| format!("{variant} in {state}")).collect::<Vec<_>>().join(", ")
        };
        let is_none = |(state, variant): &(&str, &str)| self.count(state, variant) == 0;
        let demanded = demand.pairs.iter().map(|(state, variant)| (state.as_str(), variant.as_str()));
        let missing: Vec<_> = demanded.filter(is_none).collect();
        if !missing.is_empty() {
            return Some(format!("these were demanded and never seen: {}", list(&missing)));
        }
        if self.percent() >= demand.percent {
            return None;
        }
        let never: Vec<_> = self.never().collect();
        Some(format!(
            "{} % of the pairs were seen and {} % are demanded; never seen: {}",
            self.percent(),
            demand.percent,
            list(&never)
        ))
    }

    /// A name of the demand that no state or variant has.
    pub(super) fn unknown<'d>(&self, demand: &'d Demand) -> Option<&'d str> {
        let unknown_of = |(state, variant): &'d (String, String)| {
            let state = Some(state).filter(|state| !self.states.contains(state));
            state.or_else(|| Some(variant).filter(|variant| !self.variants.contains(variant)))
        };
        demand.pairs.iter().find_map(unknown_of).map(String::as_str)
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seen, pairs, percent) = (self.seen(), self.pairs(), self.percent());
        writeln!(f, "{}: {seen} of {pairs} pairs of state and message seen ({percent} %)", self.kind)?;
        let width = |name: &String| name.chars().count();
        let first = self.states.iter().map(width).max().unwrap_or_default();
        write!(f, "  {:first$}", "")?;
        let column = |variant: &String| width(variant).max(6);
        for variant in &self.variants {
            write!(f, "  {variant:>width$}", width = column(variant))?;
        }
        for (row, state) in self.states.iter().enumerate() {
            write!(f, "\n  {state:first$}")?;
            for (at, variant) in self.variants.iter().enumerate() {
                let count = self.seen.get(&(row, at)).map_or_else(|| "never".to_owned(), u64::to_string);
                write!(f, "  {count:>width$}", width = column(variant))?;
            }
        }
        Ok(())
    }
}

//! An expression with its names looked up in the tables of a program, and tried on steps.
//!
//! What is cheap is tried first: of which kind, which queue, which variant; a field is decoded only where all that hasn't settled
//! it, and never beyond the field. A test of a field is tried on types alone that can have it.

use std::collections::BTreeSet;

use qnfsm::{
    Ask, CameAs, End, FaultKind, Handler, WorkerId,
    schema::{Content, Outlook, Path, Printer},
};

use super::{
    WrongLine,
    expression::{CameIs, Check, EndIs, Expression, Field, HandlerIs, Order, Root, Test},
    judge::is_so,
    nearest::{how_far, instead, there_are},
};
use crate::{
    dump::Tables,
    session::{RoundLog, Step},
};

/// An expression that can be tried on the steps of a journal.
#[derive(Debug, Clone)]
pub(super) enum Predicate {
    /// The cheaper parts first.
    And(Vec<Predicate>),
    Or(Vec<Predicate>),
    Not(Box<Predicate>),
    /// A test, and the numbers of the types or kinds of which it can hold; all, if it is about none.
    Test(Check, Option<BTreeSet<u32>>),
}

impl Predicate {
    /// Looks the names of an expression up, in the tables and among the workers that the journal has.
    pub(super) fn new(
        expression: &Expression,
        tables: &Tables,
        workers: &BTreeSet<WorkerId>,
    ) -> Result<Predicate, WrongLine> {
        let all = |parts: &[Expression]| -> Result<Vec<Predicate>, WrongLine> {
            let mut parts =
                parts.iter().map(|part| Predicate::new(part, tables, workers)).collect::<Result<Vec<_>, _>>()?;
            parts.sort_by_key(Predicate::cost);
            Ok(parts)
        };
        Ok(match expression {
            Expression::And(parts) => Predicate::And(all(parts)?),
            Expression::Or(parts) => Predicate::Or(all(parts)?),
            Expression::Not(inner) => Predicate::Not(Box::new(Predicate::new(inner, tables, workers)?)),
            Expression::Test(test) => {
                is_there(test, workers)?;
                Predicate::Test(test.check.clone(), numbers(test, tables)?)
            }
        })
    }

    /// About how much it takes to try it.
    fn cost(&self) -> u32 {
        match self {
            Predicate::And(parts) | Predicate::Or(parts) => parts.iter().map(Predicate::cost).sum(),
            Predicate::Not(inner) => inner.cost(),
            Predicate::Test(check, _) => match check {
                Check::Is { field, .. } if field.path.0.is_empty() => 5,
                Check::Is { .. } | Check::Sent(_) => 20,
                Check::Compare { field, .. } if field.root == Root::Message => 50,
                Check::Compare { .. } => 100,
                Check::Changed(field) if field.path.0.is_empty() => 10,
                Check::Changed(_) => 200,
                _ => 1,
            },
        }
    }

    /// True if it holds for a step.
    pub(super) fn holds(&self, tables: &Tables, log: &RoundLog, step: &Step) -> bool {
        match self {
            Predicate::And(parts) => parts.iter().all(|part| part.holds(tables, log, step)),
            Predicate::Or(parts) => parts.iter().any(|part| part.holds(tables, log, step)),
            Predicate::Not(inner) => !inner.holds(tables, log, step),
            Predicate::Test(check, numbers) => check_holds(check, numbers.as_ref(), tables, log, step),
        }
    }
}

fn check_holds(check: &Check, numbers: Option<&BTreeSet<u32>>, tables: &Tables, log: &RoundLog, step: &Step) -> bool {
    let can_be = |number: u32| numbers.is_none_or(|numbers| numbers.contains(&number));
    match check {
        Check::Kind { is, .. } => can_be(step.kind) == *is,
        Check::Queue { is, queue } => (step.queue == *queue) == *is,
        Check::Sender { is, queue } => step.message.as_ref().is_some_and(|came| (came.sender == *queue) == *is),
        Check::Worker { is, worker } => (log.worker == *worker) == *is,
        Check::Round { order, round } => {
            let literal = super::expression::Literal::Integer { is_negative: false, magnitude: (*round).into() };
            is_so(&Content::Unsigned(log.round.into()), *order, &literal)
        }
        Check::Handler(handler) => step.handler == handler_of(*handler),
        Check::Came(came) => step.message.as_ref().is_some_and(|message| came_is(*came, message.as_what)),
        Check::Ended(end) => end_is(*end, &step.end),
        Check::Sent(name) => step.asked.iter().any(|wish| {
            let of = wish.type_number.filter(|_| matches!(wish.what, Ask::Send { .. } | Ask::SendSelf));
            let printer = of.filter(|number| can_be(*number)).and_then(|number| tables.message_printer(number));
            printer.is_some_and(|printer| is_variant(printer, &wish.bytes, &Path::default(), name))
        }),
        Check::Is { field, name } => value(field.root, tables, step)
            .is_some_and(|(number, printer, bytes)| can_be(number) && is_variant(printer, bytes, &field.path, name)),
        Check::Compare { field, order, literal } => {
            value(field.root, tables, step).is_some_and(|(number, printer, bytes)| {
                let found = can_be(number).then(|| printer.part(bytes, &field.path).ok().flatten()).flatten();
                found.is_some_and(|found| is_so(&found, *order, literal))
            })
        }
        Check::Changed(field) => can_be(step.kind) && has_changed(field, tables, step),
    }
}

fn is_variant(printer: &Printer, bytes: &[u8], path: &Path, name: &str) -> bool {
    printer.variant(bytes, path).is_ok_and(|found| found.as_deref() == Some(name))
}

/// The bytes that a field is of, who can look into them, and the number of their type or kind.
fn value<'a>(root: Root, tables: &'a Tables, step: &'a Step) -> Option<(u32, &'a Printer, &'a [u8])> {
    if root == Root::Message {
        let message = step.message.as_ref()?;
        return Some((message.type_number, tables.message_printer(message.type_number)?, &message.bytes));
    }
    let kind = tables.kind(step.kind)?;
    let (printer, bytes) = match root {
        Root::Data => (kind.data, &step.after.data),
        Root::Old => (kind.data, &step.before.data),
        Root::State => (kind.state, &step.after.state),
        Root::Message | Root::StateBefore => (kind.state, &step.before.state),
    };
    Some((step.kind, printer, bytes))
}

fn has_changed(field: &Field, tables: &Tables, step: &Step) -> bool {
    let Some(kind) = tables.kind(step.kind) else { return false };
    let (printer, before, after) = match field.root {
        Root::State | Root::StateBefore => (kind.state, &step.before.state, &step.after.state),
        _ => (kind.data, &step.before.data, &step.after.data),
    };
    if before == after || field.path.0.is_empty() {
        return before != after;
    }
    let part = |bytes: &[u8]| printer.part(bytes, &field.path).ok().flatten();
    match (part(before), part(after)) {
        (Some(before), Some(after)) => !before.is_same(&after),
        (before, after) => before.is_some() != after.is_some(),
    }
}

fn handler_of(handler: HandlerIs) -> Handler {
    match handler {
        HandlerIs::Start => Handler::Start,
        HandlerIs::Handle => Handler::Handle,
        HandlerIs::Enter => Handler::Enter,
    }
}

/// As what a message came, in a word.
pub(super) fn came_of(as_what: CameAs) -> CameIs {
    match as_what {
        CameAs::Message => CameIs::Message,
        CameAs::Request(_) => CameIs::Request,
        CameAs::Outcome(_) => CameIs::Outcome,
        CameAs::News => CameIs::News,
        CameAs::Timer { .. } => CameIs::Timer,
    }
}

fn came_is(wanted: CameIs, as_what: CameAs) -> bool {
    came_of(as_what) == wanted
}

/// How a step ended, in a word.
pub(super) fn end_of(end: &End) -> EndIs {
    match end {
        End::Stayed => EndIs::Stayed,
        End::Changed => EndIs::Changed,
        End::Postponed => EndIs::Postponed,
        End::Unhandled => EndIs::Unhandled,
        End::Stopped => EndIs::Stopped,
        End::Failed(FaultKind::Panic(_)) => EndIs::Panicked,
        End::Failed(_) => EndIs::Failed,
        End::Skipped(_) => EndIs::Skipped,
    }
}

fn end_is(wanted: EndIs, end: &End) -> bool {
    let end = end_of(end);
    end == wanted || (wanted, end) == (EndIs::Failed, EndIs::Panicked)
}

/// Refuses a worker that isn't there, and a queue of one.
fn is_there(test: &Test, workers: &BTreeSet<WorkerId>) -> Result<(), WrongLine> {
    let worker = match &test.check {
        Check::Worker { worker, .. } => Some(*worker),
        Check::Queue { queue, .. } => queue.place().as_worker(),
        _ => None,
    };
    match worker.filter(|worker| !workers.contains(worker)) {
        None => Ok(()),
        Some(worker) => {
            let names: Vec<_> = workers.iter().map(WorkerId::to_string).collect();
            Err(WrongLine { at: test.at, what: format!("no worker is called {worker}: {}", there_are(&names)) })
        }
    }
}

/// The types or kinds of which a test can hold.
fn numbers(test: &Test, tables: &Tables) -> Result<Option<BTreeSet<u32>>, WrongLine> {
    let wrong = |what: String| Err(WrongLine { at: test.at, what });
    match &test.check {
        Check::Kind { name, .. } => {
            let kinds = tables.kinds().filter(|(_, kind)| kind.table.name == *name);
            let found: BTreeSet<u32> = kinds.map(|(number, _)| number).collect();
            if found.is_empty() {
                let names = tables.kinds().map(|(_, kind)| kind.table.name.as_str());
                return wrong(format!("no kind is called `{name}`: {}", instead(name, names)));
            }
            Ok(Some(found))
        }
        Check::Sent(name) => {
            let field = Field { root: Root::Message, path: Path::default() };
            variants(test.at, &field, name, tables).map(Some)
        }
        Check::Is { field, name } => variants(test.at, field, name, tables).map(Some),
        Check::Compare { field, order, literal } => {
            if let super::expression::Literal::Name(name) = literal
                && matches!(order, Order::Is | Order::IsNot)
            {
                return variants(test.at, field, name, tables).map(Some);
            }
            fields(test.at, field, tables, |outlook| !outlook.is_secret).map(Some)
        }
        Check::Changed(field) => {
            if field.root == Root::Message || field.root == Root::Old {
                return wrong("what changes is `state` or `data`, such as `changed data.score`".to_owned());
            }
            fields(test.at, field, tables, |_| true).map(Some)
        }
        _ => Ok(None),
    }
}

/// The types or kinds whose values have a field, by number; an error says how far the path leads, and what follows there.
fn fields(
    at: usize,
    field: &Field,
    tables: &Tables,
    is_wanted: impl Fn(&Outlook) -> bool,
) -> Result<BTreeSet<u32>, WrongLine> {
    let outlooks = |path: &Path| {
        let path = path.clone();
        printers(field.root, tables).map(move |(number, printer)| (number, printer.outlook(&path)))
    };
    let there = outlooks(&field.path).filter(|(_, outlook)| !outlook.is_nothing() && !outlook.is_opaque);
    let (found, hidden): (Vec<_>, Vec<_>) = there.partition(|(_, outlook)| is_wanted(outlook));
    if !found.is_empty() {
        return Ok(found.into_iter().map(|(number, _)| number).collect());
    }
    if !hidden.is_empty() {
        return Err(WrongLine { at, what: format!("{field} is a secret; nobody is shown what it holds") });
    }
    let all = |path: &Path| {
        let mut all = Outlook::default();
        outlooks(path).for_each(|(_, other)| all.merge(other));
        all
    };
    let name = |path: &Path| Field { root: field.root, path: path.clone() }.to_string();
    Err(WrongLine { at, what: how_far(&field.path, all, name) })
}

/// The types or kinds that have such a variant at a field, by number.
fn variants(at: usize, field: &Field, name: &str, tables: &Tables) -> Result<BTreeSet<u32>, WrongLine> {
    fields(at, field, tables, |_| true)?;
    let outlooks = printers(field.root, tables).map(|(number, printer)| (number, printer.outlook(&field.path)));
    let outlooks: Vec<_> = outlooks.collect();
    let found = outlooks.iter().filter(|(_, outlook)| outlook.variants.contains(name));
    let found: BTreeSet<u32> = found.map(|(number, _)| *number).collect();
    if found.is_empty() {
        let names = outlooks.iter().flat_map(|(_, outlook)| outlook.variants.iter().map(String::as_str));
        let what = format!("{field} has no variant `{name}`: {}", instead(name, names));
        return Err(WrongLine { at, what });
    }
    Ok(found)
}

/// Who looks into the values that a field can be of, by the numbers of their types or kinds.
pub(super) fn printers(root: Root, tables: &Tables) -> Box<dyn Iterator<Item = (u32, &Printer)> + '_> {
    match root {
        Root::Message => Box::new(tables.messages()),
        Root::Data | Root::Old => Box::new(tables.kinds().map(|(number, kind)| (number, kind.data))),
        Root::State | Root::StateBefore => Box::new(tables.kinds().map(|(number, kind)| (number, kind.state))),
    }
}

//! Where two runs of the same round part: of one program twice, or of two programs.

use qnfsm::{Catalogue, RawQueueId};

use super::{Part, PartOf, Parted, parts};
use crate::session::{RoundLog, Step};

/// The first step that two runs of a round did not do alike.
pub(in crate::session) fn first_difference(catalogue: &Catalogue, logs: [&RoundLog; 2]) -> Option<Parted> {
    differences(catalogue, logs).next()
}

/// The steps that two runs of a round did not do alike. That a map in an FSM's data has the same entries in another order is no difference
/// as long as nobody was told.
pub(super) fn unlike(catalogue: &Catalogue, logs: [&RoundLog; 2]) -> Vec<Parted> {
    let is_order = |part: &Part| part.of == PartOf::Data && part.is_order_of_map();
    let matters = |parted: &Parted| parted.parts.is_empty() || !parted.parts.iter().all(is_order);
    differences(catalogue, logs).filter(matters).collect()
}

/// Whose step isn't alike in what a round's digest is of, or, if none is, in data; none, if all are alike.
pub(super) fn shown(unlike: &[Parted]) -> Option<RawQueueId> {
    let is_digested = |parted: &&Parted| {
        let is_data = |part: &Part| part.of == PartOf::Data;
        !parted.parts.is_empty() && !parted.parts.iter().all(is_data)
    };
    let parted = unlike.iter().find(is_digested).or_else(|| unlike.first())?;
    Some(parted.step.queue)
}

fn differences<'a>(catalogue: &'a Catalogue, [log, again]: [&'a RoundLog; 2]) -> impl Iterator<Item = Parted> + 'a {
    let differing = (0..log.steps.len()).filter(|number| log.steps.get(*number) != again.steps.get(*number));
    differing.map(move |number| {
        let (step, other) = (log.steps[number].clone(), again.steps.get(number));
        let parts = other.map_or_else(Vec::new, |other| parted(catalogue, &step, other));
        Parted { ordinal: log.ordinal, round: log.round, number, step, parts }
    })
}

fn parted(catalogue: &Catalogue, step: &Step, again: &Step) -> Vec<Part> {
    if (step.queue, step.handler) != (again.queue, again.handler) {
        return Vec::new();
    }
    let table = catalogue.table();
    let kind = table.kinds.get(step.kind as usize);
    let message_schema = |number: u32| table.messages.get(number as usize).map(|message| &message.schema);
    let mut all = Vec::new();
    let mut compare = |of, schema, found: &[u8], again: &[u8]| {
        let differing = parts(schema, found, again).into_iter();
        all.extend(differing.map(|(path, [found, again])| Part { of, path, recorded: None, found, again }));
    };
    if let (Some(found), Some(again)) = (&step.message, &again.message) {
        compare(PartOf::Message, message_schema(found.type_number), &found.bytes, &again.bytes);
    }
    compare(PartOf::State, kind.map(|kind| &kind.state), &step.after.state, &again.after.state);
    compare(PartOf::Data, kind.map(|kind| &kind.value), &step.after.data, &again.after.data);
    for (number, (found, again)) in step.asked.iter().zip(&again.asked).enumerate() {
        let is_start = matches!(found.what, qnfsm::Ask::Spawn { .. } | qnfsm::Ask::SpawnOn { .. });
        let schema = found.type_number.and_then(|number| match is_start {
            true => table.kinds.get(number as usize).map(|kind| &kind.value),
            false => message_schema(number),
        });
        if found.what != again.what {
            all.push(Part {
                of: PartOf::Asked(number),
                path: Default::default(),
                recorded: None,
                found: None,
                again: None,
            });
            break;
        }
        let differing = parts(schema, &found.bytes, &again.bytes).into_iter();
        let of = PartOf::Asked(number);
        all.extend(differing.map(|(path, [found, again])| Part { of, path, recorded: None, found, again }));
    }
    if step.asked.len() != again.asked.len() {
        let of = PartOf::Asked(step.asked.len().min(again.asked.len()));
        all.push(Part { of, path: Default::default(), recorded: None, found: None, again: None });
    }
    all
}

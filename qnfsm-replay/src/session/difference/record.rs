//! What the journal says of a round beside its digest: its deliveries, where each was recorded; and what other workers took from it.

use qnfsm::{
    Catalogue, Deliveries, Delivery, End, Place, RawQueueId, Table,
    frame::{Batch, Frame},
    schema::Path,
};

use super::{Part, PartOf, Parted, parts};
use crate::session::{RoundLog, Step};

/// The first step that isn't the recorded one. `recorded` and `own` are deliveries as the worker writes them.
pub(super) fn by_deliveries(catalogue: &Catalogue, log: &RoundLog, recorded: &[u8], own: &[u8]) -> Option<Parted> {
    let read = |bytes| Deliveries::new(bytes).map_while(Result::ok).collect::<Vec<_>>();
    let (recorded, own) = (read(recorded), read(own));
    let at = (0..recorded.len().max(own.len())).find(|at| recorded.get(*at) != own.get(*at))?;
    // Of what ended badly, or was skipped, nothing is written.
    let is_written = |step: &Step| !matches!(step.end, End::Failed(_) | End::Skipped(_));
    let mut written = log.steps.iter().enumerate().filter(|(_, step)| is_written(step));
    // A delivery that is missing is missing behind the last one.
    let last = log.steps.len().checked_sub(1)?;
    let number = written.nth(at).map_or(last, |(number, _)| number);
    let step = log.steps[number].clone();
    let parts = recorded.get(at).zip(own.get(at)).map(|(recorded, own)| differing(catalogue.table(), recorded, own));
    Some(Parted { ordinal: log.ordinal, round: log.round, number, step, parts: parts.unwrap_or_default() })
}

/// What of a delivery is another, by the tables of a program.
pub(crate) fn differing(table: &Table, recorded: &Delivery, own: &Delivery) -> Vec<Part> {
    let kind = table.kinds.get(own.kind as usize);
    let message = table.messages.get(own.type_number as usize).map(|message| &message.schema);
    let mut all = Vec::new();
    let values = [
        (PartOf::Message, message, &recorded.payload, &own.payload),
        (PartOf::State, kind.map(|kind| &kind.state), &recorded.state, &own.state),
    ];
    for (of, schema, recorded, own) in values {
        let differing = parts(schema, recorded, own).into_iter();
        all.extend(differing.map(|(path, [recorded, found])| Part { of, path, recorded, found, again: None }));
    }
    let whole = |of| Part { of, path: Path::default(), recorded: None, found: None, again: None };
    // Of these only digests are recorded.
    if recorded.data_digest != own.data_digest {
        all.push(whole(PartOf::Data));
    }
    all
}

/// The step that put out the first frame which isn't the one that its worker was recorded to take. `taken` is what others took from this
/// worker, from this round on.
pub(super) fn by_outputs(catalogue: &Catalogue, log: &RoundLog, taken: &[(Place, Batch)]) -> Option<Parted> {
    for (to, own) in &log.outputs {
        let own = own.as_ref();
        let others = taken.iter().filter(|(place, _)| place == to);
        let mut recorded = others.flat_map(|(_, batch)| numbered(batch));
        for (number, frame) in (own.first..).zip(own.frames().map_while(Result::ok)) {
            let Some((_, other)) = recorded.find(|(of, _)| *of == number) else { break };
            if (frame.header, frame.payload) != (other.header, other.payload) {
                return parted(catalogue, log, *to, (&other, &frame));
            }
        }
    }
    None
}

fn parted(
    catalogue: &Catalogue,
    log: &RoundLog,
    to: Place,
    (recorded, own): (&Frame<'_>, &Frame<'_>),
) -> Option<Parted> {
    let is_sender = |step: &Step| step.queue == own.header.sender;
    let carries = |step: &Step| step.asked.iter().any(|wish| wish.bytes == own.payload);
    let number = log.steps.iter().position(|step| is_sender(step) && carries(step));
    let number = number.or_else(|| log.steps.iter().rposition(is_sender))?;
    let schema = catalogue.table().messages.get(own.header.type_number as usize).map(|message| &message.schema);
    let header = own.header;
    let queue = RawQueueId::new(header.sender.node(), to, header.slot, header.generation);
    let of = PartOf::Output(queue);
    let parts = parts(schema, recorded.payload, own.payload).into_iter();
    let parts = parts.map(|(path, [recorded, found])| Part { of, path, recorded, found, again: None }).collect();
    Some(Parted { ordinal: log.ordinal, round: log.round, number, step: log.steps[number].clone(), parts })
}

fn numbered(batch: &Batch) -> impl Iterator<Item = (u64, Frame<'_>)> {
    let batch = batch.as_ref();
    (batch.first..).zip(batch.frames().map_while(Result::ok))
}

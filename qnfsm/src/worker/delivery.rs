//! The record of single deliveries that [`Recording::Everything`](crate::Recording) keeps, and how it is read.

use serde::{Deserialize, Serialize};

use crate::{
    codec::{Codec, DecodeError, Trust},
    digest::Digest,
    frame::{put_varint, take_varint},
    fsm::{Effect, Effects, Handler},
    id::RawQueueId,
    worker::{Worker, cell::Outcome},
};

/// One run of one FSM's handler, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The FSM's queue.
    pub queue: RawQueueId,
    /// The number of its kind.
    pub kind: u32,
    /// Which handler ran.
    pub handler: Handler,
    /// The number of its message type; the payload is of that type.
    pub type_number: u32,
    /// Who sent the message; the queue itself where no message was handled.
    pub sender: RawQueueId,
    /// The message; empty where none was handled.
    pub payload: Vec<u8>,
    /// The state after it.
    pub state: Vec<u8>,
    /// The FSM's data after it, in a number.
    pub data_digest: u64,
    /// What the handler asked for, messages and all, in a number.
    pub effects_digest: u64,
    /// Random numbers drawn, timers set and external values read so far in the round, in a number.
    pub round_digest: u64,
    /// The queues of the FSMs that it spawned here.
    pub spawned: Vec<RawQueueId>,
}

/// The deliveries of a round, one after another as they lie in the journal.
#[derive(Debug, Clone)]
pub struct Deliveries<'a>(&'a [u8]);

impl<'a> Deliveries<'a> {
    /// Reads what a record of the journal holds.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Deliveries<'a> {
        Deliveries(bytes)
    }

    /// The same bytes in pieces of whole entries, each ended by the first entry that brings it to `bytes` or more.
    pub fn pieces(mut self, bytes: usize) -> impl Iterator<Item = &'a [u8]> {
        std::iter::from_fn(move || {
            let whole = self.0;
            while whole.len() - self.0.len() < bytes && self.entry().is_some() {}
            let piece = &whole[..whole.len() - self.0.len()];
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// Takes the next entry's bytes; none at the end.
    fn entry(&mut self) -> Option<Result<&'a [u8], DecodeError>> {
        if self.0.is_empty() {
            return None;
        }
        let len = take_varint(&mut self.0).ok().and_then(|len| usize::try_from(len).ok());
        let Some((entry, rest)) = len.and_then(|len| self.0.split_at_checked(len)) else {
            self.0 = &[];
            return Some(Err(DecodeError::Malformed("a delivery is cut short".to_owned())));
        };
        self.0 = rest;
        Some(Ok(entry))
    }
}

impl Iterator for Deliveries<'_> {
    type Item = Result<Delivery, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.entry()?.and_then(|entry| Codec::CURRENT.decode(entry, Trust::Node)))
    }
}

impl Effects {
    /// What the handler that just returned asked for, in a number.
    fn digest_of_list(&mut self) -> u64 {
        let mut digest = Digest::new();
        for send in &self.sends {
            digest.mix_bytes(format!("{send:?}").as_bytes());
            self.scratch.clear();
            // A message that can't be encoded is a dead letter when it is put out; here it only leaves no trace.
            let _ = self.pools.see(send.type_number).encode(send.message, &mut self.scratch);
            digest.mix_bytes(&self.scratch);
        }
        for (sends_before, effect) in &self.others {
            digest.mix(*sends_before as u64);
            digest.mix_bytes(format!("{effect:?}").as_bytes());
            if let Some(name) = effect.name() {
                digest.mix_bytes(format!("{:?}", self.name(name)).as_bytes());
            }
            self.scratch.clear();
            if let Some((type_number, message)) = effect.message() {
                let _ = self.pools.see(type_number).encode(message, &mut self.scratch);
            }
            if let Some((kind, value)) = effect.start_value() {
                let _ = self.nurseries.see(kind).encode(value, &mut self.scratch);
            }
            digest.mix_bytes(&self.scratch);
        }
        digest.value()
    }
}

impl Worker {
    /// Notes a delivery whose handler has returned and whose effects are not yet applied. The message is encoded already.
    pub(super) fn record_delivery(
        &mut self,
        queue: RawQueueId,
        handler: Handler,
        sender: RawQueueId,
        outcome: Outcome,
    ) {
        let effects_digest = self.effects.digest_of_list();
        let spawned = self.effects.others.iter().filter_map(|(_, effect)| match effect {
            Effect::Spawn { queue, .. } => Some(*queue),
            _ => None,
        });
        let spawned = spawned.collect();
        let payload = std::mem::take(&mut self.payload);
        let Some(seat) = self.seat(queue) else { return };
        let Some(cell) = &seat.cell else { return };
        let (mut data, mut state) = (Vec::new(), Vec::new());
        // Data that can't be encoded is found when the worker is snapshot; the digest of nothing stands for it here.
        let _ = cell.encode_fsm(&mut data);
        let _ = cell.encode_state(&mut state);
        if let Outcome::Stop = outcome {
            state.clear();
        }
        let delivery = Delivery {
            queue,
            kind: seat.kind,
            handler,
            type_number: seat.intake.message,
            sender,
            payload,
            state,
            data_digest: Digest::of(&data),
            effects_digest,
            round_digest: self.effects.digest.value(),
            spawned,
        };
        for part in [Digest::of(&delivery.payload), delivery.data_digest, effects_digest] {
            self.effects.digest.mix(part);
        }
        let mut entry = Vec::new();
        Codec::CURRENT.encode(&delivery, &mut entry).expect("a delivery is bytes and numbers");
        put_varint(&mut self.deliveries, entry.len() as u64);
        self.deliveries.extend_from_slice(&entry);
        self.payload = delivery.payload;
        self.payload.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::{any::TypeId, sync::Arc};

    use super::*;
    use crate::{
        fsm::{Pool, Pools, Sending, TypeNumbers},
        id::{NodeId, Place, WorkerId},
    };

    /// The digest of a handler's effects, where each is a send or else a stop, in a worker where so many messages wait.
    fn digest_of(sends: &[bool], waiting: u8) -> u64 {
        let numbers = TypeNumbers::new(&[TypeId::of::<u8>()], &[], vec![], vec![]);
        let pools = [Pools::new(vec![Box::new(Pool::<u8>::new())]), Pools::new(vec![])];
        let mut effects = Effects::new(NodeId(0), WorkerId(0), 0, pools, Arc::new(numbers));
        let to = RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), 1, 1);
        (0..waiting).for_each(|message| _ = effects.stage(message));
        for send in sends {
            if *send {
                let (type_number, message) = effects.stage(7_u8).expect("the type has a number");
                effects.sends.push(Sending { to, type_number, message, request: None });
            } else {
                effects.push(Effect::Stop { queue: to });
            }
        }
        effects.digest_of_list()
    }

    #[test]
    fn the_digest_of_effects_is_of_their_order_and_of_no_place() {
        let stopped_between = digest_of(&[true, false, true], 0);
        assert_ne!(stopped_between, digest_of(&[true, true, false], 0));
        assert_ne!(stopped_between, digest_of(&[false, true, true], 0));
        assert_ne!(stopped_between, digest_of(&[true, true], 0));
        assert_eq!(stopped_between, digest_of(&[true, false, true], 5));
    }

    #[test]
    fn pieces_are_whole_entries_and_together_all_of_them() {
        let mut bytes = Vec::new();
        for entry in 1..=20_u8 {
            bytes.push(entry);
            bytes.extend(vec![entry; usize::from(entry)]);
        }
        for size in [1, 10, 50, 1000] {
            let pieces: Vec<_> = Deliveries::new(&bytes).pieces(size).collect();
            assert_eq!(pieces.concat(), bytes);
            for piece in &pieces {
                let mut entries = Deliveries(piece);
                while let Some(entry) = entries.entry() {
                    entry.unwrap();
                }
            }
            assert!(pieces.iter().rev().skip(1).all(|piece| piece.len() >= size && piece.len() < size + 22));
        }
    }
}

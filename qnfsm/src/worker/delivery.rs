//! The record of single deliveries that [`Recording::Everything`](crate::Recording) keeps, and how it is read.

use serde::{Deserialize, Serialize};

use crate::{
    codec::{Codec, DecodeError, Trust},
    digest::Digest,
    frame::{put_varint, take_varint},
    fsm::{Effect, Effects, Handler, Pools},
    id::RawQueueId,
    worker::{Worker, cell::Outcome, image_bytes::Bytes},
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

/// A delivery as it is written: the same bytes as [`Delivery`]'s, of parts that lie elsewhere.
#[derive(Serialize)]
struct Written<'a> {
    queue: RawQueueId,
    kind: u32,
    handler: Handler,
    type_number: u32,
    sender: RawQueueId,
    payload: Bytes<'a>,
    state: Bytes<'a>,
    data_digest: u64,
    effects_digest: u64,
    round_digest: u64,
    spawned: &'a [RawQueueId],
}

/// Room for what is noted of a delivery, used again for the next.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The message that is being handled, encoded.
    pub(super) payload: Vec<u8>,
    state: Vec<u8>,
    data: Vec<u8>,
    spawned: Vec<RawQueueId>,
    entry: Vec<u8>,
}

impl Effects {
    /// What the handler that just returned asked for, in a number: each effect with what it carries, encoded.
    fn digest_of_list(&mut self, pools: &Pools) -> u64 {
        let mut digest = Digest::new();
        let mut bytes = std::mem::take(&mut self.scratch);
        for send in &self.sends {
            bytes.clear();
            Codec::CURRENT.encode(send, &mut bytes).expect(EFFECT_REASON);
            // A message that can't be encoded is a dead letter when it is put out; here it only leaves no trace.
            let _ = pools.see(send.type_number).encode(send.message, &mut bytes);
            digest.mix_bytes(&bytes);
        }
        for (sends_before, effect) in &self.others {
            bytes.clear();
            let name = effect.name().map(|name| self.name(name));
            Codec::CURRENT.encode(&(*sends_before as u64, effect, name), &mut bytes).expect(EFFECT_REASON);
            if let Some((type_number, message)) = effect.message() {
                let _ = pools.see(type_number).encode(message, &mut bytes);
            }
            if let Some((kind, value)) = effect.start_value() {
                let _ = self.nurseries.see(kind).encode(value, &mut bytes);
            }
            digest.mix_bytes(&bytes);
        }
        self.scratch = bytes;
        digest.value()
    }
}

const EFFECT_REASON: &str = "an effect without what it carries is numbers and a name";

impl Worker {
    /// Notes a delivery whose handler has returned and whose effects are not yet applied. The message is encoded already.
    pub(super) fn record_delivery(
        &mut self,
        queue: RawQueueId,
        handler: Handler,
        sender: RawQueueId,
        outcome: Outcome,
    ) {
        let effects_digest = self.effects.digest_of_list(&self.pools);
        let mut notes = std::mem::take(&mut self.notes);
        let Notes { payload, state, data, spawned, entry } = &mut notes;
        for room in [&mut *state, data, entry] {
            room.clear();
        }
        spawned.clear();
        spawned.extend(self.effects.others.iter().filter_map(|(_, effect)| match effect {
            Effect::Spawn { queue, .. } => Some(*queue),
            _ => None,
        }));
        let Some(seat) = self.seat(queue) else { return };
        let Some(cell) = &seat.cell else { return };
        // Data that can't be encoded is found when the worker is snapshot; the digest of nothing stands for it here.
        let _ = cell.encode_fsm(data);
        if !matches!(outcome, Outcome::Stop) {
            let _ = cell.encode_state(state);
        }
        let delivery = Written {
            queue,
            kind: seat.kind,
            handler,
            type_number: seat.intake.message,
            sender,
            payload: Bytes(payload),
            state: Bytes(state),
            data_digest: Digest::of(data),
            effects_digest,
            round_digest: self.effects.digest.value(),
            spawned,
        };
        Codec::CURRENT.encode(&delivery, entry).expect("a delivery is bytes and numbers");
        for part in [Digest::of(payload), delivery.data_digest, effects_digest] {
            self.effects.digest.mix(part);
        }
        put_varint(&mut self.deliveries, entry.len() as u64);
        self.deliveries.extend_from_slice(entry);
        payload.clear();
        self.notes = notes;
    }
}

#[cfg(test)]
mod tests {
    use std::{any::TypeId, sync::Arc};

    use super::*;
    use crate::{
        fsm::{Pool, Pools, Sending, TimerName, TypeNumbers},
        id::{NodeId, Place, RequestId, WorkerId},
        time::Time,
    };

    /// The digest of what a handler asks for, in a worker where so many messages wait.
    fn digest_after(waiting: u8, ask: impl FnOnce(&mut Effects, &mut Pools)) -> u64 {
        let numbers = TypeNumbers::new(&[TypeId::of::<u8>()], &[], vec![], vec![]);
        let mut pools = Pools::new(vec![Box::new(Pool::<u8>::new())]);
        let mut effects = Effects::new(NodeId(0), WorkerId(0), 0, Pools::new(vec![]), Arc::new(numbers));
        (0..waiting).for_each(|message| _ = pools.of(0).put(message));
        ask(&mut effects, &mut pools);
        effects.digest_of_list(&pools)
    }

    fn queue(slot: u32) -> RawQueueId {
        RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), slot, 1)
    }

    fn send((effects, pools): (&mut Effects, &mut Pools), to: RawQueueId, message: u8, request: Option<RequestId>) {
        let message = pools.of(0).put(message);
        effects.sends.push(Sending { to, type_number: 0, message, request });
    }

    /// The digest of effects of which each is a send or else a stop.
    fn digest_of(sends: &[bool], waiting: u8) -> u64 {
        digest_after(waiting, |effects, pools| {
            for is_send in sends {
                if *is_send {
                    send((effects, pools), queue(1), 7, None);
                } else {
                    effects.push(Effect::Stop { queue: queue(1) });
                }
            }
        })
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
    fn the_digest_of_effects_is_of_all_that_they_say_and_carry() {
        let timer = |effects: &mut Effects, pools: &mut Pools, name: &'static str, deadline: u64, message: u8| {
            let message = pools.of(0).put(message);
            let name = effects.add_name(TimerName::Named(name.into()));
            let deadline = Time::from_nanos(deadline);
            let timer = effects.allot_timer();
            effects.push(Effect::SetTimer { timer, name, deadline, period_ns: None, type_number: 0, message });
        };
        let digests = [
            digest_after(0, |_, _| {}),
            digest_after(0, |effects, pools| send((effects, pools), queue(1), 7, None)),
            digest_after(0, |effects, pools| send((effects, pools), queue(2), 7, None)),
            digest_after(0, |effects, pools| send((effects, pools), queue(1), 8, None)),
            digest_after(0, |effects, pools| send((effects, pools), queue(1), 7, Some(RequestId(1)))),
            digest_after(0, |effects, pools| timer(effects, pools, "a", 1, 7)),
            digest_after(0, |effects, pools| timer(effects, pools, "b", 1, 7)),
            digest_after(0, |effects, pools| timer(effects, pools, "a", 2, 7)),
            digest_after(0, |effects, pools| timer(effects, pools, "a", 1, 8)),
            digest_after(0, |effects, _| effects.push(Effect::Stop { queue: queue(1) })),
            digest_after(0, |effects, _| effects.push(Effect::Watch { queue: queue(1) })),
        ];
        let different: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(different.len(), digests.len(), "{digests:x?}");
    }

    #[test]
    fn a_delivery_is_written_as_it_is_read() {
        let delivery = Delivery {
            queue: queue(1),
            kind: 2,
            handler: Handler::Enter,
            type_number: 3,
            sender: queue(4),
            payload: vec![5; 300],
            state: vec![6],
            data_digest: 7,
            effects_digest: 8,
            round_digest: 9,
            spawned: vec![queue(10), queue(11)],
        };
        let Delivery { queue, kind, handler, type_number, sender, payload, state, spawned, .. } = &delivery;
        let written = Written {
            queue: *queue,
            kind: *kind,
            handler: *handler,
            type_number: *type_number,
            sender: *sender,
            payload: Bytes(payload),
            state: Bytes(state),
            data_digest: 7,
            effects_digest: 8,
            round_digest: 9,
            spawned,
        };
        let mut bytes = Vec::new();
        Codec::CURRENT.encode(&written, &mut bytes).unwrap();
        assert_eq!(Codec::CURRENT.decode(&bytes, Trust::Node), Ok(delivery));
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

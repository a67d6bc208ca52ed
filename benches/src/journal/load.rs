//! What the messages of a stream carry, and the same messages as the rows of a store that is no journal.

use std::iter;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{growth::Bytes, messaging::message::Payload};

/// What a message of a stream carries.
pub trait Load: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// That of the message with this number, of so many bytes.
    fn of(number: u32, bytes: u32) -> Self;

    /// Whether it is that.
    fn is(&self, number: u32, bytes: u32) -> bool;

    /// Appends its bytes.
    fn put(&self, into: &mut Vec<u8>);
}

impl<P: Payload> Load for P {
    fn of(number: u32, bytes: u32) -> P {
        debug_assert_eq!(bytes, P::BYTES, "the payload's type has its size");
        P::new(0, number)
    }

    fn is(&self, number: u32, bytes: u32) -> bool {
        let expected = P::new(0, number);
        bytes == P::BYTES && (self.sequence(), self.value()) == (expected.sequence(), expected.value())
    }

    fn put(&self, into: &mut Vec<u8>) {
        Payload::put(self, into);
    }
}

/// Bytes on the heap, which are as many when they are encoded, behind their length. The first four say the number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob(Bytes);

impl Load for Blob {
    fn of(number: u32, bytes: u32) -> Blob {
        let mut filled = vec![0xa5; bytes as usize];
        filled[..size_of::<u32>()].copy_from_slice(&number.to_le_bytes());
        Blob(Bytes::from(filled))
    }

    fn is(&self, number: u32, bytes: u32) -> bool {
        let Blob(held) = self;
        let held: &[u8] = held.as_ref();
        held.len() == bytes as usize && held.first_chunk() == Some(&number.to_le_bytes())
    }

    fn put(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.0.as_ref());
    }
}

/// Messages as rows: their bytes, one behind another, all of one length.
#[derive(Debug, Default)]
pub struct Rows {
    bytes: Vec<u8>,
    each: usize,
}

impl Rows {
    /// Puts these in place of what was there.
    pub fn fill<L: Load>(&mut self, loads: impl Iterator<Item = L>) {
        self.bytes.clear();
        for load in loads {
            let before = self.bytes.len();
            load.put(&mut self.bytes);
            self.each = self.bytes.len() - before;
        }
    }

    /// The rows.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.each.max(1))
    }
}

/// The beginnings and lengths of the batches of so many messages; the last may be shorter.
pub fn batches(messages: u32, in_a_batch: u32) -> impl Iterator<Item = (u32, u32)> {
    let next = move |(first, count): &(u32, u32)| Some((first + count, in_a_batch.min(messages - first - count)));
    iter::successors(Some((0, in_a_batch.min(messages))), next).take_while(|(_, count)| *count > 0)
}

#[cfg(test)]
mod tests {
    use qnfsm::{Codec, Trust};

    use super::*;
    use crate::messaging::message::{Large, Small};

    fn check<L: Load>(bytes: u32) {
        let load = L::of(300, bytes);
        assert!(load.is(300, bytes) && !load.is(301, bytes) && !load.is(300, bytes + 1));
        let mut encoded = Vec::new();
        Codec::CURRENT.encode(&load, &mut encoded).expect("plain data");
        let back: L = Codec::CURRENT.decode(&encoded, Trust::Node).expect("its own bytes");
        assert!(back.is(300, bytes));
        let mut rows = Rows::default();
        rows.fill((0..3).map(|number| L::of(number, bytes)));
        assert_eq!(rows.iter().map(<[u8]>::len).collect::<Vec<_>>(), [bytes as usize; 3]);
    }

    #[test]
    fn every_load_is_told_from_others_and_has_its_length_as_a_row() {
        check::<Small>(16);
        check::<Large>(64);
        check::<Blob>(1_000);
    }

    #[test]
    fn batches_are_of_all_messages() {
        assert_eq!(batches(10, 4).collect::<Vec<_>>(), [(0, 4), (4, 4), (8, 2)]);
        assert_eq!(batches(8, 4).collect::<Vec<_>>(), [(0, 4), (4, 4)]);
        assert_eq!(batches(0, 4).count(), 0);
    }
}

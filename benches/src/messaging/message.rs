//! The payloads: the same types for all systems.
//!
//! Values are spread over all 64 bits, so that a codec that writes small integers short has nothing to gain: 16 bytes in memory
//! are about 14 when encoded, 64 bytes about 68.

use serde::{Serialize, de::DeserializeOwned};

/// What a message carries. Who sent it and its number tell a receiver what is missing; the value tells what was changed.
pub trait Payload: Copy + Send + Sync + Unpin + 'static + Serialize + DeserializeOwned {
    /// The size in memory.
    const BYTES: u32;

    /// The payload number `sequence` of sender `sender`.
    fn new(sender: u32, sequence: u32) -> Self;

    /// Who sent it.
    fn sender(&self) -> u32;

    /// Its number among those of its sender, from 0.
    fn sequence(&self) -> u32;

    /// A value that differs from that of any other payload.
    fn value(&self) -> u64;

    /// Appends its bytes: what a bare loop hands over in place of an encoding.
    fn put(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.sender().to_le_bytes());
        into.extend_from_slice(&self.sequence().to_le_bytes());
        for _ in 0..Self::BYTES / 8 - 1 {
            into.extend_from_slice(&self.value().to_le_bytes());
        }
    }

    /// Reads back what [`put`](Payload::put) wrote. Nothing, if it isn't that.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (sender, rest) = bytes.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let read = Self::new(u32::from_le_bytes(*sender), u32::from_le_bytes(*sequence));
        let value = u64::from_le_bytes(*rest.last_chunk()?);
        (bytes.len() == Self::BYTES as usize && value == read.value()).then_some(read)
    }
}

/// 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Small {
    sender: u32,
    sequence: u32,
    value: u64,
}

/// 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Large {
    sender: u32,
    sequence: u32,
    values: [u64; 7],
}

/// An odd number whose multiples are spread over all bits.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

const fn value_of(sender: u32, sequence: u32) -> u64 {
    ((sender as u64) << 32 | sequence as u64).wrapping_add(1).wrapping_mul(SPREAD)
}

/// The sum of the values of the first `count` payloads of sender `sender`.
pub const fn sum_of(sender: u32, count: u32) -> u64 {
    let count = count as u64;
    let numbers = if count.is_multiple_of(2) {
        (count / 2).wrapping_mul(count + 1)
    } else {
        count.wrapping_mul(count.div_ceil(2))
    };
    ((sender as u64) << 32).wrapping_mul(count).wrapping_add(numbers).wrapping_mul(SPREAD)
}

impl Payload for Small {
    const BYTES: u32 = 16;

    fn new(sender: u32, sequence: u32) -> Small {
        Small { sender, sequence, value: value_of(sender, sequence) }
    }

    fn sender(&self) -> u32 {
        self.sender
    }

    fn sequence(&self) -> u32 {
        self.sequence
    }

    fn value(&self) -> u64 {
        self.value
    }
}

impl Payload for Large {
    const BYTES: u32 = 64;

    fn new(sender: u32, sequence: u32) -> Large {
        Large { sender, sequence, values: [value_of(sender, sequence); 7] }
    }

    fn sender(&self) -> u32 {
        self.sender
    }

    fn sequence(&self) -> u32 {
        self.sequence
    }

    fn value(&self) -> u64 {
        self.values[6]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_sizes() {
        assert_eq!([size_of::<Small>(), size_of::<Large>()], [16, 64]);
    }

    #[test]
    fn what_is_put_is_read_back_and_nothing_else_is() {
        let mut bytes = Vec::new();
        Large::new(3, 4).put(&mut bytes);
        assert_eq!(Large::read(&bytes), Some(Large::new(3, 4)));
        assert_eq!(Small::read(&bytes), None);
        bytes[63] ^= 1;
        assert_eq!(Large::read(&bytes), None);
    }

    #[test]
    fn the_sum_of_the_first_so_many_is_what_adding_them_gives() {
        for (sender, count) in [(0, 0), (0, 1), (3, 10), (70_000, 1001)] {
            let added = (0..count).fold(0_u64, |sum, sequence| sum.wrapping_add(Small::new(sender, sequence).value()));
            assert_eq!(sum_of(sender, count), added);
            let added = (0..count).fold(0_u64, |sum, sequence| sum.wrapping_add(Large::new(sender, sequence).value()));
            assert_eq!(sum_of(sender, count), added);
        }
    }
}

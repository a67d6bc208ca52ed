//! Bytes as one value, of the types that are hardest on a decoder.

use std::{collections::BTreeMap, fmt::Debug};

use qnfsm::{Codec, DecodeError, QueueId, Trust};
use serde::{Serialize, de::DeserializeOwned};

use super::zoo::{Event, Order, Tree};

type Flat = (bool, u8, i16, u32, i64, u128, f32, f64, char, (), [u16; 3], Option<Option<u64>>);
type Keyed = BTreeMap<String, Vec<(Option<String>, Box<[u8]>)>>;
type Hollow = Vec<Vec<((), [(); 4])>>;

/// The first byte says which type, the rest is the value.
pub fn value(bytes: &[u8]) {
    let Some((&which, bytes)) = bytes.split_first() else { return };
    match which % 8 {
        0 => decode::<Tree>(bytes, Tree::names_a_queue),
        1 => decode::<Order>(bytes, Order::names_a_queue),
        2 => decode::<Event>(bytes, |_| false),
        3 => decode::<Flat>(bytes, |_| false),
        4 => decode::<Keyed>(bytes, |_| false),
        5 => decode::<Hollow>(bytes, |_| false),
        6 => decode::<Vec<(QueueId<Event>, String)>>(bytes, |queues| !queues.is_empty()),
        _ => decode::<Result<Box<str>, BTreeMap<i32, Tree>>>(bytes, |result| {
            result.as_ref().is_err_and(|map| map.values().any(Tree::names_a_queue))
        }),
    }
}

/// Decodes for both kinds of writers, and checks that they differ in queue IDs alone, and that what was read can be
/// written and then read again.
fn decode<T: Serialize + DeserializeOwned + Debug>(bytes: &[u8], names_a_queue: fn(&T) -> bool) {
    let from_node = Codec::CURRENT.decode::<T>(bytes, Trust::Node);
    let from_peer = Codec::CURRENT.decode::<T>(bytes, Trust::Peer);
    let value = match (from_node, from_peer) {
        (Ok(value), Err(DecodeError::QueueIdFromPeer)) => {
            assert!(names_a_queue(&value), "refused for a queue ID that isn't there: {value:?}");
            value
        }
        (Ok(value), Ok(same)) => {
            assert!(!names_a_queue(&value), "a queue ID came in from a peer: {value:?}");
            assert_eq!(encoded(&value), encoded(&same));
            value
        }
        (Err(_), Err(_)) => return,
        (node, peer) => panic!("a node's bytes give {node:?}, and the same from a peer {peer:?}"),
    };
    let written = encoded(&value);
    let again = Codec::CURRENT.decode::<T>(&written, Trust::Node).expect("what was written can be read");
    assert_eq!(encoded(&again), written);
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    Codec::CURRENT.encode(value, &mut bytes).expect("what was read can be written");
    bytes
}

//! Where a worker's messages lie while they wait: in one pool for each message type, so that they keep their type without
//! a box for each, and are moved twice in all: in by who sends, out by who handles.
//!
//! Effects and queues hold a [`MessageRef`] and know no types. Which place in its pool a message has depends on what was
//! there before, so it is no part of a worker's state: nothing that is digested, put out or snapshot may show it. Start
//! values of new FSMs lie in pools of their own, one for each kind.

use std::{any::Any, fmt};

use crate::{
    codec::{Codec, DecodeError, EncodeError, Trust},
    frame::Frames,
    message::Message,
};

/// A message in the pool of its type. Whoever holds it takes the message out, or discards it, once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageRef(u32);

impl fmt::Debug for MessageRef {
    /// Without the place, which is no part of a worker's state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("message")
    }
}

/// The messages of one type. A steady stream of them allocates nothing: the place freed last is used next.
pub(crate) struct Pool<M> {
    places: Vec<Place<M>>,
    /// The place freed last; the number of places, if none is free.
    free: u32,
}

enum Place<M> {
    Taken(M),
    /// And the place that was freed before it.
    Free(u32),
}

const THERE: &str = "a reference to a message is used up once";

impl<M> Pool<M> {
    pub(crate) const fn new() -> Pool<M> {
        Pool { places: Vec::new(), free: 0 }
    }

    #[inline]
    pub(crate) fn put(&mut self, message: M) -> MessageRef {
        let at = self.free;
        // The message itself goes into no call, so that it is made where it is to lie.
        let place = match self.places.get_mut(at as usize) {
            Some(place) => place,
            None => self.add_place(),
        };
        let Place::Free(before) = *place else { unreachable!("the free places are free") };
        *place = Place::Taken(message);
        self.free = before;
        MessageRef(at)
    }

    /// Adds a free place behind all others, of which none is free.
    #[cold]
    fn add_place(&mut self) -> &mut Place<M> {
        let places = u32::try_from(self.places.len() + 1).expect("memory ends long before 2^32 messages");
        self.places.push(Place::Free(places));
        self.places.last_mut().expect("it was just added")
    }

    #[inline]
    pub(crate) fn take(&mut self, at: MessageRef) -> M {
        let place = std::mem::replace(&mut self.places[at.0 as usize], Place::Free(self.free));
        self.free = at.0;
        let Place::Taken(message) = place else { unreachable!("{THERE}") };
        message
    }

    pub(crate) fn see(&self, at: MessageRef) -> &M {
        let Place::Taken(message) = &self.places[at.0 as usize] else { unreachable!("{THERE}") };
        message
    }
}

/// A pool whose message type is not known here.
pub(crate) trait AnyPool: Any + Send {
    /// Drops a message.
    fn discard(&mut self, at: MessageRef);
    /// Takes a message out and appends its bytes, as they cross the perimeter.
    fn put_out(&mut self, at: MessageRef, out: &mut Vec<u8>) -> Result<(), EncodeError>;
    /// Appends a message's bytes, as they cross the perimeter, and keeps it.
    fn encode(&self, at: MessageRef, out: &mut Vec<u8>) -> Result<(), EncodeError>;
    /// Appends a message's bytes, as they lie in a worker's image.
    fn encode_image(&self, at: MessageRef, out: &mut Vec<u8>) -> Result<(), EncodeError>;
    /// Puts in the message that bytes from the perimeter are.
    fn decode(&mut self, bytes: &[u8], trust: Trust) -> Result<MessageRef, DecodeError>;
    /// Puts in the messages that the next frames of a run are, each into the next of `decoded`, with the length of its payload.
    /// Says how many they are, and gives the payload of the one behind them if it was read and is no message.
    fn decode_run<'a>(
        &mut self,
        frames: &mut Frames<'a>,
        trust: Trust,
        decoded: &mut [Option<(MessageRef, usize)>],
    ) -> (usize, Option<&'a [u8]>);
    /// Puts in the message that bytes of an image are.
    fn decode_image(&mut self, bytes: &[u8]) -> Result<MessageRef, DecodeError>;
    /// How long a message is when it is encoded, in bytes.
    fn encoded_bytes(&self, at: MessageRef) -> u64;
}

impl<M: Message> AnyPool for Pool<M> {
    fn discard(&mut self, at: MessageRef) {
        drop(self.take(at));
    }

    fn put_out(&mut self, at: MessageRef, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Codec::CURRENT.encode(&self.take(at), out)
    }

    fn encode(&self, at: MessageRef, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Codec::CURRENT.encode(self.see(at), out)
    }

    fn encode_image(&self, at: MessageRef, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Codec::CURRENT.encode_image(self.see(at), out)
    }

    fn decode(&mut self, bytes: &[u8], trust: Trust) -> Result<MessageRef, DecodeError> {
        Codec::CURRENT.decode(bytes, trust).map(|message| self.put(message))
    }

    fn decode_run<'a>(
        &mut self,
        frames: &mut Frames<'a>,
        trust: Trust,
        decoded: &mut [Option<(MessageRef, usize)>],
    ) -> (usize, Option<&'a [u8]>) {
        let room = decoded.len();
        for (count, place) in decoded.iter_mut().enumerate() {
            let Some(payload) = frames.next_alike() else { return (count, None) };
            let Ok(message) = Codec::CURRENT.decode(payload, trust) else { return (count, Some(payload)) };
            *place = Some((self.put(message), payload.len()));
        }
        (room, None)
    }

    fn decode_image(&mut self, bytes: &[u8]) -> Result<MessageRef, DecodeError> {
        Codec::CURRENT.decode_image(bytes).map(|message| self.put(message))
    }

    fn encoded_bytes(&self, at: MessageRef) -> u64 {
        Codec::CURRENT.encoded_bytes(self.see(at))
    }
}

/// The pools of a worker's messages by the numbers of their types, or of its start values by the numbers of their kinds.
pub(crate) struct Pools(Vec<Box<dyn AnyPool>>);

impl Pools {
    pub(crate) fn new(pools: Vec<Box<dyn AnyPool>>) -> Pools {
        Pools(pools)
    }

    /// The pool of that number.
    #[inline]
    pub(crate) fn any(&mut self, number: u32) -> &mut dyn AnyPool {
        &mut *self.0[number as usize]
    }

    /// The pool of that number, to look at.
    pub(crate) fn see(&self, number: u32) -> &dyn AnyPool {
        &*self.0[number as usize]
    }

    /// The pool of that number, as what it is.
    #[inline]
    pub(crate) fn of<M: Message>(&mut self, number: u32) -> &mut Pool<M> {
        typed(&mut *self.0[number as usize])
    }

    /// All pools for a handler whose messages lie in the one of that number.
    #[inline]
    pub(crate) fn lend<M: Message>(&mut self, number: u32) -> Lent<'_, M> {
        let (before, others) = self.0.split_at_mut(number as usize);
        let (own, behind) = others.split_first_mut().expect("the catalogue gives each type a pool");
        Lent { own: typed(&mut **own), before, behind }
    }

    /// A message of the pool of that number, to look at.
    pub(crate) fn message<M: Message>(&self, number: u32, at: MessageRef) -> &M {
        let pool: &dyn Any = &*self.0[number as usize];
        pool.downcast_ref::<Pool<M>>().expect("the catalogue gives each type the pool of its number").see(at)
    }
}

#[inline]
fn typed<M: Message>(pool: &mut dyn AnyPool) -> &mut Pool<M> {
    let pool: &mut dyn Any = pool;
    pool.downcast_mut().expect("the catalogue gives each type the pool of its number")
}

/// A worker's pools, lent to a handler: that of its own message type is found and checked once for what it takes and all
/// that it sends of that type.
pub(crate) struct Lent<'a, M> {
    pub(crate) own: &'a mut Pool<M>,
    before: &'a mut [Box<dyn AnyPool>],
    behind: &'a mut [Box<dyn AnyPool>],
}

impl<M> Lent<'_, M> {
    /// Lends them on.
    #[inline]
    pub(crate) fn again(&mut self) -> Lent<'_, M> {
        Lent { own: self.own, before: self.before, behind: self.behind }
    }

    /// Another pool than the own, by its number.
    pub(crate) fn other<N: Message>(&mut self, number: u32) -> &mut Pool<N> {
        let number = number as usize;
        let pool = match number.checked_sub(self.before.len() + 1) {
            Some(number) => &mut self.behind[number],
            None => &mut self.before[number],
        };
        typed(&mut **pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_uses_the_same_places() {
        let mut pool = Pool::new();
        let held: Vec<_> = (0..3_u64).map(|message| pool.put(message)).collect();
        for message in 0..1000 {
            let at = pool.put(message);
            assert_eq!(pool.take(at), message);
        }
        assert_eq!(pool.places.len(), 4);
        assert_eq!(held.into_iter().map(|at| pool.take(at)).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_place_shows_nowhere() {
        let mut pool = Pool::new();
        let (first, second) = (pool.put(1_u8), pool.put(1));
        assert_eq!(format!("{first:?}"), format!("{second:?}"));
    }
}

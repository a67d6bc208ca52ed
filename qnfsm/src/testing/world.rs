//! What a drive stands in for: the world outside of its worker, which gets what FSMs send there and can watch them.

use crate::{
    Codec, Down, Fsm, Message, QueueId, RawQueueId, ReplyTo, RequestId, Time, Trust, WorkerId,
    frame::{Class, Header, take_varint},
    testing::{Drive, stage::world},
};

/// A frame that left the worker.
pub(super) struct Out {
    pub(super) to: RawQueueId,
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
}

/// A queue outside of the driven worker, made up by the test: `number` tells such queues apart. What FSMs send to it can
/// be taken with [`Drive::sent_to`].
#[must_use]
pub fn elsewhere<M: Message>(number: u32) -> QueueId<M> {
    let world = world();
    QueueId::from_raw(RawQueueId::new(world.node(), world.place(), number, world.generation()))
}

/// An address to put into a request that the test makes up: `request` tells such requests apart. With [`Drive::answered`] a test
/// takes the answers.
#[must_use]
pub fn reply_to<A: Message>(request: u64) -> ReplyTo<A> {
    ReplyTo::new(world(), RequestId(request), FOREVER)
}

/// An FSM that was to be created on another worker.
pub struct Spawned<G: Fsm> {
    /// The worker.
    pub worker: WorkerId,
    /// The start value.
    pub fsm: G,
    /// Whom to tell the queue's ID, with [`Drive::answer`].
    pub reply: ReplyTo<QueueId<G::Message>>,
}

/// A deadline that is never reached.
const FOREVER: Time = Time::from_nanos(u64::MAX);

impl<F: Fsm> Drive<F> {
    /// Takes what was sent to a queue elsewhere since the last time, in the order of sending.
    ///
    /// # Panics
    /// When a message of another type was sent there.
    pub fn sent_to<M: Message>(&mut self, queue: QueueId<M>) -> Vec<M> {
        let number = self.number_of::<M>();
        let taken = self.take_out(|out| out.header.class == Class::Message && out.to == queue.raw());
        let decoded = taken.into_iter().map(|out| {
            let sent = self.stage.worker.catalogue().message_name(out.header.type_number);
            let wanted = self.stage.worker.catalogue().message_name(number);
            assert!(out.header.type_number == number, "Drive::sent_to: {queue} was sent a {sent}, not a {wanted}");
            Codec::CURRENT.decode(&out.payload, Trust::Node).unwrap_or_else(|error| {
                panic!("Drive::sent_to: a {wanted} was sent to {queue} that can't be decoded: {error}")
            })
        });
        decoded.collect()
    }

    /// Takes the FSMs of kind `G` that were to be created on other workers since the last time.
    pub fn spawned_elsewhere<G: Fsm>(&mut self) -> Vec<Spawned<G>> {
        let kind = self.stage.worker.catalogue().numbers().kind::<G>();
        let taken = self.take_out(|out| out.header.class == Class::Spawn && Some(out.header.type_number) == kind);
        let spawned = taken.into_iter().filter_map(|out| {
            let mut start_value = out.payload.as_slice();
            take_varint(&mut start_value).ok()?;
            let fsm = Codec::CURRENT.decode(start_value, Trust::Node).ok()?;
            let reply = ReplyTo::new(out.header.sender, out.header.request?, FOREVER);
            Some(Spawned { worker: out.to.place().as_worker()?, fsm, reply })
        });
        spawned.collect()
    }

    /// True if an FSM stopped that queue elsewhere, or closed that connection, since the last time it was asked.
    pub fn stopped_elsewhere<M>(&mut self, queue: QueueId<M>) -> bool {
        !self.take_out(|out| out.header.class == Class::Stop && out.to == queue.raw()).is_empty()
    }

    /// True if an FSM monitors that queue elsewhere.
    #[must_use]
    pub fn monitors<M>(&self, queue: QueueId<M>) -> bool {
        self.stage.worker.watches_elsewhere().any(|(watched, _)| watched == queue.raw())
    }

    /// Takes the answers to requests that the test made up with [`Drive::reply_to`].
    ///
    /// # Panics
    /// When the kinds don't name the answer's type.
    pub fn answered<A: Message>(&mut self) -> Vec<(RequestId, A)> {
        let number = self.number_of::<A>();
        let taken = self.take_out(|out| out.header.class == Class::Reply && out.header.type_number == number);
        let answers = taken.into_iter().filter_map(|out| {
            let answer = Codec::CURRENT.decode(&out.payload, Trust::Node).ok()?;
            Some((out.header.request?, answer))
        });
        answers.collect()
    }

    /// An address to put into a request that the test makes up; [`Drive::answered`] takes the answers.
    #[must_use]
    pub fn reply_to<A: Message>(&self, request: u64) -> ReplyTo<A> {
        reply_to(request)
    }

    /// Watches an FSM of the worker from outside; [`Drive::downs`] takes what comes of it.
    ///
    /// # Panics
    /// Where [`Drive::tell`] does.
    pub fn watch<M>(&mut self, queue: QueueId<M>) {
        self.put(&Header::to(Class::Watch, 0, queue.raw(), world()), &());
        self.run();
    }

    /// Takes what was told to the outside of queues that it watches.
    pub fn downs(&mut self) -> Vec<Down> {
        let taken = self.take_out(|out| out.header.class == Class::Down);
        let downs = taken.into_iter().filter_map(|out| {
            let reason = Codec::CURRENT.decode(&out.payload, Trust::Node).ok()?;
            Some(Down { queue: out.header.sender, reason })
        });
        downs.collect()
    }

    fn take_out(&mut self, mut wanted: impl FnMut(&Out) -> bool) -> Vec<Out> {
        let (taken, left) = std::mem::take(&mut self.out).into_iter().partition(|out| wanted(out));
        self.out = left;
        taken
    }
}

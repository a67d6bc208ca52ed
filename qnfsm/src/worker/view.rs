//! What whoever drives a worker may look at between two handlers: its FSMs, as what they are or as their bytes. Nothing here
//! changes a worker.

use std::any::Any;

use crate::{
    codec::EncodeError,
    fsm::Fsm,
    id::{QueueId, RawQueueId, RequestId},
    worker::{Worker, seats::Seat, typed_cell::Cell},
};

/// An FSM as it is at one moment, in the bytes that a snapshot has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedFsm {
    /// The number of its kind.
    pub kind: u32,
    /// Its data.
    pub data: Vec<u8>,
    /// Its state; none before its start handler has run.
    pub state: Option<Vec<u8>>,
}

/// The FSM in a seat, if it is of that kind; without a state if it has yet to start.
fn inside<F: Fsm>(seat: &Seat) -> Option<(&F, Option<F::State>)> {
    let cell: &dyn Any = seat.cell.as_deref()?;
    Some(cell.downcast_ref::<Cell<F>>()?.inside())
}

impl Worker {
    /// An FSM and its state, to look at; `None` if it is gone, of another kind, or has yet to start.
    #[must_use]
    pub fn fsm<F: Fsm>(&self, queue: QueueId<F::Message>) -> Option<(&F, F::State)> {
        let (fsm, state) = inside::<F>(self.seat(queue.raw())?)?;
        Some((fsm, state?))
    }

    /// The FSMs of a kind, in the order of their slots, each with its state; one that has yet to start has none.
    pub fn fsms_of<F: Fsm>(&self) -> impl Iterator<Item = (QueueId<F::Message>, &F, Option<F::State>)> + '_ {
        self.seats.iter().filter_map(|seat| {
            let (fsm, state) = inside::<F>(seat)?;
            Some((QueueId::from_raw(seat.queue), fsm, state))
        })
    }

    /// The queues of all FSMs, in the order of their slots.
    pub fn queues(&self) -> impl Iterator<Item = RawQueueId> + '_ {
        self.seats.iter().filter(|seat| seat.cell.is_some()).map(|seat| seat.queue)
    }

    /// True if the FSM of that queue is there.
    #[must_use]
    pub fn has_fsm(&self, queue: RawQueueId) -> bool {
        self.seat(queue).is_some()
    }

    /// Appends the data of the FSM in a queue, as they stand in an image; nothing, if it is gone.
    ///
    /// # Errors
    /// When they can't be encoded.
    pub fn encode_data(&self, queue: RawQueueId, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.seat(queue).and_then(|seat| seat.cell.as_ref()).map_or(Ok(()), |cell| cell.encode_fsm(out))
    }

    /// Appends the state of the FSM in a queue; nothing, if it is gone or has yet to start.
    ///
    /// # Errors
    /// When it can't be encoded.
    pub fn encode_state(&self, queue: RawQueueId, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.seat(queue).and_then(|seat| seat.cell.as_ref()).map_or(Ok(()), |cell| cell.encode_state(out))
    }

    /// An FSM in the bytes that a snapshot would have of it; `None` if it is gone.
    ///
    /// # Errors
    /// When its data or its state can't be encoded, so that no snapshot could be taken either.
    pub fn encoded_fsm(&self, queue: RawQueueId) -> Result<Option<EncodedFsm>, EncodeError> {
        let Some(seat) = self.seat(queue) else { return Ok(None) };
        let Some(cell) = &seat.cell else { return Ok(None) };
        let mut fsm = EncodedFsm { kind: seat.kind, data: Vec::new(), state: None };
        cell.encode_fsm(&mut fsm.data)?;
        if cell.has_started() {
            let mut state = Vec::new();
            cell.encode_state(&mut state)?;
            fsm.state = Some(state);
        }
        Ok(Some(fsm))
    }

    /// The kind's name of the FSM in a queue.
    #[must_use]
    pub fn kind_name(&self, queue: RawQueueId) -> &str {
        self.seat(queue).map_or("unknown kind", |seat| self.catalogue.kind_name(seat.kind))
    }

    /// True if the FSM of that queue waits for the answer of that request.
    #[must_use]
    pub fn awaits(&self, queue: RawQueueId, request: RequestId) -> bool {
        self.awaited(queue, request).is_some()
    }

    /// The number of the type of answer that the FSM of that queue waits for with that request; `None` if it doesn't wait.
    #[must_use]
    pub fn awaited(&self, queue: RawQueueId, request: RequestId) -> Option<u32> {
        self.seat(queue)?.waiting.awaited_answer(request)
    }
}

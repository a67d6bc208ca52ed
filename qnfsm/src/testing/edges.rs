//! Stands in for the node at an edge under test: makes what the edge puts its inputs into, and takes them out.

use crate::{Catalogue, EdgeId, EdgeSetup, Epoch, Inputs, NodeId, Place, frame::Batch};

/// What an edge of a node would put its inputs into. [`Inputs::setup`] is what its `open` gets.
///
/// ```
/// use qnfsm::{EdgeId, Epoch, Kinds, NodeId, Place, QueueId, RawQueueId, WorkerId};
/// use qnfsm::testing::{edge_inputs, taken_inputs};
///
/// let kinds = Kinds::new().message::<String>().seal()?;
/// let mut inputs = edge_inputs(NodeId(0), EdgeId::FIRST_OF_USER, Epoch::FIRST, &kinds);
/// let worker = Place::worker(WorkerId(1));
/// let queue = QueueId::from_raw(RawQueueId::new(NodeId(0), worker, 4, 1));
/// let from = inputs.setup().queue(0, 1);
/// inputs.message(queue, from, &"hello".to_owned())?;
///
/// let taken = taken_inputs(&mut inputs);
/// assert_eq!((taken[0].0, taken[0].1.as_ref().count), (worker, 1));
/// assert!(taken_inputs(&mut inputs).is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn edge_inputs(node: NodeId, edge: EdgeId, epoch: Epoch, catalogue: &Catalogue) -> Inputs {
    Inputs::new(EdgeSetup { node, edge, epoch, numbers: catalogue.numbers().clone() })
}

/// Takes what an edge put in since the last time: each worker's batch, numbered on from the one before.
pub fn taken_inputs(inputs: &mut Inputs) -> Vec<(Place, Batch)> {
    let mut taken = Vec::new();
    inputs.drain(|place, batch| {
        taken.push((place, batch.clone()));
        let whole = batch.as_ref();
        let (source, epoch, next) = (whole.source, whole.epoch, whole.next_number());
        batch.reset(source, epoch, next);
    });
    taken
}

/// Sets whether the node takes new work, as [`Inputs::admits_new_work`] tells the edge. It does at first.
pub fn admit_new_work(inputs: &mut Inputs, admits: bool) {
    inputs.set_admits_new_work(admits);
}

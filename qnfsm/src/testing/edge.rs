//! The kit for testing edges: what a [`Reactor`](crate::Reactor) gets from its node, without a node.

use crate::{
    frame::Batch,
    id::{EdgeId, Epoch, NodeId},
    node::edge::{EdgeSetup, Inputs},
    worker::Kinds,
};

/// The inputs of an edge as its node would make them in that epoch; [`Inputs::setup`] is what the edge is opened with.
///
/// # Panics
/// When the kinds can't be registered.
#[must_use]
pub fn edge_inputs(edge: EdgeId, epoch: Epoch, kinds: Kinds) -> Inputs {
    let catalogue = kinds.seal().unwrap_or_else(|error| panic!("the kinds can't be registered: {error}"));
    Inputs::new(EdgeSetup { node: NodeId(0), edge, epoch, numbers: catalogue.numbers().clone() })
}

/// Says whether the node admits new work, as a node over its budget doesn't.
pub fn admit_new_work(inputs: &mut Inputs, admits: bool) {
    inputs.set_admits_new_work(admits);
}

/// Takes what the edge put in, a batch for each worker.
pub fn drain_inputs(inputs: &mut Inputs) -> Vec<Batch> {
    let epoch = inputs.setup().epoch();
    let mut batches = Vec::new();
    inputs.drain(|_, batch| {
        let source = batch.as_ref().source;
        batches.push(std::mem::replace(batch, Batch::new(source, epoch, 1)));
    });
    batches
}

//! What an FSM can ask of its node.

use serde::{Deserialize, Serialize};

use crate::{
    frame::edge_queue,
    id::{EdgeId, NodeId, QueueId, WorkerId},
    message::ReplyTo,
    node_metrics::NodeMetrics,
};

/// A request to the node that an FSM lives in. Send it to [`NodeRequest::queue`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NodeRequest {
    /// Start another worker, on a thread of its own, and answer with its number.
    StartWorker {
        /// Whom to tell.
        reply: ReplyTo<WorkerId>,
    },
    /// Stop the node in good order, as SIGTERM does.
    Stop,
    /// Answer with what the node knows of itself now. Who asks takes a `Reply<NodeMetrics>`, which `Kinds::replies` declares. After
    /// a crash a request that was under way is answered with what the node knows then.
    Metrics {
        /// Whom to tell.
        reply: ReplyTo<NodeMetrics>,
    },
}

impl NodeRequest {
    /// The queue that takes requests to a node.
    #[must_use]
    pub fn queue(node: NodeId) -> QueueId<NodeRequest> {
        QueueId::from_raw(edge_queue(node, EdgeId::NODE))
    }
}

//! Publishes nothing: the stand-in for `facade` in a build without the feature `metrics`.

use std::time::Duration;

use crate::{
    id::{NodeId, WorkerId},
    node_metrics::NodeMetrics,
};

/// Nobody listens.
#[derive(Debug, Clone)]
pub(super) struct Facade;

impl Facade {
    pub(super) fn new(_program: &str, _node: NodeId) -> Facade {
        Facade
    }

    pub(super) fn describe(&self) {}

    pub(super) fn publish(&self, _metrics: impl FnOnce() -> NodeMetrics) {}

    pub(super) fn synced(&self, _took: Duration) {}

    pub(super) fn was_snapshot(&self, _worker: WorkerId, _took: Duration) {}

    pub(super) fn diverged(&self) {}
}

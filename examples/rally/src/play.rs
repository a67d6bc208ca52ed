//! A rally of several nodes, each with a directory of its own.

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::Duration,
};

use qnfsm::{Node, NodeBuilder, NodeId, Recording, RunOn};

use super::{Ball, Landed, first, kinds, link::links};

/// The name of each node's program.
pub const PROGRAM: &str = "rally";

/// How long the ball may take until it is down.
const PATIENCE: Duration = Duration::from_secs(60);

/// The directory of a node, by its number.
#[must_use]
pub fn dir_of(dir: &Path, node: NodeId) -> PathBuf {
    dir.join(format!("node{}", node.0))
}

/// Starts so many nodes in directories below `dir`, has a ball go round until it was hit on so often, and stops them.
///
/// # Errors
/// When there is something already, a node can't be started or stopped, or the ball doesn't come down.
pub fn play(dir: &Path, nodes: u32, hits: u64, recording: Recording) -> Result<(), Box<dyn Error>> {
    let numbers: Vec<_> = (1..=nodes).map(NodeId).collect();
    if let Some(there) = numbers.iter().map(|node| dir_of(dir, *node)).find(|dir| dir.exists()) {
        return Err(format!("{} is there already; say where a new rally is to be played", there.display()).into());
    }
    let started = links(&numbers).into_iter().zip(&numbers).map(|(link, node)| {
        let next = NodeId(node.0 % nodes + 1);
        // Its number is its own: by it a frame says from which node it came.
        let builder = NodeBuilder::new(PROGRAM, kinds()).dir(dir_of(dir, *node)).node_id(*node);
        let mut builder = builder.recording(recording);
        builder.reactor(RunOn::Thread, link);
        Ok(builder.start(&first(*node, next))?)
    });
    let nodes: Vec<Node<Ball>> = started.collect::<Result<_, Box<dyn Error>>>()?;
    let of = |turn: u64| usize::try_from(turn % nodes.len() as u64).map(|at| &nodes[at]);
    let (server, last) = (of(0)?, of(hits + 1)?);
    server.host().send(server.root(), &Ball::Serve(hits))?;
    let Landed = last.host().request(last.root(), PATIENCE, Ball::WhenDown)?;
    for node in nodes {
        node.stop()?;
    }
    Ok(())
}

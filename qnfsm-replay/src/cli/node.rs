//! What a program that runs a node is told on its command line.

use std::path::PathBuf;

use clap::Args;
use qnfsm::journal::Position;

/// The arguments of a program that runs one node and takes at most its directory; see [`node_main`](super::node_main).
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[non_exhaustive]
pub struct NodeArgs {
    /// The node's directory: made if there is none, gone on from if there is one.
    pub dir: Option<PathBuf>,
    /// What to give up first.
    #[command(flatten)]
    pub recover: RecoverArgs,
}

/// The option `--recover-to`, for a program to flatten into its own arguments and to hand on to the builder:
///
/// ```no_run
/// #[derive(clap::Args)]
/// struct Serve {
///     #[arg(long)]
///     dir: std::path::PathBuf,
///     #[command(flatten)]
///     recover: qnfsm_replay::cli::RecoverArgs,
/// }
///
/// # fn kinds() -> qnfsm::Kinds { qnfsm::Kinds::new() }
/// fn builder(serve: &Serve) -> qnfsm::NodeBuilder {
///     qnfsm::NodeBuilder::new("my-service", kinds()).dir(&serve.dir).recover_to(serve.recover.recover_to)
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[non_exhaustive]
pub struct RecoverArgs {
    /// Give up what the journal holds from that position on, keep it aside, and go on from there. For once, when the journal
    /// is damaged and there is no copy: the error says which position to give.
    #[arg(long, value_name = "SEGMENT:OFFSET")]
    pub recover_to: Option<Position>,
}

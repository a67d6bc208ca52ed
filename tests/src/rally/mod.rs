//! Nodes of the example `rally` that a test has in its hands: the programs `east` and `west`, which number their types differently, and
//! `north`, which is as `west`.

pub mod hand;

use qnfsm::{Kinds, NodeId};
use qnfsm_replay::cli::Program;
pub use rally::{Ball, Player, player, stands_for};
use rally::{Judge, Landed};

/// The node of the program `east`.
pub const EAST: NodeId = NodeId(1);
/// The node of the program `west`.
pub const WEST: NodeId = NodeId(2);
/// The node of the program `north`, if there are three.
pub const NORTH: NodeId = NodeId(3);

/// The name of a node's program.
#[must_use]
pub fn program(node: NodeId) -> &'static str {
    match node {
        EAST => "east",
        WEST => "west",
        _ => "north",
    }
}

/// The kinds of a node's program: of the same names, and with other numbers.
#[must_use]
pub fn kinds(node: NodeId) -> Kinds {
    if node == EAST {
        rally::kinds()
    } else {
        Kinds::new().message::<String>().with::<Judge>().message::<Landed>().with::<Player>()
    }
}

/// All programs.
#[must_use]
pub fn programs() -> Program {
    let of = |node| Program::new(program(node), kinds(node));
    of(EAST).also(of(WEST)).also(of(NORTH))
}

//! Two programs that play a ball to and fro between their nodes: `east` and `west`, which number their types differently, and a judge who is told of each
//! hit by a message within the node.

pub mod ferry;
pub mod hand;

use qnfsm::{Context, EdgeId, Fsm, Kinds, Next, NodeId, Place, QueueId, RawQueueId, ReplyTo, WorkerId};
use qnfsm_replay::cli::Program;
use serde::{Deserialize, Serialize};

/// The node of the program `east`.
pub const EAST: NodeId = NodeId(1);
/// The node of the program `west`.
pub const WEST: NodeId = NodeId(2);
/// The slot of an edge's queue that stands for the other node's player.
pub const OVER: u32 = 5;

/// Hits each ball that comes, so often as it says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Player {
    /// What stands for the other player.
    pub over: QueueId<Ball>,
    /// Told of each hit.
    pub judge: Option<QueueId<Ball>>,
    /// How often it hit.
    pub hits: u64,
}

/// Whether a rally is on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Stance {
    /// None is.
    Resting,
    /// One is.
    Playing,
}

/// What players and judges take.
#[derive(Debug, Serialize, Deserialize)]
pub enum Ball {
    /// Hit it over, to be hit so often.
    Serve(u64),
    /// It came over, and is to be hit so often.
    Hit(u64),
    /// A call that is all alike.
    Shout,
    /// How often it was hit here.
    Count(ReplyTo<u64>),
}

impl Fsm for Player {
    const NAME: &'static str = "player";
    type State = Stance;
    type Message = Ball;

    fn start(&mut self, cx: &mut Context<'_, Self>) -> Stance {
        if self.over == nobody() {
            return Stance::Resting;
        }
        self.judge = Some(cx.spawn(Player { over: nobody(), judge: None, hits: 0 }));
        Stance::Resting
    }

    fn handle(&mut self, _: Stance, ball: Ball, cx: &mut Context<'_, Self>) -> Next<Self> {
        match ball {
            Ball::Serve(left) => cx.send(self.over, Ball::Hit(left)),
            Ball::Hit(left) => {
                self.hits += 1;
                self.judge.iter().for_each(|judge| cx.send(*judge, Ball::Hit(left)));
                if left == 0 || self.over == nobody() {
                    return Next::Goto(Stance::Resting);
                }
                cx.send(self.over, Ball::Hit(left - 1));
            }
            Ball::Shout => {
                if self.over != nobody() {
                    cx.send(self.over, Ball::Shout);
                }
                return Next::Stay;
            }
            Ball::Count(reply) => {
                cx.reply(reply, self.hits);
                return Next::Stay;
            }
        }
        Next::Goto(Stance::Playing)
    }
}

/// A queue that is nobody's.
fn nobody() -> QueueId<Ball> {
    QueueId::from_raw(RawQueueId::new(NodeId(0), Place::worker(WorkerId(0)), 0, 0))
}

/// A node's player, which is its root.
#[must_use]
pub fn player(node: NodeId) -> QueueId<Ball> {
    QueueId::from_raw(RawQueueId::new(node, Place::worker(WorkerId(0)), 0, 1))
}

/// What stands for the other node's player at a node's first edge.
#[must_use]
pub fn over(node: NodeId) -> QueueId<Ball> {
    QueueId::from_raw(RawQueueId::new(node, Place::edge(EdgeId::FIRST_OF_USER), OVER, 1))
}

/// A root of a node.
#[must_use]
pub fn root(node: NodeId) -> Player {
    Player { over: over(node), judge: None, hits: 0 }
}

/// The name of a node's program.
#[must_use]
pub fn program(node: NodeId) -> &'static str {
    if node == EAST { "east" } else { "west" }
}

/// The kinds of a node's program: of the same names, and with other numbers.
#[must_use]
pub fn kinds(node: NodeId) -> Kinds {
    if node == EAST {
        Kinds::new().with::<Player>().message::<u64>()
    } else {
        Kinds::new().message::<String>().message::<u64>().with::<Player>()
    }
}

/// Both programs.
#[must_use]
pub fn programs() -> Program {
    Program::new(program(EAST), kinds(EAST)).also(Program::new(program(WEST), kinds(WEST)))
}

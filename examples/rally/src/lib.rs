//! Nodes that talk to each other: a ball goes round among their players, each of which hits it on to the next node's and tells a judge
//! beside it.
//!
//! `link` carries balls from node to node, and `play` runs several nodes in one process. What is here is what a node's program
//! is made of, as in any other one.
#![forbid(unsafe_code)]

pub mod link;
pub mod play;

use qnfsm::{Context, EdgeId, Fsm, Kinds, Next, NodeId, Place, QueueId, RawQueueId, ReplyTo, WorkerId};
use serde::{Deserialize, Serialize};

/// Hits each ball that comes on to the next player. The first FSM of its node.
#[derive(Debug, Serialize, Deserialize)]
pub struct Player {
    /// Stands for the next player.
    pub next: QueueId<Ball>,
    /// Who counts.
    pub judge: Option<QueueId<Call>>,
    /// Who is to be told when the ball falls down here.
    pub asked: Option<ReplyTo<Landed>>,
}

/// Where the ball is, as far as a player knows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Stance {
    /// It has not come yet.
    Resting,
    /// It was here, and went on.
    Playing,
    /// It fell down here.
    Down,
}

/// What players take.
#[derive(Debug, Serialize, Deserialize)]
pub enum Ball {
    /// Hit it on, to be hit so often after that.
    Serve(u64),
    /// It came, and is to be hit on so often.
    Hit(u64),
    /// Say so when it falls down here.
    WhenDown(ReplyTo<Landed>),
}

/// The ball has fallen down.
#[derive(Debug, Serialize, Deserialize)]
pub struct Landed;

impl Fsm for Player {
    const NAME: &'static str = "player";
    type State = Stance;
    type Message = Ball;

    fn start(&mut self, cx: &mut Context<'_, Self>) -> Stance {
        self.judge = Some(cx.spawn(Judge { hits: 0 }));
        Stance::Resting
    }

    fn handle(&mut self, stance: Stance, ball: Ball, cx: &mut Context<'_, Self>) -> Next<Self> {
        match (stance, ball) {
            (_, Ball::Serve(left)) => {
                cx.send(self.next, Ball::Hit(left));
                Next::Goto(Stance::Playing)
            }
            (_, Ball::Hit(left)) => {
                self.judge.iter().for_each(|judge| cx.send(*judge, Call::Hit));
                if left == 0 {
                    self.asked.take().into_iter().for_each(|asked| cx.reply(asked, Landed));
                    return Next::Goto(Stance::Down);
                }
                cx.send(self.next, Ball::Hit(left - 1));
                Next::Goto(Stance::Playing)
            }
            (Stance::Down, Ball::WhenDown(asked)) => {
                cx.reply(asked, Landed);
                Next::Stay
            }
            (_, Ball::WhenDown(asked)) => {
                self.asked = Some(asked);
                Next::Stay
            }
        }
    }
}

/// Counts the hits of its node.
#[derive(Debug, Serialize, Deserialize)]
pub struct Judge {
    hits: u64,
}

/// What judges take.
#[derive(Debug, Serialize, Deserialize)]
pub enum Call {
    /// It was hit.
    Hit,
}

impl Fsm for Judge {
    const NAME: &'static str = "judge";
    type State = ();
    type Message = Call;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), _: Call, _: &mut Context<'_, Self>) -> Next<Self> {
        self.hits += 1;
        Next::Stay
    }
}

/// The kinds of a node.
#[must_use]
pub fn kinds() -> Kinds {
    Kinds::new().with::<Player>().with::<Judge>().message::<Landed>()
}

/// A node's first FSM: a player who hits on to the player of the node `next`.
#[must_use]
pub fn first(node: NodeId, next: NodeId) -> Player {
    Player { next: stands_for(node, next), judge: None, asked: None }
}

/// A node's player: it is the first FSM in the first worker.
#[must_use]
pub fn player(node: NodeId) -> QueueId<Ball> {
    QueueId::from_raw(RawQueueId::new(node, Place::worker(WorkerId(0)), 0, 1))
}

/// The queue of a node's link that stands for the player of another node, by whose number it is told.
#[must_use]
pub fn stands_for(node: NodeId, other: NodeId) -> QueueId<Ball> {
    QueueId::from_raw(RawQueueId::new(node, Place::edge(EdgeId::FIRST_OF_USER), other.0, 1))
}

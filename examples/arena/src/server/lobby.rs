//! The lobby: the node's first FSM. It has a worker started for the world, spawns the world there, and then a
//! connection FSM for each client that comes.

use std::time::Duration;

use qnfsm::{Context, Down, EdgeId, Fsm, Next, NodeId, NodeRequest, QueueId, Reply, ReplyTo, WorkerId};
use qnfsm_net::{Control, Notice};
use serde::{Deserialize, Serialize};

use super::{
    GAME, Plant,
    connection::Connection,
    retry,
    world::{WorldFsm, WorldMessage},
};

/// How long the lobby waits for an answer before it asks again.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
pub(super) struct Lobby {
    tcp: EdgeId,
    plant: Option<Plant>,
    worker: Option<WorkerId>,
    world: Option<QueueId<WorldMessage>>,
    listener: Option<QueueId<qnfsm_net::Command>>,
    /// Where clients connect.
    address: String,
    /// Who wants to know where, or why not.
    asked: Vec<ReplyTo<Result<String, String>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LobbyState {
    /// There is no worker for the world yet.
    NoWorker,
    /// There is no world yet.
    NoWorld,
    /// The world is there, and nobody can come in.
    Closed,
    /// Clients come in.
    Open,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum LobbyMessage {
    Worker(Reply<WorkerId>),
    World(Reply<QueueId<WorldMessage>>),
    Net(Notice),
    Down(Down),
    ListenAgain,
    /// The address that clients connect to, once they can; or why they can't.
    Address(ReplyTo<Result<String, String>>),
    /// The program around the node has the node stop.
    Stop,
}

impl From<Reply<WorkerId>> for LobbyMessage {
    fn from(reply: Reply<WorkerId>) -> LobbyMessage {
        LobbyMessage::Worker(reply)
    }
}
impl From<Reply<QueueId<WorldMessage>>> for LobbyMessage {
    fn from(reply: Reply<QueueId<WorldMessage>>) -> LobbyMessage {
        LobbyMessage::World(reply)
    }
}
impl From<Notice> for LobbyMessage {
    fn from(notice: Notice) -> LobbyMessage {
        LobbyMessage::Net(notice)
    }
}
impl From<Down> for LobbyMessage {
    fn from(down: Down) -> LobbyMessage {
        LobbyMessage::Down(down)
    }
}

impl Lobby {
    pub(super) fn new(tcp: EdgeId, plant: Option<Plant>) -> Lobby {
        Lobby { tcp, plant, worker: None, world: None, listener: None, address: String::new(), asked: Vec::new() }
    }

    fn node(cx: &Context<'_, Lobby>) -> NodeId {
        cx.id().raw().node()
    }

    fn ask_for_worker(cx: &mut Context<'_, Lobby>) {
        let node = NodeRequest::queue(Lobby::node(cx));
        cx.request(node, PATIENCE, |reply| NodeRequest::StartWorker { reply });
    }

    fn listen(&self, cx: &mut Context<'_, Lobby>) {
        let control = qnfsm_net::control(Lobby::node(cx), self.tcp);
        // Told that the node was restarted, the lobby asks again: what it had asked for may have been forgotten.
        cx.monitor(control);
        cx.send(control, Control::Listen { name: GAME.to_owned() });
    }
}

impl Fsm for Lobby {
    const NAME: &'static str = "lobby";
    type State = LobbyState;
    type Message = LobbyMessage;

    fn start(&mut self, cx: &mut Context<'_, Self>) -> LobbyState {
        Lobby::ask_for_worker(cx);
        LobbyState::NoWorker
    }

    fn enter(&mut self, _from: Option<LobbyState>, to: LobbyState, cx: &mut Context<'_, Self>) {
        if to == LobbyState::Closed {
            self.listen(cx);
        }
    }

    fn handle(&mut self, state: LobbyState, message: LobbyMessage, cx: &mut Context<'_, Self>) -> Next<Self> {
        match (state, message) {
            (LobbyState::NoWorker, LobbyMessage::Worker(reply)) => {
                self.worker = retry(reply);
                let Some(worker) = self.worker else {
                    Lobby::ask_for_worker(cx);
                    return Next::Stay;
                };
                cx.spawn_on(worker, WorldFsm::new(self.plant), PATIENCE);
                Next::Goto(LobbyState::NoWorld)
            }
            (LobbyState::NoWorld, LobbyMessage::World(reply)) => {
                self.world = retry(reply);
                match (self.world, self.worker) {
                    (Some(_), _) => Next::Goto(LobbyState::Closed),
                    (None, Some(worker)) => {
                        cx.spawn_on(worker, WorldFsm::new(self.plant), PATIENCE);
                        Next::Stay
                    }
                    (None, None) => unreachable!("a world is asked for when there is a worker for it"),
                }
            }
            (LobbyState::Closed, LobbyMessage::Net(Notice::Listening { listener, address, .. })) => {
                cx.monitor(listener);
                cx.unmonitor(qnfsm_net::control(Lobby::node(cx), self.tcp));
                self.listener = Some(listener);
                self.address = address;
                for reply in self.asked.drain(..) {
                    cx.reply(reply, Ok(self.address.clone()));
                }
                Next::Goto(LobbyState::Open)
            }
            (LobbyState::Closed, LobbyMessage::Net(Notice::ListenFailed { why, .. })) => {
                for reply in self.asked.drain(..) {
                    cx.reply(reply, Err(why.clone()));
                }
                cx.state_timeout(Duration::from_millis(100), LobbyMessage::ListenAgain);
                Next::Stay
            }
            (LobbyState::Closed, LobbyMessage::ListenAgain | LobbyMessage::Down(_)) => {
                self.listen(cx);
                Next::Stay
            }
            (LobbyState::Open, LobbyMessage::Down(down)) if self.listener.is_some_and(|listener| down.is(listener)) => {
                self.listener = None;
                Next::Goto(LobbyState::Closed)
            }
            (_, LobbyMessage::Net(Notice::Accepted { connection, .. })) => {
                if let Some(world) = self.world {
                    cx.spawn(Connection::new(connection, world));
                }
                Next::Stay
            }
            (LobbyState::Open, LobbyMessage::Address(reply)) => {
                cx.reply(reply, Ok(self.address.clone()));
                Next::Stay
            }
            (_, LobbyMessage::Stop) => {
                cx.send(NodeRequest::queue(Lobby::node(cx)), NodeRequest::Stop);
                Next::Stay
            }
            (_, LobbyMessage::Address(reply)) => {
                self.asked.push(reply);
                Next::Stay
            }
            (_, other) => Next::Unhandled(other),
        }
    }
}

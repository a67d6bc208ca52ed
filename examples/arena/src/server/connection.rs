//! One client's connection: says who the client is, passes commands to the world, and what the world says to the client.

use std::time::Duration;

use qnfsm::{Context, Down, Fsm, Next, QueueId};
use qnfsm_net::{Command, Notice, Outgoing};
use serde::{Deserialize, Serialize};

use super::world::WorldMessage;
use crate::wire::{ClientMessage, PlayerId, Refusal, ServerMessage, Standing};

/// How long a client may take to say who it is.
const GREETING_TIME_MAX: Duration = Duration::from_secs(5);
/// How many messages may be under way to a client before views are left out.
const WINDOW_FRAMES: u32 = 64;

#[derive(Serialize, Deserialize)]
pub(super) struct Connection {
    socket: QueueId<Command>,
    world: QueueId<WorldMessage>,
    player: Option<PlayerId>,
    outgoing: Outgoing,
    /// The latest standing that the client has yet to be told, because it reads slowly.
    untold: Option<(u64, Standing)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ConnectionState {
    /// The client has yet to say who it is.
    Greeting,
    /// The world has yet to let the player in.
    Joining,
    Playing,
    /// The client was told why, and the socket closes.
    Closing,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ConnectionMessage {
    Client(ClientMessage),
    Net(Notice),
    Down(Down),
    TooSlow,
    /// The world lets the player in.
    Joined {
        tick: u64,
        standing: Standing,
    },
    /// The world does not, or no longer.
    Refused(Refusal),
    /// The player's standing has changed.
    Told {
        tick: u64,
        standing: Standing,
    },
    /// What the player sees.
    View(ServerMessage),
}

impl From<ClientMessage> for ConnectionMessage {
    fn from(message: ClientMessage) -> ConnectionMessage {
        ConnectionMessage::Client(message)
    }
}
impl From<Notice> for ConnectionMessage {
    fn from(notice: Notice) -> ConnectionMessage {
        ConnectionMessage::Net(notice)
    }
}
impl From<Down> for ConnectionMessage {
    fn from(down: Down) -> ConnectionMessage {
        ConnectionMessage::Down(down)
    }
}

impl Connection {
    pub(super) fn new(socket: QueueId<Command>, world: QueueId<WorldMessage>) -> Connection {
        Connection { socket, world, player: None, outgoing: Outgoing::new(WINDOW_FRAMES), untold: None }
    }

    fn say(&mut self, message: ServerMessage, cx: &mut Context<'_, Self>) {
        cx.send(qnfsm_net::peer(self.socket), message);
        self.outgoing.on_sent();
    }

    /// Tells the standing, or keeps it for later if the client reads slowly. A later one makes up for it.
    fn tell(&mut self, tick: u64, standing: Standing, cx: &mut Context<'_, Self>) {
        if self.outgoing.may_send() {
            self.untold = None;
            self.say(ServerMessage::Told { tick, standing }, cx);
        } else {
            self.untold = Some((tick, standing));
        }
    }

    fn refuse(&mut self, why: Refusal, cx: &mut Context<'_, Self>) -> Next<Self> {
        self.say(ServerMessage::Refused { why }, cx);
        cx.send(self.socket, Command::Close);
        Next::Goto(ConnectionState::Closing)
    }

    fn leave(&self, cx: &mut Context<'_, Self>) {
        if let Some(player) = self.player {
            cx.send(self.world, WorldMessage::Leave { player });
        }
    }
}

impl Fsm for Connection {
    const NAME: &'static str = "connection";
    type State = ConnectionState;
    type Message = ConnectionMessage;

    fn start(&mut self, cx: &mut Context<'_, Self>) -> ConnectionState {
        cx.send(self.socket, Command::Attach);
        cx.monitor(self.socket);
        cx.state_timeout(GREETING_TIME_MAX, ConnectionMessage::TooSlow);
        ConnectionState::Greeting
    }

    fn handle(&mut self, state: ConnectionState, message: ConnectionMessage, cx: &mut Context<'_, Self>) -> Next<Self> {
        use ConnectionState::{Closing, Greeting, Joining, Playing};
        match (state, message) {
            (_, ConnectionMessage::Down(_)) => {
                self.leave(cx);
                Next::Stop
            }
            (_, ConnectionMessage::Net(Notice::AttachRefused { .. })) => Next::Stop,
            (_, ConnectionMessage::Net(notice)) => {
                self.outgoing.on_notice(&notice);
                if let Some((tick, standing)) = self.untold {
                    self.tell(tick, standing, cx);
                }
                Next::Stay
            }
            (Closing, _) => Next::Stay,
            (Greeting, ConnectionMessage::Client(ClientMessage::Hello { player })) => {
                self.player = Some(player);
                cx.send(self.world, WorldMessage::Join { player, connection: cx.id() });
                Next::Goto(Joining)
            }
            (Greeting, ConnectionMessage::TooSlow | ConnectionMessage::Client(ClientMessage::Command { .. })) => {
                self.refuse(Refusal::HelloMissing, cx)
            }
            (Joining, ConnectionMessage::Joined { tick, standing }) => {
                self.say(ServerMessage::Welcome { tick, you: standing }, cx);
                Next::Goto(Playing)
            }
            (Joining, message @ ConnectionMessage::Client(ClientMessage::Command { .. })) => Next::Postpone(message),
            (Playing, ConnectionMessage::Client(ClientMessage::Command { number, action })) => {
                if let Some(player) = self.player {
                    cx.send(self.world, WorldMessage::Command { player, number, action });
                }
                Next::Stay
            }
            (Joining | Playing, ConnectionMessage::Client(ClientMessage::Hello { .. })) => {
                self.leave(cx);
                self.refuse(Refusal::HelloTwice, cx)
            }
            (_, ConnectionMessage::Refused(why)) => self.refuse(why, cx),
            (Playing, ConnectionMessage::Told { tick, standing }) => {
                self.tell(tick, standing, cx);
                Next::Stay
            }
            (Playing, ConnectionMessage::View(view)) => {
                // Views may be left out; a client that reads slowly sees fewer.
                if self.outgoing.may_send() {
                    self.say(view, cx);
                }
                Next::Stay
            }
            (_, other) => Next::Unhandled(other),
        }
    }
}

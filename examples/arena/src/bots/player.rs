//! One bot as an FSM: connects, plays, checks what it is told, and connects again when the server goes down.

use std::time::Duration;

use qnfsm::{Context, Down, EdgeId, Fsm, Next, QueueId};
use qnfsm_net::{Command, Control, Notice};
use serde::{Deserialize, Serialize};

use super::{
    GAME,
    herd::{HerdMessage, Report},
};
use crate::{
    bot::{Bot, Pace},
    wire::{PlayerId, ServerMessage},
};

/// How long one search for the server lasts before it is begun anew.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a bot says how it is.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// How long a bot waits after it was turned away.
const TURNED_AWAY: Duration = Duration::from_millis(100);

#[derive(Serialize, Deserialize)]
pub(super) struct Player {
    bot: Bot,
    tcp: EdgeId,
    herd: QueueId<HerdMessage>,
    connection: Option<QueueId<Command>>,
    report: Report,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PlayerState {
    Connecting,
    Connected,
    /// It was told what can't be, and plays no more.
    Done,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum PlayerMessage {
    Server(ServerMessage),
    Net(Notice),
    Down(Down),
    Report,
    Connect,
}

impl From<ServerMessage> for PlayerMessage {
    fn from(message: ServerMessage) -> PlayerMessage {
        PlayerMessage::Server(message)
    }
}
impl From<Notice> for PlayerMessage {
    fn from(notice: Notice) -> PlayerMessage {
        PlayerMessage::Net(notice)
    }
}
impl From<Down> for PlayerMessage {
    fn from(down: Down) -> PlayerMessage {
        PlayerMessage::Down(down)
    }
}

impl Player {
    pub(super) fn new(player: PlayerId, tcp: EdgeId, herd: QueueId<HerdMessage>) -> Player {
        let bot = Bot::new(player, Pace::default());
        Player { bot, tcp, herd, connection: None, report: Report::default() }
    }

    fn control(&self, cx: &Context<'_, Self>) -> QueueId<Control> {
        qnfsm_net::control(cx.id().raw().node(), self.tcp)
    }

    fn connect(&self, cx: &mut Context<'_, Self>) {
        let control = self.control(cx);
        // Told that the node was restarted, the bot asks again: what it had asked for may have been forgotten.
        cx.monitor(control);
        cx.send(control, Control::Connect { name: GAME.to_owned(), deadline: CONNECT_TIME_MAX });
    }

    fn tell_herd(&mut self, cx: &mut Context<'_, Self>) {
        self.report.plays = self.bot.plays();
        self.report.applied = self.bot.ledger().standing().map_or(0, |standing| standing.last_applied);
        cx.send(self.herd, HerdMessage::Report(self.bot.player(), self.report.clone()));
    }

    /// Lets the bot act on what the server said.
    fn play(&mut self, message: &ServerMessage, cx: &mut Context<'_, Self>) -> Next<Self> {
        let Some(connection) = self.connection else { return Next::Stay };
        self.report.messages += 1;
        let mut out = Vec::new();
        let mut random = cx.random();
        let mut dice = |bound: u32| u32::try_from(random.below(bound.into())).expect("a number below a u32 is one");
        let played = self.bot.on_message(message, &mut dice, &mut out);
        for command in out {
            cx.send(qnfsm_net::peer(connection), command);
        }
        match (played, message) {
            (Err(fault), _) => {
                self.report.fault = Some(fault);
                cx.send(connection, Command::Close);
                self.tell_herd(cx);
                return Next::Goto(PlayerState::Done);
            }
            (Ok(()), ServerMessage::Welcome { .. }) => self.report.welcomes += 1,
            (Ok(()), _) => {}
        }
        Next::Stay
    }
}

impl Fsm for Player {
    const NAME: &'static str = "player";
    type State = PlayerState;
    type Message = PlayerMessage;

    fn start(&mut self, cx: &mut Context<'_, Self>) -> PlayerState {
        cx.every("report", REPORT_EVERY, PlayerMessage::Report);
        self.connect(cx);
        PlayerState::Connecting
    }

    fn handle(&mut self, state: PlayerState, message: PlayerMessage, cx: &mut Context<'_, Self>) -> Next<Self> {
        use PlayerState::{Connected, Connecting, Done};
        match (state, message) {
            (_, PlayerMessage::Report) => {
                self.tell_herd(cx);
                Next::Stay
            }
            (Connecting, PlayerMessage::Net(Notice::Connected { connection, .. })) => {
                self.connection = Some(connection);
                cx.unmonitor(self.control(cx));
                cx.send(connection, Command::Attach);
                cx.monitor(connection);
                let hello = self.bot.connected();
                cx.send(qnfsm_net::peer(connection), hello);
                Next::Goto(Connected)
            }
            (
                Connecting,
                PlayerMessage::Net(Notice::ConnectFailed { .. }) | PlayerMessage::Connect | PlayerMessage::Down(_),
            ) => {
                self.connect(cx);
                Next::Stay
            }
            (Connected, PlayerMessage::Server(message)) => self.play(&message, cx),
            (Connected, PlayerMessage::Down(down)) if self.connection.is_some_and(|own| down.is(own)) => {
                self.connection = None;
                self.bot.disconnected();
                cx.state_timeout(TURNED_AWAY, PlayerMessage::Connect);
                Next::Goto(Connecting)
            }
            (Done, _) | (_, PlayerMessage::Net(Notice::Flow { .. })) => Next::Stay,
            (_, other) => Next::Unhandled(other),
        }
    }
}

//! Ours behind a socket: a node with a TCP edge, whose one FSM echoes what a client sends.

use std::net::SocketAddr;

use qnfsm::{Context, EdgeId, Fsm, IdleStrategy, Kinds, Limits, Next, Node, NodeBuilder, QueueId, ReplyTo, RunOn};
use qnfsm_net::{Command, Control, Notice, Tcp};
use serde::{Deserialize, Serialize};

use super::{client, stopwatch::Extent};
use crate::{
    messaging::{message::Small, ours::PATIENCE, roles},
    plan::{Failure, Figures, Recording},
    recorded::recorded,
};

/// The name of the address that the edge listens at.
const ADDRESS: &str = "echo";

/// Times frames from a client to the FSM and back.
///
/// # Errors
/// When the node fails, or the client doesn't get back what it sends.
pub fn round_trips(
    run_on: RunOn,
    idle: IdleStrategy,
    recording: Recording,
    extent: Extent,
) -> Result<Figures, Failure> {
    let limits = Limits { idle, ..Limits::default() };
    let mut builder = NodeBuilder::new("qnfsm-bench", kinds()).limits(limits);
    let edge = builder.reactor(run_on, Tcp::new().listen::<Small>(ADDRESS, "127.0.0.1:0"));
    let (builder, _dir) = recorded(builder, recording)?;
    let node: Node<EchoMessage> = builder.start(&Echo { edge, listens: None, connection: None })?;
    let address: SocketAddr = node.host().request(node.root(), PATIENCE, EchoMessage::Where)??.parse()?;
    let watch = client::echoed(address, extent)?;
    node.stop()?;
    Ok(watch.figures())
}

fn kinds() -> Kinds {
    qnfsm_net::messages(Kinds::new().with::<Echo>())
        .accepts::<EchoMessage, Small>()
        .accepts::<EchoMessage, Notice>()
        .message::<Result<String, String>>()
}

/// Listens, takes the first connection that comes, and echoes.
#[derive(Serialize, Deserialize)]
struct Echo {
    edge: EdgeId,
    /// Where, or why not, once that is known.
    listens: Option<Result<String, String>>,
    connection: Option<QueueId<Command>>,
}

#[derive(Serialize, Deserialize)]
enum EchoMessage {
    Item(Small),
    Net(Notice),
    /// By the host: say where you listen.
    Where(ReplyTo<Result<String, String>>),
}

impl From<Small> for EchoMessage {
    fn from(item: Small) -> EchoMessage {
        EchoMessage::Item(item)
    }
}

impl From<Notice> for EchoMessage {
    fn from(notice: Notice) -> EchoMessage {
        EchoMessage::Net(notice)
    }
}

/// Whether it is known where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Opening,
    Opened,
}

impl Fsm for Echo {
    const NAME: &'static str = "echo";
    type State = Stage;
    type Message = EchoMessage;

    fn start(&mut self, cx: &mut Context<'_, Echo>) -> Stage {
        let edge = qnfsm_net::control(cx.id().raw().node(), self.edge);
        cx.send(edge, Control::Listen { name: ADDRESS.to_owned() });
        Stage::Opening
    }

    fn handle(&mut self, stage: Stage, message: EchoMessage, cx: &mut Context<'_, Echo>) -> Next<Echo> {
        match (message, &self.listens, self.connection) {
            (EchoMessage::Item(item), _, Some(connection)) => {
                cx.send(qnfsm_net::peer(connection), roles::pong(&item));
            }
            (EchoMessage::Net(Notice::Accepted { connection, .. }), _, None) => {
                cx.send(connection, Command::Attach);
                self.connection = Some(connection);
            }
            (EchoMessage::Net(Notice::Listening { address, .. }), ..) if stage == Stage::Opening => {
                self.listens = Some(Ok(address));
                return Next::Goto(Stage::Opened);
            }
            (EchoMessage::Net(Notice::ListenFailed { why, .. }), ..) if stage == Stage::Opening => {
                self.listens = Some(Err(why));
                return Next::Goto(Stage::Opened);
            }
            (EchoMessage::Where(asker), Some(listens), _) => cx.reply(asker, listens.clone()),
            (message @ EchoMessage::Where(_), None, _) => return Next::Postpone(message),
            // How much the socket has taken: with one frame under way there is always room.
            (EchoMessage::Net(Notice::Flow { .. }), ..) => {}
            (other, ..) => return Next::Unhandled(other),
        }
        Next::Stay
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TWENTY: Extent = Extent { trips: 20, time_max: Duration::from_secs(60) };

    #[test]
    fn both_places_of_the_edge_echo() {
        for run_on in [RunOn::FirstWorker, RunOn::Thread] {
            let figures = round_trips(run_on, IdleStrategy::Park, Recording::Off, TWENTY).expect("the node runs");
            assert!(figures.value > 0.0, "{run_on:?}");
        }
    }
}

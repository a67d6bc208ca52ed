//! A whole node: the first FSM streams to one in a second worker, on another thread.

use std::{error::Error, path::Path, time::Duration};

use qnfsm::{
    Context, Durability, Fsm, Kinds, Limits, Next, Node, NodeBuilder, NodeRequest, QueueId, Recording, Reply, ReplyTo,
    WorkerId,
};
use serde::{Deserialize, Serialize};

use crate::{Outcome, counting::counted, player::BURST};

const PATIENCE: Duration = Duration::from_secs(120);
/// How many bursts are streamed while it is counted, and before.
const BURSTS: u32 = 4_000;
/// How many bursts are under way, so that neither worker waits for the other.
const BURSTS_UNDER_WAY: u32 = 4;

/// Sends the bursts.
#[derive(Serialize, Deserialize)]
struct Source {
    sink: Option<QueueId<Drip>>,
    left: u32,
    outstanding: u32,
    asked_by: Option<ReplyTo<()>>,
}

/// What the source is told.
#[derive(Serialize, Deserialize)]
enum Tap {
    /// There is a second worker.
    Worker(Reply<WorkerId>),
    /// There is a sink.
    Sink(Reply<QueueId<Drip>>),
    /// Stream so many bursts, and say when all were received.
    Begin { bursts: u32, reply: ReplyTo<()> },
    /// A burst was received.
    Credit,
}

impl From<Reply<WorkerId>> for Tap {
    fn from(reply: Reply<WorkerId>) -> Tap {
        Tap::Worker(reply)
    }
}

impl From<Reply<QueueId<Drip>>> for Tap {
    fn from(reply: Reply<QueueId<Drip>>) -> Tap {
        Tap::Sink(reply)
    }
}

/// One message of a burst.
#[derive(Serialize, Deserialize)]
struct Drip(u64);

/// Whether the sink is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    Preparing,
    Ready,
}

impl Source {
    fn burst(&mut self, cx: &mut Context<'_, Source>) {
        let Some(sink) = self.sink.filter(|_| self.left > 0) else { return };
        self.left -= 1;
        self.outstanding += 1;
        for number in 0..BURST {
            cx.send(sink, Drip(u64::from(number) << 40));
        }
    }
}

impl Fsm for Source {
    const NAME: &'static str = "source";
    type State = Phase;
    type Message = Tap;

    fn start(&mut self, cx: &mut Context<'_, Source>) -> Phase {
        let node = NodeRequest::queue(cx.id().raw().node());
        cx.request(node, PATIENCE, |reply| NodeRequest::StartWorker { reply });
        Phase::Preparing
    }

    fn handle(&mut self, phase: Phase, message: Tap, cx: &mut Context<'_, Source>) -> Next<Source> {
        match (phase, message) {
            (Phase::Preparing, Tap::Worker(Reply { outcome: Ok(worker), .. })) => {
                cx.spawn_on(worker, Sink { received: 0, source: cx.id() }, PATIENCE);
            }
            (Phase::Preparing, Tap::Sink(Reply { outcome: Ok(sink), .. })) => {
                self.sink = Some(sink);
                return Next::Goto(Phase::Ready);
            }
            (Phase::Preparing, message @ Tap::Begin { .. }) => return Next::Postpone(message),
            (Phase::Ready, Tap::Begin { bursts, reply }) => {
                self.left = bursts;
                self.asked_by = Some(reply);
                for _ in 0..BURSTS_UNDER_WAY {
                    self.burst(cx);
                }
            }
            (Phase::Ready, Tap::Credit) => {
                self.outstanding -= 1;
                self.burst(cx);
                if self.outstanding == 0
                    && let Some(asked_by) = self.asked_by.take()
                {
                    cx.reply(asked_by, ());
                }
            }
            (_, other) => return Next::Unhandled(other),
        }
        Next::Stay
    }
}

/// Receives them, in the second worker.
#[derive(Serialize, Deserialize)]
struct Sink {
    received: u64,
    source: QueueId<Tap>,
}

impl Fsm for Sink {
    const NAME: &'static str = "sink";
    type State = ();
    type Message = Drip;

    fn start(&mut self, _cx: &mut Context<'_, Sink>) {}

    fn handle(&mut self, (): (), _: Drip, cx: &mut Context<'_, Sink>) -> Next<Sink> {
        self.received += 1;
        if self.received.is_multiple_of(u64::from(BURST)) {
            cx.send(self.source, Tap::Credit);
        }
        Next::Stay
    }
}

fn kinds() -> Kinds {
    Kinds::new()
        .with::<Source>()
        .with::<Sink>()
        .replies::<Tap, WorkerId>()
        .replies::<Tap, QueueId<Drip>>()
        .message::<()>()
}

fn stream(node: &Node<Tap>) -> Result<(), Box<dyn Error>> {
    node.host().request(node.root(), PATIENCE, |reply| Tap::Begin { bursts: BURSTS, reply })?;
    Ok(())
}

/// Streams twice, and counts the second time.
fn twice(builder: NodeBuilder) -> Outcome {
    let node = builder.start(&Source { sink: None, left: 0, outstanding: 0, asked_by: None })?;
    stream(&node)?;
    let before = node.progress();
    let counted = counted(|| {
        stream(&node)?;
        let after = node.progress();
        Ok((after.1 - before.1, after.0 - before.0))
    });
    node.stop()?;
    counted
}

fn recorded_in(dir: &Path, recording: Recording) -> Outcome {
    twice(NodeBuilder::new("allocations", kinds()).dir(dir).recording(recording))
}

/// A node without a directory.
pub fn unrecorded() -> Outcome {
    twice(NodeBuilder::new("allocations", kinds()))
}

/// A node that records what enters its workers.
pub fn recorded() -> Outcome {
    recorded_in(tempfile::tempdir()?.path(), Recording::Inputs)
}

/// A node with a flight recorder, whose beginning is given up again and again meanwhile.
pub fn recorded_in_memory() -> Outcome {
    let dir = tempfile::tempdir()?;
    let limits = Limits { retain_bytes: Some(8 << 20), ..Limits::default() };
    twice(NodeBuilder::new("allocations", kinds()).dir(dir.path()).durability(Durability::Memory).limits(limits))
}

/// A node that records each delivery too.
pub fn recorded_whole() -> Outcome {
    recorded_in(tempfile::tempdir()?.path(), Recording::Everything)
}

//! What recording costs: an edge on a thread of its own puts in a million messages a second, a thousand each millisecond, for one
//! FSM; measured is the CPU time, user's and system's, of all the process's threads.
//!
//! What the kernel's own threads take to write files back isn't in it.

use std::{
    io,
    marker::PhantomData,
    time::{Duration, Instant},
};

use qnfsm::{
    Codec, Context, EdgeId, EdgeSetup, Fsm, Inputs, Kinds, Next, NodeBuilder, QueueId, Reactor, ReplyTo, RunOn, Trust,
    Wake,
    frame::{Frame, edge_queue},
};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::{
    super::{message::Payload, roles::Received},
    PATIENCE,
};
use crate::{
    doorbell::Doorbell,
    plan::{Failure, Figures, Recording},
    recorded::recorded,
};

/// Messages in a millisecond, and in a batch.
const IN_A_MS: u32 = 1_000;
/// How long the feed goes on.
const FEED_MS: u32 = 2_000;
/// How long for a look.
const FEED_MS_QUICK: u32 = 250;
/// How long before that, to get warm.
const WARM_UP_MS: u32 = 100;
/// How much longer the feed may take than it should.
const LATE_MAX: f64 = 1.25;

/// CPU time in percent of one core.
///
/// # Errors
/// When the node fails, doesn't get everything, or can't keep up.
pub fn recording_cost<P: Payload>(recording: Recording, quick: bool) -> Result<Figures, Failure> {
    let mut builder = NodeBuilder::new("qnfsm-bench", kinds::<P>());
    let edge = builder.reactor(RunOn::Thread, Feed::<P>::new());
    let (builder, _dir) = recorded(builder, recording)?;
    let node = builder.start(&Counter::<P>::new(edge))?;
    let feed = |ms: u32| -> Result<_, Failure> {
        let messages = ms * IN_A_MS;
        let (cpu, begun) = (cpu_time()?, Instant::now());
        let received = node.host().request(node.root(), PATIENCE, |reply| CounterMessage::Begin { messages, reply })?;
        let (took, cpu) = (begun.elapsed(), cpu_time()? - cpu);
        received.check(1, messages)?;
        Ok((cpu, took))
    };
    feed(WARM_UP_MS)?;
    let ms = if quick { FEED_MS_QUICK } else { FEED_MS };
    let (cpu, took) = feed(ms)?;
    node.stop()?;
    let late = took.as_secs_f64() * 1e3 / f64::from(ms);
    if late > LATE_MAX {
        let why = "this machine is too slow or too busy for a million messages a second";
        return Err(format!("{why}: what should take {ms} ms took {took:?}").into());
    }
    Ok(Figures { value: cpu.as_secs_f64() * 1e5 / f64::from(ms), also: Vec::new(), limit: None })
}

/// The CPU time of this process so far.
fn cpu_time() -> Result<Duration, Failure> {
    Ok(clock_gettime(ClockId::ProcessCPUTime).try_into()?)
}

fn kinds<P: Payload>() -> Kinds {
    Kinds::new().with::<Counter<P>>().message::<Order<P>>().message::<Received>()
}

/// The FSM that the messages are for.
#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
struct Counter<P> {
    edge: EdgeId,
    expected: u32,
    received: Received,
    asked_by: Option<ReplyTo<Received>>,
    of: PhantomData<P>,
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
enum CounterMessage<P> {
    Item(P),
    Begin { messages: u32, reply: ReplyTo<Received> },
}

/// What the edge is told: put so many messages into that queue.
#[derive(Serialize, Deserialize)]
#[serde(bound = "P: Payload")]
struct Order<P> {
    to: QueueId<CounterMessage<P>>,
    messages: u32,
}

impl<P> Counter<P> {
    fn new(edge: EdgeId) -> Counter<P> {
        Counter { edge, expected: 0, received: Received::default(), asked_by: None, of: PhantomData }
    }
}

impl<P: Payload> Fsm for Counter<P> {
    const NAME: &'static str = "counter";
    type State = ();
    type Message = CounterMessage<P>;

    fn start(&mut self, _cx: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), message: CounterMessage<P>, cx: &mut Context<'_, Self>) -> Next<Self> {
        match message {
            CounterMessage::Item(item) => {
                let number = u32::try_from(self.received.messages).unwrap_or(u32::MAX);
                self.received.count(&item, number);
                if number + 1 == self.expected
                    && let Some(asked_by) = self.asked_by.take()
                {
                    cx.reply(asked_by, self.received);
                }
            }
            CounterMessage::Begin { messages, reply } => {
                (self.expected, self.received, self.asked_by) = (messages, Received::default(), Some(reply));
                let edge = QueueId::from_raw(edge_queue(cx.id().raw().node(), self.edge));
                cx.send(edge, Order { to: cx.id(), messages });
            }
        }
        Next::Stay
    }
}

/// The edge.
struct Feed<P> {
    feeding: Option<Feeding<P>>,
    bell: Doorbell,
}

struct Feeding<P> {
    order: Order<P>,
    begun: Instant,
    put: u32,
}

impl<P: Payload> Feed<P> {
    fn new() -> Feed<P> {
        Feed { feeding: None, bell: Doorbell::new() }
    }

    /// Puts in what is due. How long until more is.
    fn feed(&mut self, inputs: &mut Inputs) -> Option<Duration> {
        let feeding = self.feeding.as_mut()?;
        let passed = feeding.begun.elapsed();
        let ticks = u32::try_from(passed.as_millis()).unwrap_or(u32::MAX);
        let due = ticks.saturating_mul(IN_A_MS).min(feeding.order.messages);
        let from = inputs.setup().queue(0, 1);
        while feeding.put < due {
            let item = CounterMessage::Item(P::new(0, feeding.put));
            inputs.message(feeding.order.to, from, &item).expect("its type is among the kinds");
            feeding.put += 1;
        }
        if feeding.put == feeding.order.messages {
            self.feeding = None;
            return None;
        }
        Some(Duration::from_millis(u64::from(ticks) + 1).saturating_sub(passed))
    }
}

impl<P: Payload> Reactor for Feed<P> {
    fn open(&mut self, _setup: &EdgeSetup) -> io::Result<()> {
        Ok(())
    }

    fn take(&mut self, frame: &Frame<'_>, _inputs: &mut Inputs) {
        if let Ok(order) = Codec::CURRENT.decode(frame.payload, Trust::Node) {
            self.feeding = Some(Feeding { order, begun: Instant::now(), put: 0 });
        }
    }

    fn poll(&mut self, timeout: Option<Duration>, inputs: &mut Inputs) -> io::Result<()> {
        let put_before = self.feeding.as_ref().map(|feeding| feeding.put);
        let until_more = self.feed(inputs);
        if put_before == self.feeding.as_ref().map(|feeding| feeding.put) {
            let timeout = until_more.unwrap_or(Duration::MAX).min(timeout.unwrap_or(Duration::MAX));
            self.bell.wait(timeout);
        }
        Ok(())
    }

    fn waker(&self) -> Wake {
        self.bell.ringer()
    }

    fn close(&mut self) {}
}

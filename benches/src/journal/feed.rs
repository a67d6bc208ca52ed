//! Ours, under a stream: an edge in the worker's loop puts in messages, batch by batch, for one FSM, which checks them and
//! acknowledges each batch.
//!
//! An acknowledgement is an output, so it leaves when the durability lets it: with `Durable` once the batch is on disk.

use std::{
    io,
    marker::PhantomData,
    mem,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use qnfsm::{
    Codec, Context, EdgeId, EdgeSetup, Fsm, Inputs, Invariants, Kinds, Limits, Next, Node, NodeBuilder, QueueId,
    Reactor, ReplyTo, RunOn, Trust, Wake,
    frame::{Frame, edge_queue},
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::load::Load;
use crate::{
    doorbell::Doorbell,
    plan::{Failure, Recording},
    recorded::recorded,
};

/// How long anything may take that the host waits for.
const PATIENCE: Duration = Duration::from_secs(100);

/// How many batches are under way at most: more than one, so that what waits for a disk shares it.
pub const UNDER_WAY: u32 = 16;

/// What is put in, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// How many messages.
    pub messages: u32,
    /// How many of them are put in at a time, and acknowledged together.
    pub in_a_batch: u32,
    /// How many bytes each carries.
    pub bytes: u32,
    /// When a batch is put in.
    pub pace: Pace,
}

/// When a batch is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pace {
    /// As soon as fewer than so many are under way.
    UnderWay(u32),
    /// One each millisecond.
    EachMillisecond,
}

/// A node that takes streams. Its directory, if it has one, goes away after it.
pub struct Running<L: Load> {
    node: Node<ToCounter<L>>,
    is_killed: Killed,
    dir: Option<TempDir>,
}

impl<L: Load> Running<L> {
    /// Starts one.
    ///
    /// # Errors
    /// When it doesn't start.
    pub fn start(recording: Recording, limits: Limits) -> Result<Running<L>, Failure> {
        let (builder, edge, is_killed) = builder::<L>(limits);
        let (builder, dir) = recorded(builder, recording)?;
        Ok(Running { node: builder.start(&Counter::<L>::new(edge))?, is_killed, dir })
    }

    /// Brings one back that was [killed](Running::kill). It answers when this returns, and has the messages of all its streams.
    ///
    /// # Errors
    /// When it doesn't start, or lacks something.
    pub fn bring_back(dir: &Path, limits: Limits, messages: u64) -> Result<Running<L>, Failure> {
        let (builder, edge, is_killed) = builder::<L>(limits);
        let node = builder.dir(dir).start(&Counter::<L>::new(edge))?;
        let back = Running { node, is_killed, dir: None };
        let taken = back.node.host().request(back.node.root(), PATIENCE, ToCounter::Count)?;
        if taken != messages {
            return Err(format!("{messages} messages were put in, and the node that came back has {taken}").into());
        }
        Ok(back)
    }

    /// Puts a stream in; says how long it took until the last batch was acknowledged.
    ///
    /// # Errors
    /// When the node fails, or doesn't get everything in its order.
    pub fn put_in(&self, stream: Stream) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let misplaced =
            self.node.host().request(self.node.root(), PATIENCE, |reply| ToCounter::Begin { stream, reply })?;
        let took = begun.elapsed();
        if misplaced > 0 {
            return Err(format!("{misplaced} of {} messages came out of order or changed", stream.messages).into());
        }
        Ok(took)
    }

    /// How many bytes of journal the operating system was given.
    pub fn journal_bytes(&self) -> u64 {
        self.node.metrics().journal.map_or(0, |journal| journal.written_bytes)
    }

    /// Stops it in good order; gives its directory.
    ///
    /// # Errors
    /// When it was not in order any more.
    pub fn stop(self) -> Result<Option<TempDir>, Failure> {
        let Running { node, dir, .. } = self;
        node.stop()?;
        Ok(dir)
    }

    /// Ends it by a failure of its edge: nothing is snapshot, and nothing says that it ended well. Gives its directory.
    ///
    /// # Errors
    /// When it ends well all the same.
    pub fn kill(self) -> Result<Option<TempDir>, Failure> {
        let Running { node, is_killed, dir } = self;
        is_killed.switch.store(true, Ordering::Release);
        (is_killed.wake)();
        let ended = node.wait();
        if ended.is_ok() {
            return Err("the node was to fail, and stopped in good order".into());
        }
        Ok(dir)
    }
}

/// What ends a node as a kill would.
struct Killed {
    switch: Arc<AtomicBool>,
    wake: Wake,
}

/// That the FSM has taken at most so many messages.
pub fn taken_at_most<L: Load>(most: u64) -> Invariants {
    Invariants::new().state::<Counter<L>>("it has taken few", move |counter, ()| {
        if counter.taken <= most { Ok(()) } else { Err(format!("it has taken {}", counter.taken)) }
    })
}

/// The kinds of a node that takes streams.
pub fn kinds<L: Load>() -> Kinds {
    Kinds::new().with::<Counter<L>>().message::<ToFeed<L>>().message::<u32>().message::<u64>()
}

fn builder<L: Load>(limits: Limits) -> (NodeBuilder, EdgeId, Killed) {
    let mut builder = NodeBuilder::new("qnfsm-bench", kinds::<L>()).limits(limits);
    let (bell, switch) = (Doorbell::new(), Arc::new(AtomicBool::new(false)));
    let killed = Killed { switch: switch.clone(), wake: bell.ringer() };
    let edge = builder.reactor(RunOn::FirstWorker, Feed::<L> { feeding: None, bell, is_killed: switch });
    (builder, edge, killed)
}

/// The FSM that the messages are for.
#[derive(Serialize, Deserialize)]
#[serde(bound = "L: Load")]
struct Counter<L> {
    edge: EdgeId,
    /// Of all streams.
    taken: u64,
    /// Of this one.
    stream: Option<Stream>,
    next: u32,
    misplaced: u32,
    asked_by: Option<ReplyTo<u32>>,
    of: PhantomData<L>,
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "L: Load")]
enum ToCounter<L> {
    Item(L),
    /// By the host: have a stream put in, and say how much of it was not as it should be.
    Begin {
        stream: Stream,
        reply: ReplyTo<u32>,
    },
    /// By the host: say how many messages there were.
    Count(ReplyTo<u64>),
}

/// What the edge is told.
#[derive(Serialize, Deserialize)]
#[serde(bound = "L: Load")]
enum ToFeed<L> {
    Begin {
        stream: Stream,
        to: QueueId<ToCounter<L>>,
    },
    /// A batch was taken.
    Taken,
}

impl<L> Counter<L> {
    fn new(edge: EdgeId) -> Counter<L> {
        Counter { edge, taken: 0, stream: None, next: 0, misplaced: 0, asked_by: None, of: PhantomData }
    }
}

impl<L: Load> Counter<L> {
    fn edge(&self, cx: &Context<'_, Self>) -> QueueId<ToFeed<L>> {
        QueueId::from_raw(edge_queue(cx.id().raw().node(), self.edge))
    }

    fn take(&mut self, load: &L, stream: Stream, cx: &mut Context<'_, Self>) {
        self.misplaced += u32::from(!load.is(self.next, stream.bytes));
        self.next += 1;
        self.taken += 1;
        let is_over = self.next == stream.messages;
        if is_over || self.next.is_multiple_of(stream.in_a_batch) {
            cx.send(self.edge(cx), ToFeed::Taken);
        }
        if is_over && let Some(asked_by) = self.asked_by.take() {
            cx.reply(asked_by, self.misplaced);
        }
    }
}

impl<L: Load> Fsm for Counter<L> {
    const NAME: &'static str = "counter";
    type State = ();
    type Message = ToCounter<L>;

    fn start(&mut self, _cx: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), message: ToCounter<L>, cx: &mut Context<'_, Self>) -> Next<Self> {
        match (message, self.stream) {
            (ToCounter::Item(load), Some(stream)) => self.take(&load, stream, cx),
            (ToCounter::Begin { stream, reply }, _) => {
                (self.stream, self.next, self.misplaced, self.asked_by) = (Some(stream), 0, 0, Some(reply));
                cx.send(self.edge(cx), ToFeed::Begin { stream, to: cx.id() });
            }
            (ToCounter::Count(reply), _) => cx.reply(reply, self.taken),
            (other, None) => return Next::Unhandled(other),
        }
        Next::Stay
    }
}

/// The edge.
struct Feed<L> {
    feeding: Option<Feeding<L>>,
    bell: Doorbell,
    is_killed: Arc<AtomicBool>,
}

struct Feeding<L> {
    stream: Stream,
    to: QueueId<ToCounter<L>>,
    begun: Instant,
    put: u32,
    under_way: u32,
}

/// What became of a look whether a batch is due.
enum Due {
    Put,
    /// In so long, or after something has happened.
    Later(Duration),
}

impl<L: Load> Feeding<L> {
    /// Puts a batch in, if one is due: one at a time, since what is put in together is one batch.
    fn feed(&mut self, inputs: &mut Inputs) -> Due {
        let Stream { messages, in_a_batch, bytes, pace } = self.stream;
        if self.put == messages {
            return Due::Later(Duration::MAX);
        }
        match pace {
            Pace::UnderWay(most) if self.under_way >= most => return Due::Later(Duration::MAX),
            Pace::UnderWay(_) => {}
            Pace::EachMillisecond => {
                let due = Duration::from_millis(u64::from(self.put / in_a_batch) + 1);
                let later = due.saturating_sub(self.begun.elapsed());
                if !later.is_zero() {
                    return Due::Later(later);
                }
            }
        }
        let from = inputs.setup().queue(0, 1);
        let end = messages.min(self.put + in_a_batch);
        for number in mem::replace(&mut self.put, end)..end {
            let item = ToCounter::Item(L::of(number, bytes));
            inputs.message(self.to, from, &item).expect("its type is among the kinds");
        }
        self.under_way += 1;
        Due::Put
    }
}

impl<L: Load> Reactor for Feed<L> {
    fn open(&mut self, _setup: &EdgeSetup) -> io::Result<()> {
        Ok(())
    }

    fn take(&mut self, frame: &Frame<'_>, _inputs: &mut Inputs) {
        match Codec::CURRENT.decode(frame.payload, Trust::Node) {
            Ok(ToFeed::Begin { stream, to }) => {
                self.feeding = Some(Feeding { stream, to, begun: Instant::now(), put: 0, under_way: 0 });
            }
            Ok(ToFeed::Taken) => {
                if let Some(feeding) = &mut self.feeding {
                    feeding.under_way = feeding.under_way.saturating_sub(1);
                }
            }
            Err(error) => unreachable!("the counter's own bytes: {error}"),
        }
    }

    fn poll(&mut self, timeout: Option<Duration>, inputs: &mut Inputs) -> io::Result<()> {
        if self.is_killed.load(Ordering::Acquire) {
            return Err(io::Error::other("it ends as a kill would end it"));
        }
        let due = self.feeding.as_mut().map_or(Due::Later(Duration::MAX), |feeding| feeding.feed(inputs));
        if let Due::Later(later) = due
            && timeout != Some(Duration::ZERO)
        {
            self.bell.wait(later.min(timeout.unwrap_or(Duration::MAX)));
        }
        Ok(())
    }

    fn waker(&self) -> Wake {
        self.bell.ringer()
    }

    fn close(&mut self) {}
}

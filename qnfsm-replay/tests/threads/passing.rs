//! A program of many workers that pass tokens to one another at random, and a run of it.

use std::{path::Path, time::Duration};

use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder, NodeId, NodeRequest, QueueId, Reply, ReplyTo, WorkerId};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeTupleStruct};

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the workers, with a passer on each, and lets them pass.
#[derive(Serialize, Deserialize)]
pub(crate) struct Root<const SOUND: bool> {
    workers: u32,
    passers: Vec<QueueId<Pass>>,
    tokens: u32,
    asked: Option<ReplyTo<u64>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Order {
    Run { tokens: u32, hops: u32, reply: ReplyTo<u64> },
    Done,
    Started(Reply<WorkerId>),
    Spawned(Reply<QueueId<Pass>>),
}

impl From<Reply<WorkerId>> for Order {
    fn from(reply: Reply<WorkerId>) -> Order {
        Order::Started(reply)
    }
}

impl From<Reply<QueueId<Pass>>> for Order {
    fn from(reply: Reply<QueueId<Pass>>) -> Order {
        Order::Spawned(reply)
    }
}

impl<const SOUND: bool> Fsm for Root<SOUND> {
    const NAME: &'static str = "root";
    /// Whether all passers are there.
    type State = bool;
    type Message = Order;

    fn start(&mut self, cx: &mut Context<'_, Self>) -> bool {
        self.passers.push(cx.spawn(Passer::<SOUND>(Tally(0, 0))));
        for _ in 1..self.workers {
            cx.request(NodeRequest::queue(NodeId(0)), PATIENCE, |reply| NodeRequest::StartWorker { reply });
        }
        self.workers == 1
    }

    fn handle(&mut self, is_ready: bool, order: Order, cx: &mut Context<'_, Self>) -> Next<Self> {
        match order {
            Order::Started(reply) => {
                let worker = reply.outcome.expect("nodes start workers");
                cx.spawn_on(worker, Passer::<SOUND>(Tally(worker.0, 0)), PATIENCE);
            }
            Order::Spawned(reply) => {
                self.passers.push(reply.outcome.expect("workers take FSMs"));
                if self.passers.len() == self.workers as usize {
                    return Next::Goto(true);
                }
            }
            Order::Run { .. } if !is_ready => return Next::Postpone(order),
            Order::Run { tokens, hops, reply } => {
                (self.tokens, self.asked) = (tokens, Some(reply));
                for (token, passer) in (0..tokens).zip(self.passers.iter().cycle()) {
                    let pass = Pass { token, hops, root: cx.id(), passers: self.passers.clone() };
                    cx.send(*passer, pass);
                }
            }
            Order::Done => {
                self.tokens -= 1;
                if self.tokens == 0 {
                    cx.reply(self.asked.take().expect("who asked waits"), 0);
                }
            }
        }
        Next::Stay
    }
}

/// Passes each token on to whomever it draws.
#[derive(Serialize, Deserialize)]
struct Passer<const SOUND: bool>(Tally<SOUND>);

#[derive(Serialize, Deserialize)]
pub(crate) struct Pass {
    token: u32,
    hops: u32,
    root: QueueId<Order>,
    passers: Vec<QueueId<Pass>>,
}

/// The worker, and the tokens that were seen there. An unsound build panics where it writes that of the workers in
/// [`BREAKS`] into an image.
#[derive(Deserialize)]
struct Tally<const SOUND: bool>(u32, u64);

pub(crate) const BREAKS: [WorkerId; 2] = [WorkerId(2), WorkerId(3)];

impl<const SOUND: bool> Serialize for Tally<SOUND> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Tally(worker, seen) = self;
        assert!(SOUND || *seen == 0 || !BREAKS.contains(&WorkerId(*worker)), "tally {worker} can't be written");
        let mut fields = serializer.serialize_tuple_struct("Tally", 2)?;
        fields.serialize_field(worker)?;
        fields.serialize_field(seen)?;
        fields.end()
    }
}

impl<const SOUND: bool> Fsm for Passer<SOUND> {
    const NAME: &'static str = "passer";
    type State = ();
    type Message = Pass;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), pass: Pass, cx: &mut Context<'_, Self>) -> Next<Self> {
        self.0.1 += 1;
        if pass.hops == 0 {
            cx.send(pass.root, Order::Done);
        } else {
            let to = cx.random().below(pass.passers.len() as u64);
            let to = pass.passers[usize::try_from(to).expect("an index")];
            cx.send(to, Pass { hops: pass.hops - 1, ..pass });
        }
        Next::Stay
    }
}

pub(crate) fn kinds<const SOUND: bool>() -> Kinds {
    Kinds::new()
        .with::<Root<SOUND>>()
        .with::<Passer<SOUND>>()
        .message::<u64>()
        .replies::<Order, WorkerId>()
        .replies::<Order, QueueId<Pass>>()
}

/// The table of a program that registers the same kinds in another order.
pub(crate) fn table_of_another_order() -> Vec<u8> {
    let kinds = Kinds::new().with::<Passer<true>>().with::<Root<true>>().message::<u64>();
    kinds.replies::<Order, WorkerId>().replies::<Order, QueueId<Pass>>().seal().unwrap().table().to_bytes()
}

/// A run of so many workers, recorded in that directory, in which every token has come to its end.
pub(crate) fn record(dir: &Path, workers: u32, tokens: u32, hops: u32) {
    let root = Root::<true> { workers, passers: vec![], tokens: 0, asked: None };
    let node = NodeBuilder::new("passing", kinds::<true>()).dir(dir).seed(3).start(&root).unwrap();
    let _: u64 = node.host().request(node.root(), PATIENCE, |reply| Order::Run { tokens, hops, reply }).unwrap();
    node.stop().unwrap();
}

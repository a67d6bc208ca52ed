//! What the tests of recorded runs share: a program with two workers, timers, random numbers and a port, and a look
//! into its journal.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod door;
pub(crate) mod walked;
pub(crate) mod written;

use std::{fs, path::Path, sync::Arc, time::Duration};

use qnfsm::{
    Codec, Context, Deliveries, External, Fsm, Kinds, Next, NodeBuilder, NodeId, NodeRequest, QueueId, Recording,
    Reply, ReplyTo, Trust, WorkerId,
    frame::Class,
    journal::{Reader, RealFiles, Record},
};
use serde::{Deserialize, Serialize};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Counts coins for a teller, on another worker.
#[derive(Serialize, Deserialize)]
pub(crate) struct Till {
    pub(crate) coins: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Coin {
    Put(u64),
    Count(ReplyTo<u64>),
}

impl Fsm for Till {
    const NAME: &'static str = "till";
    type State = ();
    type Message = Coin;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), coin: Coin, cx: &mut Context<'_, Self>) -> Next<Self> {
        match coin {
            Coin::Put(coins) => self.coins += coins,
            Coin::Count(reply) => cx.reply(reply, self.coins),
        }
        Next::Stay
    }
}

/// The root. `STEP` is its code: two of them differ in what they do, and in nothing that a journal's header tells. With 3 the till
/// is told something else too.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Teller<const STEP: u64> {
    pub(crate) total: u64,
    beats: u64,
    luck: u64,
    till: Option<QueueId<Coin>>,
    asked: Vec<ReplyTo<u64>>,
    waiting: Vec<(u64, ReplyTo<u64>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Desk {
    Opening,
    Open,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Beat,
    Add(u64),
    Total(ReplyTo<u64>),
    /// Answered with the coins that the till counts.
    Count(ReplyTo<u64>),
    /// Answered with the sum of two values read through the port.
    Quote(ReplyTo<u64>),
    /// Answered with a number drawn by the beats, when there were so many more.
    AfterBeats(u64, ReplyTo<u64>),
    Panic,
    Started(Reply<WorkerId>),
    Opened(Reply<QueueId<Coin>>),
    Counted(Reply<u64>),
}

impl From<Reply<WorkerId>> for Order {
    fn from(reply: Reply<WorkerId>) -> Order {
        Order::Started(reply)
    }
}

impl From<Reply<QueueId<Coin>>> for Order {
    fn from(reply: Reply<QueueId<Coin>>) -> Order {
        Order::Opened(reply)
    }
}

impl From<Reply<u64>> for Order {
    fn from(reply: Reply<u64>) -> Order {
        Order::Counted(reply)
    }
}

pub(crate) struct Price;

impl External for Price {
    const NAME: &'static str = "price";
    type Question = String;
    type Answer = u64;
}

impl<const STEP: u64> Fsm for Teller<STEP> {
    const NAME: &'static str = "teller";
    type State = Desk;
    type Message = Order;

    fn start(&mut self, cx: &mut Context<'_, Self>) -> Desk {
        cx.request(NodeRequest::queue(NodeId(0)), PATIENCE, |reply| NodeRequest::StartWorker { reply });
        cx.every("beat", Duration::from_millis(1), Order::Beat);
        Desk::Opening
    }

    fn handle(&mut self, desk: Desk, order: Order, cx: &mut Context<'_, Self>) -> Next<Self> {
        match (desk, order) {
            (_, Order::Beat) => {
                self.beats += cx.beats();
                self.luck = self.luck.wrapping_add(cx.random().below(1000));
                let (due, waiting) = self.waiting.drain(..).partition(|(beats, _)| *beats <= self.beats);
                self.waiting = waiting;
                for (_, reply) in Vec::from_iter::<Vec<_>>(due) {
                    cx.reply(reply, self.luck);
                }
            }
            (Desk::Opening, Order::Started(reply)) => {
                let worker = reply.outcome.expect("nodes start workers");
                cx.spawn_on(worker, Till { coins: 0 }, PATIENCE);
            }
            (Desk::Opening, Order::Opened(reply)) => {
                self.till = Some(reply.outcome.expect("a worker that was started takes FSMs"));
                return Next::Goto(Desk::Open);
            }
            (Desk::Opening, other) => return Next::Postpone(other),
            (Desk::Open, Order::Add(coins)) => {
                self.total += coins * STEP;
                let put = if STEP == 3 { coins + 1 } else { coins };
                cx.send(self.till.expect("an open desk has a till"), Coin::Put(put));
            }
            (Desk::Open, Order::Total(reply)) => cx.reply(reply, self.total),
            (Desk::Open, Order::Count(reply)) => {
                self.asked.push(reply);
                cx.request(self.till.expect("an open desk has a till"), PATIENCE, Coin::Count);
            }
            (Desk::Open, Order::Counted(reply)) => {
                let asked = self.asked.remove(0);
                cx.reply(asked, reply.outcome.expect("the till answers"));
            }
            (Desk::Open, Order::Quote(reply)) => {
                let quote = cx.external::<Price>(&"tea".to_owned()) + cx.external::<Price>(&"milk".to_owned());
                cx.reply(reply, quote);
            }
            (Desk::Open, Order::AfterBeats(beats, reply)) => self.waiting.push((self.beats + beats, reply)),
            (Desk::Open, Order::Panic) => panic!("told to"),
            (_, other) => return Next::Unhandled(other),
        }
        Next::Stay
    }
}

pub(crate) fn kinds<const STEP: u64>() -> Kinds {
    Kinds::new()
        .with::<Teller<STEP>>()
        .with::<Till>()
        .message::<u64>()
        .replies::<Order, WorkerId>()
        .replies::<Order, QueueId<Coin>>()
        .replies::<Order, u64>()
}

/// A node of that program in a directory, with a port that counts how often it is asked.
pub(crate) fn node(dir: &Path, recording: Recording) -> NodeBuilder {
    let mut price = 0;
    NodeBuilder::new("bank", kinds::<1>()).dir(dir).seed(7).recording(recording).external::<Price>(move |_| {
        price += 1;
        price
    })
}

/// Copies a directory as it stands, as a kill at this moment would leave it. The manifest goes first, so that the copy
/// never knows of more than it holds.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort_by_key(|path| !path.ends_with("manifest"));
    for path in entries {
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else if path.extension().is_none_or(|extension| extension != "tmp") {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// The worker, round and place in the round's deliveries (from 1; `None` where those aren't recorded) of the first
/// message from outside that is as wanted.
pub(crate) fn place_of(dir: &Path, wanted: impl Fn(&Order) -> bool) -> (WorkerId, u64, Option<usize>) {
    let orders = kinds::<1>().seal().unwrap().type_number::<Order>().unwrap();
    let decode = |payload: &[u8]| Codec::CURRENT.decode::<Order>(payload, Trust::Node).unwrap();
    let mut reader = Reader::open(Arc::new(RealFiles), dir).unwrap();
    let mut found = None;
    while let Some(entry) = reader.next().unwrap() {
        match (entry.record, found) {
            (Record::Round { worker, round, batches, .. }, None) => {
                let frames = batches.flat_map(|batch| batch.frames().map(Result::unwrap));
                let mut orders = frames.filter(|f| f.header.class == Class::Message && f.header.type_number == orders);
                if orders.any(|frame| wanted(&decode(frame.payload))) {
                    found = Some((worker, round));
                }
            }
            (Record::Deliveries { worker, round, entries }, Some(found)) if found == (worker, round) => {
                let mut deliveries = Deliveries::new(entries).map(Result::unwrap);
                let at = deliveries.position(|delivery| {
                    delivery.type_number == orders && !delivery.payload.is_empty() && wanted(&decode(&delivery.payload))
                });
                return (worker, round, Some(at.expect("what came in was delivered") + 1));
            }
            _ => {}
        }
    }
    let (worker, round) = found.expect("such a message came in");
    (worker, round, None)
}

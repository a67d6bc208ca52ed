//! Counters on several workers that pass numbered messages to one another. Each checks that the numbers that come from
//! each of the others follow one another, so that a message that is lost, doubled or out of order shows at once.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use qnfsm::{
    Context, Fsm, Kinds, Limits, Next, NodeBuilder, NodeId, NodeRequest, QueueId, Reply, ReplyTo, WorkerId,
    journal::{Reader, Storage},
    playback::{Beginning, Playback},
};
use serde::{Deserialize, Serialize};

const FOREVER: Duration = Duration::from_secs(3600);
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the workers, puts a counter on each, and lets them begin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Root {
    /// How many workers there are to be.
    pub(crate) workers: u32,
    /// How many messages each counter sends to each other one of itself.
    pub(crate) starts: u32,
    /// How many further messages each of these leads to.
    pub(crate) hops: u32,
    pub(crate) on: Vec<WorkerId>,
    pub(crate) counters: Vec<QueueId<Message>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum RootMessage {
    Started(Reply<WorkerId>),
    Spawned(Reply<QueueId<Message>>),
    /// The counters, once they are all there.
    Counters(ReplyTo<Option<Vec<QueueId<Message>>>>),
    Nothing,
}

impl From<Reply<WorkerId>> for RootMessage {
    fn from(reply: Reply<WorkerId>) -> RootMessage {
        RootMessage::Started(reply)
    }
}

impl From<Reply<QueueId<Message>>> for RootMessage {
    fn from(reply: Reply<QueueId<Message>>) -> RootMessage {
        RootMessage::Spawned(reply)
    }
}

impl Root {
    pub(crate) fn new(workers: u32, starts: u32, hops: u32) -> Root {
        Root { workers, starts, hops, on: vec![], counters: vec![] }
    }

    /// How many numbered messages there are in all, once they have all been handled.
    pub(crate) fn expected(&self) -> u64 {
        u64::from(self.workers * (self.workers - 1) * self.starts * (self.hops + 1))
    }

    fn spawn_next(&mut self, cx: &mut Context<'_, Root>) {
        let index = u32::try_from(self.counters.len()).unwrap();
        if let Some(worker) = self.on.get(self.counters.len()) {
            let others = self.workers;
            let fsm = Counter {
                index,
                peers: vec![],
                sent: vec![1; others as usize],
                next: vec![1; others as usize],
                broken: vec![],
            };
            cx.spawn_on(*worker, fsm, FOREVER);
        } else if index == self.workers {
            for counter in &self.counters {
                let (peers, starts, hops) = (self.counters.clone(), self.starts, self.hops);
                cx.send(*counter, Message::Begin { peers, starts, hops });
            }
        }
    }
}

impl Fsm for Root {
    const NAME: &'static str = "root";
    type State = ();
    type Message = RootMessage;

    fn start(&mut self, cx: &mut Context<'_, Root>) {
        self.on.push(cx.worker());
        if self.workers == 1 {
            return self.spawn_next(cx);
        }
        for _ in 1..self.workers {
            cx.request(NodeRequest::queue(NodeId(0)), FOREVER, |reply| NodeRequest::StartWorker { reply });
        }
    }

    fn handle(&mut self, (): (), message: RootMessage, cx: &mut Context<'_, Root>) -> Next<Root> {
        match message {
            RootMessage::Started(Reply { outcome, .. }) => {
                self.on.push(outcome.unwrap());
                if self.on.len() == self.workers as usize {
                    self.spawn_next(cx);
                }
            }
            RootMessage::Spawned(Reply { outcome, .. }) => {
                self.counters.push(outcome.unwrap());
                self.spawn_next(cx);
            }
            RootMessage::Nothing => {}
            RootMessage::Counters(reply) => {
                let all = self.counters.len() == self.workers as usize;
                cx.reply(reply, all.then(|| self.counters.clone()));
            }
        }
        Next::Stay
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counter {
    index: u32,
    peers: Vec<QueueId<Message>>,
    /// By peer, the number of the next message to it, and of the next from it.
    pub(crate) sent: Vec<u64>,
    pub(crate) next: Vec<u64>,
    /// What did not follow.
    pub(crate) broken: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    Begin { peers: Vec<QueueId<Message>>, starts: u32, hops: u32 },
    Number { from: u32, number: u64, hops: u32, padding: Vec<u8> },
    Tally(ReplyTo<Counter>),
}

impl Counter {
    fn send(&mut self, to: u32, hops: u32, cx: &mut Context<'_, Counter>) {
        let number = self.sent[to as usize];
        self.sent[to as usize] += 1;
        let padding = vec![7; usize::try_from(number % 40).unwrap()];
        cx.send(self.peers[to as usize], Message::Number { from: self.index, number, hops, padding });
    }

    pub(crate) fn received(&self) -> u64 {
        self.next.iter().map(|next| next - 1).sum()
    }
}

impl Fsm for Counter {
    const NAME: &'static str = "counter";
    /// Whether it has begun.
    type State = bool;
    type Message = Message;

    fn start(&mut self, _: &mut Context<'_, Counter>) -> bool {
        false
    }

    fn handle(&mut self, has_begun: bool, message: Message, cx: &mut Context<'_, Counter>) -> Next<Counter> {
        let all = u32::try_from(self.sent.len()).unwrap();
        match message {
            Message::Begin { peers, starts, hops } => {
                if has_begun {
                    self.broken.push("it began twice".to_owned());
                }
                self.peers = peers;
                for to in (0..all * starts).map(|at| at % all) {
                    if to != self.index {
                        self.send(to, hops, cx);
                    }
                }
                return Next::Goto(true);
            }
            Message::Number { .. } if !has_begun => return Next::Postpone(message),
            Message::Number { from, number, hops, padding } => {
                let next = self.next[from as usize];
                if number != next {
                    self.broken.push(format!("{number} came from {from} where {next} is next"));
                }
                self.next[from as usize] = number + 1;
                if hops > 0 {
                    let step = 1 + u32::try_from(padding.len()).unwrap() % (all - 1);
                    self.send((self.index + step) % all, hops - 1, cx);
                }
            }
            Message::Tally(reply) => cx.reply(reply, self.clone()),
        }
        Next::Stay
    }
}

pub(crate) fn kinds() -> Kinds {
    Kinds::new()
        .with::<Root>()
        .replies::<RootMessage, WorkerId>()
        .replies::<RootMessage, QueueId<Message>>()
        .message::<Option<Vec<QueueId<Message>>>>()
        .with::<Counter>()
        .message::<Counter>()
        .message::<u64>()
}

pub(crate) type Node = qnfsm::Node<RootMessage>;

pub(crate) fn builder(dir: &Path, storage: Arc<dyn Storage>, limits: Limits) -> NodeBuilder {
    NodeBuilder::new("ring", kinds()).dir(dir).storage(storage).seed(1).limits(limits)
}

/// Waits until all numbered messages have been handled; gives the counters.
pub(crate) fn settle(node: &Node, expected: u64) -> Vec<Counter> {
    let begun = Instant::now();
    loop {
        let tallies = tallies(node);
        if tallies.iter().map(Counter::received).sum::<u64>() >= expected && !tallies.is_empty() {
            return tallies;
        }
        assert!(begun.elapsed() < PATIENCE, "{expected} messages are expected: {tallies:?}");
    }
}

pub(crate) fn tallies(node: &Node) -> Vec<Counter> {
    let host = node.host();
    let Some(counters) = host.request(node.root(), PATIENCE, RootMessage::Counters).unwrap() else { return vec![] };
    counters.iter().map(|counter| host.request(*counter, PATIENCE, Message::Tally).unwrap()).collect()
}

/// Replays a journal from its start to its end; from its first snapshots, where that was given up.
pub(crate) fn replay(storage: &Arc<dyn Storage>, dir: &Path, kinds: Kinds) -> Playback {
    let mut reader = Reader::open(storage.clone(), dir).unwrap();
    let beginning = Beginning::of(storage.clone(), dir, reader.manifest());
    let mut playback = Playback::new(kinds.seal().unwrap(), NodeId(0)).checking_images().beginning(Some(beginning));
    while let Some(entry) = reader.next().unwrap() {
        let position = entry.position;
        playback.apply(&entry.record, &mut ()).unwrap_or_else(|error| panic!("at {position}: {error}"));
    }
    playback.finish(&mut ()).unwrap();
    playback
}

/// Checks what a journal holds: the workers that there should be, each counter's numbers consecutive, none in between.
pub(crate) fn check(storage: &Arc<dyn Storage>, dir: &Path, root: &Root) {
    let playback = replay(storage, dir, kinds());
    assert_eq!(playback.faults().count(), 0);
    assert_eq!(playback.workers().count(), root.workers as usize, "workers");
    let first = QueueId::from_raw(qnfsm::RawQueueId::new(NodeId(0), qnfsm::Place::worker(WorkerId(0)), 0, 1));
    let (found, ()) = playback.workers().next().unwrap().fsm::<Root>(first).unwrap();
    let counters: Vec<_> = found
        .counters
        .iter()
        .map(|counter| {
            let worker =
                playback.workers().find(|worker| qnfsm::Place::worker(worker.id()) == counter.raw().place()).unwrap();
            worker.fsm::<Counter>(*counter).unwrap().0.clone()
        })
        .collect();
    check_counters(&counters, root);
}

pub(crate) fn check_counters(counters: &[Counter], root: &Root) {
    assert_eq!(counters.len(), root.workers as usize);
    for (at, counter) in counters.iter().enumerate() {
        assert!(counter.broken.is_empty(), "counter {at}: {:?}", counter.broken);
        for (other, peer) in counters.iter().enumerate() {
            assert_eq!(counter.sent[other], peer.next[at], "what counter {at} sent to {other} and it got");
        }
    }
    assert_eq!(counters.iter().map(Counter::received).sum::<u64>(), root.expected());
}

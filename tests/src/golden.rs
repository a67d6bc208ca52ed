//! The program whose journals are kept for ever, in `tests/golden/<format version>/`: every later build opens, replays and goes on
//! from them. So nothing that an FSM here does may change, nor any of its types; a later format gets recordings of its own.

use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc, time::Duration};

use qnfsm::{
    ContentHash, Context, DeadLetter, Down, External, Fsm, Kinds, Limits, Next, Node, NodeBuilder, NodeRequest,
    OnPanic, QueueId, Reply, ReplyTo, Resource, Unanswered, WorkerId,
};
use serde::{Deserialize, Serialize};

/// The name of the program.
pub const PROGRAM: &str = "golden";
/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A die outside.
struct Die;

impl External for Die {
    const NAME: &'static str = "die";
    type Question = u32;
    type Answer = u32;
}

/// The mountain: every so many grams there is water, and whoever digs there panics.
struct Mountain(Vec<u64>);

impl Resource for Mountain {
    const NAME: &'static str = "mountain";

    fn content_hash(&self) -> ContentHash {
        ContentHash::of_value(&self.0)
    }
}

/// What a service is asked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Assay {
    grams: u64,
    reply: ReplyTo<u64>,
}

/// Hires miners on a worker of their own, and keeps what they bring.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Foreman {
    gold: u64,
    log: BTreeMap<String, u32>,
    miner: Option<QueueId<Work>>,
    assay: Option<QueueId<Assay>>,
}

/// What the foreman takes.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Start a worker, and a miner on it.
    Hire {
        /// Who values the ore.
        assay: QueueId<Assay>,
    },
    /// The worker.
    Started(Reply<WorkerId>),
    /// The miner.
    Hired(Reply<QueueId<Work>>),
    /// Let the miner dig.
    Dig(u64),
    /// What it has dug.
    Dug(Reply<u64>),
    /// What that is worth.
    Valued(Reply<u64>),
    /// Throw dice, inside and outside.
    Throw,
    /// Time goes by.
    Tick,
    /// A message went nowhere.
    Lost(DeadLetter),
    /// A queue is gone.
    Gone(Down),
    /// How much gold there is.
    Count(ReplyTo<u64>),
    /// What has happened how often.
    Tell(ReplyTo<BTreeMap<String, u32>>),
}

impl From<Reply<WorkerId>> for Order {
    fn from(reply: Reply<WorkerId>) -> Order {
        Order::Started(reply)
    }
}

impl From<Reply<QueueId<Work>>> for Order {
    fn from(reply: Reply<QueueId<Work>>) -> Order {
        Order::Hired(reply)
    }
}

impl From<Reply<u64>> for Order {
    fn from(reply: Reply<u64>) -> Order {
        Order::Valued(reply)
    }
}

impl From<DeadLetter> for Order {
    fn from(letter: DeadLetter) -> Order {
        Order::Lost(letter)
    }
}

impl From<Down> for Order {
    fn from(down: Down) -> Order {
        Order::Gone(down)
    }
}

impl Foreman {
    fn note(&mut self, what: &str) {
        *self.log.entry(what.to_owned()).or_default() += 1;
    }
}

impl Fsm for Foreman {
    const NAME: &'static str = "foreman";
    type State = ();
    type Message = Order;

    fn start(&mut self, cx: &mut Context<'_, Foreman>) {
        cx.dead_letters(true);
        cx.every("tick", Duration::from_millis(3), Order::Tick);
    }

    fn handle(&mut self, (): (), order: Order, cx: &mut Context<'_, Foreman>) -> Next<Foreman> {
        match order {
            Order::Hire { assay } => {
                self.assay = Some(assay);
                cx.request(NodeRequest::queue(cx.id().raw().node()), PATIENCE, |reply| NodeRequest::StartWorker {
                    reply,
                });
            }
            Order::Started(reply) => {
                cx.spawn_on(reply.outcome.expect("the node starts workers"), Miner { depth: 0 }, PATIENCE);
            }
            Order::Hired(reply) => {
                self.miner = reply.outcome.ok();
                cx.monitor(self.miner.expect("it was hired"));
                self.note("hired");
            }
            Order::Dig(grams) => match self.miner {
                Some(miner) => cx.send(miner, Work::Dig { grams, boss: cx.id() }),
                None => self.note("nobody digs"),
            },
            Order::Dug(Reply { outcome: Ok(grams), .. }) => {
                let assay = self.assay.expect("who hires names one");
                cx.request(assay, PATIENCE, |reply| Assay { grams, reply });
            }
            Order::Valued(Reply { outcome: Ok(gold), .. }) => self.gold += gold,
            Order::Dug(_) | Order::Valued(_) => self.note("nothing"),
            Order::Throw => {
                let inside = cx.random().below(6);
                let outside = cx.external::<Die>(&6);
                self.gold += inside + u64::from(outside);
            }
            Order::Tick => self.note("tick"),
            Order::Lost(letter) => self.note(&letter.why.to_string()),
            Order::Gone(down) => self.note(&down.reason.to_string()),
            Order::Count(reply) => cx.reply(reply, self.gold),
            Order::Tell(reply) => cx.reply(reply, self.log.clone()),
        }
        Next::Stay
    }
}

/// Digs, and rests in between.
#[derive(Debug, Serialize, Deserialize)]
struct Miner {
    depth: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Shift {
    Ready,
    Resting { since: u32 },
}

/// What a miner takes.
#[derive(Debug, Serialize, Deserialize)]
pub enum Work {
    /// Digs that much.
    Dig {
        /// How much.
        grams: u64,
        /// Who gets it.
        boss: QueueId<Order>,
    },
    /// It has rested.
    Rested,
}

impl Fsm for Miner {
    const NAME: &'static str = "miner";
    const ON_PANIC: OnPanic = OnPanic::Restart { budget: 1000 };
    type State = Shift;
    type Message = Work;

    fn start(&mut self, _: &mut Context<'_, Miner>) -> Shift {
        Shift::Ready
    }

    fn handle(&mut self, shift: Shift, work: Work, cx: &mut Context<'_, Miner>) -> Next<Miner> {
        match (shift, work) {
            (Shift::Ready, Work::Dig { grams, boss }) => {
                self.depth += grams;
                let Mountain(waters) = cx.resource();
                assert!(waters.iter().all(|every| !self.depth.is_multiple_of(*every)), "water");
                cx.send(boss, Order::Dug(Reply { request: qnfsm::RequestId(0), outcome: Ok(grams) }));
                cx.state_timeout(Duration::from_millis(1), Work::Rested);
                Next::Goto(Shift::Resting { since: 1 })
            }
            (Shift::Resting { .. }, Work::Rested) => Next::Goto(Shift::Ready),
            (Shift::Resting { .. }, dig @ Work::Dig { .. }) => Next::Postpone(dig),
            (Shift::Ready, rested @ Work::Rested) => Next::Unhandled(rested),
        }
    }
}

/// The program's kinds.
#[must_use]
pub fn kinds() -> Kinds {
    Kinds::new()
        .message_named::<Order>("order")
        .message_named::<Work>("work")
        .message_named::<Assay>("assay")
        .message_named::<BTreeMap<String, u32>>("log")
        .message_named::<QueueId<Work>>("miner's queue")
        .with::<Foreman>()
        .with::<Miner>()
        .replies::<Order, WorkerId>()
        .replies::<Order, QueueId<Work>>()
        .replies::<Order, u64>()
        .accepts::<Order, DeadLetter>()
        .accepts::<Order, Down>()
        .resource(Arc::new(Mountain(vec![7, 1000])))
}

/// A node of the program, and who values ore.
#[must_use]
pub fn builder(dir: &Path) -> (NodeBuilder, QueueId<Assay>) {
    let limits = Limits { sync_every: Duration::from_millis(1), ..Limits::default() };
    let mut builder =
        NodeBuilder::new(PROGRAM, kinds()).dir(dir).seed(7).limits(limits).external::<Die>(|sides| sides - 1);
    let assay = builder.service::<Assay>(1, Unanswered::SentAgain, |assay, replier| {
        replier.reply(&assay.reply, &(assay.grams * 2));
    });
    (builder, assay)
}

/// How much gold a node has.
///
/// # Errors
/// When it doesn't answer.
pub fn gold(node: &Node<Order>) -> io::Result<u64> {
    node.host().request(node.root(), PATIENCE, Order::Count).map_err(io::Error::other)
}

/// Copies a recording's directory, but for files that were being written.
///
/// # Errors
/// What the system says.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&from, &to)?;
        } else if from.extension().is_none_or(|end| end != "tmp") {
            fs::copy(from, to)?;
        }
    }
    Ok(())
}

/// What is known of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Workers.
    pub workers: u32,
    /// Rounds.
    pub rounds: u64,
    /// Messages that handlers were given.
    pub messages: u64,
    /// The digest of all rounds, in hex.
    pub digest: String,
    /// How much gold there is once the node goes on.
    pub gold: u64,
}

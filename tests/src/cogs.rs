//! A program with many FSMs in one worker, one of which may depend on something outside its data.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use qnfsm::{Context, Fsm, Kinds, Next, QueueId, ReplyTo};
use serde::{Deserialize, Serialize};

/// How many cogs there are.
pub const COGS: usize = 12;
/// The cog that a fault is planted in, and at which of its turns, counting from 1, the fault shows.
pub const PLANTED: (usize, u64) = (6, 3);
/// At which of their turns cogs tell what they have kept.
pub const TOLD_AT: u64 = 9;

/// What an FSM must not depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The order of a randomly seeded map.
    MapOrder,
    /// A clock.
    Clock,
    /// A static counter that another thread also moves.
    Counter,
    /// An address.
    Address,
    /// A random number of the operating system's.
    Random,
}

/// What the fault reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reaches {
    /// A message to another FSM.
    Message,
    /// The FSM's own state.
    State,
    /// The FSM's own data, of which nobody is told before a later turn.
    Data,
}

/// A planted fault.
pub type Plant = Option<(Fault, Reaches)>;

/// All faults.
pub const FAULTS: [Fault; 5] = [Fault::MapOrder, Fault::Clock, Fault::Counter, Fault::Address, Fault::Random];

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Lets another thread move the static counter from now on, and returns when it has.
#[allow(clippy::disallowed_methods, reason = "this thread is what the planted fault needs")]
pub fn move_the_counter() {
    thread::spawn(|| {
        loop {
            COUNTER.fetch_add(1, Ordering::Relaxed);
            thread::yield_now();
        }
    });
    while COUNTER.load(Ordering::Relaxed) < 1000 {
        thread::yield_now();
    }
}

impl Fault {
    /// A number that no replay gives again.
    #[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "these are the planted faults")]
    fn number(self) -> u64 {
        use std::{collections::HashMap, time::SystemTime};
        match self {
            Fault::MapOrder => {
                let map: HashMap<u64, ()> = (0..32).map(|key| (key, ())).collect();
                map.keys().fold(0, |order: u64, key| order.wrapping_mul(31).wrapping_add(*key))
            }
            Fault::Clock => {
                let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since_1970.as_nanos()).unwrap_or_default()
            }
            Fault::Counter => COUNTER.fetch_add(1, Ordering::Relaxed),
            Fault::Address => {
                let boxed = Box::new(0_u64);
                u64::try_from((&raw const *boxed).addr()).unwrap_or_default()
            }
            Fault::Random => getrandom::u64().unwrap_or_default(),
        }
    }
}

/// The root: spawns the cogs and hands turns on to them.
#[derive(Serialize, Deserialize)]
pub struct Shaft {
    plant: Plant,
    cogs: Vec<QueueId<Turn>>,
}

impl Shaft {
    /// A shaft whose cogs have that fault planted in one of them.
    #[must_use]
    pub fn new(plant: Plant) -> Shaft {
        Shaft { plant, cogs: Vec::new() }
    }
}

/// Turn one of the cogs.
#[derive(Debug, Serialize, Deserialize)]
pub struct TurnCog {
    /// Which one.
    pub cog: usize,
    /// Whom to tell, and what: how often that cog has turned.
    pub reply: ReplyTo<u64>,
}

/// A turn of one cog.
#[derive(Debug, Serialize, Deserialize)]
pub struct Turn(ReplyTo<u64>);

/// Where a cog stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mark(u64);

impl Fsm for Shaft {
    const NAME: &'static str = "shaft";
    type State = ();
    type Message = TurnCog;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        let dial = cx.spawn(Dial);
        for cog in 0..COGS {
            let plant = self.plant.filter(|_| cog == PLANTED.0);
            self.cogs.push(cx.spawn(Cog { dial, plant, turns: 0, kept: 0 }));
        }
    }

    fn handle(&mut self, (): (), TurnCog { cog, reply }: TurnCog, cx: &mut Context<'_, Self>) -> Next<Self> {
        // The neighbours turn too.
        for cog in [cog, (cog + 1) % COGS, (cog + COGS - 1) % COGS] {
            cx.send(self.cogs[cog], Turn(reply.clone()));
        }
        Next::Stay
    }
}

/// One of many: draws a number, moves on, and tells the dial.
#[derive(Serialize, Deserialize)]
struct Cog {
    dial: QueueId<Mark>,
    plant: Plant,
    turns: u64,
    /// What it tells the dial at its turn [`TOLD_AT`].
    kept: u64,
}

impl Fsm for Cog {
    const NAME: &'static str = "cog";
    type State = u64;
    type Message = Turn;

    fn start(&mut self, _: &mut Context<'_, Self>) -> u64 {
        0
    }

    fn handle(&mut self, at: u64, Turn(reply): Turn, cx: &mut Context<'_, Self>) -> Next<Self> {
        self.turns += 1;
        let (mut to, mut mark) = (at + cx.random().below(8), self.turns);
        match self.plant.filter(|_| self.turns == PLANTED.1) {
            Some((fault, Reaches::State)) => to = fault.number(),
            Some((fault, Reaches::Message)) => mark = fault.number(),
            Some((fault, Reaches::Data)) => self.kept = fault.number(),
            None => {}
        }
        if self.turns == TOLD_AT {
            mark = self.kept;
        }
        cx.send(self.dial, Mark(mark));
        cx.reply(reply, self.turns);
        Next::Goto(to)
    }
}

/// Shows the last mark.
#[derive(Serialize, Deserialize)]
struct Dial;

impl Fsm for Dial {
    const NAME: &'static str = "dial";
    type State = u64;
    type Message = Mark;

    fn start(&mut self, _: &mut Context<'_, Self>) -> u64 {
        0
    }

    fn handle(&mut self, _: u64, Mark(mark): Mark, _: &mut Context<'_, Self>) -> Next<Self> {
        Next::Goto(mark)
    }
}

/// The program's kinds.
#[must_use]
pub fn kinds() -> Kinds {
    Kinds::new().with::<Shaft>().with::<Cog>().with::<Dial>().message::<u64>()
}

//! FSMs with a fault each, and their properties.
#![expect(clippy::disallowed_types, reason = "a hash map's order is one of the faults")]

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use proptest::prelude::*;
use qnfsm::{Context, Fsm, Invariants, Kinds, Next, Transition, testing::property::Property};
use serde::{Deserialize, Serialize};

/// Gives a coin back when nobody has passed in time, where none should be given back.
#[derive(Serialize, Deserialize)]
pub(crate) struct Turnstile {
    pub(crate) coins: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Gate {
    Locked,
    Unlocked,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Event {
    Coin,
    Push,
    Expired,
}

impl Fsm for Turnstile {
    const NAME: &'static str = "turnstile";
    type State = Gate;
    type Message = Event;

    fn start(&mut self, _: &mut Context<'_, Self>) -> Gate {
        Gate::Locked
    }

    fn handle(&mut self, gate: Gate, event: Event, cx: &mut Context<'_, Self>) -> Next<Self> {
        match (gate, event) {
            (Gate::Locked, Event::Coin) => {
                self.coins += 1;
                cx.state_timeout(Duration::from_secs(5), Event::Expired);
                Next::Goto(Gate::Unlocked)
            }
            (Gate::Unlocked, Event::Push) => Next::Goto(Gate::Locked),
            (Gate::Unlocked, Event::Expired) => {
                self.coins -= 1;
                Next::Goto(Gate::Locked)
            }
            (_, other) => Next::Unhandled(other),
        }
    }
}

pub(crate) fn turnstile_kinds() -> Kinds {
    Kinds::new().with::<Turnstile>()
}

/// What must hold of turnstiles: of those that are tested, and of those whose journals are looked at.
pub(crate) fn turnstile_invariants() -> Invariants {
    Invariants::new().transition::<Turnstile>("no coin is given back", |step: Transition<'_, Turnstile>| {
        let (before, after) = (step.before.0.coins, step.after.0.coins);
        if before <= after { Ok(()) } else { Err(format!("{before} coins became {after}")) }
    })
}

pub(crate) fn turnstile() -> Property<Turnstile> {
    Property::new(turnstile_kinds(), Turnstile { coins: 0 })
        .messages(prop_oneof![Just(Event::Coin), Just(Event::Push)])
        .invariants(turnstile_invariants())
}

/// Counts in a field that is lost whenever it is restored.
#[derive(Serialize, Deserialize)]
pub(crate) struct Forgetful {
    #[serde(skip)]
    seen: u64,
    even: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Tick {
    Tick,
}

impl Fsm for Forgetful {
    const NAME: &'static str = "forgetful";
    type State = ();
    type Message = Tick;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), Tick::Tick: Tick, _: &mut Context<'_, Self>) -> Next<Self> {
        self.seen += 1;
        self.even = self.seen.is_multiple_of(2);
        Next::Stay
    }
}

pub(crate) fn forgetful_kinds() -> Kinds {
    Kinds::new().with::<Forgetful>()
}

pub(crate) fn forgetful() -> Property<Forgetful> {
    Property::new(forgetful_kinds(), Forgetful { seen: 0, even: true }).messages(Just(Tick::Tick))
}

/// Its data are in another order in each process, and after each restore.
#[derive(Serialize, Deserialize)]
pub(crate) struct Scattered {
    at: HashMap<u32, bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Put {
    At(u32),
}

impl Fsm for Scattered {
    const NAME: &'static str = "scattered";
    type State = ();
    type Message = Put;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), Put::At(place): Put, _: &mut Context<'_, Self>) -> Next<Self> {
        self.at.insert(place, true);
        Next::Stay
    }
}

pub(crate) fn scattered_kinds() -> Kinds {
    Kinds::new().with::<Scattered>()
}

pub(crate) fn scattered() -> Property<Scattered> {
    Property::new(scattered_kinds(), Scattered { at: HashMap::new() }).messages((0u32..2).prop_map(Put::At))
}

/// Takes messages of which the codec carries a part.
#[derive(Serialize, Deserialize)]
pub(crate) struct Till {
    pub(crate) cents: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Paid {
    Cents(#[serde(with = "one_byte")] u64),
}

/// Writes a number in a byte, whether there is room for it or not.
mod one_byte {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        number.to_le_bytes()[0].serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        u8::deserialize(from).map(u64::from)
    }
}

impl Fsm for Till {
    const NAME: &'static str = "till";
    type State = ();
    type Message = Paid;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), Paid::Cents(cents): Paid, _: &mut Context<'_, Self>) -> Next<Self> {
        self.cents += cents;
        Next::Stay
    }
}

pub(crate) fn till_kinds() -> Kinds {
    Kinds::new().with::<Till>()
}

pub(crate) fn till() -> Property<Till> {
    Property::new(till_kinds(), Till { cents: 0 }).messages((0u64..1000).prop_map(Paid::Cents))
}

/// Reads a number that outlives it: one that no snapshot holds, and that is the same for the twin.
#[derive(Serialize, Deserialize)]
pub(crate) struct Door {
    opened: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Knock {
    Open,
    Close,
}

static CLOSED: AtomicU64 = AtomicU64::new(0);

impl Fsm for Door {
    const NAME: &'static str = "door";
    type State = ();
    type Message = Knock;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), knock: Knock, _: &mut Context<'_, Self>) -> Next<Self> {
        match knock {
            Knock::Open => self.opened = CLOSED.load(Ordering::Relaxed),
            Knock::Close => _ = CLOSED.fetch_add(1, Ordering::Relaxed),
        }
        Next::Stay
    }
}

pub(crate) fn door() -> Property<Door> {
    let messages = prop_oneof![Just(Knock::Open), Just(Knock::Close)];
    Property::new(Kinds::new().with::<Door>(), Door { opened: 0 }).messages(messages)
}

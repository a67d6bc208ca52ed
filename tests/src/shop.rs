//! The program `shop`: tills that must never owe, and a sale of theirs that takes more than there is.

use qnfsm::{Context, Fsm, Invariants, Kinds, Next};
use qnfsm_replay::cli::Program;
use serde::{Deserialize, Serialize};

/// What must always hold of tills.
pub const NO_DEBT: &str = "a till has no debt";

/// Counts what is in it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Till {
    cents: i64,
}

/// What a till is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Sale {
    /// Somebody paid that much.
    Paid(u8),
    /// Somebody brought something back, and nobody looked whether there is so much.
    Returned(u8),
}

impl Fsm for Till {
    const NAME: &'static str = "till";
    type State = ();
    type Message = Sale;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), sale: Sale, _: &mut Context<'_, Self>) -> Next<Self> {
        match sale {
            Sale::Paid(cents) => self.cents += i64::from(cents),
            Sale::Returned(cents) => self.cents -= i64::from(cents),
        }
        Next::Stay
    }
}

/// Another kind of the program, which no test of tills needs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bell;

impl Fsm for Bell {
    const NAME: &'static str = "bell";
    type State = ();
    type Message = bool;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), _: bool, _: &mut Context<'_, Self>) -> Next<Self> {
        Next::Stay
    }
}

/// The program's kinds.
#[must_use]
pub fn kinds() -> Kinds {
    Kinds::new().with::<Bell>().with::<Till>()
}

/// What must hold, for tests and for `bisect`.
#[must_use]
pub fn invariants() -> Invariants {
    Invariants::new().state::<Till>(NO_DEBT, |till, ()| {
        if till.cents >= 0 { Ok(()) } else { Err(format!("it owes {}", -till.cents)) }
    })
}

/// The commands that look at what shops recorded. Of what nobody says who recorded it, the bell's program is asked first.
#[must_use]
pub fn program() -> Program {
    let shop = Program::new("shop", kinds()).invariants(invariants());
    Program::new("bell", Kinds::new().with::<Bell>()).also(shop)
}

//! An FSM that eats all memory when it is told to, which ends the process without a word.

use qnfsm::{Context, Fsm, Kinds, Next, ReplyTo};
use serde::{Deserialize, Serialize};

/// Counts what it was fed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Glutton {
    /// How often it was fed.
    pub meals: u64,
}

/// What a [`Glutton`] is told.
#[derive(Debug, Serialize, Deserialize)]
pub enum Feed {
    /// A meal.
    Meal,
    /// All there is.
    Everything,
    /// Tells how many meals it has had.
    Meals(ReplyTo<u64>),
}

impl Fsm for Glutton {
    const NAME: &'static str = "glutton";
    type State = ();
    type Message = Feed;

    fn start(&mut self, _: &mut Context<'_, Glutton>) {}

    fn handle(&mut self, (): (), feed: Feed, cx: &mut Context<'_, Glutton>) -> Next<Glutton> {
        match feed {
            Feed::Meal => self.meals += 1,
            Feed::Everything => {
                let mut eaten = Vec::new();
                loop {
                    eaten.push(vec![0_u8; 64 << 20]);
                    // So that it isn't optimised away.
                    std::hint::black_box(&eaten);
                }
            }
            Feed::Meals(reply) => cx.reply(reply, self.meals),
        }
        Next::Stay
    }
}

/// The program's kinds.
#[must_use]
pub fn kinds() -> Kinds {
    Kinds::new().with::<Glutton>().message::<u64>()
}

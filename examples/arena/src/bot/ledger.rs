//! The checker: what a player sent and was told, and whether the server's word agrees with it.
//!
//! It works out by itself, from the commands that it sent, what each standing must be. It keeps the commands that aren't
//! acknowledged yet, and sums over all others, so its size is bounded by how many commands are under way.

use std::{collections::VecDeque, fmt};

use serde::{Deserialize, Serialize};

use crate::wire::{Action, ClientMessage, Direction, Standing};

/// What a fault was seen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Fact {
    /// The world's tick.
    Tick,
    /// The number of the last command applied.
    LastApplied,
    /// How many commands were applied.
    Applied,
    /// How many moves were applied.
    Odometer,
    /// How many shots were applied.
    ShotsFired,
    /// The checksum of all commands applied.
    Check,
    /// How often others were hit.
    Score,
    /// How often the player fell.
    Deaths,
    /// How many things befell the player.
    Events,
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fact::Tick => "the world's tick",
            Fact::LastApplied => "the last command applied",
            Fact::Applied => "the count of commands applied",
            Fact::Odometer => "the count of moves",
            Fact::ShotsFired => "the count of shots",
            Fact::Check => "the checksum of commands",
            Fact::Score => "the score",
            Fact::Deaths => "the count of deaths",
            Fact::Events => "the count of events",
        })
    }
}

/// Something that the server told and that can't be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The server forgot what it had told, or acknowledged a command that it didn't apply.
    Lost {
        /// By what it was seen.
        fact: Fact,
        /// The least that it must be.
        expected: u64,
        /// What the server told.
        told: u64,
        /// The last command applied that the server told along with it.
        last_applied: u64,
    },
    /// A command was applied more than once.
    Doubled {
        /// By what it was seen.
        fact: Fact,
        /// The most that it can be.
        expected: u64,
        /// What the server told.
        told: u64,
        /// The last command applied that the server told along with it.
        last_applied: u64,
    },
    /// The server applied what was never sent, or counted what can't have happened.
    Invented {
        /// By what it was seen.
        fact: Fact,
        /// What it should be.
        expected: u64,
        /// What the server told.
        told: u64,
        /// The last command applied that the server told along with it.
        last_applied: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Lost { fact, expected, told, last_applied } => write!(
                f,
                "lost: {fact} must be at least {expected}, and the server told {told} (at command {last_applied}); \
                 it forgot what it had told, or never applied what it acknowledged"
            ),
            Fault::Doubled { fact, expected, told, last_applied } => write!(
                f,
                "doubled: {fact} can be at most {expected}, and the server told {told} (at command {last_applied}); \
                 it applied a command more than once"
            ),
            Fault::Invented { fact, expected, told, last_applied } => write!(
                f,
                "invented: {fact} should be {expected}, and the server told {told} (at command {last_applied}); \
                 it counted something that never happened"
            ),
        }
    }
}

impl std::error::Error for Fault {}

/// What the commands up to `last` come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Sums {
    last: u64,
    moves: u64,
    shots: u64,
    check: u64,
}

impl Sums {
    /// The sums with the command after `last` taken in.
    fn with(self, action: Action) -> Sums {
        let (moves, shots, kind, direction) = match action {
            Action::Move(direction) => (1, 0, 0, direction),
            Action::Shoot(direction) => (0, 1, 4, direction),
        };
        let code: u64 = kind
            + match direction {
                Direction::North => 0,
                Direction::East => 1,
                Direction::South => 2,
                Direction::West => 3,
            };
        let last = self.last + 1;
        let word = last.wrapping_shl(3).wrapping_add(code);
        let check = (self.check.rotate_left(7) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Sums { last, moves: self.moves + moves, shots: self.shots + shots, check }
    }
}

/// All that a player sent and was told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// The highest standing that was told; none before the first.
    told: Option<Standing>,
    /// The highest tick that was told.
    tick: u64,
    /// What all acknowledged commands come to.
    acknowledged: Sums,
    /// The commands after these, oldest first.
    pending: VecDeque<Action>,
}

impl Ledger {
    /// Numbers a command and writes it down; it is to be sent now. Only a client that was welcomed may give commands.
    pub fn give(&mut self, action: Action) -> ClientMessage {
        self.pending.push_back(action);
        let count = u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
        ClientMessage::Command { number: self.acknowledged.last.saturating_add(count), action }
    }

    /// The commands that were given and not acknowledged, oldest first.
    pub fn unacknowledged(&self) -> impl Iterator<Item = ClientMessage> + '_ {
        let first = self.acknowledged.last + 1;
        (first..).zip(&self.pending).map(|(number, &action)| ClientMessage::Command { number, action })
    }

    /// How many these are.
    #[must_use]
    pub fn unacknowledged_len(&self) -> usize {
        self.pending.len()
    }

    /// The last standing that was told.
    #[must_use]
    pub fn standing(&self) -> Option<&Standing> {
        self.told.as_ref()
    }

    /// The world was told to have reached this tick.
    pub fn at_tick(&mut self, tick: u64) {
        self.tick = self.tick.max(tick);
    }

    /// The server welcomes the player on a new connection; returns the commands to send again. A ledger that neither
    /// sent nor was told anything before takes over the player from whoever played him before.
    ///
    /// # Errors
    /// When the standing, or the world's tick, can't be true.
    pub fn welcome(&mut self, tick: u64, standing: &Standing) -> Result<Vec<ClientMessage>, Fault> {
        if tick < self.tick {
            let last_applied = standing.last_applied;
            return Err(Fault::Lost { fact: Fact::Tick, expected: self.tick, told: tick, last_applied });
        }
        if self.told.is_none() && self.pending.is_empty() {
            self.acknowledged = Sums {
                last: standing.last_applied,
                moves: standing.odometer,
                shots: standing.shots_fired,
                check: standing.check,
            };
        }
        self.at_tick(tick);
        self.told(standing)?;
        Ok(self.unacknowledged().collect())
    }

    /// The server told the player's standing.
    ///
    /// # Errors
    /// When it can't be true. The ledger stays as it was.
    pub fn told(&mut self, standing: &Standing) -> Result<(), Fault> {
        let last_applied = standing.last_applied;
        let lost = |fact, expected, told| Err(Fault::Lost { fact, expected, told, last_applied });
        let doubled = |fact, expected, told| Err(Fault::Doubled { fact, expected, told, last_applied });
        let invented = |fact, expected, told| Err(Fault::Invented { fact, expected, told, last_applied });

        if last_applied < self.acknowledged.last {
            return lost(Fact::LastApplied, self.acknowledged.last, last_applied);
        }
        let before = self.told.unwrap_or_default();
        for (fact, expected, told) in [
            (Fact::Score, before.score, standing.score),
            (Fact::Deaths, before.deaths, standing.deaths),
            (Fact::Events, before.events, standing.events),
        ] {
            if told < expected {
                return lost(fact, expected, told);
            }
        }

        let newly = usize::try_from(last_applied - self.acknowledged.last).unwrap_or(usize::MAX);
        if newly > self.pending.len() {
            let sent = self.acknowledged.last + u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
            return invented(Fact::LastApplied, sent, last_applied);
        }
        let sums = self.pending.range(..newly).fold(self.acknowledged, |sums, &action| sums.with(action));
        for (fact, expected, told) in [
            (Fact::Applied, sums.last, standing.applied),
            (Fact::Odometer, sums.moves, standing.odometer),
            (Fact::ShotsFired, sums.shots, standing.shots_fired),
        ] {
            if told < expected {
                return lost(fact, expected, told);
            }
            if told > expected {
                return doubled(fact, expected, told);
            }
        }
        if standing.check != sums.check {
            return invented(Fact::Check, sums.check, standing.check);
        }
        if standing.score > sums.shots {
            return invented(Fact::Score, sums.shots, standing.score);
        }
        if standing.events < standing.score.saturating_add(standing.deaths) {
            return lost(Fact::Events, standing.score.saturating_add(standing.deaths), standing.events);
        }

        self.pending.drain(..newly);
        self.acknowledged = sums;
        self.told = Some(*standing);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVE: Action = Action::Move(Direction::West);
    const SHOOT: Action = Action::Shoot(Direction::East);

    /// A ledger whose commands 1 (a move) and 2 (a shot) are under way.
    fn two_sent() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.welcome(1, &Standing::default()).expect("an empty standing is right for a new player");
        assert_eq!(ledger.give(MOVE), ClientMessage::Command { number: 1, action: MOVE });
        assert_eq!(ledger.give(SHOOT), ClientMessage::Command { number: 2, action: SHOOT });
        ledger
    }

    /// The standing after these two.
    fn both() -> Standing {
        Standing {
            last_applied: 2,
            applied: 2,
            odometer: 1,
            shots_fired: 1,
            check: 0x09e3_edc2_bc63_36ef,
            ..Standing::default()
        }
    }

    /// The fault's variant and fact.
    fn fault(ledger: &Ledger, standing: Standing) -> (&'static str, Fact) {
        let before = ledger.clone();
        let mut ledger = ledger.clone();
        let fault = ledger.told(&standing).expect_err("the standing can't be true");
        assert_eq!(ledger, before, "a refused standing changes nothing");
        match fault {
            Fault::Lost { fact, .. } => ("lost", fact),
            Fault::Doubled { fact, .. } => ("doubled", fact),
            Fault::Invented { fact, .. } => ("invented", fact),
        }
    }

    #[test]
    fn the_right_standing_is_believed_and_acknowledges() {
        let mut ledger = two_sent();
        ledger.told(&both()).expect("two commands were applied");
        ledger.told(&both()).expect("the same standing can be told again");
        ledger.told(&Standing { score: 1, deaths: 1, events: 6, ..both() }).expect("things befell the player");
        assert_eq!(ledger.unacknowledged_len(), 0);
        assert_eq!(ledger.give(MOVE), ClientMessage::Command { number: 3, action: MOVE });
    }

    #[test]
    fn a_welcome_returns_what_is_to_be_sent_again() {
        let mut ledger = two_sent();
        let again = ledger.welcome(1, &Standing::default()).expect("nothing was applied yet");
        let numbers: Vec<_> =
            [(1, MOVE), (2, SHOOT)].map(|(number, action)| ClientMessage::Command { number, action }).into();
        assert_eq!(again, numbers);
        assert_eq!(ledger.welcome(2, &both()), Ok(vec![]));
    }

    #[test]
    fn loss_is_noticed() {
        let mut ledger = two_sent();
        assert_eq!(fault(&ledger, Standing { applied: 1, ..both() }), ("lost", Fact::Applied));
        assert_eq!(fault(&ledger, Standing { odometer: 0, ..both() }), ("lost", Fact::Odometer));
        assert_eq!(fault(&ledger, Standing { shots_fired: 0, ..both() }), ("lost", Fact::ShotsFired));
        let standing = Standing { score: 1, deaths: 1, events: 6, ..both() };
        ledger.told(&standing).expect("the standing is right");
        assert_eq!(fault(&ledger, Standing::default()), ("lost", Fact::LastApplied));
        assert_eq!(fault(&ledger, Standing { score: 0, ..standing }), ("lost", Fact::Score));
        assert_eq!(fault(&ledger, Standing { deaths: 0, ..standing }), ("lost", Fact::Deaths));
        assert_eq!(fault(&ledger, Standing { events: 5, ..standing }), ("lost", Fact::Events));
        ledger.at_tick(9);
        let fault = ledger.welcome(8, &standing).expect_err("a world doesn't go back");
        assert_eq!(fault, Fault::Lost { fact: Fact::Tick, expected: 9, told: 8, last_applied: 2 });
    }

    #[test]
    fn doubles_are_noticed() {
        let ledger = two_sent();
        assert_eq!(fault(&ledger, Standing { applied: 3, ..both() }), ("doubled", Fact::Applied));
        assert_eq!(fault(&ledger, Standing { odometer: 2, ..both() }), ("doubled", Fact::Odometer));
        assert_eq!(fault(&ledger, Standing { shots_fired: 2, ..both() }), ("doubled", Fact::ShotsFired));
    }

    #[test]
    fn inventions_are_noticed() {
        let ledger = two_sent();
        assert_eq!(fault(&ledger, Standing { last_applied: 3, applied: 3, ..both() }), ("invented", Fact::LastApplied));
        assert_eq!(fault(&ledger, Standing { last_applied: u64::MAX, ..both() }), ("invented", Fact::LastApplied));
        assert_eq!(fault(&ledger, Standing { check: 1, ..both() }), ("invented", Fact::Check));
        assert_eq!(fault(&ledger, Standing { score: 2, events: 2, ..both() }), ("invented", Fact::Score));
        assert_eq!(fault(&ledger, Standing { score: 1, ..both() }), ("lost", Fact::Events));
    }

    #[test]
    fn a_fault_says_what_where_and_what_it_means() {
        let fault = two_sent().told(&Standing { applied: 3, ..both() }).expect_err("the standing can't be true");
        assert_eq!(
            fault.to_string(),
            "doubled: the count of commands applied can be at most 2, and the server told 3 (at command 2); it applied a \
             command more than once"
        );
    }

    #[test]
    fn a_new_client_takes_over_an_old_player() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.welcome(50, &both()), Ok(vec![]));
        assert_eq!(ledger.give(MOVE), ClientMessage::Command { number: 3, action: MOVE });
        let wrong = Standing { last_applied: 9, applied: 8, ..both() };
        assert!(Ledger::default().welcome(50, &wrong).is_err(), "a standing that contradicts itself");
    }
}

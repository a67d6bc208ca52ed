//! A bot: a player who is a program, and who checks all that he is told.
//!
//! It is a pure state machine. Whoever drives it owns the connection: he passes in what the server says, and sends what
//! the bot gives back. It shares no code with the server's world, only the messages of the wire, so that a mistake there
//! can't hide itself here.

mod ledger;
#[cfg(test)]
mod simulation;
mod strategy;

use serde::{Deserialize, Serialize};

pub use ledger::{Fact, Fault, Ledger};

use crate::wire::{Action, COMMANDS_QUEUED_MAX, ClientMessage, PlayerId, ServerMessage};

/// How eagerly a bot plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// The most commands that may be unacknowledged at any time. More than [`COMMANDS_QUEUED_MAX`] count as that many.
    pub window: u32,
    /// How many commands it gives for each view that it gets, as far as the window allows.
    pub commands_per_view: u32,
    /// One command in so many is sent twice, so that the server's check of numbers never goes unused; 0 for never.
    pub twice_one_in: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { window: 8, commands_per_view: 2, twice_one_in: 32 }
    }
}

/// A player who is a program. It outlives its connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bot {
    player: PlayerId,
    pace: Pace,
    ledger: Ledger,
    /// True from the server's welcome until the connection ends.
    plays: bool,
}

impl Bot {
    /// A bot that plays this player.
    #[must_use]
    pub fn new(player: PlayerId, pace: Pace) -> Bot {
        Bot { player, pace, ledger: Ledger::default(), plays: false }
    }

    /// The player that it plays.
    #[must_use]
    pub fn player(&self) -> PlayerId {
        self.player
    }

    /// What it knows of its commands.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// True if the server welcomed it on the connection that it has now.
    #[must_use]
    pub fn plays(&self) -> bool {
        self.plays
    }

    /// A new connection is there, in place of any that was before; returns the first message for it.
    pub fn connected(&mut self) -> ClientMessage {
        self.plays = false;
        ClientMessage::Hello { player: self.player }
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.plays = false;
    }

    /// The server said something; appends to `out` what to send. A refusal is for the driver to act on.
    ///
    /// # Errors
    /// When what the server says can't be true, given what the bot sent and was told before. The bot is of no use then.
    pub fn on_message(
        &mut self,
        message: &ServerMessage,
        random: &mut impl FnMut(u32) -> u32,
        out: &mut Vec<ClientMessage>,
    ) -> Result<(), Fault> {
        match message {
            ServerMessage::Welcome { tick, you } => {
                out.extend(self.ledger.welcome(*tick, you)?);
                self.plays = true;
            }
            ServerMessage::Told { tick, standing } => {
                self.ledger.at_tick(*tick);
                self.ledger.told(standing)?;
            }
            ServerMessage::View { tick, you, players, .. } => {
                self.ledger.at_tick(*tick);
                if self.plays {
                    self.play(|random| strategy::choose(you, players, random), random, out);
                }
            }
            ServerMessage::Refused { .. } => self.plays = false,
        }
        Ok(())
    }

    /// Gives the commands that the pace and the window allow.
    fn play<R: FnMut(u32) -> u32>(
        &mut self,
        mut choose: impl FnMut(&mut R) -> Action,
        random: &mut R,
        out: &mut Vec<ClientMessage>,
    ) {
        let window = usize::try_from(self.pace.window).unwrap_or(usize::MAX).min(COMMANDS_QUEUED_MAX);
        for _ in 0..self.pace.commands_per_view {
            if self.ledger.unacknowledged_len() >= window {
                return;
            }
            let command = self.ledger.give(choose(random));
            out.push(command);
            if self.pace.twice_one_in > 0 && random(self.pace.twice_one_in) == 0 {
                out.push(command);
            }
        }
    }
}

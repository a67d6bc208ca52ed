//! The world: its players, their commands and their shots, and what a tick does to them.
//!
//! What always holds, unless a fault is planted: a player's commands are applied in the order of their numbers, each
//! once; his standing never gets smaller; nobody stands in a wall. All of it is plain data that serde can take, so a copy
//! of the world carries on exactly as the world itself.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use serde::{Deserialize, Serialize};

#[cfg(feature = "planted-bug")]
use super::bounty::Bounty;
use super::{
    field,
    rules::{self, COMMANDS_PER_TICK_MAX, Plant, SHOT_CELLS_PER_TICK, TICKS_DOWN},
    scene::Scene,
};
use crate::wire::{
    Action, COMMANDS_QUEUED_MAX, Cell, Direction, HEALTH_MAX, PlayerId, PlayerView, SHOT_RANGE, ShotView, Standing,
};

/// The most players that a world knows, those who left among them, because their standing is kept.
pub const PLAYERS_MAX: usize = 4096;

/// The whole game.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct World {
    tick: u64,
    plant: Plant,
    players: BTreeMap<PlayerId, Player>,
    shots: Vec<Shot>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Player {
    standing: Standing,
    /// True while he has a connection. Who is away is on no view and can't be hit.
    present: bool,
    at: Cell,
    /// 0 while he lies on the ground.
    health: u8,
    /// The tick at which he rises, if he lies on the ground.
    rises_at: u64,
    /// The number of the last command that was queued or applied.
    accepted: u64,
    /// Commands that wait for a tick, with their numbers.
    queued: VecDeque<(u64, Action)>,
    #[cfg(feature = "planted-bug")]
    bounty: Bounty,
}

impl Player {
    fn is_up(&self) -> bool {
        self.present && self.health > 0
    }

    /// Forgets what was queued. It was never acknowledged, so the client sends it again.
    fn drop_queued(&mut self) {
        self.queued.clear();
        self.accepted = self.standing.last_applied;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Shot {
    owner: PlayerId,
    at: Cell,
    heading: Direction,
    /// How many cells it still flies.
    cells_left: u8,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum CommandOutcome {
    /// It waits for a tick.
    Queued,
    /// It came before and is ignored. Its sender is to be told his standing again.
    Duplicate,
    /// Commands before it never came; it is ignored, and its sender has to send again from `expected` on.
    Gap {
        /// The number that would have been accepted.
        expected: u64,
    },
    /// Too many commands wait already; it is ignored, and its sender has to send it again later.
    Full,
    /// The player isn't present; it is ignored.
    Stranger,
}

/// What a tick did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Ticked {
    /// The tick's number, counting from 1.
    pub tick: u64,
    /// Who among those present has another standing than before, by ID.
    pub changed: Vec<PlayerId>,
    /// How many commands were applied.
    pub applied: u32,
    /// How many shots hit somebody.
    pub hits: u32,
    /// How many players fell.
    pub deaths: u32,
}

/// The world knows [`PLAYERS_MAX`] players already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorldFull;

impl fmt::Display for WorldFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the world knows {PLAYERS_MAX} players, and takes no more; start another world")
    }
}

impl std::error::Error for WorldFull {}

impl World {
    /// An empty world with a planted fault, or none.
    #[must_use]
    pub fn new(plant: Plant) -> World {
        World { plant, ..World::default() }
    }

    /// How many ticks there were.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.tick
    }

    /// A player enters, for the first time or again, and is to be told the standing that this returns. Who was here
    /// before stands where he stood. Commands that he sent before and that weren't applied are forgotten, even if he
    /// never left: the client sends them again.
    ///
    /// # Errors
    /// When the player is new and the world is full.
    pub fn join(&mut self, player: PlayerId, random: &mut impl FnMut(u32) -> u32) -> Result<Standing, WorldFull> {
        if let Some(known) = self.players.get_mut(&player) {
            known.present = true;
            known.drop_queued();
            #[cfg(feature = "planted-bug")]
            known.bounty.enter();
            return Ok(known.standing);
        }
        if self.players.len() >= PLAYERS_MAX {
            return Err(WorldFull);
        }
        self.players.insert(
            player,
            Player {
                standing: Standing::default(),
                present: true,
                at: field::free_cell(random),
                health: HEALTH_MAX,
                rises_at: 0,
                accepted: 0,
                queued: VecDeque::new(),
                #[cfg(feature = "planted-bug")]
                bounty: Bounty::default(),
            },
        );
        Ok(Standing::default())
    }

    /// A player's connection is gone. His standing stays.
    pub fn leave(&mut self, player: PlayerId) {
        if let Some(known) = self.players.get_mut(&player) {
            known.present = false;
            known.drop_queued();
        }
    }

    /// A player's command has come. It takes effect in a tick.
    pub fn command(&mut self, player: PlayerId, number: u64, action: Action) -> CommandOutcome {
        let Some(known) = self.players.get_mut(&player).filter(|known| known.present) else {
            return CommandOutcome::Stranger;
        };
        let expected = known.accepted.saturating_add(1);
        if number > expected {
            return CommandOutcome::Gap { expected };
        }
        if number < expected && self.plant != Plant::Double {
            return CommandOutcome::Duplicate;
        }
        if known.queued.len() >= COMMANDS_QUEUED_MAX {
            return CommandOutcome::Full;
        }
        known.queued.push_back((number, action));
        known.accepted = known.accepted.max(number);
        CommandOutcome::Queued
    }

    /// One tick: the fallen whose time has come rise, queued commands are applied, player by player in the order of IDs,
    /// and then the shots fly, the oldest first.
    pub fn tick(&mut self, random: &mut impl FnMut(u32) -> u32) -> Ticked {
        self.tick += 1;
        let mut ticked = Ticked { tick: self.tick, ..Ticked::default() };
        for (&id, player) in &mut self.players {
            let before = player.standing;
            if player.health == 0 && player.rises_at <= self.tick {
                player.health = HEALTH_MAX;
                player.at = field::free_cell(random);
                player.standing.events += 1;
                #[cfg(feature = "planted-bug")]
                player.bounty.rise();
            }
            for _ in 0..COMMANDS_PER_TICK_MAX {
                let Some((number, action)) = player.queued.pop_front() else { break };
                if rules::count(&mut player.standing, number, action, self.plant) {
                    ticked.applied += 1;
                    self.shots.extend(act(id, player, action));
                }
            }
            if player.standing != before {
                ticked.changed.push(id);
            }
        }
        self.fly(&mut ticked);
        ticked.changed.retain(|id| self.players.get(id).is_some_and(|player| player.present));
        ticked.changed.sort();
        ticked.changed.dedup();
        ticked
    }

    /// All shots fly on; those that hit somebody or a wall, or have come to the end of their range, are gone.
    fn fly(&mut self, ticked: &mut Ticked) {
        let up = self.players.iter().filter(|(_, player)| player.is_up());
        let mut targets: Vec<(Cell, PlayerId)> = up.map(|(&id, player)| (player.at, id)).collect();
        targets.sort();
        let mut shots = std::mem::take(&mut self.shots);
        shots.retain_mut(|shot| {
            for _ in 0..SHOT_CELLS_PER_TICK {
                let Some(next) = field::beside(shot.at, shot.heading) else { return false };
                shot.at = next;
                shot.cells_left -= 1;
                let here = &targets[targets.partition_point(|&(cell, _)| cell < next)..];
                let mut here = here.iter().take_while(|&&(cell, _)| cell == next).map(|&(_, id)| id);
                // Who fell in this very tick is still among the targets.
                if let Some(hit) = here.find(|id| *id != shot.owner && self.players[id].health > 0) {
                    self.hit(shot.owner, hit, ticked);
                    return false;
                }
            }
            shot.cells_left > 0
        });
        self.shots = shots;
    }

    fn hit(&mut self, owner: PlayerId, hit: PlayerId, ticked: &mut Ticked) {
        ticked.hits += 1;
        ticked.changed.extend([owner, hit]);
        let shooter = self.players.get_mut(&owner).expect("players are never removed");
        shooter.standing.score += 1;
        shooter.standing.events += 1;
        #[cfg(feature = "planted-bug")]
        shooter.bounty.earn();
        let target = self.players.get_mut(&hit).expect("players are never removed");
        target.health -= 1;
        target.standing.events += 1;
        if target.health == 0 {
            ticked.deaths += 1;
            target.standing.deaths += 1;
            target.standing.events += 1;
            target.rises_at = self.tick + TICKS_DOWN;
            #[cfg(feature = "planted-bug")]
            target.bounty.fall();
        }
    }

    /// What a player is to be told about himself; nothing if he never joined.
    #[must_use]
    pub fn standing(&self, player: PlayerId) -> Option<Standing> {
        self.players.get(&player).map(|known| known.standing)
    }

    /// What of it contradicts what always holds, if anything does: of whom, and what.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), String> {
        for (id, player) in &self.players {
            let Standing { last_applied, applied, odometer, shots_fired, .. } = player.standing;
            if applied != odometer + shots_fired || applied > last_applied {
                return Err(format!("{id} has {applied} commands applied of {last_applied}"));
            }
            if player.queued.len() > COMMANDS_QUEUED_MAX || !player.present && !player.queued.is_empty() {
                return Err(format!("{id} has {} commands queued", player.queued.len()));
            }
            #[cfg(feature = "planted-bug")]
            if player.bounty.score() < 0 {
                return Err(format!("{id} has a score of {}", player.bounty.score()));
            }
        }
        Ok(())
    }

    /// Those with a connection, by ID.
    pub fn present(&self) -> impl Iterator<Item = PlayerView> + '_ {
        self.players.iter().filter(|(_, player)| player.present).map(|(&id, player)| PlayerView {
            player: id,
            at: player.at,
            health: player.health,
        })
    }

    /// All that can be seen now, from which the views of single players are cut.
    #[must_use]
    pub fn scene(&self) -> Scene {
        let shots = self.shots.iter().map(|shot| ShotView { at: shot.at, heading: shot.heading });
        Scene::new(self.tick, self.present().collect(), shots.collect())
    }
}

/// What an action does on the field. Who lies on the ground can do nothing, though his commands count.
fn act(id: PlayerId, player: &mut Player, action: Action) -> Option<Shot> {
    if !player.is_up() {
        return None;
    }
    match action {
        Action::Move(direction) => {
            player.at = field::beside(player.at, direction).unwrap_or(player.at);
            None
        }
        Action::Shoot(heading) => Some(Shot { owner: id, at: player.at, heading, cells_left: SHOT_RANGE }),
    }
}

#[cfg(test)]
#[path = "world_tests.rs"]
mod tests;

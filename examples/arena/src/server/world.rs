//! The world as an FSM: joins, commands and twenty ticks a second go in, standings and views come out.

use std::{collections::BTreeMap, time::Duration};

use qnfsm::{Context, Down, Fsm, Next, QueueId};
use serde::{Deserialize, Serialize};

use super::{Plant, connection::ConnectionMessage, dice};
use crate::{
    game::{self, CommandOutcome, World},
    wire::{Action, PlayerId, Refusal, TICKS_PER_SECOND},
};

#[derive(Serialize, Deserialize)]
pub(super) struct WorldFsm {
    world: World,
    /// The newest connection of each player who is there; only it is heard.
    connections: BTreeMap<PlayerId, QueueId<ConnectionMessage>>,
    plant: Option<Plant>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum WorldMessage {
    Join {
        player: PlayerId,
        connection: QueueId<ConnectionMessage>,
    },
    Command {
        player: PlayerId,
        number: u64,
        action: Action,
    },
    Leave {
        player: PlayerId,
    },
    Tick,
    /// A connection is gone.
    Down(Down),
}

impl From<Down> for WorldMessage {
    fn from(down: Down) -> WorldMessage {
        WorldMessage::Down(down)
    }
}

impl WorldFsm {
    pub(super) fn new(plant: Option<Plant>) -> WorldFsm {
        let rules = if plant == Some(Plant::Double) { game::Plant::Double } else { game::Plant::None };
        WorldFsm { world: World::new(rules), connections: BTreeMap::new(), plant }
    }

    /// What of the world contradicts what always holds.
    pub(super) fn check(&self) -> Result<(), String> {
        self.world.check()
    }

    fn join(&mut self, player: PlayerId, connection: QueueId<ConnectionMessage>, cx: &mut Context<'_, Self>) {
        let joined = self.world.join(player, &mut dice(cx.random()));
        let Ok(standing) = joined else {
            cx.send(connection, ConnectionMessage::Refused(Refusal::WorldFull));
            return;
        };
        cx.monitor(connection);
        cx.send(connection, ConnectionMessage::Joined { tick: self.world.now(), standing });
        if let Some(older) = self.connections.insert(player, connection).filter(|older| *older != connection) {
            cx.unmonitor(older);
            cx.send(older, ConnectionMessage::Refused(Refusal::PlaysElsewhere));
        }
    }

    /// The player leaves, if it is the newest connection that says so.
    fn leave(&mut self, player: PlayerId) {
        self.world.leave(player);
        self.connections.remove(&player);
    }

    fn is_heard(&self, player: PlayerId, cx: &Context<'_, Self>) -> bool {
        self.connections.get(&player).is_some_and(|connection| connection.raw() == cx.sender())
    }

    fn tick(&mut self, cx: &mut Context<'_, Self>) {
        if self.plant == Some(Plant::Diverge) {
            super::plant::nondeterminism(&mut self.world);
        }
        let ticked = self.world.tick(&mut dice(cx.random()));
        for player in &ticked.changed {
            let told = self.connections.get(player).zip(self.world.standing(*player));
            if let Some((connection, standing)) = told {
                cx.send(*connection, ConnectionMessage::Told { tick: ticked.tick, standing });
            }
        }
        let scene = self.world.scene();
        for you in self.world.present() {
            if let Some(connection) = self.connections.get(&you.player) {
                cx.send(*connection, ConnectionMessage::View(scene.view(you)));
            }
        }
    }
}

impl Fsm for WorldFsm {
    const NAME: &'static str = "world";
    type State = ();
    type Message = WorldMessage;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        cx.every("tick", Duration::from_secs(1) / TICKS_PER_SECOND, WorldMessage::Tick);
    }

    fn handle(&mut self, (): (), message: WorldMessage, cx: &mut Context<'_, Self>) -> Next<Self> {
        match message {
            WorldMessage::Join { player, connection } => self.join(player, connection, cx),
            WorldMessage::Command { player, number, action } => {
                if self.is_heard(player, cx) {
                    let outcome = self.world.command(player, number, action);
                    // What is already applied, or can't be yet, is answered with how things stand.
                    let standing = self.world.standing(player).filter(|_| outcome != CommandOutcome::Queued);
                    if let Some(standing) = standing {
                        let told = ConnectionMessage::Told { tick: self.world.now(), standing };
                        cx.send(QueueId::from_raw(cx.sender()), told);
                    }
                }
            }
            WorldMessage::Leave { player } => {
                if self.is_heard(player, cx) {
                    self.leave(player);
                }
            }
            // Missed beats are not made up for: the world stood still meanwhile.
            WorldMessage::Tick => self.tick(cx),
            WorldMessage::Down(down) => {
                let gone = self.connections.iter().find(|(_, connection)| down.is(**connection));
                if let Some(player) = gone.map(|(player, _)| *player) {
                    self.leave(player);
                }
            }
        }
        Next::Stay
    }
}

//! Whole games in virtual time: a world, sixteen bots, and connections that delay, break and lose what is under way.
//!
//! A test that fails prints its seed; `play` with that seed is the same game again.

use std::collections::VecDeque;

use super::{Bot, Fault, Pace};
use crate::{
    game::{Plant, World, dice},
    wire::{ClientMessage, PlayerId, ServerMessage},
};

const BOTS: u32 = 16;
const STEPS: u32 = 3_000;

/// A client's end and the server's end of a connection, with what is under way on it.
struct Client {
    bot: Bot,
    connected: bool,
    /// True when the server took this connection's hello.
    greeted: bool,
    up: VecDeque<ClientMessage>,
    down: VecDeque<ServerMessage>,
}

/// What happens to the server half-way.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Crash {
    Never,
    /// All connections break, and the world comes back as it was.
    Recovered,
    /// All connections break, and the world comes back as it was a hundred steps before.
    Older,
    /// All connections break, and the world comes back empty.
    Empty,
}

struct Game {
    world: World,
    clients: Vec<Client>,
    reconnected: u32,
    hits: u32,
}

impl Game {
    fn new(plant: Plant) -> Game {
        let client = |id| Client {
            bot: Bot::new(PlayerId(id), Pace::default()),
            connected: false,
            greeted: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
        };
        Game { world: World::new(plant), clients: (0..BOTS).map(client).collect(), reconnected: 0, hits: 0 }
    }

    /// A connection breaks, and what is under way on it is lost. The server doesn't always notice before the next one.
    fn disconnect(&mut self, at: usize, noticed: bool) {
        let client = &mut self.clients[at];
        if std::mem::take(&mut client.connected) {
            client.greeted = false;
            client.bot.disconnected();
            client.up.clear();
            client.down.clear();
            if noticed {
                self.world.leave(client.bot.player());
            }
        }
    }

    /// The server takes some of what came, ticks, and says what there is to say; the clients take some of that.
    fn step(&mut self, random: &mut impl FnMut(u32) -> u32) -> Result<(), Fault> {
        for at in 0..self.clients.len() {
            if !self.clients[at].connected && random(10) == 0 {
                let client = &mut self.clients[at];
                client.connected = true;
                client.up.push_back(client.bot.connected());
                self.reconnected += 1;
            } else if random(300) == 0 {
                self.disconnect(at, random(2) == 0);
            }
        }
        for client in &mut self.clients {
            let player = client.bot.player();
            let came = random(6).try_into().expect("a small number");
            for message in client.up.drain(..client.up.len().min(came)) {
                match message {
                    ClientMessage::Hello { .. } => {
                        let you = self.world.join(player, random).expect("there is room");
                        client.greeted = true;
                        client.down.push_back(ServerMessage::Welcome { tick: self.world.now(), you });
                    }
                    ClientMessage::Command { number, action } => {
                        let _ = self.world.command(player, number, action);
                    }
                }
            }
        }
        let ticked = self.world.tick(random);
        self.hits += ticked.hits;
        let scene = self.world.scene();
        for you in self.world.present() {
            let client = self.clients.iter_mut().find(|client| client.bot.player() == you.player);
            let Some(Client { down, .. }) = client.filter(|client| client.greeted) else { continue };
            if ticked.changed.contains(&you.player) {
                let standing = self.world.standing(you.player).expect("he is present");
                down.push_back(ServerMessage::Told { tick: ticked.tick, standing });
            }
            down.push_back(scene.view(you));
        }
        for client in &mut self.clients {
            let came = random(6).try_into().expect("a small number");
            let mut out = Vec::new();
            for message in client.down.drain(..client.down.len().min(came)) {
                client.bot.on_message(&message, random, &mut out)?;
            }
            client.up.extend(out);
        }
        Ok(())
    }
}

/// Plays a whole game; returns it, or the first fault that a bot noticed.
fn play(seed: u64, plant: Plant, crash: Crash) -> Result<Game, Fault> {
    println!("play(seed {seed}, {plant:?}, {crash:?})");
    let mut random = dice(seed);
    let mut game = Game::new(plant);
    let mut older = game.world.clone();
    for step in 0..STEPS {
        if step == STEPS / 2 - 100 {
            older = game.world.clone();
        }
        if step == STEPS / 2 && crash != Crash::Never {
            (0..game.clients.len()).for_each(|at| game.disconnect(at, false));
            match crash {
                Crash::Older => game.world = older.clone(),
                Crash::Empty => game.world = World::new(plant),
                Crash::Never | Crash::Recovered => {}
            }
            let players: Vec<PlayerId> = game.world.present().map(|you| you.player).collect();
            players.into_iter().for_each(|player| game.world.leave(player));
        }
        game.step(&mut random)?;
    }
    Ok(game)
}

#[test]
fn nobody_sees_a_fault_however_often_connections_break_and_the_server_comes_back() {
    for seed in 0..8 {
        let crash = if seed % 2 == 0 { Crash::Recovered } else { Crash::Never };
        let game = play(seed, Plant::None, crash).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
        assert!(game.reconnected > 2 * BOTS && game.hits > 100, "{} {}", game.reconnected, game.hits);
        for client in &game.clients {
            let told = client.bot.ledger().standing().expect("every bot was welcomed");
            assert!(told.applied > 1_000, "{told:?}");
        }
    }
}

#[test]
fn a_command_applied_twice_is_noticed() {
    for seed in 0..8 {
        let fault = play(seed, Plant::Double, Crash::Never).err().expect("there is a fault to notice");
        assert!(matches!(fault, Fault::Doubled { .. }), "seed {seed}: {fault}");
    }
}

#[test]
fn a_command_acknowledged_and_not_applied_is_noticed() {
    for seed in 0..8 {
        let fault = play(seed, Plant::Lose, Crash::Never).err().expect("there is a fault to notice");
        assert!(matches!(fault, Fault::Lost { .. }), "seed {seed}: {fault}");
    }
}

#[test]
fn a_server_that_comes_back_as_it_was_before_is_noticed() {
    for seed in 0..8 {
        for crash in [Crash::Older, Crash::Empty] {
            let fault = play(seed, Plant::None, crash).err().expect("there is a fault to notice");
            assert!(matches!(fault, Fault::Lost { .. }), "seed {seed}, {crash:?}: {fault}");
        }
    }
}
